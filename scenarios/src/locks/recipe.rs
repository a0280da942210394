//! What all lock strategies have in common as [`Strategy`]: their world starts empty, and they
//! differ in what they say of themselves, in their client, and in the files that they keep.

use tearproof_core::strategy::{Client, ClientContext, Strategy, StrategyError, StrategyInfo};

/// A lock strategy.
pub struct LockRecipe {
    /// What it says of itself.
    pub(crate) info: &'static StrategyInfo,
    /// Opens a client.
    pub(crate) open: fn(&ClientContext) -> Result<Box<dyn Client>, StrategyError>,
    /// Suffixes of files next to the lock that are meant to stay.
    pub(crate) keeps: &'static [&'static str],
}

impl Strategy for LockRecipe {
    fn info(&self) -> &'static StrategyInfo {
        self.info
    }

    fn prepare(&self, _context: &ClientContext, _document: Option<&[u8]>) -> Result<(), StrategyError> {
        Ok(())
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        (self.open)(context)
    }

    fn keeps(&self, context: &ClientContext, name: &str) -> bool {
        self.keeps.iter().any(|suffix| context.sibling(suffix).file_name().is_some_and(|kept| kept == name))
    }
}
