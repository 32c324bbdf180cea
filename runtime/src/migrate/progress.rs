//! How far a move is, for those who watch it. It must not know how it is done.

use std::time::Duration;

use super::pieces::{Area, Place};

/// What a move is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// The connection is made.
    #[default]
    Setup,
    /// Memory and disks are sent while the guest runs.
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
        self == Self::Completed || self.is_here()
    }

    /// Whether the guest is here for good.
    pub fn is_here(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled)
    }
}

/// How much of memory, or of disks, was sent, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// What the guest has.
    pub total: u64,
    /// What was sent, some of it several times.
    pub sent: u64,
    /// What is still to be sent.
    pub remaining: u64,
}

/// How far a move is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// What it is at.
    pub status: Status,
    /// The guest's memories.
    pub memory: Amount,
    /// Those of its disks that are copied.
    pub disks: Amount,
    /// The images of these, for people: they are old once the guest runs at the target.
    pub copied: Vec<String>,
    /// Bytes that went over the connection.
    pub transferred: u64,
    /// Rounds over what changed.
    pub rounds: u32,
    /// Bytes of pages and blocks that the network and the other side took in a second, in the last round.
    pub rate: f64,
    /// Bytes of pages and blocks that the guest changed in a second, in the last round.
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

impl Progress {
    /// What pieces of `area` count as.
    fn amount(&mut self, area: Area) -> &mut Amount {
        match area {
            Area::Disk(_) => &mut self.disks,
            Area::Memory(_) => &mut self.memory,
        }
    }

    /// Takes note of what is to be sent now.
    pub(super) fn set_remaining(&mut self, places: &[Place]) {
        (self.memory.remaining, self.disks.remaining) = (0, 0);
        places.iter().for_each(|place| self.amount(place.area).remaining += place.bytes());
    }

    /// Takes note of a piece that was sent.
    pub(super) fn note_sent(&mut self, place: Place) {
        let amount = self.amount(place.area);
        amount.sent += place.bytes();
        amount.remaining -= place.bytes();
    }
}
