//! What attributes say of fields: who writes and sees them, what is asked of their values, and how they are shown.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use expect_test::{Expect, expect};
use realtime_core::action::{Operation, Outcome, Refusal};
use realtime_core::diff::diff;
use realtime_core::policy::AllowAny;
use realtime_core::sql::Table;
use realtime_core::types::Decimal;
use realtime_core::{Draft, RealtimeResource, Value, object};
use serde_json::{Map, Value as Json, json};

use crate::model::run;

diesel::table! {
    bookings (id) {
        id -> Integer,
        guest_name -> Text,
        email -> Nullable<Text>,
        site -> Nullable<Text>,
        code -> Text,
        beds -> realtime_core::types::sql::U8,
        price -> realtime_core::types::sql::DecimalNumber,
        first_day -> Date,
        last_day -> Nullable<Date>,
        secret -> Text,
        source -> Text,
        tags -> Json,
        updated_at -> Nullable<realtime_core::types::sql::UtcTimestamp>,
    }
}

/// A room that somebody has taken.
#[derive(RealtimeResource)]
#[diesel(table_name = bookings)]
#[realtime(permission = AllowAny, rename_all = "camelCase", lookups(all), ordering(all), validate(days_in_order))]
struct Booking {
    #[realtime(read_only)]
    id: i32,
    /// Who has taken it.
    #[realtime(validate(length(min = 1, max = 5)), example = "Ann")]
    guest_name: String,
    #[realtime(required, validate(email, length(max = 20)))]
    email: Option<String>,
    #[realtime(validate(url), help = "Where to read on.")]
    site: Option<String>,
    #[realtime(
        rename = "bookingCode",
        serialize_with = |row: &Self| format!("{}/{}", row.code, row.beds),
        validate(pattern = "^[A-Z]+$", custom = no_secret, message = "A code has capital letters.")
    )]
    code: String,
    #[realtime(default = 1, validate(range(min = 1, max = 12), custom = |beds| if *beds == 7 { Err("Not seven.") } else { Ok(()) }))]
    beds: u8,
    #[realtime(validate(digits(total = 6, places = 2), range(min = "0.50")))]
    price: Decimal,
    #[realtime(validate(range(min = "2026-01-01", max = "2026-12-31")))]
    first_day: NaiveDate,
    last_day: Option<NaiveDate>,
    #[realtime(write_only, default = "")]
    secret: String,
    #[realtime(required = false)]
    source: String,
    #[realtime(default = json!([]), validate(length(max = 2)))]
    tags: Json,
    #[realtime(read_only, on_update = |context| Some(context.now))]
    updated_at: Option<DateTime<Utc>>,
}

fn no_secret(code: &String) -> Result<(), String> {
    if code == "SECRET" { Err(format!("{code} is taken.")) } else { Ok(()) }
}

fn days_in_order(draft: &mut Draft) {
    if draft.will_be::<NaiveDate>("lastDay") < draft.will_be("firstDay")
        && draft.will_be::<NaiveDate>("lastDay").is_some()
    {
        draft.refuse("non_field_errors", "The last day is before the first.");
    }
}

fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::establish(":memory:").unwrap();
    realtime_core::sql::sqlite::register_functions(&mut connection).unwrap();
    connection
        .batch_execute(
            "CREATE TABLE bookings (id INTEGER PRIMARY KEY NOT NULL, guest_name TEXT NOT NULL, email TEXT, site TEXT,
                code TEXT NOT NULL, beds INTEGER NOT NULL, price TEXT NOT NULL, first_day DATE NOT NULL, last_day DATE,
                secret TEXT NOT NULL, source TEXT NOT NULL DEFAULT 'desk', tags TEXT NOT NULL, updated_at TIMESTAMP);",
        )
        .unwrap();
    connection
}

fn payload(json: &Json) -> Map<String, Json> {
    json.as_object().unwrap().clone()
}

fn carry_out(connection: &mut SqliteConnection, operation: &Operation) -> String {
    match run(connection, &Table::of::<Booking>(), operation) {
        Ok(Outcome::Created(row) | Outcome::Object(row)) => object(Booking::DESCRIPTOR, row.as_ref()),
        Ok(_) => "done".to_owned(),
        Err(Refusal::Refused(error)) => {
            format!("{} {} {}", error.status(), error.code().name(), json!(error.errors()))
        }
        Err(other) => format!("500 {other:?}"),
    }
}

fn good() -> Map<String, Json> {
    payload(
        &json!({"guestName": "Ann", "email": null, "bookingCode": "X", "price": "12.5", "firstDay": "2026-02-01"}),
    )
}

/// Each payload is laid over one that is good, and a member of `"-"` is left out.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "an expectation is written where it is passed")]
fn check_create(payloads: &[Json], expected: Expect) {
    let mut lines = String::new();
    for given in payloads {
        let mut whole = good();
        for (name, json) in payload(given) {
            if json == "-" {
                whole.remove(&name)
            } else {
                whole.insert(name, json)
            };
        }
        lines.push_str(&carry_out(&mut database(), &Operation::Create(whole)));
        lines.push('\n');
    }
    expected.assert_eq(&lines);
}

#[test]
fn a_create_sets_what_the_attributes_say_and_shows_what_is_to_be_seen() {
    check_create(
        &[
            json!({}),
            json!({"secret": "s", "source": "web", "beds": 12, "tags": ["a", "b"], "updatedAt": "2026-01-01T00:00:00Z"}),
            json!({"site": "https://a.example/x", "email": "a@b.example", "lastDay": "2026-02-01"}),
        ],
        expect![[r#"
            {"id":1,"guestName":"Ann","email":null,"site":null,"bookingCode":"X/1","beds":1,"price":"12.50","firstDay":"2026-02-01","lastDay":null,"source":"desk","tags":[],"updatedAt":null}
            {"id":1,"guestName":"Ann","email":null,"site":null,"bookingCode":"X/12","beds":12,"price":"12.50","firstDay":"2026-02-01","lastDay":null,"source":"web","tags":["a","b"],"updatedAt":null}
            {"id":1,"guestName":"Ann","email":"a@b.example","site":"https://a.example/x","bookingCode":"X/1","beds":1,"price":"12.50","firstDay":"2026-02-01","lastDay":"2026-02-01","source":"desk","tags":[],"updatedAt":null}
        "#]],
    );
}

#[test]
fn every_rule_of_every_field_is_told_at_once_under_public_names() {
    check_create(
        &[
            json!({"guestName": "", "email": "-", "site": "javascript:alert(1)", "bookingCode": "x", "beds": 0, "price": "0.4",
                "firstDay": "2025-12-31", "secret": 5, "tags": [1, 2, 3], "guest_name": "x"}),
            json!({"guestName": "Ännchen", "email": "not an address of anybody", "bookingCode": "SECRET", "beds": 256,
                "price": "12345.678", "firstDay": "2026-02-30", "source": null}),
            json!({"beds": 7, "price": "10000"}),
            json!({"beds": -1}),
            // Of several fields only once each is acceptable.
            json!({"firstDay": "2026-03-01", "lastDay": "2026-02-01"}),
            json!({"firstDay": "2026-03-01", "lastDay": "2026-02-01", "beds": 0}),
        ],
        expect![[r#"
            400 validation_error {"beds":["Ensure this value is greater than or equal to 1."],"bookingCode":["A code has capital letters."],"email":["This field is required."],"firstDay":["Ensure this value is greater than or equal to 2026-01-01."],"guestName":["This field may not be blank."],"guest_name":["Unknown field; the fields are guestName, email, site, bookingCode, beds, price, firstDay, lastDay, secret, source, tags."],"price":["Ensure this value is greater than or equal to 0.50."],"secret":["Not a valid string."],"site":["Enter a valid URL."],"tags":["Ensure this field has no more than 2 elements."]}
            400 validation_error {"beds":["Ensure this value is less than or equal to 255."],"bookingCode":["A code has capital letters."],"email":["Enter a valid email address.","Ensure this field has no more than 20 characters."],"firstDay":["A date is required, such as 2026-01-31."],"guestName":["Ensure this field has no more than 5 characters."],"price":["Ensure that there are no more than 2 decimal places."],"source":["This field may not be null."]}
            400 validation_error {"beds":["Not seven."],"price":["Ensure that there are no more than 4 digits before the decimal point."]}
            400 validation_error {"beds":["Ensure this value is greater than or equal to 0."]}
            400 validation_error {"non_field_errors":["The last day is before the first."]}
            400 validation_error {"beds":["Ensure this value is greater than or equal to 1."]}
        "#]],
    );
}

#[test]
fn an_update_is_asked_the_same_and_absent_is_not_null() {
    let mut connection = database();
    let mut lines = carry_out(&mut connection, &Operation::Create(good())) + "\n";
    for (replace, given) in [
        (false, json!({})),
        (false, json!({"lastDay": "2026-01-31"})),
        (false, json!({"lastDay": "2026-02-28", "email": "a@b.example", "source": "web"})),
        (false, json!({"firstDay": "2026-03-01"})),
        (false, json!({"lastDay": null})),
        (false, json!({"email": null})),
        (false, json!({"guestName": null, "beds": 13})),
        (true, json!({"guestName": "Bob"})),
        (true, Json::Object(good())),
    ] {
        let (key, given) = (Value::Int(1), payload(&given));
        let operation = if replace { Operation::Replace(key, given) } else { Operation::Update(key, given) };
        lines.push_str(&carry_out(&mut connection, &operation));
        lines.push('\n');
    }
    expect![[r#"
        {"id":1,"guestName":"Ann","email":null,"site":null,"bookingCode":"X/1","beds":1,"price":"12.50","firstDay":"2026-02-01","lastDay":null,"source":"desk","tags":[],"updatedAt":null}
        {"id":1,"guestName":"Ann","email":null,"site":null,"bookingCode":"X/1","beds":1,"price":"12.50","firstDay":"2026-02-01","lastDay":null,"source":"desk","tags":[],"updatedAt":null}
        400 validation_error {"non_field_errors":["The last day is before the first."]}
        {"id":1,"guestName":"Ann","email":"a@b.example","site":null,"bookingCode":"X/1","beds":1,"price":"12.50","firstDay":"2026-02-01","lastDay":"2026-02-28","source":"web","tags":[],"updatedAt":"2026-02-03T04:05:06Z"}
        400 validation_error {"non_field_errors":["The last day is before the first."]}
        {"id":1,"guestName":"Ann","email":"a@b.example","site":null,"bookingCode":"X/1","beds":1,"price":"12.50","firstDay":"2026-02-01","lastDay":null,"source":"web","tags":[],"updatedAt":"2026-02-03T04:05:06Z"}
        {"id":1,"guestName":"Ann","email":null,"site":null,"bookingCode":"X/1","beds":1,"price":"12.50","firstDay":"2026-02-01","lastDay":null,"source":"web","tags":[],"updatedAt":"2026-02-03T04:05:06Z"}
        400 validation_error {"beds":["Ensure this value is less than or equal to 12."],"guestName":["This field may not be null."]}
        400 validation_error {"bookingCode":["This field is required."],"email":["This field is required."],"firstDay":["This field is required."],"price":["This field is required."]}
        {"id":1,"guestName":"Ann","email":null,"site":null,"bookingCode":"X/1","beds":1,"price":"12.50","firstDay":"2026-02-01","lastDay":null,"source":"web","tags":[],"updatedAt":"2026-02-03T04:05:06Z"}
    "#]]
    .assert_eq(&lines);
}

#[test]
fn a_computed_field_changes_with_what_it_is_made_of_and_a_secret_is_never_told() {
    let mut connection = database();
    let table = Table::of::<Booking>();
    let mut row = |operation: &Operation| match run(&mut connection, &table, operation) {
        Ok(Outcome::Created(row) | Outcome::Object(row)) => row,
        _ => panic!("a row"),
    };
    let before = row(&Operation::Create(good()));
    let after = row(&Operation::Update(Value::Int(1), payload(&json!({"beds": 2, "secret": "s"}))));
    let shown: Vec<usize> = Booking::DESCRIPTOR.shown().collect();
    let changed = diff(before.as_ref(), after.as_ref(), &shown);
    let names: Vec<&str> = changed.iter().map(|field| Booking::DESCRIPTOR.fields[*field].name).collect();
    assert_eq!(names, ["bookingCode", "beds", "updatedAt"]);
    let secret = Booking::DESCRIPTOR.field_index("secret").unwrap();
    assert!(after.value(secret).is_same(&"s".into()));
    assert!(!shown.contains(&secret) && Booking::DESCRIPTOR.fields[secret].lookups.is_empty());
}

#[test]
fn what_the_attributes_say_can_be_read_from_the_descriptor() {
    let field = |name: &str| {
        let at = Booking::DESCRIPTOR.field_index(name).unwrap();
        &Booking::DESCRIPTOR.fields[at]
    };
    let stated = |value: Option<fn() -> Value<'static>>| value.map(|value| value().to_json());
    assert_eq!(stated(field("guestName").example), Some(json!("Ann")));
    assert_eq!(stated(field("beds").default), Some(json!(1)));
    assert_eq!(
        (field("guestName").description, field("site").description),
        ("Who has taken it.", "Where to read on.")
    );
    let flags = |name: &str| {
        let field = field(name);
        [field.required, field.read_only, field.write_only, field.nullable, field.computed.is_some()]
    };
    assert_eq!(flags("email"), [true, false, false, true, false]);
    assert_eq!(flags("source"), [false; 5]);
    assert_eq!(flags("secret"), [false, false, true, false, false]);
    assert_eq!(flags("bookingCode"), [true, false, false, false, true]);
    assert_eq!(flags("updatedAt"), [false, true, false, true, false]);
    let mut name = Value::from("Ännchen").into_owned();
    assert_eq!(field("guestName").mistakes(&mut name), ["Ensure this field has no more than 5 characters."]);
}
