//! What lists offer beside filters and orders, over REST and over the socket.

use realtime_tests::{Server, Setup, Socket, Store, at, start_error};
use serde_json::{Value as Json, json};

/// Five comments, two of them in the second topic.
async fn with_comments() -> Server {
    let server = Server::start().await;
    for (topic, body) in
        [(1, "Alpha beta"), (1, "beta"), (2, "ALPHA"), (2, "gamma, alpha"), (1, "\"quoted\"")]
    {
        server.create("comments", json!({"topic_id": topic, "body": body})).await;
    }
    server
}

fn ids(list: &Json) -> Json {
    list["results"].as_array().expect("rows").iter().map(|row| row["id"].clone()).collect()
}

/// Lists that are asked for over REST and over the socket, which say the same.
#[tokio::test]
async fn rest_and_socket_list_the_same() {
    let server = with_comments().await;
    let mut socket = Socket::open(&server).await;
    for (query, payload, options, expected) in [
        ("search=alpha", json!({}), json!({"search": "alpha"}), json!([1, 3, 4])),
        ("search=alpha%20beta", json!({}), json!({"search": "alpha beta"}), json!([1])),
        ("search=%22gamma%2C%20alpha%22", json!({}), json!({"search": "\"gamma, alpha\""}), json!([4])),
        ("search=alpha&topic=1", json!({"topic": 1}), json!({"search": "alpha"}), json!([1])),
        ("search=", json!({}), json!({"search": ""}), json!([1, 2, 3, 4, 5])),
        ("page=2&page_size=2", json!({}), json!({"page": 2, "page_size": 2}), json!([3, 4])),
        ("page=9&page_size=2", json!({}), json!({"page": 9, "page_size": 2}), json!([])),
        ("topic__title=Second", json!({"topic__title": "Second"}), json!({}), json!([3, 4])),
        ("topic__name=sec", json!({"topic__name": "sec"}), json!({}), json!([3, 4])),
        (
            "not__topic__title__iendswith=ST",
            json!({"not__topic__title__iendswith": "ST"}),
            json!({}),
            json!([3, 4]),
        ),
        (
            "topic__id__in=1,3&body=beta",
            json!({"topic__id__in": [1, 3], "body": "beta"}),
            json!({}),
            json!([2]),
        ),
        (
            "topic__owner_id=2&limit=1&ordering=-id",
            json!({"topic__owner_id": 2}),
            json!({"limit": 1, "ordering": "-id"}),
            json!([4]),
        ),
        (
            "fields=body&expand=topic",
            json!({}),
            json!({"fields": ["body"], "expand": ["topic"]}),
            json!([1, 2, 3, 4, 5]),
        ),
    ] {
        let rest = server.read(&format!("/api/comments/?{query}")).await;
        assert_eq!(ids(&rest), expected, "{query}");
        let mut message = json!({"stream": "comments/list", "payload": payload});
        for (name, value) in options.as_object().expect("options") {
            message[name] = value.clone();
        }
        let reply = socket.request(message).await;
        assert_eq!(at(&reply, "data.results"), &rest["results"], "{query}: {reply}");
        assert_eq!(at(&reply, "data.count"), &rest["count"], "{query}");
    }
    let list = server.read("/api/comments/?fields=body&expand=topic&topic=2&limit=1").await;
    let topic = server.read("/api/topics/2/").await;
    assert_eq!(list["results"][0], json!({"id": 3, "body": "ALPHA", "topic": topic}));
}

#[tokio::test]
async fn links_lead_on_from_pages_by_number_and_stand_in_a_header() {
    let server = with_comments().await;
    let first = server.get("/api/comments/?page=1&page_size=2&topic__title__startswith=").await;
    let next = first.json["next"].as_str().expect("a link").to_owned();
    assert_eq!(first.header("link"), format!("<{next}>; rel=\"next\""));
    assert!(!next.contains("page=") && next.contains("page_size=2"), "{next}");
    let second = server.get(&next).await;
    assert_eq!(ids(&second.json), json!([3, 4]));
    let (next, previous) = (&second.json["next"], &second.json["previous"]);
    let expected = format!(
        "<{}>; rel=\"next\", <{}>; rel=\"prev\"",
        next.as_str().expect("a link"),
        previous.as_str().expect("a link")
    );
    assert_eq!(second.header("link"), expected);
    assert_eq!(server.get("/api/comments/").await.header("link"), "");
}

#[tokio::test]
async fn links_are_absolute_where_that_is_wanted() {
    let base = "https://forum.example/live";
    let server = Setup::memory()
        .configure(move |connect| connect.absolute_links("https://forum.example/live/"))
        .start()
        .await;
    let created = server.send("POST", "/api/labels/", &json!({"name": "a"})).await;
    assert_eq!(created.header("location"), format!("{base}/api/labels/a/"));
    server.create("labels", json!({"name": "b"})).await;
    let list = server.get("/api/labels/?limit=1").await;
    let next = list.json["next"].as_str().expect("a link");
    assert!(next.starts_with(&format!("{base}/api/labels/?limit=1&cursor=")), "{next}");
    assert_eq!(list.header("link"), format!("<{next}>; rel=\"next\""));
    assert_eq!(server.read("/api/").await["labels"], format!("{base}/api/labels/"));
    for base in ["forum.example", "ftp://forum.example", "https://forum.example/?x", "https://forum example"]
    {
        let connect = realtime_actix::Realtime::connect("sqlite::memory:").absolute_links(base);
        assert!(start_error(connect).await.contains("absolute links"), "{base}");
    }
}

#[tokio::test]
async fn a_nested_route_is_a_filter() {
    let server = with_comments().await;
    for path in ["/api/topics/2/comments/", "/api/topics/2/comments"] {
        let nested = server.get(path).await;
        assert_eq!((nested.status, ids(&nested.json)), (200, json!([3, 4])), "{path}");
        assert!(!nested.header("realtime-cursor").is_empty());
    }
    assert_eq!(ids(&server.read("/api/topics/2/comments/?text=gamma").await), json!([4]));
    let page = server.read("/api/topics/2/comments/?limit=1").await;
    let next = page["next"].as_str().expect("a link");
    assert!(next.starts_with("/api/topics/2/comments/?limit=1&cursor="), "{next}");
    assert_eq!(ids(&server.read(next).await), json!([4]));
    assert_eq!(server.read("/api/topics/99/comments/").await["count"], 0, "as ?topic_id=99");
    for path in [
        "/api/topics/x/comments/",
        "/api/topics/2/labels/",
        "/api/labels/2/comments/",
        "/api/topics/2/topic-feed/",
    ] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    let refused = server.send("POST", "/api/topics/2/comments/", &json!({"body": "x"})).await;
    assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD, OPTIONS"));
    let options = server.http("OPTIONS", "/api/topics/2/comments/", &[], "").await;
    assert_eq!((options.status, &options.json["name"]), (200, &json!("comments")));
}

#[tokio::test]
async fn a_resource_says_how_long_its_pages_are() {
    let server = with_comments().await;
    assert_eq!(ids(&server.read("/api/topic-feed/").await), json!([1, 2]), "by default two");
    assert_eq!(ids(&server.read("/api/topic-feed/?limit=3").await), json!([1, 2, 3]));
    for query in ["limit=4", "page_size=4"] {
        let refused = server.get(&format!("/api/topic-feed/?{query}")).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains("A number from 1 to 3 is required."), "{}", refused.text);
    }
}

#[tokio::test]
async fn what_cannot_be_followed_across_a_relation_is_refused() {
    let server = with_comments().await;
    for path in ["events", "changes"] {
        let refused = server.get(&format!("/api/comments/{path}?topic__title=First")).await;
        assert_eq!(
            (refused.status, &refused.json["code"]),
            (400, &json!("unknown_lookup")),
            "{}",
            refused.text
        );
    }
    let mut socket = Socket::open(&server).await;
    let message = json!({"stream": "comments/subscribe", "payload": {"topic__title": "First"}});
    let refused = socket.request(message).await;
    assert_eq!((&refused["status"], at(&refused, "error.code")), (&json!(400), &json!("unknown_lookup")));
    assert!(
        at(&refused, "error.errors.topic__title.0")
            .as_str()
            .is_some_and(|text| text.contains("topic_id__in"))
    );
}

/// The key of page cursors is the database's: every service on it has the same, also the next one.
#[tokio::test]
async fn a_page_cursor_is_of_the_database_and_forged_by_nobody() {
    let store = Store::fresh();
    let (first, second) = (Setup::on(&store).start().await, Setup::on(&store).start().await);
    for body in ["a", "b", "c"] {
        first.create("comments", json!({"topic_id": 1, "body": body})).await;
    }
    let list = "/api/comments/?ordering=-body&limit=1&count=false";
    let next = first.read(list).await["next"].as_str().expect("a link").to_owned();
    assert_eq!(ids(&second.read(&next).await), json!([2]));
    let mut socket = Socket::open(&second).await;
    let cursor = next.split_once("cursor=").expect("a cursor").1.to_owned();
    let ask =
        |cursor: &str| json!({"stream": "comments/list", "ordering": "-body", "limit": 1, "cursor": cursor});
    let reply = socket.request(ask(&cursor)).await;
    assert_eq!(ids(at(&reply, "data")), json!([2]), "{reply}");
    drop((socket, first, second));

    let restarted = Setup::on(&store).start().await;
    assert_eq!(ids(&restarted.read(&next).await), json!([2]));
    let page = restarted.read("/api/comments/?limit=1").await;
    let by_key = page["next"].as_str().and_then(|next| next.split_once("cursor=")).expect("a cursor").1;
    assert_eq!(ids(&restarted.read(&format!("/api/comments/?limit=1&cursor={by_key}")).await), json!([2]));
    // That of another resource, of another order, of another database, altered, cut, and no cursor at all.
    let other = Setup::memory().start().await;
    let last = if cursor.ends_with('A') { "Q" } else { "A" };
    let altered = [&cursor[..cursor.len() - 1], last].concat();
    let refused = [
        (&restarted, format!("/api/topic-feed/?limit=1&cursor={by_key}")),
        (&restarted, format!("/api/comments/?ordering=body&cursor={cursor}")),
        (&other, next.clone()),
        (&restarted, format!("{list}&cursor={altered}")),
        (&restarted, format!("{list}&cursor={}", &cursor[..cursor.len() - 4])),
        (&restarted, format!("{list}&cursor=1")),
    ];
    let expected = json!({"cursor": ["Not a cursor of this list."]});
    for (server, path) in refused {
        let answer = server.get(&path).await;
        assert_eq!((answer.status, &answer.json["errors"]), (400, &expected), "{path}: {}", answer.json);
    }
    let mut socket = Socket::open(&restarted).await;
    let reply = socket.request(ask(&altered)).await;
    assert_eq!((&reply["status"], at(&reply, "error.errors")), (&json!(400), &expected), "{reply}");
}
