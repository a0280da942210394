//! The system calls that strategies are made of, one function a call, with errors that name the
//! call, the file and the errno.
//!
//! A [`CallError`] becomes a [`StrategyError`] in one of two ways. `?` means that the operation
//! certainly did not take effect; [`CallError::perhaps_applied`] means that it may have. Which of
//! the two is right depends on where in its algorithm a strategy is, so it is spelt out there.
//!
//! What an interrupted call does is settled here: it is repeated, as the standard libraries of
//! Rust, Go and Python do, but not for ever. Not covered: file systems that answer `close` with
//! the error of an earlier write are asked (see [`OpenFile::close`]), but nothing is repeated.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use tearproof_core::strategy::StrategyError;

/// How often a call that a signal interrupted is repeated before its error is passed on.
const INTERRUPTIONS_MAX: u32 = 64;

/// How much a read asks for, in bytes: a common buffer size, and always the same one, so that the
/// calls of an execution depend on the file alone.
const CHUNK: usize = 64 << 10;

/// A system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {errno}")]
pub struct CallError {
    what: String,
    errno: Errno,
}

impl CallError {
    pub(crate) fn new(what: impl Into<String>, errno: Errno) -> Self {
        Self { what: what.into(), errno }
    }

    /// The errno that the call returned.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The error of an operation that may have taken effect before, or in spite of, this failure.
    pub fn perhaps_applied(self) -> StrategyError {
        StrategyError::unknown(self.to_string())
    }
}

impl From<CallError> for StrategyError {
    fn from(error: CallError) -> Self {
        Self::failed(error.to_string())
    }
}

fn call<T>(
    what: impl FnOnce() -> String,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, CallError> {
    let mut interruptions = 0;
    loop {
        match attempt() {
            Err(Errno::INTR) if interruptions < INTERRUPTIONS_MAX => interruptions += 1,
            Err(errno) => return Err(CallError::new(what(), errno)),
            Ok(value) => return Ok(value),
        }
    }
}

/// The last component of a path, for messages.
pub(crate) fn name(path: &Path) -> impl fmt::Display + '_ {
    Path::new(path.file_name().unwrap_or(path.as_os_str())).display()
}

/// A file that is open, and its path for messages. Dropping it closes it and hears no error.
#[derive(Debug)]
pub struct OpenFile {
    fd: OwnedFd,
    path: PathBuf,
}

impl OpenFile {
    /// `open(path, flags | O_CLOEXEC, mode)`.
    pub fn open(path: &Path, flags: OFlags, mode: u32) -> Result<Self, CallError> {
        let fd = call(
            || format!("open {}", name(path)),
            || rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode)),
        )?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens an existing file for reading; `None` if there is none.
    pub fn open_to_read(path: &Path) -> Result<Option<Self>, CallError> {
        match Self::open(path, OFlags::RDONLY, 0) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.errno == Errno::NOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a file that must not exist yet, for writing.
    pub fn create_new(path: &Path, mode: u32) -> Result<Self, CallError> {
        Self::open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)
    }

    /// The descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Any other call on this file, which the verb names in errors.
    pub(crate) fn call<T>(
        &self,
        verb: &'static str,
        attempt: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, CallError> {
        call(|| format!("{verb} {}", name(&self.path)), attempt)
    }

    /// Reads from the current offset until a read returns nothing, replacing what is in `into`.
    pub fn read_to_end(&self, into: &mut Vec<u8>) -> Result<(), CallError> {
        into.clear();
        loop {
            let filled = into.len();
            into.resize(filled + CHUNK, 0);
            let read = self.call("read", || rustix::io::read(&self.fd, &mut into[filled..]));
            into.truncate(filled + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Ok(());
            }
        }
    }

    /// One `write`, which may write less than it is given.
    pub fn write_once(&self, bytes: &[u8]) -> Result<usize, CallError> {
        self.call("write", || rustix::io::write(&self.fd, bytes))
    }

    /// Writes everything at the current offset, going on after a short write.
    pub fn write_all(&self, bytes: &[u8]) -> Result<(), CallError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = self.write_once(rest)?;
            rest = &rest[self.some("write", written)?..];
        }
        Ok(())
    }

    /// Writes everything at `offset`, going on after a short write.
    pub fn pwrite_all(&self, bytes: &[u8], offset: u64) -> Result<(), CallError> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let written = self.call("pwrite", || rustix::io::pwrite(&self.fd, &bytes[done..], at))?;
            done += self.some("pwrite", written)?;
        }
        Ok(())
    }

    /// A call that writes nothing, time and again, would never come to an end.
    fn some(&self, verb: &str, written: usize) -> Result<usize, CallError> {
        if written == 0 {
            return Err(CallError::new(format!("{verb} {} wrote nothing", name(&self.path)), Errno::IO));
        }
        Ok(written)
    }

    /// Reads from `offset` until `into` is full or the file ends; returns how many bytes came.
    pub fn pread_full(&self, into: &mut [u8], offset: u64) -> Result<usize, CallError> {
        let mut done = 0;
        while done < into.len() {
            let at = offset + done as u64;
            match self.call("pread", || rustix::io::pread(&self.fd, &mut into[done..], at))? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }

    /// `ftruncate`.
    pub fn truncate(&self, length: u64) -> Result<(), CallError> {
        self.call("ftruncate", || rustix::fs::ftruncate(&self.fd, length))
    }

    /// `lseek` to this offset from the start.
    pub fn seek_to(&self, offset: u64) -> Result<(), CallError> {
        self.call("lseek", || rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(offset))).map(drop)
    }

    /// `lseek` to the end; returns the offset.
    pub fn seek_to_end(&self) -> Result<u64, CallError> {
        self.call("lseek", || rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::End(0)))
    }

    /// The length in bytes (`fstat`).
    pub fn length(&self) -> Result<u64, CallError> {
        self.call("fstat", || rustix::fs::fstat(&self.fd)).map(|stat| stat.st_size.unsigned_abs())
    }

    /// `fchmod`.
    pub fn set_mode(&self, mode: u32) -> Result<(), CallError> {
        self.call("fchmod", || rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode)))
    }

    /// `fsync`.
    pub fn sync(&self) -> Result<(), CallError> {
        self.call("fsync", || rustix::fs::fsync(&self.fd))
    }

    /// `fdatasync`.
    pub fn sync_data(&self) -> Result<(), CallError> {
        self.call("fdatasync", || rustix::fs::fdatasync(&self.fd))
    }

    /// `flock`, waiting for as long as it takes.
    pub fn lock(&self, operation: FlockOperation) -> Result<(), CallError> {
        self.call("flock", || rustix::fs::flock(&self.fd, operation))
    }

    /// `close`, with its error: some file systems report a failed write only here.
    pub fn close(self) -> Result<(), CallError> {
        let Self { fd, path } = self;
        nix::unistd::close(fd).map_err(|errno| {
            CallError::new(format!("close {}", name(&path)), Errno::from_raw_os_error(errno as i32))
        })
    }
}

impl std::io::Read for OpenFile {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        Ok(rustix::io::read(&self.fd, into)?)
    }
}

/// `rename`.
pub fn rename(from: &Path, to: &Path) -> Result<(), CallError> {
    call(|| format!("rename {} to {}", name(from), name(to)), || rustix::fs::rename(from, to))
}

/// `link`: a second name for an inode; fails with EEXIST if the name is taken.
pub fn link(from: &Path, to: &Path) -> Result<(), CallError> {
    call(|| format!("link {} to {}", name(from), name(to)), || rustix::fs::link(from, to))
}

/// `symlink`: a file at `at` that points to `target`.
pub fn symlink(target: &Path, at: &Path) -> Result<(), CallError> {
    call(|| format!("symlink {} to {}", name(at), target.display()), || rustix::fs::symlink(target, at))
}

/// The target of a symbolic link; `None` if the path is no symbolic link, or is not there.
pub fn read_link(path: &Path) -> Result<Option<PathBuf>, CallError> {
    use std::os::unix::ffi::OsStringExt;
    match call(|| format!("readlink {}", name(path)), || rustix::fs::readlink(path, Vec::new())) {
        Ok(target) => Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))),
        Err(error) if matches!(error.errno, Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `unlink`.
pub fn unlink(path: &Path) -> Result<(), CallError> {
    call(|| format!("unlink {}", name(path)), || rustix::fs::unlink(path))
}

/// `mkdir`; a directory that is there already is as good.
pub fn make_directory(path: &Path) -> Result<(), CallError> {
    match call(|| format!("mkdir {}", name(path)), || rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))) {
        Err(error) if error.errno == Errno::EXIST => Ok(()),
        result => result,
    }
}

/// The permission bits of what the path leads to; `None` if nothing is there.
pub fn mode_of(path: &Path) -> Result<Option<u32>, CallError> {
    match call(|| format!("stat {}", name(path)), || rustix::fs::stat(path)) {
        Ok(stat) => Ok(Some(stat.st_mode & 0o7777)),
        Err(error) if error.errno == Errno::NOENT => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether something is there (`access`).
pub fn exists(path: &Path) -> Result<bool, CallError> {
    match call(|| format!("access {}", name(path)), || rustix::fs::access(path, Access::EXISTS)) {
        Ok(()) => Ok(true),
        Err(error) if error.errno == Errno::NOENT => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the entries of a directory durable: `open`, `fsync`, `close`.
pub fn sync_directory(path: &Path) -> Result<(), CallError> {
    let directory = OpenFile::open(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    directory.sync()?;
    directory.close()
}

/// The names in a directory, without `.` and `..`, in no particular order.
pub fn list(path: &Path) -> Result<Vec<String>, CallError> {
    let directory = OpenFile::open(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let what = || format!("getdents {}", name(path));
    let entries = call(what, || rustix::fs::Dir::read_from(&directory.fd))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|errno| CallError::new(what(), errno))?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => (),
            Ok(name) => names.push(name.to_owned()),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_call_the_files_and_the_errno() {
        let dir = tempfile::tempdir().expect("a directory");
        let error =
            rename(&dir.path().join(".state.json.tmp-1-4"), &dir.path().join("state.json")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rename .state.json.tmp-1-4 to state.json: No such file or directory (os error 2)"
        );
        assert!(matches!(error.perhaps_applied(), StrategyError::Unknown { .. }));
    }

    #[test]
    fn an_interrupted_call_is_repeated_but_not_for_ever() {
        let mut attempts = 0;
        let third_time = call(String::new, || {
            attempts += 1;
            if attempts < 3 { Err(Errno::INTR) } else { Ok(attempts) }
        });
        assert_eq!(third_time.expect("in the end"), 3);
        let never = call(String::new, || Err::<(), _>(Errno::INTR));
        assert_eq!(never.unwrap_err().errno(), Errno::INTR);
    }

    #[test]
    fn a_file_longer_than_a_chunk_reads_back_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("long");
        let bytes: Vec<u8> = (0..CHUNK * 2 + 17).map(|index| index as u8).collect();
        let file = OpenFile::create_new(&path, 0o644).expect("created");
        file.write_all(&bytes).expect("written");
        file.close().expect("closed");
        let mut back = vec![1, 2, 3];
        let file = OpenFile::open_to_read(&path).expect("opened").expect("there");
        file.read_to_end(&mut back).expect("read");
        assert!(back == bytes);
        assert_eq!(list(dir.path()).expect("listed"), ["long"]);
    }
}
