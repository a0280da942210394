//! What an update does to the metadata of the file that it updates: a target is made special before
//! an undisturbed update, and looked at afterwards.
//!
//! Not covered: owners (only root could tell), hard links and extended attributes, which every
//! strategy that replaces the file breaks by being what it is.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tearproof_core::claim::AnomalyKind;
use tearproof_core::history::Drift;

/// How the target is made special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It gets a mode that no program gives by default.
    Mode,
    /// It becomes a symbolic link to a file in another directory.
    Symlink,
}

/// Without permission to execute no file is made with it, whatever the mask.
const MODE: u32 = 0o740;

impl Probe {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Mode, Self::Symlink];

    /// Makes the target special; `false` when it cannot be: it is not there, or a link already.
    pub fn apply(self, file: &Path) -> io::Result<bool> {
        let Ok(found) = fs::symlink_metadata(file) else { return Ok(false) };
        if !found.is_file() {
            return Ok(false);
        }
        match self {
            Self::Mode => fs::set_permissions(file, fs::Permissions::from_mode(MODE))?,
            Self::Symlink => {
                // The parent of the state directory is the harness's own, so that the real file is
                // not taken for something left behind.
                let Some(real) = file.parent().map(|dir| dir.with_file_name("target-of-link")) else {
                    return Ok(false);
                };
                fs::rename(file, &real)?;
                symlink(&real, file)?;
            }
        }
        Ok(true)
    }

    /// What has changed.
    pub fn drift(self, file: &Path, follows_symlinks: bool) -> Vec<Drift> {
        let Ok(found) = fs::symlink_metadata(file) else { return Vec::new() };
        let drift = match self {
            Self::Mode => {
                let mode = found.permissions().mode() & 0o7777;
                (mode != MODE).then(|| Drift {
                    kind: AnomalyKind::ModeDrift,
                    detail: format!("the mode was {MODE:04o} before the update and is {mode:04o} after it"),
                })
            }
            Self::Symlink => (follows_symlinks && !found.is_symlink()).then(|| Drift {
                kind: AnomalyKind::SymlinkReplaced,
                detail:
                    "the file was a symbolic link before the update and is a plain file after it, and the \
                         strategy says that it follows links"
                        .to_owned(),
            }),
        };
        drift.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_told_from_one_written_in_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        fs::create_dir(&state).expect("a directory");
        let file = state.join("f");
        for probe in Probe::ALL {
            fs::write(&file, "old").expect("a file");
            assert!(probe.apply(&file).expect("special"));
            fs::write(&file, "in place").expect("a file");
            assert_eq!(probe.drift(&file, true), []);
            fs::write(state.join("tmp"), "new").expect("a file");
            fs::rename(state.join("tmp"), &file).expect("renamed");
            assert_eq!(probe.drift(&file, true).len(), 1, "{probe:?}");
            fs::remove_file(&file).expect("removed");
        }
    }

    #[test]
    fn replacing_a_link_is_no_drift_for_who_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("f"), "plain").expect("a file");
        assert_eq!(Probe::Symlink.drift(&dir.path().join("f"), false), []);
    }
}
