//! Requests, replies and events over the WebSocket.

use realtime_actix::Limits;
use realtime_tests::{Handshake, Incoming, Server, Setup, Socket, at, on_postgres, within};
use serde_json::{Value as Json, json};

/// A request and the reply that it must get, `created_at` and the like filled in by `known`.
#[track_caller]
fn assert_reply(reply: &Json, stream: &str, action: &str, status: u16, data: &Json) {
    let mut expected = json!({
        "type": "reply",
        "request_id": reply["request_id"],
        "stream": stream,
        "action": action,
        "status": status,
    });
    if !data.is_null() {
        expected["data"] = data.clone();
    }
    assert_eq!(*reply, expected);
}

#[track_caller]
fn assert_refused(reply: &Json, status: u16, code: &str) {
    assert_eq!((&reply["type"], &reply["status"]), (&json!("reply"), &json!(status)), "{reply}");
    assert_eq!(reply["error"]["code"], code, "{reply}");
    assert!(reply["error"]["detail"].is_string(), "{reply}");
    assert_eq!(reply.get("data"), None, "{reply}");
}

/// A message in one of the two forms: all in the address, or in members.
fn message(short: bool, stream: &str, action: &str, pk: &Json, payload: &Json) -> Json {
    let mut message = json!({ "payload": payload });
    if short {
        let pk = pk.as_str().map_or_else(|| pk.to_string(), str::to_owned);
        let pk = if pk == "null" { String::new() } else { format!("{pk}/") };
        message["stream"] = format!("{stream}/{action}/{pk}").into();
    } else {
        message["stream"] = stream.into();
        message["action"] = action.into();
        message["pk"] = pk.clone();
    }
    message
}

#[tokio::test]
async fn every_action_means_the_same_in_both_address_forms() {
    for short in [true, false] {
        let server = Server::start().await;
        let mut socket = Socket::open(&server).await;
        let none = Json::Null;

        let asked = message(short, "comments", "create", &none, &json!({"topic_id": 1, "body": "hi"}));
        let reply = socket.request(asked).await;
        let created_at = at(&reply, "data.created_at").clone();
        let object = json!({
            "id": 1, "topic_id": 1, "author_id": 1, "body": "hi", "score": 0, "rating": null,
            "status": "published", "edited_at": null, "created_at": created_at,
        });
        assert_reply(&reply, "comments", "create", 201, &object);

        let retrieve = message(short, "comments", "retrieve", &json!(1), &json!({}));
        assert_reply(&socket.request(retrieve.clone()).await, "comments", "retrieve", 200, &object);

        let asked = message(short, "comments", "update", &json!(1), &json!({"score": 4, "rating": 0.5}));
        let reply = socket.request(asked).await;
        let mut changed = object.clone();
        changed["score"] = json!(4);
        changed["rating"] = json!(0.5);
        assert_reply(&reply, "comments", "update", 200, &changed);

        let asked = message(short, "comments", "replace", &json!(1), &json!({"topic_id": 2, "body": "hi"}));
        let reply = socket.request(asked).await;
        let mut replaced = object.clone();
        replaced["topic_id"] = json!(2);
        assert_reply(&reply, "comments", "replace", 200, &replaced);

        let reply = socket.request(message(short, "comments", "list", &none, &json!({"topic": 2}))).await;
        let feed = at(&reply, "data.feed").clone();
        let page = json!({"results": [replaced], "next": null, "previous": null, "count": 1, "feed": feed});
        assert_reply(&reply, "comments", "list", 200, &page);

        // What has been answered may not have been published yet; the cursor of a subscription would then be before it.
        socket.catch_up(&server).await;
        let subscribe = message(short, "comments", "subscribe", &none, &json!({"topic": 2}));
        let reply = socket.request(subscribe).await;
        let (id, cursor) = (at(&reply, "data.subscription").clone(), at(&reply, "data.cursor").clone());
        assert!(id.is_string() && cursor.is_string(), "{reply}");
        assert_eq!(cursor, feed);
        let subscribed = json!({"subscription": id, "cursor": cursor, "recovered": false});
        assert_reply(&reply, "comments", "subscribe", 200, &subscribed);

        let delete = message(short, "comments", "delete", &json!(1), &json!({"ignored": true}));
        assert_reply(&socket.request(delete.clone()).await, "comments", "delete", 204, &none);
        let event = socket.next_event().await;
        let expected = json!({
            "type": "event", "subscription": id, "stream": "comments", "action": "delete", "pk": 1,
            "cursor": event["cursor"],
        });
        assert_eq!(event, expected);

        let unsubscribe = message(short, "comments", "unsubscribe", &none, &json!({"topic": 2}));
        assert_reply(&socket.request(unsubscribe).await, "comments", "unsubscribe", 204, &none);

        for gone in [delete, retrieve] {
            let reply = socket.request(gone).await;
            assert_refused(&reply, 404, "not_found");
        }
        socket.assert_silent(&server).await;
    }
}

#[tokio::test]
async fn events_are_those_of_the_protocol_letter_by_letter() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    let (id, _) = socket.subscribe("labels", json!({})).await;
    let mut expected = Vec::new();
    for body in [
        json!({"stream": "labels/create", "payload": {"name": "a/b \"ü\"", "code": "x"}}),
        json!({"stream": "labels", "action": "update", "pk": "a/b \"ü\"", "payload": {"code": null, "weight": 9_007_199_254_740_993_i64}}),
        json!({"stream": "labels/delete/a%2Fb%20%22%C3%BC%22/"}),
    ] {
        let reply = socket.request(body).await;
        assert!(reply["status"].as_u64() < Some(300), "{reply}");
        // Before the next one is written: several transactions may be one batch.
        expected.push(socket.next_event_text().await);
    }
    let cursor =
        |text: &str| text.rsplit_once("\"cursor\":").map(|(_, rest)| rest.to_owned()).expect("a cursor");
    let start = format!(r#"{{"type":"event","subscription":"{id}","stream":"labels","action":"#);
    let pk = r#""pk":"a/b \"ü\"""#;
    assert_eq!(
        expected,
        [
            format!(
                r#"{start}"create",{pk},"data":{{"name":"a/b \"ü\"","code":"x","weight":1}},"cursor":{}"#,
                cursor(&expected[0])
            ),
            format!(
                r#"{start}"update",{pk},"diff":{{"code":null,"weight":9007199254740993}},"cursor":{}"#,
                cursor(&expected[1])
            ),
            format!(r#"{start}"delete",{pk},"cursor":{}"#, cursor(&expected[2])),
        ]
    );
}

#[tokio::test]
async fn an_address_may_have_slashes_around_it_and_escapes_in_it() {
    let server = Server::start().await;
    server.create("labels", json!({"name": "50% / ü"})).await;
    let mut socket = Socket::open(&server).await;
    for address in [
        "/labels/retrieve/50%25%20%2F%20%C3%BC",
        "labels/retrieve/50%25 %2f ü/",
        "//l%61bels/re%74rieve/50%25%20%2F%20%C3%BC//",
    ] {
        let reply = socket.request(json!({"stream": address})).await;
        assert_eq!(at(&reply, "data.name"), "50% / ü", "{address}: {reply}");
        assert_eq!((&reply["stream"], &reply["action"]), (&json!("labels"), &json!("retrieve")));
    }
    let both = json!({"stream": "labels/retrieve/x", "action": "retrieve", "pk": "x"});
    assert_refused(&socket.request(both).await, 404, "not_found");
    let partly = json!({"stream": "/labels/retrieve/", "pk": "50% / ü"});
    assert_eq!(socket.request(partly).await["status"], 200);
}

#[tokio::test]
async fn a_request_id_is_echoed_as_it_came() {
    let server = Setup::memory().start().await;
    let mut socket = Socket::open(&server).await;
    for id in ["7", "-1", "0", "1.5", "9007199254740993", "\"\"", "\"a \\\"b\\\" ü\"", "1e3", "null"] {
        socket.send_text(format!(r#"{{"request_id": {id}, "action": "ping"}}"#)).await;
        let reply = socket.receive_json().await;
        let sent: Json = serde_json::from_str(id).expect("JSON");
        assert_eq!(reply["request_id"], sent, "{reply}");
    }
    socket.send_text(r#"{"action": "ping"}"#).await;
    assert_eq!(socket.receive_json().await.get("request_id"), Some(&Json::Null));
}

#[tokio::test]
async fn a_ping_needs_no_stream_and_tells_time_and_position() {
    let server = Server::start().await;
    server.create("topics", json!({"title": "x"})).await;
    let mut socket = Socket::open(&server).await;
    socket.catch_up(&server).await;
    let reply = socket.request(json!({"action": "ping", "payload": {}})).await;
    let time = at(&reply, "data.time").as_str().expect("a time");
    let parsed = chrono::DateTime::parse_from_rfc3339(time).expect("RFC 3339");
    assert!(time.ends_with('Z') && (chrono::Utc::now() - parsed.to_utc()).num_seconds().abs() < 60, "{time}");
    let feed = server.get("/api/topics/").await.header("realtime-cursor").to_owned();
    let expected = json!({
        "type": "reply", "request_id": reply["request_id"], "stream": null, "action": "ping", "status": 200,
        "data": {"time": time, "cursor": feed},
    });
    assert_eq!(reply, expected);
}

#[tokio::test]
async fn a_path_form_gives_an_address_to_frames_that_have_none() {
    let server = Server::start().await;
    for path in ["/api/ws/comments", "/api/ws/comments/"] {
        let (mut socket, _) = Handshake::to(path).open(&server).await.expect("a socket");
        let reply = socket.request(json!({"action": "list"})).await;
        assert_eq!((&reply["status"], &reply["stream"]), (&json!(200), &json!("comments")), "{reply}");
        let reply = socket.request(json!({"stream": "topics/list"})).await;
        assert_eq!((&reply["status"], &reply["stream"]), (&json!(200), &json!("topics")), "{reply}");
        let reply = socket.request(json!({"action": "ping"})).await;
        assert_eq!((&reply["status"], &reply["stream"]), (&json!(200), &Json::Null), "{reply}");
        let reply = socket.request(json!({"payload": {}})).await;
        assert_refused(&reply, 400, "bad_request");
        assert_eq!(reply["stream"], "comments");
    }
    let (mut socket, _) = Handshake::to("/api/ws/comments/subscribe/").open(&server).await.expect("a socket");
    let reply = socket.request(json!({"payload": {"topic": 1}})).await;
    assert_eq!((&reply["status"], &reply["action"]), (&json!(200), &json!("subscribe")), "{reply}");
    server.create("comments", json!({"topic_id": 1, "body": "x"})).await;
    assert_eq!(socket.next_event().await["action"], "create");
}

#[tokio::test]
async fn a_subprotocol_that_is_offered_is_answered_and_unknown_ones_alone_are_refused() {
    let server = Setup::memory().start().await;
    let offering = |names: &str| Handshake::to("/api/ws").header("sec-websocket-protocol", names);
    for names in ["realtime.v1.json", "other, realtime.v1.json", "realtime.v1.json,other"] {
        let (mut socket, response) = offering(names).open(&server).await.expect("a socket");
        let chosen = response.headers().get("sec-websocket-protocol").expect("a subprotocol");
        assert_eq!(chosen, "realtime.v1.json");
        assert_eq!(socket.request(json!({"action": "ping"})).await["status"], 200);
    }
    let (_, response) = Handshake::to("/api/ws").open(&server).await.expect("a socket");
    assert_eq!(response.headers().get("sec-websocket-protocol"), None);
    for names in ["other", "realtime.v2.json, graphql-ws", "bearer.token"] {
        let refused = offering(names).open(&server).await.expect_err("no socket");
        assert_eq!(refused.status, 400, "{names}: {refused:?}");
    }
}

#[tokio::test]
async fn a_handshake_from_another_origin_is_refused_with_403() {
    let server =
        Setup::memory().configure(|connect| connect.allow_origin("https://friend.example")).start().await;
    let from = |origin: &str| Handshake::to("/api/ws").header("origin", origin);
    let own = format!("http://{}", server.address());
    for origin in [own.as_str(), "https://friend.example"] {
        assert!(from(origin).open(&server).await.is_ok(), "{origin}");
    }
    let other_scheme = format!("https://{}", server.address());
    for origin in [
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        "https://friend.example.evil.example",
        &other_scheme,
    ] {
        let refused = from(origin).open(&server).await.expect_err("no socket");
        assert_eq!(refused.status, 403, "{origin}: {refused:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_a_problem() {
    let server = Setup::memory().start().await;
    for path in ["/api/ws", "/api/ws/", "/api/ws/comments"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json["code"], "bad_request");
    }
}

#[tokio::test]
async fn equal_subscriptions_are_one_and_are_counted() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    let (id, _) = socket.subscribe("comments", json!({"payload": {"ids": [2, 1, 1], "topic": 1}})).await;
    let same = json!({"payload": {"topic_id__exact": "1", "pk__in": ["1", 2.0]}, "form": "diff"});
    assert_eq!(socket.subscribe("comments", same.clone()).await.0, id);
    let (other, _) = socket.subscribe("comments", json!({"payload": {"topic": 1}})).await;
    assert_ne!(other, id);

    server.create("comments", json!({"topic_id": 1, "body": "one"})).await;
    let events = socket.events(&server).await;
    let mut told: Vec<&str> = events.iter().filter_map(|event| event["subscription"].as_str()).collect();
    told.sort_unstable();
    let mut both = [id.as_str(), other.as_str()];
    both.sort_unstable();
    assert_eq!(told, both);

    let mut unsubscribe = same;
    unsubscribe["stream"] = "comments/unsubscribe".into();
    assert_eq!(socket.request(unsubscribe.clone()).await["status"], 204);
    server.create("comments", json!({"topic_id": 1, "body": "two"})).await;
    assert_eq!(socket.events(&server).await.len(), 2, "one of the two equal subscriptions is left");
    assert_eq!(socket.request(unsubscribe).await["status"], 204);
    server.send("PATCH", "/api/comments/2/", &json!({"body": "three"})).await;
    let events = socket.events(&server).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["subscription"], other.as_str());
}

#[tokio::test]
async fn unsubscribing_works_by_id_and_by_filter_and_also_where_nothing_is_held() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    let (by_id, _) = socket.subscribe("comments", json!({"form": "full"})).await;
    socket.subscribe("comments", json!({"payload": {"topic": 1}, "fields": ["body"]})).await;
    socket.subscribe("comments", json!({"pk": 1})).await;
    let requests = [
        json!({"stream": "comments/unsubscribe", "subscription": by_id}),
        json!({"stream": "comments", "action": "unsubscribe", "payload": {}, "subscription": "never-held"}),
        json!({"stream": "topics", "action": "unsubscribe"}),
        // The id is another stream's.
        json!({"stream": "topics", "action": "unsubscribe", "subscription": by_id}),
        json!({"stream": "comments/unsubscribe", "payload": {"topic": 1}, "fields": ["id", "body"]}),
        json!({"stream": "comments/unsubscribe/1"}),
    ];
    for request in requests {
        let reply = socket.request(request).await;
        assert_reply(&reply, reply["stream"].as_str().expect("a stream"), "unsubscribe", 204, &Json::Null);
    }
    server.create("comments", json!({"topic_id": 1, "body": "x"})).await;
    socket.assert_silent(&server).await;
}

#[tokio::test]
async fn a_subscription_shows_rows_in_the_form_and_the_fields_and_the_actions_that_it_asks_for() {
    let server = Server::start().await;
    let mut diff = Socket::open(&server).await;
    diff.subscribe("labels", json!({"form": "diff"})).await;
    let mut full = Socket::open(&server).await;
    full.subscribe("labels", json!({"form": "full"})).await;
    let mut fields = Socket::open(&server).await;
    fields.subscribe("labels", json!({"fields": ["weight"]})).await;
    let mut updates = Socket::open(&server).await;
    updates.subscribe("labels", json!({"actions": ["update"]})).await;

    server.create("labels", json!({"name": "a", "code": "c"})).await;
    server.send("PATCH", "/api/labels/a/", &json!({"weight": 2})).await;
    server.send("PATCH", "/api/labels/a/", &json!({"code": "d"})).await;
    server.send("PATCH", "/api/labels/a/", &json!({"code": "d"})).await;
    server.send("DELETE", "/api/labels/a/", &Json::Null).await;

    let mut seen = Vec::new();
    for socket in [&mut diff, &mut full, &mut fields, &mut updates] {
        let events = socket.events(&server).await;
        let short = |event: &Json| {
            assert_eq!(event["pk"], "a");
            json!([event["action"], event.get("data"), event.get("diff")])
        };
        seen.push(events.iter().map(short).collect::<Vec<Json>>());
    }
    let none = Json::Null;
    assert_eq!(
        json!(seen),
        json!([
            [
                ["create", {"name": "a", "code": "c", "weight": 1}, none],
                ["update", none, {"weight": 2}],
                ["update", none, {"code": "d"}],
                ["delete", none, none],
            ],
            [
                ["create", {"name": "a", "code": "c", "weight": 1}, none],
                ["update", {"name": "a", "code": "c", "weight": 2}, none],
                ["update", {"name": "a", "code": "d", "weight": 2}, none],
                ["delete", none, none],
            ],
            [
                ["create", {"name": "a", "weight": 1}, none],
                ["update", none, {"weight": 2}],
                ["delete", none, none],
            ],
            [["update", none, {"weight": 2}], ["update", none, {"code": "d"}]],
        ])
    );
}

#[tokio::test]
async fn rows_enter_and_leave_a_filter_when_they_change() {
    let server = Server::start().await;
    let mut socket = Socket::subscribed(&server, "comments", json!({"min_score": 5, "topic": 1})).await;
    let row = server.create("comments", json!({"topic_id": 1, "body": "x", "score": 1})).await;
    let path = format!("/api/comments/{}/", row["id"]);
    let mut object = row.clone();
    for change in [
        json!({"score": 4}),
        json!({"score": 5}),
        json!({"score": 6}),
        json!({"topic_id": 2}),
        json!({"topic_id": 1, "score": 7}),
        json!({"score": -7}),
    ] {
        let answer = server.send("PATCH", &path, &change).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        object = answer.json;
    }
    assert_eq!(server.send("DELETE", &path, &Json::Null).await.status, 204);
    let events = socket.events(&server).await;
    let seen: Vec<Json> =
        events.iter().map(|event| json!([event["action"], at(event, "data.score"), event["diff"]])).collect();
    assert_eq!(
        json!(seen),
        json!([
            ["create", 5, null],
            ["update", null, {"score": 6}],
            ["delete", null, null],
            ["create", 7, null],
            ["delete", null, null],
        ])
    );
    let mut entered = object;
    entered["score"] = json!(7);
    assert_eq!(events[3]["data"], entered, "the whole object comes with a row that enters");
}

#[tokio::test]
async fn a_subscription_to_a_key_and_a_filter_means_both() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    socket.subscribe("comments", json!({"pk": "2", "payload": {"topic": 1}})).await;
    for _ in 0..3 {
        server.create("comments", json!({"topic_id": 1, "body": "x"})).await;
    }
    server.send("PATCH", "/api/comments/2/", &json!({"topic_id": 2})).await;
    let events = socket.events(&server).await;
    let seen: Vec<Json> = events.iter().map(|event| json!([event["action"], event["pk"]])).collect();
    assert_eq!(json!(seen), json!([["create", 2], ["delete", 2]]));
}

#[tokio::test]
async fn streams_over_one_table_are_told_of_the_same_changes_each_with_its_own_fields() {
    let server = Server::start().await;
    let mut socket = Socket::subscribed(&server, "topic-feed", json!({"topic": 1})).await;
    let row = server.create("comments", json!({"topic_id": 1, "body": "x"})).await;
    server.send("PATCH", "/api/comments/1/", &json!({"score": 3})).await;
    server.send("PATCH", "/api/comments/1/", &json!({"body": "y", "score": 4})).await;
    let events = socket.events(&server).await;
    assert_eq!(events.len(), 2, "a change of fields that it does not show is no event: {events:?}");
    let shown = json!({
        "id": 1, "topic_id": 1, "author_id": 1, "body": "x", "created_at": row["created_at"],
    });
    assert_eq!(events[0]["data"], shown);
    assert_eq!(events[1]["diff"], json!({"body": "y"}));
    let refused = socket.request(json!({"stream": "topic-feed/create", "payload": {}})).await;
    assert_refused(&refused, 405, "action_not_allowed");
}

/// The writer's own reply comes before the event that its write causes, whoever else writes meanwhile.
#[tokio::test]
async fn a_reply_comes_before_the_event_of_its_own_write() {
    let server = Server::start().await;
    let mut other = Socket::subscribed(&server, "comments", json!({})).await;
    let mut own = Socket::subscribed(&server, "comments", json!({})).await;
    let mut expected = 0;
    for round in 0..100 {
        let pipelined = 1 + round % 7;
        for at in 0..pipelined {
            let body = format!("own {round}.{at}");
            own.send_text(
                json!({
                    "stream": "comments/create", "request_id": body, "payload": {"topic_id": 1, "body": body},
                })
                .to_string(),
            )
            .await;
        }
        if round % 3 == 0 {
            server.create("comments", json!({"topic_id": 1, "body": "foreign"})).await;
            expected += 1;
        }
        expected += pipelined;
        let mut replied: Vec<String> = Vec::new();
        let mut told = 0;
        while replied.len() < pipelined || told < pipelined {
            let message = own.receive_json().await;
            if message["type"] == "reply" {
                assert_eq!(message["status"], 201, "{message}");
                assert_eq!(at(&message, "data.body"), &message["request_id"]);
                replied.push(message["request_id"].as_str().expect("a text").to_owned());
            } else {
                let body = at(&message, "data.body").as_str().expect("a body");
                if body.starts_with("own") {
                    told += 1;
                    assert!(replied.iter().any(|id| id == body), "the event of {body} came before its reply");
                }
            }
        }
        let order: Vec<String> = (0..pipelined).map(|at| format!("own {round}.{at}")).collect();
        assert_eq!(replied, order, "replies come in the order of the requests");
    }
    let events = other.events(&server).await;
    assert_eq!(events.len(), expected);
    // PostgreSQL hands out keys before the commit.
    let keys: Vec<u64> = events.iter().filter_map(|event| event["pk"].as_u64()).collect();
    assert!(on_postgres() || keys.is_sorted(), "events come in commit order: {keys:?}");
}

#[tokio::test]
async fn writes_of_one_socket_are_answered_in_order_whatever_comes_of_them() {
    let server = Server::start().await;
    let mut socket = Socket::subscribed(&server, "labels", json!({})).await;
    let requests = [
        (json!({"stream": "labels/create", "payload": {"name": "a"}}), 201),
        (json!({"stream": "labels/create", "payload": {"name": "a"}}), 409),
        (json!({"stream": "topics/subscribe"}), 200),
        (json!({"stream": "labels/update/a", "payload": {"weight": 5}}), 200),
        (json!({"stream": "labels/update/b", "payload": {"weight": 5}}), 404),
        (json!({"stream": "topics/unsubscribe"}), 204),
        (json!({"stream": "labels/replace/a", "payload": {"name": "b"}}), 200),
        (json!({"stream": "labels/delete/a"}), 404),
        (json!({"stream": "labels/delete/b"}), 204),
    ];
    for _ in 0..20 {
        for (at, (request, _)) in requests.iter().enumerate() {
            let mut request = request.clone();
            request["request_id"] = at.into();
            socket.send_text(request.to_string()).await;
        }
        let mut replies = Vec::new();
        let mut events = Vec::new();
        while replies.len() < requests.len() || events.len() < 5 {
            let message = socket.receive_json().await;
            if message["type"] == "reply" {
                replies.push((message["request_id"].clone(), message["status"].clone()));
            } else {
                events.push(json!([message["action"], message["pk"]]));
            }
        }
        let expected: Vec<(Json, Json)> =
            requests.iter().enumerate().map(|(at, (_, status))| (json!(at), json!(status))).collect();
        assert_eq!(replies, expected);
        // A changed key is one row that goes and one that comes.
        let wanted =
            json!([["create", "a"], ["update", "a"], ["delete", "a"], ["create", "b"], ["delete", "b"]]);
        assert_eq!(json!(events), wanted);
    }
    socket.assert_silent(&server).await;
}

#[tokio::test]
async fn checks_come_in_the_order_of_the_protocol() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    let cases = [
        // Form before stream, stream before action, action before row, row before payload.
        (json!({"stream": "nothing/what", "payload": 5}), 400, "bad_request"),
        (json!({"stream": "nothing/what"}), 404, "not_found"),
        (json!({"stream": "comments/what/1"}), 405, "action_not_allowed"),
        (json!({"stream": "topic-feed/delete/1"}), 405, "action_not_allowed"),
        (json!({"stream": "comments/update/99", "payload": {"body": 5}}), 404, "not_found"),
        (json!({"stream": "comments/replace/99", "payload": {}}), 404, "not_found"),
        (json!({"stream": "comments/update/x", "payload": {"body": 5}}), 404, "not_found"),
        (json!({"stream": "comments/retrieve", "pk": true}), 404, "not_found"),
        (json!({"stream": "comments/delete/99999999999999999999"}), 404, "not_found"),
        (json!({"stream": "comments/update", "payload": {}}), 400, "bad_request"),
        (json!({"stream": "comments"}), 400, "bad_request"),
        (json!({"stream": "comments/update/1/2", "payload": {}}), 400, "bad_request"),
        (json!({"stream": "comments/update/1", "action": "delete"}), 400, "bad_request"),
        (json!({"stream": "comments/update/1", "pk": 2}), 400, "bad_request"),
        (json!({"stream": "comments/create", "payload": null}), 400, "validation_error"),
        (
            json!({"stream": "topics/update/1", "payload": {"title": "", "locked": "x", "y": 1}}),
            400,
            "validation_error",
        ),
    ];
    for (request, status, code) in cases {
        let reply = socket.request(request.clone()).await;
        assert_eq!(
            (&reply["status"], &reply["error"]["code"]),
            (&json!(status), &json!(code)),
            "{request}: {reply}"
        );
    }
    let all = json!({"stream": "topics/update/1", "payload": {"title": "", "locked": "x", "y": 1}});
    let reply = socket.request(all).await;
    let fields: Vec<&String> = reply["error"]["errors"].as_object().expect("errors").keys().collect();
    assert_eq!(fields, ["locked", "title", "y"], "all errors are told at once");
}

#[tokio::test]
async fn a_key_or_a_filter_value_may_be_given_as_text() {
    let server = Server::start().await;
    server.write("INSERT INTO comments VALUES (9007199254740993, 1, 1, 'big', 0, NULL, 'published', NULL, '2026-01-01 00:00:00')").await;
    let mut socket = Socket::open(&server).await;
    for request in [
        json!({"stream": "comments/retrieve/9007199254740993"}),
        json!({"stream": "comments/retrieve", "pk": "9007199254740993"}),
        json!({"stream": "comments/retrieve", "pk": 9_007_199_254_740_993_i64}),
    ] {
        assert_eq!(*at(&socket.request(request).await, "data.id"), json!(9_007_199_254_740_993_i64));
    }
    let list = json!({"stream": "comments/list", "payload": {"ids": ["9007199254740993"], "score": "0"}});
    assert_eq!(*at(&socket.request(list).await, "data.count"), 1);
}

#[tokio::test]
async fn a_list_over_the_socket_is_walked_by_its_cursors() {
    let server = Server::start().await;
    for number in 0..5 {
        server.create("labels", json!({"name": format!("l{number}"), "weight": number % 2})).await;
    }
    let mut socket = Socket::open(&server).await;
    let mut names = Vec::new();
    let mut cursor = Json::Null;
    let mut backwards = Json::Null;
    for _ in 0..3 {
        let mut request = json!({
            "stream": "labels", "action": "list", "payload": {"not__name": "l0"}, "limit": 2, "ordering": "-weight,name",
        });
        if cursor.is_string() {
            request["cursor"] = cursor.clone();
        }
        let reply = socket.request(request).await;
        assert_eq!(*at(&reply, "data.count"), 4, "{reply}");
        for row in at(&reply, "data.results").as_array().expect("rows") {
            names.push(row["name"].clone());
        }
        cursor = at(&reply, "data.next").clone();
        backwards = at(&reply, "data.previous").clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(json!(names), json!(["l1", "l3", "l2", "l4"]));
    let back = json!({
        "stream": "labels", "action": "list", "payload": {"not__name": "l0"}, "limit": 2, "ordering": "-weight,name",
        "cursor": backwards, "count": false,
    });
    let reply = socket.request(back).await;
    let names: Vec<&Json> = (0..2).map(|row| &reply["data"]["results"][row]["name"]).collect();
    assert_eq!((json!(names), at(&reply, "data.count")), (json!(["l1", "l3"]), &Json::Null), "{reply}");
    assert_eq!(*at(&reply, "data.previous"), Json::Null);
}

#[tokio::test]
async fn a_slow_request_holds_back_neither_events_nor_other_requests() {
    if on_postgres() {
        // It has no one writer that could be kept busy.
        return;
    }
    let server = Server::start().await;
    let mut socket = Socket::subscribed(&server, "labels", json!({})).await;
    let (release, released) = std::sync::mpsc::channel::<()>();
    let realtime = server.realtime().clone();
    let (holding, held) = tokio::sync::oneshot::channel();
    // The writer is kept busy: the socket's write has to wait for it.
    let blocking = tokio::spawn(async move {
        realtime
            .write::<(), String>(move |_| {
                let _ = holding.send(());
                released.recv().map_err(|error| error.to_string())
            })
            .await
    });
    held.await.expect("the writer is held");
    let write = socket.ask(json!({"stream": "labels/create", "payload": {"name": "slow"}})).await;
    assert_eq!(socket.request(json!({"action": "ping"})).await["status"], 200);
    assert_eq!(socket.request(json!({"stream": "topics/list"})).await["status"], 200);
    assert_eq!(socket.request(json!({"stream": "topics/retrieve/1"})).await["status"], 200);
    release.send(()).expect("the writer waits");
    blocking.await.expect("no panic").expect("a commit");
    assert_eq!(socket.reply(&write).await["status"], 201);
    assert_eq!(socket.next_event().await["pk"], "slow");
}

#[tokio::test]
async fn more_requests_than_may_run_at_once_are_all_answered() {
    let server = Setup::memory().start().await;
    let mut socket = Socket::open(&server).await;
    for at in 0..200 {
        let request = match at % 4 {
            0 => json!({"stream": "labels/create", "payload": {"name": format!("{at}")}}),
            1 => json!({"stream": "labels/list", "limit": 1}),
            2 => json!({"action": "ping"}),
            _ => json!({"stream": "labels/what"}),
        };
        let mut request = request;
        request["request_id"] = at.into();
        socket.send_text(request.to_string()).await;
    }
    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let reply = socket.receive_json().await;
        assert!(answered.insert(reply["request_id"].as_u64()), "{reply} is a second reply");
    }
}

#[tokio::test]
async fn a_connection_holds_no_more_subscriptions_than_it_may() {
    let server = Setup::memory()
        .configure(|connect| {
            let mut limits = Limits::default();
            limits.subscriptions = 2;
            connect.limits(limits)
        })
        .start()
        .await;
    let mut socket = Socket::open(&server).await;
    socket.subscribe("labels", json!({})).await;
    socket.subscribe("topics", json!({})).await;
    socket.subscribe("topics", json!({})).await;
    let reply = socket.request(json!({"stream": "comments/subscribe"})).await;
    assert_refused(&reply, 400, "validation_error");
    assert_eq!(socket.request(json!({"stream": "labels/unsubscribe"})).await["status"], 204);
    socket.subscribe("comments", json!({})).await;
}

#[tokio::test]
async fn too_many_requests_are_answered_with_429_and_then_the_socket_is_closed() {
    let server = Setup::memory()
        .configure(|connect| {
            let mut limits = Limits::default();
            limits.requests_per_second = 1;
            limits.request_burst = 3;
            limits.throttled_in_a_row = 5;
            connect.limits(limits)
        })
        .start()
        .await;
    let mut socket = Socket::open(&server).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let reply = socket.request(json!({"action": "ping"})).await;
        if reply["status"] == 429 {
            assert_eq!(reply["error"]["code"], "throttled");
            assert!(reply["error"]["retry_after"].as_f64() > Some(0.0), "{reply}");
        }
        statuses.push(reply["status"].as_u64());
    }
    assert_eq!(statuses[..3], [Some(200); 3]);
    assert!(statuses[3..].contains(&Some(429)), "{statuses:?}");
    for _ in 0..20 {
        // The connection may end while the rest is sent.
        socket.send_text(r#"{"action": "ping"}"#).await;
    }
    assert_eq!(socket.closed().await, Some(4429));
}

#[tokio::test]
async fn a_server_that_drains_closes_with_1001_and_takes_no_more_sockets() {
    let server = Server::start().await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(Socket::subscribed(&server, "comments", json!({})).await);
    }
    server.realtime().drain().await;
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, Some(1001));
    }
    let refused = Handshake::to("/api/ws").open(&server).await.expect_err("no socket");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(server.get("/api/topics/").await.status, 200, "requests are still served");
}

#[tokio::test]
async fn a_drain_closes_a_few_at_a_time_and_who_is_still_there_is_told_of_what_happens() {
    let mut limits = Limits::default();
    limits.drain_ms = 60_000;
    let server = Setup::memory().configure(move |connect| connect.limits(limits)).start().await;
    let mut sockets = Vec::new();
    for _ in 0..200 {
        sockets.push(Socket::subscribed(&server, "labels", json!({})).await);
    }
    let realtime = server.realtime().clone();
    let drained = tokio::spawn(async move { realtime.drain().await });
    let closing = sockets.iter_mut().map(|socket| Box::pin(socket.closed()));
    let (code, first, _) = futures_util::future::select_all(closing).await;
    assert_eq!(code, Some(1001));
    sockets.swap_remove(first);
    server.write("INSERT INTO labels (name, weight) VALUES ('late', 1)").await;
    let mut told = 0;
    for mut socket in sockets {
        if let Incoming::Text(event) = socket.receive().await {
            assert!(event.contains(r#""name":"late""#), "{event}");
            assert_eq!(socket.closed().await, Some(1001));
            told += 1;
        }
    }
    assert!(told > 0, "all were closed at once");
    drained.await.expect("it ends when all have been closed");
}

/// A masked frame as a client sends it; the mask is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend_from_slice(payload);
    bytes
}

fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | u8::try_from(length).expect("short")),
        126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(length).expect("of middle length").to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

async fn closing_code(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut socket = Socket::open(server).await;
    socket.send_bytes(bytes).await;
    socket.closed().await
}

#[tokio::test]
async fn a_message_over_the_size_limit_is_1009_as_soon_as_its_header_is_there() {
    let server = Setup::memory().start().await;
    let limit = 1 << 20;
    assert_eq!(closing_code(&server, &header(0x81, limit + 1)).await, Some(1009));
    assert_eq!(closing_code(&server, &header(0x82, u64::MAX >> 1)).await, Some(1009));
    let half = vec![b' '; 600_000];
    let fragmented = [frame(0x01, &half), header(0x80, 600_000)].concat();
    assert_eq!(closing_code(&server, &fragmented).await, Some(1009));

    // At the limit everything is in order, in one frame and in many.
    let mut socket = Socket::open(&server).await;
    let mut text = br#"{"action": "ping", "request_id": "whole"}"#.to_vec();
    text.resize(1 << 20, b' ');
    socket.send_bytes(&frame(0x81, &text)).await;
    assert_eq!(socket.receive_json().await["request_id"], "whole");
    let parts: Vec<&[u8]> = text.chunks(100_000).collect();
    for (at, part) in parts.iter().enumerate() {
        let fin = if at + 1 == parts.len() { 0x80 } else { 0 };
        socket.send_bytes(&frame(fin | u8::from(at == 0), part)).await;
        if at == 3 {
            socket.send_bytes(&frame(0x89, b"between")).await;
        }
    }
    assert_eq!(socket.receive().await, Incoming::Pong(b"between".to_vec()));
    assert_eq!(socket.receive_json().await["request_id"], "whole");
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_1007() {
    let server = Setup::memory().start().await;
    for text in [&[0xff][..], &[0xc0, 0x80], &[b'"', 0xed, 0xa0, 0x80, b'"'], &[0xe2, 0x82]] {
        assert_eq!(closing_code(&server, &frame(0x81, text)).await, Some(1007), "{text:?}");
    }
    let parts = [frame(0x01, &[0xe2, 0x82]), frame(0x80, b"x")].concat();
    assert_eq!(closing_code(&server, &parts).await, Some(1007));

    let mut socket = Socket::open(&server).await;
    let text = r#"{"action": "ping", "request_id": "€"}"#.as_bytes();
    let cut = text.iter().position(|byte| *byte == 0xe2).expect("a euro sign") + 1;
    socket.send_bytes(&[frame(0x01, &text[..cut]), frame(0x80, &text[cut..])].concat()).await;
    assert_eq!(socket.receive_json().await["request_id"], "€", "a character may be cut in two by its frames");
}

#[tokio::test]
async fn a_frame_that_breaks_the_protocol_is_1002() {
    let server = Setup::memory().start().await;
    let cases: [(&str, Vec<u8>); 9] = [
        ("not masked", vec![0x81, 0x02, b'{', b'}']),
        ("reserved bit 1", frame(0xc1, b"{}")),
        ("reserved bit 3", frame(0x91, b"{}")),
        ("reserved opcode", frame(0x83, b"{}")),
        ("reserved control opcode", frame(0x8b, b"")),
        ("continuation of nothing", frame(0x80, b"{}")),
        ("a message in a message", [frame(0x01, b"{"), frame(0x81, b"{}")].concat()),
        ("a ping in parts", frame(0x09, b"x")),
        ("a long ping", frame(0x89, &[b'x'; 126])),
    ];
    for (name, bytes) in cases {
        assert_eq!(closing_code(&server, &bytes).await, Some(1002), "{name}");
    }
    for length in [124, 125] {
        let mut socket = Socket::open(&server).await;
        socket.send_bytes(&frame(0x89, &vec![b'x'; length])).await;
        assert_eq!(socket.receive().await, Incoming::Pong(vec![b'x'; length]));
    }
}

#[tokio::test]
async fn a_ping_frame_is_answered_with_its_payload_and_a_close_frame_with_its_code() {
    let server = Setup::memory().start().await;
    let mut socket = Socket::open(&server).await;
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        socket.send_bytes(&frame(0x89, payload)).await;
        assert_eq!(socket.receive().await, Incoming::Pong(payload.to_vec()));
    }
    socket.send_bytes(&frame(0x8a, b"a pong that nobody asked for")).await;
    assert_eq!(socket.request(json!({"action": "ping"})).await["status"], 200);
    for code in [1000_u16, 1001, 3000, 4999] {
        assert_eq!(closing_code(&server, &frame(0x88, &code.to_be_bytes())).await, Some(code));
    }
    let mut socket = Socket::open(&server).await;
    socket.send_bytes(&frame(0x88, &1000_u16.to_be_bytes())).await;
    assert_eq!(socket.closed().await, Some(1000));
    assert_eq!(socket.receive().await, Incoming::End, "the server ends the connection");
    let empty = closing_code(&server, &frame(0x88, b"")).await;
    assert!(matches!(empty, Some(1000 | 1005)), "{empty:?}");
}

#[tokio::test]
async fn a_close_frame_that_breaks_the_protocol_is_1002() {
    let server = Setup::memory().start().await;
    for (name, payload) in [
        ("half a code", &[3][..]),
        ("1005 is never sent", &1005_u16.to_be_bytes()),
        ("999 is no code", &999_u16.to_be_bytes()),
        ("5000 is no code", &5000_u16.to_be_bytes()),
    ] {
        let code = closing_code(&server, &frame(0x88, payload)).await;
        assert_eq!(code, Some(1002), "{name}");
    }
}

#[tokio::test]
async fn binary_frames_are_refused_and_the_socket_goes_on() {
    let server = Setup::memory().start().await;
    let mut socket = Socket::open(&server).await;
    for bytes in [frame(0x82, b"{}"), [frame(0x02, b"{"), frame(0x80, b"}")].concat()] {
        socket.send_bytes(&bytes).await;
        let reply = socket.receive_json().await;
        assert_refused(&reply, 400, "unsupported_frame");
        assert_eq!(
            (&reply["request_id"], &reply["stream"], &reply["action"]),
            (&Json::Null, &Json::Null, &Json::Null)
        );
    }
    assert_eq!(socket.request(json!({"action": "ping"})).await["status"], 200);
}

#[tokio::test]
async fn the_application_can_ask_how_many_groups_there_are_and_how_many_cost_every_change() {
    let server = Setup::memory().start().await;
    let counts = async || {
        let counts = server.realtime().groups().await;
        (counts.groups, counts.scanned)
    };
    assert_eq!(counts().await, (0, 0));
    let (light, all) = (json!({"weight__lt": 7}), json!({}));
    let mut sockets = [Socket::open(&server).await, Socket::open(&server).await];
    for (at, filter) in [(0, &light), (1, &light), (0, &all)] {
        let subscribe = json!({"stream": "labels/subscribe", "payload": filter});
        assert_eq!(sockets[at].request(subscribe).await["status"], 200);
    }
    assert_eq!(counts().await, (2, 1));
    let unsubscribe = json!({"stream": "labels/unsubscribe", "payload": all});
    assert_eq!(sockets[0].request(unsubscribe).await["status"], 204);
    let all_is_left = async {
        while counts().await != (1, 0) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within("the group of all ends with its only member", all_is_left).await;
}
