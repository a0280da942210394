//! Two clients that each make one call, in every order, on the real kernel.
//!
//! The clients are this test binary again, in the hidden test [`plays_its_part`]. What they do in an
//! execution they read from a file beside the state directory, so that the same processes serve for
//! all pairs: what is done before, the call that counts, and what is asked afterwards, a line each.
//! Where they are in it they tell by files of their own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tearproof_core::claim::Hazard;
use tearproof_core::document::Format;
use tearproof_core::object::{Object, Operation};
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{
    Before, ClientRole, ExploreLimits, Lifetime, LockBefore, Require, Scenario, StateBefore, StateFile,
    StressLimits, Via,
};
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy, StrategyError, StrategyInfo};

use super::super::Footprint;
use super::caller::{Caller, make_world};
use crate::explore::arena::{Arena, ArenaError};
use crate::explore::stand::Stand;
use crate::explore::system::{System, ThreadId};
use crate::process::{Executable, Interrupt, StateRoot, janitor_main};
use crate::stress::Surroundings;
use crate::worker::{EXECUTION, Strategies, worker_main};

/// What the clients still see of their own files when both calls are done.
pub(super) const AFTERWARDS: &str = "offset;pread;fstat";

const INFO: StrategyInfo = StrategyInfo {
    name: "as-told",
    algorithm: "what a file says",
    claims: &[],
    source: "this test",
    objects: Object::ALL,
    broken: false,
    timed: false,
};

struct AsTold;

impl Strategy for AsTold {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn prepare(&self, context: &ClientContext, _: Option<&[u8]>) -> Result<(), StrategyError> {
        make_world(&context.dir).map_err(|error| StrategyError::failed(error.to_string()))
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        Ok(Box::new(Told { context: context.clone() }))
    }
}

struct Told {
    context: ClientContext,
}

impl Told {
    fn play(&self) -> std::io::Result<()> {
        let beside = |name: String| self.context.dir.with_file_name(name);
        let client = self.context.client;
        let program = std::fs::read_to_string(beside(format!("program-{client}")))?;
        let mut lines = program.lines();
        let run = lines.next().unwrap_or_default();
        let mut caller = Caller::new(&self.context.dir, self.context.client);
        for phase in ["ready", "done", "seen"] {
            let results = caller.calls(lines.next().unwrap_or_default());
            std::fs::write(beside(format!("{phase}-{client}-{run}")), results)?;
        }
        Ok(())
    }
}

impl Client for Told {
    fn read(&mut self, _: &mut Vec<u8>) -> Result<Found, StrategyError> {
        Ok(Found::Absent)
    }

    fn write(&mut self, _: &[u8]) -> Result<(), StrategyError> {
        self.play().map_err(|error| StrategyError::failed(error.to_string()))
    }
}

struct One;

impl Strategies for One {
    fn built_in(&self, _: &str) -> Option<&'static dyn Strategy> {
        Some(&AsTold)
    }

    fn over_http(&self, inner: Arc<dyn Strategy>) -> Arc<dyn Strategy> {
        inner
    }
}

/// The clients of the tests below.
#[test]
#[ignore = "a role that the other tests have this binary play"]
fn plays_its_part() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "worker" && argument != "janitor");
    match arguments.next().as_deref() {
        Some("worker") => {
            let mut number = || arguments.next().and_then(|text| text.parse::<u32>().ok()).expect("a number");
            let index = number() as usize;
            worker_main(index, number(), &One);
            std::process::exit(1);
        }
        Some("janitor") => janitor_main(),
        _ => {}
    }
}

pub(super) fn plan() -> Plan {
    let role = ClientRole {
        role: "caller".to_owned(),
        count: 3,
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
        name: "as-told".to_owned(),
        summary: String::new(),
        source: String::new(),
        strategies: vec!["as-told".to_owned()],
        state: StateFile {
            file: "f0".to_owned(),
            format: Format::Bytes,
            object: Object::Register,
            size: 4096,
            grow: 0,
            opaque: false,
        },
        clients: vec![role],
        programs: Vec::new(),
        before: Before { state: StateBefore::Absent, lock: LockBefore::None },
        require: Require { guarantees: Vec::new(), hazards: Vec::new() },
        stress: StressLimits::default(),
        explore: ExploreLimits { operations: 1, ..ExploreLimits::default() },
    };
    let shm = PathBuf::from("/dev/shm");
    Plan {
        scenario,
        strategy: "as-told".to_owned(),
        hazard: Hazard::Concurrency,
        seed: 1,
        budget: Duration::from_secs(3600),
        base: if shm.is_dir() { shm } else { std::env::temp_dir() },
        other_dir: None,
    }
}

/// One step of one of the two calls.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    /// The first client, or the second.
    pub by: usize,
    pub footprint: Footprint,
    /// Who could take a step before it.
    pub could: [bool; 2],
}

/// Two calls in one order.
#[derive(Clone, Debug)]
pub(super) struct Ordered {
    pub steps: Vec<Taken>,
    /// Who has to wait for ever.
    pub waits: [bool; 2],
    pub outcome: String,
}

/// Two calls, and all that came of them.
#[derive(Debug)]
pub(super) struct Pair {
    pub names: [String; 2],
    pub orders: Vec<Ordered>,
}

struct Playground<'a, 's> {
    /// What a third client sees in the end.
    look: &'a str,
    arena: &'a mut Arena<'s>,
    root: PathBuf,
    threads: [ThreadId; 3],
    /// The number of the execution. What a client still writes that was left behind in an earlier one has
    /// the number of that.
    run: u64,
}

impl Playground<'_, '_> {
    fn mark(&self, phase: &str, who: usize) -> PathBuf {
        self.root.join(format!("{phase}-{}-{}", who + 1, self.run))
    }

    fn tell(&self, who: usize, program: &str) {
        let path = self.root.join(format!("program-{}", who + 1));
        std::fs::write(path, format!("{}\n{program}\n", self.run)).expect("a program");
    }

    fn can_go(&mut self, who: usize) -> Result<bool, ArenaError> {
        let mut enabled = Vec::new();
        self.arena.enabled(&mut enabled)?;
        Ok(enabled.contains(&self.threads[who]))
    }

    /// Lets one client go on until it has come so far. `false`: it cannot.
    fn go_on(&mut self, who: usize, until: &str) -> Result<bool, ArenaError> {
        let mark = self.mark(until, who);
        while !mark.exists() {
            if !self.can_go(who)? {
                return Ok(false);
            }
            self.arena.step(self.threads[who])?;
        }
        Ok(true)
    }

    /// One execution in the order that begins like this. `None` when one of the clients does not even
    /// come to its call.
    fn run(&mut self, calls: [&(&str, &str); 2], order: &[usize]) -> Result<Option<Ordered>, ArenaError> {
        self.run += 1;
        for (who, (before, call)) in calls.into_iter().enumerate() {
            self.tell(who, &format!("{before}\n{call}\n{AFTERWARDS}"));
        }
        self.tell(2, &format!("\n\n{}", self.look));
        self.arena.begin()?;
        for who in 0..2 {
            if !self.go_on(who, "ready")? {
                return Ok(None);
            }
        }
        let mut steps = Vec::new();
        loop {
            let mut could = [false; 2];
            for (who, could) in could.iter_mut().enumerate() {
                *could = !self.mark("done", who).exists() && self.can_go(who)?;
            }
            let first = could.iter().position(|can| *can);
            let Some(by) = order.get(steps.len()).copied().or(first) else { break };
            let footprint = self.arena.step(self.threads[by])?.footprint;
            steps.push(Taken { by, footprint, could });
        }
        let mut outcome = String::new();
        for who in 0..2 {
            // Who waits for the other one's lock does so until the end.
            self.go_on(who, "seen")?;
        }
        if !self.go_on(2, "seen")? {
            return Err(ArenaError::Confused(format!("{calls:?}: nobody can look")));
        }
        for who in 0..3 {
            for phase in ["done", "seen"] {
                let told = std::fs::read_to_string(self.mark(phase, who));
                outcome.push_str(&told.unwrap_or_else(|_| "waits".to_owned()));
                outcome.push_str(" | ");
            }
        }
        let waits = [0, 1].map(|who| !self.mark("done", who).exists());
        Ok(Some(Ordered { steps, waits, outcome }))
    }

    /// Both calls in every order.
    fn pair(&mut self, calls: [&(&str, &str); 2]) -> Result<Option<Pair>, ArenaError> {
        let mut orders: Vec<Ordered> = Vec::new();
        let mut open = vec![Vec::new()];
        while let Some(order) = open.pop() {
            let Some(ordered) = self.run(calls, &order)? else { return Ok(None) };
            for (index, step) in ordered.steps.iter().enumerate().skip(order.len()) {
                if step.could == [true, true] {
                    let mut other: Vec<usize> = ordered.steps[..index].iter().map(|step| step.by).collect();
                    other.push(1 - step.by);
                    open.push(other);
                }
            }
            orders.push(ordered);
        }
        let names = calls.map(|(before, call)| format!("{before}>{call}"));
        Ok(Some(Pair { names, orders }))
    }
}

/// Every pair of calls, in every order, each of which a third client looks at in the end.
///
/// # Panics
/// When they cannot be run, or something goes past the gate.
pub(super) fn every_pair(calls: &[(&str, &str)], look: &str) -> Vec<Pair> {
    let plan = plan();
    let role = ["--exact", "--ignored", "--nocapture", "explore::access::tests::playground::plays_its_part"];
    let executable = Executable::new("/proc/self/exe", role);
    let root = StateRoot::create(&plan.base, &executable).expect("a state directory");
    let mut surroundings = Surroundings {
        executable: &executable,
        strategies: &One,
        check: &|_| Ok(Vec::new()),
        observe: &mut |_, _| {},
        interrupt: &Interrupt::default(),
        stop_at_violation: false,
    };
    let pairs = Stand::with(&plan, &root, &mut surroundings, |stand, _| {
        let state = root.path().join(EXECUTION.to_string());
        let threads: Vec<ThreadId> = stand.arena.clients().into_values().collect();
        let threads = [threads[0], threads[1], threads[2]];
        let mut playground = Playground { look, arena: &mut stand.arena, root: state, threads, run: 0 };
        let mut pairs = Vec::new();
        for (index, one) in calls.iter().enumerate() {
            for other in &calls[index..] {
                pairs.extend(playground.pair([one, other])?);
            }
        }
        assert_eq!(playground.arena.escapes(), &[] as &[String]);
        Ok(pairs)
    });
    pairs.unwrap_or_else(|error| panic!("{error}"))
}
