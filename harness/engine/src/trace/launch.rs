//! How a program comes to be traced: it is forked, waits until the tracer has seized it, goes behind
//! the filter, and execs.
//!
//! The order matters: a filter that answers `SECCOMP_RET_TRACE` makes calls fail while nobody traces.
//! Nothing is allocated between fork and exec, since another thread may have held the allocator.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{TraceError, filter};

/// The options under which everything is traced: stop at the filter and at every birth, and die with
/// the tracer.
const OPTIONS: libc::c_int = libc::PTRACE_O_TRACESECCOMP
    | libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_EXITKILL;

/// A program to be traced.
#[derive(Debug)]
pub struct Program {
    /// The file that is executed.
    pub path: PathBuf,
    /// Its arguments, the name of the program first.
    pub arguments: Vec<OsString>,
    /// What it has as standard input, if not that of this process.
    pub stdin: Option<OwnedFd>,
    /// What it has as standard output, if not that of this process.
    pub stdout: Option<OwnedFd>,
}

impl Program {
    /// Finds a program as a shell would: by its path, or in `PATH`.
    ///
    /// # Errors
    /// When there is none, or none that may be executed.
    pub fn find(command: &[OsString]) -> Result<Self, TraceError> {
        let Some(name) = command.first() else {
            return Err(TraceError::NotFound { program: PathBuf::new() });
        };
        let named = |path: PathBuf| Self { path, arguments: command.to_vec(), stdin: None, stdout: None };
        let executable = |path: &Path| {
            let path = CString::new(path.as_os_str().as_bytes()).ok();
            // SAFETY: the text ends in a zero byte and outlives the call.
            path.is_some_and(|path| unsafe { libc::access(path.as_ptr(), libc::X_OK) } == 0)
        };
        if name.as_bytes().contains(&b'/') {
            return match Path::new(name) {
                path if !path.exists() => Err(TraceError::NotFound { program: path.to_owned() }),
                path if path.is_dir() || !executable(path) => {
                    Err(TraceError::NotExecutable { program: path.to_owned() })
                }
                path => Ok(named(path.to_owned())),
            };
        }
        let places = std::env::var_os("PATH").unwrap_or_else(|| OsStr::new("/usr/bin:/bin").to_owned());
        let mut candidates = std::env::split_paths(&places).map(|place| place.join(name));
        match candidates.find(|path| path.is_file() && executable(path)) {
            Some(path) => Ok(named(path)),
            None => Err(TraceError::NotFound { program: PathBuf::from(name) }),
        }
    }
}

/// Starts the program under trace. Returns its pid, and where it says why it could not exec: nothing
/// comes there when it could.
pub(super) fn launch(program: &Program) -> Result<(u32, File), TraceError> {
    let text = |text: &OsStr| {
        CString::new(text.as_bytes()).map_err(|_| TraceError::NotExecutable { program: program.path.clone() })
    };
    let path = text(program.path.as_os_str())?;
    let arguments =
        program.arguments.iter().map(|argument| text(argument)).collect::<Result<Vec<CString>, _>>()?;
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // A script without its first line is run by the shell, as shells do.
    let shell = [c"/bin/sh".as_ptr(), path.as_ptr()];
    let mut by_shell: Vec<*const libc::c_char> = shell.to_vec();
    by_shell.extend(pointers.iter().skip(1));
    let mut instructions = filter::program();
    let (mut gate, mut open) = pipe()?;
    let (report, mut reports) = pipe()?;
    let standard = [(&program.stdin, 0), (&program.stdout, 1)]
        .map(|(file, number)| (file.as_ref().map(AsRawFd::as_raw_fd), number));
    // SAFETY: the child calls only what may be called after a fork of one thread of several: it
    // allocates nothing, and ends in exec or _exit.
    match unsafe { libc::fork() } {
        -1 => Err(TraceError::Failed { what: "forking", error: io::Error::last_os_error() }),
        0 => {
            let error = become_program(Child {
                gate: &mut gate,
                opener: open.as_raw_fd(),
                standard,
                instructions: &mut instructions,
                path: path.as_ptr(),
                arguments: &pointers,
                by_shell: &by_shell,
            });
            let code = error.raw_os_error().unwrap_or(libc::EIO);
            let _ = reports.write_all(&code.to_ne_bytes());
            // SAFETY: ends the process, without running what belongs to the parent.
            unsafe { libc::_exit(127) }
        }
        pid => {
            drop((gate, reports));
            // SAFETY: takes plain numbers.
            let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, OPTIONS) };
            if seized == -1 {
                let error = io::Error::last_os_error();
                // Its gate closes without a word, so it ends by itself.
                drop(open);
                // SAFETY: a child of this process that nobody has waited for.
                unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
                return Err(TraceError::NotPermitted { error });
            }
            open.write_all(b"!")
                .map_err(|error| TraceError::Failed { what: "starting the program", error })?;
            Ok((pid as u32, report))
        }
    }
}

/// A pipe whose ends are closed by exec.
fn pipe() -> Result<(File, File), TraceError> {
    let mut ends: [RawFd; 2] = [-1; 2];
    // SAFETY: the array has room for both descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(TraceError::Failed { what: "making a pipe", error: io::Error::last_os_error() });
    }
    // SAFETY: both are new and belong to nobody else.
    let [read, write] = ends.map(|end| unsafe { File::from_raw_fd(end) });
    Ok((read, write))
}

struct Child<'c> {
    gate: &'c mut File,
    opener: RawFd,
    standard: [(Option<RawFd>, RawFd); 2],
    instructions: &'c mut [libc::sock_filter],
    path: *const libc::c_char,
    arguments: &'c [*const libc::c_char],
    by_shell: &'c [*const libc::c_char],
}

/// What the child does after the fork. Returns only when it could not become the program.
fn become_program(child: Child<'_>) -> io::Error {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: plain numbers; this copy of the descriptor is used no more, and would keep the gate open.
    unsafe { libc::close(child.opener) };
    let mut word = [0];
    if let Err(error) = child.gate.read_exact(&mut word) {
        return error;
    }
    for (from, to) in child.standard {
        // SAFETY: plain numbers.
        if from.is_some_and(|from| unsafe { libc::dup2(from, to) } < 0) {
            return io::Error::last_os_error();
        }
    }
    // Rust ignores it in every program of its own, and programs expect to die of it.
    // SAFETY: restores the default action.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    if let Err(error) = filter::install(child.instructions) {
        return error;
    }
    // SAFETY: texts and lists end in zero and outlive the call.
    unsafe { libc::execve(child.path, child.arguments.as_ptr(), environ) };
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOEXEC) {
        // SAFETY: as before.
        unsafe { libc::execve(c"/bin/sh".as_ptr(), child.by_shell.as_ptr(), environ) };
    }
    error
}
