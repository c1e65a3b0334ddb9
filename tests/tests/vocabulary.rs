//! A macro cannot ask core for its words, so the derive has a list of its own: here the two are held against each other.

use std::collections::BTreeSet;

use realtime_actix::Action;
use realtime_core::list::RESERVED;
use realtime_core::{Lookup, Part};

const VOCABULARY: &str = include_str!("../../realtime-derive/src/vocabulary.rs");

/// The strings of a constant of the derive, in their order.
fn strings(constant: &str) -> Vec<&'static str> {
    let (_, rest) = VOCABULARY.split_once(&format!("const {constant}:")).expect("the constant");
    let (list, _) = rest.split_once("];").expect("its end");
    let (_, list) = list.split_once("= &[").expect("its beginning");
    list.split('"').skip(1).step_by(2).collect()
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
