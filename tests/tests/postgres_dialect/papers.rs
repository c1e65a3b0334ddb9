//! UUIDs, decimals and JSON, also as others store them.

use std::cell::RefCell;

use diesel::pg::Pg;
use proptest::prelude::*;
use realtime_core::sql::Table;
use realtime_core::types::{Decimal, Uuid};
use realtime_core::{Hooks, RealtimeResource, ResourceOn, Row};
use serde_json::{Value as Json, json};

use crate::bench::{Bench, Entries, members, model_of, parsed, query};
use crate::config;

mod schema {
    diesel::table! {
        papers (id) {
            id -> realtime_core::types::sql::Uuid,
            amount -> Nullable<realtime_core::types::sql::DecimalNumber>,
            tags -> Nullable<Json>,
        }
    }

    diesel::table! {
        texts (id) {
            id -> Text,
            amount -> Nullable<Text>,
            tags -> Nullable<Jsonb>,
        }
    }
}

use schema::{papers, texts};

#[derive(Clone, Debug, RealtimeResource)]
#[diesel(table_name = papers)]
#[realtime(lookups(all), ordering(all))]
struct Paper {
    id: Uuid,
    amount: Option<Decimal>,
    tags: Option<Json>,
}

/// The same, kept as text, and JSON in its other form.
#[derive(Clone, Debug, RealtimeResource)]
#[diesel(table_name = texts, check_for_backend(diesel::pg::Pg))]
#[realtime(lookups(all), ordering(all))]
struct Text {
    id: Uuid,
    amount: Option<Decimal>,
    tags: Option<Json>,
}

const SCHEMA: &str = "
    CREATE TABLE papers (id uuid PRIMARY KEY, amount numeric, tags json);
    CREATE TABLE texts (id text PRIMARY KEY, amount text, tags jsonb);
";

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new(SCHEMA));
}

/// Amounts that a field can have.
const AMOUNTS: &[&str] = &[
    "0",
    "0.00",
    "12.5",
    "12.50",
    "-12.5",
    "-0.0000000000000000000000000001",
    "0.0000000000000000000000000001",
    "0.1",
    "79228162514264337593543950335",
    "-79228162514264337593543950335",
    "7.9228162514264337593543950335",
    "100",
    "10",
    "9",
    "0.3333333333333333333333333333",
    "99999999999999.99999999999999",
    "100000000000000.1",
];

/// Amounts that are rounded when they are read, to one of those above or to none.
const LONG: &[&str] = &[
    "0.33333333333333333333333333333333333",
    "-0.00000000000000000000000000005",
    "-0.00000000000000000000000000004",
    "12.5000000000000000000000000000000000",
    "12.4999999999999999999999999999999999",
    "7.92281625142643375935439503351",
    "7.92281625142643375935439503349",
    "79228162514264337593543950334.5",
    "79228162514264337593543950334.49",
    "99999999999999.99999999999999999",
    "100000000000000.10000000000000000001",
    "0.000000000000000000000000000049999",
];

const TEXTS: &[&str] = &["", "a", "A", "1", "true", "null", "ß", "ẞ", "é", "'", "\"", "%", "😀", "a,b"];
const STEPS: &[&str] = &["a", "A", "0", "1", "exact", "not", "ß"];

fn number() -> impl Strategy<Value = Json> {
    prop::sample::select(vec![
        json!(0),
        json!(1),
        json!(1.0),
        json!(-1),
        json!(0.5),
        json!(9_007_199_254_740_993_i64),
        json!(i64::MIN),
        json!(u64::MAX),
    ])
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        3 => number(),
        3 => prop::sample::select(TEXTS).prop_map(Json::from),
        1 => any::<bool>().prop_map(Json::from),
        1 => Just(Json::Null),
    ]
}

fn document() -> impl Strategy<Value = Json> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::vec((prop::sample::select(STEPS), inner), 0..4).prop_map(|members| {
                Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

fn id(number: u128) -> String {
    uuid::Uuid::from_u128(number << 64 | number).to_string()
}

/// Rows as the values of an `INSERT`.
fn rows() -> impl Strategy<Value = Vec<[String; 3]>> {
    let amount = prop_oneof![
        4 => prop::sample::select(AMOUNTS).prop_map(|amount| format!("'{amount}'")),
        3 => prop::sample::select(LONG).prop_map(|amount| format!("'{amount}'")),
        1 => Just("NULL".to_owned()),
    ];
    let spelling = prop::sample::select(vec!["plain", "upper", "short", "braces"]);
    prop::collection::vec((amount, prop::option::of(document()), spelling), 40).prop_map(|rows| {
        (0xA0..)
            .zip(rows)
            .map(|(number, (amount, tags, spelling))| {
                let id = match spelling {
                    "upper" => id(number).to_uppercase(),
                    "short" => id(number).replace('-', ""),
                    "braces" => format!("{{{}}}", id(number)),
                    _ => id(number),
                };
                let tags = tags
                    .map_or("NULL".to_owned(), |tags| format!("'{}'", tags.to_string().replace('\'', "''")));
                [format!("'{id}'"), amount, tags]
            })
            .collect()
    })
}

fn entry() -> impl Strategy<Value = (String, Json)> {
    let amount = || prop::sample::select(AMOUNTS).prop_map(Json::from);
    let ids = || (0xA0..0xCA_u128).prop_map(id);
    let operators = ["gt", "gte", "lt", "lte"];
    let path = prop::collection::vec(prop::sample::select(STEPS), 1..3).prop_map(|steps| steps.join("__"));
    let positive = prop_oneof![
        2 => amount().prop_map(|value| ("amount".to_owned(), value)),
        2 => prop::collection::vec(amount(), 0..4).prop_map(|values| ("amount__in".to_owned(), Json::from(values))),
        4 => (prop::sample::select(operators.to_vec()), amount())
            .prop_map(|(lookup, value)| (format!("amount__{lookup}"), value)),
        2 => (amount(), amount()).prop_map(|(lower, upper)| ("amount__range".to_owned(), json!([lower, upper]))),
        1 => any::<bool>().prop_map(|yes| ("amount__isnull".to_owned(), json!(yes))),
        2 => prop::collection::vec(ids(), 0..6).prop_map(|values| ("id__in".to_owned(), Json::from(values))),
        1 => ids().prop_map(|value| ("pk".to_owned(), json!(value.to_uppercase()))),
        1 => any::<bool>().prop_map(|yes| ("tags__isnull".to_owned(), json!(yes))),
        2 => (path, scalar()).prop_map(|(path, value)| (format!("tags__{path}__exact"), value)),
    ];
    (any::<bool>(), positive)
        .prop_map(|(negated, (key, value))| (if negated { format!("not__{key}") } else { key }, value))
}

fn selected<M: ResourceOn<Pg> + Hooks>(
    bench: &mut Bench,
    entries: &Entries,
    ordering: &str,
    id: fn(&M) -> Uuid,
) -> Vec<Uuid> {
    let options = [("limit".to_owned(), json!(1000)), ("ordering".to_owned(), json!(ordering))];
    let page = bench.page(&Table::of::<M>(), entries, &options);
    page.rows.iter().map(|row| id(model_of::<M>(row))).collect()
}

proptest! {
    // 30 cases of 40 rows, each in two forms, and 20 filters are 48,000 pairs.
    #![proptest_config(config(30))]

    #[test]
    fn memory_and_postgresql_select_the_same_papers(
        rows in rows(),
        filters in prop::collection::vec(prop::collection::vec(entry(), 1..3), 20),
    ) {
        BENCH.with_borrow_mut(|bench| {
            let values: Vec<String> = rows.iter().map(|row| format!("({})", row.join(", "))).collect();
            let values = values.join(", ");
            bench.sql(&format!("TRUNCATE papers, texts; INSERT INTO papers VALUES {values}; INSERT INTO texts VALUES {values}"));
            let stored = bench.selected(&Table::of::<Paper>(), &Vec::new());
            prop_assert_eq!(stored.len(), rows.len());
            for entries in filters {
                let filter = parsed(Paper::DESCRIPTOR, &entries);
                let matching = |row: &&Row| filter.matches(row.as_ref());
                let in_memory: Vec<Uuid> = stored.iter().filter(matching).map(|row| model_of::<Paper>(row).id).collect();
                let by_postgresql = selected::<Paper>(bench, &entries, "", |paper| paper.id);
                prop_assert_eq!(&in_memory, &by_postgresql, "{}", filter.canonical());
                let by_text = selected::<Text>(bench, &entries, "", |text| text.id);
                prop_assert_eq!(&in_memory, &by_text, "as text: {}", filter.canonical());
            }
            // What is read as equal is in the order of the keys, though it is not stored as equal.
            let mut expected: Vec<&Paper> = stored.iter().map(model_of::<Paper>).collect();
            expected.sort_by_key(|paper| (paper.amount.is_none(), paper.amount, paper.id));
            let expected: Vec<Uuid> = expected.iter().map(|paper| paper.id).collect();
            prop_assert_eq!(&selected::<Paper>(bench, &Vec::new(), "amount", |paper| paper.id), &expected);
            prop_assert_eq!(&selected::<Text>(bench, &Vec::new(), "amount", |text| text.id), &expected);
            Ok(())
        })?;
    }
}

#[test]
fn numbers_that_are_none_are_in_the_way_of_no_filter_that_leaves_them_out() {
    let mut bench = Bench::new(SCHEMA);
    for (number, amount) in (1..).zip(["NaN", "Infinity", "-Infinity", "1e40", "-1e40", "12.5"]) {
        bench.sql(&format!("INSERT INTO papers VALUES ('{}', '{amount}', NULL)", id(number)));
    }
    for filter in [
        json!({"amount": "12.50"}),
        json!({"amount__in": ["12.5", "0"]}),
        json!({"amount__range": ["-79228162514264337593543950335", "79228162514264337593543950335"]}),
        json!({"amount__gt": "0", "amount__lte": "100"}),
        json!({"pk": id(6)}),
    ] {
        let found = selected::<Paper>(&mut bench, &members(&filter), "", |paper| paper.id);
        assert_eq!(found, [Uuid(id(6).parse().unwrap())], "{filter}");
    }
    assert!(bench.list(&Table::of::<Paper>(), query(Paper::DESCRIPTOR, &Vec::new(), &[])).is_err(), "a NaN");
}
