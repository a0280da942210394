//! What every strategy must do when nothing goes wrong, over all of the registry.

use std::path::Path;
use std::time::Duration;

use tearproof_core::document::{Format, Shape};
use tearproof_core::object::Object;
use tearproof_core::strategy::ClientContext;

/// Surroundings in `dir`, for client 1.
pub(crate) fn context(dir: &Path) -> ClientContext {
    ClientContext {
        dir: dir.to_owned(),
        file: dir.join("state.json"),
        other_dir: None,
        format: Format::Json,
        object: Object::Register,
        shape: Shape { format: Format::Json, size: 600, grow: 0 },
        client: 1,
        lease: Duration::from_secs(5),
        patience: Duration::from_secs(2),
    }
}
