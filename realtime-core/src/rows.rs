//! Which rows of a resource an application means, said with the columns that Diesel knows.

use std::marker::PhantomData;

use diesel::Expression;
use diesel::expression::{AsExpression, TypedExpressionType};
use diesel::sql_types::SqlType;

use crate::field::Field;
use crate::filter::{self, Condition, Filter, Predicate, TextMatch};
use crate::fold::fold;
use crate::resource::RealtimeResource;
use crate::value::Value;

/// A resource's field for a column. Implemented by `#[derive(RealtimeResource)]` for each field.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no field for the column `{C}`",
    note = "the struct that derives `RealtimeResource` must have a field for the column, and not skip it"
)]
pub trait FieldOf<C>: RealtimeResource {
    /// Its index in the descriptor.
    const INDEX: usize;
}

/// A value that Diesel compares with a column, and we with a field.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot be compared with the column `{C}`",
    label = "not of the column's type",
    note = "a type of your own needs Diesel's `AsExpression` for the column's SQL type"
)]
pub trait Comparable<C>: Field {}

#[diagnostic::do_not_recommend]
impl<C, T> Comparable<C> for T
where
    C: Expression,
    C::SqlType: SqlType + TypedExpressionType,
    T: Field + AsExpression<C::SqlType>,
{
}

/// Some of the rows of a resource.
///
/// ```
/// # use realtime_core::{Principal, RealtimeResource, Rows};
/// # diesel::table! { comments (id) { id -> Integer, author_id -> Integer, hidden -> Bool, } }
/// # #[derive(RealtimeResource)]
/// # #[diesel(table_name = comments)]
/// # struct Comment { #[realtime(read_only)] id: i32, author_id: i32, hidden: bool }
/// fn visible(principal: &Principal) -> Rows<Comment> {
///     let shown = Rows::equal(comments::hidden, false);
///     match principal.user_key::<i32>() {
///         Ok(me) => shown.or(Rows::equal(comments::author_id, me)),
///         Err(_) => shown,
///     }
/// }
/// assert!(!visible(&Principal::anonymous()).contains(&Comment { id: 1, author_id: 7, hidden: true }));
/// assert!(visible(&Principal::user(7)).contains(&Comment { id: 1, author_id: 7, hidden: true }));
/// ```
#[derive(Debug)]
pub struct Rows<M> {
    filter: Filter,
    model: PhantomData<fn() -> M>,
}

impl<M> Clone for Rows<M> {
    fn clone(&self) -> Self {
        Self { filter: self.filter.clone(), model: PhantomData }
    }
}

impl<M: RealtimeResource> Rows<M> {
    fn new(filter: Filter) -> Self {
        Self { filter, model: PhantomData }
    }

    fn of<C>(_column: C, condition: Condition) -> Self
    where
        M: FieldOf<C>,
    {
        let predicate = Predicate::of(M::INDEX, condition);
        Self::new(Filter::new(M::DESCRIPTOR, vec![predicate]))
    }

    /// Every row.
    pub fn all() -> Self {
        Self::new(Filter::all())
    }

    /// No row.
    pub fn none() -> Self {
        Self::new(Filter::nothing())
    }

    /// Those with the value in the column; `None` is equal to `NULL`.
    pub fn equal<C>(column: C, value: impl Comparable<C>) -> Self
    where
        M: FieldOf<C>,
    {
        match value.to_value().into_owned() {
            Value::Null => Self::of(column, Condition::IsNull(true)),
            value => Self::of(column, filter::one_of(vec![value])),
        }
    }

    /// Those with one of the values in the column. `None` is one of them like any other.
    pub fn one_of<C: Copy>(column: C, values: impl IntoIterator<Item = impl Comparable<C>>) -> Self
    where
        M: FieldOf<C>,
    {
        let (null, values): (Vec<_>, Vec<_>) =
            values.into_iter().map(|value| value.to_value().into_owned()).partition(Value::is_null);
        let among = Self::of(column, filter::one_of(values));
        if null.is_empty() { among } else { among.or(Self::of(column, Condition::IsNull(true))) }
    }

    /// Those with a greater value than that in the column. Nothing is greater than `NULL`, or less.
    pub fn greater_than<C>(column: C, value: impl Comparable<C>) -> Self
    where
        M: FieldOf<C>,
    {
        Self::of(column, filter::between(Some((value.to_value().into_owned(), false)), None))
    }

    /// Those with this or a greater value.
    pub fn at_least<C>(column: C, value: impl Comparable<C>) -> Self
    where
        M: FieldOf<C>,
    {
        Self::of(column, filter::between(Some((value.to_value().into_owned(), true)), None))
    }

    /// Those with a lesser value.
    pub fn less_than<C>(column: C, value: impl Comparable<C>) -> Self
    where
        M: FieldOf<C>,
    {
        Self::of(column, filter::between(None, Some((value.to_value().into_owned(), false))))
    }

    /// Those with this or a lesser value.
    pub fn at_most<C>(column: C, value: impl Comparable<C>) -> Self
    where
        M: FieldOf<C>,
    {
        Self::of(column, filter::between(None, Some((value.to_value().into_owned(), true))))
    }

    /// Those whose text in the column compares so with another.
    pub fn text<C>(column: C, how: TextMatch, pattern: &str) -> Self
    where
        M: FieldOf<C>,
    {
        let pattern = if how.folds() { fold(pattern) } else { pattern.to_owned() };
        Self::of(column, Condition::Text(how, pattern))
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::new(self.filter.and(M::DESCRIPTOR, other.filter))
    }

    /// Those that are in one of them, or in both.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::new(self.filter.or(M::DESCRIPTOR, other.filter))
    }

    /// The others. A row with `NULL` where a value was compared is one of them.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "beside `and` and `or`, which no operator is for")]
    pub fn not(self) -> Self {
        Self::new(self.filter.not(M::DESCRIPTOR))
    }

    /// Is the row one of them?
    pub fn contains(&self, row: &M) -> bool {
        self.filter.matches(row)
    }

    /// The filter that selects them.
    pub fn into_filter(self) -> Filter {
        self.filter
    }
}
