//! The explore engine: every interleaving of the system calls of real processes.

pub mod access;
pub mod gate;
mod orders;
pub mod search;
pub mod system;
