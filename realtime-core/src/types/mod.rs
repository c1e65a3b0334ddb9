//! Types of fields that no database has alike, or that Diesel maps on some databases only.
//!
//! In `table!` a column has one of the SQL types of [`sql`] or Diesel's `Json`, in the model the type that belongs to it:
//!
//! ```
//! diesel::table! {
//!     payments (id) {
//!         id -> realtime_core::types::sql::Uuid,
//!         amount -> Nullable<realtime_core::types::sql::DecimalNumber>,
//!         tags -> Json,
//!     }
//! }
//!
//! # #[derive(diesel::Queryable)]
//! struct Payment {
//!     id: realtime_core::types::Uuid,
//!     amount: Option<realtime_core::types::Decimal>,
//!     tags: serde_json::Value,
//! }
//! # fn main() {}
//! ```
//!
//! On SQLite all three are text: declare the columns `TEXT`. A column that is declared `DECIMAL` or `JSON` has numeric
//! affinity, so that SQLite makes a number of `12.50` and forgets its second place.
//!
//! On PostgreSQL the columns are `uuid`, `numeric` and `json`. A model that is for PostgreSQL alone can have Diesel's own
//! SQL types instead, `Uuid`, `Numeric` and, for `jsonb`, `Jsonb`. Where UUIDs or decimals are stored as text, the
//! column is `Text`, on both databases.
//!
//! `i8` and unsigned integers have the SQL types [`sql::I8`] to [`sql::U64`], in the smallest signed column that holds them;
//! `i16`, `i32` and `i64` have Diesel's own.
//!
//! A `DateTime<Utc>` is a `TimestamptzSqlite` of Diesel's on SQLite and a `Timestamptz` on PostgreSQL; a column of
//! [`sql::UtcTimestamp`] is right on both. In statements of its own an application wraps the value in [`UtcTimestamp`].

mod decimal;
mod integer;
mod timestamp;
mod uuid;

pub use decimal::{Decimal, NotADecimal};
pub use timestamp::UtcTimestamp;
pub use uuid::Uuid;

/// The SQL types, for `table!`.
pub mod sql {
    use diesel::query_builder::QueryId;
    use diesel::sql_types::SqlType;

    /// A UUID: text on SQLite, hyphenated and in lower case; `uuid` on PostgreSQL.
    #[derive(Clone, Copy, Debug, Default, QueryId, SqlType)]
    #[diesel(sqlite_type(name = "Text"))]
    #[diesel(postgres_type(oid = 2950, array_oid = 2951))]
    pub struct Uuid;

    /// A decimal number: text on SQLite, without an exponent; `numeric` on PostgreSQL.
    ///
    /// Not called `Decimal`, because `table!` gives arithmetic to a column of a type of that name.
    #[derive(Clone, Copy, Debug, Default, QueryId, SqlType)]
    #[diesel(sqlite_type(name = "Text"))]
    #[diesel(postgres_type(oid = 1700, array_oid = 1231))]
    pub struct DecimalNumber;

    /// A point in time: what Diesel's `TimestamptzSqlite` is on SQLite, `timestamptz` on PostgreSQL.
    #[derive(Clone, Copy, Debug, Default, QueryId, SqlType)]
    #[diesel(sqlite_type(name = "Text"))]
    #[diesel(postgres_type(oid = 1184, array_oid = 1185))]
    pub struct UtcTimestamp;

    /// `i8`: an integer on SQLite, `smallint` on PostgreSQL.
    #[derive(Clone, Copy, Debug, Default, QueryId, SqlType)]
    #[diesel(sqlite_type(name = "Long"))]
    #[diesel(postgres_type(oid = 21, array_oid = 1005))]
    pub struct I8;

    /// `u8`: an integer on SQLite, `smallint` on PostgreSQL.
    #[derive(Clone, Copy, Debug, Default, QueryId, SqlType)]
    #[diesel(sqlite_type(name = "Long"))]
    #[diesel(postgres_type(oid = 21, array_oid = 1005))]
    pub struct U8;

    /// `u16`: an integer on SQLite, `integer` on PostgreSQL.
    #[derive(Clone, Copy, Debug, Default, QueryId, SqlType)]
    #[diesel(sqlite_type(name = "Long"))]
    #[diesel(postgres_type(oid = 23, array_oid = 1007))]
    pub struct U16;

    /// `u32`: an integer on SQLite, `bigint` on PostgreSQL.
    #[derive(Clone, Copy, Debug, Default, QueryId, SqlType)]
    #[diesel(sqlite_type(name = "Long"))]
    #[diesel(postgres_type(oid = 20, array_oid = 1016))]
    pub struct U32;

    /// `u64`: an integer on SQLite, `bigint` on PostgreSQL. Up to the greatest `i64`: neither database has more.
    #[derive(Clone, Copy, Debug, Default, QueryId, SqlType)]
    #[diesel(sqlite_type(name = "Long"))]
    #[diesel(postgres_type(oid = 20, array_oid = 1016))]
    pub struct U64;
}
