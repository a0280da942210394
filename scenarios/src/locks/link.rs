//! `lock-link`: a file of one's own is linked to the lock's name, and link(2) decides who was
//! first. Source: open(2), which recommends it where `O_EXCL` cannot be trusted; mail spools.
//!
//! **Claims** mutual exclusion under concurrency, pauses and kills: link(2) never replaces a name,
//! and nobody removes a lock but its own holder, so release needs no check. The lock is never seen
//! without the record of its holder.
//!
//! **Does not claim** progress under kills: a killed holder leaves its lock for ever, and one
//! killed while it was waiting leaves its draft.

use std::path::PathBuf;
use std::time::Duration;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use super::{Identity, LockFile, LockRecipe, busy, poll};

/// `lock-link`.
pub static LINK: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-link",
    algorithm: "write a draft, link it to the lock, unlink the draft; unlink on release",
    claims: &[
        Claim::new(Guarantee::MutualExclusion, Hazard::Concurrency),
        Claim::new(Guarantee::MutualExclusion, Hazard::Pause),
        Claim::new(Guarantee::MutualExclusion, Hazard::Kill),
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "open(2), for file systems whose O_EXCL is broken; mail spools",
    objects: &[Object::Lock],
    broken: false,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    let identity = Identity::of(context.client);
    Ok(Box::new(Link {
        lock: context.file.clone(),
        draft: context.sibling(&identity.draft_suffix()),
        record: identity.record(None)?,
    }))
}

struct Link {
    lock: PathBuf,
    draft: PathBuf,
    record: Vec<u8>,
}

impl Client for Link {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let lock = LockFile::new(&self.lock);
        match poll(patience, || Ok(lock.publish(&self.draft, &self.record)?.then_some(())))? {
            Some(()) => Ok(Held { still: true, token: None }),
            None => Err(busy(&self.lock)),
        }
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        LockFile::new(&self.lock).remove()
    }
}
