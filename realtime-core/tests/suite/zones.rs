//! The parts of timestamps in the zone of a resource: memory and SQLite read the same.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::{Sqlite, SqliteConnection};
use proptest::prelude::*;
use realtime_core::filter::{RawArgument, parse};
use realtime_core::list::ListQuery;
use realtime_core::resource::ResourceOn;
use realtime_core::sql::Table;
use realtime_core::types::UtcTimestamp;
use realtime_core::{Hooks, Limits, Row, Value};
use serde_json::{Value as Json, json};

use crate::model::{page_of, time};
use crate::random;
use crate::zoned::{self, Stored, for_every_zone, shifts};

fn database(rows: &[Stored]) -> SqliteConnection {
    let mut connection = crate::model::database();
    connection
        .batch_execute("CREATE TABLE shifts (id INTEGER PRIMARY KEY NOT NULL, at TEXT NOT NULL, local TEXT)")
        .unwrap();
    for row in rows {
        diesel::insert_into(shifts::table).values(row).execute(&mut connection).unwrap();
    }
    connection
}

fn keys(rows: &[Row]) -> Vec<i64> {
    let key = |row: &Row| match row.value(0) {
        Value::Int(key) => key,
        other => panic!("a number: {other:?}"),
    };
    rows.iter().map(key).collect()
}

/// What a filter selects in memory, and in SQLite.
fn selected<M: ResourceOn<Sqlite> + Hooks>(
    connection: &mut SqliteConnection,
    entries: &[(String, Json)],
) -> [Vec<i64>; 2] {
    let raw = || entries.iter().map(|(key, json)| (key.clone(), RawArgument::Json(json.clone())));
    let filter = parse(M::DESCRIPTOR, raw(), &Limits::default()).unwrap();
    let mut list = |query| page_of(connection, &Table::of::<M>(), query).rows;
    let mut rows = list(ListQuery::parse(M::DESCRIPTOR, [], &[], &Limits::default()).unwrap());
    let listed = list(ListQuery::parse(M::DESCRIPTOR, raw(), &[], &Limits::default()).unwrap());
    rows.retain(|row| filter.matches(row.as_ref()));
    [keys(&rows), keys(&listed)]
}

proptest! {
    // 50 cases of 30 rows, 10 filters and 7 zones are 105,000 pairs.
    #![proptest_config(random::config(50))]

    #[test]
    fn memory_and_sqlite_read_the_same_clock(
        rows in zoned::rows(30),
        filters in prop::collection::vec(prop::collection::vec(zoned::entry(), 1..3), 10),
    ) {
        let mut connection = database(&rows);
        for entries in filters {
            macro_rules! check {
                ($zone:ident) => {
                    let [in_memory, by_sqlite] = selected::<zoned::$zone>(&mut connection, &entries);
                    prop_assert_eq!(in_memory, by_sqlite, "{}: {:?}", stringify!($zone), entries);
                };
            }
            for_every_zone!(check);
        }
    }
}

#[test]
fn a_part_is_what_a_clock_on_the_wall_shows() {
    let times = [
        "2025-12-31T22:59:59Z", // 23:59:59 in Berlin, on a Wednesday
        "2025-12-31T23:00:00Z", // midnight, of the next year
        "2026-03-29T00:59:59Z", // before the clocks go forward, 01:59:59
        "2026-03-29T01:00:00Z", // after it, 03:00:00
        "2026-10-25T00:30:00Z", // 02:30, in summer
        "2026-10-25T01:30:00Z", // 02:30 once more, in winter
    ];
    let rows: Vec<Stored> = (1..)
        .zip(times)
        .map(|(id, at)| Stored { id, at: UtcTimestamp(time(at)), local: Some(time(at).naive_utc()) })
        .collect();
    let mut connection = database(&rows);
    let mut check = |filter: Json, expected: &[i64]| {
        let entries: Vec<(String, Json)> =
            filter.as_object().unwrap().iter().map(|(key, json)| (key.clone(), json.clone())).collect();
        let [in_memory, by_sqlite] = selected::<zoned::Berlin>(&mut connection, &entries);
        assert_eq!(in_memory, expected, "in memory: {filter}");
        assert_eq!(by_sqlite, expected, "in SQLite: {filter}");
    };
    for field in ["at", "local"] {
        let key = |rest: &str| format!("{field}__{rest}");
        check(json!({key("year"): 2025}), &[1]);
        check(json!({key("date"): "2026-01-01"}), &[2]);
        check(json!({key("week_day"): 5}), &[2]);
        check(json!({key("hour"): 2}), &[5, 6]);
        check(json!({key("hour__in"): [1, 3]}), &[3, 4]);
        check(json!({key("minute"): 59}), &[1, 3]);
        check(json!({key("quarter"): 4}), &[1, 5, 6]);
        check(json!({key("month__gt"): 3}), &[1, 5, 6]);
        // The timestamp itself is a point in time: a date alone is its midnight in UTC.
        check(json!({key("lt"): "2026-01-01"}), &[1, 2]);
    }
    check(json!({"on": "2026-01-01"}), &[2]);
    check(json!({"years": [2026]}), &[2, 3, 4, 5, 6]);
}

#[test]
fn a_group_is_of_one_zone() {
    let canonical = |descriptor: &'static realtime_core::Descriptor, key: &str| {
        let entry = (key.to_owned(), RawArgument::Json(json!(5)));
        parse(descriptor, [entry], &Limits::default()).unwrap().canonical().to_owned()
    };
    use realtime_core::RealtimeResource as _;
    assert_eq!(canonical(zoned::Berlin::DESCRIPTOR, "at__hour"), "at.hour@Europe/Berlin=[5]");
    assert_eq!(canonical(zoned::Fixed::DESCRIPTOR, "at__hour"), "at.hour@+05:45=[5]");
    assert_eq!(canonical(zoned::Berlin::DESCRIPTOR, "id"), "id=[5]");
    assert_eq!(canonical(crate::model::descriptor(), "created__hour"), "created.hour=[5]");
}
