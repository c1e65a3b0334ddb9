//! Rows of one resource that are read in one transaction, so that all of them are true at one position.

use crate::change::ResourceId;
use crate::cursor::Cursor;
use crate::resource::Row;
use crate::sql::{Dialect, NotOfItsType, Statement, Table};

/// What is to be read, and what has been so far. A copy of one that has nothing yet is read instead where a transaction has
/// to be begun anew.
pub trait Selection: Clone + Send + 'static {
    /// What the rows make together.
    type Found: Send + 'static;

    /// Whose rows they are.
    fn resource(&self) -> ResourceId;

    /// The statement that reads them.
    ///
    /// # Errors
    /// Where a value is not one of its field's type, which a parsed filter and a key that was read never have.
    fn statement<DB: Dialect>(&self, table: &Table<DB>) -> Result<Statement<DB>, NotOfItsType>;

    /// Takes the next row. `false` where it is one too many: no more are wanted then.
    fn push(&mut self, row: Row) -> bool;

    /// What has been read, true at a position.
    fn finish(self, cursor: Cursor) -> Self::Found;
}
