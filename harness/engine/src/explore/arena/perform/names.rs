//! Changes of names: rename, link, unlink, and what is made with a name of its own.

use std::ffi::{CStr, OsStr};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use smallvec::{SmallVec, smallvec};

use super::{Effect, access, answer, c_path, returned};
use crate::explore::access::{Footprint, Mode, ObjectKind, Potential};
use crate::explore::arena::descriptors::OpenFile;
use crate::explore::arena::tree::{Destination, Kind, Place};
use crate::explore::arena::{Arena, ArenaError};
use crate::explore::gate::{Answer, At};

impl Arena<'_> {
    pub(super) fn rename(
        &mut self,
        thread: usize,
        from: &At,
        to: &At,
        flags: u32,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let mut footprint = Footprint::new();
        let source = self.resolve(process, from, false, &mut footprint);
        let target = self.resolve(process, to, false, &mut footprint);
        let (old, new) = (self.own_path(process, from), self.own_path(process, to));
        let at = libc::AT_FDCWD;
        // SAFETY: both paths end in a zero byte and outlive the call.
        let done = returned(unsafe { libc::renameat2(at, old.as_ptr(), at, new.as_ptr(), flags) });
        let mut potential: SmallVec<[Potential; 4]> =
            smallvec![Potential::Any(ObjectKind::Metadata, Mode::Update)];
        for place in [&source, &target] {
            if let Destination::Place(place) = place {
                let listing = place.directory.object(ObjectKind::Listing);
                potential.push(Potential::Certain(access(place.entry(), Mode::Write)));
                potential.push(Potential::Certain(access(listing, Mode::Update)));
            }
        }
        let exchange = flags & libc::RENAME_EXCHANGE != 0;
        let directory = |place: &Place| {
            let kind = place.inode.and_then(|inode| self.tree.kind(inode));
            matches!(kind, Some(Kind::Directory(..)))
        };
        if matches!(&source, Destination::Place(source) if directory(source)) {
            // A directory can replace an empty one, if there is one.
            potential.push(Potential::Any(ObjectKind::Listing, Mode::Write));
        }
        match (&source, &target, done) {
            (Destination::Place(source), Destination::Place(target), Ok(_)) => {
                let Some(inode) = source.inode else {
                    self.agree("rename", Err(libc::ENOENT), done)?;
                    return Err(ArenaError::Confused("a rename of nothing".to_owned()));
                };
                // Who is moved has as many names as before; who is replaced has one less.
                if let Some(replaced) = target.inode.filter(|_| !exchange) {
                    footprint.push(access(replaced.object(ObjectKind::Metadata), Mode::Update));
                    if matches!(self.tree.kind(replaced), Some(Kind::Directory(..))) {
                        // It was empty, and is gone.
                        footprint.push(access(replaced.object(ObjectKind::Listing), Mode::Write));
                    }
                }
                let same = target.inode == Some(inode);
                Self::changes_entry(&mut footprint, source, true, exchange || same);
                Self::changes_entry(&mut footprint, target, target.inode.is_some(), true);
                if !same {
                    if let (true, Some(other)) = (exchange, target.inode) {
                        self.tree.put(source.directory, &source.name, other);
                    } else {
                        self.tree.remove(source.directory, &source.name);
                    }
                    self.tree.put(target.directory, &target.name, inode);
                }
            }
            // From or to another directory that nobody watches.
            (Destination::Elsewhere, Destination::Place(target), Ok(_)) => {
                self.adopt(thread, target, &new);
                Self::changes_entry(&mut footprint, target, target.inode.is_some(), true);
            }
            (Destination::Place(source), Destination::Elsewhere, Ok(_)) => {
                self.tree.remove(source.directory, &source.name);
                Self::changes_entry(&mut footprint, source, true, false);
            }
            (source, target, _) => {
                for place in [source, target] {
                    if let Destination::Place(place) = place {
                        self.leaves_entry(&mut footprint, place);
                    }
                }
                if let (Destination::Place(target), Err(libc::ENOTEMPTY)) = (target, done)
                    && let Some(full) = target.inode
                {
                    footprint.push(access(full.object(ObjectKind::Listing), Mode::Read));
                }
                // Who exchanges two names needs both.
                let can_be =
                    |target: &Place| (!exchange || target.inode.is_some()) && !self.is_gone(target.directory);
                if let (Destination::Place(place), Err(libc::ENOENT)) = (source, done)
                    && place.inode.is_some()
                    && matches!(target, Destination::Place(target) if can_be(target))
                {
                    self.agree("rename", Ok(0), done)?;
                }
            }
        }
        Ok(Effect { potential, ..Effect::answer(footprint, answer(done)) })
    }

    pub(super) fn link(
        &mut self,
        thread: usize,
        from: &At,
        to: &At,
        flags: i32,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let mut footprint = Footprint::new();
        let mut follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
        let held = self.held(process, from, flags);
        let mut source = Destination::Elsewhere;
        let old;
        if let Some(file) = &held {
            // The very file, whether it has a name or not.
            old = c_path(format!("/proc/thread-self/fd/{}", file.file.as_raw_fd()).as_bytes());
            follow = true;
        } else {
            source = self.resolve(process, from, follow, &mut footprint);
            old = self.own_path(process, from);
        }
        let target = self.resolve(process, to, false, &mut footprint);
        let new = self.own_path(process, to);
        let flags = if follow { libc::AT_SYMLINK_FOLLOW } else { 0 };
        let at = libc::AT_FDCWD;
        // SAFETY: both paths end in a zero byte and outlive the call.
        let done = returned(unsafe { libc::linkat(at, old.as_ptr(), at, new.as_ptr(), flags) });
        let mut potential: SmallVec<[Potential; 4]> =
            smallvec![Potential::Any(ObjectKind::Metadata, Mode::Update)];
        if let Some(file) = &held {
            potential.push(Potential::Certain(access(file.inode.object(ObjectKind::Metadata), Mode::Write)));
        }
        if let Destination::Place(source) = &source {
            footprint.push(access(source.entry(), Mode::Read));
        }
        if let Destination::Place(target) = &target {
            potential.push(Potential::Certain(access(target.entry(), Mode::Write)));
            let listing = target.directory.object(ObjectKind::Listing);
            potential.push(Potential::Certain(access(listing, Mode::Update)));
            let inode = match (&held, &source) {
                (Some(file), _) => Some(file.inode),
                (None, Destination::Place(source)) => source.inode,
                _ => None,
            };
            // A file that has lost its last name gets no other one: who names it by a descriptor depends on that.
            let counted = if held.is_some() { Mode::Write } else { Mode::Update };
            if let (Some(inode), Err(_), true) = (inode, done, held.is_some()) {
                footprint.push(access(inode.object(ObjectKind::Metadata), Mode::Read));
            }
            match (done, inode) {
                (Ok(_), Some(inode)) => {
                    if target.inode.is_some() {
                        self.agree("link", Err(libc::EEXIST), done)?;
                    }
                    Self::changes_entry(&mut footprint, target, false, true);
                    footprint.push(access(inode.object(ObjectKind::Metadata), counted));
                    self.tree.put(target.directory, &target.name, inode);
                }
                (Ok(_), None) => {
                    self.note_escape("a file from elsewhere was linked into the state directory");
                    self.adopt(thread, target, &new);
                    Self::changes_entry(&mut footprint, target, false, true);
                }
                (Err(_), _) => self.leaves_entry(&mut footprint, target),
            }
        }
        Ok(Effect { potential, ..Effect::answer(footprint, answer(done)) })
    }

    /// The open file that a link is made to, where it is named by a descriptor.
    fn held(&self, process: usize, from: &At, flags: i32) -> Option<Rc<OpenFile>> {
        let descriptor = if from.path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
            from.directory
        } else if flags & libc::AT_SYMLINK_FOLLOW != 0 {
            let own = format!("/proc/{}/fd/", Self::virtual_pid(process));
            let prefixes = [&b"/proc/self/fd/"[..], b"/proc/thread-self/fd/", own.as_bytes()];
            let number = prefixes.into_iter().find_map(|prefix| from.path.strip_prefix(prefix))?;
            std::str::from_utf8(number).ok()?.parse().ok()?
        } else {
            return None;
        };
        self.processes[process].descriptors.get(descriptor).map(Rc::clone)
    }

    /// Takes in what came to a name from outside of the state directory.
    fn adopt(&mut self, thread: usize, place: &Place, path: &CStr) {
        let path = Path::new(OsStr::from_bytes(path.to_bytes()));
        let kind = match (std::fs::symlink_metadata(path), std::fs::read_link(path)) {
            (_, Ok(text)) => Kind::Symlink(text.as_os_str().as_bytes().into()),
            (Ok(metadata), _) if metadata.is_file() => Kind::File,
            _ => {
                self.note_escape("something that is no file was brought into the state directory");
                Kind::Special
            }
        };
        let inode = self.new_inode(thread);
        self.tree.make(inode, kind);
        self.tree.put(place.directory, &place.name, inode);
    }

    /// A regular file is made as by `open`. What else there can be is refused, as on file systems that do
    /// not have it: to open a pipe is to wait for somebody.
    pub(super) fn make_node(&mut self, thread: usize, at: &At, mode: u32) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        if !matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG) {
            self.note_escape(
                "a client wanted a pipe, a socket or a device in the state directory, which is not followed, and \
                 was refused",
            );
            return Ok(Effect::answer(Footprint::new(), Answer::Errno(libc::EPERM)));
        }
        let path = self.own_path(process, at);
        let mode = mode & !self.processes[process].umask;
        // SAFETY: the path ends in a zero byte and outlives the call.
        self.make(thread, at, Kind::File, || unsafe { libc::mknod(path.as_ptr(), mode, 0) })
    }

    pub(super) fn unlink(&mut self, process: usize, at: &At, directory: bool) -> Result<Effect, ArenaError> {
        let mut footprint = Footprint::new();
        let destination = self.resolve(process, at, false, &mut footprint);
        let path = self.own_path(process, at);
        let flags = if directory { libc::AT_REMOVEDIR } else { 0 };
        // SAFETY: the path ends in a zero byte and outlives the call.
        let done = returned(unsafe { libc::unlinkat(libc::AT_FDCWD, path.as_ptr(), flags) });
        let mut potential: SmallVec<[Potential; 4]> = SmallVec::new();
        if let Destination::Place(place) = &destination {
            let listing = place.directory.object(ObjectKind::Listing);
            potential.push(Potential::Any(ObjectKind::Metadata, Mode::Update));
            potential.push(Potential::Certain(access(place.entry(), Mode::Write)));
            potential.push(Potential::Certain(access(listing, Mode::Update)));
            if directory {
                // Who still has it open finds nothing in it any more, and can make nothing.
                let mode = if done.is_ok() { Mode::Write } else { Mode::Read };
                potential.push(Potential::Any(ObjectKind::Listing, Mode::Write));
                if let Some(inode) = place.inode {
                    footprint.push(access(inode.object(ObjectKind::Listing), mode));
                }
            }
            match (done, place.inode) {
                (Ok(_), Some(inode)) => {
                    Self::changes_entry(&mut footprint, place, true, false);
                    footprint.push(access(inode.object(ObjectKind::Metadata), Mode::Update));
                    self.tree.remove(place.directory, &place.name);
                }
                (Ok(_), None) => self.agree("unlink", Err(libc::ENOENT), done)?,
                (Err(errno), inode) => {
                    footprint.push(access(place.entry(), Mode::Read));
                    if errno == libc::ENOENT && inode.is_some() {
                        self.agree("unlink", Ok(0), done)?;
                    }
                }
            }
        }
        Ok(Effect { potential, ..Effect::answer(footprint, answer(done)) })
    }

    pub(super) fn make(
        &mut self,
        thread: usize,
        at: &At,
        kind: Kind,
        call: impl FnOnce() -> libc::c_int,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let mut footprint = Footprint::new();
        let destination = self.resolve(process, at, false, &mut footprint);
        let done = returned(call());
        let mut potential: SmallVec<[Potential; 4]> = SmallVec::new();
        if let Destination::Place(place) = &destination {
            potential.push(Potential::Certain(access(place.entry(), Mode::Write)));
            let listing = place.directory.object(ObjectKind::Listing);
            potential.push(Potential::Certain(access(listing, Mode::Update)));
            if done.is_ok() {
                if place.inode.is_some() {
                    self.agree("mkdir, mknod or symlink", Err(libc::EEXIST), done)?;
                }
                let inode = self.new_inode(thread);
                self.tree.make(inode, kind);
                self.tree.put(place.directory, &place.name, inode);
                Self::changes_entry(&mut footprint, place, false, true);
                self.touch(inode);
            } else {
                self.leaves_entry(&mut footprint, place);
            }
        }
        Ok(Effect { potential, ..Effect::answer(footprint, answer(done)) })
    }
}
