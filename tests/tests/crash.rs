//! The server is killed at any moment, or its database is, again and again, while everybody writes and clients come and
//! go: nothing is lost, nothing is told twice, and nothing is told that did not happen.
//!
//! `CRASH_CYCLES`, `CRASH_MINUTES` and `CRASH_SEED` ask for more and for other cases. An hour of it is
//! `CRASH_MINUTES=60 cargo test -p realtime-tests --test crash killed -- --nocapture`; `calm` and `restarts` instead of
//! `killed` are the other modes, and `REALTIME_TEST_DATABASE=postgres` is the other database. `CRASH_SERVER` names a copy
//! of the server's program, so that a long run is not disturbed by builds.

#![expect(clippy::print_stdout, reason = "the seed, and what was done, are what it is run for")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use realtime_actix::ChangeSource;
use realtime_tests::{Random, Store, WAIT, at, change_source, on_postgres, position, postgres, within};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, RwLock, mpsc, oneshot, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How often the server is killed: on SQLite, and on PostgreSQL, where a start takes longer.
const CYCLES: [u64; 2] = [160, 60];

/// How often everybody holds still where nothing is killed, and how often a database is killed.
const CALM_CYCLES: u64 = 60;
const RESTARTS: u64 = 12;

/// After so many of them everybody holds still, and every view is compared with the table.
const CYCLES_BETWEEN_LOOKS: u64 = 20;

/// And after so many a long run says how far it is.
const CYCLES_BETWEEN_WORDS: u64 = 500;

const FOLLOWERS: u64 = 6;

/// So many of the last positions of the follower of everything are known to the others, and so many of theirs wait to
/// be compared.
const KNOWN_POSITIONS: usize = 200;

/// The server's process.
struct Process {
    place: String,
    child: Option<Child>,
    address: watch::Sender<Option<SocketAddr>>,
}

impl Process {
    async fn start(&mut self) {
        let mut child =
            Command::new(std::env::var_os("CRASH_SERVER").unwrap_or(env!("CARGO_BIN_EXE_server").into()))
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
    compared: AtomicU64,
    history: Mutex<History>,
    /// May the database itself go away, so that whoever asks is told so?
    may_be_unavailable: bool,
    /// Something has been committed, just now.
    committed: Notify,
}

/// What the table held at the positions that the follower of everything has come to, and what others held there.
#[derive(Default)]
struct History {
    known: VecDeque<(u64, BTreeMap<i64, Json>)>,
    /// Where the follower of everything has not come to yet.
    asked: VecDeque<(u64, Filter, BTreeMap<i64, Json>)>,
}

impl History {
    /// The follower of everything has come to a position; gives how many others were compared with it.
    fn know(&mut self, position: u64, rows: &BTreeMap<i64, Json>) -> u64 {
        let mut compared = 0;
        self.asked.retain(|(asked, filter, view)| {
            if *asked == position {
                filter.check(rows, view, position);
                compared += 1;
            }
            *asked > position
        });
        self.known.push_back((position, rows.clone()));
        if self.known.len() > KNOWN_POSITIONS {
            self.known.pop_front();
        }
        compared
    }

    /// Another has come to a position.
    fn ask(&mut self, position: u64, filter: &Filter, view: &BTreeMap<i64, Json>) -> u64 {
        if let Some((_, rows)) = self.known.iter().find(|(known, _)| *known == position) {
            filter.check(rows, view, position);
            return 1;
        }
        if self.known.back().is_none_or(|(last, _)| *last < position) {
            self.asked.push_back((position, filter.clone(), view.clone()));
            if self.asked.len() > KNOWN_POSITIONS {
                self.asked.pop_front();
            }
        }
        0
    }
}

impl World {
    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The database is away, and that is no surprise.
    fn is_unavailable(&self, reply: &Json) -> bool {
        self.may_be_unavailable && reply["status"] == 503
    }

    /// What has been done so far, in words.
    fn done(&self, cycles: u64) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "{cycles} cycles, {} writes, {} events, {} begun or resumed, {} snapshots, {} views compared at positions \
             they passed",
            count(&self.writes),
            count(&self.events),
            count(&self.resumed),
            count(&self.snapshots),
            count(&self.compared)
        )
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

/// What one parameter of a filter asks for.
#[derive(Clone, Copy, Debug)]
enum Condition {
    Topic(u64),
    MinScore(u64),
    Scores(u64, u64),
    NotScores(u64, u64),
    Status(&'static str),
    Statuses(&'static str, &'static str),
    Text(&'static str),
}

impl Condition {
    fn random(random: &mut Random) -> Self {
        let status = |random: &mut Random| random.one(&["published", "draft", "hidden"]);
        match random.below(7) {
            0 => Self::Topic(1 + random.below(2)),
            1 => Self::MinScore(random.below(7)),
            2 => Self::Scores(random.below(4), 3 + random.below(4)),
            3 => Self::NotScores(random.below(7), random.below(7)),
            4 => Self::Status(status(random)),
            5 => Self::Statuses(status(random), status(random)),
            _ => Self::Text(random.one(&["ab", "X", "bba", "raw"])),
        }
    }

    fn parameter(self) -> (&'static str, Json) {
        match self {
            Self::Topic(topic) => ("topic", json!(topic)),
            Self::MinScore(least) => ("min_score", json!(least)),
            Self::Scores(from, to) => ("score__range", json!([from, to])),
            Self::NotScores(one, other) => ("not__score__in", json!([one, other])),
            Self::Status(status) => ("status", json!(status)),
            Self::Statuses(one, other) => ("status__in", json!([one, other])),
            Self::Text(part) => ("text", json!(part)),
        }
    }

    fn selects(self, row: &Json) -> bool {
        let score = row["score"].as_u64().expect("a score");
        match self {
            Self::Topic(topic) => row["topic_id"] == topic,
            Self::MinScore(least) => score >= least,
            Self::Scores(from, to) => (from..=to).contains(&score),
            Self::NotScores(one, other) => score != one && score != other,
            Self::Status(status) => row["status"] == status,
            Self::Statuses(one, other) => row["status"] == one || row["status"] == other,
            Self::Text(part) => {
                let body = row["body"].as_str().expect("a text").to_lowercase();
                body.contains(&part.to_lowercase())
            }
        }
    }
}

/// All of some conditions; those of none select everything.
#[derive(Clone, Debug)]
struct Filter(Vec<Condition>);

impl Filter {
    fn random(random: &mut Random) -> Self {
        let count = 1 + random.below(3);
        Self((0..count).map(|_| Condition::random(random)).collect())
    }

    /// Of two conditions with one name the last counts.
    fn payload(&self) -> Json {
        self.0.iter().map(|condition| condition.parameter()).collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    fn selects(&self, row: &Json) -> bool {
        let by_name: BTreeMap<_, _> =
            self.0.iter().map(|condition| (condition.parameter().0, condition)).collect();
        by_name.values().all(|condition| condition.selects(row))
    }

    /// A view is what the filter selects of the table, as it was at one position.
    fn check(&self, table: &BTreeMap<i64, Json>, view: &BTreeMap<i64, Json>, position: u64) {
        let mut expected = table.clone();
        expected.retain(|_, row| self.selects(row));
        assert_eq!(*view, expected, "the view of {self:?} at {position} is not what it selects there");
    }
}

/// A client that keeps the rows of a filter over all that happens.
struct Follower {
    world: Arc<World>,
    random: Random,
    filter: Filter,
    /// The filter of everything stays; others are changed for new ones when their rows are forgotten.
    is_of_everything: bool,
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
                let list =
                    json!({"stream": "comments/list", "payload": self.filter.payload(), "limit": 1000});
                link.send(&list).await?;
                let reply = link.receive().await?;
                if self.world.is_unavailable(&reply) {
                    return None;
                }
                assert_eq!(reply["status"], 200, "{reply}");
                self.rows = rows(&reply);
                self.cursor = Some(text(&reply, "data.feed"));
                self.is_whole = true;
            }
        }
        let subscribe = json!({
            "stream": "comments/subscribe", "payload": self.filter.payload(), "request_id": 1,
            "since": self.cursor, "snapshot": !self.is_whole,
        });
        link.send(&subscribe).await?;
        let reply = link.receive().await?;
        if self.world.is_unavailable(&reply) {
            return None;
        }
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
        if !self.is_of_everything {
            self.filter = Filter::random(&mut self.random);
        }
    }

    /// A whole batch has been applied: the rows are those of a position.
    fn passed(&self) {
        let at = self.cursor.as_deref().map_or(0, position);
        let mut history = self.world.history.lock().unwrap_or_else(PoisonError::into_inner);
        let compared = if self.is_of_everything {
            history.know(at, &self.rows)
        } else {
            history.ask(at, &self.filter, &self.rows)
        };
        drop(history);
        self.world.compared.fetch_add(compared, Ordering::Relaxed);
    }

    fn take(&mut self, message: &Json) {
        match message["type"].as_str() {
            Some("snapshot") => {
                assert!(!self.is_whole && self.batch.is_empty(), "a page comes out of turn: {message}");
                for row in message["data"].as_array().expect("rows") {
                    let old = self.rows.insert(row["id"].as_i64().expect("a key"), row.clone());
                    assert!(old.is_none(), "{:?} has the row already: {row}", self.filter);
                }
                self.cursor = Some(text(message, "cursor"));
                self.is_whole = message["done"] == true;
                self.world.snapshots.fetch_add(u64::from(self.is_whole), Ordering::Relaxed);
            }
            Some("lagged") if message["resync"] == "snapshot" => {
                // The subscription goes on with its own filter.
                self.rows.clear();
                self.cursor = None;
                self.is_whole = false;
            }
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
                    assert!(old.is_none(), "{:?} is told twice: {event}", self.filter);
                }
                Some("update") => {
                    let row = self.rows.get_mut(&key);
                    let row = row.unwrap_or_else(|| panic!("{:?} does not have it: {event}", self.filter));
                    for (name, value) in event["diff"].as_object().expect("a diff") {
                        assert_ne!(row[name], *value, "nothing has changed: {event}");
                        row[name] = value.clone();
                    }
                }
                _ => assert!(self.rows.remove(&key).is_some(), "{:?} does not have it: {event}", self.filter),
            }
        }
        self.cursor = Some(cursor);
        if self.is_whole {
            self.passed();
        }
    }

    /// The table stands still: what has been told is what the filter selects.
    async fn look(&mut self, link: &mut Link) {
        let list = json!({"stream": "comments/list", "payload": self.filter.payload(), "limit": 1000, "request_id": "list"});
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
        assert_eq!(self.rows, expected, "what {:?} was told is not what it selects", self.filter);
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

/// Writes over REST or a socket, and knows which of its writes have been answered. Nobody else changes the text of its
/// rows.
struct Writer {
    world: Arc<World>,
    random: Random,
    name: String,
    http: reqwest::Client,
    by_socket: bool,
    link: Option<Link>,
    /// The texts that each of its rows may have; several while a change has not been answered.
    rows: BTreeMap<i64, Vec<Option<String>>>,
    /// The text of a row whose making was not answered.
    lost: Option<String>,
    written: u64,
}

impl Writer {
    async fn run(mut self) -> Self {
        while !self.world.is_over() {
            let world = Arc::clone(&self.world);
            let turn = world.writing.read().await;
            let address = *world.address.borrow();
            match address {
                Some(address) => self.write(address).await,
                None => self.link = None,
            }
            drop(turn);
            self.random.wait(4).await;
        }
        self
    }

    async fn write(&mut self, address: SocketAddr) {
        if let Some(body) = self.lost.clone() {
            self.find(address, body).await;
            return;
        }
        self.written += 1;
        let body = format!("{}-{} {}", self.name, self.written, self.random.one(&["ab", "x", "ABBA"]));
        let known: Vec<i64> = self.rows.keys().copied().collect();
        if known.len() < 5 || (known.len() < 40 && self.random.below(3) == 0) {
            let payload =
                json!({"topic_id": 1 + self.random.below(2), "body": body, "score": self.random.below(7)});
            match self.ask(address, "create", None, payload).await {
                Some((201, row)) => {
                    self.rows.insert(row["id"].as_i64().expect("a key"), vec![Some(body)]);
                }
                _ => self.lost = Some(body),
            }
            return;
        }
        let id = self.random.one(&known);
        let (action, payload, after) = if self.random.below(4) == 0 {
            ("delete", Json::Null, None)
        } else {
            ("update", json!({"body": body, "score": self.random.below(7)}), Some(body))
        };
        self.rows.get_mut(&id).expect("it is known").push(after.clone());
        match self.ask(address, action, Some(id), payload).await {
            Some((200 | 204, _)) => {
                self.rows.insert(id, vec![after.clone()]);
                if after.is_none() {
                    self.rows.remove(&id);
                }
            }
            // It was removed by a request that nobody answered.
            Some((404, _)) => {
                let texts = self.rows.remove(&id).expect("it is known");
                assert!(texts.contains(&None), "{id} is gone, and nobody removed it: {texts:?}");
            }
            // A database that went away may have done it all the same.
            Some((503, _)) if self.world.may_be_unavailable => {}
            Some((503, _)) => drop(self.rows.get_mut(&id).expect("it is known").pop()),
            Some(answer) => panic!("{answer:?}"),
            None => {}
        }
    }

    /// Looks for a row whose making was not answered, so that such rows do not become more and more.
    async fn find(&mut self, address: SocketAddr, body: String) {
        let request = self.http.get(format!("{}?body={}", url(address, None), body.replace(' ', "%20")));
        let Ok(response) = request.send().await else { return };
        if response.status() != 200 {
            return;
        }
        let Ok(found) = response.text().await else { return };
        let found: Json = serde_json::from_str(&found).expect("a list");
        for id in rows(&json!({ "data": found })).into_keys() {
            self.rows.insert(id, vec![Some(body.clone())]);
        }
        self.lost = None;
    }

    async fn ask(
        &mut self,
        address: SocketAddr,
        action: &str,
        id: Option<i64>,
        payload: Json,
    ) -> Option<(u16, Json)> {
        let answer = if self.by_socket {
            self.ask_by_socket(address, action, id, &payload).await
        } else {
            self.ask_by_rest(address, action, id, &payload).await
        };
        self.world.writes.fetch_add(u64::from(answer.is_some()), Ordering::Relaxed);
        self.world.committed.notify_waiters();
        answer
    }

    async fn ask_by_rest(
        &self,
        address: SocketAddr,
        action: &str,
        id: Option<i64>,
        payload: &Json,
    ) -> Option<(u16, Json)> {
        let request = match action {
            "create" => self.http.post(url(address, None)).json(payload),
            "update" => self.http.patch(url(address, id)).json(payload),
            _ => self.http.delete(url(address, id)),
        };
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let body = response.text().await.ok()?;
        Some((status, serde_json::from_str(&body).unwrap_or_default()))
    }

    async fn ask_by_socket(
        &mut self,
        address: SocketAddr,
        action: &str,
        id: Option<i64>,
        payload: &Json,
    ) -> Option<(u16, Json)> {
        // What was asked for may still be answered where this fails, so the socket is not used again.
        let mut link = match self.link.take() {
            Some(link) => link,
            None => Link::open(address).await?,
        };
        let request = json!({"stream": "comments", "action": action, "pk": id, "payload": payload});
        link.send(&request).await?;
        let reply = tokio::time::timeout(WAIT, link.receive()).await.ok()??;
        self.link = Some(link);
        let status = reply["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        Some((status.expect("a status"), reply["data"].clone()))
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
                let is_expected = is_rolled_back || world.may_be_unavailable;
                assert!(on_postgres() && is_expected, "{sql}: {error}");
            }
            world.writes.fetch_add(1, Ordering::Relaxed);
            world.committed.notify_waiters();
        }
        std::thread::sleep(Duration::from_micros(random.below(6_000)));
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// What happens to those that are used, besides what they do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Calm,
    /// The server is killed and started again.
    Killed,
    /// The database's server is killed and started again.
    Restarts,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_told_twice_however_often_the_server_is_killed() {
    run(Mode::Killed, CYCLES[usize::from(on_postgres())]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_is_what_it_selects_while_all_is_calm() {
    run(Mode::Calm, CALM_CYCLES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_told_twice_however_often_postgres_restarts() {
    // A database in the process has no server.
    if on_postgres() {
        run(Mode::Restarts, RESTARTS).await;
    }
}

async fn run(mode: Mode, cycles: u64) {
    let minutes = from_env("CRASH_MINUTES", 0);
    let until = (minutes > 0).then(|| Instant::now() + Duration::from_secs(60 * minutes));
    let most = from_env("CRASH_CYCLES", if until.is_some() { u64::MAX } else { cycles });
    let seed = from_env("CRASH_SEED", 20_261_125);
    println!("CRASH_SEED={seed} CRASH_CYCLES={most}");
    let mut random = Random::new(seed);
    let mut own = (mode == Mode::Restarts).then(postgres::Server::start);
    let store = match &own {
        Some(server) => Store::of(postgres::Database::create_on(server.url())),
        None => Store::fresh(),
    };
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
        compared: AtomicU64::new(0),
        history: Mutex::default(),
        may_be_unavailable: own.is_some(),
        committed: Notify::new(),
    });

    let mut looks = Vec::new();
    let mut followers = Vec::new();
    for number in 0..FOLLOWERS {
        let (look, asked) = mpsc::channel(1);
        looks.push(look);
        let mut numbers = Random::new(seed + 1_000 + number);
        let is_of_everything = number == 0;
        let filter = if is_of_everything { Filter(Vec::new()) } else { Filter::random(&mut numbers) };
        let follower = Follower {
            world: Arc::clone(&world),
            random: numbers,
            filter,
            is_of_everything,
            rows: BTreeMap::new(),
            cursor: None,
            is_whole: false,
            batch: Vec::new(),
            looks: asked,
        };
        followers.push(tokio::spawn(follower.run()));
    }
    let http = || {
        let client = reqwest::Client::builder().no_proxy().timeout(WAIT);
        client.build().expect("an HTTP client")
    };
    let writers: Vec<_> = (0..2)
        .map(|number| {
            let writer = Writer {
                world: Arc::clone(&world),
                random: Random::new(seed + 2_000 + number),
                name: format!("writer{number}"),
                http: http(),
                by_socket: number == 1,
                link: None,
                rows: BTreeMap::new(),
                lost: None,
                written: 0,
            };
            tokio::spawn(writer.run())
        })
        .collect();
    let (past, of_world, numbers) = (store.clone(), Arc::clone(&world), Random::new(seed + 3_000));
    let past = tokio::task::spawn_blocking(move || write_past(&past, &of_world, numbers));

    let mut cycle = 0;
    loop {
        cycle += 1;
        // Until the service has its database again takes longer than until it is started; and what comes by logical
        // replication is copied before it is told.
        let replicated = on_postgres() && change_source() == ChangeSource::Replication;
        let longest = match mode {
            Mode::Restarts => 1_000,
            Mode::Killed if replicated => 500,
            Mode::Killed | Mode::Calm => 150,
        };
        random.wait(longest).await;
        if mode != Mode::Calm && random.below(2) == 0 {
            // Between a commit and its delivery.
            within("a commit", world.committed.notified()).await;
        }
        match (mode, &mut own) {
            (Mode::Restarts, Some(server)) => {
                tokio::task::block_in_place(|| server.crash());
                random.wait(20).await;
                tokio::task::block_in_place(|| server.start_again());
            }
            (Mode::Killed, _) => {
                process.kill().await;
                random.wait(20).await;
                process.start().await;
            }
            _ => {}
        }
        let is_last = cycle == most || until.is_some_and(|until| Instant::now() > until);
        let between = if mode == Mode::Killed { CYCLES_BETWEEN_LOOKS } else { 4 };
        if cycle % between == 0 || is_last {
            let still = world.writing.write().await;
            if mode == Mode::Restarts {
                within("the service to answer again", answers(&http(), world.address().await)).await;
            }
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
        if is_last {
            break;
        }
        if cycle % CYCLES_BETWEEN_WORDS == 0 {
            println!("{}, no violation so far", world.done(cycle));
        }
    }

    world.ended.store(true, Ordering::Relaxed);
    past.await.expect("it writes on");
    drop(looks);
    for follower in followers {
        within("a follower to end", follower).await.expect("it has not failed");
    }
    let mut ended = Vec::new();
    for writer in writers {
        ended.push(within("a writer to end", writer).await.expect("it has not failed"));
    }
    let list = http().get(format!("{}?limit=1000", url(world.address().await, None))).send().await;
    let list = list.expect("the server lives").text().await.expect("an answer");
    let list: Json = serde_json::from_str(&list).expect("a list");
    let body = |row: Json| row["body"].as_str().expect("a text").to_owned();
    let table: BTreeMap<i64, String> =
        rows(&json!({"data": list})).into_iter().map(|(id, row)| (id, body(row))).collect();
    for writer in ended {
        writer.check(&table);
    }
    process.kill().await;
    println!("{}, no violation", world.done(cycle));
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert!(count(&world.events) > cycle && count(&world.compared) > 0, "there was something to tell");
}

/// Waits until the service has its database again.
async fn answers(http: &reqwest::Client, address: SocketAddr) {
    loop {
        let answer = http.get(url(address, None)).send().await;
        if answer.is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
