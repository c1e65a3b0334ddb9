//! The two sides share every line but the envelope: what is asked over REST of one server and over the socket of another
//! one, which has been asked the same before, is answered alike.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use diesel::prelude::*;
use realtime_actix::policy::AllowAny;
use realtime_actix::{Code, Connect, Context, Draft, Error, RealtimeResource, Store, actions};
use realtime_tests::{Answer, Server, Setup, Socket, at};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

mod schema {
    diesel::table! {
        samples (id) {
            id -> Integer,
            name -> Text,
            shelf -> Nullable<Integer>,
            code -> Text,
        }
    }
}

use schema::samples;

/// What has actions of the application's own: on a row and on none, with each kind of answer.
#[derive(RealtimeResource)]
#[diesel(table_name = samples)]
#[realtime(permission = AllowAny, lookups(all), actions)]
struct Sample {
    #[realtime(read_only)]
    id: i32,
    name: String,
    shelf: Option<i32>,
    #[realtime(default = "open")]
    code: String,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    because: String,
}

#[derive(Deserialize)]
struct OfShelf {
    shelf: i32,
}

#[derive(Serialize)]
struct Hidden {
    count: usize,
}

impl Sample {
    async fn coded(&self, code: &str, store: &mut Store<'_>) -> Result<Arc<Self>, Error> {
        let mut draft = Draft::of::<Self>();
        draft.set("code", code.to_owned());
        store.update(self, &draft).await
    }
}

#[actions]
impl Sample {
    #[action]
    async fn lock(&self, reason: Reason, _: &Context<'_>, store: &mut Store<'_>) -> Result<Arc<Self>, Error> {
        if reason.because == "First" {
            return Err(Error::validation("because", "That is no reason."));
        }
        self.coded("locked", store).await
    }

    #[action]
    async fn unlock(&self, _: &Context<'_>, store: &mut Store<'_>) -> Result<Arc<Self>, Error> {
        if self.code != "locked" {
            return Err(Error::new(Code::Conflict, "It is not locked."));
        }
        self.coded("open", store).await
    }

    #[action]
    async fn forget(&self, _: &Context<'_>, store: &mut Store<'_>) -> Result<(), Error> {
        store.delete(self).await
    }

    #[action]
    async fn bulk_hide(of: OfShelf, _: &Context<'_>, store: &mut Store<'_>) -> Result<Hidden, Error> {
        let of_shelf = samples::table.filter(samples::shelf.eq(of.shelf));
        let hide = diesel::update(of_shelf).set(samples::code.eq("hidden"));
        Ok(Hidden { count: store.execute(hide).await? })
    }
}

/// Requests that are made up, unless `DIFFERENTIAL_REQUESTS` says otherwise.
const REQUESTS: usize = 10_000;

/// Numbers that look random, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("less than the sides")
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

/// One request, before it has an envelope.
struct Made {
    stream: &'static str,
    action: &'static str,
    pk: Option<String>,
    /// Fields of a write, or a filter.
    payload: Map<String, Json>,
    options: Map<String, Json>,
}

const STREAMS: &[&str] = &["topics", "comments", "labels", "topic-feed", "samples", "nothing"];

/// Those of the application's own that `samples` has. What nothing has is a path that is not there over REST, and an
/// action that is not there over the socket.
const CUSTOM: &[&str] = &["lock", "lock", "unlock", "unlock", "forget", "bulk-hide", "bulk-hide"];

/// Those that are about a row.
const ON_ROW: &[&str] = &["lock", "unlock", "forget"];

const ACTIONS: &[&str] = &[
    "create", "create", "create", "update", "update", "replace", "delete", "retrieve", "list", "list", "list",
];

const FIELDS: &[&str] = &[
    "id",
    "title",
    "locked",
    "owner_id",
    "topic_id",
    "body",
    "score",
    "rating",
    "status",
    "edited_at",
    "name",
    "code",
    "shelf",
    "weight",
    "what",
];

const LOOKUPS: &[&str] = &[
    "",
    "",
    "__in",
    "__gt",
    "__lte",
    "__range",
    "__isnull",
    "__icontains",
    "__startswith",
    "__iexact",
    "__regex",
    "__year",
    "__what",
];

/// Values of every sort. None has a comma: in a query string it would part a list.
fn value(dice: &mut Dice) -> Json {
    match dice.roll(14) {
        0 => Json::Null,
        1 => json!(dice.chance(50)),
        2..=5 => json!(i64::try_from(dice.roll(8)).expect("small") - 2),
        6 => json!(99_999_999_999_i64),
        7 => json!(1.5),
        8 => json!(["published", "draft", "hidden", "what"][dice.roll(4)]),
        9 => json!([1, "x"]),
        10 => json!({"a": 1}),
        11 => json!(""),
        _ => json!(["x", "First", "ß x", "a%b", "2026-01-01", "💥", "line\nbreak"][dice.roll(7)]),
    }
}

fn text(dice: &mut Dice) -> String {
    match value(dice) {
        Json::String(text) => text,
        Json::Array(_) | Json::Object(_) => "1".to_owned(),
        other => other.to_string(),
    }
}

/// What a write says; mostly with what it needs, so that rows come to be.
fn payload(dice: &mut Dice, stream: &str) -> Map<String, Json> {
    let mut payload = Map::new();
    let needed: &[(&str, Json)] = match stream {
        "topics" => &[("title", json!("First"))],
        "labels" | "samples" => &[("name", json!("x"))],
        _ => &[("topic_id", json!(1)), ("body", json!("ß x"))],
    };
    for (name, usual) in needed {
        match dice.roll(8) {
            0 => {}
            1 => drop(payload.insert((*name).to_owned(), value(dice))),
            2 if *name == "name" || *name == "body" => {
                payload.insert((*name).to_owned(), json!(format!("n{}", dice.roll(40))));
            }
            _ => drop(payload.insert((*name).to_owned(), usual.clone())),
        }
    }
    for _ in 0..dice.roll(3) {
        payload.insert((*dice.one(FIELDS)).to_owned(), value(dice));
    }
    payload
}

/// A filter in the form that both sides take: values as text, lists of one value.
fn filter(dice: &mut Dice) -> Map<String, Json> {
    let mut filter = Map::new();
    for _ in 0..dice.roll(3) {
        let negation = if dice.chance(20) { "not__" } else { "" };
        let key = match dice.roll(6) {
            0 => (*dice.one(&["ids", "topic", "min_score", "text", "name"])).to_owned(),
            1 => format!("topic__{}{}", dice.one(FIELDS), dice.one(LOOKUPS)),
            _ => format!("{}{}", dice.one(FIELDS), dice.one(LOOKUPS)),
        };
        let value = text(dice);
        let lists = ["ids", "__in", "__range"].iter().any(|list| key.ends_with(list));
        // Over REST an empty text is the empty list.
        let value = if lists { json!([if value.is_empty() { "1" } else { &value }]) } else { json!(value) };
        filter.insert(format!("{negation}{key}"), value);
    }
    filter
}

fn options(dice: &mut Dice) -> Map<String, Json> {
    let mut options = Map::new();
    for _ in 0..dice.roll(4) {
        let (name, value) = match dice.roll(9) {
            0 => ("limit", json!(dice.roll(5).to_string())),
            1 => ("offset", json!(dice.roll(4).to_string())),
            2 => ("page", json!(dice.roll(4).to_string())),
            3 => ("page_size", json!(dice.roll(4).to_string())),
            4 => ("count", json!(["true", "false", "what"][dice.roll(3)])),
            5 => ("search", json!(text(dice))),
            6 => ("fields", json!(["body", "title", "name", "what", ""][dice.roll(5)])),
            7 => ("expand", json!(["topic", "what"][dice.roll(2)])),
            _ => ("ordering", json!(["-id", "score", "-rating", "pk", "title", "what"][dice.roll(6)])),
        };
        options.insert(name.to_owned(), value);
    }
    options
}

/// What an action of the application's own is given.
fn arguments(dice: &mut Dice, action: &str) -> Map<String, Json> {
    let mut arguments = Map::new();
    match action {
        "bulk-hide" if dice.chance(80) => drop(arguments.insert("shelf".to_owned(), json!(dice.roll(4)))),
        "lock" if dice.chance(40) => drop(arguments.insert("because".to_owned(), value(dice))),
        _ => {}
    }
    if dice.chance(20) {
        arguments.insert((*dice.one(&["shelf", "because", "what"])).to_owned(), value(dice));
    }
    arguments
}

fn made(dice: &mut Dice) -> Made {
    let stream = *dice.one(STREAMS);
    let is_custom = stream == "samples" && dice.chance(50);
    let action = *dice.one(if is_custom { CUSTOM } else { ACTIONS });
    let needs_key = ["update", "replace", "delete", "retrieve"].contains(&action) || ON_ROW.contains(&action);
    let key = match dice.roll(6) {
        0 => "what".to_owned(),
        1 => "x".to_owned(),
        2 => format!("n{}", dice.roll(40)),
        _ => (1 + dice.roll(20)).to_string(),
    };
    let (payload, options) = match action {
        "list" => (filter(dice), options(dice)),
        "delete" | "retrieve" => (Map::new(), Map::new()),
        action if is_custom => (arguments(dice, action), Map::new()),
        _ => (payload(dice, stream), Map::new()),
    };
    Made { stream, action, pk: needs_key.then_some(key), payload, options }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn over_rest(server: &Server, made: &Made) -> Answer {
    let path = match &made.pk {
        Some(pk) => format!("/api/{}/{}/", made.stream, encoded(pk)),
        None => format!("/api/{}/", made.stream),
    };
    if CUSTOM.contains(&made.action) {
        return server.send("POST", &format!("{path}{}/", made.action), &json!(made.payload)).await;
    }
    let method = match made.action {
        "create" => "POST",
        "update" => "PATCH",
        "replace" => "PUT",
        "delete" => "DELETE",
        _ => "GET",
    };
    if made.action == "list" {
        let pairs = made.payload.iter().chain(&made.options).map(|(name, value)| {
            let value = value.as_array().map_or(value, |values| &values[0]);
            format!("{}={}", encoded(name), encoded(value.as_str().expect("a text")))
        });
        return server.get(&format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))).await;
    }
    let body = if ["POST", "PATCH", "PUT"].contains(&method) { json!(made.payload) } else { Json::Null };
    server.send(method, &path, &body).await
}

async fn over_socket(socket: &mut Socket, made: &Made) -> Json {
    let mut message = made.options.clone();
    message.insert("stream".to_owned(), made.stream.into());
    message.insert("action".to_owned(), made.action.into());
    message.insert("payload".to_owned(), made.payload.clone().into());
    if let Some(pk) = &made.pk {
        message.insert("pk".to_owned(), pk.clone().into());
    }
    socket.request(message.into()).await
}

/// Without what each server has of its own: when it made a row, and where its feed is.
fn common(json: &Json) -> Json {
    match json {
        Json::Object(members) => members
            .iter()
            .filter(|(name, _)| {
                !["feed", "type", "title", "status"].contains(&name.as_str()) || !members.contains_key("code")
            })
            .filter(|(name, _)| *name != "feed")
            .map(|(name, value)| {
                let value = match (name.as_str(), value) {
                    ("created_at" | "edited_at", Json::String(_)) => json!("a time"),
                    // A link over REST, a cursor over the socket; each server signs its own, in the first 16 bytes.
                    ("next" | "previous", Json::String(link)) => {
                        let cursor = link.rsplit_once("cursor=").map_or(link.as_str(), |(_, cursor)| cursor);
                        json!(BASE64_URL_SAFE_NO_PAD.decode(cursor).map(|bytes| bytes[16..].to_vec()).ok())
                    }
                    (_, value) => common(value),
                };
                (name.clone(), value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Json::Array(items) => items.iter().map(common).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn rest_and_socket_answer_alike() {
    let requests = std::env::var("DIFFERENTIAL_REQUESTS").ok().and_then(|text| text.parse().ok());
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let start = || Setup::memory().configure(Connect::resource::<Sample>).start();
    let (rest, live) = (start().await, start().await);
    let mut socket = Socket::open(&live).await;
    let mut answers = std::collections::BTreeMap::<u64, usize>::new();
    let mut custom = std::collections::BTreeMap::<(&str, u16), usize>::new();
    for number in 0..requests.unwrap_or(REQUESTS) {
        let made = made(&mut dice);
        let (answer, reply) = (over_rest(&rest, &made).await, over_socket(&mut socket, &made).await);
        let what = || {
            let Made { stream, action, pk, payload, options } = &made;
            format!(
                "request {number}: {stream}/{action}/{pk:?} {payload:?} {options:?}\n{}\n{reply}",
                answer.text
            )
        };
        assert_eq!(json!(answer.status), reply["status"], "{}", what());
        let said = if answer.status < 400 { &reply["data"] } else { at(&reply, "error") };
        if answer.status == 405 {
            // One names the method, the other the action.
            assert_eq!(answer.json["code"], said["code"], "{}", what());
        } else {
            assert_eq!(common(&answer.json), common(said), "{}", what());
        }
        *answers.entry(u64::from(answer.status)).or_default() += 1;
        if made.stream == "samples" && CUSTOM.contains(&made.action) {
            *custom.entry((made.action, answer.status)).or_default() += 1;
        }
    }
    for (action, statuses) in [
        ("lock", &[200, 400, 404][..]),
        ("unlock", &[200, 400, 404, 409]),
        ("forget", &[204, 400, 404]),
        ("bulk-hide", &[200, 400]),
    ] {
        for status in statuses {
            assert!(
                custom.contains_key(&(action, *status)),
                "{action} is never answered {status}: {custom:?}"
            );
        }
    }
    for status in [200, 201, 204, 400, 404, 405, 409] {
        assert!(answers.contains_key(&status), "no answer {status}: {answers:?}");
    }
}
