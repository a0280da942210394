//! Appending without the two things that make it safe: O_APPEND, and one write a record.

use rustix::fs::OFlags;
use tearproof_core::object::Object;
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy, StrategyError, StrategyInfo};

use crate::append_log::{open_log, whole_records};
use crate::calls::{CallError, OpenFile};
use crate::protocol::{claims, lay_down, read_plainly};

/// Strategy `append-seek`.
///
/// Without O_APPEND the end is looked up in one call and written to in another. Two clients that
/// find the same end write over each other, and one record is gone.
pub(crate) static APPEND_SEEK: CarelessLog = CarelessLog { info: &APPEND_SEEK_INFO, habit: Habit::Seek };
/// Strategy `append-split`.
///
/// Each write lands at the end, but another client's record may have landed there in between, so
/// that both are damaged and skipped.
pub(crate) static APPEND_SPLIT: CarelessLog = CarelessLog { info: &APPEND_SPLIT_INFO, habit: Habit::Split };

#[derive(Clone, Copy, Debug)]
enum Habit {
    Seek,
    Split,
}

/// A log whose readers skip damaged records and whose writers damage them.
#[derive(Debug)]
pub(crate) struct CarelessLog {
    info: &'static StrategyInfo,
    habit: Habit,
}

static APPEND_SEEK_INFO: StrategyInfo = StrategyInfo {
    name: "append-seek",
    algorithm: "seek to the end, then write, without O_APPEND",
    claims: claims![
        AtomicReads: Concurrency;
        Progress: Concurrency;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "folklore: opening with 'r+' instead of 'a'",
    objects: &[Object::Log],
    broken: true,
    timed: false,
};

static APPEND_SPLIT_INFO: StrategyInfo = StrategyInfo {
    name: "append-split",
    algorithm: "O_APPEND, but a record is written in several writes",
    claims: claims![
        AtomicReads: Concurrency;
        Progress: Concurrency;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "folklore: an unbuffered writer that is given a record in pieces",
    objects: &[Object::Log],
    broken: true,
    timed: false,
};

impl Strategy for CarelessLog {
    fn info(&self) -> &'static StrategyInfo {
        self.info
    }

    fn prepare(&self, context: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        lay_down(context, document)
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        Ok(Box::new(CarelessAppender { at: context.clone(), habit: self.habit, log: None }))
    }
}

struct CarelessAppender {
    at: ClientContext,
    habit: Habit,
    log: Option<OpenFile>,
}

impl Client for CarelessAppender {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let found = read_plainly(&self.at, into)?;
        *into = whole_records(into);
        Ok(found)
    }

    fn append(&mut self, record: &[u8]) -> Result<(), StrategyError> {
        let flags = match self.habit {
            Habit::Seek => OFlags::empty(),
            Habit::Split => OFlags::APPEND,
        };
        let log = match &mut self.log {
            Some(log) => log,
            closed => closed.insert(open_log(&self.at.file, flags)?),
        };
        match self.habit {
            Habit::Seek => {
                log.seek_to_end()?;
                log.write_all(record).map_err(CallError::perhaps_applied)
            }
            Habit::Split => record
                .chunks(record.len().div_ceil(3).max(1))
                .try_for_each(|piece| log.write_all(piece))
                .map_err(CallError::perhaps_applied),
        }
    }
}
