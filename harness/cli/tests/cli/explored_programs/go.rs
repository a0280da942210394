//! Programs in Go, compiled on the spot. Its runtime runs goroutines on threads that it starts at need, and has one that
//! naps for ever and looks after them.

use std::process::Command;
use std::sync::OnceLock;

use super::{cell, explore_with, finds, place_with, verifies};
use crate::command::Place;

fn place() -> Place {
    static WORKER: OnceLock<Vec<u8>> = OnceLock::new();
    let place = place_with("go", str::to_owned);
    let worker = place.path().join("worker");
    WORKER.get_or_init(|| {
        compile(&place);
        std::fs::read(&worker).expect("a program")
    });
    if !worker.exists() {
        std::fs::write(&worker, WORKER.get().expect("compiled")).expect("room for a program");
        let may_run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&worker, may_run).expect("a program that may be run");
    }
    place
}

/// Whatever the compiler leaves is left in that place.
fn compile(place: &Place) {
    let mut compiler = Command::new("go");
    compiler.args(["build", "-o", "worker", "."]).current_dir(place.path());
    compiler.env_remove("GOROOT").envs([("GOENV", "off"), ("GOFLAGS", ""), ("GO111MODULE", "off")]);
    compiler.envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local"), ("GOTMPDIR", "")]);
    for (name, folder) in [("GOCACHE", "cache"), ("GOPATH", "path"), ("TMPDIR", "temporary")] {
        let folder = place.path().join(folder);
        std::fs::create_dir(&folder).expect("room for what a compiler leaves");
        compiler.env(name, folder);
    }
    let compiled = compiler.output().expect("Go is there");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

#[test]
fn a_mutex_of_goroutines_keeps_the_updates_of_one_process() {
    let place = place();
    for strategy in ["add-sort", "add-sort-3"] {
        verifies(&place, "one-process.toml", strategy, "no-lost-updates");
    }
}

#[test]
fn a_mutex_of_goroutines_is_none_among_processes() {
    let place = place();
    for strategy in ["add", "add-3"] {
        let told = finds(&place, "two-processes.toml", strategy, "no-lost-updates", "lost-update");
        assert!(told.contains("rename(index.json.tmp, index.json)"), "{told}");
    }
}

#[test]
fn whoever_can_come_to_a_call_comes_to_it_however_few_processors_there_are() {
    let place = place();
    for strategy in ["add-sweep", "add-sweep-1", "add-sweep-3"] {
        let run = explore_with(&place, "sweep.toml", strategy, &["--budget", "400s"]);
        let cell = cell(&run, strategy, "no-lost-updates");
        assert_eq!(cell["verdict"], "verified", "{cell}");
        // All orders of three goroutines with two calls each: 6! / (2! 2! 2!).
        assert_eq!(cell["scope"]["executions"], 90, "{cell}");
    }
}

#[test]
fn a_lock_file_that_is_waited_for_is_verified_in_go() {
    let place = place();
    for strategy in ["excl-wait", "excl-wait-3"] {
        verifies(&place, "lock.toml", strategy, "mutual-exclusion");
    }
}

#[test]
fn of_two_who_inherit_a_lock_file_one_removes_that_of_the_other() {
    let place = place();
    let told = finds(&place, "dead-lock.toml", "excl-dead-3", "mutual-exclusion", "two-holders");
    assert_eq!(told.matches("unlink(active.lock)").count(), 4, "{told}");
}

#[test]
fn a_lock_file_is_taken_from_who_has_it_while_another_sleeps() {
    let place = place();
    for strategy in ["excl-same", "excl-same-3"] {
        let told = finds(&place, "same-lock.toml", strategy, "mutual-exclusion", "two-holders");
        // The look before the sleep and the one after it find the same lock.
        let (before, after) = told.split_once("wait for a pipe or socket, at most ").expect("a sleep");
        assert!(before.contains("stat(active.lock)") && after.contains("stat(active.lock)"), "{told}");
    }
}
