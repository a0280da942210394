//! What files say of themselves: status, access rights, times, the texts of links.

use std::ffi::CString;
use std::os::fd::AsRawFd;

use smallvec::smallvec;

use super::{Effect, PAGE, access, answer, returned};
use crate::explore::access::{Footprint, Mode, ObjectKind, Potential};
use crate::explore::arena::tree::{Destination, Inode};
use crate::explore::arena::{Arena, ArenaError};
use crate::explore::gate::{Answer, At, Span, StatForm, Target};

impl Arena<'_> {
    pub(super) fn stat(
        &mut self,
        process: usize,
        target: &Target,
        form: StatForm,
        buffer: u64,
    ) -> Result<Effect, ArenaError> {
        let (inode, mut footprint) = self.target(process, target);
        let (fd, path, flags) = match target {
            Target::Fd(fd) => {
                let file = self.processes[process].descriptors.get(*fd);
                (file.map_or(-1, |file| file.file.as_raw_fd()), CString::default(), libc::AT_EMPTY_PATH)
            }
            Target::Path(at, follow) => {
                let flags = if *follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
                (libc::AT_FDCWD, self.own_path(process, at), flags)
            }
        };
        if let Some(inode) = inode {
            footprint.push(access(inode.object(ObjectKind::Metadata), Mode::Read));
            footprint.push(access(inode.object(ObjectKind::Attributes), Mode::Read));
        }
        let number = inode.filter(|_| self.numbers_inodes(process)).map(Inode::number);
        let stamp = inode.map_or(0, |inode| self.stamp(inode));
        let (seconds, nanoseconds) = ((stamp / 1_000_000_000) as i64, (stamp % 1_000_000_000) as u32);
        let (result, bytes) = match form {
            StatForm::Stat => {
                // SAFETY: zero is a value of every field.
                let mut stat: libc::stat = unsafe { std::mem::zeroed() };
                // SAFETY: the path ends in a zero byte; the structure is the one that the call fills.
                let done = returned(unsafe { libc::fstatat(fd, path.as_ptr(), &raw mut stat, flags) });
                (stat.st_mtime, stat.st_ctime, stat.st_atime) = (seconds, seconds, seconds);
                (stat.st_mtime_nsec, stat.st_ctime_nsec, stat.st_atime_nsec) =
                    (nanoseconds.into(), nanoseconds.into(), nanoseconds.into());
                stat.st_ino = number.unwrap_or(stat.st_ino);
                (done, bytes_of(&stat))
            }
            StatForm::Statx(mask) => {
                // SAFETY: zero is a value of every field.
                let mut stat: libc::statx = unsafe { std::mem::zeroed() };
                // SAFETY: the path ends in a zero byte; the structure is the one that the call fills.
                let done = returned(unsafe { libc::statx(fd, path.as_ptr(), flags, mask, &raw mut stat) });
                for time in
                    [&mut stat.stx_mtime, &mut stat.stx_ctime, &mut stat.stx_atime, &mut stat.stx_btime]
                {
                    (time.tv_sec, time.tv_nsec) = (seconds, nanoseconds);
                }
                stat.stx_ino = number.unwrap_or(stat.stx_ino);
                (done, bytes_of(&stat))
            }
        };
        let result = result.and_then(|value| {
            self.write_to(process, buffer, &bytes).map(|()| value).map_err(|_| libc::EFAULT)
        });
        let mut effect = Effect::answer(footprint, answer(result));
        if matches!(target, Target::Path(..)) {
            effect.potential = smallvec![
                Potential::Any(ObjectKind::Metadata, Mode::Read),
                Potential::Any(ObjectKind::Attributes, Mode::Read),
            ];
        }
        Ok(effect)
    }

    /// Whether a file may be used, or is there.
    pub(super) fn check_access(
        &self,
        process: usize,
        at: &At,
        mode: i32,
        follow: bool,
    ) -> Result<Effect, ArenaError> {
        let (mut footprint, potential) = self.reads_path(process, at, follow);
        let path = self.own_path(process, at);
        let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        // SAFETY: the path ends in a zero byte and outlives the call.
        let done = unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, flags) };
        // Whether it is there is all that F_OK asks.
        if mode == libc::F_OK {
            footprint.retain(|access| access.object.kind != ObjectKind::Attributes);
        }
        let mut effect = Effect::answer(footprint, answer(returned(done)));
        effect.potential = potential;
        Ok(effect)
    }

    /// The text of a symbolic link.
    pub(super) fn read_link(&mut self, process: usize, at: &At, buffer: Span) -> Result<Effect, ArenaError> {
        let mut footprint = Footprint::new();
        if let Destination::Place(place) = self.resolve(process, at, false, &mut footprint) {
            footprint.push(access(place.entry(), Mode::Read));
        }
        let path = self.own_path(process, at);
        let mut text = vec![0_u8; buffer.length.min(PAGE as usize)];
        // SAFETY: the path ends in a zero byte; the buffer is as long as is said.
        let length = unsafe { libc::readlink(path.as_ptr(), text.as_mut_ptr().cast(), text.len()) };
        let mut result = returned(length as i64);
        if let Ok(length) = result
            && self.write_to(process, buffer.address, &text[..length as usize]).is_err()
        {
            result = Err(libc::EFAULT);
        }
        Ok(Effect::answer(footprint, answer(result)))
    }

    /// A change of access rights, which are to be these, or of the owner. Programs do it themselves: they may have other
    /// rights.
    pub(super) fn change_attributes(
        &self,
        process: usize,
        target: &Target,
        mode: Option<u32>,
    ) -> Result<Effect, ArenaError> {
        let (inode, mut footprint) = self.target(process, target);
        if let Some(inode) = inode {
            footprint.push(access(inode.object(ObjectKind::Attributes), Mode::Write));
            footprint.push(access(inode.object(ObjectKind::Metadata), Mode::Update));
        }
        let done = match (mode, target) {
            _ if self.drives(self.processes[process].client) => Answer::Continue,
            (Some(mode), Target::Fd(fd)) => {
                let file = self.processes[process].descriptors.get(*fd).map(|file| file.file.as_raw_fd());
                // SAFETY: takes plain numbers.
                answer(returned(unsafe { libc::fchmod(file.unwrap_or(-1), mode) }))
            }
            (Some(mode), Target::Path(at, true)) => {
                let path = self.own_path(process, at);
                // SAFETY: the path ends in a zero byte and outlives the call.
                answer(returned(unsafe { libc::chmod(path.as_ptr(), mode) }))
            }
            _ => Answer::Continue,
        };
        let mut effect = Effect::answer(footprint, done);
        if matches!(target, Target::Path(..)) {
            effect.potential.push(Potential::Any(ObjectKind::Attributes, Mode::Write));
            effect.potential.push(Potential::Any(ObjectKind::Metadata, Mode::Update));
        }
        Ok(effect)
    }

    /// An extended attribute is read or changed, or what does not change is asked for.
    pub(super) fn see_attribute(&self, process: usize, target: &Target, changes: bool) -> Effect {
        let (inode, mut footprint) = self.target(process, target);
        let mode = if changes { Mode::Write } else { Mode::Read };
        if let Some(inode) = inode {
            footprint.push(access(inode.object(ObjectKind::Attributes), mode));
            if changes {
                footprint.push(access(inode.object(ObjectKind::Metadata), Mode::Update));
            }
        }
        let mut effect = Effect::answer(footprint, Answer::Continue);
        if matches!(target, Target::Path(..)) {
            effect.potential.push(Potential::Any(ObjectKind::Attributes, mode));
            if changes {
                effect.potential.push(Potential::Any(ObjectKind::Metadata, Mode::Update));
            }
        }
        effect
    }

    /// A change of the times of access and modification.
    pub(super) fn change_times(
        &mut self,
        thread: usize,
        target: &Target,
        times: u64,
    ) -> Result<Effect, ArenaError> {
        let (inode, mut footprint) = self.target(self.threads[thread].process, target);
        if let Some(inode) = inode {
            footprint.push(access(inode.object(ObjectKind::Metadata), Mode::Write));
            self.set_times(thread, inode, times);
        }
        let mut effect = Effect::answer(footprint, Answer::Continue);
        if matches!(target, Target::Path(..)) {
            effect.potential.push(Potential::Any(ObjectKind::Metadata, Mode::Write));
        }
        Ok(effect)
    }
}

/// The status of a file that the supervisor makes up: as files below `/proc` it does not say how long it is.
pub(in crate::explore::arena) fn status_of_made_up_file(form: StatForm) -> Vec<u8> {
    const MODE: u32 = libc::S_IFREG | 0o444;
    match form {
        StatForm::Stat => {
            // SAFETY: zero is a value of every field.
            let mut stat: libc::stat = unsafe { std::mem::zeroed() };
            (stat.st_mode, stat.st_nlink) = (MODE, 1);
            bytes_of(&stat)
        }
        StatForm::Statx(mask) => {
            // SAFETY: zero is a value of every field.
            let mut stat: libc::statx = unsafe { std::mem::zeroed() };
            (stat.stx_mask, stat.stx_mode, stat.stx_nlink) = (mask & libc::STATX_BASIC_STATS, MODE as u16, 1);
            bytes_of(&stat)
        }
    }
}

fn bytes_of<T>(value: &T) -> Vec<u8> {
    // SAFETY: the kernel filled the structure, which was zero before, padding included.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }.to_vec()
}
