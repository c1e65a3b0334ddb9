//! Many writers whose transactions overlap: a reader by numbers loses rows, the feed loses none and mixes up none.
//!
//! `REALTIME_STRESS_SECONDS=600 cargo nextest run -p realtime-tests -E 'binary(commit_order)' --no-capture` for long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::sql_types::{BigInt, Text};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use futures_util::future::join_all;
use realtime_actix::ChangeSource;
use realtime_tests::{Server, Setup, Socket, Store, change_source, within};
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

const WRITERS: u64 = 64;
const ROWS: u64 = 24;

/// A generator of numbers from a seed: which ones is said where a run fails.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[derive(QueryableByName)]
struct Seen {
    #[diesel(sql_type = BigInt)]
    rows: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
}

#[derive(QueryableByName)]
struct Weight {
    #[diesel(sql_type = BigInt)]
    weight: i64,
}

/// One transaction: a few rows raised, slowly, and in the end kept or not. Gives the new weight of each row.
async fn transaction(
    connection: &mut AsyncPgConnection,
    numbers: &mut Numbers,
) -> QueryResult<BTreeMap<String, i64>> {
    let count = 1 + numbers.below(4);
    // In one order, which leaves few deadlocks.
    let mut names: Vec<u64> = (0..count).map(|_| numbers.below(ROWS)).collect();
    names.sort_unstable();
    let pauses: Vec<u64> = names.iter().map(|_| numbers.below(12)).collect();
    let long = numbers.below(100) == 0;
    let fate = numbers.below(5);
    connection
        .transaction(async |connection| {
            let mut written = BTreeMap::new();
            for (name, pause) in names.iter().zip(&pauses) {
                // The number of the log's row is taken here, the commit comes later.
                let raised: Weight =
                    sql_query("UPDATE labels SET weight = weight + 1 WHERE name = $1 RETURNING weight")
                        .bind::<Text, _>(format!("{name:02}"))
                        .get_result(connection)
                        .await?;
                written.insert(format!("{name:02}"), raised.weight);
                sleep(Duration::from_millis(*pause)).await;
            }
            if long {
                sleep(Duration::from_millis(300)).await;
            }
            if fate == 0 { Err(diesel::result::Error::RollbackTransaction) } else { Ok(written) }
        })
        .await
}

/// What most would do: every row whose number is greater than the last one seen.
async fn naive(url: String, done: Arc<AtomicBool>) -> i64 {
    let mut connection = AsyncPgConnection::establish(&url).await.expect("a connection");
    let (mut rows, mut last) = (0, 0);
    loop {
        // Whatever comes after this look has been committed before it.
        let is_last = AtomicBool::load(&done, Ordering::Acquire);
        let seen: Seen = sql_query(
            "SELECT count(*) AS rows, coalesce(max(seq), $1) AS last FROM realtime_log WHERE seq > $1",
        )
        .bind::<BigInt, _>(last)
        .get_result(&mut connection)
        .await
        .expect("the log is read");
        rows += seen.rows;
        last = seen.last;
        if is_last {
            return rows;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// What a change of a row was told with: the cursor of its batch.
type Told = BTreeMap<(String, i64), String>;

/// Applies events to what is known of each row: each change of a row is the one after its last. Notes with what it is told.
fn follow(events: &[Json], known: &mut BTreeMap<String, i64>, told: &mut Told) {
    for event in events {
        let name = event["pk"].as_str().expect("a name").to_owned();
        let weight = event["diff"]["weight"].as_i64().unwrap_or_else(|| panic!("{event}"));
        let cursor = event["cursor"].as_str().expect("a cursor").to_owned();
        assert!(told.insert((name.clone(), weight), cursor).is_none(), "{event} is told twice");
        let before = known.insert(name, weight);
        // One transaction may raise a row more than once, which is one event.
        assert!(
            before.is_none_or(|before| (before + 1..=before + 4).contains(&weight)),
            "{before:?}, then {event}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_transactions_are_told_whole_once_and_in_order() {
    let seconds =
        std::env::var("REALTIME_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let seed =
        std::env::var("REALTIME_STRESS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5eed);
    let store = Store::postgres();
    let server: Server = Setup::on(&store).start().await;
    let names: Vec<String> = (0..ROWS).map(|name| format!("('{name:02}', 0)")).collect();
    server.write(format!("INSERT INTO labels (name, weight) VALUES {}", names.join(", "))).await;
    let mut subscriber = Socket::subscribed(&server, "labels", json!({})).await;
    store.psql("VACUUM ANALYZE");

    let (done, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let by_numbers = tokio::spawn(naive(store.url(), Arc::clone(&done)));
    let until = Instant::now() + Duration::from_secs(seconds);
    let writers = (1..=WRITERS).map(|writer| {
        let (url, committed) = (store.url(), Arc::clone(&committed));
        tokio::spawn(async move {
            let mut numbers = Numbers(seed * 1_000 + writer);
            let mut connection = AsyncPgConnection::establish(&url).await.expect("a connection");
            connection.batch_execute("SET synchronous_commit = off").await.expect("a setting");
            while Instant::now() < until {
                // What is rolled back or meets a deadlock has changed nothing.
                if let Ok(written) = transaction(&mut connection, &mut numbers).await {
                    committed.lock().expect("no panic").push(written);
                }
            }
        })
    });
    let writing = tokio::spawn(join_all(writers));
    let (mut known, mut told) = (BTreeMap::new(), Told::new());
    let mut joined = 0;
    while !writing.is_finished() {
        let events = subscriber.events(&server).await;
        follow(&events, &mut known, &mut told);
        // A list in the midst of it, and what came after it, are the table as well.
        if joined < 8 {
            joined += 1;
            join(&server).await;
        }
    }
    for writer in writing.await.expect("no panic") {
        writer.expect("no panic");
    }
    done.store(true, Ordering::Release);
    let events = subscriber.events(&server).await;
    follow(&events, &mut known, &mut told);

    let transactions = std::mem::take(&mut *committed.lock().expect("no panic"));
    let committed: usize = transactions.iter().map(BTreeMap::len).sum();
    assert!(committed > 500, "{committed} changes are too few to say anything (seed {seed})");
    assert_eq!(told.len(), committed, "every change of every transaction is told, and once (seed {seed})");
    for transaction in &transactions {
        let cursors: BTreeSet<&str> =
            transaction.iter().map(|(name, weight)| told[&(name.clone(), *weight)].as_str()).collect();
        assert_eq!(cursors.len(), 1, "{transaction:?} is told whole (seed {seed})");
    }
    assert_eq!(known, weights(&server).await, "seed {seed}");
    let rows = within("the other reader", by_numbers).await.expect("no panic");
    let all: i64 = store.psql("SELECT count(*) FROM realtime_log").trim().parse().expect("a number");
    // What is copied from the server's log is in the order of commits.
    assert!(
        rows < all || change_source() == ChangeSource::Replication,
        "the reader by numbers has found all {all} rows: there was nothing to be lost (seed {seed})"
    );
    eprintln!(
        "{committed} changes of {} transactions in {seconds} s; a reader by numbers lost {} of {all} rows",
        transactions.len(),
        all - rows
    );
}

/// Lists, and subscribes from what the list is true at.
async fn join(server: &Server) {
    let list = server.get("/api/labels/?limit=1000").await;
    let rows = list.json["results"].as_array().expect("rows").iter();
    let mut known: BTreeMap<String, i64> = rows
        .map(|row| {
            (row["name"].as_str().expect("a name").to_owned(), row["weight"].as_i64().expect("a number"))
        })
        .collect();
    let mut socket = Socket::open(server).await;
    let message = json!({"stream": "labels", "action": "subscribe", "since": list.header("realtime-cursor")});
    let reply = socket.request(message).await;
    assert_eq!(reply["data"]["recovered"], true, "{reply}");
    follow(&socket.events(server).await, &mut known, &mut Told::new());
}

async fn weights(server: &Server) -> BTreeMap<String, i64> {
    let list = server.read("/api/labels/?limit=1000").await;
    let rows = list["results"].as_array().expect("rows").iter();
    rows.map(|row| {
        (row["name"].as_str().expect("a name").to_owned(), row["weight"].as_i64().expect("a number"))
    })
    .collect()
}
