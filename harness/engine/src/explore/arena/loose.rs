//! Loose files: what a client opens outside of the state directory and gets from the supervisor, such as what `/proc` tells
//! of another client.
//!
//! Whether that one lives is seen when the file is opened. What it says is the same then and in every execution; so to read
//! it is nobody else's business and no step. Programs read it themselves; for what is built in the supervisor does.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;

use super::perform::status_of_made_up_file;
use super::process::Process;
use super::repertoire::Reply;
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Call, Notification, Target};

/// One of them, as a process has it open.
#[derive(Debug)]
pub(super) struct Loose {
    fd: i32,
    /// Its number in this execution, among the open files.
    pub number: u32,
    pub file: File,
}

impl Process {
    /// The loose file that a descriptor leads to.
    pub fn loose_file(&self, fd: i32) -> Option<&Loose> {
        self.loose.iter().find(|loose| loose.fd == fd)
    }

    /// These descriptors are closed.
    pub fn close_loose(&mut self, call: &Call) {
        if self.loose.is_empty() {
            return;
        }
        self.loose.retain(|loose| match call {
            Call::Close { fd } => loose.fd != *fd,
            Call::Duplicate { to: Some(to), .. } => loose.fd != *to,
            Call::CloseRange { first, last, .. } => !(*first..=*last).contains(&(loose.fd as u32)),
            _ => true,
        });
    }
}

impl Arena<'_> {
    /// Answers a client with a descriptor that does not lead into the state directory.
    pub(super) fn hand_over_loose(
        &mut self,
        index: usize,
        notification: &Notification,
        file: File,
    ) -> Result<Result<i64, i32>, ArenaError> {
        use std::os::fd::AsFd;
        let process = self.threads[index].process;
        self.files += 1;
        let number = self.files;
        let Some(Notification { id, .. }) = self.whom_to_answer(index, notification, Reply::Descriptor)?
        else {
            let given = self.take_descriptor(process, number);
            let fd = given.ok_or_else(|| ArenaError::Confused("an open file has no number".to_owned()))?;
            self.processes[process].loose.push(Loose { fd, number, file });
            return Ok(Ok(fd.into()));
        };
        self.set_dial(index);
        let listener = &self.processes[process].listener;
        match listener.answer_with_fd(id, file.as_fd(), true, None) {
            Ok(fd) => {
                self.watch_descriptor(process, fd);
                if !self.drives(self.processes[process].client) {
                    self.processes[process].loose.push(Loose { fd, number, file });
                }
                Ok(Ok(fd.into()))
            }
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                listener.answer(id, Answer::Errno(libc::EMFILE)).map_err(ArenaError::gate("answering"))?;
                self.look_away(process);
                Ok(Err(libc::EMFILE))
            }
            Err(error) => Err(ArenaError::gate("handing over a descriptor")(error)),
        }
    }

    /// Whether a call is on a loose file, and is done in the client's place.
    pub(super) fn is_on_loose_file(&self, process: usize, call: &Call) -> bool {
        let (Call::Read { fd, offset: None, .. }
        | Call::Seek { fd, .. }
        | Call::Stat { target: Target::Fd(fd), .. }) = call
        else {
            return false;
        };
        self.processes[process].loose_file(*fd).is_some()
    }

    /// Does it.
    pub(super) fn use_loose_file(
        &mut self,
        index: usize,
        notification: &Notification,
        call: &Call,
    ) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        let lost = || ArenaError::Confused(format!("{call:?} is on no loose file"));
        let answer = match call {
            Call::Read { fd, into, .. } => {
                let mut file = &self.processes[process].loose_file(*fd).ok_or_else(lost)?.file;
                let wanted = into.iter().map(|span| span.length).sum::<usize>();
                let mut bytes = Vec::new();
                let read = (&mut file).take(wanted as u64).read_to_end(&mut bytes);
                let length = read.map_err(ArenaError::environment("reading for a client"))?;
                let mut rest = &bytes[..];
                let mut told = Ok(());
                for span in into {
                    let (here, after) = rest.split_at(rest.len().min(span.length));
                    if !here.is_empty() {
                        told = told.and(self.write_to(process, span.address, here));
                    }
                    rest = after;
                }
                told.map_or(Answer::Errno(libc::EFAULT), |()| Answer::Value(length as i64))
            }
            Call::Seek { fd, offset, whence } => {
                let file = self.processes[process].loose_file(*fd).ok_or_else(lost)?.file.as_raw_fd();
                // SAFETY: takes plain numbers.
                match unsafe { libc::lseek(file, *offset, *whence) } {
                    -1 => {
                        Answer::Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL))
                    }
                    at => Answer::Value(at),
                }
            }
            Call::Stat { form, buffer, .. } => {
                let bytes = status_of_made_up_file(*form);
                match self.write_to(process, *buffer, &bytes) {
                    Ok(()) => Answer::Value(0),
                    Err(_) => Answer::Errno(libc::EFAULT),
                }
            }
            _ => return Err(lost()),
        };
        self.pass(index, notification, answer)
    }
}
