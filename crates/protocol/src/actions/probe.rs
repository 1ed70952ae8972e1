//! `probe`: which of the caller's messages are in the log.

use serde::{Deserialize, Serialize};

use super::send::{MESSAGES_PER_SEND_MAX, Stored};
use crate::ids::{ClientMessageId, ConversationId, RequestId};
use crate::position::Position;
use crate::reading::{Bounded, object};

/// Client message ids of one `probe`. Ours: as many as a `send` may have.
pub const PROBED_IDS_MAX: usize = MESSAGES_PER_SEND_MAX;

/// Bytes that one `probe` looks through at most, as stored: it ends with the entry that exceeds them. Ours: 64 read units.
pub const PROBE_BYTES_MAX: usize = 256 * 1024;

/// `probe`: looks for messages of the caller after an anchor without bringing the entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Echoed.
    pub id: RequestId,
    /// Which.
    pub conversation: ConversationId,
    /// Where to begin: the anchor of the messages, or `reached` of the answer before.
    #[serde(deserialize_with = "object")]
    pub anchor: Position,
    /// 1 to 25.
    pub ids: Vec<ClientMessageId>,
}

impl Bounded for Probe {
    fn out_of_bounds(&self) -> Option<&'static str> {
        let good = (1..=PROBED_IDS_MAX).contains(&self.ids.len());
        (!good).then_some("`ids` must hold 1 to 25 client message ids")
    }
}

/// The answer to `probe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// Of the request.
    pub id: RequestId,
    /// Of the request.
    pub conversation: ConversationId,
    /// Messages of the caller with one of the ids, in the order of the log.
    pub found: Vec<Found>,
    /// Everything up to here was looked through: an anchor for those that were not found.
    pub reached: Position,
    /// Whether that was the end of the log when it was read. If not: probe again from `reached`.
    pub done: bool,
}

/// A message that is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub client_message_id: ClientMessageId,
    /// Its place.
    #[serde(flatten)]
    pub stored: Stored,
}
