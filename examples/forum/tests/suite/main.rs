//! The program from outside: its accounts, and what it lets whom do.

mod accounts;
mod manners;
mod policies;
mod running;
