//! One subscription of one client: a member of its group, or on the way to become one.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use realtime_core::Error;
use realtime_core::connection::{Start, Ticket};
use realtime_core::cursor::Cursor;
use realtime_core::group::GroupId;
use realtime_core::snapshot::{Resync, lagged};
use realtime_core::subscription::Subscription;

use super::backlog::Parcel;
use super::burst::Burst;
use super::client::Client;
use super::outbox::Overflow;
use super::worker::Worker;
use crate::sse;

pub(super) struct Follower {
    /// Names it among the members of groups on its worker.
    pub(super) member: u64,
    pub(super) client: Rc<Client>,
    /// Names it to its client.
    pub(super) ticket: Ticket,
    pub(super) subscription: Arc<Subscription>,
    pub(super) start: Start,
    /// The group that it is a member of.
    pub(super) group: Cell<Option<GroupId>>,
    /// The request that is answered once it is certain how it begins.
    pub(super) unanswered: Cell<Option<Ticket>>,
    /// Has it been left?
    pub(super) left: Cell<bool>,
}

impl Follower {
    /// Live events of its group.
    pub(super) fn deliver(&self, burst: &Burst) -> Result<(), Overflow> {
        let client = &self.client;
        let bytes = if client.is_event_stream() { burst.event_stream() } else { burst.socket() };
        if client.backlog.is_empty() {
            return client.outbox.push_events(bytes, burst.count());
        }
        let parcel = Parcel { bytes, frames: burst.count(), cursor: burst.cursor() };
        match client.backlog.keep(self.ticket, parcel)? {
            Some(Parcel { bytes, frames, .. }) => client.outbox.push_events(bytes, frames),
            None => Ok(()),
        }
    }

    /// Where a client goes on that has been told that nothing was recovered: an event stream has no reply that says so.
    pub(super) fn tells_gap(&self) -> bool {
        self.client.is_event_stream() && self.start.since.is_some()
    }

    /// Answers that it is followed from the cursor on.
    pub(super) fn answer(&self, worker: &Rc<Worker>, cursor: Cursor, recovered: bool, snapshot: bool) {
        let Some(ticket) = self.unanswered.take() else { return };
        if let Some(socket) = self.client.socket() {
            let effects = socket.ask(|connection| connection.joined(ticket, cursor, recovered));
            worker.carry_out(&self.client, effects);
            return;
        }
        let mut bytes = BytesMut::new();
        if snapshot {
            bytes.extend_from_slice(&sse::id(Cursor::NOWHERE));
        } else if self.tells_gap() && !recovered {
            self.append_lagged(worker, &mut bytes, Resync::Snapshot, cursor, cursor);
        } else {
            bytes.extend_from_slice(&sse::id(cursor));
        }
        self.push(bytes, 1);
    }

    /// Answers that it cannot be followed.
    pub(super) fn refuse(&self, worker: &Rc<Worker>, error: Error) {
        worker.leave(&self.client, self.ticket);
        match (self.client.socket(), self.unanswered.take()) {
            (Some(socket), Some(ticket)) => {
                let effects = socket.ask(|connection| connection.answered(ticket, Err(error)));
                worker.carry_out(&self.client, effects);
            }
            _ => self.client.close(1011, "the server failed"),
        }
    }

    /// Appends what tells of a gap that the client goes on from `id` to close.
    pub(super) fn append_lagged(
        &self,
        worker: &Worker,
        bytes: &mut BytesMut,
        resync: Resync,
        cursor: Cursor,
        id: Cursor,
    ) {
        let text = lagged(worker.descriptor(&self.subscription), &self.subscription, resync, cursor);
        self.client.append(bytes, "lagged", Some(id), &text);
    }

    /// Queues what there is room for.
    pub(super) fn push(&self, bytes: BytesMut, frames: usize) {
        if self.client.outbox.push_events(bytes.freeze(), frames).is_err() {
            self.client.cut_off("too slow");
        }
    }
}
