//! Rows made, changed and removed by actions.

use diesel::pg::Pg;
use realtime_core::action::{Operation, Outcome, Refusal};
use realtime_core::filter::parse_key;
use realtime_core::policy::AllowAny;
use realtime_core::sql::Table;
use realtime_core::{RealtimeResource, Value, object};
use serde_json::{Map, Value as Json, json};

use crate::bench::{Bench, SCHEMA};
use crate::model::{Moment, Note, Tag};

mod schema {
    diesel::table! {
        slots (id) {
            id -> BigInt,
            word -> Nullable<Text>,
        }
    }
}

use schema::slots;

/// A row of which nothing needs to be given.
#[derive(RealtimeResource)]
#[diesel(table_name = slots)]
#[realtime(permission = AllowAny)]
struct Slot {
    #[realtime(read_only)]
    id: i64,
    word: Option<String>,
}

fn payload(json: &Json) -> Map<String, Json> {
    json.as_object().unwrap().clone()
}

/// What an operation comes to, as a status and the object.
fn answer(bench: &mut Bench, table: &Table<Pg>, operation: &Operation) -> (u16, Json) {
    let shown =
        |row: &realtime_core::Row| serde_json::from_str(&object(table.descriptor(), row.as_ref())).unwrap();
    match bench.run(table, operation) {
        Ok(Outcome::Created(row)) => (201, shown(&row)),
        Ok(Outcome::Object(row)) => (200, shown(&row)),
        Ok(Outcome::Deleted) => (204, Json::Null),
        Ok(
            Outcome::Page(_)
            | Outcome::CreatedBefore(_)
            | Outcome::RowGroups(_)
            | Outcome::Nothing
            | Outcome::Answer(_)
            | Outcome::DoneBefore(..),
        ) => {
            panic!("nothing of the sort was asked for")
        }
        Err(Refusal::Refused(error)) => (error.status(), Json::Null),
        Err(other) => panic!("{other:?}"),
    }
}

fn key(table: &Table<Pg>, json: Json) -> Value<'static> {
    parse_key(table.descriptor().key_field().kind, &json).unwrap()
}

#[test]
fn a_row_is_made_changed_replaced_and_removed() {
    let mut bench = Bench::new(SCHEMA);
    let table = Table::of::<Note>();
    let said = json!({
        "id": 7, "rank": -5, "score": 0.1, "title": "Ä b", "body": null, "done": true, "mood": "quite-angry",
        "edited": "2026-01-31T12:00:00.250Z",
    });
    let mut expected = said.clone();
    expected["created"] = json!("2026-02-03T04:05:06Z");
    assert_eq!(answer(&mut bench, &table, &Operation::Create(payload(&said))), (201, expected.clone()));
    assert_eq!(
        answer(&mut bench, &table, &Operation::Retrieve(key(&table, json!(7)))),
        (200, expected.clone())
    );
    let update = json!({"title": "ä B", "score": null, "edited": "2026-01-31T12:00:00.0000019Z"});
    expected["title"] = json!("ä B");
    expected["score"] = Json::Null;
    // Stored in microseconds.
    expected["edited"] = json!("2026-01-31T12:00:00.000001Z");
    let update = Operation::Update(key(&table, json!(7)), payload(&update));
    assert_eq!(answer(&mut bench, &table, &update), (200, expected));
    let replaced = json!({"id": 8, "title": "t"});
    let expected = json!({
        "id": 8, "rank": 0, "score": null, "title": "t", "body": null, "done": false, "mood": "calm",
        "created": "2026-02-03T04:05:06Z", "edited": null,
    });
    let operation = Operation::Replace(key(&table, json!(7)), payload(&replaced));
    assert_eq!(answer(&mut bench, &table, &operation), (200, expected));
    for (asked, status) in [(json!(7), 404), (json!(8), 204), (json!(8), 404)] {
        assert_eq!(answer(&mut bench, &table, &Operation::Delete(key(&table, asked))).0, status);
    }
}

#[test]
fn a_row_of_which_nothing_is_given_is_made_of_defaults() {
    let mut bench = Bench::new("CREATE TABLE slots (id bigserial PRIMARY KEY, word text DEFAULT 'free')");
    let made = answer(&mut bench, &Table::of::<Slot>(), &Operation::Create(Map::new()));
    assert_eq!(made, (201, json!({"id": 1, "word": "free"})));
}

#[test]
fn a_key_of_text_is_its_code_points_whatever_the_collation() {
    let mut bench = Bench::new(
        "CREATE COLLATION without_case (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
         CREATE TABLE tags (name text COLLATE without_case PRIMARY KEY, secret text DEFAULT '', colour text);
         INSERT INTO tags VALUES ('Red', '', 'a')",
    );
    let table = Table::of::<Tag>();
    for (name, status) in [("red", 404), ("Réd", 404), ("Red", 200)] {
        assert_eq!(
            answer(&mut bench, &table, &Operation::Retrieve(key(&table, json!(name)))).0,
            status,
            "{name}"
        );
    }
    let replace =
        Operation::Replace(key(&table, json!("Red")), payload(&json!({"name": "red", "colour": "b"})));
    assert_eq!(answer(&mut bench, &table, &replace), (200, json!({"name": "red", "colour": "b"})));
}

#[test]
fn dates_times_and_bytes_are_stored_and_shown_as_they_were_said() {
    let mut bench = Bench::new(SCHEMA);
    let said = json!({
        "id": 1, "small": -3, "day": "0000-02-29", "clock": "23:59:59.123456", "local": "0000-01-01T00:00:00Z", "bytes": "AP8=",
    });
    let made = answer(&mut bench, &Table::of::<Moment>(), &Operation::Create(payload(&said)));
    assert_eq!(made, (201, said));
}
