//! Polling for a lock with patience: 200 µs at first, up to 2 ms later, or as long as the lock says.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tearproof_core::strategy::StrategyError;

use super::{Content, LockFile};

const FIRST_NAP: Duration = Duration::from_micros(200);
const LONGEST_NAP: Duration = Duration::from_millis(2);

/// Attempts until there is something or `patience` is over, which is `None`. The first attempt is
/// made at once, whatever the patience, and the last one after it has run out.
pub(crate) fn poll<T>(
    patience: Duration,
    attempt: impl FnMut() -> Result<Option<T>, StrategyError>,
) -> Result<Option<T>, StrategyError> {
    poll_up_to(LONGEST_NAP, patience, attempt)
}

/// The same with naps that become as long as `longest`.
pub(super) fn poll_up_to<T>(
    longest: Duration,
    patience: Duration,
    mut attempt: impl FnMut() -> Result<Option<T>, StrategyError>,
) -> Result<Option<T>, StrategyError> {
    // A patience that no clock can count to is one without an end.
    let deadline = Instant::now().checked_add(patience);
    let mut nap = FIRST_NAP;
    loop {
        let left = deadline.map_or(nap, |deadline| deadline.saturating_duration_since(Instant::now()));
        if let Some(done) = attempt()? {
            return Ok(Some(done));
        }
        if left.is_zero() {
            return Ok(None);
        }
        thread::sleep(nap.min(left));
        nap = (nap * 2).min(longest.max(FIRST_NAP));
    }
}

/// The error of a client whose patience is over, which names the holder where the lock file does.
pub(crate) fn busy(path: &Path) -> StrategyError {
    let mut content = Content::default();
    let by = match LockFile::new(path).read(&mut content) {
        Ok(true) => match content.holder() {
            Some(holder) => format!("held by pid {}", holder.pid),
            None => "held, and the lock file does not say by whom".to_owned(),
        },
        Ok(false) => "was held until just now".to_owned(),
        Err(_) => "held".to_owned(),
    };
    StrategyError::busy(format!("{}: {by}", path.display()))
}
