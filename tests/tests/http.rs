//! HTTP's manners: conditional requests, retries, what a caller reads, what may be kept, what there is.

use std::sync::Arc;

use realtime_tests::{Answer, Server, Setup, people};
use serde_json::{Value as Json, json};

const JSON: (&str, &str) = ("content-type", "application/json");

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &answer.json["code"]), (status, &json!(code)), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// A server on which Ann, of the staff, and Bob are logged in by their names.
async fn with_users() -> Server {
    let users = people();
    users.set_admin(&users.named("ann"), true);
    Setup::file().configure(move |connect| connect.authenticator(users)).start().await
}

async fn as_user(server: &Server, user: &str, method: &str, path: &str, body: &Json) -> Answer {
    let bearer = format!("Bearer {user}");
    server.http(method, path, &[JSON, ("authorization", &bearer)], body.to_string()).await
}

#[tokio::test]
async fn an_object_has_a_tag_until_it_changes() {
    let server = Server::start().await;
    let created = server.send("POST", "/api/labels/", &json!({"name": "a"})).await;
    let read = server.get("/api/labels/a/").await;
    let tag = read.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
    assert_eq!(created.header("etag"), tag, "what was answered is what is read");
    assert_eq!(server.get("/api/labels/a/").await.header("etag"), tag);
    assert_eq!(server.send("HEAD", "/api/labels/a/", &Json::Null).await.header("etag"), tag);

    let changed = server.send("PATCH", "/api/labels/a/", &json!({"weight": 2})).await;
    assert_ne!(changed.header("etag"), tag);
    assert_eq!(server.get("/api/labels/a/").await.header("etag"), changed.header("etag"));
    server.send("PATCH", "/api/labels/a/", &json!({"weight": 1})).await;
    assert_eq!(server.get("/api/labels/a/").await.header("etag"), tag, "equal objects have equal tags");
}

#[tokio::test]
async fn whoever_has_an_object_already_is_told_so() {
    let server = Server::start().await;
    server.create("labels", json!({"name": "a"})).await;
    let tag = server.get("/api/labels/a/").await.header("etag").to_owned();
    let get = |header: &'static str, value: String| {
        let server = &server;
        async move { server.http("GET", "/api/labels/a/", &[(header, &value)], "").await }
    };
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let answer = get("if-none-match", known.clone()).await;
        assert_eq!((answer.status, answer.text.as_str()), (304, ""), "{known}");
        assert_eq!(answer.header("etag"), tag);
        let head = server.http("HEAD", "/api/labels/a/", &[("if-none-match", &known)], "").await;
        assert_eq!(head.status, 304);
    }
    assert_eq!(get("if-none-match", "\"other\"".to_owned()).await.status, 200);
    assert_eq!(get("if-match", tag.clone()).await.status, 200);
    assert_refused(&get("if-match", "\"other\"".to_owned()).await, 412, "precondition_failed");
    assert_refused(&get("if-match", "other".to_owned()).await, 400, "bad_request");
    server.send("PATCH", "/api/labels/a/", &json!({"weight": 2})).await;
    assert_eq!(get("if-none-match", tag).await.status, 200);
}

#[tokio::test]
async fn a_write_can_be_for_one_state_of_the_object_only() {
    let server = Server::start().await;
    server.create("labels", json!({"name": "a"})).await;
    let tag = server.get("/api/labels/a/").await.header("etag").to_owned();
    let write = |method: &'static str, header: &'static str, value: &str, body: Json| {
        let (server, value) = (&server, value.to_owned());
        async move { server.http(method, "/api/labels/a/", &[JSON, (header, &value)], body.to_string()).await }
    };
    let changed = write("PATCH", "if-match", &tag, json!({"weight": 2})).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    for (method, body) in [
        ("PATCH", json!({"weight": 3})),
        ("PUT", json!({"name": "a", "weight": 3})),
        ("DELETE", Json::Null),
        // The state comes before the payload.
        ("PATCH", json!({"what": 3})),
    ] {
        assert_refused(&write(method, "if-match", &tag, body).await, 412, "precondition_failed");
    }
    assert_refused(
        &write("PUT", "if-none-match", "*", json!({"name": "a"})).await,
        412,
        "precondition_failed",
    );
    let weak = format!("W/{}", changed.header("etag"));
    assert_refused(
        &write("PATCH", "if-match", &weak, json!({"weight": 3})).await,
        412,
        "precondition_failed",
    );
    assert_eq!(server.read("/api/labels/a/").await["weight"], 2);
    assert_eq!(write("PATCH", "if-match", "*", json!({"weight": 4})).await.status, 200);
    assert_eq!(write("PATCH", "if-none-match", &tag, json!({"weight": 5})).await.status, 200);
    let now = server.get("/api/labels/a/").await.header("etag").to_owned();
    assert_eq!(write("DELETE", "if-match", &now, Json::Null).await.status, 204);
    assert_refused(&write("DELETE", "if-match", &now, Json::Null).await, 404, "not_found");
    let created = server.http("POST", "/api/labels/", &[JSON, ("if-match", "*")], r#"{"name": "b"}"#).await;
    assert_refused(&created, 412, "precondition_failed");
    assert_eq!(server.read("/api/labels/").await["count"], 0);
}

#[tokio::test]
async fn of_writes_for_the_same_state_one_is_carried_out() {
    let server = Arc::new(Server::start().await);
    server.create("labels", json!({"name": "a", "weight": 0})).await;
    for round in 0..10 {
        let tag = server.get("/api/labels/a/").await.header("etag").to_owned();
        let writes = (0..8).map(|writer| {
            let (server, tag) = (Arc::clone(&server), tag.clone());
            tokio::spawn(async move {
                let body = json!({"weight": 1 + round * 8 + writer}).to_string();
                server.http("PATCH", "/api/labels/a/", &[JSON, ("if-match", &tag)], body).await.status
            })
        });
        let mut statuses = Vec::new();
        for write in writes.collect::<Vec<_>>() {
            statuses.push(write.await.expect("an answer"));
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    }
}

async fn post(server: &Server, user: &str, path: &str, key: &str, body: &Json) -> Answer {
    let bearer = format!("Bearer {user}");
    let headers = [JSON, ("authorization", &bearer), ("idempotency-key", key)];
    server.http("POST", path, &headers, body.to_string()).await
}

#[tokio::test]
async fn a_create_that_is_sent_once_more_makes_one_row_and_has_one_answer() {
    let server = with_users().await;
    let body = json!({"topic_id": 1, "body": "once"});
    let first = post(&server, "ann", "/api/comments/", "k", &body).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, ""), "{}", first.text);
    // What has become of the row since does not matter.
    as_user(&server, "ann", "PATCH", "/api/comments/1/", &json!({"body": "twice"})).await;
    for body in [&body, &json!({"body": "once", "topic_id": 1})] {
        let again = post(&server, "ann", "/api/comments/", "k", body).await;
        assert_eq!((again.status, &again.text), (201, &first.text));
        assert_eq!(again.header("idempotent-replayed"), "true");
        for header in ["location", "etag", "content-type"] {
            assert_eq!(again.header(header), first.header(header), "{header}");
        }
    }
    assert_eq!(as_user(&server, "ann", "GET", "/api/comments/", &Json::Null).await.json["count"], 1);

    // Another request needs another key.
    for (path, body) in [
        ("/api/comments/", json!({"topic_id": 2, "body": "once"})),
        ("/api/comments/", json!({"topic_id": 1, "body": "once", "score": 0})),
        ("/api/labels/", json!({"name": "once"})),
    ] {
        assert_refused(&post(&server, "ann", path, "k", &body).await, 409, "conflict");
    }
    assert_eq!(post(&server, "ann", "/api/comments/", "K", &body).await.json["id"], 2);
    // And everybody has his own.
    assert_eq!(post(&server, "bob", "/api/comments/", "k", &body).await.json["id"], 3);
    assert_eq!(as_user(&server, "ann", "GET", "/api/comments/", &Json::Null).await.json["count"], 3);
}

#[tokio::test]
async fn a_create_that_was_refused_may_be_sent_once_more() {
    let server = with_users().await;
    for body in [json!({"topic_id": 99, "body": "x"}), json!({"topic_id": 1, "body": ""})] {
        assert_refused(&post(&server, "ann", "/api/comments/", "k", &body).await, 400, "validation_error");
    }
    let good = json!({"topic_id": 1, "body": "x"});
    assert_refused(&post(&server, "nobody", "/api/comments/", "k", &good).await, 401, "not_authenticated");
    assert_eq!(post(&server, "ann", "/api/comments/", "k", &good).await.status, 201);
    for key in ["", "ü", "two words", "a\tb", &"x".repeat(256)] {
        let headers = [JSON, ("authorization", "Bearer ann"), ("idempotency-key", key)];
        let answer = server.http("POST", "/api/comments/", &headers, good.to_string()).await;
        assert_refused(&answer, 400, "bad_request");
    }
    assert_eq!(as_user(&server, "ann", "GET", "/api/comments/", &Json::Null).await.json["count"], 1);
}

#[tokio::test]
async fn creates_with_one_key_at_once_make_one_row() {
    let server = Arc::new(with_users().await);
    for round in 0..10 {
        let creates = (0..8).map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let body = json!({"topic_id": 1, "body": format!("round {round}")});
                post(&server, "ann", "/api/comments/", &format!("key-{round}"), &body).await
            })
        });
        let mut texts = Vec::new();
        for create in creates.collect::<Vec<_>>() {
            let answer = create.await.expect("an answer");
            assert_eq!(answer.status, 201, "{}", answer.text);
            texts.push(answer.text);
        }
        texts.dedup();
        assert_eq!(texts.len(), 1, "{texts:?}");
    }
    assert_eq!(as_user(&server, "ann", "GET", "/api/comments/", &Json::Null).await.json["count"], 10);
}

#[tokio::test]
async fn a_key_is_known_after_a_restart_and_the_oldest_are_forgotten() {
    let few = |connect: realtime_actix::Connect| {
        let mut limits = realtime_actix::Limits::default();
        limits.idempotency_answers = 3;
        connect.limits(limits)
    };
    let server = Setup::file().configure(few).start().await;
    let send = |server: &Arc<Server>, name: &'static str| {
        let server = Arc::clone(server);
        async move {
            let body = json!({"name": name}).to_string();
            server.http("POST", "/api/labels/", &[JSON, ("idempotency-key", name)], body).await
        }
    };
    let server = Arc::new(server);
    let first = send(&server, "a").await;
    assert_eq!(first.status, 201);
    let store = server.store().clone();
    drop(server);
    let server = Arc::new(Setup::on(&store).configure(few).start().await);
    assert_eq!(send(&server, "a").await.text, first.text);
    for name in ["b", "c", "d", "e"] {
        assert_eq!(send(&server, name).await.status, 201);
    }
    // Their answers are gone; the rows are still there.
    for name in ["a", "b"] {
        assert_refused(&send(&server, name).await, 409, "conflict");
    }
    for name in ["c", "d", "e"] {
        assert_eq!(send(&server, name).await.header("idempotent-replayed"), "true", "{name}");
    }
    assert_eq!(server.read("/api/labels/").await["count"], 5);
}

#[tokio::test]
async fn an_answer_is_kept_for_as_long_as_it_is_to_be() {
    const SECONDS: u32 = 10_000;
    let server = Setup::file().configure(|connect| {
        let mut limits = realtime_actix::Limits::default();
        limits.idempotency_seconds = SECONDS;
        connect.limits(limits)
    });
    let server = server.start().await;
    let send = async |key: &str, name: &str| {
        let body = json!({"name": name}).to_string();
        server.http("POST", "/api/labels/", &[JSON, ("idempotency-key", key)], body).await
    };
    assert_eq!(send("k", "first").await.status, 201);
    // The clock goes on while the test runs, so that it is no second too old is not asked.
    server.write(format!("UPDATE realtime_idempotency SET at = at - {}", SECONDS - 1_000)).await;
    assert_eq!(send("other", "other").await.status, 201);
    assert_eq!(send("k", "first").await.header("idempotent-replayed"), "true");
    server.write("UPDATE realtime_idempotency SET at = at - 1001").await;
    // Whoever adds one forgets those that are too old.
    assert_eq!(send("another", "another").await.status, 201);
    let again = send("k", "second").await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, ""), "{}", again.text);
}

#[tokio::test]
async fn a_key_is_as_long_as_it_may_be() {
    let server = Setup::memory().start().await;
    for (bytes, status) in [(1, 201), (254, 201), (255, 201), (256, 400)] {
        let (key, body) = ("x".repeat(bytes), json!({"name": format!("{bytes}")}).to_string());
        let answer = server.http("POST", "/api/labels/", &[JSON, ("idempotency-key", &key)], body).await;
        assert_eq!(answer.status, status, "{bytes} bytes");
    }
}

#[tokio::test]
async fn an_answer_that_its_caller_cannot_read_is_a_406() {
    let server = Server::start().await;
    for path in ["/api/", "/api/topics/", "/api/topics/1/", "/api/topics/changes/"] {
        let answer = server.http("GET", path, &[("accept", "text/html")], "").await;
        assert_refused(&answer, 406, "not_acceptable");
        let answer = server.http("GET", path, &[("accept", "text/html, */*;q=0.1")], "").await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let answer = server.http("GET", "/api/topics/events/", &[("accept", "application/json")], "").await;
    assert_refused(&answer, 406, "not_acceptable");
    let body = json!({"name": "a"}).to_string();
    let answer = server.http("POST", "/api/labels/", &[JSON, ("accept", "application/xml")], body).await;
    assert_refused(&answer, 406, "not_acceptable");
    assert_eq!(server.read("/api/labels/").await["count"], 0, "nothing was done");
}

#[tokio::test]
async fn what_is_somebodys_is_not_kept() {
    let server = with_users().await;
    for path in ["/api/", "/api/topics/", "/api/topics/1/"] {
        let answer = as_user(&server, "ann", "GET", path, &Json::Null).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        let answer = server.get(path).await;
        assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
        assert_eq!(answer.header("vary"), "Authorization, Cookie", "{path}");
    }
    let created = as_user(&server, "ann", "POST", "/api/topics/", &json!({"title": "x"})).await;
    assert_eq!((created.status, created.header("cache-control")), (201, "no-store"));
    assert_refused(&server.get("/api/topics/99/").await, 404, "not_found");
}

#[tokio::test]
async fn options_says_what_there_is_and_what_the_caller_may_send() {
    let server = with_users().await;
    let labels = server.http("OPTIONS", "/api/labels/", &[], "").await;
    assert_eq!((labels.status, labels.header("allow")), (200, "GET, HEAD, POST, OPTIONS"));
    let fields = json!({
        "name": {"type": "string", "required": true, "read_only": false, "nullable": false, "label": "Name"},
        "code": {"type": "string", "required": false, "read_only": false, "nullable": true, "label": "Code"},
        "weight": {"type": "integer", "required": false, "read_only": false, "nullable": false,
                   "label": "Weight", "min_value": i64::MIN, "max_value": i64::MAX, "default": 1},
    });
    assert_eq!(
        labels.json,
        json!({
            "name": "labels", "description": "A label, known by the name that its maker gives it.",
            "renders": ["application/json"], "parses": ["application/json"], "actions": {"POST": fields},
        })
    );
    let comments = as_user(&server, "bob", "OPTIONS", "/api/comments", &Json::Null).await;
    let post = &comments.json["actions"]["POST"];
    assert_eq!(post["author_id"]["read_only"], true);
    let status = &post["status"];
    assert_eq!(
        (&status["type"], &status["required"], &status["choices"][0]),
        (&json!("choice"), &json!(false), &json!({"value": "draft", "display_name": "Draft"}))
    );
    for (stream, user, expected) in [
        ("comments", "", json!(null)),
        ("topic-feed", "bob", json!(null)),
        ("comments", "bob", json!(["POST"])),
    ] {
        let answer = as_user(&server, user, "OPTIONS", &format!("/api/{stream}/"), &Json::Null).await;
        let answer = if user.is_empty() {
            server.http("OPTIONS", &format!("/api/{stream}/"), &[], "").await
        } else {
            answer
        };
        let forms = answer.json["actions"].as_object().map(|forms| forms.keys().collect::<Vec<_>>());
        assert_eq!((answer.status, json!(forms)), (200, expected), "{stream} {user}: {}", answer.text);
    }

    // Of an object only who may replace it is told how.
    as_user(
        &server,
        "bob",
        "POST",
        "/api/comments/",
        &json!({"topic_id": 1, "body": "x", "status": "draft"}),
    )
    .await;
    let allow = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS";
    let about = async |user: &str, path: &str| {
        let answer = as_user(&server, user, "OPTIONS", path, &Json::Null).await;
        assert_eq!((answer.status, answer.header("allow")), (200, allow), "{}", answer.text);
        answer.json["actions"]["PUT"]["body"]["type"].clone()
    };
    assert_eq!(about("bob", "/api/comments/1/").await, "string");
    assert_eq!(about("ann", "/api/comments/1").await, "string", "she is of the staff");
    assert_eq!(about("bob", "/api/comments/2/").await, Json::Null);
    assert_refused(
        &as_user(&server, "bob", "OPTIONS", "/api/comments/x/", &Json::Null).await,
        404,
        "not_found",
    );
    let hidden = server.http("OPTIONS", "/api/comments/1/", &[], "").await;
    let missing = server.http("OPTIONS", "/api/comments/2/", &[], "").await;
    assert_eq!(
        (hidden.status, hidden.text),
        (missing.status, missing.text),
        "a draft of another's does not exist"
    );

    let index = server.http("OPTIONS", "/api", &[], "").await;
    assert_eq!((index.status, index.header("allow")), (200, "GET, HEAD, OPTIONS"));
    assert_refused(&server.http("OPTIONS", "/api/nothing/", &[], "").await, 404, "not_found");
}
