//! What a device's user sees, what leaves it and what reaches it, as lines of the history.

use std::collections::BTreeMap;

use chatlane_protocol::frames::{ChangeAnswer, ChangeOutcome, CursorOutcome, ErrorFrame, HelloAnswer, SyncOutcome};
use chatlane_protocol::request::{Delete, Edit, PositionIn, Positions, React};
use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Outcome, Reacting, Request, ServerFrame};
use chatlane_session::{ConnectionState, Draft, OutgoingState, Shown, SocketId};
use serde_json::{Value, json};

use super::World;
use super::gateway::Stage;

impl World {
    /// What the user sees.
    pub(crate) fn show(&mut self, number: usize, shown: Shown) {
        self.check_shown(number, &shown);
        self.met.shown(&shown);
        match shown {
            Shown::Connection(state) => {
                let before = std::mem::replace(&mut self.phones[number].state, state);
                let what = match state {
                    ConnectionState::Connecting if matches!(before, ConnectionState::CatchingUp | ConnectionState::Live) => "away",
                    ConnectionState::Connecting => return,
                    ConnectionState::CatchingUp => "hello",
                    ConnectionState::Live => "live",
                    ConnectionState::Waiting { .. } | ConnectionState::NoToken | ConnectionState::UpgradeRequired => "away",
                    ConnectionState::Displaced => {
                        if !self.phones[number].doubled {
                            self.violated("displaced", format!("device {number} is displaced, and nobody else uses it"));
                        }
                        "away"
                    }
                };
                self.note(number, json!({"what": what}));
            }
            Shown::Entry { conversation, entry } => self.note(number, sight("shown", &conversation, &entry)),
            Shown::History { conversation, entries, .. } => {
                for entry in entries {
                    self.note(number, sight("older", &conversation, &entry));
                }
            }
            Shown::RolledBack { conversation, position } => {
                self.note(number, json!({"what": "rolled_back", "conversation": conversation, "to": position}));
            }
            Shown::Skipped { conversation, position } => {
                self.note(number, json!({"what": "skipped", "conversation": conversation, "to": position}));
            }
            Shown::Outgoing { conversation, client_message_id: id, state } => match state {
                OutgoingState::Waiting => {
                    if self.phones[number].composed.insert(id.clone()) {
                        let target = self.phones[number].disk.waiting(&conversation, &id).and_then(|row| match &row.draft {
                            Draft::Edit { target, .. } | Draft::Delete { target } | Draft::React(Reacting { target, .. }) => Some(*target),
                            _ => None,
                        });
                        self.note(number, json!({"what": "composed", "conversation": conversation, "id": id, "target": target}));
                    }
                }
                OutgoingState::Stored(_) | OutgoingState::Unchanged => {
                    self.phones[number].failed.remove(&(conversation, id));
                }
                OutgoingState::Failed(_) => {
                    self.note(number, json!({"what": "given_up", "conversation": conversation, "id": id}));
                    self.phones[number].failed.insert((conversation, id));
                }
            },
            Shown::Cursors { conversation, cursors } => {
                let (of, delivered, read) = (cursors.user, cursors.delivered, cursors.read);
                self.note(number, json!({"what": "cursors", "conversation": conversation, "of": of, "delivered": delivered, "read": read}));
            }
            Shown::Held { .. }
            | Shown::Conversation { .. }
            | Shown::Opened { .. }
            | Shown::Membership { .. }
            | Shown::Prefs { .. }
            | Shown::Created { .. }
            | Shown::Info { .. }
            | Shown::Members { .. }
            | Shown::Storing(_)
            | Shown::Failed(_) => {}
        }
    }

    /// A request leaves the device.
    pub(crate) fn note_request(&mut self, number: usize, on: SocketId, stage: Option<Stage>, text: &str) {
        let request = match Request::parse(text) {
            Ok(request) => request,
            Err(bad) => return self.violated("session", format!("device {number} sends a bad request: {:?}", bad.refusal)),
        };
        self.check_request(number, on, stage, text, &request);
        let id = request.id().to_string();
        match &request {
            Request::Send(send) => {
                let messages: Vec<Value> = send
                    .messages
                    .iter()
                    .map(|message| json!({"id": message.client_message_id, "anchor": message.anchor, "body": message.body}))
                    .collect();
                self.note(number, json!({"what": "attempt", "request": id, "conversation": send.conversation, "messages": messages}));
            }
            Request::Edit(Edit { conversation, client_message_id, target, body, .. }) => {
                let asked = json!({"kind": "edit", "target": target, "body": body});
                self.note_change(number, (conversation, client_message_id), &id, asked);
            }
            Request::Delete(Delete { conversation, client_message_id, target, .. }) => {
                self.note_change(number, (conversation, client_message_id), &id, json!({"kind": "deletion", "target": target}));
            }
            Request::React(React { conversation, client_message_id, target, .. }) => {
                self.note_change(number, (conversation, client_message_id), &id, json!({"kind": "reaction", "target": target}));
            }
            Request::Open(open) => self.note(number, json!({"what": "open", "id": open.client_message_id})),
            Request::Sync(sync) => self.note_told(number, &sync.ack),
            Request::Ack(told) => self.note_told(number, &told.positions),
            Request::Read(told) => self.note_told(number, &read(told)),
            _ => {}
        }
        self.phones[number].watch.asked.insert(id, (self.now_ms, request));
    }

    fn note_change(&mut self, number: usize, of: (&ConversationId, &ClientMessageId), request: &str, mut line: Value) {
        line["what"] = json!("change");
        (line["conversation"], line["id"], line["request"]) = (json!(of.0), json!(of.1), json!(request));
        self.note(number, line);
    }

    fn note_told(&mut self, number: usize, told: &[PositionIn]) {
        for PositionIn { conversation, position, read } in told {
            // A read mark that goes alone, perhaps of another device, stands at both places.
            if *read != Some(*position) {
                self.note(number, json!({"what": "told_ack", "conversation": conversation, "position": position}));
            }
            if let Some(read) = read {
                self.note(number, json!({"what": "told_read", "conversation": conversation, "position": read}));
            }
        }
    }

    /// A frame has reached the device.
    pub(crate) fn note_arrival(&mut self, number: usize, text: &str) {
        for line in Self::received(text) {
            self.note(number, line);
        }
        let Ok(frame) = serde_json::from_str::<ServerFrame>(text) else { return };
        self.phones[number].watch.answered(&frame);
        self.met.answered(text);
        self.met.told(text);
        match frame {
            ServerFrame::Hello(answer) => self.note_statuses(number, *answer),
            ServerFrame::Ping(answer) => {
                for row in answer.conversations {
                    self.note(number, json!({"what": "status", "conversation": row.conversation, "head": row.head, "count": row.count}));
                }
            }
            ServerFrame::Open(answer) => {
                let head = answer.conversation;
                self.promise(&head.conversation, head.head);
                self.note(number, json!({"what": "opened", "conversation": head.conversation, "head": head.head}));
            }
            ServerFrame::Send(answer) => {
                for result in answer.results {
                    let mut line = json!({
                        "what": "result", "request": answer.id, "conversation": answer.conversation, "id": result.client_message_id,
                    });
                    let (status, stored) = match result.outcome {
                        Outcome::Ok(stored) => ("ok", Some(stored)),
                        Outcome::Duplicate(stored) => ("duplicate", Some(stored)),
                        Outcome::Conflict(stored) => ("conflict", Some(stored)),
                        Outcome::Refused(refusal) => {
                            line["code"] = json!(refusal.code);
                            ("refused", None)
                        }
                        Outcome::NotAttempted => ("not_attempted", None),
                    };
                    line["status"] = json!(status);
                    if let Some(stored) = stored {
                        if status != "conflict" {
                            self.promise(&answer.conversation, stored.position);
                        }
                        line["position"] = json!(stored.position);
                        line["count"] = json!(stored.count);
                        line["time_ms"] = json!(stored.time_ms);
                    }
                    self.note(number, line);
                }
            }
            ServerFrame::Edit(answer) | ServerFrame::Delete(answer) | ServerFrame::React(answer) => self.note_changed(number, &answer),
            ServerFrame::Error(ErrorFrame { id: Some(id), refusal }) => {
                let asked = self.phones[number].watch.asked.get(id.as_str());
                if let Some((conversation, name)) = asked.and_then(|(_, request)| named(request)) {
                    let line = json!({"what": "result", "request": id, "conversation": conversation, "id": name,
                        "status": "refused", "code": refusal.code});
                    self.met.changed(&json!({"code": refusal.code}));
                    self.note(number, line);
                }
            }
            ServerFrame::Probe(answer) => {
                for found in answer.found {
                    let stored = found.stored;
                    self.promise(&answer.conversation, stored.position);
                    self.note(
                        number,
                        json!({
                            "what": "result", "request": answer.id, "conversation": answer.conversation, "id": found.client_message_id,
                            "status": "found", "position": stored.position, "count": stored.count, "time_ms": stored.time_ms,
                        }),
                    );
                }
            }
            ServerFrame::Ack(answer) | ServerFrame::Read(answer) => {
                let told = match self.phones[number].watch.asked.remove(answer.id.as_str()) {
                    Some((_, Request::Ack(told))) => told.positions,
                    Some((_, Request::Read(told))) => read(&told),
                    _ => return,
                };
                let taken = told.into_iter().zip(answer.results).filter(|(_, result)| result.outcome == CursorOutcome::Ok);
                self.note_taken(number, taken.map(|(told, _)| told).collect());
            }
            ServerFrame::Sync(answer) => {
                for page in &answer.pages {
                    let SyncOutcome::Ok(missed) = &page.outcome else { continue };
                    // What its sender is shown is not sent again.
                    let own = missed.entries.iter().filter(|entry| entry.sender == self.phones[number].user);
                    if let Some(position) = own.map(|entry| entry.position).max() {
                        self.promise(&page.conversation, position);
                    }
                }
                if let Some((_, Request::Sync(sync))) = self.phones[number].watch.asked.remove(answer.id.as_str())
                    && answer.acked
                {
                    self.note_taken(number, sync.ack);
                }
            }
            _ => {}
        }
    }

    fn note_changed(&mut self, number: usize, ChangeAnswer { id, conversation, outcome }: &ChangeAnswer) {
        let asked = self.phones[number].watch.asked.get(id.as_str());
        let Some((_, name)) = asked.and_then(|(_, request)| named(request)) else { return };
        let mut line = json!({"what": "result", "request": id, "conversation": conversation, "id": name});
        let (status, stored) = match outcome {
            ChangeOutcome::Ok(stored) => ("ok", Some(stored)),
            ChangeOutcome::Duplicate(stored) => ("duplicate", Some(stored)),
            ChangeOutcome::Conflict(stored) => ("conflict", Some(stored)),
            ChangeOutcome::Unchanged => ("unchanged", None),
        };
        line["status"] = json!(status);
        self.met.changed(&json!({"status": status}));
        if let Some(stored) = stored {
            if status != "conflict" {
                self.promise(conversation, stored.position);
            }
            (line["position"], line["count"], line["time_ms"]) = (json!(stored.position), json!(stored.count), json!(stored.time_ms));
        }
        self.note(number, line);
    }

    fn note_taken(&mut self, number: usize, told: Vec<PositionIn>) {
        for PositionIn { conversation, position, read } in told {
            if read != Some(position) {
                self.note(number, json!({"what": "taken", "cursor": "delivered", "conversation": conversation, "position": position}));
            }
            if let Some(read) = read {
                self.note(number, json!({"what": "taken", "cursor": "read", "conversation": conversation, "position": read}));
            }
        }
    }

    fn note_statuses(&mut self, number: usize, answer: HelloAnswer) {
        for row in answer.conversations {
            let head = row.conversation;
            self.note(
                number,
                json!({
                    "what": "status", "conversation": head.conversation, "head": head.head, "count": row.count,
                    "read": row.read, "read_count": row.read_count,
                }),
            );
        }
    }

    /// The last line of a device.
    pub(crate) fn note_end(&mut self, number: usize) {
        let phone = &self.phones[number];
        let mut transcripts = vec![];
        for row in phone.disk.conversations.values() {
            let entries = phone.disk.entries.get(&row.conversation).into_iter().flat_map(BTreeMap::values);
            let entries: Vec<Value> = entries
                .filter(|entry| entry.position.seq > row.from.seq && entry.position.seq <= row.have.seq)
                .map(|entry| sight("", &row.conversation, entry))
                .collect();
            transcripts.push(json!({
                "conversation": row.conversation, "from": row.from, "have": row.have, "entries": entries, "unread": row.unread(),
            }));
        }
        let outbox: Vec<Value> =
            phone.disk.outbox().iter().map(|row| json!({"conversation": row.conversation, "id": row.client_message_id})).collect();
        self.note(number, json!({"what": "end", "transcripts": transcripts, "outbox": outbox}));
    }
}

/// The change of a message that a request asks for.
fn named(request: &Request) -> Option<(ConversationId, ClientMessageId)> {
    match request {
        Request::Edit(Edit { conversation, client_message_id, .. })
        | Request::Delete(Delete { conversation, client_message_id, .. })
        | Request::React(React { conversation, client_message_id, .. }) => Some((conversation.clone(), client_message_id.clone())),
        _ => None,
    }
}

fn sight(what: &str, conversation: &ConversationId, entry: &Entry) -> Value {
    let said = json!(entry.kind);
    let of = |name: &str| said.get(name).cloned().unwrap_or_default();
    json!({
        "what": what, "conversation": conversation, "position": entry.position, "sender": entry.sender, "id": entry.client_message_id,
        "kind": of("kind"), "time_ms": entry.time_ms, "count": entry.count, "body": of("body"), "target": of("target"),
        "reply_to": of("reply_to"), "edited": of("edited"), "reactions": of("reactions"),
        "reactions_to": of("reactions_to"),
    })
}

/// What a `read` says, as an `ack` says it.
pub(crate) fn read(told: &Positions) -> Vec<PositionIn> {
    told.positions.iter().map(|told| PositionIn { read: Some(told.position), ..told.clone() }).collect()
}
