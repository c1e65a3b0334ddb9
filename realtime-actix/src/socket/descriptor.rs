//! The second file descriptor of a connection, which the writer writes to: opened when the client connects, as long as
//! there are enough.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream as Stream;

/// The part of the process's descriptors that is left to new connections.
const PART_FOR_CONNECTIONS: u64 = 16;

/// How long no socket is opened twice after descriptors have been few.
const WHILE_SCARCE: Duration = Duration::from_secs(60);

/// Clients that give theirs back when a new one finds that there are few. As none is opened for a while then, so many new
/// connections find room before the next one finds so again.
pub(super) const GIVEN_BACK: usize = 16;

/// What the process has opened twice and no handshake has asked for yet. Most of those who connect ask at once; those who
/// ask for nothing have theirs as long as there are enough.
static UNTAKEN: LazyLock<Mutex<Untaken>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Untaken {
    sockets: HashMap<u64, TcpStream>,
    next: u64,
    /// When the process last had few descriptors left.
    scarce: Option<Instant>,
}

fn untaken() -> MutexGuard<'static, Untaken> {
    UNTAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's socket once more, for whoever answers a handshake on it.
pub(super) enum Second {
    Open(TcpStream),
    /// The process has few descriptors left.
    Scarce,
}

/// What stands in a connection's extensions: what names its socket among the untaken.
struct Ticket(Option<u64>);

/// Opens a connection's socket once more.
#[cfg(unix)]
pub(crate) fn open_second(stream: &Stream, extensions: &mut Extensions) {
    use std::os::fd::{AsFd as _, AsRawFd};

    use rustix::process::{Resource, getrlimit};

    // The system gives the lowest number that is free, so a high one says that few are left.
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let is_high = |descriptor: &dyn AsRawFd| {
        u64::try_from(descriptor.as_raw_fd()).unwrap_or_default() >= most - most / PART_FOR_CONNECTIONS
    };
    let mut untaken = untaken();
    let are_few = untaken.scarce.is_some_and(|since| since.elapsed() < WHILE_SCARCE);
    // When many connect at once, all may have been accepted, with low numbers, before the first is opened twice.
    let second = if are_few || is_high(stream) {
        None
    } else {
        stream.as_fd().try_clone_to_owned().ok().filter(|second| !is_high(second))
    };
    let ticket = match second {
        Some(second) => {
            untaken.next += 1;
            let name = untaken.next;
            untaken.sockets.insert(name, second.into());
            Ticket(Some(name))
        }
        None if are_few && !is_high(stream) => return,
        None => {
            untaken.scarce = Some(Instant::now());
            untaken.sockets = HashMap::new();
            Ticket(None)
        }
    };
    drop(untaken);
    extensions.insert(ticket);
}

/// Elsewhere the HTTP server writes.
#[cfg(not(unix))]
pub(crate) fn open_second(_: &Stream, _: &mut Extensions) {}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(name) = self.0 {
            untaken().sockets.remove(&name);
        }
    }
}

/// The second socket of the connection that a request has come on, if there is one. It is given once.
pub(super) fn take_second(request: &HttpRequest) -> Option<Second> {
    match request.conn_data::<Ticket>()?.0 {
        Some(name) => untaken().sockets.remove(&name).map(Second::Open),
        None => Some(Second::Scarce),
    }
}
