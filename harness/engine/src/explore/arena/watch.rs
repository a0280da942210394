//! What a thread watches while it naps: what has been looked at since its last nap, and who has changed that.
//!
//! A nap ends because another thread changes something that was looked at. Whatever order the steps come in that could
//! change places, the same naps have to end, so what was looked at is kept as [`Looks`], each with an object of its own
//! that those who change it and the end of the nap touch:
//!
//! - Own looks count until the next nap is over. A process that is started has those of its starter so far, since it may
//!   nap for that, and at its end gives back what it has looked at itself. What it has napped for does not count for its
//!   starter any more.
//! - Where a thread rests for its process, as those of event loops do, the others' looks count, too: twice, since it may
//!   not know yet of what somebody is looking at when its nap is over.
//! - Looks of naps that were ended by a change are kept: other changes could still have come before that.

use smallvec::SmallVec;

use super::fate::pause_of;
use super::thread::Thread;
use super::tree::digest;
use super::{Arena, State};
use crate::explore::access::{Access, Footprint, Object, ObjectKind};
use crate::explore::system::{Looks, Sleeper, ThreadId, Threads, only_waker, wakes_up};

/// What a thread watches.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Own looks until a process was started, and those that processes have given back.
    closed: Vec<Looks>,
    /// Own looks since then.
    open: Option<Looks>,
    /// What others of its process have looked at since it rested for the last time, if it has, and before that.
    others: Option<[Looks; 2]>,
    /// What was watched by naps that a change has ended.
    past: Vec<Looks>,
    /// The objects of looks of whoever has started its process, and those of them that it has napped for.
    inherited: Vec<Object>,
    done: Vec<Object>,
    /// How many looks were begun: they have names of their own.
    begun: u32,
}

impl Watch {
    fn begin(&mut self, thread: ThreadId) -> Looks {
        self.begun += 1;
        Looks::new(Object { kind: ObjectKind::Channel, key: digest(&("looks", thread.0, self.begun)) })
    }

    /// The thread has touched something.
    fn see(&mut self, thread: ThreadId, access: Access) {
        if self.open.is_none() {
            self.open = Some(self.begin(thread));
        }
        let is_its_name = |looks: &Looks| looks.nap == access.object;
        if !self.past.iter().chain(self.others.iter().flatten()).any(is_its_name) {
            self.open.iter_mut().for_each(|open| open.see(access));
        }
    }

    /// From now on it may rest for its process.
    pub(super) fn rest(&mut self, thread: ThreadId) {
        if self.others.is_none() {
            self.others = Some([self.begin(thread), self.begin(thread)]);
        }
    }

    fn own(&self) -> impl Iterator<Item = &Looks> + Clone {
        self.closed.iter().chain(&self.open)
    }

    /// What a nap depends on, which perhaps is a rest.
    fn live(&self, rests: bool) -> impl Iterator<Item = &Looks> + Clone {
        self.own().chain(self.others.iter().flatten().filter(move |_| rests))
    }

    /// Whether something of that was changed.
    fn is_disturbed(&self, rests: bool) -> bool {
        self.live(rests).any(|looks| !looks.wakers.is_empty())
    }

    /// What a process watches that the thread starts.
    pub(super) fn hand_down(&mut self) -> Self {
        self.closed.extend(self.open.take());
        let inherited = self.closed.iter().map(|looks| looks.nap).collect();
        Self { closed: self.closed.clone(), inherited, ..Self::default() }
    }

    /// A thread begins that was started like that.
    pub(super) fn begin_with(&mut self, inherited: Self) {
        let Self { past, begun, .. } = std::mem::take(self);
        *self = Self { past, begun, ..inherited };
    }

    /// Takes back what such a process has watched, which has ended.
    pub(super) fn hand_up(&mut self, child: Self) {
        self.closed.retain(|looks| !child.done.contains(&looks.nap));
        let own = child.closed.into_iter().chain(child.open);
        self.closed.extend(own.filter(|looks| !child.inherited.contains(&looks.nap)));
        self.done.extend(child.done.into_iter().filter(|object| self.inherited.contains(object)));
        self.past.extend(child.past);
    }

    /// That of a thread that is gone, and whose own was handed up.
    pub(super) fn after(handed_up: &Self) -> Self {
        Self { begun: handed_up.begun, ..Self::default() }
    }

    /// What is left of it for another thread in the place of one that is gone, and for others of the process of that
    /// one: its looks.
    pub(super) fn left_behind(&mut self) -> (Self, Vec<Looks>) {
        let looks = self.closed.drain(..).chain(self.open.take()).collect();
        (Self { past: std::mem::take(&mut self.past), begun: self.begun, ..Self::default() }, looks)
    }

    /// Takes over the looks of another thread of its process.
    pub(super) fn take_over(&mut self, looks: Vec<Looks>) {
        self.closed.extend(looks);
    }

    /// A nap is over, which perhaps was a rest, and perhaps ended because of a change.
    fn end(&mut self, thread: ThreadId, rested: bool, was_woken: bool) {
        let mut over: Vec<Looks> = self.closed.drain(..).chain(self.open.take()).collect();
        self.done.extend(over.iter().map(|looks| looks.nap).filter(|nap| self.inherited.contains(nap)));
        if rested && let Some([now, before]) = self.others.take() {
            over.push(before);
            self.others = Some([self.begin(thread), now]);
        }
        if was_woken {
            // A nap before which all that was looked at once more says nothing more.
            self.past.retain(|known| {
                let again = |over: &Looks| known.seen.iter().all(|seen| over.seen.contains(seen));
                !over.iter().any(again)
            });
            self.past.extend(over);
        }
    }
}

impl Arena<'_> {
    /// Whether a change counts for a thread's next nap, or the one under way: it lasts until there is one. Whether it
    /// lies already makes no difference for what other clients change: its steps until then may change places with the
    /// change.
    fn waits_for_changes(&self, index: usize) -> bool {
        let nap = &self.threads[index].nap;
        if nap.count == 0 || nap.left > 0 {
            return false;
        }
        match self.threads[index].naps() {
            true => !nap.is_due && nap.length_ns() <= nap.jitter_ns,
            false => nap.ended > 0 && nap.operation == self.operation_of(index),
        }
    }

    /// Whether it has to be known who changes what a thread has looked at. In a family its looks may outlast a nap that
    /// ends at any time, since another process takes it.
    fn is_watched(&self, index: usize) -> bool {
        self.processes[self.client_index(index)].grew || self.waits_for_changes(index)
    }

    /// Whether a thread is woken by what another one of its client does: they share memory, and take their steps one
    /// after the other, so that it is known whether it lay already. What is looked at is known to several processes of a
    /// family, and not whether they lie.
    fn minds_kin(&self, index: usize, by: usize) -> bool {
        let Thread { process, .. } = self.threads[index];
        let alone = process == self.threads[by].process || !self.drives(self.processes[process].client);
        alone && self.threads[index].naps()
    }

    /// Whether it may nap, or was of a process that goes on and may have looked for another one that does.
    fn may_nap(&self, index: usize) -> bool {
        let Thread { state, process, .. } = &self.threads[index];
        let looks_on = || !self.processes[*process].has_ended && self.drives(self.processes[*process].client);
        match state {
            State::AtGate(_) | State::Running | State::Lending => true,
            State::Gone => looks_on(),
            _ => false,
        }
    }

    /// A thread has lain down: what has changed since it looked wakes it at once.
    pub(super) fn wake_if_changed(&mut self, index: usize) {
        let counts = self.waits_for_changes(index);
        let nap = &mut self.threads[index].nap;
        nap.woken = counts && nap.watch.is_disturbed(nap.rests);
    }

    /// A nap is over. What its end touches, because somebody has woken the thread; and who could have been suspended
    /// instead, so that it would have ended without.
    pub(super) fn end_watch(&mut self, index: usize) -> (Footprint, Option<ThreadId>) {
        let Thread { id, nap, .. } = &mut self.threads[index];
        let (mut footprint, mut without) = (Footprint::new(), None);
        if nap.woken {
            footprint.extend(wakes_up(nap.watch.live(nap.rests)));
            let only = only_waker(nap.watch.live(nap.rests));
            without = only.and_then(|(by, might_be_suspended)| might_be_suspended.then_some(by));
        }
        nap.watch.end(*id, nap.rests, nap.woken);
        (footprint, without)
    }

    /// Everybody who is asleep until something changes, will be, or was.
    pub(super) fn asleep(&self) -> Vec<Sleeper> {
        let mut sleepers = Vec::new();
        for (index, Thread { id, nap, process, .. }) in self.threads.iter().enumerate() {
            let Watch { past, others, .. } = &nap.watch;
            let sleeper = |looks: &Looks, kin: &Threads| Sleeper {
                thread: *id,
                looks: looks.clone(),
                kin: kin.clone(),
            };
            sleepers.extend(past.iter().map(|looks| sleeper(looks, &Threads::new())));
            let own = self.is_watched(index).then(|| nap.watch.own()).into_iter().flatten();
            let mut live = own.chain(others.iter().flatten()).filter(|_| self.may_nap(index)).peekable();
            if live.peek().is_some() {
                let family = self.threads_of(self.processes[*process].client);
                let kin = family.filter(|&by| !self.minds_kin(index, by));
                let kin = kin.map(|by| self.threads[by].id).collect();
                sleepers.extend(live.map(|looks| sleeper(looks, &kin)));
            }
        }
        sleepers
    }

    /// Notes what a thread has touched, and who waits for such a change, or will. Returns what the step touches besides
    /// for those: it makes no difference whether they lie down before or after it.
    pub(super) fn wake_whom_it_concerns(&mut self, index: usize, footprint: &Footprint) -> Footprint {
        let Thread { id: by, process, steps, .. } = self.threads[index];
        let client = self.processes[process].client;
        let might_be_suspended = self.might_be_suspended(client);
        let mut woke = Footprint::new();
        let mut disturb = |looks: &mut Looks| {
            let disturbed = looks.are_disturbed(footprint);
            if disturbed {
                let access = looks.woken(by, footprint).filter(|access| !woke.contains(access));
                woke.extend(access);
                looks.wakers.add(by, steps, footprint, might_be_suspended);
            }
            disturbed
        };
        for other in (0..self.threads.len()).filter(|&other| other != index) {
            let sleeps = self.threads[other].naps();
            let minds =
                (self.client_index(other) != client || self.minds_kin(other, index)) && self.may_nap(other);
            let (watched, counts) = (minds && self.is_watched(other), self.waits_for_changes(other));
            let nap = &mut self.threads[other].nap;
            for looks in &mut nap.watch.past {
                disturb(looks);
            }
            let mut wakes = false;
            for looks in nap.watch.closed.iter_mut().chain(&mut nap.watch.open).filter(|_| watched) {
                wakes |= disturb(looks);
            }
            for looks in nap.watch.others.iter_mut().flatten().filter(|_| minds) {
                wakes |= disturb(looks) && nap.rests;
            }
            nap.woken |= wakes && sleeps && counts;
        }
        self.threads[index].nap.changed.note(footprint);
        self.look(index, footprint);
        woke
    }

    /// Notes what a thread has looked at.
    fn look(&mut self, index: usize, footprint: &Footprint) {
        let Thread { id, process, .. } = self.threads[index];
        let processes = if self.has_fates() { self.processes.len() } else { 0 };
        let is_pause = |access: &Access| (0..processes).any(|process| access.object == pause_of(process));
        let seen: SmallVec<[Access; 8]> =
            footprint.iter().filter(|access| !is_pause(access)).copied().collect();
        for thread in self.threads.iter_mut().filter(|thread| thread.process == process) {
            let watch = &mut thread.nap.watch;
            if thread.id == id {
                seen.iter().for_each(|access| watch.see(id, *access));
            } else if let Some([now, _]) = &mut watch.others {
                seen.iter().for_each(|access| now.see(*access));
            }
        }
    }
}
