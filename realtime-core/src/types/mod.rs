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
//! A `DateTime<Utc>` is a `TimestamptzSqlite` of Diesel's on SQLite and a `Timestamptz` on PostgreSQL; a column of
//! [`sql::UtcTimestamp`] is right on both. In statements of its own an application wraps the value in [`UtcTimestamp`].

mod decimal;
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
}
