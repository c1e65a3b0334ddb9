//! The program from outside: its accounts, and what it lets whom do.

mod accounts;
mod filters;
mod manners;
mod parity;
mod policies;
mod running;
