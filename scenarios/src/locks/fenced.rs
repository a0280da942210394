//! `lock-heartbeat-fenced`: the lock of `lock-heartbeat` that comes with a fencing token, a number
//! that only grows; the protected resource refuses a token smaller than one that it has seen.
//! Source: Burrows, *The Chubby lock service* (OSDI 2006), where it is called a sequencer.
//!
//! **Algorithm.** A lock that is there and not expired is busy. Otherwise, under an flock of the
//! guard file: look again, unlink the expired lock, read the counter that the guard file holds,
//! write it back increased, and create the lock with that number in it. Heartbeat and release are
//! those of `lock-heartbeat`.
//!
//! **Claims** mutual exclusion under pauses as well. Locks are made under the guard only, each
//! after its number was written down, so of two locks the later one has the greater token; a
//! holder that comes back late writes with the token of its victimhood and is refused. Sections
//! whose writes were refused are void.
//!
//! A client killed between counter and lock wastes a number. One killed *within* the write of the
//! counter leaves the first digits of the new number and the last ones of the old: at the first
//! digit where they differ the new one is greater, so even this mixture is no smaller than any
//! token that was given out. Power loss can turn the counter back: nothing is synced.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::{pread, pwrite, retry_on_intr};

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use super::heartbeat;
use super::lease::{Lease, is_expired, keep_alive, remove_own};
use super::wait::poll_up_to;
use super::{Guard, Identity, LockFile, LockRecipe, busy, failed, guard};

/// `lock-heartbeat-fenced`.
pub static HEARTBEAT_FENCED: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[guard::SUFFIX] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-heartbeat-fenced",
    algorithm: "lock-heartbeat with a fencing token, counted up under the guard, that the resource checks",
    claims: &[
        Claim::new(Guarantee::MutualExclusion, Hazard::Concurrency),
        Claim::new(Guarantee::MutualExclusion, Hazard::Pause),
        Claim::new(Guarantee::MutualExclusion, Hazard::Kill),
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::Progress, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "Burrows, The Chubby lock service (OSDI 2006), sequencers",
    objects: &[Object::Lock],
    broken: false,
    timed: true,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(Fenced {
        lock: context.file.clone(),
        guard: context.sibling(guard::SUFFIX),
        identity: Identity::of(context.client),
        lease: context.lease,
        held: None,
    }))
}

struct Fenced {
    lock: PathBuf,
    guard: PathBuf,
    identity: Identity,
    lease: Duration,
    held: Option<Lease>,
}

impl Fenced {
    fn attempt(&self) -> Result<Option<(OwnedFd, u64)>, StrategyError> {
        if self.is_held()? {
            return Ok(None);
        }
        let Some(guard) = Guard::try_take(&self.guard)? else { return Ok(None) };
        if self.is_held()? {
            return Ok(None);
        }
        let lock = LockFile::new(&self.lock);
        lock.remove()?;
        let token = count_up(&guard, &self.guard)?;
        let made = lock.create_with(&self.identity.record(Some(token))?)?;
        Ok(made.map(|fd| (fd, token)))
    }

    /// Whether there is a lock that has not expired.
    fn is_held(&self) -> Result<bool, StrategyError> {
        match rustix::fs::stat(&self.lock) {
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed(&self.lock, "stat", errno)),
            Ok(_) => Ok(!is_expired(&self.lock, self.lease)?),
        }
    }
}

impl Client for Fenced {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let longest = heartbeat::longest_nap(self.lease);
        let acquired = poll_up_to(longest, patience, || self.attempt())?;
        let Some((fd, token)) = acquired else { return Err(busy(&self.lock)) };
        self.held = Some(keep_alive(fd, &self.lock, Some(self.lease))?);
        Ok(Held { still: true, token: Some(token) })
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        let Some(held) = &self.held else { return Ok(()) };
        let guard = Guard::take(&self.guard)?;
        remove_own(&self.lock, &held.lock)?;
        drop(guard);
        self.held = None;
        Ok(())
    }
}

const DIGITS: usize = 20;

/// Takes the next number from the counter in the guard file: twenty digits, with leading zeros.
fn count_up(guard: &Guard, path: &Path) -> Result<u64, StrategyError> {
    let mut digits = [0; DIGITS];
    let length =
        retry_on_intr(|| pread(guard.fd(), &mut digits, 0)).map_err(|errno| failed(path, "pread", errno))?;
    let text = std::str::from_utf8(&digits[..length]).map_err(|error| failed(path, "pread", error))?;
    // The first number is one; a counter that is no number must not start again from it.
    let last: u64 =
        if length == 0 { 0 } else { text.parse().map_err(|error| failed(path, "pread", error))? };
    let next = last.checked_add(1).ok_or_else(|| failed(path, "pread", "the counter is at its end"))?;
    let text = format!("{next:0DIGITS$}");
    match retry_on_intr(|| pwrite(guard.fd(), text.as_bytes(), 0)) {
        Ok(DIGITS) => Ok(next),
        Ok(_) => Err(failed(path, "pwrite", "short write")),
        Err(errno) => Err(failed(path, "pwrite", errno)),
    }
}
