//! The relation held against the kernel, two calls at a time: both are run in every order from the
//! same state, and where changing places changes anything that a client can find out, the footprints
//! of the two have to conflict. Where they conflict and no order differs, the relation is less precise
//! than it could be; how many such pairs there are is counted.
//!
//! The same executions tell whether a call returns at the gate what it returns without.
//!
//! Not covered: calls that end the exploration (mapping a file), the
//! order in which names are listed, inode numbers, sleeps and threads.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use super::super::{Access, Footprint, Mode, ObjectKind, conflict};
use super::caller::{Caller, make_world};
use super::playground::{AFTERWARDS, Ordered, Pair, every_pair, plan};

/// What is done before, and the call that counts: calls on files and their names.
const ON_FILES: &[(&str, &str)] = &[
    ("", "open f0"),
    ("", "open f2"),
    ("", "open s0"),
    ("", "create f0"),
    ("", "create f2"),
    ("", "exclusive f0"),
    ("", "exclusive f2"),
    ("", "truncating f0"),
    ("open f0", "read"),
    ("open f0", "pread"),
    ("open f0", "write"),
    ("open f0", "pwrite"),
    ("open f0", "extend"),
    ("append f0", "write"),
    ("open f0", "seek-start"),
    ("open f0", "seek-end"),
    ("open f0", "ftruncate"),
    ("", "truncate f0"),
    ("open f0", "fallocate"),
    ("open f0", "fsync"),
    ("open f0", "dup"),
    ("open f0", "close"),
    ("open f0", "fstat"),
    ("", "stat f0"),
    ("", "stat f2"),
    ("", "stat s0"),
    ("", "lstat s0"),
    ("", "exists f0"),
    ("", "exists f2"),
    ("", "writable f0"),
    ("", "rename f0 f1"),
    ("", "rename f0 f2"),
    ("", "rename f1 f0"),
    ("", "rename f2 f0"),
    ("", "exchange f0 f1"),
    ("", "no-replace f1 f0"),
    ("", "no-replace f0 f2"),
    ("", "link f0 f2"),
    ("", "link f1 f0"),
    ("", "symlink f1 f2"),
    ("", "readlink s0"),
    ("", "unlink f0"),
    ("", "unlink f2"),
    ("", "unlink s0"),
    ("", "mkdir f2"),
    ("", "mknod f2"),
    ("", "getxattr f0"),
    ("", "setxattr f0"),
    ("", "nameless"),
    ("nameless", "link-open f2"),
    ("open f0", "link-open f2"),
    ("", "chmod f0"),
    ("open f0", "fchmod"),
    ("", "utimens f0"),
    ("open f0", "futimens"),
    ("open f0", "flock exclusive"),
    ("open f0", "flock shared"),
    ("open f0", "flock try-exclusive"),
    ("open f0", "flock try-shared"),
    ("open f0;flock exclusive", "flock unlock"),
    ("open f0;flock shared", "flock unlock"),
    ("open f0;flock shared", "flock exclusive"),
    ("open f0;flock exclusive", "flock shared"),
    ("open f0;flock exclusive", "close"),
    ("open f0;flock shared", "close"),
    ("open f0", "posix exclusive"),
    ("open f0", "posix shared"),
    ("open f0", "posix try-exclusive"),
    ("open f0", "posix query"),
    ("open f0;posix exclusive", "posix unlock"),
    ("open f0;posix shared", "close"),
    ("open f0", "ofd try-exclusive"),
    ("open f0;ofd try-exclusive", "ofd unlock"),
    ("open f1", "write"),
    ("open f1", "pread"),
    ("open f1", "flock exclusive"),
    ("", "stat f1"),
    ("", "unlink f1"),
    ("", "chmod f1"),
    ("", "kill parent"),
];

/// Calls on directories, and on what is in them.
const ON_DIRECTORIES: &[(&str, &str)] = &[
    ("", "create d0/x"),
    ("", "stat ."),
    ("", "stat d0"),
    ("", "rename d0 d1"),
    ("", "rename e0 d0"),
    ("", "exchange d0 e0"),
    ("", "mkdir d0/x"),
    ("", "rmdir d0"),
    ("open .", "list"),
    ("open d0", "list"),
    ("open d0", "fstat"),
    ("open d0", "stat-in x"),
    ("open d0", "create-in x"),
    ("open d0", "mkdir-in x"),
    ("open d0", "symlink-in x"),
    ("open d0", "link-in x"),
    ("open d0", "rename-in x"),
    ("open d0", "unlink-in x"),
    ("", "create f2"),
    ("", "unlink f0"),
    ("", "rename f0 f2"),
    ("", "mkdir f2"),
    ("", "link f0 f2"),
    ("", "chmod d0"),
    ("", "unlink d0/x"),
];

/// What a third client sees of files, and of directories.
const LOOK_AT_FILES: &str = "lstat f0;content f0;getxattr f0;locks f0;lstat f1;content f1;locks f1;lstat f2;content f2;readlink s0;readlink f2;names .";
const LOOK_AT_DIRECTORIES: &str =
    "lstat .;names .;lstat d0;names d0;lstat d1;lstat e0;names e0;lstat d0/x;lstat e0/x;lstat f0;lstat f2";

/// Run once for all tests.
static PAIRS: LazyLock<[Vec<Pair>; 2]> =
    LazyLock::new(|| [every_pair(ON_FILES, LOOK_AT_FILES), every_pair(ON_DIRECTORIES, LOOK_AT_DIRECTORIES)]);

/// What contradicts a relation: steps that it takes for independent, and that are not.
fn contradictions(pairs: &[Pair], conflict: &impl Fn(&[Access], &[Access]) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for Pair { names: [one, other], orders } in pairs {
        let by_order: BTreeMap<Vec<usize>, &Ordered> =
            orders.iter().map(|order| (order.steps.iter().map(|step| step.by).collect(), order)).collect();
        for (order, run) in &by_order {
            for index in 1..order.len() {
                let (earlier, later) = (&run.steps[index - 1], &run.steps[index]);
                if earlier.by == later.by || conflict(&earlier.footprint, &later.footprint) {
                    continue;
                }
                let why = if earlier.could[later.by] {
                    let mut swapped = order.clone();
                    swapped.swap(index - 1, index);
                    match by_order.get(&swapped) {
                        Some(turned) if turned.outcome == run.outcome => continue,
                        Some(turned) => difference(&run.outcome, &turned.outcome),
                        None => "only in one order is there a way on".to_owned(),
                    }
                } else {
                    "one could not go on before the other had".to_owned()
                };
                found.push(format!("{one} and {other}: {why}"));
            }
            // Who could have gone on before a step and cannot any more was in conflict with it.
            for (index, step) in run.steps.iter().enumerate() {
                let left = 1 - step.by;
                let last = run.steps[index..].iter().skip(1).all(|step| !step.could[left]);
                if step.could[left] && last && run.waits[left] {
                    let mut instead = order[..index].to_vec();
                    instead.push(left);
                    let first = by_order.iter().find(|(order, _)| order.starts_with(&instead));
                    let footprint = &first.expect("every order was run").1.steps[index].footprint;
                    if !conflict(&step.footprint, footprint) {
                        found.push(format!("{one} and {other}: one makes the other wait"));
                    }
                }
            }
        }
    }
    found
}

/// What two outcomes do not have in common.
fn difference(one: &str, other: &str) -> String {
    let parts = |outcome: &str| -> Vec<String> { outcome.split([',', '|']).map(str::to_owned).collect() };
    let (one, other) = (parts(one), parts(other));
    let unlike = one.iter().zip(&other).filter(|(one, other)| one != other);
    unlike
        .map(|(one, other)| format!("{} or {}", one.trim(), other.trim()))
        .collect::<Vec<String>>()
        .join(", ")
}

/// Whether the steps of two calls conflict in some order.
fn conflicts(pair: &Pair) -> bool {
    pair.orders.iter().any(|order| {
        let of = |who: usize| order.steps.iter().filter(move |step| step.by == who);
        of(0).any(|one| of(1).any(|other| conflict(&one.footprint, &other.footprint)))
    })
}

/// Whether they do though every order comes to the same.
fn needless(pair: &Pair) -> bool {
    conflicts(pair) && pair.orders.iter().all(|order| order.outcome == pair.orders[0].outcome)
}

/// What comes of two calls without any gate, the first one first. `None` where that cannot be found
/// out within one process: POSIX locks belong to a process, and a lock that is held keeps it waiting.
fn without_gate(base: &Path, look: &str, calls: [&str; 2], first: usize) -> Option<String> {
    if calls.iter().any(|call| call.contains("posix") || call.contains("kill")) {
        return None;
    }
    let directory = tempfile::Builder::new().prefix(".tearproof-").tempdir_in(base).expect("a directory");
    let state = directory.path().join("state");
    std::fs::create_dir(&state).expect("a directory");
    make_world(&state).expect("a world");
    let mut callers = [1, 2, 3].map(|client| Caller::new(&state, client));
    let mut told: [[String; 2]; 3] = Default::default();
    let [one, other] = calls.map(|call| call.split_once('>').expect("what comes before and the call"));
    for (caller, (before, _)) in callers.iter_mut().zip([one, other]) {
        caller.calls(before);
    }
    for who in [first, 1 - first] {
        told[who][0] = callers[who].calls([one, other][who].1);
    }
    for (who, what) in [AFTERWARDS, AFTERWARDS, look].into_iter().enumerate() {
        told[who][1] = callers[who].calls(what);
    }
    Some(told.as_flattened().iter().map(|told| format!("{told} | ")).collect())
}

/// An outcome without the times, which are virtual at the gate.
fn timeless(outcome: &str) -> String {
    let parts =
        outcome.split(" at ").map(|part| part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    parts.collect()
}

/// What two calls came to at the gate one after the other, and would not have come to without it. Who
/// goes first without it is what `turn` says of who went first at the gate.
fn differences(pairs: &[Pair], look: &str, turn: impl Fn(usize) -> usize) -> Vec<String> {
    let base = plan().base;
    let mut found = Vec::new();
    for Pair { names: [one, other], orders } in pairs {
        for order in orders.iter().filter(|order| order.waits == [false, false]) {
            let first = order.steps.first().map_or(0, |step| step.by);
            if order.steps.windows(2).filter(|steps| steps[0].by != steps[1].by).count() > 1 {
                continue;
            }
            let Some(expected) = without_gate(&base, look, [one, other], turn(first)) else { continue };
            let (expected, seen) = (timeless(&expected), timeless(&order.outcome));
            if expected != seen {
                found.push(format!("{one} and {other}: {}", difference(&seen, &expected)));
            }
        }
    }
    found
}

/// A relation that does not know this kind of object.
fn without(kind: ObjectKind) -> impl Fn(&[Access], &[Access]) -> bool {
    move |one, other| {
        let known = |footprint: &[Access]| -> Footprint {
            footprint.iter().copied().filter(|access| access.object.kind != kind).collect()
        };
        conflict(&known(one), &known(other))
    }
}

/// A relation in which accesses in these modes commute.
fn commuting(modes: [Mode; 2]) -> impl Fn(&[Access], &[Access]) -> bool {
    move |one, other| {
        let these = |a: &Access, b: &Access| [a.mode, b.mode] == modes || [b.mode, a.mode] == modes;
        one.iter()
            .any(|a| other.iter().any(|b| a.object == b.object && a.mode.conflicts(b.mode) && !these(a, b)))
    }
}

fn all_contradictions(conflict: impl Fn(&[Access], &[Access]) -> bool) -> Vec<String> {
    PAIRS.iter().flat_map(|pairs| contradictions(pairs, &conflict)).collect()
}

#[test]
fn calls_that_do_not_conflict_can_change_places_on_the_kernel() {
    let found = all_contradictions(conflict);
    assert!(found.is_empty(), "{} contradictions:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_relation_that_knows_less_is_contradicted_by_the_kernel() {
    // Not among them: what a call changes of attributes it changes of the metadata, too; offsets are
    // shared by nobody here; and whom the gate of writers keeps out conflicts in the content as well.
    for kind in
        [ObjectKind::Content, ObjectKind::Metadata, ObjectKind::Entry, ObjectKind::Listing, ObjectKind::Lock]
    {
        assert!(!all_contradictions(without(kind)).is_empty(), "nobody needs {kind:?}");
    }
}

#[test]
fn every_two_modes_that_conflict_do_so_for_a_reason() {
    use Mode::{Acquire, AcquireShared, Hold, Release, ReleaseShared, Update, Write};
    let mut unused = Vec::new();
    for (index, &one) in super::MODES.iter().enumerate() {
        for &other in &super::MODES[index..] {
            if one.conflicts(other) && all_contradictions(commuting([one, other])).is_empty() {
                unused.push((one, other));
            }
        }
    }
    assert_eq!(
        unused,
        [
            // Who goes on under a lock is nobody's neighbour in two calls.
            (Write, Hold),
            // Nothing that is taken as a lock is changed in a way that commutes.
            (Update, Acquire),
            (Update, AcquireShared),
            (Update, Hold),
            (Update, Release),
            (Update, ReleaseShared),
            (Acquire, Hold),
            (AcquireShared, Hold),
            (Hold, Hold),
            (Hold, Release),
            (Hold, ReleaseShared),
            // Who gives an exclusive lock back was alone.
            (Release, Release),
            (Release, ReleaseShared),
        ]
    );
}

#[test]
fn few_calls_conflict_though_no_order_differs() {
    let all: Vec<&Pair> = PAIRS.iter().flatten().collect();
    let of_these = |wanted: fn(&Pair) -> bool| all.iter().filter(|pair| wanted(pair)).count();
    let (conflicting, needless) = (of_these(conflicts), of_these(needless));
    println!("{} pairs: {conflicting} conflict, {needless} of them needlessly:", all.len());
    for pair in all.iter().filter(|pair| self::needless(pair)) {
        println!("  {}", pair.names.join(" and "));
    }
    assert!(needless * 3 < conflicting, "{needless} of {conflicting} conflicts are needless");
}

#[test]
fn calls_return_at_the_gate_what_they_return_without_it() {
    for (pairs, look) in PAIRS.iter().zip([LOOK_AT_FILES, LOOK_AT_DIRECTORIES]) {
        let found = differences(pairs, look, |first| first);
        assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    }
    // No locks there, for which the wrong one would wait.
    let turned = differences(&PAIRS[1], LOOK_AT_DIRECTORIES, |first| 1 - first);
    assert!(!turned.is_empty(), "the other order comes to the same: nothing is compared");
}
