//! `DateTime<Utc>` in a column that both databases have.

use std::ops::Deref;

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};

use super::sql;

/// Diesel's own SQL type for points in time, by database.
trait Native: Backend {
    type Timestamp;
}

#[cfg(feature = "sqlite")]
impl Native for diesel::sqlite::Sqlite {
    type Timestamp = diesel::sql_types::TimestamptzSqlite;
}

#[cfg(feature = "postgres")]
impl Native for diesel::pg::Pg {
    type Timestamp = diesel::sql_types::Timestamptz;
}

impl<DB> FromSql<sql::UtcTimestamp, DB> for DateTime<Utc>
where
    DB: Native,
    Self: FromSql<DB::Timestamp, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        <Self as FromSql<DB::Timestamp, DB>>::from_sql(value)
    }
}

impl<DB> ToSql<sql::UtcTimestamp, DB> for DateTime<Utc>
where
    DB: Native,
    Self: ToSql<DB::Timestamp, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        <Self as ToSql<DB::Timestamp, DB>>::to_sql(self, out)
    }
}

/// A `DateTime<Utc>` for columns of [`sql::UtcTimestamp`], in statements of the application's own and in models with
/// Diesel's own derives: nobody but Diesel may say that a `DateTime<Utc>` is an expression. A model that is a resource
/// and nothing else can have `DateTime<Utc>` itself.
///
/// ```
/// use chrono::Utc;
/// use diesel::prelude::*;
/// use realtime_core::types::UtcTimestamp;
///
/// diesel::table! {
///     topics (id) {
///         id -> Integer,
///         created_at -> realtime_core::types::sql::UtcTimestamp,
///     }
/// }
///
/// let statement = diesel::insert_into(topics::table).values(topics::created_at.eq(UtcTimestamp(Utc::now())));
/// # let _ = diesel::debug_query::<diesel::sqlite::Sqlite, _>(&statement);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, AsExpression, FromSqlRow)]
#[diesel(sql_type = sql::UtcTimestamp)]
pub struct UtcTimestamp(pub DateTime<Utc>);

impl Deref for UtcTimestamp {
    type Target = DateTime<Utc>;

    fn deref(&self) -> &DateTime<Utc> {
        &self.0
    }
}

impl From<DateTime<Utc>> for UtcTimestamp {
    fn from(timestamp: DateTime<Utc>) -> Self {
        Self(timestamp)
    }
}

impl From<UtcTimestamp> for DateTime<Utc> {
    fn from(timestamp: UtcTimestamp) -> Self {
        timestamp.0
    }
}

impl<DB> FromSql<sql::UtcTimestamp, DB> for UtcTimestamp
where
    DB: Backend,
    DateTime<Utc>: FromSql<sql::UtcTimestamp, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        DateTime::from_sql(value).map(Self)
    }
}

impl<DB> ToSql<sql::UtcTimestamp, DB> for UtcTimestamp
where
    DB: Backend,
    DateTime<Utc>: ToSql<sql::UtcTimestamp, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.to_sql(out)
    }
}
