//! docs/testing.md

use actix_web::App;
use actix_web::http::header;
use diesel::connection::SimpleConnection as _;
use realtime_actix::auth::Identity;
use realtime_actix::policy::{Ask, IsAuthenticated, Permission as _, Policy, ReadOnly, Rule as _, Verdict};
use realtime_actix::testing::{TestApp, Users};
use realtime_actix::{Principal, Realtime, RealtimeResource, Rows};
use serde_json::json;

diesel::table! {
    remarks (id) {
        id -> Integer,
        author_id -> Integer,
        body -> Text,
        shown -> Bool,
    }
}

const TABLE: &str = "CREATE TABLE remarks (id INTEGER PRIMARY KEY NOT NULL, author_id INTEGER NOT NULL,
    body TEXT NOT NULL, shown BOOLEAN NOT NULL DEFAULT TRUE)";

/// Seen by its author and by staff where it is not shown.
#[derive(RealtimeResource)]
#[diesel(table_name = remarks)]
#[realtime(policy)]
struct Remark {
    #[realtime(read_only)]
    id: i32,
    #[realtime(read_only, on_create = |context| context.user_key())]
    author_id: i32,
    body: String,
    #[realtime(default = true)]
    shown: bool,
}

struct Account {
    is_staff: bool,
}

impl Policy for Remark {
    fn permission(ask: &Ask<'_, Self>) -> Verdict {
        ReadOnly.or(IsAuthenticated).decide(ask)
    }

    fn visible(principal: &Principal) -> Rows<Self> {
        let shown = Rows::equal(remarks::shown, true);
        match principal.user_key::<i32>() {
            Ok(_) if principal.claims::<Account>().is_some_and(|account| account.is_staff) => Rows::all(),
            Ok(me) => shown.or(Rows::equal(remarks::author_id, me)),
            Err(_) => shown,
        }
    }
}

async fn start() -> (TestApp, Users) {
    let users = Users::of(|user| Principal::user(user.key).with(Account { is_staff: user.is_admin }));
    let realtime = Realtime::connect("sqlite::memory:")
        .prepare(|connection| Ok(connection.batch_execute(TABLE)?))
        .resource::<Remark>()
        .authenticator(users.clone())
        .start()
        .await
        .expect("the service starts");
    // The `App` that the program mounts, with its own routes.
    let app = TestApp::new(&realtime, &users, App::new().service(realtime.scope("/api"))).await;
    (app, users)
}

#[actix_web::test]
async fn who_hides_a_remark_hides_it_from_others() {
    let (app, users) = start().await;
    users.create_user("ann", "secret");
    let mut ann = app.client();
    ann.login("ann", "secret").expect("the password is right");
    let mut staff = app.client();
    staff.force_login(&users.admin());

    let mut stranger = app.client().connect("/api/ws").await;
    stranger.subscribe("remarks", json!({})).await;
    let mut reader = staff.connect("/api/ws").await;
    reader.subscribe("remarks", json!({})).await;

    let made = ann.post("/api/remarks/", json!({"body": "hello"})).await.expect(201);
    assert_eq!(stranger.next_event().await["data"], made);
    assert_eq!(reader.next_event().await["action"], "create");
    ann.patch("/api/remarks/1/", json!({"shown": false})).await.expect(200);
    assert_eq!(stranger.next_event().await["action"], "delete");
    assert_eq!(reader.next_event().await["diff"], json!({"shown": false}));
    ann.patch("/api/remarks/1/", json!({"body": "psst"})).await.expect(200);
    stranger.assert_silent().await;
}

#[actix_web::test]
async fn a_socket_ends_with_its_session() {
    let (app, users) = start().await;
    let mut ann = app.client();
    ann.force_login(&users.user());
    let mut socket = ann.connect("/api/ws").await;
    let reply = socket.request(json!({"stream": "remarks/create", "payload": {"body": "hello"}})).await;
    assert_eq!(reply["status"], 201);
    ann.logout();
    socket.assert_closed(4401).await;
}

#[actix_web::test]
async fn anybody_can_be_anybody() {
    let (app, _) = start().await;
    let mut client = app.client();
    client.force_identity(Identity::of(Principal::user(7)));
    let made = client.post("/api/remarks/", json!({"body": "hello"})).await.expect(201);
    assert_eq!(made["author_id"], 7);

    let foreign = app.client().with_header(header::ORIGIN, "https://elsewhere.example");
    let refused = foreign.try_connect("/api/ws").await.expect_err("another site's page");
    assert_eq!(refused.status, 403);
}
