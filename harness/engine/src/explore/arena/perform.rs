//! What each call does, one step at a time: the supervisor does it in the client's place and notes
//! what it touched.
//!
//! Reads and writes are not atomic. Linux copies a page byte by byte without keeping readers out,
//! and goes from page to page; so a read or a write of several bytes is done in two parts, between
//! which others may run. Writers keep each other out for the whole write (the inode's lock, here
//! [`ObjectKind::WriteGate`]). A write that only extends a file becomes visible a page at a time,
//! when the size is set, so it is divided at a page boundary or not at all. A page that is cut off
//! by a truncation between the two parts of a read is still read as it was: the reader has hold of
//! it.
//!
//! Not covered: locks of the kernel that nobody can observe, and sockets ([`super::waits`]).

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::rc::Rc;

use smallvec::{SmallVec, smallvec};

use super::descriptors::OpenFile;
use super::locks::{Owner, Range};
use super::tree::{Destination, Inode, Kind, Place, digest, inside};
use super::{Arena, ArenaError};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::gate::{Answer, At, Call, LockKind, LockRequest, Span, StatForm, Target};

const PAGE: u64 = 4096;
/// Bytes that one call may move. More is answered short, as the kernel may do.
const LARGEST: usize = 64 << 20;

/// The first half of a read or a write that has been done, and what the second half needs.
#[derive(Debug)]
pub enum Half {
    /// A read.
    Read {
        /// Where it began.
        position: u64,
        /// Everything as it was at the beginning.
        whole: Vec<u8>,
        /// Bytes of the first part.
        done: usize,
        /// How often the file had been cut off.
        cuts: u32,
    },
    /// A write.
    Write {
        /// Where it began.
        position: u64,
        /// Everything that is to be written.
        whole: Vec<u8>,
        /// Bytes of the first part.
        done: usize,
    },
}

/// How a step ends for the client.
#[derive(Debug)]
pub enum Ending {
    /// The call is answered.
    Answer(Answer),
    /// The call is answered with a new descriptor.
    Descriptor { file: Rc<OpenFile>, close_on_exec: bool, at: Option<i32> },
    /// The call is answered with a descriptor of something that is nobody else's.
    Loose(File),
    /// There is more to do.
    More(Half),
}

/// What a step did.
#[derive(Debug)]
pub struct Effect {
    /// What it touched.
    pub footprint: Footprint,
    /// What it could have touched.
    pub potential: SmallVec<[Potential; 4]>,
    /// How it ends.
    pub ending: Ending,
    /// Whether the thread gave way.
    pub yields: bool,
}

impl Effect {
    fn answer(footprint: Footprint, answer: Answer) -> Self {
        Self { footprint, potential: SmallVec::new(), ending: Ending::Answer(answer), yields: false }
    }
}

/// What a call returned, as the kernel's interface has it.
type Returned = Result<i64, i32>;

const fn access(object: Object, mode: Mode) -> Access {
    Access { object, mode }
}

fn answer(returned: Returned) -> Answer {
    match returned {
        Ok(value) => Answer::Value(value),
        Err(errno) => Answer::Errno(errno),
    }
}

/// The result of a call of libc.
fn returned(value: impl Into<i64>) -> Returned {
    match value.into() {
        -1 => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
        value => Ok(value),
    }
}

fn c_path(path: &[u8]) -> CString {
    // A path from a client's memory ends at its first zero byte.
    CString::new(path).unwrap_or_default()
}

impl Arena<'_> {
    /// Where a path of a process begins: in the tree, or elsewhere.
    pub(super) fn base<'p>(&self, process: usize, at: &'p At) -> Option<(Inode, &'p [u8])> {
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
    pub(super) fn concerns(&self, process: usize, call: &Call) -> bool {
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
            | Call::MakeDirectory { at, .. } => path(at),
            Call::Rename { from, to, .. } | Call::Link { from, to, .. } => path(from) || path(to),
            Call::Close { fd }
            | Call::Duplicate { fd, .. }
            | Call::Read { fd, .. }
            | Call::Write { fd, .. }
            | Call::Seek { fd, .. }
            | Call::Allocate { fd, .. }
            | Call::Sync { fd }
            | Call::List { fd }
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
            | Call::ChangeDirectory { target: what } => target(what),
            Call::Other { fd, .. } => fd.is_some_and(open),
            Call::Futex { .. }
            | Call::Sleep { .. }
            | Call::Yield
            | Call::Clock { .. }
            | Call::TimeOfDay { .. }
            | Call::Time { .. }
            | Call::Exit { .. }
            | Call::Kill { .. }
            | Call::ThreadKill { .. }
            | Call::GetPid
            | Call::Random { .. }
            | Call::SetUmask { .. } => false,
        }
    }

    /// Follows a path. The entries on the way are read.
    fn resolve(&self, process: usize, at: &At, follow: bool, footprint: &mut Footprint) -> Destination {
        let Some((start, rest)) = self.base(process, at) else { return Destination::Elsewhere };
        let (root, _) = &self.roots[0];
        self.tree.resolve(start, rest, follow, root, footprint)
    }

    /// The path as the supervisor itself can use it: relative ones through the very directory that they
    /// begin in, which may have another name by now, or none.
    fn own_path(&self, process: usize, at: &At) -> CString {
        if at.path.first() == Some(&b'/') || self.base(process, at).is_none() {
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

    /// Whether a directory was removed that somebody still has open: no name can be made in it.
    fn is_gone(&self, directory: Inode) -> bool {
        let Some(Kind::Directory(_, parent)) = self.tree.kind(directory) else { return false };
        let named = match self.tree.kind(*parent) {
            Some(Kind::Directory(names, _)) => names.iter().any(|(_, inode)| *inode == directory),
            _ => false,
        };
        !named && !self.roots.iter().any(|(_, root)| *root == directory)
    }

    /// The footprint of an attempt to change a name that failed.
    fn leaves_entry(&self, footprint: &mut Footprint, place: &Place) {
        footprint.push(access(place.entry(), Mode::Read));
        if self.is_gone(place.directory) {
            footprint.push(access(place.directory.object(ObjectKind::Listing), Mode::Read));
        }
    }

    /// Takes one step of a call that concerns the state directory.
    pub(super) fn perform(
        &mut self,
        thread: usize,
        call: &Call,
        half: Option<Half>,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let file = |arena: &Self, fd: i32| {
            let file = arena.processes[process].descriptors.get(fd).map(Rc::clone);
            file.expect("the call concerns an open file of the state directory")
        };
        match call {
            Call::Open { at, flags, mode } => self.open(thread, at, *flags, *mode),
            Call::Close { fd } => Ok(self.close(process, &[*fd])),
            Call::CloseRange { first, last, .. } => {
                let fds = self.processes[process].descriptors.between(*first, *last);
                Ok(self.close(process, &fds))
            }
            Call::Duplicate { fd, to, not_below, close_on_exec } => {
                let file = file(self, *fd);
                let mut footprint = Footprint::new();
                if let Some(to) = to.filter(|to| to != fd) {
                    footprint = self.close(process, &[to]).footprint;
                }
                if *to == Some(*fd) {
                    return Ok(Effect::answer(footprint, Answer::Continue));
                }
                let at = if *not_below > 0 {
                    Some(self.processes[process].free_descriptor(*not_below))
                } else {
                    *to
                };
                let ending = Ending::Descriptor { file, close_on_exec: *close_on_exec, at };
                Ok(Effect { footprint, potential: SmallVec::new(), ending, yields: false })
            }
            Call::Read { fd, into, offset } => {
                let file = file(self, *fd);
                self.read(process, &file, into, *offset, half)
            }
            Call::Write { fd, from, offset } => {
                let file = file(self, *fd);
                self.write(thread, &file, from, *offset, half)
            }
            Call::Seek { fd, offset, whence } => {
                let file = file(self, *fd);
                let mut footprint: Footprint = smallvec![access(offset_of(&file), Mode::Write)];
                if !matches!(*whence, libc::SEEK_SET | libc::SEEK_CUR) {
                    footprint.push(access(file.inode.object(ObjectKind::Content), Mode::Read));
                }
                // SAFETY: takes plain numbers.
                let at = unsafe { libc::lseek(file.file.as_raw_fd(), *offset, *whence) };
                Ok(Effect::answer(footprint, answer(returned(at))))
            }
            Call::Truncate { target, length } => self.truncate(thread, target, *length),
            Call::Allocate { fd, mode, offset, length } => {
                let file = file(self, *fd);
                // SAFETY: takes plain numbers.
                let done = unsafe { libc::fallocate(file.file.as_raw_fd(), *mode, *offset, *length) };
                let footprint = self.changes_content(thread, file.inode);
                Ok(Effect::answer(footprint, answer(returned(done))))
            }
            Call::Sync { .. } => Ok(Effect::answer(Footprint::new(), Answer::Continue)),
            Call::Stat { target, form, buffer } => self.stat(process, target, *form, *buffer),
            Call::Access { at, mode, follow } => {
                let (mut footprint, potential) = self.reads_path(process, at, *follow);
                let path = self.own_path(process, at);
                let flags = if *follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
                // SAFETY: the path ends in a zero byte and outlives the call.
                let done = unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), *mode, flags) };
                // Whether it is there is all that F_OK asks.
                if *mode == libc::F_OK {
                    footprint.retain(|access| access.object.kind != ObjectKind::Attributes);
                }
                let mut effect = Effect::answer(footprint, answer(returned(done)));
                effect.potential = potential;
                Ok(effect)
            }
            Call::ReadLink { at, buffer } => {
                let mut footprint = Footprint::new();
                if let Destination::Place(place) = self.resolve(process, at, false, &mut footprint) {
                    footprint.push(access(place.entry(), Mode::Read));
                }
                let path = self.own_path(process, at);
                let mut text = vec![0_u8; buffer.length.min(PAGE as usize)];
                // SAFETY: the path ends in a zero byte; the buffer is as long as is said.
                let length = unsafe { libc::readlink(path.as_ptr(), text.as_mut_ptr().cast(), text.len()) };
                let mut result = returned(length as i64);
                if let Ok(length) = result
                    && self.processes[process].memory.write(buffer.address, &text[..length as usize]).is_err()
                {
                    result = Err(libc::EFAULT);
                }
                Ok(Effect::answer(footprint, answer(result)))
            }
            Call::Rename { from, to, flags } => self.rename(thread, from, to, *flags),
            Call::Link { from, to, flags } => self.link(process, from, to, *flags),
            Call::Symlink { text, at } => {
                let path = self.own_path(process, at);
                let target = c_path(text);
                let kind = Kind::Symlink(text.as_slice().into());
                // SAFETY: both texts end in a zero byte and outlive the call.
                self.make(thread, at, kind, || unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) })
            }
            Call::MakeDirectory { at, mode } => {
                let path = self.own_path(process, at);
                let mode = mode & !self.processes[process].umask;
                let kind = Kind::Directory(Vec::new(), Inode::ROOT);
                // SAFETY: the path ends in a zero byte and outlives the call.
                self.make(thread, at, kind, || unsafe { libc::mkdir(path.as_ptr(), mode) })
            }
            Call::Unlink { at, directory } => self.unlink(process, at, *directory),
            Call::List { fd } => {
                let file = file(self, *fd);
                // Who lists sees names and kinds, and nothing of what they lead to.
                let footprint = smallvec![
                    access(file.inode.object(ObjectKind::Listing), Mode::Read),
                    access(offset_of(&file), Mode::Write),
                ];
                Ok(Effect::answer(footprint, Answer::Continue))
            }
            Call::ChangeMode { target, .. } | Call::ChangeOwner { target } => {
                let (inode, mut footprint) = self.target(process, target);
                if let Some(inode) = inode {
                    footprint.push(access(inode.object(ObjectKind::Attributes), Mode::Write));
                    footprint.push(access(inode.object(ObjectKind::Metadata), Mode::Update));
                }
                let mut effect = Effect::answer(footprint, Answer::Continue);
                if matches!(target, Target::Path(..)) {
                    effect.potential.push(Potential::Any(ObjectKind::Attributes, Mode::Write));
                    effect.potential.push(Potential::Any(ObjectKind::Metadata, Mode::Update));
                }
                Ok(effect)
            }
            Call::SetTimes { target, times } => {
                let (inode, mut footprint) = self.target(process, target);
                if let Some(inode) = inode {
                    footprint.push(access(inode.object(ObjectKind::Metadata), Mode::Write));
                    self.set_times(thread, inode, *times);
                }
                let mut effect = Effect::answer(footprint, Answer::Continue);
                if matches!(target, Target::Path(..)) {
                    effect.potential.push(Potential::Any(ObjectKind::Metadata, Mode::Write));
                }
                Ok(effect)
            }
            Call::Lock { fd, kind, request, wait, start, length } => {
                let file = file(self, *fd);
                let range = Range::new(*start, *length);
                let mut effect = self.lock(process, &file, *kind, *request, range)?;
                if !wait {
                    // An attempt can come at any time, and then have another result.
                    let object = lock_object(file.inode, *kind == LockKind::Flock);
                    for access in effect.footprint.iter_mut().filter(|access| access.object == object) {
                        if matches!(access.mode, Mode::Acquire | Mode::AcquireShared) {
                            access.mode = Mode::Write;
                        }
                    }
                    effect.potential.push(Potential::Certain(access(object, Mode::Write)));
                }
                Ok(effect)
            }
            Call::Map { .. } => {
                self.note_escape("a file of the state directory is mapped into memory");
                Ok(Effect::answer(Footprint::new(), Answer::Continue))
            }
            Call::ChangeDirectory { target } => {
                let (inode, footprint) = self.target(process, target);
                self.processes[process].directory = inode;
                Ok(Effect::answer(footprint, Answer::Continue))
            }
            Call::Other { number, .. } => {
                self.note_other(*number);
                Ok(Effect::answer(Footprint::new(), Answer::Continue))
            }
            other => Err(ArenaError::Confused(format!("{other:?} was taken for a call on a file"))),
        }
    }

    /// What a target leads to, and what was read on the way.
    fn target(&self, process: usize, target: &Target) -> (Option<Inode>, Footprint) {
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
    pub(super) fn target_inode(&self, process: usize, target: &Target) -> Option<Inode> {
        self.target(process, target).0
    }

    /// The footprint of a call that asks what a path leads to.
    pub(super) fn reads_path(
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

    /// The footprint of a change of an inode's bytes in one step.
    fn changes_content(&mut self, thread: usize, inode: Inode) -> Footprint {
        self.touch(thread, inode);
        smallvec![
            access(inode.object(ObjectKind::WriteGate), Mode::Acquire),
            access(inode.object(ObjectKind::WriteGate), Mode::Release),
            access(inode.object(ObjectKind::Content), Mode::Write),
            access(inode.object(ObjectKind::Metadata), Mode::Write),
        ]
    }

    /// The footprint of a change of names in a directory.
    fn changes_entry(footprint: &mut Footprint, place: &Place, existed: bool, exists: bool) {
        footprint.push(access(place.entry(), Mode::Write));
        if existed != exists {
            footprint.push(access(place.directory.object(ObjectKind::Listing), Mode::Update));
        }
        footprint.push(access(place.directory.object(ObjectKind::Metadata), Mode::Update));
    }

    fn open(&mut self, thread: usize, at: &At, flags: i32, mode: u32) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let follow = flags & libc::O_NOFOLLOW == 0
            && flags & (libc::O_CREAT | libc::O_EXCL) != libc::O_CREAT | libc::O_EXCL;
        let mut footprint = Footprint::new();
        let destination = self.resolve(process, at, follow, &mut footprint);
        let path = self.own_path(process, at);
        let umask = self.processes[process].umask;
        if flags & libc::O_TMPFILE == libc::O_TMPFILE {
            self.note_escape("a file without a name was opened in the state directory (O_TMPFILE)");
            return Ok(Effect::answer(footprint, Answer::Continue));
        }
        // SAFETY: the path ends in a zero byte and outlives the call.
        let fd =
            unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, libc::c_uint::from(mode & !umask)) };
        let opened = returned(fd);
        if let Err(errno @ (libc::EMFILE | libc::ENFILE)) = opened {
            // Whether the client's own table is full shows when it is handed the descriptor.
            let source = io::Error::from_raw_os_error(errno);
            return Err(ArenaError::environment("opening a file for a client")(source));
        }
        let creates = flags & libc::O_CREAT != 0;
        let truncates = flags & libc::O_TRUNC != 0 && flags & libc::O_ACCMODE != libc::O_RDONLY;
        let mut potential: SmallVec<[Potential; 4]> =
            smallvec![Potential::Any(ObjectKind::Attributes, Mode::Read)];
        let (place, found) = match destination {
            Destination::Place(place) => {
                let found = place.inode;
                (Some(place), found)
            }
            Destination::Directory(inode) => (None, Some(inode)),
            Destination::Elsewhere => {
                if let Ok(fd) = opened {
                    // SAFETY: just opened, and nobody else's.
                    drop(unsafe { File::from_raw_fd(fd as i32) });
                }
                self.note_escape("a symbolic link leads out of the state directory");
                return Ok(Effect::answer(footprint, Answer::Continue));
            }
            Destination::Nowhere(errno) => {
                self.agree("open", Err(errno), opened)?;
                return Ok(Effect::answer(footprint, Answer::Errno(errno)));
            }
        };
        if creates && let Some(place) = &place {
            let listing = place.directory.object(ObjectKind::Listing);
            potential.push(Potential::Certain(access(place.entry(), Mode::Write)));
            potential.push(Potential::Certain(access(listing, Mode::Update)));
        }
        if truncates {
            potential.push(Potential::Any(ObjectKind::Content, Mode::Write));
            potential.push(Potential::Any(ObjectKind::Metadata, Mode::Write));
            potential.push(Potential::Any(ObjectKind::WriteGate, Mode::Acquire));
        }
        let Ok(fd) = opened else {
            if let Some(place) = &place {
                self.leaves_entry(&mut footprint, place);
                let errno = opened.expect_err("it was not opened");
                if errno == libc::ENOENT && found.is_some() || errno == libc::EEXIST && found.is_none() {
                    self.agree("open", Ok(0), opened)?;
                }
            }
            return Ok(Effect { potential, ..Effect::answer(footprint, answer(opened)) });
        };
        // SAFETY: just opened, and nobody else's.
        let file = unsafe { File::from_raw_fd(fd as i32) };
        let inode = match (found, &place) {
            (Some(inode), place) => {
                if let Some(place) = place {
                    footprint.push(access(place.entry(), Mode::Read));
                }
                footprint.push(access(inode.object(ObjectKind::Attributes), Mode::Read));
                if truncates {
                    footprint.extend(self.changes_content(thread, inode));
                    self.cut(inode);
                }
                inode
            }
            (None, Some(place)) => {
                if !creates {
                    self.agree("open", Err(libc::ENOENT), opened)?;
                }
                let inode = self.new_inode(thread);
                self.tree.make(inode, Kind::File);
                self.tree.put(place.directory, &place.name, inode);
                Self::changes_entry(&mut footprint, place, false, true);
                self.touch(thread, inode);
                inode
            }
            (None, None) => return Err(ArenaError::Confused("a path led to nothing".to_owned())),
        };
        self.files += 1;
        let key = digest(&("offset", self.threads[thread].id.0, self.threads[thread].steps));
        let file = Rc::new(OpenFile {
            number: self.files,
            inode,
            file,
            flags,
            name: String::from_utf8_lossy(at.path.rsplit(|byte| *byte == b'/').next().unwrap_or(b""))
                .into_owned(),
            key,
        });
        let close_on_exec = flags & libc::O_CLOEXEC != 0;
        Ok(Effect {
            footprint,
            potential,
            ending: Ending::Descriptor { file, close_on_exec, at: None },
            yields: false,
        })
    }

    /// Whether closing these descriptors gives a lock back.
    pub(super) fn gives_back(&self, process: usize, fds: &[i32]) -> bool {
        let open = |fd: &i32| self.processes[process].descriptors.get(*fd);
        !self.locks.is_empty()
            && fds.iter().filter_map(open).any(|file| {
                let owners = [Owner::Process(process as u32), Owner::OpenFile(file.number)];
                self.locks.any_of(file.inode, owners)
            })
    }

    /// Forgets descriptors that the client closes, and the locks that go with them.
    pub(super) fn close(&mut self, process: usize, fds: &[i32]) -> Effect {
        let mut footprint = Footprint::new();
        for &fd in fds {
            if let Some(file) = self.processes[process].descriptors.remove(fd) {
                self.forget(process, file, &mut footprint);
            }
        }
        Effect::answer(footprint, Answer::Continue)
    }

    /// One descriptor less: what it held is free.
    pub(super) fn forget(&mut self, process: usize, file: Rc<OpenFile>, footprint: &mut Footprint) {
        let mut dropped = Vec::new();
        if !self.locks.is_empty() {
            // Any close drops what the process holds on the file: POSIX, and a trap to many.
            dropped = self.locks.drop_of(Owner::Process(process as u32), Some(file.inode));
        }
        let (number, inode) = (file.number, file.inode);
        if let Some(file) = Rc::into_inner(file) {
            drop(file);
            dropped.extend(self.locks.drop_of(Owner::OpenFile(number), Some(inode)));
        }
        for (inode, flock, exclusive) in dropped {
            let mode = if exclusive { Mode::Release } else { Mode::ReleaseShared };
            footprint.push(access(lock_object(inode, flock), mode));
        }
    }

    fn read(
        &mut self,
        process: usize,
        file: &OpenFile,
        into: &[Span],
        offset: Option<u64>,
        half: Option<Half>,
    ) -> Result<Effect, ArenaError> {
        let fd = file.file.as_raw_fd();
        let mut footprint: Footprint = smallvec![access(file.inode.object(ObjectKind::Content), Mode::Read)];
        let content = |at: u64, length: usize| -> Result<Vec<u8>, i32> {
            let mut bytes: Vec<u8> = Vec::with_capacity(length);
            // SAFETY: the buffer has room for as many bytes as are asked for.
            let read = unsafe { libc::pread(fd, bytes.as_mut_ptr().cast(), length, at as i64) };
            let read = returned(read as i64)? as usize;
            // SAFETY: the kernel has just filled them.
            unsafe { bytes.set_len(read) };
            Ok(bytes)
        };
        let (position, bytes) = match half {
            None => {
                let wanted = into.iter().map(|span| span.length).sum::<usize>().min(LARGEST);
                let position = match offset {
                    Some(offset) => offset,
                    // SAFETY: takes plain numbers.
                    None => match returned(unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }) {
                        Ok(at) => at as u64,
                        Err(errno) => return Ok(Effect::answer(footprint, Answer::Errno(errno))),
                    },
                };
                let whole = match content(position, wanted) {
                    Ok(whole) => whole,
                    Err(errno) => return Ok(Effect::answer(footprint, Answer::Errno(errno))),
                };
                if let Some(done) = split_of_read(position, whole.len()) {
                    if offset.is_none() {
                        footprint.push(access(offset_of(file), Mode::Acquire));
                    }
                    let half = Half::Read { position, whole, done, cuts: self.cuts(file.inode) };
                    return Ok(Effect {
                        footprint,
                        potential: SmallVec::new(),
                        ending: Ending::More(half),
                        yields: false,
                    });
                }
                if offset.is_none() {
                    footprint.push(access(offset_of(file), Mode::Acquire));
                }
                (position, whole)
            }
            Some(Half::Read { position, mut whole, done, cuts }) => {
                let one_page = position / PAGE == (position + whole.len() as u64 - 1) / PAGE;
                if !one_page || cuts == self.cuts(file.inode) {
                    let rest = content(position + done as u64, whole.len() - done);
                    whole.truncate(done);
                    whole.extend_from_slice(&rest.unwrap_or_default());
                }
                (position, whole)
            }
            Some(Half::Write { .. }) => return Err(ArenaError::Confused("half a write was read".to_owned())),
        };
        let mut rest = &bytes[..];
        for span in into {
            let here = rest.len().min(span.length);
            if self.processes[process].memory.write(span.address, &rest[..here]).is_err() {
                return Ok(Effect::answer(footprint, Answer::Errno(libc::EFAULT)));
            }
            rest = &rest[here..];
            if rest.is_empty() {
                break;
            }
        }
        if offset.is_none() {
            if !bytes.is_empty() {
                // SAFETY: takes plain numbers.
                unsafe { libc::lseek(fd, position as i64 + bytes.len() as i64, libc::SEEK_SET) };
            }
            footprint.push(access(offset_of(file), Mode::Release));
        }
        Ok(Effect::answer(footprint, Answer::Value(bytes.len() as i64)))
    }

    fn write(
        &mut self,
        thread: usize,
        file: &OpenFile,
        from: &[Span],
        offset: Option<u64>,
        half: Option<Half>,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let fd = file.file.as_raw_fd();
        let inode = file.inode;
        let gate = inode.object(ObjectKind::WriteGate);
        self.touch(thread, inode);
        let mut footprint: Footprint = smallvec![
            access(inode.object(ObjectKind::Content), Mode::Write),
            access(inode.object(ObjectKind::Metadata), Mode::Write),
        ];
        let put = |bytes: &[u8], at: u64| {
            // SAFETY: the buffer is as long as is said.
            returned(unsafe { libc::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), at as i64) } as i64)
        };
        let (position, returned) = match half {
            None => {
                let wanted = from.iter().map(|span| span.length).sum::<usize>().min(LARGEST);
                let mut whole = vec![0; wanted];
                let mut filled = 0;
                for span in from {
                    let here = span.length.min(wanted - filled);
                    let into = &mut whole[filled..filled + here];
                    if self.processes[process].memory.read(span.address, into).is_err() {
                        return Ok(Effect::answer(Footprint::new(), Answer::Errno(libc::EFAULT)));
                    }
                    filled += here;
                }
                let size = file.file.metadata().map_or(0, |metadata| metadata.len());
                let position = match offset {
                    _ if file.appends() => size,
                    Some(offset) => offset,
                    // SAFETY: takes plain numbers.
                    None => unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }.max(0) as u64,
                };
                footprint.push(access(gate, Mode::Acquire));
                if offset.is_none() {
                    footprint.push(access(offset_of(file), Mode::Acquire));
                }
                if let Some(done) = split_of_write(position, whole.len(), size) {
                    match put(&whole[..done], position) {
                        Ok(written) if written == done as i64 => {
                            self.gates.push((inode, thread));
                            let half = Half::Write { position, whole, done };
                            return Ok(Effect {
                                footprint,
                                potential: SmallVec::new(),
                                ending: Ending::More(half),
                                yields: false,
                            });
                        }
                        short => (position, short),
                    }
                } else {
                    (position, put(&whole, position))
                }
            }
            Some(Half::Write { position, whole, done }) => {
                self.gates.retain(|(_, holder)| *holder != thread);
                // What the first part wrote stays written, whatever becomes of the second.
                let rest = put(&whole[done..], position + done as u64).unwrap_or(0);
                (position, Ok(done as i64 + rest))
            }
            Some(Half::Read { .. }) => {
                return Err(ArenaError::Confused("half a read was written".to_owned()));
            }
        };
        footprint.push(access(gate, Mode::Release));
        if offset.is_none() {
            if let Ok(written) = returned {
                // SAFETY: takes plain numbers.
                unsafe { libc::lseek(fd, position as i64 + written, libc::SEEK_SET) };
            }
            footprint.push(access(offset_of(file), Mode::Release));
        }
        Ok(Effect::answer(footprint, answer(returned)))
    }

    fn truncate(&mut self, thread: usize, target: &Target, length: i64) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let (inode, mut footprint) = self.target(process, target);
        let done = match target {
            Target::Fd(fd) => {
                let file = self.processes[process].descriptors.get(*fd).map(|file| file.file.as_raw_fd());
                // SAFETY: takes plain numbers.
                returned(unsafe { libc::ftruncate(file.unwrap_or(-1), length) })
            }
            Target::Path(at, _) => {
                let path = self.own_path(process, at);
                // SAFETY: the path ends in a zero byte and outlives the call.
                returned(unsafe { libc::truncate(path.as_ptr(), length) })
            }
        };
        if let (Some(inode), Ok(_)) = (inode, done) {
            footprint.extend(self.changes_content(thread, inode));
            self.cut(inode);
        }
        let mut effect = Effect::answer(footprint, answer(done));
        if matches!(target, Target::Path(..)) {
            effect.potential = smallvec![
                Potential::Any(ObjectKind::Content, Mode::Write),
                Potential::Any(ObjectKind::Metadata, Mode::Write),
                Potential::Any(ObjectKind::WriteGate, Mode::Acquire),
            ];
        }
        Ok(effect)
    }

    fn stat(
        &mut self,
        process: usize,
        target: &Target,
        form: StatForm,
        buffer: u64,
    ) -> Result<Effect, ArenaError> {
        let (inode, mut footprint) = self.target(process, target);
        let (fd, path, flags) = match target {
            Target::Fd(fd) => {
                let file = self.processes[process].descriptors.get(*fd);
                (file.map_or(-1, |file| file.file.as_raw_fd()), CString::default(), libc::AT_EMPTY_PATH)
            }
            Target::Path(at, follow) => {
                let flags = if *follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
                (libc::AT_FDCWD, self.own_path(process, at), flags)
            }
        };
        if let Some(inode) = inode {
            footprint.push(access(inode.object(ObjectKind::Metadata), Mode::Read));
            footprint.push(access(inode.object(ObjectKind::Attributes), Mode::Read));
        }
        let stamp = inode.map_or(0, |inode| self.stamp(inode));
        let (seconds, nanoseconds) = ((stamp / 1_000_000_000) as i64, (stamp % 1_000_000_000) as u32);
        let (result, bytes) = match form {
            StatForm::Stat => {
                // SAFETY: zero is a value of every field.
                let mut stat: libc::stat = unsafe { std::mem::zeroed() };
                // SAFETY: the path ends in a zero byte; the structure is the one that the call fills.
                let done = returned(unsafe { libc::fstatat(fd, path.as_ptr(), &raw mut stat, flags) });
                (stat.st_mtime, stat.st_ctime, stat.st_atime) = (seconds, seconds, seconds);
                (stat.st_mtime_nsec, stat.st_ctime_nsec, stat.st_atime_nsec) =
                    (nanoseconds.into(), nanoseconds.into(), nanoseconds.into());
                (done, bytes_of(&stat))
            }
            StatForm::Statx(mask) => {
                // SAFETY: zero is a value of every field.
                let mut stat: libc::statx = unsafe { std::mem::zeroed() };
                // SAFETY: the path ends in a zero byte; the structure is the one that the call fills.
                let done = returned(unsafe { libc::statx(fd, path.as_ptr(), flags, mask, &raw mut stat) });
                for time in
                    [&mut stat.stx_mtime, &mut stat.stx_ctime, &mut stat.stx_atime, &mut stat.stx_btime]
                {
                    (time.tv_sec, time.tv_nsec) = (seconds, nanoseconds);
                }
                (done, bytes_of(&stat))
            }
        };
        let result = result.and_then(|value| {
            self.processes[process].memory.write(buffer, &bytes).map(|()| value).map_err(|_| libc::EFAULT)
        });
        let mut effect = Effect::answer(footprint, answer(result));
        if matches!(target, Target::Path(..)) {
            effect.potential = smallvec![
                Potential::Any(ObjectKind::Metadata, Mode::Read),
                Potential::Any(ObjectKind::Attributes, Mode::Read),
            ];
        }
        Ok(effect)
    }

    fn rename(&mut self, thread: usize, from: &At, to: &At, flags: u32) -> Result<Effect, ArenaError> {
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
                let inode = self.new_inode(thread);
                self.tree.make(inode, Kind::File);
                self.tree.put(target.directory, &target.name, inode);
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

    fn link(&mut self, process: usize, from: &At, to: &At, flags: i32) -> Result<Effect, ArenaError> {
        let mut footprint = Footprint::new();
        let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
        let source = self.resolve(process, from, follow, &mut footprint);
        let target = self.resolve(process, to, false, &mut footprint);
        let (old, new) = (self.own_path(process, from), self.own_path(process, to));
        let at = libc::AT_FDCWD;
        // SAFETY: both paths end in a zero byte and outlive the call.
        let done = returned(unsafe { libc::linkat(at, old.as_ptr(), at, new.as_ptr(), flags) });
        let mut potential: SmallVec<[Potential; 4]> =
            smallvec![Potential::Any(ObjectKind::Metadata, Mode::Update)];
        if let Destination::Place(source) = &source {
            footprint.push(access(source.entry(), Mode::Read));
        }
        if let Destination::Place(target) = &target {
            potential.push(Potential::Certain(access(target.entry(), Mode::Write)));
            let listing = target.directory.object(ObjectKind::Listing);
            potential.push(Potential::Certain(access(listing, Mode::Update)));
            let inode = match &source {
                Destination::Place(source) => source.inode,
                _ => None,
            };
            match (done, inode) {
                (Ok(_), Some(inode)) => {
                    if target.inode.is_some() {
                        self.agree("link", Err(libc::EEXIST), done)?;
                    }
                    Self::changes_entry(&mut footprint, target, false, true);
                    footprint.push(access(inode.object(ObjectKind::Metadata), Mode::Update));
                    self.tree.put(target.directory, &target.name, inode);
                }
                (Ok(_), None) => {
                    self.note_escape("a file from elsewhere was linked into the state directory");
                }
                (Err(_), _) => self.leaves_entry(&mut footprint, target),
            }
        }
        Ok(Effect { potential, ..Effect::answer(footprint, answer(done)) })
    }

    fn unlink(&mut self, process: usize, at: &At, directory: bool) -> Result<Effect, ArenaError> {
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

    fn make(
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
                    self.agree("mkdir or symlink", Err(libc::EEXIST), done)?;
                }
                let inode = self.new_inode(thread);
                self.tree.make(inode, kind);
                self.tree.put(place.directory, &place.name, inode);
                Self::changes_entry(&mut footprint, place, false, true);
                self.touch(thread, inode);
            } else {
                self.leaves_entry(&mut footprint, place);
            }
        }
        Ok(Effect { potential, ..Effect::answer(footprint, answer(done)) })
    }

    /// Who owns what a lock call on this file takes.
    pub(super) fn owner(process: usize, file: &OpenFile, kind: LockKind) -> Owner {
        match kind {
            LockKind::Posix => Owner::Process(process as u32),
            LockKind::Flock | LockKind::OpenFile => Owner::OpenFile(file.number),
        }
    }

    fn lock(
        &mut self,
        process: usize,
        file: &OpenFile,
        kind: LockKind,
        request: LockRequest,
        range: Range,
    ) -> Result<Effect, ArenaError> {
        let owner = Self::owner(process, file, kind);
        let object = lock_object(file.inode, kind == LockKind::Flock);
        let held = self.locks.holds(file.inode, kind, owner, range);
        let release = match held {
            Some(true) => Some(Mode::Release),
            Some(false) => Some(Mode::ReleaseShared),
            None => None,
        };
        let mut footprint = Footprint::new();
        if request == LockRequest::Query {
            footprint.push(access(object, Mode::Read));
            return Ok(Effect::answer(footprint, Answer::Continue));
        }
        if !self.locks.is_free(file.inode, kind, owner, request, range) {
            // Only an attempt that does not wait gets here. A failed conversion of an flock loses
            // the old lock, says the manual; Linux keeps it as long as it does not wait.
            footprint.push(access(object, Mode::Read));
            let errno = libc::EAGAIN;
            if kind != LockKind::Posix {
                self.ask_kernel(file, kind, request, range, Err(errno))?;
            }
            return Ok(Effect::answer(footprint, Answer::Errno(errno)));
        }
        match request {
            LockRequest::Unlock => footprint.extend(release.map(|mode| access(object, mode))),
            LockRequest::Exclusive | LockRequest::Shared => {
                // A lock that is changed is given back and taken anew.
                footprint.extend(release.map(|mode| access(object, mode)));
                let mode = match request {
                    LockRequest::Exclusive => Mode::Acquire,
                    _ => Mode::AcquireShared,
                };
                footprint.push(access(object, mode));
            }
            LockRequest::Query => {}
        }
        self.locks.grant(file.inode, kind, owner, request, range);
        let answer = if kind == LockKind::Posix {
            // The lock is to be the client's own, so the client takes it; it need not wait.
            Answer::Continue
        } else {
            self.ask_kernel(file, kind, request, range, Ok(0))?;
            Answer::Value(0)
        };
        Ok(Effect::answer(footprint, answer))
    }

    /// Has the kernel lock or unlock an open file without waiting, and compares what it says.
    fn ask_kernel(
        &self,
        file: &OpenFile,
        kind: LockKind,
        request: LockRequest,
        range: Range,
        expected: Returned,
    ) -> Result<(), ArenaError> {
        let fd = file.file.as_raw_fd();
        let done = if kind == LockKind::Flock {
            let operation = match request {
                LockRequest::Exclusive => libc::LOCK_EX,
                LockRequest::Shared => libc::LOCK_SH,
                _ => libc::LOCK_UN,
            };
            // SAFETY: takes plain numbers.
            returned(unsafe { libc::flock(fd, operation | libc::LOCK_NB) })
        } else {
            // SAFETY: zero is a value of every field.
            let mut lock: libc::flock = unsafe { std::mem::zeroed() };
            lock.l_type = match request {
                LockRequest::Exclusive => libc::F_WRLCK,
                LockRequest::Shared => libc::F_RDLCK,
                _ => libc::F_UNLCK,
            } as i16;
            (lock.l_start, lock.l_len) = range.start_and_length();
            // SAFETY: the structure is the one that the call reads.
            returned(unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &raw const lock) })
        };
        self.agree("lock", expected, done)
    }

    /// Compares what the kernel says with what it should say.
    fn agree(&self, call: &str, expected: Returned, answered: Returned) -> Result<(), ArenaError> {
        if expected.is_ok() == answered.is_ok() && expected.err() == answered.err() {
            return Ok(());
        }
        let text = |returned: Returned| match returned {
            Ok(_) => "success".to_owned(),
            Err(errno) => io::Error::from_raw_os_error(errno).to_string(),
        };
        Err(ArenaError::Mismatch(super::tree::Mismatch {
            call: call.to_owned(),
            expected: text(expected),
            answered: text(answered),
        }))
    }

    /// Answers a client with a descriptor, and notes which.
    pub(super) fn hand_over(
        &mut self,
        process: usize,
        id: u64,
        file: Rc<OpenFile>,
        close_on_exec: bool,
        at: Option<i32>,
    ) -> Result<Returned, ArenaError> {
        let listener = &self.processes[process].listener;
        let at = at.map(|at| at as u32);
        match listener.answer_with_fd(id, file.file.as_fd(), close_on_exec, at) {
            Ok(fd) => {
                self.processes[process].descriptors.insert(fd, file);
                Ok(Ok(fd.into()))
            }
            // The client's table is full: that is what its call returns.
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                let answered = listener.answer(id, Answer::Errno(libc::EMFILE));
                answered.map_err(|error| self.unanswered(process, error))?;
                Ok(Err(libc::EMFILE))
            }
            Err(error) => Err(self.unanswered(process, error)),
        }
    }
}

fn offset_of(file: &OpenFile) -> Object {
    Object { kind: ObjectKind::Offset, key: file.key }
}

/// The lock of an inode: `flock` and `fcntl` know nothing of each other.
pub(super) fn lock_object(inode: Inode, flock: bool) -> Object {
    Object { kind: ObjectKind::Lock, key: digest(&(inode.0, flock)) }
}

/// Where a range is divided that goes over a page boundary: the one nearest to its middle.
fn page_boundary(position: u64, length: usize) -> Option<usize> {
    let first = (position / PAGE + 1) * PAGE - position;
    if first >= length as u64 {
        return None;
    }
    let middle = (length as u64 / 2).saturating_sub(first).saturating_add(PAGE / 2) / PAGE * PAGE + first;
    Some(if middle < length as u64 { middle as usize } else { first as usize })
}

/// After how many bytes a read that finds this many is divided.
fn split_of_read(position: u64, found: usize) -> Option<usize> {
    page_boundary(position, found).or((found >= 2).then_some(found / 2))
}

/// After how many bytes a write is divided: at a page boundary, or in the middle of what it
/// overwrites.
fn split_of_write(position: u64, length: usize, size: u64) -> Option<usize> {
    let overwritten = size.saturating_sub(position).min(length as u64) as usize;
    page_boundary(position, length).or((overwritten >= 2).then_some(overwritten / 2))
}

fn bytes_of<T>(value: &T) -> Vec<u8> {
    // SAFETY: the kernel filled the structure, which was zero before, padding included.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_over_several_pages_is_divided_at_the_boundary_nearest_to_its_middle() {
        assert_eq!(page_boundary(0, 4096), None);
        assert_eq!(page_boundary(0, 4097), Some(4096));
        assert_eq!(page_boundary(0, 16384), Some(8192));
        assert_eq!(page_boundary(4000, 200), Some(96));
        assert_eq!(page_boundary(100, 8192), Some(3996));
    }

    #[test]
    fn a_write_is_divided_where_it_overwrites_and_not_where_it_extends() {
        assert_eq!(split_of_write(0, 400, 0), None);
        assert_eq!(split_of_write(0, 400, 300), Some(150));
        assert_eq!(split_of_write(0, 400, 900), Some(200));
        assert_eq!(split_of_write(300, 400, 300), None);
        assert_eq!(split_of_write(0, 8192, 0), Some(4096));
        assert_eq!(split_of_write(0, 1, 300), None);
    }

    #[test]
    fn a_read_is_divided_in_its_middle() {
        assert_eq!(split_of_read(0, 400), Some(200));
        assert_eq!(split_of_read(0, 1), None);
        assert_eq!(split_of_read(0, 0), None);
        assert_eq!(split_of_read(0, 8192), Some(4096));
    }
}
