//! A stand: the processes of one plan behind their gates, and the world that they play in.

use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::CpuSet;
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{Lifetime, LockBefore, Via};
use tearproof_core::verdict::Findings;

use super::arena::{Arena, ArenaError, Launch, empty};
use super::bench::Bench;
use super::explorer::Replayed;
use super::fates;
use super::open_files::OpenFiles;
use super::search::Trace;
use super::search::schedule::{Replayed as Rerun, replay as rerun};
use super::standard_error::standard_errors;
use super::system::ThreadId;
use super::watchdog::Watchdog;
use super::witness::timeline;
use crate::process::{Nest, StateRoot, Subreaper};
use crate::record::SharedMemory;
use crate::stress::Surroundings;
use crate::stress::execution::Stage;
use crate::worker::{Control, EXECUTION, Layout, Opener, PartKind, Specification, Strategies};

/// How long a client may stay away from the gate.
const HANG: Duration = Duration::from_secs(5);
/// Bytes of each client's ring of events.
const RING: usize = 1 << 20;

/// Everything that stands ready to run executions of one plan.
pub(super) struct Stand<'a, 's> {
    pub bench: Bench<'a, 's>,
    pub arena: Arena<'s>,
}

impl Stand<'_, '_> {
    /// Makes the world, starts the processes, has something done with them, and ends them.
    pub fn with<T>(
        plan: &Plan,
        root: &StateRoot,
        surroundings: &mut Surroundings<'_>,
        work: impl FnOnce(&mut Stand<'_, '_>, &mut Surroundings<'_>) -> Result<T, ArenaError>,
    ) -> Result<T, ArenaError> {
        Self::with_environment(plan, root, &[], surroundings, work)
    }

    /// The same, with something added to the environment of the processes.
    pub fn with_environment<T>(
        plan: &Plan,
        root: &StateRoot,
        environment: &[(&'static str, String)],
        surroundings: &mut Surroundings<'_>,
        work: impl FnOnce(&mut Stand<'_, '_>, &mut Surroundings<'_>) -> Result<T, ArenaError>,
    ) -> Result<T, ArenaError> {
        let strategies = surroundings.strategies;
        let mut specification = specification_of(plan, root.path().to_owned(), strategies);
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
        // There, too, the last execution of the round before may have left something.
        if let Some(other) = &plan.other_dir {
            empty(other).map_err(failed("emptying the directory on another file system"))?;
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
        let drives =
            specification.processes.iter().any(|part| plan.scenario.program(&part.strategy).is_some());
        // Ends when all processes have.
        let _subreaper = drives.then(Subreaper::new);
        let launch = Launch {
            // Without one, what depends on process ids shows as executions that differ.
            nest: drives.then(|| Nest::make(surroundings.executable).ok()).flatten(),
            specification: &specification,
            memory: &memory,
            executable: surroundings.executable,
            complaints,
            interrupt: surroundings.interrupt,
            watchdog: Watchdog::begin(),
            hang: HANG,
            open_files: OpenFiles::raise(),
            age_of_world_ns: if expired { plan.scenario.stress.lease.as_nanos() as u64 * 5 / 4 } else { 0 },
            environment,
        };
        // Children run where their parent does.
        let _pinned = Pinned::begin();
        let roots: Vec<PathBuf> = [Some(state), plan.other_dir.clone()].into_iter().flatten().collect();
        let mut arena = Arena::start(launch, &roots)?;
        let planter = specification.processes.iter().position(|part| part.kind == PartKind::Planter);
        match (planter, &plan.scenario.before.lock) {
            (Some(planter), LockBefore::LiveHolder) => arena.keep_holder(planter),
            (Some(planter), _) => arena.plant(planter)?,
            (None, _) => {}
        }
        let threads = arena.clients();
        let bench = Bench { plan, stage, memory: &memory, layout, threads };
        work(&mut Stand { bench, arena }, surroundings)
    }

    /// Runs a schedule, and tells the execution.
    pub fn replay(
        &mut self,
        schedule: &[ThreadId],
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Replayed, ArenaError> {
        self.arena.tell(true);
        self.arena.reuse_workers(false);
        self.arena.ordain(&fates::of_schedule(self.bench.plan, schedule));
        let mut trace = Trace::default();
        let rerun = rerun(&mut self.arena, schedule, &mut trace)?;
        let diverged = match rerun {
            Rerun::Complete => None,
            Rerun::Diverged(divergence) => Some(divergence.after),
        };
        let deeds = self.arena.deeds().to_vec();
        let mut recount = self.bench.recount(&mut self.arena)?;
        let mut steps = timeline(&trace, &deeds, &recount.events, |thread| self.bench.client_of(thread));
        let roles = self.bench.roles();
        for step in &mut steps {
            step.role = roles.get(&step.client).cloned();
        }
        for step in &mut steps {
            step.what = self.without_pids(&step.what);
        }
        let stderr = standard_errors(self, &roles);
        let mut findings = Findings::new();
        if diverged.is_none() {
            self.bench.findings(&mut recount, &trace, |_| false, &mut findings, surroundings)?;
        }
        Ok(Replayed { findings, steps, stderr, diverged })
    }

    /// A text with letters in the place of process ids, which programs put into names, and which are others each
    /// time.
    pub fn without_pids(&self, text: &str) -> String {
        // A short one could be any number.
        let pids = self.arena.pids().into_iter().filter(|(pid, _)| pid.len() > 3);
        pids.fold(text.to_owned(), |text, (pid, process)| text.replace(&pid, &format!("PID{process}")))
    }
}

/// Who plays in a plan.
pub(super) fn specification_of(plan: &Plan, root: PathBuf, strategies: &dyn Strategies) -> Specification {
    let needs_server = |name: &str| {
        plan.scenario.program(name).is_none()
            && strategies.built_in(name).is_some_and(|strategy| strategy.has_server())
    };
    Specification::new(plan.clone(), root, needs_server)
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
