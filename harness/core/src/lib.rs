//! The vocabulary of tearproof as types: what a scenario, a strategy, a history, a verdict and a
//! run *are*, and the two traits that the other crates implement.
//!
//! Nothing here does input or output, reads a clock, starts a thread or calls the kernel, so every
//! crate can import it and every value in it can be built by hand in a test.
//!
//! ```text
//! definition.toml -> Scenario -> Plan -> engine (processes) -> History -> check -> Verdict -> Run -> Report
//! ```

pub mod claim;
pub mod document;
pub mod evidence;
pub mod history;
pub mod jsonl;
pub mod log;
pub mod names;
pub mod object;
pub mod plan;
pub mod run;
pub mod scenario;
pub mod set;
pub mod strategy;
pub mod tally;
pub mod units;
pub mod verdict;

pub use claim::{AnomalyKind, Claim, Engine, Guarantee, Hazard};
pub use document::{Defect, Format, Stamp, TornKind};
pub use history::{Event, History, Payload, Phase, ValueId};
pub use object::{Object, Operation};
pub use plan::Plan;
pub use run::Run;
pub use scenario::Scenario;
pub use strategy::{Client, ClientContext, Strategy, StrategyError, StrategyInfo};
pub use verdict::{Anomaly, Finding, Scope, Step, Verdict, Witness};
