//! Fields that are hidden from some: whoever is told the same is told in the same words, written once.

use std::collections::HashMap;
use std::sync::Arc;

use realtime_core::change::{Batch, Change, ResourceId};
use realtime_core::connection::{Connection, Effect, Surface};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::group::{GroupId, Groups, WorkerId};
use realtime_core::policy::{AllowAny, Ask, Permission as _, Policy, Verdict};
use realtime_core::subscription::Subscription;
use realtime_core::{Fields, Limits, Principal, RealtimeResource, Row, Rows, Value};
use serde_json::{Value as Json, json};

diesel::table! {
    sheets (id) {
        id -> BigInt,
        owner_id -> Integer,
        open -> Bool,
        title -> Text,
        grade -> Integer,
        remark -> Text,
    }
}

/// Those that are open are for everybody, the others for their owners; nobody who is not logged in sees grades, and
/// remarks are for teachers.
#[derive(Clone, Debug, RealtimeResource)]
#[diesel(table_name = sheets)]
#[realtime(lookups(all), ordering(all), policy)]
struct Sheet {
    id: i64,
    owner_id: i32,
    open: bool,
    title: String,
    grade: i32,
    remark: String,
}

struct Teacher;

fn teaches(principal: &Principal) -> bool {
    principal.claims::<Teacher>().is_some()
}

impl Policy for Sheet {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        AllowAny.decide(ask)
    }

    fn visible(principal: &Principal) -> Rows<Self> {
        let open = Rows::equal(sheets::open, true);
        match principal.user_key::<i32>() {
            Ok(_) if teaches(principal) => Rows::all(),
            Ok(me) => open.or(Rows::equal(sheets::owner_id, me)),
            Err(_) => open,
        }
    }

    fn hidden(principal: &Principal) -> Fields<Self> {
        let remark = Fields::of(sheets::remark);
        match principal.is_anonymous() {
            _ if teaches(principal) => Fields::none(),
            true => remark.or(Fields::of(sheets::grade)),
            false => remark,
        }
    }
}

fn teacher(key: i32) -> Principal {
    Principal::user(key).with(Teacher)
}

fn connection(principal: Principal) -> Connection {
    let surface = Surface { descriptors: vec![Sheet::DESCRIPTOR], limits: Limits::default() };
    Connection::new(Arc::new(surface), None, 0).of(principal)
}

fn asked(connection: &mut Connection, with: &Json) -> Arc<Subscription> {
    let mut message = with.clone();
    message["stream"] = "sheets".into();
    message["action"] = "subscribe".into();
    match connection.text(&message.to_string(), 0).pop() {
        Some(Effect::Join(ticket, subscription, _)) => {
            let cursor = Cursor { epoch: Epoch(1), position: Position(0) };
            connection.joined(ticket, cursor, false);
            subscription
        }
        other => panic!("not joined: {other:?}"),
    }
}

struct Feed {
    groups: Groups,
    position: i64,
}

/// How many groups are told, in how many texts, and what the groups of interest are told.
type Told = (usize, usize, Vec<Option<Json>>);

impl Feed {
    fn new() -> Self {
        let start = Cursor { epoch: Epoch(1), position: Position(0) };
        Self { groups: Groups::new(vec![Sheet::DESCRIPTOR], start), position: 0 }
    }

    fn join(&mut self, principal: Principal, with: &Json) -> GroupId {
        let subscription = asked(&mut connection(principal), with);
        self.groups.join(WorkerId(0), &subscription).0
    }

    fn tell(&mut self, before: Option<&Sheet>, after: Option<&Sheet>, of: &[GroupId]) -> Told {
        self.position += 1;
        let row = |sheet: Option<&Sheet>| sheet.map(|sheet| Arc::new(sheet.clone()) as Row);
        let change = Change {
            resource: ResourceId(0),
            key: Value::Int(1),
            before: row(before),
            after: row(after),
            cursor: Position(self.position),
        };
        let position = Position(self.position);
        let batch = Batch { changes: vec![change], position, ..Batch::default() };
        let deliveries = self.groups.publish(&batch);
        let texts: HashMap<usize, Json> = deliveries
            .iter()
            .flat_map(|delivery| &delivery.events)
            .map(|event| (Arc::as_ptr(&event.text).addr(), serde_json::from_str(&event.text).unwrap()))
            .collect();
        let told = of.iter().map(|group| {
            let delivery = deliveries.iter().find(|delivery| delivery.group == *group)?;
            let event = &texts[&Arc::as_ptr(&delivery.events[0].text).addr()];
            Some(if event["diff"].is_null() { event["data"].clone() } else { event["diff"].clone() })
        });
        (deliveries.len(), texts.len(), told.collect())
    }
}

fn sheet() -> Sheet {
    Sheet { id: 1, owner_id: 7, open: true, title: "t".into(), grade: 3, remark: "r".into() }
}

/// A thousand users with rows of their own, nobody, and teachers: a change is written once for all who are shown the
/// same of it.
#[test]
fn a_change_is_written_once_for_all_who_see_the_same_fields_of_it() {
    let mut feed = Feed::new();
    for user in 0..1_000 {
        feed.join(Principal::user(user), &json!({}));
    }
    let of = [
        feed.join(Principal::anonymous(), &json!({})),
        feed.join(Principal::user(7), &json!({})),
        feed.join(teacher(2_000), &json!({})),
    ];
    assert_eq!(feed.join(teacher(2_001), &json!({})), of[2], "they see the same");
    assert_eq!(feed.groups.len(), 1_002);
    let first = sheet();
    let nobodys = json!({"id": 1, "owner_id": 7, "open": true, "title": "t"});
    let users = json!({"id": 1, "owner_id": 7, "open": true, "title": "t", "grade": 3});
    let teachers = json!({"id": 1, "owner_id": 7, "open": true, "title": "t", "grade": 3, "remark": "r"});
    let told = feed.tell(None, Some(&first), &of);
    assert_eq!(told, (1_002, 3, vec![Some(nobodys), Some(users), Some(teachers)]));
    // What only some see change concerns nobody else.
    let remarked = Sheet { remark: "better".into(), ..first.clone() };
    let told = feed.tell(Some(&first), Some(&remarked), &of);
    assert_eq!(told, (1, 1, vec![None, None, Some(json!({"remark": "better"}))]));
    let graded = Sheet { grade: 1, ..remarked.clone() };
    let told = feed.tell(Some(&remarked), Some(&graded), &of);
    assert_eq!(told, (1_001, 2, vec![None, Some(json!({"grade": 1})), Some(json!({"grade": 1}))]));
    let renamed = Sheet { title: "u".into(), ..graded.clone() };
    let told = feed.tell(Some(&graded), Some(&renamed), &of);
    let diff = Some(json!({"title": "u"}));
    assert_eq!(told, (1_002, 3, vec![diff.clone(), diff.clone(), diff]));
    // It is closed: for all but its owner and teachers it is gone.
    let closed = Sheet { open: false, ..renamed.clone() };
    let told = feed.tell(Some(&renamed), Some(&closed), &of);
    let diff = Some(json!({"open": false}));
    assert_eq!((told.0, &told.2[1], &told.2[2]), (1_002, &diff, &diff));
    assert_eq!(told.2[0], Some(Json::Null), "a deletion has neither data nor a diff");
}

#[test]
fn hidden_fields_that_were_not_asked_for_make_no_groups() {
    let mut feed = Feed::new();
    let with = json!({"fields": ["title"], "payload": {"open": true}});
    let of = [feed.join(Principal::user(1), &with), feed.join(Principal::user(1), &json!({}))];
    assert_eq!(feed.join(Principal::user(1), &with), of[0]);
    assert_ne!(of[0], of[1]);
    // The id says what was asked for, whoever asks.
    let id = |principal| asked(&mut connection(principal), &json!({})).id().to_owned();
    assert_eq!(id(teacher(1)), id(Principal::anonymous()));
    let named = json!({"fields": ["title", "grade"]});
    let of_teacher = asked(&mut connection(teacher(1)), &named);
    let of_user = asked(&mut connection(Principal::user(1)), &named);
    assert_eq!((of_teacher.id(), of_teacher.fields()), (of_user.id(), of_user.fields()));
}

#[test]
fn a_filter_on_what_is_hidden_now_ends_the_connection_also_while_it_waits_for_its_turn() {
    let subscribe =
        |filter: Json| json!({"stream": "sheets", "action": "subscribe", "payload": filter}).to_string();
    let ends = |connection: &mut Connection| {
        let effects = connection.become_of(&Principal::user(1));
        matches!(effects.as_slice(), [Effect::Close(4401, _)])
    };
    for filter in [json!({"remark": "x"}), json!({"title": "x", "not__remark__contains": "y"})] {
        let mut held = connection(teacher(1));
        asked(&mut held, &json!({ "payload": filter }));
        assert!(ends(&mut held));
        let mut begun = connection(teacher(1));
        begun.text(&subscribe(filter.clone()), 0);
        assert!(ends(&mut begun));
        let mut waiting = connection(teacher(1));
        waiting.text(&subscribe(json!({})), 0);
        waiting.text(&subscribe(filter), 0);
        assert!(ends(&mut waiting));
    }
    let mut known = connection(teacher(1));
    asked(&mut known, &json!({"payload": {"grade": 3}}));
    match known.become_of(&Principal::user(1)).as_slice() {
        [Effect::Narrow(_, subscription)] => {
            assert_eq!(subscription.fields(), [0, 1, 2, 3, 4], "all but the remark");
        }
        other => panic!("{other:?}"),
    }
}
