//! The tracer: waits for stops of the program and everything that it starts, and writes down the
//! calls that concern a watched directory.
//!
//! A call stops at the filter, before it is made. One that is of no interest goes on at once; another
//! one stops again when it has returned. A call that a signal broke off and that is made again, be it
//! by the kernel or by the program, is one record.
//!
//! Everything happens on the thread that calls [`trace`], since only the thread that seized a process
//! may speak to it; it waits for no other thread's children.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::launch::{Program, launch};
use super::names::{Named, Names};
use super::record::{Note, Outcome, Process, ProcessEnd, Record, Trace};
use super::{TraceError, filter};
use crate::explore::gate::{Call, ClientMemory, Notification, Target};
use crate::process::Interrupt;

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The directories, as absolute paths without symbolic links.
    pub directories: Vec<PathBuf>,
    /// Whether calls outside of them are kept too.
    pub everything: bool,
}

/// More calls than this are not kept.
const MOST_RECORDS: usize = 500_000;
/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(20);
/// libc has it for other C libraries only.
const EVENT_STOP: i32 = 128;
/// What the kernel lets a tracer see of a call that a signal broke off: `ERESTARTSYS` and its kin.
const RESTARTS: std::ops::RangeInclusive<i64> = 512..=516;

/// Runs a program to its end, and that of everything it started, and says what it did.
///
/// # Errors
/// When the program cannot be started or traced. How it ends is no error.
pub fn trace(program: &Program, watch: &Watch, interrupt: &Interrupt) -> Result<Trace, TraceError> {
    let begin = Instant::now();
    let (root, mut report) = launch(program)?;
    let alive = Mutex::new(Vec::new());
    let over = AtomicBool::new(false);
    let traced = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| kill_when_interrupted(interrupt, &alive, &over));
        let mut tracer = Tracer {
            begin,
            names: Names::new(watch.directories.clone()),
            everything: watch.everything,
            alive: &alive,
            threads: HashMap::new(),
            memories: HashMap::new(),
            started: false,
            trace: Trace::default(),
        };
        tracer.born(root, None);
        let traced = tracer.follow(root);
        over.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        traced.map(|()| tracer.trace)
    });
    let mut trace = traced.map_err(|error| TraceError::Failed { what: "waiting for the program", error })?;
    trace.interrupted = interrupt.raised();
    let mut code = [0; 4];
    if report.read_exact(&mut code).is_ok() {
        let error = io::Error::from_raw_os_error(i32::from_ne_bytes(code));
        return Err(TraceError::Exec { program: program.path.clone(), error });
    }
    Ok(trace)
}

/// Kills everybody when the run is to stop: the tracer sleeps in the kernel, and hears of it by that.
fn kill_when_interrupted(interrupt: &Interrupt, alive: &Mutex<Vec<(u32, OwnedFd)>>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        if interrupt.raised() {
            for (_, process) in lock(alive).iter() {
                // SAFETY: plain numbers. Who is dead already is no error.
                unsafe {
                    libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, 0, 0)
                };
            }
        }
        std::thread::park_timeout(LOOK);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a call was made from, to know it again when it is made once more.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    number: i64,
    arguments: [u64; 6],
    instruction: u64,
    stack: u64,
}

#[derive(Default)]
struct Thread {
    pid: u32,
    /// The call that it is in: its place and its record.
    within: Option<(Place, usize)>,
    /// The call that a signal broke off.
    broken_off: Option<(Place, usize)>,
}

struct Tracer<'t> {
    begin: Instant,
    names: Names,
    everything: bool,
    /// The processes that live, and a descriptor of each that no other one can inherit.
    alive: &'t Mutex<Vec<(u32, OwnedFd)>>,
    threads: HashMap<u32, Thread>,
    memories: HashMap<u32, ClientMemory>,
    /// Whether the program has been executed: what comes before is this one's own doing.
    started: bool,
    trace: Trace,
}

impl Tracer<'_> {
    fn follow(&mut self, root: u32) -> io::Result<()> {
        while !self.threads.is_empty() {
            let mut status = 0;
            // SAFETY: the status outlives the call.
            let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
            if tid < 0 {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::ECHILD) => break,
                    _ => return Err(error),
                }
            }
            let tid = tid as u32;
            if libc::WIFSTOPPED(status) {
                self.stopped(tid, libc::WSTOPSIG(status), status >> 16);
            } else {
                let end = match libc::WIFEXITED(status) {
                    true => ProcessEnd::Exited(libc::WEXITSTATUS(status)),
                    false => ProcessEnd::Killed(libc::WTERMSIG(status)),
                };
                self.ended(tid, end);
            }
        }
        debug_assert!(self.trace.processes.first().is_none_or(|process| process.pid == root));
        Ok(())
    }

    fn stopped(&mut self, tid: u32, signal: i32, event: i32) {
        if !self.threads.contains_key(&tid) {
            // A child may stop before its parent says that there is one.
            self.born(tid, None);
        }
        let mut deliver = 0;
        match (event, signal) {
            (libc::PTRACE_EVENT_SECCOMP, _) => self.calls(tid),
            (libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE, _) => {
                if let Some(child) = message(tid) {
                    self.born(child as u32, Some(tid));
                }
            }
            (libc::PTRACE_EVENT_EXEC, _) => self.executed(tid),
            (EVENT_STOP, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) => {
                // Stays stopped, and hears of the signal that continues it.
                request(libc::PTRACE_LISTEN, tid, 0);
                return;
            }
            (0, signal) if signal == libc::SIGTRAP | 0x80 => self.returned(tid),
            (0, signal) => deliver = signal,
            _ => {}
        }
        let within = self.threads.get(&tid).is_some_and(|thread| thread.within.is_some());
        request(if within { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT }, tid, deliver);
    }

    /// A thread or process is seen for the first time, or its parent is.
    fn born(&mut self, tid: u32, parent: Option<u32>) {
        let parent = parent.and_then(|parent| self.threads.get(&parent)).map(|thread| thread.pid);
        if let Some(known) = self.threads.get(&tid) {
            let pid = known.pid;
            let entry = self.trace.processes.iter_mut().rfind(|process| process.pid == pid && tid == pid);
            if let Some(process) = entry.filter(|process| process.parent.is_none()) {
                process.parent = parent;
            }
            return;
        }
        let pid = process_of(tid).unwrap_or(tid);
        self.threads.insert(tid, Thread { pid, ..Thread::default() });
        if pid != tid {
            return;
        }
        self.trace.processes.push(Process { pid, parent, command: Vec::new(), end: None });
        // SAFETY: plain numbers; the descriptor that comes back is new.
        let process = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if process >= 0 {
            // SAFETY: it belongs to nobody else.
            lock(self.alive).push((pid, unsafe { OwnedFd::from_raw_fd(process as i32) }));
        }
    }

    fn executed(&mut self, tid: u32) {
        // All other threads are gone; the one that did it has taken the number of the process.
        self.threads.retain(|&other, thread| thread.pid != tid || other == tid);
        self.threads.insert(tid, Thread { pid: tid, ..Thread::default() });
        self.memories.remove(&tid);
        self.started = true;
        if let Some(process) = self.trace.processes.iter_mut().rfind(|process| process.pid == tid) {
            let text = fs::read(format!("/proc/{tid}/cmdline")).unwrap_or_default();
            let words = text.strip_suffix(b"\0").unwrap_or(&text).split(|&byte| byte == 0);
            process.command = words.map(|word| OsString::from_vec(word.to_vec())).collect();
        }
    }

    fn ended(&mut self, tid: u32, end: ProcessEnd) {
        self.threads.remove(&tid);
        if let Some(process) =
            self.trace.processes.iter_mut().rfind(|process| process.pid == tid && process.end.is_none())
        {
            process.end = Some(end);
            self.memories.remove(&tid);
            lock(self.alive).retain(|(pid, _)| *pid != tid);
        }
    }

    /// A thread is about to make a call.
    fn calls(&mut self, tid: u32) {
        let Some(info) = information(tid).filter(|_| self.started) else { return };
        if info.op != libc::PTRACE_SYSCALL_INFO_SECCOMP {
            return;
        }
        // SAFETY: the kernel has said that this is what is filled in.
        let (number, arguments) = unsafe { (info.u.seccomp.nr as i64, info.u.seccomp.args) };
        let native = info.arch == NATIVE && number & X32 == 0;
        if !native {
            return self.note(Note::Foreign);
        }
        if number == libc::SYS_io_uring_setup {
            return self.note(Note::IoUring);
        }
        let place =
            Place { number, arguments, instruction: info.instruction_pointer, stack: info.stack_pointer };
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if let Some((broken, record)) = thread.broken_off
            && broken == place
        {
            thread.broken_off = None;
            thread.within = Some((place, record));
            return;
        }
        let pid = thread.pid;
        let notification = Notification { id: 0, tid, number, arguments, native, instruction: 0 };
        let memory = match self.memories.entry(pid) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => match ClientMemory::open(pid) {
                Ok(memory) => entry.insert(memory),
                Err(_) => return,
            },
        };
        // What cannot be read is what the kernel will answer EFAULT to.
        let Ok(call) = Call::decode(&notification, memory) else { return };
        let (first, second) = self.named(tid, &call, &notification);
        let watched = [&first, &second].into_iter().flatten().any(|named| named.watched);
        if !watched && !self.everything && number != libc::SYS_sync {
            return;
        }
        if self.trace.records.len() >= MOST_RECORDS {
            return self.note(Note::TooMany);
        }
        let existed = match (&call, &first) {
            (Call::Open { flags, .. }, Some(named)) if flags & libc::O_CREAT != 0 => {
                Some(fs::symlink_metadata(&named.path).is_ok())
            }
            _ => None,
        };
        let record = Record {
            at_ns: self.begin.elapsed().as_nanos() as u64,
            took_ns: 0,
            pid,
            tid,
            name: filter::name_of(number),
            call,
            path: first.map(|named| named.path),
            path2: second.map(|named| named.path),
            existed,
            outcome: Outcome::Never,
        };
        self.trace.records.push(record);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.within = Some((place, self.trace.records.len() - 1));
        }
    }

    /// The files that a call is about.
    fn named(&self, tid: u32, call: &Call, raw: &Notification) -> (Option<Named>, Option<Named>) {
        let path = |at, follow| self.names.of_path(tid, at, follow);
        let fd = |fd: i32| self.names.of_descriptor(tid, fd);
        let one = match call {
            Call::Open { at, flags, .. } => {
                let exclusive = flags & libc::O_CREAT != 0 && flags & libc::O_EXCL != 0;
                path(at, flags & libc::O_NOFOLLOW == 0 && !exclusive)
            }
            Call::Rename { from, to, .. } => return (path(from, false), path(to, false)),
            Call::Link { from, to, flags } => {
                let itself = from.path.is_empty() && flags & libc::AT_EMPTY_PATH != 0;
                let from = if itself { fd(from.directory) } else { path(from, false) };
                return (from, path(to, false));
            }
            Call::Symlink { at, .. }
            | Call::Unlink { at, .. }
            | Call::MakeNode { at, .. }
            | Call::MakeDirectory { at, .. }
            | Call::ReadLink { at, .. } => path(at, false),
            Call::Access { at, follow, .. } => path(at, *follow),
            Call::Truncate { target, .. }
            | Call::Stat { target, .. }
            | Call::ChangeMode { target, .. }
            | Call::ChangeOwner { target }
            | Call::SetTimes { target, .. }
            | Call::Attribute { target, .. }
            | Call::ChangeDirectory { target } => match target {
                Target::Fd(number) => fd(*number),
                Target::Path(at, follow) => path(at, *follow),
            },
            Call::Close { fd: number }
            | Call::Duplicate { fd: number, .. }
            | Call::Read { fd: number, .. }
            | Call::Write { fd: number, .. }
            | Call::Seek { fd: number, .. }
            | Call::Allocate { fd: number, .. }
            | Call::Sync { fd: number }
            | Call::List { fd: number, .. }
            | Call::Lock { fd: number, .. }
            | Call::Map { fd: number, .. } => fd(*number),
            Call::Other { .. } => return self.named_other(tid, raw),
            _ => None,
        };
        (one, None)
    }

    /// The files of calls that the gate of the explore engine does not tell apart.
    fn named_other(&self, tid: u32, raw: &Notification) -> (Option<Named>, Option<Named>) {
        let a = raw.arguments;
        let fd = |index: usize| self.names.of_descriptor(tid, a[index] as i32);
        match raw.number {
            libc::SYS_copy_file_range | libc::SYS_splice => (fd(0), fd(2)),
            libc::SYS_sendfile => (fd(1), fd(0)),
            libc::SYS_fcntl => (fd(0), None),
            _ => (None, None),
        }
    }

    /// A thread has made the call.
    fn returned(&mut self, tid: u32) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let Some((place, index)) = thread.within.take() else { return };
        let Some(info) = information(tid).filter(|info| info.op == libc::PTRACE_SYSCALL_INFO_EXIT) else {
            return;
        };
        // SAFETY: the kernel has said that this is what is filled in.
        let value = unsafe { info.u.exit.sval };
        let record = &mut self.trace.records[index];
        record.took_ns = (self.begin.elapsed().as_nanos() as u64).saturating_sub(record.at_ns);
        record.outcome = match value {
            // Should it not be made again, this is what the program is told.
            value if RESTARTS.contains(&-value) => {
                thread.broken_off = Some((place, index));
                Outcome::Failed(libc::EINTR)
            }
            value @ -4095..0 => Outcome::Failed(-value as i32),
            value => Outcome::Returned(value),
        };
        if let (Call::Open { .. }, Outcome::Returned(fd), Some(name)) =
            (&record.call, record.outcome, &record.path)
        {
            let name = name.clone();
            if !self.everything || self.names.watches(&name) {
                self.names.opened(tid, fd as i32, &name);
            }
        }
    }

    fn note(&mut self, note: Note) {
        if !self.trace.notes.contains(&note) {
            self.trace.notes.push(note);
        }
    }
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
const X32: i64 = 0x4000_0000;

/// A request without an answer. A thread that was killed meanwhile is reported by the next wait.
fn request(what: libc::c_uint, tid: u32, data: i32) {
    // SAFETY: none of the requests made here reads or writes memory of this process.
    unsafe { libc::ptrace(what, tid, 0usize, data as usize) };
}

/// What an event comes with: the number of a child.
fn message(tid: u32) -> Option<u64> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the word outlives the call.
    let done = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, tid, 0usize, &raw mut message) };
    (done != -1).then_some(message)
}

/// What a thread stopped for.
fn information(tid: u32) -> Option<libc::ptrace_syscall_info> {
    // SAFETY: made of plain numbers, for which zero is a value.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::ptrace_syscall_info>();
    // SAFETY: the kernel writes at most `size` bytes.
    let filled = unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, tid, size, &raw mut info) };
    (filled > 0).then_some(info)
}

/// The process that a thread belongs to.
fn process_of(tid: u32) -> Option<u32> {
    let mut status = String::new();
    File::open(format!("/proc/{tid}/status")).ok()?.read_to_string(&mut status).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}
