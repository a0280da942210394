//! Strategies whose clients talk to an owner of the state over a socket, explored: a sound one is verified, with
//! its owner killed as well, and two that are not are found by their anomalies.

use serde_json::Value;

use crate::command::Place;

fn explore(place: &Place, scenario: &str, strategy: &str, hazard: &str, more: &[&str]) -> Value {
    let arguments = ["run", scenario, "--strategy", strategy, "--hazard", hazard, "--engine", "explore"];
    let finished = place.run(&[&arguments[..], &["--budget", "60s", "--seed", "1"], more].concat());
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
    assert_eq!(place.left_behind(), Vec::<String>::new());
    place.run_json()
}

fn cell<'r>(run: &'r Value, guarantee: &str) -> &'r Value {
    let cells = run["scenarios"][0]["strategies"][0]["verdicts"].as_array().expect("verdicts");
    cells.iter().find(|cell| cell["guarantee"] == guarantee).expect("it was looked at")
}

/// The witness of this anomaly, which is replayed, and what was told then.
fn replayed(place: &Place, run: &Value, guarantee: &str, anomaly: &str) -> String {
    let cell = cell(run, guarantee);
    assert_eq!(cell["verdict"], "violated", "{cell}");
    let anomalies = cell["anomalies"].as_array().expect("anomalies");
    let found = anomalies.iter().find(|found| found["kind"] == anomaly).expect("the anomaly");
    let token = found["witness"]["replay"].as_str().expect("a token");
    let tell = || {
        let replayed = place.run(&["replay", token]);
        assert!(replayed.stdout().contains(anomaly), "{}{}", replayed.stdout(), replayed.stderr());
        replayed.stdout().to_owned()
    };
    let told = tell();
    assert_eq!(told, tell());
    told
}

#[test]
fn an_owner_behind_a_socket_keeps_its_claims_and_each_class_is_run_once() {
    let place = Place::new();
    let run = explore(&place, "index", "coordinator", "concurrency", &[]);
    for guarantee in ["atomic-reads", "no-lost-updates", "linearizable", "progress"] {
        let cell = cell(&run, guarantee);
        assert_eq!(cell["verdict"], "verified", "{cell}");
        assert_eq!(cell["scope"]["operations"], 2);
    }
    // Two requests each of three clients, in every order: what else they do is nobody else's business.
    assert_eq!(cell(&run, "no-lost-updates")["scope"]["executions"], 90);
}

#[test]
fn an_owner_that_is_killed_loses_nothing_that_it_has_acknowledged_unless_it_answers_first() {
    let place = Place::new();
    let run = explore(&place, "progress", "coordinator", "kill", &[]);
    assert_eq!(cell(&run, "linearizable")["verdict"], "verified");
    // That the owner was killed, and not only clients, shows in what it leaves behind.
    assert!(replayed(&place, &run, "no-residue", "leaked-file").contains("is killed"));

    let run = explore(&place, "index", "coordinator-ack-first", "concurrency", &[]);
    assert_eq!(cell(&run, "no-lost-updates")["verdict"], "verified");
    let run = explore(&place, "index", "coordinator-ack-first", "kill", &["--fail-fast"]);
    let told = replayed(&place, &run, "no-lost-updates", "lost-update");
    let killed = told.lines().find(|line| line.contains("is killed")).expect("a kill");
    assert!(killed.contains("server"), "{told}");
}

#[test]
fn a_client_that_changes_what_it_was_told_loses_the_updates_of_others() {
    let place = Place::new();
    let run = explore(&place, "index", "coordinator-read-write", "concurrency", &["--fail-fast"]);
    let told = replayed(&place, &run, "no-lost-updates", "lost-update");
    assert!(told.contains("connect(index.json.sock)"), "{told}");
}
