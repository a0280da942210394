//! The nest: a namespace of process ids for the programs that clients start, in which the supervisor
//! says which number comes next.
//!
//! Programs put their process ids into file names and lock files; in a nest they are the same in every
//! execution. Its first process does nothing but say numbers, and reaps whom nobody else reaps; when it
//! ends, the kernel kills everybody in the namespace.
//!
//! Needs root, or a namespace of users of one's own; and `ns_last_pid` (CONFIG_CHECKPOINT_RESTORE).
//! Without them there is no nest, and programs have the numbers that they happen to get.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{WaitId, WaitIdOptions, waitid};

use nix::sched::{CloneFlags, setns, unshare};

use super::{Executable, die_with_parent};

/// The variable by which a client learns the process id of the nest.
const VARIABLE: &str = "TEARPROOF_NEST";
/// Where the kernel is told which number was given last.
const LAST: &str = "/proc/sys/kernel/ns_last_pid";
/// How long the nest may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
const READY: u8 = b'+';

/// A namespace of process ids, which ends with this.
#[derive(Debug)]
pub struct Nest {
    child: Child,
    line: UnixStream,
}

impl Nest {
    /// Makes one.
    ///
    /// # Errors
    /// When this machine does not allow it.
    pub fn make(executable: &Executable) -> io::Result<Self> {
        let (line, end) = UnixStream::pair()?;
        line.set_read_timeout(Some(PATIENCE))?;
        let child = executable
            .command("nest")
            .arg(std::process::id().to_string())
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(end)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let nest = Self { child, line };
        nest.hear()?;
        Ok(nest)
    }

    /// Has a process that is about to be started live in the nest, and its children.
    pub fn shelter(&self, command: &mut Command) {
        command.env(VARIABLE, self.child.id().to_string());
    }

    /// The next process or thread gets this number.
    ///
    /// # Errors
    /// When the nest does not answer.
    pub fn number(&self, number: u32) -> io::Result<()> {
        (&self.line).write_all(&(number - 1).to_ne_bytes())?;
        self.hear()
    }

    fn hear(&self) -> io::Result<()> {
        let mut answer = [0];
        match (&self.line).read_exact(&mut answer) {
            Ok(()) if answer == [READY] => Ok(()),
            Ok(()) => Err(io::Error::from_raw_os_error(i32::from(answer[0]))),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The first process in the namespace ends with it. It may be this process's child by now.
        let begun = std::time::Instant::now();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        while let Ok(None) = waitid(WaitId::Pgid(Some(group)), options)
            && begun.elapsed() < PATIENCE
        {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Gets a process, which has one thread yet, the rights that it needs for [`enter_nest`].
///
/// # Errors
/// When the kernel does not let it.
pub fn approach_nest() -> io::Result<()> {
    let Some(nest) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let users = PathBuf::from(format!("/proc/{}/ns/user", nest.display()));
    if std::fs::read_link(&users)? != std::fs::read_link("/proc/self/ns/user")? {
        setns(File::open(users)?, CloneFlags::CLONE_NEWUSER)?;
    }
    Ok(())
}

/// Has the children of the calling thread live in the nest that its process was told of; `false` if it was told of
/// none. From then on that thread can start no other threads.
///
/// # Errors
/// When the kernel does not let it.
pub fn enter_nest() -> io::Result<bool> {
    let Some(nest) = std::env::var_os(VARIABLE) else { return Ok(false) };
    let namespace = File::open(format!("/proc/{}/ns/pid_for_children", nest.display()))?;
    setns(namespace, CloneFlags::CLONE_NEWPID)?;
    Ok(true)
}

/// Makes the namespace, and runs its first process.
pub fn nest_main(parent: u32) -> ExitCode {
    let answer = |error: io::Error| {
        let errno = error.raw_os_error().unwrap_or(libc::EPERM);
        // Who does not listen any more has no use for a nest.
        let _ = rustix::io::write(rustix::stdio::stdin(), &[errno as u8]);
        ExitCode::FAILURE
    };
    match make_namespace(parent) {
        Ok(status) => status,
        Err(error) => answer(error),
    }
}

fn make_namespace(parent: u32) -> io::Result<ExitCode> {
    die_with_parent(parent)?;
    if unshare(CloneFlags::CLONE_NEWPID).is_err() {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID)?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    // Its end is the end of everybody in there; it comes when nobody holds the other end of the line.
    let mut first = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1).take_while(|word| word != "nest"))
        .arg("nestling")
        .spawn()?;
    first.wait()?;
    Ok(ExitCode::SUCCESS)
}

/// The first process in the namespace: says which number comes next, until nobody asks.
pub fn nestling_main() -> ExitCode {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    // Nobody waits for those whose parents are gone: the kernel does, if their ends are ignored.
    let ignored = nix::sys::signal::SigHandler::SigIgn;
    // SAFETY: to ignore a signal runs no code of ours.
    #[expect(unsafe_code, reason = "handlers of signals have no other interface")]
    if unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGCHLD, ignored) }.is_err() {
        return ExitCode::FAILURE;
    }
    let mut line = io::stdin().lock();
    let mut number = [0; 4];
    let told = |number: u32| std::fs::write(LAST, number.to_string());
    let mut outcome = told(1);
    loop {
        let answer = match &outcome {
            Ok(()) => READY,
            Err(error) => error.raw_os_error().unwrap_or(libc::EPERM) as u8,
        };
        if rustix::io::write(rustix::stdio::stdin(), &[answer]).is_err()
            || line.read_exact(&mut number).is_err()
        {
            return ExitCode::SUCCESS;
        }
        outcome = told(u32::from_ne_bytes(number));
    }
}
