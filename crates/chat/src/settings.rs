//! What a deployment chooses.

use chatlane_protocol::limits::{ANCHOR_BYTES_MAX, ANCHOR_ENTRIES_MAX, ENTRY_BYTES_MAX};

/// The settings that the core's rules read. The same for all functions of one deployment. The key of body hashes is apart: only `send`
/// has it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The epoch that new entries carry; every restore or failover raises it above all used before.
    pub epoch: u32,
    /// Whether conversations limit how many messages they take.
    pub admission: AdmissionLimit,
    /// How far behind the tail an anchor may be.
    pub anchor: AnchorBound,
    /// Bytes of one entry's live frame, as encoded.
    pub entry_bytes_max: usize,
}

/// Whether conversations limit how many messages they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmissionLimit {
    /// As the facts of the tail say.
    PerConversation,
    /// Everything is admitted; the bucket in the facts stays as it is.
    Off,
}

/// How far behind the tail an anchor may be: a send pays for reading what lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnchorBound {
    /// Entries after the anchor.
    pub entries_max: usize,
    /// Bytes of these entries, as [`crate::Entry::stored_bytes`] counts them.
    pub bytes_max: usize,
}

impl Settings {
    /// The documented defaults.
    pub const fn new(epoch: u32) -> Self {
        Self {
            epoch,
            admission: AdmissionLimit::PerConversation,
            anchor: AnchorBound { entries_max: ANCHOR_ENTRIES_MAX, bytes_max: ANCHOR_BYTES_MAX },
            entry_bytes_max: ENTRY_BYTES_MAX,
        }
    }
}
