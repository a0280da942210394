//! One plan explored: processes started, interleavings searched, histories judged, witnesses found.
//!
//! The search deepens: first one operation of each client, then two, up to the plan's number, so
//! that what breaks with few operations is found with few. In each round every class of executions
//! is run (`dpor`) until nothing is left or the limit is reached; in the second case all
//! schedules within a bound on preemptions are run, bound after bound, and the verdict names the
//! last bound that was exhausted.

use std::path::Path;
use std::time::Instant;

use tearproof_core::plan::Plan;
use tearproof_core::verdict::{Findings, Step as Line};

use super::arena::{Arena, ArenaError};
use super::ledger::Ledger;
use super::reach::Reach;
use super::scale::scaled;
use super::search::{Continue, End, Limits, Searched, Trace, brute, dpor, preemption};
use super::shortening::witnesses;
use super::stand::Stand;
use super::system::ThreadId;
use super::token::{Token, digest_of};
use crate::process::StateRoot;
use crate::stress::{Measured, Surroundings};
use crate::worker::EXECUTION;

/// Bounds on preemptions that are tried when a search without bound is too much.
pub(super) const BOUND_MAX: u32 = 3;

/// Executions of clients that are not under control: more can still find something, and prove nothing.
const UNCONTROLLED: u64 = 200;

/// Explores a plan until everything was seen or a limit is reached. What goes wrong on the way is
/// part of the result.
pub fn explore(plan: &Plan, root: &StateRoot, surroundings: &mut Surroundings<'_>) -> Measured {
    let mut ledger = Ledger::default();
    let mut reach = Reach::default();
    let mut problems = Vec::new();
    let begun = Instant::now();
    let plan = scaled(plan);
    let most = plan.scenario.explore.operations;
    for operations in 1..=most {
        ledger.turn_page();
        let mut round = plan.clone();
        round.scenario.explore.operations = operations;
        round.budget = plan.budget.saturating_sub(begun.elapsed());
        let outcome = Stand::with(&round, root, surroundings, |stand, surroundings| {
            stand.search(&mut ledger, surroundings)
        });
        match outcome {
            Ok(reached) => reach = reached,
            Err(error) => {
                let error = error.to_string();
                reach = Reach::doubtful(error.clone());
                problems.push(error);
            }
        }
        reach.operations = operations;
        let enough = surroundings.stop_at_violation && ledger.found().next().is_some();
        if !reach.exhausted || ledger.all_broken() || enough || surroundings.interrupt.raised() {
            break;
        }
    }
    if let Err(error) = witnesses(&plan, root, surroundings, &mut ledger) {
        problems.push(format!("looking for short witnesses: {error}"));
    }
    Measured { cells: ledger.cells(plan.hazard, &reach), problems, ..Measured::default() }
}

/// The plan that a token was made with, if the one that is given has the same definition.
pub fn plan_of(token: &Token, plan: &Plan) -> Option<Plan> {
    let mut plan = scaled(plan);
    (digest_of(&plan.scenario) == token.definition).then(|| {
        plan.scenario.explore.operations = token.operations;
        plan
    })
}

/// An execution that was run again.
pub struct Replayed {
    /// What was found in it.
    pub findings: Findings,
    /// The execution, told.
    pub steps: Vec<Line>,
    /// After how many steps it went another way, if it did.
    pub diverged: Option<usize>,
}

/// Runs the execution of a token again. The plan comes from [`plan_of`].
///
/// # Errors
/// When it cannot be run.
pub fn replay(
    plan: &Plan,
    schedule: &[ThreadId],
    root: &StateRoot,
    surroundings: &mut Surroundings<'_>,
) -> Result<Replayed, ArenaError> {
    Stand::with(plan, root, surroundings, |stand, surroundings| stand.replay(schedule, surroundings))
}

/// Which executions of a plan are run by [`every_execution`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// All of them.
    None,
    /// One of each class.
    Optimal,
}

/// Runs executions of a plan, at most so many, without judging them, and calls `visit` after each with the state
/// directory as it is then and a digest of the execution's class: for comparing searches with each
/// other.
///
/// # Errors
/// When they cannot be run.
pub fn every_execution(
    plan: &Plan,
    root: &StateRoot,
    surroundings: &mut Surroundings<'_>,
    reduction: Reduction,
    most: u64,
    mut visit: impl FnMut(&Path, u64),
) -> Result<Searched, ArenaError> {
    Stand::with(plan, root, surroundings, |stand, _| {
        let state = stand.bench.stage.specification.context(EXECUTION, 0).dir;
        let limits = Limits { executions: most, ..Limits::NONE };
        let observe = |_: &mut Arena<'_>, trace: &Trace| {
            visit(&state, trace.class());
            Ok(Continue::Yes)
        };
        match reduction {
            Reduction::None => brute::search(&mut stand.arena, limits, observe),
            Reduction::Optimal => dpor::search(&mut stand.arena, limits, observe),
        }
    })
}

impl Stand<'_, '_> {
    /// Searches as far as the plan's limits go, and says how far that was.
    fn search(
        &mut self,
        ledger: &mut Ledger,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Reach, ArenaError> {
        let explore = &self.bench.plan.scenario.explore;
        let begun = Instant::now();
        let deadline = |share: u32| Some(begun + self.bench.plan.budget / 4 * share);
        let mut reach = Reach::default();
        let bench = &self.bench;
        let stop = surroundings.stop_at_violation;
        let mut observe = |arena: &mut Arena<'_>, trace: &Trace| -> Result<Continue, ArenaError> {
            bench.judge(arena, trace, ledger, surroundings)?;
            let over = stop && ledger.found().next().is_some();
            let over = over || (!arena.escapes().is_empty() && ledger.executions() >= UNCONTROLLED);
            Ok(if over || ledger.all_broken() { Continue::Stop } else { Continue::Yes })
        };
        let mut bounds = 0..=BOUND_MAX;
        if let Some(most) = explore.preemptions {
            bounds = 0..=most;
        } else {
            let limits = Limits { executions: explore.executions, deadline: deadline(3) };
            reach.ended(&dpor::search(&mut self.arena, limits, &mut observe)?.end);
        }
        for bound in bounds {
            if reach.is_settled() {
                break;
            }
            let limits = Limits { executions: explore.executions, deadline: deadline(4) };
            let searched = preemption::search(&mut self.arena, bound, limits, &mut observe)?;
            reach.ended_within(bound, &searched.end);
            if searched.end != End::Exhausted {
                break;
            }
        }
        if let Some(escape) = self.arena.escapes().first() {
            reach.doubt = Some(escape.clone());
        }
        Ok(reach)
    }
}
