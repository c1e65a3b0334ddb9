//! Implementations without content, for a struct with mistakes. They are compiled next to errors and never run.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput};

use super::{Runtime, hooks};

/// Nothing for what cannot be a resource, such as an enum or a generic struct.
pub(super) fn implementation(input: &DeriveInput, by_user: bool, runtime: &Runtime) -> TokenStream {
    if !matches!(input.data, Data::Struct(_)) || !input.generics.params.is_empty() {
        return TokenStream::new();
    }
    let ident = &input.ident;
    let hooks = hooks::implementation(ident, by_user, runtime);
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
                    fields: &[],
                    key: 0,
                    aliases: &[],
                    actions: #runtime::ActionSet::ALL,
                    description: "",
                };
                fn initial(
                    _: ::core::primitive::usize,
                    _: &#runtime::Context<'_>,
                ) -> ::core::result::Result<
                    ::core::option::Option<#runtime::Value<'static>>,
                    #runtime::Error,
                > {
                    ::core::unreachable!()
                }
            }
            #hooks
            #runtime::on_sqlite! {
                #[automatically_derived]
                impl #runtime::ResourceOn<#runtime::diesel::sqlite::Sqlite> for #ident {
                    fn from_columns(
                        _: &dyn #runtime::Columns<#runtime::diesel::sqlite::Sqlite>,
                        _: &[::core::primitive::usize],
                    ) -> #runtime::diesel::deserialize::Result<Self> {
                        ::core::unreachable!()
                    }
                    fn bind(
                        _: ::core::primitive::usize,
                        _: #runtime::Value<'_>,
                    ) -> ::core::option::Option<#runtime::Bind<#runtime::diesel::sqlite::Sqlite>> {
                        ::core::unreachable!()
                    }
                }
            }
        };
    }
}
