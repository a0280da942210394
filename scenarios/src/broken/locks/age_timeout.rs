//! `lock-age-timeout`, wrong on purpose: a lock older than the lease counts as left behind, and
//! nobody touches it while it is held. Source: the run-lock review, whose `update_heartbeat` is never called.
//!
//! **Algorithm.** As `lock-heartbeat` (`O_EXCL`, theft and release under a guard), without the
//! heartbeat: the modification time stays that of the acquisition.
//!
//! **Why it breaks**, for every section that is longer than the lease:
//! ```text
//! A: open O_EXCL                     A is in, and works
//! B: stat, older than the lease      flock guard, stat, unlink, O_EXCL: B is in as well
//! ```
//! **Claims** progress, also under kills: a corpse ages.

use tearproof_core::strategy::{Client, ClientContext, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use crate::locks::LockRecipe;
use crate::locks::lease::{Habits, LeaseLock};

/// `lock-age-timeout`.
pub static AGE_TIMEOUT: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[".guard"] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-age-timeout",
    algorithm: "O_EXCL; a lock older than the lease is unlinked; no heartbeat",
    claims: &[
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::Progress, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "the run-lock review, update_heartbeat never called",
    objects: &[Object::Lock],
    broken: true,
    timed: true,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(LeaseLock::new(context, Habits { heartbeat: false, checks_release: true })?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::locks::tests::World;

    #[test]
    fn a_section_longer_than_the_lease_is_entered_by_another() {
        let world = World::new();
        let (mut a, mut b) = (world.client("lock-age-timeout", 1), world.client("lock-age-timeout", 2));
        a.acquire(Duration::ZERO).unwrap();
        world.age_lock();
        assert!(b.acquire(Duration::ZERO).unwrap().still, "both are in");
        a.release().unwrap();
        assert!(world.lock().exists(), "the late holder leaves the lock of the thief alone");
        b.release().unwrap();
        assert!(!world.lock().exists());
    }
}
