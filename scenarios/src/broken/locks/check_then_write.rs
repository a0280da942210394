//! `lock-check-then-write`, wrong on purpose: looks for a lock, removes a stale one, and writes its
//! own as if nothing had happened in between. Source: the run-lock review, `acquire_lock` as found.
//!
//! **Algorithm.** Read the lock file. If it names a process that is dead, unlink it; if it names
//! another process that lives, the lock is busy; otherwise write the own record over whatever is
//! there. A lock with the own PID counts as one's own, so two threads of one process never keep
//! each other out. A lock file that cannot be understood counts as none; the document does not say
//! what the original does then.
//!
//! **Why it breaks.**
//! ```text
//! A: open -> ENOENT                  nobody holds the lock
//! B: open -> ENOENT                  nobody holds the lock
//! A: open O_TRUNC, write             A is in
//! B: open O_TRUNC, write             B is in as well, over A's record
//! ```
//! **Claims** progress only: there is always somebody who gets in.

use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open as open_file};
use rustix::io::retry_on_intr;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use crate::locks::{Content, Identity, Liveness, LockFile, LockRecipe, busy, failed, poll};

/// `lock-check-then-write`.
pub static CHECK_THEN_WRITE: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-check-then-write",
    algorithm: "exists? stale? unlink; then write the lock file",
    claims: &[
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::Progress, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "the run-lock review, acquire_lock as found",
    objects: &[Object::Lock],
    broken: true,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(CheckThenWrite::new(context)?))
}

struct CheckThenWrite {
    lock: PathBuf,
    pid: i32,
    record: Vec<u8>,
}

impl CheckThenWrite {
    fn new(context: &ClientContext) -> Result<Self, StrategyError> {
        let identity = Identity::of(context.client);
        Ok(Self { lock: context.file.clone(), pid: identity.pid(), record: identity.record(None)? })
    }

    /// The check: whether the way is free, after a stale lock was removed.
    fn check(&self) -> Result<bool, StrategyError> {
        let lock = LockFile::new(&self.lock);
        let mut content = Content::default();
        if !lock.read(&mut content)? {
            return Ok(true);
        }
        match content.holder() {
            Some(holder) if holder.is_dead(Liveness::Pid) => lock.remove().map(|()| true),
            Some(holder) => Ok(holder.pid == self.pid),
            None => Ok(true),
        }
    }

    /// The use.
    fn overwrite(&self) -> Result<(), StrategyError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| open_file(&self.lock, flags, Mode::from_raw_mode(0o644)))
            .map_err(|errno| failed(&self.lock, "open", errno))?;
        LockFile::new(&self.lock).sign(&fd, &self.record).map_err(StrategyError::now_unknown)
    }
}

impl Client for CheckThenWrite {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        if poll(patience, || Ok(self.check()?.then_some(())))?.is_none() {
            return Err(busy(&self.lock));
        }
        self.overwrite()?;
        Ok(Held { still: true, token: None })
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
    fn two_clients_that_both_saw_no_lock_are_both_in() {
        let world = World::new();
        let [a, b] = [1, 2].map(|client| CheckThenWrite::new(&world.context(client)).unwrap());
        assert!(a.check().unwrap() && b.check().unwrap());
        a.overwrite().unwrap();
        b.overwrite().expect("nothing keeps the second one out");
    }
}
