//! From what clients recorded in an execution to the histories that are judged.
//!
//! Clients run one at a time, so the times of their recordings are step numbers, and tell between
//! which steps an operation was invoked and returned. For registers, sets and logs that is only one
//! of the real-time orders that the class of the execution allows; all maximal ones are made. For locks
//! the ends of a critical section are steps themselves, and the order in which they were taken is
//! the one that counts.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

use tearproof_core::history::{Aftermath, History, Phase};
use tearproof_core::object::Object;

use super::orders::{Ending, Moment, OrderError, ProjectedOrder};
use super::search::Trace;
use super::system::ThreadId;
use crate::record::{AssembleError, Death, RawEvent, Start, assemble};

/// Bits of a recorded time that count within a step.
pub(super) const WITHIN_STEP: u32 = 20;
/// Real-time orders of one execution that are judged at most.
const ORDERS_MAX: u64 = 10_000;

/// One operation of an execution.
#[derive(Clone, Debug)]
struct Performed {
    thread: ThreadId,
    invoke: usize,
    end: Option<usize>,
    /// Its first and last step in the trace, where it took any.
    steps: Option<(usize, usize)>,
    /// The last step of its thread before it, and the first one after it.
    before: Option<usize>,
    after: Option<usize>,
}

/// Who plays whom.
#[derive(Clone, Copy)]
pub(super) struct Players<'p> {
    /// The thread that plays a client.
    pub thread_of: &'p dyn Fn(u32) -> Option<ThreadId>,
    /// The thread that plays the client which a thread works for.
    pub player_of: &'p dyn Fn(ThreadId) -> ThreadId,
}

/// What was recorded in one execution.
pub(super) struct Recount {
    pub events: Vec<RawEvent>,
    pub deaths: Vec<Death>,
    pub start: Start,
    pub aftermath: Aftermath,
    /// Events from here on, by time, were recorded when everybody had finished.
    pub audit_from: u64,
}

/// Why recordings cannot be told as a history.
#[derive(Debug, thiserror::Error)]
pub enum RecountError {
    /// The recordings contradict each other.
    #[error("putting a history together: {0}")]
    Assemble(#[from] AssembleError),
    /// The order of the operations does.
    #[error("ordering operations: {0}")]
    Order(#[from] OrderError),
    /// There are too many orders.
    #[error("an execution has more than {0} real-time orders")]
    TooMany(u64),
}

impl Recount {
    /// A digest of everything that a judge may look at: executions with the same one are judged
    /// once.
    fn digests(&self, operations: &[Performed]) -> Vec<u64> {
        let one = |performed: &Performed| {
            let mut digest = DefaultHasher::new();
            for index in [Some(performed.invoke), performed.end].into_iter().flatten() {
                let event = &self.events[index];
                (event.client, event.phase as u8, event.operation as u8).hash(&mut digest);
                event.payload.hash(&mut digest);
            }
            digest.finish()
        };
        let mut digests: Vec<u64> = operations.iter().map(one).collect();
        let mut rest = DefaultHasher::new();
        for event in self.events.iter().filter(|event| event.time_ns >= self.audit_from) {
            (event.phase as u8, event.operation as u8).hash(&mut rest);
            event.payload.hash(&mut rest);
        }
        self.aftermath.left_behind.hash(&mut rest);
        for death in &self.deaths {
            (death.client, death.failure as u8).hash(&mut rest);
        }
        digests.push(rest.finish());
        digests
    }

    /// Shows every history to `judge`. `known` says of a signature whether an execution like this
    /// one was judged before: then nothing is shown.
    pub fn tell<B, E: From<RecountError>>(
        &mut self,
        trace: &Trace,
        players: Players<'_>,
        mut known: impl FnMut(u64) -> bool,
        mut judge: impl FnMut(History) -> Result<ControlFlow<B>, E>,
    ) -> Result<Option<B>, E> {
        let operations = self.operations(trace, players);
        if self.start.object == Object::Lock {
            let mut digest = DefaultHasher::new();
            self.digests(&operations).hash(&mut digest);
            let events = self.events.iter().map(|event| (event.time_ns, event.client, event.phase as u8));
            let deaths = self.deaths.iter().map(|death| (death.time_ns, death.client, u8::MAX));
            let mut sorted: Vec<(u64, u32, u8)> = events.chain(deaths).collect();
            sorted.sort_by_key(|&(time_ns, ..)| time_ns);
            for (_, client, what) in sorted {
                (client, what).hash(&mut digest);
            }
            if known(digest.finish()) {
                return Ok(None);
            }
            let history = self.history()?;
            return Ok(match judge(history)? {
                ControlFlow::Break(value) => Some(value),
                ControlFlow::Continue(()) => None,
            });
        }
        let mut projected = ProjectedOrder::default();
        for performed in &operations {
            projected.operation(performed.thread, performed.end.is_some()).map_err(RecountError::from)?;
        }
        project(trace, &operations, &mut projected);
        let orders = projected.close().map_err(RecountError::from)?;
        if known(orders.signature(&self.digests(&operations))) {
            return Ok(None);
        }
        let (_, ending) = orders.visit(ORDERS_MAX, |moments| {
            self.arrange(&operations, moments);
            match self.history().map_err(E::from).and_then(&mut judge) {
                Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
                Ok(ControlFlow::Break(value)) => ControlFlow::Break(Ok(value)),
                Err(error) => ControlFlow::Break(Err(error)),
            }
        });
        match ending {
            Ending::Exhausted => Ok(None),
            Ending::Stopped(outcome) => outcome.map(Some),
            Ending::Limit => Err(RecountError::TooMany(ORDERS_MAX).into()),
        }
    }

    /// Gives the events of these operations the times of this order. The audit stays at the end.
    fn arrange(&mut self, operations: &[Performed], moments: &[Moment]) {
        for (time_ns, moment) in (1..).zip(moments) {
            let index = match *moment {
                Moment::Invoke(operation) => Some(operations[operation].invoke),
                Moment::Return(operation) => operations[operation].end,
            };
            if let Some(index) = index {
                self.events[index].time_ns = time_ns;
            }
        }
    }

    fn history(&self) -> Result<History, RecountError> {
        let mut events = self.events.clone();
        let mut history = assemble(&mut events, &self.deaths, self.start)?;
        history.aftermath = self.aftermath.clone();
        Ok(history)
    }

    /// The operations, thread by thread in the order in which they were performed.
    fn operations(&self, trace: &Trace, players: Players<'_>) -> Vec<Performed> {
        let mut operations: Vec<Performed> = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            if event.time_ns >= self.audit_from {
                continue;
            }
            let Some(thread) = (players.thread_of)(event.client) else { continue };
            if event.phase == Phase::Invoke {
                let steps = None;
                operations.push(Performed {
                    thread,
                    invoke: index,
                    end: None,
                    steps,
                    before: None,
                    after: None,
                });
            } else if let Some(open) =
                operations.iter_mut().rev().find(|open| open.thread == thread && open.end.is_none())
            {
                open.end = Some(index);
            }
        }
        for performed in &mut operations {
            let from = self.events[performed.invoke].time_ns >> WITHIN_STEP;
            let to = performed.end.map_or(u64::MAX, |end| self.events[end].time_ns >> WITHIN_STEP);
            for (index, event) in trace.events().iter().enumerate() {
                if (players.player_of)(event.step.thread) != performed.thread {
                    continue;
                }
                // Steps count from one; what is recorded after a step has its number.
                let number = index as u64 + 1;
                if number <= from {
                    performed.before = Some(index);
                } else if number <= to {
                    let first = performed.steps.map_or(index, |(first, _)| first);
                    performed.steps = Some((first, index));
                } else {
                    performed.after.get_or_insert(index);
                }
            }
        }
        operations
    }
}

/// Which moments have to come before which others.
fn project(trace: &Trace, operations: &[Performed], projected: &mut ProjectedOrder) {
    for (one, a) in operations.iter().enumerate() {
        // The first step that comes after each moment, and the last that comes before it.
        let after_invoke = a.steps.map(|(first, _)| first).or(a.after);
        for (other, b) in operations.iter().enumerate() {
            if a.thread == b.thread {
                continue;
            }
            let before_return = b.steps.map(|(_, last)| last).or(b.before);
            let ordered = |earlier: Option<usize>, later: Option<usize>| match (earlier, later) {
                (Some(earlier), Some(later)) => trace.happens_before(earlier, later),
                _ => false,
            };
            if ordered(after_invoke, before_return) {
                projected.follows(one, other);
            }
            if ordered(after_invoke, b.before) {
                projected.before(Moment::Invoke(one), Moment::Invoke(other));
            }
            if a.end.is_some() && ordered(a.after, before_return) {
                projected.before(Moment::Return(one), Moment::Return(other));
            }
            if a.end.is_some() && ordered(a.after, b.before) {
                projected.before(Moment::Return(one), Moment::Invoke(other));
            }
        }
    }
}
