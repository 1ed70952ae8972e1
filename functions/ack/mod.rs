//! Route `ack`: entries have reached a device. See [`chatlane_chat::requests::cursors`].

use chatlane_chat::Settings;
use chatlane_chat::ports::{Clock, Cursors, MessageLog, Outbound, Sessions};
use chatlane_chat::requests::cursors::Cursor;

use crate::cursors::advance;
use crate::websocket::{Answered, Event};

/// Answers one `ack`.
pub async fn handle(
    store: &(impl MessageLog + Cursors + Sessions),
    outbound: &impl Outbound,
    clock: &impl Clock,
    settings: &Settings,
    event: Event,
) -> Answered {
    advance(store, outbound, clock, settings, &event, Cursor::Delivered).await
}
