//! The limits that several crates use, under one path. Bytes are bytes of UTF-8 as encoded on the wire.
//!
//! A limit of one action stands in that action's file, one that several share in `shared_limits.rs`, each with where it comes from.

pub use crate::actions::cursors::CURSORS_EVERY_MS;
pub use crate::actions::hello::{
    HELLO_ROWS_MAX, KNOWN_BYTES_MAX, LAST_ENTRIES_MAX, RECONNECT_IN_MS, RECONNECT_IN_MS_MIN, RECONNECT_SPREAD_MS, VERSION_MAX, VERSION_MIN,
};
pub use crate::actions::history::HISTORY_ENTRIES_MAX;
pub use crate::actions::look::{INFO_CONVERSATIONS_MAX, MEMBERS_PAGE_MAX};
pub use crate::actions::ping::{OPEN_CONVERSATIONS_MAX, PING_AFTER_IDLE_MS};
pub use crate::actions::probe::{PROBE_BYTES_MAX, PROBED_IDS_MAX};
pub use crate::actions::refresh::REFRESH_BEFORE_MS;
pub use crate::actions::send::{ANCHOR_BYTES_MAX, ANCHOR_ENTRIES_MAX, MESSAGES_PER_SEND_MAX};
pub use crate::actions::ticket::TICKET_LIFE_MS;
pub use crate::pushes::RECEIPT_TTL_MS;
pub use crate::shared_limits::*;
