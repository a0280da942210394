//! `progress`: an operation completes once the others have finished or died.
//!
//! Only operations that nobody was in the way of are judged, so that a slow machine or a fair
//! refusal is never taken for a breach:
//! - `deadlock`: an operation never returned (it ended in `info`, timed out), and when it was given
//!   up everybody else had finished, had died, or never returned either, for at least half of the
//!   time that it had waited, and nobody was inside the critical section;
//! - `stuck-lock`: an operation was refused because the lock was busy, or gave up waiting for it,
//!   although in its whole time nobody else did anything and nobody could hold the lock;
//! - `retries-exhausted`: the same, of an operation that gave up after its last retry.
//!
//! A client may hold a lock after an acquire that succeeded or has an unknown outcome, until it
//! releases it; not once it was killed. An operation that was given up without its process dying
//! may go on for ever, and so be in the way. Livelock is not seen here: a history does not show what
//! a client did between invocation and return.

use std::collections::HashSet;

use tearproof_core::history::{Failure, Payload, Phase, Span};
use tearproof_core::{AnomalyKind, Event, Finding, Operation};

use crate::operations::{Operations, Outcome};
use crate::witness::{Moment, Tally};

/// Checks that nobody waits for nothing.
pub fn check(operations: &Operations<'_>) -> Finding {
    let history = operations.history;
    let gives_up = |event: &Event| {
        matches!(failure(event), Some(Failure::Busy | Failure::TimedOut | Failure::RetriesExhausted))
    };
    if !history.events.iter().any(gives_up) {
        return Finding::Holds;
    }
    let mut world = World::default();
    let mut tally = Tally::default();
    let mut spans = operations.spans.iter().copied();
    let mut open = std::collections::HashMap::new();
    for (index, event) in (0u32..).zip(&history.events) {
        if event.phase == Phase::Invoke {
            let Some(span) = spans.next() else { break };
            let alone = world.is_empty() && (span.end == index + 1);
            let stuck = operations.outcome(span) == Outcome::Unknown
                && operations.end(span).is_some_and(|end| failure(end) == Some(Failure::TimedOut));
            open.insert(event.client, (span, alone, stuck));
            if stuck {
                world.stuck.insert(event.client);
            } else {
                world.running += 1;
                world.active_ns = event.time_ns;
            }
            if event.operation == Operation::Release {
                world.holders.remove(&event.client);
            }
            continue;
        }
        let Some((span, alone, stuck)) = open.remove(&event.client) else { continue };
        let why = failure(event);
        if stuck {
            let waited = event.time_ns - operations.invocation(span).time_ns;
            let idle = event.time_ns - world.active_ns.max(operations.invocation(span).time_ns);
            if world.running == 0
                && world.nobody_else_inside(event.client)
                && idle.saturating_mul(2) >= waited
            {
                deadlock(operations, &mut tally, span);
            }
        } else {
            world.running -= 1;
            world.active_ns = event.time_ns;
        }
        let kind = match (event.phase, why) {
            (Phase::Fail, Some(Failure::Busy | Failure::TimedOut)) => Some(AnomalyKind::StuckLock),
            (Phase::Fail | Phase::Info, Some(Failure::RetriesExhausted)) => {
                Some(AnomalyKind::RetriesExhausted)
            }
            _ => None,
        };
        if let Some(kind) = kind.filter(|_| alone) {
            gave_up(operations, &mut tally, span, kind);
        }
        world.settle(event, why);
    }
    tally.finding()
}

/// Who might be in the way.
#[derive(Default)]
struct World {
    /// Operations that are running and will come back.
    running: usize,
    /// Clients in an operation that never comes back.
    stuck: HashSet<u32>,
    /// Clients that may hold the lock.
    holders: HashSet<u32>,
    /// When an operation that comes back was last invoked or ended.
    active_ns: u64,
}

impl World {
    fn is_empty(&self) -> bool {
        self.running == 0 && self.stuck.is_empty() && self.holders.is_empty()
    }

    /// Whether no client that can still act may hold the lock, apart from this one.
    fn nobody_else_inside(&self, client: u32) -> bool {
        self.holders.iter().all(|holder| *holder == client || self.stuck.contains(holder))
    }

    /// Takes note of how an operation ended.
    fn settle(&mut self, event: &Event, why: Option<Failure>) {
        if why == Some(Failure::Killed) {
            self.holders.remove(&event.client);
            self.stuck.remove(&event.client);
            return;
        }
        let may_hold = match event.operation {
            Operation::Acquire => event.phase != Phase::Fail,
            Operation::Release => event.phase != Phase::Ok,
            _ => false,
        };
        if may_hold {
            self.holders.insert(event.client);
        }
    }
}

fn failure(event: &Event) -> Option<Failure> {
    match event.payload {
        Payload::Failed(failure, _) => Some(failure),
        _ => None,
    }
}

fn deadlock(operations: &Operations<'_>, tally: &mut Tally, span: Span) {
    tally.add(AnomalyKind::Deadlock, || {
        let last = operations
            .spans
            .iter()
            .copied()
            .filter(|other| *other != span && other.end < span.end)
            .max_by_key(|other| other.end);
        let mut moments = vec![Moment::invoked(span).marked(1), Moment::returned(span).marked(2)];
        moments.extend(last.map(Moment::returned));
        let explanation = format!(
            "{} was invoked (1) and had not returned when it was given up (2), although all others had \
             finished, had died, or waited as well: nobody was left who could let it go on",
            operations.named(span)
        );
        (Some(operations.millis_at(span.end)), operations.witness(explanation, &moments))
    });
}

fn gave_up(operations: &Operations<'_>, tally: &mut Tally, span: Span, kind: AnomalyKind) {
    tally.add(kind, || {
        let before = operations
            .spans
            .iter()
            .copied()
            .filter(|other| other.precedes(&span))
            .max_by_key(|other| other.end);
        let mut moments = vec![Moment::invoked(span).marked(1), Moment::returned(span).marked(2)];
        moments.extend(before.map(Moment::returned));
        let what = if kind == AnomalyKind::StuckLock {
            "failed because the lock was not to be had (2), although nobody held it: every holder had released it or died"
        } else {
            "gave up after its last retry (2), although nobody was in its way: everybody else had finished or died"
        };
        let explanation =
            format!("{} was invoked (1) and {what} before it began", operations.named(span));
        (Some(operations.millis_at(span.end)), operations.witness(explanation, &moments))
    });
}
