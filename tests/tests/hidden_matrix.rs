//! Fields that are hidden from some, all of them from somebody: whoever sees less is shown what whoever sees everything is
//! shown, without them, over every transport, by every lookup and after every write.

use actix_web::http::Method;
use realtime_actix::policy::{AllowAny, Ask, Permission as _, Policy, Verdict};
use realtime_actix::testing::{Client, Socket, TestApp, Users};
use realtime_actix::types::UtcTimestamp;
use realtime_actix::{Fields, Principal, Realtime, RealtimeResource};
use serde_json::{Map, Value as Json, json};

use diesel::connection::SimpleConnection as _;

use tables::pieces;

mod tables {
    diesel::table! {
        pieces (id) {
            id -> BigInt,
            title -> Text,
            body -> Nullable<Text>,
            score -> Integer,
            rating -> Nullable<Double>,
            open -> Bool,
            made_at -> realtime_actix::types::sql::UtcTimestamp,
        }
    }
}

const SCHEMA: &str = "
CREATE TABLE pieces (
    id INTEGER PRIMARY KEY NOT NULL, title TEXT NOT NULL, body TEXT, score INTEGER NOT NULL, rating DOUBLE,
    open BOOLEAN NOT NULL, made_at TIMESTAMP NOT NULL
);
INSERT INTO pieces VALUES
    (1, 'zqtitleone', 'zqbodyone', 777000101, 777000201.5, TRUE, '2031-01-01 11:11:11.777301'),
    (2, 'zqtitletwo', NULL, 777000102, NULL, FALSE, '2032-02-02 12:12:12.777302'),
    (3, 'zqtitlethree', 'zqbodythree', 777000103, 777000203.5, TRUE, '2033-03-03 13:13:13.777303');";

// What is written as its documentation is shown to everybody.
/// A piece.
#[derive(RealtimeResource)]
#[diesel(table_name = pieces)]
#[realtime(
    stream = "pieces",
    subscription_field_mapping(named = "title__istartswith", at_least = "score__gte"),
    lookups(all),
    ordering(all),
    search(title, body),
    policy
)]
struct Piece {
    #[realtime(read_only)]
    id: i64,
    title: String,
    body: Option<String>,
    #[realtime(default = 0)]
    score: i32,
    rating: Option<f64>,
    #[realtime(default = true)]
    open: bool,
    #[realtime(default = UtcTimestamp(chrono::DateTime::UNIX_EPOCH))]
    made_at: UtcTimestamp,
}

/// The fields that can be hidden, and what stands in them: nobody is told who is not to see the field. What is true or
/// false is not told from anything else.
const FIELDS: [(&str, &str); 6] = [
    ("title", "zqtitle"),
    ("body", "zqbody"),
    ("score", "7770001"),
    ("rating", "7770002"),
    ("open", "\"open\""),
    ("made_at", "7773"),
];

/// Names like those, of the same length, that nothing has.
fn nothing_like(field: &str) -> String {
    format!("{}x", &field[..field.len() - 1])
}

/// Which of them are hidden, by their bits.
#[derive(Clone, Copy)]
struct Blind(u32);

impl Blind {
    fn hides(self, field: &str) -> bool {
        FIELDS.iter().position(|(name, _)| *name == field).is_some_and(|at| self.0 >> at & 1 == 1)
    }

    /// What is left of an object.
    fn face(self, object: &Json) -> Json {
        let members = object.as_object().expect("an object").iter();
        let shown = members.filter(|(name, _)| !self.hides(name));
        Json::Object(shown.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
    }

    fn faces(self, objects: &Json) -> Json {
        objects.as_array().expect("rows").iter().map(|row| self.face(row)).collect()
    }
}

impl Policy for Piece {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        AllowAny.decide(ask)
    }

    fn hidden(principal: &Principal) -> Fields<Self> {
        let blind = principal.claims::<Blind>().copied().unwrap_or(Blind(u32::MAX));
        let all = [
            Fields::of(pieces::title),
            Fields::of(pieces::body),
            Fields::of(pieces::score),
            Fields::of(pieces::rating),
            Fields::of(pieces::open),
            Fields::of(pieces::made_at),
        ];
        let hidden = FIELDS.iter().zip(all).filter(|((name, _), _)| blind.hides(name));
        hidden.fold(Fields::none(), |hidden, (_, field)| hidden.or(field))
    }
}

/// The first sees everything, the next one field less each, two see half of them each, and the last one none.
const BLIND: [u32; 10] = [0, 1, 2, 4, 8, 16, 32, 0b010101, 0b101010, 0b111111];

/// Somebody, and all that he has received.
struct Person {
    blind: Blind,
    client: Client,
    socket: Socket,
    received: String,
}

/// A status and what it was answered with.
type Said = (u64, Json);

impl Person {
    async fn rest(&mut self, method: Method, path: &str, body: Json) -> Said {
        let answer = self.client.send(method, path, body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        // Whole, but for the position of the feed.
        for (name, value) in answer.headers.iter().filter(|(name, _)| *name != "realtime-cursor") {
            self.received.push_str(&format!("{name}: {value:?}\n"));
        }
        self.received.push_str(&text);
        (answer.status.as_u16().into(), serde_json::from_str(&text).unwrap_or_default())
    }

    async fn say(&mut self, message: Json) -> Said {
        let reply = self.socket.request(message).await;
        self.received.push_str(&reply.to_string());
        let said = if reply["error"].is_null() { &reply["data"] } else { &reply["error"] };
        (reply["status"].as_u64().expect("a status"), said.clone())
    }

    /// A filter, with options beside it, over every transport that takes one.
    async fn ask(&mut self, query: &str, filter: Json, options: &Map<String, Json>) -> Vec<Said> {
        let mut list = json!({"stream": "pieces", "action": "list", "payload": filter});
        list.as_object_mut().expect("an object").extend(options.clone());
        let mut said = vec![
            self.rest(Method::GET, &format!("/api/pieces/?{query}"), Json::Null).await,
            self.say(list).await,
        ];
        if options.is_empty() {
            said.push(self.rest(Method::GET, &format!("/api/pieces/changes?{query}"), Json::Null).await);
            let subscribe =
                |action| json!({"stream": "pieces", "action": action, "payload": filter, "snapshot": true});
            let subscribed = self.say(subscribe("subscribe")).await;
            if subscribed.0 == 200 {
                let snapshot = self.socket.next_event().await;
                self.received.push_str(&snapshot.to_string());
                said.push((200, snapshot["data"].clone()));
                assert_eq!(
                    self.say(json!({"stream": "pieces", "action": "unsubscribe", "payload": filter})).await.0,
                    204
                );
            } else {
                said.push(subscribed);
            }
        }
        // Where it stands in the feed is no row's.
        for (_, said) in &mut said {
            if let Some(members) = said.as_object_mut() {
                members.remove("feed");
                members.remove("cursor");
            }
        }
        said
    }

    /// Nothing of what is hidden from him is in what he has received.
    #[track_caller]
    fn assert_nothing_leaked(&mut self, what: &str) {
        for (name, canary) in FIELDS.iter().filter(|(name, _)| self.blind.hides(name)) {
            assert!(!self.received.contains(canary), "{name} by {what}: {}", self.received);
        }
        self.received.clear();
    }
}

async fn people() -> Vec<Person> {
    let users = Users::of(|user| {
        let at = usize::try_from(user.key - 1).expect("an index");
        Principal::user(user.key).with(Blind(BLIND[at]))
    });
    let realtime = Realtime::connect("sqlite::memory:")
        .prepare(|connection| Ok(connection.batch_execute(SCHEMA)?))
        .resource::<Piece>()
        .authenticator(users.clone())
        .limits(realtime_actix::Limits::default().without_rates())
        .start()
        .await
        .expect("the service starts");
    let app = TestApp::of(&realtime, &users).await;
    let mut people = Vec::new();
    for blind in BLIND {
        let mut client = app.client();
        client.force_login(&users.user());
        let socket = client.connect("/api/ws").await;
        people.push(Person { blind: Blind(blind), client, socket, received: String::new() });
    }
    people
}

/// What whoever sees less must be answered where whoever sees everything was answered so.
fn less(blind: Blind, (status, said): &Said) -> Said {
    let mut said = said.clone();
    if said.is_array() {
        said = blind.faces(&said);
    } else if *status == 200 && said["results"].is_array() {
        said["results"] = blind.faces(&said["results"]);
    }
    (*status, said)
}

const LOOKUPS: &[&str] = &[
    "exact",
    "iexact",
    "contains",
    "icontains",
    "startswith",
    "istartswith",
    "endswith",
    "iendswith",
    "in",
    "gt",
    "gte",
    "lt",
    "lte",
    "range",
    "isnull",
    "regex",
    "iregex",
    "year",
    "month__gte",
    "day",
    "week_day",
    "quarter",
    "date",
    "hour__lt",
    "minute__in",
    "nonsense",
];

/// An argument that finds some of the rows, or that is not acceptable, the same for everybody.
fn argument(field: &str, lookup: &str) -> &'static str {
    match (field, lookup) {
        (_, "isnull") => "false",
        (_, "year") => "2032",
        (_, "month__gte" | "day" | "week_day" | "quarter" | "minute__in") => "2",
        (_, "hour__lt") => "13",
        ("made_at", "date") => "2032-02-02",
        ("title", "in" | "range") => "zqtitleone,zqtitletwo",
        ("title", _) => "zqtitleone",
        ("body", "in" | "range") => "zqbodyone,zqbodythree",
        ("body", _) => "zqbodyone",
        ("score", "in" | "range") => "777000101,777000102",
        ("score", _) => "777000102",
        ("rating", "in" | "range") => "777000201.5,777000203.5",
        ("rating", _) => "777000201.5",
        ("made_at", "in" | "range") => "2031-01-01,2032-12-31",
        ("made_at", _) => "2032-02-02T12:12:12.777302Z",
        (_, "in" | "range") => "true,true",
        _ => "true",
    }
}

#[actix_web::test]
async fn by_every_lookup_of_every_field_the_same_is_shown_without_what_is_hidden() {
    let mut people = people().await;
    let mut cells = 0;
    for (field, _) in FIELDS {
        for lookup in LOOKUPS {
            for not in ["", "not__"] {
                let argument = argument(field, lookup);
                let as_json = |name: &str| {
                    let list: Vec<&str> = argument.split(',').collect();
                    let is_list = matches!(*lookup, "in" | "range" | "minute__in");
                    json!({format!("{not}{name}__{lookup}"): if is_list { json!(list) } else { json!(argument) }})
                };
                let as_query = |name: &str| format!("{not}{name}__{lookup}={argument}");
                let nobodys = nothing_like(field);
                let options = Map::new();
                let all = people[0].ask(&as_query(field), as_json(field), &options).await;
                for person in &mut people[1..] {
                    let what = format!("{not}{field}__{lookup} by {:b}", person.blind.0);
                    let said = person.ask(&as_query(field), as_json(field), &options).await;
                    let expected: Vec<Said> = if person.blind.hides(field) {
                        let nothing = person.ask(&as_query(&nobodys), as_json(&nobodys), &options).await;
                        assert!(nothing.iter().all(|(status, _)| *status == 400), "{what}");
                        let with_its_name = |(status, said): Said| {
                            let text = said.to_string().replace(&nobodys, field);
                            (status, serde_json::from_str(&text).expect("JSON"))
                        };
                        nothing.into_iter().map(with_its_name).collect()
                    } else {
                        all.iter().map(|said| less(person.blind, said)).collect()
                    };
                    assert_eq!(said, expected, "{what}");
                    if person.blind.hides(field) {
                        // Its name is what he has said himself.
                        person.received = person.received.replace(&format!("\"{field}\""), "");
                    }
                    person.assert_nothing_leaked(&what);
                    cells += 3 * (FIELDS.len() + 1) * said.len();
                }
            }
        }
    }
    assert!(cells > 50_000, "{cells}");
}

#[actix_web::test]
async fn orders_searches_and_aliases_are_those_of_what_is_shown() {
    let mut people = people().await;
    for (query, named) in [
        ("ordering=-title", "title"),
        ("ordering=body", "body"),
        ("ordering=-score", "score"),
        ("ordering=rating", "rating"),
        ("ordering=open", "open"),
        ("ordering=-made_at", "made_at"),
        ("fields=title", "title"),
        ("fields=score", "score"),
    ] {
        let (option, value) = query.split_once('=').expect("an option");
        let options = |value: &str| Map::from_iter([(option.to_owned(), json!(value))]);
        let all = people[0].ask(query, json!({}), &options(value)).await;
        for person in &mut people[1..] {
            let said = person.ask(query, json!({}), &options(value)).await;
            if person.blind.hides(named) {
                let nobodys = value.replace(named, &nothing_like(named));
                let nothing = person.ask(&format!("{option}={nobodys}"), json!({}), &options(&nobodys)).await;
                for (said, nothing) in said.iter().zip(&nothing) {
                    let as_if_named = nothing.1.to_string().replace(&nothing_like(named), named);
                    assert_eq!((said.0, said.1.to_string()), (400, as_if_named));
                }
                person.received = person.received.replace(&format!("\"{named}\""), "");
            } else {
                assert_eq!(
                    said,
                    all.iter().map(|said| less(person.blind, said)).collect::<Vec<_>>(),
                    "{query}"
                );
            }
            person.assert_nothing_leaked(query);
        }
    }
    // A page's cursor has the values by which it is ordered in it.
    for person in &mut people {
        let mut path = "/api/pieces/?limit=1".to_owned();
        for _ in 0..3 {
            let (status, page) = person.rest(Method::GET, &path, Json::Null).await;
            assert_eq!((status, page["count"].as_u64()), (200, Some(3)));
            path = page["next"].as_str().unwrap_or("/api/pieces/?limit=1&offset=2").to_owned();
        }
        person.assert_nothing_leaked("pages");
        for (alias, value, of) in [("named", "ZQTITLET", "title"), ("at_least", "777000102", "score")] {
            let (status, page) =
                person.rest(Method::GET, &format!("/api/pieces/?{alias}={value}"), Json::Null).await;
            let expected = if person.blind.hides(of) { (400, None) } else { (200, Some(2)) };
            assert_eq!((status, page["count"].as_u64()), expected, "{alias} by {:b}", person.blind.0);
        }
        for (term, of) in [("zqtitlet", "title"), ("zqbodyo", "body")] {
            let (status, page) =
                person.rest(Method::GET, &format!("/api/pieces/?search={term}"), Json::Null).await;
            let found = if of == "title" { 2 } else { 1 };
            let expected =
                match (person.blind.hides("title") && person.blind.hides("body"), person.blind.hides(of)) {
                    (true, _) => (400, None),
                    (_, true) => (200, Some(0)),
                    (_, false) => (200, Some(found)),
                };
            assert_eq!((status, page["count"].as_u64()), expected, "{term} by {:b}", person.blind.0);
        }
        let (status, described) = person.rest(Method::OPTIONS, "/api/pieces/1/", Json::Null).await;
        let named = described["actions"]["PUT"].as_object().expect("fields");
        let shown = FIELDS.iter().filter(|(name, _)| named.contains_key(*name)).count();
        assert_eq!((status, shown), (200, FIELDS.len() - person.blind.0.count_ones() as usize));
    }
}

#[actix_web::test]
async fn after_every_write_the_same_is_told_without_what_is_hidden() {
    let mut people = people().await;
    let mut since = Vec::new();
    for person in &mut people {
        person.socket.subscribe("pieces", json!({})).await;
        let reply =
            person.socket.request(json!({"stream": "pieces", "action": "subscribe", "form": "full"})).await;
        assert_eq!(reply["status"], 200);
        let (_, polled) = person.rest(Method::GET, "/api/pieces/changes", Json::Null).await;
        since.push(polled["cursor"].as_str().expect("a cursor").to_owned());
    }
    // Whoever sees everything writes.
    for (method, path, body) in [
        (Method::PATCH, "/api/pieces/1/", json!({"title": "zqtitlefour"})),
        (Method::PATCH, "/api/pieces/1/", json!({"body": "zqbodyfour", "score": 777_000_104})),
        (Method::PATCH, "/api/pieces/2/", json!({"rating": 777_000_205.5})),
        (Method::PATCH, "/api/pieces/2/", json!({"open": true, "made_at": "2034-04-04T14:14:14.777304Z"})),
        (Method::PUT, "/api/pieces/3/", json!({"title": "zqtitlefive", "body": null, "rating": null})),
        (
            Method::POST,
            "/api/pieces/",
            json!({"title": "zqtitlesix", "body": "zqbodysix", "rating": 777_000_206.5}),
        ),
        (Method::DELETE, "/api/pieces/2/", Json::Null),
    ] {
        let (status, written) = people[0].rest(method.clone(), path, body.clone()).await;
        assert!(matches!(status, 200 | 201 | 204), "{written}");
    }
    let mut told = Vec::new();
    for (person, since) in people.iter_mut().zip(since) {
        let events = person.socket.events().await;
        let (_, polled) =
            person.rest(Method::GET, &format!("/api/pieces/changes?wait=0&since={since}"), Json::Null).await;
        person.received.push_str(&json!(events).to_string());
        told.push((events, polled["events"].as_array().expect("events").clone()));
    }
    let of_all = told[0].clone();
    assert_eq!((of_all.0.len(), of_all.1.len() >= 3), (14, true));
    for (person, (events, polled)) in people.iter_mut().zip(told) {
        let blind = person.blind;
        let left = |event: &Json| {
            let mut said = json!({"action": event["action"], "pk": event["pk"]});
            for member in ["data", "diff"] {
                if event[member].is_object() {
                    said[member] = blind.face(&event[member]);
                }
            }
            said
        };
        let is_told = |said: &Json| said["diff"].as_object().is_none_or(|diff| !diff.is_empty());
        // The whole objects are told of the same changes as the differences.
        let of_diffs = |events: &[Json]| -> Vec<Json> {
            events
                .iter()
                .filter(|event| event["action"] != "update" || event["data"].is_null())
                .map(left)
                .filter(is_told)
                .collect()
        };
        assert_eq!(of_diffs(&events), of_diffs(&of_all.0), "{:b}", blind.0);
        let whole = |events: &[Json]| {
            events.iter().filter(|event| event["action"] == "update" && event["diff"].is_null()).count()
        };
        assert_eq!(whole(&events), events.iter().filter(|event| event["diff"].is_object()).count());
        // What a poll answers at first may be a part of it.
        let first: Vec<Json> = polled.iter().map(left).filter(is_told).collect();
        let expected: Vec<Json> = of_all.1.iter().map(left).filter(is_told).collect();
        assert_eq!(first[..], expected[..first.len()], "{:b}", blind.0);
        person.assert_nothing_leaked("events");
        // He writes what he sees, and cannot name what he does not.
        for (field, _) in FIELDS {
            let body = |name: &str| {
                json!({name: match field {
                    "title" | "body" => json!("plain"), "score" => json!(5), "rating" => json!(0.5), "open" => json!(false),
                    _ => json!("2035-05-05T15:15:15Z"),
                }})
            };
            let (status, said) = person.rest(Method::PATCH, "/api/pieces/4/", body(field)).await;
            if blind.hides(field) {
                let nobodys = nothing_like(field);
                let (expected, nothing) = person.rest(Method::PATCH, "/api/pieces/4/", body(&nobodys)).await;
                assert_eq!((status, expected), (400, 400));
                assert_eq!(said["errors"][field], nothing["errors"][nobodys.as_str()], "{said} {nothing}");
                person.received = person.received.replace(&format!("\"{field}\""), "");
            } else {
                assert_eq!(status, 200, "{said}");
                assert_eq!(said, blind.face(&said), "{:b}", blind.0);
            }
            person.assert_nothing_leaked(field);
        }
    }
}
