//! What a run brings: breaches by their names, a result of the documented shape, histories that can
//! be checked again, and a cost that comes from what was measured.

use std::process::Command;

use crate::command::{Place, verdicts};

/// The verdict of one cell.
fn verdict(run: &serde_json::Value, cell: &str) -> Option<String> {
    verdicts(run).into_iter().find(|(name, _)| name == cell).map(|(_, verdict)| verdict)
}

/// The kinds of anomalies that were seen in one cell.
fn anomalies(run: &serde_json::Value, strategy: &str, guarantee: &str, hazard: &str) -> Vec<String> {
    let scenarios = run["scenarios"].as_array().expect("scenarios").iter();
    scenarios
        .flat_map(|scenario| scenario["strategies"].as_array().expect("strategies"))
        .filter(|row| row["name"] == strategy)
        .flat_map(|row| row["verdicts"].as_array().expect("verdicts"))
        .filter(|cell| cell["guarantee"] == guarantee && cell["hazard"] == hazard)
        .flat_map(|cell| cell["anomalies"].as_array().expect("anomalies"))
        .map(|anomaly| anomaly["kind"].as_str().expect("a kind").to_owned())
        .collect()
}

#[test]
fn a_broken_strategy_is_found_by_its_anomaly_and_a_sound_one_is_not() {
    let place = Place::new();
    let finished = place.run(&[
        "run",
        "progress",
        "--strategy",
        "in-place-truncate",
        "--strategy",
        "write-file-atomic",
        "--budget",
        "3s",
        "--seed",
        "7",
    ]);
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
    let run = place.run_json();
    assert_eq!(run["seed"], 7);
    assert_eq!(anomalies(&run, "in-place-truncate", "atomic-reads", "concurrency"), ["torn-read"]);
    for hazard in ["concurrency", "kill"] {
        let cell = format!("progress write-file-atomic atomic-reads@{hazard}");
        assert_eq!(verdict(&run, &cell).as_deref(), Some("not-observed"), "{hazard}");
    }
    let validated = place.run(&["validate", "target/tearproof/run.json"]);
    assert_eq!(validated.code(), 0, "{}", validated.stdout());
}

#[test]
fn a_violated_claim_ends_with_exit_code_1_and_stands_out() {
    let place = Place::new();
    place.file(
        "mine.toml",
        r#"
name    = "mine"
summary = "a program that promises what it does not keep"
source  = "a test"
strategies = ["mine"]
[state]
file   = "state.json"
object = "register"
size   = "16 KiB"
[[client]]
role = "writer"
does = { write = 1 }
[[client]]
role = "reader"
count = 2
does = { read = 1 }
[strategy.mine]
write  = ["sh", "-c", "cat \"$1\" > \"$2\"", "-", "{value_file}", "{path}"]
claims = ["atomic-reads@concurrency"]
[stress]
seconds = 2
"#,
    );
    let finished = place.run(&["run", "mine.toml"]);
    assert_eq!(finished.code(), 1, "{}{}", finished.stdout(), finished.stderr());
    assert!(finished.stdout().contains("Broken claims"), "{}", finished.stdout());
    assert!(finished.stdout().contains("tearproof run mine.toml --strategy mine"), "{}", finished.stdout());
    assert_eq!(anomalies(&place.run_json(), "mine", "atomic-reads", "concurrency"), ["torn-read"]);
}

#[test]
fn a_recorded_history_gets_the_same_verdict_again() {
    let place = Place::new();
    let finished =
        place.run(&["run", "progress", "--strategy", "in-place-truncate", "--budget", "1s", "--histories"]);
    assert_eq!(finished.code(), 0, "{}", finished.stderr());
    let history = "target/tearproof/histories/progress-in-place-truncate-concurrency.jsonl";
    let checked = place.run(&["check", history, "--format", "json"]);
    assert_eq!(checked.code(), 1, "{}", checked.stderr());
    let cells: serde_json::Value = serde_json::from_str(&checked.stdout()).expect("JSON");
    let torn = cells["verdicts"]
        .as_array()
        .expect("cells")
        .iter()
        .find(|cell| cell["guarantee"] == "atomic-reads")
        .expect("a verdict on atomic reads");
    assert_eq!(torn["verdict"], "violated");
    assert_eq!(torn["anomalies"][0]["kind"], "torn-read");
}

#[test]
fn the_python_store_shows_its_own_message_and_its_atomic_form_holds() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|output| output.status.success()) {
        println!("not shown here: there is no python3");
        return;
    }
    let place = Place::new();
    let definition = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/adapters/progress-python.toml");
    let mut shown = false;
    // On a busy machine an interpreter may need most of the time to start.
    for budget in ["12s", "30s", "90s"] {
        let finished = place.run(&["run", definition, "--budget", budget, "--full"]);
        assert!(matches!(finished.code(), 0 | 1), "{}{}", finished.stdout(), finished.stderr());
        let run = place.run_json();
        for form in ["atomic", "atomic-unique"] {
            let cell = format!("progress-python {form} atomic-reads@concurrency");
            assert_eq!(verdict(&run, &cell).as_deref(), Some("not-observed"), "{form}");
        }
        shown = run.to_string().contains("Expecting value: line 1 column 1 (char 0)")
            && anomalies(&run, "as-found", "atomic-reads", "concurrency") == ["torn-read"];
        if shown {
            break;
        }
    }
    assert!(shown, "the store as it was found never showed an empty file");
}

#[test]
fn lists_show_what_there_is() {
    let place = Place::new();
    for (what, expected) in
        [("scenarios", "run-lock"), ("strategies", "write-file-atomic"), ("guarantees", "mutual-exclusion")]
    {
        let finished = place.run(&["list", what]);
        assert_eq!(finished.code(), 0);
        assert!(finished.stdout().contains(expected), "{}", finished.stdout());
    }
    let doctor = place.run(&["doctor"]);
    assert_eq!(doctor.code(), 0, "{}", doctor.stdout());
    assert!(doctor.stdout().contains("engines: stress"), "{}", doctor.stdout());
    if doctor.stdout().contains("stress and explore can run here") {
        assert!(doctor.stdout().contains("calls are stopped and answered in "), "{}", doctor.stdout());
    }
}
