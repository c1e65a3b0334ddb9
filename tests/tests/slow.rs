//! A client that does not read costs a bounded amount of memory, and the others nothing.

use realtime_actix::Limits;
use realtime_tests::{Handshake, Setup, Socket};
use serde_json::json;

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off_and_the_others_go_on() {
    const COMMENTS: usize = 600;
    let mut limits = Limits::default();
    limits.outbox_bytes = 128 << 10;
    let server = Setup::memory().configure(move |connect| connect.limits(limits)).start().await;
    let (mut stalled, _) =
        Handshake::to("/api/ws").receive_buffer(4 << 10).open(&server).await.expect("a socket");
    stalled.subscribe("comments", json!({})).await;
    let mut healthy = Socket::subscribed(&server, "comments", json!({})).await;
    for _ in 0..COMMENTS {
        server
            .write(
                "INSERT INTO comments (topic_id, author_id, body, created_at)
                 VALUES (1, 1, printf('%.*c', 10000, 'x'), '2026-01-01 00:00:00')",
            )
            .await;
        assert_eq!(healthy.next_event().await["action"], "create");
    }
    assert_eq!(stalled.closed().await, Some(4408));
    healthy.assert_silent(&server).await;
}
