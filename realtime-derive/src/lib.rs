//! The derives of realtime: `RealtimeResource` on a Diesel model, `RealtimeEnum` on an enum that a column holds; and
//! `actions` on the functions that clients can call.
//!
//! Applications use them through `realtime_actix` or `realtime_core`, which re-export them; this crate depends on
//! neither. The attributes are listed in `docs/attributes.md` of the repository.
//!
//! The way of one derive: `attr` and `rule` read the attributes, `ast` resolves them into a model, `check` applies the
//! rules, `expand` writes the code. Mistakes are collected in `errors` and reported together.

#![deny(missing_docs)]

mod actions;
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
use syn::{DeriveInput, ItemImpl, parse_macro_input};

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
/// On the wire a value is the name that serde gives its variant, so the enum needs serde's derives as well. In a column of
/// text it is stored as the same name, on every database: `ToSql` and `FromSql` of Diesel's are written. An enum that is
/// stored otherwise says so, `#[realtime(own_sql)]` or `#[diesel(sql_type = SmallInt)]`, and implements the two itself.
///
/// ```ignore
/// #[derive(Clone, Copy, Debug, Serialize, Deserialize, RealtimeEnum)]
/// #[serde(rename_all = "lowercase")]
/// enum Status {
///     Draft,
///     Published,
/// }
/// ```
#[proc_macro_derive(RealtimeEnum, attributes(realtime, diesel))]
pub fn realtime_enum(input: TokenStream) -> TokenStream {
    derive_enum(&parse_macro_input!(input as DeriveInput), quote!(::realtime_core)).into()
}

/// The same as [`macro@RealtimeEnum`], for users of `realtime_actix`, which re-exports it under that name.
#[doc(hidden)]
#[proc_macro_derive(RealtimeEnumActix, attributes(realtime, diesel))]
pub fn realtime_enum_actix(input: TokenStream) -> TokenStream {
    derive_enum(&parse_macro_input!(input as DeriveInput), quote!(::realtime_actix)).into()
}

/// Makes functions of a model's `impl` block actions that clients can call, over REST and the socket alike.
///
/// A function with `&self` is an action on a row, `POST /topics/{pk}/lock/`, one without is an action on the collection,
/// `POST /topics/lock-all/`. Its arguments are a type of serde's, and may be left out. It answers with the row, with
/// whatever can be serialized, or with `()`. The struct says that there are actions: `#[realtime(actions)]`.
///
/// ```ignore
/// #[actions]
/// impl Topic {
///     /// Nothing more is said in it.
///     #[action]
///     async fn lock(&self, _: &Context<'_>, store: &mut Store<'_>) -> Result<Arc<Self>, Error> {
///         let mut draft = Draft::of::<Self>();
///         draft.set("locked", true);
///         store.update(self, &draft).await
///     }
/// }
/// ```
///
/// `#[action(name = "..", permission = rule, throttle = "10/minute")]`: a name other than the function's, with `-` for `_`;
/// who may do it, where the resource's policy is not to be asked; how often.
#[proc_macro_attribute]
pub fn actions(options: TokenStream, item: TokenStream) -> TokenStream {
    let block = parse_macro_input!(item as ItemImpl);
    actions::expand(options.into(), block, quote!(::realtime_core)).into()
}

/// The same as [`macro@actions`], for users of `realtime_actix`, which re-exports it under that name.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn actions_actix(options: TokenStream, item: TokenStream) -> TokenStream {
    let block = parse_macro_input!(item as ItemImpl);
    actions::expand(options.into(), block, quote!(::realtime_actix)).into()
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
        (_, errors) => expand::unfinished(input, &attrs, &runtime, errors.as_ref()),
    }
}

fn derive_enum(input: &DeriveInput, home: TokenStream2) -> TokenStream2 {
    let mut errors = Errors::default();
    let attrs = attr::EnumAttrs::read(&input.attrs, &mut errors);
    let runtime = expand::Runtime::new(attrs.runtime.as_ref(), home);
    check::choice(input, &mut errors);
    match errors.into_tokens() {
        None => expand::choice(&input.ident, attrs.is_stored_as_text(), &runtime),
        Some(errors) => errors,
    }
}
