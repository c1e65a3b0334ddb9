//! The actor that owns all groups: it takes the batches of the feed one by one, in commit order, and tells the relays.
//!
//! One actor for all groups rather than one for each: a batch is then published in one step, every group sees the same
//! order, and a group costs its table entries instead of a mailbox.

use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use actix::{Actor, AsyncContext as _, Context, Handler, StreamHandler, WrapFuture as _};
use realtime_core::change::{Batch, Change, ResourceId};
use realtime_core::cursor::{Cursor, Position};
use realtime_core::group::{Delivery, GroupId, Groups, WorkerId};
use realtime_core::subscription::Subscription;
use tokio::sync::mpsc;

use super::burst::Frames;
use super::frame;
use crate::auth::{Revocation, Revocations};
use crate::fault;

/// What a relay is told. They arrive in the order in which they were sent: a delivery before a [`Joined`](Self::Joined)
/// is not for the new member, one after it is.
#[derive(Debug)]
pub(super) enum RelayMessage {
    Joined {
        request: u64,
        group: GroupId,
        cursor: Cursor,
    },
    Positioned {
        request: u64,
        cursor: Cursor,
    },
    Deliver(Vec<Frames>),
    /// The group's members have missed a change that cannot be read: they begin anew.
    Lost(GroupId),
    /// Close, or look anew at, the connections of somebody.
    Revoke(Revocation),
    /// End every connection with 1001, by and by. The sender is dropped when that has been done.
    Drain(mpsc::Sender<Infallible>),
}

pub(crate) struct GroupActor {
    groups: Groups,
    relays: HashMap<WorkerId, mpsc::Sender<RelayMessage>>,
    feed: Option<mpsc::Receiver<Batch>>,
    revocations: Arc<Revocations>,
    /// What the application does about changes.
    observers: Vec<Observer>,
    /// Those who know of a commit already that the feed has not come to.
    early: Vec<Join>,
    /// Tests that wait for the feed.
    #[cfg(feature = "testing")]
    awaited: Vec<Reached>,
}

impl GroupActor {
    pub(crate) fn new(groups: Groups, feed: mpsc::Receiver<Batch>, revocations: Arc<Revocations>) -> Self {
        Self {
            groups,
            relays: HashMap::new(),
            feed: Some(feed),
            revocations,
            observers: Vec::new(),
            early: Vec::new(),
            #[cfg(feature = "testing")]
            awaited: Vec::new(),
        }
    }

    /// Tells the relays whose connections end, or are to be looked at anew.
    fn tell_revocations(&mut self, context: &mut Context<Self>) {
        let workers: Vec<WorkerId> = self.relays.keys().copied().collect();
        for revocation in self.revocations.take(self.groups.cursor().position) {
            for worker in &workers {
                self.tell(*worker, RelayMessage::Revoke(revocation.clone()), context);
            }
        }
    }

    /// Moves on by a batch. Where the application's word about a row panics, its resource counts as lost: else nobody
    /// would ever be told of anything again.
    fn publish(&mut self, batch: &mut Batch) -> Vec<Delivery> {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.groups.publish(batch))) {
                Ok(deliveries) => return deliveries,
                Err(panic) => {
                    fault::panicked("what says how a row is shown", &*panic);
                    match self.groups.publishing() {
                        Some(resource) if !batch.lost.contains(&resource) => batch.lost.push(resource),
                        _ => resume_unwind(panic),
                    }
                }
            }
        }
    }

    /// Tells a relay. A relay whose queue is full makes the feed wait: the log keeps what is not read yet.
    fn tell(&mut self, worker: WorkerId, message: RelayMessage, context: &mut Context<Self>) {
        let Some(relay) = self.relays.get(&worker) else { return };
        match relay.try_send(message) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(message)) => {
                let relay = relay.clone();
                let sending = async move {
                    // A relay that ends meanwhile is noticed at the next message.
                    let _ = relay.send(message).await;
                };
                context.wait(sending.into_actor(self));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.relays.remove(&worker);
                self.groups.forget_worker(worker);
            }
        }
    }
}

impl Actor for GroupActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(mut feed) = self.feed.take() {
            Self::add_stream(futures_util::stream::poll_fn(move |task| feed.poll_recv(task)), context);
        }
    }
}

impl StreamHandler<Batch> for GroupActor {
    fn handle(&mut self, mut batch: Batch, context: &mut Self::Context) {
        for Observer { resource, observe } in &self.observers {
            for change in batch.changes.iter().filter(|change| change.resource == *resource) {
                // What an application's function does wrong must not end the feed.
                if catch_unwind(AssertUnwindSafe(|| observe(change))).is_err() {
                    tracing::error!(resource = resource.0, "a function that observes changes panicked");
                }
            }
        }
        // Before the batch: what was committed after somebody was revoked is not for him, and neither is what has made an
        // observer revoke him.
        self.tell_revocations(context);
        let mut by_worker: HashMap<WorkerId, Vec<Frames>> = HashMap::new();
        for mut delivery in self.publish(&mut batch) {
            let bytes = frame::texts(delivery.events.iter().map(|event| &*event.text));
            let workers = std::mem::take(&mut delivery.workers);
            let frames = Frames { delivery: Arc::new(delivery), bytes };
            for worker in workers {
                by_worker.entry(worker).or_default().push(frames.clone());
            }
        }
        // First: with a delivery a worker has been told of everything up to its end.
        for (group, workers) in self.groups.following(&batch.lost) {
            for worker in workers {
                self.tell(worker, RelayMessage::Lost(group), context);
            }
        }
        for (worker, frames) in by_worker {
            self.tell(worker, RelayMessage::Deliver(frames), context);
        }
        // As messages to itself: the answers come after the deliveries, also where a relay has to be waited for.
        let reached = batch.position;
        for join in self.early.extract_if(.., |join| join.not_before <= reached) {
            context.notify(join);
        }
        #[cfg(feature = "testing")]
        for awaited in self.awaited.extract_if(.., |awaited| awaited.position <= reached) {
            context.notify(awaited);
        }
    }

    /// The database has been closed; the groups stay, in silence, until the program ends.
    fn finished(&mut self, _context: &mut Self::Context) {}
}

/// A function of the application's that is to be told of every change of a resource.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Observer {
    pub(crate) resource: ResourceId,
    pub(crate) observe: Box<dyn Fn(&Change) + Send>,
}

impl Handler<Observer> for GroupActor {
    type Result = ();

    fn handle(&mut self, observer: Observer, _context: &mut Self::Context) {
        self.observers.push(observer);
    }
}

/// What all that is followed comes to: subscriptions that ask for the same and may see the same are one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, actix::MessageResponse)]
#[non_exhaustive]
pub struct GroupCounts {
    /// The groups. A change costs by those that it concerns, and not by all.
    pub groups: usize,
    /// Those of them whose filter is decided for every change of their resource, because nothing in it can be looked up:
    /// it selects everything, or has only negations, regular expressions, parts of dates, paths in JSON,
    /// `isnull=false` or empty patterns. Each costs every change, so they should be few.
    pub scanned: usize,
}

/// Somebody wants to know how many groups there are.
#[derive(actix::Message)]
#[rtype(result = "GroupCounts")]
pub(crate) struct CountGroups;

impl Handler<CountGroups> for GroupActor {
    type Result = GroupCounts;

    fn handle(&mut self, CountGroups: CountGroups, _context: &mut Self::Context) -> GroupCounts {
        GroupCounts { groups: self.groups.len(), scanned: self.groups.scanned() }
    }
}

/// A worker has started.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct AddRelay {
    pub(super) worker: WorkerId,
    pub(super) relay: mpsc::Sender<RelayMessage>,
}

impl Handler<AddRelay> for GroupActor {
    type Result = ();

    fn handle(&mut self, AddRelay { worker, relay }: AddRelay, _context: &mut Self::Context) {
        self.relays.insert(worker, relay);
    }
}

/// A connection joins the group of its subscription.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Join {
    pub(super) worker: WorkerId,
    pub(super) request: u64,
    pub(super) subscription: Arc<Subscription>,
    /// A position that has been committed: what the member is sent begins after it.
    pub(super) not_before: Position,
}

impl Handler<Join> for GroupActor {
    type Result = ();

    fn handle(&mut self, join: Join, context: &mut Self::Context) {
        if join.not_before > self.groups.cursor().position {
            self.early.push(join);
            return;
        }
        let Join { worker, request, subscription, .. } = join;
        let (group, cursor) = self.groups.join(worker, &subscription);
        self.tell(worker, RelayMessage::Joined { request, group, cursor }, context);
    }
}

/// Somebody wants to know when everything up to a position has been handed to the relays.
#[cfg(feature = "testing")]
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Reached {
    pub(crate) position: Position,
    pub(crate) tell: tokio::sync::oneshot::Sender<()>,
}

#[cfg(feature = "testing")]
impl Handler<Reached> for GroupActor {
    type Result = ();

    fn handle(&mut self, reached: Reached, _context: &mut Self::Context) {
        if reached.position > self.groups.cursor().position {
            self.awaited.push(reached);
        } else {
            // Whoever no longer waits need not know.
            let _ = reached.tell.send(());
        }
    }
}

/// A connection leaves a group.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Leave {
    pub(super) worker: WorkerId,
    pub(super) group: GroupId,
}

impl Handler<Leave> for GroupActor {
    type Result = ();

    fn handle(&mut self, Leave { worker, group }: Leave, _context: &mut Self::Context) {
        self.groups.leave(worker, group);
    }
}

/// How far has the worker been told everything?
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct AskPosition {
    pub(super) worker: WorkerId,
    pub(super) request: u64,
}

impl Handler<AskPosition> for GroupActor {
    type Result = ();

    fn handle(&mut self, AskPosition { worker, request }: AskPosition, context: &mut Self::Context) {
        let cursor = self.groups.cursor();
        self.tell(worker, RelayMessage::Positioned { request, cursor }, context);
    }
}

/// Somebody has been revoked.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Revoke;

impl Handler<Revoke> for GroupActor {
    type Result = ();

    fn handle(&mut self, _: Revoke, context: &mut Self::Context) {
        self.tell_revocations(context);
    }
}

/// Close every socket with 1001, by and by. The sender is dropped when that has been done.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct DrainSockets(pub(crate) mpsc::Sender<Infallible>);

impl Handler<DrainSockets> for GroupActor {
    type Result = ();

    fn handle(&mut self, DrainSockets(done): DrainSockets, context: &mut Self::Context) {
        let workers: Vec<WorkerId> = self.relays.keys().copied().collect();
        for worker in workers {
            self.tell(worker, RelayMessage::Drain(done.clone()), context);
        }
    }
}
