//! `impl Policy`: who may do what, where the user has not said it in an implementation of his own.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};

use super::{Runtime, local, place};
use crate::attr::Policy;

/// ```text
/// impl Policy for Comment {
///     fn permission(ask: &Ask<'_, Self>) -> Verdict {
///         Permission::decide(&ReadOnly.or(IsAuthenticated), ask)
///     }
/// }
/// ```
pub(super) fn implementation(ident: &Ident, policy: &Policy, runtime: &Runtime) -> TokenStream {
    let permission = match policy {
        Policy::ByUser(_) => return TokenStream::new(),
        Policy::Default => None,
        Policy::Rule(_, rule) => {
            let ask = local("ask");
            let span = place(rule);
            let at = runtime.at(span);
            let decide = quote_spanned!(span=> <_ as #at::Permission<Self>>::decide(&{ use #at::Rule as _; #rule }, #ask));
            Some(quote! {
                fn permission(#ask: &#runtime::Ask<'_, Self>) -> #runtime::Verdict {
                    #decide
                }
            })
        }
    };
    quote! {
        #[automatically_derived]
        impl #runtime::Policy for #ident {
            #permission
        }
    }
}
