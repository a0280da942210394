//! Compare and swap in two steps: the comparison, and then the swap.

use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use crate::backoff::Backoff;
use crate::calls::{self, CallError, OpenFile, name};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims, read_plainly, with_element};
use crate::temp_name::TempNames;
use crate::temp_rename::or_remove;

/// Strategy `cas-compare-rename`.
pub(crate) static CAS_COMPARE_RENAME: Kept<CasCompareRename> = Kept::new();

/// Reads the document, writes the new one to a temporary file, reads the document again, and
/// renames if it is still the same.
///
/// Between the comparison and the rename another client's rename fits. The window is short, which
/// hides the mistake and does not mend it. Reads are never torn.
#[derive(Default)]
pub(crate) struct CasCompareRename {
    names: TempNames,
}

static CAS_COMPARE_RENAME_INFO: StrategyInfo = StrategyInfo {
    name: "cas-compare-rename",
    algorithm: "read, write a temporary file, read again and compare, rename if nothing has changed",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
    ],
    source: "the atomic-writes note's alternative, done naively",
    objects: DOCUMENTS,
    broken: true,
    timed: false,
};

impl CasCompareRename {
    fn replace(
        &mut self,
        at: &ClientContext,
        change: impl Fn(Found, &[u8]) -> Result<Vec<u8>, StrategyError>,
    ) -> Result<(), StrategyError> {
        let mut backoff = Backoff::new(at);
        let (mut before, mut now) = (Vec::new(), Vec::new());
        loop {
            let found = read_plainly(at, &mut before)?;
            let document = change(found, &before)?;
            let temp = self.names.next(at);
            let file = OpenFile::create_new(&temp, 0o644)?;
            let written = file.write_all(&document).and_then(|()| file.sync()).and_then(|()| file.close());
            or_remove(&temp, written)?;
            let still = read_plainly(at, &mut now).inspect_err(|_| {
                let _ = calls::unlink(&temp);
            })?;
            if still == found && now == before {
                or_remove(&temp, calls::rename(&temp, &at.file))?;
                return calls::sync_directory(&at.dir).map_err(CallError::perhaps_applied);
            }
            calls::unlink(&temp)?;
            backoff.wait(&format!("{} kept changing", name(&at.file)))?;
        }
    }
}

impl Protocol for CasCompareRename {
    fn info() -> &'static StrategyInfo {
        &CAS_COMPARE_RENAME_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        self.replace(at, |_, _| Ok(document.to_vec()))
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        self.replace(at, |found, before| with_element(at, found, before, element))
    }

    const FOLLOWS_SYMLINKS: bool = false;
}
