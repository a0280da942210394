//! Processes whose parents are killed become children of this one for a while, so that they can be reaped: the first
//! process of a machine or container may not do so for long, and their numbers are not free before.

use std::sync::{Mutex, PoisonError};

/// How many want it.
static WANTED: Mutex<usize> = Mutex::new(0);

/// As long as any of these exists, orphans among the descendants of this process become its children.
#[derive(Debug)]
pub struct Subreaper(());

impl Subreaper {
    /// Begins it. Where the kernel does not allow it, orphans go where they always do.
    #[expect(clippy::new_without_default, reason = "it changes the process")]
    pub fn new() -> Self {
        let mut wanted = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted += 1;
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        Self(())
    }
}

impl Drop for Subreaper {
    fn drop(&mut self) {
        let mut wanted = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted -= 1;
        if *wanted == 0 {
            let _ = rustix::process::set_child_subreaper(None);
        }
    }
}
