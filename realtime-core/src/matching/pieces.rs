//! Tables that grow a little at a time. One that is moved as a whole whenever it is full makes whoever comes then wait,
//! and with him everybody behind him: with a million groups for tens of milliseconds.

use std::ops::{Index, IndexMut};

use super::posting::Mixed;

/// In how many parts a table is. With a million keys a part has four thousand, which are moved in a tenth of a
/// millisecond.
const PARTS: usize = 256;

/// Many small tables in place of a large one; which of them a key is in, its hash says.
#[derive(Debug)]
pub(super) struct Parts<T>(Vec<T>);

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Parts<T> {
    pub(super) fn get(&self, hash: u64) -> Option<&T> {
        self.0.get(Self::part(hash))
    }

    pub(super) fn get_mut(&mut self, hash: u64) -> Option<&mut T> {
        self.0.get_mut(Self::part(hash))
    }

    /// The part of a key that is to come into the table.
    pub(super) fn part_for(&mut self, hash: u64) -> &mut T {
        if self.0.is_empty() {
            self.0.resize_with(PARTS, T::default);
        }
        &mut self.0[Self::part(hash)]
    }

    /// By bits that a table of that part takes neither its places from nor what it tells neighbours apart by.
    fn part(hash: u64) -> usize {
        usize::from((Mixed::spread(hash) >> 40).to_le_bytes()[0])
    }
}

/// How many elements a piece has.
const PIECE: usize = 1 << 10;

/// A list whose elements stay where they are.
#[derive(Debug)]
pub(crate) struct Pieces<T>(Vec<Vec<T>>);

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Pieces<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * PIECE + last.len())
    }

    pub(crate) fn push(&mut self, element: T) {
        match self.0.last_mut() {
            Some(last) if last.len() < PIECE => last.push(element),
            // The first one grows as it is needed: most lists have no other.
            first => {
                let room = if first.is_some() { PIECE } else { 0 };
                let mut piece = Vec::with_capacity(room);
                piece.push(element);
                self.0.push(piece);
            }
        }
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.0.get_mut(at / PIECE)?.get_mut(at % PIECE)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }
}

impl<T> Index<usize> for Pieces<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.0[at / PIECE][at % PIECE]
    }
}

impl<T> IndexMut<usize> for Pieces<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.0[at / PIECE][at % PIECE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_pieces_is_a_list() {
        let mut list = Pieces::default();
        for number in 0..3 * PIECE + 1 {
            assert_eq!((list.len(), list.get_mut(number)), (number, None));
            list.push(number);
            assert_eq!((list[number], list.get_mut(number)), (number, Some(&mut number.clone())));
        }
        list[PIECE] = 0;
        assert_eq!(list.iter().filter(|number| **number == 0).count(), 2);
    }

    #[test]
    fn the_parts_of_a_table_are_about_equally_large() {
        let mut counts: Parts<usize> = Parts::default();
        assert!(counts.get(7).is_none() && counts.get_mut(7).is_none());
        for key in 0..256 * 100 {
            *counts.part_for(key) += 1;
        }
        assert_eq!(counts.0.iter().sum::<usize>(), 256 * 100);
        assert!(counts.0.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
