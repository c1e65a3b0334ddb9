//! What the forum puts around the scope: compression, and the headers that let pages of other origins read.

use diesel::connection::SimpleConnection;
use realtime_tests::within;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::running::{Forum, open, scratch};

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

/// The tag is that of the object: one that has come with a compressed answer is as good for any other request.
#[tokio::test]
async fn tags_hold_whether_answers_are_compressed_or_not() {
    let forum = Forum::start().await;
    let ann = forum.demo("ann").await;
    let topic = forum.post("/api/topics/", Some(&ann), json!({"title": "x".repeat(200)})).await;
    let path = format!("/api/topics/{}/", topic.json["id"]);
    let gzip = ("accept-encoding", "gzip".to_owned());
    let bearer = ("authorization", format!("Bearer {}", ann.token));
    let json = ("content-type", "application/json".to_owned());

    let compressed = forum.send("GET", &path, std::slice::from_ref(&gzip), "").await;
    assert_eq!((compressed.status, compressed.header("content-encoding")), (200, "gzip"));
    let tag = compressed.header("etag").to_owned();
    for headers in [&[][..], std::slice::from_ref(&gzip)] {
        let known = [headers, &[("if-none-match", tag.clone())]].concat();
        let answer = forum.send("GET", &path, &known, "").await;
        assert_eq!((answer.status, answer.header("etag")), (304, tag.as_str()));
        assert_eq!(answer.header("content-encoding"), "", "nothing is no gzip");
    }

    let change = async |title: &str, headers: &[(&'static str, String)]| {
        let headers = [&[bearer.clone(), json.clone(), ("if-match", tag.clone())], headers].concat();
        forum.send("PATCH", &path, &headers, json!({"title": title.repeat(100)}).to_string()).await
    };
    let changed = change("yy", std::slice::from_ref(&gzip)).await;
    assert_eq!((changed.status, changed.header("content-encoding")), (200, "gzip"));
    let late = change("zz", &[]).await;
    assert_eq!((late.status, &late.json["code"]), (412, &json!("precondition_failed")));
    let answer = forum.send("GET", &path, &[gzip, ("if-none-match", tag)], "").await;
    assert_eq!((answer.status, answer.header("etag")), (200, changed.header("etag")));
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

/// What a path outside of the API answers: the status and the text.
async fn get(forum: &Forum, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let answer = client.get(format!("http://{}{path}", forum.address)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

#[tokio::test]
async fn what_is_announced_for_later_is_not_there_and_health_is() {
    let forum = Forum::start().await;
    for (path, status) in
        [("/health/live", 200), ("/health/ready", 200), ("/metrics", 404), ("/api/explorer", 404)]
    {
        assert_eq!(get(&forum, path).await.0, status, "{path}");
    }
}

/// Whoever sends it requests is told to send none, and not that it has to be started anew.
#[tokio::test]
async fn it_is_alive_and_not_ready_while_the_database_cannot_be_written_to() {
    let forum = Forum::start().await;
    let ann = forum.demo("ann").await;
    let topic = json!({"title": "Later"});
    let mut other = open(forum.directory());
    other.batch_execute("BEGIN IMMEDIATE").expect("SQL");
    let refused = forum.post("/api/topics/", Some(&ann), topic.clone()).await;
    assert_eq!((refused.status, &refused.json["code"]), (503, &json!("unavailable")));
    assert_eq!(get(&forum, "/health/ready").await, (503, "the database cannot be used\n".to_owned()));
    assert_eq!(get(&forum, "/health/live").await.0, 200);
    other.batch_execute("COMMIT").expect("SQL");
    let ready = async {
        while get(&forum, "/health/ready").await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("it to be ready", ready).await;
    assert_eq!(forum.post("/api/topics/", Some(&ann), topic).await.status, 201);
}

/// Nobody comes in, sockets are told, and what has begun is finished.
#[tokio::test]
async fn a_forum_that_is_told_to_end_finishes_what_has_begun() {
    let forum = Forum::start().await;
    let ann = forum.demo("ann").await;
    let mut socket = forum.socket(Some(&ann)).await;
    let mut request = TcpStream::connect(forum.address).await.expect("a connection");
    let body = json!({"title": "the last one"}).to_string();
    let (begun, rest) = body.split_at(8);
    let head = format!(
        "POST /api/topics/ HTTP/1.1\r\nhost: forum\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\nexpect: 100-continue\r\n\r\n",
        ann.token,
        body.len()
    );
    request.write_all(head.as_bytes()).await.expect("it is sent");
    let mut going_on = [0; 25];
    within("the request to be begun", request.read_exact(&mut going_on)).await.expect("a line");
    assert_eq!(&going_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    request.write_all(begun.as_bytes()).await.expect("it is sent");

    forum.terminate().await;
    assert_eq!(within("the socket to be closed", socket.closed()).await, Some(1001));
    let closed = async {
        while TcpStream::connect(forum.address).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("connections to be refused", closed).await;

    request.write_all(rest.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    within("an answer", request.read_to_string(&mut answer)).await.expect("text");
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    let (status, directory) = forum.ended().await;
    assert!(status.success(), "{status}");
    let again = Forum::start_in(directory, &[]).await;
    assert_eq!(again.send("GET", "/api/topics/?title=the+last+one", &[], "").await.json["count"], 1);
}
