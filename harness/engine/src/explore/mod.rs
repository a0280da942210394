//! The explore engine: every interleaving of the system calls of real processes.
//!
//! ```text
//! search -> System: arena -> gate -> clients
//!    ^                 |
//!    +---- observer <--+-- recordings -> History, in every real-time order -> check
//! ```
//!
//! The search names a thread, the arena has it take one step and says what the step touched; when
//! an execution is complete its recordings become histories, which are judged.

pub mod access;
pub mod arena;
mod bench;
mod exercise;
mod explorer;
mod facilities;
mod fates;
pub mod gate;
mod ledger;
mod open_files;
mod orders;
mod reach;
mod recount;
mod round;
mod scale;
pub mod search;
mod shards;
mod shortening;
mod source_line;
mod stand;
mod standard_error;
pub mod system;
mod token;
mod watchdog;
mod witness;

pub use exercise::{Executed, Exercise, Reduction, every_execution};
pub use explorer::{Effort, Exploration, Replayed, explore, plan_of, replay};
pub use facilities::{Facilities, Gate, probe_main};
pub use scale::Cast;
pub use shards::{Shard, in_shards};
pub use token::{Token, TokenError, digest_of};
