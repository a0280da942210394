//! Workers that play in many executions, since they have said that what they did before has no bearing on what they
//! do.
//!
//! Such a worker waits for the next execution where it waits for a request, with all its threads. What a program does
//! once, on its first request, would make its first execution another one than the later ones; so each new process
//! plays its part once before it is looked at. What it begins in an execution has the numbers that it had in the first
//! one: they are counted from where the worker was ready.
//!
//! Whoever keeps a file of the state directory open, stands in it, waits for the end of some time, or leaves a child
//! that has ended, is no such worker, whatever it says: it begins anew.

use std::sync::atomic::Ordering;

use tearproof_core::scenario::{Program, ProgramForm};

use super::thread::{Pending, State, Thread};
use super::{Arena, ArenaError};
use crate::explore::gate::Call;
use crate::worker::PartKind;

impl Arena<'_> {
    /// Whether workers that say that they can play on in the next execution do so.
    pub fn reuse_workers(&mut self, reuse: bool) {
        self.reuses = reuse;
    }

    /// Whether any worker has said so.
    pub fn offers_reuse(&self) -> bool {
        (0..self.specification.processes.len()).any(|process| self.keeps_worker(process))
    }

    /// Whether any client drives a worker that could.
    pub fn drives_workers(&self) -> bool {
        let is_worker = |program: &Program| matches!(program.form, ProgramForm::Worker { .. });
        let parts = &self.specification.processes;
        let scenario = &self.specification.plan.scenario;
        parts.iter().any(|part| scenario.program(&part.strategy).is_some_and(is_worker))
    }

    /// Whether one was found to remember what it did before, though it says that it does not.
    pub const fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// Notes that one does.
    pub fn doubt_workers(&mut self) {
        self.doubted = true;
    }

    /// Whether what is run now is run by workers that were used before.
    pub const fn is_reusing(&self) -> bool {
        self.reuses && !self.renews
    }

    pub(super) fn keeps_worker(&self, process: usize) -> bool {
        self.control.process(process).keeps_worker().load(Ordering::SeqCst) != 0
    }

    /// Whether a thread of a program waits for the next request.
    pub(super) fn is_resting(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        let client = self.client_index(index);
        let waits = matches!(
            &thread.state,
            State::AtGate(Pending { call: Call::Wait(_) | Call::Futex { .. }, half: None, .. })
        );
        let asks = |index: usize| {
            let Thread { id, process, state, .. } = &self.threads[index];
            self.processes[*process].line_of(*id).is_some() && !matches!(state, State::Parked(_))
        };
        self.keeps_worker(client)
            && !self.processes[thread.process].is_root()
            && waits
            && !thread.nap.timed
            && !self.threads_of(client).any(asks)
    }

    /// Whether a client's processes are to begin anew before the next execution, though they could play on.
    pub(super) fn is_used_up(&self, client: usize) -> bool {
        let holds_on = |process: usize| {
            let process = &self.processes[process];
            let keeps = !process.descriptors.is_empty() || !process.timers.is_empty();
            let stands = process.directory.is_some() || keeps;
            match process.has_ended {
                // A child that nobody has asked after.
                true => !process.is_root() && !process.is_buried(),
                false => stands && !process.is_root(),
            }
        };
        self.renews && self.processes[client].used
            || self.keeps_worker(client) && (!self.reuses || self.family_of(client).any(holds_on))
    }

    /// Has processes that are new play their part once.
    pub(super) fn warm_up(&mut self) -> Result<(), ArenaError> {
        let is_new = |process: usize| {
            let part = self.specification.processes[process].kind;
            let plays = matches!(part, PartKind::Client(_) | PartKind::Auditor);
            plays && self.drives(process) && !self.processes[process].has_played
        };
        if !self.is_reusing() || !(0..self.specification.processes.len()).any(is_new) {
            return Ok(());
        }
        // Who has the lock, or answers, does so in another world.
        let beside = |&process: &usize| Some(process) == self.holder || self.serves(process);
        for process in (0..self.specification.processes.len()).filter(beside).collect::<Vec<_>>() {
            self.respawn(process)?;
        }
        self.reset()?;
        self.drain()?;
        // Who looks at what is there in the end is asked to.
        let auditor = self.specification.auditor();
        if !self.processes[auditor].has_played {
            self.reset()?;
            self.run_alone(auditor)?;
            self.drain()?;
        }
        Ok(())
    }
}
