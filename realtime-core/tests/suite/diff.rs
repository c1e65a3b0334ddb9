//! The difference between two rows, replayed.

use proptest::prelude::*;
use realtime_core::diff::{apply, diff};
use serde_json::{Map, Value as Json, json};

use crate::model::{Note, descriptor};
use crate::random;

/// The diff as it is sent: the names and new values of the fields that differ.
fn sent(before: &Note, after: &Note) -> Map<String, Json> {
    let all: Vec<usize> = (0..descriptor().fields.len()).collect();
    let object = after.object();
    diff(before, after, &all)
        .into_iter()
        .map(|field| {
            let name = descriptor().fields[field].name;
            (name.to_owned(), object[name].clone())
        })
        .collect()
}

proptest! {
    #![proptest_config(random::config(1_000))]

    #[test]
    fn applying_a_diff_to_the_row_before_gives_the_row_after(before in random::note(), after in random::note()) {
        let mut object = before.object();
        apply(&sent(&before, &after), &mut object);
        // As text: to `serde_json` both zeros are equal.
        prop_assert_eq!(Json::from(object).to_string(), Json::from(after.object()).to_string());
    }

    #[test]
    fn a_diff_names_no_field_that_is_written_the_same(before in random::note(), after in random::note()) {
        let object = before.object();
        for (name, value) in sent(&before, &after) {
            prop_assert_ne!(object[&name].to_string(), value.to_string(), "{}", name);
        }
    }

    #[test]
    fn a_row_does_not_differ_from_itself(note in random::note()) {
        prop_assert!(sent(&note, &note.clone()).is_empty());
    }
}

#[test]
fn a_diff_looks_at_the_given_fields_only() {
    let before = Note::plain(1);
    let after = Note { rank: 2, title: "u".into(), ..Note::plain(1) };
    let fields = |names: &[&str]| -> Vec<usize> {
        names.iter().map(|name| descriptor().field_index(name).unwrap()).collect()
    };
    assert_eq!(diff(&before, &after, &fields(&["title", "body"])), fields(&["title"]));
    assert_eq!(diff(&before, &after, &fields(&["body"])), fields(&[]));
}

#[test]
fn applying_is_shallow_and_null_is_a_value() {
    let mut object = json!({"a": 1, "b": {"c": 2}}).as_object().unwrap().clone();
    apply(json!({"a": null, "b": {"d": 3}, "e": 4}).as_object().unwrap(), &mut object);
    assert_eq!(Json::from(object), json!({"a": null, "b": {"d": 3}, "e": 4}));
}
