//! `search`: rows in whose fields every term of a text occurs, each in some of them, in any letter case.

use crate::error::Error;
use crate::field::Kind;
use crate::filter::{Condition, Filter, Predicate, TextMatch};
use crate::fold::fold;
use crate::limits::Limits;
use crate::view::View;

/// Fails to compile where `search` looks in a field that is no text.
#[track_caller]
pub const fn check_search(kind: Kind) {
    assert!(matches!(kind, Kind::Text), "`search` looks in fields of text");
}

/// The filter of a search.
///
/// # Errors
/// 400 where the caller can search in nothing, and for a text over a limit.
pub(crate) fn parse(view: &View<'_>, text: &str, limits: &Limits) -> Result<Filter, Error> {
    let descriptor = view.descriptor();
    let fields: Vec<usize> =
        descriptor.lists.search.iter().copied().filter(|field| view.shows(*field)).collect();
    if fields.is_empty() {
        return Err(Error::validation("search", "This stream has no search."));
    }
    let terms = terms(text);
    if terms.len() * fields.len() > limits.filter_predicates {
        let most = limits.filter_predicates / fields.len();
        let message = format!("A search has at most {most} terms (limit filter_predicates).");
        return Err(Error::validation("search", message));
    }
    let mut filter = Filter::all();
    for term in terms {
        if term.len() > limits.filter_pattern_bytes {
            let most = limits.filter_pattern_bytes;
            let message = format!("A term has at most {most} bytes (limit filter_pattern_bytes).");
            return Err(Error::validation("search", message));
        }
        let somewhere = if term.contains('\0') {
            Filter::nothing()
        } else {
            let pattern = fold(&term);
            fields.iter().fold(Filter::nothing(), |filter, field| {
                let condition = Condition::Text(TextMatch::IContains, pattern.clone());
                let here = Predicate::of(*field, condition);
                filter.or(descriptor, Filter::new(descriptor, vec![here]))
            })
        };
        filter = filter.and(descriptor, somewhere);
    }
    Ok(filter)
}

/// The terms of a text: what white space and commas part, and what stands between double quotes.
fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|letter: char| letter.is_whitespace() || letter == ',');
        let Some(first) = rest.chars().next() else { return terms };
        // A quote that is not closed is a letter like any other.
        let quoted = if first == '"' { rest[1..].split_once('"') } else { None };
        let (term, after) = quoted.unwrap_or_else(|| {
            let end = rest.find(|letter: char| letter.is_whitespace() || letter == ',').unwrap_or(rest.len());
            rest.split_at(end)
        });
        if !term.is_empty() {
            terms.push(term.to_owned());
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_commas_part_terms_and_quotes_keep_them_together() {
        for (text, expected) in [
            ("", &[][..]),
            (" ,\t\u{a0} ", &[]),
            ("one", &["one"]),
            (" one  two,three ", &["one", "two", "three"]),
            ("\"one two\" three", &["one two", "three"]),
            ("\"one, two\"three", &["one, two", "three"]),
            ("\"open end", &["\"open", "end"]),
            ("\"\" x", &["x"]),
            ("5\" screen", &["5\"", "screen"]),
            ("größe\u{2003}ß", &["größe", "ß"]),
        ] {
            assert_eq!(terms(text), expected, "{text:?}");
        }
    }
}
