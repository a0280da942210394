//! Runs for tests: made up, but of the size and shape that real ones have.

use std::collections::BTreeMap;

use tearproof_core::claim::{AnomalyKind, Claim, Engine, Guarantee, Hazard};
use tearproof_core::object::Operation;
use tearproof_core::run::{
    Cell, ErrorCount, Host, Latency, Origin, Run, ScenarioRun, StrategyRun, Tool, TornReads,
};
use tearproof_core::verdict::{Anomaly, Scope, Step, Verdict, Witness};

pub const HAZARDS: [Hazard; 3] = [Hazard::Concurrency, Hazard::Pause, Hazard::Kill];

pub fn run(scenarios: Vec<ScenarioRun>) -> Run {
    Run {
        format: Run::FORMAT,
        tool: Tool { name: "tearproof".to_owned(), version: "0.1.0".to_owned() },
        host: Host {
            kernel: "6.18.0".to_owned(),
            cpus: 2,
            filesystem: "ext4".to_owned(),
            directories: Vec::new(),
            arch: "x86_64".to_owned(),
        },
        seed: 7,
        options: Vec::new(),
        started: "2026-11-21T04:13:12Z".to_owned(),
        elapsed_ms: 61_200,
        interrupted: false,
        kept: Vec::new(),
        scenarios,
    }
}

pub fn scenario(name: &str, requires: Vec<Claim>, strategies: Vec<StrategyRun>) -> ScenarioRun {
    ScenarioRun {
        name: name.to_owned(),
        summary: "three agents register themselves in one index in the same instant".to_owned(),
        source: "the index.json fix".to_owned(),
        requires,
        requires_default: false,
        filesystem: "ext4".to_owned(),
        directory: String::new(),
        definition: None,
        strategies,
    }
}

/// Claims of every guarantee under every hazard.
pub fn claims(guarantees: &[Guarantee], hazards: &[Hazard]) -> Vec<Claim> {
    guarantees.iter().flat_map(|&g| hazards.iter().map(move |&h| Claim::new(g, h))).collect()
}

/// A strategy that was not seen to break anything.
pub fn strategy(name: &str, looked_at: &[Claim], claims: &[Claim]) -> StrategyRun {
    let verdicts = looked_at.iter().map(|&claim| cell(claim, claims.contains(&claim))).collect();
    let latency = |p50_ns: u64| Latency {
        count: 48_211,
        min_ns: p50_ns / 2,
        p50_ns,
        p90_ns: p50_ns * 2,
        p99_ns: p50_ns * 9,
        p99_9_ns: p50_ns * 20,
        max_ns: p50_ns * 71,
        mean_ns: p50_ns as f64 * 1.25,
    };
    StrategyRun {
        name: name.to_owned(),
        origin: Origin::BuiltIn,
        broken: false,
        claims: claims.to_vec(),
        verdicts,
        latency: BTreeMap::from([(Operation::Read, latency(6_120)), (Operation::Update, latency(41_300))]),
        throughput_per_s: BTreeMap::from([(Operation::Read, 151_320.4), (Operation::Update, 23_100.7)]),
        torn_reads: Some(TornReads {
            reads: 1_513_204,
            torn: 0,
            writes: 231_007,
            elapsed_ns: 10_000_000_000,
        }),
        errors: Vec::new(),
        problems: Vec::new(),
    }
}

pub fn cell(claim: Claim, claimed: bool) -> Cell {
    Cell {
        guarantee: claim.guarantee,
        hazard: claim.hazard,
        engine: Engine::Stress,
        verdict: Verdict::NotObserved,
        claimed,
        scope: Scope { executions: 41, operations: Some(174_420), ..Scope::default() },
        anomalies: Vec::new(),
    }
}

/// Replaces the verdict of a cell.
pub fn set(strategy: &mut StrategyRun, guarantee: Guarantee, hazard: Hazard, verdict: Verdict) -> &mut Cell {
    let mut cells = strategy.verdicts.iter_mut();
    let cell = cells
        .find(|cell| cell.guarantee == guarantee && cell.hazard == hazard)
        .expect("the strategy was looked at in this respect");
    cell.verdict = verdict;
    match verdict {
        Verdict::Inconclusive => cell.scope.limit = Some("the budget of 2 s ended".to_owned()),
        Verdict::Verified => cell.scope.exhausted = true,
        _ => {}
    }
    cell
}

/// Breaks a strategy under the hazards.
pub fn breaks(mut strategy: StrategyRun, kind: AnomalyKind, count: u64, hazards: &[Hazard]) -> StrategyRun {
    for &hazard in hazards {
        set(&mut strategy, kind.breaches(), hazard, Verdict::Violated).anomalies.push(anomaly(kind, count));
    }
    if kind == AnomalyKind::TornRead {
        let torn = strategy.torn_reads.as_mut().expect("the sample has reads");
        torn.torn = count;
    }
    strategy
}

fn anomaly(kind: AnomalyKind, count: u64) -> Anomaly {
    let (explanation, last) = match kind {
        AnomalyKind::TornRead => (
            "Client 3 read 0 bytes. The state file existed all the time and was never empty, so no value \
             that anybody wrote reads like this: the read fell into write c1#17, which had truncated the file \
             and not yet filled it.",
            "read returned 0 bytes (empty)",
        ),
        _ => (
            "Client 1 was told that its update e-1-4 had succeeded, and client 3 began to read after that; yet \
             the set that it read has 41 elements and e-1-4 is not among them. Update e-2-9 of client 2, \
             which began before e-1-4 was acknowledged and ended after it, wrote back the state from before it.",
            "read returned 41 elements without e-1-4",
        ),
    };
    let mut steps: Vec<Step> = (0..9)
        .map(|at: u32| Step {
            time_ns: u64::from(at) * 7_300,
            client: 1 + at % 3,
            role: None,
            what: format!("update e-{}-{at} invoked", 1 + at % 3),
            mark: None,
            source: None,
        })
        .collect();
    steps[6].mark = Some(1);
    steps.push(Step {
        time_ns: 71_200,
        client: 3,
        role: None,
        what: last.to_owned(),
        mark: Some(2),
        source: None,
    });
    Anomaly {
        kind,
        count,
        first_after_ms: Some(3),
        by_kind: if kind == AnomalyKind::TornRead {
            BTreeMap::from([("empty".to_owned(), count - 1), ("partial".to_owned(), 1)])
        } else {
            BTreeMap::new()
        },
        witness: Witness { explanation: explanation.to_owned(), steps, replay: None, stderr: Vec::new() },
    }
}

/// The scenario `index` with one strategy for each thing that can become of one.
pub fn index() -> ScenarioRun {
    use Guarantee::{AtomicReads, Linearizable, MetadataKept, NoLostUpdates, NoResidue, Progress};
    let all = [AtomicReads, NoLostUpdates, Linearizable, Progress, NoResidue, MetadataKept];
    let looked = claims(&all, &HAZARDS);
    let required = claims(&[AtomicReads, NoLostUpdates], &[Hazard::Concurrency, Hazard::Kill]);

    let truncate = strategy("in-place-truncate", &looked, &claims(&[MetadataKept], &HAZARDS));
    let truncate = breaks(truncate, AnomalyKind::TornRead, 40_321, &[Hazard::Concurrency, Hazard::Kill]);
    let mut truncate = breaks(truncate, AnomalyKind::LostUpdate, 812, &HAZARDS);
    truncate.errors.push(ErrorCount {
        operation: Operation::Update,
        hazard: Hazard::Concurrency,
        message: "read: Expecting value: line 1 column 1 (char 0)".to_owned(),
        count: 312,
    });

    let rename = strategy("temp-rename", &looked, &claims(&[AtomicReads], &HAZARDS));
    let mut rename = breaks(rename, AnomalyKind::LostUpdate, 1_204, &[Hazard::Concurrency, Hazard::Pause]);
    set(&mut rename, NoResidue, Hazard::Concurrency, Verdict::NotApplicable);

    let sibling = strategy("flock-sibling", &looked, &looked);
    let mut sqlite = strategy("sqlite-wal", &looked, &claims(&all, &HAZARDS));
    sqlite.claims.push(Claim::new(Guarantee::Durability, Hazard::PowerLoss));
    set(&mut sqlite, AtomicReads, Hazard::Concurrency, Verdict::Verified);

    let coordinator = strategy("coordinator", &looked, &looked);
    let mut coordinator = coordinator;
    set(&mut coordinator, NoLostUpdates, Hazard::Kill, Verdict::Inconclusive);
    coordinator.problems.push("the server did not come back within 5 s after it was killed".to_owned());

    let cas = strategy("cas-versioned-link", &looked, &claims(&[NoLostUpdates], &HAZARDS));
    let cas = breaks(cas, AnomalyKind::LostUpdate, 3, &[Hazard::Kill]);

    let mut suspect = strategy("temp-rename-shared", &looked, &[]);
    suspect.broken = true;
    truncate.broken = true;
    scenario("index", required, vec![truncate, rename, sibling, sqlite, coordinator, cas, suspect])
}
