//! The change log: a table of the same database into which triggers write every row's image before and after, so that
//! every writer is seen, a rollback takes its rows along, and a position can be resumed from.

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sighting;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod watch;

/// What a row of the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The end of a transaction: the rows before it, up to the mark before, belong together.
    Mark,
    /// A row was inserted.
    Insert,
    /// A row was updated.
    Update,
    /// A row was deleted.
    Delete,
    /// A row of a database view was seen before something changed that may concern it.
    Seen,
    /// It is looked again for the rows that have a part in what changed: those seen so far are gone, but for those that
    /// are found.
    Again,
    /// A row of a database view is there after something changed.
    Found,
}

impl Entry {
    /// The number in the column `operation`.
    pub const fn code(self) -> i32 {
        match self {
            Self::Mark => 0,
            Self::Insert => 1,
            Self::Update => 2,
            Self::Delete => 3,
            Self::Seen => 5,
            Self::Again => 6,
            Self::Found => 7,
        }
    }

    /// The entry of a number in the column `operation`.
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::Mark),
            1 => Some(Self::Insert),
            2 => Some(Self::Update),
            3 => Some(Self::Delete),
            5 => Some(Self::Seen),
            6 => Some(Self::Again),
            7 => Some(Self::Found),
            _ => None,
        }
    }
}
