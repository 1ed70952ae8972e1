//! The pages of `hello`: the status of every conversation of the caller, in the order of their ids.

use chatlane_protocol::frames::{ConversationHead, ConversationRow, HelloAnswer, Limits, ReadMark, Versions, encode};
use chatlane_protocol::request::{Hello, Known};
use chatlane_protocol::{ConversationId, Seq, UnixMillis, UserId, limits};
use futures_util::future::join_all;

use crate::log::{Entry, Head};
use crate::page::Page;
use crate::ports::{Clock, Failure, Heads, InboxRow, Inboxes, Memberships, MessageLog};
use crate::refusal::Refused;
use crate::requests::caller::Caller;
use crate::requests::rows::Standing;
use crate::settings::Settings;

/// Conversations read at once: their heads are one batch read.
const BATCH_ROWS_MAX: usize = 100;

/// Last entries that are read at once: of large ones only a few fit.
const LAST_ENTRIES_AT_ONCE: usize = 8;

/// One page for a caller whose token is good until `expires`.
pub(super) async fn told<P: Inboxes + Memberships + Heads + MessageLog + Clock>(
    ports: &P,
    settings: &Settings,
    caller: &Caller,
    expires: UnixMillis,
    reconnect_in_ms: u64,
    request: &Hello,
) -> Result<HelloAnswer, Failure> {
    let mut answer = HelloAnswer {
        id: request.id.clone(),
        versions: Versions { min: limits::VERSION_MIN, max: limits::VERSION_MAX },
        user: caller.user.clone(),
        device: caller.device,
        server_time_ms: ports.now(),
        epoch: settings.epoch,
        expires_ms: expires,
        reconnect_in_ms,
        limits: Limits {
            entry_bytes_max: settings.limits.entry_bytes_max,
            anchor_entries_max: settings.limits.anchor.entries_max,
            anchor_bytes_max: settings.limits.anchor.bytes_max,
            ..Limits::DEFAULT
        },
        conversations: vec![],
        gone: vec![],
        next: None,
    };
    fill(ports, settings.epoch, caller, request, &mut answer).await?;
    Ok(answer)
}

/// Puts as many conversations into the answer as its page may have bytes, at least one; and the last entries of the most recent of them,
/// as far as there is room.
async fn fill<P: Inboxes + Memberships + Heads + MessageLog + Clock>(
    ports: &P,
    epoch: u32,
    caller: &Caller,
    request: &Hello,
    answer: &mut HelloAnswer,
) -> Result<(), Failure> {
    const REST_OF_THE_ANSWER: usize = 2 * 1024;
    let mut known = request.known.iter().peekable();
    let mut page = Page::of(caller, REST_OF_THE_ANSWER);
    let (mut reached, mut looked_at) = (request.after.clone(), 0);
    let mut standings = vec![];
    'page: loop {
        let asked_ms = ports.steady_ms();
        let mut rows = ports.inbox(&caller.user, reached.clone(), BATCH_ROWS_MAX).await?;
        let mut more = rows.len() == BATCH_ROWS_MAX;
        if let Some(end) = &request.known_to {
            // What the device has of those behind comes with the next request.
            let here = rows.partition_point(|(conversation, _)| conversation <= end);
            if here < rows.len() {
                rows.truncate(here);
                more = false;
                answer.next = Some(end.clone());
            }
        }
        looked_at += rows.len();
        let conversations: Vec<_> = rows.iter().map(|(conversation, _)| conversation.clone()).collect();
        let heads = if conversations.is_empty() { vec![] } else { ports.heads(&conversations).await? };
        for ((conversation, row), head) in rows.into_iter().zip(heads) {
            while let Some(gone) = known.next_if(|known| known.conversation < conversation) {
                if !take_gone(gone, answer, &mut page) {
                    answer.next = reached;
                    break 'page;
                }
                reached = Some(gone.conversation.clone());
            }
            let known = known.next_if(|known| known.conversation == conversation);
            // Of one that cannot be read nothing is said, neither its state nor that it is gone.
            let readable = row.inspect_err(|failure| failure.log("a conversation is left out")).ok();
            let news = readable.filter(|row| known.is_none_or(|known| !is_as_known(known, row, head, epoch)));
            if let Some(row) = news {
                let standing = Standing::new(row.clone(), asked_ms);
                let row = wire_row(row, head);
                if !page.take(encode(&row).len() + 1) {
                    answer.next = reached;
                    break 'page;
                }
                answer.conversations.push(row);
                standings.push(standing);
            }
            reached = Some(conversation);
        }
        if !more {
            for gone in known {
                if !take_gone(gone, answer, &mut page) {
                    answer.next = reached;
                    break;
                }
                reached = Some(gone.conversation.clone());
            }
            break;
        }
        if looked_at >= limits::HELLO_ROWS_MAX {
            answer.next = reached;
            break;
        }
    }
    add_last_entries(ports, &caller.user, &request.known, answer, standings, page).await
}

/// Tells the device that it has a conversation which is not the caller's, if the page has room for that.
fn take_gone(gone: &Known, answer: &mut HelloAnswer, page: &mut Page) -> bool {
    let takes = page.take(gone.conversation.as_str().len() + "\"\",".len());
    if takes {
        answer.gone.push(gone.conversation.clone());
    }
    takes
}

/// Whether the row says nothing new to the device: its read mark is the user's, and it has everything up to the head. It may have more: an
/// entry of its own that was not dispatched yet. But what it has from an older epoch may have been cut by a restore.
fn is_as_known(known: &Known, row: &InboxRow, head: Head, epoch: u32) -> bool {
    let has_all = head.position == known.have || (head.position < known.have && known.have.epoch == epoch);
    known.read == row.read.position && known.prefs == row.prefs.version && has_all
}

fn wire_row(row: InboxRow, head: Head) -> ConversationRow {
    let is_group = row.with.is_none();
    let ReadMark { read, read_count, read_private } = row.read_mark();
    ConversationRow {
        conversation: ConversationHead { conversation: row.conversation, with: row.with, head: head.position },
        role: Some(row.role).filter(|_| is_group),
        group: head.group,
        count: head.count,
        time_ms: head.time,
        read,
        read_count,
        read_private,
        mentioned: row.mentioned,
        prefs: Some(row.prefs).filter(|prefs| prefs.version > 0),
        last: None,
    }
}

/// Adds the entries at the heads. M1: a row was read before its head and before that entry; to whoever was removed between them the
/// conversation is gone. (A direct conversation is left by nobody.)
async fn add_last_entries<P: MessageLog + Memberships + Clock>(
    ports: &P,
    user: &UserId,
    known: &[Known],
    answer: &mut HelloAnswer,
    standings: Vec<Standing>,
    mut page: Page,
) -> Result<(), Failure> {
    let rows = answer.conversations.iter().zip(&standings).enumerate();
    let is_for_them = |row: &ConversationRow, standing: &Standing| row.conversation.head.seq >= standing.row.visible_from;
    let dispatched = rows.filter(|(_, (row, standing))| is_for_them(row, standing) && row.conversation.head.seq > Seq::ZERO);
    let mut recent: Vec<(usize, &ConversationRow)> = dispatched.map(|(index, (row, _))| (index, row)).collect();
    recent.sort_by_key(|(_, row)| std::cmp::Reverse(row.time_ms));
    recent.truncate(limits::LAST_ENTRIES_MAX);
    if recent.is_empty() {
        return Ok(());
    }
    let recent: Vec<(usize, (ConversationId, Seq))> =
        recent.into_iter().map(|(index, row)| (index, (row.conversation.conversation.clone(), row.conversation.head.seq))).collect();
    let mut gone = vec![];
    for some in recent.chunks(LAST_ENTRIES_AT_ONCE) {
        let mut all_fit = true;
        let (indexes, slots): (Vec<usize>, Vec<_>) = some.iter().cloned().unzip();
        let entries: Vec<(usize, Entry)> =
            indexes.into_iter().zip(ports.at(&slots).await?).filter_map(|(index, entry)| Some((index, entry?))).collect();
        let standing = entries.iter().map(|(index, entry)| async {
            let is_direct = !entry.facts.policy.is_group();
            if is_direct { Ok(None) } else { standings[*index].holds_behind(ports, user, Some(entry), entry.tells_up_to()).await }
        });
        for ((index, entry), holds) in entries.iter().zip(join_all(standing).await) {
            let (index, entry) = (*index, entry.told_to(standings[*index].row.visible_from, None));
            match holds {
                Ok(_) => {}
                Err(Refused::NotFound | Refused::Ended(_)) => {
                    gone.push(index);
                    continue;
                }
                Err(refused) => {
                    refused.log("a last entry is left out");
                    continue;
                }
            }
            let bytes = encode(&entry).len() + r#","last":"#.len();
            let row = &mut answer.conversations[index];
            if entry.position == row.conversation.head {
                row.last = page.take_if_it_fits(bytes).then_some(entry);
                all_fit &= row.last.is_some();
            }
        }
        if !all_fit {
            break;
        }
    }
    gone.sort_unstable();
    for index in gone.into_iter().rev() {
        // The delivery of the removal may have begun before this session was there: then nothing else would tell the device.
        let row = answer.conversations.remove(index);
        answer
            .gone
            .extend(known.iter().find(|known| known.conversation == row.conversation.conversation).map(|_| row.conversation.conversation));
    }
    Ok(())
}
