//! What each call does, one step at a time: the supervisor does it in the client's place and notes
//! what it touched.
//!
//! Not covered: locks of the kernel that nobody can observe.

mod advisory;
mod list;
mod message;
mod names;
mod open;
mod path;
mod socket;
mod status;
mod transfer;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::rc::Rc;

use smallvec::SmallVec;

use super::descriptors::OpenFile;
use super::locks::Range;
use super::tree::{Inode, Kind};
use super::{Arena, ArenaError};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::gate::{Answer, Call};

pub(super) use advisory::lock_object;
pub(super) use socket::Unconfirmed;
pub(super) use status::status_of_made_up_file;

const PAGE: u64 = 4096;

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

impl Half {
    /// Whether somebody who is killed now ends here. The kernel looks for signals that kill before each
    /// page that it writes, and finishes the page. Of a read nobody sees anything.
    pub const fn can_be_the_end(&self) -> bool {
        match self {
            Self::Read { .. } => true,
            Self::Write { position, done, .. } => (*position + *done as u64).is_multiple_of(PAGE),
        }
    }
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
    /// It is not answered yet.
    Waits,
    /// Who made the call is gone.
    Gone,
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
    /// Takes one step of a call that concerns the state directory.
    pub(in crate::explore::arena) fn perform(
        &mut self,
        thread: usize,
        call: &Call,
        half: Option<Half>,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        match call {
            Call::Open { at, flags, mode } => self.open(thread, at, *flags, *mode),
            Call::Close { fd } => Ok(self.close(process, &[*fd])),
            Call::CloseRange { first, last, .. } => {
                let fds = self.processes[process].descriptors.between(*first, *last);
                Ok(self.close(process, &fds))
            }
            Call::Duplicate { fd, to, not_below, close_on_exec } => {
                self.duplicate(process, *fd, *to, *not_below, *close_on_exec)
            }
            Call::Read { fd, into, offset } => {
                let file = self.open_file(process, *fd);
                self.read(process, &file, into, *offset, half)
            }
            Call::Write { fd, from, offset } => {
                let file = self.open_file(process, *fd);
                self.write(thread, &file, from, *offset, half)
            }
            Call::Seek { fd, offset, whence } => self.seek(process, *fd, *offset, *whence),
            Call::Truncate { target, length } => self.truncate(thread, target, *length),
            Call::Allocate { fd, mode, offset, length } => {
                self.allocate(thread, *fd, *mode, *offset, *length)
            }
            Call::Sync { .. } => Ok(Effect::answer(Footprint::new(), Answer::Continue)),
            Call::Stat { target, form, buffer } => self.stat(process, target, *form, *buffer),
            Call::Access { at, mode, follow } => self.check_access(process, at, *mode, *follow),
            Call::ReadLink { at, buffer } => self.read_link(process, at, *buffer),
            Call::Rename { from, to, flags } => self.rename(thread, from, to, *flags),
            Call::Link { from, to, flags } => self.link(thread, from, to, *flags),
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
            Call::MakeNode { at, mode } => self.make_node(thread, at, *mode),
            Call::Attribute { target, changes, .. } => Ok(self.see_attribute(process, target, *changes)),
            Call::Unlink { at, directory } => self.unlink(process, at, *directory),
            Call::List { fd, into } => {
                let file = self.open_file(process, *fd);
                self.list(process, &file, *into)
            }
            Call::ChangeMode { target, mode } => self.change_attributes(process, target, Some(*mode)),
            Call::ChangeOwner { target } => self.change_attributes(process, target, None),
            Call::SetTimes { target, times } => self.change_times(thread, target, *times),
            Call::Lock { fd, kind, request, wait, start, length } => {
                let file = self.open_file(process, *fd);
                self.lock(process, &file, (*kind, *request, *wait), Range::new(*start, *length))
            }
            Call::Map { shared: true, .. } => {
                self.note_escape("a file of the state directory is mapped into memory that others share");
                Ok(Effect::answer(Footprint::new(), Answer::Continue))
            }
            Call::Map { fd, shared: false } => {
                // As if it were read at once, as long as nobody changes it ([`Arena::note_change_of_mapped`]).
                let inode = self.open_file(process, *fd).inode;
                self.mapped.push(inode);
                let seen = [ObjectKind::Content, ObjectKind::Metadata];
                let footprint = seen.map(|kind| access(inode.object(kind), Mode::Read)).into_iter().collect();
                Ok(Effect::answer(footprint, Answer::Continue))
            }
            Call::ChangeDirectory { target } => {
                let (inode, footprint) = self.target(process, target);
                self.processes[process].directory = inode;
                Ok(Effect::answer(footprint, Answer::Continue))
            }
            Call::Socket(call) => self.socket(thread, call),
            Call::Wait(wait) => self.look_at_wires(thread, wait),
            Call::Other { number, fd } => {
                let file = fd.and_then(|fd| self.processes[process].descriptors.get(fd));
                // Whether a socket waits is asked when it matters.
                if *number != libc::SYS_fcntl || file.is_none_or(|file| file.socket.is_none()) {
                    self.note_other(*number);
                }
                Ok(Effect::answer(Footprint::new(), Answer::Continue))
            }
            other => Err(ArenaError::Confused(format!("{other:?} was taken for a call on a file"))),
        }
    }

    /// The open file of a descriptor that a call concerns.
    fn open_file(&self, process: usize, fd: i32) -> Rc<OpenFile> {
        let file = self.processes[process].descriptors.get(fd).map(Rc::clone);
        file.expect("the call concerns an open file of the state directory")
    }

    /// Notes if bytes are changed that somebody has in his memory, who would see that whenever he looks.
    pub(in crate::explore::arena) fn note_change_of_mapped(&mut self, footprint: &Footprint) {
        let mapped =
            |object: Object| self.mapped.iter().any(|inode| inode.object(ObjectKind::Content) == object);
        if footprint.iter().any(|access| access.mode.changes() && mapped(access.object)) {
            self.note_escape(
                "a file of the state directory was changed while a client had it mapped into memory",
            );
        }
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
}
