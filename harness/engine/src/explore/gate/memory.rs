//! The memory of a client, where paths, buffers and structures of its calls lie.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::OnceLock;

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

/// Longest path that is read, its end included, as the kernel has it.
const PATH_MAX: usize = libc::PATH_MAX as usize;
/// Most paths are shorter than this, and one read does.
const FIRST: usize = 128;
const PAGE: u64 = 4096;

/// A client's memory. Valid until the process execs.
#[derive(Clone, Debug)]
pub struct ClientMemory {
    way: Way,
}

/// How it is come by.
#[derive(Clone, Debug)]
enum Way {
    /// A file that stays with the memory, whoever has the number of the process later.
    File(Rc<File>),
    /// By number. To open the file of a process takes many times as long as to read from it.
    Child(Pid),
}

impl ClientMemory {
    /// Opens the memory of a process.
    ///
    /// # Errors
    /// When it is gone, or belongs to somebody else.
    pub fn open(pid: u32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/mem");
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Self { way: Way::File(Rc::new(file)) })
    }

    /// That of a child which executes nothing, for as long as it was not waited for: until then nobody else has its number.
    ///
    /// # Errors
    /// When it is gone, or belongs to somebody else, where memory cannot be read by number.
    pub fn of_child(pid: u32) -> io::Result<Self> {
        static BY_NUMBER: OnceLock<bool> = OnceLock::new();
        // Some containers forbid the call, and not the file.
        let may = || {
            let (mut byte, own) = ([0_u8], [7_u8]);
            let there = RemoteIoVec { base: own.as_ptr() as usize, len: 1 };
            process_vm_readv(Pid::this(), &mut [IoSliceMut::new(&mut byte)], &[there])
                .is_ok_and(|_| byte == own)
        };
        match BY_NUMBER.get_or_init(may) {
            true => Ok(Self { way: Way::Child(Pid::from_raw(pid.cast_signed())) }),
            false => Self::open(pid),
        }
    }

    fn read_at(&self, into: &mut [u8], address: u64) -> io::Result<usize> {
        match &self.way {
            Way::File(file) => file.read_at(into, address),
            Way::Child(pid) => {
                let there = RemoteIoVec { base: address as usize, len: into.len() };
                Ok(process_vm_readv(*pid, &mut [IoSliceMut::new(into)], &[there])?)
            }
        }
    }

    fn write_at(&self, bytes: &[u8], address: u64) -> io::Result<usize> {
        match &self.way {
            Way::File(file) => file.write_at(bytes, address),
            Way::Child(pid) => {
                let there = RemoteIoVec { base: address as usize, len: bytes.len() };
                Ok(process_vm_writev(*pid, &[IoSlice::new(bytes)], &[there])?)
            }
        }
    }

    /// Whether nobody has this memory any more: its process has ended, or executes another program.
    pub fn is_gone(&self) -> bool {
        // Memory that is there says that nothing lies at this address; memory that is gone says nothing.
        matches!(&self.way, Way::File(file) if matches!(file.read_at(&mut [0], 0), Ok(0)))
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
            let read = self.read_at(&mut into[filled..], at).map_err(fault)?;
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

    /// Reads bytes until they end, or what is there does. How many.
    ///
    /// # Errors
    /// EFAULT when nothing is there.
    pub fn read_what_is_there(&self, address: u64, into: &mut [u8]) -> io::Result<usize> {
        self.read_at(into, address).map_err(fault)
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// EFAULT when they are not all there.
    pub fn read(&self, address: u64, into: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < into.len() {
            match self.read_at(&mut into[done..], address + done as u64).map_err(fault)? {
                0 => return Err(io::Error::from_raw_os_error(libc::EFAULT)),
                read => done += read,
            }
        }
        Ok(())
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// EFAULT when there is no room for them all.
    pub fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self.write_at(&bytes[done..], address + done as u64).map_err(fault)? {
                0 => return Err(io::Error::from_raw_os_error(libc::EFAULT)),
                written => done += written,
            }
        }
        Ok(())
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
    match error.raw_os_error() {
        Some(libc::EIO) => io::Error::from_raw_os_error(libc::EFAULT),
        _ => error,
    }
}
