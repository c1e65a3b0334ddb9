//! The parts of timestamps in the zone of a resource: PostgreSQL reads what memory reads, whatever zones it knows.

use std::cell::RefCell;

use diesel::pg::Pg;
use diesel_async::RunQueryDsl as _;
use proptest::prelude::*;
use realtime_core::resource::ResourceOn;
use realtime_core::sql::Table;
use realtime_core::{Hooks, Row, Value};
use serde_json::json;

use crate::bench::{Bench, Entries, members, parsed};
use crate::config;
use crate::document::{DOC, written};
use crate::zoned::{self, Stored, for_every_zone, shifts};

const SCHEMA: &str = "CREATE TABLE shifts (id bigint PRIMARY KEY, at timestamptz NOT NULL, local timestamp);
     CREATE INDEX column_at ON shifts (at); CREATE INDEX column_local ON shifts (local)";

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new(SCHEMA));
}

fn store(bench: &mut Bench, rows: &[Stored]) {
    bench.sql("TRUNCATE shifts");
    let insert = diesel::insert_into(shifts::table).values(rows).execute(&mut bench.connection);
    bench.runtime.block_on(insert).unwrap();
}

fn keys(rows: &[Row]) -> Vec<i64> {
    let key = |row: &Row| match row.value(0) {
        Value::Int(key) => key,
        other => panic!("a number: {other:?}"),
    };
    rows.iter().map(key).collect()
}

/// What a filter selects in memory, and in PostgreSQL.
fn selected<M: ResourceOn<Pg> + Hooks>(bench: &mut Bench, entries: &Entries) -> [Vec<i64>; 2] {
    let filter = parsed(M::DESCRIPTOR, entries);
    let mut rows = bench.selected(&Table::of::<M>(), &Vec::new());
    rows.retain(|row| filter.matches(row.as_ref()));
    [keys(&rows), keys(&bench.selected(&Table::of::<M>(), entries))]
}

proptest! {
    // 20 cases of 40 rows, 10 filters and 7 zones are 56,000 pairs.
    #![proptest_config(config(20))]

    #[test]
    fn memory_and_postgresql_read_the_same_clock(
        rows in zoned::rows(40),
        filters in prop::collection::vec(prop::collection::vec(zoned::entry(), 1..3), 10),
    ) {
        BENCH.with_borrow_mut(|bench| {
            store(bench, &rows);
            for entries in filters {
                macro_rules! check {
                    ($zone:ident) => {
                        let [in_memory, by_postgresql] = selected::<zoned::$zone>(bench, &entries);
                        prop_assert_eq!(in_memory, by_postgresql, "{}: {:?}", stringify!($zone), entries);
                    };
                }
                for_every_zone!(check);
            }
            Ok(())
        })?;
    }
}

#[test]
fn the_statements_are_those_of_the_document_and_use_the_index_that_it_names() {
    let mut bench = Bench::new(SCHEMA);
    bench.sql("SET enable_seqscan = off");
    let (_, section) = DOC.split_once("\n## SQL in a zone\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let lines: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(lines.len(), 4);
    for line in lines {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let key = cells[0].trim_matches('`');
        let (condition, index) = written(&mut bench, &Table::of::<zoned::Berlin>(), key);
        assert_eq!(line, format!("| `{key}` | `{condition}` | {index} | {} |", cells[3]));
    }
}

/// On the 29th of October 2006 clocks in St John's went from 00:01 back to 23:01, so that the 28th has two ends.
#[test]
fn a_day_that_is_over_twice_is_one_day() {
    let mut bench = Bench::new(SCHEMA);
    bench.sql(
        "INSERT INTO shifts VALUES (1, '2006-10-29T02:29:59Z'), (2, '2006-10-29T02:30:00Z'), (3, '2006-10-29T02:30:59Z'),
             (4, '2006-10-29T02:31:00Z'), (5, '2006-10-29T03:29:59Z'), (6, '2006-10-29T03:30:00Z')",
    );
    for (filter, expected) in [
        (json!({"at__date": "2006-10-28"}), &[1, 4, 5][..]),
        (json!({"at__date": "2006-10-29"}), &[2, 3, 6]),
        (json!({"at__date__lte": "2006-10-28"}), &[1, 4, 5]),
        (json!({"at__date__gt": "2006-10-28"}), &[2, 3, 6]),
        (json!({"not__at__date__gte": "2006-10-29"}), &[1, 4, 5]),
        (json!({"at__hour": 23, "at__date__in": ["2006-10-28", "2006-10-30"]}), &[1, 4, 5]),
    ] {
        let found = selected::<zoned::SaintJohns>(&mut bench, &members(&filter));
        assert_eq!(found, [expected, expected], "{filter}");
    }
}
