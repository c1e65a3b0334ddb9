//! The values that a create or an update is about to write.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::action::Refusal;
use crate::check::check_length;
use crate::context::Context;
use crate::error::{Error, NON_FIELD_ERRORS, NOT_ACCEPTABLE};
use crate::field::Field;
use crate::resource::{Action, RealtimeResource, Row};
use crate::store::{Store, Values};
use crate::value::Value;
use crate::view::View;

/// The values of one row on their way into the database, by field, in the order of the descriptor.
pub struct Draft {
    view: View<'static>,
    values: Vec<Option<Value<'static>>>,
    /// The row as it is; `None` for a create.
    before: Option<Row>,
    error: Option<Error>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = self.view.descriptor().fields.iter().map(|field| field.name);
        formatter.debug_map().entries(fields.zip(&self.values).filter(|(_, value)| value.is_some())).finish()
    }
}

impl Draft {
    pub(crate) fn new(view: View<'static>) -> Self {
        Self { values: vec![None; view.descriptor().fields.len()], view, before: None, error: None }
    }

    /// The resource as whoever writes sees it.
    pub(crate) fn view(&self) -> &View<'static> {
        &self.view
    }

    /// Sets a field by its index in the descriptor.
    pub(crate) fn put(&mut self, field: usize, value: Value<'static>) {
        self.values[field] = Some(value);
    }

    pub(crate) fn holds(&self, field: usize) -> bool {
        self.values[field].is_some()
    }

    /// Says what the row is now, for what is asked of several fields.
    pub(crate) fn changes_row(&mut self, before: &Row) {
        self.before = Some(Row::clone(before));
    }

    /// Has no mistake been found so far?
    pub fn is_acceptable(&self) -> bool {
        self.error.is_none()
    }

    /// The mistakes that have been found so far.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// The values that are written, by field.
    pub(crate) fn values(&self) -> Values {
        let values = self.values.iter().enumerate();
        values.filter_map(|(field, value)| Some((field, value.clone()?))).collect()
    }

    /// Will nothing be written?
    pub(crate) fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// A draft without values, for a row of another resource that a hook inserts: see [`Store::insert`]. Nothing is set
    /// that is not set here, neither a default nor what a server sets.
    pub fn of<M: RealtimeResource>() -> Self {
        Self::new(View::from(M::DESCRIPTOR))
    }

    fn index(&self, name: &str) -> usize {
        let descriptor = self.view.descriptor();
        descriptor
            .field_index(name)
            .unwrap_or_else(|| panic!("`{name}` is not a field of the resource `{}`", descriptor.stream))
    }

    /// Will the field be written?
    ///
    /// # Panics
    /// Where the resource has no field of that name: a mistake in the hook, not in its input.
    pub fn changes(&self, name: &str) -> bool {
        self.holds(self.index(name))
    }

    /// The value that the field will have, if it is written.
    ///
    /// # Panics
    /// Where the resource has no field of that name: a mistake in the hook, not in its input.
    pub fn get(&self, name: &str) -> Option<&Value<'static>> {
        self.values[self.index(name)].as_ref()
    }

    /// The value that the field will have, in its own type, if it is written.
    ///
    /// # Panics
    /// Where the resource has no field of that name: a mistake in the hook, not in its input.
    pub fn value<T: Field>(&self, name: &str) -> Option<T> {
        T::from_value(self.get(name)?.clone())
    }

    /// The value that the field has once the draft is written: what is written, or what is there already. `None` where a
    /// new row gets it from the database.
    ///
    /// With it a rule about several fields is the same for a create, a replace and an update that names some of them:
    ///
    /// ```
    /// # use realtime_core::{Draft, RealtimeResource};
    /// # diesel::table! { events (id) { id -> Integer, first -> Integer, last -> Integer, } }
    /// #[derive(RealtimeResource)]
    /// #[diesel(table_name = events)]
    /// #[realtime(validate(in_order))]
    /// struct Event {
    ///     #[realtime(read_only)]
    ///     id: i32,
    ///     first: i32,
    ///     last: i32,
    /// }
    ///
    /// fn in_order(draft: &mut Draft) {
    ///     if draft.will_be::<i32>("last") < draft.will_be::<i32>("first") {
    ///         draft.refuse("last", "The last day is before the first.");
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    /// Where the resource has no field of that name: a mistake in the rule, not in its input.
    pub fn will_be<T: Field>(&self, name: &str) -> Option<T> {
        let field = self.index(name);
        let written = self.values[field].as_ref().map(Value::as_borrowed);
        let value = written.or_else(|| self.before.as_deref().map(|row| row.value(field)));
        T::from_value(value?)
    }

    /// Writes the field, read-only or not.
    ///
    /// # Panics
    /// Where the resource has no field of that name: a mistake in the hook, not in its input.
    pub fn set(&mut self, name: &str, value: impl Field) {
        let field = self.index(name);
        self.put(field, value.to_value().into_owned());
    }

    /// Refuses the write with a message about one field; several are answered together. Whoever does not see the field
    /// is told that the values are not acceptable, and no more.
    pub fn refuse(&mut self, name: impl Into<String>, message: impl Into<String>) {
        let name = name.into();
        let is_hidden =
            self.view.descriptor().field_index(&name).is_some_and(|field| !self.view.shows(field));
        if is_hidden {
            self.mistake(NON_FIELD_ERRORS, NOT_ACCEPTABLE);
        } else {
            self.mistake(name, message);
        }
    }

    /// Refuses what the payload says under a name, of a field or not.
    pub(crate) fn mistake(&mut self, name: impl Into<String>, message: impl Into<String>) {
        self.error = Some(match self.error.take() {
            Some(error) => error.and(name, message),
            None => Error::validation(name, message),
        });
    }

    /// Refuses a text of fewer or more characters, as `#[realtime(validate(length(..)))]` does: for limits that are not
    /// always the same. Looks at the field only if it is written.
    ///
    /// # Panics
    /// Where the resource has no field of that name: a mistake in the hook, not in its input.
    pub fn check_length(&mut self, name: &str, characters: RangeInclusive<usize>) {
        let (min, max) = characters.into_inner();
        if let Some(text @ Value::Text(_)) = self.get(name)
            && let Err(message) = check_length(text, Some(min), Some(max))
        {
            self.refuse(name, message);
        }
    }
}

/// What an application adds to the writes of a resource. Every function has a default.
///
/// A resource that overrides one says so with `#[realtime(hooks)]` and implements the trait itself; for the others
/// the derive does it.
pub trait Hooks: RealtimeResource {
    /// Looks at the values that are about to be written, and may change or refuse them.
    ///
    /// `before` is the row as it is, `None` for a create. It runs inside the transaction of the write.
    ///
    /// ```
    /// # use realtime_core::{Context, Draft, Error, Hooks, RealtimeResource};
    /// # diesel::table! { comments (id) { id -> Integer, author_id -> Integer, body -> Text, pinned -> Bool, } }
    /// # #[derive(RealtimeResource)]
    /// # #[diesel(table_name = comments)]
    /// # #[realtime(hooks)]
    /// # struct Comment { #[realtime(read_only)] id: i32, author_id: i32, body: String, pinned: bool }
    /// impl Hooks for Comment {
    ///     fn validate(draft: &mut Draft, before: Option<&Self>, context: &Context<'_>) -> Result<(), Error> {
    ///         let author: i32 = context.user_key()?;
    ///         draft.set("author_id", author);
    ///         if draft.value::<String>("body").is_some_and(|body| body.trim().is_empty()) {
    ///             draft.refuse("body", "Say something.");
    ///         }
    ///         if before.is_some_and(|before| before.pinned && before.author_id != author) {
    ///             return Err(Error::permission_denied("It is pinned by somebody else."));
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Whatever the request shall be answered with. Messages about fields are better collected with [`Draft::refuse`].
    fn validate(draft: &mut Draft, before: Option<&Self>, context: &Context<'_>) -> Result<(), Error> {
        let _ = (draft, before, context);
        Ok(())
    }

    /// Looks at other rows before the values are written: may something be put into what they belong to?
    ///
    /// It runs in the transaction of the write, after [`Hooks::validate`] and only for values that are acceptable so
    /// far. It must wait for nothing but the store.
    ///
    /// ```
    /// # use realtime_core::{Context, Draft, Error, Hooks, RealtimeResource, Store};
    /// # mod schema {
    /// #     diesel::table! { topics (id) { id -> Integer, locked -> Bool, } }
    /// #     diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, } }
    /// # }
    /// # #[derive(RealtimeResource)]
    /// # #[diesel(table_name = schema::topics)]
    /// # struct Topic { #[realtime(read_only)] id: i32, locked: bool }
    /// # #[derive(RealtimeResource)]
    /// # #[diesel(table_name = schema::comments)]
    /// # #[realtime(hooks)]
    /// # struct Comment { #[realtime(read_only)] id: i32, topic_id: i32 }
    /// impl Hooks for Comment {
    ///     async fn check(
    ///         draft: &Draft,
    ///         _before: Option<&Self>,
    ///         _context: &Context<'_>,
    ///         store: &mut Store<'_>,
    ///     ) -> Result<(), Error> {
    ///         let Some(topic) = draft.value::<i32>("topic_id") else { return Ok(()) };
    ///         match store.find::<Topic>(topic).await? {
    ///             Some(topic) if topic.locked => Err(Error::permission_denied("The topic is locked.")),
    ///             _ => Ok(()),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Whatever the request shall be answered with.
    fn check(
        draft: &Draft,
        before: Option<&Self>,
        context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> impl Future<Output = Result<(), Error>> {
        let _ = (draft, before, context, store);
        std::future::ready(Ok(()))
    }

    /// Makes the row, in the transaction of the write, once everything has been checked.
    ///
    /// What is written here beside it belongs to the same transaction: it is kept or rolled back with it, and told to
    /// everybody with it.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use diesel::prelude::*;
    /// # use realtime_core::{Context, Draft, Error, Hooks, RealtimeResource, Store};
    /// # mod schema {
    /// #     diesel::table! { topics (id) { id -> Integer, comments -> Integer, } }
    /// #     diesel::table! { comments (id) { id -> Integer, topic_id -> Integer, } }
    /// # }
    /// # use schema::topics;
    /// # #[derive(RealtimeResource)]
    /// # #[diesel(table_name = schema::comments)]
    /// # #[realtime(hooks)]
    /// # struct Comment { #[realtime(read_only)] id: i32, topic_id: i32 }
    /// impl Hooks for Comment {
    ///     async fn perform_create(
    ///         draft: &mut Draft,
    ///         _context: &Context<'_>,
    ///         store: &mut Store<'_>,
    ///     ) -> Result<Arc<Self>, Error> {
    ///         let comment: Arc<Self> = store.insert(draft).await?;
    ///         let topic = topics::table.find(comment.topic_id);
    ///         store.execute(diesel::update(topic).set(topics::comments.eq(topics::comments + 1))).await?;
    ///         store.after_commit(|| println!("there is a new comment"));
    ///         Ok(comment)
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Whatever the request shall be answered with; the transaction is then rolled back.
    fn perform_create(
        draft: &mut Draft,
        context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> impl Future<Output = Result<Arc<Self>, Error>> {
        let _ = context;
        async move { store.insert(draft).await }
    }

    /// Changes the row, for an update and for a replace, in the transaction of the write, once everything has been
    /// checked. It is not called where nothing changes.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use realtime_core::{Context, Draft, Error, Hooks, RealtimeResource, Store};
    /// # mod schema {
    /// #     diesel::table! { pages (id) { id -> Integer, text -> Text, } }
    /// #     diesel::table! { versions (id) { id -> Integer, page_id -> Integer, text -> Text, } }
    /// # }
    /// # #[derive(RealtimeResource)]
    /// # #[diesel(table_name = schema::versions)]
    /// # struct Version { #[realtime(read_only)] id: i32, page_id: i32, text: String }
    /// # #[derive(RealtimeResource)]
    /// # #[diesel(table_name = schema::pages)]
    /// # #[realtime(hooks)]
    /// # struct Page { #[realtime(read_only)] id: i32, text: String }
    /// impl Hooks for Page {
    ///     async fn perform_update(
    ///         before: &Self,
    ///         draft: &mut Draft,
    ///         _context: &Context<'_>,
    ///         store: &mut Store<'_>,
    ///     ) -> Result<Arc<Self>, Error> {
    ///         let mut old = Draft::of::<Version>();
    ///         old.set("page_id", before.id);
    ///         old.set("text", before.text.clone());
    ///         store.insert::<Version>(&old).await?;
    ///         store.update(before, draft).await
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Whatever the request shall be answered with; the transaction is then rolled back.
    fn perform_update(
        before: &Self,
        draft: &mut Draft,
        context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> impl Future<Output = Result<Arc<Self>, Error>> {
        let _ = context;
        async move { store.update(before, draft).await }
    }

    /// Removes the row, in the transaction of the write. What it leaves of it is up to it:
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// # use realtime_core::{Context, Error, Hooks, RealtimeResource, Store};
    /// # diesel::table! { comments (id) { id -> Integer, removed -> Bool, } }
    /// # #[derive(RealtimeResource)]
    /// # #[diesel(table_name = comments)]
    /// # #[realtime(hooks)]
    /// # struct Comment { #[realtime(read_only)] id: i32, #[realtime(read_only)] removed: bool }
    /// impl Hooks for Comment {
    ///     async fn perform_destroy(
    ///         row: &Self,
    ///         _context: &Context<'_>,
    ///         store: &mut Store<'_>,
    ///     ) -> Result<(), Error> {
    ///         let this = comments::table.find(row.id);
    ///         store.execute(diesel::update(this).set(comments::removed.eq(true))).await.map(drop)
    ///     }
    /// }
    /// ```
    ///
    /// With a `Policy::visible` that leaves removed comments out, everybody who follows them is told of a `delete`.
    ///
    /// # Errors
    /// Whatever the request shall be answered with; the transaction is then rolled back.
    fn perform_destroy(
        row: &Self,
        context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> impl Future<Output = Result<(), Error>> {
        let _ = context;
        async move { store.delete(row).await }
    }

    /// Says in other words why a request failed: what a trigger refuses with, for instance, which is a fault of the
    /// server as far as is known here.
    ///
    /// ```
    /// # use realtime_core::action::Refusal;
    /// # use realtime_core::{Action, Code, Context, Error, Hooks, RealtimeResource};
    /// # diesel::table! { seats (id) { id -> Integer, } }
    /// # #[derive(RealtimeResource)]
    /// # #[diesel(table_name = seats)]
    /// # #[realtime(hooks)]
    /// # struct Seat { #[realtime(read_only)] id: i32 }
    /// impl Hooks for Seat {
    ///     fn map_refusal(refusal: Refusal, action: Action, _context: &Context<'_>) -> Refusal {
    ///         match refusal {
    ///             Refusal::Fault(source) if action == Action::Create && source.to_string().contains("sold out") => {
    ///                 Error::new(Code::Conflict, "There is no seat any more.").into()
    ///             }
    ///             other => other,
    ///         }
    ///     }
    /// }
    /// ```
    fn map_refusal(refusal: Refusal, action: Action, context: &Context<'_>) -> Refusal {
        let _ = (action, context);
        refusal
    }
}
