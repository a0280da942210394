//! The explore engine held against brute force, on the real kernel: small programs of system calls
//! are run in every interleaving, and once a class; both have to come to the same outcomes. This
//! binary is its own client process, so it brings its own `main`.
//!
//! A program is a text, one word a call: a letter for the call and digits for the files. It is the
//! name of the strategy, so that a worker process finds it. `B` and a list of calls begins a process that
//! makes them; `W` waits for what it says, and for its end. After a `!` it is the program of somebody else, which
//! clients drive; after two, each of them does it twice.

mod player;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::TestRunner;
use tearproof_core::claim::Hazard;
use tearproof_core::document::{Format, Shape};
use tearproof_core::object::{Object, Operation};
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{
    Before, ClientRole, ExploreLimits, Lifetime, LockBefore, Program, ProgramForm, Require, Scenario,
    StateBefore, StateFile, StressLimits, Via,
};
use tearproof_core::strategy::{ClientContext, Strategy};
use tearproof_engine::explore::search::{End, Searched};
use tearproof_engine::explore::{Executed, Exercise, Reduction, every_execution};
use tearproof_engine::process::{Executable, Interrupt, StateRoot, janitor_main, nest_main, nestling_main};
use tearproof_engine::program::serve_stdio;
use tearproof_engine::record::RawPayload;
use tearproof_engine::stress::Surroundings;
use tearproof_engine::worker::{Strategies, worker_main};

use player::{Player, Script};

struct Scripts;

impl Strategies for Scripts {
    fn built_in(&self, name: &str) -> Option<&'static dyn Strategy> {
        let programs = programs_of(name);
        Some(Box::leak(Box::new(Script { programs, leaves_results: false })))
    }

    fn over_http(&self, inner: Arc<dyn Strategy>) -> Arc<dyn Strategy> {
        inner
    }
}

/// The calls of each client.
fn programs_of(script: &str) -> Vec<Vec<String>> {
    let words = |program: &str| program.split_whitespace().map(str::to_owned).collect();
    script.split('|').map(words).collect()
}

/// This binary as somebody else's program, which makes these calls.
fn program(calls: &str) -> Program {
    let executable = std::env::current_exe().expect("this program").to_string_lossy().into_owned();
    Program {
        name: "program".to_owned(),
        form: ProgramForm::Worker { command: vec![executable, "serve".to_owned(), calls.to_owned()] },
        claims: Vec::new(),
        keeps: Vec::new(),
        directory: PathBuf::from("/"),
        timeout: Duration::from_secs(10),
    }
}

fn plan(script: &str, hazard: Hazard) -> Plan {
    let operations = if script.starts_with("!!") { 2 } else { 1 };
    let programs = match script.trim_start_matches('!') {
        built_in if built_in == script => Vec::new(),
        calls => vec![program(calls)],
    };
    let strategy = programs.first().map_or(script, |program| &program.name).to_owned();
    let role = ClientRole {
        role: "caller".to_owned(),
        count: script.split('|').count() as u32,
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
        name: "script".to_owned(),
        summary: String::new(),
        source: String::new(),
        strategies: vec![strategy.clone()],
        state: StateFile {
            file: "state".to_owned(),
            format: Format::Bytes,
            object: Object::Register,
            size: 4096,
            grow: 0,
            opaque: false,
        },
        clients: vec![role],
        programs,
        before: Before { state: StateBefore::Absent, lock: LockBefore::None },
        require: Require { guarantees: Vec::new(), hazards: Vec::new() },
        stress: StressLimits::default(),
        explore: ExploreLimits { operations, ..ExploreLimits::default() },
    };
    let shm = PathBuf::from("/dev/shm");
    Plan {
        scenario,
        strategy,
        hazard,
        seed: 1,
        budget: Duration::MAX,
        base: if shm.is_dir() { shm } else { std::env::temp_dir() },
        other_dir: None,
    }
}

/// What an execution came to: what every call returned, and the directory in the end.
fn outcome(Executed { state, recorded, .. }: Executed<'_>, clients: usize) -> String {
    let mut text = String::new();
    for client in 1..=clients {
        // A client that waits for ever has no result: that is one, too.
        let path = state.with_file_name(format!("result-{client}"));
        let mut result = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        for event in recorded.iter().filter(|event| event.client as usize == client) {
            if let RawPayload::Failed(_, message) = &event.payload {
                result += message;
            }
        }
        let _ = write!(text, "{client}: {result}; ");
    }
    let mut names: Vec<PathBuf> = std::fs::read_dir(state)
        .expect("the state directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    for name in names {
        let content = std::fs::read(&name).unwrap_or_else(|_| b"a directory".to_vec());
        let _ = write!(text, "{}={:?} ", name.display(), String::from_utf8_lossy(&content));
    }
    text
}

/// Raw executions of a generated program at most.
const RAW_MAX: u64 = 1500;

struct Ran {
    searched: Searched,
    outcomes: BTreeSet<String>,
    classes: BTreeSet<u64>,
    /// What was recorded in each execution, and when.
    recorded: BTreeSet<String>,
    /// Parts that were played for clients.
    performances: u64,
}

/// `None` when there are more executions than that.
fn run(script: &str, hazard: Hazard, reduction: Reduction, most: u64) -> Option<Ran> {
    run_with(script, hazard, Exercise { reduction, most, ..EXERCISE })
}

const EXERCISE: Exercise = Exercise {
    reduction: Reduction::None,
    fresh: false,
    reuse: false,
    kills_everywhere: false,
    plays_known_parts: true,
    recounts: true,
    most: 0,
};

fn run_with(script: &str, hazard: Hazard, exercise: Exercise) -> Option<Ran> {
    try_to_run(script, hazard, exercise).unwrap_or_else(|error| panic!("{script}: {error}"))
}

fn try_to_run(script: &str, hazard: Hazard, exercise: Exercise) -> Result<Option<Ran>, String> {
    let plan = plan(script, hazard);
    let executable = Executable::current().expect("this program");
    let root = StateRoot::create(&plan.base, &executable).expect("a state directory");
    let interrupt = Interrupt::listen().expect("signals");
    let (mut outcomes, mut classes, mut recorded) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut performances = 0;
    let clients = plan.scenario.clients[0].count as usize;
    let searched = every_execution(
        &plan,
        &root,
        &mut Surroundings {
            executable: &executable,
            strategies: &Scripts,
            check: &|_| Ok(Vec::new()),
            observe: &mut |_, _| {},
            interrupt: &interrupt,
            stop_at_violation: false,
        },
        // What is somebody else's leaves its results in files.
        Exercise { recounts: exercise.recounts && !script.starts_with('!'), ..exercise },
        |executed| {
            let text = outcome(executed, clients).replace(&*root.path().to_string_lossy(), "");
            outcomes.insert(text);
            classes.insert(executed.class);
            performances = executed.performances;
            recorded.insert(format!("{} {:?}", executed.class, executed.recorded));
        },
    )
    .map_err(|error| error.to_string())?;
    if matches!(searched.end, End::Executions(_)) {
        return Ok(None);
    }
    assert_eq!(searched.end, End::Exhausted, "{script}");
    Ok(Some(Ran { searched, outcomes, classes, recorded, performances }))
}

/// Raw executions, reduced ones, classes; `None` when there are too many raw ones.
fn compare(script: &str, hazard: Hazard, most: u64) -> Option<(u64, u64, u64)> {
    let by_themselves = Exercise { plays_known_parts: false, most, ..EXERCISE };
    let all = run_with(script, hazard, by_themselves)?;
    if !script.starts_with('!') {
        let played = run(script, hazard, Reduction::None, most).expect("as many");
        let (missing, invented) = (
            all.recorded.difference(&played.recorded).next(),
            played.recorded.difference(&all.recorded).next(),
        );
        assert_eq!(
            (missing, invented),
            (None, None),
            "`{script}` under {hazard}: played clients record something else"
        );
        assert_eq!(all.searched.executions, played.searched.executions, "`{script}` under {hazard}");
    }
    let reduced = run(script, hazard, Reduction::Optimal, most).expect("fewer than without reduction");
    let everywhere = (hazard == Hazard::Kill)
        .then(|| {
            let exercise = Exercise { kills_everywhere: true, most: 4 * most, ..EXERCISE };
            run_with(script, hazard, exercise)
        })
        .flatten()
        // Who is spared may wait for ever, and whoever can be killed at any time is in the end.
        .map_or_else(|| all.outcomes.clone(), |everywhere| &everywhere.outcomes | &all.outcomes);
    if everywhere != reduced.outcomes {
        let missing: Vec<&String> = everywhere.difference(&reduced.outcomes).collect();
        let invented: Vec<&String> = reduced.outcomes.difference(&everywhere).collect();
        panic!(
            "`{script}` under {hazard}: the reduced search misses {missing:#?} and has of its own {invented:#?}"
        );
    }
    assert_eq!(all.classes, reduced.classes, "the classes of `{script}` under {hazard}");
    let run = reduced.searched.executions + reduced.searched.redundant;
    Some((all.searched.executions, run, all.classes.len() as u64))
}

fn two_writers_of_five_calls_and_a_reader_of_three() {
    let (raw, reduced, classes) =
        compare("x2 w2 m20 e0 u2|x3 w3 m30 e0 u3|s0 s0 s1", Hazard::Concurrency, 100_000).expect("72,072");
    println!("  {raw} raw executions, {classes} classes, {reduced} run");
    assert_eq!(raw, 72_072);
    assert!(reduced * 10 <= classes * 12);
}

/// Clients of which it is known what they do are played, and come to the same; that they do is compared for each program
/// ([`compare`]).
fn clients_that_are_known_are_played() {
    for (script, hazard) in [
        ("x2 w2 m20|x3 w3 m30|o0 r0", Hazard::Concurrency),
        ("o0 F0 p0 U0|o0 F0 r0|d1 s0 d1 s0", Hazard::Concurrency),
        ("x2 w2 m20|x3 w3 m30", Hazard::Kill),
        ("x2 d1 u2|d1 e2 d1|d1 e2 u2", Hazard::Pause),
    ] {
        let exercise = Exercise { most: 20_000, ..EXERCISE };
        let played = run_with(script, hazard, exercise).expect("few");
        let themselves = Exercise { plays_known_parts: false, ..exercise };
        let themselves = run_with(script, hazard, themselves).expect("few");
        let fresh = run_with(script, hazard, Exercise { fresh: true, ..exercise }).expect("few");
        println!(
            "  {script} ({hazard}): {} executions, {} parts played",
            played.searched.executions, played.performances
        );
        assert_eq!(themselves.performances, 0);
        for known in [played, fresh] {
            assert!(known.performances > known.searched.executions, "{script}");
            assert_eq!(known.recorded, themselves.recorded, "{script}");
            assert_eq!(known.outcomes, themselves.outcomes, "{script}");
        }
    }
}

/// A process that counts from one execution to the next is like itself only as long as nobody asks.
fn who_is_found_out_is_not_played_any_more() {
    let exercise = Exercise { most: 20_000, recounts: false, ..EXERCISE };
    let found_out = try_to_run("Z x2 w2 m20|x3 w3 m30|o0 r0", Hazard::Concurrency, exercise).map(drop);
    let why = found_out.expect_err("one execution out of so many is the clients' own");
    assert!(why.contains("does something else after the same"), "{why}");
    // Nobody is, who has nothing to count on.
    let fresh = Exercise { fresh: true, recounts: true, ..exercise };
    let ran = run_with("Z x2 w2 m20|x3 w3 m30|o0 r0", Hazard::Concurrency, fresh).expect("few");
    assert!(ran.performances > 0 && ran.outcomes.iter().all(|outcome| outcome.contains("Z=seldom")));
}

fn locks_files_and_names_in_small_programs() {
    for script in [
        "o0 F0 p0 U0|o0 F0 r0 U0",
        "o0 S0 c0|o0 S0 c0|o0 F0",
        "o0 T0 p0|o0 T0 U0",
        "n0 r0|t0 w0",
        "a0 w0|a0 w0|o0 r0",
        "x2 m20|x2 m20",
        "l02 u0|l02 s2",
        "k2 u2|x2 s2",
        "o0 F0 o1 F1|o1 F1 o0 F0",
        "i2 u2|d1 e2 d9 e2",
        "x2 u2|d1 s2 d1 s2 d1 s2",
        "d9 n0|d1 e0 d1 e0 d1 e0 d1 e0 d1 e0",
        "d9 x2 u2|d1 s2 d1 s2 d1 s2|d2 s2 d2 s2 d2 s2",
        // What changes between a look and a nap, and changes that change places.
        "x2|d1 e2 e1 d1 e2",
        "x2 u2|d1 e2 e1 d1 e2|e1",
        "x2|d1 x3 d1 u3 d1 e2",
        "x2 n0|d1 x3 d1 u3 d1 e2",
        "l02|l03|s0 d1 s0 d1 s0",
        "l02 x1|l03|s0 d1 s0 e3 d1 s0",
    ] {
        let (raw, reduced, classes) = compare(script, Hazard::Concurrency, 20_000).expect("few");
        println!("  {script}: {raw} raw executions, {classes} classes, {reduced} run");
    }
}

/// Who has slept for as long as another one has no start over it, however long that was.
fn naps_that_end_at_the_same_time_are_raced_after() {
    for (hazard, scripts) in [
        (
            Hazard::Concurrency,
            &[
                "D3 x2 u2|D3 x2",
                "D3 x2|D3 s2|D3 u2",
                "D3 x2|d1 D3 s2",
                "D3 x2 D3 u2|D3 s2 D3 s2",
                "D3 x2|D5 s2|D3 u2",
                "D3 x2 x3|D3 e2 e3 d1 e2 e3",
                "D5 x2|D3 D2 s2",
                "o0 F0 D3 p0 U0|D3 o0 F0 r0",
                "!D3 x2 u2|D3 x2",
                "BD3,x2 D3 s2 W|D3 u2",
            ][..],
        ),
        (
            Hazard::Kill,
            &[
                "D3 x2 d1 s2|D3 x2|D3 u2",
                "D3 x2 u2|D3 x2",
                "D3 x2|D3 s2|D3 u2",
                "D3 x2|D5 s2|D3 u2",
                "D3 x2|d1 D3 s2",
            ][..],
        ),
        (
            Hazard::Pause,
            &["D3 x2 u2|D3 x2", "D3 x2|D3 s2", "D3 x2|D5 s2", "D3 x2|d1 D3 s2", "D3 x2|D3 D3 s2"][..],
        ),
    ] {
        for script in scripts {
            let (raw, reduced, classes) = compare(script, hazard, 60_000).expect("few");
            println!("  {script} ({hazard}): {raw} raw executions, {classes} classes, {reduced} run");
        }
    }
    let calls = ["x2", "u2", "s2", "e2", "x3", "u3", "d1", "D3", "D5"];
    for (hazard, raw_max) in [(Hazard::Concurrency, RAW_MAX), (Hazard::Kill, 400), (Hazard::Pause, 500)] {
        generated_after(["D3", "D3"], hazard, &calls, 20, raw_max);
    }
    generated_after(["D3", "D3 e2 e3 d1"], Hazard::Concurrency, &calls, 20, RAW_MAX);
    // As if nobody had slept.
    let outcomes = |script: &str| -> BTreeSet<String> {
        let ran = run(script, Hazard::Concurrency, Reduction::Optimal, 20_000).expect("few");
        ran.outcomes.iter().map(|outcome| outcome.replace("D3=ok ", "")).collect()
    };
    for script in ["e2 x2 s2|e2 x2 u2", "x2 u2|s2 x2 s2"] {
        let slept = script.split('|').map(|client| format!("D3 {client}")).collect::<Vec<_>>().join("|");
        assert_eq!(outcomes(&slept), outcomes(script), "{slept}");
    }
}

/// Whoever is killed leaves what it wrote, gives back what it locked, and is gone for those who ask; whoever
/// is suspended sees what others did while they slept.
fn clients_that_are_killed_or_suspended_come_to_the_same_outcomes() {
    for (hazard, scripts) in [
        (
            Hazard::Kill,
            &[
                "o0 F0 p0 U0|o0 F0 r0",
                "x2 w2 m20|o0 r0",
                "i2|v2",
                "x2 p2 u2|x2 s2",
                "o0 S0 p0|o0 T0 p0",
                "o0 T0 s2|o0 T0 d2",
                "n0 p0|o0 F0 z0",
                "o0 W0|o0 R0",
                "o0 W0|o0 w0 s0",
                "n2 W2|o2 W2",
            ][..],
        ),
        (
            Hazard::Pause,
            &[
                "x2 u2|d5 s2",
                "i2 u2|d1 e2 d9 e2",
                "o0 F0 p0 U0|d3 o0 F0 r0",
                "d2 x2|d3 x2",
                // The second one waits for who is suspended, and so the third one rises.
                "o0 p0|o0 p0|o0 D3",
                "o0 F0 x2|o0 F0 u2|D3 s2",
            ][..],
        ),
    ] {
        let (mut run, mut of) = (0, 0);
        for script in scripts {
            let (raw, reduced, classes) = compare(script, hazard, 60_000).expect("few");
            println!("  {script} ({hazard}): {raw} raw executions, {classes} classes, {reduced} run");
            (run, of) = (run + reduced, of + classes);
        }
        assert!(run * 10 <= of * 15, "{run} of {of} under {hazard}");
    }
    // Without the hazard they have fewer outcomes.
    for (script, hazard) in [("i2|v2", Hazard::Kill), ("i2 u2|d1 e2 d9 e2", Hazard::Pause)] {
        let outcomes = |hazard| run(script, hazard, Reduction::Optimal, 60_000).expect("few").outcomes;
        assert!(outcomes(Hazard::Concurrency).len() < outcomes(hazard).len(), "{script}");
    }
}

/// Who drives a program may come late to an operation, in all of which another one was suspended.
fn programs_that_come_late_come_to_the_same_outcomes() {
    for script in [
        "!x2 u2|O2",
        "!x2 u2|O2 O2",
        "!x2 u2|O2 u2 x2",
        "!x2 F2 u2|o2 F2 O2",
        "!x2 d5 u2|O2 d1 O2",
        "!!x2 u2|O2",
        "!!O2|x2 u2",
        "!x2|O2|u2",
        "!y5 o0 p0 r0|o0 r0",
        "!y5 x2 u2|x2 O2",
    ] {
        let (raw, reduced, classes) = compare(script, Hazard::Pause, 20_000).expect("few");
        println!("  {script} (pause): {raw} raw executions, {classes} classes, {reduced} run");
        assert!(reduced * 10 <= classes * 15, "{script}");
    }
    // Who is suspended past its alarm dies, and says nothing.
    let dies = |hazard| {
        let ran = run("!y5 x2 u2|x2", hazard, Reduction::Optimal, 20_000).expect("few");
        ran.outcomes.iter().any(|outcome| !outcome.contains("y5=ok"))
    };
    assert!(dies(Hazard::Pause) && !dies(Hazard::Concurrency));
    // Nobody else is suspended in the middle, so what there is is young.
    let finds_old = |script, hazard| {
        let ran = run(script, hazard, Reduction::Optimal, 20_000).expect("few");
        ran.outcomes.iter().any(|outcome| outcome.contains("O2=old"))
    };
    assert!(finds_old("!x2 u2|O2", Hazard::Pause));
    assert!(!finds_old("!x2 u2|O2", Hazard::Concurrency));
    assert!(!finds_old("x2 u2|O2", Hazard::Pause), "a built-in strategy says itself how long it waits");
}

/// The kernel ends a write between two pages when its process is killed, and within a page never.
fn a_writer_that_is_killed_between_two_pages_leaves_the_first() {
    let sizes = |hazard| -> Vec<usize> {
        let ran = run("n2 W2", hazard, Reduction::Optimal, 1000).expect("few");
        let size = |outcome: &String| outcome.matches('b').count();
        let sizes: BTreeSet<usize> = ran.outcomes.iter().map(size).collect();
        sizes.into_iter().collect()
    };
    assert_eq!(sizes(Hazard::Kill), [0, 4096, 8192]);
    assert_eq!(sizes(Hazard::Concurrency), [8192]);
    // What is overwritten within a page is whole or not there.
    let within = run("o0 p0", Hazard::Kill, Reduction::Optimal, 1000).expect("few");
    let torn = |outcome: &&String| outcome.contains("CLIE") && !outcome.contains("CLIENT+1");
    assert_eq!(within.outcomes.iter().find(torn), None);
}

/// What a client's child does is interleaved with what others do, and with what the client does itself.
fn families_come_to_the_same_outcomes() {
    for script in [
        "Bx2 W|x2",
        "Bx2 W|Bx2 W",
        "Bx2,u2 s2 W|s2",
        "x2 Bu2 s2 W|s2",
        "o0 F0 Bs2 W x2|o0 T0 s2",
        "Bo0,F0,p0 o0 F0 r0 U0 W|s0",
        "Bo0,S0 W k2|o0 T0 s2",
        // Loops of a shell: one process naps, another looks, for the one that starts them. Something else is done
        // between a look and the next nap, so that a change may come before it or after it.
        "!x2|d1 e2 e1 d1 e2",
        "!x2 u2|d1 e2 e1 d1 e2|e1",
        "!x2|e2 Bd1 W e2 e1 Bd1 W e2",
        "!x2 u2|e2 Bd1 W e2 e1 Bd1 W e2 Bd1 W e2",
        "!x2|Bd1 W Be2 W e1 Bd1 W Be2 W",
        "!x2|u2|x2 Bd1 W e2 Bd1 W e2 e1 Bd1 W e2",
        "!x2|e2 Bd1 e2 e1 W e2 Bd1 W e2 Bd1 W e2",
        "!x2 u2|Bd1 e2 W e2 Bd1 e1 W e2 Bd1 W e2",
    ] {
        let (raw, reduced, classes) = compare(script, Hazard::Concurrency, 20_000).expect("few");
        println!("  {script}: {raw} raw executions, {classes} classes, {reduced} run");
        assert!(reduced * 10 <= classes * 15, "{script}");
    }
    // The end of a process gives back its locks, and who kills a client kills what it has started.
    for script in ["Bx2,w2 W|s2", "Bo0,F0,p0 W|o0 T0"] {
        let (raw, reduced, classes) = compare(script, Hazard::Kill, 20_000).expect("few");
        println!("  {script} (kill): {raw} raw executions, {classes} classes, {reduced} run");
    }
}

/// A message is waited for as a lock is; whoever asks for more than is there, or looks without waiting, depends on
/// what others send, and nobody else does.
fn clients_that_talk_come_to_the_same_outcomes() {
    for script in [
        "L2 A23 G3|C23 M3",
        "L2 A23 G3 M3|C23 M3 M3 g3",
        "L2 A23 g3 g3|C23 M3 M3",
        "L2 A23 H3 H3|C23 M3",
        "L2 A23 Q3 Q3|C23 M3",
        "L2 A23 Q3 g3|C23 D5 M3",
        "L2 A23 M3 c3|C23 c3",
        "L2 A23 c3|C23 M3 G3",
        "L2 c2|C23 G3",
        "L2 A23 G3 A23 G3|C23 M3|C23 M3",
        "L2 A23 G3 G3|C23 M3 h3 G3",
        "L2 u2 A23 g3|C23 M3 s2",
        "L2 A23 G3|C23 Y23 M3",
        "L2 A23 g3 G3|J23 M3 c3",
        "L2 A23 X2 A22|C23 M3",
        "L2 X2 A23|C23 G3",
        "L2 A23 Q3 M3|C23 s0 M3 Q3",
        "L2 A23 P33 g3|C23 M3",
        "L2 A23 q33 q33|C23 M3",
        "L2 A23 V33 V33|C23 M3",
        "L2 A23 V33 g3|C23 D5 M3",
        "L2 A23 P23 g3|C23 M3|C23 d1",
        "L2 A23 E33|C23 M3|C23",
        "L2 P22 A23 E33 G3|C23 M3 M3",
        "L2 A23 g3 x1|C23 M3 e1|d1 e1",
    ] {
        let (raw, reduced, classes) = compare(script, Hazard::Concurrency, 60_000).expect("few");
        println!("  {script}: {raw} raw executions, {classes} classes, {reduced} run");
        assert!(reduced * 10 <= classes * 15, "{script}");
    }
    for (script, hazard) in [
        ("L2 A23 G3 M3|C23 M3 G3", Hazard::Kill),
        ("L2 A23 x1 G3|C23 M3", Hazard::Kill),
        ("L2 A23 e2 P23|C23 g3 u2 Q3", Hazard::Kill),
        ("L2 A23 Q3|C23 d3 M3", Hazard::Pause),
    ] {
        let (raw, reduced, classes) = compare(script, hazard, 60_000).expect("few");
        println!("  {script} ({hazard}): {raw} raw executions, {classes} classes, {reduced} run");
    }
    // What is sent before anybody looks is looked at in one way, and what is sent meanwhile in two.
    let outcomes =
        |script| run(script, Hazard::Concurrency, Reduction::Optimal, 60_000).expect("few").outcomes;
    let first = |outcome: &String| outcome.contains("1: L2=ok A23=ok G3=m2m2");
    assert!(outcomes("L2 A23 G3|C23 M3 M3").iter().any(first));
    assert!(!outcomes("L2 A23 g3|C23 M3 M3").iter().any(first));
}

fn generated_programs_that_talk_come_to_the_same_outcomes() {
    let calls = ["M3", "G3", "g3", "H3", "Q3", "P23", "q33", "V33", "E33", "h3", "c3", "u2", "e2", "d1"];
    for (hazard, raw_max) in [(Hazard::Concurrency, RAW_MAX), (Hazard::Kill, 1000)] {
        generated_after(["L2 A23", "C23"], hazard, &calls, 30, raw_max);
    }
}

fn generated_programs_come_to_the_same_outcomes() {
    let files = [
        "n0", "o0", "x2", "t0", "a0", "p0", "w0", "r0", "c0", "m02", "m20", "m01", "l02", "u0", "u2", "k2",
        "s0", "s2", "e2", "z0", "F0", "S0", "T0", "U0",
    ];
    generated(Hazard::Concurrency, &files, 40, RAW_MAX);
}

/// Naps that may end at any time, and longer ones, which end only when nobody else can go on.
fn generated_programs_that_sleep_are_killed_and_are_suspended_come_to_the_same_outcomes() {
    let calls = ["x2", "u2", "s2", "e2", "p0", "r0", "F0", "S0", "T0", "U0", "d1", "d2", "D3", "D5"];
    for (hazard, raw_max) in [(Hazard::Concurrency, RAW_MAX), (Hazard::Kill, 400), (Hazard::Pause, 500)] {
        generated(hazard, &calls, 30, raw_max);
    }
    // Whoever polls has looked and rested before, and does something else between a look and the next rest.
    let polls = ["x2", "u2", "e2", "s2", "e1", "d1", "x3", "u3", "D3"];
    for (hazard, raw_max) in [(Hazard::Concurrency, RAW_MAX), (Hazard::Kill, 400), (Hazard::Pause, 500)] {
        generated_after(["e2", "d1 e2"], hazard, &polls, 30, raw_max);
    }
    // Names that are added to a file are counted in any order.
    let polls = ["l02", "l03", "u2", "u3", "s0", "e2", "d1", "D3"];
    for (hazard, raw_max) in [(Hazard::Concurrency, RAW_MAX), (Hazard::Pause, 500)] {
        generated_after(["s0", "d1 s0"], hazard, &polls, 20, raw_max);
    }
}

/// Programs of users that poll, some of whose processes nap and look for others, and some beside them.
fn generated_families_that_poll_come_to_the_same_outcomes() {
    let polls = ["x2", "u2", "e2", "e1", "d1", "Bd1 W", "Bd1 e2 W", "Be2 W", "D3"];
    generated_after(["!e2", "d1 e2"], Hazard::Concurrency, &polls, 8, RAW_MAX);
}

/// Who waits for a lock or sleeps until an alarm comes, before or after others are done.
fn programs_with_alarms_come_to_the_same_outcomes() {
    for (script, hazard) in [
        ("o0 F0 D9 p0 U0|o0 f03 r0", Hazard::Concurrency),
        ("o0 F0 D2 p0 U0|o0 f09 r0", Hazard::Concurrency),
        ("o0 F0 D9|o0 f03 f09|o0 f05", Hazard::Concurrency),
        ("j92 x2|D3 u2", Hazard::Concurrency),
        ("o0 F0 p0 U0|o0 f09 r0", Hazard::Pause),
        ("o0 F0 D9 p0|o0 f03 r0", Hazard::Kill),
    ] {
        let (raw, reduced, classes) = compare(script, hazard, 20_000).expect("few");
        println!("  {script} ({hazard}): {raw} raw executions, {classes} classes, {reduced} run");
    }
    let gives_up = |script, hazard| {
        let ran = run(script, hazard, Reduction::Optimal, 20_000).expect("few");
        let gives_up = |outcome: &String| outcome.contains("Interrupted");
        (ran.outcomes.iter().any(gives_up), ran.outcomes.iter().all(gives_up))
    };
    assert_eq!(gives_up("o0 F0 D9 U0|o0 f03", Hazard::Concurrency), (true, false), "who comes first has it");
    assert_eq!(gives_up("o0 F0 D2 U0|o0 f09", Hazard::Concurrency), (false, false), "it is free in time");
    assert_eq!(gives_up("o0 F0 p0 U0|o0 f09", Hazard::Concurrency), (false, false), "nobody takes his time");
    assert_eq!(gives_up("o0 F0 p0 U0|o0 f03", Hazard::Pause), (true, false), "who has it may be suspended");
    let calls = ["x2", "u2", "p0", "r0", "F0", "U0", "f01", "f03", "f09", "j31", "d2", "D2", "D5"];
    for (hazard, raw_max) in [(Hazard::Concurrency, RAW_MAX), (Hazard::Kill, 400), (Hazard::Pause, 500)] {
        generated(hazard, &calls, 30, raw_max);
    }
}

/// Holds so many programs of these calls to brute force, unless they have too many executions.
fn generated(hazard: Hazard, calls: &[&'static str], cases: usize, raw_max: u64) {
    generated_after(["o0", "o0"], hazard, calls, cases, raw_max);
}

/// The same with calls that come first, of the first client and of the others.
fn generated_after(begin: [&str; 2], hazard: Hazard, calls: &[&'static str], cases: usize, raw_max: u64) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    let call = proptest::sample::select(calls.to_vec());
    let opened = |calls: Vec<&str>| calls.join(" ");
    let two = proptest::collection::vec(proptest::collection::vec(call.clone(), 1..=3).prop_map(opened), 2);
    let three = proptest::collection::vec(proptest::collection::vec(call, 1..=1).prop_map(opened), 3);
    let mut runner = TestRunner::deterministic();
    let (mut raw, mut reduced, mut classes, mut skipped) = (0, 0, 0, 0);
    for case in 0..cases {
        let programs = if case % 2 == 0 { two.new_tree(&mut runner) } else { three.new_tree(&mut runner) };
        let programs = programs.expect("programs").current();
        let first = |at: usize| begin[at.min(1)];
        let programs = programs.iter().enumerate().map(|(at, calls)| format!("{} {calls}", first(at)));
        let script = programs.collect::<Vec<_>>().join("|");
        let Some(counts) = compare(&script, hazard, raw_max) else {
            skipped += 1;
            continue;
        };
        raw += counts.0;
        reduced += counts.1;
        classes += counts.2;
    }
    println!(
        "  {} programs ({hazard}): {raw} raw executions, {classes} classes, {reduced} run; {skipped} with more \
         than {raw_max} raw executions were skipped",
        cases - skipped
    );
    assert!(skipped * 3 < cases * 2, "most programs are too large");
    let (most, of) = if hazard == Hazard::Concurrency { (12, 10) } else { (15, 10) };
    assert!(reduced * of <= classes * most);
}

/// What a program knows before its first request.
fn context() -> ClientContext {
    let scenario = plan("", Hazard::Concurrency).scenario;
    let StateFile { object, format, size, .. } = scenario.state;
    ClientContext {
        dir: PathBuf::new(),
        file: PathBuf::new(),
        other_dir: None,
        format,
        object,
        shape: Shape { format, size, grow: 0 },
        client: 0,
        lease: scenario.stress.lease,
        patience: scenario.stress.patience,
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("worker") => {
            let mut number = || arguments.next().and_then(|text| text.parse::<u32>().ok()).expect("a number");
            let index = number() as usize;
            return worker_main(index, number(), &Scripts);
        }
        Some("play") => {
            let mut next = || arguments.next().expect("an argument");
            let (dir, client) = (PathBuf::from(next()), next().parse().expect("a number"));
            let program = next().split(',').map(str::to_owned).collect();
            let results = String::new();
            let mut player = Player { program, dir, client, child: None, results, leaves_results: false };
            print!("{}", player.play());
            return ExitCode::SUCCESS;
        }
        Some("serve") => {
            let calls = arguments.next().expect("calls");
            let programs = programs_of(&calls);
            let script = Box::leak(Box::new(Script { programs, leaves_results: true }));
            let input = BufReader::new(std::io::stdin());
            serve_stdio(script, context(), input, std::io::stdout()).expect("requests");
            return ExitCode::SUCCESS;
        }
        Some("nest") => {
            return nest_main(arguments.next().and_then(|text| text.parse().ok()).expect("a number"));
        }
        Some("nestling") => return nestling_main(),
        Some("janitor") => {
            janitor_main();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let tests: [(&str, fn()); 15] = [
        ("who_is_found_out_is_not_played_any_more", who_is_found_out_is_not_played_any_more),
        ("clients_that_are_known_are_played", clients_that_are_known_are_played),
        ("programs_with_alarms_come_to_the_same_outcomes", programs_with_alarms_come_to_the_same_outcomes),
        (
            "programs_that_come_late_come_to_the_same_outcomes",
            programs_that_come_late_come_to_the_same_outcomes,
        ),
        ("locks_files_and_names_in_small_programs", locks_files_and_names_in_small_programs),
        (
            "clients_that_are_killed_or_suspended_come_to_the_same_outcomes",
            clients_that_are_killed_or_suspended_come_to_the_same_outcomes,
        ),
        (
            "a_writer_that_is_killed_between_two_pages_leaves_the_first",
            a_writer_that_is_killed_between_two_pages_leaves_the_first,
        ),
        ("clients_that_talk_come_to_the_same_outcomes", clients_that_talk_come_to_the_same_outcomes),
        (
            "generated_programs_that_talk_come_to_the_same_outcomes",
            generated_programs_that_talk_come_to_the_same_outcomes,
        ),
        ("families_come_to_the_same_outcomes", families_come_to_the_same_outcomes),
        ("generated_programs_come_to_the_same_outcomes", generated_programs_come_to_the_same_outcomes),
        ("naps_that_end_at_the_same_time_are_raced_after", naps_that_end_at_the_same_time_are_raced_after),
        (
            "generated_programs_that_sleep_are_killed_and_are_suspended_come_to_the_same_outcomes",
            generated_programs_that_sleep_are_killed_and_are_suspended_come_to_the_same_outcomes,
        ),
        (
            "generated_families_that_poll_come_to_the_same_outcomes",
            generated_families_that_poll_come_to_the_same_outcomes,
        ),
        ("two_writers_of_five_calls_and_a_reader_of_three", two_writers_of_five_calls_and_a_reader_of_three),
    ];
    let wanted = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    if let Some(script) = wanted.as_deref().filter(|wanted| wanted.contains('|')) {
        // One program, perhaps under a hazard.
        let hazard =
            std::env::args().nth(2).map_or(Hazard::Concurrency, |name| name.parse().expect("a hazard"));
        println!("{:?} raw executions, run, classes", compare(script, hazard, 100_000));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in tests {
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let outcome = std::panic::catch_unwind(test);
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        if outcome.is_ok() {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    println!("\ntest result: {passed} passed; {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
