//! One thread of a client: where it stands, and whether it can go on.

use std::sync::atomic::Ordering;

use super::copies::Awaited;
use super::locks::Range;
use super::perform::Half;
use super::{Arena, nap};
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
    /// About to begin an operation, to which it may come late.
    Begins(Notification),
    /// Somewhere in user space, on its way to the gate.
    Running,
    /// In a nap that is the runtime's own.
    Napping(Notification),
    /// It stands still until the process that it has started has memory of its own.
    Lending,
    /// Ended.
    Gone,
}

/// A call that waits for its turn.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) notification: Notification,
    pub(super) call: Call,
    pub(super) half: Option<Half>,
    /// Of what it waits for.
    pub(super) awaited: Awaited,
}

impl Pending {
    pub fn new(notification: Notification, call: Call) -> Self {
        Self { notification, call, half: None, awaited: Awaited::default() }
    }
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
    /// How often it had, when the worker that plays on was ready.
    pub(super) drawn_when_ready: u64,
    /// The step that let it go on, if another thread's did.
    pub(super) cause: Option<Object>,
    pub(super) nap: nap::Nap,
}

impl Thread {
    /// Whether it is in a nap that a change of what it has looked at may end.
    pub(super) fn naps(&self) -> bool {
        match self.state {
            State::AtGate(Pending { call: Call::Sleep { .. }, .. }) => true,
            State::AtGate(Pending { call: Call::Wait(_), .. }) => self.nap.rests,
            _ => false,
        }
    }
}

impl Arena<'_> {
    pub(super) fn slot(&self, id: ThreadId) -> usize {
        self.threads.iter().position(|thread| thread.id == id).expect("only threads that exist are named")
    }

    /// Whether a thread at the gate could go on.
    pub(super) fn can_go(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        let State::AtGate(pending) = &thread.state else { return false };
        match &pending.call {
            call @ Call::Lock { wait: true, .. } => {
                self.lock_is_free(thread.process, call) || thread.nap.timed && self.may_wake(index)
            }
            Call::Sleep { .. } => self.may_wake(index),
            Call::Futex { .. } => self.may_wake(index),
            Call::Socket(call) => {
                !self.has_no_message(thread.process, call) || thread.nap.timed && self.may_wake(index)
            }
            // Any other is let go on as soon as that is there, if its time is not over before.
            Call::Wait(wait) => {
                let at_wires = !self.wires_of(thread.process, wait).is_empty();
                let over = wait.is_a_look() || thread.nap.timed && self.may_wake(index);
                over || at_wires && self.has_come(index, wait, &pending.awaited)
            }
            call if !self.gates.is_empty() && pending.half.is_none() => {
                match self.writes_to(thread.process, call) {
                    Some(inode) => !self.gates.iter().any(|(gate, _)| *gate == inode),
                    None => true,
                }
            }
            _ => true,
        }
    }

    /// Whether nobody else has the lock that a process wants.
    pub(super) fn lock_is_free(&self, process: usize, call: &Call) -> bool {
        let Call::Lock { fd, kind, request, start, length, .. } = call else { return true };
        let Some(file) = self.processes[process].descriptors.get(*fd) else { return true };
        let owner = Self::owner(process, file, *kind);
        self.locks.is_free(file.inode, *kind, owner, *request, Range::new(*start, *length))
    }

    /// Whether a thread can take a step, without anybody's standing still for it.
    pub(super) fn is_able(&self, index: usize) -> bool {
        if self.is_paused(self.client_index(index)) {
            return false;
        }
        match self.threads[index].state {
            State::Parked(_) => self.is_due(index),
            State::Begins(_) => true,
            _ => self.can_go(index),
        }
    }

    /// Whether a thread has nothing to do before the next execution.
    pub(super) fn is_idle(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        let process = &self.processes[thread.process];
        match &thread.state {
            State::Parked(_) | State::Napping(_) | State::Gone => true,
            // Who drives a program has threads that wait for orders.
            State::AtGate(Pending { call: Call::Futex { .. }, .. }) => {
                self.drives(process.client) && process.is_root() && process.line_of(thread.id).is_none()
                    || self.is_resting(index)
            }
            _ => self.is_resting(index),
        }
    }

    /// Whether a thread waits for the next execution.
    pub(super) fn is_parked(&self, index: usize) -> bool {
        matches!(self.threads[index].state, State::Parked(_))
    }

    /// Whether anybody has something to do yet, other than to hold the lock.
    pub(super) fn is_under_way(&self) -> bool {
        (0..self.threads.len()).any(|index| {
            let client = self.client_index(index);
            let begins = self.is_parked(index) && self.is_due(index);
            Some(client) != self.holder && (begins || self.is_able(index) || self.is_asleep(index))
        })
    }

    /// Whether a parked thread is to play in this execution and has not yet.
    pub(super) fn is_due(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        let part = &self.specification.processes[self.client_index(index)];
        if !matches!(part.kind, PartKind::Client(_)) {
            return false;
        }
        self.processes[thread.process]
            .line_of(thread.id)
            .is_some_and(|line| self.control.thread(line).go().load(Ordering::SeqCst) != self.generation)
    }

    /// Whether a client has several threads, or had in this execution: they share what no gate sees, memory and
    /// pipes.
    fn shares_memory(&self, client: usize) -> bool {
        let alive = |index: &usize| !matches!(self.threads[*index].state, State::Gone);
        self.processes[client].grew || self.threads_of(client).filter(alive).take(2).count() > 1
    }

    /// Threads of one client share their memory: whatever one of them does may matter to the others.
    pub(super) fn with_memory(&self, client: usize, mut footprint: Footprint) -> Footprint {
        if self.shares_memory(client) {
            let object = Object { kind: ObjectKind::Memory, key: client as u64 };
            footprint.push(Access { object, mode: Mode::Write });
        }
        footprint
    }
}
