//! What the documents say is what the program does: a key that is read and not described, or described and
//! not read, is found here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tearproof_scenarios::definition::{self, Registry};

use crate::command::Place;

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
fn the_history_in_the_help_is_one() {
    let place = Place::new();
    let help = place.run(&["check", "--help"]).stdout();
    assert!(help.contains("run --histories"), "{help}");
    let lines: Vec<&str> = help.lines().map(str::trim).filter(|line| line.starts_with('{')).collect();
    let history = format!("{}\n", lines.join("\n"));
    place.file("example.jsonl", &history);
    let finished = place.run(&["check", "example.jsonl"]);
    assert_eq!(finished.code(), 0, "{history}{}{}", finished.stdout(), finished.stderr());
    // It is judged, and not merely read.
    place.file("stale.jsonl", &history.replace("\"read\",\"value\":4", "\"read\",\"value\":null"));
    assert_eq!(place.run(&["check", "stale.jsonl"]).code(), 1);
}

#[test]
fn the_program_in_the_readme_runs_and_loses_updates() {
    let text = document("README.md");
    let block = |kind: &str, mark: &str| {
        let mut blocks = text.split(kind).skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
        blocks.find(|block| block.contains(mark)).expect("a block").to_owned()
    };
    let place = Place::new();
    place.file("store.py", &block("```python\n", "sys.stdin"));
    place.file("my-counter.toml", &block("```toml\n", "my-counter"));
    let finished = place.run(&["run", "my-counter.toml", "--strategy", "mine", "--budget", "8s"]);
    assert_eq!(finished.code(), 1, "{}{}", finished.stdout(), finished.stderr());
    assert!(finished.stdout().contains("lost-update"), "{}", finished.stdout());
    assert!(!finished.stdout().contains("torn-read"), "{}", finished.stdout());
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
