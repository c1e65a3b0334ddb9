//! Writes what waits for clients to their sockets: one task for each worker.
//!
//! The HTTP server would write it too, as the body of the answer to the handshake. But for that it goes through its
//! whole state of each connection, for each frame: that costs more than the call of the system does at a frame of some
//! hundred bytes. Once the handshake is over it has nothing to say of its own, so the socket is written to past it. It goes
//! on reading, and it ends the connection.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::rc::{Rc, Weak};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix_web::dev::Extensions;

use super::outbox::Outbox;

/// Outboxes that are written before others of the worker's tasks have their turn: about half a millisecond.
const OUTBOXES_AT_ONCE: usize = 64;

/// The part of the process's descriptors that is left to new connections.
const PART_FOR_CONNECTIONS: u64 = 16;

/// How long no socket is opened twice after descriptors have been few.
const WHILE_SCARCE: Duration = Duration::from_secs(60);

/// When the process last had few descriptors left.
static SCARCE: Mutex<Option<Instant>> = Mutex::new(None);

/// A connection's socket once more, for whoever answers a handshake on it.
pub(super) enum Second {
    Open(TcpStream),
    /// The process has few descriptors left.
    Scarce,
    /// It had few not long ago, or the connection is not a socket's alone.
    None,
}

/// What stands in a connection's extensions.
struct Kept(Cell<Second>);

/// Opens the socket once more, if the connection is one without TLS.
pub(crate) fn open_second(connection: &dyn Any, extensions: &mut Extensions) {
    #[cfg(unix)]
    if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
        use std::os::fd::{AsFd as _, AsRawFd as _};

        use rustix::process::{Resource, getrlimit};

        // The system gives the lowest number that is free, so a high one says that few are left.
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let number = u64::try_from(stream.as_raw_fd()).unwrap_or_default();
        let mut scarce = SCARCE.lock().unwrap_or_else(PoisonError::into_inner);
        let second = if number >= most - most / PART_FOR_CONNECTIONS {
            *scarce = Some(Instant::now());
            Second::Scarce
        } else if scarce.is_some_and(|since| since.elapsed() < WHILE_SCARCE) {
            Second::None
        } else {
            stream.as_fd().try_clone_to_owned().map_or(Second::None, |second| Second::Open(second.into()))
        };
        extensions.insert(Kept(Cell::new(second)));
    }
}

/// The second socket of the connection that a request has come on. It is given once.
pub(super) fn take_second(request: &actix_web::HttpRequest) -> Second {
    request.conn_data::<Kept>().map_or(Second::None, |kept| kept.0.replace(Second::None))
}

/// Waits until a socket takes something again.
pub(super) async fn take_more(socket: TcpStream) -> io::Result<TcpStream> {
    let socket = tokio::net::TcpStream::from_std(socket)?;
    socket.writable().await?;
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
