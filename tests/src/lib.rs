//! What the cross-crate tests share: a real server on a port of its own, and clients that are not actix's.

use std::future::Future;
use std::time::Duration;

mod accounts;
mod event_stream;
mod kit;
pub mod machine;
mod models;
pub mod postgres;
mod random;
mod relay;
mod rest;
mod server;
mod socket;
mod view;

pub use accounts::{Account, nobody, people};
pub use event_stream::{Block, EventStream, StreamRequest};
pub use kit::Kit;
pub use models::{ANN, AllResources, BOB, POSTGRES_SCHEMA, SCHEMA};
pub use random::Random;
pub use relay::Relay;
pub use rest::Answer;
pub use server::{
    DATABASE, OwnConnection, SOURCE, Server, Setup, Store, change_source, on_postgres, start_error,
};
pub use socket::{Handshake, Incoming, Refused, Socket, position};
pub use view::{Key, View};

/// How long anything is waited for: so long that it never fails for what else the machine does.
pub const WAIT: Duration = Duration::from_secs(60);

/// Waits for something that must come.
///
/// # Panics
/// Where it does not.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(WAIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {WAIT:?} in vain for {what}"),
    }
}

/// Runs it as an application's handler would be run.
///
/// # Panics
/// Where it does.
pub async fn in_actix<T: Send + 'static, W: Future<Output = T>>(
    work: impl FnOnce() -> W + Send + 'static,
) -> T {
    let (reply, replied) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let _ = reply.send(work().await);
        });
    });
    let outcome = within("the application", replied).await;
    thread.join().expect("no panic");
    outcome.expect("an answer")
}

/// A member of a JSON value by its path: `at(&reply, "data.results")`. `null` where there is none.
pub fn at<'a>(json: &'a serde_json::Value, path: &str) -> &'a serde_json::Value {
    path.split('.').fold(json, |json, name| match name.parse::<usize>() {
        Ok(index) if json.is_array() => &json[index],
        _ => &json[name],
    })
}
