//! What happened to one row in one committed transaction.

use crate::cursor::Position;
use crate::resource::{Record, Row};
use crate::value::Value;

/// The index of a resource among those that are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId(pub usize);

/// One committed insert, update or delete of one row, as one resource sees it.
///
/// The images are the model itself, decoded by Diesel as a `SELECT` would have.
#[derive(Clone)]
pub struct Change {
    /// Whose row it is.
    pub resource: ResourceId,
    /// The row's primary key.
    pub key: Value<'static>,
    /// The row before the transaction; `None` where it did not exist.
    pub before: Option<Row>,
    /// The row after the transaction; `None` where it no longer exists.
    pub after: Option<Row>,
    /// The position of the row's last change in the log.
    pub cursor: Position,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Change")
            .field("resource", &self.resource)
            .field("key", &self.key)
            .field("before", &self.before.is_some())
            .field("after", &self.after.is_some())
            .field("cursor", &self.cursor)
            .finish()
    }
}

impl Change {
    /// The row before, as the model it is.
    pub fn before_as<M: Record>(&self) -> Option<&M> {
        (self.before.as_deref()? as &dyn std::any::Any).downcast_ref()
    }

    /// The row after, as the model it is.
    pub fn after_as<M: Record>(&self) -> Option<&M> {
        (self.after.as_deref()? as &dyn std::any::Any).downcast_ref()
    }
}

/// One or more whole transactions, in commit order, and the position right after them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The changes; those of one transaction follow each other.
    pub changes: Vec<Change>,
    /// The position right after the last transaction.
    pub position: Position,
    /// The resources of which a change could not be read: who follows them has missed something.
    pub lost: Vec<ResourceId>,
}

/// Reduces the changes of one transaction to what it did as a whole: one change for each row, from the image before
/// the first to the image after the last. A row that was made and removed again has none.
///
/// A change of the primary key counts as the removal of one row and the making of another. The order is that in which
/// the transaction first touched the rows.
pub fn coalesce(
    changes: Vec<Change>,
    key_of: impl Fn(ResourceId, &dyn Record) -> Value<'static>,
) -> Vec<Change> {
    let mut whole: Vec<Change> = Vec::with_capacity(changes.len());
    let mut seen: std::collections::HashMap<(ResourceId, String), usize> = std::collections::HashMap::new();
    let single = changes.len() == 1;
    let mut add = |change: Change| {
        if single {
            whole.push(change);
            return;
        }
        let mut key = String::new();
        change.key.write_json(&mut key);
        match seen.entry((change.resource, key)) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(whole.len());
                whole.push(change);
            }
            std::collections::hash_map::Entry::Occupied(entry) => {
                let first = &mut whole[*entry.get()];
                first.after = change.after;
                first.cursor = change.cursor;
            }
        }
    };
    for change in changes {
        let moved_to = match (&change.before, &change.after) {
            (Some(_), Some(after)) => {
                let key = key_of(change.resource, after.as_ref());
                (!key.is_same(&change.key)).then_some(key)
            }
            _ => None,
        };
        if let Some(key) = moved_to {
            let arrival = Change { key, before: None, ..change.clone() };
            add(Change { after: None, ..change });
            add(arrival);
        } else {
            add(change);
        }
    }
    whole.retain(|change| change.before.is_some() || change.after.is_some());
    whole
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    struct Pair(i64, i64);
    impl Record for Pair {
        fn value(&self, field: usize) -> Value<'_> {
            Value::Int(if field == 0 { self.0 } else { self.1 })
        }
    }

    fn change(before: Option<(i64, i64)>, after: Option<(i64, i64)>) -> Change {
        let row = |pair: (i64, i64)| Arc::new(Pair(pair.0, pair.1)) as Row;
        let key = before.or(after).expect("a change has an image").0;
        Change {
            resource: ResourceId(0),
            key: Value::Int(key),
            before: before.map(row),
            after: after.map(row),
            cursor: Position(0),
        }
    }

    type Images = (Option<(i64, i64)>, Option<(i64, i64)>);

    #[track_caller]
    fn check(changes: &[Images], expected: &[Images]) {
        let whole = coalesce(changes.iter().map(|(b, a)| change(*b, *a)).collect(), |_, row| {
            row.value(0).into_owned()
        });
        let seen: Vec<_> = whole
            .iter()
            .map(|change| {
                let pair = |row: Option<&Pair>| row.map(|pair| (pair.0, pair.1));
                (pair(change.before_as()), pair(change.after_as()))
            })
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn several_changes_of_a_row_are_one() {
        check(
            &[
                (None, Some((1, 1))),
                (Some((1, 1)), Some((1, 2))),
                (None, Some((2, 0))),
                (Some((1, 2)), Some((1, 3))),
            ],
            &[(None, Some((1, 3))), (None, Some((2, 0)))],
        );
    }

    #[test]
    fn a_row_made_and_removed_is_none() {
        check(&[(None, Some((1, 1))), (Some((1, 1)), None)], &[]);
    }

    #[test]
    fn a_row_removed_and_made_again_is_an_update() {
        check(&[(Some((1, 1)), None), (None, Some((1, 2)))], &[(Some((1, 1)), Some((1, 2)))]);
    }

    #[test]
    fn a_changed_key_is_a_removal_and_an_arrival() {
        check(&[(Some((1, 5)), Some((2, 5)))], &[(Some((1, 5)), None), (None, Some((2, 5)))]);
        check(&[(Some((1, 5)), Some((2, 5))), (Some((2, 5)), Some((1, 6)))], &[(Some((1, 5)), Some((1, 6)))]);
    }
}
