//! The delivery actor of one worker: one message for each batch comes in, shared bytes go to every member's outbox.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use actix::{Actor, Context, StreamHandler};
use futures_util::Stream;
use realtime_core::group::GroupId;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use super::burst::{Burst, Frames};
use super::group::RelayMessage;
use super::worker::{RELAY_QUEUE, Worker};
use super::writer::Writer;

pub(super) struct Relay {
    worker: Rc<Worker>,
    messages: Option<mpsc::Receiver<RelayMessage>>,
    /// What has come and is not yet in the outboxes, by group, in the order in which the groups first came.
    pending: Vec<Burst>,
    place: HashMap<GroupId, usize>,
}

impl Relay {
    pub(super) fn new(worker: Rc<Worker>, messages: mpsc::Receiver<RelayMessage>) -> Self {
        Self { worker, messages: Some(messages), pending: Vec::new(), place: HashMap::new() }
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
        if let Some(messages) = self.messages.take() {
            let writer = Rc::clone(self.worker.writer());
            Self::add_stream(Turns::new(messages, writer), context);
        }
    }
}

/// The part of the time that a turn took for which the next one is waited for, where it is worth it.
const REST: u32 = 4;

/// No rest is longer, and a shorter one is none: timers are no finer.
const LONGEST_REST: Duration = Duration::from_millis(10);
const SHORTEST_REST: Duration = Duration::from_millis(1);

/// What has come since the last turn, all of it at once.
///
/// A write costs much more than a frame in it, so what can be told together is. A turn begins when all whom the last one
/// has woken have written, each once. Under pressure, where batches come faster than they are written, it rests before
/// that: those that are about to come, often because the last turn has been read, go into the same writes. What comes
/// alone does not wait.
struct Turns {
    messages: mpsc::Receiver<RelayMessage>,
    writer: Rc<Writer>,
    phase: Phase,
    /// Did the last turn have several batches?
    was_crowded: bool,
    rest: Pin<Box<Sleep>>,
}

enum Phase {
    Ready,
    /// A turn has been given out, at this time, and those whom it wakes are still to be let go first.
    Given(Instant),
    /// They are before it now.
    Behind(Instant),
    Resting,
}

impl Turns {
    fn new(messages: mpsc::Receiver<RelayMessage>, writer: Rc<Writer>) -> Self {
        let rest = Box::pin(sleep(Duration::ZERO));
        Self { messages, writer, phase: Phase::Ready, was_crowded: false, rest }
    }

    /// How long to wait for more.
    fn pause(&self, given: Instant) -> Option<Duration> {
        // Where little more finds room, who sends waits already.
        let has_room = self.messages.len() < RELAY_QUEUE / 2;
        let is_worth_it = has_room && (self.was_crowded || !self.messages.is_empty());
        Some((given.elapsed() / REST).min(LONGEST_REST)).filter(|rest| is_worth_it && *rest >= SHORTEST_REST)
    }
}

impl Stream for Turns {
    type Item = Vec<RelayMessage>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Vec<RelayMessage>>> {
        if let Phase::Given(at) = self.phase {
            self.phase = Phase::Behind(at);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Phase::Behind(given) = self.phase {
            ready!(self.writer.poll_idle(context));
            self.phase = match self.pause(given) {
                Some(pause) => {
                    self.rest.as_mut().reset((Instant::now() + pause).into());
                    Phase::Resting
                }
                None => Phase::Ready,
            };
        }
        if let Phase::Resting = self.phase {
            ready!(self.rest.as_mut().poll(context));
            self.phase = Phase::Ready;
        }
        let mut turn = Vec::new();
        let count = ready!(self.messages.poll_recv_many(context, &mut turn, RELAY_QUEUE));
        let batches = turn.iter().filter(|message| matches!(message, RelayMessage::Deliver(_)));
        self.was_crowded = batches.count() > 1;
        self.phase = Phase::Given(Instant::now());
        Poll::Ready((count > 0).then_some(turn))
    }
}

impl StreamHandler<Vec<RelayMessage>> for Relay {
    fn handle(&mut self, turn: Vec<RelayMessage>, _context: &mut Self::Context) {
        for message in turn {
            match message {
                RelayMessage::Deliver(frames) => frames.into_iter().for_each(|frames| self.add(frames)),
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
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::StreamExt as _;
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    fn message(number: u64) -> RelayMessage {
        RelayMessage::Positioned { request: number, cursor: realtime_core::cursor::Cursor::NOWHERE }
    }

    fn numbers(turn: &[RelayMessage]) -> Vec<u64> {
        let number = |message: &RelayMessage| match message {
            RelayMessage::Positioned { request, .. } => *request,
            other => panic!("{other:?}"),
        };
        turn.iter().map(number).collect()
    }

    #[test]
    fn a_turn_is_all_that_has_come_and_lets_those_whom_the_last_one_woke_go_first() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let seen = Rc::new(RefCell::new(Vec::new()));
        LocalSet::new().block_on(&runtime, async {
            let (sender, receiver) = mpsc::channel(RELAY_QUEUE);
            let mut turns = Turns::new(receiver, Rc::default());
            (1..=3).for_each(|number| sender.try_send(message(number)).expect("room"));
            let told = Rc::clone(&seen);
            let relay = spawn_local(async move {
                let mut sender = Some(sender);
                while let Some(turn) = turns.next().await {
                    told.borrow_mut().push(numbers(&turn));
                    // What each of those whom the turn wakes causes is in the next one.
                    for number in turn.iter().zip(4..).filter(|_| sender.is_some()).map(|(_, number)| number)
                    {
                        let (sender, told) = (sender.clone(), Rc::clone(&told));
                        spawn_local(async move {
                            told.borrow_mut().push(vec![]);
                            sender.expect("open").try_send(message(number)).expect("room");
                        });
                    }
                    sender = None;
                }
            });
            relay.await.expect("it ends");
        });
        assert_eq!(*seen.borrow(), [vec![1, 2, 3], vec![], vec![], vec![], vec![4, 5, 6]]);
    }
}
