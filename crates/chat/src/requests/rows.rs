//! The caller's inbox rows: read before anything else of a conversation (R1), and judged again behind what was read of its log (M1).

use chatlane_protocol::{ConversationId, UserId};
use futures_util::future::join_all;

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

/// The user's rows of these conversations, in their order; of others [`Refused::NotFound`], or [`Refused::Busy`] beyond what `settled` allows. A row that cannot be read
/// is the failure of its conversation only.
/// Nothing that depends on whether those exist was read.
pub(crate) async fn read<P: Inboxes + Memberships + Clock>(
    ports: &P,
    user: &UserId,
    conversations: &[ConversationId],
    settled: &Allowance,
) -> Result<Vec<Result<Standing, Refused>>, Failure> {
    let asked_ms = ports.steady_ms();
    let rows = ports.inbox_rows(user, conversations).await?;
    // A single read may have seen the transaction half that makes a member. The member's row, read as a whole, says so.
    let settle = async |conversation: &ConversationId| {
        if !settled.takes() {
            return Err(Refused::Busy);
        }
        ports.member_consistent(conversation, user).await?.ok_or(Refused::NotFound)?;
        let row = ports.inbox_rows(user, std::slice::from_ref(conversation)).await?;
        row.into_iter().next().transpose()?.flatten().ok_or(Refused::NotFound)
    };
    let standings = rows.into_iter().zip(conversations).map(|(row, conversation)| async {
        let row = match row.inspect_err(|failure| failure.log("a conversation is refused"))? {
            Some(row) => row,
            None => settle(conversation).await?,
        };
        Ok(Standing { row, asked_ms })
    });
    Ok(join_all(standings).await)
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
