//! The delivery actor of one worker: one message for each batch comes in, shared bytes go to every member's outbox.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use actix::{Actor, AsyncContext as _, Context, Handler, StreamHandler};
use realtime_core::group::GroupId;
use tokio::sync::mpsc;

use super::burst::{Burst, Frames};
use super::group::RelayMessage;
use super::worker::Worker;

pub(super) struct Relay {
    worker: Rc<Worker>,
    messages: Option<mpsc::Receiver<RelayMessage>>,
    /// What has come and is not yet in the outboxes, by group, in the order in which the groups first came.
    pending: Vec<Burst>,
    place: HashMap<GroupId, usize>,
    flushing: bool,
}

impl Relay {
    pub(super) fn new(worker: Rc<Worker>, messages: mpsc::Receiver<RelayMessage>) -> Self {
        Self { worker, messages: Some(messages), pending: Vec::new(), place: HashMap::new(), flushing: false }
    }

    fn add(&mut self, frames: Frames) {
        match self.place.entry(frames.delivery.group) {
            Entry::Occupied(place) => self.pending[*place.get()].push(frames),
            Entry::Vacant(place) => {
                place.insert(self.pending.len());
                self.pending.push(Burst::new(frames));
            }
        }
    }

    fn flush(&mut self) {
        self.place.clear();
        for burst in self.pending.drain(..) {
            self.worker.deliver(&burst);
        }
    }
}

impl Actor for Relay {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(mut messages) = self.messages.take() {
            Self::add_stream(futures_util::stream::poll_fn(move |task| messages.poll_recv(task)), context);
        }
    }
}

impl StreamHandler<RelayMessage> for Relay {
    fn handle(&mut self, message: RelayMessage, context: &mut Self::Context) {
        match message {
            RelayMessage::Deliver(frames) => {
                for frames in frames {
                    self.add(frames);
                }
                // A message to itself comes after what is already in the queue, so that a burst becomes one batch.
                if !self.flushing {
                    self.flushing = true;
                    context.notify(Flush);
                }
            }
            // The answers below promise that everything before them has been delivered.
            RelayMessage::Joined { request, group, cursor } => {
                self.flush();
                self.worker.joined(request, group, cursor);
            }
            RelayMessage::Positioned { request, cursor } => {
                self.flush();
                self.worker.positioned(request, cursor);
            }
            RelayMessage::Lost(group) => {
                self.flush();
                self.worker.lose(group);
            }
            RelayMessage::Revoke(revocation) => self.worker.revoke(&revocation),
            RelayMessage::Drain(done) => {
                self.flush();
                self.worker.drain(done);
            }
        }
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Flush;

impl Handler<Flush> for Relay {
    type Result = ();

    fn handle(&mut self, _: Flush, _context: &mut Self::Context) {
        self.flushing = false;
        self.flush();
    }
}
