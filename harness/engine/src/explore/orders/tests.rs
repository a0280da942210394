//! The maximal real-time orders against all linear extensions, for small random executions.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;

/// Who returned before whom was invoked: bit `8 a + b` where a returned before b was invoked.
type Precedences = u64;

fn precedences(history: &[Moment]) -> Precedences {
    let mut returned = 0_u64;
    let mut found = 0;
    for &moment in history {
        match moment {
            Moment::Return(one) => returned |= 1 << one,
            Moment::Invoke(other) => found |= bits(returned).fold(0, |set, one| set | 1 << (8 * one + other)),
        }
    }
    found
}

/// One step: an object and whether it is changed.
type Touch = (u8, bool);

/// One operation: the steps that its thread takes before it, and its own.
#[derive(Clone, Debug)]
struct Work {
    outside: Vec<Touch>,
    inside: Vec<Touch>,
}

/// What each thread does, whether its last operation returns, and how the threads take turns.
#[derive(Clone, Debug)]
struct Execution {
    threads: Vec<(Vec<Work>, bool)>,
    turns: Vec<u8>,
}

/// What happens in an execution: steps, and the moments between them.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Step(Touch),
    Moment(Moment),
}

/// The whole happens-before order of an execution, projected by closing it over everything.
struct Projected {
    /// The thread of each operation, and whether it returned.
    operations: Vec<(usize, bool)>,
    /// For each moment that histories have, the moments before it, by index.
    before: BTreeMap<usize, u64>,
}

impl Execution {
    fn project(&self) -> Projected {
        let mut operations = Vec::new();
        let mut programs = Vec::new();
        for (thread, (works, returns)) in self.threads.iter().enumerate() {
            let mut program = Vec::new();
            for (nth, work) in works.iter().enumerate() {
                let operation = operations.len();
                operations.push((thread, *returns || nth + 1 < works.len()));
                program.extend(work.outside.iter().copied().map(Happening::Step));
                program.push(Happening::Moment(Moment::Invoke(operation)));
                program.extend(work.inside.iter().copied().map(Happening::Step));
                program.push(Happening::Moment(Moment::Return(operation)));
            }
            programs.push(program.into_iter());
        }
        // For each happening, who did it and everything that comes before it.
        let mut happened: Vec<(usize, Happening, u128)> = Vec::new();
        let mut turns = self.turns.iter().copied().chain(std::iter::repeat(0));
        while programs.iter().any(|program| program.len() > 0) {
            let ready: Vec<usize> = (0..programs.len()).filter(|&t| programs[t].len() > 0).collect();
            let thread = ready[usize::from(turns.next().expect("endless")) % ready.len()];
            let happening = programs[thread].next().expect("it is ready");
            let mut before = 0;
            for (at, &(other, earlier, others)) in happened.iter().enumerate() {
                let conflict = match (earlier, happening) {
                    (Happening::Step((a, changed)), Happening::Step((b, changes))) => {
                        a == b && (changed || changes)
                    }
                    _ => false,
                };
                if other == thread || conflict {
                    before |= others | 1 << at;
                }
            }
            happened.push((thread, happening, before));
        }
        let index_at: Vec<Option<usize>> = happened
            .iter()
            .map(|&(_, happening, _)| match happening {
                Happening::Moment(moment) => Some(moment.index()),
                Happening::Step(_) => None,
            })
            .collect();
        let before = happened
            .iter()
            .zip(&index_at)
            .filter_map(|(&(_, _, before), &index)| {
                let moments = index_at.iter().enumerate().filter(|&(at, _)| before & (1 << at) != 0);
                Some((index?, moments.filter_map(|(_, &index)| index).fold(0, |set, index| set | 1 << index)))
            })
            .collect();
        Projected { operations, before }
    }
}

impl Projected {
    fn comes_before(&self, earlier: Moment, later: Moment) -> bool {
        self.before[&later.index()] & (1 << earlier.index()) != 0
    }

    /// What the code under test is told: the matrix, and the other edges where steps are outside.
    fn tell(&self, edges_outside: bool) -> ProjectedOrder {
        let mut order = ProjectedOrder::default();
        for (nth, &(thread, returned)) in self.operations.iter().enumerate() {
            assert_eq!(order.operation(ThreadId(thread as u16), returned), Ok(nth));
        }
        for one in 0..self.operations.len() {
            for other in 0..self.operations.len() {
                if self.comes_before(Moment::Invoke(one), Moment::Return(other)) {
                    order.follows(one, other);
                }
                let others = [
                    (Moment::Invoke(one), Moment::Invoke(other)),
                    (Moment::Return(one), Moment::Invoke(other)),
                    (Moment::Return(one), Moment::Return(other)),
                ];
                for (earlier, later) in others {
                    if edges_outside && self.comes_before(earlier, later) {
                        order.before(earlier, later);
                    }
                }
            }
        }
        order
    }

    /// The moments that histories have, by index.
    fn in_histories(&self) -> u64 {
        self.operations.iter().enumerate().fold(0, |set, (operation, &(_, returned))| {
            set | 1 << (2 * operation) | u64::from(returned) << (2 * operation + 1)
        })
    }

    /// The precedences of every linear extension, each history built and looked at.
    fn all(&self) -> BTreeSet<Precedences> {
        fn extend(
            projected: &Projected,
            left: u64,
            history: &mut Vec<Moment>,
            into: &mut BTreeSet<Precedences>,
        ) {
            if left == 0 {
                into.insert(precedences(history));
            }
            for next in bits(left).filter(|next| projected.before[next] & left == 0) {
                history.push(Moment::at(next));
                extend(projected, left & !(1 << next), history, into);
                history.pop();
            }
        }
        let mut all = BTreeSet::new();
        extend(self, self.in_histories(), &mut Vec::new(), &mut all);
        all
    }

    /// The same, by sets of moments instead of histories: for more operations.
    fn all_by_sets(&self) -> BTreeSet<Precedences> {
        let everything = self.in_histories();
        let mut layer = BTreeMap::from([(0_u64, BTreeSet::from([0_u64]))]);
        for _ in 0..everything.count_ones() {
            let mut next: BTreeMap<u64, BTreeSet<Precedences>> = BTreeMap::new();
            for (done, found) in layer {
                for moment in bits(everything & !done) {
                    if self.before[&moment] & everything & !done == 0 {
                        let mut gained = 0;
                        if let Moment::Invoke(other) = Moment::at(moment) {
                            gained = bits(done & !INVOCATIONS)
                                .fold(0, |set, one| set | 1 << (8 * (one / 2) + other));
                        }
                        let into = next.entry(done | 1 << moment).or_default();
                        into.extend(found.iter().map(|precedences| precedences | gained));
                    }
                }
            }
            layer = next;
        }
        layer.remove(&everything).expect("some history")
    }
}

fn maximal(all: &BTreeSet<Precedences>) -> BTreeSet<Precedences> {
    let beaten = |one: &u64| all.iter().any(|other| one != other && one & !other == 0);
    all.iter().copied().filter(|one| !beaten(one)).collect()
}

/// Compares what the code under test finds for an execution with all of its linear extensions.
fn agree(
    projected: &Projected,
    order: &mut ProjectedOrder,
    choose: impl Fn(&RealTimeOrders, u64) -> u64,
) -> Result<(), String> {
    order.close().map_err(|error| error.to_string())?;
    let mut found = BTreeSet::new();
    let (count, ending) = order.orders.visit_choosing(choose, u64::MAX, |history| {
        let mut left = projected.in_histories();
        for &moment in history {
            let bit = 1 << moment.index();
            if left & bit == 0 {
                return ControlFlow::Break(format!("{moment:?} twice, or not at all, in {history:?}"));
            }
            left &= !bit;
            if projected.before[&moment.index()] & left != 0 {
                return ControlFlow::Break(format!("{moment:?} too early in {history:?}"));
            }
        }
        if left != 0 {
            return ControlFlow::Break(format!("{history:?} is not whole"));
        }
        if !found.insert(precedences(history)) {
            return ControlFlow::Break(format!("{history:?} has the precedences of another one"));
        }
        ControlFlow::Continue(())
    });
    match ending {
        Ending::Stopped(why) => return Err(why),
        Ending::Limit => return Err("a limit without limits".to_owned()),
        Ending::Exhausted => assert_eq!(count, found.len() as u64),
    }
    let expected = maximal(&projected.all());
    if found == expected { Ok(()) } else { Err(format!("{found:x?} instead of {expected:x?}")) }
}

fn touches(most: usize) -> impl Strategy<Value = Vec<Touch>> {
    proptest::collection::vec((0..3_u8, any::<bool>()), 0..=most)
}

/// Up to three threads with up to four operations in all.
fn executions(outside: usize) -> impl Strategy<Value = Execution> {
    let work = (touches(outside), touches(3)).prop_map(|(outside, inside)| Work { outside, inside });
    let thread = (proptest::collection::vec(work, 1..=3), proptest::bool::weighted(0.8));
    (proptest::collection::vec(thread, 1..=4), proptest::collection::vec(any::<u8>(), 24)).prop_map(
        |(mut threads, turns)| {
            let mut left = 4;
            for (works, _) in &mut threads {
                works.truncate(left);
                left -= works.len();
            }
            threads.retain(|(works, _)| !works.is_empty());
            Execution { threads, turns }
        },
    )
}

proptest! {
    #[test]
    fn every_maximal_order_is_found_once_from_the_matrix_alone(execution in executions(0)) {
        let projected = execution.project();
        let mut order = projected.tell(false);
        prop_assert_eq!(agree(&projected, &mut order, RealTimeOrders::minimal), Ok(()));
        for index in 0..2 * projected.operations.len() {
            prop_assert_eq!(order.all_before(Moment::at(index)), projected.before[&index]);
        }
    }

    #[test]
    fn every_maximal_order_is_found_once_with_steps_outside_operations(execution in executions(2)) {
        let projected = execution.project();
        let mut order = projected.tell(true);
        prop_assert_eq!(agree(&projected, &mut order, RealTimeOrders::minimal), Ok(()));
    }

    #[test]
    fn both_ways_to_enumerate_everything_agree(execution in executions(1)) {
        let projected = execution.project();
        prop_assert_eq!(projected.all(), projected.all_by_sets());
    }
}

/// Groups many executions by signature and returns how many groups there are.
fn grouped(executions: &[Execution], sign: impl Fn(&RealTimeOrders) -> u64) -> Result<usize, String> {
    let mut groups: BTreeMap<u64, BTreeSet<Precedences>> = BTreeMap::new();
    for execution in executions {
        let projected = execution.project();
        let mut order = projected.tell(true);
        let signature = sign(order.close().map_err(|error| error.to_string())?);
        let precedences = maximal(&projected.all());
        let known = groups.entry(signature).or_insert_with(|| precedences.clone());
        if *known != precedences {
            return Err(format!("{known:x?} and {precedences:x?} have one signature"));
        }
    }
    Ok(groups.len())
}

#[test]
fn orders_with_one_signature_have_the_same_precedences() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let executions: Vec<Execution> =
        (0..600).map(|_| executions(2).new_tree(&mut runner).expect("no filter").current()).collect();
    let groups = grouped(&executions, |orders| orders.signature(&[])).expect("no two meanings");
    // Had each execution a signature of its own, this would show nothing.
    assert!((20..500).contains(&groups), "{groups} groups");
    // Canary: a signature of how many operations there are.
    grouped(&executions, |orders| orders.moments.len() as u64).expect_err("two meanings");
}

fn one_step(touch: Touch) -> Work {
    Work { outside: vec![], inside: vec![touch] }
}

/// Two operations of which the second changes what the first has changed.
fn write_after_write() -> Execution {
    let thread = (vec![one_step((0, true))], true);
    Execution { threads: vec![thread.clone(), thread], turns: vec![0; 24] }
}

/// Two operations that have nothing to do with each other.
fn strangers() -> Execution {
    let thread = |object| (vec![one_step((object, true))], true);
    Execution { threads: vec![thread(0), thread(1)], turns: vec![0; 24] }
}

fn tried(execution: &Execution, choose: impl Fn(&RealTimeOrders, u64) -> u64) -> Result<(), String> {
    let projected = execution.project();
    let mut order = projected.tell(true);
    agree(&projected, &mut order, choose)
}

#[test]
fn canary_choices_that_are_not_minimal_are_caught() {
    let any_return = |orders: &RealTimeOrders, done: u64| orders.returns & !done;
    assert_eq!(tried(&write_after_write(), RealTimeOrders::minimal), Ok(()));
    tried(&write_after_write(), any_return).expect_err("an order that is not maximal");
}

#[test]
fn canary_a_search_that_takes_the_first_choice_only_is_caught() {
    let first = |orders: &RealTimeOrders, done: u64| {
        let choices = orders.minimal(done);
        choices & choices.wrapping_neg()
    };
    assert_eq!(tried(&strangers(), RealTimeOrders::minimal), Ok(()));
    tried(&strangers(), first).expect_err("an order that is missing");
}

#[test]
fn canary_a_conflict_that_is_forgotten_is_caught() {
    let projected = write_after_write().project();
    let mut order = strangers().project().tell(true);
    agree(&projected, &mut order, RealTimeOrders::minimal).expect_err("orders that there are not");
}

/// Two writers that write twice, each time two steps of their own and the rename, and a reader that
/// reads twice, each time the open and two steps of its own.
fn writers_and_a_reader(turns: &[u8]) -> Execution {
    let write = |own| Work { outside: vec![], inside: vec![(own, true), (own, true), (0, true)] };
    let read = Work { outside: vec![], inside: vec![(0, false), (3, false), (3, false)] };
    Execution {
        threads: vec![(vec![write(1); 2], true), (vec![write(2); 2], true), (vec![read; 2], true)],
        turns: turns.to_vec(),
    }
}

/// Every way in which threads can take turns, each so many times.
fn all_turns(left: [u8; 3], turns: &mut Vec<u8>, visit: &mut impl FnMut(&[u8])) {
    if left == [0; 3] {
        visit(turns);
    }
    for (thread, &turns_left) in left.iter().enumerate().filter(|&(_, &turns_left)| turns_left > 0) {
        let mut others = left;
        others[thread] = turns_left - 1;
        turns.push(thread as u8);
        all_turns(others, turns, visit);
        turns.pop();
    }
}

#[test]
fn two_writers_and_a_reader_have_90_classes_with_18552_real_time_orders_of_which_90_are_maximal() {
    let mut classes = BTreeMap::new();
    // A turn is a whole operation: the rename or the open with what is private around it. Private
    // steps change no class, which the next test shows, so these turns give every class.
    all_turns([2; 3], &mut Vec::new(), &mut |operations| {
        // A thread that has ended makes no gap in the numbers, so turns count those that are ready.
        let mut left = [2_u8; 3];
        let mut turns = Vec::new();
        for &thread in operations {
            let rank = (0..thread).filter(|&other| left[usize::from(other)] > 0).count() as u8;
            turns.extend([rank; 5]);
            left[usize::from(thread)] -= 1;
        }
        let projected = writers_and_a_reader(&turns).project();
        let mut order = projected.tell(false);
        let orders = order.close().expect("an order");
        let (maximal, ending) = orders.visit(u64::MAX, |_| ControlFlow::<Infallible>::Continue(()));
        assert_eq!(ending, Ending::Exhausted);
        classes.insert(orders.signature(&[]), (projected.all_by_sets().len(), maximal));
    });
    assert_eq!(classes.len(), 90);
    assert_eq!(classes.values().map(|&(all, _)| all).sum::<usize>(), 18_552);
    assert_eq!(classes.values().map(|&(_, maximal)| maximal).sum::<u64>(), 90);
}

#[test]
fn interleaving_private_steps_too_gives_no_other_classes() {
    let mut classes = BTreeSet::new();
    let mut schedules = 0;
    // One private step for each operation. A turn is a step and the moment beside it, the invocation
    // before an operation's first or the return after its last.
    all_turns([4; 3], &mut Vec::new(), &mut |halves| {
        schedules += 1;
        let mut left = [4_u8; 3];
        let mut turns = Vec::new();
        for &thread in halves {
            let rank = (0..thread).filter(|&other| left[usize::from(other)] > 0).count() as u8;
            turns.extend([rank; 2]);
            left[usize::from(thread)] -= 1;
        }
        let write = |own| Work { outside: vec![], inside: vec![(own, true), (0, true)] };
        let read = Work { outside: vec![], inside: vec![(0, false), (3, false)] };
        let execution = Execution {
            threads: vec![(vec![write(1); 2], true), (vec![write(2); 2], true), (vec![read; 2], true)],
            turns,
        };
        let mut order = execution.project().tell(false);
        classes.insert(order.close().expect("an order").signature(&[]));
    });
    assert_eq!((schedules, classes.len()), (34_650, 90));
}

/// So many operations that have nothing to do with each other.
fn all_strangers(count: usize) -> ProjectedOrder {
    let mut order = ProjectedOrder::default();
    for thread in 0..count {
        order.operation(ThreadId(thread as u16), true).expect("room");
    }
    order
}

fn shown(orders: &mut RealTimeOrders, limit: u64) -> (Vec<Vec<Moment>>, Ending<Infallible>) {
    let mut histories = Vec::new();
    let (count, ending) = orders.visit(limit, |history| {
        histories.push(history.to_vec());
        ControlFlow::Continue(())
    });
    assert_eq!(count, histories.len() as u64);
    (histories, ending)
}

#[test]
fn a_limit_is_hit_only_when_there_are_more_orders_and_those_shown_are_the_first() {
    let mut order = all_strangers(3);
    let orders = order.close().expect("an order");
    let (all, ending) = shown(orders, 6);
    assert_eq!((all.len(), ending), (6, Ending::Exhausted));
    for limit in 0..6 {
        assert_eq!(shown(orders, limit), (all[..limit as usize].to_vec(), Ending::Limit));
    }
    assert_eq!(shown(orders, u64::MAX), (all, Ending::Exhausted));
}

#[test]
fn a_visitor_who_has_enough_is_not_shown_more() {
    let mut order = all_strangers(3);
    let mut left = 2;
    let ended = order.close().expect("an order").visit(u64::MAX, |_| {
        left -= 1;
        if left == 0 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
    });
    assert_eq!(ended, (2, Ending::Stopped("enough")));
}

#[test]
fn an_execution_without_operations_has_one_empty_history() {
    let mut order = ProjectedOrder::default();
    assert_eq!(shown(order.close().expect("an order"), 1), (vec![vec![]], Ending::Exhausted));
}

#[test]
fn who_never_returns_is_invoked_last_and_precedes_nobody() {
    let mut order = ProjectedOrder::default();
    let stuck = order.operation(ThreadId(0), false).expect("room");
    let other = order.operation(ThreadId(1), true).expect("room");
    let last = [Moment::Invoke(other), Moment::Return(other), Moment::Invoke(stuck)];
    assert_eq!(shown(order.close().expect("an order"), 9), (vec![last.to_vec()], Ending::Exhausted));
    // The other one saw what it did, so it had been invoked by then.
    order.follows(stuck, other);
    let first = [Moment::Invoke(stuck), Moment::Invoke(other), Moment::Return(other)];
    assert_eq!(shown(order.close().expect("an order"), 9), (vec![first.to_vec()], Ending::Exhausted));
}

#[test]
fn what_contradicts_itself_is_an_error() {
    let mut order = all_strangers(2);
    order.before(Moment::Return(0), Moment::Invoke(1));
    order.follows(1, 0);
    assert!(matches!(order.close(), Err(OrderError::Contradiction(_))));
}

#[test]
fn a_word_of_moments_has_room_for_32_operations_and_for_no_more() {
    let mut order = ProjectedOrder::default();
    for _ in 0..MOST_OPERATIONS {
        order.operation(ThreadId(0), true).expect("room");
    }
    assert_eq!(order.operation(ThreadId(0), true), Err(OrderError::TooMany));
    let (histories, ending) = shown(order.close().expect("an order"), 9);
    assert_eq!((histories.len(), ending), (1, Ending::Exhausted));
    let expected: Vec<Moment> = (0..2 * MOST_OPERATIONS).map(Moment::at).collect();
    assert_eq!(histories[0], expected);
}

#[test]
fn a_signature_tells_orders_threads_and_results_apart() {
    let mut order = all_strangers(2);
    let free = order.close().expect("an order").signature(&[1, 2]);
    assert_eq!(order.close().expect("an order").signature(&[1, 2]), free);
    assert_ne!(order.close().expect("an order").signature(&[1, 3]), free);
    order.follows(0, 1);
    let ordered = order.close().expect("an order").signature(&[1, 2]);
    assert_ne!(ordered, free);
    let mut order = ProjectedOrder::default();
    order.operation(ThreadId(0), true).expect("room");
    order.operation(ThreadId(1), false).expect("room");
    assert_ne!(order.close().expect("an order").signature(&[1, 2]), free);
    let mut order = ProjectedOrder::default();
    order.operation(ThreadId(0), true).expect("room");
    order.operation(ThreadId(2), true).expect("room");
    assert_ne!(order.close().expect("an order").signature(&[1, 2]), free);
}

/// Prints what a class costs: `cargo test --release -p tearproof-engine --lib orders -- --ignored
/// --nocapture`.
#[test]
#[ignore = "measures"]
fn what_a_class_costs() {
    let measure = |name: &str, threads: usize, each: usize, independent: usize| {
        let begun = std::time::Instant::now();
        let rounds = 20_000;
        let mut found = 0;
        for _ in 0..rounds {
            let mut order = ProjectedOrder::default();
            for nth in 0..each * threads {
                order.operation(ThreadId((nth % threads) as u16), true).expect("room");
            }
            for one in 0..each * threads {
                for other in (one + 1..each * threads).filter(|&other| other - one >= independent) {
                    order.follows(one, other);
                }
            }
            let orders = order.close().expect("an order");
            found = orders.visit(u64::MAX, |_| ControlFlow::<Infallible>::Continue(())).0;
            std::hint::black_box(orders.signature(&[1; 12][..each * threads]));
        }
        println!("{name}: {found} orders, {:?} a class", begun.elapsed() / rounds);
    };
    measure("6 operations in total order", 3, 2, 1);
    measure("6 operations, neighbours independent", 3, 2, 2);
    measure("12 operations in total order", 4, 3, 1);
    measure("12 operations, neighbours independent", 4, 3, 2);
}
