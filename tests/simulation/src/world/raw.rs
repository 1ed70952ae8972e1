//! Frames by hand: a stranger's questions, requests that break a rule, and more of them than anybody may ask. Their sockets say no `hello` and repeat nothing.

use std::collections::BTreeMap;

use chatlane_chat::limit::Budget;
use chatlane_chat::ports::Gate;
use chatlane_chat::testing::builders;
use chatlane_protocol::{ConversationId, DeviceId, UnixMillis, UserId};
use serde_json::{Value, json};

use super::gateway::{Owner, Socket, Stage};
use super::port::Call;
use super::{BUDGET, Event, RAW, START_MS, World};
use crate::bad::BAD;
use crate::issuer;
use crate::script::USERS;

const FLOODER: usize = 2;

/// Frames of a flood: each costs 18 units at least, twice the burst in all.
const FLOOD_FRAMES: u64 = 2 * BUDGET.burst / 18;

/// So long after it everything that a flood has caused is done.
const FLOOD_IS_OVER_MS: u64 = 10_000;

/// What a stranger asks.
const ACTIONS: [&str; 6] = ["send", "sync", "history", "probe", "ack", "ping"];

/// One such device.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) user: UserId,
    pub(crate) id: DeviceId,
    socket: Option<u64>,
    asked: u64,
    /// Questions without an answer yet: the action and the conversation.
    open: BTreeMap<String, (&'static str, ConversationId)>,
}

impl Raw {
    pub(crate) fn new(user: &str, id: DeviceId) -> Self {
        Self { user: UserId::new(user).expect("a user"), id, socket: None, asked: 0, open: BTreeMap::new() }
    }
}

impl World {
    /// A socket of this device, opened if need be.
    pub(crate) fn raw_socket(&mut self, raw: usize) -> Option<u64> {
        if let Some(socket) = self.raws[raw].socket.filter(|socket| self.sockets[socket].held && self.sockets[socket].stage == Stage::Open)
        {
            return Some(socket);
        }
        let (user, device) = (self.raws[raw].user.clone(), self.raws[raw].id);
        let token = issuer::token(&user, (START_MS + self.now_ms) / 1000 + 3_600);
        let number = self.number();
        self.sockets.insert(number, Socket::new(Owner::Raw(raw)));
        self.handshake(number, device, token.as_str()).ok()?;
        self.sockets.get_mut(&number)?.stage = Stage::Open;
        self.raws[raw].socket = Some(number);
        Some(number)
    }

    /// Another client, with the id and a token of a device, says hello: it takes the device's place. Then it goes away.
    pub(crate) fn double(&mut self, phone: usize) -> Option<()> {
        if self.phones[phone].session.is_none() || self.strict {
            return None;
        }
        let (user, device) = (self.phones[phone].user.clone(), self.phones[phone].id);
        let number = self.number();
        self.sockets.insert(number, Socket::new(Owner::Double));
        let token = issuer::token(&user, (START_MS + self.now_ms) / 1000 + 3_600);
        self.handshake(number, device, token.as_str()).ok()?;
        self.sockets.get_mut(&number)?.stage = Stage::Open;
        self.phones[phone].doubled = true;
        self.leaves(number, json!({"action": "hello", "id": "double", "v": 1}).to_string());
        self.at(30_000, Event::LifeEnds { socket: number });
        Some(())
    }

    /// The same question about a conversation of others and about none.
    pub(crate) fn ask_as_stranger(&mut self, action: usize, pick: usize) -> bool {
        let action = ACTIONS[action % ACTIONS.len()];
        let lanes: Vec<ConversationId> = self.memory.state().log.keys().cloned().collect();
        let Some(of_others) = lanes.get(pick.checked_rem(lanes.len()).unwrap_or_default()) else { return false };
        let nobody = UserId::new("nobody").expect("a user");
        let of_none = builders::direct(&nobody, &UserId::new(USERS[pick % USERS.len()]).expect("a user"));
        for lane in [of_others, &of_none] {
            let Some(socket) = self.raw_socket(0) else { return false };
            let raw = &mut self.raws[0];
            raw.asked += 1;
            let id = format!("s{}", raw.asked);
            let start = json!({"epoch": 1, "seq": 1});
            let mut request = match action {
                "send" => json!({"conversation": lane, "messages": [{
                    "client_message_id": id, "anchor": start, "body": {"content_type": "text/plain", "text": "hi"},
                }]}),
                "sync" => json!({"conversations": [{"conversation": lane, "after": start}]}),
                "history" => json!({"conversation": lane}),
                "probe" => json!({"conversation": lane, "anchor": start, "ids": ["m"]}),
                "ack" => json!({"positions": [{"conversation": lane, "position": start}]}),
                _ => json!({"open": [lane]}),
            };
            (request["action"], request["id"]) = (json!(action), json!(id));
            raw.open.insert(id.clone(), (action, lane.clone()));
            if action == "send" {
                let messages = &request["messages"][0];
                let messages = json!([{"id": id, "body": messages["body"]}]);
                self.note_raw(0, json!({"what": "attempt", "request": id, "conversation": lane, "messages": messages}));
            }
            self.leaves(socket, request.to_string());
        }
        true
    }

    /// A request that breaks a rule.
    pub(crate) fn ask_badly(&mut self, form: usize) -> bool {
        let lane = self.memory.state().log.keys().next().map_or_else(|| "none".to_owned(), ToString::to_string);
        let Some(socket) = self.raw_socket(1) else { return false };
        let raw = &mut self.raws[1];
        raw.asked += 1;
        let id = format!("bad{}", raw.asked);
        let text = BAD[form % BAD.len()].replace("ID", &id).replace("LANE", &lane);
        self.note_raw(1, json!({"what": "bad", "ids": [id]}));
        self.leaves(socket, text);
        true
    }

    /// Far more than anybody may ask, at once.
    pub(crate) fn flood(&mut self) -> bool {
        let Some(socket) = self.raw_socket(FLOODER) else { return false };
        for number in 0..FLOOD_FRAMES {
            let action = if number % 2 == 0 { "ping" } else { "dance" };
            self.leaves(socket, json!({"action": action, "id": format!("f{number}")}).to_string());
        }
        self.at(FLOOD_IS_OVER_MS, Event::Flooded { socket, epoch: self.epoch, before: self.gate_of_the_flooder() });
        true
    }

    fn gate_of_the_flooder(&self) -> Gate {
        self.memory.state().gates.get(&self.raws[FLOODER].user).copied().unwrap_or_default()
    }

    /// Whoever has flooded is shut out now, or was since by a clock that is slow, and their socket is closed; unless it was forgotten, by a
    /// restore or by a machine whose clock is so far ahead that it takes their account for old.
    pub(crate) fn flooded(&mut self, socket: u64, epoch: u32, before: Gate) {
        let now = UnixMillis::ZERO.plus_ms(START_MS + self.now_ms);
        let gate = self.gate_of_the_flooder();
        let was_shut = gate != before || gate.shut_for_ms(now).is_some();
        if epoch == self.epoch
            && self.forgotten_ms.is_none_or(|at_ms| at_ms + FLOOD_IS_OVER_MS < self.now_ms)
            && (!was_shut || self.sockets[&socket].held)
        {
            self.violated("budget", format!("{FLOOD_FRAMES} frames at once shut nobody out: {gate:?}"));
        }
    }

    /// Whether a charge is such a machine's, and of the flooder.
    pub(crate) fn watch_account(&mut self, call: &Call) {
        if call.method == "charge" && call.argument() == Some(&self.raws[FLOODER].user) {
            let first = call.argument().map_or(0, |clock: &UnixMillis| BUDGET.windows(*clock).0);
            let now = BUDGET.windows(UnixMillis::ZERO.plus_ms(START_MS + self.now_ms)).1;
            if (first.saturating_sub(Budget::WINDOWS)..first).contains(&now) {
                self.forgotten_ms = Some(self.now_ms);
            }
        }
    }

    /// Nobody else is ever shut out.
    pub(crate) fn check_gates(&mut self) {
        let state = self.memory.state();
        let honest = state.gates.keys().find(|user| **user != self.raws[FLOODER].user).cloned();
        drop(state);
        if let Some(user) = honest {
            self.violated("budget", format!("{user} is shut out"));
        }
    }

    pub(crate) fn raw_answered(&mut self, raw: usize, text: &str) {
        let Ok(frame) = serde_json::from_str::<Value>(text) else { return };
        let id = frame["id"].as_str().unwrap_or_default();
        if frame["code"] == "token_expired" {
            // About the connection: it is closed, and the next question has a new one.
            self.raws[raw].socket = None;
            return;
        }
        if raw == RAW.len() - 1 {
            return self.guest_answered(text);
        }
        if raw >= RAW.len() {
            return self.group_answered(raw, text, &frame);
        }
        if let Some((action, conversation)) = self.raws[raw].open.remove(id) {
            if frame["type"] == "send" {
                let result = &frame["results"][0];
                let line = json!({
                    "what": "result", "request": id, "conversation": conversation, "id": id,
                    "status": result["status"], "code": result["code"], "position": result["position"],
                });
                self.note_raw(raw, line);
            }
            let conversation = conversation.as_str();
            // The id of its message is the request's: only what differs by the conversation may differ.
            let answer = text.replace(&format!("\"{id}\""), "\"*\"");
            self.note_raw(raw, json!({"what": "asked_as_stranger", "action": action, "conversation": conversation, "answer": answer}));
        } else if raw == 1 && frame["type"] == "error" {
            self.note_raw(raw, json!({"what": "bad", "ids": [], "code": frame["code"], "answers": 1}));
        } else if raw == 1 && !frame["type"].is_null() {
            self.violated("R1", format!("a bad request was answered {text}"));
        }
    }
}
