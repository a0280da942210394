//! Exponential backoff that ends: how strategies wait for something that they cannot be told of.

use std::time::Duration;

use tearproof_core::strategy::{ClientContext, StrategyError};

const FIRST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(10);

/// Waits twice as long each time, until as much time has been slept away as the client has
/// patience for. No clock is asked, so an execution can be repeated.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    left: Duration,
    attempts: u32,
}

impl Backoff {
    /// A backoff that has not waited yet.
    pub(crate) fn new(at: &ClientContext) -> Self {
        Self { next: FIRST, left: at.patience, attempts: 0 }
    }

    /// Sleeps before the next attempt; fails, with what was wrong at the last attempt, when the
    /// patience is at its end.
    pub(crate) fn wait(&mut self, wrong: &str) -> Result<(), StrategyError> {
        self.attempts += 1;
        if self.left.is_zero() {
            let attempts = self.attempts;
            return Err(StrategyError::retries_exhausted(format!(
                "gave up after {attempts} attempts: {wrong}"
            )));
        }
        let pause = self.next.min(self.left);
        std::thread::sleep(pause);
        self.left -= pause;
        self.next = (self.next * 2).min(LONGEST);
        Ok(())
    }
}
