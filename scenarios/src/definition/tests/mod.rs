//! What the reader takes and what it refuses, each refusal with its report as people see it.

mod accepted;
mod clients;
mod file;
mod strategies;

use super::*;
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::time::Duration;
use tearproof_core::claim::{Guarantee, Hazard};
use tearproof_core::object::Operation;
use tearproof_core::scenario::*;
use tearproof_core::strategy::StrategyInfo;

const REGISTER: &[Object] = &[Object::Register];
const SET: &[Object] = &[Object::Register, Object::Set];
const LOCK: &[Object] = &[Object::Lock];

const fn info(name: &'static str, objects: &'static [Object]) -> StrategyInfo {
    StrategyInfo { name, algorithm: "", claims: &[], source: "", objects, broken: false, timed: false }
}

static IN_PLACE: StrategyInfo = info("in-place-truncate", SET);
static RENAME: StrategyInfo = info("temp-rename", SET);
static ATOMIC: StrategyInfo = info("write-file-atomic", SET);
static END_FILE: StrategyInfo = info("end-file", REGISTER);
static FLOCK: StrategyInfo = info("lock-flock", LOCK);
static APPEND: StrategyInfo = info("append-log", &[Object::Log]);

/// A few strategies, so that the reader is tested without the real ones.
fn known() -> Vec<&'static StrategyInfo> {
    vec![&IN_PLACE, &RENAME, &ATOMIC, &END_FILE, &FLOCK, &APPEND]
}

fn read_text(text: &str) -> Result<Scenario, DefinitionErrors> {
    parse("mine.toml", text, Path::new("/here"), &known())
}

fn accept(text: &str) -> Scenario {
    read_text(text).unwrap_or_else(|errors| panic!("{}", render(&errors)))
}

/// The report as the command line shows it, without colour.
fn render(errors: &DefinitionErrors) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut out = String::new();
    handler.render_report(&mut out, errors).expect("a report renders");
    out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The mistakes, a line each and its help below: `line:column what`.
fn told(text: &str) -> String {
    let errors = read_text(text).expect_err("the definition is wrong");
    let mut out = String::new();
    for error in errors.errors() {
        let DefinitionError { line, column, message, label, help, .. } = error;
        out += &format!("{line}:{column} {message} ({label})\n");
        out += &help.iter().map(|help| format!("    {help}\n")).collect::<String>();
    }
    out
}

/// A definition that is right, with this much of it written otherwise.
fn with(changes: &[(&str, &str)]) -> String {
    let mut text = RIGHT.to_owned();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "`{from}` is in the definition once");
        text = text.replace(from, to);
    }
    text
}

const RIGHT: &str = "\
name = 'mine'
strategies = ['temp-rename']
[state]
file = 'state.json'
object = 'register'
size = '4 KiB'
[[client]]
role = 'writer'
does = { write = 1 }
[[client]]
role = 'reader'
does = { read = 1 }
";

/// The definition that the design gives as the example, word for word.
const EXAMPLE: &str = r#"
name    = "progress"
summary = "a launcher rewrites progress.json while dashboards poll it"
source  = "field report: a launcher's progress.json and its dashboards"
strategies = ["in-place-truncate", "temp-rename", "mine"]

[state]
file   = "progress.json"     # in a directory made for each execution
format = "json"              # json | yaml | bytes
object = "register"          # register | set | log | lock
size   = "4 KiB"

[[client]]
role = "launcher"
count = 1                    # processes
threads = 1                  # threads in each
does = { write = 1 }         # operations and their weights; `acquire` = acquire, hold, release
hold = "1 ms"                # locks: time inside the critical section
lifetime = "session"         # or "operation": a fresh process each time
rate = "200/s"               # fixed rate; absent: closed loop

[[client]]
role = "dashboard"
count = 3
does = { read = 1 }
strategy = "temp-rename"

[strategy.mine]
worker = ["python3", "store.py"]
claims = ["atomic-reads@concurrency"]

[before]
state = "present"
lock  = "none"

[require]
guarantees = ["atomic-reads"]
hazards    = ["concurrency", "kill"]

[stress]
seconds = 2

[explore]
operations = 2
preemptions = 3
kills = 0
pauses = 0
executions = 1000000
"#;

const LOCK_TEXT: &str = "\
name = 'lock'
strategies = ['lock-flock']
[state]
file = 'active.lock'
object = 'lock'
[[client]]
role = 'worker'
count = 2
does = { acquire = 1 }
";
