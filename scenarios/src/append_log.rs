//! One O_APPEND write a record, each with its checksum; a torn tail is skipped. Source: the run-info.yaml report's
//! message bus; POSIX on O_APPEND.
//!
//! The kernel finds the end of the file and writes there under one lock of the inode, so records
//! of several clients do not interleave as long as each is one `write`. A client that is killed in
//! the middle of that call, a full disk, or a power loss leaves the beginning of a record: a torn
//! tail. The next record must not be glued to it. So each record is written with a newline *before*
//! it as well as after: whatever stands before it ends there. That costs a byte a record and needs
//! neither a look at the tail nor a lock. Readers skip empty lines and lines whose checksum is
//! wrong, which are never records that were acknowledged.
//!
//! A short `write` is not continued: the rest would be another append, perhaps behind somebody
//! else's record. What is there is no record, so the append certainly failed; unless only the
//! newline is missing, when it is one.
//!
//! As a set, the records are the elements. Not covered: registers, compaction, network file systems
//! (NFS has no atomic append).

use std::path::Path;

use rustix::fs::OFlags;
use tearproof_core::claim::Claim;
use tearproof_core::log::verify_record;
use tearproof_core::object::{Object, Operation};
use tearproof_core::set::SetDocument;
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy, StrategyError, StrategyInfo};

use crate::calls::{self, CallError, OpenFile, name};
use crate::protocol::{claims, lay_down, parse_set, read_plainly};

/// Strategy `append-log`.
pub(crate) static APPEND_LOG: AppendLog = AppendLog { info: &APPEND_LOG_INFO, sync: Sync::Never };
/// Strategy `append-fsync`.
pub(crate) static APPEND_FSYNC: AppendLog = AppendLog { info: &APPEND_FSYNC_INFO, sync: Sync::EachRecord };

/// When records are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    /// When the system gets to it: a power loss takes the latest records.
    Never,
    /// `fdatasync` after each record, and once the directory, before the append is acknowledged.
    EachRecord,
}

/// The log, with or without an fdatasync a record.
#[derive(Debug)]
pub(crate) struct AppendLog {
    info: &'static StrategyInfo,
    sync: Sync,
}

const BUT_FOR_DURABILITY: &[Claim] = claims![
    AtomicReads: Concurrency Pause Kill PowerLoss IoError;
    NoLostUpdates: Concurrency Pause Kill;
    Progress: Concurrency Kill;
    Durability: Kill;
    ErrorsReported: IoError;
    NoResidue: Concurrency Kill;
    MetadataKept: Concurrency;
];

static APPEND_LOG_INFO: StrategyInfo = StrategyInfo {
    name: "append-log",
    algorithm: "one O_APPEND write a record with a checksum and a newline on both sides; readers skip what is torn",
    claims: BUT_FOR_DURABILITY,
    source: "the run-info.yaml report, its message bus",
    objects: &[Object::Log, Object::Set],
    broken: false,
    timed: false,
};

static APPEND_FSYNC_INFO: StrategyInfo = StrategyInfo {
    name: "append-fsync",
    algorithm: "as append-log, with an fdatasync after each record",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        NoLostUpdates: Concurrency Pause Kill;
        Progress: Concurrency Kill;
        Durability: Kill PowerLoss;
        ErrorsReported: IoError;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "write-ahead logs",
    objects: &[Object::Log, Object::Set],
    broken: false,
    timed: false,
};

impl Strategy for AppendLog {
    fn info(&self) -> &'static StrategyInfo {
        self.info
    }

    fn prepare(&self, context: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        match (context.object, document) {
            (Object::Set, Some(document)) if !document.is_empty() => {
                let set = parse_set(context, document)?;
                let log: Vec<u8> = set.elements.iter().flat_map(|element| element_record(element)).collect();
                lay_down(context, Some(&log))
            }
            _ => lay_down(context, document),
        }
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        Ok(Box::new(Appender { at: context.clone(), sync: self.sync, log: None }))
    }
}

struct Appender {
    at: ClientContext,
    sync: Sync,
    /// Opened by the first append, and kept open as logs are.
    log: Option<OpenFile>,
}

impl Appender {
    fn append_record(&mut self, record: &[u8]) -> Result<(), StrategyError> {
        let log = match &mut self.log {
            Some(log) => log,
            closed => closed.insert(open_log(&self.at.file, OFlags::APPEND)?),
        };
        let framed = [b"\n", record].concat();
        let written = log.write_once(&framed)?;
        if written < framed.len() {
            let message = format!("write {}: only {written} of {} bytes", name(&self.at.file), framed.len());
            // A record that lacks its newline alone is whole.
            return Err(if written + 1 == framed.len() {
                StrategyError::unknown(message)
            } else {
                StrategyError::failed(message)
            });
        }
        if self.sync == Sync::EachRecord {
            log.sync_data().map_err(CallError::perhaps_applied)?;
            calls::sync_directory(&self.at.dir).map_err(CallError::perhaps_applied)?;
        }
        Ok(())
    }
}

impl Client for Appender {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let found = read_plainly(&self.at, into)?;
        if found == Found::Absent {
            return Ok(found);
        }
        *into = match self.at.object {
            Object::Set => whole_elements(into).render(self.at.format),
            _ => whole_records(into),
        };
        Ok(found)
    }

    fn append(&mut self, record: &[u8]) -> Result<(), StrategyError> {
        if self.at.object != Object::Log {
            return Err(StrategyError::Unsupported(Operation::Append));
        }
        self.append_record(record)
    }

    fn update(&mut self, element: &str) -> Result<(), StrategyError> {
        self.append_record(&element_record(element))
    }
}

/// Opens the log for appending, and makes it if it is not there.
pub(crate) fn open_log(path: &Path, append: OFlags) -> Result<OpenFile, CallError> {
    OpenFile::open(path, OFlags::WRONLY | OFlags::CREATE | append, 0o644)
}

/// The records that are whole, each with its newline.
pub(crate) fn whole_records(log: &[u8]) -> Vec<u8> {
    let mut records = Vec::with_capacity(log.len());
    for line in log.split(|&byte| byte == b'\n').filter(|line| verify_record(line).is_some()) {
        records.extend_from_slice(line);
        records.push(b'\n');
    }
    records
}

/// An element as a record: its name, its checksum, a newline.
fn element_record(element: &str) -> Vec<u8> {
    format!("{element} {:08x}\n", crc32fast::hash(element.as_bytes())).into_bytes()
}

/// The elements whose records are whole.
fn whole_elements(log: &[u8]) -> SetDocument {
    let mut set = SetDocument::default();
    for line in log.split(|&byte| byte == b'\n') {
        let Some((element, checksum)) = std::str::from_utf8(line).ok().and_then(|line| line.rsplit_once(' '))
        else {
            continue;
        };
        if checksum.len() == 8
            && u32::from_str_radix(checksum, 16).ok() == Some(crc32fast::hash(element.as_bytes()))
        {
            // The file may be long, so the search for a double that `add` makes is left out:
            // each client appends an element once.
            set.elements.push(element.to_owned());
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use tearproof_core::document::Stamp;
    use tearproof_core::log::{render_record, verify_log};

    use super::*;

    #[test]
    fn the_record_after_a_torn_tail_is_not_lost() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = ClientContext { object: Object::Log, ..crate::tests::context(dir.path()) };
        let (first, second) = (render_record(Stamp::new(1, 1), 64), render_record(Stamp::new(2, 1), 64));
        let torn = [&first[..], &render_record(Stamp::new(1, 2), 64)[..30]].concat();
        APPEND_LOG.prepare(&at, Some(&torn)).expect("prepared");
        let mut client = APPEND_LOG.client(&at).expect("opened");
        let mut log = Vec::new();
        client.read(&mut log).expect("read");
        assert_eq!(verify_log(&log), Ok(vec![Stamp::new(1, 1)]));
        client.append(&second).expect("appended");
        client.read(&mut log).expect("read");
        assert_eq!(verify_log(&log), Ok(vec![Stamp::new(1, 1), Stamp::new(2, 1)]));
    }
}
