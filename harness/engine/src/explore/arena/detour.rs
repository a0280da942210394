//! Paths that lead into the state directory and do not look like it, and calls on its files that are not
//! followed ([`Uncommon`]).
//!
//! Whether a call concerns the state directory is seen by how its path begins, which costs nothing. One that is
//! relative to a directory above it is spelled out first: `mkdir -p` goes down from the root of all paths, a name
//! at a time. A path that has `..` in it, or goes through a link from outside, may lead there all the same, and
//! what it does would be seen by nobody. So the paths of calls that are let pass are followed on the real file
//! system, and a detour is an escape.
//!
//! Not covered: clients with another root directory, mounts that show the state directory a second
//! time, and what is at the end of a path when somebody changes it in the same instant.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::Arena;
use super::tree::inside;
use crate::explore::gate::{At, Call, Notification, Target, Uncommon};

/// Paths that are remembered to lead elsewhere, so that those that every program opens when it begins are followed
/// once.
const ELSEWHERE_MAX: usize = 4096;
/// How paths begin that are each process's own.
const OWN: &[&[u8]] = &[b"/proc", b"/dev/fd", b"/dev/std"];

impl Arena<'_> {
    /// Notes if a call that is let pass touches the state directory.
    pub(super) fn note_detour(&mut self, process: usize, call: &mut Call) {
        let changes = changes_names(call);
        if changes {
            self.elsewhere.clear();
        }
        let known = |at: &&At| self.elsewhere.contains(&at.path);
        let all = paths(call).into_iter().flatten().map(|at| &*at);
        let unknown = all.filter(|at| !known(at)).collect::<Vec<_>>();
        let Some(at) = unknown.iter().find(|at| self.is_detour(process, at)) else {
            if !changes && self.elsewhere.len() < ELSEWHERE_MAX {
                let own = |at: &At| OWN.iter().any(|own| at.path.starts_with(own));
                let same_for_all = |at: &At| at.path.first() == Some(&b'/') && !own(at);
                let new = unknown.into_iter().filter(|at| same_for_all(at));
                self.elsewhere.extend(new.map(|at| at.path.clone()));
            }
            return;
        };
        let path = String::from_utf8_lossy(&at.path).into_owned();
        self.note_escape(&format!("a client went into the state directory by a detour, `{path}`"));
    }

    /// Spells out the paths of a call that lead into the state directory from a directory above it.
    pub(super) fn spell_out(&self, process: usize, call: &mut Call) {
        for at in paths(call).into_iter().flatten() {
            if at.path.first().is_none_or(|first| *first == b'/') || self.base(process, at).is_some() {
                continue;
            }
            let own = PathBuf::from(format!("/proc/{}", self.processes[process].pid()));
            let from = match at.directory {
                libc::AT_FDCWD => own.join("cwd"),
                directory => own.join("fd").join(directory.to_string()),
            };
            let path = Path::new(OsStr::from_bytes(&at.path));
            // Only names: what `..` leads to is not to be told from the text.
            let mut parts = path.components();
            if !parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
                continue;
            }
            let Ok(from) = from.read_link() else { continue };
            let mut spelled = from.join(path.components().collect::<PathBuf>()).into_os_string().into_vec();
            // A slash at the end asks for a directory.
            if at.path.ends_with(b"/") {
                spelled.push(b'/');
            }
            if self.roots.iter().any(|(root, _)| inside(&spelled, root).is_some()) {
                *at = At { directory: libc::AT_FDCWD, path: spelled };
            }
        }
    }

    /// Notes if a call touches files of the state directory, or may, in a way that is not followed. If it is to be
    /// refused, returns what it is answered.
    pub(super) fn note_uncommon(&mut self, process: usize, notification: &Notification) -> Option<i32> {
        // At a wrong address there is nothing; the kernel says so.
        let Ok(Some(call)) = Uncommon::look(notification, &self.processes[process].memory) else {
            return None;
        };
        let Uncommon { name, files, anyhow, in_real_time, refusal } = call;
        if in_real_time {
            self.note_escape(&format!("a client set {name}, which ends in real time and is not followed"));
            return None;
        }
        if anyhow {
            self.note_escape(&format!(
                "a client called {name}, after which it could reach files in ways that are not followed"
            ));
            return None;
        }
        let concerns = |file: &Target| match file {
            Target::Fd(fd) => self.processes[process].descriptors.get(*fd).is_some(),
            Target::Path(at, _) => self.base(process, at).is_some() || self.is_detour(process, at),
        };
        if !files.iter().any(concerns) {
            return None;
        }
        // Who sends a file to a socket or a pipe may know no other way.
        if refusal.is_some() && files.iter().all(|file| self.is_named(process, file)) {
            return refusal;
        }
        self.note_escape(&format!(
            "a client used {name} on a file of the state directory, which is not followed"
        ));
        None
    }

    /// Whether a descriptor leads to a file that has, or had, a name.
    fn is_named(&self, process: usize, file: &Target) -> bool {
        let Target::Fd(fd) = file else { return true };
        let path = format!("/proc/{}/fd/{fd}", self.processes[process].pid());
        Path::new(&path).read_link().is_ok_and(|path| path.is_absolute())
    }

    fn is_detour(&self, process: usize, at: &At) -> bool {
        let path = self.as_seen_from_here(process, at);
        let within = |there: &Path| {
            self.roots.iter().any(|(root, _)| inside(there.as_os_str().as_bytes(), root).is_some())
        };
        // A link to a descriptor says what it leads to even if that has no name any more.
        match path.read_link() {
            Ok(text) if within(&text) => return true,
            // What the kernel says of a program is where it lies, whatever links led there.
            Ok(text) if text.is_absolute() && path.starts_with("/proc") && path.ends_with("exe") => {
                return false;
            }
            _ => {}
        }
        // What is to be made is not there yet; its directory is.
        let there = path.canonicalize().or_else(|_| path.parent().unwrap_or(&path).canonicalize());
        // Who cannot be followed leads nowhere.
        there.is_ok_and(|there| within(&there))
    }

    /// A path of a client as a path of the supervisor.
    pub(super) fn as_seen_from_here(&self, process: usize, at: &At) -> PathBuf {
        let own = PathBuf::from(format!("/proc/{}", self.processes[process].pid()));
        let path = Path::new(OsStr::from_bytes(&at.path));
        if let Ok(rest) = path.strip_prefix("/proc/self").or_else(|_| path.strip_prefix("/proc/thread-self"))
        {
            return own.join(rest);
        }
        // What these are is each process's own.
        let standard =
            ["/dev/stdin", "/dev/stdout", "/dev/stderr"].iter().position(|name| path == Path::new(name));
        if let Some(number) = standard {
            return own.join("fd").join(number.to_string());
        }
        if let Ok(rest) = path.strip_prefix("/dev/fd") {
            return own.join("fd").join(rest);
        }
        match at.directory {
            // An absolute path stays what it is when it is joined.
            libc::AT_FDCWD => own.join("cwd").join(path),
            directory => own.join("fd").join(directory.to_string()).join(path),
        }
    }
}

/// Whether paths may lead elsewhere after a call.
const fn changes_names(call: &Call) -> bool {
    matches!(
        call,
        Call::Symlink { .. }
            | Call::Unlink { .. }
            | Call::MakeNode { .. }
            | Call::MakeDirectory { .. }
            | Call::Rename { .. }
            | Call::Link { .. }
    )
}

/// The paths that a call takes.
fn paths(call: &mut Call) -> [Option<&mut At>; 2] {
    match call {
        Call::Open { at, .. }
        | Call::Access { at, .. }
        | Call::ReadLink { at, .. }
        | Call::Symlink { at, .. }
        | Call::Unlink { at, .. }
        | Call::MakeNode { at, .. }
        | Call::MakeDirectory { at, .. } => [Some(at), None],
        Call::Rename { from, to, .. } | Call::Link { from, to, .. } => [Some(from), Some(to)],
        Call::Truncate { target, .. }
        | Call::Stat { target, .. }
        | Call::ChangeMode { target, .. }
        | Call::ChangeOwner { target }
        | Call::SetTimes { target, .. }
        | Call::Attribute { target, .. }
        | Call::ChangeDirectory { target } => match target {
            Target::Path(at, _) => [Some(at), None],
            Target::Fd(_) => [None, None],
        },
        Call::Socket(call) => [call.at_mut(), None],
        _ => [None, None],
    }
}
