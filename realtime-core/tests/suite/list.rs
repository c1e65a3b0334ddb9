//! Lists: the order of rows, and the walk from page to page.

use std::cmp::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use realtime_core::action::Refusal;
use realtime_core::filter::RawArgument;
use realtime_core::list::{ListQuery, Page};
use realtime_core::{Error, Limits, PageKey, RealtimeResource as _, Record, Value};
use serde_json::{Value as Json, json};

use crate::model::{Note, all, database, descriptor, insert, key_of, page, signed};
use crate::random;

type Options = Vec<(String, Json)>;

fn read(connection: &mut diesel::SqliteConnection, entries: &[(String, Json)], options: &Options) -> Page {
    let entries = entries.iter().map(|(key, json)| (key.clone(), RawArgument::Json(json.clone())));
    let query = ListQuery::parse(descriptor(), entries, options, &Limits::default()).unwrap();
    page(connection, signed(query).unwrap())
}

fn options(ordering: &str, limit: usize, cursor: Option<&String>) -> Options {
    let mut options = vec![("ordering".to_owned(), json!(ordering)), ("limit".to_owned(), json!(limit))];
    options.extend(cursor.map(|cursor| ("cursor".to_owned(), json!(cursor))));
    options
}

fn keys(page: &Page) -> Vec<i64> {
    page.rows.iter().map(key_of).collect()
}

/// The order of the protocol, spelt out: NULLs last ascending and first descending, ties by key.
fn in_order(left: &Note, right: &Note, ordering: &[(usize, bool)]) -> Ordering {
    let key = (descriptor().key, false);
    let mut found = Ordering::Equal;
    for (field, descending) in ordering.iter().copied().chain([key]) {
        let ascending = match (left.value(field), right.value(field)) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            // An enum is ordered as it is stored.
            _ if descriptor().fields[field].name == "mood" => stored(left).cmp(stored(right)),
            (left, right) => left.compare(&right).unwrap(),
        };
        found = found.then(if descending { ascending.reverse() } else { ascending });
    }
    found
}

fn stored(note: &Note) -> &'static str {
    match note.mood {
        crate::model::Mood::Calm => "Z",
        crate::model::Mood::QuiteAngry => "m",
        crate::model::Mood::Sad => "A",
    }
}

fn orderings() -> impl Strategy<Value = Vec<(usize, bool)>> {
    let fields: Vec<usize> = (0..descriptor().fields.len()).collect();
    prop::sample::subsequence(fields, 0..4)
        .prop_shuffle()
        .prop_flat_map(|fields| {
            let count = fields.len();
            (Just(fields), prop::collection::vec(any::<bool>(), count))
        })
        .prop_map(|(fields, descending)| fields.into_iter().zip(descending).collect())
}

fn spelt(ordering: &[(usize, bool)]) -> String {
    let names: Vec<String> = ordering
        .iter()
        .map(|(field, descending)| {
            format!("{}{}", if *descending { "-" } else { "" }, descriptor().fields[*field].name)
        })
        .collect();
    names.join(",")
}

proptest! {
    #![proptest_config(random::config(150))]

    #[test]
    fn walking_the_pages_visits_every_row_once_in_order_and_back(
        notes in random::notes(0..25),
        entries in prop_oneof![2 => Just(Vec::new()), 1 => random::entries()],
        ordering in orderings(),
        limit in 1..8_usize,
    ) {
        let mut connection = database();
        insert(&mut connection, &notes);
        let mut expected: Vec<Note> = all(&mut connection)
            .iter()
            .map(|row| (row.as_ref() as &dyn std::any::Any).downcast_ref::<Note>().unwrap().clone())
            .collect();
        let filter = realtime_core::filter::parse(
            descriptor(),
            entries.iter().map(|(key, json)| (key.clone(), RawArgument::Json(json.clone()))),
            &Limits::default(),
        ).unwrap();
        expected.retain(|note| filter.matches(note));
        expected.sort_by(|left, right| in_order(left, right, &ordering));
        let expected: Vec<i64> = expected.iter().map(|note| note.id).collect();

        let ordering = spelt(&ordering);
        let mut pages = Vec::new();
        let mut current = read(&mut connection, &entries, &options(&ordering, limit, None));
        prop_assert!(current.previous.is_none(), "the first page has none before it");
        loop {
            prop_assert_eq!(current.count, Some(expected.len() as u64));
            pages.push(keys(&current));
            let Some(next) = current.next.clone() else { break };
            prop_assert_eq!(current.rows.len(), limit);
            current = read(&mut connection, &entries, &options(&ordering, limit, Some(&next)));
            prop_assert!(!current.rows.is_empty(), "a next page has rows");
        }
        prop_assert_eq!(pages.concat(), expected);

        let mut back = vec![keys(&current)];
        while let Some(previous) = current.previous.clone() {
            current = read(&mut connection, &entries, &options(&ordering, limit, Some(&previous)));
            prop_assert!(current.next.is_some(), "one came from there");
            back.push(keys(&current));
            prop_assert!(back.len() <= pages.len(), "the walk back ends");
        }
        back.reverse();
        prop_assert_eq!(back, pages);
    }

    #[test]
    fn no_options_make_the_parser_panic(
        name in prop::sample::select(realtime_core::list::LIST_OPTIONS),
        json in random::json(),
        text in any::<String>(),
    ) {
        for json in [json, Json::from(text)] {
            let options = [(name.to_owned(), json)];
            let query = ListQuery::parse(descriptor(), [], &options, &Limits::default());
            if let Err(error) = query.and_then(signed) {
                prop_assert_eq!(error.status(), 400);
            }
        }
    }
}

#[test]
fn a_page_is_found_again_after_a_row_that_only_another_program_could_write() {
    let mut connection = database();
    let titles = ["a\0b", "a\0c", "b"];
    let notes: Vec<Note> =
        (1..).zip(titles).map(|(id, title)| Note { title: title.into(), ..Note::plain(id) }).collect();
    insert(&mut connection, &notes);
    connection
        .batch_execute(
            "UPDATE notes SET created = '+12026-01-31 12:00:00+00:00' WHERE id = 1;
             UPDATE notes SET score = 9e999 WHERE id = 2;
             UPDATE notes SET score = -9e999 WHERE id = 3;",
        )
        .unwrap();
    for (ordering, expected) in
        [("title", [1, 2, 3]), ("-created", [1, 2, 3]), ("score", [3, 2, 1]), ("-score", [1, 2, 3])]
    {
        let first = read(&mut connection, &[], &options(ordering, 1, None));
        let second = read(&mut connection, &[], &options(ordering, 1, first.next.as_ref()));
        let third = read(&mut connection, &[], &options(ordering, 1, second.next.as_ref()));
        assert_eq!([&first, &second, &third].map(|page| keys(page)[0]), expected, "{ordering}");
        assert!(third.next.is_none());
    }
}

#[test]
fn a_page_neither_repeats_nor_skips_a_row_that_stayed_put() {
    let mut connection = database();
    insert(&mut connection, &[1, 2, 3, 4, 5, 6].map(|id| Note { rank: 1, ..Note::plain(id * 10) }));
    let first = read(&mut connection, &[], &options("rank", 2, None));
    assert_eq!(keys(&first), [10, 20]);
    // The row that the cursor stands at goes, one comes before it and one behind.
    connection.batch_execute("DELETE FROM notes WHERE id = 20").unwrap();
    insert(&mut connection, &[15, 25].map(|id| Note { rank: 1, ..Note::plain(id) }));
    let second = read(&mut connection, &[], &options("rank", 2, first.next.as_ref()));
    assert_eq!(keys(&second), [25, 30]);
    let back = read(&mut connection, &[], &options("rank", 2, second.previous.as_ref()));
    assert_eq!(keys(&back), [10, 15]);
    assert!(back.previous.is_none());
}

#[test]
fn a_list_may_begin_at_an_offset_and_go_on_by_cursor() {
    let mut connection = database();
    insert(&mut connection, &[1, 2, 3, 4, 5].map(Note::plain));
    let at = |offset: Json| vec![("limit".to_owned(), json!("2")), ("offset".to_owned(), offset)];
    let middle = read(&mut connection, &[], &at(json!(2)));
    assert_eq!((keys(&middle), middle.count), (vec![3, 4], Some(5)));
    let next = read(&mut connection, &[], &options("", 2, middle.next.as_ref()));
    assert_eq!(keys(&next), [5]);
    let previous = read(&mut connection, &[], &options("", 2, middle.previous.as_ref()));
    assert_eq!(keys(&previous), [1, 2]);
    let beyond = read(&mut connection, &[], &at(json!("9")));
    assert_eq!((keys(&beyond), beyond.count, beyond.next), (vec![], Some(5), None));
    let far = read(&mut connection, &[], &at(json!(i64::MAX)));
    assert!(far.rows.is_empty());
}

#[test]
fn a_cursor_is_of_one_order_and_of_no_other() {
    let mut connection = database();
    insert(&mut connection, &[1, 2, 3].map(Note::plain));
    let first = read(&mut connection, &[], &options("-rank", 1, None));
    let parse = |ordering: &str, cursor: &str| {
        let options = options(ordering, 1, Some(&cursor.to_owned()));
        ListQuery::parse(descriptor(), [], &options, &Limits::default()).and_then(signed).map(drop)
    };
    let cursor = first.next.unwrap();
    assert_eq!(parse("-rank", &cursor), Ok(()));
    for ordering in ["rank", "", "-rank,title", "-id"] {
        assert_eq!(parse(ordering, &cursor).unwrap_err().status(), 400, "{ordering}");
    }
    for end in 0..cursor.len() {
        assert!(parse("-rank", &cursor[..end]).is_err(), "a cursor that was cut");
    }
}

/// What a list that begins at a cursor is refused for.
fn refusal(cursor: &str, key: Option<&PageKey>) -> Option<Error> {
    let options = options("-rank", 1, Some(&cursor.to_owned()));
    let query = ListQuery::parse(descriptor(), [], &options, &Limits::default()).unwrap();
    let mut connection = database();
    match key {
        Some(key) => query.with_key(descriptor(), key).err(),
        None => match crate::model::try_page(&mut connection, query) {
            Err(Refusal::Refused(error)) => Some(error),
            _ => None,
        },
    }
}

#[test]
fn a_cursor_is_made_by_nobody_but_the_service() {
    let mut connection = database();
    insert(&mut connection, &[1, 2, 3].map(Note::plain));
    let cursor = read(&mut connection, &[], &options("-rank", 1, None)).next.unwrap();
    let key = PageKey::new(&[7; 32]);
    assert_eq!(refusal(&cursor, Some(&key)), None);
    let malformed = refusal("?", Some(&key)).unwrap();
    assert_eq!(
        (malformed.status(), &malformed.errors()["cursor"][0][..]),
        (400, "Not a cursor of this list.")
    );
    // That of another database; one that nobody has looked at.
    assert_eq!(refusal(&cursor, Some(&PageKey::new(&[8; 32]))), Some(malformed.clone()));
    assert_eq!(refusal(&cursor, None), Some(malformed.clone()));
    let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << bit;
            let altered = URL_SAFE_NO_PAD.encode(altered);
            assert_eq!(refusal(&altered, Some(&key)), Some(malformed.clone()), "byte {at}");
        }
    }
    // The place alone, as it was before there was a signature, and with one of zeros.
    let place = &bytes[16..];
    for forged in [place.to_vec(), [&[0; 16], place].concat(), vec![], vec![0; 16]] {
        assert_eq!(refusal(&URL_SAFE_NO_PAD.encode(forged), Some(&key)), Some(malformed.clone()));
    }
    // One of another resource, in an order of the same name.
    let tag = ListQuery::parse(
        crate::model::Tag::DESCRIPTOR,
        [],
        &[("cursor".to_owned(), json!(read(&mut connection, &[], &options("", 1, None)).next))],
        &Limits::default(),
    );
    assert_eq!(tag.unwrap().with_key(crate::model::Tag::DESCRIPTOR, &key).err(), Some(malformed));
}

#[test]
fn a_list_without_a_key_has_no_cursors() {
    let mut connection = database();
    insert(&mut connection, &[1, 2, 3].map(Note::plain));
    let query = ListQuery::parse(descriptor(), [], &options("", 1, None), &Limits::default()).unwrap();
    let page = page(&mut connection, query);
    assert_eq!((page.rows.len(), page.count, page.next), (1, Some(3), None));
}

#[test]
fn after_the_key_nothing_orders_and_pk_names_it() {
    let mut connection = database();
    insert(&mut connection, &[3, 1, 2].map(|id| Note { rank: -1, ..Note::plain(id) }));
    for (ordering, expected) in
        [("pk", [1, 2, 3]), ("-pk,rank", [3, 2, 1]), ("rank,-id", [3, 2, 1]), (",,-id,", [3, 2, 1])]
    {
        assert_eq!(keys(&read(&mut connection, &[], &options(ordering, 9, None))), expected, "{ordering}");
    }
}

#[test]
fn a_list_without_limit_has_a_hundred_rows() {
    let mut connection = database();
    let notes: Vec<Note> = (0..102).map(Note::plain).collect();
    insert(&mut connection, &notes);
    let page = read(&mut connection, &[], &Vec::new());
    assert_eq!((page.rows.len(), page.count, page.next.is_some()), (100, Some(102), true));
    let page =
        read(&mut connection, &[], &vec![("count".into(), json!("false")), ("limit".into(), json!(102))]);
    assert_eq!((page.rows.len(), page.count, page.next.is_some()), (102, None, false));
}

/// Two titles of one length differ at their end only, so that nothing shorter than the whole tells them apart.
fn long(id: i64) -> Note {
    let rank = i32::try_from(id % 3).unwrap();
    Note {
        title: "é".repeat(9_000) + &(id / 2).to_string(),
        body: Some("😀".repeat(9_000)),
        rank,
        ..Note::plain(id)
    }
}

#[test]
fn a_walk_over_long_values_has_short_cursors_and_neither_repeats_nor_skips() {
    let mut connection = database();
    let notes: Vec<Note> = (1..=9).map(long).collect();
    insert(&mut connection, &notes);
    for ordering in ["title,body", "-title,-body", "body,-title", "rank,-title"] {
        let all = keys(&read(&mut connection, &[], &options(ordering, 100, None)));
        for limit in 1..5 {
            let (mut walked, mut back, mut cursor) = (Vec::new(), Vec::new(), None);
            let mut last;
            loop {
                last = read(&mut connection, &[], &options(ordering, limit, cursor.as_ref()));
                walked.extend(keys(&last));
                let Some(next) = last.next.clone() else { break };
                assert!(next.len() < 256, "{}", next.len());
                // The next page is reached whatever becomes of the rows around the last one.
                connection
                    .batch_execute(&format!(
                        "UPDATE notes SET rank = rank WHERE id = {0};
                         INSERT INTO notes SELECT 100, rank, score, title || 'x', text, done, mood, created, edited
                         FROM notes WHERE id = {0}; DELETE FROM notes WHERE id = 100",
                        walked.last().unwrap()
                    ))
                    .unwrap();
                cursor = Some(next);
            }
            assert_eq!(walked, all, "{ordering}");
            while let Some(previous) = last.previous.clone() {
                last = read(&mut connection, &[], &options(ordering, limit, Some(&previous)));
                back.splice(0..0, keys(&last));
            }
            assert!(
                all.starts_with(&back) && back.len() + limit >= all.len(),
                "{ordering}: {back:?} of {all:?}"
            );
        }
    }
}

#[test]
fn a_row_that_has_changed_is_no_place_of_a_list_that_could_not_keep_its_values() {
    let mut connection = database();
    insert(&mut connection, &(1..=4).map(long).collect::<Vec<_>>());
    let at = options("title", 2, None);
    let next = read(&mut connection, &[], &at).next.unwrap();
    let ask = |connection: &mut diesel::SqliteConnection| {
        let query = ListQuery::parse(descriptor(), [], &options("title", 2, Some(&next)), &Limits::default());
        crate::model::try_page(connection, query.and_then(signed).unwrap())
    };
    assert_eq!(keys(&ask(&mut connection).unwrap()), [3, 4]);
    // Changed in what the list is not ordered by.
    connection.batch_execute("UPDATE notes SET rank = 99 WHERE id = 2").unwrap();
    assert_eq!(keys(&ask(&mut connection).unwrap()), [3, 4]);
    for sql in ["UPDATE notes SET title = title || 'x' WHERE id = 2", "DELETE FROM notes WHERE id = 2"] {
        connection.batch_execute(sql).unwrap();
        let Err(Refusal::Refused(error)) = ask(&mut connection) else { panic!("refused") };
        assert_eq!((error.status(), error.code().name()), (400, "validation_error"));
        assert!(error.errors()["cursor"][0].contains("begin the list anew"), "{error:?}");
    }
}
