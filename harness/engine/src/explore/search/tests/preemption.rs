//! Bounds on preemptions, against the preemptions of every schedule.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::super::system::System;
use super::super::{Continue, End, Limits, Trace, brute, preemption, schedule};
use super::random::{everything, locking, mortals, napping, programs, resting};
use super::toy::{Op, Outcome, Program, Toy};

/// What a search shows with a bound, and after how many executions.
fn searched(
    programs: &[Program],
    bound: u32,
    search: &mut preemption::Search,
) -> (u64, BTreeMap<u64, Outcome>) {
    let mut classes = BTreeMap::new();
    let mut toy = Toy::new(programs.to_vec());
    let Ok(searched) = search.go_on(&mut toy, bound, Limits::NONE, |toy, trace| {
        classes.insert(trace.class(), toy.outcome());
        Ok(Continue::Yes)
    });
    assert_eq!(searched.end, End::Exhausted);
    (searched.executions, classes)
}

/// How many preemptions the execution has.
fn preemptions(programs: &[Program], trace: &Trace) -> u32 {
    let mut toy = Toy::new(programs.to_vec());
    let Ok(()) = toy.begin();
    let (mut enabled, mut yields) = (Vec::new(), Vec::new());
    for event in trace.events() {
        let mut now = Vec::new();
        let Ok(()) = toy.enabled(&mut now);
        enabled.push(now);
        let Ok(step) = toy.step(event.step.thread);
        yields.push(step.yields);
    }
    schedule::preemptions(&trace.schedule(), &enabled, &yields)
}

/// Every class, what comes of it, and how many preemptions it takes.
fn by_force(programs: &[Program]) -> BTreeMap<u64, (u32, Outcome)> {
    let mut classes: BTreeMap<u64, (u32, Outcome)> = BTreeMap::new();
    let Ok(all) = brute::search(&mut Toy::new(programs.to_vec()), Limits::NONE, |toy, trace| {
        let spent = preemptions(programs, trace);
        let class = classes.entry(trace.class()).or_insert_with(|| (spent, toy.outcome()));
        class.0 = class.0.min(spent);
        Ok(Continue::Yes)
    });
    assert_eq!(all.end, End::Exhausted);
    classes
}

/// Every bound shows the classes that take as many preemptions, and none that takes more.
fn compare(programs: &[Program]) -> Result<(), TestCaseError> {
    let all = by_force(programs);
    let (mut shown, mut search) = (BTreeSet::new(), preemption::Search::default());
    for bound in 0..15 {
        let (executions, classes) = searched(programs, bound, &mut search);
        prop_assert!(executions as usize <= all.len(), "{executions} of {} classes", all.len());
        for (class, outcome) in classes {
            prop_assert!(all.get(&class).is_some_and(|(least, known)| *least <= bound && *known == outcome));
            shown.insert(class);
        }
        let within = |(_, (least, _)): &(&u64, &(u32, Outcome))| *least <= bound;
        let wanted: BTreeSet<u64> = all.iter().filter(within).map(|(class, _)| *class).collect();
        prop_assert_eq!(&shown, &wanted, "with {} preemptions", bound);
    }
    Ok(())
}

/// Everything that is shown with each bound, in its order; left after every few executions and taken up again with
/// another system.
fn shown_in_parts(programs: &[Program], executions: u64) -> Vec<(u32, u64)> {
    let (mut shown, mut search) = (Vec::new(), preemption::Search::default());
    for bound in 0..4 {
        let mut most = executions;
        loop {
            let limits = Limits { executions: most, ..Limits::NONE };
            let mut toy = Toy::new(programs.to_vec());
            let Ok(searched) = search.go_on(&mut toy, bound, limits, |_, trace| {
                shown.push((bound, trace.class()));
                Ok(Continue::Yes)
            });
            most = most.saturating_add(executions);
            if searched.end == End::Exhausted {
                break;
            }
        }
        // What is done is not done again.
        let mut toy = Toy::new(programs.to_vec());
        let Ok(again) = search.go_on(&mut toy, bound, Limits::NONE, |_, _| panic!("it was exhausted"));
        assert_eq!((again.executions, again.end), (0, End::Exhausted));
    }
    shown
}

/// The same, left by an observer who has seen enough each time that something is shown.
fn shown_one_by_one(programs: &[Program]) -> Vec<(u32, u64)> {
    let (mut shown, mut search) = (Vec::new(), preemption::Search::default());
    for bound in 0..4 {
        loop {
            let mut toy = Toy::new(programs.to_vec());
            let Ok(searched) = search.go_on(&mut toy, bound, Limits::NONE, |_, trace| {
                shown.push((bound, trace.class()));
                Ok(Continue::Stop)
            });
            match searched.end {
                End::Exhausted => break,
                end => assert_eq!(end, End::Stopped),
            }
        }
    }
    shown
}

#[test]
fn a_bound_that_was_passed_over_was_not_exhausted() {
    let programs = [vec![Op::Store(0); 2], vec![Op::Store(0); 2]];
    let mut search = preemption::Search::default();
    // aabb bbaa | abba baab | abab baba.
    assert_eq!(searched(&programs, 2, &mut search).0, 2);
    assert_eq!(searched(&programs, 1, &mut search).0, 2);
    assert_eq!(searched(&programs, 0, &mut search).0, 2);
    // Nor is one that was left.
    let limits = Limits { executions: 1, ..Limits::NONE };
    let mut toy = Toy::new(programs.to_vec());
    let Ok(left) = search.go_on(&mut toy, 1, limits, |_, _| Ok(Continue::Yes));
    assert_eq!((left.executions, left.end), (1, End::Executions(1)));
    assert_eq!(searched(&programs, 2, &mut search).0, 2);
    assert_eq!(searched(&programs, 1, &mut search).0, 2);
}

#[test]
fn classes_are_counted_by_their_preemptions() {
    let programs = [vec![Op::Store(0); 2], vec![Op::Store(0); 2]];
    let count = |bound| searched(&programs, bound, &mut preemption::Search::default()).0;
    // aabb bbaa | abba baab | abab baba: none, one, two.
    assert_eq!([count(0), count(1), count(2), count(3)], [2, 2, 2, 0]);
}

#[test]
fn what_follows_equal_states_is_run_once() {
    // Each has a place of its own, so in whatever order they write they come to the same.
    let programs: Vec<Program> = (0..3).map(|thread| vec![Op::Store(thread); 3]).collect();
    let schedules = |bound| {
        let mut count = 0;
        let Ok(_) = brute::search(&mut Toy::new(programs.clone()), Limits::NONE, |_, trace| {
            count += u64::from(preemptions(&programs, trace) <= bound);
            Ok(Continue::Yes)
        });
        count
    };
    let runs = |bound| {
        let mut search = preemption::Search::default();
        let mut toy = Toy::new(programs.clone());
        let Ok(searched) = search.go_on(&mut toy, bound, Limits::NONE, |_, _| Ok(Continue::Yes));
        searched.executions + searched.redundant
    };
    assert_eq!([schedules(0), schedules(1), schedules(2)], [6, 42, 192]);
    assert_eq!([runs(0), runs(1), runs(2)], [6, 13, 17]);
}

proptest! {
    #[test]
    fn a_search_that_is_left_and_taken_up_again_shows_the_same(
        programs in mortals(everything()),
        executions in 1_u64..4,
    ) {
        let whole = shown_in_parts(&programs, u64::MAX);
        prop_assert_eq!(&shown_in_parts(&programs, executions), &whole);
        prop_assert_eq!(shown_one_by_one(&programs), whole);
    }

    #[test]
    fn every_bound_shows_the_classes_that_take_so_many_preemptions(programs in programs(locking())) {
        compare(&programs)?;
    }

    #[test]
    fn also_where_threads_rest(programs in programs(resting())) {
        compare(&programs)?;
    }

    #[test]
    fn also_where_threads_nap(programs in programs(napping())) {
        compare(&programs)?;
    }

    #[test]
    fn also_where_one_is_killed(programs in mortals(everything())) {
        compare(&programs)?;
    }

    #[test]
    fn also_where_steps_give_way_and_names_lead_elsewhere(programs in programs(everything())) {
        compare(&programs)?;
    }
}
