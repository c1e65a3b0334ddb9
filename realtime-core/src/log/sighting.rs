//! What a transaction did to the rows of a database view.
//!
//! A view has no changes of its own: a change of a table that it reads may give it rows, take them or make others of them.
//! So triggers of those tables note which rows the view has before and after each change, as far as the changed row has a
//! part in them. Each note says what was there at one moment of the transaction, so that the first and the last of a row
//! tell what came of it, in whatever order triggers were called, and a change that did not come about does no harm.

use std::collections::HashMap;

use super::Entry;
use crate::change::{Change, ResourceId};
use crate::cursor::Position;
use crate::resource::{Record, Row};
use crate::value::Value;

/// By what rows were looked for: a table's column, by its place among those of the view, and the value there as the
/// database writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Token {
    pub(super) link: usize,
    pub(super) value: Vec<u8>,
}

/// How a resource sees the rows of a view.
#[derive(Clone, Copy)]
pub(super) struct Eyes<'a> {
    pub(super) resource: ResourceId,
    /// The index of the key.
    pub(super) key: usize,
    /// The number of fields.
    pub(super) fields: usize,
    /// Of each table's column, the index of the field with its value.
    pub(super) links: &'a [usize],
}

/// What has been seen in a transaction.
#[derive(Default)]
pub(super) struct Sightings {
    rows: Vec<Sighting>,
    by_key: HashMap<(ResourceId, String), usize>,
    by_token: HashMap<(ResourceId, Token), Vec<usize>>,
}

struct Sighting {
    resource: ResourceId,
    fields: usize,
    key: Value<'static>,
    first: Option<Row>,
    /// As it was last seen; and is it there since?
    last: Row,
    is_there: bool,
    /// By what it would have been found then, as far as that is known.
    tokens: Vec<Token>,
    cursor: Position,
}

impl Sightings {
    /// A row is there. Rows of a whole table that is emptied are looked for by nothing.
    pub(super) fn see(
        &mut self,
        eyes: Eyes<'_>,
        entry: Entry,
        token: Option<Token>,
        row: Row,
        cursor: Position,
    ) {
        let key = row.value(eyes.key).into_owned();
        let mut name = String::new();
        key.write_json(&mut name);
        let next = self.rows.len();
        let at = *self.by_key.entry((eyes.resource, name)).or_insert(next);
        if at == next {
            self.rows.push(Sighting {
                resource: eyes.resource,
                fields: eyes.fields,
                key,
                // What is found first after a change was made by it.
                first: (entry == Entry::Seen).then(|| row.clone()),
                last: row.clone(),
                is_there: true,
                tokens: Vec::new(),
                cursor,
            });
        }
        let sighting = &mut self.rows[at];
        let last = std::mem::replace(&mut sighting.last, row);
        let row = &sighting.last;
        sighting.tokens.retain(|token| match eyes.links.get(token.link) {
            Some(field) => last.value(*field).is_same(&row.value(*field)),
            // It was noted by what the view was made of before.
            None => are_same(last.as_ref(), row.as_ref(), eyes.fields),
        });
        sighting.is_there = true;
        sighting.cursor = cursor;
        if let Some(token) = token
            && !sighting.tokens.contains(&token)
        {
            sighting.tokens.retain(|other| other.link != token.link);
            sighting.tokens.push(token.clone());
            self.by_token.entry((eyes.resource, token)).or_default().push(at);
        }
    }

    /// What would be found by a token, or anything at all, is not there unless it is found from now on.
    pub(super) fn look_again(&mut self, resource: ResourceId, token: Option<Token>, cursor: Position) {
        let lose = |sighting: &mut Sighting| {
            sighting.is_there = false;
            sighting.cursor = cursor;
        };
        let Some(token) = token else {
            self.rows.iter_mut().filter(|row| row.resource == resource).for_each(lose);
            return;
        };
        for at in self.by_token.remove(&(resource, token.clone())).into_iter().flatten() {
            let sighting = &mut self.rows[at];
            // It may have come to be found by another one meanwhile.
            if let Some(place) = sighting.tokens.iter().position(|own| *own == token) {
                sighting.tokens.swap_remove(place);
                lose(sighting);
            }
        }
    }

    /// The transaction ends: what it did to each row, in the order in which it first touched them.
    pub(super) fn end(&mut self) -> impl Iterator<Item = Change> {
        let whole = std::mem::take(self).rows.into_iter();
        whole.filter_map(|sighting| {
            let Sighting { resource, fields, key, first: before, last, is_there, cursor, .. } = sighting;
            let after = is_there.then_some(last);
            let is_as_before = match (&before, &after) {
                (None, None) => true,
                (Some(before), Some(after)) => are_same(before.as_ref(), after.as_ref(), fields),
                _ => false,
            };
            (!is_as_before).then_some(Change { resource, key, before, after, cursor })
        })
    }
}

fn are_same(one: &dyn Record, other: &dyn Record, fields: usize) -> bool {
    (0..fields).all(|field| one.value(field).is_same(&other.value(field)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A row of a view: its key, the key of a row that it belongs to, and something else.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Card(i64, i64, i64);

    impl Record for Card {
        fn value(&self, field: usize) -> Value<'_> {
            Value::Int([self.0, self.1, self.2][field])
        }
    }

    const EYES: Eyes<'_> = Eyes { resource: ResourceId(3), key: 0, fields: 3, links: &[0, 1] };

    enum Note {
        Seen(usize, i64, Card),
        Again(usize, i64),
        Found(usize, i64, Card),
        Everything,
    }
    use Note::{Again, Everything, Found, Seen};

    #[track_caller]
    fn check(notes: &[Note], expected: &[(Option<Card>, Option<Card>)]) {
        let mut sightings = Sightings::default();
        let token = |link: usize, value: i64| Some(Token { link, value: value.to_string().into() });
        for (at, note) in notes.iter().enumerate() {
            let cursor = Position(at as i64);
            match *note {
                Seen(link, value, card) => {
                    sightings.see(EYES, Entry::Seen, token(link, value), Arc::new(card), cursor);
                }
                Found(link, value, card) => {
                    sightings.see(EYES, Entry::Found, token(link, value), Arc::new(card), cursor);
                }
                Again(link, value) => sightings.look_again(EYES.resource, token(link, value), cursor),
                Everything => sightings.look_again(EYES.resource, None, cursor),
            }
        }
        let changes: Vec<_> = sightings
            .end()
            .map(|change| (change.before_as::<Card>().copied(), change.after_as::<Card>().copied()))
            .collect();
        assert_eq!(changes, expected);
    }

    const OLD: Card = Card(1, 7, 0);
    const NEW: Card = Card(1, 7, 5);

    #[test]
    fn a_row_comes_changes_and_goes() {
        check(&[Again(0, 1), Found(0, 1, NEW)], &[(None, Some(NEW))]);
        check(&[Seen(0, 1, OLD), Again(0, 1), Found(0, 1, NEW)], &[(Some(OLD), Some(NEW))]);
        check(&[Seen(0, 1, OLD), Again(0, 1)], &[(Some(OLD), None)]);
    }

    #[test]
    fn what_stays_as_it_was_is_no_change() {
        check(&[Seen(0, 1, OLD), Again(0, 1), Found(0, 1, OLD)], &[]);
        check(&[Again(0, 1), Found(0, 1, NEW), Seen(0, 1, NEW), Again(0, 1)], &[]);
    }

    #[test]
    fn a_change_that_did_not_come_about_does_no_harm() {
        check(&[Seen(0, 1, OLD)], &[]);
        check(&[Seen(1, 7, OLD), Seen(0, 1, OLD), Again(0, 1), Found(0, 1, NEW)], &[(Some(OLD), Some(NEW))]);
    }

    #[test]
    fn all_rows_are_changed_before_it_is_looked_for_any() {
        let (one, two) = (Card(1, 7, 0), Card(2, 7, 0));
        let one_raised = Card(1, 7, 1);
        check(
            &[Seen(0, 1, one), Seen(0, 2, two), Again(0, 1), Found(0, 1, one_raised), Again(0, 2)],
            &[(Some(one), Some(one_raised)), (Some(two), None)],
        );
    }

    #[test]
    fn a_row_that_has_moved_is_not_lost_where_it_was() {
        let moved = Card(1, 8, 0);
        // Its table's row is changed, and then the one that it belonged to.
        check(
            &[
                Seen(1, 7, OLD),
                Again(1, 7),
                Found(1, 7, OLD),
                Seen(0, 1, OLD),
                Again(0, 1),
                Found(0, 1, moved),
                Again(1, 7),
            ],
            &[(Some(OLD), Some(moved))],
        );
        // Where it belongs to now it is lost.
        check(
            &[Seen(0, 1, OLD), Again(0, 1), Found(0, 1, moved), Seen(1, 8, moved), Again(1, 8)],
            &[(Some(OLD), None)],
        );
    }

    #[test]
    fn a_change_between_a_look_and_the_next_is_not_in_its_way() {
        // A trigger of the application changes the row once more, in between; then it goes after all.
        check(
            &[Seen(1, 7, OLD), Seen(0, 1, OLD), Again(0, 1), Found(0, 1, NEW), Again(1, 7)],
            &[(Some(OLD), None)],
        );
    }

    #[test]
    fn everything_is_lost_that_is_not_found_again() {
        let other = Card(2, 7, 0);
        check(&[Seen(0, 1, OLD), Seen(0, 2, other), Everything, Found(0, 2, other)], &[(Some(OLD), None)]);
    }
}
