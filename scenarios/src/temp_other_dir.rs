//! The temporary file is made in another directory: `/tmp`, a staging area, wherever the library
//! happened to put it.

use rustix::fs::OFlags;
use rustix::io::Errno;
use tearproof_core::strategy::{ClientContext, StrategyError, StrategyInfo};

use crate::calls::{self, CallError, OpenFile, name};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims};
use crate::temp_name::TempNames;
use crate::temp_rename::or_remove;

/// Strategy `temp-other-dir`.
pub(crate) static TEMP_OTHER_DIR: Kept<TempOtherDir> = Kept::new();

const STAGING: &str = ".staging";

/// Write and fsync a temporary file elsewhere, rename it; when `rename` says EXDEV because that is
/// another file system, copy it into place instead, as `mv` does.
///
/// On one file system it is `temp-fsync-rename`, with a directory in between. Across two it is a
/// plain write in place, and nothing tells the caller which of the two it was. Where the machine
/// has no second file system the temporary file goes to a subdirectory, which stays.
#[derive(Default)]
pub(crate) struct TempOtherDir {
    names: TempNames,
}

static TEMP_OTHER_DIR_INFO: StrategyInfo = StrategyInfo {
    name: "temp-other-dir",
    algorithm: "write a temporary file in another directory, rename it; on EXDEV copy it over the state file",
    claims: claims![Progress: Concurrency; NoResidue: Concurrency],
    source: "folklore; the atomic-writes note says why not (\"cross-dir renames aren't atomic\")",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for TempOtherDir {
    fn info() -> &'static StrategyInfo {
        &TEMP_OTHER_DIR_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let temp = match &at.other_dir {
            // Other executions may use the directory too; the state directory's name tells them
            // apart.
            Some(other) => other.join(format!("{}{}", name(&at.dir), self.names.next_name(at))),
            None => {
                let staging = at.dir.join(STAGING);
                calls::make_directory(&staging)?;
                staging.join(self.names.next_name(at))
            }
        };
        let file = OpenFile::open(&temp, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, 0o644)?;
        let written = file.write_all(document).and_then(|()| file.sync()).and_then(|()| file.close());
        or_remove(&temp, written)?;
        match calls::rename(&temp, &at.file) {
            Err(error) if error.errno() == Errno::XDEV => {
                let copied = copy(at, document);
                let _ = calls::unlink(&temp);
                copied
            }
            renamed => Ok(or_remove(&temp, renamed)?),
        }
    }

    fn keeps(_: &ClientContext, name: &str) -> bool {
        name == STAGING
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// What a move between file systems really is.
fn copy(at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
    let target = OpenFile::open(&at.file, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, 0o644)?;
    target.write_all(document).map_err(CallError::perhaps_applied)?;
    target.sync().map_err(CallError::perhaps_applied)?;
    target.close().map_err(CallError::perhaps_applied)
}
