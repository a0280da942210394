//! Everything that touches processes, system calls and shared memory.

#[cfg(not(loom))]
pub mod program;
