//! `lock-empty-corpse` and `lock-empty-corpse-wait`, wrong on purpose: the lock is created first and
//! signed later, and an empty lock is taken for a corpse at once, or never. Source: PID files.
//!
//! **Algorithm.** Create with `O_EXCL`, then write the PID. A lock whose process is dead (PID and
//! start time) is stolen safely, under a guard, as in `lock-stale-guarded`: what is left is the
//! question of what an empty lock means.
//!
//! **Why they break.** It means either of two things, and nobody can tell which:
//! ```text
//! A: open O_EXCL                     A: open O_EXCL, killed
//! B: read -> empty, unlink           B: read -> empty, busy
//! B: open O_EXCL, write              B: read -> empty, busy
//! A: write                           ... for ever
//! both are in                        stuck
//! ```
//! **Claims.** The first form: progress. The second: mutual exclusion, and progress under
//! concurrency and pauses. `lock-stale-guarded` never shows a lock without its record, and
//! `lock-pid-starttime` signs under the guard: two ways out.

use std::path::PathBuf;
use std::time::Duration;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use crate::locks::{Content, Identity, Liveness, LockFile, LockRecipe, busy, poll, steal_if_unchanged};

/// `lock-empty-corpse`: an empty lock is stale at once.
pub static EMPTY_CORPSE: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[".guard"] };

/// `lock-empty-corpse-wait`: an empty lock is never stale.
pub static EMPTY_CORPSE_WAIT: LockRecipe =
    LockRecipe { info: &INFO_WAIT, open: open_wait, keeps: &[".guard"] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-empty-corpse",
    algorithm: "O_EXCL, then the PID is written; an empty lock is stale at once",
    claims: &[
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::Progress, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "PID files: the moment between open and write",
    objects: &[Object::Lock],
    broken: true,
    timed: false,
};

static INFO_WAIT: StrategyInfo = StrategyInfo {
    name: "lock-empty-corpse-wait",
    algorithm: "O_EXCL, then the PID is written; an empty lock is never stale",
    claims: &[
        Claim::new(Guarantee::MutualExclusion, Hazard::Concurrency),
        Claim::new(Guarantee::MutualExclusion, Hazard::Pause),
        Claim::new(Guarantee::MutualExclusion, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "PID files: the moment between open and write",
    objects: &[Object::Lock],
    broken: true,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(EmptyCorpse::new(context, true)?))
}

fn open_wait(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(EmptyCorpse::new(context, false)?))
}

struct EmptyCorpse {
    lock: PathBuf,
    guard: PathBuf,
    record: Vec<u8>,
    unsigned_is_stale: bool,
}

impl EmptyCorpse {
    fn new(context: &ClientContext, unsigned_is_stale: bool) -> Result<Self, StrategyError> {
        let record = Identity::of(context.client).record(None)?;
        Ok(Self { lock: context.file.clone(), guard: context.sibling(".guard"), record, unsigned_is_stale })
    }

    fn attempt(&self) -> Result<Option<()>, StrategyError> {
        let lock = LockFile::new(&self.lock);
        if lock.create_with(&self.record)?.is_some() {
            return Ok(Some(()));
        }
        let mut content = Content::default();
        if !lock.read(&mut content)? {
            return Ok(None);
        }
        let stale = match content.holder() {
            Some(holder) => holder.is_dead(Liveness::PidAndStart),
            None => self.unsigned_is_stale,
        };
        if !stale || !steal_if_unchanged(&self.lock, &self.guard, &content)? {
            return Ok(None);
        }
        Ok(lock.create_with(&self.record)?.map(drop))
    }
}

impl Client for EmptyCorpse {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::tests::World;

    #[test]
    fn a_lock_that_is_not_signed_yet_is_stolen_from_its_creator() {
        let world = World::new();
        let a = EmptyCorpse::new(&world.context(1), true).unwrap();
        let creating = LockFile::new(&a.lock).create().unwrap().expect("the lock is free");
        let mut b = world.client("lock-empty-corpse", 2);
        assert!(b.acquire(Duration::ZERO).unwrap().still);
        LockFile::new(&a.lock)
            .sign(&creating, &a.record)
            .expect("the first one notices nothing: both are in");
    }

    #[test]
    fn a_lock_that_is_never_signed_is_waited_for_in_vain() {
        let world = World::new();
        std::fs::write(world.lock(), "").unwrap();
        assert!(world.client("lock-empty-corpse-wait", 1).acquire(Duration::from_millis(5)).is_err());
        assert!(world.client("lock-stale-guarded", 2).acquire(Duration::ZERO).unwrap().still);
    }
}
