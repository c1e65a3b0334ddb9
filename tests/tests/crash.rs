//! The server is killed at any moment, again and again, while everybody writes and clients come and go: nothing is lost,
//! nothing is told twice, and nothing is told that did not happen.
//!
//! `CRASH_CYCLES` and `CRASH_SEED` ask for more and for other cases: `CRASH_CYCLES=100000 cargo nextest run -p
//! realtime-tests -E 'binary(crash)'` runs for hours.

#![expect(clippy::print_stdout, reason = "the seed, and what was done, are what it is run for")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use realtime_tests::{Store, at, on_postgres, position, within};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{RwLock, mpsc, oneshot, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How often the server is killed: on SQLite, and on PostgreSQL, where a start takes longer.
const CYCLES: [u64; 2] = [160, 60];

/// After so many of them everybody holds still, and every view is compared with the table.
const CYCLES_BETWEEN_LOOKS: u64 = 20;

const FOLLOWERS: u64 = 6;

/// SplitMix64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("an index")]
    }

    async fn wait(&mut self, at_most_ms: u64) {
        let microseconds = self.below(at_most_ms * 1_000);
        tokio::time::sleep(Duration::from_micros(microseconds)).await;
    }
}

/// The server's process.
struct Process {
    place: String,
    child: Option<Child>,
    address: watch::Sender<Option<SocketAddr>>,
}

impl Process {
    async fn start(&mut self) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_server"))
            .arg(&self.place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the server's program");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = within("the server to start", lines.next_line()).await.expect("a line");
        let address = line.expect("it starts, whatever it finds").parse().expect("an address");
        self.child = Some(child);
        self.address.send_replace(Some(address));
    }

    async fn kill(&mut self) {
        self.address.send_replace(None);
        let mut child = self.child.take().expect("it runs");
        child.start_kill().expect("it can be killed");
        child.wait().await.expect("it ends");
    }
}

/// What everybody has to do with.
struct World {
    address: watch::Receiver<Option<SocketAddr>>,
    /// Whoever writes holds it for reading: who holds it for writing sees a table that stands still.
    writing: RwLock<()>,
    ended: AtomicBool,
    writes: AtomicU64,
    events: AtomicU64,
    resumed: AtomicU64,
    snapshots: AtomicU64,
}

impl World {
    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    async fn address(&self) -> SocketAddr {
        let mut address = self.address.clone();
        let found =
            within("a server", address.wait_for(Option::is_some)).await.expect("the process lives on");
        found.expect("it is some")
    }
}

/// A socket that may end at any time.
struct Link(WebSocketStream<TcpStream>);

impl Link {
    async fn open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (link, _) =
            tokio_tungstenite::client_async(format!("ws://{address}/api/ws"), stream).await.ok()?;
        Some(Self(link))
    }

    async fn send(&mut self, message: &Json) -> Option<()> {
        self.0.send(Message::text(message.to_string())).await.ok()
    }

    async fn receive(&mut self) -> Option<Json> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return serde_json::from_str(text.as_str()).ok(),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }
}

const FILTERS: [fn() -> Json; 6] = [
    || json!({}),
    || json!({"topic": 1}),
    || json!({"min_score": 3}),
    || json!({"status": "published", "not__score__in": [2, 4]}),
    || json!({"text": "ab"}),
    || json!({"status__in": ["draft", "hidden"], "score__range": [0, 3]}),
];

/// A client that keeps the rows of a filter over all that happens.
struct Follower {
    world: Arc<World>,
    random: Random,
    filter: Json,
    rows: BTreeMap<i64, Json>,
    /// That of the last page or whole batch.
    cursor: Option<String>,
    /// Does it know all rows of its filter, or is it still being sent them?
    is_whole: bool,
    batch: Vec<Json>,
    looks: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Follower {
    async fn run(mut self) {
        while !self.world.is_over() {
            let address = self.world.address().await;
            let _ = self.connected(address).await;
            // What of a batch has come is forgotten: the cursor is that of the last whole one.
            self.batch.clear();
            self.random.wait(20).await;
        }
    }

    /// Until the connection ends, or the client tires of it.
    async fn connected(&mut self, address: SocketAddr) -> Option<()> {
        let mut link = Link::open(address).await?;
        // What has not come to its end is worth nothing, and now and then the client forgets what it knows.
        if !self.is_whole || self.random.below(8) == 0 {
            self.forget();
            if self.random.below(2) == 0 {
                let list = json!({"stream": "comments/list", "payload": self.filter, "limit": 1000});
                link.send(&list).await?;
                let reply = link.receive().await?;
                assert_eq!(reply["status"], 200, "{reply}");
                self.rows = rows(&reply);
                self.cursor = Some(text(&reply, "data.feed"));
                self.is_whole = true;
            }
        }
        let subscribe = json!({
            "stream": "comments/subscribe", "payload": self.filter, "request_id": 1,
            "since": self.cursor, "snapshot": !self.is_whole,
        });
        link.send(&subscribe).await?;
        let reply = link.receive().await?;
        assert_eq!((&reply["request_id"], &reply["status"]), (&json!(1), &json!(200)), "{reply}");
        assert_eq!(*at(&reply, "data.recovered"), self.is_whole, "the log holds everything: {reply}");
        self.world.resumed.fetch_add(1, Ordering::Relaxed);
        let tired = tokio::time::sleep(Duration::from_millis(5 + self.random.below(400)));
        tokio::pin!(tired);
        loop {
            tokio::select! {
                message = link.receive() => self.take(&message?),
                look = self.looks.recv() => {
                    let done = look?;
                    self.look(&mut link).await;
                    let _ = done.send(());
                }
                () = &mut tired => return None,
            }
        }
    }

    fn forget(&mut self) {
        self.rows.clear();
        self.cursor = None;
        self.is_whole = false;
    }

    fn take(&mut self, message: &Json) {
        match message["type"].as_str() {
            Some("snapshot") => {
                assert!(!self.is_whole && self.batch.is_empty(), "a page comes out of turn: {message}");
                for row in message["data"].as_array().expect("rows") {
                    let old = self.rows.insert(row["id"].as_i64().expect("a key"), row.clone());
                    assert!(old.is_none(), "{} has the row already: {row}", self.filter);
                }
                self.cursor = Some(text(message, "cursor"));
                self.is_whole = message["done"] == true;
                self.world.snapshots.fetch_add(u64::from(self.is_whole), Ordering::Relaxed);
            }
            Some("lagged") if message["resync"] == "snapshot" => self.forget(),
            Some("lagged") => {}
            _ => self.take_event(message),
        }
    }

    fn take_event(&mut self, event: &Json) {
        assert_eq!(event["type"], "event", "{event}");
        self.world.events.fetch_add(1, Ordering::Relaxed);
        let cursor = text(event, "cursor");
        let before = self.cursor.as_deref().map_or(0, position);
        assert!(position(&cursor) > before, "{event} after {before}");
        if let Some(first) = self.batch.first() {
            assert_eq!(first["cursor"], event["cursor"], "a batch is not interrupted");
        }
        let more = event.get("more").is_some();
        self.batch.push(event.clone());
        if more {
            return;
        }
        for event in std::mem::take(&mut self.batch) {
            let key = event["pk"].as_i64().expect("a key");
            match event["action"].as_str() {
                Some("create") => {
                    let old = self.rows.insert(key, event["data"].clone());
                    assert!(old.is_none(), "{} is told twice: {event}", self.filter);
                }
                Some("update") => {
                    let row = self.rows.get_mut(&key);
                    let row = row.unwrap_or_else(|| panic!("{} does not have it: {event}", self.filter));
                    for (name, value) in event["diff"].as_object().expect("a diff") {
                        assert_ne!(row[name], *value, "nothing has changed: {event}");
                        row[name] = value.clone();
                    }
                }
                _ => assert!(self.rows.remove(&key).is_some(), "{} does not have it: {event}", self.filter),
            }
        }
        self.cursor = Some(cursor);
    }

    /// The table stands still: what has been told is what the filter selects.
    async fn look(&mut self, link: &mut Link) {
        let list =
            json!({"stream": "comments/list", "payload": self.filter, "limit": 1000, "request_id": "list"});
        link.send(&list).await.expect("nobody kills the server now");
        let mut reply = Json::Null;
        while reply["request_id"] != "list" {
            reply = within("the list", link.receive()).await.expect("nobody kills the server now");
            if reply["type"] != "reply" {
                self.take(&reply);
            }
        }
        let (expected, feed) = (rows(&reply), position(&text(&reply, "data.feed")));
        loop {
            link.send(&json!({"action": "ping", "request_id": "ping"})).await.expect("it lives");
            let mut pong = Json::Null;
            while pong["request_id"] != "ping" {
                pong = within("a ping", link.receive()).await.expect("nobody kills the server now");
                if pong["type"] != "reply" {
                    self.take(&pong);
                }
            }
            if self.is_whole && position(&text(&pong, "data.cursor")) >= feed {
                break;
            }
        }
        assert_eq!(self.rows, expected, "what {} was told is not what it selects", self.filter);
    }
}

fn text(json: &Json, path: &str) -> String {
    at(json, path).as_str().unwrap_or_else(|| panic!("{path} of {json}")).to_owned()
}

fn rows(reply: &Json) -> BTreeMap<i64, Json> {
    assert_eq!(*at(reply, "data.next"), Json::Null, "all rows are on one page");
    let results = at(reply, "data.results").as_array().expect("rows");
    results.iter().map(|row| (row["id"].as_i64().expect("a key"), row.clone())).collect()
}

/// Writes over REST, and knows which of its writes have been answered. Nobody else changes the text of its rows.
struct Writer {
    world: Arc<World>,
    random: Random,
    name: String,
    http: reqwest::Client,
    /// The texts that each of its rows may have; two while a change has not been answered.
    rows: BTreeMap<i64, Vec<Option<String>>>,
    written: u64,
}

impl Writer {
    async fn run(mut self) -> Self {
        while !self.world.is_over() {
            let world = Arc::clone(&self.world);
            let turn = world.writing.read().await;
            let address = *world.address.borrow();
            if let Some(address) = address {
                self.write(address).await;
            }
            drop(turn);
            self.random.wait(4).await;
        }
        self
    }

    async fn write(&mut self, address: SocketAddr) {
        self.written += 1;
        let body = format!("{}-{} {}", self.name, self.written, self.random.one(&["ab", "x", "ABBA"]));
        let known: Vec<i64> = self.rows.keys().copied().collect();
        if known.len() < 5 || (known.len() < 40 && self.random.below(3) == 0) {
            let payload =
                json!({"topic_id": 1 + self.random.below(2), "body": body, "score": self.random.below(7)});
            if let Some((201, row)) = self.ask(self.http.post(url(address, None)).json(&payload)).await {
                self.rows.insert(row["id"].as_i64().expect("a key"), vec![Some(body)]);
            }
            return;
        }
        let id = self.random.one(&known);
        let (request, after) = if self.random.below(4) == 0 {
            (self.http.delete(url(address, Some(id))), None)
        } else {
            let payload = json!({"body": body, "score": self.random.below(7)});
            (self.http.patch(url(address, Some(id))).json(&payload), Some(body))
        };
        self.rows.get_mut(&id).expect("it is known").push(after.clone());
        match self.ask(request).await {
            Some((200 | 204, _)) => {
                self.rows.insert(id, vec![after.clone()]);
                if after.is_none() {
                    self.rows.remove(&id);
                }
            }
            // It was removed by a request that nobody answered.
            Some((404, _)) => drop(self.rows.remove(&id)),
            Some((503, _)) => drop(self.rows.get_mut(&id).expect("it is known").pop()),
            Some(answer) => panic!("{answer:?}"),
            None => {}
        }
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Option<(u16, Json)> {
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let body = response.text().await.ok()?;
        self.world.writes.fetch_add(1, Ordering::Relaxed);
        Some((status, serde_json::from_str(&body).unwrap_or_default()))
    }

    /// What was answered is there.
    fn check(&self, table: &BTreeMap<i64, String>) {
        for (id, texts) in &self.rows {
            assert!(
                texts.contains(&table.get(id).cloned()),
                "{id}: {:?} is not one of {texts:?}",
                table.get(id)
            );
        }
    }
}

fn url(address: SocketAddr, id: Option<i64>) -> String {
    id.map_or_else(
        || format!("http://{address}/api/comments/"),
        |id| format!("http://{address}/api/comments/{id}/"),
    )
}

/// Writes past the server, whether it lives or not, and never touches the text of others' rows.
fn write_past(store: &Store, world: &World, mut random: Random) {
    let mut connection = store.connection();
    let begin = if on_postgres() { "BEGIN" } else { "BEGIN IMMEDIATE" };
    while !world.is_over() {
        {
            let _turn = world.writing.blocking_read();
            let score = random.below(7);
            let topic = 1 + random.below(2);
            let status = random.one(&["published", "draft", "hidden"]);
            let insert = format!(
                "INSERT INTO comments (topic_id, author_id, body, score, status, created_at)
                 VALUES ({topic}, 2, 'raw ab', {score}, '{status}', '2026-01-01 00:00:00');"
            );
            let sql = match random.below(8) {
                0 | 1 => insert,
                2 => format!("UPDATE comments SET score = {score} WHERE topic_id = {topic};"),
                3 => format!("UPDATE comments SET status = '{status}' WHERE id % 3 = {};", random.below(3)),
                4 => format!("DELETE FROM comments WHERE author_id = 2 AND id % 2 = {};", random.below(2)),
                5 => format!("{begin}; {insert} DELETE FROM comments WHERE author_id = 2; ROLLBACK;"),
                6 => {
                    format!("{begin}; {insert} UPDATE comments SET score = {score}; {insert} COMMIT;")
                }
                _ => "UPDATE comments SET id = (SELECT max(id) + 1 FROM comments) WHERE id = \
                      (SELECT min(id) FROM comments WHERE author_id = 2);"
                    .to_owned(),
            };
            if let Err(error) = connection.batch_execute(&sql) {
                // A key may have been given by hand that the sequence comes to, and locks may be waited for in a circle:
                // PostgreSQL then rolls back.
                let is_rolled_back =
                    ["deadlock detected", "duplicate key"].iter().any(|known| error.contains(known));
                assert!(on_postgres() && is_rolled_back, "{sql}: {error}");
            }
            world.writes.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_micros(random.below(6_000)));
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_told_twice_however_often_the_server_is_killed() {
    let cycles = from_env("CRASH_CYCLES", CYCLES[usize::from(on_postgres())]);
    let seed = from_env("CRASH_SEED", 20_261_125);
    println!("CRASH_SEED={seed} CRASH_CYCLES={cycles}");
    let mut random = Random(seed);
    let store = Store::fresh();
    let place = if on_postgres() { store.url() } else { store.path().display().to_string() };
    let (sender, address) = watch::channel(None);
    let mut process = Process { place, child: None, address: sender };
    process.start().await;
    let world = Arc::new(World {
        address,
        writing: RwLock::default(),
        ended: AtomicBool::new(false),
        writes: AtomicU64::new(0),
        events: AtomicU64::new(0),
        resumed: AtomicU64::new(0),
        snapshots: AtomicU64::new(0),
    });

    let mut looks = Vec::new();
    let mut followers = Vec::new();
    for number in 0..FOLLOWERS {
        let (look, asked) = mpsc::channel(1);
        looks.push(look);
        let filter = FILTERS[usize::try_from(number).expect("a number") % FILTERS.len()]();
        let follower = Follower {
            world: Arc::clone(&world),
            random: Random(seed + 1_000 + number),
            filter,
            rows: BTreeMap::new(),
            cursor: None,
            is_whole: false,
            batch: Vec::new(),
            looks: asked,
        };
        followers.push(tokio::spawn(follower.run()));
    }
    let http = || {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5));
        client.build().expect("an HTTP client")
    };
    let writers: Vec<_> = (0..2)
        .map(|number| {
            let writer = Writer {
                world: Arc::clone(&world),
                random: Random(seed + 2_000 + number),
                name: format!("writer{number}"),
                http: http(),
                rows: BTreeMap::new(),
                written: 0,
            };
            tokio::spawn(writer.run())
        })
        .collect();
    let (past, of_world, numbers) = (store.clone(), Arc::clone(&world), Random(seed + 3_000));
    let past = tokio::task::spawn_blocking(move || write_past(&past, &of_world, numbers));

    for cycle in 1..=cycles {
        random.wait(150).await;
        process.kill().await;
        random.wait(20).await;
        process.start().await;
        if cycle % CYCLES_BETWEEN_LOOKS == 0 || cycle == cycles {
            let still = world.writing.write().await;
            for (look, follower) in looks.iter().zip(&followers) {
                let (done, ended) = oneshot::channel();
                let looking = async {
                    look.send(done).await.ok()?;
                    ended.await.ok()
                };
                let looked = within("a look", looking).await;
                assert!(looked.is_some() && !follower.is_finished(), "a follower has failed: see above");
            }
            drop(still);
        }
    }

    world.ended.store(true, Ordering::Relaxed);
    past.await.expect("it writes on");
    drop(looks);
    for follower in followers {
        within("a follower to end", follower).await.expect("it has not failed");
    }
    let list = http().get(format!("{}?limit=1000", url(world.address().await, None))).send().await;
    let list = list.expect("the server lives").text().await.expect("an answer");
    let list: Json = serde_json::from_str(&list).expect("a list");
    let body = |row: Json| row["body"].as_str().expect("a text").to_owned();
    let table: BTreeMap<i64, String> =
        rows(&json!({"data": list})).into_iter().map(|(id, row)| (id, body(row))).collect();
    for writer in writers {
        within("a writer to end", writer).await.expect("it has not failed").check(&table);
    }
    process.kill().await;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{cycles} kills, {} writes, {} events, {} begun or resumed, {} snapshots, no violation",
        count(&world.writes),
        count(&world.events),
        count(&world.resumed),
        count(&world.snapshots)
    );
    assert!(count(&world.events) > cycles, "there was something to tell");
}
