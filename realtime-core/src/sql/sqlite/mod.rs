//! SQLite. What its own operators do otherwise than the protocol says is decided by functions that are registered on
//! every connection of ours and are the very ones that the filter uses in memory.

mod functions;

use diesel::sql_types::{BigInt, Binary, Double, Integer, Text};
use diesel::sqlite::Sqlite;

pub use self::functions::register as register_functions;
use self::functions::{day, day_number, instant, time_of_day};
use super::{Dialect, NotOfItsType, Statement, Table};
use crate::field::Kind;
use crate::filter::{Condition, Predicate, TextMatch};
use crate::part::Part;
use crate::types::Decimal;
use crate::value::Value;

impl Dialect for Sqlite {
    fn write_predicate(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        predicate: &Predicate,
    ) -> Result<(), NotOfItsType> {
        // A `NULL` is not selected, its negation is. What is not negated is left bare: behind `IS TRUE` SQLite would
        // look into no index, not even for the key.
        statement.sql(if predicate.negated { "((" } else { "(" });
        match predicate.part {
            None => write_condition(statement, table, predicate.field, &predicate.condition)?,
            Some(part) => write_part_condition(statement, table, predicate.field, part, &predicate.condition),
        }
        statement.sql(if predicate.negated { ") IS NOT TRUE)" } else { ")" });
        Ok(())
    }

    fn write_comparable(statement: &mut Statement<Self>, table: &Table<Self>, field: usize) {
        match table.descriptor.fields[field].kind {
            kind @ (Kind::Timestamp | Kind::NaiveTimestamp | Kind::Date | Kind::Time) => {
                statement.sql(match kind {
                    Kind::Timestamp => "realtime_instant(",
                    Kind::NaiveTimestamp => "realtime_naive_instant(",
                    Kind::Date => "realtime_date(",
                    _ => "realtime_time(",
                });
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
            Kind::Integer { .. } | Kind::Float | Kind::Bytes => table.write_column(statement, field),
            kind @ (Kind::Uuid | Kind::Decimal) => {
                statement.sql(if matches!(kind, Kind::Uuid) {
                    "realtime_uuid("
                } else {
                    "realtime_decimal("
                });
                table.write_column(statement, field);
                statement.sql(")");
            }
            // Not compared: the filter has nothing but `isnull` and paths, and lists are not ordered by it.
            Kind::Json => table.write_column(statement, field),
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
            (Kind::Timestamp | Kind::NaiveTimestamp, Value::Timestamp(timestamp)) => {
                statement.bind::<Binary, _>(instant(*timestamp))
            }
            (Kind::Date, Value::Date(date)) => statement.bind::<Binary, _>(day(*date)),
            (Kind::Time, Value::Time(time)) => statement.bind::<Binary, _>(time_of_day(*time)),
            (_, Value::Uuid(uuid)) => statement.bind::<Binary, _>(uuid.as_bytes().to_vec()),
            (_, Value::Decimal(number)) => statement.bind::<Binary, _>(Decimal(*number).comparable()),
            _ => return table.write_value(statement, field, value),
        };
        Ok(())
    }

    fn write_key_condition(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        key: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        let field = table.descriptor.key;
        match key {
            // The spellings in use rather than a function, behind which SQLite would look into no index.
            Value::Uuid(uuid) => {
                table.write_column(statement, field);
                statement.sql(" IN (");
                for text in [uuid.as_hyphenated().to_string(), uuid.as_simple().to_string()] {
                    let upper = text.to_ascii_uppercase();
                    statement.bind::<Text, _>(text).sql(", ").bind::<Text, _>(upper).sql(", ");
                }
                statement.bind::<Binary, _>(uuid.as_bytes().to_vec()).sql(")");
            }
            Value::Decimal(_) => {
                Self::write_comparable(statement, table, field);
                statement.sql(" = ");
                Self::write_operand(statement, table, field, key)?;
            }
            _ => {
                table.write_column(statement, field);
                statement.sql(" = ");
                table.write_value(statement, field, key)?;
            }
        }
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
        Condition::Path(path) => {
            statement.sql("realtime_json(");
            table.write_column(statement, field);
            statement.sql(", ").bind::<Text, _>(path.text().to_owned()).sql(")");
        }
        Condition::Regex(regex) => {
            statement.sql("realtime_regex(");
            table.write_column(statement, field);
            statement
                .sql(", ")
                .bind::<Text, _>(regex.pattern().to_owned())
                .sql(", ")
                .bind::<Integer, _>(i32::from(regex.ignores_case()))
                .sql(")");
        }
    }
    Ok(())
}

/// A condition on a part, which is a number or a date: both are compared as numbers.
fn write_part_condition(
    statement: &mut Statement<Sqlite>,
    table: &Table<Sqlite>,
    field: usize,
    part: Part,
    condition: &Condition,
) {
    let write_part = |statement: &mut Statement<Sqlite>| {
        statement.sql(match table.descriptor.fields[field].kind {
            Kind::Timestamp => "realtime_part(",
            Kind::NaiveTimestamp => "realtime_naive_part(",
            _ => "realtime_date_part(",
        });
        table.write_column(statement, field);
        statement.sql(", ").bind::<Integer, _>(part.code()).sql(")");
    };
    let number = |value: &Value<'static>| match value {
        Value::Int(number) => *number,
        Value::Date(date) => day_number(*date),
        _ => 0,
    };
    match condition {
        Condition::OneOf(values) => {
            write_part(statement);
            statement.sql(" IN (");
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    statement.sql(", ");
                }
                statement.bind::<BigInt, _>(number(value));
            }
            statement.sql(")");
        }
        Condition::Between { lower, upper } => {
            let bounds = [(lower, [" > ", " >= "]), (upper, [" < ", " <= "])];
            let bounds = bounds.iter().filter_map(|(bound, signs)| Some((bound.as_ref()?, signs)));
            for (at, ((value, included), signs)) in bounds.enumerate() {
                if at > 0 {
                    statement.sql(" AND ");
                }
                write_part(statement);
                statement.sql(signs[usize::from(*included)]).bind::<BigInt, _>(number(value));
            }
        }
        Condition::IsNull(yes) => {
            write_part(statement);
            statement.sql(if *yes { " IS NULL" } else { " IS NOT NULL" });
        }
        // A part is no text: the parser offers no such lookup after one.
        Condition::Text(..) | Condition::Regex(_) | Condition::Path(_) => {
            statement.sql("1 = 0");
        }
    }
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
