//! SQLite. What its own operators do otherwise than the protocol says is decided by functions that are registered on
//! every connection of ours and are the very ones that the filter uses in memory.

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::sql_types::{BigInt, Binary, Double, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};

use super::{Dialect, NotOfItsType, Statement, Table};
use crate::field::Kind;
use crate::filter::{Condition, Predicate, TextMatch};
use crate::fold::fold;
use crate::value::Value;

/// Under this name because Diesel's macro below knows the types that a function of ours may take by their last name.
mod stored {
    pub(super) use diesel::sql_types::TimestamptzSqlite as Timestamp;
}

#[diesel::declare_sql_function]
extern "SQL" {
    /// The text, folded as the protocol defines it.
    fn realtime_fold(text: Nullable<Text>) -> Nullable<Text>;
    /// Does the text begin so? Unlike `LIKE` with regard to case and without an escape.
    fn realtime_starts_with(text: Nullable<Text>, pattern: Text) -> Bool;
    /// Does the text end so?
    fn realtime_ends_with(text: Nullable<Text>, pattern: Text) -> Bool;
    /// A timestamp as bytes that are ordered as the points in time are, whatever form the text has.
    fn realtime_instant(timestamp: Nullable<stored::Timestamp>) -> Nullable<Binary>;
}

/// Registers the functions that the statements of this module use.
///
/// # Errors
/// Where SQLite refuses.
pub fn register_functions(connection: &mut SqliteConnection) -> QueryResult<()> {
    realtime_fold_utils::register_impl(connection, |text: Option<String>| text.map(|text| fold(&text)))?;
    realtime_starts_with_utils::register_impl(connection, |text: Option<String>, pattern: String| {
        text.is_some_and(|text| text.starts_with(&pattern))
    })?;
    realtime_ends_with_utils::register_impl(connection, |text: Option<String>, pattern: String| {
        text.is_some_and(|text| text.ends_with(&pattern))
    })?;
    realtime_instant_utils::register_impl(connection, |timestamp: Option<DateTime<Utc>>| {
        timestamp.map(instant)
    })
}

/// Twelve bytes: the seconds since 1970, moved to be positive, and the nanoseconds, big-endian.
fn instant(timestamp: DateTime<Utc>) -> Vec<u8> {
    let seconds = timestamp.timestamp().cast_unsigned() ^ (1 << 63);
    let mut bytes = seconds.to_be_bytes().to_vec();
    bytes.extend_from_slice(&timestamp.timestamp_subsec_nanos().to_be_bytes());
    bytes
}

impl Dialect for Sqlite {
    fn write_predicate(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        predicate: &Predicate,
    ) -> Result<(), NotOfItsType> {
        // `IS TRUE` and `IS NOT TRUE` end three-valued logic here: a `NULL` is not selected, its negation is.
        statement.sql("(");
        write_condition(statement, table, predicate.field, &predicate.condition)?;
        statement.sql(if predicate.negated { ") IS NOT TRUE" } else { ") IS TRUE" });
        Ok(())
    }

    fn write_comparable(statement: &mut Statement<Self>, table: &Table<Self>, field: usize) {
        match table.descriptor.fields[field].kind {
            Kind::Timestamp => {
                statement.sql("realtime_instant(");
                table.write_column(statement, field);
                statement.sql(")");
            }
            // Whatever collation the column has, text is compared by code point.
            Kind::Text | Kind::Enum(_) => {
                table.write_column(statement, field);
                statement.sql(" COLLATE BINARY");
            }
            Kind::Bool => {
                statement.sql("(");
                table.write_column(statement, field);
                statement.sql(" <> 0)");
            }
            Kind::Integer { .. } | Kind::Float => table.write_column(statement, field),
        }
    }

    fn write_operand(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        field: usize,
        value: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        match (table.descriptor.fields[field].kind, value) {
            (Kind::Integer { .. }, Value::Int(number)) => statement.bind::<BigInt, _>(*number),
            (Kind::Float, Value::Float(number)) => statement.bind::<Double, _>(*number),
            (Kind::Bool, Value::Bool(flag)) => statement.bind::<BigInt, _>(i64::from(*flag)),
            (Kind::Text, Value::Text(text)) => statement.bind::<Text, _>(text.clone().into_owned()),
            (Kind::Timestamp, Value::Timestamp(timestamp)) => {
                statement.bind::<Binary, _>(instant(*timestamp))
            }
            _ => return table.write_value(statement, field, value),
        };
        Ok(())
    }

    fn write_number(statement: &mut Statement<Self>, number: i64) {
        statement.bind::<BigInt, _>(number);
    }
}

fn write_condition(
    statement: &mut Statement<Sqlite>,
    table: &Table<Sqlite>,
    field: usize,
    condition: &Condition,
) -> Result<(), NotOfItsType> {
    match condition {
        Condition::IsNull(yes) => {
            table.write_column(statement, field);
            statement.sql(if *yes { " IS NULL" } else { " IS NOT NULL" });
        }
        Condition::OneOf(values) => {
            // SQLite stores NaN as NULL, and binds it so: it is in no list.
            let values =
                values.iter().filter(|value| !matches!(value, Value::Float(number) if number.is_nan()));
            Sqlite::write_comparable(statement, table, field);
            statement.sql(" IN (");
            for (at, value) in values.enumerate() {
                if at > 0 {
                    statement.sql(", ");
                }
                Sqlite::write_operand(statement, table, field, value)?;
            }
            statement.sql(")");
        }
        Condition::Between { lower, upper } => {
            for (at, (value, sign)) in [(lower, [" > ", " >= "]), (upper, [" < ", " <= "])]
                .into_iter()
                .filter_map(|(bound, signs)| {
                    bound.as_ref().map(|(value, included)| (value, signs[usize::from(*included)]))
                })
                .enumerate()
            {
                if at > 0 {
                    statement.sql(" AND ");
                }
                write_bound(statement, table, field, sign, value)?;
            }
        }
        Condition::Text(how, pattern) => write_text_match(statement, table, field, *how, pattern),
    }
    Ok(())
}

/// One comparison. NaN is above every number that SQLite can hold.
fn write_bound(
    statement: &mut Statement<Sqlite>,
    table: &Table<Sqlite>,
    field: usize,
    sign: &'static str,
    value: &Value<'static>,
) -> Result<(), NotOfItsType> {
    if matches!(value, Value::Float(number) if number.is_nan()) {
        if sign.starts_with(" <") {
            table.write_column(statement, field);
            statement.sql(" IS NOT NULL");
        } else {
            statement.sql("1 = 0");
        }
        return Ok(());
    }
    Sqlite::write_comparable(statement, table, field);
    statement.sql(sign);
    Sqlite::write_operand(statement, table, field, value)
}

fn write_text_match(
    statement: &mut Statement<Sqlite>,
    table: &Table<Sqlite>,
    field: usize,
    how: TextMatch,
    pattern: &str,
) {
    let (before, between, after) = match how {
        TextMatch::IExact => ("", " COLLATE BINARY = ", ""),
        TextMatch::Contains | TextMatch::IContains => ("instr(", ", ", ") > 0"),
        TextMatch::StartsWith | TextMatch::IStartsWith => ("realtime_starts_with(", ", ", ")"),
        TextMatch::EndsWith | TextMatch::IEndsWith => ("realtime_ends_with(", ", ", ")"),
    };
    statement.sql(before);
    if how.folds() {
        statement.sql("realtime_fold(");
        table.write_column(statement, field);
        statement.sql(")");
    } else {
        table.write_column(statement, field);
    }
    statement.sql(between).bind::<Text, _>(pattern.to_owned()).sql(after);
}
