//! Starting it: from a database URL and resources to a handle that every worker mounts.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Arbiter};
use actix_web::HttpRequest;
use chrono::Utc;
#[cfg(feature = "sqlite")]
use diesel::sqlite::SqliteConnection;
#[cfg(feature = "postgres")]
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt as _;
#[cfg(feature = "postgres")]
use futures_util::future::{BoxFuture, LocalBoxFuture};
use ipnet::IpNet;
use realtime_core::action::Refusal;
use realtime_core::change::{Change, ResourceId};
use realtime_core::commit;
use realtime_core::connection::Surface;
use realtime_core::cursor::{Cursor, Position};
use realtime_core::group::Groups;
use realtime_core::resource::RealtimeResource;
use realtime_core::schema::{self, Subject};
use realtime_core::{Action, Code, CustomAction, Error, Field, Hooks, Known, Limits, Principal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::admission::{Admission, Seat};
use crate::auth::{
    self, Authenticator, Credentials, DynAuthenticator, Everyone, Identity, Revocation, Revocations, Since,
    Tickets,
};
use crate::database::{
    self, Backend, Database, OnPostgres, OnSqlite, Opening, Parts, Refused, WriteError, Written,
};
use crate::fault;
use crate::origin::{self, Origins};
use crate::scope::RealtimeScope;
use crate::service::Resource;
use crate::socket::group::{CountGroups, DrainSockets, GroupActor, GroupCounts, Observer, Revoke};

/// Batches that wait for the groups, at most. The log keeps what comes after them.
const FEED_QUEUE: usize = 64;

/// How the change log comes into the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangeLog {
    /// Its table and triggers are created and kept current at start-up.
    #[default]
    Install,
    /// The application's migrations do it, with the statements of [`Connect::outstanding_sql`]; starting fails where
    /// they are not up to date.
    Expect,
}

/// Where changes come from on PostgreSQL. Either way every writer is seen, and cursors, resuming and snapshots are the same.
#[cfg(feature = "postgres")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangeSource {
    /// Triggers write the change log within the writers' transactions.
    #[default]
    Triggers,
    /// Logical replication: writers do not pay for the change log, which the service fills from what the server sends. It
    /// takes a setting of the server, a privilege and a replication slot, and one service at a time can follow a database.
    Replication,
}

/// Why [`Connect::start`] failed, in one line for whoever starts the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The URL is of no database that is supported.
    #[error("{0}")]
    Url(String),
    /// Two resources have one stream, or a stream's name is taken by a route.
    #[error("{0}")]
    Stream(String),
    /// What was given to [`Connect::allow_origin`] is the origin of no page.
    #[error(
        "no page has the origin {0:?}: write https://HOST, or https://HOST:PORT with a port that is not the scheme's own"
    )]
    Origin(String),
    /// The database cannot be opened, or the change log cannot be installed.
    #[error("cannot open the database {url}: {reason}")]
    Database {
        /// The URL.
        url: String,
        /// What went wrong.
        reason: String,
    },
}

/// A program's realtime service before it is started.
#[must_use = "nothing happens until it is started"]
pub struct Connect {
    url: String,
    parts: Parts,
    limits: Limits,
    change_log: ChangeLog,
    poll: Option<Duration>,
    #[cfg(feature = "postgres")]
    connections: usize,
    #[cfg(feature = "postgres")]
    source: ChangeSource,
    authenticator: Arc<dyn DynAuthenticator>,
    recheck: Duration,
    origins: Origins,
    links: String,
    api: Api,
}

/// What the API is called in its descriptions.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) title: String,
    pub(crate) version: String,
}

impl Connect {
    /// Makes a model live.
    pub fn resource<M: RealtimeResource + Hooks + OnSqlite + OnPostgres>(mut self) -> Self {
        self.parts.add::<M>();
        self
    }

    /// Runs the application's own set-up, its migrations for instance, before the change log is looked at. It is passed
    /// over where the URL is not of SQLite.
    #[cfg(feature = "sqlite")]
    pub fn prepare(
        mut self,
        prepare: impl FnOnce(&mut SqliteConnection) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
        + Send
        + 'static,
    ) -> Self {
        self.parts.prepare_sqlite = Some(Box::new(prepare));
        self
    }

    /// Runs the application's own set-up, its migrations for instance, before the change log is looked at. It is passed
    /// over where the URL is not of PostgreSQL.
    ///
    /// ```
    /// # use diesel_async::SimpleAsyncConnection as _;
    /// # const TABLES: &str = "CREATE TABLE comments (id serial PRIMARY KEY, body text NOT NULL)";
    /// # fn prepared(connect: realtime_actix::Connect) -> realtime_actix::Connect {
    /// connect.prepare_postgres(|connection| Box::pin(async move { Ok(connection.batch_execute(TABLES).await?) }))
    /// # }
    /// ```
    #[cfg(feature = "postgres")]
    pub fn prepare_postgres(
        mut self,
        prepare: impl for<'c> FnOnce(
            &'c mut AsyncPgConnection,
        )
            -> BoxFuture<'c, Result<(), Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
    ) -> Self {
        self.parts.prepare_postgres = Some(Box::new(prepare));
        self
    }

    /// How many connections requests share on PostgreSQL; the feed has two more. The default is 16. It means nothing
    /// where the URL is not of PostgreSQL.
    #[cfg(feature = "postgres")]
    pub fn postgres_connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Says where changes come from on PostgreSQL. The default is [`ChangeSource::Triggers`]. Whoever changes it begins a new
    /// epoch: cursors from before are not recovered.
    #[cfg(feature = "postgres")]
    pub fn change_source(mut self, source: ChangeSource) -> Self {
        self.source = source;
        self
    }

    /// Sets the limits. The default is [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Says who brings the change log up to date. The default is [`ChangeLog::Install`].
    pub fn change_log(mut self, change_log: ChangeLog) -> Self {
        self.change_log = change_log;
        self
    }

    /// How often other processes' commits are looked for. The default is 10 milliseconds on SQLite, and 50 milliseconds on
    /// PostgreSQL, where a look is a round trip. On SQLite it is eight times as long after a second without a commit.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll = Some(interval.max(Duration::from_millis(1)));
        self
    }

    /// Says how callers are known. The default is that everybody is anonymous.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Arc::new(authenticator);
        self
    }

    /// Makes every caller act as this principal: for a program with one user, and for tests.
    pub fn everyone_is(self, principal: Principal) -> Self {
        self.authenticator(Everyone(principal))
    }

    /// How often the authenticator is asked whether a socket's identity still holds. The default is 60 seconds.
    ///
    /// Where it fails with anything but 401, nobody is logged out: it is asked again after the same time, for
    /// [`Limits::unchecked_ms`] at most.
    pub fn recheck_interval(mut self, interval: Duration) -> Self {
        self.recheck = interval.max(Duration::from_millis(1));
        self
    }

    /// Lets pages of another origin, such as `https://app.example`, open a socket and write with a cookie. May be called
    /// more than once. Those of the server's own host, port and scheme always may.
    ///
    /// It is written as browsers send it: no path, no slash at the end, no port where it is the scheme's own. `*` is none,
    /// and nor is `null`, which pages of anybody can have.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.allowed.push(origin.into());
        self
    }

    /// Makes links absolute: they begin with this, `https://forum.example` for instance, and where a proxy takes a part of
    /// the path away, with that part too. By default they are relative to the root of the server, so that they are right
    /// whatever the server is called.
    pub fn absolute_links(mut self, base: impl Into<String>) -> Self {
        self.links = base.into().trim_end_matches('/').to_owned();
        self
    }

    /// Says what the API is called in its descriptions, and which version of it this is.
    pub fn api(mut self, title: impl Into<String>, version: impl Into<String>) -> Self {
        self.api = Api { title: title.into(), version: version.into() };
        self
    }

    /// OpenAPI 3.1 of the REST side, with all resources, mounted at a path: what `GET {path}/openapi.json` answers to
    /// whoever may do everything. No database is needed for it.
    pub fn openapi(&self, path: &str) -> String {
        format!("{:#}", schema::openapi(&self.subject(path)))
    }

    /// AsyncAPI 3 of the socket side, in the same manner.
    pub fn asyncapi(&self, path: &str) -> String {
        format!("{:#}", schema::asyncapi(&self.subject(path)))
    }

    fn subject(&self, path: &str) -> Subject<'_> {
        Subject {
            views: self.parts.descriptors().iter().map(|descriptor| (*descriptor).into()).collect(),
            base: path.trim_end_matches('/').to_owned(),
            title: self.api.title.clone(),
            version: self.api.version.clone(),
            limits: self.limits.clone(),
            undecided: database::undecided(&self.url),
        }
    }

    /// Believes a proxy with this address, or proxies in this network ([`IpNet`]), what the browser asked for, and from
    /// where: they say so in `X-Forwarded-Host`, `X-Forwarded-Proto` and `X-Forwarded-For`, or what is not there in
    /// `Forwarded`. May be called more than once.
    ///
    /// What it does not write of these it has to remove: a client may have sent it. Of several proxies in a row each is to
    /// be named (the address is the last one in the chain that is of none of them), and each has to pass on the host and the scheme that the first was asked with: the last one's count.
    ///
    /// Nobody else is believed. So a proxy that ends TLS has to be named, or else pages of `https` are of another origin
    /// than the server: they may then open no socket, and write nothing with a cookie. And all who come by a proxy that
    /// is not named count as one address (limit `connections_per_address`).
    ///
    /// One that does not say the host has to pass the header `Host` on. Of one that does not say the scheme, pages of
    /// either scheme are taken for the server's own: it should.
    /// A client must have no address in a network that is named: it would be believed whatever it says of itself.
    pub fn trust_proxy(mut self, network: impl Into<IpNet>) -> Self {
        self.origins.proxies.add(network.into());
        self
    }

    /// The statements that would bring the change log of the database up to date, each ended by a semicolon; empty
    /// where it is. For applications whose migrations do it.
    ///
    /// # Errors
    /// Where the database cannot be opened or a resource does not fit its table.
    pub fn outstanding_sql(self) -> Result<String, StartError> {
        self.check()?;
        let statements = database::outstanding(
            &self.url,
            self.parts,
            #[cfg(feature = "postgres")]
            self.source,
        )?;
        Ok(statements.into_iter().map(|statement| statement + ";\n").collect())
    }

    /// Opens the database, brings the change log up to date and begins to follow it.
    ///
    /// To be called once, inside of an actix system; every worker then mounts [`Realtime::scope`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(self) -> Result<Realtime, StartError> {
        self.check()?;
        let descriptors = self.parts.descriptors().to_vec();
        let opening = Opening {
            install: self.change_log == ChangeLog::Install,
            poll: self.poll,
            #[cfg(feature = "postgres")]
            connections: self.connections,
            #[cfg(feature = "postgres")]
            source: self.source,
        };
        let (feed, batches) = mpsc::channel(FEED_QUEUE);
        let (database, position) = database::open(&self.url, self.parts, opening, &self.limits, feed).await?;
        let epoch = database.epoch;
        let polls = self.limits.waiting_polls.min(Semaphore::MAX_PERMITS);
        let admission = Arc::new(Admission::new(&self.limits));
        let surface = Arc::new(Surface { descriptors: descriptors.clone(), limits: self.limits });
        let groups = Groups::new(descriptors, Cursor { epoch, position });
        let revocations = Arc::new(Revocations::default());
        let arbiter = Arbiter::new();
        let told = Arc::clone(&revocations);
        let groups =
            GroupActor::start_in_arbiter(&arbiter.handle(), |_| GroupActor::new(groups, batches, told));
        Ok(Realtime {
            shared: Arc::new(Shared {
                database: Arc::new(database),
                surface,
                known: Arc::default(),
                groups,
                workers: AtomicUsize::new(0),
                authenticator: self.authenticator,
                recheck: self.recheck,
                tickets: Tickets::default(),
                revocations,
                polls: Arc::new(Semaphore::new(polls)),
                admission,
                origins: self.origins,
                links: self.links,
                api: self.api,
            }),
        })
    }

    fn check(&self) -> Result<(), StartError> {
        self.check_streams()?;
        self.check_relations()?;
        self.check_actions()?;
        let is_base = ["http://", "https://"].iter().any(|scheme| self.links.starts_with(scheme))
            && self.links.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"?#".contains(&byte));
        if let Some(origin) = self.origins.allowed.iter().find(|origin| !origin::is_one(origin)) {
            return Err(StartError::Origin(origin.clone()));
        }
        if self.links.is_empty() || is_base {
            return Ok(());
        }
        Err(StartError::Url(format!(
            "absolute links cannot begin with {:?}: write http://HOST or https://HOST",
            self.links
        )))
    }

    /// What a relation leads to is mounted, and its key is of the type of the foreign key.
    fn check_relations(&self) -> Result<(), StartError> {
        let mounted = self.parts.descriptors();
        for descriptor in mounted {
            let mut nested = Vec::new();
            for relation in descriptor.lists.relations {
                let target = (relation.target)();
                let refuse = |reason: String| {
                    let (stream, name) = (descriptor.stream, relation.name);
                    Err(StartError::Stream(format!("the relation {name:?} of {stream:?} {reason}")))
                };
                if !mounted.iter().any(|mounted| mounted.stream == target.stream) {
                    return refuse(format!("leads to {:?}, which is not live", target.stream));
                }
                let (from, to) = (&descriptor.fields[relation.field], target.key_field());
                if from.kind.name() != to.kind.name() {
                    let (from, to) = (from.kind.name(), to.kind.name());
                    return refuse(format!("is of type {from}, and the key it leads to of type {to}"));
                }
                if relation.nested && nested.contains(&target.stream) {
                    return refuse(format!("is the second one that is nested in {:?}", target.stream));
                }
                nested.extend(relation.nested.then_some(target.stream));
            }
        }
        Ok(())
    }

    /// Each action has a name of its own, and a path that leads nowhere else.
    fn check_actions(&self) -> Result<(), StartError> {
        let mounted = self.parts.descriptors();
        for descriptor in mounted {
            let nested: Vec<&str> = mounted
                .iter()
                .filter(|other| {
                    let relations = other.lists.relations.iter();
                    let nested = relations.filter(|relation| relation.nested);
                    nested.into_iter().any(|relation| (relation.target)().stream == descriptor.stream)
                })
                .map(|other| other.stream)
                .collect();
            for (at, custom) in descriptor.custom.iter().enumerate() {
                let CustomAction { name, on_row, .. } = custom;
                let refuse = |reason: &str| {
                    let stream = descriptor.stream;
                    Err(StartError::Stream(format!(
                        "the action {name:?} of {stream:?} {reason}; name it otherwise"
                    )))
                };
                if descriptor.custom[..at].iter().any(|other| other.name == *name) {
                    return refuse("has the name of another one");
                }
                if Action::from_name(name).is_some()
                    || ["events", "changes", "ping", "authenticate"].contains(name)
                {
                    return refuse("has a name that the protocol uses");
                }
                if *on_row && nested.contains(name) {
                    return refuse(&format!(
                        "has the path of the nested list of {name:?}, /{}/{{pk}}/{name}/",
                        descriptor.stream
                    ));
                }
                if name.is_empty() || name.contains('/') {
                    return refuse("has a name that is no segment of a path");
                }
            }
        }
        Ok(())
    }

    fn check_streams(&self) -> Result<(), StartError> {
        let streams: Vec<&str> =
            self.parts.descriptors().iter().map(|descriptor| descriptor.stream).collect();
        for (at, stream) in streams.iter().enumerate() {
            if streams[..at].contains(stream) {
                return Err(StartError::Stream(format!(
                    "two resources have the stream {stream:?}; name one otherwise"
                )));
            }
            if ["ws", "explorer", "openapi.json", "asyncapi.json"].contains(stream) {
                return Err(StartError::Stream(format!(
                    "the stream name {stream:?} is taken by a route of the scope"
                )));
            }
        }
        Ok(())
    }
}

impl From<Refused> for StartError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Url(reason) => Self::Url(reason),
            Refused::Database(url, reason) => Self::Database { url, reason },
        }
    }
}

/// What all workers share.
pub(crate) struct Shared {
    database: Arc<Database>,
    surface: Arc<Surface>,
    /// What somebody follows.
    known: Arc<Known>,
    groups: Addr<GroupActor>,
    workers: AtomicUsize,
    polls: Arc<Semaphore>,
    admission: Arc<Admission>,
    authenticator: Arc<dyn DynAuthenticator>,
    recheck: Duration,
    tickets: Tickets,
    revocations: Arc<Revocations>,
    origins: Origins,
    /// What links begin with.
    links: String,
    api: Api,
}

impl Shared {
    /// The place of a connection that a request opens, of nobody in particular as yet.
    ///
    /// # Errors
    /// 429 or 503 where there are too many already.
    pub(crate) fn seat(&self, request: &HttpRequest) -> Result<Seat, Error> {
        self.admission.seat(self.origins.proxies.address(request))
    }

    /// A place among the polls that wait; `None` where there are too many.
    pub(crate) fn take_poll_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.polls).try_acquire_owned().ok()
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    pub(crate) fn surface(&self) -> &Arc<Surface> {
        &self.surface
    }

    pub(crate) fn known(&self) -> &Arc<Known> {
        &self.known
    }

    pub(crate) fn groups(&self) -> &Addr<GroupActor> {
        &self.groups
    }

    pub(crate) fn next_worker(&self) -> usize {
        self.workers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn recheck_interval(&self) -> Duration {
        self.recheck
    }

    /// Asks the application who presents these credentials.
    pub(crate) async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        let asked = self.revocations.count();
        let identity = self.guarded(self.authenticator.identify(credentials)).await.and_then(unexpired)?;
        Ok(identity.asked_after(asked))
    }

    /// Asks the application whether an identity still holds.
    pub(crate) async fn recheck(&self, identity: &Identity) -> Result<Identity, Error> {
        let asked = self.revocations.count();
        let now = self.guarded(self.authenticator.recheck(identity)).await.and_then(unexpired)?;
        Ok(now.asked_after(asked))
    }

    /// What the application's authenticator says, in time; a panic of it fails what is asked for, and nothing else.
    async fn guarded(&self, asked: impl Future<Output = Result<Identity, Error>>) -> Result<Identity, Error> {
        let patience = Duration::from_millis(self.surface.limits.identify_ms);
        match tokio::time::timeout(patience, AssertUnwindSafe(asked).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(fault::panicked("the authenticator", &*panic)),
            Err(_) => {
                tracing::error!(?patience, "the authenticator has not answered (limit identify_ms)");
                Err(Error::new(Code::Unavailable, "It cannot be found out who you are.").retry_after(1.0))
            }
        }
    }

    /// What the application has said of somebody since it was asked about him.
    pub(crate) fn since_asked(&self, identity: &Identity) -> Since {
        self.revocations.since_asked(identity)
    }

    /// Can somebody go on from a cursor? What came after it must be known, and be all that he has missed.
    /// What is not wanted any more when its turn comes is not asked.
    pub(crate) async fn can_go_on(
        &self,
        identity: &Identity,
        since: Cursor,
        is_wanted: impl Fn() -> bool,
    ) -> Result<bool, Error> {
        // Who changes just now is told what that makes of what he asks for as he was.
        let is_as_before = self.since_asked(identity) != Since::Nothing
            || !self.revocations.saw_otherwise(identity, since.position);
        Ok(is_as_before && self.database.reaches_back_to(since, is_wanted).await?)
    }

    /// Somebody sees other rows or fields from a position on.
    pub(crate) fn sees_otherwise(&self, principal: &Principal, position: Position) {
        self.revocations.sees_otherwise(principal, position);
    }

    /// Who sends a request, by its header or its cookies.
    pub(crate) async fn identify_request(&self, request: &HttpRequest) -> Result<Identity, Error> {
        #[cfg(feature = "testing")]
        if let Some(forced) = crate::testing::forced(request) {
            return forced;
        }
        match auth::bearer(request) {
            Some(token) => self.identify(Credentials::Token(&token)).await,
            None => self.identify(Credentials::Request(request)).await,
        }
    }

    /// Who opens a socket: by a ticket, by a subprotocol, or as with any request.
    pub(crate) async fn identify_handshake(
        &self,
        request: &HttpRequest,
        subprotocols: &[String],
    ) -> Result<Identity, Error> {
        if let Some(ticket) = auth::ticket(request) {
            let issued_to = self.tickets.redeem(&ticket, Instant::now());
            let issued_to = issued_to.ok_or_else(Error::not_authenticated).and_then(unexpired)?;
            // The session may have ended since without anybody saying so here: in another program, for instance.
            return self.recheck(&issued_to).await;
        }
        match auth::offered_token(subprotocols) {
            Some(token) => self.identify(Credentials::Token(&token)).await,
            None => self.identify_request(request).await,
        }
    }

    /// Refuses what a page of another site makes a browser write. What bears a token was not made so: no browser adds
    /// one by itself.
    pub(crate) fn refuse_cross_site(&self, request: &HttpRequest) -> Result<(), Error> {
        if auth::bearer(request).is_none() && auth::is_cross_site(request, &self.origins) {
            return Err(Error::permission_denied("A page of another site may not write here."));
        }
        Ok(())
    }

    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// A path of the server as a link.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.links)
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }
}

/// An identity whose time is over is none.
fn unexpired(identity: Identity) -> Result<Identity, Error> {
    match identity.expires_at() {
        Some(end) if end <= Utc::now() => Err(Error::not_authenticated()),
        _ => Ok(identity),
    }
}

/// A running realtime service. Clones are handles of the same one.
#[derive(Clone)]
pub struct Realtime {
    shared: Arc<Shared>,
}

/// Why [`Realtime::write`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError<E> {
    /// The closure failed; its transaction is rolled back.
    #[error("the transaction was given up: {0}")]
    Refused(E),
    /// A constraint that is deferred refuses the commit; the transaction is rolled back.
    #[error("a constraint refuses the commit: {0}")]
    Constraint(diesel::result::Error),
    /// The database could not be written to, the commit failed, or too many writes wait.
    #[error("the database is not available: {0}")]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// The closure panicked; its transaction is rolled back and the service goes on.
    #[error("the closure panicked")]
    Panicked,
    /// The closure is for another database than the one that the service was started on.
    #[error("the database is not the one that the closure is for")]
    OtherDatabase,
}

impl<E> From<WriteError<E>> for ServiceError<E> {
    fn from(error: WriteError<E>) -> Self {
        match error {
            WriteError::Refused(error) => Self::Refused(error),
            WriteError::Constraint(error) => Self::Constraint(error),
            WriteError::Unavailable(source) => Self::Unavailable(source),
            WriteError::Panicked => Self::Panicked,
        }
    }
}

fn looked<T, E>(result: Result<Result<T, E>, Refusal>) -> Result<T, ServiceError<E>> {
    match result {
        Ok(result) => result.map_err(ServiceError::Refused),
        Err(Refusal::Unavailable(source) | Refusal::Fault(source)) => Err(ServiceError::Unavailable(source)),
        Err(Refusal::Refused(error)) => Err(ServiceError::Unavailable(Box::new(error))),
    }
}

/// A failure is logged; the caller learns no more than that.
impl<E: std::error::Error + 'static> From<ServiceError<E>> for Error {
    fn from(error: ServiceError<E>) -> Self {
        match error {
            ServiceError::Refused(source) => fault::report("the application's transaction failed", &source),
            ServiceError::Constraint(_) => commit::constraint(),
            ServiceError::Unavailable(source) => fault::unavailable(source.as_ref()),
            other @ (ServiceError::Panicked | ServiceError::OtherDatabase) => {
                fault::report("the application's transaction failed", &other)
            }
        }
    }
}

#[cfg(feature = "testing")]
impl Realtime {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Realtime {
    /// Begins with a database URL: `sqlite://PATH`, `sqlite::memory:` or `postgres://USER:PASSWORD@HOST/DATABASE`, each with
    /// its feature.
    pub fn connect(url: impl Into<String>) -> Connect {
        Connect {
            url: url.into(),
            parts: Parts::default(),
            limits: Limits::default(),
            change_log: ChangeLog::default(),
            poll: None,
            #[cfg(feature = "postgres")]
            connections: 16,
            #[cfg(feature = "postgres")]
            source: ChangeSource::default(),
            authenticator: Arc::new(Everyone(Principal::anonymous())),
            recheck: Duration::from_secs(60),
            origins: Origins::default(),
            links: String::new(),
            api: Api { title: "Realtime API".to_owned(), version: "1".to_owned() },
        }
    }

    /// The service of a path: REST and socket of every resource. Mounted once in each worker's `App`.
    pub fn scope(&self, path: &str) -> RealtimeScope {
        RealtimeScope::new(path, Arc::clone(&self.shared))
    }

    /// Runs the application's own Diesel code in a transaction of SQLite's writer thread; its changes are delivered at
    /// once.
    ///
    /// It must not wait for anything: all writes of the program are carried out one after the other.
    ///
    /// # Errors
    /// What the closure failed with, or that the database is not available or is not SQLite.
    #[cfg(feature = "sqlite")]
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ServiceError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        match self.shared.database.backend() {
            Backend::Sqlite(database) => Ok(database.run(work).await.map(|Written { value, .. }| value)?),
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => Err(ServiceError::OtherDatabase),
        }
    }

    /// Runs the application's own Diesel code in a transaction on a connection of the pool; its changes are delivered at
    /// once. Transactions inside of it are savepoints.
    ///
    /// ```
    /// # use diesel_async::RunQueryDsl as _;
    /// # diesel::table! { comments (id) { id -> Integer, body -> Text, } }
    /// # async fn clear(
    /// #     realtime: realtime_actix::Realtime,
    /// # ) -> Result<(), realtime_actix::ServiceError<diesel::result::Error>> {
    /// realtime
    ///     .write_postgres(|connection| {
    ///         Box::pin(async move { diesel::delete(comments::table).execute(connection).await })
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the closure failed with, or that the database is not available or is not PostgreSQL.
    #[cfg(feature = "postgres")]
    pub async fn write_postgres<T, E>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    ) -> Result<T, ServiceError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        match self.shared.database.backend() {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => Err(ServiceError::OtherDatabase),
            Backend::Postgres(database) => Ok(database.run(work).await.map(|Written { value, .. }| value)?),
        }
    }

    /// The same as [`Realtime::write_postgres`], as a task of the worker that calls: its future may stay on its thread, as
    /// what goes through [`Resource::within_postgres`] does.
    ///
    /// To be called inside of an actix system.
    ///
    /// ```
    /// # use realtime_actix::{Error, Realtime, RealtimeResource, ServiceError};
    /// # use serde_json::json;
    /// # diesel::table! { comments (id) { id -> Integer, body -> Text, } }
    /// # #[derive(RealtimeResource)]
    /// # #[diesel(table_name = comments)]
    /// # struct Comment { #[realtime(read_only)] id: i32, body: String }
    /// # async fn greet(realtime: Realtime) -> Result<(), ServiceError<Error>> {
    /// let comments = realtime.resource::<Comment>();
    /// realtime
    ///     .write_postgres_here(move |connection| {
    ///         Box::pin(async move { comments.within_postgres(connection).create(json!({"body": "hello"})).await })
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the closure failed with, or that the database is not available or is not PostgreSQL.
    #[cfg(feature = "postgres")]
    pub async fn write_postgres_here<T, E>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AsyncPgConnection) -> LocalBoxFuture<'c, Result<T, E>> + 'static,
    ) -> Result<T, ServiceError<E>>
    where
        T: 'static,
        E: 'static,
    {
        match self.shared.database.backend() {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => Err(ServiceError::OtherDatabase),
            Backend::Postgres(database) => {
                Ok(database.run_here(work).await.map(|Written { value, .. }| value)?)
            }
        }
    }

    /// A resource for the application's own code: its rows, with the checks and hooks that clients have.
    ///
    /// # Panics
    /// Where the model was not given to [`Connect::resource`].
    pub fn resource<M: RealtimeResource>(&self) -> Resource<M> {
        Resource::new(Arc::clone(&self.shared.database), self.at::<M>())
    }

    fn at<M: RealtimeResource>(&self) -> ResourceId {
        let descriptors = &self.shared.surface.descriptors;
        let at = descriptors.iter().position(|descriptor| descriptor.stream == M::DESCRIPTOR.stream);
        ResourceId(at.unwrap_or_else(|| panic!("the resource {:?} is not live", M::DESCRIPTOR.stream)))
    }

    /// Calls a function with every committed change of a resource from now on, whoever made it, in commit order.
    ///
    /// It is called where changes are handed out and holds up everybody: it must not wait for anything. What takes time
    /// belongs into a task that it starts or tells.
    ///
    /// # Panics
    /// Where the model was not given to [`Connect::resource`].
    pub fn on_change<M: RealtimeResource>(&self, observe: impl Fn(&Self, &Change) + Send + 'static) {
        let resource = self.at::<M>();
        // The service would keep itself alive.
        let service = Arc::downgrade(&self.shared);
        let observe = move |change: &Change| {
            if let Some(shared) = service.upgrade() {
                observe(&Self { shared }, change);
            }
        };
        self.shared.groups.do_send(Observer { resource, observe: Box::new(observe) });
    }

    /// Who sends a request, for handlers of the application beside the scope.
    ///
    /// # Errors
    /// What the authenticator fails with: 401 for a bad token or cookie.
    pub async fn identify(&self, request: &HttpRequest) -> Result<Identity, Error> {
        self.shared.identify_request(request).await
    }

    /// Refuses a request that a page of another site makes a browser send, as the scope refuses its writes: for
    /// handlers of the application that change something.
    ///
    /// # Errors
    /// 403 where `Origin` or `Sec-Fetch-Site` says so and no bearer token comes with the request.
    pub fn refuse_cross_site(&self, request: &HttpRequest) -> Result<(), Error> {
        self.shared.refuse_cross_site(request)
    }

    /// The address that a request comes from, as far as [trusted proxies](Connect::trust_proxy) say: for handlers of the
    /// application that count by address.
    pub fn address_of(&self, request: &HttpRequest) -> Option<IpAddr> {
        self.shared.origins.proxies.address(request)
    }

    /// Did the browser ask over TLS? By the server's own connection, or by what a [trusted proxy](Connect::trust_proxy)
    /// says; where that says nothing, it is taken that it did not. For cookies that are `Secure`.
    pub fn is_secure(&self, request: &HttpRequest) -> bool {
        self.shared.origins.proxies.is_secure(request) == Some(true)
    }

    /// A ticket that opens one socket of somebody, within 30 seconds: `/ws?ticket=..`. When it is used, the authenticator
    /// is [asked again](Authenticator::recheck) about him.
    ///
    /// # Errors
    /// 401 where the identity has been revoked meanwhile, 429 where 256 tickets of the user wait to be used, 503 where
    /// 100,000 wait in all. Half of these are the most that is given to callers who are nobody in particular, together.
    pub fn ticket(&self, identity: Identity) -> Result<String, Error> {
        if self.shared.since_asked(&identity) == Since::Ended {
            return Err(Error::not_authenticated());
        }
        let identity = match identity.asked() {
            Some(_) => identity,
            None => identity.asked_after(self.shared.revocations.count()),
        };
        self.shared.tickets.issue(identity, Instant::now())
    }

    /// Closes every socket of a user with 4401, and makes his tickets worthless: when he is deleted, or has to log in
    /// anew.
    ///
    /// This and the two below hold from their return on: nothing that is committed later is told to whom they are about,
    /// and whoever is just being asked who he is, is asked too late. They wait for nothing.
    pub fn close_user(&self, key: impl Field) {
        self.revoke(Revocation::User(key.to_value().into_owned()));
    }

    /// Closes every socket of a session with 4401, and makes its tickets worthless: at log-out.
    pub fn close_session(&self, session: impl Into<String>) {
        self.revoke(Revocation::Session(session.into()));
    }

    /// Closes every socket of a user but those of one session: when he has changed his password there.
    pub fn close_other_sessions(&self, key: impl Field, session: impl Into<String>) {
        self.revoke(Revocation::OtherSessions(key.to_value().into_owned(), session.into()));
    }

    /// Asks the authenticator at once whether the identity of a user's sockets still holds, and what it is now: when his
    /// roles have changed. He is told what he could see before until the authenticator has answered; where that must not
    /// be, close his sockets.
    ///
    /// Whoever of his clients is away meanwhile is told that he cannot go on from his cursor: what he misses is not only what
    /// was written. So it is after [`Realtime::close_user`].
    pub fn refresh_user(&self, key: impl Field) {
        self.revoke(Revocation::Refresh(key.to_value().into_owned()));
    }

    fn revoke(&self, revocation: Revocation) {
        if revocation.ends() {
            self.shared.tickets.revoke(|identity| revocation.concerns(identity));
        }
        self.shared.revocations.say(revocation);
        self.shared.groups.do_send(Revoke);
    }

    /// Runs the application's own Diesel code in a transaction of SQLite that only reads.
    ///
    /// # Errors
    /// What the closure failed with, or that the database is not available or is not SQLite.
    #[cfg(feature = "sqlite")]
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ServiceError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        match self.shared.database.backend() {
            Backend::Sqlite(database) => looked(database.look(work).await),
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => Err(ServiceError::OtherDatabase),
        }
    }

    /// Runs the application's own Diesel code in a transaction of PostgreSQL that only reads, all of it at one moment.
    ///
    /// # Errors
    /// What the closure failed with, or that the database is not available or is not PostgreSQL.
    #[cfg(feature = "postgres")]
    pub async fn read_postgres<T, E>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    ) -> Result<T, ServiceError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        match self.shared.database.backend() {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => Err(ServiceError::OtherDatabase),
            Backend::Postgres(database) => looked(database.look(work).await),
        }
    }

    /// Says that the application has committed on a connection of its own: the change is then looked for at once.
    pub fn wake(&self) {
        self.shared.database.wake();
    }

    /// Can requests be served? Not while the database is away or does not answer, or has no room for what is written.
    pub fn is_ready(&self) -> bool {
        self.shared.database.is_ready()
    }

    /// How many groups there are of subscriptions that ask for the same, and how many of them cost every change.
    pub async fn groups(&self) -> GroupCounts {
        // Where the actor has ended there are none.
        self.shared.groups.send(CountGroups).await.unwrap_or_default()
    }

    /// Refuses new sockets and closes those there are with 1001, a few at a time and all within `Limits::drain_ms`, so that
    /// the server can be stopped gracefully. Returns when all have been told.
    pub async fn drain(&self) {
        let (done, mut all_done) = mpsc::channel(1);
        // Where the actor has ended there is nothing to close.
        if self.shared.groups.send(DrainSockets(done)).await.is_ok() {
            let _ = all_done.recv().await;
        }
    }

    /// Finishes the writes that wait and closes the database.
    pub async fn close(&self) {
        let shared = Arc::clone(&self.shared);
        let _ = actix_web::web::block(move || shared.database.close()).await;
    }
}
