//! Writes the code. Nothing else knows `quote!`, and nothing here decides.
//!
//! Expansions name paths of core's `__private` and the user's own tokens, nothing of a prelude. Local names are those
//! of the macro (`Span::mixed_site`), so an expression of the user cannot see them, and there are no items with a name.

mod choice;
mod database;
mod descriptor;
mod fallback;
mod hooks;
mod lookups;
mod policy;
mod record;
mod resource;
mod validate;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{DeriveInput, Path};

use crate::ast::Model;
use crate::attr::StructAttrs;

/// The path of the module that expansions name: core's `__private`, as the user's crate reaches it.
pub(crate) struct Runtime(TokenStream);

impl Runtime {
    /// The module inside the crate that the user named, or else inside the one that re-exports the derive.
    pub(crate) fn new(named: Option<&Path>, home: TokenStream) -> Self {
        let home = named.map_or(home, ToTokens::to_token_stream);
        Self(quote!(#home::__private))
    }

    /// The same path at a place of the user's: what the compiler says about it, it says there.
    pub(crate) fn at(&self, span: Span) -> Self {
        let tokens = self.0.clone().into_iter().map(|mut token| {
            token.set_span(span);
            token
        });
        Self(tokens.collect())
    }
}

impl ToTokens for Runtime {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}

/// The implementations that make a struct a resource.
pub(crate) fn resource(model: &Model<'_>, runtime: &Runtime) -> TokenStream {
    let lookups = lookups::checks(model, runtime);
    let validate = validate::checks(model, runtime);
    let record = record::implementation(model, runtime);
    let resource = resource::implementation(model, runtime);
    let hooks = hooks::implementation(model.ident, model.hooks, runtime);
    let policy = policy::implementation(model.ident, &model.policy, runtime);
    let sqlite = model.backends.sqlite.then(|| {
        let backend = quote!(#runtime::diesel::sqlite::Sqlite);
        let implementation = database::implementation(model, &backend, runtime);
        quote!(#runtime::on_sqlite! { #implementation })
    });
    let postgres = model.backends.postgres.then(|| {
        let backend = quote!(#runtime::diesel::pg::Pg);
        let implementation = database::implementation(model, &backend, runtime);
        quote!(#runtime::on_postgres! { #implementation })
    });
    quote! {
        // The user's path of the table may be longer than some place needs.
        #[allow(unused_qualifications)]
        const _: () = {
            #lookups
            #validate
            #record
            #resource
            #hooks
            #policy
            #sqlite
            #postgres
        };
    }
}

/// The implementation that makes an enum a field's type.
pub(crate) fn choice(ident: &Ident, as_text: bool, runtime: &Runtime) -> TokenStream {
    let choice = choice::implementation(ident, as_text, runtime);
    quote! {
        const _: () = {
            #choice
        };
    }
}

/// The mistakes of a struct, and implementations without content where the struct could have had real ones.
///
/// Without those, each use of the model would be reported as well, and hide what there is to do.
pub(crate) fn unfinished(
    input: &DeriveInput,
    attrs: &StructAttrs,
    runtime: &Runtime,
    errors: Option<&TokenStream>,
) -> TokenStream {
    let fallback = fallback::implementation(input, attrs, runtime);
    quote!(#errors #fallback)
}

/// The place of the user's token, with the names and the lints of the macro.
pub(crate) fn place(tokens: &impl Spanned) -> Span {
    tokens.span().resolved_at(Span::call_site())
}

/// A local name that the user's expressions cannot see, and that is unlikely to be one of the user's constants: a
/// pattern would mean the constant.
fn local(name: &str) -> Ident {
    Ident::new(&format!("__{name}"), Span::mixed_site())
}
