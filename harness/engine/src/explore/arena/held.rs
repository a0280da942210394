//! One at a time: which of a client's threads works between two steps.
//!
//! Threads of one client share memory, pipes and queues that no gate sees. Were two of them on their way at once,
//! the kernel would decide who comes first to a lock, to a job, or to the next address that is free. So whoever
//! comes to the gate while others of the family are on their way is held there until they have come too. Then the
//! first goes on, alone, until it waits for somebody or stands before a step; the others follow in their order. A
//! thread that was just started makes a call before anything else (`set_robust_list` of the C library, `gettid` of
//! Go), and comes after all that are known.
//!
//! Who gives way (`sched_yield`) may wait in a loop for what another one does, so all others come first.
//!
//! Not covered: threads of a C library that makes no call at their beginning work beside who has started them, until
//! their first one.

use super::process::Process;
use super::thread::State;
use super::{Arena, ArenaError};
use crate::explore::gate::Notification;

/// In which order those go on who are held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// The thread in this place.
    Known(usize),
    /// A thread that was not seen before.
    Newborn,
    /// Whose child borrows its memory, or has had it until now.
    Lender,
    GivesWay(usize),
}

impl Arena<'_> {
    /// Whether any thread of a client is on its way to the gate.
    pub(super) fn is_on_the_way(&self, client: usize) -> bool {
        let Process { held, births, .. } = &self.processes[client];
        let is_held = |tid: u32| held.iter().any(|notification| notification.tid == tid);
        let runs = |index: usize| {
            matches!(self.threads[index].state, State::Running) && !is_held(self.threads[index].tid)
        };
        if self.threads_of(client).any(runs) {
            return true;
        }
        let newborn = held.iter().filter(|notification| self.known(client, notification.tid).is_none());
        births.len() > newborn.count()
    }

    /// The thread of a client that has this number.
    pub(super) fn known(&self, client: usize, tid: u32) -> Option<usize> {
        self.threads_of(client).find(|&index| {
            let thread = &self.threads[index];
            thread.tid == tid && !matches!(thread.state, State::Gone)
        })
    }

    fn turn(&self, client: usize, notification: &Notification) -> Turn {
        match self.known(client, notification.tid) {
            None => Turn::Newborn,
            Some(index) if matches!(self.threads[index].state, State::Lending) => Turn::Lender,
            Some(index) if notification.number == libc::SYS_sched_yield => Turn::GivesWay(index),
            Some(index) => Turn::Known(index),
        }
    }

    /// Takes in a call of whoever is the first that is held; `false` if nobody is, or all give way to somebody who
    /// waited.
    pub(super) fn take_in(&mut self, client: usize) -> Result<bool, ArenaError> {
        let held = &self.processes[client].held;
        let turns = held.iter().enumerate().map(|(at, notification)| (self.turn(client, notification), at));
        let Some((turn, at)) = turns.min() else { return Ok(false) };
        if matches!(turn, Turn::GivesWay(_)) && self.next_due(client).is_some() {
            return Ok(false);
        }
        let process = &mut self.processes[client];
        let notification = process.held.swap_remove(at);
        // Another one may have ended it meanwhile.
        let may_be_gone = turn == Turn::Newborn || self.threads_of(client).nth(1).is_some();
        if may_be_gone && !self.processes[client].listener.is_waiting(notification.id) {
            if turn == Turn::Newborn {
                self.processes[client].births.pop();
            }
            return Ok(true);
        }
        self.arrive(client, notification)?;
        Ok(true)
    }
}
