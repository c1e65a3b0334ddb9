//! Filters on every column of the forum: over REST, over the socket and in a subscription they select the same rows.

use std::collections::BTreeMap;

use realtime_tests::{Socket, position};
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

/// A column and what another program gives it in place of what it has.
const OTHER_VALUES: &[(&str, &[(&str, &str)])] = &[
    ("users", &[("username", "'renamed'")]),
    (
        "topics",
        &[
            ("title", "'elsewhere'"),
            ("locked", "NOT locked"),
            ("owner_id", "owner_id % 2 + 1"),
            ("created_at", "'2001-02-03 04:05:06'"),
        ],
    ),
    (
        "comments",
        &[
            ("topic_id", "topic_id % 2 + 1"),
            ("author_id", "author_id % 2 + 1"),
            ("body", "'elsewhere'"),
            ("score", "score + 1000"),
            ("rating", "CASE WHEN rating IS NULL THEN 77.5 END"),
            ("status", "CASE status WHEN 'published' THEN 'hidden' ELSE 'published' END"),
            ("edited_at", "CASE WHEN edited_at IS NULL THEN '2001-02-03 04:05:06' END"),
            ("created_at", "'2001-02-03 04:05:06'"),
        ],
    ),
    (
        "notes",
        &[
            ("owner_id", "owner_id + 1"),
            ("title", "'elsewhere'"),
            ("body", "CASE WHEN body IS NULL THEN 'elsewhere' END"),
            ("pinned", "NOT pinned"),
            ("due", "CASE WHEN due IS NULL THEN '2001-02-03' END"),
            ("amount", "CASE WHEN amount IS NULL THEN '77.50' END"),
        ],
    ),
];

/// What a client holds of a subscription.
struct Held {
    filter: Json,
    rows: BTreeMap<String, Json>,
}

fn by_key(rows: &Json) -> BTreeMap<String, Json> {
    rows.as_array().expect("rows").iter().map(|row| (row["id"].to_string(), row.clone())).collect()
}

/// Events of each action.
#[derive(Default)]
struct Told {
    create: usize,
    update: usize,
    delete: usize,
}

/// Holds the subscriptions to be what lists of their filters are.
async fn follow(
    (forum, login): (&Forum, &Login),
    socket: &mut Socket,
    stream: &str,
    held: &mut BTreeMap<String, Held>,
    told: &mut Told,
) {
    let newest = forum.ask("GET", "/api/topics/?limit=1", Some(login), Json::Null).await;
    assert_eq!(newest.status, 200, "{}", newest.json);
    socket.reach(position(newest.header("realtime-cursor"))).await;
    for event in socket.kept() {
        let id = event["subscription"].as_str().expect("a subscription");
        let Held { filter, rows } = held.get_mut(id).expect("one that is held");
        let key = event["pk"].to_string();
        let before = rows.remove(&key);
        match (event["action"].as_str(), before) {
            (Some("create"), None) => {
                told.create += 1;
                rows.insert(key, event["data"].clone());
            }
            (Some("update"), Some(mut row)) => {
                told.update += 1;
                for (name, value) in event["diff"].as_object().expect("a diff") {
                    row[name] = value.clone();
                }
                rows.insert(key, row);
            }
            (Some("delete"), Some(_)) => told.delete += 1,
            (_, before) => panic!("{stream} {filter}: {event} where {before:?} was held"),
        }
    }
    for Held { filter, rows } in held.values() {
        let list = json!({"stream": stream, "action": "list", "payload": filter, "limit": 1000});
        let list = socket.request(list).await;
        assert_eq!(*rows, by_key(&list["data"]["results"]), "{stream} {filter}");
    }
}

/// Whatever becomes of a column, a subscription that asks for it holds what a list of the same filter has.
#[tokio::test]
async fn what_is_asked_of_a_column_enters_changes_and_leaves_as_in_a_list() {
    let forum = Forum::start().await;
    let ann = forum.demo("ann").await;
    for body in [
        json!({"title": "Ünlimited", "tags": ["red", 5], "due": "2026-02-28", "amount": "12.50", "body": "ΣΟΦΟΣ"}),
        json!({"title": "plain", "pinned": true}),
    ] {
        assert_eq!(forum.post("/api/notes/", Some(&ann), body).await.status, 201);
    }
    for (stream, columns) in OTHER_VALUES {
        let all = forum.ask("GET", &format!("/api/{stream}/?limit=1000"), Some(&ann), Json::Null).await;
        // Who asks is to stay who he is.
        let is_ann = |row: &Json| *stream == "users" && row["id"] == ann.id;
        let rows: Vec<Json> = all.json["results"]
            .as_array()
            .expect("rows")
            .iter()
            .filter(|row| !is_ann(row))
            .cloned()
            .collect();
        for column in std::iter::once("id").chain(columns.iter().map(|(column, _)| *column)) {
            let mut socket = forum.socket(Some(&ann)).await;
            let (mut held, mut told) = (BTreeMap::new(), Told::default());
            let some = rows.iter().find(|row| !row[column].is_null());
            let null = rows.iter().find(|row| row[column].is_null());
            let about: Vec<&Json> = some.into_iter().chain(null).collect();
            for row in &about {
                for (key, argument) in filters(column, &row[column]) {
                    let filter = json!({key: argument});
                    let ask =
                        json!({"stream": stream, "action": "subscribe", "payload": filter, "snapshot": true});
                    let reply = socket.request(ask).await;
                    assert_eq!(reply["status"], 200, "{stream} {filter}: {reply}");
                    let mut rows = BTreeMap::new();
                    loop {
                        let page = socket.receive_json().await;
                        assert_eq!(page["type"], "snapshot", "{page}");
                        rows.extend(by_key(&page["data"]));
                        if page["done"] == true {
                            break;
                        }
                    }
                    let id = reply["data"]["subscription"].as_str().expect("an id").to_owned();
                    held.insert(id, Held { filter, rows });
                }
            }
            for row in &about {
                let key = match &row["id"] {
                    Json::String(text) => format!("'{text}'"),
                    number => number.to_string(),
                };
                let kept = format!("CREATE TABLE kept AS SELECT * FROM {stream} WHERE id = {key}");
                let back = format!(
                    "PRAGMA foreign_keys = OFF; INSERT INTO {stream} SELECT * FROM kept; DROP TABLE kept"
                );
                let mut writes = vec![
                    format!("PRAGMA foreign_keys = OFF; {kept}; DELETE FROM {stream} WHERE id = {key}"),
                    back,
                ];
                // One by one, so that what the others ask for changes beside this one.
                for (other, value) in *columns {
                    writes.push(format!("{kept}; UPDATE {stream} SET {other} = {value} WHERE id = {key}"));
                    writes.push(format!(
                        "UPDATE {stream} SET {other} = (SELECT {other} FROM kept) WHERE id = {key}; DROP TABLE kept"
                    ));
                }
                for sql in writes {
                    forum.write(&sql);
                    follow((&forum, &ann), &mut socket, stream, &mut held, &mut told).await;
                }
            }
            let Told { create, update, delete } = told;
            assert!(create > 0 && update > 0 && delete > 0, "{stream}.{column}: {create} {update} {delete}");
        }
    }
}

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
