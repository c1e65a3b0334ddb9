//! When many connect at once, all are accepted before the first is opened twice: what is scarce then are the numbers of the
//! second descriptors.

use std::fs::{self, File};

use realtime_tests::{Setup, Socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

/// More than the part that is left to new connections.
const FILES: usize = 200;

/// Open files of this process.
fn open() -> usize {
    fs::read_dir("/proc/self/fd").expect("the system is Linux").count()
}

fn file() -> File {
    File::open("/dev/null").expect("there is room")
}

#[tokio::test]
async fn a_second_descriptor_is_none_of_the_last() {
    let server = Setup::memory().start().await;
    // What a worker opens with its first connection is there afterwards.
    let mut first = Vec::new();
    for _ in 0..8 {
        first.push(Socket::subscribed(&server, "comments", json!({})).await);
    }
    let mut files: Vec<File> = (0..FILES).map(|_| file()).collect();
    // So that what is opened next is one of the last.
    let used = open() as u64;
    let limit = Rlimit { current: Some(used + used / 32), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).expect("it is lower than before");
    // But for the client's socket and the accepted one.
    files.drain(..2);
    let before = open();
    let _socket = Socket::subscribed(&server, "comments", json!({})).await;
    // Those who were there before may give theirs back for it.
    assert!(open() <= before + 2, "{} and {before} before", open());
}
