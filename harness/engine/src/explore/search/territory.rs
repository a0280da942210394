//! What a search knows of states that it has come to and of steps that it has seen: [`Territory`].
//!
//! Two prefixes of one class lead to the same state. So what can go on there is the same, and so is what comes of it,
//! and a search that comes to a state once more need not have the system go there. And a step that was seen after the
//! same past is going to be the same, whatever else has happened meanwhile (`Foresight`).

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::access::{Access, ObjectKind};
use super::super::system::{Sleeper, Step, ThreadId, Threads};
use super::trace::Trace;

/// States that are remembered at most. To others the system goes as often as the search does.
const STATES_MAX: usize = 100_000;
/// Steps that are foreseen at most.
const FORESEEN_MAX: usize = 200_000;

/// What a state is like.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Who can go on, in ascending order.
    pub enabled: Arc<[ThreadId]>,
    pub beside: Beside,
}

/// Those on whom it depends, besides what happened before, what a step touches.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside {
    /// Who is asleep, or will be.
    sleepers: SmallVec<[Arc<Sleeper>; 2]>,
    suspended: Threads,
}

impl Beside {
    /// Whom a step of a thread wakes.
    fn woken(&self, thread: ThreadId, footprint: &[Access]) -> Wakes {
        self.sleepers.iter().filter_map(|sleeper| sleeper.woken(thread, footprint)).collect()
    }
}

/// A step that was seen.
#[derive(Debug)]
pub(super) struct Known {
    pub step: Step,
    /// That of the step and all that happened before it.
    pub digest: u64,
}

/// States, by the class of the prefixes that lead there, and steps.
#[derive(Default)]
pub(super) struct Territory {
    states: HashMap<u64, State>,
    foresight: Foresight,
}

struct State {
    view: View,
    /// What came of it when somebody went on.
    steps: SmallVec<[Arc<Known>; 2]>,
}

impl Territory {
    /// The state after prefixes of this class, if somebody was there.
    pub fn view(&self, class: u64) -> Option<&View> {
        self.states.get(&class).map(|state| &state.view)
    }

    /// Takes note of a state. Those who sleep on as they did in the state before are kept once.
    pub fn see(
        &mut self,
        class: u64,
        enabled: &[ThreadId],
        sleepers: Vec<Sleeper>,
        suspended: Threads,
        before: &Beside,
    ) -> View {
        let kept = |sleeper: Sleeper| {
            let known = before.sleepers.iter().find(|known| ***known == sleeper);
            known.map_or_else(|| Arc::new(sleeper), Arc::clone)
        };
        let sleepers = sleepers.into_iter().map(kept).collect();
        let view = View { enabled: enabled.into(), beside: Beside { sleepers, suspended } };
        if self.states.len() < STATES_MAX {
            self.states.entry(class).or_insert_with(|| State { view: view.clone(), steps: SmallVec::new() });
        }
        view
    }

    /// The next step of a thread after this prefix, of this class, if it is known.
    pub fn step(&self, class: u64, trace: &Trace, beside: &Beside, thread: ThreadId) -> Option<&Arc<Known>> {
        let of_thread = |known: &&Arc<Known>| known.step.thread == thread;
        let seen = self.states.get(&class).and_then(|state| state.steps.iter().find(of_thread));
        seen.or_else(|| self.foresight.step(trace, beside, thread))
    }

    /// Takes note of the last step of a trace, which was taken in a state of this class, beside these.
    pub fn learn(&mut self, class: u64, trace: &Trace, beside: &Beside) {
        let Some(last) = trace.len().checked_sub(1) else { return };
        let step = &trace.events()[last].step;
        let foreseen = self.foresight.learn(trace, last, beside);
        if let Some(state) = self.states.get_mut(&class)
            && state.steps.iter().all(|known| known.step.thread != step.thread)
        {
            let seen = || Arc::new(Known { step: step.clone(), digest: trace.digest(last) });
            state.steps.push(foreseen.unwrap_or_else(seen));
        }
    }
}

/// What steps came to, by thread and its step before: with the same past a step is the same.
#[derive(Default)]
struct Foresight {
    steps: HashMap<(ThreadId, u64), Vec<Foreseen>>,
    /// How many there are in all.
    count: usize,
}

struct Foreseen {
    known: Arc<Known>,
    /// Whom it woke, and who was suspended.
    wakes: Wakes,
    suspended: Threads,
    /// The sum of the digests of what happened before it.
    past: u64,
}

/// What a step touches since it wakes others.
type Wakes = SmallVec<[Access; 2]>;

impl Foresight {
    /// Takes note of the last step of a trace. What a step does that gives way, or that is taken because others cannot
    /// go on, depends on more than what it touches; so does the end of a pause.
    fn learn(&mut self, trace: &Trace, last: usize, beside: &Beside) -> Option<Arc<Known>> {
        let step = &trace.events()[last].step;
        let Step { thread, footprint, yields, follows, .. } = step;
        let kills = || footprint.iter().any(|access| access.object.kind == ObjectKind::Liveness);
        if *yields || !follows.is_empty() || (thread.is_reluctant() && !kills()) {
            return None;
        }
        let before = trace.previous_of(last).map_or(0, |previous| trace.digest(previous));
        if self.count == FORESEEN_MAX {
            return None;
        }
        let all = self.steps.entry((*thread, before)).or_default();
        let digest = trace.digest(last);
        let past = trace.sum_up_to(last).wrapping_sub(digest);
        let (wakes, suspended) = (beside.woken(*thread, footprint), &beside.suspended);
        let is_same = |seen: &&Foreseen| {
            (seen.known.digest, seen.past) == (digest, past)
                && (&seen.wakes, &seen.suspended) == (&wakes, suspended)
        };
        if let Some(same) = all.iter().find(is_same) {
            return Some(Arc::clone(&same.known));
        }
        let known = Arc::new(Known { step: step.clone(), digest });
        all.push(Foreseen { known: Arc::clone(&known), wakes, suspended: suspended.clone(), past });
        self.count += 1;
        Some(known)
    }

    /// The next step of a thread, if it is known. Those who are asleep are no part of the past of whoever changes
    /// something, and may be woken by it.
    fn step(&self, trace: &Trace, beside: &Beside, thread: ThreadId) -> Option<&Arc<Known>> {
        let before = trace.last_of(thread).map_or(0, |last| trace.digest(last));
        let fits = |seen: &&Foreseen| {
            let footprint = &seen.known.step.footprint;
            seen.suspended == beside.suspended
                && beside.woken(thread, footprint) == seen.wakes
                && trace.sum_before(thread, footprint) == seen.past
        };
        self.steps.get(&(thread, before))?.iter().find(fits).map(|seen| &seen.known)
    }
}
