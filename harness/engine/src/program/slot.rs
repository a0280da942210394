//! The process of a user's program that is running at the moment, if any, as the hazards see it:
//! [`ChildSlot`] kills, stops and continues it from another thread than the client's.
//!
//! The agent reaps a child only under the slot's lock, and takes it out of the slot in the same
//! breath. A process that has not been reaped keeps its number, and its process group keeps its
//! own; so a signal sent under the lock can hit nobody else.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::cue::Cue;
use crate::process::quiet;

/// Where a client keeps its child, and where hazards reach it.
#[derive(Debug, Default)]
pub struct ChildSlot {
    occupant: Mutex<Occupant>,
    defunct: OnceLock<String>,
    reusable: AtomicBool,
    cue: Cue,
}

#[derive(Debug, Default)]
struct Occupant {
    child: Option<Child>,
    /// Whether [`ChildSlot::kill`] was called on this child.
    killed: bool,
    paused_since: Option<Instant>,
    /// The time that children of this slot have spent paused, without a pause that goes on.
    paused: Duration,
}

/// How a child ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    pub status: ExitStatus,
    /// Whether [`ChildSlot::kill`] was called on it.
    pub killed_by_hazard: bool,
}

impl ChildSlot {
    /// Sends SIGKILL to the process group of the child. Returns whether there was one to hit:
    /// a program in the form of commands has a process only while an operation runs.
    pub fn kill(&self) -> bool {
        let mut occupant = self.lock();
        let hit = occupant.signal(Signal::KILL);
        occupant.killed |= hit;
        hit
    }

    /// Sends SIGSTOP to the process group of the child. The time until [`ChildSlot::resume`] does
    /// not count against the time-out of its operation. Returns whether there was one to hit.
    pub fn pause(&self) -> bool {
        let mut occupant = self.lock();
        let hit = occupant.signal(Signal::STOP);
        if hit && occupant.paused_since.is_none() {
            occupant.paused_since = Some(Instant::now());
        }
        hit
    }

    /// Sends SIGCONT to the process group of the child. Returns whether there was one to hit.
    pub fn resume(&self) -> bool {
        let mut occupant = self.lock();
        let hit = occupant.signal(Signal::CONT);
        occupant.end_pause();
        hit
    }

    /// The number of the child, which is that of its process group too.
    pub fn pid(&self) -> Option<u32> {
        self.lock().child.as_ref().map(Child::id)
    }

    /// Whether there is a child and it has not ended. A worker that acquired a lock and has ended
    /// may have lost the lock with its life, at a time that nobody knows: a critical section that
    /// began with a child ([`ChildSlot::pid`]) and ends without one must not be recorded as if its
    /// holder had kept the lock until now.
    pub fn is_alive(&self) -> bool {
        !self.has_ended()
    }

    /// Why the program could not be started, once the client has given up trying: from then on
    /// every operation fails at once with this message, and going on is pointless.
    pub fn defunct(&self) -> Option<&str> {
        self.defunct.get().map(String::as_str)
    }

    /// Whether the worker has said that its next execution does not depend on those before.
    pub fn is_reusable(&self) -> bool {
        self.reusable.load(Ordering::Relaxed)
    }

    /// What the supervisor is told of requests, and tells.
    pub const fn cue(&self) -> &Cue {
        &self.cue
    }

    pub(super) fn declare_reusable(&self, reusable: bool) {
        self.reusable.store(reusable, Ordering::Relaxed);
    }

    pub(super) fn give_up(&self, message: &str) {
        // A second reason adds nothing to the first.
        let _ = self.defunct.set(message.to_owned());
    }

    pub(super) fn install(&self, child: Child) {
        let mut occupant = self.lock();
        debug_assert!(occupant.child.is_none(), "a client has one process at a time");
        occupant.killed = false;
        occupant.child = Some(child);
    }

    /// The time that children have spent paused, and whether one is paused now.
    pub(super) fn paused(&self) -> (Duration, bool) {
        let occupant = self.lock();
        let current = occupant.paused_since.map(|since| since.elapsed());
        (occupant.paused + current.unwrap_or_default(), current.is_some())
    }

    /// Whether the child has ended, or there is none. It is not reaped.
    pub(super) fn has_ended(&self) -> bool {
        let occupant = self.lock();
        occupant.pid().is_none_or(quiet::has_ended)
    }

    /// Kills what is left of the child's process group and reaps the child. The status is that of
    /// a child which had ended already, and otherwise SIGKILL. `None`: there was no child.
    pub(super) fn reap(&self) -> Option<Exit> {
        let mut occupant = self.lock();
        // Descendants that still run would write into a state directory that is not theirs any
        // more. This comes before the wait: afterwards the number may belong to somebody else.
        occupant.signal(Signal::KILL);
        occupant.end_pause();
        let mut child = occupant.child.take()?;
        let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(libc::SIGKILL));
        Some(Exit { status, killed_by_hazard: occupant.killed })
    }

    fn lock(&self) -> MutexGuard<'_, Occupant> {
        self.occupant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ChildSlot {
    fn drop(&mut self) {
        self.reap();
    }
}

impl Occupant {
    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.as_ref()?.id()).ok()?)
    }

    fn signal(&self, signal: Signal) -> bool {
        self.pid().is_some_and(|pid| kill_process_group(pid, signal).is_ok())
    }

    fn end_pause(&mut self) {
        if let Some(since) = self.paused_since.take() {
            self.paused += since.elapsed();
        }
    }
}
