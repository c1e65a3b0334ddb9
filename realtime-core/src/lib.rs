//! The part of realtime that decides: no actor, no socket, no clock; values in, effects out.
//!
//! Applications use `realtime-actix`, which carries the effects out and re-exports what a model needs. A test, a
//! simulation or another server can use this crate alone:
//!
//! ```
//! use realtime_core::filter::{self, RawArgument};
//! use realtime_core::{Limits, RealtimeResource};
//!
//! mod schema {
//!     diesel::table! {
//!         comments (id) {
//!             id -> Integer,
//!             body -> Text,
//!         }
//!     }
//! }
//!
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = schema::comments)]
//! #[realtime(lookups(all))]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     body: String,
//! }
//!
//! fn main() -> Result<(), realtime_core::Error> {
//!     let asked = [("body__icontains".to_owned(), RawArgument::Json("HELLO".into()))];
//!     let filter = filter::parse(Comment::DESCRIPTOR, asked, &Limits::default())?;
//!     assert!(filter.matches(&Comment { id: 1, body: "hello, world".to_owned() }));
//!     assert!(!filter.matches(&Comment { id: 2, body: "bye".to_owned() }));
//!     Ok(())
//! }
//! ```
//!
//! # Map
//!
//! | Modules | |
//! |---|---|
//! | [`resource`] | what the derive implements: a descriptor, and rows that are read field by field |
//! | [`filter`] | a client's filter: parsed, and as a test in memory |
//! | [`sql`] | the same filter, and the statements of actions, as Diesel fragments |
//! | [`action`], [`list`] | one request, carried out in an open transaction |
//! | [`commit`] | which request a refused commit is due to |
//! | [`check`], [`Draft`], [`Hooks`] | what is asked of values, and what an application adds to writes |
//! | [`custom`], [`arguments`] | actions of the application's own, and what they are given |
//! | [`policy`], [`Rows`], [`Fields`] | who may do what, and see which rows and fields |
//! | [`types`] | types for fields that Diesel does not map everywhere |
//! | [`log`] | the change log: tables, triggers, reading |
//! | [`change`], [`diff`], [`cursor`] | a change, the difference of two images, a position in the feed |
//! | [`subscription`], [`group`] | what is asked for, and who is told of a change in which words; an index finds them |
//! | [`connection`] | one client's side of the protocol: messages in, effects out |
//!
//! # Features
//!
//! | Feature | Default | |
//! |---|---|---|
//! | `postgres` | no | statements and row decoding for PostgreSQL, without a driver |
//! | `sqlite` | yes | statements, change log and row decoding for SQLite |

#![deny(missing_docs)]

pub mod action;
pub mod arguments;
pub mod change;
pub mod check;
pub mod commit;
mod condition;
pub mod connection;
mod context;
pub mod cursor;
pub mod custom;
pub mod diff;
mod draft;
mod encode;
mod error;
pub mod expand;
mod field;
pub mod filter;
mod fold;
pub mod group;
pub mod grouping;
pub mod idempotency;
mod json;
mod known;
mod limits;
pub mod list;
pub mod log;
mod lookup;
mod matching;
mod message;
pub mod metadata;
mod page_key;
mod part;
pub mod policy;
mod related;
pub mod resource;
mod rows;
mod scan;
pub mod schema;
mod search;
pub mod selection;
pub mod snapshot;
pub mod sql;
mod store;
pub mod subscription;
pub mod throttle;
pub mod transition;
pub mod types;
mod value;
mod view;
mod zone;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use condition::{Condition, Tags, tag};
pub use context::{Context, Principal};
pub use custom::{CustomAction, CustomActions};
pub use draft::{Draft, Hooks};
pub use encode::object;
pub use error::{Code, Error, NON_FIELD_ERRORS};
pub use field::{Field, FieldEnum, Kind};
pub use json::read as read_json;
pub use known::Known;
pub use limits::{Lag, Limits};
pub use lookup::{Lookup, LookupSet};
pub use message::url_decoded;
pub use page_key::PageKey;
pub use part::Part;
#[doc(inline)]
pub use realtime_derive::{RealtimeEnum, RealtimeResource, actions};
pub use resource::{
    Action, ActionSet, Alias, Base, Bind, Columns, Computed, Descriptor, FieldDescriptor, Lists,
    RealtimeResource, Record, Relation, ResourceOn, Row,
};
pub use rows::{FieldOf, Rows};
pub use store::{AfterCommit, Store};
pub use value::Value;
pub use view::{Fields, View};
pub use zone::Zone;
