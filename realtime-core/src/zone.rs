//! The time zone in which a resource reads the parts of its timestamps.

use std::fmt::{self, Display};

use chrono::{DateTime, FixedOffset, NaiveDateTime, Offset as _, TimeZone};

use crate::field::Kind;

/// A time zone as a table of its offsets from UTC.
///
/// Memory and every database look into this table, so it does not matter which of them knows of which zones, and in which
/// edition. It has the changes between 1800 and 2200; before and after them the first and the last offset hold.
pub struct Zone {
    name: String,
    table: Vec<u8>,
}

/// Where the changes are looked for: the seconds of the beginnings of the years 1800 and 2200.
const FIRST: i64 = -5_364_662_400;
const LAST: i64 = 7_258_118_400;

/// How far apart they are looked for. The nearest that there have been are seven days from each other.
const STEP: i64 = 2 * 86_400;

impl Zone {
    /// The table of a zone of chrono's.
    pub fn of<Z: TimeZone + Display>(zone: Z) -> Self {
        let offset = |second: i64| {
            DateTime::from_timestamp(second, 0)
                .map_or(0, |at| zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
        };
        let mut table = Vec::new();
        let mut add = |start: i64, offset: i32| {
            table.extend_from_slice(&start.to_be_bytes());
            table.extend_from_slice(&offset.to_be_bytes());
        };
        let mut known = offset(FIRST);
        add(i64::MIN, known);
        let mut from = FIRST;
        while from < LAST {
            let to = from + STEP;
            while offset(to) != known {
                // The first second with another offset, if there is one change only; if not, one of such seconds.
                let (mut before, mut after) = (from, to);
                while after - before > 1 {
                    let middle = i64::midpoint(before, after);
                    if offset(middle) == known { before = middle } else { after = middle }
                }
                known = offset(after);
                add(after, known);
                from = after;
            }
            from = to;
        }
        Self { name: zone.to_string(), table }
    }

    /// What chrono calls it: `Europe/Berlin`, `+01:00`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn offsets(&self) -> Offsets<'_> {
        Offsets(&self.table)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// The table: from which second on, eight bytes, which offset, four bytes, both big-endian and in order. The first second
/// is before all others.
#[derive(Clone, Copy)]
pub(crate) struct Offsets<'a>(pub(crate) &'a [u8]);

/// The bytes of one entry.
const ENTRY: usize = 12;

impl Offsets<'_> {
    /// The seconds from which on there is another offset, with it.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn entries(self) -> impl ExactSizeIterator<Item = (i64, i32)> {
        (0..self.0.len() / ENTRY).map(move |at| self.entry(at))
    }

    fn entry(self, at: usize) -> (i64, i32) {
        let bytes = self.0.get(at * ENTRY..).unwrap_or_default();
        let start = bytes.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        let offset =
            bytes.get(8..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| i32::from_be_bytes(*bytes));
        (start, offset)
    }

    /// What clocks in the zone show; `None` where no date says it.
    pub(crate) fn local(self, at: NaiveDateTime) -> Option<NaiveDateTime> {
        let second = at.and_utc().timestamp();
        let (mut low, mut high) = (0, self.0.len() / ENTRY);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if self.entry(middle).0 <= second { low = middle } else { high = middle }
        }
        at.checked_add_offset(FixedOffset::east_opt(self.entry(low).1)?)
    }
}

/// Stops the build where a resource has a zone and nothing to read in it.
#[track_caller]
pub const fn check_zone(kinds: &[Kind]) {
    let mut at = 0;
    while at < kinds.len() {
        if matches!(kinds[at], Kind::Timestamp | Kind::NaiveTimestamp) {
            return;
        }
        at += 1;
    }
    panic!("`zone` is for the parts of timestamps, and no field is one");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(zone: &Zone, at: &str) -> String {
        let at: DateTime<chrono::Utc> = at.parse().expect("a timestamp");
        zone.offsets().local(at.naive_utc()).map_or_else(|| "none".to_owned(), |local| local.to_string())
    }

    #[test]
    fn zones_show_what_chrono_says() {
        // One in five: all of them take long without optimisation, and agreed.
        for tz in chrono_tz::TZ_VARIANTS.into_iter().step_by(5) {
            let zone = Zone::of(tz);
            let check = |second: i64| {
                let at = DateTime::from_timestamp(second, 0).expect("a timestamp").naive_utc();
                let expected = tz.from_utc_datetime(&at).naive_local();
                assert_eq!(zone.offsets().local(at), Some(expected), "{tz} {at}");
            };
            for (start, _) in zone.offsets().entries().skip(1) {
                [start - 1, start, start + 1].into_iter().for_each(check);
            }
            // A number that has nothing to do with hours.
            (0..2_000).for_each(|at| check(FIRST - 1_000_000 + at * 6_311_777));
        }
    }

    #[test]
    fn clocks_are_put_forward_and_back_at_the_second() {
        let berlin = Zone::of(chrono_tz::Europe::Berlin);
        assert_eq!(berlin.name(), "Europe/Berlin");
        for (at, expected) in [
            ("2026-03-29T00:59:59Z", "2026-03-29 01:59:59"),
            ("2026-03-29T01:00:00Z", "2026-03-29 03:00:00"),
            ("2026-10-25T00:59:59Z", "2026-10-25 02:59:59"),
            ("2026-10-25T01:00:00Z", "2026-10-25 02:00:00"),
            ("2016-12-31T23:59:60Z", "2017-01-01 00:59:60"),
        ] {
            assert_eq!(local(&berlin, at), expected);
        }
        let fixed = Zone::of(FixedOffset::west_opt(5 * 3600).expect("an offset"));
        assert_eq!((fixed.name(), fixed.offsets().entries().len()), ("-05:00", 1));
        assert_eq!(local(&fixed, "2026-01-01T04:59:59Z"), "2025-12-31 23:59:59");
    }

    #[test]
    fn what_no_date_says_is_nothing() {
        let east = Zone::of(FixedOffset::east_opt(3600).expect("an offset"));
        assert_eq!(east.offsets().local(NaiveDateTime::MAX), None);
    }
}
