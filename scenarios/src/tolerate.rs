//! Write in place, and have the readers cope: look at what was read, and read again when it is not
//! whole. Source: the run-info.yaml report (approach D) and the progress.json report (solution 4).
//!
//! What readers can cope with is what they can notice, and what passes. A parser notices a cut
//! JSON document, and often not a cut YAML one. A checksum notices everything. Damage that stays,
//! because the writer was killed or two writers left a mixture, exhausts the retries for ever, so
//! neither member promises progress.
//!
//! A cut YAML document passes only where there is one to be seen. A `write` of less than a page into
//! an emptied file shows when the file's size is set, so readers of a short document find it empty,
//! which does not parse, or whole: with the 400 bytes of `run-info` exploring every interleaving
//! verifies the reads of `tolerate-retry`. With 64 KiB it finds reads that took 32 KiB for the whole.
//! Nobody should rely on the difference, so no reads are promised.

use std::io::Read;

use tearproof_core::document::Format;
use tearproof_core::object::Object;
use tearproof_core::set::SetDocument;
use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use crate::backoff::Backoff;
use crate::broken::in_place::truncate_and_write;
use crate::calls::name;
use crate::protocol::{
    DOCUMENTS, Kept, Protocol, claims, lay_down, read_plainly, stream_buffered, with_element,
};

/// Strategy `tolerate-retry`.
pub(crate) static TOLERATE_RETRY: Kept<TolerateRetry> = Kept::new();
/// Strategy `tolerate-checksum`.
pub(crate) static TOLERATE_CHECKSUM: Kept<TolerateChecksum> = Kept::new();

/// Readers parse what they read, and try again with exponential backoff when it does not parse.
#[derive(Default)]
pub(crate) struct TolerateRetry;

static TOLERATE_RETRY_INFO: StrategyInfo = StrategyInfo {
    name: "tolerate-retry",
    algorithm: "write in place; readers parse, and retry with exponential backoff",
    claims: claims![NoResidue: Concurrency Kill; MetadataKept: Concurrency],
    source: "the run-info.yaml report (approach D), the progress.json report (solution 4)",
    objects: DOCUMENTS,
    broken: false,
    timed: true,
};

impl Protocol for TolerateRetry {
    fn info() -> &'static StrategyInfo {
        &TOLERATE_RETRY_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let mut backoff = Backoff::new(at);
        loop {
            let found = read_plainly(at, into)?;
            if found == Found::Absent || parses(at, into) {
                return Ok(found);
            }
            backoff.wait(&format!("{} does not parse ({} bytes)", name(&at.file), into.len()))?;
        }
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        truncate_and_write(at, document)
    }

    /// What has been passed on cannot be read again, so the whole is read and looked at first.
    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
        stream_buffered(self, at)
    }
}

fn parses(at: &ClientContext, document: &[u8]) -> bool {
    match at.object {
        Object::Set => SetDocument::parse(at.format, document).is_ok(),
        _ => at.format.parses(document),
    }
}

/// The same with a checksum inside the document.
///
/// The values of a register carry one already. The document of a set gets one as its first field,
/// over all that follows, and the reader takes it off again; a program that only parses sees one
/// field more. What readers return is therefore whole under any hazard, or an error.
#[derive(Default)]
pub(crate) struct TolerateChecksum;

static TOLERATE_CHECKSUM_INFO: StrategyInfo = StrategyInfo {
    name: "tolerate-checksum",
    algorithm: "write in place with a checksum in the document; readers verify it, and retry with exponential backoff",
    claims: claims![
        AtomicReads: Concurrency Pause Kill;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "the run-info.yaml report (approach D), with what its readers would need",
    objects: DOCUMENTS,
    broken: false,
    timed: true,
};

impl Protocol for TolerateChecksum {
    fn info() -> &'static StrategyInfo {
        &TOLERATE_CHECKSUM_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let mut backoff = Backoff::new(at);
        loop {
            let found = read_plainly(at, into)?;
            if found == Found::Absent || verified(at, into) {
                return Ok(found);
            }
            backoff.wait(&format!("{} fails its checksum ({} bytes)", name(&at.file), into.len()))?;
        }
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        truncate_and_write(at, document)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let mut document = Vec::new();
        let found = self.read(at, &mut document)?;
        let document = with_element(at, found, &document, element)?;
        truncate_and_write(at, &sealed(at.format, &document))
    }

    /// What has been passed on cannot be read again, so the whole is read and looked at first.
    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
        stream_buffered(self, at)
    }

    fn prepare(at: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        match (at.object, document) {
            // An empty file is a world that a scenario may ask for, and holds no document to seal.
            (Object::Set, Some(document)) if !document.is_empty() => {
                lay_down(at, Some(&sealed(at.format, document)))
            }
            _ => lay_down(at, document),
        }
    }
}

/// Whether the document is whole; if so, `document` is without its checksum afterwards.
fn verified(at: &ClientContext, document: &mut Vec<u8>) -> bool {
    if at.object != Object::Set {
        return at.shape.verify(document).is_ok();
    }
    let Some(whole) = unsealed(at.format, document) else { return false };
    *document = whole;
    true
}

/// What stands before and after the checksum, and what of the document stands before both.
const fn frame(format: Format) -> (&'static str, &'static str) {
    match format {
        Format::Json => ("{\"checksum\": \"", "\","),
        Format::Yaml => ("checksum: \"", "\"\n"),
        Format::Bytes => ("checksum ", "\n"),
    }
}

/// The document of a set with its checksum as the first field.
fn sealed(format: Format, document: &[u8]) -> Vec<u8> {
    let (open, close) = frame(format);
    // In JSON the brace that opens the document comes before the new field.
    let rest = if format == Format::Json { &document[1..] } else { document };
    let mut out = format!("{open}{:08x}{close}", crc32fast::hash(rest)).into_bytes();
    out.extend_from_slice(rest);
    out
}

/// The document without its checksum; `None` if it does not fit.
fn unsealed(format: Format, bytes: &[u8]) -> Option<Vec<u8>> {
    let (open, close) = frame(format);
    let after_open = bytes.strip_prefix(open.as_bytes())?;
    let (digits, rest) = after_open.split_at_checked(8)?;
    let rest = rest.strip_prefix(close.as_bytes())?;
    let checksum = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    let brace: &[u8] = if format == Format::Json { b"{" } else { b"" };
    (checksum == crc32fast::hash(rest)).then(|| [brace, rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_of_a_sealed_set_passes_and_the_whole_comes_back() {
        let mut set = SetDocument::default();
        set.add("e-1-1");
        set.add("e-2-7");
        for &format in Format::ALL {
            let document = set.render(format);
            let bytes = sealed(format, &document);
            assert_eq!(unsealed(format, &bytes).as_deref(), Some(&document[..]));
            assert!((0..bytes.len()).all(|cut| unsealed(format, &bytes[..cut]).is_none()), "{format}");
            if format != Format::Bytes {
                let parsed = SetDocument::parse(format, &bytes).expect("one field more is no error");
                assert_eq!(parsed.elements, set.elements);
            }
        }
    }
}
