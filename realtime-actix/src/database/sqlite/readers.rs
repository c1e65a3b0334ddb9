//! A few connections that read beside the writer.

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::web;
use diesel::ConnectionError;
use diesel::connection::SimpleConnection as _;
use diesel::sqlite::SqliteConnection;
use tokio::sync::Semaphore;

use super::{Location, Stop};

pub(super) struct Readers {
    location: Location,
    idle: Arc<Mutex<Vec<SqliteConnection>>>,
    /// As many permits as connections; who waits for one waits in turn.
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(location: Location, count: usize) -> Self {
        Self { location, idle: Arc::default(), permits: Arc::new(Semaphore::new(count.max(1))) }
    }

    /// Runs a closure on a connection, off the worker's thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Stop> {
        let permit =
            Arc::clone(&self.permits).acquire_owned().await.map_err(|error| fault(error.to_string()))?;
        let idle = Arc::clone(&self.idle);
        let location = self.location.clone();
        let result = web::block(move || {
            let pooled = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match pooled {
                Some(connection) => connection,
                None => connect(&location).map_err(unavailable)?,
            };
            let result = read(&mut connection);
            // Kept only when the read did not fail in the database: a connection in doubt is not used again.
            if !matches!(result, Err(Stop::Database(_))) {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            drop(permit);
            result
        })
        .await;
        result.unwrap_or_else(|error| Err(fault(error.to_string())))
    }
}

/// A connection that cannot write: what is written goes through the writer, or nobody would be told.
fn connect(location: &Location) -> Result<SqliteConnection, ConnectionError> {
    let mut connection = location.connect()?;
    connection
        .batch_execute("PRAGMA query_only = ON;")
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

fn fault(message: String) -> Stop {
    Stop::Refusal(realtime_core::action::Refusal::Fault(message.into()))
}

fn unavailable(error: ConnectionError) -> Stop {
    Stop::Refusal(realtime_core::action::Refusal::Unavailable(Box::new(error)))
}
