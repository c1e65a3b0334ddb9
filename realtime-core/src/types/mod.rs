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

mod decimal;
mod uuid;

pub use decimal::{Decimal, NotADecimal};
pub use uuid::Uuid;

/// The SQL types, for `table!`.
pub mod sql {
    use diesel::query_builder::QueryId;
    use diesel::sql_types::SqlType;

    /// A UUID: text on SQLite, hyphenated and in lower case.
    #[derive(Clone, Copy, Debug, Default, QueryId, SqlType)]
    #[diesel(sqlite_type(name = "Text"))]
    pub struct Uuid;

    /// A decimal number: text on SQLite, without an exponent.
    ///
    /// Not called `Decimal`, because `table!` gives arithmetic to a column of a type of that name.
    #[derive(Clone, Copy, Debug, Default, QueryId, SqlType)]
    #[diesel(sqlite_type(name = "Text"))]
    pub struct DecimalNumber;
}
