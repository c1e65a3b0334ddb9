//! What the documents show is what is built: each block of Rust in them is found in a file that is compiled.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the blocks of a document are compiled that no example has.
#[path = "documents_compiled/mod.rs"]
mod compiled;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The fenced blocks of a document: what stands behind the fence, the first line's number, the lines.
fn blocks(document: &str) -> Vec<(String, usize, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, usize, Vec<&str>)> = None;
    for (number, line) in document.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some((info.to_owned(), number + 2, Vec::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, _, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Lines without the indentation that they share, so that a block may stand inside of a function.
fn dedented(lines: &[&str]) -> Vec<String> {
    let indentation = |line: &&str| line.len() - line.trim_start().len();
    let shared = lines.iter().filter(|line| !line.trim().is_empty()).map(indentation).min().unwrap_or(0);
    lines.iter().map(|line| line.get(shared..).unwrap_or("").trim_end().to_owned()).collect()
}

fn shows(source: &[&str], block: &[String]) -> bool {
    source.windows(block.len()).any(|lines| dedented(lines) == block)
}

#[test]
fn each_block_of_rust_is_compiled_somewhere() {
    let sources: Vec<String> = [files("examples", "rs"), files("tests/tests/documents_compiled", "rs")]
        .concat()
        .iter()
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();
    let sources: Vec<Vec<&str>> = sources.iter().map(|source| source.lines().collect()).collect();
    let mut found = 0;
    let mut missing = Vec::new();
    for path in [vec![root().join("README.md"), root().join("ARCHITECTURE.md")], files("docs", "md")].concat()
    {
        let document = fs::read_to_string(&path).expect("a document");
        for (info, line, block) in blocks(&document) {
            let compiled = match info.as_str() {
                "rust" => sources.iter().any(|source| shows(source, &dedented(&block))),
                // What is shortened cannot be, and shows that it is.
                "rust,ignore" => block.iter().any(|line| line.contains("..")),
                _ => continue,
            };
            found += 1;
            if !compiled {
                missing.push(format!("{}:{line}", path.strip_prefix(root()).expect("in it").display()));
            }
        }
    }
    assert!(found > 4, "blocks are found");
    assert!(missing.is_empty(), "blocks that no file in examples or documents_compiled has: {missing:#?}");
}

/// The derives cannot depend on what they write code for: their examples are compiled elsewhere. All other examples in
/// the crates run.
#[test]
fn each_example_of_the_derives_is_compiled_somewhere() {
    let compiled = read("tests/tests/documents_compiled/derive.rs");
    let compiled: Vec<&str> = compiled.lines().collect();
    let mut found = 0;
    for path in ["realtime-derive/src", "realtime-core/src", "realtime-actix/src"]
        .map(|folder| files(folder, "rs"))
        .concat()
    {
        let source = fs::read_to_string(&path).expect("a source");
        let name = path.strip_prefix(root()).expect("in it").display().to_string();
        let documentation: Vec<&str> = source
            .lines()
            .map(|line| {
                line.trim_start()
                    .strip_prefix("///")
                    .or_else(|| line.trim_start().strip_prefix("//!"))
                    .unwrap_or("")
            })
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect();
        for (info, line, block) in blocks(&documentation.join("\n")) {
            if !info.contains("ignore") {
                continue;
            }
            assert_eq!(name, "realtime-derive/src/lib.rs", "line {line} is an example that nothing compiles");
            assert!(shows(&compiled, &dedented(&block)), "{name}:{line} is in no file that is compiled");
            found += 1;
        }
    }
    assert_eq!(found, 3);
}

#[test]
fn a_block_is_found_whatever_its_indentation() {
    let document = "```rust\nlet a = f(\n    1,\n);\n\nlet b;\n```\n```sh\nls\n```";
    let found = blocks(document);
    assert_eq!((found.len(), found[0].0.as_str(), found[0].1), (2, "rust", 2));
    let block = dedented(&found[0].2);
    let source = "fn main() {\n    let a = f(\n        1,\n    );\n\n    let b;\n}";
    assert!(shows(&source.lines().collect::<Vec<_>>(), &block));
    assert!(!shows(&source.replace('1', "2").lines().collect::<Vec<_>>(), &block));
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
