//! A process's calls as numbered steps that a person can read: short names, locks and renames in
//! words, equal calls in a row as one step, and loops as loops.
//!
//! What a descriptor is for the process itself (duplicates, flags, where it stands) is left out, and so
//! are private mappings: nobody else sees them. The records have everything.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::record::{Outcome, Record};
use crate::explore::gate::{Call, LockKind, LockRequest, Target};

/// How files are called: relative to the watched directories.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The watched directories.
    pub directories: Vec<PathBuf>,
}

impl Naming {
    /// The short name of a file.
    pub fn short(&self, path: &Path) -> String {
        let Some((directory, rest)) = self
            .directories
            .iter()
            .filter_map(|directory| Some((directory, path.strip_prefix(directory).ok()?)))
            .min_by_key(|(_, rest)| rest.as_os_str().len())
        else {
            return path.display().to_string();
        };
        let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
        match (self.directories.len(), directory.file_name()) {
            (0 | 1, _) | (_, None) => rest.display().to_string(),
            (_, Some(name)) => Path::new(name).join(rest).display().to_string(),
        }
    }
}

/// One step: a call, or several equal ones in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done, in words.
    pub text: String,
    /// What came of it, where that is not what one expects.
    pub result: Option<String>,
    /// How often in a row.
    pub times: u32,
    /// Bytes that it moved in all.
    pub bytes: Option<u64>,
    /// Longer than this it waited for a lock, in milliseconds.
    pub waited_ms: u64,
    /// The thread.
    pub tid: u32,
}

impl Step {
    fn repeats(&self, other: &Self) -> bool {
        (&self.text, &self.result, self.tid) == (&other.text, &other.result, other.tid)
            && self.bytes.is_some() == other.bytes.is_some()
    }

    fn absorb(&mut self, other: &Self) {
        self.times += other.times;
        self.waited_ms += other.waited_ms;
        if let (Some(bytes), Some(more)) = (&mut self.bytes, other.bytes) {
            *bytes += more;
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.text)?;
        if self.times > 1 {
            write!(out, " ×{}", self.times)?;
        }
        if let Some(bytes) = self.bytes {
            write!(out, ", {bytes} byte{}", if bytes == 1 { "" } else { "s" })?;
        }
        if self.waited_ms > 0 {
            write!(out, ", waited {} ms", self.waited_ms)?;
        }
        match &self.result {
            Some(result) => write!(out, " → {result}"),
            None => Ok(()),
        }
    }
}

/// Steps that are done once, or round and round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The steps.
    pub steps: Vec<Step>,
    /// How often they are done.
    pub times: u32,
}

/// The longest loop that is looked for.
const LONGEST_LOOP: usize = 12;

/// The algorithm that records of one process tell.
pub fn algorithm<'r>(records: impl IntoIterator<Item = &'r Record>, naming: &Naming) -> Vec<Item> {
    let records: Vec<&Record> = records.into_iter().collect();
    let mut steps: Vec<Step> = Vec::new();
    let closings = last_closings(&records);
    for (record, last) in records.into_iter().zip(closings) {
        if !last || looks_at_directory(record, naming) {
            continue;
        }
        let Some(step) = step_of(record, naming) else { continue };
        match steps.last_mut() {
            Some(last) if last.repeats(&step) => last.absorb(&step),
            _ => steps.push(step),
        }
    }
    fold_loops(&steps)
}

/// To look at the directory itself is what every program does to know where it is.
fn looks_at_directory(record: &Record, naming: &Naming) -> bool {
    matches!(record.call, Call::Stat { .. } | Call::Access { .. } | Call::ChangeDirectory { .. })
        && record.path.as_ref().is_some_and(|path| naming.directories.contains(path))
}

/// Whether each record is something else than the closing of a descriptor whose duplicate goes on being
/// used, as shells redirect.
pub(super) fn last_closings(records: &[&Record]) -> Vec<bool> {
    let mut used: HashSet<(u32, &Path)> = HashSet::new();
    let mut last = vec![true; records.len()];
    for (index, record) in records.iter().enumerate().rev() {
        let Some(path) = record.path.as_deref() else { continue };
        let key = (record.pid, path);
        match record.call {
            Call::Open { .. } => {
                used.remove(&key);
            }
            Call::Close { .. } => last[index] = used.insert(key),
            Call::Read { .. } | Call::Write { .. } | Call::Sync { .. } | Call::Lock { .. } => {
                used.insert(key);
            }
            _ => {}
        }
    }
    last
}

fn fold_loops(steps: &[Step]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut at = 0;
    while at < steps.len() {
        let equal = |from: usize, to: usize, length: usize| {
            to + length <= steps.len()
                && (0..length).all(|offset| {
                    let (one, other) = (&steps[from + offset], &steps[to + offset]);
                    one.repeats(other) && one.times == other.times
                })
        };
        let longest = LONGEST_LOOP.min((steps.len() - at) / 2);
        let Some(length) = (2..=longest).find(|&length| equal(at, at + length, length)) else {
            items.push(Item { steps: vec![steps[at].clone()], times: 1 });
            at += 1;
            continue;
        };
        let mut times = 1;
        while equal(at, at + times * length, length) {
            times += 1;
        }
        items.push(Item { steps: steps[at..at + length].to_vec(), times: times as u32 });
        at += times * length;
    }
    items
}

/// Waiting for less than this is not worth telling.
const WORTH_TELLING_NS: u64 = 5_000_000;

fn step_of(record: &Record, naming: &Naming) -> Option<Step> {
    let text = text_of(record, naming)?;
    let result = match record.outcome {
        Outcome::Failed(errno) => Some(format!("{:?}", Errno::from_raw(errno))),
        Outcome::Never => Some("never returned".to_owned()),
        Outcome::Returned(_) => None,
    };
    let waits = matches!(record.call, Call::Lock { wait: true, .. }) && record.took_ns >= WORTH_TELLING_NS;
    let waited_ms = if waits { record.took_ns / 1_000_000 } else { 0 };
    Some(Step { text, result, times: 1, bytes: record.bytes(), waited_ms, tid: record.tid })
}

fn text_of(record: &Record, naming: &Naming) -> Option<String> {
    let short = |path: &Option<PathBuf>| path.as_deref().map_or("?".to_owned(), |path| naming.short(path));
    let (file, other) = (short(&record.path), short(&record.path2));
    let link = |target: &Target| if matches!(target, Target::Path(_, false)) { " itself" } else { "" };
    Some(match &record.call {
        Call::Open { flags, .. } => opening(&file, *flags, record.existed),
        Call::Close { .. } => format!("close {file}"),
        Call::Read { offset: None, .. } => format!("read {file}"),
        Call::Read { offset: Some(offset), .. } => format!("read {file} at {offset}"),
        Call::Write { offset: None, .. } => format!("write {file}"),
        Call::Write { offset: Some(offset), .. } => format!("write {file} at {offset}"),
        Call::Seek { offset: 0, whence: libc::SEEK_CUR, .. } => return None,
        Call::Seek { offset, whence: libc::SEEK_SET, .. } => format!("go to byte {offset} of {file}"),
        Call::Seek { offset: 0, whence: libc::SEEK_END, .. } => format!("go to the end of {file}"),
        Call::Seek { .. } => format!("move within {file}"),
        Call::Truncate { length: 0, .. } => format!("empty {file} (truncate)"),
        Call::Truncate { length, .. } => format!("cut {file} to {length} bytes (truncate)"),
        Call::Allocate { .. } => format!("reserve space for {file} (fallocate)"),
        Call::Sync { .. } => format!("{} {file}", record.name),
        Call::Stat { target: Target::Fd(_), .. } => format!("look at {file} (fstat)"),
        Call::Stat { target, .. } => format!("look at {file}{} (stat)", link(target)),
        Call::Access { .. } => format!("look at {file} (access)"),
        Call::ReadLink { .. } => format!("read the link {file}"),
        Call::Rename { flags, .. } if *flags & libc::RENAME_EXCHANGE != 0 => {
            format!("exchange {file} and {other} (rename)")
        }
        Call::Rename { flags, .. } if *flags & libc::RENAME_NOREPLACE != 0 => {
            format!("rename {file} → {other}, which must not exist")
        }
        Call::Rename { .. } => format!("rename {file} → {other}"),
        Call::Link { .. } => format!("link {file} → {other}"),
        Call::Symlink { text, .. } => format!("symlink {file}, to {}", String::from_utf8_lossy(text)),
        Call::Unlink { directory: false, .. } => format!("remove {file} (unlink)"),
        Call::Unlink { directory: true, .. } => format!("remove the directory {file} (rmdir)"),
        Call::MakeDirectory { .. } => format!("make the directory {file} (mkdir)"),
        Call::List { .. } => format!("list {file}"),
        Call::ChangeMode { mode, .. } => format!("set the mode of {file} to {mode:o}"),
        Call::ChangeOwner { .. } => format!("set the owner of {file}"),
        Call::SetTimes { .. } => format!("set the times of {file}"),
        Call::Lock { kind, request, wait, start, length, .. } => {
            locking(&file, *kind, *request, *wait, (*start, *length))
        }
        Call::Map { shared: true, .. } => format!("map {file} into memory, shared"),
        Call::ChangeDirectory { .. } => format!("go to the directory {file} (chdir)"),
        Call::MakeNode { .. } | Call::Attribute { .. } => format!("{} {file}", record.name),
        Call::Other { .. } => match record.name {
            "fcntl" => return None,
            "sync" => "sync all file systems".to_owned(),
            "copy_file_range" | "splice" | "sendfile" => format!("copy {file} → {other} ({})", record.name),
            name => format!("{name} {file}"),
        },
        _ => return None,
    })
}

fn opening(file: &str, flags: i32, existed: Option<bool>) -> String {
    let has = |flag: i32| flags & flag == flag;
    let kind = match flags & libc::O_ACCMODE {
        _ if has(libc::O_APPEND) => "to append",
        libc::O_WRONLY => "to write",
        libc::O_RDWR => "to read and write",
        _ => "to read",
    };
    if has(libc::O_TMPFILE) {
        return format!("create a file without a name in {file} (O_TMPFILE)");
    }
    if has(libc::O_CREAT | libc::O_EXCL) {
        return format!("create {file}, which must not exist (O_EXCL)");
    }
    if has(libc::O_DIRECTORY) {
        return format!("open the directory {file}");
    }
    if existed == Some(false) {
        return format!("create {file}{}", if has(libc::O_APPEND) { " to append" } else { "" });
    }
    match has(libc::O_TRUNC) {
        true => format!("open {file} {kind}, emptying it (O_TRUNC)"),
        false => format!("open {file} {kind}"),
    }
}

fn locking(file: &str, kind: LockKind, request: LockRequest, wait: bool, range: (i64, i64)) -> String {
    let kind = match kind {
        LockKind::Flock => "flock",
        LockKind::Posix => "fcntl",
        LockKind::OpenFile => "fcntl, open file",
    };
    let part = match range {
        (0, 0) => String::new(),
        (start, 0) => format!(" from byte {start}"),
        (start, 1) => format!(" byte {start}"),
        (start, length) => format!(" bytes {start} to {}", start.saturating_add(length) - 1),
    };
    let how = match request {
        LockRequest::Exclusive => "exclusively",
        LockRequest::Shared => "shared",
        LockRequest::Unlock => return format!("unlock {file}{part} ({kind})"),
        LockRequest::Query => return format!("ask who locks {file}{part} ({kind})"),
    };
    match wait {
        true => format!("lock {file}{part} {how} ({kind}), waits"),
        false => format!("try to lock {file}{part} {how} ({kind})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str, bytes: Option<u64>) -> Step {
        Step { text: text.to_owned(), result: None, times: 1, bytes, waited_ms: 0, tid: 1 }
    }

    #[test]
    fn loops_are_told_once_and_what_follows_them_too() {
        let steps: Vec<Step> = ["open", "look", "close", "look", "close", "look", "close", "rename"]
            .map(|text| step(text, None))
            .into();
        let items = fold_loops(&steps);
        let told: Vec<(usize, u32)> = items.iter().map(|item| (item.steps.len(), item.times)).collect();
        assert_eq!(told, [(1, 1), (2, 3), (1, 1)]);
    }

    #[test]
    fn short_names_are_relative_to_the_directory_and_tell_directories_apart() {
        let one = Naming { directories: vec!["/a/b".into()] };
        assert_eq!(
            ["/a/b/c", "/a/b", "/x"].map(|path| one.short(Path::new(path))),
            ["c", ".", "/x"].map(str::to_owned)
        );
        let two = Naming { directories: vec!["/a/b".into(), "/d".into()] };
        assert_eq!(two.short(Path::new("/a/b/c")), "b/c");
    }
}
