//! An execution so far, and what in it happened before what.
//!
//! Happens-before is the smallest order in which the steps of a thread are in their order and steps
//! that conflict are in the order in which they were taken (Mazurkiewicz). It is kept in vector
//! clocks: for each step, how many steps of each thread happened before it.

use smallvec::SmallVec;

use super::super::access::{Footprint, cannot_precede, conflict, conflict_only_by_waiting};
use super::super::system::{Step, ThreadId};

/// How many steps of each thread, by place in [`Trace::threads`].
type Clock = SmallVec<[u16; 8]>;

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
}

/// An execution so far.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    events: Vec<Event>,
    threads: Vec<ThreadId>,
    /// The index of each thread's last event.
    last: Vec<Option<usize>>,
}

impl Trace {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.events.clear();
        self.last.fill(None);
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
        let mut clock = match self.last[place] {
            Some(last) => self.events[last].clock.clone(),
            None => Clock::new(),
        };
        clock.resize(self.threads.len(), 0);
        for event in self.events.iter().rev() {
            if !covers(&clock, event) && conflict(&event.step.footprint, &step.footprint) {
                join(&mut clock, &event.clock);
            }
        }
        clock[place] += 1;
        self.last[place] = Some(self.events.len());
        self.events.push(Event { step, place, number: clock[place], clock });
    }

    /// Whether one step happened before another, or is the same.
    pub fn happens_before(&self, earlier: usize, later: usize) -> bool {
        covers(&self.events[later].clock, &self.events[earlier])
    }

    /// The steps that a step at `later` could be moved in front of, most recent first: they
    /// conflict with it, nothing lies between them in the order, and it need not wait for them.
    pub fn races_of(&self, later: usize, races: &mut Vec<usize>) {
        let event = &self.events[later];
        let before = self.events[..later].iter().rposition(|other| other.place == event.place);
        let past = before.map_or_else(Clock::new, |before| self.events[before].clock.clone());
        self.races_after(later, event.place, past, &event.step.footprint, races);
    }

    /// The same for a thread that waits for ever to take a step with this footprint.
    pub fn races_of_waiting(&self, thread: ThreadId, footprint: &Footprint, races: &mut Vec<usize>) {
        let place = self.threads.iter().position(|known| *known == thread);
        let last = place.and_then(|place| self.last[place]);
        let past = last.map_or_else(Clock::new, |last| self.events[last].clock.clone());
        self.races_after(self.events.len(), place.unwrap_or(usize::MAX), past, footprint, races);
    }

    fn races_after(
        &self,
        end: usize,
        place: usize,
        mut past: Clock,
        footprint: &Footprint,
        races: &mut Vec<usize>,
    ) {
        races.clear();
        past.resize(self.threads.len(), 0);
        for index in (0..end).rev() {
            let other = &self.events[index];
            if other.place == place || covers(&past, other) || !conflict(&other.step.footprint, footprint) {
                continue;
            }
            // What had to happen first hides nothing that came before it: the lock that it gave back
            // was taken by somebody.
            if !cannot_precede(&other.step.footprint, footprint) {
                races.push(index);
                if !conflict_only_by_waiting(&other.step.footprint, footprint) {
                    join(&mut past, &other.clock);
                }
            }
        }
    }

    /// A number that two executions share if, but for collisions, they are of one class.
    pub fn class(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        // Each step by itself, with its past; their sum does not depend on their order.
        let digest = |event: &Event| {
            let mut hasher = DefaultHasher::new();
            event.step.thread.hash(&mut hasher);
            event.step.signature.hash(&mut hasher);
            let mut past: SmallVec<[(ThreadId, u16); 8]> = self
                .threads
                .iter()
                .copied()
                .zip(event.clock.iter().copied())
                .filter(|(_, n)| *n > 0)
                .collect();
            past.sort_unstable();
            past.hash(&mut hasher);
            hasher.finish()
        };
        self.events.iter().fold(0, |sum, event| sum.wrapping_add(digest(event)))
    }
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
