//! One execution, turn by turn: what can be done next, and the doing of it.

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::deed::CUT_SHORT;
use super::fate::{sees_life, whatever_it_was};
use super::perform::{Effect, Ending};
use super::stillness::STILLNESS;
use super::thread::{Pending, State};
use super::timers::Timers;
use super::tree::digest;
use super::{Arena, ArenaError, STEPS_MAX, nap};
use crate::explore::access::{Access, Footprint, Mode, Object};
use crate::explore::gate::{Answer, Call, Notification};
use crate::explore::system::{Sleeper, Step, System, ThreadId, Threads, Waiting};
use crate::worker::PartKind;

impl System for Arena<'_> {
    type Error = ArenaError;

    fn begin(&mut self) -> Result<(), ArenaError> {
        if self.launch.interrupt.raised() {
            return Err(ArenaError::Interrupted);
        }
        self.drain()?;
        self.warm_up()?;
        self.reset()?;
        self.begin_servers()?;
        if let Some(holder) = self.holder {
            self.prepares = true;
            let held = self.have_it_held(holder);
            self.prepares = false;
            held?;
        }
        // What came before is no step that anybody could have gone on because of.
        self.acting = None;
        self.caused.clear();
        self.released.clear();
        self.begin_fates();
        for process in 0..self.specification.processes.len() {
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
            only_pausable &= self.can_be_paused(self.client_index(index));
        }
        if only_pausable && let Some(index) = self.first_to_wake(into) {
            into.push(self.threads[index].id);
        }
        self.fates_due(into);
        into.sort_unstable();
        Ok(())
    }

    fn step(&mut self, id: ThreadId) -> Result<Step, ArenaError> {
        if !self.prepares {
            self.steps += 1;
            self.step_clock().store(self.steps << 20, Ordering::SeqCst);
        }
        if self.steps > STEPS_MAX {
            return Err(ArenaError::TooLong(STEPS_MAX));
        }
        if id.is_reluctant() {
            return self.strike(id);
        }
        let index = self.slot(id);
        let process = self.threads[index].process;
        let client = self.client_index(index);
        if self.is_played_for(index) {
            self.recall(index)?;
        }
        self.acting = Some(index);
        let cause = self.threads[index].cause.take();
        let recorded = self.recorded(client);
        if matches!(self.threads[index].state, State::Parked(_)) {
            let mut footprint = self.with_life(client, self.with_memory(client, Footprint::new()));
            self.threads[index].steps += 1;
            self.unpark(index)?;
            self.settle(client)?;
            self.add_causes(cause, &mut footprint);
            self.note_visibility(client, &footprint, recorded, false);
            return Ok(Step {
                thread: id,
                footprint,
                potential: SmallVec::new(),
                signature: digest(&("start", id.0)),
                yields: false,
                follows: Threads::new(),
            });
        }
        if matches!(self.threads[index].state, State::Begins(_)) {
            return self.begin_operation(index, cause);
        }
        let state = std::mem::replace(&mut self.threads[index].state, State::Running);
        let State::AtGate(Pending { notification, call, half, awaited }) = state else {
            return Err(ArenaError::Confused(format!("thread {id:?} is not at the gate")));
        };
        drop(awaited);
        if self.deeds.is_some() {
            self.remember_name(id, process, &call);
        }
        if matches!(call, Call::Exit { .. } | Call::Execute) {
            let ended = self.end_as_step(index, notification, &call, cause)?;
            self.note_visibility(client, &ended.footprint, recorded, false);
            return Ok(ended);
        }
        let second = half.is_some();
        let follows =
            if self.is_last_resort(index, &call) { self.who_had_to_stop(index) } else { Threads::new() };
        let beside = if follows.is_empty() { SmallVec::new() } else { self.are_slept_beside(index) };
        // Not in the middle of a call.
        let dies = half.is_none() && self.hear_what_is_overdue(index)?;
        let rings = !dies && self.is_cut_short(index, &call);
        let effect = if dies {
            let footprint = std::mem::take(&mut self.released);
            let potential = whatever_it_was().collect();
            Effect { footprint, potential, ending: Ending::Gone, yields: false }
        } else if rings {
            self.ring(index, &notification, &call)?
        } else if self.concerns(process, &call) {
            let mut effect = self.perform(index, &call, half)?;
            self.might_have_rung(index, &call, &mut effect);
            effect
        } else if let Some(about) = self.asks_for_life(process, &call) {
            self.see_life(process, &call, about)?
        } else {
            self.end_wait(index, &call)?
        };
        let Effect { footprint, potential, ending, yields } = effect;
        let mut footprint = self.with_life(client, self.with_memory(client, footprint));
        self.note_change_of_mapped(&footprint);
        self.pass_time(index, &footprint);
        if !follows.is_empty() {
            self.others_are_due(index);
        }
        if !follows.is_empty() && self.has_fates() {
            footprint.push(Access { object: STILLNESS, mode: Mode::Read });
        }
        let woke = self.wake_whom_it_concerns(index, &footprint);
        footprint.extend(beside.into_iter().map(sees_life));
        let mut returned = None;
        let mut part = if rings || dies { CUT_SHORT } else { u8::from(second) * 2 };
        let kind = std::mem::discriminant(&call);
        let talks = matches!(call, Call::Socket(_));
        match ending {
            Ending::More(half) => {
                part = 1;
                self.note(id, part, &call, None);
                self.threads[index].state =
                    State::AtGate(Pending { half: Some(half), ..Pending::new(notification, call) });
            }
            Ending::Waits => {
                self.note(id, part, &call, None);
                self.wait_on(index, notification, call);
                self.settle(client)?;
            }
            Ending::Gone => {
                self.note(id, part, &call, None);
                self.settle(client)?;
            }
            Ending::Answer(answer) => {
                returned = match answer {
                    Answer::Continue => None,
                    Answer::Value(value) => Some(Ok(value)),
                    Answer::Errno(errno) => Some(Err(errno)),
                };
                self.note(id, part, &call, returned);
                self.answer(index, &notification, answer)?;
                self.settle(client)?;
                self.confirm()?;
            }
            Ending::Loose(file) => {
                let done = self.hand_over_loose(index, &notification, file)?;
                self.note(id, part, &call, Some(done));
                returned = Some(done.map(|_| 0));
                self.settle(client)?;
            }
            Ending::Descriptor { file, close_on_exec, at } => {
                let done = self.hand_over(index, &notification, file, close_on_exec, at)?;
                self.note(id, part, &call, Some(done));
                // The number is the client's own affair.
                returned = Some(done.map(|_| 0));
                self.settle(client)?;
            }
        }
        footprint.extend(std::mem::take(&mut self.released));
        // A worker that was used before may have begun threads that a new one begins now: what it lets go on is added
        // later. So is whom it wakes, which does not depend on whether that one lies already.
        let signature = digest(&(id.0, kind, part, returned, &footprint[..]));
        footprint.extend(woke);
        self.add_causes(cause, &mut footprint);
        self.note_visibility(client, &footprint, recorded, talks);
        let thread = &mut self.threads[index];
        thread.steps += 1;
        Ok(Step { thread: id, footprint, potential, signature, yields, follows })
    }

    fn waiting(&self) -> Vec<Waiting> {
        let waits =
            |index: &usize| matches!(self.threads[*index].state, State::AtGate(_)) && !self.can_go(*index);
        let threads = (0..self.threads.len()).filter(waits).map(|index| self.waits_for(index));
        let fates = self.kills_waiting().chain(self.late_and_waiting()).chain(self.held_up());
        threads.chain(fates).chain(self.silenced()).collect()
    }

    fn sleepers(&self) -> Vec<Sleeper> {
        self.asleep()
    }

    fn suspended(&self) -> Threads {
        self.suspended_now().collect()
    }
}

impl Arena<'_> {
    /// A process ends or executes another program, and gives back what it held.
    fn end_as_step(
        &mut self,
        index: usize,
        notification: Notification,
        call: &Call,
        cause: Option<Object>,
    ) -> Result<Step, ArenaError> {
        let (id, client) = (self.threads[index].id, self.client_index(index));
        match call {
            Call::Exit { group } => self.exit(index, &notification, *group)?,
            _ => self.execute(index, &notification)?,
        }
        self.settle(client)?;
        let released = std::mem::take(&mut self.released);
        let mut footprint = self.with_life(client, self.with_memory(client, released));
        self.pass_time(index, &footprint);
        let woke = self.wake_whom_it_concerns(index, &footprint);
        let signature = digest(&("end", id.0, &footprint[..]));
        footprint.extend(woke);
        self.add_causes(cause, &mut footprint);
        self.note(id, 0, call, None);
        self.threads[index].steps += 1;
        let (potential, follows) = (SmallVec::new(), Threads::new());
        Ok(Step { thread: id, footprint, potential, signature, yields: false, follows })
    }

    /// Puts everything back as it was before anybody did anything.
    pub(super) fn reset(&mut self) -> Result<(), ArenaError> {
        self.generation += 1;
        self.steps = 0;
        self.files = 0;
        self.locks.clear();
        self.wires.clear();
        (self.locks_in_name_only, self.plays_somebody) = (false, false);
        self.gates.clear();
        self.cut.clear();
        self.mapped.clear();
        self.time.clear();
        if let Some(deeds) = &mut self.deeds {
            deeds.clear();
        }
        self.overheard.clear();
        self.snapshot.restore(&self.roots, &mut self.tree)?;
        self.control.fence().store(0, Ordering::SeqCst);
        self.step_clock().store(1, Ordering::SeqCst);
        self.launch.discard_recordings();
        for index in 0..self.threads.len() {
            let stays = self.keeps_worker(self.client_index(index));
            let thread = &mut self.threads[index];
            thread.drawn = if stays { thread.drawn_when_ready } else { 0 };
            (thread.steps, thread.cause, thread.nap) = (0, None, nap::Nap::default());
        }
        (self.stirs, self.signalled_at, self.acting) = (0, 0, None);
        self.caused.clear();
        self.released.clear();
        for process in 0..self.processes.len() {
            let stays = self.processes[process].is_root() && self.keeps_worker(process);
            let process = &mut self.processes[process];
            process.dial.forget();
            process.timers = Timers::default();
            (process.reads, process.shown_ns) = (None, 0);
            process.born = if stays { process.born_when_ready } else { 0 };
            (process.grew, process.in_a_row) = (false, (0, 0));
            (process.stirred_at, process.signalled_at, process.looked_at) = (0, 0, 0);
        }
        Ok(())
    }

    /// Brings whoever is in the middle of something to an end.
    pub(super) fn drain(&mut self) -> Result<(), ArenaError> {
        self.end_fates();
        let mut enabled = Vec::new();
        loop {
            self.enabled(&mut enabled)?;
            let Some(&thread) = enabled.first() else { break };
            self.step(thread)?;
        }
        for process in 0..self.specification.processes.len() {
            let stuck = self.threads_of(process).any(|index| !self.is_idle(index));
            let played = std::mem::take(&mut self.processes[process].plays);
            let kind = self.specification.processes[process].kind;
            let playing = !matches!(kind, PartKind::Server | PartKind::Planter);
            // Who has done nothing has not ended either.
            let rested = || !played && self.threads_of(process).all(|index| self.is_parked(index));
            let anew = stuck
                || (played || self.renews) && self.is_used_up(process)
                || !rested() && !self.is_alive(process);
            if playing && anew {
                self.respawn(process)?;
            } else {
                self.processes[process].has_played |= played;
            }
        }
        self.see_them_gone()
    }
}
