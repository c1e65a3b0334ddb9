//! Removes what the log keeps no longer: beside the feed, so that nothing that is to be told waits for it.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnectionCore as _;
use realtime_core::cursor::Position;
use realtime_core::log::postgres as log;
use tokio::time::{Instant, sleep};

use super::LogError;
use super::feed::Progress;
use super::marker::Marker;

/// Rows of the log that one statement removes, at most.
const ROWS: i64 = 1_000;

/// The least time between two prunings.
const EVERY: Duration = Duration::from_secs(1);

/// The most time between two looks for rows that are too old.
const LOOK_FOR_AGE_EVERY: Duration = Duration::from_secs(60);

/// Time that is left to others between two statements.
const BREATH: Duration = Duration::from_millis(5);

pub(super) struct Pruner {
    pub(super) marker: Arc<Marker>,
    pub(super) progress: Arc<Progress>,
    /// Rows that the log keeps.
    pub(super) rows: i64,
    /// Seconds for which it keeps them.
    pub(super) seconds: u32,
}

impl Pruner {
    /// Removes the oldest rows, a few at a time, until the service is closed. What is not published yet is never removed.
    pub(super) async fn run(self) {
        // Between two looks for what is too old the log keeps what becomes it.
        let age = Duration::from_secs(u64::from(self.seconds / 60)).clamp(EVERY, LOOK_FOR_AGE_EVERY);
        let (mut looked, mut up_to, mut failed) = (Instant::now(), Position(0), false);
        while !self.progress.is_closing() {
            sleep(EVERY).await;
            let more_than = Position(self.progress.newest().0 - self.rows);
            if more_than <= up_to && looked.elapsed() < age {
                continue;
            }
            looked = Instant::now();
            match self.prune(more_than).await {
                Ok(()) => (up_to, failed) = (more_than, false),
                Err(error) => {
                    // Of a database that is away the feed speaks.
                    if self.progress.is_healthy() && !std::mem::replace(&mut failed, true) {
                        tracing::warn!(%error, "the change log cannot be shortened; trying on");
                    }
                }
            }
        }
    }

    /// On a connection of its own, which is not kept: there is nothing to be removed for most of the time.
    async fn prune(&self, more_than: Position) -> Result<(), LogError> {
        let mut connection = self.marker.connect().await?;
        let is_all = |removed: usize| i64::try_from(removed).is_ok_and(|removed| removed < ROWS);
        while !self.progress.is_closing() {
            let marks = log::prune_marks(self.progress.published(), more_than, self.seconds, ROWS);
            let no_marks = is_all(connection.execute_returning_count(marks).await?);
            let no_rows = is_all(connection.execute_returning_count(log::prune_rows(ROWS)).await?);
            if no_marks && no_rows {
                break;
            }
            sleep(BREATH).await;
        }
        Ok(())
    }
}
