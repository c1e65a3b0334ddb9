//! What the databases' own constraints are answered with, and every type of a field over the wire, on both databases.

#[path = "constraints/deferred.rs"]
mod deferred;
#[path = "constraints/references.rs"]
mod references;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use realtime_actix::policy::AllowAny;
use realtime_actix::types::{Decimal, Uuid};
use realtime_actix::{Connect, RealtimeResource, Value};
use realtime_tests::{Server, Setup, Socket, Store as Place, on_postgres};
use serde_json::{Value as Json, json};

/// One table, as two resources know it.
mod schema {
    pub(crate) mod constrained {
        diesel::table! {
            samples (id) {
                id -> Integer,
                topic -> Nullable<Integer>,
                name -> Text,
                shelf -> Nullable<Integer>,
                place -> Nullable<Integer>,
                code -> Text,
                word -> realtime_actix::types::sql::U16,
                small -> SmallInt,
                price -> Nullable<realtime_actix::types::sql::DecimalNumber>,
            }
        }
    }

    pub(crate) mod partitioned {
        diesel::table! {
            readings (name) {
                name -> Text,
                code -> Nullable<Text>,
                weight -> BigInt,
                after -> Nullable<Text>,
            }
        }
    }

    pub(crate) mod typed {
        diesel::table! {
            samples (id) {
                id -> Integer,
                name -> Text,
                tiny -> realtime_actix::types::sql::I8,
                byte -> realtime_actix::types::sql::U8,
                word -> realtime_actix::types::sql::U16,
                long -> realtime_actix::types::sql::U32,
                huge -> realtime_actix::types::sql::U64,
                small -> SmallInt,
                raw -> Nullable<Binary>,
                local_at -> Nullable<Timestamp>,
                clock -> Nullable<Time>,
                day -> Nullable<Date>,
                price -> Nullable<realtime_actix::types::sql::DecimalNumber>,
                tag -> Nullable<realtime_actix::types::sql::Uuid>,
                data -> Nullable<Json>,
            }
        }
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = schema::constrained::samples)]
#[realtime(permission = AllowAny, lookups(all))]
struct Sample {
    #[realtime(read_only)]
    id: i32,
    topic: Option<i32>,
    name: String,
    shelf: Option<i32>,
    #[realtime(rename = "spot")]
    place: Option<i32>,
    #[realtime(required = false)]
    code: String,
    #[realtime(default = 0)]
    word: u16,
    #[realtime(default = 0)]
    small: i16,
    price: Option<Decimal>,
}

#[derive(RealtimeResource)]
#[diesel(table_name = schema::partitioned::readings, primary_key(name))]
#[realtime(permission = AllowAny)]
struct Reading {
    name: String,
    code: Option<String>,
    weight: i64,
    after: Option<String>,
}

#[derive(RealtimeResource)]
#[diesel(table_name = schema::typed::samples)]
#[realtime(stream = "kinds", permission = AllowAny, lookups(all), ordering(all))]
struct Kinds {
    #[realtime(read_only)]
    id: i32,
    name: String,
    #[realtime(default = 0)]
    tiny: i8,
    #[realtime(default = 0)]
    byte: u8,
    #[realtime(default = 0)]
    word: u16,
    #[realtime(default = 0)]
    long: u32,
    #[realtime(default = 0)]
    huge: u64,
    #[realtime(default = 0)]
    small: i16,
    raw: Option<Vec<u8>>,
    local_at: Option<NaiveDateTime>,
    clock: Option<NaiveTime>,
    day: Option<NaiveDate>,
    price: Option<Decimal>,
    tag: Option<Uuid>,
    data: Option<Json>,
}

async fn start() -> Server {
    Setup::file().configure(|connect| connect.resource::<Sample>().resource::<Kinds>()).start().await
}

#[tokio::test]
async fn a_constraint_of_the_database_is_answered_on_the_field_that_it_is_about() {
    let server = start().await;
    server.create("samples", json!({"name": "one", "shelf": 1, "spot": 1})).await;
    server.create("samples", json!({"name": "two", "shelf": 1, "spot": 2})).await;
    let taken = "This value is already taken.";
    for (with, status, field, message) in [
        (json!({"name": "ONE"}), 409, "name", taken),
        (
            json!({"shelf": 1, "spot": 1}),
            409,
            "non_field_errors",
            "The fields shelf, spot must make a unique set.",
        ),
        (json!({"topic": 99}), 400, "topic", "Invalid pk 99 - object does not exist."),
        (json!({"spot": 0}), 400, "spot", "A check of the database refuses this value."),
        (
            json!({"small": 1}),
            400,
            "non_field_errors",
            "A check of the database refuses these values of word, small.",
        ),
        (json!({"name": "eleven char"}), 400, "name", ""),
        (json!({"price": "1000"}), 400, "price", ""),
        (json!({"code": null}), 400, "code", "This field may not be null."),
    ] {
        let mut created = json!({"name": "new"});
        for (name, value) in with.as_object().expect("an object") {
            created[name] = value.clone();
        }
        for (method, path, body) in [
            ("POST", "/api/samples/", &created),
            ("PATCH", "/api/samples/2/", &with),
            ("PUT", "/api/samples/2/", &created),
        ] {
            let answer = server.send(method, path, body).await;
            assert_eq!(answer.status, status, "{method} {body}: {}", answer.text);
            let code = if status == 409 { "conflict" } else { "validation_error" };
            assert_eq!(answer.json["code"], code);
            let errors = answer.json["errors"].as_object().expect("errors");
            assert_eq!(errors.keys().collect::<Vec<_>>(), [field], "{method} {body}: {}", answer.text);
            if !message.is_empty() {
                assert_eq!(errors[field], json!([message]), "{method} {body}");
            }
        }
    }
    assert_eq!(server.read("/api/samples/?name=two").await["results"][0]["spot"], 2);
}

/// What a trigger writes elsewhere may fail for a column of the same name there.
#[tokio::test]
async fn another_tables_constraint_is_not_laid_to_a_field_of_this_one() {
    let server = start().await;
    let table = "CREATE TABLE copies (
        code varchar(9) UNIQUE CHECK (code <> 'b'), shelf integer NOT NULL, CONSTRAINT place_exists CHECK (code <> 'c')
    );";
    let trigger = if on_postgres() {
        "CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN INSERT INTO copies VALUES (NEW.code, NEW.shelf); RETURN NULL; END$$;
         CREATE TRIGGER copy AFTER INSERT OR UPDATE ON samples FOR EACH ROW EXECUTE FUNCTION copy()"
    } else {
        "CREATE TRIGGER copy AFTER INSERT ON samples
             BEGIN INSERT INTO copies VALUES (NEW.code, NEW.shelf); END;
         CREATE TRIGGER copy_too AFTER UPDATE ON samples
             BEGIN INSERT INTO copies VALUES (NEW.code, NEW.shelf); END;"
    };
    server.connection().batch_execute(&format!("{table}{trigger}")).expect("the trigger is made");
    server.create("samples", json!({"name": "one", "code": "a", "shelf": 1})).await;
    let two = server.create("samples", json!({"name": "two", "code": "other", "shelf": 1})).await;
    let check = "A check of the database refuses these values.";
    for (with, status, message) in [
        (json!({"code": "a", "shelf": 1}), 409, "This value is already taken."),
        (json!({"code": "b", "shelf": 1}), 400, check),
        (json!({"code": "d", "shelf": null}), 400, "This field may not be null."),
    ] {
        let mut created = with.clone();
        created["name"] = json!("new");
        let path = format!("/api/samples/{}/", two["id"]);
        for (method, path, body) in [("POST", "/api/samples/", &created), ("PATCH", &path, &with)] {
            let refused = server.send(method, path, body).await;
            assert_eq!(refused.status, status, "{method} {body}: {}", refused.text);
            assert_eq!(refused.json["errors"], json!({"non_field_errors": [message]}), "{method} {body}");
        }
    }
    if on_postgres() {
        // There a constraint of this name is another table's too, and says so.
        let body = json!({"name": "new", "code": "c", "shelf": 1});
        let refused = server.send("POST", "/api/samples/", &body).await;
        assert_eq!(refused.json["errors"], json!({"non_field_errors": [check]}), "{}", refused.text);
    }
}

/// What fails in a partition is told with the partition's name.
#[tokio::test]
async fn a_constraint_of_a_partition_is_answered_on_the_field_too() {
    if !on_postgres() {
        return;
    }
    let place = Place::fresh();
    let tables = "
        CREATE TABLE readings (name text PRIMARY KEY, code text, weight bigint NOT NULL CHECK (weight >= 0),
            after text REFERENCES readings)
            PARTITION BY HASH (name);
        CREATE TABLE some_readings PARTITION OF readings FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        CREATE UNIQUE INDEX ON some_readings (code);
        ALTER TABLE some_readings ALTER code SET NOT NULL";
    place.connection().batch_execute(tables).expect("the tables are made");
    let server = Setup::on(&place).configure(Connect::resource::<Reading>).start().await;
    server.create("readings", json!({"name": "one", "code": "a", "weight": 1})).await;
    for (body, status, field, message) in [
        (json!({"name": "one", "code": "b", "weight": 1}), 409, "name", "This value is already taken."),
        (json!({"name": "two", "code": "a", "weight": 1}), 409, "code", "This value is already taken."),
        (
            json!({"name": "two", "code": "b", "weight": -1}),
            400,
            "weight",
            "A check of the database refuses this value.",
        ),
        (json!({"name": "two", "code": null, "weight": 1}), 400, "code", "This field may not be null."),
        (
            json!({"name": "two", "code": "b", "weight": 1, "after": "none"}),
            400,
            "after",
            "Invalid pk \"none\" - object does not exist.",
        ),
    ] {
        let refused = server.send("POST", "/api/readings/", &body).await;
        assert_eq!(refused.status, status, "{body}: {}", refused.text);
        assert_eq!(refused.json["errors"], json!({field: [message]}), "{body}");
    }
}

#[tokio::test]
async fn what_others_refer_to_is_not_removed() {
    let server = start().await;
    server.create("samples", json!({"name": "one", "topic": 1})).await;
    let refused = server.send("DELETE", "/api/topics/1/", &Json::Null).await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("conflict")), "{}", refused.text);
    let mut socket = Socket::open(&server).await;
    let refused = socket.request(json!({"stream": "topics/delete/1/"})).await;
    assert_eq!((&refused["status"], &refused["error"]["code"]), (&json!(409), &json!("conflict")));
    server.send("PATCH", "/api/samples/1/", &json!({"topic": null})).await;
    assert_eq!(server.send("DELETE", "/api/topics/1/", &Json::Null).await.status, 204);
}

#[tokio::test]
async fn every_type_goes_in_and_comes_out_with_its_limits() {
    let server = start().await;
    let mut socket = Socket::subscribed(&server, "kinds", json!({})).await;
    let whole = json!({
        "name": "x", "tiny": -128, "byte": 255, "word": 65535,
        "long": 4_294_967_295_u32, "huge": i64::MAX, "small": -32768, "raw": "AAEC/w==",
        "local_at": "2026-01-31T12:00:00.123456Z", "clock": "23:59:59.999999", "day": "2024-02-29", "price": "12.50",
        "tag": "67e55044-10b1-426f-9247-bb680e5fe0c8", "data": {"a": [1, null, "ü"]},
    });
    let created = server.create("kinds", whole.clone()).await;
    let mut expected = whole;
    expected["id"] = created["id"].clone();
    assert_eq!(created, expected);
    assert_eq!(socket.next_event().await["data"], expected);
    let path = format!("/api/kinds/{}/", created["id"]);
    assert_eq!(server.read(&path).await, expected);
    for field in ["tiny", "byte", "word", "long", "huge", "small"] {
        let value = &expected[field];
        for (key, count) in [(field.to_owned(), 1), (format!("{field}__gt"), 0), (format!("{field}__gte"), 1)]
        {
            let list = server.read(&format!("/api/kinds/?{key}={value}&ordering=-{field}")).await;
            assert_eq!(list["count"], count, "{key}={value}");
        }
    }
    for (field, value) in [
        ("tiny", json!(128)),
        ("tiny", json!(-129)),
        ("byte", json!(256)),
        ("byte", json!(-1)),
        ("word", json!(65536)),
        ("long", json!(-1)),
        ("long", json!(4_294_967_296_u64)),
        ("huge", json!(u64::MAX)),
        ("small", json!(32768)),
        ("raw", json!("AAE")),
        ("local_at", json!("yesterday")),
        ("clock", json!("24:00")),
        ("day", json!("2026-02-29")),
        ("price", json!(12.5)),
        ("tag", json!("67e55044")),
    ] {
        let answer = server.send("PATCH", &path, &json!({field: value})).await;
        assert_eq!(answer.status, 400, "{field} {value}: {}", answer.text);
        assert_eq!(
            answer.json["errors"].as_object().map(|errors| errors.keys().collect::<Vec<_>>()),
            Some(vec![&field.to_owned()])
        );
    }
    // Absent is not null.
    let fields = ["raw", "local_at", "clock", "day", "price", "tag", "data"];
    for field in fields {
        let changed = server.send("PATCH", &path, &json!({field: null})).await;
        expected[field] = Json::Null;
        assert_eq!((changed.status, &changed.json), (200, &expected), "{field}");
        assert_eq!(socket.next_event().await["diff"], json!({field: null}));
    }
    assert!(Kinds::DESCRIPTOR.fields[2].default.is_some_and(|zero| matches!(zero(), Value::Int(0))));
}
