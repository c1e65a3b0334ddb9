//! How many may be connected: in all, from one address and of one user, by whatever transport.

use std::net::IpAddr;
use std::sync::Arc;

use realtime_actix::Limits;
use realtime_tests::{EventStream, Handshake, Refused, Server, Setup, Socket, StreamRequest, people, within};
use serde_json::json;

const STREAM: &str = "/api/comments/events";

async fn with_limits(change: impl FnOnce(&mut Limits)) -> Server {
    let users = people();
    for (token, user) in [("ann-1", "ann"), ("ann-2", "ann"), ("bob-1", "bob")] {
        users.begin_session(&users.named(user), token);
    }
    let mut limits = Limits::default();
    change(&mut limits);
    let setup = Setup::file().configure(move |connect| {
        // Everybody comes by a proxy, and says from where.
        connect.limits(limits).authenticator(users).trust_proxy(IpAddr::from([127, 0, 0, 1]))
    });
    setup.start().await
}

async fn socket(server: &Server, address: &str, token: &str) -> Result<Socket, Refused> {
    let mut handshake = Handshake::to("/api/ws").header("x-forwarded-for", address);
    if !token.is_empty() {
        handshake = handshake.header("authorization", format!("Bearer {token}"));
    }
    handshake.open(server).await.map(|(socket, _)| socket)
}

/// Which limit refuses, with which status and code.
#[track_caller]
fn refusal(result: Result<Socket, Refused>) -> (u16, String) {
    let refused = result.expect_err("it is over a limit");
    let detail = refused.body["detail"].as_str().expect("a detail");
    let limit = detail.split("(limit ").nth(1).expect("the limit's name").trim_end_matches(").").to_owned();
    (refused.status, limit)
}

#[tokio::test]
async fn sockets_event_streams_and_polls_count_alike() {
    let server = Arc::new(
        with_limits(|limits| {
            limits.connections = 3;
            // Nothing is written to anybody who follows quietly.
            limits.stream_heartbeat_ms = 3_600_000;
        })
        .await,
    );
    let mut first = socket(&server, "192.0.2.1", "").await.expect("a place");
    let stream: EventStream = StreamRequest::to(STREAM).open(&server).await;
    let since =
        first.request(json!({"action": "ping"})).await["data"]["cursor"].as_str().expect("one").to_owned();
    let waiting = Arc::clone(&server);
    let path = format!("/api/comments/changes?since={since}&wait=8");
    let poll = tokio::spawn(async move {
        loop {
            // The place may be taken for a moment by those that ask whether it is.
            let answer = waiting.http("GET", &path, &[], "").await;
            if answer.status != 503 {
                break answer;
            }
        }
    });
    let (status, code) = loop {
        // Until the poll waits there is a place.
        let answer = server.http("GET", "/api/comments/changes", &[], "").await;
        if answer.status != 200 {
            break (answer.status, answer.json["code"].as_str().expect("a code").to_owned());
        }
    };
    assert_eq!((status, code.as_str()), (503, "unavailable"));
    assert_eq!(refusal(socket(&server, "192.0.2.2", "").await), (503, "connections".to_owned()));
    let answer = server.http("GET", STREAM, &[], "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    // Requests that are over at once need none.
    assert_eq!(server.http("GET", "/api/comments/", &[], "").await.status, 200);
    drop(stream);
    let mut second = loop {
        if let Ok(socket) = socket(&server, "192.0.2.2", "").await {
            break socket;
        }
    };
    server.write("INSERT INTO comments (topic_id, author_id, body, created_at) VALUES (1, 1, 'x', '2026-01-01 00:00:00')").await;
    assert_eq!(poll.await.expect("no panic").json["events"].as_array().map(Vec::len), Some(1));
    for socket in [&mut first, &mut second] {
        assert_eq!(socket.request(json!({"action": "ping"})).await["status"], 200);
    }
}

#[tokio::test]
async fn a_place_is_free_as_soon_as_its_client_has_hung_up() {
    let server = with_limits(|limits| {
        limits.connections = 1;
        limits.stream_heartbeat_ms = 3_600_000;
    })
    .await;
    let since = server.get("/api/comments/changes").await.json["cursor"].clone();
    let poll = format!("/api/comments/changes?wait=60&since={}", since.as_str().expect("a cursor"));
    for path in [STREAM, &poll, STREAM, &poll, STREAM] {
        within("a place", come_and_go(&server, path)).await;
    }
}

async fn is_full(server: &Server) -> bool {
    server.http("GET", "/api/comments/changes", &[], "").await.status == 503
}

/// Waits until the only place is free, asks for what does not end, and hangs up once that has it.
async fn come_and_go(server: &Server, path: &str) {
    while is_full(server).await {}
    loop {
        tokio::select! {
            // Those that ask whether it is taken have it for a moment.
            answer = server.http("GET", path, &[], "") => assert_eq!(answer.status, 503, "{}", answer.text),
            () = async { while !is_full(server).await {} } => return,
        }
    }
}

#[tokio::test]
async fn one_address_has_no_more_than_its_own() {
    let server = with_limits(|limits| limits.connections_per_address = 2).await;
    let first = socket(&server, "192.0.2.1", "ann-1").await.expect("a place");
    let _second = socket(&server, "192.0.2.1", "bob-1").await.expect("a place");
    let of_address = (429, "connections_per_address".to_owned());
    assert_eq!(refusal(socket(&server, "192.0.2.1", "").await), of_address);
    // What a client writes in front of the proxy's own word is not believed.
    assert_eq!(refusal(socket(&server, "192.0.2.9, 192.0.2.1", "").await), of_address);
    let _other = socket(&server, "192.0.2.2", "").await.expect("another address");
    drop(first);
    while socket(&server, "192.0.2.1", "").await.is_err() {}
}

#[tokio::test]
async fn one_user_has_no_more_than_his_own() {
    let server = with_limits(|limits| limits.connections_per_user = 2).await;
    let first = socket(&server, "192.0.2.1", "ann-1").await.expect("a place");
    let _second = socket(&server, "192.0.2.2", "ann-2").await.expect("a place");
    let of_user = (429, "connections_per_user".to_owned());
    assert_eq!(refusal(socket(&server, "192.0.2.3", "ann-1").await), of_user);
    let _bob = socket(&server, "192.0.2.3", "bob-1").await.expect("somebody else");
    // Who logs in later counts from then on.
    let mut nobody = socket(&server, "192.0.2.3", "").await.expect("a place");
    let authenticate = json!({"action": "authenticate", "payload": {"token": "ann-1"}});
    let reply = nobody.request(authenticate.clone()).await;
    assert_eq!((&reply["status"], &reply["error"]["code"]), (&json!(429), &json!("throttled")), "{reply}");
    drop(first);
    while nobody.request(authenticate.clone()).await["status"] != 200 {}
    assert_eq!(refusal(socket(&server, "192.0.2.4", "ann-2").await), of_user);
}
