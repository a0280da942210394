//! `[before]` and `[require]`: the world that an execution starts in, and what must hold in it.

use std::ops::Range;

use tearproof_core::claim::{Guarantee, Hazard};
use tearproof_core::object::Object;
use tearproof_core::scenario::{Before, LockBefore, Require, StateBefore};

use super::diagnostic::{Mistake, Report};
use super::nearest::nearest;
use super::state::State;
use super::table::{At, Section, pick};

/// The keys of `[before]`.
pub(super) const BEFORE_KEYS: &[&str] = &["state", "lock"];
/// The keys of `[require]`.
pub(super) const REQUIRE_KEYS: &[&str] = &["guarantees", "hazards"];

const STATES: [(&str, StateBefore); 3] =
    [("present", StateBefore::Present), ("absent", StateBefore::Absent), ("empty", StateBefore::Empty)];
const LOCKS: [(&str, LockBefore); 4] = [
    ("none", LockBefore::None),
    ("dead-holder", LockBefore::DeadHolder),
    ("expired", LockBefore::Expired),
    ("live-holder", LockBefore::LiveHolder),
];

/// Reads `[before]`; `None` stands for an absent table.
pub(super) fn before(section: Option<&Section<'_>>, state: &State, report: &Report<'_>) -> Before {
    let text = |key: &str, example: &str| section.and_then(|section| section.text(key, example));
    let said = text("state", "state = \"present\"");
    let lock = text("lock", "lock = \"none\"");
    let object = state.object.as_ref().map(|at| at.value);
    if let Some(lock) = &lock
        && lock.value != "none"
        && let Some(object) = object.filter(|&object| object != Object::Lock)
    {
        let message = format!("a lock before the start, and the state file is a {object}");
        report.add(
            Mistake::at(lock.span.clone(), message)
                .label("no lock here")
                .help("leave it out, or write `object = \"lock\"` in [state]"),
        );
    }
    let default = match object {
        // A lock file that nobody holds is not there; an opaque file is made by its own program.
        Some(Object::Lock) => StateBefore::Absent,
        _ if state.opaque.is_some() => StateBefore::Absent,
        _ => StateBefore::Present,
    };
    if let Some(said) = &said {
        check_state(said, object, state.opaque.clone(), report);
    }
    let literal = |at: At<&str>| literal(at, &STATES, StateBefore::Text, report);
    Before {
        state: match object {
            Some(Object::Lock) => default,
            _ => said.map_or(default, literal),
        },
        lock: lock.map_or(LockBefore::None, |at| self::literal(at, &LOCKS, LockBefore::Text, report)),
    }
}

fn check_state(said: &At<&str>, object: Option<Object>, opaque: Option<Range<usize>>, report: &Report<'_>) {
    if object == Some(Object::Lock) && !matches!(said.value, "present" | "absent") {
        report.add(
            Mistake::at(
                said.span.clone(),
                "the state file is a lock, and `lock` says what it is before the start",
            )
            .help(
                "write `lock = \"…\"` with `none`, `dead-holder`, `expired`, `live-holder` or a literal text",
            ),
        );
    }
    if let Some(opaque) = opaque
        && !matches!(said.value, "absent" | "empty")
    {
        report.add(
            Mistake::at(said.span.clone(), "an opaque file has no initial text")
                .label("its shape is known to its own program only")
                .other(opaque, "opaque")
                .help("write `state = \"absent\"` or `\"empty\"`"),
        );
    }
}

/// One of the known worlds, or a literal text. A word that looks like a known one is taken for a
/// slip: as a literal text it would silently make another world than was meant.
fn literal<T: Clone>(at: At<&str>, known: &[(&str, T)], text: fn(String) -> T, report: &Report<'_>) -> T {
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == at.value) {
        return value.clone();
    }
    let names = known.iter().map(|(name, _)| *name);
    if let Some(name) = nearest(at.value, names).filter(|_| !at.value.contains('\n')) {
        report.add(
            Mistake::at(at.span, format!("`{}` is nearly `{name}`", at.value))
                .label("a slip, or a literal text?")
                .help(format!(
                    "write `{name}`; a literal text as near as this needs a line break at its end"
                )),
        );
    }
    text(at.value.to_owned())
}

/// Reads `[require]`; `None` stands for an absent table.
pub(super) fn require(section: Option<&Section<'_>>, object: Option<Object>, report: &Report<'_>) -> Require {
    let known: Vec<(&str, Guarantee)> = Guarantee::ALL.iter().map(|&value| (value.name(), value)).collect();
    let example = "guarantees = [\"atomic-reads\"]";
    let guarantees =
        section.and_then(|section| names(section, "guarantees", "guarantee", example, &known, report));
    for guarantee in guarantees.iter().flatten() {
        if let Some(object) = object
            && !guarantee.value.concerns(object)
        {
            let message = format!("`{}` says nothing of a {object}", guarantee.value);
            report.add(
                Mistake::at(guarantee.span.clone(), message)
                    .label("no strategy could be recommended")
                    .help(format!("of a {object} one can require: {}", requirable(object).join(", "))),
            );
        }
    }
    let known: Vec<(&str, Hazard)> = Hazard::ALL.iter().map(|&value| (value.name(), value)).collect();
    let example = "hazards = [\"concurrency\", \"kill\"]";
    let hazards = section.and_then(|section| names(section, "hazards", "hazard", example, &known, report));
    // Under these hazards nothing could break it, so that it would be required of nobody.
    for guarantee in guarantees.iter().flatten() {
        let Some(listed) = hazards.as_ref().filter(|listed| !listed.is_empty()) else { continue };
        let endangers = |hazard: Hazard| guarantee.value.is_endangered_by(hazard);
        if !listed.iter().any(|hazard| endangers(hazard.value)) {
            let under: Vec<&str> = listed.iter().map(|hazard| hazard.value.name()).collect();
            let endangering: Vec<&str> =
                Hazard::ALL.iter().filter(|&&hazard| endangers(hazard)).map(|hazard| hazard.name()).collect();
            report.add(
                Mistake::at(
                    guarantee.span.clone(),
                    format!("nothing can break `{}` under {}", guarantee.value, under.join(", ")),
                )
                .label("would be required of nobody")
                .help(format!("add to `hazards` what can: {}", endangering.join(", "))),
            );
        }
    }
    let values = |list: Vec<At<Guarantee>>| list.into_iter().map(|at| at.value).collect();
    Require {
        guarantees: guarantees.map_or_else(
            || object.map_or_else(Vec::new, |object| default_require(object).guarantees),
            values,
        ),
        hazards: hazards
            .map_or_else(|| vec![Hazard::Concurrency], |list| list.into_iter().map(|at| at.value).collect()),
    }
}

/// A list of names of a closed set; doubled ones are kept once.
fn names<T: Copy + PartialEq>(
    section: &Section<'_>,
    key: &str,
    what: &str,
    example: &str,
    known: &[(&str, T)],
    report: &Report<'_>,
) -> Option<Vec<At<T>>> {
    let texts = section.texts(key, example)?;
    let mut values: Vec<At<T>> = Vec::new();
    for text in texts.value {
        let Some(value) = pick(report, &text, what, known) else { continue };
        if !values.iter().any(|earlier| earlier.value == value) {
            values.push(At::new(value, text.span));
        }
    }
    Some(values)
}

/// What a definition without `[require]` asks of every strategy. Only what whoever keeps such an object
/// would be surprised to miss: a register that answers with old values is as little use as a torn one.
pub fn default_require(object: Object) -> Require {
    let guarantees = match object {
        Object::Lock => vec![Guarantee::MutualExclusion, Guarantee::Progress],
        Object::Set | Object::Log => {
            vec![Guarantee::AtomicReads, Guarantee::NoLostUpdates, Guarantee::Progress]
        }
        Object::Register => vec![Guarantee::AtomicReads, Guarantee::Linearizable, Guarantee::Progress],
    };
    Require { guarantees, hazards: vec![Hazard::Concurrency] }
}

/// What an object of this kind can keep or break.
pub(super) fn requirable(object: Object) -> Vec<&'static str> {
    Guarantee::ALL
        .iter()
        .filter(|&&guarantee| guarantee.concerns(object))
        .map(|guarantee| guarantee.name())
        .collect()
}
