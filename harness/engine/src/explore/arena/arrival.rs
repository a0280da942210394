//! Calls that come to the gate, and the answers to them.

use std::io;
use std::sync::atomic::Ordering;

use super::thread::{Pending, State, Thread};
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Call, Notification};

impl Arena<'_> {
    /// Lets a parked process go as far as its first gate.
    pub(super) fn release(&mut self, process: usize) -> Result<(), ArenaError> {
        for index in 0..self.threads.len() {
            if self.threads[index].process == process && matches!(self.threads[index].state, State::Parked(_))
            {
                self.unpark(index)?;
                self.settle(process)?;
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
        let number = self.processes[thread.process].line_of(thread.id);
        if let Some(line) = number {
            self.control.thread(line).go().store(self.generation, Ordering::SeqCst);
        }
        self.answer(index, &notification, Answer::Value(0))
    }

    pub(super) fn answer(
        &self,
        index: usize,
        notification: &Notification,
        answer: Answer,
    ) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        let answered = self.processes[process].listener.answer(notification.id, answer);
        answered.map_err(|error| self.unanswered(process, error))
    }

    /// Why a call could not be answered.
    pub(super) fn unanswered(&self, process: usize, error: io::Error) -> ArenaError {
        if error.raw_os_error() == Some(libc::ENOENT) {
            let strategy = &self.specification.processes[process].strategy;
            return ArenaError::Client(format!(
                "client process {process} ({strategy}) was killed at its gate"
            ));
        }
        ArenaError::gate("answering")(error)
    }

    /// Takes in what comes to a process's gate until none of its threads is running.
    pub(super) fn settle(&mut self, process: usize) -> Result<(), ArenaError> {
        loop {
            let running = self
                .threads
                .iter()
                .any(|thread| thread.process == process && matches!(thread.state, State::Running));
            if !running && self.processes[process].births == 0 {
                return Ok(());
            }
            let Some(notification) = self.receive(process)? else {
                // The process has ended: all of its threads have. What it would still have done is not known.
                for thread in self.threads.iter_mut().filter(|thread| thread.process == process) {
                    thread.state = State::Gone;
                }
                let strategy = &self.specification.processes[process].strategy;
                let status = self.processes[process].status();
                return Err(ArenaError::Client(format!(
                    "client process {process} ({strategy}) died: {status}"
                )));
            };
            self.arrive(process, notification)?;
        }
    }

    /// A call has come to the gate.
    pub(super) fn arrive(&mut self, process: usize, notification: Notification) -> Result<(), ArenaError> {
        let known = |thread: &Thread| thread.process == process && thread.tid == notification.tid;
        if !self.threads.iter().any(known) && self.processes[process].is_stranger(notification.tid) {
            // Its memory is not its parent's. It goes on as it likes, and was told of when it was started.
            let answered = self.processes[process].listener.answer(notification.id, Answer::Continue);
            // Who was killed meanwhile needs no answer.
            return answered.or_else(|error| match error.raw_os_error() {
                Some(libc::ENOENT) => Ok(()),
                _ => Err(ArenaError::gate("answering")(error)),
            });
        }
        let index = self.thread_of(process, notification.tid);
        if !notification.native {
            self.note_escape("a program of another architecture runs behind the gate");
        }
        self.note_uncommon(process, &notification);
        let call = match Call::decode(&notification, &self.processes[process].memory) {
            Ok(call) => call,
            Err(error) => {
                // A wrong address: what the kernel would have answered.
                let errno = error.raw_os_error().unwrap_or(libc::EFAULT);
                self.threads[index].state = State::Running;
                return self.answer(index, &notification, Answer::Errno(errno));
            }
        };
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
                self.threads[index].state = State::Running;
                return self.answer(index, &notification, Answer::Continue);
            }
            self.threads[index].state = State::AtGate(Pending { notification, call, half: None });
            return Ok(());
        }
        self.note_detour(process, &call);
        if let Some(about) = self.asks_for_life(process, &call) {
            return self.ask_for_life(index, notification, call, about);
        }
        self.wait_or_pass(index, notification, call)
    }
}
