//! What the HTTP server around the scope should do with every accepted connection.

use std::any::Any;
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;

use crate::socket::descriptor::open_second;

/// How long a peer that takes nothing is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Prepares a connection for delivery. To be given to `HttpServer::on_connect`.
///
/// What is told to a WebSocket's client is then written past the HTTP server, which costs a fifth less of the processor.
/// For that each socket is opened a second time, so that a connection has two file descriptors; where the process has few
/// left, or the connection is one of TLS, the HTTP server writes.
///
/// And the options are set that delivery relies on:
/// `TCP_NODELAY`, because a frame must not wait for the next one; on Linux, a `TCP_NOTSENT_LOWAT` of 16 KiB, because what
/// the kernel has taken can no longer be put together with what comes after it; and a `TCP_USER_TIMEOUT` of 40 seconds as
/// long as the HTTP server writes, because a peer that takes nothing must not hold its memory for ever.
///
/// Beside it stands `HttpServer::h1_allow_half_closed(false)`: then a client of an event stream or a poll that has hung up
/// is noticed at once. Otherwise actix-web takes it for one that only has nothing more to ask, and its place among the
/// connections is free when something is next written to it, which for an event stream is after 15 to 30 seconds.
pub fn prepare_connection(connection: &dyn Any, extensions: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    let socket = SockRef::from(stream);
    // An option that the system does not have is done without.
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(16 << 10);
    system_gives_up(&socket, true);
    open_second(stream, extensions);
}

/// Sets whether the system ends a connection whose peer takes nothing. It counts from when the peer last had room for all
/// that there was, so that it also ends one whose peer takes a little at a time.
pub(crate) fn system_gives_up(socket: &SockRef<'_>, does: bool) {
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(does.then_some(PATIENCE));
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, does);
}
