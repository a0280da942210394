//! Memory that processes share: an anonymous file (memfd) that is mapped by everybody who has its
//! descriptor, and that lives until the last of them is gone.
//!
//! All access is through atomics, so that two processes which touch the same word never race in
//! the sense of the language. The file is sealed against shrinking: a mapping that is in bounds
//! once stays so, and nobody gets SIGBUS. What the words mean is the business of others.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create};

use super::ring::Ring;

/// A ring in shared memory.
pub type SharedRing<'m> = Ring<&'m [AtomicU64]>;

/// The ring that fills `bytes` of `memory` from byte `start` on. It needs no more preparation than
/// memory that is zero.
///
/// # Panics
/// When it is not all within the memory, `start` is not a multiple of 8, or there is no room for a
/// header and one word.
pub fn ring_at(memory: &SharedMemory, start: usize, bytes: usize) -> SharedRing<'_> {
    Ring::new(memory.words(start, bytes / 8))
}

/// A piece of memory that processes share. It begins zeroed.
#[derive(Debug)]
pub struct SharedMemory {
    map: MmapRaw,
    file: File,
}

impl SharedMemory {
    /// Makes `bytes` of memory. The descriptor is closed on exec: a child gets it only when the
    /// spawner hands it over, for example as its standard input.
    ///
    /// # Errors
    /// What memfd_create, ftruncate, fcntl or mmap say; `bytes` must not be zero.
    pub fn create(bytes: usize) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create("tearproof", flags).map_err(|e| named("memfd_create", e))?;
        ftruncate(&fd, bytes as u64).map_err(|e| named("ftruncate", e))?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(|e| named("fcntl F_ADD_SEALS", e))?;
        Self::from_fd(fd)
    }

    /// Maps the memory that another process made with [`SharedMemory::create`].
    ///
    /// # Errors
    /// When the descriptor is anything else, or cannot be mapped.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let seals = fcntl_get_seals(&fd).map_err(|e| named("fcntl F_GET_SEALS", e))?;
        if !seals.contains(SealFlags::SHRINK) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "shared memory must be sealed against shrinking",
            ));
        }
        let file = File::from(fd);
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let map = MmapOptions::new().len(length).map_raw(&file)?;
        Ok(Self { map, file })
    }

    /// The descriptor, to hand to a child.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Length in bytes.
    pub fn bytes(&self) -> usize {
        self.map.len()
    }

    /// Where the memory lies in this process.
    pub fn address(&self) -> u64 {
        self.map.as_ptr() as u64
    }

    /// Makes pages present and writable now, so that a client does not pay for page faults while it
    /// is measured.
    ///
    /// # Errors
    /// When the kernel is too old for it (before 5.14) or out of memory. Everything works without.
    pub fn prefault(&self, start: usize, bytes: usize) -> io::Result<()> {
        self.map.advise_range(Advice::PopulateWrite, start, bytes)
    }

    /// The 64-bit words from byte `start` on.
    ///
    /// # Panics
    /// When they are not all within the memory, or `start` is not a multiple of 8.
    pub fn words(&self, start: usize, count: usize) -> &[AtomicU64] {
        let first = self.locate::<AtomicU64>(start, count);
        // SAFETY: `locate` has checked that `count` aligned words lie within the mapping, which
        // lives as long as `self` and cannot shrink. Every bit pattern is an `AtomicU64`. All
        // access within this process is atomic, through this type; other processes do the same.
        unsafe { std::slice::from_raw_parts(first, count) }
    }

    /// The 64-bit word at byte `start`.
    ///
    /// # Panics
    /// As [`SharedMemory::words`].
    pub fn u64_at(&self, start: usize) -> &AtomicU64 {
        &self.words(start, 1)[0]
    }

    /// The 32-bit word at byte `start`. A word is to be used with one width only.
    ///
    /// # Panics
    /// When it is not within the memory, or `start` is not a multiple of 4.
    pub fn u32_at(&self, start: usize) -> &AtomicU32 {
        let word = self.locate::<AtomicU32>(start, 1);
        // SAFETY: as in `words`; `locate` has checked the bounds and the alignment of this one.
        unsafe { &*word }
    }

    /// Stores plain bytes. Whoever reads them must know, from elsewhere, that they are complete.
    ///
    /// # Panics
    /// When they do not fit.
    pub fn write_bytes(&self, start: usize, bytes: &[u8]) {
        for (cell, &byte) in self.cells(start, bytes.len()).iter().zip(bytes) {
            cell.store(byte, Ordering::Relaxed);
        }
    }

    /// Loads plain bytes.
    ///
    /// # Panics
    /// When they are not all within the memory.
    pub fn read_bytes(&self, start: usize, count: usize) -> Vec<u8> {
        self.cells(start, count).iter().map(|cell| cell.load(Ordering::Relaxed)).collect()
    }

    fn cells(&self, start: usize, count: usize) -> &[AtomicU8] {
        let first = self.locate::<AtomicU8>(start, count);
        // SAFETY: as in `words`.
        unsafe { std::slice::from_raw_parts(first, count) }
    }

    /// Where `count` items of a type lie that begin at byte `start`.
    fn locate<T>(&self, start: usize, count: usize) -> *const T {
        let end = count.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(start));
        assert!(
            end.is_some_and(|end| end <= self.bytes()),
            "{count} items of {} bytes at byte {start} are not within {} bytes of shared memory",
            size_of::<T>(),
            self.bytes()
        );
        assert!(start.is_multiple_of(align_of::<T>()), "byte {start} is not aligned to {}", align_of::<T>());
        // The mapping begins on a page boundary, so an aligned offset is an aligned address.
        self.map.as_ptr().wrapping_add(start).cast()
    }
}

fn named(call: &str, error: rustix::io::Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{call}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_of_one_descriptor_see_the_same_words() {
        let one = SharedMemory::create(4096).expect("memory");
        let two = SharedMemory::from_fd(one.as_fd().try_clone_to_owned().expect("dup")).expect("mapping");
        one.u64_at(4088).store(7, Ordering::Relaxed);
        one.write_bytes(3, b"bytes");
        one.prefault(0, 4096).expect("a kernel since 5.14");
        assert_eq!(two.u64_at(4088).load(Ordering::Relaxed), 7);
        assert_eq!(two.read_bytes(3, 5), b"bytes");
        assert_eq!(two.bytes(), 4096);
    }

    #[test]
    fn memory_that_could_shrink_is_refused() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(4096).expect("a length");
        assert!(SharedMemory::from_fd(file.into()).is_err());
        let memory = SharedMemory::create(4096).expect("memory");
        assert!(ftruncate(memory.as_fd(), 0).is_err());
    }

    #[test]
    #[should_panic(expected = "not within 4096 bytes")]
    fn a_word_beyond_the_end_is_refused() {
        SharedMemory::create(4096).expect("memory").words(8, 512);
    }

    #[test]
    #[should_panic(expected = "not aligned")]
    fn a_word_that_is_not_aligned_is_refused() {
        SharedMemory::create(4096).expect("memory").u32_at(6);
    }
}
