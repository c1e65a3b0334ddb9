//! Filters and rows as SQL: statements put together at run time from identifiers and typed Diesel binds, so that
//! quoting and types are Diesel's.

mod any;
#[cfg(feature = "postgres")]
pub mod postgres;
mod predicate;
mod read;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod statement;
mod table;
mod write;

pub use any::{AnyStatement, DieselStatement};
pub use predicate::{Sign, Subject};
pub(crate) use read::{
    count, count_with, decides, select_among, select_by_key, select_page, select_row_groups,
};
pub use statement::Statement;
pub use table::Table;
pub(crate) use write::{delete, insert, update};

use diesel::backend::Backend;

use crate::filter::{Condition, PathCondition, Regex, TextMatch};
use crate::lookup::LookupSet;
use crate::part::Part;
use crate::value::Value;

/// What differs between databases: how a condition and an order are written so that they mean the same as in memory.
pub trait Dialect: Backend + Sized + 'static {
    /// What at the end of a `SELECT` keeps other transactions from changing or removing its rows; nothing where there is
    /// only one writer at a time.
    const ROW_LOCK: &'static str = "";

    /// What makes a `SELECT` lock its rows, but for those that others have locked.
    const FREE_ROW_LOCK: &'static str = "";

    /// The lookups that [`Dialect::decides`] says no to, whatever their argument, and whether key paths are among them.
    const UNDECIDED: LookupSet = LookupSet::NONE;

    /// The form of a statement that is for this database.
    fn of_any(statement: AnyStatement) -> crate::resource::Bind<Self>;

    /// Can the database decide the condition? Where it cannot, the statement lets every row through, and what it
    /// returns is decided in memory.
    fn decides(_condition: &Condition) -> bool {
        true
    }

    /// Can a row have the value? What no row has is left out of lists.
    fn can_hold(_value: &Value<'static>) -> bool {
        true
    }

    /// A query for the number of texts that the database has of a text, one or none; `None` where it has all there are.
    fn has_text(_table: &Table<Self>, _text: String) -> Option<Statement<Self>> {
        None
    }

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
        value: &Value<'static>,
    ) -> Result<(), NotOfItsType>;

    /// Appends a part of a date or a timestamp.
    fn write_part(statement: &mut Statement<Self>, table: &Table<Self>, field: usize, part: Part);

    /// Appends a number or a date to compare with what [`Dialect::write_part`] writes.
    fn write_part_operand(statement: &mut Statement<Self>, value: &Value<'static>);

    /// Appends the condition that it is one of the values, each of which a row can have; there may be none.
    ///
    /// # Errors
    /// Where a value is not one of the field's type.
    fn write_one_of(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        subject: Subject,
        values: &[&Value<'static>],
    ) -> Result<(), NotOfItsType>;

    /// Appends a comparison with one value.
    ///
    /// # Errors
    /// Where the value is not one of the field's type.
    fn write_bound(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        subject: Subject,
        sign: Sign,
        value: &Value<'static>,
    ) -> Result<(), NotOfItsType>;

    /// Appends the comparison of a text with a pattern.
    fn write_text_match(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        field: usize,
        how: TextMatch,
        pattern: &str,
    );

    /// Appends the condition that a regular expression matches; of no interest where the database does not decide it.
    fn write_regex(statement: &mut Statement<Self>, table: &Table<Self>, field: usize, regex: &Regex);

    /// Appends a condition on what lies in JSON; of no interest where the database does not decide it.
    fn write_path(statement: &mut Statement<Self>, table: &Table<Self>, field: usize, path: &PathCondition);

    /// Appends the condition that a row has the key. SQLite's stored UUIDs have several spellings.
    ///
    /// # Errors
    /// Where the value is not one of the key's type.
    fn write_key_condition(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        key: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        table.write_column(statement, table.descriptor.key);
        statement.sql(" = ");
        table.write_value(statement, table.descriptor.key, key)
    }

    /// Appends a bound number.
    fn write_number(statement: &mut Statement<Self>, number: i64);

    /// Appends a bound text.
    fn write_text(statement: &mut Statement<Self>, text: String);
}

/// A value that its field cannot have: the payload and filter parsers let none through.
#[derive(Clone, Debug, thiserror::Error)]
#[error("a value of the field {field} of {table} is not of its type")]
pub struct NotOfItsType {
    pub(crate) table: &'static str,
    pub(crate) field: &'static str,
}
