//! Ends: of threads, of the processes of a client's family, and of what waits for them.
//!
//! A process that ends gives back what its descriptors hold. Where that can matter to others it is a step;
//! otherwise it is done at once.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use rustix::process::{WaitId, WaitIdOptions};

use super::process::{Body, Process};
use super::thread::{Pending, State};
use super::told::{self, Told};
use super::{Arena, ArenaError};
use crate::explore::access::Footprint;
use crate::explore::gate::{Answer, Call, Notification};

impl Arena<'_> {
    /// Whether the end of a process, or of its program, gives something back that others may wait for.
    pub(super) fn ends_with_a_step(&self, process: usize, call: &Call) -> bool {
        let own = &self.processes[process];
        let fds = match call {
            Call::Exit { .. } if !own.is_root() => own.descriptors.between(0, u32::MAX >> 1),
            Call::Execute => self.closed_by_exec(process),
            _ => return false,
        };
        self.gives_back(process, &fds)
    }

    /// The thread ends, or its process.
    pub(super) fn exit(
        &mut self,
        index: usize,
        notification: &Notification,
        group: bool,
    ) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        self.leave_dial(process);
        // As the thread knows itself, and whoever waits for its end.
        let own = if group { 0 } else { Told::of_thread(notification.tid).thread_inside() };
        self.answer(index, notification, Answer::Continue)?;
        self.threads[index].state = State::Gone;
        let alive = |state: &State| !matches!(state, State::Gone);
        let others = self.threads.iter().any(|thread| thread.process == process && alive(&thread.state));
        let client = self.processes[process].client;
        let mut births = self.processes[client].births.iter();
        let others = others || births.any(|birth| birth.is_thread() && birth.process == process);
        if !group && others {
            return self.end_of_thread(index, notification.tid, own);
        }
        if !self.processes[process].is_root() {
            return self.end_descendant(process);
        }
        self.processes[process].descriptors.clear();
        self.processes[process].loose.clear();
        for thread in self.threads.iter_mut().filter(|thread| thread.process == process) {
            thread.state = State::Gone;
        }
        let part = &self.specification.processes[process];
        Err(ArenaError::Client(format!(
            "client process {process} ({}) ended by itself: {}",
            part.strategy,
            self.launch.complaints()
        )))
    }

    /// The kernel clears a word and wakes whoever waits there when a thread has ended. That is done
    /// for the waiters here, once the thread is really gone.
    fn end_of_thread(&mut self, index: usize, tid: u32, inside: u32) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        let pid = self.processes[process].pid();
        let gone = || !std::path::Path::new(&format!("/proc/{pid}/task/{tid}")).exists();
        let begun = Instant::now();
        while !gone() {
            if begun.elapsed() > self.launch.hang {
                return Err(ArenaError::Client(format!("thread {tid} of process {pid} does not end")));
            }
            std::thread::yield_now();
        }
        // Whoever it started may be sent a signal.
        self.signals_family(process);
        for other in 0..self.threads.len() {
            let thread = &self.threads[other];
            if thread.process != process || thread.nap.woken {
                continue;
            }
            if let State::AtGate(Pending { call: Call::Futex { address, value, .. }, .. }) = &thread.state
                && *value == inside
                && self.processes[process].memory.read_u32(*address).ok() != Some(*value)
            {
                self.rouse(other);
            }
        }
        Ok(())
    }

    /// A process that a client has started is about to end: waits until it has.
    pub(super) fn end_descendant(&mut self, process: usize) -> Result<(), ArenaError> {
        let begun = Instant::now();
        while self.processes[process].is_alive() {
            if begun.elapsed() > self.launch.hang {
                let pid = self.processes[process].pid();
                return Err(ArenaError::Client(format!(
                    "process {pid}, which a client started, does not end"
                )));
            }
            self.processes[process].wait_for_end();
        }
        self.bury(process);
        Ok(())
    }

    /// A process has ended.
    pub(super) fn bury(&mut self, process: usize) {
        let mut released = std::mem::take(&mut self.released);
        for file in self.processes[process].descriptors.take().collect::<Vec<_>>() {
            self.forget(process, file, &mut released);
        }
        self.released = released;
        self.hand_naps_on(process);
        for thread in self.threads.iter_mut().filter(|thread| thread.process == process) {
            thread.state = State::Gone;
        }
        self.processes[process].has_ended = true;
        self.give_all_copies_back(process);
        self.signals_family(process);
        self.give_back_memory(process);
    }

    /// Buries the members of a family that have died, or are about to because of a signal.
    pub(super) fn bury_the_dead(&mut self, client: usize) -> Result<bool, ArenaError> {
        let mut any = false;
        for process in self.family_of(client).collect::<Vec<_>>() {
            let own = &self.processes[process];
            if own.is_root() || own.has_ended {
                continue;
            }
            if !own.is_alive() || own.is_dying() {
                self.end_descendant(process)?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Ends all processes that a client has started.
    pub(super) fn end_family(&mut self, client: usize, footprint: &mut Footprint) -> Result<(), ArenaError> {
        for process in self.family_of(client).collect::<Vec<_>>() {
            if !self.processes[process].is_root() && !self.processes[process].has_ended {
                self.processes[process].strike();
                self.end_descendant(process)?;
            }
        }
        self.processes[client].births.clear();
        self.processes[client].held.clear();
        footprint.extend(std::mem::take(&mut self.released));
        Ok(())
    }

    /// Waits until nothing is left of the processes that have ended: their numbers are to be free.
    pub(super) fn see_them_gone(&self) -> Result<(), ArenaError> {
        let left = |process: &&Process| !process.is_root() && process.has_ended && !process.is_buried();
        self.processes.iter().filter(left).for_each(Process::reap);
        if self.launch.nest.is_none() {
            return Ok(());
        }
        let begun = Instant::now();
        while let Some(process) = self.processes.iter().find(left) {
            if begun.elapsed() > self.launch.hang {
                let pid = process.pid();
                return Err(ArenaError::Client(format!(
                    "nobody reaps process {pid}, which a client started"
                )));
            }
            process.reap();
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        Ok(())
    }

    /// Ends everybody, and what they have started first: the nest ends only when nobody is left in it.
    pub(super) fn end_all(&mut self) {
        for client in 0..self.processes.len() {
            // Whoever does not end in time was killed all the same, and nobody waits for what is given back.
            if self.processes[client].is_root() {
                let _ = self.end_family(client, &mut Footprint::new());
            }
        }
        for process in &mut self.processes {
            if let Body::Child(child) = &mut process.body {
                child.kill();
                let _ = child.wait();
            }
        }
        self.processes.iter().filter(|process| !process.is_root()).for_each(Process::reap);
    }

    /// Whether a wait for a child would return: one has ended, or there is none.
    pub(super) fn child_is_due(&self, parent: usize, pid: i32) -> bool {
        // One that was just started lives, though it was not seen yet.
        let births = &self.processes[self.processes[parent].client].births;
        let mut lives = births.iter().any(|birth| !birth.is_thread() && birth.process == parent);
        let elder = &self.processes[parent];
        for process in &self.processes {
            let number = if elder.is_root() { process.pid() } else { process.inner };
            if process.parent != Some(parent) || pid > 0 && number as i32 != pid {
                continue;
            }
            match process.has_ended {
                true if process.is_zombie_of(self.processes[parent].pid()) => return true,
                true => {}
                false => lives = true,
            }
        }
        !lives
    }
}

impl Process {
    /// Whether it is about to die of a signal.
    fn is_dying(&self) -> bool {
        Told::of_thread(self.pid()).pending() & 1 << (libc::SIGKILL - 1) != 0
    }

    /// Whether it has ended and this parent has not asked after it.
    fn is_zombie_of(&self, parent: u32) -> bool {
        let stat = told::text_of(&format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let rest = stat.rsplit(')').next().unwrap_or_default();
        let mut fields = rest.split_whitespace();
        fields.next() == Some("Z") && fields.next().and_then(|field| field.parse().ok()) == Some(parent)
    }

    /// Whether nothing is left of it, so that its place can be taken.
    pub(super) fn is_buried(&self) -> bool {
        if !self.buried.get() && !self.is_root() && self.has_ended {
            self.buried.set(!std::path::Path::new(&format!("/proc/{}", self.pid())).exists());
        }
        self.buried.get()
    }

    /// Reaps it, if its parent is gone and this process has taken it over.
    fn reap(&self) {
        // Whoever has a parent yet is that one's.
        let own = WaitId::PidFd(self.pidfd().as_fd());
        let _ = rustix::process::waitid(own, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    /// Waits a while for its end.
    fn wait_for_end(&self) {
        let mut poll = libc::pollfd { fd: self.pidfd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, which outlives the call. Whether it has ended is asked anew.
        unsafe { libc::poll(&raw mut poll, 1, 100) };
    }

    /// Sends SIGKILL.
    pub(super) fn strike(&self) {
        // Who is gone already needs none.
        let _ = rustix::process::pidfd_send_signal(self.pidfd(), rustix::process::Signal::KILL);
    }
}
