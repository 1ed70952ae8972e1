//! What a session is given once.

use chatlane_protocol::{DeviceId, UserId};

/// Whose session this is, and its patience. Times are milliseconds of the caller's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who the token speaks for. A server that takes the token for somebody else's gets nothing from this session.
    pub user: UserId,
    /// This installation, as in the handshake.
    pub device: DeviceId,
    /// So long an answer may take, and the opening of a socket. Longer than the gateway lets a function run (29 s).
    pub answer_wait_ms: u64,
    /// So long the answer to a `ping` may take, then the socket is taken for dead.
    pub ping_wait_ms: u64,
    /// So long a cursor waits for others to go with it in one frame.
    pub cursors_wait_ms: u64,
    /// The bound of the first pause before a new attempt; each further one is twice as long.
    pub back_off_min_ms: u64,
    /// The bound of all pauses.
    pub back_off_max_ms: u64,
    /// A conversation that is further behind is not caught up with: it goes on at its head ([`super::Shown::Skipped`]).
    pub catch_up_entries_max: u64,
    /// The same for a conversation that is new to this device.
    pub new_entries_max: u64,
    /// Entries that one conversation keeps while one before them is missing.
    pub ahead_entries_max: usize,
}

impl Settings {
    /// The patience of a phone.
    pub const fn new(user: UserId, device: DeviceId) -> Self {
        Self {
            user,
            device,
            answer_wait_ms: 35_000,
            ping_wait_ms: 10_000,
            cursors_wait_ms: 200,
            back_off_min_ms: 500,
            back_off_max_ms: 30_000,
            catch_up_entries_max: 2_000,
            new_entries_max: 50,
            ahead_entries_max: 256,
        }
    }
}
