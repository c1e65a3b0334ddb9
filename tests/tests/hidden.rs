//! Fields that are hidden from some: over every transport they are neither shown nor told of, and to name one is to name
//! nothing.

use std::time::Duration;

use realtime_actix::policy::{AllowAny, Ask, Permission as _, Policy, Verdict};
use realtime_actix::testing::Users;
use realtime_actix::{Context, Draft, Error, Fields, Hooks, Principal, RealtimeResource};
use realtime_tests::{ANN, Account, Handshake, Server, Setup, Socket, StreamRequest, at, people};
use serde_json::{Value as Json, json};

use tables::{comments, labels};

mod tables {
    diesel::table! {
        comments (id) {
            id -> BigInt,
            topic_id -> Integer,
            author_id -> Integer,
            body -> Text,
            score -> Integer,
            rating -> Nullable<Double>,
            created_at -> realtime_actix::types::sql::UtcTimestamp,
        }
    }

    diesel::table! {
        labels (name) {
            name -> Text,
            code -> Nullable<Text>,
            weight -> BigInt,
        }
    }
}

// What is written as its documentation is shown to everybody: it does not say what is hidden.
/// A comment of which staff sees more.
#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(
    stream = "reviews",
    subscription_field_mapping(min_score = "score__gte", text = "body__contains"),
    lookups(all),
    ordering(all),
    policy,
    hooks
)]
struct Review {
    #[realtime(read_only)]
    id: i64,
    #[realtime(default = 1)]
    topic_id: i32,
    #[realtime(default = 1)]
    author_id: i32,
    body: String,
    #[realtime(default = 0)]
    score: i32,
    rating: Option<f64>,
    #[realtime(read_only, on_create = |context| realtime_actix::types::UtcTimestamp(context.now))]
    created_at: realtime_actix::types::UtcTimestamp,
}

impl Policy for Review {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        AllowAny.decide(ask)
    }

    fn hidden(principal: &Principal) -> Fields<Self> {
        let of_staff = Fields::of(comments::score).or(Fields::of(comments::rating));
        if Account::is_staff(principal) { Fields::none() } else { of_staff }
    }
}

impl Hooks for Review {
    fn validate(draft: &mut Draft, _before: Option<&Self>, _context: &Context<'_>) -> Result<(), Error> {
        match draft.value::<String>("body").as_deref() {
            Some("collected") => draft.refuse("score", "secret reason"),
            Some("returned") => return Err(Error::validation("rating", "secret reason")),
            _ => {}
        }
        Ok(())
    }
}

/// A label whose unique code is for staff, and made of its name.
#[derive(RealtimeResource)]
#[diesel(table_name = labels, primary_key(name))]
#[realtime(stream = "marks", policy, hooks)]
struct Mark {
    name: String,
    code: Option<String>,
    #[realtime(default = 1)]
    weight: i64,
}

impl Policy for Mark {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        AllowAny.decide(ask)
    }

    fn hidden(principal: &Principal) -> Fields<Self> {
        if Account::is_staff(principal) { Fields::none() } else { Fields::of(labels::code) }
    }
}

impl Hooks for Mark {
    fn validate(draft: &mut Draft, before: Option<&Self>, _context: &Context<'_>) -> Result<(), Error> {
        let first = draft.value::<String>("name").and_then(|name| name.chars().next());
        if before.is_none()
            && let Some(first) = first
        {
            draft.set("code", Some(first.to_string()));
        }
        Ok(())
    }
}

async fn server() -> (Server, Users) {
    let users = people();
    let known = users.clone();
    let setup = Setup::file().configure(move |connect| {
        let connect = connect.resource::<Review>().resource::<Mark>();
        connect.authenticator(known).recheck_interval(Duration::from_secs(3600))
    });
    let server = setup.start().await;
    server
        .write(
            "INSERT INTO comments (topic_id, author_id, body, score, rating, created_at) VALUES
             (1, 1, 'first', 777001, 0.777002, '2026-01-01 00:00:00'),
             (1, 1, 'second', 777003, NULL, '2026-01-01 00:00:00')",
        )
        .await;
    (server, users)
}

async fn socket_of(server: &Server, token: &str) -> Socket {
    let handshake = Handshake::to("/api/ws").header("authorization", format!("Bearer {token}"));
    handshake.open(server).await.expect("a known token opens a socket").0
}

async fn request(server: &Server, token: &str, method: &str, path: &str, body: &str) -> (u16, String, Json) {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let answer = server.http(method, path, &headers, body.to_owned()).await;
    // What the answer says outside its body, but for the time.
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date" && *name != "realtime-cursor")
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    (answer.status, format!("{}\n{}", headers.join("\n"), answer.text), answer.json)
}

/// Fields and an alias, each with a name of the same length that is nobody's.
const HIDDEN: [(&str, &str); 3] = [("score", "scorx"), ("rating", "ratinx"), ("min_score", "min_scorx")];

/// Requests that name one.
const NAMING: &[(&str, &str, &str)] = &[
    ("GET", "/api/reviews/?NAME=1", ""),
    ("GET", "/api/reviews/?NAME=nonsense", ""),
    ("GET", "/api/reviews/?text=x&NAME__in=1,2", ""),
    ("GET", "/api/reviews/?NAME__gte=1&count=false", ""),
    ("GET", "/api/reviews/?not__NAME__isnull=true", ""),
    ("GET", "/api/reviews/?NAME__nonsense=1", ""),
    ("GET", "/api/reviews/?NAME__year__gte=1", ""),
    ("GET", "/api/reviews/?ordering=NAME", ""),
    ("GET", "/api/reviews/?ordering=-body,-NAME", ""),
    ("GET", "/api/reviews/events?NAME=1", ""),
    ("GET", "/api/reviews/events?fields=body,NAME", ""),
    ("GET", "/api/reviews/changes?NAME__range=1,2", ""),
    ("GET", "/api/reviews/changes?fields=NAME", ""),
    ("POST", "/api/reviews/", r#"{"body": "x", "NAME": 1}"#),
    ("POST", "/api/reviews/", r#"{"NAME": "of another type"}"#),
    ("PATCH", "/api/reviews/1/", r#"{"NAME": 1}"#),
    ("PATCH", "/api/reviews/1/", r#"{"NAME": null, "body": 5}"#),
    ("PUT", "/api/reviews/1/", r#"{"body": "x", "NAME": 1}"#),
];

const SAYING: &[&str] = &[
    r#"{"action": "list", "payload": {"NAME": 1}}"#,
    r#"{"action": "list", "payload": {"NAME__contains": "x"}}"#,
    r#"{"action": "list", "payload": {}, "ordering": "-NAME"}"#,
    r#"{"action": "subscribe", "payload": {"NAME__gt": 1}}"#,
    r#"{"action": "subscribe", "payload": {"not__NAME": [1]}}"#,
    r#"{"action": "subscribe", "payload": {}, "fields": ["NAME"], "snapshot": true}"#,
    r#"{"action": "subscribe", "pk": 1, "payload": {"NAME__lookup": 1}}"#,
    r#"{"action": "unsubscribe", "payload": {"NAME": 1}}"#,
    r#"{"action": "unsubscribe", "payload": {}, "fields": ["NAME", "id"]}"#,
    r#"{"action": "create", "payload": {"NAME": 1}}"#,
    r#"{"action": "update", "pk": 1, "payload": {"NAME": "x"}}"#,
    r#"{"action": "replace", "pk": 1, "payload": {"body": "x", "NAME": 1}}"#,
];

#[actix_web::test]
async fn to_name_a_hidden_field_is_to_name_nothing() {
    let (server, _) = server().await;
    let (mut ann, mut staff) = (socket_of(&server, "ann").await, socket_of(&server, "staff").await);
    for (hidden, absent) in HIDDEN {
        let mut accepted = 0;
        for (method, path, body) in NAMING {
            let of = |name: &str| (path.replace("NAME", name), body.replace("NAME", name));
            let ((there, with), (nowhere, without)) = (of(hidden), of(absent));
            let (status, answer, _) = request(&server, "ann", method, &there, &with).await;
            let (expected, said, _) = request(&server, "ann", method, &nowhere, &without).await;
            assert_eq!((status, answer.replace(hidden, absent)), (expected, said), "{method} {there} {with}");
            assert_eq!(status, 400, "{method} {there}");
        }
        for message in SAYING {
            let of = |name: &str| -> Json {
                let mut message: Json =
                    serde_json::from_str(&message.replace("NAME", name)).expect("a message is JSON");
                message["stream"] = "reviews".into();
                message["request_id"] = 1.into();
                message
            };
            let reply = ann.request(of(hidden)).await.to_string();
            assert_eq!(reply.replace(hidden, absent), ann.request(of(absent)).await.to_string());
            assert!(reply.contains(r#""status":400"#), "{reply}");
            accepted += usize::from(staff.request(of(hidden)).await["status"] != 400);
        }
        assert!(accepted > 0, "to staff {hidden} is known");
    }
}

#[actix_web::test]
async fn what_is_hidden_is_in_no_byte_that_is_sent() {
    let (server, _) = server().await;
    let mut ann = socket_of(&server, "ann").await;
    ann.catch_up(&server).await;
    ann.subscribe("reviews", json!({"snapshot": true})).await;
    ann.subscribe("reviews", json!({"form": "full", "payload": {"text": ""}})).await;
    let mut staff = socket_of(&server, "staff").await;
    staff.subscribe("reviews", json!({})).await;
    let mut stream = StreamRequest::to("/api/reviews/events?snapshot=true").token("ann").open(&server).await;
    let changes = "/api/reviews/changes?wait=60";
    let since = request(&server, "ann", "GET", changes, "").await.2["cursor"].clone();
    let since = since.as_str().expect("a cursor");

    let mut seen = String::new();
    let mut statuses = Vec::new();
    for (method, path, body) in [
        ("GET", "/api/reviews/", ""),
        ("GET", "/api/reviews/?limit=1&ordering=-body", ""),
        ("GET", "/api/reviews/1/", ""),
        ("POST", "/api/reviews/", r#"{"body": "third"}"#),
        ("PATCH", "/api/reviews/1/", r#"{"body": "changed"}"#),
        ("PUT", "/api/reviews/2/", r#"{"body": "replaced"}"#),
        ("POST", "/api/reviews/", r#"{"body": "collected"}"#),
        ("PATCH", "/api/reviews/1/", r#"{"body": "returned"}"#),
    ] {
        let (status, answer, _) = request(&server, "ann", method, path, body).await;
        statuses.push(status);
        seen.push_str(&answer);
    }
    assert_eq!(statuses, [200, 200, 200, 201, 200, 200, 400, 400]);
    for message in [
        json!({"stream": "reviews/list"}),
        json!({"stream": "reviews/retrieve/1"}),
        json!({"stream": "reviews/update/1", "payload": {"body": "again"}}),
        json!({"stream": "reviews/create", "payload": {"body": "collected"}}),
    ] {
        seen.push_str(&ann.request(message).await.to_string());
    }
    // What nobody but staff sees changes: nobody but staff is told.
    server.write("UPDATE comments SET score = 777004, rating = 0.777005 WHERE body = 'again'").await;
    server.write("UPDATE comments SET body = 'last', score = 777006 WHERE body = 'again'").await;
    let poll = request(&server, "ann", "GET", &format!("{changes}&since={since}"), "").await;
    seen.push_str(&poll.1);
    let told = stream.catch_up(&server).await;
    let events = ann.events(&server).await;
    for message in told.iter().chain(&events) {
        seen.push_str(&message.to_string());
    }
    for word in ["score", "rating", "7770", "secret"] {
        assert!(!seen.contains(word), "{word} in {seen}");
    }
    let updates = |of: &[Json], member: &str| {
        let updates = of.iter().filter(|event| event["action"] == "update" && !event[member].is_null());
        updates.map(|event| at(event, member)["body"].clone()).collect::<Vec<_>>()
    };
    let bodies = json!(["changed", "replaced", "again", "last"]);
    assert_eq!(Json::from(updates(&events, "diff")), bodies, "in the form of differences");
    assert_eq!(Json::from(updates(&events, "data")), bodies, "whole");
    assert_eq!(Json::from(updates(&told, "diff")), bodies, "as an event stream");
    let diffs: Vec<Json> = staff
        .events(&server)
        .await
        .iter()
        .filter(|event| event["action"] == "update")
        .map(|event| event["diff"].clone())
        .collect();
    let last = json!([{"score": 777_004, "rating": 0.777_005}, {"body": "last", "score": 777_006}]);
    assert_eq!(Json::from(diffs[diffs.len() - 2..].to_vec()), last);

    // What somebody does not see he does not set back, and need not name.
    let rows = request(&server, "staff", "GET", "/api/reviews/?ordering=id", "").await.2;
    let scores: Vec<&Json> =
        rows["results"].as_array().expect("rows").iter().map(|row| &row["score"]).collect();
    assert_eq!(scores, [&json!(777_006), &json!(777_003), &json!(0)]);
}

#[actix_web::test]
async fn a_constraint_on_a_hidden_field_is_not_named() {
    let (server, _) = server().await;
    let create = async |token, name: &str| {
        let body = json!({ "name": name }).to_string();
        request(&server, token, "POST", "/api/marks/", &body).await
    };
    let (status, _, made) = create("ann", "alpha").await;
    assert_eq!((status, made), (201, json!({"name": "alpha", "weight": 1})));
    for (token, field) in [("ann", "non_field_errors"), ("staff", "code")] {
        let (status, _, refused) = create(token, "another").await;
        assert_eq!((status, &refused["errors"]), (409, &json!({ field: ["This value is already taken."] })));
    }
}

#[actix_web::test]
async fn who_sees_other_fields_is_shown_them_at_once_or_has_no_such_filter_any_more() {
    let (server, users) = server().await;
    let mut ann = socket_of(&server, "ann").await;
    ann.catch_up(&server).await;
    let (id, _) = ann.subscribe("reviews", json!({"payload": {"topic_id": 1}})).await;
    ann.subscribe("reviews", json!({"fields": ["body"]})).await;
    let mut stream = StreamRequest::to("/api/reviews/events").token("ann").open(&server).await;
    let rows = |message: &Json| message["data"].as_array().expect("rows").clone();
    for (staff, shown) in [(true, json!(777_001)), (false, Json::Null), (true, json!(777_001))] {
        users.set_admin(&users.named("ann"), staff);
        server.realtime().refresh_user(ANN);
        // What shows the same goes on; the other one keeps its id.
        let lagged = ann.next_event().await;
        assert_eq!((&lagged["type"], &lagged["subscription"]), (&json!("lagged"), &json!(id)));
        let snapshot = ann.next_event().await;
        assert_eq!((&snapshot["subscription"], snapshot["done"].as_bool()), (&json!(id), Some(true)));
        assert_eq!(rows(&snapshot)[0]["score"], shown, "{snapshot}");
    }
    assert_eq!(stream.close_code().await, Some(4401), "an event stream is to begin anew");
    ann.subscribe("reviews", json!({"payload": {"score__gte": 1}})).await;
    users.set_admin(&users.named("ann"), false);
    server.realtime().refresh_user(ANN);
    assert_eq!(ann.closed().await, Some(4401), "what he asked for is nothing to him any more");
}

#[actix_web::test]
async fn metadata_and_tags_are_those_of_what_is_shown() {
    let (server, _) = server().await;
    let authorization = |token: &str| ("authorization", format!("Bearer {token}"));
    let tag = async |token: &str| {
        let (name, value) = authorization(token);
        server.http("GET", "/api/reviews/1/", &[(name, &value)], "").await.header("etag").to_owned()
    };
    for (token, is_named) in [("ann", false), ("staff", true)] {
        for path in ["/api/reviews/", "/api/reviews/1/"] {
            let (name, value) = authorization(token);
            let options = server.http("OPTIONS", path, &[(name, &value)], "").await;
            assert_eq!((options.status, options.text.contains("score")), (200, is_named), "{}", options.text);
            assert!(options.text.contains("body"), "{}", options.text);
        }
    }
    let before = [tag("ann").await, tag("staff").await];
    assert!(before.iter().all(|tag| !tag.is_empty()), "{before:?}");
    server.write("UPDATE comments SET score = score + 1 WHERE id = 1").await;
    let after = [tag("ann").await, tag("staff").await];
    assert_eq!(before[0], after[0], "nothing that she sees has changed");
    assert_ne!(before[1], after[1]);
    // So what she has read is what she changes.
    let (name, value) = authorization("ann");
    let headers = [(name, value.as_str()), ("content-type", "application/json"), ("if-match", &before[0])];
    assert_eq!(server.http("PATCH", "/api/reviews/1/", &headers, r#"{"body": "changed"}"#).await.status, 200);
    assert_eq!(server.http("PATCH", "/api/reviews/1/", &headers, r#"{"body": "again"}"#).await.status, 412);
}
