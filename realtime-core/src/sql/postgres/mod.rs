//! PostgreSQL, from version 13 on.
//!
//! Its own operators mean what the protocol says where text is compared by the collation `"C"`. What they do otherwise
//! is decided by the functions of [`functions`]. Regular expressions have another syntax there, and what lies in JSON
//! other rules: both are decided in memory.
//!
//! Casts show which type a column may have other than the field's own: text stands in `varchar` and `citext` and an
//! enum's names in an enum of the database's; a UUID or a decimal may be stored as text. A cast to the type that the
//! column has is none, so that its indexes are used. `char(n)` is refused by [`functions::install`]: what it holds and what it
//! compares are two things.
//!
//! In a database whose encoding is not UTF-8, text is compared as the bytes that it has in UTF-8, with bytes: the server
//! would refuse to convert an argument with a character that the encoding lacks.

pub mod functions;

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use diesel::data_types::PgInterval;
use diesel::pg::Pg;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Date, Double, Integer, Interval, Numeric, Text, Time, Timestamp, Timestamptz,
};

use self::functions::Encoding;
use super::{AnyStatement, Dialect, NotOfItsType, Sign, Statement, Subject, Table};
use crate::field::Kind;
use crate::filter::{Condition, PathCondition, Regex, TextMatch};
use crate::lookup::{Lookup, LookupSet};
use crate::part::Part;
use crate::types::{self, Decimal, Uuid};
use crate::value::Value;

impl Dialect for Pg {
    const ROW_LOCK: &'static str = " FOR NO KEY UPDATE";
    const FREE_ROW_LOCK: &'static str = " FOR UPDATE SKIP LOCKED";

    const UNDECIDED: LookupSet = LookupSet::of(&[Lookup::Regex, Lookup::IRegex]).with_paths();

    fn of_any(statement: AnyStatement) -> crate::resource::Bind<Self> {
        statement.postgres
    }

    fn decides(condition: &Condition) -> bool {
        !matches!(condition, Condition::Regex(_) | Condition::Path(_))
    }

    // No text has a U+0000, and times are kept in microseconds.
    fn can_hold(value: &Value<'static>) -> bool {
        match value {
            Value::Text(text) => !text.contains('\0'),
            Value::Timestamp(timestamp) => whole_microseconds(timestamp),
            Value::Time(time) => whole_microseconds(time),
            _ => true,
        }
    }

    fn has_text(table: &Table<Self>, text: String) -> Option<Statement<Self>> {
        if table.encoding == Encoding::Utf8 {
            return None;
        }
        let mut statement = Statement::new("SELECT cardinality(realtime_of_utf8(");
        statement.bind::<Array<Binary>, _>(vec![text.into_bytes()]).sql("))::bigint");
        Some(statement)
    }

    fn write_comparable(statement: &mut Statement<Self>, table: &Table<Self>, field: usize) {
        let (before, after) = match table.descriptor.fields[field].kind {
            Kind::Text | Kind::Enum(_) if table.encoding != Encoding::Utf8 => ("realtime_utf8(", "::text)"),
            // Whatever collation the column has, text is compared by code point.
            Kind::Text | Kind::Enum(_) => ("", "::text COLLATE \"C\""),
            Kind::Uuid => ("", "::uuid"),
            Kind::Decimal => ("realtime_decimal(", "::numeric)"),
            // What is read of 24:00 is 00:00, which is the sum as well.
            Kind::Time => ("(", " + interval '0')"),
            Kind::Bool
            | Kind::Integer { .. }
            | Kind::Float
            | Kind::Timestamp
            | Kind::NaiveTimestamp
            | Kind::Date
            | Kind::Bytes => ("", ""),
            // Not compared: the filter has nothing but `isnull` and paths, and lists are not ordered by it.
            Kind::Json => ("", ""),
        };
        statement.sql(before);
        table.write_column(statement, field);
        statement.sql(after);
    }

    fn write_operand(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        field: usize,
        value: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        let kind = table.descriptor.fields[field].kind;
        match (kind, value) {
            (Kind::Integer { .. }, Value::Int(number)) => statement.bind::<BigInt, _>(*number),
            (Kind::Float, Value::Float(number)) => statement.bind::<Double, _>(*number),
            (Kind::Bool, Value::Bool(flag)) => statement.bind::<Bool, _>(*flag),
            (Kind::Text, Value::Text(text)) => write_pattern(statement, table, until_nul(text)),
            (Kind::Timestamp, Value::Timestamp(timestamp)) => {
                statement.bind::<Timestamptz, _>(storable(*timestamp))
            }
            (Kind::NaiveTimestamp, Value::Timestamp(timestamp)) => {
                statement.bind::<Timestamp, _>(storable(*timestamp).naive_utc())
            }
            (Kind::Date, Value::Date(date)) => statement.bind::<Date, _>((*date).max(first_day())),
            (Kind::Time, Value::Time(time)) => statement.bind::<Time, _>(floored(*time)),
            (Kind::Bytes, Value::Bytes(bytes)) => statement.bind::<Binary, _>(bytes.clone().into_owned()),
            (Kind::Uuid, Value::Uuid(uuid)) => statement.bind::<types::sql::Uuid, _>(Uuid(*uuid)),
            (Kind::Decimal, Value::Decimal(number)) => statement.bind::<Numeric, _>(Decimal(*number)),
            (Kind::Enum(_), _) => return write_name(statement, table, field, value),
            _ => return table.write_value(statement, field, value),
        };
        Ok(())
    }

    fn write_part(statement: &mut Statement<Self>, table: &Table<Self>, field: usize, part: Part) {
        let (before, after) = match part {
            Part::Year => ("extract(year FROM ", ")"),
            Part::Month => ("extract(month FROM ", ")"),
            Part::Day => ("extract(day FROM ", ")"),
            // Sunday is 0.
            Part::WeekDay => ("(extract(dow FROM ", ") + 1)"),
            Part::Quarter => ("extract(quarter FROM ", ")"),
            Part::Date => ("(", ")::date"),
            Part::Hour => ("extract(hour FROM ", ")"),
            Part::Minute => ("extract(minute FROM ", ")"),
        };
        statement.sql(before);
        write_local(statement, table, field);
        statement.sql(after);
    }

    fn write_part_operand(statement: &mut Statement<Self>, value: &Value<'static>) {
        match value {
            Value::Int(number) => statement.bind::<BigInt, _>(*number),
            Value::Date(date) => statement.bind::<Date, _>((*date).max(first_day())),
            _ => statement.sql("NULL"),
        };
    }

    fn write_one_of(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        subject: Subject,
        values: &[&Value<'static>],
    ) -> Result<(), NotOfItsType> {
        if values.is_empty() {
            statement.sql("1 = 0");
            return Ok(());
        }
        if let Some(part) = subject.part {
            return write_one_of_parts(statement, table, subject.field, part, values);
        }
        if matches!(table.descriptor.fields[subject.field].kind, Kind::Text | Kind::Enum(_))
            && table.encoding != Encoding::ManyBytes
        {
            // What is equal by code point is equal by the column's own collation, of which an index is; seldom the
            // other way round.
            table.write_column(statement, subject.field);
            write_equals_one(statement, table, subject, values, false)?;
            statement.sql(" AND ");
        }
        subject.write(statement, table);
        write_equals_one(statement, table, subject, values, true)
    }

    fn write_bound(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        subject: Subject,
        sign: Sign,
        value: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        if let Some(part @ (Part::Year | Part::Date)) = subject.part {
            let (edge_sign, after) = match sign {
                Sign::Above => (Sign::From, true),
                Sign::UpTo => (Sign::Below, true),
                sign => (sign, false),
            };
            let is_local = table.descriptor.zone_of(subject.field).is_some();
            write_edge(statement, table, subject.field, edge_sign, edge(part, value, after), is_local);
            if is_local {
                statement.sql(" AND ");
                return subject.write_comparison(statement, table, sign, &of_server(value));
            }
            return Ok(());
        }
        // The bind is the last value before this one that a row can have, so nothing lies between them.
        let sign = match sign.is_lower_bound() {
            _ if Self::can_hold(value) => sign,
            true => Sign::Above,
            false => Sign::UpTo,
        };
        subject.write_comparison(statement, table, sign, value)
    }

    fn write_text_match(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        field: usize,
        how: TextMatch,
        pattern: &str,
    ) {
        if pattern.contains('\0') {
            statement.sql("1 = 0");
            return;
        }
        let text = |statement: &mut Statement<Self>| {
            let (before, after) = match (table.encoding, how.folds()) {
                (Encoding::Utf8, true) => ("realtime_fold(", "::text) COLLATE \"C\""),
                (Encoding::Utf8, false) => ("", "::text COLLATE \"C\""),
                (_, true) => ("realtime_fold_utf8(", "::text)"),
                (_, false) => ("realtime_utf8(", "::text)"),
            };
            statement.sql(before);
            table.write_column(statement, field);
            statement.sql(after);
        };
        if table.encoding != Encoding::Utf8 {
            write_bytes_match(statement, how, pattern, text);
            return;
        }
        let (before, between) = match how {
            TextMatch::IExact => ("", " = "),
            TextMatch::Contains | TextMatch::IContains => ("strpos(", ", "),
            TextMatch::StartsWith | TextMatch::IStartsWith => ("starts_with(", ", "),
            TextMatch::EndsWith | TextMatch::IEndsWith => ("right(", ", "),
        };
        statement.sql(before);
        text(statement);
        statement.sql(between);
        if matches!(how, TextMatch::EndsWith | TextMatch::IEndsWith) {
            let length = i32::try_from(pattern.chars().count()).unwrap_or(i32::MAX);
            statement.bind::<Integer, _>(length).sql(") = ");
        }
        statement.bind::<Text, _>(pattern.to_owned()).sql(match how {
            TextMatch::Contains | TextMatch::IContains => ") > 0",
            TextMatch::StartsWith | TextMatch::IStartsWith => ")",
            TextMatch::IExact | TextMatch::EndsWith | TextMatch::IEndsWith => "",
        });
    }

    fn write_regex(statement: &mut Statement<Self>, _table: &Table<Self>, _field: usize, _regex: &Regex) {
        statement.sql("NULL");
    }

    fn write_path(
        statement: &mut Statement<Self>,
        _table: &Table<Self>,
        _field: usize,
        _path: &PathCondition,
    ) {
        statement.sql("NULL");
    }

    fn write_key_condition(
        statement: &mut Statement<Self>,
        table: &Table<Self>,
        key: &Value<'static>,
    ) -> Result<(), NotOfItsType> {
        let field = table.descriptor.key;
        match table.descriptor.fields[field].kind {
            Kind::Text | Kind::Enum(_) => {
                let subject = Subject { field, part: None };
                Self::write_one_of(statement, table, subject, &[key])
            }
            Kind::Uuid => {
                Self::write_comparable(statement, table, field);
                statement.sql(" = ");
                Self::write_operand(statement, table, field, key)
            }
            Kind::Decimal => {
                table.write_column(statement, field);
                statement.sql("::numeric = ");
                Self::write_operand(statement, table, field, key)
            }
            _ => {
                table.write_column(statement, field);
                statement.sql(" = ");
                table.write_value(statement, field, key)
            }
        }
    }

    fn write_text(statement: &mut Statement<Self>, text: String) {
        statement.bind::<Text, _>(text);
    }

    fn write_number(statement: &mut Statement<Self>, number: i64) {
        statement.bind::<BigInt, _>(number);
    }
}

/// Appends a text as what texts are compared with.
fn write_pattern<'a>(
    statement: &'a mut Statement<Pg>,
    table: &Table<Pg>,
    text: &str,
) -> &'a mut Statement<Pg> {
    match table.encoding {
        Encoding::Utf8 => statement.bind::<Text, _>(text.to_owned()),
        Encoding::OneByte | Encoding::ManyBytes => statement.bind::<Binary, _>(text.as_bytes().to_vec()),
    }
}

/// Appends a value of an enum as what its names are compared with.
fn write_name(
    statement: &mut Statement<Pg>,
    table: &Table<Pg>,
    field: usize,
    value: &Value<'static>,
) -> Result<(), NotOfItsType> {
    let is_utf8 = table.encoding == Encoding::Utf8;
    statement.sql(if is_utf8 { "" } else { "realtime_utf8(" });
    table.write_value(statement, field, value)?;
    statement.sql(if is_utf8 { "::text" } else { "::text)" });
    Ok(())
}

/// Appends the comparison of the bytes of a text with those of a pattern. A pattern begins with the first byte of a
/// character, so it is found only where one begins.
fn write_bytes_match(
    statement: &mut Statement<Pg>,
    how: TextMatch,
    pattern: &str,
    text: impl Fn(&mut Statement<Pg>),
) {
    let bytes = pattern.as_bytes().to_vec();
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
    match how {
        TextMatch::IExact => {
            text(statement);
            statement.sql(" = ").bind::<Binary, _>(bytes);
        }
        TextMatch::Contains | TextMatch::IContains => {
            statement.sql("position(").bind::<Binary, _>(bytes).sql(" IN ");
            text(statement);
            statement.sql(") > 0");
        }
        TextMatch::StartsWith | TextMatch::IStartsWith => {
            statement.sql("substr(");
            text(statement);
            statement.sql(", 1, ").bind::<Integer, _>(length).sql(") = ").bind::<Binary, _>(bytes);
        }
        TextMatch::EndsWith | TextMatch::IEndsWith => {
            statement.sql("substr(");
            text(statement);
            statement.sql(", octet_length(");
            text(statement);
            statement.sql(") + 1 - ").bind::<Integer, _>(length).sql(") = ").bind::<Binary, _>(bytes);
        }
    }
}

/// Appends `= $1` for one value and `= ANY($1)` for several, so that the text does not depend on how many there are.
fn write_equals_one(
    statement: &mut Statement<Pg>,
    table: &Table<Pg>,
    subject: Subject,
    values: &[&Value<'static>],
    is_comparable: bool,
) -> Result<(), NotOfItsType> {
    let Subject { field, part } = subject;
    let kind = part.map_or(table.descriptor.fields[field].kind, Part::kind);
    if let Kind::Enum(_) = kind {
        // A bind is of the type that Diesel has for the column, and only a value at a time. There are few.
        statement.sql(" IN (");
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                statement.sql(", ");
            }
            if is_comparable {
                write_name(statement, table, field, value)?;
            } else {
                table.write_value(statement, field, value)?;
            }
        }
        statement.sql(")");
        return Ok(());
    }
    if matches!(kind, Kind::Text) && table.encoding != Encoding::Utf8 {
        let texts = values.iter().filter_map(|value| match value {
            Value::Text(text) => Some(text.as_bytes().to_vec()),
            _ => None,
        });
        statement.sql(if is_comparable { " = ANY(" } else { " = ANY(realtime_of_utf8(" });
        statement.bind::<Array<Binary>, _>(texts.collect::<Vec<_>>());
        statement.sql(if is_comparable { ")" } else { "))" });
        return Ok(());
    }
    if let [value] = values {
        statement.sql(" = ");
        return subject.write_operand(statement, table, value);
    }
    statement.sql(" = ANY(");
    /// Collects what a pattern takes of the values.
    macro_rules! array {
        ($sql:ty, $pattern:pat => $value:expr) => {{
            let taken = values.iter().filter_map(|value| match value {
                $pattern => Some($value),
                _ => None,
            });
            statement.bind::<Array<$sql>, _>(taken.collect::<Vec<_>>());
        }};
    }
    match kind {
        Kind::Bool => array!(Bool, Value::Bool(flag) => *flag),
        Kind::Integer { .. } => array!(BigInt, Value::Int(number) => *number),
        Kind::Float => array!(Double, Value::Float(number) => *number),
        Kind::Text => array!(Text, Value::Text(text) => text.clone().into_owned()),
        Kind::Timestamp => array!(Timestamptz, Value::Timestamp(timestamp) => storable(*timestamp)),
        Kind::NaiveTimestamp => {
            array!(Timestamp, Value::Timestamp(timestamp) => storable(*timestamp).naive_utc());
        }
        Kind::Date => array!(Date, Value::Date(date) => (*date).max(first_day())),
        Kind::Time => array!(Time, Value::Time(time) => *time),
        Kind::Bytes => array!(Binary, Value::Bytes(bytes) => bytes.clone().into_owned()),
        Kind::Uuid => array!(types::sql::Uuid, Value::Uuid(uuid) => Uuid(*uuid)),
        Kind::Decimal => array!(Numeric, Value::Decimal(number) => Decimal(*number)),
        Kind::Enum(_) | Kind::Json => {
            statement.sql("NULL");
        }
    }
    statement.sql(")");
    Ok(())
}

/// Ranges of a field that are asked for one by one; more of them take longer than the part of each row takes.
const RANGES: usize = 8;

/// Appends the condition that a part is one of the values, of which there is at least one.
///
/// The years and the days that follow each other are one range of the field, for which its index is used. Where they
/// are many ranges, the part is looked for among the values, which PostgreSQL keeps in a hash table, within the range of
/// them all.
fn write_one_of_parts(
    statement: &mut Statement<Pg>,
    table: &Table<Pg>,
    field: usize,
    part: Part,
    values: &[&Value<'static>],
) -> Result<(), NotOfItsType> {
    let subject = Subject { field, part: Some(part) };
    if !matches!(part, Part::Year | Part::Date) {
        let possible: Vec<&Value<'static>> =
            values.iter().copied().filter(|value| can_be(part, value)).collect();
        if possible.is_empty() {
            statement.sql("1 = 0");
            return Ok(());
        }
        subject.write(statement, table);
        return write_equals_one(statement, table, subject, &possible, true);
    }
    let mut ranges: Vec<[&Value<'static>; 2]> = Vec::new();
    for value in values {
        match ranges.last_mut() {
            Some([_, last]) if edge(part, last, true) == edge(part, value, false) => *last = value,
            _ => ranges.push([value, value]),
        }
    }
    let is_local = table.descriptor.zone_of(field).is_some();
    let (asked, are_ranges) = match values {
        [first, ..] if is_local || ranges.len() > RANGES => {
            (vec![[*first, values.last().unwrap_or(first)]], false)
        }
        _ => (ranges, true),
    };
    for (at, [first, last]) in asked.into_iter().enumerate() {
        if at > 0 {
            statement.sql(" OR ");
        }
        write_edge(statement, table, field, Sign::From, edge(part, first, false), is_local);
        statement.sql(" AND ");
        write_edge(statement, table, field, Sign::Below, edge(part, last, true), is_local);
    }
    if are_ranges {
        return Ok(());
    }
    statement.sql(" AND ");
    subject.write(statement, table);
    let values: Vec<Value<'static>> = values.iter().map(|value| of_server(value)).collect();
    write_equals_one(statement, table, subject, &values.iter().collect::<Vec<_>>(), true)
}

/// A year or a date as PostgreSQL counts: before its year 1 comes the year -1.
fn of_server(value: &Value<'static>) -> Value<'static> {
    match value {
        Value::Int(year) if *year <= 0 => Value::Int(year.saturating_sub(1)),
        value => value.clone(),
    }
}

/// Is there a timestamp with this part? Those without one would only be looked at for every row.
fn can_be(part: Part, value: &Value<'_>) -> bool {
    let possible = match part {
        Part::Month => 1..=12,
        Part::Day => 1..=31,
        Part::WeekDay => 1..=7,
        Part::Quarter => 1..=4,
        Part::Hour => 0..=23,
        Part::Minute => 0..=59,
        Part::Year | Part::Date => return true,
    };
    matches!(value, Value::Int(number) if possible.contains(number))
}

/// Where a year or a date begins or, `after`, the next one; an error where that is before or after everything.
fn edge(part: Part, value: &Value<'_>, after: bool) -> Result<NaiveDate, Ordering> {
    match (part, value) {
        (Part::Date, Value::Date(date)) if after => date.succ_opt().ok_or(Ordering::Greater),
        (Part::Date, Value::Date(date)) => Ok(*date),
        (_, Value::Int(year)) => {
            let year = year.saturating_add(i64::from(after));
            let start = i32::try_from(year).ok().and_then(|year| NaiveDate::from_ymd_opt(year, 1, 1));
            start
                .ok_or(year.cmp(&0))
                .and_then(|day| if day < first_day() { Err(Ordering::Less) } else { Ok(day) })
        }
        // A part is one of the two.
        _ => Err(Ordering::Greater),
    }
}

/// Appends a field as a timestamp without a zone: as clocks in the zone of the resource show it, else in UTC.
fn write_local(statement: &mut Statement<Pg>, table: &Table<Pg>, field: usize) {
    let write_utc = |statement: &mut Statement<Pg>| {
        table.write_column(statement, field);
        if matches!(table.descriptor.fields[field].kind, Kind::Timestamp) {
            statement.sql(" AT TIME ZONE 'UTC'");
        }
    };
    let Some(zone) = table.descriptor.zone_of(field) else {
        write_utc(statement);
        return;
    };
    // Our own table rather than the server's, which may know of other zones.
    let entries = zone.offsets().entries();
    let starts: Vec<NaiveDateTime> = entries
        .skip(1)
        .filter_map(|(start, _)| Some(DateTime::from_timestamp(start, 0)?.naive_utc()))
        .collect();
    let entries = zone.offsets().entries();
    let offsets: Vec<PgInterval> =
        entries.map(|(_, offset)| PgInterval::from_microseconds(i64::from(offset) * 1_000_000)).collect();
    statement.sql("(");
    write_utc(statement);
    statement.sql(" + (").bind::<Array<Interval>, _>(offsets).sql(")[width_bucket(");
    write_utc(statement);
    statement.sql(", ").bind::<Array<Timestamp>, _>(starts).sql(") + 1])");
}

/// Appends the comparison of a field with the beginning of a day in UTC, from it on or before it. In another zone the
/// day begins somewhere near, and perhaps more than once: then a day more is let through.
fn write_edge(
    statement: &mut Statement<Pg>,
    table: &Table<Pg>,
    field: usize,
    sign: Sign,
    edge: Result<NaiveDate, Ordering>,
    is_local: bool,
) {
    let edge = edge.and_then(|day| match (is_local, sign.is_lower_bound()) {
        (false, _) => Ok(day),
        (true, true) => day.pred_opt().filter(|day| *day >= first_day()).ok_or(Ordering::Less),
        (true, false) => day.succ_opt().ok_or(Ordering::Greater),
    });
    let day = match edge {
        Ok(day) => day,
        Err(beyond) if sign.is_lower_bound() == (beyond == Ordering::Greater) => {
            statement.sql("1 = 0");
            return;
        }
        Err(_) => {
            table.write_column(statement, field);
            statement.sql(" IS NOT NULL");
            return;
        }
    };
    table.write_column(statement, field);
    statement.sql(sign.sql());
    let midnight = NaiveDateTime::new(day, NaiveTime::MIN);
    match table.descriptor.fields[field].kind {
        Kind::Timestamp => statement.bind::<Timestamptz, _>(midnight.and_utc()),
        Kind::NaiveTimestamp => statement.bind::<Timestamp, _>(midnight),
        _ => statement.bind::<Date, _>(day),
    };
}

/// A text that ends where PostgreSQL could not store it. Of the texts that it can store, those that come after it are
/// those that come after the whole one, but for itself.
fn until_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// The nanoseconds of a second are microseconds. Those of a leap second are more than it has.
fn whole_microseconds(time: &impl chrono::Timelike) -> bool {
    time.nanosecond() < 1_000_000_000 && time.nanosecond().is_multiple_of(1_000)
}

/// The same time in whole microseconds, or the last one before it.
fn floored<T: chrono::Timelike>(time: T) -> T {
    let nanosecond = time.nanosecond().min(999_999_999);
    time.with_nanosecond(nanosecond - nanosecond % 1_000).unwrap_or(time)
}

/// The first day that PostgreSQL has.
fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(-4713, 11, 24).unwrap_or(NaiveDate::MIN)
}

/// The last point in time not after a given one that PostgreSQL can store, or the first of all. Its last is after those that
/// can be given.
fn storable(timestamp: DateTime<Utc>) -> DateTime<Utc> {
    let first = NaiveDateTime::new(first_day(), NaiveTime::MIN).and_utc();
    floored(timestamp).max(first)
}
