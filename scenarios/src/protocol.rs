//! What is the same in every strategy that keeps a whole document under one path: a [`Protocol`]
//! says how the document is read, written and updated, and [`Kept`] makes a strategy of it.
//!
//! The algorithms themselves are elsewhere, one family a file, as straight lines of system calls.

use std::io::Read;
use std::marker::PhantomData;

use rustix::fs::OFlags;
use tearproof_core::object::Object;
use tearproof_core::set::SetDocument;
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy, StrategyError, StrategyInfo};

use crate::calls::OpenFile;

/// The objects of strategies that keep one document.
pub(crate) const DOCUMENTS: &[Object] = &[Object::Register, Object::Set];

/// A list of claims: `claims![AtomicReads: Concurrency Kill; Progress: Concurrency]`.
macro_rules! claims {
    ($($guarantee:ident: $($hazard:ident)+);* $(;)?) => {
        &[$($(tearproof_core::claim::Claim::new(
            tearproof_core::claim::Guarantee::$guarantee,
            tearproof_core::claim::Hazard::$hazard,
        ),)+)*]
    };
}
pub(crate) use claims;

/// The algorithm of one client.
pub(crate) trait Protocol: Default + Send + 'static {
    /// What the strategy says of itself.
    fn info() -> &'static StrategyInfo;

    /// Reads the document.
    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        read_plainly(at, into)
    }

    /// Replaces the document.
    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError>;

    /// Adds an element: the read-modify-write that programs do when nothing protects it.
    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let mut document = Vec::new();
        let found = self.read(at, &mut document)?;
        let document = with_element(at, found, &document, element)?;
        self.write(at, &document)
    }

    /// Opens the document for somebody who reads it slowly.
    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
        Ok(match OpenFile::open_to_read(&at.file)? {
            Some(file) => Some(Box::new(file)),
            None => None,
        })
    }

    /// See [`Strategy::prepare`].
    fn prepare(at: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        lay_down(at, document)
    }

    /// See [`Strategy::keeps`].
    fn keeps(at: &ClientContext, name: &str) -> bool {
        let _ = (at, name);
        false
    }

    /// See [`Strategy::follows_symlinks`].
    const FOLLOWS_SYMLINKS: bool = true;
}

/// The strategy whose clients follow the protocol `P`.
pub(crate) struct Kept<P>(PhantomData<fn() -> P>);

impl<P> Kept<P> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<P: Protocol> Strategy for Kept<P> {
    fn info(&self) -> &'static StrategyInfo {
        P::info()
    }

    fn prepare(&self, context: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        P::prepare(context, document)
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        Ok(Box::new(Handle { at: context.clone(), protocol: P::default() }))
    }

    fn keeps(&self, context: &ClientContext, name: &str) -> bool {
        P::keeps(context, name)
    }

    fn follows_symlinks(&self) -> bool {
        P::FOLLOWS_SYMLINKS
    }
}

struct Handle<P> {
    at: ClientContext,
    protocol: P,
}

impl<P: Protocol> Client for Handle<P> {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        self.protocol.read(&self.at, into)
    }

    fn write(&mut self, document: &[u8]) -> Result<(), StrategyError> {
        self.protocol.write(&self.at, document)
    }

    fn update(&mut self, element: &str) -> Result<(), StrategyError> {
        self.protocol.update(&self.at, element)
    }

    fn stream(&mut self) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
        self.protocol.stream(&self.at)
    }
}

/// Reads the state file as any program does: open, read until nothing comes, close.
pub(crate) fn read_plainly(at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
    into.clear();
    let Some(file) = OpenFile::open_to_read(&at.file)? else { return Ok(Found::Absent) };
    file.read_to_end(into)?;
    file.close()?;
    Ok(Found::Present)
}

/// The document as a stream, of a strategy whose readers must see all of it before they can pass
/// any of it on.
pub(crate) fn stream_buffered<P: Protocol>(
    protocol: &mut P,
    at: &ClientContext,
) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
    let mut document = Vec::new();
    Ok(match protocol.read(at, &mut document)? {
        Found::Present => Some(Box::new(std::io::Cursor::new(document))),
        Found::Absent => None,
    })
}

/// Writes the first document, in a world that has no clients yet.
pub(crate) fn lay_down(at: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
    let Some(document) = document else { return Ok(()) };
    let file = OpenFile::open(&at.file, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, 0o644)?;
    file.write_all(document)?;
    Ok(file.close()?)
}

/// The document with one element more. No document counts as an empty set; one that does not parse
/// is an error, in the words of the parser.
pub(crate) fn with_element(
    at: &ClientContext,
    found: Found,
    document: &[u8],
    element: &str,
) -> Result<Vec<u8>, StrategyError> {
    let mut set = match found {
        Found::Absent => SetDocument::default(),
        Found::Present => parse_set(at, document)?,
    };
    set.add(element);
    Ok(set.render(at.format))
}

/// The set in a document.
pub(crate) fn parse_set(at: &ClientContext, document: &[u8]) -> Result<SetDocument, StrategyError> {
    SetDocument::parse(at.format, document)
        .map_err(|error| StrategyError::failed(format!("{}: {error}", crate::calls::name(&at.file))))
}
