//! Who is asking: from what a request brings with it to a principal.

#[cfg(feature = "session")]
mod cookie_session;
mod credentials;
mod cross_site;
mod revocation;
mod tickets;
mod tokens;

use std::fmt;
use std::future::Future;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use realtime_core::{Error, Principal};

#[cfg(feature = "session")]
pub use self::cookie_session::{CookieSession, begin_session, session_name};
pub use self::credentials::Credentials;
pub(crate) use self::credentials::{bearer, offered_token, ticket};
pub(crate) use self::cross_site::is_cross_site;
pub(crate) use self::revocation::{Revocation, Revocations, Since};
pub(crate) use self::tickets::Tickets;
pub use self::tokens::{Anonymous, Tokens};

/// Whoever asks, in which session, and until when that holds.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    principal: Principal,
    session: Option<Box<str>>,
    expires_at: Option<DateTime<Utc>>,
    proof: Option<Proof>,
    /// How many revocations there had been when the application was asked.
    asked: Option<u64>,
}

/// By what an authenticator of ours knows somebody, so that it can ask again.
#[derive(Clone)]
pub(crate) enum Proof {
    Token(String),
    #[cfg(feature = "session")]
    User(String),
}

impl fmt::Debug for Proof {
    /// Whoever reads it in a log cannot log in with it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Proof(..)")
    }
}

impl Identity {
    /// Nobody is logged in.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Somebody.
    pub fn of(principal: Principal) -> Self {
        Self { principal, ..Self::default() }
    }

    /// Names the session in which he is logged in, by which [`Realtime::close_session`](crate::Realtime::close_session)
    /// finds his sockets. It need not be secret, and should not be.
    #[must_use]
    pub fn in_session(self, session: impl Into<String>) -> Self {
        Self { session: Some(session.into().into()), ..self }
    }

    /// Says when it ends. His sockets are closed then.
    #[must_use]
    pub fn until(self, expires_at: DateTime<Utc>) -> Self {
        Self { expires_at: Some(expires_at), ..self }
    }

    pub(crate) fn known_by(self, proof: Proof) -> Self {
        Self { proof: Some(proof), ..self }
    }

    pub(crate) fn proof(&self) -> Option<&Proof> {
        self.proof.as_ref()
    }

    /// It is known since so many revocations.
    pub(crate) fn asked_after(self, revocations: u64) -> Self {
        Self { asked: Some(revocations), ..self }
    }

    pub(crate) fn asked(&self) -> Option<u64> {
        self.asked
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The session that [`Identity::in_session`] named.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// When it ends.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }
}

/// What an application knows about logging in: who presents which credentials.
///
/// [`Tokens`] is made of a function that looks tokens up, `CookieSession` (feature `session`) of one that looks up the
/// users of actix-session and actix-identity, [`Anonymous`] knows nobody. Tickets need none of them: see
/// [`Realtime::ticket`](crate::Realtime::ticket).
///
/// ```
/// use actix_web::HttpRequest;
/// use realtime_actix::auth::{Authenticator, Credentials, Identity};
/// use realtime_actix::{Error, Principal};
///
/// struct Keys;
///
/// impl Authenticator for Keys {
///     async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
///         match credentials {
///             Credentials::Token("secret") => Ok(Identity::of(Principal::user(7))),
///             Credentials::Token(_) => Err(Error::not_authenticated()),
///             Credentials::Request(_) => Ok(Identity::anonymous()),
///         }
///     }
/// }
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// Who presents these credentials?
    ///
    /// # Errors
    /// 401 for a token or a cookie that is not, or no longer, good. What brings none at all is anonymous. Any other
    /// error is answered as it is: 503 where the sessions cannot be looked up.
    fn identify(&self, credentials: Credentials<'_>) -> impl Future<Output = Result<Identity, Error>>;

    /// Does an identity still hold, and what is it now? Asked about a socket at every
    /// [re-check](crate::Connect::recheck_interval) and by [`Realtime::refresh_user`](crate::Realtime::refresh_user), and
    /// when a [ticket](crate::Realtime::ticket) is used.
    ///
    /// # Errors
    /// 401 where it no longer holds: the socket is closed with 4401, and a ticket opens none. Any other error says that this
    /// cannot be found out at present: the socket goes on as it was until the next time, and is closed with 1011 once that
    /// has lasted for [`Limits::unchecked_ms`](crate::Limits::unchecked_ms).
    fn recheck(&self, identity: &Identity) -> impl Future<Output = Result<Identity, Error>> {
        std::future::ready(Ok(identity.clone()))
    }
}

/// An authenticator without its type.
pub(crate) trait DynAuthenticator: Send + Sync {
    fn identify<'a>(&'a self, credentials: Credentials<'a>) -> LocalBoxFuture<'a, Result<Identity, Error>>;
    fn recheck<'a>(&'a self, identity: &'a Identity) -> LocalBoxFuture<'a, Result<Identity, Error>>;
}

impl<A: Authenticator> DynAuthenticator for A {
    fn identify<'a>(&'a self, credentials: Credentials<'a>) -> LocalBoxFuture<'a, Result<Identity, Error>> {
        Authenticator::identify(self, credentials).boxed_local()
    }

    fn recheck<'a>(&'a self, identity: &'a Identity) -> LocalBoxFuture<'a, Result<Identity, Error>> {
        Authenticator::recheck(self, identity).boxed_local()
    }
}

/// Everybody is the same, whatever he brings.
pub(crate) struct Everyone(pub(crate) Principal);

impl Authenticator for Everyone {
    async fn identify(&self, _credentials: Credentials<'_>) -> Result<Identity, Error> {
        Ok(Identity::of(self.0.clone()))
    }
}
