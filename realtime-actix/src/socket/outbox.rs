//! The bounded queue of one connection: what waits to be written to its socket.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::net::TcpStream;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use socket2::SockRef;
use tokio::task::JoinHandle;

use super::heartbeat::Progress;
use super::writer::{Writer, take_more};
use crate::gate::Gate;
use crate::server::{PATIENCE, system_gives_up};

/// The part of the room that events leave to replies.
const PART_FOR_REPLIES: usize = 4;

/// Parcels that are given to the system in one call: as many as Linux takes (`UIO_MAXIOV`).
const PARCELS_AT_ONCE: usize = 1024;

/// Few clients have more at once, for which their list is allocated.
const FEW_PARCELS: usize = 32;

/// The queue was full: the client does not keep up.
#[derive(Debug)]
pub(super) struct Overflow;

/// One connection's queue. Used on its worker's thread only.
#[derive(Debug)]
pub(super) struct Outbox {
    state: RefCell<State>,
    me: Weak<Self>,
    /// There is one as soon as something is written to the database.
    gate: OnceCell<Gate>,
    max_bytes: usize,
    max_frames: usize,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Parcel>,
    /// Nothing for most of a connection's life, in which it awaits no reply.
    behind_reply: Option<Box<BehindReply>>,
    /// Is a part of the first parcel written? Then nothing goes before it, and it stays.
    is_begun: bool,
    /// How often something was taken to be written.
    taken: u64,
    /// Does a frame wait that went before all others?
    urgent: bool,
    bytes: usize,
    frames: usize,
    /// What of these are replies.
    reply_bytes: usize,
    reply_frames: usize,
    /// The last frame is queued; nothing may follow it.
    closed: bool,
    /// The stream ends once the queue is empty.
    ended: bool,
    way: Way,
    /// The response body.
    reader: Option<Waker>,
    /// Has the reader found nothing, and not been woken since? He stays where he is: he comes back for every event.
    is_awaited: bool,
    /// Those who wait for room.
    writers: Vec<Waker>,
}

/// What waits for the reply to a write.
#[derive(Debug, Default)]
struct BehindReply {
    /// Events that the write caused, and what followed them.
    events: VecDeque<Parcel>,
    /// A last frame.
    last: Option<Bytes>,
}

/// How what waits is written.
#[derive(Debug)]
enum Way {
    /// The HTTP server takes it, as it takes the body of any answer. The socket waits for its turn, if there is one, and
    /// so many pongs have come meanwhile.
    Body { next: Option<TcpStream>, pongs: u32 },
    /// To the socket, by the writer of its worker. Is it about to?
    Socket { socket: TcpStream, writer: Rc<Writer>, is_due: bool },
    /// The socket takes nothing more at present. The task that waits until it does has it.
    Blocked(JoinHandle<()>),
    /// The peer is gone.
    Gone,
}

impl Default for Way {
    fn default() -> Self {
        Self::Body { next: None, pongs: 0 }
    }
}

/// Writes in one call what waits, or as much of it as one call takes.
#[inline]
fn write_first(mut socket: &TcpStream, first: &Parcel, ready: &VecDeque<Parcel>) -> io::Result<usize> {
    if ready.len() == 1 {
        socket.write(&first.bytes)
    } else if ready.len() <= FEW_PARCELS {
        let mut few = [IoSlice::new(&[]); FEW_PARCELS];
        let parcels = few.iter_mut().zip(ready);
        let count = parcels.map(|(slice, parcel)| *slice = IoSlice::new(&parcel.bytes)).count();
        socket.write_vectored(few.get(..count).unwrap_or_default())
    } else {
        let parcels = ready.iter().take(PARCELS_AT_ONCE);
        socket.write_vectored(&parcels.map(|parcel| IoSlice::new(&parcel.bytes)).collect::<Vec<_>>())
    }
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
    pub(super) fn new(max_bytes: usize, max_frames: usize) -> Rc<Self> {
        let (state, gate) = (RefCell::default(), OnceCell::new());
        Rc::new_cyclic(|me| Self { state, me: Weak::clone(me), gate, max_bytes, max_frames })
    }

    /// What waits is to be written to the socket, once it is certain that the HTTP server has written what it had.
    pub(super) fn write_later_to(&self, socket: TcpStream) {
        self.state.borrow_mut().way = Way::Body { next: Some(socket), pongs: 0 };
    }

    /// The peer has sent something: a pong, or something else.
    ///
    /// A client sends nothing before it has read the answer to its handshake, and a pong once it has read a ping (RFC 6455,
    /// sections 4.1 and 5.5.3). So whatever the HTTP server has been given is written if it was nothing but pings.
    pub(super) fn heard(&self, is_pong: bool, writer: &Rc<Writer>) {
        let mut state = self.state.borrow_mut();
        let taken = state.taken;
        let Way::Body { next, pongs } = &mut state.way else { return };
        *pongs = pongs.saturating_add(u32::from(is_pong));
        if taken <= u64::from(*pongs)
            && let Some(socket) = next.take()
        {
            drop(state);
            // Who takes a little at a time is slow, and not gone.
            system_gives_up(&SockRef::from(&socket), false);
            self.write_to(socket, Rc::clone(writer));
        }
    }

    /// From now on what waits is written to the socket, and the body has nothing more than its end.
    ///
    /// Everything that the HTTP server has taken before must have left it.
    pub(super) fn write_to(&self, socket: TcpStream, writer: Rc<Writer>) {
        let mut state = self.state.borrow_mut();
        state.way = Way::Socket { socket, writer, is_due: false };
        self.wake(&mut state);
    }

    /// Gives the socket back, if it has one that takes what is written: the body drains it again.
    pub(super) fn give_back(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let has_socket = matches!(state.way, Way::Socket { .. } | Way::Body { next: Some(_), .. });
        if has_socket {
            if let Way::Socket { socket, .. } = std::mem::take(&mut state.way) {
                system_gives_up(&SockRef::from(&socket), true);
            }
            state.wake_reader();
        }
        has_socket
    }

    /// Tells whoever writes that there is something to write.
    fn wake(&self, state: &mut State) {
        match &mut state.way {
            Way::Body { .. } => state.wake_reader(),
            Way::Socket { is_due: true, .. } | Way::Blocked(_) | Way::Gone => {}
            Way::Socket { writer, is_due, .. } => {
                // It is always there: it is what this is called on.
                if let Some(me) = self.me.upgrade() {
                    writer.add(me);
                    *is_due = true;
                }
            }
        }
    }

    /// Writes to the socket what waits, until it takes nothing more.
    pub(super) fn write(&self) {
        let mut state = self.state.borrow_mut();
        if let Way::Socket { is_due, .. } = &mut state.way {
            *is_due = false;
        }
        while let Way::Socket { socket, .. } = &state.way
            && let Some(first) = state.ready.front()
        {
            match write_first(socket, first, &state.ready) {
                Ok(0) => state.lose_peer(),
                Ok(bytes) => state.take(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.block(&mut state),
                Err(error) => {
                    tracing::debug!(%error, "a socket cannot be written to");
                    state.lose_peer();
                }
            }
        }
        if state.ended && state.ready.is_empty() {
            // The body ends.
            state.wake_reader();
        }
    }

    /// Goes on once the socket takes something again.
    fn block(&self, state: &mut State) {
        let Some(me) = self.me.upgrade() else { return };
        if let Way::Socket { socket, writer, .. } = std::mem::replace(&mut state.way, Way::Gone) {
            state.way = Way::Blocked(actix::spawn(async move {
                match take_more(socket, PATIENCE).await {
                    Ok(socket) => me.write_to(socket, writer),
                    Err(error) => {
                        tracing::debug!(%error, "a socket takes nothing more");
                        me.disconnect();
                    }
                }
            }));
        }
    }

    /// The connection is over: its socket is let go.
    pub(super) fn disconnect(&self) {
        self.state.borrow_mut().lose_peer();
    }

    pub(super) fn gate(&self) -> &Gate {
        self.gate.get_or_init(Gate::default)
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
        self.push(&mut state, Parcel { bytes, frames, is_reply: false }, hold);
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
        self.push(state, Parcel { bytes, frames: 1, is_reply: true }, hold);
        Ok(())
    }

    fn push(&self, state: &mut State, parcel: Parcel, hold: bool) {
        if state.push(parcel, hold) {
            self.wake(state);
        }
    }

    fn is_open(&self) -> bool {
        self.gate.get().is_none_or(Gate::is_open)
    }

    fn must_hold(&self, state: &State) -> bool {
        !self.is_open() || state.behind_reply.as_ref().is_some_and(|behind| !behind.events.is_empty())
    }

    /// Queues a frame of a few bytes before all others, unless one that went before them waits already.
    pub(super) fn push_urgent(&self, bytes: Bytes) {
        let mut state = self.state.borrow_mut();
        if !state.closed && !state.urgent {
            state.urgent = true;
            state.bytes += bytes.len();
            state.frames += 1;
            let place = usize::from(state.is_begun);
            state.ready.insert(place, Parcel { bytes, frames: 1, is_reply: false });
            self.wake(&mut state);
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
        if !self.is_open() {
            return;
        }
        let mut state = self.state.borrow_mut();
        let Some(mut behind) = state.behind_reply.take() else { return };
        if let Some(last) = behind.last {
            drop(state);
            return self.close(last, false);
        }
        state.ready.append(&mut behind.events);
        self.wake(&mut state);
    }

    /// Queues a last frame, in place of what still waits if there was too much of it.
    pub(super) fn close(&self, last: Bytes, drop_waiting: bool) {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return;
        }
        if drop_waiting {
            state.drop_waiting();
        }
        state.behind_reply = None;
        state.ready.push_back(Parcel { bytes: last, frames: 1, is_reply: false });
        state.closed = true;
        self.wake(&mut state);
        state.wake_writers();
    }

    /// Queues a last frame behind the reply to a commit that is known already. Events that wait for the reply are
    /// dropped.
    pub(super) fn close_after_reply(&self, last: Bytes) {
        if self.is_open() {
            self.close(last, false);
        } else {
            self.state.borrow_mut().behind_reply.get_or_insert_default().last.get_or_insert(last);
        }
    }

    /// Ends once the queue is empty.
    pub(super) fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.closed = true;
        state.ended = true;
        state.behind_reply = None;
        if let Way::Socket { socket, .. } = &state.way {
            // Nobody else looks after it any more.
            system_gives_up(&SockRef::from(socket), true);
        }
        self.wake(&mut state);
        state.wake_writers();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Is it closed, or about to be once a reply has been queued?
    pub(super) fn is_ending(&self) -> bool {
        let state = self.state.borrow();
        state.closed || state.behind_reply.as_ref().is_some_and(|behind| behind.last.is_some())
    }

    /// The next bytes to write; `None` at the end.
    pub(super) fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.state.borrow_mut();
        let first = match state.way {
            Way::Body { .. } => state.ready.front().map(|first| first.bytes.clone()),
            _ => None,
        };
        match first {
            Some(bytes) => {
                state.take(bytes.len());
                Poll::Ready(Some(bytes))
            }
            None if state.ended && state.ready.is_empty() => Poll::Ready(None),
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
    /// Queues a parcel. Is there something to write now?
    fn push(&mut self, parcel: Parcel, hold: bool) -> bool {
        if self.closed {
            return false;
        }
        self.bytes += parcel.bytes.len();
        self.frames += parcel.frames;
        if parcel.is_reply {
            self.reply_bytes += parcel.bytes.len();
            self.reply_frames += parcel.frames;
        }
        if hold {
            self.behind_reply.get_or_insert_default().events.push_back(parcel);
        } else {
            if self.ready.capacity() == 0 {
                // Most connections have one that waits, and there are many of them.
                self.ready.reserve_exact(1);
            }
            self.ready.push_back(parcel);
        }
        !hold
    }

    /// So many bytes of what waits have been written.
    fn take(&mut self, mut bytes: usize) {
        self.taken += 1;
        while let Some(first) = self.ready.front_mut() {
            let taken = first.bytes.len().min(bytes);
            let is_whole = taken == first.bytes.len();
            if !is_whole {
                first.bytes.advance(taken);
            }
            bytes -= taken;
            self.bytes = self.bytes.saturating_sub(taken);
            if first.is_reply {
                self.reply_bytes -= taken;
            }
            if !is_whole {
                self.is_begun |= taken > 0;
                break;
            }
            self.is_begun = false;
            self.frames = self.frames.saturating_sub(first.frames);
            if first.is_reply {
                self.reply_frames -= first.frames;
            }
            self.ready.pop_front();
            // One that went before all others is among the first to be taken.
            self.urgent = false;
        }
        self.wake_writers();
    }

    /// Forgets what waits, but for what the peer has the beginning of.
    fn drop_waiting(&mut self) {
        let begun = self.ready.drain(..).next().filter(|_| self.is_begun);
        (self.bytes, self.frames) = (0, 0);
        (self.reply_bytes, self.reply_frames) = (0, 0);
        if let Some(Parcel { bytes, frames, .. }) = begun {
            (self.bytes, self.frames) = (bytes.len(), frames);
            self.ready.push_back(Parcel { bytes, frames, is_reply: false });
        }
    }

    /// Nothing more can be written.
    fn lose_peer(&mut self) {
        if let Way::Blocked(waits) = std::mem::replace(&mut self.way, Way::Gone) {
            waits.abort();
        }
        self.is_begun = false;
        self.drop_waiting();
        self.behind_reply = None;
        (self.closed, self.ended) = (true, true);
        self.wake_writers();
        self.wake_reader();
    }

    fn wake_reader(&mut self) {
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
    use realtime_core::Limits;

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
        let outboxes: Vec<Rc<Outbox>> = (0..100).map(|_| Outbox::new(1 << 20, 1_000)).collect();
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
        let outbox = Outbox::new(1_000, 10);
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
        let outbox = Outbox::new(1_000, 10);
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
        let outbox = Outbox::new(1_000, 10);
        let hold = outbox.gate().hold();
        outbox.push_events(Bytes::from_static(b"1"), 1).expect("room");
        drop(hold);
        outbox.push_events(Bytes::from_static(b"2"), 1).expect("room");
        outbox.release();
        assert_eq!(drain(&outbox), ["1", "2"]);
    }

    #[test]
    fn events_leave_room_to_replies_and_an_urgent_frame_goes_before_both() {
        let outbox = Outbox::new(100, 8);
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
        let outbox = Outbox::new(100, 8);
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

    /// Both ends of a connection whose sender and receiver have as little room as the system gives.
    async fn connected() -> (TcpStream, tokio::net::TcpStream) {
        use socket2::SockRef;
        let listener = tokio::net::TcpSocket::new_v4().expect("a socket");
        listener.set_recv_buffer_size(1).expect("an option");
        listener.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let listener = listener.listen(1).expect("a listener");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        SockRef::from(&near).set_send_buffer_size(1).expect("an option");
        near.set_nonblocking(true).expect("an option");
        (near, listener.accept().await.expect("a connection").0)
    }

    fn settled() -> impl Future<Output = ()> {
        tokio::time::sleep(std::time::Duration::from_millis(1))
    }

    /// The number and the size of each frame that is read. They are sent as a line each.
    fn lines(read: &[u8]) -> Vec<(String, usize)> {
        let text = std::str::from_utf8(read).expect("it is whole");
        let line = |line: &str| {
            let number: String = line.chars().take_while(char::is_ascii_digit).collect();
            assert!(line[number.len()..].bytes().all(|byte| byte == b'x'), "in the middle of {number}");
            (number, line.len() + 1)
        };
        assert!(text.is_empty() || text.ends_with('\n'), "it ends with a whole frame");
        text.lines().map(line).collect()
    }

    fn line(number: usize, size: usize) -> Bytes {
        let number = number.to_string();
        Bytes::from(format!("{number}{}\n", "x".repeat(size.saturating_sub(number.len() + 1))))
    }

    /// Frames of random sizes go to a socket that is read now and then: whatever goes before others, is dropped, or comes
    /// last, the peer reads whole frames, in order.
    #[actix::test]
    async fn what_is_written_to_a_socket_are_whole_frames_in_order() {
        use proptest::prelude::*;
        use proptest::strategy::ValueTree as _;
        use proptest::test_runner::TestRunner;
        use tokio::io::AsyncReadExt as _;

        let mut runner = TestRunner::deterministic();
        let step = prop_oneof![
            4 => (1_usize..30_000).prop_map(|size| ("event", size)),
            4 => (1_usize..300).prop_map(|size| ("event", size)),
            1 => Just(("urgent", 0)),
            3 => (1_usize..60_000).prop_map(|size| ("read", size)),
            1 => Just(("settle", 0)),
        ];
        let steps = prop::collection::vec(step, 0..60);
        let (mut cut, mut blocked) = (0, 0);
        for case in 0..100 {
            let (near, mut far) = connected().await;
            let (writer, outbox) = (Writer::start(), Outbox::new(200_000, 1_000));
            let mut sent = Vec::new();
            let mut read = Vec::new();
            let mut begin = Some(near);
            for (what, size) in steps.new_tree(&mut runner).expect("a case").current() {
                match what {
                    "event" => {
                        let bytes = line(sent.len() + 1, size);
                        if outbox.push_events(bytes.clone(), 1).is_ok() {
                            sent.push(bytes.len());
                        }
                    }
                    "urgent" => outbox.push_urgent(line(0, 0)),
                    "read" => {
                        let mut some = vec![0; size];
                        let got = far.try_read(&mut some).unwrap_or_default();
                        read.extend_from_slice(&some[..got]);
                    }
                    _ => settled().await,
                }
                // What was queued before the socket is written to is not lost.
                if let Some(near) = begin.take_if(|_| sent.len() > 3) {
                    outbox.write_to(near, Rc::clone(&writer));
                }
                blocked += usize::from(matches!(outbox.state.borrow().way, Way::Blocked(_)));
            }
            if let Some(near) = begin {
                outbox.write_to(near, Rc::clone(&writer));
            }
            let is_cut = case % 2 == 0;
            outbox.close(Bytes::from_static(b"99\n"), is_cut);
            outbox.end();
            // The end of the body is the end of the connection.
            let mut body = Box::pin(std::future::poll_fn(|context| outbox.poll_next(context)));
            loop {
                tokio::select! {
                    end = &mut body => {
                        assert_eq!(end, None);
                        break;
                    }
                    got = far.read_buf(&mut read) => assert!(got.expect("it is read") > 0),
                }
            }
            outbox.disconnect();
            far.read_to_end(&mut read).await.expect("it ends");
            assert!(!outbox.progress().waits);
            let mut seen = lines(&read);
            assert_eq!(seen.pop(), Some(("99".to_owned(), 3)));
            seen.retain(|(number, _)| number != "0");
            let all: Vec<_> = (1..).map(|number: usize| number.to_string()).zip(sent).collect();
            assert_eq!(seen, all[..seen.len()], "case {case}");
            assert!(is_cut || seen.len() == all.len(), "case {case}");
            cut += usize::from(seen.len() < all.len());
        }
        assert!(cut > 10 && blocked > 100, "{cut} of them cut off, {blocked} times blocked");
    }

    #[cfg(target_os = "linux")]
    #[actix::test]
    async fn who_is_slow_is_not_given_up_by_the_system_and_who_takes_nothing_is_by_us() {
        let (near, _far) = connected().await;
        let seen = near.try_clone().expect("a descriptor");
        let patience = || SockRef::from(&seen).tcp_user_timeout().expect("an option");
        system_gives_up(&SockRef::from(&near), true);
        assert_eq!(patience(), Some(PATIENCE));
        let (writer, outbox) = (Writer::start(), Outbox::new(200_000, 1_000));
        outbox.write_later_to(near);
        outbox.heard(false, &writer);
        assert_eq!(patience(), None);
        assert!(outbox.give_back());
        assert_eq!(patience(), Some(PATIENCE));

        let (near, _far) = connected().await;
        while (&near).write(&[0; 1_000]).is_ok() {}
        let error = take_more(near, std::time::Duration::from_millis(20)).await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[actix::test]
    async fn what_waits_for_a_client_is_written_in_one_call() {
        // As many as one batch may have, each for another subscription of the client.
        for count in [1, 2, FEW_PARCELS, FEW_PARCELS + 1, Limits::default().subscriptions] {
            let (near, mut far) = connected().await;
            let outbox = Outbox::new(10_000, 1_000);
            outbox.write_to(near, Writer::start());
            let frames: Vec<String> = (0..count).map(|number| format!("{number};")).collect();
            for frame in &frames {
                outbox.push_events(Bytes::from(frame.clone()), 1).expect("room");
            }
            settled().await;
            assert_eq!(outbox.progress(), Progress { taken: 1, waits: false });
            outbox.disconnect();
            let mut read = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut far, &mut read).await.expect("it ends");
            assert_eq!(read, frames.concat());
        }
    }

    #[actix::test]
    async fn a_peer_that_is_gone_ends_the_body_and_its_socket_is_let_go() {
        let (near, far) = connected().await;
        let outbox = Outbox::new(200_000, 1_000);
        outbox.write_to(near, Writer::start());
        outbox.push_events(line(1, 199_000), 1).expect("room");
        settled().await;
        assert!(matches!(outbox.state.borrow().way, Way::Blocked(_)));
        drop(far);
        std::future::poll_fn(|context| outbox.poll_next(context)).await;
        assert!(outbox.is_closed() && !outbox.progress().waits);
        outbox.push_events(line(2, 10), 1).expect("it is dropped");
        assert!(!outbox.progress().waits);

        let (near, mut far) = connected().await;
        let outbox = Outbox::new(200_000, 1_000);
        outbox.write_to(near, Writer::start());
        outbox.push_events(line(1, 199_000), 1).expect("room");
        settled().await;
        // The HTTP server has ended the connection while the socket takes nothing.
        outbox.disconnect();
        let mut read = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut far, &mut read).await.expect("nobody holds it open");
        assert!(read.len() < 199_000);
    }

    #[test]
    fn the_queue_is_bounded_by_bytes_and_by_frames() {
        let outbox = Outbox::new(10, 3);
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
