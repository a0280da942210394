//! Sampling, held to its bound: on small programs all priorities and change points can be counted.

use super::super::pct::{Priorities, Shape, run, search};
use super::super::{Continue, End, Limits, Trace};
use super::compare::by_force;
use super::toy::{Op, Program, Toy};

/// A small program, and whether an execution of it shows the bug.
struct Case {
    programs: Vec<Program>,
    depth: u32,
    bug: fn(&Toy) -> bool,
}

impl Case {
    fn toy(&self) -> Toy {
        Toy::new(self.programs.clone())
    }

    fn shape(&self) -> Shape {
        let steps = self.programs.iter().map(Vec::len).sum::<usize>();
        Shape { threads: self.programs.len() as u32, steps: steps as u32 }
    }
}

/// Both read before one of them stores: two constraints.
fn lost_update(bystanders: usize) -> Case {
    let mut programs = vec![vec![Op::Load(0), Op::Store(0)]; 2];
    programs.extend(vec![vec![Op::Load(5)]; bystanders]);
    Case { programs, depth: 2, bug: |toy| toy.outcome().0[..2] == [[0], [0]] }
}

/// A reader sees the second of three stores and neither of the others: three constraints.
fn middle_only(bystanders: usize) -> Case {
    let mut programs =
        vec![vec![Op::Store(0), Op::Store(1), Op::Store(2)], vec![Op::Load(0), Op::Load(1), Op::Load(2)]];
    programs.extend(vec![vec![Op::Load(5)]; bystanders]);
    let bug = |toy: &Toy| {
        let read = &toy.outcome().0[1];
        read[0] == 0 && read[1] != 0 && read[2] == 0
    };
    Case { programs, depth: 3, bug }
}

/// Under how many choices of priorities and `points` change points the bug shows, and how many choices
/// there are.
fn count(case: &Case, points: u32) -> (u64, u64) {
    let shape = case.shape();
    let mut toy = case.toy();
    let mut trace = Trace::default();
    let (mut hits, mut all) = (0, 0);
    for order in permutations(shape.threads) {
        for choice in 0..u64::from(shape.steps).pow(points) {
            let digit = |place: u32| choice / u64::from(shape.steps).pow(place) % u64::from(shape.steps);
            let change_points = (0..points).map(|place| 1 + digit(place) as u32).collect();
            let order = order.clone();
            let mut priorities = Priorities::new(move |thread| order[usize::from(thread.0)], change_points);
            let Ok(()) = run(&mut toy, &mut priorities, &mut trace);
            assert_eq!(Shape::of(&trace), shape);
            all += 1;
            hits += u64::from((case.bug)(&toy));
        }
    }
    (hits, all)
}

fn permutations(threads: u32) -> Vec<Vec<u64>> {
    let mut orders = vec![Vec::new()];
    for thread in 0..u64::from(threads) {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<u64>| {
                (0..=order.len()).map(move |place| {
                    let mut order = order.clone();
                    order.insert(place, thread);
                    order
                })
            })
            .collect();
    }
    orders
}

#[test]
fn one_schedule_finds_a_bug_at_least_as_often_as_the_bound_says() {
    for case in
        [lost_update(0), lost_update(1), lost_update(2), middle_only(0), middle_only(1), middle_only(2)]
    {
        let (hits, all) = count(&case, case.depth - 1);
        let missed = case.shape().missed_at_most(case.depth, 1);
        let found = hits as f64 / all as f64;
        assert!(found >= (1.0 - missed) * 0.999_999, "{:?}: {found} < 1 - {missed}", case.shape());
    }
    // The bound is not far off: here it is met.
    let (hits, all) = count(&middle_only(0), 2);
    assert_eq!((hits, all), (1, 72));
}

#[test]
fn fewer_change_points_than_a_bug_is_deep_never_find_it() {
    for case in [lost_update(0), lost_update(1), middle_only(0), middle_only(1)] {
        for points in 0..case.depth - 1 {
            assert_eq!(count(&case, points).0, 0, "depth {}, {points} change points", case.depth);
        }
    }
}

#[test]
fn samples_find_bugs_about_as_often_as_all_choices_do() {
    for case in [lost_update(0), lost_update(1), middle_only(0), middle_only(1)] {
        let (hits, all) = count(&case, case.depth - 1);
        let samples = 100 * all / hits;
        let mut found = 0_u64;
        let limits = Limits { executions: samples, deadline: None };
        let mut toy = case.toy();
        let Ok(sampled) = search(&mut toy, 7, &[case.depth], case.shape(), limits, |toy, _| {
            found += u64::from((case.bug)(toy));
            Ok(Continue::Yes)
        });
        assert_eq!(sampled.searched.end, End::Executions(samples));
        assert_eq!(sampled.schedules[&case.depth], samples);
        // A hundred are expected; forty more or less are four standard deviations.
        assert!((60..=140).contains(&found), "depth {}: {found}", case.depth);
    }
}

#[test]
fn what_is_sampled_is_a_schedule_that_brute_force_knows() {
    let case = middle_only(1);
    let known = by_force(&mut case.toy());
    let limits = Limits { executions: 2000, deadline: None };
    let mut seen = std::collections::BTreeSet::new();
    let Ok(_) = search(&mut case.toy(), 1, &[2, 3], Shape::default(), limits, |toy, _| {
        seen.insert(toy.outcome());
        Ok(Continue::Yes)
    });
    assert!(seen.is_subset(&known.outcomes));
    assert!(seen.len() > 5, "{} of {}", seen.len(), known.outcomes.len());
}

#[test]
fn a_seed_brings_the_same_schedules_again_and_another_one_others() {
    let schedules = |seed| {
        let mut schedules = Vec::new();
        let limits = Limits { executions: 40, deadline: None };
        let Ok(_) = search(&mut middle_only(1).toy(), seed, &[2, 3], Shape::default(), limits, |_, trace| {
            schedules.push(trace.schedule());
            Ok(Continue::Yes)
        });
        schedules
    };
    assert_eq!(schedules(1), schedules(1));
    assert_ne!(schedules(1), schedules(2));
}

#[test]
fn counting_begins_anew_when_an_execution_is_larger_than_was_known() {
    let case = lost_update(0);
    let limits = Limits { executions: 10, deadline: None };
    let Ok(sampled) = search(&mut case.toy(), 1, &[2], Shape::default(), limits, |_, _| Ok(Continue::Yes));
    assert_eq!(sampled.shape, case.shape());
    assert_eq!(sampled.schedules[&2], 9, "the first one was only measured");
}

#[test]
fn the_bound_falls_with_every_schedule() {
    let shape = Shape { threads: 2, steps: 4 };
    assert!((shape.missed_at_most(2, 0) - 1.0).abs() < 1e-12);
    assert!((shape.missed_at_most(2, 1) - 7.0 / 8.0).abs() < 1e-12);
    assert!((shape.missed_at_most(2, 3) - (7.0_f64 / 8.0).powi(3)).abs() < 1e-12);
    assert!(shape.missed_at_most(3, 100) > shape.missed_at_most(2, 100));
    assert!(Shape { threads: 1, steps: 1 }.missed_at_most(2, 1) < 1e-12);
}

#[test]
fn an_observer_can_end_it() {
    let Ok(sampled) =
        search(&mut lost_update(0).toy(), 1, &[2], Shape::default(), Limits::NONE, |_, _| Ok(Continue::Stop));
    assert_eq!((sampled.searched.executions, sampled.searched.end), (1, End::Stopped));
}
