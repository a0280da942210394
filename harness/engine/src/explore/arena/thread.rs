//! One thread of a client: where it stands, and whether it can go on.

use std::sync::atomic::Ordering;

use super::locks::Range;
use super::perform::Half;
use super::{Arena, THREADS_OF_A_PROCESS, waits};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind};
use crate::explore::gate::{Call, Notification};
use crate::explore::system::ThreadId;
use crate::worker::PartKind;

/// Where a thread is.
#[derive(Debug)]
pub(super) enum State {
    /// Between two executions, at the futex of the shared page.
    Parked(Notification),
    /// At the gate with a call.
    AtGate(Pending),
    /// Somewhere in user space, on its way to the gate.
    Running,
    /// Ended.
    Gone,
}

/// A call that waits for its turn.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) notification: Notification,
    pub(super) call: Call,
    pub(super) half: Option<Half>,
}

/// One thread of a client.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) id: ThreadId,
    pub(super) process: usize,
    pub(super) tid: u32,
    pub(super) state: State,
    /// Steps in this execution.
    pub(super) steps: u32,
    /// How often it has drawn random bytes in this execution.
    pub(super) drawn: u64,
    pub(super) nap: waits::Nap,
}

impl Arena<'_> {
    pub(super) fn slot(&self, id: ThreadId) -> usize {
        self.threads.iter().position(|thread| thread.id == id).expect("only threads that exist are named")
    }

    /// The thread that makes a call; one that was not seen before is new.
    pub(super) fn thread_of(&mut self, process: usize, tid: u32) -> usize {
        let known = self.threads.iter().position(|thread| {
            thread.process == process && thread.tid == tid && !matches!(thread.state, State::Gone)
        });
        if let Some(index) = known {
            return index;
        }
        let births = &mut self.processes[process].births;
        *births = births.saturating_sub(1);
        let born = self.threads.iter().filter(|thread| thread.process == process).count() as u16;
        // A place that somebody left is taken again, so that births are numbered alike each time.
        let left = self
            .threads
            .iter()
            .position(|thread| thread.process == process && matches!(thread.state, State::Gone));
        // It begins when whoever starts it has come so far.
        let of_process = self.threads.iter().filter(|thread| thread.process == process);
        let now_ns = of_process.map(|thread| thread.nap.clock_ns).max().unwrap_or(0);
        let thread = Thread {
            id: ThreadId(process as u16 * THREADS_OF_A_PROCESS + born.min(THREADS_OF_A_PROCESS - 1)),
            process,
            tid,
            state: State::Running,
            steps: 0,
            drawn: 0,
            nap: waits::Nap::at(now_ns),
        };
        if let Some(index) = left {
            let id = self.threads[index].id;
            self.threads[index] = Thread { id, ..thread };
            return index;
        }
        self.threads.push(thread);
        self.threads.len() - 1
    }

    /// Whether a thread at the gate could go on.
    pub(super) fn can_go(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        let State::AtGate(pending) = &thread.state else { return false };
        match &pending.call {
            Call::Lock { fd, kind, request, wait: true, start, length } => {
                let Some(file) = self.processes[thread.process].descriptors.get(*fd) else { return true };
                let owner = Self::owner(thread.process, file, *kind);
                self.locks.is_free(file.inode, *kind, owner, *request, Range::new(*start, *length))
            }
            Call::Sleep { .. } => self.may_wake(index),
            Call::Futex { .. } => self.may_wake(index),
            call if !self.gates.is_empty() && pending.half.is_none() => {
                match self.writes_to(thread.process, call) {
                    Some(inode) => !self.gates.iter().any(|(gate, _)| *gate == inode),
                    None => true,
                }
            }
            _ => true,
        }
    }

    /// Whether a thread can take a step, without anybody's standing still for it.
    pub(super) fn is_able(&self, index: usize) -> bool {
        if self.is_paused(self.threads[index].process) {
            return false;
        }
        matches!(self.threads[index].state, State::Parked(_)) && self.is_due(index) || self.can_go(index)
    }

    /// Whether a parked thread is to play in this execution and has not yet.
    pub(super) fn is_due(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        let part = &self.specification.processes[thread.process];
        if !matches!(part.kind, PartKind::Client(_)) {
            return false;
        }
        self.processes[thread.process]
            .line_of(thread.id)
            .is_some_and(|line| self.control.thread(line).go().load(Ordering::SeqCst) != self.generation)
    }

    /// Whether several threads share a process's memory, which no gate sees.
    fn shares_memory(&self, process: usize) -> bool {
        let alive = self
            .threads
            .iter()
            .filter(|thread| thread.process == process && !matches!(thread.state, State::Gone));
        alive.take(2).count() > 1
    }

    /// Threads of one process share their memory: whatever one of them does may matter to the others.
    pub(super) fn with_memory(&self, process: usize, mut footprint: Footprint) -> Footprint {
        if self.shares_memory(process) {
            let object = Object { kind: ObjectKind::Memory, key: process as u64 };
            footprint.push(Access { object, mode: Mode::Write });
        }
        footprint
    }
}
