//! The test kit: what its clients do, and that what they assert can fail.

use actix_web::cookie::Cookie;
use actix_web::{App, HttpRequest, HttpResponse, web};
use realtime_actix::testing::{Socket, TestApp};
use realtime_tests::{Kit, Store};
use serde_json::{Value as Json, json};

/// A socket of nobody in particular that follows the topics.
async fn follower(kit: &Kit) -> Socket {
    kit.follower(&kit.app.client(), "topics", json!({})).await
}

/// Renames a topic in a transaction of the service.
async fn rename(kit: &Kit, topic: i32, title: &str) {
    kit.write(format!("UPDATE topics SET title = '{title}' WHERE id = {topic}")).await;
}

fn titles(events: &[Json]) -> Vec<&str> {
    events.iter().filter_map(|event| event["diff"]["title"].as_str()).collect()
}

#[actix_web::test]
async fn all_that_is_committed_is_told_before_silence_is_asserted() {
    let kit = Kit::on(Store::fresh()).await;
    let mut socket = follower(&kit).await;
    let mut own = kit.connection();
    for round in 0..20 {
        socket.assert_silent().await;
        let (ours, theirs) = (format!("ours {round}"), format!("theirs {round}"));
        rename(&kit, 1, &ours).await;
        own.batch_execute(&format!("UPDATE topics SET title = '{theirs}' WHERE id = 2")).expect("a commit");
        let events = socket.events().await;
        let mut told = titles(&events);
        told.sort_unstable();
        assert_eq!(told, [ours, theirs]);
    }
    socket.assert_silent().await;
}

#[actix_web::test]
#[should_panic(expected = "unexpected: ")]
async fn silence_is_not_asserted_where_something_is_told() {
    let kit = Kit::start().await;
    let mut socket = follower(&kit).await;
    rename(&kit, 1, "loud").await;
    socket.assert_silent().await;
}

#[actix_web::test]
#[should_panic(expected = "another code")]
async fn a_close_code_is_not_taken_for_another() {
    let kit = Kit::start().await;
    let mut socket = follower(&kit).await;
    kit.app.realtime().drain().await;
    socket.assert_closed(4401).await;
}

#[actix_web::test]
#[should_panic(expected = "the socket is closed with Some(1001)")]
async fn what_asks_a_closed_socket_says_how_it_was_closed() {
    let kit = Kit::start().await;
    let mut socket = follower(&kit).await;
    kit.app.realtime().drain().await;
    socket.request(json!({"action": "ping"})).await;
    socket.request(json!({"action": "ping"})).await;
}

#[actix_web::test]
#[should_panic(expected = "the socket is refused with 401")]
async fn a_refused_socket_is_none() {
    let kit = Kit::start().await;
    let client = kit.app.client().with_header(actix_web::http::header::AUTHORIZATION, "Bearer unknown");
    client.connect("/api/ws").await;
}

#[actix_web::test]
async fn events_that_come_before_a_reply_are_kept_in_their_order() {
    let kit = Kit::start().await;
    let mut socket = follower(&kit).await;
    for title in ["a", "b", "c"] {
        rename(&kit, 1, title).await;
    }
    let first = socket.next_event().await;
    let reply = socket.request(json!({"stream": "topics/retrieve/1", "request_id": "mine"})).await;
    assert_eq!((&reply["request_id"], &reply["data"]["title"]), (&json!("mine"), &json!("c")));
    let mut events = vec![first];
    events.extend(socket.events().await);
    assert_eq!(titles(&events), ["a", "b", "c"]);
    socket.send_text("no JSON").await;
    socket.assert_silent().await;
    socket.close().await;
}

#[actix_web::test]
async fn users_log_in_become_others_and_log_out() {
    let kit = Kit::start().await;
    let ann = kit.users.create_user("ann", "secret");
    let (second, admin) = (kit.users.user(), kit.users.admin());
    assert_eq!((ann.key, second.key, second.name.as_str(), admin.is_admin), (1, 2, "u1", true));

    let mut client = kit.app.client();
    let topic = json!({"title": "t"});
    client.post("/api/topics/", topic.clone()).await.expect(401);
    assert_eq!(client.login("ann", "wrong").expect_err("not her password").status(), 401);
    assert_eq!(client.login("bob", "secret").expect_err("nobody").status(), 401);
    client.post("/api/topics/", topic.clone()).await.expect(401);
    client.login("ann", "secret").expect("her password");
    assert_eq!(client.post("/api/topics/", topic).await.expect(201)["owner_id"], 1);

    // One session of several.
    let mut elsewhere = client.clone();
    elsewhere.force_login(&ann);
    let (mut socket, mut other) = (client.connect("/api/ws").await, elsewhere.connect("/api/ws").await);
    client.logout();
    socket.assert_closed(4401).await;
    other.assert_silent().await;
    client.logout();

    // A token is good wherever one is presented.
    let token = kit.users.log_in("ann", "secret").expect("her password");
    let mut socket = kit.app.client().connect("/api/ws").await;
    let authenticate = json!({"action": "authenticate", "payload": {"token": token}});
    assert_eq!(socket.request(authenticate.clone()).await["status"], 200);
    kit.users.log_out(&token);
    assert_eq!(socket.request(authenticate).await["status"], 401);
    kit.app.realtime().refresh_user(ann.key);
    socket.assert_closed(4401).await;
}

#[actix_web::test]
async fn who_becomes_an_admin_is_told_so() {
    let kit = Kit::start().await;
    let ann = kit.users.user();
    let mut client = kit.client_of(&ann);
    let mut others = kit.client_of(&kit.users.user());
    let draft = json!({"topic_id": 1, "body": "draft", "status": "draft"});
    others.post("/api/comments/", draft).await.expect(201);

    let mut socket = kit.follower(&client, "comments", json!({})).await;
    kit.users.set_admin(&ann, true);
    kit.app.realtime().refresh_user(ann.key);
    assert_eq!(socket.next_event().await["data"]["body"], "draft");
    client.get("/api/comments/1/").await.expect(200);
    kit.users.set_admin(&ann, false);
    client.get("/api/comments/1/").await.expect(404);
}

/// An application with a log-in of its own.
#[actix_web::test]
async fn a_client_keeps_its_cookies() {
    let kit = Kit::start().await;
    let app = App::new()
        .route(
            "/in",
            web::post().to(|| async {
                HttpResponse::Ok().cookie(Cookie::build("session", "s1").path("/").finish()).finish()
            }),
        )
        .route(
            "/out",
            web::post().to(|| async {
                let mut cookie = Cookie::build("session", "").finish();
                cookie.make_removal();
                HttpResponse::Ok().cookie(cookie).finish()
            }),
        )
        .route(
            "/me",
            web::get().to(|request: HttpRequest| async move {
                let cookie = request.cookie("session").map(|cookie| cookie.value().to_owned());
                HttpResponse::Ok().body(json!(cookie).to_string())
            }),
        );
    let mut client = TestApp::new(kit.app.realtime(), &kit.users, app).await.client();
    assert_eq!(client.get("/me").await.json(), Json::Null);
    client.post("/in", Json::Null).await.expect(200);
    assert_eq!(client.get("/me").await.json(), "s1");
    client.post("/out", Json::Null).await.expect(200);
    assert_eq!(client.get("/me").await.json(), Json::Null);
}
