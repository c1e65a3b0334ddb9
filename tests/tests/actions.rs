//! Actions of the application's own, over REST and the socket, on both databases.

use std::sync::Arc;

use diesel::prelude::*;
use realtime_actix::policy::{
    AllowAny, Ask, IsAuthenticated, IsOwner, Permission as _, Policy, ReadOnly, Rule as _,
};
use realtime_actix::{
    Action, Code, Connect, Context, Draft, Error, Principal, Realtime, RealtimeResource, Rows, Store,
    actions, policy,
};

use realtime_tests::{Account, Server, Setup, Socket, people, start_error};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

mod schema {
    diesel::table! {
        topics (id) { id -> Integer, title -> Text, }
    }

    diesel::table! {
        comments (id) { id -> Integer, topic_id -> Integer, body -> Text, }
    }

    diesel::table! {
        samples (id) {
            id -> Integer,
            name -> Text,
            shelf -> Nullable<Integer>,
            place -> Nullable<Integer>,
            code -> Text,
        }
    }

    diesel::table! {
        labels (name) { name -> Text, weight -> BigInt, }
    }
}

use schema::{comments, labels, samples, topics};

/// A sample is of the user whose number its shelf has. Others do not see what is coded "secret".
#[derive(RealtimeResource)]
#[diesel(table_name = samples)]
#[realtime(lookups(all), policy, actions)]
struct Sample {
    #[realtime(read_only)]
    id: i32,
    name: String,
    shelf: Option<i32>,
    place: Option<i32>,
    #[realtime(default = "none")]
    code: String,
}

impl Policy for Sample {
    fn permission(ask: &Ask<'_, Self>) -> policy::Verdict {
        ReadOnly
            .or(IsAuthenticated.on(&[Action::Create, Action::Custom("take-stock"), Action::Custom("burst")]))
            .or(IsOwner(samples::shelf).on(&[Action::Custom("move"), Action::Custom("forget")]))
            .decide(ask)
    }

    fn visible(principal: &Principal) -> Rows<Self> {
        let open = ["none", "moved"].map(|code| Rows::equal(samples::code, code.to_owned()));
        let [none, moved] = open;
        let open = none.or(moved);
        match principal.user_key::<i32>() {
            Ok(user) => open.or(Rows::equal(samples::shelf, Some(user))),
            Err(_) => open,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Care {
    Slow,
    Fast,
}

#[derive(Deserialize)]
struct Move {
    place: i32,
    code: Option<String>,
    #[serde(default = "slow")]
    care: Care,
}

fn slow() -> Care {
    Care::Slow
}

#[derive(Serialize)]
struct Counted {
    count: usize,
}

#[derive(Deserialize)]
struct ShelveAll {
    from: i32,
    to: i32,
}

#[actions]
impl Sample {
    /// Moves a sample.
    #[action(name = "move")]
    async fn put(&self, to: Move, _: &Context<'_>, store: &mut Store<'_>) -> Result<Arc<Self>, Error> {
        let mut draft = Draft::of::<Self>();
        draft.set("place", Some(to.place));
        draft.set("code", to.code.unwrap_or_else(|| "moved".to_owned()));
        let moved = store.update(self, &draft).await?;
        match to.care {
            Care::Slow => Ok(moved),
            Care::Fast => Err(Error::new(Code::Conflict, "It has broken.")),
        }
    }

    #[action]
    async fn forget(&self, _: &Context<'_>, store: &mut Store<'_>) -> Result<(), Error> {
        store.delete(self).await
    }

    #[action(throttle = "2/day")]
    async fn take_stock(context: &Context<'_>, store: &mut Store<'_>) -> Result<Vec<i32>, Error> {
        let user: i32 = context.user_key()?;
        let first = store.find::<Self>(1).await?;
        Ok(first.into_iter().map(|sample| sample.id).chain([user]).collect())
    }

    /// Puts all samples of a shelf into another one.
    ///
    /// In one statement.
    #[action(permission = Account::is_staff)]
    async fn shelve_all(to: ShelveAll, _: &Context<'_>, store: &mut Store<'_>) -> Result<Counted, Error> {
        let of_shelf = samples::table.filter(samples::shelf.eq(to.from));
        let count = store.execute(diesel::update(of_shelf).set(samples::shelf.eq(to.to))).await?;
        if to.to == 13 {
            return Err(Error::validation("to", "There is no such shelf."));
        }
        Ok(Counted { count })
    }

    #[action]
    async fn burst(_: &Context<'_>, _: &mut Store<'_>) -> Result<(), Error> {
        panic!("an action bursts");
    }
}

/// A label has its name as its key.
#[derive(RealtimeResource)]
#[diesel(table_name = labels, primary_key(name))]
#[realtime(stream = "tags", permission = AllowAny, actions)]
struct Tag {
    name: String,
    #[realtime(default = 0)]
    weight: i64,
}

#[actions]
impl Tag {
    #[action]
    async fn reset(_: &Context<'_>, store: &mut Store<'_>) -> Result<Counted, Error> {
        let reset = diesel::update(labels::table).set(labels::weight.eq(0));
        Ok(Counted { count: store.execute(reset).await? })
    }
}

async fn start() -> Server {
    let configure = |connect: Connect| connect.resource::<Sample>().resource::<Tag>().authenticator(people());
    let server = Setup::file().configure(configure).start().await;
    server
        .write(
            "INSERT INTO samples (id, name, shelf, place, code) VALUES \
             (1, 'one', 1, 1, 'none'), (2, 'two', 1, 2, 'none'), (3, 'three', 2, 3, 'none'), (4, 'four', 2, 4, 'secret')",
        )
        .await;
    server
}

/// What somebody is answered on one transport.
#[derive(Debug, PartialEq)]
struct Told {
    status: u64,
    /// The data, or the code of an error.
    says: Json,
    /// The fields of an error.
    errors: Json,
}

impl Told {
    fn of(status: u64, data: &Json, error: &Json) -> Self {
        let says = if status >= 400 { error["code"].clone() } else { data.clone() };
        Self { status, says, errors: error["errors"].clone() }
    }
}

async fn rest(server: &Server, who: &str, name: &str, pk: Option<&str>, payload: &Json) -> Told {
    let path = match pk {
        Some(pk) => format!("/api/samples/{pk}/{name}/"),
        None => format!("/api/samples/{name}/"),
    };
    let body = if payload.is_null() { String::new() } else { payload.to_string() };
    let bearer = format!("Bearer {who}");
    let mut headers = vec![];
    if !who.is_empty() {
        headers.push(("authorization", bearer.as_str()));
    }
    if !body.is_empty() {
        headers.push(("content-type", "application/json"));
    }
    let answer = server.http("POST", &path, &headers, body).await;
    Told::of(answer.status.into(), &answer.json, &answer.json)
}

async fn socket_of(server: &Server, who: &str) -> Socket {
    let mut socket = Socket::open(server).await;
    if !who.is_empty() {
        let reply = socket.request(json!({"action": "authenticate", "payload": {"token": who}})).await;
        assert_eq!(reply["status"], 200, "{reply}");
    }
    socket
}

async fn over_socket(server: &Server, who: &str, name: &str, pk: Option<&str>, payload: &Json) -> Told {
    let mut socket = socket_of(server, who).await;
    let address = pk.map_or_else(|| format!("samples/{name}/"), |pk| format!("samples/{name}/{pk}/"));
    let reply = socket.request(json!({"stream": address, "payload": payload})).await;
    Told::of(reply["status"].as_u64().expect("a status"), &reply["data"], &reply["error"])
}

/// Who, which action, which row, the arguments; status, code and fields of the error.
type Refused = (&'static str, &'static str, Option<&'static str>, Json, u64, &'static str, Json);

#[tokio::test]
async fn an_action_is_refused_alike_on_both_transports() {
    let server = start().await;
    let place = json!({"place": 9});
    let nothing = Json::Null;
    let required = "This field is required.";
    let cases: &[Refused] = &[
        // Who, before whether there is a row; whether there is one, before what he may; that, before the arguments.
        ("", "move", Some("1"), place.clone(), 401, "not_authenticated", nothing.clone()),
        ("", "move", Some("99"), json!({"x": 1}), 401, "not_authenticated", nothing.clone()),
        ("ann", "move", Some("99"), json!({"x": 1}), 404, "not_found", nothing.clone()),
        ("ann", "move", Some("x"), place.clone(), 404, "not_found", nothing.clone()),
        ("ann", "move", Some("4"), json!({"x": 1}), 404, "not_found", nothing.clone()),
        ("ann", "move", Some("3"), json!({"x": 1}), 403, "permission_denied", nothing.clone()),
        ("ann", "move", Some("1"), nothing.clone(), 400, "validation_error", json!({"place": [required]})),
        (
            "ann",
            "move",
            Some("1"),
            json!({"place": "9", "code": 1, "care": "none", "x": 1}),
            400,
            "validation_error",
            json!({
                "place": ["A valid integer is required."],
                "code": ["Not a valid string."],
                "care": ["\"none\" is not a valid choice; the choices are slow, fast."],
                "x": ["Unknown field; the fields are place, code, care."],
            }),
        ),
        (
            "ann",
            "move",
            Some("1"),
            json!({"place": 0}),
            400,
            "validation_error",
            json!({"place": ["A check of the database refuses this value."]}),
        ),
        ("ann", "move", Some("1"), json!({"place": 9, "care": "fast"}), 409, "conflict", json!({})),
        ("", "shelve-all", None, json!({"from": 1, "to": 2}), 401, "not_authenticated", nothing.clone()),
        ("bob", "shelve-all", None, json!({"x": 1}), 403, "permission_denied", nothing.clone()),
        (
            "staff",
            "shelve-all",
            None,
            json!({"to": 1.5}),
            400,
            "validation_error",
            json!({"from": [required], "to": ["A valid integer is required."]}),
        ),
        (
            "staff",
            "shelve-all",
            None,
            json!({"from": 1, "to": 13}),
            400,
            "validation_error",
            json!({"to": ["There is no such shelf."]}),
        ),
        ("ann", "burst", None, nothing.clone(), 500, "internal", nothing.clone()),
        (
            "ann",
            "forget",
            Some("1"),
            json!({"x": 1}),
            400,
            "validation_error",
            json!({"x": ["Unknown field; there are none."]}),
        ),
        ("staff", "forget", Some("1"), nothing.clone(), 403, "permission_denied", nothing.clone()),
    ];
    let mut follower = Socket::subscribed(&server, "samples", json!({})).await;
    for (who, name, pk, payload, status, code, errors) in cases {
        for told in [
            rest(&server, who, name, *pk, payload).await,
            over_socket(&server, who, name, *pk, payload).await,
        ] {
            assert_eq!(
                (told.status, &told.says),
                (*status, &json!(code)),
                "{who} {name} {pk:?} {payload}: {told:?}"
            );
            let told = if told.errors.is_null() { json!({}) } else { told.errors };
            let errors = if errors.is_null() { json!({}) } else { errors.clone() };
            assert_eq!(told, errors, "{who} {name} {pk:?} {payload}");
        }
    }
    // What was refused has written nothing.
    follower.assert_silent(&server).await;

    // The forms of the socket.
    let mut socket = socket_of(&server, "ann").await;
    for (message, status) in [
        (json!({"stream": "samples/move", "payload": {"place": 1}}), 400),
        (json!({"stream": "samples/take-stock/1"}), 400),
        (json!({"stream": "samples/take-stock", "limit": 1}), 400),
        (json!({"stream": "samples/moves/1"}), 405),
        (json!({"stream": "nothing/move/1"}), 404),
    ] {
        let reply = socket.request(message.clone()).await;
        assert_eq!(reply["status"], status, "{message} {reply}");
        if status == 405 {
            let detail = reply["error"]["detail"].as_str().unwrap_or_default();
            assert!(detail.contains("move, forget, take-stock, shelve-all"), "{detail}");
        }
    }
}

#[tokio::test]
async fn an_action_on_a_row_answers_with_the_object_and_is_told_to_everybody() {
    let server = start().await;
    let mut everything = Socket::subscribed(&server, "samples", json!({})).await;
    let mut high = Socket::subscribed(&server, "samples", json!({"place__gte": 5})).await;
    let mut socket = socket_of(&server, "ann").await;
    let (subscription, _) = socket.subscribe("samples", json!({"payload": {"place": 1}})).await;

    let moved = rest(&server, "ann", "move", Some("1"), &json!({"place": 8})).await;
    let object = json!({"id": 1, "name": "one", "shelf": 1, "place": 8, "code": "moved"});
    assert_eq!((moved.status, &moved.says), (200, &object));
    assert_eq!(everything.next_event().await["diff"], json!({"place": 8, "code": "moved"}));
    assert_eq!(high.next_event().await["data"], object);
    assert_eq!(socket.next_event().await["action"], "delete");

    // The reply comes before the event that the action causes.
    let id =
        socket.ask(json!({"stream": "samples", "action": "move", "pk": 1, "payload": {"place": 1}})).await;
    let (first, second) = (socket.receive_json().await, socket.receive_json().await);
    assert_eq!((&first["type"], &first["request_id"], &first["status"]), (&json!("reply"), &id, &json!(200)));
    assert_eq!(first["data"]["place"], 1);
    assert_eq!((&second["type"], &second["subscription"]), (&json!("event"), &json!(subscription)));
    assert_eq!(everything.next_event().await["diff"], json!({"place": 1}));
    assert_eq!(high.next_event().await["action"], "delete");

    // What he has written himself he is shown, also where others no longer see it.
    let hidden = over_socket(&server, "ann", "move", Some("2"), &json!({"place": 2, "code": "secret"})).await;
    assert_eq!((hidden.status, &hidden.says["code"]), (200, &json!("secret")));
    assert_eq!(everything.next_event().await["action"], "delete");

    // Nothing to say is 204.
    for (who, pk) in [("bob", "3"), ("ann", "1")] {
        let forgotten = match who {
            "bob" => rest(&server, who, "forget", Some(pk), &Json::Null).await,
            _ => over_socket(&server, who, "forget", Some(pk), &json!({})).await,
        };
        assert_eq!((forgotten.status, forgotten.says), (204, Json::Null));
        assert_eq!(everything.next_event().await["pk"].to_string(), pk);
    }
    everything.assert_silent(&server).await;
}

#[tokio::test]
async fn one_statement_for_many_rows_is_told_row_by_row_to_those_who_follow_them() {
    let server = start().await;
    let mut everything = Socket::subscribed(&server, "samples", json!({})).await;
    let mut of_shelf = Socket::subscribed(&server, "samples", json!({"shelf": 1})).await;
    let mut of_other = Socket::subscribed(&server, "samples", json!({"shelf": 7, "place__gt": 1})).await;
    let mut of_bob = socket_of(&server, "bob").await;
    of_bob.subscribe("samples", json!({"payload": {"shelf": 2}})).await;
    let shelved = rest(&server, "staff", "shelve-all", None, &json!({"from": 1, "to": 7})).await;
    assert_eq!((shelved.status, shelved.says), (200, json!({"count": 2})));
    let told = |events: &[Json]| {
        let mut told: Vec<String> = events
            .iter()
            .map(|event| format!("{} {}", event["action"], event["pk"]).replace('"', ""))
            .collect();
        told.sort();
        told
    };
    assert_eq!(told(&everything.events(&server).await), ["update 1", "update 2"]);
    assert_eq!(told(&of_shelf.events(&server).await), ["delete 1", "delete 2"]);
    assert_eq!(told(&of_other.events(&server).await), ["create 2"]);
    of_bob.assert_silent(&server).await;

    // What not everybody sees is told to whom it concerns.
    let shelved = over_socket(&server, "staff", "shelve-all", None, &json!({"from": 2, "to": 7})).await;
    assert_eq!((shelved.status, shelved.says), (200, json!({"count": 2})));
    assert_eq!(told(&everything.events(&server).await), ["update 3"]);
    assert_eq!(told(&of_bob.events(&server).await), ["delete 3", "delete 4"]);
    of_shelf.assert_silent(&server).await;
}

#[tokio::test]
async fn an_action_has_the_manners_of_http() {
    let server = start().await;
    let ann = ("authorization", "Bearer ann");
    let type_json = ("content-type", "application/json");
    for (path, method) in [
        ("/api/samples/1/move/", "GET"),
        ("/api/samples/1/move", "PUT"),
        ("/api/samples/1/move", "DELETE"),
        ("/api/samples/shelve-all", "GET"),
        ("/api/samples/shelve%2Dall/", "PATCH"),
        ("/api/samples/shelve-all/", "HEAD"),
    ] {
        let answer = server.http(method, path, &[ann], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "POST, OPTIONS"), "{method} {path}");
    }
    // An action on a row is none on the collection, and the other way round.
    for path in ["/api/samples/move/", "/api/samples/1/shelve-all/", "/api/samples/1/moves/"] {
        let answer = server.http("POST", path, &[ann, type_json], "{}").await;
        assert!([404, 405].contains(&answer.status), "{path}: {}", answer.text);
    }
    for (headers, body, status) in [
        (vec![ann, ("content-type", "text/plain")], "place=1", 415),
        (vec![ann, type_json], "{", 400),
        (vec![ann, type_json], "[]", 400),
        (vec![ann, ("accept", "text/html")], "", 406),
        (
            vec![ann, type_json, ("origin", "https://elsewhere.example"), ("cookie", "x=y")],
            r#"{"place": 3}"#,
            200,
        ),
    ] {
        let answer = server.http("POST", "/api/samples/1/move/", &headers, body).await;
        assert_eq!(answer.status, status, "{headers:?} {body}: {}", answer.text);
    }

    // OPTIONS say what it takes, to those who may do it.
    let described = server.http("OPTIONS", "/api/samples/1/move/", &[ann], "").await;
    assert_eq!((described.status, described.header("allow")), (200, "POST, OPTIONS"));
    assert_eq!(
        (&described.json["name"], &described.json["description"]),
        (&json!("move"), &json!("Moves a sample."))
    );
    let taken = &described.json["actions"]["POST"];
    assert_eq!((&taken["place"]["type"], &taken["place"]["required"]), (&json!("integer"), &json!(true)));
    assert_eq!((&taken["care"]["type"], &taken["care"]["required"]), (&json!("choice"), &json!(false)));
    assert_eq!(taken["code"]["nullable"], true);
    for pk in [3, 4, 99] {
        let described = server.http("OPTIONS", &format!("/api/samples/{pk}/move/"), &[ann], "").await;
        assert_eq!((described.status, &described.json["actions"]), (200, &Json::Null), "{pk}");
    }
    assert_eq!(server.http("OPTIONS", "/api/samples/shelve-all/", &[ann], "").await.status, 403);
    assert_eq!(server.http("OPTIONS", "/api/samples/shelve-all/", &[], "").await.status, 401);

    // A state, and the same request once more.
    let read = server.http("GET", "/api/samples/1/", &[ann], "").await;
    let tag = read.header("etag").to_owned();
    let body = r#"{"place": 5}"#;
    let other =
        server.http("POST", "/api/samples/1/move/", &[ann, type_json, ("if-match", "\"x\"")], body).await;
    assert_eq!(other.status, 412, "{}", other.text);
    let once = [ann, type_json, ("if-match", tag.as_str()), ("idempotency-key", "k")];
    let first = server.http("POST", "/api/samples/1/move/", &once, body).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (200, ""), "{}", first.text);
    let again = server.http("POST", "/api/samples/1/move/", &once, body).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"), "{}", again.text);
    assert_eq!((&again.text, again.header("etag")), (&first.text, first.header("etag")));
    for path in ["/api/samples/2/move/", "/api/samples/"] {
        let refused = server.http("POST", path, &[ann, type_json, ("idempotency-key", "k")], body).await;
        assert_eq!(refused.status, 409, "{path}: {}", refused.text);
    }
    let forget = [ann, ("idempotency-key", "f")];
    for replayed in ["", "true"] {
        let answer = server.http("POST", "/api/samples/1/forget/", &forget, "").await;
        assert_eq!((answer.status, answer.header("idempotent-replayed")), (204, replayed), "{}", answer.text);
    }

    // How often, on both transports together.
    assert_eq!(rest(&server, "bob", "take-stock", None, &Json::Null).await.says, json!([2]));
    assert_eq!(over_socket(&server, "bob", "take-stock", None, &json!({})).await.says, json!([2]));
    assert_eq!(rest(&server, "bob", "take-stock", None, &Json::Null).await.status, 429);
    assert_eq!(over_socket(&server, "bob", "take-stock", None, &json!({})).await.status, 429);
    assert_eq!(over_socket(&server, "ann", "take-stock", None, &json!({})).await.status, 200);
}

#[tokio::test]
async fn the_name_of_an_action_wins_over_a_key_of_that_spelling() {
    let server = start().await;
    server.create("tags", json!({"name": "reset", "weight": 3})).await;
    server.create("tags", json!({"name": "other", "weight": 4})).await;
    assert_eq!(server.get("/api/tags/other/").await.status, 200);
    assert_eq!(server.get("/api/tags/reset/").await.status, 405);
    let reset = server.send("POST", "/api/tags/reset/", &Json::Null).await;
    assert_eq!((reset.status, reset.json), (200, json!({"count": 2})));
    let mut socket = Socket::open(&server).await;
    let reply = socket.request(json!({"stream": "tags/retrieve/reset"})).await;
    assert_eq!(reply["data"], json!({"name": "reset", "weight": 0}));
}

#[tokio::test]
async fn the_descriptions_have_the_actions() {
    let connect = Realtime::connect("sqlite::memory:").resource::<Sample>();
    let openapi: Json = serde_json::from_str(&connect.openapi("/api")).expect("JSON");
    let moves = &openapi["paths"]["/api/samples/{pk}/move/"]["post"];
    assert_eq!(
        (&moves["operationId"], &moves["summary"]),
        (&json!("samples.move"), &json!("Moves a sample"))
    );
    let body = &moves["requestBody"];
    assert_eq!(body["required"], true);
    let taken = &body["content"]["application/json"]["schema"];
    assert_eq!((&taken["required"], &taken["additionalProperties"]), (&json!(["place"]), &json!(false)));
    assert_eq!(taken["properties"]["care"]["enum"], json!(["slow", "fast"]));
    assert_eq!(
        moves["responses"]["200"]["content"]["application/json"]["schema"],
        json!({"$ref": "#/components/schemas/samples"})
    );
    assert!(moves["responses"]["404"].is_object());
    let all = &openapi["paths"]["/api/samples/shelve-all/"]["post"];
    assert!(all["responses"]["200"].is_object() && all["responses"]["404"].is_null());
    assert!(openapi["paths"]["/api/samples/{pk}/forget/"]["post"]["responses"]["204"].is_object());
    let asyncapi: Json = serde_json::from_str(&connect.asyncapi("/api")).expect("JSON");
    let message = &asyncapi["components"]["messages"]["samples.move"]["payload"];
    assert_eq!(message["required"], json!(["stream", "action", "pk", "payload"]));
    assert!(asyncapi["operations"]["samples.shelve-all"].is_object());
}

#[derive(RealtimeResource)]
#[diesel(table_name = topics)]
#[realtime(stream = "subjects", actions)]
struct Subject {
    id: i32,
    title: String,
}

#[actions]
impl Subject {
    #[action]
    async fn remarks(&self, _: &Context<'_>, _: &mut Store<'_>) -> Result<String, Error> {
        Ok(self.title.clone())
    }
}

#[derive(RealtimeResource)]
#[diesel(table_name = comments)]
#[realtime(stream = "remarks")]
struct Remark {
    id: i32,
    #[realtime(references = Subject, nested)]
    topic_id: i32,
    body: String,
}

#[tokio::test]
async fn an_action_and_a_nested_list_cannot_have_one_path() {
    let connect = Realtime::connect("sqlite::memory:").resource::<Subject>().resource::<Remark>();
    let error = start_error(connect).await;
    assert_eq!(
        error,
        "the action \"remarks\" of \"subjects\" has the path of the nested list of \"remarks\", \
         /subjects/{pk}/remarks/; name it otherwise"
    );
}
