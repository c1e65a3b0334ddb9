//! The models that all tests share, and an in-memory database of them.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use diesel::backend::Backend;
use diesel::connection::{LoadConnection, SimpleConnection};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::prelude::*;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use realtime_core::action::{Failure, ForeignKey, Outcome, Transaction};
use realtime_core::change::ResourceId;
use realtime_core::connection::Surface;
use realtime_core::list::ListQuery;
use realtime_core::log::sqlite::Cells;
use realtime_core::policy::AllowAny;
use realtime_core::sql::{Statement, Table, sqlite};
use realtime_core::types::UtcTimestamp;
use realtime_core::{
    Context, Descriptor, Draft, Error, Hooks, Limits, PageKey, Principal, RealtimeEnum, RealtimeResource,
    Row, object,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

diesel::table! {
    notes (id) {
        id -> BigInt,
        rank -> Integer,
        score -> Nullable<Double>,
        title -> Text,
        text -> Nullable<Text>,
        done -> Bool,
        mood -> Text,
        created -> realtime_core::types::sql::UtcTimestamp,
        edited -> Nullable<realtime_core::types::sql::UtcTimestamp>,
    }
}

diesel::table! {
    tags (name) {
        name -> Text,
        secret -> Text,
        colour -> Text,
    }
}

diesel::table! {
    moments (id) {
        id -> BigInt,
        small -> SmallInt,
        day -> Nullable<Date>,
        clock -> Nullable<Time>,
        local -> Nullable<Timestamp>,
        bytes -> Nullable<Binary>,
    }
}

/// The collation and the foreign key are there to be in the way.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE notes (
        id INTEGER PRIMARY KEY NOT NULL,
        rank INTEGER NOT NULL,
        score DOUBLE,
        title TEXT NOT NULL COLLATE NOCASE,
        text TEXT,
        done BOOLEAN NOT NULL,
        mood TEXT NOT NULL,
        created TEXT NOT NULL,
        edited TEXT
    );
    CREATE TABLE tags (
        name TEXT PRIMARY KEY NOT NULL,
        secret TEXT NOT NULL DEFAULT 'hidden',
        colour TEXT NOT NULL,
        parent TEXT REFERENCES tags (name) ON DELETE CASCADE
    );
    CREATE TABLE moments (
        id INTEGER PRIMARY KEY NOT NULL,
        small SMALLINT NOT NULL,
        day DATE,
        clock TIME,
        local TIMESTAMP,
        bytes BLOB
    );
";

/// A field of every type that there is, and every option of the derive that changes what is sent.
#[derive(Clone, Debug, PartialEq, Insertable, AsChangeset, RealtimeResource)]
#[diesel(table_name = notes, treat_none_as_null = true)]
#[realtime(
    stream = "notes",
    permission = AllowAny,
    subscription_field_mapping(
        ids = "pk__in",
        name = "title__istartswith",
        at_least = "rank__gte",
        has_body = "body__isnull"
    ),
    lookups(all),
    ordering(all)
)]
pub(crate) struct Note {
    pub(crate) id: i64,
    #[realtime(default = 0)]
    pub(crate) rank: i32,
    pub(crate) score: Option<f64>,
    pub(crate) title: String,
    #[diesel(column_name = text)]
    pub(crate) body: Option<String>,
    #[realtime(default = false)]
    pub(crate) done: bool,
    #[realtime(default = Mood::Calm)]
    pub(crate) mood: Mood,
    #[realtime(read_only, on_create = |context| UtcTimestamp(context.now))]
    pub(crate) created: UtcTimestamp,
    pub(crate) edited: Option<UtcTimestamp>,
}

/// What is stored is neither what is sent nor in its order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, AsExpression, FromSqlRow, RealtimeEnum,
)]
#[realtime(own_sql)]
#[diesel(sql_type = Text)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mood {
    Calm,
    QuiteAngry,
    Sad,
}

impl Mood {
    pub(crate) const ALL: [Self; 3] = [Self::Calm, Self::QuiteAngry, Self::Sad];

    fn stored(self) -> &'static str {
        match self {
            Self::Calm => "Z",
            Self::QuiteAngry => "m",
            Self::Sad => "A",
        }
    }
}

impl<DB> ToSql<Text, DB> for Mood
where
    DB: Backend,
    str: ToSql<Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.stored().to_sql(out)
    }
}

impl<DB> FromSql<Text, DB> for Mood
where
    DB: Backend,
    String: FromSql<Text, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let text = String::from_sql(bytes)?;
        let found = Self::ALL.into_iter().find(|mood| mood.stored() == text);
        found.ok_or_else(|| format!("{text:?} is no mood").into())
    }
}

/// A textual key, few actions, few lookups, and a column that nobody sees.
#[derive(Clone, Debug, PartialEq, RealtimeResource)]
#[diesel(table_name = tags, primary_key(name))]
#[realtime(
    permission = AllowAny,
    allowed_actions(list, retrieve, subscribe, create, replace),
    lookups(name(exact, in, contains)),
    hooks
)]
pub(crate) struct Tag {
    pub(crate) name: String,
    #[realtime(skip)]
    pub(crate) secret: String,
    #[realtime(default = "red")]
    pub(crate) colour: String,
}

impl Hooks for Tag {
    fn validate(draft: &mut Draft, before: Option<&Self>, _context: &Context<'_>) -> Result<(), Error> {
        draft.check_length("colour", 1..=5);
        if before.is_some_and(|tag| tag.name == "fixed") {
            return Err(Error::permission_denied("This tag is fixed."));
        }
        Ok(())
    }
}

/// The types that a note has not.
#[derive(Clone, Debug, PartialEq, Insertable, RealtimeResource)]
#[diesel(table_name = moments)]
#[realtime(permission = AllowAny, lookups(all), ordering(all))]
pub(crate) struct Moment {
    pub(crate) id: i64,
    pub(crate) small: i16,
    pub(crate) day: Option<NaiveDate>,
    pub(crate) clock: Option<NaiveTime>,
    pub(crate) local: Option<NaiveDateTime>,
    pub(crate) bytes: Option<Vec<u8>>,
}

pub(crate) const NOTES: ResourceId = ResourceId(0);

pub(crate) fn descriptor() -> &'static Descriptor {
    Note::DESCRIPTOR
}

pub(crate) fn surface(limits: Limits) -> Arc<Surface> {
    Arc::new(Surface { descriptors: vec![Note::DESCRIPTOR, Tag::DESCRIPTOR], limits })
}

pub(crate) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

impl Note {
    /// A note of which only the key is of interest.
    pub(crate) fn plain(id: i64) -> Self {
        Self {
            id,
            rank: 0,
            score: None,
            title: "t".into(),
            body: None,
            done: false,
            mood: Mood::Calm,
            created: UtcTimestamp(time("2026-01-31T12:00:00Z")),
            edited: None,
        }
    }

    /// Sets the fields that an object names, as the scripts of tests write them.
    pub(crate) fn with(mut self, members: &Map<String, Json>) -> Self {
        for (name, json) in members {
            match name.as_str() {
                "id" => self.id = json.as_i64().unwrap(),
                "rank" => self.rank = i32::try_from(json.as_i64().unwrap()).unwrap(),
                "score" => {
                    self.score = match json {
                        Json::String(text) if text == "NaN" => Some(f64::NAN),
                        json => json.as_f64(),
                    }
                }
                "title" => self.title = json.as_str().unwrap().into(),
                "body" => self.body = json.as_str().map(Into::into),
                "done" => self.done = json.as_bool().unwrap(),
                "mood" => self.mood = serde_json::from_value(json.clone()).unwrap(),
                "created" => self.created = UtcTimestamp(time(json.as_str().unwrap())),
                "edited" => self.edited = json.as_str().map(time).map(UtcTimestamp),
                other => panic!("a note has no field {other:?}"),
            }
        }
        self
    }

    pub(crate) fn row(&self) -> Row {
        Arc::new(self.clone())
    }

    /// What a client is sent of it.
    pub(crate) fn object(&self) -> Map<String, Json> {
        object_of(self)
    }
}

pub(crate) fn object_of(row: &dyn realtime_core::Record) -> Map<String, Json> {
    serde_json::from_str(&object(descriptor(), row)).unwrap()
}

/// An empty database with the tables of [`SCHEMA`], set up as the server's own connections are.
pub(crate) fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::establish(":memory:").unwrap();
    connection
        .batch_execute("PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;")
        .and_then(|()| connection.batch_execute(SCHEMA))
        .and_then(|()| sqlite::register_functions(&mut connection))
        .unwrap();
    connection
}

/// Inserts rows with Diesel's own typed binds.
pub(crate) fn insert(connection: &mut SqliteConnection, rows: &[Note]) {
    connection
        .transaction(|connection| {
            rows.iter().try_for_each(|row| {
                diesel::insert_into(notes::table).values(row).execute(connection).map(drop)
            })
        })
        .unwrap();
}

pub(crate) fn note_table() -> Table<Sqlite> {
    Table::of::<Note>()
}

/// An action's view of a connection.
pub(crate) struct Direct<'a>(pub(crate) &'a mut SqliteConnection);

impl Transaction for Direct<'_> {
    type Backend = Sqlite;

    async fn rows(
        &mut self,
        table: &Table<Sqlite>,
        statement: Statement<Sqlite>,
    ) -> Result<Vec<Row>, Failure> {
        let at: Vec<usize> = (0..table.descriptor().fields.len()).collect();
        let rows = self.0.load(statement).map_err(failure)?;
        rows.map(|row| table.decode(&Cells(&row.map_err(failure)?), &at).map_err(Failure::Fault)).collect()
    }

    async fn number(&mut self, statement: Statement<Sqlite>) -> Result<i64, Failure> {
        let mut rows = self.0.load(statement).map_err(failure)?;
        let row = rows.next().unwrap().map_err(failure)?;
        realtime_core::__private::read::<i64, BigInt, Sqlite>(&Cells(&row), 0).map_err(Failure::Fault)
    }

    fn after_commit(&mut self, work: realtime_core::AfterCommit) {
        drop(work);
    }

    async fn execute(&mut self, statement: Statement<Sqlite>) -> Result<usize, Failure> {
        statement.execute(self.0).map_err(failure)
    }

    async fn texts(&mut self, _statement: Statement<Sqlite>) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    async fn foreign_keys(&mut self, _table: &str) -> Result<Vec<ForeignKey>, Failure> {
        Ok(Vec::new())
    }
}

fn failure(error: diesel::result::Error) -> Failure {
    use diesel::result::{DatabaseErrorKind, Error as DieselError};
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, information) => {
            let (_, column) = information.message().rsplit_once('.').unwrap();
            Failure::Unique(realtime_core::action::Constraint::Of(vec![column.to_owned()]))
        }
        error => Failure::Fault(Box::new(error)),
    }
}

/// Runs a future that never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

/// Runs one operation as nobody, at a fixed time.
pub(crate) fn run(
    connection: &mut SqliteConnection,
    table: &Table<Sqlite>,
    operation: &realtime_core::action::Operation,
) -> Result<Outcome, realtime_core::action::Refusal> {
    let principal = Principal::anonymous();
    let context = Context { principal: &principal, now: time("2026-02-03T04:05:06Z") };
    let request = realtime_core::action::Request::new(ResourceId(0), operation.clone());
    now(realtime_core::action::run(&mut Direct(connection), &[*table], &request, &context))
}

/// Reads one page of notes as the action `list` does.
pub(crate) fn page(connection: &mut SqliteConnection, query: ListQuery) -> realtime_core::list::Page {
    page_of(connection, &note_table(), query)
}

/// The same where it may be refused.
pub(crate) fn try_page(
    connection: &mut SqliteConnection,
    query: ListQuery,
) -> Result<realtime_core::list::Page, realtime_core::action::Refusal> {
    match run(connection, &note_table(), &realtime_core::action::Operation::List(Box::new(query)))? {
        Outcome::Page(page) => Ok(page),
        _ => panic!("a list is answered with a page"),
    }
}

/// Reads one page of any table.
pub(crate) fn page_of(
    connection: &mut SqliteConnection,
    table: &Table<Sqlite>,
    query: ListQuery,
) -> realtime_core::list::Page {
    match run(connection, table, &realtime_core::action::Operation::List(Box::new(query))) {
        Ok(Outcome::Page(page)) => page,
        Ok(_) => panic!("a list is answered with a page"),
        Err(refusal) => panic!("the list failed: {refusal:?}"),
    }
}

/// A list that was parsed, with a key for its cursors.
pub(crate) fn signed(query: ListQuery) -> Result<ListQuery, Error> {
    query.with_key(descriptor(), &PageKey::new(&[7; 32]))
}

/// Every note as the model that the database now holds.
pub(crate) fn all(connection: &mut SqliteConnection) -> Vec<Row> {
    let options = [("limit".to_owned(), Json::from(1000))];
    let query = ListQuery::parse(descriptor(), [], &options, &Limits::default()).unwrap();
    page(connection, query).rows
}

pub(crate) fn key_of(row: &Row) -> i64 {
    (row.as_ref() as &dyn std::any::Any).downcast_ref::<Note>().unwrap().id
}
