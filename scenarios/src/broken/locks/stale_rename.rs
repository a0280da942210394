//! `lock-stale-rename`, wrong on purpose: `O_EXCL`, and a lock whose holder is dead is renamed aside
//! first, so that only one thief can succeed. Source: folklore.
//!
//! **Algorithm.** As `lock-stale-unlink`, but the corpse is renamed to a name of the thief's own
//! and removed there. A thief whose rename finds no lock starts again, which closes the window in
//! which there is no lock; the one in which there is a new one stays open.
//!
//! **Why it breaks**, when two clients find the same corpse:
//! ```text
//! A: read -> pid 4711, dead
//! B: read -> pid 4711, dead
//! A: rename aside, unlink it, open O_EXCL    A is in
//! B: rename aside                            takes A's lock, not the corpse's
//! B: open O_EXCL                             B is in as well
//! ```
//! **Claims** progress under concurrency and pauses. Not under kills: a holder killed before it
//! wrote its PID leaves an empty lock (see `lock-empty-corpse`).

use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::rename;
use rustix::io::Errno;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use crate::locks::{Content, Identity, Liveness, LockFile, LockRecipe, busy, failed, poll};

/// `lock-stale-rename`.
pub static STALE_RENAME: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-stale-rename",
    algorithm: "O_EXCL; a lock whose PID is dead is renamed aside, then O_EXCL again",
    claims: &[
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "folklore: rename decides who is the thief",
    objects: &[Object::Lock],
    broken: true,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(StaleRename::new(context)?))
}

struct StaleRename {
    lock: PathBuf,
    aside: PathBuf,
    record: Vec<u8>,
}

impl StaleRename {
    fn new(context: &ClientContext) -> Result<Self, StrategyError> {
        let identity = Identity::of(context.client);
        Ok(Self {
            lock: context.file.clone(),
            aside: context.sibling(&identity.draft_suffix()),
            record: identity.record(None)?,
        })
    }

    fn create(&self) -> Result<Option<()>, StrategyError> {
        Ok(LockFile::new(&self.lock).create_with(&self.record)?.map(drop))
    }

    fn is_stale(&self) -> Result<bool, StrategyError> {
        let mut content = Content::default();
        let there = LockFile::new(&self.lock).read(&mut content)?;
        Ok(there && content.holder().is_some_and(|holder| holder.is_dead(Liveness::Pid)))
    }

    /// Takes whatever lock is there by now aside. `false`: another thief was faster.
    fn steal(&self) -> Result<bool, StrategyError> {
        match rename(&self.lock, &self.aside) {
            Ok(()) => LockFile::new(&self.aside).remove().map(|()| true).map_err(StrategyError::now_unknown),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed(&self.lock, "rename", errno)),
        }
    }

    fn attempt(&self) -> Result<Option<()>, StrategyError> {
        if let Some(held) = self.create()? {
            return Ok(Some(held));
        }
        if !self.is_stale()? {
            return Ok(None);
        }
        if self.steal()? { self.create() } else { Ok(None) }
    }
}

impl Client for StaleRename {
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
    fn the_second_of_two_stealers_takes_the_lock_of_the_first_aside() {
        let world = World::new();
        world.plant_dead_holder();
        let (a, b) =
            (StaleRename::new(&world.context(1)).unwrap(), StaleRename::new(&world.context(2)).unwrap());
        assert!(a.is_stale().unwrap() && b.is_stale().unwrap());
        assert!(a.steal().unwrap());
        assert_eq!(a.create().unwrap(), Some(()));
        assert!(b.steal().unwrap());
        assert_eq!(b.create().unwrap(), Some(()), "both are in");
    }
}
