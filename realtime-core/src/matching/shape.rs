//! Groups that ask for values of several fields at once.

use std::collections::HashMap;

use super::key::Hashes;
use super::posting::{Mixed, Posting, Slot, Table};
use crate::resource::Record;
use crate::value::Value;

/// How many sets of fields are told apart. Each costs every change a look, so what asks for another one is filed under
/// one of its fields.
const MOST: usize = 32;

/// How many groups are moved at most when a set of fields gives its place to another one.
const MOVED: usize = 2_048;

/// The groups of each set of fields, by the hash of the values that they ask for.
///
/// The places are for the sets that most groups ask for, not for those that came first: else whoever came first could
/// keep all of them with a group each, and everybody else's groups would be candidates for many more changes than
/// concern them.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    told_apart: Vec<Shape>,
    /// The groups of the other sets, which are filed under one field.
    others: HashMap<Vec<usize>, Posting>,
}

#[derive(Debug)]
struct Shape {
    /// Ascending.
    fields: Vec<usize>,
    groups: Table,
    /// All groups of the set: also those that came before it was told apart, where those were too many to be moved.
    members: Posting,
}

/// The values of each field that a group asks for, by ascending field.
pub(super) type Lists<'a> = [(usize, &'a [Value<'static>])];

/// What becomes of a group that asks for a set of fields.
pub(super) enum Filed {
    Here,
    /// Under one of its fields, as the set has no place.
    UnderOne,
    /// So too. But now more groups ask for this set than for another one that has a place.
    UnderOneBut(Vec<usize>),
}

impl Shapes {
    pub(super) fn insert(&mut self, hashes: &Hashes, lists: &Lists<'_>, slot: Slot) -> Filed {
        if let Some(at) = self.place(lists) {
            let shape = &mut self.told_apart[at];
            shape.members.insert(slot);
            keys(hashes, lists).into_iter().for_each(|key| shape.groups.insert(key, slot));
            return Filed::Here;
        }
        let fields: Vec<usize> = lists.iter().map(|(field, _)| *field).collect();
        let members = self.others.entry(fields.clone()).or_default();
        members.insert(slot);
        let count = members.len();
        let deserves_a_place = match self.least() {
            None => true,
            Some(least) => {
                let other = self.told_apart[least].members.len();
                // Twice as many, so that two sets do not change places over and over.
                other <= MOVED && count > 2 * other
            }
        };
        if deserves_a_place { Filed::UnderOneBut(fields) } else { Filed::UnderOne }
    }

    /// False where the group has not been filed here.
    pub(super) fn remove(&mut self, hashes: &Hashes, lists: &Lists<'_>, slot: Slot) -> bool {
        let Some(at) = self.place(lists) else {
            let fields: Vec<usize> = lists.iter().map(|(field, _)| *field).collect();
            if let Some(members) = self.others.get_mut(&fields) {
                members.remove(slot);
                if members.is_empty() {
                    self.others.remove(&fields);
                }
            }
            return false;
        };
        let shape = &mut self.told_apart[at];
        let mut was_here = false;
        for key in keys(hashes, lists) {
            was_here |= shape.groups.remove(key, slot);
        }
        shape.members.remove(slot);
        if shape.members.is_empty() {
            self.told_apart.swap_remove(at);
        }
        was_here
    }

    /// The groups that are to be taken out before a set of fields is [told apart](Self::tell_apart), and put in again
    /// after it: those of the set that makes room, and of the set itself as many as can be moved.
    pub(super) fn to_be_moved(&self, fields: &[usize]) -> Vec<Slot> {
        let mut moved = Vec::new();
        if let Some(members) = self.others.get(fields) {
            members.append_to(&mut moved);
            moved.truncate(MOVED);
        }
        if let Some(least) = self.least() {
            self.told_apart[least].members.append_to(&mut moved);
        }
        // One may ask for both, in two of its alternatives.
        moved.sort_unstable();
        moved.dedup();
        moved
    }

    /// Gives a set of fields a place of its own.
    pub(super) fn tell_apart(&mut self, fields: Vec<usize>) {
        let members = self.others.remove(&fields).unwrap_or_default();
        self.told_apart.push(Shape { fields, groups: Table::default(), members });
    }

    /// Where there is no room for one more set: which of those told apart the fewest groups ask for.
    fn least(&self) -> Option<usize> {
        if self.told_apart.len() < MOST {
            return None;
        }
        (0..self.told_apart.len()).min_by_key(|at| self.told_apart[*at].members.len())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.told_apart.is_empty() && self.others.is_empty()
    }

    fn place(&self, lists: &Lists<'_>) -> Option<usize> {
        self.told_apart.iter().position(|shape| shape.fields.iter().eq(lists.iter().map(|(field, _)| field)))
    }

    pub(super) fn probe(
        &self,
        hashes: &Hashes,
        before: Option<&dyn Record>,
        after: Option<&dyn Record>,
        found: &mut Vec<Slot>,
    ) {
        for Shape { fields, groups, .. } in &self.told_apart {
            let key = |row: &dyn Record| {
                fields.iter().fold(0, |key, field| joined(key, hashes.value(&row.value(*field))))
            };
            let (before, after) = (before.map(key), after.map(key));
            if let Some(key) = before {
                groups.probe(key, found);
            }
            if let Some(key) = after
                && before != after
            {
                groups.probe(key, found);
            }
        }
    }
}

fn joined(key: u64, hash: u64) -> u64 {
    Mixed::spread(key).wrapping_add(hash)
}

/// One for each choice of a value of each field.
fn keys(hashes: &Hashes, lists: &Lists<'_>) -> Vec<u64> {
    lists.iter().fold(vec![0], |keys, (_, values)| {
        let hashed: Vec<u64> = values.iter().map(|value| hashes.value(value)).collect();
        keys.iter().flat_map(|key| hashed.iter().map(|hash| joined(*key, *hash))).collect()
    })
}
