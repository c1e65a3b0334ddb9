//! Fields of UUID, decimal and JSON: what is stored, what is shown, and that memory and SQLite decide alike.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use diesel::connection::{LoadConnection, SimpleConnection};
use diesel::prelude::*;
use diesel::sqlite::{Sqlite, SqliteConnection};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use realtime_core::action::{self, Failure, ForeignKey, Operation, Outcome, Refusal, Transaction};
use realtime_core::change::ResourceId;
use realtime_core::cursor::Position;
use realtime_core::filter::{Filter, RawArgument, parse};
use realtime_core::list::{ListQuery, Page};
use realtime_core::log::sqlite::{self as log, Cells, Reader, Watch};
use realtime_core::policy::AllowAny;
use realtime_core::sql::{Statement, Table, sqlite};
use realtime_core::types::{Decimal, Uuid};
use realtime_core::{
    Context, Descriptor, Error, Limits, LookupSet, Principal, RealtimeResource, Record, Row, Value, object,
};
use serde_json::{Map, Value as Json, json};

mod schema {
    diesel::table! {
        papers (id) {
            id -> realtime_core::types::sql::Uuid,
            amount -> Nullable<realtime_core::types::sql::DecimalNumber>,
            tags -> Nullable<Json>,
            extra -> Json,
        }
    }
}

use schema::papers;

#[derive(Clone, Debug, Insertable, Queryable, RealtimeResource)]
#[diesel(table_name = papers)]
#[realtime(permission = AllowAny, lookups(all), ordering(all))]
struct Paper {
    id: Uuid,
    amount: Option<Decimal>,
    tags: Option<Json>,
    #[realtime(default = json!([]))]
    extra: Json,
}

/// The same table, of which less may be asked.
#[derive(RealtimeResource)]
#[diesel(table_name = papers)]
#[realtime(
    stream = "narrow",
    lookups(tags(path)),
    subscription_field_mapping(
        colour = "tags__colour__iexact",
        second = "extra__1",
        first_name = "extra__0__name__in",
        no_extra = "extra__isnull"
    )
)]
struct Narrow {
    id: Uuid,
    tags: Option<Json>,
    extra: Json,
}

fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::establish(":memory:").unwrap();
    sqlite::register_functions(&mut connection).unwrap();
    connection
        .batch_execute("CREATE TABLE papers (id TEXT PRIMARY KEY NOT NULL, amount, tags TEXT, extra TEXT NOT NULL DEFAULT '[]')")
        .unwrap();
    connection
}

fn descriptor() -> &'static Descriptor {
    Paper::DESCRIPTOR
}

fn table() -> Table<Sqlite> {
    Table::of::<Paper>()
}

/// A transaction whose futures are always ready.
struct Direct<'a>(&'a mut SqliteConnection);

impl Direct<'_> {
    fn load(&mut self, table: &Table<Sqlite>, statement: Statement<Sqlite>) -> Result<Vec<Row>, Failure> {
        let at: Vec<usize> = (0..table.descriptor().fields.len()).collect();
        let fault = |error: diesel::result::Error| Failure::Fault(Box::new(error));
        let rows = self.0.load(statement).map_err(fault)?;
        rows.map(|row| table.decode(&Cells(&row.map_err(fault)?), &at).map_err(Failure::Fault)).collect()
    }
}

impl Transaction for Direct<'_> {
    type Backend = Sqlite;

    async fn rows(
        &mut self,
        table: &Table<Sqlite>,
        statement: Statement<Sqlite>,
    ) -> Result<Vec<Row>, Failure> {
        self.load(table, statement)
    }
    fn after_commit(&mut self, work: realtime_core::AfterCommit) {
        drop(work);
    }

    async fn execute(&mut self, statement: Statement<Sqlite>) -> Result<usize, Failure> {
        statement.execute(self.0).map_err(|error| Failure::Fault(Box::new(error)))
    }
    async fn number(&mut self, statement: Statement<Sqlite>) -> Result<i64, Failure> {
        use realtime_core::__private::read;
        let fault = |error: diesel::result::Error| Failure::Fault(Box::new(error));
        let row = self.0.load(statement).map_err(fault)?.next().unwrap().map_err(fault)?;
        read::<i64, diesel::sql_types::BigInt, Sqlite>(&Cells(&row), 0).map_err(Failure::Fault)
    }
    async fn texts(&mut self, _statement: Statement<Sqlite>) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    async fn foreign_keys(&mut self, _table: &str) -> Result<Vec<ForeignKey>, Failure> {
        Ok(Vec::new())
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

fn run(connection: &mut SqliteConnection, operation: &Operation) -> Result<Outcome, Refusal> {
    let principal = Principal::anonymous();
    let context = Context { principal: &principal, now: chrono::DateTime::UNIX_EPOCH };
    let request = action::Request::new(ResourceId(0), operation.clone());
    now(action::run(&mut Direct(connection), &[table()], &request, &context))
}

fn outcome(connection: &mut SqliteConnection, operation: &Operation) -> String {
    match run(connection, operation) {
        Ok(Outcome::Created(row)) => format!("201 {}", object(descriptor(), row.as_ref())),
        Ok(Outcome::CreatedBefore(object)) => format!("201 {object}"),
        Ok(Outcome::Object(row)) => format!("200 {}", object(descriptor(), row.as_ref())),
        Ok(Outcome::Deleted) => "204".into(),
        Ok(Outcome::RowGroups(_) | Outcome::Nothing | Outcome::Answer(_) | Outcome::DoneBefore(..)) => {
            panic!("neither groups nor an action were asked for")
        }
        Ok(Outcome::Page(page)) => format!("200 {} rows", page.rows.len()),
        Err(Refusal::Refused(error)) => format!("{} {}", error.status(), json!(error.errors())),
        Err(other) => format!("500 {other:?}"),
    }
}

fn payload(json: &Json) -> Map<String, Json> {
    json.as_object().unwrap().clone()
}

fn create(connection: &mut SqliteConnection, json: &Json) -> String {
    outcome(connection, &Operation::Create(payload(json)))
}

fn page(connection: &mut SqliteConnection, entries: Entries, options: &[(String, Json)]) -> Page {
    let query = ListQuery::parse(descriptor(), entries, options, &Limits::default()).unwrap();
    let query = query.with_key(descriptor(), &realtime_core::PageKey::new(&[7; 32])).unwrap();
    match run(connection, &Operation::List(Box::new(query))) {
        Ok(Outcome::Page(page)) => page,
        Ok(_) => panic!("a list is answered with a page"),
        Err(refusal) => panic!("the list failed: {refusal:?}"),
    }
}

fn all(connection: &mut SqliteConnection) -> Vec<Row> {
    page(connection, Vec::new(), &[("limit".to_owned(), json!(1000))]).rows
}

fn paper(row: &Row) -> &Paper {
    (row.as_ref() as &dyn std::any::Any).downcast_ref().unwrap()
}

type Entries = Vec<(String, RawArgument)>;

fn entries(filter: &Json) -> Entries {
    let members = filter.as_object().unwrap().iter();
    members.map(|(key, json)| (key.clone(), RawArgument::Json(json.clone()))).collect()
}

fn asked(key: &str, values: &[&str]) -> Entries {
    vec![(key.to_owned(), RawArgument::Query(values.iter().map(|value| (*value).to_owned()).collect()))]
}

fn parsed(entries: Entries) -> Result<Filter, Error> {
    parse(descriptor(), entries, &Limits::default())
}

/// The numbers, by place in the table's order of keys, of the rows that a filter selects, in memory and in SQLite.
#[track_caller]
fn check(connection: &mut SqliteConnection, cases: &[(Json, &[u128])]) {
    let rows = all(connection);
    let number = |row: &Row| paper(row).id.as_u128();
    for (filter, expected) in cases {
        let in_memory = parsed(entries(filter)).unwrap();
        let matching: Vec<u128> =
            rows.iter().filter(|row| in_memory.matches(row.as_ref())).map(number).collect();
        assert_eq!(matching, *expected, "in memory: {filter}");
        let found: Vec<u128> = page(connection, entries(filter), &[]).rows.iter().map(number).collect();
        assert_eq!(found, *expected, "in SQLite: {filter}");
    }
}

fn id(number: u128) -> String {
    uuid::Uuid::from_u128(number).to_string()
}

fn insert(connection: &mut SqliteConnection, papers: &[Paper]) {
    diesel::insert_into(papers::table).values(papers).execute(connection).unwrap();
}

fn tagged(tags: &[Option<Json>]) -> SqliteConnection {
    let mut connection = database();
    let papers: Vec<Paper> = (1..)
        .zip(tags)
        .map(|(number, tags)| Paper {
            id: Uuid(uuid::Uuid::from_u128(number)),
            amount: None,
            tags: tags.clone(),
            extra: json!(null),
        })
        .collect();
    insert(&mut connection, &papers);
    connection
}

fn amounts(amounts: &[&str]) -> SqliteConnection {
    let mut connection = database();
    for (number, amount) in (1..).zip(amounts) {
        let sql = format!("INSERT INTO papers (id, amount) VALUES ('{}', {amount})", id(number));
        connection.batch_execute(&sql).unwrap();
    }
    connection
}

#[test]
fn what_a_payload_says_is_stored_and_shown_as_it_was_said() {
    let mut connection = database();
    let said = json!({"id": "67E55044-10B1-426F-9247-BB680E5FE0C8", "amount": "-012.50", "tags": {"b": [1, 1.0, null], "a": "ü"}});
    let shown = r#"{"id":"67e55044-10b1-426f-9247-bb680e5fe0c8","amount":"-12.50","tags":{"a":"ü","b":[1,1.0,null]},"extra":[]}"#;
    assert_eq!(create(&mut connection, &said), format!("201 {shown}"));
    let stored: (String, String, String) = diesel::sql_query("SELECT id, amount, tags FROM papers")
        .get_result::<Stored>(&mut connection)
        .map(|stored| (stored.id, stored.amount, stored.tags))
        .unwrap();
    assert_eq!(stored.0, "67e55044-10b1-426f-9247-bb680e5fe0c8");
    assert_eq!(stored.1, "-12.50");
    assert_eq!(serde_json::from_str::<Json>(&stored.2).unwrap(), said["tags"]);
    // What was read can be written back, and is no change.
    let key = || all_key(&said["id"]);
    let back = payload(&serde_json::from_str(shown).unwrap());
    assert_eq!(outcome(&mut connection, &Operation::Replace(key(), back)), format!("200 {shown}"));
    assert_eq!(
        outcome(
            &mut connection,
            &Operation::Update(key(), payload(&json!({"tags": null, "extra": null, "amount": null})))
        ),
        r#"200 {"id":"67e55044-10b1-426f-9247-bb680e5fe0c8","amount":null,"tags":null,"extra":null}"#
    );
    check(
        &mut connection,
        &[(
            json!({"tags__isnull": true, "extra__isnull": false}),
            &[0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8],
        )],
    );
    assert_eq!(outcome(&mut connection, &Operation::Delete(key())), "204");
    assert!(all(&mut connection).is_empty());
}

#[derive(QueryableByName)]
struct Stored {
    #[diesel(sql_type = diesel::sql_types::Text)]
    id: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    amount: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    tags: String,
}

fn all_key(json: &Json) -> Value<'static> {
    realtime_core::filter::parse_key(descriptor().key_field().kind, json).unwrap()
}

#[test]
fn ill_typed_values_of_a_payload_are_refused() {
    let good = json!({"id": id(1)});
    for (field, value) in [
        ("id", json!("x")),
        ("id", json!(5)),
        ("id", json!(null)),
        ("amount", json!(12.5)),
        ("amount", json!(12)),
        ("amount", json!("1e3")),
        ("amount", json!("")),
        ("amount", json!("NaN")),
        ("amount", json!("79228162514264337593543950336")),
        ("amount", json!("0.00000000000000000000000000001")),
        ("tags", json!("a\0b")),
        ("tags", json!({"a": [{"b\0": 1}]})),
    ] {
        let mut said = good.clone();
        said[field] = value;
        let answer = create(&mut database(), &said);
        assert!(answer.starts_with(&format!("400 {{\"{field}\":")), "{said}: {answer}");
    }
}

#[test]
fn bytes_of_a_key_path() {
    for limit in [4, Limits::default().filter_pattern_bytes] {
        let mut limits = Limits::default();
        limits.filter_pattern_bytes = limit;
        for size in [limit - 1, limit, limit + 1] {
            let key = format!("tags__{}__é__isnull", "a".repeat(size - 2));
            let refused = parse(descriptor(), [(key.clone(), RawArgument::Json(json!(true)))], &limits).err();
            assert_eq!(refused.is_some(), size > limit, "{size} of {limit}");
            let Some(error) = refused else { continue };
            assert_eq!((error.status(), error.code().name()), (400, "validation_error"));
            let said = format!("A key path has at most {limit} bytes (limit filter_pattern_bytes).");
            assert_eq!(error.errors()[&key], [said]);
        }
    }
}

#[test]
fn a_uuid_is_found_however_it_was_stored() {
    let mut connection = database();
    let text = id(0xABCD_EF00);
    let upper = text.to_uppercase();
    let spellings = [
        format!("'{text}'"),
        format!("'{upper}'"),
        format!("'{}'", text.replace('-', "")),
        format!("'{}'", upper.replace('-', "")),
        format!("'{{{text}}}'"),
        format!("'{{{upper}}}'"),
        format!("'urn:uuid:{text}'"),
        format!("'urn:uuid:{upper}'"),
        format!("X'{}'", text.replace('-', "")),
    ];
    for stored in &spellings {
        connection.batch_execute("DELETE FROM papers").unwrap();
        connection.batch_execute(&format!("INSERT INTO papers (id, amount) VALUES ({stored}, '1')")).unwrap();
        check(
            &mut connection,
            &[
                (json!({"id": text}), &[0xABCD_EF00]),
                (json!({"pk__in": [text.to_uppercase(), id(1)]}), &[0xABCD_EF00]),
                (json!({"not__id": text}), &[]),
                (json!({"id": id(1)}), &[]),
            ],
        );
        let key = all_key(&json!(text));
        let retrieve = Operation::Retrieve(key.clone());
        assert!(outcome(&mut connection, &retrieve).starts_with("200"), "{stored}");
        let update = Operation::Update(key.clone(), payload(&json!({"amount": "2"})));
        assert!(outcome(&mut connection, &update).starts_with("200"), "{stored}");
        assert_eq!(outcome(&mut connection, &Operation::Delete(key)), "204", "{stored}");
    }
}

/// What no key finds has no value: a list that leaves it out does not notice it, no other shows a row that is then not
/// there.
#[test]
fn a_uuid_that_no_key_finds_is_in_no_list() {
    let text = id(0xABCD_EF00);
    let mixed = text.replace('a', "A");
    assert!(mixed != text && mixed != text.to_uppercase());
    for stored in
        [format!("'{mixed}'"), format!("'{{{mixed}}}'"), format!("CAST('{text}' AS BLOB)"), "'x'".into()]
    {
        let mut connection = database();
        connection.batch_execute(&format!("INSERT INTO papers (id, amount) VALUES ({stored}, '1')")).unwrap();
        connection
            .batch_execute(&format!("INSERT INTO papers (id, amount) VALUES ('{}', '2')", id(1)))
            .unwrap();
        for (filter, expected) in [
            (json!({"id": text}), &[][..]),
            (json!({"pk__in": [mixed, id(1)]}), &[1]),
            (json!({"id__isnull": false, "amount__gt": 1}), &[1]),
        ] {
            let rows = page(&mut connection, entries(&filter), &[]).rows;
            let found: Vec<u128> = rows.iter().map(|row| paper(row).id.as_u128()).collect();
            assert_eq!(found, expected, "{stored}: {filter}");
        }
        let retrieve = Operation::Retrieve(all_key(&json!(text)));
        assert!(outcome(&mut connection, &retrieve).starts_with("404"), "{stored}");
    }
}

#[test]
fn decimals_are_compared_as_numbers_whatever_wrote_them() {
    let mut connection =
        amounts(&["'12.50'", "12.5", "12", "'-0.0'", "NULL", "'1e1'", "0.1", "'100'", "'-3'"]);
    check(
        &mut connection,
        &[
            (json!({"amount": "12.5"}), &[1, 2]),
            (json!({"amount": 12.50}), &[1, 2]),
            (json!({"amount__in": ["12.500", 0, "0.1"]}), &[1, 2, 4, 7]),
            (json!({"amount__gt": "12"}), &[1, 2, 8]),
            (json!({"amount__lt": 10}), &[4, 7, 9]),
            (json!({"amount__lte": 1e1}), &[4, 6, 7, 9]),
            (json!({"amount__range": ["-3.00", "0.10"]}), &[4, 7, 9]),
            (json!({"not__amount__gte": "0"}), &[5, 9]),
            (json!({"amount": null}), &[5]),
            (json!({"amount__isnull": false, "not__amount": 12}), &[1, 2, 4, 6, 7, 8, 9]),
        ],
    );
    for value in [json!("x"), json!("1e3"), json!(true), json!(1e40), json!("99999999999999999999999999999")]
    {
        assert_eq!(parsed(entries(&json!({"amount": value}))).unwrap_err().status(), 400, "{value}");
    }
}

#[test]
fn lists_are_ordered_by_uuids_and_decimals_and_walked_page_by_page() {
    let mut connection = amounts(&["'2'", "'10'", "NULL", "'-1.5'", "'-1.50'", "1e2", "'9.99'", "NULL"]);
    connection.batch_execute("UPDATE papers SET id = upper(id) WHERE amount = '10'").unwrap();
    for (ordering, expected) in [
        ("amount", [4, 5, 1, 7, 2, 6, 3, 8]),
        ("-amount", [3, 8, 6, 2, 7, 1, 4, 5]),
        ("-id", [8, 7, 6, 5, 4, 3, 2, 1]),
    ] {
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut options = vec![("ordering".to_owned(), json!(ordering)), ("limit".to_owned(), json!(2))];
            options.extend(cursor.map(|cursor| ("cursor".to_owned(), json!(cursor))));
            let page = page(&mut connection, Vec::new(), &options);
            seen.extend(page.rows.iter().map(|row| paper(row).id.as_u128()));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "{ordering}");
    }
    assert!(!descriptor().fields[2].orderable && descriptor().fields[1].orderable);
    let options = [("ordering".to_owned(), json!("tags"))];
    assert!(ListQuery::parse(descriptor(), Vec::new(), &options, &Limits::default()).is_err());
}

#[test]
fn a_key_path_leads_to_what_is_compared() {
    let mut connection = tagged(&[
        Some(json!({"colour": "red", "n": 1, "list": [{"x": true}, "Straße"], "0": "zero"})),
        Some(json!({"colour": "RED", "n": 1.0, "list": []})),
        Some(json!({"colour": 5, "n": "1", "exact": {"isnull": "q"}})),
        Some(json!({"colour": null, "n": 9_007_199_254_740_993_i64})),
        Some(json!(["red", 2])),
        Some(json!("red")),
        Some(json!(null)),
        None,
    ]);
    check(
        &mut connection,
        &[
            (json!({"tags__colour": "red"}), &[1]),
            (json!({"not__tags__colour__exact": "red"}), &[2, 3, 4, 5, 6, 7, 8]),
            (json!({"tags__colour__iexact": "rEd"}), &[1, 2]),
            (json!({"tags__colour__in": ["red", 5, "x\0"]}), &[1, 3]),
            (json!({"tags__colour": null}), &[4]),
            (json!({"tags__colour__isnull": true}), &[5, 6, 7, 8]),
            (json!({"tags__colour__isnull": "false"}), &[1, 2, 3, 4]),
            (json!({"tags__n": 1}), &[1, 2]),
            (json!({"tags__n": 1.0}), &[1, 2]),
            (json!({"tags__n": "1"}), &[3]),
            (json!({"tags__n__gt": 0}), &[1, 2, 4]),
            (json!({"tags__n__gt": 9_007_199_254_740_992.0}), &[4]),
            (json!({"tags__n__range": [-0.5, 1e0]}), &[1, 2]),
            (json!({"not__tags__n__lte": 1}), &[3, 4, 5, 6, 7, 8]),
            (json!({"tags__list__0__x": true}), &[1]),
            (json!({"tags__list__1__istartswith": "STRAẞ"}), &[1]),
            (json!({"tags__list__1__regex": "ß.$"}), &[1]),
            (json!({"tags__list__isnull": false}), &[1, 2]),
            (json!({"tags__0": "red"}), &[5]),
            (json!({"tags__0": "zero"}), &[1]),
            (json!({"tags__1__gte": 2}), &[5]),
            (json!({"tags__exact__isnull__exact": "q"}), &[3]),
            (json!({"tags__colour": "re\0d"}), &[]),
            (json!({"not__tags__colour__contains": "\0"}), &[1, 2, 3, 4, 5, 6, 7, 8]),
            (json!({"tags__isnull": true}), &[8]),
            (json!({"tags__colour__year": 1}), &[]),
        ],
    );
}

#[test]
fn what_is_no_path_or_no_argument_is_refused() {
    for key in [
        "tags",
        "tags__exact",
        "tags__in",
        "tags__",
        "tags____x",
        "tags__a____b",
        "id__a",
        "amount__a__exact",
    ] {
        assert_eq!(parsed(entries(&json!({key: "x"}))).unwrap_err().code().name(), "unknown_lookup", "{key}");
    }
    let long = format!("tags__{}", "a".repeat(257));
    for (key, value) in [
        ("tags__a", json!([1])),
        ("tags__a", json!({})),
        ("tags__a__gt", json!("1")),
        ("tags__a__range", json!([1])),
        ("tags__a__range", json!([1, "2"])),
        ("tags__a__in", json!([null])),
        ("tags__a__in", json!(1)),
        ("tags__a__contains", json!(1)),
        ("tags__a__regex", json!("(")),
        ("tags__a__isnull", json!(1)),
        (long.as_str(), json!(1)),
    ] {
        assert_eq!(
            parsed(entries(&json!({key: value}))).unwrap_err().code().name(),
            "validation_error",
            "{key}"
        );
    }
}

#[test]
fn a_resource_says_whether_there_are_key_paths() {
    assert_eq!(Narrow::DESCRIPTOR.fields[1].lookups, LookupSet::NONE.with_paths());
    let of_narrow = |key: &str| parse(Narrow::DESCRIPTOR, entries(&json!({key: true})), &Limits::default());
    assert!(of_narrow("tags__a__b").is_ok());
    assert!(of_narrow("tags__a__isnull").is_ok());
    let refused = of_narrow("tags__isnull").unwrap_err();
    assert_eq!(json!(refused.errors()), json!({"tags__isnull": ["Lookups of \"tags\" are key paths."]}));
    assert_eq!(of_narrow("extra__a").unwrap_err().code().name(), "unknown_field");
    // An alias may stand for what the field's own name does not offer, and means what it stands for.
    let of_narrow = |filter: Json| parse(Narrow::DESCRIPTOR, entries(&filter), &Limits::default()).unwrap();
    let row = Narrow {
        id: Uuid::default(),
        tags: Some(json!({"colour": "Red"})),
        extra: json!([{"name": "ann"}, 5]),
    };
    for (filter, selected) in [
        (json!({"colour": "rED"}), true),
        (json!({"not__colour": "red"}), false),
        (json!({"second": 5.0}), true),
        (json!({"second": "5"}), false),
        (json!({"first_name": ["bob", "ann"]}), true),
        (json!({"first_name": []}), false),
        (json!({"no_extra": false}), true),
    ] {
        assert_eq!(of_narrow(filter.clone()).matches(&row), selected, "{filter}");
    }
    let alias = of_narrow(json!({"colour": "RED"}));
    assert_eq!(alias.canonical(), of_narrow(json!({"tags__colour__iexact": "red"})).canonical());
    let wrong = parse(Narrow::DESCRIPTOR, entries(&json!({"colour": 5})), &Limits::default()).unwrap_err();
    assert_eq!(wrong.errors().keys().collect::<Vec<_>>(), ["colour"]);
}

#[test]
fn filters_that_mean_the_same_are_one_group() {
    let canonical = |entries| parsed(entries).unwrap().canonical().to_owned();
    let same = |cases: Vec<Entries>| {
        let texts: Vec<String> = cases.into_iter().map(canonical).collect();
        assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
        texts[0].clone()
    };
    let text = same(vec![
        entries(&json!({"amount": "12.5"})),
        entries(&json!({"amount": "12.50"})),
        entries(&json!({"amount__in": [12.5, "012.500"]})),
        asked("amount", &["12.5"]),
    ]);
    assert_eq!(text, r#"amount=["12.5"]"#);
    same(vec![entries(&json!({"amount__gte": "-0.0"})), entries(&json!({"amount__gte": 0}))]);
    same(vec![entries(&json!({"id": id(255).to_uppercase()})), entries(&json!({"pk__in": [id(255)]}))]);
    let text = same(vec![
        entries(&json!({"tags__a__in": [1, "x", 1.0]})),
        entries(&json!({"tags__a__in": ["x", 1]})),
        asked("tags__a__in", &["x,1"]),
        asked("tags__a__in", &["1", "%22x%22"]),
    ]);
    assert_eq!(text, r#"tags[["a"],"in",[1,"x"]]"#);
    same(vec![entries(&json!({"tags__a__gt": 1e0})), asked("tags__a__gt", &["1"])]);
    same(vec![entries(&json!({"tags__a": "5"})), asked("tags__a__exact", &["%225%22"])]);
    same(vec![entries(&json!({"tags__a": null})), asked("tags__a", &["null"])]);
    same(vec![
        entries(&json!({"tags__a": "a,b"})),
        asked("tags__a", &["a,b"]),
        asked("tags__a__in", &["a%2Cb"]),
    ]);
    same(vec![entries(&json!({"tags__a": "\0"})), entries(&json!({"tags__a__in": []}))]);
    assert_ne!(canonical(entries(&json!({"tags__a": "5"}))), canonical(entries(&json!({"tags__a": 5}))));
    assert_ne!(canonical(entries(&json!({"tags__a__b": 5}))), canonical(entries(&json!({"tags__a": 5}))));
}

#[test]
fn a_diff_sees_what_would_be_written_differently() {
    let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
    let of = |json: Json| Value::Json(std::borrow::Cow::Owned(json));
    assert!(!decimal("12.5").is_same(&decimal("12.50")));
    assert!(decimal("12.50").is_same(&decimal("12.50")));
    assert!(of(json!({"a": 1, "b": [2]})).is_same(&of(serde_json::from_str(r#"{"b":[2],"a":1}"#).unwrap())));
    assert!(!of(json!({"a": 1})).is_same(&of(json!({"a": 1.0}))));
    assert!(!of(json!([0.0])).is_same(&of(json!([-0.0]))));
    assert!(!of(json!({"a": null})).is_same(&of(json!({}))));
    assert!(of(json!(null)).is_same(&Value::Null) && Value::Null.is_same(&of(json!(null))));
}

#[test]
fn the_log_keeps_every_value_as_a_select_gives_it() {
    let mut connection = database();
    let tables = || vec![table()];
    for statement in log::outstanding(&mut connection, &Watch::over(&tables())).unwrap() {
        connection.batch_execute(&statement).unwrap();
    }
    let reader = Reader::new(&mut connection, tables()).unwrap();
    let rows = [
        ("'67E55044-10B1-426F-9247-BB680E5FE0C8'", "'12.50'", r#"'{"b": 1.0, "a": [1e400]}'"#),
        ("X'67E5504410B1426F9247BB680E5FE0C9'", "12.5", "' [ 1 , 0.30000000000000004 ] '"),
        ("'67e5504410b1426f9247bb680e5fe0ca'", "9007199254740993", "'null'"),
        ("'67e55044-10b1-426f-9247-bb680e5fe0cb'", "'79228162514264337593543950335'", "NULL"),
    ];
    let mut position = Position(0);
    for (id, amount, tags) in rows {
        let tags = tags.replace("1e400", "1e300");
        connection
            .batch_execute(&format!("INSERT INTO papers (id, amount, tags) VALUES ({id}, {amount}, {tags})"))
            .unwrap();
        let read = reader.read(&mut connection, position).unwrap();
        position = read.batch.position;
        assert!(read.corrupt.is_empty(), "{:?}", read.corrupt);
        let [change] = read.batch.changes.as_slice() else { panic!("one change") };
        assert_eq!(change.resource, ResourceId(0));
        let after = change.after.as_ref().unwrap();
        let rows = all(&mut connection);
        let row = rows.iter().find(|row| row.value(0).is_same(&change.key)).unwrap();
        for field in 0..descriptor().fields.len() {
            assert!(after.value(field).is_same(&row.value(field)), "field {field}");
        }
        assert_eq!(object(descriptor(), after.as_ref()), object(descriptor(), row.as_ref()));
    }
    // The same JSON in other words is no difference.
    connection
        .batch_execute(r#"UPDATE papers SET tags = '{"a":[1E300],"b":1.0}' WHERE tags LIKE '{%'"#)
        .unwrap();
    let read = reader.read(&mut connection, position).unwrap();
    for change in &read.batch.changes {
        let (before, after) = (change.before.as_ref().unwrap(), change.after.as_ref().unwrap());
        assert!((0..4).all(|field| before.value(field).is_same(&after.value(field))));
    }
}

const TEXTS: &[&str] =
    &["", "a", "A", "1", "true", "null", "ß", "ẞ", "é", "'", "\"", "%", "x\u{1}", "😀", "a,b", "\\u0000"];
const STEPS: &[&str] = &["a", "A", "0", "1", "00", "exact", "isnull", "not", "'", "\"", "ß", "$", "a.b", "]"];

fn number() -> impl Strategy<Value = Json> {
    prop::sample::select(vec![
        json!(0),
        json!(-0.0),
        json!(1),
        json!(1.0),
        json!(-1),
        json!(0.5),
        json!(9_007_199_254_740_992_i64),
        json!(9_007_199_254_740_993_i64),
        json!(9_007_199_254_740_992.0),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(18_446_744_073_709_551_616.0),
        json!(1e300),
        json!(-1e300),
        json!(5e-324),
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

const AMOUNTS: &[&str] = &[
    "0",
    "0.0",
    "0.00",
    "12.5",
    "12.50",
    "-12.5",
    "-0.0000000000000000000000000001",
    "0.1",
    "79228162514264337593543950335",
    "-79228162514264337593543950335",
    "7.9228162514264337593543950335",
    "100",
    "10",
    "9",
];

/// An amount as SQL, as we or others would store it.
fn stored_amount() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(AMOUNTS).prop_map(|amount| format!("'{amount}'")),
        2 => prop::sample::select(vec!["12.5", "0.1", "-0.0", "1e20", "9", "-9223372036854775808", "1e-9", "'1e2'", "'-0.0'"])
            .prop_map(str::to_owned),
        1 => Just("NULL".to_owned()),
    ]
}

/// A UUID as SQL; few, so that they meet.
fn stored_id(number: u128, spelling: usize) -> String {
    let text = id(number << 64 | number);
    match spelling {
        0 => format!("'{text}'"),
        1 => format!("'{}'", text.to_uppercase()),
        2 => format!("'{}'", text.replace('-', "")),
        3 => format!("X'{}'", text.replace('-', "")),
        _ => format!("'{{{text}}}'"),
    }
}

fn stored_rows() -> impl Strategy<Value = Vec<String>> {
    let row = (stored_amount(), prop::option::of(document()), 0..5_usize);
    prop::collection::vec(row, 12).prop_map(|rows| {
        (0xA0..)
            .zip(rows)
            .map(|(number, (amount, tags, spelling))| {
                let tags = tags
                    .map_or("NULL".to_owned(), |tags| format!("'{}'", tags.to_string().replace('\'', "''")));
                format!(
                    "INSERT INTO papers (id, amount, tags) VALUES ({}, {amount}, {tags})",
                    stored_id(number, spelling)
                )
            })
            .collect()
    })
}

fn entry() -> impl Strategy<Value = (String, Json)> {
    let path = prop::collection::vec(prop::sample::select(STEPS), 1..4).prop_map(|steps| steps.join("__"));
    let amount = || {
        prop_oneof![
            3 => prop::sample::select(AMOUNTS).prop_map(Json::from),
            1 => prop::sample::select(vec![json!(12.5), json!(0), json!(-0.0), json!(1e20), json!(1e-9), json!(100)]),
        ]
    };
    let ids = || (0xA0..0xAE_u128).prop_map(|number| id(number << 64 | number));
    let operators = ["gt", "gte", "lt", "lte"];
    let texts = [
        "iexact",
        "contains",
        "icontains",
        "startswith",
        "istartswith",
        "endswith",
        "iendswith",
        "regex",
        "iregex",
    ];
    let literal = prop::sample::select(vec!["", "a", "A", "1", "ß", "é", "'", "%", "x", "😀"]);
    let of_path = prop_oneof![
        4 => scalar().prop_map(|value| ("exact", value)),
        3 => prop::collection::vec(scalar().prop_filter("null", |value| !value.is_null()), 0..4)
            .prop_map(|values| ("in", Json::from(values))),
        3 => (prop::sample::select(operators.to_vec()), number()),
        2 => (number(), number()).prop_map(|(lower, upper)| ("range", json!([lower, upper]))),
        3 => (prop::sample::select(texts.to_vec()), literal).prop_map(|(name, text)| (name, json!(text))),
        1 => any::<bool>().prop_map(|yes| ("isnull", json!(yes))),
    ];
    let positive = prop_oneof![
        4 => (path, of_path).prop_map(|(path, (lookup, value))| (format!("tags__{path}__{lookup}"), value)),
        1 => any::<bool>().prop_map(|yes| ("tags__isnull".to_owned(), json!(yes))),
        1 => amount().prop_map(|value| ("amount".to_owned(), value)),
        1 => prop::collection::vec(amount(), 0..4).prop_map(|values| ("amount__in".to_owned(), Json::from(values))),
        2 => (prop::sample::select(operators.to_vec()), amount())
            .prop_map(|(lookup, value)| (format!("amount__{lookup}"), value)),
        1 => (amount(), amount()).prop_map(|(lower, upper)| ("amount__range".to_owned(), json!([lower, upper]))),
        1 => prop::collection::vec(ids(), 0..6).prop_map(|values| ("id__in".to_owned(), Json::from(values))),
        1 => ids().prop_map(|value| ("pk".to_owned(), json!(value.to_uppercase()))),
    ];
    (any::<bool>(), positive)
        .prop_map(|(negated, (key, value))| (if negated { format!("not__{key}") } else { key }, value))
}

proptest! {
    #![proptest_config(Config { rng_seed: RngSeed::Fixed(0x7ea1_7133), failure_persistence: None, ..Config::with_cases(60) })]

    /// 60 databases of 12 rows, each asked 40 times: 28,800 pairs.
    #[test]
    fn memory_and_sqlite_select_the_same_rows(
        rows in stored_rows(),
        filters in prop::collection::vec(prop::collection::vec(entry(), 1..3), 40),
    ) {
        let mut connection = database();
        for row in &rows {
            connection.batch_execute(row).unwrap();
        }
        let rows = all(&mut connection);
        prop_assert_eq!(rows.len(), 12);
        for filter in filters {
            let given = || filter.iter().map(|(key, json)| (key.clone(), RawArgument::Json(json.clone()))).collect();
            let parsed = parsed(given()).unwrap();
            let matching: Vec<Uuid> =
                rows.iter().filter(|row| parsed.matches(row.as_ref())).map(|row| paper(row).id).collect();
            let page = page(&mut connection, given(), &[]);
            let found: Vec<Uuid> = page.rows.iter().map(|row| paper(row).id).collect();
            prop_assert_eq!(&found, &matching, "{:?}", filter);
            prop_assert_eq!(page.count, Some(found.len() as u64));
        }
    }

    #[test]
    fn models_come_back_from_sqlite_as_they_went(
        amount in prop::option::of(prop::sample::select(AMOUNTS)),
        tags in prop::option::of(document()),
        extra in document(),
        number in any::<u128>(),
    ) {
        let mut connection = database();
        let amount = amount.map(|amount| amount.parse::<Decimal>().unwrap());
        let went = Paper { id: Uuid(uuid::Uuid::from_u128(number)), amount, tags, extra };
        insert(&mut connection, std::slice::from_ref(&went));
        let typed: Paper = papers::table.first(&mut connection).unwrap();
        let row: Row = Arc::new(typed);
        for came in [&all(&mut connection)[0], &row] {
            prop_assert_eq!(object(descriptor(), came.as_ref()), object(descriptor(), &went));
            for field in 0..4 {
                prop_assert!(came.value(field).is_same(&went.value(field)), "field {}", field);
            }
        }
        let object: Json = serde_json::from_str(&object(descriptor(), &went)).unwrap();
        for field in 0..4 {
            prop_assert_eq!(&object[descriptor().fields[field].name], &went.value(field).to_json());
        }
    }
}
