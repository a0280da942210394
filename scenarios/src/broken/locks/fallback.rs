//! `lock-fallback`, wrong on purpose: when one lock cannot be had, another kind of lock is used
//! instead. Source: programs whose new version locks in a new way and does not want to be kept
//! waiting by what the old one left behind.
//!
//! **Algorithm.** For the first half of its patience, `O_EXCL` on the lock file; for the second,
//! flock(2) on `<file>.flock`. Either of them counts as held.
//!
//! **Why it breaks.** The two locks know nothing of each other:
//! ```text
//! A: open O_EXCL                     A is in, and works
//! B: open O_EXCL -> EEXIST, EEXIST, ...
//! B: flock                           B is in as well
//! ```
//! **Claims** progress under concurrency and pauses. Under kills only for who has an end to its
//! patience.

use std::path::PathBuf;
use std::time::Duration;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use crate::locks::flock::FlockFile;
use crate::locks::{Identity, LockFile, LockRecipe, poll};

/// `lock-fallback`.
pub static FALLBACK: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[".flock"] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-fallback",
    algorithm: "O_EXCL; when half the patience is over, flock on another file instead",
    claims: &[
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "folklore: the new way to lock as a fallback for the old one",
    objects: &[Object::Lock],
    broken: true,
    timed: true,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(Fallback {
        lock: context.file.clone(),
        record: Identity::of(context.client).record(None)?,
        instead: FlockFile::new(context.sibling(".flock")),
        held: Way::Flock,
    }))
}

enum Way {
    Exclusive,
    Flock,
}

struct Fallback {
    lock: PathBuf,
    record: Vec<u8>,
    instead: FlockFile,
    held: Way,
}

impl Client for Fallback {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let lock = LockFile::new(&self.lock);
        if poll(patience / 2, || lock.create_with(&self.record))?.is_some() {
            self.held = Way::Exclusive;
            return Ok(Held { still: true, token: None });
        }
        let fd = self.instead.open()?;
        let held = self.instead.lock(fd, patience - patience / 2)?;
        self.held = Way::Flock;
        Ok(held)
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        match self.held {
            Way::Exclusive => LockFile::new(&self.lock).remove(),
            Way::Flock => self.instead.unlock(),
        }
    }
}
