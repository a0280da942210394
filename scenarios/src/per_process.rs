//! Each client writes a file of its own, and readers merge them all. Source: the progress.json report, solution 5.
//!
//! Nobody ever writes what another one writes, so there is nothing to lock and nothing to lose. A
//! set is the union of the files. A register has no such merge: each file carries a number one
//! higher than any that its writer saw (a Lamport clock), and the highest wins, the client's number
//! breaking ties. Two writes at the same time may get the same number, and a reader lists and reads
//! the files one after the other, so the order of reads and writes is not one that respects real
//! time: `linearizable` is not promised.
//!
//! The files are `<file>.parts/<client>/document`. Each client has a *directory* because a listing
//! may miss a name that is renamed over while it runs (btrfs gives it a new place, behind the end
//! of the listing); the directories are made once and never renamed. A client that is gone leaves
//! its part, which is its data.
//!
//! Not covered: thinning out the parts of clients that are gone.

use std::path::{Path, PathBuf};

use tearproof_core::object::Object;
use tearproof_core::set::SetDocument;
use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use crate::calls::{self, OpenFile};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims, parse_set, read_plainly, stream_buffered};
use crate::temp_name::TempNames;
use crate::temp_rename::write_file_atomic;

/// Strategy `per-process-files`.
pub(crate) static PER_PROCESS_FILES: Kept<PerProcessFiles> = Kept::new();

/// The digits of the number that stands in the first line of a register's part.
const DIGITS: usize = 20;

/// See the module.
#[derive(Default)]
pub(crate) struct PerProcessFiles {
    names: TempNames,
    own: Option<PathBuf>,
}

static PER_PROCESS_FILES_INFO: StrategyInfo = StrategyInfo {
    name: "per-process-files",
    algorithm: "each client replaces a file of its own, atomically and durably; readers merge all of them",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        NoLostUpdates: Concurrency Pause Kill;
        Progress: Concurrency Kill;
        Durability: Kill PowerLoss;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "the progress.json report (solution 5)",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

fn parts(at: &ClientContext) -> PathBuf {
    at.sibling(".parts")
}

/// The bytes of one part; `None` if its client has not written yet.
fn read_part(path: &Path) -> Result<Option<Vec<u8>>, StrategyError> {
    let Some(file) = OpenFile::open_to_read(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    file.close()?;
    Ok(Some(bytes))
}

/// All parts with the numbers of their clients, in the order of these.
fn read_parts(at: &ClientContext) -> Result<Vec<(u32, Vec<u8>)>, StrategyError> {
    let parts = parts(at);
    if !calls::exists(&parts)? {
        return Ok(Vec::new());
    }
    let mut clients: Vec<u32> = calls::list(&parts)?.iter().filter_map(|name| name.parse().ok()).collect();
    clients.sort_unstable();
    let mut found = Vec::new();
    for client in clients {
        if let Some(bytes) = read_part(&parts.join(client.to_string()).join("document"))? {
            found.push((client, bytes));
        }
    }
    Ok(found)
}

/// Splits a register's part into its number and its document.
fn numbered(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(DIGITS)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest.strip_prefix(b"\n")?))
}

impl PerProcessFiles {
    /// The path of the own part; its directory is made, durably, the first time.
    fn own_part(&mut self, at: &ClientContext) -> Result<PathBuf, StrategyError> {
        if let Some(own) = &self.own {
            return Ok(own.clone());
        }
        let parts = parts(at);
        let directory = parts.join(at.client.to_string());
        calls::make_directory(&parts)?;
        calls::make_directory(&directory)?;
        calls::sync_directory(&parts)?;
        calls::sync_directory(&at.dir)?;
        Ok(self.own.insert(directory.join("document")).clone())
    }
}

impl Protocol for PerProcessFiles {
    fn info() -> &'static StrategyInfo {
        &PER_PROCESS_FILES_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let base = read_plainly(at, into)?;
        let parts = read_parts(at)?;
        if parts.is_empty() {
            return Ok(base);
        }
        if at.object == Object::Set {
            let mut union =
                if base == Found::Present { parse_set(at, into)? } else { SetDocument::default() };
            for (_, part) in &parts {
                for element in parse_set(at, part)?.elements {
                    union.add(&element);
                }
            }
            *into = union.render(at.format);
        } else if let Some((_, _, newest)) = parts
            .iter()
            .filter_map(|(client, part)| numbered(part).map(|(number, document)| (number, client, document)))
            .max_by_key(|&(number, client, _)| (number, client))
        {
            into.clear();
            into.extend_from_slice(newest);
        }
        Ok(Found::Present)
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let own = self.own_part(at)?;
        let highest = read_parts(at)?.iter().filter_map(|(_, part)| Some(numbered(part)?.0)).max();
        let mut part = format!("{:0DIGITS$}\n", highest.unwrap_or(0) + 1).into_bytes();
        part.extend_from_slice(document);
        write_file_atomic(&mut self.names, at, &own, &part)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let own = self.own_part(at)?;
        let mut set = match read_part(&own)? {
            Some(part) => parse_set(at, &part)?,
            None => SetDocument::default(),
        };
        set.add(element);
        write_file_atomic(&mut self.names, at, &own, &set.render(at.format))
    }

    /// What is merged is no file that could be read piece by piece.
    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn std::io::Read + Send>>, StrategyError> {
        stream_buffered(self, at)
    }

    fn keeps(at: &ClientContext, name: &str) -> bool {
        parts(at).file_name().is_some_and(|parts| parts == name)
    }
}
