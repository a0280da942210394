//! Small programs whose numbers of executions are known.

use super::super::{Continue, End, Limits, Searched, dpor};
use super::compare::{by_dpor, compare};
use super::toy::{Op, Toy};

#[test]
fn independent_threads_have_one_execution() {
    assert_eq!(compare(vec![vec![Op::Store(0); 4], vec![Op::Store(1); 4]]), (70, 1, 1));
}

#[test]
fn two_writers_of_one_variable_have_every_interleaving() {
    for (steps, interleavings) in [(1, 2), (2, 6), (3, 20), (4, 70), (5, 252)] {
        let writer = vec![Op::Store(0); steps];
        let all = (interleavings, interleavings, interleavings as usize);
        assert_eq!(compare(vec![writer.clone(), writer]), all, "{steps} steps");
    }
}

#[test]
fn readers_of_what_one_writer_writes_do_not_see_each_other() {
    // Each reader comes before or after the store.
    for readers in 1..=5 {
        let mut programs = vec![vec![Op::Load(0)]; readers];
        programs.push(vec![Op::Store(0)]);
        assert_eq!(compare(programs).1, 1 << readers, "{readers} readers");
    }
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
fn additions_commute_until_somebody_looks() {
    assert_eq!(compare(vec![vec![Op::Add(0); 3]; 3]).1, 1);
    assert_eq!(compare(vec![vec![Op::Add(0)], vec![Op::Add(0)], vec![Op::Sum(0)]]).1, 4);
}

#[test]
fn locks_are_reordered_and_not_their_releases() {
    let section = vec![Op::Lock(0), Op::Load(0), Op::Store(0), Op::Unlock(0)];
    for (threads, orders) in [(2, 2), (3, 6), (4, 24)] {
        let Searched { executions, redundant, infeasible, .. } =
            by_dpor(&mut Toy::new(vec![section.clone(); threads])).searched;
        assert_eq!((executions, redundant, infeasible), (orders, 0, 0), "{threads} threads");
    }
    assert_eq!(compare(vec![section; 3]).1, 6);
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
    let one = vec![Op::Lock(0), Op::Lock(1), Op::Unlock(1), Op::Unlock(0)];
    let other = vec![Op::Lock(1), Op::Lock(0), Op::Unlock(0), Op::Unlock(1)];
    compare(vec![one.clone(), other.clone()]);
    let outcomes = by_dpor(&mut Toy::new(vec![one, other])).outcomes;
    assert!(outcomes.iter().any(|(.., at)| at.iter().all(|&at| at == 1)), "{outcomes:?}");
}

#[test]
fn a_child_takes_no_step_before_it_is_born() {
    let (_, executions, _) = compare(vec![vec![Op::Bear(1), Op::Store(0)], vec![Op::Store(0)]]);
    assert_eq!(executions, 2, "the child's store comes before or after its parent's second step");
}

#[test]
fn a_child_that_is_born_in_some_executions_only_is_found() {
    let parent = vec![Op::BearIfNew(0, 2)];
    let (_, executions, _) = compare(vec![vec![Op::Store(0)], parent, vec![Op::Load(0)]]);
    assert_eq!(executions, 3);
}

#[test]
fn a_limit_on_executions_is_kept() {
    let mut toy = Toy::new(vec![vec![Op::Store(0); 4], vec![Op::Store(0); 4]]);
    let limits = Limits { executions: 10, ..Limits::NONE };
    let Ok(searched) = dpor::search(&mut toy, limits, |_, _| Ok(Continue::Yes));
    assert_eq!((searched.executions, searched.end), (10, End::Executions(10)));
}

#[test]
fn an_observer_that_has_seen_enough_stops_the_search() {
    let mut toy = Toy::new(vec![vec![Op::Store(0); 4], vec![Op::Store(0); 4]]);
    let Ok(searched) = dpor::search(&mut toy, Limits::NONE, |_, _| Ok(Continue::Stop));
    assert_eq!((searched.executions, searched.end), (1, End::Stopped));
}

#[test]
fn a_search_foresees_roughly_how_long_it_takes() {
    // Every order of the stores is a class of its own: 12! / (4! 4! 4!) of them.
    let mut toy = Toy::new(vec![vec![Op::Store(0); 4]; 3]);
    let mut search = dpor::Search::default();
    for executions in [10_000, 20_000, 30_000] {
        let limits = Limits { executions, ..Limits::NONE };
        let Ok(searched) = search.go_on(&mut toy, limits, |_, _| Ok(Continue::Yes));
        assert_eq!(searched.end, End::Executions(executions));
        let expected = search.expected();
        assert!((11_550.0..103_950.0).contains(&expected), "{expected} after {executions}");
    }
    let Ok(searched) = search.go_on(&mut toy, Limits::NONE, |_, _| Ok(Continue::Yes));
    assert_eq!((searched.end, search.expected()), (End::Exhausted, 34_650.0));
}

#[test]
fn who_is_woken_goes_on_before_or_after_whoever_would_have_woken_it_too() {
    let poller = vec![Op::Sum(0), Op::Nap];
    // Either addition may be the one that wakes: then the other one comes before the waking up, or after it.
    let (_, executions, classes) = compare(vec![poller, vec![Op::Add(0)], vec![Op::Add(0)]]);
    assert_eq!((executions, classes), (6, 6));
    // The second store sees the first one, so who wakes is told by their order, and the waking up commutes with the
    // second one.
    let poller = vec![Op::Poll(0), Op::Nap];
    let (_, executions, classes) = compare(vec![poller, vec![Op::StoreThrough(0)], vec![Op::StoreNew(0)]]);
    assert_eq!((executions, classes), (5, 5));
}
