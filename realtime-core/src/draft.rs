//! The values that a create or an update is about to write.

use std::ops::RangeInclusive;

use crate::context::Context;
use crate::error::{Error, NON_FIELD_ERRORS, NOT_ACCEPTABLE};
use crate::field::Field;
use crate::resource::RealtimeResource;
use crate::store::Store;
use crate::value::Value;
use crate::view::View;

/// The values of one row on their way into the database, by field, in the order of the descriptor.
#[derive(Debug)]
pub struct Draft {
    view: View<'static>,
    values: Vec<Option<Value<'static>>>,
    error: Option<Error>,
}

impl Draft {
    pub(crate) fn new(view: View<'static>) -> Self {
        Self { values: vec![None; view.descriptor().fields.len()], view, error: None }
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

    /// The mistakes that have been found so far.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    pub(crate) fn into_values(self) -> Vec<(usize, Value<'static>)> {
        self.values.into_iter().enumerate().filter_map(|(field, value)| Some((field, value?))).collect()
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

    /// Refuses a text of fewer or more characters. Looks at the field only if it is written.
    ///
    /// # Panics
    /// Where the resource has no field of that name: a mistake in the hook, not in its input.
    pub fn check_length(&mut self, name: &str, characters: RangeInclusive<usize>) {
        let Some(Value::Text(text)) = self.get(name) else { return };
        let length = text.chars().count();
        if length == 0 && *characters.start() > 0 {
            self.refuse(name, "This field may not be blank.");
        } else if length < *characters.start() {
            self.refuse(name, format!("Ensure this field has at least {} characters.", characters.start()));
        } else if length > *characters.end() {
            self.refuse(name, format!("Ensure this field has no more than {} characters.", characters.end()));
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
}
