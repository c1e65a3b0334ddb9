//! The groups that are filed under one key.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// The place of a group in the table of groups.
pub(crate) type Slot = u32;

/// A set of groups, for the three sizes that occur: most keys are asked for once, some by a few, one by everybody.
#[derive(Debug, Default)]
pub(super) enum Posting {
    #[default]
    Nobody,
    /// A single group, without an allocation.
    One(Slot),
    /// A few; sorted.
    #[expect(clippy::box_collection, reason = "it is rare, and a table has one for each key")]
    Few(Box<Vec<Slot>>),
    /// Too many to move about at every removal.
    #[expect(clippy::box_collection, reason = "rarer still")]
    Many(Box<BTreeSet<Slot>>),
}

/// Up to here moving what follows a removed group is cheaper than a tree.
const FEW: usize = 64;

impl Posting {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::One(_) => 1,
            Self::Few(slots) => slots.len(),
            Self::Many(slots) => slots.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn insert(&mut self, slot: Slot) {
        match self {
            Self::Nobody => *self = Self::One(slot),
            Self::One(first) if *first == slot => {}
            Self::One(first) => *self = Self::Few(Box::new(vec![slot.min(*first), slot.max(*first)])),
            Self::Few(slots) => {
                if let Err(at) = slots.binary_search(&slot) {
                    slots.insert(at, slot);
                    if slots.len() > FEW {
                        *self = Self::Many(Box::new(slots.iter().copied().collect()));
                    }
                }
            }
            Self::Many(slots) => {
                slots.insert(slot);
            }
        }
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        match self {
            Self::One(first) if *first == slot => *self = Self::Nobody,
            Self::Nobody | Self::One(_) => {}
            Self::Few(slots) => {
                if let Ok(at) = slots.binary_search(&slot) {
                    slots.remove(at);
                }
                if slots.is_empty() {
                    *self = Self::Nobody;
                }
            }
            Self::Many(slots) => {
                slots.remove(&slot);
                // Half of it, so that a set at the edge does not turn over and over.
                if slots.len() <= FEW / 2 {
                    *self = Self::Few(Box::new(slots.iter().copied().collect()));
                }
            }
        }
    }

    pub(super) fn append_to(&self, found: &mut Vec<Slot>) {
        match self {
            Self::Nobody => {}
            Self::One(slot) => found.push(*slot),
            Self::Few(slots) => found.extend_from_slice(slots),
            Self::Many(slots) => found.extend(slots.iter()),
        }
    }
}

/// Groups by the hash of what they ask for. Two things with one hash cost a candidate that the filter then refuses.
#[derive(Debug, Default)]
pub(super) struct Table(HashMap<u64, Posting, BuildHasherDefault<Mixed>>);

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, hash: u64, slot: Slot) {
        self.0.entry(hash).or_default().insert(slot);
    }

    pub(super) fn remove(&mut self, hash: u64, slot: Slot) {
        if let Some(posting) = self.0.get_mut(&hash) {
            posting.remove(slot);
            if posting.is_empty() {
                self.0.remove(&hash);
            }
        }
    }

    pub(super) fn probe(&self, hash: u64, found: &mut Vec<Slot>) {
        if let Some(posting) = self.0.get(&hash) {
            posting.append_to(found);
        }
    }
}

/// The hash of a hash: its bits spread over the whole word, which a table takes its places from.
#[derive(Default)]
pub(super) struct Mixed(u64);

impl Mixed {
    pub(super) fn spread(hash: u64) -> u64 {
        let spread = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        spread ^ (spread >> 32)
    }
}

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = Self::spread(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_posting_is_a_set_at_every_size() {
        let mut posting = Posting::default();
        let contents = |posting: &Posting| {
            let mut found = Vec::new();
            posting.append_to(&mut found);
            found
        };
        for slot in (0..200).rev() {
            posting.insert(slot);
            posting.insert(slot);
            posting.remove(1_000);
            assert_eq!(contents(&posting), (slot..200).collect::<Vec<_>>());
        }
        for slot in 0..200 {
            posting.remove(slot);
            posting.remove(slot);
            assert_eq!(contents(&posting), (slot + 1..200).collect::<Vec<_>>());
        }
        assert!(posting.is_empty());
    }
}
