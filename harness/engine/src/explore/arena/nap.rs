//! Naps: sleeps, and waits that end after some time (`timeout` says which of them).
//!
//! A sleep is a fair yield. Its end is a step: *at any time*, once an operation, for a nap that is shorter than
//! [`JITTER_NS`] or [`JITTERS_OF_A_LEASE`], and [once more](NAPS_AFTER_CHANGES) after the thread itself has changed
//! something; after that only when something that the thread has looked at since its last nap has changed, since a
//! round of polling that finds everything as it was before would only be repeated; and whenever nobody else can go
//! on, the earliest first. So a client that polls for ever does not make the search endless, and one that waits for
//! its time-out gets it at once. What other clients change after the look and before the thread lies down counts as
//! well: the steps in between may change places with the change. A longer nap ends in the last way alone: whoever could
//! have gone on while it lasted, another thread of the same client as well, would have been suspended. But nobody would be
//! by naps that are over [at the same time](SAME_TIME): once the first of them has ended since nobody else could go on, the
//! others end at any time, and what comes after them comes in any order.
//!
//! In programs of users another thread may look for the one that waits, and another process nap for it, as in a loop of a
//! shell (`watch`).
//!
//! Who has polled for some time, found everything as it was and left it so (a draft that is removed again
//! leaves nothing) oversleeps: by half of that time, at most [`LATE_NS`], and not past the end of anybody's
//! sleep but that of others who merely poll. A client that waits for a dead holder then looks some twenty
//! times before its patience is over, not hundreds.
//!
//! Not covered: what another process of the same program changes (who naps until then goes on when nobody else can); and
//! longer naps that end at about the same time as one another, but not as the one that ended before them, if whoever had
//! that one is still under way; nor naps that end at the same time under a pause, where others go on beside who is suspended.

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::alarm::Limit;
use super::copies::Awaited;
use super::fate::{Fate, FateKind, pause_of, process_of};
use super::thread::Thread;
use super::time::start_of;
use super::tree::Inode;
use super::watch::Watch;
use super::{Arena, Pending, State};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::gate::Call;
use crate::explore::system::ThreadId;

/// Naps of one operation that may end at any time.
const FREE_NAPS: u32 = 1;
/// Further ones, after a change: what comes next is no repetition of what was before.
const NAPS_AFTER_CHANGES: u32 = 1;
/// A longer one ends only when nobody else can go on: who could have gone on while it lasted would have
/// been suspended, and that is another hazard.
pub(super) const JITTER_NS: u64 = 500_000_000;
/// Where built-in locks have leases it is this part of one: shorter than the time between two heartbeats, each of
/// which could otherwise come in the middle of everything else.
pub(super) const JITTERS_OF_A_LEASE: u64 = 8;
/// But not shorter than the longest naps of who polls for a lock that has no lease; those of the others are no longer than
/// that part.
pub(super) const LONGEST_POLL_NS: u64 = 2_000_000;
/// Naps that are over within this part of a jitter are over at the same time.
const SAME_TIME: u64 = 100;
/// No nap is over later: some hundred and forty years, which clocks can still show.
const LATEST_NS: u64 = 1 << 62;
/// Who merely polls oversleeps by this much at most.
const LATE_NS: u64 = 20_000_000;

/// What a thread's naps depend on.
#[derive(Debug, Default)]
pub(super) struct Nap {
    /// The thread's own time, in nanoseconds since the execution began.
    pub(super) clock_ns: u64,
    /// How long it may be to end while others can go on, in nanoseconds.
    pub(super) jitter_ns: u64,
    /// When the nap under way is over.
    pub(super) until_ns: u64,
    /// What clocks have shown by then, at least.
    pub(super) shows_ns: u64,
    /// Naps so far.
    pub(super) count: u32,
    /// Of these are over.
    pub(super) ended: u32,
    /// Free naps that are left in this operation.
    pub(super) left: u32,
    /// How many there were after changes.
    pub(super) after_changes: u32,
    /// Who has started this process had changed something since its own last nap.
    pub(super) begins_after_change: bool,
    /// The operation that they are counted for.
    pub(super) operation: u32,
    /// What it waits for.
    pub(super) watch: Watch,
    /// Something of that has changed since; or, at a futex, somebody woke it.
    pub(super) woken: bool,
    /// Somebody's was over when nobody else could go on, and this one is over then as well ([`SAME_TIME`]).
    pub(super) is_due: bool,
    /// It was woken at a futex where it might have given up before.
    pub(super) gives_up: bool,
    /// The wait, other than a sleep, has an end.
    pub(super) timed: bool,
    /// An alarm comes at its end.
    pub(super) is_alarm: bool,
    /// When it is over if no alarm comes, if ever.
    pub(super) beyond_ns: Option<u64>,
    /// It is a wait for something else that is over at any time, as a sleep is.
    pub(super) rests: bool,
    /// For how long the thread has polled, found everything as it was and left it so, in nanoseconds.
    pub(super) idle_ns: u64,
    /// What it has changed itself since its last nap.
    pub(super) changed: Changes,
    /// It has changed something itself between its last two naps that is still changed.
    pub(super) stirs: bool,
    /// How much had stirred when it was last asked whether what it waits for is there.
    pub(super) asked_at: Option<u64>,
}

/// What a thread has changed since its last nap. Its own steps alone decide, and not what others did meanwhile:
/// that would not be the same in every execution of a class.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The thread's steps when that nap was over.
    since: u32,
    /// Inodes whose bytes, times or modes it has changed.
    inodes: SmallVec<[Inode; 4]>,
    /// Names that it has made or taken away, and not the other way round again.
    names: SmallVec<[Object; 2]>,
    /// Advisory locks that it has taken and not given back.
    locks: SmallVec<[Object; 2]>,
    /// Something that cannot be put back.
    more: bool,
}

impl Changes {
    pub(super) fn note(&mut self, footprint: &Footprint) {
        let lists = |access: &Access| access.object.kind == ObjectKind::Listing && access.mode.changes();
        let lists = footprint.iter().any(lists);
        for access in footprint.iter().filter(|access| access.mode.changes()) {
            self.note_one(*access, lists);
        }
    }

    fn note_one(&mut self, Access { object, mode }: Access, lists: bool) {
        use ObjectKind::{
            Attributes, Birth, Channel, Content, Entry, Listing, Liveness, Lock, Memory, Metadata, Offset,
            Section, WriteGate,
        };
        match object.kind {
            // Counts of links and times of directories follow from names.
            Metadata if mode == Mode::Update => {}
            Content | Metadata | Attributes => self.inodes.push(Inode(object.key)),
            Entry if lists => match self.names.iter().position(|name| *name == object) {
                Some(at) => drop(self.names.remove(at)),
                None => self.names.push(object),
            },
            Lock if matches!(mode, Mode::Release | Mode::ReleaseShared) => {
                self.locks.retain(|lock| *lock != object);
            }
            Lock => self.locks.push(object),
            Entry | Birth | Liveness | Section => self.more = true,
            // Nobody else's, or held by a call for a moment.
            Listing | Offset | WriteGate | Channel | Memory => {}
        }
    }

    /// Whether something of it is still changed, of a thread that has taken so many steps. What it has made itself
    /// is where its name is.
    pub(super) fn remain(&self, thread: ThreadId, steps: u32) -> bool {
        let made_itself =
            |inode: &Inode| (self.since..=steps).any(|step| *inode == Inode::made(thread.0, step));
        self.more || !self.locks.is_empty() || !self.names.is_empty() || !self.inodes.iter().all(made_itself)
    }

    /// A nap is over.
    pub(super) fn begin(&mut self, steps: u32) {
        *self = Self { since: steps, ..Self::default() };
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

    /// It is over so much later.
    pub const fn put_off(&mut self, late_ns: u64) {
        self.until_ns = self.until_ns.saturating_add(late_ns);
    }

    /// Whether somebody has woken it.
    pub const fn is_woken(&self) -> bool {
        self.woken
    }

    /// Whether it may end at any time, whatever others do.
    pub(super) const fn is_free(&self) -> bool {
        self.left > 0 && self.length_ns() <= self.jitter_ns
    }

    /// How long it takes from now on, in nanoseconds.
    pub(super) const fn length_ns(&self) -> u64 {
        self.until_ns.saturating_sub(self.clock_ns)
    }
}

impl Arena<'_> {
    /// A thread lies down for so long, or until then; for ever, if it has no limit.
    pub(super) fn lie_down(&mut self, index: usize, clock: i32, limit: Option<u64>, absolute: bool) {
        let nanoseconds = limit.unwrap_or(0);
        let client = self.client_index(index);
        self.read_dial(client);
        let shown_ns = self.processes[client].shown_ns;
        let operation = self.operation_of(index);
        let Thread { id, steps, nap, .. } = &mut self.threads[index];
        let (id, steps) = (*id, *steps);
        nap.stirs = nap.changed.remain(id, steps);
        nap.jitter_ns = self.jitter_ns;
        nap.until_ns = if absolute {
            nanoseconds.saturating_sub(start_of(clock)).max(nap.clock_ns)
        } else {
            nap.clock_ns.saturating_add(nanoseconds)
        };
        nap.until_ns = nap.until_ns.min(LATEST_NS);
        // Whoever looks at a clock before and after finds that it has slept for so long.
        let shown_ns = shown_ns.max(nap.clock_ns);
        nap.shows_ns = if absolute { 0 } else { shown_ns.saturating_add(nanoseconds).min(LATEST_NS) };
        nap.count += 1;
        (nap.woken, nap.is_due, nap.rests, nap.is_alarm) = (false, false, false, false);
        if nap.count == 1 || nap.operation != operation {
            nap.operation = operation;
            nap.left = FREE_NAPS;
            nap.after_changes = 0;
            nap.idle_ns = 0;
        } else if limit.is_some()
            && (nap.stirs || nap.begins_after_change)
            && nap.left == 0
            && nap.after_changes < NAPS_AFTER_CHANGES
        {
            nap.left = 1;
            nap.after_changes += 1;
        }
        nap.begins_after_change &= limit.is_none();
    }

    /// A thread lies down for so long, until then, or for ever; or until an alarm that comes before.
    pub(super) fn lie_down_until_alarm(
        &mut self,
        index: usize,
        clock: i32,
        limit: Option<u64>,
        absolute: bool,
    ) {
        let now_ns = self.threads[index].nap.clock_ns;
        let own = limit.map(|limit| match absolute {
            true => limit.saturating_sub(start_of(clock)).saturating_sub(now_ns),
            false => limit,
        });
        let Limit { after_ns, is_alarm } = self.limit_with_alarm(index, own);
        if is_alarm {
            self.lie_down(index, libc::CLOCK_MONOTONIC, after_ns, false);
        } else {
            self.lie_down(index, clock, limit, absolute);
        }
        let nap = &mut self.threads[index].nap;
        (nap.is_alarm, nap.beyond_ns) = (is_alarm, own.map(|own| now_ns.saturating_add(own)));
    }

    /// What comes of it that a nap is over at this time, whatever it was for.
    pub(super) fn end_nap(&mut self, index: usize, until_ns: u64) -> (Footprint, SmallVec<[Potential; 4]>) {
        let (mut footprint, mut potential) = (Footprint::new(), SmallVec::new());
        if !self.may_wake(index) {
            self.pause_others(self.client_index(index), until_ns, &mut footprint, &mut potential);
        }
        let (wakes_up, without) = self.end_watch(index);
        footprint.extend(wakes_up);
        if let Some(by) = without {
            let suspends = Access { object: pause_of(process_of(by)), mode: Mode::Acquire };
            footprint.iter_mut().filter(|access| access.mode == Mode::Acquire).for_each(|wakes_up| {
                wakes_up.mode = Mode::AcquireShared;
            });
            potential.push(Potential::Certain(suspends));
        }
        let Thread { steps, nap, .. } = &mut self.threads[index];
        nap.changed.begin(*steps);
        if !nap.woken {
            nap.left = nap.left.saturating_sub(1);
        }
        nap.is_due = false;
        nap.ended += 1;
        self.advance(index, until_ns);
        (footprint, potential)
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
        nap.woken || nap.is_due || nap.is_free()
    }

    /// Whether a thread that waits for something to come might have given up before.
    pub(super) fn may_give_up(&self, index: usize) -> bool {
        let nap = &self.threads[index].nap;
        nap.timed && (nap.is_due || nap.length_ns() <= nap.jitter_ns)
    }

    /// The limit of a wait for a message is a longer nap than one that nobody cuts short: whoever is to answer has
    /// something to do. What is short is told from the patience of clients.
    pub(super) fn wait_as_for_an_answer(&mut self, index: usize) {
        let patience = self.specification.plan.scenario.stress.patience.as_nanos() as u64;
        let nap = &mut self.threads[index].nap;
        nap.jitter_ns = nap.jitter_ns.min(patience / JITTERS_OF_A_LEASE);
    }

    /// Who wakes up when nobody else can go on, but those who are paused.
    pub(super) fn first_to_wake(&self, able: &[ThreadId]) -> Option<usize> {
        self.might_wake(able)
            .into_iter()
            .min_by_key(|&index| (self.threads[index].nap.until_ns, self.threads[index].id))
            .filter(|&index| !self.pause_is_over_by(self.threads[index].nap.until_ns))
    }

    /// Who has just woken when nobody else could go on should have done so at the same time as others, which can be as
    /// fast.
    pub(super) fn others_are_due(&mut self, index: usize) {
        // Where somebody may be suspended, whoever's nap is over goes on beside him.
        if self.fates.iter().any(|fate| fate.kind != FateKind::Kill) {
            return;
        }
        let now_ns = self.threads[index].nap.until_ns;
        // Whoever was killed would be due, had it lived.
        let window_ns = self.jitter_ns / SAME_TIME;
        for fate in &mut self.fates {
            fate.stood = fate.stood.map(|(at_ns, thread)| match at_ns <= now_ns.saturating_add(window_ns) {
                true => (0, thread),
                false => (at_ns, thread),
            });
        }
        let due = |&other: &usize| {
            let nap = &self.threads[other].nap;
            nap.jitter_ns > 0 && nap.until_ns <= now_ns.saturating_add(nap.jitter_ns / SAME_TIME)
        };
        let others = self.might_wake(&[]).into_iter().filter(due).collect::<SmallVec<[usize; 4]>>();
        for other in others {
            self.threads[other].nap.is_due = true;
            self.note_cause(other);
        }
    }

    /// Who is asleep and could wake up when nobody else can go on.
    fn might_wake(&self, able: &[ThreadId]) -> SmallVec<[usize; 4]> {
        let under_way = self.holder.is_none() || self.prepares || self.is_under_way();
        let stands_still = |index: usize| {
            let client = self.client_index(index);
            if Some(client) == self.holder && !under_way {
                return true;
            }
            self.is_paused(client) || able.iter().any(|thread| process_of(*thread) == client)
        };
        // Who drives a program waits for its answer as long as anybody can still go on, be it after a pause.
        let is_over = able.is_empty() && self.end_of_pause().is_none();
        let gives_up = |index: usize| {
            let process = &self.processes[self.threads[index].process];
            let waits =
                matches!(self.threads[index].state, State::AtGate(Pending { call: Call::Wait(_), .. }));
            is_over || !waits || !process.is_root() || !self.drives(process.client)
        };
        (0..self.threads.len())
            .filter(|&index| self.is_asleep(index) && !stands_still(index) && gives_up(index))
            .collect()
    }

    /// Whether a thread waits for the end of some time.
    pub(super) fn is_asleep(&self, index: usize) -> bool {
        match &self.threads[index].state {
            State::AtGate(Pending { call: Call::Sleep { .. }, .. }) => true,
            State::AtGate(Pending { call: Call::Futex { .. } | Call::Wait(_), .. }) => {
                self.threads[index].nap.timed
            }
            State::AtGate(Pending { call: call @ Call::Lock { .. }, .. }) => {
                self.threads[index].nap.timed && self.lacks_lock(index, call)
            }
            State::AtGate(Pending { call: Call::Socket(call), .. }) => {
                self.threads[index].nap.timed && self.has_no_message(self.threads[index].process, call)
            }
            _ => false,
        }
    }

    /// Whether this is the end of a wait that ends only when nobody else can go on.
    pub(super) fn is_last_resort(&self, index: usize, call: &Call) -> bool {
        match call {
            Call::Sleep { .. } => !self.may_wake(index),
            Call::Futex { .. } => self.threads[index].nap.timed && !self.may_wake(index),
            Call::Wait(wait) => {
                let at_wires = !self.wires_of(self.threads[index].process, wait).is_empty();
                let over = wait.is_a_look() || self.threads[index].nap.timed && self.may_wake(index);
                !(over || at_wires && self.has_come(index, wait, &Awaited::default()))
            }
            Call::Lock { .. } => self.lacks_lock(index, call) && !self.may_wake(index),
            Call::Socket(call) => {
                self.has_no_message(self.threads[index].process, call) && !self.may_wake(index)
            }
            _ => false,
        }
    }

    /// Whether a thread does nothing but look whether something has changed.
    fn merely_polls(&self, index: usize) -> bool {
        let nap = &self.threads[index].nap;
        nap.idle_ns > 0 && !nap.stirs
    }

    /// When a nap ends that nobody has cut short.
    pub(super) fn oversleeps_until(&self, index: usize) -> u64 {
        let until_ns = self.threads[index].nap.until_ns;
        if !self.merely_polls(index) {
            return until_ns;
        }
        let asleep = |other: &usize| *other != index && self.is_asleep(*other);
        let others = (0..self.threads.len()).filter(asleep).filter(|&other| !self.merely_polls(other));
        let ends = others.map(|other| self.threads[other].nap.until_ns).chain(self.end_of_pause());
        ends.filter(|&end| end >= until_ns).fold(self.oversleeps_at_most_until(index), u64::min)
    }

    fn oversleeps_at_most_until(&self, index: usize) -> u64 {
        let nap = &self.threads[index].nap;
        nap.until_ns.saturating_add((nap.idle_ns / 2).min(LATE_NS))
    }

    /// When those threads of a client rise that are asleep and do more than look whether something has changed.
    pub(super) fn ends_of_naps(&self, client: usize) -> SmallVec<[u64; 2]> {
        let asleep = |index: &usize| self.is_asleep(*index) && !self.merely_polls(*index);
        self.threads_of(client).filter(asleep).map(|index| self.threads[index].nap.until_ns).collect()
    }

    /// Clients that may be killed, or were, of whose life it depends how late a thread is that oversleeps.
    pub(super) fn are_slept_beside(&self, index: usize) -> SmallVec<[usize; 2]> {
        if !self.merely_polls(index) {
            return SmallVec::new();
        }
        let while_late = self.threads[index].nap.until_ns..=self.oversleeps_at_most_until(index);
        let others = self.fates_that_kill().filter(|fate| fate.victim != self.client_index(index));
        let matters = |fate: &&Fate| {
            let now = self.ends_of_naps(fate.victim);
            now.iter().chain(&fate.slept).any(|end| while_late.contains(end))
        };
        others.filter(matters).map(|fate| fate.victim).collect()
    }

    /// The operation that a thread's naps are counted for. What a driven program does belongs to the operation of who
    /// drives it.
    pub(super) fn operation_of(&self, index: usize) -> u32 {
        let client = self.client_index(index);
        let line = self.processes[client].line_of(self.threads[index].id);
        let line = line.or_else(|| self.drives(client).then_some(self.processes[client].first_line));
        line.map_or(0, |line| self.control.thread(line).operations().load(Ordering::SeqCst))
    }
}
