//! A database with a connection to it.

use std::any::Any;

use diesel::deserialize::FromSql;
use diesel::pg::{Pg, PgValue};
use diesel::row::{Field as _, Row as ResultRow};
use diesel_async::{
    AsyncConnection as _, AsyncConnectionCore, AsyncPgConnection, RunQueryDsl as _,
    SimpleAsyncConnection as _,
};
use futures_util::TryStreamExt as _;
use realtime_core::action::{self, Failure, ForeignKey, Operation, Outcome, Refusal, Request, Transaction};
use realtime_core::change::ResourceId;
use realtime_core::filter::{Filter, RawArgument, parse};
use realtime_core::list::{ListQuery, Page};
use realtime_core::sql::postgres::functions;
use realtime_core::sql::{Statement, Table};
use realtime_core::{Columns, Context, Descriptor, Hooks, Limits, Principal, ResourceOn, Row};
use realtime_tests::postgres::Database;
use serde_json::{Value as Json, json};
use tokio::runtime::{Builder, Runtime};

use crate::model;

/// The tables of the models, with collations and types that are there to be in the way.
pub(crate) const SCHEMA: &str = r#"
    CREATE COLLATION without_case (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
    CREATE EXTENSION citext;
    CREATE TABLE notes (
        id bigint PRIMARY KEY,
        rank integer NOT NULL,
        score double precision,
        title text NOT NULL COLLATE without_case,
        text citext,
        done boolean NOT NULL,
        mood varchar(9) NOT NULL COLLATE "en-US-x-icu",
        created timestamptz NOT NULL,
        edited timestamptz
    );
    CREATE TABLE tags (name text PRIMARY KEY, secret text NOT NULL DEFAULT 'hidden', colour text NOT NULL);
    CREATE TABLE moments (
        id bigint PRIMARY KEY,
        small smallint NOT NULL,
        day date,
        clock time,
        local timestamp,
        bytes bytea
    );
"#;

/// A database of its own, a connection, and the runtime that the connection needs.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) connection: AsyncPgConnection,
    pub(crate) database: Database,
}

impl Bench {
    /// With the functions and tables. What the session's zone is must not matter.
    pub(crate) fn new(schema: &str) -> Self {
        let mut bench = Self::fresh();
        bench.sql(schema);
        bench.sql(&functions::install(&[]));
        bench.sql("SET TIME ZONE 'Asia/Kathmandu'");
        bench
    }

    /// Without the functions, which a fresh database has so that not every test has to make them.
    pub(crate) fn empty() -> Self {
        let mut bench = Self::fresh();
        bench.sql("DROP FUNCTION IF EXISTS realtime_fold, realtime_decimal");
        bench
    }

    /// With the functions and tables, in a database of another encoding than UTF-8.
    pub(crate) fn in_encoding(encoding: &str, schema: &str) -> Self {
        let mut bench = Self::on(Database::create_in(encoding));
        bench.sql(schema);
        bench.sql(&functions::install(&[]));
        bench
    }

    fn fresh() -> Self {
        Self::on(Database::create())
    }

    fn on(database: Database) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(AsyncPgConnection::establish(&database.url())).unwrap();
        Self { runtime, connection, database }
    }

    pub(crate) fn sql(&mut self, sql: &str) {
        self.try_sql(sql).unwrap();
    }

    pub(crate) fn try_sql(&mut self, sql: &str) -> diesel::QueryResult<()> {
        self.runtime.block_on(self.connection.batch_execute(sql))
    }

    /// A table as it is in the encoding of the database.
    pub(crate) fn table<M: ResourceOn<Pg> + Hooks>(&mut self) -> Table<Pg> {
        let code = self.value::<i32, diesel::sql_types::Integer>(functions::encoding());
        Table::of::<M>().in_encoding(functions::Encoding::from_code(code))
    }

    /// What a query of one value answers.
    pub(crate) fn value<T: FromSql<ST, Pg>, ST>(&mut self, query: Statement<Pg>) -> T {
        let rows = async {
            let rows = AsyncConnectionCore::load(&mut self.connection, query).await.unwrap();
            rows.try_collect::<Vec<_>>().await.unwrap()
        };
        let rows = self.runtime.block_on(rows);
        realtime_core::__private::read::<T, ST, Pg>(&Cells(&rows[0]), 0).unwrap()
    }

    pub(crate) fn run(&mut self, table: &Table<Pg>, operation: &Operation) -> Result<Outcome, Refusal> {
        let principal = Principal::user(1);
        let context = Context { principal: &principal, now: model::time("2026-02-03T04:05:06Z") };
        let mut transaction = Direct(&mut self.connection);
        let request = Request::new(ResourceId(0), operation.clone());
        self.runtime.block_on(action::run(&mut transaction, &[*table], &request, &context))
    }

    pub(crate) fn list(&mut self, table: &Table<Pg>, query: ListQuery) -> Result<Page, Refusal> {
        match self.run(table, &Operation::List(Box::new(query)))? {
            Outcome::Page(page) => Ok(page),
            _ => panic!("a list is answered with a page"),
        }
    }

    pub(crate) fn page(&mut self, table: &Table<Pg>, entries: &Entries, options: &[(String, Json)]) -> Page {
        self.list(table, query(table.descriptor(), entries, options)).unwrap()
    }

    /// The rows that a filter selects, counted as well.
    pub(crate) fn selected(&mut self, table: &Table<Pg>, entries: &Entries) -> Vec<Row> {
        let page = self.page(table, entries, &[("limit".to_owned(), json!(1000))]);
        assert_eq!(page.count, Some(page.rows.len() as u64), "the count is that of the rows");
        page.rows
    }
}

/// What a filter is written as.
pub(crate) type Entries = Vec<(String, Json)>;

/// The members of an object.
pub(crate) fn members(filter: &Json) -> Entries {
    filter.as_object().unwrap().iter().map(|(key, json)| (key.clone(), json.clone())).collect()
}

pub(crate) fn raw(entries: &Entries) -> Vec<(String, RawArgument)> {
    entries.iter().map(|(key, json)| (key.clone(), RawArgument::Json(json.clone()))).collect()
}

pub(crate) fn query(descriptor: &Descriptor, entries: &Entries, options: &[(String, Json)]) -> ListQuery {
    signed(descriptor, ListQuery::parse(descriptor, raw(entries), options, &Limits::default()).unwrap())
}

/// A list that was parsed, with a key for its cursors.
pub(crate) fn signed(descriptor: &Descriptor, query: ListQuery) -> ListQuery {
    query.with_key(descriptor, &realtime_core::PageKey::new(&[7; 32])).unwrap()
}

pub(crate) fn parsed(descriptor: &Descriptor, entries: &Entries) -> Filter {
    parse(descriptor, raw(entries), &Limits::default()).unwrap()
}

/// A row as the model it is.
pub(crate) fn model_of<M: 'static>(row: &Row) -> &M {
    (row.as_ref() as &dyn Any).downcast_ref().unwrap()
}

/// An action's view of a connection.
struct Direct<'a>(&'a mut AsyncPgConnection);

impl Transaction for Direct<'_> {
    type Backend = Pg;

    async fn rows(&mut self, table: &Table<Pg>, statement: Statement<Pg>) -> Result<Vec<Row>, Failure> {
        let at: Vec<usize> = (0..table.descriptor().fields.len()).collect();
        let rows = AsyncConnectionCore::load(self.0, statement).await.map_err(failure)?;
        let rows: Vec<_> = rows.try_collect().await.map_err(failure)?;
        rows.into_iter().map(|row| table.decode(&Cells(&row), &at).map_err(Failure::Fault)).collect()
    }

    async fn number(&mut self, statement: Statement<Pg>) -> Result<i64, Failure> {
        use realtime_core::__private::read;
        let rows = AsyncConnectionCore::load(self.0, statement).await.map_err(failure)?;
        let rows: Vec<_> = rows.try_collect().await.map_err(failure)?;
        read::<i64, diesel::sql_types::BigInt, Pg>(&Cells(&rows[0]), 0).map_err(Failure::Fault)
    }

    fn after_commit(&mut self, work: realtime_core::AfterCommit) {
        drop(work);
    }

    async fn execute(&mut self, statement: Statement<Pg>) -> Result<usize, Failure> {
        statement.execute(self.0).await.map_err(failure)
    }

    async fn texts(&mut self, _statement: Statement<Pg>) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    async fn foreign_keys(&mut self, _table: &str) -> Result<Vec<ForeignKey>, Failure> {
        Ok(Vec::new())
    }
}

fn failure(error: diesel::result::Error) -> Failure {
    Failure::Fault(Box::new(error))
}

struct Cells<'a, R>(&'a R);

impl<'a, R: ResultRow<'a, Pg>> Columns<Pg> for Cells<'_, R> {
    fn visit(&self, column: usize, read: &mut dyn FnMut(Option<PgValue<'_>>)) {
        if let Some(field) = self.0.get(column) {
            read(field.value());
        }
    }
}

/// Runs SQL in a database that is not ours.
pub(crate) fn try_sql_at(url: &str, sql: &str) -> diesel::QueryResult<()> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { AsyncPgConnection::establish(url).await.unwrap().batch_execute(sql).await })
}
