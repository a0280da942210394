//! Programs in Node, whose runtime has threads of its own: asynchronous calls are made by a pool of them.

use super::{finds, place_with, verifies};
use crate::command::Place;

fn place() -> Place {
    place_with("node", str::to_owned)
}

#[test]
fn a_mutex_of_promises_keeps_the_updates_of_one_process() {
    verifies(&place(), "one-process.toml", "add-sort", "no-lost-updates");
}

#[test]
fn a_mutex_of_promises_is_none_among_processes() {
    let place = place();
    let told = finds(&place, "two-processes.toml", "add", "no-lost-updates", "lost-update");
    // A pool of threads makes the calls, long after the lines that asked for them.
    let source = include_str!("../../programs/node/index.mjs");
    let line = |text: &str| 1 + source.lines().position(|line| line.contains(text)).expect("a line");
    let read = format!("open(index.json, O_RDONLY)\n{:28}index.mjs:{} in load\n", "", line("await readFile"));
    let rename = format!("rename(index.json.tmp, index.json)\n{:28}index.mjs:{}\n", "", line("await rename"));
    assert!(told.contains(&read) && told.contains(&rename), "{told}");
}

#[test]
fn a_directory_as_a_lock_is_verified_in_node() {
    verifies(&place(), "lock.toml", "plain", "mutual-exclusion");
}

#[test]
fn of_two_who_take_over_an_old_directory_one_removes_that_of_the_other() {
    let place = place();
    let told = finds(&place, "old-lock.toml", "stale", "mutual-exclusion", "two-holders");
    // Both find it old before either removes it.
    let (before, after) = told.split_once("rmdir(active.lock)").expect("a removal");
    assert_eq!(before.matches("stat(active.lock)").count(), 2, "{told}");
    assert!(after.contains("rmdir(active.lock)"), "{told}");
}
