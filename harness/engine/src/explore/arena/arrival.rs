//! Calls that come to the gate, and the answers to them.

use std::io;
use std::sync::atomic::Ordering;

use super::held::BETWEEN_STEPS;
use super::repertoire::Reply;
use super::thread::{Pending, State};
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Call, Notification};

/// So many calls are taken in before it is asked whether somebody wants to leave.
const LOOKS_UP: u64 = 1000;

impl Arena<'_> {
    /// Lets a parked client go as far as its first gate.
    pub(super) fn release(&mut self, client: usize) -> Result<(), ArenaError> {
        for index in self.threads_of(client).collect::<Vec<_>>() {
            if matches!(self.threads[index].state, State::Parked(_)) {
                self.unpark(index)?;
                self.settle(client)?;
            }
        }
        Ok(())
    }

    pub(super) fn unpark(&mut self, index: usize) -> Result<(), ArenaError> {
        let State::Parked(notification) = std::mem::replace(&mut self.threads[index].state, State::Running)
        else {
            return Err(ArenaError::Confused("only who is parked can be released".to_owned()));
        };
        let thread = &self.threads[index];
        // What it does without a step is remembered as well as what it does in one.
        self.processes[thread.process].plays = true;
        let number = self.processes[thread.process].line_of(thread.id);
        if let Some(line) = number {
            let line = self.control.thread(line);
            // What it has begun in an execution before is none of this one's.
            line.operations().store(0, Ordering::SeqCst);
            line.inside().store(0, Ordering::SeqCst);
            line.go().store(self.generation, Ordering::SeqCst);
        }
        if self.stands_in(index, &notification) {
            let client = self.client_index(index);
            self.processes[client].used = true;
            return Ok(());
        }
        self.cast(index, &notification);
        self.answer(index, &notification, Answer::Value(0))
    }

    pub(super) fn answer(
        &mut self,
        index: usize,
        notification: &Notification,
        answer: Answer,
    ) -> Result<(), ArenaError> {
        let Some(notification) = self.whom_to_answer(index, notification, Reply::Plain(answer))? else {
            return Ok(());
        };
        self.set_dial(index);
        let process = self.threads[index].process;
        let answered = self.processes[process].listener.answer(notification.id, answer);
        answered.map_err(|error| self.unanswered(process, error))
    }

    /// Why a call could not be answered.
    pub(super) fn unanswered(&self, process: usize, error: io::Error) -> ArenaError {
        if error.raw_os_error() == Some(libc::ENOENT) {
            let client = self.processes[process].client;
            let strategy = &self.specification.processes[client].strategy;
            return ArenaError::Client(format!(
                "client process {client} ({strategy}) was killed at its gate"
            ));
        }
        ArenaError::gate("answering")(error)
    }

    /// Takes in what comes to a client's gate until none of its threads is running, nor waits for what is
    /// there.
    pub(super) fn settle(&mut self, client: usize) -> Result<(), ArenaError> {
        let mut taken_in = 0;
        loop {
            if let Some(index) = self.on_its_way_as_double(client) {
                self.enter(index)?;
                taken_in += 1;
                if taken_in == BETWEEN_STEPS {
                    return Err(self.goes_in_circles(client));
                }
                continue;
            }
            if self.is_played(client) {
                return Ok(());
            }
            if self.is_on_the_way(client) {
                match self.receive(client)? {
                    Some(notification) => self.hold(client, notification),
                    None if self.processes[client].is_alive() => drop(self.bury_the_dead(client)?),
                    None => return Err(self.died(client)),
                }
                continue;
            }
            if self.take_in(client)? {
                taken_in += 1;
                if taken_in == BETWEEN_STEPS {
                    return Err(self.goes_in_circles(client));
                }
                if taken_in % LOOKS_UP == 0 && self.launch.interrupt.raised() {
                    return Err(ArenaError::Interrupted);
                }
                continue;
            }
            // Nobody dies of what others do unless they strike.
            let signalled_at = self.signalled_at(client);
            if self.processes[client].looked_at < signalled_at {
                if self.bury_the_dead(client)? {
                    continue;
                }
                self.processes[client].looked_at = signalled_at;
            }
            match self.next_due(client) {
                Some(index) => self.let_go(index)?,
                None if self.go_round(client)? => {}
                None => return Ok(()),
            }
        }
    }

    fn goes_in_circles(&self, client: usize) -> ArenaError {
        let strategy = &self.specification.processes[client].strategy;
        ArenaError::Client(format!(
            "client process {client} ({strategy}) makes {BETWEEN_STEPS} calls without coming to one that concerns the \
             state directory (hint: does it wait in a loop for what another of its threads does?)"
        ))
    }

    /// A client's own process has ended: all of its threads have. What it would still have done is not known.
    fn died(&mut self, client: usize) -> ArenaError {
        for index in self.threads_of(client).collect::<Vec<_>>() {
            self.threads[index].state = State::Gone;
        }
        let strategy = &self.specification.processes[client].strategy;
        let status = self.processes[client].status();
        ArenaError::Client(format!("client process {client} ({strategy}) died: {status}"))
    }

    /// Who waited for what is there now goes on.
    fn let_go(&mut self, index: usize) -> Result<(), ArenaError> {
        // What it waits for came first; had its time been over, it had gone on before.
        let rests_freely = self.threads[index].nap.rests && self.may_wake(index);
        let state = std::mem::replace(&mut self.threads[index].state, State::Running);
        let State::AtGate(Pending { notification, call, awaited, .. }) = state else {
            return Err(ArenaError::Confused("only who waits can be let go".to_owned()));
        };
        drop(awaited);
        self.stir(self.threads[index].process);
        let gives_up = match call {
            Call::Futex { .. } => self.threads[index].nap.gives_up,
            _ => rests_freely,
        };
        if !gives_up {
            self.note_cause(index);
        }
        if self.is_played_for(index) {
            return self.hear_for(index, &notification);
        }
        self.hear_answer(index)?;
        let answer = match call {
            Call::Futex { .. } => Answer::Value(0),
            Call::Sleep { .. } => self.cut_short(index, &notification, &call),
            _ => Answer::Continue,
        };
        self.answer(index, &notification, answer)
    }

    /// A call has come to the gate.
    pub(super) fn arrive(&mut self, client: usize, notification: Notification) -> Result<(), ArenaError> {
        let index = match self.known(client, notification.tid) {
            Some(index) => index,
            None => self.welcome(client, notification.tid)?,
        };
        self.after_exec(index)?;
        if matches!(self.threads[index].state, State::Lending) {
            // It has its memory back, and was faster than who had borrowed it.
            self.threads[index].state = State::Running;
            self.note_cause(index);
        }
        let process = self.threads[index].process;
        if self.processes[process].is_root() && self.drives(client) {
            // An agent may have done something for itself on its way that brings what others wait for.
            self.stir(process);
        }
        if !notification.native {
            self.note_escape("a program of another architecture runs behind the gate");
        }
        if let Some(errno) = self.note_uncommon(process, &notification) {
            self.look_away(process);
            self.threads[index].state = State::Running;
            return self.answer(index, &notification, Answer::Errno(errno));
        }
        let mut call = match Call::decode(&notification, &self.processes[process].memory) {
            Ok(call) => call,
            Err(error) => {
                // A wrong address: what the kernel would have answered.
                let errno = error.raw_os_error().unwrap_or(libc::EFAULT);
                self.look_away(process);
                self.threads[index].state = State::Running;
                return self.answer(index, &notification, Answer::Errno(errno));
            }
        };
        self.spell_out(process, &mut call);
        self.watch_arrival(index, &notification, &call)?;
        self.stand_at_gate(index, notification, call)
    }

    /// A thread stands at the gate with a call.
    pub(super) fn stand_at_gate(
        &mut self,
        index: usize,
        notification: Notification,
        call: Call,
    ) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        self.processes[process].close_loose(&call);
        let mut call = self.as_socket_call(process, call);
        self.give_copies_back(process, &call);
        self.note_deafness(index, &call);
        let nap = &mut self.threads[index].nap;
        (nap.is_alarm, nap.beyond_ns) = (false, None);
        self.keep_up(index, &call);
        if self.concerns(process, &call) {
            // A close that gives nothing back, and a sync, are nobody else's business.
            let private = match &call {
                Call::Close { fd } => !self.gives_back(process, &[*fd]),
                Call::CloseRange { first, last, .. } => {
                    !self.gives_back(process, &self.processes[process].descriptors.between(*first, *last))
                }
                Call::Sync { .. } => true,
                _ => false,
            };
            if private {
                if let Call::Close { fd } = call {
                    self.close(process, &[fd]);
                } else if let Call::CloseRange { first, last, .. } = call {
                    let fds = self.processes[process].descriptors.between(first, last);
                    self.close(process, &fds);
                }
                self.stir(process);
                self.threads[index].state = State::Running;
                return self.answer(index, &notification, Answer::Continue);
            }
            self.threads[index].state = State::AtGate(Pending::new(notification, call));
            self.wait_for_message(index);
            self.wait_for_lock(index);
            return Ok(());
        }
        if self.ends_with_a_step(process, &call) {
            self.threads[index].state = State::AtGate(Pending::new(notification, call));
            return Ok(());
        }
        self.overhear(index, &call);
        if let Some(about) = self.asks_for_life(process, &call) {
            return self.ask_for_life(index, notification, call, about);
        }
        self.note_detour(process, &mut call);
        self.wait_or_pass(index, notification, call)
    }
}
