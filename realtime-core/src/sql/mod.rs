//! Filters and rows as SQL: statements put together at run time from identifiers and typed Diesel binds, so that
//! quoting and types are Diesel's.

#[cfg(feature = "postgres")]
pub mod postgres;
mod read;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod statement;
mod table;
mod write;

pub(crate) use read::{count, keys_present, select_by_key, select_page};
pub use statement::Statement;
pub use table::Table;
pub(crate) use write::{delete, insert, update};

use diesel::backend::Backend;

use crate::filter::Predicate;

/// What differs between databases: how a predicate and an order are written so that they mean the same as in memory.
pub trait Dialect: Backend + Sized + 'static {
    /// Appends a predicate for a conjunction of a `WHERE`, where `NULL` is as good as false. A negated one is never
    /// `NULL`.
    ///
    /// # Errors
    /// Where a value is not one of its field's type, which a parsed filter never has.
    fn write_predicate(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        predicate: &Predicate,
    ) -> Result<(), NotOfItsType>;

    /// Appends the expression by which a field is compared and ordered.
    fn write_comparable(statement: &mut Statement<Self>, table: &Table<Self>, field: usize);

    /// Appends a value to compare with what [`Dialect::write_comparable`] writes.
    ///
    /// # Errors
    /// Where the value is not one of the field's type.
    fn write_operand(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        field: usize,
        value: &crate::value::Value<'static>,
    ) -> Result<(), NotOfItsType>;

    /// Appends the condition that a row has the key. SQLite's stored UUIDs have several spellings.
    ///
    /// # Errors
    /// Where the value is not one of the key's type.
    fn write_key_condition(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        key: &crate::value::Value<'static>,
    ) -> Result<(), NotOfItsType> {
        table.write_column(statement, table.descriptor.key);
        statement.sql(" = ");
        table.write_value(statement, table.descriptor.key, key)
    }

    /// Appends a bound number.
    fn write_number(statement: &mut Statement<Self>, number: i64);
}

/// A value that its field cannot have: the payload and filter parsers let none through.
#[derive(Clone, Debug, thiserror::Error)]
#[error("a value of the field {field} of {table} is not of its type")]
pub struct NotOfItsType {
    pub(crate) table: &'static str,
    pub(crate) field: &'static str,
}
