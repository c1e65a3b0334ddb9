//! Databases whose encoding is not UTF-8: what is selected, ordered and folded there is what memory has.

use std::collections::HashSet;

use diesel::sql_types::{Array, Binary};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use realtime_core::RealtimeResource as _;
use realtime_core::sql::Statement;
use serde_json::json;

use crate::bench::{Bench, SCHEMA, members, model_of, parsed};
use crate::filters::{notes, selected_in_memory};
use crate::model::{self, Note};
use crate::pages::in_order;
use crate::{config, random};

/// One in which bytes are in the order of code points and one in which they are not, one with a character whose folded
/// form it lacks, and those with characters of several bytes.
const ENCODINGS: &[&str] = &["LATIN1", "LATIN9", "LATIN5", "WIN1251", "EUC_JP"];

/// The characters that an encoding has, of the first plane and beyond ASCII.
fn characters(bench: &mut Bench) -> HashSet<char> {
    let asked: Vec<Vec<u8>> =
        ('\u{80}'..='\u{ffff}').map(|character| character.to_string().into_bytes()).collect();
    let mut statement = Statement::new("SELECT convert_to(array_to_string(realtime_of_utf8(");
    statement.bind::<Array<Binary>, _>(asked).sql("), ''), 'UTF8')");
    let found = bench.value::<Vec<u8>, Binary>(statement);
    String::from_utf8(found).unwrap().chars().collect()
}

fn fold(text: &str) -> String {
    let lower = text.chars().flat_map(char::to_lowercase);
    lower.map(|character| if character == 'ς' { 'σ' } else { character }).collect()
}

#[test]
fn every_character_is_folded_as_in_memory() {
    for encoding in ENCODINGS {
        let mut bench = Bench::in_encoding(encoding, "");
        let characters = characters(&mut bench);
        assert!(characters.len() > 90, "{encoding} has {}", characters.len());
        let mut text: String = characters.iter().collect();
        text.push_str("AZaz");
        let mut statement = Statement::new("SELECT realtime_fold_utf8((realtime_of_utf8(");
        statement.bind::<Array<Binary>, _>(vec![text.clone().into_bytes()]).sql("))[1])");
        let folded = bench.value::<Vec<u8>, Binary>(statement);
        assert_eq!(String::from_utf8(folded).unwrap(), fold(&text), "{encoding}");
        let empty = "SELECT realtime_fold_utf8('') = '' AND realtime_fold_utf8(NULL) IS NULL";
        assert!(bench.value::<bool, diesel::sql_types::Bool>(Statement::new(empty)), "{encoding}");
    }
}

/// Where equality is asked of an index, by the text that is equal.
#[test]
fn a_byte_for_each_character_is_one_character_of_utf_8() {
    let mut bench = Bench::new("");
    bench.sql(
        r#"DO $$
        DECLARE
            encoding text;
            utf8 bytea;
            seen bytea[];
            encodings integer := 0;
        BEGIN
            FOR encoding IN SELECT pg_encoding_to_char(conforencoding) FROM pg_conversion
                WHERE contoencoding = pg_char_to_encoding('UTF8') AND pg_encoding_max_length(conforencoding) = 1
                    AND conforencoding <> pg_char_to_encoding('SQL_ASCII')
            LOOP
                seen := '{}';
                FOR byte IN 1..255 LOOP
                    BEGIN
                        utf8 := convert(set_byte('\x00', 0, byte), encoding, 'UTF8');
                    EXCEPTION WHEN untranslatable_character THEN
                        CONTINUE;
                    END;
                    ASSERT utf8 <> ALL (seen), format('%s has %s twice', encoding, utf8);
                    seen := array_append(seen, utf8);
                END LOOP;
                ASSERT cardinality(seen) > 150, encoding;
                encodings := encodings + 1;
            END LOOP;
            ASSERT encodings > 20, encodings;
        END
        $$"#,
    );
}

/// Each text with those characters only that the encoding has, so that the rows differ from those of the others.
fn within(mut note: Note, characters: &HashSet<char>) -> Note {
    let of_both = |character: char| character.is_ascii() || characters.contains(&character);
    for text in std::iter::once(&mut note.title).chain(note.body.as_mut()) {
        let spare: Vec<char> = {
            let mut spare: Vec<char> = characters.iter().copied().collect();
            spare.sort_unstable();
            spare
        };
        *text = text
            .chars()
            .map(|character| {
                // Another one, but always the same for the same.
                if of_both(character) { character } else { spare[character as usize % spare.len()] }
            })
            .collect();
    }
    note
}

/// 12 cases of 40 rows and 20 filters in each encoding are 48,000 pairs.
#[test]
fn memory_and_postgresql_select_and_order_the_same_in_every_encoding() {
    for encoding in ENCODINGS {
        let mut bench = Bench::in_encoding(encoding, SCHEMA);
        let table = bench.table::<Note>();
        let characters = characters(&mut bench);
        let bench = std::cell::RefCell::new(bench);
        let entries = prop::collection::vec(prop::collection::vec(random::entry(), 1..4), 20);
        let run = |(notes, filters): (Vec<Note>, Vec<Vec<(String, serde_json::Value)>>)| {
            let mut bench = bench.borrow_mut();
            let notes: Vec<Note> = notes.into_iter().map(|note| within(note, &characters)).collect();
            let rows = bench.store_notes(&notes);
            for entries in filters {
                let filter = parsed(Note::DESCRIPTOR, &entries);
                let selected = bench.selected(&table, &entries);
                let keys: Vec<i64> = selected.iter().map(model::key_of).collect();
                prop_assert_eq!(
                    selected_in_memory(&filter, &rows),
                    keys,
                    "{}: {}",
                    encoding,
                    filter.canonical()
                );
            }
            let titled = |name| Note::DESCRIPTOR.field_index(name).unwrap();
            let mut expected: Vec<&Note> = rows.iter().map(model_of::<Note>).collect();
            expected.sort_by(|left, right| {
                in_order(
                    left,
                    right,
                    &[(titled("body"), true), (titled("mood"), false), (titled("title"), false)],
                )
            });
            let mut walked = Vec::new();
            let mut options =
                vec![("ordering".to_owned(), json!("-body,mood,title")), ("limit".to_owned(), json!(7))];
            loop {
                let page = bench.page(&table, &Vec::new(), &options);
                walked.extend(page.rows.iter().map(model::key_of));
                let Some(next) = page.next else { break };
                options.truncate(2);
                options.push(("cursor".to_owned(), json!(next)));
            }
            prop_assert_eq!(walked, expected.iter().map(|note| note.id).collect::<Vec<_>>(), "{}", encoding);
            Ok(())
        };
        TestRunner::new(config(12)).run(&(notes(40), entries), run).unwrap();
    }
}

/// What the encoding lacks, and what PostgreSQL would refuse to convert.
#[test]
fn arguments_that_the_encoding_lacks_are_compared_as_what_they_are() {
    let mut bench = Bench::in_encoding("LATIN1", SCHEMA);
    let table = bench.table::<Note>();
    let titles = ["é", "É", "z", "ÿ", "a€".trim_end_matches('€')];
    let notes: Vec<Note> =
        (1..).zip(titles).map(|(id, title)| Note { title: title.into(), ..Note::plain(id) }).collect();
    bench.store_notes(&notes);
    for (filter, expected) in [
        (json!({"title": "€"}), &[][..]),
        (json!({"not__title": "€"}), &[1, 2, 3, 4, 5]),
        (json!({"title__in": ["€", "é", "😀"]}), &[1]),
        (json!({"title__in": ["€"]}), &[]),
        (json!({"title__lt": "€"}), &[1, 2, 3, 4, 5]),
        (json!({"title__gt": "€"}), &[]),
        (json!({"title__range": ["É", "😀"]}), &[1, 2, 4]),
        (json!({"title__iexact": "É"}), &[1, 2]),
        (json!({"title__iexact": "Ÿ"}), &[4]),
        (json!({"title__icontains": "€"}), &[]),
        (json!({"title__startswith": "é"}), &[1]),
        (json!({"title__startswith": "é€"}), &[]),
        (json!({"title__iendswith": "Ÿ"}), &[4]),
        (json!({"title__endswith": "€a"}), &[]),
        (json!({"title__endswith": ""}), &[1, 2, 3, 4, 5]),
        (json!({"title__contains": ""}), &[1, 2, 3, 4, 5]),
        (json!({"title": "a\0"}), &[]),
        (json!({"title__iregex": "€|É"}), &[1, 2]),
    ] {
        let found: Vec<i64> = bench.selected(&table, &members(&filter)).iter().map(model::key_of).collect();
        assert_eq!(found, expected, "{filter}");
    }
}
