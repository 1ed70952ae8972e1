//! What becomes of a message by the entries that are about it. The session holds no entries, so whoever stores them folds: with each entry
//! that it stores, in the same write, it brings the message and all that it has about it into agreement. Which comes first does not matter.

use chatlane_protocol::{Entry, EntryKind, Message, Reacting, ReactionChange, ReactionCount, Seq, UserId};
use serde::Serialize;
use serde_json::value::Serializer;

/// The entry that this one is about: an edit, a deletion or a reaction.
pub const fn target(entry: &Entry) -> Option<Seq> {
    match entry.kind {
        EntryKind::Edit { target, .. } | EntryKind::Deletion { target } | EntryKind::Reaction(Reacting { target, .. }) => Some(target),
        _ => None,
    }
}

/// Up to where the log is told by this entry: an edit, a deletion and a reaction tell what another one is from here on, a message tells of
/// the last of them.
pub(super) fn told_up_to(entry: &Entry) -> Seq {
    match &entry.kind {
        EntryKind::Message(Message { edited, reactions_to, .. }) => edited.max(reactions_to).unwrap_or(Seq::ZERO),
        _ => target(entry).map_or(Seq::ZERO, |_| entry.position.seq),
    }
}

/// Brings an entry, if it is here, and what is here about it (ascending by seq) into agreement, as `me` reads it. To fold twice changes
/// nothing. What the entry tells already (up to `edited`, `reactions_to`) is not applied again. Once a deletion is known, the words of the
/// message and of its edits are gone.
pub fn fold(mut target: Option<&mut Entry>, about: &mut [Entry], me: &UserId) {
    if let Some(target) = target.as_deref_mut() {
        for by in about.iter() {
            apply(target, by, me);
        }
    }
    let deleted = target.is_some_and(|target| target.kind == EntryKind::Deleted)
        || about.iter().any(|by| matches!(by.kind, EntryKind::Deletion { .. }));
    if deleted {
        for by in about {
            if let EntryKind::Edit { body, .. } = &mut by.kind
                && body.take().is_some()
            {
                by.as_it_came = None; // it has the words too
            }
        }
    }
}

/// Applies one entry to the one that it is about. Only to a message, and only what that does not tell yet.
pub(super) fn apply(target: &mut Entry, by: &Entry, me: &UserId) {
    let EntryKind::Message(message) = &mut target.kind else { return };
    let seq = by.position.seq;
    match &by.kind {
        EntryKind::Edit { body: Some(body), .. } if message.edited < Some(seq) => {
            (message.body, message.edited) = (body.clone(), Some(seq));
        }
        EntryKind::Reaction(reacting) if message.reactions_to < Some(seq) => {
            count(message, reacting, by.sender == *me);
            message.reactions_to = Some(seq);
        }
        EntryKind::Deletion { .. } => {
            (target.kind, target.as_it_came) = (EntryKind::Deleted, None);
            return;
        }
        _ => return,
    }
    // What this version does not know of the message stays as it came.
    if let Some(came) = &mut target.as_it_came {
        set(came, "body", Some(&message.body));
        set(came, "edited", message.edited.as_ref());
        set(came, "reactions", Some(&message.reactions).filter(|reactions| !reactions.is_empty()));
        set(came, "reactions_to", message.reactions_to.as_ref());
    }
}

fn count(message: &mut Message, Reacting { key, change, .. }: &Reacting, mine: bool) {
    let reactions = &mut message.reactions;
    let index = reactions.iter().position(|one| one.key == *key).unwrap_or_else(|| {
        let index = reactions.partition_point(|one| one.key < *key);
        reactions.insert(index, ReactionCount { key: key.clone(), count: 0, mine: None });
        index
    });
    let (one, comes) = (&mut reactions[index], *change == ReactionChange::Add);
    one.count = if comes { one.count.saturating_add(1) } else { one.count.saturating_sub(1) };
    if mine {
        one.mine = Some(comes);
    }
    if one.count == 0 {
        reactions.remove(index);
    }
}

fn set(came: &mut serde_json::Map<String, serde_json::Value>, name: &str, value: Option<&impl Serialize>) {
    let value = value.and_then(|value| value.serialize(Serializer).ok());
    match value {
        Some(value) => drop(came.insert(name.to_owned(), value)),
        None => drop(came.remove(name)),
    }
}

#[cfg(test)]
mod tests;
