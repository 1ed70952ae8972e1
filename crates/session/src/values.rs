//! The small values of inputs and outputs: the time, a socket, a write, a frame's text.

/// Milliseconds on a clock of the caller's that never goes back; only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// One socket that the session has asked for; numbered from 1, never reused by a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// One atomic write to the local store; numbered from 1, in the order in which they are to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// One random number that [`super::Session::handle`] drew: whoever ports the session can compare draw by draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// What for: `back_off`, `gap` or `old_token`.
    pub purpose: &'static str,
    /// One more than the largest that it could have been.
    pub modulus: u64,
    /// What it was.
    pub value: u64,
}

impl Moment {
    /// So much later; saturates.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since an earlier moment; 0 if it is later.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

use std::fmt;

/// One text frame, as it is on the wire. It may hold bodies and tokens, so `Debug` shows only how long it is (R1).
#[derive(Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}
