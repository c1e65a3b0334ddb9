//! The routes under `/auth`: registering, logging in and out, and what belongs to a session.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::DefaultHeaders;
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError as _, Route, web};
use chrono::{DateTime, Utc};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use realtime_actix::{
    Code, Error, Field as _, Problem, Realtime, RealtimeResource as _, Record as _, ServiceError, json_object,
};
use serde_json::{Map, Value as Json, json};

use crate::accounts::{self, NewSession};
use crate::database::Database;
use crate::identity::COOKIE;
use crate::models::User;
use crate::passwords::Passwords;
use crate::throttle::Throttle;

/// More bytes than a name and two passwords need.
const BODY_BYTES: usize = 4096;

/// The lengths that a password may have, in characters.
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=128;

/// What the routes work with.
pub(crate) struct Auth {
    realtime: Realtime,
    database: Database,
    passwords: Passwords,
    attempts: Option<Attempts>,
}

/// How often somebody may try. Who logs in well has what he tried given back.
///
/// That a name is limited from wherever it is tried keeps its password from being guessed from many addresses at once. It
/// also lets anybody who goes on guessing keep its user from logging in meanwhile; sessions that he has go on.
struct Attempts {
    names: Throttle,
    addresses: Throttle,
}

impl Auth {
    /// `throttled`: is it limited how often a password can be guessed?
    pub(crate) fn new(realtime: Realtime, database: Database, throttled: bool) -> Result<Self, String> {
        let passwords = Passwords::new().map_err(|error| format!("passwords cannot be hashed: {error}"))?;
        let now = Instant::now();
        let attempts = throttled.then(|| Attempts {
            names: Throttle::new(10, Duration::from_secs(10), now),
            addresses: Throttle::new(50, Duration::from_secs(2), now),
        });
        Ok(Self { realtime, database, passwords, attempts })
    }

    /// Counts an attempt from an address, and for a user name where there is one. Behind a proxy that is not trusted
    /// everybody has the proxy's address.
    fn attempt<'a>(&'a self, request: &HttpRequest, name: Option<&'a str>) -> Result<Attempt<'a>, Error> {
        let address = self.realtime.address_of(request).map(network);
        if let Some(attempts) = &self.attempts {
            let now = Instant::now();
            let refuse = |wait: Duration| {
                Error::new(Code::Throttled, "Too many attempts. Wait a little.")
                    .retry_after(wait.as_secs_f64())
            };
            attempts.addresses.take(&address, now).map_err(refuse)?;
            if let Some(name) = name {
                attempts.names.take(&name, now).map_err(refuse)?;
            }
        }
        Ok(Attempt { attempts: self.attempts.as_ref(), address, name })
    }

    /// Begins a session and tells its token, in the place of the session of the request's cookie.
    async fn enter(
        &self,
        request: &HttpRequest,
        status: StatusCode,
        user: User,
        password_hash: String,
    ) -> Result<HttpResponse, Error> {
        let session = NewSession::random(Utc::now()).map_err(|error| {
            tracing::error!(%error, "there is no randomness for a token");
            Error::internal("tokens")
        })?;
        let (token, ends, key) = (session.token.clone(), session.ends, user.id);
        let former = request.cookie(COOKIE).map(|cookie| accounts::session_name(cookie.value()));
        let began = self.database.write(move |connection| {
            Box::pin(async move {
                accounts::begin_session(connection, &session, (key, &password_hash), former.as_deref()).await
            })
        });
        for ended in began.await?.ok_or_else(wrong)? {
            self.realtime.close_session(ended);
        }
        let mut body = description(&user, ends);
        body.insert("token".into(), token.clone().into());
        let mut cookie = self.cookie(request, token);
        cookie.set_max_age(time::Duration::seconds(accounts::LIFETIME.num_seconds()));
        Ok(HttpResponse::build(status).cookie(cookie).json(body))
    }

    /// The browser's cookie: no script reads it, and no other site's page sends it along with a write.
    fn cookie(&self, request: &HttpRequest, token: String) -> Cookie<'static> {
        Cookie::build(COOKIE, token)
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.realtime.is_secure(request))
            .finish()
    }
}

/// An attempt that counts, unless it turns out to be a good one.
struct Attempt<'a> {
    attempts: Option<&'a Attempts>,
    address: Option<IpAddr>,
    name: Option<&'a str>,
}

impl Attempt<'_> {
    fn was_good(self) {
        if let Some(attempts) = self.attempts {
            attempts.addresses.give_back(&self.address);
            if let Some(name) = self.name {
                attempts.names.give_back(&name);
            }
        }
    }
}

/// Whoever has an IPv6 address has as many as its last 64 bits can tell.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The routes.
pub(crate) fn routes(config: &mut web::ServiceConfig, auth: &web::Data<Auth>) {
    config.service(
        web::scope("/auth")
            .app_data(auth.clone())
            .wrap(DefaultHeaders::new().add((header::CACHE_CONTROL, "no-store")))
            .service(only("POST", "/register", web::post().to(register)))
            .service(only("POST", "/login", web::post().to(log_in)))
            .service(only("POST", "/logout", web::post().to(log_out)))
            .service(only("POST", "/password", web::post().to(change_password)))
            .service(only("POST", "/ticket", web::post().to(ticket)))
            .service(only("GET", "/me", web::get().to(me)))
            .default_service(web::to(|| async { Problem(Error::not_found()).error_response() })),
    );
}

/// A path with one method. To another it answers with a problem document like everything else.
fn only(method: &'static str, path: &'static str, route: Route) -> Resource {
    web::resource(path).route(route).default_service(web::to(move || async move {
        let error = Error::new(Code::ActionNotAllowed, format!("The method is {method}."));
        let mut response = Problem(error).error_response();
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(method));
        response
    }))
}

async fn register(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Auth>,
) -> Result<HttpResponse, Problem> {
    auth.realtime.refuse_cross_site(&request)?;
    let [username, password] = texts(&request, payload, ["username", "password"]).await?;
    let mut mistakes = None;
    for message in User::mistakes_in_name(&username) {
        add(&mut mistakes, "username", &message);
    }
    check_password(&mut mistakes, "password", &password);
    if let Some(error) = mistakes {
        return Err(error.into());
    }
    // Counts in any case: it cannot be done at will either.
    auth.attempt(&request, None)?;
    let hash = auth.passwords.hash(password).await?;
    let (name, stored) = (username, hash.clone());
    let made = auth.database.write(move |connection| {
        Box::pin(async move { accounts::create(connection, &name, &stored, Utc::now()).await })
    });
    let user = match made.await {
        Err(ServiceError::Refused(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))) => {
            let error = Error::new(Code::Conflict, "There is a user of that name already.");
            return Err(error.and("username", "This value is already taken.").into());
        }
        made => made.map_err(Error::from)?,
    };
    Ok(auth.enter(&request, StatusCode::CREATED, user, hash).await?)
}

async fn log_in(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Auth>,
) -> Result<HttpResponse, Problem> {
    auth.realtime.refuse_cross_site(&request)?;
    let [username, password] = texts(&request, payload, ["username", "password"]).await?;
    let attempt = auth.attempt(&request, Some(&username))?;
    let name = username.clone();
    let found = auth
        .database
        .read(move |connection| Box::pin(async move { accounts::by_name(connection, &name).await }));
    let (user, hash) = found.await.map_err(Error::from)?.unzip();
    let hash = hash.flatten();
    let is_right = auth.passwords.verify(password, hash.as_deref()).await?;
    let (true, Some(user), Some(hash)) = (is_right, user, hash) else { return Err(wrong().into()) };
    let response = auth.enter(&request, StatusCode::OK, user, hash).await?;
    attempt.was_good();
    Ok(response)
}

/// Ends the session of the request, if there is one.
async fn log_out(request: HttpRequest, auth: web::Data<Auth>) -> Result<HttpResponse, Problem> {
    auth.realtime.refuse_cross_site(&request)?;
    match auth.realtime.identify(&request).await {
        Ok(identity) => {
            if let Some(session) = identity.session() {
                let name = session.to_owned();
                let ending = auth.database.write(move |connection| {
                    Box::pin(async move { accounts::end_session(connection, &name).await })
                });
                ending.await.map_err(Error::from)?;
                auth.realtime.close_session(session);
            }
        }
        // It has ended already.
        Err(error) if error.code() == Code::NotAuthenticated => {}
        Err(error) => return Err(error.into()),
    }
    let mut response = HttpResponse::NoContent();
    // A request by token says nothing of the browser's own session.
    if !request.headers().contains_key(header::AUTHORIZATION) {
        let mut cookie = auth.cookie(&request, String::new());
        cookie.make_removal();
        response.cookie(cookie);
    }
    Ok(response.finish())
}

async fn change_password(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Auth>,
) -> Result<HttpResponse, Problem> {
    let identity = auth.realtime.identify(&request).await?;
    auth.realtime.refuse_cross_site(&request)?;
    let key: i32 = identity.principal().user_key()?;
    let session = identity.session().ok_or_else(Error::not_authenticated)?.to_owned();
    let [old, new] = texts(&request, payload, ["old", "new"]).await?;
    let mut mistakes = None;
    check_password(&mut mistakes, "new", &new);
    if let Some(error) = mistakes {
        return Err(error.into());
    }
    let found = auth.database.read(move |connection| Box::pin(accounts::by_key(connection, key))).await;
    let (user, hash) = found.map_err(Error::from)?.ok_or_else(Error::not_authenticated)?;
    let attempt = auth.attempt(&request, Some(&user.username))?;
    let not_his = || Error::validation("old", "This is not your password.");
    let is_right = auth.passwords.verify(old, hash.as_deref()).await?;
    let (true, Some(hash)) = (is_right, hash) else { return Err(not_his().into()) };
    let new_hash = auth.passwords.hash(new).await?;
    let kept = session.clone();
    let changing = auth.database.write(move |connection| {
        Box::pin(async move { accounts::change_password(connection, key, (&hash, &new_hash), &kept).await })
    });
    if !changing.await.map_err(Error::from)? {
        return Err(not_his().into());
    }
    attempt.was_good();
    auth.realtime.close_other_sessions(key, session);
    Ok(HttpResponse::NoContent().finish())
}

async fn ticket(request: HttpRequest, auth: web::Data<Auth>) -> Result<HttpResponse, Problem> {
    let identity = auth.realtime.identify(&request).await?;
    auth.realtime.refuse_cross_site(&request)?;
    if identity.principal().is_anonymous() {
        return Err(Error::not_authenticated().into());
    }
    Ok(HttpResponse::Ok().json(json!({ "ticket": auth.realtime.ticket(identity)? })))
}

async fn me(request: HttpRequest, auth: web::Data<Auth>) -> Result<HttpResponse, Problem> {
    let identity = auth.realtime.identify(&request).await?;
    let key: i32 = identity.principal().user_key()?;
    let ends = identity.expires_at().ok_or_else(Error::not_authenticated)?;
    let found = auth.database.read(move |connection| Box::pin(accounts::by_key(connection, key))).await;
    let (user, _) = found.map_err(Error::from)?.ok_or_else(Error::not_authenticated)?;
    Ok(HttpResponse::Ok().json(description(&user, ends)))
}

/// The user, as the resource tells of him, and when the session ends.
fn description(user: &User, ends: DateTime<Utc>) -> Map<String, Json> {
    let fields = User::DESCRIPTOR.fields.iter().enumerate();
    let user = fields.map(|(at, field)| (field.name.to_owned(), user.value(at).to_json())).collect();
    Map::from_iter([
        ("expires_at".to_owned(), ends.to_value().to_json()),
        ("user".to_owned(), Json::Object(user)),
    ])
}

fn wrong() -> Error {
    Error::new(Code::NotAuthenticated, "The user name or the password is wrong.")
}

fn add(mistakes: &mut Option<Error>, name: &str, message: &str) {
    *mistakes = Some(match mistakes.take() {
        Some(error) => error.and(name, message),
        None => Error::validation(name, message),
    });
}

fn check_password(mistakes: &mut Option<Error>, name: &str, password: &str) {
    if !PASSWORD.contains(&password.chars().count()) {
        add(mistakes, name, "A password has 8 to 128 characters.");
    }
}

/// The members of a body, all of which are texts.
async fn texts<const N: usize>(
    request: &HttpRequest,
    payload: web::Payload,
    names: [&'static str; N],
) -> Result<[String; N], Error> {
    let mut body = json_object(request, payload, BODY_BYTES).await?;
    let mut mistakes = None;
    let texts = names.map(|name| match body.remove(name) {
        Some(Json::String(text)) => text,
        given => {
            let message = if given.is_some() { "Not a valid string." } else { "This field is required." };
            add(&mut mistakes, name, message);
            String::new()
        }
    });
    for name in body.keys() {
        add(&mut mistakes, name, &format!("Unknown field; the fields are {}.", names.join(", ")));
    }
    mistakes.map_or(Ok(texts), Err)
}
