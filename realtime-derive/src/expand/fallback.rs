//! Implementations without content, for a struct with mistakes. They are compiled next to errors and never run.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Data, DeriveInput};

use super::{Runtime, descriptor, hooks, policy};
use crate::attr::{Policy, StructAttrs};

/// Nothing for what cannot be a resource, such as an enum or a generic struct.
pub(super) fn implementation(input: &DeriveInput, attrs: &StructAttrs, runtime: &Runtime) -> TokenStream {
    if !matches!(input.data, Data::Struct(_)) || !input.generics.params.is_empty() {
        return TokenStream::new();
    }
    let ident = &input.ident;
    let hooks = hooks::implementation(ident, attrs.hooks, runtime);
    // A rule that uses a column would say the mistakes again.
    let says = if matches!(attrs.policy, Policy::ByUser(_)) { &attrs.policy } else { &Policy::Default };
    let custom = descriptor::custom(attrs.has_actions, runtime);
    let policy = policy::implementation(ident, says, runtime);
    let sqlite = database(ident, &quote!(#runtime::diesel::sqlite::Sqlite), runtime);
    let postgres = database(ident, &quote!(#runtime::diesel::pg::Pg), runtime);
    quote! {
        const _: () = {
            #[automatically_derived]
            impl #runtime::Record for #ident {
                fn value(&self, _: ::core::primitive::usize) -> #runtime::Value<'_> {
                    ::core::unreachable!()
                }
            }
            #[automatically_derived]
            impl #runtime::RealtimeResource for #ident {
                const DESCRIPTOR: &'static #runtime::Descriptor = &#runtime::Descriptor {
                    stream: "",
                    table: "",
                    bases: &[],
                    fields: &[],
                    key: 0,
                    lookup: 0,
                    throttle: &[],
                    aliases: &[],
                    group_by: &[],
                    actions: #runtime::ActionSet::ALL,
                    custom: #custom,
                    lists: #runtime::Lists::PLAIN,
                    rules: #runtime::Rules::of::<Self>(),
                    checks: &[],
                    zone: ::core::option::Option::None,
                    description: "",
                };
            }
            #hooks
            #policy
            #runtime::on_sqlite! { #sqlite }
            #runtime::on_postgres! { #postgres }
        };
    }
}

fn database(ident: &Ident, backend: &TokenStream, runtime: &Runtime) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #runtime::ResourceOn<#backend> for #ident {
            fn from_columns(
                _: &dyn #runtime::Columns<#backend>,
                _: &[::core::primitive::usize],
            ) -> #runtime::diesel::deserialize::Result<Self> {
                ::core::unreachable!()
            }
            fn bind(
                _: ::core::primitive::usize,
                _: #runtime::Value<'_>,
            ) -> ::core::option::Option<#runtime::Bind<#backend>> {
                ::core::unreachable!()
            }
        }
    }
}
