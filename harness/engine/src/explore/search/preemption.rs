//! Iterative context bounding (Musuvathi & Qadeer, PLDI 2007): all schedules with no preemption,
//! then all with one, and so on.
//!
//! A switch is a preemption when the thread that ran last could have gone on and did not give way
//! of itself. Sleep sets and the like would lose executions here, since the one that stands for others may
//! take more preemptions than they do (Coons, Musuvathi & McKinley, OOPSLA 2013). But two prefixes of one class
//! lead to the same state, so what follows the second one is not run again, unless it could go further with
//! the preemptions that it has left (happens-before caching; Musuvathi & Qadeer, MSR-TR-2007-12). Mostly that is
//! known beforehand: a step that was seen after the same past is going to be the same (`Foresight`).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use smallvec::SmallVec;

use super::super::access::{Footprint, ObjectKind};
use super::super::system::{Step, System, ThreadId};
use super::trace::Trace;
use super::{Continue, Divergence, End, Limits, Searched};

/// States that are remembered at most: 100 MB. Of more, what follows is run again.
const SEEN_MAX: usize = 2_000_000;

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
    /// A digest of who can go on, in whatever order they are listed.
    enabled: u64,
    signature: Option<u64>,
}

impl Point {
    fn cost(&self, choice: usize) -> u32 {
        self.spent + u32::from(self.costs && choice > 0)
    }

    /// Who goes on for nothing, if others do not.
    fn favourite(&self) -> Option<ThreadId> {
        self.choices.first().copied().filter(|_| self.costs)
    }

    /// Moves on to the first choice, from the one that is taken on, that is within the bound and may lead to something
    /// new. The trace leads to this point. Returns whether there is one.
    fn settle(&mut self, bound: u32, trace: &Trace, seen: &Seen, foresight: &Foresight) -> bool {
        while self.taken < self.choices.len() && self.cost(self.taken) <= bound {
            let thread = self.choices[self.taken];
            let class = foresight.digest_of(trace, thread).map(|digest| self.class.wrapping_add(digest));
            // Whether the thread can go on then is not known, but it was the same then.
            let is_known = |class| seen.covers(class, Some(thread), self.cost(self.taken));
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
    /// A digest of who could go on.
    enabled: u64,
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

    /// Whether the state is another one than it was after another prefix of the class.
    fn contradicts(&self, point: &Point) -> bool {
        let visits = self.0.get(&point.class);
        visits.is_some_and(|visits| visits.iter().any(|visit| visit.enabled != point.enabled))
    }

    fn insert(&mut self, point: &Point) {
        if self.0.len() < SEEN_MAX {
            let Point { spent, enabled, .. } = *point;
            let visit = Visit { favourite: point.favourite(), spent, enabled };
            self.0.entry(point.class).or_default().push(visit);
        }
    }
}

/// What steps came to, by thread and its step before: with the same past a step is the same.
#[derive(Default)]
struct Foresight(HashMap<(ThreadId, u64), Vec<Foreseen>>);

struct Foreseen {
    footprint: Footprint,
    /// The sum of the digests of what happened before it.
    past: u64,
    digest: u64,
}

impl Foresight {
    /// Takes note of the last step of a trace. What a step does that gives way, or that is taken because others
    /// cannot go on, depends on more than what it touches; so does the end of a pause.
    fn learn(&mut self, trace: &Trace) {
        let Some(last) = trace.len().checked_sub(1) else { return };
        let Step { thread, footprint, yields, follows, .. } = &trace.events()[last].step;
        let kills = || footprint.iter().any(|access| access.object.kind == ObjectKind::Liveness);
        if *yields || !follows.is_empty() || (thread.is_reluctant() && !kills()) {
            return;
        }
        let before = trace.previous_of(last).map_or(0, |previous| trace.digest(previous));
        let is_full = self.0.len() >= SEEN_MAX / 4;
        let known = self.0.entry((*thread, before)).or_default();
        let digest = trace.digest(last);
        let past = trace.sum_up_to(last).wrapping_sub(digest);
        if known.iter().all(|known| known.past != past) && !is_full {
            known.push(Foreseen { footprint: footprint.clone(), past, digest });
        }
    }

    /// The digest of the next step of a thread, if it is known. Once somebody has given way, a change may wake him or
    /// not: who is asleep is no part of the past of whoever changes something.
    fn digest_of(&self, trace: &Trace, thread: ThreadId) -> Option<u64> {
        if trace.events().iter().any(|event| event.step.yields) {
            return None;
        }
        let before = trace.last_of(thread).map_or(0, |last| trace.digest(last));
        let known = self.0.get(&(thread, before))?;
        let fits = |known: &&Foreseen| trace.sum_before(thread, &known.footprint) == known.past;
        known.iter().find(fits).map(|known| known.digest)
    }
}

/// Runs an execution of each class that has one with exactly `bound` preemptions and none with fewer, and shows
/// it to the observer; it may show some of those with fewer again, which are the business of smaller bounds.
///
/// # Errors
/// What the system or the observer says.
pub fn search<S: System>(
    system: &mut S,
    bound: u32,
    limits: Limits,
    mut observe: impl FnMut(&mut S, &Trace) -> Result<Continue, S::Error>,
) -> Result<Searched, S::Error> {
    let mut points: Vec<Point> = Vec::new();
    let mut trace = Trace::default();
    let mut searched = Searched { executions: 0, redundant: 0, infeasible: 0, end: End::Exhausted };
    let mut enabled = Vec::new();
    let (mut seen, mut foresight) = (Seen::default(), Foresight::default());
    loop {
        system.begin()?;
        trace.clear();
        // Whether nobody has come to where it is.
        let is_new = loop {
            system.enabled(&mut enabled)?;
            let depth = trace.len();
            if depth == points.len() {
                let mut point = point(&enabled, &trace, points.last());
                if seen.contradicts(&point) {
                    let thread = trace.last_thread().unwrap_or(ThreadId(0));
                    searched.end = End::Diverged(Divergence { after: depth, thread, disabled: true });
                    return Ok(searched);
                }
                let is_new = !seen.covers(point.class, point.favourite(), point.spent);
                if is_new {
                    seen.insert(&point);
                }
                if enabled.is_empty() || !is_new {
                    break is_new;
                }
                if !point.settle(bound, &trace, &seen, &foresight) {
                    break false;
                }
                points.push(point);
            }
            let point = &mut points[depth];
            let thread = point.choices[point.taken];
            if !enabled.contains(&thread) {
                searched.end = End::Diverged(Divergence { after: depth, thread, disabled: true });
                return Ok(searched);
            }
            let step = system.step(thread)?;
            if point.signature.is_some_and(|signature| signature != step.signature) {
                searched.end = End::Diverged(Divergence { after: depth, thread, disabled: false });
                return Ok(searched);
            }
            trace.push(step);
            if point.signature.replace(trace.events()[depth].step.signature).is_none() {
                foresight.learn(&trace);
            }
        };
        let spent = points.last().map_or(0, |point| point.cost(point.taken));
        if is_new && spent == bound {
            searched.executions += 1;
            if observe(system, &trace)? == Continue::Stop {
                searched.end = End::Stopped;
                return Ok(searched);
            }
        } else {
            searched.redundant += 1;
        }
        while let Some(mut point) = points.pop() {
            trace.truncate(points.len());
            point.signature = None;
            point.taken += 1;
            if point.settle(bound, &trace, &seen, &foresight) {
                points.push(point);
                break;
            }
        }
        if points.is_empty() {
            return Ok(searched);
        }
        if let Some(end) = limits.reached(searched.executions + searched.redundant) {
            searched.end = end;
            return Ok(searched);
        }
    }
}

fn point(enabled: &[ThreadId], trace: &Trace, before: Option<&Point>) -> Point {
    let spent = before.map_or(0, |before| before.cost(before.taken));
    let last = trace.events().last();
    let class = match (before, trace.len().checked_sub(1)) {
        (Some(before), Some(last)) => before.class.wrapping_add(trace.digest(last)),
        _ => 0,
    };
    // In ascending order, as they come.
    let enabled_digest = {
        let mut hasher = DefaultHasher::new();
        enabled.hash(&mut hasher);
        hasher.finish()
    };
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
    Point {
        choices,
        taken: 0,
        costs: goes_on.is_some() && !yielded,
        spent,
        class,
        enabled: enabled_digest,
        signature: None,
    }
}
