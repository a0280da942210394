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
//! cannot be run to its end, because a thread turns out to wait, is dropped.

use super::super::access::{Footprint, cannot_pass};
use super::super::system::{System, ThreadId, Waiting};
use super::trace::Trace;
use super::wakeup::{Branch, Planned, insert, is_weak_initial};
use super::{Continue, Divergence, End, Limits, Searched, default_choice};

/// A point of the search: what is known of the state after a prefix.
struct Point {
    /// Threads that need not be run from here: what they would begin has been seen.
    sleep: Vec<Planned>,
    /// What is still to be run. The first branch is the one under way.
    tree: Vec<Branch>,
    /// The signature of the step that was taken from here, once it was.
    signature: Option<u64>,
    /// Nothing was run from here yet.
    fresh: bool,
}

/// Runs one execution of each class, and shows each to the observer.
///
/// # Errors
/// What the system or the observer says.
pub fn search<S: System>(
    system: &mut S,
    limits: Limits,
    mut observe: impl FnMut(&mut S, &Trace) -> Result<Continue, S::Error>,
) -> Result<Searched, S::Error> {
    let mut points: Vec<Point> = Vec::new();
    let mut trace = Trace::default();
    let mut searched = Searched { executions: 0, redundant: 0, infeasible: 0, end: End::Exhausted };
    let mut enabled = Vec::new();
    loop {
        match run(system, &mut points, &mut trace, &mut enabled, &mut searched)? {
            Ran::Complete => {
                searched.executions += 1;
                let waiting = system.waiting();
                if observe(system, &trace)? == Continue::Stop {
                    searched.end = End::Stopped;
                    return Ok(searched);
                }
                reverse_races(&mut points, &trace, &waiting);
            }
            Ran::BrokenOff => searched.redundant += 1,
            Ran::Diverged(divergence) => {
                searched.end = End::Diverged(divergence);
                return Ok(searched);
            }
        }
        if !backtrack(&mut points, &trace) {
            return Ok(searched);
        }
        if let Some(end) = limits.reached(searched.executions + searched.redundant) {
            searched.end = end;
            return Ok(searched);
        }
    }
}

enum Ran {
    Complete,
    /// Whatever could follow has been seen, or cannot be run.
    BrokenOff,
    Diverged(Divergence),
}

/// Takes the steps of the points again, and goes on to the end.
fn run<S: System>(
    system: &mut S,
    points: &mut Vec<Point>,
    trace: &mut Trace,
    enabled: &mut Vec<ThreadId>,
    searched: &mut Searched,
) -> Result<Ran, S::Error> {
    system.begin()?;
    trace.clear();
    loop {
        let depth = trace.len();
        system.enabled(enabled)?;
        if depth == points.len() {
            if enabled.is_empty() {
                return Ok(Ran::Complete);
            }
            points.push(point_after(points.last(), trace));
        }
        let known = points.len() > depth + 1;
        let point = &mut points[depth];
        let thread = loop {
            match point.tree.first() {
                Some(branch) if enabled.contains(&branch.step.thread) => break branch.step.thread,
                Some(branch) if known || point.signature.is_some() => {
                    let thread = branch.step.thread;
                    return Ok(Ran::Diverged(Divergence { after: depth, thread, disabled: true }));
                }
                // It has to wait after all.
                Some(_) => {
                    point.tree.remove(0);
                    searched.infeasible += 1;
                }
                None if !point.fresh => return Ok(Ran::BrokenOff),
                None => {
                    let asleep = |thread: &ThreadId| point.sleep.iter().any(|step| step.thread == *thread);
                    enabled.retain(|thread| !asleep(thread));
                    let Some(thread) = default_choice(enabled, trace.last_thread()) else {
                        return Ok(Ran::BrokenOff);
                    };
                    // What it touches is not known yet, and nobody asks before it is.
                    let step = Planned { thread, footprint: Footprint::new(), potential: None };
                    point.tree.push(Branch::leaf(step));
                    break thread;
                }
            }
        };
        let step = system.step(thread)?;
        if point.signature.is_some_and(|signature| signature != step.signature) {
            return Ok(Ran::Diverged(Divergence { after: depth, thread, disabled: false }));
        }
        point.signature = Some(step.signature);
        point.fresh = false;
        let planned = &mut point.tree[0].step;
        planned.footprint.clone_from(&step.footprint);
        planned.potential = None;
        trace.push(step);
    }
}

/// The point that is reached by the last step of the trace.
fn point_after(before: Option<&Point>, trace: &Trace) -> Point {
    let (Some(before), Some(event)) = (before, trace.events().last()) else {
        return Point { sleep: Vec::new(), tree: Vec::new(), signature: None, fresh: true };
    };
    let taken = &before.tree[0];
    let sleep = before
        .sleep
        .iter()
        .filter(|step| step.thread != event.step.thread && !step.may_conflict(&taken.step))
        .cloned()
        .collect();
    Point { sleep, tree: taken.rest.clone(), signature: None, fresh: true }
}

/// Puts what reverses each race of an execution into the wake-up tree where it belongs.
fn reverse_races(points: &mut [Point], trace: &Trace, waiting: &[Waiting]) {
    let mut races = Vec::new();
    for later in 0..trace.len() {
        trace.races_of(later, &mut races);
        let step = &trace.events()[later].step;
        for &earlier in &races {
            let potential = (!step.potential.is_empty()).then(|| step.potential.clone());
            let last = Planned { thread: step.thread, footprint: step.footprint.clone(), potential };
            reverse(points, trace, earlier, &last);
        }
    }
    for Waiting { thread, footprint } in waiting {
        trace.races_of_waiting(*thread, footprint, &mut races);
        for &earlier in &races {
            let last = Planned { thread: *thread, footprint: footprint.clone(), potential: None };
            reverse(points, trace, earlier, &last);
        }
    }
}

fn reverse(points: &mut [Point], trace: &Trace, earlier: usize, last: &Planned) {
    let after: Vec<usize> =
        (earlier + 1..trace.len()).filter(|&index| !trace.happens_before(earlier, index)).collect();
    // Somebody else may take the lock in between that is waited for, and may not give it back
    // without what comes after `earlier`: then nobody else is to have it first.
    let in_the_way: Vec<usize> = after
        .iter()
        .copied()
        .filter(|&index| {
            let step = &trace.events()[index].step;
            step.thread != last.thread && cannot_pass(&step.footprint, &last.footprint)
        })
        .collect();
    if !in_the_way.is_empty() {
        let freely = |&index: &usize| !in_the_way.iter().any(|&other| trace.happens_before(other, index));
        plan(&mut points[earlier], trace, after.iter().copied().filter(freely), last);
    }
    plan(&mut points[earlier], trace, after.iter().copied(), last);
}

/// Puts these steps, and then the last one, into the tree of a point, unless somebody sleeps there
/// that begins the same executions.
fn plan(point: &mut Point, trace: &Trace, steps: impl Iterator<Item = usize>, last: &Planned) {
    let mut sequence: Vec<Planned> = steps
        .map(|index| {
            let step = &trace.events()[index].step;
            Planned { thread: step.thread, footprint: step.footprint.clone(), potential: None }
        })
        .collect();
    sequence.push(last.clone());
    if !point.sleep.iter().any(|asleep| is_weak_initial(asleep, &sequence)) {
        insert(&mut point.tree, sequence);
    }
}

/// Goes back to the last point where something is left to be run.
fn backtrack(points: &mut Vec<Point>, trace: &Trace) -> bool {
    points.truncate(trace.len());
    while let Some(point) = points.last_mut() {
        let done = point.tree.remove(0);
        point.sleep.push(done.step);
        point.signature = None;
        if !point.tree.is_empty() {
            return true;
        }
        points.pop();
    }
    false
}
