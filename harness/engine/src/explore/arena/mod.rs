//! The arena: the clients of one execution behind their gates, one step at a time.
//!
//! Every client stands at a gate, waits for something that only another one's step can bring, or
//! sleeps on the virtual clock. The search names one that is enabled; the supervisor does its call
//! in its place, answers, and waits until that process stands at a gate again: no timer tells when
//! the next step can be chosen, since every call that could wait is gated.
//!
//! Client processes live for many executions. At the end of one they park at a futex of the shared
//! page; a new one begins when the state directory is as it was.

mod descriptors;
mod detour;
mod fate;
mod identity;
mod locks;
mod perform;
mod process;
mod snapshot;
mod time;
mod tree;
mod waits;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind};
use crate::explore::gate::{Answer, Call, Notification, Shown, Target};
use crate::explore::system::{Step, System, ThreadId, Waiting};
use crate::worker::{Control, PartKind, Specification};
use fate::Fate;
use locks::{Locks, Range};
use perform::{Effect, Ending, Half};
use process::Process;
use snapshot::Snapshot;
use tree::{Inode, Mismatch, Tree, digest};

pub use fate::{FateKind, process_of};
pub use process::Launch;

/// Steps of one execution at most: more is a client that goes in circles.
const STEPS_MAX: u64 = 20_000;
/// Threads that one client process may have over time.
pub const THREADS_OF_A_PROCESS: u16 = 64;

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

/// Where a thread is.
#[derive(Debug)]
enum State {
    /// Between two executions, at the futex of the shared page.
    Parked(Notification),
    /// At the gate with a call.
    AtGate(Pending),
    /// Somewhere in user space, on its way to the gate.
    Running,
    /// Ended.
    Gone,
}

/// A call that waits for its turn.
#[derive(Debug)]
struct Pending {
    notification: Notification,
    call: Call,
    half: Option<Half>,
}

/// One thread of a client.
#[derive(Debug)]
struct Thread {
    id: ThreadId,
    process: usize,
    tid: u32,
    state: State,
    /// Steps in this execution.
    steps: u32,
    /// How often it has drawn random bytes in this execution.
    drawn: u64,
    nap: waits::Nap,
}

/// What one step did.
#[derive(Clone, Debug)]
pub enum Act {
    /// A call of a client.
    Call(Call),
    /// A client was killed.
    Kill,
    /// A client was suspended.
    Pause,
    /// It goes on.
    Resume,
}

/// What came of one step, for witnesses.
#[derive(Clone, Debug)]
pub struct Deed {
    /// Which step of the execution it was, from 1.
    pub step: u64,
    /// Who.
    pub thread: ThreadId,
    /// Which part of a call that is done in two: 1, 2, or 0 for the whole.
    pub part: u8,
    /// What was done.
    pub what: Act,
    /// What the descriptor of the call leads to, where it takes one.
    pub name: Option<String>,
    /// What it returned; absent when it goes on, or when the client made the call itself.
    pub returned: Option<Result<i64, i32>>,
}

impl std::fmt::Display for Deed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let call = match &self.what {
            Act::Call(call) => call,
            Act::Kill => return write!(out, "is killed (SIGKILL)"),
            Act::Pause => return write!(out, "is suspended"),
            Act::Resume => return write!(out, "goes on"),
        };
        let shown = Shown { call, name: self.name.as_deref() };
        match self.part {
            1 => write!(out, "{shown}, first part")?,
            2 => write!(out, "{shown}, second part")?,
            _ => write!(out, "{shown}")?,
        }
        match self.returned {
            Some(Err(errno)) => write!(out, " = {}", io::Error::from_raw_os_error(errno)),
            Some(Ok(bytes)) if matches!(call, Call::Read { .. } | Call::Write { .. }) => {
                write!(out, " = {bytes}")
            }
            _ => Ok(()),
        }
    }
}

/// The clients of one plan behind their gates.
pub struct Arena<'s> {
    specification: &'s Specification,
    control: Control<'s>,
    launch: Launch<'s>,
    processes: Vec<Process>,
    threads: Vec<Thread>,
    /// Watched directories and the inodes that stand for them: the state directory first.
    roots: Vec<(Vec<u8>, Inode)>,
    tree: Tree,
    snapshot: Snapshot,
    locks: Locks,
    /// Inodes that somebody is in the middle of writing.
    gates: Vec<(Inode, usize)>,
    /// How often an inode was cut off in this execution.
    cut: Vec<(Inode, u32)>,
    time: time::VirtualTime,
    /// What the environment does to clients.
    fates: Vec<Fate>,
    /// Whether every execution has processes of its own.
    renews: bool,
    files: u32,
    steps: u64,
    generation: u32,
    /// What everybody did, when it is to be told.
    deeds: Option<Vec<Deed>>,
    /// The names of the files that descriptors led to when they were used, by thread: the last one
    /// counts.
    names: Vec<(ThreadId, String)>,
    /// What went past the gate, in words.
    escapes: Vec<String>,
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
        let mut arena = Self {
            specification: launch.specification,
            control: Control::open(launch.memory),
            launch,
            processes: Vec::new(),
            threads: Vec::new(),
            roots,
            tree,
            snapshot,
            locks: Locks::default(),
            gates: Vec::new(),
            cut: Vec::new(),
            time: time::VirtualTime::default(),
            fates: Vec::new(),
            renews: false,
            files: 0,
            steps: 0,
            generation: 0,
            deeds: None,
            names: Vec::new(),
            escapes: Vec::new(),
        };
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

    /// From now on, every execution has processes of its own: what a client remembers of an earlier one
    /// cannot matter.
    pub fn renew_processes(&mut self) {
        self.renews = true;
    }

    /// The clients that wait for ever for what somebody else has.
    pub fn stuck(&self) -> Vec<u32> {
        let waits =
            |index: &usize| matches!(self.threads[*index].state, State::AtGate(_)) && !self.can_go(*index);
        let waiting =
            (0..self.threads.len()).filter(waits).map(|index| self.client_of(self.threads[index].id));
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
        (0..self.processes.len()).map(|process| Self::virtual_pid(process).to_string()).zip(letters).collect()
    }

    /// What is recorded from now on has this time or a later one.
    pub fn end_of_play(&self) -> u64 {
        let now = (self.steps + 1) << 20;
        self.step_clock().store(now, Ordering::SeqCst);
        now
    }

    /// From the next execution on, remembers what everybody does, or no more.
    pub fn tell(&mut self, wanted: bool) {
        self.deeds = wanted.then(Vec::new);
    }

    /// What everybody did in this execution.
    pub fn deeds(&self) -> &[Deed] {
        self.deeds.as_deref().unwrap_or_default()
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

    /// Whether a thread at the gate could go on.
    fn can_go(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        let State::AtGate(pending) = &thread.state else { return false };
        match &pending.call {
            Call::Lock { fd, kind, request, wait: true, start, length } => {
                let Some(file) = self.processes[thread.process].descriptors.get(*fd) else { return true };
                let owner = Self::owner(thread.process, file, *kind);
                self.locks.is_free(file.inode, *kind, owner, *request, Range::new(*start, *length))
            }
            Call::Sleep { .. } => self.may_wake(index),
            Call::Futex { .. } => self.may_wake(index),
            call if !self.gates.is_empty() && pending.half.is_none() => {
                match self.writes_to(thread.process, call) {
                    Some(inode) => !self.gates.iter().any(|(gate, _)| *gate == inode),
                    None => true,
                }
            }
            _ => true,
        }
    }

    /// Whether a thread can take a step, without anybody's standing still for it.
    fn is_able(&self, index: usize) -> bool {
        if self.is_paused(self.threads[index].process) {
            return false;
        }
        matches!(self.threads[index].state, State::Parked(_)) && self.is_due(index) || self.can_go(index)
    }

    /// Runs a process's part alone, from its parking place to its parking place.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn run_alone(&mut self, process: usize) -> Result<(), ArenaError> {
        self.release(process)?;
        let mut enabled = Vec::new();
        loop {
            self.enabled(&mut enabled)?;
            let own = |id: &&ThreadId| self.threads[self.slot(**id)].process == process;
            match enabled.iter().find(own) {
                Some(&thread) => drop(self.step(thread)?),
                None => break,
            }
        }
        let parked = self.threads.iter().filter(|thread| thread.process == process);
        if parked.into_iter().all(|thread| matches!(thread.state, State::Parked(_) | State::Gone)) {
            return Ok(());
        }
        // It waits for what nobody will bring: that is its outcome.
        self.respawn(process)
    }

    fn slot(&self, id: ThreadId) -> usize {
        self.threads.iter().position(|thread| thread.id == id).expect("only threads that exist are named")
    }

    /// Lets a parked process go as far as its first gate.
    fn release(&mut self, process: usize) -> Result<(), ArenaError> {
        for index in 0..self.threads.len() {
            if self.threads[index].process == process && matches!(self.threads[index].state, State::Parked(_))
            {
                self.unpark(index)?;
                self.settle(process)?;
            }
        }
        Ok(())
    }

    fn unpark(&mut self, index: usize) -> Result<(), ArenaError> {
        let State::Parked(notification) = std::mem::replace(&mut self.threads[index].state, State::Running)
        else {
            return Err(ArenaError::Confused("only who is parked can be released".to_owned()));
        };
        let thread = &self.threads[index];
        let number = self.processes[thread.process].line_of(thread.id);
        if let Some(line) = number {
            self.control.thread(line).go().store(self.generation, Ordering::SeqCst);
        }
        self.answer(index, &notification, Answer::Value(0))
    }

    fn answer(&self, index: usize, notification: &Notification, answer: Answer) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        let answered = self.processes[process].listener.answer(notification.id, answer);
        answered.map_err(|error| self.unanswered(process, error))
    }

    /// Why a call could not be answered.
    fn unanswered(&self, process: usize, error: io::Error) -> ArenaError {
        if error.raw_os_error() == Some(libc::ENOENT) {
            let strategy = &self.specification.processes[process].strategy;
            return ArenaError::Client(format!(
                "client process {process} ({strategy}) was killed at its gate"
            ));
        }
        ArenaError::gate("answering")(error)
    }

    /// Takes in what comes to a process's gate until none of its threads is running.
    fn settle(&mut self, process: usize) -> Result<(), ArenaError> {
        loop {
            let running = self
                .threads
                .iter()
                .any(|thread| thread.process == process && matches!(thread.state, State::Running));
            if !running && self.processes[process].births == 0 {
                return Ok(());
            }
            let Some(notification) = self.receive(process)? else {
                // The process has ended: all of its threads have. What it would still have done is not known.
                for thread in self.threads.iter_mut().filter(|thread| thread.process == process) {
                    thread.state = State::Gone;
                }
                let strategy = &self.specification.processes[process].strategy;
                let status = self.processes[process].status();
                return Err(ArenaError::Client(format!(
                    "client process {process} ({strategy}) died: {status}"
                )));
            };
            self.arrive(process, notification)?;
        }
    }

    /// A call has come to the gate.
    fn arrive(&mut self, process: usize, notification: Notification) -> Result<(), ArenaError> {
        let known = |thread: &Thread| thread.process == process && thread.tid == notification.tid;
        if !self.threads.iter().any(known) && self.processes[process].is_stranger(notification.tid) {
            // Its memory is not its parent's. It goes on as it likes, and was told of when it was started.
            let answered = self.processes[process].listener.answer(notification.id, Answer::Continue);
            // Who was killed meanwhile needs no answer.
            return answered.or_else(|error| match error.raw_os_error() {
                Some(libc::ENOENT) => Ok(()),
                _ => Err(ArenaError::gate("answering")(error)),
            });
        }
        let index = self.thread_of(process, notification.tid);
        if !notification.native {
            self.note_escape("a program of another architecture runs behind the gate");
        }
        let call = match Call::decode(&notification, &self.processes[process].memory) {
            Ok(call) => call,
            Err(error) => {
                // A wrong address: what the kernel would have answered.
                let errno = error.raw_os_error().unwrap_or(libc::EFAULT);
                self.threads[index].state = State::Running;
                return self.answer(index, &notification, Answer::Errno(errno));
            }
        };
        if self.concerns(process, &call) {
            // A close that gives nothing back, and a sync, are nobody else's business.
            let private = match &call {
                Call::Close { fd } => !self.gives_back(process, &[*fd]),
                Call::CloseRange { first, last, .. } => {
                    !self.gives_back(process, &self.processes[process].descriptors.between(*first, *last))
                }
                Call::Sync { .. } => true,
                _ => false,
            };
            if private {
                if let Call::Close { fd } = call {
                    self.close(process, &[fd]);
                } else if let Call::CloseRange { first, last, .. } = call {
                    let fds = self.processes[process].descriptors.between(first, last);
                    self.close(process, &fds);
                }
                self.threads[index].state = State::Running;
                return self.answer(index, &notification, Answer::Continue);
            }
            self.threads[index].state = State::AtGate(Pending { notification, call, half: None });
            return Ok(());
        }
        self.note_detour(process, &call);
        if let Some(about) = self.asks_for_life(process, &call) {
            return self.ask_for_life(index, notification, call, about);
        }
        self.wait_or_pass(index, notification, call)
    }

    /// The thread that makes a call; one that was not seen before is new.
    fn thread_of(&mut self, process: usize, tid: u32) -> usize {
        let known = self.threads.iter().position(|thread| {
            thread.process == process && thread.tid == tid && !matches!(thread.state, State::Gone)
        });
        if let Some(index) = known {
            return index;
        }
        let births = &mut self.processes[process].births;
        *births = births.saturating_sub(1);
        let born = self.threads.iter().filter(|thread| thread.process == process).count() as u16;
        // A place that somebody left is taken again, so that births are numbered alike each time.
        let left = self
            .threads
            .iter()
            .position(|thread| thread.process == process && matches!(thread.state, State::Gone));
        // It begins when whoever starts it has come so far.
        let of_process = self.threads.iter().filter(|thread| thread.process == process);
        let now_ns = of_process.map(|thread| thread.nap.clock_ns).max().unwrap_or(0);
        let thread = Thread {
            id: ThreadId(process as u16 * THREADS_OF_A_PROCESS + born.min(THREADS_OF_A_PROCESS - 1)),
            process,
            tid,
            state: State::Running,
            steps: 0,
            drawn: 0,
            nap: waits::Nap::at(now_ns),
        };
        if let Some(index) = left {
            let id = self.threads[index].id;
            self.threads[index] = Thread { id, ..thread };
            return index;
        }
        self.threads.push(thread);
        self.threads.len() - 1
    }

    /// Whether several threads share a process's memory, which no gate sees.
    fn shares_memory(&self, process: usize) -> bool {
        let alive = self
            .threads
            .iter()
            .filter(|thread| thread.process == process && !matches!(thread.state, State::Gone));
        alive.take(2).count() > 1
    }

    /// Brings whoever is in the middle of something to an end.
    fn drain(&mut self) -> Result<(), ArenaError> {
        self.end_fates();
        let mut enabled = Vec::new();
        loop {
            self.enabled(&mut enabled)?;
            let Some(&thread) = enabled.first() else { break };
            self.step(thread)?;
        }
        for process in 0..self.processes.len() {
            let stuck = self
                .threads
                .iter()
                .any(|thread| thread.process == process && matches!(thread.state, State::AtGate(_)));
            let kind = self.specification.processes[process].kind;
            let playing = !matches!(kind, PartKind::Server | PartKind::Planter);
            if playing && (stuck || self.renews && self.steps > 0 || !self.processes[process].is_alive()) {
                self.respawn(process)?;
            }
        }
        Ok(())
    }
}

impl System for Arena<'_> {
    type Error = ArenaError;

    fn begin(&mut self) -> Result<(), ArenaError> {
        if self.launch.interrupt.raised() {
            return Err(ArenaError::Interrupted);
        }
        self.drain()?;
        self.generation += 1;
        self.steps = 0;
        self.files = 0;
        self.locks.clear();
        self.gates.clear();
        self.cut.clear();
        self.time.clear();
        if let Some(deeds) = &mut self.deeds {
            deeds.clear();
        }
        self.snapshot.restore(&self.roots, &mut self.tree)?;
        self.control.fence().store(0, Ordering::SeqCst);
        self.step_clock().store(1, Ordering::SeqCst);
        self.launch.discard_recordings();
        for thread in &mut self.threads {
            (thread.steps, thread.drawn) = (0, 0);
            thread.nap = waits::Nap::default();
        }
        self.begin_fates();
        for process in 0..self.processes.len() {
            if let PartKind::Client(_) = self.specification.processes[process].kind
                && self.specification.processes[process].threads == 1
            {
                self.release(process)?;
            }
        }
        Ok(())
    }

    fn enabled(&mut self, into: &mut Vec<ThreadId>) -> Result<(), ArenaError> {
        into.clear();
        let mut only_pausable = true;
        for index in (0..self.threads.len()).filter(|&index| self.is_able(index)) {
            into.push(self.threads[index].id);
            only_pausable &= self.can_be_paused(self.threads[index].process);
        }
        if only_pausable && let Some(index) = self.first_to_wake(into) {
            into.push(self.threads[index].id);
        }
        self.fates_due(into);
        into.sort_unstable();
        Ok(())
    }

    fn step(&mut self, id: ThreadId) -> Result<Step, ArenaError> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(ArenaError::TooLong(STEPS_MAX));
        }
        self.step_clock().store(self.steps << 20, Ordering::SeqCst);
        if id.is_reluctant() {
            return self.strike(id);
        }
        let index = self.slot(id);
        let process = self.threads[index].process;
        if matches!(self.threads[index].state, State::Parked(_)) {
            let footprint = self.with_life(process, self.with_memory(process, Footprint::new()));
            self.threads[index].steps += 1;
            self.unpark(index)?;
            self.settle(process)?;
            return Ok(Step {
                thread: id,
                footprint,
                potential: SmallVec::new(),
                signature: digest(&("start", id.0)),
                yields: false,
            });
        }
        let state = std::mem::replace(&mut self.threads[index].state, State::Running);
        let State::AtGate(Pending { notification, call, half }) = state else {
            return Err(ArenaError::Confused(format!("thread {id:?} is not at the gate")));
        };
        if self.deeds.is_some() {
            self.remember_name(id, process, &call);
        }
        let second = half.is_some();
        let effect = if self.concerns(process, &call) {
            self.perform(index, &call, half)?
        } else if let Some(about) = self.asks_for_life(process, &call) {
            self.see_life(process, &call, about)?
        } else {
            self.end_wait(index, &call)?
        };
        let Effect { footprint, potential, ending, yields } = effect;
        let mut footprint = self.with_life(process, self.with_memory(process, footprint));
        self.pass_time(index, &footprint);
        self.wake_whom_it_concerns(index, &mut footprint);
        let mut returned = None;
        let mut part = u8::from(second) * 2;
        let kind = std::mem::discriminant(&call);
        match ending {
            Ending::More(half) => {
                part = 1;
                self.note(id, part, &call, None);
                self.threads[index].state = State::AtGate(Pending { notification, call, half: Some(half) });
            }
            Ending::Answer(answer) => {
                returned = match answer {
                    Answer::Continue => None,
                    Answer::Value(value) => Some(Ok(value)),
                    Answer::Errno(errno) => Some(Err(errno)),
                };
                self.note(id, part, &call, returned);
                self.answer(index, &notification, answer)?;
                self.settle(process)?;
            }
            Ending::Loose(file) => {
                let done = self.hand_over_loose(process, notification.id, &file)?;
                self.note(id, part, &call, Some(done));
                returned = Some(done.map(|_| 0));
                self.settle(process)?;
            }
            Ending::Descriptor { file, close_on_exec, at } => {
                let done = self.hand_over(process, notification.id, file, close_on_exec, at)?;
                self.note(id, part, &call, Some(done));
                // The number is the client's own affair.
                returned = Some(done.map(|_| 0));
                self.settle(process)?;
            }
        }
        let thread = &mut self.threads[index];
        thread.steps += 1;
        let signature = digest(&(id.0, kind, part, returned, &footprint[..]));
        Ok(Step { thread: id, footprint, potential, signature, yields })
    }

    fn waiting(&self) -> Vec<Waiting> {
        let waits =
            |index: &usize| matches!(self.threads[*index].state, State::AtGate(_)) && !self.can_go(*index);
        let threads = (0..self.threads.len()).filter(waits).map(|index| self.waits_for(index));
        threads.chain(self.kills_waiting()).chain(self.silenced()).collect()
    }
}

impl Arena<'_> {
    fn note(&mut self, thread: ThreadId, part: u8, call: &Call, returned: Option<Result<i64, i32>>) {
        if self.deeds.is_none() {
            return;
        }
        let name = self.names.last().filter(|(id, _)| *id == thread).map(|(_, name)| name.clone());
        if let Some(deeds) = &mut self.deeds {
            deeds.push(Deed {
                step: self.steps,
                thread,
                part,
                what: Act::Call(call.clone()),
                name,
                returned,
            });
        }
    }

    /// Notes what the descriptor of a call leads to, before the call may close it.
    fn remember_name(&mut self, thread: ThreadId, process: usize, call: &Call) {
        self.names.clear();
        let fd = match call {
            Call::Close { fd }
            | Call::Duplicate { fd, .. }
            | Call::Read { fd, .. }
            | Call::Write { fd, .. }
            | Call::Seek { fd, .. }
            | Call::Allocate { fd, .. }
            | Call::Sync { fd }
            | Call::List { fd }
            | Call::Lock { fd, .. }
            | Call::Map { fd, .. }
            | Call::Truncate { target: Target::Fd(fd), .. }
            | Call::Stat { target: Target::Fd(fd), .. }
            | Call::ChangeMode { target: Target::Fd(fd), .. }
            | Call::SetTimes { target: Target::Fd(fd), .. } => *fd,
            _ => return,
        };
        if let Some(file) = self.processes[process].descriptors.get(fd) {
            self.names.push((thread, file.name.clone()));
        }
    }

    /// Threads of one process share their memory: whatever one of them does may matter to the others.
    fn with_memory(&self, process: usize, mut footprint: Footprint) -> Footprint {
        if self.shares_memory(process) {
            let object = Object { kind: ObjectKind::Memory, key: process as u64 };
            footprint.push(Access { object, mode: Mode::Write });
        }
        footprint
    }

    /// Whether a parked thread is to play in this execution and has not yet.
    fn is_due(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        let part = &self.specification.processes[thread.process];
        if !matches!(part.kind, PartKind::Client(_)) {
            return false;
        }
        self.processes[thread.process]
            .line_of(thread.id)
            .is_some_and(|line| self.control.thread(line).go().load(Ordering::SeqCst) != self.generation)
    }
}
