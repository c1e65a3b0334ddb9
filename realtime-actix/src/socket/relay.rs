//! The delivery actor of one worker: one message for each batch comes in, shared bytes go to every member's outbox.

use std::collections::HashMap;
use std::rc::Rc;

use actix::{Actor, AsyncContext as _, Context, Handler, StreamHandler};
use bytes::{Bytes, BytesMut};
use realtime_core::group::GroupId;
use tokio::sync::mpsc;

use super::group::{Frames, RelayMessage};
use super::worker::Worker;

pub(super) struct Relay {
    worker: Rc<Worker>,
    messages: Option<mpsc::Receiver<RelayMessage>>,
    /// What has come and is not yet in the outboxes, by group, in the order in which the groups first came.
    pending: Vec<(GroupId, Vec<Frames>)>,
    place: HashMap<GroupId, usize>,
    flushing: bool,
}

impl Relay {
    pub(super) fn new(worker: Rc<Worker>, messages: mpsc::Receiver<RelayMessage>) -> Self {
        Self { worker, messages: Some(messages), pending: Vec::new(), place: HashMap::new(), flushing: false }
    }

    fn flush(&mut self) {
        self.place.clear();
        for (group, mut parts) in self.pending.drain(..) {
            let count = parts.iter().map(|part| part.count).sum();
            let bytes = if parts.len() == 1 {
                parts.remove(0).bytes
            } else {
                // Once for the group: every member then takes one chunk instead of many.
                let mut all = BytesMut::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
                for part in &parts {
                    all.extend_from_slice(&part.bytes);
                }
                Bytes::from(all)
            };
            self.worker.deliver(group, &bytes, count);
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
                    let at = *self.place.entry(frames.group).or_insert_with(|| {
                        self.pending.push((frames.group, Vec::new()));
                        self.pending.len() - 1
                    });
                    self.pending[at].1.push(frames);
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
            RelayMessage::Drain => {
                self.flush();
                self.worker.drain();
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
