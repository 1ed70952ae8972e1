//! Why a request, or one part of it, was refused, and the code that the client is answered: the one place where the two meet.

use std::fmt;

use chatlane_protocol::{ErrorCode, Position, Refusal, UnixMillis, limits};

use crate::ports::{Failure, Span};

/// When to come back after `busy` and `unavailable`, in milliseconds.
pub const RETRY_AFTER_MS: u64 = 100;

/// Why a request, or one part of it, was refused. Nothing was changed, but perhaps by what [`Refused::Failed`] names.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No such conversation, or not for this user: always the same answer (R1).
    #[error("no such conversation")]
    NotFound,
    /// Who asks is no member any more. `sync` and `probe` go by the span; the client is answered as by [`Refused::NotFound`].
    #[error("no such conversation")]
    Ended(Span),
    /// The policy at the tail.
    #[error("the conversation does not take this from this member")]
    Forbidden,
    /// So many members, or owners, a group has at most.
    #[error("the group has no room for more of them")]
    MembersFull,
    /// One of the users who are to be in it: so many groups one is in at most.
    #[error("somebody has no room for another group")]
    GroupsFull,
    /// The user: how many others they may add to groups on one day.
    #[error("no more users are added on this day")]
    AddedEnough,
    /// Somebody has to be an owner.
    #[error("the last owner leaves with a successor")]
    LastOwner,
    /// Whoever the request gives something to.
    #[error("the request names somebody who is no member")]
    NoMember,
    /// The target, or none that this member may see.
    #[error("there is no such message, or not any more")]
    NoMessage,
    /// For its age, or the number or the size of its edits.
    #[error("the message is edited no more")]
    NotEditable,
    /// So many different ones there are at most.
    #[error("the message has no room for another reaction")]
    ReactionsFull,
    /// The live frame.
    #[error("the entry's live frame would have {frame_bytes} bytes")]
    TooLarge {
        /// As encoded.
        frame_bytes: usize,
    },
    /// A position that is no entry of this conversation.
    #[error("the position names no entry of this conversation")]
    PositionUnknown,
    /// The log has a gap after the position.
    #[error("entries after the position are gone")]
    PositionTooOld,
    /// The position is from before a restore.
    #[error("the log was restored since")]
    EpochChanged {
        /// The last position before the first entry of a later epoch.
        common: Position,
    },
    /// The anchor is too far behind the tail.
    #[error("the anchor is more than {more_than} behind")]
    AnchorStale {
        /// Where the log ends.
        tail: Position,
        /// How far it may be.
        more_than: Distance,
    },
    /// Admission.
    #[error("the conversation takes no more for the moment")]
    RateLimited {
        /// When there will be a token.
        retry_after_ms: u64,
    },
    /// The user: what they may ask of one environment in a second, or what they may spend.
    #[error("too much is asked for this user: come back later")]
    TooMuch {
        /// When they are answered again.
        retry_after_ms: u64,
    },
    /// The user: how many conversations they may create on one day.
    #[error("no more new conversations on this day")]
    TooManyOpened {
        /// When the next day begins (UTC).
        retry_after_ms: u64,
    },
    /// Others were faster in every attempt, or one request asked for too much of a kind.
    #[error("others were faster, or too much was asked at once")]
    Busy,
    /// The client is too old.
    #[error("this server speaks protocol versions {} to {}", limits::VERSION_MIN, limits::VERSION_MAX)]
    UpgradeRequired,
    /// A direct conversation has two users.
    #[error("a direct conversation is with somebody else")]
    WithOneself,
    /// The caller's token has expired.
    #[error("the token has expired: connect again with a new one")]
    TokenExpired,
    /// The token breaks a rule, or is another user's or device's.
    #[error("the token was not accepted")]
    TokenRefused,
    /// There is no session of this connection.
    #[error("the connection is not known: say hello, then repeat")]
    Resync,
    /// A port failed: the outcome is unknown, or something stored cannot be read. The client does not learn which.
    #[error("the outcome is unknown; retry with the same ids")]
    Failed(#[from] Failure),
}

/// So much of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// As they are stored.
    Bytes(usize),
    /// However large.
    Entries(usize),
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} KB of entries", bytes / 1024),
            Self::Entries(entries) => write!(f, "{entries} entries"),
        }
    }
}

impl Refused {
    /// [`Refused::TooManyOpened`], at this time.
    pub fn too_many_opened(now: UnixMillis) -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        Self::TooManyOpened { retry_after_ms: DAY_MS - now.get() % DAY_MS }
    }

    /// The code.
    const fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound | Self::Ended(_) => ErrorCode::NotFound,
            Self::Forbidden => ErrorCode::Forbidden,
            Self::MembersFull | Self::GroupsFull | Self::AddedEnough => ErrorCode::MembersFull,
            Self::LastOwner => ErrorCode::LastOwner,
            Self::NoMember => ErrorCode::NoMember,
            Self::NoMessage => ErrorCode::NoMessage,
            Self::NotEditable => ErrorCode::NotEditable,
            Self::ReactionsFull => ErrorCode::ReactionsFull,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::PositionUnknown => ErrorCode::AnchorUnknown,
            Self::PositionTooOld => ErrorCode::AnchorTooOld,
            Self::EpochChanged { .. } => ErrorCode::EpochChanged,
            Self::AnchorStale { .. } => ErrorCode::AnchorStale,
            Self::RateLimited { .. } | Self::TooMuch { .. } | Self::TooManyOpened { .. } => ErrorCode::RateLimited,
            Self::Busy => ErrorCode::Busy,
            Self::UpgradeRequired => ErrorCode::UpgradeRequired,
            Self::WithOneself => ErrorCode::BadRequest,
            Self::TokenExpired => ErrorCode::TokenExpired,
            Self::TokenRefused => ErrorCode::TokenRefused,
            Self::Resync => ErrorCode::Resync,
            Self::Failed(_) => ErrorCode::Unavailable,
        }
    }

    /// As the client is answered.
    pub fn to_wire(&self) -> Refusal {
        let refusal = Refusal::new(self.code(), self.to_string());
        match self {
            Self::AnchorStale { tail, .. } => Refusal { tail: Some(*tail), ..refusal },
            Self::EpochChanged { common } => Refusal { common: Some(*common), ..refusal },
            Self::RateLimited { retry_after_ms } | Self::TooMuch { retry_after_ms } | Self::TooManyOpened { retry_after_ms } => {
                refusal.after_ms(*retry_after_ms)
            }
            Self::Busy | Self::Failed(_) => refusal.after_ms(RETRY_AFTER_MS),
            _ => refusal,
        }
    }

    /// Logs the failure of a port, if that is what this is: every other refusal is the client's to know.
    pub fn log(&self, doing: &str) {
        if let Self::Failed(failure) = self {
            failure.log(doing);
        }
    }
}
