//! Generated programs: the reduced search reaches what brute force reaches.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Continue, End, Limits, preemption};
use super::known::{by_dpor, by_force};
use super::toy::{Op, Outcome, Program, Toy};

fn plain() -> BoxedStrategy<Op> {
    prop_oneof![
        (0_u8..2).prop_map(Op::Store),
        (0_u8..2).prop_map(Op::Load),
        (0_u8..2).prop_map(Op::StoreNew),
        (0_u8..2).prop_map(Op::Add),
        (0_u8..2).prop_map(Op::Sum),
    ]
    .boxed()
}

fn pointing() -> BoxedStrategy<Op> {
    prop_oneof![
        2 => plain(),
        1 => (0_u8..2, 0_u8..3).prop_map(|(pointer, key)| Op::Point(pointer, key)),
        1 => (0_u8..2).prop_map(Op::Follow),
        1 => (0_u8..2).prop_map(Op::StoreThrough),
    ]
    .boxed()
}

fn locking() -> BoxedStrategy<Op> {
    prop_oneof![
        2 => plain(),
        2 => (0_u8..2).prop_map(Op::Lock),
        1 => (0_u8..2).prop_map(Op::LockShared),
        1 => (0_u8..2).prop_map(Op::TryLock),
        2 => (0_u8..2).prop_map(Op::Unlock),
    ]
    .boxed()
}

fn programs(op: BoxedStrategy<Op>) -> impl Strategy<Value = Vec<Program>> {
    prop_oneof![vec(vec(op.clone(), 1..=5), 2..=2), vec(vec(op, 1..=3), 3..=3),]
}

fn agrees(programs: Vec<Program>, exact: bool) -> Result<(), TestCaseError> {
    let (_, classes, all) = by_force(&mut Toy::new(programs.clone()));
    let (searched, seen) = by_dpor(&mut Toy::new(programs));
    prop_assert_eq!(searched.end.clone(), End::Exhausted);
    prop_assert_eq!(seen, all);
    if exact {
        prop_assert_eq!((searched.executions as usize, searched.redundant), (classes, 0));
    }
    Ok(())
}

proptest! {
    #[test]
    fn plain_programs_have_one_execution_a_class(programs in programs(
        prop_oneof![(0_u8..2).prop_map(Op::Store), (0_u8..2).prop_map(Op::Load), (0_u8..2).prop_map(Op::Add)]
            .boxed()
    )) {
        agrees(programs, true)?;
    }

    #[test]
    fn footprints_that_depend_on_the_state_lose_nothing(programs in programs(pointing())) {
        agrees(programs, false)?;
    }

    #[test]
    fn locks_lose_nothing(programs in programs(locking())) {
        agrees(programs, false)?;
    }

    #[test]
    fn all_bounds_together_are_every_schedule(programs in programs(locking())) {
        let (raw, _, all) = by_force(&mut Toy::new(programs.clone()));
        let mut outcomes: BTreeSet<Outcome> = BTreeSet::new();
        let mut executions = 0;
        for bound in 0..15 {
            let mut toy = Toy::new(programs.clone());
            let Ok(searched) = preemption::search(&mut toy, bound, Limits::NONE, |toy, _| {
                outcomes.insert(toy.outcome());
                Ok(Continue::Yes)
            });
            executions += searched.executions;
        }
        prop_assert_eq!(executions, raw);
        prop_assert_eq!(outcomes, all);
    }
}

/// How many more executions there are than classes, over a corpus.
#[test]
fn what_is_run_stays_near_the_number_of_classes() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut executions, mut classes, mut redundant, mut infeasible) = (0, 0, 0, 0);
    for _ in 0..300 {
        for programs in [
            programs(pointing()).new_tree(&mut runner).expect("programs").current(),
            programs(locking()).new_tree(&mut runner).expect("programs").current(),
        ] {
            let (_, count, _) = by_force(&mut Toy::new(programs.clone()));
            let (searched, _) = by_dpor(&mut Toy::new(programs));
            executions += searched.executions;
            redundant += searched.redundant;
            infeasible += searched.infeasible;
            classes += count as u64;
        }
    }
    println!(
        "{executions} complete executions, {redundant} broken off, {infeasible} infeasible, {classes} classes"
    );
    assert!((executions + redundant) * 10 <= classes * 12);
}
