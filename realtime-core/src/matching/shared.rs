//! What many groups have in common: the terms of their filters that lead to them, which are decided once for a change
//! and not once for each of them. What is not the same must not be taken for it: a group would be told what another one
//! is.

use super::key::Hashes;
use super::posting::{Slot, Table};
use crate::filter::{Filter, TermSet};

/// The terms of a group's filter that lead to it, and which they are: two groups of a resource with the same number
/// have the same there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SharedTerms {
    number: u64,
    terms: TermSet,
}

impl SharedTerms {
    pub(super) fn terms(self) -> TermSet {
        self.terms
    }

    #[cfg(test)]
    pub(super) fn number(self) -> u64 {
        self.number
    }
}

/// Which images of a change satisfy something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Images {
    /// The row as it was.
    pub(crate) before: bool,
    /// The row as it is.
    pub(crate) after: bool,
}

/// How many decisions are kept. A change mostly leads to the groups of one access predicate after those of another; not
/// where groups ask for many values, nor where several predicates have one place (`id__gt` and `id__gte`). One that is not
/// kept is made again.
const KEPT: usize = 64;

#[derive(Debug)]
pub(super) struct Shared {
    /// By the hash of the terms' text.
    groups: Table,
    /// The last number that was given. 0 is that of no terms.
    last: u64,
    changes: u64,
    /// The change and the number that it was decided for, by the remainder of the number.
    decided: [(u64, u64, Images); KEPT],
}

impl Default for Shared {
    fn default() -> Self {
        let decided = [(0, 0, Images::default()); KEPT];
        Self { groups: Table::default(), last: 0, changes: 0, decided }
    }
}

impl Shared {
    /// A group comes. `of` says the filters of the others and what has been said of them here.
    pub(super) fn insert<'a>(
        &mut self,
        hashes: &Hashes,
        slot: Slot,
        (filter, terms): (&Filter, TermSet),
        of: impl Fn(Slot) -> Option<(&'a Filter, SharedTerms)>,
    ) -> SharedTerms {
        if terms.is_empty() {
            return SharedTerms::default();
        }
        let hash = hashes.texts(filter.texts(terms));
        let is_same = |other: Slot| {
            let (other, shared) = of(other)?;
            filter.is_alike(terms, (other, shared.terms)).then_some(shared.number)
        };
        let number = self.groups.find(hash, is_same).unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        self.groups.insert(hash, slot);
        SharedTerms { number, terms }
    }

    pub(super) fn remove(&mut self, hashes: &Hashes, slot: Slot, (filter, terms): (&Filter, TermSet)) {
        if !terms.is_empty() {
            self.groups.remove(hashes.texts(filter.texts(terms)), slot);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Another change is to be decided.
    pub(super) fn begin(&mut self) {
        self.changes += 1;
    }

    /// What has been decided of the terms for this change; else what is decided now.
    pub(super) fn decide(
        &mut self,
        SharedTerms { number, .. }: SharedTerms,
        decide: impl FnOnce() -> Images,
    ) -> Images {
        let kept = &mut self.decided[usize::try_from(number % KEPT as u64).unwrap_or_default()];
        if (kept.0, kept.1) != (self.changes, number) {
            *kept = (self.changes, number, decide());
        }
        kept.2
    }
}
