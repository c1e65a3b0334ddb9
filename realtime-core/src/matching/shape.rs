//! Groups that ask for values of several fields at once.

use super::key::Hashes;
use super::posting::{Mixed, Slot, Table};
use crate::resource::Record;
use crate::value::Value;

/// How many sets of fields are told apart. Each costs every change a look, so what asks for one more is filed under one
/// of its fields.
const MOST: usize = 32;

/// The groups of each set of fields, by the hash of the values that they ask for.
#[derive(Debug, Default)]
pub(super) struct Shapes(Vec<Shape>);

#[derive(Debug)]
struct Shape {
    /// Ascending.
    fields: Vec<usize>,
    groups: Table,
}

/// The values of each field that a group asks for, by ascending field.
pub(super) type Lists<'a> = [(usize, &'a [Value<'static>])];

impl Shapes {
    /// False where there is no room for one more set of fields.
    pub(super) fn insert(&mut self, hashes: &Hashes, lists: &Lists<'_>, slot: Slot) -> bool {
        let at = match self.place(lists) {
            Some(at) => at,
            None if self.0.len() < MOST => {
                let fields = lists.iter().map(|(field, _)| *field).collect();
                self.0.push(Shape { fields, groups: Table::default() });
                self.0.len() - 1
            }
            None => return false,
        };
        keys(hashes, lists).into_iter().for_each(|key| self.0[at].groups.insert(key, slot));
        true
    }

    /// False where the group has not been filed here.
    pub(super) fn remove(&mut self, hashes: &Hashes, lists: &Lists<'_>, slot: Slot) -> bool {
        let Some(at) = self.place(lists) else { return false };
        let groups = &mut self.0[at].groups;
        let mut was_here = false;
        for key in keys(hashes, lists) {
            was_here |= groups.remove(key, slot);
        }
        if groups.is_empty() {
            self.0.swap_remove(at);
        }
        was_here
    }

    fn place(&self, lists: &Lists<'_>) -> Option<usize> {
        self.0.iter().position(|shape| shape.fields.iter().eq(lists.iter().map(|(field, _)| field)))
    }

    pub(super) fn probe(
        &self,
        hashes: &Hashes,
        before: Option<&dyn Record>,
        after: Option<&dyn Record>,
        found: &mut Vec<Slot>,
    ) {
        for Shape { fields, groups } in &self.0 {
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
