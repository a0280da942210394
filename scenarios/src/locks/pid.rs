//! `lock-pid-starttime`, and the algorithm of its canary `lock-pid-only`: a lock file that names
//! its holder, who counts as holding for as long as that process lives. Source: PID files.
//!
//! **Algorithm.** Every attempt is made under an flock of a guard file: read the lock; if it names
//! a living process, it is busy; otherwise unlink it, create the own with `O_EXCL`, and write the
//! record. Release unlinks, without the guard.
//!
//! **Claims** of `lock-pid-starttime`: mutual exclusion and progress under concurrency, pauses and
//! kills. Creating, writing and stealing are one step to everybody who holds the guard, so an empty
//! lock that is seen under it is that of a client killed in between. A living holder's lock is
//! removed by itself only: a thief acts under the guard and so does every creator, hence between
//! its reading and its unlink the path can lose its file, but never come to name another one.
//! The start time tells a process apart from the one that had its PID before.

use std::path::PathBuf;
use std::time::Duration;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use super::{Content, Guard, Identity, Liveness, LockFile, LockRecipe, busy, guard, poll};

/// `lock-pid-starttime`.
pub static PID_STARTTIME: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[guard::SUFFIX] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-pid-starttime",
    algorithm: "under a guard: O_EXCL unless the PID in the lock lives and has the start time that it names",
    claims: &[
        Claim::new(Guarantee::MutualExclusion, Hazard::Concurrency),
        Claim::new(Guarantee::MutualExclusion, Hazard::Pause),
        Claim::new(Guarantee::MutualExclusion, Hazard::Kill),
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::Progress, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "PID files; proc_pid_stat(5), field 22",
    objects: &[Object::Lock],
    broken: false,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(PidLock::new(context, Liveness::PidAndStart)?))
}

/// A client of a lock that is held while the process in it lives.
pub(crate) struct PidLock {
    lock: PathBuf,
    guard: PathBuf,
    record: Vec<u8>,
    liveness: Liveness,
}

impl PidLock {
    /// A client that judges its rivals by `liveness`.
    pub fn new(context: &ClientContext, liveness: Liveness) -> Result<Self, StrategyError> {
        let record = Identity::of(context.client).record(None)?;
        Ok(Self { lock: context.file.clone(), guard: context.sibling(guard::SUFFIX), record, liveness })
    }

    fn attempt(&self) -> Result<Option<()>, StrategyError> {
        let Some(_guard) = Guard::try_take(&self.guard)? else { return Ok(None) };
        let lock = LockFile::new(&self.lock);
        let mut content = Content::default();
        if lock.read(&mut content)? {
            if content.holder().is_some_and(|holder| !holder.is_dead(self.liveness)) {
                return Ok(None);
            }
            lock.remove()?;
        }
        Ok(lock.create_with(&self.record)?.map(drop))
    }
}

impl Client for PidLock {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        match poll(patience, || self.attempt())? {
            Some(()) => Ok(Held { still: true, token: None }),
            None => Err(busy(&self.lock)),
        }
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        LockFile::new(&self.lock).remove()
    }
}
