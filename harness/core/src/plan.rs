//! A plan: one strategy of one scenario under one hazard, with every limit and the seed that all
//! random choices come from. Engines run plans.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::claim::Hazard;
use crate::scenario::Scenario;

/// What an engine is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario.
    pub scenario: Scenario,
    /// The strategy under comparison, by name.
    pub strategy: String,
    /// What the environment does.
    pub hazard: Hazard,
    /// Everything random comes from this.
    pub seed: u64,
    /// How long the engine may run.
    pub budget: Duration,
    /// Directory under which state directories are made.
    pub base: std::path::PathBuf,
    /// A directory on another file system, where the machine has one.
    pub other_dir: Option<std::path::PathBuf>,
}

impl Plan {
    /// A seed for one part of the plan: the same part always gets the same one, and parts do not
    /// resemble each other.
    pub fn seed_for(&self, part: &[u64]) -> u64 {
        part.iter().fold(mix(self.seed), |seed, &word| mix(seed ^ mix(word)))
    }
}

/// The finaliser of splitmix64 (Steele, Lea & Flood, OOPSLA 2014).
pub const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
