//! Facts about the machine: what a result has to say of where it was obtained, and what `doctor`
//! reports.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The release of the kernel, for example `6.1.0-13-amd64`.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The CPUs that this process may use.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Type of the file system that a path is on, as `/proc/self/mountinfo` names it (`ext4`, `tmpfs`).
///
/// # Errors
/// When the path cannot be looked up.
pub fn file_system(path: &Path) -> io::Result<String> {
    let path = fs::canonicalize(path)?;
    let device = fs::metadata(&path)?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    // Two mounts may show one device; and btrfs gives subvolumes numbers that no mount has. So the
    // longest mount point that contains the path decides, and the device only breaks ties.
    let mut best: Option<(usize, bool, String)> = None;
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut fields = left.split(' ');
        let (Some(number), Some(mount_point), Some(kind)) =
            (fields.nth(2), fields.nth(1), right.split(' ').next())
        else {
            continue;
        };
        let mount_point = unescape(mount_point);
        if path.starts_with(&mount_point) {
            let candidate =
                (mount_point.as_os_str().len(), number == format!("{major}:{minor}"), kind.to_owned());
            if best.as_ref().is_none_or(|best| (candidate.0, candidate.1) >= (best.0, best.1)) {
                best = Some(candidate);
            }
        }
    }
    best.map(|(_, _, kind)| kind)
        .ok_or_else(|| io::Error::other(format!("no mount contains {}", path.display())))
}

/// Mount points are written with octal escapes for blanks.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = (byte == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match escape {
            Some(value) => {
                bytes.push(value);
                rest = &tail[3..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// A directory on another file system than `dir`'s that this process can write to, if there is one
/// in the usual places.
pub fn directory_elsewhere(dir: &Path) -> Option<PathBuf> {
    let here = fs::metadata(dir).ok()?.dev();
    ["/dev/shm", "/tmp", "/var/tmp"].into_iter().map(PathBuf::from).find(|candidate| {
        fs::metadata(candidate).is_ok_and(|found| found.is_dir() && found.dev() != here)
            && writable(candidate)
    })
}

/// Whether this process may make files in a directory.
pub fn writable(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

/// Whether this process has the rights of root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The greatest number of processes that this user may have; `None`: no limit.
pub fn process_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nproc).current
}

/// Whether this process may give itself a real-time priority.
pub fn real_time_priorities() -> bool {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: both calls concern this thread alone and read a live local; the policy is put back.
    unsafe {
        let before = libc::sched_getscheduler(0);
        let allowed = libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) == 0;
        if allowed {
            let ordinary = libc::sched_param { sched_priority: 0 };
            libc::sched_setscheduler(0, before.max(0), &raw const ordinary);
        }
        allowed
    }
}

/// Whether a program of this name is on the search path.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| {
        candidate.is_file() && rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_told_by_their_mount() {
        assert_eq!(file_system(Path::new("/proc/self")).expect("proc is mounted"), "proc");
        assert!(file_system(Path::new("/no/such/path")).is_err());
    }

    #[test]
    fn mount_points_with_blanks_are_read_right() {
        assert_eq!(unescape("/mnt/a\\040b"), PathBuf::from("/mnt/a b"));
        assert_eq!(unescape("/mnt/plain"), PathBuf::from("/mnt/plain"));
    }

    #[test]
    fn a_program_is_found_on_the_path_or_not_at_all() {
        assert!(program("sh").is_some());
        assert!(program("no-such-program-anywhere").is_none());
    }
}
