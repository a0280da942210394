//! The worker: the hidden role in which this binary runs as a client, a server or the auditor.
//!
//! The shared memory is its standard input, the event descriptor by which it says that a step is
//! done its standard output. It follows the steps of one execution after the other until its
//! supervisor dies, which kills it too.

mod client;
mod control;
mod gated;
mod nursery;
mod specification;
mod thrift;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};

use tearproof_core::scenario::{Lifetime, Program, ProgramForm, Via};
use tearproof_core::strategy::{Client, ClientContext, Strategy, StrategyError};

pub use control::{Control, Layout, Moment, NurseryLine, Step, Strike, ThreadLine};
pub use gated::EXECUTION;
use nursery::Copy;
pub use specification::{Part, PartKind, Specification};

use crate::process::{approach_nest, die_with_parent};
use crate::program::{ChildSlot, OWN_EXECUTABLE, ProgramStrategy};
use crate::record::{SharedMemory, now_ns};

/// What the engine has to be told about strategies, since it does not know the crate that they
/// live in.
pub trait Strategies: Sync {
    /// The built-in strategy of this name.
    fn built_in(&self, name: &str) -> Option<&'static dyn Strategy>;

    /// A strategy whose server streams the state of `inner` over HTTP, and whose clients read it
    /// there.
    fn over_http(&self, inner: Arc<dyn Strategy>) -> Arc<dyn Strategy>;
}

/// A built-in strategy as one that can be shared.
struct BuiltIn(&'static dyn Strategy);

impl Strategy for BuiltIn {
    fn info(&self) -> &'static tearproof_core::StrategyInfo {
        self.0.info()
    }

    fn prepare(&self, context: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        self.0.prepare(context, document)
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        self.0.client(context)
    }

    fn serve(
        &self,
        context: &ClientContext,
        ready: &mut dyn FnMut(),
        stop: &dyn Fn() -> bool,
    ) -> Result<(), StrategyError> {
        self.0.serve(context, ready, stop)
    }

    fn has_server(&self) -> bool {
        self.0.has_server()
    }

    fn keeps(&self, context: &ClientContext, name: &str) -> bool {
        self.0.keeps(context, name)
    }

    fn follows_symlinks(&self) -> bool {
        self.0.follows_symlinks()
    }
}

/// How clients of one process come to be.
pub(crate) enum Opener {
    /// In this process.
    Inside(Arc<dyn Strategy>),
    /// In a process that this one drives.
    Driven(ProgramStrategy),
}

impl Opener {
    /// For a strategy by name, in a role with this lifetime.
    pub(crate) fn new(
        specification: &Specification,
        strategies: &dyn Strategies,
        name: &str,
        via: Via,
        lifetime: Lifetime,
    ) -> Option<Self> {
        let plan = &specification.plan;
        let object = plan.scenario.state.object;
        if let Some(program) = plan.scenario.program(name) {
            let program = ProgramStrategy::new(program, lifetime, object, plan.seed);
            let program = program.start_within(plan.scenario.stress.hang);
            return Some(Self::Driven(program.opaque(plan.scenario.state.opaque)));
        }
        let built_in: Arc<dyn Strategy> = Arc::new(BuiltIn(strategies.built_in(name)?));
        if via == Via::Http {
            return Some(Self::Inside(strategies.over_http(built_in)));
        }
        if lifetime == Lifetime::Session {
            return Some(Self::Inside(built_in));
        }
        // A fresh process an operation: this binary once more, speaking the worker protocol.
        let context = serde_json::to_string(&specification.context(0, 0)).expect("a context is plain data");
        let program = Program {
            name: name.to_owned(),
            form: ProgramForm::Worker {
                command: vec![OWN_EXECUTABLE.to_owned(), "speak".to_owned(), name.to_owned(), context],
            },
            claims: Vec::new(),
            keeps: Vec::new(),
            directory: plan.base.clone(),
            timeout: plan.scenario.stress.hang,
        };
        Some(Self::Driven(ProgramStrategy::new(&program, lifetime, object, plan.seed)))
    }

    /// Opens a client, and the slot of the process that it drives, if it does.
    pub(crate) fn open(&self, context: &ClientContext) -> Result<Opened, StrategyError> {
        match self {
            Self::Inside(strategy) => Ok((strategy.client(context)?, None)),
            Self::Driven(program) => {
                let (client, slot) = program.open(context)?;
                Ok((client, Some(slot)))
            }
        }
    }

    /// The strategy itself.
    pub(crate) fn strategy(&self) -> &dyn Strategy {
        match self {
            Self::Inside(strategy) => &**strategy,
            Self::Driven(program) => program,
        }
    }
}

/// Runs as one of the processes of a session. `index` says which; the one after the last is the process
/// of which clients that stand behind gates are copies. `parent` is the pid of the supervisor.
pub fn worker_main(index: usize, parent: u32, strategies: &dyn Strategies) -> ExitCode {
    let Err(error) = run(index, parent, strategies);
    ExitCode::from(complain(&error))
}

/// The exit code of a client process whose program cannot be used, so that no other one needs to try.
pub const PROGRAM_UNUSABLE: u8 = 69;

/// Why a user's program cannot be used, in words that stand for themselves.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unusable(String);

impl Unusable {
    fn error(message: impl Into<String>) -> io::Error {
        io::Error::other(Self(message.into()))
    }
}

/// Says why this process ends, in one write: others say something at the same time. Returns the exit code.
fn complain(error: &io::Error) -> u8 {
    // Who could not even be told has nobody to tell it to.
    let _ = io::stderr().write_all(format!("{error}\n").as_bytes());
    let unusable = error.get_ref().is_some_and(|inner| inner.is::<Unusable>());
    if unusable { PROGRAM_UNUSABLE } else { 1 }
}

fn run(index: usize, parent: u32, strategies: &dyn Strategies) -> io::Result<Infallible> {
    die_with_parent(parent)?;
    approach_nest()?;
    let memory = SharedMemory::from_fd(take_descriptor(rustix::stdio::stdin())?)?;
    let done = take_descriptor(rustix::stdio::stdout())?;
    let control = Control::open(&memory);
    let specification: Specification = serde_json::from_slice(&control.specification())?;
    let Copy { index, is_cradle } = if specification.gated && index == specification.processes.len() {
        nursery::raise(&control, parent)?
    } else {
        Copy { index, is_cradle: false }
    };
    let part = &specification.processes[index];
    let lifetime = specification.lifetime(index);
    let opener = Opener::new(&specification, strategies, &part.strategy, part.via, lifetime)
        .ok_or_else(|| io::Error::other(format!("there is no strategy `{}`", part.strategy)))?;
    let session = Session {
        memory: &memory,
        control,
        specification: &specification,
        index,
        done,
        opener,
        driven: Mutex::new(Vec::new()),
        idle: Mutex::new(HashMap::new()),
    };
    if specification.gated {
        return session.play_behind_gate(is_cradle.then_some(parent));
    }
    std::thread::scope(|scope| {
        if specification.is_agent(index) {
            scope.spawn(|| session.obey_strikes());
        }
        if specification.judges_leases() && session.opener.strategy().info().timed {
            scope.spawn(|| session.watch_for_stalls());
        }
        Ok(or_die(|| session.follow()))
    })
}

/// Does a part of a process's work. Where it fails or panics the whole process ends, at once: to
/// wait for the other threads, some of which never end, would make a death look like a hanging
/// operation.
fn or_die<T>(work: impl FnOnce() -> io::Result<T>) -> T {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => return done,
        Ok(Err(error)) => std::process::exit(complain(&error).into()),
        Err(panic) => {
            // Once more, after a backtrace of any length: the last lines are those that are shown.
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            eprintln!("it panicked: {text}");
        }
    }
    std::process::exit(1)
}

/// Moves a descriptor out of the way of whatever a program prints or reads.
fn take_descriptor(standard: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(standard, 10)?)
}

/// One process's view of a session.
pub(crate) struct Session<'m> {
    pub memory: &'m SharedMemory,
    pub control: Control<'m>,
    pub specification: &'m Specification,
    pub index: usize,
    pub done: OwnedFd,
    pub opener: Opener,
    /// The slots of the programs that this process drives.
    driven: Mutex<Vec<Arc<ChildSlot>>>,
    /// Clients that wait for the next execution, by thread.
    idle: Mutex<HashMap<usize, Opened>>,
}

/// A client, and the slot of the program that it drives, if it does.
pub(crate) type Opened = (Box<dyn Client>, Option<Arc<ChildSlot>>);

impl Session<'_> {
    /// A client for a thread: one that waited, or a new one.
    pub(crate) fn open(&self, thread: usize, context: &ClientContext) -> Result<Opened, StrategyError> {
        // Only those that drive a program wait.
        let driven = matches!(self.opener, Opener::Driven(_));
        if let Some((mut client, slot)) = driven.then(|| lock(&self.idle).remove(&thread)).flatten()
            && client.retarget(context)
        {
            return Ok((client, slot));
        }
        let (client, slot) = self.opener.open(context)?;
        if let Some(slot) = &slot {
            let mut driven = lock(&self.driven);
            driven.retain(|slot| Arc::strong_count(slot) > 1);
            driven.push(Arc::clone(slot));
        }
        Ok((client, slot))
    }

    /// Takes a client back at the end of an execution. Only those that drive a program are kept.
    pub(crate) fn put_back(&self, thread: usize, client: Box<dyn Client>, slot: Option<Arc<ChildSlot>>) {
        if slot.is_some() {
            lock(&self.idle).insert(thread, (client, slot));
        }
    }

    /// Notices how late this process is woken, for ever. A holder that the machine does not let run
    /// cannot refresh its lease: that is a pause, and belongs under another hazard.
    fn watch_for_stalls(&self) {
        let line = self.control.process(self.index);
        let period = self.specification.beat_period();
        loop {
            line.beat_ns().store(now_ns(), Ordering::SeqCst);
            std::thread::sleep(period);
            line.note_stall(now_ns(), period);
        }
    }

    /// Does to the driven programs what the supervisor asks for, for ever.
    fn obey_strikes(&self) {
        let line = self.control.process(self.index);
        let mut seen = line.strikes_so_far();
        loop {
            let (now, strike) = line.wait_for_strike(seen);
            seen = now;
            for slot in lock(&self.driven).iter() {
                // Nothing to hit means that no operation runs at the moment: that is no error.
                let _hit = match strike {
                    Some(Strike::Kill) => slot.kill(),
                    Some(Strike::Pause) => slot.pause(),
                    Some(Strike::Resume) => slot.resume(),
                    None => false,
                };
            }
        }
    }

    /// Follows the executions, one after the other, for ever.
    fn follow(&self) -> io::Result<Infallible> {
        let part = &self.specification.processes[self.index];
        // Who takes the place of one that was given up has no part in what that one did not finish.
        let mut behind = self.control.process(self.index).completed().execution();
        let mut now = self.control.moment();
        loop {
            let execution = now.execution();
            // Who starts late, in another one's place, joins the execution that is under way.
            let joins = match part.kind {
                PartKind::Server => now.reached(Step::Serve) && !now.reached(Step::End),
                PartKind::Planter => now.reached(Step::Plant) && !now.reached(Step::Open),
                PartKind::Client(_) => now.reached(Step::Open) && !now.reached(Step::Audit),
                PartKind::Auditor => now.reached(Step::Audit) && !now.reached(Step::End),
            };
            if execution > behind && joins {
                behind = execution;
                match part.kind {
                    PartKind::Server => self.serve(execution)?,
                    PartKind::Planter => self.plant(execution)?,
                    PartKind::Client(_) => self.play(execution, part.threads)?,
                    PartKind::Auditor => self.audit(execution)?,
                }
            }
            if execution > behind && part.kind == PartKind::Server && now.reached(Step::End) {
                // Started in the place of one that was killed, when there was nobody left to serve.
                behind = execution;
                self.complete(execution, Step::End)?;
            }
            now = match self.control.moment() {
                same if same == now => self.control.wait_past(now),
                later => later,
            };
        }
    }

    /// Publishes that this process has done its part of a step.
    pub(crate) fn complete(&self, execution: u32, step: Step) -> io::Result<()> {
        self.control.process(self.index).set_completed(Moment::new(execution, step));
        rustix::io::write(&self.done, &1u64.to_ne_bytes())?;
        Ok(())
    }

    fn serve(&self, execution: u32) -> io::Result<()> {
        let context = self.specification.context(execution, 0);
        let mut announced = Ok(());
        let mut ready = || announced = self.complete(execution, Step::Serve);
        let stop = || self.control.moment() >= Moment::new(execution, Step::End);
        self.opener
            .strategy()
            .serve(&context, &mut ready, &stop)
            .map_err(|error| io::Error::other(format!("serving: {error}")))?;
        announced?;
        self.complete(execution, Step::End)
    }

    fn play(&self, execution: u32, threads: usize) -> io::Result<()> {
        if threads == 1 {
            return self.thread(execution, 0, None);
        }
        let barrier = Barrier::new(threads);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let barrier = &barrier;
                scope.spawn(move || {
                    or_die(|| self.thread(execution, thread, Some(barrier)));
                });
            }
        });
        Ok(())
    }

    fn plant(&self, execution: u32) -> io::Result<()> {
        let _held = self.take_lock(execution)?;
        self.complete(execution, Step::Plant)?;
        // Holds until it is killed, or until the execution is over.
        let mut now = self.control.moment();
        while now < Moment::new(execution, Step::End) {
            now = self.control.wait_past(now);
        }
        Ok(())
    }

    fn audit(&self, execution: u32) -> io::Result<()> {
        self.perform_audit(execution)?;
        self.complete(execution, Step::Audit)
    }
}

/// What a panicking thread leaves in these maps is still a list of clients.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
