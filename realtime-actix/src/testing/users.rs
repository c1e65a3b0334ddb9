//! A store of users for tests.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use realtime_core::{Error, Principal};

use crate::auth::{Authenticator, Credentials, Identity};

/// A user of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// His key: 1 for the first of a store, and so on.
    pub key: i32,
    /// The name that he logs in with.
    pub name: String,
    /// Was he made by [`Users::admin`]?
    pub is_admin: bool,
}

/// Users with passwords, and who is logged in; also the [`Authenticator`] of a service under test. Clones are the same
/// store.
#[derive(Clone)]
pub struct Users {
    principal: Arc<dyn Fn(&User) -> Principal + Send + Sync>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// With their passwords. The keys are their places.
    users: Vec<(User, String)>,
    /// Whose they are, and until when.
    sessions: HashMap<String, (i32, Option<DateTime<Utc>>)>,
    begun: usize,
}

impl fmt::Debug for Users {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Users").field("users", &self.state().users.len()).finish_non_exhaustive()
    }
}

impl Default for Users {
    /// Users of whom nothing is known but their keys.
    fn default() -> Self {
        Self::of(|user| Principal::user(user.key))
    }
}

impl Users {
    /// Users of whom the application knows more than their keys: the function says what.
    ///
    /// ```
    /// # use realtime_actix::Principal;
    /// # use realtime_actix::testing::Users;
    /// struct Account { is_staff: bool }
    ///
    /// let users = Users::of(|user| Principal::user(user.key).with(Account { is_staff: user.is_admin }));
    /// assert!(!users.user().is_admin && users.admin().is_admin);
    /// ```
    pub fn of(principal: impl Fn(&User) -> Principal + Send + Sync + 'static) -> Self {
        Self { principal: Arc::new(principal), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that has failed has panicked already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, name: Option<&str>, password: &str, is_admin: bool) -> User {
        let mut state = self.state();
        let name = name.map_or_else(|| format!("u{}", state.users.len()), str::to_owned);
        assert!(state.users.iter().all(|(user, _)| user.name != name), "there is a user {name:?} already");
        let key = i32::try_from(state.users.len() + 1).expect("tests have few users");
        let user = User { key, name, is_admin };
        state.users.push((user.clone(), password.to_owned()));
        user
    }

    /// Makes a user.
    ///
    /// # Panics
    /// Where there is one of that name.
    pub fn create_user(&self, name: &str, password: &str) -> User {
        self.add(Some(name), password, false)
    }

    /// Makes a user with a name of the store's choice, `u0`, `u1` and so on, and the password `pw`.
    pub fn user(&self) -> User {
        self.add(None, "pw", false)
    }

    /// The same, who is an admin.
    pub fn admin(&self) -> User {
        self.add(None, "pw", true)
    }

    /// Logs a user in and gives the token of his session, which is its name as well.
    ///
    /// # Errors
    /// 401 where the name or the password is wrong.
    pub fn log_in(&self, name: &str, password: &str) -> Result<String, Error> {
        let state = self.state();
        let known = state.users.iter().find(|(user, secret)| user.name == name && secret == password);
        let user = known.map(|(user, _)| user.clone()).ok_or_else(Error::not_authenticated)?;
        drop(state);
        Ok(self.begin(&user))
    }

    /// Begins a session of a user.
    pub(super) fn begin(&self, user: &User) -> String {
        let mut state = self.state();
        state.begun += 1;
        let session = format!("session-{}", state.begun);
        state.sessions.insert(session.clone(), (user.key, None));
        session
    }

    /// Begins a session of a user under a name of the test's choice, which is its token as well.
    pub fn begin_session(&self, user: &User, name: &str) {
        self.state().sessions.insert(name.to_owned(), (user.key, None));
    }

    /// The user of a name.
    ///
    /// # Panics
    /// Where there is none.
    pub fn named(&self, name: &str) -> User {
        let state = self.state();
        let known = state.users.iter().find(|(user, _)| user.name == name).map(|(user, _)| user.clone());
        drop(state);
        known.unwrap_or_else(|| panic!("there is no user {name:?}"))
    }

    /// Says when a session ends, to whoever asks from now on.
    ///
    /// # Panics
    /// Where there is no such session.
    pub fn end_at(&self, session: &str, end: DateTime<Utc>) {
        let mut state = self.state();
        state.sessions.get_mut(session).expect("the session is one of the store").1 = Some(end);
    }

    /// Forgets a session, without a word to the service: [`Client::logout`](super::Client::logout) says it too.
    pub fn log_out(&self, session: &str) {
        self.state().sessions.remove(session);
    }

    /// Changes whether a user is an admin. [`Realtime::refresh_user`](crate::Realtime::refresh_user) tells the service.
    ///
    /// # Panics
    /// Where the user is not one of the store.
    pub fn set_admin(&self, user: &User, is_admin: bool) {
        let mut state = self.state();
        let found = state.users.iter_mut().find(|(known, _)| known.key == user.key);
        found.expect("the user is one of the store").0.is_admin = is_admin;
    }

    /// Whose session it is.
    pub(super) fn identity(&self, session: &str) -> Result<Identity, Error> {
        let state = self.state();
        let (key, end) = state.sessions.get(session).copied().ok_or_else(Error::not_authenticated)?;
        let user = state.users.iter().find(|(user, _)| user.key == key).map(|(user, _)| user.clone());
        drop(state);
        let user = user.ok_or_else(Error::not_authenticated)?;
        let identity = Identity::of((self.principal)(&user)).in_session(session);
        Ok(match end {
            Some(end) => identity.until(end),
            None => identity,
        })
    }
}

impl Authenticator for Users {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, Error> {
        match credentials {
            Credentials::Token(token) => self.identity(token),
            Credentials::Request(request) => match request.cookie("session") {
                Some(cookie) => self.identity(cookie.value()),
                None => Ok(Identity::anonymous()),
            },
        }
    }

    async fn recheck(&self, identity: &Identity) -> Result<Identity, Error> {
        match identity.session() {
            Some(session) => self.identity(session),
            None => Ok(identity.clone()),
        }
    }
}
