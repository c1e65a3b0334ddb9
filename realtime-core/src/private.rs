//! What expansions of the derives name. Not part of the public interface: anything here may change at any time.

pub use std::string::String;

pub use diesel;
use diesel::backend::Backend;
use diesel::deserialize::FromSql;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;

pub use crate::arguments::{NoArguments, describe as describe_arguments, read as read_arguments};
pub use crate::check::{Check, Literal, Pattern, custom, has_length, is_bound, is_decimal, is_text};
pub use crate::context::Context;
pub use crate::custom::{
    CustomAction, CustomActions, Replies, acting_row, boxed, decide, nothing, row as reply_row,
    value as reply_value,
};
pub use crate::draft::{Draft, Hooks};
pub use crate::error::Error;
pub use crate::field::{Field, FieldEnum, Kind, name_of_variant, variant_of_name};
pub use crate::lookup::{
    Lookup, LookupSet, check_group, check_lookup, check_part, check_part_lookup, check_path,
};
pub use crate::part::Part;
pub use crate::policy::{Ask, Permission, Policy, Rule, Rules, Verdict};
pub use crate::resource::{
    Action, ActionSet, Alias, Base, Bind, Columns, Computed, Descriptor, FieldDescriptor, Lists,
    RealtimeResource, Record, Relation, ResourceOn,
};
pub use crate::rows::FieldOf;
pub use crate::search::check_search;
pub use crate::throttle::Rate;
pub use crate::value::Value;
pub use crate::zone::{Zone, check_zone};

/// The SQL type of a column.
pub type SqlTypeOf<C> = <C as diesel::Expression>::SqlType;

/// A field's type that fits the SQL type of its column.
#[diagnostic::on_unimplemented(
    message = "a field of type `{Self}` does not fit a column of the SQL type `{ST}`",
    label = "does not fit the column",
    note = "a column that may be `NULL` is `Nullable<..>`, and its field an `Option`; others are neither",
    note = "a type of your own needs Diesel's `FromSql` and `ToSql` for the SQL type",
    note = "a model that is for one database alone says so: `#[diesel(check_for_backend(diesel::sqlite::Sqlite))]`"
)]
pub trait Fits<ST, DB: Backend>: Field + FromSql<ST, DB> + ToSql<ST, DB> {}

#[diagnostic::do_not_recommend]
impl<T, ST, DB> Fits<ST, DB> for T
where
    DB: Backend,
    T: Field + FromSql<ST, DB> + ToSql<ST, DB>,
{
}

/// What reads and binds one field. Without bounds of its own, so that [`cell`] alone reports a type that does not fit.
pub struct Cell<T, DB: Backend + 'static> {
    read: fn(&dyn Columns<DB>, usize) -> diesel::deserialize::Result<T>,
    bind: fn(Value<'_>) -> Option<Bind<DB>>,
}

/// What reads and binds a field of type `T` in a column of the SQL type `ST`.
pub const fn cell<T, ST, DB>() -> Cell<T, DB>
where
    DB: Backend + HasSqlType<ST> + 'static,
    T: Fits<ST, DB>,
    ST: Send + 'static,
{
    Cell { read: read::<T, ST, DB>, bind: bind::<T, ST, DB> }
}

impl<T, DB: Backend + 'static> Cell<T, DB> {
    /// Reads the field from its column as a `SELECT` would.
    ///
    /// # Errors
    /// What `FromSql` fails with.
    pub fn read(self, columns: &dyn Columns<DB>, column: usize) -> diesel::deserialize::Result<T> {
        (self.read)(columns, column)
    }

    /// Turns a value into a bind of the field's own types; `None` where it is not one of them.
    pub fn bind(self, value: Value<'_>) -> Option<Bind<DB>> {
        (self.bind)(value)
    }
}

/// Reads one field from its column as a `SELECT` would.
///
/// # Errors
/// What `FromSql` fails with.
pub fn read<T, ST, DB>(columns: &dyn Columns<DB>, column: usize) -> diesel::deserialize::Result<T>
where
    DB: Backend + 'static,
    T: FromSql<ST, DB>,
{
    let mut read = None;
    columns.visit(column, &mut |value| read = Some(T::from_nullable_sql(value)));
    read.unwrap_or_else(|| Err("the result has too few columns".into()))
}

/// Turns a value into a bind of the field's own types.
pub fn bind<T, ST, DB>(value: Value<'_>) -> Option<Bind<DB>>
where
    DB: Backend + HasSqlType<ST> + 'static,
    T: Field + ToSql<ST, DB>,
    ST: Send + 'static,
{
    Some(Box::new(Typed::<T, ST>::new(T::from_value(value)?)))
}

/// A value on its way into a statement as a SQL type.
pub(crate) struct Typed<T, ST> {
    value: T,
    sql_type: std::marker::PhantomData<fn() -> ST>,
}

impl<T, ST> Typed<T, ST> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, sql_type: std::marker::PhantomData }
    }
}

impl<T, ST, DB> QueryFragment<DB> for Typed<T, ST>
where
    DB: Backend + HasSqlType<ST>,
    T: ToSql<ST, DB>,
{
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        pass.push_bind_param(&self.value)
    }
}

impl<T, ST> QueryId for Typed<T, ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// What a function given to `on_create` or `on_update` may return: the field's type, or a result of it.
#[diagnostic::on_unimplemented(
    message = "the function must give a `{T}` or a `Result<{T}, Error>`, not `{Self}`",
    label = "not the type of the field"
)]
pub trait Initial<T> {
    /// The value, or why there is none.
    ///
    /// # Errors
    /// What the function failed with.
    fn into_initial(self) -> Result<T, Error>;
}

impl<T: Field> Initial<T> for T {
    fn into_initial(self) -> Result<T, Error> {
        Ok(self)
    }
}

impl<T: Field> Initial<T> for Result<T, Error> {
    fn into_initial(self) -> Self {
        self
    }
}

/// Calls the function given to `on_create` or `on_update`.
///
/// # Errors
/// What the function fails with.
pub fn set_by_server<T, R>(
    context: &Context<'_>,
    function: impl FnOnce(&Context<'_>) -> R,
) -> Result<Option<Value<'static>>, Error>
where
    T: Field,
    R: Initial<T>,
{
    Ok(Some(function(context).into_initial()?.to_value().into_owned()))
}

/// What `default` and `example` may state: the field's type, or what turns into it. A trait of its own, so that the
/// compiler does not list whatever turns into a `bool` somewhere among the dependencies.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no value of a field of type `{T}`",
    label = "does not turn into the type of the field",
    note = "a stated value is of the field's type, or of one that turns into it with `Into`"
)]
pub trait Stated<T> {
    /// The value of the field's type.
    fn into_stated(self) -> T;
}

#[diagnostic::do_not_recommend]
impl<T: Field, S: Into<T>> Stated<T> for S {
    fn into_stated(self) -> T {
        self.into()
    }
}

/// The value of `default = expression` or `example = expression`.
pub fn stated<T: Field>(value: impl Stated<T>) -> Value<'static> {
    value.into_stated().to_value().into_owned()
}

/// What a function given to `serialize_with` makes of a row. Without bounds of its own, so that [`computed`] alone
/// reports a type that no field can have.
pub struct OfRow<M, R> {
    function: fn(&M) -> R,
    to_value: fn(R) -> Value<'static>,
    shown_as: Computed,
}

/// What the function given to `serialize_with` makes of a row.
pub const fn computed<M, R: Field>(function: fn(&M) -> R) -> OfRow<M, R> {
    let to_value = |made: R| made.to_value().into_owned();
    OfRow { function, to_value, shown_as: Computed { kind: R::KIND, nullable: R::NULLABLE } }
}

impl<M, R> OfRow<M, R> {
    /// What sort of value that is.
    pub const fn shown_as(&self) -> Computed {
        self.shown_as
    }

    /// The value of a row.
    pub fn of(&self, row: &M) -> Value<'static> {
        (self.to_value)((self.function)(row))
    }
}

/// Stops the build where a default is an integer that the field's type cannot hold.
#[track_caller]
pub const fn is_default(kind: Kind, literal: Literal) {
    match kind {
        Kind::Integer { .. } if !literal.fits(kind) => panic!("the field's type cannot hold this number"),
        Kind::Integer { .. } | Kind::Float | Kind::Decimal | Kind::Json => {}
        _ => panic!("a number is no value of the field's type"),
    }
}

/// The value of `default = 5`, whatever the number's type would be by itself.
pub fn literal<T: Field>(literal: Literal) -> Value<'static> {
    literal.value(T::KIND)
}

/// Emits its content where the feature `sqlite` of this crate is on, so that user crates need no `cfg`.
#[cfg(feature = "sqlite")]
#[doc(hidden)]
#[macro_export]
macro_rules! __on_sqlite {
    ($($content:tt)*) => { $($content)* };
}

/// Emits its content where the feature `sqlite` of this crate is on, so that user crates need no `cfg`.
#[cfg(not(feature = "sqlite"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __on_sqlite {
    ($($content:tt)*) => {};
}

pub use crate::__on_sqlite as on_sqlite;

/// Emits its content where the feature `postgres` of this crate is on, so that user crates need no `cfg`.
#[cfg(feature = "postgres")]
#[doc(hidden)]
#[macro_export]
macro_rules! __on_postgres {
    ($($content:tt)*) => { $($content)* };
}

/// Emits its content where the feature `postgres` of this crate is on, so that user crates need no `cfg`.
#[cfg(not(feature = "postgres"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __on_postgres {
    ($($content:tt)*) => {};
}

pub use crate::__on_postgres as on_postgres;
