//! The REST side.

use realtime_actix::Limits;
use realtime_tests::{Answer, Server, Setup, Socket, on_postgres, position};
use serde_json::{Value as Json, json};

/// A problem document (RFC 9457) with the members that the protocol adds.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &answer.json["code"]), (status, &json!(code)), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json["status"], status);
    for member in ["type", "title", "detail"] {
        assert!(
            answer.json[member].as_str().is_some_and(|text| !text.is_empty()),
            "{member}: {}",
            answer.text
        );
    }
}

#[track_caller]
fn assert_errors(answer: &Answer, fields: &[&str]) {
    assert_problem(answer, 400, "validation_error");
    let errors = answer.json["errors"].as_object().expect("errors by field");
    let mut named: Vec<&str> = errors.keys().map(String::as_str).collect();
    named.sort_unstable();
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    assert_eq!(named, fields, "{}", answer.text);
    for messages in errors.values() {
        assert!(messages.as_array().is_some_and(|messages| !messages.is_empty() && messages[0].is_string()));
    }
}

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    for setup in [Setup::file(), Setup::memory()] {
        let server = setup.start().await;
        let created = server.send("POST", "/api/comments/", &json!({"topic_id": 1, "body": "hi"})).await;
        assert_eq!(created.status, 201, "{}", created.text);
        assert_eq!(created.header("location"), "/api/comments/1/");
        assert_eq!(created.header("content-type"), "application/json");
        let object = json!({
            "id": 1, "topic_id": 1, "author_id": 1, "body": "hi", "score": 0, "rating": null,
            "status": "published", "edited_at": null, "created_at": created.json["created_at"],
        });
        assert_eq!(created.json, object);
        let time = object["created_at"].as_str().expect("a time");
        assert!(time.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");

        assert_eq!(server.read("/api/comments/1/").await, object);
        let changed = server.send("PATCH", "/api/comments/1/", &json!({"body": "ho", "score": -3})).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        assert_eq!((&changed.json["body"], &changed.json["score"]), (&json!("ho"), &json!(-3)));
        assert!(changed.json["edited_at"].is_string(), "a hook sets what a client may not");
        assert_eq!(server.read("/api/comments/1/").await, changed.json);

        let replaced = server.send("PUT", "/api/comments/1/", &json!({"topic_id": 2, "body": "ho"})).await;
        assert_eq!(replaced.status, 200, "{}", replaced.text);
        assert_eq!((&replaced.json["topic_id"], &replaced.json["score"]), (&json!(2), &json!(0)));
        let list = server.read("/api/comments/").await;
        assert_eq!(list, json!({"results": [replaced.json], "next": null, "previous": null, "count": 1}));

        let deleted = server.send("DELETE", "/api/comments/1/", &Json::Null).await;
        assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
        for method in ["GET", "DELETE"] {
            assert_problem(&server.send(method, "/api/comments/1/", &Json::Null).await, 404, "not_found");
        }
        for method in ["PATCH", "PUT"] {
            let answer = server.send(method, "/api/comments/1/", &json!({"body": 5})).await;
            assert_problem(&answer, 404, "not_found");
        }
        assert_eq!(server.read("/api/comments/").await["count"], 0);
    }
}

#[tokio::test]
async fn what_a_list_is_true_at_is_in_a_header() {
    let server = Server::start().await;
    let before = server.get("/api/topics/").await;
    let mut socket = Socket::subscribed(&server, "topics", json!({})).await;
    server.create("topics", json!({"title": "x"})).await;
    let after = server.get("/api/topics/").await;
    let (before, after) = (before.header("realtime-cursor"), after.header("realtime-cursor"));
    assert_eq!(before.split_once('-').map(|(epoch, _)| epoch), after.split_once('-').map(|(epoch, _)| epoch));
    let event = socket.next_event().await;
    assert_eq!(event["cursor"], after, "the event's cursor is where the list is that shows it");
    assert!(position(before) < position(after));
}

#[tokio::test]
async fn a_trailing_slash_is_optional_everywhere() {
    let server = Server::start().await;
    server.create("labels", json!({"name": "a"})).await;
    for path in ["/api", "/api/labels", "/api/labels/a", "/api/labels?limit=1"] {
        let slash = path.replace('?', "/?");
        let slash = if slash.contains("/?") { slash } else { format!("{path}/") };
        let (without, with) = (server.get(path).await, server.get(&slash).await);
        assert_eq!((without.status, with.status), (200, 200), "{path}");
        assert_eq!(without.text, with.text, "{path}");
    }
    let created = server.send("POST", "/api/labels", &json!({"name": "b"})).await;
    assert_eq!((created.status, created.header("location")), (201, "/api/labels/b/"));
    assert_eq!(server.send("PATCH", "/api/labels/b", &json!({"weight": 2})).await.status, 200);
    assert_eq!(server.send("DELETE", "/api/labels/b", &Json::Null).await.status, 204);
}

#[tokio::test]
async fn the_index_links_to_every_stream() {
    let server = Setup::memory().start().await;
    let index = server.read("/api/").await;
    let expected = json!({
        "topics": "/api/topics/", "comments": "/api/comments/", "topic-feed": "/api/topic-feed/",
        "labels": "/api/labels/",
    });
    assert_eq!(index, expected);
    for link in expected.as_object().expect("an object").values() {
        assert_eq!(server.get(link.as_str().expect("a link")).await.status, 200);
    }
    let refused = server.send("POST", "/api/", &json!({})).await;
    assert_problem(&refused, 405, "action_not_allowed");
    assert_eq!(refused.header("allow"), "GET, HEAD, OPTIONS");
}

#[tokio::test]
async fn head_answers_as_get_does_without_a_body() {
    let server = Server::start().await;
    for path in ["/api/", "/api/topics/", "/api/topics/1/", "/api/topics/99/", "/api/nothing/"] {
        let get = server.get(path).await;
        let head = server.send("HEAD", path, &Json::Null).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        for header in ["content-type", "content-length", "realtime-cursor"] {
            assert_eq!(head.header(header), get.header(header), "{path}: {header}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_404() {
    let server = Server::start().await;
    for path in [
        "/api/nothing/",
        "/api/nothing/1/",
        "/api/topics/99/",
        "/api/topics/x/",
        "/api/topics/1.5/",
        "/api/topics/true/",
        "/api/topics/99999999999999999999/",
        "/api/topics/-1/",
        "/api/topics/1/2/",
        "/api/topics/1/2/3/",
        "/api/labels/%00/",
        "/api/labels/x/",
        "/api/Topics/",
        "/api/users/",
        "/api/realtime_log/",
    ] {
        assert_problem(&server.get(path).await, 404, "not_found");
    }
    for method in ["PATCH", "PUT", "DELETE"] {
        assert_problem(&server.send(method, "/api/topics/x/", &json!({"title": 5})).await, 404, "not_found");
    }
}

#[tokio::test]
async fn a_method_that_there_is_not_is_a_405_with_those_that_there_are() {
    let server = Setup::memory().start().await;
    for (method, path, allow) in [
        ("DELETE", "/api/topics/", "GET, HEAD, POST, OPTIONS"),
        ("PATCH", "/api/topics/", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/api/topics/1/", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ("POST", "/api/topic-feed/", "GET, HEAD, OPTIONS"),
        ("DELETE", "/api/topic-feed/1/", "GET, HEAD, OPTIONS"),
        ("PUT", "/api/topic-feed/1/", "GET, HEAD, OPTIONS"),
        ("TRACE", "/api/topics/", "GET, HEAD, POST, OPTIONS"),
        ("BREW", "/api/topics/", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/api/ws", "GET"),
        ("OPTIONS", "/api/ws/topics/", "GET"),
    ] {
        let answer = server.send(method, path, &json!({})).await;
        assert_problem(&answer, 405, "action_not_allowed");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
}

#[tokio::test]
async fn a_conflict_with_what_is_stored_is_a_409_on_its_field() {
    let server = Server::start().await;
    server.create("labels", json!({"name": "a", "code": "x"})).await;
    server.create("labels", json!({"name": "b", "code": "y"})).await;
    for (method, path, body, field) in [
        ("POST", "/api/labels/", json!({"name": "a"}), "name"),
        ("POST", "/api/labels/", json!({"name": "c", "code": "x"}), "code"),
        ("PATCH", "/api/labels/b/", json!({"code": "x"}), "code"),
        ("PATCH", "/api/labels/b/", json!({"name": "a"}), "name"),
        ("PUT", "/api/labels/b/", json!({"name": "b", "code": "x"}), "code"),
    ] {
        let answer = server.send(method, path, &body).await;
        assert_problem(&answer, 409, "conflict");
        assert!(answer.json["errors"][field].is_array(), "{method} {body}: {}", answer.text);
    }
    server.write("INSERT INTO label_uses VALUES ('a')").await;
    assert_problem(&server.send("DELETE", "/api/labels/a/", &Json::Null).await, 409, "conflict");
    assert_eq!(server.read("/api/labels/").await["count"], 2);
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413() {
    let server = Setup::memory()
        .configure(|connect| {
            let mut limits = Limits::default();
            limits.body_bytes = 1_000;
            connect.limits(limits)
        })
        .start()
        .await;
    let body = |length: usize| {
        let start = r#"{"title": "x"}"#;
        start.to_owned() + &" ".repeat(length - start.len())
    };
    let json = [("content-type", "application/json")];
    assert_eq!(server.http("POST", "/api/topics/", &json, body(1_000)).await.status, 201);
    assert_problem(&server.http("POST", "/api/topics/", &json, body(1_001)).await, 413, "too_large");
    assert_problem(&server.http("PATCH", "/api/topics/1/", &json, body(5_000)).await, 413, "too_large");
    assert_eq!(server.get("/api/topics/").await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_not_json_by_its_type_is_a_415() {
    let server = Setup::memory().start().await;
    let body = r#"{"title": "x"}"#;
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/jsonp")],
        &[("content-type", "text/json+x")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        let answer = server.http("POST", "/api/topics/", headers, body).await;
        assert_problem(&answer, 415, "unsupported_media_type");
    }
    for media_type in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/merge-patch+json",
    ] {
        let answer = server.http("POST", "/api/topics/", &[("content-type", media_type)], body).await;
        assert_eq!(answer.status, 201, "{media_type}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_a_400() {
    let server = Setup::memory().start().await;
    let json = [("content-type", "application/json")];
    for body in ["", "{", "{\"title\": \"x\"} x", "\u{feff}{}", "nul", "{\"title\": \"\\ud800\"}", "[[[["] {
        assert_problem(&server.http("POST", "/api/topics/", &json, body).await, 400, "parse_error");
    }
    assert_problem(&server.http("POST", "/api/topics/", &json, &[0xff, 0xfe][..]).await, 400, "parse_error");
    assert_problem(
        &server.http("POST", "/api/topics/", &json, "[".repeat(100_000)).await,
        400,
        "parse_error",
    );
    for body in ["null", "[]", "5", "\"x\"", "true", "[{\"title\": \"x\"}]"] {
        assert_problem(&server.http("POST", "/api/topics/", &json, body).await, 400, "bad_request");
    }
}

#[tokio::test]
async fn all_errors_of_a_body_are_reported_at_once() {
    let server = Server::start().await;
    let body = json!({
        "body": "", "score": "1", "rating": "x", "status": "what", "unknown": 1, "other": null, "edited_at": 5,
    });
    let answer = server.send("POST", "/api/comments/", &body).await;
    assert_errors(&answer, &["topic_id", "body", "score", "rating", "status", "unknown", "other"]);
    server.create("comments", json!({"topic_id": 1, "body": "x"})).await;
    let answer = server.send("PATCH", "/api/comments/1/", &body).await;
    assert_errors(&answer, &["body", "score", "rating", "status", "unknown", "other"]);
    let answer = server.send("PUT", "/api/comments/1/", &body).await;
    assert_errors(&answer, &["topic_id", "body", "score", "rating", "status", "unknown", "other"]);
}

#[tokio::test]
async fn a_reference_to_nothing_is_a_400_on_its_field() {
    let server = Server::start().await;
    let body = json!({"topic_id": 99, "body": "x"});
    assert_errors(&server.send("POST", "/api/comments/", &body).await, &["topic_id"]);
    let made = server.create("comments", json!({"topic_id": 1, "body": "x"})).await;
    let path = format!("/api/comments/{}/", made["id"]);
    assert_errors(&server.send("PATCH", &path, &json!({"topic_id": 99})).await, &["topic_id"]);
    assert_errors(&server.send("PUT", &path, &body).await, &["topic_id"]);
    assert_eq!(server.read(&path).await["topic_id"], 1);
}

#[tokio::test]
async fn a_check_of_the_database_is_a_400_on_its_field() {
    let server = Server::start().await;
    let answer = server.send("POST", "/api/labels/", &json!({"name": "a", "weight": -1})).await;
    assert_errors(&answer, &["weight"]);
}

#[tokio::test]
async fn read_only_fields_are_ignored_so_that_what_was_read_can_be_written_back() {
    let server = Server::start().await;
    let read = server.create("comments", json!({"topic_id": 1, "body": "x", "rating": 0.1})).await;
    for method in ["PUT", "PATCH"] {
        let written = server.send(method, "/api/comments/1/", &read).await;
        assert_eq!((written.status, &written.json), (200, &read), "{method}");
    }
    let body = json!({
        "id": 77, "topic_id": 1, "body": "y", "author_id": 2, "created_at": "1999-01-01T00:00:00Z", "edited_at": "what",
    });
    let created = server.create("comments", body.clone()).await;
    assert_eq!(
        (&created["id"], &created["author_id"], &created["edited_at"]),
        (&json!(2), &json!(1), &Json::Null)
    );
    assert_ne!(created["created_at"], body["created_at"]);
    let changed = server.send("PATCH", "/api/comments/2/", &json!({"author_id": 2, "id": 5})).await;
    assert_eq!((changed.status, changed.json), (200, created));
}

#[tokio::test]
async fn null_is_a_value_and_absence_is_none() {
    let server = Server::start().await;
    server.create("comments", json!({"topic_id": 1, "body": "x", "rating": 1.5, "score": 3})).await;
    let kept = server.send("PATCH", "/api/comments/1/", &json!({})).await;
    assert_eq!((kept.status, &kept.json["rating"]), (200, &json!(1.5)));
    let nulled = server.send("PATCH", "/api/comments/1/", &json!({"rating": null})).await;
    assert_eq!((nulled.status, &nulled.json["rating"], &nulled.json["score"]), (200, &Json::Null, &json!(3)));
    let refused = json!({"body": null, "score": null, "topic_id": null, "status": null});
    assert_errors(
        &server.send("PATCH", "/api/comments/1/", &refused).await,
        &["body", "score", "topic_id", "status"],
    );
    assert_errors(
        &server.send("POST", "/api/comments/", &json!({"body": null})).await,
        &["body", "topic_id"],
    );
}

#[tokio::test]
async fn a_replace_needs_what_has_no_default_and_resets_the_rest() {
    let server = Server::start().await;
    let body = json!({"topic_id": 1, "body": "x", "rating": 1.5, "score": 3, "status": "draft"});
    let before = server.create("comments", body).await;
    assert_errors(&server.send("PUT", "/api/comments/1/", &json!({"score": 1})).await, &["topic_id", "body"]);
    let after = server.send("PUT", "/api/comments/1/", &json!({"topic_id": 2, "body": "x"})).await.json;
    let mut expected = before;
    for (field, value) in
        [("topic_id", json!(2)), ("rating", Json::Null), ("score", json!(0)), ("status", json!("published"))]
    {
        expected[field] = value;
    }
    assert_eq!(after, expected);
}

#[tokio::test]
async fn a_textual_key_is_a_segment_of_a_path_whatever_it_contains() {
    let server = Server::start().await;
    for (name, segment) in [
        ("plain", "plain"),
        ("with space", "with%20space"),
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        ("%2F", "%252F"),
        ("ü?#&=+", "%C3%BC%3F%23%26%3D%2B"),
        ("💥", "%F0%9F%92%A5"),
        ("5", "5"),
    ] {
        let created = server.send("POST", "/api/labels/", &json!({"name": name})).await;
        assert_eq!(created.status, 201, "{}", created.text);
        let path = format!("/api/labels/{segment}/");
        assert_eq!(created.header("location"), path);
        assert_eq!(server.read(&path).await["name"], name);
        assert_eq!(server.send("PATCH", &path, &json!({"weight": 7})).await.json["weight"], 7);
        assert_eq!(server.send("DELETE", &path, &Json::Null).await.status, 204);
    }
}

#[tokio::test]
async fn a_key_may_be_changed_where_it_is_no_read_only_field() {
    let server = Server::start().await;
    server.create("labels", json!({"name": "old", "code": "c"})).await;
    let changed = server.send("PATCH", "/api/labels/old/", &json!({"name": "new"})).await;
    assert_eq!((changed.status, &changed.json), (200, &json!({"name": "new", "code": "c", "weight": 1})));
    assert_eq!(server.get("/api/labels/old/").await.status, 404);
    assert_eq!(server.get("/api/labels/new/").await.status, 200);
}

async fn with_comments() -> Server {
    let server = Server::start().await;
    for (topic, body, score, rating, status) in [
        (1, "Alpha", 5, json!(1.5), "published"),
        (1, "beta", 0, Json::Null, "draft"),
        (2, "ALPHABET", -5, json!(2.0), "hidden"),
        (2, "50% off_x", 5, Json::Null, "published"),
        (1, "ΣΟΦΟΣ", 7, json!(1.5), "published"),
    ] {
        let body =
            json!({"topic_id": topic, "body": body, "score": score, "rating": rating, "status": status});
        server.create("comments", body).await;
    }
    server
}

async fn listed(server: &Server, query: &str) -> Vec<u64> {
    let list = server.read(&format!("/api/comments/?{query}")).await;
    let rows = list["results"].as_array().expect("rows");
    rows.iter().filter_map(|row| row["id"].as_u64()).collect()
}

#[tokio::test]
async fn a_query_string_filters() {
    let server = with_comments().await;
    for (query, expected) in [
        ("", &[1, 2, 3, 4, 5][..]),
        ("ids=1,2,3", &[1, 2, 3]),
        ("ids=3&ids=1,5", &[1, 3, 5]),
        ("ids=", &[]),
        ("pk__in=2", &[2]),
        ("pk=2", &[2]),
        ("id__gt=3", &[4, 5]),
        ("topic=1", &[1, 2, 5]),
        ("not__topic=1", &[3, 4]),
        ("topic=1&min_score=5", &[1, 5]),
        ("text=alpha", &[1, 3]),
        ("text=%25+off_", &[4]),
        ("body__contains=lpha", &[1]),
        ("body__startswith=Al", &[1]),
        ("body__istartswith=al", &[1, 3]),
        ("body__iendswith=%CF%83", &[5]),
        ("body__iexact=%CF%83%CE%BF%CF%86%CE%BF%CF%82", &[5]),
        ("rating__isnull=true", &[2, 4]),
        ("rating__isnull=false", &[1, 3, 5]),
        ("rating=1.5", &[1, 5]),
        ("not__rating=1.5", &[2, 3, 4]),
        ("not__rating__gt=1.5", &[1, 2, 4, 5]),
        ("rating__in=2,1.5", &[1, 3, 5]),
        ("score__range=-5,0", &[2, 3]),
        ("not__score__range=-5,0", &[1, 4, 5]),
        ("status=draft", &[2]),
        ("status__in=draft,hidden", &[2, 3]),
        ("not__status__in=draft,hidden", &[1, 4, 5]),
        ("score__lt=99999999999999999999", &[1, 2, 3, 4, 5]),
        ("score=99999999999999999999", &[]),
        ("created_at__gt=2026-01-01", &[1, 2, 3, 4, 5]),
        ("created_at__lt=2026-01-01T00:00:00Z", &[]),
        ("body=", &[]),
        ("ordering=-score,id", &[5, 1, 4, 2, 3]),
        ("ordering=rating", &[1, 5, 3, 2, 4]),
        ("ordering=-rating,-pk", &[4, 2, 3, 5, 1]),
        ("ordering=body", &[4, 3, 1, 2, 5]),
        ("limit=2&offset=1", &[2, 3]),
        ("offset=9", &[]),
    ] {
        assert_eq!(listed(&server, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_query_string_that_is_not_understood_is_refused() {
    let server = with_comments().await;
    for (query, code) in [
        ("what=1", "unknown_field"),
        ("not__what=1", "unknown_field"),
        ("body__what=1", "unknown_lookup"),
        ("score__contains=1", "unknown_lookup"),
        ("topic=x", "validation_error"),
        ("topic=1&topic=2", "validation_error"),
        ("ids=1,x", "validation_error"),
        ("ids=1,,2", "validation_error"),
        ("score__range=1", "validation_error"),
        ("score__range=1,2,3", "validation_error"),
        ("rating__isnull=1", "validation_error"),
        ("status=what", "validation_error"),
        ("limit=0", "validation_error"),
        ("limit=1001", "validation_error"),
        ("limit=x", "validation_error"),
        ("limit=1&limit=1", "validation_error"),
        ("offset=-1", "validation_error"),
        ("offset=0&cursor=x", "validation_error"),
        ("cursor=x", "validation_error"),
        ("ordering=what", "validation_error"),
        ("search=x&search=y", "validation_error"),
        ("page=0", "validation_error"),
        ("page=1&offset=0", "validation_error"),
        ("page=1&cursor=x", "validation_error"),
        ("limit=1&page_size=1", "validation_error"),
        ("fields=what", "unknown_field"),
        ("expand=what", "validation_error"),
        ("topic__what=1", "unknown_field"),
        ("count=maybe", "validation_error"),
        ("topic=%zz", "bad_request"),
        ("topic=%ff", "bad_request"),
    ] {
        assert_problem(&server.get(&format!("/api/comments/?{query}")).await, 400, code);
    }
    for reserved in ["form", "actions", "snapshot", "since", "wait"] {
        let answer = server.get(&format!("/api/comments/?{reserved}=1")).await;
        assert_eq!(answer.status, 400, "{reserved}: {}", answer.text);
    }
    let unknown = server.get("/api/comments/?what=1").await;
    assert!(unknown.json["errors"]["what"][0].as_str().is_some_and(|choices| choices.contains("min_score")));
}

#[tokio::test]
async fn pages_are_walked_by_their_links_there_and_back() {
    let server = Server::start().await;
    for number in 0..25 {
        server.create("labels", json!({"name": format!("n{number:02}"), "weight": number % 3})).await;
    }
    for ordering in ["name", "-weight,name", "code", "-code", "weight"] {
        let first = format!("/api/labels/?limit=4&not__name=n07&ordering={ordering}");
        let all =
            server.read(&format!("/api/labels/?not__name=n07&ordering={ordering}")).await["results"].clone();
        let mut rows = Vec::new();
        let mut pages = Vec::new();
        let mut link = Some(first.clone());
        while let Some(path) = link {
            let page = server.read(&path).await;
            assert_eq!(page["count"], 24, "{path}");
            rows.extend(page["results"].as_array().expect("rows").clone());
            link = page["next"].as_str().map(str::to_owned);
            pages.push(page);
        }
        assert_eq!(json!(rows), all, "{ordering}");
        assert_eq!(pages.len(), 6);
        assert_eq!(pages[0]["previous"], Json::Null);
        // And back again.
        for at in (0..5).rev() {
            let path = pages[at + 1]["previous"].as_str().expect("a link back").to_owned();
            let page = server.read(&path).await;
            assert_eq!(page["results"], pages[at]["results"], "{ordering}");
        }
    }
}

#[tokio::test]
async fn a_page_reached_by_next_neither_repeats_nor_skips_a_row_that_stayed() {
    let server = Server::start().await;
    for number in 0..10 {
        server.create("labels", json!({"name": format!("n{number}")})).await;
    }
    let first = server.read("/api/labels/?limit=4").await;
    server.send("DELETE", "/api/labels/n1/", &Json::Null).await;
    server.send("DELETE", "/api/labels/n3/", &Json::Null).await;
    server.create("labels", json!({"name": "a"})).await;
    let next = server.read(first["next"].as_str().expect("a link")).await;
    let names: Vec<&Json> =
        next["results"].as_array().expect("rows").iter().map(|row| &row["name"]).collect();
    assert_eq!(json!(names), json!(["n4", "n5", "n6", "n7"]));
}

#[tokio::test]
async fn a_count_is_exact_or_null_where_it_is_not_wanted() {
    let server = with_comments().await;
    assert_eq!(server.read("/api/comments/?limit=1").await["count"], 5);
    assert_eq!(server.read("/api/comments/?limit=1&topic=2").await["count"], 2);
    let without = server.read("/api/comments/?limit=1&count=false").await;
    assert_eq!((&without["count"], without["next"].is_string()), (&Json::Null, true));
    assert_eq!(server.read("/api/comments/?count=true").await["count"], 5);
}

#[tokio::test]
async fn numbers_and_text_survive_bit_for_bit() {
    let server = Server::start().await;
    for (rating, body) in [
        (json!(0.1), "plain"),
        // SQLite itself keeps no sign of a zero.
        (json!(-0.1), "\"quoted\" \\ \t \u{7f}"),
        (json!(5e-324), "line\nbreak\r\n"),
        (json!(1.797_693_134_862_315_7e308), "ü ß ẞ 💥 \u{200d} \u{2028}"),
        (json!(1), "  not trimmed  "),
        (json!(0.300_000_000_000_000_04), "</script>"),
    ] {
        let created = server.create("comments", json!({"topic_id": 1, "body": body, "rating": rating})).await;
        let read = server.read(&format!("/api/comments/{}/", created["id"])).await;
        assert_eq!(read, created);
        assert_eq!(read["body"], body);
        assert_eq!(read["rating"].as_f64().map(f64::to_bits), rating.as_f64().map(f64::to_bits), "{rating}");
    }
    let big = json!({"name": "big", "weight": i64::MAX});
    assert_eq!(server.create("labels", big).await["weight"], i64::MAX);
}

#[tokio::test]
async fn a_number_that_json_does_not_have_is_a_name() {
    let server = Server::start().await;
    let infinity = if on_postgres() { "double precision 'infinity'" } else { "9e999" };
    server
        .write(format!(
            "INSERT INTO comments (topic_id, author_id, body, rating, created_at)
             VALUES (1, 1, 'x', {infinity}, '2026-01-01 00:00:00'), (1, 1, 'y', -{infinity}, '2026-01-01 00:00:00')",
        ))
        .await;
    let list = server.read("/api/comments/?ordering=-rating&rating__isnull=false").await;
    assert_eq!(
        (&list["results"][0]["rating"], &list["results"][1]["rating"]),
        (&json!("Infinity"), &json!("-Infinity"))
    );
    let refused = json!({"topic_id": 1, "body": "x", "rating": "Infinity"});
    assert_errors(&server.send("POST", "/api/comments/", &refused).await, &["rating"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_opaque_500() {
    let server = Server::start().await;
    server
        .write(
            "INSERT INTO comments (topic_id, author_id, body, status, created_at)
             VALUES (1, 1, 'x', 'secret-status', '2026-01-01 00:00:00')",
        )
        .await;
    for path in ["/api/comments/", "/api/comments/1/"] {
        let answer = server.get(path).await;
        assert_problem(&answer, 500, "internal");
        assert!(!answer.text.contains("secret") && !answer.text.contains("status of"), "{}", answer.text);
    }
    assert_eq!(server.read("/api/topic-feed/").await["count"], 1, "other streams are served");
}
