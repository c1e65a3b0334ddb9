//! Whose turn it is to read from the database, of those who catch up.
//!
//! When all clients come back at once there are ten thousand such reads. They wait for each other and leave connections to
//! requests. Snapshots may take long, whether the log reaches back to a cursor does not: who asks for that does not wait
//! behind snapshots. The log itself is read by one at a time, for all who need it (`recall`).

use std::sync::Arc;
use std::time::Duration;

use realtime_core::action::Refusal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long somebody waits for his turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// Held while the database reads.
pub(super) type Turn = OwnedSemaphorePermit;

pub(super) struct Turns {
    questions: Queue,
    selections: Queue,
}

struct Queue {
    turns: Arc<Semaphore>,
    #[cfg_attr(
        not(feature = "postgres"),
        allow(dead_code, reason = "PostgreSQL alone waits for all in the end")
    )]
    count: u32,
    patience: Duration,
}

impl Turns {
    /// For a database with so many connections: half of them read snapshots, a quarter looks into the log.
    pub(super) fn of(connections: usize) -> Self {
        Self::new(connections, PATIENCE)
    }

    fn new(connections: usize, patience: Duration) -> Self {
        let queue = |count: usize| {
            let count = u32::try_from(count).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32);
            Queue { turns: Arc::new(Semaphore::new(count as usize)), count, patience }
        };
        Self { questions: queue((connections / 4).max(2)), selections: queue((connections / 2).max(1)) }
    }

    /// To ask whether the log reaches back to a cursor.
    pub(super) async fn to_ask(&self) -> Result<Turn, Refusal> {
        self.questions.turn().await
    }

    /// To read rows of a resource.
    pub(super) async fn to_select(&self) -> Result<Turn, Refusal> {
        self.selections.turn().await
    }

    /// Waits until all who had a turn have finished.
    #[cfg_attr(
        not(feature = "postgres"),
        allow(dead_code, reason = "PostgreSQL alone waits for all in the end")
    )]
    pub(super) async fn all_finished(&self) {
        for queue in [&self.questions, &self.selections] {
            // They are never closed.
            let _ = queue.turns.acquire_many(queue.count).await;
        }
    }
}

impl Queue {
    async fn turn(&self) -> Result<Turn, Refusal> {
        match timeout(self.patience, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(error)) => Err(Refusal::Unavailable(Box::new(error))),
            Err(_) => Err(Refusal::Unavailable("too many catch up before".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_catches_up_waits_in_turn_and_not_for_ever() {
        let turns = Turns::new(16, Duration::from_millis(10));
        let mut selecting = Vec::new();
        for _ in 0..8 {
            selecting.push(turns.to_select().await.expect("there are eight"));
        }
        // Nobody who asks waits behind them.
        let asking = [turns.to_ask().await, turns.to_ask().await, turns.to_ask().await, turns.to_ask().await];
        assert!(asking.iter().all(Result::is_ok) && turns.to_ask().now_or_never().is_none());

        let mut ninth = Box::pin(turns.to_select());
        assert!(ninth.as_mut().now_or_never().is_none());
        selecting.pop();
        let ninth = ninth.await.expect("there are eight again");
        assert!(matches!(turns.to_select().await, Err(Refusal::Unavailable(_))));

        drop((asking, ninth));
        let mut finished = Box::pin(turns.all_finished());
        assert!(finished.as_mut().now_or_never().is_none(), "some select still");
        drop(selecting);
        finished.await;
    }

    #[tokio::test]
    async fn one_connection_is_enough() {
        let turns = Turns::of(1);
        assert!(turns.to_select().await.is_ok() && turns.to_ask().await.is_ok());
    }
}
