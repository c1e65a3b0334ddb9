//! The service in the process of the test, with the clients of the test kit.

use diesel::connection::SimpleConnection as _;
use diesel_async::SimpleAsyncConnection as _;
use realtime_actix::Realtime;
use realtime_actix::testing::{Client, Socket, TestApp, User, Users};
use serde_json::Value as Json;

use crate::{AllResources as _, OwnConnection, POSTGRES_SCHEMA, SCHEMA, Store, nobody, on_postgres};

/// The resources of the tests without a port.
pub struct Kit {
    /// The application.
    pub app: TestApp,
    /// Its users, none at first. Those who are admins are staff.
    pub users: Users,
    store: Store,
}

impl Kit {
    /// On a SQLite database in memory; on PostgreSQL where the environment says so.
    pub async fn start() -> Self {
        Self::on(Store::memory()).await
    }

    /// On a database.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn on(store: Store) -> Self {
        let users = nobody();
        let realtime = Realtime::connect(store.url())
            .prepare(|connection| Ok(connection.batch_execute(SCHEMA)?))
            .prepare_postgres(|connection| {
                Box::pin(async move { Ok(connection.batch_execute(POSTGRES_SCHEMA).await?) })
            })
            .all_resources()
            .authenticator(users.clone())
            .start()
            .await
            .expect("the service starts");
        let app = TestApp::of(&realtime, &users).await;
        Self { app, users, store }
    }

    /// A client at which a user is logged in.
    pub fn client_of(&self, user: &User) -> Client {
        let mut client = self.app.client();
        client.force_login(user);
        client
    }

    /// A client's socket that is subscribed to a stream.
    pub async fn follower(&self, client: &Client, stream: &str, filter: Json) -> Socket {
        let mut socket = client.connect("/api/ws").await;
        socket.subscribe(stream, filter).await;
        socket
    }

    /// A connection of the application's own, which the service knows nothing of.
    ///
    /// # Panics
    /// Where the database is in memory.
    pub fn connection(&self) -> OwnConnection {
        self.store.connection()
    }

    /// Runs SQL in a transaction of the service.
    ///
    /// # Panics
    /// Where it fails.
    pub async fn write(&self, sql: impl Into<String>) {
        let (realtime, sql) = (self.app.realtime(), sql.into());
        if on_postgres() {
            let write = realtime.write_postgres(move |connection| {
                Box::pin(async move { connection.batch_execute(&sql).await })
            });
            write.await.expect("the write succeeds");
        } else {
            realtime
                .write(move |connection| connection.batch_execute(&sql))
                .await
                .expect("the write succeeds");
        }
    }
}
