//! Faults of the server: whole in the log, opaque to the client.

use std::any::Any;
use std::fmt;

use realtime_core::{Code, Error};

/// Logs a fault and gives the error that a client may see: a reference to the log entry, nothing else.
pub(crate) fn report(what: &'static str, source: &(dyn std::error::Error + 'static)) -> Error {
    let reference = reference();
    tracing::error!(reference, error = %Chain(source), "{what}");
    Error::internal(&reference)
}

/// Logs that the database cannot be asked, and gives the error that says to come again.
pub(crate) fn unavailable(source: &(dyn std::error::Error + 'static)) -> Error {
    report("the database is not available", source);
    Error::new(Code::Unavailable, "The database is not available at present.").retry_after(1.0)
}

/// Logs a panic and gives the error that a client may see.
pub(crate) fn panicked(what: &'static str, panic: &(dyn Any + Send)) -> Error {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let reference = reference();
    tracing::error!(reference, said, "{what} panicked");
    Error::internal(&reference)
}

/// A random name for a log entry: nothing can be concluded from it.
fn reference() -> String {
    let mut bytes = [0; 8];
    // Without randomness the entry is still found by its time.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An error with all its causes.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
