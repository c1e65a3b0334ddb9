//! Rows plus events are what the database would answer: whatever is written, by whomever, at whatever moment a client
//! begins.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use realtime_tests::{OwnConnection, Server, Setup, Socket, at, on_postgres, position};
use serde_json::{Map, Value as Json, json};

const WRITES: usize = 60;

/// `CONVERGENCE_SEQUENCES` asks for more or fewer of them.
fn sequences() -> u32 {
    std::env::var("CONVERGENCE_SEQUENCES").ok().and_then(|number| number.parse().ok()).unwrap_or(40)
}

/// By what a write comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rest,
    Socket,
    Service,
    /// A connection that the service knows nothing of.
    Connection,
}

/// Values of a comment; what is `None` is not named.
#[derive(Clone, Debug)]
struct Fields {
    topic: Option<i32>,
    body: Option<&'static str>,
    score: Option<i32>,
    rating: Option<Option<f64>>,
    status: Option<&'static str>,
}

impl Fields {
    fn json(&self) -> Json {
        let mut json = Map::new();
        let mut set = |name: &str, value: Option<Json>| {
            if let Some(value) = value {
                json.insert(name.to_owned(), value);
            }
        };
        set("topic_id", self.topic.map(Json::from));
        set("body", self.body.map(Json::from));
        set("score", self.score.map(Json::from));
        set("rating", self.rating.map(Json::from));
        set("status", self.status.map(Json::from));
        json.into()
    }

    /// Column and literal of each value.
    fn sql(&self) -> Vec<(&'static str, String)> {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        [
            ("topic_id", self.topic.map(|topic| topic.to_string())),
            ("body", self.body.map(quoted)),
            ("score", self.score.map(|score| score.to_string())),
            (
                "rating",
                self.rating.map(|rating| rating.map_or("NULL".to_owned(), |rating| format!("{rating:?}"))),
            ),
            ("status", self.status.map(quoted)),
        ]
        .into_iter()
        .filter_map(|(column, literal)| Some((column, literal?)))
        .collect()
    }
}

/// What is done with the rows. A row is chosen by a number among those that there are.
#[derive(Clone, Debug)]
enum Change {
    Create(Fields),
    Update(usize, Fields),
    Replace(usize, Fields),
    Delete(usize),
    /// Many rows in one statement.
    Bulk(Bulk),
    /// A transaction of several changes.
    Several(Vec<Self>),
    RolledBack(Vec<Self>),
    /// A statement that leaves every row as it is.
    Nothing(usize),
}

#[derive(Clone, Debug)]
enum Bulk {
    Raise(i32),
    Hide(i32),
    Publish,
    Rate(Option<f64>),
    /// One comment more for each that there is in a topic, up to a few.
    Copy(i32),
    Clear(i32),
    Renumber(usize),
}

/// One step of a sequence.
#[derive(Clone, Debug)]
enum Step {
    Write(By, Change),
    /// A view drops its rows and begins anew from a list.
    List(usize),
}

const BODIES: &[&str] =
    &["a", "A", "abc", "ß", "ẞ", "ΣΑΣ", "σας", "İstanbul", "50%_off", "it's", "e\u{301}", "\"", "z\nz"];

fn fields() -> impl Strategy<Value = Fields> {
    (
        1..=2,
        proptest::sample::select(BODIES),
        -3..8,
        proptest::option::of(prop_oneof![Just(0.0), Just(0.5), Just(1.0), Just(2.5)]),
        prop_oneof![3 => Just("published"), 1 => Just("draft"), 1 => Just("hidden")],
    )
        .prop_map(|(topic, body, score, rating, status)| Fields {
            topic: Some(topic),
            body: Some(body),
            score: Some(score),
            rating: Some(rating),
            status: Some(status),
        })
}

/// Some of the fields.
fn part() -> impl Strategy<Value = Fields> {
    (fields(), 0_u8..32).prop_map(|(all, mask)| Fields {
        topic: all.topic.filter(|_| mask & 1 != 0),
        body: all.body.filter(|_| mask & 2 != 0),
        score: all.score.filter(|_| mask & 4 != 0),
        rating: all.rating.filter(|_| mask & 8 != 0),
        status: all.status.filter(|_| mask & 16 != 0),
    })
}

fn single() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => fields().prop_map(Change::Create),
        5 => (0_usize..100, part()).prop_map(|(row, fields)| Change::Update(row, fields)),
        1 => (0_usize..100, fields()).prop_map(|(row, fields)| Change::Replace(row, fields)),
        2 => (0_usize..100).prop_map(Change::Delete),
        1 => (0_usize..100).prop_map(Change::Nothing),
    ]
}

fn bulk() -> impl Strategy<Value = Bulk> {
    prop_oneof![
        (-2..3).prop_map(Bulk::Raise),
        (1..=2).prop_map(Bulk::Hide),
        Just(Bulk::Publish),
        proptest::option::of(Just(1.0)).prop_map(Bulk::Rate),
        (1..=2).prop_map(Bulk::Copy),
        (1..=2).prop_map(Bulk::Clear),
        (0_usize..100).prop_map(Bulk::Renumber),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let by_any = prop_oneof![Just(By::Rest), Just(By::Socket), Just(By::Service), Just(By::Connection)];
    let by_sql = || prop_oneof![Just(By::Service), Just(By::Connection)];
    prop_oneof![
        8 => (by_any, single()).prop_map(|(by, change)| Step::Write(by, change)),
        1 => (by_sql(), bulk()).prop_map(|(by, bulk)| Step::Write(by, Change::Bulk(bulk))),
        2 => (by_sql(), vec(single(), 2..6)).prop_map(|(by, parts)| Step::Write(by, Change::Several(parts))),
        1 => (by_sql(), vec(single(), 1..4)).prop_map(|(by, parts)| Step::Write(by, Change::RolledBack(parts))),
        1 => (0_usize..3).prop_map(Step::List),
    ]
}

/// A sequence in bursts: the steps of one burst run at the same time.
fn sequence() -> impl Strategy<Value = Vec<Vec<Step>>> {
    (vec(step(), WRITES..=WRITES), vec(1_usize..6, WRITES..=WRITES)).prop_map(|(steps, sizes)| {
        let mut steps = steps.into_iter();
        let mut bursts = Vec::new();
        for size in sizes {
            let burst: Vec<Step> = steps.by_ref().take(size).collect();
            if burst.is_empty() {
                break;
            }
            bursts.push(burst);
        }
        bursts
    })
}

/// The statements of a change, each naming its row by a query of its own.
fn sql_of(change: &Change) -> String {
    let row = |number: usize| {
        format!(
            "(SELECT id FROM comments ORDER BY id LIMIT 1 OFFSET {number} % (SELECT count(*) + 1 FROM comments))"
        )
    };
    match change {
        Change::Create(fields) => {
            let (columns, values): (Vec<_>, Vec<_>) = fields.sql().into_iter().unzip();
            format!(
                "INSERT INTO comments (author_id, created_at, {}) VALUES (2, '2026-01-01 00:00:00', {});",
                columns.join(", "),
                values.join(", ")
            )
        }
        Change::Update(number, fields) | Change::Replace(number, fields) => {
            let sets: Vec<String> =
                fields.sql().into_iter().map(|(column, value)| format!("{column} = {value}")).collect();
            if sets.is_empty() {
                return sql_of(&Change::Nothing(*number));
            }
            format!("UPDATE comments SET {} WHERE id = {};", sets.join(", "), row(*number))
        }
        Change::Delete(number) => format!("DELETE FROM comments WHERE id = {};", row(*number)),
        Change::Nothing(number) => {
            format!("UPDATE comments SET id = id, body = body || '' WHERE id >= {};", row(*number))
        }
        Change::Bulk(bulk) => match bulk {
            Bulk::Raise(by) => format!("UPDATE comments SET score = score + {by};"),
            Bulk::Hide(topic) => format!("UPDATE comments SET status = 'hidden' WHERE topic_id = {topic};"),
            Bulk::Publish => "UPDATE comments SET status = 'published';".to_owned(),
            Bulk::Rate(rating) => format!(
                "UPDATE comments SET rating = {};",
                rating.map_or("NULL".to_owned(), |rating| format!("{rating:?}"))
            ),
            Bulk::Copy(topic) => format!(
                "INSERT INTO comments (topic_id, author_id, body, score, status, created_at)
                 SELECT 3 - topic_id, author_id, body, score - 1, status, created_at FROM comments
                 WHERE topic_id = {topic} ORDER BY id LIMIT 5;"
            ),
            Bulk::Clear(topic) => format!("DELETE FROM comments WHERE topic_id = {topic} AND score < 0;"),
            Bulk::Renumber(number) => {
                // Of writers beside each other two would find the same greatest key.
                let next = if on_postgres() {
                    "nextval(pg_get_serial_sequence('comments', 'id'))"
                } else {
                    "(SELECT max(id) + 1 FROM comments)"
                };
                format!("UPDATE comments SET id = {next} WHERE id = {};", row(*number))
            }
        },
        Change::Several(parts) | Change::RolledBack(parts) => parts.iter().map(sql_of).collect(),
    }
}

fn run_sql(connection: &mut OwnConnection, change: &Change) {
    let end = if matches!(change, Change::RolledBack(_)) { "ROLLBACK" } else { "COMMIT" };
    // SQLite would refuse to make a writer of a reader that another one has overtaken.
    let begin = if on_postgres() { "BEGIN" } else { "BEGIN IMMEDIATE" };
    let sql = format!("{begin}; {} {end};", sql_of(change));
    if let Err(error) = connection.batch_execute(&sql) {
        assert!(may_fail(&error), "{error}");
    }
}

/// Writers of PostgreSQL may get in each other's way, and one of them is refused.
fn may_fail(error: &str) -> bool {
    on_postgres() && error.contains("deadlock")
}

/// The key of a row that there may be.
async fn some_id(server: &Server, number: usize) -> i64 {
    let found = server.read("/api/comments/?limit=1000&count=false").await;
    let found = found["results"].as_array().expect("rows");
    if found.is_empty() { 1 } else { found[number % found.len()]["id"].as_i64().expect("a key") }
}

/// The method, the action, the row and the body of a change, as a request.
async fn request_of(server: &Server, change: &Change) -> (&'static str, &'static str, Option<i64>, Json) {
    match change {
        Change::Create(fields) => ("POST", "create", None, fields.json()),
        Change::Update(number, fields) => {
            ("PATCH", "update", Some(some_id(server, *number).await), fields.json())
        }
        Change::Replace(number, fields) => {
            ("PUT", "replace", Some(some_id(server, *number).await), fields.json())
        }
        Change::Delete(number) => ("DELETE", "delete", Some(some_id(server, *number).await), Json::Null),
        Change::Nothing(number) => ("PATCH", "update", Some(some_id(server, *number).await), json!({})),
        other => panic!("{other:?} is written as SQL"),
    }
}

/// The four writers of a sequence.
struct Writers<'a> {
    server: &'a Server,
    socket: Socket,
    connection: Option<OwnConnection>,
}

impl Writers<'_> {
    /// The writes of one burst: those of one writer one after the other, the writers beside each other.
    async fn write(&mut self, burst: &[(By, Change)]) {
        let server = self.server;
        let of =
            |by: By| burst.iter().filter(move |(writer, _)| *writer == by).map(|(_, change)| change.clone());
        let own: Vec<Change> = of(By::Connection).collect();
        let connection = self.connection.take();
        let by_connection = tokio::task::spawn_blocking(move || {
            let mut connection = connection;
            for change in &own {
                run_sql(connection.as_mut().expect("the database is a file"), change);
            }
            connection
        });
        let by_rest = async {
            for change in of(By::Rest) {
                let (method, _, id, body) = request_of(server, &change).await;
                let path =
                    id.map_or_else(|| "/api/comments/".to_owned(), |id| format!("/api/comments/{id}/"));
                let answer = server.send(method, &path, &body).await;
                // Another writer may have removed the row meanwhile.
                let is_expected = answer.status == 404 || (on_postgres() && answer.status == 503);
                assert!(answer.status < 300 || is_expected, "{change:?}: {}", answer.text);
            }
        };
        let socket = &mut self.socket;
        let by_socket = async {
            for change in of(By::Socket) {
                let (_, action, id, body) = request_of(server, &change).await;
                let request = json!({"stream": "comments", "action": action, "pk": id, "payload": body});
                let reply = socket.request(request).await;
                let status = reply["status"].as_u64().unwrap_or_default();
                let is_expected = status == 404 || (on_postgres() && status == 503);
                assert!(status < 300 || is_expected, "{change:?}: {reply}");
            }
        };
        let by_service = async {
            for change in of(By::Service) {
                let rolled_back = matches!(change, Change::RolledBack(_));
                let end = move || if rolled_back { Err("rolled back".to_owned()) } else { Ok(()) };
                if let Err(error) = server.write_and(sql_of(&change), end).await {
                    assert!(error.ends_with("rolled back") || may_fail(&error), "{error}");
                }
            }
        };
        let ((), (), (), connection) = tokio::join!(by_rest, by_socket, by_service, by_connection);
        self.connection = connection.expect("no panic");
    }
}

/// A filter, and what it means.
struct Meaning {
    filter: fn() -> Json,
    form: &'static str,
    matches: fn(&Json) -> bool,
}

fn number(row: &Json, field: &str) -> f64 {
    row[field].as_f64().unwrap_or(f64::NAN)
}

const VIEWS: [Meaning; 3] = [
    Meaning { filter: || json!({}), form: "diff", matches: |_| true },
    Meaning {
        filter: || json!({"status__in": ["published", "draft"], "score__range": [1, 5], "not__rating__gt": 0.5}),
        form: "diff",
        matches: |row| {
            row["status"] != "hidden"
                && (1.0..=5.0).contains(&number(row, "score"))
                && (row["rating"].is_null() || number(row, "rating") <= 0.5)
        },
    },
    Meaning {
        filter: || json!({"topic": 1, "text": "σ", "not__pk__in": [2, 3]}),
        form: "full",
        matches: |row| {
            row["topic_id"] == 1
                && ["ΣΑΣ", "σας"].contains(&row["body"].as_str().expect("a text"))
                && row["id"] != 2
                && row["id"] != 3
        },
    },
];

/// A client that keeps the rows of a filter: it subscribes, lists, and applies the events after the list.
struct View {
    meaning: &'static Meaning,
    socket: Socket,
    rows: BTreeMap<i64, Json>,
    since: u64,
    /// The list may have been made in the midst of the first batch that comes after it.
    first: Option<u64>,
}

impl View {
    async fn open(server: &Server, meaning: &'static Meaning) -> Self {
        let mut socket = Socket::open(server).await;
        socket.subscribe("comments", json!({"payload": (meaning.filter)(), "form": meaning.form})).await;
        let mut view = Self { meaning, socket, rows: BTreeMap::new(), since: 0, first: None };
        view.list().await;
        view
    }

    async fn list(&mut self) {
        let request = json!({
            "stream": "comments", "action": "list", "payload": (self.meaning.filter)(), "limit": 1000,
        });
        let reply = self.socket.request(request).await;
        assert_eq!(*at(&reply, "data.next"), Json::Null, "all rows are on one page");
        self.rows = rows(at(&reply, "data.results"));
        self.since = position(at(&reply, "data.feed").as_str().expect("a feed"));
        self.first = None;
    }

    fn apply(&mut self, event: &Json) {
        let cursor = position(event["cursor"].as_str().expect("a cursor"));
        if cursor <= self.since {
            return;
        }
        let again = cursor == *self.first.get_or_insert(cursor);
        let key = event["pk"].as_i64().expect("a key");
        let known = self.rows.contains_key(&key);
        match event["action"].as_str() {
            Some("create") => {
                assert!(again || !known, "a row that is there comes: {event}");
                self.rows.insert(key, event["data"].clone());
            }
            Some("update") => {
                assert!(again || known, "a row that is not there changes: {event}");
                if event["data"].is_object() {
                    self.rows.insert(key, event["data"].clone());
                } else if let Some(row) = self.rows.get_mut(&key) {
                    for (name, value) in event["diff"].as_object().expect("a diff") {
                        assert!(
                            again || row[name] != *value,
                            "a field that is the same is in a diff: {event}"
                        );
                        row[name] = value.clone();
                    }
                }
            }
            Some("delete") => {
                assert!(again || known, "a row that is not there goes: {event}");
                self.rows.remove(&key);
            }
            other => panic!("{other:?} is no action"),
        }
    }

    async fn follow(&mut self, server: &Server) {
        for event in self.socket.events(server).await {
            self.apply(&event);
        }
    }
}

fn rows(list: &Json) -> BTreeMap<i64, Json> {
    let rows = list.as_array().expect("rows").iter();
    rows.map(|row| (row["id"].as_i64().expect("a key"), row.clone())).collect()
}

async fn run(bursts: Vec<Vec<Step>>, in_memory: bool) {
    let server = if in_memory { Setup::memory() } else { Setup::file() }.start().await;
    let mut views = join_all(VIEWS.iter().map(|meaning| View::open(&server, meaning))).await;
    let connection = (!in_memory).then(|| server.connection());
    let mut writers = Writers { server: &server, socket: Socket::open(&server).await, connection };
    for burst in bursts {
        let mut writes = Vec::new();
        let mut listed = [false; VIEWS.len()];
        for step in burst {
            match step {
                Step::Write(By::Connection, change) if in_memory => writes.push((By::Service, change)),
                Step::Write(by, change) => writes.push((by, change)),
                Step::List(view) => listed[view] = true,
            }
        }
        let listing = views.iter_mut().zip(listed).filter(|(_, listed)| *listed).map(|(view, _)| view.list());
        tokio::join!(writers.write(&writes), join_all(listing));
    }
    let table = rows(&server.read("/api/comments/?limit=1000").await["results"]);
    for view in &mut views {
        view.follow(&server).await;
        let mut expected = table.clone();
        expected.retain(|_, row| (view.meaning.matches)(row));
        let filter = (view.meaning.filter)();
        assert_eq!(view.rows, expected, "the view of {filter} is not what its filter means");
        let kept = std::mem::take(&mut view.rows);
        view.list().await;
        assert_eq!(view.rows, kept, "the view of {filter} is not what the server answers");
    }
}

#[test]
fn every_view_comes_to_what_the_table_answers_whatever_is_written() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let config =
        Config { cases: sequences(), max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let strategy = (sequence(), proptest::bool::weighted(0.25));
    let outcome = runner.run(&strategy, |(bursts, in_memory)| {
        runtime.block_on(run(bursts, in_memory));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// What other connections commit has no marks between its transactions. A list between two of them must not be told
/// that they were one: a row that the first brings in and the second takes out again would stay with the client.
#[tokio::test]
async fn a_list_between_two_commits_of_another_connection_is_brought_up_to_date() {
    // The service looks only when it is told to.
    let server =
        Setup::file().configure(|connect| connect.poll_interval(Duration::from_secs(3_600))).start().await;
    let mut view = View::open(&server, &VIEWS[1]).await;
    let mut own = server.connection();
    own.batch_execute(
        "INSERT INTO comments (topic_id, author_id, body, score, created_at) VALUES (1, 1, 'x', 3, '2026-01-01 00:00:00')",
    )
    .expect("a commit");
    view.list().await;
    assert_eq!(view.rows.len(), 1);
    own.batch_execute("UPDATE comments SET score = 9").expect("a commit");
    server.realtime().wake();
    view.follow(&server).await;
    assert!(view.rows.is_empty(), "{:?} has left the filter", view.rows);
}
