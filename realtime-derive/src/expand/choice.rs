//! `impl FieldEnum`: an enum in a column; `ToSql` and `FromSql` for a column of text.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};

use super::{Runtime, place};

/// Everything is done by serde, whose derives are the trait's bounds; a missing one is reported on the enum's name.
///
/// ```text
/// impl FieldEnum for Status {}
/// impl<DB> ToSql<Text, DB> for Status where DB: Backend, str: ToSql<Text, DB> { .. }
/// impl<DB> FromSql<Text, DB> for Status where DB: Backend, String: FromSql<Text, DB> { .. }
/// ```
pub(super) fn implementation(ident: &Ident, as_text: bool, runtime: &Runtime) -> TokenStream {
    let span = place(ident);
    let at = runtime.at(span);
    let field = quote_spanned! {span=>
        #[automatically_derived]
        impl #at::FieldEnum for #ident {}
    };
    if !as_text {
        return field;
    }
    let (serialize, deserialize) =
        (quote!(#runtime::diesel::serialize), quote!(#runtime::diesel::deserialize));
    let text = quote!(#runtime::diesel::sql_types::Text);
    let backend = quote!(#runtime::diesel::backend::Backend);
    quote! {
        #field

        #[automatically_derived]
        impl<__DB> #serialize::ToSql<#text, __DB> for #ident
        where
            __DB: #backend,
            ::core::primitive::str: #serialize::ToSql<#text, __DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut #serialize::Output<'b, '_, __DB>) -> #serialize::Result {
                <::core::primitive::str as #serialize::ToSql<#text, __DB>>::to_sql(
                    #runtime::name_of_variant(self)?,
                    out,
                )
            }
        }

        #[automatically_derived]
        impl<__DB> #deserialize::FromSql<#text, __DB> for #ident
        where
            __DB: #backend,
            #runtime::String: #deserialize::FromSql<#text, __DB>,
        {
            fn from_sql(bytes: <__DB as #backend>::RawValue<'_>) -> #deserialize::Result<Self> {
                #runtime::variant_of_name(&<#runtime::String as #deserialize::FromSql<#text, __DB>>::from_sql(bytes)?)
            }
        }
    }
}
