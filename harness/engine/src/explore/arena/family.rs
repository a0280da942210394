//! The family of a client: the processes that it starts, and what they inherit.
//!
//! The filter goes with a process through `fork`, `clone` and `exec`, and so do the calls to the same
//! gate. A new process has what its parent had open, where it stood, and its mask; it shares open files
//! with it, offsets and `flock` locks included. Whatever one member of a family does and no file of the
//! state directory has to do with is done at once; threads of a family are steps of one client.
//!
//! The naps of a loop in a shell are each the whole life of a `sleep`: a process begins with what is left to
//! the thread that starts it, and hands on what it had.
//!
//! A parent that lent its memory (`vfork`) stands still until its child has executed a program (`exec`) or
//! ended (`end`).
//!
//! Not covered: processes that share a table of descriptors (CLONE_FILES without CLONE_THREAD), and
//! those that another process adopts.

use std::cell::Cell;

use super::copies::AtHand;
use super::lookout::Runtime;
use super::nap::Nap;
use super::process::{Body, Process};
use super::thread::{State, Thread};
use super::timers::Timers;
use super::told::Told;
use super::tree::digest;
use super::watch::Watch;
use super::{Arena, ArenaError, THREADS_OF_A_CLIENT};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind};
use crate::explore::gate::{Answer, ClientMemory, Notification};
use crate::explore::system::ThreadId;

/// Process ids that are kept for the family of each client.
const NUMBERS_OF_A_CLIENT: u32 = 4000;

/// A thread or a process that was started and has not come to the gate yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    /// The process that starts it.
    pub process: usize,
    /// The thread that does.
    thread: usize,
    flags: u64,
}

/// Where a process comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The thread that has started it.
    thread: usize,
    /// The naps that thread had had by then.
    naps: u32,
}

impl Birth {
    const fn has(self, flag: i32) -> bool {
        self.flags & flag as u64 != 0
    }

    pub const fn is_thread(self) -> bool {
        self.has(libc::CLONE_THREAD)
    }
}

impl Arena<'_> {
    /// The client that a thread belongs to.
    pub(super) fn client_index(&self, thread: usize) -> usize {
        self.processes[self.threads[thread].process].client
    }

    /// The places of a client's threads.
    pub(super) fn threads_of(&self, client: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.threads.len()).filter(move |&index| self.client_index(index) == client)
    }

    /// The processes of a client's family, the client's own first.
    pub(super) fn family_of(&self, client: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.processes.len()).filter(move |&process| self.processes[process].client == client)
    }

    /// A call that begins a thread or a process is let go on.
    pub(super) fn expect_birth(
        &mut self,
        index: usize,
        notification: &Notification,
        flags: u64,
    ) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        let birth = Birth { process, thread: index, flags };
        if !birth.is_thread() && birth.has(libc::CLONE_FILES) {
            self.note_escape("a process was started that shares its parent's table of descriptors");
        }
        let client = self.processes[process].client;
        self.processes[client].births.push(birth);
        self.processes[client].grew = true;
        self.number_birth(process, birth)?;
        self.answer(index, notification, Answer::Continue)?;
        // Who lends its memory is not back before the child has its own.
        let lends = birth.has(libc::CLONE_VFORK);
        self.threads[index].state = if lends { State::Lending } else { State::Running };
        Ok(())
    }

    /// Says which number the kernel gives next in the nest: those of one client do not depend on when
    /// others start theirs.
    fn number_birth(&mut self, process: usize, birth: Birth) -> Result<(), ArenaError> {
        let client = self.processes[process].client;
        // A client's own threads are not in there.
        let outside = self.processes[process].is_root() && birth.is_thread();
        let Some(nest) = self.launch.nest.as_ref().filter(|_| !outside) else { return Ok(()) };
        let is_ready = self.keeps_worker(client);
        let born = &mut self.processes[client].born;
        *born += 1;
        let number = (client as u32 + 1) * NUMBERS_OF_A_CLIENT + (*born).min(NUMBERS_OF_A_CLIENT - 1);
        let too_many = *born == NUMBERS_OF_A_CLIENT;
        if !is_ready {
            self.processes[client].born_when_ready = self.processes[client].born;
        }
        if too_many {
            let what = format!("a client started more than {NUMBERS_OF_A_CLIENT} processes and threads");
            self.note_escape(&what);
            return Ok(());
        }
        nest.number(number).map_err(ArenaError::environment("giving process ids in the clients' namespace"))
    }

    /// A thread that was not seen before comes to the gate of a client.
    pub(super) fn welcome(&mut self, client: usize, tid: u32) -> Result<usize, ArenaError> {
        let own = &self.processes[client];
        if !own.has_ended && own.pid() == tid {
            return self.new_thread(client, client, tid);
        }
        let descent =
            Told::by_tid(tid).map_err(ArenaError::environment(format!("looking at thread {tid}")))?;
        let known = self.family_of(client).find(|&process| {
            let process = &self.processes[process];
            !process.has_ended && process.pid() == descent.process()
        });
        let process = match known {
            Some(process) => {
                let births = &mut self.processes[client].births;
                if let Some(at) =
                    births.iter().position(|birth| birth.is_thread() && birth.process == process)
                {
                    births.remove(at);
                }
                self.processes[process].runtime.note_birth(tid);
                process
            }
            None => {
                let births = &self.processes[client].births;
                let is_its_parent = |process: usize| self.processes[process].pid() == descent.parent();
                let at = births.iter().position(|birth| !birth.is_thread() && is_its_parent(birth.process));
                // Whose parent has ended was adopted by somebody: it is the eldest, then.
                let at = at.or_else(|| births.iter().position(|birth| !birth.is_thread()));
                let birth = at.map(|at| self.processes[client].births.remove(at));
                self.take_up(client, &descent, birth)?
            }
        };
        let index = self.new_thread(client, process, tid)?;
        if known.is_none()
            && let Some(starter) = self.starter_of(process)
        {
            let Thread { id, steps, nap, .. } = &mut self.threads[starter];
            let watch = nap.watch.hand_down();
            let Nap { count: naps, ended, operation, left, after_changes, .. } = *nap;
            let begins_after_change = nap.changed.remain(*id, *steps);
            let nap = &mut self.threads[index].nap;
            (nap.count, nap.operation, nap.left, nap.after_changes) = (naps, operation, left, after_changes);
            (nap.begins_after_change, nap.ended) = (begins_after_change, ended);
            nap.watch.begin_with(watch);
            if let Some(origin) = &mut self.processes[process].origin {
                origin.naps = naps;
            }
        }
        Ok(index)
    }

    /// The thread that has started a process, while it lives.
    fn starter_of(&self, process: usize) -> Option<usize> {
        let (parent, origin) = (self.processes[process].parent?, self.processes[process].origin?);
        let thread = &self.threads[origin.thread];
        (thread.process == parent && !matches!(thread.state, State::Gone)).then_some(origin.thread)
    }

    /// A process has ended. The naps that it had were for the thread that started it, and so was what it looked at.
    /// That one has waited meanwhile, which counts as a nap and is none that is free.
    pub(super) fn hand_naps_on(&mut self, process: usize) {
        let (Some(starter), Some(origin)) = (self.starter_of(process), self.processes[process].origin) else {
            return;
        };
        for index in (0..self.threads.len()).filter(|&index| index != starter) {
            if self.threads[index].process != process {
                continue;
            }
            // How far it came is asked of it still.
            let over = Nap::at(self.threads[index].nap.clock_ns);
            let child = std::mem::replace(&mut self.threads[index].nap, over);
            self.threads[index].nap.watch = Watch::after(&child.watch);
            let Thread { steps, nap, .. } = &mut self.threads[starter];
            let lay_down = child.count > origin.naps;
            if lay_down {
                nap.changed.begin(*steps);
                nap.ended = nap.ended.max(child.ended);
            }
            nap.watch.hand_up(child.watch);
            if lay_down && (nap.count == 0 || child.operation > nap.operation) {
                (nap.count, nap.operation, nap.left) = (child.count, child.operation, child.left);
                nap.after_changes = child.after_changes;
            } else if lay_down && child.operation == nap.operation {
                nap.left = nap.left.min(child.left);
                nap.after_changes = nap.after_changes.max(child.after_changes);
            }
        }
    }

    /// Takes up a process that a member of a family has started.
    fn take_up(&mut self, client: usize, descent: &Told, birth: Option<Birth>) -> Result<usize, ArenaError> {
        let pid = descent.process();
        let failed = || ArenaError::environment(format!("following process {pid}"));
        let by_number =
            self.family_of(client).find(|&process| self.processes[process].pid() == descent.parent());
        let parent = birth.map(|birth| birth.process).or(by_number).unwrap_or(client);
        let number = rustix::process::Pid::from_raw(pid as i32)
            .ok_or_else(|| ArenaError::Confused("a process without a number".to_owned()))?;
        let pidfd = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty())
            .map_err(|error| failed()(error.into()))?;
        let elder = &self.processes[parent];
        let shares = birth.is_some_and(|birth| birth.has(libc::CLONE_VM)) && by_number == Some(parent);
        let memory = match shares {
            true => elder.memory.clone(),
            false => ClientMemory::open(pid).map_err(failed())?,
        };
        let mut process = Process::descendant(client, parent, descent, pidfd, memory, elder);
        if let Some(birth) = birth
            && birth.has(libc::CLONE_VFORK)
        {
            process.lent_by = Some(birth.thread);
        }
        process.origin = birth.map(|birth| Origin { thread: birth.thread, naps: 0 });
        process.borrows_memory = birth.is_some_and(|birth| birth.has(libc::CLONE_VM));
        let left = self.family_of(client).find(|&process| self.processes[process].is_buried());
        Ok(match left {
            Some(place) => {
                self.processes[place] = process;
                place
            }
            None => {
                self.processes.push(process);
                self.processes.len() - 1
            }
        })
    }

    /// A new thread of a process. A place that somebody left is taken again, so that births are numbered
    /// alike each time.
    fn new_thread(&mut self, client: usize, process: usize, tid: u32) -> Result<usize, ArenaError> {
        let born = self.threads_of(client).count() as u16;
        // It begins when whoever starts it has come so far.
        let others = self.threads_of(client).filter(|&index| !self.is_lookout(index));
        let now_ns = others.map(|index| self.threads[index].nap.clock_ns).max();
        let mut nap = Nap::at(now_ns.unwrap_or(0));
        let left = self.threads_of(client).find(|&index| matches!(self.threads[index].state, State::Gone));
        if let Some(index) = left {
            let (watch, looks) = self.threads[index].nap.watch.left_behind();
            nap.watch = watch;
            let before = self.threads[index].process;
            let lives =
                |thread: &&mut Thread| thread.process == before && !matches!(thread.state, State::Gone);
            if let Some(heir) = self.threads.iter_mut().find(lives) {
                heir.nap.watch.take_over(looks);
            }
            let Thread { id, drawn, steps, .. } = self.threads[index];
            let state = State::Running;
            let drawn_when_ready = self.threads[index].drawn_when_ready;
            self.threads[index] =
                Thread { id, process, tid, state, steps, drawn, drawn_when_ready, cause: None, nap };
            self.note_cause(index);
            return Ok(index);
        }
        if born >= THREADS_OF_A_CLIENT {
            return Err(ArenaError::Client(format!(
                "client {client} has had more than {THREADS_OF_A_CLIENT} threads at the same time"
            )));
        }
        let id = ThreadId(client as u16 * THREADS_OF_A_CLIENT + born);
        let state = State::Running;
        let (steps, drawn, drawn_when_ready) = (0, 0, 0);
        self.threads.push(Thread {
            id,
            process,
            tid,
            state,
            steps,
            drawn,
            drawn_when_ready,
            cause: None,
            nap,
        });
        self.note_cause(self.threads.len() - 1);
        Ok(self.threads.len() - 1)
    }

    /// A thread goes on, or begins, because of the step that is being taken: its next step comes after
    /// that one, and could not have come before.
    pub(super) fn note_cause(&mut self, index: usize) {
        if self.acting.is_none_or(|acting| acting == index) {
            return;
        }
        let thread = &mut self.threads[index];
        let key = digest(&("cause", thread.id.0, thread.steps));
        let object = Object { kind: ObjectKind::Channel, key };
        thread.cause = Some(object);
        let access = Access { object, mode: Mode::Release };
        if !self.caused.contains(&access) {
            self.caused.push(access);
        }
    }

    /// Adds to a step what let its thread go on, and whom it let go on.
    pub(super) fn add_causes(&mut self, cause: Option<Object>, footprint: &mut Footprint) {
        // In which order they came to the gate is no matter.
        self.caused.sort_unstable_by_key(|access| access.object);
        footprint.append(&mut self.caused);
        footprint.extend(cause.map(|object| Access { object, mode: Mode::Acquire }));
    }
}

/// How a member of a family is started and known; see [`Process`].
impl Process {
    /// A process that a client has started.
    fn descendant(
        client: usize,
        parent: usize,
        descent: &Told,
        pidfd: std::os::fd::OwnedFd,
        memory: ClientMemory,
        elder: &Self,
    ) -> Self {
        Self {
            client,
            parent: Some(parent),
            inner: descent.inner(),
            body: Body::Descendant(descent.process(), pidfd),
            listener: elder.listener.clone(),
            memory,
            descriptors: elder.descriptors.clone(),
            loose: Vec::new(),
            directory: elder.directory,
            umask: elder.umask,
            births: Vec::new(),
            held: Vec::new(),
            in_a_row: (0, 0),
            born: 0,
            born_when_ready: 0,
            grew: false,
            borrows_memory: false,
            lent_by: None,
            origin: None,
            executes: None,
            has_ended: false,
            buried: Cell::new(false),
            runtime: Runtime::default(),
            plays: false,
            used: false,
            has_played: false,
            looked_at: 0,
            stirred_at: 0,
            signalled_at: 0,
            at_hand: AtHand::default(),
            timers: Timers::default(),
            dial: elder.dial.of_copy(),
            reads: None,
            shown_ns: 0,
            base: 0,
            lines: Vec::new(),
            first_line: 0,
            line_count: 0,
            line_start: 0,
        }
    }
}
