//! Users with tokens and cookies, as an application would keep them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use realtime_actix::auth::{Authenticator, Credentials, Identity};
use realtime_actix::{Error, Principal};

/// What is known of a user beside his key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// May he do everything?
    pub staff: bool,
}

impl Account {
    /// Is whoever asks one of the staff?
    pub fn is_staff(principal: &Principal) -> bool {
        principal.claims::<Self>().is_some_and(|account| account.staff)
    }
}

#[derive(Clone)]
struct Login {
    user: i32,
    account: Account,
    expires_at: Option<DateTime<Utc>>,
}

/// Who is logged in, by token. Clones are of the same.
#[derive(Clone, Default)]
pub struct Accounts(Arc<Mutex<HashMap<String, Login>>>);

impl Accounts {
    fn logins(&self) -> MutexGuard<'_, HashMap<String, Login>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs a user in. The token is also the name of the session.
    pub fn log_in(&self, token: &str, user: i32, account: Account) {
        self.logins().insert(token.into(), Login { user, account, expires_at: None });
    }

    /// Logs a user in for some time.
    pub fn log_in_until(&self, token: &str, user: i32, expires_at: DateTime<Utc>) {
        let login = Login { user, account: Account::default(), expires_at: Some(expires_at) };
        self.logins().insert(token.into(), login);
    }

    /// Forgets a session without telling anybody.
    pub fn log_out(&self, token: &str) {
        self.logins().remove(token);
    }

    fn of(&self, token: &str) -> Result<Identity, Error> {
        let login = self.logins().get(token).cloned().ok_or_else(Error::not_authenticated)?;
        let identity = Identity::of(Principal::user(login.user).with(login.account)).in_session(token);
        Ok(match login.expires_at {
            Some(end) => identity.until(end),
            None => identity,
        })
    }
}

impl Authenticator for Accounts {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        match credentials {
            Credentials::Token(token) => self.of(token),
            Credentials::Request(request) => match request.cookie("session") {
                Some(cookie) => self.of(cookie.value()),
                None => Ok(Identity::anonymous()),
            },
        }
    }

    async fn recheck(&self, identity: &Identity) -> Result<Identity, Error> {
        match identity.session() {
            Some(session) => self.of(session),
            None => Ok(identity.clone()),
        }
    }
}
