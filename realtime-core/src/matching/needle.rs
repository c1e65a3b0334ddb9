//! Groups that ask what a text contains.
//!
//! A needle is filed under its first bytes, up to a word of them, and there under its length; where both have led to a
//! place in a text, the hash of as many bytes there leads to the groups. So a text is gone over once for each length of
//! such a beginning that occurs, and a needle that begins like many others costs no more than their different lengths.
//! Both are a few entries of tables: needles come and go at no one's expense.

use std::fmt;

use super::key::{Hashes, WORD};
use super::pieces::Parts;
use super::posting::{Map, Mixed, Posting, Slot};

/// Bits of the filter for each beginning: of the places of a text that lead nowhere, few more than one in so many are
/// looked up.
const BITS: usize = 16;

/// Places of a text that are kept room for from one to the next.
const ROOM: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Needles {
    /// By their length, from 1 on. Short needles begin with all of themselves: of a million words there is one for
    /// every four letters, and each place of a text would lead to some.
    beginnings: [Class; WORD],
    /// By the hash of the whole needle. Two with one hash share a place, and are told apart by the filter.
    needles: Parts<Map<Needle>>,
    /// The number of them.
    held: usize,
    /// The powers of the hashes' base, up to the longest needle that there was.
    powers: Vec<u64>,
    queries: u64,
    /// The hash of what comes before each place of a text: empty until a beginning is found in it, kept for its
    /// allocation.
    hashes: Vec<u64>,
}

#[derive(Debug, Default)]
struct Needle {
    groups: Posting,
    /// The last query that found it: a text may contain it many times.
    found_by: u64,
}

/// The beginnings of one length, and how many there are.
#[derive(Debug, Default)]
struct Class {
    parts: Parts<Beginnings>,
    held: usize,
}

/// A part of them, and how many groups ask for needles of which lengths that begin so.
#[derive(Debug, Default)]
struct Beginnings {
    lengths: Map<Lengths>,
    /// A bit for each beginning, small enough to be near where the map is not: most places of a text lead nowhere.
    filter: Vec<u64>,
    /// Beginnings that have a bit and are gone.
    gone: usize,
}

/// How many groups ask for needles of a length. Most beginnings are those of one.
#[derive(Debug)]
enum Lengths {
    One(u32, u32),
    #[expect(clippy::box_collection, reason = "it is rare, and the map has one for each beginning")]
    Some(Box<Vec<(u32, u32)>>),
}

/// Says nothing of the powers, which are those of a secret.
impl fmt::Debug for Needles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Needles").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Needles {
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    pub(super) fn insert(&mut self, hashes: &Hashes, text: &str, slot: Slot) {
        let Some((class, beginning, whole)) = places(hashes, text.as_bytes()) else { return };
        while self.powers.len() <= text.len() {
            self.powers.push(self.powers.last().map_or(1, |power| hashes.times_base(*power)));
        }
        // Of each one that comes, as it may be another text with the same hash.
        self.beginnings[class].insert(beginning, length(text));
        let needle = self.needles.part_for(whole).entry(whole).or_default();
        self.held += usize::from(needle.groups.is_empty());
        needle.groups.insert(slot);
    }

    pub(super) fn remove(&mut self, hashes: &Hashes, text: &str, slot: Slot) {
        let Some((class, beginning, whole)) = places(hashes, text.as_bytes()) else { return };
        self.beginnings[class].remove(beginning, length(text));
        let Some(needles) = self.needles.get_mut(whole) else { return };
        let Some(needle) = needles.get_mut(&whole) else { return };
        needle.groups.remove(slot);
        if needle.groups.is_empty() {
            needles.remove(&whole);
            self.held -= 1;
        }
    }

    pub(super) fn probe(&mut self, hashes: &Hashes, text: &str, found: &mut Vec<Slot>) {
        self.queries += 1;
        let text = text.as_bytes();
        for (class, length) in self.beginnings.iter().zip(1..).filter(|(class, _)| class.held > 0) {
            let mask = u64::MAX >> (64 - 8 * length);
            let mut word = 0;
            for (byte, end) in text.iter().zip(1_usize..) {
                word = ((word << 8) | u64::from(*byte)) & mask;
                let Some(start) = end.checked_sub(length) else { continue };
                let beginning = hashes.step_word(0, word, length);
                let Some(lengths) = class.parts.get(beginning).and_then(|part| part.get(beginning)) else {
                    continue;
                };
                if self.hashes.is_empty() {
                    before_each(hashes, text, &mut self.hashes);
                }
                for length in lengths.all() {
                    let length = length as usize;
                    let Some([start, .., end]) = self.hashes.get(start..=start + length) else { continue };
                    let whole = hashes.between(*start, *end, self.powers[length]);
                    if let Some(needle) = self.needles.get_mut(whole).and_then(|part| part.get_mut(&whole))
                        && needle.found_by != self.queries
                    {
                        needle.found_by = self.queries;
                        needle.groups.append_to(found);
                    }
                }
            }
        }
        self.hashes.clear();
        self.hashes.shrink_to(ROOM);
    }
}

/// The hash of what comes before each place of a text, up to its end.
fn before_each(hashes: &Hashes, text: &[u8], out: &mut Vec<u64>) {
    let mut hash = 0;
    out.push(hash);
    out.extend(text.iter().map(|byte| {
        hash = hashes.step(hash, *byte);
        hash
    }));
}

/// The number of the length that a needle's beginning has, and the hashes of its beginning and of all of it.
fn places(hashes: &Hashes, text: &[u8]) -> Option<(usize, u64, u64)> {
    let beginning = &text[..text.len().min(WORD)];
    let class = beginning.len().checked_sub(1)?;
    let whole = text.iter().fold(0, |hash, byte| hashes.step(hash, *byte));
    Some((class, hashes.bytes(beginning), whole))
}

fn length(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

impl Class {
    fn insert(&mut self, beginning: u64, length: u32) {
        self.held += usize::from(self.parts.part_for(beginning).insert(beginning, length));
    }

    fn remove(&mut self, beginning: u64, length: u32) {
        if let Some(part) = self.parts.get_mut(beginning) {
            self.held -= usize::from(part.remove(beginning, length));
        }
    }
}

impl Beginnings {
    fn get(&self, beginning: u64) -> Option<&Lengths> {
        let (word, bit) = self.place(beginning);
        if self.filter.get(word)? & bit == 0 {
            return None;
        }
        self.lengths.get(&beginning)
    }

    fn place(&self, beginning: u64) -> (usize, u64) {
        // The number of words is a power of two.
        let places = (self.filter.len() as u64 * 64).wrapping_sub(1);
        let place = Mixed::spread(beginning) & places;
        (usize::try_from(place / 64).unwrap_or(usize::MAX), 1 << (place % 64))
    }

    /// True for a beginning that was not there.
    fn insert(&mut self, beginning: u64, length: u32) -> bool {
        match self.lengths.get_mut(&beginning) {
            Some(lengths) => {
                lengths.insert(length);
                false
            }
            None => {
                self.lengths.insert(beginning, Lengths::One(length, 1));
                if (self.lengths.len() + self.gone) * BITS > self.filter.len() * 64 {
                    self.fill();
                } else {
                    self.mark(beginning);
                }
                true
            }
        }
    }

    /// True when no needle begins so any more.
    fn remove(&mut self, beginning: u64, length: u32) -> bool {
        let Some(lengths) = self.lengths.get_mut(&beginning) else { return false };
        let is_gone = lengths.remove(length);
        if is_gone {
            self.lengths.remove(&beginning);
            self.gone += 1;
            if self.gone > self.lengths.len() {
                self.fill();
            }
        }
        is_gone
    }

    fn mark(&mut self, beginning: u64) {
        let (word, bit) = self.place(beginning);
        if let Some(word) = self.filter.get_mut(word) {
            *word |= bit;
        }
    }

    /// Makes the filter anew, with room for as many again.
    fn fill(&mut self) {
        let words = (self.lengths.len() * 2 * BITS / 64).next_power_of_two();
        self.filter = if self.lengths.is_empty() { Vec::new() } else { vec![0; words] };
        self.gone = 0;
        let held = std::mem::take(&mut self.lengths);
        held.keys().for_each(|beginning| self.mark(*beginning));
        self.lengths = held;
        self.lengths.shrink_to(2 * self.lengths.len());
    }
}

impl Lengths {
    fn all(&self) -> impl Iterator<Item = u32> {
        let (one, some) = match self {
            Self::One(length, _) => (Some(*length), &[][..]),
            Self::Some(lengths) => (None, &lengths[..]),
        };
        one.into_iter().chain(some.iter().map(|(length, _)| *length))
    }

    fn insert(&mut self, length: u32) {
        match self {
            Self::One(first, count) if *first == length => *count += 1,
            Self::One(first, count) => {
                *self = Self::Some(Box::new(vec![(*first, *count), (length, 1)]));
            }
            Self::Some(lengths) => match lengths.iter_mut().find(|(one, _)| *one == length) {
                Some((_, count)) => *count += 1,
                None => lengths.push((length, 1)),
            },
        }
    }

    /// True when nothing is left.
    fn remove(&mut self, length: u32) -> bool {
        match self {
            Self::One(first, count) if *first == length => {
                *count -= 1;
                *count == 0
            }
            Self::One(..) => false,
            Self::Some(lengths) => {
                if let Some(at) = lengths.iter().position(|(one, _)| *one == length) {
                    lengths[at].1 -= 1;
                    if lengths[at].1 == 0 {
                        lengths.swap_remove(at);
                    }
                }
                lengths.is_empty()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_finds_what_asking_every_needle_finds() {
        let hashes = Hashes::default();
        let mut needles = Needles::default();
        let mut held: Vec<(String, Slot)> = Vec::new();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        for slot in 0..1_500 {
            // Of two letters, so that they have beginnings in common and occur; it grows, shrinks, and grows again.
            let mut text = |longest: u64| -> String {
                (0..=below(longest)).map(|_| if below(2) == 0 { 'a' } else { 'é' }).collect()
            };
            let (needle, text) = (text(12), text(30));
            let grows = slot / 500 != 1;
            if held.is_empty() || below(10) < if grows { 8 } else { 2 } {
                needles.insert(&hashes, &needle, slot);
                held.push((needle, slot));
            } else {
                let at = usize::try_from(below(held.len() as u64)).expect("few");
                let (needle, slot) = held.swap_remove(at);
                needles.remove(&hashes, &needle, slot);
            }
            let mut found = Vec::new();
            needles.probe(&hashes, &text, &mut found);
            found.sort_unstable();
            let mut expected: Vec<Slot> =
                held.iter().filter(|(needle, _)| text.contains(&**needle)).map(|(_, slot)| *slot).collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "in {text}");
        }
        for (needle, slot) in held {
            needles.remove(&hashes, &needle, slot);
        }
        assert!(needles.is_empty());
        assert!(needles.beginnings.iter().all(|class| class.held == 0));
    }
}
