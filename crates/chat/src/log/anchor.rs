//! Whether a position that a client names is one of the log's: anchors of `send` and `probe`, `after` of `sync`, cursors.

use chatlane_protocol::{ConversationId, Position, Seq};

use crate::allowance::Allowance;
use crate::ports::{Failure, MessageLog, ReadBound, Run, last, read_run};
use crate::refusal::Refused;

/// Judges `named` by the entry that stands in its slot now; `epoch` is the deployment's. A position beyond the tail is a restore if it is
/// older than the deployment's epoch, and made up otherwise.
pub async fn judge<P: MessageLog>(
    ports: &P,
    epoch: u32,
    conversation: &ConversationId,
    named: Position,
    occupant: Option<Position>,
    searches: &Allowance,
) -> Result<(), Refused> {
    match occupant {
        Some(occupant) if occupant == named => return Ok(()),
        Some(occupant) if occupant.epoch > named.epoch => {}
        None if named.epoch < epoch => {}
        Some(_) | None => return Err(Refused::PositionUnknown), // no client was ever answered that position
    }
    Err(if searches.takes() { epoch_changed(ports, conversation, named).await } else { Refused::Busy })
}

/// Finds the last position before the first entry of an epoch above the named one's; epochs never go down along the log.
async fn epoch_changed<P: MessageLog>(ports: &P, conversation: &ConversationId, named: Position) -> Refused {
    common(ports, conversation, named).await.unwrap_or_else(Refused::Failed)
}

async fn common<P: MessageLog>(ports: &P, conversation: &ConversationId, named: Position) -> Result<Refused, Failure> {
    let Some(tail) = last(ports, conversation).await? else { return Ok(Refused::PositionUnknown) };
    let (mut common, mut low, mut high) = (Position::ZERO, 1, tail.position.seq.get());
    while low <= high {
        let middle = low + (high - low) / 2;
        let seq = Seq::try_from(middle).unwrap_or(Seq::MAX);
        let Run::Whole(found) = read_run(ports, conversation, seq, ReadBound::ONE).await? else { return Ok(Refused::PositionTooOld) };
        let Some(entry) = found.first() else { return Ok(Refused::PositionTooOld) };
        if entry.position.epoch > named.epoch {
            high = middle - 1;
        } else {
            common = entry.position;
            low = middle + 1;
        }
    }
    Ok(Refused::EpochChanged { common })
}
