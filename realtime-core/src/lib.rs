//! The part of realtime that decides: no actor, no socket, no clock; values in, effects out.

mod context;
mod draft;
mod error;
mod field;
mod lookup;
mod resource;
mod value;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use context::{Context, Principal};
pub use draft::{Draft, Hooks};
pub use error::{Code, Error, NON_FIELD_ERRORS};
pub use field::{Field, FieldEnum, Kind};
pub use lookup::{Lookup, LookupSet};
#[doc(inline)]
pub use realtime_derive::{RealtimeEnum, RealtimeResource};
pub use resource::{
    Action, ActionSet, Alias, Bind, Columns, Descriptor, FieldDescriptor, RealtimeResource, Record, ResourceOn, Row,
};
pub use value::Value;
