//! The lock strategies: ways in which programs keep each other out of a critical section with
//! nothing but a path on a file system. Source: the run-lock review and the lock files that tools really use.
//!
//! Every lock is at the state file's own path. The sound ones are here, those that are wrong on
//! purpose under `broken::locks`; [`ALL`] lists both. What they share is small: a record of who
//! holds the lock (`holder`), the single steps on a lock file (`lock_file`), the flock under
//! which a stale lock is stolen (`guard`), and polling with patience (`wait`).
//!
//! A lock file is removed only by `release`. A client that is dropped while it holds one leaves it,
//! as a program does that ends without its clean-up.
//!
//! Not covered: network file systems, processes that see each other through different PID
//! namespaces, and power loss (no lock file is ever synced).

use tearproof_core::strategy::Strategy;

use crate::broken::locks as broken;

pub mod exclusive_create;
pub mod fenced;
pub mod flock;
mod guard;
mod heartbeat;
mod holder;
pub mod lease;
pub mod link;
mod lock_file;
pub mod mkdir;
pub mod pid;
mod recipe;
pub mod stale_guarded;
mod wait;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use guard::{Guard, steal_if_unchanged};
pub(crate) use holder::{Holder, Identity, Liveness};
pub(crate) use lock_file::{Content, LockFile, failed};
pub(crate) use recipe::LockRecipe;
pub(crate) use wait::{busy, poll};

/// Every lock strategy, in the order in which tables show them.
pub static ALL: &[&dyn Strategy] = &[
    &broken::check_then_write::CHECK_THEN_WRITE,
    &exclusive_create::EXCLUSIVE_CREATE,
    &broken::stale_unlink::STALE_UNLINK,
    &broken::stale_rename::STALE_RENAME,
    &stale_guarded::STALE_GUARDED,
    &mkdir::MKDIR,
    &link::LINK,
    &flock::FLOCK,
    &broken::flock_unlink::FLOCK_UNLINK,
    &broken::age_timeout::AGE_TIMEOUT,
    &lease::HEARTBEAT,
    &fenced::HEARTBEAT_FENCED,
    &broken::released_early::RELEASED_EARLY,
    &broken::pid_only::PID_ONLY,
    &pid::PID_STARTTIME,
    &broken::empty_corpse::EMPTY_CORPSE,
    &broken::empty_corpse::EMPTY_CORPSE_WAIT,
    &broken::release_unchecked::RELEASE_UNCHECKED,
    &broken::fallback::FALLBACK,
];
