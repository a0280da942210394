//! The instructions that take the place of the vDSO's functions.

/// What a dial shows.
#[derive(Clone, Copy, Debug)]
pub struct Face {
    /// What it reads on clocks that count from 1970, where the dial is at zero, in nanoseconds.
    pub real_ns: u64,
    /// The same on all others.
    pub up_ns: u64,
    /// By how much a reading moves it on, in nanoseconds.
    pub reading_ns: u8,
}

/// What is done with a function of the vDSO.
#[derive(Clone, Copy)]
pub(super) enum Instead {
    ClockGettime,
    GetTimeOfDay,
    /// This call.
    Call(i64),
    /// Nothing: the C library makes the call itself.
    Refuse,
}

#[cfg(target_arch = "x86_64")]
pub(super) const FUNCTIONS: &[(&str, Instead)] = &[
    ("__vdso_clock_gettime", Instead::ClockGettime),
    ("clock_gettime", Instead::ClockGettime),
    ("__vdso_gettimeofday", Instead::GetTimeOfDay),
    ("gettimeofday", Instead::GetTimeOfDay),
    ("__vdso_time", Instead::Call(libc::SYS_time)),
    ("time", Instead::Call(libc::SYS_time)),
    ("__vdso_getrandom", Instead::Refuse),
    ("getrandom", Instead::Refuse),
];
#[cfg(target_arch = "aarch64")]
pub(super) const FUNCTIONS: &[(&str, Instead)] = &[
    ("__kernel_clock_gettime", Instead::ClockGettime),
    ("__kernel_gettimeofday", Instead::GetTimeOfDay),
    ("__kernel_getrandom", Instead::Refuse),
];

impl Instead {
    /// The instructions of a function that makes a call and returns, or says that there is no such function.
    pub(super) fn call(self) -> Vec<u8> {
        let number = match self {
            Self::ClockGettime => libc::SYS_clock_gettime,
            Self::GetTimeOfDay => libc::SYS_gettimeofday,
            Self::Call(number) => number,
            Self::Refuse => return refusal(),
        };
        if cfg!(target_arch = "x86_64") {
            // mov eax, number; syscall; ret
            let [a, b, c, d, ..] = number.to_le_bytes();
            vec![0xb8, a, b, c, d, 0x0f, 0x05, 0xc3]
        } else {
            // mov x8, number; svc 0; ret
            let mov = 0xd280_0008_u32 | (number as u32) << 5;
            [mov, 0xd400_0001, 0xd65f_03c0].iter().flat_map(|word| word.to_le_bytes()).collect()
        }
    }

    /// The instructions of a function that reads the dial and returns, where there are any.
    pub(super) fn reading(self, dial: u64, face: Face) -> Option<Vec<u8>> {
        if !cfg!(target_arch = "x86_64") {
            return None;
        }
        let read = |code: &mut Vec<u8>| {
            code.extend([0x49, 0xb8]); // mov r8, dial
            code.extend(dial.to_le_bytes());
            code.extend([0xb8, face.reading_ns, 0, 0, 0]); // mov eax, reading
            code.extend([0xf0, 0x49, 0x0f, 0xc1, 0x00]); // lock xadd [r8], rax
            code.extend([0x48, 0xb9]); // mov rcx, real
            code.extend(face.real_ns.to_le_bytes());
        };
        const SECONDS: [u8; 13] = [
            0x48, 0x01, 0xc8, // add rax, rcx
            0x31, 0xd2, // xor edx, edx
            0xb9, 0x00, 0xca, 0x9a, 0x3b, // mov ecx, 1000000000
            0x48, 0xf7, 0xf1, // div rcx: seconds in rax, nanoseconds in rdx
        ];
        let mut code = Vec::new();
        match self {
            Self::ClockGettime => {
                read(&mut code);
                code.extend([0x49, 0xb9]); // mov r9, up
                code.extend(face.up_ns.to_le_bytes());
                code.extend([0x85, 0xff]); // test edi, edi: CLOCK_REALTIME
                code.extend([0x74, 0x0d]); // jz over
                code.extend([0x83, 0xff, libc::CLOCK_REALTIME_COARSE as u8]); // cmp edi, coarse
                code.extend([0x74, 0x08]); // je over
                code.extend([0x83, 0xff, libc::CLOCK_TAI as u8]); // cmp edi, TAI
                code.extend([0x74, 0x03]); // je over
                code.extend([0x4c, 0x89, 0xc9]); // mov rcx, r9
                code.extend(SECONDS);
                code.extend([0x48, 0x89, 0x06]); // mov [rsi], rax
                code.extend([0x48, 0x89, 0x56, 0x08]); // mov [rsi+8], rdx
            }
            Self::GetTimeOfDay => {
                code.extend([0x48, 0x85, 0xff]); // test rdi, rdi
                code.extend([0x74, 0]); // jz end
                let from = code.len();
                read(&mut code);
                code.extend(SECONDS);
                code.extend([0x48, 0x89, 0x07]); // mov [rdi], rax
                code.extend([0x89, 0xd0]); // mov eax, edx
                code.extend([0x31, 0xd2]); // xor edx, edx
                code.extend([0xb9, 0xe8, 0x03, 0x00, 0x00]); // mov ecx, 1000
                code.extend([0xf7, 0xf1]); // div ecx
                code.extend([0x48, 0x89, 0x47, 0x08]); // mov [rdi+8], rax
                code[from - 1] = (code.len() - from) as u8;
            }
            Self::Call(_) | Self::Refuse => return None,
        }
        code.extend([0x31, 0xc0, 0xc3]); // xor eax, eax; ret
        Some(code)
    }
}

/// The instructions of a function that there is not.
fn refusal() -> Vec<u8> {
    let [a, b, c, d] = (-libc::ENOSYS).to_le_bytes();
    if cfg!(target_arch = "x86_64") {
        // mov rax, -ENOSYS; ret
        vec![0x48, 0xc7, 0xc0, a, b, c, d, 0xc3]
    } else {
        // movn x0, ENOSYS - 1; ret
        let movn = 0x9280_0000_u32 | (libc::ENOSYS as u32 - 1) << 5;
        [movn, 0xd65f_03c0].iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    const FACE: Face = Face { real_ns: 1_767_225_600_000_000_000, up_ns: 86_400_000_000_000, reading_ns: 16 };

    /// Bytes that can be executed.
    struct Page(*mut u8);

    impl Page {
        fn with(code: &[u8]) -> Self {
            assert!(code.len() <= 4096, "one page");
            let access = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
            // SAFETY: a new mapping of one page, into which the code is copied that fits.
            unsafe {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let page = libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0).cast::<u8>();
                assert_ne!(page.cast(), libc::MAP_FAILED, "a page");
                page.copy_from_nonoverlapping(code.as_ptr(), code.len());
                Self(page)
            }
        }
    }

    impl Drop for Page {
        fn drop(&mut self) {
            // SAFETY: its own mapping.
            unsafe { libc::munmap(self.0.cast(), 4096) };
        }
    }

    #[test]
    fn a_clock_is_read_from_the_dial_and_moves_it_on() {
        let mut dial: u64 = 3_000_000_005;
        let code = Instead::ClockGettime.reading(&raw mut dial as u64, FACE).expect("instructions");
        let page = Page::with(&code);
        // SAFETY: the code of a function of this form.
        let read: extern "C" fn(i32, *mut libc::timespec) -> i32 = unsafe { std::mem::transmute(page.0) };
        let real = [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE, libc::CLOCK_TAI];
        let up = [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_PROCESS_CPUTIME_ID, -6];
        let mut shown: u64 = 3_000_000_005;
        for (clocks, start) in [(&real[..], FACE.real_ns), (&up, FACE.up_ns)] {
            for &clock in clocks {
                let mut time = libc::timespec { tv_sec: -1, tv_nsec: -1 };
                assert_eq!(read(clock, &raw mut time), 0);
                let now = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
                assert_eq!(now, start + shown, "clock {clock}");
                shown += 16;
            }
        }
        // SAFETY: the code above has the address.
        assert_eq!(unsafe { (&raw const dial).read_volatile() }, shown);
    }

    #[test]
    fn a_time_of_day_is_read_from_the_dial_and_moves_it_on() {
        let mut dial: u64 = 7_123_456_789;
        let code = Instead::GetTimeOfDay.reading(&raw mut dial as u64, FACE).expect("instructions");
        let page = Page::with(&code);
        // SAFETY: the code of a function of this form.
        let read: extern "C" fn(*mut libc::timeval, *mut u8) -> i32 = unsafe { std::mem::transmute(page.0) };
        let mut time = libc::timeval { tv_sec: -1, tv_usec: -1 };
        assert_eq!(read(&raw mut time, std::ptr::null_mut()), 0);
        assert_eq!((time.tv_sec, time.tv_usec), (1_767_225_607, 123_456));
        assert_eq!(read(std::ptr::null_mut(), std::ptr::null_mut()), 0, "nobody wants to know");
        // SAFETY: the code above has the address.
        assert_eq!(unsafe { (&raw const dial).read_volatile() }, 7_123_456_805);
    }

    #[test]
    fn a_function_that_is_refused_says_that_there_is_none() {
        let page = Page::with(&Instead::Refuse.call());
        // SAFETY: the code of a function of this form.
        let call: extern "C" fn() -> i64 = unsafe { std::mem::transmute(page.0) };
        assert_eq!(call(), -i64::from(libc::ENOSYS));
    }
}
