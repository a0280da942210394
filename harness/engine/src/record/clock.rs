//! The clock of all recordings: CLOCK_MONOTONIC, which every process of a machine shares and which
//! no adjustment turns back.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

/// What a recorder takes its times from.
#[derive(Clone, Copy, Debug)]
pub enum Clock<'m> {
    /// [`now_ns`].
    Monotonic,
    /// A counter that all clients of an execution share, where they run one at a time: their events
    /// are in the order in which they happened, and no system call is made.
    Steps(&'m AtomicU64),
}

impl Clock<'_> {
    /// The time, in nanoseconds or in steps. With [`Clock::Steps`] no two readings are equal.
    #[inline]
    pub fn now(self) -> u64 {
        match self {
            Self::Monotonic => now_ns(),
            Self::Steps(counter) => counter.fetch_add(1, Ordering::SeqCst) + 1,
        }
    }
}

/// CLOCK_MONOTONIC in nanoseconds. On the usual machines this is no system call but a read of the
/// CPU's counter through the vDSO.
#[inline]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The clock counts from the start of the machine, so neither part is negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
