//! The stress engine: real processes that run freely against each other, in a closed loop or at a
//! fixed rate, while the environment kills or pauses them.
//!
//! A run is a sequence of short executions. Each has a state directory of its own, starts all
//! clients in the same instant, ends with an audit by a process that took no part, and is checked
//! as a whole. The processes live through all executions of a plan, so that an execution costs
//! little and the instant at which the clients meet, which races need most, comes often.
//!
//! What it finds is real; what it does not find may still be there: the best verdict is
//! `not-observed`.

pub(crate) mod execution;
mod hazard;
mod measure;
mod probe;
mod session;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tearproof_core::claim::{Guarantee, Hazard};
use tearproof_core::history::{History, MalformedHistory};
use tearproof_core::object::{Object, Operation};
use tearproof_core::plan::Plan;
use tearproof_core::run::{Cell, ErrorCount, Latency, TornReads};
use tearproof_core::scenario::{Lifetime, Via};
use tearproof_core::tally::Tally;
use tearproof_core::verdict::Findings;

pub use session::Trouble;

use crate::process::{Executable, Interrupt, StateRoot};
use crate::worker::{Opener, Specification, Strategies};
use execution::Stage;
use measure::Measurements;
use probe::Probe;
use session::Session;

/// The first execution is this short, so that the first verdict comes soon; the next ones double
/// up to the plan's limit.
const FIRST_EXECUTION: Duration = Duration::from_millis(8);

/// By how much the budget is overdrawn, at most, while every execution so far had to be set aside.
const PATIENCE: u32 = 4;

/// How long is spent at least while the executions so far are no evidence of something, and after how
/// many of them the next one will be none either. In a short look at many strategies a budget is less
/// than it may take until, say, one read was not struck by a kill.
const EVIDENCE_TAKES: Duration = Duration::from_secs(5);
const FRUITLESS: u64 = 8;

/// What the engine is given beside the plan.
pub struct Surroundings<'a> {
    /// How this binary is run again.
    pub executable: &'a Executable,
    /// The strategies.
    pub strategies: &'a dyn Strategies,
    /// The checker.
    pub check: &'a dyn Fn(&History) -> Result<Findings, MalformedHistory>,
    /// Called after each execution with its history and findings.
    pub observe: &'a mut dyn FnMut(&History, &Findings),
    /// Whether to stop.
    pub interrupt: &'a Interrupt,
    /// Whether to stop at the first violation.
    pub stop_at_violation: bool,
}

/// What a plan brought.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// One cell a guarantee.
    pub cells: Vec<Cell>,
    /// Latency by operation.
    pub latency: BTreeMap<Operation, Latency>,
    /// Completed operations a second.
    pub throughput_per_s: BTreeMap<Operation, f64>,
    /// Torn reads among all reads.
    pub torn_reads: Option<TornReads>,
    /// Messages of failed operations.
    pub errors: Vec<ErrorCount>,
    /// What went wrong in the harness's own house.
    pub problems: Vec<String>,
    /// Why the user's program could not be started, if so: it cannot be under another hazard either.
    pub unusable: Option<String>,
}

impl Measured {
    /// What a plan brings whose program was found to be unusable before: nothing, for that reason.
    pub fn unusable(plan: &Plan, reason: &str) -> Self {
        let mut tally = Tally::default();
        tally.limit(reason);
        let cells = judged(plan, tally.cells(plan.hazard, None, None));
        Self { cells, unusable: Some(reason.to_owned()), ..Self::default() }
    }
}

/// Runs a plan until its budget is spent. What goes wrong on the way is part of the result: nothing
/// that was measured before is lost.
pub fn run(plan: &Plan, root: &StateRoot, surroundings: &mut Surroundings<'_>) -> Measured {
    let mut state = State::default();
    let outcome = state.run(plan, root, surroundings);
    let unusable = match &outcome {
        Err(Trouble::Program(reason)) => Some(reason.clone()),
        _ => None,
    };
    if let Err(trouble) = outcome {
        let trouble = trouble.to_string();
        state.tally.limit(&trouble);
        state.problems.push(trouble);
    }
    if state.set_aside > 0 {
        let said = format!(
            "{} set aside: the machine kept a client from running for up to {:?}, and leases are {:?}",
            match state.set_aside {
                1 => "1 execution was".to_owned(),
                many => format!("{many} executions were"),
            },
            state.longest_stall,
            plan.scenario.stress.lease
        );
        if state.tally.executions() == 0 {
            state.tally.limit(&said);
        }
        state.problems.push(said);
    }
    if let Some(said) = state.measurements.as_ref().and_then(Measurements::fruitless) {
        state.tally.limit(&said);
        state.problems.push(said);
    }
    let kills = (plan.hazard == Hazard::Kill).then_some(state.kills);
    let pauses = (plan.hazard == Hazard::Pause).then_some(state.pauses);
    let mut measured = Measured {
        cells: judged(plan, state.tally.cells(plan.hazard, kills, pauses)),
        problems: state.problems,
        unusable,
        ..Measured::default()
    };
    if let Some(measurements) = state.measurements {
        measured.latency = measurements.latency();
        measured.throughput_per_s = measurements.throughput_per_s();
        measured.torn_reads = measurements.torn_reads();
        measured.errors = measurements.errors();
    }
    measured
}

/// The cells that this engine can fill for this object: a limit concerns no others.
fn judged(plan: &Plan, mut cells: Vec<Cell>) -> Vec<Cell> {
    cells.retain(|cell| judges(cell.guarantee, plan.scenario.state.object, plan.hazard));
    cells
}

/// Whether executions of this engine can say anything of a guarantee.
fn judges(guarantee: Guarantee, object: Object, hazard: Hazard) -> bool {
    match guarantee {
        Guarantee::AtomicReads | Guarantee::Linearizable => object != Object::Lock,
        Guarantee::NoLostUpdates => matches!(object, Object::Set | Object::Log),
        Guarantee::MutualExclusion => object == Object::Lock,
        Guarantee::Progress | Guarantee::NoResidue => true,
        // The probes that look at it come before the first race.
        Guarantee::MetadataKept => object != Object::Lock && hazard == Hazard::Concurrency,
        Guarantee::Durability | Guarantee::ErrorsReported => false,
    }
}

#[derive(Default)]
struct State {
    tally: Tally,
    /// Executions in which the machine stalled for so long that leases ran out by themselves.
    set_aside: u64,
    longest_stall: Duration,
    kills: u64,
    pauses: u64,
    measurements: Option<Measurements>,
    problems: Vec<String>,
}

impl State {
    fn run(
        &mut self,
        plan: &Plan,
        root: &StateRoot,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), Trouble> {
        let needs_server = |name: &str| {
            plan.scenario.program(name).is_none()
                && surroundings.strategies.built_in(name).is_some_and(|strategy| strategy.has_server())
        };
        let specification = Specification::new(plan.clone(), root.path().to_owned(), needs_server);
        let open = |name: &str| {
            Opener::new(&specification, surroundings.strategies, name, Via::File, Lifetime::Session)
                .ok_or_else(|| Trouble::Processes(format!("there is no strategy `{name}`")))
        };
        let opener = open(&plan.strategy)?;
        let mut names: Vec<&str> =
            specification.processes.iter().map(|part| part.strategy.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let strategies = names.into_iter().map(open).collect::<Result<Vec<Opener>, Trouble>>()?;
        let (memory, layout, json) = Session::memory(&specification)?;
        let mut session = Session::start(&specification, &memory, layout, &json, surroundings.executable)?;
        let stage = Stage {
            specification: &specification,
            memory: &memory,
            opener: &opener,
            strategies: &strategies,
            interrupt: surroundings.interrupt,
        };
        let outcome = self.executions(plan, &stage, &mut session, surroundings);
        self.problems.extend(session.problems().iter().cloned());
        outcome
    }

    fn executions(
        &mut self,
        plan: &Plan,
        stage: &Stage<'_>,
        session: &mut Session<'_>,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), Trouble> {
        let limits = &plan.scenario.stress;
        // A pause longer than the execution would show nothing.
        let longest = match plan.hazard {
            Hazard::Pause => limits.execution.max(limits.pause * 3),
            _ => limits.execution,
        };
        let mut length = match plan.hazard {
            Hazard::Pause => longest,
            _ => FIRST_EXECUTION.min(longest),
        };
        let begun = Instant::now();
        let mut first_go: Option<u64> = None;
        let mut first = 1;
        if plan.hazard == Hazard::Concurrency && plan.scenario.state.object != Object::Lock {
            for probe in Probe::ALL {
                if let Some(executed) = stage.probe(session, first, probe)? {
                    self.judge(&executed.history, 0, surroundings)?;
                }
                first += 1;
            }
        }
        for execution in first.. {
            let started = Instant::now();
            let executed = stage.execute(session, execution, length)?;
            let first_go = *first_go.get_or_insert(executed.go_ns);
            self.kills += executed.kills;
            self.pauses += executed.pauses;
            let measurements = self.measurements.get_or_insert_with(|| {
                Measurements::since(first_go + limits.warm_up.min(plan.budget / 10).as_nanos() as u64)
            });
            measurements.add(&executed.events, executed.go_ns, executed.audit_ns, plan.hazard);
            if stage.specification.judges_leases() && executed.stalled >= stage.specification.bearable_stall()
            {
                self.set_aside += 1;
                self.longest_stall = self.longest_stall.max(executed.stalled);
            } else {
                self.judge(&executed.history, (executed.go_ns - first_go) / 1_000_000, surroundings)?;
            }
            let enough = surroundings.stop_at_violation && self.tally.any_violation();
            // Half of another one like this is what the budget may be overdrawn by, on average not at all.
            let spent = begun.elapsed() + started.elapsed() / 2;
            let limit = match self.tally.executions() {
                0 => plan.budget.saturating_mul(PATIENCE).max(EVIDENCE_TAKES),
                executions if executions < FRUITLESS && self.lacks_evidence() => {
                    plan.budget.max(EVIDENCE_TAKES)
                }
                _ => plan.budget,
            };
            if enough || spent >= limit || surroundings.interrupt.raised() {
                break;
            }
            length = (length * 2).min(longest);
        }
        Ok(())
    }

    /// Whether there is something of which nothing so far could have shown a breach.
    fn lacks_evidence(&self) -> bool {
        let fruitless = || self.measurements.as_ref().is_some_and(|all| all.fruitless().is_some());
        self.tally.lacks_evidence() || fruitless()
    }

    fn judge(
        &mut self,
        history: &History,
        after_ms: u64,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), Trouble> {
        let mut findings = (surroundings.check)(history)
            .map_err(|error| Trouble::Processes(format!("checking an execution: {error}")))?;
        if history.aftermath.probed {
            // With nobody else there, only what became of the metadata says anything.
            findings.retain(|(guarantee, _)| *guarantee == Guarantee::MetadataKept);
        }
        (surroundings.observe)(history, &findings);
        self.tally.add(findings, history, after_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tearproof_core::scenario::{Before, ExploreLimits, LockBefore, Require, Scenario, StateBefore};
    use tearproof_core::scenario::{StateFile, StressLimits};
    use tearproof_core::verdict::Verdict;

    fn plan(object: Object, hazard: Hazard) -> Plan {
        let state = StateFile {
            file: "index.json".to_owned(),
            format: tearproof_core::document::Format::Json,
            object,
            size: 400,
            grow: 0,
            opaque: false,
        };
        Plan {
            scenario: Scenario {
                name: "index".to_owned(),
                summary: String::new(),
                source: String::new(),
                strategies: vec!["mine".to_owned()],
                state,
                clients: Vec::new(),
                programs: Vec::new(),
                before: Before { state: StateBefore::Present, lock: LockBefore::None },
                require: Require { guarantees: Vec::new(), hazards: Vec::new() },
                stress: StressLimits::default(),
                explore: ExploreLimits::default(),
            },
            strategy: "mine".to_owned(),
            hazard,
            seed: 0,
            budget: Duration::ZERO,
            base: std::path::PathBuf::new(),
            other_dir: None,
        }
    }

    #[test]
    fn a_program_that_cannot_be_used_leaves_only_the_cells_that_its_object_has() {
        let measured = Measured::unusable(&plan(Object::Set, Hazard::Kill), "it did not greet");
        let of: Vec<Guarantee> = measured.cells.iter().map(|cell| cell.guarantee).collect();
        assert!(of.contains(&Guarantee::NoLostUpdates) && of.contains(&Guarantee::AtomicReads), "{of:?}");
        for foreign in [Guarantee::MutualExclusion, Guarantee::Durability, Guarantee::MetadataKept] {
            assert!(!of.contains(&foreign), "{foreign} says nothing of a set that clients are killed on");
        }
        let limit = Some("it did not greet".to_owned());
        assert!(measured.cells.iter().all(|c| c.verdict == Verdict::Inconclusive && c.scope.limit == limit));
        let lock = Measured::unusable(&plan(Object::Lock, Hazard::Concurrency), "no");
        assert!(lock.cells.iter().any(|cell| cell.guarantee == Guarantee::MutualExclusion));
    }
}
