//! The database behind a scope: where requests are carried out and changes come from.

pub(crate) mod sqlite;

use std::sync::Arc;

use realtime_core::action::{Operation, Outcome, Refusal, Request};
use realtime_core::cursor::{Cursor, Epoch};
use realtime_core::group::Event;
use realtime_core::snapshot::{Page, PageRequest};
use realtime_core::subscription::Subscription;
use realtime_core::{Error, Principal, Value};

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
        result
            .map(|(outcome, position, hold)| (outcome, Cursor { epoch: self.epoch, position }, hold))
            .map_err(answer)
    }

    /// Is the cursor one of this database's log, and can what came after it be told?
    pub(crate) async fn reaches_back_to(&self, cursor: Cursor) -> Result<bool, Error> {
        if cursor.epoch != self.epoch {
            return Ok(false);
        }
        self.sqlite.reaches_back_to(cursor.position).await.map_err(answer)
    }

    /// The next events that a subscription has missed, of rows up to a key where one is given; `None` where they can no
    /// longer be had.
    pub(crate) async fn missed(
        &self,
        subscription: Arc<Subscription>,
        up_to: Option<Value<'static>>,
        after: Cursor,
        until: Cursor,
    ) -> Result<Option<Missed>, Error> {
        self.sqlite.missed(subscription, up_to, after, until).await.map_err(answer)
    }

    /// A page of a snapshot.
    pub(crate) async fn snapshot_page(&self, request: PageRequest) -> Result<Page, Error> {
        self.sqlite.snapshot_page(request, self.epoch).await.map_err(answer)
    }
}

/// A part of what a subscription has missed.
pub(crate) struct Missed {
    /// Its events, of whole transactions.
    pub(crate) events: Vec<Event>,
    /// The position right after them.
    pub(crate) cursor: Cursor,
}

fn answer(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Refused(error) => error,
        Refusal::Fault(source) => fault::report("a request failed", source.as_ref()),
        Refusal::Unavailable(source) => fault::unavailable(source.as_ref()),
    }
}
