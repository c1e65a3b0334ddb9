//! Authenticators of tokens, and of nobody.

use realtime_core::Error;

use super::{Authenticator, Credentials, Identity, Proof};

/// Nobody logs in: whoever brings no token is anonymous, and no token is good.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Authenticator for Anonymous {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        match credentials {
            Credentials::Token(_) => Err(Error::not_authenticated()),
            Credentials::Request(_) => Ok(Identity::anonymous()),
        }
    }
}

/// Tokens that a function of the application looks up, by whichever way they come: `Authorization: Bearer`, the
/// subprotocol `bearer.<token>`, or the message `authenticate`. Whoever brings none is anonymous, or whoever
/// [another authenticator](Tokens::or) says.
///
/// The function is asked again at every [re-check](crate::Connect::recheck_interval), so that a token that is no longer
/// good ends the sockets that it has opened. It is kept in memory for that.
///
/// ```
/// use realtime_actix::auth::{Identity, Tokens};
/// use realtime_actix::{Error, Principal};
///
/// # let _ =
/// Tokens::new(async |token: &str| match token {
///     "secret" => Ok(Identity::of(Principal::user(7)).in_session("the only one")),
///     _ => Err(Error::not_authenticated()),
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Tokens<T, R = Anonymous> {
    tokens: T,
    requests: R,
}

impl<T> Tokens<T>
where
    T: AsyncFn(&str) -> Result<Identity, Error> + Send + Sync + 'static,
{
    /// Looks tokens up with a function, which answers 401 to those that are not good.
    pub fn new(tokens: T) -> Self {
        Self { tokens, requests: Anonymous }
    }

    /// Who brings no token is whoever another authenticator says: of a cookie, for example.
    #[must_use]
    pub fn or<R: Authenticator>(self, requests: R) -> Tokens<T, R> {
        Tokens { tokens: self.tokens, requests }
    }
}

impl<T, R> Authenticator for Tokens<T, R>
where
    T: AsyncFn(&str) -> Result<Identity, Error> + Send + Sync + 'static,
    R: Authenticator,
{
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        match credentials {
            Credentials::Token(token) => {
                Ok((self.tokens)(token).await?.known_by(Proof::Token(token.to_owned())))
            }
            Credentials::Request(_) => self.requests.identify(credentials).await,
        }
    }

    async fn recheck(&self, identity: &Identity) -> Result<Identity, Error> {
        match identity.proof() {
            Some(Proof::Token(token)) => self.identify(Credentials::Token(token)).await,
            _ => self.requests.recheck(identity).await,
        }
    }
}
