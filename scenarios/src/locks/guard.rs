//! The guard: an flock on a file next to the lock under which, and only under which, a lock is
//! taken from somebody. The file is never removed, so all clients lock the same inode, and the
//! kernel gives the lock back when its holder dies.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::{Errno, retry_on_intr};

use tearproof_core::strategy::StrategyError;

use super::{Content, LockFile, failed};

/// What the name of the guard file ends in.
pub(crate) const SUFFIX: &str = ".guard";

/// The guard, held until this is dropped.
pub(crate) struct Guard {
    fd: OwnedFd,
}

impl Guard {
    /// Takes the guard if it is free.
    pub fn try_take(path: &Path) -> Result<Option<Self>, StrategyError> {
        let fd = Self::open(path)?;
        match retry_on_intr(|| flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Some(Self { fd })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(failed(path, "flock", errno)),
        }
    }

    /// Waits for the guard.
    pub fn take(path: &Path) -> Result<Self, StrategyError> {
        let fd = Self::open(path)?;
        retry_on_intr(|| flock(&fd, FlockOperation::LockExclusive))
            .map_err(|errno| failed(path, "flock", errno))?;
        Ok(Self { fd })
    }

    /// The guard file, open for reading and writing.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    fn open(path: &Path) -> Result<OwnedFd, StrategyError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        retry_on_intr(|| open(path, flags, Mode::from_raw_mode(0o644)))
            .map_err(|errno| failed(path, "open", errno))
    }
}

/// Removes a lock that was read as `stale` and whose author was *then* seen to be dead, if it still
/// reads the same under the guard. `false`: the guard is taken, try again later.
///
/// The order matters. Whoever reads the record under the guard and asks for its author only then
/// can be too late: the author releases and exits, somebody else creates the lock, the author is
/// found dead, and the lock that is removed is the living one. Here the author was dead before the
/// second reading, so nobody but a holder of the guard could have removed its lock since.
pub(crate) fn steal_if_unchanged(lock: &Path, guard: &Path, stale: &Content) -> Result<bool, StrategyError> {
    let Some(_guard) = Guard::try_take(guard)? else { return Ok(false) };
    let mut again = Content::default();
    if LockFile::new(lock).read(&mut again)? && again == *stale {
        LockFile::new(lock).remove()?;
    }
    Ok(true)
}
