//! What can be promised, against what, and how a promise is seen broken: [`Guarantee`],
//! [`Hazard`], [`Engine`], [`AnomalyKind`], and the [`Claim`] that ties the first two together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{UnknownName, names};
use crate::object::Object;

names! {
    /// A property of shared state that a user cares about.
    Guarantee, "guarantee" {
        /// A read that returns, returns exactly one value that was written, whole.
        AtomicReads = "atomic-reads",
        /// Every acknowledged update is in the final state and in every later read.
        NoLostUpdates = "no-lost-updates",
        /// Reads and writes fit one order that respects real time.
        Linearizable = "linearizable",
        /// At most one client is inside the critical section.
        MutualExclusion = "mutual-exclusion",
        /// An operation completes once the others have finished or died.
        Progress = "progress",
        /// What was acknowledged is there after the crash.
        Durability = "durability",
        /// An operation that failed says so, and leaves the old value whole.
        ErrorsReported = "errors-reported",
        /// No temporary or lock file outlives the operation.
        NoResidue = "no-residue",
        /// Mode, symlink-ness and hard links of the target survive as the strategy declares.
        MetadataKept = "metadata-kept",
    }
}

names! {
    /// What the environment does to the clients.
    Hazard, "hazard" {
        /// Clients run at the same time, and nothing else happens.
        Concurrency = "concurrency",
        /// A client stops for longer than any time-out, and goes on.
        Pause = "pause",
        /// A client dies at any instruction.
        Kill = "kill",
        /// The machine loses power.
        PowerLoss = "power-loss",
        /// A system call fails.
        IoError = "io-error",
    }
}

names! {
    /// What produces executions.
    Engine, "engine" {
        /// Free-running processes.
        Stress = "stress",
        /// Every interleaving of the system calls.
        Explore = "explore",
        /// Kills and power loss at every step.
        Crash = "crash",
        /// Failing system calls.
        Fault = "fault",
    }
}

names! {
    /// How a guarantee was seen broken.
    AnomalyKind, "anomaly" {
        /// A read returned what nobody wrote as a whole.
        TornRead = "torn-read",
        /// An acknowledged update is missing from a later read.
        LostUpdate = "lost-update",
        /// A read after acknowledged updates is (nearly) empty: everything went at once.
        WipedState = "wiped-state",
        /// A read returned a value that had been overwritten before the read began.
        StaleRead = "stale-read",
        /// One client saw a newer value first and an older one later.
        NonMonotonicRead = "non-monotonic-read",
        /// Two clients were inside the critical section at once, each holding the lock.
        TwoHolders = "two-holders",
        /// A client was inside the critical section when its own lock was already given up.
        UnprotectedSection = "unprotected-section",
        /// Every client waits, and none can go on.
        Deadlock = "deadlock",
        /// The lock cannot be had although nobody holds it.
        StuckLock = "stuck-lock",
        /// An operation gave up although nobody was in its way.
        RetriesExhausted = "retries-exhausted",
        /// Clients go round in circles and none completes.
        Livelock = "livelock",
        /// Acknowledged data is not there after the crash.
        LostData = "lost-data",
        /// The directory entry of acknowledged data is not there after the crash.
        LostName = "lost-name",
        /// A failed operation was acknowledged.
        SilentFailure = "silent-failure",
        /// A failed operation left neither the old value nor the new one.
        ValueDestroyed = "value-destroyed",
        /// A temporary or lock file was left behind.
        LeakedFile = "leaked-file",
        /// A lock was left behind.
        LeakedLock = "leaked-lock",
        /// The mode of the target changed.
        ModeDrift = "mode-drift",
        /// A target that was a symbolic link no longer is one.
        SymlinkReplaced = "symlink-replaced",
        /// A target that had further hard links no longer shares their inode.
        HardLinkBroken = "hard-link-broken",
        /// Extended attributes of the target are gone.
        XattrLost = "xattr-lost",
        /// The owner of the target changed.
        OwnerDrift = "owner-drift",
        /// A file that was none of the strategy's business was truncated.
        VictimTruncated = "victim-truncated",
    }
}

impl Guarantee {
    /// Whether an object of this kind can keep it or break it. A write to a register may be overwritten
    /// at once, so a register has no updates to lose; one that was lost is a stale read.
    pub const fn concerns(self, object: Object) -> bool {
        match self {
            Self::MutualExclusion => matches!(object, Object::Lock),
            Self::NoLostUpdates => matches!(object, Object::Set | Object::Log),
            Self::AtomicReads | Self::Linearizable => !matches!(object, Object::Lock),
            Self::Progress
            | Self::Durability
            | Self::ErrorsReported
            | Self::NoResidue
            | Self::MetadataKept => true,
        }
    }

    /// Whether this hazard can break it at all: nothing has to last where nothing crashes, and no error
    /// is to be reported where no call fails.
    pub const fn is_endangered_by(self, hazard: Hazard) -> bool {
        match self {
            Self::Durability => matches!(hazard, Hazard::Kill | Hazard::PowerLoss),
            Self::ErrorsReported => matches!(hazard, Hazard::IoError),
            _ => true,
        }
    }
}

impl AnomalyKind {
    /// The guarantee that this anomaly is a breach of.
    pub const fn breaches(self) -> Guarantee {
        match self {
            Self::TornRead => Guarantee::AtomicReads,
            Self::LostUpdate | Self::WipedState => Guarantee::NoLostUpdates,
            Self::StaleRead | Self::NonMonotonicRead => Guarantee::Linearizable,
            Self::TwoHolders | Self::UnprotectedSection => Guarantee::MutualExclusion,
            Self::Deadlock | Self::StuckLock | Self::RetriesExhausted | Self::Livelock => Guarantee::Progress,
            Self::LostData | Self::LostName => Guarantee::Durability,
            Self::SilentFailure | Self::ValueDestroyed => Guarantee::ErrorsReported,
            Self::LeakedFile | Self::LeakedLock => Guarantee::NoResidue,
            Self::ModeDrift
            | Self::SymlinkReplaced
            | Self::HardLinkBroken
            | Self::XattrLost
            | Self::OwnerDrift
            | Self::VictimTruncated => Guarantee::MetadataKept,
        }
    }
}

/// A guarantee that a strategy promises to keep under a hazard; written `guarantee@hazard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// What is promised.
    pub guarantee: Guarantee,
    /// Against what.
    pub hazard: Hazard,
}

impl Claim {
    /// The claim that `guarantee` holds under `hazard`.
    pub const fn new(guarantee: Guarantee, hazard: Hazard) -> Self {
        Self { guarantee, hazard }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.guarantee, self.hazard)
    }
}

/// A text that is not a claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// There is no `@`.
    #[error("`{0}` is no claim: write `guarantee@hazard`, for example `atomic-reads@concurrency`")]
    Shape(String),
    /// One of the halves is unknown.
    #[error(transparent)]
    Name(#[from] UnknownName),
}

impl FromStr for Claim {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let (guarantee, hazard) = text.split_once('@').ok_or_else(|| ClaimError::Shape(text.to_owned()))?;
        Ok(Self { guarantee: guarantee.parse()?, hazard: hazard.parse()? })
    }
}

impl Serialize for Claim {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_reads_back_as_it_was_written() {
        for &guarantee in Guarantee::ALL {
            for &hazard in Hazard::ALL {
                let claim = Claim::new(guarantee, hazard);
                assert_eq!(claim.to_string().parse(), Ok(claim));
            }
        }
    }

    #[test]
    fn an_unknown_half_is_named_with_the_known_ones() {
        let error = "atomic-reads@flood".parse::<Claim>().unwrap_err().to_string();
        assert!(error.starts_with("unknown hazard `flood`; known: concurrency, pause, kill"), "{error}");
    }
}
