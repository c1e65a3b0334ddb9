//! `impl Hooks`: what the application adds to writes, where it adds nothing.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use super::Runtime;

/// ```text
/// impl Hooks for Comment {}
/// ```
pub(super) fn implementation(ident: &Ident, by_user: bool, runtime: &Runtime) -> TokenStream {
    if by_user {
        return TokenStream::new();
    }
    quote! {
        #[automatically_derived]
        impl #runtime::Hooks for #ident {}
    }
}
