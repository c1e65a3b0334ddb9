//! When each socket of a worker is to be looked at next: one timer for all of them, and an entry of a tree for each.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::client::ClientId;

/// Whoever waits also finds out now and then that the worker has ended.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The deadlines of one worker's sockets, in milliseconds of its clock.
#[derive(Debug)]
pub(super) struct Deadlines {
    started: Instant,
    due: RefCell<BTreeSet<(u64, ClientId)>>,
    /// There is one before all those that were waited for.
    sooner: Rc<Notify>,
}

impl Deadlines {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), due: RefCell::default(), sooner: Rc::default() }
    }

    /// The clock: milliseconds since the worker was started.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A client is to be looked at, once.
    pub(super) fn add(&self, at: u64, client: ClientId) {
        let mut due = self.due.borrow_mut();
        if due.first().is_none_or(|(first, _)| at < *first) {
            self.sooner.notify_one();
        }
        due.insert((at, client));
    }

    /// A client is not to be looked at any more.
    pub(super) fn remove(&self, at: u64, client: ClientId) {
        self.due.borrow_mut().remove(&(at, client));
    }

    /// Takes the next client whose time has come.
    pub(super) fn take_due(&self) -> Option<ClientId> {
        let mut due = self.due.borrow_mut();
        if due.first()?.0 > self.now_ms() {
            return None;
        }
        due.pop_first().map(|(_, client)| client)
    }

    /// Waits until there may be one.
    pub(super) fn wait(&self) -> impl Future<Output = ()> + use<> {
        let due = self.due.borrow();
        let first = due.first().map(|(at, _)| Duration::from_millis(at.saturating_sub(self.now_ms())));
        let (pause, sooner) = (first.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE), Rc::clone(&self.sooner));
        async move {
            // Whichever of the two it is, it is looked what is due.
            let _ = tokio::time::timeout(pause, sooner.notified()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[actix::test]
    async fn each_is_due_once_in_order_and_not_before_its_time() {
        let deadlines = Deadlines::new();
        let (early, late) = (ClientId(2), ClientId(1));
        deadlines.add(60_000, late);
        deadlines.wait().await;
        // Who waits for a later one is told of a sooner one, and of no other.
        assert!(deadlines.wait().now_or_never().is_none());
        let waiting = deadlines.wait();
        deadlines.add(10, early);
        assert!(waiting.now_or_never().is_some());
        deadlines.remove(60_000, late);
        deadlines.add(30, late);
        deadlines.add(20, ClientId(3));
        deadlines.remove(20, ClientId(3));
        deadlines.remove(20, late);
        assert!(deadlines.wait().now_or_never().is_none());
        let mut seen = Vec::new();
        while seen.len() < 2 {
            match deadlines.take_due() {
                Some(client) => seen.push((client, deadlines.now_ms())),
                None => deadlines.wait().await,
            }
        }
        let clients: Vec<ClientId> = seen.iter().map(|(client, _)| *client).collect();
        assert_eq!(clients, [early, late]);
        assert!(seen[0].1 >= 10 && seen[1].1 >= 30, "{seen:?}");
        assert_eq!(deadlines.take_due(), None);
    }
}
