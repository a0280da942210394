//! Everything that touches processes, system calls and shared memory: the engines that turn a
//! [`Plan`](tearproof_core::plan::Plan) into histories.
//!
//! Engines never print, and never judge: they are handed the checker as a function.

#![expect(unsafe_code, reason = "shared memory and a few system calls have no safe wrapper")]

pub mod explore;
pub mod host;
pub mod process;
pub mod program;
pub mod record;
pub mod stress;
pub mod trace;
pub mod worker;
