//! One plan explored: processes started, interleavings searched, histories judged, witnesses found.
//!
//! The search deepens: first one operation of each client, then two, up to the plan's number, so
//! that what breaks with few operations is found with few. In each round every class of executions
//! is run (`dpor`) until nothing is left or the limit is reached; in the second case all
//! schedules within a bound on preemptions are run, bound after bound, and the verdict names the
//! last bound that was exhausted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::thread::CpuSet;
use tearproof_core::claim::Guarantee;
use tearproof_core::history::{Failure, Phase};
use tearproof_core::object::Operation;
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{ClientRole, Lifetime, LockBefore, StateBefore, Via};
use tearproof_core::verdict::{Anomaly, Finding, Findings, Step as Line};

use super::arena::{Arena, ArenaError, Launch};
use super::ledger::{Found, Ledger, Reach};
use super::recount::{Recount, RecountError};
use super::search::schedule::{Replayed as Rerun, replay as rerun};
use super::search::{Continue, End, Limits, Searched, Trace, brute, dpor, preemption};
use super::system::{System, ThreadId};
use super::token::{Token, digest_of};
use super::watchdog::Watchdog;
use super::witness::timeline;
use crate::process::StateRoot;
use crate::record::{Death, Drain, RawEvent, RawPayload, SharedMemory, Start, ring_at};
use crate::stress::execution::{Stage, tear_what_came_back};
use crate::stress::{Measured, Surroundings};
use crate::worker::{Control, EXECUTION, Layout, Opener, PartKind, Specification};

/// How long a client may stay away from the gate.
const HANG: Duration = Duration::from_secs(5);
/// Bytes of each client's ring of events.
const RING: usize = 1 << 20;
/// Clients that change the state, processes or threads, at most; and clients that read.
const WRITERS_MAX: u32 = 2;
const READERS_MAX: u32 = 1;
/// Bounds on preemptions that are tried when a search without bound is too much.
const BOUND_MAX: u32 = 3;
/// Executions that are spent on a witness with fewer preemptions.
const SHORTENING: u64 = 3000;

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
            Ok(reached) => reach = Reach { operations, ..reached },
            Err(error) => {
                let error = error.to_string();
                reach = Reach { doubt: Some(error.clone()), operations, ..Reach::default() };
                problems.push(error);
            }
        }
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
        let state = stand.stage.specification.context(EXECUTION, 0).dir;
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

/// The plan with as many clients as can be explored: [`WRITERS_MAX`] that change the state, of
/// different roles where there are several, and [`READERS_MAX`] that read. Readers over HTTP stay
/// away: their server's runtime is not under control.
fn scaled(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    let roles = &mut plan.scenario.clients;
    roles.retain(|role| role.via == Via::File);
    let changes = |role: &ClientRole| role.does.iter().any(|(operation, _)| *operation != Operation::Read);
    let writing = roles.iter().filter(|role| changes(role)).count() as u32;
    let (mut writers, mut readers) = (WRITERS_MAX, READERS_MAX);
    for role in roles.iter_mut() {
        role.rate = None;
        role.lifetime = Lifetime::Session;
        if changes(role) {
            let share = (WRITERS_MAX / writing.max(1)).max(1).min(writers);
            role.threads = role.threads.min(share);
            role.count = role.count.min(share / role.threads.max(1));
            writers -= role.count * role.threads;
        } else {
            role.threads = 1;
            role.count = role.count.min(readers);
            readers -= role.count;
        }
    }
    roles.retain(|role| role.count > 0 && role.threads > 0);
    plan
}

/// Everything that stands ready to run executions of one plan.
struct Stand<'a, 's> {
    plan: &'a Plan,
    stage: Stage<'a>,
    memory: &'s SharedMemory,
    layout: Layout,
    arena: Arena<'s>,
    threads: BTreeMap<u32, ThreadId>,
}

impl Stand<'_, '_> {
    /// Makes the world, starts the processes, has something done with them, and ends them.
    fn with<T>(
        plan: &Plan,
        root: &StateRoot,
        surroundings: &mut Surroundings<'_>,
        work: impl FnOnce(&mut Stand<'_, '_>, &mut Surroundings<'_>) -> Result<T, ArenaError>,
    ) -> Result<T, ArenaError> {
        let strategies = surroundings.strategies;
        let needs_server = |name: &str| {
            plan.scenario.program(name).is_none()
                && strategies.built_in(name).is_some_and(|strategy| strategy.has_server())
        };
        let mut specification = Specification::new(plan.clone(), root.path().to_owned(), needs_server);
        specification.gated = true;
        let open = |name: &str| {
            Opener::new(&specification, strategies, name, Via::File, Lifetime::Session)
                .ok_or_else(|| ArenaError::Client(format!("there is no strategy `{name}`")))
        };
        let opener = open(&plan.strategy)?;
        let mut names: Vec<&str> =
            specification.processes.iter().map(|part| part.strategy.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let all = names.into_iter().map(open).collect::<Result<Vec<Opener>, ArenaError>>()?;
        let json = serde_json::to_vec(&specification).expect("a specification is plain data");
        let layout = Layout {
            processes: specification.processes.len(),
            threads: specification.threads(),
            specification: json.len(),
            ring: RING,
        };
        let memory = SharedMemory::create(layout.bytes()).map_err(failed("getting shared memory"))?;
        let _ = Control::begin(&memory, layout, &json);
        let stage = Stage {
            specification: &specification,
            memory: &memory,
            opener: &opener,
            strategies: &all,
            interrupt: surroundings.interrupt,
        };
        let state = specification.context(EXECUTION, 0).dir;
        if state.exists() {
            std::fs::remove_dir_all(&state).map_err(failed("removing the state directory of a round"))?;
        }
        stage.make_world(EXECUTION).map_err(|error| ArenaError::Client(error.to_string()))?;
        let complaints = std::fs::File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(root.path().join("stderr"))
            .map_err(failed("making a file for messages of the clients"))?;
        let expired = plan.scenario.before.lock == LockBefore::Expired;
        let launch = Launch {
            specification: &specification,
            memory: &memory,
            executable: surroundings.executable,
            complaints,
            interrupt: surroundings.interrupt,
            watchdog: Watchdog::begin(),
            hang: HANG,
            age_of_world_ns: if expired { plan.scenario.stress.lease.as_nanos() as u64 * 5 / 4 } else { 0 },
        };
        // Children run where their parent does.
        let _pinned = Pinned::begin();
        let roots: Vec<PathBuf> = [Some(state), plan.other_dir.clone()].into_iter().flatten().collect();
        let mut arena = Arena::start(launch, &roots)?;
        let planter = specification.processes.iter().position(|part| part.kind == PartKind::Planter);
        match (planter, &plan.scenario.before.lock) {
            (Some(_), LockBefore::LiveHolder) => {
                return Err(ArenaError::Client("a holder that lives is not explored yet".to_owned()));
            }
            (Some(planter), _) => arena.plant(planter)?,
            (None, _) => {}
        }
        let threads = arena.clients();
        work(&mut Stand { plan, stage, memory: &memory, layout, arena, threads }, surroundings)
    }

    fn search(
        &mut self,
        ledger: &mut Ledger,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Reach, ArenaError> {
        let explore = &self.plan.scenario.explore;
        let begun = Instant::now();
        let deadline = |share: u32| Some(begun + self.plan.budget / 4 * share);
        let mut reach = Reach::default();
        let (plan, memory, layout, threads) = (self.plan, self.memory, self.layout, &self.threads);
        let stage = &self.stage;
        let stop = surroundings.stop_at_violation;
        let mut observe = |arena: &mut Arena<'_>, trace: &Trace| -> Result<Continue, ArenaError> {
            let bench = Bench { plan, stage, memory, layout, threads };
            bench.judge(arena, trace, ledger, surroundings)?;
            let over = stop && ledger.found().next().is_some();
            Ok(if over || ledger.all_broken() { Continue::Stop } else { Continue::Yes })
        };
        let mut first_bound = 0;
        if explore.preemptions.is_none() {
            let limits = Limits { executions: explore.executions, deadline: deadline(3) };
            let searched = dpor::search(&mut self.arena, limits, &mut observe)?;
            match searched.end {
                End::Exhausted => reach.exhausted = true,
                End::Stopped => {}
                End::Executions(most) => reach.limit = Some(format!("{most} executions were run")),
                End::Time => reach.limit = Some("the time was over".to_owned()),
                End::Diverged(divergence) => {
                    reach.doubt = Some(format!(
                        "the clients are not under control: step {} of an execution was another one when it was \
                         run again",
                        divergence.after + 1
                    ));
                }
            }
            first_bound = 1;
        }
        let most = explore.preemptions.unwrap_or(BOUND_MAX);
        let unfinished = !reach.exhausted && reach.doubt.is_none() && !ledger_done(&reach);
        if unfinished {
            for bound in first_bound.min(most)..=most {
                let limits = Limits { executions: explore.executions, deadline: deadline(4) };
                let searched = preemption::search(&mut self.arena, bound, limits, &mut observe)?;
                if searched.end != End::Exhausted {
                    break;
                }
                reach.preemptions = Some(bound);
                reach.exhausted = true;
            }
        }
        if let Some(escape) = self.arena.escapes().first() {
            reach.doubt = Some(escape.clone());
        }
        Ok(reach)
    }

    fn replay(
        &mut self,
        schedule: &[ThreadId],
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Replayed, ArenaError> {
        self.arena.tell(true);
        let mut trace = Trace::default();
        let rerun = rerun(&mut self.arena, schedule, &mut trace)?;
        let diverged = match rerun {
            Rerun::Complete => None,
            Rerun::Diverged(divergence) => Some(divergence.after),
        };
        let deeds = self.arena.deeds().to_vec();
        let bench = Bench {
            plan: self.plan,
            stage: &self.stage,
            memory: self.memory,
            layout: self.layout,
            threads: &self.threads,
        };
        let mut recount = bench.recount(&mut self.arena)?;
        let clients = &self.threads;
        let client_of = |thread: ThreadId| {
            clients.iter().find(|(_, known)| **known == thread).map_or(0, |(client, _)| *client)
        };
        let mut steps = timeline(&trace, &deeds, &recount.events, client_of);
        // Process ids, which programs put into names, are others each time.
        // A short one could be any number.
        for (pid, process) in self.arena.pids().into_iter().filter(|(pid, _)| pid.len() > 3) {
            for step in &mut steps {
                step.what = step.what.replace(&pid, &format!("PID{process}"));
            }
        }
        let mut findings = Findings::new();
        if diverged.is_none() {
            bench.findings(&mut recount, &trace, |_| false, &mut findings, surroundings)?;
        }
        Ok(Replayed { findings, steps, diverged })
    }
}

const fn ledger_done(reach: &Reach) -> bool {
    // Stopped by the observer: nothing is left that could be learnt.
    reach.limit.is_none()
}

/// What is needed to judge an execution.
struct Bench<'b> {
    plan: &'b Plan,
    stage: &'b Stage<'b>,
    memory: &'b SharedMemory,
    layout: Layout,
    threads: &'b BTreeMap<u32, ThreadId>,
}

impl Bench<'_> {
    /// Collects what was recorded in the execution that has just been completed, and has the
    /// auditor look at what is there.
    fn recount(&self, arena: &mut Arena<'_>) -> Result<Recount, ArenaError> {
        let specification = self.stage.specification;
        let stuck: Vec<u32> = arena
            .waiting()
            .iter()
            .map(|waiting| arena.client_of(waiting.thread))
            .filter(|client| *client > 0)
            .collect();
        let audit_from = arena.end_of_play();
        if stuck.is_empty() {
            arena.run_alone(specification.auditor())?;
        }
        let mut events: Vec<RawEvent> = Vec::new();
        for thread in 0..self.layout.threads {
            let mut ring = Drain::new(ring_at(self.memory, self.layout.ring_start(thread), self.layout.ring));
            ring.drain(&mut events)
                .map_err(|error| ArenaError::Client(format!("reading what a client recorded: {error}")))?;
        }
        if matches!(self.plan.scenario.before.state, StateBefore::Empty | StateBefore::Text(_)) {
            tear_what_came_back(&mut events);
        }
        let last = events.iter().map(|event| event.time_ns).max().unwrap_or(0);
        let death =
            |&client: &u32| Death { client, struck_ns: 0, time_ns: last + 1, failure: Failure::TimedOut };
        let deaths: Vec<Death> = stuck.iter().map(death).collect();
        let start = Start { object: self.plan.scenario.state.object, initial: specification.initial() };
        let aftermath = if stuck.is_empty() { self.stage.inspect(EXECUTION) } else { Default::default() };
        Ok(Recount { events, deaths, start, aftermath, audit_from })
    }

    /// Judges every history of an execution; for each guarantee the worst finding counts.
    fn findings(
        &self,
        recount: &mut Recount,
        trace: &Trace,
        known: impl FnMut(u64) -> bool,
        findings: &mut Findings,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), ArenaError> {
        let thread_of = |client: u32| self.threads.get(&client).copied();
        recount.tell::<(), ArenaError>(trace, thread_of, known, |history| {
            let found = (surroundings.check)(&history)
                .map_err(|error| ArenaError::Client(format!("checking an execution: {error}")))?;
            (surroundings.observe)(&history, &found);
            for (guarantee, finding) in found {
                worsen(findings, guarantee, finding);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }

    fn judge(
        &self,
        arena: &mut Arena<'_>,
        trace: &Trace,
        ledger: &mut Ledger,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), ArenaError> {
        let mut recount = self.recount(arena)?;
        for event in recount.events.iter().filter(|event| event.phase != Phase::Invoke) {
            match &event.payload {
                RawPayload::Failed(_, message) => ledger.attempt(event.operation, Some(message)),
                _ => ledger.attempt(event.operation, None),
            }
        }
        for pending in &recount.deaths {
            let invoked = recount.events.iter().rev().find(|event| event.client == pending.client);
            if let Some(event) = invoked {
                ledger.attempt(event.operation, Some("it waits for ever"));
            }
        }
        let mut signature = 0;
        let mut counted = false;
        let mut findings = Findings::new();
        let known = |digest: u64| {
            signature = digest;
            counted = ledger.count_again(digest);
            counted
        };
        self.findings(&mut recount, trace, known, &mut findings, surroundings)?;
        if !counted {
            ledger.add(signature, findings, &trace.schedule(), self.plan.scenario.explore.operations);
        }
        Ok(())
    }
}

/// Keeps the worse of two findings.
fn worsen(findings: &mut Findings, guarantee: Guarantee, finding: Finding) {
    let rank = |finding: &Finding| match finding {
        Finding::NotApplicable => 0,
        Finding::Holds => 1,
        Finding::Inconclusive(_) => 2,
        Finding::Violated(_) => 3,
    };
    match findings.iter_mut().find(|(known, _)| *known == guarantee) {
        Some((_, Finding::Violated(kept))) => {
            if let Finding::Violated(more) = finding {
                for anomaly in more {
                    if !kept.iter().any(|known| known.kind == anomaly.kind) {
                        kept.push(anomaly);
                    }
                }
            }
        }
        Some((_, known)) if rank(&finding) > rank(known) => *known = finding,
        Some(_) => {}
        None => findings.push((guarantee, finding)),
    }
}

/// Gives every anomaly a witness with as few preemptions as can be found, told step by step.
fn witnesses(
    plan: &Plan,
    root: &StateRoot,
    surroundings: &mut Surroundings<'_>,
    ledger: &mut Ledger,
) -> Result<(), ArenaError> {
    let definition = digest_of(&plan.scenario);
    let mut by_operations: BTreeMap<u32, Vec<&mut Found>> = BTreeMap::new();
    for found in ledger.found() {
        by_operations.entry(found.operations).or_default().push(found);
    }
    for (operations, mut all) in by_operations {
        let mut round = plan.clone();
        round.scenario.explore.operations = operations;
        Stand::with(&round, root, surroundings, |stand, surroundings| {
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

fn anomalies(findings: &Findings) -> impl Iterator<Item = &Anomaly> {
    findings.iter().flat_map(|(_, finding)| match finding {
        Finding::Violated(anomalies) => anomalies.as_slice(),
        _ => &[],
    })
}

impl Stand<'_, '_> {
    /// Looks for the same anomalies in executions with fewer preemptions.
    fn shorten(
        &mut self,
        all: &mut [&mut Found],
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), ArenaError> {
        let mut open: Vec<usize> = (0..all.len()).collect();
        let (plan, stage, memory, layout, threads) =
            (self.plan, &self.stage, self.memory, self.layout, &self.threads);
        for bound in 0..=BOUND_MAX {
            let limits = Limits { executions: SHORTENING, deadline: None };
            preemption::search(&mut self.arena, bound, limits, |arena, trace| {
                let bench = Bench { plan, stage, memory, layout, threads };
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

impl From<RecountError> for ArenaError {
    fn from(error: RecountError) -> Self {
        Self::Client(error.to_string())
    }
}

/// Has this thread, and so the clients that it starts, run on one processor: a hand-over between two
/// costs many times as much.
struct Pinned {
    before: CpuSet,
}

impl Pinned {
    fn begin() -> Option<Self> {
        let before = rustix::thread::sched_getaffinity(None).ok()?;
        let cpu = (0..CpuSet::MAX_CPU).rev().find(|&cpu| before.is_set(cpu))?;
        let mut one = CpuSet::new();
        one.set(cpu);
        rustix::thread::sched_setaffinity(None, &one).ok()?;
        Some(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // What was allowed before is allowed now.
        let _ = rustix::thread::sched_setaffinity(None, &self.before);
    }
}

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> ArenaError {
    let what = what.to_owned();
    move |source| ArenaError::Environment { what, source }
}
