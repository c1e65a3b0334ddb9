//! Subscriptions to whole groups of rows, on every transport: `topic-feed` is one of whole topics.

use realtime_tests::{Server, Socket, StreamRequest, at};
use serde_json::{Value as Json, json};

/// Two comments in the first topic and one in the second.
async fn server() -> Server {
    let server = Server::start().await;
    for (topic, body) in [(1, "apple"), (1, "pear"), (2, "apricot")] {
        server.create("comments", json!({"topic_id": topic, "body": body})).await;
    }
    server
}

async fn change(server: &Server, comment: i64, fields: Json) {
    let answer = server.send("PATCH", &format!("/api/comments/{comment}/"), &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// What happened to which rows.
fn told(events: &[Json]) -> Json {
    events.iter().map(|event| json!([event["action"], event["pk"]])).collect()
}

async fn subscribe(socket: &mut Socket, filter: Json) -> String {
    socket.subscribe("topic-feed", json!({ "payload": filter })).await.0
}

#[tokio::test]
async fn a_row_that_moves_to_another_group_leaves_here_and_comes_in_there() {
    let server = server().await;
    let mut first = Socket::subscribed(&server, "topic-feed", json!({"topic": 1})).await;
    let mut second = Socket::subscribed(&server, "topic-feed", json!({"topic_id__in": [2, 7]})).await;
    let mut stream = StreamRequest::to("/api/topic-feed/events?topic=1").open(&server).await;
    let start = server.get("/api/topic-feed/changes?topic=2").await.json["cursor"].clone();
    let start = start.as_str().expect("a cursor");

    change(&server, 1, json!({"topic_id": 2})).await;
    assert_eq!(told(&first.events(&server).await), json!([["delete", 1]]));
    let came = second.events(&server).await;
    assert_eq!(told(&came), json!([["create", 1]]));
    assert_eq!(came[0]["data"]["body"], "apple", "a row that comes in comes whole");
    let (event, message) = stream.next().await;
    assert_eq!((event.as_str(), &message["pk"]), ("delete", &json!(1)));
    let polled = server.get(&format!("/api/topic-feed/changes?topic=2&since={start}")).await.json;
    assert_eq!(told(polled["events"].as_array().expect("events")), json!([["create", 1]]));

    change(&server, 1, json!({"body": "avocado"})).await;
    first.assert_silent(&server).await;
    assert_eq!(second.next_event().await["diff"], json!({"body": "avocado"}));
    change(&server, 1, json!({"topic_id": 1})).await;
    assert_eq!(told(&first.events(&server).await), json!([["create", 1]]));
    assert_eq!(told(&second.events(&server).await), json!([["delete", 1]]));
}

/// Who asks for a comment follows its whole topic, and that topic also when the comment has left it.
#[tokio::test]
async fn a_filter_that_names_no_group_leads_to_those_of_its_rows() {
    let server = server().await;
    let mut socket = Socket::open(&server).await;
    socket.catch_up(&server).await;
    let by_row = subscribe(&mut socket, json!({"id": 1})).await;
    assert_eq!(subscribe(&mut socket, json!({"topic": 1})).await, by_row, "both are to the first topic");
    change(&server, 2, json!({"body": "plum"})).await;
    change(&server, 3, json!({"body": "peach"})).await;
    change(&server, 1, json!({"topic_id": 2})).await;
    change(&server, 1, json!({"body": "mango"})).await;
    server.create("comments", json!({"topic_id": 1, "body": "fig"})).await;
    let events = socket.events(&server).await;
    assert_eq!(told(&events), json!([["update", 2], ["delete", 1], ["create", 4]]));
    assert!(events.iter().all(|event| event["subscription"] == by_row));

    // Each subscribe has its own unsubscribe, by the filter as it was asked for.
    for filter in [json!({"id": 1}), json!({"topic": 1})] {
        change(&server, 2, filter_mark(&filter)).await;
        assert_eq!(told(&socket.events(&server).await), json!([["update", 2]]));
        let ended = socket.request(json!({"stream": "topic-feed/unsubscribe", "payload": filter})).await;
        assert_eq!(ended["status"], 204);
    }
    change(&server, 2, json!({"body": "nobody is told"})).await;
    socket.assert_silent(&server).await;
}

fn filter_mark(filter: &Json) -> Json {
    json!({ "body": filter.to_string() })
}

/// PostgreSQL leaves the expression to memory.
#[tokio::test]
async fn groups_are_found_by_what_a_database_cannot_decide_as_well() {
    let server = server().await;
    let mut socket = Socket::open(&server).await;
    let by_expression = subscribe(&mut socket, json!({"body__regex": "^ap"})).await;
    assert_eq!(by_expression, subscribe(&mut socket, json!({"topic_id__in": [2, 1]})).await);
    let by_expression = subscribe(&mut socket, json!({"body__regex": "ric"})).await;
    assert_eq!(by_expression, subscribe(&mut socket, json!({"topic": 2})).await);
    let by_nothing = subscribe(&mut socket, json!({"body__regex": "^x"})).await;
    assert_eq!(by_nothing, subscribe(&mut socket, json!({"topic_id__in": []})).await);
}

#[tokio::test]
async fn a_snapshot_is_of_whole_groups_and_what_names_them_is_recovered() {
    let server = server().await;
    let mut socket = Socket::open(&server).await;
    socket.catch_up(&server).await;
    let with = json!({"stream": "topic-feed/subscribe", "payload": {"id": 1}, "snapshot": true});
    let reply = socket.request(with).await;
    assert_eq!(reply["status"], 200, "{reply}");
    let rows = |message: &Json| -> Vec<Json> {
        message["data"].as_array().expect("rows").iter().map(|row| row["id"].clone()).collect()
    };
    assert_eq!(rows(&socket.next_event().await), [1, 2]);
    let since = at(&reply, "data.cursor").clone();
    change(&server, 2, json!({"body": "plum"})).await;

    let mut again = Socket::open(&server).await;
    for (filter, recovered) in [(json!({"topic": 1}), true), (json!({"id": 1}), false)] {
        let message = json!({"stream": "topic-feed/subscribe", "payload": filter, "since": since});
        let reply = again.request(message).await;
        assert_eq!(at(&reply, "data.recovered"), recovered, "{reply}");
    }
    assert_eq!(told(&again.events(&server).await), json!([["update", 2]]));

    // An event stream has no reply that says so.
    let since = since.as_str().expect("a cursor");
    let named = StreamRequest::to("/api/topic-feed/events?topic=1").last_event_id(Some(since));
    assert_eq!(named.open(&server).await.next().await.0, "update");
    let found = StreamRequest::to("/api/topic-feed/events?id=1&snapshot=true").last_event_id(Some(since));
    let mut found = found.open(&server).await;
    assert_eq!(found.next().await.0, "lagged");
    let (event, message) = found.next().await;
    assert_eq!((event.as_str(), rows(&message)), ("snapshot", vec![json!(1), json!(2)]));
}

#[tokio::test]
async fn what_is_wrong_with_a_group_is_said() {
    let server = server().await;
    let mut socket = Socket::open(&server).await;
    for (filter, code, key) in [
        (json!({"topic": "first"}), "validation_error", "topic"),
        (json!({"topic_id__gte": 1}), "unknown_lookup", "topic_id__gte"),
        (json!({"author": 1}), "unknown_field", "author"),
    ] {
        let reply = socket.request(json!({"stream": "topic-feed/subscribe", "payload": filter})).await;
        assert_eq!((&reply["status"], at(&reply, "error.code")), (&json!(400), &json!(code)));
        assert!(reply["error"]["errors"].get(key).is_some(), "{reply}");
    }
    // The next poll could be about other groups.
    for query in ["", "id=1"] {
        let refused = server.get(&format!("/api/topic-feed/changes?{query}")).await;
        let said = (refused.status, &refused.json["errors"]);
        assert_eq!(said, (400, &json!({"topic_id": ["This field is required."]})));
    }
}
