//! The functions that the statements use, registered on every connection of ours. Each is the computation that the
//! filter makes in memory, so that the two cannot differ.

use std::cell::RefCell;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _, Utc};
use diesel::QueryResult;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::sql_types::is_nullable::NotNull;
use diesel::sql_types::{Binary, Date, Integer, Nullable, SqlType, Text, Time, Timestamp};
use diesel::sqlite::{Sqlite, SqliteConnection, SqliteValue};
use serde_json::Value as Json;

use crate::filter::{Regex, holds_by_text};
use crate::fold::fold;
use crate::part::Part;
use crate::types::{Decimal, Uuid};
use crate::value::Value;
use crate::zone::Offsets;

/// Under this name because Diesel's macro below knows the types that a function of ours may take by their last name.
mod stored {
    pub(super) use diesel::sql_types::{Json as Text, TimestamptzSqlite as Timestamp};

    pub(super) use crate::types::sql::{DecimalNumber as Numeric, Uuid as Binary};
}

#[diesel::declare_sql_function]
extern "SQL" {
    /// The text, folded as the protocol defines it.
    fn realtime_fold(text: Nullable<Text>) -> Nullable<Text>;
    /// Does the text begin so? Unlike `LIKE` with regard to case and without an escape.
    fn realtime_starts_with(text: Nullable<Text>, pattern: Text) -> Bool;
    /// Does the text end so?
    fn realtime_ends_with(text: Nullable<Text>, pattern: Text) -> Bool;
    /// Does the regular expression match, with regard to case or (1) without?
    fn realtime_regex(text: Nullable<Text>, pattern: Text, ignores_case: Integer) -> Bool;
    /// A timestamp as bytes that are ordered as the points in time are, whatever form the text has.
    fn realtime_instant(timestamp: Nullable<stored::Timestamp>) -> Nullable<Binary>;
    /// The same of a timestamp without a zone.
    fn realtime_naive_instant(timestamp: Nullable<Timestamp>) -> Nullable<Binary>;
    /// A date as bytes that are ordered as the days are.
    fn realtime_date(date: Nullable<Date>) -> Nullable<Binary>;
    /// A time of day as bytes that are ordered as the times are.
    fn realtime_time(time: Nullable<Time>) -> Nullable<Binary>;
    /// A UUID as its bytes, whatever its spelling.
    fn realtime_uuid(uuid: Nullable<stored::Binary>) -> Nullable<Binary>;
    /// A decimal number as bytes that are ordered as the numbers are.
    fn realtime_decimal(number: Nullable<stored::Numeric>) -> Nullable<Binary>;
    /// Does JSON satisfy a condition on what lies at a path?
    fn realtime_json(json: Nullable<stored::Text>, condition: Text) -> Bool;
    /// A part of a timestamp, by its number.
    fn realtime_part(timestamp: Nullable<stored::Timestamp>, part: Integer) -> Nullable<BigInt>;
    /// A part of a timestamp without a zone.
    fn realtime_naive_part(timestamp: Nullable<Timestamp>, part: Integer) -> Nullable<BigInt>;
    /// A part of a timestamp, as clocks in the zone with these offsets show it.
    fn realtime_local_part(
        timestamp: Nullable<stored::Timestamp>,
        part: Integer,
        zone: Binary,
    ) -> Nullable<BigInt>;
    /// The same of a timestamp without a zone, which is in UTC.
    fn realtime_naive_local_part(
        timestamp: Nullable<Timestamp>,
        part: Integer,
        zone: Binary,
    ) -> Nullable<BigInt>;
    /// A part of a date.
    fn realtime_date_part(date: Nullable<Date>, part: Integer) -> Nullable<BigInt>;
}

/// What a column holds, where it can be read as a value of the field's type: another program may have stored anything.
///
/// What cannot be read is to a condition what `NULL` is. So a row with such a value is in the way of those only who would
/// be shown it, and not of every statement that looks at its column.
#[derive(FromSqlRow)]
struct Readable<T>(Option<T>);

impl<T, ST> FromSql<Nullable<ST>, Sqlite> for Readable<T>
where
    T: FromSql<ST, Sqlite>,
    ST: SqlType<IsNull = NotNull>,
{
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        Ok(Self(T::from_sql(value).ok()))
    }

    fn from_nullable_sql(value: Option<SqliteValue<'_, '_, '_>>) -> deserialize::Result<Self> {
        Ok(Self(value.and_then(|value| T::from_sql(value).ok())))
    }
}

/// Registers the functions that the statements for SQLite use.
///
/// # Errors
/// Where SQLite refuses.
pub fn register(connection: &mut SqliteConnection) -> QueryResult<()> {
    realtime_fold_utils::register_impl(connection, |Readable(text): Readable<String>| {
        text.map(|text| fold(&text))
    })?;
    realtime_starts_with_utils::register_impl(
        connection,
        |Readable(text): Readable<String>, pattern: String| {
            text.is_some_and(|text| text.starts_with(&pattern))
        },
    )?;
    realtime_ends_with_utils::register_impl(
        connection,
        |Readable(text): Readable<String>, pattern: String| text.is_some_and(|text| text.ends_with(&pattern)),
    )?;
    realtime_regex_utils::register_impl(
        connection,
        |Readable(text): Readable<String>, pattern: String, ignores_case: i32| {
            text.is_some_and(|text| regex_matches(&pattern, ignores_case != 0, &text))
        },
    )?;
    realtime_instant_utils::register_impl(connection, |Readable(timestamp): Readable<DateTime<Utc>>| {
        timestamp.map(instant)
    })?;
    realtime_naive_instant_utils::register_impl(
        connection,
        |Readable(timestamp): Readable<NaiveDateTime>| {
            timestamp.map(|timestamp| instant(timestamp.and_utc()))
        },
    )?;
    realtime_date_utils::register_impl(connection, |Readable(date): Readable<NaiveDate>| date.map(day))?;
    realtime_time_utils::register_impl(connection, |Readable(time): Readable<NaiveTime>| {
        time.map(time_of_day)
    })?;
    realtime_uuid_utils::register_impl(connection, |Readable(uuid): Readable<Uuid>| {
        uuid.map(|uuid| uuid.as_bytes().to_vec())
    })?;
    realtime_decimal_utils::register_impl(connection, |Readable(number): Readable<Decimal>| {
        number.map(Decimal::comparable)
    })?;
    realtime_json_utils::register_impl(connection, |Readable(json): Readable<Json>, condition: String| {
        holds_by_text(&condition, json.as_ref())
    })?;
    realtime_part_utils::register_impl(
        connection,
        |Readable(timestamp): Readable<DateTime<Utc>>, part: i32| {
            part_of(&timestamp.map(Value::Timestamp)?, part, None)
        },
    )?;
    realtime_local_part_utils::register_impl(
        connection,
        |Readable(timestamp): Readable<DateTime<Utc>>, part: i32, zone: Vec<u8>| {
            part_of(&timestamp.map(Value::Timestamp)?, part, Some(Offsets(&zone)))
        },
    )?;
    realtime_naive_local_part_utils::register_impl(
        connection,
        |Readable(timestamp): Readable<NaiveDateTime>, part: i32, zone: Vec<u8>| {
            let timestamp = timestamp.map(|timestamp| Value::Timestamp(timestamp.and_utc()))?;
            part_of(&timestamp, part, Some(Offsets(&zone)))
        },
    )?;
    realtime_naive_part_utils::register_impl(
        connection,
        |Readable(timestamp): Readable<NaiveDateTime>, part: i32| {
            part_of(&timestamp.map(|timestamp| Value::Timestamp(timestamp.and_utc()))?, part, None)
        },
    )?;
    realtime_date_part_utils::register_impl(connection, |Readable(date): Readable<NaiveDate>, part: i32| {
        part_of(&date.map(Value::Date)?, part, None)
    })
}

/// A part as a number; a date as the number of its day.
fn part_of(value: &Value<'_>, part: i32, zone: Option<Offsets<'_>>) -> Option<i64> {
    match Part::from_code(part)?.of(value, zone) {
        Value::Int(number) => Some(number),
        Value::Date(date) => Some(day_number(date)),
        _ => None,
    }
}

/// Matches with an expression that is compiled once for a statement rather than once for a row.
fn regex_matches(pattern: &str, ignores_case: bool, text: &str) -> bool {
    /// A filter has few expressions, and a thread runs one statement at a time.
    const KEPT: usize = 32;
    thread_local! {
        static COMPILED: RefCell<Vec<Regex>> = const { RefCell::new(Vec::new()) };
    }
    COMPILED.with_borrow_mut(|compiled| {
        let is_known = |regex: &Regex| regex.pattern() == pattern && regex.ignores_case() == ignores_case;
        if let Some(regex) = compiled.iter().find(|regex| is_known(regex)) {
            return regex.is_match(text);
        }
        // The filter compiled it within its limits, so it compiles within larger ones.
        let Ok(regex) = Regex::new(pattern, ignores_case, usize::MAX / 8, usize::MAX) else { return false };
        let matches = regex.is_match(text);
        if compiled.len() == KEPT {
            compiled.remove(0);
        }
        compiled.push(regex);
        matches
    })
}

/// Twelve bytes: the seconds since 1970, moved to be positive, and the nanoseconds, big-endian.
pub(super) fn instant(timestamp: DateTime<Utc>) -> Vec<u8> {
    let seconds = timestamp.timestamp().cast_unsigned() ^ (1 << 63);
    let mut bytes = seconds.to_be_bytes().to_vec();
    bytes.extend_from_slice(&timestamp.timestamp_subsec_nanos().to_be_bytes());
    bytes
}

/// Four bytes: the number of the day, moved to be positive, big-endian.
pub(super) fn day(date: NaiveDate) -> Vec<u8> {
    (date.num_days_from_ce().cast_unsigned() ^ (1 << 31)).to_be_bytes().to_vec()
}

/// The number of a day, counted from the first of January of the year 1.
pub(super) fn day_number(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce())
}

/// Eight bytes: seconds since midnight and nanoseconds, big-endian.
pub(super) fn time_of_day(time: NaiveTime) -> Vec<u8> {
    [time.num_seconds_from_midnight().to_be_bytes(), time.nanosecond().to_be_bytes()].concat()
}
