//! The caller's inbox rows: read before anything else of a conversation (R1), and judged again behind what was read of its log (M1).

use chatlane_protocol::{ConversationId, UserId};
use futures_util::future::try_join_all;

use crate::log::Entry;
use crate::log::recheck::Recheck;
use crate::ports::{Clock, Failure, InboxRow, Inboxes, Memberships};
use crate::refusal::Refused;

/// The row of a member, and when it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) row: InboxRow,
    asked_ms: u64,
}

/// The user's rows of these conversations, in their order; `None`: no member. Nothing that depends on whether the conversation exists was
/// read for those.
pub(crate) async fn read<P: Inboxes + Memberships + Clock>(
    ports: &P,
    user: &UserId,
    conversations: &[ConversationId],
) -> Result<Vec<Option<Standing>>, Failure> {
    let asked_ms = ports.steady_ms();
    let mut rows = ports.inbox_rows(user, conversations).await?;
    // A single read may have seen the transaction half that makes a member. The member's row, read as a whole, says so.
    let missing = || rows.iter().zip(conversations).filter(|(row, _)| row.is_none()).map(|(_, conversation)| conversation);
    let members = try_join_all(missing().map(|conversation| ports.member_consistent(conversation, user))).await?;
    let half_seen: Vec<ConversationId> = missing().zip(members).filter_map(|(missing, member)| member.map(|_| missing.clone())).collect();
    if !half_seen.is_empty() {
        let again = ports.inbox_rows(user, &half_seen).await?;
        for row in again.into_iter().flatten() {
            let place = conversations.iter().position(|conversation| *conversation == row.conversation);
            if let Some(place) = place {
                rows[place] = Some(row);
            }
        }
    }
    Ok(rows.into_iter().map(|row| row.map(|row| Standing { row, asked_ms })).collect())
}

/// The same of one conversation; who is no member is told that there is none.
pub(crate) async fn read_one<P: Inboxes + Memberships + Clock>(
    ports: &P,
    user: &UserId,
    conversation: &ConversationId,
) -> Result<Standing, Refused> {
    let rows = read(ports, user, std::slice::from_ref(conversation)).await?;
    rows.into_iter().flatten().next().ok_or(Refused::NotFound)
}

impl Standing {
    /// Makes sure that the row still held when the log was read, of which `last` is the highest entry that was.
    pub(crate) async fn holds_behind<P: Memberships + Clock>(&self, ports: &P, user: &UserId, last: Option<&Entry>) -> Result<(), Refused> {
        let apart_ms = ports.steady_ms().saturating_sub(self.asked_ms);
        if !Recheck::DEFAULT.is_due(self.row.version, last, apart_ms) {
            return Ok(());
        }
        let member = ports.member_consistent(&self.row.conversation, user).await?.ok_or(Refused::NotFound)?;
        if member.visible_from != self.row.visible_from {
            // Removed and added again meanwhile: still a member, so not `not_found`.
            return Err(Failure::unavailable("read the log", "the membership changed meanwhile").into());
        }
        Ok(())
    }
}
