//! Futexes: the parking places of the shared page, the marks before an operation and at either end of a critical
//! section, and the locks that threads of one process share.

use super::thread::{Pending, State};
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Call, Notification};

pub(super) const FUTEX_COMMANDS: i32 = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);

impl Arena<'_> {
    /// A call at a futex: parks, marks, waits or wakes.
    pub(super) fn futex(
        &mut self,
        index: usize,
        notification: Notification,
        [address, timeout]: [u64; 2],
        operation: i32,
        value: u32,
    ) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        let command = operation & FUTEX_COMMANDS;
        let waits = matches!(command, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET);
        let call = Call::Futex { address, operation, value, timeout: 0, third: 0 };
        if let Some(line) = self.processes[process].line_at(address) {
            // The shared page: a parking place, or the marks at either end of a critical section.
            if waits {
                let id = self.threads[index].id;
                self.processes[process].set_line(id, line);
                self.park(index, notification);
            } else if self.processes[process].begins_at(address) {
                return self.come_to_door(index, notification);
            } else {
                self.threads[index].state = State::AtGate(Pending::new(notification, call));
                self.threads[index].nap.woken = true;
                self.threads[index].nap.timed = false;
            }
            return Ok(());
        }
        match command {
            libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
                let now = self.processes[process].memory.read_u32(address);
                if now.ok() != Some(value) {
                    return self.pass(index, &notification, Answer::Errno(libc::EAGAIN));
                }
                let memory = &self.processes[process].memory;
                let until = (timeout != 0)
                    .then(|| Some((memory.read_u64(timeout).ok()?, memory.read_u64(timeout + 8).ok()?)))
                    .flatten()
                    .map(|(seconds, nanoseconds)| seconds.saturating_mul(1_000_000_000) + nanoseconds);
                let clock = match operation & libc::FUTEX_CLOCK_REALTIME {
                    0 => libc::CLOCK_MONOTONIC,
                    _ => libc::CLOCK_REALTIME,
                };
                let absolute = command == libc::FUTEX_WAIT_BITSET;
                self.lie_down(index, clock, until, absolute);
                // Who looks after others has nothing to do before somebody calls.
                self.threads[index].nap.timed = until.is_some() && !self.is_lookout(index);
                self.threads[index].state = State::AtGate(Pending::new(notification, call));
                Ok(())
            }
            libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
                let woken = self.wake(process, address, value);
                self.pass(index, &notification, Answer::Value(woken.into()))
            }
            _ => {
                self.note_escape("a futex operation other than wait and wake was used");
                self.pass(index, &notification, Answer::Continue)
            }
        }
    }

    /// A client has come to the end of its part.
    pub(super) fn park(&mut self, index: usize, notification: Notification) {
        let process = self.threads[index].process;
        self.threads[index].state = State::Parked(notification);
        self.hear_the_end(process);
        self.open_door(self.processes[process].client);
    }

    /// Wakes up to `most` threads of a process that wait at this address, in the order of their
    /// numbers.
    fn wake(&mut self, process: usize, address: u64, most: u32) -> u32 {
        let mut woken = 0;
        for index in 0..self.threads.len() {
            let waits = self.threads[index].process == process
                && matches!(
                    &self.threads[index].state,
                    State::AtGate(Pending { call: Call::Futex { address: at, .. }, .. }) if *at == address
                );
            if !waits || self.threads[index].nap.woken || woken == most {
                continue;
            }
            self.rouse(index);
            woken += 1;
        }
        woken
    }

    /// A thread that waits at a futex can go on because of the step under way; unless it might have given up by
    /// now, which it could have done before.
    pub(super) fn rouse(&mut self, index: usize) {
        let gives_up = self.may_wake(index);
        if !gives_up {
            self.note_cause(index);
        }
        let nap = &mut self.threads[index].nap;
        (nap.woken, nap.gives_up) = (true, gives_up);
    }
}
