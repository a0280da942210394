//! Every schedule, one after the other, without any reduction: what the others are measured by.

use super::super::system::{System, ThreadId};
use super::trace::Trace;
use super::{Continue, Divergence, End, Limits, Searched};

/// Runs every schedule, and shows each execution to the observer.
///
/// # Errors
/// What the system or the observer says.
pub fn search<S: System>(
    system: &mut S,
    limits: Limits,
    mut observe: impl FnMut(&mut S, &Trace) -> Result<Continue, S::Error>,
) -> Result<Searched, S::Error> {
    // The threads that were enabled at each point, and which of them is taken.
    let mut points: Vec<(Vec<ThreadId>, usize)> = Vec::new();
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
                points.push((enabled.clone(), 0));
            }
            let (choices, taken) = &points[depth];
            let thread = choices[*taken];
            if *choices != enabled {
                searched.end = End::Diverged(Divergence { after: depth, thread, disabled: true });
                return Ok(searched);
            }
            trace.push(system.step(thread)?);
        }
        searched.executions += 1;
        if observe(system, &trace)? == Continue::Stop {
            searched.end = End::Stopped;
            return Ok(searched);
        }
        while let Some((choices, taken)) = points.last_mut() {
            *taken += 1;
            if *taken < choices.len() {
                break;
            }
            points.pop();
        }
        if points.is_empty() {
            return Ok(searched);
        }
        if let Some(end) = limits.reached(searched.executions) {
            searched.end = end;
            return Ok(searched);
        }
    }
}
