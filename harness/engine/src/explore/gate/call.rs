//! A call as the supervisor understands it, and what it works on. `decode` makes it.

use smallvec::SmallVec;

use super::socket::SocketCall;
use super::timer::TimerCall;
use super::wait::Wait;

/// A path, and the directory that it is relative to: a descriptor, or `AT_FDCWD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// Where a relative path begins.
    pub directory: i32,
    /// The path, without its final zero byte.
    pub path: Vec<u8>,
}

/// A piece of a client's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub address: u64,
    /// Bytes.
    pub length: usize,
}

/// What a call works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An open descriptor.
    Fd(i32),
    /// What a path leads to. The flag: whether a symbolic link at its end is followed.
    Path(At, bool),
}

/// In which form a `stat` wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatForm {
    /// `struct stat`.
    Stat,
    /// `struct statx`, with this mask.
    Statx(u32),
}

/// Which family of advisory locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKind {
    /// `flock`: belongs to the open file.
    Flock,
    /// `F_SETLK`: belongs to the process, and goes when it closes any descriptor of the file.
    Posix,
    /// `F_OFD_SETLK`: belongs to the open file, and conflicts with `Posix`.
    OpenFile,
}

/// What is asked of an advisory lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockRequest {
    /// To have it alone.
    Exclusive,
    /// To share it.
    Shared,
    /// To give it back.
    Unlock,
    /// To be told who has it (`F_GETLK`).
    Query,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the calls in their manual pages")]
pub enum Call {
    Open {
        at: At,
        flags: i32,
        mode: u32,
    },
    Close {
        fd: i32,
    },
    CloseRange {
        first: u32,
        last: u32,
        flags: u32,
    },
    /// `dup`, `dup2`, `dup3`, `F_DUPFD`: to the lowest free number, that one, or one that is not less.
    Duplicate {
        fd: i32,
        to: Option<i32>,
        not_below: i32,
        close_on_exec: bool,
    },
    Read {
        fd: i32,
        into: SmallVec<[Span; 1]>,
        offset: Option<u64>,
    },
    Write {
        fd: i32,
        from: SmallVec<[Span; 1]>,
        offset: Option<u64>,
    },
    Seek {
        fd: i32,
        offset: i64,
        whence: i32,
    },
    Truncate {
        target: Target,
        length: i64,
    },
    Allocate {
        fd: i32,
        mode: i32,
        offset: i64,
        length: i64,
    },
    Sync {
        fd: i32,
    },
    Stat {
        target: Target,
        form: StatForm,
        buffer: u64,
    },
    Access {
        at: At,
        mode: i32,
        follow: bool,
    },
    ReadLink {
        at: At,
        buffer: Span,
    },
    Rename {
        from: At,
        to: At,
        flags: u32,
    },
    Link {
        from: At,
        to: At,
        flags: i32,
    },
    Symlink {
        text: Vec<u8>,
        at: At,
    },
    Unlink {
        at: At,
        directory: bool,
    },
    MakeDirectory {
        at: At,
        mode: u32,
    },
    /// `mknod`: a regular file, or something special.
    MakeNode {
        at: At,
        mode: u32,
    },
    /// `getdents64`; its older form lists into a buffer of which nothing is known here.
    List {
        fd: i32,
        into: Option<Span>,
    },
    ChangeMode {
        target: Target,
        mode: u32,
    },
    ChangeOwner {
        target: Target,
    },
    /// An extended attribute, or what `statfs` tells.
    Attribute {
        number: i64,
        target: Target,
        changes: bool,
    },
    SetTimes {
        target: Target,
        times: u64,
    },
    /// A lock on a file. `length` 0 reaches to its end; `flock` locks all of it.
    Lock {
        fd: i32,
        kind: LockKind,
        request: LockRequest,
        wait: bool,
        start: i64,
        length: i64,
    },
    Map {
        fd: i32,
        shared: bool,
    },
    Futex {
        address: u64,
        operation: i32,
        value: u32,
        timeout: u64,
        third: u32,
    },
    /// Until a point in time, or for a while; nanoseconds.
    Sleep {
        clock: i32,
        nanoseconds: u64,
        absolute: bool,
    },
    Yield,
    Clock {
        clock: i32,
        buffer: u64,
    },
    TimeOfDay {
        buffer: u64,
    },
    Time {
        buffer: u64,
    },
    /// Of the thread, or of the whole process.
    Exit {
        group: bool,
    },
    /// Which process it is that calls, or the one that started it.
    GetPid {
        parent: bool,
    },
    /// The beginning of a thread or a process, with the flags of `clone`.
    Spawn {
        flags: u64,
    },
    /// Another program in the same process.
    Execute,
    /// For a pipe, a socket, a child, or a signal.
    Wait(Wait),
    /// On a socket.
    Socket(SocketCall),
    /// On a timer.
    Timer(TimerCall),
    /// Random bytes.
    Random {
        buffer: u64,
        length: u64,
    },
    /// A signal to one thread.
    ThreadKill {
        pid: i32,
        tid: i32,
        signal: i32,
    },
    Kill {
        pid: i32,
        signal: i32,
    },
    ChangeDirectory {
        target: Target,
    },
    SetUmask {
        mask: u32,
    },
    /// A call that has no meaning of its own here: on which descriptor, if on one.
    Other {
        number: i64,
        fd: Option<i32>,
    },
}
