//! Places in a conversation's log, and times.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::integer::{integer, small};
use crate::shared_limits::INTEGER_MAX;

macro_rules! bounded_integer {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "u64")]
        pub struct $name(#[serde(deserialize_with = "integer")] u64);

        impl $name {
            /// 0.
            pub const ZERO: Self = Self(0);
            /// The largest that exists: 2⁵³ − 1.
            pub const MAX: Self = Self(INTEGER_MAX);

            /// The number, at most 2⁵³ − 1.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = OutOfRange;

            fn try_from(number: u64) -> Result<Self, OutOfRange> {
                if number > INTEGER_MAX { Err(OutOfRange($what)) } else { Ok(Self(number)) }
            }
        }

        impl From<$name> for u64 {
            fn from(number: $name) -> u64 {
                number.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// A number above 2⁵³ − 1, which not every JSON client reads exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} must be at most 9007199254740991")]
pub struct OutOfRange(&'static str);

bounded_integer!(
    /// The number of an entry in its conversation: 1, 2, 3 …; 0 is "before the first". At most 2⁵³ − 1.
    Seq,
    "a seq"
);

bounded_integer!(
    /// Milliseconds since 1970-01-01T00:00:00Z, as a server's clock said. Never used to order entries.
    UnixMillis,
    "a time"
);

impl Seq {
    /// The first entry of every conversation: `created`.
    pub const FIRST: Self = Self(1);

    /// The seq after this one; saturates at [`Seq::MAX`], which no conversation reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 >= INTEGER_MAX { self } else { Self(self.0 + 1) }
    }

    /// The seq `n` before this one, not below 0.
    #[must_use]
    pub const fn minus(self, n: u64) -> Self {
        Self(self.0.saturating_sub(n))
    }
}

impl UnixMillis {
    /// This time and `ms` more; saturates.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        let sum = self.0.saturating_add(ms);
        if sum > INTEGER_MAX { Self(INTEGER_MAX) } else { Self(sum) }
    }

    /// This time and `ms` less, not below 0.
    #[must_use]
    pub const fn minus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// Milliseconds from `earlier` to this; 0 when `earlier` is later.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Names one entry for ever: the seq and the epoch in which that entry was written. Orders by epoch, then seq, as heads and cursors do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The deployment's epoch when the entry was written; raised by every restore.
    #[serde(deserialize_with = "small")]
    pub epoch: u32,
    /// The entry's number in its conversation.
    pub seq: Seq,
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Self = Self { epoch: 0, seq: Seq::ZERO };

    /// The position of entry `seq` written in `epoch`.
    pub const fn new(epoch: u32, seq: Seq) -> Self {
        Self { epoch, seq }
    }

    /// Whether it is before the first entry, in any epoch: seq 0 names no entry.
    pub const fn is_zero(self) -> bool {
        self.seq.0 == 0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seq_is_at_most_what_every_json_client_reads_exactly() {
        assert!(serde_json::from_str::<Seq>("9007199254740991").is_ok());
        assert!(serde_json::from_str::<Seq>("9007199254740992").is_err());
        assert!(serde_json::from_str::<Seq>("-1").is_err());
        assert!(serde_json::from_str::<Seq>("1.5").is_err());
    }

    #[test]
    fn positions_order_by_epoch_first() {
        assert!(Position::new(2, Seq::FIRST) > Position::new(1, Seq::MAX));
        assert!(Position::new(1, Seq::FIRST) > Position::ZERO);
    }

    #[test]
    fn seq_0_is_before_the_first_entry_in_every_epoch() {
        assert!(Position::ZERO.is_zero() && Position::new(7, Seq::ZERO).is_zero());
        assert!(!Position::new(0, Seq::FIRST).is_zero());
    }

    #[test]
    fn arithmetic_stays_in_range() {
        assert_eq!(Seq::MAX.next(), Seq::MAX);
        assert_eq!(Seq::FIRST.minus(5), Seq::ZERO);
        assert_eq!(UnixMillis::MAX.plus_ms(u64::MAX), UnixMillis::MAX);
        assert_eq!(UnixMillis::ZERO.since_ms(UnixMillis::MAX), 0);
    }
}
