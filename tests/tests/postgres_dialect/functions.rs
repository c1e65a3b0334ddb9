//! The functions that the statements use, and which databases they are refused for.

use realtime_core::sql::postgres::functions::{are_installed, install};
use realtime_core::{Descriptor, RealtimeResource};
use realtime_tests::postgres::Database;

use crate::bench::{Bench, try_sql_at};
use crate::model::Tag;

impl Bench {
    fn are_installed(&mut self, resources: &[&Descriptor]) -> bool {
        self.value::<bool, diesel::sql_types::Bool>(are_installed(resources))
    }
}

/// Folding as the protocol has it.
fn fold(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|character| if character == 'ς' { 'σ' } else { character })
        .collect()
}

/// Every character alone, and each that changes also before and behind others, is folded as the protocol says.
#[track_caller]
fn check_every_character(bench: &Bench, last: char) {
    let changed = bench.database.psql(&format!(
        "SELECT code || ' ' || realtime_fold(chr(code)) FROM generate_series(1, {}) AS code
         WHERE code NOT BETWEEN 55296 AND 57343 AND realtime_fold(chr(code)) <> chr(code)",
        u32::from(last)
    ));
    let mut expected = String::new();
    for character in '\u{1}'..=char::MAX {
        let folded = fold(&character.to_string());
        if folded != character.to_string() {
            expected.push_str(&format!("{} {folded}\n", u32::from(character)));
        }
    }
    assert!(changed.lines().eq(expected.lines()), "{}", first_difference(&changed, &expected));
    let texts: Vec<String> = ('\u{1}'..=char::MAX)
        .filter(|character| fold(&character.to_string()) != character.to_string())
        .map(|character| format!("AΣ{character}Σ a{character}\u{307}"))
        .collect();
    let folded = bench
        .database
        .psql(&format!("SELECT realtime_fold(text) FROM unnest(ARRAY['{}']) text", texts.join("','")));
    let expected: Vec<String> = texts.iter().map(|text| fold(text)).collect();
    assert!(
        folded.lines().eq(expected.iter().map(String::as_str)),
        "{}",
        first_difference(&folded, &expected.join("\n"))
    );
}

fn first_difference(found: &str, expected: &str) -> String {
    let different = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    format!("{different:?}, {} and {} lines", found.lines().count(), expected.lines().count())
}

#[test]
fn every_character_is_folded_as_in_memory() {
    let mut bench = Bench::empty();
    bench.sql(&install(&[]));
    check_every_character(&bench, char::MAX);
}

/// It takes a while to look into the table; nobody has a case beyond the second plane.
#[test]
fn without_icu_every_character_is_folded_as_in_memory() {
    let mut bench = Bench::empty();
    bench.sql("UPDATE pg_collation SET collname = 'no-icu' WHERE collname = 'und-x-icu'");
    bench.sql(&install(&[]));
    check_every_character(&bench, '\u{1ffff}');
}

/// As where the server's Unicode is newer than ours: it lower-cases a character that we do not know.
#[test]
fn a_character_that_only_the_server_knows_is_left_alone() {
    let mut bench = Bench::empty();
    bench.sql(&install(&[]).replace("c389 c3a9,", ""));
    let folded = |text: &str| bench.database.psql(&format!("SELECT realtime_fold('{text}')"));
    for (text, expected) in
        [("É", "É"), ("ÉAΣİ", "Éaσi\u{307}"), ("ÈAΣİ", "èaσi\u{307}"), ("éA", "éa"), ("A", "a")]
    {
        assert_eq!(folded(text), format!("{expected}\n"));
    }
}

#[test]
fn the_functions_are_made_anew_only_where_something_has_changed() {
    let mut bench = Bench::empty();
    let made = |bench: &Bench| {
        bench.database.psql("SELECT xmin FROM pg_proc WHERE proname LIKE 'realtime%' ORDER BY proname")
    };
    assert!(!bench.are_installed(&[]));
    bench.sql(&install(&[]));
    assert!(bench.are_installed(&[]));
    let first = made(&bench);
    assert_eq!(first.lines().count(), 2);
    bench.sql(&install(&[]));
    assert_eq!(made(&bench), first);
    bench.sql("COMMENT ON FUNCTION realtime_fold(text) IS 'of another version'");
    assert!(!bench.are_installed(&[]));
    bench.sql(&install(&[]));
    assert_ne!(made(&bench), first);
}

#[test]
fn an_index_can_be_made_of_folded_text_and_is_used() {
    let mut bench = Bench::empty();
    bench.sql(&install(&[]));
    bench.sql(
        "CREATE TABLE tags (name text NOT NULL);
         INSERT INTO tags SELECT 'É' || number FROM generate_series(1, 10000) AS number;
         CREATE INDEX folded ON tags ((realtime_fold(name) COLLATE \"C\"));
         ANALYZE tags",
    );
    let plan = bench
        .database
        .psql("EXPLAIN SELECT * FROM tags WHERE realtime_fold(name::text) COLLATE \"C\" = 'é77'");
    assert!(plan.contains("folded"), "{plan}");
}

#[test]
fn a_database_that_cannot_answer_exactly_is_refused_with_what_to_do() {
    let mut bench = Bench::empty();
    bench.sql("CREATE TABLE tags (name char(9) PRIMARY KEY, secret text, colour text)");
    let refused = bench.try_sql(&install(&[Tag::DESCRIPTOR])).unwrap_err().to_string();
    assert_eq!(
        refused,
        "the column tags.name is of the type char(n), whose comparisons ignore spaces: make it text or varchar(n)"
    );
    bench.sql(&install(&[]));
    assert!(bench.are_installed(&[]) && !bench.are_installed(&[Tag::DESCRIPTOR]));
    bench.sql("ALTER TABLE tags ALTER name TYPE varchar(9)");
    bench.sql(&install(&[Tag::DESCRIPTOR]));
    assert!(bench.are_installed(&[Tag::DESCRIPTOR]));

    let database = Database::create_in("SQL_ASCII");
    let refused = try_sql_at(&database.url(), &install(&[])).unwrap_err().to_string();
    assert!(
        refused.starts_with("the encoding of this database is SQL_ASCII, so its texts may be no text"),
        "{refused}"
    );
}
