//! Writes what waits for clients to their sockets: one task for each worker.
//!
//! The HTTP server would write it too, as the body of the answer to the handshake. But for that it goes through its
//! whole state of each connection, for each frame: four times the instructions. Once the handshake is over it has nothing
//! to say of its own, so the socket is written to past it. It goes on reading, and it ends the connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::timeout;

use super::outbox::Outbox;

/// Outboxes that are written before others of the worker's tasks have their turn: about half a millisecond.
const OUTBOXES_AT_ONCE: usize = 64;

/// Waits until a socket takes something again, for some time.
pub(super) async fn take_more(socket: TcpStream, patience: Duration) -> io::Result<TcpStream> {
    let socket = tokio::net::TcpStream::from_std(socket)?;
    timeout(patience, socket.writable()).await??;
    socket.into_std()
}

/// The outboxes of one worker that have something for their sockets.
#[derive(Debug, Default)]
pub(super) struct Writer {
    due: RefCell<VecDeque<Rc<Outbox>>>,
    /// The task that writes, while it has nothing to do.
    idle: RefCell<Option<Waker>>,
    /// Who waits until it has nothing to do.
    waiting: RefCell<Option<Waker>>,
}

impl Writer {
    /// Begins the task. It ends with the worker.
    pub(super) fn start() -> Rc<Self> {
        let writer = Rc::new(Self::default());
        let task = Rc::downgrade(&writer);
        actix::spawn(poll_fn(move |context| Self::poll(&task, context)));
        writer
    }

    /// Has an outbox written.
    pub(super) fn add(&self, outbox: Rc<Outbox>) {
        self.due.borrow_mut().push_back(outbox);
        if let Some(task) = self.idle.take() {
            task.wake();
        }
    }

    fn poll(writer: &Weak<Self>, context: &Context<'_>) -> Poll<()> {
        let Some(writer) = writer.upgrade() else { return Poll::Ready(()) };
        for _ in 0..OUTBOXES_AT_ONCE {
            let Some(outbox) = writer.next() else {
                writer.idle.replace(Some(context.waker().clone()));
                if let Some(waiting) = writer.waiting.take() {
                    waiting.wake();
                }
                return Poll::Pending;
            };
            outbox.write();
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn next(&self) -> Option<Rc<Outbox>> {
        self.due.borrow_mut().pop_front()
    }

    /// Waits until everything has been written that the sockets take.
    pub(super) fn poll_idle(&self, context: &Context<'_>) -> Poll<()> {
        if self.due.borrow().is_empty() {
            return Poll::Ready(());
        }
        self.waiting.replace(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(task) = self.idle.take() {
            task.wake();
        }
    }
}
