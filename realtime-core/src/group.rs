//! The groups: who is told of a change, and in which words. Values in, deliveries out; no actor, no socket.

use std::collections::HashMap;
use std::sync::Arc;

use crate::change::{Batch, Change, ResourceId};
use crate::cursor::Cursor;
use crate::diff::diff;
use crate::encode::{self, Event};
use crate::resource::{Descriptor, Record};
use crate::subscription::{EventAction, Form, Subscription};

/// A worker thread: what a delivery is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub usize);

/// One group, for as long as it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u64);

/// The events of one batch for one group, encoded once for all its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose members are told.
    pub group: GroupId,
    /// The workers that have members.
    pub workers: Vec<WorkerId>,
    /// The messages, in order.
    pub events: Vec<String>,
}

struct Group {
    subscription: Arc<Subscription>,
    /// Members by worker; no worker without one.
    members: Vec<(WorkerId, usize)>,
}

/// All groups of one feed, and how far it has come.
pub struct Groups {
    descriptors: Vec<&'static Descriptor>,
    cursor: Cursor,
    next: u64,
    groups: HashMap<GroupId, Group>,
    by_identity: HashMap<String, GroupId>,
    by_resource: Vec<Vec<GroupId>>,
}

impl Groups {
    /// No groups yet, over the resources in the order of their ids. The feed begins after the cursor.
    pub fn new(descriptors: Vec<&'static Descriptor>, cursor: Cursor) -> Self {
        Self {
            by_resource: vec![Vec::new(); descriptors.len()],
            descriptors,
            cursor,
            next: 0,
            groups: HashMap::new(),
            by_identity: HashMap::new(),
        }
    }

    /// The position that every member has been told of.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Is there no group?
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// A connection of a worker joins the group of its subscription. Its events begin right after the cursor.
    pub fn join(&mut self, worker: WorkerId, subscription: &Arc<Subscription>) -> (GroupId, Cursor) {
        let id = *self.by_identity.entry(subscription.identity().to_owned()).or_insert_with(|| {
            self.next += 1;
            let id = GroupId(self.next);
            self.by_resource[subscription.resource().0].push(id);
            self.groups.insert(id, Group { subscription: Arc::clone(subscription), members: Vec::new() });
            id
        });
        if let Some(group) = self.groups.get_mut(&id) {
            match group.members.iter_mut().find(|(member, _)| *member == worker) {
                Some((_, count)) => *count += 1,
                None => group.members.push((worker, 1)),
            }
        }
        (id, self.cursor)
    }

    /// A connection of a worker leaves a group; the last one ends it.
    pub fn leave(&mut self, worker: WorkerId, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        if let Some((_, count)) = group.members.iter_mut().find(|(member, _)| *member == worker) {
            *count -= 1;
        }
        group.members.retain(|(_, count)| *count > 0);
        self.remove_if_empty(id);
    }

    /// A worker has ended, and all its members with it.
    pub fn forget_worker(&mut self, worker: WorkerId) {
        for group in self.groups.values_mut() {
            group.members.retain(|(member, _)| *member != worker);
        }
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.remove_if_empty(id);
        }
    }

    fn remove_if_empty(&mut self, id: GroupId) {
        if self.groups.get(&id).is_none_or(|group| !group.members.is_empty()) {
            return;
        }
        if let Some(group) = self.groups.remove(&id) {
            self.by_identity.remove(group.subscription.identity());
            self.by_resource[group.subscription.resource().0].retain(|other| *other != id);
        }
    }

    /// The groups that follow one of the resources, with the workers that have members. What they know can no longer be
    /// right once a change of the resource could not be read.
    pub fn following(&self, resources: &[ResourceId]) -> Vec<(GroupId, Vec<WorkerId>)> {
        let ids = resources.iter().flat_map(|resource| self.groups_of(*resource));
        ids.filter_map(|id| {
            Some((*id, self.groups.get(id)?.members.iter().map(|(worker, _)| *worker).collect()))
        })
        .collect()
    }

    /// Moves on by a batch and says who is told what. Every group's events are in commit order; all but its last one
    /// say that more of the batch follow.
    pub fn publish(&mut self, batch: &Batch) -> Vec<Delivery> {
        self.cursor.position = batch.position;
        let mut told: Vec<(GroupId, Vec<Told<'_>>)> = Vec::new();
        let mut place: HashMap<GroupId, usize> = HashMap::new();
        for change in &batch.changes {
            for id in self.groups_of(change.resource) {
                let Some(what) = self.groups.get(id).and_then(|group| tell(&group.subscription, change))
                else {
                    continue;
                };
                let at = *place.entry(*id).or_insert_with(|| {
                    told.push((*id, Vec::new()));
                    told.len() - 1
                });
                told[at].1.push(what);
            }
        }
        told.into_iter().filter_map(|(id, events)| self.delivery(id, &events)).collect()
    }

    fn groups_of(&self, resource: ResourceId) -> &[GroupId] {
        self.by_resource.get(resource.0).map_or(&[], Vec::as_slice)
    }

    fn delivery(&self, id: GroupId, told: &[Told<'_>]) -> Option<Delivery> {
        let group = self.groups.get(&id)?;
        let descriptor = self.descriptors[group.subscription.resource().0];
        Some(Delivery {
            group: id,
            workers: group.members.iter().map(|(worker, _)| *worker).collect(),
            events: write(descriptor, &group.subscription, told, self.cursor),
        })
    }
}

/// The events of a batch for one subscription, in the words in which its group was told or would have been. `cursor` is
/// the position right after the batch.
pub fn events(
    descriptor: &Descriptor,
    subscription: &Subscription,
    batch: &Batch,
    cursor: Cursor,
) -> Vec<String> {
    let of_resource = batch.changes.iter().filter(|change| change.resource == subscription.resource());
    let told: Vec<Told<'_>> = of_resource.filter_map(|change| tell(subscription, change)).collect();
    write(descriptor, subscription, &told, cursor)
}

/// What one batch tells a subscription, as text: all events but the last say that more follow.
fn write(
    descriptor: &Descriptor,
    subscription: &Subscription,
    told: &[Told<'_>],
    cursor: Cursor,
) -> Vec<String> {
    told.iter()
        .enumerate()
        .map(|(at, event)| {
            encode::event(
                descriptor,
                &Event {
                    subscription: subscription.id(),
                    action: event.action,
                    key: &event.change.key,
                    row: event.row,
                    fields: event.diff.as_deref().unwrap_or(subscription.fields()),
                    is_diff: event.diff.is_some(),
                    more: at + 1 < told.len(),
                    cursor,
                },
            )
        })
        .collect()
}

struct Told<'a> {
    action: EventAction,
    change: &'a Change,
    row: Option<&'a dyn Record>,
    /// The changed fields, where the event shows only them.
    diff: Option<Vec<usize>>,
}

/// What a subscription is told of a change: by what the row matched before and what it matches now.
fn tell<'a>(subscription: &Subscription, change: &'a Change) -> Option<Told<'a>> {
    let matching = |row: &'a Option<crate::resource::Row>| -> Option<&'a dyn Record> {
        row.as_deref().filter(|row| subscription.filter().matches(*row))
    };
    let told = match (matching(&change.before), matching(&change.after)) {
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
