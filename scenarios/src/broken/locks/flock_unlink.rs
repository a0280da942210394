//! `lock-flock-unlink`, wrong on purpose: flock(2) on a lock file that is removed on release, to
//! leave nothing behind. Source: the atomic-writes note's pattern tidied up; many daemons.
//!
//! **Algorithm.** As `lock-flock`, on the same path, but release unlinks the file before it closes
//! it, and nobody looks whether the file that it locked still has a name.
//!
//! **Why it breaks.**
//! ```text
//! A: open, flock                     A is in
//! B: open                            the same inode; flock waits
//! A: unlink, LOCK_UN
//! B: flock                           B is in, on an inode without a name
//! C: open O_CREAT, flock             a new inode: C is in as well
//! ```
//! Together with `lock-flock` it breaks in the same way, whoever of them is B or C.
//!
//! **Claims** progress, also under kills: whatever file there is, no dead client has it locked.

use std::time::Duration;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use crate::locks::flock::FlockFile;
use crate::locks::{LockFile, LockRecipe};

/// `lock-flock-unlink`.
pub static FLOCK_UNLINK: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-flock-unlink",
    algorithm: "flock LOCK_EX on a file that is unlinked on release",
    claims: &[
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::Progress, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "folklore of daemons that leave no lock file behind",
    objects: &[Object::Lock],
    broken: true,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(FlockUnlink { lock: FlockFile::new(context.file.clone()) }))
}

struct FlockUnlink {
    lock: FlockFile,
}

impl Client for FlockUnlink {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let fd = self.lock.open()?;
        self.lock.lock(fd, patience)
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        LockFile::new(self.lock.path()).remove()?;
        self.lock.unlock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::tests::World;

    #[test]
    fn a_client_that_waits_for_a_removed_file_shares_the_section_with_one_that_makes_it_anew() {
        let world = World::new();
        let [mut a, mut b] = [1, 2].map(|_| FlockUnlink { lock: FlockFile::new(world.context(1).file) });
        a.acquire(Duration::ZERO).unwrap();
        let waiting = b.lock.open().unwrap();
        a.release().unwrap();
        b.lock.lock(waiting, Duration::ZERO).unwrap();
        // The third one does not even have to be of the same kind.
        let mut c = world.client("lock-flock", 3);
        assert!(c.acquire(Duration::ZERO).unwrap().still, "both are in");
    }
}
