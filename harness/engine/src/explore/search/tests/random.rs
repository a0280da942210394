//! Generated programs: the reduced search reaches what brute force reaches.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::End;
use super::compare::{Seen, by_dpor, by_dpor_in_parts, by_force};
use super::toy::{Op, Program, Toy};

fn exact() -> BoxedStrategy<Op> {
    prop_oneof![
        (0_u8..2).prop_map(Op::Store),
        (0_u8..2).prop_map(Op::Load),
        (0_u8..2).prop_map(Op::Add),
        (0_u8..2).prop_map(Op::Sum),
    ]
    .boxed()
}

fn plain() -> BoxedStrategy<Op> {
    prop_oneof![4 => exact(), 1 => (0_u8..2).prop_map(Op::StoreNew)].boxed()
}

pub fn pointing() -> BoxedStrategy<Op> {
    prop_oneof![
        2 => plain(),
        1 => (0_u8..2, 0_u8..3).prop_map(|(pointer, key)| Op::Point(pointer, key)),
        1 => (0_u8..2).prop_map(Op::Follow),
        1 => (0_u8..2).prop_map(Op::StoreThrough),
    ]
    .boxed()
}

pub fn locking() -> BoxedStrategy<Op> {
    prop_oneof![
        2 => plain(),
        2 => (0_u8..2).prop_map(Op::Lock),
        1 => (0_u8..2).prop_map(Op::LockShared),
        1 => (0_u8..2).prop_map(Op::TryLock),
        2 => (0_u8..2).prop_map(Op::Unlock),
    ]
    .boxed()
}

pub fn everything() -> BoxedStrategy<Op> {
    prop_oneof![3 => locking(), 2 => pointing(), 1 => (0_u8..2).prop_map(Op::Poll)].boxed()
}

/// Locks that a step takes in some states only, or of which the state says which.
fn finding() -> BoxedStrategy<Op> {
    prop_oneof![
        2 => plain(),
        2 => (0_u8..2).prop_map(Op::Truncate),
        1 => (0_u8..2).prop_map(Op::LockThrough),
        1 => (0_u8..1, 0_u8..2).prop_map(|(pointer, key)| Op::Point(pointer, key)),
        2 => (0_u8..2).prop_map(Op::Lock),
        1 => (0_u8..2).prop_map(Op::LockShared),
        1 => (0_u8..2).prop_map(Op::Unlock),
        1 => (0_u8..2).prop_map(Op::Finish),
    ]
    .boxed()
}

/// Two threads of up to five steps, or three of up to three.
pub fn programs(op: BoxedStrategy<Op>) -> impl Strategy<Value = Vec<Program>> {
    prop_oneof![vec(vec(op.clone(), 1..=5), 2..=2), vec(vec(op, 1..=3), 3..=3)]
}

/// Four threads of up to two steps with one lock, some of which never give it back.
fn crowds() -> impl Strategy<Value = Vec<Program>> {
    let takes = prop_oneof![
        4 => Just(Op::LockShared(0)),
        2 => Just(Op::Lock(0)),
        1 => Just(Op::TryLock(0)),
        1 => exact(),
    ];
    let then = prop_oneof![3 => Just(Op::Unlock(0)), 1 => exact()];
    let thread = (takes, proptest::option::of(then))
        .prop_map(|(first, then)| [first].into_iter().chain(then).collect::<Program>());
    vec(thread, 4..=4)
}

/// Critical sections, well nested, with other steps around and inside them.
fn sections() -> impl Strategy<Value = Vec<Program>> {
    let section = (locking_ends(), vec(plain(), 0..=1), proptest::option::of((locking_ends(), plain())))
        .prop_map(|((take, give), inside, nested)| {
            let mut program = vec![take];
            program.extend(inside);
            if let Some(((take, give), inside)) = nested {
                program.extend([take, inside, give]);
            }
            program.push(give);
            program
        });
    let thread = (proptest::option::of(plain()), section)
        .prop_map(|(before, section)| before.into_iter().chain(section).collect());
    (vec(thread, 2..=3)).prop_map(|mut programs: Vec<Program>| {
        let most = if programs.len() == 2 { 6 } else { 4 };
        programs.iter_mut().for_each(|program| program.truncate(most));
        programs
    })
}

fn locking_ends() -> impl Strategy<Value = (Op, Op)> {
    (0_u8..2, 0_usize..3).prop_map(|(key, how)| {
        let take = [Op::Lock(key), Op::LockShared(key), Op::TryLock(key)][how];
        (take, Op::Unlock(key))
    })
}

/// Programs of which the last thread is born by another one, at any time, perhaps.
fn families() -> impl Strategy<Value = Vec<Program>> {
    (vec(vec(everything(), 1..=3), 3..=3), 0..2_usize, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut programs, parent, at, sure)| {
            let birth = if sure { Op::Bear(2) } else { Op::BearIfNew(0, 2) };
            let at = at.index(programs[parent].len() + 1);
            programs[parent].insert(at, birth);
            programs
        },
    )
}

/// Programs that nap now and then, until somebody changes what they have looked at.
pub fn napping() -> BoxedStrategy<Op> {
    prop_oneof![3 => everything(), 2 => Just(Op::Nap)].boxed()
}

/// The same, where changes are of little else, and mostly in any order.
fn polling() -> BoxedStrategy<Op> {
    let key = || 0_u8..2;
    let changes = prop_oneof![4 => key().prop_map(Op::Add), 1 => key().prop_map(Op::Store), 1 => key().prop_map(Op::StoreNew)];
    let looks = prop_oneof![2 => key().prop_map(Op::Sum), 1 => key().prop_map(Op::Poll)];
    prop_oneof![3 => changes, 2 => looks, 2 => Just(Op::Nap), 1 => Just(Op::Rest)].boxed()
}

/// Programs that rest now and then.
pub fn resting() -> BoxedStrategy<Op> {
    prop_oneof![3 => everything(), 1 => Just(Op::Rest)].boxed()
}

/// Programs of which the first thread may be killed at any time.
pub fn mortals(op: BoxedStrategy<Op>) -> impl Strategy<Value = Vec<Program>> {
    vec(vec(op, 1..=3), 2..=3).prop_map(|mut programs| {
        programs.push(vec![Op::Kill(0)]);
        programs
    })
}

/// Programs of each kind. What is rare was found after some hundreds.
const CASES: u32 = 1024;

fn agree(programs: Vec<Program>) -> Result<(Seen, Seen), TestCaseError> {
    let all = by_force(&mut Toy::new(programs.clone()));
    let reduced = by_dpor(&mut Toy::new(programs));
    prop_assert_eq!(&reduced.searched.end, &End::Exhausted);
    prop_assert_eq!(&reduced.outcomes, &all.outcomes);
    prop_assert_eq!(&reduced.classes, &all.classes);
    Ok((all, reduced))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn plain_programs_have_one_execution_a_class(programs in programs(exact())) {
        let (all, reduced) = agree(programs)?;
        let searched = reduced.searched;
        prop_assert_eq!((searched.executions as usize, searched.redundant), (all.classes.len(), 0));
    }

    #[test]
    fn footprints_that_depend_on_the_state_lose_nothing(programs in programs(pointing())) {
        agree(programs)?;
    }

    #[test]
    fn locks_lose_nothing(programs in programs(locking())) {
        agree(programs)?;
    }

    #[test]
    fn crowds_at_one_lock_lose_nothing(programs in crowds()) {
        agree(programs)?;
    }

    #[test]
    fn locks_that_depend_on_the_state_lose_nothing(programs in programs(finding())) {
        agree(programs)?;
    }

    #[test]
    fn critical_sections_lose_nothing(programs in sections()) {
        agree(programs)?;
    }

    #[test]
    fn all_of_it_together_loses_nothing(programs in programs(everything())) {
        agree(programs)?;
    }

    #[test]
    fn a_search_that_is_left_and_taken_up_again_runs_the_same(programs in programs(everything()), executions in 1_u64..4) {
        let whole = by_dpor(&mut Toy::new(programs.clone()));
        prop_assert_eq!(by_dpor_in_parts(&programs, executions), whole);
    }

    #[test]
    fn who_goes_on_only_when_nobody_else_can_loses_nothing(programs in programs(resting())) {
        agree(programs)?;
    }

    #[test]
    fn who_is_woken_by_what_changes_loses_nothing(programs in programs(napping())) {
        agree(programs)?;
    }

    #[test]
    fn who_is_woken_by_one_of_several_loses_nothing(programs in programs(polling())) {
        agree(programs)?;
    }

    #[test]
    fn kills_lose_nothing(programs in mortals(everything())) {
        agree(programs)?;
    }

    #[test]
    fn kills_of_those_who_rest_lose_nothing(programs in mortals(resting())) {
        agree(programs)?;
    }

    #[test]
    fn threads_that_are_born_lose_nothing(programs in families()) {
        agree(programs)?;
    }
}

/// How many more executions there are than classes, over a corpus.
#[test]
fn what_is_run_stays_near_the_number_of_classes() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    for (what, strategy) in [
        ("pointers", programs(pointing()).boxed()),
        ("locks", programs(locking()).boxed()),
        ("locks that depend on the state", programs(finding()).boxed()),
        ("crowds", crowds().boxed()),
        ("sections", sections().boxed()),
        ("everything", programs(everything()).boxed()),
        ("births", families().boxed()),
        ("rests", programs(resting()).boxed()),
        ("naps", programs(napping()).boxed()),
        ("polls", programs(polling()).boxed()),
        ("kills", mortals(everything()).boxed()),
        ("kills and rests", mortals(resting()).boxed()),
    ] {
        let (mut executions, mut classes, mut redundant, mut infeasible) = (0, 0, 0, 0);
        for _ in 0..300 {
            let programs = strategy.new_tree(&mut runner).expect("programs").current();
            classes += by_force(&mut Toy::new(programs.clone())).classes.len() as u64;
            let searched = by_dpor(&mut Toy::new(programs)).searched;
            executions += searched.executions;
            redundant += searched.redundant;
            infeasible += searched.infeasible;
        }
        println!(
            "{what}: {executions} complete, {redundant} broken off, {infeasible} infeasible, {classes} classes"
        );
        assert!(executions * 10 <= classes * 12, "{what}");
        assert!((executions + redundant) * 10 <= classes * 15, "{what}");
    }
}
