//! The words that clients and servers of Chatlane exchange: ids, positions, frames, errors, limits.
//!
//! `docs/PROTOCOL.md` is the same for readers. This crate is a leaf: serde and data, no async, no clock, no AWS. Everything is parsed at
//! the edge into types that cannot hold a wrong value, and every limit is a named constant with its source ([`limits`]).
//!
//! Words: a *frame* is one JSON object; a *WebSocket frame* is the gateway's 32 KB unit. A *request* is answered by one frame that
//! echoes its `id`; a *push* has no `id`.

pub mod actions;
pub mod body;
pub mod entry;
pub mod error;
pub mod frames;
pub mod group;
pub mod ids;
mod integer;
pub mod limits;
pub mod position;
pub mod prefs;
pub mod pushes;
pub mod reaction;
mod reading;
pub mod request;
mod shared_limits;

pub use body::{Body, Content};
pub use entry::{Entry, EntryKind, Message};
pub use error::{ErrorCode, Refusal};
pub use frames::{MessageResult, Outcome, ServerFrame};
pub use group::{GroupMarks, GroupSettings, History, Metadata, Role, Title};
pub use ids::{ClientMessageId, ConnectionId, ConversationId, DeviceId, RequestId, TicketText, Token, UserId};
pub use position::{Position, Seq, UnixMillis};
pub use prefs::{Prefs, PrefsChange};
pub use reaction::{Reacting, ReactionChange, ReactionCount, ReactionKey};
pub use request::{Action, NewMessage, Request};

/// The WebSocket subprotocol of this version; the handshake offers and echoes it.
pub const SUBPROTOCOL: &str = "chatlane.v1";
