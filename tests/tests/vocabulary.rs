//! A macro cannot ask core for its words, so the derive has a list of its own: here the two are held against each other,
//! and the derive's attributes against docs/attributes.md; so are the limits against docs/limits.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use realtime_actix::{Action, Limits};
use realtime_core::list::RESERVED;
use realtime_core::{Lookup, Part};

const VOCABULARY: &str = include_str!("../../realtime-derive/src/vocabulary.rs");
const ATTRIBUTES: &str = include_str!("../../realtime-derive/src/attr.rs");
const RULES: &str = include_str!("../../realtime-derive/src/rule.rs");
const REFERENCE: &str = include_str!("../../docs/attributes.md");
const LIMITS: &str = include_str!("../../docs/limits.md");

/// The strings of a constant of the derive, in their order.
fn strings(constant: &str) -> Vec<&'static str> {
    strings_in(VOCABULARY, constant)
}

fn strings_in(source: &'static str, constant: &str) -> Vec<&'static str> {
    let (_, rest) = source.split_once(&format!("const {constant}:")).expect("the constant");
    let (list, _) = rest.split_once("];").expect("its end");
    let (_, list) = list.split_once("&[").expect("its beginning");
    list.split('"').skip(1).step_by(2).collect()
}

/// What stands between two texts.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{start} is not there"));
    rest.split_once(end).unwrap_or_else(|| panic!("{end} is not there")).0
}

/// The names that a `match` of a source reads: those of arms that are no error.
fn arms(source: &'static str) -> BTreeSet<&'static str> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let accepted = lines.iter().enumerate().filter_map(|(at, line)| {
        let (name, rest) = line.strip_prefix('"')?.split_once("\" =>")?;
        // An arm that only says what to write instead.
        let is_refused =
            rest == " {" && lines.get(at + 1).is_some_and(|next| next.starts_with("return Err("));
        (!name.contains('"') && !is_refused).then_some(name)
    });
    accepted.collect()
}

/// The names in the first column of the table under a heading of the reference: `stream` of `` `realtime(stream = "..")` ``
/// where the column is for `realtime`.
fn documented(heading: &str, owner: &str) -> BTreeSet<&'static str> {
    let section = REFERENCE.split_once(&format!("\n{heading}\n")).expect("the heading").1;
    let section = section.lines().take_while(|line| !line.starts_with("## ") && !line.starts_with("### "));
    let rows = section.filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| {
        let name = if owner.is_empty() { row } else { row.strip_prefix(owner)?.strip_prefix('(')? };
        name.split(|character: char| !character.is_alphanumeric() && character != '_').next()
    });
    names.collect()
}

fn set(names: Vec<&'static str>) -> BTreeSet<&'static str> {
    names.into_iter().collect()
}

/// Whatever the derives read is in the reference, and whatever is in the reference is read.
#[test]
fn the_reference_has_every_attribute_and_no_other() {
    let of_struct = set(strings_in(ATTRIBUTES, "STRUCT_OPTIONS"));
    let of_field = set(strings_in(ATTRIBUTES, "FIELD_OPTIONS"));
    let of_enum = set(strings_in(ATTRIBUTES, "ENUM_OPTIONS"));
    assert!(of_struct.len() > 10 && of_field.len() > 10);
    assert_eq!(documented("## On an enum", "realtime"), of_enum);
    assert_eq!(documented("## On the struct", "realtime"), of_struct);
    assert_eq!(documented("## On a field", "realtime"), of_field);
    assert_eq!(documented("### What is asked of a value", ""), set(strings_in(RULES, "RULES")));

    let structs = between(ATTRIBUTES, "impl StructAttrs {", "fn one_policy");
    let fields = between(ATTRIBUTES, "impl FieldAttrs {", "pub(crate) struct EnumAttrs");
    let enums = between(ATTRIBUTES, "impl EnumAttrs {", "pub(crate) struct ActionsAttrs");
    for (read, heading, options) in [
        (structs, "## On the struct", of_struct),
        (fields, "## On a field", of_field),
        (enums, "## On an enum", of_enum),
    ] {
        let (realtime, diesel) = read.split_once("diesel_options(").unwrap_or((read, ""));
        assert_eq!(arms(realtime), options, "{heading}");
        let mut diesel = arms(diesel);
        // It is told that there is no such thing.
        diesel.remove("embed");
        assert_eq!(documented(heading, "diesel"), diesel, "{heading}");
    }
}

/// The words that an attribute takes are those that the reference lists.
#[test]
fn the_reference_has_every_word_of_an_attribute() {
    let of_row = |option: &str| {
        let row = REFERENCE.lines().find(|line| line.starts_with(&format!("| `realtime({option}")));
        row.unwrap_or_else(|| panic!("{option} is not there"))
    };
    for (option, constant) in
        [("stream", "RESERVED_STREAMS"), ("allowed_actions", "ACTIONS"), ("rename_all", "CASES")]
    {
        let words = strings(constant);
        let words = if constant == "ACTIONS" { words.into_iter().step_by(2).collect() } else { words };
        for word in words {
            assert!(of_row(option).contains(&format!("`{word}`")), "{option}: {word}");
        }
    }
    let names = between(REFERENCE, "A public name or an alias", "An alias may be called");
    for word in strings("RESERVED") {
        assert!(names.contains(&format!("`{word}`")), "{word}");
    }
}

/// The name on the wire and the variant of each word.
fn words(constant: &str) -> Vec<(String, String)> {
    strings(constant).chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

#[test]
fn the_derive_knows_every_lookup_and_part() {
    let known = |name: &str, variant: String| (name.to_owned(), variant);
    let lookups: Vec<_> =
        Lookup::ALL.iter().map(|lookup| known(lookup.name(), format!("{lookup:?}"))).collect();
    assert_eq!(words("LOOKUPS"), lookups);
    let parts: Vec<_> = Part::ALL.iter().map(|part| known(part.name(), format!("{part:?}"))).collect();
    assert_eq!(words("PARTS"), parts);
}

/// All but `unsubscribe`, which `subscribe` brings along.
#[test]
fn the_derive_knows_every_action() {
    let actions: BTreeSet<_> = Action::ALL
        .iter()
        .filter(|action| **action != Action::Unsubscribe)
        .map(|action| (action.name().to_owned(), format!("{action:?}")))
        .collect();
    assert_eq!(words("ACTIONS").into_iter().collect::<BTreeSet<_>>(), actions);
}

#[test]
fn the_derive_refuses_every_name_that_stands_beside_a_filter() {
    assert_eq!(strings("RESERVED"), RESERVED);
}

/// The rows of the table of limits whose header begins so.
fn limits(header: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let (_, table) = LIMITS.split_once(&format!("\n| {header} |")).expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

/// What stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Each test that is named is one, of the file that is named before it.
#[track_caller]
fn assert_tests(cell: &str) {
    let (mut file, mut tests) = (None, 0);
    for span in spans(cell) {
        if span.contains('/') {
            file = Some(source(span));
        } else {
            let file = file.as_ref().expect("its file comes first");
            let (before, _) = file.split_once(&format!("fn {span}()")).unwrap_or_else(|| panic!("no {span}"));
            let attributes = before.rsplit("\n\n").next().unwrap_or_default();
            assert!(attributes.contains("test]"), "{span} is no test");
            tests += 1;
        }
    }
    assert!(tests > 0, "nothing tests it: {cell}");
}

#[test]
fn every_limit_is_documented_as_it_is_and_tested() {
    let code = format!("{:#?}", Limits::default());
    let fields = code.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(": "));
    let documented: BTreeMap<&str, &str> =
        limits("Limit").map(|row| (row[0].trim_matches('`'), row[1])).collect();
    assert_eq!(documented, fields.collect());
    for row in limits("Limit") {
        assert!(row.len() == 5 && row[2..4].iter().all(|cell| !cell.is_empty()), "{row:?}");
        assert_tests(row[4]);
    }
}

#[test]
fn every_bound_that_cannot_be_set_is_documented_as_it_is_and_tested() {
    for row in limits("Bound") {
        let [bound, value, _, _, tests] = row[..] else { panic!("five cells: {row:?}") };
        let [file, constant] = spans(bound).collect::<Vec<_>>()[..] else {
            panic!("a file and a name: {bound}")
        };
        let source = source(file);
        let line = source.lines().find(|line| line.contains(&format!("const {constant}: ")));
        let line = line.unwrap_or_else(|| panic!("no {constant}"));
        assert!(line.ends_with(&format!("= {value};")), "{bound}: {line}");
        assert_tests(tests);
    }
}
