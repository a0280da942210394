//! The arena: the clients of one execution behind their gates, one step at a time.
//!
//! Every client stands at a gate, waits for something that only another one's step can bring, or
//! sleeps on the virtual clock. The search names one that is enabled; the supervisor does its call
//! in its place, answers, and waits until that process stands at a gate again: no timer tells when
//! the next step can be chosen, since every call that could wait is gated.
//!
//! Client processes live for many executions. At the end of one they park at a futex of the shared
//! page; a new one begins when the state directory is as it was.

mod alarm;
mod arrival;
mod channel;
mod copies;
mod deed;
mod descriptors;
mod detour;
mod dial;
mod double;
mod end;
mod exec;
mod family;
mod fate;
mod futex;
mod held;
mod identity;
mod late;
mod locks;
mod lookout;
mod loose;
mod nap;
mod nursery;
mod overheard;
mod perform;
mod process;
mod rehearsal;
mod repertoire;
mod reuse;
mod snapshot;
mod spared;
mod stillness;
mod summons;
mod supporting;
mod thread;
mod time;
mod timeout;
mod timers;
mod told;
mod traceback;
mod tree;
mod turn;
mod understudy;
mod waits;
mod watch;
mod whereabouts;
mod wires;

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tearproof_core::object::Object as Protected;

use crate::explore::access::Footprint;
use crate::explore::system::ThreadId;
use crate::worker::{Control, PartKind, Specification};
use double::Double;
use fate::Fate;
use locks::Locks;
use nursery::{Cradle, Nursery};
use process::Process;
use snapshot::Snapshot;
use thread::{Pending, State, Thread};
use tree::{Inode, Mismatch, Tree};
use understudy::Understudy;
use wires::Wires;

pub use deed::{Act, Deed};
pub use fate::{FateKind, process_of};
pub use late::{longest_pause, may_come_late};
pub use process::Launch;
pub(super) use snapshot::empty;

/// Steps of one execution at most: more is a client that goes in circles.
const STEPS_MAX: u64 = 20_000;
/// Threads that one client may have at a time, in all processes that it has started.
pub const THREADS_OF_A_CLIENT: u16 = 256;

/// Why an execution cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ArenaError {
    /// The kernel refused something that the harness itself needs.
    #[error("{what}: {source}")]
    Environment {
        /// What the harness was doing.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A client process died, or does not come back to the gate.
    #[error("{0}")]
    Client(String),
    /// The supervisor's picture of the state directory is wrong.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A client that was played does not do what it did before.
    #[error("{0}")]
    Unlike(String),
    /// The supervisor itself is wrong.
    #[error("this is a defect of the harness: {0}")]
    Confused(String),
    /// An execution was too long.
    #[error("an execution went on for more than {0} steps")]
    TooLong(u64),
    /// Somebody wants it to end.
    #[error("interrupted")]
    Interrupted,
}

impl ArenaError {
    pub(super) fn gate(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Environment { what: format!("{what} at the gate"), source }
    }

    fn environment(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Environment { what, source }
    }
}

/// The clients of one plan behind their gates.
pub struct Arena<'s> {
    specification: &'s Specification,
    control: Control<'s>,
    launch: Launch<'s>,
    nursery: Nursery,
    /// Of the clients that were made again.
    cradles: Vec<Option<Cradle>>,
    /// Who plays for the agents of the clients, by client.
    understudies: Vec<Understudy>,
    /// What is known of each client, and whether it is played.
    doubles: Vec<Double>,
    plays_known_parts: bool,
    /// In this execution all clients play their parts themselves.
    asks_everybody: bool,
    /// Somebody was played in this execution, for a part of it at least.
    plays_somebody: bool,
    /// In this execution somebody who is played has taken a lock that the kernel does not know of.
    locks_in_name_only: bool,
    /// The mask that clients begin with.
    umask: u32,
    processes: Vec<Process>,
    threads: Vec<Thread>,
    /// Watched directories and the inodes that stand for them: the state directory first.
    roots: Vec<(Vec<u8>, Inode)>,
    tree: Tree,
    snapshot: Snapshot,
    locks: Locks,
    wires: Wires,
    /// What the client whose step it is does itself.
    unconfirmed: Option<perform::Unconfirmed>,
    /// Inodes that somebody is in the middle of writing.
    gates: Vec<(Inode, usize)>,
    /// Inodes that somebody has mapped into memory of his own in this execution.
    mapped: Vec<Inode>,
    /// How often an inode was cut off in this execution.
    cut: Vec<(Inode, u32)>,
    time: time::VirtualTime,
    /// A nap of this length, in nanoseconds, may end while others can go on.
    jitter_ns: u64,
    /// What the environment does to clients.
    fates: Vec<Fate>,
    /// Kills come also where they make no difference.
    kills_everywhere: bool,
    /// Whether every execution has processes of its own.
    renews: bool,
    /// Whether workers that say so play on in the next execution.
    reuses: bool,
    /// A worker was found to remember though it says that it does not.
    doubted: bool,
    /// The process that has the lock when an execution begins, and keeps it.
    holder: Option<usize>,
    /// That process is taking it: no step of the execution has been taken yet.
    prepares: bool,
    files: u32,
    steps: u64,
    generation: u32,
    /// What everybody did, when it is to be told.
    deeds: Option<Vec<Deed>>,
    /// What programs wrote to their standard error, when it is to be told.
    overheard: overheard::Overheard,
    /// The names of the files that descriptors led to when they were used, by thread: the last one
    /// counts.
    names: Vec<(ThreadId, String)>,
    /// What went past the gate, in words.
    escapes: Vec<String>,
    /// Absolute paths that were followed and do not lead into the state directory.
    elsewhere: HashSet<Vec<u8>>,
    /// Counts what may have brought what somebody waits for, other than on files.
    stirs: u64,
    /// How much had stirred when somebody sent a signal that may be for anybody, the last time.
    signalled_at: u64,
    /// What processes gave back when they ended since the last step.
    released: Footprint,
    /// The thread whose step is being taken.
    acting: Option<usize>,
    /// Threads that can go on because of this step.
    caused: Footprint,
}

impl Drop for Arena<'_> {
    fn drop(&mut self) {
        self.end_all();
    }
}

impl<'s> Arena<'s> {
    /// Starts the processes of a plan. The world is made by `prepare` in the state directory, once;
    /// every execution finds it like that.
    ///
    /// # Errors
    /// When processes cannot be started, or the gate cannot be installed.
    pub fn start(launch: Launch<'s>, roots: &[std::path::PathBuf]) -> Result<Self, ArenaError> {
        use std::os::unix::ffi::OsStrExt;
        let roots: Vec<(Vec<u8>, Inode)> = roots
            .iter()
            .zip(1..)
            .map(|(root, number)| (root.as_os_str().as_bytes().to_vec(), Inode(number)))
            .collect();
        let mut tree = Tree::default();
        let snapshot = Snapshot::take(&roots, &mut tree)?;
        let control = Control::open(launch.memory);
        let nursery = Nursery::start(&launch, &control)?;
        let mut arena = Self {
            specification: launch.specification,
            jitter_ns: jitter_of(launch.specification),
            control,
            launch,
            nursery,
            cradles: Vec::new(),
            understudies: Vec::new(),
            doubles: Vec::new(),
            plays_known_parts: true,
            asks_everybody: false,
            plays_somebody: false,
            locks_in_name_only: false,
            umask: process::current_umask(),
            processes: Vec::new(),
            threads: Vec::new(),
            roots,
            tree,
            snapshot,
            locks: Locks::default(),
            wires: Wires::default(),
            unconfirmed: None,
            gates: Vec::new(),
            mapped: Vec::new(),
            cut: Vec::new(),
            time: time::VirtualTime::default(),
            fates: Vec::new(),
            kills_everywhere: false,
            renews: false,
            reuses: false,
            doubted: false,
            holder: None,
            prepares: false,
            files: 0,
            steps: 0,
            generation: 0,
            deeds: None,
            overheard: overheard::Overheard::default(),
            names: Vec::new(),
            escapes: Vec::new(),
            elsewhere: HashSet::new(),
            stirs: 0,
            signalled_at: 0,
            released: Footprint::new(),
            acting: None,
            caused: Footprint::new(),
        };
        arena.understudies.resize_with(arena.specification.processes.len(), Understudy::default);
        arena.doubles.resize_with(arena.specification.processes.len(), Double::default);
        for index in 0..arena.specification.processes.len() {
            arena.spawn(index)?;
        }
        Ok(arena)
    }

    /// Has the planter take the lock, kills it, and takes down the world that it leaves behind: from
    /// now on every execution begins in it.
    ///
    /// # Errors
    /// When the planter cannot have the lock.
    pub fn plant(&mut self, planter: usize) -> Result<(), ArenaError> {
        self.generation += 1;
        self.run_alone(planter)?;
        self.kill(planter)?;
        self.snapshot = Snapshot::take(&self.roots, &mut self.tree)?;
        Ok(())
    }

    /// From now on the planter takes the lock before every execution, and lives on.
    pub fn keep_holder(&mut self, planter: usize) {
        self.holder = Some(planter);
    }

    /// From now on, every execution has processes of its own: what a client remembers of an earlier one
    /// cannot matter.
    pub fn renew_processes(&mut self) {
        if !self.renews {
            self.forget_parts();
        }
        self.renews = true;
    }

    /// The clients that wait for ever for what somebody else has.
    pub fn stuck(&self) -> Vec<u32> {
        let waits =
            |index: &usize| matches!(self.threads[*index].state, State::AtGate(_)) && !self.can_go(*index);
        let serves =
            |index: usize| self.specification.processes[self.client_index(index)].kind == PartKind::Server;
        let playing = (0..self.threads.len()).filter(|&index| !serves(index) && !self.is_resting(index));
        let waiting = playing.filter(waits).map(|index| self.client_of(self.threads[index].id));
        waiting.filter(|client| *client > 0).collect()
    }

    /// What went past the gate so far: each of them makes a verdict inconclusive.
    pub fn escapes(&self) -> &[String] {
        &self.escapes
    }

    /// The client number of a thread.
    pub fn client_of(&self, id: ThreadId) -> u32 {
        if id.is_reluctant() {
            return 0;
        }
        let thread = &self.threads[self.slot(id)];
        let line = self.processes[thread.process].line_of(id);
        line.map_or(0, |line| self.control.thread(line).client().load(Ordering::SeqCst))
    }

    /// Which thread plays which client.
    pub fn clients(&self) -> std::collections::BTreeMap<u32, ThreadId> {
        let named = self.threads.iter().map(|thread| (self.client_of(thread.id), thread.id));
        named.filter(|(client, _)| *client > 0).collect()
    }

    /// The process ids of the clients, and the letters that tokens have for them.
    pub fn pids(&self) -> Vec<(String, char)> {
        let letters = 'A'..='Z';
        let clients = self.specification.processes.len();
        (0..clients).map(|process| Self::virtual_pid(process).to_string()).zip(letters).collect()
    }

    /// What is recorded from now on has this time or a later one.
    pub fn end_of_play(&mut self) -> u64 {
        self.note_waits_for_strangers();
        let now = (self.steps + 1) << 20;
        self.step_clock().store(now, Ordering::SeqCst);
        now
    }

    /// Whether a client drives a program of somebody else.
    fn drives(&self, client: usize) -> bool {
        let strategy = &self.specification.processes[client].strategy;
        self.specification.plan.scenario.program(strategy).is_some()
    }

    fn note_escape(&mut self, what: &str) {
        if !self.escapes.iter().any(|known| known == what) {
            self.escapes.push(what.to_owned());
        }
    }

    fn note_other(&mut self, number: i64) {
        self.note_escape(&format!("system call {number} on a file of the state directory was not expected"));
    }

    fn step_clock(&self) -> &AtomicU64 {
        self.control.step_clock()
    }

    fn new_inode(&self, thread: usize) -> Inode {
        let thread = &self.threads[thread];
        Inode::made(thread.id.0, thread.steps)
    }

    /// How often an inode was cut off.
    fn cuts(&self, inode: Inode) -> u32 {
        self.cut.iter().find(|(known, _)| *known == inode).map_or(0, |(_, count)| *count)
    }

    fn cut(&mut self, inode: Inode) {
        match self.cut.iter_mut().find(|(known, _)| *known == inode) {
            Some((_, count)) => *count += 1,
            None => self.cut.push((inode, 1)),
        }
    }
}

/// How long a nap may be that ends while others can go on. Of a user's locks nobody knows the leases.
fn jitter_of(specification: &Specification) -> u64 {
    let scenario = &specification.plan.scenario;
    let programs = specification.processes.iter().any(|part| scenario.program(&part.strategy).is_some());
    match scenario.state.object {
        Protected::Lock if !programs => {
            let part = scenario.stress.lease.as_nanos() as u64 / nap::JITTERS_OF_A_LEASE;
            part.max(nap::LONGEST_POLL_NS)
        }
        _ => nap::JITTER_NS,
    }
}
