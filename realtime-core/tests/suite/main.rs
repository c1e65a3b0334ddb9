//! The tests of the crate: scripts for the machines, oracles for everything that has two readings.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod action;
mod connection;
mod diff;
mod filter;
mod group;
mod grouping;
mod hidden;
mod list;
mod log;
mod matching;
mod message;
mod model;
mod policy;
mod random;
mod regex;
mod relations;
mod replaced;
mod serializer;
mod zoned;
mod zones;
