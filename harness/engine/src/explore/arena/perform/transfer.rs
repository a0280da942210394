//! Reads and writes, in two parts, and whatever else changes the bytes of a file.
//!
//! Linux copies a page byte by byte without keeping readers out, and goes from page to page; so a
//! read or a write of several bytes is done in two parts, between which others may run. Writers keep
//! each other out for the whole write (the inode's lock, here [`ObjectKind::WriteGate`]). A write
//! that only extends a file becomes visible a page at a time, when the size is set, so it is divided
//! at a page boundary or not at all. A page that is cut off by a truncation between the two parts of
//! a read is still read as it was: the reader has hold of it.
//!
//! Not covered: more than one point of division in one call.

use std::os::fd::AsRawFd;

use smallvec::{SmallVec, smallvec};

use super::{Effect, Ending, Half, PAGE, access, answer, returned};
use crate::explore::access::{Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::arena::descriptors::OpenFile;
use crate::explore::arena::tree::Inode;
use crate::explore::arena::{Arena, ArenaError};
use crate::explore::gate::{Answer, Span, Target};

/// Bytes that one call may move. More is answered short, as the kernel may do.
const LARGEST: usize = 64 << 20;

impl Arena<'_> {
    pub(super) fn read(
        &mut self,
        process: usize,
        file: &OpenFile,
        into: &[Span],
        offset: Option<u64>,
        half: Option<Half>,
    ) -> Result<Effect, ArenaError> {
        let fd = file.file.as_raw_fd();
        let mut footprint: Footprint = smallvec![access(file.inode.object(ObjectKind::Content), Mode::Read)];
        let content = |at: u64, length: usize| -> Result<Vec<u8>, i32> {
            let mut bytes: Vec<u8> = Vec::with_capacity(length);
            // SAFETY: the buffer has room for as many bytes as are asked for.
            let read = unsafe { libc::pread(fd, bytes.as_mut_ptr().cast(), length, at as i64) };
            let read = returned(read as i64)? as usize;
            // SAFETY: the kernel has just filled them.
            unsafe { bytes.set_len(read) };
            Ok(bytes)
        };
        let (position, bytes) = match half {
            None => {
                let wanted = into.iter().map(|span| span.length).sum::<usize>().min(LARGEST);
                let position = match offset {
                    Some(offset) => offset,
                    // SAFETY: takes plain numbers.
                    None => match returned(unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }) {
                        Ok(at) => at as u64,
                        Err(errno) => return Ok(Effect::answer(footprint, Answer::Errno(errno))),
                    },
                };
                let whole = match content(position, wanted) {
                    Ok(whole) => whole,
                    Err(errno) => return Ok(Effect::answer(footprint, Answer::Errno(errno))),
                };
                if let Some(done) = split_of_read(position, whole.len()) {
                    if offset.is_none() {
                        footprint.push(access(offset_of(file), Mode::Acquire));
                    }
                    let half = Half::Read { position, whole, done, cuts: self.cuts(file.inode) };
                    return Ok(Effect {
                        footprint,
                        potential: SmallVec::new(),
                        ending: Ending::More(half),
                        yields: false,
                    });
                }
                if offset.is_none() {
                    footprint.push(access(offset_of(file), Mode::Acquire));
                }
                (position, whole)
            }
            Some(Half::Read { position, mut whole, done, cuts }) => {
                let one_page = position / PAGE == (position + whole.len() as u64 - 1) / PAGE;
                if !one_page || cuts == self.cuts(file.inode) {
                    let rest = content(position + done as u64, whole.len() - done);
                    whole.truncate(done);
                    whole.extend_from_slice(&rest.unwrap_or_default());
                }
                (position, whole)
            }
            Some(Half::Write { .. }) => return Err(ArenaError::Confused("half a write was read".to_owned())),
        };
        let mut rest = &bytes[..];
        for span in into {
            let here = rest.len().min(span.length);
            if self.write_to(process, span.address, &rest[..here]).is_err() {
                return Ok(Effect::answer(footprint, Answer::Errno(libc::EFAULT)));
            }
            rest = &rest[here..];
            if rest.is_empty() {
                break;
            }
        }
        if offset.is_none() {
            if !bytes.is_empty() {
                // SAFETY: takes plain numbers.
                unsafe { libc::lseek(fd, position as i64 + bytes.len() as i64, libc::SEEK_SET) };
            }
            footprint.push(access(offset_of(file), Mode::Release));
        }
        Ok(Effect::answer(footprint, Answer::Value(bytes.len() as i64)))
    }

    pub(super) fn write(
        &mut self,
        thread: usize,
        file: &OpenFile,
        from: &[Span],
        offset: Option<u64>,
        half: Option<Half>,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let fd = file.file.as_raw_fd();
        let inode = file.inode;
        let gate = inode.object(ObjectKind::WriteGate);
        self.touch(inode);
        let mut footprint: Footprint = smallvec![
            access(inode.object(ObjectKind::Content), Mode::Write),
            access(inode.object(ObjectKind::Metadata), Mode::Write),
        ];
        let put = |bytes: &[u8], at: u64| {
            // SAFETY: the buffer is as long as is said.
            returned(unsafe { libc::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), at as i64) } as i64)
        };
        let (position, returned) = match half {
            None => {
                let wanted = from.iter().map(|span| span.length).sum::<usize>().min(LARGEST);
                let mut whole = vec![0; wanted];
                let mut filled = 0;
                let brought = self.brought(process);
                for span in from {
                    let here = span.length.min(wanted - filled);
                    let into = &mut whole[filled..filled + here];
                    if let Some(brought) = brought {
                        into.copy_from_slice(&brought[filled..filled + here]);
                    } else if self.processes[process].memory.read(span.address, into).is_err() {
                        return Ok(Effect::answer(Footprint::new(), Answer::Errno(libc::EFAULT)));
                    }
                    filled += here;
                }
                let size = file.file.metadata().map_or(0, |metadata| metadata.len());
                let position = match offset {
                    _ if file.appends() => size,
                    Some(offset) => offset,
                    // SAFETY: takes plain numbers.
                    None => unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }.max(0) as u64,
                };
                footprint.push(access(gate, Mode::Acquire));
                if offset.is_none() {
                    footprint.push(access(offset_of(file), Mode::Acquire));
                }
                if let Some(done) = split_of_write(position, whole.len(), size) {
                    match put(&whole[..done], position) {
                        Ok(written) if written == done as i64 => {
                            self.gates.push((inode, thread));
                            let half = Half::Write { position, whole, done };
                            return Ok(Effect {
                                footprint,
                                potential: SmallVec::new(),
                                ending: Ending::More(half),
                                yields: false,
                            });
                        }
                        short => (position, short),
                    }
                } else {
                    (position, put(&whole, position))
                }
            }
            Some(Half::Write { position, whole, done }) => {
                self.gates.retain(|(_, holder)| *holder != thread);
                // What the first part wrote stays written, whatever becomes of the second.
                let rest = put(&whole[done..], position + done as u64).unwrap_or(0);
                (position, Ok(done as i64 + rest))
            }
            Some(Half::Read { .. }) => {
                return Err(ArenaError::Confused("half a read was written".to_owned()));
            }
        };
        footprint.push(access(gate, Mode::Release));
        if offset.is_none() {
            if let Ok(written) = returned {
                // SAFETY: takes plain numbers.
                unsafe { libc::lseek(fd, position as i64 + written, libc::SEEK_SET) };
            }
            footprint.push(access(offset_of(file), Mode::Release));
        }
        Ok(Effect::answer(footprint, answer(returned)))
    }

    /// Where an open file is read and written next.
    pub(super) fn seek(
        &self,
        process: usize,
        fd: i32,
        offset: i64,
        whence: i32,
    ) -> Result<Effect, ArenaError> {
        let file = self.open_file(process, fd);
        let mut footprint: Footprint = smallvec![access(offset_of(&file), Mode::Write)];
        if !matches!(whence, libc::SEEK_SET | libc::SEEK_CUR) {
            footprint.push(access(file.inode.object(ObjectKind::Content), Mode::Read));
        }
        // SAFETY: takes plain numbers.
        let at = unsafe { libc::lseek(file.file.as_raw_fd(), offset, whence) };
        Ok(Effect::answer(footprint, answer(returned(at))))
    }

    /// Room for bytes, or holes in them.
    pub(super) fn allocate(
        &mut self,
        thread: usize,
        fd: i32,
        mode: i32,
        offset: i64,
        length: i64,
    ) -> Result<Effect, ArenaError> {
        let file = self.open_file(self.threads[thread].process, fd);
        // SAFETY: takes plain numbers.
        let done = unsafe { libc::fallocate(file.file.as_raw_fd(), mode, offset, length) };
        let footprint = self.changes_content(file.inode);
        Ok(Effect::answer(footprint, answer(returned(done))))
    }

    pub(super) fn truncate(
        &mut self,
        thread: usize,
        target: &Target,
        length: i64,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let (inode, mut footprint) = self.target(process, target);
        let done = match target {
            Target::Fd(fd) => {
                let file = self.processes[process].descriptors.get(*fd).map(|file| file.file.as_raw_fd());
                // SAFETY: takes plain numbers.
                returned(unsafe { libc::ftruncate(file.unwrap_or(-1), length) })
            }
            Target::Path(at, _) => {
                let path = self.own_path(process, at);
                // SAFETY: the path ends in a zero byte and outlives the call.
                returned(unsafe { libc::truncate(path.as_ptr(), length) })
            }
        };
        if let (Some(inode), Ok(_)) = (inode, done) {
            footprint.extend(self.changes_content(inode));
            self.cut(inode);
        }
        let mut effect = Effect::answer(footprint, answer(done));
        if matches!(target, Target::Path(..)) {
            effect.potential = smallvec![
                Potential::Any(ObjectKind::Content, Mode::Write),
                Potential::Any(ObjectKind::Metadata, Mode::Write),
                Potential::Any(ObjectKind::WriteGate, Mode::Acquire),
            ];
        }
        Ok(effect)
    }

    /// The footprint of a change of an inode's bytes in one step.
    pub(super) fn changes_content(&mut self, inode: Inode) -> Footprint {
        self.touch(inode);
        smallvec![
            access(inode.object(ObjectKind::WriteGate), Mode::Acquire),
            access(inode.object(ObjectKind::WriteGate), Mode::Release),
            access(inode.object(ObjectKind::Content), Mode::Write),
            access(inode.object(ObjectKind::Metadata), Mode::Write),
        ]
    }
}

pub(super) fn offset_of(file: &OpenFile) -> Object {
    Object { kind: ObjectKind::Offset, key: file.key }
}

/// Where a range is divided that goes over a page boundary: the one nearest to its middle.
fn page_boundary(position: u64, length: usize) -> Option<usize> {
    let first = (position / PAGE + 1) * PAGE - position;
    if first >= length as u64 {
        return None;
    }
    let middle = (length as u64 / 2).saturating_sub(first).saturating_add(PAGE / 2) / PAGE * PAGE + first;
    Some(if middle < length as u64 { middle as usize } else { first as usize })
}

/// After how many bytes a read that finds this many is divided.
fn split_of_read(position: u64, found: usize) -> Option<usize> {
    page_boundary(position, found).or((found >= 2).then_some(found / 2))
}

/// After how many bytes a write is divided: at a page boundary, or in the middle of what it
/// overwrites.
fn split_of_write(position: u64, length: usize, size: u64) -> Option<usize> {
    let overwritten = size.saturating_sub(position).min(length as u64) as usize;
    page_boundary(position, length).or((overwritten >= 2).then_some(overwritten / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_over_several_pages_is_divided_at_the_boundary_nearest_to_its_middle() {
        assert_eq!(page_boundary(0, 4096), None);
        assert_eq!(page_boundary(0, 4097), Some(4096));
        assert_eq!(page_boundary(0, 16384), Some(8192));
        assert_eq!(page_boundary(4000, 200), Some(96));
        assert_eq!(page_boundary(100, 8192), Some(3996));
    }

    #[test]
    fn a_write_is_divided_where_it_overwrites_and_not_where_it_extends() {
        assert_eq!(split_of_write(0, 400, 0), None);
        assert_eq!(split_of_write(0, 400, 300), Some(150));
        assert_eq!(split_of_write(0, 400, 900), Some(200));
        assert_eq!(split_of_write(300, 400, 300), None);
        assert_eq!(split_of_write(0, 8192, 0), Some(4096));
        assert_eq!(split_of_write(0, 1, 300), None);
    }

    #[test]
    fn a_read_is_divided_in_its_middle() {
        assert_eq!(split_of_read(0, 400), Some(200));
        assert_eq!(split_of_read(0, 1), None);
        assert_eq!(split_of_read(0, 0), None);
        assert_eq!(split_of_read(0, 8192), Some(4096));
    }
}
