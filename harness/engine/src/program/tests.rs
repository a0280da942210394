//! Programs that behave and programs that do not, as small scripts.

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

#[test]
fn a_worker_reads_writes_and_finds_nothing_where_nothing_is() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, slot) = world.open(STORE);
    assert_eq!(read(&mut *client).unwrap(), (Found::Absent, String::new()));
    let mut document = Vec::new();
    world.context().shape.render(Stamp::new(3, 1), &mut document);
    client.write(&document).unwrap();
    let mut back = Vec::new();
    assert_eq!(client.read(&mut back).unwrap(), Found::Present);
    assert_eq!(back, document);
    assert!(matches!(client.update("e-3-1"), Err(StrategyError::Unsupported(Operation::Update))));
    let pid = slot.pid().expect("a process");
    drop(client);
    assert!(!exists(pid), "the worker outlived its client");
}

#[test]
fn a_value_larger_than_a_pipe_passes_both_ways() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open(STORE);
    let document = "0123456789abcde\n".repeat(200_000);
    client.write(document.as_bytes()).unwrap();
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, document));
}

#[test]
fn bytes_that_are_no_text_travel_as_base64() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open(
        r#"
kept = None
def on(request):
    global kept
    if request["op"] == "write":
        kept = request["value_base64"]
    else:
        return {"value_base64": kept}
serve(on)
"#,
    );
    let bytes: Vec<u8> = (0..=255).collect();
    client.write(&bytes).unwrap();
    let mut back = Vec::new();
    assert_eq!(client.read(&mut back).unwrap(), Found::Present);
    assert_eq!(back, bytes);
}

#[test]
fn elements_become_a_counted_document_and_foreign_ones_are_evidence() {
    if !python_is_here() {
        return;
    }
    let world = World::new(Object::Set);
    let (mut client, _slot) = world.open(
        r#"
kept = []
def on(request):
    if request["op"] == "update":
        kept.append(request["element"])
    else:
        return {"elements": kept}
serve(on, ops=["read", "update", "something-new"])
"#,
    );
    let mut bytes = Vec::new();
    client.read(&mut bytes).unwrap();
    assert_eq!(verify_set(Format::Json, &bytes, true), Ok(vec![]));
    client.update("e-3-1").unwrap();
    client.update("e-3-2").unwrap();
    client.read(&mut bytes).unwrap();
    assert_eq!(verify_set(Format::Json, &bytes, true), Ok(vec![Stamp::new(3, 1), Stamp::new(3, 2)]));
    client.update("\"quoted").unwrap();
    match client.read(&mut bytes) {
        Err(StrategyError::Torn { kind: TornKind::Foreign, message }) => {
            assert_mentions(&message, &["\"quoted"])
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn refusals_keep_their_meaning() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open(
        r#"
answers = iter([
    {"t": "fail", "error": "disk full"},
    {"t": "fail", "error": "gave up", "failure": "retries-exhausted"},
    {"t": "info", "error": "who knows"},
    {"t": "skip", "reason": "not here"},
    {"t": "fail", "error": "Expecting value: line 1 column 1 (char 0)", "torn": "empty"},
])
serve(lambda request: next(answers))
"#,
    );
    assert_eq!(failed(client.write(b"x")), (Failure::Error, "disk full".to_owned()));
    assert_eq!(failed(client.write(b"x")), (Failure::RetriesExhausted, "gave up".to_owned()));
    assert_eq!(unknown(client.write(b"x")), (Failure::Error, "who knows".to_owned()));
    assert!(matches!(client.write(b"x"), Err(StrategyError::Unsupported(Operation::Write))));
    match read(&mut *client) {
        Err(StrategyError::Torn { kind: TornKind::Empty, message }) => {
            assert_eq!(message, "Expecting value: line 1 column 1 (char 0)");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_operation_that_a_worker_did_not_announce_is_not_asked_for() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open(r#"serve(lambda request: sys.exit("asked"), ops=["read"])"#);
    assert!(matches!(client.write(b"x"), Err(StrategyError::Unsupported(Operation::Write))));
}

#[test]
fn answers_that_are_none_leave_the_outcome_unknown_and_a_fresh_worker_follows() {
    if !python_is_here() {
        return;
    }
    let cases: [(&str, &[&str]); 8] = [
        (r#"print("hello world", flush=True)"#, &["hello world", "no answer", "standard error"]),
        (r#"send(t="ok", id=request["id"] + 1)"#, &["answered request 1 with \"id\":2"]),
        (r#"send(t="ok")"#, &["without an \"id\""]),
        (r#"send(t="ready", id=request["id"], proto=1)"#, &["`ready` where a result was due"]),
        (r#"sys.exit("on purpose")"#, &["exited with status 1", "in the middle of write", "on purpose"]),
        (r#"print("par", end="", flush=True); os.kill(os.getpid(), 9)"#, &["signal 9 (SIGKILL)", "`par`"]),
        (r#"os.close(1); os.close(0); time.sleep(600)"#, &["closed its standard output"]),
        (r#"os.write(1, b"x" * 3000); time.sleep(600)"#, &["more than 2000 bytes"]),
    ];
    for (misbehaviour, expected) in cases {
        let world = World::register();
        let command = world.python(&format!(
            r#"
def on(request):
    if not os.path.exists("misbehaved"):
        open("misbehaved", "w").close()
        {misbehaviour}
        time.sleep(600)
serve(on)
"#
        ));
        let slot = Arc::new(ChildSlot::default());
        let settings = Settings { line_limit: 2000, ..world.settings(&command) };
        let mut client =
            WorkerClient::open(settings, &command, Lifetime::Session, Arc::clone(&slot)).unwrap();
        let first = slot.pid().expect("a process");
        let (_, message) = unknown(client.write(b"x"));
        assert_mentions(&message, expected);
        assert_mentions(&message, &["`mine` (python3 store.py)"]);
        assert!(!exists(first), "the worker was not reaped: {message}");
        client.write(b"x").expect("a fresh worker behaves");
        assert_ne!(slot.pid(), Some(first));
    }
}

#[test]
fn a_read_without_content_is_no_answer() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open("serve(lambda request: {})");
    let (failure, message) = unknown(read(&mut *client));
    assert_eq!(failure, Failure::Error);
    assert_mentions(&message, &["\"missing\":true"]);
}

#[test]
fn silence_ends_in_the_time_out() {
    if !python_is_here() {
        return;
    }
    let mut world = World::register();
    world.timeout = Duration::from_millis(100);
    let (mut client, slot) = world.open(r#"serve(lambda request: time.sleep(600))"#);
    let pid = slot.pid().expect("a process");
    let (failure, message) = unknown(client.write(b"x"));
    assert_eq!(failure, Failure::TimedOut);
    assert_mentions(&message, &["within 100 ms", "flushed"]);
    assert!(!exists(pid));
}

#[test]
fn what_was_printed_without_being_asked_fails_the_next_operation_only() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open(
        r#"
def on(request):
    if not os.path.exists("misbehaved"):
        open("misbehaved", "w").close()
        os.write(1, b'{"t":"ok","id":1}\ndebug\n')
        time.sleep(600)
serve(on)
"#,
    );
    client.write(b"x").unwrap();
    let (_, message) = failed(client.write(b"x"));
    assert_mentions(&message, &["debug", "without being asked"]);
    client.write(b"x").unwrap();
}

#[test]
fn a_worker_that_died_between_operations_is_replaced_unnoticed() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, slot) = world.open(STORE);
    let first = slot.pid().expect("a process");
    client.write(b"x").unwrap();
    assert!(slot.kill());
    while slot.is_alive() {
        std::thread::yield_now();
    }
    client.write(b"y").unwrap();
    assert_ne!(slot.pid(), Some(first));
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, "y".to_owned()));
}

#[test]
fn a_kill_in_the_middle_of_an_operation_hits_the_program_and_not_us() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    // The shell stands for wrappers: its child is hit as well.
    let mut command = vec!["sh".to_owned(), "-c".to_owned(), "python3 store.py; true".to_owned()];
    world.python(
        r#"
def on(request):
    if not os.path.exists("begun"):
        with open("begun.tmp", "w") as file:
            file.write(str(os.getpid()))
        os.rename("begun.tmp", "begun")
        time.sleep(600)
serve(on)
"#,
    );
    let (mut client, slot) =
        world.strategy(std::mem::take(&mut command), Lifetime::Session).open(&world.context()).unwrap();
    let begun = world.dir.path().join("begun");
    let killer = {
        let slot = Arc::clone(&slot);
        let begun = begun.clone();
        std::thread::spawn(move || {
            while !begun.exists() {
                std::thread::yield_now();
            }
            slot.kill()
        })
    };
    let (failure, message) = unknown(client.write(b"x"));
    assert!(killer.join().unwrap());
    assert_eq!(failure, Failure::Killed);
    assert_mentions(&message, &["killed by signal 9 (SIGKILL) by the harness", "in the middle of write"]);
    let grandchild: u32 = std::fs::read_to_string(begun).unwrap().parse().unwrap();
    // It was reparented; whoever inherits it reaps it in their own time.
    let gone = Instant::now() + Duration::from_secs(20);
    let dead = || {
        std::fs::read_to_string(format!("/proc/{grandchild}/stat")).map_or(true, |stat| stat.contains(") Z "))
    };
    while !dead() && Instant::now() < gone {
        std::thread::yield_now();
    }
    assert!(dead(), "the grandchild outlived the kill");
    client.write(b"x").expect("the next operation has a fresh process");
}

#[test]
fn a_pause_does_not_count_against_the_time_out() {
    if !python_is_here() {
        return;
    }
    let mut world = World::register();
    world.timeout = Duration::from_millis(300);
    let (mut client, slot) = world.open("serve(lambda request: None)");
    assert!(slot.pause());
    let (sender, resumed) = mpsc::channel();
    let waker = {
        let slot = Arc::clone(&slot);
        std::thread::spawn(move || {
            let () = resumed.recv().unwrap();
            // Longer than the time-out: the operation must still be waiting.
            std::thread::sleep(Duration::from_millis(500));
            slot.resume()
        })
    };
    sender.send(()).unwrap();
    client.write(b"x").expect("the pause is not the program's fault");
    assert!(waker.join().unwrap());
}

#[test]
fn a_program_that_cannot_start_is_named_and_given_up_soon() {
    let world = World::register();
    let missing = vec!["no-such-program-anywhere".to_owned()];
    let context = world.context();
    let (_, message) = failed(world.strategy(missing, Lifetime::Session).open(&context).map(drop));
    assert_mentions(&message, &["no-such-program-anywhere", "PATH", "os error 2"]);

    let count = world.dir.path().join("count");
    let dying = ["sh", "-c", "echo x >> count; echo broken config >&2; exit 3"].map(str::to_owned).to_vec();
    let (mut client, slot) = world.strategy(dying, Lifetime::Operation).open(&context).unwrap();
    for _ in 0..START_ATTEMPTS + 5 {
        let (_, message) = failed(client.write(b"x"));
        assert_mentions(&message, &["did not become ready", "exited with status 3", "stderr: broken config"]);
    }
    assert_mentions(slot.defunct().expect("given up"), &["given up after 3 attempts"]);
    let started = std::fs::read_to_string(count).unwrap().lines().count();
    assert_eq!(started, START_ATTEMPTS as usize);
}

#[test]
fn greetings_that_are_none_are_refused() {
    let cases = [
        (r#"echo '{"t":"ready","proto":2}'; sleep 600"#, "speaks protocol 2, this harness speaks 1"),
        (r#"echo '{"t":"ready"}'; sleep 600"#, "lacks \"proto\":1"),
        (r#"echo 'Welcome to store 1.0'; sleep 600"#, "`Welcome to store 1.0`, which is no greeting"),
        (r#"echo '{"t":"ok","id":0}'; sleep 600"#, "where {\"t\":\"ready\",…} was due"),
        (r#"printf Wel; sleep 600"#, "no complete line within 100 ms"),
        (r#"exec sleep 600"#, "no complete line within 100 ms"),
    ];
    for (script, expected) in cases {
        let world = World::register();
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        // A short limit serves those that are silent; those that speak must get the time to.
        let start_timeout = Duration::from_millis(if expected.contains("100 ms") { 100 } else { 30_000 });
        let settings = Settings { start_timeout, ..world.settings(&command) };
        let slot = Arc::new(ChildSlot::default());
        let (_, message) =
            failed(WorkerClient::open(settings, &command, Lifetime::Session, Arc::clone(&slot)).map(drop));
        assert_mentions(&message, &[expected, "`mine`"]);
        assert_eq!(slot.pid(), None);
    }
}

#[test]
fn a_worker_for_each_operation_is_a_fresh_process_that_has_ended_afterwards() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let command = world.python(r#"serve(lambda request: {"value": str(os.getpid())})"#);
    let (mut client, slot) = world.strategy(command, Lifetime::Operation).open(&world.context()).unwrap();
    assert_eq!(slot.pid(), None);
    let pids: Vec<u32> = (0..3).map(|_| read(&mut *client).unwrap().1.parse().unwrap()).collect();
    assert!(pids[0] != pids[1] && pids[1] != pids[2]);
    assert!(pids.iter().all(|&pid| !exists(pid)));
    assert_eq!(slot.pid(), None);
}

const LOCK: &str = r#"
def on(request):
    if request["op"] == "acquire":
        if os.path.exists("busy"):
            return {"t": "fail", "busy": True, "error": "held by somebody"}
        return {"token": os.getpid()}
serve(on)
"#;

#[test]
fn a_critical_section_has_one_process() {
    if !python_is_here() {
        return;
    }
    let world = World::new(Object::Lock);
    let command = world.python(LOCK);
    let (mut client, slot) = world.strategy(command, Lifetime::Operation).open(&world.context()).unwrap();
    let patience = Duration::from_millis(10);
    let Held { still, token } = client.acquire(patience).unwrap();
    assert!(still);
    assert_eq!(token, slot.pid().map(u64::from));
    let holder = slot.pid().expect("the holder lives in its section");
    client.release().unwrap();
    assert_eq!(slot.pid(), None);
    assert!(!exists(holder));
    std::fs::write(world.dir.path().join("busy"), "").unwrap();
    assert_eq!(failed(client.acquire(patience)), (Failure::Busy, "held by somebody".to_owned()));
    assert_eq!(slot.pid(), None);
}

#[test]
fn a_holder_that_was_killed_is_not_replaced_to_release() {
    if !python_is_here() {
        return;
    }
    let world = World::new(Object::Lock);
    let (mut client, slot) = world.open(LOCK);
    client.acquire(Duration::from_millis(10)).unwrap();
    assert!(slot.kill());
    while slot.is_alive() {
        std::thread::yield_now();
    }
    let (failure, message) = unknown(client.release());
    assert_eq!(failure, Failure::Killed);
    assert_mentions(&message, &["the process that held the lock is gone"]);
    client.acquire(Duration::from_millis(10)).expect("a fresh process");
    client.release().unwrap();
}

#[test]
fn exit_codes_say_what_became_of_an_operation() {
    let world = World::register();
    let cases = [("exit 75", false), ("echo no space >&2; exit 1", true), ("kill -9 $$", true)];
    for (script, is_unknown) in cases {
        let (mut client, slot) = world.commands(&[(Operation::Write, &["sh", "-c", script])]);
        let result = client.write(b"x");
        assert_eq!(slot.pid(), None);
        if is_unknown {
            let (failure, message) = unknown(result);
            if script.starts_with("kill") {
                assert_eq!(failure, Failure::Killed);
                assert_mentions(&message, &["SIGKILL"]);
            } else {
                assert_mentions(&message, &["exited with status 1", "stderr: no space"]);
            }
        } else {
            assert_mentions(&failed(result).1, &["exited with status 75"]);
        }
    }
}

#[test]
fn commands_get_what_their_placeholders_say_and_print_the_value() {
    let world = World::register();
    let (mut client, _slot) = world.commands(&[
        (
            Operation::Write,
            &["sh", "-c", "mv \"$1\" \"$2\"; test \"$3\" = 3", "sh", "{value_file}", "{path}", "{client}"],
        ),
        (Operation::Read, &["cat", "{dir}/state.json"]),
    ]);
    let (failure, _) = unknown(read(&mut *client));
    assert_eq!(failure, Failure::Error);
    let document = "x".repeat(300_000);
    client.write(document.as_bytes()).unwrap();
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, document));

    let (mut client, _slot) = world.commands(&[(
        Operation::Write,
        &["sh", "-c", "printf %s \"$1\" > \"$2\"", "sh", "{value}", "{path}"],
    )]);
    client.write(b"short").unwrap();
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, "short".to_owned()), "read plainly");
    std::fs::remove_file(world.context().file).unwrap();
    assert_eq!(read(&mut *client).unwrap().0, Found::Absent);
    assert_mentions(&failed(client.write(&[b'x'; 200_000])).1, &["{value_file}"]);
}

#[test]
fn an_opaque_set_is_printed_one_element_a_line() {
    let world = World::new(Object::Set);
    let commands = vec![
        (
            Operation::Update,
            ["sh", "-c", "echo \"$1\" >> \"$2\"", "sh", "{element}", "{path}"].map(str::to_owned).to_vec(),
        ),
        (Operation::Read, ["cat", "{path}"].map(str::to_owned).to_vec()),
    ];
    let program = world.program(ProgramForm::Commands { commands, fail_codes: Vec::new() });
    let strategy = ProgramStrategy::new(&program, Lifetime::Operation, Object::Set, 7).opaque(true);
    let (mut client, _slot) = strategy.open(&world.context()).unwrap();
    client.update("e-3-1").unwrap();
    client.update("e-3-2").unwrap();
    let mut bytes = Vec::new();
    client.read(&mut bytes).unwrap();
    assert_eq!(verify_set(Format::Json, &bytes, true), Ok(vec![Stamp::new(3, 1), Stamp::new(3, 2)]));
}

#[test]
fn a_lock_of_commands_is_busy_where_its_code_says_so() {
    let world = World::new(Object::Lock);
    let (mut client, _slot) = world.commands(&[
        (Operation::Acquire, &["sh", "-c", "mkdir \"$1\" || exit 75", "sh", "{path}"]),
        (Operation::Release, &["rmdir", "{path}"]),
    ]);
    let patience = Duration::from_millis(10);
    client.acquire(patience).unwrap();
    assert_eq!(failed(client.acquire(patience)).0, Failure::Busy);
    client.release().unwrap();
    client.acquire(patience).unwrap();
}

#[test]
fn a_command_that_hangs_is_killed_with_its_descendants() {
    let mut world = World::register();
    world.timeout = Duration::from_millis(100);
    let (mut client, slot) = world.commands(&[(Operation::Write, &["sh", "-c", "sleep 600 & wait"])]);
    assert_eq!(unknown(client.write(b"x")).0, Failure::TimedOut);
    assert_eq!(slot.pid(), None);
    // A background process that keeps the pipe open does not keep the operation open.
    let (mut client, _slot) = world.commands(&[(Operation::Write, &["sh", "-c", "sleep 600 & exit 0"])]);
    client.write(b"x").unwrap();
}

#[test]
fn a_command_that_is_not_there_is_given_up() {
    let world = World::register();
    std::fs::write(world.dir.path().join("plain"), "").unwrap();
    std::fs::set_permissions(world.dir.path().join("plain"), PermissionsExt::from_mode(0o644)).unwrap();
    let (mut client, slot) = world.commands(&[(Operation::Write, &["./plain"])]);
    assert_mentions(&failed(client.write(b"x")).1, &["./plain", "executable?"]);
    for _ in 1..START_ATTEMPTS {
        assert!(slot.defunct().is_none());
        failed(client.write(b"x"));
    }
    assert!(slot.defunct().is_some());
}

/// Keeps everything in memory, one execution long.
struct InMemory;

static IN_MEMORY: StrategyInfo = StrategyInfo {
    name: "in-memory",
    algorithm: "a test's own",
    claims: &[],
    source: "this test",
    objects: Object::ALL,
    broken: false,
    timed: false,
};

impl Strategy for InMemory {
    fn info(&self) -> &'static StrategyInfo {
        &IN_MEMORY
    }

    fn prepare(&self, _: &ClientContext, _: Option<&[u8]>) -> Result<(), StrategyError> {
        Ok(())
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        Ok(Box::new(Memory { kept: None, number: context.client, reads: 0 }))
    }
}

struct Memory {
    kept: Option<Vec<u8>>,
    number: u32,
    reads: u32,
}

impl Client for Memory {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        self.reads += 1;
        if self.reads == 4 {
            return Err(StrategyError::Torn { kind: TornKind::Mixed, message: "two halves".to_owned() });
        }
        into.clear();
        Ok(match &self.kept {
            Some(kept) => {
                into.extend_from_slice(kept);
                Found::Present
            }
            None => Found::Absent,
        })
    }

    fn write(&mut self, document: &[u8]) -> Result<(), StrategyError> {
        if document == b"number" {
            return Err(StrategyError::retries_exhausted(format!("I am {}", self.number)));
        }
        if document == b"unknown" {
            return Err(StrategyError::unknown("perhaps"));
        }
        self.kept = Some(document.to_vec());
        Ok(())
    }

    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        if patience.is_zero() {
            Err(StrategyError::busy("taken"))
        } else {
            Ok(Held { still: false, token: Some(9) })
        }
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        Ok(())
    }

    fn append(&mut self, record: &[u8]) -> Result<(), StrategyError> {
        self.kept.get_or_insert_default().extend_from_slice(record);
        Ok(())
    }
}

/// The test binary runs this test as a worker, see [`served`]. On its own it has nothing to do.
#[test]
fn serving() {
    let Some(object) = std::env::var_os("TEARPROOF_TEST_SERVES") else { return };
    let object: Object = object.to_str().and_then(|name| name.parse().ok()).expect("an object");
    // The test harness has printed to standard output already, so the protocol uses copies.
    let context = World::new(object).context();
    let input = std::fs::File::open("/dev/fd/8").expect("input");
    let output = std::fs::OpenOptions::new().write(true).open("/dev/fd/9").expect("output");
    serve_stdio(&InMemory, context, BufReader::new(input), output).expect("served");
}

/// A client of a worker that serves [`InMemory`] in a process of its own.
fn served(world: &World) -> (Box<dyn Client>, Arc<ChildSlot>) {
    let binary = std::env::current_exe().expect("the test binary");
    let script = format!(
        "exec 8<&0 9>&1; TEARPROOF_TEST_SERVES={} exec '{}' --exact program::tests::serving >/dev/null",
        world.object,
        binary.display()
    );
    let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    world.strategy(command, Lifetime::Session).open(&world.context()).expect("a served strategy")
}

#[test]
fn a_served_strategy_behaves_as_it_does_in_our_own_process() {
    let world = World::register();
    let (mut client, _slot) = served(&world);
    assert_eq!(read(&mut *client).unwrap(), (Found::Absent, String::new()));
    client.write("ä\n\"".as_bytes()).unwrap();
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, "ä\n\"".to_owned()));
    client.write(&[0xff, 0, 1]).unwrap();
    let mut bytes = Vec::new();
    client.read(&mut bytes).unwrap();
    assert_eq!(bytes, [0xff, 0, 1]);
    match client.read(&mut bytes) {
        Err(StrategyError::Torn { kind: TornKind::Mixed, message }) => assert_eq!(message, "two halves"),
        other => panic!("{other:?}"),
    }
    assert_eq!(failed(client.write(b"number")), (Failure::RetriesExhausted, "I am 3".to_owned()));
    assert_eq!(unknown(client.write(b"unknown")), (Failure::Error, "perhaps".to_owned()));

    let world = World::new(Object::Lock);
    let (mut client, _slot) = served(&world);
    let held = client.acquire(Duration::from_millis(5)).unwrap();
    assert_eq!((held.still, held.token), (false, Some(9)));
    client.release().unwrap();
    assert_eq!(failed(client.acquire(Duration::ZERO)), (Failure::Busy, "taken".to_owned()));

    let world = World::new(Object::Log);
    let (mut client, _slot) = served(&world);
    client.append(b"r-3-1 one\n").unwrap();
    client.append(b"r-3-2 two\n").unwrap();
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, "r-3-1 one\nr-3-2 two\n".to_owned()));

    let world = World::new(Object::Set);
    let (mut client, _slot) = served(&world);
    assert!(matches!(client.update("e-3-1"), Err(StrategyError::Unsupported(Operation::Update))));
}

#[test]
fn serving_ends_with_stop_with_the_end_of_input_and_with_nonsense() {
    let world = World::register();
    let serve = |input: &[u8]| {
        let mut output = Vec::new();
        let result = serve_stdio(&InMemory, world.context(), input, &mut output);
        (result.map_err(|error| error.kind()), String::from_utf8(output).unwrap())
    };
    assert_eq!(serve(b""), (Ok(()), String::new()));
    let ready = "{\"t\":\"ready\",\"proto\":1,\"name\":\"in-memory\",\"ops\":[\"read\",\"write\",\"cas\"]}\n";
    let greeted = b"{\"t\":\"hello\",\"proto\":1,\"client\":3,\"seed\":7}\n{\"t\":\"stop\"}\nleft over";
    assert_eq!(serve(greeted), (Ok(()), ready.to_owned()));
    assert_eq!(serve(b"nonsense\n").0, Err(std::io::ErrorKind::InvalidData));
}

#[test]
fn the_initial_set_is_written_without_its_count() {
    let world = World::new(Object::Set);
    let strategy = world.strategy(vec!["true".to_owned()], Lifetime::Session);
    let context = world.context();
    strategy.prepare(&context, None).unwrap();
    assert!(!context.file.exists());
    let counted = tearproof_core::set::SetDocument::default().render(Format::Json);
    strategy.prepare(&context, Some(&counted)).unwrap();
    let text = std::fs::read_to_string(&context.file).unwrap();
    assert_eq!(text.split_whitespace().collect::<String>(), "{\"elements\":[]}");
    strategy.prepare(&context, Some(b"{\"elem")).unwrap();
    assert_eq!(std::fs::read(&context.file).unwrap(), b"{\"elem");
}

#[test]
fn names_that_are_kept_may_have_stars() {
    let world = World::register();
    let strategy = world.strategy(vec!["true".to_owned()], Lifetime::Session);
    let context = world.context();
    assert!(strategy.keeps(&context, "state.lock"));
    assert!(!strategy.keeps(&context, "state.lock.tmp"));
    assert!(super::matches("a*c*", "abcd") && super::matches("*", "") && !super::matches("a*c", "ab"));
}

#[test]
fn a_worker_moves_on_to_the_next_execution_under_its_own_number() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, slot) = world.open(STORE);
    let pid = slot.pid();
    client.write(b"x").unwrap();
    let next = World::register();
    assert!(client.retarget(&next.context()));
    assert_eq!(read(&mut *client).unwrap().0, Found::Absent);
    client.write(b"y").unwrap();
    assert_eq!(std::fs::read(next.context().file).unwrap(), b"y");
    assert_eq!(slot.pid(), pid);
    assert!(!client.retarget(&ClientContext { client: 4, ..next.context() }));
}
