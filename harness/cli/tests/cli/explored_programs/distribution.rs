//! Programs of the distribution as they are.

use serde_json::Value;

use super::{cell, explore_with, finds, place_with, verifies};
use crate::command::Place;

fn place() -> Place {
    place_with("distribution", str::to_owned)
}

#[test]
fn dotlockfile_and_lockfile_are_verified() {
    let place = place();
    for strategy in ["dotlockfile", "lockfile"] {
        verifies(&place, "locks.toml", strategy, "mutual-exclusion");
    }
}

#[test]
fn what_is_read_before_git_config_takes_its_lock_is_lost() {
    let place = place();
    let told = finds(&place, "git.toml", "read-then-set", "no-lost-updates", "lost-update");
    assert!(told.contains("rename(list.ini.lock, list.ini)"), "{told}");
}

#[test]
fn what_git_config_adds_is_kept_whether_it_gives_up_or_comes_again() {
    let place = place();
    for strategy in ["git-config", "git-config-patient"] {
        verifies(&place, "git.toml", strategy, "no-lost-updates");
    }
}

/// All executions of it would take minutes, as would the first one of `read-then-write` that loses an update (some 750).
#[test]
fn a_transaction_of_sqlite_is_not_reported() {
    let place = place();
    let run = explore_with(&place, "sqlite.toml", "insert", &["--budget", "8s"]);
    let cell = cell(&run, "insert", "no-lost-updates");
    assert_ne!(cell["verdict"], "violated", "{cell}");
    assert_ne!(cell["scope"]["limit"], Value::Null, "{cell}");
    assert!(cell["scope"]["executions"].as_u64().expect("a number") > 2, "{cell}");
}
