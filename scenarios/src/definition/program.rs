//! `[strategy.NAME]`: strategies that are programs of the user's own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use tearproof_core::claim::{Claim, Guarantee, Hazard};
use tearproof_core::object::Operation;
use tearproof_core::scenario::{Program, ProgramForm};

use super::diagnostic::{Mistake, Report};
use super::nearest::nearest;
use super::table::{At, Section, check_kebab, pick};

/// The keys of the table.
pub(super) const KEYS: &[&str] = &[
    "worker",
    "read",
    "write",
    "update",
    "append",
    "acquire",
    "release",
    "fail_codes",
    "claims",
    "keeps",
    "timeout",
];

/// The operations that have a command.
const COMMANDS: [Operation; 6] = [
    Operation::Read,
    Operation::Write,
    Operation::Update,
    Operation::Append,
    Operation::Acquire,
    Operation::Release,
];

/// How long an operation may take when the definition does not say. A program that starts an
/// interpreter for each operation, on a busy machine, is well within it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A program and the places that later checks point at.
pub(super) struct OwnStrategy {
    /// The program, with defaults in place of what is wrong.
    pub program: Program,
    /// Where its table begins.
    pub span: Range<usize>,
    /// Where its name stands.
    pub name: Range<usize>,
    /// Whether the form is known: a worker or commands, and not both.
    pub sound: bool,
}

/// Reads all tables under `[strategy]`.
pub(super) fn read(section: &Section<'_>, directory: &Path, report: &Report<'_>) -> Vec<OwnStrategy> {
    let example = "[strategy.my-store]";
    let Some((strategies, names)) = section.entries("strategy", example) else { return Vec::new() };
    names
        .into_iter()
        .filter_map(|name| {
            check_kebab(report, &name, "the name of a strategy");
            let title = format!("[strategy.{}]", name.value);
            let table = strategies.table(name.value, &title, KEYS)?;
            Some(program(&table, &name, directory, report))
        })
        .collect()
}

fn program(section: &Section<'_>, name: &At<&str>, directory: &Path, report: &Report<'_>) -> OwnStrategy {
    let worker = command(section, "worker", report);
    let mut commands = Vec::new();
    let mut given = Vec::new();
    for operation in COMMANDS {
        let key = operation.name();
        if section.has(key) {
            given.push(key);
        }
        commands.extend(command(section, key, report).map(|command| (operation, command)));
    }
    let fail_codes = section.exit_codes("fail_codes");
    let (has_worker, has_commands) = (section.has("worker"), !given.is_empty());
    if has_worker && has_commands {
        let message = format!("`{}` has both a worker and commands", name.value);
        report.add(
            Mistake::at(section.place(given[0]), message)
                .label("a command for one operation")
                .other(section.place("worker"), "a worker for all of them")
                .help("keep one of the two; to compare them, make two strategies"),
        );
    } else if !has_worker && !has_commands {
        let message = format!("`{}` has neither a worker nor commands", name.value);
        report.add(
            Mistake::at(section.span.clone(), message).label("nothing to run").help(
                "add `worker = [\"python3\", \"store.py\"]`, or a command for each operation: `write = [\"mytool\", \"set\", \"{path}\", \"{value}\"]`",
            ),
        );
    } else if let (true, Some(codes)) = (has_worker, &fail_codes) {
        report.add(
            Mistake::at(codes.span.clone(), "`fail_codes` belongs to commands, and this is a worker")
                .label("a worker does not exit")
                .help("leave it out: a worker answers `{\"t\":\"fail\", …}`"),
        );
    }
    let form = match worker {
        Some(command) => ProgramForm::Worker { command },
        None => ProgramForm::Commands { commands, fail_codes: fail_codes.map_or(Vec::new(), |at| at.value) },
    };
    OwnStrategy {
        program: Program {
            name: name.value.to_owned(),
            form,
            claims: claims(section, report),
            keeps: keeps(section, report),
            directory: directory.to_owned(),
            timeout: section.duration("timeout", false).map_or(TIMEOUT, |at| at.value),
        },
        span: section.span.clone(),
        name: name.span.clone(),
        sound: has_worker != has_commands,
    }
}

/// A program and its arguments.
fn command(section: &Section<'_>, key: &str, report: &Report<'_>) -> Option<Vec<String>> {
    let example = if key == "worker" {
        "worker = [\"python3\", \"store.py\"]".to_owned()
    } else {
        format!("{key} = [\"mytool\", \"{key}\", \"{{path}}\"]")
    };
    let words = section.texts(key, &example)?;
    if words.value.first().is_none_or(|program| program.value.trim().is_empty()) {
        let message = format!("the command of `{key}` names no program");
        report.add(
            Mistake::at(words.span, message)
                .label("nothing to run")
                .help(format!("write for example `{example}`")),
        );
    } else if let Some(word) = words.value.iter().find(|word| word.value.contains('\0')) {
        let message = "an argument cannot contain a zero byte";
        report.add(Mistake::at(word.span.clone(), message).help("pass such data in a file"));
    }
    for word in &words.value {
        check_placeholder(key, word, report);
    }
    Some(words.value.iter().map(|word| word.value.to_owned()).collect())
}

/// The placeholders that an operation's command can hold, as the engine puts them in.
fn placeholders(key: &str) -> Vec<&'static str> {
    let own: &[&str] = match key {
        "write" => &["value", "value_file"],
        "update" => &["element"],
        "append" => &["record"],
        _ => &[],
    };
    [&["path", "dir", "client", "timeout_ms"], own].concat()
}

/// Reports an argument that is one placeholder, and not one that this command is given. Braces
/// within a longer argument are left alone: scripts are full of them.
fn check_placeholder(key: &str, word: &At<&str>, report: &Report<'_>) {
    let Some(name) = word.value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else { return };
    let here = if key == "worker" { Vec::new() } else { placeholders(key) };
    let anywhere = COMMANDS.iter().flat_map(|operation| placeholders(operation.name()));
    let Some(meant) = nearest(name, anywhere) else { return };
    if here.contains(&name) {
        return;
    }
    let help = if key == "worker" {
        "a worker is told everything in its requests".to_owned()
    } else {
        match nearest(name, here.iter().copied()) {
            Some(near) => format!("did you mean `{{{near}}}`?"),
            None => {
                let names: Vec<String> = here.iter().map(|name| format!("`{{{name}}}`")).collect();
                format!("it can hold {}", names.join(", "))
            }
        }
    };
    let message = if name == meant {
        format!("the command of `{key}` is not given `{{{name}}}`")
    } else {
        format!("unknown placeholder `{{{name}}}`")
    };
    report.add(Mistake::at(word.span.clone(), message).label("would stay as it is").help(help));
}

fn claims(section: &Section<'_>, report: &Report<'_>) -> Vec<Claim> {
    let example = "claims = [\"atomic-reads@concurrency\"]";
    let guarantees: Vec<(&str, Guarantee)> =
        Guarantee::ALL.iter().map(|&value| (value.name(), value)).collect();
    let hazards: Vec<(&str, Hazard)> = Hazard::ALL.iter().map(|&value| (value.name(), value)).collect();
    let mut first: BTreeMap<Claim, Range<usize>> = BTreeMap::new();
    for text in section.texts("claims", example).map_or(Vec::new(), |at| at.value) {
        let Some((guarantee, hazard)) = text.value.split_once('@') else {
            let message = format!("`{}` is no claim", text.value);
            report.add(
                Mistake::at(text.span, message)
                    .label("not `guarantee@hazard`")
                    .help("write what is promised and against what: `atomic-reads@concurrency`"),
            );
            continue;
        };
        let half = |value| At::new(value, text.span.clone());
        let guarantee = pick(report, &half(guarantee), "guarantee", &guarantees);
        let hazard = pick(report, &half(hazard), "hazard", &hazards);
        let (Some(guarantee), Some(hazard)) = (guarantee, hazard) else { continue };
        let claim = Claim::new(guarantee, hazard);
        match first.get(&claim) {
            Some(earlier) => report.add(
                Mistake::at(text.span, format!("`{claim}` is claimed twice"))
                    .label("again")
                    .other(earlier.clone(), "first")
                    .help("once is enough"),
            ),
            None => {
                first.insert(claim, text.span);
            }
        }
    }
    first.into_keys().collect()
}

fn keeps(section: &Section<'_>, report: &Report<'_>) -> Vec<String> {
    let names = section.texts("keeps", "keeps = [\"*.lock\"]").map_or(Vec::new(), |at| at.value);
    for name in names.iter().filter(|name| name.value.is_empty() || name.value.contains('/')) {
        let wrong = if name.value.is_empty() { "is empty" } else { "contains a slash" };
        report.add(
            Mistake::at(name.span.clone(), format!("a name of a kept file {wrong}"))
                .help("write names in the state directory, with `*` for anything: `*.lock`"),
        );
    }
    names.iter().map(|name| name.value.to_owned()).collect()
}
