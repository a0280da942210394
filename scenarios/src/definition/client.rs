//! `[[client]]`: the roles that clients play.

use std::ops::Range;
use std::time::Duration;

use tearproof_core::object::{Object, Operation};
use tearproof_core::scenario::{ClientRole, Lifetime, Via};

use super::diagnostic::{Mistake, Report};
use super::nearest::nearest;
use super::table::{At, Section};

/// The keys of the table.
pub(super) const KEYS: &[&str] =
    &["role", "count", "threads", "does", "hold", "lifetime", "strategy", "rate", "via", "operations"];

/// The most client processes that one execution starts.
pub(super) const MOST_PROCESSES: u64 = 1_000;
/// The most threads that all its processes have together.
const MOST_THREADS: u64 = 4_000;
/// The greatest weight of an operation.
const MOST_WEIGHT: u64 = 1_000_000;
/// Time inside the critical section when the definition does not say.
const HOLD: Duration = Duration::from_millis(1);

/// A role and the places that later checks point at.
pub(super) struct Role {
    /// The role, with defaults in place of what is wrong.
    pub role: ClientRole,
    /// Where it says what its clients do.
    pub does: Range<usize>,
    /// A strategy of its own.
    pub strategy: Option<At<String>>,
}

/// Operations that a definition can ask for on this object. A subset of those that its histories
/// know: no strategy has a compare-and-swap, and a release follows each acquire by itself.
pub(super) const fn asked_of(object: Object) -> &'static [Operation] {
    match object {
        Object::Register => &[Operation::Read, Operation::Write],
        Object::Set => &[Operation::Read, Operation::Update],
        Object::Log => &[Operation::Read, Operation::Append],
        Object::Lock => &[Operation::Acquire],
    }
}

/// Reads all roles.
pub(super) fn read(sections: &[Section<'_>], object: Option<Object>, report: &Report<'_>) -> Vec<Role> {
    let roles: Vec<Role> = sections.iter().map(|section| role(section, object, report)).collect();
    for (index, section) in sections.iter().enumerate() {
        let first = roles[..index].iter().position(|earlier| earlier.role.role == roles[index].role.role);
        if let (Some(first), true) = (first, section.has("role")) {
            let message = format!("there are two roles called `{}`", roles[index].role.role);
            report.add(
                Mistake::at(section.place("role"), message)
                    .label("again")
                    .other(sections[first].place("role"), "first")
                    .help("give each a name of its own: witnesses name the clients by it"),
            );
        }
    }
    check_total(sections, &roles, "count", report);
    check_total(sections, &roles, "threads", report);
    roles
}

fn role(section: &Section<'_>, object: Option<Object>, report: &Report<'_>) -> Role {
    section.require("role", "role = \"writer\"");
    let lifetimes = [("session", Lifetime::Session), ("operation", Lifetime::Operation)];
    let role = section.kebab("role", "role = \"writer\"");
    let count = section.count("count", 1).map_or(1, |at| at.value);
    let threads = section.count("threads", 1);
    let does = does(section, object, report);
    let hold = section.duration("hold", true);
    let lifetime = section.name("lifetime", "lifetime", &lifetimes);
    let strategy = section.kebab("strategy", "strategy = \"temp-rename\"");
    let rate = section.rate("rate").map(|at| at.value);
    let via = section.name("via", "way", &[("file", Via::File), ("http", Via::Http)]);
    let operations = section.count("operations", 1).map(|at| at.value);

    if let (Some(lifetime), Some(threads)) = (&lifetime, &threads)
        && lifetime.value == Lifetime::Operation
        && threads.value > 1
    {
        let message = "a process that lives for one operation has one thread";
        report.add(
            Mistake::at(threads.span.clone(), message)
                .label(format!("{} threads", threads.value))
                .other(lifetime.span.clone(), "a fresh process for each operation")
                .help("write `threads = 1`, or `lifetime = \"session\"`; `count` gives more processes"),
        );
    }
    if let Some(via) = &via
        && via.value == Via::Http
        && does.iter().any(|&(operation, _)| operation != Operation::Read)
    {
        let message = "a client that goes through the HTTP server only reads";
        report.add(
            Mistake::at(via.span.clone(), message)
                .label("the server streams the file, and takes nothing")
                .other(section.place("does"), "and this does more")
                .help("write `does = { read = 1 }`, or leave `via` out"),
        );
    }
    let locks = object == Some(Object::Lock);
    Role {
        role: ClientRole {
            role: role.map_or_else(|| "client".to_owned(), |at| at.value),
            count,
            threads: threads.map_or(1, |at| at.value),
            does,
            hold: hold.map_or(if locks { HOLD } else { Duration::ZERO }, |at| at.value),
            lifetime: lifetime.map_or(Lifetime::Session, |at| at.value),
            rate,
            via: via.map_or(Via::File, |at| at.value),
            strategy: strategy.as_ref().map(|at| at.value.clone()),
            operations,
        },
        does: section.place("does"),
        strategy,
    }
}

/// Operations and weights, those that are never done left out.
fn does(section: &Section<'_>, object: Option<Object>, report: &Report<'_>) -> Vec<(Operation, u32)> {
    let asked = object.map_or(&[][..], asked_of);
    let example = format!("does = {{ {} = 1 }}", asked.first().map_or("read", |operation| operation.name()));
    section.require("does", &example);
    let Some((weights, keys)) = section.entries("does", &example) else { return Vec::new() };
    let mut does = Vec::new();
    // A mistake in one entry must not make the whole look as if nothing were done.
    let mut sound = true;
    for key in keys {
        let operation = Operation::ALL.iter().copied().find(|operation| operation.name() == key.value);
        let Some(operation) = operation else {
            let help = match nearest(key.value, Operation::ALL.iter().map(|operation| operation.name())) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "clients read, write, update, append or acquire".to_owned(),
            };
            let message = format!("unknown operation `{}`", key.value);
            report.add(Mistake::at(key.span, message).label("no such operation").help(help));
            sound = false;
            continue;
        };
        let weight = weights.whole(key.value, 0, MOST_WEIGHT);
        sound &= weight.is_some();
        if let Some(object) = object
            && !asked.contains(&operation)
        {
            report.add(refuse_operation(key.span, operation, object, asked));
            sound = false;
        } else if let Some(weight) = weight
            && weight.value > 0
        {
            does.extend(u32::try_from(weight.value).map(|weight| (operation, weight)));
        }
    }
    if sound && does.is_empty() {
        report.add(
            Mistake::at(section.place("does"), "a client of this role never does anything")
                .label("no operation with a positive weight")
                .help(format!(
                    "write for example `{example}`; weights say how often each operation is chosen"
                )),
        );
    }
    does
}

fn refuse_operation(
    span: Range<usize>,
    operation: Operation,
    object: Object,
    asked: &[Operation],
) -> Mistake {
    let names: Vec<String> = asked.iter().map(|operation| format!("`{operation}`")).collect();
    let help = match operation {
        Operation::Release if object == Object::Lock => {
            "write `acquire` alone: it stands for acquire, hold, release".to_owned()
        }
        Operation::Cas if object == Object::Register => {
            "no strategy offers one; histories that other tools recorded may hold them".to_owned()
        }
        _ => format!("clients of a {object} do {}", names.join(" and ")),
    };
    let message = match operation {
        Operation::Release if object == Object::Lock => "a client cannot release alone".to_owned(),
        _ => format!("a {object} has no `{operation}`"),
    };
    Mistake::at(span, message).label(format!("not an operation of a {object}")).help(help)
}

/// Refuses more processes, or more threads, than a machine can race.
fn check_total(sections: &[Section<'_>], roles: &[Role], key: &str, report: &Report<'_>) {
    let number = |role: &Role| -> u64 {
        let threads = if key == "threads" { u64::from(role.role.threads) } else { 1 };
        u64::from(role.role.count).saturating_mul(threads)
    };
    let (most, what) = match key {
        "threads" => (MOST_THREADS, "threads"),
        _ => (MOST_PROCESSES, "client processes"),
    };
    let total = roles.iter().map(number).fold(0, u64::saturating_add);
    let largest = (0..roles.len()).max_by_key(|&index| number(&roles[index]));
    // Too many processes have been reported; that their threads are too many as well adds nothing.
    let processes: u64 = roles.iter().map(|role| u64::from(role.role.count)).sum();
    let reported = key == "threads" && processes > MOST_PROCESSES;
    if let (Some(index), false) = (largest, reported)
        && total > most
    {
        let (total, most) = (thousands(total), thousands(most));
        let message = format!("{total} {what} are too many");
        report.add(
            Mistake::at(sections[index].place(key), message)
                .label("most of them here")
                .help(format!("at most {most} {what} in all roles together; a race needs few")),
        );
    }
}

/// A number with its thousands set apart: `1,000`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}
