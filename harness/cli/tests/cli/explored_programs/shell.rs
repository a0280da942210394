//! Shell scripts, and the commands that they are made of.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{cell, finds, place_with, verifies};
use crate::command::Place;

fn place() -> Place {
    place_with("shell", str::to_owned)
}

#[test]
fn what_mv_ln_and_mkdir_replace_or_put_up_with_is_no_lock() {
    let place = place();
    for (strategy, call) in [
        ("mv", "rename(active.lock."),
        ("ln-forced", "active.lock"),
        // It goes down from the root of all paths, a name at a time.
        ("mkdir-p", "mkdir(active.lock)"),
    ] {
        let told = finds(&place, "locks.toml", strategy, "mutual-exclusion", "two-holders");
        assert!(told.contains(call), "{strategy}: {told}");
    }
}

#[test]
fn what_mv_and_ln_make_only_where_nothing_is_is_verified() {
    let place = place();
    for strategy in ["mv-no-clobber", "ln", "ln-symbolic"] {
        verifies(&place, "locks.toml", strategy, "mutual-exclusion");
    }
}

#[test]
fn scripts_that_come_again_until_a_lock_is_free_do_not_go_in_circles() {
    let place = place();
    verifies(&place, "locks.toml", "until-mkdir", "mutual-exclusion");
    verifies(&place, "locks.toml", "until-mkdir", "progress");
    finds(&place, "locks.toml", "while-there", "mutual-exclusion", "two-holders");
}

#[test]
fn scripts_that_add_a_line_under_flock_are_verified() {
    let place = place();
    for strategy in ["flock", "flock-descriptor", "append"] {
        // `cat` copies within the kernel where it can.
        verifies(&place, "add.toml", strategy, "no-lost-updates");
    }
}

#[test]
fn scripts_that_lock_nothing_a_file_that_goes_or_too_late_lose_lines() {
    let place = place();
    for strategy in ["bare", "flock-data-file", "flock-late"] {
        finds(&place, "add.toml", strategy, "no-lost-updates", "lost-update");
    }
}

#[test]
fn two_versions_of_a_script_that_lock_in_two_ways_lose_lines_of_each_other() {
    let place = place();
    finds(&place, "mixed.toml", "new", "no-lost-updates", "lost-update");
    // Both of them are the old one.
    verifies(&place, "mixed.toml", "old", "no-lost-updates");
}

#[test]
fn an_empty_lock_file_that_was_there_before_is_swept_by_two() {
    let place = place();
    for strategy in ["swept", "swept-then-linked"] {
        finds(&place, "corpse.toml", strategy, "mutual-exclusion", "two-holders");
    }
    for strategy in ["swept-in-turn", "flock"] {
        verifies(&place, "corpse.toml", strategy, "mutual-exclusion");
    }
}

#[test]
fn scripts_that_wait_with_a_limit_and_go_on_without_the_lock_lose_lines() {
    let place = place();
    for strategy in ["goes-on", "breaks"] {
        let told = finds(&place, "time-limits.toml", strategy, "no-lost-updates", "lost-update");
        let limits = told.contains("flock(list.txt.lock, exclusive), until a timer cuts it short");
        assert_eq!(limits, strategy == "goes-on", "{told}");
    }
    for strategy in ["gives-up", "killed", "long-enough"] {
        verifies(&place, "time-limits.toml", strategy, "no-lost-updates");
    }
}

/// Where there is no namespace for them, programs have the numbers that the kernel gives them.
#[test]
fn users_without_any_right_explore_as_well() {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: the other tests run without any right");
        return;
    }
    let place = place();
    let elsewhere = tempfile::tempdir().expect("a directory from which programs can be started");
    let copy = elsewhere.path().join("tearproof");
    std::fs::copy(env!("CARGO_BIN_EXE_tearproof"), &copy).expect("a copy");
    for open in [elsewhere.path(), place.path()] {
        std::fs::set_permissions(open, Permissions::from_mode(0o777)).expect("its owner may");
    }
    let mut command = Command::new(&copy);
    command.args(["run", "add.toml", "--strategy", "flock", "--engine", "explore", "--budget", "60s"]);
    let output = command.current_dir(place.path()).uid(NOBODY).gid(NOBODY).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(cell(&place.run_json(), "flock", "no-lost-updates")["verdict"], "verified", "{told}");
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

/// Two lines of the program, one of a process that it starts, and one that goes elsewhere.
const LOUD: &str = r#"
name       = "loud-lock"
summary    = "a lock of a script that says what it does"
source     = "a test"
strategies = ["loud"]

[state]
file   = "active.lock"
object = "lock"

[[client]]
role  = "worker"
count = 2
does  = { acquire = 1 }

[explore]
operations = 1

[strategy.loud]
acquire    = ["sh", "-c", "[ -e {path} ] && exit 1; (echo free: {path} >&2); (echo hidden >&2) 2>/dev/null; exec 5>&2; echo $$ > {path}; echo mine >&5"]
release    = ["rm", "{path}"]
fail_codes = [1]
claims     = []
"#;

#[test]
fn what_a_script_and_its_children_write_to_standard_error_is_told_and_what_they_drop_is_not() {
    let place = Place::new();
    place.file("loud.toml", LOUD);
    let told = finds(&place, "loud.toml", "loud", "mutual-exclusion", "two-holders");
    let said = "stderr     worker 1\n                free: active.lock\n                mine\n";
    assert!(told.contains(said) && !told.contains("hidden"), "{told}");
}

#[test]
fn a_pipeline_whose_first_stage_starts_processes_is_followed() {
    let place = place();
    verifies(&place, "pipeline.toml", "pipeline", "mutual-exclusion");
    let run = place.run_json();
    assert_eq!(cell(&run, "pipeline", "no-residue")["verdict"], "verified");
    // The last stage may open its file before the first one has looked for another, or after.
    let executions = &cell(&run, "pipeline", "progress")["scope"]["executions"];
    assert!(executions.as_u64().expect("a number") > 4, "{executions}");
}
