//! The groups: who is told of a change, and in which words. Values in, deliveries out; no actor, no socket.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::change::{Batch, Change, ResourceId};
use crate::cursor::{Cursor, Position};
use crate::diff::diff;
use crate::encode;
use crate::matching::{Hashes, Images, Index, Pieces, SharedTerms, Slot, Table};
use crate::resource::{Descriptor, Record};
use crate::subscription::{EventAction, Form, Subscription};
use crate::value::Value;

/// A worker thread: what a delivery is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub usize);

/// One group, for as long as it has members. In the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId {
    number: NonZeroU64,
    slot: Slot,
}

impl GroupId {
    /// Which group it is of all that there ever were, from 1 on.
    pub fn number(self) -> u64 {
        self.number.get()
    }
}

/// The events of one batch for one group, encoded once for all its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose members are told.
    pub group: GroupId,
    /// The workers that have members.
    pub workers: Vec<WorkerId>,
    /// The messages, in order.
    pub events: Vec<Event>,
    /// The position that the batch began at.
    pub before: Cursor,
    /// The position right after the batch.
    pub cursor: Cursor,
}

/// One event, as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it says of its row.
    pub action: EventAction,
    /// The message. Groups that were asked for alike and differ in what their members may see share it.
    pub text: Arc<str>,
}

impl Event {
    /// The message without the member `subscription`: as one is told who asks for one subscription only.
    pub fn without_subscription(&self, subscription: &Subscription) -> String {
        let member = format!(r#""subscription":"{}","#, subscription.id());
        self.text.replacen(&member, "", 1)
    }
}

struct Group {
    id: GroupId,
    subscription: Arc<Subscription>,
    /// What of its filter it has in common with others.
    shared: SharedTerms,
    /// Members by worker; no worker without one.
    members: Vec<(WorkerId, usize)>,
    /// The last change for which it was a candidate: several ways may lead from a change to a group.
    asked: u64,
    /// The last batch that it was told of, and its place among those who were.
    told: (u64, usize),
}

/// All groups of one feed, and how far it has come.
pub struct Groups {
    descriptors: Vec<&'static Descriptor>,
    cursor: Cursor,
    next: NonZeroU64,
    /// By slot; `None` is free.
    groups: Pieces<Option<Group>>,
    free: Vec<Slot>,
    hashes: Hashes,
    /// By the hash of what tells groups apart.
    by_identity: Table,
    /// How many of them are of somebody who may not see everything, by resource.
    narrowed: Vec<usize>,
    indexes: Vec<Index>,
    /// How many changes and batches have been published.
    changes: u64,
    batches: u64,
    /// The candidates for one change: empty between changes, kept for its allocation.
    candidates: Vec<Slot>,
    /// Whose rows are being published.
    publishing: Cell<Option<ResourceId>>,
}

impl Groups {
    /// No groups yet, over the resources in the order of their ids. The feed begins after the cursor.
    pub fn new(descriptors: Vec<&'static Descriptor>, cursor: Cursor) -> Self {
        Self {
            narrowed: vec![0; descriptors.len()],
            indexes: descriptors.iter().map(|descriptor| Index::new(descriptor)).collect(),
            descriptors,
            cursor,
            next: NonZeroU64::MIN,
            groups: Pieces::default(),
            free: Vec::new(),
            hashes: Hashes::default(),
            by_identity: Table::default(),
            changes: 0,
            batches: 0,
            candidates: Vec::new(),
            publishing: Cell::default(),
        }
    }

    /// The position that every member has been told of.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.groups.len() - self.free.len()
    }

    /// Is there no group?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of groups whose filter is decided for every change of their resource, because no predicate of it can
    /// be looked up: filters that select everything, or have only negations, regular expressions, parts of dates, paths
    /// in JSON, `isnull=false` or empty patterns. A change costs in proportion to them, and else to those it concerns.
    pub fn scanned(&self) -> usize {
        self.indexes.iter().map(Index::scanned).sum()
    }

    /// A connection of a worker joins the group of its subscription. Its events begin right after the cursor.
    pub fn join(&mut self, worker: WorkerId, subscription: &Arc<Subscription>) -> (GroupId, Cursor) {
        let identity = subscription.group_identity();
        let hash = self.hashes.text(identity);
        let known = self.by_identity.find(hash, |slot| {
            let group = self.groups[slot as usize].as_ref()?;
            (group.subscription.group_identity() == identity).then_some(group.id)
        });
        let id = match known {
            Some(id) => id,
            None => self.add(subscription, hash),
        };
        if let Some(group) = &mut self.groups[id.slot as usize] {
            match group.members.iter_mut().find(|(member, _)| *member == worker) {
                Some((_, count)) => *count += 1,
                None => {
                    // Most have members on one worker.
                    group.members.reserve_exact(usize::from(group.members.is_empty()));
                    group.members.push((worker, 1));
                }
            }
        }
        (id, self.cursor)
    }

    fn add(&mut self, subscription: &Arc<Subscription>, hash: u64) -> GroupId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.groups.push(None);
            Slot::try_from(self.groups.len() - 1).expect("memory ends before 2^31 groups")
        });
        let id = GroupId { number: self.next, slot };
        self.next = self.next.saturating_add(1);
        let groups = &self.groups;
        let others = |slot: Slot| {
            groups[slot as usize].as_ref().map(|group| (group.subscription.filter(), group.shared))
        };
        let resource = subscription.resource().0;
        let shared = self.indexes[resource].insert(slot, subscription.filter(), others);
        self.groups[slot as usize] = Some(Group {
            id,
            subscription: Arc::clone(subscription),
            shared,
            members: Vec::new(),
            asked: 0,
            told: (0, 0),
        });
        self.by_identity.insert(hash, slot);
        self.narrowed[resource] += usize::from(subscription.is_narrowed());
        id
    }

    /// A connection of a worker leaves a group; the last one ends it.
    pub fn leave(&mut self, worker: WorkerId, id: GroupId) {
        let slot = id.slot;
        let group = self.groups.get_mut(slot as usize).and_then(Option::as_mut);
        let Some(group) = group.filter(|group| group.id == id) else { return };
        if let Some((_, count)) = group.members.iter_mut().find(|(member, _)| *member == worker) {
            *count -= 1;
        }
        group.members.retain(|(_, count)| *count > 0);
        self.remove_if_empty(slot);
    }

    /// A worker has ended, and all its members with it.
    pub fn forget_worker(&mut self, worker: WorkerId) {
        for slot in 0..self.groups.len() {
            if let Some(group) = &mut self.groups[slot] {
                group.members.retain(|(member, _)| *member != worker);
                self.remove_if_empty(Slot::try_from(slot).expect("memory ends before 2^31 groups"));
            }
        }
    }

    fn remove_if_empty(&mut self, slot: Slot) {
        let place = &mut self.groups[slot as usize];
        let Some(group) = place.take_if(|group| group.members.is_empty()) else { return };
        let (subscription, resource) = (&group.subscription, group.subscription.resource().0);
        self.free.push(slot);
        self.by_identity.remove(self.hashes.text(subscription.group_identity()), slot);
        self.narrowed[resource] -= usize::from(subscription.is_narrowed());
        self.indexes[resource].remove(slot, subscription.filter());
    }

    /// The groups that follow one of the resources, with the workers that have members. What they know can no longer be
    /// right once a change of the resource could not be read. That is rare: all groups are gone through.
    pub fn following(&self, resources: &[ResourceId]) -> Vec<(GroupId, Vec<WorkerId>)> {
        if resources.is_empty() {
            return Vec::new();
        }
        let groups = self.groups.iter().flatten();
        let mut following: Vec<_> = groups
            .filter(|group| resources.contains(&group.subscription.resource()))
            .map(|group| (group.id, group.members.iter().map(|(worker, _)| *worker).collect()))
            .collect();
        following.sort_unstable_by_key(|(id, _)| *id);
        following
    }

    /// Moves on by a batch and says who is told what. Every group's events are in commit order; all but its last one
    /// say that more of the batch follow.
    ///
    /// The groups are in the order of their first event; those that one change concerns, in that in which they were
    /// made. Of a resource of which something is lost nothing is told: who follows it begins anew, behind the batch.
    ///
    /// # Panics
    /// Where a function of the application's does, which says what is shown of a row. Nothing has been published then:
    /// the batch may be published again, without the resource that [`Self::publishing`] names.
    pub fn publish(&mut self, batch: &Batch) -> Vec<Delivery> {
        let before = self.cursor;
        let cursor = Cursor { position: batch.position, ..before };
        self.batches += 1;
        let mut told: Vec<(Slot, Vec<Told<'_>>)> = Vec::new();
        let mut concerned: Vec<(GroupId, Slot, Told<'_>)> = Vec::new();
        let mut candidates = std::mem::take(&mut self.candidates);
        for change in batch.changes.iter().filter(|change| !batch.lost.contains(&change.resource)) {
            let Some(index) = self.indexes.get_mut(change.resource.0) else { continue };
            self.changes += 1;
            self.publishing.set(Some(change.resource));
            index.probe(change.before.as_deref(), change.after.as_deref(), &mut candidates);
            for slot in candidates.drain(..) {
                let Some(group) = &mut self.groups[slot as usize] else { continue };
                if group.asked == self.changes {
                    continue;
                }
                group.asked = self.changes;
                let subscription = &*group.subscription;
                let images = index.decide(
                    group.shared,
                    subscription.filter(),
                    change.before.as_deref(),
                    change.after.as_deref(),
                );
                if let Some(what) = tell(subscription, change, images) {
                    concerned.push((group.id, slot, what));
                }
            }
            concerned.sort_unstable_by_key(|(id, ..)| *id);
            for (_, slot, what) in concerned.drain(..) {
                let Some(group) = &mut self.groups[slot as usize] else { continue };
                if group.told.0 != self.batches {
                    group.told = (self.batches, told.len());
                    told.push((slot, Vec::new()));
                }
                told[group.told.1].1.push(what);
            }
        }
        self.candidates = candidates;
        let deliveries = self.deliveries(&told, (before, cursor));
        self.publishing.set(None);
        self.cursor = cursor;
        deliveries
    }

    fn deliveries(&self, told: &[(Slot, Vec<Told<'_>>)], cursors: (Cursor, Cursor)) -> Vec<Delivery> {
        if told.is_empty() {
            return Vec::new();
        }
        let mut written = Written::default();
        let mut rests = Rests::default();
        let mut deliveries = Vec::with_capacity(told.len());
        for (slot, events) in told {
            let Some(group) = self.groups[*slot as usize].as_ref() else { continue };
            self.publishing.set(Some(group.subscription.resource()));
            deliveries.push(self.delivery(group, events, cursors, &mut written, &mut rests));
        }
        deliveries
    }

    /// The resource whose rows were being published when that panicked.
    pub fn publishing(&self) -> Option<ResourceId> {
        self.publishing.get()
    }

    fn delivery<'a>(
        &'a self,
        group: &'a Group,
        told: &[Told<'_>],
        (before, cursor): (Cursor, Cursor),
        written: &mut Written<'a>,
        rests: &mut Rests,
    ) -> Delivery {
        let subscription = &*group.subscription;
        let descriptor = self.descriptors[subscription.resource().0];
        let events = told.iter().enumerate().map(|(at, event)| {
            let more = at + 1 < told.len();
            let mut write = || rests.write(at, event, descriptor, subscription, more, cursor);
            // Only where not everybody sees the same are there several groups of one id.
            let text = if self.narrowed[subscription.resource().0] > 0 {
                let change = std::ptr::from_ref(event.change).addr();
                let words = (subscription.id(), subscription.fields(), change, event.action, more);
                Arc::clone(written.entry(words).or_insert_with(write))
            } else {
                write()
            };
            Event { action: event.action, text }
        });
        Delivery {
            group: group.id,
            workers: group.members.iter().map(|(worker, _)| *worker).collect(),
            events: events.collect(),
            before,
            cursor,
        }
    }
}

/// What has been written for one group and is the same for another: by the subscription's id and the fields that it
/// shows, the change, what it is for the subscription, and whether more follows.
type Written<'a> = HashMap<(&'a str, &'a [usize], usize, EventAction, bool), Arc<str>>;

/// The events of changes for one subscription, each with its position, in the words in which its group was told or would
/// have been; where a key is given, only those about rows up to it. `cursor` is the position right after the last of
/// the changes.
pub fn events<'a>(
    descriptor: &Descriptor,
    subscription: &Subscription,
    changes: impl IntoIterator<Item = &'a Change>,
    up_to: Option<&Value<'static>>,
    cursor: Cursor,
) -> Vec<(Position, Event)> {
    // The order of keys is the one in which the database gives the rows of a snapshot.
    let is_wanted =
        |key: &Value<'static>| up_to.is_none_or(|last| key.compare(last) != Some(Ordering::Greater));
    let of_resource = changes
        .into_iter()
        .filter(|change| change.resource == subscription.resource() && is_wanted(&change.key));
    let told: Vec<Told<'_>> =
        of_resource.filter_map(|change| tell_by((subscription, subscription), change)).collect();
    write(descriptor, subscription, &told, cursor)
}

/// The events of a subscription that was one and is another, each change being from a row as it was seen before to one as
/// it is seen after: one batch, of which `cursor` is the position.
pub(crate) fn transition(
    descriptor: &Descriptor,
    (before, after): (&Subscription, &Subscription),
    changes: &[Change],
    cursor: Cursor,
) -> Vec<Event> {
    let told: Vec<Told<'_>> = changes.iter().filter_map(|change| tell_by((before, after), change)).collect();
    write(descriptor, after, &told, cursor).into_iter().map(|(_, event)| event).collect()
}

fn write(
    descriptor: &Descriptor,
    subscription: &Subscription,
    told: &[Told<'_>],
    cursor: Cursor,
) -> Vec<(Position, Event)> {
    let texts = told.iter().enumerate().map(|(at, event)| {
        let text = event.write(descriptor, subscription, at + 1 < told.len(), cursor);
        (event.change.cursor, Event { action: event.action, text })
    });
    texts.collect()
}

struct Told<'a> {
    action: EventAction,
    change: &'a Change,
    row: Option<&'a dyn Record>,
    /// The changed fields, where the event shows only them.
    diff: Option<Vec<usize>>,
}

impl Told<'_> {
    fn write(
        &self,
        descriptor: &Descriptor,
        subscription: &Subscription,
        more: bool,
        cursor: Cursor,
    ) -> Arc<str> {
        encode::event(subscription.id(), &self.rest(descriptor, subscription, more, cursor))
    }

    /// The changed fields, or those that are shown.
    fn fields<'b>(&'b self, subscription: &'b Subscription) -> &'b [usize] {
        self.diff.as_deref().unwrap_or(subscription.fields())
    }

    fn rest(
        &self,
        descriptor: &Descriptor,
        subscription: &Subscription,
        more: bool,
        cursor: Cursor,
    ) -> String {
        let parts = encode::Event {
            action: self.action,
            key: &self.change.key,
            row: self.row,
            fields: self.fields(subscription),
            is_diff: self.diff.is_some(),
            more,
            cursor,
        };
        encode::event_rest(descriptor, &parts)
    }
}

/// The rests of events that were written last, by their place among the events of a group: many groups are told the same
/// of one change, each under its own id.
#[derive(Default)]
struct Rests(Vec<Rest>);

struct Rest {
    change: usize,
    action: EventAction,
    fields: Vec<usize>,
    is_diff: bool,
    more: bool,
    text: String,
}

/// Places of which the rests are kept. A group with more events is told enough of each batch.
const KEPT_RESTS: usize = 16;

impl Rests {
    fn write(
        &mut self,
        at: usize,
        event: &Told<'_>,
        descriptor: &Descriptor,
        subscription: &Subscription,
        more: bool,
        cursor: Cursor,
    ) -> Arc<str> {
        let change = std::ptr::from_ref(event.change).addr();
        let (action, is_diff, fields) = (event.action, event.diff.is_some(), event.fields(subscription));
        if let Some(rest) = self.0.get(at)
            && (rest.change, rest.action, rest.is_diff, rest.more) == (change, action, is_diff, more)
            && rest.fields == fields
        {
            return encode::event(subscription.id(), &rest.text);
        }
        let text = event.rest(descriptor, subscription, more, cursor);
        let whole = encode::event(subscription.id(), &text);
        let rest = Rest { change, action, fields: fields.to_vec(), is_diff, more, text };
        if let Some(kept) = self.0.get_mut(at) {
            *kept = rest;
        } else if at == self.0.len() && at < KEPT_RESTS {
            self.0.push(rest);
        }
        whole
    }
}

/// What a subscription is told of a change. It may itself have been another one before.
fn tell_by<'a>(
    (before, subscription): (&Subscription, &Subscription),
    change: &'a Change,
) -> Option<Told<'a>> {
    let matches = |subscription: &Subscription, row: &Option<crate::resource::Row>| {
        row.as_deref().is_some_and(|row| subscription.filter().matches(row))
    };
    let images =
        Images { before: matches(before, &change.before), after: matches(subscription, &change.after) };
    tell(subscription, change, images)
}

/// What a subscription is told of a change, by which of its images it selects.
fn tell<'a>(subscription: &Subscription, change: &'a Change, images: Images) -> Option<Told<'a>> {
    let before = change.before.as_deref().filter(|_| images.before);
    let after = change.after.as_deref().filter(|_| images.after);
    let told = match (before, after) {
        (None, None) => return None,
        (None, Some(row)) => Told { action: EventAction::Create, change, row: Some(row), diff: None },
        (Some(_), None) => Told { action: EventAction::Delete, change, row: None, diff: None },
        (Some(before), Some(after)) => {
            let changed = diff(before, after, subscription.fields());
            if changed.is_empty() {
                return None;
            }
            let diff = (subscription.form() == Form::Diff).then_some(changed);
            Told { action: EventAction::Update, change, row: Some(after), diff }
        }
    };
    subscription.actions().contains(told.action).then_some(told)
}
