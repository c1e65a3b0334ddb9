//! Groups that ask how a text begins or ends.

use std::collections::BTreeMap;

use super::key::Hashes;
use super::posting::{Slot, Table};

/// Affixes by their hash. A text is read once, up to the longest of them; after each length that occurs one place is
/// looked up.
#[derive(Debug, Default)]
pub(super) struct Affixes {
    table: Table,
    /// How many groups ask for an affix of a length, in bytes.
    lengths: BTreeMap<usize, usize>,
}

impl Affixes {
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    pub(super) fn insert(&mut self, hashes: &Hashes, affix: impl ExactSizeIterator<Item = u8>, slot: Slot) {
        *self.lengths.entry(affix.len()).or_default() += 1;
        self.table.insert(whole(hashes, affix), slot);
    }

    pub(super) fn remove(&mut self, hashes: &Hashes, affix: impl ExactSizeIterator<Item = u8>, slot: Slot) {
        if let Some(count) = self.lengths.get_mut(&affix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&affix.len());
            }
        }
        self.table.remove(whole(hashes, affix), slot);
    }

    pub(super) fn probe(&self, hashes: &Hashes, text: impl Iterator<Item = u8>, found: &mut Vec<Slot>) {
        let mut lengths = self.lengths.keys();
        let Some(mut wanted) = lengths.next() else { return };
        let mut hash = 0;
        for (at, byte) in text.enumerate() {
            hash = hashes.step(hash, byte);
            if at + 1 == *wanted {
                self.table.probe(hash, found);
                let Some(next) = lengths.next() else { return };
                wanted = next;
            }
        }
    }
}

fn whole(hashes: &Hashes, affix: impl Iterator<Item = u8>) -> u64 {
    affix.fold(0, |hash, byte| hashes.step(hash, byte))
}
