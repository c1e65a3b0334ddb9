//! `impl Record`: the fields of a row by index.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::{Runtime, local, place};
use crate::ast::Model;

/// ```text
/// impl Record for Comment {
///     fn value(&self, field: usize) -> Value<'_> {
///         match field {
///             0 => <i64 as Field>::to_value(&self.id),
///             _ => Value::Null,
///         }
///     }
/// }
/// ```
pub(super) fn implementation(model: &Model<'_>, runtime: &Runtime) -> TokenStream {
    let ident = model.ident;
    let field = local("field");
    let arms = model.fields.iter().enumerate().map(|(index, described)| {
        let (name, ty) = (described.ident, described.ty);
        let span = place(ty);
        let runtime = runtime.at(span);
        let value = quote_spanned!(span=> <#ty as #runtime::Field>::to_value(&self.#name));
        quote!(#index => #value,)
    });
    let computed = model.fields.iter().enumerate().filter_map(|(index, described)| {
        let (_, function) = described.attrs.serialize_with.as_ref()?;
        let span = place(function);
        let runtime = runtime.at(span);
        let value = quote_spanned!(span=> #runtime::computed(self, #function));
        Some(quote!(#index => #value,))
    });
    let computed: Vec<TokenStream> = computed.collect();
    let shown = (!computed.is_empty()).then(|| {
        quote! {
            fn shown(&self, #field: ::core::primitive::usize) -> #runtime::Value<'_> {
                match #field {
                    #(#computed)*
                    _ => #runtime::Record::value(self, #field),
                }
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #runtime::Record for #ident {
            fn value(&self, #field: ::core::primitive::usize) -> #runtime::Value<'_> {
                match #field {
                    #(#arms)*
                    _ => #runtime::Value::Null,
                }
            }

            #shown
        }
    }
}
