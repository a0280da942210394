//! The memory of a client, where paths, buffers and structures of its calls lie.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Longest path that is read, its end included, as the kernel has it.
const PATH_MAX: usize = libc::PATH_MAX as usize;
/// Most paths are shorter than this, and one read does.
const FIRST: usize = 128;
const PAGE: u64 = 4096;

/// A client's memory. Valid until the process execs.
#[derive(Debug)]
pub struct ClientMemory {
    file: File,
}

impl ClientMemory {
    /// Opens the memory of a process.
    ///
    /// # Errors
    /// When it is gone, or belongs to somebody else.
    pub fn open(pid: u32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/mem");
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Self { file })
    }

    /// Whether nobody has this memory any more: its process has ended, or executes another program.
    pub fn is_gone(&self) -> bool {
        // Memory that is there says that nothing lies at this address; memory that is gone says nothing.
        matches!(self.file.read_at(&mut [0], 0), Ok(0))
    }

    /// Reads a text that ends in a zero byte.
    ///
    /// # Errors
    /// EFAULT when the address is wrong, ENAMETOOLONG when there is no end.
    pub fn read_text(&self, address: u64, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        let mut at = address;
        while into.len() < PATH_MAX {
            // Not past the end of a page first: the next one may not be there.
            let left = (PAGE - at % PAGE) as usize;
            let step = left.min(FIRST);
            let filled = into.len();
            into.resize(filled + step, 0);
            let read = self.file.read_at(&mut into[filled..], at).map_err(fault)?;
            into.truncate(filled + read);
            if let Some(end) = into[filled..].iter().position(|&byte| byte == 0) {
                into.truncate(filled + end);
                return Ok(());
            }
            if read == 0 {
                return Err(io::Error::from_raw_os_error(libc::EFAULT));
            }
            at += read as u64;
        }
        Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG))
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// EFAULT when they are not all there.
    pub fn read(&self, address: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, address).map_err(fault)
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// EFAULT when there is no room for them all.
    pub fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, address).map_err(fault)
    }

    /// Reads a word of 32 bits.
    ///
    /// # Errors
    /// EFAULT when it is not there.
    pub fn read_u32(&self, address: u64) -> io::Result<u32> {
        let mut word = [0; 4];
        self.read(address, &mut word)?;
        Ok(u32::from_ne_bytes(word))
    }

    /// Reads a word of 64 bits.
    ///
    /// # Errors
    /// EFAULT when it is not there.
    pub fn read_u64(&self, address: u64) -> io::Result<u64> {
        let mut word = [0; 8];
        self.read(address, &mut word)?;
        Ok(u64::from_ne_bytes(word))
    }

    /// Reads two words of 64 bits, one after the other.
    ///
    /// # Errors
    /// EFAULT when they are not there.
    pub fn read_two_u64(&self, address: u64) -> io::Result<[u64; 2]> {
        let mut words = [0; 16];
        self.read(address, &mut words)?;
        let (pair, _) = words.as_chunks::<8>();
        Ok([u64::from_ne_bytes(pair[0]), u64::from_ne_bytes(pair[1])])
    }
}

/// The kernel says EIO of memory that is not there; a call would have said EFAULT.
fn fault(error: io::Error) -> io::Error {
    match (error.raw_os_error(), error.kind()) {
        (Some(libc::EIO), _) | (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero) => {
            io::Error::from_raw_os_error(libc::EFAULT)
        }
        _ => error,
    }
}
