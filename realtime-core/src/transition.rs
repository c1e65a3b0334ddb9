//! What is told of a subscription whose holder sees other rows than before: the difference, in the words of any other
//! change.
//!
//! Up to a position the holder has been told what he saw before. At a later one the rows that he sees only now, or saw
//! only before, are read; what became of any row in between is in the log. Together they are what he has to be told, as
//! one batch, so that he is never between the two.

use std::collections::HashSet;
use std::sync::Arc;

use crate::change::{Change, ResourceId, coalesce};
use crate::cursor::Cursor;
use crate::filter::Filter;
use crate::group::{self, Event};
use crate::list::ListQuery;
use crate::resource::{Descriptor, Record, Row};
use crate::selection::Selection;
use crate::sql::{self, Dialect, NotOfItsType, Statement, Table};
use crate::subscription::{EventActions, Subscription};
use crate::value::Value;

/// A subscription as its holder saw it and as he sees it now.
#[derive(Clone, Debug)]
pub struct Transition {
    before: Arc<Subscription>,
    after: Arc<Subscription>,
    /// What only one of them selects.
    apart: Filter,
}

/// Rows that are read for a transition.
#[derive(Clone)]
pub struct Apart {
    transition: Arc<Transition>,
    descriptor: &'static Descriptor,
    most: (usize, usize),
    rows: Vec<Row>,
    weight: usize,
    is_whole: bool,
}

impl Transition {
    /// `None` where other fields are shown than before, as no event says that a field is gone, and where not all actions are
    /// told, as then not all of the difference would be.
    pub fn new(descriptor: &Descriptor, before: Arc<Subscription>, after: Arc<Subscription>) -> Option<Self> {
        if before.fields() != after.fields() || after.actions() != EventActions::default() {
            return None;
        }
        let apart = before.filter().clone().xor(descriptor, after.filter().clone());
        Some(Self { before, after, apart })
    }

    /// Whose rows it is about.
    pub fn resource(&self) -> ResourceId {
        self.after.resource()
    }

    /// Begins to read the rows that are seen only before or only after: no more than so many, and so many bytes.
    pub fn select(self: &Arc<Self>, descriptor: &'static Descriptor, most: (usize, usize)) -> Apart {
        Apart { transition: Arc::clone(self), descriptor, most, rows: Vec::new(), weight: 0, is_whole: true }
    }

    /// What the holder is told: what became of the rows that have changed, and what he sees otherwise of those that have
    /// not. `changes` are all that happened between the position up to which he has been told and the one that the rows
    /// are of, which is the one of the `cursor`.
    pub fn events(
        &self,
        descriptor: &Descriptor,
        changes: Vec<Change>,
        rows: Vec<Row>,
        cursor: Cursor,
    ) -> Vec<Event> {
        let key_of = |row: &dyn Record| row.value(descriptor.key).into_owned();
        let mut changes = coalesce(changes, |_, row| key_of(row));
        let changed: HashSet<String> = changes.iter().map(|change| text_of(&change.key)).collect();
        changes.extend(rows.into_iter().filter_map(|row| {
            let key = key_of(row.as_ref());
            let is_told = changed.contains(&text_of(&key));
            let (before, after) = (Some(Arc::clone(&row)), Some(row));
            (!is_told).then_some(Change {
                resource: self.resource(),
                key,
                before,
                after,
                cursor: cursor.position,
            })
        }));
        group::transition(descriptor, (&self.before, &self.after), &changes, cursor)
    }
}

fn text_of(key: &Value<'_>) -> String {
    let mut text = String::new();
    key.write_json(&mut text);
    text
}

impl Selection for Apart {
    /// The rows, `None` where there were too many; and the position that they are of.
    type Found = (Option<Vec<Row>>, Cursor);

    fn resource(&self) -> ResourceId {
        self.transition.resource()
    }

    fn statement<DB: Dialect>(&self, table: &Table<DB>) -> Result<Statement<DB>, NotOfItsType> {
        let query = ListQuery::whole(table.descriptor(), self.transition.apart.clone(), self.most.0);
        sql::select_page((std::slice::from_ref(table), table), &query)
    }

    fn push(&mut self, row: Row) -> bool {
        self.weight += self.descriptor.weight(row.as_ref());
        self.is_whole = self.rows.len() < self.most.0 && self.weight <= self.most.1;
        if self.is_whole {
            self.rows.push(row);
        }
        self.is_whole
    }

    fn finish(self, cursor: Cursor) -> Self::Found {
        (self.is_whole.then_some(self.rows), cursor)
    }
}
