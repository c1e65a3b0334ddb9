//! The groups that are filed under one key.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use super::pieces::Parts;

/// The place of a group in the table of groups, below 2^31.
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
    Many(Box<Many>),
}

/// A set of groups whose slots are mostly near each other, as groups that come one after another have them.
#[derive(Debug, Default)]
pub(super) struct Many {
    /// By the slot without its lowest [`WORD`] bits, a bit for each of the slots that have the others in common: a step
    /// in a tree costs as much as a dozen of bits. None is 0.
    words: BTreeMap<Slot, u64>,
    len: usize,
}

/// How many bits of a slot are a place in a word.
const WORD: u32 = 6;

/// Up to here moving what follows a removed group is cheaper than a tree.
const FEW: usize = 64;

impl Posting {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::One(_) => 1,
            Self::Few(slots) => slots.len(),
            Self::Many(many) => many.len,
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
                        let mut many = Many::default();
                        slots.iter().for_each(|slot| many.insert(*slot));
                        *self = Self::Many(Box::new(many));
                    }
                }
            }
            Self::Many(many) => many.insert(slot),
        }
    }

    /// True if it was there.
    pub(super) fn remove(&mut self, slot: Slot) -> bool {
        match self {
            Self::One(first) if *first == slot => {
                *self = Self::Nobody;
                true
            }
            Self::Nobody | Self::One(_) => false,
            Self::Few(slots) => {
                let at = slots.binary_search(&slot);
                if let Ok(at) = at {
                    slots.remove(at);
                }
                if slots.is_empty() {
                    *self = Self::Nobody;
                }
                at.is_ok()
            }
            Self::Many(many) => {
                let was_there = many.remove(slot);
                // Half of it, so that a set at the edge does not turn over and over.
                if many.len <= FEW / 2 {
                    let mut few = Vec::with_capacity(many.len);
                    many.append_to(&mut few);
                    *self = Self::Few(Box::new(few));
                }
                was_there
            }
        }
    }

    /// The group, where there is one.
    fn only(&self) -> Option<Slot> {
        match self {
            Self::One(slot) => Some(*slot),
            Self::Few(slots) => slots.first().copied().filter(|_| slots.len() == 1),
            // There are more.
            Self::Nobody | Self::Many(_) => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> {
        let (few, many): (&[Slot], _) = match self {
            Self::Nobody => (&[], None),
            Self::One(slot) => (std::slice::from_ref(slot), None),
            Self::Few(slots) => (slots, None),
            Self::Many(many) => (&[], Some(many)),
        };
        few.iter().copied().chain(many.into_iter().flat_map(|many| many.iter()))
    }

    pub(super) fn append_to(&self, found: &mut Vec<Slot>) {
        match self {
            Self::Nobody => {}
            Self::One(slot) => found.push(*slot),
            Self::Few(slots) => found.extend_from_slice(slots),
            Self::Many(many) => many.append_to(found),
        }
    }
}

impl Many {
    fn place(slot: Slot) -> (Slot, u64) {
        (slot >> WORD, 1 << (slot % (1 << WORD)))
    }

    fn insert(&mut self, slot: Slot) {
        let (at, bit) = Self::place(slot);
        let word = self.words.entry(at).or_default();
        self.len += usize::from(*word & bit == 0);
        *word |= bit;
    }

    /// True if it was there.
    fn remove(&mut self, slot: Slot) -> bool {
        let (at, bit) = Self::place(slot);
        let Some(word) = self.words.get_mut(&at).filter(|word| **word & bit != 0) else { return false };
        *word ^= bit;
        self.len -= 1;
        if *word == 0 {
            self.words.remove(&at);
        }
        true
    }

    fn append_to(&self, found: &mut Vec<Slot>) {
        found.reserve(self.len);
        found.extend(self.iter());
    }

    fn iter(&self) -> impl Iterator<Item = Slot> {
        self.words.iter().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some((at << WORD) | bit)
            })
        })
    }
}

/// Groups by the hash of what they ask for. Two things with one hash cost a candidate that the filter then refuses.
#[derive(Debug, Default)]
pub(crate) struct Table {
    parts: Parts<Part>,
    keys: usize,
}

/// A part of a table whose keys are hashes.
pub(super) type Map<T> = HashMap<u64, T, BuildHasherDefault<Mixed>>;

/// Eight bytes for each key, as a group that asks for many values is filed under all of them: of its hash a half, which
/// tells enough apart in a part, and a group or the place of several.
#[derive(Debug, Default)]
struct Part {
    keys: HashMap<u32, u32, BuildHasherDefault<Mixed>>,
    several: Vec<Posting>,
    free: Vec<u32>,
}

/// Says that what is under a key is the place of several groups.
const SEVERAL: u32 = 1 << 31;

impl Part {
    /// True where nothing was under the key.
    fn insert(&mut self, key: u32, slot: Slot) -> bool {
        match self.keys.entry(key) {
            Entry::Vacant(place) => {
                place.insert(slot);
                true
            }
            Entry::Occupied(mut place) => {
                let held = *place.get();
                if held & SEVERAL > 0 {
                    self.several[(held ^ SEVERAL) as usize].insert(slot);
                } else if held != slot {
                    let mut both = Posting::One(held);
                    both.insert(slot);
                    let at = self.free.pop().unwrap_or_else(|| {
                        self.several.push(Posting::Nobody);
                        u32::try_from(self.several.len() - 1).expect("there are fewer than slots")
                    });
                    self.several[at as usize] = both;
                    place.insert(SEVERAL | at);
                }
                false
            }
        }
    }

    /// Was the group under the key, and is now nothing there?
    fn remove(&mut self, key: u32, slot: Slot) -> (bool, bool) {
        let Some(held) = self.keys.get_mut(&key) else { return (false, false) };
        if *held & SEVERAL > 0 {
            let at = *held ^ SEVERAL;
            let posting = &mut self.several[at as usize];
            let was_there = posting.remove(slot);
            if let Some(last) = posting.only() {
                *posting = Posting::Nobody;
                self.free.push(at);
                *held = last;
            }
            (was_there, false)
        } else if *held == slot {
            self.keys.remove(&key);
            (true, true)
        } else {
            (false, false)
        }
    }

    fn get(&self, key: u32) -> Option<Held<'_>> {
        let held = *self.keys.get(&key)?;
        Some(if held & SEVERAL > 0 {
            Held::Several(&self.several[(held ^ SEVERAL) as usize])
        } else {
            Held::One(held)
        })
    }
}

/// What is under a key.
enum Held<'a> {
    One(Slot),
    Several(&'a Posting),
}

/// The half of a hash that a part keeps.
fn half(hash: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
    let half = hash as u32;
    half
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.keys == 0
    }

    pub(crate) fn insert(&mut self, hash: u64, slot: Slot) {
        self.keys += usize::from(self.parts.part_for(hash).insert(half(hash), slot));
    }

    /// True if it was there.
    pub(crate) fn remove(&mut self, hash: u64, slot: Slot) -> bool {
        let Some(part) = self.parts.get_mut(hash) else { return false };
        let (was_there, is_gone) = part.remove(half(hash), slot);
        self.keys -= usize::from(is_gone);
        was_there
    }

    pub(super) fn probe(&self, hash: u64, found: &mut Vec<Slot>) {
        match self.held(hash) {
            None => {}
            Some(Held::One(slot)) => found.push(slot),
            Some(Held::Several(posting)) => posting.append_to(found),
        }
    }

    /// What is wanted, of the first group under a hash that has it.
    pub(crate) fn find<T>(&self, hash: u64, wanted: impl Fn(Slot) -> Option<T>) -> Option<T> {
        match self.held(hash)? {
            Held::One(slot) => wanted(slot),
            Held::Several(posting) => posting.iter().find_map(wanted),
        }
    }

    fn held(&self, hash: u64) -> Option<Held<'_>> {
        self.parts.get(hash)?.get(half(hash))
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

    fn write_u32(&mut self, half: u32) {
        self.write_u64(u64::from(half));
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
            assert!(!posting.remove(1_000));
            assert_eq!(contents(&posting), (slot..200).collect::<Vec<_>>());
        }
        for slot in 0..200 {
            assert!(posting.remove(slot) && !posting.remove(slot));
            assert_eq!(contents(&posting), (slot + 1..200).collect::<Vec<_>>());
        }
        assert!(posting.is_empty());
    }

    #[test]
    fn slots_that_are_far_from_each_other_are_many_as_well() {
        let mut posting = Posting::default();
        let slots = || (0..1_000).map(|number: Slot| number * 2_147_483);
        slots().for_each(|slot| posting.insert(slot));
        let mut found = Vec::new();
        posting.append_to(&mut found);
        assert!(found.iter().copied().eq(slots()) && posting.len() == 1_000);
        for (left, slot) in slots().enumerate().map(|(at, slot)| (999 - at, slot)) {
            assert!(posting.remove(slot) && !posting.remove(slot) && posting.len() == left);
        }
    }

    #[test]
    fn a_table_holds_what_has_been_put_under_its_keys() {
        let mut table = Table::default();
        let mut held: Vec<(u64, Slot)> = Vec::new();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for step in 0..4_000 {
            state = Mixed::spread(state + 1);
            // Few keys, so that they have none, one and several groups.
            let (hash, slot) = (Mixed::spread(state % 40), half(state >> 40) % 90);
            // It grows, shrinks and grows again.
            let at = held.iter().position(|one| *one == (hash, slot));
            if (state >> 32) % 10 < if step / 1_000 % 2 == 0 { 8 } else { 2 } {
                table.insert(hash, slot);
                if at.is_none() {
                    held.push((hash, slot));
                }
            } else {
                assert_eq!(table.remove(hash, slot), at.is_some());
                at.map(|at| held.swap_remove(at));
            }
            let mut found = Vec::new();
            table.probe(hash, &mut found);
            found.sort_unstable();
            let mut expected: Vec<Slot> =
                held.iter().filter(|(key, _)| *key == hash).map(|(_, slot)| *slot).collect();
            expected.sort_unstable();
            assert_eq!(found, expected);
            let wanted = |one: Slot| (one == slot).then_some(one);
            assert_eq!(table.find(hash, wanted), expected.contains(&slot).then_some(slot));
        }
        for (hash, slot) in held {
            assert!(!table.is_empty() && table.remove(hash, slot));
        }
        assert!(table.is_empty());
    }
}
