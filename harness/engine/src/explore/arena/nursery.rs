//! Where client processes come from: copies of one that has begun already (see [`crate::worker`]).
//!
//! The clocks of the first one are silenced once, before any copy is made; copies have its memory.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use super::ArenaError;
use super::process::Launch;
use crate::explore::gate::{Auxiliary, ClientMemory, Listener, silence_vdso};
use crate::worker::{Control, NurseryLine};

/// How often a process that is waited for on the same processor is let run, before time is given up.
const YIELDS: u32 = 64;
const NAP: Duration = Duration::from_micros(200);

/// The process of which clients are copies.
#[derive(Debug)]
pub(super) struct Nursery {
    child: Child,
}

impl Nursery {
    /// Starts it.
    pub fn start(launch: &Launch<'_>, control: &Control<'_>) -> Result<Self, ArenaError> {
        let failed = || ArenaError::environment("starting the process of which clients are copies");
        let stdin = launch.memory.as_fd().try_clone_to_owned().map_err(failed())?;
        let null = std::fs::File::options().write(true).open("/dev/null").map_err(failed())?;
        let line = control.nursery();
        line.born().store(NurseryLine::NOBODY, Ordering::SeqCst);
        let mut command = launch.executable.command("worker");
        command
            .arg(launch.specification.processes.len().to_string())
            .arg(std::process::id().to_string())
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(null))
            .stderr(Stdio::from(launch.complaints.try_clone().map_err(failed())?))
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&launch.specification.root)
            .process_group(0);
        if let Some(nest) = &launch.nest {
            nest.shelter(&mut command);
        }
        let mut nursery = Self { child: command.spawn().map_err(failed())? };
        // Copies have its limits.
        launch.open_files.spare(Pid::from_child(&nursery.child)).map_err(failed())?;
        nursery.wait_for(launch, &line)?;
        // It waits, so it is not in the middle of telling the time.
        let pid = nursery.child.id();
        let memory = ClientMemory::open(pid).map_err(failed())?;
        let told = Auxiliary::of(pid).map_err(failed())?;
        // What is built in hardly looks at a clock, so to look after a dial at every step would cost more.
        silence_vdso(&told, &memory, None).map_err(failed())?;
        Ok(nursery)
    }

    /// Has it make the process with this index, or a cradle for it.
    pub fn bear(
        &mut self,
        index: usize,
        a_cradle: bool,
        launch: &Launch<'_>,
        control: &Control<'_>,
    ) -> Result<Offspring, ArenaError> {
        let line = control.nursery();
        line.order(index, a_cradle);
        let pid = self.wait_for(launch, &line)?;
        Offspring::adopt(pid).map_err(ArenaError::environment(format!("adopting client process {index}")))
    }

    fn wait_for(&mut self, launch: &Launch<'_>, line: &NurseryLine<'_>) -> Result<u32, ArenaError> {
        wait_for_birth(launch, line, || self.child.try_wait().map(|status| status.is_some()))
    }
}

/// Waits until somebody was born, or until who bears has ended.
fn wait_for_birth(
    launch: &Launch<'_>,
    line: &NurseryLine<'_>,
    mut has_ended: impl FnMut() -> io::Result<bool>,
) -> Result<u32, ArenaError> {
    let mut patience = Patience::begin(launch.hang);
    loop {
        match line.born().load(Ordering::SeqCst) {
            NurseryLine::NOBODY => {}
            pid => return Ok(pid),
        }
        let goes_on = patience.wait();
        if goes_on && patience.is_new() {
            continue;
        }
        let ended = has_ended().map_err(ArenaError::environment("waiting for a client process"))?;
        if ended || !goes_on {
            let what = if ended { "ended" } else { "does not answer" };
            let complaints = launch.complaints();
            return Err(ArenaError::Client(format!(
                "where clients are made, the process {what}: {complaints}"
            )));
        }
    }
}

/// A process that stands behind the gate of a client, and of which that client is a copy whenever it is born anew
/// (see [`crate::worker`]).
#[derive(Debug)]
pub(super) struct Cradle {
    child: Offspring,
    /// Of the gate. It does not say when the client has ended, since the cradle lives.
    pub listener: Rc<Listener>,
}

impl Cradle {
    pub const fn new(child: Offspring, listener: Rc<Listener>) -> Self {
        Self { child, listener }
    }

    /// Has it make the client, which has this index.
    pub fn bear(
        &mut self,
        index: usize,
        launch: &Launch<'_>,
        control: &Control<'_>,
    ) -> Result<Offspring, ArenaError> {
        let line = control.cradle(index);
        line.order(index, false);
        let has_ended = || self.child.try_wait().map(|status| status.is_some());
        let pid = wait_for_birth(launch, &line, has_ended)?;
        Offspring::adopt(pid).map_err(ArenaError::environment(format!("adopting client process {index}")))
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waiting for another process, which mostly runs on the same processor.
pub(super) struct Patience {
    begun: Instant,
    most: Duration,
    yields: u32,
}

impl Patience {
    pub fn begin(most: Duration) -> Self {
        Self { begun: Instant::now(), most, yields: 0 }
    }

    /// Whether it has only let others run so far.
    pub const fn is_new(&self) -> bool {
        self.yields < YIELDS
    }

    /// Lets others run. Whether there is any patience left.
    pub fn wait(&mut self) -> bool {
        self.yields += 1;
        if self.yields <= YIELDS {
            std::thread::yield_now();
            return true;
        }
        std::thread::sleep(NAP);
        self.begun.elapsed() < self.most
    }
}

/// A child that this process did not start itself.
#[derive(Debug)]
pub(super) struct Offspring {
    pid: Pid,
    pub pidfd: OwnedFd,
    ended: Option<ExitStatus>,
}

impl Offspring {
    fn adopt(pid: u32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
        // It cannot be anybody else: a child's number is its own until it is reaped.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, pidfd, ended: None })
    }

    pub const fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Sends SIGKILL. Who has ended already is not hit.
    pub fn kill(&self) {
        if self.ended.is_none() {
            // The only way to fail is that it has ended.
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        }
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitOptions::NOHANG)
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> io::Result<()> {
        self.reap(WaitOptions::empty()).map(drop)
    }

    fn reap(&mut self, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
        while self.ended.is_none() {
            match rustix::process::waitpid(Some(self.pid), options) {
                Ok(Some((_, status))) => self.ended = Some(ExitStatus::from_raw(status.as_raw())),
                Ok(None) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.ended)
    }
}

impl Drop for Offspring {
    fn drop(&mut self) {
        self.kill();
        let _ = self.wait();
    }
}
