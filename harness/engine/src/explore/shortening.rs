//! Short witnesses: of every anomaly an execution with as few preemptions as can be found, and among
//! those one with few operations and few clients.
//!
//! First the executions of the clients with which it was found are run again, bound after bound. Then
//! fewer clients try to do as well, the smallest cast first; whether they can at all is asked of the
//! reduced search, which knows sooner than all schedules within a bound. Fewer operations were
//! searched before, without finding it.
//!
//! Not covered: that nothing shorter exists. Executions are counted here, and the time is limited; most
//! anomalies show in the first few. Each is told in any case.

use std::collections::BTreeMap;
use std::time::Instant;

use tearproof_core::plan::Plan;
use tearproof_core::verdict::{Findings, Step as Line};

use super::arena::ArenaError;
use super::bench::anomalies;
use super::fates::{self, Fates};
use super::ledger::{Found, Ledger};
use super::round::BOUND_MAX;
use super::scale::Cast;
use super::search::{Continue, End, Limits, dpor, preemption};
use super::source_line::add_source_lines;
use super::stand::Stand;
use super::system::ThreadId;
use super::token::{Token, digest_of};
use crate::process::StateRoot;
use crate::stress::Surroundings;

/// Executions with each number of preemptions that are spent on all clients, and on each smaller cast.
const ALL: u64 = 3000;
const SMALLER: u64 = 500;

/// Gives every anomaly a witness that is told step by step, and a short one where that is found in time. `reuse`:
/// workers that say so may be used in many executions to find it; new ones tell it.
pub(super) fn witnesses(
    plan: &Plan,
    reuse: bool,
    deadline: Instant,
    root: &StateRoot,
    surroundings: &mut Surroundings<'_>,
    ledger: &mut Ledger,
) -> Result<(), ArenaError> {
    let mut by_operations: BTreeMap<(u32, Fates), Vec<Sought<'_>>> = BTreeMap::new();
    for found in ledger.found() {
        let fates = fates::of_schedule(plan, &found.schedule);
        by_operations.entry((found.operations, fates)).or_default().push(Sought {
            found,
            most: BOUND_MAX,
            longer: None,
        });
    }
    let mut groups = by_operations.len() as u32;
    for ((operations, fates), all) in by_operations {
        let mut all: Vec<Sought<'_>> = all;
        let left = deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + left / groups;
        groups -= 1;
        let whole = Cast { operations, ..Cast::of(plan) };
        Stand::with(&whole.applied(plan), root, surroundings, |stand, surroundings| {
            stand.arena.ordain(&fates);
            stand.arena.reuse_workers(reuse);
            // Whoever is shown has done it.
            stand.arena.play_known_parts(false);
            // Half of the time is for those who may do with fewer clients.
            let half = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
            let limits = Limits { executions: ALL, deadline: Some(half) };
            let short = stand.shorten(&all, limits, surroundings)?;
            for (sought, short) in all.iter_mut().zip(short) {
                if let Some((bound, schedule)) = short {
                    sought.most = bound;
                    sought.longer = Some(std::mem::replace(&mut sought.found.schedule, schedule));
                }
            }
            stand.tell(plan, &whole, &mut all, surroundings)
        })?;
        for cast in whole.with_fewer_clients() {
            if all.is_empty() || Instant::now() >= until {
                break;
            }
            Stand::with(&cast.applied(plan), root, surroundings, |stand, surroundings| {
                stand.arena.ordain(&fates::within(&fates, plan, stand.bench.plan));
                stand.arena.reuse_workers(reuse);
                stand.arena.play_known_parts(false);
                let limits = Limits { executions: SMALLER, deadline: Some(until) };
                let (mut able, unable): (Vec<Sought<'_>>, _) = {
                    let mut can = stand.can_show(&all, limits, surroundings)?.into_iter();
                    all.drain(..).partition(|_| can.next().unwrap_or(true))
                };
                all = unable;
                let short = stand.shorten(&able, limits, surroundings)?;
                let mut done = Vec::new();
                for (index, short) in short.into_iter().enumerate().rev() {
                    let mut sought = able.remove(index);
                    if let Some((_, schedule)) = short {
                        (sought.found.schedule, sought.longer) = (schedule, None);
                        done.push(sought);
                    } else {
                        all.push(sought);
                    }
                }
                stand.tell(plan, &cast, &mut done, surroundings)
            })?;
        }
    }
    // Two breaches may have one execution.
    let mut told: Vec<(Token, Vec<Line>)> = Vec::new();
    for Found { anomaly, .. } in ledger.found() {
        let witness = &mut anomaly.witness;
        let Some(token) = witness.replay.as_ref().and_then(|token| token.parse::<Token>().ok()) else {
            continue;
        };
        if let Some((_, steps)) = told.iter().find(|(known, _)| *known == token) {
            witness.steps.clone_from(steps);
            continue;
        }
        let (plan, steps) = (token.cast.applied(plan), &mut witness.steps);
        add_source_lines(&plan, &token.schedule, steps, root, surroundings);
        told.push((token, witness.steps.clone()));
    }
    Ok(())
}

/// A schedule and the preemptions in it.
type Short = (u32, Vec<ThreadId>);

/// An anomaly that a shorter execution is sought for.
struct Sought<'f> {
    found: &'f mut Found,
    /// With more preemptions than these it would not be shorter.
    most: u32,
    /// The schedule that was there before, of the same clients.
    longer: Option<Vec<ThreadId>>,
}

impl Stand<'_, '_> {
    /// Whether each of these anomalies can be shown by the clients that are here, as far as is known.
    fn can_show(
        &mut self,
        all: &[Sought<'_>],
        limits: Limits,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Vec<bool>, ArenaError> {
        let mut shown = vec![false; all.len()];
        let bench = &self.bench;
        let searched = dpor::search(&mut self.arena, limits, |arena, trace| {
            let mut recount = bench.recount(arena)?;
            let mut findings = Findings::new();
            bench.findings(&mut recount, trace, |_| false, &mut findings, surroundings)?;
            for (shown, sought) in shown.iter_mut().zip(all) {
                *shown |= anomalies(&findings).any(|anomaly| anomaly.kind == sought.found.anomaly.kind);
            }
            let all_shown = shown.iter().all(|shown| *shown);
            Ok::<_, ArenaError>(if all_shown { Continue::Stop } else { Continue::Yes })
        })?;
        if searched.end != End::Exhausted {
            shown.fill(true);
        }
        Ok(shown)
    }

    /// Looks for executions with few preemptions that show these anomalies: the number and the
    /// schedule of each, where there is one.
    fn shorten(
        &mut self,
        all: &[Sought<'_>],
        limits: Limits,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Vec<Option<Short>>, ArenaError> {
        let mut short = vec![None; all.len()];
        let bench = &self.bench;
        let mut search = preemption::Search::default();
        for bound in 0..=BOUND_MAX {
            let is_open =
                |short: &[Option<Short>], index: usize| short[index].is_none() && bound <= all[index].most;
            if !(0..all.len()).any(|index| is_open(&short, index)) {
                break;
            }
            let searched = search.go_on(&mut self.arena, bound, limits, |arena, trace| {
                let mut recount = bench.recount(arena)?;
                let mut findings = Findings::new();
                bench.findings(&mut recount, trace, |_| false, &mut findings, surroundings)?;
                for (index, sought) in all.iter().enumerate() {
                    let kind = sought.found.anomaly.kind;
                    if is_open(&short, index) && anomalies(&findings).any(|anomaly| anomaly.kind == kind) {
                        short[index] = Some((bound, trace.schedule()));
                    }
                }
                let open = (0..all.len()).any(|index| is_open(&short, index));
                Ok::<_, ArenaError>(if open { Continue::Yes } else { Continue::Stop })
            })?;
            if let End::Diverged(_) = searched.end {
                // What is known is not so.
                search = preemption::Search::default();
            }
        }
        Ok(short)
    }

    /// Runs the executions of witnesses again, and takes down what is seen. One that does not show the
    /// same again leaves what was there.
    fn tell(
        &mut self,
        plan: &Plan,
        cast: &Cast,
        all: &mut [Sought<'_>],
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), ArenaError> {
        for Sought { found, longer, .. } in all {
            let mut told = self.replay(&found.schedule, surroundings)?;
            let kind = found.anomaly.kind;
            if !anomalies(&told.findings).any(|anomaly| anomaly.kind == kind)
                && let Some(longer) = longer.take()
            {
                // Workers that were used before may have shown what new ones do not.
                found.schedule = longer;
                told = self.replay(&found.schedule, surroundings)?;
            }
            let same = anomalies(&told.findings).find(|anomaly| anomaly.kind == found.anomaly.kind);
            let Some(anomaly) = same else { continue };
            let witness = &mut found.anomaly.witness;
            witness.explanation.clone_from(&anomaly.witness.explanation);
            (witness.steps, witness.stderr) = (told.steps, told.stderr);
            let token = Token {
                scenario: plan.scenario.name.clone(),
                strategy: plan.strategy.clone(),
                hazard: plan.hazard,
                cast: cast.clone(),
                definition: digest_of(&plan.scenario),
                schedule: found.schedule.clone(),
            };
            witness.replay = Some(token.to_string());
        }
        self.arena.tell(false);
        Ok(())
    }
}
