//! The state directory as the supervisor knows it: which names lead to which inodes.
//!
//! Every call that changes a name passes through the supervisor, so it can keep a tree of its own
//! and need not ask the kernel. What the kernel answers to each call is compared with what the tree
//! says ([`Mismatch`]): the tree is a claim about the kernel that is tested at every step.
//!
//! An inode is named by the step that made it, or by its path if it was there at the start, so that
//! it has the same name in every execution.

use std::hash::{DefaultHasher, Hash, Hasher};

use smallvec::SmallVec;

use crate::explore::access::{Access, Mode, Object, ObjectKind};

/// An inode, by a name that is the same in every execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub u64);

impl Inode {
    /// The state directory itself.
    pub const ROOT: Self = Self(1);

    /// An inode that was there at the start.
    pub fn initial(path: &[u8]) -> Self {
        Self(digest(&("initial", path)))
    }

    /// An inode that this step of this thread made.
    pub fn made(thread: u16, step: u32) -> Self {
        Self(digest(&("made", thread, step)))
    }

    /// Its number, as clients are told it.
    pub fn number(self) -> u64 {
        // Some languages have no larger ones, and none is 0.
        digest(&("number", self.0)) >> 11 | 1
    }

    /// The object of this kind that belongs to the inode.
    pub const fn object(self, kind: ObjectKind) -> Object {
        Object { kind, key: self.0 }
    }

    /// The entry of this name in the directory.
    pub fn entry(self, name: &[u8]) -> Object {
        Object { kind: ObjectKind::Entry, key: digest(&(self.0, name)) }
    }
}

/// The same digest in every run of the same binary.
pub fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Names and what they lead to, in no order.
pub type Names = Vec<(Box<[u8]>, Inode)>;

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A pipe, a socket or a device, which is not followed.
    Special,
    /// A directory: names and inodes, in no order, and the directory that it is in.
    Directory(Names, Inode),
    /// A symbolic link.
    Symlink(Box<[u8]>),
}

/// A name in a directory, and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub directory: Inode,
    /// The name.
    pub name: Box<[u8]>,
    /// What is there.
    pub inode: Option<Inode>,
}

impl Place {
    /// The entry.
    pub fn entry(&self) -> Object {
        self.directory.entry(&self.name)
    }
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Out of the state directory, or somewhere else to begin with.
    Elsewhere,
    /// The state directory itself, or a directory in it by `.` or `..`.
    Directory(Inode),
    /// A name.
    Place(Place),
    /// Nowhere: a component is missing, is no directory, or links go in circles. The errno.
    Nowhere(i32),
}

/// The tree does not say what the kernel says.
#[derive(Debug, thiserror::Error)]
#[error("the kernel answered {answered} to {call}, and should have answered {expected}")]
pub struct Mismatch {
    /// What was called.
    pub call: String,
    /// What the tree says.
    pub expected: String,
    /// What the kernel says.
    pub answered: String,
}

/// The state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    inodes: Vec<(Inode, Kind)>,
}

/// Symbolic links that one path may go through, as in the kernel.
const LINKS_MAX: usize = 40;

impl Default for Tree {
    fn default() -> Self {
        Self { inodes: vec![(Inode::ROOT, Kind::Directory(Vec::new(), Inode::ROOT))] }
    }
}

impl Tree {
    /// Becomes a copy of another tree, in the memory that it has.
    pub fn copy_from(&mut self, other: &Self) {
        self.inodes.clone_from(&other.inodes);
    }

    /// What an inode is.
    pub fn kind(&self, inode: Inode) -> Option<&Kind> {
        // The latest ones are asked for most.
        self.inodes.iter().rev().find(|(known, _)| *known == inode).map(|(_, kind)| kind)
    }

    fn names(&mut self, directory: Inode) -> Option<&mut Names> {
        match self.inodes.iter_mut().rev().find(|(known, _)| *known == directory) {
            Some((_, Kind::Directory(names, _))) => Some(names),
            _ => None,
        }
    }

    /// What a name leads to.
    pub fn lookup(&self, directory: Inode, name: &[u8]) -> Option<Inode> {
        match self.kind(directory)? {
            Kind::Directory(names, _) => {
                names.iter().find(|(known, _)| &**known == name).map(|(_, inode)| *inode)
            }
            _ => None,
        }
    }

    /// Adds an inode that no name leads to yet.
    pub fn make(&mut self, inode: Inode, kind: Kind) {
        self.inodes.push((inode, kind));
    }

    /// Has a name lead to an inode, whatever it led to before.
    pub fn put(&mut self, directory: Inode, name: &[u8], inode: Inode) {
        if let Some(names) = self.names(directory) {
            match names.iter_mut().find(|(known, _)| &**known == name) {
                Some((_, old)) => *old = inode,
                None => names.push((name.into(), inode)),
            }
        }
        if let Some((_, Kind::Directory(_, parent))) =
            self.inodes.iter_mut().find(|(known, _)| *known == inode)
        {
            *parent = directory;
        }
    }

    /// Takes a name away.
    pub fn remove(&mut self, directory: Inode, name: &[u8]) {
        if let Some(names) = self.names(directory) {
            names.retain(|(known, _)| &**known != name);
        }
    }

    /// Follows a path that begins in `start`, and notes the entries that it reads on the way: all
    /// but the one at its end, which depends on the call. `root` is the path of the state
    /// directory, for symbolic links with absolute targets.
    pub fn resolve(
        &self,
        start: Inode,
        path: &[u8],
        follow: bool,
        root: &[u8],
        read: &mut SmallVec<[Access; 6]>,
    ) -> Destination {
        let mut links = 0;
        let mut directory = start;
        let mut rest: Vec<u8> = path.to_vec();
        loop {
            while rest.first() == Some(&b'/') {
                rest.remove(0);
            }
            let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
            let name: Vec<u8> = rest.drain(..end).collect();
            let last = rest.iter().all(|&byte| byte == b'/');
            match &name[..] {
                b"" | b"." => {
                    if last {
                        return Destination::Directory(directory);
                    }
                    continue;
                }
                b".." => {
                    let Some(Kind::Directory(_, parent)) = self.kind(directory) else {
                        return Destination::Nowhere(libc::ENOTDIR);
                    };
                    if directory == Inode::ROOT {
                        return Destination::Elsewhere;
                    }
                    directory = *parent;
                    if last {
                        return Destination::Directory(directory);
                    }
                    continue;
                }
                _ => {}
            }
            let inode = self.lookup(directory, &name);
            let kind = inode.and_then(|inode| self.kind(inode));
            // A slash at the end asks for a directory, as the kernel has it: links are followed.
            let follow = follow || !last || rest.first() == Some(&b'/');
            match kind {
                Some(Kind::Symlink(target)) if follow => {
                    read.push(Access { object: directory.entry(&name), mode: Mode::Read });
                    links += 1;
                    if links > LINKS_MAX {
                        return Destination::Nowhere(libc::ELOOP);
                    }
                    let mut next = target.to_vec();
                    if next.first() == Some(&b'/') {
                        let Some(inside) = inside(&next, root) else { return Destination::Elsewhere };
                        next = inside.to_vec();
                        directory = Inode::ROOT;
                    }
                    next.extend_from_slice(&rest);
                    rest = next;
                }
                _ if last => {
                    return Destination::Place(Place { directory, name: name.into(), inode });
                }
                Some(Kind::Directory(..)) => {
                    read.push(Access { object: directory.entry(&name), mode: Mode::Read });
                    directory = inode.expect("it has a kind");
                }
                other => {
                    read.push(Access { object: directory.entry(&name), mode: Mode::Read });
                    return Destination::Nowhere(if other.is_none() { libc::ENOENT } else { libc::ENOTDIR });
                }
            }
        }
    }
}

/// The part of an absolute path that lies in the directory `root`, if it does.
pub fn inside<'p>(path: &'p [u8], root: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(root)?;
    (rest.is_empty() || rest[0] == b'/').then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        for (inode, name, kind) in [
            (Inode(10), &b"state.json"[..], Kind::File),
            (Inode(11), b"link", Kind::Symlink((*b"state.json").into())),
            (Inode(12), b"sub", Kind::Directory(Vec::new(), Inode::ROOT)),
            (Inode(13), b"round", Kind::Symlink((*b"round").into())),
            (Inode(14), b"out", Kind::Symlink((*b"/etc/passwd").into())),
            (Inode(15), b"absolute", Kind::Symlink((*b"/base/state/sub").into())),
        ] {
            tree.make(inode, kind);
            tree.put(Inode::ROOT, name, inode);
        }
        tree.make(Inode(20), Kind::File);
        tree.put(Inode(12), b"inner", Inode(20));
        tree
    }

    fn resolve(path: &[u8], follow: bool) -> (Destination, usize) {
        let mut read = SmallVec::new();
        let destination = tree().resolve(Inode::ROOT, path, follow, b"/base/state", &mut read);
        (destination, read.len())
    }

    fn place(directory: Inode, name: &[u8], inode: Option<u64>) -> Destination {
        Destination::Place(Place { directory, name: name.into(), inode: inode.map(Inode) })
    }

    #[test]
    fn paths_lead_where_the_kernel_takes_them() {
        assert_eq!(resolve(b"/state.json", true), (place(Inode::ROOT, b"state.json", Some(10)), 0));
        assert_eq!(resolve(b"link", true), (place(Inode::ROOT, b"state.json", Some(10)), 1));
        assert_eq!(resolve(b"link", false), (place(Inode::ROOT, b"link", Some(11)), 0));
        assert_eq!(resolve(b"sub/inner", true), (place(Inode(12), b"inner", Some(20)), 1));
        assert_eq!(resolve(b"absolute/inner", false), (place(Inode(12), b"inner", Some(20)), 2));
        assert_eq!(resolve(b"sub/../sub/./inner", true).0, place(Inode(12), b"inner", Some(20)));
        assert_eq!(resolve(b"sub/missing", true).0, place(Inode(12), b"missing", None));
        assert_eq!(resolve(b"missing/x", true).0, Destination::Nowhere(libc::ENOENT));
        assert_eq!(resolve(b"state.json/x", true).0, Destination::Nowhere(libc::ENOTDIR));
        assert_eq!(resolve(b"round", true).0, Destination::Nowhere(libc::ELOOP));
        assert_eq!(resolve(b"out", true).0, Destination::Elsewhere);
        assert_eq!(resolve(b"..", true).0, Destination::Elsewhere);
        assert_eq!(resolve(b"", true).0, Destination::Directory(Inode::ROOT));
    }

    #[test]
    fn names_can_be_moved_and_taken_away() {
        let mut tree = tree();
        tree.put(Inode::ROOT, b"state.json", Inode(20));
        assert_eq!(tree.lookup(Inode::ROOT, b"state.json"), Some(Inode(20)));
        tree.remove(Inode::ROOT, b"state.json");
        assert_eq!(tree.lookup(Inode::ROOT, b"state.json"), None);
        tree.remove(Inode(12), b"inner");
        assert_eq!(tree.lookup(Inode(12), b"inner"), None);
    }

    #[test]
    fn a_prefix_of_a_name_is_not_inside() {
        assert_eq!(inside(b"/base/state/x", b"/base/state"), Some(&b"/x"[..]));
        assert_eq!(inside(b"/base/state2/x", b"/base/state"), None);
        assert_eq!(inside(b"/base/state", b"/base/state"), Some(&b""[..]));
    }
}
