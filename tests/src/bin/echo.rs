//! A server that sends back what its socket `/api/echo` is sent, for Autobahn|Testsuite: prints its address, and ends
//! with its standard input.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use actix_web::{App, HttpServer};
use diesel::connection::SimpleConnection as _;
use realtime_actix::{Limits, Realtime, prepare_connection};
use realtime_tests::{AllResources as _, SCHEMA};

/// The suite's longest messages have 16 MiB.
const MESSAGE_BYTES: usize = 16 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    actix_web::rt::System::new().block_on(async {
        let mut limits = Limits::default().without_rates();
        limits.message_bytes = MESSAGE_BYTES;
        limits.outbox_bytes = 4 * MESSAGE_BYTES;
        let realtime = Realtime::connect("sqlite::memory:")
            .prepare(|connection| Ok(connection.batch_execute(SCHEMA)?))
            .topics()
            .limits(limits)
            .start()
            .await?;
        let server = HttpServer::new(move || App::new().service(realtime.scope("/api").with_echo()))
            .on_connect(prepare_connection)
            .h1_allow_half_closed(false)
            // The server ends the connection at once when both have sent a close frame, as the suite likes it.
            .client_disconnect_timeout(Duration::ZERO)
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", server.addrs()[0])?;
        out.flush()?;
        let running = server.run();
        let handle = running.handle();
        // Whoever started it holds the other end, however he ends.
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            drop(handle.stop(false));
        });
        running.await?;
        Ok(())
    })
}
