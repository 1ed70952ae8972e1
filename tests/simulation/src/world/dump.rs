//! The tables at the end of a run, as `Scan` would return them, in the format that the checker documents.

use std::fmt::Write as _;

use chatlane_aws::items::json::to_json;
use chatlane_aws::items::{Item, entry, head, inbox, left, member, meta, reaction, reactions, sessions, was};
use chatlane_protocol::UnixMillis;
use serde_json::json;

use super::World;

impl World {
    pub(crate) fn dump(&self) -> String {
        let state = self.memory.state();
        let mut dump = String::new();
        let mut add = |table: &str, item: &Item| {
            let _infallible = writeln!(dump, "{}", json!({"table": table, "item": to_json(item)}));
        };
        for entry in state.log.values().flat_map(|log| log.values()) {
            add("log", &entry::item(entry));
        }
        for (conversation, log) in &state.log {
            let created = log.values().next().map_or(UnixMillis::ZERO, |entry| entry.time);
            let description = state.descriptions.get(conversation).cloned().unwrap_or_default();
            add("conversations", &meta::item(conversation, created, &description));
        }
        for (conversation, head) in &state.heads {
            add("conversations", &head::item(conversation, *head));
        }
        for ((conversation, _), member) in &state.members {
            add("conversations", &member::item(conversation, member));
        }
        for ((conversation, user), spans) in &state.left {
            add("conversations", &left::item(conversation, user, spans));
            // The memory keeps it in the spans.
            add("users", &was::item(user, conversation, UnixMillis::ZERO));
        }
        for ((conversation, target), all) in &state.reactions {
            add("conversations", &reactions::item(conversation, *target, all));
        }
        for ((conversation, target, user), own) in &state.own_reactions {
            add("conversations", &reaction::item(conversation, *target, user, own));
        }
        for (user, rows) in &state.inboxes {
            for row in rows.values() {
                add("inboxes", &inbox::item(user, row));
            }
        }
        for (user, sessions) in &state.sessions {
            // The memory removes no item by itself, so any `ttl` is as good.
            add("users", &sessions::item(user, sessions.values(), sessions::ttl_at(UnixMillis::ZERO)));
        }
        dump
    }
}
