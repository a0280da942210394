//! The conflict relation, by itself and pair by pair against the kernel.

mod caller;
mod pairs;
mod playground;

use super::Mode::{Acquire, AcquireShared, Hold, Read, Release, ReleaseShared, Update, Write};
use super::*;

const MODES: [Mode; 8] = [Read, Write, Update, Acquire, AcquireShared, Hold, Release, ReleaseShared];

fn at(kind: ObjectKind, key: u64, mode: Mode) -> Access {
    Access { object: Object { kind, key }, mode }
}

fn lock(mode: Mode) -> Access {
    at(ObjectKind::Lock, 1, mode)
}

/// The table in the documentation of [`Mode::conflicts`]: for each mode the row of what it conflicts with.
fn documented() -> Vec<(String, Vec<bool>)> {
    let source = include_str!("../access.rs");
    let table =
        source.split("/// ```text").nth(1).expect("a table").split("/// ```").next().expect("its end");
    let rows = table.lines().map(|line| line.trim().trim_start_matches("///").split_whitespace());
    let rows = rows.map(|words| words.map(str::to_owned).collect::<Vec<String>>());
    let mut rows = rows.filter(|words| !words.is_empty());
    let names = rows.next().expect("a head");
    assert_eq!(names, MODES.map(|mode| format!("{mode:?}")));
    rows.map(|words| (words[0].clone(), words[1..].iter().map(|mark| mark == "x").collect())).collect()
}

#[test]
fn modes_conflict_as_the_documentation_says() {
    let rows = documented();
    assert_eq!(rows.len(), MODES.len());
    for (one, (name, row)) in MODES.iter().zip(&rows) {
        assert_eq!(*name, format!("{one:?}"));
        let conflicts: Vec<bool> = MODES.iter().map(|other| one.conflicts(*other)).collect();
        assert_eq!(*row, conflicts, "{name}");
        for other in MODES {
            assert_eq!(one.conflicts(other), other.conflicts(*one), "{one:?} and {other:?}");
        }
    }
}

/// Every kind of object: what can be touched at all.
const KINDS: [ObjectKind; 13] = [
    ObjectKind::Content,
    ObjectKind::Metadata,
    ObjectKind::Attributes,
    ObjectKind::Entry,
    ObjectKind::Listing,
    ObjectKind::Offset,
    ObjectKind::WriteGate,
    ObjectKind::Lock,
    ObjectKind::Liveness,
    ObjectKind::Birth,
    ObjectKind::Channel,
    ObjectKind::Memory,
    ObjectKind::Section,
];

#[test]
fn steps_conflict_only_in_one_object_and_then_as_their_modes_do() {
    for (one, other) in KINDS.into_iter().flat_map(|one| KINDS.map(|other| (one, other))) {
        for (key, mode, with) in [7, 8]
            .into_iter()
            .flat_map(|key| MODES.into_iter().flat_map(move |mode| MODES.map(move |with| (key, mode, with))))
        {
            // Among others, as in a real footprint.
            let first = [at(ObjectKind::Entry, 1, Read), at(one, 7, mode)];
            let second = [at(other, key, with), at(ObjectKind::Content, 2, Write)];
            let same = one == other && key == 7;
            assert_eq!(conflict(&first, &second), same && mode.conflicts(with), "{first:?} and {second:?}");
            assert_eq!(conflict(&second, &first), conflict(&first, &second));
            let certain = first.map(Potential::Certain);
            assert_eq!(may_conflict(&certain, &second), conflict(&first, &second));
            let any = [Potential::Any(one, mode)];
            assert!(may_conflict(&any, &second) || !conflict(&first, &second), "a superset");
        }
    }
}

#[test]
fn different_objects_never_conflict() {
    let one = [at(ObjectKind::Content, 1, Write), at(ObjectKind::Entry, 2, Read)];
    let other = [at(ObjectKind::Content, 2, Write), at(ObjectKind::Metadata, 1, Write)];
    assert!(!conflict(&one, &other));
    assert!(conflict(&one, &[at(ObjectKind::Entry, 2, Update)]));
}

#[test]
fn a_release_cannot_be_overtaken_by_who_waits_for_it() {
    assert!(cannot_precede(&[lock(Release)], &[lock(Acquire)]));
    assert!(cannot_precede(&[lock(Release)], &[lock(AcquireShared)]));
    assert!(cannot_precede(&[lock(ReleaseShared)], &[lock(Acquire)]));
    assert!(cannot_precede(&[lock(Hold)], &[lock(AcquireShared)]));
    assert!(!cannot_precede(&[lock(Acquire)], &[lock(Acquire)]), "whoever comes first may have it");
    assert!(!cannot_precede(&[lock(Release)], &[lock(Read)]), "an attempt that fails waits for nobody");
}

#[test]
fn a_step_that_takes_and_gives_back_can_be_overtaken() {
    assert!(!cannot_precede(&[lock(Acquire), lock(Release)], &[lock(Acquire), lock(Release)]));
    assert!(
        cannot_precede(&[lock(ReleaseShared), lock(Acquire)], &[lock(Acquire)]),
        "a lock that is changed"
    );
}

#[test]
fn what_a_name_may_lead_to_is_any_inode() {
    let stat = [Potential::Any(ObjectKind::Metadata, Read)];
    assert!(may_conflict(&stat, &[at(ObjectKind::Metadata, 77, Write)]));
    assert!(!may_conflict(&stat, &[at(ObjectKind::Metadata, 77, Read)]));
    assert!(!may_conflict(&stat, &[at(ObjectKind::Content, 77, Write)]));
    let exact = [Potential::Certain(at(ObjectKind::Entry, 3, Write))];
    assert!(may_conflict(&exact, &[at(ObjectKind::Entry, 3, Read)]));
    assert!(!may_conflict(&exact, &[at(ObjectKind::Entry, 4, Read)]));
}
