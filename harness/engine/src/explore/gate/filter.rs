//! The filter: which calls stop at the gate.
//!
//! A program for the kernel's classic BPF machine that looks at the number of a call ([`super::gated`]), and
//! for few calls at an argument. It cannot follow pointers, so it stops every call that takes a path; which
//! of them concern the state directory is for the supervisor to tell.

use std::io;
use std::os::fd::RawFd;
use std::sync::LazyLock;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

use super::gated::{Caller, HARMLESS_REQUESTS, REFUSED, calls_gated};
use crate::process::quiet;

const LOAD: u32 = BPF_LD | BPF_W | BPF_ABS;
const EQUAL: u32 = BPF_JMP | BPF_JEQ | BPF_K;
const AT_LEAST: u32 = BPF_JMP | BPF_JGE | BPF_K;
const MASK: u32 = BPF_ALU | BPF_AND | BPF_K;
const RETURN: u32 = BPF_RET | BPF_K;

/// Offsets into `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The low and the high word of where the call returns to.
const INSTRUCTION: [u32; 2] = if cfg!(target_endian = "big") { [12, 8] } else { [8, 12] };
const fn low_word_of_argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
/// Calls of the x32 interface have this bit in their number.
const X32: u32 = 0x4000_0000;

const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

const fn jump(code: u32, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: yes, jf: no, k }
}

const NOTIFY: sock_filter = statement(RETURN, libc::SECCOMP_RET_USER_NOTIF);
const ALLOW: sock_filter = statement(RETURN, libc::SECCOMP_RET_ALLOW);
const REFUSE: sock_filter = statement(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);

/// What is done with a call, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    Allow,
    Notify,
    Refuse,
    /// Memory without a file behind it is nobody else's business.
    UnlessAnonymous,
    /// See [`HARMLESS_REQUESTS`].
    UnlessHarmless,
}

impl Treatment {
    fn of(number: libc::c_long, gated: &[libc::c_long]) -> Self {
        match number {
            libc::SYS_mmap => Self::UnlessAnonymous,
            libc::SYS_ioctl => Self::UnlessHarmless,
            number if REFUSED.contains(&number) => Self::Refuse,
            number if gated.contains(&number) => Self::Notify,
            _ => Self::Allow,
        }
    }
}

/// Calls from this number on, up to the next one's, are treated alike.
type Range = (u32, Treatment);

/// All numbers, in ranges.
fn ranges(caller: Caller) -> Vec<Range> {
    let gated = calls_gated(caller);
    let known = gated.iter().chain(REFUSED).chain(&[libc::SYS_mmap, libc::SYS_ioctl]);
    let last = known.copied().max().unwrap_or(0);
    let mut ranges: Vec<Range> = Vec::new();
    for number in 0..=last + 1 {
        let treatment = Treatment::of(number, &gated);
        if ranges.last().is_none_or(|(_, before)| *before != treatment) {
            ranges.push((number as u32, treatment));
        }
    }
    ranges
}

/// Where the ends of the program are, which all ways through it share: the fewer instructions, the sooner it is
/// installed.
struct Ends {
    unless_anonymous: usize,
    unless_harmless: usize,
    /// An agent's calls for itself ([`quiet`]).
    unless_quiet: usize,
    allow: usize,
    notify: usize,
    refuse: usize,
}

impl Ends {
    /// The ends of a program that is so long without them.
    const fn after(length: usize) -> Self {
        let unless_harmless = length + 3;
        let unless_quiet = unless_harmless + 1 + HARMLESS_REQUESTS.len();
        let allow = unless_quiet + 2 * INSTRUCTION.len();
        let (notify, refuse) = (allow + 1, allow + 2);
        Self { unless_anonymous: length, unless_harmless, unless_quiet, allow, notify, refuse }
    }

    const fn of(&self, treatment: Treatment) -> usize {
        match treatment {
            Treatment::Allow => self.allow,
            Treatment::Notify => self.unless_quiet,
            Treatment::Refuse => self.refuse,
            Treatment::UnlessAnonymous => self.unless_anonymous,
            Treatment::UnlessHarmless => self.unless_harmless,
        }
    }

    fn write(&self, program: &mut Vec<sock_filter>) {
        program.push(statement(LOAD, low_word_of_argument(3)));
        program.push(statement(MASK, libc::MAP_ANONYMOUS as u32));
        branch(program, EQUAL, 0, self.notify, self.allow);
        program.push(statement(LOAD, low_word_of_argument(1)));
        for (at, request) in HARMLESS_REQUESTS.into_iter().enumerate() {
            let is_last = at + 1 == HARMLESS_REQUESTS.len();
            let otherwise = if is_last { self.notify } else { program.len() + 1 };
            branch(program, EQUAL, request, self.allow, otherwise);
        }
        let quiet = quiet::instruction();
        for (word, offset) in [quiet as u32, (quiet >> 32) as u32].into_iter().zip(INSTRUCTION) {
            program.push(statement(LOAD, offset));
            let otherwise = if offset == INSTRUCTION[1] { self.allow } else { program.len() + 1 };
            branch(program, EQUAL, word, otherwise, self.notify);
        }
        program.extend([ALLOW, NOTIFY, REFUSE]);
    }
}

/// A comparison, and the instructions by which it goes on.
fn branch(program: &mut Vec<sock_filter>, code: u32, k: u32, yes: usize, no: usize) {
    let next = program.len() + 1;
    let over = |to: usize| u8::try_from(to - next).expect("the program takes less than 256 instructions");
    program.push(jump(code, k, over(yes), over(no)));
}

/// Bisects: the kernel runs the program for every number there is when it is installed, to learn which
/// are always allowed, and to try them one after the other would take a quarter of a millisecond.
fn bisect(program: &mut Vec<sock_filter>, ranges: &[Range], ends: &Ends) {
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let next = program.len() + 1;
    let begins = |ranges: &[Range], at: usize| match ranges {
        [(_, treatment)] => ends.of(*treatment),
        _ => at,
    };
    // One comparison fewer than there are ranges.
    let yes = begins(above, next + below.len() - 1);
    branch(program, AT_LEAST, above[0].0, yes, begins(below, next));
    for ranges in [below, above] {
        if ranges.len() > 1 {
            bisect(program, ranges, ends);
        }
    }
}

static FOR_STRATEGIES: LazyLock<Vec<sock_filter>> = LazyLock::new(|| program(Caller::Strategy));
static FOR_PROGRAMS: LazyLock<Vec<sock_filter>> = LazyLock::new(|| program(Caller::Program));

/// Has the filters ready for every copy of this process.
pub fn prepare() {
    LazyLock::force(&FOR_STRATEGIES);
    LazyLock::force(&FOR_PROGRAMS);
}

/// The filter as a program.
fn program(caller: Caller) -> Vec<sock_filter> {
    let ranges = ranges(caller);
    let ends = Ends::after(4 + ranges.len() - 1);
    // A program of another architecture shows itself to the supervisor, which cannot follow it.
    let mut program = vec![statement(LOAD, ARCHITECTURE)];
    branch(&mut program, EQUAL, NATIVE, 2, ends.notify);
    program.push(statement(LOAD, NUMBER));
    branch(&mut program, AT_LEAST, X32, ends.notify, 4);
    bisect(&mut program, &ranges, &ends);
    ends.write(&mut program);
    program
}

/// Puts this process, and every thread and process that it will ever start, behind the gate.
/// Returns the descriptor of the listener, which the supervisor has to fetch; from now on no gated
/// call returns before somebody listens.
///
/// # Errors
/// When the kernel has no user notification, or a listener is there already.
pub fn install(caller: Caller) -> io::Result<RawFd> {
    let program = match caller {
        Caller::Strategy => &*FOR_STRATEGIES,
        Caller::Program => &*FOR_PROGRAMS,
    };
    // The kernel does not write to it.
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: takes plain numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The second flag, of Linux 5.19, keeps a signal from breaking off a call that was received.
    let flags = [
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
    ];
    let mut error = io::Error::from_raw_os_error(libc::ENOSYS);
    for flags in flags {
        // SAFETY: the filter outlives the call, which copies it.
        let listener = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
        };
        if listener >= 0 {
            return Ok(listener as RawFd);
        }
        error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            break;
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
    const STOPPED: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const NOT_THERE: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// What the kernel's machine makes of a call.
    fn verdict(program: &[sock_filter], architecture: u32, number: u32, arguments: [u32; 6]) -> u32 {
        verdict_at(program, 0x7fff_1234_5678, architecture, number, arguments)
    }

    /// The same, of a call that returns to this place.
    fn verdict_at(
        program: &[sock_filter],
        instruction: u64,
        architecture: u32,
        number: u32,
        arguments: [u32; 6],
    ) -> u32 {
        let (mut at, mut register) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            let holds = match u32::from(code) {
                LOAD => {
                    let argument = |index: &u32| low_word_of_argument(*index) == k;
                    register = match k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        _ if k == INSTRUCTION[0] => instruction as u32,
                        _ if k == INSTRUCTION[1] => (instruction >> 32) as u32,
                        _ => arguments[(0..6).find(argument).expect("an argument") as usize],
                    };
                    at += 1;
                    continue;
                }
                MASK => {
                    register &= k;
                    at += 1;
                    continue;
                }
                RETURN => return k,
                EQUAL => register == k,
                AT_LEAST => register >= k,
                other => panic!("instruction {other:#x}"),
            };
            at += 1 + usize::from(if holds { jt } else { jf });
        }
    }

    #[test]
    fn every_number_is_treated_as_the_lists_say() {
        for caller in [Caller::Strategy, Caller::Program] {
            every_number_is_treated_as_listed(caller);
        }
    }

    fn every_number_is_treated_as_listed(caller: Caller) {
        let (program, gated) = (program(caller), calls_gated(caller));
        for number in 0..1000_u32 {
            let listed = |list: &[libc::c_long]| list.contains(&libc::c_long::from(number));
            let expected = match number {
                _ if listed(&[libc::SYS_mmap, libc::SYS_ioctl]) => continue,
                _ if listed(REFUSED) => NOT_THERE,
                _ if listed(&gated) => STOPPED,
                _ => ALLOWED,
            };
            assert_eq!(verdict(&program, NATIVE, number, [0; 6]), expected, "call {number}");
            assert_eq!(verdict(&program, !NATIVE, number, [0; 6]), STOPPED, "elsewhere: call {number}");
            assert_eq!(verdict(&program, NATIVE, number | X32, [0; 6]), STOPPED, "x32: call {number}");
        }
        assert_eq!(verdict(&program, NATIVE, u32::MAX, [0; 6]), STOPPED);
    }

    #[test]
    fn who_is_told_a_number_of_its_own_stops_to_ask_for_it_and_programs_do_not() {
        let asks =
            |caller: Caller, number: libc::c_long| verdict(&program(caller), NATIVE, number as u32, [0; 6]);
        assert_eq!(asks(Caller::Strategy, libc::SYS_getpid), STOPPED);
        assert_eq!(asks(Caller::Program, libc::SYS_getpid), ALLOWED);
        assert_eq!(asks(Caller::Program, libc::SYS_getppid), STOPPED, "the client's number");
    }

    #[test]
    fn memory_of_files_and_unknown_requests_stop_and_others_do_not() {
        let program = program(Caller::Program);
        let mapped =
            |flags: i32| verdict(&program, NATIVE, libc::SYS_mmap as u32, [0, 0, 0, flags as u32, 0, 0]);
        assert_eq!(mapped(libc::MAP_SHARED), STOPPED);
        assert_eq!(mapped(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS), ALLOWED);
        let asked =
            |request: u32| verdict(&program, NATIVE, libc::SYS_ioctl as u32, [0, request, 0, 0, 0, 0]);
        assert_eq!(HARMLESS_REQUESTS.map(asked), [ALLOWED; 5]);
        assert_eq!(asked(0x4020_940d), STOPPED, "FICLONERANGE");
    }

    #[test]
    fn one_instruction_passes_and_its_neighbours_do_not() {
        let program = program(Caller::Program);
        let (quiet, read) = (quiet::instruction(), libc::SYS_read as u32);
        assert_eq!(verdict_at(&program, quiet, NATIVE, read, [0; 6]), ALLOWED);
        for other in [quiet + 1, quiet - 1, quiet ^ 1 << 32, quiet ^ 1 << 31, quiet & 0xffff_ffff] {
            assert_eq!(verdict_at(&program, other, NATIVE, read, [0; 6]), STOPPED, "{other:#x}");
        }
        assert_eq!(verdict_at(&program, quiet, !NATIVE, read, [0; 6]), STOPPED, "another architecture");
        let refused = REFUSED[0] as u32;
        assert_eq!(verdict_at(&program, quiet, NATIVE, refused, [0; 6]), NOT_THERE);
    }

    #[test]
    fn few_instructions_are_run_for_any_call() {
        // The kernel runs it for each of some 900 numbers when it is installed.
        for caller in [Caller::Strategy, Caller::Program] {
            let deepest = ranges(caller).len().next_power_of_two().ilog2();
            assert!(deepest <= 8, "{deepest}");
            // It translates each of them as well.
            assert!(program(caller).len() < 160, "{}", program(caller).len());
        }
    }
}
