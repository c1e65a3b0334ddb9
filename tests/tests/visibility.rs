//! Which rows there are for whom, and what becomes of subscriptions as that changes.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::Method;
use realtime_actix::testing::{Client, Socket, User};
use realtime_tests::{Key, Kit, Random, View};
use serde_json::{Value as Json, json};

/// The owner of the first topic, another user, and one of the staff.
struct People {
    ann: User,
    bob: User,
    staff: User,
}

async fn start() -> (Kit, People) {
    let kit = Kit::start().await;
    let users = &kit.users;
    let people = People { ann: users.user(), bob: users.user(), staff: users.admin() };
    (kit, people)
}

async fn comment(client: &mut Client, body: &str, status: &str) -> Json {
    client.post("/api/comments/", json!({"topic_id": 1, "body": body, "status": status})).await.expect(201)
}

#[actix_web::test]
async fn what_a_user_may_is_looked_at_anew_on_request() {
    let (kit, People { ann, bob, .. }) = start().await;
    let made = comment(&mut kit.client_of(&bob), "bob's", "published").await;
    comment(&mut kit.client_of(&bob), "not yet", "draft").await;
    let mut client = kit.client_of(&ann);
    let mut socket = kit.follower(&client, "comments", json!({})).await;
    let update = json!({"stream": "comments/update", "pk": made["id"], "payload": {"score": 1}});
    assert_eq!(socket.request(update.clone()).await["status"], 403);
    kit.users.set_admin(&ann, true);
    kit.app.realtime().refresh_user(ann.key);
    // What she sees now is told once she has become one of the staff.
    assert_eq!(socket.next_event().await["data"]["body"], "not yet");
    assert_eq!(socket.request(update).await["status"], 200);
    client.logout();
    socket.assert_closed(4401).await;
}

/// One batch, of one subscription, that says what has come and what has gone.
async fn difference(socket: &mut Socket, subscription: &str) -> Vec<String> {
    let mut told = Vec::new();
    let mut cursor = Json::Null;
    loop {
        let event = socket.next_event().await;
        assert_eq!(
            (&event["type"], &event["subscription"]),
            (&json!("event"), &json!(subscription)),
            "{event}"
        );
        let is_first = told.is_empty();
        assert!(is_first || event["cursor"] == cursor, "{event} after {cursor}");
        told.push(match &event["data"]["body"] {
            Json::String(body) => format!("{} {body}", event["action"].as_str().expect("an action")),
            _ => format!("{} {}", event["action"].as_str().expect("an action"), event["pk"]),
        });
        cursor = event["cursor"].clone();
        if event.get("more").is_none() {
            return told;
        }
    }
}

#[actix_web::test]
async fn who_sees_other_rows_is_shown_them_at_once() {
    let (kit, People { ann, bob, staff }) = start().await;
    comment(&mut kit.client_of(&ann), "own", "draft").await;
    comment(&mut kit.client_of(&bob), "shown", "published").await;
    kit.write(
        "INSERT INTO comments (topic_id, author_id, body, status, created_at)
               VALUES (1, 2, 'canary', 'hidden', '2026-01-01 00:00:00')",
    )
    .await;
    let mut socket = kit.app.client().connect("/api/ws").await;
    let id = socket.subscribe("comments", json!({"topic": 1})).await;
    let feed = socket.subscribe("topic-feed", json!({})).await;
    assert_ne!(id, feed);
    // Somebody who logs in sees his drafts.
    let token = kit.users.log_in(&ann.name, "pw").expect("the password");
    let authenticate = json!({"action": "authenticate", "payload": {"token": token}});
    assert_eq!(socket.request(authenticate).await["status"], 200);
    assert_eq!(difference(&mut socket, &id).await, ["create own"]);
    // One of the staff sees everything, and no longer when he is not one any more. What shows the same goes on.
    kit.users.set_admin(&ann, true);
    kit.app.realtime().refresh_user(ann.key);
    assert_eq!(difference(&mut socket, &id).await, ["create canary"]);
    kit.write("UPDATE comments SET score = 1 WHERE body = 'canary'").await;
    assert_eq!(socket.next_event().await["diff"], json!({"score": 1}));
    kit.users.set_admin(&ann, false);
    kit.app.realtime().refresh_user(ann.key);
    assert_eq!(difference(&mut socket, &id).await, ["delete 3"]);
    kit.write("UPDATE comments SET score = 2 WHERE body = 'canary'").await;
    socket.assert_silent().await;
    kit.client_of(&staff).patch("/api/comments/3/", json!({"status": "published"})).await.expect(200);
    assert_eq!(socket.next_event().await["action"], "create");
}

/// What was written while he was away is not all that he has missed.
#[actix_web::test]
async fn who_comes_back_after_he_has_become_another_one_does_not_go_on_from_what_he_was_told_before() {
    let (kit, People { ann, bob, .. }) = start().await;
    comment(&mut kit.client_of(&bob), "own", "draft").await;
    let (mut hers, his) = (kit.client_of(&ann), kit.client_of(&bob));
    let position = async |client: &Client| {
        let mut socket = client.connect("/api/ws").await;
        socket.events().await;
        socket.request(json!({"action": "ping"})).await["data"]["cursor"].clone()
    };
    let come_back = async |client: &Client, since: &Json| {
        let mut socket = client.connect("/api/ws").await;
        let subscribe =
            json!({"stream": "comments", "action": "subscribe", "since": since, "snapshot": true});
        let recovered = socket.request(subscribe).await["data"]["recovered"].clone();
        let rows = socket.events().await.iter().find_map(|message| message["data"].as_array().map(Vec::len));
        (recovered, rows)
    };
    let before = position(&hers).await;
    assert_eq!(come_back(&hers, &before).await, (json!(true), None));
    kit.users.set_admin(&ann, true);
    kit.app.realtime().refresh_user(ann.key);
    assert_eq!(come_back(&hers, &before).await, (json!(false), Some(1)), "one of the staff sees drafts");
    let path = format!("/api/comments/changes?wait=0&since={}", before.as_str().expect("a cursor"));
    hers.get(&path).await.expect(410);
    assert_eq!(come_back(&his, &before).await, (json!(true), None), "others go on");
    // What she is told from now on she goes on from.
    kit.write("UPDATE comments SET score = 1").await;
    let now = position(&hers).await;
    assert_eq!(come_back(&hers, &now).await, (json!(true), None));
    // His sockets are closed because something about him has changed.
    let mut open = hers.connect("/api/ws").await;
    kit.users.set_admin(&ann, false);
    kit.app.realtime().close_user(ann.key);
    open.assert_closed(4401).await;
    assert_eq!(come_back(&hers, &now).await, (json!(false), Some(0)));
    // One of her sessions ends: she is who she was.
    kit.write("UPDATE comments SET score = 2").await;
    let now = position(&hers).await;
    let mut open = hers.connect("/api/ws").await;
    kit.app.realtime().close_other_sessions(ann.key, "another");
    open.assert_closed(4401).await;
    assert_eq!(come_back(&hers, &now).await, (json!(true), None));
}

/// The rows of a subscription are those that its holder sees, whatever is written while that changes.
#[actix_web::test]
async fn what_is_seen_is_right_however_often_it_changes() {
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let (kit, People { ann, .. }) = start().await;
        let mut client = kit.client_of(&ann);
        let mut socket = client.connect("/api/ws").await;
        let subscribe =
            json!({"stream": "comments/subscribe", "payload": {"score__gte": 0}, "snapshot": true});
        let mut view = View::new("id");
        view.is_seen_anew = true;
        view.subscribed(&socket.request(subscribe).await["data"]);
        while !view.is_whole() {
            view.take(&socket.next_event().await);
        }
        let mut is_admin = false;
        for _ in 0..60 {
            let (key, status) = (1 + random.below(7), random.one(&["published", "draft", "hidden"]));
            let (author, score) = (1 + random.below(2), random.one(&[-1, 0, 1]));
            match random.below(6) {
                0 => {
                    kit.write(format!(
                        "INSERT INTO comments (id, topic_id, author_id, body, status, score, created_at) \
                         SELECT {key}, 1, {author}, 'x', '{status}', {score}, '2026-01-01 00:00:00' \
                         WHERE NOT EXISTS (SELECT 1 FROM comments WHERE id = {key})"
                    ))
                    .await;
                }
                1 => kit.write(format!("DELETE FROM comments WHERE id = {key}")).await,
                2 => {
                    let set = format!("UPDATE comments SET status = '{status}', score = {score}");
                    kit.write(format!("{set} WHERE id <= {key}")).await;
                }
                3 => kit.write(format!("UPDATE comments SET body = body || 'y' WHERE id >= {key}")).await,
                4 => {
                    is_admin = !is_admin;
                    kit.users.set_admin(&ann, is_admin);
                    kit.app.realtime().refresh_user(ann.key);
                }
                _ => {
                    for message in socket.events().await {
                        view.take(&message);
                    }
                }
            }
        }
        let list = client.get("/api/comments/?score__gte=0&ordering=id").await.expect(200);
        let rows = list["results"].as_array().expect("rows").iter();
        let expected: BTreeMap<Key, Json> = rows.map(|row| (Key::of(&row["id"]), row.clone())).collect();
        let converged = async {
            loop {
                for message in socket.events().await {
                    view.take(&message);
                }
                if view.is_whole() && view.rows == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), converged).await.is_err() {
            assert_eq!(view.rows, expected, "seed {seed}");
        }
    }
}

#[actix_web::test]
async fn a_row_that_may_not_be_seen_does_not_exist() {
    let (kit, People { ann, bob, staff }) = start().await;
    let made = comment(&mut kit.client_of(&ann), "canary", "draft").await;
    let path = format!("/api/comments/{}/", made["id"]);
    let missing = "/api/comments/999999/";
    for (mut client, known) in [(kit.app.client(), false), (kit.client_of(&bob), true)] {
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            let there = client.send(method.clone(), &path, json!({})).await;
            let nowhere = client.send(method.clone(), missing, json!({})).await;
            there.expect(if known || method == Method::GET { 404 } else { 401 });
            assert_eq!((there.status, &there.body), (nowhere.status, &nowhere.body), "{method}");
        }
        let list = client.get("/api/comments/?body__contains=canary").await;
        assert_eq!(list.json()["count"], 0);
        assert!(!String::from_utf8_lossy(&list.body).contains("canary\""), "{list:?}");
    }
    for user in [&ann, &staff] {
        assert_eq!(kit.client_of(user).get(&path).await.expect(200)["body"], "canary");
    }
}

#[actix_web::test]
async fn rows_come_and_go_as_they_are_shown_and_hidden() {
    let (kit, People { ann, bob, staff }) = start().await;
    let mut bob = kit.client_of(&bob).connect("/api/ws").await;
    let mut staff = kit.client_of(&staff).connect("/api/ws").await;
    let id = bob.subscribe("comments", json!({"topic": 1})).await;
    let same = staff.subscribe("comments", json!({"topic": 1})).await;
    assert_eq!(id, same, "the id is that of what was asked for");
    let made = comment(&mut kit.client_of(&ann), "now you see me", "published").await;
    kit.write("UPDATE comments SET status = 'hidden', body = 'canary'").await;
    kit.write("UPDATE comments SET body = 'canary 2'").await;
    kit.write("UPDATE comments SET status = 'published', body = 'again'").await;
    let told = |events: Vec<Json>| -> Vec<String> {
        events
            .iter()
            .map(|event| {
                let what =
                    if event["action"] == "create" { &event["data"]["body"] } else { &event["diff"]["body"] };
                assert_eq!(event["pk"], made["id"]);
                format!("{} {what}", event["action"].as_str().expect("an action"))
            })
            .collect()
    };
    let create = |body: &str| format!("create {body:?}");
    assert_eq!(
        told(bob.events().await),
        [create("now you see me"), "delete null".to_owned(), create("again")]
    );
    let update = |body: &str| format!("update {body:?}");
    assert_eq!(
        told(staff.events().await),
        [create("now you see me"), update("canary"), update("canary 2"), update("again")]
    );
}
