//! An authenticator of the sessions that actix-session and actix-identity keep.

use std::borrow::Cow;
use std::fmt::Write as _;

use actix_session::{Session, SessionExt as _};
use actix_web::HttpRequest;
use chrono::{DateTime, TimeDelta, Utc};
use realtime_core::{Code, Error, Principal};
use serde_json::Value as Json;

use super::{Authenticator, Credentials, Identity, Proof};

/// Where actix-identity keeps the user, and actix-session its cookie, unless they are told otherwise.
const USER: &str = "actix_identity.user_id";
const COOKIE: &str = "id";

/// What [`begin_session`] keeps in a session.
const NAME: &str = "realtime.session";
const BEGUN: &str = "realtime.begun";

/// Who is logged in by a cookie of [`actix_session`], where `actix_identity` or the application itself has put the user
/// into the session.
///
/// The middleware stands around the scope, and the function says who a user is, by what the session has of him and by
/// the session's name where [`begin_session`] has given it one. It is asked again at every
/// [re-check](crate::Connect::recheck_interval): a user who has been deactivated, or a session that the application no
/// longer knows, is a 401 there, and his sockets are closed.
///
/// ```
/// use realtime_actix::auth::CookieSession;
/// use realtime_actix::{Error, Principal};
///
/// # let _ =
/// CookieSession::new(async |user: &str, _session: Option<&str>| {
///     let key: i32 = user.parse().map_err(|_| Error::not_authenticated())?;
///     Ok(Principal::user(key))
/// });
/// ```
///
/// A request whose cookie is not, or no longer, that of a session is refused with 401; log out with
/// [`Session::purge`], which removes the cookie. A session without a user is anonymous. Tokens are not good here: see
/// [`Tokens::or`](super::Tokens::or).
#[derive(Clone, Debug)]
pub struct CookieSession<U> {
    users: U,
    user_key: Cow<'static, str>,
    cookie: Cow<'static, str>,
    lifetime: Option<TimeDelta>,
}

impl<U> CookieSession<U>
where
    U: AsyncFn(&str, Option<&str>) -> Result<Principal, Error> + Send + Sync + 'static,
{
    /// Looks users up with a function, which answers 401 for those who may not come in.
    pub fn new(users: U) -> Self {
        Self { users, user_key: USER.into(), cookie: COOKIE.into(), lifetime: None }
    }

    /// Where the session has its user, a text or a number. The default is where actix-identity puts him.
    #[must_use]
    pub fn user_key(self, key: impl Into<Cow<'static, str>>) -> Self {
        Self { user_key: key.into(), ..self }
    }

    /// The name of the cookie, where the middleware was given another one.
    #[must_use]
    pub fn cookie_name(self, name: impl Into<Cow<'static, str>>) -> Self {
        Self { cookie: name.into(), ..self }
    }

    /// How long a session lasts from its [beginning](begin_session). One that was not begun so does not end by itself.
    #[must_use]
    pub fn lifetime(self, lifetime: TimeDelta) -> Self {
        Self { lifetime: Some(lifetime), ..self }
    }

    async fn of(&self, request: &HttpRequest) -> Result<Identity, Error> {
        let session = request.get_session();
        let Some(user) = member::<Json>(&session, &self.user_key)? else {
            let is_unknown = session.entries().is_empty() && request.cookie(&self.cookie).is_some();
            return if is_unknown { Err(Error::not_authenticated()) } else { Ok(Identity::anonymous()) };
        };
        let user = user.as_str().map_or_else(|| user.to_string(), str::to_owned);
        let name = session_name(&session)?;
        let begun = member::<i64>(&session, BEGUN)?.and_then(DateTime::from_timestamp_millis);
        let mut identity =
            Identity::of((self.users)(&user, name.as_deref()).await?).known_by(Proof::User(user));
        if let Some(name) = name {
            identity = identity.in_session(name);
        }
        match self.lifetime.zip(begun).map(|(lifetime, begun)| begun.checked_add_signed(lifetime)) {
            Some(Some(end)) if end <= Utc::now() => Err(Error::not_authenticated()),
            Some(Some(end)) => Ok(identity.until(end)),
            _ => Ok(identity),
        }
    }
}

/// Begins a session anew when somebody logs in: gives it another key, so that nobody who has planted the former one
/// shares it, and a name, by which [`Realtime::close_session`](crate::Realtime::close_session) finds its sockets.
///
/// # Errors
/// 503 where there is no randomness, or the session cannot be written.
pub fn begin_session(session: &Session) -> Result<String, Error> {
    let unavailable = || Error::new(Code::Unavailable, "No session can be begun.").retry_after(1.0);
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| unavailable())?;
    let mut name = String::with_capacity(32);
    for byte in bytes {
        let _ = write!(name, "{byte:02x}");
    }
    session.renew();
    session
        .insert(NAME, &name)
        .and_then(|()| session.insert(BEGUN, Utc::now().timestamp_millis()))
        .map_err(|_| unavailable())?;
    Ok(name)
}

/// The name that [`begin_session`] has given a session.
///
/// # Errors
/// 401 where something else stands in its place.
pub fn session_name(session: &Session) -> Result<Option<String>, Error> {
    member(session, NAME)
}

fn member<T: serde::de::DeserializeOwned>(session: &Session, key: &str) -> Result<Option<T>, Error> {
    session.get(key).map_err(|_| Error::not_authenticated())
}

impl<U> Authenticator for CookieSession<U>
where
    U: AsyncFn(&str, Option<&str>) -> Result<Principal, Error> + Send + Sync + 'static,
{
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        match credentials {
            Credentials::Request(request) => self.of(request).await,
            Credentials::Token(_) => Err(Error::not_authenticated()),
        }
    }

    async fn recheck(&self, identity: &Identity) -> Result<Identity, Error> {
        match identity.proof() {
            Some(Proof::User(user)) => {
                let principal = (self.users)(user, identity.session()).await?;
                Ok(Identity { principal, ..identity.clone() })
            }
            _ => Ok(identity.clone()),
        }
    }
}
