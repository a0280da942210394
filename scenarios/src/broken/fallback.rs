//! A reader that takes what it cannot parse for an empty state, and a writer that believes it.

use tearproof_core::object::Object;
use tearproof_core::set::SetDocument;
use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use super::in_place::truncate_and_write;
use crate::protocol::{Kept, Protocol, claims, read_plainly};
use crate::thread_mutex::empty_set;

/// Strategy `fallback-to-empty`.
pub(crate) static FALLBACK_TO_EMPTY: Kept<FallbackToEmpty> = Kept::new();

/// Writes in place; a document that does not parse is logged and counts as an empty set.
///
/// One update truncates the file, another reads it at that moment, falls back to nothing, and
/// writes its one element on top: every element that was there before is gone, and nobody was told.
/// Only sets have an empty state to fall back to.
#[derive(Default)]
pub(crate) struct FallbackToEmpty;

static FALLBACK_TO_EMPTY_INFO: StrategyInfo = StrategyInfo {
    name: "fallback-to-empty",
    algorithm: "write in place; a document that does not parse counts as an empty set",
    claims: claims![
        Progress: Concurrency;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "the index.json fix as found",
    objects: &[Object::Set],
    broken: true,
    timed: false,
};

impl Protocol for FallbackToEmpty {
    fn info() -> &'static StrategyInfo {
        &FALLBACK_TO_EMPTY_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let found = read_plainly(at, into)?;
        if found == Found::Present && SetDocument::parse(at.format, into).is_err() {
            empty_set(at.format, into);
        }
        Ok(found)
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        truncate_and_write(at, document)
    }
}
