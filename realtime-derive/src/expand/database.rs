//! `impl ResourceOn`: the half of a resource that knows Diesel's types, per backend.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Path;

use super::{Runtime, local, place};
use crate::ast::{Field, Model};

/// ```text
/// impl ResourceOn<Sqlite> for Comment {
///     fn from_columns(columns: &dyn Columns<Sqlite>, at: &[usize]) -> diesel::deserialize::Result<Self> {
///         Ok(Self { id: cell::<i64, SqlTypeOf<comments::id>, Sqlite>().read(columns, at[0])?, .. })
///     }
///     fn bind(field: usize, value: Value<'_>) -> Option<Bind<Sqlite>> {
///         match field {
///             0 => cell::<i64, SqlTypeOf<comments::id>, Sqlite>().bind(value),
///             _ => None,
///         }
///     }
/// }
/// ```
pub(super) fn implementation(model: &Model<'_>, backend: &TokenStream, runtime: &Runtime) -> TokenStream {
    let Model { ident, table, .. } = model;
    let (columns, at, field, value) = (local("columns"), local("at"), local("field"), local("value"));
    let reads = model.fields.iter().enumerate().map(|(index, described)| {
        let name = described.ident;
        let cell = cell(described, table, backend, runtime);
        quote!(#name: #cell.read(#columns, #at[#index])?,)
    });
    let defaults = model.skipped.iter().map(|skipped| {
        let (name, ty) = (skipped.ident, skipped.ty);
        let default = quote_spanned!(place(ty)=> <#ty as ::core::default::Default>::default());
        quote!(#name: #default,)
    });
    let binds = model.fields.iter().enumerate().map(|(index, described)| {
        let cell = cell(described, table, backend, runtime);
        quote!(#index => #cell.bind(#value),)
    });
    quote! {
        #[automatically_derived]
        impl #runtime::ResourceOn<#backend> for #ident {
            fn from_columns(
                #columns: &dyn #runtime::Columns<#backend>,
                #at: &[::core::primitive::usize],
            ) -> #runtime::diesel::deserialize::Result<Self> {
                ::core::result::Result::Ok(Self {
                    #(#reads)*
                    #(#defaults)*
                })
            }

            fn bind(
                #field: ::core::primitive::usize,
                #value: #runtime::Value<'_>,
            ) -> ::core::option::Option<#runtime::Bind<#backend>> {
                match #field {
                    #(#binds)*
                    _ => ::core::option::Option::None,
                }
            }
        }
    }
}

/// What reads and binds a field. The same tokens for both, so that a type that does not fit is reported once.
fn cell(field: &Field<'_>, table: &Path, backend: &TokenStream, runtime: &Runtime) -> TokenStream {
    let Field { ty, column, .. } = field;
    let span = place(ty);
    let runtime = runtime.at(span);
    quote_spanned!(span=> #runtime::cell::<#ty, #runtime::SqlTypeOf<#table::#column>, #backend>())
}
