//! The caller's inbox rows: read before anything else of a conversation (R1), and judged again behind what was read of its log (M1).

use chatlane_protocol::{ConversationId, UserId};
use futures_util::future::try_join_all;

use crate::allowance::Allowance;
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

/// Rows that are not there and are looked for as a whole, in one request of many conversations.
pub(crate) const SETTLED_MAX: usize = 16;

/// The user's rows of these conversations, in their order; of others [`Refused::NotFound`], or [`Refused::Busy`] beyond what `settled` allows.
/// Nothing that depends on whether those exist was read.
pub(crate) async fn read<P: Inboxes + Memberships + Clock>(
    ports: &P,
    user: &UserId,
    conversations: &[ConversationId],
    settled: &Allowance,
) -> Result<Vec<Result<Standing, Refused>>, Failure> {
    let asked_ms = ports.steady_ms();
    let rows = ports.inbox_rows(user, conversations).await?;
    let standing = |row| Ok(Standing { row, asked_ms });
    // A single read may have seen the transaction half that makes a member. The member's row, read as a whole, says so.
    let settle = async |conversation: &ConversationId| {
        if !settled.takes() {
            return Ok(Err(Refused::Busy));
        }
        if ports.member_consistent(conversation, user).await?.is_none() {
            return Ok(Err(Refused::NotFound));
        }
        let row = ports.inbox_rows(user, std::slice::from_ref(conversation)).await?;
        Ok(row.into_iter().flatten().next().map_or(Err(Refused::NotFound), standing))
    };
    try_join_all(rows.into_iter().zip(conversations).map(|(row, conversation)| async {
        match row {
            Some(row) => Ok(standing(row)),
            None => settle(conversation).await,
        }
    }))
    .await
}

/// The same of one conversation.
pub(crate) async fn read_one<P: Inboxes + Memberships + Clock>(
    ports: &P,
    user: &UserId,
    conversation: &ConversationId,
) -> Result<Standing, Refused> {
    let mut rows = read(ports, user, std::slice::from_ref(conversation), &Allowance::of(1)).await?;
    rows.pop().unwrap_or(Err(Refused::NotFound))
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
