//! Two slots in one file, written in turn. Each has a generation and a checksum; the newest whole
//! one counts. Source: the double buffers of boot loaders and embedded stores.
//!
//! One writer overwrites the older slot while the newer one stays whole, so a kill or a power loss
//! costs at most the write that was not acknowledged. A second writer may choose the same slot, or
//! a slot that has become the newer one since it looked: updates are lost, and durability and
//! order go with them. So what is promised, for any number of writers, is that reads are whole.
//!
//! Layout: a slot is a header of 32 bytes (magic, generation, length, checksum over all of these
//! and the document) and the document. Slot 1 starts at a fixed distance, which bounds the length
//! of a document; a longer one is refused.

use rustix::fs::OFlags;
use tearproof_core::object::Object;
use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use crate::backoff::Backoff;
use crate::calls::{CallError, OpenFile, name};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims, stream_buffered, with_element};

/// Strategy `double-buffer`.
pub(crate) static DOUBLE_BUFFER: Kept<DoubleBuffer> = Kept::new();

const MAGIC: [u8; 8] = *b"tearslot";
const HEADER: usize = 32;
/// A set grows without a known bound, so its slots have this length in bytes. Sparse.
const SET_SLOT: u64 = 1 << 20;

/// See the module.
#[derive(Default)]
pub(crate) struct DoubleBuffer;

static DOUBLE_BUFFER_INFO: StrategyInfo = StrategyInfo {
    name: "double-buffer",
    algorithm: "two checksummed slots with generations in one file; pwrite the older one, fdatasync",
    claims: claims![
        AtomicReads: Concurrency Pause Kill;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "folklore of boot loaders and embedded stores",
    objects: DOCUMENTS,
    broken: false,
    timed: true,
};

/// A slot that is whole.
struct Slot {
    index: u64,
    generation: u64,
    document: Vec<u8>,
}

/// The distance between the slots in bytes.
fn stride(at: &ClientContext) -> u64 {
    match at.object {
        Object::Set => SET_SLOT,
        _ => (u64::from(at.shape.size) + u64::from(at.shape.grow) + HEADER as u64).next_multiple_of(4096),
    }
}

fn checksum(header: &[u8], document: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..24]);
    hasher.update(document);
    hasher.finalize()
}

/// The bytes of a slot.
fn render(generation: u64, document: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + document.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&(document.len() as u64).to_le_bytes());
    let checksum = checksum(&bytes, document);
    bytes.extend_from_slice(&u64::from(checksum).to_le_bytes());
    bytes.extend_from_slice(document);
    bytes
}

fn word(header: &[u8; HEADER], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| header[at + index]))
}

/// Reads a slot; `None` if it is not whole.
fn read_slot(file: &OpenFile, index: u64, stride: u64) -> Result<Option<Slot>, CallError> {
    let mut header = [0; HEADER];
    if file.pread_full(&mut header, index * stride)? < HEADER || !header.starts_with(&MAGIC) {
        return Ok(None);
    }
    let (generation, length) = (word(&header, 8), word(&header, 16));
    if length > stride - HEADER as u64 {
        return Ok(None);
    }
    let mut document = vec![0; length as usize];
    let read = file.pread_full(&mut document, index * stride + HEADER as u64)?;
    let whole = read == document.len() && word(&header, 24) == u64::from(checksum(&header, &document));
    Ok(whole.then_some(Slot { index, generation, document }))
}

/// The newest whole slot.
///
/// While slot 0 and slot 1 are read, a quick writer can go round once: what was the newest when
/// slot 0 was read is then of the past, and slot 1 is just being written. So the answer counts
/// only if its slot still has the same generation after both were read.
fn newest(file: &OpenFile, at: &ClientContext) -> Result<Slot, StrategyError> {
    let stride = stride(at);
    let mut backoff = Backoff::new(at);
    loop {
        let slots = [read_slot(file, 0, stride)?, read_slot(file, 1, stride)?];
        if let Some(slot) = slots.into_iter().flatten().max_by_key(|slot| slot.generation) {
            let mut header = [0; HEADER];
            file.pread_full(&mut header, slot.index * stride)?;
            if word(&header, 8) == slot.generation {
                return Ok(slot);
            }
        }
        backoff.wait(&format!("neither slot of {} is whole", name(&at.file)))?;
    }
}

/// Writes the other slot than `current`, with the next generation.
fn replace(
    file: &OpenFile,
    at: &ClientContext,
    current: Option<&Slot>,
    document: &[u8],
) -> Result<(), StrategyError> {
    let (index, generation) = current.map_or((0, 1), |current| (1 - current.index, current.generation + 1));
    if (HEADER + document.len()) as u64 > stride(at) {
        return Err(StrategyError::failed(format!(
            "{}: {} bytes do not fit into a slot",
            name(&at.file),
            document.len()
        )));
    }
    file.pwrite_all(&render(generation, document), index * stride(at)).map_err(CallError::perhaps_applied)?;
    file.sync_data().map_err(CallError::perhaps_applied)
}

fn open(at: &ClientContext) -> Result<OpenFile, CallError> {
    OpenFile::open(&at.file, OFlags::RDWR | OFlags::CREATE, 0o644)
}

/// The newest slot for a writer; `None` in a file without any slot yet.
fn newest_for_writer(file: &OpenFile, at: &ClientContext) -> Result<Option<Slot>, StrategyError> {
    if file.length()? == 0 { Ok(None) } else { newest(file, at).map(Some) }
}

impl Protocol for DoubleBuffer {
    fn info() -> &'static StrategyInfo {
        &DOUBLE_BUFFER_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        into.clear();
        let Some(file) = OpenFile::open_to_read(&at.file)? else { return Ok(Found::Absent) };
        // A file without slots is one that its first writer has created a moment ago.
        if file.length()? == 0 {
            return Ok(Found::Absent);
        }
        *into = newest(&file, at)?.document;
        file.close()?;
        Ok(Found::Present)
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let file = open(at)?;
        let current = newest_for_writer(&file, at)?;
        replace(&file, at, current.as_ref(), document)?;
        file.close().map_err(CallError::perhaps_applied)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let file = open(at)?;
        let current = newest_for_writer(&file, at)?;
        let document = match &current {
            Some(slot) => with_element(at, Found::Present, &slot.document, element)?,
            None => with_element(at, Found::Absent, &[], element)?,
        };
        replace(&file, at, current.as_ref(), &document)?;
        file.close().map_err(CallError::perhaps_applied)
    }

    /// The document is inside the file, and is read as a whole to be verified.
    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn std::io::Read + Send>>, StrategyError> {
        stream_buffered(self, at)
    }

    fn prepare(at: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        let Some(document) = document else { return Ok(()) };
        let file = open(at)?;
        replace(&file, at, None, document)?;
        Ok(file.close()?)
    }
}
