//! A connection that goes on from a cursor: what it missed is read from the log, and the live events wait for it.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use realtime_core::connection::Ticket;
use realtime_core::cursor::Cursor;
use realtime_core::group::GroupId;
use realtime_core::subscription::Subscription;

use super::backlog::Run;
use super::client::Client;
use super::frame;
use super::worker::Worker;

/// Bytes of frames that are queued at once, at most, and what of the last one is more.
const PARCEL_BYTES: usize = 16 << 10;

/// No parcel takes more than this part of the client's queue, so that there is room for replies beside it.
const PART_OF_QUEUE: usize = 4;

/// One subscription that catches up. Its live events begin after `until` and wait in the client's backlog.
pub(super) struct Recovery {
    pub(super) worker: Rc<Worker>,
    pub(super) client: Rc<Client>,
    pub(super) ticket: Ticket,
    pub(super) group: GroupId,
    pub(super) run: Run,
    pub(super) subscription: Arc<Subscription>,
    pub(super) since: Cursor,
    pub(super) until: Cursor,
}

impl Recovery {
    /// Sends the reply, what was missed, and what has come meanwhile; then the group is no longer behind.
    pub(super) async fn run(self) {
        let Self { worker, client, ticket, group, since, until, .. } = &self;
        let database = worker.database();
        let first = database.missed(Arc::clone(&self.subscription), *since, *until).await;
        if client.is_gone() {
            // The connection does not know of the group yet.
            worker.leave(client, *group);
            return;
        }
        match first {
            Ok(Some(mut part)) => {
                worker.tell_joined(client, *ticket, *group, *since, true);
                loop {
                    if !self.send(&part.events).await {
                        return;
                    }
                    if part.cursor.position >= until.position {
                        break;
                    }
                    part = match database.missed(Arc::clone(&self.subscription), part.cursor, *until).await {
                        Ok(Some(part)) => part,
                        Ok(None) | Err(_) => {
                            if self.goes_on() {
                                client.close(4408, "a change was lost; begin anew");
                            }
                            return;
                        }
                    };
                }
            }
            // Nothing has been promised yet.
            Ok(None) => worker.tell_joined(client, *ticket, *group, *until, false),
            Err(error) => {
                worker.leave(client, *group);
                let effects = client.connection.borrow_mut().answered(*ticket, Err(error));
                worker.carry_out(client, effects);
                return;
            }
        }
        while self.goes_on() {
            let Some((bytes, frames)) = client.backlog.next(*group) else {
                client.end_backlog(*group);
                return;
            };
            if !self.push(bytes, frames).await {
                return;
            }
        }
    }

    /// Does the connection still want the events?
    fn goes_on(&self) -> bool {
        !self.client.outbox.is_closed() && self.client.backlog.is_behind(self.group, self.run)
    }

    /// Queues events as the queue drains. `false` where they are no longer wanted.
    async fn send(&self, events: &[String]) -> bool {
        let limits = self.worker.limits();
        let most_bytes = PARCEL_BYTES.min(limits.outbox_bytes / PART_OF_QUEUE);
        let most_frames = (limits.outbox_frames / PART_OF_QUEUE).max(1);
        let mut events = events.iter().peekable();
        while events.peek().is_some() {
            let mut bytes = BytesMut::new();
            let mut frames = 0;
            while (frames == 0 || bytes.len() < most_bytes)
                && frames < most_frames
                && let Some(event) = events.next()
            {
                frame::append_text(&mut bytes, event);
                frames += 1;
            }
            if !self.push(bytes.freeze(), frames).await {
                return false;
            }
        }
        self.goes_on()
    }

    async fn push(&self, bytes: Bytes, frames: usize) -> bool {
        self.client.outbox.room(bytes.len(), frames).await;
        let goes_on = self.goes_on();
        if goes_on {
            self.client.push_events(bytes, frames);
        }
        goes_on
    }
}
