//! A mutex in the memory of one process, around a file that several processes share.
//!
//! Among the threads of one process both members do what they say. Another process has a mutex of
//! its own, so across processes they are no better than what they wrap. Their claims are those that
//! hold in either case. Source: the progress.json report and the index.json fix.

use std::io::Read;

use tearproof_core::document::Format;
use tearproof_core::object::Object;
use tearproof_core::set::SetDocument;
use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use crate::broken::in_place::truncate_and_write;
use crate::broken::temp_rename::write_by_shared_temp;
use crate::calls::OpenFile;
use crate::mutex_registry::{MutexRegistry, PathGuard};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims, read_plainly, with_element};

/// Strategy `thread-mutex`.
pub(crate) static THREAD_MUTEX: Kept<ThreadMutex> = Kept::new();
/// Strategy `thread-mutex-temp-rename`.
pub(crate) static THREAD_MUTEX_TEMP_RENAME: Kept<ThreadMutexTempRename> = Kept::new();

/// The mutexes of this process. That there is one of these in each process is what is wrong.
static MUTEXES: MutexRegistry = MutexRegistry::new();

/// Reads, writes and updates under the mutex of the path, in place.
#[derive(Default)]
pub(crate) struct ThreadMutex;

static THREAD_MUTEX_INFO: StrategyInfo = StrategyInfo {
    name: "thread-mutex",
    algorithm: "hold an in-process mutex keyed by the path, write in place",
    claims: claims![
        Progress: Concurrency;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "the progress.json report, _json_file_locks",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for ThreadMutex {
    fn info() -> &'static StrategyInfo {
        &THREAD_MUTEX_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let _guard = MUTEXES.lock(&at.file);
        read_plainly(at, into)
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let _guard = MUTEXES.lock(&at.file);
        truncate_and_write(at, document)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let _guard = MUTEXES.lock(&at.file);
        let mut document = Vec::new();
        let found = read_plainly(at, &mut document)?;
        let document = with_element(at, found, &document, element)?;
        truncate_and_write(at, &document)
    }

    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
        let guard = MUTEXES.lock(&at.file);
        Ok(match OpenFile::open_to_read(&at.file)? {
            Some(file) => Some(Box::new(GuardedFile { file, _guard: guard })),
            None => None,
        })
    }
}

/// A file that is read slowly, under the mutex of its path.
struct GuardedFile {
    file: OpenFile,
    _guard: PathGuard<'static>,
}

impl Read for GuardedFile {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.file.read(into)
    }
}

/// The index.json fix as it was merged: the mutex around the read-modify-write, the fixed temporary
/// name, and an empty file that counts as an empty set. Reads take no mutex.
///
/// Across processes two writers share the temporary name: what is renamed may be empty or half
/// written, and the tolerance for empty files then turns that into a wiped state in silence.
#[derive(Default)]
pub(crate) struct ThreadMutexTempRename;

static THREAD_MUTEX_TEMP_RENAME_INFO: StrategyInfo = StrategyInfo {
    name: "thread-mutex-temp-rename",
    algorithm: "hold an in-process mutex for the read-modify-write, rename <file>.tmp over the file; an empty file is an empty set",
    claims: claims![Progress: Concurrency; NoResidue: Concurrency],
    source: "the index.json fix, as merged",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for ThreadMutexTempRename {
    fn info() -> &'static StrategyInfo {
        &THREAD_MUTEX_TEMP_RENAME_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let found = read_plainly(at, into)?;
        if at.object == Object::Set && found == Found::Present && into.is_empty() {
            empty_set(at.format, into);
        }
        Ok(found)
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let _guard = MUTEXES.lock(&at.file);
        write_by_shared_temp(at, document)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let _guard = MUTEXES.lock(&at.file);
        let mut document = Vec::new();
        let found = self.read(at, &mut document)?;
        let document = with_element(at, found, &document, element)?;
        write_by_shared_temp(at, &document)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// The document of a set without elements.
pub(crate) fn empty_set(format: Format, into: &mut Vec<u8>) {
    *into = SetDocument::default().render(format);
}
