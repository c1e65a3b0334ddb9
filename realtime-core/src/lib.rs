//! The part of realtime that decides: no actor, no socket, no clock; values in, effects out.

pub mod action;
pub mod change;
pub mod connection;
mod context;
pub mod cursor;
pub mod diff;
mod draft;
mod encode;
mod error;
mod field;
pub mod filter;
mod fold;
pub mod group;
mod limits;
pub mod list;
pub mod log;
mod lookup;
mod message;
pub mod resource;
pub mod sql;
pub mod subscription;
mod value;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use context::{Context, Principal};
pub use draft::{Draft, Hooks};
pub use encode::object;
pub use error::{Code, Error, NON_FIELD_ERRORS};
pub use field::{Field, FieldEnum, Kind};
pub use limits::Limits;
pub use lookup::{Lookup, LookupSet};
pub use message::url_decoded;
#[doc(inline)]
pub use realtime_derive::{RealtimeEnum, RealtimeResource};
pub use resource::{
    Action, ActionSet, Alias, Bind, Columns, Descriptor, FieldDescriptor, RealtimeResource, Record,
    ResourceOn, Row,
};
pub use value::Value;
