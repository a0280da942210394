//! `lock-released-early`, wrong on purpose: the lock covers the set-up of a run and not the run.
//! Source: the run-lock review, `run_start`, whose `finally` releases what the later commands rely on.
//!
//! **Algorithm.** As `lock-exclusive-create`, but the lock is given up again before acquire returns.
//! The set-up itself is not modelled: it is protected.
//!
//! **Why it breaks.**
//! ```text
//! A: open O_EXCL, set up, unlink     A goes on to its section
//! B: open O_EXCL, set up, unlink     B is in as well
//! ```
//! **Claims** progress under concurrency and pauses. A client killed in its set-up leaves the lock.

use std::path::PathBuf;
use std::time::Duration;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use crate::locks::{Identity, LockFile, LockRecipe, busy, poll};

/// `lock-released-early`.
pub static RELEASED_EARLY: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-released-early",
    algorithm: "O_EXCL, set up, unlink; the section comes after that",
    claims: &[
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "the run-lock review, run_start",
    objects: &[Object::Lock],
    broken: true,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    let record = Identity::of(context.client).record(None)?;
    Ok(Box::new(ReleasedEarly { lock: context.file.clone(), record }))
}

struct ReleasedEarly {
    lock: PathBuf,
    record: Vec<u8>,
}

impl Client for ReleasedEarly {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let lock = LockFile::new(&self.lock);
        if poll(patience, || lock.create_with(&self.record))?.is_none() {
            return Err(busy(&self.lock));
        }
        lock.remove().map_err(StrategyError::now_unknown)?;
        Ok(Held { still: false, token: None })
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        Ok(())
    }
}
