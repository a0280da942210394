//! Lock strategies that are wrong on purpose, each in one way: canaries that a harness must catch.
//! What each does not claim is what it is here for.

pub mod age_timeout;
pub mod check_then_write;
pub mod empty_corpse;
pub mod fallback;
pub mod flock_unlink;
pub mod pid_only;
pub mod release_unchecked;
pub mod released_early;
pub mod stale_rename;
pub mod stale_unlink;
