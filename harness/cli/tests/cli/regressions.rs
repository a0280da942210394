//! Witnesses that are kept: found in one run, replayed first in the next.

use crate::command::{Finished, Place};

const DEFINITION: &str = r#"
name = "mine"
strategies = ["temp-rename"]
[state]
file = "index.json"
format = "json"
object = "set"
[[client]]
role = "agent"
count = 2
does = { update = 1 }
"#;

fn run(place: &Place, more: &[&str]) -> Finished {
    let mut arguments = vec!["run", "mine.toml", "--engine", "explore", "--budget", "60s"];
    arguments.extend(more);
    place.run(&arguments)
}

fn kept(place: &Place, folder: &str) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(place.path().join(folder)) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn a_witness_that_is_kept_is_replayed_first_in_the_next_run() {
    let place = Place::new();
    place.file("mine.toml", DEFINITION);
    let finished = run(&place, &[]);
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
    assert_eq!(kept(&place, "regressions").len(), 0, "nobody asked for it");

    run(&place, &["--keep"]);
    let files = kept(&place, "regressions");
    assert!(!files.is_empty());
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a small file");
        let (token, about) = text.split_once('\n').expect("lines");
        assert!(token.starts_with("mine/temp-rename/concurrency/"), "{text}");
        assert!(about.lines().all(|line| line.starts_with("# ")), "{text}");
        let finished = place.run(&["replay", token, "mine.toml"]);
        assert_eq!(finished.code(), 1, "{}{}", finished.stdout(), finished.stderr());
    }

    let finished = run(&place, &["--keep"]);
    let said = finished.stdout();
    assert!(said.starts_with("kept witnesses"), "{said}");
    assert_eq!(said.matches("still broken, not claimed: ").count(), files.len(), "{said}");
    let told = place.run_json()["kept"].as_array().expect("the same in the result").clone();
    assert_eq!(told.len(), files.len());
    for witness in &told {
        assert_eq!(witness["reproduced"], true, "{witness}");
        assert!(witness["token"].as_str().expect("a token").starts_with("mine/temp-rename/"), "{witness}");
        assert!(witness["explanation"].as_str().is_some_and(|text| text.contains("read")), "{witness}");
    }
    assert_eq!(kept(&place, "regressions"), files, "the same witnesses are the same files");
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn a_witness_of_something_that_was_mended_is_reported() {
    let place = Place::new();
    place.file("mine.toml", DEFINITION);
    run(&place, &["--keep", "--regressions", "kept"]);
    assert!(kept(&place, "regressions").is_empty());
    let file = kept(&place, "kept").remove(0);
    let token =
        std::fs::read_to_string(&file).expect("a small file").lines().next().expect("a token").to_owned();
    // The same clients in turns: nothing is broken in that.
    let runs = token.rsplit_once('/').expect("a schedule").1;
    std::fs::write(&file, format!("# mended\n\n{}\n", token.replace(runs, "A7B7"))).expect("written");
    let finished = run(&place, &["--regressions", "kept"]);
    let said = finished.stdout();
    assert!(said.contains("no longer violates; delete it or keep it"), "{said}");
    assert_eq!(place.run_json()["kept"][0]["reproduced"], false);
    assert_eq!(finished.code(), 0);
}

#[test]
fn a_witness_of_another_definition_is_told_and_one_of_another_scenario_waits() {
    let place = Place::new();
    place.file("mine.toml", DEFINITION);
    run(&place, &["--keep"]);
    place.file("mine.toml", &DEFINITION.replace("index.json", "other.json"));
    let finished = run(&place, &[]);
    let said = finished.stdout();
    assert!(said.contains("the definition of `mine` is not the one that this token was made with"), "{said}");
    assert_eq!(finished.code(), 0, "{said}");
    // What only says how far to look changes no execution.
    place.file("mine.toml", &format!("{DEFINITION}[explore]\nexecutions = 5000\n"));
    assert!(run(&place, &[]).stdout().contains("still broken, not claimed"));
    place.file("mine.toml", &DEFINITION.replace("name = \"mine\"", "name = \"other\""));
    assert!(!run(&place, &[]).stdout().contains("kept witnesses"));
}

#[test]
fn a_file_that_holds_no_token_is_told() {
    let place = Place::new();
    place.file("mine.toml", DEFINITION);
    std::fs::create_dir(place.path().join("regressions")).expect("a folder");
    place.file("regressions/broken.witness", "nonsense\n");
    place.file("regressions/README.md", "not a witness\n");
    let finished = run(&place, &["--executions", "10"]);
    let said = finished.stdout();
    assert!(said.contains("`nonsense` is no replay token"), "{said}");
    assert_eq!(place.run_json()["kept"][0]["reproduced"], serde_json::Value::Null);
    assert!(!said.contains("README"), "{said}");
}
