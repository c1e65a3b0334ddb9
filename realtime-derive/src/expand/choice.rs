//! `impl FieldEnum`: an enum in a column.

use proc_macro2::{Ident, TokenStream};
use quote::quote_spanned;

use super::{Runtime, place};

/// Everything is done by serde, whose derives are the trait's bounds; a missing one is reported on the enum's name.
///
/// ```text
/// impl FieldEnum for Status {}
/// ```
pub(super) fn implementation(ident: &Ident, runtime: &Runtime) -> TokenStream {
    let span = place(ident);
    let runtime = runtime.at(span);
    quote_spanned! {span=>
        #[automatically_derived]
        impl #runtime::FieldEnum for #ident {}
    }
}
