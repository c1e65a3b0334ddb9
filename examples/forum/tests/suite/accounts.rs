//! Registering, logging in and out, sessions and their sockets, against the program itself.

use std::collections::HashSet;

use diesel::connection::SimpleConnection as _;
use realtime_tests::{Handshake, Incoming, Socket};
use serde_json::{Value as Json, json};

use crate::running::{Forum, Login, open, scratch};

async fn is_open(socket: &mut Socket) -> bool {
    socket.request(json!({"action": "ping"})).await["status"] == 200
}

fn json_body() -> (&'static str, String) {
    ("content-type", "application/json".to_owned())
}

async fn status_of_me(forum: &Forum, login: &Login) -> u16 {
    forum.ask("GET", "/auth/me", Some(login), Json::Null).await.status
}

#[tokio::test]
async fn whoever_registers_is_logged_in_until_he_logs_out() {
    let forum = Forum::start().await;
    let body = json!({"username": "carol_7", "password": "correct horse"});
    let answer = forum.post("/auth/register", None, body).await;
    assert_eq!((answer.status, answer.header("cache-control")), (201, "no-store"));
    let cookie: HashSet<&str> = answer.header("set-cookie").split("; ").skip(1).collect();
    assert_eq!(cookie, HashSet::from(["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=2592000"]));
    let members: Vec<&String> = answer.json.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["expires_at", "token", "user"]);
    let user = &answer.json["user"];
    assert_eq!((&user["username"], &user["is_staff"]), (&json!("carol_7"), &json!(false)));
    assert_eq!(user.as_object().expect("an object").len(), 4, "{user}");

    let carol = forum.log_in("carol_7", "correct horse").await;
    for credentials in [carol.bearer(), carol.cookie()] {
        let me = forum.send("GET", "/auth/me", &[credentials], "").await;
        assert_eq!((me.status, &me.json["user"]), (200, user));
    }
    assert_eq!(forum.ask("GET", "/auth/me", None, Json::Null).await.status, 401);
    let ticket = forum.post("/auth/ticket", Some(&carol), Json::Null).await;
    let by_ticket = format!("/api/ws?ticket={}", ticket.json["ticket"].as_str().expect("a ticket"));
    let subprotocols = format!("realtime.v1.json, bearer.{}", carol.token);
    let mut sockets = vec![forum.socket(None).await];
    let authenticate = json!({"action": "authenticate", "payload": {"token": carol.token}});
    assert_eq!(sockets[0].request(authenticate).await["status"], 200);
    for handshake in [
        Handshake::to(by_ticket.clone()),
        Handshake::to("/api/ws").header("sec-websocket-protocol", subprotocols),
        Handshake::to("/api/ws").header("cookie", carol.cookie.clone()),
    ] {
        sockets.push(handshake.open_at(forum.address).await.expect("a socket of carol's").0);
    }
    for socket in &mut sockets {
        let made = socket.request(json!({"stream": "topics/create", "payload": {"title": "x"}})).await;
        assert_eq!(made["data"]["owner_id"], carol.id, "{made}");
    }
    assert_eq!(forum.refuses(Handshake::to(by_ticket)).await, 401, "a ticket is good once");
    let unused = forum.post("/auth/ticket", Some(&carol), Json::Null).await;
    let unused = format!("/api/ws?ticket={}", unused.json["ticket"].as_str().expect("a ticket"));

    let left = forum.send("POST", "/auth/logout", &[carol.cookie()], "").await;
    assert_eq!(left.status, 204);
    assert!(left.header("set-cookie").starts_with("session=; "), "{}", left.header("set-cookie"));
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, Some(4401));
    }
    assert_eq!(status_of_me(&forum, &carol).await, 401);
    assert_eq!(forum.refuses(Handshake::to(unused)).await, 401);
    assert_eq!(forum.refuses(Handshake::to("/api/ws").header("cookie", carol.cookie.clone())).await, 401);
    // The other session, that of the registration, goes on. Who is logged out already is so again.
    let token = answer.json["token"].as_str().expect("a token");
    let first = [("authorization", format!("Bearer {token}"))];
    assert_eq!(forum.send("GET", "/auth/me", &first, "").await.status, 200);
    assert_eq!(forum.send("POST", "/auth/logout", &[carol.cookie()], "").await.status, 204);
    assert_eq!(forum.post("/auth/logout", None, Json::Null).await.status, 204);
}

#[tokio::test]
async fn a_browser_that_logs_in_again_leaves_its_former_session() {
    let forum = Forum::start().await;
    let ann = forum.demo("ann").await;
    let mut socket = forum.socket(Some(&ann)).await;
    let headers = [ann.cookie(), ("content-type", "application/json".to_owned())];
    let wrong = json!({"username": "bob", "password": "demo-ann"}).to_string();
    assert_eq!(forum.send("POST", "/auth/login", &headers, wrong).await.status, 401);
    assert!(is_open(&mut socket).await);
    let right = json!({"username": "bob", "password": "demo-bob"}).to_string();
    assert_eq!(forum.send("POST", "/auth/login", &headers, right).await.status, 200);
    assert_eq!(socket.closed().await, Some(4401));
    assert_eq!(status_of_me(&forum, &ann).await, 401);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let forum = Forum::start().await;
    let (here, there, bob) = (forum.demo("ann").await, forum.demo("ann").await, forum.demo("bob").await);
    let mut sockets =
        [forum.socket(Some(&here)).await, forum.socket(Some(&there)).await, forum.socket(Some(&bob)).await];
    for (body, mistake) in [
        (json!({"old": "demo-bob", "new": "something else"}), "old"),
        (json!({"old": "demo-ann", "new": "short"}), "new"),
        (json!({"old": "demo-ann"}), "new"),
    ] {
        let refused = forum.post("/auth/password", Some(&here), body).await;
        assert_eq!((refused.status, refused.mistakes()), (400, vec![mistake]));
    }
    let body = json!({"old": "demo-ann", "new": "something else"});
    assert_eq!(forum.post("/auth/password", None, body.clone()).await.status, 401);
    assert_eq!(forum.post("/auth/password", Some(&here), body).await.status, 204);
    assert_eq!(sockets[1].closed().await, Some(4401));
    assert!(is_open(&mut sockets[0]).await && is_open(&mut sockets[2]).await);
    for (login, expected) in [(&here, 200), (&there, 401), (&bob, 200)] {
        assert_eq!(status_of_me(&forum, login).await, expected);
    }
    let old = json!({"username": "ann", "password": "demo-ann"});
    assert_eq!(forum.post("/auth/login", None, old).await.status, 401);
    forum.log_in("ann", "something else").await;
}

#[tokio::test]
async fn sessions_survive_a_restart_and_tokens_are_not_stored() {
    let forum = Forum::start().await;
    let ann = forum.demo("ann").await;
    forum.register("carol", "canary-password").await;
    let (status, directory) = forum.stop().await;
    assert!(status.success());
    for entry in std::fs::read_dir(directory.path()).expect("the folder") {
        let stored = std::fs::read(entry.expect("a file").path()).expect("its content");
        for secret in [ann.token.as_str(), "canary-password", "demo-ann"] {
            let found = stored.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is stored");
        }
    }
    let forum = Forum::start_in(directory, &[]).await;
    assert_eq!(status_of_me(&forum, &ann).await, 200);
    forum.write("UPDATE sessions SET expires_at = '2020-01-01 00:00:00+00:00'");
    assert_eq!(status_of_me(&forum, &ann).await, 401, "it has expired");
    forum.demo("bob").await;
    let (_, directory) = forum.stop().await;
    let mut connection = open(&directory);
    let left = diesel::RunQueryDsl::get_result::<i64>(
        diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(*) FROM sessions"),
        &mut connection,
    );
    assert_eq!(left.expect("a count"), 1, "what has expired is removed");
}

#[tokio::test]
async fn the_oldest_of_too_many_sessions_ends() {
    let forum = Forum::start().await;
    let (first, bob) = (forum.demo("ann").await, forum.demo("bob").await);
    let mut socket = forum.socket(Some(&first)).await;
    forum.write(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99)
         INSERT INTO sessions SELECT 'session ' || i, 1, '2100-01-01 00:00:00+00:00', '2100-02-01 00:00:00+00:00' FROM n",
    );
    assert!(is_open(&mut socket).await);
    assert_eq!(status_of_me(&forum, &first).await, 200);
    let last = forum.demo("ann").await;
    assert_eq!(socket.closed().await, Some(4401));
    for (login, status) in [(&first, 401), (&last, 200), (&bob, 200)] {
        assert_eq!(status_of_me(&forum, login).await, status);
    }
}

#[tokio::test]
async fn whose_session_ends_is_told_nothing_that_is_said_later() {
    let forum = Forum::start_in(scratch(), &["--limits", "off"]).await;
    let (bob, staff) = (forum.demo("bob").await, forum.demo("staff").await);
    let mut bystander = forum.socket(Some(&bob)).await;
    bystander.subscribe("comments", json!({})).await;
    let mut said = Vec::new();
    for way in ["log_out", "password", "log_in", "by_staff", "elsewhere", "deleted"] {
        let user = forum.register(way, "correct horse").await;
        let another_session = forum.log_in(way, "correct horse").await;
        let mut socket = forum.socket(Some(&user)).await;
        socket.subscribe("comments", json!({})).await;
        let path = format!("/api/users/{}/", user.id);
        let (answer, status) = match way {
            "log_out" => (forum.post("/auth/logout", Some(&user), Json::Null).await.status, 204),
            "password" => {
                let body = json!({"old": "correct horse", "new": "battery staple"});
                (forum.post("/auth/password", Some(&another_session), body).await.status, 204)
            }
            "log_in" => {
                let headers = [user.cookie(), ("content-type", "application/json".to_owned())];
                let body = json!({"username": "bob", "password": "demo-bob"}).to_string();
                (forum.send("POST", "/auth/login", &headers, body).await.status, 200)
            }
            "by_staff" => {
                let body = json!({"username": "renamed"});
                (forum.ask("PATCH", &path, Some(&staff), body).await.status, 200)
            }
            "elsewhere" => {
                forum.write("UPDATE users SET is_staff = TRUE WHERE username = 'elsewhere'");
                (200, 200)
            }
            _ => {
                forum.write("DELETE FROM users WHERE username = 'deleted'");
                (204, 204)
            }
        };
        assert_eq!(answer, status, "{way}");
        let body = format!("after {way}");
        if matches!(way, "elsewhere" | "deleted") {
            forum.write(&format!(
                "INSERT INTO comments (topic_id, author_id, body, created_at) VALUES (1, 1, '{body}', '2026-01-01 00:00:00')"
            ));
        } else {
            let made = forum.post("/api/comments/", Some(&bob), json!({"topic_id": 1, "body": body})).await;
            assert_eq!(made.status, 201);
        }
        said.push(body);
        let closed = loop {
            match socket.receive().await {
                Incoming::Text(text) => panic!("{way}: {text}"),
                Incoming::Close(code) => break code,
                Incoming::End => panic!("{way}: without a close frame"),
                Incoming::Pong(_) => {}
            }
        };
        assert_eq!(closed, 4401, "{way}");
    }
    let mut told = Vec::new();
    for _ in &said {
        told.push(bystander.next_event().await["data"]["body"].as_str().expect("a text").to_owned());
    }
    assert_eq!(told, said, "others are left alone");
}

#[tokio::test]
async fn a_change_of_a_user_closes_his_sockets() {
    let forum = Forum::start().await;
    let (ann, bob, staff) = (forum.demo("ann").await, forum.demo("bob").await, forum.demo("staff").await);
    let mut bobs = forum.socket(Some(&bob)).await;
    let rename =
        |id: i64, name: &str| json!({"stream": "users/update", "pk": id, "payload": {"username": name}});

    let mut socket = forum.socket(Some(&ann)).await;
    assert_eq!(socket.request(rename(ann.id, "ann")).await["status"], 200);
    assert!(is_open(&mut socket).await, "the same name is no change");
    let reply = socket.request(rename(ann.id, "anne")).await;
    assert_eq!((&reply["status"], &reply["data"]["username"]), (&json!(200), &json!("anne")));
    assert_eq!(socket.closed().await, Some(4401));
    // The session goes on, and so does its user under his new name.
    let mut socket = forum.socket(Some(&ann)).await;
    let by_staff = json!({"username": "ann"});
    assert_eq!(
        forum.ask("PATCH", &format!("/api/users/{}/", ann.id), Some(&staff), by_staff).await.status,
        200
    );
    assert_eq!(socket.closed().await, Some(4401));

    let mut socket = forum.socket(Some(&ann)).await;
    forum.write("UPDATE users SET password_hash = 'x' WHERE username = 'ann'");
    // The topic's change comes after the user's: that has been looked at when this one is told.
    let mut watch = forum.socket(Some(&bob)).await;
    watch.subscribe("topics", json!({"payload": {"ids": [1]}})).await;
    forum.write("UPDATE topics SET title = 'seen' WHERE id = 1");
    watch.next_event().await;
    assert!(is_open(&mut socket).await, "a password alone is not noticed");
    forum.write("UPDATE users SET is_staff = TRUE WHERE username = 'ann'");
    assert_eq!(socket.closed().await, Some(4401));
    let mut socket = forum.socket(Some(&ann)).await;
    let hidden = json!({"stream": "comments/update", "pk": 2, "payload": {"status": "hidden"}});
    assert_eq!(socket.request(hidden).await["status"], 200, "she is staff now");

    forum.register("carol", "correct horse").await;
    let carol = forum.log_in("carol", "correct horse").await;
    let mut socket = forum.socket(Some(&carol)).await;
    forum.write("DELETE FROM users WHERE username = 'carol'");
    assert_eq!(socket.closed().await, Some(4401));
    assert_eq!(status_of_me(&forum, &carol).await, 401);
    assert!(is_open(&mut bobs).await, "others are left alone");
}

/// What a user leaves behind where another program deletes him.
async fn left_behind(forum: &Forum, user: &Login) -> [(&'static str, String); 3] {
    let note = json!({"title": "canary-title", "body": "canary-body"});
    let once = [user.bearer(), json_body(), ("idempotency-key", "canary-key".to_owned())];
    let made = forum.send("POST", "/api/notes/", &once, note.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.json);
    let draft = json!({"topic_id": 1, "body": "canary-draft", "status": "draft"});
    assert_eq!(forum.post("/api/comments/", Some(user), draft).await.status, 201);
    once
}

/// Whoever registers next has nothing of the user before him.
async fn finds_nothing(forum: &Forum, name: &str, before: &Login, once: &[(&'static str, String); 3]) {
    let next = forum.register(name, "correct horse").await;
    assert!(next.id > before.id, "no key is given twice");
    for (login, status) in [(before, 401), (&next, 200)] {
        assert_eq!(status_of_me(forum, login).await, status, "a session is not handed on");
    }
    let notes = forum.ask("GET", "/api/notes/", Some(&next), Json::Null).await;
    assert_eq!((notes.status, &notes.json["results"]), (200, &json!([])));
    let drafts = forum.ask("GET", "/api/comments/?status=draft", Some(&next), Json::Null).await;
    assert_eq!((drafts.status, &drafts.json["results"]), (200, &json!([])));
    // The same request, with the same key: it is another user's, so it is carried out and answered as such.
    let note = json!({"title": "canary-title", "body": "canary-body"}).to_string();
    let headers = [next.bearer(), once[1].clone(), once[2].clone()];
    let made = forum.send("POST", "/api/notes/", &headers, note).await;
    assert_eq!((made.status, made.header("idempotent-replayed")), (201, ""));
    assert_eq!(made.json["owner_id"], next.id);
}

/// The SQLite shell looks after no foreign key unless it is told to.
const DELETED_BY_ANOTHER_PROGRAM: &str = "PRAGMA foreign_keys = OFF; DELETE FROM users WHERE username = ";

#[tokio::test]
async fn whoever_registers_after_a_deletion_by_another_program_has_nothing_of_the_deleted() {
    let forum = Forum::start().await;
    let carol = forum.register("carol", "correct horse").await;
    let of_carol = left_behind(&forum, &carol).await;
    forum.write(&format!("{DELETED_BY_ANOTHER_PROGRAM} 'carol'"));
    assert_eq!(forum.count("notes"), 0, "what only he could see goes with him");
    finds_nothing(&forum, "dave", &carol, &of_carol).await;

    // Nor after a restart, whatever the highest key is by then.
    let erin = forum.register("erin", "correct horse").await;
    let of_erin = left_behind(&forum, &erin).await;
    let (_, directory) = forum.stop().await;
    open(&directory)
        .batch_execute(
            "PRAGMA foreign_keys = OFF; DELETE FROM users WHERE id > 1; DELETE FROM topics WHERE id > 1",
        )
        .expect("another program's deletion");
    let forum = Forum::start_in(directory, &[]).await;
    finds_nothing(&forum, "frank", &erin, &of_erin).await;
    let ann = forum.demo("ann").await;
    let topic = forum.post("/api/topics/", Some(&ann), json!({"title": "x"})).await;
    assert_eq!(topic.json["id"], 4, "a topic's key is not given twice either");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_says_why() {
    let forum = Forum::start().await;
    let long = "x".repeat(129);
    for (path, body, status, mistakes) in [
        ("/auth/register", json!({}), 400, vec!["password", "username"]),
        ("/auth/register", json!({"username": 5, "password": "correct horse"}), 400, vec!["username"]),
        (
            "/auth/register",
            json!({"username": "ab", "password": "1234567"}),
            400,
            vec!["password", "username"],
        ),
        ("/auth/register", json!({"username": "carol", "password": long}), 400, vec!["password"]),
        ("/auth/register", json!({"username": "Carol", "password": "correct horse"}), 400, vec!["username"]),
        ("/auth/register", json!({"username": "cä_rol", "password": "correct horse"}), 400, vec!["username"]),
        (
            "/auth/register",
            json!({"username": "carol\n", "password": "correct horse"}),
            400,
            vec!["username"],
        ),
        (
            "/auth/register",
            json!({"username": "x".repeat(31), "password": "correct horse"}),
            400,
            vec!["username"],
        ),
        ("/auth/register", json!({"username": "ann", "password": "correct horse"}), 409, vec!["username"]),
        (
            "/auth/register",
            json!({"username": "carol", "password": "correct horse", "is_staff": true}),
            400,
            vec!["is_staff"],
        ),
        ("/auth/login", json!({"username": "ann"}), 400, vec!["password"]),
        ("/auth/login", json!(["ann"]), 400, vec![]),
        ("/auth/login", json!({"username": "ann", "password": "x".repeat(5000)}), 413, vec![]),
        ("/auth/nothing", json!({}), 404, vec![]),
    ] {
        let refused = forum.post(path, None, body.clone()).await;
        assert_eq!((refused.status, refused.mistakes()), (status, mistakes), "{path} {body}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded".to_owned())];
    assert_eq!(forum.send("POST", "/auth/login", &form, "username=ann&password=demo-ann").await.status, 415);
    let method = forum.send("GET", "/auth/login", &[], "").await;
    assert_eq!((method.status, method.header("allow")), (405, "POST"));
    assert_eq!(forum.post("/auth/ticket", None, Json::Null).await.status, 401);
    // Eight characters are enough, however many bytes they have.
    forum.register("abc", "ääääääää").await;

    let wrong = forum.post("/auth/login", None, json!({"username": "ann", "password": "demo-bob"})).await;
    let nobody = forum.post("/auth/login", None, json!({"username": "zed", "password": "demo-bob"})).await;
    assert_eq!((wrong.status, &wrong.json), (401, &nobody.json), "whether there is such a user is not told");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_log_anybody_in_or_out() {
    let forum = Forum::start().await;
    let ann = forum.demo("ann").await;
    let json_body = ("content-type", "application/json".to_owned());
    let login = json!({"username": "bob", "password": "demo-bob"}).to_string();
    let password = json!({"old": "demo-ann", "new": "something else"}).to_string();
    let registration = json!({"username": "carol", "password": "correct horse"}).to_string();
    for (path, body) in [
        ("/auth/login", &login),
        ("/auth/register", &registration),
        ("/auth/password", &password),
        ("/auth/ticket", &String::new()),
        ("/auth/logout", &String::new()),
    ] {
        for hostile in [
            ("origin", "http://evil.example".to_owned()),
            ("origin", "null".to_owned()),
            ("sec-fetch-site", "cross-site".to_owned()),
        ] {
            let headers = [json_body.clone(), ann.cookie(), hostile];
            let refused = forum.send("POST", path, &headers, body.clone()).await;
            assert_eq!((refused.status, refused.header("set-cookie")), (403, ""), "{path}");
        }
    }
    assert_eq!(status_of_me(&forum, &ann).await, 200);
    let own = [json_body, ("origin", format!("http://{}", forum.address))];
    assert_eq!(forum.send("POST", "/auth/login", &own, login).await.status, 200);
}

/// What a proxy adds that ends TLS.
fn by_proxy(address: &str) -> [(&'static str, String); 3] {
    [
        ("x-forwarded-for", address.to_owned()),
        ("x-forwarded-host", "forum.example".to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
    ]
}

#[tokio::test]
async fn behind_a_trusted_proxy_pages_are_of_what_the_browser_asked_for() {
    let login = json!({"username": "ann", "password": "demo-ann"}).to_string();
    let trusting = Forum::start_in(scratch(), &["--trust-proxy", "127.0.0.1", "--trust-proxy", "::1"]).await;
    let plain = Forum::start().await;
    for (forum, is_trusted) in [(&trusting, true), (&plain, false)] {
        let own = format!("http://{}", forum.address);
        for (forwarded, origin, is_own) in [
            (true, "https://forum.example", is_trusted),
            (true, "http://forum.example", false),
            (true, "https://evil.example", false),
            (true, own.as_str(), !is_trusted),
            (false, own.as_str(), true),
        ] {
            let mut headers = vec![json_body(), ("origin", origin.to_owned())];
            let mut handshake = Handshake::to("/api/ws").header("origin", origin);
            if forwarded {
                headers.extend(by_proxy("192.0.2.1"));
                for (name, value) in by_proxy("192.0.2.1") {
                    handshake = handshake.header(name, value);
                }
            }
            let what = format!("{origin} of {is_trusted}");
            let answer = forum.send("POST", "/auth/login", &headers, login.clone()).await;
            assert_eq!(answer.status, if is_own { 200 } else { 403 }, "{what}");
            assert_eq!(handshake.open_at(forum.address).await.is_ok(), is_own, "{what}");
            // The cookie stays within TLS where the browser has asked over it.
            let is_secure = answer.header("set-cookie").contains("Secure");
            assert_eq!(is_secure, is_own && forwarded && is_trusted, "{what}");
        }
    }
}

#[tokio::test]
async fn passwords_cannot_be_tried_at_will() {
    let forum = Forum::start().await;
    let body = |username: &str, password: &str| json!({"username": username, "password": password});
    for _ in 0..12 {
        forum.demo("bob").await;
    }
    // However slow the machine is: an attempt takes less time than it takes to get one back.
    let mut guesses = 0;
    let refused = loop {
        let answer = forum.post("/auth/login", None, body("ann", "guess")).await;
        if answer.status == 429 {
            break answer;
        }
        guesses += 1;
        assert!(guesses < 100, "a name can be tried for ever");
    };
    assert!(guesses >= 10, "{guesses}");
    assert_eq!(refused.json["code"], "throttled");
    let wait: u64 = refused.header("retry-after").parse().expect("whole seconds");
    assert!((1..=10).contains(&wait), "{wait}");
    forum.demo("bob").await;
    // Another name each time: then the address has had enough.
    let mut guesses = 0;
    while forum.post("/auth/login", None, body(&format!("guess{guesses}"), "guess")).await.status == 401 {
        guesses += 1;
        assert!(guesses < 1000, "an address can try for ever");
    }
    assert!(guesses >= 30, "{guesses}");

    // Another address, which a proxy names: it can try, while the first one cannot.
    let proxied = Forum::start_in(scratch(), &["--trust-proxy", "127.0.0.0/8"]).await;
    let guess = async |address: &str, number: i32| {
        let mut headers = vec![json_body()];
        headers.extend(by_proxy(address));
        let body = body(&format!("guess{number}"), "guess").to_string();
        proxied.send("POST", "/auth/login", &headers, body).await.status
    };
    let mut guesses = 0;
    while guess("192.0.2.1", guesses).await == 401 {
        guesses += 1;
        assert!(guesses < 1000, "an address can try for ever");
    }
    assert_eq!(guess("192.0.2.2", 0).await, 401);

    let unlimited = Forum::start_in(scratch(), &["--limits", "off"]).await;
    for _ in 0..15 {
        assert_eq!(unlimited.post("/auth/login", None, body("ann", "guess")).await.status, 401);
    }
    unlimited.demo("ann").await;
}

#[tokio::test]
async fn nothing_secret_is_logged() {
    let forum = Forum::start_in(scratch(), &["--log", "trace"]).await;
    let mut secrets: Vec<String> = vec!["$argon2".into()];
    let mut secret = |text: &str| {
        secrets.push(text.to_owned());
        text.to_owned()
    };
    let first = secret("canary-first-password");
    let second = secret("canary-second-password");
    let wrong = secret("canary-wrong-password");
    let carol = forum.register("carol", &first).await;
    let again = forum.log_in("carol", &first).await;
    for login in [&carol, &again] {
        secret(&login.token);
    }
    // A password is easily typed in the place of a name.
    let body = json!({"username": secret("canary-in-the-name"), "password": wrong});
    assert_eq!(forum.post("/auth/login", None, body).await.status, 401);
    assert_eq!(
        forum.post("/auth/login", None, json!({"username": "carol", "password": wrong})).await.status,
        401
    );
    assert_eq!(
        forum.post("/auth/register", None, json!({"username": "carol", "password": wrong})).await.status,
        409
    );
    let broken = format!("{{\"password\": \"{wrong}");
    let json_body = [("content-type", "application/json".to_owned())];
    assert_eq!(forum.send("POST", "/auth/login", &json_body, broken).await.status, 400);
    let body = json!({"old": first, "new": second});
    assert_eq!(forum.post("/auth/password", Some(&again), body).await.status, 204);
    let bad = secret("canary-bad-token");
    for credentials in [("authorization", format!("Bearer {bad}")), ("cookie", format!("session={bad}"))] {
        assert_eq!(forum.send("GET", "/auth/me", &[credentials], "").await.status, 401);
    }
    let ticket = forum.post("/auth/ticket", Some(&again), Json::Null).await;
    let ticket = secret(ticket.json["ticket"].as_str().expect("a ticket"));
    let (mut socket, _) =
        Handshake::to(format!("/api/ws?ticket={ticket}")).open_at(forum.address).await.expect("a socket");
    for token in [&bad, &again.token] {
        socket.request(json!({"action": "authenticate", "payload": {"token": token}})).await;
    }
    assert_eq!(forum.refuses(Handshake::to(format!("/api/ws?ticket={bad}"))).await, 401);
    let subprotocols = format!("realtime.v1.json, bearer.{}", again.token);
    let by_subprotocol = Handshake::to("/api/ws").header("sec-websocket-protocol", subprotocols);
    by_subprotocol.open_at(forum.address).await.expect("a socket");
    assert_eq!(forum.send("POST", "/auth/logout", &[again.cookie()], "").await.status, 204);
    assert_eq!(socket.closed().await, Some(4401));

    let log = forum.log();
    assert!(log.contains("TRACE"), "the log is at level trace");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log of {}", forum.directory().display());
    }
}

#[tokio::test]
async fn an_older_database_is_brought_up_to_date() {
    // As the forum made it before anybody could log in.
    const OLD: &str = "
        CREATE TABLE users (
            id INTEGER PRIMARY KEY NOT NULL, username TEXT NOT NULL UNIQUE,
            is_staff BOOLEAN NOT NULL DEFAULT FALSE, joined_at TIMESTAMP NOT NULL
        );
        CREATE TABLE topics (
            id INTEGER PRIMARY KEY NOT NULL, title TEXT NOT NULL, locked BOOLEAN NOT NULL DEFAULT FALSE,
            owner_id INTEGER NOT NULL REFERENCES users (id), created_at TIMESTAMP NOT NULL
        );
        INSERT INTO users VALUES (1, 'ann', FALSE, '2026-01-01 00:00:00'), (2, 'zoe', FALSE, '2026-01-01 00:00:00');
        INSERT INTO topics VALUES (1, 'Kept', FALSE, 1, '2026-01-01 00:00:00');";
    let login = |name: &str| json!({"username": name, "password": format!("demo-{name}")});
    for (options, of_ann) in [(vec![], 200), (vec!["--no-demo-data"], 401)] {
        let directory = scratch();
        open(&directory).batch_execute(OLD).expect("an older database");
        let forum = Forum::start_in(directory, &options).await;
        assert_eq!(forum.post("/auth/login", None, login("ann")).await.status, of_ann);
        assert_eq!(forum.post("/auth/login", None, login("zoe")).await.status, 401, "she is no demo user");
        let topics = forum.ask("GET", "/api/topics/", None, Json::Null).await;
        assert_eq!((&topics.json["count"], &topics.json["results"][0]["title"]), (&json!(1), &json!("Kept")));
        // What was done once is not done again: a user without a password does not get one at the next start.
        forum.write("UPDATE users SET password_hash = NULL");
        let (_, directory) = forum.stop().await;
        let forum = Forum::start_in(directory, &options).await;
        assert_eq!(forum.post("/auth/login", None, login("ann")).await.status, 401);
    }
    let empty = Forum::start_in(scratch(), &["--no-demo-data"]).await;
    assert_eq!(empty.post("/auth/login", None, login("ann")).await.status, 401);
    empty.register("ann", "correct horse").await;
    // One that somebody has begun to use is not empty, and is left as it is.
    let (_, directory) = empty.stop().await;
    let used = Forum::start_in(directory, &[]).await;
    assert_eq!((used.count("users"), used.count("topics")), (1, 0));
}

#[tokio::test]
async fn a_database_in_which_keys_could_be_given_twice_is_brought_up_to_date_and_loses_nothing() {
    let forum = Forum::start().await;
    let (ann, carol) = (forum.demo("ann").await, forum.register("carol", "correct horse").await);
    let of_carol = left_behind(&forum, &carol).await;
    let list = async |forum: &Forum, path: &str, who: &Login| {
        let answer = forum.ask("GET", path, Some(who), Json::Null).await;
        (answer.header("realtime-cursor").to_owned(), answer.json["results"].clone())
    };
    let (since, comments) = list(&forum, "/api/comments/", &carol).await;
    let (_, users) = list(&forum, "/api/users/", &carol).await;
    let (_, directory) = forum.stop().await;
    // As the forum made its tables once, with all that is in them and the log's triggers. Meanwhile somebody writes.
    open(&directory)
        .batch_execute(
            "UPDATE comments SET score = 77 WHERE id = 1;
             DROP TRIGGER users_deleted;
             PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, ' AUTOINCREMENT', '')
                 WHERE name IN ('users', 'topics', 'comments');
             PRAGMA writable_schema = OFF;
             DELETE FROM sqlite_sequence WHERE name IN ('users', 'topics', 'comments');",
        )
        .expect("an older database");

    let forum = Forum::start_in(directory, &[]).await;
    let (_, now) = list(&forum, "/api/comments/", &carol).await;
    let (before, after) = (comments.as_array().expect("rows"), now.as_array().expect("rows"));
    assert_eq!((&before[1..], &after[0]["score"]), (&after[1..], &json!(77)));
    assert_eq!(list(&forum, "/api/users/", &carol).await.1, users);
    assert_eq!(list(&forum, "/api/notes/", &carol).await.1.as_array().map(Vec::len), Some(1));
    // Whoever goes on from before is told of it, and of nothing else; and the tables are live.
    let mut socket = forum.socket(Some(&ann)).await;
    let reply = socket.request(json!({"stream": "comments/subscribe", "since": since})).await;
    assert_eq!(reply["data"]["recovered"], true, "{reply}");
    assert_eq!(socket.next_event().await["diff"], json!({"score": 77}));
    let said = forum.post("/api/comments/", Some(&ann), json!({"topic_id": 1, "body": "said"})).await;
    assert_eq!(said.status, 201);
    assert_eq!(socket.next_event().await["data"]["body"], "said");

    forum.write(&format!("{DELETED_BY_ANOTHER_PROGRAM} 'carol'"));
    assert_eq!(forum.count("notes"), 0);
    finds_nothing(&forum, "dave", &carol, &of_carol).await;
    assert_eq!(forum.count("sqlite_schema WHERE name = 'comments_of_topic'"), 1);
    // Nothing refers to a table that is gone.
    assert_eq!(forum.count("pragma_foreign_key_check WHERE parent LIKE 'old%'"), 0);
    let topic = forum.ask("DELETE", "/api/topics/1/", Some(&ann), Json::Null).await;
    assert_eq!((topic.status, forum.count("comments WHERE topic_id = 1")), (204, 0));
}
