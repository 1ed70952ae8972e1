//! `history`: older entries of one conversation, for somebody who scrolls up. Moves no cursor.

use std::collections::BTreeMap;

use chatlane_protocol::frames::{HistoryAnswer, encode};
use chatlane_protocol::limits::HISTORY_ENTRIES_MAX;
use chatlane_protocol::request::History;
use chatlane_protocol::{ConversationId, Entry as WireEntry, EntryKind, Seq};

use super::caller::Caller;
use super::rows;
use crate::done::Done;
use crate::log::hash::UserKey;
use crate::log::reactions::Reactions;
use crate::log::{Entry, Kind};
use crate::page::Page;
use crate::ports::{Amendments, Clock, Failure, Inboxes, Memberships, MessageLog, ReadBound, tells_up_to};
use crate::refusal::Refused;

/// What an answer has beside its entries: up to 262 bytes, with the longest conversation id and a request id of 64 quotes.
const REST_OF_THE_ANSWER: usize = 288;

/// Answers the entries just below `before`, as many as were asked for and fit one page, at least one. `key` is the deployment's for users.
pub async fn history<P>(ports: &P, key: &UserKey, caller: &Caller, request: &History) -> Result<Done<HistoryAnswer>, Refused>
where
    P: MessageLog + Inboxes + Memberships + Amendments + Clock,
{
    let conversation = &request.conversation;
    let standing = rows::read_one(ports, &caller.user, conversation).await?;
    let limit = request.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(HISTORY_ENTRIES_MAX).min(HISTORY_ENTRIES_MAX);
    let mut page = Page::of(caller, REST_OF_THE_ANSWER);
    let bound = ReadBound { bytes_max: page.room(), ..ReadBound::entries(limit) };
    let all = ports.read_back(conversation, request.before, bound).await?;
    // Up to the first that is not this user's, or is not there any more.
    let (visible_from, highest) = (standing.row.visible_from, all.first().map_or(Seq::ZERO, |entry| entry.position.seq));
    let shown = |(index, entry): &(u64, &Entry)| entry.position.seq >= visible_from && entry.position.seq == highest.minus(*index);
    let count = (0..).zip(&all).take_while(shown).count();
    let visible = &all[..count];
    let mut reactions = reactions(ports, conversation, visible).await?;
    let reacted = reactions.values().map(|reactions| reactions.to).max().unwrap_or(Seq::ZERO);
    standing.holds_behind(ports, &caller.user, all.first(), tells_up_to(&all).max(reacted)).await?;
    let own = key.sum(std::slice::from_ref(&caller.user));

    let mut done = !bound.is_reached_by(&all) || count < all.len();
    let mut entries: Vec<WireEntry> = vec![];
    for entry in visible {
        let mut entry = entry.told_to(visible_from, None);
        if let (EntryKind::Message(message), Some(reactions)) = (&mut entry.kind, reactions.remove(&entry.position.seq)) {
            (message.reactions, message.reactions_to) = (reactions.told_to(own), Some(reactions.to));
        }
        if !page.take(encode(&entry).len() + 1) {
            break;
        }
        entries.push(entry);
    }
    done &= entries.len() == count;
    done |= entries.last().is_some_and(|lowest| lowest.position.seq <= visible_from);
    entries.reverse();
    Ok(Done::read(HistoryAnswer { id: request.id.clone(), conversation: conversation.clone(), entries, done }))
}

/// The reactions to the messages among these, by their seq. Nowhere else are they read: whoever takes entry after entry counts them.
async fn reactions<P: Amendments>(
    ports: &P,
    conversation: &ConversationId,
    entries: &[Entry],
) -> Result<BTreeMap<Seq, Reactions>, Failure> {
    let mut messages = entries.iter().filter(|entry| matches!(entry.kind, Kind::Message(_))).map(|entry| entry.position.seq);
    let Some(last) = messages.next() else { return Ok(BTreeMap::new()) };
    let first = messages.next_back().unwrap_or(last);
    Ok(ports.reactions(conversation, first, last).await?.into_iter().collect())
}
