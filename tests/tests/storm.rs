//! A server comes back and all its clients do at once. Each is right in the end, and together they cost one pass over the
//! log, or one snapshot for each thing that is followed, and not one for each of them.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use realtime_actix::Limits;
use realtime_tests::{Server, Setup, Socket, Store, View, at};
use serde_json::{Value as Json, json};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

const CLIENTS: usize = 96;

/// The filters that are held, each by as many clients.
const FILTERS: usize = 4;

/// What the database was asked for those who catch up. Of the whole process, which is why there is one test here.
static READ: Mutex<Vec<Read>> = Mutex::new(Vec::new());

#[derive(Clone, Debug, Default, PartialEq)]
struct Read {
    message: String,
    after: i64,
    to: i64,
}

impl Visit for Read {
    fn record_i64(&mut self, field: &Field, value: i64) {
        match field.name() {
            "after" => self.after = value,
            "to" => self.to = value,
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

struct Listening;

impl<S: tracing::Subscriber> Layer<S> for Listening {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == "realtime_actix::database" {
            let mut read = Read::default();
            event.record(&mut read);
            READ.lock().unwrap_or_else(PoisonError::into_inner).push(read);
        }
    }
}

/// What was read since the last time.
fn read_of(message: &str) -> Vec<Read> {
    let mut all = std::mem::take(&mut *READ.lock().unwrap_or_else(PoisonError::into_inner));
    all.retain(|read| read.message == message);
    all
}

const LOG: &str = "the log is read for those who catch up";
const PAGE: &str = "a page of a snapshot is read";

struct Client {
    filter: Json,
    view: View,
}

impl Client {
    async fn resume(&mut self, server: &Server, snapshot: bool) -> (Socket, bool) {
        let mut socket = Socket::open(server).await;
        let mut message = json!({"stream": "labels/subscribe", "payload": self.filter, "snapshot": snapshot});
        message["since"] = self.view.cursor.clone().into();
        let reply = socket.request(message).await;
        assert_eq!(reply["status"], 200, "{reply}");
        let recovered = reply["data"]["recovered"] == true;
        if !recovered {
            self.view = View::new("name");
        }
        (socket, recovered)
    }

    async fn take_all(&mut self, socket: &mut Socket, server: &Server) {
        for event in socket.events(server).await {
            self.view.take(&event);
        }
    }
}

fn add(from: usize, to: usize) -> String {
    let values: Vec<String> = (from..to).map(|number| format!("('{number:05}', {})", number % 100)).collect();
    format!("INSERT INTO labels (name, weight) VALUES {}", values.join(", "))
}

async fn assert_right(clients: &mut [(Client, Socket)], server: &Server) {
    for (client, socket) in clients {
        client.take_all(socket, server).await;
        assert!(client.view.is_whole());
        let list = json!({"stream": "labels/list", "payload": client.filter, "limit": 1000});
        let reply = socket.request(list).await;
        assert_eq!(at(&reply, "data.next"), &Json::Null);
        let rows: Vec<&Json> = at(&reply, "data.results").as_array().expect("rows").iter().collect();
        assert_eq!(client.view.rows.values().collect::<Vec<_>>(), rows);
    }
}

#[tokio::test]
async fn all_clients_come_back_at_once_and_cost_one_pass() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Listening))
        .expect("the only one");
    let store = Store::fresh();
    let limits = || {
        let mut limits = Limits::default().without_rates();
        limits.snapshot_rows = 100;
        // Who comes back waits, however many do: it is others who are refused where too many wait.
        limits.waiting_writes = CLIENTS / 6;
        limits
    };
    let server = Setup::on(&store).configure(move |connect| connect.limits(limits())).start().await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        // What each has seen when it goes is another thing.
        server.write(add(number, number + 1)).await;
        let filter = json!({"weight__gte": 10 * (number % FILTERS)});
        let mut socket = Socket::open(&server).await;
        let message = json!({"stream": "labels/subscribe", "payload": filter, "snapshot": true});
        assert_eq!(socket.request(message).await["status"], 200);
        let mut client = Client { filter, view: View::new("name") };
        client.take_all(&mut socket, &server).await;
        clients.push(client);
    }
    drop(server);

    let mut own = store.connection();
    for number in 1..10 {
        own.batch_execute(&add(100 * number, 100 * number + 50)).expect("a write");
    }
    own.batch_execute("UPDATE labels SET weight = weight + 7; DELETE FROM labels WHERE weight % 5 = 0")
        .expect("a write");
    read_of(LOG);
    let server = Setup::on(&store).configure(move |connect| connect.limits(limits())).start().await;
    let back = clients.into_iter().map(async |mut client| {
        let (socket, recovered) = client.resume(&server, false).await;
        assert!(recovered);
        (client, socket)
    });
    let mut clients = join_all(back).await;
    assert_right(&mut clients, &server).await;
    let mut read = read_of(LOG);
    read.sort_by_key(|read| read.after);
    assert!(!read.is_empty());
    assert!(read.windows(2).all(|pair| pair[0].to <= pair[1].after), "some rows were read twice: {read:?}");
    drop(server);

    // Where the log no longer has what they missed.
    let mut own = store.connection();
    for number in 0..10 {
        own.batch_execute(&format!("UPDATE labels SET weight = weight + {number}")).expect("a write");
    }
    let server = Setup::on(&store)
        .configure(move |connect| {
            let mut limits = limits();
            limits.feed_rows = 20;
            connect.limits(limits)
        })
        .start()
        .await;
    // The log is pruned a few rows at a time, with each write; on PostgreSQL a while after it.
    let oldest = clients[0].0.view.cursor.clone();
    let mut number = 2_000;
    loop {
        let subscribe =
            json!({"stream": "labels/subscribe", "payload": {"name": number.to_string()}, "since": oldest});
        let reply = Socket::open(&server).await.request(subscribe).await;
        if reply["data"]["recovered"] == false {
            break;
        }
        server.write(add(number, number + 1)).await;
        number += 1;
        assert!(number < 20_000, "nothing is pruned");
    }
    read_of(PAGE);
    let back = clients.into_iter().enumerate().map(async |(at, (mut client, _))| {
        if at % 10 == 0 {
            // The present goes on meanwhile: that makes no page anew.
            server.write(add(20_000 + at, 20_001 + at)).await;
        }
        let (socket, recovered) = client.resume(&server, true).await;
        assert!(!recovered);
        (client, socket)
    });
    let mut clients = join_all(back).await;
    assert_right(&mut clients, &server).await;
    let filters: BTreeSet<String> = clients.iter().map(|(client, _)| client.filter.to_string()).collect();
    let most = clients.iter().map(|(client, _)| client.view.pages).max().expect("clients");
    let read = read_of(PAGE).len();
    assert!(read <= filters.len() * most, "{read} pages of {most} each for {} filters", filters.len());
}
