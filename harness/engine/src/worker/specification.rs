//! What a worker process is told when it starts: the plan, and who plays which part.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tearproof_core::claim::Hazard;
use tearproof_core::document::Stamp;
use tearproof_core::object::{Object, Operation};
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{ClientRole, Lifetime, LockBefore, StateBefore, Via};
use tearproof_core::strategy::ClientContext;

use crate::program::START_TIMEOUT;

/// What a client may take beyond the time that its program has to greet.
const STARTING_GRACE: Duration = Duration::from_secs(2);

/// Everything that the processes of a session have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Specification {
    /// The plan.
    pub plan: Plan,
    /// The processes, clients first.
    pub processes: Vec<Part>,
    /// The directory under which each execution gets its own.
    pub root: PathBuf,
    /// Clients run one at a time, behind gates.
    pub gated: bool,
}

/// The part that one process plays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    pub kind: PartKind,
    /// The strategy, by name.
    pub strategy: String,
    /// The way of its reads.
    pub via: Via,
    /// Index of its first thread among those of all processes.
    pub first_thread: usize,
    /// How many threads it has.
    pub threads: usize,
}

/// Which part a process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// A client of the role with this index.
    Client(usize),
    /// Whom the clients talk to.
    Server,
    /// Holds a lock before the clients start.
    Planter,
    /// Looks at what is there when everybody has finished.
    Auditor,
}

impl Specification {
    /// The processes for a plan. `needs_server` says whether a strategy, by name, has a server.
    pub fn new(plan: Plan, root: PathBuf, needs_server: impl Fn(&str) -> bool) -> Self {
        let mut processes: Vec<Part> = Vec::new();
        let mut first_thread = 0;
        let mut add = |processes: &mut Vec<Part>, kind, strategy: &str, via, threads| {
            processes.push(Part { kind, strategy: strategy.to_owned(), via, first_thread, threads });
            first_thread += threads;
        };
        let mut servers: Vec<(String, Via)> = Vec::new();
        let mut want_server = |strategy: &str, via| {
            let server = (strategy.to_owned(), via);
            if !servers.contains(&server) {
                servers.push(server);
            }
        };
        for (index, role) in plan.scenario.clients.iter().enumerate() {
            let strategy = role.strategy.as_ref().unwrap_or(&plan.strategy);
            for _ in 0..role.count {
                add(&mut processes, PartKind::Client(index), strategy, role.via, role.threads as usize);
            }
            if needs_server(strategy) {
                want_server(strategy, Via::File);
            }
            if role.via == Via::Http {
                want_server(strategy, Via::Http);
            }
        }
        for (strategy, via) in &servers {
            add(&mut processes, PartKind::Server, strategy, *via, 1);
        }
        let strategy = plan.strategy.clone();
        if matches!(
            plan.scenario.before.lock,
            LockBefore::DeadHolder | LockBefore::Expired | LockBefore::LiveHolder
        ) {
            add(&mut processes, PartKind::Planter, &strategy, Via::File, 1);
        }
        add(&mut processes, PartKind::Auditor, &strategy, Via::File, 1);
        Self { plan, processes, root, gated: false }
    }

    /// Threads of all processes.
    pub fn threads(&self) -> usize {
        self.processes.iter().map(|part| part.threads).sum()
    }

    /// The index of the auditor: the last one.
    pub fn auditor(&self) -> usize {
        self.processes.len() - 1
    }

    /// The role that a process plays, if it is a client.
    pub fn role(&self, process: usize) -> Option<&ClientRole> {
        match self.processes[process].kind {
            PartKind::Client(role) => Some(&self.plan.scenario.clients[role]),
            PartKind::Server | PartKind::Planter | PartKind::Auditor => None,
        }
    }

    /// How long the processes live that do the operations of this one. A program that every role starts anew for each
    /// operation is used like that by whoever looks at what it left, too: it may finish its work when it exits.
    pub fn lifetime(&self, process: usize) -> Lifetime {
        if let Some(role) = self.role(process) {
            return role.lifetime;
        }
        let strategy = &self.processes[process].strategy;
        let mut roles = (0..self.processes.len())
            .filter(|&other| self.processes[other].strategy == *strategy)
            .filter_map(|other| self.role(other))
            .peekable();
        let anew = roles.peek().is_some() && roles.all(|role| role.lifetime == Lifetime::Operation);
        if anew && self.runs_program(process) { Lifetime::Operation } else { Lifetime::Session }
    }

    /// The part that a process plays, as witnesses name it.
    pub fn player(&self, process: usize) -> &str {
        match self.processes[process].kind {
            PartKind::Client(role) => &self.plan.scenario.clients[role].role,
            PartKind::Server => "server",
            PartKind::Planter => "earlier-holder",
            PartKind::Auditor => "auditor",
        }
    }

    /// How a process is called where people read of it: its number, from 1, and what it is there for.
    pub fn title(&self, process: usize) -> String {
        let part = &self.processes[process];
        match part.kind {
            PartKind::Client(role) => {
                format!("client process {} ({})", process + 1, self.plan.scenario.clients[role].role)
            }
            PartKind::Server => format!("the server of `{}`", part.strategy),
            PartKind::Planter => "the process that holds the lock beforehand".to_owned(),
            PartKind::Auditor => "the auditor".to_owned(),
        }
    }

    /// How long processes may take for a step that is done at once, or never: those that drive a program
    /// wait for it to greet, and have to have the time to say that it did not.
    pub fn step_patience(&self, processes: &[usize]) -> Duration {
        let hang = self.plan.scenario.stress.hang;
        if processes.iter().any(|&process| self.is_agent(process)) {
            hang.max(START_TIMEOUT) + STARTING_GRACE
        } else {
            hang
        }
    }

    /// The directory of an execution. The state directory is in it, and so is whatever the harness
    /// itself has to put somewhere.
    pub fn execution_dir(&self, execution: u32) -> PathBuf {
        self.root.join(execution.to_string())
    }

    /// What a client needs to know of its surroundings.
    pub fn context(&self, execution: u32, client: u32) -> ClientContext {
        let state = &self.plan.scenario.state;
        let limits = &self.plan.scenario.stress;
        let dir = self.execution_dir(execution).join("state");
        ClientContext {
            file: dir.join(&state.file),
            dir,
            other_dir: self.plan.other_dir.as_deref().map(Path::to_owned),
            format: state.format,
            object: state.object,
            shape: state.shape(),
            client,
            lease: limits.lease,
            patience: limits.patience,
        }
    }

    /// Whether a process runs a program of the user, so that documents may be spelt differently.
    pub fn runs_program(&self, process: usize) -> bool {
        self.plan.scenario.program(&self.processes[process].strategy).is_some()
    }

    /// Whether a process drives other processes that do the operations, and is itself no target.
    pub fn is_agent(&self, process: usize) -> bool {
        self.runs_program(process)
            || self.role(process).is_some_and(|role| role.lifetime == Lifetime::Operation)
    }

    /// Whether a stall of the machine could be taken for a breach: a lease that ran out although
    /// nobody was paused.
    pub fn judges_leases(&self) -> bool {
        self.plan.scenario.state.object == Object::Lock && self.plan.hazard != Hazard::Pause
    }

    /// How long a stall may be before it does: beats come every quarter of a lease, and the kernel
    /// stamps files up to ten milliseconds late.
    pub fn bearable_stall(&self) -> Duration {
        self.plan.scenario.stress.lease / 3
    }

    /// How often a process that is watched for stalls says that it runs.
    pub fn beat_period(&self) -> Duration {
        self.plan.scenario.stress.lease / 10
    }

    /// Whether every writer of the state file is built in.
    pub fn all_built_in(&self) -> bool {
        (0..self.processes.len()).all(|process| !self.runs_program(process))
    }

    /// What the auditor does, in order.
    pub fn audit(&self) -> &'static [Operation] {
        let changes = |operation| {
            self.plan.scenario.clients.iter().any(|role| role.does.iter().any(|&(does, _)| does == operation))
        };
        match self.plan.scenario.state.object {
            Object::Register if changes(Operation::Write) => {
                &[Operation::Read, Operation::Write, Operation::Read]
            }
            Object::Set if changes(Operation::Update) => {
                &[Operation::Read, Operation::Update, Operation::Read]
            }
            Object::Log if changes(Operation::Append) => {
                &[Operation::Read, Operation::Append, Operation::Read]
            }
            Object::Lock => &[Operation::Acquire],
            Object::Register | Object::Set | Object::Log => &[Operation::Read],
        }
    }

    /// The stamp of the value that is there before the clients start, if there is one.
    pub fn initial(&self) -> Option<Stamp> {
        let object = self.plan.scenario.state.object;
        (object == Object::Register && self.plan.scenario.before.state == StateBefore::Present)
            .then_some(Stamp::INITIAL)
    }
}
