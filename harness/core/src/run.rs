//! A run: everything that one invocation found out, as `run.json` holds it (`"format": 1`).
//!
//! Fields are only ever added while the format number stays. Times are nanoseconds where the name
//! ends in `_ns`, milliseconds where it ends in `_ms`, rates are per second.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::claim::{Claim, Engine, Guarantee, Hazard};
use crate::object::Operation;
use crate::verdict::{Anomaly, Scope, Verdict};

/// Everything that one invocation found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The number of this format: 1.
    pub format: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// On which machine.
    pub host: Host,
    /// Everything random came from this.
    pub seed: u64,
    /// The arguments that running a part of it again has to repeat beside scenario, strategy, directory
    /// and seed, for example `--budget`, `30s`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// When it began: RFC 3339.
    pub started: String,
    /// How long it took in milliseconds.
    #[serde(default)]
    pub elapsed_ms: u64,
    /// Whether it was cut short by a signal; what is here was measured all the same.
    #[serde(default)]
    pub interrupted: bool,
    /// The kept witnesses that were run again first, in the order of their files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptWitness>,
    /// The scenarios, in the order in which they ran.
    pub scenarios: Vec<ScenarioRun>,
}

/// An execution in which something was broken once, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptWitness {
    /// The file that it is kept in.
    pub file: String,
    /// Its replay token, or what stands in its place.
    pub token: String,
    /// Whether something is broken in it still; absent when it could not be run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduced: Option<bool>,
    /// What is broken, or why it could not be run again; absent when it is mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// The promises of the strategy that this breaks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<Claim>,
}

impl Run {
    /// The number of the format that this crate writes.
    pub const FORMAT: u32 = 1;
}

/// The program that wrote a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `tearproof`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The machine of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Release of the kernel.
    pub kernel: String,
    /// CPUs that the run could use.
    pub cpus: u32,
    /// Type of the file system under the state directories, for example `ext4`.
    pub filesystem: String,
    /// The directories that state directories were made in, each with its type.
    #[serde(default)]
    pub directories: Vec<Directory>,
    /// Architecture, for example `x86_64`.
    #[serde(default)]
    pub arch: String,
}

/// A directory that state directories were made in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Where.
    pub path: String,
    /// Type of the file system.
    pub filesystem: String,
    /// How it was named by whoever asked for it; absent where nobody named a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
}

/// One scenario of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioRun {
    /// Its name.
    pub name: String,
    /// What it is about.
    #[serde(default)]
    pub summary: String,
    /// Where it comes from.
    #[serde(default)]
    pub source: String,
    /// The guarantees that it requires of a strategy to be recommended.
    #[serde(default)]
    pub requires: Vec<Claim>,
    /// Whether these are the defaults for the scenario's object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_default: bool,
    /// The file system that it ran on, for example `ext4`.
    #[serde(default)]
    pub filesystem: String,
    /// The directory that its state directories were made in.
    #[serde(default)]
    pub directory: String,
    /// The file of the definition, as it was named; absent when it is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// The strategies, in the order of the definition.
    pub strategies: Vec<StrategyRun>,
}

/// Where a strategy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Part of tearproof.
    BuiltIn,
    /// From the definition.
    Command,
}

/// One strategy in one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StrategyRun {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it is wrong on purpose.
    #[serde(default)]
    pub broken: bool,
    /// What it promises.
    pub claims: Vec<Claim>,
    /// One cell a guarantee, hazard and engine.
    pub verdicts: Vec<Cell>,
    /// Latency by operation, measured without hazards but concurrency.
    pub latency: BTreeMap<Operation, Latency>,
    /// Completed operations a second by operation, over all clients.
    pub throughput_per_s: BTreeMap<Operation, f64>,
    /// Torn reads among all reads under plain concurrency, where any read was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn_reads: Option<TornReads>,
    /// Operations that ended in `fail` or `info`, by message, most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorCount>,
    /// What the environment kept from running, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// One cell of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What should hold.
    pub guarantee: Guarantee,
    /// Against what.
    pub hazard: Hazard,
    /// Who looked.
    pub engine: Engine,
    /// What is known.
    pub verdict: Verdict,
    /// Whether the strategy promises this.
    pub claimed: bool,
    /// How far it was looked.
    pub scope: Scope,
    /// The breaches, by kind.
    pub anomalies: Vec<Anomaly>,
}

/// Latencies of one operation, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub count: u64,
    pub min_ns: u64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p99_9_ns: u64,
    pub max_ns: u64,
    pub mean_ns: f64,
}

/// How often reads were torn, and what that says of the window in which they can be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TornReads {
    /// Reads that returned.
    pub reads: u64,
    /// Those that were torn.
    pub torn: u64,
    /// Writes that were acknowledged in the same time.
    pub writes: u64,
    /// The time in which they were made, in nanoseconds, summed over executions.
    pub elapsed_ns: u64,
}

/// A message and how often it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The operation.
    pub operation: Operation,
    /// Under which hazard.
    pub hazard: Hazard,
    /// The message.
    pub message: String,
    /// How often.
    pub count: u64,
}

/// How a run ends: the exit code of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every claim that was looked at held.
    Held,
    /// A claim was violated.
    Violated,
    /// A claim stayed inconclusive, and not only because a canary is as broken as it should be; or the
    /// run was cut short before it had looked at all of them, or none of its engines looks at something
    /// that a user's program claims.
    Inconclusive,
}

impl Outcome {
    /// 0, 1 or 3.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Violated => 1,
            Self::Inconclusive => 3,
        }
    }
}

impl StrategyRun {
    /// Claims that no engine looked at.
    pub fn unseen_claims(&self) -> Vec<Claim> {
        let seen = |claim: &Claim| {
            let mut cells = self.verdicts.iter();
            cells.any(|cell| cell.guarantee == claim.guarantee && cell.hazard == claim.hazard)
        };
        self.claims.iter().copied().filter(|claim| !seen(claim)).collect()
    }

    /// Whether this is a canary of the catalogue that did what it is there for: it was seen to break
    /// something, as it should. What it cannot be asked because of that, such as mutual exclusion of a
    /// lock that nobody ever gets, is no open question.
    pub fn is_exposed(&self) -> bool {
        let seen_broken = |cell: &Cell| !cell.claimed && cell.verdict == Verdict::Violated;
        self.origin == Origin::BuiltIn && self.broken && self.verdicts.iter().any(seen_broken)
    }

    /// Whether a claim stayed inconclusive that somebody may rely on.
    fn is_open(&self) -> bool {
        let open = |cell: &Cell| cell.claimed && cell.verdict == Verdict::Inconclusive;
        !self.is_exposed() && self.verdicts.iter().any(open)
    }

    /// Whether this is a user's own program of whose claims one was not looked at. Its author asked
    /// about every one of them; what tearproof claims of its own strategies nobody asked.
    pub fn is_unproven(&self) -> bool {
        self.origin == Origin::Command && !self.unseen_claims().is_empty()
    }
}

impl Run {
    /// Whether the claims held. What nobody claims does not count; and what a user's own program
    /// claims and nobody looked at did not hold, as far as anyone knows.
    pub fn outcome(&self) -> Outcome {
        let strategies = || self.scenarios.iter().flat_map(|scenario| &scenario.strategies);
        let broken = |cell: &Cell| cell.claimed && cell.verdict == Verdict::Violated;
        if strategies().any(|strategy| strategy.verdicts.iter().any(broken)) {
            Outcome::Violated
        } else if self.interrupted
            || strategies().any(|strategy| strategy.is_open() || strategy.is_unproven())
        {
            Outcome::Inconclusive
        } else {
            Outcome::Held
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that claims atomic reads, of which `looked` says whether anybody looked.
    fn run(origin: Origin, looked: bool) -> Run {
        let claim = Claim::new(Guarantee::AtomicReads, Hazard::PowerLoss);
        let cell = Cell {
            guarantee: claim.guarantee,
            hazard: claim.hazard,
            engine: Engine::Crash,
            verdict: Verdict::Verified,
            claimed: true,
            scope: Scope::default(),
            anomalies: Vec::new(),
        };
        let strategy = serde_json::json!({
            "name": "mine", "origin": origin, "claims": [claim],
            "verdicts": if looked { vec![cell] } else { Vec::new() },
            "latency": {}, "throughput_per_s": {},
        });
        let run = serde_json::json!({
            "format": 1, "tool": { "name": "tearproof", "version": "0" },
            "host": { "kernel": "6", "cpus": 1, "filesystem": "ext4" },
            "seed": 1, "started": "", "scenarios": [{ "name": "one", "strategies": [strategy] }],
        });
        serde_json::from_value(run).expect("a run")
    }

    #[test]
    fn what_a_users_program_claims_and_nobody_looked_at_did_not_hold() {
        assert_eq!(run(Origin::Command, false).outcome(), Outcome::Inconclusive);
        assert_eq!(run(Origin::Command, true).outcome(), Outcome::Held);
        assert_eq!(run(Origin::BuiltIn, false).outcome(), Outcome::Held);
    }

    /// A built-in strategy whose claim stayed inconclusive, and of which something else has this verdict.
    fn open(broken: bool, other: Verdict) -> Run {
        let mut run = run(Origin::BuiltIn, true);
        let strategy = &mut run.scenarios[0].strategies[0];
        strategy.broken = broken;
        strategy.verdicts[0].verdict = Verdict::Inconclusive;
        let guarantee = Guarantee::Progress;
        strategy.verdicts.push(Cell {
            guarantee,
            claimed: false,
            verdict: other,
            ..strategy.verdicts[0].clone()
        });
        run
    }

    #[test]
    fn what_a_canary_leaves_open_because_it_is_broken_is_no_open_question() {
        assert_eq!(open(true, Verdict::Violated).outcome(), Outcome::Held);
    }

    #[test]
    fn what_anybody_else_leaves_open_is_an_open_question() {
        assert_eq!(open(false, Verdict::Violated).outcome(), Outcome::Inconclusive);
        // A canary that was not seen to break anything may simply not have run.
        for other in [Verdict::NotObserved, Verdict::Verified, Verdict::Inconclusive] {
            assert_eq!(open(true, other).outcome(), Outcome::Inconclusive);
        }
        let mut own = open(true, Verdict::Violated);
        own.scenarios[0].strategies[0].origin = Origin::Command;
        assert_eq!(own.outcome(), Outcome::Inconclusive);
        // Nor does one canary speak for another one.
        let mut two = open(true, Verdict::Violated);
        two.scenarios[0].strategies.extend(open(true, Verdict::NotObserved).scenarios.remove(0).strategies);
        assert_eq!(two.outcome(), Outcome::Inconclusive);
    }

    #[test]
    fn a_canary_that_breaks_what_it_claims_fails_the_run() {
        let mut run = open(true, Verdict::Violated);
        run.scenarios[0].strategies[0].verdicts[1].claimed = true;
        assert_eq!(run.outcome(), Outcome::Violated);
    }
}
