//! `docs/lookups.md` against the code: its tables are what the code offers, writes and what SQLite makes of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "suite/model.rs"]
#[allow(dead_code, reason = "each test uses a part of the models")]
mod model;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use realtime_core::filter::{RawArgument, parse};
use realtime_core::list::ListQuery;
use realtime_core::sql::Table;
use realtime_core::types::{Decimal, Uuid};
use realtime_core::{Descriptor, Kind, Limits, Lookup, LookupSet, Part, RealtimeResource};
use serde_json::{Value as Json, json};

use self::model::{Moment, Note};

mod schema {
    diesel::table! {
        papers (key) {
            key -> realtime_core::types::sql::Uuid,
            amount -> Nullable<realtime_core::types::sql::DecimalNumber>,
            tags -> Nullable<Json>,
        }
    }
}

use schema::papers;

#[derive(RealtimeResource)]
#[diesel(table_name = papers, primary_key(key))]
#[realtime(lookups(all), ordering(all))]
struct Paper {
    key: Uuid,
    amount: Option<Decimal>,
    tags: Option<Json>,
}

const DOC: &str = include_str!("../../docs/lookups.md");

fn names() -> &'static [&'static str] {
    &["calm"]
}

/// The columns of the tables. A new kind stops the build here.
fn kinds() -> Vec<Kind> {
    let all = vec![
        Kind::Bool,
        Kind::Integer { min: 0, max: 1 },
        Kind::Float,
        Kind::Text,
        Kind::Timestamp,
        Kind::NaiveTimestamp,
        Kind::Date,
        Kind::Time,
        Kind::Bytes,
        Kind::Enum(names),
        Kind::Uuid,
        Kind::Decimal,
        Kind::Json,
    ];
    for kind in &all {
        match kind {
            Kind::Bool | Kind::Integer { .. } | Kind::Float | Kind::Text | Kind::Timestamp => {}
            Kind::NaiveTimestamp | Kind::Date | Kind::Time | Kind::Bytes | Kind::Enum(_) => {}
            Kind::Uuid | Kind::Decimal | Kind::Json => {}
        }
    }
    all
}

/// A table of names by kinds. Two kinds of one name have one column.
fn table(first: &str, rows: &[&str], has: impl Fn(Kind, &str) -> bool) -> String {
    let mut columns: Vec<Kind> = Vec::new();
    for kind in kinds() {
        match columns.iter().find(|column| column.name() == kind.name()) {
            None => columns.push(kind),
            Some(column) => assert!(rows.iter().all(|row| has(kind, row) == has(*column, row))),
        }
    }
    let mut out = format!("| {first} |");
    for kind in &columns {
        write!(out, " {} |", kind.name()).unwrap();
    }
    out.push_str("\n|");
    out.push_str(&"---|".repeat(columns.len() + 1));
    for row in rows {
        write!(out, "\n| `{row}` |").unwrap();
        for kind in &columns {
            out.push_str(if has(*kind, row) { " ✓ |" } else { " |" });
        }
    }
    out.push('\n');
    out
}

#[track_caller]
fn assert_has(expected: &str) {
    assert!(DOC.contains(expected), "docs/lookups.md is to have:\n\n{expected}");
}

#[test]
fn the_document_says_which_lookups_a_kind_has() {
    let rows: Vec<&str> = Lookup::ALL.iter().map(|lookup| lookup.name()).collect();
    assert_has(&table("Lookup", &rows, |kind, row| {
        LookupSet::of_kind(kind).contains(Lookup::from_name(row).unwrap())
    }));
}

#[test]
fn the_document_says_which_parts_a_kind_has() {
    let rows: Vec<&str> = Part::ALL.iter().map(|part| part.name()).collect();
    assert_has(&table("Part", &rows, |kind, row| {
        LookupSet::of_kind(kind).contains_part(Part::from_name(row).unwrap())
    }));
    let lookups: Vec<String> = Part::LOOKUPS.iter().map(|lookup| format!("`{}`", lookup.name())).collect();
    assert_has(&format!("A part may be followed by {}.", lookups.join(", ")));
}

/// The rows of the table under a heading, as cells.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = DOC.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn every_lookup_has_its_meaning() {
    let documented: Vec<&str> = rows("Meaning").iter().map(|cells| cells[0].trim_matches('`')).collect();
    assert_eq!(documented, Lookup::ALL.iter().map(|lookup| lookup.name()).collect::<Vec<_>>());
    let documented: Vec<&str> = rows("Parts").iter().map(|cells| cells[0].trim_matches('`')).collect();
    let parts: Vec<&str> = Part::ALL.iter().map(|part| part.name()).collect();
    assert!(documented.ends_with(&parts), "{documented:?}");
}

#[test]
fn every_limit_is_that_of_the_code() {
    let limits = Limits::default();
    let documented: Vec<(&str, &str)> = rows("Limits").iter().map(|cells| (cells[0], cells[1])).collect();
    let expected = [
        ("`filter_predicates`", limits.filter_predicates),
        ("`filter_list`", limits.filter_list),
        ("`filter_pattern_bytes`", limits.filter_pattern_bytes),
        ("`filter_regexes`", limits.filter_regexes),
        ("`filter_regex_bytes`", limits.filter_regex_bytes),
        ("`filter_regex_nesting`", limits.filter_regex_nesting),
        ("`scanned_rows`", limits.scanned_rows),
        ("`page_rows`", limits.page_rows),
    ];
    let expected: Vec<(&str, String)> =
        expected.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    assert_eq!(documented, expected.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
}

/// What stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_argument_is_read_as_the_document_says() {
    let accepts = |descriptor: &'static Descriptor, key: &str, argument: Json| {
        parse(descriptor, [(key.to_owned(), RawArgument::Json(argument))], &Limits::default()).is_ok()
    };
    let mut seen = 0;
    for cells in rows("Arguments") {
        let [kind, in_json, as_text] = cells[..] else { panic!("three cells: {cells:?}") };
        let (descriptor, key) = match kind {
            "boolean" => (Note::DESCRIPTOR, "done"),
            "integer" => (Note::DESCRIPTOR, "rank"),
            "float" => (Note::DESCRIPTOR, "score"),
            "string" => (Note::DESCRIPTOR, "title"),
            "datetime" => (Note::DESCRIPTOR, "created"),
            "date" => (Moment::DESCRIPTOR, "day"),
            "time" => (Moment::DESCRIPTOR, "clock"),
            "bytes" => (Moment::DESCRIPTOR, "bytes"),
            "uuid" => (Paper::DESCRIPTOR, "key"),
            "decimal" => (Paper::DESCRIPTOR, "amount"),
            // The first is one of another enum, the second has words.
            "choice" | "json" => continue,
            other => panic!("{other} is a type"),
        };
        let (right, wrong) = in_json.split_once("not ").unwrap_or((in_json, ""));
        for (text, is_right) in
            spans(right).map(|text| (text, true)).chain(spans(wrong).map(|text| (text, false)))
        {
            let argument: Json = serde_json::from_str(text).unwrap();
            assert_eq!(accepts(descriptor, key, argument), is_right, "{kind}: {text}");
            seen += 1;
        }
        for text in spans(as_text) {
            assert!(accepts(descriptor, key, json!(text)), "{kind}: {text}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
    // What the paragraphs below the table say.
    for (key, argument, is_right) in [
        ("id", json!(9_007_199_254_740_993_i64), true),
        ("id", json!("9007199254740993.0"), true),
        ("id", json!(9_007_199_254_740_993.0), false),
        ("created", json!("9999-12-31T23:59:60Z"), true),
        ("created", json!("0000-01-01T00:00:00+01:00"), false),
    ] {
        assert_eq!(accepts(Note::DESCRIPTOR, key, argument.clone()), is_right, "{key}: {argument}");
    }
    assert!(!accepts(Paper::DESCRIPTOR, "amount", json!(0.123_456_789_012_345_6)));
}

fn sample(kind: Kind, lookup: Lookup) -> Json {
    let one = match kind {
        Kind::Bool => json!(true),
        Kind::Integer { .. } => json!(5),
        Kind::Float => json!(1.5),
        Kind::Text => json!("a"),
        Kind::Timestamp | Kind::NaiveTimestamp => json!("2026-01-31T12:00:00Z"),
        Kind::Date => json!("2026-01-31"),
        Kind::Time => json!("12:00"),
        Kind::Bytes => json!("YWJj"),
        Kind::Enum(names) => json!(names()[0]),
        Kind::Uuid => json!("67e55044-10b1-426f-9247-bb680e5fe0c8"),
        Kind::Decimal => json!("1.50"),
        Kind::Json => json!("red"),
    };
    match lookup {
        Lookup::In | Lookup::Range => json!([one, one]),
        Lookup::IsNull => json!(true),
        _ => one,
    }
}

/// The condition that a key becomes, and whether SQLite looks for it in an index of the column.
fn written(connection: &mut SqliteConnection, descriptor: &'static Descriptor, key: &str) -> (String, bool) {
    let positive = key.strip_prefix("not__").unwrap_or(key);
    let (field, rest) = positive.split_once("__").unwrap_or((positive, "exact"));
    let kind = descriptor.fields[descriptor.field_index(field).unwrap()].kind;
    let (part, lookup) = rest.split_once("__").unwrap_or((rest, "exact"));
    let argument = match (Part::from_name(part), Lookup::from_name(rest)) {
        (Some(Part::Date), _) => sample(Kind::Date, Lookup::from_name(lookup).unwrap()),
        (Some(_), _) => sample(Kind::Integer { min: 0, max: 1 }, Lookup::from_name(lookup).unwrap()),
        // A key path ends with its lookup.
        (None, None) => sample(kind, Lookup::from_name(rest.rsplit("__").next().unwrap()).unwrap()),
        (None, Some(lookup)) => sample(kind, lookup),
    };
    let entries = [(key.to_owned(), RawArgument::Json(argument))];
    let query = ListQuery::parse(descriptor, entries, &[], &Limits::default()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            log.lock().unwrap().push(query.to_string());
        }
    });
    let table = if std::ptr::eq(descriptor, Note::DESCRIPTOR) {
        Table::<Sqlite>::of::<Note>()
    } else if std::ptr::eq(descriptor, Paper::DESCRIPTOR) {
        Table::of::<Paper>()
    } else {
        Table::of::<Moment>()
    };
    let _ = model::page_of(connection, &table, query);
    connection.set_instrumentation(|_: InstrumentationEvent<'_>| {});
    let statements = seen.lock().unwrap();
    let count = statements.iter().find(|sql| sql.starts_with("SELECT count(*)")).expect("a count");
    let count = count.split(" -- binds").next().unwrap();
    let (_, condition) = count.split_once(" WHERE ").unwrap();
    let plan = diesel::sql_query(format!("EXPLAIN QUERY PLAN {count}")).load::<Step>(connection).unwrap();
    let condition = condition.strip_prefix('(').unwrap().strip_suffix(')').unwrap();
    (condition.replace('`', "\""), plan.iter().any(|step| step.detail.starts_with("SEARCH")))
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[test]
fn the_statements_are_those_of_the_document_and_use_an_index_where_it_says_so() {
    let mut connection = model::database();
    connection
        .batch_execute(
            "CREATE TABLE papers (key TEXT PRIMARY KEY NOT NULL, amount TEXT, tags TEXT);
             CREATE INDEX amounts ON papers (amount); CREATE INDEX tags_of_papers ON papers (tags);
             CREATE INDEX ranks ON notes (rank); CREATE INDEX scores ON notes (score);
             CREATE INDEX titles ON notes (title COLLATE BINARY); CREATE INDEX texts ON notes (text);
             CREATE INDEX done ON notes (done); CREATE INDEX moods ON notes (mood);
             CREATE INDEX created ON notes (created); CREATE INDEX edited ON notes (edited);
             CREATE INDEX days ON moments (day); CREATE INDEX clocks ON moments (clock);
             CREATE INDEX locals ON moments (local); CREATE INDEX bytes ON moments (bytes);",
        )
        .unwrap();
    let mut seen = BTreeSet::new();
    let mut wrong = String::new();
    for cells in rows("SQL on SQLite") {
        let [key, sql, index, cost] = cells[..] else { panic!("four cells: {cells:?}") };
        let key = key.trim_matches('`');
        let field = key.strip_prefix("not__").unwrap_or(key).split("__").next().unwrap();
        let descriptors = [Note::DESCRIPTOR, Moment::DESCRIPTOR, Paper::DESCRIPTOR];
        let descriptor =
            descriptors.into_iter().find(|descriptor| descriptor.field_index(field).is_some()).unwrap();
        let (written, uses_index) = written(&mut connection, descriptor, key);
        let expected =
            format!("| `{key}` | `{written}` | {} | {cost} |", if uses_index { "yes" } else { "no" });
        if format!("| `{key}` | {sql} | {index} | {cost} |") != expected {
            wrong.push_str(&expected);
            wrong.push('\n');
        }
        seen.extend(key.split("__").map(str::to_owned));
        seen.insert(descriptor.fields[descriptor.field_index(field).unwrap()].kind.name().to_owned());
    }
    assert!(wrong.is_empty(), "docs/lookups.md is to have:\n\n{wrong}");
    let names =
        Lookup::ALL.iter().map(|lookup| lookup.name()).chain(Part::ALL.iter().map(|part| part.name()));
    for name in names.chain(kinds().into_iter().map(Kind::name)) {
        assert!(seen.contains(name), "{name} is not among the statements");
    }
}
