//! The blocks of Rust of the documents, a file for each document, with what they need around them.

#![allow(dead_code, unreachable_pub, reason = "they are compiled as a library would have them, not run")]

mod attributes;
mod derive;
mod from_django;
mod operating;
mod postgres;
mod testing;
mod views;
