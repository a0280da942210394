//! Which strategies are built in: what the reader of definitions asks, and who answers.

use tearproof_core::strategy::StrategyInfo;

/// Knows which strategies are built in.
pub trait Known {
    /// What the strategy of this name says of itself; `None` if there is none.
    fn find(&self, name: &str) -> Option<&'static StrategyInfo>;

    /// The names of all of them.
    fn names(&self) -> Vec<&'static str>;
}

/// The strategies of this crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registry;

impl Known for Registry {
    fn find(&self, name: &str) -> Option<&'static StrategyInfo> {
        crate::strategy(name).map(|strategy| strategy.info())
    }

    fn names(&self) -> Vec<&'static str> {
        crate::strategies().iter().map(|strategy| strategy.info().name).collect()
    }
}

impl Known for Vec<&'static StrategyInfo> {
    fn find(&self, name: &str) -> Option<&'static StrategyInfo> {
        self.iter().copied().find(|info| info.name == name)
    }

    fn names(&self) -> Vec<&'static str> {
        self.iter().map(|info| info.name).collect()
    }
}
