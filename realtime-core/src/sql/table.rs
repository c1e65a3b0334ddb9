//! A resource on one backend, without its type: what the generic statements work with.

use std::sync::Arc;

use diesel::backend::Backend;

#[cfg(feature = "postgres")]
use super::postgres::functions::Encoding;
use super::{NotOfItsType, Statement};
use crate::action::Refusal;
use crate::context::Context;
use crate::draft::{Draft, Hooks};
use crate::error::Error;
use crate::resource::{Action, Bind, Columns, Descriptor, Record, ResourceOn, Row};
use crate::store::{Local, Store};
use crate::value::Value;

type Decode<DB> = fn(&dyn Columns<DB>, &[usize]) -> diesel::deserialize::Result<Row>;
type Validate = fn(&mut Draft, Option<&dyn Record>, &Context<'_>) -> Result<(), Error>;
type Check = for<'a> fn(
    &'a Draft,
    Option<&'a dyn Record>,
    &'a Context<'a>,
    &'a mut Store<'_>,
) -> Local<'a, Result<(), Error>>;
type Create = for<'a> fn(&'a mut Draft, &'a Context<'a>, &'a mut Store<'_>) -> Local<'a, Result<Row, Error>>;
type Update = for<'a> fn(
    &'a dyn Record,
    &'a mut Draft,
    &'a Context<'a>,
    &'a mut Store<'_>,
) -> Local<'a, Result<Row, Error>>;
type Destroy = for<'a> fn(&'a dyn Record, &'a Context<'a>, &'a mut Store<'_>) -> Local<'a, Result<(), Error>>;
type MapRefusal = fn(Refusal, Action, &Context<'_>) -> Refusal;
type InitialValue = fn(usize, &Context<'_>) -> Result<Option<Value<'static>>, Error>;

/// A resource on one backend: its descriptor and the functions of its model.
pub struct Table<DB: Backend + 'static> {
    pub(crate) descriptor: &'static Descriptor,
    decode: Decode<DB>,
    bind: fn(usize, Value<'_>) -> Option<Bind<DB>>,
    initial: InitialValue,
    renewed: InitialValue,
    validate: Validate,
    check: Check,
    create: Create,
    update: Update,
    destroy: Destroy,
    map_refusal: MapRefusal,
    #[cfg(feature = "postgres")]
    pub(crate) encoding: Encoding,
}

impl<DB: Backend + 'static> Clone for Table<DB> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<DB: Backend + 'static> Copy for Table<DB> {}

impl<DB: Backend + 'static> Table<DB> {
    /// The table of a model.
    pub fn of<M: ResourceOn<DB> + Hooks>() -> Self {
        // Its table is made now rather than while somebody waits.
        if let Some(zone) = M::DESCRIPTOR.zone {
            zone();
        }
        Self {
            descriptor: M::DESCRIPTOR,
            decode: |columns, at| Ok(Arc::new(M::from_columns(columns, at)?)),
            bind: M::bind,
            initial: M::initial,
            renewed: M::renewed,
            validate: |draft, before, context| {
                // The row was decoded by this very table, so the downcast finds its model.
                let before = before.and_then(|row| (row as &dyn std::any::Any).downcast_ref::<M>());
                M::validate(draft, before, context)
            },
            check: |draft, before, context, store| {
                let before = before.and_then(|row| (row as &dyn std::any::Any).downcast_ref::<M>());
                Box::pin(M::check(draft, before, context, store))
            },
            create: |draft, context, store| {
                Box::pin(async move { Ok(M::perform_create(draft, context, store).await? as Row) })
            },
            update: |before, draft, context, store| {
                Box::pin(async move {
                    let before = model::<M>(before)?;
                    Ok(M::perform_update(before, draft, context, store).await? as Row)
                })
            },
            destroy: |row, context, store| {
                Box::pin(async move { M::perform_destroy(model::<M>(row)?, context, store).await })
            },
            map_refusal: M::map_refusal,
            #[cfg(feature = "postgres")]
            encoding: Encoding::Utf8,
        }
    }

    /// What is known of the resource.
    pub fn descriptor(&self) -> &'static Descriptor {
        self.descriptor
    }

    /// Builds the model from a result row; `at[field]` is the position of each field's column.
    ///
    /// # Errors
    /// What Diesel's `FromSql` of a field's type fails with.
    pub fn decode(&self, columns: &dyn Columns<DB>, at: &[usize]) -> diesel::deserialize::Result<Row> {
        (self.decode)(columns, at)
    }

    /// The value of a new row that does not name the field: `default` or `on_create`.
    pub(crate) fn initial(
        &self,
        field: usize,
        context: &Context<'_>,
    ) -> Result<Option<Value<'static>>, Error> {
        match self.descriptor.fields[field].default {
            Some(default) => Ok(Some(default())),
            None => (self.initial)(field, context),
        }
    }

    pub(crate) fn renewed(
        &self,
        field: usize,
        context: &Context<'_>,
    ) -> Result<Option<Value<'static>>, Error> {
        (self.renewed)(field, context)
    }

    pub(crate) fn validate(
        &self,
        draft: &mut Draft,
        before: Option<&dyn Record>,
        context: &Context<'_>,
    ) -> Result<(), Error> {
        (self.validate)(draft, before, context)
    }

    pub(crate) async fn check(
        &self,
        draft: &Draft,
        before: Option<&dyn Record>,
        context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> Result<(), Error> {
        (self.check)(draft, before, context, store).await
    }

    pub(crate) async fn create(
        &self,
        draft: &mut Draft,
        context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> Result<Row, Error> {
        (self.create)(draft, context, store).await
    }

    pub(crate) async fn update(
        &self,
        before: &dyn Record,
        draft: &mut Draft,
        context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> Result<Row, Error> {
        (self.update)(before, draft, context, store).await
    }

    pub(crate) async fn destroy(
        &self,
        row: &dyn Record,
        context: &Context<'_>,
        store: &mut Store<'_>,
    ) -> Result<(), Error> {
        (self.destroy)(row, context, store).await
    }

    pub(crate) fn map_refusal(&self, refusal: Refusal, action: Action, context: &Context<'_>) -> Refusal {
        (self.map_refusal)(refusal, action, context)
    }

    /// Appends a value of a field as a bind of the field's own types.
    pub(crate) fn write_value(
        &self,
        statement: &mut Statement<DB>,
        field: usize,
        value: &Value<'_>,
    ) -> Result<(), NotOfItsType> {
        let bind = (self.bind)(field, value.as_borrowed()).ok_or(NotOfItsType {
            table: self.descriptor.table,
            field: self.descriptor.fields[field].name,
        })?;
        statement.bind_typed(bind);
        Ok(())
    }

    pub(crate) fn write_column(&self, statement: &mut Statement<DB>, field: usize) {
        statement.identifier(self.descriptor.fields[field].column);
    }

    pub(crate) fn write_columns(&self, statement: &mut Statement<DB>) {
        for field in 0..self.descriptor.fields.len() {
            if field > 0 {
                statement.sql(", ");
            }
            self.write_column(statement, field);
        }
    }
}

#[cfg(feature = "postgres")]
impl Table<diesel::pg::Pg> {
    /// The same in a database of an encoding; without it that is UTF-8.
    #[must_use]
    pub fn in_encoding(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }
}

/// The model of a row that was decoded by the model's own table.
fn model<M: 'static>(row: &dyn Record) -> Result<&M, Error> {
    (row as &dyn std::any::Any).downcast_ref().ok_or_else(|| Error::internal("row"))
}
