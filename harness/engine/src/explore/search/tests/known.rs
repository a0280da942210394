//! Small programs with known numbers of executions, and the canaries.

use std::collections::BTreeSet;

use super::super::{Continue, End, Limits, brute, dpor, preemption};
use super::toy::{Op, Outcome, Program, Toy};

pub fn by_dpor(toy: &mut Toy) -> (super::super::Searched, BTreeSet<Outcome>) {
    let mut outcomes = BTreeSet::new();
    let Ok(searched) = dpor::search(toy, Limits::NONE, |toy, _| {
        outcomes.insert(toy.outcome());
        Ok(Continue::Yes)
    });
    (searched, outcomes)
}

/// Executions, classes and outcomes of every schedule.
pub fn by_force(toy: &mut Toy) -> (u64, usize, BTreeSet<Outcome>) {
    let mut outcomes = BTreeSet::new();
    let mut classes = BTreeSet::new();
    let Ok(searched) = brute::search(toy, Limits::NONE, |toy, trace| {
        outcomes.insert(toy.outcome());
        classes.insert(trace.class());
        Ok(Continue::Yes)
    });
    assert_eq!(searched.end, End::Exhausted);
    (searched.executions, classes.len(), outcomes)
}

fn compare(programs: Vec<Program>) -> (u64, u64, usize) {
    let (raw, classes, all) = by_force(&mut Toy::new(programs.clone()));
    let (searched, seen) = by_dpor(&mut Toy::new(programs));
    assert_eq!(searched.end, End::Exhausted);
    assert_eq!(seen, all);
    (raw, searched.executions, classes)
}

#[test]
fn independent_threads_have_one_execution() {
    assert_eq!(compare(vec![vec![Op::Store(0); 4], vec![Op::Store(1); 4]]), (70, 1, 1));
}

#[test]
fn two_writers_of_one_variable_have_every_interleaving() {
    assert_eq!(compare(vec![vec![Op::Store(0); 3], vec![Op::Store(0); 3]]), (20, 20, 20));
}

#[test]
fn two_writers_and_a_reader_of_five_five_and_three_steps() {
    let writer =
        |own: u8| vec![Op::Store(own), Op::Load(own), Op::Store(own), Op::Point(0, own), Op::Load(own)];
    let reader = vec![Op::Follow(0), Op::Load(6), Op::Load(6)];
    let (raw, executions, classes) = compare(vec![writer(1), writer(2), reader]);
    assert_eq!(raw, 72_072);
    assert!(executions as usize <= classes * 12 / 10, "{executions} executions for {classes} classes");
}

#[test]
fn locks_are_reordered_and_not_their_releases() {
    let section = vec![Op::Lock(0), Op::Load(0), Op::Store(0), Op::Unlock(0)];
    assert_eq!(compare(vec![section.clone(), section.clone()]).1, 2);
    assert_eq!(compare(vec![section.clone(), section.clone(), section]).1, 6);
}

#[test]
fn readers_share_a_lock() {
    let reader = vec![Op::LockShared(0), Op::Load(0), Op::Unlock(0)];
    let writer = vec![Op::Lock(0), Op::Store(0), Op::Unlock(0)];
    let (_, executions, classes) = compare(vec![reader.clone(), writer, reader]);
    assert_eq!(executions as usize, classes);
}

#[test]
fn two_locks_in_opposite_orders_deadlock_in_some_execution() {
    let (one, other) = (
        vec![Op::Lock(0), Op::Lock(1), Op::Unlock(1), Op::Unlock(0)],
        vec![Op::Lock(1), Op::Lock(0), Op::Unlock(0), Op::Unlock(1)],
    );
    let (_, outcomes) = by_dpor(&mut Toy::new(vec![one, other]));
    assert!(outcomes.iter().any(|(.., at)| at.iter().all(|&at| at == 1)), "{outcomes:?}");
}

#[test]
fn a_hidden_conflict_loses_outcomes() {
    let programs = vec![vec![Op::Store(0)], vec![Op::Load(0)]];
    let (_, _, all) = by_force(&mut Toy::new(programs.clone()));
    let mut toy = Toy::new(programs);
    toy.hides_reads_of = Some(0);
    assert_ne!(by_dpor(&mut toy).1, all, "the comparison has to be able to fail");
}

#[test]
fn a_system_that_is_not_under_control_is_noticed() {
    let mut toy = Toy::new(vec![vec![Op::Store(0); 3], vec![Op::Store(0); 3]]);
    toy.diverges = true;
    let (searched, _) = by_dpor(&mut toy);
    assert!(matches!(searched.end, End::Diverged(_)), "{searched:?}");
}

#[test]
fn a_limit_on_executions_is_kept() {
    let mut toy = Toy::new(vec![vec![Op::Store(0); 4], vec![Op::Store(0); 4]]);
    let limits = Limits { executions: 10, ..Limits::NONE };
    let Ok(searched) = dpor::search(&mut toy, limits, |_, _| Ok(Continue::Yes));
    assert_eq!((searched.executions, searched.end), (10, End::Executions(10)));
}

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
