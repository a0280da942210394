//! The explore engine as its users meet it: canaries are found by their names, sound strategies are
//! verified, and what was found can be run again.

use serde_json::Value;

use crate::command::Place;

/// All cells of the explore engine: strategy, guarantee, the cell.
fn cells(run: &Value) -> Vec<(String, String, &Value)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut cells = Vec::new();
    for scenario in run["scenarios"].as_array().expect("scenarios") {
        for strategy in scenario["strategies"].as_array().expect("strategies") {
            for cell in strategy["verdicts"].as_array().expect("verdicts") {
                assert_eq!(cell["engine"], "explore");
                cells.push((text(&strategy["name"]), text(&cell["guarantee"]), cell));
            }
        }
    }
    cells
}

fn explore(place: &Place, scenario: &str, strategies: &[&str]) -> Value {
    let mut arguments = vec!["run", scenario, "--engine", "explore", "--hazard", "concurrency"];
    arguments.extend(["--budget", "60s", "--seed", "1"]);
    for strategy in strategies {
        arguments.extend(["--strategy", strategy]);
    }
    let finished = place.run(&arguments);
    assert!([0, 3].contains(&finished.code()), "{}{}", finished.stdout(), finished.stderr());
    assert_eq!(place.left_behind(), Vec::<String>::new());
    place.run_json()
}

fn expect_violated(run: &Value, strategy: &str, guarantee: &str, anomaly: &str) -> String {
    let all = cells(run);
    let (_, _, cell) = all
        .iter()
        .find(|(name, about, _)| name == strategy && about == guarantee)
        .unwrap_or_else(|| panic!("{strategy} {guarantee} was not looked at"));
    assert_eq!(cell["verdict"], "violated", "{strategy} {guarantee}: {cell}");
    let anomalies = cell["anomalies"].as_array().expect("anomalies");
    let found = anomalies.iter().find(|found| found["kind"] == anomaly);
    let found = found.unwrap_or_else(|| panic!("{strategy} {guarantee}: no {anomaly} in {cell}"));
    found["witness"]["replay"].as_str().expect("a token").to_owned()
}

fn expect_verified(run: &Value, strategy: &str) {
    let mut seen = 0;
    for (name, guarantee, cell) in cells(run).into_iter().filter(|(name, ..)| name == strategy) {
        assert_eq!(cell["verdict"], "verified", "{name} {guarantee}: {cell}");
        assert_eq!(cell["scope"]["exhausted"], true);
        assert_eq!(cell["scope"]["operations"], 2);
        seen += 1;
    }
    assert!(seen > 2, "{strategy} was hardly looked at");
}

#[test]
fn locks_that_keep_all_updates_are_verified_and_those_that_lose_some_are_caught() {
    let place = Place::new();
    let run = explore(
        &place,
        "index",
        &["flock-sibling", "flock-in-place", "posix-lock", "ofd-lock", "flock-replaced-file", "temp-rename"],
    );
    for sound in ["flock-sibling", "flock-in-place", "posix-lock", "ofd-lock"] {
        expect_verified(&run, sound);
    }
    for broken in ["flock-replaced-file", "temp-rename"] {
        expect_violated(&run, broken, "no-lost-updates", "lost-update");
    }
}

#[test]
fn a_file_that_is_truncated_or_overwritten_tears_reads_and_a_renamed_one_does_not() {
    let place = Place::new();
    let run = explore(&place, "progress", &["in-place-truncate", "in-place-overwrite", "write-file-atomic"]);
    expect_violated(&run, "in-place-truncate", "atomic-reads", "torn-read");
    expect_violated(&run, "in-place-overwrite", "atomic-reads", "torn-read");
    expect_verified(&run, "write-file-atomic");
}

#[test]
fn two_readers_of_one_read_each_are_explored_with_a_writer() {
    let place = Place::new();
    place.file(
        "readers.toml",
        r#"
name = "readers"
strategies = ["temp-rename", "in-place-truncate"]
[state]
file = "state.json"
object = "register"
[[client]]
role = "writer"
does = { write = 1 }
[[client]]
role = "reader"
count = 2
does = { read = 1 }
[explore]
operations = 1
"#,
    );
    let run = explore(&place, "readers.toml", &["temp-rename", "in-place-truncate"]);
    for (name, guarantee, cell) in cells(&run) {
        let clients = &cell["scope"]["clients"];
        assert_eq!((&clients["reader"], &clients["writer"]), (&2.into(), &1.into()), "{name} {guarantee}");
        if name == "temp-rename" {
            assert_eq!(cell["verdict"], "verified", "{guarantee}: {cell}");
            // Each of the readers comes before or after the rename.
            assert_eq!(cell["scope"]["executions"], 4, "{guarantee}: {cell}");
        }
    }
    let token = expect_violated(&run, "in-place-truncate", "atomic-reads", "torn-read");
    // One reader is enough to see it.
    assert!(token.starts_with("readers/in-place-truncate/concurrency/1:1.1/"), "{token}");
    assert_eq!(place.run(&["replay", &token, "readers.toml"]).code(), 1);
}

#[test]
fn a_budget_of_any_length_is_taken() {
    let place = Place::new();
    // Nearly as many seconds as there can be.
    let arguments = ["run", "progress", "--strategy", "write-file-atomic", "--engine", "explore"];
    let finished = place.run(&[&arguments[..], &["--budget", "18000000000000000000s"]].concat());
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
    let run = place.run_json();
    assert!(!cells(&run).is_empty());
    for (name, guarantee, cell) in cells(&run) {
        let known = ["verified", "violated"].map(Value::from);
        assert!(known.contains(&cell["verdict"]), "{name} {guarantee}: {cell}");
    }
}

#[test]
fn the_narrow_window_of_two_stealers_is_found() {
    let place = Place::new();
    let strategies = ["lock-stale-unlink", "lock-stale-rename", "lock-stale-guarded", "lock-flock"];
    let run = explore(&place, "run-lock-stale", &strategies);
    expect_violated(&run, "lock-stale-unlink", "mutual-exclusion", "two-holders");
    expect_violated(&run, "lock-stale-rename", "mutual-exclusion", "two-holders");
    for (name, guarantee, cell) in cells(&run) {
        if ["lock-stale-guarded", "lock-flock"].contains(&name.as_str()) {
            assert_eq!(cell["verdict"], "verified", "{name} {guarantee}: {cell}");
        }
    }
}

#[test]
fn who_fails_fast_is_left_at_the_first_violation() {
    let place = Place::new();
    let arguments = ["run", "index", "--engine", "explore", "--hazard", "concurrency", "--seed", "1"];
    let run = |more: &[&str]| {
        let finished = place.run(&[&arguments[..], &["--strategy", "temp-rename-shared"], more].concat());
        assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
        let run = place.run_json();
        let cells = cells(&run);
        let of = |verdict: &str| cells.iter().filter(|(.., cell)| cell["verdict"] == verdict).count();
        let executions = cells[0].2["scope"]["executions"].as_u64().expect("a number");
        let left = cells.iter().filter(|(.., cell)| cell["verdict"] == "inconclusive");
        for (.., cell) in left {
            assert_eq!(cell["scope"]["limit"], "it was left at its first violation", "{cell}");
        }
        (executions, of("violated"), of("verified"))
    };
    let (few, broken, verified) = run(&["--budget", "20s", "--fail-fast"]);
    assert!(broken > 0);
    assert_eq!(verified, 0);
    let (all, broken_at_last, _) = run(&["--budget", "20s"]);
    assert!(few * 2 < all && broken <= broken_at_last, "{few} and {all} executions");
}

#[test]
fn a_program_that_maps_its_file_is_not_judged() {
    let place = Place::new();
    let run = explore(&place, "progress", &["sqlite-wal"]);
    for (_, guarantee, cell) in cells(&run) {
        assert_eq!(cell["verdict"], "inconclusive", "{guarantee}");
        assert!(cell["scope"]["limit"].as_str().expect("a reason").contains("mapped"), "{cell}");
    }
}

#[test]
fn a_witness_is_the_same_each_time_it_is_replayed() {
    let place = Place::new();
    let run = explore(&place, "index", &["flock-replaced-file"]);
    let token = expect_violated(&run, "flock-replaced-file", "no-lost-updates", "lost-update");
    // Two clients with one operation each are enough, and the lister is not among them.
    assert!(token.starts_with("index/flock-replaced-file/concurrency/1:1.1.0/"), "{token}");
    let first = place.run(&["replay", &token]);
    assert_eq!(first.code(), 1, "{}{}", first.stdout(), first.stderr());
    assert!(first.stdout().contains("lost-update"), "{}", first.stdout());
    for _ in 0..20 {
        assert_eq!(place.run(&["replay", &token]).stdout(), first.stdout());
    }
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn any_number_of_shards_comes_to_the_same_result() {
    let strategies = ["temp-rename", "flock-sibling", "flock-replaced-file", "ofd-lock", "posix-lock"];
    let explored = |shards: &str| {
        let place = Place::new();
        let mut arguments = vec!["run", "index", "--engine", "explore", "--hazard", "concurrency"];
        // Time must not be what limits the search for short witnesses.
        arguments.extend(["--budget", "600s", "--seed", "1"]);
        arguments.extend(strategies.iter().flat_map(|strategy| ["--strategy", strategy]));
        arguments.extend(["--shards", shards]);
        let finished = place.run(&arguments);
        assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
        assert_eq!(place.left_behind(), Vec::<String>::new());
        // Verdicts, executions, witnesses and tokens, in the same order.
        place.run_json()["scenarios"][0]["strategies"].as_array().expect("strategies").clone()
    };
    let alone = explored("1");
    assert_eq!(alone.len(), strategies.len());
    assert!(alone[0].to_string().contains("lost-update"), "{}", alone[0]);
    for shards in ["2", "3"] {
        for (one, other) in alone.iter().zip(explored(shards)) {
            assert!(*one == other, "{shards} shards: {other}\ninstead of: {one}");
        }
    }
}

#[test]
fn limits_are_kept_and_told() {
    let place = Place::new();
    let explored = |limit: [&str; 2]| {
        let mut arguments = vec!["run", "index", "--engine", "explore", "--strategy", "temp-rename"];
        arguments.extend(["--hazard", "concurrency"]);
        arguments.extend(limit);
        let finished = place.run(&arguments);
        assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
        place.run_json()
    };
    // Whoever is never interrupted loses nothing.
    let run = explored(["--bound", "0"]);
    for (_, guarantee, cell) in cells(&run) {
        assert_eq!(cell["verdict"], "verified", "{guarantee}: {cell}");
        assert_eq!(cell["scope"]["preemption_bound"], 0);
    }
    let run = explored(["--bound", "1"]);
    expect_violated(&run, "temp-rename", "no-lost-updates", "lost-update");
}

#[test]
fn of_what_is_too_much_to_run_a_sample_is_taken_that_says_what_it_may_have_missed() {
    let explored = |shards: &str, seed: &str| {
        let place = Place::new();
        let finished = place.run(&[
            "run",
            "index",
            "--engine",
            "explore",
            "--strategy",
            "cas-versioned-link",
            "--hazard",
            "concurrency",
            "--executions",
            "30",
            "--seed",
            seed,
            "--shards",
            shards,
        ]);
        assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
        assert!(finished.stdout().contains("a sample, 2 operations each"), "{}", finished.stdout());
        place.run_json()["scenarios"][0]["strategies"][0]["verdicts"].clone()
    };
    let verdicts = explored("1", "1");
    for cell in verdicts.as_array().expect("cells") {
        assert_eq!(cell["verdict"], "not-observed", "{cell}");
        let clients = cell["scope"]["clients"].as_object().expect("clients");
        assert_eq!(clients.values().map(|count| count.as_u64().expect("a number")).sum::<u64>(), 3);
        for (sampling, depth) in cell["scope"]["sampling"].as_array().expect("samples").iter().zip([2, 3]) {
            let number = |key: &str| sampling[key].as_f64().expect("a number");
            assert_eq!(sampling["depth"], depth);
            assert!(number("schedules") >= 1.0, "{sampling}");
            let one = 1.0 / (number("threads") * number("steps").powi(depth - 1));
            let missed = (1.0 - one).powf(number("schedules"));
            assert!((number("missed_at_most") - missed).abs() < 1e-9, "{sampling}");
        }
    }
    assert_eq!(explored("2", "1"), verdicts, "it comes from the seed alone");
}

#[test]
fn an_interrupted_exploration_ends_at_once_and_leaves_nothing() {
    use std::io::Read;
    let place = Place::new();
    let arguments =
        ["run", "index", "--engine", "explore", "--strategy", "cas-versioned-link", "--budget", "100s"];
    let mut child = place
        .command(&arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the command starts");
    // It is under way when its state directory is there.
    while place.left_behind().is_empty() {
        std::thread::yield_now();
    }
    let status =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(status.success());
    let mut said = String::new();
    child.stdout.take().expect("its output").read_to_string(&mut said).expect("text");
    let status = child.wait().expect("its end");
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(place.run_json()["elapsed_ms"].as_u64().expect("a time") < 50_000, "{said}");
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn a_token_of_another_definition_is_refused() {
    let place = Place::new();
    let finished = place.run(&["replay", "index/flock-sibling/concurrency/2:1.1.1/0000000000000001/A3B2"]);
    assert_eq!(finished.code(), 2);
    assert!(finished.stderr().contains("is not the one"), "{}", finished.stderr());
    let finished = place.run(&["replay", "nonsense"]);
    assert_eq!(finished.code(), 2);
    assert!(finished.stderr().contains("is no replay token"), "{}", finished.stderr());
}
