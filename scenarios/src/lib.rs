//! The strategies, right and wrong, and the scenarios they are compared in.
//!
//! A strategy is one way to keep shared state in files: how a program reads it, replaces it, adds
//! to it, or locks it. The families have a file each; what is wrong on purpose, to prove that a
//! harness catches it, is under [`broken`]. [`strategies`] lists them all, [`strategy`] finds one by
//! its name.

mod append_log;
mod backoff;
mod calls;
mod cas;
mod coordinator;
mod double_buffer;
mod end_file;
mod flock;
mod library;
mod mutex_registry;
mod per_process;
mod posix_lock;
mod protocol;
mod registry;
mod sqlite;
mod symlink_swap;
mod temp_name;
mod temp_other_dir;
mod temp_rename;
mod thread_mutex;
mod tolerate;

pub mod broken;
pub mod definition;
pub mod locks;

pub use registry::{strategies, strategy};

#[cfg(test)]
mod tests;
