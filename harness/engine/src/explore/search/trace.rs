//! An execution so far, and what in it happened before what.
//!
//! Happens-before is the smallest order in which the steps of a thread are in their order and steps
//! that conflict are in the order in which they were taken (Mazurkiewicz); and a step that could be taken
//! only because others could not go on comes after theirs. It is kept in vector clocks: for each step, how many steps of each thread happened before it. Together with them the
//! races of a step are found when it is added, so that a prefix that is kept costs nothing again.

use smallvec::SmallVec;

use super::super::access::{
    Access, Mode, ObjectKind, Potential, cannot_precede, conflict, conflict_only_by_waiting,
};
use super::super::system::{Step, ThreadId};
use super::wakeup::{View, may_wait_for_locks};

/// How many steps of each thread, by place in [`Trace::threads`].
type Clock = SmallVec<[u16; 8]>;

/// Indices of steps that a step races with, most recent first.
pub(super) type Races = SmallVec<[usize; 4]>;

/// One step, and where it is in the order.
#[derive(Clone, Debug)]
pub struct Event {
    /// The step.
    pub step: Step,
    /// Place of its thread.
    place: usize,
    /// How many steps the thread had taken, this one included.
    number: u16,
    clock: Clock,
    mask: u64,
    digest: u64,
    /// The index of the thread's event before this one.
    previous: Option<usize>,
    races: Races,
}

/// An execution so far.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    events: Vec<Event>,
    threads: Vec<ThreadId>,
    /// The index of each thread's last event.
    last: Vec<Option<usize>>,
    /// Earlier steps that conflict with the one that is being added, most recent first.
    conflicting: Vec<usize>,
}

impl Trace {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Forgets all but the first steps.
    pub fn truncate(&mut self, steps: usize) {
        while self.events.len() > steps {
            if let Some(event) = self.events.pop() {
                self.last[event.place] = event.previous;
            }
        }
    }

    /// The steps in the order in which they were taken.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How many steps there are.
    pub const fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Who took the steps.
    pub fn schedule(&self) -> Vec<ThreadId> {
        self.events.iter().map(|event| event.step.thread).collect()
    }

    /// Who took the last step.
    pub fn last_thread(&self) -> Option<ThreadId> {
        self.events.last().map(|event| event.step.thread)
    }

    /// Whether it would be a preemption if this thread went on now, `enabled` being who could: the
    /// thread that ran last could go on and did not give way of itself.
    pub fn preempts(&self, thread: ThreadId, enabled: &[ThreadId]) -> bool {
        self.events.last().is_some_and(|event| {
            event.step.thread != thread && !event.step.yields && enabled.contains(&event.step.thread)
        })
    }

    /// Adds a step.
    pub fn push(&mut self, step: Step) {
        let place = match self.threads.iter().position(|thread| *thread == step.thread) {
            Some(place) => place,
            None => {
                self.threads.push(step.thread);
                self.last.push(None);
                self.threads.len() - 1
            }
        };
        let previous = self.last[place];
        let mut past = match previous {
            Some(previous) => self.events[previous].clock.clone(),
            None => Clock::new(),
        };
        past.resize(self.threads.len(), 0);
        let mask = mask_of(&step.footprint);
        let mut conflicting = std::mem::take(&mut self.conflicting);
        self.conflicts_with(&past, mask, &step.footprint, &mut conflicting);
        let mut clock = past.clone();
        for last in step.follows.iter().filter_map(|thread| self.last_of(*thread)) {
            join(&mut clock, &self.events[last].clock);
        }
        let stillness = clock.clone();
        for &index in &conflicting {
            if !covers(&clock, &self.events[index]) {
                join(&mut clock, &self.events[index].clock);
            }
        }
        clock[place] += 1;
        let waits_by_state =
            !step.potential.is_empty() && may_wait_for_locks(&step.footprint, &step.potential);
        if !step.follows.is_empty() {
            // That others had to stop hides those in front of which they could go on all the same.
            conflicting.retain(|&index| {
                !covers(&stillness, &self.events[index])
                    || self.lets_one_of_them_go_on(index, &step.follows)
                    || takes_what_was_lacking(&self.events[index].step.footprint, &step.potential)
            });
        }
        let races = self.races_among(&conflicting, past, &step.footprint, waits_by_state);
        self.conflicting = conflicting;
        self.last[place] = Some(self.events.len());
        let digest = digest(&step, &clock, &self.threads);
        self.events.push(Event { step, place, number: clock[place], clock, mask, digest, previous, races });
    }

    /// Whether one step happened before another, or is the same.
    pub fn happens_before(&self, earlier: usize, later: usize) -> bool {
        covers(&self.events[later].clock, &self.events[earlier])
    }

    /// The steps that this one could be moved in front of, most recent first: they conflict with it,
    /// nothing lies between them in the order, and it need not wait for them.
    pub(super) fn races_of(&self, later: usize) -> &[usize] {
        &self.events[later].races
    }

    /// The same for a thread that waits for ever to take a step with this footprint.
    pub(super) fn races_of_waiting(&self, thread: ThreadId, footprint: &[Access]) -> Races {
        let mut past = match self.last_of(thread) {
            Some(last) => self.events[last].clock.clone(),
            None => Clock::new(),
        };
        past.resize(self.threads.len(), 0);
        let mut conflicting = Vec::new();
        self.conflicts_with(&past, mask_of(footprint), footprint, &mut conflicting);
        self.races_among(&conflicting, past, footprint, true)
    }

    /// A step as it was seen.
    pub(super) fn view(&self, index: usize) -> View<'_> {
        let Event { step, mask, .. } = &self.events[index];
        View {
            thread: step.thread,
            footprint: &step.footprint,
            certain: true,
            potential: &[],
            mask: *mask,
            follows: &step.follows,
        }
    }

    /// The event of its thread before this one.
    pub(super) fn previous_of(&self, index: usize) -> Option<usize> {
        self.events[index].previous
    }

    /// The last event of a thread.
    pub(super) fn last_of(&self, thread: ThreadId) -> Option<usize> {
        let place = self.threads.iter().position(|known| *known == thread)?;
        self.last[place]
    }

    /// The events that conflict with a step and are not in the past of its thread.
    fn conflicts_with(&self, past: &Clock, mask: u64, footprint: &[Access], into: &mut Vec<usize>) {
        into.clear();
        for (index, other) in self.events.iter().enumerate().rev() {
            if other.mask & mask != 0 && !covers(past, other) && conflict(&other.step.footprint, footprint) {
                into.push(index);
            }
        }
    }

    /// If it depends on the state whether the step has to wait, to have it in front of the last one
    /// that conflicts with it may be impossible, and in front of an earlier one possible.
    fn races_among(
        &self,
        conflicting: &[usize],
        mut past: Clock,
        footprint: &[Access],
        waits_by_state: bool,
    ) -> Races {
        let mut races = Races::new();
        for &index in conflicting {
            let other = &self.events[index].step.footprint;
            let only_by_waiting = conflict_only_by_waiting(other, footprint);
            // In another state it might not have to wait for what this one gives back.
            if cannot_precede(other, footprint) && (!waits_by_state || only_by_waiting) {
                // Unlike a lock, which could have been had earlier, what lets a thread go on hides what came before.
                if lets_go_on(other, footprint) {
                    join(&mut past, &self.events[index].clock);
                }
                continue;
            }
            // What happened while it waited for a lock hides nothing that came before that: neither
            // who took the lock that was given back then, nor who took it and went on.
            if !covers(&past, &self.events[index]) || takes_what_is_waited_for(other, footprint) {
                races.extend(self.before_which(index, footprint));
                if !only_by_waiting && !waits_by_state {
                    join(&mut past, &self.events[index].clock);
                }
            }
        }
        races
    }

    /// Whether one of these threads has gone on because of what a step, or a later one of its thread, gives back:
    /// without that step it would have had to wait.
    fn lets_one_of_them_go_on(&self, index: usize, threads: &[ThreadId]) -> bool {
        let place = self.events[index].place;
        let later = self.events.iter().enumerate().skip(index);
        later.filter(|(_, event)| event.place == place).any(|(at, event)| {
            let footprint = &event.step.footprint;
            let gives_back = |&(number, access): &(usize, &Access)| {
                matches!(access.mode, Mode::Release | Mode::ReleaseShared)
                    && !footprint[..number].iter().any(|before| before.object == access.object)
            };
            footprint.iter().enumerate().filter(gives_back).any(|(_, given)| {
                let takes = |access: &Access| {
                    access.object == given.object
                        && matches!(access.mode, Mode::Acquire | Mode::AcquireShared)
                };
                let taker = |event: &Event| threads.contains(&event.step.thread);
                self.events[at + 1..]
                    .iter()
                    .any(|event| taker(event) && event.step.footprint.iter().any(takes))
            })
        })
    }

    /// The step before which a later one can come in place of this one, with which it conflicts: a kill that would come
    /// to the same as one before the step before comes there.
    fn before_which(&self, index: usize, later: &[Access]) -> Option<usize> {
        // Only the steps of the client itself touch its life, and what ends it.
        let life = |mode: Mode| {
            move |access: &Access| {
                access.object.kind == ObjectKind::Liveness
                    && access.mode == mode
                    && later.contains(&Access { mode: Mode::Write, ..*access })
            }
        };
        let has = |index: usize, mode: Mode| self.events[index].step.footprint.iter().any(life(mode));
        match has(index, Mode::Hold) {
            true => (0..index).rev().find(|&index| has(index, Mode::Read)),
            false => Some(index),
        }
    }

    /// Whether the same steps were taken in the same order.
    pub fn is_like(&self, other: &Self) -> bool {
        let steps = |trace: &Self| -> Vec<(ThreadId, u64)> {
            trace.events.iter().map(|event| (event.step.thread, event.step.signature)).collect()
        };
        steps(self) == steps(other)
    }

    /// A number that two executions share if, but for collisions, they are of one class.
    pub fn class(&self) -> u64 {
        self.sum_of(|_| true)
    }

    /// A number for a step and all that happened before it. The sum of these numbers does not depend on the order of
    /// the steps: it is that of the class.
    pub(super) fn digest(&self, index: usize) -> u64 {
        self.events[index].digest
    }

    /// The sum of the numbers of the steps that happened before this one, and of its own.
    pub(super) fn sum_up_to(&self, index: usize) -> u64 {
        self.sum_of(|event| covers(&self.events[index].clock, event))
    }

    /// The sum of the numbers of the steps that would have happened before the next step of a thread, if that had this
    /// footprint.
    pub(super) fn sum_before(&self, thread: ThreadId, footprint: &[Access]) -> u64 {
        let mut past = self.last_of(thread).map_or_else(Clock::new, |last| self.events[last].clock.clone());
        let mut conflicting = Vec::new();
        self.conflicts_with(&past, mask_of(footprint), footprint, &mut conflicting);
        for index in conflicting {
            join(&mut past, &self.events[index].clock);
        }
        self.sum_of(|event| covers(&past, event))
    }

    fn sum_of(&self, chosen: impl Fn(&Event) -> bool) -> u64 {
        let numbers = self.events.iter().filter(|event| chosen(event)).map(|event| event.digest);
        numbers.fold(0, u64::wrapping_add)
    }
}

/// A number for a step with this clock, in which the threads have these places.
fn digest(step: &Step, clock: &Clock, threads: &[ThreadId]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    // Threads come to their places in the order in which they take their first steps.
    let clock = threads.iter().zip(clock).filter(|(_, count)| **count > 0);
    let mut past: SmallVec<[(ThreadId, u16); 8]> = clock.map(|(thread, count)| (*thread, *count)).collect();
    past.sort_unstable();
    let mut hasher = DefaultHasher::new();
    (step.thread, step.signature, past).hash(&mut hasher);
    hasher.finish()
}

/// A bit for each object that is touched. Objects may share a bit.
pub(super) fn mask_of(footprint: &[Access]) -> u64 {
    footprint.iter().fold(0, |mask, access| {
        let kind = access.object.kind as u64;
        let mixed = (access.object.key ^ kind << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mask | 1 << (mixed >> 58)
    })
}

/// Whether a step takes a lock that another one waits for.
fn takes_what_is_waited_for(earlier: &[Access], later: &[Access]) -> bool {
    let takes = |mode| matches!(mode, Mode::Acquire | Mode::AcquireShared | Mode::Write);
    let waits = |mode| matches!(mode, Mode::Acquire | Mode::AcquireShared);
    earlier.iter().any(|a| {
        let kept_from = |b: &Access| a.object == b.object && waits(b.mode) && a.mode.conflicts(b.mode);
        takes(a.mode) && later.iter().any(kept_from)
    })
}

/// Whether a step takes a lock that a later one gave up to wait for, and would have taken before.
fn takes_what_was_lacking(earlier: &[Access], potential: &[Potential]) -> bool {
    potential.iter().any(|potential| match *potential {
        Potential::Certain(wanted) => {
            wanted.object.kind == ObjectKind::Lock && takes_what_is_waited_for(earlier, &[wanted])
        }
        Potential::Any(..) => false,
    })
}

/// Whether a step could be taken only because of another one, in whatever state.
fn lets_go_on(earlier: &[Access], later: &[Access]) -> bool {
    let hard = |access: &Access| matches!(access.object.kind, ObjectKind::Birth | ObjectKind::Channel);
    earlier.iter().filter(|access| hard(access)).any(|access| cannot_precede(&[*access], later))
}

fn covers(clock: &Clock, event: &Event) -> bool {
    clock.get(event.place).is_some_and(|count| *count >= event.number)
}

fn join(clock: &mut Clock, other: &Clock) {
    if clock.len() < other.len() {
        clock.resize(other.len(), 0);
    }
    for (mine, theirs) in clock.iter_mut().zip(other) {
        *mine = (*mine).max(*theirs);
    }
}
