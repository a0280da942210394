//! Findings of many executions, added up to one verdict a guarantee.
//!
//! One breach outweighs everything. An execution in which a limit was hit says nothing, and does not
//! count among those that were looked at; if they are the most, the verdict is inconclusive. A limit that
//! concerns the whole run, such as processes that cannot be started, makes it inconclusive however
//! many executions there were before. An execution that could not have shown a breach, as one in which
//! not one read completed, does not count either; where none could, the verdict is inconclusive.

use std::collections::BTreeMap;

use crate::claim::{AnomalyKind, Engine, Guarantee, Hazard};
use crate::evidence::Evidence;
use crate::history::History;
use crate::run::Cell;
use crate::verdict::{Anomaly, Finding, Findings, Scope, Verdict};

/// What is known of each guarantee so far.
#[derive(Default)]
pub struct Tally {
    guarantees: BTreeMap<Guarantee, Known>,
    executions: u64,
    operations: u64,
}

#[derive(Default)]
struct Known {
    /// Whether any execution said anything of it, be it that it does not apply.
    looked_at: bool,
    applicable: bool,
    /// Executions in which it was seen to hold.
    held: u64,
    /// Executions in which the checker could not tell, and what kept it from telling in the first.
    doubtful: u64,
    doubt: Option<String>,
    /// What was missing for a breach to show, in the first execution that could not have shown one.
    void: Option<&'static str>,
    /// What cut the whole run short.
    limit: Option<String>,
    anomalies: BTreeMap<AnomalyKind, Anomaly>,
}

impl Tally {
    /// Adds the findings of one execution. `after_ms` is when it began, counted from the moment in
    /// which the clients of the first one were let loose.
    pub fn add(&mut self, findings: Findings, history: &History, after_ms: u64) {
        self.count(findings, Evidence::of(history), history.events.len() as u64 / 2, after_ms);
    }

    fn count(&mut self, findings: Findings, evidence: Evidence, operations: u64, after_ms: u64) {
        self.executions += 1;
        self.operations += operations;
        for (guarantee, finding) in findings {
            let known = self.guarantees.entry(guarantee).or_default();
            known.looked_at = true;
            match finding {
                Finding::NotApplicable => {}
                Finding::Holds => {
                    known.applicable = true;
                    match evidence.lacks(guarantee) {
                        None => known.held += 1,
                        Some(lacking) => {
                            known.void.get_or_insert(lacking);
                        }
                    }
                }
                Finding::Inconclusive(reason) => {
                    known.applicable = true;
                    known.doubtful += 1;
                    known.doubt.get_or_insert(reason);
                }
                Finding::Violated(anomalies) => {
                    known.applicable = true;
                    for anomaly in anomalies {
                        known.add(anomaly, after_ms);
                    }
                }
            }
        }
    }

    /// Notes a limit that concerns every guarantee.
    pub fn limit(&mut self, reason: &str) {
        for &guarantee in Guarantee::ALL {
            let known = self.guarantees.entry(guarantee).or_default();
            known.limit.get_or_insert_with(|| reason.to_owned());
        }
    }

    /// How many executions were added.
    pub const fn executions(&self) -> u64 {
        self.executions
    }

    /// Whether anything was seen broken.
    pub fn any_violation(&self) -> bool {
        self.guarantees.values().any(|known| !known.anomalies.is_empty())
    }

    /// Whether there is a guarantee of which every execution so far was no evidence.
    pub fn lacks_evidence(&self) -> bool {
        let open = |known: &Known| known.void.is_some() && known.held == 0 && known.anomalies.is_empty();
        self.guarantees.values().any(open)
    }

    /// One cell a guarantee that was looked at, or that a limit kept from being looked at.
    pub fn cells(&self, hazard: Hazard, kills: Option<u64>, pauses: Option<u64>) -> Vec<Cell> {
        self.guarantees
            .iter()
            .filter(|(_, known)| known.applicable || !known.looked_at)
            .map(|(&guarantee, known)| {
                let limit = match (&known.limit, &known.doubt, known.void) {
                    (Some(limit), ..) => Some(limit.clone()),
                    (None, Some(doubt), _) if known.held < known.doubtful => Some(doubt.clone()),
                    (None, _, Some(void)) if known.held == 0 => Some(void.to_owned()),
                    (None, ..) => None,
                };
                let (verdict, executions) = if !known.anomalies.is_empty() {
                    (Verdict::Violated, self.executions)
                } else if limit.is_some() {
                    (Verdict::Inconclusive, self.executions)
                } else {
                    (Verdict::NotObserved, known.held)
                };
                Cell {
                    guarantee,
                    hazard,
                    engine: Engine::Stress,
                    verdict,
                    claimed: false,
                    scope: Scope {
                        executions,
                        exhausted: false,
                        operations: Some(self.operations),
                        preemption_bound: None,
                        limit,
                        kills,
                        pauses,
                        ..Scope::default()
                    },
                    anomalies: known.anomalies.values().cloned().collect(),
                }
            })
            .collect()
    }
}

impl Known {
    fn add(&mut self, mut anomaly: Anomaly, after_ms: u64) {
        anomaly.first_after_ms = Some(after_ms + anomaly.first_after_ms.unwrap_or(0));
        match self.anomalies.get_mut(&anomaly.kind) {
            None => {
                self.anomalies.insert(anomaly.kind, anomaly);
            }
            Some(known) => {
                known.count += anomaly.count;
                for (kind, count) in anomaly.by_kind {
                    *known.by_kind.entry(kind).or_default() += count;
                }
                // The shortest evidence is the best.
                if anomaly.witness.steps.len() < known.witness.steps.len() {
                    known.witness = anomaly.witness;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Witness;

    fn torn(count: u64) -> Finding {
        Finding::Violated(vec![Anomaly {
            kind: AnomalyKind::TornRead,
            count,
            first_after_ms: None,
            by_kind: BTreeMap::from([("empty".to_owned(), count)]),
            witness: Witness {
                explanation: "torn".to_owned(),
                steps: Vec::new(),
                replay: None,
                stderr: Vec::new(),
            },
        }])
    }

    /// Adds an execution in which everything could have shown.
    fn seen(tally: &mut Tally, findings: Findings, operations: u64, after_ms: u64) {
        tally.count(findings, Evidence::ample(), operations, after_ms);
    }

    fn verdict(tally: &Tally, guarantee: Guarantee) -> Verdict {
        let cells = tally.cells(Hazard::Concurrency, None, None);
        cells.iter().find(|cell| cell.guarantee == guarantee).expect("a cell").verdict
    }

    #[test]
    fn a_breach_wins_and_an_execution_that_cannot_tell_does_not_count() {
        let mut tally = Tally::default();
        seen(
            &mut tally,
            vec![(Guarantee::AtomicReads, Finding::Inconclusive("ring full".to_owned()))],
            10,
            5,
        );
        assert_eq!(verdict(&tally, Guarantee::AtomicReads), Verdict::Inconclusive);
        seen(
            &mut tally,
            vec![(Guarantee::AtomicReads, Finding::Inconclusive("ring full".to_owned()))],
            10,
            5,
        );
        seen(&mut tally, vec![(Guarantee::AtomicReads, Finding::Holds)], 10, 0);
        assert_eq!(verdict(&tally, Guarantee::AtomicReads), Verdict::Inconclusive);
        seen(&mut tally, vec![(Guarantee::AtomicReads, Finding::Holds)], 10, 0);
        assert_eq!(verdict(&tally, Guarantee::AtomicReads), Verdict::NotObserved);
        assert_eq!(tally.cells(Hazard::Concurrency, None, None)[0].scope.executions, 2);
        seen(&mut tally, vec![(Guarantee::AtomicReads, torn(2))], 10, 7);
        seen(&mut tally, vec![(Guarantee::AtomicReads, torn(3))], 10, 9);
        seen(&mut tally, vec![(Guarantee::AtomicReads, Finding::Holds)], 10, 11);
        assert_eq!(verdict(&tally, Guarantee::AtomicReads), Verdict::Violated);
        let cells = tally.cells(Hazard::Concurrency, None, None);
        let anomaly = &cells[0].anomalies[0];
        assert_eq!((anomaly.count, anomaly.first_after_ms, anomaly.by_kind["empty"]), (5, Some(7), 5));
        assert_eq!((cells[0].scope.executions, cells[0].scope.operations), (7, Some(70)));
    }

    #[test]
    fn what_does_not_apply_has_no_cell() {
        let mut tally = Tally::default();
        seen(&mut tally, vec![(Guarantee::MutualExclusion, Finding::NotApplicable)], 1, 0);
        assert!(tally.cells(Hazard::Concurrency, None, None).is_empty());
    }

    #[test]
    fn what_nobody_came_to_look_at_is_inconclusive_and_not_silent() {
        let mut tally = Tally::default();
        seen(&mut tally, vec![(Guarantee::MetadataKept, Finding::Holds)], 1, 0);
        tally.limit("the clients died at start");
        assert_eq!(verdict(&tally, Guarantee::AtomicReads), Verdict::Inconclusive);
    }

    #[test]
    fn a_run_that_never_ran_is_inconclusive_and_not_silent() {
        let mut tally = Tally::default();
        tally.limit("no process could be started");
        assert_eq!(verdict(&tally, Guarantee::AtomicReads), Verdict::Inconclusive);
    }

    #[test]
    fn executions_that_could_not_have_shown_a_breach_are_no_evidence_that_there_is_none() {
        let mut tally = Tally::default();
        for _ in 0..3 {
            tally.count(vec![(Guarantee::AtomicReads, Finding::Holds)], Evidence::default(), 10, 0);
        }
        let cells = tally.cells(Hazard::Concurrency, None, None);
        assert_eq!(cells[0].verdict, Verdict::Inconclusive);
        assert!(cells[0].scope.limit.as_deref().is_some_and(|why| why.contains("not one read completed")));
        assert!(tally.lacks_evidence());
        // One that could outweighs them, and alone is counted.
        seen(&mut tally, vec![(Guarantee::AtomicReads, Finding::Holds)], 10, 0);
        let cells = tally.cells(Hazard::Concurrency, None, None);
        assert_eq!((cells[0].verdict, cells[0].scope.executions), (Verdict::NotObserved, 1));
        assert!(!tally.lacks_evidence());
        tally.count(vec![(Guarantee::AtomicReads, torn(1))], Evidence::default(), 10, 0);
        assert_eq!(verdict(&tally, Guarantee::AtomicReads), Verdict::Violated);
    }
}
