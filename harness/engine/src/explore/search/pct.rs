//! Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi & Nagarakatte, *A randomized
//! scheduler with probabilistic guarantees of finding bugs*, ASPLOS 2010): samples of schedules,
//! with a bound on what all of them miss.
//!
//! Threads get random priorities, and the one with the highest that can go goes. At `d - 1` random steps
//! the thread that has just gone falls below all others. A bug of depth `d`, one that takes `d`
//! constraints on the order of two steps each, is found by one such schedule with a probability of
//! at least `1 / (n k^(d-1))`, where `n` threads take `k` steps in all.
//!
//! `n` and `k` are measured. When an execution has more of them than were known, counting begins
//! anew: what was sampled before says less than the formula.
//!
//! Not covered: bugs that only show when a thread which waits for others goes in vain many times,
//! since priorities are strict.

use std::collections::BTreeMap;

use tearproof_core::plan::mix;

use super::super::system::{System, ThreadId};
use super::trace::Trace;
use super::{Continue, End, Limits, Searched};

/// How large executions are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Threads that take steps.
    pub threads: u32,
    /// Steps of all of them, at most.
    pub steps: u32,
}

impl Shape {
    /// That of an execution.
    pub fn of(trace: &Trace) -> Self {
        let mut threads: Vec<ThreadId> = trace.events().iter().map(|event| event.step.thread).collect();
        threads.sort_unstable();
        threads.dedup();
        Self { threads: threads.len() as u32, steps: trace.len() as u32 }
    }

    /// One that both fit in.
    #[must_use]
    pub fn or_larger(self, other: Self) -> Self {
        Self { threads: self.threads.max(other.threads), steps: self.steps.max(other.steps) }
    }

    /// The probability, at most, that so many schedules with `depth - 1` change points all miss a bug of
    /// this depth: `(1 - 1 / (n k^(d-1)))^N`.
    pub fn missed_at_most(self, depth: u32, schedules: u64) -> f64 {
        let one =
            1.0 / (f64::from(self.threads.max(1)) * f64::from(self.steps.max(1)).powi(depth as i32 - 1));
        if one >= 1.0 {
            return if schedules == 0 { 1.0 } else { 0.0 };
        }
        (schedules as f64 * (-one).ln_1p()).exp()
    }
}

/// What sampling brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// Executions, and why there were no more.
    pub searched: Searched,
    /// How large they were.
    pub shape: Shape,
    /// Schedules that count for the bound, by depth.
    pub schedules: BTreeMap<u32, u64>,
}

/// Runs schedules with random priorities until a limit is reached, and shows each execution to the
/// observer. They are for these depths, in turn. Where the shape of executions is known from
/// elsewhere, no sample is lost on measuring it. The same seed brings the same schedules.
///
/// # Errors
/// What the system or the observer says.
pub fn search<S: System>(
    system: &mut S,
    seed: u64,
    depths: &[u32],
    shape: Shape,
    limits: Limits,
    mut observe: impl FnMut(&mut S, &Trace) -> Result<Continue, S::Error>,
) -> Result<Sampled, S::Error> {
    let searched = Searched { executions: 0, redundant: 0, infeasible: 0, end: End::Exhausted };
    let mut sampled = Sampled { searched, shape, schedules: BTreeMap::new() };
    let mut trace = Trace::default();
    loop {
        let number = sampled.searched.executions;
        if let Some(end) = limits.reached(number) {
            sampled.searched.end = end;
            return Ok(sampled);
        }
        let depth = depths[(number % depths.len() as u64) as usize];
        let mut priorities = Priorities::random(mix(seed ^ mix(number)), depth, sampled.shape);
        run(system, &mut priorities, &mut trace)?;
        sampled.searched.executions += 1;
        let seen = sampled.shape.or_larger(Shape::of(&trace));
        if seen != sampled.shape {
            // With some room, or many a sample would be lost to one step more.
            sampled.shape = Shape { steps: seen.steps + seen.steps / 8, ..seen };
            sampled.schedules.clear();
        } else {
            *sampled.schedules.entry(depth).or_default() += 1;
        }
        if observe(system, &trace)? == Continue::Stop {
            sampled.searched.end = End::Stopped;
            return Ok(sampled);
        }
    }
}

/// Runs one schedule.
pub(super) fn run<S: System>(
    system: &mut S,
    priorities: &mut Priorities,
    trace: &mut Trace,
) -> Result<(), S::Error> {
    system.begin()?;
    trace.clear();
    let mut enabled = Vec::new();
    loop {
        system.enabled(&mut enabled)?;
        let Some(&thread) = enabled.iter().max_by_key(|thread| priorities.of(**thread)) else {
            return Ok(());
        };
        trace.push(system.step(thread)?);
        priorities.stepped(trace.len() as u32, thread);
    }
}

/// Who goes first in one schedule.
pub(super) struct Priorities {
    /// Of each thread, for as long as it has not fallen.
    initial: Box<dyn Fn(ThreadId) -> u64>,
    /// After which steps the thread that took it falls: the later in the list, the less deep.
    change_points: Vec<u32>,
    fallen: Vec<(ThreadId, usize)>,
}

impl Priorities {
    /// These, and change points after these steps. Where priorities are equal, a thread with a higher
    /// number goes first.
    pub fn new(initial: impl Fn(ThreadId) -> u64 + 'static, change_points: Vec<u32>) -> Self {
        Self { initial: Box::new(initial), change_points, fallen: Vec::new() }
    }

    fn random(seed: u64, depth: u32, shape: Shape) -> Self {
        let word = move |number: u64| mix(seed ^ mix(number));
        // Lemire's way to a number below another one; what it is off by is beyond counting.
        let below = |word: u64, end: u32| ((u128::from(word) * u128::from(end)) >> 64) as u32;
        let points = (1..depth).filter(|_| shape.steps > 0);
        let points = points.map(|point| 1 + below(word(point.into()), shape.steps)).collect();
        // Threads that are born later find their place as well.
        Self::new(move |thread| word(u64::from(thread.0) << 32), points)
    }

    /// Greater goes first: who fell is below all who did not.
    fn of(&self, thread: ThreadId) -> (bool, u64) {
        match self.fallen.iter().rev().find(|(known, _)| *known == thread) {
            Some((_, place)) => (false, *place as u64),
            None => (true, (self.initial)(thread)),
        }
    }

    fn stepped(&mut self, step: u32, thread: ThreadId) {
        for (place, _) in self.change_points.iter().enumerate().filter(|(_, point)| **point == step) {
            self.fallen.push((thread, place));
        }
    }
}
