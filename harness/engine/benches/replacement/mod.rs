//! What is explored here: two clients that each replace a file and one that reads it, an operation each.

use std::path::PathBuf;
use std::time::Duration;

use tearproof_core::claim::Hazard;
use tearproof_core::document::Format;
use tearproof_core::object::{Object, Operation};
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{
    Before, ClientRole, ExploreLimits, Lifetime, LockBefore, Program, Require, Scenario, StateBefore,
    StateFile, StressLimits, Via,
};

/// A file system in memory, where there is one.
pub fn base() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() { shm } else { std::env::temp_dir() }
}

/// The plan for a strategy: one of these programs, or one that is built in.
pub fn plan(strategy: &str, programs: Vec<Program>, state: StateBefore) -> Plan {
    let role = |name: &str, count, operation| ClientRole {
        role: name.to_owned(),
        count,
        threads: 1,
        does: vec![(operation, 1)],
        hold: Duration::ZERO,
        lifetime: Lifetime::Session,
        rate: None,
        via: Via::File,
        strategy: None,
        operations: None,
    };
    let scenario = Scenario {
        name: "replace".to_owned(),
        summary: String::new(),
        source: String::new(),
        strategies: vec![strategy.to_owned()],
        state: StateFile {
            file: "state".to_owned(),
            format: Format::Bytes,
            object: Object::Register,
            size: 256,
            grow: 0,
            opaque: false,
        },
        clients: vec![role("launcher", 2, Operation::Write), role("dashboard", 1, Operation::Read)],
        programs,
        before: Before { state, lock: LockBefore::None },
        require: Require { guarantees: Vec::new(), hazards: Vec::new() },
        stress: StressLimits::default(),
        explore: ExploreLimits { operations: 1, ..ExploreLimits::default() },
    };
    Plan {
        scenario,
        strategy: strategy.to_owned(),
        hazard: Hazard::Concurrency,
        seed: 1,
        budget: Duration::from_secs(3600),
        base: base(),
        other_dir: None,
    }
}
