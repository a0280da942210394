//! Iterative context bounding (Musuvathi & Qadeer, PLDI 2007): all schedules with no preemption,
//! then all with one, and so on.
//!
//! A switch is a preemption when the thread that ran last could have gone on and did not give way
//! of itself. There is no reduction in it: reducing and bounding together would lose executions
//! (Coons, Musuvathi & McKinley, OOPSLA 2013).

use super::super::system::{System, ThreadId};
use super::trace::Trace;
use super::{Continue, Divergence, End, Limits, Searched};

/// One point: who could go, the one that costs nothing first; which one is taken; what was spent
/// before.
struct Point {
    choices: Vec<ThreadId>,
    taken: usize,
    /// Whether to take any but the first costs a preemption.
    costs: bool,
    spent: u32,
    signature: Option<u64>,
}

impl Point {
    fn cost(&self, choice: usize) -> u32 {
        self.spent + u32::from(self.costs && choice > 0)
    }
}

/// Runs every schedule with exactly `bound` preemptions, and shows each execution to the observer.
/// Those with fewer are the business of smaller bounds.
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
    loop {
        system.begin()?;
        trace.clear();
        loop {
            system.enabled(&mut enabled)?;
            let depth = trace.len();
            if depth == points.len() {
                if enabled.is_empty() {
                    break;
                }
                points.push(point(&enabled, &trace, points.last()));
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
            point.signature = Some(step.signature);
            trace.push(step);
        }
        let spent = points.last().map_or(0, |point| point.cost(point.taken));
        if spent == bound {
            searched.executions += 1;
            if observe(system, &trace)? == Continue::Stop {
                searched.end = End::Stopped;
                return Ok(searched);
            }
        } else {
            searched.redundant += 1;
        }
        while let Some(point) = points.last_mut() {
            point.signature = None;
            point.taken += 1;
            if point.taken < point.choices.len() && point.cost(point.taken) <= bound {
                break;
            }
            points.pop();
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
    Point { choices, taken: 0, costs: goes_on.is_some() && !yielded, spent, signature: None }
}
