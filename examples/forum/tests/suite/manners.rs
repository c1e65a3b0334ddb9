//! What the forum puts around the scope: compression, and the headers that let pages of other origins read.

use serde_json::json;

use crate::running::{Forum, scratch};

#[tokio::test]
async fn answers_are_compressed_for_who_asks_for_it_and_event_streams_are_not() {
    let forum = Forum::start().await;
    let plain = forum.send("GET", "/api/comments/", &[], "").await;
    assert_eq!(plain.header("content-encoding"), "");
    let gzip = ("accept-encoding", "gzip".to_owned());
    let compressed = forum.send("GET", "/api/comments/", std::slice::from_ref(&gzip), "").await;
    assert_eq!((compressed.status, compressed.header("content-encoding")), (200, "gzip"));
    let vary: Vec<_> =
        compressed.headers.get_all("vary").iter().filter_map(|vary| vary.to_str().ok()).collect();
    assert!(vary.join(", ").to_lowercase().contains("accept-encoding"), "{vary:?}");
    let tags = ["/api/topics/1/"; 2];
    let plain = forum.send("GET", tags[0], &[], "").await;
    let compressed = forum.send("GET", tags[1], std::slice::from_ref(&gzip), "").await;
    assert_eq!(plain.header("etag"), compressed.header("etag"));
    assert!(plain.header("etag").len() > 10);

    let response = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let stream = response
        .get(format!("http://{}/api/comments/events", forum.address))
        .header("accept-encoding", "gzip")
        .send()
        .await
        .expect("a stream");
    assert_eq!(stream.headers()["content-encoding"], "identity");
}

#[tokio::test]
async fn pages_of_named_origins_may_read_and_write_and_others_may_not() {
    let friend = "https://friend.example";
    let forum = Forum::start_in(scratch(), &["--allow-origin", friend]).await;
    let from = |origin: &str| ("origin", origin.to_owned());
    let preflight = |origin: &str| {
        vec![
            from(origin),
            ("access-control-request-method", "PATCH".to_owned()),
            ("access-control-request-headers", "content-type, if-match".to_owned()),
        ]
    };
    let allowed = forum.send("OPTIONS", "/api/topics/1/", &preflight(friend), "").await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), friend);
    assert_eq!(allowed.header("access-control-allow-credentials"), "true");
    assert!(allowed.header("access-control-allow-methods").contains("PATCH"));
    assert!(allowed.header("access-control-allow-headers").to_lowercase().contains("if-match"));

    let read = forum.send("GET", "/api/topics/1/", &[from(friend)], "").await;
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, friend));
    assert!(read.header("access-control-expose-headers").to_lowercase().contains("etag"));
    let read = forum.send("GET", "/api/topics/1/", &[from("https://evil.example")], "").await;
    assert_eq!(read.header("access-control-allow-origin"), "");

    let ann = forum.demo("ann").await;
    let write = async |origin: &str| {
        let headers = [ann.cookie(), from(origin), ("content-type", "application/json".to_owned())];
        forum.send("POST", "/api/topics/", &headers, json!({"title": "x"}).to_string()).await.status
    };
    assert_eq!(write(friend).await, 201);
    assert_eq!(write("https://evil.example").await, 403);
    // Without a preflight: it asks for metadata.
    assert_eq!(forum.send("OPTIONS", "/api/topics/1/", &[], "").await.json["name"], "topics");
}
