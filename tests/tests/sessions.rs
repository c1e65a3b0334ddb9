//! The ready-made authenticators: the sessions of actix-session and actix-identity, and tokens that a function looks up.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_identity::{Identity as LoggedIn, IdentityMiddleware};
use actix_session::storage::CookieSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, HttpServer, web};
use chrono::TimeDelta;
use diesel::connection::SimpleConnection as _;
use realtime_actix::auth::{CookieSession, Identity, Tokens, begin_session, session_name};
use realtime_actix::{Error, Principal, Realtime};
use realtime_tests::{AllResources as _, Handshake, SCHEMA, Socket, within};
use reqwest::header::HeaderMap;
use serde_json::{Value as Json, json};

/// Who may not come in any more: users, sessions and tokens by their names.
#[derive(Clone, Default)]
struct Barred(Arc<Mutex<HashSet<String>>>);

impl Barred {
    fn bar(&self, name: &str) {
        self.0.lock().expect("no panic").insert(name.to_owned());
    }

    fn admit(&self, name: &str) -> Result<(), Error> {
        let is_barred = self.0.lock().expect("no panic").contains(name);
        if is_barred { Err(Error::not_authenticated()) } else { Ok(()) }
    }
}

struct Site {
    address: SocketAddr,
    realtime: Realtime,
    barred: Barred,
    http: reqwest::Client,
}

async fn log_in(request: HttpRequest, session: Session, user: web::Path<String>) -> HttpResponse {
    LoggedIn::login(&request.extensions(), user.into_inner()).expect("a session");
    let name = begin_session(&session).expect("a name");
    HttpResponse::Ok().json(json!({ "session": name }))
}

async fn log_out(session: Session, user: LoggedIn, realtime: web::Data<Realtime>) -> HttpResponse {
    let name = session_name(&session).expect("a text").expect("it was begun");
    user.logout();
    realtime.close_session(name);
    HttpResponse::NoContent().finish()
}

async fn site(lifetime: TimeDelta) -> Site {
    let barred = Barred::default();
    let (of_users, of_tokens) = (barred.clone(), barred.clone());
    let sessions = CookieSession::new(async move |user: &str, session: Option<&str>| {
        of_users.admit(user)?;
        of_users.admit(session.unwrap_or_default())?;
        Ok(Principal::user(user.parse::<i32>().map_err(|_| Error::not_authenticated())?))
    });
    let tokens = Tokens::new(async move |token: &str| {
        of_tokens.admit(token)?;
        let user = token.strip_prefix("token-").and_then(|user| user.parse::<i32>().ok());
        Ok(Identity::of(Principal::user(user.ok_or_else(Error::not_authenticated)?)).in_session(token))
    });
    let realtime = Realtime::connect("sqlite::memory:")
        .prepare(|connection| Ok(connection.batch_execute(SCHEMA)?))
        .all_resources()
        .authenticator(tokens.or(sessions.lifetime(lifetime)))
        .recheck_interval(Duration::from_millis(50))
        .start()
        .await
        .expect("it starts");
    let (mounted, key) = (realtime.clone(), Key::generate());
    let server = HttpServer::new(move || {
        let sessions = SessionMiddleware::builder(CookieSessionStore::default(), key.clone());
        App::new()
            .app_data(web::Data::new(mounted.clone()))
            .route("/login/{user}", web::post().to(log_in))
            .route("/logout", web::post().to(log_out))
            .service(mounted.scope("/api"))
            .wrap(IdentityMiddleware::default())
            .wrap(sessions.cookie_secure(false).build())
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").expect("a free port");
    let address = server.addrs()[0];
    actix_web::rt::spawn(server.run());
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    Site { address, realtime, barred, http }
}

impl Site {
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Json) -> (u16, HeaderMap, Json) {
        let mut request = self.http.post(format!("http://{}{path}", self.address)).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = within("an answer", request.send()).await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.json().await.unwrap_or_default())
    }

    /// A cookie, and the name of its session.
    async fn log_in(&self, user: i32) -> (String, String) {
        let (status, headers, body) = self.post(&format!("/login/{user}"), &[], &Json::Null).await;
        assert_eq!(status, 200);
        let cookie = headers["set-cookie"].to_str().expect("a text").split(';').next().expect("a cookie");
        (cookie.to_owned(), body["session"].as_str().expect("a name").to_owned())
    }

    /// The status of a write, and on whose behalf it was made.
    async fn write(&self, headers: &[(&str, &str)]) -> (u16, Json) {
        let (status, _, body) =
            self.post("/api/comments/", headers, &json!({"topic_id": 1, "body": "x"})).await;
        (status, body["author_id"].clone())
    }

    async fn socket(&self, header: (&'static str, &str)) -> Result<Socket, u16> {
        let handshake = Handshake::to("/api/ws").header(header.0, header.1);
        handshake.open_at(self.address).await.map(|(socket, _)| socket).map_err(|refused| refused.status)
    }

    async fn open(&self, header: (&'static str, &str)) -> Socket {
        self.socket(header).await.expect("a socket")
    }
}

async fn says(socket: &mut Socket) -> Json {
    let payload = json!({"topic_id": 1, "body": "x"});
    let reply = socket.request(json!({"stream": "comments/create", "payload": payload})).await;
    if reply["status"] == 201 { reply["data"]["author_id"].clone() } else { reply["status"].clone() }
}

#[actix_web::test]
async fn a_cookie_session_says_who_asks_and_ends_his_sockets() {
    let site = site(TimeDelta::hours(1)).await;
    let (cookie, session) = site.log_in(1).await;
    let (other, other_session) = site.log_in(1).await;
    assert_ne!(session, other_session);
    assert_eq!(site.write(&[("cookie", &cookie)]).await, (201, json!(1)));
    assert_eq!(site.write(&[]).await.0, 401, "nobody");
    assert_eq!(site.write(&[("cookie", "id=made-up")]).await.0, 401);
    assert_eq!(site.write(&[("cookie", "theme=dark")]).await.0, 401, "nobody");
    let of_another_site = [("cookie", cookie.as_str()), ("origin", "http://evil.example")];
    assert_eq!(site.write(&of_another_site).await.0, 403);
    assert_eq!(site.socket(("cookie", "id=made-up")).await.err(), Some(401));
    let mut anonymous = site.open(("cookie", "theme=dark")).await;
    assert_eq!(says(&mut anonymous).await, 401);

    let (mut first, mut second) = (site.open(("cookie", &cookie)).await, site.open(("cookie", &other)).await);
    assert_eq!((says(&mut first).await, says(&mut second).await), (json!(1), json!(1)));
    let (status, headers, _) = site.post("/logout", &[("cookie", &cookie)], &Json::Null).await;
    assert_eq!((status, headers["set-cookie"].to_str().expect("a text").starts_with("id=;")), (204, true));
    assert_eq!(first.closed().await, Some(4401));
    assert_eq!(says(&mut second).await, 1, "another session of the same user goes on");
    // The application no longer knows the session, or the user, and is asked again.
    site.barred.bar(&other_session);
    assert_eq!(second.closed().await, Some(4401));
    assert_eq!(site.write(&[("cookie", &other)]).await.0, 401);
    let (cookie, _) = site.log_in(2).await;
    let mut bob = site.open(("cookie", &cookie)).await;
    assert_eq!(says(&mut bob).await, 2);
    site.barred.bar("2");
    assert_eq!(bob.closed().await, Some(4401));
    assert_eq!(site.socket(("cookie", &cookie)).await.err(), Some(401));
    assert_eq!(says(&mut anonymous).await, 401, "nobody has no session that could end");
    site.realtime.close().await;
}

#[actix_web::test]
async fn a_cookie_session_ends_after_its_lifetime() {
    let site = site(TimeDelta::seconds(3)).await;
    let (cookie, _) = site.log_in(1).await;
    let mut socket = site.open(("cookie", &cookie)).await;
    assert_eq!(says(&mut socket).await, 1);
    assert_eq!(socket.closed().await, Some(4401));
    assert_eq!(site.socket(("cookie", &cookie)).await.err(), Some(401));
    site.realtime.close().await;
}

#[actix_web::test]
async fn a_token_is_looked_up_by_whichever_way_it_comes_and_again_later() {
    let site = site(TimeDelta::hours(1)).await;
    assert_eq!(site.write(&[("authorization", "Bearer token-1")]).await, (201, json!(1)));
    assert_eq!(site.write(&[("authorization", "Bearer nonsense")]).await.0, 401);
    let mut by_header = site.open(("authorization", "Bearer token-1")).await;
    let mut by_subprotocol = site.open(("sec-websocket-protocol", "realtime.v1.json, bearer.token-1")).await;
    let mut by_message = site.open(("cookie", "theme=dark")).await;
    let authenticate = json!({"action": "authenticate", "payload": {"token": "token-1"}});
    assert_eq!(by_message.request(authenticate).await["status"], 200);
    let mut other = site.open(("authorization", "Bearer token-2")).await;
    for socket in [&mut by_header, &mut by_subprotocol, &mut by_message] {
        assert_eq!(says(socket).await, 1);
    }
    site.barred.bar("token-1");
    for mut socket in [by_header, by_subprotocol, by_message] {
        assert_eq!(socket.closed().await, Some(4401));
    }
    assert_eq!(says(&mut other).await, 2);
    let ticket = site.realtime.ticket(Identity::of(Principal::user(2))).expect("a ticket");
    let handshake = Handshake::to(format!("/api/ws?ticket={ticket}"));
    let (mut by_ticket, _) = handshake.open_at(site.address).await.expect("a socket");
    assert_eq!(says(&mut by_ticket).await, 2);
    site.realtime.close().await;
}
