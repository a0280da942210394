//! One plan explored: processes started, interleavings searched, histories judged, witnesses found.
//!
//! The search deepens: first one operation of each client, then two, up to the plan's number, so
//! that what breaks with few operations is found with few. In each round every class of executions
//! is run (`dpor`) until nothing is left or the limit is reached; in the second case all
//! schedules within a bound on preemptions are run, bound after bound, and the verdict names the
//! last bound that was exhausted. Of what is beyond that, schedules are drawn at random (`pct`), with
//! all operations, and the verdict says what they may have missed.

use std::path::Path;
use std::time::{Duration, Instant};

use tearproof_core::plan::Plan;
use tearproof_core::verdict::{Findings, Step as Line};

use super::arena::{Arena, ArenaError};
use super::bench::Bench;
use super::fates::{self, Fates};
use super::ledger::Ledger;
use super::reach::Reach;
use super::scale::{Cast, clients_of, scaled};
use super::search::pct::{Sampled, Shape};
use super::search::{Continue, End, Limits, Searched, Trace, brute, dpor, pct, preemption};
use super::shortening::witnesses;
use super::stand::Stand;
use super::system::ThreadId;
use super::token::{Token, digest_of};
use crate::process::StateRoot;
use crate::stress::{Measured, Surroundings};
use crate::worker::EXECUTION;

/// Bounds on preemptions that are tried when a search without bound is too much.
pub(super) const BOUND_MAX: u32 = 3;

/// Depths of the bugs that schedules are drawn for, in turn. The deeper, the more it takes.
const DEPTHS: &[u32] = &[2, 3, 3, 3];
/// The part of a plan's time that is spent on short witnesses at most, once something was found.
const SHARE_OF_WITNESSES: u32 = 4;
/// Executions of clients that are not under control: more can still find something, and prove nothing.
const UNCONTROLLED: u64 = 200;

/// Explores a plan until everything was seen or a limit is reached. What goes wrong on the way is
/// part of the result.
pub fn explore(plan: &Plan, root: &StateRoot, surroundings: &mut Surroundings<'_>) -> Measured {
    let mut ledger = Ledger::default();
    let mut reach: Option<Reach> = None;
    let mut problems = Vec::new();
    let begun = Instant::now();
    let budget = plan.budget;
    let plan = scaled(plan);
    let all = fates::of_plan(&plan);
    for (fates, number) in all.iter().zip(1..) {
        let end = after(begun, budget.saturating_mul(number) / all.len() as u32);
        let reached = deepen(&plan, fates, end, root, surroundings, &mut ledger, &mut problems);
        let over = reached.is_over() || is_enough(&ledger, surroundings);
        reach = Some(reach.map_or(reached.clone(), |before| before.together_with(reached)));
        if over {
            break;
        }
    }
    let reach = reach.unwrap_or_default();
    let until = Instant::now() + budget / SHARE_OF_WITNESSES;
    if let Err(error) = witnesses(&plan, until, root, surroundings, &mut ledger) {
        problems.push(format!("looking for short witnesses: {error}"));
    }
    Measured { cells: ledger.cells(plan.hazard, &clients_of(&plan), &reach), problems, ..Measured::default() }
}

/// Explores a plan with these fates, with more and more operations.
fn deepen(
    plan: &Plan,
    fates: &Fates,
    end: Instant,
    root: &StateRoot,
    surroundings: &mut Surroundings<'_>,
    ledger: &mut Ledger,
    problems: &mut Vec<String>,
) -> Reach {
    let mut reach = Reach::default();
    let most = plan.scenario.explore.operations;
    let mut rest = false;
    for operations in 1..=most {
        ledger.turn_page();
        let mut round = plan.clone();
        round.scenario.explore.operations = operations;
        let outcome = Stand::with(&round, root, surroundings, |stand, surroundings| {
            stand.arena.ordain(fates);
            stand.search(ledger, Deadlines::until(end), surroundings)
        });
        let reached = outcome.unwrap_or_else(|error| {
            problems.push(error.to_string());
            Reach::doubtful(error.to_string())
        });
        let reached = Reach { operations, executions: ledger.executions(), ..reached };
        let enough = reached.is_over() || is_enough(ledger, surroundings);
        // A bound that nobody asked for leaves something that was not looked at.
        rest = !enough && !reached.exhausted_as_asked(&round.scenario.explore);
        reach = reach.followed_by(reached);
        if enough || rest {
            break;
        }
    }
    if rest && plan.scenario.explore.preemptions.is_none() {
        ledger.turn_page();
        let outcome = Stand::with(plan, root, surroundings, |stand, surroundings| {
            stand.arena.ordain(fates);
            stand.sample(ledger, end, surroundings)
        });
        match outcome {
            Ok(sampled) => reach.sampled(&sampled, most),
            Err(error) => problems.push(format!("sampling: {error}")),
        }
    }
    reach
}

/// That much later; a century, where the clock cannot say it.
fn after(begun: Instant, time: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    begun + time.min(CENTURY)
}

/// Whether nothing is left that anybody wants to know.
fn is_enough(ledger: &Ledger, surroundings: &Surroundings<'_>) -> bool {
    ledger.all_broken()
        || (surroundings.stop_at_violation && ledger.found_any())
        || surroundings.interrupt.raised()
}

/// Until when each part of a round may go on.
#[derive(Clone, Copy)]
struct Deadlines {
    reduced: Instant,
    bounded: Instant,
}

impl Deadlines {
    /// A part of the time for each, so that the next one, which always brings something, has some left.
    fn until(end: Instant) -> Self {
        let now = Instant::now();
        let left = end.saturating_duration_since(now);
        Self { reduced: now + left / 8 * 5, bounded: now + left / 8 * 7 }
    }
}

/// The plan that a token was made with, if the one that is given has the same definition.
pub fn plan_of(token: &Token, plan: &Plan) -> Option<Plan> {
    // How many operations were asked for is no part of a definition, and decides how many readers there are.
    [1, 2].into_iter().find_map(|operations| {
        let mut plan = plan.clone();
        plan.scenario.explore.operations = operations;
        let plan = scaled(&plan);
        let whole = Cast::of(&plan);
        let fits = whole.processes.len() == token.cast.processes.len()
            && whole.processes.iter().zip(&token.cast.processes).all(|(most, count)| count <= most);
        (fits && digest_of(&plan.scenario) == token.definition).then(|| token.cast.applied(&plan))
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

/// Runs executions of a plan, at most so many, without judging them; under kills and pauses those that
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
    reduction: Reduction,
    most: u64,
    mut visit: impl FnMut(&Path, u64),
) -> Result<Searched, ArenaError> {
    Stand::with(plan, root, surroundings, |stand, _| {
        let state = stand.bench.stage.specification.context(EXECUTION, 0).dir;
        stand.arena.ordain(&fates::of_plan(plan)[0]);
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
        deadlines: Deadlines,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Reach, ArenaError> {
        let explore = &self.bench.plan.scenario.explore;
        let mut reach = Reach::default();
        let bench = &self.bench;
        let mut observe =
            |arena: &mut Arena<'_>, trace: &Trace| bench.observe(arena, trace, ledger, surroundings);
        let mut bounds = 0..=BOUND_MAX;
        if let Some(most) = explore.preemptions {
            bounds = 0..=most;
        } else {
            let limits = Limits { executions: explore.executions, deadline: Some(deadlines.reduced) };
            let mut end = dpor::search(&mut self.arena, limits, &mut observe)?.end;
            if matches!(end, End::Diverged(_)) {
                // Perhaps only because clients remember what they did before.
                self.arena.renew_processes();
                end = dpor::search(&mut self.arena, limits, &mut observe)?.end;
            }
            reach.ended(&end);
        }
        for bound in bounds {
            if reach.is_settled() {
                break;
            }
            let limits = Limits { executions: explore.executions, deadline: Some(deadlines.bounded) };
            let searched = preemption::search(&mut self.arena, bound, limits, &mut observe)?;
            reach.ended_within(bound, &searched.end);
            if searched.end != End::Exhausted {
                break;
            }
        }
        reach.discount(explore);
        reach.doubt = self.arena.escapes().first().cloned().or(reach.doubt);
        Ok(reach)
    }

    /// Draws schedules at random for as long as there is time.
    fn sample(
        &mut self,
        ledger: &mut Ledger,
        end: Instant,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Sampled, ArenaError> {
        let plan = self.bench.plan;
        let limits = Limits { executions: plan.scenario.explore.executions, deadline: Some(end) };
        let bench = &self.bench;
        let seed = plan.seed_for(&[u64::from(plan.scenario.explore.operations)]);
        pct::search(&mut self.arena, seed, DEPTHS, Shape::default(), limits, |arena, trace| {
            bench.observe(arena, trace, ledger, surroundings)
        })
    }
}

impl Bench<'_, '_> {
    /// Judges an execution, and says whether another one is of use.
    fn observe(
        &self,
        arena: &mut Arena<'_>,
        trace: &Trace,
        ledger: &mut Ledger,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Continue, ArenaError> {
        self.judge(arena, trace, ledger, surroundings)?;
        let found = surroundings.stop_at_violation && ledger.found().next().is_some();
        let uncontrolled = !arena.escapes().is_empty() && ledger.executions() >= UNCONTROLLED;
        let over = found || uncontrolled || ledger.all_broken();
        Ok(if over { Continue::Stop } else { Continue::Yes })
    }
}
