//! What there is, each with an example that runs. Not compiled into a program: it is there in the documentation.
//!
//! The examples leave out what all have in common: a table in a SQLite database in memory, the service, and a client in the
//! process of a test, of [`testing`](crate::testing). Hooks have theirs at [`Hooks`](crate::Hooks), authenticators at
//! [`auth`](crate::auth), tests at [`testing`](crate::testing).
//!
//! # Filters
//!
//! Whatever `lookups` allows, and short names for what clients ask often. A list and a subscription take the same filters, over every
//! transport; docs/lookups.md has all of them.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::AllowAny;
//! # diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, body -> Text, score -> Integer, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = comments)]
//! #[realtime(
//!     lookups(all),
//!     subscription_field_mapping(text = "body__icontains"),
//!     permission = AllowAny
//! )]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     topic_id: i32,
//!     body: String,
//!     #[realtime(default = 0)]
//!     score: i32,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic_id INTEGER NOT NULL, body TEXT NOT NULL, score INTEGER NOT NULL DEFAULT 0);")?))
//! #         .resource::<Comment>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! for (body, score) in [("Hello", 1), ("hello, world", 5), ("bye", 9)] {
//!     client.post("/api/comments/", json!({"topic_id": 1, "body": body, "score": score})).await.expect(201);
//! }
//! for (query, found) in [
//!     ("text=HELLO", 2),
//!     ("text=hello&score__gte=5", 1),
//!     ("body__startswith=hello", 1),
//!     ("not__body__regex=^h", 2),
//!     ("id__in=1,3", 2),
//! ] {
//!     assert_eq!(client.get(&format!("/api/comments/?{query}")).await.expect(200)["count"], found, "{query}");
//! }
//! // What is not known is refused, not ignored.
//! client.get("/api/comments/?boddy=x").await.expect(400);
//! # }
//! ```
//!
//! # Lists
//!
//! Ordered by what `ordering` allows, searched in the fields of `search`, in pages by cursor, offset or number.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::AllowAny;
//! # diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, body -> Text, score -> Integer, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = comments)]
//! #[realtime(
//!     ordering(id, score),
//!     search(body),
//!     pagination(default = 2, most = 100),
//!     permission = AllowAny
//! )]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     topic_id: i32,
//!     body: String,
//!     #[realtime(default = 0)]
//!     score: i32,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic_id INTEGER NOT NULL, body TEXT NOT NULL, score INTEGER NOT NULL DEFAULT 0);")?))
//! #         .resource::<Comment>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! for score in [3, 1, 2] {
//!     client.post("/api/comments/", json!({"topic_id": 1, "body": "so it is", "score": score})).await.expect(201);
//! }
//! let page = client.get("/api/comments/?ordering=-score&search=it&fields=score").await.expect(200);
//! assert_eq!(page["results"], json!([{"id": 1, "score": 3}, {"id": 3, "score": 2}]));
//! assert_eq!(page["count"], 3);
//! let next = client.get(page["next"].as_str().expect("a link")).await.expect(200);
//! assert_eq!(next["results"], json!([{"id": 2, "score": 1}]));
//! assert_eq!(client.get("/api/comments/?page=2&count=false").await.expect(200)["count"], json!(null));
//! # }
//! ```
//!
//! # Relations
//!
//! A foreign key that `references` another resource: its row comes along with `expand`, filters go across it, and `nested` gives it
//! a route.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::AllowAny;
//! # diesel::table! { topics (id) { id -> Integer, title -> Text, } }
//! # diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, body -> Text, score -> Integer, } }
//! # diesel::allow_tables_to_appear_in_same_query!(topics, comments);
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = topics)]
//! #[realtime(lookups(all), permission = AllowAny)]
//! struct Topic {
//!     #[realtime(read_only)]
//!     id: i32,
//!     title: String,
//! }
//!
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = comments)]
//! #[realtime(lookups(all), permission = AllowAny)]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     #[realtime(references = Topic, nested)]
//!     topic_id: i32,
//!     body: String,
//!     #[realtime(default = 0)]
//!     score: i32,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE topics (id INTEGER PRIMARY KEY NOT NULL, title TEXT NOT NULL); CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic_id INTEGER NOT NULL, body TEXT NOT NULL, score INTEGER NOT NULL DEFAULT 0);")?))
//! #         .resource::<Topic>().resource::<Comment>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! client.post("/api/topics/", json!({"title": "Rust"})).await.expect(201);
//! client.post("/api/comments/", json!({"topic_id": 1, "body": "hello"})).await.expect(201);
//! let page = client.get("/api/comments/?topic__title__istartswith=ru&expand=topic").await.expect(200);
//! assert_eq!(page["results"][0]["topic"], json!({"id": 1, "title": "Rust"}));
//! assert_eq!(client.get("/api/topics/1/comments/").await.expect(200)["count"], 1);
//! # }
//! ```
//!
//! # Values
//!
//! What a client may send, what is asked of it, what the server sets, and what is shown. docs/attributes.md has every attribute.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::AllowAny;
//! # diesel::table! { accounts (id) { id -> Integer, owner -> Text, iban -> Text, pin -> Text, stars -> Integer, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = accounts)]
//! #[realtime(permission = AllowAny, rename_all = "camelCase")]
//! struct Account {
//!     #[realtime(read_only)]
//!     id: i32,
//!     #[realtime(validate(email), help = "Where we write to.")]
//!     owner: String,
//!     #[realtime(rename = "account", serialize_with = |row| format!("…{}", &row.iban[row.iban.len() - 4..]))]
//!     #[realtime(validate(pattern = "^[A-Z]{2}[0-9]{10,}$", message = "An IBAN has a country and digits."))]
//!     iban: String,
//!     #[realtime(write_only, validate(length(min = 4)))]
//!     pin: String,
//!     #[realtime(default = 5, validate(range(min = 0, max = 5)))]
//!     stars: i32,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY NOT NULL, owner TEXT NOT NULL, iban TEXT NOT NULL, pin TEXT NOT NULL, stars INTEGER NOT NULL);")?))
//! #         .resource::<Account>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! let good = json!({"owner": "ann@example.org", "account": "DE0012345678", "pin": "0000"});
//! let made = client.post("/api/accounts/", good).await.expect(201);
//! assert_eq!(made, json!({"id": 1, "owner": "ann@example.org", "account": "…5678", "stars": 5}));
//!
//! // All mistakes at once, each on its field.
//! let bad = client.post("/api/accounts/", json!({"owner": "ann", "account": "5", "stars": 6})).await.expect(400);
//! assert_eq!(bad["code"], "validation_error");
//! assert_eq!(
//!     bad["errors"],
//!     json!({
//!         "owner": ["Enter a valid email address."],
//!         "account": ["An IBAN has a country and digits."],
//!         "pin": ["This field is required."],
//!         "stars": ["Ensure this value is less than or equal to 5."],
//!     })
//! );
//! # }
//! ```
//!
//! # Subscriptions
//!
//! Live from the reply on, with the rows first where a client asks for a `snapshot`. A row that comes to match is a `create`, one that
//! no longer does a `delete`; what changes is a diff.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::AllowAny;
//! # diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, body -> Text, score -> Integer, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = comments)]
//! #[realtime(lookups(all), permission = AllowAny)]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     topic_id: i32,
//!     body: String,
//!     #[realtime(default = 0)]
//!     score: i32,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic_id INTEGER NOT NULL, body TEXT NOT NULL, score INTEGER NOT NULL DEFAULT 0);")?))
//! #         .resource::<Comment>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! client.post("/api/comments/", json!({"topic_id": 1, "body": "before"})).await.expect(201);
//! let mut socket = client.connect("/api/ws").await;
//! let reply = socket
//!     .request(json!({"stream": "comments", "action": "subscribe", "payload": {"score__gte": 5}}))
//!     .await;
//! assert_eq!(reply["status"], 200);
//!
//! client.patch("/api/comments/1/", json!({"score": 6})).await.expect(200);
//! assert_eq!(socket.next_event().await["action"], "create");
//! client.patch("/api/comments/1/", json!({"score": 7})).await.expect(200);
//! assert_eq!(socket.next_event().await["diff"], json!({"score": 7}));
//! client.patch("/api/comments/1/", json!({"score": 0})).await.expect(200);
//! assert_eq!(socket.next_event().await["action"], "delete");
//!
//! // Who has been away goes on from where he was: over a socket, an event stream or, as here, a long poll.
//! let cursor = reply["data"]["cursor"].as_str().expect("a cursor");
//! let missed = client.get(&format!("/api/comments/changes?score__gte=5&since={cursor}")).await.expect(200);
//! assert_eq!(missed["events"].as_array().map(Vec::len), Some(3));
//! # }
//! ```
//!
//! # Row groups
//!
//! `group_by` makes a subscription one to everything that belongs together, such as all comments of a topic: many clients share few
//! groups.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::AllowAny;
//! # diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, body -> Text, score -> Integer, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = comments)]
//! #[realtime(lookups(all), group_by = topic_id, permission = AllowAny)]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     topic_id: i32,
//!     body: String,
//!     #[realtime(default = 0)]
//!     score: i32,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic_id INTEGER NOT NULL, body TEXT NOT NULL, score INTEGER NOT NULL DEFAULT 0);")?))
//! #         .resource::<Comment>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! client.post("/api/comments/", json!({"topic_id": 1, "body": "first"})).await.expect(201);
//! let mut socket = client.connect("/api/ws").await;
//! // Any row of the group leads to it.
//! socket.subscribe("comments", json!({"body": "first"})).await;
//! client.post("/api/comments/", json!({"topic_id": 1, "body": "second"})).await.expect(201);
//! assert_eq!(socket.next_event().await["data"]["body"], "second");
//! client.post("/api/comments/", json!({"topic_id": 2, "body": "elsewhere"})).await.expect(201);
//! socket.assert_silent().await;
//! # }
//! ```
//!
//! # Database views
//!
//! `view_of` names the tables that a view is made of, and by which column: whatever is written to them is told as what it does to the
//! view's rows. docs/views.md says which views can be followed.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::AllowAny;
//! # diesel::table! { topics (id) { id -> Integer, title -> Text, } }
//! # diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, body -> Text, } }
//! # diesel::table! { topic_cards (id) { id -> Integer, title -> Text, comments -> BigInt, } }
//! # #[derive(RealtimeResource)]
//! # #[diesel(table_name = comments)]
//! # #[realtime(permission = AllowAny)]
//! # struct Comment { #[realtime(read_only)] id: i32, topic_id: i32, body: String }
//! const VIEW: &str = "CREATE VIEW topic_cards AS
//!     SELECT t.id, t.title, count(c.id) AS comments
//!     FROM topics t LEFT JOIN comments c ON c.topic_id = t.id GROUP BY t.id, t.title";
//!
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = topic_cards)]
//! #[realtime(view_of(topics(id), comments(topic_id = id)), lookups(all), permission = AllowAny)]
//! struct TopicCard {
//!     id: i32,
//!     title: String,
//!     comments: i64,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute(&format!("CREATE TABLE topics (id INTEGER PRIMARY KEY NOT NULL, title TEXT NOT NULL); CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic_id INTEGER NOT NULL, body TEXT NOT NULL); INSERT INTO topics VALUES (1, 'Tea'); {VIEW}"))?))
//! #         .resource::<Comment>().resource::<TopicCard>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! let mut socket = client.connect("/api/ws").await;
//! socket.subscribe("topic_cards", json!({"comments__gte": 1})).await;
//! client.post("/api/comments/", json!({"topic_id": 1, "body": "first"})).await.expect(201);
//! let event = socket.next_event().await;
//! assert_eq!(event["action"], "create");
//! assert_eq!(event["data"], json!({"id": 1, "title": "Tea", "comments": 1}));
//! client.post("/api/comments/", json!({"topic_id": 1, "body": "second"})).await.expect(201);
//! assert_eq!(socket.next_event().await["diff"], json!({"comments": 2}));
//! client.delete("/api/comments/1/").await.expect(204);
//! assert_eq!(socket.next_event().await["diff"], json!({"comments": 1}));
//! // Nobody writes the cards.
//! client.delete("/api/topic_cards/1/").await.expect(405);
//! # }
//! ```
//!
//! # Who may do what, and see what
//!
//! Rules that are put together, and a `Policy` where they depend on more: which rows exist for whom, and which fields. What does not
//! exist for somebody is in no list, no event, no filter and no message. A user is his key: one that is given twice, as SQLite does
//! without `AUTOINCREMENT`, gives the next user what the last one has left behind.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::{Ask, IsAuthenticated, Permission as _, Policy, Verdict};
//! # use realtime_actix::{Principal, Rows};
//! # diesel::table! { notes (id) { id -> Integer, owner_id -> Integer, body -> Text, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = notes)]
//! #[realtime(policy)]
//! struct Note {
//!     #[realtime(read_only)]
//!     id: i32,
//!     #[realtime(read_only, on_create = |context| context.user_key())]
//!     owner_id: i32,
//!     body: String,
//! }
//!
//! impl Policy for Note {
//!     fn permission(ask: &Ask<'_, Self>) -> Verdict {
//!         IsAuthenticated.decide(ask)
//!     }
//!
//!     fn visible(principal: &Principal) -> Rows<Self> {
//!         principal.user_key::<i32>().map_or_else(|_| Rows::none(), |user| Rows::equal(notes::owner_id, user))
//!     }
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE notes (id INTEGER PRIMARY KEY NOT NULL, owner_id INTEGER NOT NULL, body TEXT NOT NULL);")?))
//! #         .resource::<Note>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! client.get("/api/notes/").await.expect(401);
//! client.force_login(&users.create_user("ann", "secret"));
//! client.post("/api/notes/", json!({"body": "mine"})).await.expect(201);
//!
//! let mut other = app.client();
//! other.force_login(&users.create_user("bob", "secret"));
//! other.get("/api/notes/1/").await.expect(404);
//! assert_eq!(other.get("/api/notes/").await.expect(200)["count"], 0);
//! # }
//! ```
//!
//! # HTTP's manners
//!
//! A write for a state (`If-Match`), a create that may be sent twice (`Idempotency-Key`), and what a client may ask a path.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use actix_web::http::header::{self, HeaderName};
//! # use actix_web::http::Method;
//! # use realtime_actix::policy::AllowAny;
//! # diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, body -> Text, score -> Integer, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = comments)]
//! #[realtime(permission = AllowAny)]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     topic_id: i32,
//!     body: String,
//!     #[realtime(default = 0)]
//!     score: i32,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic_id INTEGER NOT NULL, body TEXT NOT NULL, score INTEGER NOT NULL DEFAULT 0);")?))
//! #         .resource::<Comment>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! let body = json!({"topic_id": 1, "body": "hello"});
//! let mut sender = app.client().with_header(HeaderName::from_static("idempotency-key"), "a1");
//! let made = sender.post("/api/comments/", body.clone()).await;
//! let again = sender.post("/api/comments/", body).await;
//! assert_eq!((made.expect(201), again.header("idempotent-replayed")), (again.expect(201), "true"));
//! assert_eq!(client.get("/api/comments/").await.expect(200)["count"], 1);
//!
//! let tag = client.get("/api/comments/1/").await.header("etag").to_owned();
//! client.patch("/api/comments/1/", json!({"score": 1})).await.expect(200);
//! let mut late = app.client().with_header(header::IF_MATCH, &tag);
//! late.patch("/api/comments/1/", json!({"score": 2})).await.expect(412);
//!
//! let form = client.send(Method::OPTIONS, "/api/comments/", json!(null)).await.expect(200);
//! assert_eq!(form["actions"]["POST"]["body"]["required"], true);
//! assert_eq!(client.send(Method::PUT, "/api/comments/", json!({})).await.header("allow"), "GET, HEAD, POST, OPTIONS");
//! # }
//! ```
//!
//! # What there is of a resource
//!
//! Fewer actions, another field in paths than the key, and how often somebody may do something.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::AllowAny;
//! # diesel::table! { users (id) { id -> Integer, username -> Text, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = users)]
//! #[realtime(
//!     allowed_actions(list, retrieve, update),
//!     lookup_field = username,
//!     throttle(update = "1/hour"),
//!     permission = AllowAny
//! )]
//! struct User {
//!     #[realtime(read_only)]
//!     id: i32,
//!     username: String,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE users (id INTEGER PRIMARY KEY NOT NULL, username TEXT NOT NULL UNIQUE); INSERT INTO users VALUES (1, 'ann');")?))
//! #         .resource::<User>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! assert_eq!(client.get("/api/users/ann/").await.expect(200)["id"], 1);
//! client.delete("/api/users/ann/").await.expect(405);
//! client.patch("/api/users/ann/", json!({"username": "anne"})).await.expect(200);
//! client.patch("/api/users/anne/", json!({"username": "ann"})).await.expect(429);
//! # }
//! ```
//!
//! # Descriptions
//!
//! OpenAPI and AsyncAPI are made of the same descriptors that requests are carried out by, at `/openapi.json` and `/asyncapi.json`, as
//! far as the caller sees them.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::AllowAny;
//! # diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, body -> Text, score -> Integer, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = comments)]
//! #[realtime(permission = AllowAny)]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     topic_id: i32,
//!     #[realtime(validate(length(max = 200)))]
//!     body: String,
//!     #[realtime(default = 0)]
//!     score: i32,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic_id INTEGER NOT NULL, body TEXT NOT NULL, score INTEGER NOT NULL DEFAULT 0);")?))
//! #         .resource::<Comment>().api("Comments", "1").authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! let document = client.get("/api/openapi.json").await.expect(200);
//! assert_eq!(document["info"]["title"], "Comments");
//! let payload = &document["components"]["schemas"]["comments.payload"];
//! assert_eq!(payload["properties"]["body"]["maxLength"], 200);
//! assert_eq!(client.get("/api/asyncapi.json").await.expect(200)["asyncapi"], "3.0.0");
//! # }
//! ```
//!
//! # The application's own code
//!
//! Statements of its own are seen like anybody's; `Realtime::resource` writes through the checks and hooks of the resource.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Principal, Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use diesel::prelude::*;
//! # diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, body -> Text, score -> Integer, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = comments)]
//! #[realtime(lookups(all))]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     topic_id: i32,
//!     #[realtime(validate(length(max = 200)))]
//!     body: String,
//!     #[realtime(default = 0)]
//!     score: i32,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic_id INTEGER NOT NULL, body TEXT NOT NULL, score INTEGER NOT NULL DEFAULT 0);")?))
//! #         .resource::<Comment>().authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! let mut socket = client.connect("/api/ws").await;
//! socket.subscribe("comments", json!({"score__gte": 5})).await;
//!
//! // Nobody may write over the wire; the service may.
//! client.post("/api/comments/", json!({"topic_id": 1, "body": "refused"})).await.expect(401);
//! let resource = realtime.resource::<Comment>();
//! let made = resource.create(json!({"topic_id": 1, "body": "made"})).await.expect("it is acceptable");
//! assert!(resource.create(json!({"topic_id": 1, "body": "x".repeat(201)})).await.is_err());
//!
//! // All rows in one statement, in one transaction; each of them is told.
//! realtime
//!     .write(|connection| diesel::update(comments::table).set(comments::score.eq(5)).execute(connection))
//!     .await
//!     .expect("the database writes");
//! assert_eq!(socket.next_event().await["pk"], made.id);
//!
//! // With somebody's rights.
//! let nobodys = realtime.resource::<Comment>().acting_for(Principal::anonymous());
//! assert_eq!(nobodys.delete(made.id).await.expect_err("nobody may").status(), 401);
//!
//! // Of every change it is told too, whoever has made it; but nobody is of what is written silently.
//! let (tell, told) = std::sync::mpsc::channel();
//! realtime.on_change::<Comment>(move |_, change| {
//!     let _ = tell.send(change.after_as::<Comment>().map(|comment| comment.score));
//! });
//! resource.silently().update(made.id, json!({"score": 6})).await.expect("it is acceptable");
//! realtime.resource::<Comment>().update(made.id, json!({"score": 7})).await.expect("it is acceptable");
//! assert_eq!(socket.next_event().await["diff"], json!({"score": 7}));
//! assert_eq!(told.try_iter().collect::<Vec<_>>(), [Some(7)]);
//! # }
//! ```
//!
//! # Bounds
//!
//! Everything that a client could make large has a limit.
//!
//! ```
//! # use diesel::connection::SimpleConnection as _;
//! # use realtime_actix::testing::{TestApp, Users};
//! # use realtime_actix::{Realtime, RealtimeResource};
//! # use serde_json::json;
//! # use realtime_actix::policy::AllowAny;
//! # use realtime_actix::Limits;
//! # diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, body -> Text, score -> Integer, } }
//! #[derive(RealtimeResource)]
//! #[diesel(table_name = comments)]
//! #[realtime(lookups(all), permission = AllowAny)]
//! struct Comment {
//!     #[realtime(read_only)]
//!     id: i32,
//!     topic_id: i32,
//!     body: String,
//!     #[realtime(default = 0)]
//!     score: i32,
//! }
//!
//! # #[actix_web::main]
//! # async fn main() {
//! #     let users = Users::default();
//! #     let realtime = Realtime::connect("sqlite::memory:")
//! #         .prepare(|connection| Ok(connection.batch_execute("CREATE TABLE comments (id INTEGER PRIMARY KEY NOT NULL, topic_id INTEGER NOT NULL, body TEXT NOT NULL, score INTEGER NOT NULL DEFAULT 0);")?))
//! #         .resource::<Comment>().limits({
//! #             let mut limits = Limits::default();
//! #             limits.page_rows = 10;
//! #             limits.default_page_rows = 10;
//! #             limits.filter_list = 3;
//! #             limits
//! #         }).authenticator(users.clone()).start().await.expect("the service starts");
//! #     let app = TestApp::of(&realtime, &users).await;
//! #     let mut client = app.client();
//! client.get("/api/comments/?limit=11").await.expect(400);
//! client.get("/api/comments/?id__in=1,2,3,4").await.expect(400);
//! # }
//! ```
//!
//! # Features of the crate
//!
//! `sqlite` is what all of these use. With `postgres` the URL says which database a program has:
//!
//! ```no_run
//! # use realtime_actix::{Realtime, RealtimeResource, StartError};
//! # diesel::table! { comments (id) { id -> Integer, body -> Text, } }
//! # #[derive(RealtimeResource)]
//! # #[diesel(table_name = comments)]
//! # struct Comment { id: i32, body: String }
//! # async fn start() -> Result<(), StartError> {
//! let realtime = Realtime::connect("postgres://user@localhost/comments").resource::<Comment>().start().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `session` has an authenticator of actix-session's cookies, `auth::CookieSession`, with its own example; `conformance` has a route
//! that echoes, for programs that check how the socket speaks WebSocket:
//!
//! ```
//! # use realtime_actix::{Realtime, RealtimeScope};
//! fn scope(realtime: &Realtime) -> RealtimeScope {
//!     realtime.scope("/api").with_echo()
//! }
//! ```
