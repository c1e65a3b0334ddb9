//! What the fuzz targets have been given and is kept, replayed on every compiler and without their flags.

#[path = "../fuzz/body.rs"]
mod body;

use std::path::Path;

#[track_caller]
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus is committed")
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 15, "{} files in {}", files.len(), folder.display());
    for file in files {
        let bytes = std::fs::read(&file).expect("a readable file");
        // The test's output names the file that a panic is about.
        eprintln!("{}", file.display());
        run(&bytes);
        // Cut off anywhere, it is still a 400 at most.
        for end in 0..bytes.len().min(256) {
            run(&bytes[..end]);
        }
    }
}

#[test]
fn every_filter_of_the_corpus_is_parsed_or_refused() {
    replay("filter", body::filter);
}

#[test]
fn every_message_of_the_corpus_is_answered() {
    replay("message", body::message);
}
