//! docs/expansion.md shows what the derives write: each of its models is expanded here, and what it shows has to be that.
//!
//! `UPDATE_EXPECT=1 cargo test -p realtime-derive` writes it anew; read it then.

use std::fs;
use std::path::Path;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Block, Data, DeriveInput, Expr, File, Item, Stmt};

use crate::{derive_enum, derive_resource};

/// Where a model stands, and what is shown of its expansion: all of it, or what the options of `realtime` change.
const MODEL: &str = "```rust,model\n";
const ALL: &str = "```rust,expansion\n";
const CHANGES: &str = "```rust,changes\n";
const END: &str = "```\n";

#[test]
fn the_documents_show_what_is_written() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/expansion.md");
    let document = fs::read_to_string(&path).expect("the document");
    let (expected, snapshots) = rewritten(&document);
    if document != expected && std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &expected).expect("the document can be written");
    } else {
        let differing =
            document.lines().zip(expected.lines()).enumerate().find(|(_, (is, ought))| is != ought);
        assert!(document == expected, "docs/expansion.md has to be written anew: {differing:?}");
    }
    assert!(snapshots >= 12, "{snapshots} snapshots");
}

/// The document with the expansions of its models, and how many there are.
fn rewritten(document: &str) -> (String, usize) {
    let mut written = String::new();
    let mut rest = document;
    let mut snapshots = 0;
    while let Some((before, from_model)) = rest.split_once(MODEL) {
        let (model, after) = from_model.split_once(END).expect("the end of a model");
        written.extend([before, MODEL, model, END]);
        let (between, fence) = [ALL, CHANGES]
            .iter()
            .filter_map(|fence| Some((after.split_once(fence)?.0, *fence)))
            .min_by_key(|(between, _)| between.len())
            .expect("an expansion behind each model");
        let (_, behind) =
            after[between.len() + fence.len()..].split_once(END).expect("the end of an expansion");
        let model: DeriveInput = syn::parse_str(model).expect("a model");
        let expansion = lines(&model);
        let shown = if fence == ALL { expansion } else { changes(&lines(&plain(&model)), &expansion) };
        written.extend([between, fence, &shown.concat(), END]);
        rest = behind;
        snapshots += 1;
    }
    written.push_str(rest);
    (written, snapshots)
}

/// The model without options of `realtime`.
fn plain(model: &DeriveInput) -> DeriveInput {
    let mut model = model.clone();
    let strip = |attributes: &mut Vec<Attribute>| {
        attributes.retain(|attribute| !attribute.path().is_ident("realtime"));
    };
    strip(&mut model.attrs);
    if let Data::Struct(data) = &mut model.data {
        data.fields.iter_mut().for_each(|field| strip(&mut field.attrs));
    }
    model
}

/// What the derive writes for SQLite, line by line, with the paths shortened.
fn lines(model: &DeriveInput) -> Vec<String> {
    let home = quote!(::realtime_core);
    let expansion = match &model.data {
        Data::Enum(_) => derive_enum(model, home),
        _ => derive_resource(model, home),
    };
    let written = prettyplease::unparse(&file(expansion));
    let shortened = [
        ("::realtime_core::__private::", ""),
        ("::core::option::Option::", ""),
        ("::core::option::", ""),
        ("::core::result::Result::Ok", "Ok"),
        ("::core::result::", ""),
        ("::core::primitive::", ""),
        ("::core::default::", ""),
        ("__", ""),
    ];
    let written = shortened.iter().fold(written, |text, (long, short)| text.replace(long, short));
    let written =
        (0..10).fold(written, |text, digit| text.replace(&format!("{digit}usize"), &digit.to_string()));
    // Shorter names leave room on a line.
    let written = prettyplease::unparse(&syn::parse_file(&written).expect("items with shorter names"));
    written.lines().map(|line| format!("{line}\n")).collect()
}

/// The items inside of `const _: () = { .. }`, and of the block for SQLite in it.
fn file(expansion: TokenStream) -> File {
    let mut file: File = syn::parse2(expansion).expect("items");
    let Some(Item::Const(constant)) = file.items.pop() else { panic!("a constant around all") };
    assert!(file.items.is_empty(), "mistakes are reported: {}", prettyplease::unparse(&file));
    let Expr::Block(block) = *constant.expr else { panic!("a block") };
    file.items = items(block.block).into_iter().map(without_attributes).collect();
    file
}

fn items(block: Block) -> Vec<Item> {
    block
        .stmts
        .into_iter()
        .flat_map(|statement| match statement {
            Stmt::Item(Item::Macro(call)) => of_database(&call.mac),
            Stmt::Macro(call) => of_database(&call.mac),
            Stmt::Item(item) => vec![item],
            _ => panic!("there are only items"),
        })
        .collect()
}

fn of_database(call: &syn::Macro) -> Vec<Item> {
    let is_sqlite = call.path.segments.last().is_some_and(|name| name.ident == "on_sqlite");
    if is_sqlite { syn::parse2::<File>(call.tokens.clone()).expect("items").items } else { Vec::new() }
}

fn without_attributes(mut item: Item) -> Item {
    if let Item::Impl(implementation) = &mut item {
        implementation.attrs.clear();
    }
    item
}

/// The lines that `after` has and `before` has not, with those above that say whose they are; `..` stands for the others.
fn changes(before: &[String], after: &[String]) -> Vec<String> {
    // How many lines the two have in common from each place on.
    let mut common = vec![vec![0_usize; after.len() + 1]; before.len() + 1];
    for (at, old) in before.iter().enumerate().rev() {
        for (to, new) in after.iter().enumerate().rev() {
            common[at][to] = if old == new {
                common[at + 1][to + 1] + 1
            } else {
                common[at + 1][to].max(common[at][to + 1])
            };
        }
    }
    let mut is_new = vec![false; after.len()];
    let (mut at, mut to) = (0, 0);
    while to < after.len() {
        if at < before.len() && before[at] == after[to] {
            (at, to) = (at + 1, to + 1);
        } else if at < before.len() && common[at + 1][to] >= common[at][to + 1] {
            at += 1;
        } else {
            is_new[to] = true;
            to += 1;
        }
    }
    let indentation = |line: &String| line.len() - line.trim_start().len();
    // The lines that open what a new line stands in.
    let mut is_shown = is_new.clone();
    for line in (0..after.len()).filter(|line| is_new[*line]) {
        let mut inner = indentation(&after[line]);
        for above in (0..line).rev() {
            if indentation(&after[above]) < inner {
                inner = indentation(&after[above]);
                is_shown[above] = true;
            }
        }
    }
    let mut shown = Vec::new();
    let mut is_left_out = false;
    for (line, is_shown) in after.iter().zip(is_shown) {
        if is_shown {
            if is_left_out {
                shown.push(format!("{}..\n", " ".repeat(indentation(line))));
            }
            shown.push(line.clone());
        }
        is_left_out = !is_shown;
    }
    if is_left_out {
        shown.push("..\n".to_owned());
    }
    shown
}

#[test]
fn what_changes_is_shown_with_what_it_stands_in() {
    let text = |lines: &str| lines.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
    let before = text("impl A {\n    a: 1,\n    b: 2,\n}\nimpl B {\n}\n");
    let after = text("impl A {\n    a: 1,\n    b: 3,\n}\nimpl B {\n    c\n}\n");
    assert_eq!(changes(&before, &after).concat(), "impl A {\n    ..\n    b: 3,\n..\nimpl B {\n    c\n..\n");
    assert_eq!(changes(&before, &before).concat(), "..\n");
}
