//! Iterative context bounding (Musuvathi & Qadeer, PLDI 2007): all schedules with no preemption,
//! then all with one, and so on.
//!
//! A switch is a preemption when the thread that ran last could have gone on and did not give way
//! of itself. Sleep sets and the like would lose executions here, since the one that stands for others may
//! take more preemptions than they do (Coons, Musuvathi & McKinley, OOPSLA 2013). But two prefixes of one class
//! lead to the same state, so what follows the second one is not run again, unless it could go further with
//! the preemptions that it has left (happens-before caching; Musuvathi & Qadeer, MSR-TR-2007-12). And where the search
//! knows what is going to be (`territory`), it goes alone: the system is brought to where it stands only for what
//! nobody has seen, and for executions that are shown.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::system::{System, ThreadId};
use super::territory::{Beside, Known, Territory, View};
use super::trace::Trace;
use super::{Continue, Divergence, End, Limits, Searched};

/// States that are remembered at most: 170 MB. Of more, what follows is run again.
const SEEN_MAX: usize = 2_000_000;
/// Of a search that is left for a while more states are not kept: 10 MB. The bound is begun anew then.
const SEEN_KEPT_MAX: usize = 200_000;

/// One point: who could go, the one that costs nothing first; which one is taken; what was spent
/// before.
struct Point {
    choices: Vec<ThreadId>,
    taken: usize,
    /// Whether to take any but the first costs a preemption.
    costs: bool,
    spent: u32,
    /// That of the prefix.
    class: u64,
    beside: Beside,
}

impl Point {
    fn cost(&self, choice: usize) -> u32 {
        self.spent + u32::from(self.costs && choice > 0)
    }

    /// Who goes on for nothing, if others do not.
    fn favourite(&self) -> Option<ThreadId> {
        self.choices.first().copied().filter(|_| self.costs)
    }

    fn choice(&self) -> ThreadId {
        self.choices[self.taken]
    }

    /// The step of the choice, if it is known. The trace leads to this point.
    fn step<'t>(&self, trace: &Trace, territory: &'t Territory) -> Option<&'t Arc<Known>> {
        territory.step(self.class, trace, &self.beside, self.choice())
    }

    /// Moves on to the first choice, from the one that is taken on, that is within the bound and may lead to something
    /// new. The trace leads to this point. Returns whether there is one.
    fn settle(&mut self, bound: u32, trace: &Trace, seen: &Seen, territory: &Territory) -> bool {
        while self.taken < self.choices.len() && self.cost(self.taken) <= bound {
            let class = self.step(trace, territory).map(|known| self.class.wrapping_add(known.digest));
            // Whether the thread can go on then is not known, but it was the same then.
            let is_known = |class| seen.covers(class, Some(self.choice()), self.cost(self.taken));
            if !class.is_some_and(is_known) {
                return true;
            }
            self.taken += 1;
        }
        false
    }
}

/// The states from which everything was run, by the class of the prefixes that lead there.
#[derive(Default)]
struct Seen(HashMap<u64, SmallVec<[Visit; 2]>>);

/// How a state was come to.
#[derive(Clone, Copy)]
struct Visit {
    /// Whom it cost nothing to have go on, if others cost something.
    favourite: Option<ThreadId>,
    /// Preemptions until then.
    spent: u32,
}

impl Seen {
    /// Whether all that can follow was run, or is going to be, from the same state, with as many preemptions left for
    /// each choice.
    fn covers(&self, class: u64, favourite: Option<ThreadId>, spent: u32) -> bool {
        // Whoever else goes on costs one preemption more at most.
        let more = |visit: &Visit| u32::from(visit.favourite.is_some() && visit.favourite != favourite);
        let covers = |visit: &Visit| visit.spent + more(visit) <= spent;
        self.0.get(&class).is_some_and(|visits| visits.iter().any(covers))
    }

    fn insert(&mut self, point: &Point) {
        if self.0.len() < SEEN_MAX {
            let visit = Visit { favourite: point.favourite(), spent: point.spent };
            self.0.entry(point.class).or_default().push(visit);
        }
    }
}

/// Where a search stands, and whether the system stands there as well.
#[derive(Default)]
struct Walk {
    trace: Trace,
    is_there: bool,
    /// Who can go on, where the system stands.
    enabled: Vec<ThreadId>,
}

/// Why a walk ends before its time.
enum Stray<E> {
    Diverged(Divergence),
    Failed(E),
}

impl<E> From<E> for Stray<E> {
    fn from(error: E) -> Self {
        Self::Failed(error)
    }
}

impl Walk {
    /// Brings the system to where the search stands.
    fn go_there<S: System>(&mut self, system: &mut S) -> Result<(), Stray<S::Error>> {
        if self.is_there {
            return Ok(());
        }
        system.begin()?;
        for (after, event) in self.trace.events().iter().enumerate() {
            let thread = event.step.thread;
            system.enabled(&mut self.enabled)?;
            if !self.enabled.contains(&thread) {
                return Err(Stray::Diverged(Divergence { after, thread, disabled: true }));
            }
            if system.step(thread)?.signature != event.step.signature {
                return Err(Stray::Diverged(Divergence { after, thread, disabled: false }));
            }
        }
        system.enabled(&mut self.enabled)?;
        self.is_there = true;
        Ok(())
    }

    /// What it is like here.
    fn look<S: System>(
        &mut self,
        system: &mut S,
        class: u64,
        before: &Beside,
        territory: &mut Territory,
    ) -> Result<View, Stray<S::Error>> {
        let known = territory.view(class).cloned();
        match known {
            Some(view) if !self.is_there => Ok(view),
            // It is another one than it was after another prefix of the class.
            Some(view) if view.enabled[..] != self.enabled[..] => {
                let thread = self.trace.last_thread().unwrap_or(ThreadId(0));
                Err(Stray::Diverged(Divergence { after: self.trace.len(), thread, disabled: true }))
            }
            Some(view) => Ok(view),
            None => {
                self.go_there(system)?;
                Ok(territory.see(class, &self.enabled, system.sleepers(), system.suspended(), before))
            }
        }
    }

    /// Takes the step that a point has chosen.
    fn take<S: System>(
        &mut self,
        system: &mut S,
        point: &Point,
        territory: &mut Territory,
    ) -> Result<(), Stray<S::Error>> {
        let thread = point.choice();
        let known = point.step(&self.trace, territory).cloned();
        if !self.is_there
            && let Some(known) = known
        {
            self.trace.push(known.step.clone());
            return Ok(());
        }
        self.go_there(system)?;
        let after = self.trace.len();
        let step = system.step(thread)?;
        if known.is_some_and(|known| known.step.signature != step.signature) {
            return Err(Stray::Diverged(Divergence { after, thread, disabled: false }));
        }
        self.trace.push(step);
        territory.learn(point.class, &self.trace, &point.beside);
        system.enabled(&mut self.enabled)?;
        Ok(())
    }
}

/// A search with one bound after the other, which can be left when a limit is reached and taken up again: also with another
/// system, if that does the same.
#[derive(Default)]
pub struct Search {
    /// The first of the bounds below `bound` that were exhausted, each of them.
    first: u32,
    /// That which it was left with, or is going to try next.
    bound: u32,
    points: Vec<Point>,
    seen: Seen,
    walk: Walk,
    /// Executions with this bound, and those that were broken off.
    executions: u64,
    redundant: u64,
    territory: Territory,
}

impl Search {
    /// Runs an execution of each class that has one with exactly `bound` preemptions and none with fewer, and shows
    /// it to the observer; it may show some of those with fewer again, which are the business of smaller bounds. What
    /// was shown before the search was left is not shown again, unless it was left with too much. Limits are on everything with
    /// this bound.
    ///
    /// # Errors
    /// What the system or the observer says. What was seen is forgotten then.
    pub fn go_on<S: System>(
        &mut self,
        system: &mut S,
        bound: u32,
        limits: Limits,
        mut observe: impl FnMut(&mut S, &Trace) -> Result<Continue, S::Error>,
    ) -> Result<Searched, S::Error> {
        let searched = |executions, redundant, end| Searched { executions, redundant, infeasible: 0, end };
        if (self.first..self.bound).contains(&bound) {
            return Ok(searched(0, 0, End::Exhausted));
        }
        if bound != self.bound {
            self.first = bound;
            self.begin(bound);
        }
        // Another system may have been used before.
        self.walk.is_there = false;
        let end = match self.go(system, limits, &mut observe) {
            Ok(end) => end,
            Err(stray) => {
                let (executions, redundant) = (self.executions, self.redundant);
                *self = Self::default();
                return match stray {
                    Stray::Diverged(divergence) => {
                        Ok(searched(executions, redundant, End::Diverged(divergence)))
                    }
                    Stray::Failed(error) => Err(error),
                };
            }
        };
        let searched = searched(self.executions, self.redundant, end);
        if searched.end == End::Exhausted {
            self.begin(bound + 1);
        } else {
            // Nobody knows for how long it is left, and how many others are. Without what is known of the system it takes
            // longer, and shows the same.
            self.territory = Territory::default();
            if self.seen.0.len() > SEEN_KEPT_MAX {
                self.begin(bound);
            }
        }
        Ok(searched)
    }

    /// Begins with a bound. What is known of the system is kept.
    fn begin(&mut self, bound: u32) {
        let territory = std::mem::take(&mut self.territory);
        *self = Self { first: self.first, bound, territory, ..Self::default() };
    }

    fn go<S: System>(
        &mut self,
        system: &mut S,
        limits: Limits,
        observe: &mut impl FnMut(&mut S, &Trace) -> Result<Continue, S::Error>,
    ) -> Result<End, Stray<S::Error>> {
        let Self { bound, points, seen, walk, executions, redundant, territory, .. } = self;
        loop {
            // Whether nobody has come to where it is.
            let is_new = loop {
                if walk.trace.len() == points.len() {
                    let class = class_of(points, &walk.trace);
                    let nobody = Beside::default();
                    let before = points.last().map_or(&nobody, |point| &point.beside);
                    let view = walk.look(system, class, before, territory)?;
                    let is_end = view.enabled.is_empty();
                    let mut point = point(class, view, &walk.trace, points.last());
                    let is_new = !seen.covers(point.class, point.favourite(), point.spent);
                    if is_new {
                        seen.insert(&point);
                    }
                    if is_end || !is_new {
                        break is_new;
                    }
                    if !point.settle(*bound, &walk.trace, seen, territory) {
                        break false;
                    }
                    points.push(point);
                }
                walk.take(system, &points[walk.trace.len()], territory)?;
            };
            let spent = points.last().map_or(0, |point| point.cost(point.taken));
            if is_new && spent == *bound {
                walk.go_there(system)?;
                *executions += 1;
                if observe(system, &walk.trace)? == Continue::Stop {
                    return Ok(End::Stopped);
                }
            } else if walk.is_there {
                *redundant += 1;
            }
            walk.is_there = false;
            while let Some(mut point) = points.pop() {
                walk.trace.truncate(points.len());
                point.taken += 1;
                if point.settle(*bound, &walk.trace, seen, territory) {
                    points.push(point);
                    break;
                }
            }
            if points.is_empty() {
                return Ok(End::Exhausted);
            }
            if let Some(end) = limits.reached(*executions + *redundant) {
                return Ok(end);
            }
        }
    }
}

/// That of the prefix which leads to a point after these.
fn class_of(points: &[Point], trace: &Trace) -> u64 {
    match (points.last(), trace.len().checked_sub(1)) {
        (Some(before), Some(last)) => before.class.wrapping_add(trace.digest(last)),
        _ => 0,
    }
}

fn point(class: u64, view: View, trace: &Trace, before: Option<&Point>) -> Point {
    let View { enabled, beside } = view;
    let spent = before.map_or(0, |before| before.cost(before.taken));
    let last = trace.events().last();
    let goes_on = last.map(|event| event.step.thread).filter(|thread| enabled.contains(thread));
    let yielded = last.is_some_and(|event| event.step.yields);
    let mut choices = enabled.to_vec();
    if let Some(thread) = goes_on {
        choices.retain(|other| *other != thread);
        if yielded {
            choices.push(thread);
        } else {
            choices.insert(0, thread);
        }
    }
    Point { choices, taken: 0, costs: goes_on.is_some() && !yielded, spent, class, beside }
}
