//! What an exploration knows of each guarantee, and the cells that come of it.

use std::collections::{BTreeMap, HashMap};

use tearproof_core::claim::{AnomalyKind, Engine, Guarantee, Hazard};
use tearproof_core::object::Operation;
use tearproof_core::run::Cell;
use tearproof_core::verdict::{Anomaly, Finding, Findings, Scope, Verdict};

use super::reach::Reach;
use super::system::ThreadId;

/// What was said of one guarantee in one execution.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Holds,
    Violated(Vec<AnomalyKind>),
    Inconclusive(String),
}

/// What is known of one guarantee.
#[derive(Debug, Default)]
struct Known {
    held: u64,
    doubt: Option<String>,
    anomalies: BTreeMap<AnomalyKind, Found>,
}

/// The first anomaly of its kind.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// As the checker told it.
    pub anomaly: Anomaly,
    /// The schedule in which it was seen.
    pub schedule: Vec<ThreadId>,
    /// Operations of a client in that execution.
    pub operations: u32,
    /// Executions in which it was seen.
    count: u64,
}

/// The guarantees and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    guarantees: BTreeMap<Guarantee, Known>,
    /// Executions that were judged, by signature.
    judged: HashMap<u64, Vec<(Guarantee, Said)>>,
    executions: u64,
    /// Operations by what was attempted: how many succeeded, and how the first that did not ended.
    attempts: BTreeMap<Operation, (u64, Option<String>)>,
}

impl Ledger {
    /// Whether an execution with this signature was judged; if so it is counted once more.
    pub fn count_again(&mut self, signature: u64) -> bool {
        let Some(said) = self.judged.get(&signature) else { return false };
        self.executions += 1;
        for (guarantee, said) in said {
            count(self.guarantees.entry(*guarantee).or_default(), said);
        }
        true
    }

    /// Adds what was found in the histories of one execution.
    pub fn add(&mut self, signature: u64, findings: Findings, schedule: &[ThreadId], operations: u32) {
        self.executions += 1;
        let mut all = Vec::new();
        for (guarantee, finding) in findings {
            let known = self.guarantees.entry(guarantee).or_default();
            let said = match finding {
                Finding::NotApplicable => continue,
                Finding::Holds => Said::Holds,
                Finding::Inconclusive(reason) => Said::Inconclusive(reason),
                Finding::Violated(anomalies) => {
                    let kinds = anomalies.iter().map(|anomaly| anomaly.kind).collect();
                    for anomaly in anomalies {
                        known.anomalies.entry(anomaly.kind).or_insert_with(|| Found {
                            anomaly,
                            schedule: schedule.to_vec(),
                            operations,
                            count: 0,
                        });
                    }
                    Said::Violated(kinds)
                }
            };
            count(known, &said);
            all.push((guarantee, said));
        }
        self.judged.insert(signature, all);
    }

    /// Whether an anomaly of this kind was found.
    pub fn knows(&self, kind: AnomalyKind) -> bool {
        self.guarantees.values().any(|known| known.anomalies.contains_key(&kind))
    }

    /// Forgets by which signature what was judged: another world begins, in which the same signature
    /// means something else.
    pub fn turn_page(&mut self) {
        self.judged.clear();
        self.executions = 0;
    }

    /// Notes how an operation ended: well, or not, and then in which words.
    pub fn attempt(&mut self, operation: Operation, failure: Option<&str>) {
        let (succeeded, first) = self.attempts.entry(operation).or_default();
        match failure {
            None => *succeeded += 1,
            Some(failure) => {
                first.get_or_insert_with(|| failure.to_owned());
            }
        }
    }

    /// An operation that never succeeded: nothing can be said of what nobody managed to do.
    pub fn fruitless(&self) -> Option<String> {
        self.attempts.iter().find(|(_, (succeeded, _))| *succeeded == 0).map(|(operation, (_, first))| {
            let how = first.as_deref().unwrap_or("it did not return");
            format!("no {operation} succeeded in any execution: {how}")
        })
    }

    /// Whether every guarantee that was looked at is known to be broken.
    pub fn all_broken(&self) -> bool {
        !self.guarantees.is_empty() && self.guarantees.values().all(|known| !known.anomalies.is_empty())
    }

    /// Executions that were judged on this page.
    pub const fn executions(&self) -> u64 {
        self.executions
    }

    /// The first anomaly of each kind.
    pub fn found(&mut self) -> impl Iterator<Item = &mut Found> {
        self.guarantees.values_mut().flat_map(|known| known.anomalies.values_mut())
    }

    /// Whether anything was found.
    pub fn found_any(&self) -> bool {
        self.guarantees.values().any(|known| !known.anomalies.is_empty())
    }

    /// One cell a guarantee that was looked at. Where nothing was, every guarantee has one, which says
    /// why: that nothing could be run is no pass.
    pub fn cells(&self, hazard: Hazard, clients: &BTreeMap<String, u32>, reach: &Reach) -> Vec<Cell> {
        if self.guarantees.is_empty() {
            let why = reach.doubt.clone().or_else(|| reach.limit.clone());
            let limit = why.unwrap_or_else(|| "no execution was complete".to_owned());
            let cell = |&guarantee: &Guarantee| Cell {
                guarantee,
                hazard,
                engine: Engine::Explore,
                verdict: Verdict::Inconclusive,
                claimed: false,
                scope: Scope { limit: Some(limit.clone()), clients: clients.clone(), ..Scope::default() },
                anomalies: Vec::new(),
            };
            return Guarantee::ALL.iter().map(cell).collect();
        }
        self.guarantees
            .iter()
            .filter(|(_, known)| known.held > 0 || known.doubt.is_some() || !known.anomalies.is_empty())
            .map(|(&guarantee, known)| {
                let limit = reach.doubt.clone().or_else(|| self.fruitless()).or_else(|| known.doubt.clone());
                let verdict = if !known.anomalies.is_empty() {
                    Verdict::Violated
                } else if limit.is_some() || reach.executions == 0 {
                    Verdict::Inconclusive
                } else if reach.exhausted {
                    Verdict::Verified
                } else if !reach.sampling.is_empty() {
                    Verdict::NotObserved
                } else {
                    Verdict::Inconclusive
                };
                Cell {
                    guarantee,
                    hazard,
                    engine: Engine::Explore,
                    verdict,
                    claimed: false,
                    scope: Scope {
                        executions: reach.executions,
                        exhausted: reach.exhausted,
                        operations: Some(reach.operations.into()),
                        preemption_bound: reach.preemptions,
                        limit: limit.or_else(|| reach.limit.clone()),
                        kills: (hazard == Hazard::Kill).then_some(1),
                        pauses: (hazard == Hazard::Pause).then_some(1),
                        clients: clients.clone(),
                        sampling: reach.sampling.clone(),
                        ..Scope::default()
                    },
                    anomalies: known
                        .anomalies
                        .values()
                        .map(|found| Anomaly {
                            count: found.count,
                            // Time is a matter of steps here.
                            first_after_ms: None,
                            ..found.anomaly.clone()
                        })
                        .collect(),
                }
            })
            .collect()
    }
}

fn count(known: &mut Known, said: &Said) {
    match said {
        Said::Holds => known.held += 1,
        Said::Inconclusive(reason) => {
            known.doubt.get_or_insert_with(|| reason.clone());
        }
        Said::Violated(kinds) => {
            for kind in kinds {
                if let Some(found) = known.anomalies.get_mut(kind) {
                    found.count += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::search::End;

    fn found(finding: Finding) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.add(1, vec![(Guarantee::AtomicReads, finding)], &[ThreadId(0)], 1);
        ledger
    }

    fn reach(end: &End) -> Reach {
        let mut reach = Reach { executions: 1, ..Reach::default() };
        reach.ended(end);
        reach
    }

    fn verdicts(ledger: &Ledger, reach: &Reach) -> Vec<Verdict> {
        let cells = ledger.cells(Hazard::Concurrency, &BTreeMap::new(), reach);
        cells.into_iter().map(|cell| cell.verdict).collect()
    }

    #[test]
    fn nothing_that_could_be_run_is_no_pass() {
        let why = "fetching the gate: Operation not permitted";
        let reach = Reach::doubtful(why.to_owned());
        let cells = Ledger::default().cells(Hazard::Concurrency, &BTreeMap::new(), &reach);
        assert_eq!(cells.len(), Guarantee::ALL.len());
        assert!(cells.iter().all(|cell| cell.verdict == Verdict::Inconclusive));
        assert!(cells.iter().all(|cell| cell.scope.limit.as_deref() == Some(why)));
    }

    #[test]
    fn only_what_was_exhausted_is_verified() {
        let held = found(Finding::Holds);
        assert_eq!(verdicts(&held, &reach(&End::Exhausted)), [Verdict::Verified]);
        assert_eq!(verdicts(&held, &reach(&End::Time)), [Verdict::Inconclusive]);
        assert_eq!(verdicts(&held, &reach(&End::Executions(1))), [Verdict::Inconclusive]);
        assert_eq!(verdicts(&held, &Reach::doubtful("mapped".to_owned())), [Verdict::Inconclusive]);
        let unsure = found(Finding::Inconclusive("too large".to_owned()));
        assert_eq!(verdicts(&unsure, &reach(&End::Exhausted)), [Verdict::Inconclusive]);
        let silent = found(Finding::NotApplicable);
        assert_eq!(verdicts(&silent, &reach(&End::Exhausted)), []);
    }

    #[test]
    fn an_operation_that_never_succeeds_leaves_everything_open() {
        let mut ledger = found(Finding::Holds);
        ledger.attempt(Operation::Write, Some("no space"));
        assert_eq!(verdicts(&ledger, &reach(&End::Exhausted)), [Verdict::Inconclusive]);
        ledger.attempt(Operation::Write, None);
        assert_eq!(verdicts(&ledger, &reach(&End::Exhausted)), [Verdict::Verified]);
    }

    #[test]
    fn the_same_execution_is_judged_once_and_counted_each_time() {
        let mut ledger = found(Finding::Holds);
        assert!(ledger.count_again(1));
        assert!(!ledger.count_again(2));
        assert_eq!(ledger.executions(), 2);
        ledger.turn_page();
        assert!(!ledger.count_again(1), "in another world it means something else");
        assert_eq!(ledger.executions(), 0);
    }
}
