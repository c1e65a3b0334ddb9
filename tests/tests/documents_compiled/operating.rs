//! docs/operating.md

use std::io;
use std::net::SocketAddr;

use actix_web::{App, HttpServer};
use realtime_actix::{Realtime, prepare_connection};

async fn wait_for_signal() {}

async fn serve(realtime: Realtime, address: SocketAddr) -> io::Result<()> {
    let mounted = realtime.clone();
    let server = HttpServer::new(move || App::new().service(mounted.scope("/api")))
        .on_connect(prepare_connection)
        .h1_allow_half_closed(false)
        .shutdown_timeout(20) // seconds: more than drain_ms
        .disable_signals()
        .bind(address)?
        .run();
    let handle = server.handle();
    let stop = async {
        wait_for_signal().await; // SIGTERM or SIGINT, with tokio::signal
        // No connection is accepted any more while those that there are come to their ends.
        futures_util::future::join(realtime.drain(), handle.stop(true)).await;
    };
    let (served, ()) = futures_util::future::join(server, stop).await;
    realtime.close().await;
    served
}
