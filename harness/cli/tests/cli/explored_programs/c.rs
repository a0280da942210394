//! Locks in C, a family a pair, compiled on the spot.

use std::process::Command;

use super::{cell, explore_with, finds, place_with, replay, verifies};
use crate::command::Place;

fn place() -> Place {
    let place = place_with("c", str::to_owned);
    for program in ["locks", "chance", "clocks", "timers"] {
        let source = format!("{program}.c");
        let compiled = Command::new("cc")
            .args(["-O1", "-pthread", "-o", program, &source])
            .current_dir(place.path())
            .output();
        let compiled = compiled.expect("a C compiler is there");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    }
    place
}

#[test]
fn locks_of_every_family_are_verified_in_c() {
    let place = place();
    for strategy in ["excl", "mkdir", "link", "rename", "fcntl", "ofd"] {
        verifies(&place, "locks.toml", strategy, "mutual-exclusion");
    }
    verifies(&place, "removed.toml", "flock", "mutual-exclusion");
}

#[test]
fn locks_in_c_that_are_none_have_two_holders() {
    let place = place();
    for (strategy, call) in [
        ("excl-looked", "access(active.lock)"),
        ("excl-same", "sleep for 10ms"),
        // The second sleep is no repetition of the first one: the lock was removed in between.
        ("excl-same-later", "sleep for 10ms"),
        ("link-renamed", "rename(active.lock."),
        ("fcntl-reopened", "close(active.lock)"),
        ("ofd-shared", "active.lock"),
    ] {
        let told = finds(&place, "locks.toml", strategy, "mutual-exclusion", "two-holders");
        assert!(told.contains(call), "{strategy}: {told}");
    }
}

#[test]
fn locks_in_c_that_are_removed_under_others_have_two_holders() {
    let place = place();
    for (definition, strategy, call) in [
        ("removed.toml", "flock-removed", "unlink(active.lock)"),
        ("dead.toml", "excl-dead", "unlink(active.lock)"),
        ("old.toml", "mkdir-old", "rmdir(active.lock)"),
    ] {
        let told = finds(&place, definition, strategy, "mutual-exclusion", "two-holders");
        assert!(told.contains(call), "{strategy}: {told}");
    }
}

#[test]
fn a_lock_of_the_dead_that_is_removed_under_a_guard_is_verified_in_c() {
    verifies(&place(), "dead.toml", "excl-dead-guarded", "mutual-exclusion");
}

#[test]
fn names_that_are_made_of_chance_are_the_same_in_every_execution() {
    verifies(&place(), "chance.toml", "chance", "mutual-exclusion");
}

#[test]
fn clocks_go_on_from_whoever_did_something_to_whoever_sees_it() {
    // A program that finds time going back fails, and so does its operation.
    verifies(&place(), "clocks.toml", "clocks", "mutual-exclusion");
}

#[test]
fn timers_end_when_they_should_and_cut_short_what_they_should() {
    // The same program says that of the kernel's own.
    let place = place();
    let alone =
        Command::new("./timers").args(["acquire", "lock"]).current_dir(place.path()).output().expect("it");
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
    // A program that finds a timer wrong fails, and so does its operation.
    let run = explore_with(&place, "timers.toml", "timers", &["--budget", "60s"]);
    let cell = cell(&run, "timers", "mutual-exclusion");
    assert_eq!(cell["verdict"], "verified", "{cell}");
}

#[test]
fn nobody_gets_a_lock_in_c_whose_holder_lives() {
    let place = place();
    for strategy in ["excl", "flock", "excl-dead"] {
        let run = explore_with(&place, "held.toml", strategy, &["--budget", "400s"]);
        let cell = cell(&run, strategy, "mutual-exclusion");
        assert_eq!(cell["verdict"], "verified", "{cell}");
    }
    // Who waits is not told apart from who takes what it finds: see `worlds`.
    finds(&place, "held.toml", "excl-same", "mutual-exclusion", "two-holders");
}

#[test]
fn who_is_suspended_with_a_lock_in_c_loses_it_to_who_waits_until_it_is_old() {
    let place = place();
    let explore_one = |definition: &str, strategy: &str| {
        let same = ["--engine", "explore", "--seed", "1", "--shards", "1", "--budget", "60s"];
        let asked = ["run", definition, "--strategy", strategy, "--hazard", "pause"];
        let finished = place.run(&[&asked[..], &same].concat());
        assert_eq!(place.left_behind(), Vec::<String>::new());
        (finished.code(), place.run_json())
    };
    let explore = |strategy: &str| explore_one("paused.toml", strategy);
    let (_, run) = explore("mkdir-old-waits");
    replay(&place, "paused.toml", cell(&run, "mkdir-old-waits", "mutual-exclusion"), "two-holders");
    let (code, run) = explore("flock");
    assert_eq!(cell(&run, "flock", "mutual-exclusion")["verdict"], "verified", "{code}");
    // Nobody waits; but the other one may come late, before the pause is over. By then a lock is not old.
    let (code, run) = explore("mkdir-old");
    assert_eq!(cell(&run, "mkdir-old", "mutual-exclusion")["verdict"], "verified", "{code}");
    let longer = include_str!("../../programs/c/paused.toml").replace("pause = \"5 s\"", "pause = \"25 s\"");
    place.file("paused-longer.toml", &longer);
    let (_, run) = explore_one("paused-longer.toml", "mkdir-old");
    let broken = cell(&run, "mkdir-old", "mutual-exclusion");
    let told = replay(&place, "paused-longer.toml", broken, "two-holders");
    assert!(told.contains("comes late, by 15"), "{told}");
    let (_, run) = explore_one("paused-roles.toml", "mkdir-old");
    let told =
        replay(&place, "paused-roles.toml", cell(&run, "mkdir-old", "mutual-exclusion"), "two-holders");
    assert!(told.contains("suspended"), "{told}");
}

#[test]
fn who_is_killed_with_a_lock_in_c_leaves_a_file_and_no_lock_of_the_kernel() {
    let place = place();
    let same = ["--engine", "explore", "--seed", "1", "--shards", "1", "--budget", "400s"];
    let finished = place.run(&[&["run", "killed.toml", "--hazard", "kill"][..], &same].concat());
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
    assert_eq!(place.left_behind(), Vec::<String>::new());
    let run = place.run_json();
    for strategy in ["excl", "fcntl"] {
        let cell = cell(&run, strategy, "mutual-exclusion");
        assert_eq!(cell["verdict"], "verified", "{cell}");
    }
    assert_eq!(cell(&run, "fcntl", "progress")["verdict"], "verified");
    let told = replay(&place, "killed.toml", cell(&run, "excl", "progress"), "stuck-lock");
    assert!(told.contains("is killed (SIGKILL)"), "{told}");
}
