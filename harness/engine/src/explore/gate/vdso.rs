//! Clocks that programs read without a system call, made to make one.
//!
//! The kernel maps a small library, the vDSO, into every process; its functions read the clock from
//! shared memory, where no filter sees it. Their first instructions are overwritten with the system
//! call of the same name. The pages are private to the process, and no thread runs there while its
//! process stands at the gate.
//!
//! Not covered: programs that read the processor's own counter.

use std::io;

use super::memory::ClientMemory;

/// Auxiliary vector: where the vDSO begins.
const AT_SYSINFO_EHDR: u64 = 33;
/// Dynamic section tags and section types of ELF that are needed here.
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
/// Bytes of the vDSO that are looked at: it is two pages long.
const LONGEST: usize = 16 << 10;

/// The functions that tell the time, and the calls that do the same.
#[cfg(target_arch = "x86_64")]
const FUNCTIONS: &[(&str, i64)] = &[
    ("__vdso_clock_gettime", libc::SYS_clock_gettime),
    ("clock_gettime", libc::SYS_clock_gettime),
    ("__vdso_gettimeofday", libc::SYS_gettimeofday),
    ("gettimeofday", libc::SYS_gettimeofday),
    ("__vdso_time", libc::SYS_time),
    ("time", libc::SYS_time),
];
#[cfg(target_arch = "aarch64")]
const FUNCTIONS: &[(&str, i64)] =
    &[("__kernel_clock_gettime", libc::SYS_clock_gettime), ("__kernel_gettimeofday", libc::SYS_gettimeofday)];

/// The instructions of a function that makes this call and returns.
fn code(number: i64) -> Vec<u8> {
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

/// What a program was told of this when it began (`getauxval`).
///
/// # Errors
/// When the process cannot be asked.
pub fn auxiliary_value(pid: u32, wanted: u64) -> io::Result<Option<u64>> {
    let vector = std::fs::read(format!("/proc/{pid}/auxv"))?;
    let mut words = vector.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes")));
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == wanted && value != 0 {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Makes the clocks of a process's vDSO go through the gate. Returns how many functions were
/// overwritten: none where the process has no vDSO.
///
/// # Errors
/// When its memory cannot be read or written.
pub fn silence_vdso(pid: u32, memory: &ClientMemory) -> io::Result<usize> {
    let Some(base) = auxiliary_value(pid, AT_SYSINFO_EHDR)? else { return Ok(0) };
    let mut image = Vec::new();
    while image.len() < LONGEST {
        let mut page = [0; 4096];
        // What follows the last page may not be mapped.
        if memory.read(base + image.len() as u64, &mut page).is_err() {
            break;
        }
        image.extend_from_slice(&page);
    }
    let image = Image { bytes: &image };
    let mut changed = 0;
    for (name, address) in image.functions().unwrap_or_default() {
        if let Some(&(_, number)) = FUNCTIONS.iter().find(|(function, _)| *function == name) {
            memory.write(base + address, &code(number))?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// A shared library as it lies in memory.
struct Image<'b> {
    bytes: &'b [u8],
}

impl Image<'_> {
    fn u16(&self, at: u64) -> Option<u16> {
        let at = at as usize;
        Some(u16::from_le_bytes(self.bytes.get(at..at + 2)?.try_into().ok()?))
    }

    fn u32(&self, at: u64) -> Option<u32> {
        let at = at as usize;
        Some(u32::from_le_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?))
    }

    fn u64(&self, at: u64) -> Option<u64> {
        let at = at as usize;
        Some(u64::from_le_bytes(self.bytes.get(at..at + 8)?.try_into().ok()?))
    }

    fn text(&self, at: u64) -> Option<String> {
        let rest = self.bytes.get(at as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        String::from_utf8(rest[..end].to_vec()).ok()
    }

    /// Names and offsets of everything that the library exports.
    fn functions(&self) -> Option<Vec<(String, u64)>> {
        let headers = self.u64(32)?;
        let (mut load, mut dynamic) = (None, None);
        for index in 0..u64::from(self.u16(56)?) {
            let header = headers + index * u64::from(self.u16(54)?);
            match self.u32(header)? {
                // Offset in the file and address; the difference is the library's own base.
                PT_LOAD if load.is_none() => load = Some(self.u64(header + 16)? - self.u64(header + 8)?),
                PT_DYNAMIC => dynamic = Some(self.u64(header + 8)?),
                _ => {}
            }
        }
        let (base, mut at) = (load?, dynamic?);
        let (mut symbols, mut names) = (None, None);
        loop {
            match self.u64(at)? {
                0 => break,
                DT_STRTAB => names = Some(self.u64(at + 8)?),
                DT_SYMTAB => symbols = Some(self.u64(at + 8)?),
                _ => {}
            }
            at += 16;
        }
        let inside = |address: u64| if address >= base { address - base } else { address };
        let (symbols, names) = (inside(symbols?), inside(names?));
        // The table of symbols has no length of its own; the names follow it.
        let end = if names > symbols { names } else { self.bytes.len() as u64 };
        let mut functions = Vec::new();
        let mut at = symbols;
        while at + 24 <= end {
            let address = inside(self.u64(at + 8)?);
            if let Some(name) = self.text(names + u64::from(self.u32(at)?))
                && address != 0
            {
                functions.push((name, address));
            }
            at += 24;
        }
        Some(functions)
    }
}
