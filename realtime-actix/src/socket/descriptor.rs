//! The second file descriptor of a connection, which the writer writes to: opened when the client connects, as long as
//! there are enough.

use std::cell::Cell;
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream as Stream;

/// The part of the process's descriptors that is left to new connections.
const PART_FOR_CONNECTIONS: u64 = 16;

/// How long no socket is opened twice after descriptors have been few.
const WHILE_SCARCE: Duration = Duration::from_secs(60);

/// When the process last had few descriptors left.
static SCARCE: Mutex<Option<Instant>> = Mutex::new(None);

/// Clients that give theirs back when a new one finds that there are few. As none is opened for a while then, so many new
/// connections find room before the next one finds so again.
pub(super) const GIVEN_BACK: usize = 16;

/// A connection's socket once more, for whoever answers a handshake on it.
pub(super) enum Second {
    Open(TcpStream),
    /// The process has few descriptors left.
    Scarce,
}

/// What stands in a connection's extensions.
struct Kept(Cell<Option<Second>>);

/// Opens a connection's socket once more.
#[cfg(unix)]
pub(crate) fn open_second(stream: &Stream, extensions: &mut Extensions) {
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
        return;
    } else {
        // What the system refuses is done without.
        let Ok(second) = stream.as_fd().try_clone_to_owned() else { return };
        Second::Open(second.into())
    };
    extensions.insert(Kept(Cell::new(Some(second))));
}

/// Elsewhere the HTTP server writes.
#[cfg(not(unix))]
pub(crate) fn open_second(_: &Stream, _: &mut Extensions) {}

/// The second socket of the connection that a request has come on, if there is one. It is given once.
pub(super) fn take_second(request: &HttpRequest) -> Option<Second> {
    request.conn_data::<Kept>()?.0.take()
}
