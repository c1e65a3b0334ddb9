//! Where a process has few file descriptors left, a connection has one and no more.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use realtime_tests::{Server, Setup, Socket, within};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

/// Connections of the test, each with the client's end in this process too.
const CONNECTIONS: usize = 100;

/// Connections that ask for nothing.
const IDLE: usize = 40;

/// Open files of this process.
fn open() -> usize {
    fs::read_dir("/proc/self/fd").expect("the system is Linux").count()
}

async fn follower(server: &Server) -> Socket {
    let mut socket = Socket::open(server).await;
    let reply = socket.request(json!({"stream": "comments", "action": "subscribe"})).await;
    assert_eq!(reply["status"], 200, "{reply}");
    socket
}

#[tokio::test]
async fn where_descriptors_are_few_a_connection_has_one_and_is_told_the_same() {
    let server = Setup::memory().start().await;
    let mut first = follower(&server).await;
    let before = open();
    let mut followers = Vec::new();
    for _ in 0..10 {
        followers.push(follower(&server).await);
    }
    assert_eq!(
        open() - before,
        3 * followers.len(),
        "where there are enough, a connection has two and the client one"
    );

    // So has one that asks for nothing.
    let idle: Vec<TcpStream> =
        (0..IDLE).map(|_| TcpStream::connect(server.address()).expect("it listens")).collect();
    let all_open = async {
        while open() - before < 3 * (followers.len() + idle.len()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("they are opened twice", all_open).await;

    // There is just room for all with one each.
    let most = before + 2 * (CONNECTIONS + IDLE) + 2;
    let limit = Rlimit { current: Some(most as u64), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).expect("it is lower than before");
    while followers.len() < CONNECTIONS {
        followers.push(follower(&server).await);
    }
    assert!(open() <= most);

    let reply =
        first.request(json!({"stream": "comments/create", "payload": {"topic_id": 1, "body": "news"}})).await;
    assert_eq!(reply["status"], 201, "{reply}");
    for follower in followers.iter_mut().chain([&mut first]) {
        let event = follower.next_event().await;
        assert_eq!((&event["action"], &event["data"]["body"]), (&json!("create"), &json!("news")));
    }
}
