//! Recording: what clients do, written down so that it survives their death, and put together into
//! a [`History`](tearproof_core::History) afterwards.
//!
//! ```text
//! client: Recorder -> ring::Producer -> SharedMemory -> ring::Consumer -> Drain -> assemble: supervisor
//! ```
//!
//! One client thread writes to one ring, which lies in memory that the supervisor owns. A record is
//! either published whole or was never there, wherever SIGKILL struck. Nothing here starts, waits
//! for or kills a process.

mod assemble;
mod clock;
mod drain;
mod event;
mod memory;
mod recorder;
pub mod ring;
mod stamps;

pub use assemble::{AssembleError, Death, Start, assemble};
pub use clock::{Clock, now_ns};
pub use drain::{Drain, DrainError};
pub use event::{LONGEST_TEXT, RawEvent, RawPayload, phase_of};
pub use memory::{SharedMemory, SharedRing, ring_at};
pub use recorder::{OPERATION_WORDS, Recorder};
