//! Who may do and see what: the rules of the forum, over REST and the socket of the program itself.

use realtime_tests::{Socket, position};
use serde_json::{Value as Json, json};

use crate::running::{Forum, Login};

struct People {
    ann: Login,
    bob: Login,
    staff: Login,
}

async fn start() -> (Forum, People) {
    let forum = Forum::start().await;
    let people = People {
        ann: forum.demo("ann").await,
        bob: forum.demo("bob").await,
        staff: forum.demo("staff").await,
    };
    (forum, people)
}

impl People {
    /// Nobody, ann, bob, staff.
    fn all(&self) -> [Option<&Login>; 4] {
        [None, Some(&self.ann), Some(&self.bob), Some(&self.staff)]
    }
}

/// The status of a request for nobody, ann, bob and staff, who make it in this order.
async fn statuses(forum: &Forum, people: &People, method: &str, path: &str, body: Json) -> [u16; 4] {
    let mut statuses = [0; 4];
    for (status, login) in statuses.iter_mut().zip(people.all()) {
        *status = forum.ask(method, path, login, body.clone()).await.status;
    }
    statuses
}

/// The same over a socket.
async fn replies(forum: &Forum, people: &People, message: Json) -> [u64; 4] {
    let mut statuses = [0; 4];
    for (status, login) in statuses.iter_mut().zip(people.all()) {
        let mut socket = forum.socket(login).await;
        *status = socket.request(message.clone()).await["status"].as_u64().expect("a status");
    }
    statuses
}

async fn make(forum: &Forum, login: &Login, stream: &str, body: Json) -> Json {
    let made = forum.post(&format!("/api/{stream}/"), Some(login), body).await;
    assert_eq!(made.status, 201, "{}", made.json);
    made.json
}

async fn subscribe(socket: &mut Socket, stream: &str) -> u64 {
    socket.request(json!({"stream": stream, "action": "subscribe", "payload": {}})).await["status"]
        .as_u64()
        .expect("a status")
}

#[tokio::test]
async fn users_are_known_to_each_other_and_change_themselves() {
    let (forum, people) = start().await;
    let bob = format!("/api/users/{}/", people.bob.id);
    assert_eq!(statuses(&forum, &people, "GET", "/api/users/", Json::Null).await, [401, 200, 200, 200]);
    assert_eq!(statuses(&forum, &people, "GET", &bob, Json::Null).await, [401, 200, 200, 200]);
    assert_eq!(subscribe(&mut forum.socket(None).await, "users").await, 401);
    assert_eq!(subscribe(&mut forum.socket(Some(&people.bob)).await, "users").await, 200);
    let same = json!({"username": "bob"});
    assert_eq!(statuses(&forum, &people, "PATCH", &bob, same.clone()).await, [401, 403, 200, 200]);
    assert_eq!(statuses(&forum, &people, "PUT", &bob, same.clone()).await, [401, 403, 200, 200]);
    let update = json!({"stream": "users/update", "pk": people.bob.id, "payload": same});
    assert_eq!(replies(&forum, &people, update).await, [401, 403, 200, 200]);
    for (method, path) in [("DELETE", bob.as_str()), ("POST", "/api/users/")] {
        assert_eq!(statuses(&forum, &people, method, path, json!({"username": "new"})).await, [405; 4]);
    }
    for (name, status) in [("", 400), ("ab", 400), ("Bob", 400), ("b b", 400), ("ann", 409)] {
        let refused = forum.ask("PATCH", &bob, Some(&people.bob), json!({"username": name})).await;
        assert_eq!((refused.status, refused.mistakes()), (status, vec!["username"]), "{name:?}");
    }
    let body = json!({"is_staff": true, "password_hash": "x"});
    assert_eq!(forum.ask("PATCH", &bob, Some(&people.bob), body).await.status, 400);
    let ignored = forum.ask("PATCH", &bob, Some(&people.bob), json!({"is_staff": true})).await;
    assert_eq!((ignored.status, &ignored.json["is_staff"]), (200, &json!(false)));
    let listed = forum.ask("GET", "/api/users/?name=B", Some(&people.ann), Json::Null).await;
    assert_eq!(listed.json["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed.json["results"][0].as_object().map(serde_json::Map::len), Some(4));
    let secret = forum.ask("GET", "/api/users/?password_hash__startswith=$", Some(&people.staff), Json::Null);
    assert_eq!(secret.await.status, 400);
}

#[tokio::test]
async fn a_topic_is_its_owners_and_goes_with_its_comments() {
    let (forum, people) = start().await;
    assert_eq!(
        statuses(&forum, &people, "POST", "/api/topics/", json!({"title": "x"})).await,
        [401, 201, 201, 201]
    );
    let create = json!({"stream": "topics/create", "payload": {"title": "x"}});
    assert_eq!(replies(&forum, &people, create).await, [401, 201, 201, 201]);
    let made = make(&forum, &people.bob, "topics", json!({"title": "bob's", "owner_id": 1})).await;
    assert_eq!(made["owner_id"], people.bob.id);
    let path = format!("/api/topics/{}/", made["id"]);
    assert_eq!(statuses(&forum, &people, "GET", &path, Json::Null).await, [200; 4]);
    assert_eq!(
        statuses(&forum, &people, "PATCH", &path, json!({"locked": true})).await,
        [401, 403, 200, 200]
    );
    let mut socket = forum.socket(Some(&people.ann)).await;
    assert_eq!(subscribe(&mut socket, "comments").await, 200);
    let comment = make(&forum, &people.staff, "comments", json!({"topic_id": made["id"], "body": "x"})).await;
    assert_eq!(socket.next_event().await["action"], "create");
    let delete = json!({"stream": "topics/delete", "pk": made["id"]});
    assert_eq!(replies(&forum, &people, delete).await, [401, 403, 204, 404]);
    let event = socket.next_event().await;
    assert_eq!((&event["action"], &event["pk"]), (&json!("delete"), &comment["id"]));
}

#[tokio::test]
async fn drafts_and_hidden_comments_are_for_their_author_and_staff() {
    let (forum, people) = start().await;
    let mut sockets = Vec::new();
    for login in people.all() {
        let mut socket = forum.socket(login).await;
        assert_eq!(subscribe(&mut socket, "comments").await, 200);
        sockets.push(socket);
    }
    let body = json!({"topic_id": 1, "body": "canary", "status": "draft"});
    assert_eq!(forum.post("/api/comments/", None, body.clone()).await.status, 401);
    let draft = make(&forum, &people.ann, "comments", body).await;
    let path = format!("/api/comments/{}/", draft["id"]);
    assert_eq!(statuses(&forum, &people, "GET", &path, Json::Null).await, [404, 200, 404, 200]);
    let score = json!({"score": 1});
    assert_eq!(statuses(&forum, &people, "PATCH", &path, score.clone()).await, [401, 200, 404, 200]);
    let update = json!({"stream": "comments/update", "pk": draft["id"], "payload": {"score": 2}});
    assert_eq!(replies(&forum, &people, update).await, [401, 200, 404, 200]);
    for (login, count) in people.all().into_iter().zip([0, 1, 0, 1]) {
        let list = forum.ask("GET", "/api/comments/?text=canary", login, Json::Null).await;
        assert_eq!(
            (&list.json["count"], list.json.to_string().contains("canary")),
            (&json!(count), count == 1)
        );
    }

    let publish = json!({"status": "published"});
    assert_eq!(forum.ask("PATCH", &path, Some(&people.ann), publish.clone()).await.status, 200);
    assert_eq!(statuses(&forum, &people, "PATCH", &path, score).await, [401, 200, 403, 200]);
    let hide = json!({"status": "hidden"});
    assert_eq!(statuses(&forum, &people, "PATCH", &path, hide.clone()).await, [401, 403, 403, 200]);
    assert_eq!(statuses(&forum, &people, "GET", &path, Json::Null).await, [404, 200, 404, 200]);
    // What staff have hidden its author does not show again: not as it was, nor by way of a draft or of a default.
    let whole = json!({"topic_id": 1, "body": "canary"});
    for (method, body) in [
        ("PATCH", publish.clone()),
        ("PATCH", json!({"status": "draft"})),
        ("PUT", whole.clone()),
        ("PUT", json!({"topic_id": 1, "body": "canary", "status": "published"})),
    ] {
        assert_eq!(forum.ask(method, &path, Some(&people.ann), body.clone()).await.status, 403, "{body}");
    }
    let mut of_ann = forum.socket(Some(&people.ann)).await;
    let show = json!({"stream": "comments/update", "pk": draft["id"], "payload": publish});
    assert_eq!(of_ann.request(show).await["status"], 403);
    let show = json!({"stream": "comments/replace", "pk": draft["id"], "payload": whole});
    assert_eq!(of_ann.request(show).await["status"], 403);
    // What was read can be written back.
    assert_eq!(forum.ask("PATCH", &path, Some(&people.ann), hide).await.status, 200);
    let hidden = json!({"topic_id": 1, "body": "x", "status": "hidden"});
    assert_eq!(statuses(&forum, &people, "POST", "/api/comments/", hidden).await, [401, 403, 403, 201]);
    assert_eq!(statuses(&forum, &people, "DELETE", &path, Json::Null).await, [401, 204, 404, 404]);

    // Others are told of what was public, and of nothing else.
    let of_others = vec!["create", "update", "delete"];
    let of_ann = vec!["create", "update", "update", "update", "update", "update", "delete"];
    for (socket, expected) in sockets.iter_mut().zip([of_others.clone(), of_ann, of_others]) {
        let mut told = Vec::new();
        while told.last().is_none_or(|last| last != "delete") {
            let event = socket.next_event().await;
            assert_eq!(event["pk"], draft["id"], "{event}");
            told.push(event["action"].as_str().expect("an action").to_owned());
        }
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn nothing_is_put_into_a_locked_topic_but_by_staff() {
    let (forum, people) = start().await;
    let topic = make(&forum, &people.ann, "topics", json!({"title": "About locks"})).await["id"].clone();
    let other = make(&forum, &people.ann, "topics", json!({"title": "Elsewhere"})).await["id"].clone();
    let inside = make(&forum, &people.ann, "comments", json!({"topic_id": topic, "body": "before"})).await;
    let outside = make(&forum, &people.ann, "comments", json!({"topic_id": other, "body": "outside"})).await;
    let path = |row: &Json, stream: &str| format!("/api/{stream}/{}/", row["id"]);
    let lock = json!({"locked": true});
    let locked = forum.ask("PATCH", &format!("/api/topics/{topic}/"), Some(&people.ann), lock).await;
    assert_eq!(locked.status, 200);

    let comment = json!({"topic_id": topic, "body": "after"});
    assert_eq!(
        statuses(&forum, &people, "POST", "/api/comments/", comment.clone()).await,
        [401, 403, 403, 201]
    );
    let create = json!({"stream": "comments/create", "payload": comment});
    assert_eq!(replies(&forum, &people, create).await, [401, 403, 403, 201]);
    // Even its own author does not get a comment in; what is inside stays his to change, and to take out.
    let (ann, into) = (Some(&people.ann), json!({"topic_id": topic}));
    assert_eq!(forum.ask("PATCH", &path(&outside, "comments"), ann, into.clone()).await.status, 403);
    let edit = json!({"topic_id": topic, "body": "edited"});
    assert_eq!(forum.ask("PATCH", &path(&inside, "comments"), ann, edit).await.status, 200);
    let out = json!({"topic_id": other});
    assert_eq!(forum.ask("PATCH", &path(&inside, "comments"), ann, out).await.status, 200);
    assert_eq!(forum.ask("PATCH", &path(&inside, "comments"), ann, into).await.status, 403);
    // What is wrong with the values is said first; an unknown topic is a mistake on its field.
    let empty = forum.post("/api/comments/", ann, json!({"topic_id": topic, "body": ""})).await;
    assert_eq!((empty.status, empty.mistakes()), (400, vec!["body"]));
    let unknown = forum.post("/api/comments/", ann, json!({"topic_id": 999_999, "body": "x"})).await;
    assert_eq!((unknown.status, unknown.mistakes()), (400, vec!["topic_id"]));
}

/// The feed of a topic has what is published, for everybody alike, and says no word of the rest.
#[tokio::test]
async fn a_topic_is_followed_as_a_whole_by_what_is_published_in_it() {
    let (forum, people) = start().await;
    let topic = make(&forum, &people.ann, "topics", json!({"title": "Followed"})).await["id"].clone();
    let other = make(&forum, &people.ann, "topics", json!({"title": "Elsewhere"})).await["id"].clone();
    let comment = |body: &str| json!({"topic_id": topic, "body": body});
    let first = make(&forum, &people.ann, "comments", comment("first")).await;
    let mut draft = comment("canary");
    draft["status"] = "draft".into();
    let draft = make(&forum, &people.ann, "comments", draft).await;

    let feed = format!("/api/topic-feed/?topic={topic}");
    let shown = json!({
        "id": first["id"], "topic_id": topic, "author_id": people.ann.id, "body": "first",
        "created_at": first["created_at"],
    });
    for login in people.all() {
        let list = forum.ask("GET", &feed, login, Json::Null).await;
        assert_eq!((&list.json["count"], &list.json["results"]), (&json!(1), &json!([shown])));
        for query in
            ["status=draft", "ordering=status", "body=first", "topic_id__gte=1", "created_at__year=2026"]
        {
            let refused = forum.ask("GET", &format!("{feed}&{query}"), login, Json::Null).await;
            assert_eq!(refused.status, 400, "{query}");
            assert!(!refused.json.to_string().contains("status,"), "{}", refused.json);
        }
    }
    let path = format!("/api/topic-feed/{}/", first["id"]);
    assert_eq!(statuses(&forum, &people, "GET", &path, Json::Null).await, [200; 4]);
    let path = format!("/api/topic-feed/{}/", draft["id"]);
    assert_eq!(statuses(&forum, &people, "GET", &path, Json::Null).await, [404; 4]);
    assert_eq!(statuses(&forum, &people, "POST", "/api/topic-feed/", comment("no")).await, [405; 4]);

    // Even its author is told of his draft when it is published. Who asks by a comment follows its topic.
    let mut sockets = Vec::new();
    for (login, filter) in [
        (None, json!({ "topic": topic })),
        (Some(&people.ann), json!({"topic_id__in": [topic]})),
        (Some(&people.staff), json!({"id": first["id"]})),
    ] {
        let mut socket = forum.socket(login).await;
        let message = json!({"stream": "topic-feed/subscribe", "payload": filter});
        let reply = socket.request(message).await;
        assert_eq!(reply["status"], 200, "{reply}");
        sockets.push((socket, reply["data"]["subscription"].clone()));
    }
    let comments = |row: &Json| format!("/api/comments/{}/", row["id"]);
    for (row, fields) in [
        (&draft, json!({"body": "canary, again"})),
        (&draft, json!({"status": "published", "body": "second"})),
        (&first, json!({"score": 5})),
        (&first, json!({ "topic_id": other })),
        (&draft, json!({"body": "last"})),
    ] {
        let changed = forum.ask("PATCH", &comments(row), Some(&people.ann), fields).await;
        assert_eq!(changed.status, 200, "{}", changed.json);
    }
    for (socket, id) in &mut sockets {
        let mut told = Vec::new();
        for _ in 0..3 {
            let event = socket.next_event().await;
            assert_eq!(event["subscription"], *id);
            assert!(!event.to_string().contains("canary"), "{event}");
            told.push(json!([event["action"], event["pk"]]));
        }
        let expected = json!([["create", draft["id"]], ["delete", first["id"]], ["update", draft["id"]]]);
        assert_eq!(json!(told), expected);
    }
}

#[tokio::test]
async fn notes_are_private() {
    let (forum, people) = start().await;
    let note = make(&forum, &people.ann, "notes", json!({"title": "canary", "owner_id": 2})).await;
    let defaults = json!({
        "id": note["id"], "owner_id": people.ann.id, "title": "canary", "body": null, "tags": [],
        "pinned": false, "due": null, "amount": null
    });
    assert_eq!(note, defaults);
    assert_eq!(note["id"].as_str().map(str::len), Some(36));
    let path = format!("/api/notes/{}/", note["id"].as_str().expect("a UUID"));
    let missing = "/api/notes/00000000-0000-4000-8000-000000000000/";
    for (method, body) in
        [("GET", Json::Null), ("PATCH", json!({"pinned": true})), ("PUT", json!({"title": "canary"}))]
    {
        assert_eq!(statuses(&forum, &people, method, &path, body.clone()).await, [401, 200, 404, 404]);
        assert_eq!(statuses(&forum, &people, method, missing, body).await, [401, 404, 404, 404]);
    }
    assert_eq!(statuses(&forum, &people, "GET", "/api/notes/", Json::Null).await, [401, 200, 200, 200]);
    for (login, count) in people.all().into_iter().zip([None, Some(1), Some(0), Some(0)]).skip(1) {
        let list = forum.ask("GET", "/api/notes/?title__contains=canary", login, Json::Null).await;
        assert_eq!(list.json["count"], json!(count));
    }
    let mut sockets = Vec::new();
    for login in [&people.ann, &people.staff] {
        let mut socket = forum.socket(Some(login)).await;
        assert_eq!(subscribe(&mut socket, "notes").await, 200);
        sockets.push(socket);
    }
    assert_eq!(subscribe(&mut forum.socket(None).await, "notes").await, 401);
    assert_eq!(statuses(&forum, &people, "DELETE", &path, Json::Null).await, [401, 204, 404, 404]);
    while sockets[0].next_event().await["action"] != "delete" {}
    let own = make(&forum, &people.staff, "notes", json!({"title": "of staff"})).await;
    assert_eq!(sockets[1].next_event().await["pk"], own["id"], "the first that staff is told of");
}

#[tokio::test]
async fn an_amount_has_two_places() {
    let (forum, people) = start().await;
    for (given, shown) in
        [("12.5", "12.50"), ("12.50", "12.50"), ("-3", "-3.00"), ("9999999999.99", "9999999999.99")]
    {
        let note = make(&forum, &people.ann, "notes", json!({"title": "x", "amount": given})).await;
        assert_eq!(note["amount"], shown);
        let path = format!("/api/notes/{}/", note["id"].as_str().expect("a UUID"));
        let stored = forum.ask("GET", &path, Some(&people.ann), Json::Null).await;
        assert_eq!(stored.json["amount"], shown);
    }
    for amount in ["12.500", "0.001", "10000000000", "1e3", "", "x"] {
        let body = json!({"title": "", "amount": amount});
        let refused = forum.post("/api/notes/", Some(&people.ann), body).await;
        assert_eq!((refused.status, refused.mistakes()), (400, vec!["amount", "title"]), "{amount}");
    }
    let list =
        forum.ask("GET", "/api/notes/?amount__gte=12.5&ordering=amount", Some(&people.ann), Json::Null);
    assert_eq!(list.await.json["count"], 3);
}

#[tokio::test]
async fn a_topic_is_locked_and_unlocked_by_its_owner_and_staff() {
    let (forum, people) = start().await;
    let topic = make(&forum, &people.bob, "topics", json!({"title": "bob's"})).await;
    let path = |action: &str| format!("/api/topics/{}/{action}/", topic["id"]);
    let mut socket = forum.socket(None).await;
    assert_eq!(subscribe(&mut socket, "topics").await, 200);
    for (action, locked) in [("lock", true), ("unlock", false)] {
        assert_eq!(statuses(&forum, &people, "POST", &path(action), Json::Null).await, [401, 403, 200, 200]);
        let mut event = socket.next_event().await;
        if event["action"] == "create" {
            // A change is answered when it is committed: who subscribes after that may still be told of it.
            assert_eq!((&event["pk"], locked), (&topic["id"], true), "{event}");
            event = socket.next_event().await;
        }
        assert_eq!(event["diff"], json!({"locked": locked}), "{event}");
        let answer = forum.post(&path(action), Some(&people.bob), json!({})).await;
        assert_eq!((&answer.json["locked"], &answer.json["title"]), (&json!(locked), &json!("bob's")));
        let address = format!("topics/{action}/{}/", topic["id"]);
        assert_eq!(replies(&forum, &people, json!({"stream": address})).await, [401, 403, 200, 200]);
    }
    assert_eq!(
        statuses(&forum, &people, "POST", "/api/topics/999/lock", Json::Null).await,
        [401, 404, 404, 404]
    );
    let refused = forum.ask("GET", &path("lock"), Some(&people.bob), Json::Null).await;
    assert_eq!((refused.status, refused.header("allow")), (405, "POST, OPTIONS"));

    assert_eq!(forum.post(&path("lock"), Some(&people.bob), Json::Null).await.status, 200);
    let comment = json!({"topic_id": topic["id"], "body": "x"});
    assert_eq!(statuses(&forum, &people, "POST", "/api/comments/", comment).await, [401, 403, 403, 201]);
}

#[tokio::test]
async fn staff_hide_all_comments_of_a_topic_at_once_and_everybody_is_told() {
    let (forum, people) = start().await;
    let topic = make(&forum, &people.ann, "topics", json!({"title": "spam"})).await;
    let id = &topic["id"];
    let mut keys = Vec::new();
    for (login, status) in [(&people.ann, "published"), (&people.bob, "published"), (&people.bob, "draft")] {
        let body = json!({"topic_id": id, "body": "x", "status": status});
        keys.push(make(&forum, login, "comments", body).await["id"].clone());
    }
    let mut of_nobody = forum.socket(None).await;
    // Whoever follows them from here on is not told that they were made.
    let listed = forum.ask("GET", "/api/comments/?limit=1", None, Json::Null).await;
    of_nobody.reach(position(listed.header("realtime-cursor"))).await;
    let mut of_bob = forum.socket(Some(&people.bob)).await;
    let mut of_staff = forum.socket(Some(&people.staff)).await;
    let mut feed = forum.socket(None).await;
    let mut elsewhere = forum.socket(Some(&people.staff)).await;
    for (socket, stream, topic) in [
        (&mut of_nobody, "comments", id.clone()),
        (&mut of_bob, "comments", id.clone()),
        (&mut of_staff, "comments", id.clone()),
        (&mut feed, "topic-feed", id.clone()),
        (&mut elsewhere, "comments", json!(1)),
    ] {
        let filter = json!({"stream": stream, "action": "subscribe", "payload": {"topic": topic}});
        assert_eq!(socket.request(filter).await["status"], 200);
    }
    let path = "/api/comments/bulk-hide/";
    let hide = json!({"topic_id": id});
    assert_eq!(forum.post(path, None, hide.clone()).await.status, 401);
    assert_eq!(forum.post(path, Some(&people.ann), json!({"x": 1})).await.status, 403);
    for (body, field) in [(json!({}), "topic_id"), (json!({"topic_id": "1"}), "topic_id")] {
        let refused = forum.post(path, Some(&people.staff), body).await;
        assert_eq!((refused.status, refused.mistakes()), (400, vec![field]));
    }
    let hidden = forum.post(path, Some(&people.staff), hide.clone()).await;
    assert_eq!((hidden.status, &hidden.json), (200, &json!({"count": 3})));
    for (socket, told) in [
        (&mut of_nobody, &["delete", "delete"][..]),
        (&mut of_bob, &["delete", "update", "update"]),
        (&mut of_staff, &["update", "update", "update"]),
        (&mut feed, &["delete", "delete"]),
    ] {
        for (action, key) in told.iter().zip(&keys) {
            let event = socket.next_event().await;
            assert_eq!((&event["action"], &event["pk"]), (&json!(action), key), "{event}");
        }
    }
    // All of them are counted, also those that were hidden already; of a topic that there is not, none.
    for (topic, count) in [(id, 3), (&json!(99_999), 0)] {
        let hide = json!({"stream": "comments/bulk-hide/", "payload": {"topic_id": topic}});
        let reply = elsewhere.request(hide).await;
        assert_eq!((&reply["status"], &reply["data"]), (&json!(200), &json!({"count": count})));
    }
    let ping = elsewhere.request(json!({"action": "ping"})).await;
    assert_eq!(ping["status"], 200);
    assert!(elsewhere.kept().is_empty());
}
