//! One round of an exploration: the search with some number of operations, as far as its time goes.

use std::ops::RangeInclusive;
use std::time::Instant;

use super::arena::{Arena, ArenaError};
use super::bench::Bench;
use super::explorer::Effort;
use super::ledger::Ledger;
use super::reach::Reach;
use super::search::pct::{Sampled, Shape};
use super::search::schedule::replay as rerun;
use super::search::{Continue, End, Limits, Trace, dpor, pct, preemption};
use super::stand::Stand;
use crate::stress::Surroundings;

/// The last bound on preemptions that is tried when a search without bound is too much.
pub(super) const BOUND_MAX: u32 = 3;
/// The same, before there are more operations: more operations with few preemptions show more than few operations with
/// many.
pub(super) const BOUND_BEFORE_MORE_OPERATIONS: u32 = 1;

/// Depths of the bugs that schedules are drawn for, in turn. The deeper, the more it takes.
const DEPTHS: &[u32] = &[2, 3, 3, 3];
/// A search that would take so many times the executions that it has had, after so many, is not gone on with before
/// there is nothing else to be done: others can use the time.
const HOPELESS: f64 = 20.0;
const EXECUTIONS_UNTIL_HOPELESS: u64 = 64;
/// Executions of clients that are not under control: more can still find something, and prove nothing.
const UNCONTROLLED: u64 = 50;

/// The search for everything with some number of operations.
#[derive(Default)]
pub(super) struct Round {
    pub search: dpor::Search,
    /// And within bounds, if that is too much.
    pub bounded: preemption::Search,
    /// Clients remember what they did before, so every execution has clients of its own.
    pub renews: bool,
    /// All clients play their parts themselves, since one did something else than was known of it.
    pub asks_everybody: bool,
    /// A worker said that it does not remember, and did something else in a process that has just begun.
    pub remembers: bool,
    /// Executions that were judged.
    pub executions: u64,
}

impl Round {
    /// Another one of the same clients.
    pub fn afresh(&self) -> Self {
        Self { renews: self.renews, asks_everybody: self.asks_everybody, ..Self::default() }
    }

    /// Forgets what the searches have seen: it is not so.
    fn forget(&mut self) {
        (self.search, self.bounded) = Default::default();
    }

    /// Whether much more time than there was until now would not bring the search to its end.
    pub fn is_hopeless(&self) -> bool {
        let executions = self.search.executions();
        executions >= EXECUTIONS_UNTIL_HOPELESS && self.search.expected() > HOPELESS * executions as f64
    }
}

/// Until when each part of a round may go on.
#[derive(Clone, Copy)]
pub(super) struct Deadlines {
    reduced: Instant,
    /// `None`: there is time for that later.
    bounded: Option<Instant>,
}

impl Deadlines {
    /// At last, a part of the time for each, so that the next one, which always brings something, has some
    /// left. What is hopeless has none.
    pub fn until(end: Instant, effort: Effort, hopeless: bool) -> Self {
        let now = Instant::now();
        let left = end.saturating_duration_since(now);
        let reduced = if hopeless { now } else { now + left / 8 * 3 };
        match effort {
            Effort::First => Self { reduced: end, bounded: None },
            // It has had its time.
            Effort::Bounded => Self { reduced: now, bounded: Some(end) },
            Effort::Last => Self { reduced, bounded: Some(now + left / 8 * 7) },
        }
    }
}

/// Whether a search ended as it did because workers remember what they did before, though they say that they do not.
const fn remember(arena: &Arena<'_>, end: &End) -> bool {
    arena.is_reusing() && (arena.is_doubted() || matches!(end, End::Diverged(_)))
}

impl Stand<'_, '_> {
    /// Whether workers say that they can play in many executions.
    pub fn offers_reuse(&mut self) -> Result<bool, ArenaError> {
        if self.arena.drives_workers() {
            rerun(&mut self.arena, &[], &mut Trace::default())?;
        }
        Ok(self.arena.offers_reuse())
    }

    /// Searches as far as the plan's limits go, and says how far that was: for everything, and if that is too much,
    /// within these bounds. Where a client that was played does something else when it is asked itself, it remembers what it
    /// did before, perhaps; if processes that have just begun do so, too, all clients play their parts themselves.
    pub fn search(
        &mut self,
        round: &mut Round,
        bounds: RangeInclusive<u32>,
        ledger: &mut Ledger,
        deadlines: Deadlines,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Reach, ArenaError> {
        loop {
            match self.search_once(round, bounds.clone(), ledger, deadlines, surroundings) {
                Err(ArenaError::Unlike(_)) if !round.renews => round.renews = true,
                Err(ArenaError::Unlike(_)) if !round.asks_everybody => round.asks_everybody = true,
                searched => return searched,
            }
            round.forget();
        }
    }

    fn search_once(
        &mut self,
        round: &mut Round,
        bounds: RangeInclusive<u32>,
        ledger: &mut Ledger,
        deadlines: Deadlines,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Reach, ArenaError> {
        let explore = &self.bench.plan.scenario.explore;
        let mut reach = Reach::default();
        let bench = &self.bench;
        let mut observe =
            |arena: &mut Arena<'_>, trace: &Trace| bench.observe(arena, trace, ledger, surroundings);
        if round.renews {
            self.arena.renew_processes();
        }
        if round.asks_everybody {
            self.arena.play_known_parts(false);
        }
        let bounds = explore.preemptions.map_or(bounds, |most| 0..=most);
        if explore.preemptions.is_none() && *bounds.start() == 0 {
            let limits = Limits { executions: explore.executions, deadline: Some(deadlines.reduced) };
            let mut end = round.search.go_on(&mut self.arena, limits, &mut observe)?.end;
            round.remembers = remember(&self.arena, &end);
            if round.remembers {
                return Ok(reach);
            }
            if matches!(end, End::Diverged(_)) && !round.renews {
                // Perhaps only because clients remember what they did before.
                self.arena.renew_processes();
                round.renews = true;
                round.forget();
                end = round.search.go_on(&mut self.arena, limits, &mut observe)?.end;
            }
            reach.ended(&end);
        }
        for bound in bounds {
            let Some(deadline) = deadlines.bounded else { break };
            if reach.is_settled() {
                break;
            }
            let limits = Limits { executions: explore.executions, deadline: Some(deadline) };
            let searched = round.bounded.go_on(&mut self.arena, bound, limits, &mut observe)?;
            round.remembers = remember(&self.arena, &searched.end);
            if round.remembers {
                return Ok(reach);
            }
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
    pub fn sample(
        &mut self,
        ledger: &mut Ledger,
        end: Instant,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Sampled, ArenaError> {
        let plan = self.bench.plan;
        let limits = Limits { executions: plan.scenario.explore.executions, deadline: Some(end) };
        let bench = &self.bench;
        let seed = plan.seed_for(&[u64::from(plan.scenario.explore.operations)]);
        let mut sample = |arena: &mut Arena<'_>| {
            pct::search(arena, seed, DEPTHS, Shape::default(), limits, |arena, trace| {
                bench.observe(arena, trace, ledger, surroundings)
            })
        };
        let sampled = match sample(&mut self.arena) {
            Err(ArenaError::Unlike(_)) if self.arena.plays_known_parts() => {
                self.arena.play_known_parts(false);
                sample(&mut self.arena)?
            }
            sampled => sampled?,
        };
        if self.arena.is_doubted() && self.arena.is_reusing() {
            self.arena.renew_processes();
            return sample(&mut self.arena);
        }
        Ok(sampled)
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
        if !self.judge(arena, trace, ledger, surroundings)? {
            arena.doubt_workers();
            return Ok(Continue::Stop);
        }
        let found = surroundings.stop_at_violation && ledger.found().next().is_some();
        let uncontrolled = !arena.escapes().is_empty() && ledger.executions() >= UNCONTROLLED;
        let over = found || uncontrolled || ledger.all_broken();
        Ok(if over { Continue::Stop } else { Continue::Yes })
    }
}
