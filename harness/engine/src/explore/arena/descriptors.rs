//! Descriptors of the state directory's files, as each client has them.
//!
//! The supervisor opens files in the clients' place and keeps a descriptor of the same open file,
//! on which it reads and writes for them. It keeps it no longer than the client keeps its own: a
//! copy would keep locks alive.

use std::fs::File;
use std::rc::Rc;

use super::tree::Inode;
use super::wires::Socket;

/// An open file (POSIX: open file description), which several descriptors can share.
#[derive(Debug)]
pub struct OpenFile {
    /// Its number in this execution.
    pub number: u32,
    /// What is open.
    pub inode: Inode,
    /// The supervisor's own descriptor.
    pub file: File,
    /// The flags that it was opened with.
    pub flags: i32,
    /// The last component of the path by which it was opened.
    pub name: String,
    /// A name for its offset that is the same in every execution.
    pub key: u64,
    /// What it is where it is a socket.
    pub socket: Option<Socket>,
}

impl OpenFile {
    /// Whether writes go to the end.
    pub const fn appends(&self) -> bool {
        self.flags & libc::O_APPEND != 0
    }
}

/// The descriptors of one process that lead into the state directory.
#[derive(Clone, Debug, Default)]
pub struct Descriptors {
    open: Vec<(i32, Rc<OpenFile>)>,
}

impl Descriptors {
    /// What a descriptor leads to.
    pub fn get(&self, fd: i32) -> Option<&Rc<OpenFile>> {
        self.open.iter().find(|(known, _)| *known == fd).map(|(_, file)| file)
    }

    /// Whether any of them is a socket.
    pub fn has_sockets(&self) -> bool {
        self.open.iter().any(|(_, file)| file.socket.is_some())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Notes a new descriptor; what was there before is closed.
    pub fn insert(&mut self, fd: i32, file: Rc<OpenFile>) {
        self.open.retain(|(known, _)| *known != fd);
        self.open.push((fd, file));
    }

    /// Takes a descriptor out.
    pub fn remove(&mut self, fd: i32) -> Option<Rc<OpenFile>> {
        let at = self.open.iter().position(|(known, _)| *known == fd)?;
        Some(self.open.swap_remove(at).1)
    }

    /// The numbers of those in a range.
    pub fn between(&self, first: u32, last: u32) -> Vec<i32> {
        let inside = |fd: &i32| (first..=last).contains(&(*fd as u32));
        let mut numbers: Vec<i32> = self.open.iter().map(|(fd, _)| *fd).filter(inside).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Takes all of them out, in the order of their numbers.
    pub fn take(&mut self) -> impl Iterator<Item = Rc<OpenFile>> + use<> {
        let mut open = std::mem::take(&mut self.open);
        open.sort_unstable_by_key(|(fd, _)| *fd);
        open.into_iter().map(|(_, file)| file)
    }

    /// Closes everything.
    pub fn clear(&mut self) {
        self.open.clear();
    }
}
