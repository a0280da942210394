//! `lock-release-unchecked`, wrong on purpose: release removes whatever lock is there. Source:
//! the run-lock review, `release_lock`; the best known mistake with leases.
//!
//! **Algorithm.** As `lock-heartbeat`, but release unlinks the path without a look at it.
//!
//! **Why it breaks**, when a holder is suspended for longer than its lease:
//! ```text
//! A: open O_EXCL, SIGSTOP
//! B: stat, older than the lease      unlink, O_EXCL: B is in
//! A: SIGCONT, unlink                 removes B's lock
//! C: open O_EXCL                     C is in as well
//! ```
//! A fencing token or a shorter section of A's does not help: B and C are both in good faith.
//!
//! **Claims** progress, also under kills: a corpse ages.

use tearproof_core::strategy::{Client, ClientContext, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use crate::locks::LockRecipe;
use crate::locks::lease::{Habits, LeaseLock};

/// `lock-release-unchecked`.
pub static RELEASE_UNCHECKED: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[".guard"] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-release-unchecked",
    algorithm: "lock-heartbeat, but release unlinks whatever lock is there",
    claims: &[
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::Progress, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "the run-lock review, release_lock",
    objects: &[Object::Lock],
    broken: true,
    timed: true,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(LeaseLock::new(context, Habits { heartbeat: true, checks_release: false })?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::locks::tests::World;

    #[test]
    fn a_late_release_removes_the_lock_of_the_thief_and_lets_a_third_in() {
        let world = World::new();
        let [mut a, mut b, mut c] = [1, 2, 3].map(|client| world.client("lock-release-unchecked", client));
        a.acquire(Duration::ZERO).unwrap();
        world.age_lock();
        b.acquire(Duration::ZERO).unwrap();
        a.release().unwrap();
        assert!(c.acquire(Duration::ZERO).unwrap().still, "the second and the third are in");
    }
}
