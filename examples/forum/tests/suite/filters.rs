//! Filters on every column of the forum: over REST, over the socket and in a subscription they select the same rows.

use realtime_tests::Socket;
use serde_json::{Value as Json, json};

use crate::running::{Forum, Login};

/// What may be asked of a field, by what a row has in it: filters that this row satisfies.
fn filters(name: &str, value: &Json) -> Vec<(String, Json)> {
    let key = |lookup: &str| format!("{name}__{lookup}");
    let mut filters = vec![(key("isnull"), json!(value.is_null()))];
    match value {
        Json::Null => filters.push((name.to_owned(), Json::Null)),
        value => {
            filters.push((name.to_owned(), value.clone()));
            filters.push((key("in"), json!([value])));
            filters.push((format!("not__{}", key("isnull")), json!(true)));
        }
    }
    match value {
        Json::Number(_) => {
            filters.push((key("range"), json!([value, value])));
            filters.push((format!("not__{}", key("lt")), value.clone()));
        }
        Json::String(text) if name.ends_with("_at") || name == "due" => {
            filters.push((key("gte"), value.clone()));
            filters.push((key("year"), json!(text[..4])));
            filters.push((key("month__in"), json!([text[5..7].trim_start_matches('0')])));
        }
        Json::String(text) if ["title", "body", "username"].contains(&name) => {
            for lookup in ["icontains", "istartswith", "iendswith", "iexact"] {
                filters.push((key(lookup), json!(text.chars().take(80).collect::<String>().to_uppercase())));
            }
            filters.push((key("regex"), json!("^.")));
            filters.push((key("lte"), value.clone()));
        }
        _ => {}
    }
    filters.retain(|(key, pattern)| {
        // Only a text that is short can be asked for by its whole length.
        let is_whole = ["iendswith", "iexact"].iter().any(|lookup| key.ends_with(lookup));
        !is_whole
            || value.as_str() == pattern.as_str()
            || value.as_str().is_some_and(|text| text.chars().count() <= 80)
    });
    filters
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn in_query(value: &Json) -> String {
    match value {
        Json::String(text) => encoded(text),
        Json::Array(values) => values.iter().map(in_query).collect::<Vec<_>>().join(","),
        other => encoded(&other.to_string()),
    }
}

fn keys(rows: &Json) -> Vec<Json> {
    rows.as_array().expect("rows").iter().map(|row| row["id"].clone()).collect()
}

async fn snapshot(socket: &mut Socket, stream: &str, filter: &Json) -> Vec<Json> {
    let subscribe = json!({"stream": stream, "action": "subscribe", "payload": filter, "snapshot": true});
    let reply = socket.request(subscribe).await;
    assert_eq!(reply["status"], 200, "{stream} {filter}: {reply}");
    let mut found = Vec::new();
    loop {
        let message = socket.receive_json().await;
        assert_eq!(message["type"], "snapshot", "{message}");
        found.extend(keys(&message["data"]));
        if message["done"] == true {
            break;
        }
    }
    let unsubscribe = json!({
        "stream": stream, "action": "unsubscribe", "subscription": reply["data"]["subscription"],
    });
    assert_eq!(socket.request(unsubscribe).await["status"], 204);
    found
}

/// The columns that the forum lets its users ask for; `None` for all of them.
const COLUMNS: &[(&str, Option<&[&str]>)] = &[
    ("users", Some(&["id", "username"])),
    ("topics", None),
    ("comments", None),
    ("notes", Some(&["id", "owner_id", "title", "body", "pinned", "due", "amount"])),
];

async fn check(
    forum: &Forum,
    login: &Login,
    socket: &mut Socket,
    stream: &str,
    columns: Option<&[&str]>,
) -> usize {
    let all = forum.ask("GET", &format!("/api/{stream}/?limit=1000"), Some(login), Json::Null).await;
    let rows = all.json["results"].as_array().expect("rows").clone();
    assert!(!rows.is_empty(), "{stream} has rows");
    let mut asked = 0;
    for name in rows[0].as_object().expect("an object").keys() {
        if columns.is_some_and(|columns| !columns.contains(&name.as_str())) {
            let query = format!("/api/{stream}/?{name}__isnull=false");
            assert_eq!(forum.ask("GET", &query, Some(login), Json::Null).await.status, 400, "{query}");
            continue;
        }
        // A row that has something there, and one that has not.
        let some = rows.iter().find(|row| !row[name].is_null());
        let null = rows.iter().find(|row| row[name].is_null());
        for row in [some, null].into_iter().flatten() {
            for (key, argument) in filters(name, &row[name]) {
                let filter = json!({&key: argument});
                let is_null = argument.is_null();
                let query = if is_null {
                    format!("{name}__isnull=true")
                } else {
                    format!("{key}={}", in_query(&argument))
                };
                let by_rest = forum
                    .ask("GET", &format!("/api/{stream}/?limit=1000&{query}"), Some(login), Json::Null)
                    .await;
                assert_eq!(by_rest.status, 200, "{stream} {filter}: {}", by_rest.json);
                let by_rest = keys(&by_rest.json["results"]);
                let list = json!({"stream": stream, "action": "list", "payload": filter, "limit": 1000});
                let by_socket = socket.request(list).await;
                assert_eq!(keys(&by_socket["data"]["results"]), by_rest, "{stream} {filter}");
                assert_eq!(by_socket["data"]["count"], by_rest.len(), "{stream} {filter}");
                assert_eq!(snapshot(socket, stream, &filter).await, by_rest, "{stream} {filter}");
                assert!(by_rest.contains(&row["id"]), "{stream} {filter} does not select {row}");
                asked += 1;
            }
        }
    }
    asked
}

#[tokio::test]
async fn every_column_is_asked_for_over_rest_over_the_socket_and_in_subscriptions() {
    let forum = Forum::start().await;
    let ann = forum.demo("ann").await;
    for body in [
        json!({"title": "Ünlimited", "tags": ["red", 5], "due": "2026-02-28", "amount": "12.50", "body": "ΣΟΦΟΣ"}),
        json!({"title": "plain", "pinned": true}),
    ] {
        assert_eq!(forum.post("/api/notes/", Some(&ann), body).await.status, 201);
    }
    let mut socket = forum.socket(Some(&ann)).await;
    let mut asked = 0;
    for (stream, columns) in COLUMNS {
        asked += check(&forum, &ann, &mut socket, stream, *columns).await;
    }
    assert!(asked > 80, "{asked} filters");
}

#[tokio::test]
async fn filters_that_are_written_differently_are_one_subscription() {
    let forum = Forum::start().await;
    let ann = forum.demo("ann").await;
    let mut socket = forum.socket(Some(&ann)).await;
    for (stream, filters) in [
        ("topics", [json!({"pk__in": [2, 1]}), json!({"ids": [1, 2, 2]}), json!({"id__in": ["2", 1.0]})]),
        ("comments", [json!({"min_score": 5}), json!({"score__gte": "5"}), json!({"score__gte": 5.0})]),
        (
            "comments",
            [json!({"text": "HELLO"}), json!({"body__icontains": "hello"}), json!({"text": "HeLLo"})],
        ),
        (
            "comments",
            [
                json!({"created_at__gte": "2026-01-31"}),
                json!({"created_at__gte": "2026-01-31T00:00:00Z"}),
                json!({"created_at__gte": "2026-01-31T01:00:00+01:00"}),
            ],
        ),
        ("notes", [json!({"amount": "12.5"}), json!({"amount__in": ["12.50"]}), json!({"amount": 12.5})]),
        ("notes", [json!({"body": null}), json!({"body__isnull": true}), json!({"body__isnull": "true"})]),
    ] {
        let mut ids = Vec::new();
        for filter in filters {
            let subscribe = json!({"stream": stream, "action": "subscribe", "payload": filter});
            let reply = socket.request(subscribe).await;
            assert_eq!(reply["status"], 200, "{reply}");
            ids.push(reply["data"]["subscription"].clone());
        }
        assert!(ids.iter().all(|id| *id == ids[0]), "{stream}: {ids:?}");
    }
}
