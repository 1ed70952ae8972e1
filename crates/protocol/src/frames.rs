//! What servers say: answers (with the request's `id`) and pushes (without). `type` names the frame; a client ignores one it does not know.
//! An answer that stands here is used by several crates; every answer stands with its request in [`crate::actions`].

use serde::Serialize;

pub use crate::actions::ServerFrame;
pub use crate::actions::cursors::{CursorOutcome, CursorResult, CursorsAnswer};
pub use crate::actions::hello::{ConversationRow, HelloAnswer, Limits, Versions};
pub use crate::actions::history::HistoryAnswer;
pub use crate::actions::look::{ConversationInfo, GroupInfo, InfoAnswer, InfoOutcome, MemberInfo, MembersAnswer};
pub use crate::actions::manage::{ChangeAnswer, ChangeOutcome};
pub use crate::actions::open::{ConversationHead, OpenAnswer};
pub use crate::actions::ping::{ConversationStatus, PingAnswer};
pub use crate::actions::prefs::PrefsAnswer;
pub use crate::actions::probe::{Found, ProbeAnswer};
pub use crate::actions::refresh::RefreshAnswer;
pub use crate::actions::send::{MessageResult, Outcome, SendAnswer, Stored};
pub use crate::actions::sync::{Missed, Skip, SyncAnswer, SyncOutcome, SyncPage};
pub use crate::actions::ticket::TicketAnswer;
use crate::entry::{Entry, EntryKind};
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::position::{Position, Seq, UnixMillis};
pub use crate::pushes::{Entries, ErrorFrame, Goaway, GoawayReason, MemberCursors, PrefsChanged, ReadMark, Receipt};
use crate::shared_limits::INTEGER_MAX;

/// The JSON text of a value of this crate, or of a list of them.
///
/// # Panics
///
/// Never for this crate's types. `serde_json` fails for a map whose keys are not texts, and where a `Serialize` says so; these have
/// neither.
pub fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the types of the protocol have a JSON text")
}

/// The live frame of entries that are already encoded: the fan-out encodes an entry once for all its receivers.
/// The same text as [`encode`] of [`ServerFrame::Entries`].
pub fn live_frame(conversation: &ConversationId, entries: &[String]) -> String {
    let mut frame = String::with_capacity(64 + entries.iter().map(|entry| entry.len() + 1).sum::<usize>());
    frame.push_str(r#"{"type":"entries","conversation":""#);
    frame.push_str(conversation.as_str()); // needs no escaping: A-Z a-z 0-9 _ -
    frame.push_str(r#"","entries":["#);
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            frame.push(',');
        }
        frame.push_str(entry);
    }
    frame.push_str("]}");
    frame
}

/// Here and not beside [`Entry`], because it measures the frame around one.
impl Entry {
    /// Bytes of the live frame that carries only such an entry, with the longest position, time and count: what is compared with
    /// [`crate::limits::ENTRY_BYTES_MAX`], so that the answer does not depend on where the entry lands.
    pub fn live_frame_bytes_max(conversation: &ConversationId, sender: &UserId, id: &ClientMessageId, kind: EntryKind) -> usize {
        let entry = Self {
            position: Position::new(u32::MAX, Seq::MAX),
            sender: sender.clone(),
            client_message_id: id.clone(),
            time_ms: UnixMillis::MAX,
            count: INTEGER_MAX,
            kind,
            as_it_came: None,
        };
        live_frame(conversation, &[encode(&entry)]).len()
    }
}
