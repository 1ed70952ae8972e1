//! `ping`: whether the server still knows the connection, and where the conversations stand that the user looks at. It repairs what the
//! hints have lost: a session that a false 410 or a given-up post has removed, live entries, receipts.

use chatlane_protocol::frames::{ConversationStatus, MemberCursors, PingAnswer};
use chatlane_protocol::request::Ping;
use futures_util::future::{try_join_all, try_join3};

use crate::ports::{Clock, Cursors, Heads, InboxRow, Sessions, Unavailable};
use crate::requests::caller::Caller;

/// Answers one `ping`. Conversations of which the caller is no member are left out.
pub async fn ping<S, C>(store: &S, clock: &C, caller: &Caller, request: &Ping) -> Result<PingAnswer, Unavailable>
where
    S: Sessions + Cursors + Heads,
    C: Clock,
{
    let (session, heads, rows) = try_join3(
        store.session(&caller.user, &caller.connection),
        store.heads(&request.open),
        store.inbox_rows(&caller.user, &request.open),
    )
    .await?;
    let members = rows.into_iter().zip(heads).filter_map(|(row, head)| Some((row?, head)));
    let statuses = members.map(|(row, head)| async move {
        let cursors = others(store, &row).await?;
        Ok::<_, Unavailable>(ConversationStatus { conversation: row.conversation, head: head.position, count: head.count, cursors })
    });
    let conversations = try_join_all(statuses).await?;
    Ok(PingAnswer { id: request.id.clone(), server_time_ms: clock.now(), resync: session.is_none(), conversations })
}

/// How far the other member of a direct conversation is.
async fn others<S: Cursors>(store: &S, row: &InboxRow) -> Result<Vec<MemberCursors>, Unavailable> {
    let Some(with) = &row.with else { return Ok(vec![]) };
    let rows = store.inbox_rows(with, std::slice::from_ref(&row.conversation)).await?;
    let cursors = |row: InboxRow| {
        let read = row.read.position;
        MemberCursors { user: with.clone(), delivered: row.delivered_furthest().max(read), read }
    };
    Ok(rows.into_iter().flatten().map(cursors).collect())
}
