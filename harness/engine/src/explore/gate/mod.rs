//! The gate: every system call that could touch the state directory, wait, or tell the time stops
//! here, and goes on when the supervisor says so.
//!
//! ```text
//! client: system call -> filter (BPF) -> Listener: supervisor -> answer -> client
//! ```
//!
//! The mechanism is seccomp user notification (Linux 5.14 and later), which needs no privilege and
//! follows threads, forks and execs by itself. A call is answered in one of three ways: with a
//! result, because the supervisor has done the work in the client's place; with a descriptor that
//! is put into the client's table; or with leave to go on, so that the client does it itself.
//!
//! Not covered: what a call means (`arena/perform`), and programs that never enter the kernel: stores
//! to a mapped file are invisible, so mapping one is noticed instead.

mod call;
mod decode;
mod filter;
mod gated;
mod listener;
mod memory;
mod places;
mod show;
mod socket;
mod timer;
mod uncommon;
mod vdso;
mod wait;

pub use call::{At, Call, LockKind, LockRequest, Span, StatForm, Target};
pub use filter::{install, prepare};
pub use gated::{Caller, calls_gated};
pub use listener::{Answer, Listener, Notification, ReceiveError};
pub use memory::ClientMemory;
pub use places::WAKE_PRIVATELY;
pub use show::Shown;
pub use socket::{SocketAct, SocketCall};
pub use timer::{TimerCall, TimerForm, TimerId};
pub use uncommon::Uncommon;
pub use vdso::{Auxiliary, Face, silence_vdso};
pub use wait::{Form, Source, Wait};
