//! What runs are to meet beside their faults.

use std::collections::BTreeMap;

use chatlane_chat::log::Kind;
use chatlane_session::{ConnectionState, OutgoingState, Shown};
use serde_json::Value;

/// The rarer answers of the server, and what a user sees rarely: that they were met shows that the repairs that they lead to have run.
#[derive(Clone, Debug, Default)]
pub struct Met(pub(crate) BTreeMap<&'static str, u64>);

impl Met {
    /// Entries of others that somebody is told of, or not.
    const TOLD: [(&'static str, &'static str); 6] = [
        (r#""type":"prefs_changed""#, "told: prefs_changed"),
        (r#""read_private":true"#, "told: read in private"),
        (r#""kind":"deleted""#, "told: deleted"),
        (r#""edited":"#, "told: edited"),
        (r#""kind":"hidden""#, "told: hidden"),
        (r#""reactions_to":"#, "told: reactions"),
    ];
    /// Answers: how their frames begin, and what is in them.
    const ANSWERS: [(&'static str, &'static str, &'static str); 17] = [
        (r#"{"type":"ack""#, r#""status":"refused""#, "ack: refused"),
        (r#"{"type":"error""#, r#""code":"token_expired""#, "error: token_expired"),
        (r#"{"type":"goaway""#, "", "goaway"),
        (r#"{"type":"hello""#, r#","next":"#, "hello: next page"),
        (r#"{"type":"history""#, r#""done":false"#, "history: not done"),
        (r#"{"type":"ping""#, r#""resync":true"#, "ping: resync"),
        (r#"{"type":"probe""#, r#""found":[{"#, "probe: found"),
        (r#"{"type":"probe""#, r#""done":false"#, "probe: not done"),
        (r#"{"type":"send""#, r#""code":"anchor_stale""#, "send: anchor_stale"),
        (r#"{"type":"send""#, r#""status":"duplicate""#, "send: duplicate"),
        (r#"{"type":"send""#, r#""code":"epoch_changed""#, "send: epoch_changed"),
        (r#"{"type":"send""#, r#""status":"not_attempted""#, "send: not_attempted"),
        (r#"{"type":"send""#, r#""code":"not_found""#, "send: not_found"),
        (r#"{"type":"send""#, r#""code":"too_large""#, "send: too_large"),
        (r#"{"type":"send""#, r#""code":"unavailable""#, "send: unavailable"),
        (r#"{"type":"sync""#, r#""code":"epoch_changed""#, "sync: epoch_changed"),
        (r#"{"type":"sync""#, r#""done":false"#, "sync: not done"),
    ];
    const SIGHTS: [&'static str; 4] = ["shown: displaced", "shown: failed", "shown: rolled back", "shown: skipped"];
    /// Kinds of entries of groups, as the log takes them.
    const STORED: [&'static str; 10] = [
        "stored: added",
        "stored: closed",
        "stored: deletion",
        "stored: edit",
        "stored: group_created",
        "stored: left",
        "stored: reaction",
        "stored: removed",
        "stored: role",
        "stored: settings",
    ];
    /// Messages with more to tell than their body.
    const TELLING: [&'static str; 2] = ["stored: message: reply_to", "stored: message: mentions"];
    /// Answers to changes of groups: what is in their frames.
    const CHANGES: [(&'static str, &'static str, &'static str); 9] = [
        ("code", "no_message", "change: no_message"),
        ("code", "not_editable", "change: not_editable"),
        ("code", "reactions_full", "change: reactions_full"),
        ("code", "forbidden", "change: forbidden"),
        ("code", "last_owner", "change: last_owner"),
        ("code", "no_member", "change: no_member"),
        ("code", "not_found", "change: not_found"),
        ("status", "duplicate", "change: duplicate"),
        ("status", "unchanged", "change: unchanged"),
    ];
    const CHECKED: &'static str = "swept: checked again";
    const REMOVED: &'static str = "removed between row and log";

    pub(crate) fn answered(&mut self, text: &str) {
        for (_, _, name) in Self::ANSWERS.iter().filter(|(begin, word, _)| text.starts_with(begin) && text.contains(word)) {
            *self.0.entry(name).or_default() += 1;
        }
    }

    /// A frame has reached somebody's device.
    pub(crate) fn told(&mut self, text: &str) {
        for (_, name) in Self::TOLD.iter().filter(|(word, _)| text.contains(word)) {
            *self.0.entry(name).or_default() += 1;
        }
    }

    /// The log has taken an entry.
    pub(crate) fn stored(&mut self, kind: &Kind) {
        if let Kind::Message(message) = kind {
            for (name, tells) in Self::TELLING.into_iter().zip([message.reply_to.is_some(), !message.mentions.is_empty()]) {
                if tells {
                    *self.0.entry(name).or_default() += 1;
                }
            }
        }
        let kind = serde_json::to_value(kind.to_wire()).map_or(Value::Null, |wire| wire["kind"].clone());
        for name in Self::STORED.iter().filter(|name| name.strip_prefix("stored: ") == kind.as_str()) {
            *self.0.entry(name).or_default() += 1;
        }
    }

    /// Somebody who changes groups is answered.
    pub(crate) fn changed(&mut self, frame: &Value) {
        for (.., name) in Self::CHANGES.iter().filter(|(field, word, _)| frame[field] == *word) {
            *self.0.entry(name).or_default() += 1;
        }
    }

    pub(crate) fn shown(&mut self, shown: &Shown) {
        let index = match shown {
            Shown::Connection(ConnectionState::Displaced) => 0,
            Shown::Outgoing { state: OutgoingState::Failed(_), .. } => 1,
            Shown::RolledBack { .. } => 2,
            Shown::Skipped { .. } => 3,
            _ => return,
        };
        *self.0.entry(Self::SIGHTS[index]).or_default() += 1;
    }

    /// The sweeper has found what no worker had begun.
    pub(crate) fn checked(&mut self) {
        *self.0.entry(Self::CHECKED).or_default() += 1;
    }

    /// A member was removed when their row had been read, and the log had not.
    pub(crate) fn removed_behind_the_row(&mut self) {
        *self.0.entry(Self::REMOVED).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    pub(crate) fn missing(&self) -> impl Iterator<Item = &'static str> {
        let all = Self::ANSWERS.iter().map(|(_, _, name)| *name).chain(Self::SIGHTS).chain([Self::CHECKED, Self::REMOVED]);
        let all = all.chain(Self::TELLING).chain(Self::TOLD.iter().map(|(_, name)| *name));
        let all = all.chain(Self::STORED).chain(Self::CHANGES.iter().map(|(.., name)| *name));
        all.filter(|name| !self.0.contains_key(name))
    }
}
