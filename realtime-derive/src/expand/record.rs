//! `impl Record`: the fields of a row by index.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::{Runtime, local, place};
use crate::ast::{Field, Model};

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
        let computed = computed(described, runtime)?;
        Some(quote!(#index => #computed.of(self),))
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

/// What shows a field that has `serialize_with`. The same tokens wherever it is needed, so that a type that no field can
/// have is reported once.
pub(super) fn computed(field: &Field<'_>, runtime: &Runtime) -> Option<TokenStream> {
    let (_, function) = field.attrs.serialize_with.as_ref()?;
    let span = place(function);
    let runtime = runtime.at(span);
    Some(quote_spanned!(span=> #runtime::computed::<Self, _>(#function)))
}
