//! Shell scripts, and the commands that they are made of.

use super::{finds, place_with, verifies};
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
