//! The heartbeat: a thread that touches a held lock four times a lease, until it is dropped.
//!
//! It touches the inode that the holder made, through a descriptor, and not the path: once a thief
//! has replaced the lock, the late holder's heartbeat keeps nothing alive but a nameless file.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};

/// A heartbeat. Dropping it stops the thread and waits for its end.
pub(crate) struct Heartbeat {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// From one beat to the next.
fn period(lease: Duration) -> Duration {
    (lease / 4).max(Duration::from_millis(1))
}

/// How long whoever waits for the lock sleeps at most: there is no reason to look more than twice as often as it is touched.
pub(super) fn longest_nap(lease: Duration) -> Duration {
    period(lease) / 2
}

impl Heartbeat {
    /// Touches `lock` every quarter of `lease` from now on.
    pub fn start(lock: Arc<OwnedFd>, lease: Duration) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let period = period(lease);
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            loop {
                thread::park_timeout(period);
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                // A beat that fails is made up for by the next one, or the lease runs out.
                let _ = futimens(&*lock, &NOW);
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

const NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer naps are no short ones for who explores: they end only when nobody else can go on.
    #[test]
    fn whoever_waits_naps_for_an_eighth_of_a_lease_at_most() {
        for lease in [8, 25, 40, 5000].map(Duration::from_millis) {
            assert!(longest_nap(lease) <= lease / 8 && longest_nap(lease) > Duration::ZERO, "{lease:?}");
        }
    }
}
