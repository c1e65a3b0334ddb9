//! A worker in the present thread and everybody else in other threads, so that what the worker does for a delivery can
//! be counted: instructions (`tests/delivery/instructions`) and allocations (`tests/allocations.rs`).
//!
//! In a round some commits are made while the worker stands still. Once the groups have told it of all of them it runs
//! until its subscribers have everything. So how many commits it finds at once is what was asked for, however the
//! machine runs the threads.

mod crowd;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{Service as _, ServiceFactory as _, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, Server};
use actix_web::rt::net::TcpStream;
use actix_web::rt::{System, SystemRunner, net::TcpListener};
use diesel::prelude::*;
use realtime_actix::policy::AllowAny;
use realtime_actix::{Limits, Realtime, RealtimeResource, prepare_connection};
use tokio::sync::mpsc as channel;

use crowd::{Crowd, Socket};

mod schema {
    diesel::table! {
        comments (id) {
            id -> Integer,
            topic -> Integer,
            body -> Text,
            status -> Text,
            score -> Integer,
        }
    }

    diesel::table! {
        marks (id) {
            id -> Integer,
        }
    }
}

/// What is delivered.
#[derive(RealtimeResource)]
#[diesel(table_name = schema::comments)]
#[realtime(permission = AllowAny)]
struct Comment {
    #[realtime(read_only)]
    id: i32,
    topic: i32,
    body: String,
    status: String,
    score: i32,
}

/// Behind the commits of a round: who is told of it, before whom the groups have come to the round's end.
#[derive(RealtimeResource)]
#[diesel(table_name = schema::marks)]
#[realtime(permission = AllowAny)]
struct Mark {
    #[realtime(read_only)]
    id: i32,
}

const TABLES: [&str; 2] = [
    "CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic INTEGER NOT NULL, body TEXT NOT NULL,
        status TEXT NOT NULL, score INTEGER NOT NULL)",
    "CREATE TABLE marks (id INTEGER PRIMARY KEY NOT NULL)",
];

/// A worker in the thread that made it, its subscribers, and somebody who commits.
pub struct Stage {
    /// The worker.
    system: SystemRunner,
    /// Asks for a round of so many commits.
    begin: mpsc::Sender<usize>,
    /// The groups have told the worker of all of them.
    handed: mpsc::Receiver<()>,
    /// The subscribers have read all of them.
    read: channel::UnboundedReceiver<()>,
}

impl Stage {
    /// Starts a service on a database in memory, this worker and another one, and subscribes.
    ///
    /// # Panics
    /// Where any of it fails.
    #[must_use]
    pub fn new(subscribers: usize) -> Self {
        let system = System::new();
        let (realtime, here, there) = system.block_on(async {
            let realtime = service().await;
            let here = worker(&realtime).await;
            // The other one has a single client: what it is told says how far the groups have come.
            let (told, there) = mpsc::channel();
            let of_other = realtime.clone();
            thread::spawn(move || {
                System::new().block_on(async move {
                    // Whoever started it waits for it.
                    let _ = told.send(worker(&of_other).await);
                    std::future::pending::<()>().await;
                });
            });
            (realtime, here, there.recv().expect("the other worker starts"))
        });
        let (begin, begun) = mpsc::channel();
        let (tell_handed, handed) = mpsc::channel();
        let (tell_read, mut read) = channel::unbounded_channel();
        thread::spawn(move || {
            let mut crowd = Crowd {
                subscribers: (0..subscribers).map(|_| Socket::subscribe(here, "comments")).collect(),
                witness: Socket::subscribe(there, "marks"),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let _ = tell_read.send(());
            for commits in begun {
                runtime.block_on(async {
                    for _ in 0..commits {
                        comment(&realtime).await;
                    }
                    mark(&realtime).await;
                });
                crowd.witness.read(1);
                let _ = tell_handed.send(());
                crowd.subscribers.iter_mut().for_each(|socket| socket.read(commits));
                let _ = tell_read.send(());
            }
        });
        system.block_on(read.recv()).expect("everybody subscribes");
        Self { system, begin, handed, read }
    }

    /// Makes so many commits, which the worker finds all at once, and has it deliver them.
    ///
    /// # Panics
    /// Where a commit fails, or a subscriber is told anything else.
    pub fn round(&mut self, commits: usize) {
        self.begin.send(commits).expect("the crowd is there");
        self.handed.recv().expect("the commits are made");
        self.system.block_on(self.read.recv()).expect("all is delivered");
    }
}

async fn service() -> Realtime {
    let mut limits = Limits::default();
    // Nobody answers pings.
    limits.heartbeat_ms = 1_000 * 60 * 60;
    let prepare = |connection: &mut SqliteConnection| {
        for table in TABLES {
            diesel::sql_query(table).execute(connection)?;
        }
        Ok(())
    };
    let connect = Realtime::connect("sqlite::memory:").limits(limits).prepare(prepare);
    connect.resource::<Comment>().resource::<Mark>().start().await.expect("the service starts")
}

/// Serves connections as a worker of actix-web's server does, in the present thread.
async fn worker(realtime: &Realtime) -> SocketAddr {
    let app = App::new().service(realtime.scope("/api"));
    // Of a server that is never started: its connections too are asked at every turn whether it shuts down.
    let server = Server::build();
    let shutdown = server.graceful_shutdown_signal();
    let build = HttpService::build().graceful_shutdown_signal(move || {
        let shutdown = shutdown.clone();
        async move { shutdown.notified().await }
    });
    // Whoever counts may make it slow: no handshake is too late.
    let build = build.client_request_timeout(Duration::ZERO);
    let build = build.on_connect_ext(|stream: &TcpStream, extensions| prepare_connection(stream, extensions));
    let factory = build.h1(map_config(app, |()| AppConfig::default())).tcp();
    let service = factory.new_service(()).await.expect("the application starts");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    actix_web::rt::spawn(async move {
        let _server = server;
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            actix_web::rt::spawn(service.call(stream));
        }
    });
    address
}

async fn comment(realtime: &Realtime) {
    use schema::comments::dsl::{body, comments, score, status, topic};
    const BODY: &str =
        "One comment among many, about as long as people write them when they have something to say.";
    let insert = |connection: &mut SqliteConnection| {
        let values = (topic.eq(1), body.eq(BODY), status.eq("published"), score.eq(0));
        diesel::insert_into(comments).values(values).execute(connection)
    };
    realtime.write(insert).await.expect("it is committed");
}

async fn mark(realtime: &Realtime) {
    let insert = |connection: &mut SqliteConnection| {
        diesel::insert_into(schema::marks::table).default_values().execute(connection)
    };
    realtime.write(insert).await.expect("it is committed");
}
