//! A session: the processes of one plan, from the first spawn to the last reap.
//!
//! All of them are children of this process, so a pid names the right process until it is reaped
//! here, and a signal can never hit a stranger. A process that dies is reaped, its time of death
//! noted, and a fresh one takes its place under new client numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use tearproof_core::history::Failure;

use crate::process::Executable;
use crate::record::{Death, SharedMemory, now_ns};
use crate::worker::{Control, Layout, Moment, PROGRAM_UNUSABLE, PartKind, Specification, Step};

/// How often the processes of one session may die without being told to.
const SURPRISES: u32 = 3;

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The kernel refused something that the harness itself needs.
    #[error("{what}: {source}")]
    Environment {
        /// What the harness was doing.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Processes die, or do not do what they have to.
    #[error("{0}")]
    Processes(String),
    /// The user's program cannot be started. It will not be under another hazard either.
    #[error("{0}")]
    Program(String),
}

impl Trouble {
    pub(super) fn environment(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Environment { what, source }
    }
}

/// One process of a session.
struct Running {
    child: Child,
    /// Becomes readable when the process dies.
    ended: OwnedFd,
}

/// The processes of one plan.
pub struct Session<'s> {
    specification: &'s Specification,
    memory: &'s SharedMemory,
    control: Control<'s>,
    executable: &'s Executable,
    processes: Vec<Option<Running>>,
    /// Clients write here when they have completed a step.
    completed: OwnedFd,
    /// Whatever any of them has to say.
    complaints: File,
    complaints_seen: u64,
    /// Client numbers by thread.
    clients: Vec<u32>,
    next_client: u32,
    /// The thread that each client of this execution is or was, from client 1 on.
    players: Vec<usize>,
    deaths: Vec<Death>,
    surprises: u32,
    problems: Vec<String>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Everybody has completed the step.
    Complete,
    /// The time is over.
    Late,
}

impl<'s> Session<'s> {
    /// The shared memory for a session.
    ///
    /// # Errors
    /// When the machine has not enough of it.
    pub fn memory(specification: &Specification) -> Result<(SharedMemory, Layout, Vec<u8>), Trouble> {
        let json = serde_json::to_vec(specification).expect("a specification is plain data");
        let layout = Layout {
            processes: specification.processes.len(),
            threads: specification.threads(),
            specification: json.len(),
            ring: specification.plan.scenario.stress.ring_bytes as usize,
        };
        let memory = SharedMemory::create(layout.bytes())
            .map_err(Trouble::environment(format!("getting {} bytes of shared memory", layout.bytes())))?;
        Ok((memory, layout, json))
    }

    /// Starts every process.
    ///
    /// # Errors
    /// When one cannot be started; those that were are stopped and reaped.
    pub fn start(
        specification: &'s Specification,
        memory: &'s SharedMemory,
        layout: Layout,
        json: &[u8],
        executable: &'s Executable,
    ) -> Result<Self, Trouble> {
        let control = Control::begin(memory, layout, json);
        let completed = rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
        )
        .map_err(|error| Trouble::Environment {
            what: "making an event descriptor".to_owned(),
            source: error.into(),
        })?;
        let complaints = rustix::fs::memfd_create("tearproof-stderr", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|error| Trouble::Environment {
                what: "making a file for messages of the clients".to_owned(),
                source: error.into(),
            })?;
        rustix::fs::fcntl_setfl(&complaints, rustix::fs::OFlags::APPEND).map_err(|error| {
            Trouble::Environment {
                what: "making a file for messages of the clients".to_owned(),
                source: error.into(),
            }
        })?;
        let mut session = Self {
            specification,
            memory,
            control,
            executable,
            processes: Vec::new(),
            completed,
            complaints: File::from(complaints),
            complaints_seen: 0,
            clients: vec![0; specification.threads()],
            next_client: 1,
            players: Vec::new(),
            deaths: Vec::new(),
            surprises: 0,
            problems: Vec::new(),
        };
        for index in 0..specification.processes.len() {
            let running = session.spawn(index)?;
            session.processes.push(Some(running));
        }
        Ok(session)
    }

    fn spawn(&self, index: usize) -> Result<Running, Trouble> {
        let total = self.specification.processes.len();
        let failed = || Trouble::environment(format!("starting client process {} of {total}", index + 1));
        let stdio = |descriptor: &dyn AsFd| -> Result<Stdio, Trouble> {
            Ok(Stdio::from(descriptor.as_fd().try_clone_to_owned().map_err(failed())?))
        };
        let mut child = self
            .executable
            .command("worker")
            .arg(index.to_string())
            .arg(std::process::id().to_string())
            .stdin(stdio(&self.memory.as_fd())?)
            .stdout(stdio(&self.completed)?)
            .stderr(stdio(&self.complaints)?)
            .current_dir(&self.specification.root)
            // The terminal's signals are for the supervisor, which then stops everybody in order.
            .process_group(0)
            .spawn()
            .map_err(failed())?;
        let pid = Pid::from_child(&child);
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(ended) => Ok(Running { child, ended }),
            Err(error) => {
                // Nobody else knows of it.
                let _ = child.kill();
                let _ = child.wait();
                Err(failed()(error.into()))
            }
        }
    }

    /// The shared page.
    pub const fn control(&self) -> &Control<'s> {
        &self.control
    }

    /// Gives every thread a new client number, for a new execution.
    pub fn number_clients(&mut self) {
        self.next_client = 1;
        self.players.clear();
        self.deaths.clear();
        for process in 0..self.processes.len() {
            self.control.process(process).stalled_ns().store(0, Ordering::SeqCst);
        }
        for thread in 0..self.clients.len() {
            self.number_client(thread);
        }
    }

    fn number_client(&mut self, thread: usize) {
        self.clients[thread] = self.next_client;
        let line = self.control.thread(thread);
        line.client().store(self.next_client, Ordering::SeqCst);
        line.inside().store(0, Ordering::SeqCst);
        line.busy().store(0, Ordering::SeqCst);
        self.players.push(thread);
        self.next_client += 1;
    }

    /// The part that each client of this execution plays or played.
    pub fn roles(&self) -> BTreeMap<u32, String> {
        let of = |&thread: &usize| {
            let parts = &self.specification.processes;
            let process = parts.partition_point(|part| part.first_thread + part.threads <= thread);
            self.specification.player(process).to_owned()
        };
        (1..).zip(self.players.iter().map(of)).collect()
    }

    /// The processes whose part is of this kind.
    pub fn parts(&self, wanted: impl Fn(PartKind) -> bool) -> Vec<usize> {
        let parts = self.specification.processes.iter().enumerate();
        parts.filter(|(_, part)| wanted(part.kind)).map(|(index, _)| index).collect()
    }

    /// Whether a process has completed a step.
    pub fn has_completed(&self, process: usize, moment: Moment) -> bool {
        self.control.process(process).completed() >= moment
    }

    /// Whether one of a process's threads is inside the critical section.
    pub fn is_inside(&self, process: usize) -> bool {
        let part = &self.specification.processes[process];
        (part.first_thread..part.first_thread + part.threads)
            .any(|thread| self.control.thread(thread).inside().load(Ordering::SeqCst) != 0)
    }

    /// The longest time since the start of the execution for which a process wanted to run and was
    /// not let, as far as it was measured.
    pub fn longest_stall(&self) -> Duration {
        let stalls = (0..self.processes.len()).map(|process| {
            self.note_stall(process);
            self.control.process(process).stalled_ns().load(Ordering::SeqCst)
        });
        Duration::from_nanos(stalls.max().unwrap_or(0))
    }

    fn note_stall(&self, process: usize) {
        self.control.process(process).note_stall(now_ns(), self.specification.beat_period());
    }

    /// Waits until these processes have completed a step, or until an instant. A process that dies
    /// meanwhile is replaced.
    ///
    /// # Errors
    /// When processes keep dying.
    pub fn wait(&mut self, processes: &[usize], moment: Moment, until: Instant) -> Result<Waited, Trouble> {
        loop {
            if processes.iter().all(|&process| self.has_completed(process, moment)) {
                return Ok(Waited::Complete);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::Late);
            }
            self.sleep(left)?;
        }
    }

    /// Sleeps until a process completes a step or dies, at most this long; sees to the dead.
    fn sleep(&mut self, at_most: Duration) -> Result<(), Trouble> {
        let mut watched = vec![PollFd::new(&self.completed, PollFlags::IN)];
        let mut owners = Vec::with_capacity(self.processes.len());
        for (index, running) in self.processes.iter().enumerate() {
            if let Some(running) = running {
                watched.push(PollFd::new(&running.ended, PollFlags::IN));
                owners.push(index);
            }
        }
        let time = Timespec { tv_sec: at_most.as_secs() as _, tv_nsec: at_most.subsec_nanos().into() };
        match rustix::event::poll(&mut watched, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(Trouble::Environment {
                    what: "waiting for clients".to_owned(),
                    source: error.into(),
                });
            }
        }
        let dead: Vec<usize> = watched[1..]
            .iter()
            .zip(owners)
            .filter(|(watched, _)| !watched.revents().is_empty())
            .map(|(_, index)| index)
            .collect();
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.completed, &mut count);
        for process in dead {
            self.surprise(process)?;
        }
        Ok(())
    }

    /// A process died without being told to.
    fn surprise(&mut self, process: usize) -> Result<(), Trouble> {
        let status = self.bury(process, 0, Failure::Error)?;
        let said = self.complaints();
        if status.and_then(|status| status.code()) == Some(PROGRAM_UNUSABLE.into()) {
            // Every client that drives it has said the same, each with a line of its own.
            return Err(Trouble::Program(said.into_iter().next_back().unwrap_or_default()));
        }
        let how = status.map_or_else(|| "in an unknown way".to_owned(), describe);
        let said = if said.is_empty() { "it said nothing".to_owned() } else { said.join("; ") };
        let message = format!("{} died {how}: {said}", self.specification.title(process));
        self.surprises += 1;
        if self.surprises > SURPRISES {
            return Err(Trouble::Processes(message));
        }
        // What differs in numbers alone is the same once more.
        if !self.problems.iter().any(|known| without_digits(known) == without_digits(&message)) {
            self.problems.push(message);
        }
        self.replace(process)
    }

    /// Reaps a process that is dead or about to be, and notes when it died.
    fn bury(
        &mut self,
        process: usize,
        struck_ns: u64,
        failure: Failure,
    ) -> Result<Option<ExitStatus>, Trouble> {
        let Some(mut running) = self.processes[process].take() else { return Ok(None) };
        let status = running
            .child
            .wait()
            .map_err(Trouble::environment(format!("reaping client process {process}")))?;
        let time_ns = now_ns();
        // One that had died of itself before the signal came was no holder any more by then.
        let struck_ns = if status.signal() == Some(Signal::KILL.as_raw()) { struck_ns } else { 0 };
        let part = &self.specification.processes[process];
        for thread in part.first_thread..part.first_thread + part.threads {
            self.deaths.push(Death { client: self.clients[thread], struck_ns, time_ns, failure });
        }
        Ok(Some(status))
    }

    /// Starts a process in the place of one that died.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn replace(&mut self, process: usize) -> Result<(), Trouble> {
        self.replace_after(process, Moment::new(0, Step::Serve))
    }

    /// As [`Session::replace`], with a process that has no part in the execution of this moment any
    /// more and counts as one that has completed the step.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn replace_after(&mut self, process: usize, completed: Moment) -> Result<(), Trouble> {
        let part = &self.specification.processes[process];
        for thread in part.first_thread..part.first_thread + part.threads {
            self.number_client(thread);
        }
        let line = self.control.process(process);
        line.set_completed(completed);
        line.beat_ns().store(0, Ordering::SeqCst);
        self.processes[process] = Some(self.spawn(process)?);
        Ok(())
    }

    /// Kills a process, and starts another in its place.
    ///
    /// # Errors
    /// When it cannot be reaped or replaced.
    pub fn kill_and_replace(&mut self, process: usize, failure: Failure) -> Result<(), Trouble> {
        self.kill(process, failure)?;
        self.replace(process)
    }

    /// Kills a process. Its place stays empty until [`Session::replace`].
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill(&mut self, process: usize, failure: Failure) -> Result<(), Trouble> {
        self.note_stall(process);
        let struck_ns = now_ns();
        self.signal(process, Signal::KILL);
        self.bury(process, struck_ns, failure)?;
        Ok(())
    }

    /// Sends a signal to a process that has not been reaped.
    pub fn signal(&self, process: usize, signal: Signal) {
        if let Some(running) = &self.processes[process] {
            // A process that has just died by itself is no error; it is found dead elsewhere.
            let _ = rustix::process::pidfd_send_signal(&running.ended, signal);
        }
    }

    /// Who died in this execution, and when.
    pub fn deaths(&self) -> &[Death] {
        &self.deaths
    }

    /// What went wrong so far without ending the session.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What clients have written to their standard error since the last call: the last lines.
    pub fn complaints(&mut self) -> Vec<String> {
        let mut text = Vec::new();
        let read = self
            .complaints
            .seek(SeekFrom::Start(self.complaints_seen))
            .and_then(|_| self.complaints.read_to_end(&mut text));
        self.complaints_seen += read.unwrap_or(0) as u64;
        let text = String::from_utf8_lossy(&text);
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        lines.dedup();
        lines.split_off(lines.len().saturating_sub(4))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        for process in 0..self.processes.len() {
            self.signal(process, Signal::KILL);
        }
        for running in self.processes.iter_mut().flatten() {
            let _ = running.child.wait();
        }
    }
}

fn without_digits(message: &str) -> String {
    message.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("with exit status {code}"),
        (None, Some(signal)) => format!("of signal {signal}"),
        (None, None) => "in an unknown way".to_owned(),
    }
}
