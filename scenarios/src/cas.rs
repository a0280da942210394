//! Compare and swap with nothing but names: the next version is whoever links `<file>.v<N+1>`
//! first.
//!
//! `link(2)` fails when the name is taken, so among all clients that saw version N exactly one
//! makes N+1 of it, and the others read again. Source: the atomic-writes note's alternative ("CAS via a version
//! in the state itself, when you can't take a lock"), with `link` as the test-and-set that NFS
//! clients have long relied on.
//!
//! Two dangers decide the rest of the algorithm.
//!
//! * **A name must never become free again.** If old versions were removed, a client that slept
//!   through a few of them could link a number that had been used and removed, and believe itself
//!   the winner. So names stay. To keep the disk from filling, a superseded version is replaced by
//!   an empty file (a tombstone) instead, by rename, so that whoever reads it goes on reading the
//!   old inode.
//! * **Readers find the highest version by climbing**: from the last one they know of to the first
//!   name that does not exist. Versions have no gaps, so that is the current one at that moment. A
//!   reader that gets a tombstone knows that there is a higher one, and climbs on.
//!
//! A new version's data and its name are durable before the tombstone of the one before it is
//! written. Version 0 is the state file as it was laid down; it is never touched again, and
//! programs that read it directly see the past.

use std::path::PathBuf;

use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use rustix::io::Errno;

use crate::calls::{self, CallError, OpenFile};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims, with_element};
use crate::temp_name::TempNames;
use crate::temp_rename::or_remove;

/// Strategy `cas-versioned-link`.
pub(crate) static CAS_VERSIONED_LINK: Kept<CasVersionedLink> = Kept::new();

/// See the module.
#[derive(Default)]
pub(crate) struct CasVersionedLink {
    names: TempNames,
    /// The highest version that this client has seen; unknown to a client that has just started.
    known: Option<u64>,
}

static CAS_VERSIONED_LINK_INFO: StrategyInfo = StrategyInfo {
    name: "cas-versioned-link",
    algorithm: "write a temporary file, fsync it, link it to <file>.v<N+1>; if that name is taken, read again and retry",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        NoLostUpdates: Concurrency Pause Kill;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill PowerLoss;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "the atomic-writes note's alternative, with link(2) as the compare-and-swap",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

/// The number of a version, from the name of its file.
fn version_of(at: &ClientContext, name: &str) -> Option<u64> {
    let file = calls::name(&at.file).to_string();
    name.strip_prefix(&file)?.strip_prefix(".v")?.parse().ok()
}

fn path_of(at: &ClientContext, version: u64) -> PathBuf {
    if version == 0 { at.file.clone() } else { at.sibling(&format!(".v{version}")) }
}

impl CasVersionedLink {
    /// Climbs to the highest version; returns its number, and its file unless there is none.
    fn climb(&mut self, at: &ClientContext) -> Result<(u64, Option<OpenFile>), CallError> {
        let mut version = match self.known {
            Some(version) => version,
            None => calls::list(&at.dir)?.iter().filter_map(|name| version_of(at, name)).max().unwrap_or(0),
        };
        let mut file = OpenFile::open_to_read(&path_of(at, version))?;
        while let Some(next) = OpenFile::open_to_read(&path_of(at, version + 1))? {
            version += 1;
            file = Some(next);
        }
        self.known = Some(version);
        Ok((version, file))
    }

    /// The number and the document of the highest version.
    fn read_version(
        &mut self,
        at: &ClientContext,
        into: &mut Vec<u8>,
    ) -> Result<(u64, Found), StrategyError> {
        into.clear();
        loop {
            let (version, file) = self.climb(at)?;
            let Some(file) = file else { return Ok((version, Found::Absent)) };
            file.read_to_end(into)?;
            file.close()?;
            // Only version 0 may be empty in its own right.
            if version == 0 || !into.is_empty() {
                return Ok((version, Found::Present));
            }
        }
    }

    /// Tries to publish a staged file as the version after `seen`; `false` when somebody else did.
    fn publish(
        &mut self,
        at: &ClientContext,
        staged: &std::path::Path,
        seen: u64,
    ) -> Result<bool, StrategyError> {
        match calls::link(staged, &path_of(at, seen + 1)) {
            Ok(()) => (),
            Err(error) if error.errno() == Errno::EXIST => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.known = Some(seen + 1);
        calls::unlink(staged).map_err(CallError::perhaps_applied)?;
        calls::sync_directory(&at.dir).map_err(CallError::perhaps_applied)?;
        if seen > 0 {
            self.bury(at, seen);
        }
        Ok(true)
    }

    /// Replaces a superseded version by a tombstone. When that fails its data stays, which costs
    /// space and nothing else.
    fn bury(&mut self, at: &ClientContext, version: u64) {
        let tombstone = self.names.next(at);
        let Ok(file) = OpenFile::create_new(&tombstone, 0o644) else { return };
        let empty = file.close();
        let _ = or_remove(&tombstone, empty.and_then(|()| calls::rename(&tombstone, &path_of(at, version))));
    }

    /// Writes a temporary file, durably.
    fn stage(&mut self, at: &ClientContext, document: &[u8]) -> Result<PathBuf, CallError> {
        let temp = self.names.next(at);
        let file = OpenFile::create_new(&temp, 0o644)?;
        let written = file.write_all(document).and_then(|()| file.sync()).and_then(|()| file.close());
        or_remove(&temp, written).map(|()| temp)
    }
}

impl Protocol for CasVersionedLink {
    fn info() -> &'static StrategyInfo {
        &CAS_VERSIONED_LINK_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        self.read_version(at, into).map(|(_, found)| found)
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let staged = self.stage(at, document)?;
        let published = loop {
            let seen = match self.climb(at) {
                Ok((seen, _)) => seen,
                Err(error) => break Err(error.into()),
            };
            match self.publish(at, &staged, seen) {
                Ok(false) => (),
                Ok(true) => return Ok(()),
                Err(error) => break Err(error),
            }
        };
        let _ = calls::unlink(&staged);
        published
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let mut document = Vec::new();
        loop {
            let (seen, found) = self.read_version(at, &mut document)?;
            let changed = with_element(at, found, &document, element)?;
            let staged = self.stage(at, &changed)?;
            match self.publish(at, &staged, seen) {
                Ok(true) => return Ok(()),
                Ok(false) => calls::unlink(&staged)?,
                Err(error) => {
                    let _ = calls::unlink(&staged);
                    return Err(error);
                }
            }
        }
    }

    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn std::io::Read + Send>>, StrategyError> {
        loop {
            let (version, file) = self.climb(at)?;
            let Some(file) = file else { return Ok(None) };
            if version == 0 || file.length()? > 0 {
                return Ok(Some(Box::new(file)));
            }
        }
    }

    fn keeps(at: &ClientContext, name: &str) -> bool {
        version_of(at, name).is_some()
    }
}
