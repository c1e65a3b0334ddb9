//! What an application adds to writes, and its own writes through a resource, on both databases.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::prelude::*;
use realtime_actix::policy::{AllowAny, IsAuthenticated, ReadOnly};
use realtime_actix::{
    Action, Code, Context, Draft, Error, Hooks, Principal, Realtime, RealtimeResource, Refusal, Resource,
    ServiceError, Store,
};
use realtime_tests::{Server, Setup, Socket, in_actix, on_postgres};
use serde_json::{Value as Json, json};

mod schema {
    diesel::table! {
        samples (id) {
            id -> Integer,
            topic -> Nullable<Integer>,
            name -> Text,
            shelf -> Nullable<Integer>,
            place -> Nullable<Integer>,
            code -> Text,
        }
    }

    diesel::table! {
        labels (name) {
            name -> Text,
            code -> Nullable<Text>,
            weight -> BigInt,
        }
    }
}

use schema::{labels, samples};

/// A sample whose making is counted by a label.
#[derive(RealtimeResource)]
#[diesel(table_name = samples)]
#[realtime(permission = ReadOnly.or(IsAuthenticated), lookups(all), hooks)]
struct Sample {
    #[realtime(read_only)]
    id: i32,
    topic: Option<i32>,
    #[realtime(validate(length(min = 1)))]
    name: String,
    shelf: Option<i32>,
    place: Option<i32>,
    #[realtime(read_only)]
    code: String,
}

/// A label as the hooks know it.
#[derive(RealtimeResource)]
#[diesel(table_name = labels, primary_key(name))]
#[realtime(stream = "counters", permission = AllowAny)]
struct Counter {
    name: String,
    #[realtime(default = 0)]
    weight: i64,
}

/// A sample that is addressed by its name.
#[derive(RealtimeResource)]
#[diesel(table_name = samples)]
#[realtime(
    stream = "named",
    permission = AllowAny,
    lookups(all),
    lookup_field = name,
    throttle(create = "2/day", delete = "1/day")
)]
struct Named {
    #[realtime(read_only)]
    id: i32,
    name: String,
    shelf: Option<i32>,
}

/// The names for which something was done after a commit, by all tests of this process.
static DONE: Mutex<Vec<String>> = Mutex::new(Vec::new());
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn done() -> Vec<String> {
    DONE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Hooks for Sample {
    async fn perform_create(
        draft: &mut Draft,
        context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> Result<Arc<Self>, Error> {
        if context.principal.is_anonymous() {
            draft.set("code", "anonymous".to_owned());
        }
        let made: Arc<Self> = store.insert(draft).await?;
        let counted = diesel::update(labels::table.find("count")).set(labels::weight.eq(labels::weight + 1));
        if store.execute(counted).await? == 0 {
            let mut counter = Draft::of::<Counter>();
            counter.set("name", "count".to_owned());
            counter.set("weight", 1_i64);
            store.insert::<Counter>(&counter).await?;
        }
        let name = made.name.clone();
        store.after_commit(move || DONE.lock().unwrap_or_else(PoisonError::into_inner).push(name));
        match made.name.as_str() {
            "late" => Err(Error::new(Code::Conflict, "Too late.")),
            "swallowed" => {
                let mut twice = Draft::of::<Counter>();
                twice.set("name", "count".to_owned());
                let _ = store.insert::<Counter>(&twice).await;
                Ok(made)
            }
            "panics" => {
                store.after_commit(|| {
                    PANICS.fetch_add(1, Ordering::Relaxed);
                    panic!("after the commit");
                });
                Ok(made)
            }
            _ => Ok(made),
        }
    }

    async fn perform_update(
        before: &Self,
        draft: &mut Draft,
        _context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> Result<Arc<Self>, Error> {
        draft.set("code", format!("was {}", before.name));
        store.update(before, draft).await
    }

    /// Only marked.
    async fn perform_destroy(row: &Self, _context: &Context<'_>, store: &mut Store<'_>) -> Result<(), Error> {
        let this = samples::table.find(row.id);
        store.execute(diesel::update(this).set(samples::code.eq("removed"))).await.map(drop)
    }

    fn map_refusal(refusal: Refusal, action: Action, _context: &Context<'_>) -> Refusal {
        match refusal {
            Refusal::Refused(error) if error.code() == Code::Conflict && action == Action::Create => {
                Error::new(Code::Conflict, "There is one already, or it is too late.").into()
            }
            other => other,
        }
    }
}

async fn start() -> Server {
    Setup::file()
        .configure(|connect| connect.resource::<Sample>().resource::<Counter>().resource::<Named>())
        .start()
        .await
}

async fn count(server: &Server) -> Json {
    server.read("/api/counters/").await["results"].as_array().into_iter().flatten().fold(
        json!(0),
        |found, label| {
            if label["name"] == "count" { label["weight"].clone() } else { found }
        },
    )
}

#[tokio::test]
async fn what_a_hook_writes_is_kept_and_told_with_the_row_or_not_at_all() {
    let server = start().await;
    let mut counters = Socket::subscribed(&server, "counters", json!({})).await;
    let one = server.create("samples", json!({"name": "one"})).await;
    assert_eq!(one["code"], "none");
    assert_eq!(counters.next_event().await["data"], json!({"name": "count", "weight": 1}));
    server.create("samples", json!({"name": "two"})).await;
    assert_eq!(counters.next_event().await["diff"], json!({"weight": 2}));

    for (name, status) in [("late", 409), ("ONE", 409), ("swallowed", 409), ("", 400)] {
        let refused = server.send("POST", "/api/samples/", &json!({"name": name})).await;
        assert_eq!(refused.status, status, "{name}: {}", refused.text);
        if status == 409 {
            assert_eq!(refused.json["detail"], "There is one already, or it is too late.");
        }
    }
    assert_eq!(count(&server).await, 2);
    assert_eq!(server.read("/api/samples/").await["count"], 2);
    counters.assert_silent(&server).await;

    let path = format!("/api/samples/{}/", one["id"]);
    let changed = server.send("PATCH", &path, &json!({"name": "uno"})).await;
    assert_eq!((changed.status, &changed.json["code"]), (200, &json!("was one")));
    let unchanged = server.send("PATCH", &path, &json!({})).await;
    assert_eq!(unchanged.json, changed.json);
    assert_eq!(server.send("DELETE", &path, &Json::Null).await.status, 204);
    assert_eq!(server.read(&path).await["code"], "removed");
}

#[tokio::test]
async fn what_is_to_be_done_after_a_commit_is_done_after_it_and_never_without_it() {
    let server = start().await;
    for name in ["kept 1", "late", "panics"] {
        let answer = server.send("POST", "/api/samples/", &json!({"name": name})).await;
        assert_eq!(answer.status, if name == "late" { 409 } else { 201 }, "{}", answer.text);
    }
    let done = done();
    assert!(done.contains(&"kept 1".to_owned()) && done.contains(&"panics".to_owned()), "{done:?}");
    assert!(!done.contains(&"late".to_owned()), "{done:?}");
    assert_eq!(PANICS.load(Ordering::Relaxed), 1);
    assert_eq!(server.read("/api/samples/").await["count"], 2);
}

#[tokio::test]
async fn the_application_writes_through_the_same_checks_and_hooks() {
    let server = start().await;
    let mut socket = Socket::subscribed(&server, "samples", json!({})).await;
    let samples: Resource<Sample> = server.realtime().resource();
    let outcome = in_actix(move || use_resource(samples)).await;
    assert_eq!(outcome, Ok(()));
    let mut told = Vec::new();
    for _ in 0..7 {
        let event = socket.next_event().await;
        if event["diff"].get("place").is_some() {
            // Of what was written silently before there is no word.
            assert_eq!(event["diff"], json!({"place": 4}));
        }
        told.push(format!("{} {}", event["action"].as_str().unwrap_or_default(), event["pk"]));
    }
    assert_eq!(told[..4], ["create 1", "update 1", "update 1", "update 1"]);
    assert!(told[4].starts_with("update"), "{told:?}");
    assert!(told[5..].iter().all(|event| event.starts_with("create")), "{told:?}");
    socket.assert_silent(&server).await;
    assert_eq!(count(&server).await, 4);
}

async fn use_resource(samples: Resource<Sample>) -> Result<(), Error> {
    let one = samples.create(json!({"name": "one"})).await?;
    assert_eq!(one.code, "anonymous");
    let refused = samples.create(json!({"name": "", "nothing": 1})).await.err();
    let fields: Vec<String> = refused.iter().flat_map(|error| error.errors().keys().cloned()).collect();
    assert_eq!(fields, ["name", "nothing"]);
    assert_eq!(samples.create(json!([])).await.err().map(|error| error.status()), Some(400));
    assert_eq!(samples.update(one.id, json!({"name": "uno"})).await?.name, "uno");
    assert_eq!(samples.replace(one.id, json!({"name": "ein", "shelf": 1})).await?.shelf, Some(1));
    samples.delete(one.id).await?;
    assert_eq!(samples.retrieve(one.id).await?.code, "removed");
    assert_eq!(samples.retrieve(99).await.err().map(|error| error.code()), Some(Code::NotFound));

    let silent = samples.clone().silently();
    let unheard = silent.create(json!({"name": "unheard"})).await?;
    silent.update(unheard.id, json!({"shelf": 3})).await?;
    assert_eq!(
        silent.create(json!({"name": "UNHEARD"})).await.err().map(|error| error.code()),
        Some(Code::Conflict)
    );
    assert_eq!(samples.update(unheard.id, json!({"place": 4})).await?.shelf, Some(3));

    let nobody = samples.clone().acting_for(Principal::anonymous());
    assert_eq!(nobody.create(json!({"name": "x"})).await.err().map(|error| error.status()), Some(401));
    let refused = samples.create_all([json!({"name": "two"}), json!({"name": "TWO"})]).await.err();
    assert_eq!(refused.map(|refused| (refused.at, refused.error.code())), Some((1, Code::Conflict)));
    let of_ann = samples.in_name_of(Principal::user(1));
    let both = of_ann.create_all([json!({"name": "two"}), json!({"name": "three"})]).await;
    let both = both.map_err(|refused| refused.error)?;
    assert_eq!(both.iter().map(|made| made.code.as_str()).collect::<Vec<_>>(), ["none", "none"]);
    Ok(())
}

#[tokio::test]
async fn a_write_in_the_applications_transaction_is_kept_with_it_and_leaves_it_as_it_was_if_refused() {
    let server = start().await;
    let mut socket = Socket::subscribed(&server, "samples", json!({})).await;
    for (give_up, expected) in [(true, Err("given up".to_owned())), (false, Ok(()))] {
        let realtime = server.realtime().clone();
        let result = in_actix(move || together(realtime, give_up)).await;
        assert_eq!(result, expected);
        assert_eq!(done().contains(&"in one".to_owned()), !give_up);
    }
    let event = socket.next_event().await;
    assert_eq!((&event["action"], &event["data"]["shelf"]), (&json!("create"), &json!(5)));
    socket.assert_silent(&server).await;
    assert_eq!(count(&server).await, 1);
}

#[tokio::test]
async fn a_row_is_addressed_by_the_lookup_field_and_known_by_its_key() {
    let server = start().await;
    let mut socket = Socket::open(&server).await;
    let reply = socket.request(json!({"stream": "named", "action": "subscribe", "pk": "a b/c"})).await;
    assert_eq!(reply["status"], 200, "{reply}");
    let made = server.send("POST", "/api/named/", &json!({"name": "a b/c"})).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/named/a%20b%2Fc/"), "{}", made.text);
    let path = made.header("location").to_owned();
    let changed = server.send("PATCH", &path, &json!({"shelf": 7})).await;
    assert_eq!((changed.status, &changed.json["shelf"]), (200, &json!(7)), "{}", changed.text);
    assert_eq!(socket.next_event().await["data"], made.json);
    let event = socket.next_event().await;
    assert_eq!((&event["pk"], &event["diff"]), (&made.json["id"], &json!({"shelf": 7})));
    let reply = socket.request(json!({"stream": "named/retrieve", "pk": "a b/c"})).await;
    assert_eq!(reply["data"], changed.json);
    for pk in [json!("A B/C"), json!("nobody"), made.json["id"].clone()] {
        let reply = socket.request(json!({"stream": "named", "action": "retrieve", "pk": pk})).await;
        assert_eq!(reply["status"], 404, "{reply}");
    }
    // What has another name has another address.
    let renamed = server.send("PATCH", &path, &json!({"name": "d"})).await;
    assert_eq!((renamed.status, &renamed.json["id"]), (200, &made.json["id"]));
    assert_eq!(server.get(&path).await.status, 404);
    assert_eq!(server.send("DELETE", "/api/named/d/", &Json::Null).await.status, 204);
}

#[tokio::test]
async fn each_action_of_each_principal_has_an_allowance_on_both_transports() {
    let server = start().await;
    let mut socket = Socket::open(&server).await;
    for name in ["one", "two"] {
        server.create("named", json!({"name": name})).await;
    }
    let refused = server.send("POST", "/api/named/", &json!({"name": "three"})).await;
    assert_eq!((refused.status, &refused.json["code"]), (429, &json!("throttled")));
    let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=43_200).contains(&seconds), "{seconds}");
    let reply =
        socket.request(json!({"stream": "named", "action": "create", "payload": {"name": "three"}})).await;
    assert_eq!((&reply["status"], &reply["error"]["code"]), (&json!(429), &json!("throttled")), "{reply}");
    assert!(reply["error"]["retry_after"].as_f64().is_some_and(|wait| wait > 0.0));
    // Other actions, other resources and the application itself have nothing to do with it.
    assert_eq!(server.send("DELETE", "/api/named/one/", &Json::Null).await.status, 204);
    assert_eq!(server.send("DELETE", "/api/named/two/", &Json::Null).await.status, 429);
    assert_eq!(server.get("/api/named/two/").await.status, 200);
    server.create("samples", json!({"name": "three"})).await;
}

async fn together(realtime: Realtime, give_up: bool) -> Result<(), String> {
    let samples: Resource<Sample> = realtime.resource();
    let written = if on_postgres() {
        let write = realtime.write_postgres_here(move |connection| {
            Box::pin(async move {
                let mut within = samples.within_postgres(connection);
                let one =
                    within.create(json!({"name": "in one"})).await.map_err(|error| error.to_string())?;
                let refused = within.create(json!({"name": "IN ONE"})).await.err();
                assert_eq!(refused.map(|error| error.code()), Some(Code::Conflict));
                within.update(one.id, json!({"shelf": 5})).await.map_err(|error| error.to_string())?;
                end(within.into_after_commit(), give_up)
            })
        });
        write.await
    } else {
        let write = realtime.write(move |connection| {
            let mut within = samples.within(connection);
            let one = within.create(json!({"name": "in one"})).map_err(|error| error.to_string())?;
            let refused = within.create(json!({"name": "IN ONE"})).err();
            assert_eq!(refused.map(|error| error.code()), Some(Code::Conflict));
            within.update(one.id, json!({"shelf": 5})).map_err(|error| error.to_string())?;
            end(within.into_after_commit(), give_up)
        });
        write.await
    };
    written.map(|after| after()).map_err(|error| match error {
        ServiceError::Refused(reason) => reason,
        other => other.to_string(),
    })
}

type After = Box<dyn FnOnce() + Send>;

fn end(after: impl FnOnce() + Send + 'static, give_up: bool) -> Result<After, String> {
    if give_up { Err("given up".to_owned()) } else { Ok(Box::new(after)) }
}
