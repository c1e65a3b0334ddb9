//! SQLite. What its own operators do otherwise than the protocol says is decided by functions that are registered on
//! every connection of ours and are the very ones that the filter uses in memory.

mod functions;

use diesel::sql_types::{BigInt, Binary, Double, Integer, Text};
use diesel::sqlite::Sqlite;

pub use self::functions::register as register_functions;
use self::functions::{day, day_number, instant, time_of_day};
use super::{AnyStatement, Dialect, NotOfItsType, Sign, Statement, Subject, Table};
use crate::field::Kind;
use crate::filter::{PathCondition, Regex, TextMatch};
use crate::part::Part;
use crate::types::{Decimal, Uuid};
use crate::value::Value;

impl Dialect for Sqlite {
    fn of_any(statement: AnyStatement) -> crate::resource::Bind<Self> {
        statement.sqlite
    }

    // SQLite stores NaN as `NULL`, and binds it so: it is in no list.
    fn can_hold(value: &Value<'static>) -> bool {
        !is_nan(value)
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
            // What is read of it are the last 32 bits of an integer, whatever is stored.
            Kind::Bool => {
                statement.sql("(CAST(");
                table.write_column(statement, field);
                statement.sql(" AS INTEGER) & 4294967295 <> 0)");
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

    fn write_part(statement: &mut Statement<Self>, table: &Table<Self>, field: usize, part: Part) {
        let zone = table.descriptor.zone_of(field);
        statement.sql(match (table.descriptor.fields[field].kind, zone) {
            (Kind::Timestamp, None) => "realtime_part(",
            (Kind::Timestamp, Some(_)) => "realtime_local_part(",
            (Kind::NaiveTimestamp, None) => "realtime_naive_part(",
            (Kind::NaiveTimestamp, Some(_)) => "realtime_naive_local_part(",
            _ => "realtime_date_part(",
        });
        table.write_column(statement, field);
        statement.sql(", ").bind::<Integer, _>(part.code());
        if let Some(zone) = zone {
            statement.sql(", ").bind::<Binary, _>(zone.offsets().0.to_vec());
        }
        statement.sql(")");
    }

    // Both are compared as numbers.
    fn write_part_operand(statement: &mut Statement<Self>, value: &Value<'static>) {
        statement.bind::<BigInt, _>(match value {
            Value::Int(number) => *number,
            Value::Date(date) => day_number(*date),
            _ => 0,
        });
    }

    fn write_one_of(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        subject: Subject,
        values: &[&Value<'static>],
    ) -> Result<(), NotOfItsType> {
        subject.write(statement, table);
        statement.sql(" IN (");
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                statement.sql(", ");
            }
            subject.write_operand(statement, table, value)?;
        }
        statement.sql(")");
        Ok(())
    }

    // NaN is above every number that SQLite can hold.
    fn write_bound(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        subject: Subject,
        sign: Sign,
        value: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        if !is_nan(value) {
            return subject.write_comparison(statement, table, sign, value);
        }
        if sign.is_lower_bound() {
            statement.sql("1 = 0");
        } else {
            table.write_column(statement, subject.field);
            statement.sql(" IS NOT NULL");
        }
        Ok(())
    }

    fn write_text_match(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        field: usize,
        how: TextMatch,
        pattern: &str,
    ) {
        if how == TextMatch::StartsWith {
            write_prefix_range(statement, table, field, pattern);
        }
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

    fn write_regex(statement: &mut Statement<Self>, table: &Table<Self>, field: usize, regex: &Regex) {
        statement.sql("realtime_regex(");
        table.write_column(statement, field);
        statement
            .sql(", ")
            .bind::<Text, _>(regex.pattern().to_owned())
            .sql(", ")
            .bind::<Integer, _>(i32::from(regex.ignores_case()))
            .sql(")");
    }

    fn write_path(statement: &mut Statement<Self>, table: &Table<Self>, field: usize, path: &PathCondition) {
        statement.sql("realtime_json(");
        table.write_column(statement, field);
        statement.sql(", ").bind::<Text, _>(path.text().to_owned()).sql(")");
    }

    fn write_key_condition(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        key: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        let field = table.descriptor.key;
        match key {
            // Every form that is read rather than a function, behind which SQLite would look into no index.
            Value::Uuid(uuid) => {
                table.write_column(statement, field);
                statement.sql(" IN (");
                for text in Uuid(*uuid).stored_forms() {
                    statement.bind::<Text, _>(text).sql(", ");
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

    fn write_text(statement: &mut Statement<Self>, text: String) {
        statement.bind::<Text, _>(text);
    }

    fn write_number(statement: &mut Statement<Self>, number: i64) {
        statement.bind::<BigInt, _>(number);
    }
}

/// Appends the range in which the texts with a prefix lie, and ` AND `: the function behind it says as much, but SQLite
/// looks into no index for a function.
fn write_prefix_range(statement: &mut Statement<Sqlite>, table: &Table<Sqlite>, field: usize, prefix: &str) {
    if prefix.is_empty() {
        return;
    }
    for (sign, edge) in [(Sign::From, Some(prefix.to_owned())), (Sign::Below, after_prefix(prefix))] {
        let Some(edge) = edge else { continue };
        Sqlite::write_comparable(statement, table, field);
        statement.sql(sign.sql()).bind::<Text, _>(edge).sql(" AND ");
    }
}

/// The first text after all those with a prefix; `None` where there is none, because the prefix is of the last character
/// alone.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut before = prefix.trim_end_matches(char::MAX).to_owned();
    let last = before.pop()?;
    // The surrogates are no characters.
    before.extend((last..=char::MAX).nth(1));
    Some(before)
}

fn is_nan(value: &Value<'_>) -> bool {
    matches!(value, Value::Float(number) if number.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_prefix_comes_the_next_character_that_there_is() {
        for (prefix, expected) in [
            ("a", Some("b")),
            ("az", Some("a{")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}\u{10ffff}", Some("b")),
            ("\u{7f}", Some("\u{80}")),
            ("\u{10ffff}", None),
        ] {
            assert_eq!(after_prefix(prefix).as_deref(), expected, "{prefix:?}");
        }
    }
}
