//! Optimal dynamic partial-order reduction (Abdulla, Aronis, Jonsson & Sagonas, POPL 2014; JACM
//! 2017): one execution of each class of executions that differ only in the order of independent
//! steps.
//!
//! Races are looked for in complete executions. One that could be reversed is: the steps that it
//! takes are put into the wake-up tree of the point before its first step, unless a thread sleeps
//! there that would begin the same executions.
//!
//! Three things differ from the textbook. What a step touches is seen when it is taken, and may be
//! something else once a race is reversed: there the superset of all states is used, so the result
//! is sound and not always optimal. A thread that waits for a lock is not enabled: the race is
//! between those who take it, and the release between them hides nothing. And a sequence that
//! cannot be run to its end, because a thread turns out to wait, is dropped; what it waits for may
//! depend on the order so far, so its races with those before it are reversed instead. How a race is
//! reversed is the matter of `reversal`.

use super::super::system::{System, ThreadId, Threads, Waiting};
use super::reversal::reverse;
use super::trace::{Trace, mask_of};
use super::wakeup::{Branch, Planned, Sequence, View, insert, is_weak_initial};
use super::{Continue, Divergence, End, Limits, Searched, default_choice};

/// A point of the search: what is known of the state after a prefix.
#[derive(Default)]
struct Point {
    /// Threads that need not be run from here: what they would begin has been seen.
    sleep: Vec<Planned>,
    /// What is still to be run. The first branch is the one under way.
    tree: Vec<Branch>,
    /// Something was run from here.
    visited: bool,
    /// Branches that everything was run of.
    done: u32,
    /// Who could go on, in the order of their numbers.
    enabled: Threads,
    /// Who could not.
    waiting: Vec<Waiting>,
}

impl Point {
    /// Adds a sequence to what is to be run, unless somebody sleeps here that begins the same
    /// executions.
    fn plan(&mut self, sequence: &mut Sequence<'_>) {
        if !self.sleep.iter().any(|asleep| is_weak_initial(&asleep.view(), sequence)) {
            insert(&mut self.tree, sequence);
        }
    }

    /// Gives up the first branch, since its thread has to wait.
    fn drop_first(&mut self) {
        let dropped = self.tree.remove(0);
        // From a point that was not visited yet everything is going to be run anyway.
        if self.visited {
            for sequence in &dropped.instead {
                self.plan(&mut sequence.views().collect());
            }
        }
    }
}

/// A search, which can be left when a limit is reached and taken up again: also with another system, if that
/// does the same.
#[derive(Default)]
pub struct Search {
    points: Vec<Point>,
    trace: Trace,
    executions: u64,
    redundant: u64,
    infeasible: u64,
    /// What part was done after how many executions: at the last three powers of two, in their order.
    milestones: [(u64, f64); 3],
}

impl Search {
    /// Runs one execution of each class that was not run yet, and shows each to the observer. Limits are on
    /// everything since the search began.
    ///
    /// # Errors
    /// What the system or the observer says.
    pub fn go_on<S: System>(
        &mut self,
        system: &mut S,
        limits: Limits,
        mut observe: impl FnMut(&mut S, &Trace) -> Result<Continue, S::Error>,
    ) -> Result<Searched, S::Error> {
        let mut enabled = Vec::new();
        loop {
            match run(system, &mut self.points, &mut self.trace, &mut enabled, &mut self.infeasible)? {
                Ran::Complete => {
                    self.executions += 1;
                    let waiting = system.waiting();
                    if observe(system, &self.trace)? == Continue::Stop {
                        return Ok(self.ended(End::Stopped));
                    }
                    reverse_races(&mut self.points, &self.trace, &waiting);
                }
                Ran::Asleep => {
                    self.redundant += 1;
                    reverse_races(&mut self.points, &self.trace, &[]);
                }
                Ran::Nothing => self.redundant += 1,
                Ran::Diverged(divergence) => return Ok(self.ended(End::Diverged(divergence))),
            }
            if !backtrack(&mut self.points, &mut self.trace, &mut self.infeasible) {
                return Ok(self.ended(End::Exhausted));
            }
            if self.executions.is_power_of_two() && self.executions > self.milestones[2].0 {
                let [_, second, third] = self.milestones;
                self.milestones = [second, third, (self.executions, self.progress())];
            }
            if let Some(end) = limits.reached(self.executions + self.redundant) {
                return Ok(self.ended(end));
            }
        }
    }

    /// How many executions there are going to be, as far as can be told: if it goes on as it did in the second half of
    /// those that were run, or in the second three quarters, whichever are fewer. What part is done is known if the
    /// branches of a point take equally long (Knuth, *Estimating the efficiency of backtrack programs*, 1975).
    pub fn expected(&self) -> f64 {
        let executions = self.executions as f64;
        if self.points.is_empty() {
            return executions;
        }
        let now = self.progress();
        let since = |&(then, before): &(u64, f64)| {
            // A point that got more branches makes less of what was done.
            let rate = (now - before) / (self.executions - then).max(1) as f64;
            if rate > 0.0 { executions + (1.0 - now) / rate } else { f64::INFINITY }
        };
        self.milestones[..2].iter().map(since).fold(f64::INFINITY, f64::min)
    }

    fn progress(&self) -> f64 {
        let (mut done, mut part) = (0.0, 1.0);
        for point in &self.points {
            let branches = f64::from(point.done) + point.tree.len() as f64;
            done += part * f64::from(point.done) / branches;
            part /= branches;
        }
        done
    }

    /// Executions so far.
    pub const fn executions(&self) -> u64 {
        self.executions
    }

    fn ended(&self, end: End) -> Searched {
        let Self { executions, redundant, infeasible, .. } = *self;
        Searched { executions, redundant, infeasible, end }
    }
}

/// Runs one execution of each class, and shows each to the observer.
///
/// # Errors
/// What the system or the observer says.
pub fn search<S: System>(
    system: &mut S,
    limits: Limits,
    observe: impl FnMut(&mut S, &Trace) -> Result<Continue, S::Error>,
) -> Result<Searched, S::Error> {
    Search::default().go_on(system, limits, observe)
}

enum Ran {
    Complete,
    /// Everybody who could go on sleeps. Others stand for this execution, but its races need not be
    /// theirs.
    Asleep,
    /// What was planned turned out to have to wait.
    Nothing,
    Diverged(Divergence),
}

/// Takes the steps of the points again, and goes on to the end.
fn run<S: System>(
    system: &mut S,
    points: &mut Vec<Point>,
    trace: &mut Trace,
    enabled: &mut Vec<ThreadId>,
    infeasible: &mut u64,
) -> Result<Ran, S::Error> {
    system.begin()?;
    // From the last point another step is taken than before.
    trace.truncate(points.len().saturating_sub(1));
    for (after, event) in trace.events().iter().enumerate() {
        let thread = event.step.thread;
        system.enabled(enabled)?;
        let disabled = points[after].enabled[..] != enabled[..];
        if disabled || system.step(thread)?.signature != event.step.signature {
            return Ok(Ran::Diverged(Divergence { after, thread, disabled }));
        }
    }
    loop {
        system.enabled(enabled)?;
        let depth = trace.len();
        if depth == points.len() {
            if enabled.is_empty() {
                return Ok(Ran::Complete);
            }
            let point = point_after(points.last_mut(), trace);
            points.push(Point { enabled: Threads::from_slice(enabled), waiting: system.waiting(), ..point });
            plan_missed(points, trace);
        } else if points[depth].enabled[..] != enabled[..] {
            // After the same steps others can go on than before: what was planned would be taken for what has to
            // wait, and dropped.
            let thread = points[depth].tree.first().map_or(ThreadId(0), |first| first.step.thread);
            return Ok(Ran::Diverged(Divergence { after: depth, thread, disabled: true }));
        }
        *infeasible += drop_blocked(points, trace);
        let point = &mut points[depth];
        if point.tree.is_empty() {
            if point.visited {
                return Ok(Ran::Nothing);
            }
            let asleep = |thread: &ThreadId| point.sleep.iter().any(|step| step.thread == *thread);
            enabled.retain(|thread| !asleep(thread));
            let Some(thread) = default_choice(enabled, trace.last_thread()) else {
                return Ok(Ran::Asleep);
            };
            point.tree.push(Branch::leaf(Planned::next_of(thread)));
        }
        let planned = &mut point.tree[0].step;
        let step = system.step(planned.thread)?;
        planned.seen(&step);
        point.visited = true;
        trace.push(step);
    }
}

/// Plans the steps of those fates that could have been taken before the last step, and now have to wait: that nobody else can
/// go on any more, if it comes to that, hides it that they could have come then. The trace leads to the last point.
fn plan_missed(points: &mut [Point], trace: &Trace) {
    let [.., before, point] = points else { return };
    let missed = |waiting: &&Waiting| waiting.was_free && before.enabled.contains(&waiting.thread);
    let missed: Vec<Waiting> = point.waiting.iter().filter(missed).cloned().collect();
    missed.iter().for_each(|waiting| reverse_races_of_waiting(points, trace, waiting));
}

/// Gives up what is planned for the last point as long as its thread has to wait there. The trace leads to this point.
/// Returns how much that was.
fn drop_blocked(points: &mut [Point], trace: &Trace) -> u64 {
    let Some(point) = points.last_mut() else { return 0 };
    let (mut blocked, mut dropped) = (Threads::new(), 0);
    while let Some(first) = point.tree.first().filter(|first| !point.enabled.contains(&first.step.thread)) {
        blocked.push(first.step.thread);
        point.drop_first();
        dropped += 1;
    }
    if !blocked.is_empty() {
        let waiting = point.waiting.iter().filter(|waiting| blocked.contains(&waiting.thread)).cloned();
        let waiting: Vec<Waiting> = waiting.collect();
        waiting.iter().for_each(|waiting| reverse_races_of_waiting(points, trace, waiting));
    }
    dropped
}

/// The point that is reached by the last step of the trace.
fn point_after(before: Option<&mut Point>, trace: &Trace) -> Point {
    let (Some(before), Some(event)) = (before, trace.events().last()) else {
        return Point::default();
    };
    let taken = &mut before.tree[0];
    let step = taken.step.view();
    let sleep = before
        .sleep
        .iter()
        .filter(|asleep| asleep.thread != event.step.thread && !asleep.view().may_conflict(&step))
        .cloned()
        .collect();
    Point { sleep, tree: std::mem::take(&mut taken.rest), ..Point::default() }
}

/// Puts what reverses each race of an execution into the wake-up tree where it belongs.
fn reverse_races(points: &mut [Point], trace: &Trace, waiting: &[Waiting]) {
    for (later, event) in trace.events().iter().enumerate() {
        let potential = event.step.potential.as_slice();
        let last = View { certain: potential.is_empty(), potential, ..trace.view(later) };
        for &earlier in trace.races_of(later) {
            let point = &mut points[earlier];
            reverse(trace, earlier, &last, Some(later), |sequence| point.plan(sequence));
        }
    }
    waiting.iter().for_each(|waiting| reverse_races_of_waiting(points, trace, waiting));
}

/// The same for a thread that waits after the last step of a trace, for ever or because of the order
/// in which others were.
fn reverse_races_of_waiting(points: &mut [Point], trace: &Trace, waiting: &Waiting) {
    let Waiting { thread, footprint, potential, .. } = waiting;
    // Where it need not wait it may touch something else.
    let (certain, mask) = (false, mask_of(footprint));
    let last = View { thread: *thread, footprint, certain, potential, mask, follows: &[] };
    for earlier in trace.races_of_waiting(*thread, footprint) {
        let point = &mut points[earlier];
        reverse(trace, earlier, &last, None, |sequence| point.plan(sequence));
    }
}

/// Goes back to the last point where something is left that can be run.
fn backtrack(points: &mut Vec<Point>, trace: &mut Trace, infeasible: &mut u64) -> bool {
    // An execution that was broken off may have left a point from which no step was taken.
    points.truncate(trace.len());
    while let Some(point) = points.last_mut() {
        let done = point.tree.remove(0);
        point.sleep.push(done.step);
        point.done += 1;
        trace.truncate(points.len() - 1);
        *infeasible += drop_blocked(points, trace);
        if points.last().is_some_and(|point| !point.tree.is_empty()) {
            return true;
        }
        points.pop();
    }
    false
}
