//! The evidence of an anomaly, told as a timeline: who called what and what it returned, between
//! the invocations and returns of the operations, and the two steps that conflict.

use tearproof_core::history::Phase;
use tearproof_core::verdict::Step as Line;

use super::access::conflict;
use super::arena::Deed;
use super::recount::WITHIN_STEP;
use super::search::Trace;
use super::system::ThreadId;
use crate::record::{RawEvent, RawPayload};

/// Tells an execution.
pub(super) fn timeline(
    trace: &Trace,
    deeds: &[Deed],
    events: &[RawEvent],
    client_of: impl Fn(ThreadId) -> u32,
) -> Vec<Line> {
    let marks = marks(trace, &client_of);
    let mut lines: Vec<(u64, Line)> = Vec::new();
    for event in events {
        let what = match event.phase {
            Phase::Invoke => format!("{} {}invoked", event.operation, carried(&event.payload)),
            _ => format!("{} {}returned {}", event.operation, carried(&event.payload), event.phase),
        };
        let number = event.time_ns >> WITHIN_STEP;
        lines.push((
            event.time_ns,
            Line { time_ns: number, client: event.client, role: None, what, mark: None, source: None },
        ));
    }
    for deed in deeds {
        let number = deed.step;
        let index = number as usize - 1;
        let mark = match marks {
            Some((first, _)) if first == index => Some(1),
            Some((_, second)) if second == index => Some(2),
            _ => None,
        };
        let client = client_of(deed.thread);
        let what = deed.to_string();
        let line = Line { time_ns: number, client, role: None, what, mark, source: None };
        lines.push((number << WITHIN_STEP, line));
    }
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// The two steps by which this execution differs from a harmless one: the last step before a client
/// was interrupted that conflicts with what came in between, and the first such one. Threads of one program are not
/// told apart.
fn marks(trace: &Trace, client_of: impl Fn(ThreadId) -> u32) -> Option<(usize, usize)> {
    let steps = trace.events();
    // Whoever plays no client is nobody but himself.
    let of_step = |thread: ThreadId| match client_of(thread) {
        0 => (0, Some(thread)),
        client => (client, None),
    };
    let who: Vec<(u32, Option<ThreadId>)> = steps.iter().map(|event| of_step(event.step.thread)).collect();
    let interrupted = (1..steps.len()).filter(|&index| {
        who[index] != who[index - 1] && (index..steps.len()).any(|later| who[later] == who[index - 1])
    });
    for at in interrupted {
        let victim = who[at - 1];
        let back = (at..steps.len()).find(|&later| who[later] == victim).unwrap_or(steps.len());
        for first in (0..at).rev().filter(|&index| who[index] == victim) {
            let second = (at..back).find(|&index| {
                who[index] != victim && conflict(&steps[first].step.footprint, &steps[index].step.footprint)
            });
            if let Some(second) = second {
                return Some((first, second));
            }
        }
    }
    None
}

fn carried(payload: &RawPayload) -> String {
    match payload {
        RawPayload::None => String::new(),
        RawPayload::Value(stamp) => format!("{stamp} "),
        RawPayload::Absent => "nothing ".to_owned(),
        RawPayload::Torn(kind, detail) => format!("{kind} ({detail}) "),
        RawPayload::List(stamps) => {
            let names: Vec<String> = stamps.iter().map(ToString::to_string).collect();
            format!("[{}] ", names.join(", "))
        }
        RawPayload::Failed(_, message) => format!("({message}) "),
        RawPayload::Entered { .. } => "and entered, ".to_owned(),
        RawPayload::Left { refused: true } => "(its writes were refused) ".to_owned(),
        RawPayload::Left { refused: false } => String::new(),
    }
}
