//! Writing over the document where it is: what `open(path, "w")` does, and its more careful
//! looking cousin.
//!
//! Readers and writers share one inode, so a reader sees whatever is there between two system
//! calls, and, as the kernel copies page by page without a lock that readers take, also what is
//! there within one. A kill or a power loss in the middle leaves it so. On the credit side the
//! target keeps its mode, links and owner, and nothing is ever left lying about.
//!
//! Two interleaved writers may leave a document that neither wrote, so nothing is claimed of the
//! values themselves.

use rustix::fs::OFlags;
use tearproof_core::strategy::{ClientContext, StrategyError, StrategyInfo};

use crate::calls::{CallError, OpenFile};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims};

/// Strategy `in-place-truncate`.
pub(crate) static IN_PLACE_TRUNCATE: Kept<InPlaceTruncate> = Kept::new();
/// Strategy `in-place-overwrite`.
pub(crate) static IN_PLACE_OVERWRITE: Kept<InPlaceOverwrite> = Kept::new();

/// Open with O_TRUNC, write, close. Between the first two the file is empty.
#[derive(Default)]
pub(crate) struct InPlaceTruncate;

static IN_PLACE_TRUNCATE_INFO: StrategyInfo = StrategyInfo {
    name: "in-place-truncate",
    algorithm: "open with O_TRUNC, write, close",
    claims: claims![
        Progress: Concurrency;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "the progress.json report, the save with mode 'w'; the index.json fix as found",
    objects: DOCUMENTS,
    broken: true,
    timed: false,
};

impl Protocol for InPlaceTruncate {
    fn info() -> &'static StrategyInfo {
        &IN_PLACE_TRUNCATE_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        truncate_and_write(at, document)
    }
}

/// The plain write: once the file is open its old content is gone, so every later failure leaves
/// the outcome unknown.
pub(crate) fn truncate_and_write(at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
    let file = OpenFile::open(&at.file, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, 0o644)?;
    file.write_all(document).map_err(CallError::perhaps_applied)?;
    file.close().map_err(CallError::perhaps_applied)
}

/// Write over the old bytes, then cut the file to the new length. The file is never empty once it
/// has been written, but readers see the beginning of one document and the end of another.
#[derive(Default)]
pub(crate) struct InPlaceOverwrite;

static IN_PLACE_OVERWRITE_INFO: StrategyInfo = StrategyInfo {
    name: "in-place-overwrite",
    algorithm: "pwrite over the old bytes, then ftruncate to the new length",
    claims: claims![
        Progress: Concurrency;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "the run-info.yaml report, \"seek to specific fields and overwrite\"",
    objects: DOCUMENTS,
    broken: true,
    timed: false,
};

impl Protocol for InPlaceOverwrite {
    fn info() -> &'static StrategyInfo {
        &IN_PLACE_OVERWRITE_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let file = OpenFile::open(&at.file, OFlags::WRONLY | OFlags::CREATE, 0o644)?;
        file.pwrite_all(document, 0).map_err(CallError::perhaps_applied)?;
        file.truncate(document.len() as u64).map_err(CallError::perhaps_applied)?;
        file.close().map_err(CallError::perhaps_applied)
    }
}
