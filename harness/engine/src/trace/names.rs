//! Which file a call is about: descriptors and relative paths to absolute names, and whether a name
//! is in a watched directory.
//!
//! Descriptors are looked up in `/proc` at every stop instead of being tracked: the kernel's table is
//! always right, whatever way a descriptor took. A descriptor that was opened through a symbolic
//! link out of a watched directory keeps the name by which it was opened.
//!
//! Not covered: another root or mount namespace than that of the tracer.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::explore::gate::At;

/// The watched directories, and what was found to lead out of them.
#[derive(Debug)]
pub(super) struct Names {
    directories: Vec<PathBuf>,
    /// What a name in a watched directory led to outside, and that name.
    followed: HashMap<PathBuf, PathBuf>,
}

/// A name, and whether it is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub path: PathBuf,
    pub watched: bool,
}

impl Names {
    pub(super) fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories, followed: HashMap::new() }
    }

    /// Whether a name is in a watched directory.
    pub(super) fn watches(&self, path: &Path) -> bool {
        self.inside(path)
    }

    fn inside(&self, path: &Path) -> bool {
        self.directories.iter().any(|directory| path.starts_with(directory))
    }

    /// What a descriptor leads to.
    pub(super) fn of_descriptor(&self, tid: u32, fd: i32) -> Option<Named> {
        if fd < 0 {
            return None;
        }
        self.of_link(&format!("/proc/{tid}/fd/{fd}"))
    }

    fn of_link(&self, link: &str) -> Option<Named> {
        let path = without_deleted(fs::read_link(link).ok()?);
        if let Some(name) = self.followed.get(&path) {
            return Some(Named { path: name.clone(), watched: true });
        }
        let watched = self.inside(&path);
        Some(Named { path, watched })
    }

    /// The file that a path means. `follow`: what a symbolic link at its end leads to is meant.
    pub(super) fn of_path(&self, tid: u32, at: &At, follow: bool) -> Option<Named> {
        let given = Path::new(std::ffi::OsStr::from_bytes(&at.path));
        if let Ok(own) = given.strip_prefix("/proc/self")
            && let Some(fd) = own.strip_prefix("fd").ok().and_then(|fd| fd.to_str()?.parse().ok())
        {
            return self.of_descriptor(tid, fd);
        }
        let path = if given.is_absolute() {
            given.to_owned()
        } else {
            let base = match at.directory {
                libc::AT_FDCWD => fs::read_link(format!("/proc/{tid}/cwd")).ok()?,
                fd => fs::read_link(format!("/proc/{tid}/fd/{fd}")).ok()?,
            };
            base.join(given)
        };
        let climbs = path.components().any(|part| part == Component::ParentDir);
        if !climbs {
            // Without a dot or a second slash, which components leave out.
            let path: PathBuf = path.components().collect();
            if self.inside(&path) {
                return Some(Named { path, watched: true });
            }
        }
        // A way through symbolic links may lead into a watched directory all the same.
        let real = |path: &Path| -> Option<PathBuf> {
            let (parent, name) = (path.parent()?, path.file_name()?);
            Some(fs::canonicalize(parent).ok()?.join(name))
        };
        let by_parent = real(&path);
        if let Some(path) = by_parent.as_ref().filter(|path| self.inside(path)) {
            return Some(Named { path: path.clone(), watched: true });
        }
        if follow
            && let Ok(path) = fs::canonicalize(&path)
            && self.inside(&path)
        {
            return Some(Named { path, watched: true });
        }
        Some(Named { path: by_parent.filter(|_| climbs).unwrap_or(path), watched: false })
    }

    /// Notes what a name was found to lead to when it was opened.
    pub(super) fn opened(&mut self, tid: u32, fd: i32, name: &Path) {
        if let Ok(target) = fs::read_link(format!("/proc/{tid}/fd/{fd}"))
            && !self.inside(&target)
            && target.is_absolute()
        {
            self.followed.insert(target, name.to_owned());
        }
    }
}

/// The kernel appends this to the last name of a file that has none any more.
fn without_deleted(path: PathBuf) -> PathBuf {
    let mut bytes = path.into_os_string().into_vec();
    if bytes.ends_with(b" (deleted)") {
        bytes.truncate(bytes.len() - b" (deleted)".len());
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> At {
        At { directory: libc::AT_FDCWD, path: path.as_os_str().as_bytes().to_vec() }
    }

    #[test]
    fn a_name_is_watched_whatever_way_leads_to_it() {
        let place = tempfile::tempdir().expect("a directory");
        let base = fs::canonicalize(place.path()).expect("there");
        let inside = base.join("state");
        fs::create_dir(&inside).expect("made");
        fs::write(inside.join("a"), "1").expect("written");
        std::os::unix::fs::symlink(&inside, base.join("alias")).expect("linked");
        std::os::unix::fs::symlink(inside.join("a"), base.join("to-a")).expect("linked");
        let names = Names::new(vec![inside.clone()]);
        let me = std::process::id();
        let find = |path: PathBuf| names.of_path(me, &at(&path), true).expect("a name");
        for way in ["state/a", "state/./a", "alias/a", "state/../alias/a", "to-a"] {
            assert_eq!(find(base.join(way)), Named { path: inside.join("a"), watched: true }, "{way}");
        }
        for way in ["b", "state-2/a", "state/../b"] {
            assert!(!find(base.join(way)).watched, "{way}");
        }
        let link = names.of_path(me, &at(&base.join("to-a")), false).expect("a name");
        assert!(!link.watched, "the link itself is outside");
    }
}
