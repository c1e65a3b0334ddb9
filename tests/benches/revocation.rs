//! How soon does somebody who is revoked have his close frame?
//!
//! From the call to the frame in his hands, over loopback: of one of a thousand sockets, of a hundred sockets of one user,
//! and of one while everybody is told of a commit every millisecond. A table, and a line of JSON.

#![expect(clippy::print_stdout, reason = "a benchmark says what it has measured")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use realtime_actix::testing::{User, Users};
use realtime_actix::{Limits, Realtime};
use realtime_tests::machine::machine;
use realtime_tests::{Handshake, Server, Setup, Socket};
use serde_json::{Value as Json, json};

/// Sockets of others.
const CROWD: usize = 1_000;

const ROUNDS: usize = 100;

async fn socket(server: &Server, users: &Users, user: &User) -> (Socket, String) {
    let token = users.log_in(&user.name, "pw").expect("the password is right");
    let handshake = Handshake::to("/api/ws").header("authorization", format!("Bearer {token}"));
    let (mut socket, _) = handshake.open(server).await.expect("a socket");
    socket.subscribe("topics", json!({})).await;
    (socket, token)
}

fn figures(name: &str, mut times: Vec<Duration>) -> Json {
    times.sort_unstable();
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let at = |percent: usize| milliseconds(times[(times.len() * percent / 100).min(times.len() - 1)]);
    let (p50, p99, most) = (at(50), at(99), at(100));
    println!("{name:<36} {:>7} {p50:>9.3} {p99:>9.3} {most:>9.3}", times.len());
    json!({"what": name, "frames": times.len(), "p50_ms": p50, "p99_ms": p99, "max_ms": most})
}

/// The time to the close frame of each.
async fn until_closed(sockets: Vec<Socket>, revoke: impl FnOnce()) -> Vec<Duration> {
    let begin = Instant::now();
    revoke();
    let closing = sockets.into_iter().map(async |mut socket| {
        assert_eq!(socket.closed().await, Some(4401));
        begin.elapsed()
    });
    join_all(closing).await
}

async fn one_by_one(server: &Server, users: &Users, realtime: &Realtime) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let (socket, session) = socket(server, users, &users.user()).await;
        times.extend(until_closed(vec![socket], || realtime.close_session(session)).await);
    }
    times
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let users = Users::default();
    let known = users.clone();
    let mut limits = Limits::default().without_rates();
    // Nobody reads what the crowd is told.
    limits.outbox_frames = 1 << 20;
    limits.heartbeat_ms = 3_600_000;
    let server =
        Setup::file().configure(move |connect| connect.authenticator(known).limits(limits)).start().await;
    let realtime = server.realtime().clone();
    let somebody = users.user();
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(socket(&server, &users, &somebody).await.0);
    }
    println!(
        "{:<36} {:>7} {:>9} {:>9} {:>9}",
        "ms from the call to the close frame", "frames", "p50", "p99", "max"
    );
    let mut all = vec![figures("one session of a thousand", one_by_one(&server, &users, &realtime).await)];

    let mut times = Vec::new();
    for _ in 0..10 {
        let user = users.user();
        let mut sockets = Vec::new();
        for _ in 0..100 {
            sockets.push(socket(&server, &users, &user).await.0);
        }
        times.extend(until_closed(sockets, || realtime.close_user(user.key)).await);
    }
    all.push(figures("a user with a hundred sockets", times));

    let server = Arc::new(server);
    let ends = Arc::new(AtomicBool::new(false));
    let (writes, until) = (Arc::clone(&server), Arc::clone(&ends));
    let writing = tokio::spawn(async move {
        while !until.load(Ordering::Relaxed) {
            writes.write("UPDATE topics SET locked = NOT locked WHERE id = 1").await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    all.push(figures("the same while a thousand are told", one_by_one(&server, &users, &realtime).await));
    ends.store(true, Ordering::Relaxed);
    writing.await.expect("no panic");
    drop(crowd);
    let optimised = !cfg!(debug_assertions);
    println!(
        "{}",
        json!({"benchmark": "revocation", "machine": machine(), "optimised": optimised, "figures": all})
    );
}
