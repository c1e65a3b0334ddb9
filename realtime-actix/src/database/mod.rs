//! The database behind a scope: where requests are carried out and changes come from.

mod parts;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod recall;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod turns;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use actix_web::web;
#[cfg(feature = "postgres")]
use diesel::pg::Pg;
#[cfg(feature = "sqlite")]
use diesel::sqlite::Sqlite;
use realtime_core::action::{Operation, Outcome, Refusal, Request};
use realtime_core::change::{Change, ResourceId};
use realtime_core::commit::Touched;
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::group::Event;
use realtime_core::selection::Selection;
use realtime_core::snapshot::{Page, PageRequest};
use realtime_core::sql::Dialect;
use realtime_core::subscription::Subscription;
use realtime_core::throttle::Throttle;
use realtime_core::transition::Transition;
use realtime_core::{Action, AfterCommit, Descriptor, Error, LookupSet, PageKey, Principal, Value};

pub use self::parts::{OnPostgres, OnSqlite};
pub(crate) use self::parts::{Opening, Parts, Refused, open, outstanding, undecided};
use self::recall::Recall;
use crate::fault;
use crate::gate::{Gate, Hold};

/// What a request came to, where the feed was, and, of a write, the hold on the events that it caused.
pub(crate) type Answer = (Outcome, Cursor, Option<Hold>);

/// An open database.
pub(crate) struct Database {
    backend: Backend,
    pub(crate) epoch: Epoch,
    /// What page cursors are signed with.
    page_key: PageKey,
    descriptors: Vec<&'static Descriptor>,
    recall: Arc<Recall>,
    throttle: Mutex<Throttle>,
    started: Instant,
}

/// Which one it is.
pub(crate) enum Backend {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::Sqlite),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Postgres),
}

/// Calls the same function of whichever database it is.
macro_rules! either {
    ($backend:expr, $database:ident => $call:expr) => {
        match $backend {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite($database) => $call,
            #[cfg(feature = "postgres")]
            Backend::Postgres($database) => $call,
        }
    };
}

impl Database {
    pub(crate) fn new(
        backend: Backend,
        (epoch, page_key): (Epoch, PageKey),
        descriptors: Vec<&'static Descriptor>,
    ) -> Self {
        let recall = Arc::new(Recall::new(descriptors.clone()));
        Self {
            backend,
            epoch,
            page_key,
            descriptors,
            recall,
            throttle: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// What the database cannot decide in SQL.
    pub(crate) fn undecided(&self) -> LookupSet {
        match self.backend {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => Sqlite::UNDECIDED,
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => Pg::UNDECIDED,
        }
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Counts what a client asks for.
    pub(crate) fn throttle(
        &self,
        (resource, descriptor): (ResourceId, &Descriptor),
        action: Action,
        principal: &Principal,
    ) -> Result<(), Error> {
        if descriptor.rate(action).is_none() {
            return Ok(());
        }
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.count(resource, descriptor, action, principal, self.started.elapsed())
    }

    /// Carries out a request in a transaction of its own. A write holds the gate from its commit on.
    pub(crate) async fn execute(
        self: &Arc<Self>,
        mut request: Request,
        principal: Principal,
        gate: Option<Gate>,
    ) -> Result<Answer, Error> {
        if let (Operation::List(query), Some(descriptor)) =
            (&mut request.operation, self.descriptors.get(request.resource.0))
        {
            **query = query.as_ref().clone().with_key(descriptor, &self.page_key)?;
        }
        let result = match request.operation {
            Operation::Retrieve(_) | Operation::List(_) | Operation::FindRowGroups(_) => {
                either!(&self.backend, database => database.read(request, principal).await)
                    .map(|(outcome, position)| (outcome, position, None))
            }
            _ => self.write(vec![request], principal, gate).await.map_err(|(_, refusal)| refusal).and_then(
                |written| match written.value.into_iter().next() {
                    Some(outcome) => Ok((outcome, written.position, written.hold)),
                    None => Err(Refusal::Fault("a request came to nothing".into())),
                },
            ),
        };
        result
            .map(|(outcome, position, hold)| (outcome, Cursor { epoch: self.epoch, position }, hold))
            .map_err(answer)
    }

    /// Carries out requests in one transaction: all of them, or none where one is refused, whose place is told.
    pub(crate) async fn execute_all(
        self: &Arc<Self>,
        requests: Vec<Request>,
        principal: Principal,
    ) -> Result<Vec<Outcome>, (usize, Error)> {
        let written = self.write(requests, principal, None).await;
        written.map(|written| written.value).map_err(|(at, refusal)| (at, answer(refusal)))
    }

    /// A task of its own: who has asked may leave, and what is to be done after the commit is done all the same.
    async fn write(
        self: &Arc<Self>,
        requests: Vec<Request>,
        principal: Principal,
        gate: Option<Gate>,
    ) -> Result<Written<Vec<Outcome>>, (usize, Refusal)> {
        let database = Arc::clone(self);
        let task = actix_web::rt::spawn(async move {
            let written =
                either!(&database.backend, database => database.write(requests, principal, gate).await)?;
            let Written { value, position, hold } = written;
            let outcomes = value.into_iter().map(Done::finish).collect();
            Ok(Written { value: outcomes, position, hold })
        });
        task.await.unwrap_or_else(|_| Err((0, Refusal::Unavailable("the worker has ended".into()))))
    }

    /// Is the cursor one of this database's log, and can what came after it be told?
    /// What is not wanted any more when its turn comes is not asked.
    pub(crate) async fn reaches_back_to(
        &self,
        cursor: Cursor,
        is_wanted: impl Fn() -> bool,
    ) -> Result<bool, Error> {
        either!(&self.backend, database => database.reaches_back_to(cursor, is_wanted).await).map_err(answer)
    }

    /// The next events that a subscription has missed, of rows up to a key where one is given; `None` where they can no
    /// longer be had.
    pub(crate) async fn missed(
        &self,
        subscription: Arc<Subscription>,
        up_to: Option<Value<'static>>,
        (after, until): (Cursor, Cursor),
    ) -> Result<Option<Missed>, Error> {
        let read = async |until| {
            let read = either!(&self.backend, database => database.read_log(after.position, until).await)?;
            let to = read.as_ref().map_or(after.position, |batch| batch.position);
            tracing::debug!(after = after.position.0, to = to.0, "the log is read for those who catch up");
            Ok(read)
        };
        self.recall.missed(subscription, up_to, (after, until), read).await.map_err(answer)
    }

    /// Rows of one resource, true at the position of one transaction.
    async fn select<S: Selection>(&self, selection: S) -> Result<S::Found, Refusal> {
        // Boxed: futures that are nested deeper than they are now the compiler refuses in users' tests.
        either!(&self.backend, database => Box::pin(database.select(selection, self.epoch)).await)
    }

    /// A page of a snapshot that is true at a position or at a later one; at the present where none is given.
    pub(crate) async fn snapshot_page(
        &self,
        request: PageRequest,
        not_before: Option<Position>,
    ) -> Result<Arc<Page>, Error> {
        let read = async |request: PageRequest| {
            tracing::debug!("a page of a snapshot is read");
            let resource = request.subscription.resource();
            let Some(descriptor) = self.descriptors.get(resource.0).copied() else {
                return Err(Refusal::Fault("no such resource".into()));
            };
            self.select(request.begin(descriptor)).await
        };
        self.recall.page(request, not_before, read).await.map_err(answer)
    }

    /// What the holder of a subscription is told who has been told of it up to a position and now sees other rows; `None`
    /// where that is more than `most` rows or bytes, or can no longer be had.
    pub(crate) async fn transition(
        &self,
        transition: Arc<Transition>,
        after: Cursor,
        most: (usize, usize),
    ) -> Result<Option<Missed>, Error> {
        let resource = transition.resource();
        let Some(descriptor) = self.descriptors.get(resource.0).copied() else { return Ok(None) };
        let (rows, until) = self.select(transition.select(descriptor, most)).await.map_err(answer)?;
        let Some(rows) = rows else { return Ok(None) };
        if after.epoch != until.epoch || after.position > until.position {
            return Ok(None);
        }
        let weight = |change: &Change| -> usize {
            let rows = [&change.before, &change.after].into_iter().flatten();
            rows.map(|row| descriptor.weight(row.as_ref())).sum()
        };
        let (mut changes, mut bytes, mut at) = (Vec::new(), 0, after.position);
        while at < until.position {
            let read = async |until| either!(&self.backend, database => database.read_log(at, until).await);
            let part = self.recall.changes(resource, (at, until.position), read).await.map_err(answer)?;
            let Some((more, to)) = part else { return Ok(None) };
            bytes += more.iter().map(weight).sum::<usize>();
            changes.extend(more);
            if changes.len() > most.0 || bytes > most.1 {
                return Ok(None);
            }
            at = to;
        }
        // A filter may take its time, and the worker has others to serve.
        let events = web::block(move || transition.events(descriptor, changes, rows, until)).await;
        let events = events.map_err(|error| answer(Refusal::Fault(Box::new(error))))?;
        let bytes: usize = events.iter().map(|event| event.text.len()).sum();
        Ok((events.len() <= most.0 && bytes <= most.1).then_some(Missed { events, cursor: until }))
    }

    /// Looks for other connections' commits at once.
    pub(crate) fn wake(&self) {
        either!(&self.backend, database => database.wake());
    }

    /// Can the database be used?
    pub(crate) fn is_ready(&self) -> bool {
        either!(&self.backend, database => database.is_ready())
    }

    /// Finishes what runs and closes the database. Blocks.
    pub(crate) fn close(&self) {
        either!(&self.backend, database => database.close());
    }
}

/// The result of a committed transaction.
pub(crate) struct Written<T> {
    pub(crate) value: T,
    /// A position of the feed. On SQLite it includes the transaction's changes; on PostgreSQL, where that would have to
    /// be waited for, it need not.
    pub(crate) position: Position,
    /// Keeps the events back until it is dropped.
    pub(crate) hold: Option<Hold>,
}

/// What a request came to in a transaction that is to be committed.
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    /// What hooks want to be done then.
    pub(crate) after_commit: Vec<AfterCommit>,
    /// What it has written, for when it cannot be committed.
    pub(crate) touched: Vec<Touched>,
}

impl Done {
    /// The transaction is committed. A panic in what is done then ends nothing else: the write stands.
    fn finish(self) -> Outcome {
        run_all(self.after_commit);
        self.outcome
    }
}

/// Does what was to be done after a commit.
pub(crate) fn run_all(works: Vec<AfterCommit>) {
    for work in works {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
            tracing::error!("what was to be done after a commit panicked");
        }
    }
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(crate) enum WriteError<E> {
    /// The work itself gave up.
    Refused(E),
    /// A constraint that is asked at the commit refuses it.
    Constraint(diesel::result::Error),
    /// The database could not be written to, the commit failed, or too many writes wait.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// The work panicked and was rolled back.
    Panicked,
}

/// A part of what a subscription has missed.
pub(crate) struct Missed {
    /// Its events, of whole transactions.
    pub(crate) events: Vec<Event>,
    /// The position right after them.
    pub(crate) cursor: Cursor,
}

pub(crate) fn answer(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Refused(error) => error,
        Refusal::Fault(source) => fault::report("a request failed", source.as_ref()),
        Refusal::Unavailable(source) => fault::unavailable(source.as_ref()),
    }
}
