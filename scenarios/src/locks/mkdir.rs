//! `lock-mkdir`: the lock is a directory, and mkdir(2) decides who made it. Source: the folklore of
//! shell scripts, where it is the one atomic test-and-set that every shell has.
//!
//! **Claims** mutual exclusion under concurrency, pauses and kills: one of several mkdirs wins, and
//! nobody removes a directory but the client that made it, so release needs no check.
//!
//! **Does not claim** progress under kills: a killed holder leaves its directory for ever.

use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{Mode, mkdir, rmdir};
use rustix::io::Errno;

use tearproof_core::strategy::{Client, ClientContext, Held, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use super::{LockRecipe, failed, poll};

/// `lock-mkdir`.
pub static MKDIR: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-mkdir",
    algorithm: "mkdir; rmdir on release",
    claims: &[
        Claim::new(Guarantee::MutualExclusion, Hazard::Concurrency),
        Claim::new(Guarantee::MutualExclusion, Hazard::Pause),
        Claim::new(Guarantee::MutualExclusion, Hazard::Kill),
        Claim::new(Guarantee::Progress, Hazard::Concurrency),
        Claim::new(Guarantee::Progress, Hazard::Pause),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "folklore of shell scripts; the run-lock review proposes it",
    objects: &[Object::Lock],
    broken: false,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(Mkdir { lock: context.file.clone() }))
}

struct Mkdir {
    lock: PathBuf,
}

impl Client for Mkdir {
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let made = poll(patience, || match mkdir(&self.lock, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(Some(())),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(failed(&self.lock, "mkdir", errno)),
        })?;
        match made {
            Some(()) => Ok(Held { still: true, token: None }),
            None => Err(StrategyError::busy(format!("{}: mkdir: held", self.lock.display()))),
        }
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        match rmdir(&self.lock) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed(&self.lock, "rmdir", errno)),
        }
    }
}
