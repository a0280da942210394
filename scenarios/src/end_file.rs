//! The end state goes into a file of its own, `<file>-END`, and readers let it win over the
//! original, which is never written again. Source: the run-info.yaml report, approach C.
//!
//! Registers only. Every write goes to the END file, so a second one replaces the first.

use std::io::Read;

use rustix::fs::OFlags;
use tearproof_core::object::Object;
use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use crate::calls::{CallError, OpenFile};
use crate::protocol::{Kept, Protocol, claims, read_plainly};
use crate::temp_name::TempNames;
use crate::temp_rename::write_file_atomic;

/// Strategy `end-file`.
pub(crate) static END_FILE: Kept<EndFile> = Kept::new();
/// Strategy `end-file-atomic`.
pub(crate) static END_FILE_ATOMIC: Kept<EndFileAtomic> = Kept::new();

/// The END file if it is there, else the original.
///
/// The original does not change, so it does not matter that an END file may appear between the
/// two steps: the read then counts as one of the moment when there was none.
fn open_merged(at: &ClientContext) -> Result<Option<OpenFile>, CallError> {
    match OpenFile::open_to_read(&at.sibling("-END"))? {
        Some(end) => Ok(Some(end)),
        None => OpenFile::open_to_read(&at.file),
    }
}

fn read_merged(at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
    let Some(end) = OpenFile::open_to_read(&at.sibling("-END"))? else { return read_plainly(at, into) };
    end.read_to_end(into)?;
    end.close()?;
    Ok(Found::Present)
}

fn stream_merged(at: &ClientContext) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
    Ok(match open_merged(at)? {
        Some(file) => Some(Box::new(file)),
        None => None,
    })
}

fn is_end_file(at: &ClientContext, name: &str) -> bool {
    at.sibling("-END").file_name().is_some_and(|end| end == name)
}

/// The END file is written plainly: it is there, and wins, before its content is. A reader in
/// between sees an empty or a partial end state.
#[derive(Default)]
pub(crate) struct EndFile;

static END_FILE_INFO: StrategyInfo = StrategyInfo {
    name: "end-file",
    algorithm: "write the end state plainly to <file>-END; readers prefer it",
    claims: claims![
        Progress: Concurrency;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "the run-info.yaml report (approach C) as written",
    objects: &[Object::Register],
    broken: true,
    timed: false,
};

impl Protocol for EndFile {
    fn info() -> &'static StrategyInfo {
        &END_FILE_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        read_merged(at, into)
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let end = at.sibling("-END");
        let file = OpenFile::open(&end, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, 0o644)?;
        file.write_all(document).map_err(CallError::perhaps_applied)?;
        file.close().map_err(CallError::perhaps_applied)
    }

    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
        stream_merged(at)
    }

    fn keeps(at: &ClientContext, name: &str) -> bool {
        is_end_file(at, name)
    }
}

/// The END file is published as `write-file-atomic` does it, so it is whole from the moment that
/// it is there. The original is not touched, so its metadata is what it was.
#[derive(Default)]
pub(crate) struct EndFileAtomic {
    names: TempNames,
}

static END_FILE_ATOMIC_INFO: StrategyInfo = StrategyInfo {
    name: "end-file-atomic",
    algorithm: "publish the end state to <file>-END atomically and durably; readers prefer it",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill PowerLoss;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "the run-info.yaml report (approach C), with the write of the atomic-writes note",
    objects: &[Object::Register],
    broken: false,
    timed: false,
};

impl Protocol for EndFileAtomic {
    fn info() -> &'static StrategyInfo {
        &END_FILE_ATOMIC_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        read_merged(at, into)
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        write_file_atomic(&mut self.names, at, &at.sibling("-END"), document)
    }

    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
        stream_merged(at)
    }

    fn keeps(at: &ClientContext, name: &str) -> bool {
        is_end_file(at, name)
    }
}
