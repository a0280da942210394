//! Whether a history could have shown a breach of a guarantee at all. One in which not one read
//! completed breaks no promise about reads, and says nothing for it either.
//!
//! Whoever sees every execution there is may count such a history among those that hold; whoever
//! judges by a sample, or by this one history, may not: [`crate::tally`] asks here.

use crate::claim::Guarantee;
use crate::history::{History, Phase};
use crate::object::Operation;

/// What completed in a history, as far as a breach could show in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Operations that returned, well or not.
    returned: u64,
    /// Reads that brought something.
    reads: u64,
    /// Changes that were acknowledged, and elements that were there from the beginning.
    changes: u64,
    /// Entries into the critical section.
    entries: u64,
}

impl Evidence {
    /// As much of everything as there need be.
    #[cfg(test)]
    pub(crate) const fn ample() -> Self {
        Self { returned: 1, reads: 1, changes: 1, entries: 1 }
    }

    /// Counts it.
    pub fn of(history: &History) -> Self {
        let mut evidence = Self { changes: history.initial_list.len() as u64, ..Self::default() };
        for event in &history.events {
            evidence.returned += u64::from(matches!(event.phase, Phase::Ok | Phase::Fail));
            if event.phase == Phase::Ok {
                match event.operation {
                    Operation::Read => evidence.reads += 1,
                    Operation::Acquire => evidence.entries += 1,
                    Operation::Release => {}
                    Operation::Write | Operation::Cas | Operation::Update | Operation::Append => {
                        evidence.changes += 1;
                    }
                }
            }
        }
        evidence
    }

    /// What is missing for a breach of this guarantee to show; `None` when nothing is.
    pub fn lacks(self, guarantee: Guarantee) -> Option<&'static str> {
        match guarantee {
            Guarantee::AtomicReads | Guarantee::Linearizable | Guarantee::NoLostUpdates
                if self.reads == 0 =>
            {
                Some("not one read completed, so there is nothing to judge")
            }
            Guarantee::NoLostUpdates if self.changes == 0 => {
                Some("not one update was acknowledged, so none could be lost")
            }
            Guarantee::MutualExclusion if self.entries == 0 => {
                Some("nobody ever entered the critical section, so there is nothing to judge")
            }
            Guarantee::Progress if self.returned == 0 => {
                Some("not one operation returned, so there is nothing to judge")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Event, Payload, Values};
    use crate::object::Object;

    fn evidence(object: Object, events: &[(Operation, Phase)]) -> Evidence {
        let mut history = History::new(object, Values::Stamps(Vec::new()));
        for (at, &(operation, phase)) in (0u32..).zip(events) {
            let payload = Payload::None;
            history.events.push(Event { time_ns: u64::from(at), client: at / 2, phase, operation, payload });
        }
        Evidence::of(&history)
    }

    #[test]
    fn what_never_completed_is_evidence_of_nothing() {
        let hung = evidence(Object::Lock, &[(Operation::Acquire, Phase::Invoke)]);
        assert!(hung.lacks(Guarantee::Progress).is_some());
        assert!(hung.lacks(Guarantee::MutualExclusion).is_some());
        let unread = evidence(Object::Register, &[(Operation::Read, Phase::Invoke)]);
        assert!(unread.lacks(Guarantee::AtomicReads).is_some());
        assert!(unread.lacks(Guarantee::Linearizable).is_some());
        let unwritten =
            evidence(Object::Set, &[(Operation::Read, Phase::Invoke), (Operation::Read, Phase::Ok)]);
        assert!(unwritten.lacks(Guarantee::NoLostUpdates).is_some_and(|why| why.contains("acknowledged")));
        assert_eq!(unwritten.lacks(Guarantee::AtomicReads), None);
    }

    #[test]
    fn what_could_have_shown_a_breach_counts() {
        let refused =
            evidence(Object::Lock, &[(Operation::Acquire, Phase::Invoke), (Operation::Acquire, Phase::Fail)]);
        assert_eq!(refused.lacks(Guarantee::Progress), None);
        assert!(refused.lacks(Guarantee::MutualExclusion).is_some());
        let entered =
            evidence(Object::Lock, &[(Operation::Acquire, Phase::Invoke), (Operation::Acquire, Phase::Ok)]);
        assert_eq!(entered.lacks(Guarantee::MutualExclusion), None);
        // What is left behind shows whatever was done.
        assert_eq!(Evidence::default().lacks(Guarantee::NoResidue), None);
    }
}
