//! The index against the groups one by one: whatever is asked for, a change leads to exactly those it concerns.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use realtime_core::change::{Batch, Change, ResourceId};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::diff::diff;
use realtime_core::filter::{Filter, RawArgument, parse};
use realtime_core::group::{GroupId, Groups, WorkerId};
use realtime_core::subscription::{EventActions, Form, Subscription};
use realtime_core::{Descriptor, Limits, RealtimeResource, Row, Value};
use serde_json::{Value as Json, json};

use crate::model::{Moment, Mood, Note};
use crate::random::{self, Tree};

const DESCRIPTORS: [&Descriptor; 2] = [Note::DESCRIPTOR, Moment::DESCRIPTOR];

type Entries = Vec<(String, Json)>;

/// The images of one row.
type Images = (Option<Row>, Option<Row>);

fn subscription(resource: usize, entries: &[(String, Json)]) -> Arc<Subscription> {
    let descriptor = DESCRIPTORS[resource];
    let entries = entries.iter().map(|(key, json)| (key.clone(), RawArgument::Json(json.clone())));
    of_filter(resource, parse(descriptor, entries, &Limits::default()).unwrap())
}

fn of_filter(resource: usize, filter: Filter) -> Arc<Subscription> {
    let descriptor = DESCRIPTORS[resource];
    Arc::new(Subscription::new(
        ResourceId(resource),
        descriptor,
        filter,
        None,
        Form::Diff,
        EventActions::default(),
    ))
}

/// The groups, and what is known of each without them.
struct Pair {
    groups: Groups,
    members: BTreeMap<GroupId, (Arc<Subscription>, usize)>,
    changes: i64,
}

/// A group, and the action and key of each of its events.
type Told = Vec<(GroupId, Vec<(String, i64)>)>;

impl Pair {
    fn new() -> Self {
        let cursor = Cursor { epoch: Epoch(1), position: Position(0) };
        Self { groups: Groups::new(DESCRIPTORS.to_vec(), cursor), members: BTreeMap::new(), changes: 0 }
    }

    fn join(&mut self, subscription: &Arc<Subscription>) {
        let (id, _) = self.groups.join(WorkerId(0), subscription);
        self.members.entry(id).or_insert_with(|| (Arc::clone(subscription), 0)).1 += 1;
    }

    fn leave(&mut self, index: Index) {
        if self.members.is_empty() {
            return;
        }
        let at = index.index(self.members.len());
        let (id, (_, count)) = self.members.iter_mut().nth(at).unwrap();
        let id = *id;
        *count -= 1;
        if *count == 0 {
            self.members.remove(&id);
        }
        self.groups.leave(WorkerId(0), id);
    }

    /// What the groups say of a batch, and what asking one after the other says. Keys number the changes.
    fn publish(&mut self, images: &[(usize, Images)]) -> (Told, Told) {
        let mut expected = Told::new();
        let mut changes = Vec::new();
        for (resource, (before, after)) in images {
            self.changes += 1;
            for (id, (subscription, _)) in &self.members {
                if subscription.resource().0 != *resource {
                    continue;
                }
                let selected = |row: &Option<Row>| {
                    row.as_ref().is_some_and(|row| subscription.filter().matches(row.as_ref()))
                };
                let action = match (selected(before), selected(after)) {
                    (false, false) => continue,
                    (false, true) => "create",
                    (true, false) => "delete",
                    (true, true) => {
                        let (before, after) = (before.as_ref().unwrap(), after.as_ref().unwrap());
                        if diff(before.as_ref(), after.as_ref(), subscription.fields()).is_empty() {
                            continue;
                        }
                        "update"
                    }
                };
                let event = (action.to_owned(), self.changes);
                match expected.iter_mut().find(|(other, _)| other == id) {
                    Some((_, events)) => events.push(event),
                    None => expected.push((*id, vec![event])),
                }
            }
            changes.push(Change {
                resource: ResourceId(*resource),
                key: Value::Int(self.changes),
                before: before.clone(),
                after: after.clone(),
                cursor: Position(self.changes),
            });
        }
        let position = Position(self.changes + 1);
        let deliveries = self.groups.publish(&Batch { changes, position, ..Batch::default() });
        let told = deliveries.into_iter().map(|delivery| {
            let events = delivery.events.iter().map(|event| {
                let event: Json = serde_json::from_str(&event.text).unwrap();
                (event["action"].as_str().unwrap().to_owned(), event["pk"].as_i64().unwrap())
            });
            (delivery.group, events.collect())
        });
        (told.collect(), expected)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join(usize, Entries),
    JoinTree(Tree),
    /// One member of one of the groups leaves it.
    Leave(Index),
    /// Half of the members leave.
    LeaveHalf,
    Publish(Vec<RowChange>),
}

#[derive(Clone, Debug)]
enum RowChange {
    Note(Option<Note>, Option<Note>),
    Moment(Option<Moment>, Option<Moment>),
    /// Only one field changes: what the rest leads to is found by both images.
    Retitled(Note, String),
}

impl RowChange {
    fn images(self) -> (usize, Images) {
        let moment = |moment: Option<Moment>| moment.map(|moment| Arc::new(moment) as Row);
        match self {
            Self::Note(before, after) => (0, (before.map(|note| note.row()), after.map(|note| note.row()))),
            Self::Moment(before, after) => (1, (moment(before), moment(after))),
            Self::Retitled(note, title) => (0, (Some(note.row()), Some(Note { title, ..note }.row()))),
        }
    }
}

fn moment() -> impl Strategy<Value = Option<Moment>> {
    random::moments(0..2).prop_map(|mut moments| moments.pop())
}

fn row_change() -> impl Strategy<Value = RowChange> {
    prop_oneof![
        3 => (prop::option::of(random::note()), prop::option::of(random::note()))
            .prop_map(|(before, after)| RowChange::Note(before, after)),
        2 => (random::note(), random::text()).prop_map(|(note, title)| RowChange::Retitled(note, title)),
        1 => (moment(), moment()).prop_map(|(before, after)| RowChange::Moment(before, after)),
    ]
}

/// Entries on texts, of which a few texts fulfil many: needles and affixes are to be filed in numbers.
fn on_text() -> impl Strategy<Value = Entries> {
    const LOOKUPS: [&str; 7] =
        ["contains", "icontains", "startswith", "istartswith", "endswith", "iendswith", "iexact"];
    (prop::sample::select(&LOOKUPS[..]), random::text())
        .prop_map(|(lookup, text)| vec![(format!("title__{lookup}"), json!(text))])
}

/// Entries on numbers that lie close together: intervals of all sorts about a few points.
fn on_rank() -> impl Strategy<Value = Entries> {
    let bound = || -4..6_i64;
    prop_oneof![
        3 => (bound(), bound()).prop_map(|(lower, upper)| vec![("rank__range".into(), json!([lower, upper]))]),
        1 => (bound(), bound()).prop_map(|(lower, upper)| {
            vec![("rank__gt".into(), json!(lower)), ("rank__lt".into(), json!(upper))]
        }),
        1 => bound().prop_map(|lower| vec![("rank__gte".into(), json!(lower))]),
    ]
}

/// Entries on several fields at once, with few values each.
fn on_values() -> impl Strategy<Value = Entries> {
    let some = prop::collection::vec(0..3_i64, 1..3);
    let of_rank = some.prop_map(|ranks| ("rank__in".to_owned(), json!(ranks)));
    let of_done = any::<bool>().prop_map(|done| ("done".to_owned(), json!(done)));
    let of_title = random::text().prop_map(|title| ("title".to_owned(), json!(title)));
    let of_score = (0..2).prop_map(|score| ("score".to_owned(), json!(score)));
    (of_rank, prop::option::of(of_done), prop::option::of(of_title), prop::option::of(of_score)).prop_map(
        |(rank, done, title, score)| [Some(rank), done, title, score].into_iter().flatten().collect(),
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => on_values().prop_map(|entries| Step::Join(0, entries)),
        6 => random::entries().prop_map(|entries| Step::Join(0, entries)),
        6 => on_text().prop_map(|entries| Step::Join(0, entries)),
        4 => on_rank().prop_map(|entries| Step::Join(0, entries)),
        2 => prop::collection::vec(random::entry_of(Moment::DESCRIPTOR), 0..3)
            .prop_map(|entries| Step::Join(1, entries)),
        4 => random::tree_of(Note::DESCRIPTOR).prop_map(Step::JoinTree),
        3 => any::<Index>().prop_map(Step::Leave),
        6 => prop::collection::vec(row_change(), 1..4).prop_map(Step::Publish),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Halving is seldom enough for the index to grow in between.
    let block = (prop::collection::vec(step(), 0..100), any::<bool>()).prop_map(|(mut steps, halve)| {
        if halve {
            steps.push(Step::LeaveHalf);
        }
        steps
    });
    prop::collection::vec(block, 1..4).prop_map(|blocks| blocks.concat())
}

proptest! {
    #![proptest_config(random::config(200))]

    #[test]
    fn the_index_answers_what_the_groups_one_by_one_answer(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            match step {
                Step::Join(resource, entries) => pair.join(&subscription(resource, &entries)),
                Step::JoinTree(tree) => {
                    let entry = |key: &str, json: &Json| {
                        let entries = [(key.to_owned(), RawArgument::Json(json.clone()))];
                        parse(DESCRIPTORS[0], entries, &Limits::default()).unwrap()
                    };
                    pair.join(&of_filter(0, tree.filter(DESCRIPTORS[0], &entry)));
                }
                Step::Leave(index) => pair.leave(index),
                Step::LeaveHalf => {
                    let ids: Vec<GroupId> = pair.members.keys().copied().step_by(2).collect();
                    for id in ids {
                        let (_, count) = pair.members.remove(&id).unwrap();
                        for _ in 0..count {
                            pair.groups.leave(WorkerId(0), id);
                        }
                    }
                }
                Step::Publish(rows) => {
                    let images: Vec<(usize, Images)> = rows.into_iter().map(RowChange::images).collect();
                    let (told, expected) = pair.publish(&images);
                    prop_assert_eq!(told, expected);
                }
            }
            prop_assert_eq!(pair.groups.len(), pair.members.len());
        }
        pair.groups.forget_worker(WorkerId(0));
        prop_assert_eq!((pair.groups.len(), pair.groups.scanned()), (0, 0), "nothing stays behind");
    }
}

#[test]
fn needles_are_found_whatever_their_automaton_is() {
    let mut pair = Pair::new();
    let needle = |number: i64| subscription(0, &[("title__contains".into(), json!(format!("<{number}>")))]);
    // Far more than wait, and gone and back again: automata are merged, thinned out and refilled.
    for round in 0..3 {
        for number in 0..700 {
            pair.join(&needle(number));
        }
        for at in (0..700).step_by(7) {
            let note = Note { title: format!("<{at}>{at}<{}><{}>", at + 1, at + 1), ..Note::plain(at) };
            let (told, expected) = pair.publish(&[(0, (None, Some(note.row())))]);
            assert_eq!(told, expected);
            assert!(!told.is_empty());
        }
        let leaving: Vec<GroupId> =
            pair.members.keys().copied().filter(|id| id.number() % 7 != round).collect();
        for id in leaving {
            let (_, count) = pair.members.remove(&id).unwrap();
            for _ in 0..count {
                pair.groups.leave(WorkerId(0), id);
            }
            if id.number() % 50 == 0 {
                let note = Note { title: "<3><4><5><600><699>".into(), ..Note::plain(1) };
                let (told, expected) = pair.publish(&[(0, (None, Some(note.row())))]);
                assert_eq!(told, expected);
            }
        }
    }
}

#[test]
fn values_of_any_set_of_fields_are_found() {
    let note =
        |rank: i32, done: bool| Note { rank, done, title: "t".into(), score: Some(1.0), ..Note::plain(7) };
    let entries: [(&str, Json); 7] = [
        ("rank", json!(1)),
        ("done", json!(true)),
        ("title", json!("t")),
        ("score", json!(1.0)),
        ("mood", json!("calm")),
        ("rank__in", json!([1, 2])),
        ("created__gt", json!("2000-01-01T00:00:00Z")),
    ];
    // There are more sets than are told apart; what has no room at first may have some later.
    let mut pair = Pair::new();
    let publish = |pair: &mut Pair, expected: usize| {
        for (before, after) in [(None, Some(note(1, true))), (Some(note(2, true)), Some(note(1, false)))] {
            let images = (before.map(|note| note.row()), after.map(|note| note.row()));
            let (told, one_by_one) = pair.publish(&[(0, images)]);
            assert_eq!(told, one_by_one);
            assert!(told.len() >= expected, "{}", told.len());
        }
    };
    for _ in 0..2 {
        for set in 1..1_u32 << entries.len() {
            let chosen = (0..entries.len()).filter(|at| set & 1 << at != 0);
            let chosen: Entries =
                chosen.map(|at| (entries[at].0.to_owned(), entries[at].1.clone())).collect();
            pair.join(&subscription(0, &chosen));
        }
        publish(&mut pair, 32);
        let leaving: Vec<GroupId> = pair.members.keys().copied().filter(|id| id.number() % 3 > 0).collect();
        for id in leaving {
            let (_, count) = pair.members.remove(&id).unwrap();
            (0..count).for_each(|_| pair.groups.leave(WorkerId(0), id));
        }
        publish(&mut pair, 8);
    }
    pair.leave_all();
    publish(&mut pair, 0);
}

#[track_caller]
fn check_scanned(filter: &Json, scanned: usize) {
    let entries: Entries = filter.as_object().unwrap().clone().into_iter().collect();
    let mut pair = Pair::new();
    pair.join(&subscription(0, &entries));
    assert_eq!(pair.groups.scanned(), scanned, "{filter}");
    let note = Note { mood: Mood::Sad, title: "abc".into(), body: None, rank: 3, ..Note::plain(7) };
    let (told, expected) = pair.publish(&[(0, (None, Some(note.row())))]);
    assert_eq!(told, expected, "{filter}");
    pair.leave_all();
    assert_eq!(pair.groups.scanned(), 0, "{filter}");
}

impl Pair {
    fn leave_all(&mut self) {
        self.members.clear();
        self.groups.forget_worker(WorkerId(0));
    }
}

#[test]
fn only_what_cannot_be_looked_up_is_scanned() {
    for filter in [
        json!({"id": 7}),
        json!({"rank__in": [1, 2, 3]}),
        json!({"done": false}),
        json!({"body": null}),
        json!({"not__body__isnull": false}),
        json!({"rank__gt": 1}),
        json!({"rank__gt": 1, "rank__lt": 9}),
        json!({"title__range": ["aa", "ad"]}),
        json!({"title__iexact": "ABC"}),
        json!({"title__startswith": "ab"}),
        json!({"title__istartswith": "AB"}),
        json!({"title__endswith": "bc"}),
        json!({"title__iendswith": "BC"}),
        json!({"title__contains": "b"}),
        json!({"title__icontains": "B"}),
        json!({"title__regex": "b", "mood": "sad"}),
        // No row satisfies these.
        json!({"rank__in": []}),
        json!({"rank__gt": 5, "rank__lt": 4}),
        json!({"not__title": "x", "rank__in": [], "title__regex": "b"}),
    ] {
        check_scanned(&filter, 0);
    }
    for filter in [
        json!({}),
        json!({"not__rank": 1}),
        json!({"title__regex": "b"}),
        json!({"created__year": 2026}),
        json!({"body__isnull": false}),
        json!({"title__contains": "", "not__done": true}),
    ] {
        check_scanned(&filter, 1);
    }
}

#[test]
fn alternatives_are_looked_up_if_each_of_them_can_be() {
    let of = |filter: Json| subscription(0, &Entries::from_iter(filter.as_object().unwrap().clone()));
    let or =
        |left: Json, right: Json| of(left).filter().clone().or(DESCRIPTORS[0], of(right).filter().clone());
    for (filter, scanned) in [
        (or(json!({"id": 7}), json!({"title": "abc"})), 0),
        (or(json!({"id": 8}), json!({"mood": "sad"})), 0),
        (or(json!({"id": 7}), json!({"rank__in": []})), 0),
        (or(json!({"id": 7}), json!({"title__regex": "b"})), 1),
    ] {
        let mut pair = Pair::new();
        pair.join(&of_filter(0, filter));
        assert_eq!(pair.groups.scanned(), scanned);
        let note = Note { mood: Mood::Sad, title: "abc".into(), ..Note::plain(7) };
        let (told, expected) = pair.publish(&[(0, (None, Some(note.row())))]);
        assert_eq!(told, expected);
        assert_eq!(told.len(), 1);
    }
}

/// A note that counts how often it is asked for its title.
struct Counting(Note, std::sync::atomic::AtomicUsize);

impl realtime_core::Record for Counting {
    fn value(&self, field: usize) -> Value<'_> {
        let is_title = Note::DESCRIPTOR.fields[field].name == "title";
        self.1.fetch_add(usize::from(is_title), std::sync::atomic::Ordering::Relaxed);
        self.0.value(field)
    }
}

/// A hundred groups that ask for one word and for something else beside it.
#[test]
fn what_groups_have_in_common_is_decided_once() {
    let mut pair = Pair::new();
    for rank in 0..100 {
        pair.join(&subscription(
            0,
            &[("title__contains".into(), json!("word")), ("rank__gt".into(), json!(rank))],
        ));
    }
    let note = Note { title: "a word".into(), rank: 50, ..Note::plain(1) };
    let row = Arc::new(Counting(note, std::sync::atomic::AtomicUsize::new(0)));
    let image: Row = row.clone();
    let change = Change {
        resource: ResourceId(0),
        key: Value::Int(1),
        before: None,
        after: Some(image),
        cursor: Position(1),
    };
    let deliveries =
        pair.groups.publish(&Batch { changes: vec![change], position: Position(2), ..Batch::default() });
    assert_eq!(deliveries.len(), 50);
    // By the index, once by all groups, and once where the event is written.
    assert_eq!(row.1.load(std::sync::atomic::Ordering::Relaxed), 3);
}
