//! Whether a position that a client names is one of the log's: anchors of `send` and `probe`, `after` of `sync`, cursors.

use chatlane_protocol::{ConversationId, ErrorCode, Position, Refusal, Seq};

use crate::ports::{MessageLog, ReadBound, Run, Unavailable};

/// Why a position is none of the log's.
#[derive(Debug, thiserror::Error)]
pub enum BadPosition {
    /// No entry of this conversation.
    #[error("the position names no entry of this conversation")]
    Unknown,
    /// The log has a gap there.
    #[error("entries after the position are gone")]
    TooOld,
    /// From before a restore.
    #[error("the log was restored since")]
    EpochChanged {
        /// The last position before the first entry of a later epoch.
        common: Position,
    },
    /// The backend.
    #[error("the outcome is unknown; retry")]
    Unavailable(#[from] Unavailable),
}

impl BadPosition {
    /// The one place where bad positions become codes.
    pub fn to_wire(&self) -> Refusal {
        let refusal = |code| Refusal::new(code, self.to_string());
        match self {
            Self::Unknown => refusal(ErrorCode::AnchorUnknown),
            Self::TooOld => refusal(ErrorCode::AnchorTooOld),
            Self::EpochChanged { common } => Refusal { common: Some(*common), ..refusal(ErrorCode::EpochChanged) },
            Self::Unavailable(_) => refusal(ErrorCode::Unavailable).after_ms(crate::log::append::BUSY_RETRY_AFTER_MS),
        }
    }
}

/// Judges `named` by the entry that stands in its slot now; `epoch` is the deployment's. A position beyond the tail is a restore if it is
/// older than the deployment's epoch, and made up otherwise.
pub async fn judge<S: MessageLog>(
    store: &S,
    epoch: u32,
    conversation: &ConversationId,
    named: Position,
    occupant: Option<Position>,
) -> Result<(), BadPosition> {
    match occupant {
        Some(occupant) if occupant == named => Ok(()),
        Some(occupant) if occupant.epoch > named.epoch => Err(epoch_changed(store, conversation, named).await),
        None if named.epoch < epoch => Err(epoch_changed(store, conversation, named).await),
        Some(_) | None => Err(BadPosition::Unknown), // no client was ever told so
    }
}

/// Finds the last position before the first entry of an epoch above the named one's; epochs never go down along the log.
async fn epoch_changed<S: MessageLog>(store: &S, conversation: &ConversationId, named: Position) -> BadPosition {
    match common(store, conversation, named).await {
        Ok(bad) => bad,
        Err(unavailable) => BadPosition::Unavailable(unavailable),
    }
}

async fn common<S: MessageLog>(store: &S, conversation: &ConversationId, named: Position) -> Result<BadPosition, Unavailable> {
    let Some(tail) = store.last(conversation).await? else { return Ok(BadPosition::Unknown) };
    let one = ReadBound { entries_max: 1, bytes_max: usize::MAX };
    let (mut common, mut low, mut high) = (Position::ZERO, 1, tail.position.seq.get());
    while low <= high {
        let middle = low + (high - low) / 2;
        let seq = Seq::try_from(middle).unwrap_or(Seq::MAX);
        let Run::Whole(found) = store.read_run(conversation, seq, one).await? else { return Ok(BadPosition::TooOld) };
        let Some(entry) = found.first() else { return Ok(BadPosition::TooOld) };
        if entry.position.epoch > named.epoch {
            high = middle - 1;
        } else {
            common = entry.position;
            low = middle + 1;
        }
    }
    Ok(BadPosition::EpochChanged { common })
}
