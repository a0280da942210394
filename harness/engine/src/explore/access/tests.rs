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

#[test]
fn conflicts_are_symmetric_and_only_these_pairs_commute() {
    let mut commuting = Vec::new();
    for (index, &one) in MODES.iter().enumerate() {
        for &other in &MODES[index..] {
            assert_eq!(one.conflicts(other), other.conflicts(one), "{one:?} and {other:?}");
            if !one.conflicts(other) {
                commuting.push((one, other));
            }
        }
    }
    assert_eq!(
        commuting,
        [
            (Read, Read),
            (Read, Hold),
            (Update, Update),
            (AcquireShared, AcquireShared),
            (AcquireShared, ReleaseShared),
            (ReleaseShared, ReleaseShared),
        ]
    );
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
