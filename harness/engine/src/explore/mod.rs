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
mod explorer;
pub mod gate;
mod ledger;
mod orders;
mod recount;
pub mod search;
pub mod system;
mod token;
mod watchdog;
mod witness;

pub use explorer::{Reduction, Replayed, every_execution, explore, plan_of, replay};
pub use token::{Token, TokenError, digest_of};
