//! Executions of a plan, run without being judged: for comparing searches with each other.

use std::path::Path;

use tearproof_core::plan::Plan;

use super::arena::{Arena, ArenaError};
use super::fates;
use super::search::{Continue, Limits, Searched, Trace, brute, dpor};
use super::stand::Stand;
use crate::process::StateRoot;
use crate::record::RawEvent;
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
    /// Clients of which it is known what they do are played for.
    pub plays_known_parts: bool,
    /// What was recorded is collected, and the auditor looks at what is there.
    pub recounts: bool,
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

/// An execution that was run.
#[derive(Clone, Copy, Debug)]
pub struct Executed<'a> {
    /// The state directory as it is after it.
    pub state: &'a Path,
    /// A digest of its class.
    pub class: u64,
    /// How many parts of clients were played for them to their end so far.
    pub performances: u64,
    /// What was recorded; nothing when that is not collected.
    pub recorded: &'a [RawEvent],
}

/// Runs executions of a plan without judging them; under kills and pauses those that
/// may strike the first client. Calls `visit` after each: for comparing searches with each other.
///
/// # Errors
/// When they cannot be run.
pub fn every_execution(
    plan: &Plan,
    root: &StateRoot,
    surroundings: &mut Surroundings<'_>,
    exercise: Exercise,
    mut visit: impl FnMut(Executed<'_>),
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
        stand.arena.play_known_parts(exercise.plays_known_parts);
        let bench = &stand.bench;
        let observe = |arena: &mut Arena<'_>, trace: &Trace| {
            let recorded = match exercise.recounts {
                true => bench.recount(arena)?.events,
                false => Vec::new(),
            };
            visit(Executed {
                state: &state,
                class: trace.class(),
                performances: arena.performances(),
                recorded: &recorded,
            });
            Ok(Continue::Yes)
        };
        match exercise.reduction {
            Reduction::None => brute::search(&mut stand.arena, limits, observe),
            Reduction::Optimal => dpor::search(&mut stand.arena, limits, observe),
        }
    })
}
