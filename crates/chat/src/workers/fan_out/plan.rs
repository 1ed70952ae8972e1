//! Who gets what, in which frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use chatlane_protocol::frames::{encode, live_frame};
use chatlane_protocol::{ConnectionId, ConversationId, Seq, UnixMillis, UserId};

use crate::log::Entry;
use crate::page::Page;
use crate::ports::{Connection, Member};
use crate::workers::task::{Task, Undelivered};

/// The frames for one connection, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) user: UserId,
    pub(super) connection: ConnectionId,
    /// Shared by all connections that get the same.
    pub(super) frames: Arc<[String]>,
}

/// Decides who gets what. To each user only what the member row allows, and what names them (M1); nothing to connections whose token has expired; the origin
/// connection does not get the entries of its own frame. Entries are merged into full frames: the gateway bills by 32 KB.
pub(super) fn plan(
    task: &Task,
    entries: &[Entry],
    members: &[Member],
    sessions: Vec<(UserId, Connection)>,
    now: UnixMillis,
) -> Vec<Outgoing> {
    let visible_from: BTreeMap<&UserId, Seq> = members.iter().map(|member| (&member.user, member.visible_from)).collect();
    // Of two that follow each other the second is for those who may not see what the entry is about.
    let encoded =
        |entry: &Entry| [encode(&entry.to_wire()), entry.target().map_or(String::new(), |_| encode(&entry.told_to(Seq::MAX, None)))];
    let encoded: Vec<String> = entries.iter().flat_map(encoded).collect();
    let mut frames_of: BTreeMap<Vec<usize>, Arc<[String]>> = BTreeMap::new();
    let mut all_outgoing = vec![];
    for (user, session) in sessions {
        let visible_from = visible_from.get(&user).copied();
        if session.expires <= now {
            continue;
        }
        let is_target = |rest: &Undelivered| rest.targets.iter().any(|(_, connection)| *connection == session.connection);
        if !task.undelivered.as_ref().is_none_or(is_target) {
            continue;
        }
        let is_origin = task.origin.as_ref() == Some(&session.connection);
        let wanted: Vec<usize> = (0..entries.len())
            .filter_map(|index| {
                let entry = &entries[index];
                let seq = entry.position.seq;
                let is_for_them = visible_from.is_some_and(|from| seq >= from) || entry.named().contains(&user);
                let is_blind = visible_from.is_some_and(|from| entry.is_about_what_was_before(from));
                (is_for_them && !(is_origin && task.own.contains(&seq))).then_some(2 * index + usize::from(is_blind))
            })
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let frames = frames_of.entry(wanted).or_insert_with_key(|wanted| merge(&task.conversation, wanted, &encoded)).clone();
        all_outgoing.push(Outgoing { user, connection: session.connection, frames });
    }
    all_outgoing
}

/// As few frames as possible, each within the page.
fn merge(conversation: &ConversationId, wanted: &[usize], encoded: &[String]) -> Arc<[String]> {
    let empty = live_frame(conversation, &[]).len();
    let mut frames = vec![];
    let (mut entries, mut page) = (vec![], Page::new(empty));
    for &index in wanted {
        let entry = &encoded[index];
        if !page.take(entry.len() + usize::from(!entries.is_empty())) {
            frames.push(live_frame(conversation, &entries));
            (entries, page) = (vec![], Page::new(empty));
            let _is_first = page.take(entry.len());
        }
        entries.push(entry.clone());
    }
    frames.push(live_frame(conversation, &entries));
    frames.into()
}
