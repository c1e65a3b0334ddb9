//! Who asks, and when: what a request is decided with besides its own content.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::error::Error;
use crate::field::Field;
use crate::value::Value;

/// On whose behalf a request is made.
#[derive(Clone, Default)]
pub struct Principal {
    user: Option<Value<'static>>,
    claims: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Principal").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Principal {
    /// Nobody is logged in.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The user with this key.
    ///
    /// To the framework he is nothing but his key: the rows that he sees, the answers that are kept for his retries
    /// (`Idempotency-Key`) and what closes his sockets are found by it. So a key must never be given to somebody else, not
    /// even when its user is gone. Mind that SQLite does so: an `INTEGER PRIMARY KEY` without `AUTOINCREMENT` has the
    /// highest key once more when that row has been deleted. A key that is reused all the same should stand with something
    /// that is not, in a text for instance.
    pub fn user(key: impl Field) -> Self {
        Self { user: Some(key.to_value().into_owned()), claims: None }
    }

    /// What else the application knows of whoever asks, in a type of its own: his roles, his name.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(mut self, claims: T) -> Self {
        self.claims = Some(Arc::new(claims));
        self
    }

    /// What [`Principal::with`] was given, if it was of this type.
    pub fn claims<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.claims.as_deref()?.downcast_ref()
    }

    /// Is nobody logged in?
    pub fn is_anonymous(&self) -> bool {
        self.user.is_none()
    }

    /// May somebody go on as another principal? Nobody may log in, and a user stay what he is.
    pub fn may_become(&self, other: &Self) -> bool {
        match &self.user {
            None => true,
            Some(user) => other.is_user(user),
        }
    }

    /// Is it the user with this key?
    pub fn is_user(&self, key: &Value<'_>) -> bool {
        self.user.as_ref().is_some_and(|user| user.compare(key) == Some(std::cmp::Ordering::Equal))
    }

    /// The user's key as JSON, which names him in a table; `None` where nobody is logged in.
    pub fn user_json(&self) -> Option<String> {
        self.user.as_ref().map(|user| user.to_json().to_string())
    }

    /// What tells him from others; `None` where nobody is logged in.
    pub(crate) fn name(&self) -> Option<String> {
        self.user.as_ref().map(|user| user.to_json().to_string())
    }

    /// The user's key, in the type that the application keeps it in.
    ///
    /// # Errors
    /// 401 where nobody is logged in, or where the key is not of that type.
    pub fn user_key<T: Field>(&self) -> Result<T, Error> {
        self.user.clone().and_then(T::from_value).ok_or_else(Error::not_authenticated)
    }
}

/// What server-set values and hooks may depend on.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// On whose behalf the request is made.
    pub principal: &'a Principal,
    /// The time of the request: one for all its rows. Core reads no clock.
    pub now: DateTime<Utc>,
}

impl Context<'_> {
    /// The key of the user who asks: `on_create = |context| context.user_key()` makes a field its owner.
    ///
    /// # Errors
    /// 401 where nobody is logged in.
    pub fn user_key<T: Field>(&self) -> Result<T, Error> {
        self.principal.user_key()
    }
}
