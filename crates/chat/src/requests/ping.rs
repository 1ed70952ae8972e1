//! `ping`: whether the server still knows the connection, and the status of the conversations that the user looks at. It repairs what the
//! hints have lost: a session that a false 410 or a given-up post has removed, live entries, receipts.

use chatlane_protocol::frames::{ConversationStatus, MemberCursors, PingAnswer, encode};
use chatlane_protocol::limits::{CURSORS_MEMBERS_MAX, CURSORS_PER_PING_MAX};
use chatlane_protocol::request::Ping;
use chatlane_protocol::{ConnectionId, UserId};
use futures_util::future::{join_all, try_join};

use crate::done::Done;
use crate::log::Head;
use crate::page::Page;
use crate::ports::{Clock, Connections, Failure, Heads, InboxRow, Inboxes, Memberships};

/// What an answer has beside its conversations.
const REST_OF_THE_ANSWER: usize = 512;

/// Answers one `ping` of a user on this connection of theirs. Conversations of which the caller is no member, or whose row cannot be read, are left
/// out.
pub async fn ping<P>(ports: &P, user: &UserId, mine: &ConnectionId, request: &Ping) -> Result<Done<PingAnswer>, Failure>
where
    P: Connections + Inboxes + Memberships + Heads + Clock,
{
    let (session, heads) = try_join(ports.session(user, mine), ports.heads(&request.open)).await?;
    // M1: the rows behind the heads. Who was removed meanwhile is not told how far it went on without them.
    let rows = ports.inbox_rows(user, &request.open).await?;
    let readable = |row: Result<Option<InboxRow>, Failure>| row.inspect_err(|failure| failure.log("a conversation is left out")).ok()?;
    let members = rows.into_iter().zip(heads).filter_map(|(row, head)| Some((readable(row)?, head)));
    let mut left = CURSORS_PER_PING_MAX;
    let statuses = members.map(|(row, head)| {
        let reads = members_to_read(&row, &head).filter(|reads| *reads <= left);
        left -= reads.unwrap_or_default();
        (row, head, reads.is_some())
    });
    let statuses = statuses.collect::<Vec<_>>().into_iter().map(|(row, head, is_told)| async move {
        let cursors = if is_told { others(ports, user, &row).await } else { Ok(vec![]) };
        // The next `ping` asks again.
        let cursors = cursors.inspect_err(|failure| failure.log("cursors of others are left out")).unwrap_or_default();
        let own = Some(row.read_mark());
        ConversationStatus { conversation: row.conversation, head: head.position, count: head.count, own, cursors }
    });
    let mut conversations = join_all(statuses).await;
    let all: Vec<Vec<MemberCursors>> = conversations.iter_mut().map(|status| std::mem::take(&mut status.cursors)).collect();
    let mut page = Page::new(REST_OF_THE_ANSWER + encode(&conversations).len());
    for (status, cursors) in conversations.iter_mut().zip(all) {
        page.reserve(r#","cursors":[]"#.len());
        let bytes = cursors.iter().map(|one| encode(one).len() + 1).sum();
        status.cursors = if page.take_if_it_fits(bytes) { cursors } else { vec![] };
    }
    Ok(Done::read(PingAnswer { id: request.id.clone(), server_time_ms: ports.now(), resync: session.is_none(), conversations }))
}

/// How many rows the cursors of this conversation cost. `None`: they are not told, in a group that has too many members.
fn members_to_read(row: &InboxRow, head: &Head) -> Option<usize> {
    match (&row.with, head.group) {
        (Some(_), _) => Some(1),
        (None, Some(group)) if group.members <= CURSORS_MEMBERS_MAX => usize::try_from(group.members).ok(),
        (None, _) => None,
    }
}

/// How far the other members are: all of them, or nobody. A device takes one who is missing for one who is no member any more.
async fn others<P: Inboxes + Memberships>(ports: &P, caller: &UserId, row: &InboxRow) -> Result<Vec<MemberCursors>, Failure> {
    let users: Vec<UserId> = if let Some(with) = &row.with {
        vec![with.clone()]
    } else {
        let members = ports.members(&row.conversation).await?;
        let is_member = members.iter().any(|member| member.user == *caller);
        // Who is seen to be removed is told nothing, and nobody where the group has grown since its head.
        let is_told = is_member && members.len() <= usize::try_from(CURSORS_MEMBERS_MAX).unwrap_or(usize::MAX);
        members.into_iter().map(|member| member.user).filter(|user| is_told && user != caller).collect()
    };
    let rows = if users.is_empty() { vec![] } else { ports.rows_of(&row.conversation, &users).await? };
    let all = users.into_iter().zip(rows).map(|(user, row)| Some(row?.told_to_others(user)));
    Ok(all.collect::<Option<Vec<_>>>().unwrap_or_default())
}
