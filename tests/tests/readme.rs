//! What the README shows is what is built.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_readme_shows_exactly_the_quickstart() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("<!-- quickstart -->").expect("a marker before the quickstart");
    let (shown, _) = rest.split_once("<!-- /quickstart -->").expect("a marker after the quickstart");
    let shown = shown
        .trim()
        .strip_prefix("```rust\n")
        .and_then(|code| code.strip_suffix("```"))
        .expect("a Rust fence");
    assert_eq!(shown, read("examples/quickstart/src/main.rs"));
}

#[test]
fn the_quickstart_is_at_most_sixty_lines() {
    assert!(read("examples/quickstart/src/main.rs").lines().count() <= 60);
}

#[test]
fn the_documents_name_every_error_code_of_the_protocol() {
    let protocol = read("docs/protocol.md");
    let source = read("realtime-core/src/error.rs");
    let (_, names) = source.split_once("pub const fn name(self)").expect("the names of the codes");
    let (names, _) = names.split_once("\n    }\n").expect("the end of the function");
    let codes: Vec<&str> = names.split('"').skip(1).step_by(2).collect();
    assert!(codes.len() > 10, "the codes are found");
    for code in codes {
        assert!(protocol.contains(&format!("`{code}`")), "docs/protocol.md does not name {code}");
    }
}
