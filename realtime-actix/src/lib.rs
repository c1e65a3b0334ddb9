//! A REST API and a socket on which every client sees every committed change it may see, from one derive on a Diesel
//! model.

mod database;
mod fault;
mod gate;
mod origin;
mod realtime;
mod rest;
mod scope;
mod server;
mod socket;

#[doc(hidden)]
pub use realtime_core::__private;

pub use realtime::{ChangeLog, Connect, Realtime, ServiceError, StartError};
pub use realtime_core::{
    Action, ActionSet, Code, Context, Descriptor, Draft, Error, Field, FieldEnum, Hooks, Limits, Principal,
    Record, ResourceOn, Value,
};
// From its module, where it is the trait alone: the derive of that name is the one below.
pub use realtime_core::resource::RealtimeResource;
pub use realtime_derive::{RealtimeEnumActix as RealtimeEnum, RealtimeResourceActix as RealtimeResource};
pub use scope::RealtimeScope;
pub use server::socket_options;
