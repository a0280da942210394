//! `lock-heartbeat`, and the algorithm of its canaries `lock-age-timeout` and
//! `lock-release-unchecked`: a lock file whose modification time says when its holder was last
//! heard of. Source: the run-lock review (`update_heartbeat`); the lock files of many build tools.
//!
//! **Algorithm.** Create with `O_EXCL`. A thread touches the lock four times a lease. A lock that
//! is older than the lease is unlinked under an flock of a guard file, where its age is looked at
//! once more, and then everybody competes anew. Release stats the path and unlinks it under the
//! guard if it is still the inode that this client made. The client keeps that inode open, so its
//! number is not given out again.
//!
//! Age is `CLOCK_REALTIME` minus the kernel's time stamp, as real tools compute it. The stamp is
//! that of the last clock tick, so a lock can look up to 10 ms older than it is. A clock that is
//! set back delays thieves; one that is set forward makes them early.
//!
//! **Claims** of `lock-heartbeat`: mutual exclusion under concurrency and kills, as long as every
//! heartbeat gets the processor within the lease; progress under all three, since a corpse ages.
//! Every unlink happens under the guard, so neither a thief nor a release can hit a lock that came
//! after the one it looked at.
//!
//! **Does not claim** mutual exclusion under pauses:
//! ```text
//! A: acquire, SIGSTOP                the heartbeat stops as well
//! B: stat, older than the lease      flock guard, stat, unlink, O_EXCL: B is in
//! A: SIGCONT                         A is in as well
//! ```

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Stat, fstat, stat};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use super::heartbeat::{self, Heartbeat};
use super::wait::poll_up_to;
use super::{Guard, Identity, LockFile, LockRecipe, busy, failed, guard};

/// `lock-heartbeat`.
pub static HEARTBEAT: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[guard::SUFFIX] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-heartbeat",
    algorithm: "O_EXCL; a thread touches the lock; one older than the lease is unlinked under a guard",
    claims: &[
        Claim::new(Guarantee::MutualExclusion, Hazard::Concurrency),
        Claim::new(Guarantee::MutualExclusion, Hazard::Kill),
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::Progress, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "the run-lock review, with update_heartbeat called as it was meant to be",
    objects: &[Object::Lock],
    broken: false,
    timed: true,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(LeaseLock::new(context, Habits { heartbeat: true, checks_release: true })?))
}

/// In what the lease-based locks differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// A holder touches its lock.
    pub heartbeat: bool,
    /// A release removes the lock only if it is its own.
    pub checks_release: bool,
}

/// What a held lease consists of. Shared with `lock-heartbeat-fenced`.
pub(super) struct Lease {
    pub(super) lock: Arc<OwnedFd>,
    /// Beats until the lease is dropped, which is after its lock was removed.
    pub(super) _heartbeat: Option<Heartbeat>,
}

/// A client of a lock with a lease.
pub(crate) struct LeaseLock {
    lock: PathBuf,
    guard: PathBuf,
    record: Vec<u8>,
    lease: Duration,
    habits: Habits,
    held: Option<Lease>,
}

impl LeaseLock {
    /// A client with these habits.
    pub fn new(context: &ClientContext, habits: Habits) -> Result<Self, StrategyError> {
        Ok(Self {
            lock: context.file.clone(),
            guard: context.sibling(guard::SUFFIX),
            record: Identity::of(context.client).record(None)?,
            lease: context.lease,
            habits,
            held: None,
        })
    }

    fn attempt(&self) -> Result<Option<OwnedFd>, StrategyError> {
        let lock = LockFile::new(&self.lock);
        if let Some(fd) = lock.create_with(&self.record)? {
            return Ok(Some(fd));
        }
        if !is_expired(&self.lock, self.lease)? {
            return Ok(None);
        }
        {
            let Some(_guard) = Guard::try_take(&self.guard)? else { return Ok(None) };
            if is_expired(&self.lock, self.lease)? {
                lock.remove()?;
            }
        }
        lock.create_with(&self.record)
    }
}

impl Client for LeaseLock {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let longest = heartbeat::longest_nap(self.lease);
        let acquired = poll_up_to(longest, patience, || self.attempt())?;
        let Some(fd) = acquired else { return Err(busy(&self.lock)) };
        self.held = Some(keep_alive(fd, &self.lock, self.habits.heartbeat.then_some(self.lease))?);
        Ok(Held { still: true, token: None })
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        let Some(held) = &self.held else { return Ok(()) };
        if self.habits.checks_release {
            let _guard = Guard::take(&self.guard)?;
            remove_own(&self.lock, &held.lock)?;
        } else {
            LockFile::new(&self.lock).remove()?;
        }
        self.held = None;
        Ok(())
    }
}

/// Begins the lease of a lock that was just made, with a heartbeat if a lease is given for it.
pub(super) fn keep_alive(fd: OwnedFd, path: &Path, lease: Option<Duration>) -> Result<Lease, StrategyError> {
    let lock = Arc::new(fd);
    let heartbeat = lease
        .map(|lease| Heartbeat::start(Arc::clone(&lock), lease))
        .transpose()
        // The lock is there, and ages: it may be this client's until then.
        .map_err(|error| failed(path, "clone", error).now_unknown())?;
    Ok(Lease { lock, _heartbeat: heartbeat })
}

/// Whether there is a lock that was not touched for longer than `lease`.
pub(super) fn is_expired(path: &Path, lease: Duration) -> Result<bool, StrategyError> {
    Ok(status(path)?.is_some_and(|status| {
        let now = clock_gettime(ClockId::Realtime);
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let age = nanos(now.tv_sec, now.tv_nsec) - nanos(status.st_mtime, status.st_mtime_nsec.cast_signed());
        age > i128::try_from(lease.as_nanos()).unwrap_or(i128::MAX)
    }))
}

/// Removes the lock if it is the file that `own` is open on. Only under the guard is it sure to be
/// the same file still when it is unlinked.
pub(super) fn remove_own(path: &Path, own: &OwnedFd) -> Result<(), StrategyError> {
    let own = fstat(own).map_err(|errno| failed(path, "fstat", errno))?;
    match status(path)? {
        Some(there) if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino) => {
            LockFile::new(path).remove()
        }
        _ => Ok(()),
    }
}

fn status(path: &Path) -> Result<Option<Stat>, StrategyError> {
    match stat(path) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed(path, "stat", errno)),
    }
}
