//! Clients that are killed or suspended anywhere: what breaks by that is found by its name, what
//! survives it is verified, and what was found can be run again.

use serde_json::Value;

use crate::command::Place;

/// The cells of one strategy under one hazard: guarantee, cell.
fn cells<'r>(run: &'r Value, strategy: &str, hazard: &str) -> Vec<(&'r str, &'r Value)> {
    let list = |value: &'r Value| value.as_array().expect("a list");
    let all = list(&run["scenarios"]).iter().flat_map(|scenario| list(&scenario["strategies"]));
    all.filter(|row| row["name"] == strategy)
        .flat_map(|row| list(&row["verdicts"]))
        .filter(|cell| cell["hazard"] == hazard)
        .map(|cell| (cell["guarantee"].as_str().expect("text"), cell))
        .collect()
}

fn cell<'r>(run: &'r Value, strategy: &str, guarantee: &str, hazard: &str) -> &'r Value {
    let cells = cells(run, strategy, hazard);
    let found = cells.iter().find(|(known, _)| *known == guarantee);
    found.unwrap_or_else(|| panic!("{strategy} {guarantee}@{hazard} was not looked at")).1
}

fn explore(place: &Place, scenario: &str, strategies: &[&str]) -> Value {
    let mut arguments = vec!["run", scenario, "--engine", "explore", "--budget", "120s", "--seed", "1"];
    for strategy in strategies {
        arguments.extend(["--strategy", strategy]);
    }
    let finished = place.run(&arguments);
    assert!([0, 3].contains(&finished.code()), "{}{}", finished.stdout(), finished.stderr());
    assert_eq!(place.left_behind(), Vec::<String>::new());
    place.run_json()
}

/// The token of a violation with this name.
fn violated<'r>(run: &'r Value, strategy: &str, guarantee: &str, hazard: &str, anomaly: &str) -> &'r str {
    let cell = cell(run, strategy, guarantee, hazard);
    assert_eq!(cell["verdict"], "violated", "{strategy} {guarantee}@{hazard}: {cell}");
    let anomalies = cell["anomalies"].as_array().expect("anomalies");
    let found = anomalies.iter().find(|found| found["kind"] == anomaly);
    let found = found.unwrap_or_else(|| panic!("{strategy} {guarantee}@{hazard}: no {anomaly} in {cell}"));
    found["witness"]["replay"].as_str().expect("a token")
}

fn verified(run: &Value, strategy: &str, guarantee: &str, hazard: &str) {
    let cell = cell(run, strategy, guarantee, hazard);
    assert_eq!(cell["verdict"], "verified", "{strategy} {guarantee}@{hazard}: {cell}");
    assert_eq!(cell["scope"]["exhausted"], true);
    let bound = if hazard == "kill" { "kills" } else { "pauses" };
    assert_eq!(cell["scope"][bound], 1);
    assert_eq!(cell["scope"]["pause_ms"].is_u64(), hazard == "pause", "{cell}");
}

#[test]
fn a_killed_holder_leaves_a_lock_file_for_ever_and_a_lock_of_the_kernel_goes_with_it() {
    let place = Place::new();
    let run = explore(&place, "run-lock", &["lock-exclusive-create", "lock-mkdir", "lock-flock"]);
    for stuck in ["lock-exclusive-create", "lock-mkdir"] {
        violated(&run, stuck, "progress", "kill", "stuck-lock");
        verified(&run, stuck, "mutual-exclusion", "kill");
    }
    for guarantee in ["progress", "mutual-exclusion", "no-residue"] {
        verified(&run, "lock-flock", guarantee, "kill");
    }
}

#[test]
fn a_holder_that_is_suspended_for_longer_than_its_lease_shares_the_lock_and_one_under_flock_does_not() {
    let place = Place::new();
    let run = explore(&place, "run-lock", &["lock-age-timeout", "lock-flock"]);
    let token = violated(&run, "lock-age-timeout", "mutual-exclusion", "pause", "two-holders");
    verified(&run, "lock-flock", "mutual-exclusion", "pause");
    verified(&run, "lock-flock", "progress", "pause");
    let replayed = place.run(&["replay", token]);
    assert_eq!(replayed.code(), 1, "{}", replayed.stdout());
    assert!(replayed.stdout().contains("is suspended"), "{}", replayed.stdout());
    assert!(replayed.stdout().contains("goes on"), "{}", replayed.stdout());
}

/// With two acquisitions of each client: a heartbeat is in time in every order, and late where its holder sleeps.
#[test]
fn a_heartbeat_keeps_its_lease_in_every_order_and_not_through_a_pause() {
    let place = Place::new();
    let arguments =
        ["run", "run-lock", "--strategy", "lock-heartbeat", "--engine", "explore", "--budget", "120s"];
    let run = |more: &[&str]| {
        let finished = place.run(&[&arguments[..], more].concat());
        assert!([0, 3].contains(&finished.code()), "{}{}", finished.stdout(), finished.stderr());
        place.run_json()
    };
    let kept = run(&["--hazard", "concurrency"]);
    for guarantee in ["mutual-exclusion", "progress", "no-residue"] {
        let cell = cell(&kept, "lock-heartbeat", guarantee, "concurrency");
        assert_eq!(cell["verdict"], "verified", "{guarantee}: {cell}");
        let scope = &cell["scope"];
        assert_eq!((&scope["operations"], &scope["preemption_bound"]), (&2.into(), &Value::Null), "{cell}");
    }
    violated(
        &run(&["--hazard", "pause", "--fail-fast"]),
        "lock-heartbeat",
        "mutual-exclusion",
        "pause",
        "two-holders",
    );
}

#[test]
fn a_writer_that_is_killed_tears_a_file_in_place_and_leaves_a_temporary_one_but_no_torn_state() {
    let place = Place::new();
    let run = explore(&place, "progress", &["in-place-truncate", "temp-rename", "flock-in-place"]);
    let token = violated(&run, "flock-in-place", "atomic-reads", "kill", "torn-read");
    violated(&run, "in-place-truncate", "atomic-reads", "kill", "torn-read");
    verified(&run, "temp-rename", "atomic-reads", "kill");
    violated(&run, "temp-rename", "no-residue", "kill", "leaked-file");
    let replayed = place.run(&["replay", token]);
    assert_eq!(replayed.code(), 1, "{}", replayed.stdout());
    assert!(replayed.stdout().contains("is killed"), "{}", replayed.stdout());
}

#[test]
fn libraries_that_draw_random_names_are_under_control() {
    let place = Place::new();
    let run = explore(&place, "progress", &["lib-tempfile-persist"]);
    for guarantee in ["atomic-reads", "linearizable", "progress"] {
        let cell = cell(&run, "lib-tempfile-persist", guarantee, "concurrency");
        assert_eq!(cell["verdict"], "verified", "{guarantee}: {cell}");
    }
}
