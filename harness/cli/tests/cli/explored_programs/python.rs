//! Programs in Python.

use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use super::{cell, explore_with, finds, place_with, replay, verifies};
use crate::command::Place;

/// Where the interpreter is: `python3` may be a script that looks for it, and takes longer than it does.
static PYTHON: LazyLock<String> = LazyLock::new(|| {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let answer = String::from_utf8(asked.expect("python3 is there").stdout).expect("a path");
    answer.trim_end().to_owned()
});

pub(super) fn place() -> Place {
    let place = place_with("python", |definition| definition.replace("python3", &PYTHON));
    place.file("worker.py", include_str!("../../../../../scenarios/adapters/worker.py"));
    place
}

#[test]
fn of_two_who_remove_the_lock_of_the_dead_one_removes_that_of_the_other() {
    let place = place();
    let told = finds(&place, "pid-lock.toml", "unlinked", "mutual-exclusion", "two-holders");
    // Both remove it before either has it.
    let (before, _) = told.split_once("entered").expect("an acquisition");
    assert_eq!(before.matches("unlink(active.lock)").count(), 2, "{told}");
}

#[test]
fn who_goes_on_without_the_lock_when_an_alarm_comes_loses_lines() {
    let place = place();
    let told = finds(&place, "time-limit.toml", "goes-on", "no-lost-updates", "lost-update");
    assert!(told.contains("flock(list.txt.lock, exclusive), until a timer cuts it short"), "{told}");
    for strategy in ["gives-up", "killed"] {
        verifies(&place, "time-limit.toml", strategy, "no-lost-updates");
    }
}

#[test]
fn timers_that_are_not_followed_leave_no_verdict_but_a_violation() {
    let place = place();
    for (strategy, says) in [
        ("of-a-thread", "a process of several threads sets a timer"),
        (
            "of-the-processor",
            "a timer of processor time (setitimer), which ends in real time and is not followed",
        ),
    ] {
        let run = explore_with(&place, "time-limit.toml", strategy, &["--budget", "30s"]);
        let cell = cell(&run, strategy, "no-lost-updates");
        assert_eq!(cell["verdict"], "inconclusive", "{cell}");
        assert!(cell.to_string().contains(says), "{cell}");
    }
}

#[test]
fn a_guard_over_the_removal_of_a_dead_lock_is_not_reported() {
    let place = place();
    // All executions would take minutes.
    let run = explore_with(&place, "pid-lock.toml", "guarded", &["--budget", "8s"]);
    let cell = cell(&run, "guarded", "mutual-exclusion");
    assert_ne!(cell["verdict"], "violated", "{cell}");
    assert_eq!(cell["scope"]["limit"], "the time was over", "{cell}");
    assert!(cell["scope"]["executions"].as_u64().expect("a number") > 2, "{cell}");
}

#[test]
fn who_waited_for_a_lock_file_that_is_removed_on_release_holds_it_beside_another() {
    let place = place();
    let told = finds(&place, "flock-lock.toml", "removed", "mutual-exclusion", "two-holders");
    assert!(told.contains("unlink(active.lock)"), "{told}");
    verifies(&place, "flock-lock.toml", "kept", "mutual-exclusion");
}

/// Nobody waits for the lock, so nobody lets time pass: who tries it may only come an hour later. Who polls
/// for ever sees the end of the pause.
#[test]
fn who_comes_late_takes_an_old_lock_from_one_who_is_suspended() {
    let place = place();
    let arguments = ["run", "age-lock.toml", "--engine", "explore", "--budget", "400s"];
    let finished = place.run(&[&arguments[..], &["--seed", "1", "--shards", "1"]].concat());
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
    assert_eq!(place.left_behind(), Vec::<String>::new());
    let run = place.run_json();
    let strategies = run["scenarios"][0]["strategies"].as_array().expect("strategies");
    let of = |strategy: &str, hazard: &str| {
        let found = strategies.iter().find(|found| found["name"] == strategy).expect("the strategy");
        let mut cells = found["verdicts"].as_array().expect("verdicts").iter();
        let wanted = |cell: &&Value| cell["guarantee"] == "mutual-exclusion" && cell["hazard"] == hazard;
        cells.find(wanted).unwrap_or_else(|| panic!("{found}")).clone()
    };
    let sound = [
        ("aged", "concurrency"),
        ("flock", "concurrency"),
        ("flock", "pause"),
        ("polled", "concurrency"),
        ("polled", "pause"),
    ];
    for (strategy, hazard) in sound {
        let cell = of(strategy, hazard);
        assert_eq!(cell["verdict"], "verified", "{cell}");
    }
    let told = replay(&place, "age-lock.toml", &of("aged", "pause"), "two-holders");
    let at = |what: &str| told.find(what).unwrap_or_else(|| panic!("no `{what}` in {told}"));
    assert!(at("is suspended") < at("comes late, by 3590"), "{told}");
    assert!(at("comes late, by 3590") < at("utimens(active.lock)"), "{told}");
}

#[test]
fn who_was_suspended_past_an_alarm_dies_of_it_before_it_goes_on() {
    let place = place();
    let arguments = ["run", "self-fence.toml", "--engine", "explore", "--hazard", "pause", "--fail-fast"];
    let finished = place.run(&[&arguments[..], &["--budget", "400s", "--seed", "1"]].concat());
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
    assert_eq!(place.left_behind(), Vec::<String>::new());
    let run = place.run_json();
    let fenced = cell(&run, "fenced", "no-lost-updates");
    assert_eq!(fenced["verdict"], "verified", "{fenced}");
    replay(&place, "self-fence.toml", cell(&run, "unfenced", "no-lost-updates"), "lost-update");
}

#[test]
fn what_a_program_does_when_it_exits_is_a_part_of_it() {
    let place = place();
    finds(&place, "exits.toml", "flushed", "no-lost-updates", "lost-update");
    verifies(&place, "exits.toml", "flushed-locked", "no-lost-updates");
    // Killed anywhere, on its way out too: what was not done by then had not been promised.
    let same = ["--engine", "explore", "--seed", "1", "--shards", "1", "--budget", "400s"];
    let both =
        ["run", "exits.toml", "--strategy", "flushed-locked", "--strategy", "saved", "--hazard", "kill"];
    let finished = place.run(&[&both[..], &same].concat());
    assert_eq!(finished.code(), 3, "{}{}", finished.stdout(), finished.stderr());
    assert_eq!(place.left_behind(), Vec::<String>::new());
    let run = place.run_json();
    for strategy in ["flushed-locked", "saved"] {
        let cell = cell(&run, strategy, "no-lost-updates");
        assert_eq!(cell["verdict"], "verified", "{cell}");
    }
    let told = replay(&place, "exits.toml", cell(&run, "flushed-locked", "no-residue"), "leaked-file");
    assert!(told.contains("is killed (SIGKILL)"), "{told}");
}

#[test]
fn what_is_in_a_directory_comes_in_the_order_of_names() {
    let told = finds(&place(), "tickets.toml", "first", "mutual-exclusion", "two-holders");
    let listings: Vec<Vec<&str>> = told
        .lines()
        .filter_map(|line| Some(line.trim().strip_prefix("found ")?.split(' ').collect()))
        .collect();
    assert!(listings.iter().any(|names| names.len() == 6), "{told}");
    assert!(listings.iter().all(|names| names.is_sorted()), "{told}");
}

#[test]
fn who_locks_the_file_that_a_rename_replaces_or_reads_before_it_locks_loses_updates() {
    let place = place();
    for strategy in ["data-file", "late"] {
        let told = finds(&place, "index.toml", strategy, "no-lost-updates", "lost-update");
        assert!(told.contains("rename(index.json."), "{told}");
    }
}

#[test]
fn a_witness_names_the_lines_of_the_program_that_made_the_calls_that_conflict() {
    let place = place();
    let told = finds(&place, "index.toml", "data-file", "no-lost-updates", "lost-update");
    let source = include_str!("../../programs/python/index.py");
    let line = |text: &str| 1 + source.lines().position(|line| line.trim() == text).expect("a line");
    let (open, rename) = (line("with open(path, \"a+\") as file:"), line("os.rename(temporary, path)"));
    let calls: Vec<&str> = told.lines().collect();
    // What Python's own library does for a line counts as the line's.
    let beneath = |call: &str| {
        let at = calls.iter().position(|line| line.starts_with("     (") && line.contains(call));
        calls[at.unwrap_or_else(|| panic!("{call} is not marked in {told}")) + 1].trim()
    };
    assert_eq!(beneath("stat(index.json)"), format!("index.py:{open} in locked"));
    assert_eq!(beneath("rename(index.json."), format!("index.py:{rename} in save"));
    let run = place.run_json();
    let steps = &cell(&run, "data-file", "no-lost-updates")["anomalies"][0]["witness"]["steps"];
    let lines: Vec<&Value> =
        steps.as_array().expect("steps").iter().filter_map(|step| step.get("source")).collect();
    assert_eq!(lines.len(), 2, "{steps}");
}

#[test]
fn a_witness_shows_what_each_program_wrote_to_its_standard_error() {
    let place = place();
    let told = finds(&place, "index.toml", "late", "no-lost-updates", "lost-update");
    for client in [1, 2] {
        let said =
            format!("stderr     importer {client}\n                read index.json before it is locked\n");
        assert_eq!(told.matches(&said).count(), 1, "{told}");
    }
    let run = place.run_json();
    let stderr = &cell(&run, "late", "no-lost-updates")["anomalies"][0]["witness"]["stderr"];
    assert_eq!(stderr.as_array().map(Vec::len), Some(2), "{stderr}");
    assert_eq!(stderr[1]["lines"], serde_json::json!(["read index.json before it is locked"]), "{stderr}");
}

#[test]
fn updates_under_a_lock_on_a_file_that_stays_are_verified() {
    let place = place();
    for strategy in ["sibling", "posix"] {
        verifies(&place, "index.toml", strategy, "no-lost-updates");
    }
}

#[test]
fn a_lock_among_threads_is_none_among_processes() {
    let place = place();
    finds(&place, "index.toml", "threads", "no-lost-updates", "lost-update");
    verifies(&place, "index.toml", "threads-and-flock", "no-lost-updates");
}
