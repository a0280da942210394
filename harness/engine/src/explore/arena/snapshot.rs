//! The state directory as every execution finds it: taken once, and put back each time.

use std::fs;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, unlinkat};

use super::ArenaError;
use super::tree::{Inode, Kind, Tree};

/// One file, directory or link.
#[derive(Clone, Debug)]
struct Item {
    /// Relative to its root.
    path: PathBuf,
    root: usize,
    mode: u32,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    File(Vec<u8>),
    Directory,
    Symlink(PathBuf),
    /// A second name of the item with this number.
    Link(usize),
}

/// The state directory at the beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    items: Vec<Item>,
    tree: Tree,
}

impl Snapshot {
    /// Takes down what is in the directories.
    pub fn take(roots: &[(Vec<u8>, Inode)], tree: &mut Tree) -> Result<Self, ArenaError> {
        let mut snapshot = Self::default();
        for (index, (root, inode)) in roots.iter().enumerate() {
            if *inode != Inode::ROOT {
                snapshot.tree.make(*inode, Kind::Directory(Vec::new(), *inode));
            }
            let root = PathBuf::from(std::ffi::OsString::from_vec(root.clone()));
            snapshot
                .take_from(index, &root, Path::new(""), *inode, &mut Vec::new())
                .map_err(ArenaError::environment(format!("looking into {}", root.display())))?;
        }
        tree.copy_from(&snapshot.tree);
        Ok(snapshot)
    }

    fn take_from(
        &mut self,
        index: usize,
        root: &Path,
        below: &Path,
        directory: Inode,
        seen: &mut Vec<(u64, usize, Inode)>,
    ) -> io::Result<()> {
        let mut entries = fs::read_dir(root.join(below))?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = below.join(entry.file_name());
            let metadata = entry.metadata()?;
            let name = entry.file_name();
            if let Some((_, first, inode)) =
                seen.iter().find(|(number, ..)| *number == metadata.ino() && metadata.nlink() > 1)
            {
                self.tree.put(directory, name.as_bytes(), *inode);
                self.items.push(Item { path, root: index, mode: 0, content: Content::Link(*first) });
                continue;
            }
            // The same wherever the roots lie, so that a search can go on elsewhere.
            let inode = Inode(Inode::initial(path.as_os_str().as_bytes()).0 ^ index as u64);
            seen.push((metadata.ino(), self.items.len(), inode));
            let kind = metadata.file_type();
            let (content, known) = if kind.is_dir() {
                (Content::Directory, Kind::Directory(Vec::new(), directory))
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path())?;
                let text = target.as_os_str().as_bytes().into();
                (Content::Symlink(target), Kind::Symlink(text))
            } else if !kind.is_file() {
                return Err(io::Error::other(format!("{} is no file, directory or link", path.display())));
            } else {
                (Content::File(fs::read(entry.path())?), Kind::File)
            };
            let is_directory = kind.is_dir();
            self.tree.make(inode, known);
            self.tree.put(directory, name.as_bytes(), inode);
            let mode = metadata.permissions().mode() & 0o7777;
            self.items.push(Item { path: path.clone(), root: index, mode, content });
            if is_directory {
                self.take_from(index, root, &path, inode, seen)?;
            }
        }
        Ok(())
    }

    /// Makes the directories as they were.
    pub fn restore(&self, roots: &[(Vec<u8>, Inode)], tree: &mut Tree) -> Result<(), ArenaError> {
        for (index, (root, _)) in roots.iter().enumerate() {
            let root = Path::new(std::ffi::OsStr::from_bytes(root));
            self.restore_one(index, root)
                .map_err(ArenaError::environment(format!("putting {} back as it was", root.display())))?;
        }
        tree.copy_from(&self.tree);
        Ok(())
    }

    fn restore_one(&self, index: usize, root: &Path) -> io::Result<()> {
        let directory = open_directory(root)?;
        empty_open(&directory, root)?;
        for item in self.items.iter().filter(|item| item.root == index) {
            let path = root.join(&item.path);
            match &item.content {
                Content::File(bytes) => {
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                    let mode = Mode::from_raw_mode(item.mode);
                    let mut file = fs::File::from(openat(&directory, &item.path, flags, mode)?);
                    file.write_all(bytes)?;
                    // The mask of this process may have taken bits away.
                    if item.mode & 0o022 != 0 || item.mode > 0o777 {
                        file.set_permissions(fs::Permissions::from_mode(item.mode))?;
                    }
                }
                Content::Directory => {
                    fs::create_dir(&path)?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(item.mode))?;
                }
                Content::Symlink(target) => std::os::unix::fs::symlink(target, &path)?,
                Content::Link(first) => fs::hard_link(root.join(&self.items[*first].path), &path)?,
            }
        }
        Ok(())
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(rustix::fs::CWD, path, flags, Mode::empty())?)
}

/// Removes everything in a directory.
pub(in crate::explore) fn empty(directory: &Path) -> io::Result<()> {
    empty_open(&open_directory(directory)?, directory)
}

/// The same of one that is open, and has this path.
fn empty_open(directory: &OwnedFd, path: &Path) -> io::Result<()> {
    let mut room = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(directory, &mut room);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let is_directory = match entry.file_type() {
            FileType::Unknown => {
                let status = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(status.st_mode) == FileType::Directory
            }
            known => known == FileType::Directory,
        };
        if is_directory {
            fs::remove_dir_all(path.join(std::ffi::OsStr::from_bytes(name.to_bytes())))?;
        } else {
            unlinkat(directory, name, AtFlags::empty())?;
        }
    }
    Ok(())
}
