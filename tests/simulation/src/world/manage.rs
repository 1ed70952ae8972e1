//! Groups, by hand: each user has a device that says no `hello`, and makes and changes groups with it. A request whose answer does not come is
//! repeated, with the same client message id and the same anchor (PROTOCOL §6). And whoever once was a member asks for what there is.

use std::collections::BTreeMap;

use chatlane_chat::log::Role;
use chatlane_protocol::{ConversationId, Position, Seq, UserId};
use serde_json::{Map, Value, json};

use super::{Event, RAW, World};
use crate::script::{USERS, Wish};

/// Attempts of one change while things go wrong.
const ATTEMPTS_MAX: u32 = 12;

/// Anchors are at most so many entries behind.
const ANCHOR_BEHIND_MAX: usize = 6;

/// A change that somebody has asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Who, by number.
    user: usize,
    /// All but the request's id.
    request: Value,
    /// The kind of entry that it asks for.
    kind: &'static str,
    attempts: u32,
    is_answered: bool,
    /// In which group it has become an entry.
    became: Option<ConversationId>,
}

impl World {
    /// Somebody makes a group of the users whose bits are set.
    pub(crate) fn make_group(&mut self, by: usize, others: u8, all: bool) -> bool {
        let users: Vec<&str> = some(others).filter(|user| *user != USERS[by]).collect();
        let history = if all { "all" } else { "joined" };
        let request = json!({"action": "create", "users": users, "settings": {"title": "a group", "history": history}});
        self.ask(by, request, "group_created")
    }

    /// Somebody changes a group: of the members by rank, the highest first, and behind them of those who are none.
    pub(crate) fn change_group(&mut self, by: usize, pick: usize, wish: Wish) -> bool {
        let Some(group) = self.group(pick) else { return false };
        let by = self.by_rank(&group, by);
        let (action, kind, wanted) = match wish {
            Wish::Add { users } => ("add", "added", json!({"users": some(users).collect::<Vec<_>>()})),
            Wish::Remove { users } => ("remove", "removed", json!({"users": some(users).collect::<Vec<_>>()})),
            Wish::Leave { successor } => ("leave", "left", successor.map_or(json!({}), |user| json!({"successor": USERS[user]}))),
            Wish::Role { user, role } => ("role", "role", json!({"user": USERS[user], "role": ROLES[role % ROLES.len()]})),
            Wish::Set { form } => ("settings", "settings", json!({"settings": setting(form)})),
            Wish::Close => ("close", "closed", json!({})),
        };
        let anchor = self.recent_anchor(&group);
        let mut request = json!({"action": action, "conversation": group, "anchor": anchor});
        if let (Some(request), Value::Object(wanted)) = (request.as_object_mut(), wanted) {
            request.extend(wanted);
        }
        self.ask(by, request, kind)
    }

    /// One that is near enough.
    pub(crate) fn recent_anchor(&mut self, group: &ConversationId) -> Position {
        let back = self.dice.below(ANCHOR_BEHIND_MAX);
        let state = self.memory.state();
        let log = state.log.get(group);
        let entry = log.and_then(|log| log.values().rev().nth(back.min(log.len().saturating_sub(1))));
        entry.map_or(Position::ZERO, |entry| entry.position)
    }

    /// Somebody who is a member, or was one, or is none, asks for all that there is.
    pub(crate) fn ask_for_group(&mut self, by: usize, pick: usize, action: usize) -> bool {
        let Some(group) = self.group(pick) else { return false };
        let user = self.by_rank(&group, by);
        let Some(socket) = self.raw_socket(RAW.len() + user) else { return false };
        let start = Position::ZERO;
        let mut request = match action % 5 {
            0 => json!({"action": "history", "conversation": group}),
            1 => json!({"action": "ping", "open": [group]}),
            2 => json!({"action": "members", "conversation": group}),
            3 => json!({"action": "info", "conversations": [group]}),
            _ => json!({"action": "sync", "conversations": [{"conversation": group, "after": start}]}),
        };
        request["id"] = json!("look");
        self.leaves(socket, request.to_string());
        true
    }

    /// One of the groups, mostly of those that are open.
    pub(crate) fn group(&self, pick: usize) -> Option<ConversationId> {
        let state = self.memory.state();
        let is_group = |log: &&BTreeMap<Seq, chatlane_chat::Entry>| log.values().next().is_some_and(|first| first.facts.policy.is_group());
        let groups: Vec<(&ConversationId, bool)> = state
            .log
            .iter()
            .filter(|(_, log)| is_group(log))
            .map(|(group, log)| (group, log.values().next_back().is_some_and(|last| last.facts.policy.closed)))
            .collect();
        let open: Vec<&ConversationId> = groups.iter().filter(|(_, closed)| !closed).map(|(group, _)| *group).collect();
        let among = if open.is_empty() || pick.is_multiple_of(8) { groups.iter().map(|(group, _)| *group).collect() } else { open };
        among.get(pick.checked_rem(among.len())?).map(|group| (*group).clone())
    }

    pub(crate) fn by_rank(&self, group: &ConversationId, number: usize) -> usize {
        let state = self.memory.state();
        let role = |user: &str| {
            let user = UserId::new(user).expect("a user");
            state.members.get(&(group.clone(), user)).map(|member| member.role)
        };
        let mut users: Vec<(Option<Role>, usize)> = USERS.iter().enumerate().map(|(number, user)| (role(user), number)).collect();
        users.sort_by_key(|(role, number)| (std::cmp::Reverse(*role), *number));
        users[number % users.len()].1
    }

    pub(crate) fn ask(&mut self, user: usize, mut request: Value, kind: &'static str) -> bool {
        let name = format!("{kind}{}", self.asked.len());
        request["client_message_id"] = json!(name);
        self.asked.insert(name.clone(), Asked { user, request, kind, attempts: 0, is_answered: false, became: None });
        self.attempt(&name)
    }

    /// The first time, or because no answer has come.
    pub(crate) fn attempt_again(&mut self, name: &str) {
        let is_over = self.asked[name].attempts >= ATTEMPTS_MAX && !self.faults.over;
        if is_over {
            self.give_up(name);
        }
        if !self.asked[name].is_answered {
            self.attempt(name);
        }
    }

    fn attempt(&mut self, name: &str) -> bool {
        let again_ms = self.dice.between(2_000, 12_000);
        self.at(again_ms, Event::AskAgain { name: name.to_owned() });
        let raw = RAW.len() + self.asked[name].user;
        let Some(socket) = self.raw_socket(raw) else { return false };
        let Some(asked) = self.asked.get_mut(name) else { return false };
        asked.attempts += 1;
        let id = format!("{name}.{}", asked.attempts);
        let mut request = asked.request.clone();
        request["id"] = json!(id);
        let line = if asked.kind == "group_created" {
            json!({"what": "open", "id": name})
        } else {
            json!({"what": "change", "conversation": request["conversation"], "id": name, "kind": asked.kind, "request": id,
                "target": request["target"], "body": request["body"]})
        };
        self.note_raw(raw, line);
        self.leaves(socket, request.to_string());
        true
    }

    /// Its outcome will never be known.
    fn give_up(&mut self, name: &str) {
        if let Some(asked) = self.asked.get_mut(name) {
            asked.is_answered = true;
        }
    }

    /// Nobody comes back to what they have asked for.
    pub(crate) fn give_up_all(&mut self) {
        self.asked.values_mut().for_each(|asked| asked.is_answered = true);
    }

    /// A change that has no answer yet.
    pub(crate) fn unanswered(&self) -> Option<&str> {
        self.asked.iter().find(|(_, asked)| !asked.is_answered).map(|(name, _)| name.as_str())
    }

    /// An answer has come to somebody's device.
    pub(crate) fn group_answered(&mut self, raw: usize, text: &str, frame: &Value) {
        self.note_received(raw, text);
        self.met.told(text);
        self.met.changed(frame);
        let id = frame["id"].as_str().unwrap_or_default();
        let Some((name, _)) = id.split_once('.') else { return };
        let Some(asked) = self.asked.get_mut(name) else { return };
        let group = ConversationId::new(frame["conversation"].as_str().unwrap_or_default()).ok();
        if frame["type"] == "error" {
            let for_good = frame["retryable"] == false;
            asked.is_answered |= for_good;
            if asked.kind != "group_created" {
                let line = json!({"what": "result", "conversation": asked.request["conversation"], "id": name, "request": id,
                    "status": "refused", "code": frame["code"]});
                self.note_raw(raw, line);
            }
            return;
        }
        asked.is_answered = true;
        let position = serde_json::from_value::<Position>(frame["position"].clone()).ok();
        if let (Some(group), Some(position), true) = (&group, position, frame["status"] != "conflict") {
            asked.became = Some(group.clone());
            self.promise(group, position);
        }
        let kind = self.asked[name].kind;
        let line = if kind == "group_created" {
            json!({"what": "opened", "conversation": group, "head": frame["position"]})
        } else {
            json!({"what": "result", "conversation": group, "id": name, "request": id, "status": frame["status"],
                "position": position, "count": frame["count"], "time_ms": frame["time_ms"]})
        };
        self.note_raw(raw, line);
    }

    /// What a restore has cut off: a group that is lost is made again, and a last entry whose delivery nobody begins is asked for again.
    pub(crate) fn mend_groups(&mut self, is_cut_off: impl Fn(&ConversationId) -> bool) {
        let mut names: Vec<String> = vec![];
        {
            let state = self.memory.state();
            let is_lost = |asked: &Asked| asked.became.as_ref().is_some_and(|group| !state.log.contains_key(group));
            let lost = self.asked.iter().filter(|(_, asked)| asked.kind == "group_created" && is_lost(asked));
            names.extend(lost.map(|(name, _)| name.clone()));
            for (_, log) in state.log.iter().filter(|(group, _)| is_cut_off(group)) {
                names.extend(log.values().next_back().map(|tail| tail.client_message_id.to_string()));
            }
        }
        names.retain(|name| self.asked.get(name).is_some_and(|asked| asked.is_answered));
        for name in names {
            self.attempt(&name);
        }
    }

    /// The entries of a frame that has come to a device, as a line for each conversation.
    pub(crate) fn received(text: &str) -> Vec<Value> {
        let mut found: BTreeMap<String, Vec<&Map<String, Value>>> = BTreeMap::new();
        let frame = serde_json::from_str::<Value>(text);
        if let Ok(frame) = &frame {
            collect(frame, None, &mut found);
        }
        let line = |(conversation, all): (String, Vec<&Map<String, Value>>)| {
            let positions: Vec<&Value> = all.iter().map(|entry| &entry["position"]).collect();
            let told: Vec<Value> = all.iter().filter_map(|entry| told_of(entry)).collect();
            json!({"what": "received", "conversation": conversation, "positions": positions, "told": told})
        };
        found.into_iter().map(line).collect()
    }

    pub(crate) fn note_received(&mut self, raw: usize, text: &str) {
        for line in Self::received(text) {
            self.note_raw(raw, line);
        }
    }

    /// The first entry that is for this user, if they are a member.
    pub(crate) fn visible_from(&self, group: &ConversationId, user: &UserId) -> Option<Seq> {
        self.memory.state().members.get(&(group.clone(), user.clone())).map(|member| member.visible_from)
    }
}

/// Wherever an entry stands in a frame: it is in the conversation that is named the nearest above it.
fn collect<'a>(value: &'a Value, conversation: Option<&'a str>, found: &mut BTreeMap<String, Vec<&'a Map<String, Value>>>) {
    match value {
        Value::Array(all) => all.iter().for_each(|value| collect(value, conversation, found)),
        Value::Object(fields) => {
            let conversation = fields.get("conversation").and_then(Value::as_str).or(conversation);
            let is_entry = ["position", "sender", "client_message_id", "kind"].iter().all(|name| fields.contains_key(*name));
            if let (true, Some(conversation)) = (is_entry, conversation) {
                found.entry(conversation.to_owned()).or_default().push(fields);
            }
            fields.values().for_each(|value| collect(value, conversation, found));
        }
        _ => {}
    }
}

/// What an entry tells of others, or hides of them.
fn told_of(entry: &Map<String, Value>) -> Option<Value> {
    let of = |name: &str| entry.get(name).cloned().unwrap_or_default();
    let tells = ["target", "edited", "reply_to"].iter().any(|name| entry.contains_key(*name)) || entry["kind"] == "hidden";
    tells.then(|| {
        json!({"position": entry["position"], "kind": entry["kind"], "target": of("target"), "edited": of("edited"), "reply_to": of("reply_to")})
    })
}

const ROLES: [&str; 4] = ["member", "moderator", "admin", "owner"];

fn some(bits: u8) -> impl Iterator<Item = &'static str> {
    USERS.into_iter().enumerate().filter(move |(bit, _)| bits & (1 << bit) != 0).map(|(_, user)| user)
}

fn setting(form: usize) -> Value {
    match form % 8 {
        0 => json!({"locked": true}),
        1 | 2 => json!({"locked": false, "send": "member"}),
        3 => json!({"title": format!("title {form}")}),
        4 => json!({"history": "all"}),
        5 => json!({"history": "joined", "metadata": "{}"}),
        6 => json!({"send": ROLES[1 + form % 3]}),
        _ => json!({"add": ROLES[form % 4], "manage": ROLES[2 + form % 2]}),
    }
}
