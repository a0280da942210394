//! Calls by name, made by a client of the tests: what they return, in words.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FlockOperation, Mode, OFlags, RenameFlags, SeekFrom, Stat, Timespec,
    Timestamps,
};
use rustix::io::Errno;

/// Makes the world in which every pair begins: two files, a link to the first, two empty directories.
pub(super) fn make_world(directory: &Path) -> std::io::Result<()> {
    std::fs::write(directory.join("f0"), b"zero....")?;
    std::fs::write(directory.join("f1"), b"one.....")?;
    symlink("f0", directory.join("s0"))?;
    std::fs::create_dir(directory.join("d0"))?;
    std::fs::create_dir(directory.join("e0"))
}

/// Who makes calls: it has one file open at most, or two after it duplicated a descriptor.
pub(super) struct Caller {
    directory: PathBuf,
    /// What it writes.
    letter: char,
    file: Option<OwnedFd>,
    copy: Option<OwnedFd>,
}

impl Caller {
    pub fn new(directory: &Path, client: u32) -> Self {
        let letter = char::from_digit(9 + client, 36).unwrap_or('z');
        Self { directory: directory.to_owned(), letter, file: None, copy: None }
    }

    /// Makes calls, and tells what they returned.
    pub fn calls(&mut self, calls: &str) -> String {
        let calls = calls.split(';').filter(|call| !call.is_empty());
        let mut tell = |call| match self.attempt(call) {
            Ok(text) => format!("{call}: {text}"),
            Err(errno) => format!("{call}: error {}", errno.raw_os_error()),
        };
        calls.map(&mut tell).collect::<Vec<String>>().join(", ")
    }

    fn attempt(&mut self, call: &str) -> Result<String, Errno> {
        let mut words = call.split(' ');
        let verb = words.next().unwrap_or_default();
        let one = words.next().unwrap_or_default();
        let path = self.directory.join(one);
        let other = self.directory.join(words.next().unwrap_or_default());
        let done = |(): ()| "done".to_owned();
        match verb {
            "open" | "create" | "exclusive" | "truncating" | "append" => {
                let write = if one.starts_with(['.', 'd', 'e']) { OFlags::RDONLY } else { OFlags::RDWR };
                let flags = match verb {
                    "create" => OFlags::RDWR | OFlags::CREATE,
                    "exclusive" => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
                    "truncating" => OFlags::RDWR | OFlags::TRUNC,
                    "append" => OFlags::RDWR | OFlags::APPEND,
                    _ => write,
                };
                self.file =
                    Some(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))?);
                Ok(done(()))
            }
            "stat" => rustix::fs::stat(path).map(|stat| told(&stat)),
            "lstat" => rustix::fs::lstat(path).map(|stat| told(&stat)),
            "exists" => rustix::fs::access(path, rustix::fs::Access::EXISTS).map(done),
            "writable" => rustix::fs::access(path, rustix::fs::Access::WRITE_OK).map(done),
            "truncate" => nix::unistd::truncate(&path, 3).map(done).map_err(errno),
            "rename" => rustix::fs::rename(path, other).map(done),
            "exchange" => rustix::fs::renameat_with(CWD, path, CWD, other, RenameFlags::EXCHANGE).map(done),
            "no-replace" => {
                rustix::fs::renameat_with(CWD, path, CWD, other, RenameFlags::NOREPLACE).map(done)
            }
            "link" => rustix::fs::link(path, other).map(done),
            "symlink" => rustix::fs::symlink(one, other).map(done),
            "readlink" => {
                rustix::fs::readlink(path, Vec::new()).map(|text| text.to_string_lossy().into_owned())
            }
            "mknod" => {
                let mode = Mode::from_raw_mode(0o644);
                rustix::fs::mknodat(CWD, path, rustix::fs::FileType::RegularFile, mode, 0).map(done)
            }
            "getxattr" => {
                let mut value = [0; 8];
                let length = rustix::fs::getxattr(path, "user.whose", &mut value)?;
                Ok(String::from_utf8_lossy(&value[..length]).into_owned())
            }
            "setxattr" => {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(path, "user.whose", &self.text(3), flags).map(done)
            }
            "nameless" => {
                let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
                self.file = Some(rustix::fs::open(&self.directory, flags, Mode::from_raw_mode(0o600))?);
                Ok(done(()))
            }
            "unlink" => rustix::fs::unlink(path).map(done),
            "mkdir" => rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).map(done),
            "rmdir" => rustix::fs::rmdir(path).map(done),
            "chmod" => rustix::fs::chmod(path, Mode::from_raw_mode(0o600)).map(done),
            "utimens" => rustix::fs::utimensat(CWD, path, &thousand(), AtFlags::empty()).map(done),
            "content" => match std::fs::read(path) {
                Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            },
            "names" => names(&rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?),
            "locks" => {
                let file = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
                let flock = |operation| rustix::fs::flock(&file, operation).is_ok();
                let free = [
                    flock(FlockOperation::NonBlockingLockExclusive),
                    flock(FlockOperation::NonBlockingLockShared),
                ];
                Ok(format!("{free:?} {:?}", holder(&file)?))
            }
            "kill" => {
                let parent = rustix::process::getppid().ok_or(Errno::SRCH)?;
                rustix::process::test_kill_process(parent).map(done)
            }
            verb => self.on_file(verb, one),
        }
    }

    fn on_file(&mut self, verb: &str, how: &str) -> Result<String, Errno> {
        let done = |(): ()| "done".to_owned();
        if verb == "close" {
            self.file = None;
            return Ok(done(()));
        }
        let Some(file) = &self.file else { return Err(Errno::BADF) };
        match verb {
            "read" => {
                let mut bytes = [0; 16];
                let read = rustix::io::read(file, &mut bytes)?;
                Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
            }
            "pread" => {
                let mut bytes = [0; 16];
                let read = rustix::io::pread(file, &mut bytes, 0)?;
                Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
            }
            "write" => rustix::io::write(file, &self.text(7)).map(|written| written.to_string()),
            "pwrite" => rustix::io::pwrite(file, &self.text(6), 0).map(|written| written.to_string()),
            "extend" => rustix::io::pwrite(file, &self.text(5), 8).map(|written| written.to_string()),
            "offset" => rustix::fs::tell(file).map(|at| at.to_string()),
            "seek-start" => rustix::fs::seek(file, SeekFrom::Start(2)).map(|at| at.to_string()),
            "seek-end" => rustix::fs::seek(file, SeekFrom::End(0)).map(|at| at.to_string()),
            "ftruncate" => rustix::fs::ftruncate(file, 3).map(done),
            "fallocate" => rustix::fs::fallocate(file, FallocateFlags::empty(), 0, 32).map(done),
            "fsync" => rustix::fs::fsync(file).map(done),
            // The open file itself, whether it has a name or not.
            "link-open" => {
                let own = format!("/proc/self/fd/{}", file.as_raw_fd());
                let name = self.directory.join(how);
                rustix::fs::linkat(CWD, own, CWD, name, AtFlags::SYMLINK_FOLLOW).map(done)
            }
            // In the directory that is open, whatever became of it.
            "stat-in" => rustix::fs::statat(file, how, AtFlags::empty()).map(|stat| told(&stat)),
            "mkdir-in" => rustix::fs::mkdirat(file, how, Mode::from_raw_mode(0o755)).map(done),
            "unlink-in" => rustix::fs::unlinkat(file, how, AtFlags::empty()).map(done),
            "create-in" => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
                rustix::fs::openat(file, how, flags, Mode::from_raw_mode(0o644)).map(drop).map(done)
            }
            "symlink-in" => rustix::fs::symlinkat("nowhere", file, how).map(done),
            "link-in" => {
                let from = self.directory.join("f0");
                rustix::fs::linkat(CWD, from, file, how, AtFlags::empty()).map(done)
            }
            "rename-in" => rustix::fs::renameat(CWD, self.directory.join("f0"), file, how).map(done),
            "dup" => {
                self.copy = Some(rustix::io::fcntl_dupfd_cloexec(file, 0)?);
                Ok(done(()))
            }
            "fstat" => rustix::fs::fstat(file).map(|stat| told(&stat)),
            "fchmod" => rustix::fs::fchmod(file, Mode::from_raw_mode(0o640)).map(done),
            "futimens" => rustix::fs::futimens(file, &thousand()).map(done),
            "list" => names(file),
            "flock" => {
                let operation = match how {
                    "exclusive" => FlockOperation::LockExclusive,
                    "shared" => FlockOperation::LockShared,
                    "try-exclusive" => FlockOperation::NonBlockingLockExclusive,
                    "try-shared" => FlockOperation::NonBlockingLockShared,
                    _ => FlockOperation::Unlock,
                };
                rustix::fs::flock(file, operation).map(done)
            }
            "posix" if how == "query" => holder(file),
            "posix" => {
                let argument = match how {
                    "exclusive" => FcntlArg::F_SETLKW(&range(libc::F_WRLCK)),
                    "shared" => FcntlArg::F_SETLKW(&range(libc::F_RDLCK)),
                    "try-exclusive" => FcntlArg::F_SETLK(&range(libc::F_WRLCK)),
                    _ => FcntlArg::F_SETLK(&range(libc::F_UNLCK)),
                };
                fcntl(file, argument).map(|_| done(())).map_err(errno)
            }
            "ofd" => {
                let kind = if how == "unlock" { libc::F_UNLCK } else { libc::F_WRLCK };
                fcntl(file, FcntlArg::F_OFD_SETLK(&range(kind))).map(|_| done(())).map_err(errno)
            }
            other => panic!("no call is called {other}"),
        }
    }
}

impl Caller {
    /// So many bytes that nobody else writes.
    fn text(&self, length: usize) -> Vec<u8> {
        vec![self.letter as u8; length]
    }
}

/// What `stat` says, but for the number of the inode.
fn told(stat: &Stat) -> String {
    format!("{:o} {} bytes {} names at {}", stat.st_mode, stat.st_size, stat.st_nlink, stat.st_mtime)
}

/// The names in a directory, sorted.
fn names(directory: &OwnedFd) -> Result<String, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.join(" "))
}

/// Which lock keeps the whole file from being locked.
fn holder(file: &OwnedFd) -> Result<String, Errno> {
    let mut lock = range(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut lock)).map_err(errno)?;
    Ok(format!("lock {}", lock.l_type))
}

/// A lock of the whole file.
fn range(kind: i32) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 }
}

/// A point in time that no clock shows.
fn thousand() -> Timestamps {
    let time = Timespec { tv_sec: 1000, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn errno(error: nix::Error) -> Errno {
    Errno::from_raw_os_error(error as i32)
}
