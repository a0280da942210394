//! Where the engine, and the reader of definitions, find strategies.

use std::sync::Arc;

use tearproof_core::strategy::{Strategy, StrategyInfo};
use tearproof_engine::worker::Strategies;
use tearproof_scenarios::definition::Known;

use crate::rest::OverHttp;

/// The strategies of `tearproof-scenarios`, directly or behind a REST server.
pub struct Registry;

impl Strategies for Registry {
    fn built_in(&self, name: &str) -> Option<&'static dyn Strategy> {
        tearproof_scenarios::strategy(name)
    }

    fn over_http(&self, inner: Arc<dyn Strategy>) -> Arc<dyn Strategy> {
        Arc::new(OverHttp::new(inner))
    }
}

impl Known for Registry {
    fn find(&self, name: &str) -> Option<&'static StrategyInfo> {
        tearproof_scenarios::strategy(name).map(|strategy| strategy.info())
    }

    fn names(&self) -> Vec<&'static str> {
        tearproof_scenarios::strategies().iter().map(|strategy| strategy.info().name).collect()
    }
}
