//! Positions in the feed of changes, and the opaque text that clients know them by.

use std::fmt;
use std::str::FromStr;

/// How far the feed of one database has come: the sequence number of a row of the change log.
///
/// Every position that is handed out lies between two transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub i64);

/// Tells what a change log was before its database may have been set back from what it is since: each start of a service
/// begins one, at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// A position together with the log that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which log.
    pub epoch: Epoch,
    /// Where in it.
    pub position: Position,
}

impl Cursor {
    /// A position of no log. Who asks to go on from it is told that this cannot be, on every server and for ever: it is
    /// what a client knows while it has only a part of a snapshot.
    pub const NOWHERE: Self = Self { epoch: Epoch(0), position: Position(0) };
}

/// The text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this protocol")]
pub struct MalformedCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}-{}", self.epoch.0, self.position.0)
    }
}

impl FromStr for Cursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        let (epoch, position) = text.split_once('-').ok_or(MalformedCursor)?;
        let canonical = epoch.len() == 16 && !position.starts_with('+');
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| MalformedCursor)?;
        let position = position.parse::<i64>().map_err(|_| MalformedCursor)?;
        if canonical && position >= 0 {
            Ok(Self { epoch: Epoch(epoch), position: Position(position) })
        } else {
            Err(MalformedCursor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor { epoch: Epoch(0xfeed), position: Position(42) };
        assert_eq!(cursor.to_string(), "000000000000feed-42");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in [
            "",
            "-",
            "42",
            "feed-42",
            "000000000000feed--1",
            "000000000000feed-+1",
            "000000000000feed-9999999999999999999",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(MalformedCursor), "{text}");
        }
    }
}
