//! What our filters answer, line by line beside what Django's lookups answer. The lines follow the reference that was
//! measured on Django 5.2: case and accents, NULL and odd values, dates, relations, JSON.
//!
//! `Same` is as Django answers on PostgreSQL, the most exact of its databases. Where ours is deliberately another answer
//! the line says why; what we do not offer is refused, never ignored.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "suite/model.rs"]
#[allow(dead_code, reason = "each test uses a part of the models")]
mod model;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use realtime_core::action::{self, Operation, Outcome, Request};
use realtime_core::change::ResourceId;
use realtime_core::filter::{RawArgument, parse};
use realtime_core::list::ListQuery;
use realtime_core::sql::Table;
use realtime_core::{Context, Limits, Principal, RealtimeResource, Row};
use serde_json::{Value as Json, json};

use self::Answer::{Refused, Rows};
use self::Django::{Different, Same};
use self::schema::{owners, people, topics};

mod schema {
    diesel::table! {
        people (id) {
            id -> BigInt,
            name -> Nullable<Text>,
            i -> Nullable<Integer>,
            flag -> Nullable<Bool>,
            d -> Nullable<Date>,
            dt -> Nullable<TimestamptzSqlite>,
            m -> Nullable<Json>,
        }
    }
    diesel::table! {
        owners (id) {
            id -> Integer,
            name -> Nullable<Text>,
            boss_id -> Nullable<Integer>,
        }
    }
    diesel::table! {
        topics (id) {
            id -> Integer,
            owner_id -> Nullable<Integer>,
        }
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = owners)]
#[realtime(lookups(all))]
struct Owner {
    id: i32,
    name: Option<String>,
    #[realtime(references = Owner)]
    boss_id: Option<i32>,
}

#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(lookups(all))]
struct Topic {
    id: i32,
    #[realtime(references = Owner)]
    owner_id: Option<i32>,
}

#[derive(Clone, Debug, Default, Insertable, RealtimeResource)]
#[diesel(table_name = people, check_for_backend(diesel::sqlite::Sqlite))]
#[realtime(lookups(all))]
struct Person {
    id: i64,
    name: Option<String>,
    i: Option<i32>,
    flag: Option<bool>,
    d: Option<NaiveDate>,
    dt: Option<DateTime<Utc>>,
    m: Option<Json>,
}

/// What we answer.
enum Answer {
    /// The rows, by the text of the field that the table is about.
    Rows(&'static [&'static str]),
    /// 400 with this code.
    Refused(&'static str),
}

/// How that stands to what Django answers.
enum Django {
    Same,
    Different(&'static str),
}

/// Django's query, ours, what we answer, and how it compares.
type Line = (&'static str, Json, Answer, Django);

fn entries(filter: &Json) -> Vec<(String, RawArgument)> {
    let members = filter.as_object().unwrap().iter();
    members.map(|(key, json)| (key.clone(), RawArgument::Json(json.clone()))).collect()
}

#[track_caller]
fn check(rows: &[Person], label: fn(&Person) -> String, lines: Vec<Line>) {
    let mut connection = model::database();
    connection
        .batch_execute(
            "CREATE TABLE people (id INTEGER PRIMARY KEY NOT NULL, name TEXT, i INTEGER, flag BOOLEAN, d DATE, dt TEXT,
             m TEXT)",
        )
        .unwrap();
    diesel::insert_into(people::table).values(rows).execute(&mut connection).unwrap();
    let table = Table::<Sqlite>::of::<Person>();
    let person = |row: &Row| (row.as_ref() as &dyn std::any::Any).downcast_ref::<Person>().unwrap().clone();
    for (django, filter, answer, verdict) in lines {
        let entries = entries(&filter);
        if let Different(reason) = verdict {
            assert!(reason.len() > 10, "{django}: a difference has a reason");
        }
        let parsed = parse(Person::DESCRIPTOR, entries.clone(), &Limits::default());
        let query = ListQuery::parse(Person::DESCRIPTOR, entries, &[], &Limits::default());
        match (parsed, query, answer) {
            (Ok(parsed), Ok(query), Rows(expected)) => {
                let in_memory: Vec<String> =
                    rows.iter().filter(|row| parsed.matches(*row)).map(label).collect();
                let by_sqlite: Vec<String> = model::page_of(&mut connection, &table, query)
                    .rows
                    .iter()
                    .map(|row| label(&person(row)))
                    .collect();
                assert_eq!(in_memory, expected, "in memory: {django}: {filter}");
                assert_eq!(by_sqlite, expected, "in SQLite: {django}: {filter}");
            }
            (Err(error), Err(other), Refused(code)) => {
                assert_eq!((error.status(), error.code().name()), (400, code), "{django}: {filter}");
                assert_eq!(error, other);
            }
            (Ok(_), _, Refused(_)) => panic!("{django}: {filter} is not refused"),
            (parsed, _, _) => panic!("{django}: {filter}: {:?}", parsed.err()),
        }
    }
}

const NAMES: &[Option<&str>] = &[
    Some("Ann"),
    Some("ann"),
    Some("ANN"),
    Some("Änn"),
    Some("änn"),
    Some("a_n"),
    Some("a%n"),
    Some("axn"),
    Some(""),
    None,
    Some("Ann "),
    Some("x\nann"),
    Some("ß"),
    Some("SS"),
    Some("İ"),
    Some("i"),
    Some("I"),
];

#[track_caller]
fn check_names(lines: Vec<Line>) {
    let rows: Vec<Person> = (1..)
        .zip(NAMES)
        .map(|(id, name)| Person { id, name: name.map(Into::into), ..Person::default() })
        .collect();
    check(&rows, |row| row.name.clone().unwrap_or_else(|| "NULL".into()), lines);
}

#[test]
#[rustfmt::skip]
fn case_and_accents() {
    check_names(vec![
        ("exact='ann'", json!({"name": "ann"}), Rows(&["ann"]), Same),
        ("iexact='ann'", json!({"name__iexact": "ann"}), Rows(&["Ann", "ann", "ANN"]), Same),
        ("contains='ann'", json!({"name__contains": "ann"}), Rows(&["ann", "x\nann"]), Same),
        ("startswith='ann'", json!({"name__startswith": "ann"}), Rows(&["ann"]), Same),
        ("endswith='ann'", json!({"name__endswith": "ann"}), Rows(&["ann", "x\nann"]), Same),
        ("icontains='ann'", json!({"name__icontains": "ann"}), Rows(&["Ann", "ann", "ANN", "Ann ", "x\nann"]), Same),
        ("istartswith='ann'", json!({"name__istartswith": "ann"}), Rows(&["Ann", "ann", "ANN", "Ann "]), Same),
        ("iendswith='ann'", json!({"name__iendswith": "ann"}), Rows(&["Ann", "ann", "ANN", "x\nann"]), Same),
        ("icontains='ÄN'", json!({"name__icontains": "ÄN"}), Rows(&["Änn", "änn"]), Same),
        ("iexact='ÄNN'", json!({"name__iexact": "ÄNN"}), Rows(&["Änn", "änn"]), Same),
        ("iexact='ss' vs ß", json!({"name__iexact": "ss"}), Rows(&["SS"]), Same),
        ("iexact='ẞ' vs ß", json!({"name__iexact": "ẞ"}), Rows(&["ß"]), Different("both sides are lower-cased, not upper-cased: UPPER leaves ß as it is on PostgreSQL")),
        ("exact='i'", json!({"name": "i"}), Rows(&["i"]), Same),
        ("iexact='i'", json!({"name__iexact": "i"}), Rows(&["i", "I"]), Same),
        ("iexact='i̇' vs İ", json!({"name__iexact": "i\u{307}"}), Rows(&["İ"]), Different("İ is lower-cased to two characters, as Unicode says; databases map one to one")),
        ("istartswith='I'", json!({"name__istartswith": "I"}), Rows(&["İ", "i", "I"]), Different("the lower case of İ begins with i; databases map one to one")),
        ("contains='_'", json!({"name__contains": "_"}), Rows(&["a_n"]), Same),
        ("contains='%'", json!({"name__contains": "%"}), Rows(&["a%n"]), Same),
        ("icontains='A_N'", json!({"name__icontains": "A_N"}), Rows(&["a_n"]), Same),
        ("endswith=' '", json!({"name__endswith": " "}), Rows(&["Ann "]), Same),
        ("regex='ann'", json!({"name__regex": "ann"}), Rows(&["ann", "x\nann"]), Same),
        ("iregex='Ä'", json!({"name__iregex": "Ä"}), Rows(&["Änn", "änn"]), Same),
        (r"regex='\bann'", json!({"name__regex": r"\bann"}), Rows(&["ann", "x\nann"]), Different("\\b is a word boundary on every database, not only on SQLite and MariaDB")),
        (r"regex='^\w+$'", json!({"name__regex": r"^\w+$"}), Rows(&["Ann", "ann", "ANN", "Änn", "änn", "a_n", "axn", "ß", "SS", "İ", "i", "I"]), Same),
        ("regex='(?i)ann'", json!({"name__regex": "(?i)ann"}), Rows(&["Ann", "ann", "ANN", "Ann ", "x\nann"]), Same),
        ("regex='^ann'", json!({"name__regex": "^ann"}), Rows(&["ann"]), Same),
        ("regex='['", json!({"name__regex": "["}), Refused("validation_error"), Different("refused with a 400 before the database is asked, where Django answers 500")),
        (r"regex='(a)\1'", json!({"name__regex": r"(a)\1"}), Refused("validation_error"), Different("no back references: the time of a match is linear in the text")),
        ("regex='(?=a)'", json!({"name__regex": "(?=a)"}), Refused("validation_error"), Different("no look-around: the time of a match is linear in the text")),
        ("gt='a'", json!({"name__gt": "a"}), Rows(&["ann", "Änn", "änn", "a_n", "a%n", "axn", "x\nann", "ß", "İ", "i"]), Different("by code point everywhere, where PostgreSQL asks its locale")),
        ("lt='B'", json!({"name__lt": "B"}), Rows(&["Ann", "ANN", "", "Ann "]), Different("by code point everywhere, where PostgreSQL asks its locale")),
        ("range=('A', 'B')", json!({"name__range": ["A", "B"]}), Rows(&["Ann", "ANN", "Ann "]), Different("by code point everywhere, where PostgreSQL asks its locale")),
    ]);
}

#[test]
#[rustfmt::skip]
fn null_and_odd_values_of_text() {
    let all_but = |left_out: &[Option<&str>]| -> &'static [&'static str] {
        let kept: Vec<&str> = NAMES.iter().filter(|name| !left_out.contains(name)).map(|name| name.unwrap_or("NULL")).collect();
        Vec::leak(kept)
    };
    check_names(vec![
        ("name=None", json!({"name": null}), Rows(&["NULL"]), Same),
        ("name__isnull=True", json!({"name__isnull": true}), Rows(&["NULL"]), Same),
        ("name__isnull=False", json!({"name__isnull": false}), Rows(all_but(&[None])), Same),
        ("name__iexact=None", json!({"name__iexact": null}), Refused("validation_error"), Different("null is an argument of exact only: one way to ask for NULL")),
        ("name__contains=None", json!({"name__contains": null}), Refused("validation_error"), Same),
        ("name__gt=None", json!({"name__gt": null}), Refused("validation_error"), Same),
        ("name__regex=None", json!({"name__regex": null}), Refused("validation_error"), Same),
        ("name__in=['Ann', None]", json!({"name__in": ["Ann", null]}), Refused("validation_error"), Different("NULL in a list is refused rather than dropped: it would never match")),
        ("name__in=[]", json!({"name__in": []}), Rows(&[]), Same),
        ("exclude(name__in=[])", json!({"not__name__in": []}), Rows(all_but(&[])), Same),
        ("name__in='Ann'", json!({"name__in": "Ann"}), Refused("validation_error"), Different("a text is no list, where Django takes its characters")),
        ("name__in=5", json!({"name__in": 5}), Refused("validation_error"), Same),
        ("name__in=None", json!({"name__in": null}), Refused("validation_error"), Same),
        ("name__isnull='true'", json!({"name__isnull": "true"}), Rows(&["NULL"]), Different("values may be given as text, so that a query string means the same as JSON")),
        ("name__isnull=1", json!({"name__isnull": 1}), Refused("validation_error"), Same),
        ("name__range=('b', 'a')", json!({"name__range": ["b", "a"]}), Rows(&[]), Same),
        ("name__range=('a',)", json!({"name__range": ["a"]}), Refused("validation_error"), Same),
        ("name__range=(None, 'x')", json!({"name__range": [null, "x"]}), Refused("validation_error"), Different("NULL in a list is refused, where Django selects nothing")),
        ("name__contains=''", json!({"name__contains": ""}), Rows(all_but(&[None])), Same),
        ("name__startswith=''", json!({"name__startswith": ""}), Rows(all_but(&[None])), Same),
        ("name__regex=''", json!({"name__regex": ""}), Rows(all_but(&[None])), Same),
        ("name=''", json!({"name": ""}), Rows(&[""]), Same),
        ("exclude(name='Ann')", json!({"not__name": "Ann"}), Rows(all_but(&[Some("Ann")])), Same),
        ("exclude(name=None)", json!({"not__name": null}), Rows(all_but(&[None])), Same),
        ("name=5", json!({"name": 5}), Refused("validation_error"), Different("a number is no text, where Django writes it as one")),
        ("name='a\\0'", json!({"name": "a\0"}), Rows(&[]), Different("selects nothing, where PostgreSQL fails: it has no U+0000")),
        ("zzz=1", json!({"zzz": 1}), Refused("unknown_field"), Same),
        ("name__zzz=1", json!({"name__zzz": 1}), Refused("unknown_lookup"), Same),
    ]);
}

#[test]
#[rustfmt::skip]
fn odd_values_of_numbers_and_booleans() {
    let rows: Vec<Person> = (1..)
        .zip([Some(1), Some(2), Some(5), None])
        .map(|(id, i)| Person { id, i, flag: i.map(|i| i == 1), ..Person::default() })
        .collect();
    check(&rows, |row| row.i.map_or_else(|| "NULL".into(), |i| i.to_string()), vec![
        ("i='1'", json!({"i": "1"}), Rows(&["1"]), Same),
        ("i=' 1 '", json!({"i": " 1 "}), Refused("validation_error"), Different("an integer has one form; spaces are not part of it")),
        ("i=1.0", json!({"i": 1.0}), Rows(&["1"]), Same),
        ("i=True", json!({"i": true}), Refused("validation_error"), Different("a boolean is no number")),
        ("i='1.0'", json!({"i": "1.0"}), Rows(&["1"]), Different("1.0 is an integer in JSON, and a query string means the same")),
        ("i='x'", json!({"i": "x"}), Refused("validation_error"), Same),
        ("i=''", json!({"i": ""}), Refused("validation_error"), Same),
        ("i=[1]", json!({"i": [1]}), Refused("validation_error"), Same),
        ("i=1.5", json!({"i": 1.5}), Refused("validation_error"), Different("no integer is 1.5; Django truncates it and finds 1")),
        ("i__gte=4.5", json!({"i__gte": 4.5}), Refused("validation_error"), Different("integer arguments must be integers; Django rounds up")),
        ("i=2**70", json!({"i": "1180591620717411303424"}), Rows(&[]), Same),
        ("i__lt=4.5", json!({"i__lt": 4.5}), Refused("validation_error"), Different("integer arguments must be integers; Django rounds up")),
        ("i__lt=2**70", json!({"i__lt": "1180591620717411303424"}), Rows(&["1", "2", "5"]), Different("NULL satisfies no comparison, an always true one included")),
        ("i__gt=-2**70", json!({"i__gt": "-1180591620717411303424"}), Rows(&["1", "2", "5"]), Different("NULL satisfies no comparison, an always true one included")),
        ("i__gt=2**70", json!({"i__gt": "1180591620717411303424"}), Rows(&[]), Same),
        ("i__in=[1, 2**70]", json!({"i__in": [1, "1180591620717411303424"]}), Rows(&["1"]), Same),
        ("exclude(i__gt=1)", json!({"not__i__gt": 1}), Rows(&["1", "NULL"]), Same),
        ("i__range=(1, 2)", json!({"i__range": [1, 2]}), Rows(&["1", "2"]), Same),
        ("i__contains=5", json!({"i__contains": 5}), Refused("unknown_lookup"), Different("lookups of text are for text; it would scan every row")),
        ("i__regex='5'", json!({"i__regex": "5"}), Refused("unknown_lookup"), Different("lookups of text are for text; it would scan every row")),
        ("flag=True", json!({"flag": true}), Rows(&["1"]), Same),
        ("flag='True'", json!({"flag": "True"}), Refused("validation_error"), Different("a boolean is spelled as in JSON: true and false")),
        ("flag='true'", json!({"flag": "true"}), Rows(&["1"]), Different("a boolean is spelled as in JSON; Django refuses that one")),
        ("flag='t'", json!({"flag": "t"}), Refused("validation_error"), Different("a boolean is spelled as in JSON: true and false")),
        ("flag=1", json!({"flag": 1}), Refused("validation_error"), Different("a number is no boolean")),
        ("flag='yes'", json!({"flag": "yes"}), Refused("validation_error"), Same),
        ("exclude(flag=True)", json!({"not__flag": true}), Rows(&["2", "5", "NULL"]), Same),
        ("flag__gt=False", json!({"flag__gt": false}), Refused("unknown_lookup"), Different("booleans have no order that anybody asks for")),
    ]);
}

#[test]
#[rustfmt::skip]
fn dates_and_their_parts() {
    let times = ["2023-12-31T23:30:00Z", "2024-01-01T03:00:00Z", "2024-02-29T12:00:00Z", "2024-12-30T00:00:00Z"];
    let mut rows: Vec<Person> = (1..)
        .zip(times)
        .map(|(id, text)| {
            let dt: DateTime<Utc> = text.parse().unwrap();
            Person { id, dt: Some(dt), d: Some(dt.date_naive()), ..Person::default() }
        })
        .collect();
    rows.push(Person { id: 5, ..Person::default() });
    let label = |row: &Person| row.dt.map_or_else(|| "NULL".into(), |dt| dt.format("%Y-%m-%d").to_string());
    let zone = "parts are in UTC, where Django asks the current zone";
    check(&rows, label, vec![
        ("d__week_day=1 (Sunday)", json!({"d__week_day": 1}), Rows(&["2023-12-31"]), Same),
        ("d__week_day=2 (Monday)", json!({"d__week_day": 2}), Rows(&["2024-01-01", "2024-12-30"]), Same),
        ("d__iso_week_day=7", json!({"d__iso_week_day": 7}), Refused("unknown_lookup"), Different("weeks of ISO are a calendar of their own: a range of dates says the same")),
        ("d__week=1", json!({"d__week": 1}), Refused("unknown_lookup"), Different("weeks of ISO are a calendar of their own: a range of dates says the same")),
        ("d__iso_year=2025", json!({"d__iso_year": 2025}), Refused("unknown_lookup"), Different("weeks of ISO are a calendar of their own: a range of dates says the same")),
        ("dt__second=0", json!({"dt__second": 0}), Refused("unknown_lookup"), Different("what is finer than a minute is asked for as a range of the timestamp")),
        ("dt__time='12:00'", json!({"dt__time": "12:00"}), Refused("unknown_lookup"), Different("what is finer than a minute is asked for as a range of the timestamp")),
        ("d__quarter=4", json!({"d__quarter": 4}), Rows(&["2023-12-31", "2024-12-30"]), Same),
        ("d__year=2024", json!({"d__year": 2024}), Rows(&["2024-01-01", "2024-02-29", "2024-12-30"]), Same),
        ("d__month=12", json!({"d__month": 12}), Rows(&["2023-12-31", "2024-12-30"]), Same),
        ("d__day=29", json!({"d__day": 29}), Rows(&["2024-02-29"]), Same),
        ("d__year__in=[2023]", json!({"d__year__in": [2023]}), Rows(&["2023-12-31"]), Same),
        ("d__year__range=(2023, 2024)", json!({"d__year__range": [2023, 2024]}), Rows(&["2023-12-31", "2024-01-01", "2024-02-29", "2024-12-30"]), Same),
        ("dt__year__gte=2024, zone UTC", json!({"dt__year__gte": 2024}), Rows(&["2024-01-01", "2024-02-29", "2024-12-30"]), Same),
        ("dt__year=2023, zone New York", json!({"dt__year": 2023}), Rows(&["2023-12-31"]), Different(zone)),
        ("dt__hour=3, zone New York", json!({"dt__hour": 3}), Rows(&["2024-01-01"]), Different(zone)),
        ("dt__minute=30", json!({"dt__minute": 30}), Rows(&["2023-12-31"]), Same),
        ("dt__date='2024-01-01'", json!({"dt__date": "2024-01-01"}), Rows(&["2024-01-01"]), Same),
        ("dt__date__gt='2024-01-01'", json!({"dt__date__gt": "2024-01-01"}), Rows(&["2024-02-29", "2024-12-30"]), Same),
        ("exclude(dt__year=2024)", json!({"not__dt__year": 2024}), Rows(&["2023-12-31", "NULL"]), Same),
        ("dt__year__contains='23'", json!({"dt__year__contains": "23"}), Refused("unknown_lookup"), Different("a part is a number, and a number has no lookups of text")),
        ("dt__year__isnull=True", json!({"dt__year__isnull": true}), Refused("unknown_lookup"), Different("a part is NULL where the timestamp is: ask dt__isnull")),
        ("dt__year='2024'", json!({"dt__year": "2024"}), Rows(&["2024-01-01", "2024-02-29", "2024-12-30"]), Same),
        ("dt__year=2024.5", json!({"dt__year": 2024.5}), Refused("validation_error"), Different("integer arguments must be integers; Django truncates")),
        ("d__date='2024-01-01'", json!({"d__date": "2024-01-01"}), Refused("unknown_lookup"), Same),
        ("d__hour=0", json!({"d__hour": 0}), Refused("unknown_lookup"), Same),
        ("d='2024-2-29'", json!({"d": "2024-2-29"}), Refused("validation_error"), Different("a date has one form, that of RFC 3339")),
        ("d='2024-02-30'", json!({"d": "2024-02-30"}), Refused("validation_error"), Same),
        ("dt='2024-02-29T13:00:00+01:00'", json!({"dt": "2024-02-29T13:00:00+01:00"}), Rows(&["2024-02-29"]), Same),
        ("dt__range=('2024-01-01', '2024-02-29')", json!({"dt__range": ["2024-01-01", "2024-02-29"]}), Rows(&["2024-01-01"]), Same),
        ("d__range=('2024-01-01', '2024-02-29')", json!({"d__range": ["2024-01-01", "2024-02-29"]}), Rows(&["2024-01-01", "2024-02-29"]), Same),
        ("dt__startswith='2024-01'", json!({"dt__startswith": "2024-01"}), Refused("unknown_lookup"), Different("a timestamp is no text: what it would begin with depends on how it is stored")),
    ]);
}

/// Relations are for lists: a subscription that names one is refused, so that memory has nothing to decide.
#[test]
#[rustfmt::skip]
fn relations() {
    let mut connection = model::database();
    connection
        .batch_execute(
            "CREATE TABLE owners (id INTEGER PRIMARY KEY NOT NULL, name TEXT, boss_id INTEGER);
             CREATE TABLE topics (id INTEGER PRIMARY KEY NOT NULL, owner_id INTEGER);
             INSERT INTO owners VALUES (1, 'Ann', 2), (2, 'Bob', NULL), (3, NULL, NULL);
             INSERT INTO topics VALUES (1, 1), (2, 2), (3, 3), (4, NULL);",
        )
        .unwrap();
    let one_table = "a filter leads across one relation: what it asks of a table, a list of that table can ask";
    let backwards = "a filter leads from a key to the row that it names, not back: ask the other stream, by this one's key";
    let column = "a column has one name: owner_id";
    let lines: Vec<Line> = vec![
        ("owner=1", json!({"owner": 1}), Refused("unknown_field"), Different(column)),
        ("owner_id=1", json!({"owner_id": 1}), Rows(&["1"]), Same),
        ("owner__pk=1", json!({"owner__pk": 1}), Rows(&["1"]), Same),
        ("owner__id=1", json!({"owner__id": 1}), Rows(&["1"]), Same),
        ("pk=1", json!({"pk": 1}), Rows(&["1"]), Same),
        ("owner_id__in=[1, 2]", json!({"owner_id__in": [1, 2]}), Rows(&["1", "2"]), Same),
        ("owner__gt=1", json!({"owner__gt": 1}), Refused("unknown_field"), Different(column)),
        ("owner_id__gt=1", json!({"owner_id__gt": 1}), Rows(&["2", "3"]), Same),
        ("owner__isnull=True", json!({"owner__isnull": true}), Refused("unknown_field"), Different(column)),
        ("owner_id__isnull=True", json!({"owner_id__isnull": true}), Rows(&["4"]), Same),
        ("owner__startswith='1'", json!({"owner__startswith": "1"}), Refused("unknown_field"), Same),
        ("owner__name__istartswith='a'", json!({"owner__name__istartswith": "a"}), Rows(&["1"]), Same),
        ("owner__boss__name='Bob'", json!({"owner__boss__name": "Bob"}), Refused("unknown_field"), Different(one_table)),
        ("owner__name__isnull=True", json!({"owner__name__isnull": true}), Rows(&["3"]), Different("a row without an owner has no owner whose name is NULL: owner_id__isnull asks for it")),
        ("owner__name=None", json!({"owner__name": null}), Rows(&["3"]), Different("a row without an owner has no owner whose name is NULL: owner_id__isnull asks for it")),
        ("exclude(owner__name='Ann')", json!({"not__owner__name": "Ann"}), Rows(&["2", "3", "4"]), Same),
        ("filter(c__text='x', c__score=5)", json!({"c__text": "x", "c__score": 5}), Refused("unknown_field"), Different(backwards)),
        ("filter(c__text='x').filter(c__score=5)", json!({"c__score": 5}), Refused("unknown_field"), Different(backwards)),
        ("filter(comments__score__gte=1)", json!({"comments__score__gte": 1}), Refused("unknown_field"), Different(backwards)),
        ("exclude(comments__text='x')", json!({"not__comments__text": "x"}), Refused("unknown_field"), Different(backwards)),
        ("exclude(comments__text='x', comments__score=5)", json!({"not__comments__text": "x", "not__comments__score": 5}), Refused("unknown_field"), Different(backwards)),
        ("comments__isnull=True", json!({"comments__isnull": true}), Refused("unknown_field"), Different(backwards)),
    ];
    let tables = [Table::<Sqlite>::of::<Topic>(), Table::of::<Owner>()];
    let principal = Principal::anonymous();
    let context = Context { principal: &principal, now: model::time("2026-02-03T04:05:06Z") };
    for (django, filter, answer, verdict) in lines {
        if let Different(reason) = verdict {
            assert!(reason.len() > 10, "{django}: a difference has a reason");
        }
        match (ListQuery::parse(Topic::DESCRIPTOR, entries(&filter), &[], &Limits::default()), answer) {
            (Ok(query), Rows(expected)) => {
                let request = Request::new(ResourceId(0), Operation::List(Box::new(query)));
                let listed = model::now(action::run(&mut model::Direct(&mut connection), &tables, &request, &context));
                let Ok(Outcome::Page(page)) = listed else { panic!("{django}: a list is answered with a page") };
                let keys: Vec<String> = page.rows.iter().map(|row| row.value(0).to_json().to_string()).collect();
                assert_eq!(keys, expected, "{django}: {filter}");
            }
            (Err(error), Refused(code)) => assert_eq!((error.status(), error.code().name()), (400, code), "{django}"),
            (Ok(_), Refused(_)) => panic!("{django}: {filter} is not refused"),
            (Err(error), Rows(_)) => panic!("{django}: {filter}: {error}"),
        }
    }
}

#[test]
#[rustfmt::skip]
fn json_fields() {
    let documents = [
        Some(json!({"a": 1, "b": null, "c": {"d": "Hello"}})),
        Some(json!({"a": 1.0})),
        Some(json!({"a": "1"})),
        Some(json!({"a": 5, "c": {"d": "hello"}})),
        Some(json!([1, "a"])),
        Some(json!(null)),
        None,
    ];
    let rows: Vec<Person> =
        (1..).zip(documents).map(|(id, m)| Person { id, m, ..Person::default() }).collect();
    let label = |row: &Person| row.m.as_ref().map_or_else(|| "NULL".into(), Json::to_string);
    let [one, float, text, five, list] =
        [r#"{"a":1,"b":null,"c":{"d":"Hello"}}"#, r#"{"a":1.0}"#, r#"{"a":"1"}"#, r#"{"a":5,"c":{"d":"hello"}}"#, r#"[1,"a"]"#];
    let rows_of = |labels: &[&'static str]| Rows(Vec::leak(labels.to_vec()));
    let is_a_key = "a key path may have any key: this one is none of ours, ask m__a__isnull=false";
    let whole = "documents are not compared as wholes: each key is asked for";
    check(&rows, label, vec![
        ("m__a=1", json!({"m__a": 1}), rows_of(&[one, float]), Same),
        ("m__a='1'", json!({"m__a": "1"}), rows_of(&[text]), Same),
        ("m__b=None", json!({"m__b": null}), rows_of(&[one]), Same),
        ("m__b__isnull=True", json!({"m__b__isnull": true}), rows_of(&[float, text, five, list, "null", "NULL"]), Same),
        ("m__b__isnull=False", json!({"m__b__isnull": false}), rows_of(&[one]), Same),
        ("m=None", json!({"m": null}), Refused("unknown_lookup"), Different(whole)),
        ("m__isnull=True", json!({"m__isnull": true}), rows_of(&["NULL"]), Same),
        ("m__a__gt=0", json!({"m__a__gt": 0}), rows_of(&[one, float, five]), Same),
        ("m__c__d__startswith='H'", json!({"m__c__d__startswith": "H"}), rows_of(&[one]), Same),
        ("m__c__d='hello'", json!({"m__c__d": "hello"}), rows_of(&[five]), Same),
        ("m__has_key='a'", json!({"m__has_key": "a"}), rows_of(&[]), Different(is_a_key)),
        ("m__has_keys=['a']", json!({"m__has_keys": ["a"]}), Refused("validation_error"), Different(is_a_key)),
        ("m__has_any_keys=['a']", json!({"m__has_any_keys": ["a"]}), Refused("validation_error"), Different(is_a_key)),
        ("m__contains={'a': 1}", json!({"m__contains": {"a": 1}}), Refused("unknown_lookup"), Different(whole)),
        ("m__contained_by={}", json!({"m__contained_by": {}}), Refused("validation_error"), Different(whole)),
        ("m__0=1", json!({"m__0": 1}), rows_of(&[list]), Same),
        ("m='a'", json!({"m": "a"}), Refused("unknown_lookup"), Different(whole)),
        ("m=5", json!({"m": 5}), Refused("unknown_lookup"), Different(whole)),
        ("m={}", json!({"m": {}}), Refused("unknown_lookup"), Different(whole)),
        ("m__c={'d': 'Hello'}", json!({"m__c": {"d": "Hello"}}), Refused("validation_error"), Different(whole)),
    ]);
}
