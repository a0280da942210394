//! A schedule that is run again.

use super::super::system::{System, ThreadId};
use super::trace::Trace;
use super::{Divergence, default_choice};

/// How a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is complete; what came after the end of the schedule went in the default order.
    Complete,
    /// A thread of the schedule was not enabled when its turn came.
    Diverged(Divergence),
}

/// Runs a schedule, and goes on in the default order until nobody is enabled.
///
/// # Errors
/// What the system says.
pub fn replay<S: System>(
    system: &mut S,
    schedule: &[ThreadId],
    trace: &mut Trace,
) -> Result<Replayed, S::Error> {
    system.begin()?;
    trace.clear();
    let mut enabled = Vec::new();
    loop {
        system.enabled(&mut enabled)?;
        let Some(default) = default_choice(&enabled, trace.last_thread()) else {
            // A schedule that is longer than its execution is not what it was.
            return Ok(match schedule.get(trace.len()) {
                Some(&thread) => {
                    Replayed::Diverged(Divergence { after: trace.len(), thread, disabled: true })
                }
                None => Replayed::Complete,
            });
        };
        let thread = schedule.get(trace.len()).copied().unwrap_or(default);
        if !enabled.contains(&thread) {
            return Ok(Replayed::Diverged(Divergence { after: trace.len(), thread, disabled: true }));
        }
        trace.push(system.step(thread)?);
    }
}

/// How often a schedule takes the processor from a thread that could have gone on. `enabled` says,
/// for each step, who could take it.
pub fn preemptions(schedule: &[ThreadId], enabled: &[Vec<ThreadId>], yields: &[bool]) -> u32 {
    let preempts = |index: &usize| {
        let before = schedule[index - 1];
        schedule[*index] != before && enabled[*index].contains(&before) && !yields[index - 1]
    };
    (1..schedule.len()).filter(preempts).count() as u32
}
