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
