//! Programs that behave and programs that do not, as small scripts.

mod commands;
mod conversation;
mod hazards;
mod preparing;
mod progress_store;
mod serving;
mod starting;

use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tearproof_core::document::{Format, Shape, Stamp, TornKind};
use tearproof_core::history::Failure;
use tearproof_core::object::{Object, Operation};
use tearproof_core::scenario::{Lifetime, Program, ProgramForm};
use tearproof_core::set::verify_set;
use tearproof_core::strategy::{Client, ClientContext, Found, Held, Strategy, StrategyError, StrategyInfo};

use super::settings::Settings;
use super::worker::{START_ATTEMPTS, WorkerClient};
use super::{ChildSlot, ProgramStrategy, serve_stdio};

/// The part of a worker that is the same in most tests: `on(request)` returns the answer's fields.
const LOOP: &str = r#"
import json, os, signal, sys, time
def send(**fields):
    print(json.dumps(fields), flush=True)
def serve(on, **ready):
    for line in sys.stdin:
        request = json.loads(line)
        if request["t"] == "hello":
            send(t="ready", **dict({"proto": 1}, **ready))
        elif request["t"] == "stop":
            break
        else:
            send(**dict({"t": "ok", "id": request["id"]}, **(on(request) or {})))
"#;

/// A worker that keeps a register in the state file.
const STORE: &str = r#"
def on(request):
    path = request["path"]
    if request["op"] == "write":
        with open(path, "w") as file:
            file.write(request["value"])
    elif not os.path.exists(path):
        return {"missing": True}
    else:
        with open(path) as file:
            return {"value": file.read()}
serve(on)
"#;

/// A lock that is always free, unless there is a file `busy`; its token is its process number.
const LOCK: &str = r#"
def on(request):
    if request["op"] == "acquire":
        if os.path.exists("busy"):
            return {"t": "fail", "busy": True, "error": "held by somebody"}
        return {"token": os.getpid()}
serve(on)
"#;

struct World {
    dir: tempfile::TempDir,
    object: Object,
    timeout: Duration,
}

impl World {
    fn new(object: Object) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("state")).expect("a state directory");
        Self { dir, object, timeout: Duration::from_secs(30) }
    }

    fn register() -> Self {
        Self::new(Object::Register)
    }

    fn context(&self) -> ClientContext {
        let dir = self.dir.path().join("state");
        ClientContext {
            file: dir.join("state.json"),
            dir,
            other_dir: None,
            format: Format::Json,
            object: self.object,
            shape: Shape { format: Format::Json, size: 400, grow: 0 },
            client: 3,
            lease: Duration::from_millis(25),
            patience: Duration::from_millis(250),
        }
    }

    fn program(&self, form: ProgramForm) -> Program {
        Program {
            name: "mine".to_owned(),
            form,
            claims: Vec::new(),
            keeps: vec!["*.lock".to_owned()],
            directory: self.dir.path().to_owned(),
            timeout: self.timeout,
        }
    }

    fn python(&self, body: &str) -> Vec<String> {
        std::fs::write(self.dir.path().join("store.py"), format!("{LOOP}\n{body}")).expect("a script");
        vec!["python3".to_owned(), "store.py".to_owned()]
    }

    fn strategy(&self, command: Vec<String>, lifetime: Lifetime) -> ProgramStrategy {
        ProgramStrategy::new(&self.program(ProgramForm::Worker { command }), lifetime, self.object, 7)
    }

    fn open(&self, body: &str) -> (Box<dyn Client>, Arc<ChildSlot>) {
        self.strategy(self.python(body), Lifetime::Session)
            .open(&self.context())
            .expect("a worker that starts")
    }

    fn commands(&self, commands: &[(Operation, &[&str])]) -> (Box<dyn Client>, Arc<ChildSlot>) {
        let commands = commands
            .iter()
            .map(|(operation, words)| (*operation, words.iter().map(|&word| word.to_owned()).collect()))
            .collect();
        let program = self.program(ProgramForm::Commands { commands, fail_codes: vec![75] });
        ProgramStrategy::new(&program, Lifetime::Session, self.object, 7)
            .open(&self.context())
            .expect("a client")
    }

    fn settings(&self, command: &[String]) -> Settings {
        let program = self.program(ProgramForm::Worker { command: command.to_vec() });
        Settings::new(&program, command, &self.context(), 7).expect("settings")
    }
}

/// Whether there is a python3; says so if a test is left out for the lack of it.
fn python_is_here() -> bool {
    let here =
        Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !here {
        eprintln!("left out: there is no python3 on the PATH");
    }
    here
}

fn read(client: &mut dyn Client) -> Result<(Found, String), StrategyError> {
    let mut bytes = b"what was there before".to_vec();
    let found = client.read(&mut bytes)?;
    Ok((found, String::from_utf8(bytes).expect("text")))
}

fn exists(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

/// The failure and the message of an operation whose outcome is unknown.
fn unknown<T: std::fmt::Debug>(result: Result<T, StrategyError>) -> (Failure, String) {
    match result {
        Err(StrategyError::Unknown { failure, message }) => (failure, message),
        other => panic!("expected an unknown outcome, not {other:?}"),
    }
}

fn failed<T: std::fmt::Debug>(result: Result<T, StrategyError>) -> (Failure, String) {
    match result {
        Err(StrategyError::Failed { failure, message }) => (failure, message),
        other => panic!("expected a failure, not {other:?}"),
    }
}

#[track_caller]
fn assert_mentions(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}
