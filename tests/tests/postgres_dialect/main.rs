//! Filters, lists and writes on PostgreSQL: what they mean there, in memory and on SQLite is the same.
//!
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for more and for other cases.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod document;
mod encodings;
mod filters;
mod functions;
#[path = "../../../realtime-core/tests/suite/model.rs"]
#[allow(dead_code, reason = "each test uses a part of the models")]
mod model;
mod pages;
mod papers;
#[path = "../../../realtime-core/tests/suite/random.rs"]
#[allow(dead_code, reason = "each test uses a part of the generators")]
mod random;
mod types;
mod writes;
#[path = "../../../realtime-core/tests/suite/zoned.rs"]
mod zoned;
mod zones;

use proptest::test_runner::{Config, FileFailurePersistence};

/// The configuration of the generators, with a file of its own for what has failed once.
fn config(cases: u32) -> Config {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres_dialect/regressions.txt");
    Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        // A database is asked for each attempt.
        max_shrink_iters: 2_000,
        ..random::config(cases)
    }
}
