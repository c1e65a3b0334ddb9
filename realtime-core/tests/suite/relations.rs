//! Lists by rows of another resource, with them, and by search: held against a model that looks at every row.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::{Sqlite, SqliteConnection};
use proptest::prelude::*;
use realtime_core::action::{self, Failure, ForeignKey, Operation, Outcome, Refusal, Request, Transaction};
use realtime_core::change::ResourceId;
use realtime_core::connection::page_object;
use realtime_core::filter::RawArgument;
use realtime_core::list::ListQuery;
use realtime_core::policy::{Ask, IsAuthenticated, Permission as _, Policy, Verdict};
use realtime_core::sql::{Statement, Table};
use realtime_core::subscription::Asked;
use realtime_core::{Context, Fields, Limits, Principal, RealtimeResource, Row, Rows};
use serde_json::{Value as Json, json};

use crate::model::{Direct, now, time};
use crate::random;

diesel::table! {
    shelves (id) {
        id -> Integer,
        label -> Text,
        owner_id -> Integer,
        secret -> Nullable<Text>,
    }
}
diesel::table! {
    books (id) {
        id -> Integer,
        shelf_id -> Nullable<Integer>,
        keeper_id -> Integer,
        title -> Text,
        remark -> Nullable<Text>,
    }
}

/// Seen by its owner, and by everybody if its label begins with p; what is secret is so to all but user 1.
#[derive(Clone, Debug, Insertable, RealtimeResource)]
#[diesel(table_name = shelves)]
#[realtime(lookups(all), policy)]
struct Shelf {
    id: i32,
    label: String,
    owner_id: i32,
    secret: Option<String>,
}

impl Policy for Shelf {
    fn visible(principal: &Principal) -> Rows<Self> {
        let public = Rows::text(shelves::label, realtime_core::filter::TextMatch::StartsWith, "p");
        match principal.user_key::<i32>() {
            Ok(user) => public.or(Rows::equal(shelves::owner_id, user)),
            Err(_) => public,
        }
    }

    fn hidden(principal: &Principal) -> Fields<Self> {
        if principal.user_key::<i32>() == Ok(1) { Fields::none() } else { Fields::of(shelves::secret) }
    }
}

/// Whoever is logged in may look at them.
#[derive(Clone, Debug, RealtimeResource)]
#[diesel(table_name = shelves)]
#[realtime(stream = "keepers", lookups(all), policy)]
struct Keeper {
    id: i32,
    label: String,
}

impl Policy for Keeper {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        IsAuthenticated.decide(ask)
    }
}

#[derive(Clone, Debug, Insertable, RealtimeResource)]
#[diesel(table_name = books)]
#[realtime(lookups(all), ordering(all), search(title, remark), pagination(default = 1000, most = 1000))]
struct Book {
    id: i32,
    #[realtime(references = Shelf, nested)]
    shelf_id: Option<i32>,
    #[realtime(references = Keeper)]
    keeper_id: i32,
    title: String,
    remark: Option<String>,
}

/// Counts statements.
struct Counted<'a>(Direct<'a>, usize);

impl Transaction for Counted<'_> {
    type Backend = Sqlite;

    async fn rows(
        &mut self,
        table: &Table<Sqlite>,
        statement: Statement<Sqlite>,
    ) -> Result<Vec<Row>, Failure> {
        self.1 += 1;
        self.0.rows(table, statement).await
    }
    async fn number(&mut self, statement: Statement<Sqlite>) -> Result<i64, Failure> {
        self.1 += 1;
        self.0.number(statement).await
    }
    async fn texts(&mut self, statement: Statement<Sqlite>) -> Result<Vec<String>, Failure> {
        self.0.texts(statement).await
    }
    fn after_commit(&mut self, work: realtime_core::AfterCommit) {
        self.0.after_commit(work);
    }
    async fn execute(&mut self, statement: Statement<Sqlite>) -> Result<usize, Failure> {
        self.0.execute(statement).await
    }
    async fn foreign_keys(&mut self, table: &str) -> Result<Vec<ForeignKey>, Failure> {
        self.0.foreign_keys(table).await
    }
}

fn library(shelves: &[Shelf], books: &[Book]) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(":memory:").unwrap();
    connection
        .batch_execute(
            "CREATE TABLE shelves (id INTEGER PRIMARY KEY NOT NULL, label TEXT NOT NULL, owner_id INTEGER NOT NULL,
                 secret TEXT);
             CREATE TABLE books (id INTEGER PRIMARY KEY NOT NULL, shelf_id INTEGER, keeper_id INTEGER NOT NULL,
                 title TEXT NOT NULL, remark TEXT);",
        )
        .unwrap();
    realtime_core::sql::sqlite::register_functions(&mut connection).unwrap();
    for shelf in shelves {
        diesel::insert_into(shelves::table).values(shelf).execute(&mut connection).unwrap();
    }
    for book in books {
        diesel::insert_into(books::table).values(book).execute(&mut connection).unwrap();
    }
    connection
}

fn user(key: i32) -> Principal {
    if key == 0 { Principal::anonymous() } else { Principal::user(key) }
}

/// The answer to a list, and the statements that it took.
fn list(
    connection: &mut SqliteConnection,
    principal: &Principal,
    filter: &[(&str, Json)],
    options: &[(&str, Json)],
) -> Result<(Json, usize), realtime_core::Error> {
    let tables = [Table::of::<Shelf>(), Table::of::<Keeper>(), Table::of::<Book>()];
    let filter = filter.iter().map(|(key, json)| ((*key).to_owned(), RawArgument::Json(json.clone())));
    let options: Vec<_> = options.iter().map(|(name, json)| ((*name).to_owned(), json.clone())).collect();
    let view = Book::DESCRIPTOR.seen_by(principal);
    let query = ListQuery::parse(view.clone(), filter, &options, &Limits::default())?;
    let request = Request::new(ResourceId(2), Operation::List(Box::new(query)));
    let context = Context { principal, now: time("2026-02-03T04:05:06Z") };
    let mut transaction = Counted(Direct(connection), 0);
    match now(action::run(&mut transaction, &tables, &request, &context)) {
        Ok(Outcome::Page(page)) => {
            let text = page_object(view, &page, [None, None], None);
            Ok((serde_json::from_str(&text).unwrap(), transaction.1))
        }
        Err(Refusal::Refused(error)) => Err(error),
        _ => panic!("a list is answered with a page"),
    }
}

fn ids(answer: &Json) -> Vec<i64> {
    answer["results"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

fn sees(shelf: &Shelf, user: i32) -> bool {
    shelf.label.starts_with('p') || (user != 0 && shelf.owner_id == user)
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["p", "q", "A", "ß", "%", "_", " ", ","]), 0..5)
        .prop_map(|parts| parts.concat())
}

fn shelves(count: i32) -> impl Strategy<Value = Vec<Shelf>> {
    let of = move |id: i32| {
        (text(), 1..3, prop::option::of(text())).prop_map(move |(label, owner_id, secret)| Shelf {
            id,
            label,
            owner_id,
            secret,
        })
    };
    (0..count).map(of).collect::<Vec<_>>()
}

fn books(count: i32, shelves: i32) -> impl Strategy<Value = Vec<Book>> {
    let of = move |id: i32| {
        // One shelf more than there are: a key that leads nowhere.
        (prop::option::of(0..=shelves), 0..shelves, text(), prop::option::of(text())).prop_map(
            move |(shelf_id, keeper_id, title, remark)| Book { id, shelf_id, keeper_id, title, remark },
        )
    };
    (0..count).map(of).collect::<Vec<_>>()
}

fn shelf_of<'s>(shelves: &'s [Shelf], book: &Book) -> Option<&'s Shelf> {
    book.shelf_id.and_then(|id| shelves.iter().find(|shelf| shelf.id == id))
}

proptest! {
    #![proptest_config(random::config(300))]

    #[test]
    fn a_filter_across_a_relation_selects_by_the_rows_that_the_caller_sees(
        shelves in shelves(4), books in books(12, 4), user_key in 0..3, needle in text(), negated: bool,
        by_owner in 1..3, own: bool,
    ) {
        let mut connection = library(&shelves, &books);
        let key = if negated { "not__shelf__label__startswith" } else { "shelf__label__startswith" };
        let mut filter = vec![(key, json!(needle)), ("shelf__owner_id", json!(by_owner))];
        if own {
            filter.push(("id__lt", json!(8)));
        }
        let expected: Vec<i64> = books
            .iter()
            .filter(|book| {
                let shelf = shelf_of(&shelves, book).filter(|shelf| sees(shelf, user_key));
                let begins = shelf.is_some_and(|shelf| shelf.label.starts_with(&needle));
                begins != negated
                    && shelf.is_some_and(|shelf| shelf.owner_id == by_owner)
                    && (!own || book.id < 8)
            })
            .map(|book| i64::from(book.id))
            .collect();
        let (answer, _) = list(&mut connection, &user(user_key), &filter, &[]).unwrap();
        prop_assert_eq!(ids(&answer), expected.clone());
        prop_assert_eq!(&answer["count"], &json!(expected.len()));
    }

    #[test]
    fn what_is_expanded_is_what_the_caller_would_be_shown(
        shelves in shelves(4), books in books(8, 4), user_key in 0..3,
    ) {
        let mut connection = library(&shelves, &books);
        let (answer, statements) =
            list(&mut connection, &user(user_key), &[], &[("expand", json!("shelf")), ("count", json!(false))]).unwrap();
        prop_assert!(statements <= 2, "one for the page and one for the relation, not {}", statements);
        for (book, row) in books.iter().zip(answer["results"].as_array().unwrap()) {
            let expected = shelf_of(&shelves, book).filter(|shelf| sees(shelf, user_key)).map(|shelf| {
                let mut object = json!({"id": shelf.id, "label": shelf.label, "owner_id": shelf.owner_id});
                if user_key == 1 {
                    object["secret"] = json!(shelf.secret);
                }
                object
            });
            prop_assert_eq!(&row["shelf"], &json!(expected));
            prop_assert_eq!(&row["shelf_id"], &json!(book.shelf_id));
        }
    }

    #[test]
    fn a_search_finds_each_of_its_terms_in_some_field(books in books(10, 1), terms in prop::collection::vec(text(), 0..3)) {
        let mut connection = library(&[], &books);
        let search = terms.join(" ");
        let fold = |text: &str| text.to_lowercase();
        let words: Vec<&str> = search.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let expected: Vec<i64> = books
            .iter()
            .filter(|book| {
                words.iter().all(|word| {
                    fold(&book.title).contains(&fold(word))
                        || book.remark.as_deref().is_some_and(|remark| fold(remark).contains(&fold(word)))
                })
            })
            .map(|book| i64::from(book.id))
            .collect();
        let (answer, _) = list(&mut connection, &user(0), &[], &[("search", json!(search))]).unwrap();
        prop_assert_eq!(ids(&answer), expected);
    }

    #[test]
    fn pages_by_number_are_those_of_the_whole_list(books in books(12, 1), size in 1..6_usize, page in 1..5_usize) {
        let mut connection = library(&[], &books);
        let order = ("ordering", json!("-title"));
        let (whole, _) = list(&mut connection, &user(0), &[], std::slice::from_ref(&order)).unwrap();
        let options = [order, ("page", json!(page)), ("page_size", json!(size))];
        let (answer, _) = list(&mut connection, &user(0), &[], &options).unwrap();
        let whole = ids(&whole);
        let expected: Vec<i64> = whole.iter().copied().skip((page - 1) * size).take(size).collect();
        prop_assert_eq!(ids(&answer), expected);
        prop_assert_eq!(&answer["count"], 12);
    }
}

#[test]
fn nothing_is_told_across_a_relation_that_may_not_be_read() {
    let shelf = |id, label: &str| Shelf { id, label: label.into(), owner_id: 1, secret: Some("s".into()) };
    let book = |id, shelf_id, keeper_id| Book { id, shelf_id, keeper_id, title: "t".into(), remark: None };
    let mut connection =
        library(&[shelf(1, "p"), shelf(2, "x")], &[book(1, Some(1), 1), book(2, Some(2), 2)]);
    let mut refused = |user_key, key: &str, value: Json| {
        let error = list(&mut connection, &user(user_key), &[(key, value)], &[]).expect_err("it is refused");
        format!("{} {error} {}", error.status(), json!(error.errors()))
    };
    assert!(refused(0, "keeper__label", json!("p")).starts_with("401 "), "keepers are not for everybody");
    let hidden = refused(2, "shelf__secret", json!("s"));
    let unknown = refused(2, "shelf__sacred", json!("s"));
    assert_eq!(hidden, unknown.replace("sacred", "secret"), "a hidden field is no field");
    assert!(hidden.starts_with("400 unknown_field") && hidden.contains("shelf__secret"), "{hidden}");
    for (key, value, code) in [
        ("shelf__label__what", json!("x"), "unknown_lookup"),
        ("shelf__owner_id", json!("x"), "validation_error"),
        ("not__shelf__what", json!("x"), "unknown_field"),
        ("shelf__", json!("x"), "unknown_field"),
        ("shelf", json!(1), "unknown_field"),
        ("shelf__owner__label", json!("x"), "unknown_field"),
    ] {
        let refused = refused(1, key, value);
        assert!(refused.starts_with(&format!("400 {code}")), "{key}: {refused}");
    }
    let mut ask = |user_key, name: &'static str, value: Json| {
        list(&mut connection, &user(user_key), &[], &[(name, value)])
    };
    assert!(ids(&ask(1, "expand", json!("keeper")).unwrap().0).len() == 2);
    let (anonymous, _) = ask(0, "expand", json!(["keeper", "shelf"])).unwrap();
    assert_eq!(anonymous["results"][0]["keeper"], Json::Null, "they are not for everybody");
    assert_eq!(anonymous["results"][0]["shelf"]["label"], "p");
    assert_eq!(anonymous["results"][1]["shelf"], Json::Null);
    assert_eq!(
        ask(1, "shelf", json!(1)).unwrap().0["count"],
        2,
        "an option that there is not is the transport's to refuse"
    );
    for (name, value) in [
        ("expand", json!("what")),
        ("expand", json!(5)),
        ("fields", json!("what")),
        ("fields", json!([5])),
        ("search", json!(5)),
        ("page", json!(0)),
        ("page", json!(u64::MAX)),
        ("page_size", json!(1001)),
        ("page_size", json!(0)),
    ] {
        assert_eq!(ask(1, name, value.clone()).expect_err("refused").status(), 400, "{name} {value}");
    }
    let (narrow, _) = ask(1, "fields", json!("title")).unwrap();
    assert_eq!(narrow["results"][0], json!({"id": 1, "title": "t"}));
    let (narrow, _) = ask(1, "fields", json!([])).unwrap();
    assert_eq!(narrow["results"][0], json!({"id": 1}));
}

#[test]
fn a_subscription_across_a_relation_is_refused_and_says_what_to_do() {
    for key in ["shelf__label__startswith", "not__shelf__label"] {
        let filter = [(key.to_owned(), RawArgument::Json(json!("p")))];
        let asked = Asked::parse(
            (ResourceId(2), Book::DESCRIPTOR),
            &Principal::anonymous(),
            None,
            filter,
            &[],
            &Limits::default(),
        );
        let error = asked.expect_err("it cannot be followed");
        assert_eq!((error.status(), error.code().name()), (400, "unknown_lookup"));
        assert!(error.errors()[key][0].contains("shelf_id__in"), "{:?}", error.errors());
    }
}

#[test]
fn limits_hold_for_searches_and_filters_across_relations() {
    let mut connection = library(&[], &[]);
    let mut search = |text: String| list(&mut connection, &user(0), &[], &[("search", json!(text))]);
    assert!(search("x ".repeat(16)).is_ok());
    assert_eq!(search("x ".repeat(17)).expect_err("too many terms").status(), 400);
    assert!(search("x".repeat(256)).is_ok());
    assert_eq!(search("x".repeat(257)).expect_err("a long term").status(), 400);
    assert_eq!(search("a\0b".to_owned()).unwrap().0["count"], 0);
    for (count, is_too_many) in [(31, false), (32, false), (33, true)] {
        let many = vec![("shelf__label", json!("p")); count];
        match list(&mut connection, &user(0), &many, &[]) {
            Ok(_) => assert!(!is_too_many, "{count}"),
            Err(error) => {
                assert!(is_too_many && json!(error.errors()).to_string().contains("filter_predicates"));
            }
        }
    }
    // Wherever they stand, and whichever of them is looked at first.
    let regexes = [
        "shelf__label__regex",
        "title__regex",
        "not__shelf__label__iregex",
        "remark__iregex",
        "not__title__regex",
    ];
    for turn in 0..regexes.len() {
        let mut entries = regexes.map(|key| (key, json!("x")));
        entries.rotate_left(turn);
        assert!(list(&mut connection, &user(0), &entries[..4], &[]).is_ok(), "{entries:?}");
        let error = list(&mut connection, &user(0), &entries, &[]).expect_err("one more");
        assert!(json!(error.errors()).to_string().contains("(limit filter_regexes)"), "{:?}", error.errors());
    }
}
