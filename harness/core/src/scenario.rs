//! A scenario: which state file, which clients, which strategies compared, what must hold.
//!
//! This is a definition after it was read and found right; the reader itself, which knows about
//! TOML, spans and carets, lives with the definitions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::claim::{Claim, Guarantee, Hazard};
use crate::document::{Format, Shape};
use crate::object::{Object, Operation};

/// A definition, complete and consistent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name in tables and results.
    pub name: String,
    /// What it is about, in a line.
    pub summary: String,
    /// Where it comes from.
    pub source: String,
    /// The strategies compared, by name: built in, or a key of `programs`.
    pub strategies: Vec<String>,
    /// The state file.
    pub state: StateFile,
    /// The clients.
    pub clients: Vec<ClientRole>,
    /// The user's own strategies.
    pub programs: Vec<Program>,
    /// The world that each execution starts in.
    pub before: Before,
    /// What a strategy must keep to be recommended.
    pub require: Require,
    /// The limits of the stress engine.
    pub stress: StressLimits,
    /// The limits of the explore engine.
    pub explore: ExploreLimits,
}

/// The state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// Its name, in a directory made for each execution.
    pub file: String,
    /// How it is spelt.
    pub format: Format,
    /// What it stands for.
    pub object: Object,
    /// Length of a register's values, or of a log's records, in bytes.
    pub size: u32,
    /// By how much every fourth value of a register is longer, in bytes.
    pub grow: u32,
    /// The file has a shape of its own: reads are answered with elements, and there is no initial
    /// text.
    pub opaque: bool,
}

impl StateFile {
    /// The shape of a register's values.
    pub const fn shape(&self) -> Shape {
        Shape { format: self.format, size: self.size, grow: self.grow }
    }
}

/// How long a client process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// One process for the whole session.
    Session,
    /// A fresh process for each operation, as a command-line tool is.
    Operation,
}

/// Which way a role's reads take to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// The client reads the file itself.
    File,
    /// The client asks a server over HTTP, which streams the file in chunks.
    Http,
}

/// One role that clients play.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientRole {
    /// Its name in witnesses.
    pub role: String,
    /// How many processes play it.
    pub count: u32,
    /// How many threads each of them has. A thread is a client of its own.
    pub threads: u32,
    /// What a client does, with weights. For a lock, `acquire` stands for acquire, hold, release.
    pub does: Vec<(Operation, u32)>,
    /// Time spent inside the critical section.
    pub hold: Duration,
    /// How long a process lives.
    pub lifetime: Lifetime,
    /// Operations a second of each client; `None` for a closed loop.
    pub rate: Option<f64>,
    /// The way of its reads.
    pub via: Via,
    /// The strategy of this role, when it is not the one under comparison.
    pub strategy: Option<String>,
    /// How many operations a client of this role does in one execution at most; `None`: the
    /// engine's own limit.
    pub operations: Option<u32>,
}

/// A user's own strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// How it is run.
    pub form: ProgramForm,
    /// What it promises.
    pub claims: Vec<Claim>,
    /// Names of files that are meant to outlive the operations; `*` stands for anything.
    pub keeps: Vec<String>,
    /// The directory that commands run in: that of the definition.
    pub directory: std::path::PathBuf,
    /// How long one operation may take.
    pub timeout: Duration,
}

/// In which form a user's strategy comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgramForm {
    /// A long-lived process that speaks the worker protocol.
    Worker {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// A command for each operation.
    Commands {
        /// Program and arguments by operation.
        commands: Vec<(Operation, Vec<String>)>,
        /// Exit codes that mean: certainly not applied.
        fail_codes: Vec<i32>,
    },
}

/// The state that each execution starts in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The state file.
    pub state: StateBefore,
    /// The lock.
    pub lock: LockBefore,
}

/// What the state file is before the clients start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateBefore {
    /// There, with an initial value.
    Present,
    /// Not there.
    Absent,
    /// There, with no byte in it.
    Empty,
    /// There, with this content.
    Text(String),
}

/// What the lock is before the clients start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockBefore {
    /// Free.
    None,
    /// Left by a client that acquired it and was killed.
    DeadHolder,
    /// The same, and its lease has run out.
    Expired,
    /// Held by a client that lives.
    LiveHolder,
    /// A lock file with this content.
    Text(String),
}

/// What a strategy must keep to be recommended in a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Require {
    /// These guarantees.
    pub guarantees: Vec<Guarantee>,
    /// Under these hazards.
    pub hazards: Vec<Hazard>,
}

impl Require {
    /// Every guarantee under every hazard that can break it.
    pub fn claims(&self) -> Vec<Claim> {
        let under = |&guarantee: &Guarantee| {
            let hazards = self.hazards.iter().filter(move |&&hazard| guarantee.is_endangered_by(hazard));
            hazards.map(move |&hazard| Claim::new(guarantee, hazard))
        };
        self.guarantees.iter().flat_map(under).collect()
    }
}

/// Limits of the stress engine. Every one of them can be set in the definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StressLimits {
    /// Seconds of running for one strategy under one hazard. `None`: the run's budget decides.
    pub seconds: Option<f64>,
    /// Operations of one client in one execution at most.
    pub operations: u32,
    /// Length of one execution at most.
    pub execution: Duration,
    /// Measurements of the first part of a run are not counted.
    pub warm_up: Duration,
    /// Mean time between two kills of one execution.
    pub kill_every: Duration,
    /// Mean time between two pauses of one execution.
    pub pause_every: Duration,
    /// Length of a pause. Longer than any time-out of a strategy.
    pub pause: Duration,
    /// The lease or time-out that strategies are given.
    pub lease: Duration,
    /// How long an operation waits before it gives up.
    pub patience: Duration,
    /// After this time without returning, an operation counts as hanging.
    pub hang: Duration,
    /// Bytes of each client's ring of events.
    pub ring_bytes: u64,
}

impl Default for StressLimits {
    fn default() -> Self {
        Self {
            seconds: None,
            operations: 20_000,
            execution: Duration::from_millis(60),
            warm_up: Duration::from_millis(10),
            kill_every: Duration::from_millis(3),
            pause_every: Duration::from_millis(40),
            pause: Duration::from_millis(60),
            lease: Duration::from_millis(25),
            patience: Duration::from_millis(250),
            hang: Duration::from_secs(5),
            ring_bytes: 4 << 20,
        }
    }
}

/// Limits of the explore engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExploreLimits {
    /// Operations of each client.
    pub operations: u32,
    /// Preemptions in one execution; `None`: no bound.
    pub preemptions: Option<u32>,
    /// Kills in one execution.
    pub kills: u32,
    /// Pauses past every time-out in one execution.
    pub pauses: u32,
    /// Executions at most.
    pub executions: u64,
}

impl Default for ExploreLimits {
    fn default() -> Self {
        Self { operations: 2, preemptions: None, kills: 0, pauses: 0, executions: 1_000_000 }
    }
}

impl Scenario {
    /// The user's own strategy of this name.
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// How many client processes there are.
    pub fn processes(&self) -> u64 {
        self.clients.iter().map(|role| u64::from(role.count)).sum()
    }

    /// How many clients there are: threads of all processes.
    pub fn threads(&self) -> u64 {
        self.clients.iter().map(|role| u64::from(role.count) * u64::from(role.threads)).sum()
    }
}
