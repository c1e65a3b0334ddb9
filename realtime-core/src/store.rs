//! What a hook can look at: the rows of the other resources, in the transaction of the write.

use std::pin::Pin;
use std::sync::Arc;

use crate::error::Error;
use crate::field::Field;
use crate::resource::{Descriptor, RealtimeResource, Row};
use crate::value::Value;

/// A future that stays on its thread: a transaction belongs to one request.
pub(crate) type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Where rows are looked up, without the backend's type.
pub(crate) trait Find {
    /// The row with a key, whoever may see it.
    fn find<'a>(
        &'a mut self,
        descriptor: &'static Descriptor,
        key: Value<'static>,
    ) -> Local<'a, Result<Option<Row>, Error>>;
}

/// The rows of all resources, as the transaction of a write sees them.
pub struct Store<'a>(&'a mut dyn Find);

impl<'a> Store<'a> {
    pub(crate) fn new(find: &'a mut dyn Find) -> Self {
        Self(find)
    }

    /// The row with a key, whether or not whoever asks may see it; `None` where there is none.
    ///
    /// # Errors
    /// Where the database fails, or the model is not mounted: the error is to be returned as it is.
    pub async fn find<M: RealtimeResource>(&mut self, key: impl Field) -> Result<Option<Arc<M>>, Error> {
        let row = self.0.find(M::DESCRIPTOR, key.to_value().into_owned()).await?;
        Ok(row.and_then(|row| (row as Arc<dyn std::any::Any + Send + Sync>).downcast().ok()))
    }
}

impl std::fmt::Debug for Store<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").finish_non_exhaustive()
    }
}
