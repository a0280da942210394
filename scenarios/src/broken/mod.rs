//! Strategies that are wrong on purpose: the canaries that a harness must catch.

pub(crate) mod append;
pub(crate) mod cas;
pub(crate) mod coordinator;
pub(crate) mod fallback;
pub(crate) mod flock;
pub(crate) mod in_place;
pub mod locks;
pub(crate) mod posix_lock;
pub(crate) mod temp_rename;
