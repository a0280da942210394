//! Programs in Python.

use std::process::Command;
use std::sync::LazyLock;

use super::{cell, explore_with, finds, place_with, verifies};
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

#[test]
fn who_locks_the_file_that_a_rename_replaces_or_reads_before_it_locks_loses_updates() {
    let place = place();
    for strategy in ["data-file", "late"] {
        let told = finds(&place, "index.toml", strategy, "no-lost-updates", "lost-update");
        assert!(told.contains("rename(index.json."), "{told}");
    }
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
