//! One client as its worker sees it, whatever it is connected by: what it follows, and its outbox.

use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix::Addr;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use realtime_core::connection::{Connection, Effect, Ticket};
use realtime_core::cursor::Cursor;
use realtime_core::{Error, Lag, Limits, Principal};
use tokio::sync::Semaphore;

use super::backlog::Backlog;
use super::connection::{Carry, ConnectionActor, Linger, Look, Recheck, Stop};
use super::follower::Follower;
use super::frame;
use super::heartbeat::Progress;
#[cfg(feature = "conformance")]
use super::inbound::Inbound;
use super::outbox::{Outbox, Overflow};
use super::worker::Worker;
use crate::admission::Seat;
use crate::auth::Identity;
use crate::fault;
use crate::sse;

/// Snapshots of one client that are read at the same time. Others wait in turn.
const SNAPSHOTS_AT_ONCE: usize = 2;

/// Beats of an event stream after which a client that takes nothing is given up.
const BEATS_WITHOUT_PROGRESS: u32 = 2;

/// Names a client on its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(pub(super) u64);

pub(crate) struct Client {
    pub(super) id: ClientId,
    /// Whose it is.
    pub(super) identity: RefCell<Identity>,
    pub(super) outbox: Rc<Outbox>,
    pub(super) backlog: Backlog,
    /// Most never have one read.
    snapshots: OnceCell<Box<Semaphore>>,
    /// What it follows, each with the ticket that it was begun with. Most follow little: they are looked through.
    followers: RefCell<Vec<Rc<Follower>>>,
    transport: Transport,
    /// Its place among all connections, until it has left.
    seat: RefCell<Option<Seat>>,
    gone: Cell<bool>,
    /// Since when the application could not say whether it may still be here.
    unchecked: Cell<Option<Instant>>,
}

/// What a client is connected by.
pub(super) enum Transport {
    Socket(Rc<SocketState>),
    /// Server-Sent Events: how often something had been taken at the last beat, and for how many beats that has not
    /// changed although something waits.
    EventStream(Cell<(u64, u32)>),
}

/// What only a socket has: the protocol's state, and the actor that carries effects out.
pub(super) struct SocketState {
    connection: RefCell<Connection>,
    address: OnceCell<Addr<ConnectionActor>>,
    /// The task that reads the socket, while it pauses.
    paused: RefCell<Option<Waker>>,
    /// When the actor is to look at it next, of the worker's clock. Zero where it is not.
    look_at: Cell<u64>,
    /// How often something has come.
    received: Cell<u64>,
    /// Is everything sent back that comes?
    #[cfg(feature = "conformance")]
    echoes: bool,
}

impl SocketState {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection: RefCell::new(connection),
            address: OnceCell::new(),
            paused: RefCell::new(None),
            look_at: Cell::new(0),
            received: Cell::new(0),
            #[cfg(feature = "conformance")]
            echoes: false,
        }
    }

    /// A socket that sends back what it is sent.
    #[cfg(feature = "conformance")]
    pub(super) fn echoing(self) -> Self {
        Self { echoes: true, ..self }
    }

    /// The frame that a message is answered with where everything is sent back.
    #[cfg(feature = "conformance")]
    pub(super) fn echo(&self, message: &Inbound) -> Option<Bytes> {
        match message {
            Inbound::Text(text) if self.echoes => Some(frame::text(text)),
            Inbound::Binary(bytes) if self.echoes => Some(frame::binary(bytes)),
            _ => None,
        }
    }

    pub(super) fn set_address(&self, address: Addr<ConnectionActor>) {
        // Set once, when the actor starts.
        let _ = self.address.set(address);
    }

    /// Asks core what is to be done. Where the application's rules panic in its hands, what it knows of the connection is
    /// in doubt, and the connection ends.
    pub(super) fn ask(&self, ask: impl FnOnce(&mut Connection) -> Vec<Effect>) -> Vec<Effect> {
        let asked = catch_unwind(AssertUnwindSafe(|| ask(&mut self.connection.borrow_mut())));
        asked.unwrap_or_else(|panic| {
            fault::panicked("what was asked of a connection", &*panic);
            vec![Effect::Close(1011, "the server failed")]
        })
    }

    /// A text has come.
    pub(super) fn text(&self, text: &str, now_ms: u64) -> Vec<Effect> {
        self.request(text, |connection| connection.text(text, now_ms))
    }

    /// What is to be done about the next text that had to wait until it was known whose it is.
    pub(super) fn next_held_back(&self) -> Option<Vec<Effect>> {
        let text = self.connection.borrow_mut().next_held_back()?;
        Some(self.request(&text, |connection| connection.text_again(&text)))
    }

    /// Where the application's rules panic, the request fails that they were asked about.
    fn request(&self, text: &str, ask: impl FnOnce(&mut Connection) -> Vec<Effect>) -> Vec<Effect> {
        let asked = catch_unwind(AssertUnwindSafe(|| ask(&mut self.connection.borrow_mut())));
        asked.unwrap_or_else(|panic| {
            let error = fault::panicked("a request", &*panic);
            self.connection.borrow().failed(text, &error)
        })
    }

    /// Something has come.
    pub(super) fn receive(&self) {
        self.received.set(self.received.get() + 1);
    }

    /// How often something has come.
    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    /// Sets when the actor is to look at it next, and gives when it was to do so.
    pub(super) fn set_look_at(&self, at: u64) -> u64 {
        self.look_at.replace(at)
    }

    fn tell<M>(&self, message: M)
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        ConnectionActor: actix::Handler<M>,
    {
        if let Some(address) = self.address.get() {
            // Bounded: a connection has a few requests at a time, and each one effect.
            address.do_send(message);
        }
    }

    /// Is the connection busy enough that nothing more is to be read? Then the task is woken when it no longer is.
    pub(super) fn must_pause(&self, context: &Context<'_>) -> bool {
        let full = self.connection.borrow().is_full();
        if full {
            *self.paused.borrow_mut() = Some(context.waker().clone());
        }
        full
    }

    fn resume(&self) {
        if let Some(waker) = self.paused.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Is reading paused? Then the peer's silence says nothing.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.borrow().is_some()
    }
}

impl Client {
    pub(super) fn new(
        id: ClientId,
        transport: Transport,
        identity: Identity,
        seat: Seat,
        limits: &Limits,
    ) -> Self {
        // What does not find room in the backlog is read from the log; a client that would be cut off instead has more.
        let part = match limits.lag {
            Lag::Resync => 4,
            Lag::Disconnect => 1,
        };
        Self {
            id,
            identity: RefCell::new(identity),
            outbox: Outbox::new(limits.outbox_bytes, limits.outbox_frames),
            backlog: Backlog::new(limits.outbox_bytes / part, limits.outbox_frames / part),
            snapshots: OnceCell::new(),
            followers: RefCell::default(),
            transport,
            seat: RefCell::new(Some(seat)),
            gone: Cell::new(false),
            unchecked: Cell::default(),
        }
    }

    /// Has the client left? Then nothing more is told to it.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Marks that it has left, and gives what it followed.
    pub(super) fn set_gone(&self) -> Vec<Rc<Follower>> {
        self.gone.set(true);
        drop(self.seat.take());
        self.followers.take()
    }

    /// Its place among all connections becomes that of another principal.
    pub(super) fn pass_seat(&self, principal: &Principal) -> Result<(), Error> {
        self.seat.borrow().as_ref().map_or(Ok(()), |seat| seat.pass_to(principal))
    }

    pub(super) fn socket(&self) -> Option<&SocketState> {
        match &self.transport {
            Transport::Socket(socket) => Some(socket),
            Transport::EventStream(_) => None,
        }
    }

    pub(super) fn is_event_stream(&self) -> bool {
        matches!(self.transport, Transport::EventStream(_))
    }

    /// Has a snapshot wait until it may be read.
    pub(super) fn snapshots(&self) -> &Semaphore {
        self.snapshots.get_or_init(|| Box::new(Semaphore::new(SNAPSHOTS_AT_ONCE)))
    }

    /// It follows something under a ticket that names nothing else.
    pub(super) fn add(&self, follower: Rc<Follower>) {
        let mut followers = self.followers.borrow_mut();
        if followers.is_empty() {
            followers.reserve_exact(1);
        }
        followers.push(follower);
    }

    pub(super) fn followers(&self) -> Vec<Rc<Follower>> {
        self.followers.borrow().clone()
    }

    pub(super) fn remove(&self, ticket: Ticket) -> Option<Rc<Follower>> {
        let mut followers = self.followers.borrow_mut();
        let at = followers.iter().position(|follower| follower.ticket == ticket)?;
        Some(followers.swap_remove(at))
    }

    pub(super) fn follower(&self, ticket: Ticket) -> Option<Rc<Follower>> {
        self.followers.borrow().iter().find(|follower| follower.ticket == ticket).cloned()
    }

    /// Sends what is to be sent, at once and in order, and hands the other effects to the actor.
    pub(super) fn carry_out(&self, effects: Vec<Effect>) {
        let mut others = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send(text) => self.push(self.outbox.push_frame(frame::text(&text))),
                Effect::SendInOrder(text) => match self.backlog.keep_reply(frame::text(&text)) {
                    Ok(Some(bytes)) => self.push_reply(bytes),
                    Ok(None) => {}
                    Err(overflow) => self.push(Err(overflow)),
                },
                Effect::Close(code, reason) => self.close(code, reason),
                other => others.push(other),
            }
        }
        if let Some(socket) = self.socket() {
            if !others.is_empty() {
                socket.tell(Carry(others));
            }
            socket.resume();
        }
    }

    /// A reply that must not overtake events that are held back.
    fn push_reply(&self, bytes: Bytes) {
        self.push(self.outbox.push_in_order(bytes));
    }

    /// Appends a message about a subscription in the form of the client's transport. `name` says what it is, `cursor` is
    /// what may be gone on from once it has been read.
    pub(super) fn append(&self, bytes: &mut BytesMut, name: &str, cursor: Option<Cursor>, text: &str) {
        match &self.transport {
            Transport::Socket(_) => frame::append_text(bytes, text),
            Transport::EventStream(_) => sse::append(bytes, name, cursor, text),
        }
    }

    /// The subscription is no longer behind, or has been left.
    pub(super) fn end_backlog(&self, ticket: Ticket) {
        for reply in self.backlog.end(ticket) {
            self.push_reply(reply);
        }
    }

    fn push(&self, pushed: Result<(), Overflow>) {
        if pushed.is_err() {
            self.cut_off("too slow");
        }
    }

    /// Says to an event stream that the client has got everything up to a position.
    pub(super) fn beat(&self, cursor: Cursor) {
        let Transport::EventStream(last) = &self.transport else { return };
        let Progress { taken, waits } = self.outbox.progress();
        let (before, beats) = last.get();
        let beats = if waits && taken == before { beats + 1 } else { 0 };
        last.set((taken, beats));
        if beats >= BEATS_WITHOUT_PROGRESS {
            self.cut_off("nothing is read");
        } else if !waits {
            // Where something waits, that is a sign of life too. Before the stream has been told where it begins it has
            // got nothing: who went on from here would miss what it is about to be told.
            let has_begun =
                self.followers.borrow().iter().all(|follower| follower.unanswered.get().is_none());
            let is_told = has_begun && self.backlog.is_empty();
            let sign = if is_told { sse::id(cursor) } else { sse::comment() };
            self.push(self.outbox.push_frame(sign));
        }
    }

    /// Ends a client that does not keep up or is silent: what waits for it is dropped.
    pub(super) fn cut_off(&self, reason: &str) {
        tracing::debug!(client = self.id.0, reason, "a client is cut off");
        self.end_with(4408, reason, true);
    }

    /// Sends the close frame after what waits, and ends when the peer has answered it or does not in time.
    pub(super) fn close(&self, code: u16, reason: &str) {
        self.end_with(code, reason, false);
    }

    /// Ends a client who may no longer be here.
    pub(super) fn revoke(&self) {
        let Some(socket) = self.socket() else { return self.close(4401, "the session has ended") };
        self.outbox.close_after_reply(frame::close(4401, "the session has ended"));
        if self.outbox.is_closed() {
            socket.tell(Linger);
        }
    }

    /// It is time that the actor looks at the socket.
    pub(super) fn look(&self) {
        if let Some(socket) = self.socket() {
            socket.tell(Look);
        }
    }

    /// Has the application asked whether the client may still be here.
    pub(super) fn recheck(&self) {
        if let Some(socket) = self.socket() {
            socket.tell(Recheck);
        }
    }

    /// The application has said whose the client is.
    pub(super) fn checked(&self) {
        self.unchecked.set(None);
    }

    /// Whether the client may still be here cannot be said at present. Sessions that cannot be looked up for a moment must
    /// log nobody out; where that lasts, who was revoked meanwhile must not stay.
    pub(super) fn not_checked(&self, error: &Error, limits: &Limits) {
        tracing::warn!(%error, "an identity could not be checked");
        let since = self.unchecked.get().unwrap_or_else(Instant::now);
        self.unchecked.set(Some(since));
        if since.elapsed() >= Duration::from_millis(limits.unchecked_ms) {
            self.close(1011, "it cannot be found out who you are");
        }
    }

    fn end_with(&self, code: u16, reason: &str, drop_waiting: bool) {
        match &self.transport {
            Transport::Socket(socket) => {
                self.outbox.close(frame::close(code, reason), drop_waiting);
                socket.tell(Linger);
            }
            Transport::EventStream(_) => {
                self.outbox.close(sse::close(code), drop_waiting);
                self.outbox.end();
            }
        }
    }
}

/// The response body: drains the outbox. When it is dropped, the connection is over.
pub(crate) struct OutboxStream {
    pub(super) client: Rc<Client>,
    pub(super) worker: Rc<Worker>,
}

impl Stream for OutboxStream {
    type Item = Result<Bytes, actix_web::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.client.outbox.poll_next(context).map(|bytes| bytes.map(Ok))
    }
}

impl Drop for OutboxStream {
    fn drop(&mut self) {
        match self.client.socket() {
            Some(socket) => {
                self.client.outbox.disconnect();
                socket.tell(Stop);
            }
            None => {
                self.client.outbox.end();
                self.worker.forget(&self.client);
            }
        }
    }
}
