//! What a test with the test kit costs. Goal: 10 ms.
//!
//! A hundred tests one after the other, each on a runtime of its own as `#[actix_web::test]` has it: the service is started
//! on a database in memory, two users log in, a socket follows, a row is made and told of, silence is asserted, and a
//! log-out closes a socket. `cargo bench` measures it with optimisation, `cargo test -p realtime-tests --bench kit` as
//! tests are built. A table, and a line of JSON.

#![expect(clippy::print_stdout, reason = "a benchmark says what it has measured")]

use std::time::{Duration, Instant};

use realtime_tests::Kit;
use realtime_tests::machine::machine;
use serde_json::json;

const TESTS: usize = 100;

async fn follow_and_log_out(kit: &Kit) {
    let (ann, bob) = (kit.users.user(), kit.users.user());
    let (mut ann, mut bob) = (kit.client_of(&ann), kit.client_of(&bob));
    let mut reader = kit.follower(&bob, "topics", json!({})).await;
    let made = ann.post("/api/topics/", json!({"title": "t"})).await.expect(201);
    assert_eq!(reader.next_event().await["data"], made);
    reader.assert_silent().await;
    let mut socket = ann.connect("/api/ws").await;
    ann.logout();
    socket.assert_closed(4401).await;
    bob.get("/api/topics/").await.expect(200);
}

/// The processor time of this process, in ticks of 10 ms; nothing where the system does not say.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

fn in_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

fn main() {
    let before = processor_time();
    let (mut whole, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..TESTS {
        let began = Instant::now();
        let started = actix_web::rt::System::new().block_on(async {
            let kit = Kit::start().await;
            let started = began.elapsed();
            follow_and_log_out(&kit).await;
            started
        });
        whole.push(began.elapsed());
        starts.push(started);
    }
    let processor = processor_time().zip(before).map(|(now, before)| in_ms(now - before) / TESTS as f64);
    let mut figures = Vec::new();
    println!("{:<28} {:>7} {:>7} {:>7}", "ms", "mean", "p50", "max");
    for (what, mut times) in [("a test", whole), ("of it, until it has started", starts)] {
        times.sort_unstable();
        let mean = in_ms(times.iter().sum::<Duration>() / u32::try_from(TESTS).unwrap_or(u32::MAX));
        let (middle, most) = (in_ms(times[TESTS / 2]), in_ms(times[TESTS - 1]));
        println!("{what:<28} {mean:>7.2} {middle:>7.2} {most:>7.2}");
        figures.push(json!({"what": what, "mean": mean, "p50": middle, "max": most}));
    }
    if let Some(processor) = processor {
        println!("{:<28} {processor:>7.2}", "of the processor");
    }
    let optimised = !cfg!(debug_assertions);
    println!(
        "{}",
        json!({"benchmark": "kit", "machine": machine(), "optimised": optimised, "processor_ms": processor, "figures": figures})
    );
}
