//! The bounded queue of one connection: what waits to be written to its socket.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::heartbeat::Progress;
use crate::gate::Gate;

/// The part of the room that events leave to replies.
const PART_FOR_REPLIES: usize = 4;

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
    /// How often something was taken to be written.
    taken: u64,
    /// Does a frame wait that went before all others?
    urgent: bool,
    bytes: usize,
    frames: usize,
    /// What of these are replies.
    reply_bytes: usize,
    reply_frames: usize,
    /// A last frame that waits for a reply, as events do.
    last: Option<Bytes>,
    /// The last frame is queued; nothing may follow it.
    closed: bool,
    /// The stream ends once the queue is empty.
    ended: bool,
    reader: Option<Waker>,
    /// Has the reader found nothing, and not been woken since? He stays where he is: he comes back for every event.
    is_awaited: bool,
    /// Those who wait for room.
    writers: Vec<Waker>,
}

/// Frames that are shared by several connections, end to end.
#[derive(Clone, Debug)]
struct Parcel {
    bytes: Bytes,
    frames: usize,
    /// For this client alone.
    is_reply: bool,
}

impl Outbox {
    pub(super) fn new(gate: Gate, max_bytes: usize, max_frames: usize) -> Self {
        Self { state: RefCell::default(), gate, max_bytes, max_frames }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Queues events; while a reply is awaited they wait for it. They leave a quarter of the room to replies: a client
    /// that is behind with events may still ask for something.
    pub(super) fn push_events(&self, bytes: Bytes, frames: usize) -> Result<(), Overflow> {
        let mut state = self.state.borrow_mut();
        let most_bytes = self.max_bytes - self.max_bytes / PART_FOR_REPLIES;
        let most_frames = self.max_frames - self.max_frames / PART_FOR_REPLIES;
        // One parcel is taken by an empty queue whatever its size: a large one is no sign of a slow client.
        let is_full = state.bytes + bytes.len() > most_bytes || state.frames + frames > most_frames;
        if is_full && state.frames > 0 && !state.closed {
            return Err(Overflow);
        }
        let hold = self.must_hold(&state);
        state.push(Parcel { bytes, frames, is_reply: false }, hold);
        Ok(())
    }

    /// Queues a reply that may not overtake events.
    pub(super) fn push_in_order(&self, bytes: Bytes) -> Result<(), Overflow> {
        let mut state = self.state.borrow_mut();
        let hold = self.must_hold(&state);
        self.push_reply(&mut state, bytes, hold)
    }

    /// Queues a frame that waits for nothing.
    pub(super) fn push_frame(&self, bytes: Bytes) -> Result<(), Overflow> {
        self.push_reply(&mut self.state.borrow_mut(), bytes, false)
    }

    fn push_reply(&self, state: &mut State, bytes: Bytes, hold: bool) -> Result<(), Overflow> {
        // However much room one parcel of events has taken, a part is left for replies, and one reply always fits.
        let is_full = state.bytes + bytes.len() > self.max_bytes || state.frames >= self.max_frames;
        let has_part = state.reply_frames == 0
            || (state.reply_bytes + bytes.len() <= self.max_bytes / PART_FOR_REPLIES
                && state.reply_frames < self.max_frames / PART_FOR_REPLIES);
        if is_full && !has_part && !state.closed {
            return Err(Overflow);
        }
        state.push(Parcel { bytes, frames: 1, is_reply: true }, hold);
        Ok(())
    }

    fn must_hold(&self, state: &State) -> bool {
        !self.gate.is_open() || !state.held.is_empty()
    }

    /// Queues a frame of a few bytes before all others, unless one that went before them waits already.
    pub(super) fn push_urgent(&self, bytes: Bytes) {
        let mut state = self.state.borrow_mut();
        if !state.closed && !state.urgent {
            state.urgent = true;
            state.bytes += bytes.len();
            state.frames += 1;
            state.ready.push_front(Parcel { bytes, frames: 1, is_reply: false });
            state.wake();
        }
    }

    /// Waits until events would fill no more than half of the queue, or the queue is empty or closed.
    pub(super) async fn room(&self, bytes: usize, frames: usize) {
        std::future::poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            let fits = state.bytes.saturating_add(bytes) <= self.max_bytes / 2
                && state.frames + frames <= self.max_frames / 2;
            if state.closed || state.frames == 0 || fits {
                return Poll::Ready(());
            }
            state.writers.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits until everything has been taken, or the queue is closed.
    pub(super) async fn drained(&self) {
        self.room(usize::MAX / 2, 0).await;
    }

    /// How often something was taken, and whether something waits.
    pub(super) fn progress(&self) -> Progress {
        let state = self.state.borrow();
        Progress { taken: state.taken, waits: state.frames > 0 }
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

    /// Queues a last frame, in place of what still waits if there was too much of it.
    pub(super) fn close(&self, last: Bytes, drop_waiting: bool) {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return;
        }
        if drop_waiting {
            state.ready.clear();
            (state.bytes, state.frames) = (0, 0);
            (state.reply_bytes, state.reply_frames) = (0, 0);
        }
        state.held.clear();
        state.ready.push_back(Parcel { bytes: last, frames: 1, is_reply: false });
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

    /// Is it closed, or about to be once a reply has been queued?
    pub(super) fn is_ending(&self) -> bool {
        let state = self.state.borrow();
        state.closed || state.last.is_some()
    }

    /// The next bytes to write; `None` at the end.
    pub(super) fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.state.borrow_mut();
        match state.ready.pop_front() {
            Some(parcel) => {
                state.bytes = state.bytes.saturating_sub(parcel.bytes.len());
                state.frames = state.frames.saturating_sub(parcel.frames);
                if parcel.is_reply {
                    state.reply_bytes -= parcel.bytes.len();
                    state.reply_frames -= parcel.frames;
                }
                state.taken += 1;
                // One that went before all others is the first to be taken.
                state.urgent = false;
                state.wake_writers();
                Poll::Ready(Some(parcel.bytes))
            }
            None if state.ended => Poll::Ready(None),
            None => {
                if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                    state.reader = Some(context.waker().clone());
                }
                state.is_awaited = true;
                Poll::Pending
            }
        }
    }
}

impl State {
    fn push(&mut self, parcel: Parcel, hold: bool) {
        if self.closed {
            return;
        }
        self.bytes += parcel.bytes.len();
        self.frames += parcel.frames;
        if parcel.is_reply {
            self.reply_bytes += parcel.bytes.len();
            self.reply_frames += parcel.frames;
        }
        if hold {
            self.held.push_back(parcel);
        } else {
            if self.ready.capacity() == 0 {
                // Most connections have one that waits, and there are many of them.
                self.ready.reserve_exact(2);
            }
            self.ready.push_back(parcel);
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.as_ref().filter(|_| self.is_awaited) {
            reader.wake_by_ref();
            self.is_awaited = false;
        }
    }

    fn wake_writers(&mut self) {
        if !self.writers.is_empty() {
            self.writers.drain(..).for_each(Waker::wake);
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
    fn a_delivery_allocates_nothing() {
        let outboxes: Vec<Outbox> = (0..100).map(|_| Outbox::new(Gate::default(), 1 << 20, 1_000)).collect();
        let frame = Bytes::from(vec![b'x'; 200]);
        let context = Context::from_waker(Waker::noop());
        let round = |in_flight: usize| {
            for _ in 0..in_flight {
                for outbox in &outboxes {
                    outbox.push_events(frame.clone(), 1).expect("room");
                }
            }
            for outbox in &outboxes {
                while outbox.poll_next(&context).is_ready() {}
            }
        };
        // The queues grow to what is needed once.
        round(16);
        for in_flight in [1, 16] {
            let counted = allocation_counter::measure(|| (0..100).for_each(|_| round(in_flight)));
            assert_eq!(counted.count_total, 0, "with {in_flight} in flight");
        }
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
    fn events_leave_room_to_replies_and_an_urgent_frame_goes_before_both() {
        let outbox = Outbox::new(Gate::default(), 100, 8);
        outbox.push_events(Bytes::from_static(&[b'e'; 200]), 20).expect("one parcel always fits");
        assert!(outbox.push_events(Bytes::from_static(b"x"), 1).is_err());
        outbox.push_frame(Bytes::from_static(b"1")).expect("a reply's room");
        outbox.push_frame(Bytes::from_static(b"2")).expect("a reply's room");
        assert!(outbox.push_frame(Bytes::from_static(b"3")).is_err());
        outbox.push_urgent(Bytes::from_static(b"ping"));
        outbox.push_urgent(Bytes::from_static(b"ping"));
        assert_eq!(outbox.progress(), Progress { taken: 0, waits: true });
        let seen = drain(&outbox);
        assert_eq!((&seen[0][..], &seen[2][..], seen.len()), (&b"ping"[..], &b"1"[..], 4));
        assert_eq!(outbox.progress(), Progress { taken: 4, waits: false });
        for _ in 0..6 {
            outbox.push_events(Bytes::from_static(b"x"), 1).expect("room");
        }
        assert!(outbox.push_events(Bytes::from_static(b"x"), 1).is_err());
    }

    /// Is a parcel of events, or a reply, taken by a queue in which something waits?
    fn is_taken(
        waiting: &[(usize, usize)],
        replies: &[usize],
        events: Option<(usize, usize)>,
        reply: usize,
    ) -> bool {
        let outbox = Outbox::new(Gate::default(), 100, 8);
        let parcel = |bytes: usize| Bytes::from(vec![0; bytes]);
        for (bytes, frames) in waiting {
            outbox.push_events(parcel(*bytes), *frames).expect("it waits");
        }
        for bytes in replies {
            outbox.push_frame(parcel(*bytes)).expect("it waits");
        }
        match events {
            Some((bytes, frames)) => outbox.push_events(parcel(bytes), frames).is_ok(),
            None => outbox.push_frame(parcel(reply)).is_ok(),
        }
    }

    #[test]
    fn each_bound_is_reached_and_not_passed() {
        // Events have three quarters, of 100 bytes and of 8 frames.
        for (bytes, fits) in [(74, true), (75, true), (76, false)] {
            assert_eq!(is_taken(&[(1, 1)], &[], Some((bytes - 1, 1)), 0), fits, "{bytes} bytes of events");
        }
        for (frames, fits) in [(5, true), (6, true), (7, false)] {
            assert_eq!(is_taken(&[(1, 1)], &[], Some((1, frames - 1)), 0), fits, "{frames} frames of events");
        }
        // Replies have what there is.
        for (bytes, fits) in [(99, true), (100, true), (101, false)] {
            assert_eq!(is_taken(&[(40, 1)], &[30], None, bytes - 70), fits, "{bytes} bytes in all");
        }
        for (frames, fits) in [(7, true), (8, true), (9, false)] {
            assert_eq!(is_taken(&[(1, 1)], &vec![1; frames - 2], None, 1), fits, "{frames} frames in all");
        }
        // And a quarter, however large a parcel of events waits.
        for (bytes, fits) in [(24, true), (25, true), (26, false)] {
            assert_eq!(is_taken(&[(200, 1)], &[10], None, bytes - 10), fits, "{bytes} bytes of replies");
        }
        for (frames, fits) in [(1, true), (2, true), (3, false)] {
            assert_eq!(is_taken(&[(1, 20)], &vec![1; frames - 1], None, 1), fits, "{frames} replies");
        }
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
