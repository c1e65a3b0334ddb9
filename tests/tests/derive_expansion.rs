//! What the derives generate: the descriptor, and values on their way out of and into a database.

use std::marker::PhantomData;

use chrono::{DateTime, TimeZone, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::prelude::*;
use diesel::query_builder::QueryFragment;
use diesel::row::{Field as _, Row};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteConnection};
use realtime_core::{
    Action, Columns, Context, Descriptor, Error, Hooks, Kind, Lookup, LookupSet, Principal, RealtimeEnum,
    RealtimeResource, Record, ResourceOn, Value,
};
use serde::{Deserialize, Serialize};

mod schema {
    diesel::table! {
        comments (id) {
            id -> BigInt,
            topic_id -> Integer,
            author_id -> Integer,
            #[sql_name = "text"]
            body -> Text,
            score -> Integer,
            rating -> Nullable<Double>,
            pinned -> Bool,
            status -> Text,
            edited_at -> Nullable<realtime_core::types::sql::UtcTimestamp>,
            created_at -> realtime_core::types::sql::UtcTimestamp,
        }
    }
}

use schema::comments;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, RealtimeEnum, AsExpression, FromSqlRow)]
#[serde(rename_all = "lowercase")]
#[diesel(sql_type = Text)]
enum Status {
    Draft,
    Published,
    Hidden,
}

/// What is stored is not what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, RealtimeEnum, AsExpression, FromSqlRow)]
#[realtime(own_sql)]
#[diesel(sql_type = Text)]
enum Grade {
    Good,
    Bad,
}

impl ToSql<Text, Sqlite> for Grade {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        let text = if *self == Self::Good { "+" } else { "-" };
        <str as ToSql<Text, Sqlite>>::to_sql(text, out)
    }
}

impl FromSql<Text, Sqlite> for Grade {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(if <String as FromSql<Text, Sqlite>>::from_sql(value)? == "+" { Self::Good } else { Self::Bad })
    }
}

/// A remark in a topic.
///
/// Second paragraph.
#[derive(Debug, PartialEq, RealtimeResource)]
#[diesel(table_name = comments, check_for_backend(Sqlite))]
#[realtime(
    stream = "remarks",
    subscription_field_mapping(
        ids = "pk__in",
        topic = "topic_id",
        min_score = "score__gte",
        text = "body__icontains"
    ),
    lookups(id(exact, in, gt), topic_id(in), body(all), made_at(gt, gte, lt, lte), edited_at(isnull)),
    ordering(id, made_at),
    allowed_actions(list, retrieve, subscribe, create, update, delete)
)]
struct Comment {
    /// The key.
    #[realtime(read_only)]
    id: i64,
    topic_id: i32,
    #[realtime(read_only, on_create = |context| context.user_key())]
    author_id: i32,
    /** What was
    written. */
    body: String,
    #[realtime(default = 0)]
    score: i32,
    rating: Option<f64>,
    #[realtime(rename = "sticky", default = false)]
    pinned: bool,
    #[realtime(default = Status::Published)]
    status: Status,
    #[realtime(read_only)]
    edited_at: Option<DateTime<Utc>>,
    #[realtime(read_only, on_create = |context| context.now)]
    #[diesel(column_name = created_at)]
    made_at: DateTime<Utc>,
    #[realtime(skip)]
    memo: Vec<u8>,
}

/// Everything that can be left out is left out.
#[derive(RealtimeResource)]
#[diesel(table_name = schema::comments)]
#[realtime(hooks)]
struct Plain {
    id: i64,
    #[realtime(default = "empty")]
    body: String,
}

impl Hooks for Plain {}

#[derive(RealtimeResource)]
#[diesel(table_name = comments, primary_key(topic_id))]
#[realtime(lookups(all), ordering(all), subscription_field_mapping(topic_id = "pk"))]
struct Everything {
    score: i32,
    topic_id: i32,
}

const REMARKS: &Descriptor = Comment::DESCRIPTOR;

fn comment() -> Comment {
    Comment {
        id: 5_000_000_000,
        topic_id: 7,
        author_id: 1,
        body: "it's \"fine\"\0 – ok".to_owned(),
        score: -3,
        rating: Some(0.1),
        pinned: true,
        status: Status::Hidden,
        edited_at: None,
        made_at: Utc.timestamp_opt(1_700_000_000, 123_000_000).unwrap(),
        memo: Vec::new(),
    }
}

#[test]
fn the_descriptor_says_what_the_attributes_say() {
    assert_eq!(REMARKS.stream, "remarks");
    assert_eq!(REMARKS.table, "comments");
    assert_eq!(REMARKS.key, 0);
    assert_eq!(REMARKS.key_field().name, "id");
    assert_eq!(REMARKS.description, "A remark in a topic.\n\nSecond paragraph.");
    assert!(REMARKS.actions.contains(Action::Create));
    assert!(REMARKS.actions.contains(Action::Unsubscribe));
    assert!(!REMARKS.actions.contains(Action::Replace));

    let names: Vec<_> = REMARKS.fields.iter().map(|field| field.name).collect();
    assert_eq!(
        names,
        [
            "id",
            "topic_id",
            "author_id",
            "body",
            "score",
            "rating",
            "sticky",
            "status",
            "edited_at",
            "made_at"
        ]
    );
    let columns: Vec<_> = REMARKS.fields.iter().map(|field| field.column).collect();
    assert_eq!(
        columns,
        [
            "id",
            "topic_id",
            "author_id",
            "text",
            "score",
            "rating",
            "pinned",
            "status",
            "edited_at",
            "created_at"
        ]
    );
    assert_eq!(REMARKS.fields[0].description, "The key.");
    assert_eq!(REMARKS.fields[3].description, "What was\nwritten.");
}

#[test]
fn a_create_must_name_what_has_no_other_source() {
    let said = |flag: fn(&realtime_core::FieldDescriptor) -> bool| -> Vec<_> {
        REMARKS.fields.iter().filter(|field| flag(field)).map(|field| field.name).collect()
    };
    assert_eq!(said(|field| field.required), ["topic_id", "body"]);
    assert_eq!(said(|field| field.read_only), ["id", "author_id", "edited_at", "made_at"]);
    assert_eq!(said(|field| field.nullable), ["rating", "edited_at"]);
    assert_eq!(said(|field| field.orderable), ["id", "made_at"]);
}

#[test]
fn a_field_has_the_kind_of_its_type() {
    let kinds: Vec<_> = REMARKS.fields.iter().map(|field| field.kind.name()).collect();
    assert_eq!(
        kinds,
        [
            "integer", "integer", "integer", "string", "integer", "float", "boolean", "choice", "datetime",
            "datetime"
        ]
    );
    let Kind::Enum(names) = REMARKS.fields[7].kind else { panic!("an enum") };
    assert_eq!(names(), ["draft", "published", "hidden"]);
}

#[test]
fn lookups_are_those_that_are_listed() {
    let of = |name: &str| REMARKS.fields[REMARKS.field_index(name).expect("a field")].lookups;
    assert_eq!(of("id"), LookupSet::of(&[Lookup::Exact, Lookup::In, Lookup::Gt]));
    assert_eq!(of("topic_id"), LookupSet::of(&[Lookup::In]));
    assert_eq!(of("body"), LookupSet::of(Lookup::ALL));
    assert_eq!(of("edited_at"), LookupSet::of(&[Lookup::IsNull]));
    assert_eq!(of("score"), LookupSet::NONE);

    let aliases: Vec<_> =
        REMARKS.aliases.iter().map(|alias| (alias.name, alias.field, alias.lookup.name())).collect();
    assert_eq!(
        aliases,
        [("ids", 0, "in"), ("topic", 1, "exact"), ("min_score", 4, "gte"), ("text", 3, "icontains")]
    );
}

#[test]
fn what_is_left_out_has_a_default() {
    let plain = Plain::DESCRIPTOR;
    assert_eq!((plain.stream, plain.table, plain.key), ("comments", "comments", 0));
    assert!(Action::ALL.iter().all(|action| plain.actions.contains(*action)));
    assert!(plain.aliases.is_empty());
    assert_eq!(plain.fields[0].lookups, LookupSet::of(&[Lookup::Exact, Lookup::In]));
    assert!(plain.fields[1].lookups.is_empty());
    assert!(plain.fields[0].orderable && !plain.fields[1].orderable);

    let everything = Everything::DESCRIPTOR;
    assert_eq!(everything.key_field().name, "topic_id");
    assert!(everything.fields.iter().all(|field| field.orderable && field.lookups.contains(Lookup::Range)));
    assert_eq!(everything.aliases[0].field, 1);
}

#[test]
fn fields_are_read_by_index() {
    let comment = comment();
    let json: Vec<_> =
        (0..REMARKS.fields.len()).map(|field| comment.value(field).to_json().to_string()).collect();
    assert_eq!(
        json,
        [
            "5000000000",
            "7",
            "1",
            "\"it's \\\"fine\\\"\\u0000 – ok\"",
            "-3",
            "0.1",
            "true",
            "\"hidden\"",
            "null",
            "\"2023-11-14T22:13:20.123Z\""
        ]
    );
    assert!(comment.value(REMARKS.fields.len()).is_null());
}

#[test]
fn new_rows_get_defaults_and_what_functions_give() {
    let now = Utc.timestamp_opt(1, 0).unwrap();
    let principal = Principal::user(9_i32);
    let context = Context { principal: &principal, now };
    let initial = |name: &str, context: &Context<'_>| {
        let field = REMARKS.field_index(name).expect("a field");
        let value = match REMARKS.fields[field].default {
            Some(default) => Ok(Some(default())),
            None => Comment::initial(field, context),
        };
        value.map(|value| value.map(|value| value.to_json().to_string()))
    };
    assert_eq!(initial("score", &context), Ok(Some("0".to_owned())));
    assert_eq!(initial("sticky", &context), Ok(Some("false".to_owned())));
    assert_eq!(initial("status", &context), Ok(Some("\"published\"".to_owned())));
    assert_eq!(initial("author_id", &context), Ok(Some("9".to_owned())));
    assert_eq!(initial("made_at", &context), Ok(Some("\"1970-01-01T00:00:01Z\"".to_owned())));
    assert_eq!(initial("body", &context), Ok(None));

    let anonymous = Principal::anonymous();
    let context = Context { principal: &anonymous, now };
    assert_eq!(initial("author_id", &context), Err(Error::not_authenticated()));
    let text = Plain::DESCRIPTOR.fields[1].default.expect("a default")();
    assert!(matches!(text, Value::Text(text) if text == "empty"));
}

/// A result row of Diesel as the columns that core asks for.
struct ResultRow<'a, R>(R, PhantomData<&'a ()>);

impl<'a, R: Row<'a, Sqlite>> Columns<Sqlite> for ResultRow<'a, R> {
    fn visit(&self, column: usize, read: &mut dyn FnMut(Option<<Sqlite as Backend>::RawValue<'_>>)) {
        if let Some(field) = self.0.get(column) {
            read(field.value());
        }
    }
}

/// `INSERT INTO comments (..) VALUES (?, ..)` with the binds of the resource.
struct Insert(Vec<(&'static str, realtime_core::Bind<Sqlite>)>);

impl QueryFragment<Sqlite> for Insert {
    fn walk_ast<'b>(&'b self, mut pass: diesel::query_builder::AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        pass.unsafe_to_cache_prepared();
        pass.push_sql("INSERT INTO comments (");
        for (at, (column, _)) in self.0.iter().enumerate() {
            if at > 0 {
                pass.push_sql(", ");
            }
            pass.push_identifier(column)?;
        }
        pass.push_sql(") VALUES (");
        for (at, (_, bind)) in self.0.iter().enumerate() {
            if at > 0 {
                pass.push_sql(", ");
            }
            bind.walk_ast(pass.reborrow())?;
        }
        pass.push_sql(")");
        Ok(())
    }
}

impl diesel::query_builder::QueryId for Insert {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<SqliteConnection> for Insert {}

fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::establish(":memory:").expect("SQLite opens a database in memory");
    diesel::sql_query(
        "CREATE TABLE comments (id BIGINT PRIMARY KEY, topic_id INTEGER NOT NULL, author_id INTEGER NOT NULL, \
         text TEXT NOT NULL, score INTEGER NOT NULL, rating DOUBLE, pinned BOOLEAN NOT NULL, status TEXT NOT NULL, \
         edited_at TEXT, created_at TEXT NOT NULL)",
    )
    .execute(&mut connection)
    .expect("the table is created");
    connection
}

fn insert(comment: &Comment, connection: &mut SqliteConnection) {
    let values = REMARKS
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let bind = <Comment as ResourceOn<Sqlite>>::bind(index, comment.value(index));
            (field.column, bind.expect("a value of the field is of the field's type"))
        })
        .collect();
    assert_eq!(Insert(values).execute(connection), Ok(1));
}

fn read(connection: &mut SqliteConnection, at: &[usize]) -> Vec<deserialize::Result<Comment>> {
    use diesel::connection::LoadConnection;
    let rows = connection
        .load(comments::table.order(comments::id))
        .expect("the statement is right")
        .map(|row| Comment::from_columns(&ResultRow(row.expect("a row"), PhantomData), at));
    rows.collect()
}

#[test]
fn rows_survive_the_way_through_the_database() {
    let connection = &mut database();
    let full =
        Comment { edited_at: Some(Utc.timestamp_opt(1_800_000_000, 999_999_000).unwrap()), ..comment() };
    let sparse = Comment { id: i64::MAX, rating: None, status: Status::Draft, score: i32::MIN, ..comment() };
    insert(&full, connection);
    insert(&sparse, connection);

    let at: Vec<usize> = (0..REMARKS.fields.len()).collect();
    let rows: Vec<Comment> = read(connection, &at).into_iter().map(|row| row.expect("readable")).collect();
    assert_eq!(rows, [full, sparse]);

    // The columns are where typed Diesel looks for them too.
    let typed: Vec<(String, Status, Option<DateTime<Utc>>)> = comments::table
        .filter(comments::status.eq(Status::Draft))
        .select((comments::body, comments::status, comments::edited_at))
        .load(connection)
        .expect("the statement is right");
    assert_eq!(typed, [(rows[1].body.clone(), Status::Draft, None)]);
}

#[test]
fn a_row_with_too_few_columns_is_an_error() {
    let connection = &mut database();
    insert(&comment(), connection);
    let mut at: Vec<usize> = (0..REMARKS.fields.len()).collect();
    at[4] = 99;
    let error = read(connection, &at).remove(0).expect_err("there is no column 99");
    assert_eq!(error.to_string(), "the result has too few columns");
}

#[test]
fn a_value_of_another_type_is_no_bind() {
    let bind = |name: &str, value: Value<'static>| {
        let field = REMARKS.field_index(name).expect("a field");
        <Comment as ResourceOn<Sqlite>>::bind(field, value).is_some()
    };
    assert!(bind("score", Value::Int(1)));
    assert!(!bind("score", Value::Int(i64::MAX)));
    assert!(!bind("score", Value::Null));
    assert!(!bind("score", Value::Text("1".into())));
    assert!(bind("rating", Value::Null));
    assert!(bind("status", Value::Text("draft".into())));
    assert!(!bind("status", Value::Text("Draft".into())));
    assert!(<Comment as ResourceOn<Sqlite>>::bind(99, Value::Null).is_none());
}

#[test]
fn an_enum_is_stored_as_it_is_shown_unless_it_says_otherwise() {
    use diesel::dsl::sql;

    let connection = &mut SqliteConnection::establish(":memory:").expect("a database");
    let stored = |connection: &mut SqliteConnection, status: Status| {
        diesel::select(status.into_sql::<Text>().concat("")).get_result::<String>(connection).expect("a text")
    };
    for (status, name) in
        [(Status::Draft, "draft"), (Status::Published, "published"), (Status::Hidden, "hidden")]
    {
        assert_eq!(stored(connection, status), name);
        let read = diesel::select(sql::<Text>(&format!("'{name}'"))).get_result::<Status>(connection);
        assert_eq!(read.expect("a status"), status);
    }
    let unknown =
        diesel::select(sql::<Text>("'what'")).get_result::<Status>(connection).expect_err("no status");
    assert!(format!("{unknown:?}").contains("is none of draft, published, hidden"), "{unknown:?}");
    let grade = diesel::select(Grade::Bad.into_sql::<Text>().concat("")).get_result::<String>(connection);
    assert_eq!(grade.expect("a text"), "-");
    let grade = diesel::select(sql::<Text>("'+'")).get_result::<Grade>(connection).expect("a grade");
    assert_eq!(grade, Grade::Good);
    let shown = realtime_core::Field::to_value(&grade);
    assert!(matches!(&shown, Value::Text(text) if text == "Good"), "{shown:?}");
}
