//! A client that plays a program: a text, one word a call, which is the name of its strategy.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use tearproof_core::object::Object;
use tearproof_core::strategy::{Client, ClientContext, Strategy, StrategyError, StrategyInfo};

const INFO: StrategyInfo = StrategyInfo {
    name: "script",
    algorithm: "calls in a row",
    claims: &[],
    source: "this test",
    objects: Object::ALL,
    broken: false,
    timed: false,
};

/// The programs of all clients.
pub(crate) struct Script {
    pub programs: Vec<Vec<String>>,
    /// What was returned is left in a file beside the state directory, since somebody else drives the program;
    /// otherwise it is what the operation failed with.
    pub leaves_results: bool,
}

impl Strategy for Script {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn prepare(&self, context: &ClientContext, _: Option<&[u8]>) -> Result<(), StrategyError> {
        for (name, content) in [("f0", &b"zero...."[..]), ("f1", b"one.....")] {
            std::fs::write(context.dir.join(name), content)
                .map_err(|error| StrategyError::failed(error.to_string()))?;
        }
        Ok(())
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        let program = self.programs.get(context.client as usize - 1).cloned().unwrap_or_default();
        Ok(Box::new(Player {
            program,
            dir: context.dir.clone(),
            client: context.client,
            child: None,
            results: String::new(),
            leaves_results: self.leaves_results,
        }))
    }
}

/// One of them.
pub(crate) struct Player {
    pub program: Vec<String>,
    pub dir: PathBuf,
    pub client: u32,
    pub child: Option<Child>,
    /// What was returned so far.
    pub results: String,
    pub leaves_results: bool,
}

impl Client for Player {
    fn read(&mut self, _: &mut Vec<u8>) -> Result<tearproof_core::strategy::Found, StrategyError> {
        Ok(tearproof_core::strategy::Found::Absent)
    }

    fn write(&mut self, _: &[u8]) -> Result<(), StrategyError> {
        if !self.leaves_results {
            return Err(StrategyError::failed(self.play()));
        }
        let path = self.dir.with_file_name(format!("result-{}", self.client));
        // Done before the first gate: what an execution left that was broken off is not of this one.
        let _ = std::fs::remove_file(&path);
        let results = self.play();
        self.results += &results;
        std::fs::write(path, &self.results).map_err(|error| StrategyError::failed(error.to_string()))
    }
}

impl Player {
    /// Makes all calls; what each of them returned.
    pub(crate) fn play(&mut self) -> String {
        let mut files: [Option<OwnedFd>; 4] = [None, None, None, None];
        let mut results = String::new();
        for call in std::mem::take(&mut self.program) {
            let result = match call.strip_prefix('B') {
                Some(calls) => Ok(self.begin_child(calls)),
                None if call == "W" => Ok(self.wait_for_child()),
                None => self.call(&call, &mut files),
            };
            let _ = write!(results, "{call}={} ", result.unwrap_or_else(|errno| format!("{errno:?}")));
            self.program.push(call);
        }
        results
    }

    fn begin_child(&mut self, calls: &str) -> String {
        let mut command = Command::new("/proc/self/exe");
        command.arg("play").arg(&self.dir).arg(self.client.to_string()).arg(calls);
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a process"));
        "ok".to_owned()
    }

    fn wait_for_child(&mut self) -> String {
        let output = self.child.take().expect("a child").wait_with_output().expect("its output");
        format!("({}{})", String::from_utf8_lossy(&output.stdout), output.status.code().unwrap_or(-1))
    }

    fn call(&self, call: &str, files: &mut [Option<OwnedFd>; 4]) -> Result<String, Errno> {
        let digit = |at: usize| usize::from(call.as_bytes().get(at).map_or(0, |byte| byte - b'0'));
        let path = |number: usize| self.dir.join(format!("f{number}"));
        let (one, other) = (digit(1), digit(2));
        let open =
            |flags: OFlags| rustix::fs::open(path(one), flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644));
        let flock = |operation: FlockOperation| match &files[one] {
            Some(fd) => rustix::fs::flock(fd, operation),
            None => Err(Errno::BADF),
        };
        let done = |(): ()| String::from("ok");
        match call.as_bytes()[0] {
            b'n' => files[one] = Some(open(OFlags::RDWR | OFlags::CREATE)?),
            b'o' => files[one] = Some(open(OFlags::RDWR)?),
            b'x' => files[one] = Some(open(OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?),
            b't' => files[one] = Some(open(OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)?),
            b'a' => files[one] = Some(open(OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)?),
            b'w' => {
                let text = format!("client-{}", self.client);
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                return rustix::io::write(fd, text.as_bytes()).map(|written| written.to_string());
            }
            // Two pages of letters, which are written and read page by page.
            b'W' => {
                let text = [b'a' + self.client as u8; 8192];
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                return rustix::io::pwrite(fd, &text, 0).map(|written| written.to_string());
            }
            b'R' => {
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                let mut buffer = [0; 8192];
                let read = rustix::io::pread(fd, &mut buffer, 0)?;
                let at = |place: usize| char::from(*buffer[..read].get(place).unwrap_or(&b'-'));
                return Ok(format!("{read} bytes, {}{}", at(0), at(4096)));
            }
            b'p' => {
                let text = format!("CLIENT+{}", self.client);
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                return rustix::io::pwrite(fd, text.as_bytes(), 0).map(|written| written.to_string());
            }
            b'r' => {
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                let mut buffer = [0; 16];
                let read = rustix::io::pread(fd, &mut buffer, 0)?;
                return Ok(String::from_utf8_lossy(&buffer[..read]).into_owned());
            }
            b'c' => files[one] = None,
            b'm' => return rustix::fs::rename(path(one), path(other)).map(done),
            b'l' => return rustix::fs::link(path(one), path(other)).map(done),
            b'u' => return rustix::fs::unlink(path(one)).map(done),
            b'k' => return rustix::fs::mkdir(path(one), Mode::from_raw_mode(0o755)).map(done),
            b's' => {
                let stat = rustix::fs::stat(path(one))?;
                return Ok(format!("{} bytes, {} names", stat.st_size, stat.st_nlink));
            }
            // Whether it is older than a minute.
            b'O' => {
                let changed = std::fs::metadata(path(one)).and_then(|metadata| metadata.modified());
                let changed = changed.map_err(|_| Errno::NOENT)?;
                let age = std::time::SystemTime::now().duration_since(changed).unwrap_or_default();
                return Ok(if age > Duration::from_secs(60) { "old" } else { "young" }.to_owned());
            }
            b'e' => return rustix::fs::access(path(one), rustix::fs::Access::EXISTS).map(done),
            b'z' => {
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                return rustix::fs::ftruncate(fd, 3).map(done);
            }
            // Whether this process has done so more than twice.
            b'Z' => {
                static BEFORE: AtomicU32 = AtomicU32::new(0);
                let before = BEFORE.fetch_add(1, Ordering::Relaxed);
                return Ok(if before < 2 { "seldom" } else { "often" }.to_owned());
            }
            b'd' => std::thread::sleep(Duration::from_millis(one as u64)),
            b'D' => std::thread::sleep(Duration::from_millis(200 * one as u64)),
            b'i' => {
                let pid = std::process::id().to_string();
                return std::fs::write(path(one), pid).map(done).map_err(|_| Errno::IO);
            }
            b'v' => {
                let text = std::fs::read_to_string(path(one)).map_err(|_| Errno::NOENT)?;
                let pid = text.parse().ok().and_then(rustix::process::Pid::from_raw).ok_or(Errno::INVAL)?;
                return rustix::process::test_kill_process(pid).map(done);
            }
            b'L' => {
                let socket = stream_socket()?;
                // As those do it whose directory has too long a name.
                let dir = rustix::fs::open(&self.dir, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
                let address = format!("/proc/self/fd/{}/f{one}", dir.as_raw_fd());
                rustix::net::bind(&socket, &SocketAddrUnix::new(address)?)?;
                rustix::net::listen(&socket, 8)?;
                files[one] = Some(socket);
            }
            // The same socket once more; a copy that was made before; who accepts no more.
            b'Y' => {
                let Some(fd) = &files[other] else { return Err(Errno::BADF) };
                rustix::net::connect(fd, &SocketAddrUnix::new(path(one))?)?;
            }
            b'J' => {
                let socket = stream_socket()?;
                files[other] = Some(rustix::io::dup(&socket)?);
                rustix::net::connect(&socket, &SocketAddrUnix::new(path(one))?)?;
            }
            b'X' => {
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                rustix::net::shutdown(fd, Shutdown::Both)?;
            }
            b'C' => {
                let socket = stream_socket()?;
                rustix::net::connect(&socket, &SocketAddrUnix::new(path(one))?)?;
                files[other] = Some(socket);
            }
            b'A' => {
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                files[other] = Some(rustix::net::accept_with(fd, SocketFlags::CLOEXEC)?);
            }
            b'M' => {
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                let text = format!("m{}", self.client);
                return rustix::net::send(fd, text.as_bytes(), SendFlags::NOSIGNAL)
                    .map(|sent| sent.to_string());
            }
            // As much as there is; as much as is in one message; what is there without waiting; or in some time.
            b'G' | b'g' | b'H' | b'Q' => {
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                if call.starts_with('Q') {
                    set_socket_timeout(fd, Timeout::Recv, Some(Duration::from_millis(5)))?;
                }
                let flags = if call.starts_with('H') { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
                let mut buffer = [0; 16];
                let room = if call.starts_with('g') { 2 } else { 16 };
                let (read, _) = rustix::net::recv(fd, &mut buffer[..room], flags)?;
                return Ok(String::from_utf8_lossy(&buffer[..read]).into_owned());
            }
            // Whatever comes first of two; what is there without waiting, or in some time; by an epoll.
            b'P' | b'q' | b'V' | b'E' => {
                let sources: Vec<&OwnedFd> =
                    [one, other].into_iter().filter_map(|at| files[at].as_ref()).collect();
                if sources.is_empty() {
                    return Err(Errno::BADF);
                }
                if call.starts_with('E') {
                    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC)?;
                    for (at, fd) in sources.iter().enumerate() {
                        let data = rustix::event::epoll::EventData::new_u64(at as u64);
                        rustix::event::epoll::add(&epoll, fd, data, rustix::event::epoll::EventFlags::IN)?;
                    }
                    let mut events = Vec::with_capacity(4);
                    rustix::event::epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
                    return Ok(events.iter().map(|event| event.data.u64().to_string()).collect());
                }
                let mut all: Vec<PollFd<'_>> =
                    sources.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
                let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
                let soon = rustix::event::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
                let limit = match call.as_bytes()[0] {
                    b'q' => Some(&now),
                    b'V' => Some(&soon),
                    _ => None,
                };
                rustix::event::poll(&mut all, limit)?;
                let come = |fd: &PollFd<'_>| if fd.revents().contains(PollFlags::IN) { "1" } else { "0" };
                return Ok(all.iter().map(come).collect());
            }
            b'h' => {
                let Some(fd) = &files[one] else { return Err(Errno::BADF) };
                return rustix::net::shutdown(fd, Shutdown::Write).map(done);
            }
            b'F' => return flock(FlockOperation::LockExclusive).map(done),
            // For so many fifths of a second at most.
            b'f' => return before_alarm(other, || flock(FlockOperation::LockExclusive)).map(done),
            b'j' => {
                let nap = rustix::thread::Timespec { tv_sec: 0, tv_nsec: 200_000_000 * one as i64 };
                let sleep = || match rustix::thread::nanosleep(&nap) {
                    rustix::thread::NanosleepRelativeResult::Ok => Ok(()),
                    _ => Err(Errno::INTR),
                };
                return before_alarm(other, sleep).map(done);
            }
            // From now on it dies after so many seconds.
            b'y' => set_alarm(5 * one).map(drop)?,
            b'S' => return flock(FlockOperation::LockShared).map(done),
            b'T' => return flock(FlockOperation::NonBlockingLockExclusive).map(done),
            b'U' => return flock(FlockOperation::Unlock).map(done),
            other => panic!("no call is called {}", char::from(other)),
        }
        Ok("ok".to_owned())
    }
}

/// Does something that a signal cuts short after so many fifths of a second.
#[expect(unsafe_code, reason = "handlers of signals have no safe wrapper")]
fn before_alarm(fifths: usize, what: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    extern "C" fn heard(_: i32) {}
    // Without SA_RESTART: the call fails.
    let action = SigAction::new(SigHandler::Handler(heard), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGALRM, &action) }.map_err(|_| Errno::INVAL)?;
    set_alarm(fifths)?;
    let done = what();
    let left = set_alarm(0)?;
    // Who was suspended meanwhile may have the lock, and hear the alarm as well.
    assert!(done.is_ok() || left == (0, 0), "{left:?} is left of a timer: {done:?}");
    done
}

/// Has an alarm come after so many fifths of a second; what was left of the one before, in seconds and microseconds.
#[expect(unsafe_code, reason = "timers have no safe wrapper")]
fn set_alarm(fifths: usize) -> Result<(i64, i64), Errno> {
    // The supervisor blocks signals, and clients have its mask.
    SigSet::from_iter([Signal::SIGALRM]).thread_unblock().map_err(|_| Errno::INVAL)?;
    let none = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let value = libc::timeval { tv_sec: fifths as i64 / 5, tv_usec: fifths as i64 % 5 * 200_000 };
    let timer = libc::itimerval { it_interval: none, it_value: value };
    let mut left = libc::itimerval { it_interval: none, it_value: none };
    // SAFETY: the kernel reads one structure and writes another.
    let done =
        unsafe { libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const timer, &raw mut left) };
    assert_eq!(done, 0, "a timer");
    Ok((left.it_value.tv_sec, left.it_value.tv_usec))
}

fn stream_socket() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}
