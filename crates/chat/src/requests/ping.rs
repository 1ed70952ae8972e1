//! `ping`: whether the server still knows the connection, and the status of the conversations that the user looks at. It repairs what the
//! hints have lost: a session that a false 410 or a given-up post has removed, live entries, receipts.

use chatlane_protocol::frames::{ConversationStatus, MemberCursors, PingAnswer, ReadMark};
use chatlane_protocol::request::Ping;
use futures_util::future::{try_join_all, try_join3};

use super::caller::Caller;
use crate::done::Done;
use crate::ports::{Clock, Connections, Failure, Heads, InboxRow, Inboxes};

/// Answers one `ping`. Conversations of which the caller is no member, or whose row cannot be read, are left
/// out.
pub async fn ping<P>(ports: &P, caller: &Caller, request: &Ping) -> Result<Done<PingAnswer>, Failure>
where
    P: Connections + Inboxes + Heads + Clock,
{
    let (session, heads, rows) = try_join3(
        ports.session(&caller.user, &caller.connection),
        ports.heads(&request.open),
        ports.inbox_rows(&caller.user, &request.open),
    )
    .await?;
    let readable = |row: Result<Option<InboxRow>, Failure>| row.inspect_err(|failure| failure.log("a conversation is left out")).ok()?;
    let members = rows.into_iter().zip(heads).filter_map(|(row, head)| Some((readable(row)?, head)));
    let statuses = members.map(|(row, head)| async move {
        let cursors = others(ports, &row).await?;
        let own = Some(ReadMark { read: row.read.position, read_count: row.read.count });
        Ok::<_, Failure>(ConversationStatus { conversation: row.conversation, head: head.position, count: head.count, own, cursors })
    });
    let conversations = try_join_all(statuses).await?;
    Ok(Done::read(PingAnswer { id: request.id.clone(), server_time_ms: ports.now(), resync: session.is_none(), conversations }))
}

/// How far the other member of a direct conversation is.
async fn others<P: Inboxes>(ports: &P, row: &InboxRow) -> Result<Vec<MemberCursors>, Failure> {
    let Some(with) = &row.with else { return Ok(vec![]) };
    let rows = ports.inbox_rows(with, std::slice::from_ref(&row.conversation)).await?;
    let cursors = |row: InboxRow| {
        let read = row.read.position;
        MemberCursors { user: with.clone(), delivered: row.delivered_furthest().max(read), read }
    };
    // One that cannot be read says nothing.
    Ok(rows.into_iter().flatten().flatten().map(cursors).collect())
}
