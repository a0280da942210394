//! Calls that wait, and calls that are let pass. How long somebody sleeps is the matter of `nap`.

use smallvec::SmallVec;

use super::copies::{Awaited, Nature};
use super::futex::FUTEX_COMMANDS;
use super::perform::{self, Effect, Ending};
use super::tree::Inode;
use super::{Arena, ArenaError, Pending, State, timeout};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::gate::{Answer, Call, LockKind, LockRequest, Notification, Span, Target, Wait};
use crate::explore::system::Waiting;

impl Arena<'_> {
    /// A call that does not concern the state directory: waits, or passes.
    pub(super) fn wait_or_pass(
        &mut self,
        index: usize,
        notification: Notification,
        call: Call,
    ) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        match call {
            ref call if self.is_on_loose_file(process, call) => {
                self.use_loose_file(index, &notification, call)
            }
            Call::Futex { address, operation, value, timeout, .. } => {
                self.futex(index, notification, [address, timeout], operation, value)
            }
            Call::Sleep { nanoseconds, .. } if self.is_of_runtime(index, &notification, nanoseconds) => {
                self.threads[index].state = State::Napping(notification);
                Ok(())
            }
            Call::Sleep { nanoseconds, absolute, clock } => {
                self.lie_down_until_alarm(index, clock, Some(nanoseconds), absolute);
                self.threads[index].state = State::AtGate(Pending::new(notification, call));
                self.wake_if_changed(index);
                Ok(())
            }
            Call::Clock { clock, buffer } => {
                let now = self.read_clock(index, clock);
                self.tell_time(index, &notification, buffer, [now / 1_000_000_000, now % 1_000_000_000], 0)
            }
            Call::TimeOfDay { buffer } => {
                let now = self.read_clock(index, libc::CLOCK_REALTIME);
                let parts = [now / 1_000_000_000, now % 1_000_000_000 / 1000];
                self.tell_time(index, &notification, buffer, parts, 0)
            }
            Call::Time { buffer } => {
                let seconds = self.read_clock(index, libc::CLOCK_REALTIME) / 1_000_000_000;
                if buffer != 0 {
                    // A wrong address would have been the client's own mistake.
                    let _ = self.write_to(process, buffer, &seconds.to_ne_bytes());
                }
                self.pass(index, &notification, Answer::Value(seconds as i64))
            }
            Call::GetPid { parent } => {
                let seen = if parent { self.processes[process].parent } else { Some(process) };
                let seen = seen.filter(|&process| self.processes[process].is_root());
                let answer =
                    seen.map_or(Answer::Continue, |process| Answer::Value(Self::virtual_pid(process).into()));
                self.pass(index, &notification, answer)
            }
            Call::Random { buffer, length } => {
                let span = Span { address: buffer, length: length as usize };
                self.draw(index, &notification, &[span])
            }
            Call::Timer(ref call) => self.set_timer(index, &notification, call),
            Call::Exit { group } => self.exit(index, &notification, group),
            Call::Spawn { flags } => self.expect_birth(index, &notification, flags),
            Call::Execute => self.execute(index, &notification),
            Call::Wait(wait) => self.wait_for(index, notification, wait, Awaited::default()),
            Call::Socket(call) => {
                match call.wait().map(|wait| (wait, self.processes[process].nature_of(call.fd))) {
                    Some((wait, Nature::Channel(copy))) => {
                        self.wait_for(index, notification, wait, Awaited::of(copy))
                    }
                    _ => self.pass_and_stir(index, &notification),
                }
            }
            Call::Read { fd, ref into, offset } => match self.processes[process].nature_of(fd) {
                Nature::Channel(copy) if offset.is_none() => {
                    self.wait_for(index, notification, Wait::ready(fd, libc::POLLIN), Awaited::of(copy))
                }
                Nature::Chance => self.draw(index, &notification, into),
                _ => self.pass_and_stir(index, &notification),
            },
            Call::Write { fd, offset: None, .. } => match self.processes[process].nature_of(fd) {
                Nature::Channel(copy) => {
                    self.wait_for(index, notification, Wait::ready(fd, libc::POLLOUT), Awaited::of(copy))
                }
                _ => self.pass_and_stir(index, &notification),
            },
            Call::Write { .. } => self.pass_and_stir(index, &notification),
            Call::Close { .. } | Call::CloseRange { .. } | Call::Duplicate { .. } => {
                self.pass_and_stir(index, &notification)
            }
            Call::Kill { .. } | Call::ThreadKill { .. } => {
                self.sends_signal(process);
                self.pass(index, &notification, Answer::Continue)
            }
            Call::SetUmask { mask } => {
                self.processes[process].umask = mask & 0o777;
                self.pass(index, &notification, Answer::Continue)
            }
            Call::ChangeDirectory { .. } => {
                self.processes[process].directory = None;
                self.pass(index, &notification, Answer::Continue)
            }
            Call::Other { number, .. } => {
                if number == libc::SYS_pidfd_send_signal {
                    self.sends_signal(process);
                }
                self.pass_and_stir(index, &notification)
            }
            _ => self.pass(index, &notification, Answer::Continue),
        }
    }

    /// A process has done something that may bring what somebody waits for.
    pub(super) fn stir(&mut self, process: usize) {
        self.stirs += 1;
        let client = self.processes[process].client;
        self.processes[client].stirred_at = self.stirs;
    }

    /// A process sends a signal. An agent sends one to nobody but what it has started.
    fn sends_signal(&mut self, process: usize) {
        let own = &self.processes[process];
        if own.is_root() && self.drives(own.client) {
            return self.signals_family(process);
        }
        self.stir(process);
        self.signalled_at = self.stirs;
    }

    /// A process ends, or a thread, or a timer of it does: its family may hear of that by a signal.
    pub(super) fn signals_family(&mut self, process: usize) {
        self.stir(process);
        let client = self.processes[process].client;
        self.processes[client].signalled_at = self.stirs;
    }

    /// How much had stirred when a client's family was sent a signal, perhaps, the last time; zero if it was not.
    pub(super) fn signalled_at(&self, client: usize) -> u64 {
        self.signalled_at.max(self.processes[client].signalled_at)
    }

    /// A call that may bring what somebody waits for.
    fn pass_and_stir(&mut self, index: usize, notification: &Notification) -> Result<(), ArenaError> {
        self.stir(self.threads[index].process);
        self.pass(index, notification, Answer::Continue)
    }

    /// A call that waits for a pipe, a socket, a child or a signal.
    fn wait_for(
        &mut self,
        index: usize,
        notification: Notification,
        wait: Wait,
        awaited: Awaited,
    ) -> Result<(), ArenaError> {
        let at_wires = !self.wires_of(self.threads[index].process, &wait).is_empty();
        // Who does not want to wait gets what there is.
        if !at_wires && (wait.is_a_look() || self.has_come(index, &wait, &awaited)) {
            return self.pass_and_stir(index, &notification);
        }
        self.hear_request(index, &wait);
        self.lie_in_wait(index, notification, wait, awaited);
        Ok(())
    }

    /// A thread waits until something comes.
    pub(super) fn lie_in_wait(
        &mut self,
        index: usize,
        notification: Notification,
        wait: Wait,
        awaited: Awaited,
    ) {
        let at_wires = !self.wires_of(self.threads[index].process, &wait).is_empty();
        self.lie_down_until_alarm(index, libc::CLOCK_MONOTONIC, wait.timeout(), false);
        let nap = &mut self.threads[index].nap;
        nap.timed = wait.timeout().is_some() || nap.is_alarm;
        if at_wires {
            self.wait_as_for_an_answer(index);
        } else {
            self.rest(index, &wait);
        }
        self.threads[index].nap.asked_at = Some(self.stirs_for(index));
        self.threads[index].state =
            State::AtGate(Pending { notification, call: Call::Wait(wait), half: None, awaited });
        if self.threads[index].nap.rests {
            self.wake_if_changed(index);
        }
    }

    pub(super) fn pass(
        &mut self,
        index: usize,
        notification: &Notification,
        answer: Answer,
    ) -> Result<(), ArenaError> {
        self.threads[index].state = State::Running;
        self.answer(index, notification, answer)
    }

    fn tell_time(
        &mut self,
        index: usize,
        notification: &Notification,
        buffer: u64,
        parts: [u64; 2],
        value: i64,
    ) -> Result<(), ArenaError> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&parts[0].to_ne_bytes());
        bytes[8..].copy_from_slice(&parts[1].to_ne_bytes());
        let told = self.write_to(self.threads[index].process, buffer, &bytes);
        let answer = if told.is_ok() { Answer::Value(value) } else { Answer::Errno(libc::EFAULT) };
        self.pass(index, notification, answer)
    }

    /// A wait is over.
    pub(super) fn end_wait(&mut self, index: usize, call: &Call) -> Result<Effect, ArenaError> {
        let mut footprint = Footprint::new();
        let potential = SmallVec::new();
        match call {
            Call::Wait(wait) => {
                let late_ns = if self.threads[index].nap.rests { timeout::LATE_NS } else { 0 };
                let until_ns = self.threads[index].nap.until_ns.saturating_add(late_ns);
                let (footprint, potential) = self.end_nap(index, until_ns);
                let memory = &self.processes[self.threads[index].process].memory;
                let answer = match wait.tell_time_out(memory).map(|()| wait.timed_out()) {
                    Ok(Ok(value)) => Answer::Value(value),
                    Ok(Err(errno)) => Answer::Errno(errno),
                    Err(_) => Answer::Errno(libc::EFAULT),
                };
                Ok(Effect { footprint, potential, ending: Ending::Answer(answer), yields: true })
            }
            Call::Sleep { .. } => {
                let until_ns = match self.may_wake(index) {
                    true => self.threads[index].nap.until_ns,
                    false => self.oversleeps_until(index),
                };
                let nap = &mut self.threads[index].nap;
                // Who is due at the same time as another one has polled in vain as well.
                let in_vain = !nap.woken && !nap.is_free();
                if !in_vain || nap.stirs {
                    nap.idle_ns = 0;
                }
                if in_vain {
                    nap.idle_ns += until_ns.saturating_sub(nap.clock_ns);
                }
                let (footprint, potential) = self.end_nap(index, until_ns);
                Ok(Effect { footprint, potential, ending: Ending::Answer(Answer::Value(0)), yields: true })
            }
            Call::Futex { .. } if !self.threads[index].nap.woken => {
                // Nobody came: the time is over.
                let (footprint, potential) = self.end_nap(index, self.threads[index].nap.until_ns);
                let ending = Ending::Answer(Answer::Errno(libc::ETIMEDOUT));
                Ok(Effect { footprint, potential, ending, yields: true })
            }
            Call::Futex { operation, .. } => {
                if operation & FUTEX_COMMANDS == libc::FUTEX_WAKE {
                    let section = Object { kind: ObjectKind::Section, key: 0 };
                    footprint.push(Access { object: section, mode: Mode::Write });
                }
                Ok(Effect { footprint, potential, ending: Ending::Answer(Answer::Value(0)), yields: false })
            }
            Call::Socket(_) => {
                self.note_escape("a client closed a socket at which another of its threads waited");
                let ending = Ending::Answer(Answer::Continue);
                Ok(Effect { footprint, potential, ending, yields: false })
            }
            other => Err(ArenaError::Confused(format!("{other:?} is no wait"))),
        }
    }

    /// What a thread at the gate waits for.
    pub(super) fn waits_for(&self, index: usize) -> Waiting {
        let thread = &self.threads[index];
        let mut waiting = Waiting {
            thread: thread.id,
            footprint: Footprint::new(),
            potential: SmallVec::new(),
            was_free: false,
        };
        let State::AtGate(Pending { call, .. }) = &thread.state else { return waiting };
        if let Call::Lock { fd, kind, request, .. } = call {
            let mode = match request {
                LockRequest::Shared => Mode::AcquireShared,
                _ => Mode::Acquire,
            };
            if let Some(file) = self.processes[thread.process].descriptors.get(*fd) {
                let object = perform::lock_object(file.inode, *kind == LockKind::Flock);
                waiting.footprint.push(Access { object, mode });
            }
        } else if let Call::Socket(call) = call {
            waiting.footprint.extend(self.awaited_message(thread.process, call));
        } else if let Call::Wait(wait) = call {
            let comes = self.wires_of(thread.process, wait).into_iter().filter(|(_, comes)| *comes);
            let awaited = comes.flat_map(|(socket, _)| self.wires.awaited(socket));
            waiting.footprint.extend(awaited.map(|object| Access { object, mode: Mode::Acquire }));
        } else if let Some(inode) = self.writes_to(thread.process, call) {
            if let Call::Open { at, .. }
            | Call::Truncate { target: Target::Path(at, _), .. }
            | Call::ChangeMode { target: Target::Path(at, _), .. }
            | Call::SetTimes { target: Target::Path(at, _), .. } = call
            {
                // Another file may have the name in another state.
                (waiting.footprint, waiting.potential) = self.reads_path(thread.process, at, true);
                for kind in [ObjectKind::Content, ObjectKind::Metadata, ObjectKind::Attributes] {
                    waiting.potential.push(Potential::Any(kind, Mode::Write));
                }
                waiting.potential.push(Potential::Any(ObjectKind::WriteGate, Mode::Acquire));
            }
            let object = inode.object(ObjectKind::WriteGate);
            waiting.footprint.push(Access { object, mode: Mode::Acquire });
        }
        if !waiting.footprint.is_empty() {
            // It is a step of its client as any other.
            let client = self.client_index(index);
            waiting.footprint = self.with_memory(client, waiting.footprint);
            waiting.footprint.extend(self.life(client));
        }
        waiting
    }

    /// Whether the state decides if a thread has to wait before it can take this step.
    pub(super) fn may_have_to_wait(call: &Call) -> bool {
        match call {
            Call::Open { flags, .. } => flags & libc::O_TRUNC != 0,
            Call::Lock { wait, .. } => *wait,
            Call::Socket(call) => call.wait().is_some(),
            Call::Futex { .. }
            | Call::Wait(_)
            | Call::Sleep { .. }
            | Call::Write { .. }
            | Call::Allocate { .. }
            | Call::Truncate { .. }
            | Call::ChangeMode { .. }
            | Call::SetTimes { .. } => true,
            _ => false,
        }
    }

    /// The inode that a call writes to, if its writers are kept apart by the kernel.
    pub(super) fn writes_to(&self, process: usize, call: &Call) -> Option<Inode> {
        let fd = |fd: i32| self.processes[process].descriptors.get(fd).map(|file| file.inode);
        match call {
            Call::Write { fd: number, .. } | Call::Allocate { fd: number, .. } => fd(*number),
            Call::Truncate { target, .. }
            | Call::ChangeMode { target, .. }
            | Call::SetTimes { target, .. } => self.target_inode(process, target),
            Call::Open { at, flags, .. } if flags & libc::O_TRUNC != 0 => {
                self.target_inode(process, &Target::Path(at.clone(), true))
            }
            _ => None,
        }
    }
}
