//! Workers that say that they can play in many executions are taken at their word, and watched.

use super::python::place;
use super::{cell, explore_with, finds, verifies};

const DEFINITION: &str = "reuse.toml";

#[test]
fn a_worker_that_says_it_is_reusable_plays_in_many_executions() {
    let place = place();
    let definition = std::fs::read_to_string(place.path().join(DEFINITION)).expect("the definition");
    place.file(DEFINITION, &definition.replace("operations = 1", "operations = 2"));
    let run = explore_with(&place, DEFINITION, "honest", &["--budget", "400s"]);
    let cell = cell(&run, "honest", "no-lost-updates");
    assert_eq!(cell["verdict"], "verified", "{cell}");
    assert_eq!(cell["scope"]["exhausted"], true, "{cell}");
    let executions = cell["scope"]["executions"].as_u64().expect("a number");
    let starts = std::fs::read(place.path().join("starts")).expect("starts").len() as u64;
    // Two clients, and whoever looks at what is there in the end.
    assert!(starts < 2 * executions, "{starts} processes for {executions} executions of three");
}

#[test]
fn what_only_a_used_worker_does_wrong_is_not_reported() {
    let place = place();
    for strategy in ["careless", "cached"] {
        verifies(&place, DEFINITION, strategy, "no-lost-updates");
    }
}

#[test]
fn what_only_a_new_worker_does_wrong_is_found() {
    let place = place();
    finds(&place, DEFINITION, "learner", "no-lost-updates", "lost-update");
}

/// What is asked of such a worker is the same each time, and may be asked in its agent's place.
#[test]
fn whoever_asks_a_worker_that_plays_on_is_told_the_same() {
    const PARTS: &str = "parts.toml";
    let told = |life: &str| {
        let place = place();
        let definition = std::fs::read_to_string(place.path().join(PARTS)).expect("the definition");
        place.file(PARTS, &definition.replace("\"reused\"", life));
        let arguments = ["run", PARTS, "--engine", "explore", "--hazard", "concurrency", "--seed", "1"];
        let finished = place.run(&[&arguments[..], &["--shards", "1", "--budget", "400s"]].concat());
        assert!([0, 3].contains(&finished.code()), "{}{}", finished.stdout(), finished.stderr());
        assert_eq!(place.left_behind(), Vec::<String>::new());
        let run = place.run_json();
        let strategies = run["scenarios"][0]["strategies"].as_array().expect("strategies").clone();
        let verdicts = strategies.iter().map(|strategy| {
            let name = strategy["name"].as_str().expect("a name").to_owned();
            let cells = strategy["verdicts"].as_array().expect("cells").iter().map(|cell| {
                assert_eq!(cell["scope"]["exhausted"], true, "{name}: {cell}");
                (cell["guarantee"].clone(), cell["verdict"].clone(), cell["scope"]["executions"].clone())
            });
            (name.clone(), cells.collect::<Vec<_>>())
        });
        let starts = |way: &str| {
            let starts = std::fs::read(place.path().join(format!("starts-{way}")));
            starts.expect("starts").len()
        };
        (verdicts.collect::<Vec<_>>(), ["plain", "warns", "pieces", "long"].map(starts))
    };
    let (reused, starts) = told("\"reused\"");
    let (anew, many) = told("\"anew\"");
    assert_eq!(reused, anew);
    let stuck: Vec<&str> = anew
        .iter()
        .filter(|(_, cells)| cells.iter().any(|(_, verdict, _)| verdict != "verified"))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(stuck, ["sleeps"]);
    // Had anybody been told something else, none would have been used again. Nobody asks for an agent that is
    // answered at such length.
    assert_eq!(starts, [starts[3]; 4]);
    assert!(starts[3] < many[3] / 2, "{starts:?} and {many:?}");
}
