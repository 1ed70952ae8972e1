//! The tables at the end of a run, as `Scan` would return them, in the format that the checker documents.

use std::fmt::Write as _;

use chatlane_chat::log::entry::Kind;
use chatlane_protocol::{Content, DeviceId, Position};
use serde_json::{Value, json};

use crate::world::World;

impl World {
    pub(crate) fn dump(&self) -> String {
        let state = self.memory.state();
        let mut dump = String::new();
        let mut add = |table: &str, item: Value| {
            let _infallible = writeln!(dump, "{}", json!({"table": table, "item": item}));
        };
        for entry in state.log.values().flat_map(|log| log.values()) {
            let mut item = json!({
                "c": s(entry.conversation.as_str()), "s": n(entry.position.seq.get()), "e": n(entry.position.epoch.into()),
                "u": s(entry.sender.as_str()), "i": s(entry.client_message_id.as_str()), "t": n(entry.time.get()),
                "n": n(entry.facts.count),
            });
            match &entry.kind {
                Kind::Created { members } => {
                    item["k"] = s("c");
                    item["m"] = json!({"L": members.iter().map(|member| s(member.as_str())).collect::<Vec<_>>()});
                }
                Kind::Message { body, .. } => {
                    (item["k"], item["ct"]) = (s("m"), s(body.content_type()));
                    if let Content::Text(text) = body.content() {
                        item["x"] = s(text);
                    }
                }
                Kind::Later => item["k"] = s("?"),
            }
            add("log", item);
        }
        for (conversation, log) in &state.log {
            let created = log.values().next().map_or(0, |entry| entry.time.get());
            add("conversations", json!({"c": s(conversation.as_str()), "k": s("meta"), "t": n(created)}));
        }
        for (conversation, head) in &state.heads {
            let Position { epoch, seq } = head.position;
            let item = json!({
                "c": s(conversation.as_str()), "k": s("head"), "e": n(epoch.into()), "s": n(seq.get()), "n": n(head.count),
                "t": n(head.time.get()),
            });
            add("conversations", item);
        }
        for (conversation, user) in state.members.keys() {
            // The users of a run need no escaping in keys.
            add("conversations", json!({"c": s(conversation.as_str()), "k": s(&format!("member#{user}")), "u": s(user.as_str())}));
        }
        for (user, rows) in &state.inboxes {
            for (conversation, row) in rows {
                let mut item = json!({"u": s(user.as_str()), "c": s(conversation.as_str())});
                if row.read.position > Position::ZERO {
                    (item["r"], item["rn"]) = (cursor(row.read.position), n(row.read.count));
                }
                for (device, position) in &row.delivered {
                    item[format!("d:{}", bare(*device))] = cursor(*position);
                }
                add("inboxes", item);
            }
        }
        for (user, sessions) in &state.sessions {
            let mut item = json!({"u": s(user.as_str()), "k": s("sessions")});
            for (connection, session) in sessions {
                item[format!("c:{connection}")] = json!({"M": {"d": s(&session.device.to_string())}});
            }
            add("users", item);
        }
        dump
    }
}

fn s(text: &str) -> Value {
    json!({"S": text})
}

fn n(number: u64) -> Value {
    json!({"N": number.to_string()})
}

/// Epoch × 10¹⁶ + seq.
fn cursor(position: Position) -> Value {
    let number = u128::from(position.epoch) * 10_u128.pow(16) + u128::from(position.seq.get());
    json!({"N": number.to_string()})
}

fn bare(device: DeviceId) -> String {
    device.to_string().replace('-', "")
}
