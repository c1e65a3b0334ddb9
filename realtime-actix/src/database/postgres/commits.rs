//! Writers that are about to commit. Their replies go before the events that their writes cause.
//!
//! A commit is seen by the feed before its own connection has answered. So the writer leaves the number of its
//! transaction and its gate here before it commits; whoever comes first, the writer with the answer or the feed with the
//! transaction, closes the gate, and the hold is the writer's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gate::{Gate, Hold};

#[derive(Debug, Default)]
pub(super) struct Commits(Mutex<HashMap<u64, Waiting>>);

#[derive(Debug)]
struct Waiting {
    gate: Gate,
    hold: Option<Hold>,
}

/// One writer's place. Where it is dropped the writer has failed, and its gate opens again.
#[derive(Debug)]
pub(super) struct Place {
    commits: Arc<Commits>,
    xid: u64,
}

impl Commits {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction is about to be committed.
    pub(super) fn announce(self: &Arc<Self>, xid: u64, gate: Gate) -> Place {
        self.lock().insert(xid, Waiting { gate, hold: None });
        Place { commits: Arc::clone(self), xid }
    }

    /// The transactions that are seen are about to be published.
    pub(super) fn hold(&self, sees: impl Fn(u64) -> bool) {
        for (xid, waiting) in self.lock().iter_mut() {
            if waiting.hold.is_none() && sees(*xid) {
                waiting.hold = Some(waiting.gate.hold());
            }
        }
    }
}

impl Place {
    /// The commit has succeeded: the gate is closed from now on at the latest.
    pub(super) fn committed(self) -> Option<Hold> {
        let mut waiting = self.commits.lock();
        waiting.remove(&self.xid).map(|place| place.hold.unwrap_or_else(|| place.gate.hold()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.commits.lock().remove(&self.xid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_first_closes_the_gate_and_the_writer_opens_it() {
        let commits = Arc::new(Commits::default());
        let (early, late, failed) = (Gate::default(), Gate::default(), Gate::default());
        let places =
            [(1, &early), (2, &late), (3, &failed)].map(|(xid, gate)| commits.announce(xid, gate.clone()));
        assert!(early.is_open() && late.is_open());
        commits.hold(|xid| xid != 2);
        assert!(!early.is_open() && late.is_open() && !failed.is_open());
        let [first, second, third] = places;
        drop(third);
        assert!(failed.is_open());
        let holds = (first.committed(), second.committed());
        assert!(!early.is_open() && !late.is_open());
        drop(holds);
        assert!(early.is_open() && late.is_open());
        assert!(commits.lock().is_empty());
    }
}
