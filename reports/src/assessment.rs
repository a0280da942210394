//! What the cells of a strategy come to: one verdict for each claim, whatever engines looked at it,
//! and whether the strategy can be recommended in its scenario ([`Assessment`]).
//!
//! Not covered: what it costs. Speed never makes up for a broken requirement.

use std::collections::BTreeMap;

use tearproof_core::claim::{Claim, Engine, Guarantee, Hazard};
use tearproof_core::run::{Cell, ScenarioRun, StrategyRun};
use tearproof_core::verdict::Verdict;

/// What is known of one `guarantee@hazard` when everybody who looked has spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the strategy promises it.
    pub claimed: bool,
    /// Whether it was not seen broken, but in so small a sample that this says next to nothing.
    pub thin: bool,
}

/// Fewer executions than this are a thin sample, unless clients were paused in them: those are long, and
/// each has several pauses.
pub const FEW_EXECUTIONS: u64 = 3;
/// Fewer operations than this are a thin sample.
pub const FEW_OPERATIONS: u64 = 200;

/// Whether a cell rests on a thin sample.
fn is_thin(cell: &Cell) -> bool {
    cell.engine == Engine::Stress
        && cell.verdict == Verdict::NotObserved
        // Nothing races where metadata is looked at: one update says what each further one would.
        && cell.guarantee != Guarantee::MetadataKept
        && (cell.scope.executions < FEW_EXECUTIONS && cell.hazard != Hazard::Pause
            || cell.scope.operations.unwrap_or(0) < FEW_OPERATIONS)
}

impl Known {
    /// A promise that was seen broken: what makes a run fail.
    pub fn is_broken_claim(self) -> bool {
        self.claimed && self.verdict == Verdict::Violated
    }
}

/// How much a verdict weighs against that of another engine. One that saw it broken is right; one
/// that hit a limit keeps the question open, as the exit code does; one that ran every execution
/// knows more than one that sampled.
const fn weight(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::NotApplicable => 0,
        Verdict::NotObserved => 1,
        Verdict::Verified => 2,
        Verdict::Inconclusive => 3,
        Verdict::Violated => 4,
    }
}

/// One entry for each `guarantee@hazard` that somebody looked at.
pub fn known(strategy: &StrategyRun) -> BTreeMap<Claim, Known> {
    let mut all: BTreeMap<Claim, Known> = BTreeMap::new();
    for cell in &strategy.verdicts {
        let entry = all.entry(Claim::new(cell.guarantee, cell.hazard)).or_insert(Known {
            verdict: cell.verdict,
            claimed: cell.claimed,
            thin: is_thin(cell),
        });
        entry.claimed |= cell.claimed;
        entry.thin &= is_thin(cell);
        if weight(cell.verdict) > weight(entry.verdict) {
            entry.verdict = cell.verdict;
            entry.thin = is_thin(cell);
        }
    }
    all
}

/// What a maintainer needs to know of a strategy in a scenario, in the order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assessment {
    /// It kept everything that the scenario requires and that any engine tested here.
    Recommended,
    /// It kept everything, but in samples that say next to nothing of these.
    Thin(Vec<Claim>),
    /// Nothing required broke, but not all of it could be decided: these are open.
    Undecided(Vec<Claim>),
    /// Nothing required was seen broken, but it is wrong on purpose.
    Suspect,
    /// It broke these promises of its own, though nothing required.
    Unreliable(Vec<Claim>),
    /// It broke these requirements.
    Unfit(Vec<Claim>),
    /// The scenario requires nothing, or nothing of it was tested: there is no telling.
    Unasked,
}

impl Assessment {
    /// Its place among the parts of a table.
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Recommended => 0,
            Self::Thin(_) => 1,
            Self::Undecided(_) => 2,
            Self::Unasked => 3,
            Self::Suspect => 4,
            Self::Unreliable(_) => 5,
            Self::Unfit(_) => 6,
        }
    }
}

/// What a scenario requires, split by whether any engine looked at it for any of its strategies.
/// What nobody looked at cannot be held against a strategy; it has to be said of the scenario.
pub fn tested_requirements(scenario: &ScenarioRun) -> (Vec<Claim>, Vec<Claim>) {
    scenario.requires.iter().partition(|claim| {
        let looked = |strategy: &StrategyRun| {
            let mut cells = strategy.verdicts.iter();
            cells.any(|cell| cell.guarantee == claim.guarantee && cell.hazard == claim.hazard)
        };
        scenario.strategies.iter().any(looked)
    })
}

/// Whether `strategy` can be recommended in `scenario`.
pub fn assess(scenario: &ScenarioRun, strategy: &StrategyRun) -> Assessment {
    let known = known(strategy);
    let (required, _) = tested_requirements(scenario);
    let mut broken = Vec::new();
    let mut open = Vec::new();
    let mut thin = Vec::new();
    let mut kept = 0;
    for claim in required {
        if known.get(&claim).is_some_and(|known| known.thin) {
            thin.push(claim);
        }
        match known.get(&claim).map(|known| known.verdict) {
            Some(Verdict::Violated) => broken.push(claim),
            Some(Verdict::Inconclusive) | None => open.push(claim),
            Some(Verdict::Verified | Verdict::NotObserved) => kept += 1,
            Some(Verdict::NotApplicable) => {}
        }
    }
    let unkept: Vec<Claim> =
        known.iter().filter(|(_, known)| known.is_broken_claim()).map(|(&claim, _)| claim).collect();
    if !broken.is_empty() {
        Assessment::Unfit(broken)
    } else if !unkept.is_empty() {
        Assessment::Unreliable(unkept)
    } else if !open.is_empty() {
        Assessment::Undecided(open)
    } else if kept == 0 {
        Assessment::Unasked
    } else if strategy.broken {
        Assessment::Suspect
    } else if !thin.is_empty() {
        Assessment::Thin(thin)
    } else {
        Assessment::Recommended
    }
}

/// The strategies of a scenario with what each comes to: the best first, and otherwise in the
/// order of the definition.
pub fn ranked(scenario: &ScenarioRun) -> Vec<(&StrategyRun, Assessment)> {
    let mut all: Vec<_> =
        scenario.strategies.iter().map(|strategy| (strategy, assess(scenario, strategy))).collect();
    all.sort_by_key(|(_, assessment)| assessment.rank());
    all
}

/// Claims in as few words as they fit in, in the order of the vocabulary: guarantees that share
/// their hazards are named together. Each entry is the guarantees and the hazards.
pub fn grouped(claims: &[Claim]) -> Vec<(Vec<Guarantee>, Vec<Hazard>)> {
    let mut groups: Vec<(Vec<Guarantee>, Vec<Hazard>)> = Vec::new();
    for &guarantee in Guarantee::ALL {
        let hazards: Vec<Hazard> = Hazard::ALL
            .iter()
            .copied()
            .filter(|&hazard| claims.contains(&Claim::new(guarantee, hazard)))
            .collect();
        if hazards.is_empty() {
            continue;
        }
        match groups.iter_mut().find(|(_, known)| *known == hazards) {
            Some((guarantees, _)) => guarantees.push(guarantee),
            None => groups.push((vec![guarantee], hazards)),
        }
    }
    groups
}

/// The letter that stands for a hazard in a table.
pub const fn letter(hazard: Hazard) -> &'static str {
    match hazard {
        Hazard::Concurrency => "C",
        Hazard::Pause => "P",
        Hazard::Kill => "K",
        Hazard::PowerLoss => "L",
        Hazard::IoError => "E",
    }
}

/// Claims as prose: `atomic-reads, no-lost-updates under concurrency, kill; durability under …`.
pub fn in_words(claims: &[Claim]) -> String {
    let groups = grouped(claims).into_iter().map(|(guarantees, hazards)| {
        format!(
            "{} under {}",
            list(guarantees.iter().map(|g| g.name())),
            list(hazards.iter().map(|h| h.name()))
        )
    });
    groups.collect::<Vec<_>>().join("; ")
}

/// Names with commas between them.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use tearproof_core::claim::AnomalyKind;

    use super::*;
    use crate::sample;

    const READS: Claim = Claim::new(Guarantee::AtomicReads, Hazard::Kill);
    const UPDATES: Claim = Claim::new(Guarantee::NoLostUpdates, Hazard::Kill);
    const PROGRESS: Claim = Claim::new(Guarantee::Progress, Hazard::Kill);

    fn strategy(looked_at: &[Claim], claims: &[Claim]) -> StrategyRun {
        sample::strategy("mine", looked_at, claims)
    }

    fn judged(strategy: StrategyRun) -> Assessment {
        // Another strategy was looked at in both respects, so both count as tested.
        let other = sample::strategy("other", &[READS, UPDATES], &[]);
        let scenario = sample::scenario("index", vec![READS, UPDATES], vec![strategy, other]);
        assess(&scenario, &scenario.strategies[0])
    }

    #[test]
    fn the_verdict_of_two_engines_is_the_one_that_decides_the_exit_code() {
        use Verdict::{Inconclusive, NotApplicable, NotObserved, Verified, Violated};
        for (stress, explore, both) in [
            (NotObserved, Verified, Verified),
            (NotObserved, Violated, Violated),
            (Violated, Inconclusive, Violated),
            (NotObserved, Inconclusive, Inconclusive),
            (Inconclusive, Verified, Inconclusive),
            (NotApplicable, NotObserved, NotObserved),
        ] {
            for (first, second) in [(stress, explore), (explore, stress)] {
                let mut strategy = strategy(&[READS, READS], &[READS]);
                strategy.verdicts[0].verdict = first;
                strategy.verdicts[1].verdict = second;
                strategy.verdicts[1].engine = Engine::Explore;
                assert_eq!(known(&strategy)[&READS], Known { verdict: both, claimed: true, thin: false });
            }
        }
    }

    #[test]
    fn only_what_kept_every_tested_requirement_is_recommended() {
        assert_eq!(judged(strategy(&[READS, UPDATES], &[])), Assessment::Recommended);
        let broken =
            sample::breaks(strategy(&[READS, UPDATES], &[]), AnomalyKind::LostUpdate, 1, &[Hazard::Kill]);
        assert_eq!(judged(broken), Assessment::Unfit(vec![UPDATES]));
        // Nobody looked at one of them for this strategy, though somebody did for another.
        assert_eq!(judged(strategy(&[READS], &[])), Assessment::Undecided(vec![UPDATES]));
        let mut open = strategy(&[READS, UPDATES], &[]);
        sample::set(&mut open, Guarantee::AtomicReads, Hazard::Kill, Verdict::Inconclusive);
        assert_eq!(judged(open), Assessment::Undecided(vec![READS]));
    }

    #[test]
    fn what_kept_everything_in_a_thin_sample_is_not_simply_recommended() {
        for (executions, operations, thin) in
            [(1, 19, true), (2, 10_000, true), (41, 199, true), (3, 200, false)]
        {
            let mut hardly = strategy(&[READS, UPDATES], &[]);
            hardly.verdicts[0].scope.executions = executions;
            hardly.verdicts[0].scope.operations = Some(operations);
            let expected = if thin { Assessment::Thin(vec![READS]) } else { Assessment::Recommended };
            assert_eq!(judged(hardly.clone()), expected, "{executions} {operations}");
            // Who ran every execution there is knows more, however few they were.
            let mut explored = hardly.verdicts[0].clone();
            explored.engine = Engine::Explore;
            explored.verdict = Verdict::Verified;
            hardly.verdicts.push(explored);
            assert_eq!(judged(hardly), Assessment::Recommended);
        }
        let mut probed = strategy(&[Claim::new(Guarantee::MetadataKept, Hazard::Concurrency)], &[]);
        probed.verdicts[0].scope.executions = 2;
        assert!(known(&probed).values().all(|known| !known.thin));
        // A pause takes long: what counts there is how much was done beside it.
        let mut paused = strategy(&[Claim::new(Guarantee::AtomicReads, Hazard::Pause)], &[]);
        paused.verdicts[0].scope.executions = 1;
        assert!(known(&paused).values().all(|known| !known.thin));
    }

    #[test]
    fn what_is_wrong_on_purpose_or_breaks_its_own_claim_is_not_recommended() {
        let mut canary = strategy(&[READS, UPDATES], &[]);
        canary.broken = true;
        assert_eq!(judged(canary), Assessment::Suspect);
        let liar = strategy(&[READS, UPDATES, PROGRESS], &[PROGRESS]);
        let liar = sample::breaks(liar, AnomalyKind::StuckLock, 1, &[Hazard::Kill]);
        assert_eq!(judged(liar), Assessment::Unreliable(vec![PROGRESS]));
    }

    #[test]
    fn what_no_engine_tested_is_said_of_the_scenario_and_not_held_against_a_strategy() {
        let power = Claim::new(Guarantee::AtomicReads, Hazard::PowerLoss);
        let scenario =
            sample::scenario("index", vec![READS, power], vec![strategy(&[READS], &[READS, power])]);
        assert_eq!(tested_requirements(&scenario), (vec![READS], vec![power]));
        assert_eq!(assess(&scenario, &scenario.strategies[0]), Assessment::Recommended);
        assert_eq!(scenario.strategies[0].unseen_claims(), [power]);
        let nothing = sample::scenario("index", vec![power], vec![strategy(&[READS], &[])]);
        assert_eq!(assess(&nothing, &nothing.strategies[0]), Assessment::Unasked);
    }

    #[test]
    fn claims_that_share_their_hazards_are_named_together() {
        let power = Claim::new(Guarantee::Durability, Hazard::PowerLoss);
        assert_eq!(
            in_words(&[power, UPDATES, READS, Claim::new(Guarantee::AtomicReads, Hazard::Concurrency)]),
            "atomic-reads under concurrency, kill; no-lost-updates under kill; durability under power-loss"
        );
        assert_eq!(in_words(&[UPDATES, READS]), "atomic-reads, no-lost-updates under kill");
    }
}
