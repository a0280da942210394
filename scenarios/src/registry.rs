//! All strategies, and how one is found by its name.

use std::sync::LazyLock;

use tearproof_core::strategy::Strategy;

use crate::broken::{in_place, temp_rename as broken_temp_rename};
use crate::{flock, locks, temp_rename};

/// The strategies that keep a state file, in the order in which tables show them.
static STATE: &[&dyn Strategy] = &[
    &in_place::IN_PLACE_TRUNCATE,
    &in_place::IN_PLACE_OVERWRITE,
    &broken_temp_rename::TEMP_RENAME_SHARED,
    &temp_rename::TEMP_RENAME,
    &temp_rename::TEMP_FSYNC_RENAME,
    &broken_temp_rename::TEMP_RENAME_DIRSYNC,
    &temp_rename::WRITE_FILE_ATOMIC,
    &flock::FLOCK_IN_PLACE,
    &flock::FLOCK_SIBLING,
];

static EVERY: LazyLock<Vec<&'static dyn Strategy>> = LazyLock::new(|| [STATE, locks::ALL].concat());

/// Every built-in strategy: those of state files, then those of locks.
pub fn strategies() -> &'static [&'static dyn Strategy] {
    &EVERY
}

/// The strategy of this name.
pub fn strategy(name: &str) -> Option<&'static dyn Strategy> {
    strategies().iter().find(|strategy| strategy.info().name == name).copied()
}
