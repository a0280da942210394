//! A client process behind its gate: started, fetched, replaced.

use std::cell::Cell;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::copies::AtHand;
use super::descriptors::Descriptors;
use super::dial::Dial;
use super::family::{Birth, Origin};
use super::held::Held;
use super::lookout::Runtime;
use super::loose::Loose;
use super::nursery::{Cradle, Offspring, Patience};
use super::timers::Timers;
use super::tree::Inode;
use super::whereabouts::TICKS_A_SECOND;
use super::{Arena, ArenaError, State};
use crate::explore::access::Footprint;
use crate::explore::gate::{ClientMemory, Listener, Notification, ReceiveError};
use crate::explore::open_files::OpenFiles;
use crate::explore::system::ThreadId;
use crate::explore::watchdog::Watchdog;
use crate::process::{Executable, Interrupt, Nest};
use crate::record::{SharedMemory, SharedRing, ring_at};
use crate::worker::{Control, PartKind, Specification, ThreadLine};

/// Who could work and is not let is waited for so many times as long.
const STARVING: u32 = 12;

/// What the arena needs to start processes.
pub struct Launch<'s> {
    /// What they are to do.
    pub specification: &'s Specification,
    /// The shared memory, in which the specification lies already.
    pub memory: &'s SharedMemory,
    /// How this binary is run again.
    pub executable: &'s Executable,
    /// Where their standard error goes.
    pub complaints: std::fs::File,
    /// Where the programs live that clients start, so that their process ids are the same each time.
    pub nest: Option<Nest>,
    /// Whether to stop.
    pub interrupt: &'s Interrupt,
    /// Interrupts waits at the gate that take long.
    pub watchdog: Watchdog,
    /// How long a client may stay away from the gate.
    pub hang: Duration,
    /// The limit on open files, which is not the clients'.
    pub(in crate::explore) open_files: OpenFiles,
    /// How old what is there at the start looks, in nanoseconds.
    pub age_of_world_ns: u64,
    /// What is added to the environment of the clients, and so of the programs that they start.
    pub environment: &'s [(&'static str, String)],
}

impl Launch<'_> {
    /// The last lines that clients have written to their standard error.
    pub fn complaints(&self) -> String {
        use std::os::unix::fs::FileExt;
        let mut text = vec![0; 4096];
        let length = self.complaints.metadata().map_or(0, |metadata| metadata.len());
        let read = self.complaints.read_at(&mut text, length.saturating_sub(4096)).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..read]).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(4)..].join("; ")
    }

    /// Where a thread records.
    pub(super) fn ring(&self, thread: usize) -> SharedRing<'_> {
        let layout = Control::open(self.memory).layout();
        ring_at(self.memory, layout.ring_start(thread), layout.ring)
    }

    /// How much these threads have ever recorded, in words.
    pub(super) fn recorded(&self, threads: std::ops::Range<usize>) -> u64 {
        threads.map(|thread| self.ring(thread).published()).sum()
    }

    /// Forgets what was recorded so far.
    pub fn discard_recordings(&self) {
        let layout = Control::open(self.memory).layout();
        for thread in 0..layout.threads {
            ring_at(self.memory, layout.ring_start(thread), layout.ring).discard();
        }
    }
}

/// How a process is known to the supervisor.
#[derive(Debug)]
pub(super) enum Body {
    /// Its own child.
    Child(Offspring),
    /// A process that a client started: its number, and a descriptor of it.
    Descendant(u32, OwnedFd),
}

/// One process of a client's family.
#[derive(Debug)]
pub(super) struct Process {
    /// The client to whose family it belongs: the number of the process that the supervisor started.
    pub client: usize,
    /// The process that started it, if a client did.
    pub parent: Option<usize>,
    /// Its number as it sees it itself.
    pub inner: u32,
    pub body: Body,
    pub listener: Rc<Listener>,
    pub memory: ClientMemory,
    pub descriptors: Descriptors,
    pub loose: Vec<Loose>,
    /// Threads and processes that were started in the family and have not come to the gate yet; of the
    /// client's own process.
    pub births: Vec<Birth>,
    /// Calls of the family that are held until others have come as well; of the client's own process.
    pub held: Vec<Held>,
    /// The thread whose call was taken in last, and how many were in a row; of the client's own process.
    pub in_a_row: (u32, u32),
    /// How many of them got numbers in this execution; of the client's own process.
    pub born: u32,
    /// How many had, when the worker that plays on was ready.
    pub born_when_ready: u32,
    /// There were some in this execution; of the client's own process.
    pub grew: bool,
    /// Its memory is its parent's, until it executes a program.
    pub borrows_memory: bool,
    /// The thread that stands still until this process has memory of its own, or has ended.
    pub lent_by: Option<usize>,
    /// Who has started it, if that was seen.
    pub origin: Option<Origin>,
    /// It was let execute a program, which closes these descriptors, and has not been seen since.
    pub executes: Option<Vec<i32>>,
    pub has_ended: bool,
    /// Nothing is left of it, as it was found.
    pub buried: Cell<bool>,
    /// The runtime of its program.
    pub runtime: Runtime,
    /// It has begun to play its part since the last execution ended.
    pub plays: bool,
    /// It has done anything since it was started: one that is played for has not.
    pub used: bool,
    /// It has played its part before, and lives on.
    pub has_played: bool,
    /// How much had stirred when it was last asked who of the family has died; of the client's own process.
    pub looked_at: u64,
    /// How much had stirred when somebody of the family last did something of which that is counted; of the client's
    /// own process.
    pub stirred_at: u64,
    /// The same when one of them was sent a signal, perhaps, as a child that has ended sends its parent one.
    pub signalled_at: u64,
    pub at_hand: AtHand,
    pub timers: Timers,
    /// From which it reads the time.
    pub dial: Dial,
    /// The process of the family whose dial was set last, if that was not for a lookout; of the client's own
    /// process.
    pub reads: Option<usize>,
    /// The latest time that the family was shown, in nanoseconds; of the client's own process.
    pub shown_ns: u64,
    /// The current directory, where it is in the state directory.
    pub directory: Option<Inode>,
    pub umask: u32,
    /// Where the process has mapped the shared page.
    pub base: u64,
    /// Threads that have parked, and their lines in the shared page.
    pub lines: Vec<(ThreadId, usize)>,
    pub first_line: usize,
    pub line_count: usize,
    /// Where in the page these lines park and mark: offsets that end in a thread's own words.
    pub line_start: u64,
}

impl Process {
    pub fn pid(&self) -> u32 {
        match &self.body {
            Body::Child(child) => child.id(),
            Body::Descendant(pid, _) => *pid,
        }
    }

    /// A descriptor of it.
    pub const fn pidfd(&self) -> &OwnedFd {
        match &self.body {
            Body::Child(child) => &child.pidfd,
            Body::Descendant(_, pidfd) => pidfd,
        }
    }

    /// Whether the supervisor started it.
    pub const fn is_root(&self) -> bool {
        matches!(self.body, Body::Child(_))
    }

    /// The line in the shared page of a thread that has parked before.
    pub fn line_of(&self, thread: ThreadId) -> Option<usize> {
        self.lines.iter().find(|(known, _)| *known == thread).map(|(_, line)| *line)
    }

    pub fn set_line(&mut self, thread: ThreadId, line: usize) {
        if self.line_of(thread).is_none() {
            self.lines.push((thread, line));
        }
    }

    /// Which thread's line an address belongs to.
    pub fn line_at(&self, address: u64) -> Option<usize> {
        let offset = address.checked_sub(self.base)?.checked_sub(self.line_start)?;
        let line = (offset / 64) as usize;
        (line < self.line_count).then_some(self.first_line + line)
    }

    /// Whether an address in a thread's line is that by which an operation is marked.
    pub fn begins_at(&self, address: u64) -> bool {
        ThreadLine::is_begin(address.wrapping_sub(self.base))
    }

    /// How the process ended, once it has.
    pub fn status(&mut self) -> String {
        let status = match &mut self.body {
            Body::Child(child) => child.try_wait().ok().flatten(),
            Body::Descendant(..) => None,
        };
        status.map_or_else(|| "nobody knows how".to_owned(), |status| status.to_string())
    }

    /// The lowest number from this one on that is free in the process's table.
    pub fn free_descriptor(&self, not_below: i32) -> i32 {
        let pid = self.pid();
        let taken = |fd: &i32| std::fs::symlink_metadata(format!("/proc/{pid}/fd/{fd}")).is_ok();
        (not_below..).find(|fd| !taken(fd)).unwrap_or(not_below)
    }

    /// Whether the process has not ended.
    pub fn is_alive(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(self.pidfd(), rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(0))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A client's own process is seen to by its handle.
        if let Body::Descendant(_, pidfd) = &self.body
            && !self.has_ended
        {
            let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }
}

impl Arena<'_> {
    /// Starts a process and waits until it stands at its gate.
    pub(super) fn spawn(&mut self, index: usize) -> Result<(), ArenaError> {
        let process = self.start_process(index)?;
        self.understudies[index].forget_process();
        if index == self.processes.len() {
            self.processes.push(process);
        } else {
            self.processes[index] = process;
        }
        let part = &self.specification.processes[index];
        // Threads park one after the other; none of them is known before.
        let mut parked = 0;
        while parked < part.threads {
            let Some(notification) = self.receive(index)? else {
                return Err(ArenaError::Client(format!(
                    "client process {index} ended before it could play: {}",
                    self.launch.complaints()
                )));
            };
            self.arrive(index, notification)?;
            parked = self
                .threads
                .iter()
                .filter(|thread| thread.process == index && matches!(thread.state, State::Parked(_)))
                .count();
        }
        Ok(())
    }

    fn start_process(&mut self, index: usize) -> Result<Process, ArenaError> {
        let line = self.control.process(index);
        line.gate().store(0, Ordering::SeqCst);
        line.keeps_worker().store(0, Ordering::SeqCst);
        let part = &self.specification.processes[index];
        // A client that has just begun waits for the next execution; others may have something to do in this one.
        let known = match part.kind {
            PartKind::Client(_) => self.generation,
            _ => self.generation.wrapping_sub(1),
        };
        for thread in 0..part.threads {
            let number = part.first_thread + thread;
            self.control.thread(number).client().store(number as u32 + 1, Ordering::SeqCst);
            self.control.thread(number).go().store(known, Ordering::SeqCst);
        }
        let (child, listener) = self.bear(index)?;
        // An agent lives long, and what it drives is followed into other programs.
        let memory = match self.drives(index) {
            true => ClientMemory::open(child.id()),
            false => ClientMemory::of_child(child.id()),
        };
        let memory = memory
            .map_err(ArenaError::environment(format!("opening the memory of client process {index}")))?;
        Ok(Process {
            base: line.base().load(Ordering::SeqCst),
            client: index,
            parent: None,
            inner: child.id(),
            body: Body::Child(child),
            listener,
            memory,
            descriptors: Descriptors::default(),
            loose: Vec::new(),
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
            dial: Dial::default(),
            reads: None,
            shown_ns: 0,
            directory: None,
            umask: self.umask,
            lines: Vec::new(),
            first_line: part.first_thread,
            line_count: part.threads,
            line_start: self.control.thread_line_start(part.first_thread),
        })
    }

    /// Has a client's process made, behind a gate. One that is made again gets a cradle. Not so who drives a program:
    /// what is left of the program's processes could come to the gate of the next ones.
    fn bear(&mut self, index: usize) -> Result<(Offspring, Rc<Listener>), ArenaError> {
        let again = index < self.processes.len() && !self.drives(index);
        if again && self.cradles.get(index).is_none_or(Option::is_none) {
            let mut child = self.nursery.bear(index, true, &self.launch, &self.control)?;
            let listener = self.fetch(index, &mut child)?;
            self.cradles.resize_with(self.cradles.len().max(index + 1), || None);
            self.cradles[index] = Some(Cradle::new(child, listener));
        }
        if let Some(Some(cradle)) = self.cradles.get_mut(index) {
            let child = cradle.bear(index, &self.launch, &self.control)?;
            return Ok((child, Rc::clone(&cradle.listener)));
        }
        let mut child = self.nursery.bear(index, false, &self.launch, &self.control)?;
        let listener = self.fetch(index, &mut child)?;
        Ok((child, listener))
    }

    /// Waits until a process has installed its gate, and takes the listener over.
    fn fetch(&self, index: usize, child: &mut Offspring) -> Result<Rc<Listener>, ArenaError> {
        let failed = || ArenaError::environment(format!("fetching the gate of client process {index}"));
        let mut patience = Patience::begin(self.launch.hang);
        let line = self.control.process(index);
        let number = loop {
            match line.gate().load(Ordering::SeqCst) {
                0 => {}
                number => break number - 1,
            }
            let goes_on = patience.wait();
            if goes_on && patience.is_new() {
                continue;
            }
            if let Some(status) = child.try_wait().map_err(failed())? {
                return Err(ArenaError::Client(format!(
                    "client process {index} ({}) could not install its gate and ended ({status}): {} (hint: \
                     `tearproof doctor` says what this machine allows)",
                    self.specification.processes[index].strategy,
                    match self.launch.complaints() {
                        said if said.is_empty() => "it said nothing".to_owned(),
                        said => said,
                    }
                )));
            }
            if !goes_on {
                return Err(ArenaError::Client(format!("client process {index} did not start in time")));
            }
        };
        // SAFETY: takes plain numbers; what it returns is a new descriptor that nobody else has.
        let listener = unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_getfd, child.pidfd.as_raw_fd(), number, 0);
            if fd < 0 {
                return Err(failed()(std::io::Error::last_os_error()));
            }
            OwnedFd::from_raw_fd(fd as i32)
        };
        Ok(Rc::new(Listener::new(listener)))
    }

    /// The next call of a client's family; `None` when a process has ended that was on its way.
    pub(super) fn receive(&self, index: usize) -> Result<Option<Notification>, ArenaError> {
        let process = &self.processes[index];
        let somebody_died = || {
            let running = |index: &usize| matches!(self.threads[*index].state, State::Running);
            let mut running = self.threads_of(index).filter(running);
            running.any(|index| !self.processes[self.threads[index].process].is_alive())
        };
        let mut begun: Option<(Instant, u64)> = None;
        loop {
            match self.launch.watchdog.watch(|| process.listener.receive()) {
                Ok(notification) => return Ok(Some(notification)),
                Err(ReceiveError::Gone) if !process.is_alive() => return Ok(None),
                Err(ReceiveError::Gone | ReceiveError::Interrupted) => {
                    if !process.is_alive() || somebody_died() {
                        return Ok(None);
                    }
                    if self.launch.interrupt.raised() {
                        return Err(ArenaError::Interrupted);
                    }
                    let (begun, worked) =
                        *begun.get_or_insert_with(|| (Instant::now(), self.work_of(index).ticks));
                    let starves = || {
                        let work = self.work_of(index);
                        work.runs && (work.ticks - worked) * 2 < TICKS_A_SECOND * self.launch.hang.as_secs()
                    };
                    let waited = begun.elapsed();
                    if waited > self.launch.hang && (waited > self.launch.hang * STARVING || !starves()) {
                        return Err(ArenaError::Client(format!(
                            "client process {index} (pid {}) has not come back to the gate for {:?}: {}",
                            process.pid(),
                            self.launch.hang,
                            self.whereabouts(index)
                        )));
                    }
                }
                Err(ReceiveError::Failed(error)) => return Err(ArenaError::gate("receiving")(error)),
            }
        }
    }

    /// Whether a client is alive in this execution.
    pub(super) fn is_alive(&self, index: usize) -> bool {
        !self.doubles[index].is_felled() && self.processes[index].is_alive()
    }

    /// Kills a process, and leaves its place empty.
    pub(super) fn kill(&mut self, index: usize) -> Result<(), ArenaError> {
        let stays = self.fell(index);
        self.end_family(index, &mut Footprint::new())?;
        for thread in self.threads.iter_mut().filter(|thread| thread.process == index) {
            thread.state = State::Gone;
        }
        let process = &mut self.processes[index];
        process.descriptors.clear();
        process.loose.clear();
        process.at_hand = AtHand::default();
        if stays {
            return Ok(());
        }
        let Body::Child(child) = &mut process.body else {
            return Err(ArenaError::Confused("only clients are killed".to_owned()));
        };
        child.kill();
        child.wait().map_err(ArenaError::environment("reaping a client process"))
    }

    /// Kills a process and starts it anew.
    pub(super) fn respawn(&mut self, index: usize) -> Result<(), ArenaError> {
        if self.raise(index) {
            return Ok(());
        }
        self.kill(index)?;
        self.spawn(index)
    }
}

/// The mask that clients inherit.
pub(super) fn current_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}
