//! Where the engine finds strategies.

use std::sync::Arc;

use tearproof_core::strategy::Strategy;
use tearproof_engine::worker::Strategies;

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
