//! What the documents say is what the program does: a key that is read and not described, or described and
//! not read, is found here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tearproof_scenarios::definition::{self, Registry};

fn document(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words in backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The tables and keys that the table under `## A definition` describes. A table is named in the first of
/// its rows.
fn described(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let section = text.split("\n## ").find(|section| section.starts_with("A definition")).expect("a section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut table = String::new();
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let (first, second) = match cells[0].strip_prefix("| ") {
            Some(key) => ("", key),
            None => (cells[0], cells[1]),
        };
        match first {
            "" => {}
            "(top)" => table = String::new(),
            named => table = quoted(named).next().expect("a table").to_owned(),
        }
        keys.entry(table.clone()).or_default().extend(quoted(second).map(str::to_owned));
    }
    keys
}

fn known() -> BTreeMap<String, BTreeSet<String>> {
    let tables = definition::keys().iter();
    tables
        .map(|(table, keys)| ((*table).to_owned(), keys.iter().map(|key| (*key).to_owned()).collect()))
        .collect()
}

#[test]
fn every_key_of_a_definition_is_described_and_no_other() {
    let text = document("scenarios/adapters/README.md");
    assert_eq!(described(&text), known());
    // A description that lacks one, or has one too many, is noticed.
    let canary = text.replacen("`keeps`", "`keep`", 1);
    assert_ne!(described(&canary), known());
}

#[test]
fn the_definitions_in_the_documents_are_right() {
    let mut seen = 0;
    for (path, text) in ["README.md", "scenarios/adapters/README.md"].map(|path| (path, document(path))) {
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().expect("a block");
            if block.contains("[[client]]") {
                seen += 1;
                let read = definition::parse(path, block, Path::new("."), &Registry);
                assert!(read.is_ok(), "{path}: {:?}", read.err());
            }
        }
    }
    assert!(seen > 0, "there is no example any more");
    let path = "scenarios/adapters/progress-python.toml";
    let read = definition::parse(path, &document(path), Path::new("."), &Registry);
    assert!(read.is_ok(), "{:?}", read.err());
}
