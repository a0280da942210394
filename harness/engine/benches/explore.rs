//! What an explored execution costs, beside what the gates alone cost: two clients that each replace
//! a file through a temporary one and one that reads it, on a file system in memory.
//!
//! The floor is the same calls of the same number of processes on the same processor, every one of
//! them stopped by the same filter and answered with leave to go on, without a look at it; and a
//! state directory that is put back. What the engine takes on top is its knowledge: decoding,
//! doing the calls in the clients' place, footprints, the search. Where clients are *played* once it is known what they
//! do, most executions take no gates at all. Two more floors are those of
//! clients that do not live on: forked for each execution, or executed; the engine is held against these
//! with clients that it forks, and with a program that it executes for each operation.
//!
//! Criterion measures each by itself. Ratios are taken in one run, by turns, since machines are
//! noisy. This binary is its own client process.
//!
//! Not covered: strategies with locks, sleeps and threads, and file systems on disks.

#![expect(unsafe_code, reason = "fork has no safe wrapper")]

mod replacement;

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use tearproof_core::claim::Guarantee;
use tearproof_core::object::{Object, Operation};
use tearproof_core::scenario::{Program, ProgramForm, StateBefore};
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy, StrategyError, StrategyInfo};
use tearproof_core::verdict::Finding;
use tearproof_engine::explore::gate::{Answer, Caller, Listener, install};
use tearproof_engine::explore::{Exercise, Reduction, every_execution, explore};
use tearproof_engine::process::{
    Executable, Interrupt, StateRoot, die_with_parent, janitor_main, nest_main, nestling_main,
};
use tearproof_engine::stress::Surroundings;
use tearproof_engine::worker::{Strategies, worker_main};

use replacement::{base, plan};

/// Clients of which the last one reads.
const CLIENTS: u32 = 3;
const DOCUMENT: &[u8] = b"{\"progress\": 41, \"of\": 97, \"state\": \"running\"}\n";

/// What a client does, whoever has it do so.
fn play(file: &Path, client: u32) -> std::io::Result<()> {
    if client < CLIENTS { replace(file, client) } else { look(file) }
}

/// Five calls.
fn look(file: &Path) -> std::io::Result<()> {
    let mut text = [0; 256];
    let mut old = File::open(file)?;
    black_box(old.metadata()?.len());
    let length = old.read(&mut text)?;
    // Whether that was all.
    old.read(&mut text[length..]).map(black_box).map(drop)
}

/// Nine calls.
fn replace(file: &Path, client: u32) -> std::io::Result<()> {
    look(file)?;
    let temporary = file.with_extension(client.to_string());
    let mut new = File::options().write(true).create_new(true).open(&temporary)?;
    new.write_all(DOCUMENT)?;
    drop(new);
    std::fs::rename(temporary, file)
}

const INFO: StrategyInfo = StrategyInfo {
    name: "replace",
    algorithm: "a temporary file of its own, renamed",
    claims: &[],
    source: "this bench",
    objects: Object::ALL,
    broken: false,
    timed: false,
};

struct Replace;

impl Strategy for Replace {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn prepare(&self, context: &ClientContext, _: Option<&[u8]>) -> Result<(), StrategyError> {
        std::fs::write(&context.file, DOCUMENT).map_err(|error| StrategyError::failed(error.to_string()))
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        Ok(Box::new(Replacer { context: context.clone() }))
    }
}

struct Replacer {
    context: ClientContext,
}

impl Client for Replacer {
    fn read(&mut self, _: &mut Vec<u8>) -> Result<Found, StrategyError> {
        // Not what is there: who judges has nothing to say here.
        look(&self.context.file)
            .map(|()| Found::Absent)
            .map_err(|error| StrategyError::failed(error.to_string()))
    }

    fn write(&mut self, _: &[u8]) -> Result<(), StrategyError> {
        replace(&self.context.file, self.context.client)
            .map_err(|error| StrategyError::failed(error.to_string()))
    }
}

struct Only;

impl Strategies for Only {
    fn built_in(&self, _: &str) -> Option<&'static dyn Strategy> {
        Some(&Replace)
    }

    fn over_http(&self, inner: Arc<dyn Strategy>) -> Arc<dyn Strategy> {
        inner
    }
}

/// A compiled program that does what a client does once.
static ONCE: OnceLock<PathBuf> = OnceLock::new();

fn once() -> &'static Path {
    ONCE.get().expect("it was compiled")
}

/// Compiles it; it is there for as long as what is returned. Without a compiler it is this program once more, which takes
/// many times as long to begin.
fn compile_once() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("once");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/replacement/once.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-static", "-o"]).arg(&program).arg(source);
    let program = if compiler.status().is_ok_and(|status| status.success()) {
        program
    } else {
        eprintln!("no C compiler (cc): what is executed is this program, which is large");
        std::env::current_exe().expect("this program")
    };
    ONCE.get_or_init(|| program);
    directory
}

/// That, as somebody's own: executed for each operation.
fn program() -> Program {
    let executable = once().to_string_lossy().into_owned();
    let command = [&executable, "once", "{path}", "{client}"].map(str::to_owned).to_vec();
    let commands = vec![(Operation::Write, command.clone()), (Operation::Read, command)];
    Program {
        name: "executed".to_owned(),
        form: ProgramForm::Commands { commands, fail_codes: Vec::new() },
        claims: Vec::new(),
        keeps: Vec::new(),
        directory: base(),
        timeout: Duration::from_secs(10),
    }
}

/// How long this many executions take once the processes stand ready; extrapolated where there are
/// no more.
fn searched(reduction: Reduction, birth: Birth, played: bool, executions: u64) -> Duration {
    let plan = match birth {
        Birth::Executed => {
            let program = program();
            // What a built-in strategy prepares itself.
            let document = StateBefore::Text(String::from_utf8_lossy(DOCUMENT).into_owned());
            plan(&program.name.clone(), vec![program], document)
        }
        Birth::Persistent | Birth::Forked => plan("replace", Vec::new(), StateBefore::Absent),
    };
    let executable = Executable::current().expect("this program");
    let root = StateRoot::create(&plan.base, &executable).expect("a state directory");
    let interrupt = Interrupt::default();
    let (mut first, mut last) = (None, Instant::now());
    let mut surroundings = Surroundings {
        executable: &executable,
        strategies: &Only,
        check: &|_| Ok(Vec::new()),
        observe: &mut |_, _| {},
        interrupt: &interrupt,
        stop_at_violation: false,
    };
    let mut seen = 0;
    let exercise = Exercise {
        reduction,
        fresh: birth == Birth::Forked,
        reuse: false,
        kills_everywhere: false,
        plays_known_parts: played,
        recounts: false,
        most: executions + 1,
    };
    every_execution(&plan, &root, &mut surroundings, exercise, |_| {
        last = Instant::now();
        first.get_or_insert(last);
        seen += 1;
    })
    .expect("executions");
    let share = executions as f64 / (seen - 1) as f64;
    (last - first.expect("at least one execution")).mul_f64(share)
}

/// The same, one of each class, with everything that a verdict takes: recordings collected, the
/// auditor's look at the end, histories made of it; and a check that always says the same.
fn judged(executions: u64) -> Duration {
    let mut plan = plan("replace", Vec::new(), StateBefore::Absent);
    plan.scenario.explore.executions = executions.max(2);
    let executable = Executable::current().expect("this program");
    let root = StateRoot::create(&plan.base, &executable).expect("a state directory");
    let mut first = None;
    let mut observe = |_: &_, _: &_| {
        first.get_or_insert_with(Instant::now);
    };
    let mut surroundings = Surroundings {
        executable: &executable,
        strategies: &Only,
        check: &|_| Ok(vec![(Guarantee::AtomicReads, Finding::Holds)]),
        observe: &mut observe,
        interrupt: &Interrupt::default(),
        stop_at_violation: false,
    };
    let measured = explore(&plan, &root, &mut surroundings);
    let taken = first.expect("a history").elapsed();
    let run = measured.cells.first().expect("a verdict").scope.executions;
    taken.mul_f64(executions as f64 / run as f64)
}

/// How clients of a floor come to be.
#[derive(Clone, Copy, PartialEq)]
enum Birth {
    /// They live for all executions.
    Persistent,
    /// Forked for each execution by a small process.
    Forked,
    /// A compiled program, executed for each execution.
    Executed,
}

impl Birth {
    const fn name(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Forked => "forked",
            Self::Executed => "executed",
        }
    }
}

/// The role of a process behind a gate whose supervisor asks nothing: it says where its listener will be,
/// and plays whenever it comes back from a call that is its parking place.
fn play_bare(parent: u32, birth: &str, file: &Path, client: u32, program: &Path) -> ! {
    die_with_parent(parent).expect("a kernel that kills it with its parent");
    let next = File::open("/dev/null").expect("a descriptor").as_raw_fd();
    println!("{next}");
    let listener = install(Caller::Strategy).expect("a gate");
    assert_eq!(listener, next, "the lowest free number");
    loop {
        // The parking place.
        std::thread::yield_now();
        match birth {
            "persistent" => play(file, client).expect("a file that can be replaced"),
            "forked" => (1..=CLIENTS).for_each(|client| {
                // SAFETY: this process has one thread.
                match unsafe { nix::unistd::fork() }.expect("a process") {
                    nix::unistd::ForkResult::Child => {
                        play(file, client).expect("a file that can be replaced");
                        // SAFETY: takes a plain number. Nothing of the parent's is to be done twice.
                        unsafe { libc::_exit(0) }
                    }
                    nix::unistd::ForkResult::Parent { child } => {
                        nix::sys::wait::waitpid(child, None).expect("its end");
                    }
                }
            }),
            _ => (1..=CLIENTS).for_each(|client| {
                let mut command = Command::new(program);
                let command = command.arg("once").arg(file).arg(client.to_string());
                assert!(command.status().expect("a process").success());
            }),
        }
    }
}

/// Processes behind gates, and nothing that is done at the gates.
struct Bare {
    processes: Vec<(Child, Listener, u64)>,
    state: PathBuf,
    _directory: tempfile::TempDir,
    before: rustix::thread::CpuSet,
}

impl Bare {
    fn start(birth: Birth) -> Self {
        let before = rustix::thread::sched_getaffinity(None).expect("a set of processors");
        let last = (0..rustix::thread::CpuSet::MAX_CPU).rev().find(|&cpu| before.is_set(cpu));
        let mut one = rustix::thread::CpuSet::new();
        one.set(last.expect("a processor"));
        rustix::thread::sched_setaffinity(None, &one).expect("one of ours");
        let directory =
            tempfile::Builder::new().prefix(".tearproof-").tempdir_in(base()).expect("a directory");
        let state = directory.path().join("state");
        let count = if birth == Birth::Persistent { CLIENTS } else { 1 };
        let processes = (1..=count)
            .map(|client| {
                let mut command = Command::new("/proc/self/exe");
                command.arg("bare").arg(std::process::id().to_string()).arg(birth.name()).arg(&state);
                let command = command.arg(client.to_string()).arg(once());
                let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
                let mut line = String::new();
                let stdout = child.stdout.take().expect("its output");
                BufReader::new(stdout).read_line(&mut line).expect("a number");
                let number = line.trim().parse().expect("a number");
                let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
                let pidfd = pidfd.expect("a process that lives");
                let listener = loop {
                    // It is there soon.
                    match rustix::process::pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()) {
                        Ok(listener) => break Listener::new(listener),
                        Err(_) => std::thread::yield_now(),
                    }
                };
                let parked = Self::run(&listener, &mut 0);
                (child, listener, parked)
            })
            .collect();
        Self { processes, state, _directory: directory, before }
    }

    /// Answers whatever comes until somebody parks.
    fn run(listener: &Listener, answered: &mut u64) -> u64 {
        loop {
            let notification = listener.receive().expect("a call");
            *answered += 1;
            if notification.number == libc::SYS_sched_yield {
                return notification.id;
            }
            // Who was ended by another one's exit is not there any more.
            let _ = listener.answer(notification.id, Answer::Continue);
        }
    }

    /// One execution. Returns how many calls were answered.
    fn execute(&mut self) -> u64 {
        let mut answered = 0;
        // It is not there the first time.
        let _ = std::fs::remove_file(&self.state);
        std::fs::write(&self.state, DOCUMENT).expect("a state");
        for (_, listener, parked) in &mut self.processes {
            listener.answer(*parked, Answer::Value(0)).expect("it is parked");
            *parked = Self::run(listener, &mut answered);
        }
        answered
    }

    fn executions(&mut self, executions: u64) -> Duration {
        let begun = Instant::now();
        for _ in 0..executions {
            black_box(self.execute());
        }
        begun.elapsed()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for (child, ..) in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = rustix::thread::sched_setaffinity(None, &self.before);
    }
}

/// The calls alone: no gates, no other processes.
fn calls(executions: u64) -> Duration {
    let directory = tempfile::Builder::new().prefix(".tearproof-").tempdir_in(base()).expect("a directory");
    let state = directory.path().join("state");
    let begun = Instant::now();
    for _ in 0..executions {
        // It is not there the first time.
        let _ = std::fs::remove_file(&state);
        std::fs::write(&state, DOCUMENT).expect("a state");
        (1..=CLIENTS).for_each(|client| play(&state, client).expect("a file that can be replaced"));
    }
    begun.elapsed()
}

fn executions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("explore");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(3));
    group.bench_function("execution, every schedule", |bencher| {
        bencher.iter_custom(|executions| searched(Reduction::None, Birth::Persistent, false, executions));
    });
    group.bench_function("execution, every schedule, played clients", |bencher| {
        bencher.iter_custom(|executions| searched(Reduction::None, Birth::Persistent, true, executions));
    });
    group.bench_function("execution, one of each class, played clients", |bencher| {
        bencher.iter_custom(|executions| searched(Reduction::Optimal, Birth::Persistent, true, executions));
    });
    for birth in [Birth::Forked, Birth::Executed] {
        group.bench_function(format!("execution, {} clients", birth.name()), |bencher| {
            bencher.iter_custom(|executions| searched(Reduction::None, birth, false, executions));
        });
    }
    group.bench_function("execution, judged", |bencher| bencher.iter_custom(judged));
    for birth in [Birth::Persistent, Birth::Forked, Birth::Executed] {
        let mut bare = Bare::start(birth);
        group.bench_function(format!("bare gates, {} clients", birth.name()), |bencher| {
            bencher.iter_custom(|executions| bare.executions(executions));
        });
    }
    group.finish();
}

/// Everything by turns in one run, and how many times its floor it takes: medians over the rounds.
fn ratios(rounds: usize, executions: u64) {
    let mut floors = [Birth::Persistent, Birth::Forked, Birth::Executed].map(|birth| {
        let bare = Bare::start(birth);
        (birth, bare)
    });
    // Each with the floor that it is held against.
    let mut names = vec![
        ("persistent clients", Birth::Persistent),
        ("forked clients", Birth::Forked),
        ("executed programs", Birth::Executed),
        ("played clients", Birth::Persistent),
        ("played, as if forked", Birth::Forked),
        ("played, reduced", Birth::Persistent),
        ("played, judged", Birth::Persistent),
    ];
    let engines = names.len();
    let mut taken: Vec<Vec<f64>> = vec![Vec::new(); engines + floors.len()];
    let mut answered = Vec::new();
    for (birth, bare) in &mut floors {
        names.push((birth.name(), *birth));
        // Twice, since the first one makes directories and caches.
        bare.execute();
        answered.push(bare.execute());
    }
    for _ in 0..rounds {
        let per = |taken: Duration, executions: u64| taken.as_secs_f64() * 1e6 / executions as f64;
        let few = executions / 20 + 1;
        let all = Reduction::None;
        taken[0].push(per(searched(all, Birth::Persistent, false, executions), executions));
        taken[1].push(per(searched(all, Birth::Forked, false, few), few));
        taken[2].push(per(searched(all, Birth::Executed, false, few), few));
        taken[3].push(per(searched(all, Birth::Persistent, true, executions), executions));
        taken[4].push(per(searched(all, Birth::Forked, true, executions), executions));
        taken[5].push(per(searched(Reduction::Optimal, Birth::Persistent, true, executions), executions));
        taken[6].push(per(judged(executions), executions));
        for (index, (birth, bare)) in floors.iter_mut().enumerate() {
            let executions = if *birth == Birth::Persistent { executions } else { few };
            taken[engines + index].push(per(bare.executions(executions), executions));
        }
    }
    println!(
        "\n{CLIENTS} clients, 23 calls in the state directory; medians of {rounds} rounds by turns.\n\
         {:<28} {:>10} {:>12} {:>16} {:>10}",
        "", "µs", "executions/s", "ratio to floor", "answered"
    );
    for (index, ((name, birth), times)) in names.iter().zip(&taken).enumerate() {
        let floor = &taken[engines + *birth as usize];
        let ratios = times.iter().zip(floor).map(|(time, floor)| time / floor).collect();
        let (time, ratio) = (median(times.clone()), median(ratios));
        let kind = if index < engines { "engine: " } else { "floor: " };
        let answered = index.checked_sub(engines).map_or(String::new(), |floor| answered[floor].to_string());
        println!(
            "{:<28} {time:>10.1} {:>12.0} {ratio:>16.2} {answered:>10}",
            format!("{kind}{name}"),
            1e6 / time
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    let mut next = || arguments.next().expect("an argument of a role");
    match first.as_deref() {
        Some("worker") => {
            let (index, parent) = (next().parse().expect("a number"), next().parse().expect("a number"));
            return worker_main(index, parent, &Only);
        }
        Some("janitor") => {
            janitor_main();
            return ExitCode::SUCCESS;
        }
        Some("nest") => return nest_main(next().parse().expect("a number")),
        Some("nestling") => return nestling_main(),
        Some("bare") => {
            let parent = next().parse().expect("a number");
            let (birth, file) = (next(), next());
            let client = next().parse().expect("a number");
            play_bare(parent, &birth, Path::new(&file), client, Path::new(&next()))
        }
        Some("once") => {
            let done = play(Path::new(&next()), next().parse().expect("a number"));
            return if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        // One of them alone, for profilers.
        Some(alone @ ("engine" | "played" | "forked" | "executed" | "judged" | "floor" | "calls")) => {
            let executions = next().parse().expect("a number");
            let _compiled = compile_once();
            let taken = match alone {
                "engine" => searched(Reduction::None, Birth::Persistent, false, executions),
                "played" => searched(Reduction::None, Birth::Persistent, true, executions),
                "forked" => searched(Reduction::None, Birth::Forked, false, executions),
                "executed" => searched(Reduction::None, Birth::Executed, false, executions),
                "judged" => judged(executions),
                "calls" => calls(executions),
                _ => Bare::start(Birth::Persistent).executions(executions),
            };
            println!("{:.1} µs an execution", taken.as_secs_f64() * 1e6 / executions as f64);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let _compiled = compile_once();
    let testing = std::env::args().any(|argument| argument == "--test");
    let mut criterion = Criterion::default().configure_from_args();
    if !std::env::args().any(|argument| argument == "ratios") {
        executions(&mut criterion);
        criterion.final_summary();
    }
    if testing {
        ratios(1, 20)
    } else {
        ratios(9, 2000)
    }
    ExitCode::SUCCESS
}
