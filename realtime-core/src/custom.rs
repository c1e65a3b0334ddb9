//! Actions that an application adds to a resource's own: what the attribute macro `actions` makes of functions.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::arguments::Argument;
use crate::context::{Context, Principal};
use crate::error::Error;
use crate::policy::{Ask, Verdict};
use crate::resource::{Action, RealtimeResource, Record, Row};
use crate::store::{Local, Store};
use crate::throttle::Rate;

/// The actions that an application adds to a resource. Implemented by the attribute macro `actions`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` announces actions and has none",
    note = "write `#[actions]` above an `impl {Self}`, and `#[action]` above those of its functions that are actions"
)]
pub trait CustomActions {
    /// What is known of each.
    const ACTIONS: &'static [CustomAction];
}

/// Carries out an action: on a row, with the arguments as they came.
pub type Run = for<'a> fn(
    Option<&'a dyn Record>,
    &'a Map<String, Json>,
    &'a Context<'a>,
    &'a mut Store<'_>,
) -> Local<'a, Result<Reply, Error>>;

/// Says whether an action is allowed, as [`Policy::permission`](crate::policy::Policy::permission) does.
pub type Decide = fn(&Principal, Action, Option<&dyn Record>) -> Verdict;

/// An action of the application's.
pub struct CustomAction {
    /// The name on the wire.
    pub name: &'static str,
    /// Is it about one row that exists?
    pub on_row: bool,
    /// The function's doc comment.
    pub description: &'static str,
    /// What it answers with.
    pub replies: Replies,
    /// How often somebody may do it.
    pub throttle: Option<Rate>,
    /// The arguments that it takes; `None` where that is not known.
    pub arguments: fn() -> Option<Vec<Argument>>,
    /// Who may do it, where the resource's policy is not asked.
    pub permission: Option<Decide>,
    /// Carries it out.
    pub run: Run,
}

impl CustomAction {
    /// What policies and hooks know it as.
    pub const fn action(&self) -> Action {
        Action::Custom(self.name)
    }
}

impl fmt::Debug for CustomAction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CustomAction")
            .field("name", &self.name)
            .field("on_row", &self.on_row)
            .finish_non_exhaustive()
    }
}

/// What an action answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// 204.
    Nothing,
    /// An object of the resource, as the caller is shown it.
    Object,
    /// JSON of the application's own.
    Value,
}

/// What an action has answered.
pub enum Reply {
    /// Nothing: it is done.
    Nothing,
    /// A row of the resource.
    Object(Row),
    /// JSON, unless there is none of it.
    Value(serde_json::Result<String>),
}

/// The answer of an action that only does something.
pub fn nothing((): ()) -> Reply {
    Reply::Nothing
}

/// The answer of an action that says what has become of a row.
pub fn row<M: RealtimeResource>(row: Arc<M>) -> Reply {
    Reply::Object(row)
}

/// The answer of an action that says something else.
pub fn value(value: impl Serialize) -> Reply {
    Reply::Value(serde_json::to_string(&value))
}

/// The row that an action is about.
///
/// # Errors
/// Where there is none, or one of another model: a mistake of whoever calls.
pub fn acting_row<M: RealtimeResource>(row: Option<&dyn Record>) -> Result<&M, Error> {
    row.and_then(|row| (row as &dyn Any).downcast_ref()).ok_or_else(|| Error::internal("row"))
}

/// Asks a rule. A row of another model would be a mistake of the caller's: nothing is allowed on it.
pub fn decide<M: RealtimeResource>(
    principal: &Principal,
    action: Action,
    row: Option<&dyn Record>,
    rule: impl FnOnce(&Ask<'_, M>) -> Verdict,
) -> Verdict {
    match row {
        None => rule(&Ask { principal, action, row: None }),
        Some(row) => (row as &dyn Any)
            .downcast_ref()
            .map_or(Verdict::No, |row| rule(&Ask { principal, action, row: Some(row) })),
    }
}

/// A future of an action, as its table has it.
pub fn boxed<'a>(run: impl Future<Output = Result<Reply, Error>> + 'a) -> Local<'a, Result<Reply, Error>> {
    Box::pin(run)
}
