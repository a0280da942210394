//! What an explored execution of somebody's programs costs, beside what the same programs cost alone: two workers
//! that each replace a file and one that reads it, in Python and in Node.
//!
//! The floor is the same programs, asked for the same operations by the same protocol on the same processor, one
//! after the other and without a gate; and a file that is put back. Workers that live on are asked again, others are
//! started for each execution, which is also how long a start takes behind the gate and without one.
//!
//! Ratios are taken in one run, by turns, since machines are noisy. This binary is its own client process. An
//! interpreter that is not there is not measured, and that is said.

mod replacement;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tearproof_core::object::Operation;
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{Program, ProgramForm, StateBefore};
use tearproof_core::strategy::Strategy;
use tearproof_engine::explore::{Exercise, Reduction, every_execution};
use tearproof_engine::process::{Executable, Interrupt, StateRoot, janitor_main, nest_main, nestling_main};
use tearproof_engine::stress::Surroundings;
use tearproof_engine::worker::{Strategies, worker_main};

use replacement::base;

const WORKER: &str = include_str!("../../../scenarios/adapters/worker.py");
const PYTHON: &str = r#"
import os
import sys
from worker import serve

def write(path, value):
    own = "%s.%d" % (path, os.getpid())
    file = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(file, value.encode())
    os.close(file)
    os.rename(own, path)

def read(path):
    file = os.open(path, os.O_RDONLY)
    text = os.read(file, 1 << 16)
    os.close(file)
    return text

serve(reusable=len(sys.argv) > 1, read=read, write=write)
"#;
const NODE: &str = r#"
import fs from "node:fs";
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  if (asked.t === "stop") break;
  let answer = { t: "ready", proto: 1, reusable: process.argv.length > 2 };
  if (asked.op === "write") {
    fs.writeFileSync(asked.path + "." + process.pid, asked.value);
    fs.renameSync(asked.path + "." + process.pid, asked.path);
    answer = { t: "ok", id: asked.id };
  } else if (asked.op === "read") {
    answer = { t: "ok", id: asked.id, value: fs.readFileSync(asked.path, "utf8") };
  }
  fs.writeSync(1, JSON.stringify(answer) + "\n");
}
"#;

/// The operations of one execution, a client each.
const OPERATIONS: [Operation; 3] = [Operation::Write, Operation::Write, Operation::Read];
const DOCUMENT: &str = "{\"progress\": 41, \"of\": 97, \"state\": \"running\"}\n";

struct NoBuiltIn;

impl Strategies for NoBuiltIn {
    fn built_in(&self, _: &str) -> Option<&'static dyn Strategy> {
        None
    }

    fn over_http(&self, inner: Arc<dyn Strategy>) -> Arc<dyn Strategy> {
        inner
    }
}

/// What is measured.
struct Kind {
    name: &'static str,
    command: Vec<String>,
    /// One process for all executions.
    lives_on: bool,
}

/// The kinds whose interpreters are there.
fn kinds() -> Vec<Kind> {
    let ask = |interpreter: &str, arguments: &[&str]| -> Option<String> {
        let output = Command::new(interpreter).args(arguments).output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // `python3` may be a script that looks for it.
    let python = ask("python3", &["-c", "import sys; print(sys.executable)"]);
    let node = ask("node", &["-p", "process.execPath"]);
    let mut kinds = Vec::new();
    for (language, interpreter, program) in
        [("python", &python, &["-S", "store.py"][..]), ("node", &node, &["store.mjs"][..])]
    {
        let Some(interpreter) = interpreter else {
            println!("not measured: {language} is not there");
            continue;
        };
        let command: Vec<String> =
            std::iter::once(interpreter.as_str()).chain(program.iter().copied()).map(str::to_owned).collect();
        let reused = [&command[..], &["reused".to_owned()]].concat();
        let [living, fresh] = match language {
            "python" => ["python, lives on", "python, started"],
            _ => ["node, lives on", "node, started"],
        };
        kinds.push(Kind { name: living, command: reused, lives_on: true });
        kinds.push(Kind { name: fresh, command, lives_on: false });
    }
    kinds
}

fn plan(kind: &Kind, directory: &Path) -> Plan {
    let program = Program {
        name: "program".to_owned(),
        form: ProgramForm::Worker { command: kind.command.clone() },
        claims: Vec::new(),
        keeps: Vec::new(),
        directory: directory.to_owned(),
        timeout: Duration::from_secs(10),
    };
    replacement::plan(&program.name.clone(), vec![program], StateBefore::Text(DOCUMENT.to_owned()))
}

/// How long an execution takes, in microseconds, once the processes stand ready: every schedule in turn.
fn explored(kind: &Kind, directory: &Path, executions: u64) -> f64 {
    let plan = plan(kind, directory);
    let executable = Executable::current().expect("this program");
    let root = StateRoot::create(&plan.base, &executable).expect("a state directory");
    let (mut first, mut last, mut seen) = (None, Instant::now(), 0);
    let mut surroundings = Surroundings {
        executable: &executable,
        strategies: &NoBuiltIn,
        check: &|_| Ok(Vec::new()),
        observe: &mut |_, _| {},
        interrupt: &Interrupt::default(),
        stop_at_violation: false,
    };
    let exercise = Exercise {
        reduction: Reduction::None,
        fresh: false,
        reuse: kind.lives_on,
        kills_everywhere: false,
        plays_known_parts: true,
        recounts: false,
        most: executions + 1,
    };
    every_execution(&plan, &root, &mut surroundings, exercise, |_| {
        last = Instant::now();
        first.get_or_insert(last);
        seen += 1;
    })
    .expect("executions");
    assert!(seen > 1, "more than one execution of {}", kind.name);
    (last - first.expect("one")).as_secs_f64() * 1e6 / (seen - 1) as f64
}

/// A program that is asked without a gate.
struct Worker {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(kind: &Kind, directory: &Path) -> Self {
        let mut command = Command::new(&kind.command[0]);
        command.args(&kind.command[1..]).current_dir(directory);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("an interpreter");
        let requests = child.stdin.take().expect("its input");
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        let mut worker = Self { child, requests, answers };
        let ready = worker.ask("{\"t\":\"hello\",\"proto\":1,\"client\":1,\"seed\":1}");
        assert!(ready.contains("ready"), "{ready}");
        worker
    }

    fn ask(&mut self, request: &str) -> String {
        self.requests.write_all(format!("{request}\n").as_bytes()).expect("a worker that reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("a worker that answers");
        answer
    }

    fn perform(&mut self, operation: Operation, state: &Path) {
        let path = state.display();
        let value = if operation == Operation::Write { ",\"value\":\"0123456789\"" } else { "" };
        let request = format!("{{\"t\":\"op\",\"id\":1,\"op\":\"{operation}\",\"path\":\"{path}\"{value}}}");
        let answer = self.ask(&request);
        assert!(answer.contains("ok"), "{answer}");
    }

    fn stop(mut self) {
        self.requests.write_all(b"{\"t\":\"stop\"}\n").expect("a worker that reads");
        drop(self.requests);
        assert!(self.child.wait().expect("its end").success());
    }
}

/// The same operations of the same programs, in microseconds.
fn bare(kind: &Kind, directory: &Path, executions: u64) -> f64 {
    let state = base().join(format!(".tearproof-bench-{}", std::process::id()));
    let start = || OPERATIONS.map(|_| Worker::start(kind, directory));
    let mut living = kind.lives_on.then(start);
    let begun = Instant::now();
    for _ in 0..executions {
        std::fs::write(&state, DOCUMENT).expect("a state");
        let mut born = if kind.lives_on { None } else { Some(start()) };
        let workers = living.as_mut().or(born.as_mut()).expect("workers");
        for (worker, operation) in workers.iter_mut().zip(OPERATIONS) {
            worker.perform(operation, &state);
        }
        born.into_iter().flatten().for_each(Worker::stop);
    }
    let taken = begun.elapsed();
    living.into_iter().flatten().for_each(Worker::stop);
    std::fs::remove_file(&state).expect("the state");
    taken.as_secs_f64() * 1e6 / executions as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Has this process and what it starts run on one processor, as the engine has its clients do.
fn pin() {
    let mut allowed = rustix::thread::sched_getaffinity(None).expect("a set of processors");
    let last = (0..rustix::thread::CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu));
    allowed.clear();
    allowed.set(last.expect("a processor"));
    rustix::thread::sched_setaffinity(None, &allowed).expect("one of ours");
}

/// A directory with the programs.
fn programs() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix(".tearproof-").tempdir().expect("a directory");
    for (name, text) in [("worker.py", WORKER), ("store.py", PYTHON), ("store.mjs", NODE)] {
        std::fs::write(directory.path().join(name), text).expect("a program");
    }
    directory
}

fn compare(rounds: usize, executions: u64) {
    let directory = programs();
    pin();
    println!(
        "{} programs, one operation each; medians of {rounds} rounds by turns.\n{:<18} {:>12} {:>14} {:>12} {:>10}",
        OPERATIONS.len(),
        "",
        "explored µs",
        "executions/s",
        "bare µs",
        "ratio"
    );
    for kind in kinds() {
        let executions = if kind.lives_on { executions } else { executions / 40 + 1 };
        let (mut times, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let time = explored(&kind, directory.path(), executions);
            let floor = bare(&kind, directory.path(), executions);
            times.push(time);
            floors.push(floor);
            ratios.push(time / floor);
        }
        let (time, floor, ratio) = (median(times), median(floors), median(ratios));
        println!("{:<18} {time:>12.0} {:>14.0} {floor:>12.0} {ratio:>10.2}", kind.name, 1e6 / time);
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    let mut next = || arguments.next().expect("an argument of a role");
    match first.as_deref() {
        Some("worker") => {
            let (index, parent) = (next().parse().expect("a number"), next().parse().expect("a number"));
            return worker_main(index, parent, &NoBuiltIn);
        }
        Some("janitor") => janitor_main(),
        Some("nest") => return nest_main(next().parse().expect("a number")),
        Some("nestling") => return nestling_main(),
        // One of them alone, for profilers: `alone "python, lives on" 2000`.
        Some("alone") => {
            let (name, executions) = (next(), next().parse().expect("a number"));
            let directory = programs();
            pin();
            let kind = kinds().into_iter().find(|kind| kind.name == name).expect("one of those in the table");
            println!("{:.1} µs an execution", explored(&kind, directory.path(), executions));
        }
        _ if std::env::args().any(|argument| argument == "--test") => compare(1, 40),
        _ => compare(5, 400),
    }
    ExitCode::SUCCESS
}
