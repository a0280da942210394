//! The family of a client: the processes that it starts, what they inherit, and their ends.
//!
//! The filter goes with a process through `fork`, `clone` and `exec`, and so do the calls to the same
//! gate. A new process has what its parent had open, where it stood, and its mask; it shares open files
//! with it, offsets and `flock` locks included. Whatever one member of a family does and no file of the
//! state directory has to do with is done at once; threads of a family are steps of one client.
//!
//! A parent that lent its memory (`vfork`) stands still until its child has executed a program or ended.
//! Whether an `exec` succeeded shows in the next call: the old memory is gone then.
//!
//! Not covered: processes that share a table of descriptors (CLONE_FILES without CLONE_THREAD), and
//! those that another process adopts.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use super::process::{Body, Process};
use super::thread::{State, Thread};
use super::tree::digest;
use super::waits::Nap;
use super::{Arena, ArenaError, THREADS_OF_A_CLIENT};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind};
use crate::explore::gate::{Answer, ClientMemory, Notification, silence_vdso};
use crate::explore::system::ThreadId;

/// Process ids that are kept for the family of each client.
const NUMBERS_OF_A_CLIENT: u32 = 4000;

/// A thread or a process that was started and has not come to the gate yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    /// The process that starts it.
    process: usize,
    /// The thread that does.
    thread: usize,
    flags: u64,
}

impl Birth {
    const fn has(self, flag: i32) -> bool {
        self.flags & flag as u64 != 0
    }

    const fn is_thread(self) -> bool {
        self.has(libc::CLONE_THREAD)
    }
}

/// What the kernel tells of a thread: its process, and the process that this one was started by.
struct Descent {
    process: u32,
    parent: u32,
    /// The process's number in the innermost namespace.
    inner: u32,
}

impl Descent {
    fn of(tid: u32) -> io::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{tid}/status"))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap_or(0)
        };
        Ok(Self { process: number("Tgid:"), parent: number("PPid:"), inner: number("NStgid:") })
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
        let born = &mut self.processes[client].born;
        *born += 1;
        if *born == NUMBERS_OF_A_CLIENT {
            let what = format!("a client started more than {NUMBERS_OF_A_CLIENT} processes and threads");
            self.note_escape(&what);
            return Ok(());
        }
        let number = (client as u32 + 1) * NUMBERS_OF_A_CLIENT + (*born).min(NUMBERS_OF_A_CLIENT - 1);
        nest.number(number).map_err(ArenaError::environment("giving process ids in the clients' namespace"))
    }

    /// A thread that was not seen before comes to the gate of a client.
    pub(super) fn welcome(&mut self, client: usize, tid: u32) -> Result<usize, ArenaError> {
        let descent =
            Descent::of(tid).map_err(ArenaError::environment(format!("looking at thread {tid}")))?;
        let known = self.family_of(client).find(|&process| {
            let process = &self.processes[process];
            !process.has_ended && process.pid() == descent.process
        });
        let births = &mut self.processes[client].births;
        let process = match known {
            Some(process) => {
                if let Some(at) =
                    births.iter().position(|birth| birth.is_thread() && birth.process == process)
                {
                    births.remove(at);
                }
                process
            }
            None => {
                let at = births.iter().position(|birth| !birth.is_thread());
                let birth = at.map(|at| births.remove(at));
                self.take_up(client, &descent, birth)?
            }
        };
        self.new_thread(client, process, tid)
    }

    /// Takes up a process that a member of a family has started.
    fn take_up(
        &mut self,
        client: usize,
        descent: &Descent,
        birth: Option<Birth>,
    ) -> Result<usize, ArenaError> {
        let pid = descent.process;
        let failed = || ArenaError::environment(format!("following process {pid}"));
        let by_number =
            self.family_of(client).find(|&process| self.processes[process].pid() == descent.parent);
        let parent = birth.map(|birth| birth.process).or(by_number).unwrap_or(client);
        let number = rustix::process::Pid::from_raw(pid as i32)
            .ok_or_else(|| ArenaError::Confused("a process without a number".to_owned()))?;
        let pidfd = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty())
            .map_err(|error| failed()(error.into()))?;
        let memory = ClientMemory::open(pid).map_err(failed())?;
        let elder = &self.processes[parent];
        let mut process = Process::descendant(client, parent, descent, pidfd, memory, elder);
        if let Some(birth) = birth
            && birth.has(libc::CLONE_VFORK)
        {
            process.lent_by = Some(birth.thread);
        }
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
        let now_ns = self.threads_of(client).map(|index| self.threads[index].nap.clock_ns).max();
        let nap = Nap::at(now_ns.unwrap_or(0));
        let left = self.threads_of(client).find(|&index| matches!(self.threads[index].state, State::Gone));
        if let Some(index) = left {
            let Thread { id, drawn, steps, .. } = self.threads[index];
            let state = State::Running;
            self.threads[index] = Thread { id, process, tid, state, steps, drawn, cause: None, nap };
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
        self.threads.push(Thread { id, process, tid, state, steps: 0, drawn: 0, cause: None, nap });
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

    /// The descriptors of a process that lead into the state directory and do not outlive an `exec`.
    pub(super) fn closed_by_exec(&self, process: usize) -> Vec<i32> {
        let pid = self.processes[process].pid();
        let closes = |fd: &i32| {
            let told = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
            let flags = told.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
            flags & libc::O_CLOEXEC != 0
        };
        self.processes[process].descriptors.between(0, u32::MAX >> 1).into_iter().filter(closes).collect()
    }

    /// Another program is to be executed: whether it is shows in the next call.
    pub(super) fn execute(&mut self, index: usize, notification: &Notification) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        if self.processes[process].is_root() {
            self.note_escape("a client executed another program in its place");
        }
        let closing = self.closed_by_exec(process);
        self.processes[process].executes = Some(closing);
        self.threads[index].state = State::Running;
        self.answer(index, notification, Answer::Continue)
    }

    /// The first call after an `exec` that was let go on: whether it succeeded, and what follows from it.
    pub(super) fn after_exec(&mut self, index: usize) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        let Some(closing) = self.processes[process].executes.take() else { return Ok(()) };
        if !self.has_new_memory(process) {
            return Ok(());
        }
        let pid = self.processes[process].pid();
        let failed = || ArenaError::environment(format!("following process {pid} into another program"));
        let memory = ClientMemory::open(pid).map_err(failed())?;
        silence_vdso(pid, &memory).map_err(failed())?;
        let own = &mut self.processes[process];
        own.memory = memory;
        own.borrows_memory = false;
        for fd in closing {
            if let Some(file) = self.processes[process].descriptors.remove(fd) {
                let mut released = std::mem::take(&mut self.released);
                self.forget(process, file, &mut released);
                self.released = released;
            }
        }
        for other in 0..self.threads.len() {
            if other != index && self.threads[other].process == process {
                self.threads[other].state = State::Gone;
            }
        }
        self.stirs += 1;
        self.give_back_memory(process);
        Ok(())
    }

    /// Whether a process has executed another program since its memory was opened.
    fn has_new_memory(&self, process: usize) -> bool {
        let own = &self.processes[process];
        match own.parent {
            // Its memory was its parent's, who still has it.
            Some(parent) if own.borrows_memory => !same_memory(own.pid(), self.processes[parent].pid()),
            _ => own.memory.is_gone(),
        }
    }

    /// Who lent its memory to a process has it back.
    fn give_back_memory(&mut self, process: usize) {
        if let Some(lender) = self.processes[process].lent_by.take()
            && matches!(self.threads[lender].state, State::Lending)
        {
            self.threads[lender].state = State::Running;
            self.note_cause(lender);
        }
    }

    /// A process that was started by a client ends: as a step, if that gives anything back.
    pub(super) fn end_descendant(&mut self, process: usize) -> Result<(), ArenaError> {
        let begun = Instant::now();
        while self.processes[process].is_alive() {
            if begun.elapsed() > self.launch.hang {
                let pid = self.processes[process].pid();
                return Err(ArenaError::Client(format!(
                    "process {pid}, which a client started, does not end"
                )));
            }
            self.processes[process].wait_for_end();
        }
        self.bury(process);
        Ok(())
    }

    /// A process has ended.
    pub(super) fn bury(&mut self, process: usize) {
        let mut released = std::mem::take(&mut self.released);
        for file in self.processes[process].descriptors.take().collect::<Vec<_>>() {
            self.forget(process, file, &mut released);
        }
        self.released = released;
        for thread in self.threads.iter_mut().filter(|thread| thread.process == process) {
            thread.state = State::Gone;
        }
        self.processes[process].has_ended = true;
        self.stirs += 1;
        self.signals = true;
        self.give_back_memory(process);
    }

    /// Buries the members of a family that have died, or are about to because of a signal.
    pub(super) fn bury_the_dead(&mut self, client: usize) -> Result<bool, ArenaError> {
        let mut any = false;
        for process in self.family_of(client).collect::<Vec<_>>() {
            let own = &self.processes[process];
            if own.is_root() || own.has_ended {
                continue;
            }
            if !own.is_alive() || own.is_dying() {
                self.end_descendant(process)?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Ends all processes that a client has started.
    pub(super) fn end_family(&mut self, client: usize, footprint: &mut Footprint) -> Result<(), ArenaError> {
        for process in self.family_of(client).collect::<Vec<_>>() {
            if !self.processes[process].is_root() && !self.processes[process].has_ended {
                self.processes[process].strike();
                self.end_descendant(process)?;
            }
        }
        self.processes[client].births.clear();
        footprint.extend(std::mem::take(&mut self.released));
        Ok(())
    }

    /// Waits until nothing is left of the processes that have ended: their numbers are to be free.
    pub(super) fn see_them_gone(&self) -> Result<(), ArenaError> {
        if self.launch.nest.is_none() {
            return Ok(());
        }
        let begun = Instant::now();
        let left = |process: &&Process| !process.is_root() && process.has_ended && !process.is_buried();
        while let Some(process) = self.processes.iter().find(left) {
            if begun.elapsed() > self.launch.hang {
                let pid = process.pid();
                return Err(ArenaError::Client(format!(
                    "nobody reaps process {pid}, which a client started"
                )));
            }
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        Ok(())
    }

    /// Whether a wait for a child would return: one has ended, or there is none.
    pub(super) fn child_is_due(&self, parent: usize, pid: i32) -> bool {
        // One that was just started lives, though it was not seen yet.
        let births = &self.processes[self.processes[parent].client].births;
        let mut lives = births.iter().any(|birth| !birth.is_thread() && birth.process == parent);
        let elder = &self.processes[parent];
        for process in &self.processes {
            let number = if elder.is_root() { process.pid() } else { process.inner };
            if process.parent != Some(parent) || pid > 0 && number as i32 != pid {
                continue;
            }
            match process.has_ended {
                true if process.is_zombie_of(self.processes[parent].pid()) => return true,
                true => {}
                false => lives = true,
            }
        }
        !lives
    }
}

/// Whether two processes share their memory.
fn same_memory(one: u32, other: u32) -> bool {
    const KCMP_VM: i32 = 1;
    // SAFETY: takes plain numbers.
    let compared = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) };
    if compared >= 0 {
        return compared == 0;
    }
    // Without that call: where stack and arguments lie is another place in another program.
    let places = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit(')').next().unwrap_or_default().to_owned();
        let fields: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
        // From the third on: 26 to 28 and 48 to 51 of the file.
        [23, 24, 25, 45, 46, 47, 48].map(|at| fields.get(at).cloned())
    };
    places(one) == places(other)
}

/// How a member of a family is started and known; see [`Process`].
impl Process {
    /// A process that a client has started.
    fn descendant(
        client: usize,
        parent: usize,
        descent: &Descent,
        pidfd: std::os::fd::OwnedFd,
        memory: ClientMemory,
        elder: &Self,
    ) -> Self {
        Self {
            client,
            parent: Some(parent),
            inner: descent.inner,
            body: Body::Descendant(descent.process, pidfd),
            listener: elder.listener.clone(),
            memory,
            descriptors: elder.descriptors.clone(),
            directory: elder.directory,
            umask: elder.umask,
            births: Vec::new(),
            born: 0,
            borrows_memory: false,
            lent_by: None,
            executes: None,
            has_ended: false,
            base: 0,
            lines: Vec::new(),
            first_line: 0,
            line_count: 0,
            line_start: 0,
        }
    }

    /// Whether it is about to die of a signal.
    fn is_dying(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let pending = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or(0)
        };
        (pending("SigPnd:") | pending("ShdPnd:")) & 1 << (libc::SIGKILL - 1) != 0
    }

    /// Whether it has ended and this parent has not asked after it.
    fn is_zombie_of(&self, parent: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let rest = stat.rsplit(')').next().unwrap_or_default();
        let mut fields = rest.split_whitespace();
        fields.next() == Some("Z") && fields.next().and_then(|field| field.parse().ok()) == Some(parent)
    }

    /// Whether nothing is left of it, so that its place can be taken.
    fn is_buried(&self) -> bool {
        !self.is_root() && self.has_ended && !std::path::Path::new(&format!("/proc/{}", self.pid())).exists()
    }

    /// Waits a while for its end.
    fn wait_for_end(&self) {
        let mut poll = libc::pollfd { fd: self.pidfd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, which outlives the call. Whether it has ended is asked anew.
        unsafe { libc::poll(&raw mut poll, 1, 100) };
    }

    /// Sends SIGKILL.
    fn strike(&self) {
        // Who is gone already needs none.
        let _ = rustix::process::pidfd_send_signal(self.pidfd(), rustix::process::Signal::KILL);
    }
}
