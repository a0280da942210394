//! Calls that wait, and calls that are let pass.
//!
//! A sleep is a fair yield. Its end is a step: *at any time*, once an operation, for a nap that is
//! shorter than [`JITTER_NS`]; after that only when something that the thread has looked at since its last
//! nap has changed, since a round of polling that finds everything as it was before would only be
//! repeated; and whenever nobody else can go on, the earliest first. So a client that polls for
//! ever does not make the search endless, and one that waits for its time-out gets it at once. A longer
//! nap ends in the last way alone: whoever could have gone on while it lasted, another thread of the same client
//! as well, would have been suspended.
//!
//! Who has polled for some time, found everything as it was and left it so (a draft that is removed again
//! leaves nothing) oversleeps: by half of that time, at most
//! [`JITTER_NS`], and not past the end of anybody's sleep but that of others who merely poll. A client
//! that waits for a dead holder then looks some twenty times before its patience is over, not hundreds.

use std::sync::atomic::Ordering;

use smallvec::{SmallVec, smallvec};

use super::fate::{pause_of, process_of};
use super::futex::FUTEX_COMMANDS;
use super::perform::{self, Effect, Ending};
use super::tree::{Inode, Tree, digest};
use super::{Arena, ArenaError, Pending, State};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::gate::{Answer, Call, LockKind, LockRequest, Notification, Target, Wait};
use crate::explore::system::{ThreadId, Waiting};

/// Naps of one operation that may end at any time.
const FREE_NAPS: u32 = 1;
/// A longer one ends only when nobody else can go on: who could have gone on while it lasted would have
/// been suspended, and that is another hazard.
const JITTER_NS: u64 = 20_000_000;

/// What a thread's naps depend on.
#[derive(Debug, Default)]
pub(super) struct Nap {
    /// The thread's own time, in nanoseconds since the execution began.
    pub clock_ns: u64,
    /// How often it has read a clock.
    pub readings: u64,
    /// When the nap under way is over.
    until_ns: u64,
    /// Naps so far.
    count: u32,
    /// Free naps that are left in this operation.
    left: u32,
    /// The operation that they are counted for.
    operation: u32,
    /// What the thread has touched since its last nap.
    seen: Vec<Object>,
    /// Something of that has changed since; or, at a futex, somebody woke it.
    pub woken: bool,
    /// Who has changed something of what it had looked at.
    woken_by: SmallVec<[usize; 2]>,
    /// The wait, other than a sleep, has an end.
    pub timed: bool,
    /// For how long the thread has polled, found everything as it was and left it so, in nanoseconds.
    idle_ns: u64,
    /// What it has changed itself since its last nap: inodes, and how names led to them then.
    changed: Changes,
    /// It has changed something itself between its last two naps that is still changed.
    stirs: bool,
    /// How much had stirred when it was last asked whether what it waits for is there.
    pub asked_at: Option<u64>,
}

/// What a thread has changed since its last nap.
#[derive(Debug, Default)]
struct Changes {
    /// Inodes whose bytes, times or modes it has changed.
    inodes: SmallVec<[Inode; 4]>,
    /// Which names there were when that nap was over.
    names: u64,
    /// Advisory locks that it has taken and not given back.
    locks: SmallVec<[Object; 2]>,
    /// Something that cannot be put back.
    more: bool,
}

impl Changes {
    fn note(&mut self, access: &Access) {
        use ObjectKind::{
            Attributes, Birth, Channel, Content, Entry, Listing, Liveness, Lock, Memory, Metadata, Offset,
            Section, WriteGate,
        };
        let Access { object, mode } = *access;
        match object.kind {
            Content | Metadata | Attributes if mode.changes() => self.inodes.push(Inode(object.key)),
            Lock if matches!(mode, Mode::Acquire | Mode::AcquireShared | Mode::Write) => {
                self.locks.push(object);
            }
            Lock if matches!(mode, Mode::Release | Mode::ReleaseShared) => {
                self.locks.retain(|lock| *lock != object);
            }
            Birth | Liveness | Section => self.more |= mode.changes(),
            // Names are compared; the others are nobody else's, or held by a call for a moment.
            Content | Metadata | Attributes | Lock | Entry | Listing | Offset | WriteGate | Channel
            | Memory => {}
        }
    }

    /// Whether something of it is still changed.
    fn remain(&self, tree: &Tree) -> bool {
        self.more
            || !self.locks.is_empty()
            || self.names != tree.names_now()
            || self.inodes.iter().any(|&inode| tree.is_linked(inode))
    }

    /// A nap is over.
    fn begin(&mut self, tree: &Tree) {
        *self = Self { names: tree.names_now(), ..Self::default() };
    }
}

impl Nap {
    /// For a thread whose clock stands here.
    pub fn at(clock_ns: u64) -> Self {
        Self { clock_ns, ..Self::default() }
    }

    /// When it is over at the latest, in nanoseconds since the execution began.
    pub const fn end(&self) -> u64 {
        self.until_ns
    }

    /// Whether somebody has woken it.
    pub const fn is_woken(&self) -> bool {
        self.woken
    }

    /// Whether it may end before everybody else has to wait.
    const fn is_short(&self) -> bool {
        self.until_ns.saturating_sub(self.clock_ns) <= JITTER_NS
    }

    /// The object by which whoever wakes a thread comes before its waking up.
    fn object(&self, thread: u16) -> Object {
        Object { kind: ObjectKind::Channel, key: digest(&("nap", thread, self.count)) }
    }
}

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
            Call::Futex { address, operation, value, timeout, .. } => {
                self.futex(index, notification, [address, timeout], operation, value)
            }
            Call::Sleep { nanoseconds, absolute, clock } => {
                self.lie_down(index, clock, nanoseconds, absolute);
                self.threads[index].state = State::AtGate(Pending { notification, call, half: None });
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
                    let _ = self.processes[process].memory.write(buffer, &seconds.to_ne_bytes());
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
            Call::Random { buffer, length } => self.draw(index, &notification, buffer, length),
            Call::Exit { group } => self.exit(index, &notification, group),
            Call::Spawn { flags } => self.expect_birth(index, &notification, flags),
            Call::Execute => self.execute(index, &notification),
            Call::Wait(wait) => self.wait_for(index, notification, wait),
            Call::Read { .. } | Call::Write { .. } => match self.waits_on_channel(process, &call) {
                Some(wait) => self.wait_for(index, notification, wait),
                None => self.stir(index, &notification),
            },
            Call::Close { .. } | Call::CloseRange { .. } | Call::Duplicate { .. } => {
                self.stir(index, &notification)
            }
            Call::Kill { .. } | Call::ThreadKill { .. } => {
                self.signals = true;
                self.stir(index, &notification)
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
                self.signals |= number == libc::SYS_pidfd_send_signal;
                self.stir(index, &notification)
            }
            _ => self.pass(index, &notification, Answer::Continue),
        }
    }

    /// A call that may bring what somebody waits for.
    fn stir(&mut self, index: usize, notification: &Notification) -> Result<(), ArenaError> {
        self.stirs += 1;
        self.pass(index, notification, Answer::Continue)
    }

    /// A call that waits for a pipe, a socket, a child or a signal.
    fn wait_for(&mut self, index: usize, notification: Notification, wait: Wait) -> Result<(), ArenaError> {
        if self.has_come(index, &wait) {
            return self.stir(index, &notification);
        }
        self.lie_down(index, libc::CLOCK_MONOTONIC, wait.timeout().unwrap_or(0), false);
        self.threads[index].nap.timed = wait.timeout().is_some();
        self.threads[index].nap.asked_at = Some(self.stirs);
        self.threads[index].state =
            State::AtGate(Pending { notification, call: Call::Wait(wait), half: None });
        Ok(())
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
        let told = self.processes[self.threads[index].process].memory.write(buffer, &bytes);
        let answer = if told.is_ok() { Answer::Value(value) } else { Answer::Errno(libc::EFAULT) };
        self.pass(index, notification, answer)
    }

    /// A thread lies down.
    pub(super) fn lie_down(&mut self, index: usize, clock: i32, nanoseconds: u64, absolute: bool) {
        let client = self.client_index(index);
        // What a driven program does belongs to the operation of who drives it.
        let line = self.processes[client].line_of(self.threads[index].id);
        let line = line.or_else(|| self.drives(client).then_some(self.processes[client].first_line));
        let operation = line.map_or(0, |line| self.control.thread(line).operations().load(Ordering::SeqCst));
        let nap = &mut self.threads[index].nap;
        nap.stirs = nap.changed.remain(&self.tree);
        nap.until_ns = if absolute {
            let base = match clock {
                libc::CLOCK_REALTIME => super::time::EPOCH_NS,
                _ => super::time::UPTIME_NS,
            };
            nanoseconds.saturating_sub(base).max(nap.clock_ns)
        } else {
            nap.clock_ns.saturating_add(nanoseconds)
        };
        nap.count += 1;
        nap.woken = false;
        nap.woken_by.clear();
        if nap.count == 1 || nap.operation != operation {
            nap.operation = operation;
            nap.left = FREE_NAPS;
            nap.idle_ns = 0;
        }
    }

    /// Whether a nap, or a wait at a futex, may end now.
    pub(super) fn may_wake(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        let nap = &thread.nap;
        if let State::AtGate(Pending { call: Call::Futex { .. }, .. }) = &thread.state
            && !nap.timed
        {
            return nap.woken;
        }
        nap.woken || nap.left > 0 && nap.is_short()
    }

    /// Who wakes up when nobody else can go on, but those who are paused.
    pub(super) fn first_to_wake(&self, able: &[ThreadId]) -> Option<usize> {
        let stands_still = |index: usize| {
            let client = self.client_index(index);
            self.is_paused(client) || able.iter().any(|thread| process_of(*thread) == client)
        };
        (0..self.threads.len())
            .filter(|&index| self.is_asleep(index) && !stands_still(index))
            .min_by_key(|&index| (self.threads[index].nap.until_ns, self.threads[index].id))
            .filter(|&index| !self.pause_is_over_by(self.threads[index].nap.until_ns))
    }

    /// Whether a thread waits for the end of some time.
    pub(super) fn is_asleep(&self, index: usize) -> bool {
        match &self.threads[index].state {
            State::AtGate(Pending { call: Call::Sleep { .. }, .. }) => true,
            State::AtGate(Pending { call: Call::Futex { .. } | Call::Wait(_), .. }) => {
                self.threads[index].nap.timed
            }
            _ => false,
        }
    }

    /// Whether this is the end of a wait that ends only when nobody else can go on.
    pub(super) fn is_last_resort(&self, index: usize, call: &Call) -> bool {
        match call {
            Call::Sleep { .. } => !self.may_wake(index),
            Call::Futex { .. } => self.threads[index].nap.timed && !self.may_wake(index),
            Call::Wait(_) => true,
            _ => false,
        }
    }

    /// Whether a thread does nothing but look whether something has changed.
    fn merely_polls(&self, index: usize) -> bool {
        let nap = &self.threads[index].nap;
        nap.idle_ns > 0 && !nap.stirs
    }

    /// When a nap ends that nobody has cut short.
    fn oversleeps_until(&self, index: usize) -> u64 {
        let until_ns = self.threads[index].nap.until_ns;
        if !self.merely_polls(index) {
            return until_ns;
        }
        let late_ns = (self.threads[index].nap.idle_ns / 2).min(JITTER_NS);
        let asleep = |other: &usize| match &self.threads[*other].state {
            State::AtGate(Pending { call: Call::Sleep { .. } | Call::Futex { .. }, .. }) => *other != index,
            _ => false,
        };
        let others = (0..self.threads.len()).filter(asleep).filter(|&other| !self.merely_polls(other));
        let ends = others.map(|other| self.threads[other].nap.until_ns).chain(self.end_of_pause());
        ends.filter(|&end| end >= until_ns).fold(until_ns.saturating_add(late_ns), u64::min)
    }

    /// A wait is over.
    pub(super) fn end_wait(&mut self, index: usize, call: &Call) -> Result<Effect, ArenaError> {
        let (id, process) = (self.threads[index].id, self.client_index(index));
        let mut footprint = Footprint::new();
        let mut potential = SmallVec::new();
        match call {
            Call::Wait(wait) => {
                let until_ns = self.threads[index].nap.until_ns;
                self.pause_others(process, until_ns, &mut footprint, &mut potential);
                self.threads[index].nap.seen.clear();
                self.advance(index, until_ns);
                let memory = &self.processes[self.threads[index].process].memory;
                let answer = match wait.tell_time_out(memory).map(|()| wait.timed_out()) {
                    Ok(Ok(value)) => Answer::Value(value),
                    Ok(Err(errno)) => Answer::Errno(errno),
                    Err(_) => Answer::Errno(libc::EFAULT),
                };
                Ok(Effect { footprint, potential, ending: Ending::Answer(answer), yields: true })
            }
            Call::Sleep { .. } => {
                let may_wake = self.may_wake(index);
                let until_ns = match may_wake {
                    true => self.threads[index].nap.until_ns,
                    false => self.oversleeps_until(index),
                };
                let nap = &mut self.threads[index].nap;
                if may_wake || nap.stirs {
                    nap.idle_ns = 0;
                }
                if !may_wake {
                    nap.idle_ns += until_ns.saturating_sub(nap.clock_ns);
                }
                nap.changed.begin(&self.tree);
                nap.seen.clear();
                if nap.woken {
                    footprint.push(Access { object: nap.object(id.0), mode: Mode::Acquire });
                } else {
                    nap.left = nap.left.saturating_sub(1);
                }
                if !may_wake {
                    self.pause_others(process, until_ns, &mut footprint, &mut potential);
                }
                self.advance(index, until_ns);
                Ok(Effect { footprint, potential, ending: Ending::Answer(Answer::Value(0)), yields: true })
            }
            Call::Futex { .. } if !self.threads[index].nap.woken => {
                // Nobody came: the time is over.
                let until_ns = self.threads[index].nap.until_ns;
                if !self.may_wake(index) {
                    self.pause_others(process, until_ns, &mut footprint, &mut potential);
                }
                self.threads[index].nap.left = self.threads[index].nap.left.saturating_sub(1);
                self.threads[index].nap.seen.clear();
                self.advance(index, until_ns);
                Ok(Effect {
                    footprint,
                    potential,
                    ending: Ending::Answer(Answer::Errno(libc::ETIMEDOUT)),
                    yields: true,
                })
            }
            Call::Futex { operation, .. } => {
                if operation & FUTEX_COMMANDS == libc::FUTEX_WAKE {
                    let section = Object { kind: ObjectKind::Section, key: 0 };
                    footprint.push(Access { object: section, mode: Mode::Write });
                }
                Ok(Effect { footprint, potential, ending: Ending::Answer(Answer::Value(0)), yields: false })
            }
            other => Err(ArenaError::Confused(format!("{other:?} is no wait"))),
        }
    }

    /// Notes what a thread has touched, and who was waiting for such a change.
    pub(super) fn wake_whom_it_concerns(&mut self, index: usize, footprint: &mut Footprint) {
        let mut woke: SmallVec<[Access; 2]> = smallvec![];
        for other in 0..self.threads.len() {
            let thread = &self.threads[other];
            let asleep = matches!(&thread.state, State::AtGate(Pending { call: Call::Sleep { .. }, .. }));
            if other == index || !asleep || thread.nap.left > 0 || !thread.nap.is_short() {
                continue;
            }
            let changed = footprint
                .iter()
                .any(|access| access.mode.changes() && thread.nap.seen.contains(&access.object));
            if changed && !thread.nap.woken_by.contains(&index) {
                // The first one makes the waking up possible; it is ordered with those that come after.
                let mode = if thread.nap.woken { Mode::Read } else { Mode::Release };
                woke.push(Access { object: thread.nap.object(thread.id.0), mode });
                self.threads[other].nap.woken = true;
                self.threads[other].nap.woken_by.push(index);
            }
        }
        footprint.iter().for_each(|access| self.threads[index].nap.changed.note(access));
        let processes = if self.has_fates() { self.processes.len() } else { 0 };
        let nap = &mut self.threads[index].nap;
        for access in footprint.iter() {
            let is_pause = (0..processes).any(|process| access.object == pause_of(process));
            if !is_pause && !nap.seen.contains(&access.object) {
                nap.seen.push(access.object);
            }
        }
        footprint.extend(woke);
    }

    /// What a thread at the gate waits for.
    pub(super) fn waits_for(&self, index: usize) -> Waiting {
        let thread = &self.threads[index];
        let mut waiting =
            Waiting { thread: thread.id, footprint: Footprint::new(), potential: SmallVec::new() };
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
