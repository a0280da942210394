//! What the paths and descriptors of a call lead to, and the reading of a path on the way.
//!
//! Whether a call concerns the state directory at all is seen by how its path begins
//! ([`super::super::detour`] looks after the rest).

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use smallvec::{SmallVec, smallvec};

use super::{access, c_path};
use crate::explore::access::{Footprint, Mode, ObjectKind, Potential};
use crate::explore::arena::Arena;
use crate::explore::arena::tree::{Destination, Inode, Kind, Place, inside};
use crate::explore::gate::{At, Call, SocketAct, Target};

impl Arena<'_> {
    /// Where a path of a process begins: in the tree, or elsewhere.
    pub(in crate::explore::arena) fn base<'p>(
        &self,
        process: usize,
        at: &'p At,
    ) -> Option<(Inode, &'p [u8])> {
        if at.path.first() == Some(&b'/') {
            return self
                .roots
                .iter()
                .find_map(|(root, inode)| inside(&at.path, root).map(|rest| (*inode, rest)));
        }
        let process = &self.processes[process];
        if at.directory == libc::AT_FDCWD {
            return process.directory.map(|directory| (directory, &at.path[..]));
        }
        let file = process.descriptors.get(at.directory)?;
        Some((file.inode, &at.path[..]))
    }

    /// Whether a call can touch the state directory, through a path or a descriptor.
    pub(in crate::explore::arena) fn concerns(&self, process: usize, call: &Call) -> bool {
        let path = |at: &At| self.base(process, at).is_some();
        let open = |fd: i32| self.processes[process].descriptors.get(fd).is_some();
        let target = |target: &Target| match target {
            Target::Fd(fd) => open(*fd),
            Target::Path(at, _) => path(at),
        };
        match call {
            Call::Open { at, .. }
            | Call::Access { at, .. }
            | Call::ReadLink { at, .. }
            | Call::Symlink { at, .. }
            | Call::Unlink { at, .. }
            | Call::MakeNode { at, .. }
            | Call::MakeDirectory { at, .. } => path(at),
            Call::Rename { from, to, .. } | Call::Link { from, to, .. } => path(from) || path(to),
            // What was there before is closed.
            Call::Duplicate { fd, to, .. } => open(*fd) || to.is_some_and(open),
            Call::Close { fd }
            | Call::Read { fd, .. }
            | Call::Write { fd, .. }
            | Call::Seek { fd, .. }
            | Call::Allocate { fd, .. }
            | Call::Sync { fd }
            | Call::List { fd, .. }
            | Call::Lock { fd, .. }
            | Call::Map { fd, .. } => open(*fd),
            Call::CloseRange { first, last, .. } => {
                !self.processes[process].descriptors.between(*first, *last).is_empty()
            }
            Call::Truncate { target: what, .. }
            | Call::Stat { target: what, .. }
            | Call::ChangeMode { target: what, .. }
            | Call::ChangeOwner { target: what }
            | Call::SetTimes { target: what, .. }
            | Call::Attribute { target: what, .. }
            | Call::ChangeDirectory { target: what } => target(what),
            Call::Other { fd, .. } => fd.is_some_and(open),
            Call::Wait(wait) => !self.wires_of(process, wait).is_empty(),
            Call::Socket(call) => match (&call.act, call.at()) {
                (_, Some(at)) => path(at),
                (SocketAct::Bind { .. } | SocketAct::Connect { .. }, None) => false,
                _ => open(call.fd),
            },
            Call::Futex { .. }
            | Call::Sleep { .. }
            | Call::Yield
            | Call::Clock { .. }
            | Call::TimeOfDay { .. }
            | Call::Time { .. }
            | Call::Exit { .. }
            | Call::Kill { .. }
            | Call::ThreadKill { .. }
            | Call::GetPid { .. }
            | Call::Spawn { .. }
            | Call::Execute
            | Call::Random { .. }
            | Call::Timer(_)
            | Call::SetUmask { .. } => false,
        }
    }

    /// Follows a path. The entries on the way are read.
    pub(super) fn resolve(
        &self,
        process: usize,
        at: &At,
        follow: bool,
        footprint: &mut Footprint,
    ) -> Destination {
        let Some((start, rest)) = self.base(process, at) else { return Destination::Elsewhere };
        let (root, _) = &self.roots[0];
        self.tree.resolve(start, rest, follow, root, footprint)
    }

    /// The path as the supervisor itself can use it: relative ones through the very directory that they
    /// begin in, which may have another name by now, or none.
    pub(super) fn own_path(&self, process: usize, at: &At) -> CString {
        if self.base(process, at).is_none() {
            return c_path(self.as_seen_from_here(process, at).as_os_str().as_bytes());
        }
        if at.path.first() == Some(&b'/') {
            return c_path(&at.path);
        }
        let process = &self.processes[process];
        let mut path = match process.descriptors.get(at.directory) {
            Some(file) => format!("/proc/thread-self/fd/{}/", file.file.as_raw_fd()),
            None => format!("/proc/{}/cwd/", process.pid()),
        }
        .into_bytes();
        path.extend_from_slice(&at.path);
        c_path(&path)
    }

    /// What a target leads to, and what was read on the way.
    pub(super) fn target(&self, process: usize, target: &Target) -> (Option<Inode>, Footprint) {
        let mut footprint = Footprint::new();
        match target {
            Target::Fd(fd) => {
                (self.processes[process].descriptors.get(*fd).map(|file| file.inode), footprint)
            }
            Target::Path(at, follow) => match self.resolve(process, at, *follow, &mut footprint) {
                Destination::Place(place) => {
                    footprint.push(access(place.entry(), Mode::Read));
                    (place.inode, footprint)
                }
                Destination::Directory(inode) => (Some(inode), footprint),
                Destination::Elsewhere | Destination::Nowhere(_) => (None, footprint),
            },
        }
    }

    /// What a target leads to.
    pub(in crate::explore::arena) fn target_inode(&self, process: usize, target: &Target) -> Option<Inode> {
        self.target(process, target).0
    }

    /// The footprint of a call that asks what a path leads to.
    pub(in crate::explore::arena) fn reads_path(
        &self,
        process: usize,
        at: &At,
        follow: bool,
    ) -> (Footprint, SmallVec<[Potential; 4]>) {
        let (inode, mut footprint) = self.target(process, &Target::Path(at.clone(), follow));
        if let Some(inode) = inode {
            footprint.push(access(inode.object(ObjectKind::Attributes), Mode::Read));
        }
        (footprint, smallvec![Potential::Any(ObjectKind::Attributes, Mode::Read)])
    }

    /// Whether a directory was removed that somebody still has open: no name can be made in it.
    pub(super) fn is_gone(&self, directory: Inode) -> bool {
        let Some(Kind::Directory(_, parent)) = self.tree.kind(directory) else { return false };
        let named = match self.tree.kind(*parent) {
            Some(Kind::Directory(names, _)) => names.iter().any(|(_, inode)| *inode == directory),
            _ => false,
        };
        !named && !self.roots.iter().any(|(_, root)| *root == directory)
    }

    /// The footprint of an attempt to change a name that failed.
    pub(super) fn leaves_entry(&self, footprint: &mut Footprint, place: &Place) {
        footprint.push(access(place.entry(), Mode::Read));
        if self.is_gone(place.directory) {
            footprint.push(access(place.directory.object(ObjectKind::Listing), Mode::Read));
        }
    }

    /// The footprint of a change of names in a directory.
    pub(super) fn changes_entry(footprint: &mut Footprint, place: &Place, existed: bool, exists: bool) {
        footprint.push(access(place.entry(), Mode::Write));
        if existed != exists {
            footprint.push(access(place.directory.object(ObjectKind::Listing), Mode::Update));
        }
        footprint.push(access(place.directory.object(ObjectKind::Metadata), Mode::Update));
    }
}
