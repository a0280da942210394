//! One at a time: which of a client's threads works between two steps.
//!
//! Threads of one client share memory, pipes and queues that no gate sees. Were two of them on their way at once,
//! the kernel would decide who comes first to a lock, to a job, or to the next address that is free. So whoever
//! comes to the gate while others of the family are on their way is held there until they have come too. Then the
//! first goes on, alone, until it waits for somebody or stands before a step; the others follow in their order. A
//! thread that was just started makes a call before anything else (`set_robust_list` of the C library, `gettid` of
//! Go), and comes after all that are known.
//!
//! Who gives way (`sched_yield`), or has made many calls in a row, may wait in a loop for what another one does, so
//! all others come first. Naps of a runtime's own end when everybody else is still (`lookout`).
//!
//! Not covered: threads of a C library that makes no call at their beginning work beside who has started them, until
//! their first one. A thread that waits for another one in a loop without any call is taken for one that hangs.

use super::process::Process;
use super::thread::State;
use super::{Arena, ArenaError};
use crate::explore::gate::Notification;

/// Calls in a row, of one thread, after which the others of its family come first.
const IN_A_ROW: u32 = 1000;
/// Calls of a family between two steps: one that makes more goes in circles.
pub(super) const BETWEEN_STEPS: u64 = 2_000_000;

/// A call that is held until others of the family have come as well.
#[derive(Debug)]
pub(super) struct Held {
    notification: Notification,
    /// Nobody had seen the thread when it came.
    is_newborn: bool,
    /// Another one has gone on since it came, and may have ended it.
    has_waited: bool,
}

/// In which order those go on who are held; those who are alike as they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// The thread in this place.
    Known(usize),
    /// A thread that was not seen before.
    Newborn,
    /// Whose child borrows its memory, or has had it until now.
    Lender,
    GivesWay,
}

impl Arena<'_> {
    /// Whether any thread of a client is on its way to the gate.
    pub(super) fn is_on_the_way(&self, client: usize) -> bool {
        let Process { held, births, .. } = &self.processes[client];
        let is_held = |tid: u32| held.iter().any(|held| held.notification.tid == tid);
        let runs = |index: usize| {
            matches!(self.threads[index].state, State::Running) && !is_held(self.threads[index].tid)
        };
        if self.threads_of(client).any(runs) {
            return true;
        }
        births.len() > held.iter().filter(|held| held.is_newborn).count()
    }

    /// The thread of a client that has this number.
    pub(super) fn known(&self, client: usize, tid: u32) -> Option<usize> {
        self.threads_of(client).find(|&index| {
            let thread = &self.threads[index];
            thread.tid == tid && !matches!(thread.state, State::Gone)
        })
    }

    /// Holds a call until others have come.
    pub(super) fn hold(&mut self, client: usize, notification: Notification) {
        // A thread that has executed a program has the number of its process from then on, and is alone in it.
        let executed = self.family_of(client).find(|&process| {
            let own = &self.processes[process];
            own.pid() == notification.tid && own.executes.is_some() && self.has_new_memory(process)
        });
        if let Some(process) = executed {
            for thread in self.threads.iter_mut().filter(|thread| thread.process == process) {
                if thread.tid != notification.tid {
                    thread.state = State::Gone;
                }
            }
            // Who lent it its memory runs on since then.
            self.give_back_memory(process);
        }
        let is_newborn = self.known(client, notification.tid).is_none() && executed.is_none();
        self.processes[client].held.push(Held { notification, is_newborn, has_waited: false });
    }

    fn turn(&self, client: usize, held: &Held) -> Turn {
        let Held { notification, is_newborn, .. } = held;
        let (busy, calls) = self.processes[client].in_a_row;
        match self.known(client, notification.tid) {
            None if *is_newborn => Turn::Newborn,
            Some(index) if matches!(self.threads[index].state, State::Lending) => Turn::Lender,
            Some(_) if busy == notification.tid && calls >= IN_A_ROW => Turn::GivesWay,
            _ if notification.number == libc::SYS_sched_yield => Turn::GivesWay,
            Some(index) => Turn::Known(index),
            // Its process has executed a program in another thread, or has ended.
            None => Turn::Known(usize::MAX),
        }
    }

    /// Takes in a call of whoever is the first that is held; `false` if nobody is, or all give way to somebody who
    /// waited.
    pub(super) fn take_in(&mut self, client: usize) -> Result<bool, ArenaError> {
        let held = &self.processes[client].held;
        let turns = held.iter().enumerate().map(|(at, held)| (self.turn(client, held), at));
        let Some((turn, at)) = turns.min() else { return Ok(false) };
        if turn == Turn::GivesWay && self.next_due(client).is_some() {
            // The next time it is its turn as that of any other.
            let process = &mut self.processes[client];
            process.in_a_row = (0, 0);
            process.held.iter_mut().for_each(|held| held.has_waited = true);
            return Ok(false);
        }
        let process = &mut self.processes[client];
        // In the order in which they came, as births are.
        let Held { notification, is_newborn, has_waited } = process.held.remove(at);
        process.held.iter_mut().for_each(|held| held.has_waited = true);
        let (busy, calls) = process.in_a_row;
        let goes_on = busy == notification.tid && calls < IN_A_ROW;
        process.in_a_row = (notification.tid, if goes_on { calls + 1 } else { 1 });
        if (is_newborn || has_waited) && !process.listener.is_waiting(notification.id) {
            if is_newborn {
                self.forget_birth(client);
            }
            return Ok(true);
        }
        self.arrive(client, notification)?;
        Ok(true)
    }

    /// Somebody was born and has ended before its first call was answered.
    fn forget_birth(&mut self, client: usize) {
        let ended =
            |process: usize| self.processes[process].has_ended || self.processes[process].executes.is_some();
        let births = &self.processes[client].births;
        let of_the_dead = births.iter().position(|birth| birth.is_thread() && ended(birth.process));
        let births = &mut self.processes[client].births;
        if !births.is_empty() {
            births.remove(of_the_dead.unwrap_or(births.len() - 1));
        }
    }
}
