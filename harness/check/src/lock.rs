//! `mutual-exclusion`: at most one client is inside the critical section.
//!
//! A client is inside from the return of its acquire to the invocation of its release; one that
//! dies inside leaves by the release that the recorder adds for it. Each entry while another client
//! is inside counts once. A section whose holder was fenced off, so that its writes were refused, is
//! empty. Where one of the two had already given its lock up by itself, what failed is not the lock
//! but its use: `unprotected-section` instead of `two-holders`.
//!
//! An acquire with unknown outcome is not taken for an entry.

use tearproof_core::history::{Payload, Phase, Span};
use tearproof_core::{AnomalyKind, Finding, Operation};

use crate::client_table::ClientTable;
use crate::operations::Operations;
use crate::witness::{Moment, Tally};

/// One stay in the critical section.
#[derive(Clone, Copy, Debug)]
struct Section {
    acquire: Span,
    release: Option<Span>,
    held: bool,
    refused: bool,
}

/// Checks a lock.
pub fn check(operations: &Operations<'_>) -> Finding {
    let sections = sections(operations);
    // Where it is not known how a section ended, it is not known either that it lasted.
    let partial = operations.history.limit.is_some();
    let counted = |section: &Section| !(section.refused || (partial && section.release.is_none()));

    let mut moments: Vec<(u32, usize, bool)> = Vec::new();
    for (index, section) in sections.iter().enumerate().filter(|(_, section)| counted(section)) {
        moments.push((section.acquire.end, index, true));
        if let Some(release) = section.release {
            moments.push((release.invoke, index, false));
        }
    }
    moments.sort_unstable();
    let mut inside: Vec<usize> = Vec::new();
    let mut tally = Tally::default();
    for (_, index, enters) in moments {
        if !enters {
            inside.retain(|&open| open != index);
            continue;
        }
        let section = &sections[index];
        // None is of the same client: a holder that acquires again does not enter again.
        let others = || inside.iter().map(|&open| &sections[open]);
        let holder = others().find(|open| open.held && section.held);
        let kind = if holder.is_some() { AnomalyKind::TwoHolders } else { AnomalyKind::UnprotectedSection };
        if let Some(other) = holder.or_else(|| others().next()) {
            tally.add(kind, || {
                let (first, second) = (operations.who(other.acquire), operations.who(section.acquire));
                let until = match other.release {
                    Some(_) => "and had not yet begun to release it",
                    None => "and never released it",
                };
                let gave_up = match (other.held, section.held) {
                    (true, true) => String::new(),
                    (false, _) => format!("; {first} had given its lock up when its acquire returned"),
                    (true, false) => {
                        format!("; {second} had given its lock up when its acquire returned")
                    }
                };
                let explanation = format!(
                    "{first} was inside the critical section, because its acquire had returned (1) \
                     {until}, when {second}'s acquire returned (2): two clients were inside at \
                     once{gave_up}"
                );
                let mut steps = vec![
                    Moment::invoked(other.acquire),
                    Moment::returned(other.acquire).marked(1),
                    Moment::invoked(section.acquire),
                    Moment::returned(section.acquire).marked(2),
                ];
                steps.extend(other.release.map(Moment::invoked));
                steps.extend(section.release.map(Moment::invoked));
                let after = operations.millis_at(section.acquire.end);
                (Some(after), operations.witness(explanation, &steps))
            });
        }
        inside.push(index);
    }
    tally.finding()
}

/// The stays in the critical section, in the order of the acquires' invocations.
fn sections(operations: &Operations<'_>) -> Vec<Section> {
    const NONE: usize = usize::MAX;
    let mut sections: Vec<Section> = Vec::new();
    let mut open = ClientTable::new(NONE);
    for &span in &operations.spans {
        let event = operations.invocation(span);
        match event.operation {
            Operation::Acquire => {
                let Some(end) = operations.end(span).filter(|end| end.phase == Phase::Ok) else { continue };
                let held = !matches!(end.payload, Payload::Entered { held: false });
                let client = event.client;
                // A second acquire of a holder does not end its first stay.
                if open.get(client) == NONE {
                    open.set(client, sections.len());
                    sections.push(Section { acquire: span, release: None, held, refused: false });
                }
            }
            _ => {
                let index = open.get(event.client);
                if index != NONE {
                    sections[index].release = Some(span);
                    sections[index].refused = event.payload == Payload::Left { refused: true };
                    open.set(event.client, NONE);
                }
            }
        }
    }
    sections
}
