//! Which fields of a resource there are for somebody.

use std::marker::PhantomData;

use crate::context::Principal;
use crate::error::Error;
use crate::resource::{Action, Descriptor, FieldDescriptor, RealtimeResource, Relation};
use crate::rows::FieldOf;

/// Some of the fields of a resource, said with the columns that Diesel knows.
///
/// ```
/// # use realtime_core::{Fields, Principal, RealtimeResource};
/// # diesel::table! { papers (id) { id -> Integer, grade -> Integer, remark -> Text, } }
/// # #[derive(RealtimeResource)]
/// # #[diesel(table_name = papers)]
/// # struct Paper { #[realtime(read_only)] id: i32, grade: i32, remark: String }
/// fn hidden(principal: &Principal) -> Fields<Paper> {
///     let of_teachers = Fields::of(papers::remark);
///     if principal.is_anonymous() { of_teachers.or(Fields::of(papers::grade)) } else { of_teachers }
/// }
/// ```
///
/// The key is none of them: events and replies are about it. To name it does not compile.
///
/// ```compile_fail
/// # use realtime_core::{Fields, Principal, RealtimeResource};
/// # diesel::table! { papers (id) { id -> Integer, grade -> Integer, } }
/// # #[derive(RealtimeResource)]
/// # #[diesel(table_name = papers)]
/// # struct Paper { #[realtime(read_only)] id: i32, grade: i32 }
/// fn hidden(_: &Principal) -> Fields<Paper> {
///     Fields::of(papers::id)
/// }
/// # hidden(&Principal::anonymous());
/// ```
#[derive(Debug)]
pub struct Fields<M> {
    indexes: Vec<usize>,
    model: PhantomData<fn() -> M>,
}

impl<M: RealtimeResource> Fields<M> {
    /// No field.
    pub const fn none() -> Self {
        Self { indexes: Vec::new(), model: PhantomData }
    }

    /// The field for a column.
    pub fn of<C>(_column: C) -> Self
    where
        M: FieldOf<C>,
    {
        const {
            assert!(<M as FieldOf<C>>::INDEX != M::DESCRIPTOR.key, "the key of a resource is never hidden");
        }
        Self { indexes: vec![<M as FieldOf<C>>::INDEX], model: PhantomData }
    }

    /// Those of both.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.indexes.extend(other.indexes);
        self
    }

    pub(crate) fn into_indexes(mut self) -> Vec<usize> {
        self.indexes.sort_unstable();
        self.indexes.dedup();
        self.indexes
    }
}

/// A resource as somebody sees it: what is hidden from him is, as far as he can tell, no field of it.
///
/// A [`Descriptor`] by itself is the view of whom nothing is hidden from.
#[derive(Clone, Debug)]
pub struct View<'a> {
    descriptor: &'a Descriptor,
    /// Sorted.
    hidden: Vec<usize>,
    /// Who sees it, where it is somebody.
    principal: Option<Principal>,
}

impl<'a> From<&'a Descriptor> for View<'a> {
    fn from(descriptor: &'a Descriptor) -> Self {
        Self { descriptor, hidden: Vec::new(), principal: None }
    }
}

impl Descriptor {
    /// The resource as somebody sees it.
    pub fn seen_by(&self, principal: &Principal) -> View<'_> {
        View { descriptor: self, hidden: self.rules.hidden(principal), principal: Some(principal.clone()) }
    }
}

impl<'a> View<'a> {
    /// The resource, whole.
    pub fn descriptor(&self) -> &'a Descriptor {
        self.descriptor
    }

    /// What the same one sees of the resource that a relation leads to.
    ///
    /// # Errors
    /// 401 or 403 where he may not do this with it.
    pub(crate) fn across(&self, relation: &Relation, action: Action) -> Result<View<'static>, Error> {
        let target = (relation.target)();
        let Some(principal) = &self.principal else { return Ok(target.into()) };
        target.rules.admit(principal, action)?;
        Ok(target.seen_by(principal))
    }

    /// The view with no more than these fields and the key.
    #[must_use]
    pub fn only(mut self, fields: &[usize]) -> Self {
        let key = self.descriptor.key;
        let left_out = |field: &usize| *field != key && !fields.contains(field);
        self.hidden.extend((0..self.descriptor.fields.len()).filter(left_out));
        self.hidden.sort_unstable();
        self.hidden.dedup();
        self
    }

    /// Is there a field of this index?
    pub fn shows(&self, field: usize) -> bool {
        self.hidden.binary_search(&field).is_err()
    }

    /// The indexes of the fields, in their order.
    pub fn indexes(&self) -> impl Iterator<Item = usize> {
        (0..self.descriptor.fields.len()).filter(|field| self.shows(*field))
    }

    /// The indexes of those that can be shown: all but what is written only.
    pub fn shown(&self) -> impl Iterator<Item = usize> {
        self.descriptor.shown().filter(|field| self.shows(*field))
    }

    /// The fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = &'a FieldDescriptor> {
        let descriptor = self.descriptor;
        self.indexes().map(move |field| &descriptor.fields[field])
    }

    /// The index of the field with a public name.
    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.descriptor.field_index(name).filter(|field| self.shows(*field))
    }
}
