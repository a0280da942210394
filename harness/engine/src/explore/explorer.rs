//! One plan explored: processes started, interleavings searched, histories judged.

use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use tearproof_core::claim::Engine;
use tearproof_core::history::Failure;
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{Lifetime, LockBefore, StateBefore, Via};
use tearproof_core::tally::Tally;
use tearproof_core::verdict::Verdict;

use super::arena::{Arena, ArenaError, Launch};
use super::system::{System, ThreadId};
use super::watchdog::Watchdog;
use crate::process::StateRoot;
use crate::record::{Death, Drain, RawEvent, SharedMemory, Start, assemble, ring_at};
use crate::stress::execution::{Stage, tear_what_came_back};
use crate::stress::{Measured, Surroundings};
use crate::worker::{Control, EXECUTION, Layout, Opener, Specification};

/// How long a client may stay away from the gate.
const HANG: Duration = Duration::from_secs(5);

/// Explores a plan until everything was seen or a limit is reached. What goes wrong on the way is
/// part of the result.
pub fn explore(plan: &Plan, root: &StateRoot, surroundings: &mut Surroundings<'_>) -> Measured {
    let mut exploration = Exploration { tally: Tally::default(), problems: Vec::new(), exhausted: false };
    if let Err(error) = exploration.run(plan, root, surroundings) {
        let error = error.to_string();
        exploration.tally.limit(&error);
        exploration.problems.push(error);
    }
    let mut cells = exploration.tally.cells(plan.hazard, None, None);
    for cell in &mut cells {
        cell.engine = Engine::Explore;
        cell.scope.exhausted = exploration.exhausted;
        cell.scope.operations = Some(plan.scenario.explore.operations.into());
        if cell.verdict == Verdict::NotObserved && exploration.exhausted {
            cell.verdict = Verdict::Verified;
        }
    }
    Measured { cells, problems: exploration.problems, ..Measured::default() }
}

struct Exploration {
    tally: Tally,
    problems: Vec<String>,
    exhausted: bool,
}

impl Exploration {
    fn run(
        &mut self,
        plan: &Plan,
        root: &StateRoot,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), ArenaError> {
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
        let stage = Stage {
            specification: &specification,
            memory: &SharedMemory::create(8).map_err(failed("getting shared memory"))?,
            opener: &opener,
            strategies: &[open(&plan.strategy)?],
            interrupt: surroundings.interrupt,
        };
        stage.make_world(EXECUTION).map_err(|error| ArenaError::Client(error.to_string()))?;
        let json = serde_json::to_vec(&specification).expect("a specification is plain data");
        let layout = Layout {
            processes: specification.processes.len(),
            threads: specification.threads(),
            specification: json.len(),
            ring: 1 << 20,
        };
        let memory = SharedMemory::create(layout.bytes()).map_err(failed("getting shared memory"))?;
        let _ = Control::begin(&memory, layout, &json);
        let cpu = 1;
        let launch = Launch {
            specification: &specification,
            memory: &memory,
            executable: surroundings.executable,
            complaints: std::fs::File::options()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(root.path().join("stderr"))
                .map_err(failed("making a file for messages of the clients"))?,
            interrupt: surroundings.interrupt,
            watchdog: Watchdog::begin(),
            hang: HANG,
            age_of_world_ns: if plan.scenario.before.lock == LockBefore::Expired {
                plan.scenario.stress.lease.as_nanos() as u64 * 5 / 4
            } else {
                0
            },
            cpu: Some(cpu),
        };
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        let _ = rustix::thread::sched_setaffinity(None, &set);
        let state = specification.context(EXECUTION, 0).dir;
        let mut arena = Arena::start(launch, &[state])?;
        let begun = Instant::now();
        // A plain depth-first search.
        let mut stack: Vec<(Vec<ThreadId>, usize)> = Vec::new();
        let mut enabled = Vec::new();
        loop {
            arena.begin()?;
            let mut depth = 0;
            loop {
                arena.enabled(&mut enabled)?;
                if enabled.is_empty() {
                    break;
                }
                if depth == stack.len() {
                    stack.push((enabled.clone(), 0));
                }
                let (choices, at) = &stack[depth];
                assert_eq!(*choices, enabled, "diverged");
                arena.step(choices[*at])?;
                depth += 1;
            }
            stack.truncate(depth);
            self.judge(&mut arena, &stage, &memory, layout, surroundings)?;
            while let Some((choices, at)) = stack.last_mut() {
                *at += 1;
                if *at < choices.len() {
                    break;
                }
                stack.pop();
            }
            if stack.is_empty() {
                self.exhausted = true;
                break;
            }
            if begun.elapsed() > plan.budget {
                break;
            }
        }
        self.problems.extend(arena.escapes().iter().cloned());
        self.problems.push(format!(
            "{} executions in {:?}, {:?} each",
            self.tally.executions(),
            begun.elapsed(),
            begun.elapsed() / self.tally.executions() as u32
        ));
        Ok(())
    }

    fn judge(
        &mut self,
        arena: &mut Arena<'_>,
        stage: &Stage<'_>,
        memory: &SharedMemory,
        layout: Layout,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), ArenaError> {
        let specification = stage.specification;
        let stuck: Vec<u32> = arena.waiting().iter().map(|waiting| arena.client_of(waiting.thread)).collect();
        if stuck.is_empty() {
            arena.run_alone(specification.auditor())?;
        }
        let mut events: Vec<RawEvent> = Vec::new();
        for thread in 0..layout.threads {
            let mut ring = Drain::new(ring_at(memory, layout.ring_start(thread), layout.ring));
            ring.drain(&mut events)
                .map_err(|error| ArenaError::Client(format!("reading what a client recorded: {error}")))?;
        }
        if matches!(specification.plan.scenario.before.state, StateBefore::Empty | StateBefore::Text(_)) {
            tear_what_came_back(&mut events);
        }
        let last = events.iter().map(|event| event.time_ns).max().unwrap_or(0);
        let deaths: Vec<Death> = stuck
            .iter()
            .map(|&client| Death { client, struck_ns: 0, time_ns: last + 1, failure: Failure::TimedOut })
            .collect();
        let start =
            Start { object: specification.plan.scenario.state.object, initial: specification.initial() };
        let mut history = assemble(&mut events, &deaths, start)
            .map_err(|error| ArenaError::Client(format!("putting a history together: {error}")))?;
        if stuck.is_empty() {
            history.aftermath = stage.inspect(EXECUTION);
        }
        let findings = (surroundings.check)(&history)
            .map_err(|error| ArenaError::Client(format!("checking an execution: {error}")))?;
        (surroundings.observe)(&history, &findings);
        self.tally.add(findings, history.events.len() as u64 / 2, 0);
        Ok(())
    }
}

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> ArenaError {
    let what = what.to_owned();
    move |source| ArenaError::Environment { what, source }
}
