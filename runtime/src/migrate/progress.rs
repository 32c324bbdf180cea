//! How far a move is, for those who watch it. It must not know how it is done.

use std::time::Duration;

/// What a move is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// The connection is made.
    #[default]
    Setup,
    /// Memory is sent while the guest runs.
    Active,
    /// The guest stands still: the rest is sent.
    Device,
    /// The guest was let go, but nobody has said yet that it runs at the target: it runs nowhere for certain.
    Undecided,
    /// The guest runs at the target.
    Completed,
    /// The guest goes on here, since something went wrong.
    Failed,
    /// The guest goes on here, since someone wanted it to.
    Cancelled,
}

impl Status {
    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// How far a move is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// What it is at.
    pub status: Status,
    /// Bytes of the guest's memories.
    pub total: u64,
    /// Bytes that were sent.
    pub transferred: u64,
    /// Pages that were sent.
    pub pages: u64,
    /// Bytes of pages that are still to be sent.
    pub remaining: u64,
    /// Rounds over changed pages.
    pub rounds: u32,
    /// Bytes of pages that the network and the other side took in a second, in the last round.
    pub rate: f64,
    /// Pages that the guest changed in a second, in the last round.
    pub dirty_rate: f64,
    /// How long the guest would stand still if it did now.
    pub expected_downtime: Duration,
    /// How long it stood still in the end.
    pub downtime: Option<Duration>,
    /// How long the move takes or took.
    pub total_time: Duration,
    /// By how many percent the guest is slowed down so that there is an end.
    pub throttle: u32,
    /// What the target has to say about it.
    pub remark: Option<String>,
    /// Why it failed, or is undecided.
    pub reason: Option<String>,
}
