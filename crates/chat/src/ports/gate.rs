//! Whether a user is let in.

use chatlane_protocol::UnixMillis;
use chatlane_protocol::limits::SHUT_OUT_MS_MAX;

/// Whether a user's handshakes are admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Shut until then.
    pub until: UnixMillis,
    /// How often it was shut in a row for what was spent; 0: by an operator.
    pub times: u32,
}

impl Gate {
    /// One that is shut for longer yet was shut so by a wrong clock, and counts as open; an operator's is shut for as long as they say.
    pub const FAR_MS: u64 = 2 * SHUT_OUT_MS_MAX;

    /// For how long it is shut yet; `None`: it is open.
    pub fn shut_for_ms(self, now: UnixMillis) -> Option<u64> {
        let ms = self.until.since_ms(now);
        let by_a_wrong_clock = self.times > 0 && ms > Self::FAR_MS;
        (ms > 0 && !by_a_wrong_clock).then_some(ms)
    }
}
