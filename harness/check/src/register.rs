//! `linearizable` for registers.
//!
//! Where every value was written once, a read tells which write it saw, and the question is cheap
//! (Gibbons & Korach, *Testing shared memories*, 1997): a value's *cluster* is its write with all
//! reads of it; it is *settled* when the first of them has returned and *latest* when the last of
//! them was invoked. Value A comes before B when A was settled before B was latest. The history is
//! linearizable unless two values come before each other. One sweep over the invocations decides
//! that, and blames each read that contradicts what came before it: sorting apart, linear.
//!
//! Where values repeat, or with compare-and-set, the general checker ([`crate::wgl`]) decides.
//! Reads that are breaches of `atomic-reads` are left out. A write with unknown outcome that nobody
//! read never took effect; one that was read did, at any time after its invocation.

use tearproof_core::history::{Payload, Span};
use tearproof_core::{AnomalyKind, Finding, Operation, ValueId};

use crate::client_table::ClientTable;
use crate::operations::{NEVER, Operations, Outcome, Position, returned, start};
use crate::origins::{Origins, written};
use crate::sequential_spec::{Register, RegisterOp, RegisterRet};
use crate::wgl::{Answer, Call, linearize};
use crate::witness::{Moment, Tally};

/// The write of a value with the reads of it. 8 bytes.
#[derive(Clone, Copy)]
struct Cluster {
    /// When the first of its operations had returned.
    settled: Position,
    /// When the latest of its operations so far was invoked.
    latest: Position,
}

/// The two settled clusters whose latest operations were invoked last.
#[derive(Default)]
struct TopTwo {
    first: Option<(Position, u32)>,
    second: Option<(Position, u32)>,
}

impl TopTwo {
    fn offer(&mut self, latest: Position, cluster: u32) {
        match self.first {
            Some((_, known)) if known == cluster => self.first = Some((latest, cluster)),
            Some(first) if latest > first.0 => {
                self.second = Some(first);
                self.first = Some((latest, cluster));
            }
            None => self.first = Some((latest, cluster)),
            Some(_) => {
                if self.second.is_none_or(|(position, known)| known == cluster || latest > position) {
                    self.second = Some((latest, cluster));
                }
            }
        }
    }

    fn other_than(&self, cluster: u32) -> Option<(Position, u32)> {
        match self.first {
            Some((_, known)) if known == cluster => self.second,
            first => first,
        }
    }
}

/// Checks a register. The general checker, where it is needed, takes at most `steps` steps.
pub fn check(operations: &Operations<'_>, origins: &Origins, steps: u64) -> Finding {
    if origins.ambiguous || origins.compares {
        check_generally(operations, origins, steps)
    } else {
        check_unique(operations, origins)
    }
}

fn check_unique(operations: &Operations<'_>, origins: &Origins) -> Finding {
    let history = operations.history;
    let absence = origins.values() as u32;
    let mut clusters = vec![Cluster { settled: NEVER, latest: 0 }; origins.values() + 1];
    clusters[history.initial.map_or(absence, |value| value.0) as usize].settled = 0;
    for &span in &operations.spans {
        if let Some(value) = written(operations, span) {
            let cluster = &mut clusters[value.0 as usize];
            cluster.latest = start(span);
            if operations.outcome(span) == Outcome::Done {
                cluster.settled = cluster.settled.min(returned(span));
            }
        } else if let Some(value) = read_value(operations, origins, span, absence) {
            let settled = &mut clusters[value as usize].settled;
            *settled = returned(span).min(*settled);
        }
    }
    let mut settling: Vec<(Position, u32)> = (0u32..)
        .zip(&clusters)
        .filter(|(_, cluster)| cluster.settled != NEVER)
        .map(|(value, cluster)| (cluster.settled, value))
        .collect();
    settling.sort_unstable();

    let mut settling = settling.into_iter().peekable();
    let mut top = TopTwo::default();
    let mut last_seen = ClientTable::new(u32::MAX);
    let mut tally = Tally::default();
    for &span in &operations.spans {
        let Some(value) = read_value(operations, origins, span, absence) else { continue };
        let now = start(span);
        while let Some((_, settled)) = settling.next_if(|&(position, _)| position < now) {
            top.offer(clusters[settled as usize].latest, settled);
        }
        let client = operations.invocation(span).client;
        let cluster = clusters[value as usize];
        match top.other_than(value) {
            Some((latest, newer)) if latest > cluster.settled => {
                // Whatever the client saw last is newer too if it came after this value's cluster.
                let seen = last_seen.get(client);
                let twice =
                    seen != u32::MAX && seen != value && clusters[seen as usize].latest > cluster.settled;
                let (kind, newer) = if twice {
                    (AnomalyKind::NonMonotonicRead, seen)
                } else {
                    (AnomalyKind::StaleRead, newer)
                };
                tally.add(kind, || {
                    let clash =
                        Clash { old: value, new: newer, read: span, latest: clusters[newer as usize].latest };
                    (
                        Some(operations.millis_at(span.end)),
                        explain(operations, origins, absence, &clash, twice),
                    )
                });
            }
            _ => {
                // The read may have been invoked before the write that it saw.
                clusters[value as usize].latest = now.max(cluster.latest);
                if cluster.settled < now {
                    top.offer(now, value);
                }
                last_seen.set(client, value);
            }
        }
    }
    tally.finding()
}

/// The cluster of what a read saw; `None` for what is no read or one that is left out.
fn read_value(operations: &Operations<'_>, origins: &Origins, span: Span, absence: u32) -> Option<u32> {
    let seen = operations.seen(span)?;
    if !origins.explain(span, seen) {
        return None;
    }
    match seen {
        Payload::Value(value) => Some(value.0),
        _ => Some(absence),
    }
}

/// Two values that come before each other, and the read that shows it.
struct Clash {
    old: u32,
    new: u32,
    read: Span,
    /// When the operation of the new value was invoked that shows the old one to be older.
    latest: Position,
}

fn explain(
    operations: &Operations<'_>,
    origins: &Origins,
    absence: u32,
    clash: &Clash,
    same_client: bool,
) -> tearproof_core::Witness {
    let of = |span: Span, value: u32| {
        written(operations, span).map_or_else(
            || read_value(operations, origins, span, absence) == Some(value),
            |written| written.0 == value,
        )
    };
    let returned_of = |value: u32| {
        operations
            .spans
            .iter()
            .copied()
            .filter(|&span| operations.outcome(span) == Outcome::Done && of(span, value))
            .min_by_key(|span| span.end)
    };
    let name = |value: u32| {
        if value == absence {
            "the absence".to_owned()
        } else {
            operations.history.value_name(ValueId(value))
        }
    };
    let (old, new) = (name(clash.old), name(clash.new));
    let reader = operations.invocation(clash.read).client;
    let who = operations.who(clash.read);
    // The initial value is settled without any operation.
    let is_initial = operations.history.initial.map_or(absence, |value| value.0) == clash.old;
    let before = returned_of(clash.old).filter(|_| !is_initial);
    let after = operations.spans.iter().copied().find(|&span| start(span) == clash.latest);
    // For a client that contradicts itself its own earlier read is the evidence.
    let settled = if same_client {
        operations
            .spans
            .iter()
            .copied()
            .filter(|&span| {
                operations.invocation(span).client == reader
                    && operations.seen(span).is_some()
                    && of(span, clash.new)
                    && span.precedes(&clash.read)
            })
            .max_by_key(|span| span.end)
    } else {
        returned_of(clash.new)
    };
    let mut moments = vec![Moment::invoked(clash.read), Moment::returned(clash.read).marked(2)];
    let first = match (before, after) {
        (Some(before), Some(after)) => {
            moments.extend([Moment::returned(before), Moment::invoked(after)]);
            format!(
                "{} had returned before {} was invoked",
                operations.named(before),
                operations.named(after)
            )
        }
        (None, Some(after)) => {
            moments.push(Moment::invoked(after));
            format!("{old} was there before anything else")
        }
        (_, None) => format!("{new} was there before anything else"),
    };
    let second = settled.map_or_else(
        || format!("{new} was there before anything else"),
        |settled| {
            moments.push(Moment::returned(settled).marked(1));
            format!("{} had returned (1)", operations.named(settled))
        },
    );
    let explanation = format!(
        "{old} came before {new}, because {first}; but {new} came before {old}, because {second} before \
         {who} invoked the read that returned {old} (2): a contradiction"
    );
    operations.witness(explanation, &moments)
}

fn check_generally(operations: &Operations<'_>, origins: &Origins, mut steps: u64) -> Finding {
    let history = operations.history;
    let budget = steps;
    let mut read = vec![false; origins.values()];
    for &span in &operations.spans {
        if let Some(Payload::Value(value)) = operations.seen(span) {
            read[value.0 as usize] = true;
        }
    }
    let mut spans: Vec<Span> = Vec::new();
    let mut calls: Vec<Call<RegisterOp, RegisterRet>> = Vec::new();
    for &span in &operations.spans {
        let outcome = operations.outcome(span);
        let done = outcome == Outcome::Done;
        let (op, ret) = match operations.invocation(span).payload {
            _ if outcome == Outcome::Failed => continue,
            Payload::Value(value) => {
                // Leaving out a write that nobody saw cannot make room for anything, unless a
                // comparison failed because of it.
                if !done && !read[value.0 as usize] && !origins.compares {
                    continue;
                }
                (RegisterOp::Write(value), RegisterRet::Written)
            }
            Payload::Cas { from, to, .. } => {
                let applied = match operations.end(span).map(|end| end.payload) {
                    Some(Payload::Cas { applied, .. }) => applied,
                    _ => false,
                };
                (RegisterOp::Cas(from, to), RegisterRet::Applied(applied))
            }
            _ => match operations.seen(span) {
                Some(seen) if origins.explain(span, seen) => match *seen {
                    Payload::Value(value) => (RegisterOp::Read, RegisterRet::Value(Some(value))),
                    _ => (RegisterOp::Read, RegisterRet::Value(None)),
                },
                _ => continue,
            },
        };
        let end = if done { returned(span) } else { NEVER };
        spans.push(span);
        calls.push(Call { op, ret: done.then_some(ret), start: start(span), end });
    }
    let mut tally = Tally::default();
    loop {
        match linearize(&Register(history.initial), &calls, &mut steps) {
            Answer::Linearizable => return tally.finding(),
            Answer::OutOfSteps if tally.is_empty() => {
                return Finding::Inconclusive(format!(
                    "no order of the {} operations was found, and not all were tried, within {budget} steps",
                    calls.len()
                ));
            }
            Answer::OutOfSteps => return tally.finding(),
            Answer::Stuck(culprit) => {
                let span = spans[culprit];
                tally.add(AnomalyKind::StaleRead, || {
                    (Some(operations.millis_at(span.end)), explain_generally(operations, span))
                });
                // What follows is judged as if the culprit had not looked.
                if let (RegisterOp::Cas(_, to), Some(RegisterRet::Applied(true))) =
                    (calls[culprit].op, calls[culprit].ret)
                {
                    calls[culprit].op = RegisterOp::Write(to);
                    calls[culprit].ret = Some(RegisterRet::Written);
                } else {
                    spans.remove(culprit);
                    calls.remove(culprit);
                }
            }
        }
    }
}

fn explain_generally(operations: &Operations<'_>, culprit: Span) -> tearproof_core::Witness {
    let wrote = |span: &&Span| {
        operations.outcome(**span) == Outcome::Done
            && written(operations, **span).is_some()
            && span.precedes(&culprit)
    };
    let latest = operations.spans.iter().filter(wrote).max_by_key(|span| span.end).copied();
    let mut moments = vec![Moment::invoked(culprit), Moment::returned(culprit).marked(2)];
    let before = match latest {
        Some(latest) => {
            moments.push(Moment::returned(latest).marked(1));
            format!("; the last write to return before it was invoked was {} (1)", operations.named(latest))
        }
        None => {
            moments[0] = Moment::invoked(culprit).marked(1);
            " between its invocation (1) and its return".to_owned()
        }
    };
    let what = if operations.invocation(culprit).operation == Operation::Read { "value" } else { "outcome" };
    let explanation = format!(
        "in every order of the operations up to the return of {} (2) that respects real time, its {what} \
         contradicts what the register held{before}",
        operations.named(culprit)
    );
    operations.witness(explanation, &moments)
}
