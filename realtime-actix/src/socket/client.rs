//! One connection as its worker sees it: the protocol's state, the outbox, and the actor that carries effects out.

use std::cell::{Cell, OnceCell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use actix::Addr;
use bytes::Bytes;
use futures_util::Stream;
use realtime_core::Limits;
use realtime_core::connection::{Connection, Effect};
use realtime_core::group::GroupId;

use super::backlog::Backlog;
use super::connection::{Carry, ConnectionActor, Linger, Recheck, Stop};
use super::frame;
use super::outbox::{Outbox, Overflow};
use crate::auth::Identity;
use crate::gate::Gate;

/// Names a connection on its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClientId(pub(super) u64);

pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) connection: RefCell<Connection>,
    /// Whose connection it is.
    pub(super) identity: RefCell<Identity>,
    pub(super) outbox: Outbox,
    pub(super) backlog: Backlog,
    address: OnceCell<Addr<ConnectionActor>>,
    /// The task that reads the socket, while it pauses.
    paused: RefCell<Option<Waker>>,
    opened: Instant,
    gone: Cell<bool>,
}

impl Client {
    pub(super) fn new(
        id: ClientId,
        connection: Connection,
        identity: Identity,
        limits: &Limits,
        opened: Instant,
    ) -> Self {
        Self {
            id,
            connection: RefCell::new(connection),
            identity: RefCell::new(identity),
            outbox: Outbox::new(Gate::default(), limits.outbox_bytes, limits.outbox_frames),
            backlog: Backlog::new(limits.outbox_bytes, limits.outbox_frames),
            address: OnceCell::new(),
            paused: RefCell::new(None),
            opened,
            gone: Cell::new(false),
        }
    }

    pub(super) fn set_address(&self, address: Addr<ConnectionActor>) {
        // Set once, when the actor starts.
        let _ = self.address.set(address);
    }

    /// Milliseconds since the connection was opened: the clock that core is given.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Has the connection ended? Then nothing more is told to it.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    pub(super) fn set_gone(&self) {
        self.gone.set(true);
    }

    /// Sends what is to be sent, at once and in order, and hands the other effects to the actor.
    pub(super) fn carry_out(&self, effects: Vec<Effect>) {
        let mut others = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send(text) => self.push(self.outbox.push_frame(frame::text(&text))),
                Effect::SendInOrder(text) => match self.backlog.keep_reply(frame::text(&text)) {
                    Ok(Some(bytes)) => self.push(self.outbox.push_events(bytes, 1)),
                    Ok(None) => {}
                    Err(overflow) => self.push(Err(overflow)),
                },
                Effect::Close(code, reason) => self.close(code, reason),
                other => others.push(other),
            }
        }
        if !others.is_empty() {
            self.tell(Carry(others));
        }
        self.resume();
    }

    /// Live events of a group.
    pub(super) fn deliver(&self, group: GroupId, bytes: Bytes, frames: usize) {
        match self.backlog.keep(group, bytes, frames) {
            Ok(Some(bytes)) => self.push_events(bytes, frames),
            Ok(None) => {}
            Err(overflow) => self.push(Err(overflow)),
        }
    }

    pub(super) fn push_events(&self, bytes: Bytes, frames: usize) {
        self.push(self.outbox.push_events(bytes, frames));
    }

    /// The group is no longer behind, or has been left.
    pub(super) fn end_backlog(&self, group: GroupId) {
        for reply in self.backlog.end(group) {
            self.push_events(reply, 1);
        }
    }

    fn push(&self, pushed: Result<(), Overflow>) {
        if pushed.is_err() {
            self.cut_off("too slow");
        }
    }

    /// Ends a client that does not keep up or is silent: what waits for it is dropped.
    pub(super) fn cut_off(&self, reason: &str) {
        tracing::debug!(client = self.id.0, reason, "a client is cut off");
        self.outbox.close(frame::close(4408, reason), true);
        self.tell(Linger);
    }

    /// Sends a close frame after what waits, and ends when the peer has answered it or does not in time.
    pub(super) fn close(&self, code: u16, reason: &str) {
        self.outbox.close(frame::close(code, reason), false);
        self.tell(Linger);
    }

    /// Ends a client who may no longer be here.
    pub(super) fn revoke(&self) {
        self.outbox.close_after_reply(frame::close(4401, "the session has ended"));
        if self.outbox.is_closed() {
            self.tell(Linger);
        }
    }

    /// Has the application asked whether the client may still be here.
    pub(super) fn recheck(&self) {
        self.tell(Recheck);
    }

    /// The connection is over.
    pub(super) fn stop(&self) {
        self.tell(Stop);
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

/// The response body of a socket: drains the outbox. When it is dropped, the connection is over.
pub(super) struct OutboxStream(pub(super) Rc<Client>);

impl Stream for OutboxStream {
    type Item = Result<Bytes, actix_web::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.outbox.poll_next(context).map(|bytes| bytes.map(Ok))
    }
}

impl Drop for OutboxStream {
    fn drop(&mut self) {
        self.0.stop();
    }
}
