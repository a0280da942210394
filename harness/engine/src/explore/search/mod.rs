//! The search for interleavings.
