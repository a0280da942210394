//! Threads that the end of a child does not wake.
//!
//! When a child of a thread that blocks signals ends, the kernel runs any other thread that does not, only to find that the
//! signal is of no concern. That costs as much as a call at the gate, for each client that is killed. Where no thread is
//! to be had, the kernel notes that a child has ended and goes on.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

/// While it lives, the thread that made it is not woken when a child ends, nor is any that it starts meanwhile. Programs that it
/// starts have the same mask.
#[derive(Debug)]
pub struct Undisturbed {
    before: SigSet,
}

impl Undisturbed {
    /// From now on.
    pub fn begin() -> Self {
        let mut before = SigSet::empty();
        let child = SigSet::from(Signal::SIGCHLD);
        // It cannot fail with these arguments.
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&child), Some(&mut before));
        Self { before }
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}
