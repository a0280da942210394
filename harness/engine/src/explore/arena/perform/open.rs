//! Files that are opened and closed: the open descriptions, and the client's numbers for them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, FromRawFd};
use std::rc::Rc;

use smallvec::{SmallVec, smallvec};

use super::advisory::lock_object;
use super::{Effect, Ending, Returned, access, answer, returned};
use crate::explore::access::{Footprint, Mode, ObjectKind, Potential};
use crate::explore::arena::descriptors::OpenFile;
use crate::explore::arena::locks::Owner;
use crate::explore::arena::repertoire::Reply;
use crate::explore::arena::tree::{Destination, Kind, Place, digest};
use crate::explore::arena::{Arena, ArenaError};
use crate::explore::gate::{Answer, At, Notification};
use crate::explore::open_files::exhausted;

impl Arena<'_> {
    pub(super) fn open(
        &mut self,
        thread: usize,
        at: &At,
        flags: i32,
        mode: u32,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let follow = flags & libc::O_NOFOLLOW == 0
            && flags & (libc::O_CREAT | libc::O_EXCL) != libc::O_CREAT | libc::O_EXCL;
        let mut footprint = Footprint::new();
        let destination = self.resolve(process, at, follow, &mut footprint);
        let path = self.own_path(process, at);
        let umask = self.processes[process].umask;
        let nameless = flags & libc::O_TMPFILE == libc::O_TMPFILE;
        let special =
            |place: &Place| place.inode.is_some_and(|inode| self.tree.kind(inode) == Some(&Kind::Special));
        if matches!(&destination, Destination::Place(place) if special(place)) {
            // To open a pipe may be to wait; it was told of when it came here.
            return Ok(Effect::answer(footprint, Answer::Errno(libc::ENXIO)));
        }
        // SAFETY: the path ends in a zero byte and outlives the call.
        let fd =
            unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, libc::c_uint::from(mode & !umask)) };
        let opened = returned(fd);
        if let Err(errno @ (libc::EMFILE | libc::ENFILE)) = opened {
            // Whether the client's own table is full shows when it is handed the descriptor.
            let source = io::Error::from_raw_os_error(errno);
            return Err(ArenaError::environment(exhausted())(source));
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
            (Some(directory), place) if nameless => {
                if let Some(place) = place {
                    footprint.push(access(place.entry(), Mode::Read));
                }
                footprint.push(access(directory.object(ObjectKind::Attributes), Mode::Read));
                // Nobody else can see it before it has a name.
                let inode = self.new_inode(thread);
                self.tree.make(inode, Kind::File);
                self.touch(inode);
                inode
            }
            (Some(inode), place) => {
                if let Some(place) = place {
                    footprint.push(access(place.entry(), Mode::Read));
                }
                footprint.push(access(inode.object(ObjectKind::Attributes), Mode::Read));
                if truncates {
                    footprint.extend(self.changes_content(inode));
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
                self.touch(inode);
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
            name: if nameless {
                "a file without a name".to_owned()
            } else {
                String::from_utf8_lossy(at.path.rsplit(|byte| *byte == b'/').next().unwrap_or(b""))
                    .into_owned()
            },
            key,
            socket: None,
        });
        let close_on_exec = flags & libc::O_CLOEXEC != 0;
        Ok(Effect {
            footprint,
            potential,
            ending: Ending::Descriptor { file, close_on_exec, at: None },
            yields: false,
        })
    }

    /// One more number for an open file: the lowest that is free, that one, or one that is not less.
    pub(super) fn duplicate(
        &mut self,
        process: usize,
        fd: i32,
        to: Option<i32>,
        not_below: i32,
        close_on_exec: bool,
    ) -> Result<Effect, ArenaError> {
        let mut footprint = Footprint::new();
        let Some(file) = self.processes[process].descriptors.get(fd).map(Rc::clone) else {
            // Something else takes the place of a file, unless it is nothing.
            let open = std::fs::symlink_metadata(format!("/proc/{}/fd/{fd}", self.processes[process].pid()));
            if let (Ok(_), Some(to)) = (open, to) {
                footprint = self.close(process, &[to]).footprint;
            }
            return Ok(Effect::answer(footprint, Answer::Continue));
        };
        if let Some(to) = to.filter(|to| *to != fd) {
            footprint = self.close(process, &[to]).footprint;
        }
        if to == Some(fd) {
            return Ok(Effect::answer(footprint, Answer::Continue));
        }
        let at = if not_below > 0 { Some(self.processes[process].free_descriptor(not_below)) } else { to };
        let ending = Ending::Descriptor { file, close_on_exec, at };
        Ok(Effect { footprint, potential: SmallVec::new(), ending, yields: false })
    }

    /// Whether closing these descriptors gives a lock back, or lets somebody know who talks with it.
    pub(in crate::explore::arena) fn gives_back(&self, process: usize, fds: &[i32]) -> bool {
        let open = |fd: &i32| self.processes[process].descriptors.get(*fd);
        fds.iter().filter_map(open).any(|file| {
            let owners = [Owner::Process(process as u32), Owner::OpenFile(file.number)];
            file.socket.is_some() || !self.locks.is_empty() && self.locks.any_of(file.inode, owners)
        })
    }

    /// Forgets descriptors that the client closes, and the locks that go with them.
    pub(in crate::explore::arena) fn close(&mut self, process: usize, fds: &[i32]) -> Effect {
        let mut footprint = Footprint::new();
        for &fd in fds {
            self.processes[process].at_hand.forget(|kept| kept == fd);
            if let Some(file) = self.processes[process].descriptors.remove(fd) {
                self.forget(process, file, &mut footprint);
            }
        }
        Effect::answer(footprint, Answer::Continue)
    }

    /// One descriptor less: what it held is free.
    pub(in crate::explore::arena) fn forget(
        &mut self,
        process: usize,
        file: Rc<OpenFile>,
        footprint: &mut Footprint,
    ) {
        let mut dropped = Vec::new();
        if !self.locks.is_empty() {
            // Any close drops what the process holds on the file: POSIX, and a trap to many.
            dropped = self.locks.drop_of(Owner::Process(process as u32), Some(file.inode));
        }
        let (number, inode) = (file.number, file.inode);
        if let Some(file) = Rc::into_inner(file) {
            let socket = file.socket;
            drop(file);
            if let Some(socket) = socket {
                self.wires.close(socket, footprint);
            }
            dropped.extend(self.locks.drop_of(Owner::OpenFile(number), Some(inode)));
        }
        for (inode, flock, exclusive) in dropped {
            let mode = if exclusive { Mode::Release } else { Mode::ReleaseShared };
            footprint.push(access(lock_object(inode, flock), mode));
        }
    }

    /// Answers a client with a descriptor, and notes which.
    pub(in crate::explore::arena) fn hand_over(
        &mut self,
        index: usize,
        notification: &Notification,
        file: Rc<OpenFile>,
        close_on_exec: bool,
        at: Option<i32>,
    ) -> Result<Returned, ArenaError> {
        let process = self.threads[index].process;
        let Some(Notification { id, .. }) = self.whom_to_answer(index, notification, Reply::Descriptor)?
        else {
            let given = self.take_descriptor(process, file.number);
            let fd = given.ok_or_else(|| ArenaError::Confused("an open file has no number".to_owned()))?;
            self.processes[process].descriptors.insert(fd, file);
            return Ok(Ok(fd.into()));
        };
        self.set_dial(index);
        let listener = &self.processes[process].listener;
        let at = at.map(|at| at as u32);
        match listener.answer_with_fd(id, file.file.as_fd(), close_on_exec, at) {
            Ok(fd) => {
                self.processes[process].at_hand.forget(|kept| kept == fd);
                self.processes[process].descriptors.insert(fd, file);
                self.watch_descriptor(process, fd);
                Ok(Ok(fd.into()))
            }
            // The client's table is full: that is what its call returns.
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                let answered = listener.answer(id, Answer::Errno(libc::EMFILE));
                self.look_away(process);
                answered.map_err(|error| self.unanswered(process, error))?;
                Ok(Err(libc::EMFILE))
            }
            Err(error) => Err(self.unanswered(process, error)),
        }
    }
}
