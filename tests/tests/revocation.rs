//! Who is revoked is told so and nothing else: over every transport, by every way, also while he is just being asked who
//! he is. Others are told everything.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use realtime_actix::auth::{Authenticator, Credentials, Identity};
use realtime_actix::testing::{User, Users};
use realtime_actix::{Error, Principal};
use realtime_tests::{
    Account, EventStream, Handshake, Incoming, Server, Setup, Socket, StreamRequest, at, nobody,
};
use serde_json::{Value as Json, json};
use tokio::sync::{Semaphore, mpsc};

/// Ways in which somebody's session ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    CloseUser,
    CloseSession,
    CloseOtherSessions,
    /// The store no longer knows the session, and is asked at once.
    Refresh,
    /// The store no longer knows the session, and is asked again later.
    Recheck,
    Expiry,
}

const ALL: [Way; 6] =
    [Way::CloseUser, Way::CloseSession, Way::CloseOtherSessions, Way::Refresh, Way::Recheck, Way::Expiry];

/// A server, its users, and the tokens of ann, of another session of hers, and of bob.
struct Town {
    server: Server,
    users: Users,
    ann: User,
    token: String,
    elsewhere: String,
    bob: String,
}

async fn town(recheck: Duration) -> Town {
    let users = nobody();
    let ann = users.create_user("ann", "pw");
    users.create_user("bob", "pw");
    let [token, elsewhere, bob] =
        ["ann", "ann", "bob"].map(|name| users.log_in(name, "pw").expect("the password is right"));
    let known = users.clone();
    let setup =
        Setup::file().configure(move |connect| connect.authenticator(known).recheck_interval(recheck));
    Town { server: setup.start().await, users, ann, token, elsewhere, bob }
}

impl Town {
    async fn socket(&self, token: &str) -> Socket {
        let handshake = Handshake::to("/api/ws").header("authorization", format!("Bearer {token}"));
        let mut socket = handshake.open(&self.server).await.expect("a known token opens a socket").0;
        for with in [json!({}), json!({"form": "full"})] {
            socket.subscribe("topics", with).await;
        }
        socket
    }

    async fn stream(&self, token: &str) -> EventStream {
        let mut stream = StreamRequest::to("/api/topics/events").token(token).open(&self.server).await;
        stream.begun().await;
        stream
    }

    async fn rename(&self, title: &str) {
        self.server.write(format!("UPDATE topics SET title = '{title}' WHERE id = 1")).await;
    }

    /// Makes it end. Where the application closes it, that has been said afterwards; the other ways take a moment.
    fn revoke(&self, way: Way) {
        let realtime = self.server.realtime();
        if way != Way::Expiry {
            self.users.log_out(&self.token);
        }
        match way {
            Way::CloseUser => realtime.close_user(self.ann.key),
            Way::CloseSession => realtime.close_session(self.token.as_str()),
            Way::CloseOtherSessions => realtime.close_other_sessions(self.ann.key, self.elsewhere.as_str()),
            Way::Refresh => realtime.refresh_user(self.ann.key),
            Way::Recheck | Way::Expiry => {}
        }
    }
}

/// Reads to the close frame. Everything before it is given back, and nothing comes after it.
async fn told_until_closed(socket: &mut Socket) -> String {
    let mut told = String::new();
    loop {
        match socket.receive().await {
            Incoming::Text(text) => told.push_str(&text),
            Incoming::Close(code) => {
                assert_eq!(code, 4401);
                assert_eq!(socket.receive().await, Incoming::End, "nothing follows a close frame");
                return told;
            }
            other => panic!("{other:?} without a close frame"),
        }
    }
}

/// Reads to the end, of which the last block says why.
async fn told_until_ended(stream: &mut EventStream) -> String {
    let mut told = String::new();
    let mut last = None;
    while let Some(block) = stream.next_block().await {
        told.push_str(&format!("{block:?}"));
        last = Some(block);
    }
    let last = last.expect("it says why it ends");
    assert_eq!((last.event.as_deref(), last.data.as_deref()), (Some("close"), Some(r#"{"code":4401}"#)));
    told
}

#[actix_web::test]
async fn who_is_revoked_is_told_so_and_nothing_that_is_committed_later() {
    // Side by side: a connection whose peer does not hang up is kept for some seconds after its close frame.
    join_all(ALL.map(end_somebodys_session)).await;
}

async fn end_somebodys_session(way: Way) {
    let recheck = if way == Way::Recheck { 50 } else { 3_600_000 };
    let town = town(Duration::from_millis(recheck)).await;
    if way == Way::Expiry {
        town.users.end_at(&town.token, Utc::now() + TimeDelta::milliseconds(1_500));
    }
    // Of these, by chance, some are on each worker.
    let mut ended = Vec::new();
    for _ in 0..4 {
        ended.push(town.socket(&town.token).await);
    }
    let mut stream = town.stream(&town.token).await;
    let mut others = vec![town.socket(&town.bob).await, Socket::open(&town.server).await];
    others[1].subscribe("topics", json!({})).await;
    let mut others_stream = town.stream(&town.bob).await;
    let mut elsewhere = town.socket(&town.elsewhere).await;
    town.rename("before").await;
    for socket in &mut ended {
        for member in ["diff", "data"] {
            assert_eq!(socket.next_event().await[member]["title"], "before", "{way:?}");
        }
    }
    assert_eq!(stream.next().await.1["diff"]["title"], "before", "{way:?}");
    let authorization = format!("Bearer {}", town.token);
    let headers = [("authorization", authorization.as_str())];
    let since = town.server.get("/api/topics/changes").await.json["cursor"].clone();
    let poll = format!("/api/topics/changes?wait=9&since={}", since.as_str().expect("a cursor"));
    let is_said = matches!(way, Way::CloseUser | Way::CloseSession | Way::CloseOtherSessions);
    let (poll, ()) = tokio::join!(town.server.http("GET", &poll, &headers, ""), async {
        town.revoke(way);
        if is_said {
            // It has been said: from here on nothing is for her.
            town.rename("after").await;
        }
        let mut told = String::new();
        for socket in &mut ended {
            told.push_str(&told_until_closed(socket).await);
        }
        told.push_str(&told_until_ended(&mut stream).await);
        assert!(!told.contains("title"), "{way:?}: {told}");
        if !is_said {
            town.rename("after").await;
        }
        // A poll that the revocation came too early for is answered by the write.
        town.rename("last").await;
    });
    // It was made when her session was still good, or it was not.
    let is_over = poll.status == 401 || (poll.status == 200 && poll.json["events"] == json!([]));
    assert!(is_over || !is_said, "{way:?}: {}", poll.text);

    for socket in &mut others {
        let events = socket.events(&town.server).await;
        let titles = events.iter().filter_map(|event| event["diff"]["title"].as_str());
        assert_eq!(titles.collect::<Vec<_>>(), ["before", "after", "last"], "{way:?}: others go on");
    }
    for title in ["before", "after", "last"] {
        assert_eq!(others_stream.next().await.1["diff"]["title"], title, "{way:?}");
    }
    if way == Way::CloseUser {
        assert!(!told_until_closed(&mut elsewhere).await.contains("after"));
    } else {
        assert_eq!(elsewhere.events(&town.server).await.len(), 6, "{way:?}: her other session goes on");
    }
}

/// A store of sessions that takes its time: each question waits until it is let through.
struct Slow {
    users: Users,
    asked: mpsc::UnboundedSender<()>,
    answers: Arc<Semaphore>,
}

impl Authenticator for Slow {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        // Anybody else need not wait.
        if matches!(credentials, Credentials::Request(_)) {
            return self.users.identify(credentials).await;
        }
        // It is looked up before the answer is on its way.
        let identity = self.users.identify(credentials).await;
        let _ = self.asked.send(());
        self.answers.acquire().await.expect("it is open").forget();
        identity
    }

    async fn recheck(&self, identity: &Identity) -> Result<Identity, Error> {
        self.users.recheck(identity).await
    }
}

#[actix_web::test]
async fn who_is_revoked_while_he_is_asked_who_he_is_is_revoked() {
    let users = nobody();
    let ann = users.admin();
    let (asked, mut questions) = mpsc::unbounded_channel();
    let answers = Arc::new(Semaphore::new(0));
    let slow = Slow { users: users.clone(), asked, answers: Arc::clone(&answers) };
    let setup = Setup::file()
        .workers(1)
        .configure(move |connect| connect.authenticator(slow).recheck_interval(Duration::from_secs(3600)));
    let server = setup.start().await;
    // What closes a user's sockets is on its way to the worker for a moment, and would close one that is opened meanwhile.
    // It comes before what is written after it.
    let mut observer = Socket::subscribed(&server, "topics", json!({})).await;
    let mut settled = async || {
        server.write("UPDATE topics SET locked = NOT locked WHERE id = 1").await;
        observer.next_event().await;
    };
    let since = server.get("/api/comments/changes").await.json["cursor"].clone();
    let since = since.as_str().expect("a cursor");
    server
        .write("INSERT INTO comments (topic_id, author_id, body, status, created_at) VALUES (1, 2, 'canary', 'hidden', '2026-01-01 00:00:00')")
        .await;
    let mut during = async |what: &str| {
        questions.recv().await.expect("somebody asks");
        match what {
            "ended" => server.realtime().close_user(ann.key),
            "of another" => server.realtime().close_user(77),
            _ => {
                users.set_admin(&ann, false);
                server.realtime().refresh_user(ann.key);
            }
        }
        answers.add_permits(1);
    };
    let token = || users.log_in(&ann.name, "pw").expect("the password is right");
    let handshake = |token: &str| Handshake::to("/api/ws").header("authorization", format!("Bearer {token}"));
    let bearer = |token: &str| format!("Bearer {token}");

    // A socket.
    let of = token();
    let (opened, ()) = tokio::join!(handshake(&of).open(&server), during("ended"));
    assert_eq!(told_until_closed(&mut opened.expect("it was good when it was asked for").0).await, "");
    settled().await;
    let (opened, ()) = tokio::join!(handshake(&of).open(&server), during("of another"));
    let (mut socket, _) = opened.expect("a socket");
    let list = json!({"stream": "comments", "action": "list"});
    assert_eq!(at(&socket.request(list.clone()).await, "data.count"), &json!(1), "staff sees it");

    // An event stream, and a poll that would be answered at once.
    let (mut stream, ()) = tokio::join!(
        StreamRequest::to("/api/comments/events?snapshot=true").token(&of).open(&server),
        during("ended")
    );
    assert!(!told_until_ended(&mut stream).await.contains("canary"));
    settled().await;
    let path = format!("/api/comments/changes?wait=0&since={since}");
    let authorization = bearer(&of);
    let headers = [("authorization", authorization.as_str())];
    let (poll, ()) = tokio::join!(server.http("GET", &path, &headers, ""), during("ended"));
    assert_eq!((poll.status, &poll.json["events"]), (200, &json!([])));
    settled().await;
    // What she was told before something about her changed is nothing to go on from.
    let (poll, ()) = tokio::join!(server.http("GET", &path, &headers, ""), during("of another"));
    assert_eq!(poll.status, 410);
    server.write("UPDATE topics SET locked = NOT locked").await;
    let since = server.get("/api/comments/?limit=1").await.header("realtime-cursor").to_owned();
    server.write("UPDATE comments SET score = score + 1").await;
    let path = format!("/api/comments/changes?wait=9&since={since}");
    let (poll, ()) = tokio::join!(server.http("GET", &path, &headers, ""), during("of another"));
    assert!(poll.text.contains("diff"), "{}", poll.text);
    assert_eq!(socket.closed().await, Some(4401), "it was hers as well");

    // A message: the socket stays nobody's.
    let mut socket = Socket::open(&server).await;
    let authenticate = json!({"action": "authenticate", "payload": {"token": of}});
    let (reply, ()) = tokio::join!(socket.request(authenticate.clone()), during("ended"));
    assert_eq!(reply["status"], 401);
    assert_eq!(at(&socket.request(list.clone()).await, "data.count"), &json!(0));

    // A ticket.
    let request = actix_web::test::TestRequest::get().insert_header(("authorization", bearer(&of)));
    let request = request.to_http_request();
    let (identity, ()) = tokio::join!(server.realtime().identify(&request), during("ended"));
    let identity = identity.expect("it was good when it was asked for");
    assert_eq!(server.realtime().ticket(identity).expect_err("it no longer is").status(), 401);
    settled().await;

    // Somebody who only becomes another one: he is asked once more.
    let ((reply, ()), sees): ((Json, ()), Json) = {
        let both = tokio::join!(socket.request(authenticate), during("changed"));
        let mut sees = Json::Null;
        // The answer comes first, and says what was so when he was asked.
        for _ in 0..1_000 {
            sees = at(&socket.request(list.clone()).await, "data.count").clone();
            if sees == json!(0) {
                break;
            }
        }
        (both, sees)
    };
    assert_eq!((&reply["status"], sees), (&json!(200), json!(0)), "she is no longer staff");
    // A ticket that was given to one of the staff.
    users.set_admin(&ann, true);
    let identity =
        Identity::of(Principal::user(ann.key).with(Account { staff: true })).in_session(of.as_str());
    let ticket = server.realtime().ticket(identity).expect("a ticket");
    users.set_admin(&ann, false);
    server.realtime().refresh_user(ann.key);
    let (mut socket, _) =
        Handshake::to(format!("/api/ws?ticket={ticket}")).open(&server).await.expect("a socket");
    let mut sees = Json::Null;
    for _ in 0..1_000 {
        sees = at(&socket.request(list.clone()).await, "data.count").clone();
        if sees == json!(0) {
            break;
        }
    }
    assert_eq!(sees, json!(0));
}

#[actix_web::test]
async fn a_poll_is_gone_where_its_caller_sees_other_rows_now() {
    let users = nobody();
    let staff = users.admin();
    let (asked, mut questions) = mpsc::unbounded_channel();
    let answers = Arc::new(Semaphore::new(0));
    let slow = Slow { users: users.clone(), asked, answers: Arc::clone(&answers) };
    let setup = Setup::file()
        .configure(move |connect| connect.authenticator(slow).recheck_interval(Duration::from_secs(3600)));
    let server = setup.start().await;
    let token = users.log_in(&staff.name, "pw").expect("the password is right");
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let insert = "INSERT INTO comments (topic_id, author_id, body, status, created_at) VALUES (1, 2, 'canary', 'hidden', '2026-01-01 00:00:00')";
    // There is something to tell, or the poll waits; the staff see more of the comments, and no more of the topics.
    for (stream, waits, expected) in
        [("comments", false, 410), ("comments", true, 410), ("topics", false, 200), ("topics", true, 200)]
    {
        users.set_admin(&staff, true);
        // After the last time that something about her changed.
        server.write("UPDATE topics SET locked = NOT locked").await;
        let list = server.get(&format!("/api/{stream}/?limit=1")).await;
        let path = format!("/api/{stream}/changes?wait=20&since={}", list.header("realtime-cursor"));
        if !waits {
            server.write(insert).await;
            server.write("UPDATE topics SET locked = NOT locked").await;
        }
        let during = async {
            questions.recv().await.expect("she asks");
            if waits {
                answers.add_permits(1);
                // Most likely it waits by then. The answer is the same if it does not yet.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            users.set_admin(&staff, false);
            server.realtime().refresh_user(staff.key);
            answers.add_permits(usize::from(!waits));
        };
        let (poll, ()) = tokio::join!(server.http("GET", &path, &headers, ""), during);
        assert_eq!(poll.status, expected, "{stream}: {}", poll.text);
        assert!(!poll.text.contains("canary"), "{}", poll.text);
        if expected == 200 {
            assert_eq!(poll.json["events"], json!([]));
        }
    }
}
