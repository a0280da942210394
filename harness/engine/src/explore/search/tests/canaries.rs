//! Untruths of a system that the comparison has to notice. If one of these tests fails, the others
//! prove nothing.

use super::super::End;
use super::compare::{by_dpor, by_force};
use super::toy::{Op, Program, Toy, Untruth};

fn loses_outcomes(programs: Vec<Program>, untruth: Untruth) -> bool {
    let all = by_force(&mut Toy::new(programs.clone())).outcomes;
    assert_eq!(by_dpor(&mut Toy::new(programs.clone())).outcomes, all);
    by_dpor(&mut Toy::with(programs, untruth)).outcomes != all
}

#[test]
fn a_hidden_conflict_loses_outcomes() {
    let programs = vec![vec![Op::Store(0)], vec![Op::Load(0)]];
    assert!(loses_outcomes(programs, Untruth::HidesReadsOf(0)));
}

#[test]
fn without_the_race_of_those_who_take_a_lock_outcomes_are_lost() {
    let section = vec![Op::Lock(0), Op::Load(0), Op::Store(0), Op::Unlock(0)];
    assert!(loses_outcomes(vec![section.clone(), section], Untruth::TakesLocksSilently));
}

#[test]
fn without_the_race_of_those_who_wait_for_ever_outcomes_are_lost() {
    let keeps = vec![Op::Lock(0), Op::Store(0)];
    assert!(loses_outcomes(vec![keeps.clone(), keeps], Untruth::HidesWhoWaits));
}

#[test]
fn a_system_that_is_not_under_control_is_noticed() {
    let writers = vec![vec![Op::Store(0); 3], vec![Op::Store(0); 3]];
    let searched = by_dpor(&mut Toy::with(writers, Untruth::Diverges)).searched;
    assert!(matches!(searched.end, End::Diverged(_)), "{searched:?}");
}

/// What is planned for a thread that is not there any more must not pass for what has to wait.
#[test]
fn work_that_another_thread_does_the_next_time_is_noticed() {
    let writers = vec![vec![Op::Store(0)], vec![Op::Store(0)]];
    let searched = by_dpor(&mut Toy::with(writers, Untruth::GivesWorkToOthers)).searched;
    assert!(matches!(searched.end, End::Diverged(_)), "{searched:?}");
}

/// Whether the reduced search runs fewer classes than there are, if this is not true of the programs.
fn loses_classes(programs: Vec<Program>, untruth: Untruth) -> bool {
    let toy = |untruth| {
        let mut toy = Toy::new(programs.clone());
        toy.untruth = untruth;
        toy
    };
    let all = |untruth| by_force(&mut toy(untruth)).classes;
    let reduced = |untruth| by_dpor(&mut toy(untruth)).classes;
    assert_eq!(reduced(None), all(None));
    reduced(Some(untruth)) != all(Some(untruth))
}

#[test]
fn without_the_stillness_that_a_kill_ends_classes_are_lost() {
    let programs = vec![vec![Op::TryLock(0), Op::Rest], vec![Op::Lock(0)], vec![Op::Rest], vec![Op::Kill(0)]];
    assert!(loses_classes(programs, Untruth::HidesStillness));
}

#[test]
fn rising_after_a_kill_that_kept_nobody_from_going_on_loses_classes() {
    let programs = vec![vec![Op::Rest], vec![Op::Rest], vec![Op::Kill(1)]];
    assert!(loses_classes(programs, Untruth::RestsAfterAnyKill));
}
