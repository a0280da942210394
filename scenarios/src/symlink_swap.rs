//! The state file is a symbolic link, and a write points it to a new file.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use crate::calls::{self, CallError, OpenFile};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims};
use crate::temp_name::TempNames;

/// Strategy `symlink-swap`.
pub(crate) static SYMLINK_SWAP: Kept<SymlinkSwap> = Kept::new();

/// New data file, new symbolic link to it, rename of the link over the old link; then the old data
/// file is removed.
///
/// The names of the new file and of its data are durable before the rename is, so no durable link
/// leads nowhere. Opening a link is two look-ups, though, and a swap fits between them: the reader
/// holds the old target's name, and that file is gone. It looks again, for as long as the link is
/// there.
///
/// Two writers at once both remove the target that they saw, and the data file of the one whose
/// link is swapped away first stays behind: `no-residue` is not promised. The data file is a new
/// one, with the mode of any new file: `metadata-kept` is not promised either.
#[derive(Default)]
pub(crate) struct SymlinkSwap {
    names: TempNames,
    written: u32,
}

static SYMLINK_SWAP_INFO: StrategyInfo = StrategyInfo {
    name: "symlink-swap",
    algorithm: "write a new file, make a symlink to it, rename the symlink over the state file, remove the old file",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill PowerLoss;
        ErrorsReported: IoError;
    ],
    source: "folklore: deployments that switch `current`, Kubernetes' ..data",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

/// Opens what the link leads to; `None` if there is no state file.
fn open_through_link(at: &ClientContext) -> Result<Option<OpenFile>, CallError> {
    loop {
        match OpenFile::open_to_read(&at.file)? {
            Some(file) => return Ok(Some(file)),
            None if calls::read_link(&at.file)?.is_none() => return Ok(None),
            None => (),
        }
    }
}

/// Writes a data file, durably but for its name.
fn write_data(path: &Path, document: &[u8]) -> Result<(), CallError> {
    let file = OpenFile::create_new(path, 0o644)?;
    file.write_all(document)?;
    file.sync()?;
    file.close()
}

fn data_name(at: &ClientContext, client: u32, number: u32) -> String {
    format!("{}.data-{client}-{number}", calls::name(&at.file))
}

impl Protocol for SymlinkSwap {
    fn info() -> &'static StrategyInfo {
        &SYMLINK_SWAP_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        into.clear();
        let Some(file) = open_through_link(at)? else { return Ok(Found::Absent) };
        file.read_to_end(into)?;
        file.close()?;
        Ok(Found::Present)
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        self.written += 1;
        let data_name = data_name(at, at.client, self.written);
        let (data, link) = (at.dir.join(&data_name), self.names.next(at));
        let old = calls::read_link(&at.file)?;
        let swapped = write_data(&data, document)
            .and_then(|()| calls::symlink(Path::new(&data_name), &link))
            .and_then(|()| calls::sync_directory(&at.dir))
            .and_then(|()| calls::rename(&link, &at.file));
        if let Err(error) = swapped {
            let _ = calls::unlink(&link);
            let _ = calls::unlink(&data);
            return Err(error.into());
        }
        calls::sync_directory(&at.dir).map_err(CallError::perhaps_applied)?;
        match old.map(|old| calls::unlink(&at.dir.join(old))) {
            Some(Err(error)) if error.errno() != Errno::NOENT => Err(error.perhaps_applied()),
            _ => Ok(()),
        }
    }

    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn std::io::Read + Send>>, StrategyError> {
        Ok(match open_through_link(at)? {
            Some(file) => Some(Box::new(file)),
            None => None,
        })
    }

    fn prepare(at: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        let Some(document) = document else { return Ok(()) };
        let name = data_name(at, 0, 0);
        write_data(&at.dir.join(&name), document)?;
        Ok(calls::symlink(Path::new(&name), &at.file)?)
    }

    /// The file that the link leads to is the state itself.
    fn keeps(at: &ClientContext, name: &str) -> bool {
        calls::read_link(&at.file).is_ok_and(|target| target == Some(PathBuf::from(name)))
    }

    const FOLLOWS_SYMLINKS: bool = false;
}
