//! Who is asking: from a token or a cookie to a user, by the sessions in the database.

use std::sync::{Arc, OnceLock};

use realtime_actix::auth::{Authenticator, Credentials, Identity};
use realtime_actix::{Code, Error, Principal, Realtime};

use crate::accounts;
use crate::database::Database;
use crate::models::User;

/// The cookie that bears a session's token.
pub(crate) const COOKIE: &str = "session";

/// What policies know of whoever asks, beside his key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    is_staff: bool,
}

impl Caller {
    #[cfg(test)]
    pub(crate) const STAFF: Self = Self { is_staff: true };

    /// Is he one of the staff? Nobody is before he logs in.
    pub(crate) fn is_staff(principal: &Principal) -> bool {
        principal.claims::<Self>().is_some_and(|caller| caller.is_staff)
    }
}

/// Looks sessions up. It is given to the service before there is one, and reads with it.
#[derive(Clone, Default)]
pub(crate) struct Sessions {
    database: Arc<OnceLock<Database>>,
}

impl Sessions {
    /// Reads from this database from now on.
    pub(crate) fn read_from(&self, database: &Database) {
        let _ = self.database.set(database.clone());
    }

    async fn identity(&self, session: String) -> Result<Identity, Error> {
        let starting = || Error::new(Code::Unavailable, "The server is starting.").retry_after(1.0);
        let database = self.database.get().ok_or_else(starting)?;
        let name = session.clone();
        let found = database
            .read(move |connection| Box::pin(async move { accounts::session(connection, &name).await }));
        let (user, ends) = found.await?.ok_or_else(Error::not_authenticated)?;
        let principal = Principal::user(user.id).with(Caller { is_staff: user.is_staff });
        Ok(Identity::of(principal).in_session(session).until(ends))
    }
}

impl Authenticator for Sessions {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        match credentials {
            Credentials::Token(token) => self.identity(accounts::session_name(token)).await,
            Credentials::Request(request) => match request.cookie(COOKIE) {
                Some(cookie) => self.identity(accounts::session_name(cookie.value())).await,
                None => Ok(Identity::anonymous()),
            },
        }
    }

    async fn recheck(&self, identity: &Identity) -> Result<Identity, Error> {
        match identity.session() {
            Some(session) => self.identity(session.to_owned()).await,
            None => Ok(identity.clone()),
        }
    }
}

/// Closes the sockets of users whose rows change, whoever changes them: their names and what they may do are others
/// now. His own change over a socket is answered before it is closed.
pub(crate) fn close_sockets_of_changed_users(realtime: &Realtime) {
    realtime.on_change::<User>(|realtime, change| {
        // A user who has just been made has no socket. A password is no part of what is compared.
        if let Some(before) = change.before_as::<User>()
            && change.after_as::<User>() != Some(before)
        {
            realtime.close_user(before.id);
        }
    });
}
