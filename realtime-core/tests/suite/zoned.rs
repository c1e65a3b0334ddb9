//! One table as resources of several zones, and points in time near those at which their clocks or dates change.

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeDelta, Timelike as _, Utc};
use diesel::Insertable;
use proptest::prelude::*;
use realtime_core::types::UtcTimestamp;
use realtime_core::{Lookup, Part, RealtimeResource};
use serde_json::{Value as Json, json};

diesel::table! {
    shifts (id) {
        id -> BigInt,
        at -> realtime_core::types::sql::UtcTimestamp,
        local -> Nullable<Timestamp>,
    }
}

/// What is stored, whichever zone it is read in.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = shifts)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    pub(crate) at: UtcTimestamp,
    pub(crate) local: Option<NaiveDateTime>,
}

/// Calls a macro with each of the resources.
macro_rules! for_every_zone {
    ($do:ident) => {
        $do!(Berlin);
        $do!(SaintJohns);
        $do!(LordHowe);
        $do!(Apia);
        $do!(NewYork);
        $do!(Fixed);
        $do!(InUtc);
    };
}
pub(crate) use for_every_zone;

macro_rules! zoned {
    ($($name:ident: $zone:expr;)*) => {$(
        #[derive(Clone, Debug, RealtimeResource)]
        #[diesel(table_name = shifts)]
        #[realtime(lookups(all), zone = $zone, subscription_field_mapping(on = "at__date", years = "local__year__in"))]
        pub(crate) struct $name {
            pub(crate) id: i64,
            pub(crate) at: UtcTimestamp,
            pub(crate) local: Option<NaiveDateTime>,
        }
    )*};
}

zoned! {
    Berlin: chrono_tz::Europe::Berlin;
    // Which went back at one minute past midnight: a day was over, began, and was over once more.
    SaintJohns: chrono_tz::America::St_Johns;
    // By half an hour.
    LordHowe: chrono_tz::Australia::Lord_Howe;
    // Without the 30th of December 2011.
    Apia: chrono_tz::Pacific::Apia;
    NewYork: chrono_tz::America::New_York;
    Fixed: FixedOffset::east_opt(5 * 3600 + 45 * 60).unwrap();
    InUtc: Utc;
}

const INSTANTS: &[&str] = &[
    "2026-03-29T01:00:00Z",
    "2026-10-25T01:00:00Z",
    "2006-04-02T03:31:00Z",
    "2006-10-29T02:31:00Z",
    "2026-04-04T15:00:00Z",
    "2011-12-30T10:00:00Z",
    "1893-03-31T23:06:32Z",
    "1892-07-04T12:00:00Z",
    "2025-12-31T23:00:00Z",
    "2024-02-29T00:00:00Z",
    "2016-12-31T23:59:59Z",
    "2099-10-25T01:00:00Z",
    "0000-01-03T00:00:00Z",
    "1700-01-01T00:00:00Z",
    "9999-12-30T00:00:00Z",
];

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    let near =
        vec![0, -1, 1, -60, 60, -3_599, 3_600, -14 * 3_600, -5 * 3_600, 5 * 3_600, 11 * 3_600, 23 * 3_600];
    (prop::sample::select(INSTANTS), prop::sample::select(near))
        .prop_map(|(text, seconds)| text.parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(seconds))
}

pub(crate) fn rows(count: usize) -> impl Strategy<Value = Vec<Stored>> {
    prop::collection::vec((instant(), prop::option::of(instant())), count).prop_map(|rows| {
        (0..)
            .zip(rows)
            .map(|(id, (at, local))| Stored {
                id,
                at: UtcTimestamp(at),
                local: local.map(|local| local.naive_utc()),
            })
            .collect()
    })
}

/// A part that some zone may show at such a point in time.
fn operand(part: Part) -> BoxedStrategy<Json> {
    (instant(), -1..=1_i64)
        .prop_map(move |(instant, more)| {
            use chrono::Datelike as _;
            let day = (instant + TimeDelta::days(more)).date_naive();
            match part {
                Part::Year => json!(i64::from(instant.year()) + more),
                Part::Month => json!(day.month()),
                Part::Day => json!(day.day()),
                Part::WeekDay => json!(day.weekday().number_from_sunday()),
                Part::Quarter => json!(day.month0() / 3 + 1),
                Part::Date => json!(day.to_string()),
                Part::Hour => json!(i64::from(instant.hour()) + more),
                Part::Minute => json!([0, 1, 6, 15, 30, 44, 45, 59][usize::try_from(more + 1).unwrap() * 2]),
            }
        })
        .boxed()
}

pub(crate) fn entry() -> impl Strategy<Value = (String, Json)> {
    let parts =
        (prop::sample::select(Part::ALL), prop::sample::select(Part::LOOKUPS.iter().collect::<Vec<_>>()));
    (prop::sample::select(vec!["at", "local"]), parts, any::<bool>()).prop_flat_map(
        |(field, (part, lookup), negated)| {
            let argument = match lookup {
                Lookup::In => prop_oneof![
                    prop::collection::vec(operand(part), 0..4),
                    prop::collection::vec(operand(part), 9..20)
                ]
                .prop_map(Json::from)
                .boxed(),
                Lookup::Range => prop::collection::vec(operand(part), 2).prop_map(Json::from).boxed(),
                _ => operand(part),
            };
            let key =
                format!("{}{field}__{}__{}", if negated { "not__" } else { "" }, part.name(), lookup.name());
            argument.prop_map(move |json| (key.clone(), json))
        },
    )
}
