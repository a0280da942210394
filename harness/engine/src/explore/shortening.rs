//! Short witnesses: of every anomaly an execution with as few preemptions as can be found.

use std::collections::BTreeMap;

use tearproof_core::plan::Plan;
use tearproof_core::verdict::Findings;

use super::arena::ArenaError;
use super::bench::anomalies;
use super::explorer::BOUND_MAX;
use super::fates::{self, Fates};
use super::ledger::{Found, Ledger};
use super::search::{Continue, Limits, preemption};
use super::stand::Stand;
use super::token::{Token, digest_of};
use crate::process::StateRoot;
use crate::stress::Surroundings;

/// Executions that are spent on a witness with fewer preemptions.
const SHORTENING: u64 = 3000;

/// Gives every anomaly a witness with as few preemptions as can be found, told step by step.
pub(super) fn witnesses(
    plan: &Plan,
    root: &StateRoot,
    surroundings: &mut Surroundings<'_>,
    ledger: &mut Ledger,
) -> Result<(), ArenaError> {
    let definition = digest_of(&plan.scenario);
    let mut by_operations: BTreeMap<(u32, Fates), Vec<&mut Found>> = BTreeMap::new();
    for found in ledger.found() {
        let fates = fates::of_schedule(plan, &found.schedule);
        by_operations.entry((found.operations, fates)).or_default().push(found);
    }
    for ((operations, fates), mut all) in by_operations {
        let mut round = plan.clone();
        round.scenario.explore.operations = operations;
        Stand::with(&round, root, surroundings, |stand, surroundings| {
            stand.arena.ordain(&fates);
            stand.shorten(&mut all, surroundings)?;
            for found in &mut all {
                let told = stand.replay(&found.schedule, surroundings)?;
                let same = anomalies(&told.findings).find(|anomaly| anomaly.kind == found.anomaly.kind);
                let Some(anomaly) = same else { continue };
                let witness = &mut found.anomaly.witness;
                witness.explanation.clone_from(&anomaly.witness.explanation);
                witness.steps = told.steps;
                witness.replay = Some(
                    Token {
                        scenario: plan.scenario.name.clone(),
                        strategy: plan.strategy.clone(),
                        hazard: plan.hazard,
                        operations,
                        definition,
                        schedule: found.schedule.clone(),
                    }
                    .to_string(),
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

impl Stand<'_, '_> {
    /// Looks for the same anomalies in executions with fewer preemptions.
    fn shorten(
        &mut self,
        all: &mut [&mut Found],
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), ArenaError> {
        let mut open: Vec<usize> = (0..all.len()).collect();
        let bench = &self.bench;
        for bound in 0..=BOUND_MAX {
            let limits = Limits { executions: SHORTENING, deadline: None };
            preemption::search(&mut self.arena, bound, limits, |arena, trace| {
                let mut recount = bench.recount(arena)?;
                let mut findings = Findings::new();
                bench.findings(&mut recount, trace, |_| false, &mut findings, surroundings)?;
                open.retain(|&index| {
                    let kind = all[index].anomaly.kind;
                    let here = anomalies(&findings).any(|anomaly| anomaly.kind == kind);
                    if here {
                        all[index].schedule = trace.schedule();
                    }
                    !here
                });
                Ok::<_, ArenaError>(if open.is_empty() { Continue::Stop } else { Continue::Yes })
            })?;
            if open.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
