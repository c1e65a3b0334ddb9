//! The bounded queue of one connection: what waits to be written to its socket.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::gate::Gate;

/// The queue was full: the client does not keep up.
#[derive(Debug)]
pub(super) struct Overflow;

/// One connection's queue. Used on its worker's thread only.
#[derive(Debug)]
pub(super) struct Outbox {
    state: RefCell<State>,
    gate: Gate,
    max_bytes: usize,
    max_frames: usize,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Parcel>,
    /// Events that wait for the reply to the write that caused them.
    held: VecDeque<Parcel>,
    bytes: usize,
    frames: usize,
    /// A last frame that waits for a reply, as events do.
    last: Option<Bytes>,
    /// The last frame is queued; nothing may follow it.
    closed: bool,
    /// The stream ends once the queue is empty.
    ended: bool,
    reader: Option<Waker>,
    /// Those who wait for room.
    writers: Vec<Waker>,
}

/// Frames that are shared by several connections, end to end.
#[derive(Clone, Debug)]
struct Parcel {
    bytes: Bytes,
    frames: usize,
}

impl Outbox {
    pub(super) fn new(gate: Gate, max_bytes: usize, max_frames: usize) -> Self {
        Self { state: RefCell::default(), gate, max_bytes, max_frames }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Queues events; while a reply is awaited they wait for it.
    pub(super) fn push_events(&self, bytes: Bytes, frames: usize) -> Result<(), Overflow> {
        let is_open = self.gate.is_open();
        let mut state = self.state.borrow_mut();
        let hold = !is_open || !state.held.is_empty();
        self.push(&mut state, Parcel { bytes, frames }, hold)
    }

    /// Queues a frame that waits for nothing.
    pub(super) fn push_frame(&self, bytes: Bytes) -> Result<(), Overflow> {
        self.push(&mut self.state.borrow_mut(), Parcel { bytes, frames: 1 }, false)
    }

    /// Waits until events would fill no more than half of the queue, or the queue is empty or closed.
    pub(super) async fn room(&self, bytes: usize, frames: usize) {
        std::future::poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            let fits =
                state.bytes + bytes <= self.max_bytes / 2 && state.frames + frames <= self.max_frames / 2;
            if state.closed || state.frames == 0 || fits {
                return Poll::Ready(());
            }
            state.writers.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Lets the events go that waited for a reply, unless another one is awaited.
    pub(super) fn release(&self) {
        if !self.gate.is_open() {
            return;
        }
        let last = self.state.borrow_mut().last.take();
        if let Some(last) = last {
            return self.close(last, false);
        }
        let mut state = self.state.borrow_mut();
        if !state.held.is_empty() {
            let mut held = std::mem::take(&mut state.held);
            state.ready.append(&mut held);
            state.wake();
        }
    }

    fn push(&self, state: &mut State, parcel: Parcel, hold: bool) -> Result<(), Overflow> {
        if state.closed {
            return Ok(());
        }
        let bytes = state.bytes + parcel.bytes.len();
        let frames = state.frames + parcel.frames;
        // One parcel is taken by an empty queue whatever its size: a large reply is no sign of a slow client.
        if state.frames > 0 && (bytes > self.max_bytes || frames > self.max_frames) {
            return Err(Overflow);
        }
        state.bytes = bytes;
        state.frames = frames;
        if hold {
            state.held.push_back(parcel);
        } else {
            state.ready.push_back(parcel);
            state.wake();
        }
        Ok(())
    }

    /// Queues a last frame, in place of what still waits if there was too much of it.
    pub(super) fn close(&self, last: Bytes, drop_waiting: bool) {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return;
        }
        if drop_waiting {
            state.ready.clear();
            state.bytes = 0;
            state.frames = 0;
        }
        state.held.clear();
        state.ready.push_back(Parcel { bytes: last, frames: 1 });
        state.closed = true;
        state.wake();
        state.wake_writers();
    }

    /// Queues a last frame behind the reply to a commit that is known already. Events that wait for the reply are
    /// dropped.
    pub(super) fn close_after_reply(&self, last: Bytes) {
        if self.gate.is_open() {
            self.close(last, false);
        } else {
            self.state.borrow_mut().last.get_or_insert(last);
        }
    }

    /// Ends once the queue is empty.
    pub(super) fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.closed = true;
        state.ended = true;
        state.held.clear();
        state.wake();
        state.wake_writers();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// The next bytes to write; `None` at the end.
    pub(super) fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.state.borrow_mut();
        match state.ready.pop_front() {
            Some(parcel) => {
                state.bytes = state.bytes.saturating_sub(parcel.bytes.len());
                state.frames = state.frames.saturating_sub(parcel.frames);
                state.wake_writers();
                Poll::Ready(Some(parcel.bytes))
            }
            None if state.ended => Poll::Ready(None),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wake_writers(&mut self) {
        for writer in self.writers.drain(..) {
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &Outbox) -> Vec<Bytes> {
        let mut seen = Vec::new();
        let context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(bytes)) = outbox.poll_next(&context) {
            seen.push(bytes);
        }
        seen
    }

    #[test]
    fn events_wait_for_the_reply_to_the_write_that_caused_them() {
        let outbox = Outbox::new(Gate::default(), 1_000, 10);
        outbox.push_events(Bytes::from_static(b"earlier"), 1).expect("room");
        let hold = outbox.gate().hold();
        outbox.push_events(Bytes::from_static(b"caused"), 1).expect("room");
        outbox.release();
        assert_eq!(drain(&outbox), ["earlier"]);
        outbox.push_frame(Bytes::from_static(b"reply")).expect("room");
        drop(hold);
        outbox.release();
        assert_eq!(drain(&outbox), ["reply", "caused"]);
    }

    #[test]
    fn who_ends_his_own_session_still_gets_the_reply() {
        let outbox = Outbox::new(Gate::default(), 1_000, 10);
        let hold = outbox.gate().hold();
        outbox.push_events(Bytes::from_static(b"caused"), 1).expect("room");
        outbox.close_after_reply(Bytes::from_static(b"bye"));
        assert!(!outbox.is_closed());
        outbox.push_frame(Bytes::from_static(b"reply")).expect("room");
        drop(hold);
        outbox.release();
        outbox.push_frame(Bytes::from_static(b"too late")).expect("it is dropped");
        assert_eq!(drain(&outbox), ["reply", "bye"]);
    }

    #[test]
    fn an_event_does_not_overtake_held_ones_after_the_gate_has_opened() {
        let outbox = Outbox::new(Gate::default(), 1_000, 10);
        let hold = outbox.gate().hold();
        outbox.push_events(Bytes::from_static(b"1"), 1).expect("room");
        drop(hold);
        outbox.push_events(Bytes::from_static(b"2"), 1).expect("room");
        outbox.release();
        assert_eq!(drain(&outbox), ["1", "2"]);
    }

    #[test]
    fn the_queue_is_bounded_by_bytes_and_by_frames() {
        let outbox = Outbox::new(Gate::default(), 10, 3);
        outbox.push_frame(Bytes::from_static(&[0; 20])).expect("one parcel always fits");
        assert!(outbox.push_frame(Bytes::from_static(b"x")).is_err());
        drain(&outbox);
        for _ in 0..3 {
            outbox.push_frame(Bytes::from_static(b"x")).expect("room");
        }
        assert!(outbox.push_events(Bytes::from_static(b"x"), 1).is_err());
        outbox.close(Bytes::from_static(b"bye"), true);
        outbox.push_frame(Bytes::from_static(b"too late")).expect("it is dropped");
        assert_eq!(drain(&outbox), ["bye"]);
        assert!(outbox.is_closed());
    }
}
