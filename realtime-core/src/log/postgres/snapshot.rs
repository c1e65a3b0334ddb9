//! PostgreSQL's snapshots: which transactions had committed at a moment.

use std::str::FromStr;

use crate::cursor::Position;

/// What `pg_current_snapshot()` says. Transactions are numbered by 64 bits, which do not wrap around.
///
/// It does not know which transactions were rolled back; their rows are seen by nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgSnapshot {
    /// The text as the server wrote it.
    text: String,
    /// All before it had ended.
    xmin: u64,
    /// None from it on had ended.
    xmax: u64,
    /// Those between that had not ended, in order.
    running: Vec<u64>,
}

/// The text is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no snapshot")]
pub struct MalformedSnapshot(pub String);

impl PgSnapshot {
    /// Had the transaction ended?
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// The text as the server wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every transaction before this one had ended.
    pub fn oldest(&self) -> u64 {
        self.xmin
    }

    /// The transaction that was to begin next.
    pub fn next(&self) -> u64 {
        self.xmax
    }
}

impl FromStr for PgSnapshot {
    type Err = MalformedSnapshot;

    fn from_str(text: &str) -> Result<Self, MalformedSnapshot> {
        let malformed = || MalformedSnapshot(text.to_owned());
        let mut parts = text.splitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or_else(malformed);
        let (xmin, xmax) = (number()?, number()?);
        let list = parts.next().ok_or_else(malformed)?;
        let mut running = Vec::new();
        for xid in list.split(',').filter(|_| !list.is_empty()) {
            running.push(xid.parse().map_err(|_| malformed())?);
        }
        running.sort_unstable();
        let inside = running.iter().all(|xid| (xmin..xmax).contains(xid));
        if inside && xmin <= xmax {
            Ok(Self { text: text.to_owned(), xmin, xmax, running })
        } else {
            Err(malformed())
        }
    }
}

/// A position and the transactions before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The position.
    pub position: Position,
    /// Sees the transactions before it.
    pub snapshot: PgSnapshot,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let snapshot: PgSnapshot = "10:20:10,14,15".parse().expect("a snapshot");
        let seen: Vec<u64> = (8..23).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        let quiet: PgSnapshot = "20:20:".parse().expect("a snapshot");
        assert!(quiet.sees(19) && !quiet.sees(20));
        assert_eq!(quiet.text(), "20:20:");
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for text in ["", "1", "1:2", "1:2:x", "2:1:", "1:2:3", "1:2:,", "-1:2:", "1:9:1:2"] {
            assert_eq!(text.parse::<PgSnapshot>(), Err(MalformedSnapshot(text.to_owned())), "{text}");
        }
    }
}
