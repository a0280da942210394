//! Everything that touches processes, system calls and shared memory: the engines that turn a
//! [`Plan`](tearproof_core::plan::Plan) into histories.
//!
//! Engines never print, and never judge: they are handed the checker as a function.

#![expect(unsafe_code, reason = "shared memory and a few system calls have no safe wrapper")]

pub mod record;

#[cfg(not(loom))]
pub mod explore;
#[cfg(not(loom))]
pub mod host;
#[cfg(not(loom))]
pub mod process;
#[cfg(not(loom))]
pub mod program;
#[cfg(not(loom))]
pub mod stress;
#[cfg(not(loom))]
pub mod trace;
#[cfg(not(loom))]
pub mod worker;
