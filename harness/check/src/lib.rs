//! Histories in, verdicts out: pure checkers, one file for each property or algorithm.
//!
//! [`check`] gives one [`Finding`] for each guarantee that concurrency, pauses and kills can breach
//! and that a history can show. A breach is data; an error means that the events make no history.
//!
//! | guarantee | register | set | log | lock |
//! |---|---|---|---|---|
//! | `atomic-reads` | [`atomic_reads`] | [`atomic_reads`] | [`atomic_reads`] | – |
//! | `no-lost-updates` | – | [`lost_updates`] | [`lost_updates`] | – |
//! | `linearizable` | [`register`], [`wgl`] | [`set`] | [`log`], [`wgl`] | – |
//! | `mutual-exclusion` | – | – | – | [`lock`] |
//! | `progress`, `no-residue`, `metadata-kept` | all: [`progress`], [`residue`], [`metadata`] | | | |
//!
//! A torn read is counted under `atomic-reads` and left out of `linearizable`. An operation with
//! unknown outcome may have taken effect at any time after its invocation, or never; one that failed
//! did not.

pub mod atomic_reads;
pub mod client_table;
pub mod elements;
pub mod lock;
pub mod log;
pub mod lost_updates;
pub mod metadata;
pub mod operations;
pub mod origins;
pub mod progress;
pub mod register;
pub mod residue;
pub mod sequential_spec;
pub mod set;
pub mod wgl;
pub mod witness;

use tearproof_core::verdict::Findings;
use tearproof_core::{Finding, Guarantee, History, Object};

pub use sequential_spec::SequentialSpec;
pub use tearproof_core::history::MalformedHistory;

use elements::Elements;
use operations::Operations;
use origins::Origins;

/// How many steps the general checker may take before it says that it cannot tell: some seconds.
pub const STEP_BUDGET: u64 = 10_000_000;

/// Checks every guarantee that a history can show to be broken. Those that say nothing about the
/// object are [`Finding::NotApplicable`]. In a history that was cut short by a limit what is broken
/// is reported as far as nothing that is missing could explain it; everything else is inconclusive.
///
/// # Errors
/// When the events make no history.
pub fn check(history: &History) -> Result<Findings, MalformedHistory> {
    check_within(history, STEP_BUDGET)
}

/// As [`check`], with another budget for the general checker.
///
/// # Errors
/// When the events make no history.
pub fn check_within(history: &History, steps: u64) -> Result<Findings, MalformedHistory> {
    let operations = Operations::of(history)?;
    let none = Finding::NotApplicable;
    let (atomic, updates, order, exclusion) = match history.object {
        Object::Register => {
            let origins = Origins::of(&operations);
            let order = match register::check(&operations, &origins, steps) {
                // An invocation that is missing may be what explains these reads.
                Finding::Violated(_)
                    if history.limit.is_some() && (origins.ambiguous || origins.compares) =>
                {
                    Finding::Holds
                }
                order => order,
            };
            (atomic_reads::check_register(&operations, &origins), none.clone(), order, none)
        }
        Object::Set => {
            let elements = Elements::of(&operations);
            let updates = lost_updates::check(&operations, &elements);
            let order = set::check(&operations, &elements);
            (atomic_reads::check_lists(&operations, &elements), updates, order, none)
        }
        Object::Log => {
            let elements = Elements::of(&operations);
            let updates = lost_updates::check(&operations, &elements);
            let order = match log::check(&operations, &elements, steps) {
                Finding::Violated(_) if history.limit.is_some() && elements.ambiguous => Finding::Holds,
                order => order,
            };
            (atomic_reads::check_lists(&operations, &elements), updates, order, none)
        }
        Object::Lock => (none.clone(), none.clone(), none, lock::check(&operations)),
    };
    // Whoever is missing from the history may have been in the way.
    let progress = if history.limit.is_some() { Finding::Holds } else { progress::check(&operations) };
    let mut findings = vec![
        (Guarantee::AtomicReads, atomic),
        (Guarantee::NoLostUpdates, updates),
        (Guarantee::Linearizable, order),
        (Guarantee::MutualExclusion, exclusion),
        (Guarantee::Progress, progress),
        (Guarantee::NoResidue, residue::check(history)),
        (Guarantee::MetadataKept, metadata::check(history)),
    ];
    if let Some(limit) = &history.limit {
        for (_, finding) in &mut findings {
            if matches!(finding, Finding::Holds) {
                *finding = Finding::Inconclusive(limit.clone());
            }
        }
    }
    Ok(findings)
}
