//! Parity: whoever asks, for whatever, over whichever transport, is shown what a model of the rules says and no byte more.

mod asking;
mod canary;
mod deleted;
mod history;
mod model;
mod people;
mod probe;
mod reading;
mod tap;
mod writing;
