//! Strategies that are wrong on purpose: the canaries that a harness must catch.

pub(crate) mod in_place;
pub mod locks;
pub(crate) mod temp_rename;
