//! What a machine has to have so that anything can be explored on it, tried on a process of its own:
//! the hidden role `probe` stands at a gate and makes a few calls.

use std::ffi::CString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::gate::{Answer, Caller, ClientMemory, Listener, install};
use super::shards::{bind_as_the_first_one, own_tables};
use crate::process::Executable;

/// The file that the probe asks for, which is not there.
const PATH: &str = "/tearproof-stands-at-the-gate";
/// What it is told instead: an answer that no kernel would give.
const ERRNO: i32 = libc::EXDEV;
/// Calls that are timed.
const CALLS: u32 = 1000;
/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Debug)]
pub struct Facilities {
    /// Whether calls of another process can be stopped and answered.
    pub gate: io::Result<Gate>,
    /// Whether a thread can have descriptors of its own, so that several plans are explored at once.
    pub own_tables: io::Result<()>,
}

/// A gate that works.
#[derive(Debug)]
pub struct Gate {
    /// Whether the kernel hands the processor over to whoever is answered (Linux 6.6).
    pub synchronous: bool,
    /// What a call costs that is stopped and answered, in nanoseconds.
    pub call_ns: u64,
    /// Whether the memory of the process can be read and written.
    pub memory: io::Result<()>,
}

impl Facilities {
    /// Tries everything.
    pub fn probe(executable: &Executable) -> Self {
        let own_tables =
            std::thread::spawn(own_tables).join().unwrap_or_else(|_| Err(io::Error::other("panicked")));
        // In a thread of its own, which is bound to one processor for as long as it lasts.
        let gate = std::thread::scope(|scope| scope.spawn(|| gate(executable)).join());
        Self { gate: gate.unwrap_or_else(|_| Err(io::Error::other("panicked"))), own_tables }
    }

    /// Whether plans can be explored here.
    pub fn suffice(&self) -> bool {
        self.gate.as_ref().is_ok_and(|gate| gate.memory.is_ok())
    }
}

fn gate(executable: &Executable) -> io::Result<Gate> {
    bind_as_the_first_one();
    let mut child = Probe(
        executable
            .command("probe")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let result = child.stand_at_the_gate();
    match result {
        Ok(gate) => Ok(gate),
        // It knows better why it could not.
        Err(error) => match child.0.try_wait()?.and_then(|status| status.code()) {
            Some(errno) if errno > 0 => {
                Err(named("installing a filter with user notification", io::Error::from_raw_os_error(errno)))
            }
            _ => Err(error),
        },
    }
}

/// The process that is tried on. It ends with this.
struct Probe(Child);

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Probe {
    fn stand_at_the_gate(&mut self) -> io::Result<Gate> {
        let stdout = self.0.stdout.take().ok_or_else(|| io::Error::other("the probe has no output"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let number: i32 = line.trim().parse().map_err(|_| io::Error::other("the probe did not start"))?;
        let listener = Listener::new(self.fetch(number)?);
        let memory = self.receive(&listener)?;
        let begun = Instant::now();
        for _ in 0..CALLS {
            wait(&listener)?;
            let notification = listener.receive().map_err(io::Error::other)?;
            listener.answer(notification.id, Answer::Errno(ERRNO))?;
        }
        let call_ns = begun.elapsed().as_nanos() as u64 / u64::from(CALLS);
        Ok(Gate { synchronous: listener.is_synchronous(), call_ns, memory })
    }

    /// Takes over the listener, as soon as it is there.
    fn fetch(&mut self, number: i32) -> io::Result<OwnedFd> {
        let pid = rustix::process::Pid::from_child(&self.0);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        let begun = Instant::now();
        loop {
            // SAFETY: takes plain numbers.
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
            if fd >= 0 {
                // SAFETY: what the call returned is a new descriptor that nobody else has.
                return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) });
            }
            let error = io::Error::last_os_error();
            let not_yet = error.raw_os_error() == Some(libc::EBADF) && begun.elapsed() < PATIENCE;
            if !not_yet || self.0.try_wait()?.is_some() {
                return Err(named("taking over a descriptor of another process (pidfd_getfd)", error));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Receives the first call, looks into the memory of whom makes it, and answers.
    fn receive(&self, listener: &Listener) -> io::Result<io::Result<()>> {
        wait(listener)?;
        let notification = listener.receive().map_err(io::Error::other)?;
        let look = || {
            let memory = ClientMemory::open(self.0.id())?;
            let mut path = Vec::new();
            memory.read_text(notification.arguments[1], &mut path)?;
            if path != PATH.as_bytes() {
                return Err(io::Error::other("what was read is not what was written"));
            }
            memory.write(notification.arguments[1], &path)
        };
        let looked =
            look().map_err(|error| named("reading and writing the memory of another process", error));
        listener.answer(notification.id, Answer::Errno(ERRNO))?;
        Ok(looked)
    }
}

/// Waits for a call, but not for ever.
fn wait(listener: &Listener) -> io::Result<()> {
    let time = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut ready = [PollFd::new(listener, PollFlags::IN)];
    match poll(&mut ready, Some(&time))? {
        0 => Err(io::Error::other("no call has come to the gate")),
        _ => Ok(()),
    }
}

fn named(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// What the probe does: says which descriptor its listener will have, installs the gate, and asks for a
/// file. Its exit code is the errno of what failed, or 0.
pub fn probe_main() -> ExitCode {
    let failed = |error: io::Error| ExitCode::from(error.raw_os_error().unwrap_or(libc::EINVAL) as u8);
    let path = CString::new(PATH).expect("no zero byte");
    // The lowest number that is free, which the next descriptor will have.
    let number = match std::fs::File::open("/dev/null") {
        Ok(file) => file.as_raw_fd(),
        Err(error) => return failed(error),
    };
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{number}").and_then(|()| out.flush()) {
        return failed(error);
    }
    if let Err(error) = install(Caller::Program) {
        return failed(error);
    }
    for _ in 0..=CALLS {
        // SAFETY: the path ends in a zero byte and outlives the call.
        let fd = unsafe { libc::openat(libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY) };
        if fd >= 0 || io::Error::last_os_error().raw_os_error() != Some(ERRNO) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
