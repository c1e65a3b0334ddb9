//! The derives of realtime: `RealtimeResource` on a Diesel model, `RealtimeEnum` on an enum that a column holds.
//!
//! Applications use them through `realtime_actix` or `realtime_core`, which re-export them; this crate depends on
//! neither. The attributes are listed in `docs/attributes.md` of the repository.
//!
//! The way of one derive: `attr` and `rule` read the attributes, `ast` resolves them into a model, `check` applies the
//! rules, `expand` writes the code. Mistakes are collected in `errors` and reported together.

#![deny(missing_docs)]

mod ast;
mod attr;
mod check;
mod errors;
mod expand;
mod rule;
#[cfg(test)]
mod snapshots;
mod vocabulary;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as TokenStream2;
use quote::quote;
use syn::{DeriveInput, parse_macro_input};

use crate::errors::Errors;

/// Makes a Diesel model a resource that clients can read, write and follow.
///
/// ```ignore
/// /// A remark in a topic.
/// #[derive(RealtimeResource)]
/// #[diesel(table_name = comments)]
/// #[realtime(subscription_field_mapping(topic = "topic_id__exact"), lookups(all), ordering(all))]
/// struct Comment {
///     #[realtime(read_only)]
///     id: i64,
///     topic_id: i32,
///     body: String,
///     #[realtime(read_only, on_create = |context| context.now)]
///     created_at: DateTime<Utc>,
/// }
/// ```
#[proc_macro_derive(RealtimeResource, attributes(realtime, diesel))]
pub fn realtime_resource(input: TokenStream) -> TokenStream {
    derive_resource(&parse_macro_input!(input as DeriveInput), quote!(::realtime_core)).into()
}

/// The same as [`macro@RealtimeResource`], for users of `realtime_actix`, which re-exports it under that name.
#[doc(hidden)]
#[proc_macro_derive(RealtimeResourceActix, attributes(realtime, diesel))]
pub fn realtime_resource_actix(input: TokenStream) -> TokenStream {
    derive_resource(&parse_macro_input!(input as DeriveInput), quote!(::realtime_actix)).into()
}

/// Makes an enum of unit variants a type that a field of a resource may have.
///
/// On the wire a value is the name that serde gives its variant, so the enum needs serde's derives as well.
///
/// ```ignore
/// #[derive(Clone, Copy, Serialize, Deserialize, RealtimeEnum)]
/// #[serde(rename_all = "lowercase")]
/// enum Status {
///     Draft,
///     Published,
/// }
/// ```
#[proc_macro_derive(RealtimeEnum, attributes(realtime))]
pub fn realtime_enum(input: TokenStream) -> TokenStream {
    derive_enum(&parse_macro_input!(input as DeriveInput), quote!(::realtime_core)).into()
}

/// The same as [`macro@RealtimeEnum`], for users of `realtime_actix`, which re-exports it under that name.
#[doc(hidden)]
#[proc_macro_derive(RealtimeEnumActix, attributes(realtime))]
pub fn realtime_enum_actix(input: TokenStream) -> TokenStream {
    derive_enum(&parse_macro_input!(input as DeriveInput), quote!(::realtime_actix)).into()
}

fn derive_resource(input: &DeriveInput, home: TokenStream2) -> TokenStream2 {
    let mut errors = Errors::default();
    let attrs = attr::StructAttrs::read(&input.attrs, &mut errors);
    let runtime = expand::Runtime::new(attrs.runtime.as_ref(), home);
    let model = ast::Model::resolve(input, &attrs, &mut errors);
    if let Some(model) = &model {
        check::resource(model, &mut errors);
    }
    match (model, errors.into_tokens()) {
        (Some(model), None) => expand::resource(&model, &runtime),
        (_, errors) => expand::unfinished(input, attrs.hooks, &attrs.policy, &runtime, errors.as_ref()),
    }
}

fn derive_enum(input: &DeriveInput, home: TokenStream2) -> TokenStream2 {
    let mut errors = Errors::default();
    let attrs = attr::EnumAttrs::read(&input.attrs, &mut errors);
    let runtime = expand::Runtime::new(attrs.runtime.as_ref(), home);
    check::choice(input, &mut errors);
    match errors.into_tokens() {
        None => expand::choice(&input.ident, &runtime),
        Some(errors) => errors,
    }
}
