//! Bounds on preemptions, against the preemptions of every schedule.

use proptest::prelude::*;

use super::super::{Continue, Limits, preemption};
use super::compare::by_force;
use super::random::{locking, programs};
use super::toy::{Op, Toy};

#[test]
fn schedules_are_counted_by_their_preemptions() {
    let count = |bound| {
        let mut toy = Toy::new(vec![vec![Op::Store(0); 2], vec![Op::Store(0); 2]]);
        let Ok(searched) = preemption::search(&mut toy, bound, Limits::NONE, |_, _| Ok(Continue::Yes));
        searched.executions
    };
    // aabb bbaa | abba baab | abab baba: none, one, two.
    assert_eq!([count(0), count(1), count(2), count(3)], [2, 2, 2, 0]);
}

proptest! {
    #[test]
    fn all_bounds_together_are_every_schedule(programs in programs(locking())) {
        let all = by_force(&mut Toy::new(programs.clone()));
        let mut outcomes = std::collections::BTreeSet::new();
        let mut executions = 0;
        for bound in 0..15 {
            let mut toy = Toy::new(programs.clone());
            let Ok(searched) = preemption::search(&mut toy, bound, Limits::NONE, |toy, _| {
                outcomes.insert(toy.outcome());
                Ok(Continue::Yes)
            });
            executions += searched.executions;
        }
        prop_assert_eq!(executions, all.searched.executions);
        prop_assert_eq!(outcomes, all.outcomes);
    }
}
