//! Actions against a database: what payloads may hold, and in which order they are looked at.

use diesel::SqliteConnection;
use diesel::connection::SimpleConnection;
use expect_test::{Expect, expect};
use realtime_core::action::{Operation, Outcome, Refusal};
use realtime_core::sql::Table;
use realtime_core::{Descriptor, RealtimeResource, Value, object};
use serde_json::{Map, Value as Json, json};

use crate::model::{Note, Tag, database, insert, note_table, run};

fn payload(json: &Json) -> Map<String, Json> {
    json.as_object().unwrap().clone()
}

fn outcome(descriptor: &'static Descriptor, result: Result<Outcome, Refusal>) -> String {
    match result {
        Ok(Outcome::Created(row)) => format!("201 {}", object(descriptor, row.as_ref())),
        Ok(Outcome::CreatedBefore(object)) => format!("201 {object}"),
        Ok(Outcome::Object(row)) => format!("200 {}", object(descriptor, row.as_ref())),
        Ok(Outcome::Deleted) => "204".into(),
        Ok(Outcome::RowGroups(_) | Outcome::Nothing | Outcome::Answer(_) | Outcome::DoneBefore(..)) => {
            panic!("neither groups nor an action were asked for")
        }
        Ok(Outcome::Page(page)) => format!("200 {} rows", page.rows.len()),
        Err(Refusal::Refused(error)) => {
            format!("{} {} {}", error.status(), error.code().name(), json!(error.errors()))
        }
        Err(other) => format!("500 {other:?}"),
    }
}

fn noted(connection: &mut SqliteConnection, operation: &Operation) -> String {
    outcome(Note::DESCRIPTOR, run(connection, &note_table(), operation))
}

/// Each payload creates a note in a database of its own.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "an expectation is written where it is passed")]
fn check_create(payloads: &[Json], expected: Expect) {
    let lines: Vec<String> = payloads
        .iter()
        .map(|json| noted(&mut database(), &Operation::Create(payload(json))) + "\n")
        .collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn a_create_fills_in_what_the_payload_leaves_out() {
    check_create(
        &[
            json!({"id": 1, "title": "t"}),
            json!({"id": 1, "title": " not trimmed ", "rank": -5, "score": 1, "body": "", "done": true, "mood": "quite-angry",
                "edited": "2026-01-31T12:00:00+01:00"}),
            json!({"id": "9223372036854775807", "title": ""}),
            json!({"id": 9_223_372_036_854_775_807_i64, "title": "", "rank": 2.0, "score": -0.5, "body": null, "edited": null}),
        ],
        expect![[r#"
            201 {"id":1,"rank":0,"score":null,"title":"t","body":null,"done":false,"mood":"calm","created":"2026-02-03T04:05:06Z","edited":null}
            201 {"id":1,"rank":-5,"score":1.0,"title":" not trimmed ","body":"","done":true,"mood":"quite-angry","created":"2026-02-03T04:05:06Z","edited":"2026-01-31T11:00:00Z"}
            400 validation_error {"id":["A valid integer is required."]}
            201 {"id":9223372036854775807,"rank":2,"score":-0.5,"title":"","body":null,"done":false,"mood":"calm","created":"2026-02-03T04:05:06Z","edited":null}
        "#]],
    );
}

#[test]
fn payloads_are_typed_and_all_mistakes_are_reported_at_once() {
    check_create(
        &[
            json!({}),
            json!({"id": "1", "rank": 1.5, "score": "1.5", "title": 5, "body": ["x"], "done": "true", "mood": "Calm",
                "edited": 5, "nosuch": 1}),
            json!({"id": 1, "title": null, "rank": null, "done": null, "mood": null}),
            json!({"id": 1, "title": "a\u{0}b", "body": "\u{0}"}),
            json!({"id": 1, "title": "t", "score": "NaN"}),
            json!({"id": 1, "title": "t", "rank": 2_147_483_648_i64}),
            json!({"id": 1, "title": "t", "rank": -2_147_483_649_i64}),
            json!({"id": 9_223_372_036_854_775_808_u64, "title": "t"}),
            json!({"id": 1e300, "title": "t"}),
            json!({"id": 1, "title": "t", "edited": "2026-02-30T00:00:00Z"}),
            json!({"id": 1, "title": "t", "edited": "9999-12-31T23:59:59-01:00"}),
            json!({"id": 1, "title": "t", "edited": "+12026-01-01"}),
            json!({"id": 1, "title": "t", "pk": 2}),
            json!({"id": 1, "title": "t", "text": "the column, not the field"}),
        ],
        expect![[r#"
            400 validation_error {"id":["This field is required."],"title":["This field is required."]}
            400 validation_error {"body":["Not a valid string."],"done":["Must be a valid boolean."],"edited":["A timestamp of RFC 3339 is required, such as 2026-01-31T12:00:00Z."],"id":["A valid integer is required."],"mood":["\"Calm\" is not a valid choice; the choices are calm, quite-angry, sad."],"nosuch":["Unknown field; the fields are id, rank, score, title, body, done, mood, edited."],"rank":["A valid integer is required."],"score":["A valid number is required."],"title":["Not a valid string."]}
            400 validation_error {"done":["This field may not be null."],"mood":["This field may not be null."],"rank":["This field may not be null."],"title":["This field may not be null."]}
            400 validation_error {"body":["Null characters are not allowed."],"title":["Null characters are not allowed."]}
            400 validation_error {"score":["A valid number is required."]}
            400 validation_error {"rank":["Ensure this value is less than or equal to 2147483647."]}
            400 validation_error {"rank":["Ensure this value is greater than or equal to -2147483648."]}
            400 validation_error {"id":["Ensure this value is less than or equal to 9223372036854775807."]}
            400 validation_error {"id":["Ensure this value is less than or equal to 9223372036854775807."]}
            400 validation_error {"edited":["A timestamp of RFC 3339 is required, such as 2026-01-31T12:00:00Z."]}
            400 validation_error {"edited":["A timestamp of RFC 3339 is required, such as 2026-01-31T12:00:00Z."]}
            400 validation_error {"edited":["A timestamp of RFC 3339 is required, such as 2026-01-31T12:00:00Z."]}
            400 validation_error {"pk":["Unknown field; the fields are id, rank, score, title, body, done, mood, edited."]}
            400 validation_error {"text":["Unknown field; the fields are id, rank, score, title, body, done, mood, edited."]}
        "#]],
    );
}

#[test]
fn read_only_fields_are_ignored_so_that_what_was_read_can_be_written_back() {
    let mut connection = database();
    insert(&mut connection, &[Note { rank: 3, ..Note::plain(1) }]);
    let read = noted(&mut connection, &Operation::Retrieve(Value::Int(1)));
    let whole: Json = serde_json::from_str(read.strip_prefix("200 ").unwrap()).unwrap();
    for operation in [
        Operation::Update(Value::Int(1), payload(&whole)),
        Operation::Replace(Value::Int(1), payload(&whole)),
        Operation::Update(Value::Int(1), payload(&json!({"created": 5}))),
        Operation::Update(Value::Int(1), Map::new()),
    ] {
        assert_eq!(noted(&mut connection, &operation), read);
    }
}

#[test]
fn an_update_changes_what_it_names_and_a_replace_sets_the_rest_to_its_default() {
    let mut connection = database();
    let note = Note { rank: 3, body: Some("b".into()), done: true, score: Some(0.5), ..Note::plain(1) };
    insert(&mut connection, &[note]);
    let mut lines = String::new();
    for operation in [
        Operation::Update(Value::Int(1), payload(&json!({"rank": 4}))),
        Operation::Update(Value::Int(1), payload(&json!({"body": null}))),
        Operation::Replace(Value::Int(1), payload(&json!({"rank": 5}))),
        Operation::Replace(Value::Int(1), payload(&json!({"id": 1, "title": "u"}))),
        Operation::Update(Value::Int(1), payload(&json!({"id": 2}))),
        Operation::Retrieve(Value::Int(1)),
        Operation::Delete(Value::Int(2)),
        Operation::Delete(Value::Int(2)),
    ] {
        lines.push_str(&noted(&mut connection, &operation));
        lines.push('\n');
    }
    expect![[r#"
        200 {"id":1,"rank":4,"score":0.5,"title":"t","body":"b","done":true,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}
        200 {"id":1,"rank":4,"score":0.5,"title":"t","body":null,"done":true,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}
        400 validation_error {"id":["This field is required."],"title":["This field is required."]}
        200 {"id":1,"rank":0,"score":null,"title":"u","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}
        200 {"id":2,"rank":0,"score":null,"title":"u","body":null,"done":false,"mood":"calm","created":"2026-01-31T12:00:00Z","edited":null}
        404 not_found {}
        204
        404 not_found {}
    "#]].assert_eq(&lines);
}

#[test]
fn a_row_that_is_not_there_is_404_whatever_the_payload() {
    let mut connection = database();
    let wrong = payload(&json!({"nosuch": 1}));
    for operation in [
        Operation::Update(Value::Int(1), wrong.clone()),
        Operation::Replace(Value::Int(1), wrong),
        Operation::Delete(Value::Int(1)),
        Operation::Retrieve(Value::Int(1)),
    ] {
        assert_eq!(noted(&mut connection, &operation), "404 not_found {}");
    }
}

#[test]
fn a_taken_key_is_a_conflict_on_its_field() {
    let mut connection = database();
    insert(&mut connection, &[Note::plain(1), Note::plain(2)]);
    let taken = "409 conflict {\"id\":[\"This value is already taken.\"]}";
    let create = Operation::Create(payload(&json!({"id": 1, "title": "t"})));
    assert_eq!(noted(&mut connection, &create), taken);
    let update = Operation::Update(Value::Int(1), payload(&json!({"id": 2})));
    assert_eq!(noted(&mut connection, &update), taken);
}

#[test]
fn what_is_answered_is_what_is_stored() {
    let mut connection = database();
    connection
        .batch_execute(
            "CREATE TRIGGER shout AFTER INSERT ON notes BEGIN
                UPDATE notes SET title = upper(NEW.title) WHERE id = NEW.id;
            END;",
        )
        .unwrap();
    let create = Operation::Create(payload(&json!({"id": 1, "title": "quiet"})));
    let answer = noted(&mut connection, &create);
    assert!(answer.contains(r#""title":"QUIET""#), "{answer}");
}

#[test]
fn hooks_see_the_draft_and_the_row_and_a_skipped_field_is_out_of_reach() {
    let mut connection = database();
    let table = Table::of::<Tag>();
    let text = |text: &str| Value::from(text).into_owned();
    let mut lines = String::new();
    for operation in [
        Operation::Create(payload(&json!({"name": "fixed"}))),
        Operation::Create(payload(&json!({"name": "x", "colour": ""}))),
        Operation::Create(payload(&json!({"name": "x", "colour": "purple"}))),
        Operation::Create(payload(&json!({"name": "x", "colour": "größe"}))),
        Operation::Create(payload(&json!({"name": "y", "secret": "s"}))),
        Operation::Replace(text("x"), payload(&json!({"name": "x"}))),
        Operation::Replace(text("fixed"), payload(&json!({"name": "fixed", "colour": "blue"}))),
        Operation::Replace(text("fixed"), payload(&json!({"name": "fixed", "colour": "purple"}))),
        Operation::Replace(text("fixed"), payload(&json!({"colour": 5}))),
    ] {
        lines.push_str(&outcome(Tag::DESCRIPTOR, run(&mut connection, &table, &operation)));
        lines.push('\n');
    }
    expect![[r#"
        201 {"name":"fixed","colour":"red"}
        400 validation_error {"colour":["This field may not be blank."]}
        400 validation_error {"colour":["Ensure this field has no more than 5 characters."]}
        201 {"name":"x","colour":"größe"}
        400 validation_error {"secret":["Unknown field; the fields are name, colour."]}
        200 {"name":"x","colour":"red"}
        403 permission_denied {}
        400 validation_error {"colour":["Ensure this field has no more than 5 characters."]}
        400 validation_error {"colour":["Not a valid string."],"name":["This field is required."]}
    "#]]
    .assert_eq(&lines);
}

#[test]
fn hostile_text_is_stored_and_found_as_it_came() {
    let mut connection = database();
    for (id, text) in
        (1..).zip(["'; DROP TABLE notes; --", "\"quoted\"", "\\", "%_", "ẞ😀\u{10ffff}", "\r\n\t\u{1}"])
    {
        let create = Operation::Create(payload(&json!({"id": id, "title": text, "body": text})));
        let answer = noted(&mut connection, &create);
        let object: Json = serde_json::from_str(answer.strip_prefix("201 ").unwrap()).unwrap();
        assert_eq!((&object["title"], &object["body"]), (&json!(text), &json!(text)));
        assert_eq!(
            noted(&mut connection, &Operation::Retrieve(Value::Int(id))),
            answer.replace("201 ", "200 ")
        );
    }
}
