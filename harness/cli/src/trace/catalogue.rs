//! Which strategies of the catalogue do to a file exactly what a traced program did.
//!
//! Only strategies whose writes one pattern describes are compared. That the writes are alike says
//! nothing of how the file is read, or of what happens when something fails.

use tearproof_engine::explore::gate::LockKind;
use tearproof_engine::trace::{Pattern, Signature, Update};

/// A file created by `O_EXCL` that is renamed over the target in the same directory.
const fn replacing(synced: bool, directory_synced: bool, mode_set: bool) -> Update {
    Update::Replace {
        written: true,
        exclusive: true,
        beside: true,
        synced,
        directory_synced,
        mode_set,
        symlink: false,
    }
}

/// A temporary file that was not created by `O_EXCL`.
const SHARED: Update = Update::Replace {
    written: true,
    exclusive: false,
    beside: true,
    synced: false,
    directory_synced: false,
    mode_set: false,
    symlink: false,
};

/// An exclusive lock of the family: on the file itself, or beside it.
type Lock = (LockKind, bool, bool);
const ON_FILE: Lock = (LockKind::Flock, true, true);
const BESIDE: Lock = (LockKind::Flock, false, true);

/// What strategies do when they write, and the locks that they hold meanwhile.
const WRITES: &[(&str, Update, &[Lock])] = &[
    ("in-place-truncate", Update::Truncate { synced: false }, &[]),
    ("in-place-overwrite", Update::Overwrite { synced: false }, &[]),
    ("temp-rename", replacing(false, false, false), &[]),
    ("temp-fsync-rename", replacing(true, false, false), &[]),
    ("temp-rename-dirsync", replacing(false, true, false), &[]),
    ("write-file-atomic", replacing(true, true, true), &[]),
    ("flock-in-place", Update::Truncate { synced: false }, &[ON_FILE]),
    ("flock-sibling", replacing(true, true, true), &[BESIDE]),
    ("posix-lock", replacing(true, true, true), &[(LockKind::Posix, false, true)]),
    ("ofd-lock", replacing(true, true, true), &[(LockKind::OpenFile, false, true)]),
    ("append-log", Update::Append { synced: false, whole: true }, &[]),
    ("append-fsync", Update::Append { synced: true, whole: true }, &[]),
    ("lock-exclusive-create", Update::Create { exclusive: true, removed: true }, &[]),
    ("lock-mkdir", Update::MakeDirectory { removed: true }, &[]),
    ("lock-link", Update::Link { removed: true }, &[]),
];

/// Strategies whose writes are these calls; empty unless the pattern is exactly theirs.
pub fn strategies_that_do(pattern: &Pattern) -> Vec<&'static str> {
    let Signature { update, locks } = pattern.signature();
    if update == SHARED && locks.is_empty() && pattern.times > 1 && pattern.sources.len() == 1 {
        return vec!["temp-rename-shared"];
    }
    let same = WRITES.iter().filter(|(_, does, holds)| *does == update && **holds == locks);
    same.map(|(name, ..)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_strategy_and_no_two_do_the_same() {
        for (index, (name, does, holds)) in WRITES.iter().enumerate() {
            assert!(tearproof_scenarios::strategy(name).is_some(), "{name}");
            let others = WRITES[index + 1..].iter();
            let same: Vec<_> = others.filter(|other| (other.1, other.2) == (*does, *holds)).collect();
            assert!(same.is_empty(), "{name} and {same:?}");
        }
    }
}
