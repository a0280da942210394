//! Programs that nobody prepared, explored as they are: what is broken is found by its name and run again,
//! what is sound is verified.
//!
//! The programs lie in `tests/programs`, a folder a language, each with a definition of its wrong and its right
//! ways. Every one is written for these tests.

mod c;
mod distribution;
mod go;
mod node;
mod python;
mod reuse;
mod shell;

use std::path::Path;

use serde_json::Value;

use crate::command::Place;

/// A lock as shell scripts take it, in three ways.
const LOCKS: &str = r#"
name       = "shell-locks"
summary    = "locks as shell scripts take them"
source     = "a test"
strategies = ["check-then-echo", "noclobber", "mkdir"]

[state]
file   = "active.lock"
object = "lock"

[[client]]
role  = "worker"
count = 2
does  = { acquire = 1 }

[explore]
operations = 1

[strategy.check-then-echo]
acquire    = ["sh", "-c", "[ -e {path} ] && exit 1; echo $$ > {path}"]
release    = ["rm", "{path}"]
fail_codes = [1]
claims     = []

[strategy.noclobber]
acquire    = ["sh", "-c", "set -C; echo $$ > {path}"]
release    = ["rm", "{path}"]
fail_codes = [1, 2]
claims     = ["mutual-exclusion@concurrency"]

[strategy.mkdir]
acquire    = ["mkdir", "{path}"]
release    = ["rmdir", "{path}"]
fail_codes = [1]
claims     = ["mutual-exclusion@concurrency"]
"#;

/// The cell of a guarantee.
fn cell<'r>(run: &'r Value, strategy: &str, guarantee: &str) -> &'r Value {
    let strategies = run["scenarios"][0]["strategies"].as_array().expect("strategies");
    let found = strategies.iter().find(|found| found["name"] == strategy).expect("the strategy");
    let cells = found["verdicts"].as_array().expect("verdicts");
    cells.iter().find(|cell| cell["guarantee"] == guarantee).unwrap_or_else(|| panic!("{guarantee}: {found}"))
}

/// A place with the programs of a folder, and the text of each definition as this makes of it.
fn place_with(folder: &str, amend: impl Fn(&str) -> String) -> Place {
    let place = Place::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(folder);
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        // What an interpreter or an editor has left is no program.
        if entry.file_type().expect("a type").is_file() {
            let text = std::fs::read_to_string(entry.path()).expect("text");
            place.file(&name, &if name.ends_with(".toml") { amend(&text) } else { text });
        }
    }
    place
}

/// What is sound is done long before; of what is broken, enough is seen.
fn explore(place: &Place, definition: &str, strategy: &str) -> Value {
    explore_with(place, definition, strategy, &["--budget", "30s"])
}

fn explore_with(place: &Place, definition: &str, strategy: &str, more: &[&str]) -> Value {
    let arguments = ["run", definition, "--strategy", strategy, "--engine", "explore"];
    let same = ["--hazard", "concurrency", "--seed", "1", "--shards", "1"];
    let finished = place.run(&[&arguments[..], &same[..], more].concat());
    assert!([0, 3].contains(&finished.code()), "{}{}", finished.stdout(), finished.stderr());
    assert_eq!(place.left_behind(), Vec::<String>::new());
    place.run_json()
}

/// A way that is wrong: it shows this anomaly, and shows it again. Returns what the replay tells.
fn finds(place: &Place, definition: &str, strategy: &str, guarantee: &str, anomaly: &str) -> String {
    let run = explore_with(place, definition, strategy, &["--budget", "400s", "--fail-fast"]);
    replay(place, definition, cell(&run, strategy, guarantee), anomaly)
}

/// A way that is right: every execution was run, and there was more than one.
fn verifies(place: &Place, definition: &str, strategy: &str, guarantee: &str) {
    let run = explore_with(place, definition, strategy, &["--budget", "400s"]);
    let cell = cell(&run, strategy, guarantee);
    assert_eq!(cell["verdict"], "verified", "{cell}");
    assert_eq!(cell["scope"]["exhausted"], true, "{cell}");
    assert_eq!(cell["scope"]["preemption_bound"], Value::Null, "{cell}");
    assert!(cell["scope"]["executions"].as_u64().expect("a number") > 1, "{cell}");
}

/// Runs the witness of a violated cell again, twice: it is told in the same words.
fn replay(place: &Place, definition: &str, cell: &Value, anomaly: &str) -> String {
    assert_eq!(cell["verdict"], "violated", "{cell}");
    let anomalies = cell["anomalies"].as_array().expect("anomalies");
    let found = anomalies.iter().find(|found| found["kind"] == anomaly);
    let found = found.unwrap_or_else(|| panic!("no {anomaly} in {cell}"));
    let token = found["witness"]["replay"].as_str().expect("a token");
    let told = || {
        let finished = place.run(&["replay", token, definition]);
        assert_eq!(finished.code(), 1, "{}{}", finished.stdout(), finished.stderr());
        finished.stdout()
    };
    let first = told();
    assert_eq!(told(), first);
    first
}

#[test]
fn a_shell_script_that_looks_before_it_locks_has_two_holders() {
    let place = Place::new();
    place.file("locks.toml", LOCKS);
    let run = explore(&place, "locks.toml", "check-then-echo");
    let told = replay(&place, "locks.toml", cell(&run, "check-then-echo", "mutual-exclusion"), "two-holders");
    // Whose deeds they are is told, though a shell did them.
    assert!(told.contains("stat(active.lock)") && told.contains("open(active.lock"), "{told}");
    assert!(!told.contains("client 0 "), "{told}");
}

#[test]
fn shell_locks_that_the_kernel_decides_are_verified() {
    let place = Place::new();
    place.file("locks.toml", LOCKS);
    for strategy in ["noclobber", "mkdir"] {
        let run = explore(&place, "locks.toml", strategy);
        let cell = cell(&run, strategy, "mutual-exclusion");
        assert_eq!(cell["verdict"], "verified", "{cell}");
        assert_eq!(cell["scope"]["exhausted"], true);
        assert!(cell["scope"]["executions"].as_u64().expect("a number") > 2, "{cell}");
    }
}

#[test]
fn a_python_program_that_rewrites_its_file_in_place_shows_the_error_of_its_json() {
    let place = Place::new();
    let definition = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/adapters/progress-python.toml");
    let run = explore(&place, definition, "as-found");
    let told = replay(&place, definition, cell(&run, "as-found", "atomic-reads"), "torn-read");
    assert!(told.contains("Error loading JSON") && told.contains("Expecting value: line "), "{told}");
    assert!(told.contains("O_TRUNC"), "{told}");
}
