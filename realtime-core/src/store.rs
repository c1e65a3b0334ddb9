//! What a hook works with: the rows of all resources, in the transaction of the write.

use std::pin::Pin;
use std::sync::Arc;

use crate::draft::Draft;
use crate::error::Error;
use crate::field::Field;
use crate::resource::{Descriptor, RealtimeResource, Record, Row};
use crate::sql::{AnyStatement, DieselStatement};
use crate::value::Value;

/// A future that stays on its thread: a transaction belongs to one request.
pub(crate) type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What is done once a transaction is committed.
pub type AfterCommit = Box<dyn FnOnce() + Send>;

/// The values of a row, by field.
pub(crate) type Values = Vec<(usize, Value<'static>)>;

/// The transaction of a write, without the backend's type.
pub(crate) trait Access {
    /// The row with a key, whoever may see it.
    fn find<'a>(
        &'a mut self,
        descriptor: &'static Descriptor,
        key: Value<'static>,
    ) -> Local<'a, Result<Option<Row>, Error>>;

    fn insert<'a>(
        &'a mut self,
        descriptor: &'static Descriptor,
        values: Values,
    ) -> Local<'a, Result<Row, Error>>;

    fn update<'a>(
        &'a mut self,
        descriptor: &'static Descriptor,
        key: Value<'static>,
        values: Values,
    ) -> Local<'a, Result<Row, Error>>;

    fn delete<'a>(
        &'a mut self,
        descriptor: &'static Descriptor,
        key: Value<'static>,
    ) -> Local<'a, Result<(), Error>>;

    fn execute<'a>(&'a mut self, statement: AnyStatement) -> Local<'a, Result<usize, Error>>;

    fn after_commit(&mut self, work: AfterCommit);
}

/// The rows of all resources, as the transaction of a write sees them.
///
/// A statement that fails makes the whole write fail, whatever a hook makes of the error: it may answer another one.
pub struct Store<'a>(&'a mut dyn Access);

impl<'a> Store<'a> {
    pub(crate) fn new(access: &'a mut dyn Access) -> Self {
        Self(access)
    }

    /// The row with a key, whether or not whoever asks may see it; `None` where there is none.
    ///
    /// # Errors
    /// Where the database fails, or the model is not mounted: the error is to be returned as it is.
    pub async fn find<M: RealtimeResource>(&mut self, key: impl Field) -> Result<Option<Arc<M>>, Error> {
        let row = self.0.find(M::DESCRIPTOR, key.to_value().into_owned()).await?;
        Ok(row.and_then(typed))
    }

    /// Inserts a row of the values of a draft, and reads what is stored. Nothing is asked of them any more.
    ///
    /// # Errors
    /// Where a constraint refuses it, the database fails, or the model is not mounted.
    pub async fn insert<M: RealtimeResource>(&mut self, draft: &Draft) -> Result<Arc<M>, Error> {
        let row = self.0.insert(M::DESCRIPTOR, draft.values()).await?;
        typed(row).ok_or_else(|| Error::internal("store"))
    }

    /// Writes the values of a draft into a row, and reads what is stored. Nothing is asked of them any more.
    ///
    /// # Errors
    /// Where a constraint refuses it, the database fails, or the model is not mounted.
    pub async fn update<M: RealtimeResource>(&mut self, row: &M, draft: &Draft) -> Result<Arc<M>, Error> {
        let row = self.0.update(M::DESCRIPTOR, key_of(row), draft.values()).await?;
        typed(row).ok_or_else(|| Error::internal("store"))
    }

    /// Removes a row.
    ///
    /// # Errors
    /// Where others refer to it, the database fails, or the model is not mounted.
    pub async fn delete<M: RealtimeResource>(&mut self, row: &M) -> Result<(), Error> {
        self.0.delete(M::DESCRIPTOR, key_of(row)).await
    }

    /// Carries out a statement of Diesel's that answers no rows, and says how many it has written. It must be one for
    /// every database that is enabled.
    ///
    /// # Errors
    /// Where a constraint refuses it, or the database fails.
    pub async fn execute(&mut self, statement: impl DieselStatement) -> Result<usize, Error> {
        self.0.execute(AnyStatement::new(statement)).await
    }

    /// Calls a function once the transaction is committed, and never if it is not: to send a mail, to wake a job. It runs
    /// on the worker that serves the request, before the request is answered, and must not wait for anything; what takes
    /// time belongs into a task that it starts. The program may end between the commit and the call.
    pub fn after_commit(&mut self, work: impl FnOnce() + Send + 'static) {
        self.0.after_commit(Box::new(work));
    }
}

impl std::fmt::Debug for Store<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").finish_non_exhaustive()
    }
}

fn typed<M: RealtimeResource>(row: Row) -> Option<Arc<M>> {
    (row as Arc<dyn std::any::Any + Send + Sync>).downcast().ok()
}

fn key_of<M: RealtimeResource>(row: &M) -> Value<'static> {
    Record::value(row, M::DESCRIPTOR.key).into_owned()
}
