//! A trace for people: the steps of each process, then what they amount to.

use std::collections::BTreeSet;
use std::fmt::Write;

use tearproof_engine::trace::{
    Item, Naming, Note, Pattern, Process, ProcessEnd, Step, Trace, Update, algorithm, patterns,
};

use super::catalogue;

/// The whole trace.
pub fn told(trace: &Trace, naming: &Naming, color: bool) -> String {
    let mut out = String::new();
    let found = patterns(&trace.records);
    let mut any = false;
    for process in &trace.processes {
        let records = trace.records.iter().filter(|record| record.pid == process.pid);
        let items = algorithm(records, naming);
        if items.is_empty() {
            continue;
        }
        any = true;
        heading(&mut out, &title(process), color);
        steps(&mut out, &items, &|_| None);
        let own: Vec<&Pattern> = found.iter().filter(|pattern| pattern.pid == process.pid).collect();
        facts(&mut out, &own, naming, true);
        out.push('\n');
    }
    let directories: Vec<String> =
        naming.directories.iter().map(|directory| directory.display().to_string()).collect();
    if !any {
        let _ = writeln!(
            out,
            "No call concerned {}. (--dir names another directory, --all shows every call.)",
            directories.join(" or ")
        );
    }
    for note in &trace.notes {
        let text = match note {
            Note::Foreign => "a process makes calls of another architecture, which are not decoded",
            Note::IoUring => "a process uses io_uring, whose operations are not seen",
            Note::TooMany => "there were more calls than are kept: the rest is missing",
        };
        let _ = writeln!(out, "Note: {text}.");
    }
    if trace.interrupted {
        out.push_str("Interrupted: the program was killed.\n");
    }
    out
}

fn title(process: &Process) -> String {
    let words: Vec<String> =
        process.command.iter().map(|word| word.to_string_lossy().replace('\n', "⏎")).collect();
    let mut command = if words.is_empty() { "(a fork of its parent)".to_owned() } else { words.join(" ") };
    const LONGEST: usize = 90;
    if command.chars().count() > LONGEST {
        command = command.chars().take(LONGEST - 1).chain(['…']).collect();
    }
    let end = match process.end {
        Some(ProcessEnd::Exited(0)) => String::new(),
        Some(ProcessEnd::Exited(code)) => format!(", exit {code}"),
        Some(ProcessEnd::Killed(signal)) => format!(", killed by signal {signal}"),
        None => ", did not end".to_owned(),
    };
    format!("{command}  (process {}{end})", process.pid)
}

/// A line above steps.
pub(super) fn heading(out: &mut String, text: &str, color: bool) {
    let _ = match color {
        true => writeln!(out, "\x1b[1m{text}\x1b[0m"),
        false => writeln!(out, "{text}"),
    };
}

/// Nobody reads more steps of one process than this.
const MOST_STEPS: usize = 500;

/// Steps, numbered. `named` has names for threads; where there are several, others are numbered.
pub(super) fn steps(out: &mut String, items: &[Item], named: &dyn Fn(u32) -> Option<&'static str>) {
    let threads: BTreeSet<u32> = items.iter().flat_map(|item| &item.steps).map(|step| step.tid).collect();
    let numbers: Vec<u32> = threads.iter().copied().collect();
    let who = |step: &Step| -> String {
        if let Some(name) = named(step.tid) {
            return format!("{name}: ");
        }
        if numbers.len() < 2 {
            return String::new();
        }
        let place = numbers.iter().position(|tid| *tid == step.tid).unwrap_or_default();
        format!("thread {}: ", place + 1)
    };
    let mut number = 0;
    let total: usize = items.iter().map(|item| item.steps.len()).sum();
    for item in items {
        if number >= MOST_STEPS {
            let _ = writeln!(out, "      … and {} more steps; --json has every call", total - number);
            break;
        }
        let first = number + 1;
        for step in &item.steps {
            number += 1;
            let _ = writeln!(out, "{number:>4}. {}{step}", who(step));
        }
        if item.times > 1 {
            let _ = writeln!(out, "      steps {first} to {number} {} times in all", item.times);
        }
    }
}

/// What the steps amount to.
pub(super) fn facts(out: &mut String, patterns: &[&Pattern], naming: &Naming, compare: bool) {
    // What is only read is said of files that nothing else is said of.
    let changed: Vec<_> = patterns
        .iter()
        .filter(|pattern| pattern.update != Update::Read)
        .map(|pattern| &pattern.file)
        .collect();
    let told = |pattern: &&&Pattern| pattern.update != Update::Read || !changed.contains(&&pattern.file);
    for pattern in patterns.iter().filter(told) {
        let _ = writeln!(out, "    - {}", pattern.sentence(naming));
        let same = if compare { catalogue::strategies_that_do(pattern) } else { Vec::new() };
        if !same.is_empty() {
            let names: Vec<String> = same.iter().map(|name| format!("`{name}`")).collect();
            let _ = writeln!(out, "      as {} does (`tearproof list strategies`)", names.join(", and "));
        }
    }
}
