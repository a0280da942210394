//! `lock-flock`: flock(2) on a lock file that is never removed, held for the whole section.
//! Source: flock(2); the second remedy that the run-lock review proposes.
//!
//! **Claims** everything: all clients lock one inode, and the kernel gives the lock back when the
//! last descriptor of the holder's open file is closed, however the holder ended.
//!
//! A child that inherits the descriptor keeps the lock when its parent dies. Here the descriptor
//! is closed on exec, and release says `LOCK_UN`, which also takes the lock from such a child.
//!
//! Together with `lock-flock-unlink` on the same path it breaks: that one removes the file, and
//! the lock of the client that sleeps in here is then one on an inode without a name.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open as open_file};
use rustix::io::{Errno, retry_on_intr};

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use super::{LockRecipe, failed, poll};

/// `lock-flock`.
pub static FLOCK: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-flock",
    algorithm: "flock LOCK_EX on a file that stays; LOCK_UN on release",
    claims: &[
        Claim::new(Guarantee::MutualExclusion, Hazard::Concurrency),
        Claim::new(Guarantee::MutualExclusion, Hazard::Pause),
        Claim::new(Guarantee::MutualExclusion, Hazard::Kill),
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::Progress, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "flock(2); the run-lock review, the remedy that it proposes second",
    objects: &[Object::Lock],
    broken: false,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(Flock { lock: FlockFile::new(context.file.clone()) }))
}

/// A file that is locked with flock(2), shared by the strategies that do.
pub(crate) struct FlockFile {
    path: PathBuf,
    held: Option<OwnedFd>,
}

impl FlockFile {
    /// The file at `path`, not locked.
    pub fn new(path: PathBuf) -> Self {
        Self { path, held: None }
    }

    /// The path.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Opens the file, which is made if it is absent.
    pub fn open(&self) -> Result<OwnedFd, StrategyError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        retry_on_intr(|| open_file(&self.path, flags, Mode::from_raw_mode(0o644)))
            .map_err(|errno| failed(&self.path, "open", errno))
    }

    /// Locks `fd`, waiting at most `patience`.
    pub fn lock(&mut self, fd: OwnedFd, patience: Duration) -> Result<Held, StrategyError> {
        if patience == Duration::MAX {
            retry_on_intr(|| flock(&fd, FlockOperation::LockExclusive))
                .map_err(|errno| failed(&self.path, "flock", errno))?;
        } else {
            let locked = poll(patience, || {
                match retry_on_intr(|| flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
                    Ok(()) => Ok(Some(())),
                    Err(Errno::WOULDBLOCK) => Ok(None),
                    Err(errno) => Err(failed(&self.path, "flock", errno)),
                }
            })?;
            if locked.is_none() {
                return Err(StrategyError::busy(format!("{}: flock: held", self.path.display())));
            }
        }
        self.held = Some(fd);
        Ok(Held { still: true, token: None })
    }

    /// Gives the lock back.
    pub fn unlock(&mut self) -> Result<(), StrategyError> {
        let Some(fd) = &self.held else { return Ok(()) };
        flock(fd, FlockOperation::Unlock).map_err(|errno| failed(&self.path, "flock LOCK_UN", errno))?;
        self.held = None;
        Ok(())
    }
}

struct Flock {
    lock: FlockFile,
}

impl Client for Flock {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let fd = self.lock.open()?;
        self.lock.lock(fd, patience)
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        self.lock.unlock()
    }
}
