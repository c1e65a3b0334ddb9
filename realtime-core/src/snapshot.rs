//! Snapshots: the rows that a subscription is about, page by page in the order of their keys, each page true at a
//! position of its own.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::change::ResourceId;
use crate::cursor::Cursor;
use crate::encode;
use crate::list::{ListQuery, Start};
use crate::resource::{Descriptor, Row};
use crate::selection::Selection;
use crate::sql::{self, Dialect, NotOfItsType, Statement, Table};
use crate::subscription::Subscription;
use crate::value::Value;

/// Which page of a snapshot is wanted, and how much may be on it.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Whose snapshot it is.
    pub subscription: Arc<Subscription>,
    /// The last key of the page before; `None` for the first page.
    pub after: Option<Value<'static>>,
    /// Rows that are read, at most.
    pub rows: usize,
    /// Bytes that the rows take as text, and what the last one is more.
    pub bytes: usize,
}

/// A page of a snapshot.
#[derive(Clone, Debug)]
pub struct Page {
    /// The message.
    pub text: String,
    /// The last key that was looked at: the rows up to it are told now. `None` where there was no row.
    pub last: Option<Value<'static>>,
    /// Was it the last page?
    pub done: bool,
    /// The position that it is true at.
    pub cursor: Cursor,
}

impl PageRequest {
    /// Begins to put the page together.
    pub fn begin(self, descriptor: &'static Descriptor) -> PageBuilder {
        let mut text = encode::message_start("snapshot", descriptor.stream, self.subscription.id());
        text.push_str(r#","data":["#);
        let start = text.len();
        PageBuilder { request: self, descriptor, text, start, read: 0, last: None, done: true }
    }
}

/// A page that is being read.
#[derive(Clone)]
pub struct PageBuilder {
    request: PageRequest,
    descriptor: &'static Descriptor,
    text: String,
    /// Where the rows begin.
    start: usize,
    read: usize,
    last: Option<Value<'static>>,
    done: bool,
}

impl Selection for PageBuilder {
    type Found = Page;

    fn resource(&self) -> ResourceId {
        self.request.subscription.resource()
    }

    /// The page, and one row more where there is one.
    fn statement<DB: Dialect>(&self, table: &Table<DB>) -> Result<Statement<DB>, NotOfItsType> {
        let PageRequest { subscription, after, rows, .. } = &self.request;
        let start = match after {
            Some(key) => Start::Beside { values: vec![key.clone()], backward: false },
            None => Start::Offset(0),
        };
        // Each page looks at so many rows at most, whatever the database leaves to memory.
        let whole = ListQuery::whole(table.descriptor(), subscription.filter().clone(), *rows);
        let query = ListQuery { start, ..whole };
        sql::select_page((std::slice::from_ref(table), table), &query)
    }

    /// With one too many the page is full and not the last one.
    fn push(&mut self, row: Row) -> bool {
        let is_full = self.text.len() - self.start >= self.request.bytes || self.read >= self.request.rows;
        if self.read > 0 && is_full {
            self.done = false;
            return false;
        }
        self.read += 1;
        self.last = Some(row.value(self.descriptor.key).into_owned());
        // A statement may select too much, never too little.
        if self.request.subscription.filter().matches(row.as_ref()) {
            if self.text.len() > self.start {
                self.text.push(',');
            }
            let fields = self.request.subscription.fields().iter().copied();
            encode::write_object(self.descriptor, row.as_ref(), fields, &mut self.text);
        }
        true
    }

    fn finish(mut self, cursor: Cursor) -> Page {
        let _ = write!(self.text, r#"],"done":{},"cursor":"{cursor}"}}"#, self.done);
        Page { text: self.text, last: self.last, done: self.done, cursor }
    }
}

/// How a subscription that has lagged behind is put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// The events after the cursor follow.
    Events,
    /// Its rows are to be dropped; a snapshot follows.
    Snapshot,
}

/// The message that tells of a gap, before it is closed.
pub fn lagged(
    descriptor: &Descriptor,
    subscription: &Subscription,
    resync: Resync,
    cursor: Cursor,
) -> String {
    let mut out = encode::message_start("lagged", descriptor.stream, subscription.id());
    let resync = match resync {
        Resync::Events => "events",
        Resync::Snapshot => "snapshot",
    };
    let _ = write!(out, r#","resync":"{resync}","cursor":"{cursor}"}}"#);
    out
}
