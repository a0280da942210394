//! The clock of all recordings: CLOCK_MONOTONIC, which every process of a machine shares and which
//! no adjustment turns back.

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC in nanoseconds. On the usual machines this is no system call but a read of the
/// CPU's counter through the vDSO.
#[inline]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The clock counts from the start of the machine, so neither part is negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
