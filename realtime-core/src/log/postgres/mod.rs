//! The change log on PostgreSQL: its tables and triggers, and how it is read. Statements and decoding only; whoever has a
//! driver runs them.
//!
//! `realtime_log(seq, xid, layout, operation, before, after)` holds each image as `record_send` writes it: every value in
//! the binary form in which a `SELECT` would send it, so that Diesel decodes an image as it would decode the row. Which
//! column of which table each value is, the row's *layout* says: `realtime_layout(id, table_name, columns)`.
//!
//! Of a database view the log has what triggers of its tables see of it, each row with what it was looked for by in the
//! place of the other image.
//!
//! Numbers are given out before the commit, so neither `seq` nor `xid` is commit order. What is: the difference of two
//! of PostgreSQL's snapshots, of which the later one sees whole transactions that the earlier one did not.
//! `realtime_mark(position, previous, snapshot)` gives numbers to snapshots: a *mark* at a position says which
//! transactions are before it. Marks are a chain, each names the one before it and no two the same one; a mark that was
//! made with a snapshot that did not see the newest one is refused by that. So their order is that of their snapshots
//! without a lock, whoever makes them.
//!
//! Between two marks whole transactions are in the order of their last `seq`: who changes a row after another
//! transaction did so waits for that one to commit, and takes his number after it.

mod image;
mod install;
mod pgoutput;
mod reader;
mod replication;
mod snapshot;
mod statement;
mod views;

pub use image::{Image, MalformedImage};
pub use install::{Installed, inspect, outstanding};
pub use pgoutput::{Capture, Captured, MessageError};
pub use reader::{Layout, LogRow, Read, Reader};
pub use replication::{
    Barrier, Marked, Replicated, SlotState, barrier, begin_copying, begin_silence, copy, copy_noted,
    create_slot, drop_slot, end_silence, forget_slot, inspect_replication, lock_slot, lose, mark_snapshot,
    next_transaction, note_copied, note_watch, replicated_stand, slot_state, stand_place, unlock_slot,
    watch_id, whole_xid,
};
pub use snapshot::{MalformedSnapshot, Mark, PgSnapshot};
pub use statement::{
    Look, Origin, Stand, begin_anew, begin_epoch, enter_run, forget_own_after, keep_epoch, known_mark,
    layouts, look, make_mark, make_page_key, mark_at, marks, newest_mark, origin, own_newest, page_key,
    prune_marks, prune_rows, read_page_key, rows, stand,
};

pub use super::watch::{InstallError, Watch};

use diesel::deserialize::FromSql;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Text};

use crate::__private::read;
use crate::resource::Columns;

/// A result row of Diesel's, as columns.
pub struct Cells<'a, R>(pub &'a R);

impl<'a, R: diesel::row::Row<'a, Pg>> Columns<Pg> for Cells<'_, R> {
    fn visit(
        &self,
        column: usize,
        visit: &mut dyn FnMut(Option<<Pg as diesel::backend::Backend>::RawValue<'_>>),
    ) {
        use diesel::row::Field as _;
        if let Some(field) = self.0.get(column) {
            visit(field.value());
        }
    }
}

fn number(columns: &dyn Columns<Pg>, column: usize) -> diesel::deserialize::Result<i64> {
    cell::<i64, BigInt>(columns, column)
}

fn text(columns: &dyn Columns<Pg>, column: usize) -> diesel::deserialize::Result<String> {
    cell::<String, Text>(columns, column)
}

fn cell<T: FromSql<ST, Pg>, ST>(columns: &dyn Columns<Pg>, column: usize) -> diesel::deserialize::Result<T> {
    read::<T, ST, Pg>(columns, column)
}
