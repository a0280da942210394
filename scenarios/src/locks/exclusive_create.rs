//! `lock-exclusive-create`: the lock is a file that exists, and open(2) with `O_CREAT|O_EXCL`
//! decides who made it. Source: open(2); the first remedy that the run-lock review proposes.
//!
//! **Claims** mutual exclusion under concurrency, pauses and kills: the kernel lets one of several
//! creators win, and no client ever removes a lock but its own, so release needs no check.
//!
//! **Does not claim** progress under kills: a killed holder leaves its file, and nobody dares to
//! remove it. The record in the file is for people.

use std::path::PathBuf;
use std::time::Duration;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use super::{Identity, LockFile, LockRecipe, busy, poll};

/// `lock-exclusive-create`.
pub static EXCLUSIVE_CREATE: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-exclusive-create",
    algorithm: "open O_CREAT|O_EXCL, write the PID; unlink on release",
    claims: &[
        Claim::new(Guarantee::MutualExclusion, Hazard::Concurrency),
        Claim::new(Guarantee::MutualExclusion, Hazard::Pause),
        Claim::new(Guarantee::MutualExclusion, Hazard::Kill),
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "open(2); the run-lock review, the remedy that it proposes first",
    objects: &[Object::Lock],
    broken: false,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    let record = Identity::of(context.client).record(None)?;
    Ok(Box::new(ExclusiveCreate { lock: context.file.clone(), record }))
}

struct ExclusiveCreate {
    lock: PathBuf,
    record: Vec<u8>,
}

impl Client for ExclusiveCreate {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let lock = LockFile::new(&self.lock);
        match poll(patience, || lock.create_with(&self.record))? {
            Some(_) => Ok(Held { still: true, token: None }),
            None => Err(busy(&self.lock)),
        }
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        LockFile::new(&self.lock).remove()
    }
}
