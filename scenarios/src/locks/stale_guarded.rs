//! `lock-stale-guarded`: a lock file that appears with its record in it, and is taken from a dead
//! holder only under a guard. Source: link(2) as lock files in mail spools use it, and the guard
//! that the two stealers of `lock-stale-unlink` lack.
//!
//! **Algorithm.** Write the record into a file of another name and link(2) that to the lock. If
//! there is a lock already, read it. If its author is dead (PID and start time), flock the guard
//! file, read again, unlink if nothing changed, let go of the guard, and compete anew: the thief
//! has no right to the lock that it freed. Release unlinks.
//!
//! **Claims** mutual exclusion and progress under concurrency, pauses and kills. A lock whose
//! holder lives is never removed by another:
//! 1. link(2) never replaces a lock, so the path changes what it names only through an unlink, and
//!    unlinks are of two kinds: a holder's release, and a theft under the guard.
//! 2. A thief reads record R and *then* finds its author D dead. Dead processes release nothing.
//! 3. Under the guard it reads R again. The record names D by PID and start time, so this is D's
//!    lock, and D was dead before this reading. From here to the unlink neither D nor another
//!    thief can remove it, hence no other lock can take its place: what is unlinked is D's.
//! 4. So a holder that lives finds its own lock at release and nothing else, and needs no check.
//!
//! An empty or half-written lock is none of this protocol, whose locks are born whole. It is what
//! a power loss leaves behind, and is taken for dead. Do not mix with clients that create first and
//! write later. A client killed between its two files leaves the draft.

use std::path::PathBuf;
use std::time::Duration;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use super::{Content, Identity, Liveness, LockFile, LockRecipe, busy, guard, poll, steal_if_unchanged};

/// `lock-stale-guarded`.
pub static STALE_GUARDED: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[guard::SUFFIX] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-stale-guarded",
    algorithm: "link a written draft in place; a dead holder's lock is unlinked under flock of a guard file",
    claims: &[
        Claim::new(Guarantee::MutualExclusion, Hazard::Concurrency),
        Claim::new(Guarantee::MutualExclusion, Hazard::Pause),
        Claim::new(Guarantee::MutualExclusion, Hazard::Kill),
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::Progress, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "open(2) on lock files by link; the guard is what stealing by unlink lacks",
    objects: &[Object::Lock],
    broken: false,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(StaleGuarded::new(context)?))
}

pub(super) struct StaleGuarded {
    lock: PathBuf,
    draft: PathBuf,
    guard: PathBuf,
    record: Vec<u8>,
}

impl StaleGuarded {
    pub(super) fn new(context: &ClientContext) -> Result<Self, StrategyError> {
        let identity = Identity::of(context.client);
        Ok(Self {
            lock: context.file.clone(),
            draft: context.sibling(&identity.draft_suffix()),
            guard: context.sibling(guard::SUFFIX),
            record: identity.record(None)?,
        })
    }

    /// The record of a lock whose holder is dead.
    pub(super) fn corpse(&self) -> Result<Option<Content>, StrategyError> {
        let mut content = Content::default();
        if !LockFile::new(&self.lock).read(&mut content)? {
            return Ok(None);
        }
        let dead = content.holder().is_none_or(|holder| holder.is_dead(Liveness::PidAndStart));
        Ok(dead.then_some(content))
    }

    /// Takes that lock away, unless it changed; `false` when somebody else has the guard.
    pub(super) fn steal(&self, corpse: &Content) -> Result<bool, StrategyError> {
        steal_if_unchanged(&self.lock, &self.guard, corpse)
    }

    /// Makes the own lock appear if there is none.
    pub(super) fn publish(&self) -> Result<Option<()>, StrategyError> {
        Ok(LockFile::new(&self.lock).publish(&self.draft, &self.record)?.then_some(()))
    }

    fn attempt(&self) -> Result<Option<()>, StrategyError> {
        if let Some(held) = self.publish()? {
            return Ok(Some(held));
        }
        match self.corpse()? {
            Some(corpse) if self.steal(&corpse)? => self.publish(),
            _ => Ok(None),
        }
    }
}

impl Client for StaleGuarded {
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
