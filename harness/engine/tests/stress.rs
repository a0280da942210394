//! The stress engine with strategies made for the purpose: good ones, bad ones, and such that die,
//! hang or flood. This binary is its own client process, as the real one is, so it brings its own
//! `main`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tearproof_core::claim::{AnomalyKind, Guarantee, Hazard};
use tearproof_core::document::Format;
use tearproof_core::history::{Failure, History, MalformedHistory, Payload, Phase};
use tearproof_core::object::{Object, Operation};
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{
    Before, ClientRole, ExploreLimits, Lifetime, LockBefore, Require, Scenario, StateBefore, StateFile,
    StressLimits, Via,
};
use tearproof_core::strategy::{Client, ClientContext, Found, Held, Strategy, StrategyError, StrategyInfo};
use tearproof_core::verdict::{Anomaly, Finding, Findings, Verdict, Witness};
use tearproof_engine::process::{Executable, Interrupt, StateRoot, janitor_main};
use tearproof_engine::stress::{self, Measured, Surroundings};
use tearproof_engine::worker::{Strategies, worker_main};

/// What a toy client does when it is told to do something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Toy {
    /// Truncates and writes.
    InPlace,
    /// Writes a temporary file and renames it.
    Rename,
    /// Cannot be opened.
    Dead,
    /// Exits in the middle of its third operation.
    Exits,
    /// Never comes back from its third operation.
    Hangs,
    /// Panics in the middle of its third operation, beside a thread that never ends.
    Panics,
    /// Refuses every read.
    Refuses,
    /// Refuses every read of the first executions.
    Late,
    /// A lock that everybody gets.
    Open,
}

/// How often this process has opened the state.
static OPENED: AtomicU32 = AtomicU32::new(0);
/// Executions in which a late one refuses. The first to let reads pass is the next.
const LATE: u32 = 3;

static TIMED: StrategyInfo = StrategyInfo { timed: true, ..INFO };

const INFO: StrategyInfo = StrategyInfo {
    name: "toy",
    algorithm: "a toy",
    claims: &[],
    source: "this test",
    objects: Object::ALL,
    broken: false,
    timed: false,
};

impl Strategy for Toy {
    fn info(&self) -> &'static StrategyInfo {
        if *self == Self::Panics { &TIMED } else { &INFO }
    }

    fn prepare(&self, context: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        std::fs::write(&context.file, document.unwrap_or(b"")).map_err(error)
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        if *self == Self::Dead {
            return Err(StrategyError::failed("this strategy cannot be opened"));
        }
        let opened = OPENED.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Box::new(ToyClient { toy: *self, context: context.clone(), operations: 0, opened }))
    }
}

fn error(error: std::io::Error) -> StrategyError {
    StrategyError::failed(error.to_string())
}

struct ToyClient {
    toy: Toy,
    context: ClientContext,
    operations: u32,
    /// How often this process has opened the state: once in each execution.
    opened: u32,
}

impl Client for ToyClient {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let early = self.toy == Toy::Late && self.opened <= LATE;
        if self.toy == Toy::Refuses || early {
            return Err(StrategyError::failed("it is not allowed"));
        }
        self.misbehave();
        *into = std::fs::read(&self.context.file).map_err(error)?;
        Ok(Found::Present)
    }

    fn write(&mut self, document: &[u8]) -> Result<(), StrategyError> {
        self.misbehave();
        if self.toy == Toy::InPlace {
            return std::fs::write(&self.context.file, document).map_err(error);
        }
        let temporary = self.context.sibling(&format!(".tmp-{}", self.context.client));
        std::fs::write(&temporary, document).map_err(error)?;
        std::fs::rename(&temporary, &self.context.file).map_err(error)
    }

    fn acquire(&mut self, _patience: Duration) -> Result<Held, StrategyError> {
        self.misbehave();
        Ok(Held { still: true, token: None })
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        Ok(())
    }
}

impl ToyClient {
    fn misbehave(&mut self) {
        self.operations += 1;
        if self.operations == 3 {
            match self.toy {
                Toy::Exits => std::process::exit(7),
                Toy::Hangs => loop {
                    std::thread::park();
                },
                Toy::Panics => panic!("a bug in the strategy"),
                Toy::InPlace | Toy::Rename | Toy::Dead | Toy::Refuses | Toy::Late | Toy::Open => {}
            }
        }
    }
}

struct Toys;

impl Strategies for Toys {
    fn built_in(&self, name: &str) -> Option<&'static dyn Strategy> {
        Some(match name {
            "in-place" => &Toy::InPlace,
            "rename" => &Toy::Rename,
            "dead" => &Toy::Dead,
            "exits" => &Toy::Exits,
            "hangs" => &Toy::Hangs,
            "panics" => &Toy::Panics,
            "refuses" => &Toy::Refuses,
            "late" => &Toy::Late,
            "open" => &Toy::Open,
            _ => return None,
        })
    }

    fn over_http(&self, inner: Arc<dyn Strategy>) -> Arc<dyn Strategy> {
        inner
    }
}

fn role(role: &str, count: u32, does: Operation) -> ClientRole {
    ClientRole {
        role: role.to_owned(),
        count,
        threads: 1,
        does: vec![(does, 1)],
        hold: Duration::from_micros(20),
        lifetime: Lifetime::Session,
        rate: None,
        via: Via::File,
        strategy: None,
        operations: None,
    }
}

fn plan(strategy: &str, hazard: Hazard) -> Plan {
    let scenario = Scenario {
        name: "toy".to_owned(),
        summary: String::new(),
        source: String::new(),
        strategies: vec![strategy.to_owned()],
        state: StateFile {
            file: "state.json".to_owned(),
            format: Format::Json,
            object: Object::Register,
            size: 4096,
            grow: 0,
            opaque: false,
        },
        clients: vec![role("writer", 1, Operation::Write), role("reader", 2, Operation::Read)],
        programs: Vec::new(),
        before: Before { state: StateBefore::Present, lock: LockBefore::None },
        require: Require { guarantees: Vec::new(), hazards: Vec::new() },
        stress: StressLimits { hang: Duration::from_millis(300), ..StressLimits::default() },
        explore: ExploreLimits::default(),
    };
    Plan {
        scenario,
        strategy: strategy.to_owned(),
        hazard,
        seed: 7,
        budget: Duration::from_millis(300),
        base: base(),
        other_dir: None,
    }
}

/// A directory of this test's own, on tmpfs where there is one.
fn base() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    let parent = if shm.is_dir() { shm } else { std::env::temp_dir() };
    let base = parent.join(format!("tearproof-stress-test-{}", std::process::id()));
    std::fs::create_dir_all(&base).expect("a directory for the test");
    base
}

/// A checker of the test's own: torn reads, hanging operations, overlapping sections; and that the
/// events make a history at all.
fn judge(history: &History) -> Result<Findings, MalformedHistory> {
    history.operations()?;
    let mut findings = Findings::new();
    let mut find = |guarantee: Guarantee, kind: AnomalyKind, count: usize| {
        findings.push((
            guarantee,
            match (count, &history.limit) {
                (0, None) => Finding::Holds,
                (0, Some(limit)) => Finding::Inconclusive(limit.clone()),
                (count, _) => Finding::Violated(vec![Anomaly {
                    kind,
                    count: count as u64,
                    first_after_ms: None,
                    by_kind: std::collections::BTreeMap::new(),
                    witness: Witness {
                        explanation: String::new(),
                        steps: Vec::new(),
                        replay: None,
                        stderr: Vec::new(),
                    },
                }]),
            },
        ));
    };
    let events = || history.events.iter();
    find(
        Guarantee::AtomicReads,
        AnomalyKind::TornRead,
        events().filter(|event| matches!(event.payload, Payload::Torn(..))).count(),
    );
    find(
        Guarantee::Progress,
        AnomalyKind::Deadlock,
        events().filter(|event| matches!(event.payload, Payload::Failed(Failure::TimedOut, _))).count(),
    );
    let mut inside: i32 = 0;
    let mut overlaps = 0;
    for event in events() {
        match (event.operation, event.phase) {
            (Operation::Acquire, Phase::Ok) => {
                inside += 1;
                overlaps += usize::from(inside > 1);
            }
            (Operation::Release, Phase::Invoke) => inside -= 1,
            _ => {}
        }
    }
    find(Guarantee::MutualExclusion, AnomalyKind::TwoHolders, overlaps);
    Ok(findings)
}

fn run(plan: &Plan) -> Measured {
    let executable = Executable::current().expect("this program");
    let root = StateRoot::create(&plan.base, &executable).expect("a state directory");
    stress::run(
        plan,
        &root,
        &mut Surroundings {
            executable: &executable,
            strategies: &Toys,
            check: &judge,
            observe: &mut |_, _| {},
            interrupt: &Interrupt::default(),
            stop_at_violation: false,
        },
    )
}

fn verdict(measured: &Measured, guarantee: Guarantee) -> Verdict {
    measured.cells.iter().find(|cell| cell.guarantee == guarantee).expect("a cell").verdict
}

fn truncation_is_seen_and_renaming_is_not() {
    let bad = run(&plan("in-place", Hazard::Concurrency));
    assert_eq!(bad.problems, Vec::<String>::new());
    assert_eq!(verdict(&bad, Guarantee::AtomicReads), Verdict::Violated);
    let good = run(&plan("rename", Hazard::Concurrency));
    assert_eq!(good.problems, Vec::<String>::new());
    assert_eq!(verdict(&good, Guarantee::AtomicReads), Verdict::NotObserved);
    let torn = good.torn_reads.expect("reads were made");
    assert!(torn.reads > 100 && torn.writes > 100 && torn.torn == 0, "{torn:?}");
    assert!(good.latency[&Operation::Read].count > 0 && good.throughput_per_s[&Operation::Write] > 0.0);
}

fn killed_clients_are_replaced_and_the_run_goes_on() {
    let mut plan = plan("rename", Hazard::Kill);
    // How many kills fit into a time is a matter of the machine.
    for budget in [Duration::from_millis(600), Duration::from_secs(6), Duration::from_secs(60)] {
        plan.budget = budget;
        let measured = run(&plan);
        assert_eq!(measured.problems, Vec::<String>::new());
        assert_eq!(verdict(&measured, Guarantee::AtomicReads), Verdict::NotObserved, "{measured:?}");
        if measured.cells[0].scope.kills.expect("counted") > 5 {
            return;
        }
    }
    panic!("hardly anybody was killed in a minute");
}

fn paused_clients_go_on() {
    let measured = run(&plan("rename", Hazard::Pause));
    assert_eq!(measured.problems, Vec::<String>::new());
    assert!(measured.cells[0].scope.pauses.expect("counted") > 0);
}

fn a_client_that_cannot_start_is_inconclusive_with_its_words() {
    let measured = run(&plan("dead", Hazard::Concurrency));
    assert!(measured.problems.iter().any(|problem| problem.contains("this strategy cannot be opened")));
    assert!(measured.cells.iter().all(|cell| cell.verdict == Verdict::Inconclusive));
}

fn a_client_that_exits_is_reported_with_its_status() {
    let measured = run(&plan("exits", Hazard::Concurrency));
    assert!(
        measured.problems.iter().any(|problem| problem.contains("exit status 7")),
        "{:?}",
        measured.problems
    );
    assert!(measured.cells.iter().all(|cell| cell.verdict == Verdict::Inconclusive));
}

fn an_operation_that_never_returns_is_ended_and_shown() {
    let measured = run(&plan("hangs", Hazard::Concurrency));
    assert_eq!(verdict(&measured, Guarantee::Progress), Verdict::Violated, "{measured:?}");
}

fn a_full_ring_is_inconclusive() {
    let mut plan = plan("rename", Hazard::Concurrency);
    plan.scenario.stress.ring_bytes = 8192;
    let measured = run(&plan);
    assert_eq!(verdict(&measured, Guarantee::AtomicReads), Verdict::Inconclusive);
    let limit = measured.cells[0].scope.limit.as_ref().expect("a limit");
    assert!(limit.contains("filled their ring of 8192 bytes"), "{limit}");
}

fn a_lock_that_everybody_gets_lets_sections_overlap() {
    let mut plan = plan("open", Hazard::Concurrency);
    plan.scenario.state.object = Object::Lock;
    plan.scenario.clients = vec![role("worker", 3, Operation::Acquire)];
    let measured = run(&plan);
    assert_eq!(verdict(&measured, Guarantee::MutualExclusion), Verdict::Violated, "{measured:?}");
}

fn a_panic_is_a_death_and_no_operation_that_hangs() {
    let mut threads = plan("panics", Hazard::Concurrency);
    threads.scenario.clients = vec![role("writer", 1, Operation::Write)];
    threads.scenario.clients[0].threads = 2;
    let mut lock = plan("panics", Hazard::Concurrency);
    lock.scenario.state.object = Object::Lock;
    lock.scenario.clients = vec![role("worker", 2, Operation::Acquire)];
    for mut plan in [threads, lock] {
        // A backtrace, where one is asked for, takes its time.
        plan.scenario.stress.hang = Duration::from_secs(20);
        let measured = run(&plan);
        let said = |problem: &String| problem.contains("a bug in the strategy");
        assert!(measured.problems.iter().any(said), "{:?}", measured.problems);
        assert_ne!(verdict(&measured, Guarantee::Progress), Verdict::Violated, "{measured:?}");
    }
}

fn what_never_succeeds_is_inconclusive_and_does_not_hold() {
    let measured = run(&plan("refuses", Hazard::Concurrency));
    assert_eq!(verdict(&measured, Guarantee::AtomicReads), Verdict::Inconclusive);
    let limit = measured.cells[0].scope.limit.as_ref().expect("a limit");
    assert!(limit.ends_with("attempts at read succeeded: it is not allowed"), "{limit}");
}

fn a_budget_that_brings_no_evidence_is_overdrawn_until_there_is_some() {
    let mut plan = plan("late", Hazard::Concurrency);
    // Less than one execution takes, and the first of them bring no read.
    plan.budget = Duration::from_millis(1);
    let measured = run(&plan);
    assert_eq!(verdict(&measured, Guarantee::AtomicReads), Verdict::NotObserved, "{measured:?}");
    // Whoever never brings any is given up after a few.
    plan.strategy = "refuses".to_owned();
    let measured = run(&plan);
    assert_eq!(verdict(&measured, Guarantee::AtomicReads), Verdict::Inconclusive, "{measured:?}");
}

fn witnesses_are_told_who_plays_which_part() {
    let plan = plan("rename", Hazard::Kill);
    let executable = Executable::current().expect("this program");
    let root = StateRoot::create(&plan.base, &executable).expect("a state directory");
    let mut replaced = 0;
    let mut observe = |history: &History, _: &Findings| {
        for event in &history.events {
            let role = history.roles.get(&event.client).map(String::as_str);
            let expected: &[Option<&str>] = match event.operation {
                Operation::Write => &[Some("writer"), Some("auditor")],
                _ => &[Some("reader"), Some("auditor")],
            };
            assert!(expected.contains(&role), "{event:?}: {:?}", history.roles);
        }
        let writers = history.roles.values().filter(|role| *role == "writer").count();
        replaced += writers - 1;
    };
    stress::run(
        &plan,
        &root,
        &mut Surroundings {
            executable: &executable,
            strategies: &Toys,
            check: &judge,
            observe: &mut observe,
            interrupt: &Interrupt::default(),
            stop_at_violation: false,
        },
    );
    assert!(replaced > 0, "who takes the place of a dead writer is one");
}

fn what_was_there_at_the_start_is_no_torn_read_until_it_was_changed() {
    for before in [StateBefore::Empty, StateBefore::Text("hello".to_owned())] {
        let mut good = plan("rename", Hazard::Concurrency);
        good.scenario.before.state = before.clone();
        assert_eq!(verdict(&run(&good), Guarantee::AtomicReads), Verdict::NotObserved);
        let mut bad = plan("in-place", Hazard::Concurrency);
        bad.scenario.before.state = before;
        assert_eq!(verdict(&run(&bad), Guarantee::AtomicReads), Verdict::Violated);
    }
}

fn a_holder_that_outstays_its_welcome_is_no_release_that_hangs() {
    let mut plan = plan("open", Hazard::Concurrency);
    plan.scenario.state.object = Object::Lock;
    plan.scenario.clients = vec![role("worker", 1, Operation::Acquire)];
    plan.scenario.clients[0].hold = Duration::from_secs(60);
    assert_eq!(verdict(&run(&plan), Guarantee::Progress), Verdict::NotObserved);
}

fn a_fixed_rate_is_kept_and_counted_from_the_intended_start() {
    let mut plan = plan("rename", Hazard::Concurrency);
    plan.scenario.clients[0].rate = Some(500.0);
    plan.scenario.stress.execution = Duration::from_millis(200);
    plan.budget = Duration::from_millis(500);
    let measured = run(&plan);
    let rate = measured.throughput_per_s[&Operation::Write];
    assert!(rate < 650.0, "{rate} writes a second where 500 were asked for");
}

fn nothing_is_left_behind() {
    let left: Vec<_> =
        std::fs::read_dir(base()).expect("the directory of this test").filter_map(Result::ok).collect();
    assert!(left.is_empty(), "{left:?}");
    let children = std::fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id()));
    assert_eq!(children.unwrap_or_default().trim(), "", "processes");
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("worker") => {
            let mut number = || arguments.next().and_then(|text| text.parse::<u32>().ok()).expect("a number");
            let index = number() as usize;
            return worker_main(index, number(), &Toys);
        }
        Some("janitor") => {
            janitor_main();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let tests: [(&str, fn()); 16] = [
        ("truncation_is_seen_and_renaming_is_not", truncation_is_seen_and_renaming_is_not),
        ("killed_clients_are_replaced_and_the_run_goes_on", killed_clients_are_replaced_and_the_run_goes_on),
        ("paused_clients_go_on", paused_clients_go_on),
        (
            "a_client_that_cannot_start_is_inconclusive_with_its_words",
            a_client_that_cannot_start_is_inconclusive_with_its_words,
        ),
        ("a_client_that_exits_is_reported_with_its_status", a_client_that_exits_is_reported_with_its_status),
        (
            "an_operation_that_never_returns_is_ended_and_shown",
            an_operation_that_never_returns_is_ended_and_shown,
        ),
        ("a_full_ring_is_inconclusive", a_full_ring_is_inconclusive),
        (
            "a_lock_that_everybody_gets_lets_sections_overlap",
            a_lock_that_everybody_gets_lets_sections_overlap,
        ),
        (
            "a_fixed_rate_is_kept_and_counted_from_the_intended_start",
            a_fixed_rate_is_kept_and_counted_from_the_intended_start,
        ),
        ("a_panic_is_a_death_and_no_operation_that_hangs", a_panic_is_a_death_and_no_operation_that_hangs),
        (
            "what_never_succeeds_is_inconclusive_and_does_not_hold",
            what_never_succeeds_is_inconclusive_and_does_not_hold,
        ),
        (
            "a_budget_that_brings_no_evidence_is_overdrawn_until_there_is_some",
            a_budget_that_brings_no_evidence_is_overdrawn_until_there_is_some,
        ),
        ("witnesses_are_told_who_plays_which_part", witnesses_are_told_who_plays_which_part),
        (
            "what_was_there_at_the_start_is_no_torn_read_until_it_was_changed",
            what_was_there_at_the_start_is_no_torn_read_until_it_was_changed,
        ),
        (
            "a_holder_that_outstays_its_welcome_is_no_release_that_hangs",
            a_holder_that_outstays_its_welcome_is_no_release_that_hangs,
        ),
        ("nothing_is_left_behind", nothing_is_left_behind),
    ];
    let wanted = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
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
    let _ = std::fs::remove_dir_all(base());
    println!("\n{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}
