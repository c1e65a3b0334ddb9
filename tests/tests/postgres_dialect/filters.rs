//! The oracle: what memory, SQLite and PostgreSQL select of the same rows.

use std::cell::RefCell;

use diesel::pg::Pg;
use diesel_async::RunQueryDsl as _;
use proptest::prelude::*;
use realtime_core::filter::Filter;
use realtime_core::sql::Table;
use realtime_core::{Descriptor, RealtimeResource, Row};
use serde_json::{Value as Json, json};

use crate::bench::{Bench, Entries, SCHEMA, members, model_of, parsed, query};
use crate::model::{self, Moment, Note};
use crate::{config, random};

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new(SCHEMA));
}

fn filters_of(descriptor: &'static Descriptor) -> impl Strategy<Value = Vec<Entries>> {
    prop::collection::vec(prop::collection::vec(random::entry_of(descriptor), 1..4), 20)
}

/// PostgreSQL holds no U+0000 in a text.
pub(crate) fn storable(mut note: Note) -> Note {
    for text in std::iter::once(&mut note.title).chain(note.body.as_mut()) {
        *text = text.replace('\0', "\u{1}");
    }
    note
}

pub(crate) fn notes(count: usize) -> impl Strategy<Value = Vec<Note>> {
    random::notes(count..count + 1).prop_map(|notes| notes.into_iter().map(storable).collect())
}

impl Bench {
    /// Replaces the notes, and gives them as the database now has them.
    pub(crate) fn store_notes(&mut self, notes: &[Note]) -> Vec<Row> {
        self.sql("TRUNCATE notes");
        let insert = diesel::insert_into(model::notes::table).values(notes).execute(&mut self.connection);
        self.runtime.block_on(insert).unwrap();
        let rows = self.selected(&Table::of::<Note>(), &Vec::new());
        assert_eq!(rows.len(), notes.len());
        rows
    }

    fn store_moments(&mut self, moments: &[Moment]) -> Vec<Row> {
        self.sql("TRUNCATE moments");
        let insert = diesel::insert_into(model::moments::table).values(moments).execute(&mut self.connection);
        self.runtime.block_on(insert).unwrap();
        // What no value of ours is, and what of it is read: 24:00 as 00:00, 1 BC as the year 0.
        self.sql(
            "UPDATE moments SET clock = '24:00' WHERE id % 10 = 3;
             UPDATE moments SET day = '4713-01-01 BC', local = '0044-03-15 12:30:00 BC' WHERE id % 10 = 4;
             UPDATE moments SET day = '200000-12-31', local = '0001-12-31 23:59:59.999999 BC' WHERE id % 10 = 5",
        );
        let rows = self.selected(&Table::of::<Moment>(), &Vec::new());
        assert_eq!(rows.len(), moments.len());
        rows
    }
}

pub(crate) fn selected_in_memory(filter: &Filter, rows: &[Row]) -> Vec<i64> {
    rows.iter().filter(|row| filter.matches(row.as_ref())).map(model::key_of).collect()
}

fn has_nan(row: &Row) -> bool {
    model_of::<Note>(row).score.is_some_and(f64::is_nan)
}

/// The same notes in SQLite, but for those with a NaN, which it does not have.
fn in_sqlite(rows: &[Row]) -> diesel::SqliteConnection {
    let mut connection = model::database();
    let notes = rows.iter().filter(|row| !has_nan(row)).map(|row| model_of::<Note>(row).clone());
    model::insert(&mut connection, &notes.collect::<Vec<_>>());
    connection
}

proptest! {
    // 100 cases of 100 rows and 20 filters are 200,000 pairs.
    #![proptest_config(config(100))]

    #[test]
    fn memory_sqlite_and_postgresql_select_the_same_notes(
        notes in notes(100),
        filters in filters_of(Note::DESCRIPTOR),
    ) {
        BENCH.with_borrow_mut(|bench| {
            let rows = bench.store_notes(&notes);
            let mut sqlite = in_sqlite(&rows);
            for entries in filters {
                let filter = parsed(Note::DESCRIPTOR, &entries);
                let by_postgresql = bench.selected(&Table::of::<Note>(), &entries);
                let keys: Vec<i64> = by_postgresql.iter().map(model::key_of).collect();
                prop_assert_eq!(selected_in_memory(&filter, &rows), keys, "{}", filter.canonical());
                let options = [("limit".to_owned(), json!(1000))];
                let page = model::page(&mut sqlite, query(Note::DESCRIPTOR, &entries, &options));
                let by_sqlite: Vec<i64> = page.rows.iter().map(model::key_of).collect();
                let keys: Vec<i64> = by_postgresql.iter().filter(|row| !has_nan(row)).map(model::key_of).collect();
                prop_assert_eq!(by_sqlite, keys, "{}", filter.canonical());
            }
            Ok(())
        })?;
    }
}

#[test]
fn what_was_once_decided_otherwise_is_decided_alike() {
    let mut bench = Bench::new(SCHEMA);
    let notes: Vec<Note> = random::fixed_notes(300).into_iter().map(storable).collect();
    let rows = bench.store_notes(&notes);
    for entries in random::counterexamples() {
        let filter = parsed(Note::DESCRIPTOR, &entries);
        let by_postgresql = bench.selected(&Table::of::<Note>(), &entries);
        let by_postgresql: Vec<i64> = by_postgresql.iter().map(model::key_of).collect();
        assert_eq!(selected_in_memory(&filter, &rows), by_postgresql, "{}", filter.canonical());
    }
}

proptest! {
    // 30 cases of 50 rows and 20 filters are 30,000 pairs.
    #![proptest_config(config(30))]

    #[test]
    fn memory_and_postgresql_select_the_same_moments(
        moments in random::moments(50..51),
        filters in filters_of(Moment::DESCRIPTOR),
    ) {
        BENCH.with_borrow_mut(|bench| {
            let rows = bench.store_moments(&moments);
            let key = |row: &Row| model_of::<Moment>(row).id;
            for entries in filters {
                let filter = parsed(Moment::DESCRIPTOR, &entries);
                let in_memory: Vec<i64> = rows.iter().filter(|row| filter.matches(row.as_ref())).map(key).collect();
                let by_postgresql = bench.selected(&Table::of::<Moment>(), &entries);
                let by_postgresql: Vec<i64> = by_postgresql.iter().map(key).collect();
                prop_assert_eq!(in_memory, by_postgresql, "{}", filter.canonical());
            }
            Ok(())
        })?;
    }

    /// Some leaves of a tree the database decides and others not.
    #[test]
    fn and_or_and_not_mean_the_same_in_memory_and_in_postgresql(
        notes in notes(50),
        trees in prop::collection::vec(random::tree_of(Note::DESCRIPTOR), 10),
    ) {
        BENCH.with_borrow_mut(|bench| {
            let rows = bench.store_notes(&notes);
            let leaf = |key: &str, json: &Json| parsed(Note::DESCRIPTOR, &members(&json!({key: json})));
            for tree in trees {
                let filter = tree.filter(Note::DESCRIPTOR, &leaf);
                let query = query(Note::DESCRIPTOR, &Vec::new(), &[]).within(Note::DESCRIPTOR, filter.clone());
                let page = bench.list(&Table::of::<Note>(), query).unwrap();
                let by_postgresql: Vec<i64> = page.rows.iter().map(model::key_of).collect();
                prop_assert_eq!(page.count, Some(by_postgresql.len() as u64));
                prop_assert_eq!(selected_in_memory(&filter, &rows), by_postgresql, "{}", filter.canonical());
            }
            Ok(())
        })?;
    }
}

#[track_caller]
fn check(bench: &mut Bench, table: &Table<Pg>, filter: &Json, expected: &[i64]) {
    let entries = members(filter);
    let key = table.descriptor().key;
    let number = |row: &Row| match row.value(key) {
        realtime_core::Value::Int(number) => number,
        other => panic!("a number: {other:?}"),
    };
    let found: Vec<i64> = bench.selected(table, &entries).iter().map(number).collect();
    assert_eq!(found, expected, "{filter}");
}

#[test]
fn rows_that_cannot_be_read_are_in_the_way_of_no_filter_that_leaves_them_out() {
    let mut bench = Bench::new(SCHEMA);
    bench.sql(
        "INSERT INTO moments (id, small, day, local) VALUES
             (1, 1, 'infinity', 'infinity'), (2, 1, '-infinity', '-infinity'), (3, 1, '2026-01-31', '2026-01-31'),
             (4, 1, '5874897-12-31', '2026-01-31')",
    );
    let table = Table::of::<Moment>();
    for filter in [
        json!({"day": "2026-01-31"}),
        json!({"day__range": ["0000-01-01", "9999-12-31"]}),
        json!({"day__year": 2026}),
        json!({"day__month": 1}),
        json!({"local__lte": "2026-01-31", "local__gte": "0000-01-01", "day__lt": "9999-12-31"}),
        json!({"local__year__range": [2025, 2027], "day__lt": "9999-12-31"}),
        json!({"local__date": "2026-01-31", "day__lt": "9999-12-31"}),
        json!({"local__hour": 0, "day__lt": "9999-12-31", "day__week_day": 7}),
        json!({"id": 3}),
    ] {
        check(&mut bench, &table, &filter, &[3]);
    }
    assert!(bench.list(&table, query(Moment::DESCRIPTOR, &Vec::new(), &[])).is_err(), "an infinite date");
}

#[test]
fn arguments_that_postgresql_cannot_store_are_compared_as_what_they_are() {
    let mut bench = Bench::new(SCHEMA);
    bench.sql(
        "INSERT INTO moments (id, small, clock, local) VALUES
             (1, 1, '12:00:00', '2026-01-31 12:00:00'), (2, 1, '12:00:00.000001', '2026-01-31 12:00:00.000001'),
             (3, 1, '23:59:59.999999', '2016-12-31 23:59:59.999999'), (4, 1, '00:00', '2017-01-01')",
    );
    let table = Table::of::<Moment>();
    for (filter, expected) in [
        (json!({"clock": "12:00:00.0000005"}), &[][..]),
        (json!({"clock__in": ["12:00:00.0000005", "12:00"]}), &[1]),
        (json!({"clock__gt": "12:00:00.0000005"}), &[2, 3]),
        (json!({"clock__gte": "12:00:00.0000005"}), &[2, 3]),
        (json!({"clock__lt": "12:00:00.0000005"}), &[1, 4]),
        (json!({"clock__lte": "12:00:00.0000005"}), &[1, 4]),
        (json!({"not__clock__lte": "12:00:00.0000005"}), &[2, 3]),
        // A leap second is after every other of its minute, and before the next.
        (json!({"clock__lt": "23:59:60"}), &[1, 2, 3, 4]),
        (json!({"clock": "23:59:60"}), &[]),
        (json!({"local__lt": "2016-12-31T23:59:60Z"}), &[3]),
        (json!({"local__gte": "2016-12-31T23:59:60Z"}), &[1, 2, 4]),
        (json!({"local__in": ["2016-12-31T23:59:60Z", "2017-01-01"]}), &[4]),
        (json!({"local": "2026-01-31T12:00:00.000000999Z"}), &[]),
        (json!({"local__range": ["2026-01-31T12:00:00.000000001Z", "2026-01-31T12:00:00.000001999Z"]}), &[2]),
    ] {
        check(&mut bench, &table, &filter, expected);
    }
    let note = Note { title: "a".into(), ..Note::plain(1) };
    bench.store_notes(&[note]);
    let table = Table::of::<Note>();
    for (filter, expected) in [
        (json!({"title": "a\0"}), &[][..]),
        (json!({"title__in": ["a\0", "a"]}), &[1]),
        (json!({"title__startswith": "a\0"}), &[]),
        (json!({"not__title__regex": "\0"}), &[1]),
    ] {
        check(&mut bench, &table, &filter, expected);
    }
}
