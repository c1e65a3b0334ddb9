//! A resource for the application's own code: the same checks, hooks and answers as for clients.

use std::marker::PhantomData;
use std::sync::Arc;

#[cfg(feature = "sqlite")]
use diesel::sqlite::SqliteConnection;
#[cfg(feature = "postgres")]
use diesel_async::AsyncPgConnection;
use realtime_core::action::{Operation, Outcome, Request};
use realtime_core::change::ResourceId;
use realtime_core::{AfterCommit, Error, Field, Principal, RealtimeResource, Value};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::database::{self, Backend, Database, Done};

/// Reads and writes the rows of a resource as the API does: payloads are checked alike, hooks run, mistakes are told by
/// field, and everybody is told of what changes. Made by [`Realtime::resource`](crate::Realtime::resource).
///
/// No policy is asked, and every row is there, unless it acts for somebody: [`Resource::acting_for`].
///
/// ```
/// # use diesel::prelude::*;
/// # use realtime_actix::{Realtime, RealtimeResource};
/// # use serde_json::json;
/// # diesel::table! { comments (id) { id -> Integer, body -> Text, } }
/// #[derive(Debug, RealtimeResource)]
/// #[diesel(table_name = comments)]
/// struct Comment {
///     #[realtime(read_only)]
///     id: i32,
///     #[realtime(validate(length(min = 1)))]
///     body: String,
/// }
///
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let realtime = Realtime::connect("sqlite::memory:")
/// #     .prepare(|connection| {
/// #         diesel::sql_query("CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, body TEXT NOT NULL)")
/// #             .execute(connection)?;
/// #         Ok(())
/// #     })
/// #     .resource::<Comment>()
/// #     .start()
/// #     .await?;
/// let comments = realtime.resource::<Comment>();
/// let hello = comments.create(json!({"body": "hello"})).await?;
/// comments.update(hello.id, json!({"body": "bye"})).await?;
///
/// // All of them, or none.
/// let refused = comments.create_all([json!({"body": "one"}), json!({"body": ""})]).await.unwrap_err();
/// assert_eq!(refused.at, 1);
/// assert_eq!(refused.error.errors()["body"], ["This field may not be blank."]);
///
/// // In a transaction of one's own, together with other statements.
/// let service = comments.clone();
/// realtime
///     .write(move |connection| {
///         let mut comments = service.within(connection);
///         let comment = comments.create(json!({"body": "together"}))?;
///         comments.delete(comment.id)
///     })
///     .await?;
/// # Ok(())
/// # }
/// ```
pub struct Resource<M> {
    database: Arc<Database>,
    at: ResourceId,
    principal: Principal,
    trusted: bool,
    silent: bool,
    model: PhantomData<fn() -> M>,
}

impl<M> Clone for Resource<M> {
    fn clone(&self) -> Self {
        Self {
            database: Arc::clone(&self.database),
            at: self.at,
            principal: self.principal.clone(),
            trusted: self.trusted,
            silent: self.silent,
            model: PhantomData,
        }
    }
}

/// One of several payloads was refused, and so were all.
#[derive(Debug, thiserror::Error)]
#[error("the payload {at} was refused: {error}")]
pub struct RefusedOf {
    /// Its place among them, from 0.
    pub at: usize,
    /// Why.
    pub error: Error,
}

impl<M: RealtimeResource> Resource<M> {
    pub(crate) fn new(database: Arc<Database>, at: ResourceId) -> Self {
        Self {
            database,
            at,
            principal: Principal::anonymous(),
            trusted: true,
            silent: false,
            model: PhantomData,
        }
    }

    /// The same, with somebody's rights: what he may not do is refused, and what he does not see is not there.
    #[must_use]
    pub fn acting_for(mut self, principal: Principal) -> Self {
        (self.principal, self.trusted) = (principal, false);
        self
    }

    /// The same, in somebody's name: hooks and `on_create` are told of him, and no policy is asked.
    #[must_use]
    pub fn in_name_of(mut self, principal: Principal) -> Self {
        self.principal = principal;
        self
    }

    /// The same, without a word to anybody: for imports, where everybody would be told of a million rows.
    ///
    /// Whoever follows the rows is not told of what is written so, neither now nor when he resumes, nor by a long poll,
    /// and goes on with what he knows: a row that he has may have other values meanwhile, or be gone. Lists and
    /// snapshots have what is stored. When such a row is changed again, with a word, the event is about that change
    /// alone: its diff does not have what was changed before; an event of the form `full`, and one that tells of a row that
    /// has come into what somebody follows, is whole. What hooks and triggers of the application write beside it is not
    /// told either. It is the change log that forgets: a source of changes that does not read it tells of them all the same.
    ///
    /// ```
    /// # use realtime_actix::{Realtime, RealtimeResource};
    /// # diesel::table! { comments (id) { id -> Integer, body -> Text, } }
    /// # #[derive(RealtimeResource)]
    /// # #[diesel(table_name = comments)]
    /// # struct Comment { #[realtime(read_only)] id: i32, body: String }
    /// # async fn import(realtime: Realtime, archive: Vec<serde_json::Value>) -> Result<(), realtime_actix::RefusedOf> {
    /// realtime.resource::<Comment>().silently().create_all(archive).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn silently(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Reads a row.
    ///
    /// # Errors
    /// 404 where there is none, or the database fails.
    pub async fn retrieve(&self, key: impl Field) -> Result<Arc<M>, Error> {
        self.row(Operation::Retrieve(key.to_value().into_owned())).await
    }

    /// Makes a row.
    ///
    /// # Errors
    /// As a client's request would be answered.
    pub async fn create(&self, payload: impl Serialize) -> Result<Arc<M>, Error> {
        self.row(create(payload)?).await
    }

    /// Changes the fields that the payload names.
    ///
    /// # Errors
    /// As a client's request would be answered.
    pub async fn update(&self, key: impl Field, payload: impl Serialize) -> Result<Arc<M>, Error> {
        self.row(update(key, payload)?).await
    }

    /// Sets all fields that clients write; those that the payload does not name, to their default.
    ///
    /// # Errors
    /// As a client's request would be answered.
    pub async fn replace(&self, key: impl Field, payload: impl Serialize) -> Result<Arc<M>, Error> {
        self.row(replace(key, payload)?).await
    }

    /// Removes a row.
    ///
    /// # Errors
    /// As a client's request would be answered.
    pub async fn delete(&self, key: impl Field) -> Result<(), Error> {
        self.outcome(Operation::Delete(key.to_value().into_owned())).await.map(drop)
    }

    /// Makes rows in one transaction: all of them, or none.
    ///
    /// # Errors
    /// Which payload was refused first, and why.
    pub async fn create_all(
        &self,
        payloads: impl IntoIterator<Item = impl Serialize>,
    ) -> Result<Vec<Arc<M>>, RefusedOf> {
        let operations = payloads.into_iter().map(create);
        self.all(operations).await
    }

    /// Changes rows in one transaction: all of them, or none.
    ///
    /// # Errors
    /// Which payload was refused first, and why.
    pub async fn update_all(
        &self,
        payloads: impl IntoIterator<Item = (impl Field, impl Serialize)>,
    ) -> Result<Vec<Arc<M>>, RefusedOf> {
        let operations = payloads.into_iter().map(|(key, payload)| update(key, payload));
        self.all(operations).await
    }

    /// Removes rows in one transaction: all of them, or none.
    ///
    /// # Errors
    /// Which key was refused first, and why.
    pub async fn delete_all(&self, keys: impl IntoIterator<Item = impl Field>) -> Result<(), RefusedOf> {
        let keys = keys.into_iter();
        let requests = keys.map(|key| self.request(Operation::Delete(key.to_value().into_owned())));
        let deleted = self.database.execute_all(requests.collect(), self.principal.clone()).await;
        deleted.map(drop).map_err(|(at, error)| RefusedOf { at, error })
    }

    /// The same in an open transaction of the application's on SQLite: that of [`Realtime::write`](crate::Realtime::write).
    #[cfg(feature = "sqlite")]
    pub fn within<'c>(&'c self, connection: &'c mut SqliteConnection) -> Within<'c, M, SqliteConnection> {
        Within { resource: self, connection, after_commit: Vec::new() }
    }

    /// The same in an open transaction of the application's on PostgreSQL: that of
    /// [`Realtime::write_postgres_here`](crate::Realtime::write_postgres_here).
    #[cfg(feature = "postgres")]
    pub fn within_postgres<'c>(
        &'c self,
        connection: &'c mut AsyncPgConnection,
    ) -> Within<'c, M, AsyncPgConnection> {
        Within { resource: self, connection, after_commit: Vec::new() }
    }

    async fn all(
        &self,
        operations: impl Iterator<Item = Result<Operation, Error>>,
    ) -> Result<Vec<Arc<M>>, RefusedOf> {
        let refused = |(at, error)| RefusedOf { at, error };
        let requests = operations.enumerate().map(|(at, operation)| {
            operation.map(|operation| self.request(operation)).map_err(|error| (at, error))
        });
        let requests: Vec<Request> = requests.collect::<Result<_, _>>().map_err(refused)?;
        let outcomes = self.database.execute_all(requests, self.principal.clone()).await.map_err(refused)?;
        let rows =
            outcomes.into_iter().enumerate().map(|(at, outcome)| row(outcome).map_err(|error| (at, error)));
        rows.collect::<Result<_, _>>().map_err(refused)
    }

    async fn row(&self, operation: Operation) -> Result<Arc<M>, Error> {
        row(self.outcome(operation).await?)
    }

    async fn outcome(&self, operation: Operation) -> Result<Outcome, Error> {
        let (outcome, _, _) =
            self.database.execute(self.request(operation), self.principal.clone(), None).await?;
        Ok(outcome)
    }

    fn request(&self, operation: Operation) -> Request {
        Request { trusted: self.trusted, silent: self.silent, ..Request::new(self.at, operation) }
    }
}

/// A resource in an open transaction of the application's. A write that is refused leaves the transaction as it was.
///
/// Whoever commits does what hooks want to be done after the commit: [`Within::into_after_commit`].
pub struct Within<'c, M, C> {
    resource: &'c Resource<M>,
    connection: &'c mut C,
    after_commit: Vec<AfterCommit>,
}

impl<M, C> Within<'_, M, C> {
    /// What hooks want to be done once the transaction is committed. It is up to the caller: nobody else knows when that
    /// is.
    pub fn into_after_commit(self) -> impl FnOnce() + Send + 'static {
        let works = self.after_commit;
        move || database::run_all(works)
    }

    fn keep(&mut self, done: Done) -> Outcome {
        self.after_commit.extend(done.after_commit);
        done.outcome
    }
}

#[cfg(feature = "sqlite")]
impl<M: RealtimeResource> Within<'_, M, SqliteConnection> {
    /// See [`Resource::retrieve`].
    ///
    /// # Errors
    /// As there.
    pub fn retrieve(&mut self, key: impl Field) -> Result<Arc<M>, Error> {
        row(self.carry_out(Operation::Retrieve(key.to_value().into_owned()))?)
    }

    /// See [`Resource::create`].
    ///
    /// # Errors
    /// As there.
    pub fn create(&mut self, payload: impl Serialize) -> Result<Arc<M>, Error> {
        row(self.carry_out(create(payload)?)?)
    }

    /// See [`Resource::update`].
    ///
    /// # Errors
    /// As there.
    pub fn update(&mut self, key: impl Field, payload: impl Serialize) -> Result<Arc<M>, Error> {
        row(self.carry_out(update(key, payload)?)?)
    }

    /// See [`Resource::replace`].
    ///
    /// # Errors
    /// As there.
    pub fn replace(&mut self, key: impl Field, payload: impl Serialize) -> Result<Arc<M>, Error> {
        row(self.carry_out(replace(key, payload)?)?)
    }

    /// See [`Resource::delete`].
    ///
    /// # Errors
    /// As there.
    pub fn delete(&mut self, key: impl Field) -> Result<(), Error> {
        self.carry_out(Operation::Delete(key.to_value().into_owned())).map(drop)
    }

    fn carry_out(&mut self, operation: Operation) -> Result<Outcome, Error> {
        let Resource { database, principal, .. } = self.resource;
        let request = self.resource.request(operation);
        match database.backend() {
            Backend::Sqlite(database) => {
                let done =
                    database.write_in(self.connection, &request, principal).map_err(database::answer)?;
                Ok(self.keep(done))
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => Err(other_database()),
        }
    }
}

#[cfg(feature = "postgres")]
impl<M: RealtimeResource> Within<'_, M, AsyncPgConnection> {
    /// See [`Resource::retrieve`].
    ///
    /// # Errors
    /// As there.
    pub async fn retrieve(&mut self, key: impl Field) -> Result<Arc<M>, Error> {
        row(self.carry_out(Operation::Retrieve(key.to_value().into_owned())).await?)
    }

    /// See [`Resource::create`].
    ///
    /// # Errors
    /// As there.
    pub async fn create(&mut self, payload: impl Serialize) -> Result<Arc<M>, Error> {
        row(self.carry_out(create(payload)?).await?)
    }

    /// See [`Resource::update`].
    ///
    /// # Errors
    /// As there.
    pub async fn update(&mut self, key: impl Field, payload: impl Serialize) -> Result<Arc<M>, Error> {
        row(self.carry_out(update(key, payload)?).await?)
    }

    /// See [`Resource::replace`].
    ///
    /// # Errors
    /// As there.
    pub async fn replace(&mut self, key: impl Field, payload: impl Serialize) -> Result<Arc<M>, Error> {
        row(self.carry_out(replace(key, payload)?).await?)
    }

    /// See [`Resource::delete`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&mut self, key: impl Field) -> Result<(), Error> {
        self.carry_out(Operation::Delete(key.to_value().into_owned())).await.map(drop)
    }

    async fn carry_out(&mut self, operation: Operation) -> Result<Outcome, Error> {
        let Resource { database, principal, .. } = self.resource;
        let request = self.resource.request(operation);
        match database.backend() {
            Backend::Postgres(database) => {
                let done = database.write_in(self.connection, &request, principal).await;
                Ok(self.keep(done.map_err(database::answer)?))
            }
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => Err(other_database()),
        }
    }
}

#[cfg(all(feature = "sqlite", feature = "postgres"))]
fn other_database() -> Error {
    tracing::error!("a resource was asked to write on a connection of another database");
    Error::internal("another database")
}

fn create(payload: impl Serialize) -> Result<Operation, Error> {
    Ok(Operation::Create(members(payload)?))
}

fn update(key: impl Field, payload: impl Serialize) -> Result<Operation, Error> {
    Ok(Operation::Update(value(&key), members(payload)?))
}

fn replace(key: impl Field, payload: impl Serialize) -> Result<Operation, Error> {
    Ok(Operation::Replace(value(&key), members(payload)?))
}

fn value(key: &impl Field) -> Value<'static> {
    key.to_value().into_owned()
}

fn members(payload: impl Serialize) -> Result<Map<String, Json>, Error> {
    match serde_json::to_value(payload) {
        Ok(Json::Object(members)) => Ok(members),
        _ => Err(Error::bad_request("A payload is an object.")),
    }
}

fn row<M: RealtimeResource>(outcome: Outcome) -> Result<Arc<M>, Error> {
    let row = match outcome {
        Outcome::Created(row) | Outcome::Object(row) => row as Arc<dyn std::any::Any + Send + Sync>,
        _ => return Err(Error::internal("outcome")),
    };
    row.downcast().map_err(|_| Error::internal("row"))
}
