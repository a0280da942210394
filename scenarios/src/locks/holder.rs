//! Who holds a lock: the record in a lock file, and how a process judges whether its author lives.
//!
//! A PID alone is not an identity, since the kernel gives it out again; a PID with the start time
//! of its process is one. A zombie counts as alive until its parent reaps it: that is what
//! kill(2) says of it.

use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};
use serde::{Deserialize, Serialize};

use tearproof_core::strategy::StrategyError;

/// The content of a lock file, as one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The process.
    pub pid: i32,
    /// Start time of the process, in clock ticks since the machine started (field 22 of
    /// `/proc/<pid>/stat`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// The client within the execution; a process can have several. For people: nobody judges
    /// liveness by it.
    #[serde(default)]
    pub client: u32,
    /// The fencing token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
}

/// How to judge whether the author of a record lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// `kill(pid, 0)` alone: a process that got the same PID later passes for the author.
    Pid,
    /// The start time has to agree, too.
    PidAndStart,
}

/// This process, as it signs its locks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pid: i32,
    started: Option<u64>,
    client: u32,
}

impl Identity {
    /// This process in the role of `client`.
    pub fn of(client: u32) -> Self {
        let pid = getpid().as_raw_pid();
        Self { pid, started: start_time(pid), client }
    }

    /// The process id.
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// The end of a file name that no other client uses.
    pub fn draft_suffix(self) -> String {
        format!(".{}.{}.draft", self.pid, self.client)
    }

    /// The line that goes into the lock file.
    pub fn record(self, token: Option<u64>) -> Result<Vec<u8>, StrategyError> {
        let holder = Holder { pid: self.pid, started: self.started, client: self.client, token };
        let mut line =
            serde_json::to_vec(&holder).map_err(|error| StrategyError::failed(error.to_string()))?;
        line.push(b'\n');
        Ok(line)
    }
}

impl Holder {
    /// Whether the author is certainly gone. In doubt it is not.
    pub fn is_dead(&self, liveness: Liveness) -> bool {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.pid > 0) else { return true };
        // EPERM is an answer of somebody else's living process.
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return true;
        }
        match (liveness, self.started) {
            (Liveness::PidAndStart, Some(then)) => start_time(self.pid).is_some_and(|now| now != then),
            _ => false,
        }
    }
}

/// Field 22 of `/proc/<pid>/stat`. The second field is the command in parentheses, which may hold
/// spaces and parentheses itself, so counting starts after the last one.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let tail = stat.rsplit(|&byte| byte == b')').next()?;
    std::str::from_utf8(tail).ok()?.split_ascii_whitespace().nth(19)?.parse().ok()
}
