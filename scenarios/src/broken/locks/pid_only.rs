//! `lock-pid-only`, wrong on purpose: a lock is held for as long as there is a process with its
//! PID. Source: PID files; the run-lock review, `_is_pid_running`.
//!
//! **Algorithm.** That of `lock-pid-starttime`, which looks at the start time as well.
//!
//! **Why it breaks.**
//! ```text
//! A: pid 4711, acquires, is killed
//! D: a daemon is started, and gets pid 4711
//! B: kill(4711, 0) -> 0              busy, for as long as the daemon runs
//! ```
//! **Claims** mutual exclusion under concurrency, pauses and kills, since it errs on one side only;
//! progress under concurrency and pauses.

use tearproof_core::strategy::{Client, ClientContext, StrategyError, StrategyInfo};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use crate::locks::pid::PidLock;
use crate::locks::{Liveness, LockRecipe};

/// `lock-pid-only`.
pub static PID_ONLY: LockRecipe = LockRecipe { info: &INFO, open, keeps: &[".guard"] };

static INFO: StrategyInfo = StrategyInfo {
    name: "lock-pid-only",
    algorithm: "under a guard: O_EXCL unless the PID in the lock lives",
    claims: &[
        Claim::new(Guarantee::MutualExclusion, Hazard::Concurrency),
        Claim::new(Guarantee::MutualExclusion, Hazard::Pause),
        Claim::new(Guarantee::MutualExclusion, Hazard::Kill),
        Claim::new(Guarantee::NoResidue, Hazard::Concurrency),
    ],
    source: "PID files; the run-lock review, _is_pid_running",
    objects: &[Object::Lock],
    broken: true,
    timed: false,
};

fn open(context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
    Ok(Box::new(PidLock::new(context, Liveness::Pid)?))
}
