//! What the calls of processes amount to: which file is replaced, truncated or appended to, what is
//! synced when, and under which lock. Facts of this one execution and nothing else: what was not done
//! here may be done another time.
//!
//! Not covered: protocols over several files (journals, databases), which show as what is done to each
//! file; and locks that a process inherits.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::algorithm::{Naming, last_closings};
use super::record::{Outcome, Record};
use crate::explore::gate::{Call, LockKind, LockRequest};

/// How a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Update {
    /// Another file was renamed over it.
    Replace {
        /// Whether that one was seen being written.
        written: bool,
        /// Whether that one was created by `O_EXCL`.
        exclusive: bool,
        /// Whether it was in the same directory.
        beside: bool,
        /// Whether it was synced after the last write to it, before the rename.
        synced: bool,
        /// Whether the directory was synced afterwards.
        directory_synced: bool,
        /// Whether its mode was set.
        mode_set: bool,
        /// Whether it was a symbolic link.
        symlink: bool,
    },
    /// It was emptied, and written anew.
    Truncate {
        /// Whether it was synced afterwards.
        synced: bool,
    },
    /// It was written to, where it had content.
    Overwrite {
        /// Whether it was synced afterwards.
        synced: bool,
    },
    /// Something was added by `O_APPEND`.
    Append {
        /// Whether it was synced afterwards.
        synced: bool,
        /// Whether each addition was one write.
        whole: bool,
    },
    /// It was created under its own name.
    Create {
        /// Whether by `O_EXCL`.
        exclusive: bool,
        /// Whether it was removed in the end.
        removed: bool,
    },
    /// It is a directory that was made.
    MakeDirectory {
        /// Whether it was removed in the end.
        removed: bool,
    },
    /// Another file was linked to its name.
    Link {
        /// Whether it was removed in the end.
        removed: bool,
    },
    /// It was only read.
    Read,
}

/// An advisory lock that was held meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockUse {
    /// Its family.
    pub kind: LockKind,
    /// The file.
    pub path: PathBuf,
    /// Whether alone.
    pub exclusive: bool,
}

/// One thing that a process does to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The process.
    pub pid: u32,
    /// The file.
    pub file: PathBuf,
    /// What is done to it.
    pub update: Update,
    /// The locks that are held when it begins.
    pub locks: Vec<LockUse>,
    /// How often.
    pub times: u32,
    /// The files that were renamed over it or linked to it, each once.
    pub sources: Vec<PathBuf>,
    /// How often the name was found taken.
    pub taken: u32,
}

/// A pattern without names: what two programs have in common that do the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// What is done to the file.
    pub update: Update,
    /// The family of the locks held, whether each is on the file itself, and whether it is exclusive.
    pub locks: Vec<(LockKind, bool, bool)>,
}

impl Pattern {
    /// The pattern without names.
    pub fn signature(&self) -> Signature {
        let locks = self.locks.iter().map(|lock| (lock.kind, lock.path == self.file, lock.exclusive));
        Signature { update: self.update, locks: locks.collect() }
    }

    /// The pattern in a sentence.
    pub fn sentence(&self, naming: &Naming) -> String {
        let file = naming.short(&self.file);
        let synced = |synced: bool| if synced { "syncs it afterwards" } else { "does not sync it" };
        let mut text = match self.update {
            Update::Replace { symlink: true, directory_synced, .. } => {
                let directory = if directory_synced { "" } else { "not " };
                format!(
                    "replaces {file} by renaming a symbolic link over it; the directory is {directory}synced afterwards"
                )
            }
            Update::Replace { written: false, directory_synced, .. } => {
                let directory = if directory_synced { "" } else { "not " };
                format!(
                    "replaces {file} by rename, by a file that was not seen being written; the directory is {directory}synced after it"
                )
            }
            Update::Replace { exclusive, beside, synced, directory_synced, .. } => {
                let not = |is: bool| if is { "" } else { "not " };
                let created = if exclusive { ", created by O_EXCL," } else { "" };
                let place = if beside { "" } else { " from another directory" };
                format!(
                    "replaces {file} by rename{place}; the temporary file{created} is {}synced before the rename, the directory is {}synced after it",
                    not(synced),
                    not(directory_synced)
                )
            }
            Update::Truncate { synced: is } => {
                format!("truncates {file} in place, writes it anew and {}", synced(is))
            }
            Update::Overwrite { synced: is } => format!("overwrites {file} in place and {}", synced(is)),
            Update::Append { synced: is, whole } => {
                let pieces = if whole { "" } else { " in several writes" };
                format!("appends to {file} by O_APPEND{pieces} and {}", synced(is))
            }
            Update::Create { exclusive: true, removed: true } => {
                format!("takes {file} by O_EXCL, and removes it in the end")
            }
            Update::Create { exclusive: true, removed: false } => {
                format!("creates {file} by O_EXCL, and leaves it")
            }
            Update::Create { exclusive: false, removed: true } => {
                format!("creates {file}, and removes it in the end")
            }
            Update::Create { exclusive: false, removed: false } => format!("creates {file}"),
            Update::MakeDirectory { removed: true } => {
                format!("takes {file} by mkdir, and removes it in the end")
            }
            Update::MakeDirectory { removed: false } => format!("makes the directory {file}"),
            Update::Link { removed: true } => format!("takes {file} by link, and removes it in the end"),
            Update::Link { removed: false } => format!("links {file}"),
            Update::Read => format!("reads {file}"),
        };
        if self.times > 1 {
            text.push_str(&format!(", {} times", self.times));
            if let ([_], Update::Replace { .. }) = (self.sources.as_slice(), self.update) {
                text.push_str(", by the same temporary name each time");
            }
        }
        if self.taken > 0 {
            text.push_str(&format!("; finds the name taken {} time{}", self.taken, plural(self.taken)));
        }
        for lock in &self.locks {
            let kind = match lock.kind {
                LockKind::Flock => "flock",
                LockKind::Posix => "fcntl lock",
                LockKind::OpenFile => "open-file fcntl lock",
            };
            let (how, whose) =
                (if lock.exclusive { "exclusive" } else { "shared" }, naming.short(&lock.path));
            text.push_str(&format!("; holds the {how} {kind} of {whose} meanwhile"));
        }
        text
    }
}

const fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// What is known of a file while the records are gone through.
#[derive(Clone, Debug, Default)]
struct File {
    /// Created by this process: by `O_EXCL` or not; the pattern that says so.
    created: Option<(bool, usize)>,
    written: bool,
    synced: bool,
    mode_set: bool,
    symlink: bool,
    appends: bool,
    /// The pattern of what is being done to it.
    current: Option<usize>,
    taken: u32,
}

#[derive(Default)]
struct Reader {
    files: HashMap<PathBuf, File>,
    /// The locks that are held, and by which process.
    held: Vec<(u32, LockUse)>,
    /// The process whose record is looked at.
    pid: u32,
    found: Vec<Option<Pattern>>,
}

/// The patterns in records, in the order in which they begin. What one process has created another one
/// may rename, so all of them are looked at together.
pub fn patterns<'r>(records: impl IntoIterator<Item = &'r Record>) -> Vec<Pattern> {
    let mut reader = Reader::default();
    let records: Vec<&Record> = records.into_iter().collect();
    for (record, last) in records.iter().zip(last_closings(&records)) {
        if last {
            reader.note(record);
        }
    }
    let mut merged: Vec<Pattern> = Vec::new();
    for pattern in reader.found.into_iter().flatten() {
        let same = |known: &&mut Pattern| {
            (known.pid, &known.file, known.update, &known.locks)
                == (pattern.pid, &pattern.file, pattern.update, &pattern.locks)
        };
        match merged.iter_mut().find(same) {
            None => merged.push(pattern),
            Some(known) => {
                known.times += 1;
                known.taken += pattern.taken;
                for source in pattern.sources {
                    if !known.sources.contains(&source) {
                        known.sources.push(source);
                    }
                }
            }
        }
    }
    merged
}

impl Reader {
    fn begin(&mut self, file: &Path, update: Update) -> usize {
        let own = self.held.iter().filter(|(pid, _)| *pid == self.pid);
        let locks = own.map(|(_, lock)| lock.clone()).collect();
        let taken = self.files.get_mut(file).map_or(0, |file| std::mem::take(&mut file.taken));
        let pattern = Pattern {
            pid: self.pid,
            file: file.to_owned(),
            update,
            locks,
            times: 1,
            sources: Vec::new(),
            taken,
        };
        self.found.push(Some(pattern));
        let index = self.found.len() - 1;
        self.file(file).current = Some(index);
        index
    }

    fn file(&mut self, path: &Path) -> &mut File {
        self.files.entry(path.to_owned()).or_default()
    }

    /// Whether it was created here: what is done to it then is no change of something older.
    fn is_new(&self, path: &Path) -> bool {
        self.files.get(path).is_some_and(|file| file.created.is_some())
    }

    fn current(&mut self, path: &Path) -> Option<&mut Update> {
        let index = self.files.get(path)?.current?;
        self.found[index].as_mut().map(|pattern| &mut pattern.update)
    }

    fn note(&mut self, record: &Record) {
        let Some(path) = record.path.as_deref() else { return };
        self.pid = record.pid;
        if record.outcome == Outcome::Failed(libc::EEXIST) {
            let name = record.path2.as_deref().unwrap_or(path);
            self.file(name).taken += 1;
        }
        let Some(value) = record.outcome.value() else { return };
        match &record.call {
            Call::Open { flags, .. } => self.opened(path, *flags, record.existed),
            Call::Close { .. } => {
                if let Some(file) = self.files.get_mut(path)
                    && file.created.is_none_or(|(_, created)| file.current != Some(created))
                {
                    file.current = file.current.filter(|_| file.written && !file.synced);
                    if !matches!(self.current(path), Some(Update::Append { .. })) {
                        self.file(path).current = None;
                    }
                }
                // An open file's lock goes with it.
                self.held.retain(|(pid, lock)| *pid != record.pid || lock.path != path);
            }
            Call::Truncate { length, .. } if !self.is_new(path) => match self.current(path) {
                Some(update @ Update::Overwrite { .. }) if *length == 0 => {
                    *update = Update::Truncate { synced: false };
                }
                Some(Update::Truncate { .. } | Update::Overwrite { .. }) => {}
                _ if *length == 0 => {
                    self.begin(path, Update::Truncate { synced: false });
                }
                _ => {
                    self.begin(path, Update::Overwrite { synced: false });
                }
            },
            Call::Write { .. } => self.written(path),
            Call::Read { .. } if value > 0 && !self.is_new(path) && self.current(path).is_none() => {
                self.begin(path, Update::Read);
            }
            Call::Other { .. } if matches!(record.name, "copy_file_range" | "sendfile" | "splice") => {
                if let Some(to) = record.path2.as_deref() {
                    self.written(to);
                }
            }
            Call::Sync { .. } => self.synced(path),
            Call::ChangeMode { .. } => self.file(path).mode_set = true,
            Call::Symlink { .. } => {
                let file = self.file(path);
                *file = File { symlink: true, taken: file.taken, ..File::default() };
            }
            Call::Rename { .. } => self.renamed(path, record.path2.as_deref()),
            Call::Link { .. } => {
                if let Some(to) = record.path2.as_deref() {
                    let index = self.begin(to, Update::Link { removed: false });
                    self.file(to).created = Some((true, index));
                    if let Some(pattern) = &mut self.found[index] {
                        pattern.sources.push(path.to_owned());
                    }
                }
            }
            Call::MakeDirectory { .. } => {
                let index = self.begin(path, Update::MakeDirectory { removed: false });
                self.file(path).created = Some((true, index));
            }
            Call::Unlink { .. } => self.removed(path),
            Call::Lock { kind, request, .. } => {
                let lock =
                    |exclusive| (record.pid, LockUse { kind: *kind, path: path.to_owned(), exclusive });
                if *request != LockRequest::Query {
                    self.held
                        .retain(|(pid, held)| *pid != record.pid || held.path != path || held.kind != *kind);
                }
                match request {
                    LockRequest::Exclusive => self.held.push(lock(true)),
                    LockRequest::Shared => self.held.push(lock(false)),
                    LockRequest::Unlock | LockRequest::Query => {}
                }
            }
            _ => {}
        }
    }

    fn opened(&mut self, path: &Path, flags: i32, existed: Option<bool>) {
        let has = |flag: i32| flags & flag == flag;
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        if has(libc::O_CREAT) && existed == Some(false) {
            let exclusive = has(libc::O_EXCL);
            let taken = self.file(path).taken;
            *self.file(path) = File { appends: has(libc::O_APPEND), taken, ..File::default() };
            let index = self.begin(path, Update::Create { exclusive, removed: false });
            self.file(path).created = Some((exclusive, index));
            return;
        }
        if writes {
            let file = self.file(path);
            let taken = file.taken;
            *file = File { appends: has(libc::O_APPEND), taken, ..File::default() };
            if has(libc::O_TRUNC) {
                self.begin(path, Update::Truncate { synced: false });
            }
        } else {
            self.file(path).current = None;
        }
    }

    fn written(&mut self, path: &Path) {
        let known = self.file(path);
        let (again, appends, created) = (known.written, known.appends, known.created.is_some());
        (known.written, known.synced) = (true, false);
        if created {
            return;
        }
        match self.current(path) {
            Some(Update::Append { whole, .. }) if again => *whole = false,
            Some(Update::Truncate { .. } | Update::Overwrite { .. }) => {}
            _ if appends => {
                self.begin(path, Update::Append { synced: false, whole: true });
            }
            _ => {
                self.begin(path, Update::Overwrite { synced: false });
            }
        }
    }

    fn synced(&mut self, path: &Path) {
        if let Some(file) = self.files.get_mut(path) {
            file.synced = true;
        }
        if let Some(
            Update::Truncate { synced } | Update::Overwrite { synced } | Update::Append { synced, .. },
        ) = self.current(path)
        {
            *synced = true;
        }
        // Of a directory: for the renames in it that came before.
        for pattern in self.found.iter_mut().flatten() {
            if let Update::Replace { directory_synced, .. } = &mut pattern.update
                && pattern.file.parent() == Some(path)
            {
                *directory_synced = true;
            }
        }
    }

    fn renamed(&mut self, from: &Path, to: Option<&Path>) {
        let Some(to) = to else { return };
        let source = self.files.remove(from).unwrap_or_default();
        if let Some((_, index)) = source.created {
            // That it was created was but the beginning of this.
            self.found[index] = None;
        }
        let update = Update::Replace {
            written: source.written || source.created.is_some(),
            exclusive: source.created.is_some_and(|(exclusive, _)| exclusive),
            beside: from.parent() == to.parent(),
            synced: source.synced,
            directory_synced: false,
            mode_set: source.mode_set,
            symlink: source.symlink,
        };
        let index = self.begin(to, update);
        if let Some(pattern) = &mut self.found[index] {
            pattern.sources.push(from.to_owned());
        }
        self.file(to).current = None;
        self.file(to).created = None;
    }

    fn removed(&mut self, path: &Path) {
        let Some((_, index)) = self.files.remove(path).and_then(|file| file.created) else { return };
        let sources: Vec<PathBuf> =
            self.found.iter().flatten().flat_map(|known| known.sources.clone()).collect();
        if let Some(pattern) = &mut self.found[index] {
            match &mut pattern.update {
                Update::Create { removed, .. }
                | Update::MakeDirectory { removed }
                | Update::Link { removed } => *removed = true,
                _ => {}
            }
            // A file that was only made to be linked elsewhere is no lock of its own.
            if sources.iter().any(|source| source == path) {
                self.found[index] = None;
            }
        }
    }
}
