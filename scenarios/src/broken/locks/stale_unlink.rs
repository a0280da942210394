//! `lock-stale-unlink`, wrong on purpose: `O_EXCL`, and a lock whose holder is dead is unlinked by
//! whoever finds it. Source: PID files, as most programs that have them treat them.
//!
//! **Algorithm.** Create with `O_EXCL` and write the PID. If there is a lock, read it; if its
//! process is dead, unlink it and create again. A lock that is empty is one that is being written:
//! busy.
//!
//! **Why it breaks**, when two clients find the same corpse:
//! ```text
//! A: read -> pid 4711, dead
//! B: read -> pid 4711, dead
//! A: unlink, open O_EXCL             A is in
//! B: unlink                          removes A's lock, not the corpse's
//! B: open O_EXCL                     B is in as well
//! ```
//! **Claims** progress under concurrency and pauses. Not under kills: a holder killed before it
//! wrote its PID leaves an empty lock (see `lock-empty-corpse`).

use std::path::PathBuf;
use std::time::Duration;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use crate::locks::{Content, Identity, Liveness, LockFile, LockRecipe, busy, poll};

/// `lock-stale-unlink`.
pub static STALE_UNLINK: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-stale-unlink",
    algorithm: "O_EXCL; a lock whose PID is dead is unlinked, then O_EXCL again",
    claims: &[
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "PID files; the run-lock review, its stale lock removed before an exclusive create",
    objects: &[Object::Lock],
    broken: true,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(StaleUnlink::new(context)?))
}

struct StaleUnlink {
    lock: PathBuf,
    record: Vec<u8>,
}

impl StaleUnlink {
    fn new(context: &ClientContext) -> Result<Self, StrategyError> {
        Ok(Self { lock: context.file.clone(), record: Identity::of(context.client).record(None)? })
    }

    fn create(&self) -> Result<Option<()>, StrategyError> {
        Ok(LockFile::new(&self.lock).create_with(&self.record)?.map(drop))
    }

    fn is_stale(&self) -> Result<bool, StrategyError> {
        let mut content = Content::default();
        let there = LockFile::new(&self.lock).read(&mut content)?;
        Ok(there && content.holder().is_some_and(|holder| holder.is_dead(Liveness::Pid)))
    }

    /// Removes whatever lock is there by now.
    fn steal(&self) -> Result<(), StrategyError> {
        LockFile::new(&self.lock).remove()
    }

    fn attempt(&self) -> Result<Option<()>, StrategyError> {
        if let Some(held) = self.create()? {
            return Ok(Some(held));
        }
        if !self.is_stale()? {
            return Ok(None);
        }
        self.steal()?;
        self.create()
    }
}

impl Client for StaleUnlink {
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
    fn the_second_of_two_stealers_removes_the_lock_of_the_first() {
        let world = World::new();
        world.plant_dead_holder();
        let (a, b) =
            (StaleUnlink::new(&world.context(1)).unwrap(), StaleUnlink::new(&world.context(2)).unwrap());
        assert!(a.is_stale().unwrap() && b.is_stale().unwrap());
        a.steal().unwrap();
        assert_eq!(a.create().unwrap(), Some(()));
        b.steal().unwrap();
        assert_eq!(b.create().unwrap(), Some(()), "both are in");
    }
}
