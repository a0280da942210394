//! What an engine says of a guarantee: [`Verdict`], how far it looked ([`Scope`]), and the
//! evidence ([`Anomaly`], [`Witness`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::claim::{AnomalyKind, Guarantee};
use crate::names::names;

names! {
    /// What is known of a guarantee after an engine is done.
    Verdict, "verdict" {
        /// Every execution within stated bounds was run, and the guarantee held.
        Verified = "verified",
        /// Executions were sampled, and the guarantee held in each.
        NotObserved = "not-observed",
        /// The guarantee was seen broken.
        Violated = "violated",
        /// A limit was hit before anything could be said.
        Inconclusive = "inconclusive",
        /// The guarantee says nothing about this scenario or strategy.
        NotApplicable = "not-applicable",
    }
}

/// How far an engine looked. What does not apply is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// Executions that were run and checked.
    pub executions: u64,
    /// Whether these are all there are within the bounds.
    pub exhausted: bool,
    /// Operations that were run and checked: in all for stress, of each client for explore.
    pub operations: Option<u64>,
    /// The bound on preemptions, if there was one.
    pub preemption_bound: Option<u32>,
    /// The limit that was hit, in words.
    pub limit: Option<String>,
    /// Kills that were delivered; for explore, of one execution at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kills: Option<u64>,
    /// Pauses that were delivered; for explore, of one execution at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pauses: Option<u64>,
    /// How long a pause lasted at most, in milliseconds; of explore, by the clients' clocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<u64>,
    /// The clients that played, by role, where an engine uses fewer than the definition has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clients: BTreeMap<String, u32>,
    /// What was sampled of the executions that were too many to run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sampling: Vec<Sampling>,
}

/// Schedules that were drawn at random, and what all of them may have missed (Burckhardt et al.,
/// ASPLOS 2010).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Constraints on the order of two steps each that a bug of this depth takes.
    pub depth: u32,
    /// Schedules that were drawn for it.
    pub schedules: u64,
    /// Threads that took steps.
    pub threads: u32,
    /// Steps of an execution, at most.
    pub steps: u32,
    /// The probability, at most, that none of them showed a bug of this depth that is there.
    pub missed_at_most: f64,
}

/// One line of a witness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, in nanoseconds since the first event of the execution.
    pub time_ns: u64,
    /// Who.
    pub client: u32,
    /// The part that this client plays, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What, in words: `write c3#17 invoked`.
    pub what: String,
    /// 1 and 2 mark the two steps that conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u8>,
    /// Where in the source of the client's program it was done, as far as the interpreter tells: `store.py:12 in
    /// update`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The end of what one client's program wrote to its standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandardError {
    /// Whose it is.
    pub client: u32,
    /// The part that this client plays, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How many lines came before these.
    pub left_out: u64,
    /// The last lines, without those that are blank.
    pub lines: Vec<String>,
}

/// The shortest evidence of an anomaly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Why this is a breach, in prose.
    pub explanation: String,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// The token that runs it again, where the engine can.
    pub replay: Option<String>,
    /// What programs of users wrote to their standard error meanwhile, by client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stderr: Vec<StandardError>,
}

/// One kind of breach of a guarantee, with how often it was seen and the evidence for one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// Which.
    pub kind: AnomalyKind,
    /// How often.
    pub count: u64,
    /// When the first one was seen, in milliseconds after the clients started.
    pub first_after_ms: Option<u64>,
    /// Torn reads by kind: `empty`, `partial`, `mixed`, `missing`, `foreign`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_kind: BTreeMap<String, u64>,
    /// The evidence.
    pub witness: Witness,
}

/// What a checker says of one guarantee in one history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It holds in this history.
    Holds,
    /// It does not. At least one anomaly.
    Violated(Vec<Anomaly>),
    /// The checker could not tell, and why.
    Inconclusive(String),
    /// The guarantee says nothing about this history.
    NotApplicable,
}

/// The findings of one history, one a guarantee.
pub type Findings = Vec<(Guarantee, Finding)>;
