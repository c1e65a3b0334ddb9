//! The database behind a scope: where requests are carried out and changes come from.

pub(crate) mod sqlite;

use std::sync::Arc;

use realtime_core::Principal;
use realtime_core::action::{Operation, Outcome, Refusal, Request};
use realtime_core::cursor::{Cursor, Epoch};
use realtime_core::{Code, Error};

use crate::fault;
use crate::gate::{Gate, Hold};

/// What a request came to, where the feed was, and, of a write, the hold on the events that it caused.
pub(crate) type Answer = (Outcome, Cursor, Option<Hold>);

/// An open database. SQLite is the only one so far.
pub(crate) struct Database {
    pub(crate) sqlite: sqlite::Sqlite,
    pub(crate) epoch: Epoch,
}

impl Database {
    /// Carries out a request in a transaction of its own. A write holds the gate from its commit on.
    pub(crate) async fn execute(
        self: &Arc<Self>,
        request: Request,
        principal: Principal,
        gate: Option<Gate>,
    ) -> Result<Answer, Error> {
        let result = match request.operation {
            Operation::Retrieve(_) | Operation::List(_) => self
                .sqlite
                .read(request, principal)
                .await
                .map(|(outcome, position)| (outcome, position, None)),
            _ => self
                .sqlite
                .write(request, principal, gate)
                .await
                .map(|written| (written.value, written.position, written.hold)),
        };
        match result {
            Ok((outcome, position, hold)) => Ok((outcome, Cursor { epoch: self.epoch, position }, hold)),
            Err(Refusal::Refused(error)) => Err(error),
            Err(Refusal::Fault(source)) => Err(fault::report("a request failed", source.as_ref())),
            Err(Refusal::Unavailable(source)) => {
                fault::report("the database is not available", source.as_ref());
                Err(Error::new(Code::Unavailable, "The database is not available at present.")
                    .retry_after(1.0))
            }
        }
    }
}
