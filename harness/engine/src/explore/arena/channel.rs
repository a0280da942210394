//! Whether a call that waits for a pipe, a socket, a child or a signal would return now.
//!
//! The kernel is asked: [copies](super::copies) of the client's descriptors are polled. Nothing is asked again
//! before something has happened that could have brought an answer.
//!
//! Not covered: writes that fill a pipe are let go on when there is any room in it.

use smallvec::SmallVec;

use super::Arena;
use super::copies::Awaited;
use super::process::Process;
use super::thread::{Pending, State};
use super::told::Told;
use super::wires::Socket;
use crate::explore::gate::{Call, Form, Wait};

impl Process {
    /// What one of its descriptors is, without the number that it has in the kernel.
    fn name_of_descriptor(&self, fd: i32) -> String {
        let link = std::fs::read_link(format!("/proc/{}/fd/{fd}", self.pid())).unwrap_or_default();
        let link = link.to_string_lossy();
        format!("descriptor {fd}: {}", link.split(':').next().unwrap_or_default())
    }

    /// The descriptors that an epoll looks after, and for which events.
    pub(super) fn looked_after_by(&self, epoll: i32) -> Vec<(i32, i16)> {
        let told =
            std::fs::read_to_string(format!("/proc/{}/fdinfo/{epoll}", self.pid())).unwrap_or_default();
        let of_line = |line: &str| {
            let mut words = line.strip_prefix("tfd:")?.split_whitespace();
            let fd = words.next()?.parse().ok()?;
            let events = u32::from_str_radix(words.nth(1)?, 16).ok()?;
            Some((fd, events as i16))
        };
        let mut all: Vec<(i32, i16)> = told.lines().filter_map(of_line).collect();
        // The kernel has them in the order of their addresses.
        all.sort_unstable();
        all
    }
}

impl Arena<'_> {
    /// The sockets of wires among what a wait is for, and whether it is for something to come.
    pub(super) fn wires_of(&self, process: usize, wait: &Wait) -> SmallVec<[(Socket, bool); 4]> {
        let Wait::Events { sources, form, .. } = wait else { return SmallVec::new() };
        let own = &self.processes[process];
        if !own.descriptors.has_sockets() {
            return SmallVec::new();
        }
        let wire = |&(fd, events): &(i32, i16)| {
            let socket = own.descriptors.get(fd)?.socket?;
            Some((socket, events & libc::POLLIN != 0))
        };
        match (form, &sources[..]) {
            // What an epoll looks after; its events have the same numbers.
            (Form::Plain, &[(fd, _)]) => own.looked_after_by(fd).iter().filter_map(wire).collect(),
            _ => sources.iter().filter_map(wire).collect(),
        }
    }

    /// Whether what a thread waits for is there, or a signal.
    pub(super) fn has_come(&self, index: usize, wait: &Wait, awaited: &Awaited) -> bool {
        self.has_come_since(None, index, wait, awaited)
    }

    /// The same of who was asked before, when so much had stirred: a signal that was there for long would have been
    /// heard then.
    fn has_come_since(&self, asked_at: Option<u64>, index: usize, wait: &Wait, awaited: &Awaited) -> bool {
        let thread = &self.threads[index];
        let signalled_at = self.signalled_at(self.client_index(index));
        // Once more after the next stir: a child is seen to have ended a moment before its parent hears of it. Agents do
        // not care.
        let asked_at = asked_at.map_or(0, |asked_at| asked_at + u64::from(self.is_agent(index)));
        let may_be_signalled = signalled_at > 0 && signalled_at >= asked_at;
        let process = &self.processes[thread.process];
        let come = match wait {
            Wait::Events { sources, .. } => awaited.have_come(process, sources),
            Wait::Child { pidfd: Some(fd), .. } => awaited.have_come(process, &[(*fd, libc::POLLIN)]),
            Wait::Child { pid, pidfd: None } => self.child_is_due(thread.process, *pid),
            Wait::Signal { blocked, wanted, .. } => {
                let blocked = wanted.map(|wanted| !wanted).or(*blocked);
                return Told::of_thread(thread.tid).due(blocked) != 0;
            }
        };
        come || may_be_signalled && Told::of_thread(thread.tid).due(None) != 0
    }

    /// Whether a thread is of a client's own process, which drives a program.
    fn is_agent(&self, index: usize) -> bool {
        let process = &self.processes[self.threads[index].process];
        process.is_root() && self.drives(process.client)
    }

    /// How much has stirred that may have brought what a thread waits for. An agent waits for its own program, or for a
    /// signal, which may come from anybody.
    pub(super) fn stirs_for(&self, index: usize) -> u64 {
        let process = &self.processes[self.threads[index].process];
        match self.is_agent(index) {
            true => process.stirred_at.max(self.signalled_at(process.client)),
            false => self.stirs,
        }
    }

    /// At the end of an execution: who still waits for a pipe or a socket waits for somebody who is not
    /// part of it, and what would have come is not known.
    pub(super) fn note_waits_for_strangers(&mut self) {
        let mut waits = Vec::new();
        for (index, thread) in self.threads.iter().enumerate() {
            if let State::AtGate(Pending { call: Call::Wait(Wait::Events { sources, form, .. }), .. }) =
                &thread.state
                && !self.is_resting(index)
                // Who has the lock is asked to give it back when all is over.
                && Some(self.client_index(index)) != self.holder
            {
                let process = &self.processes[thread.process];
                let wait = Wait::Events { sources: sources.clone(), timeout: None, form: *form };
                if !self.wires_of(thread.process, &wait).is_empty() {
                    continue;
                }
                let names = sources.iter().map(|(fd, _)| process.name_of_descriptor(*fd));
                let strategy = &self.specification.processes[process.client].strategy;
                let names = names.collect::<Vec<_>>().join(", ");
                waits
                    .push(format!("a client ({strategy}) waits for ever for what nobody sends it ({names})"));
            }
        }
        for wait in waits {
            self.note_escape(&wait);
        }
    }

    /// The next thread of a client that waited for something which is there now.
    pub(super) fn next_due(&mut self, client: usize) -> Option<usize> {
        for index in 0..self.threads.len() {
            if self.processes[self.threads[index].process].client != client {
                continue;
            }
            let stirs = self.stirs_for(index);
            let (wait, awaited) = match &self.threads[index].state {
                State::AtGate(Pending { call: Call::Wait(wait), awaited, .. }) => (wait, awaited),
                // Who is woken by another thread of a program that nobody prepared goes on at once.
                State::AtGate(Pending { call: Call::Futex { address, .. }, .. })
                    if self.threads[index].nap.is_woken()
                        && self.drives(client)
                        && self.processes[client].line_at(*address).is_none() =>
                {
                    return Some(index);
                }
                State::AtGate(Pending {
                    call: call @ (Call::Sleep { .. } | Call::Lock { wait: true, .. }),
                    ..
                }) if self.signalled_at(client) > 0 && self.threads[index].nap.asked_at != Some(stirs) => {
                    let is_due = Told::of_thread(self.threads[index].tid).due(None) != 0;
                    let lacks_lock = self.lacks_lock(index, call);
                    if is_due && lacks_lock {
                        self.note_escape("a signal came to who waited for a lock, which is not followed");
                    } else if is_due && matches!(call, Call::Sleep { .. }) {
                        return Some(index);
                    }
                    self.threads[index].nap.asked_at = Some(stirs);
                    continue;
                }
                _ => continue,
            };
            if self.threads[index].nap.asked_at == Some(stirs) {
                continue;
            }
            // Others can see when it goes on: that is a step.
            if !self.wires_of(self.threads[index].process, wait).is_empty() {
                continue;
            }
            if self.has_come_since(self.threads[index].nap.asked_at, index, wait, awaited) {
                return Some(index);
            }
            self.threads[index].nap.asked_at = Some(stirs);
        }
        None
    }
}
