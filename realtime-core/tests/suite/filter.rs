//! Filters: what they mean, and that memory and SQLite mean the same.

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::sqlite::Sqlite;
use proptest::prelude::*;
use realtime_core::filter::{Filter, RawArgument, parse};
use realtime_core::list::ListQuery;
use realtime_core::sql::Table;
use realtime_core::types::UtcTimestamp;
use realtime_core::{Descriptor, Error, FieldDescriptor, Kind, Limits, Lists, Part, RealtimeResource, Row};
use serde_json::{Map, Value as Json, json};

use crate::model::{
    Moment, Note, Tag, all, database, descriptor, insert, key_of, object_of, page, page_of, time,
};
use crate::random;

type Entries = Vec<(String, RawArgument)>;

fn from_json(entries: &[(String, Json)]) -> Entries {
    entries.iter().map(|(key, json)| (key.clone(), RawArgument::Json(json.clone()))).collect()
}

fn members(filter: &Json) -> Vec<(String, Json)> {
    let members: Map<String, Json> = filter.as_object().unwrap().clone();
    members.into_iter().collect()
}

#[track_caller]
fn parsed(filter: &Json) -> Filter {
    parse(descriptor(), from_json(&members(filter)), &Limits::default()).unwrap()
}

fn refused_in(descriptor: &Descriptor, entries: Entries, limits: &Limits) -> Error {
    parse(descriptor, entries, limits).expect_err("refused")
}

fn selected_in_memory(filter: &Filter, rows: &[Row]) -> Vec<i64> {
    rows.iter().filter(|row| filter.matches(row.as_ref())).map(key_of).collect()
}

fn selected_by_sqlite(connection: &mut diesel::SqliteConnection, entries: Entries) -> Vec<i64> {
    let options = [("limit".to_owned(), json!(1000))];
    let query = ListQuery::parse(descriptor(), entries, &options, &Limits::default()).unwrap();
    let page = page(connection, query);
    assert_eq!(page.count, Some(page.rows.len() as u64), "the count is that of the rows");
    page.rows.iter().map(key_of).collect()
}

/// Whatever a filter selects of these rows, it selects in memory and in SQLite.
#[track_caller]
fn check(rows: &[Note], cases: &[(Json, &[i64])]) {
    let mut connection = database();
    insert(&mut connection, rows);
    check_rows(&mut connection, cases);
}

#[track_caller]
fn check_rows(connection: &mut diesel::SqliteConnection, cases: &[(Json, &[i64])]) {
    let rows = all(connection);
    for (filter, expected) in cases {
        assert_eq!(selected_in_memory(&parsed(filter), &rows), *expected, "in memory: {filter}");
        let entries = from_json(&members(filter));
        assert_eq!(selected_by_sqlite(connection, entries), *expected, "in SQLite: {filter}");
    }
}

fn titled(titles: &[&str]) -> Vec<Note> {
    (1..).zip(titles).map(|(id, title)| Note { title: (*title).into(), ..Note::plain(id) }).collect()
}

fn ranked(ranks: &[i32]) -> Vec<Note> {
    (1..).zip(ranks).map(|(id, rank)| Note { rank: *rank, ..Note::plain(id) }).collect()
}

#[test]
fn text_is_compared_with_its_case_unless_the_lookup_says_otherwise() {
    // The column's own collation has no case, and LIKE has none for ASCII.
    check(
        &titled(&["apple", "Apple", "APPLE", "pineapple", "apples"]),
        &[
            (json!({"title": "apple"}), &[1]),
            (json!({"title__in": ["apple", "APPLE"]}), &[1, 3]),
            (json!({"title__contains": "apple"}), &[1, 4, 5]),
            (json!({"title__startswith": "Ap"}), &[2]),
            (json!({"title__endswith": "LE"}), &[3]),
            (json!({"title__iexact": "aPPle"}), &[1, 2, 3]),
            (json!({"title__icontains": "PPL"}), &[1, 2, 3, 4, 5]),
            (json!({"title__istartswith": "APPL"}), &[1, 2, 3, 5]),
            (json!({"title__iendswith": "apple"}), &[1, 2, 3, 4]),
            (json!({"name": "aP"}), &[1, 2, 3, 5]),
            (json!({"title__gt": "Apple"}), &[1, 4, 5]),
            (json!({"title__lte": "Apple"}), &[2, 3]),
            (json!({"title__range": ["APPLE", "Apple"]}), &[2, 3]),
        ],
    );
}

#[test]
fn case_is_folded_character_by_character_and_without_a_locale() {
    check(
        &titled(&[
            "Straße",
            "STRASSE",
            "STRAẞE",
            "ΣΟΦΟΣ",
            "σοφος",
            "σοφοσ",
            "İ",
            "i",
            "ı",
            "I",
            "É",
            "E\u{301}",
        ]),
        &[
            (json!({"title__iexact": "straße"}), &[1, 3]),
            (json!({"title__iexact": "STRAẞE"}), &[1, 3]),
            (json!({"title__iexact": "strasse"}), &[2]),
            (json!({"title__iexact": "σοφοσ"}), &[4, 5, 6]),
            (json!({"title__iendswith": "Σ"}), &[4, 5, 6]),
            (json!({"title__iendswith": "ς"}), &[4, 5, 6]),
            (json!({"title__endswith": "ς"}), &[5]),
            (json!({"title__icontains": "οφ"}), &[4, 5, 6]),
            (json!({"title__iexact": "i"}), &[8, 10]),
            (json!({"title__iexact": "i\u{307}"}), &[7]),
            (json!({"title__istartswith": "I"}), &[7, 8, 10]),
            (json!({"title__iexact": "ı"}), &[9]),
            (json!({"title__iexact": "é"}), &[11]),
            (json!({"title__iexact": "e\u{301}"}), &[12]),
        ],
    );
}

#[test]
fn what_like_and_glob_make_something_of_is_plain_text() {
    check(
        &titled(&["100%", "100", "a_b", "axb", "a*b", "a?b", "a\\b", "a!b", "[ab]", "it's", "\"q\""]),
        &[
            (json!({"title__contains": "%"}), &[1]),
            (json!({"title__startswith": "100%"}), &[1]),
            (json!({"title__contains": "_"}), &[3]),
            (json!({"title__icontains": "A_B"}), &[3]),
            (json!({"title__contains": "*"}), &[5]),
            (json!({"title__contains": "?"}), &[6]),
            (json!({"title__endswith": "\\b"}), &[7]),
            (json!({"title__contains": "!"}), &[8]),
            (json!({"title__startswith": "[ab"}), &[9]),
            (json!({"title": "it's"}), &[10]),
            (json!({"title__contains": "\""}), &[11]),
        ],
    );
}

#[test]
fn spaces_count_and_the_empty_text_is_in_every_text() {
    let mut rows = titled(&["a", "a ", " a", "", " "]);
    rows[0].body = Some(String::new());
    check(
        &rows,
        &[
            (json!({"title": "a"}), &[1]),
            (json!({"title": "a "}), &[2]),
            (json!({"title": ""}), &[4]),
            (json!({"title__contains": ""}), &[1, 2, 3, 4, 5]),
            (json!({"title__endswith": " "}), &[2, 5]),
            (json!({"body__contains": ""}), &[1]),
            (json!({"body__iendswith": ""}), &[1]),
            (json!({"body": ""}), &[1]),
            (json!({"not__body__startswith": ""}), &[2, 3, 4, 5]),
        ],
    );
}

#[test]
fn null_satisfies_nothing_but_isnull_and_every_negation() {
    let mut rows = ranked(&[1, 2, 3]);
    rows[0].body = Some("x".into());
    rows[1].body = Some("y".into());
    rows[0].score = Some(1.0);
    check(
        &rows,
        &[
            (json!({"body": "x"}), &[1]),
            (json!({"not__body": "x"}), &[2, 3]),
            (json!({"body": null}), &[3]),
            (json!({"not__body": null}), &[1, 2]),
            (json!({"body__isnull": true}), &[3]),
            (json!({"body__isnull": "false"}), &[1, 2]),
            (json!({"has_body": false}), &[1, 2]),
            (json!({"not__has_body": true}), &[1, 2]),
            (json!({"not__body__in": ["x", "y"]}), &[3]),
            (json!({"body__in": []}), &[]),
            (json!({"not__body__in": []}), &[1, 2, 3]),
            (json!({"body__gte": ""}), &[1, 2]),
            (json!({"not__body__gte": ""}), &[3]),
            (json!({"score__lt": 5}), &[1]),
            (json!({"not__score__lt": 5}), &[2, 3]),
            (json!({"not__body__icontains": "X"}), &[2, 3]),
            (json!({"rank__isnull": true}), &[]),
            (json!({"rank": null}), &[]),
            (json!({"not__rank": null}), &[1, 2, 3]),
        ],
    );
}

#[test]
fn an_integer_beyond_its_column_is_compared_as_the_number_it_is() {
    let (min, max) = (i64::from(i32::MIN), i64::from(i32::MAX));
    check(
        &ranked(&[i32::MIN, 0, i32::MAX]),
        &[
            (json!({"rank": max}), &[3]),
            (json!({"rank": max + 1}), &[]),
            (json!({"not__rank": max + 1}), &[1, 2, 3]),
            (json!({"rank__in": [max + 1, 0, "-99999999999999999999999999999999999999999999"]}), &[2]),
            (json!({"rank__gt": max + 1}), &[]),
            (json!({"rank__lt": max + 1}), &[1, 2, 3]),
            (json!({"rank__gte": min - 1}), &[1, 2, 3]),
            (json!({"rank__lte": min - 1}), &[]),
            (json!({"not__rank__lte": min - 1}), &[1, 2, 3]),
            (json!({"rank__range": [min - 1, 0]}), &[1, 2]),
            (json!({"rank__range": [0, 1e300]}), &[2, 3]),
            (json!({"rank__range": [1, 0]}), &[]),
            (
                json!({"rank__range": ["-1e5".replace("1e5", "100000000000000000000"), "100000000000000000000"]}),
                &[1, 2, 3],
            ),
            (json!({"rank": 0.0}), &[2]),
            (json!({"rank": "-0"}), &[2]),
            (json!({"rank": "-0.0"}), &[2]),
            (json!({"rank": "0e5"}), &[2]),
            (json!({"rank": "2147483647.000"}), &[3]),
            (json!({"rank__gte": "21474836.47e2"}), &[3]),
            (json!({"rank": "2147483648.0"}), &[]),
            (json!({"at_least": "0"}), &[2, 3]),
        ],
    );
    let keys = [i64::MIN, 9_007_199_254_740_992, 9_007_199_254_740_993, i64::MAX];
    check(
        &keys.map(Note::plain),
        &[
            (json!({"pk": "9007199254740993"}), &[keys[2]]),
            (json!({"pk": "9007199254740993.0"}), &[keys[2]]),
            (json!({"id__lt": "9223372036854775808.0"}), &keys),
            (json!({"id__lt": 9_223_372_036_854_777_856.0}), &keys),
            (json!({"id": 9_007_199_254_740_992_i64}), &[keys[1]]),
            (json!({"id__gt": 9_007_199_254_740_992_i64}), &[keys[2], keys[3]]),
            (json!({"ids": ["-9223372036854775808", 9_223_372_036_854_775_807_i64]}), &[keys[0], keys[3]]),
            (json!({"id__gte": 9_223_372_036_854_775_808_u64}), &[]),
            (json!({"id__lt": 9_223_372_036_854_775_808_u64}), &keys),
        ],
    );
}

#[test]
fn nan_equals_itself_and_orders_last() {
    let scores = [f64::NAN, f64::INFINITY, f64::MAX, -0.0, f64::NEG_INFINITY];
    let rows: Vec<Row> =
        (1..).zip(scores).map(|(id, score)| Note { score: Some(score), ..Note::plain(id) }.row()).collect();
    for (filter, expected) in [
        (json!({"score": "NaN"}), &[1][..]),
        (json!({"score__in": ["NaN", 0]}), &[1, 4]),
        (json!({"score__gt": "Infinity"}), &[1]),
        (json!({"score__gte": "Infinity"}), &[1, 2]),
        (json!({"score__lt": "NaN"}), &[2, 3, 4, 5]),
        (json!({"score__lte": "NaN"}), &[1, 2, 3, 4, 5]),
        (json!({"score__range": ["-Infinity", 0]}), &[4, 5]),
        (json!({"score": 0}), &[4]),
        (json!({"score__lt": 0}), &[5]),
    ] {
        assert_eq!(selected_in_memory(&parsed(&filter), &rows), expected, "{filter}");
    }
}

#[test]
fn sqlite_holds_no_nan_and_answers_for_one_as_for_any_number() {
    let scores = [Some(f64::NAN), Some(f64::INFINITY), Some(0.0), None];
    let rows: Vec<Note> = (1..).zip(scores).map(|(id, score)| Note { score, ..Note::plain(id) }).collect();
    check(
        &rows,
        &[
            (json!({"score": "NaN"}), &[]),
            (json!({"score__lt": "NaN"}), &[2, 3]),
            (json!({"score__lte": "NaN"}), &[2, 3]),
            (json!({"score__gte": "NaN"}), &[]),
            (json!({"not__score__in": ["NaN"]}), &[1, 2, 3, 4]),
            (json!({"score__isnull": true}), &[1, 4]),
            (json!({"score": "Infinity"}), &[2]),
            (json!({"score": "-0"}), &[3]),
        ],
    );
}

#[test]
fn a_nul_in_a_filter_selects_nothing_and_one_in_a_row_is_a_character() {
    check(
        &titled(&["a\0b", "a", "\0", ""]),
        &[
            (json!({"title": "a\0b"}), &[]),
            (json!({"not__title": "a\0b"}), &[1, 2, 3, 4]),
            (json!({"title__in": ["a\0b", "a"]}), &[2]),
            (json!({"title__contains": "\0"}), &[]),
            (json!({"title__gte": "\0"}), &[]),
            (json!({"title__range": ["", "\0"]}), &[]),
            (json!({"title__endswith": "b"}), &[1]),
            (json!({"title__icontains": "B"}), &[1]),
            (json!({"title__contains": "b"}), &[1]),
            (json!({"title__startswith": "a"}), &[1, 2]),
            (json!({"title": ""}), &[4]),
            (json!({"title__gt": "a"}), &[1]),
        ],
    );
}

#[test]
fn text_is_ordered_by_code_point() {
    // In UTF-16 the last would come before the one before it.
    check(
        &titled(&["Z", "a", "é", "\u{ffff}", "😀"]),
        &[
            (json!({"title__gt": "Z"}), &[2, 3, 4, 5]),
            (json!({"title__gt": "\u{ffff}"}), &[5]),
            (json!({"title__lt": "é"}), &[1, 2]),
        ],
    );
}

#[test]
fn timestamps_are_points_in_time_however_they_are_written() {
    let mut connection = database();
    insert(&mut connection, &[Note::plain(1), Note::plain(2), Note::plain(3), Note::plain(4)]);
    // What other programs write.
    connection
        .batch_execute(
            "UPDATE notes SET created = '2026-01-31T13:00:00+01:00' WHERE id = 2;
             UPDATE notes SET created = '2026-01-31 12:00:00.000000001' WHERE id = 3;
             UPDATE notes SET created = '2026-01-31 11:59:59Z' WHERE id = 4;",
        )
        .unwrap();
    check_rows(
        &mut connection,
        &[
            (json!({"created": "2026-01-31T12:00:00Z"}), &[1, 2]),
            (json!({"created__in": ["2026-01-31 12:00:00", "2026-01-31T10:59:59-01:00"]}), &[1, 2, 4]),
            (json!({"created__gt": "2026-01-31T12:00:00Z"}), &[3]),
            (json!({"created__gte": "2026-01-31"}), &[1, 2, 3, 4]),
            (json!({"created__lt": "2026-01-31T12:00:00.000000001Z"}), &[1, 2, 4]),
            (json!({"created__range": ["2026-01-31T11:59:59Z", "2026-01-31T13:00:00+01:00"]}), &[1, 2, 4]),
            (json!({"not__created": "2026-01-31T12:00:00Z"}), &[3, 4]),
        ],
    );
}

#[test]
fn a_leap_second_lies_between_its_neighbours() {
    let times = [
        "2016-12-31T23:59:59.999999999Z",
        "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:60.5Z",
        "2017-01-01T00:00:00Z",
    ];
    let rows: Vec<Note> = (1..)
        .zip(times)
        .map(|(id, at)| Note { created: UtcTimestamp(time(at)), ..Note::plain(id) })
        .collect();
    check(
        &rows,
        &[
            (json!({"created": "2016-12-31T23:59:60Z"}), &[2]),
            (json!({"created": "2016-12-31T15:59:60-08:00"}), &[2]),
            (json!({"created__gt": "2016-12-31T23:59:59.999999999Z"}), &[2, 3, 4]),
            (json!({"created__lt": "2017-01-01"}), &[1, 2, 3]),
            (json!({"created__lte": "2016-12-31T23:59:60.4Z"}), &[1, 2]),
            (json!({"created__range": ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z"]}), &[2, 3]),
            (json!({"created__year": 2016}), &[1, 2, 3]),
            (json!({"created__minute": 59}), &[1, 2, 3]),
            (json!({"created__date": "2017-01-01"}), &[4]),
        ],
    );
    // No second but the last of a minute is one.
    let entries = from_json(&[("created".into(), json!("2016-12-31T23:59:61Z"))]);
    assert_eq!(refused_in(descriptor(), entries, &Limits::default()).code().name(), "validation_error");
}

#[test]
fn what_cannot_be_read_is_in_the_way_of_no_list_that_leaves_it_out() {
    let mut connection = database();
    insert(&mut connection, &[Note::plain(1), Note::plain(2), Note::plain(3), Note::plain(4)]);
    connection
        .batch_execute(
            "UPDATE notes SET created = 'yesterday', edited = '31.01.2026' WHERE id = 2;
             UPDATE notes SET title = CAST(x'ff41' AS TEXT), text = CAST(x'c3' AS TEXT) WHERE id = 3;",
        )
        .unwrap();
    let rest = json!({"id__in": [1, 4]});
    for (key, argument) in [
        ("created__gte", json!("0000-01-01")),
        ("created__in", json!(["2026-01-31T12:00:00Z"])),
        ("created__year__gte", json!(0)),
        ("created__date__lte", json!("9999-12-31")),
        ("not__edited__lt", json!("9999-12-31")),
        ("not__edited__hour", json!(3)),
        ("title__icontains", json!("")),
        ("title__iendswith", json!("")),
        ("title__startswith", json!("")),
        ("title__endswith", json!("")),
        ("title__regex", json!("")),
        ("not__body__iexact", json!("c")),
        ("not__body__iregex", json!(".")),
    ] {
        // Neither in a list whose other entries leave the row out …
        let mut filter = rest.clone();
        filter[key] = argument.clone();
        let entries = from_json(&members(&filter));
        assert_eq!(selected_by_sqlite(&mut connection, entries), [1, 4], "{filter}");
        // … nor in one that leaves it out for that very value.
        if !key.starts_with("not__") {
            let odd = if key.starts_with("title") { 2 } else { 3 };
            let entries = from_json(&members(&json!({key: argument, "not__id": odd})));
            assert_eq!(selected_by_sqlite(&mut connection, entries), [1, 4], "{key}");
        }
    }
}

#[test]
fn a_boolean_is_filtered_as_it_is_shown() {
    let mut connection = database();
    insert(&mut connection, &(1..=9).map(Note::plain).collect::<Vec<_>>());
    let stored = ["1", "0", "2", "'true'", "'1x'", "1.5", "0.5", "4294967296", "x'31'"];
    for (id, value) in (1..).zip(stored) {
        connection.batch_execute(&format!("UPDATE notes SET done = {value} WHERE id = {id}")).unwrap();
    }
    let shown = |done: bool, rows: &[Row]| -> Vec<i64> {
        let is =
            |row: &&Row| (row.as_ref() as &dyn std::any::Any).downcast_ref::<Note>().unwrap().done == done;
        rows.iter().filter(is).map(key_of).collect()
    };
    let rows = all(&mut connection);
    for done in [true, false] {
        let entries = from_json(&members(&json!({"done": done})));
        assert_eq!(selected_by_sqlite(&mut connection, entries), shown(done, &rows), "{done}");
    }
}

#[test]
fn enums_are_compared_by_the_name_that_is_sent() {
    use crate::model::Mood;
    let rows: Vec<Note> =
        (1..).zip(Mood::ALL).map(|(id, mood)| Note { mood, done: id == 2, ..Note::plain(id) }).collect();
    check(
        &rows,
        &[
            (json!({"mood": "quite-angry"}), &[2]),
            (json!({"mood__in": ["sad", "calm"]}), &[1, 3]),
            (json!({"not__mood": "calm"}), &[2, 3]),
            (json!({"done": true}), &[2]),
            (json!({"done__in": [false, "true"]}), &[1, 2, 3]),
            (json!({"not__done": "true", "mood__isnull": false}), &[1, 3]),
        ],
    );
}

#[test]
fn all_entries_must_hold_and_none_selects_everything() {
    check(
        &ranked(&[1, 2, 3, 4]),
        &[
            (json!({}), &[1, 2, 3, 4]),
            (json!({"rank__gte": 2, "rank__lt": 4}), &[2, 3]),
            (json!({"rank__gte": 2, "not__rank": 3, "id__in": [1, 2, 3]}), &[2]),
            (json!({"rank": 1, "not__rank": 1}), &[]),
        ],
    );
}

#[test]
fn ill_typed_values_are_refused_key_by_key() {
    let refused = |filter: &Json| refused_in(descriptor(), from_json(&members(filter)), &Limits::default());
    for (key, value) in [
        ("rank", json!(1.5)),
        ("rank", json!("1.5")),
        ("rank", json!("")),
        ("rank", json!("1.")),
        ("rank", json!(".0")),
        ("rank", json!("1.0.0")),
        ("rank", json!("1e-1")),
        ("rank", json!("1e2 ")),
        // Which integer is meant is not known once it has been read as a double.
        ("id", json!(9_007_199_254_740_992.0)),
        ("id", json!("9007199254740993e0")),
        ("id", json!(-9_223_372_036_854_775_808.0)),
        ("id__in", json!([1, 4e18])),
        ("rank", json!("+1")),
        ("rank", json!(" 1")),
        ("rank", json!("0x1")),
        ("rank", json!(true)),
        ("rank", json!([1])),
        ("rank__gt", json!(null)),
        ("rank__in", json!(1)),
        ("rank__in", json!([1, null])),
        ("rank__in", json!({"0": 1})),
        ("rank__range", json!([1])),
        ("rank__range", json!([1, 2, 3])),
        ("rank__range", json!([1, "x"])),
        ("rank__isnull", json!(1)),
        ("rank__isnull", json!("yes")),
        ("rank__isnull", json!(null)),
        ("score", json!("inf")),
        ("score", json!("nan")),
        ("score", json!("+1")),
        ("score", json!("1e999")),
        ("score", json!("")),
        ("score", json!(true)),
        ("title", json!(5)),
        ("title__contains", json!(null)),
        ("title__icontains", json!(["x"])),
        ("done", json!("yes")),
        ("done", json!(1)),
        ("mood", json!("Calm")),
        ("mood", json!("Z")),
        ("mood__in", json!(["calm", "cross"])),
        ("created", json!(0)),
        ("created", json!("")),
        ("created", json!("31.01.2026")),
        ("created", json!("2026-1-31")),
        ("created", json!(" 2026-01-31")),
        ("created", json!("2026-01-31T1:00:00Z")),
        ("created", json!("2026-02-30")),
        ("created", json!("+12026-01-31T00:00:00Z")),
        ("created", json!("+12026-01-31")),
        ("created", json!("-0001-01-31")),
        ("created", json!("9999-12-31T23:59:59-01:00")),
        ("created", json!("0000-01-01T00:00:00+01:00")),
    ] {
        let error = refused(&json!({key: value}));
        assert_eq!((error.status(), error.code().name()), (400, "validation_error"), "{key} {value}");
        assert_eq!(error.errors().keys().collect::<Vec<_>>(), [key], "{key} {value}");
    }
    let error = refused(&json!({"rank": "x", "not__done": 5, "title": "fine"}));
    assert_eq!(error.errors().keys().collect::<Vec<_>>(), ["not__done", "rank"]);
    // Where the values can be counted, they are said.
    for (key, value, choices) in [
        ("done", json!("yes"), "the choices are true, false."),
        ("done__in", json!([true, 2]), "the choices are true, false."),
        ("title__isnull", json!("True"), "the choices are true, false."),
        ("mood", json!("Calm"), "\"Calm\" is not a valid choice; the choices are calm, quite-angry, sad."),
    ] {
        let error = refused(&json!({key: value}));
        let said = &error.errors()[key][0];
        assert!(said.ends_with(choices), "{key}: {said}");
    }
}

#[test]
fn what_a_message_says_back_is_short() {
    for long in [json!("x".repeat(100_000)), json!(vec![1; 100_000])] {
        for key in ["mood", "mood__in", &"k".repeat(100_000), &format!("rank__{}", "k".repeat(100_000))] {
            let argument = if key.ends_with("in") { json!([long]) } else { long.clone() };
            let entries = vec![(key.to_owned(), RawArgument::Json(argument))];
            let error = refused_in(descriptor(), entries, &Limits::default());
            // The key itself is that of the entry.
            let said: usize = error.errors().values().flatten().map(String::len).sum();
            assert!(said + error.to_string().len() < 1_000, "{said}");
        }
    }
}

#[test]
fn keys_that_a_resource_does_not_offer_are_refused_with_the_choices() {
    for (key, code) in [
        ("nosuch", "unknown_field"),
        ("nosuch__exact", "unknown_field"),
        ("", "unknown_field"),
        ("__", "unknown_field"),
        ("not__", "unknown_field"),
        ("not__not__rank", "unknown_field"),
        ("Rank", "unknown_field"),
        ("text", "unknown_field"),
        ("ids__in", "unknown_field"),
        ("rank__", "unknown_lookup"),
        ("rank__nosuch", "unknown_lookup"),
        ("rank__gt__gte", "unknown_lookup"),
        ("rank__contains", "unknown_lookup"),
        ("done__gt", "unknown_lookup"),
        ("mood__startswith", "unknown_lookup"),
        ("pk__icontains", "unknown_lookup"),
        ("rank__EXACT", "unknown_lookup"),
    ] {
        let entries = vec![(key.to_owned(), RawArgument::Json(json!(1)))];
        let error = refused_in(descriptor(), entries, &Limits::default());
        assert_eq!((error.status(), error.code().name()), (400, code), "{key:?}");
        let said = &error.errors()[key][0];
        assert!(said.starts_with("Choices are ids, name") || said.starts_with("Lookups of"), "{said}");
    }
    // What is skipped, and what has no lookup, is answered like what does not exist.
    let texts: Vec<String> = ["secret", "colour", "nosuch"]
        .into_iter()
        .map(|key| {
            let entries = vec![(key.to_owned(), RawArgument::Json(json!("x")))];
            refused_in(Tag::DESCRIPTOR, entries, &Limits::default()).to_string().replace(key, "…")
        })
        .collect();
    assert_eq!(texts[0], texts[2]);
    assert_eq!(texts[1], texts[2]);
}

mod things {
    diesel::table! {
        things (id) {
            id -> Integer,
            #[sql_name = "type"]
            type_ -> Text,
            size -> Integer,
            size_ -> Integer,
        }
    }

    #[derive(realtime_core::RealtimeResource)]
    #[diesel(table_name = things)]
    #[realtime(lookups(type_(all), size(gt)), subscription_field_mapping(kind = "type___istartswith"))]
    pub(super) struct Thing {
        id: i32,
        type_: String,
        size: i32,
        size_: i32,
    }
}

#[test]
fn a_name_may_end_with_an_underscore() {
    let parsed = |key: &str, argument: Json| {
        let entry = (key.to_owned(), RawArgument::Json(argument));
        let filter = parse(things::Thing::DESCRIPTOR, [entry], &Limits::default());
        filter.map(|filter| filter.canonical().to_owned()).map_err(|error| error.to_string())
    };
    for (key, canonical) in [
        ("type_", r#"type_=["a"]"#),
        ("type___exact", r#"type_=["a"]"#),
        ("not__type___icontains", r#"!type_~icontains"a""#),
        ("kind", r#"type_~istartswith"a""#),
    ] {
        assert_eq!(parsed(key, json!("a")).as_deref(), Ok(canonical), "{key}");
    }
    assert_eq!(parsed("size__gt", json!(5)).as_deref(), Ok("size>5"));
    // `size_` has no lookup: it is answered as if there were none but `size`.
    assert_eq!(
        parsed("size___gt", json!(5)),
        Err(r#"unknown_lookup: "_gt" is not a lookup of "size"."#.to_owned())
    );
    assert!(parsed("type__exact", json!("a")).unwrap_err().starts_with("unknown_field"));
}

#[test]
fn filters_have_limits() {
    let mut limits = Limits::default();
    limits.filter_predicates = 3;
    limits.filter_list = 3;
    limits.filter_pattern_bytes = 4;
    let accepts = |entries: &[(String, Json)]| match parse(descriptor(), from_json(entries), &limits) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code().name(), "validation_error");
            false
        }
    };
    let names = ["rank", "rank__gt", "rank__lt", "rank__gte", "rank__lte"];
    for count in 2..=4 {
        let entries: Vec<_> = names[..count].iter().map(|name| ((*name).to_owned(), json!(1))).collect();
        assert_eq!(accepts(&entries), count <= 3, "{count} predicates");
        assert_eq!(accepts(&[("rank__in".into(), json!(vec![1; count]))]), count <= 3, "{count} values");
        let pattern = "é".repeat(count - 1) + &"x".repeat(count % 2);
        assert_eq!(accepts(&[("title__icontains".into(), json!(pattern))]), pattern.len() <= 4, "{pattern}");
    }
    // An exact text is compared, not searched.
    assert!(accepts(&[("title".into(), json!("longer than four"))]));
    let defaults = Limits::default();
    assert_eq!(
        (defaults.filter_predicates, defaults.filter_list, defaults.filter_pattern_bytes),
        (32, 1_000, 256)
    );
}

#[test]
fn a_query_string_has_lists_by_commas_and_by_repetition() {
    let canonical = |key: &str, values: &[&str]| {
        let argument = RawArgument::Query(values.iter().map(|value| (*value).to_owned()).collect());
        parse(descriptor(), [(key.to_owned(), argument)], &Limits::default())
            .map(|filter| filter.canonical().to_owned())
            .map_err(|error| error.code().name())
    };
    for (key, values, expected) in [
        ("ids", &["1,2,3"][..], Ok("id=[1,2,3]")),
        ("ids", &["3,1", "2"], Ok("id=[1,2,3]")),
        ("ids", &[""], Ok("id=[]")),
        ("ids", &["", "1"], Ok("id=[1]")),
        ("rank__range", &["1,2"], Ok("rank>=1<=2")),
        ("rank__range", &["1", "2"], Ok("rank>=1<=2")),
        ("rank__range", &["1"], Err("validation_error")),
        ("ids", &["1,,2"], Err("validation_error")),
        ("ids", &["1, 2"], Err("validation_error")),
        ("title__in", &["a,b", "c"], Ok(r#"title=["a","b","c"]"#)),
        ("title", &["a,b"], Ok(r#"title=["a,b"]"#)),
        ("title__in", &["a%2Cb,c"], Ok(r#"title=["a,b","c"]"#)),
        ("title__in", &["100%25,%C3%9F"], Ok(r#"title=["100%","ß"]"#)),
        ("title", &["%zz"], Err("validation_error")),
        ("title__in", &["a,%ff"], Err("validation_error")),
        ("ids", &["1%2C2"], Ok("id=[1,2]")),
        ("created__year", &["2026"], Ok("created.year=[2026]")),
        (
            "created__date__range",
            &["2026-01-31%2C2026-02-01"],
            Ok(r#"created.date>="2026-01-31"<="2026-02-01""#),
        ),
        ("title", &[""], Ok(r#"title=[""]"#)),
        ("title", &["a", "a"], Err("validation_error")),
        ("title__contains", &[""], Ok(r#"title~contains"""#)),
        ("body", &["null"], Ok(r#"body=["null"]"#)),
        ("body__isnull", &["true"], Ok("body?true")),
        ("body__isnull", &["1"], Err("validation_error")),
        ("done", &["false"], Ok("done=[false]")),
        ("done", &["False"], Err("validation_error")),
        ("rank", &["007"], Ok("rank=[7]")),
        ("created", &["2026-01-31"], Ok(r#"created=["2026-01-31T00:00:00Z"]"#)),
    ] {
        assert_eq!(canonical(key, values).as_deref().map_err(|code| *code), expected, "{key} {values:?}");
    }
}

#[test]
fn a_name_of_an_enum_may_have_a_comma() {
    fn names() -> &'static [&'static str] {
        &["2,5", "5"]
    }
    let mood = descriptor().field_index("mood").unwrap();
    let fields = vec![FieldDescriptor { kind: Kind::Enum(names), ..descriptor().fields[mood] }];
    let sized = Descriptor {
        fields: Vec::leak(fields),
        key: 0,
        lookup: 0,
        aliases: &[],
        lists: Lists::PLAIN,
        ..*descriptor()
    };
    let canonical = |key: &str, value: &str| {
        let entry = (key.to_owned(), RawArgument::Query(vec![value.to_owned()]));
        let parsed = parse(&sized, [entry], &Limits::default());
        parsed.map(|filter| filter.canonical().to_owned()).map_err(|error| error.code().name())
    };
    assert_eq!(canonical("mood", "2%2C5").as_deref(), Ok(r#"mood=["2,5"]"#));
    assert_eq!(canonical("mood__in", "2%2C5").as_deref(), Ok(r#"mood=["2,5"]"#));
    assert_eq!(canonical("mood__in", "5,2%2C5").as_deref(), Ok(r#"mood=["2,5","5"]"#));
    assert_eq!(canonical("mood__in", "2,5"), Err("validation_error"));
}

/// The same argument as a query string has it; `None` where it cannot be said there.
fn as_query(kind: Kind, json: &Json, by_comma: bool) -> Option<RawArgument> {
    let spelled = |json: &Json| match json {
        Json::Null | Json::Array(_) | Json::Object(_) => None,
        Json::String(text) => Some(text.bytes().map(|byte| format!("%{byte:02X}")).collect()),
        // The text form of an integer has no exponent and no point.
        Json::Number(number) if matches!(kind, Kind::Integer { .. }) && number.is_f64() => {
            Some(format!("{:.0}", number.as_f64()?))
        }
        other => Some(other.to_string()),
    };
    let values = match json {
        Json::Array(items) => {
            let items = items.iter().map(spelled).collect::<Option<Vec<_>>>()?;
            // An empty value is the empty list.
            if items.iter().any(String::is_empty) {
                return None;
            }
            if by_comma || items.is_empty() { vec![items.join(",")] } else { items }
        }
        json => vec![spelled(json)?],
    };
    Some(RawArgument::Query(values))
}

/// What the argument of a key is: a part has a kind of its own.
fn argument_kind(key: &str) -> Kind {
    let mut names = key.trim_start_matches("not__").split("__");
    let field = descriptor().field_index(names.next().unwrap()).unwrap();
    match names.next().and_then(Part::from_name) {
        None => descriptor().fields[field].kind,
        Some(Part::Date) => Kind::Date,
        Some(_) => Kind::Integer { min: i64::MIN, max: i64::MAX },
    }
}

proptest! {
    // 1,200 cases of 30 rows and 6 filters are 216,000 pairs.
    #![proptest_config(random::config(1_200))]

    #[test]
    fn memory_and_sqlite_select_the_same_rows(
        notes in random::notes(30..31),
        filters in prop::collection::vec(prop::collection::vec(random::entry(), 1..4), 6),
    ) {
        let mut connection = database();
        insert(&mut connection, &notes);
        let rows = all(&mut connection);
        prop_assert_eq!(rows.len(), notes.len());
        for entries in filters {
            let entries = from_json(&entries);
            let filter = parse(descriptor(), entries.clone(), &Limits::default()).unwrap();
            let by_sqlite = selected_by_sqlite(&mut connection, entries);
            prop_assert_eq!(selected_in_memory(&filter, &rows), by_sqlite, "{}", filter.canonical());
        }
    }
}

#[test]
fn what_was_once_decided_otherwise_is_decided_alike() {
    let notes = random::fixed_notes(300);
    let mut connection = database();
    insert(&mut connection, &notes);
    let rows = all(&mut connection);
    let filters = random::counterexamples();
    assert!(filters.len() >= 22);
    for entries in filters {
        let entries = from_json(&entries);
        let filter = parse(descriptor(), entries.clone(), &Limits::default()).unwrap();
        let by_sqlite = selected_by_sqlite(&mut connection, entries);
        assert_eq!(selected_in_memory(&filter, &rows), by_sqlite, "{}", filter.canonical());
    }
}

proptest! {
    // 200 cases of 20 rows and 6 filters are 24,000 pairs.
    #![proptest_config(random::config(200))]

    #[test]
    fn memory_and_sqlite_select_the_same_moments(
        moments in random::moments(20..21),
        filters in prop::collection::vec(prop::collection::vec(random::entry_of(Moment::DESCRIPTOR), 1..4), 6),
    ) {
        let mut connection = database();
        diesel::insert_into(crate::model::moments::table).values(&moments).execute(&mut connection).unwrap();
        let table = Table::<Sqlite>::of::<Moment>();
        let mut read = |entries: Entries| {
            let query = ListQuery::parse(Moment::DESCRIPTOR, entries, &[], &Limits::default()).unwrap();
            page_of(&mut connection, &table, query).rows
        };
        let key = |row: &Row| (row.as_ref() as &dyn std::any::Any).downcast_ref::<Moment>().unwrap().clone();
        let rows = read(Vec::new());
        prop_assert_eq!(rows.iter().map(key).collect::<Vec<_>>(), moments);
        for entries in filters {
            let entries = from_json(&entries);
            let filter = parse(Moment::DESCRIPTOR, entries.clone(), &Limits::default()).unwrap();
            let by_sqlite: Vec<Moment> = read(entries).iter().map(key).collect();
            let in_memory: Vec<Moment> =
                rows.iter().filter(|row| filter.matches(row.as_ref())).map(key).collect();
            prop_assert_eq!(in_memory, by_sqlite, "{}", filter.canonical());
        }
    }
}

proptest! {
    // 400 cases of 30 rows and 4 trees are 48,000 pairs.
    #![proptest_config(random::config(400))]

    #[test]
    fn and_or_and_not_mean_the_same_in_memory_and_in_sqlite(
        notes in random::notes(30..31),
        trees in prop::collection::vec(random::tree_of(Note::DESCRIPTOR), 4),
    ) {
        let mut connection = database();
        insert(&mut connection, &notes);
        let rows = all(&mut connection);
        let leaf = |key: &str, json: &Json| parsed(&json!({key: json}));
        let mut other = parsed(&json!({"rank__gte": 0}));
        for tree in trees {
            let filter = tree.filter(descriptor(), &leaf);
            let written = |row: &&Row| tree.holds(&|key, json| leaf(key, json).matches(row.as_ref()));
            let expected: Vec<i64> = rows.iter().filter(written).map(key_of).collect();
            prop_assert_eq!(&selected_in_memory(&filter, &rows), &expected, "{}", filter.canonical());
            let query = ListQuery::parse(descriptor(), [], &[], &Limits::default()).unwrap();
            let page = page(&mut connection, query.within(descriptor(), filter.clone()));
            let by_sqlite: Vec<i64> = page.rows.iter().map(key_of).collect();
            prop_assert_eq!(by_sqlite, expected, "{}", filter.canonical());
            prop_assert_eq!(page.count, Some(page.rows.len() as u64));
            let twice = filter.clone().not(descriptor()).not(descriptor());
            prop_assert_eq!(twice.canonical(), filter.canonical(), "a negation of a negation");
            // With something that both ask for.
            let both = filter.clone().and(descriptor(), parsed(&json!({"done": true})));
            let apart = both.clone().xor(descriptor(), other.clone());
            let of_one = |row: &&Row| both.matches(row.as_ref()) != other.matches(row.as_ref());
            let expected: Vec<i64> = rows.iter().filter(of_one).map(key_of).collect();
            prop_assert_eq!(selected_in_memory(&apart, &rows), expected, "{}", apart.canonical());
            other = both;
        }
    }
}

#[test]
fn trees_that_mean_the_same_are_one_filter() {
    let leaf = |key: &str| parsed(&json!({key: 1}));
    let (a, b, c) = (|| leaf("id"), || leaf("rank"), || leaf("rank__gt"));
    let and = |left: Filter, right: Filter| left.and(descriptor(), right);
    let or = |left: Filter, right: Filter| left.or(descriptor(), right);
    let not = |filter: Filter| filter.not(descriptor());
    for (left, right) in [
        (or(a(), b()), or(b(), a())),
        (or(or(a(), b()), c()), or(a(), or(c(), b()))),
        (and(or(a(), b()), c()), and(c(), or(b(), a()))),
        (or(a(), a()), a()),
        (or(a(), Filter::all()), Filter::all()),
        (or(a(), Filter::nothing()), a()),
        (and(a(), Filter::all()), a()),
        (and(a(), Filter::nothing()), Filter::nothing()),
        (not(Filter::all()), Filter::nothing()),
        (not(Filter::nothing()), Filter::all()),
        (not(and(a(), b())), or(not(a()), not(b()))),
        (not(or(a(), b())), and(not(a()), not(b()))),
    ] {
        assert_eq!(left.canonical(), right.canonical());
    }
}

proptest! {
    #![proptest_config(random::config(300))]

    #[test]
    fn a_row_comes_back_from_sqlite_as_it_went_in(note in random::note()) {
        let mut connection = database();
        insert(&mut connection, std::slice::from_ref(&note));
        // SQLite has neither NaN nor a negative zero.
        let score = note.score.filter(|score| !score.is_nan()).map(|score| score + 0.0);
        let expected = Note { score, ..note };
        let rows = all(&mut connection);
        prop_assert_eq!(object_of(rows[0].as_ref()), expected.object());
    }

    #[test]
    fn a_negation_selects_exactly_the_other_rows(entry in random::entry(), notes in random::notes(1..20)) {
        let (key, json) = entry;
        let other = key.strip_prefix("not__").map_or_else(|| format!("not__{key}"), str::to_owned);
        let filter = parsed(&json!({key: json}));
        let opposite = parsed(&json!({other: json}));
        for note in &notes {
            prop_assert_ne!(filter.matches(note), opposite.matches(note));
        }
    }

    #[test]
    fn filters_with_one_canonical_text_select_the_same_rows(
        entries in prop::collection::vec(random::entry(), 2..12),
        notes in random::notes(1..20),
    ) {
        let filters: Vec<Filter> = entries.into_iter().map(|(key, json)| parsed(&json!({key: json}))).collect();
        for (left, right) in filters.iter().flat_map(|left| filters.iter().map(move |right| (left, right))) {
            if left.canonical() == right.canonical() {
                prop_assert!(notes.iter().all(|note| left.matches(note) == right.matches(note)));
            }
        }
    }

    #[test]
    fn the_order_and_the_repetition_of_entries_do_not_matter(entries in random::entries()) {
        let mut turned = entries.clone();
        turned.reverse();
        turned.extend(entries.clone());
        let mut limits = Limits::default();
        limits.filter_regexes *= 2;
        let canonical = |entries: &[(String, Json)]| {
            parse(descriptor(), from_json(entries), &limits).unwrap().canonical().to_owned()
        };
        prop_assert_eq!(canonical(&entries), canonical(&turned));
    }

    #[test]
    fn json_and_a_query_string_mean_the_same(entry in random::entry(), by_comma in any::<bool>()) {
        let (key, json) = entry;
        if let Some(argument) = as_query(argument_kind(&key), &json, by_comma) {
            let query = parse(descriptor(), [(key.clone(), argument)], &Limits::default());
            let query = query.map(|filter| filter.canonical().to_owned());
            prop_assert_eq!(query, Ok(parsed(&json!({key: json})).canonical().to_owned()));
        }
    }

    #[test]
    fn no_entries_make_the_parser_panic(
        key in prop_oneof![
            any::<String>(),
            (random::entry(), any::<String>()).prop_map(|((key, _), rest)| key + &rest),
            random::entry().prop_map(|(key, _)| key),
        ],
        json in random::json(),
        values in prop::collection::vec(any::<String>(), 0..4),
        note in random::note(),
    ) {
        for argument in [RawArgument::Json(json), RawArgument::Query(values)] {
            match parse(descriptor(), [(key.clone(), argument)], &Limits::default()) {
                Ok(filter) => {
                    let _ = filter.matches(&note);
                }
                Err(error) => prop_assert_eq!(error.status(), 400),
            }
        }
    }
}

#[test]
fn a_timestamp_may_leave_out_its_offset_and_its_time() {
    for (text, expected) in [
        ("2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.5Z"),
        ("2026-01-31T12:00:00+05:30", "2026-01-31T06:30:00Z"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31 12:00:00.25", "2026-01-31T12:00:00.25Z"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"),
    ] {
        let note = Note { created: UtcTimestamp(time(expected)), ..Note::plain(1) };
        assert!(parsed(&json!({"created": text})).matches(&note), "{text}");
    }
}
