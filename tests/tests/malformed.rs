//! Whatever a text or binary frame contains, it is answered once and the socket goes on.

use std::collections::BTreeSet;

use realtime_actix::Limits;
use realtime_core::{Kind, Lookup, LookupSet};
use realtime_tests::{Incoming, Server, Setup, Socket, at};
use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::Message;

/// The statuses of an error with the codes that belong to them.
const CODES: &[(u64, &[&str])] = &[
    (
        400,
        &[
            "bad_request",
            "parse_error",
            "validation_error",
            "unknown_field",
            "unknown_lookup",
            "unsupported_frame",
        ],
    ),
    (404, &["not_found"]),
    (405, &["action_not_allowed"]),
    (409, &["conflict"]),
];

/// Values of every JSON type, and odd ones.
fn values() -> Vec<Json> {
    vec![
        Json::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!("\u{0}"),
        json!([]),
        json!([[1]]),
        json!({}),
        json!({"a": {"b": null}}),
    ]
}

fn broken_json() -> Vec<String> {
    let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    let mut frames: Vec<String> = [
        "",
        " ",
        "\n",
        "{",
        "}",
        "[",
        "]",
        "{]",
        "[}",
        "\"",
        "\\",
        "'",
        "nul",
        "nulll",
        "tru",
        "NaN",
        "-",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "0x10",
        "Infinity",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1 \"b\":2}",
        "{\"action\":\"ping\"",
        "{\"action\":\"ping\"}}",
        "{\"action\":\"ping\"}{\"action\":\"ping\"}",
        "{\"action\":\"ping\"} x",
        "{\"action\":\"pi\nng\"}",
        "{\"action\":\"\\u12\"}",
        "{\"action\":\"\\x41\"}",
        "{\"action\":\"\\ud800\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "\u{feff}{\"action\":\"ping\"}",
        "/* */{\"action\":\"ping\"}",
        "{\"request_id\":1e400,\"action\":\"ping\"}",
        "{\"request_id\":-1e999999999999}",
        "ping",
        "<xml/>",
        "GET / HTTP/1.1",
        "\u{0}",
        "{\u{0}}",
        "{\"a\":\"\u{1}\"}",
        "\u{fffd}",
        "[\"join_ref\",\"ref\",\"topic\",\"event\",{}]",
        "42[\"event\"]",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    for depth in [128, 1_000, 100_000] {
        frames.push("[".repeat(depth));
        frames.push(deep("[", "]", depth));
        frames.push(deep("{\"a\":", "}", depth));
        frames.push(format!("{{\"request_id\":1,\"payload\":{}}}", deep("[", "]", depth)));
    }
    frames.push("1".repeat(100_000));
    frames.push(format!("{{\"action\":{}}}", "9".repeat(10_000)));
    frames.push("\"".repeat(1_001));
    frames.push("x".repeat(1 << 20));
    frames
}

/// One JSON value that is no object.
fn no_objects() -> Vec<String> {
    values().iter().filter(|value| !value.is_object()).map(Json::to_string).collect()
}

/// A good message with one member of a wrong type.
fn wrong_types() -> Vec<Json> {
    let good = || json!({"stream": "comments", "action": "update", "pk": 1, "payload": {"body": "x"}, "request_id": "t"});
    let mut frames = Vec::new();
    for value in values() {
        for member in ["stream", "action", "pk", "payload", "request_id"] {
            let is_right = match member {
                "stream" | "action" => false,
                // The row 1 is not there: a key of any type is that of no row.
                "pk" => false,
                "payload" => false,
                _ => value.is_string() || value.is_number() || value.is_null(),
            };
            let mut frame = good();
            frame[member] = value.clone();
            if is_right {
                // What is wrong is then the payload.
                frame["payload"] = json!([]);
            }
            frames.push(frame);
        }
        for option in ["form", "fields", "actions", "snapshot", "since"] {
            let is_right = match (option, &value) {
                ("form" | "actions", _) => false,
                ("fields", value) => *value == json!([]),
                ("snapshot", Json::Bool(_)) => true,
                (_, Json::Null) => true,
                _ => false,
            };
            if !is_right {
                frames.push(json!({"stream": "comments/subscribe", option: value}));
            }
        }
        for option in [
            "limit",
            "offset",
            "page",
            "page_size",
            "cursor",
            "ordering",
            "count",
            "search",
            "fields",
            "expand",
        ] {
            let is_right = match (option, &value) {
                ("offset", Json::Number(number)) => number.as_i64().is_some_and(|number| number >= 0),
                ("count", Json::Bool(_)) => true,
                ("ordering" | "fields" | "expand", Json::String(text)) => text.is_empty(),
                ("fields" | "expand", Json::Array(names)) => names.is_empty(),
                ("search", Json::String(_)) => true,
                _ => false,
            };
            if !is_right {
                frames.push(json!({"stream": "comments/list", option: value}));
            }
        }
        if !matches!(value, Json::String(_)) {
            frames.push(json!({"stream": "comments/unsubscribe", "subscription": value}));
        }
        frames.push(json!({"action": "authenticate", "payload": value}));
        if !value.is_null() && !value.is_object() {
            frames.push(json!({"action": "ping", "payload": value}));
        }
        frames.push(json!({"action": "ping", "fields": value}));
    }
    frames
}

fn bad_addresses() -> Vec<Json> {
    let mut frames = Vec::new();
    for address in [
        "",
        "/",
        "//",
        "///",
        " ",
        "comments",
        "/comments/",
        "comments//1",
        "comments/",
        "comments/update",
        "comments/update/",
        "comments/update//",
        "comments/update/1/2",
        "comments/update/1/2/3/4/5",
        "Comments/list",
        "comments/LIST",
        "comments/list/1",
        "comments/create/1",
        " comments/list",
        "comments /list",
        "comments/ list",
        "comments.list",
        "comments\\list",
        "comments/list?limit=1",
        "comments/list#x",
        "%",
        "%/list",
        "comments/%",
        "comments/%2",
        "comments/%zz/1",
        "comments/retrieve/%",
        "comments/retrieve/%4",
        "comments/retrieve/%GG",
        "comments/retrieve/%ff",
        "comments/retrieve/%c3",
        "comments/retrieve/%00",
        "comments/retrieve/%ed%a0%80",
        "comments%2Flist",
        "%2Fcomments/list",
        "../comments/list",
        "comments/../topics/list",
        "./list",
        "ws/list",
        "realtime_log/list",
        "users/list",
        "comments\u{0}/list",
        "комментарии/list",
        "comments/retrieve/💥",
        "comments/retrieve/1e1000",
        "comments/retrieve/0x1",
        "comments/retrieve/+1",
        "comments/retrieve/ 1",
        "comments/retrieve/9223372036854775808",
        "comments/retrieve/-9223372036854775809",
        "comments/retrieve/1.0",
        "comments/retrieve/NaN",
        "comments/retrieve/true",
        "comments/retrieve/null",
        "topic-feed/create",
        "topic-feed/update/1",
        "topic-feed/replace/1",
        "topic-feed/delete/1",
        "ping/ping",
        "labels/retrieve/",
        "labels/retrieve/%00",
        "nothing/subscribe",
        "comments/ping",
        "comments/authenticate",
    ] {
        frames.push(json!({"stream": address, "request_id": address}));
    }
    frames.push(json!({"stream": "comments/".to_owned() + &"x".repeat(100_000), "request_id": "long"}));
    frames.push(json!({"stream": "x/".repeat(10_000), "request_id": "many"}));
    for (address, members) in [
        ("comments/list", json!({"action": "update"})),
        ("comments/retrieve/1", json!({"pk": 2})),
        ("comments/retrieve/1", json!({"pk": "01"})),
        ("comments/retrieve/1", json!({"pk": [1]})),
        ("comments/retrieve/1", json!({"action": "retrieve/1"})),
        ("comments", json!({"action": "list", "pk": 1})),
        ("comments", json!({"action": "create", "pk": 1})),
        ("comments", json!({"action": ""})),
        ("comments", json!({"action": "list/"})),
        ("comments", json!({"action": "Create"})),
        ("comments", json!({"action": "update"})),
        ("comments/list", json!({"limit": 1, "offset": 0, "cursor": "x"})),
        ("comments/list", json!({"unheard_of": 1})),
        ("comments/create", json!({"fields": []})),
        ("comments/retrieve", json!({"pk": 1, "form": "full"})),
        ("comments/subscribe", json!({"snapshot": "yes"})),
        ("comments/subscribe", json!({"since": "0000000000000000-"})),
        ("comments/subscribe", json!({"since": false})),
        ("comments/subscribe", json!({"subscription": "x"})),
        ("comments/subscribe", json!({"actions": ["create", "what"]})),
        ("comments/subscribe", json!({"actions": ["create", 1]})),
        ("comments/subscribe", json!({"fields": ["body", "what"]})),
        ("comments/subscribe", json!({"fields": ["body", 1]})),
        ("comments/subscribe", json!({"form": "FULL"})),
        ("comments/unsubscribe", json!({"subscription": "x", "payload": {"topic": 1}})),
        ("comments/list", json!({"limit": 0})),
        ("comments/list", json!({"limit": 1001})),
        ("comments/list", json!({"limit": "1001"})),
        ("comments/list", json!({"limit": "-1"})),
        ("comments/list", json!({"offset": "9223372036854775808"})),
        ("comments/list", json!({"cursor": "AAAA"})),
        ("comments/list", json!({"cursor": "WzFd"})),
        ("comments/list", json!({"ordering": "what"})),
        ("comments/list", json!({"ordering": "--id"})),
        ("comments/list", json!({"ordering": "id;drop table comments"})),
        ("topic-feed/list", json!({"ordering": "body"})),
        ("labels/list", json!({"search": "x"})),
    ] {
        let mut frame = members;
        frame["stream"] = address.into();
        frame["request_id"] = 1.into();
        frames.push(frame);
    }
    frames
}

/// Filters: unknown names, lookups that a type does not have, and arguments that are not of it.
fn bad_filters() -> Vec<Json> {
    let mut filters = Vec::new();
    for key in [
        "",
        "__",
        "what",
        "not__",
        "not__what",
        "not__not__body",
        "body__",
        "__exact",
        "body__what",
        "body__exact__what",
        "BODY",
        "body__EXACT",
        "pk__what",
        "pk__contains",
        "ids__in",
        "ids__exact",
        "topic__exact",
        "limit",
        "ordering",
        "body\u{0}",
        "body ",
        "topic_id__title",
        "'; --",
        "realtime_log",
        "rowid",
        "id__iexact",
        "score__contains",
        "rating__startswith",
        "status__gt",
        "status__icontains",
        "created_at__contains",
        "author_id__endswith",
    ] {
        filters.push(json!({ key: "1" }));
    }
    let integer = Kind::Integer { min: 0, max: 1 };
    let fields = [
        ("id", integer),
        ("score", integer),
        ("rating", Kind::Float),
        ("created_at", Kind::Timestamp),
        ("status", Kind::Enum(|| &[])),
        ("body", Kind::Text),
    ];
    let bad = [json!({}), json!({"a": 1}), json!([[]]), json!(["x", null])];
    for (field, kind) in fields {
        for lookup in LookupSet::of_kind(kind).iter().map(Lookup::name) {
            for value in &bad {
                filters.push(json!({ format!("{field}__{lookup}"): value }));
            }
            match lookup {
                "in" | "range" => filters.push(json!({ format!("not__{field}__{lookup}"): "1,2" })),
                "isnull" => filters.push(json!({ format!("{field}__{lookup}"): "yes" })),
                "exact" => {}
                _ => filters.push(json!({ format!("{field}__{lookup}"): null })),
            }
        }
        filters.push(json!({ format!("{field}__range"): [] }));
        filters.push(json!({ format!("{field}__range"): ["1", "2", "3"] }));
    }
    for value in [json!("x"), json!(1.5), json!("1.5"), json!(""), json!(true), json!("0x1"), json!("１")] {
        filters.push(json!({ "score": value }));
        filters.push(json!({ "ids": [1, value] }));
        filters.push(json!({ "score__range": [1, value] }));
    }
    for value in
        [json!("x"), json!("inf"), json!("nan"), json!("1e400"), json!(""), json!(true), json!("1,5")]
    {
        filters.push(json!({ "rating__gt": value }));
    }
    for value in [json!("what"), json!("Published"), json!(""), json!(1), json!(true)] {
        filters.push(json!({ "status": value }));
    }
    for value in [
        json!("today"),
        json!("2026-13-01"),
        json!("2026-02-30"),
        json!(1_700_000_000),
        json!("12:00"),
        json!(""),
    ] {
        filters.push(json!({ "created_at__gt": value }));
    }
    for value in [json!(1), json!(true), json!("x".repeat(257))] {
        filters.push(json!({ "text": value }));
    }
    filters.push(json!({ "ids": vec![1; 1_001] }));
    filters.push(
        (0..33)
            .map(|at| (format!("score__{}", ["gt", "lt"][at % 2]), json!(at)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    );
    let many: serde_json::Map<String, Json> = (0..33)
        .map(|at| {
            let (negation, field) =
                (["", "not__"][at % 2], ["body", "score", "rating", "id", "status", "author_id"][at / 2 % 6]);
            let lookup = ["exact", "in", "isnull"][at / 12];
            (format!("{negation}{field}__{lookup}"), if at / 12 == 2 { json!(true) } else { json!([]) })
        })
        .collect();
    filters.push(many.into());
    let mut frames = Vec::new();
    for (number, filter) in filters.into_iter().enumerate() {
        // Two equal keys of the first long filter leave two: it is no mistake.
        if filter.as_object().is_some_and(|filter| filter.len() == 2) {
            continue;
        }
        let action = ["list", "subscribe", "unsubscribe"][number % 3];
        frames.push(json!({"stream": "comments", "action": action, "payload": filter, "request_id": number}));
    }
    frames
}

fn bad_payloads() -> Vec<Json> {
    let mut payloads = Vec::new();
    let good = || json!({"topic_id": 1, "body": "x"});
    let with = |field: &str, value: Json| {
        let mut payload = good();
        payload[field] = value;
        payload
    };
    for value in [
        json!("1"),
        json!(1.5),
        json!(true),
        json!([1]),
        json!({}),
        Json::Null,
        json!(2_147_483_648_i64),
        json!(1e300),
        json!(-5),
    ] {
        payloads.push(with("topic_id", value));
    }
    for value in
        [json!("1"), json!(0.5), json!(false), Json::Null, json!(-2_147_483_649_i64), json!(u64::MAX)]
    {
        payloads.push(with("score", value));
    }
    for value in [json!("1"), json!("NaN"), json!(true), json!([]), json!({"a": 1})] {
        payloads.push(with("rating", value));
    }
    for value in [json!("what"), json!("PUBLISHED"), json!(""), json!(0), Json::Null, json!(["draft"])] {
        payloads.push(with("status", value));
    }
    for value in [
        json!(1),
        json!(true),
        Json::Null,
        json!([]),
        json!({}),
        json!(""),
        json!("a\u{0}b"),
        json!("x".repeat(10_001)),
    ] {
        payloads.push(with("body", value));
    }
    for name in ["what", "", "Body", "body ", "password_hash", "body__exact", "realtime", "pk", "\u{0}", "💥"]
    {
        payloads.push(with(name, json!(1)));
    }
    payloads.extend([json!({}), json!({"topic_id": 1}), json!({"body": "x"}), json!({"score": 1, "id": 5})]);
    let wide: serde_json::Map<String, Json> = (0..5_000).map(|at| (format!("f{at}"), json!(at))).collect();
    payloads.push(wide.into());
    let mut frames: Vec<Json> = payloads
        .into_iter()
        .map(|payload| json!({"stream": "comments/create", "payload": payload, "request_id": "payload"}))
        .collect();
    for value in values() {
        if !value.is_object() && !value.is_null() {
            frames.push(json!({"stream": "labels/create", "payload": value}));
        }
        if !matches!(&value, Json::String(_)) {
            frames.push(json!({"stream": "labels/create", "payload": {"name": value}}));
        }
        if !matches!(value.as_i64(), Some(number) if number >= 0) {
            frames.push(json!({"stream": "labels/create", "payload": {"name": "n", "weight": value}}));
        }
    }
    frames.push(json!({"stream": "labels/create", "payload": {"name": "taken"}}));
    frames.push(json!({"stream": "labels/update/taken", "payload": {"weight": -1}}));
    frames.push(json!({"stream": "labels/update/taken", "payload": {"name": null}}));
    frames.push(json!({"stream": "labels/replace/taken", "payload": {"weight": 3}}));
    frames
}

fn frames() -> Vec<Message> {
    let mut texts = broken_json();
    texts.extend(no_objects());
    let objects = [wrong_types(), bad_addresses(), bad_filters(), bad_payloads()].concat();
    texts.extend(objects.iter().map(Json::to_string));
    // A member that comes twice is once wrong and once right.
    texts.push(r#"{"request_id": [], "request_id": 1, "stream": "comments/what"}"#.to_owned());
    texts.push(
        r#"{"request_id": 12345678901234567890123456789012345678901234567890, "stream": "x"}"#.to_owned(),
    );
    let mut seen = BTreeSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    let mut frames: Vec<Message> = texts.into_iter().map(Message::text).collect();
    for bytes in [&b""[..], b"{}", br#"{"action": "ping"}"#, &[0xff; 100], &[0; 70_000]] {
        frames.push(Message::binary(bytes.to_vec()));
    }
    frames
}

/// What of a frame its reply must echo.
fn request_id(frame: &Message) -> Json {
    let Message::Text(text) = frame else { return Json::Null };
    let json: Json = serde_json::from_str(text.as_str()).unwrap_or_default();
    match json.get("request_id") {
        Some(id) if id.is_string() || id.is_number() => id.clone(),
        _ => Json::Null,
    }
}

fn shown(frame: &Message) -> String {
    let text = match frame {
        Message::Text(text) => text.as_str().to_owned(),
        other => format!("{other:?}"),
    };
    text.chars().take(300).collect()
}

async fn unlimited(setup: Setup) -> Server {
    setup.configure(|connect| connect.limits(Limits::default().without_rates())).start().await
}

#[tokio::test]
async fn every_malformed_frame_gets_one_error_and_the_socket_goes_on() {
    let server = unlimited(Setup::file()).await;
    server.create("labels", json!({"name": "taken"})).await;
    let mut socket = Socket::open(&server).await;
    let frames = frames();
    assert!(frames.len() > 600, "only {} frames", frames.len());
    let mut codes = BTreeSet::new();
    for (number, frame) in frames.iter().enumerate() {
        let barrier = format!("after {number}");
        socket.send_message(frame.clone()).await;
        socket.send_text(json!({"action": "ping", "request_id": barrier}).to_string()).await;
        let mut error = None;
        let mut passed = false;
        while error.is_none() || !passed {
            let Incoming::Text(text) = socket.receive().await else {
                panic!("the socket ended at {}", shown(frame));
            };
            let reply: Json = serde_json::from_str(&text).expect("a reply is JSON");
            if reply["request_id"] == barrier.as_str() {
                assert!(!passed, "a second ping reply: {reply}");
                passed = true;
                continue;
            }
            assert_eq!(error, None, "a second reply to {}: {reply}", shown(frame));
            error = Some(reply);
        }
        let reply = error.expect("a reply");
        let known = CODES.iter().find(|(status, _)| reply["status"] == *status);
        let code = at(&reply, "error.code").as_str().unwrap_or_default().to_owned();
        assert!(
            known.is_some_and(|(_, codes)| codes.contains(&code.as_str())),
            "{} is answered by {reply}",
            shown(frame)
        );
        assert_eq!(reply["request_id"], request_id(frame), "{} is answered by {reply}", shown(frame));
        assert_eq!(reply["type"], "reply");
        assert!(reply.get("stream").is_some() && reply.get("action").is_some(), "{reply}");
        codes.insert(code);
    }
    let all: BTreeSet<String> =
        CODES.iter().flat_map(|(_, codes)| *codes).map(|code| (*code).to_owned()).collect();
    assert_eq!(codes, all, "every code is met");

    socket.subscribe("comments", json!({})).await;
    let reply =
        socket.request(json!({"stream": "comments/create", "payload": {"topic_id": 1, "body": "x"}})).await;
    assert_eq!(reply["status"], 201);
    assert_eq!(server.read("/api/comments/").await["count"], 1, "nothing else was created: {reply}");
    assert_eq!(socket.next_event().await["pk"], *at(&reply, "data.id"));
    socket.assert_silent(&server).await;
}

/// Bytes of a good message changed, removed and added, from a fixed seed.
#[tokio::test]
async fn a_good_message_with_a_few_other_bytes_is_answered_once() {
    let server = unlimited(Setup::memory()).await;
    let mut socket = Socket::open(&server).await;
    let good = [
        json!({"request_id": 7, "stream": "comments/update/3/", "payload": {"body": "hi"}}).to_string(),
        json!({"stream": "comments", "action": "subscribe", "payload": {"ids": [1, 2], "text": "ä"}, "form": "full"}).to_string(),
        json!({"stream": "comments/list", "payload": {"created_at__range": ["2026-01-01", null]}, "limit": 5}).to_string(),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("small")
    };
    for number in 0..1_000 {
        let mut characters: Vec<char> = good[number % good.len()].chars().collect();
        for _ in 0..=random(3) {
            let place = random(characters.len());
            match random(3) {
                0 => characters[place] = ['"', '{', '[', '\\', '0', ',', '\u{0}', 'é'][random(8)],
                1 => drop(characters.remove(place)),
                _ => characters.insert(place, characters[random(characters.len())]),
            }
        }
        let text: String = characters.into_iter().collect();
        socket.send_text(text.clone()).await;
        socket.send_text(r#"{"action": "ping", "request_id": "barrier"}"#).await;
        let mut replies = Vec::new();
        while replies.len() < 2 {
            let Incoming::Text(reply) = socket.receive().await else {
                panic!("the socket ended at {text:?}")
            };
            replies.push(serde_json::from_str::<Json>(&reply).expect("a reply is JSON"));
        }
        let barriers = replies.iter().filter(|reply| reply["request_id"] == "barrier").count();
        assert_eq!(barriers, 1, "{text:?} is answered by {replies:?}");
    }
    assert_eq!(socket.request(json!({"stream": "topics/retrieve/1"})).await["status"], 200);
}
