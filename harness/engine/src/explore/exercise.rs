//! Executions of a plan, run without being judged: for comparing searches with each other.

use std::path::Path;

use tearproof_core::plan::Plan;

use super::arena::{Arena, ArenaError};
use super::fates;
use super::search::{Continue, Limits, Searched, Trace, brute, dpor};
use super::stand::Stand;
use crate::process::StateRoot;
use crate::stress::Surroundings;
use crate::worker::EXECUTION;

/// Which executions of a plan are run by [`every_execution`], and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exercise {
    /// Which.
    pub reduction: Reduction,
    /// Every execution has client processes of its own.
    pub fresh: bool,
    /// Workers that say so play in all of them.
    pub reuse: bool,
    /// Kills come also where they make no difference.
    pub kills_everywhere: bool,
    /// So many at most.
    pub most: u64,
}

/// Which executions of a plan are run by an [`Exercise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// All of them.
    None,
    /// One of each class.
    Optimal,
}

/// Runs executions of a plan without judging them; under kills and pauses those that
/// may strike the first client. Calls `visit` after each with the state
/// directory as it is then and a digest of the execution's class: for comparing searches with each
/// other.
///
/// # Errors
/// When they cannot be run.
pub fn every_execution(
    plan: &Plan,
    root: &StateRoot,
    surroundings: &mut Surroundings<'_>,
    exercise: Exercise,
    mut visit: impl FnMut(&Path, u64),
) -> Result<Searched, ArenaError> {
    Stand::with(plan, root, surroundings, |stand, _| {
        let state = stand.bench.stage.specification.context(EXECUTION, 0).dir;
        stand.arena.ordain(&fates::of_plan(plan, 0)[0]);
        let limits = Limits { executions: exercise.most, ..Limits::NONE };
        if exercise.kills_everywhere {
            stand.arena.kill_everywhere();
        }
        stand.arena.reuse_workers(exercise.reuse);
        if exercise.fresh {
            stand.arena.renew_processes();
        }
        let observe = |_: &mut Arena<'_>, trace: &Trace| {
            visit(&state, trace.class());
            Ok(Continue::Yes)
        };
        match exercise.reduction {
            Reduction::None => brute::search(&mut stand.arena, limits, observe),
            Reduction::Optimal => dpor::search(&mut stand.arena, limits, observe),
        }
    })
}
