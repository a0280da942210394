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
