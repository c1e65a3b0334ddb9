//! What one batch tells one connection leaves in one write, however many of its subscriptions it is for.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::HttpService;
use actix_service::{Service as _, ServiceFactory as _, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use futures_util::{SinkExt as _, StreamExt as _};
use realtime_tests::Setup;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A connection that counts what would be calls of the system.
struct Counted {
    connection: DuplexStream,
    writes: Rc<Cell<usize>>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.set(self.writes.get() + 1);
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

async fn next(socket: &mut WebSocketStream<DuplexStream>) -> Json {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("{other:?} instead of a text"),
    }
}

#[actix_web::test]
async fn the_events_of_a_batch_leave_in_one_write() {
    const FILTERS: [&str; 5] =
        ["weight__gte", "weight__gt", "weight__lt", "name__startswith", "name__contains"];
    let server = Setup::memory().start().await;
    // A worker in this thread, beside the server's own.
    let app = App::new().service(server.realtime().scope("/api"));
    let service = HttpService::build().h1(map_config(app, |()| AppConfig::default()));
    let service = service.new_service(()).await.expect("the application starts");
    let (client, connection) = tokio::io::duplex(1 << 20);
    let writes = Rc::new(Cell::new(0));
    let counted = Counted { connection, writes: Rc::clone(&writes) };
    actix_web::rt::spawn(service.call((counted, None)));
    let (mut socket, _) = client_async("ws://localhost/api/ws", client).await.expect("a socket");
    for filter in FILTERS {
        let value = if filter.starts_with("name") { json!("n") } else { json!(7) };
        let subscribe = json!({"stream": "labels/subscribe", "payload": {filter: value}});
        socket.send(Message::text(subscribe.to_string())).await.expect("it is sent");
        assert_eq!(next(&mut socket).await["status"], 200);
    }
    for batch in 0..20 {
        let before = writes.get();
        let rows: Vec<String> = (0..15).map(|row| format!("('n{batch}-{row}', {row})")).collect();
        server.write(format!("INSERT INTO labels (name, weight) VALUES {}", rows.join(", "))).await;
        // Of fifteen weights 8 are at least 7, 7 greater and 7 less; all names begin with n and contain it.
        let mut last = 0;
        for _ in 0..8 + 7 + 7 + 15 + 15 {
            let event = next(&mut socket).await;
            assert_eq!(event["action"], "create");
            last += usize::from(event["more"] != true);
        }
        assert_eq!((last, writes.get() - before), (FILTERS.len(), 1), "batch {batch}");
    }
}
