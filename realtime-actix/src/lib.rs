//! A REST API and a socket on which every client sees every committed change it may see, from one derive on a Diesel
//! model.
//!
//! ```
//! use actix_web::http::StatusCode;
//! use actix_web::{App, test};
//! use diesel::prelude::*;
//! use realtime_actix::policy::AllowAny;
//! use realtime_actix::{Realtime, RealtimeResource};
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
//! #[realtime(permission = AllowAny, lookups(all), ordering(all))]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     body: String,
//! }
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let realtime = Realtime::connect("sqlite::memory:")
//!         .prepare(|connection| {
//!             diesel::sql_query("CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, body TEXT NOT NULL)")
//!                 .execute(connection)?;
//!             Ok(())
//!         })
//!         .resource::<Comment>()
//!         .start()
//!         .await?;
//!
//!     // In a program, what `HttpServer::new` is given makes this for each worker.
//!     let app = test::init_service(App::new().service(realtime.scope("/api"))).await;
//!
//!     let create = test::TestRequest::post()
//!         .uri("/api/comments/")
//!         .insert_header(("content-type", "application/json"))
//!         .set_payload(r#"{"body": "hello"}"#)
//!         .to_request();
//!     let response = test::call_service(&app, create).await;
//!     assert_eq!(response.status(), StatusCode::CREATED);
//!     assert_eq!(test::read_body(response).await, r#"{"id":1,"body":"hello"}"#);
//!     Ok(())
//! }
//! ```
//!
//! The same scope has the socket at `/api/ws`; a client that subscribes to `comments` there is told of that row, and of
//! what any other program does to the table.
//!
//! # Map
//!
//! | Items | |
//! |---|---|
//! | [`macro@RealtimeResource`], [`macro@RealtimeEnum`] | the derives |
//! | [`Realtime`], [`Connect`] | starting, the application's own writes, stopping |
//! | [`RealtimeScope`], [`prepare_connection`] | what an `App` mounts, and what its server sets on connections |
//! | [`IpNet`] | where proxies are that are trusted |
//! | [`macro@actions`] | functions that clients can call |
//! | [`Hooks`], [`Draft`], [`Context`], [`Principal`] | what the application adds to writes, and on whose behalf they are made |
//! | [`auth`] | who is asking |
//! | [`policy`], [`Rows`], [`Fields`] | who may do what, and who sees which rows and fields |
//! | [`Resource`], [`Within`] | the resources for the application's own code |
//! | [`Error`], [`Code`] | what a hook refuses with |
//! | [`Problem`], [`json_object`] | answers and bodies of handlers beside the scope |
//! | [`Limits`] | every bound |
//!
//! # Features
//!
//! | Feature | Default | |
//! |---|---|---|
//! | `sqlite` | yes | SQLite, compiled in |
//! | `postgres` | no | PostgreSQL, through diesel-async, without a C library |
//! | `session` | no | callers by the cookies of actix-session and actix-identity: `auth::CookieSession` |
//! | `testing` | no | clients and users in the process of a test: the module `testing` |
//! | `conformance` | no | `RealtimeScope::with_echo`, for programs that check how the socket speaks WebSocket |
//!
//! At least one of `sqlite` and `postgres`. Where both are on, every resource must fit both, and the URL says which one a
//! program uses.
//!
//! With all of them on, as on docs.rs, the module `guide` has an example for each capability.

#![deny(missing_docs)]

mod admission;
pub mod auth;
mod database;
mod fault;
mod gate;
#[cfg(all(doc, feature = "testing", feature = "sqlite", feature = "postgres", feature = "conformance"))]
pub mod guide;
mod origin;
mod poll;
mod proxies;
mod realtime;
mod rest;
mod scope;
mod server;
mod service;
mod socket;
mod sse;
#[cfg(feature = "testing")]
pub mod testing;

#[doc(hidden)]
pub use realtime_core::__private;
pub use realtime_core::action::Refusal;
pub use realtime_core::change::Change;
pub use realtime_core::{check, policy, types};

pub use database::{OnPostgres, OnSqlite};
pub use ipnet::IpNet;
#[cfg(feature = "postgres")]
pub use realtime::ChangeSource;
pub use realtime::{ChangeLog, Connect, Realtime, ServiceError, StartError};
pub use realtime_core::{
    Action, ActionSet, AfterCommit, Code, Context, CustomAction, CustomActions, Descriptor, Draft, Error,
    Field, FieldEnum, Fields, Hooks, Lag, Limits, Principal, Record, ResourceOn, Rows, Store, Value, View,
};
// From its module, where it is the trait alone: the derive of that name is the one below.
pub use realtime_core::resource::RealtimeResource;
pub use realtime_derive::{
    RealtimeEnumActix as RealtimeEnum, RealtimeResourceActix as RealtimeResource, actions_actix as actions,
};
pub use rest::body::json_object;
pub use rest::problem::Problem;
pub use scope::RealtimeScope;
pub use server::prepare_connection;
pub use service::{RefusedOf, Resource, Within};
pub use socket::GroupCounts;
