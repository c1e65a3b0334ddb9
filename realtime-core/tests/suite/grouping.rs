//! `group_by`: which groups a subscription is about, and how it is ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sqlite::{Sqlite, SqliteConnection};
use proptest::prelude::*;
use realtime_core::action::{Operation, Outcome, Refusal};
use realtime_core::change::ResourceId;
use realtime_core::connection::{Connection, Effect, Start, Surface, Ticket};
use realtime_core::cursor::{Cursor, Epoch, Position};
use realtime_core::filter::{Filter, RawArgument};
use realtime_core::list::ListQuery;
use realtime_core::policy::{AllowAny, Ask, Permission as _, Policy, Verdict};
use realtime_core::sql::Table;
use realtime_core::subscription::{Asked, Subscription};
use realtime_core::{Code, Descriptor, Error, Fields, Limits, Principal, RealtimeResource, Record, Rows};
use serde_json::{Value as Json, json};

use crate::model::{database, page_of, run};

diesel::table! {
    plots (id) {
        id -> BigInt,
        row -> Integer,
        crop -> Nullable<Text>,
        size -> Integer,
    }
}

/// The collation is there to be in the way.
const SCHEMA: &str = "CREATE TABLE plots (
    id INTEGER PRIMARY KEY NOT NULL,
    row INTEGER NOT NULL,
    crop TEXT COLLATE NOCASE,
    size INTEGER NOT NULL
);";

/// A part of a garden, known by its row.
#[derive(Clone, Debug, Insertable, RealtimeResource)]
#[diesel(table_name = plots)]
#[realtime(
    permission = AllowAny,
    lookups(all),
    subscription_field_mapping(rows = "row__in", sown = "crop__exact"),
    group_by = row
)]
struct Plot {
    id: i64,
    row: i32,
    crop: Option<String>,
    size: i32,
}

/// The same, known by its crop. Small ones are for nobody, and who has not logged in is not told what grows where.
#[derive(RealtimeResource)]
#[diesel(table_name = plots)]
#[realtime(stream = "crops", policy, lookups(all), group_by = crop)]
struct OfCrop {
    id: i64,
    row: i32,
    crop: Option<String>,
    size: i32,
}

impl Policy for OfCrop {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        AllowAny.decide(ask)
    }

    fn visible(_: &Principal) -> Rows<Self> {
        Rows::greater_than(plots::size, 0)
    }

    fn hidden(principal: &Principal) -> Fields<Self> {
        if principal.is_anonymous() { Fields::of(plots::crop) } else { Fields::none() }
    }
}

/// The same, known by both.
#[derive(RealtimeResource)]
#[diesel(table_name = plots)]
#[realtime(stream = "beds", permission = AllowAny, lookups(all), group_by(row, crop))]
struct Bed {
    id: i64,
    row: i32,
    crop: Option<String>,
    size: i32,
}

const RESOURCES: [&Descriptor; 3] = [Plot::DESCRIPTOR, OfCrop::DESCRIPTOR, Bed::DESCRIPTOR];

fn tables() -> [Table<Sqlite>; 3] {
    [Table::of::<Plot>(), Table::of::<OfCrop>(), Table::of::<Bed>()]
}

fn garden(plots: &[Plot]) -> SqliteConnection {
    let mut connection = database();
    connection.batch_execute(SCHEMA).unwrap();
    diesel::insert_into(plots::table).values(plots).execute(&mut connection).unwrap();
    connection
}

fn asked(resource: usize, filter: &Json, limits: &Limits) -> Result<Asked, Error> {
    let filter = filter.as_object().unwrap().clone().into_iter();
    let filter = filter.map(|(key, json)| (key, RawArgument::Json(json)));
    let user = Principal::user(1);
    Asked::parse((ResourceId(resource), RESOURCES[resource]), &user, None, filter, &[], limits)
}

/// The groups that a subscription is about, as the database finds them where its filter does not say so.
fn groups(
    connection: &mut SqliteConnection,
    resource: usize,
    filter: &Json,
    limits: &Limits,
) -> Result<Asked, Refusal> {
    let mut asked = asked(resource, filter, limits)?;
    let Some(query) = asked.row_groups.take() else { return Ok(asked) };
    match run(connection, &tables()[resource], &Operation::FindRowGroups(query))? {
        Outcome::RowGroups(groups) => {
            Ok(asked.to_row_groups(RESOURCES[resource], &Principal::user(1), groups))
        }
        _ => panic!("groups are answered with groups"),
    }
}

const CROPS: [Option<&str>; 5] = [None, Some(""), Some("bean"), Some("Bean"), Some("pea")];

fn plot() -> impl Strategy<Value = (i32, Option<&'static str>, i32)> {
    (0..4, prop::sample::select(CROPS.to_vec()), -1..3)
}

/// Whether two plots are in one group, said once more.
fn is_same_group(resource: usize, left: &Plot, right: &Plot) -> bool {
    let (same_row, same_crop) = (left.row == right.row, left.crop == right.crop);
    match resource {
        0 => same_row,
        1 => same_crop,
        _ => same_row && same_crop,
    }
}

fn filters() -> impl Strategy<Value = Json> {
    let row = 0..5_i32;
    prop_oneof![
        Just(json!({})),
        row.clone().prop_map(|row| json!({ "row": row })),
        row.clone().prop_map(|row| json!({"row__in": [row, 1], "size__gte": 1})),
        row.clone().prop_map(|row| json!({ "not__row": row })),
        row.clone().prop_map(|row| json!({ "row__gte": row })),
        row.clone().prop_map(|row| json!({"row": row, "row__in": [0, 1], "crop": "bean"})),
        row.prop_map(|row| json!({"row": row, "crop__isnull": true})),
        Just(json!({"row__in": []})),
        Just(json!({"crop": null, "size": 1})),
        Just(json!({"crop__in": ["bean", "pea", "corn"]})),
        Just(json!({"crop__iexact": "BEAN"})),
        Just(json!({"crop__isnull": false})),
        Just(json!({"crop__regex": "^[bp]ea"})),
        Just(json!({"size__lt": 0})),
        (0..9).prop_map(|id| json!({ "id": id })),
    ]
}

/// Does the filter name groups? Then those are meant whose every named field it would be content with.
fn names(resource: usize, filter: &Json) -> bool {
    let has = |names: &[&str]| names.iter().any(|name| filter.get(name).is_some());
    let row = has(&["row", "row__in"]);
    let crop = has(&["crop", "crop__in"]) || filter.get("crop__isnull") == Some(&json!(true));
    match resource {
        0 => row,
        1 => crop,
        _ => row && crop,
    }
}

fn only_names(resource: usize, filter: &Json) -> Json {
    let of_row = |key: &str| matches!(key, "row" | "row__in") && resource != 1;
    let of_crop = |key: &str| matches!(key, "crop" | "crop__in" | "crop__isnull") && resource != 0;
    let kept = filter.as_object().unwrap().iter().filter(|(key, _)| of_row(key) || of_crop(key));
    Json::Object(kept.map(|(key, json)| (key.clone(), json.clone())).collect())
}

fn selects(resource: usize, filter: &Json, plot: &Plot) -> bool {
    let filter = filter.as_object().unwrap().clone().into_iter();
    let entries = filter.map(|(key, json)| (key, RawArgument::Json(json)));
    let filter: Filter =
        realtime_core::filter::parse(RESOURCES[resource], entries, &Limits::default()).unwrap();
    filter.matches(plot as &dyn Record)
}

proptest! {
    /// A subscription is to each row of the groups that it names, or else of those which its filter selects rows of; in
    /// memory as in SQL.
    #[test]
    fn a_subscription_is_about_whole_groups(
        rows in prop::collection::vec(plot(), 0..9),
        resource in 0..3_usize,
        filter in filters(),
    ) {
        let plots: Vec<Plot> = (0..)
            .zip(rows)
            .map(|(id, (row, crop, size))| Plot { id, row, crop: crop.map(Into::into), size })
            .collect();
        let mut connection = garden(&plots);
        // What nobody sees is in no answer, and it makes no group.
        let is_seen = |plot: &Plot| resource != 1 || plot.size > 0;
        let is_meant = |plot: &Plot| {
            is_seen(plot)
                && if names(resource, &filter) {
                    selects(resource, &only_names(resource, &filter), plot)
                } else {
                    plots.iter().any(|other| {
                        is_seen(other)
                            && selects(resource, &filter, other)
                            && is_same_group(resource, plot, other)
                    })
                }
        };

        let followed = groups(&mut connection, resource, &filter, &Limits::default()).unwrap();
        let filter = followed.subscription.filter();
        for (row, crop) in (0..5).flat_map(|row| CROPS.map(|crop| (row, crop))) {
            for size in [-1, 1] {
                let plot = Plot { id: 99, row, crop: crop.map(Into::into), size };
                prop_assert_eq!(filter.matches(&plot), is_meant(&plot), "{:?}", plot);
            }
        }
        let listed = ListQuery::parse(RESOURCES[resource], [], &[], &Limits::default()).unwrap();
        let page = page_of(&mut connection, &tables()[resource], listed.within(RESOURCES[resource], filter.clone()));
        let listed: BTreeSet<usize> = page
            .rows
            .iter()
            .map(|row| usize::try_from(row.value(0).to_json().as_u64().unwrap()).unwrap())
            .collect();
        let meant: BTreeSet<usize> = (0..plots.len()).filter(|at| is_meant(&plots[*at])).collect();
        prop_assert_eq!(listed, meant);
    }
}

#[test]
fn groups_that_are_found_are_those_that_a_client_would_name() {
    let plot = |id, row, crop: Option<&str>| Plot { id, row, crop: crop.map(Into::into), size: 1 };
    let mut connection = garden(&[plot(1, 3, None), plot(2, 1, Some("pea")), plot(3, 3, Some("pea"))]);
    let mut id = |resource, filter| {
        groups(&mut connection, resource, &filter, &Limits::default()).unwrap().subscription.id().to_owned()
    };
    assert_eq!(id(0, json!({})), id(0, json!({"rows": [3, 1]})));
    assert_eq!(id(0, json!({"id": 2})), id(0, json!({"row": 1, "size": 7})));
    assert_eq!(id(0, json!({"id": 9})), id(0, json!({"row__in": []})));
    assert_eq!(id(1, json!({"id": 1})), id(1, json!({"crop": null})));
    assert_eq!(id(1, json!({"row": 1})), id(1, json!({"crop__in": ["pea"]})));
    assert_eq!(id(2, json!({"id": 3})), id(2, json!({"row": 3, "crop": "pea"})));
}

#[test]
fn more_groups_than_a_list_has_values_are_refused_and_named_ones_are_not_counted() {
    let mut limits = Limits::default();
    limits.filter_list = 2;
    let rows = |count| -> Vec<Plot> {
        (0..count).map(|id| Plot { id: id.into(), row: id, crop: None, size: 1 }).collect()
    };
    for resource in [0, 2] {
        assert!(groups(&mut garden(&rows(2)), resource, &json!({}), &limits).is_ok());
        let refused = groups(&mut garden(&rows(3)), resource, &json!({}), &limits);
        let Err(Refusal::Refused(error)) = refused else { panic!("refused") };
        assert_eq!(error.code(), Code::ValidationError);
        assert!(error.errors()["non_field_errors"][0].contains("at most 2 values of row"), "{error:?}");
    }
    assert!(groups(&mut garden(&rows(3)), 0, &json!({"row": 1}), &limits).is_ok());
}

/// SQLite refuses expressions of 1,000 alternatives in a row.
#[test]
fn as_many_groups_of_several_fields_as_may_be_are_asked_for_in_sql() {
    let plots: Vec<Plot> =
        (0..1_000).map(|id| Plot { id: id.into(), row: id, crop: Some("pea".into()), size: 1 }).collect();
    let mut connection = garden(&plots);
    let followed = groups(&mut connection, 2, &json!({}), &Limits::default()).unwrap();
    let query = ListQuery::parse(Bed::DESCRIPTOR, [], &[], &Limits::default()).unwrap();
    let query = query.within(Bed::DESCRIPTOR, followed.subscription.filter().clone());
    assert_eq!(page_of(&mut connection, &tables()[2], query).count, Some(1_000));
}

struct Client(Connection);

/// What a subscribe leads to.
#[derive(Debug)]
enum Begun {
    Joins(Ticket, Arc<Subscription>, Start),
    Finds(Ticket),
    Replies(Json),
}

impl Client {
    fn of(principal: Principal) -> Self {
        let surface = Surface { descriptors: RESOURCES.to_vec(), limits: Limits::default() };
        Self(Connection::new(Arc::new(surface), None, 0).of(principal))
    }

    fn ask(&mut self, address: &str, mut with: Json) -> Vec<Effect> {
        with["stream"] = address.into();
        self.0.text(&with.to_string(), 0)
    }

    fn begin(effects: Vec<Effect>) -> Begun {
        match <[Effect; 1]>::try_from(effects).unwrap() {
            [Effect::Join(ticket, subscription, start)] => Begun::Joins(ticket, subscription, start),
            [Effect::Execute(ticket, _)] => Begun::Finds(ticket),
            [Effect::Send(text)] => Begun::Replies(serde_json::from_str(&text).unwrap()),
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// Subscribes to plots, of which the database finds these rows, and gives the ticket and the id.
    fn follow(&mut self, filter: Json, found: &[i32]) -> (Ticket, String) {
        let effects = self.ask("plots/subscribe", json!({ "payload": filter }));
        let Begun::Finds(ticket) = Self::begin(effects) else { panic!("the groups are looked for") };
        let rows = Rows::<Plot>::one_of(plots::row, found.iter().copied()).into_filter();
        let Begun::Joins(ticket, subscription, _) =
            Self::begin(self.0.answered(ticket, Ok((Outcome::RowGroups(rows), cursor()))))
        else {
            panic!("the groups are joined")
        };
        self.0.joined(ticket, cursor(), false);
        (ticket, subscription.id().to_owned())
    }

    /// The tickets that are left by an unsubscribe.
    fn unfollow(&mut self, filter: Json) -> Vec<Ticket> {
        let effects = self.ask("plots/unsubscribe", json!({ "payload": filter }));
        let left = effects.iter().filter_map(|effect| match effect {
            Effect::Leave(ticket) => Some(*ticket),
            _ => None,
        });
        left.collect()
    }
}

fn cursor() -> Cursor {
    Cursor { epoch: Epoch(0xfeed), position: Position(7) }
}

#[test]
fn a_filter_that_names_its_groups_waits_for_no_database_and_is_recovered() {
    let mut client = Client::of(Principal::anonymous());
    let with = json!({"payload": {"row": 4, "size": 1}, "since": cursor().to_string()});
    let Begun::Joins(_, subscription, start) = Client::begin(client.ask("plots/subscribe", with)) else {
        panic!("joined at once")
    };
    assert_eq!(subscription.filter().canonical(), "row=[4]");
    assert_eq!(start.since, Some(cursor()));
}

#[test]
fn what_groups_were_found_is_fixed_and_nothing_before_is_recovered() {
    let mut client = Client::of(Principal::anonymous());
    let with = json!({"payload": {"size": 1}, "since": cursor().to_string(), "snapshot": true});
    let Begun::Finds(ticket) = Client::begin(client.ask("plots/subscribe", with)) else {
        panic!("the groups are looked for")
    };
    // What comes after it waits for its turn.
    assert!(client.ask("plots/unsubscribe", json!({})).is_empty());
    let rows = Rows::<Plot>::one_of(plots::row, [2, 1]).into_filter();
    let effects = client.0.answered(ticket, Ok((Outcome::RowGroups(rows), cursor())));
    let Begun::Joins(_, subscription, start) = Client::begin(effects) else { panic!("joined") };
    assert_eq!(subscription.filter().canonical(), "row=[1,2]");
    assert_eq!(start, Start { since: Some(Cursor::NOWHERE), snapshot: true });
}

#[test]
fn groups_that_cannot_be_found_are_answered_and_hold_up_nothing() {
    let mut client = Client::of(Principal::anonymous());
    let Begun::Finds(ticket) = Client::begin(client.ask("plots/subscribe", json!({}))) else {
        panic!("the groups are looked for")
    };
    let refused = Error::validation("non_field_errors", "Too many.");
    let Begun::Replies(reply) = Client::begin(client.0.answered(ticket, Err(refused))) else {
        panic!("answered")
    };
    assert_eq!((&reply["status"], &reply["action"]), (&json!(400), &json!("subscribe")));
    client.follow(json!({}), &[1]);
}

#[test]
fn a_subscription_is_ended_by_the_filter_that_it_was_asked_by() {
    let mut client = Client::of(Principal::anonymous());
    let (first, id) = client.follow(json!({"size": 1}), &[1, 2]);
    assert!(client.unfollow(json!({"size": 2})).is_empty());
    assert_eq!(client.unfollow(json!({"size": 1})), [first]);

    // As what is followed as well, and by its id.
    let (second, _) = client.follow(json!({"size": 1}), &[1, 2]);
    assert_eq!(client.unfollow(json!({"rows": [1, 2]})), [second]);
    assert!(client.unfollow(json!({"size": 1})).is_empty());
    let (third, again) = client.follow(json!({"size": 1}), &[1, 2]);
    assert_eq!(again, id);
    let by_id = client.ask("plots/unsubscribe", json!({ "subscription": id }));
    assert!(matches!(by_id[..], [Effect::Leave(left), Effect::Send(_)] if left == third));
}

#[test]
fn of_subscriptions_that_were_asked_for_alike_the_newest_is_ended_first() {
    let mut client = Client::of(Principal::anonymous());
    let (first, before) = client.follow(json!({}), &[1]);
    let (second, after) = client.follow(json!({}), &[1, 2]);
    assert_ne!(before, after);
    assert_eq!(client.unfollow(json!({})), [second]);
    assert_eq!(client.unfollow(json!({})), [first]);
    assert!(client.unfollow(json!({})).is_empty());
}

#[test]
fn equal_subscriptions_are_counted_however_they_were_asked_for() {
    let mut client = Client::of(Principal::anonymous());
    let (first, _) = client.follow(json!({"size": 1}), &[1]);
    // The events flow already.
    let Begun::Finds(ticket) = Client::begin(client.ask("plots/subscribe", json!({"payload": {"size": 2}})))
    else {
        panic!("the groups are looked for")
    };
    let rows = Rows::<Plot>::equal(plots::row, 1).into_filter();
    let effects = client.0.answered(ticket, Ok((Outcome::RowGroups(rows), cursor())));
    let [Effect::AskPosition(ticket)] = effects[..] else { panic!("only the position is missing") };
    client.0.positioned(ticket, cursor(), "2026-02-03T04:05:06Z");

    assert!(client.unfollow(json!({"size": 1})).is_empty(), "one is left");
    assert!(client.unfollow(json!({"size": 1})).is_empty(), "it is not that one");
    assert_eq!(client.unfollow(json!({"size": 2})), [first]);
}

/// Which groups they are would tell of what is hidden.
#[test]
fn groups_of_a_hidden_field_are_for_those_who_see_it() {
    let status = |principal, filter| {
        let mut client = Client::of(principal);
        match Client::begin(client.ask("crops/subscribe", json!({ "payload": filter }))) {
            Begun::Replies(reply) => reply["error"]["code"].as_str().unwrap().to_owned(),
            begun => format!("{begun:?}"),
        }
    };
    assert_eq!(status(Principal::anonymous(), json!({})), "permission_denied");
    assert_eq!(status(Principal::anonymous(), json!({"id": 1})), "permission_denied");
    assert!(status(Principal::user(1), json!({})).starts_with("Finds"));
}
