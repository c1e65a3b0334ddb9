//! The parts of a date or a timestamp that a filter may compare: one computation, in memory and in SQL.

use chrono::{Datelike as _, NaiveDate, NaiveTime, Timelike as _};

use crate::field::Kind;
use crate::lookup::{Lookup, LookupSet};
use crate::value::Value;
use crate::zone::Offsets;

/// A part of a date or a timestamp, in UTC or in the zone of the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Part {
    /// The year.
    Year,
    /// 1 to 12.
    Month,
    /// 1 to 31.
    Day,
    /// Sunday is 1, Saturday is 7.
    WeekDay,
    /// 1 to 4.
    Quarter,
    /// The date of a timestamp.
    Date,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
}

impl Part {
    /// Every part, in the order in which errors list them.
    pub const ALL: &'static [Self] = &[
        Self::Year,
        Self::Month,
        Self::Day,
        Self::WeekDay,
        Self::Quarter,
        Self::Date,
        Self::Hour,
        Self::Minute,
    ];

    /// The lookups that may follow a part; alone it stands for the first of them.
    pub const LOOKUPS: LookupSet = LookupSet::of(&[
        Lookup::Exact,
        Lookup::In,
        Lookup::Gt,
        Lookup::Gte,
        Lookup::Lt,
        Lookup::Lte,
        Lookup::Range,
    ]);

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::WeekDay => "week_day",
            Self::Quarter => "quarter",
            Self::Date => "date",
            Self::Hour => "hour",
            Self::Minute => "minute",
        }
    }

    /// The part of a name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|part| part.name() == name)
    }

    /// The part of a number in a statement.
    #[cfg(feature = "sqlite")]
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// The number in a statement.
    #[cfg(feature = "sqlite")]
    pub(crate) const fn code(self) -> i32 {
        self as i32
    }

    /// What the part is compared as.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Date => Kind::Date,
            _ => Kind::Integer { min: i64::MIN, max: i64::MAX },
        }
    }

    /// The part of a value, of a timestamp as clocks in a zone show it; `NULL` where the value is, or has no such part.
    pub(crate) fn of(self, value: &Value<'_>, zone: Option<Offsets<'_>>) -> Value<'static> {
        match value {
            Value::Timestamp(timestamp) => {
                let utc = timestamp.naive_utc();
                match zone.map_or(Some(utc), |zone| zone.local(utc)) {
                    Some(local) => self.of_timestamp(local.date(), local.time()),
                    None => Value::Null,
                }
            }
            Value::Date(date) => self.of_date(*date),
            _ => Value::Null,
        }
    }

    fn of_timestamp(self, date: NaiveDate, time: NaiveTime) -> Value<'static> {
        match self {
            Self::Date => Value::Date(date),
            Self::Hour => Value::Int(i64::from(time.hour())),
            Self::Minute => Value::Int(i64::from(time.minute())),
            _ => self.of_date(date),
        }
    }

    fn of_date(self, date: NaiveDate) -> Value<'static> {
        Value::Int(match self {
            Self::Year => i64::from(date.year()),
            Self::Month => i64::from(date.month()),
            Self::Day => i64::from(date.day()),
            Self::WeekDay => i64::from(date.weekday().number_from_sunday()),
            Self::Quarter => i64::from(date.month0() / 3 + 1),
            Self::Date | Self::Hour | Self::Minute => return Value::Null,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(date: &str, expected: [i64; 5]) {
        let date: NaiveDate = date.parse().expect("a date");
        let parts = [Part::Year, Part::Month, Part::Day, Part::WeekDay, Part::Quarter];
        for (part, expected) in parts.into_iter().zip(expected) {
            assert!(part.of(&Value::Date(date), None).is_same(&Value::Int(expected)), "{part:?} of {date}");
        }
    }

    #[test]
    fn parts_of_dates_are_those_of_the_calendar() {
        check("2026-11-22", [2026, 11, 22, 1, 4]);
        check("2024-02-29", [2024, 2, 29, 5, 1]);
        check("1999-12-31", [1999, 12, 31, 6, 4]);
        check("2000-01-01", [2000, 1, 1, 7, 1]);
        check("0001-04-01", [1, 4, 1, 1, 2]);
    }
}
