//! Does the time of an answer tell whether a row that somebody may not see is there?
//!
//! The same requests for rows that are hidden from him and for rows that there are not, one after the other in random
//! order. Beside the medians it says how often the answer about a hidden row takes longer than one about a missing row:
//! 50 % tells nothing. `EXISTENCE_ROUNDS` asks for more than 4,000 requests of each sort. A table, and a line of JSON.

#![expect(clippy::print_stdout, reason = "a benchmark says what it has measured")]

use std::time::Instant;

use realtime_actix::Limits;
use realtime_tests::machine::machine;
use realtime_tests::{ANN, Handshake, Server, Setup, Socket, people};
use serde_json::{Value as Json, json};

/// Comments in the table: of each two one is somebody else's draft.
const ROWS: u64 = 10_000;

const BEARER: [(&str, &str); 2] = [("authorization", "Bearer bob"), ("content-type", "application/json")];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[derive(Clone, Copy)]
enum Way {
    Rest(&'static str),
    Socket(&'static str),
}

async fn ask(server: &Server, socket: &mut Socket, way: Way, key: u64) -> u64 {
    match way {
        Way::Rest(method) => {
            let body = if method == "PATCH" { r#"{"score": 1}"# } else { "" };
            server.http(method, &format!("/api/comments/{key}/"), &BEARER, body).await.status.into()
        }
        Way::Socket(action) => {
            let message = json!({"stream": "comments", "action": action, "pk": key, "payload": {}});
            socket.request(message).await["status"].as_u64().expect("a status")
        }
    }
}

/// How often one of the first is greater than one of the second; of equal ones each second one.
fn greater(first: &[f64], second: &[f64]) -> f64 {
    let mut sorted = second.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = |value: &f64| sorted.partition_point(|other| other < value);
    let up_to = |value: &f64| sorted.partition_point(|other| other <= value);
    let halves: usize = first.iter().map(|value| below(value) + up_to(value)).sum();
    halves as f64 / 2.0 / (first.len() * second.len()) as f64
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

async fn compare(server: &Server, socket: &mut Socket, name: &str, way: Way, rounds: u64) -> Json {
    let mut random = Random(rounds);
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds * 2 + 200 {
        let hidden = random.below(2) == 0;
        // Odd keys are drafts of somebody else; there are none beyond those of the rows.
        let key = random.below(ROWS / 2) * 2 + 1 + if hidden { 0 } else { ROWS };
        let begin = Instant::now();
        let status = ask(server, socket, way, key).await;
        let took = begin.elapsed().as_secs_f64() * 1e6;
        assert!(status == 404 || matches!(way, Way::Socket("subscribe" | "unsubscribe")), "{name}: {status}");
        if let Way::Socket("subscribe") = way {
            ask(server, socket, Way::Socket("unsubscribe"), key).await;
        }
        if round >= 200 {
            times[usize::from(!hidden)].push(took);
        }
    }
    let [hidden, missing] = times;
    let rounded = |value: f64| (value * 10.0).round() / 10.0;
    let (of_hidden, of_missing) = (rounded(median(&hidden)), rounded(median(&missing)));
    let longer = rounded(greater(&hidden, &missing) * 100.0);
    println!("{name:<24} {of_hidden:>9.1} {of_missing:>9.1} {longer:>9.1} %");
    json!({"what": name, "hidden_us": of_hidden, "missing_us": of_missing, "hidden_longer_percent": longer})
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let rounds = std::env::var("EXISTENCE_ROUNDS").map_or(4_000, |rounds| rounds.parse().expect("a number"));
    let users = people();
    let setup = Setup::file()
        .workers(1)
        .configure(move |connect| connect.authenticator(users).limits(Limits::default().without_rates()));
    let server = setup.start().await;
    let rows = (1..=ROWS).map(|key| {
        let status = if key % 2 == 1 { "draft" } else { "published" };
        format!("({key}, 1, {ANN}, 'about as long as a comment is', '{status}', '2026-01-01 00:00:00')")
    });
    let rows = rows.collect::<Vec<_>>().join(", ");
    server
        .write(format!(
            "INSERT INTO comments (id, topic_id, author_id, body, status, created_at) VALUES {rows}"
        ))
        .await;
    let visible: Json = server.http("GET", "/api/comments/2/", &BEARER, "").await.json;
    assert_eq!(visible["status"], "published");
    println!("{:<24} {:>9} {:>9}   hidden takes longer", "µs", "hidden", "missing");
    let mut figures = Vec::new();
    for (name, way) in [
        ("REST retrieve", Way::Rest("GET")),
        ("REST update", Way::Rest("PATCH")),
        ("REST delete", Way::Rest("DELETE")),
        ("socket retrieve", Way::Socket("retrieve")),
        ("socket update", Way::Socket("update")),
        ("socket delete", Way::Socket("delete")),
        ("socket subscribe", Way::Socket("subscribe")),
    ] {
        // A new one each time: who does not read is taken for gone.
        let handshake = Handshake::to("/api/ws").header("authorization", "Bearer bob");
        let (mut socket, _) = handshake.open(&server).await.expect("a socket");
        figures.push(compare(&server, &mut socket, name, way, rounds).await);
    }
    let optimised = !cfg!(debug_assertions);
    println!(
        "{}",
        json!({"benchmark": "existence", "machine": machine(), "optimised": optimised, "rounds": rounds, "figures": figures})
    );
}
