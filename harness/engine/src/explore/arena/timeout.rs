//! Time-outs: waits for an event that somebody may cut short, or nobody.
//!
//! Event loops sleep by them: `epoll_wait` on a pipe or a counter by which other threads of the same process can
//! wake the loop, with a limit. Where nobody else can bring what is waited for, the end of the limit is that of a
//! nap (`nap`), with the same rules. Where somebody can, it is that of a wait for an answer, and only a short one is
//! over while others can go on. Which thread of a process looks at files and which one waits is its own affair, so
//! such a nap is cut short by a change of whatever any thread of the process has looked at (`watch`).
//!
//! Limits are counted in milliseconds, and runtimes round down what is left to them. The end is late by one, as it
//! may be, or who has slept would lie down once more for the rest.
//!
//! Not covered: what the harness's own processes wait for is the answer of a program, and their limits are over when
//! nobody can go on.

use super::Arena;
use super::process::Process;
use super::thread::Thread;
use crate::explore::gate::{Form, Wait};

/// By how much the end of a limit is late, in nanoseconds.
pub(super) const LATE_NS: u64 = 1_000_000;

impl Process {
    /// Whether only the process itself can bring what a wait is for.
    fn waits_for_itself(&self, wait: &Wait) -> bool {
        let Wait::Events { sources, form, .. } = wait else { return true };
        match (form, &sources[..]) {
            (Form::Plain, &[(fd, _)]) => self.looked_after_by(fd).iter().all(|&(fd, _)| self.is_its_own(fd)),
            _ => sources.iter().all(|&(fd, _)| fd < 0 || self.is_its_own(fd)),
        }
    }

    /// Whether a descriptor is one by which a process wakes itself: a counter, or a pipe that it has both ends of.
    fn is_its_own(&self, fd: i32) -> bool {
        let folder = format!("/proc/{}/fd", self.pid());
        let Ok(leads_to) = std::fs::read_link(format!("{folder}/{fd}")) else { return false };
        if leads_to.as_os_str() == "anon_inode:[eventfd]" {
            return true;
        }
        if !leads_to.to_string_lossy().starts_with("pipe:") {
            return false;
        }
        let all = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        all.filter(|entry| entry.path().read_link().is_ok_and(|link| link == leads_to)).take(2).count() == 2
    }
}

impl Arena<'_> {
    /// A thread has lain down in a wait, with a limit or without one.
    pub(super) fn rest(&mut self, index: usize, wait: &Wait) {
        let process = self.threads[index].process;
        let own = &self.processes[process];
        let Thread { id, nap, .. } = &mut self.threads[index];
        if !nap.timed || own.is_root() {
            nap.jitter_ns = 0;
            return;
        }
        nap.rests = true;
        nap.watch.rest(*id);
        if !own.waits_for_itself(wait) {
            self.wait_as_for_an_answer(index);
        }
    }
}
