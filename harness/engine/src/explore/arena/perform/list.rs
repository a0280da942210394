//! What is in a directory, in the order of names.
//!
//! Kernels list entries as they keep them: tmpfs the last one first, ext4 by a hash with a seed of its own. That two
//! files were made in this order or in that one makes no other execution otherwise, and must not be seen here either.
//!
//! Not covered: directories that do not fit into the caller's buffer (glibc's has 32 KiB), and the older form of the
//! call. Where they are listed in parts, that is told.

use std::os::fd::AsRawFd;

use smallvec::smallvec;

use super::transfer::offset_of;
use super::{Effect, access, returned};
use crate::explore::access::{Footprint, Mode, ObjectKind};
use crate::explore::arena::descriptors::OpenFile;
use crate::explore::arena::tree::{Inode, Kind};
use crate::explore::arena::{Arena, ArenaError};
use crate::explore::gate::{Answer, Span};

/// More is not asked for at once.
const LARGEST: usize = 1 << 20;

/// Where a record of `struct linux_dirent64` has the place of the next one, its length, and its name.
const NEXT: std::ops::Range<usize> = 8..16;
const LENGTH: std::ops::Range<usize> = 16..18;
const NAME: usize = 19;

impl Arena<'_> {
    /// `getdents64`, and the form before it, which says no buffer.
    pub(super) fn list(
        &mut self,
        process: usize,
        file: &OpenFile,
        into: Option<Span>,
    ) -> Result<Effect, ArenaError> {
        // Who lists sees names and kinds, and nothing of what they lead to.
        let footprint: Footprint = smallvec![
            access(file.inode.object(ObjectKind::Listing), Mode::Read),
            access(offset_of(file), Mode::Write),
        ];
        let Some(into) = into else { return Ok(Effect::answer(footprint, Answer::Continue)) };
        let fd = file.file.as_raw_fd();
        // SAFETY: takes plain numbers.
        let goes_on = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) } > 0;
        let mut records = vec![0_u8; into.length.min(LARGEST)];
        // SAFETY: the buffer is as long as is said.
        let filled = unsafe { libc::syscall(libc::SYS_getdents64, fd, records.as_mut_ptr(), records.len()) };
        let filled = match returned(filled) {
            Ok(filled) => filled as usize,
            Err(errno) => return Ok(Effect::answer(footprint, Answer::Errno(errno))),
        };
        if goes_on && filled > 0 {
            self.note_escape("a directory is listed in several parts, in an order that is the kernel's");
        }
        let mut sorted = by_name(&records[..filled]);
        if self.numbers_inodes(process) {
            self.number_inodes(file.inode, &mut sorted);
        }
        if self.write_to(process, into.address, &sorted).is_err() {
            return Ok(Effect::answer(footprint, Answer::Errno(libc::EFAULT)));
        }
        Ok(Effect::answer(footprint, Answer::Value(filled as i64)))
    }
}

impl Arena<'_> {
    /// Has the records of a directory tell the numbers that inodes have here.
    fn number_inodes(&self, directory: Inode, records: &mut [u8]) {
        let Some(Kind::Directory(names, parent)) = self.tree.kind(directory) else { return };
        let mut rest = records;
        while rest.len() > NAME {
            let length = usize::from(u16::from_ne_bytes([rest[LENGTH.start], rest[LENGTH.start + 1]]));
            let (record, after) = rest.split_at_mut(length.clamp(NAME, rest.len()));
            let name = record[NAME..].split(|&byte| byte == 0).next().unwrap_or_default();
            let inode = match name {
                b"." => Some(directory),
                b".." => Some(*parent),
                name => names.iter().find(|(known, _)| **known == *name).map(|(_, inode)| *inode),
            };
            if let Some(inode) = inode {
                record[..8].copy_from_slice(&inode.number().to_ne_bytes());
            }
            rest = after;
        }
    }
}

/// The same records in the order of their names. Where the next one is stays as it was, place by place.
fn by_name(records: &[u8]) -> Vec<u8> {
    let mut all: Vec<&[u8]> = Vec::new();
    let mut rest = records;
    while rest.len() > NAME {
        let length = usize::from(u16::from_ne_bytes([rest[LENGTH.start], rest[LENGTH.start + 1]]));
        let (record, after) = rest.split_at(length.clamp(NAME, rest.len()));
        all.push(record);
        rest = after;
    }
    let places: Vec<&[u8]> = all.iter().map(|record| &record[NEXT]).collect();
    let name = |record: &&[u8]| record[NAME..].split(|&byte| byte == 0).next().map(<[u8]>::to_vec);
    all.sort_by_cached_key(name);
    let mut sorted = Vec::with_capacity(records.len());
    for (record, place) in all.into_iter().zip(places) {
        sorted.extend_from_slice(&record[..NEXT.start]);
        sorted.extend_from_slice(place);
        sorted.extend_from_slice(&record[NEXT.end..]);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(inode: u64, place: u64, name: &str) -> Vec<u8> {
        let length = (NAME + name.len() + 1).next_multiple_of(8);
        let mut record = Vec::with_capacity(length);
        record.extend(inode.to_ne_bytes());
        record.extend(place.to_ne_bytes());
        record.extend((length as u16).to_ne_bytes());
        record.push(libc::DT_REG);
        record.extend(name.as_bytes());
        record.resize(length, 0);
        record
    }

    #[test]
    fn records_are_put_in_order_and_places_stay() {
        let kernels = [record(7, 2, "state.json"), record(8, 3, "a"), record(9, 4, "state")].concat();
        let ours = [record(8, 2, "a"), record(9, 3, "state"), record(7, 4, "state.json")].concat();
        assert_eq!(by_name(&kernels), ours);
        assert!(by_name(&[]).is_empty());
    }
}
