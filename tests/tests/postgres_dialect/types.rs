//! Columns of types that PostgreSQL alone has.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::SmallInt;
use realtime_core::action::{Operation, Outcome};
use realtime_core::policy::AllowAny;
use realtime_core::sql::Table;
use realtime_core::types::{Decimal, Uuid};
use realtime_core::{RealtimeEnum, RealtimeResource, Row, object};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::bench::{Bench, members, parsed};

mod schema {
    #[expect(unreachable_pub, reason = "the modules of `table!` are public, and name it")]
    pub mod sql {
        #[derive(diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
        #[diesel(postgres_type(name = "mood"))]
        pub struct Mood;
    }

    diesel::table! {
        natives (id) {
            id -> Uuid,
            amount -> Nullable<Numeric>,
            tags -> Nullable<Jsonb>,
            at -> Timestamptz,
            name -> Citext,
            mood -> crate::types::schema::sql::Mood,
            level -> SmallInt,
        }
    }
}

use schema::natives;

#[derive(RealtimeResource)]
#[diesel(table_name = natives, check_for_backend(Pg))]
#[realtime(permission = AllowAny, lookups(all), ordering(all))]
struct Native {
    id: Uuid,
    amount: Option<Decimal>,
    tags: Option<Json>,
    at: DateTime<Utc>,
    name: String,
    mood: Mood,
    level: Level,
}

/// An enum of the database's, whose order is not that of its names.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, AsExpression, FromSqlRow, RealtimeEnum)]
#[diesel(sql_type = schema::sql::Mood)]
#[serde(rename_all = "lowercase")]
enum Mood {
    Sad,
    Calm,
}

impl ToSql<schema::sql::Mood, Pg> for Mood {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let text = if matches!(self, Self::Sad) { "sad" } else { "calm" };
        <str as ToSql<diesel::sql_types::Text, Pg>>::to_sql(text, out)
    }
}

impl FromSql<schema::sql::Mood, Pg> for Mood {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(if value.as_bytes() == b"sad" { Self::Sad } else { Self::Calm })
    }
}

/// An enum that is kept as a number.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, AsExpression, FromSqlRow, RealtimeEnum)]
#[diesel(sql_type = SmallInt)]
#[serde(rename_all = "lowercase")]
enum Level {
    Low,
    High,
}

impl ToSql<SmallInt, Pg> for Level {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let number: i16 = if matches!(self, Self::Low) { 2 } else { 10 };
        ToSql::<SmallInt, Pg>::to_sql(&number, &mut out.reborrow())
    }
}

impl FromSql<SmallInt, Pg> for Level {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(if <i16 as FromSql<SmallInt, Pg>>::from_sql(value)? == 2 { Self::Low } else { Self::High })
    }
}

const SCHEMA: &str = "
    CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('sad', 'calm');
    CREATE TABLE natives (
        id uuid PRIMARY KEY,
        amount numeric(40, 20),
        tags jsonb,
        at timestamptz NOT NULL,
        name citext NOT NULL UNIQUE,
        mood mood NOT NULL,
        level smallint NOT NULL
    );
";

fn id(number: u128) -> String {
    uuid::Uuid::from_u128(number).to_string()
}

#[test]
fn columns_of_postgresqls_own_types_are_written_read_and_filtered() {
    let mut bench = Bench::new(SCHEMA);
    let table = Table::<Pg>::of::<Native>();
    for (number, amount, name, mood, level) in [
        (1, json!("12.5"), "ann", "sad", "low"),
        (2, json!("-0.25"), "Ann ", "calm", "high"),
        (3, json!(null), "É", "sad", "high"),
    ] {
        let payload = json!({
            "id": id(number), "amount": amount, "tags": {"n": number}, "at": "2026-01-31T12:00:00.000001Z",
            "name": name, "mood": mood, "level": level,
        });
        let made = bench.run(&table, &Operation::Create(payload.as_object().unwrap().clone()));
        let Ok(Outcome::Created(row)) = made else { panic!("{payload} was not made: {:?}", made.err()) };
        let mut shown: Json = serde_json::from_str(&object(Native::DESCRIPTOR, row.as_ref())).unwrap();
        // The column has twenty places.
        let places = shown["amount"].as_str().map(|shown| shown.trim_end_matches('0').into());
        shown["amount"] = Json::from(places.map(|places: String| places));
        assert_eq!(shown, payload);
    }
    let all = bench.selected(&table, &Vec::new());
    let number =
        |row: &Row| row.value(0).to_json().as_str().unwrap().parse::<uuid::Uuid>().unwrap().as_u128();
    for (filter, expected) in [
        (json!({"id": id(2)}), &[2][..]),
        (json!({"id__in": [id(2), id(9), id(1)]}), &[1, 2]),
        (json!({"amount__gte": "-0.25", "amount__lt": 12.5}), &[2]),
        (json!({"amount__in": ["12.50", "1"]}), &[1]),
        (json!({"tags__n": 3}), &[3]),
        (json!({"tags__isnull": false, "not__tags__n": 3}), &[1, 2]),
        (json!({"at": "2026-01-31T13:00:00.000001+01:00"}), &[1, 2, 3]),
        (json!({"name": "Ann"}), &[]),
        (json!({"name": "ann"}), &[1]),
        (json!({"name__in": ["ANN", "Ann "]}), &[2]),
        (json!({"name__iexact": "ANN "}), &[2]),
        (json!({"name__iexact": "é"}), &[3]),
        (json!({"name__startswith": "A"}), &[2]),
        (json!({"name__endswith": "n"}), &[1]),
        (json!({"name__contains": "NN"}), &[]),
        (json!({"name__gt": "Ann "}), &[1, 3]),
        (json!({"mood": "sad"}), &[1, 3]),
        (json!({"mood__in": ["calm"]}), &[2]),
        (json!({"not__mood": "calm"}), &[1, 3]),
        (json!({"level": "high"}), &[2, 3]),
        (json!({"level__in": ["low", "high"], "level__isnull": false}), &[1, 2, 3]),
    ] {
        let entries = members(&filter);
        let in_memory = parsed(Native::DESCRIPTOR, &entries);
        let matching: Vec<u128> =
            all.iter().filter(|row| in_memory.matches(row.as_ref())).map(number).collect();
        assert_eq!(matching, expected, "in memory: {filter}");
        let found: Vec<u128> = bench.selected(&table, &entries).iter().map(number).collect();
        assert_eq!(found, expected, "{filter}");
    }
    for ordering in ["name", "-name", "mood", "-mood,name", "level", "-level", "at,-amount", "amount"] {
        let mut walked = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut options = vec![("ordering".to_owned(), json!(ordering)), ("limit".to_owned(), json!(1))];
            options.extend(cursor.map(|cursor| ("cursor".to_owned(), json!(cursor))));
            let page = bench.page(&table, &Vec::new(), &options);
            walked.extend(page.rows.iter().map(number));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let options = [("ordering".to_owned(), json!(ordering))];
        let whole: Vec<u128> = bench.page(&table, &Vec::new(), &options).rows.iter().map(number).collect();
        assert_eq!(walked, whole, "{ordering}");
    }
}
