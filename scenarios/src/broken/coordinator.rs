//! One process owns the state, and is used or behaves wrongly.

use tearproof_core::strategy::StrategyInfo;

use crate::coordinator::{Coordinator, Habit};
use crate::protocol::{DOCUMENTS, claims};

/// Strategy `coordinator-read-write`: a client asks for the document, adds its element, and has the owner replace
/// the document. Between its two requests those of others fit, and the owner is none the wiser.
pub(crate) static COORDINATOR_READ_WRITE: Coordinator =
    Coordinator { info: &READ_WRITE_INFO, habit: Habit::ClientsChange };

static READ_WRITE_INFO: StrategyInfo = StrategyInfo {
    name: "coordinator-read-write",
    algorithm: "one owner process behind a Unix socket; a client changes the document in two requests, read and write",
    claims: claims![
        AtomicReads: Concurrency Kill;
        Progress: Concurrency;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "the progress.json report (solution 3), done naively",
    objects: DOCUMENTS,
    broken: true,
    timed: true,
};

/// Strategy `coordinator-ack-first`: the owner acknowledges a change, and then writes it down. Nobody who asks the
/// owner can tell; when it is killed in between, what it has acknowledged is gone.
pub(crate) static COORDINATOR_ACK_FIRST: Coordinator =
    Coordinator { info: &ACK_FIRST_INFO, habit: Habit::AnswersFirst };

static ACK_FIRST_INFO: StrategyInfo = StrategyInfo {
    name: "coordinator-ack-first",
    algorithm: "one owner process behind a Unix socket; it acknowledges before it replaces the state file",
    claims: claims![
        AtomicReads: Concurrency Kill;
        NoLostUpdates: Concurrency;
        Linearizable: Concurrency;
        Progress: Concurrency;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "the progress.json report (solution 3), done naively",
    objects: DOCUMENTS,
    broken: true,
    timed: true,
};
