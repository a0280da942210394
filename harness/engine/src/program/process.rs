//! One process of a user's program with pipes to its standard streams, and the only place where
//! they are waited for.
//!
//! The client's own thread does all of it, by poll with a time-out: there is no thread hop in an
//! operation. Standard error is drained whenever the thread waits. Every descriptor is
//! close-on-exec, so a child holds no end but its own.
//!
//! The child leads a process group of its own, which is killed as a whole before the child is
//! reaped; a background process that a child leaves in its group ends with it. What leaves the
//! group by `setsid`, as a daemon does, is out of reach: it is neither killed nor waited for, and
//! stopping it is up to the user. If the agent itself is killed, the kernel kills the child, but
//! only the child itself; its descendants see the end of their standard input. In a nest all of them live as long as
//! that does.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::slot::{ChildSlot, Exit};
use super::starter;
use super::stderr::StderrTail;
use crate::process::quiet::{self, Pipe};

const CHUNK: usize = 64 * 1024;
/// How long a process that has closed its standard output may take to end.
const CLOSING_GRACE: Duration = Duration::from_millis(200);

/// A child with its pipes. Dropping it kills and reaps it.
pub(super) struct Process {
    slot: Arc<ChildSlot>,
    stdin: Option<Pipe>,
    stdout: Pipe,
    stderr: Option<Pipe>,
    /// Becomes readable when the child ends. Absent on kernels and in sandboxes without pidfds;
    /// the child is then looked at every few milliseconds.
    ending: Option<OwnedFd>,
    /// What was read from standard output and not yet taken.
    pub output: Vec<u8>,
    chunk: Box<[u8]>,
    tail: StderrTail,
}

/// Why waiting ended without the thing that was waited for.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The process has ended; all that it printed is in `output`.
    Ended,
    /// It closed its standard output and lives on.
    Closed,
    /// The time is over.
    TimedOut,
    /// It printed more than the limit.
    TooLong,
    /// A system call of our own failed.
    Broken(&'static str, io::Error),
}

/// What became ready.
struct Ready {
    stdout: bool,
    ended: bool,
    /// Nothing was, in all the time that there was for it.
    silent: bool,
}

/// What a read from standard output brought.
enum Got {
    Bytes,
    Nothing,
    End,
}

/// A point in time that moves on while the child is paused by a hazard. Behind a gate it comes when a wait for it is
/// let end, whatever clocks show: who was suspended is none the slower for it.
pub(super) struct Deadline<'a> {
    /// None behind a gate, where there is no need to look at a clock.
    at: Option<Instant>,
    slot: &'a ChildSlot,
    seen: Duration,
    /// How long may be waited behind a gate, yet.
    allowed: Duration,
}

impl<'a> Deadline<'a> {
    pub fn after(allowed: Duration, slot: &'a ChildSlot) -> Self {
        if starter::is_gated() {
            return Self { at: None, slot, seen: Duration::ZERO, allowed };
        }
        let now = Instant::now();
        let at = now.checked_add(allowed).unwrap_or_else(|| now + Duration::from_secs(86_400 * 365));
        Self { at: Some(at), slot, seen: slot.paused().0, allowed }
    }

    /// A wait of all the time that was left has brought nothing.
    fn note_silence(&mut self) {
        if self.at.is_none() {
            self.allowed = Duration::ZERO;
        }
    }

    /// How long is left; `None` when the time is over.
    fn left(&mut self) -> Option<Duration> {
        let Some(at) = &mut self.at else {
            return (!self.allowed.is_zero()).then_some(self.allowed);
        };
        let now = Instant::now();
        if *at <= now {
            let (paused, still) = self.slot.paused();
            *at += paused.saturating_sub(self.seen);
            self.seen = paused;
            if still {
                *at = (*at).max(now + Duration::from_millis(2));
            }
        }
        at.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

impl Process {
    /// Starts a program in a directory.
    ///
    /// # Errors
    /// What the kernel said to `execve` or `fork`.
    pub fn start(
        command: &[OsString],
        directory: &Path,
        with_stdin: bool,
        verbose: bool,
        slot: &Arc<ChildSlot>,
    ) -> io::Result<Self> {
        let [program, arguments @ ..] = command else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the command is empty"));
        };
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        if !directory.as_os_str().is_empty() {
            command.current_dir(directory);
        }
        command
            .stdin(if with_stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = starter::start(command)?;
        let pid = child.id();
        let pipes = (|| {
            let stdin = child.stdin.take().map(|pipe| Pipe::new(pipe.into())).transpose()?;
            let stdout = child.stdout.take().map(|pipe| Pipe::new(pipe.into())).transpose()?;
            let stderr = child.stderr.take().map(|pipe| Pipe::new(pipe.into())).transpose()?;
            Ok::<_, io::Error>((stdin, stdout.ok_or(ErrorKind::BrokenPipe)?, stderr))
        })();
        slot.install(child);
        let (stdin, stdout, stderr) = pipes.inspect_err(|_| {
            slot.reap();
        })?;
        let ending = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Ok(Self {
            slot: Arc::clone(slot),
            stdin,
            stdout,
            stderr,
            ending,
            output: Vec::new(),
            chunk: vec![0; CHUNK].into_boxed_slice(),
            tail: StderrTail::new(verbose),
        })
    }

    /// Looks, without waiting, whether the process lives and has printed nothing.
    pub fn check_idle(&mut self) -> Result<(), Interruption> {
        let ready = self.wait(false, Duration::ZERO)?;
        let open = self.take_output(&ready)?;
        if ready.ended {
            Err(Interruption::Ended)
        } else if open {
            Ok(())
        } else {
            let slot = Arc::clone(&self.slot);
            Err(self.ended_after_closing(&mut Deadline::after(CLOSING_GRACE, &slot)))
        }
    }

    /// The end of its standard input, unless that is closed.
    pub fn stdin(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().map(AsFd::as_fd)
    }

    /// Writes `request` and waits until a whole line of at most `limit` bytes is in `output`;
    /// returns its length without the newline. `sent` counts the bytes that were handed over.
    pub fn exchange(
        &mut self,
        request: &[u8],
        sent: &mut usize,
        limit: usize,
        allowed: Duration,
    ) -> Result<usize, Interruption> {
        let slot = Arc::clone(&self.slot);
        let mut deadline = Deadline::after(allowed, &slot);
        let mut scanned = 0;
        loop {
            while *sent < request.len() {
                let Some(stdin) = &self.stdin else { break };
                match stdin.write(&request[*sent..]) {
                    Ok(count) => *sent += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // Nobody reads any more. Whether it has ended shows on the other descriptors.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => self.stdin = None,
                    Err(error) => return Err(Interruption::Broken("write to its stdin", error)),
                }
            }
            let Some(left) = deadline.left() else { return Err(Interruption::TimedOut) };
            let ready = self.wait(*sent < request.len() && self.stdin.is_some(), left)?;
            if ready.silent {
                deadline.note_silence();
            }
            // An answer that was printed just before the end counts.
            let open = self.take_output(&ready)?;
            if let Some(end) = self.output[scanned..].iter().position(|&byte| byte == b'\n') {
                if scanned + end > limit {
                    return Err(Interruption::TooLong);
                }
                return Ok(scanned + end);
            }
            scanned = self.output.len();
            if scanned > limit {
                return Err(Interruption::TooLong);
            }
            if ready.ended {
                return Err(Interruption::Ended);
            }
            if !open {
                // A process that is about to end closes its descriptors first.
                return Err(self.ended_after_closing(&mut deadline));
            }
        }
    }

    /// Writes as much of a short request as fits into the pipe.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match &self.stdin {
            // A pipe takes a short line as a whole, or not at all.
            Some(stdin) => stdin.write(request).map(drop),
            None => Ok(()),
        }
    }

    /// Closes standard input and waits until the process has ended, collecting at most `limit` bytes of output.
    pub fn finish(&mut self, limit: usize, allowed: Duration) -> Result<(), Interruption> {
        self.stdin = None;
        let slot = Arc::clone(&self.slot);
        let mut deadline = Deadline::after(allowed, &slot);
        let mut open = true;
        loop {
            let Some(left) = deadline.left() else { return Err(Interruption::TimedOut) };
            let ready = if open { self.wait(false, left)? } else { self.wait_for_end(left)? };
            if ready.silent {
                deadline.note_silence();
            }
            open &= self.take_output(&ready)?;
            if self.output.len() > limit {
                return Err(Interruption::TooLong);
            }
            if ready.ended {
                return Ok(());
            }
        }
    }

    /// Kills what is left of the process group, reaps the child, and takes the rest of what it
    /// wrote to its standard error.
    pub fn reap(&mut self) -> Option<Exit> {
        let exit = self.slot.reap();
        self.read_stderr();
        exit
    }

    /// The last line of standard error, as a continuation of a message.
    pub fn stderr_suffix(&self) -> String {
        self.tail.suffix()
    }

    /// Forgets what was on standard error so far.
    pub fn forget_stderr(&mut self) {
        self.tail.clear();
    }

    fn ended_after_closing(&mut self, deadline: &mut Deadline<'_>) -> Interruption {
        let left = deadline.left().unwrap_or_default().min(CLOSING_GRACE);
        match self.wait_for_end(left) {
            Ok(ready) if ready.ended => Interruption::Ended,
            Ok(_) => Interruption::Closed,
            Err(broken) => broken,
        }
    }

    /// Waits for something to become ready, draining standard error on the way.
    fn wait(&mut self, for_stdin: bool, limit: Duration) -> Result<Ready, Interruption> {
        self.poll(for_stdin, true, limit)
    }

    /// As [`Process::wait`], of a process that has closed its standard output.
    fn wait_for_end(&mut self, limit: Duration) -> Result<Ready, Interruption> {
        self.poll(false, false, limit)
    }

    fn poll(&mut self, for_stdin: bool, for_stdout: bool, limit: Duration) -> Result<Ready, Interruption> {
        const LOOK: Duration = Duration::from_millis(5);
        let sources = [
            (for_stdout.then(|| self.stdout.as_fd()), PollFlags::IN),
            (self.ending.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (self.stderr.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (self.stdin.as_ref().filter(|_| for_stdin).map(AsFd::as_fd), PollFlags::OUT),
        ];
        let limit = if self.ending.is_some() { limit } else { limit.min(LOOK) };
        let Some(listed) = sources.iter().find_map(|(fd, _)| *fd) else {
            // Everything is closed and there is no pidfd.
            std::thread::sleep(limit);
            return Ok(Ready { stdout: false, ended: self.slot.has_ended(), silent: false });
        };
        // A source that is of no interest is not asked after: its place repeats one that is.
        let mut list = sources.map(|(fd, flags)| match fd {
            Some(fd) => PollFd::from_borrowed_fd(fd, flags),
            None => PollFd::from_borrowed_fd(listed, PollFlags::empty()),
        });
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        let polled = match limit {
            Timespec { tv_sec: 0, tv_nsec: 0 } => quiet::look(&mut list),
            limit => poll(&mut list, Some(&limit)).map(drop).map_err(io::Error::from),
        };
        let silent = match polled {
            Ok(()) => self.ending.is_some() && list.iter().all(|source| source.revents().is_empty()),
            Err(error) if error.kind() == ErrorKind::Interrupted => false,
            Err(error) => return Err(Interruption::Broken("poll", error)),
        };
        let is = |place: usize| sources[place].0.is_some() && !list[place].revents().is_empty();
        let (stdout, ended, stderr) = (is(0), is(1), is(2));
        if stderr {
            self.read_stderr();
        }
        Ok(Ready { stdout, ended: ended || (self.ending.is_none() && self.slot.has_ended()), silent })
    }

    /// Takes what is ready. Returns whether standard output is still open.
    fn take_output(&mut self, ready: &Ready) -> Result<bool, Interruption> {
        if ready.ended {
            // All that is left: nobody else is going to print, or at least nobody that counts.
            while matches!(self.read_stdout()?, Got::Bytes) {}
            return Ok(true);
        }
        Ok(!ready.stdout || !matches!(self.read_stdout()?, Got::End))
    }

    fn read_stdout(&mut self) -> Result<Got, Interruption> {
        loop {
            match self.stdout.read(&mut self.chunk) {
                Ok(0) => return Ok(Got::End),
                Ok(count) => {
                    self.output.extend_from_slice(&self.chunk[..count]);
                    return Ok(Got::Bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Got::Nothing),
                Err(error) => return Err(Interruption::Broken("read from its stdout", error)),
            }
        }
    }

    fn read_stderr(&mut self) {
        while let Some(stderr) = &self.stderr {
            match stderr.read(&mut self.chunk) {
                Ok(count) if count > 0 => self.tail.push(&self.chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Closed, or of no more use.
                Ok(_) | Err(_) => self.stderr = None,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.reap();
    }
}

/// What an exit status means, in words.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}{}", signal_name(signal)),
        (None, None) => format!("ended with {status}"),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGKILL => " (SIGKILL)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGTERM => " (SIGTERM)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGPIPE => " (SIGPIPE)",
        _ => "",
    }
}
