//! The groups as a machine, and the oracle of every subscription: rows plus events are what the filter selects.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use realtime_core::change::{Batch, Change, ResourceId, coalesce};
use realtime_core::connection::{Connection, Effect};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::diff::apply;
use realtime_core::group::{Event, GroupId, Groups, WorkerId};
use realtime_core::subscription::Subscription;
use realtime_core::{Limits, RealtimeResource, Record, Row, Value};
use serde_json::{Map, Value as Json, json};

use crate::model::{NOTES, Note, Tag, descriptor, surface};
use crate::random;

/// What a connection asks to join when it sends this `subscribe`.
fn subscription(stream: &str, message: &Map<String, Json>) -> Arc<Subscription> {
    let mut message = message.clone();
    message.insert("stream".into(), json!(format!("{stream}/subscribe")));
    let mut connection = Connection::new(surface(Limits::default()), None, 0);
    match connection.text(&Json::from(message).to_string(), 0).pop() {
        Some(Effect::Join(_, subscription, _)) => subscription,
        other => panic!("not joined: {other:?}"),
    }
}

fn feed() -> Groups {
    let cursor = Cursor { epoch: Epoch(1), position: Position(0) };
    Groups::new(vec![Note::DESCRIPTOR, Tag::DESCRIPTOR], cursor)
}

/// A table, and what a transaction has done to it so far.
#[derive(Default)]
struct Notes {
    rows: BTreeMap<i64, Note>,
    open: Vec<Change>,
    position: i64,
}

impl Notes {
    /// Puts a row in the place of the one with a key. Either may be missing; the keys may differ.
    fn set(&mut self, key: i64, after: Option<Note>) {
        let before = self.rows.remove(&key);
        if let Some(note) = &after {
            self.rows.insert(note.id, note.clone());
        }
        self.position += 1;
        self.open.push(Change {
            resource: NOTES,
            key: Value::Int(key),
            before: before.map(|note| note.row()),
            after: after.map(|note| note.row()),
            cursor: Position(self.position),
        });
    }

    /// Ends the transaction, as the log's reader does.
    fn commit(&mut self) -> Batch {
        let key = |_: ResourceId, row: &dyn Record| row.value(descriptor().key).into_owned();
        self.position += 1;
        Batch {
            changes: coalesce(std::mem::take(&mut self.open), key),
            position: Position(self.position),
            ..Batch::default()
        }
    }
}

/// Runs a script against new groups.
///
/// ```text
/// join 1 notes {"payload": {..}}     a connection of worker 1 subscribes
/// leave 1 1                          one of worker 1 leaves group 1
/// forget 1                           worker 1 has ended
/// + {"id": 1}                        a row is made
/// ~ 1 {"title": "x"}                 the row with this key is changed
/// - 1                                it is removed
/// commit                             the transaction ends and is published
/// groups                             how many groups there are
/// following                          who follows the notes
/// ```
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "an expectation is written where it is passed")]
fn check(script: &str, expected: Expect) {
    let mut groups = feed();
    let mut notes = Notes::default();
    let mut joined: BTreeMap<u64, GroupId> = BTreeMap::new();
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let worker = || WorkerId(words[1].parse().unwrap());
        let object = || -> Map<String, Json> {
            serde_json::from_str(&line[line.find('{').expect("an object")..]).unwrap()
        };
        match words[0] {
            "join" => {
                let (group, cursor) = groups.join(worker(), &subscription(words[2], &object()));
                joined.insert(group.number(), group);
                writeln!(out, "group {} at {cursor}", group.number()).unwrap();
            }
            "leave" => groups.leave(worker(), joined[&number(2)]),
            "forget" => groups.forget_worker(worker()),
            "+" => {
                let note = Note::plain(0).with(&object());
                assert!(!notes.rows.contains_key(&note.id));
                notes.set(note.id, Some(note));
            }
            "~" => {
                let key = words[1].parse().unwrap();
                let note = notes.rows[&key].clone().with(&object());
                notes.set(key, Some(note));
            }
            "-" => notes.set(words[1].parse().unwrap(), None),
            "commit" => {
                let batch = notes.commit();
                let deliveries = groups.publish(&batch);
                assert_eq!(groups.cursor().position, batch.position);
                for delivery in &deliveries {
                    let workers: Vec<String> =
                        delivery.workers.iter().map(|worker| worker.0.to_string()).collect();
                    writeln!(out, "group {} on {}", delivery.group.number(), workers.join(" ")).unwrap();
                    for event in &delivery.events {
                        let mut members: Map<String, Json> = serde_json::from_str(&event.text).unwrap();
                        assert_eq!(members.remove("type"), Some(json!("event")));
                        assert!(members.remove("subscription").unwrap().is_string());
                        writeln!(out, "  {}", Json::from(members)).unwrap();
                    }
                }
                if deliveries.is_empty() {
                    out.push_str("nothing\n");
                }
            }
            "groups" => {
                let none = if groups.is_empty() { ", none" } else { "" };
                writeln!(out, "{} groups{none}", groups.len()).unwrap();
            }
            "following" => {
                for (group, workers) in groups.following(&[NOTES]) {
                    let workers: Vec<usize> = workers.iter().map(|worker| worker.0).collect();
                    writeln!(out, "group {} on {workers:?}", group.number()).unwrap();
                }
            }
            other => panic!("a script has no {other:?}"),
        }
    }
    expected.assert_eq(&out);
}

#[test]
fn an_event_is_the_whole_frame_that_a_client_gets() {
    let mut groups = feed();
    let mut notes = Notes::default();
    groups.join(WorkerId(0), &subscription("notes", &Map::new()));
    notes.set(1, Some(Note { body: Some("\"q\"\n😀".into()), ..Note::plain(1) }));
    let first = groups.publish(&notes.commit());
    notes.set(1, Some(Note { score: Some(f64::NAN), rank: 2, ..Note::plain(1) }));
    let second = groups.publish(&notes.commit());
    notes.set(1, None);
    let third = groups.publish(&notes.commit());
    let events: Vec<String> = [first, second, third]
        .into_iter()
        .flatten()
        .flat_map(|delivery| delivery.events)
        .map(|event| event.text.to_string())
        .collect();
    expect![[r#"
        {"type":"event","subscription":"KV-xF0Jkw685M13j4cK0ww","stream":"notes","action":"create","pk":1,"data":{"id":1,"rank":0,"score":null,"title":"t","body":"\"q\"\n😀","done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null},"cursor":"0000000000000001-2"}
        {"type":"event","subscription":"KV-xF0Jkw685M13j4cK0ww","stream":"notes","action":"update","pk":1,"diff":{"rank":2,"score":"NaN","body":null},"cursor":"0000000000000001-4"}
        {"type":"event","subscription":"KV-xF0Jkw685M13j4cK0ww","stream":"notes","action":"delete","pk":1,"cursor":"0000000000000001-6"}"#]].assert_eq(&events.join("\n"));
}

#[test]
fn equal_subscriptions_are_one_group_on_all_workers() {
    check(
        r#"
        join 1 notes {"payload": {"rank": 1}}
        join 1 notes {"payload": {"rank__in": ["1"]}}
        join 2 notes {"payload": {"rank": 1}}
        join 2 notes {"payload": {"rank": 1}, "form": "full"}
        join 2 notes {"payload": {"rank": 1}, "fields": ["title"]}
        join 2 notes {"payload": {"rank": 1}, "actions": ["create"]}
        join 3 tags {}
        groups
        following
        + {"id": 1, "rank": 1}
        commit
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 1 at 0000000000000001-0
            group 1 at 0000000000000001-0
            group 2 at 0000000000000001-0
            group 3 at 0000000000000001-0
            group 4 at 0000000000000001-0
            group 5 at 0000000000000001-0
            5 groups
            group 1 on [1, 2]
            group 2 on [2]
            group 3 on [2]
            group 4 on [2]
            group 1 on 1 2
              {"action":"create","cursor":"0000000000000001-2","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":1,"score":null,"title":"t"},"pk":1,"stream":"notes"}
            group 2 on 2
              {"action":"create","cursor":"0000000000000001-2","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":1,"score":null,"title":"t"},"pk":1,"stream":"notes"}
            group 3 on 2
              {"action":"create","cursor":"0000000000000001-2","data":{"id":1,"title":"t"},"pk":1,"stream":"notes"}
            group 4 on 2
              {"action":"create","cursor":"0000000000000001-2","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":1,"score":null,"title":"t"},"pk":1,"stream":"notes"}
        "#]],
    );
}

#[test]
fn a_group_ends_with_its_last_member() {
    check(
        r#"
        join 1 notes {}
        join 1 notes {}
        join 2 notes {}
        leave 1 1
        + {"id": 1}
        commit
        leave 1 1
        leave 1 1
        + {"id": 2}
        commit
        leave 2 1
        groups
        + {"id": 3}
        commit
        leave 2 1
        join 2 notes {}
        leave 2 1
        groups
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 1 at 0000000000000001-0
            group 1 at 0000000000000001-0
            group 1 on 1 2
              {"action":"create","cursor":"0000000000000001-2","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":0,"score":null,"title":"t"},"pk":1,"stream":"notes"}
            group 1 on 2
              {"action":"create","cursor":"0000000000000001-4","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":2,"mood":"calm","rank":0,"score":null,"title":"t"},"pk":2,"stream":"notes"}
            0 groups, none
            nothing
            group 2 at 0000000000000001-6
            1 groups
        "#]],
    );
}

#[test]
fn a_worker_that_ends_takes_its_members_along() {
    check(
        r#"
        join 1 notes {}
        join 1 notes {}
        join 2 notes {}
        join 1 notes {"payload": {"rank": 1}}
        forget 1
        groups
        following
        forget 3
        + {"id": 1, "rank": 1}
        commit
        forget 2
        groups
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 1 at 0000000000000001-0
            group 1 at 0000000000000001-0
            group 2 at 0000000000000001-0
            1 groups
            group 1 on [2]
            group 1 on 2
              {"action":"create","cursor":"0000000000000001-2","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":1,"score":null,"title":"t"},"pk":1,"stream":"notes"}
            0 groups, none
        "#]],
    );
}

#[test]
fn the_events_of_a_group_begin_after_the_cursor_it_was_joined_at() {
    check(
        r#"
        join 1 notes {}
        + {"id": 1}
        commit
        join 2 notes {}
        join 2 notes {"payload": {"id": 1}}
        ~ 1 {"rank": 1}
        commit
        join 3 tags {}
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-2","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":0,"score":null,"title":"t"},"pk":1,"stream":"notes"}
            group 1 at 0000000000000001-2
            group 2 at 0000000000000001-2
            group 1 on 1 2
              {"action":"update","cursor":"0000000000000001-4","diff":{"rank":1},"pk":1,"stream":"notes"}
            group 2 on 2
              {"action":"update","cursor":"0000000000000001-4","diff":{"rank":1},"pk":1,"stream":"notes"}
            group 3 at 0000000000000001-4
        "#]],
    );
}

#[test]
fn a_row_enters_stays_and_leaves_a_filter() {
    check(
        r#"
        join 1 notes {"payload": {"rank__gte": 3}}
        + {"id": 1, "rank": 2}
        commit
        ~ 1 {"title": "unseen"}
        commit
        ~ 1 {"rank": 3}
        commit
        ~ 1 {"title": "seen", "body": "b"}
        commit
        ~ 1 {"rank": 4, "body": null}
        commit
        ~ 1 {"rank": 2, "title": "gone"}
        commit
        - 1
        commit
        + {"id": 2, "rank": 9}
        commit
        - 2
        commit
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            nothing
            nothing
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-6","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":3,"score":null,"title":"unseen"},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"update","cursor":"0000000000000001-8","diff":{"body":"b","title":"seen"},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"update","cursor":"0000000000000001-10","diff":{"body":null,"rank":4},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"delete","cursor":"0000000000000001-12","pk":1,"stream":"notes"}
            nothing
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-16","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":2,"mood":"calm","rank":9,"score":null,"title":"t"},"pk":2,"stream":"notes"}
            group 1 on 1
              {"action":"delete","cursor":"0000000000000001-18","pk":2,"stream":"notes"}
        "#]],
    );
}

#[test]
fn a_full_form_shows_the_whole_object() {
    check(
        r#"
        join 1 notes {"form": "full"}
        + {"id": 1}
        commit
        ~ 1 {"rank": 1}
        commit
        ~ 1 {"rank": 1}
        commit
        - 1
        commit
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-2","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":0,"score":null,"title":"t"},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"update","cursor":"0000000000000001-4","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":1,"score":null,"title":"t"},"pk":1,"stream":"notes"}
            nothing
            group 1 on 1
              {"action":"delete","cursor":"0000000000000001-8","pk":1,"stream":"notes"}
        "#]],
    );
}

#[test]
fn fields_are_all_that_is_seen_of_a_row() {
    check(
        r#"
        join 1 notes {"fields": ["title", "rank"]}
        join 1 notes {"fields": ["title"], "form": "full"}
        join 1 notes {"fields": []}
        + {"id": 1}
        commit
        ~ 1 {"body": "x", "done": true}
        commit
        ~ 1 {"rank": 2, "body": "y"}
        commit
        ~ 1 {"title": "u"}
        commit
        - 1
        commit
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 2 at 0000000000000001-0
            group 3 at 0000000000000001-0
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-2","data":{"id":1,"rank":0,"title":"t"},"pk":1,"stream":"notes"}
            group 2 on 1
              {"action":"create","cursor":"0000000000000001-2","data":{"id":1,"title":"t"},"pk":1,"stream":"notes"}
            group 3 on 1
              {"action":"create","cursor":"0000000000000001-2","data":{"id":1},"pk":1,"stream":"notes"}
            nothing
            group 1 on 1
              {"action":"update","cursor":"0000000000000001-6","diff":{"rank":2},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"update","cursor":"0000000000000001-8","diff":{"title":"u"},"pk":1,"stream":"notes"}
            group 2 on 1
              {"action":"update","cursor":"0000000000000001-8","data":{"id":1,"title":"u"},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"delete","cursor":"0000000000000001-10","pk":1,"stream":"notes"}
            group 2 on 1
              {"action":"delete","cursor":"0000000000000001-10","pk":1,"stream":"notes"}
            group 3 on 1
              {"action":"delete","cursor":"0000000000000001-10","pk":1,"stream":"notes"}
        "#]],
    );
}

#[test]
fn a_filter_may_look_at_a_field_that_is_not_shown() {
    check(
        r#"
        join 1 notes {"fields": ["title"], "payload": {"rank": 1}}
        + {"id": 1}
        commit
        ~ 1 {"rank": 1}
        commit
        ~ 1 {"rank": 2}
        commit
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            nothing
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-4","data":{"id":1,"title":"t"},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"delete","cursor":"0000000000000001-6","pk":1,"stream":"notes"}
        "#]],
    );
}

#[test]
fn only_the_actions_that_were_asked_for_are_sent() {
    check(
        r#"
        join 1 notes {"actions": ["create"]}
        join 1 notes {"actions": ["update", "delete"]}
        + {"id": 1}
        commit
        ~ 1 {"rank": 1}
        + {"id": 2}
        commit
        - 1
        ~ 2 {"rank": 2}
        commit
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 2 at 0000000000000001-0
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-2","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":0,"score":null,"title":"t"},"pk":1,"stream":"notes"}
            group 2 on 1
              {"action":"update","cursor":"0000000000000001-5","diff":{"rank":1},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-5","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":2,"mood":"calm","rank":0,"score":null,"title":"t"},"pk":2,"stream":"notes"}
            group 2 on 1
              {"action":"delete","cursor":"0000000000000001-8","more":true,"pk":1,"stream":"notes"}
              {"action":"update","cursor":"0000000000000001-8","diff":{"rank":2},"pk":2,"stream":"notes"}
        "#]],
    );
}

#[test]
fn the_events_of_a_batch_bear_one_cursor_and_all_but_the_last_of_a_group_say_more() {
    check(
        r#"
        join 1 notes {"payload": {"rank": 1}}
        join 1 notes {"payload": {"rank": 2}}
        + {"id": 1, "rank": 1}
        + {"id": 2, "rank": 2}
        + {"id": 3, "rank": 1}
        + {"id": 4, "rank": 3}
        commit
        ~ 1 {"rank": 2}
        ~ 2 {"rank": 1}
        commit
        ~ 3 {"rank": 3}
        commit
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 2 at 0000000000000001-0
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-5","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":1,"score":null,"title":"t"},"more":true,"pk":1,"stream":"notes"}
              {"action":"create","cursor":"0000000000000001-5","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":3,"mood":"calm","rank":1,"score":null,"title":"t"},"pk":3,"stream":"notes"}
            group 2 on 1
              {"action":"create","cursor":"0000000000000001-5","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":2,"mood":"calm","rank":2,"score":null,"title":"t"},"pk":2,"stream":"notes"}
            group 1 on 1
              {"action":"delete","cursor":"0000000000000001-8","more":true,"pk":1,"stream":"notes"}
              {"action":"create","cursor":"0000000000000001-8","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":2,"mood":"calm","rank":1,"score":null,"title":"t"},"pk":2,"stream":"notes"}
            group 2 on 1
              {"action":"create","cursor":"0000000000000001-8","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":2,"score":null,"title":"t"},"more":true,"pk":1,"stream":"notes"}
              {"action":"delete","cursor":"0000000000000001-8","pk":2,"stream":"notes"}
            group 1 on 1
              {"action":"delete","cursor":"0000000000000001-10","pk":3,"stream":"notes"}
        "#]],
    );
}

#[test]
fn several_changes_of_a_row_in_a_transaction_are_one_event() {
    check(
        r#"
        join 1 notes {"payload": {"rank": 1}}
        + {"id": 1}
        ~ 1 {"rank": 1}
        ~ 1 {"title": "x"}
        commit
        ~ 1 {"rank": 2}
        ~ 1 {"rank": 1}
        commit
        ~ 1 {"title": "y"}
        ~ 1 {"title": "x"}
        commit
        + {"id": 2, "rank": 1}
        - 2
        commit
        - 1
        + {"id": 1, "rank": 1, "title": "z"}
        commit
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-4","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":1,"score":null,"title":"x"},"pk":1,"stream":"notes"}
            nothing
            nothing
            nothing
            group 1 on 1
              {"action":"update","cursor":"0000000000000001-16","diff":{"title":"z"},"pk":1,"stream":"notes"}
        "#]],
    );
}

#[test]
fn a_row_that_changes_its_key_leaves_and_arrives() {
    check(
        r#"
        join 1 notes {}
        join 1 notes {"payload": {"id": 1}}
        join 1 notes {"payload": {"id": 2}}
        + {"id": 1}
        commit
        ~ 1 {"id": 2, "title": "moved"}
        commit
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 2 at 0000000000000001-0
            group 3 at 0000000000000001-0
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-2","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":0,"score":null,"title":"t"},"pk":1,"stream":"notes"}
            group 2 on 1
              {"action":"create","cursor":"0000000000000001-2","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":1,"mood":"calm","rank":0,"score":null,"title":"t"},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"delete","cursor":"0000000000000001-4","more":true,"pk":1,"stream":"notes"}
              {"action":"create","cursor":"0000000000000001-4","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":2,"mood":"calm","rank":0,"score":null,"title":"moved"},"pk":2,"stream":"notes"}
            group 2 on 1
              {"action":"delete","cursor":"0000000000000001-4","pk":1,"stream":"notes"}
            group 3 on 1
              {"action":"create","cursor":"0000000000000001-4","data":{"body":null,"created":"2026-01-31T12:00:00Z","done":false,"edited":null,"id":2,"mood":"calm","rank":0,"score":null,"title":"moved"},"pk":2,"stream":"notes"}
        "#]],
    );
}

#[test]
fn an_empty_batch_moves_the_cursor_only() {
    check(
        r#"
        join 1 notes {}
        commit
        commit
        join 2 notes {}
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            nothing
            nothing
            group 1 at 0000000000000001-2
        "#]],
    );
}

#[test]
fn of_a_resource_of_which_something_is_lost_nothing_is_told() {
    let told = |lost: Vec<ResourceId>| {
        let mut groups = feed();
        groups.join(WorkerId(1), &subscription("notes", &Map::new()));
        let mut notes = Notes::default();
        notes.set(1, Some(Note::plain(1)));
        groups.publish(&Batch { changes: notes.open, position: Position(1), lost }).len()
    };
    assert_eq!(told(vec![]), 1);
    assert_eq!(told(vec![ResourceId(1)]), 1);
    assert_eq!(told(vec![NOTES]), 0);
}

#[test]
fn nulls_are_values_of_a_diff() {
    check(
        r#"
        join 1 notes {}
        + {"id": 1, "body": "x", "score": 0.0, "edited": "2026-01-31T12:00:00.123456789Z"}
        commit
        ~ 1 {"body": null, "score": -0.0, "edited": null}
        commit
        ~ 1 {"score": "NaN"}
        commit
        ~ 1 {"score": "NaN"}
        commit
        ~ 1 {"body": ""}
        commit
        "#,
        expect![[r#"
            group 1 at 0000000000000001-0
            group 1 on 1
              {"action":"create","cursor":"0000000000000001-2","data":{"body":"x","created":"2026-01-31T12:00:00Z","done":false,"edited":"2026-01-31T12:00:00.123456789Z","id":1,"mood":"calm","rank":0,"score":0.0,"title":"t"},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"update","cursor":"0000000000000001-4","diff":{"body":null,"edited":null,"score":-0.0},"pk":1,"stream":"notes"}
            group 1 on 1
              {"action":"update","cursor":"0000000000000001-6","diff":{"score":"NaN"},"pk":1,"stream":"notes"}
            nothing
            group 1 on 1
              {"action":"update","cursor":"0000000000000001-10","diff":{"body":""},"pk":1,"stream":"notes"}
        "#]],
    );
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Put(Box<Note>),
    Move(i64, i64),
    Remove(i64),
    Commit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..5_i64;
    let step = prop_oneof![
        4 => (key.clone(), random::note()).prop_map(|(id, note)| Step::Put(Box::new(Note { id, ..note }))),
        1 => (key.clone(), key.clone()).prop_map(|(from, to)| Step::Move(from, to)),
        2 => key.prop_map(Step::Remove),
        3 => Just(Step::Commit),
    ];
    prop::collection::vec(step, 1..40)
}

fn options() -> impl Strategy<Value = Map<String, Json>> {
    let names: Vec<&str> = descriptor().fields.iter().map(|field| field.name).collect();
    let fields = prop::option::of(prop::sample::subsequence(names.clone(), 0..=names.len()));
    (any::<bool>(), fields, random::entries()).prop_map(|(full, fields, entries)| {
        let mut options = Map::new();
        options.insert("form".into(), json!(if full { "full" } else { "diff" }));
        if let Some(fields) = fields {
            options.insert("fields".into(), json!(fields));
        }
        options.insert("payload".into(), entries.into_iter().collect::<Map<_, _>>().into());
        options
    })
}

/// What a client keeps: the rows by key. It knows nothing but the frames.
#[derive(Default)]
struct Client(BTreeMap<i64, Map<String, Json>>);

impl Client {
    fn receive(&mut self, frame: &str) {
        let event: Map<String, Json> = serde_json::from_str(frame).unwrap();
        let key = event["pk"].as_i64().unwrap();
        match event["action"].as_str().unwrap() {
            "create" => {
                let row = event["data"].as_object().unwrap().clone();
                assert!(self.0.insert(key, row).is_none(), "a create for a row that is held");
            }
            "update" => {
                let row = self.0.get_mut(&key).expect("an update is for a row that is held");
                match event.get("diff") {
                    Some(diff) => {
                        let before = row.clone();
                        apply(diff.as_object().unwrap(), row);
                        // As text: to `serde_json` both zeros are equal.
                        assert_ne!(json!(before).to_string(), json!(row).to_string(), "an event for nothing");
                    }
                    None => *row = event["data"].as_object().unwrap().clone(),
                }
            }
            "delete" => {
                self.0.remove(&key).expect("a delete is for a row that is held");
            }
            other => panic!("an event is no {other:?}"),
        }
    }
}

fn selected(subscription: &Subscription, rows: &BTreeMap<i64, Note>) -> BTreeMap<i64, Map<String, Json>> {
    let names: Vec<&str> =
        subscription.fields().iter().map(|field| descriptor().fields[*field].name).collect();
    rows.iter()
        .filter(|(_, note)| subscription.filter().matches(*note))
        .map(|(key, note)| {
            let mut object = note.object();
            object.retain(|name, _| names.contains(&name.as_str()));
            (*key, object)
        })
        .collect()
}

proptest! {
    #![proptest_config(random::config(400))]

    #[test]
    fn rows_plus_events_are_what_the_filter_selects(steps in steps(), options in options()) {
        let subscription = subscription("notes", &options);
        let mut groups = feed();
        groups.join(WorkerId(0), &subscription);
        let mut notes = Notes::default();
        let mut client = Client::default();
        for step in steps.into_iter().chain([Step::Commit]) {
            match step {
                Step::Put(note) => notes.set(note.id, Some(*note)),
                Step::Move(from, to) => {
                    if !notes.rows.contains_key(&to) && let Some(note) = notes.rows.get(&from).cloned() {
                        notes.set(from, Some(Note { id: to, ..note }));
                    }
                }
                Step::Remove(key) => {
                    if notes.rows.contains_key(&key) {
                        notes.set(key, None);
                    }
                }
                Step::Commit => {
                    let batch = notes.commit();
                    for delivery in groups.publish(&batch) {
                        let count = delivery.events.len();
                        prop_assert!(count > 0);
                        for (at, Event { text: frame, .. }) in delivery.events.iter().enumerate() {
                            let event: Json = serde_json::from_str(frame).unwrap();
                            prop_assert_eq!(event.get("more").is_some(), at + 1 < count);
                            prop_assert_eq!(&event["cursor"], &json!(groups.cursor().to_string()));
                            prop_assert_eq!(&event["subscription"], &json!(subscription.id()));
                            client.receive(frame);
                        }
                    }
                    prop_assert_eq!(
                        json!(client.0).to_string(),
                        json!(selected(&subscription, &notes.rows)).to_string()
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_is_shared_and_never_copied_for_its_groups() {
    let row: Row = Note::plain(1).row();
    let change = Change {
        resource: NOTES,
        key: Value::Int(1),
        before: None,
        after: Some(Arc::clone(&row)),
        cursor: Position(1),
    };
    assert_eq!(change.after_as::<Note>(), Some(&Note::plain(1)));
    assert!(change.after_as::<Tag>().is_none());
    assert!(change.before_as::<Note>().is_none());
    assert_eq!(Arc::strong_count(&row), 2);
}
