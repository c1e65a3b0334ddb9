//! Lets a writer's reply go before the events that its write causes.
//!
//! The thread that commits closes the gate before the change is published; the worker opens it when the reply is
//! queued. What reaches the connection's outbox in between waits there. Only this connection waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The gate of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<AtomicUsize>);

/// Keeps a gate closed for as long as it lives.
#[derive(Debug)]
pub(crate) struct Hold(Gate);

impl Gate {
    /// Closes the gate.
    pub(crate) fn hold(&self) -> Hold {
        self.0.fetch_add(1, Ordering::AcqRel);
        Hold(self.clone())
    }

    /// Is no commit waiting for its reply to be queued?
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Release);
    }
}
