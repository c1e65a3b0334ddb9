//! The mistakes of one derive, collected so that all of them are reported at once, each on the user's own token.

use std::cmp::Reverse;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors {
    found: Option<syn::Error>,
}

impl Errors {
    /// Adds a mistake that syn found.
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.found {
            Some(found) => found.combine(error),
            None => self.found = Some(error),
        }
    }

    /// Adds a mistake that underlines the given tokens.
    pub(crate) fn on(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    /// Adds a mistake at a span.
    pub(crate) fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    /// The mistakes as calls of `compile_error!`; `None` where there are none.
    pub(crate) fn into_tokens(self) -> Option<TokenStream> {
        self.found.map(syn::Error::into_compile_error)
    }
}

/// The first line of a message about a word that is not one of the choices, with the nearest choice if one is near.
pub(crate) fn unknown<'a>(what: &str, word: &str, choices: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, choices) {
        Some(choice) => format!("unknown {what} `{word}`, did you mean `{choice}`?"),
        None => format!("unknown {what} `{word}`"),
    }
}

/// `` `a`, `b` and `c` ``
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The choice that a word was probably meant to be: one that is spelt nearly so, or that goes on after it.
fn nearest<'a>(word: &str, choices: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.replace(['_', '-'], "").to_lowercase();
    let word = plain(word);
    // One slip in three characters: with more, any short word would be near to any other.
    let limit = (word.chars().count() / 3).max(1);
    let choices: Vec<(&str, String)> = choices.into_iter().map(|choice| (choice, plain(choice))).collect();
    let spelt = choices
        .iter()
        .map(|(choice, letters)| {
            (distance(&word, letters), Reverse(common_beginning(&word, letters)), *choice)
        })
        .filter(|(distance, ..)| *distance <= limit)
        // Of those that are equally near, the one that begins like the word: ends are what is forgotten.
        .min_by_key(|(distance, beginning, _)| (*distance, *beginning))
        .map(|(.., choice)| choice);
    // Two letters begin too many words.
    let is_beginning = word.chars().count() > 2;
    spelt.or_else(|| {
        let goes_on = choices.iter().find(|(_, letters)| is_beginning && letters.starts_with(&word));
        goes_on.map(|(choice, _)| *choice)
    })
}

fn common_beginning(left: &str, right: &str) -> usize {
    left.chars().zip(right.chars()).take_while(|(left, right)| left == right).count()
}

/// How many characters must be inserted, removed, replaced or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let same = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_leads_to_the_word_that_was_meant() {
        let choices = ["read_only", "rename", "skip", "default", "on_create", "pagination", "validate"];
        for (word, meant) in [
            ("readonly", Some("read_only")),
            ("ReadOnly", Some("read_only")),
            ("defualt", Some("default")),
            ("oncreate", Some("on_create")),
            ("skp", Some("skip")),
            ("validation", Some("validate")),
            ("colour", None),
            ("shut", None),
            ("read", Some("read_only")),
            ("", None),
        ] {
            assert_eq!(nearest(word, choices), meant, "{word}");
        }
    }

    #[test]
    fn a_list_reads_as_a_sentence() {
        assert_eq!(listed([]), "");
        assert_eq!(listed(["a"]), "`a`");
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` and `c`");
    }

    #[test]
    fn mistakes_are_reported_together() {
        let mut errors = Errors::default();
        assert!(errors.found.is_none());
        errors.at(Span::call_site(), "one");
        errors.at(Span::call_site(), "two");
        let tokens = errors.into_tokens().map(|tokens| tokens.to_string()).unwrap_or_default();
        assert!(tokens.contains("\"one\"") && tokens.contains("\"two\""), "{tokens}");
    }
}
