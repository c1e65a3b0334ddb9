//! Who may do what and see what: one model of the rules, against answers and events alike.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::{Sqlite, SqliteConnection};
use proptest::prelude::*;
use realtime_core::action::{self, Operation, Outcome, Refusal};
use realtime_core::change::{Batch, Change, ResourceId};
use realtime_core::connection::{Connection, Effect, Surface};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::group::{GroupId, Groups, WorkerId};
use realtime_core::list::ListQuery;
use realtime_core::policy::{Ask, IsAuthenticated, IsOwner, Permission, Policy, ReadOnly, Rule, Verdict};
use realtime_core::sql::Table;
use realtime_core::{Action, Context, Limits, Principal, RealtimeResource, Row, Rows, Value, object};
use serde_json::{Map, Value as Json, json};

use crate::model::{Direct, now, time};
use crate::random;

diesel::table! {
    papers (id) {
        id -> BigInt,
        owner_id -> Integer,
        hidden -> Bool,
        title -> Text,
    }
}

/// Shown to everybody, or, hidden, to its owner and to staff; changed by its owner, deleted by staff only.
#[derive(Clone, Debug, PartialEq, Insertable, Queryable, Selectable, RealtimeResource)]
#[diesel(table_name = papers)]
#[realtime(lookups(all), ordering(all), policy)]
struct Paper {
    id: i64,
    #[realtime(read_only, on_create = |context| context.user_key())]
    owner_id: i32,
    #[realtime(default = false)]
    hidden: bool,
    title: String,
}

/// What is known of a user beside his key.
struct Account {
    staff: bool,
}

fn is_staff(principal: &Principal) -> bool {
    principal.claims::<Account>().is_some_and(|account| account.staff)
}

impl Policy for Paper {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        ReadOnly
            .or(IsAuthenticated.on(&[Action::Create]))
            .or(IsOwner(papers::owner_id).on(&[Action::Update, Action::Replace]))
            .or(is_staff)
            .decide(ask)
    }

    fn visible(principal: &Principal) -> Rows<Self> {
        let shown = Rows::equal(papers::hidden, false);
        match principal.user_key::<i32>() {
            Ok(_) if is_staff(principal) => Rows::all(),
            Ok(me) => shown.or(Rows::equal(papers::owner_id, me)),
            Err(_) => shown,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum User {
    Nobody,
    Plain(i32),
    Staff,
}

const USERS: [User; 4] = [User::Nobody, User::Plain(1), User::Plain(2), User::Staff];

impl User {
    fn principal(self) -> Principal {
        match self {
            Self::Nobody => Principal::anonymous(),
            Self::Plain(key) => Principal::user(key).with(Account { staff: false }),
            Self::Staff => Principal::user(9).with(Account { staff: true }),
        }
    }

    // The rules once more, in other words.

    fn sees(self, paper: &Paper) -> bool {
        !paper.hidden || self == Self::Staff || self == Self::Plain(paper.owner_id)
    }

    fn changes(self, paper: &Paper) -> bool {
        self == Self::Staff || self == Self::Plain(paper.owner_id)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Retrieve(i64),
    List(Json),
    Create(Json),
    Update(i64, Json),
    Replace(i64, Json),
    Delete(i64),
}

impl Step {
    fn operation(&self) -> Operation {
        let object = |json: &Json| -> Map<String, Json> { json.as_object().unwrap().clone() };
        let key = |key: &i64| Value::Int(*key);
        match self {
            Self::Retrieve(at) => Operation::Retrieve(key(at)),
            Self::List(filter) => {
                let entries = object(filter).into_iter();
                let entries =
                    entries.map(|(key, json)| (key, realtime_core::filter::RawArgument::Json(json)));
                let query = ListQuery::parse(Paper::DESCRIPTOR, entries, &[], &Limits::default()).unwrap();
                Operation::List(Box::new(query))
            }
            Self::Create(payload) => Operation::Create(object(payload)),
            Self::Update(at, payload) => Operation::Update(key(at), object(payload)),
            Self::Replace(at, payload) => Operation::Replace(key(at), object(payload)),
            Self::Delete(at) => Operation::Delete(key(at)),
        }
    }

    /// Titles that occur once: one that reaches somebody who may not see its row is found in every byte.
    fn stamped(mut self, position: i64) -> Self {
        if let Self::Create(payload) | Self::Update(_, payload) | Self::Replace(_, payload) = &mut self
            && let Some(Json::String(title)) = payload.get_mut("title")
        {
            title.push_str(&format!("-canary-{position}-"));
        }
        self
    }

    /// The status that the rules ask for, of a table.
    fn expected(&self, user: User, table: &BTreeMap<i64, Paper>) -> u16 {
        let is_known = user != User::Nobody;
        let seen = |key: &i64| table.get(key).filter(|paper| user.sees(paper));
        let well_formed = |payload: &Json| payload["title"].is_string() || payload.get("title").is_none();
        match self {
            Self::List(_) => 200,
            Self::Retrieve(key) => seen(key).map_or(404, |_| 200),
            Self::Create(_) if !is_known => 401,
            Self::Create(payload) if !payload["title"].is_string() => 400,
            Self::Create(payload) if table.contains_key(&payload["id"].as_i64().unwrap()) => 409,
            Self::Create(_) => 201,
            _ if !is_known => 401,
            Self::Delete(key) | Self::Update(key, _) | Self::Replace(key, _) if seen(key).is_none() => 404,
            Self::Delete(_) => {
                if user == User::Staff {
                    204
                } else {
                    403
                }
            }
            Self::Update(key, _) | Self::Replace(key, _) if !user.changes(&table[key]) => 403,
            Self::Replace(_, payload) if !payload["title"].is_string() || !payload["id"].is_i64() => 400,
            Self::Update(_, payload) if !well_formed(payload) => 400,
            Self::Update(key, payload) | Self::Replace(key, payload) => match payload["id"].as_i64() {
                Some(other) if other != *key && table.contains_key(&other) => 409,
                _ => 200,
            },
        }
    }
}

fn step() -> impl Strategy<Value = (User, Step)> {
    let key = || 0..6_i64;
    let payload = |with_id: bool| {
        (key(), prop::option::of(any::<bool>()), 0..4_u8, any::<bool>()).prop_map(
            move |(id, hidden, title, moves)| {
                let mut payload = Map::new();
                if with_id || moves {
                    payload.insert("id".into(), json!(id));
                }
                if let Some(hidden) = hidden {
                    payload.insert("hidden".into(), json!(hidden));
                }
                match title {
                    0 => {}
                    1 => drop(payload.insert("title".into(), json!(5))),
                    _ => drop(payload.insert("title".into(), json!(format!("about {id}")))),
                }
                Json::from(payload)
            },
        )
    };
    let filter = prop_oneof![
        Just(json!({})),
        Just(json!({"hidden": true})),
        Just(json!({"not__hidden": true})),
        key().prop_map(|key| json!({"title__startswith": format!("about {key}")})),
        (0..3_i32).prop_map(|owner| json!({"owner_id": owner})),
    ];
    let step = prop_oneof![
        2 => key().prop_map(Step::Retrieve),
        2 => filter.prop_map(Step::List),
        5 => payload(true).prop_map(Step::Create),
        4 => (key(), payload(false)).prop_map(|(key, payload)| Step::Update(key, payload)),
        2 => (key(), payload(false)).prop_map(|(key, payload)| Step::Replace(key, payload)),
        2 => key().prop_map(Step::Delete),
    ];
    (prop::sample::select(&USERS[..]), step)
}

fn table(connection: &mut SqliteConnection) -> BTreeMap<i64, Paper> {
    let rows: Vec<Paper> = papers::table.load(connection).unwrap();
    rows.into_iter().map(|paper| (paper.id, paper)).collect()
}

/// What a client of a user knows from events alone.
struct Follower {
    user: User,
    group: GroupId,
    filter: &'static str,
    rows: BTreeMap<i64, Json>,
}

const FILTERS: [&str; 3] = ["{}", r#"{"hidden": true}"#, r#"{"owner_id": 1}"#];

fn follow(groups: &mut Groups, surface: &Arc<Surface>, user: User, filter: &'static str) -> Follower {
    let mut connection = Connection::new(Arc::clone(surface), None, 0).of(user.principal());
    let message = format!(r#"{{"stream": "papers", "action": "subscribe", "payload": {filter}}}"#);
    match connection.text(&message, 0).pop() {
        Some(Effect::Join(_, subscription, _)) => {
            let (group, _) = groups.join(WorkerId(0), &subscription);
            Follower { user, group, filter, rows: BTreeMap::new() }
        }
        other => panic!("not joined: {other:?}"),
    }
}

impl Follower {
    fn wants(&self, paper: &Paper) -> bool {
        self.user.sees(paper)
            && match self.filter {
                "{}" => true,
                r#"{"hidden": true}"# => paper.hidden,
                _ => paper.owner_id == 1,
            }
    }

    fn apply(&mut self, event: &str) {
        let event: Json = serde_json::from_str(event).unwrap();
        let key = event["pk"].as_i64().unwrap();
        match event["action"].as_str().unwrap() {
            "create" => assert!(self.rows.insert(key, event["data"].clone()).is_none(), "{event}"),
            "delete" => assert!(self.rows.remove(&key).is_some(), "{event}"),
            _ => {
                let row = self.rows.get_mut(&key).expect("an update is of a row that is known");
                for (name, json) in event["diff"].as_object().unwrap() {
                    row[name] = json.clone();
                }
            }
        }
    }
}

/// The titles that a user sees in none of the states. A row whose key changes takes its title along.
fn hidden_from<'a>(user: User, states: &[&'a BTreeMap<i64, Paper>]) -> Vec<&'a str> {
    let papers = || states.iter().flat_map(|state| state.values());
    let seen: Vec<&str> =
        papers().filter(|paper| user.sees(paper)).map(|paper| paper.title.as_str()).collect();
    papers().map(|paper| paper.title.as_str()).filter(|title| !seen.contains(title)).collect()
}

/// The difference of two states of the table, as one transaction.
fn batch(before: &BTreeMap<i64, Paper>, after: &BTreeMap<i64, Paper>, position: i64) -> Batch {
    let row = |paper: Option<&Paper>| paper.map(|paper| Arc::new(paper.clone()) as Row);
    let keys: std::collections::BTreeSet<i64> = before.keys().chain(after.keys()).copied().collect();
    let changes = keys.into_iter().filter(|key| before.get(key) != after.get(key)).map(|key| Change {
        resource: ResourceId(0),
        key: Value::Int(key),
        before: row(before.get(&key)),
        after: row(after.get(&key)),
        cursor: Position(position),
    });
    Batch { changes: changes.collect(), position: Position(position), ..Batch::default() }
}

fn answer(result: Result<Outcome, Refusal>) -> (u16, String) {
    match result {
        Ok(Outcome::Created(row)) => (201, object(Paper::DESCRIPTOR, row.as_ref())),
        Ok(Outcome::CreatedBefore(object)) => (201, object),
        Ok(Outcome::Object(row)) => (200, object(Paper::DESCRIPTOR, row.as_ref())),
        Ok(Outcome::Deleted) => (204, String::new()),
        Ok(Outcome::RowGroups(_) | Outcome::Nothing | Outcome::Answer(_) | Outcome::DoneBefore(..)) => {
            panic!("neither groups nor an action were asked for")
        }
        Ok(Outcome::Page(page)) => {
            let rows: Vec<String> =
                page.rows.iter().map(|row| object(Paper::DESCRIPTOR, row.as_ref())).collect();
            assert_eq!(page.count, Some(rows.len() as u64), "a count counts what is seen");
            (200, format!("[{}]", rows.join(",")))
        }
        Err(Refusal::Refused(error)) => (error.status(), format!("{error} {}", json!(error.errors()))),
        Err(other) => panic!("{other:?}"),
    }
}

proptest! {
    // 150 cases of 60 steps are 9,000 answers, and as many changes for twelve followers.
    #![proptest_config(random::config(150))]

    #[test]
    fn nobody_gets_or_changes_what_the_rules_do_not_give_him(
        steps in prop::collection::vec(step(), 60),
    ) {
        let mut connection = <SqliteConnection as diesel::Connection>::establish(":memory:").unwrap();
        connection
            .batch_execute(
                "CREATE TABLE papers (id INTEGER PRIMARY KEY NOT NULL, owner_id INTEGER NOT NULL,
                 hidden BOOLEAN NOT NULL, title TEXT NOT NULL)",
            )
            .unwrap();
        realtime_core::sql::sqlite::register_functions(&mut connection).unwrap();
        let surface = Arc::new(Surface { descriptors: vec![Paper::DESCRIPTOR], limits: Limits::default() });
        let start = Cursor { epoch: Epoch(1), position: Position(0) };
        let mut groups = Groups::new(vec![Paper::DESCRIPTOR], start);
        let mut followers: Vec<Follower> = USERS
            .into_iter()
            .flat_map(|user| FILTERS.map(|filter| (user, filter)))
            .map(|(user, filter)| follow(&mut groups, &surface, user, filter))
            .collect();
        let papers = Table::<Sqlite>::of::<Paper>();
        for (position, (user, step)) in (1..).zip(steps) {
            let step = step.stamped(position);
            let before = table(&mut connection);
            let context = Context { principal: &user.principal(), now: time("2026-02-03T04:05:06Z") };
            let mut result = None;
            let _ = diesel::Connection::transaction(&mut connection, |connection| {
                let request = action::Request::new(ResourceId(0), step.operation());
                let done = now(action::run(&mut Direct(connection), &[papers], &request, &context));
                let failed = done.is_err();
                result = Some(done);
                if failed { Err(diesel::result::Error::RollbackTransaction) } else { Ok(()) }
            });
            let (status, body) = answer(result.unwrap());
            prop_assert_eq!(status, step.expected(user, &before), "{:?} {:?} over {:?}: {}", user, &step, &before, body);
            let after = table(&mut connection);
            if let Step::List(filter) = &step {
                let listed: Vec<Json> = serde_json::from_str(&body).unwrap();
                let expected = before.values().filter(|paper| user.sees(paper) && match filter {
                    filter if filter["hidden"] == json!(true) => paper.hidden,
                    filter if filter["not__hidden"] == json!(true) => !paper.hidden,
                    filter if filter["owner_id"].is_i64() => filter["owner_id"] == json!(paper.owner_id),
                    filter => filter.get("title__startswith").is_none_or(|text| {
                        paper.title.starts_with(text.as_str().unwrap())
                    }),
                });
                prop_assert_eq!(listed.len(), expected.count());
            }
            // Whatever he is sent is of rows that he saw before or sees now, or of what he has just said himself.
            let said = format!("{step:?}");
            for title in hidden_from(user, &[&before, &after]) {
                prop_assert!(said.contains(title) || !body.contains(title), "{}", body);
            }
            let deliveries: HashMap<GroupId, Vec<String>> = groups
                .publish(&batch(&before, &after, position))
                .into_iter()
                .map(|delivery| {
                    (delivery.group, delivery.events.into_iter().map(|event| event.text.to_string()).collect())
                })
                .collect();
            for follower in &mut followers {
                for event in deliveries.get(&follower.group).into_iter().flatten() {
                    for title in hidden_from(follower.user, &[&before, &after]) {
                        prop_assert!(!event.contains(title), "{}", event);
                    }
                    follower.apply(event);
                }
                let wanted: BTreeMap<i64, Json> = after
                    .iter()
                    .filter(|(_, paper)| follower.wants(paper))
                    .map(|(key, paper)| (*key, serde_json::from_str(&object(Paper::DESCRIPTOR, paper)).unwrap()))
                    .collect();
                prop_assert_eq!(&follower.rows, &wanted, "{:?} {}", follower.user, follower.filter);
            }
        }
    }
}

#[test]
fn who_sees_the_same_is_in_one_group_and_who_asks_the_same_has_one_id() {
    let surface = Arc::new(Surface { descriptors: vec![Paper::DESCRIPTOR], limits: Limits::default() });
    let start = Cursor { epoch: Epoch(1), position: Position(0) };
    let mut groups = Groups::new(vec![Paper::DESCRIPTOR], start);
    let mut group = |user| follow(&mut groups, &surface, user, "{}").group;
    assert_eq!(group(User::Nobody), group(User::Nobody));
    assert_ne!(group(User::Nobody), group(User::Plain(1)));
    assert_ne!(group(User::Plain(1)), group(User::Plain(2)));
    let shown = Paper { id: 1, owner_id: 1, hidden: false, title: "t".into() };
    let after = BTreeMap::from([(1, shown)]);
    let deliveries = groups.publish(&batch(&BTreeMap::new(), &after, 1));
    assert_eq!(deliveries.len(), 3);
    assert!(
        deliveries.iter().all(|delivery| delivery.events == deliveries[0].events),
        "the same bytes for all"
    );
}

/// As in a topic that everybody follows, and where everybody sees his own drafts beside what is published.
#[test]
fn a_change_is_written_once_however_many_see_it_each_in_a_group_of_his_own() {
    let surface = Arc::new(Surface { descriptors: vec![Paper::DESCRIPTOR], limits: Limits::default() });
    let start = Cursor { epoch: Epoch(1), position: Position(0) };
    let mut groups = Groups::new(vec![Paper::DESCRIPTOR], start);
    for user in 0..1_000 {
        follow(&mut groups, &surface, User::Plain(user), "{}");
    }
    assert_eq!(groups.len(), 1_000);
    let draft = |hidden, title: &str| Paper { id: 1, owner_id: 7, hidden, title: title.into() };
    let table = |paper: Option<Paper>| paper.map(|paper| (1, paper)).into_iter().collect::<BTreeMap<_, _>>();
    let states = [
        None,
        Some(draft(true, "a")),
        Some(draft(true, "b")),
        Some(draft(false, "b")),
        Some(draft(true, "c")),
        None,
    ];
    let mut told = Vec::new();
    for (position, states) in (1..).zip(states.windows(2)) {
        let batch = batch(&table(states[0].clone()), &table(states[1].clone()), position);
        let deliveries = groups.publish(&batch);
        let mut texts: Vec<&Arc<str>> =
            deliveries.iter().flat_map(|delivery| &delivery.events).map(|event| &event.text).collect();
        texts.sort_by_key(|text| Arc::as_ptr(text).addr());
        texts.dedup_by_key(|text| Arc::as_ptr(text).addr());
        told.push((deliveries.len(), texts.len()));
    }
    // Its owner alone; everybody, for whom it comes, and its owner, for whom it changes; and so it goes.
    assert_eq!(told, [(1, 1), (1, 1), (1_000, 2), (1_000, 2), (1, 1)]);
}

#[test]
fn a_rule_without_a_row_to_look_at_allows_nothing() {
    let rule = |ask: &Ask<'_, Paper>| IsOwner(papers::owner_id).or(is_staff).decide(ask);
    let owner = User::Plain(1).principal();
    let paper = Paper { id: 1, owner_id: 1, hidden: false, title: "t".into() };
    let ask = |row| Ask { principal: &owner, action: Action::Update, row };
    assert_eq!(rule(&ask(None)), Verdict::ByRow);
    assert_eq!(rule(&ask(Some(&paper))), Verdict::Yes);
    assert_eq!(rule(&ask(Some(&Paper { owner_id: 2, ..paper.clone() }))), Verdict::No);
    let nobody = Principal::anonymous();
    assert_eq!(rule(&Ask { principal: &nobody, action: Action::Update, row: None }), Verdict::No);
}
