//! Clocks that programs read without a system call, made to show the virtual time.
//!
//! The kernel maps a small library, the vDSO, into every process; its functions read the clock from
//! shared memory, where no filter sees it. They are overwritten. Where there is room, by instructions that read a
//! word of the process's own memory, the **dial**, and move it on by one reading: so a program that looks at its
//! clock a thousand times before it begins, as runtimes do, need not come to the gate for it. Elsewhere by the system
//! call of the same name. The pages are private to the process, and no thread runs there while its process
//! stands at the gate.
//!
//! The dial lies at the upper end of the first stack, in the eight bytes that the kernel leaves free above the name of
//! the program.
//!
//! Not covered: programs that read the processor's own counter.

mod code;

use std::fs::File;
use std::io::{self, Read};

use super::memory::ClientMemory;
use code::FUNCTIONS;
pub use code::Face;

/// Auxiliary vector: where the vDSO begins.
const AT_SYSINFO_EHDR: u64 = 33;
/// Dynamic section tags and section types of ELF that are needed here.
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
/// Bytes of the vDSO that are looked at: it is two pages long.
const LONGEST: usize = 16 << 10;
/// Bytes of the auxiliary vector that are looked at: it is a few hundred long.
const LONGEST_AUXILIARY: usize = 4096;

/// Where the name of the program lies, in the auxiliary vector.
const AT_EXECFN: u64 = 31;
const PAGE: u64 = 4096;

/// What the kernel has told a program when it began (`getauxval`).
pub struct Auxiliary(Vec<u8>);

impl Auxiliary {
    /// That of a process.
    ///
    /// # Errors
    /// When the process cannot be asked.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut bytes = vec![0; LONGEST_AUXILIARY];
        // All at once.
        let length = File::open(format!("/proc/{pid}/auxv"))?.read(&mut bytes)?;
        bytes.truncate(length);
        Ok(Self(bytes))
    }

    /// One of its values.
    pub fn value(&self, wanted: u64) -> Option<u64> {
        let word = |word: &[u8]| u64::from_ne_bytes(word.try_into().expect("8 bytes"));
        let pairs = self.0.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..])));
        pairs.into_iter().find(|&(key, value)| key == wanted && value != 0).map(|(_, value)| value)
    }
}

/// Makes the clocks of a process's vDSO show what its dial says, if it is to have one, or go through the gate. Returns
/// where the dial lies, which is at zero; none where every reading is a call, or the process has no vDSO.
///
/// # Errors
/// When its memory cannot be read or written.
pub fn silence_vdso(told: &Auxiliary, memory: &ClientMemory, face: Option<Face>) -> io::Result<Option<u64>> {
    let Some(base) = told.value(AT_SYSINFO_EHDR) else { return Ok(None) };
    let mut bytes = vec![0; LONGEST];
    // What follows the last page may not be mapped.
    let length = memory.read_what_is_there(base, &mut bytes)?;
    bytes.truncate(length);
    let image = Image { bytes: &bytes };
    let dial = face.and_then(|_| place_of_dial(told, memory));
    let mut silent = bytes.clone();
    let mut reads = false;
    // What is written, all of it at once.
    let (mut first, mut end) = (bytes.len(), 0);
    for Function { name, address, size } in image.functions().unwrap_or_default() {
        let Some(&(_, instead)) = FUNCTIONS.iter().find(|(function, _)| *function == name) else { continue };
        let reading = dial.zip(face).and_then(|(dial, face)| instead.reading(dial, face));
        let reading = reading.filter(|code| code.len() as u64 <= size);
        reads |= reading.is_some();
        let code = reading.unwrap_or_else(|| instead.call());
        let (from, to) = (address as usize, address as usize + code.len());
        let place = silent.get_mut(from..to).ok_or_else(|| io::Error::from_raw_os_error(libc::EFAULT))?;
        place.copy_from_slice(&code);
        (first, end) = (first.min(from), end.max(to));
    }
    if let Some(changed) = silent.get(first..end) {
        memory.write(base + first as u64, changed)?;
    }
    Ok(dial.filter(|_| reads))
}

/// The free bytes at the upper end of a process's first stack, where they are as expected.
fn place_of_dial(told: &Auxiliary, memory: &ClientMemory) -> Option<u64> {
    let name = told.value(AT_EXECFN)?;
    let mut text = Vec::new();
    memory.read_text(name, &mut text).ok()?;
    let place = name + text.len() as u64 + 1;
    let is_last = place % PAGE == PAGE - 8;
    let is_free = is_last && memory.read_u64(place).is_ok_and(|word| word == 0);
    is_free.then_some(place)
}

/// A function that a library exports.
struct Function {
    name: String,
    /// From where the library begins.
    address: u64,
    /// In bytes.
    size: u64,
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

    /// Everything that the library exports.
    fn functions(&self) -> Option<Vec<Function>> {
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
            let (address, size) = (inside(self.u64(at + 8)?), self.u64(at + 16)?);
            if let Some(name) = self.text(names + u64::from(self.u32(at)?))
                && address != 0
            {
                functions.push(Function { name, address, size });
            }
            at += 24;
        }
        Some(functions)
    }
}
