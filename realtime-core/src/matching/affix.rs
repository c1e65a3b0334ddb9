//! Groups that ask how a text begins or ends.

use super::key::{Hashes, WORD};
use super::posting::{Slot, Table};

/// Affixes by their hash. A text is read once, up to the longest of them; after each length that occurs one place is
/// looked up.
#[derive(Debug, Default)]
pub(super) struct Affixes {
    table: Table,
    /// How many groups ask for an affix of a length, in bytes; by ascending length, and no count is 0.
    lengths: Vec<(usize, usize)>,
    /// How many groups ask for an affix with a first byte; empty until there was one. Most texts that no affix fits are
    /// known by it.
    firsts: Vec<u32>,
}

impl Affixes {
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Of how many bytes the longest is: what comes after as many of a text does not matter.
    pub(super) fn longest(&self) -> usize {
        self.lengths.last().map_or(0, |(length, _)| *length)
    }

    pub(super) fn insert(
        &mut self,
        hashes: &Hashes,
        affix: impl ExactSizeIterator<Item = u8> + Clone,
        slot: Slot,
    ) {
        let length = affix.len();
        self.firsts.resize(1 << 8, 0);
        if let Some(count) = self.first(affix.clone()) {
            *count += 1;
        }
        match self.lengths.binary_search_by_key(&length, |(length, _)| *length) {
            Ok(at) => self.lengths[at].1 += 1,
            Err(at) => self.lengths.insert(at, (length, 1)),
        }
        each(hashes, affix, [length], |hash| self.table.insert(hash, slot));
    }

    pub(super) fn remove(
        &mut self,
        hashes: &Hashes,
        affix: impl ExactSizeIterator<Item = u8> + Clone,
        slot: Slot,
    ) {
        let length = affix.len();
        if let Some(count) = self.first(affix.clone()) {
            *count = count.saturating_sub(1);
        }
        if let Ok(at) = self.lengths.binary_search_by_key(&length, |(length, _)| *length) {
            self.lengths[at].1 -= 1;
            if self.lengths[at].1 == 0 {
                self.lengths.remove(at);
            }
        }
        each(hashes, affix, [length], |hash| {
            self.table.remove(hash, slot);
        });
    }

    pub(super) fn probe(
        &self,
        hashes: &Hashes,
        text: impl Iterator<Item = u8> + Clone,
        found: &mut Vec<Slot>,
    ) {
        let first = text.clone().next().and_then(|first| self.firsts.get(usize::from(first)));
        if first.is_none_or(|count| *count == 0) {
            return;
        }
        let lengths = self.lengths.iter().map(|(length, _)| *length);
        each(hashes, text, lengths, |hash| self.table.probe(hash, found));
    }

    /// The number of affixes that begin with the first byte of one.
    fn first(&mut self, mut affix: impl Iterator<Item = u8>) -> Option<&mut u32> {
        self.firsts.get_mut(usize::from(affix.next()?))
    }
}

/// Calls a function with the hash of as many bytes as each of some ascending lengths, none of which is 0. A word is
/// hashed when it is full or when it is asked for: that takes longer than a byte does to come into it.
fn each(
    hashes: &Hashes,
    text: impl Iterator<Item = u8>,
    lengths: impl IntoIterator<Item = usize>,
    mut use_it: impl FnMut(u64),
) {
    let mut lengths = lengths.into_iter();
    let Some(mut wanted) = lengths.next() else { return };
    let (mut hash, mut word, mut held) = (0, 0, 0);
    for (at, byte) in text.enumerate() {
        word = (word << 8) | u64::from(byte);
        held += 1;
        if at + 1 == wanted {
            use_it(hashes.step_word(hash, word, held));
            let Some(next) = lengths.next() else { return };
            wanted = next;
        }
        if held == WORD {
            hash = hashes.step_word(hash, word, held);
            (word, held) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_finds_what_asking_every_affix_finds() {
        let hashes = Hashes::default();
        let mut affixes = Affixes::default();
        let mut held: Vec<(Vec<u8>, Slot)> = Vec::new();
        // Of the beginnings of a few texts, longer than two words, and with a byte that could be taken for none.
        let texts: Vec<Vec<u8>> =
            [7, 2, 1].iter().map(|of| (1..20).map(|at| u8::from(at % of == 0)).collect()).collect();
        let check = |affixes: &Affixes, held: &[(Vec<u8>, Slot)]| {
            for text in texts.iter().flat_map(|text| (0..=text.len()).map(|end| &text[..end])) {
                let mut found = Vec::new();
                affixes.probe(&hashes, text.iter().copied(), &mut found);
                found.sort_unstable();
                let fits = held.iter().filter(|(affix, _)| text.starts_with(affix));
                let mut expected: Vec<Slot> = fits.map(|(_, slot)| *slot).collect();
                expected.sort_unstable();
                assert_eq!(found, expected, "{text:?}");
            }
        };
        for (slot, text) in (0..).zip(texts.iter().flat_map(|text| (1..=text.len()).map(|end| &text[..end])))
        {
            if slot % 3 != 1 {
                affixes.insert(&hashes, text.iter().copied(), slot);
                held.push((text.to_vec(), slot));
                check(&affixes, &held);
            }
        }
        assert_eq!(affixes.longest(), 19);
        for at in (0..held.len()).rev() {
            let (affix, slot) = held.swap_remove(at / 2);
            affixes.remove(&hashes, affix.iter().copied(), slot);
            check(&affixes, &held);
        }
        assert!(affixes.is_empty() && affixes.firsts.iter().all(|count| *count == 0));
    }
}
