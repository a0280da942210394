//! One execution, turn by turn: what can be done next, and the doing of it.

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::perform::{Effect, Ending};
use super::thread::{Pending, State};
use super::tree::digest;
use super::{Arena, ArenaError, STEPS_MAX, waits};
use crate::explore::access::Footprint;
use crate::explore::gate::Answer;
use crate::explore::system::{Step, System, ThreadId, Waiting};
use crate::worker::PartKind;

impl System for Arena<'_> {
    type Error = ArenaError;

    fn begin(&mut self) -> Result<(), ArenaError> {
        if self.launch.interrupt.raised() {
            return Err(ArenaError::Interrupted);
        }
        self.drain()?;
        self.generation += 1;
        self.steps = 0;
        self.files = 0;
        self.locks.clear();
        self.gates.clear();
        self.cut.clear();
        self.time.clear();
        if let Some(deeds) = &mut self.deeds {
            deeds.clear();
        }
        self.snapshot.restore(&self.roots, &mut self.tree)?;
        self.control.fence().store(0, Ordering::SeqCst);
        self.step_clock().store(1, Ordering::SeqCst);
        self.launch.discard_recordings();
        for thread in &mut self.threads {
            (thread.steps, thread.drawn) = (0, 0);
            thread.nap = waits::Nap::default();
        }
        self.begin_fates();
        for process in 0..self.processes.len() {
            if let PartKind::Client(_) = self.specification.processes[process].kind
                && self.specification.processes[process].threads == 1
            {
                self.release(process)?;
            }
        }
        Ok(())
    }

    fn enabled(&mut self, into: &mut Vec<ThreadId>) -> Result<(), ArenaError> {
        into.clear();
        let mut only_pausable = true;
        for index in (0..self.threads.len()).filter(|&index| self.is_able(index)) {
            into.push(self.threads[index].id);
            only_pausable &= self.can_be_paused(self.threads[index].process);
        }
        if only_pausable && let Some(index) = self.first_to_wake(into) {
            into.push(self.threads[index].id);
        }
        self.fates_due(into);
        into.sort_unstable();
        Ok(())
    }

    fn step(&mut self, id: ThreadId) -> Result<Step, ArenaError> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(ArenaError::TooLong(STEPS_MAX));
        }
        self.step_clock().store(self.steps << 20, Ordering::SeqCst);
        if id.is_reluctant() {
            return self.strike(id);
        }
        let index = self.slot(id);
        let process = self.threads[index].process;
        if matches!(self.threads[index].state, State::Parked(_)) {
            let footprint = self.with_life(process, self.with_memory(process, Footprint::new()));
            self.threads[index].steps += 1;
            self.unpark(index)?;
            self.settle(process)?;
            return Ok(Step {
                thread: id,
                footprint,
                potential: SmallVec::new(),
                signature: digest(&("start", id.0)),
                yields: false,
            });
        }
        let state = std::mem::replace(&mut self.threads[index].state, State::Running);
        let State::AtGate(Pending { notification, call, half }) = state else {
            return Err(ArenaError::Confused(format!("thread {id:?} is not at the gate")));
        };
        if self.deeds.is_some() {
            self.remember_name(id, process, &call);
        }
        let second = half.is_some();
        let effect = if self.concerns(process, &call) {
            self.perform(index, &call, half)?
        } else if let Some(about) = self.asks_for_life(process, &call) {
            self.see_life(process, &call, about)?
        } else {
            self.end_wait(index, &call)?
        };
        let Effect { footprint, potential, ending, yields } = effect;
        let mut footprint = self.with_life(process, self.with_memory(process, footprint));
        self.pass_time(index, &footprint);
        self.wake_whom_it_concerns(index, &mut footprint);
        let mut returned = None;
        let mut part = u8::from(second) * 2;
        let kind = std::mem::discriminant(&call);
        match ending {
            Ending::More(half) => {
                part = 1;
                self.note(id, part, &call, None);
                self.threads[index].state = State::AtGate(Pending { notification, call, half: Some(half) });
            }
            Ending::Answer(answer) => {
                returned = match answer {
                    Answer::Continue => None,
                    Answer::Value(value) => Some(Ok(value)),
                    Answer::Errno(errno) => Some(Err(errno)),
                };
                self.note(id, part, &call, returned);
                self.answer(index, &notification, answer)?;
                self.settle(process)?;
            }
            Ending::Loose(file) => {
                let done = self.hand_over_loose(process, notification.id, &file)?;
                self.note(id, part, &call, Some(done));
                returned = Some(done.map(|_| 0));
                self.settle(process)?;
            }
            Ending::Descriptor { file, close_on_exec, at } => {
                let done = self.hand_over(process, notification.id, file, close_on_exec, at)?;
                self.note(id, part, &call, Some(done));
                // The number is the client's own affair.
                returned = Some(done.map(|_| 0));
                self.settle(process)?;
            }
        }
        let thread = &mut self.threads[index];
        thread.steps += 1;
        let signature = digest(&(id.0, kind, part, returned, &footprint[..]));
        Ok(Step { thread: id, footprint, potential, signature, yields })
    }

    fn waiting(&self) -> Vec<Waiting> {
        let waits =
            |index: &usize| matches!(self.threads[*index].state, State::AtGate(_)) && !self.can_go(*index);
        let threads = (0..self.threads.len()).filter(waits).map(|index| self.waits_for(index));
        threads.chain(self.kills_waiting()).chain(self.silenced()).collect()
    }
}

impl Arena<'_> {
    /// Runs a process's part alone, from its parking place to its parking place.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn run_alone(&mut self, process: usize) -> Result<(), ArenaError> {
        self.release(process)?;
        let mut enabled = Vec::new();
        loop {
            self.enabled(&mut enabled)?;
            let own = |id: &&ThreadId| self.threads[self.slot(**id)].process == process;
            match enabled.iter().find(own) {
                Some(&thread) => drop(self.step(thread)?),
                None => break,
            }
        }
        let parked = self.threads.iter().filter(|thread| thread.process == process);
        if parked.into_iter().all(|thread| matches!(thread.state, State::Parked(_) | State::Gone)) {
            return Ok(());
        }
        // It waits for what nobody will bring: that is its outcome.
        self.respawn(process)
    }

    /// Brings whoever is in the middle of something to an end.
    fn drain(&mut self) -> Result<(), ArenaError> {
        self.end_fates();
        let mut enabled = Vec::new();
        loop {
            self.enabled(&mut enabled)?;
            let Some(&thread) = enabled.first() else { break };
            self.step(thread)?;
        }
        for process in 0..self.processes.len() {
            let stuck = self
                .threads
                .iter()
                .any(|thread| thread.process == process && matches!(thread.state, State::AtGate(_)));
            let kind = self.specification.processes[process].kind;
            let playing = !matches!(kind, PartKind::Server | PartKind::Planter);
            if playing && (stuck || self.renews && self.steps > 0 || !self.processes[process].is_alive()) {
                self.respawn(process)?;
            }
        }
        Ok(())
    }
}
