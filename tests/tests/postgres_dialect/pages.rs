//! Lists: the walk from page to page, and the limit of rows that are decided in memory.

use std::cell::RefCell;
use std::cmp::Ordering;

use proptest::prelude::*;
use realtime_core::action::Refusal;
use realtime_core::list::{ListQuery, Page};
use realtime_core::sql::Table;
use realtime_core::{Limits, RealtimeResource as _, Record as _, Value};
use serde_json::{Value as Json, json};

use crate::bench::{Bench, Entries, SCHEMA, model_of, parsed, raw, signed};
use crate::filters::notes;
use crate::model::{self, Note};
use crate::{config, random};

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new(SCHEMA));
}

/// The order of the protocol, spelt out: NULLs last ascending and first descending, ties by key.
pub(crate) fn in_order(left: &Note, right: &Note, ordering: &[(usize, bool)]) -> Ordering {
    let key = (Note::DESCRIPTOR.key, false);
    let mut found = Ordering::Equal;
    for (field, descending) in ordering.iter().copied().chain([key]) {
        let ascending = match (left.value(field), right.value(field)) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            // An enum is ordered as it is stored.
            _ if Note::DESCRIPTOR.fields[field].name == "mood" => stored(left).cmp(stored(right)),
            (left, right) => left.compare(&right).unwrap(),
        };
        found = found.then(if descending { ascending.reverse() } else { ascending });
    }
    found
}

fn stored(note: &Note) -> &'static str {
    match note.mood {
        model::Mood::Calm => "Z",
        model::Mood::QuiteAngry => "m",
        model::Mood::Sad => "A",
    }
}

fn orderings() -> impl Strategy<Value = Vec<(usize, bool)>> {
    let fields: Vec<usize> = (0..Note::DESCRIPTOR.fields.len()).collect();
    prop::sample::subsequence(fields, 0..4)
        .prop_shuffle()
        .prop_flat_map(|fields| {
            let count = fields.len();
            (Just(fields), prop::collection::vec(any::<bool>(), count))
        })
        .prop_map(|(fields, descending)| fields.into_iter().zip(descending).collect())
}

fn spelt(ordering: &[(usize, bool)]) -> String {
    let sign = |descending: bool| if descending { "-" } else { "" };
    let name = |field: usize| Note::DESCRIPTOR.fields[field].name;
    let names: Vec<String> =
        ordering.iter().map(|(field, descending)| format!("{}{}", sign(*descending), name(*field))).collect();
    names.join(",")
}

/// A filter that PostgreSQL decides alone, in part or not at all.
fn entries() -> impl Strategy<Value = Entries> {
    const EXPRESSIONS: &[&str] = &["", "a", "[ab]", "^.?$", "ß|σ", "\\d"];
    let regex = (prop::sample::select(EXPRESSIONS), any::<bool>()).prop_map(|(pattern, negated)| {
        (if negated { "not__title__regex" } else { "title__iregex" }.to_owned(), json!(pattern))
    });
    prop_oneof![
        1 => Just(Vec::new()),
        2 => random::entries(),
        3 => (regex, prop::option::of(random::entry())).prop_map(|(regex, other)| {
            let mut entries = vec![regex];
            entries.extend(other);
            entries
        }),
    ]
}

fn keys(page: &Page) -> Vec<i64> {
    page.rows.iter().map(model::key_of).collect()
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn walking_the_pages_visits_every_row_once_in_order_and_back(
        notes in notes(25),
        entries in entries(),
        ordering in orderings(),
        limit in 1..8_usize,
        offset in 0..30_usize,
    ) {
        BENCH.with_borrow_mut(|bench| {
            let rows = bench.store_notes(&notes);
            let filter = parsed(Note::DESCRIPTOR, &entries);
            let mut expected: Vec<&Note> = rows.iter().map(model_of::<Note>).filter(|note| filter.matches(*note)).collect();
            expected.sort_by(|left, right| in_order(left, right, &ordering));
            let expected: Vec<i64> = expected.iter().map(|note| note.id).collect();

            let ordering = spelt(&ordering);
            let mut read = |cursor: Option<&String>| {
                let mut options = vec![("ordering".to_owned(), json!(ordering)), ("limit".to_owned(), json!(limit))];
                options.extend(cursor.map(|cursor| ("cursor".to_owned(), json!(cursor))));
                bench.page(&Table::of::<Note>(), &entries, &options)
            };
            let mut pages = Vec::new();
            let mut current = read(None);
            prop_assert!(current.previous.is_none(), "the first page has none before it");
            loop {
                prop_assert_eq!(current.count, Some(expected.len() as u64));
                pages.push(keys(&current));
                let Some(next) = current.next.clone() else { break };
                prop_assert_eq!(current.rows.len(), limit);
                current = read(Some(&next));
                prop_assert!(!current.rows.is_empty(), "a next page has rows");
            }
            prop_assert_eq!(pages.concat(), expected.clone());

            let mut back = vec![keys(&current)];
            while let Some(previous) = current.previous.clone() {
                current = read(Some(&previous));
                prop_assert!(current.next.is_some(), "one came from there");
                back.push(keys(&current));
                prop_assert!(back.len() <= pages.len(), "the walk back ends");
            }
            back.reverse();
            prop_assert_eq!(back, pages);

            let options = [("ordering", json!(ordering)), ("limit", json!(limit)), ("offset", json!(offset))];
            for count in [true, false] {
                let mut options = options.iter().map(|(name, json)| ((*name).to_owned(), json.clone())).collect::<Vec<_>>();
                options.push(("count".to_owned(), json!(count)));
                let page = bench.page(&Table::of::<Note>(), &entries, &options);
                let at_offset: Vec<i64> = expected.iter().skip(offset).take(limit).copied().collect();
                prop_assert_eq!(keys(&page), at_offset);
                prop_assert_eq!(page.next.is_some(), offset + limit < expected.len());
                prop_assert_eq!(page.count, count.then_some(expected.len() as u64));
            }
            Ok(())
        })?;
    }
}

/// One list of the notes whose title a regular expression matches.
fn list(
    bench: &mut Bench,
    pattern: &str,
    scanned_rows: usize,
    options: &[(&str, Json)],
) -> Result<Page, String> {
    let mut limits = Limits::default();
    limits.scanned_rows = scanned_rows;
    let options: Vec<(String, Json)> =
        options.iter().map(|(name, json)| ((*name).to_owned(), json.clone())).collect();
    let entries = vec![("title__regex".to_owned(), json!(pattern))];
    let query = ListQuery::parse(Note::DESCRIPTOR, raw(&entries), &options, &limits).unwrap();
    bench.list(&Table::of::<Note>(), signed(Note::DESCRIPTOR, query)).map_err(|refusal| match refusal {
        Refusal::Refused(error) => format!("{} {}", error.status(), json!(error.errors())),
        other => panic!("the list failed: {other:?}"),
    })
}

const TOO_MANY: &str = r#"400 {"non_field_errors":["The database cannot decide this filter, and at most 3000 rows are decided one by one (limit scanned_rows): add lookups that leave fewer."]}"#;

/// The limit is several times the rows that are read at once, and the number of rows one less, equal, one more.
#[test]
fn at_most_so_many_rows_are_decided_in_memory() {
    let mut bench = Bench::new(SCHEMA);
    let insert = |bench: &mut Bench, from: u32, until: u32| {
        bench.sql(&format!(
            "INSERT INTO notes SELECT number, 0, NULL, 'x' || number, NULL, false, 'Z', now() FROM generate_series({from}, {until}) AS number"
        ));
    };
    insert(&mut bench, 1, 2_999);
    for rows in [2_999, 3_000] {
        let page = list(&mut bench, "7$", 3_000, &[]).unwrap();
        assert_eq!((page.rows.len(), page.count, page.next.is_some()), (100, Some(300), true));
        // A cursor may not change what is answered, whichever way it leads.
        let cursor = page.next.unwrap();
        let next = list(&mut bench, "7$", 3_000, &[("cursor", json!(cursor))]).unwrap();
        assert_eq!((next.rows.len(), next.count), (100, Some(300)));
        let back = list(&mut bench, "7$", 3_000, &[("cursor", json!(next.previous.unwrap()))]).unwrap();
        assert_eq!((keys(&back)[0], back.count), (7, Some(300)));
        let last = list(&mut bench, "^x2999$", 3_000, &[("count", json!(false))]).unwrap();
        assert_eq!((keys(&last), last.next), (vec![2_999], None));
        let ordering = [("ordering", json!("-rank,-title")), ("limit", json!(1_000))];
        assert_eq!(list(&mut bench, "", 3_000, &ordering).unwrap().count, Some(rows));
        insert(&mut bench, u32::try_from(rows).unwrap() + 1, u32::try_from(rows).unwrap() + 1);
    }
    // 3,001 now.
    assert_eq!(list(&mut bench, "7$", 3_000, &[]).err().as_deref(), Some(TOO_MANY));
    assert_eq!(list(&mut bench, "none", 3_000, &[("count", json!(false))]).err().as_deref(), Some(TOO_MANY));
    // A page that is full before is no question of those behind it.
    let early = list(&mut bench, "7$", 3_000, &[("count", json!(false))]).unwrap();
    assert_eq!((early.rows.len(), early.count), (100, None));
    let cursor = [("cursor", json!(early.next.unwrap()))];
    assert_eq!(list(&mut bench, "7$", 3_000, &cursor).err().as_deref(), Some(TOO_MANY));
    assert!(list(&mut bench, "7$", 3_001, &[]).is_ok());
    // What the database decides does not count.
    let entries = vec![("title__regex".to_owned(), json!("7$")), ("id__lt".to_owned(), json!(11))];
    let mut limits = Limits::default();
    limits.scanned_rows = 10;
    let query = ListQuery::parse(Note::DESCRIPTOR, raw(&entries), &[], &limits).unwrap();
    assert_eq!(keys(&bench.list(&Table::of::<Note>(), query).unwrap()), [7]);
}

#[test]
fn a_cursor_that_was_forged_is_refused() {
    let mut bench = Bench::new(SCHEMA);
    let rows: Vec<Note> = (1..=3).map(Note::plain).collect();
    bench.store_notes(&rows);
    for (ordering, value) in
        [("title", json!("a\0b")), ("created", json!("-262143-01-01T00:00:00Z")), ("score", json!("NaN"))]
    {
        use base64::Engine as _;
        for (backward, tag) in [(true, 0), (false, 16)] {
            let forged = [vec![0; tag], json!([backward, [value, 2]]).to_string().into_bytes()].concat();
            let cursor = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(forged);
            let options = [("ordering".to_owned(), json!(ordering)), ("cursor".to_owned(), json!(cursor))];
            let query = ListQuery::parse(Note::DESCRIPTOR, [], &options, &Limits::default()).unwrap();
            let refused = bench.list(&Table::of::<Note>(), query.clone());
            assert!(matches!(refused, Err(Refusal::Refused(error)) if error.status() == 400), "{ordering}");
            let refused = query.with_key(Note::DESCRIPTOR, &realtime_core::PageKey::new(&[7; 32]));
            assert_eq!(refused.err().map(|error| error.status()), Some(400), "{ordering}");
        }
    }
}
