//! The explore engine against clients that do not behave: every exploration has to end in time, say what
//! became of the client instead of a verdict that it cannot give, and leave nothing behind.
//!
//! Each case runs in a process of its own, which is this binary again, so that what it leaves can be
//! found: its processes by a mark in their environment, which they inherit, its files in a
//! directory of its own. The clients are this binary, too.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use tearproof_core::claim::{Guarantee, Hazard};
use tearproof_core::document::Format;
use tearproof_core::object::{Object, Operation};
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{
    Before, ClientRole, ExploreLimits, Lifetime, LockBefore, Require, Scenario, StateBefore, StateFile,
    StressLimits, Via,
};
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy, StrategyError, StrategyInfo};
use tearproof_core::verdict::Finding;
use tearproof_engine::explore::explore;
use tearproof_engine::process::{Executable, Interrupt, StateRoot, janitor_main};
use tearproof_engine::stress::Surroundings;
use tearproof_engine::worker::{Strategies, worker_main};

/// What one client does instead, and what has to be said of it. Where nothing is, it does so in every
/// execution, and the verdict has to be the same as if it did not.
const CASES: &[(&str, Option<&str>)] = &[
    ("behaves", None),
    ("spins", Some("runs without making a system call")),
    ("waits for input", Some("waits for ever for what nobody sends it")),
    ("stops itself", Some("has not come back to the gate")),
    ("goes in circles", Some("more than 20000 steps")),
    ("exits", Some("ended by itself")),
    ("panics", Some("this client is out of order")),
    ("aborts", Some("SIGABRT")),
    ("dies at start", Some("could not install its gate and ended (exit status: 7)")),
    ("is killed at start", Some("could not install its gate and ended (signal: 9 (SIGKILL))")),
    ("is killed", Some("SIGKILL")),
    ("kills another one", Some("was killed at its gate")),
    ("forks a daemon", None),
    ("takes a detour", Some("by a detour")),
    ("goes by way of where it is", None),
    ("goes by way of a link", Some("by a detour")),
    ("opens what has no name again", Some("by a detour")),
    ("opens what its descriptor leads to", Some("by a detour")),
    ("copies within the kernel", None),
    ("sends a file to a socket", Some("sendfile on a file of the state directory")),
    ("is told of changes", Some("inotify_add_watch on a file of the state directory")),
    ("makes a pipe", Some("wanted a pipe, a socket or a device")),
    ("makes a socket", None),
    ("passes a descriptor on", Some("a message with descriptors on a file of the state directory")),
    ("changes its root", Some("a client called chroot")),
    ("gives a name to what has none", None),
    ("has something else take the place of a file", None),
    ("speaks of its files to nobody", None),
    ("looks elsewhere", None),
    ("ignores signals", None),
    ("closes everything", None),
    ("has few descriptors", None),
    ("has many files open", None),
    ("has too many files open", Some("it may have 3000 open files")),
    ("behaves, made again", None),
    ("waits for input, made again", Some("waits for ever for what nobody sends it")),
    ("exits, made again", Some("ended by itself")),
    ("aborts, made again", Some("SIGABRT")),
    ("is killed, made again", Some("SIGKILL")),
];
/// Clients of these are killed in the middle, and who is made in their place does so at once.
const MADE_AGAIN: &str = ", made again";
/// The execution in which it does so: something was judged by then.
const THEN: u32 = 2;
/// A case that takes longer hangs. Clients are given up after five seconds, each time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Files that whoever runs a case may have open, as usual and at most.
const USUAL_LIMIT: u64 = 1024;
const HARD_LIMIT: u64 = 3000;
const MARK: &str = "TEARPROOF_MISBEHAVING";

const INFO: StrategyInfo = StrategyInfo {
    name: "misbehaving",
    algorithm: "a temporary file, renamed",
    claims: &[],
    source: "this test",
    objects: Object::ALL,
    broken: false,
    timed: false,
};

struct Misbehaving {
    how: String,
}

impl Strategy for Misbehaving {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn prepare(&self, context: &ClientContext, _: Option<&[u8]>) -> Result<(), StrategyError> {
        std::fs::write(&context.file, b"old").map_err(|error| StrategyError::failed(error.to_string()))
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        Ok(Box::new(Writer { how: self.how.clone(), context: context.clone() }))
    }
}

struct Writer {
    how: String,
    context: ClientContext,
}

impl Writer {
    /// How often this client was made, once each of its processes has asked.
    fn births(&self) -> std::io::Result<u64> {
        let book = self.context.dir.with_file_name(format!("births-{}", self.context.client));
        let mut book = std::fs::File::options().create(true).append(true).open(book)?;
        book.write_all(b"+")?;
        Ok(book.metadata()?.len())
    }
}

impl Client for Writer {
    fn read(&mut self, _: &mut Vec<u8>) -> Result<Found, StrategyError> {
        Ok(Found::Absent)
    }

    fn write(&mut self, _: &[u8]) -> Result<(), StrategyError> {
        static EXECUTIONS: AtomicU32 = AtomicU32::new(0);
        let temporary = self.context.file.with_extension(self.context.client.to_string());
        let failed = |error: std::io::Error| StrategyError::failed(error.to_string());
        let mut kept = Vec::new();
        let own = std::process::id().to_string();
        std::fs::write(self.context.dir.with_file_name(format!("pid-{}", self.context.client)), own)
            .map_err(failed)?;
        std::fs::write(&temporary, b"new").map_err(failed)?;
        let execution = EXECUTIONS.fetch_add(1, Ordering::Relaxed) + 1;
        let now = match self.how.ends_with(MADE_AGAIN) {
            true => execution == 1 && self.births().map_err(failed)? > 1,
            false => execution == THEN,
        };
        let always = CASES.iter().any(|(how, said)| *how == self.how && said.is_none());
        // In the second execution the second one goes first.
        let who = if self.how == "kills another one" { 2 } else { 1 };
        if (now || always) && self.context.client == who {
            misbehave(&self.how, &self.context.file, &mut kept);
        }
        std::fs::rename(temporary, &self.context.file).map_err(failed)
    }
}

/// Somewhere in the middle of an operation.
fn misbehave(how: &str, file: &Path, kept: &mut Vec<OwnedFd>) {
    let open = || rustix::fs::open(file, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    let own = rustix::process::getpid();
    match how.strip_suffix(MADE_AGAIN).unwrap_or(how) {
        "spins" => loop {
            std::hint::spin_loop();
        },
        "waits for input" => {
            let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
            let _ = rustix::io::read(&reader, &mut [0]);
        }
        "stops itself" => rustix::process::kill_process(own, Signal::STOP).expect("oneself"),
        "goes in circles" => loop {
            drop(open());
        },
        "exits" => std::process::exit(0),
        "panics" => panic!("this client is out of order"),
        "aborts" => std::process::abort(),
        // The supervisor's own signal comes from elsewhere.
        "is killed" => rustix::process::kill_process(own, Signal::KILL).expect("oneself"),
        "kills another one" => {
            let directory = file.parent().expect("the state directory");
            let pid = std::fs::read_to_string(directory.with_file_name("pid-1")).expect("it has begun, too");
            let pid = Pid::from_raw(pid.parse().expect("a number")).expect("a process");
            rustix::process::kill_process(pid, Signal::KILL).expect("a process of this test");
        }
        // None of these paths begins with that of the state directory.
        "takes a detour" => {
            let name = file.strip_prefix("/").expect("an absolute path");
            std::fs::write(Path::new("/proc/..").join(name), b"detour").expect("the state");
        }
        "goes by way of where it is" => {
            let here = std::env::current_dir().expect("a directory");
            let name = file.strip_prefix(here).expect("below");
            // Somebody else may have replaced it, whom this one is to see.
            let text = std::fs::read(name).expect("the state");
            assert!(text == b"old" || text == b"new", "{text:?}");
            let made = Path::new(name).with_extension("made");
            std::fs::create_dir(&made).expect("a directory");
            // The supervisor knows of it by its other name, too.
            assert!(file.with_extension("made").is_dir());
            std::fs::remove_dir(file.with_extension("made")).expect("a directory");
        }
        "goes by way of a link" => {
            let directory = file.parent().expect("the state directory");
            let link = directory.with_file_name("link");
            std::os::unix::fs::symlink(directory, &link).expect("a link");
            std::fs::write(link.join("state"), b"detour").expect("the state");
        }
        "opens what its descriptor leads to" => {
            let state = open().expect("the state");
            // Not the supervisor's, which may lead elsewhere.
            drop(std::fs::File::open(format!("/dev/fd/{}", state.as_raw_fd())).expect("the state"));
        }
        "opens what has no name again" => {
            let nameless = nameless(file);
            let own = format!("/proc/self/fd/{}", nameless.as_raw_fd());
            std::fs::write(own, b"again").expect("a file that is open");
        }
        "copies within the kernel" => {
            let directory = file.parent().expect("the state directory");
            let source = directory.with_file_name("source");
            std::fs::write(&source, b"from elsewhere").expect("a file");
            let from = std::fs::File::open(source).expect("a file");
            let into = std::fs::File::options().write(true).open(file).expect("the state");
            // Who is told that there is no such call copies by reading and writing.
            let copied = rustix::fs::copy_file_range(from, None, into, None, 14);
            assert_eq!(copied, Err(rustix::io::Errno::NOSYS));
        }
        "sends a file to a socket" => {
            let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
            rustix::fs::sendfile(one, open().expect("the state"), None, 1).expect("a byte");
        }
        "is told of changes" => {
            let watch =
                rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::empty()).expect("inotify");
            let about = rustix::fs::inotify::WatchFlags::MODIFY;
            rustix::fs::inotify::add_watch(watch, file, about).expect("the state");
        }
        "makes a pipe" => {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let pipe = file.with_extension("pipe");
            let made = rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, mode, 0);
            assert_eq!(made, Err(rustix::io::Errno::PERM));
        }
        "makes a socket" => {
            drop(std::os::unix::net::UnixListener::bind(file.with_extension("socket")).expect("a socket"));
        }
        "passes a descriptor on" => {
            use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
            let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
            let state = open().expect("the state");
            let fds = [state.as_raw_fd()];
            let parts = [std::io::IoSlice::new(b"x")];
            sendmsg::<()>(
                one.as_raw_fd(),
                &parts,
                &[ControlMessage::ScmRights(&fds)],
                MsgFlags::empty(),
                None,
            )
            .expect("a message");
        }
        // To where it is: nothing changes, and whether it may is not what is to be told.
        "changes its root" => drop(nix::unistd::chroot("/")),
        "gives a name to what has none" => {
            let nameless = nameless(file);
            rustix::io::write(&nameless, b"nameless").expect("a file");
            let own = format!("/proc/self/fd/{}", nameless.as_raw_fd());
            let named = file.with_extension("named");
            let flags = rustix::fs::AtFlags::SYMLINK_FOLLOW;
            rustix::fs::linkat(rustix::fs::CWD, own, rustix::fs::CWD, &named, flags).expect("a name");
            assert_eq!(std::fs::read(&named).expect("a file"), b"nameless");
            assert_eq!(std::fs::metadata(named).expect("a file").len(), 8);
        }
        "has something else take the place of a file" => {
            let mut state = open().expect("the state");
            let elsewhere = std::fs::File::create("/dev/null").expect("a device");
            rustix::io::dup2(&elsewhere, &mut state).expect("a descriptor");
            rustix::io::write(&state, b"into the void").expect("a device");
            let text = std::fs::read(file).expect("the state");
            assert!(text == b"old" || text == b"new", "{text:?}");
        }
        "speaks of its files to nobody" => {
            use std::io::IsTerminal;
            let state = std::fs::File::open(file).expect("the state");
            assert!(!state.is_terminal());
            let mut value = [0; 8];
            let absent = rustix::fs::getxattr(file, "user.absent", &mut value);
            assert!(absent.is_err());
            rustix::fs::statfs(file).expect("the state");
        }
        "looks elsewhere" => {
            let directory = file.parent().expect("the state directory");
            std::fs::write(directory.with_file_name("elsewhere"), b"").expect("a file");
            // Whether it is there does not matter.
            let _ = std::fs::read("/proc/self/status");
            let _ = std::fs::read("/nowhere/at/all");
        }
        "forks a daemon" => {
            let mut daemon = Command::new("/proc/self/exe");
            daemon.arg("stay").stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
            // Whether it could be started is what is to be told.
            let _ = daemon.spawn();
        }
        "ignores signals" => {
            nix::sys::signal::SigSet::all().thread_block().expect("signals that can be blocked");
        }
        "closes everything" => {
            // What the client has mapped stays.
            for fd in 3..256 {
                let _ = nix::unistd::close(fd);
            }
        }
        "has few descriptors" => {
            let limit = Rlimit { current: Some(20), maximum: Some(20) };
            rustix::process::setrlimit(Resource::Nofile, limit).expect("a lower limit");
            while let Ok(one) = open() {
                kept.push(one);
            }
            kept.clear();
        }
        "has many files open" => {
            // All that it may, which is what the limit was before the supervisor raised its own.
            while kept.len() < 2 * USUAL_LIMIT as usize {
                match open() {
                    Ok(one) => kept.push(one),
                    Err(_) => break,
                }
            }
            assert!(kept.len() < USUAL_LIMIT as usize, "the limit is not that of clients");
            kept.clear();
        }
        "has too many files open" => {
            // More than a supervisor can have at all: it has all of them, too, and some of its own.
            let limit = Rlimit { current: Some(HARD_LIMIT), maximum: Some(HARD_LIMIT) };
            rustix::process::setrlimit(Resource::Nofile, limit).expect("what is allowed");
            while let Ok(one) = open() {
                kept.push(one);
            }
        }
        _ => {}
    }
}

/// A file in the state directory that has no name.
fn nameless(file: &Path) -> OwnedFd {
    use rustix::fs::{Mode, OFlags};
    let directory = file.parent().expect("the state directory");
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::from_raw_mode(0o600)).expect("a file without a name")
}

struct Ways;

impl Strategies for Ways {
    fn built_in(&self, name: &str) -> Option<&'static dyn Strategy> {
        let worker = std::env::args().nth(1).is_some_and(|role| role == "worker");
        if worker && name == "dies at start" {
            std::process::exit(7);
        }
        if worker && name == "is killed at start" {
            rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).expect("oneself");
        }
        Some(Box::leak(Box::new(Misbehaving { how: name.to_owned() })))
    }

    fn over_http(&self, inner: Arc<dyn Strategy>) -> Arc<dyn Strategy> {
        inner
    }
}

fn plan(how: &str, base: &Path) -> Plan {
    let role = ClientRole {
        role: "writer".to_owned(),
        count: 2,
        threads: 1,
        does: vec![(Operation::Write, 1)],
        hold: Duration::ZERO,
        lifetime: Lifetime::Session,
        rate: None,
        via: Via::File,
        strategy: None,
        operations: None,
    };
    let scenario = Scenario {
        name: "misbehaving".to_owned(),
        summary: String::new(),
        source: String::new(),
        strategies: vec![how.to_owned()],
        state: StateFile {
            file: "state".to_owned(),
            format: Format::Bytes,
            object: Object::Register,
            size: 256,
            grow: 0,
            opaque: false,
        },
        clients: vec![role],
        programs: Vec::new(),
        before: Before { state: StateBefore::Absent, lock: LockBefore::None },
        require: Require { guarantees: Vec::new(), hazards: Vec::new() },
        stress: StressLimits::default(),
        // They take turns, in two executions.
        explore: ExploreLimits { operations: 1, preemptions: Some(0), ..ExploreLimits::default() },
    };
    Plan {
        scenario,
        strategy: how.to_owned(),
        hazard: if how.ends_with(MADE_AGAIN) { Hazard::Kill } else { Hazard::Concurrency },
        seed: 1,
        budget: Duration::from_secs(20),
        base: base.to_owned(),
        other_dir: None,
    }
}

/// Runs a case, and prints what is said of it.
fn run_case(how: &str, base: &Path) {
    if how == "litters" {
        std::fs::write(base.join("litter"), b"").expect("a file");
        let mut daemon = Command::new("/proc/self/exe");
        daemon.arg("stay").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let output = daemon.spawn().expect("a process").stdout;
        // Its parent goes on before it has an environment to be known by.
        output.expect("its output").read_exact(&mut [0]).expect("a word of it");
        return;
    }
    let plan = plan(how, base);
    let executable = Executable::current().expect("this program");
    let root = StateRoot::create(&plan.base, &executable).expect("a state directory");
    let mut surroundings = Surroundings {
        executable: &executable,
        strategies: &Ways,
        check: &|_| Ok(vec![(Guarantee::AtomicReads, Finding::Holds)]),
        observe: &mut |_, _| {},
        interrupt: &Interrupt::listen().expect("signals"),
        stop_at_violation: false,
    };
    let measured = explore(&plan, &root, &mut surroundings);
    for problem in &measured.problems {
        println!("problem: {problem}");
    }
    for cell in &measured.cells {
        let limit = cell.scope.limit.as_deref().unwrap_or("none");
        println!("{:?} after {}, limit: {limit}", cell.verdict, cell.scope.executions);
    }
}

/// Processes with this mark in their environment, by number and name.
fn marked(mark: &str) -> Vec<(i32, String)> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // It may have ended since.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// What is left of a case.
struct Left {
    /// How it ended; absent when it took too long.
    ended: Option<ExitStatus>,
    processes: Vec<(i32, String)>,
    files: Vec<PathBuf>,
    said: String,
    complained: String,
}

/// Runs a case in a process of its own until it ends, or is killed that long after it has clients.
fn left_by(how: &str, killed_after: Option<Duration>) -> Left {
    let shm = PathBuf::from("/dev/shm");
    let base = if shm.is_dir() { shm } else { std::env::temp_dir() };
    let directory =
        tempfile::Builder::new().prefix(".tearproof-test-").tempdir_in(base).expect("a directory");
    let mark = directory.path().display().to_string();
    let mut command = Command::new("/proc/self/exe");
    command.args(["case", how]).arg(directory.path()).env(MARK, &mark).env("TMPDIR", directory.path());
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
    let ended = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break Some(status);
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            break None;
        }
        if let Some(after) = killed_after
            && marked(&mark).iter().any(|(_, command)| command.contains(" worker "))
        {
            std::thread::sleep(after);
            let _ = child.kill();
            break child.wait().ok();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let files = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory.path()).expect("its directory").flatten();
        entries.map(|entry| entry.path()).collect()
    };
    if killed_after.is_some() {
        // Whoever is to follow does so in its own time.
        while begun.elapsed() < PATIENCE && !(marked(&mark).is_empty() && files().is_empty()) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    // A process that was left behind keeps the pipe open, so it is ended first.
    let processes = marked(&mark);
    for pid in processes.iter().filter_map(|(pid, _)| Pid::from_raw(*pid)) {
        // It may have ended by now.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    let output = child.wait_with_output().expect("its output");
    let [said, complained] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Left { ended, processes, files: files(), said, complained }
}

impl Left {
    /// What is wrong with that.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        match self.ended {
            None => complaints.push(format!("it hangs, with {:?}", self.processes)),
            Some(status) if status.code().is_some_and(|code| code != 0) => {
                complaints.push(format!("{status}: {}", self.complained));
            }
            Some(_) if !self.processes.is_empty() => {
                complaints.push(format!("it left processes behind: {:?}", self.processes));
            }
            Some(_) => {}
        }
        if !self.files.is_empty() && self.ended.is_some() {
            complaints.push(format!("it left files behind: {:?}", self.files));
        }
        complaints
    }
}

/// What is wrong with a case.
fn complaints(how: &str, wanted: Option<&str>) -> Vec<String> {
    let left = left_by(how, None);
    let mut complaints = left.complaints();
    let said = &left.said;
    match wanted {
        None if !said.contains("Verified after") || said.contains("problem") => {
            complaints.push(format!("it should have been verified: {said}"));
        }
        Some(words) if !said.contains(words) => {
            complaints.push(format!("nothing is said of `{words}`: {said}"));
        }
        Some(_) if said.contains("Verified") || said.contains("Violated") => {
            complaints.push(format!("a verdict is given that cannot be: {said}"));
        }
        _ => {}
    }
    complaints
}

/// What is wrong when the supervisor is killed in the middle.
fn complaints_of_an_orphan() -> Vec<String> {
    let mut complaints = Vec::new();
    for after in [0, 20, 300] {
        let left = left_by("spins", Some(Duration::from_millis(after)));
        complaints.extend(left.complaints());
    }
    complaints
}

/// What is wrong with the test itself: one that leaves something behind has to be noticed.
fn complaints_of_the_canary() -> Vec<String> {
    let found = left_by("litters", None).complaints().join("; ");
    let missing = ["processes", "files"].into_iter().filter(|what| !found.contains(what));
    missing.map(|what| format!("{what} that are left behind are not noticed")).collect()
}

/// Says what is wrong.
type Test = Box<dyn Fn() -> Vec<String>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    match first.as_deref() {
        Some("worker") => {
            let mut number = || arguments.next().and_then(|text| text.parse::<u32>().ok()).expect("a number");
            let index = number() as usize;
            return worker_main(index, number(), &Ways);
        }
        Some("janitor") => {
            janitor_main();
            return ExitCode::SUCCESS;
        }
        Some("case") => {
            let mut next = || arguments.next().expect("which case and where");
            let usual = Rlimit { current: Some(USUAL_LIMIT), maximum: Some(HARD_LIMIT) };
            rustix::process::setrlimit(Resource::Nofile, usual).expect("a lower limit");
            run_case(&next(), Path::new(&next()));
            return ExitCode::SUCCESS;
        }
        Some("stay") => {
            std::io::stdout().write_all(b".").and_then(|()| std::io::stdout().flush()).expect("a reader");
            std::thread::sleep(Duration::from_secs(300));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let mut tests: Vec<(String, Test)> = CASES
        .iter()
        .map(|(how, said)| {
            let test: Test = Box::new(|| complaints(how, *said));
            (format!("a client that {how}"), test)
        })
        .collect();
    tests.push(("clients whose supervisor is killed".to_owned(), Box::new(complaints_of_an_orphan)));
    tests.push(("what is left behind is noticed".to_owned(), Box::new(complaints_of_the_canary)));
    let wanted = first.filter(|argument| !argument.starts_with('-'));
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in tests {
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let complaints = test();
        println!("test {name} ... {}", if complaints.is_empty() { "ok" } else { "FAILED" });
        for complaint in &complaints {
            println!("  {complaint}");
        }
        if complaints.is_empty() {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    println!("\ntest result: {passed} passed; {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
