//! Who is asking: over REST and the socket, by header, cookie, subprotocol, ticket and message; and how that ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use realtime_actix::auth::{Authenticator, Credentials, Identity};
use realtime_actix::testing::Users;
use realtime_actix::{Code, Error, Limits, Principal, Realtime};
use realtime_tests::{
    ANN, BOB, EventStream, Handshake, Incoming, Server, Setup, Socket, StreamRequest, at, on_postgres,
    people, within,
};
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;

/// A server that knows ann (twice), bob and one of the staff.
async fn server() -> (Server, Users) {
    let users = people();
    for (token, user) in [("ann-1", "ann"), ("ann-2", "ann"), ("bob-1", "bob"), ("staff-1", "staff")] {
        users.begin_session(&users.named(user), token);
    }
    let known = users.clone();
    let recheck = Duration::from_secs(3600);
    let setup =
        Setup::file().configure(move |connect| connect.authenticator(known).recheck_interval(recheck));
    (setup.start().await, users)
}

/// Begins a session that ends by itself.
fn log_in_until(users: &Users, token: &str, user: &str, end: DateTime<Utc>) {
    users.begin_session(&users.named(user), token);
    users.end_at(token, end);
}

fn with_token(token: &str) -> Handshake {
    Handshake::to("/api/ws").header("authorization", format!("Bearer {token}"))
}

async fn socket_of(server: &Server, token: &str) -> Socket {
    with_token(token).open(server).await.expect("a known token opens a socket").0
}

fn comment(body: &str) -> String {
    json!({"topic_id": 1, "body": body}).to_string()
}

async fn post(server: &Server, headers: &[(&str, &str)], body: &str) -> (u16, Json) {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    let answer = server.http("POST", "/api/comments/", &all, comment(body)).await;
    (answer.status, answer.json)
}

/// The status of a create over a socket, and the author of what it made.
async fn says(socket: &mut Socket, body: &str) -> (u64, Json) {
    let payload = json!({"topic_id": 1, "body": body});
    let reply = socket.request(json!({"stream": "comments/create", "payload": payload})).await;
    (reply["status"].as_u64().expect("a status"), at(&reply, "data.author_id").clone())
}

#[actix_web::test]
async fn a_request_is_of_whoever_its_token_or_cookie_says() {
    let (server, _) = server().await;
    assert_eq!(post(&server, &[], "x").await.0, 401);
    assert_eq!(post(&server, &[("authorization", "Bearer nobody")], "x").await.0, 401);
    assert_eq!(post(&server, &[("cookie", "session=nobody")], "x").await.0, 401);
    // Another scheme is none of ours, and says nothing.
    assert_eq!(post(&server, &[("authorization", "Basic YW5uOmFubg==")], "x").await.0, 401);
    let (status, made) = post(&server, &[("authorization", "Bearer ann-1")], "x").await;
    assert_eq!((status, &made["author_id"]), (201, &json!(ANN)));
    let (status, made) = post(&server, &[("authorization", "bearer bob-1")], "x").await;
    assert_eq!((status, &made["author_id"]), (201, &json!(BOB)));
    let (status, made) = post(&server, &[("cookie", "session=bob-1")], "x").await;
    assert_eq!((status, &made["author_id"]), (201, &json!(BOB)));
    // Reading is for everybody, but not with a token that is no longer good.
    assert_eq!(server.http("GET", "/api/comments/", &[], "").await.status, 200);
    let with_bad_token = [("authorization", "Bearer nobody")];
    let refused = server.http("GET", "/api/comments/", &with_bad_token, "").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer"));
}

#[actix_web::test]
async fn a_page_of_another_site_cannot_write_with_a_cookie() {
    let (server, _) = server().await;
    let own = format!("http://{}", server.address());
    let cookie = ("cookie", "session=ann-1");
    for (headers, expected) in [
        (vec![cookie, ("origin", "http://evil.example")], 403),
        (vec![cookie, ("origin", "null")], 403),
        (vec![cookie, ("sec-fetch-site", "cross-site")], 403),
        (vec![cookie, ("sec-fetch-site", "same-site")], 403),
        (vec![cookie, ("origin", own.as_str()), ("sec-fetch-site", "same-origin")], 201),
        (vec![cookie, ("sec-fetch-site", "none")], 201),
        (vec![cookie], 201),
        // A token is nothing that a browser adds by itself.
        (vec![("authorization", "Bearer ann-1"), ("origin", "http://app.example")], 201),
    ] {
        assert_eq!(post(&server, &headers, "x").await.0, expected, "{headers:?}");
    }
    let read = server.http("GET", "/api/comments/", &[cookie, ("origin", "http://evil.example")], "").await;
    assert_eq!(read.status, 200, "what is read cannot be seen by the page without CORS");
}

#[actix_web::test]
async fn a_socket_is_of_whoever_opens_it() {
    let (server, _) = server().await;
    let mut anonymous = Socket::open(&server).await;
    assert_eq!(says(&mut anonymous, "x").await.0, 401);
    let mut ann = socket_of(&server, "ann-1").await;
    assert_eq!(says(&mut ann, "x").await, (201, json!(ANN)));
    let by_subprotocol =
        Handshake::to("/api/ws").header("sec-websocket-protocol", "realtime.v1.json, bearer.bob-1");
    let (mut bob, response) = by_subprotocol.open(&server).await.expect("a token among the subprotocols");
    assert_eq!(
        response.headers()["sec-websocket-protocol"],
        "realtime.v1.json",
        "the token is not said again"
    );
    assert_eq!(says(&mut bob, "x").await, (201, json!(BOB)));
    let by_cookie = Handshake::to("/api/ws").header("cookie", "session=bob-1");
    let (mut bob, _) = by_cookie.open(&server).await.expect("a cookie");
    assert_eq!(says(&mut bob, "x").await, (201, json!(BOB)));
    for (refused, status) in [
        (with_token("nobody"), 401),
        (Handshake::to("/api/ws").header("cookie", "session=nobody"), 401),
        (Handshake::to("/api/ws?ticket=nobody"), 401),
        (Handshake::to("/api/ws?ticket="), 401),
        (Handshake::to("/api/ws").header("sec-websocket-protocol", "realtime.v1.json, bearer.nobody"), 401),
        (Handshake::to("/api/ws").header("sec-websocket-protocol", "bearer.ann-1"), 400),
    ] {
        assert_eq!(refused.open(&server).await.expect_err("refused").status, status);
    }
}

#[actix_web::test]
async fn a_ticket_opens_one_socket() {
    let (server, users) = server().await;
    let identity = || Identity::of(Principal::user(ANN)).in_session("ann-1");
    let ticket = server.realtime().ticket(identity()).expect("a ticket");
    let handshake = || Handshake::to(format!("/api/ws?ticket={ticket}"));
    let (mut ann, _) = handshake().open(&server).await.expect("a good ticket");
    assert_eq!(says(&mut ann, "x").await, (201, json!(ANN)));
    assert_eq!(handshake().open(&server).await.expect_err("used").status, 401);
    // A handshake that fails for another reason does not use it up.
    let ticket = server.realtime().ticket(identity()).expect("a ticket");
    let path = format!("/api/ws?ticket={ticket}");
    let foreign = Handshake::to(path.clone()).header("origin", "http://evil.example");
    assert_eq!(foreign.open(&server).await.expect_err("of another site").status, 403);
    assert!(Handshake::to(path).open(&server).await.is_ok());
    // Another program, or another node, has ended the session, and nobody has said so here.
    let ticket = server.realtime().ticket(identity()).expect("a ticket");
    users.log_out("ann-1");
    let late = Handshake::to(format!("/api/ws?ticket={ticket}"));
    assert_eq!(late.open(&server).await.expect_err("the session is no longer known").status, 401);
    users.begin_session(&users.named("ann"), "ann-1");
    let ticket = server.realtime().ticket(identity()).expect("a ticket");
    server.realtime().close_session("ann-1");
    let late = Handshake::to(format!("/api/ws?ticket={ticket}"));
    assert_eq!(late.open(&server).await.expect_err("the session has ended").status, 401);
}

#[actix_web::test]
async fn a_message_logs_in() {
    let (server, users) = server().await;
    let end = Utc::now() + TimeDelta::hours(1);
    log_in_until(&users, "ann-3", "ann", end);
    let authenticate = |token: &str| json!({"action": "authenticate", "payload": {"token": token}});
    let mut socket = Socket::open(&server).await;
    for payload in [json!({}), json!({"token": 5}), json!({"token": "ann-1", "user": 1}), Json::Null] {
        let reply = socket.request(json!({"action": "authenticate", "payload": payload})).await;
        assert_eq!(reply["status"], 400, "{reply}");
    }
    assert_eq!(socket.request(authenticate("nobody")).await["status"], 401);
    assert_eq!(says(&mut socket, "x").await.0, 401, "a bad token changes nothing");
    let reply = socket.request(authenticate("ann-1")).await;
    assert_eq!((&reply["status"], &reply["data"]), (&json!(200), &json!({"expires_at": null})));
    assert_eq!(says(&mut socket, "x").await, (201, json!(ANN)));
    assert_eq!(socket.request(authenticate("nobody")).await["status"], 401);
    assert_eq!(says(&mut socket, "x").await, (201, json!(ANN)), "a bad token changes nothing");
    let reply = socket.request(authenticate("ann-3")).await;
    let told: DateTime<Utc> =
        at(&reply, "data.expires_at").as_str().expect("a time").parse().expect("RFC 3339");
    assert_eq!(told, end);
    socket.ask(authenticate("bob-1")).await;
    assert_eq!(socket.closed().await, Some(4401), "another user");
}

#[actix_web::test]
async fn what_is_sent_right_after_an_authenticate_is_asked_by_whoever_it_makes_known() {
    let (server, _) = server().await;
    server
        .write("INSERT INTO comments (topic_id, author_id, body, status, created_at) VALUES (1, 2, 'x', 'hidden', '2026-01-01 00:00:00')")
        .await;
    let mut socket = Socket::open(&server).await;
    let list = json!({"stream": "comments", "action": "list"});
    let write = json!({"stream": "comments/create", "payload": {"topic_id": 1, "body": "said"}});
    let authenticate = |token: &str| json!({"action": "authenticate", "payload": {"token": token}});
    let mut asked = Vec::new();
    for message in [
        list.clone(),
        write.clone(),
        authenticate("nobody"),
        write.clone(),
        authenticate("bob-1"),
        write,
        list,
        json!({"action": "ping"}),
    ] {
        asked.push(socket.ask(message).await);
    }
    let mut replies = Vec::new();
    for id in &asked {
        replies.push(socket.reply(id).await);
    }
    let statuses: Vec<u64> = replies.iter().map(|reply| reply["status"].as_u64().expect("one")).collect();
    assert_eq!(statuses, [200, 401, 401, 401, 200, 201, 200, 200]);
    let counts = [&replies[0], &replies[6]].map(|reply| at(reply, "data.count").clone());
    assert!(counts[0] == json!(0) && counts[1].as_u64() >= Some(1), "bob sees what is his: {counts:?}");
    // Of another user it ends, and what was sent after it is not carried out.
    socket.ask(authenticate("ann-1")).await;
    let lost = json!({"stream": "comments/create", "payload": {"topic_id": 1, "body": "lost"}});
    socket.ask(lost).await;
    assert_eq!(socket.closed().await, Some(4401));
    let found =
        server.http("GET", "/api/comments/?body=lost", &[("authorization", "Bearer ann-1")], "").await;
    assert_eq!(found.json["count"], 0);
}

#[actix_web::test]
async fn a_socket_ends_with_its_session_and_no_other_does() {
    let (server, _) = server().await;
    let mut sockets = Vec::new();
    for token in ["ann-1", "ann-1", "ann-2", "bob-1", "staff-1"] {
        let mut socket = socket_of(&server, token).await;
        socket.subscribe("comments", json!({})).await;
        sockets.push(socket);
    }
    let mut anonymous = Socket::subscribed(&server, "comments", json!({})).await;
    let realtime: &Realtime = server.realtime();
    let alive = async |sockets: &mut [Socket], server: &Server| {
        let mut alive = Vec::new();
        for socket in sockets {
            socket.ask(json!({"action": "ping"})).await;
            alive.push(matches!(socket.receive().await, Incoming::Text(_)));
        }
        let _ = server;
        alive
    };
    assert_eq!(alive(&mut sockets, &server).await, [true; 5]);
    realtime.close_other_sessions(ANN, "ann-2");
    assert_eq!(sockets.remove(0).closed().await, Some(4401));
    assert_eq!(sockets.remove(0).closed().await, Some(4401));
    realtime.close_session("bob-1");
    assert_eq!(sockets.remove(1).closed().await, Some(4401));
    realtime.close_session("nobody");
    realtime.close_user(77);
    assert_eq!(alive(&mut sockets, &server).await, [true; 2]);
    server.write("UPDATE comments SET score = 0").await;
    let (status, _) = post(&server, &[("authorization", "Bearer ann-1")], "seen").await;
    assert_eq!(status, 201);
    for socket in sockets.iter_mut().chain([&mut anonymous]) {
        assert_eq!(socket.next_event().await["data"]["body"], "seen");
    }
    realtime.close_user(ANN);
    assert_eq!(sockets.remove(0).closed().await, Some(4401));
    assert_eq!(alive(&mut sockets, &server).await, [true]);
}

#[actix_web::test]
async fn a_socket_ends_when_its_identity_does() {
    let (server, users) = server().await;
    // One that ends sooner than either worker looks at another one.
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(socket_of(&server, "ann").await);
    }
    log_in_until(&users, "short", "ann", Utc::now() + TimeDelta::milliseconds(300));
    let mut socket = socket_of(&server, "short").await;
    assert_eq!(socket.closed().await, Some(4401));
    for other in &mut others {
        assert_eq!(other.request(json!({"action": "ping"})).await["status"], 200);
    }
    assert_eq!(with_token("short").open(&server).await.expect_err("it is over").status, 401);
    // One that is extended in time goes on.
    log_in_until(&users, "short", "ann", Utc::now() + TimeDelta::milliseconds(700));
    let mut socket = socket_of(&server, "short").await;
    log_in_until(&users, "long", "ann", Utc::now() + TimeDelta::hours(1));
    let reply = socket.request(json!({"action": "authenticate", "payload": {"token": "long"}})).await;
    assert_eq!(reply["status"], 200);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(socket.request(json!({"action": "ping"})).await["status"], 200);
}

#[actix_web::test]
async fn the_application_is_asked_again_whether_a_session_holds() {
    let users = people();
    let known = users.clone();
    let setup = Setup::file()
        .configure(move |connect| connect.authenticator(known).recheck_interval(Duration::from_millis(50)));
    let server = setup.start().await;
    let mut ann = socket_of(&server, "ann").await;
    let mut anonymous = Socket::open(&server).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(ann.request(json!({"action": "ping"})).await["status"], 200);
    users.log_out("ann");
    assert_eq!(ann.closed().await, Some(4401));
    assert_eq!(anonymous.request(json!({"action": "ping"})).await["status"], 200);
}

#[actix_web::test]
async fn a_change_that_the_application_looks_at_can_end_a_session() {
    let (server, _) = server().await;
    let mut ann = socket_of(&server, "ann-1").await;
    let mut bob = socket_of(&server, "bob-1").await;
    // Whoever writes a comment is logged out: a rule that only a test has.
    server.on_comment(Realtime::close_user);
    let payload = json!({"topic_id": 1, "body": "x"});
    let reply = ann.request(json!({"stream": "comments/create", "payload": payload})).await;
    assert_eq!(reply["status"], 201, "the reply comes first");
    assert_eq!(ann.closed().await, Some(4401));
    assert_eq!(bob.request(json!({"action": "ping"})).await["status"], 200);
    let mut connection = server.connection();
    let by_another_program = "INSERT INTO comments (topic_id, author_id, body, created_at) VALUES (1, 2, 'x', '2026-01-01 00:00:00')";
    connection.batch_execute(by_another_program).expect("the insert succeeds");
    assert_eq!(bob.closed().await, Some(4401));
}

#[actix_web::test]
async fn the_application_reads_without_being_able_to_write() {
    const TITLES: &str = "UPDATE topics SET title = 'x'";
    const COUNT: &str = "SELECT count(*) FROM topics";
    let (server, _) = server().await;
    let realtime = server.realtime();
    if on_postgres() {
        use diesel_async::RunQueryDsl;
        let written = realtime.read_postgres(|connection| {
            Box::pin(async move { RunQueryDsl::execute(diesel::sql_query(TITLES), connection).await })
        });
        assert!(written.await.is_err());
        let counted = realtime.read_postgres(|connection| {
            Box::pin(async move { RunQueryDsl::get_result::<i64>(sql::<BigInt>(COUNT), connection).await })
        });
        assert_eq!(counted.await.expect("it reads"), 2);
    } else {
        let written = realtime.read(|connection| diesel::sql_query(TITLES).execute(connection));
        assert!(written.await.is_err());
        let counted = realtime.read(|connection| sql::<BigInt>(COUNT).get_result::<i64>(connection));
        assert_eq!(counted.await.expect("it reads"), 2);
    }
}

async fn stream_of(server: &Server, token: &str) -> EventStream {
    StreamRequest::to("/api/comments/events?snapshot=true&fields=body").token(token).open(server).await
}

#[actix_web::test]
async fn an_event_stream_shows_what_its_caller_may_see_and_ends_with_his_session() {
    let (server, users) = server().await;
    for body in ["seen", "canary"] {
        post(&server, &[("authorization", "Bearer ann-1")], body).await;
    }
    server.write("UPDATE comments SET status = 'hidden' WHERE body = 'canary'").await;
    let mut bob = stream_of(&server, "bob-1").await;
    let mut staff = stream_of(&server, "staff-1").await;
    assert_eq!(bob.next().await.1["data"], json!([{"id": 1, "body": "seen"}]));
    assert_eq!(staff.next().await.1["data"].as_array().map(Vec::len), Some(2));
    server.write("UPDATE comments SET status = 'published' WHERE body = 'canary'").await;
    assert_eq!(bob.next().await.0, "create");
    let refused = server.http("GET", "/api/comments/events", &[("authorization", "Bearer x")], "").await;
    assert_eq!(refused.status, 401);

    server.realtime().close_session("bob-1");
    assert_eq!(bob.close_code().await, Some(4401));
    server.write("UPDATE comments SET body = 'again' WHERE id = 1").await;
    assert_eq!(staff.next().await.1["diff"], json!({"body": "again"}), "others go on");
    // What he may see is less now: he begins anew.
    let one_of_the_staff = users.named("staff");
    users.set_admin(&one_of_the_staff, false);
    server.realtime().refresh_user(one_of_the_staff.key);
    assert_eq!(staff.close_code().await, Some(4401));
    log_in_until(&users, "soon", "bob", Utc::now() + TimeDelta::milliseconds(300));
    assert_eq!(stream_of(&server, "soon").await.close_code().await, Some(4401));
}

/// A browser connects again by itself, with the last id that it has, as whoever it then is.
#[actix_web::test]
async fn an_event_stream_that_comes_back_as_somebody_who_sees_other_rows_does_not_go_on() {
    let (server, users) = server().await;
    let one_of_the_staff = users.named("staff");
    for body in ["seen", "canary"] {
        post(&server, &[("authorization", "Bearer ann-1")], body).await;
    }
    server.write("UPDATE comments SET status = 'hidden' WHERE body = 'canary'").await;
    let again = async |last: Option<String>| {
        let request = StreamRequest::to("/api/comments/events?snapshot=true&fields=body").token("staff-1");
        request.last_event_id(last.as_deref()).open(&server).await
    };
    let (seen, canary) = (json!({"id": 1, "body": "seen"}), json!({"id": 2, "body": "canary"}));
    let mut stream = again(None).await;
    assert_eq!(stream.next().await.1["data"], json!([seen, canary]));
    for (is_staff, rows) in [(false, json!([seen])), (true, json!([seen, canary]))] {
        users.set_admin(&one_of_the_staff, is_staff);
        server.realtime().refresh_user(one_of_the_staff.key);
        assert_eq!(stream.close_code().await, Some(4401));
        stream = again(stream.last_id).await;
        let (what, lagged) = stream.next().await;
        assert_eq!((what.as_str(), &lagged["resync"]), ("lagged", &json!("snapshot")));
        assert_eq!(stream.next().await.1["data"], rows);
    }
    // After any other end it goes on from where it was.
    server.realtime().close_session("staff-1");
    assert_eq!(stream.close_code().await, Some(4401));
    let mut stream = again(None).await;
    assert_eq!(stream.next().await.0, "snapshot");
    let position = stream.last_id.clone();
    server.realtime().drain().await;
    assert_eq!((stream.close_code().await, stream.last_id), (Some(1001), position));
}

#[actix_web::test]
async fn a_poll_shows_what_its_caller_may_see_and_ends_with_his_session() {
    let (server, users) = server().await;
    let bob = [("authorization", "Bearer bob-1")];
    let since = server.http("GET", "/api/comments/changes", &bob, "").await.json["cursor"].clone();
    let since = since.as_str().expect("a cursor");
    for body in ["canary", "seen"] {
        post(&server, &[("authorization", "Bearer ann-1")], body).await;
    }
    server.write("UPDATE comments SET status = 'hidden' WHERE body = 'canary'").await;
    // Each answer has what the service has come to know.
    let (mut since, mut told) = (since.to_owned(), Vec::new());
    while told.last().is_none_or(|last| last != "delete") {
        let answer =
            server.http("GET", &format!("/api/comments/changes?since={since}&wait=9"), &bob, "").await;
        let events = answer.json["events"].as_array().unwrap_or_else(|| panic!("{}", answer.text));
        told.extend(events.iter().map(|event| event["action"].clone()));
        since = answer.json["cursor"].as_str().expect("a cursor").to_owned();
    }
    assert_eq!(told, ["create", "create", "delete"]);
    server.write("UPDATE comments SET body = 'canary 2' WHERE status = 'hidden'").await;

    let path = format!("/api/comments/changes?since={since}&wait=9");
    let mut waiting = std::pin::pin!(server.http("GET", &path, &bob, ""));
    // Until it waits there is nothing to end.
    let answer = loop {
        tokio::select! {
            answer = &mut waiting => break answer,
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                users.log_out("bob-1");
                server.realtime().close_session("bob-1");
            }
        }
    };
    if answer.status != 401 {
        assert_eq!((answer.status, &answer.json["events"]), (200, &json!([])));
    }
    assert_eq!(server.http("GET", &path, &bob, "").await.status, 401);
}

/// An authenticator that never answers whoever has a token.
struct Silent;

impl Authenticator for Silent {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        match credentials {
            Credentials::Token(_) => std::future::pending().await,
            Credentials::Request(_) => Ok(Identity::of(Principal::anonymous())),
        }
    }
}

/// What comes after `authenticate` waits for it, and not for ever.
#[actix_web::test]
async fn an_authenticator_that_does_not_answer_is_not_waited_for() {
    let mut limits = Limits::default();
    limits.identify_ms = 20;
    let setup = Setup::file().configure(move |connect| connect.authenticator(Silent).limits(limits));
    let server = setup.start().await;
    let mut socket = Socket::open(&server).await;
    let authenticate = socket.ask(json!({"action": "authenticate", "payload": {"token": "t"}})).await;
    assert_eq!(socket.request(json!({"action": "ping"})).await["status"], 200);
    assert_eq!(socket.reply(&authenticate).await["status"], 503);
    let answer = server.http("GET", "/api/comments/", &[("authorization", "Bearer t")], "").await;
    assert_eq!((answer.status, &answer.json["code"]), (503, &json!("unavailable")));
    assert_eq!(with_token("t").open(&server).await.expect_err("nobody knows").status, 503);
}

/// Anybody with a token is user 7. Whether nobody is still nobody, it says when it may.
#[derive(Clone)]
struct Late {
    asked_of_nobody: Arc<Semaphore>,
    asked_of_user: Arc<Semaphore>,
    may_answer: Arc<Semaphore>,
}

async fn one_of(semaphore: &Semaphore) {
    within("a question", semaphore.acquire()).await.expect("it is never closed").forget();
}

impl Authenticator for Late {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        match credentials {
            Credentials::Token(_) => Ok(Identity::of(Principal::user(7))),
            Credentials::Request(_) => Ok(Identity::anonymous()),
        }
    }

    async fn recheck(&self, identity: &Identity) -> Result<Identity, Error> {
        if identity.principal().is_anonymous() {
            self.asked_of_nobody.add_permits(1);
            one_of(&self.may_answer).await;
        } else {
            self.asked_of_user.add_permits(1);
        }
        Ok(identity.clone())
    }
}

#[actix_web::test]
async fn an_answer_about_whom_a_socket_was_of_does_not_end_it() {
    let none = || Arc::new(Semaphore::new(0));
    let late = Late { asked_of_nobody: none(), asked_of_user: none(), may_answer: none() };
    let known = late.clone();
    let setup = Setup::file()
        .configure(move |connect| connect.authenticator(known).recheck_interval(Duration::from_millis(50)));
    let server = setup.start().await;
    let mut socket = Socket::open(&server).await;
    one_of(&late.asked_of_nobody).await;
    let authenticate = json!({"action": "authenticate", "payload": {"token": "t"}});
    assert_eq!(socket.request(authenticate).await["status"], 200);
    late.may_answer.add_permits(100);
    // The question is asked anew, and again.
    for _ in 0..3 {
        one_of(&late.asked_of_user).await;
    }
    assert_eq!(socket.request(json!({"action": "ping"})).await["status"], 200);
}

/// Whoever has a session is ann, as long as the test does not say otherwise.
#[derive(Clone)]
struct Turncoat(Arc<AtomicI32>);

impl Authenticator for Turncoat {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        match credentials {
            Credentials::Token(token) => {
                Ok(Identity::of(Principal::user(if token == "bob" { BOB } else { ANN })))
            }
            Credentials::Request(_) => Ok(Identity::anonymous()),
        }
    }

    async fn recheck(&self, identity: &Identity) -> Result<Identity, Error> {
        let is_ann = identity.principal().user_key::<i32>().ok() == Some(ANN);
        let now = if is_ann { self.0.load(Ordering::Relaxed) } else { BOB };
        Ok(Identity::of(Principal::user(now)))
    }
}

/// A socket whose user has as many as he may does not stay the former user's.
#[actix_web::test]
async fn a_session_that_is_now_another_users_ends_its_sockets_however_many_he_has() {
    let mut limits = Limits::default();
    limits.connections_per_user = 1;
    let turncoat = Turncoat(Arc::new(AtomicI32::new(ANN)));
    let known = turncoat.clone();
    let setup = Setup::file().configure(move |connect| connect.authenticator(known).limits(limits));
    let server = setup.start().await;
    let mut bob = socket_of(&server, "bob").await;
    let mut ann = socket_of(&server, "ann").await;
    turncoat.0.store(BOB, Ordering::Relaxed);
    server.realtime().refresh_user(ANN);
    assert_eq!(ann.closed().await, Some(4401));
    assert_eq!(bob.request(json!({"action": "ping"})).await["status"], 200);
}

/// The place of a writer is another program's. What is sent meanwhile waits for it, and for whom it is asked by.
#[actix_web::test]
async fn a_message_logs_in_behind_writes_that_take_their_time() {
    if on_postgres() {
        // There writes do not wait for one another.
        return;
    }
    let (server, _) = server().await;
    let mut socket = Socket::open(&server).await;
    let mut own = server.connection();
    own.batch_execute("BEGIN IMMEDIATE").expect("the place of a writer");
    let label = |name: &str| json!({"stream": "labels/create", "payload": {"name": name}});
    let say = |body: &str| json!({"stream": "comments/create", "payload": {"topic_id": 1, "body": body}});
    let authenticate = |token: &str| json!({"action": "authenticate", "payload": {"token": token}});
    let mut asked = Vec::new();
    for message in [
        label("first"),
        say("of nobody"),
        label("second"),
        authenticate("nobody"),
        label("third"),
        authenticate("bob-1"),
        say("of bob"),
        json!({"stream": "comments", "action": "subscribe"}),
        authenticate("bob-1"),
        say("of bob again"),
    ] {
        asked.push(socket.ask(message).await);
    }
    // Meanwhile others go on.
    assert_eq!(Socket::open(&server).await.request(json!({"action": "ping"})).await["status"], 200);
    own.batch_execute("COMMIT").expect("the place is free");
    let mut replies = Vec::new();
    for id in &asked {
        replies.push(socket.reply(id).await);
    }
    let statuses: Vec<u64> = replies.iter().map(|reply| reply["status"].as_u64().expect("one")).collect();
    assert_eq!(statuses, [201, 401, 201, 401, 201, 200, 201, 200, 200, 201]);
    for said in [&replies[6], &replies[9]] {
        assert_eq!(at(said, "data.author_id"), &json!(BOB));
    }
    let events = socket.events(&server).await;
    assert_eq!(events.last().expect("he follows")["data"]["body"], "of bob again");
}

/// A store of sessions that, asked again, answers as it is told to.
#[derive(Clone)]
struct Away {
    users: Users,
    answers: Arc<dyn Fn(usize) -> Result<(), Error> + Send + Sync>,
    asked: Arc<AtomicUsize>,
}

impl Away {
    fn answering(answers: impl Fn(usize) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self { users: people(), answers: Arc::new(answers), asked: Arc::default() }
    }

    async fn server(&self, unchecked_ms: u64) -> Server {
        let mut limits = Limits::default();
        limits.unchecked_ms = unchecked_ms;
        let (known, recheck) = (self.clone(), Duration::from_millis(10));
        let setup = Setup::file()
            .configure(move |connect| connect.authenticator(known).recheck_interval(recheck).limits(limits));
        setup.start().await
    }

    /// Waits until it has been asked so often.
    async fn asked(&self, times: usize) {
        while self.asked.load(Ordering::Relaxed) < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Authenticator for Away {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        self.users.identify(credentials).await
    }

    async fn recheck(&self, identity: &Identity) -> Result<Identity, Error> {
        (self.answers)(self.asked.fetch_add(1, Ordering::Relaxed))?;
        self.users.recheck(identity).await
    }
}

fn unavailable() -> Result<(), Error> {
    Err(Error::new(Code::Unavailable, "The sessions cannot be looked up."))
}

#[actix_web::test]
async fn a_store_of_sessions_that_is_away_for_a_moment_logs_nobody_out() {
    // It fails each second time: no failure lasts, however many there are.
    let away = Away::answering(|asked| if asked % 2 == 0 { unavailable() } else { Ok(()) });
    let server = away.server(1).await;
    let mut ann = socket_of(&server, "ann").await;
    away.asked(20).await;
    assert_eq!(says(&mut ann, "x").await, (201, json!(ANN)));
    drop((ann, server));

    // It is away all the time, and not for so long that somebody would have to go.
    let away = Away::answering(|_| unavailable());
    let server = away.server(3_600_000).await;
    let mut ann = socket_of(&server, "ann").await;
    let mut stream = stream_of(&server, "bob").await;
    assert_eq!(stream.next().await.0, "snapshot");
    away.asked(20).await;
    assert_eq!(says(&mut ann, "seen").await, (201, json!(ANN)));
    assert_eq!(stream.next().await.1["data"]["body"], "seen");
    // What the application says itself needs no store.
    server.realtime().close_user(ANN);
    assert_eq!(ann.closed().await, Some(4401));
    server.realtime().close_session("bob");
    assert_eq!(stream.close_code().await, Some(4401));
}

#[actix_web::test]
async fn whose_session_cannot_be_looked_up_any_more_does_not_stay_for_ever() {
    let away = Away::answering(|_| unavailable());
    let server = away.server(50).await;
    let mut socket = socket_of(&server, "ann").await;
    let mut stream = stream_of(&server, "bob").await;
    assert_eq!(stream.close_code().await, Some(1011), "no session has ended, as far as is known");
    assert_eq!(socket.closed().await, Some(1011));
    // The store, asked who comes in, would know.
    drop(socket_of(&server, "ann").await);
    // Nothing is borne with.
    let server = away.server(0).await;
    assert_eq!(socket_of(&server, "ann").await.closed().await, Some(1011));
}
