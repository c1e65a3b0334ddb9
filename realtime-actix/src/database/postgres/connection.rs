//! Connections: where they lead, how they are made, what is read from them.

use std::time::Duration;

use diesel::ConnectionError;
use diesel::pg::Pg;
use diesel::result::{Error as DieselError, QueryResult};
use diesel_async::{AsyncConnectionCore as _, AsyncPgConnection, SimpleAsyncConnection as _};
use futures_util::{StreamExt as _, TryStreamExt as _};
use pgwire_replication::ReplicationConfig;
use realtime_core::Columns;
use realtime_core::log::postgres::Cells;
use realtime_core::sql::Statement;
use tokio::runtime::Handle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, NoTls};

/// How long a connection may take to come into being, where the URL does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may say nothing before the server is asked whether it is there, and after how many questions
/// without an answer it counts as gone, where the URL does not say.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVES: u32 = 3;

/// How long sent bytes may stay unacknowledged before the server counts as gone, where the URL does not say.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a PostgreSQL database is.
#[derive(Clone, Debug)]
pub(crate) struct Target(Box<Config>);

/// Why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("{0}")]
    Malformed(#[from] tokio_postgres::Error),
    #[error("{0} asks for TLS, which is not built yet; only connections without it can be made")]
    Tls(&'static str),
}

impl Target {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; `None` where the URL is of another database.
    pub(crate) fn parse(url: &str) -> Option<Result<Self, TargetError>> {
        ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)).then(|| {
            // Nothing may go over the wire in plain text that was to be encrypted.
            for mode in ["sslmode=require", "sslmode=verify-ca", "sslmode=verify-full"] {
                if url.contains(mode) {
                    return Err(TargetError::Tls(mode));
                }
            }
            let mut config: Config = url.parse()?;
            if config.get_ssl_mode() == SslMode::Require {
                return Err(TargetError::Tls("sslmode"));
            }
            if config.get_connect_timeout().is_none() {
                config.connect_timeout(CONNECT_TIMEOUT);
            }
            if config.get_tcp_user_timeout().is_none() {
                config.tcp_user_timeout(TCP_USER_TIMEOUT);
            }
            // Without it a server that has gone in the midst of an answer would be waited for for hours.
            if config.get_keepalives_idle() > KEEPALIVE && !url.contains("keepalives_idle") {
                config.keepalives_idle(KEEPALIVE);
            }
            if config.get_keepalives_interval().is_none() {
                config.keepalives_interval(KEEPALIVE / KEEPALIVES);
            }
            if config.get_keepalives_retries().is_none() {
                config.keepalives_retries(KEEPALIVES);
            }
            if config.get_application_name().is_none() {
                config.application_name("realtime");
            }
            Ok(Self(Box::new(config)))
        })
    }

    /// The URL without what is secret in it.
    pub(crate) fn shown(&self) -> String {
        let host = match self.0.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = self.0.get_ports().first().map_or_else(String::new, |port| format!(":{port}"));
        let user = self.0.get_user().map_or_else(String::new, |user| format!("{user}@"));
        format!("postgres://{user}{host}{port}/{}", self.0.get_dbname().unwrap_or_default())
    }

    /// How long an answer may take before the database counts as gone: as long as a connection to it may.
    pub(super) fn patience(&self) -> Duration {
        self.0.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT)
    }

    /// Makes a connection. It is driven by a task of the present runtime.
    pub(super) async fn connect(&self) -> Result<AsyncPgConnection, ConnectionError> {
        let (client, connection) = self.0.connect(NoTls).await.map_err(|error| {
            use std::error::Error as _;
            // What the server said is in the source.
            let reason =
                error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
            ConnectionError::BadConnection(reason)
        })?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }

    /// How the replication protocol is spoken with it.
    pub(super) fn replication(&self, slot: &str, publication: &str) -> ReplicationConfig {
        let host = match (self.0.get_hostaddrs().first(), self.0.get_hosts().first()) {
            (Some(address), _) => address.to_string(),
            (None, Some(Host::Tcp(host))) => host.clone(),
            (None, Some(Host::Unix(path))) => path.display().to_string(),
            (None, None) => "localhost".to_owned(),
        };
        let user = self.0.get_user().unwrap_or_default();
        let password = String::from_utf8_lossy(self.0.get_password().unwrap_or_default()).into_owned();
        let database = self.0.get_dbname().unwrap_or(user);
        let config = ReplicationConfig::new(host, user, password, database, slot, publication)
            .with_port(self.0.get_ports().first().copied().unwrap_or(5432))
            .with_application_name(self.0.get_application_name().unwrap_or("realtime"));
        match self.0.get_options() {
            Some(options) => config.with_options(options),
            None => config,
        }
    }

    /// Makes a connection for the log, which needs settings of its own, whatever the role's or the database's are.
    ///
    /// Without `enable_seqscan` a log that the planner knows nothing of yet is still read by its index; a scan that has no
    /// other way then counts as so dear that the server would compile the statement, which takes 200 ms each time.
    ///
    /// A mark's commit is waited for until it is on the disk, and with it all that was committed before: what is told
    /// cannot be undone by a crash, whatever the writers' own commits wait for.
    pub(super) async fn connect_to_log(&self) -> Result<AsyncPgConnection, ConnectionError> {
        let mut connection = self.connect().await?;
        connection
            .batch_execute(
                "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
                 SET enable_seqscan = off; SET jit = off; SET statement_timeout = 0; SET lock_timeout = 0; \
                 SET synchronous_commit = local",
            )
            .await
            .map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }
}

/// Makes a connection on a runtime, which then drives it, whoever uses it.
pub(super) async fn on(
    runtime: &Handle,
    connect: impl Future<Output = Result<AsyncPgConnection, ConnectionError>> + Send + 'static,
) -> Result<AsyncPgConnection, ConnectionError> {
    let closed = |_| Err(ConnectionError::BadConnection("the database has been closed".to_owned()));
    runtime.spawn(connect).await.unwrap_or_else(closed)
}

/// Runs a statement and reads every row that it answers.
pub(super) async fn load<T>(
    connection: &mut AsyncPgConnection,
    statement: Statement<Pg>,
    read: impl Fn(&dyn Columns<Pg>) -> diesel::deserialize::Result<T>,
) -> QueryResult<Vec<T>> {
    let rows = connection.load(statement).await?;
    rows.map(|row| read(&Cells(&row?)).map_err(DieselError::DeserializationError)).try_collect().await
}

/// Runs a statement and reads the first row that it answers.
pub(super) async fn first<T>(
    connection: &mut AsyncPgConnection,
    statement: Statement<Pg>,
    read: impl Fn(&dyn Columns<Pg>) -> diesel::deserialize::Result<T>,
) -> QueryResult<Option<T>> {
    Ok(load(connection, statement, read).await?.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        let shown = |url| Target::parse(url).expect("the scheme").expect("a URL").shown();
        assert_eq!(
            shown("postgres://ann:secret@db.example:6432/forum"),
            "postgres://ann@db.example:6432/forum"
        );
        assert_eq!(shown("postgresql://db.example/forum"), "postgres://db.example:5432/forum");
        assert!(Target::parse("sqlite://x").is_none());
    }

    #[test]
    fn a_url_that_asks_for_tls_is_refused() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://ann@db.example/forum?sslmode={mode}");
            let error = Target::parse(&url).expect("the scheme").expect_err("no TLS").to_string();
            assert!(error.contains(mode) && error.contains("TLS"), "{error}");
        }
        assert!(Target::parse("postgres://ann@db.example/forum?sslmode=prefer").expect("the scheme").is_ok());
    }
}
