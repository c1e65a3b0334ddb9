//! A panic in the application's code ends the request that met it, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};

use realtime_actix::auth::{Authenticator, Credentials, Identity};
use realtime_actix::policy::{Ask, Policy, Verdict};
use realtime_actix::{Action, Context, Draft, Error, Hooks, Principal, RealtimeResource, Rows};
use realtime_tests::{Handshake, Server, Setup, Socket, View};
use serde_json::{Value as Json, json};

mod schema {
    diesel::table! {
        labels (name) {
            name -> Text,
            weight -> BigInt,
        }
    }
}

/// Labels, by an application with mistakes.
#[derive(RealtimeResource)]
#[diesel(table_name = schema::labels, primary_key(name))]
#[realtime(stream = "fragile", lookups(all), policy, hooks)]
struct Fragile {
    name: String,
    #[realtime(default = 1, serialize_with = shown)]
    weight: i64,
}

fn shown(row: &Fragile) -> i64 {
    assert_ne!(row.weight, UNSPEAKABLE, "a mistake in what is shown");
    row.weight
}

/// The weight of a row that cannot be shown.
const UNSPEAKABLE: i64 = 13;

impl Hooks for Fragile {
    fn validate(draft: &mut Draft, _before: Option<&Self>, _context: &Context<'_>) -> Result<(), Error> {
        let name = draft.get("name").and_then(|name| name.to_json().as_str().map(str::to_owned));
        assert_ne!(name.as_deref(), Some("hook"), "a mistake in a hook");
        Ok(())
    }
}

/// Does the visibility panic? Of all tests here, which is why they are one.
static BLIND: AtomicBool = AtomicBool::new(false);

impl Policy for Fragile {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        match (ask.action, ask.row) {
            (Action::Delete, None) => panic!("a mistake in a rule without a row"),
            (Action::Update, Some(row)) if row.weight > 0 => panic!("a mistake in a rule with a row"),
            _ => Verdict::Yes,
        }
    }

    fn visible(_principal: &Principal) -> Rows<Self> {
        assert!(!BLIND.load(Ordering::Relaxed), "a mistake in a visibility");
        Rows::all()
    }
}

struct Careless;

impl Authenticator for Careless {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        match credentials {
            Credentials::Token(_) => panic!("a mistake in an authenticator"),
            Credentials::Request(_) => Ok(Identity::of(Principal::user(1))),
        }
    }

    async fn recheck(&self, _identity: &Identity) -> Result<Identity, Error> {
        panic!("a mistake in an authenticator's second look")
    }
}

async fn server() -> Server {
    let server =
        Setup::file().workers(1).configure(|connect| connect.resource::<Fragile>().authenticator(Careless));
    server.start().await
}

fn assert_fault(reply: &Json, request_id: &Json) {
    assert_eq!(&reply["request_id"], request_id, "{reply}");
    assert_eq!((&reply["status"], &reply["error"]["code"]), (&json!(500), &json!("internal")), "{reply}");
    assert!(!reply.to_string().contains("mistake"), "{reply}");
}

#[tokio::test]
async fn whatever_panics_the_request_is_answered_and_the_rest_goes_on() {
    let server = server().await;
    server.write("INSERT INTO labels (name) VALUES ('there')").await;
    let mut other = Socket::subscribed(&server, "fragile", json!({})).await;
    let mut socket = Socket::subscribed(&server, "fragile", json!({})).await;

    let broken = [
        json!({"stream": "fragile/create", "payload": {"name": "hook"}}),
        json!({"stream": "fragile/delete/there"}),
        json!({"stream": "fragile/update/there", "payload": {"weight": 2}}),
        json!({"action": "authenticate", "payload": {"token": "x"}}),
    ];
    for message in &broken {
        let id = socket.ask(message.clone()).await;
        assert_fault(&socket.reply(&id).await, &id);
    }
    BLIND.store(true, Ordering::Relaxed);
    for message in [
        json!({"stream": "fragile/subscribe", "payload": {"weight": 1}}),
        json!({"stream": "fragile/list"}),
        json!({"stream": "fragile/retrieve/there"}),
    ] {
        let id = socket.ask(message).await;
        assert_fault(&socket.reply(&id).await, &id);
    }
    for path in ["/api/fragile/", "/api/fragile/there/", "/api/fragile/events", "/api/fragile/changes"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, &answer.json["code"]), (500, &json!("internal")), "{path}");
    }
    BLIND.store(false, Ordering::Relaxed);
    let refused = Handshake::to("/api/ws").header("authorization", "Bearer x").open(&server).await;
    assert_eq!(refused.expect_err("no socket").status, 500);

    // The worker, the database, the feed and both sockets are as they were.
    assert_eq!(socket.request(json!({"stream": "fragile/list"})).await["data"]["count"], 1);
    server.write("INSERT INTO labels (name) VALUES ('after')").await;
    for socket in [&mut socket, &mut other] {
        assert_eq!(socket.next_event().await["pk"], "after");
        socket.assert_silent(&server).await;
    }
    assert_eq!(server.get("/api/fragile/after/").await.status, 200);
}

#[tokio::test]
async fn an_authenticator_that_panics_at_its_second_look_leaves_the_socket_as_it_is() {
    let server = server().await;
    let mut socket = Socket::subscribed(&server, "labels", json!({})).await;
    server.realtime().refresh_user(1);
    server.realtime().refresh_user(1);
    server.write("INSERT INTO labels (name) VALUES ('after')").await;
    assert_eq!(socket.next_event().await["pk"], "after");
    assert_eq!(socket.request(json!({"action": "ping"})).await["status"], 200);
}

/// Nobody has asked for anything here: it is the feed that meets the mistake.
#[tokio::test]
async fn a_row_that_cannot_be_shown_ends_those_who_would_be_told_of_it_and_not_the_feed() {
    let server = server().await;
    let mut concerned = Socket::subscribed(&server, "fragile", json!({})).await;
    let mut not_concerned = Socket::open(&server).await;
    let subscribe = json!({"stream": "fragile/subscribe", "payload": {"weight__lt": UNSPEAKABLE}});
    let mut view = View::new("name").live(&not_concerned.request(subscribe).await["data"]);
    let mut of_others = Socket::subscribed(&server, "labels", json!({})).await;
    server.write(format!("INSERT INTO labels (name, weight) VALUES ('bad', {UNSPEAKABLE})")).await;
    assert_eq!(concerned.closed().await, Some(1011));
    server.write("INSERT INTO labels (name, weight) VALUES ('good', 1)").await;
    // The row is told of as soon as it can be.
    server.write(format!("UPDATE labels SET weight = 2 WHERE weight = {UNSPEAKABLE}")).await;
    for (action, name) in [("create", "bad"), ("create", "good"), ("update", "bad")] {
        let event = of_others.next_event().await;
        assert_eq!((&event["action"], &event["pk"]), (&json!(action), &json!(name)));
    }
    for event in not_concerned.events(&server).await {
        view.take(&event);
    }
    // It was told of a gap, since it could not be known whether there is one.
    assert!(view.is_whole() && view.lagged == (0, 1), "{:?}", view.lagged);
    let rows: Vec<(&Json, &Json)> = view.rows.values().map(|row| (&row["name"], &row["weight"])).collect();
    assert_eq!(rows, [(&json!("bad"), &json!(2)), (&json!("good"), &json!(1))]);
}
