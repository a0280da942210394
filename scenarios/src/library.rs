//! Atomic replacement as published crates do it, unchanged: what they promise is measured here
//! like anything else.
//!
//! The crates give their temporary files random names, so two executions differ in those. An error
//! that they return does not say whether the rename had happened; where it may have, the outcome
//! is reported as unknown.

use std::io::Write;

use atomicwrites::{AtomicFile, OverwriteBehavior};
use tearproof_core::strategy::{ClientContext, StrategyError, StrategyInfo};

use crate::calls::name;
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims};

/// Strategy `lib-atomic-write-file`.
pub(crate) static ATOMIC_WRITE_FILE: Kept<AtomicWriteFileCrate> = Kept::new();
/// Strategy `lib-atomicwrites`.
pub(crate) static ATOMICWRITES: Kept<AtomicwritesCrate> = Kept::new();
/// Strategy `lib-tempfile-persist`.
pub(crate) static TEMPFILE_PERSIST: Kept<TempfilePersist> = Kept::new();

fn message(at: &ClientContext, call: &str, error: &std::io::Error) -> String {
    format!("{call} {}: {error}", name(&at.file))
}

/// The crate `atomic-write-file`: temporary file, fsync, rename, fsync of the directory; keeps mode
/// and owner.
#[derive(Default)]
pub(crate) struct AtomicWriteFileCrate;

static ATOMIC_WRITE_FILE_INFO: StrategyInfo = StrategyInfo {
    name: "lib-atomic-write-file",
    algorithm: "AtomicWriteFile::open, write_all, commit",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill PowerLoss;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "crate atomic-write-file 0.3",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for AtomicWriteFileCrate {
    fn info() -> &'static StrategyInfo {
        &ATOMIC_WRITE_FILE_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let staged = atomic_write_file::AtomicWriteFile::open(&at.file).and_then(|mut file| {
            file.write_all(document)?;
            Ok(file)
        });
        let file = staged.map_err(|error| StrategyError::failed(message(at, "AtomicWriteFile", &error)))?;
        file.commit().map_err(|error| StrategyError::unknown(message(at, "AtomicWriteFile::commit", &error)))
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// The crate `atomicwrites`: a temporary *directory* next to the file, fsync of the file, rename
/// out of it, fsync of both directories. The mode is that of any new file.
#[derive(Default)]
pub(crate) struct AtomicwritesCrate;

static ATOMICWRITES_INFO: StrategyInfo = StrategyInfo {
    name: "lib-atomicwrites",
    algorithm: "AtomicFile::new(AllowOverwrite).write",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill PowerLoss;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
    ],
    source: "crate atomicwrites 0.4",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for AtomicwritesCrate {
    fn info() -> &'static StrategyInfo {
        &ATOMICWRITES_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        AtomicFile::new(&at.file, OverwriteBehavior::AllowOverwrite)
            .write(|file| file.write_all(document))
            .map_err(|error| match error {
                // The callback's own error: nothing was renamed.
                atomicwrites::Error::User(error) => StrategyError::failed(message(at, "write", &error)),
                atomicwrites::Error::Internal(error) => {
                    StrategyError::unknown(message(at, "AtomicFile::write", &error))
                }
            })
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// `tempfile::NamedTempFile::persist`: a rename and nothing else. No fsync, and the file keeps the
/// mode 0600 that a temporary file is made with.
#[derive(Default)]
pub(crate) struct TempfilePersist;

static TEMPFILE_PERSIST_INFO: StrategyInfo = StrategyInfo {
    name: "lib-tempfile-persist",
    algorithm: "NamedTempFile::new_in, write_all, persist",
    claims: claims![
        AtomicReads: Concurrency Pause Kill IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
    ],
    source: "crate tempfile 3",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for TempfilePersist {
    fn info() -> &'static StrategyInfo {
        &TEMPFILE_PERSIST_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let staged = tempfile::NamedTempFile::new_in(&at.dir).and_then(|mut file| {
            file.write_all(document)?;
            Ok(file)
        });
        let file = staged.map_err(|error| StrategyError::failed(message(at, "NamedTempFile", &error)))?;
        match file.persist(&at.file) {
            Ok(_) => Ok(()),
            Err(error) => Err(StrategyError::failed(message(at, "persist", &error.error))),
        }
    }

    const FOLLOWS_SYMLINKS: bool = false;
}
