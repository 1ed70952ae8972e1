//! The caller's inbox rows: read before anything else of a conversation (R1), and judged again behind what was read of its log (M1).

use chatlane_protocol::{ConversationId, Entry as WireEntry, Position, Seq, UserId};
use futures_util::future::join_all;

use crate::allowance::Allowance;
use crate::log::Entry;
use crate::log::recheck::Recheck;
use crate::ports::{Clock, Failure, InboxRow, Inboxes, Member, Membership, Memberships, ReadBound, Run, Span};
use crate::refusal::Refused;

/// The row of a member, and when it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) row: InboxRow,
    asked_ms: u64,
}

/// The user's rows of these conversations, in their order. Of those in which they are no member: [`Refused::Ended`] if they were one,
/// [`Refused::NotFound`] if not, [`Refused::Busy`] beyond what `settled` allows. A row that cannot be read is the failure of its
/// conversation only. Nothing that depends on whether conversations exist was read.
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
        membership(ports, conversation, user).await?;
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

/// Makes sure that the user is a member: [`Refused::Ended`] of one who was, [`Refused::NotFound`] of all others.
async fn membership<P: Memberships>(ports: &P, conversation: &ConversationId, user: &UserId) -> Result<(), Refused> {
    match ports.memberships(conversation, std::slice::from_ref(user)).await?.pop() {
        Some(Membership { member: Some(_), .. }) => Ok(()),
        Some(Membership { spans, .. }) => Err(spans.last().map_or(Refused::NotFound, |span| Refused::Ended(*span))),
        None => Err(Refused::NotFound),
    }
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
    /// A row that was asked for at this time.
    pub(crate) const fn new(row: InboxRow, asked_ms: u64) -> Self {
        Self { row, asked_ms }
    }

    /// Makes sure that the row still held when the log was read, of which `last` is the highest entry that was, and `up_to` the last of which
    /// what was read tells something. Answers the member's row, if it was read for that.
    pub(crate) async fn holds_behind<P: Memberships + Clock>(
        &self,
        ports: &P,
        user: &UserId,
        last: Option<&Entry>,
        up_to: Seq,
    ) -> Result<Option<Member>, Refused> {
        let apart_ms = ports.steady_ms().saturating_sub(self.asked_ms);
        // An edit behind `last` may be behind a removal too.
        let tells_more = last.is_some_and(|last| up_to > last.position.seq && last.facts.policy.is_group());
        if !tells_more && !Recheck::DEFAULT.is_due(self.row.version, last, apart_ms) {
            return Ok(None);
        }
        let conversation = &self.row.conversation;
        let Some(member) = ports.member_consistent(conversation, user).await? else {
            membership(ports, conversation, user).await?;
            return Err(changed_meanwhile()); // removed, and added again
        };
        if member.visible_from != self.row.visible_from {
            return Err(changed_meanwhile());
        }
        Ok(Some(member))
    }
}

/// Whom a log is read for: a member, or one who was.
pub(crate) enum Reader {
    /// A member.
    Member(Standing),
    /// Somebody who was one, up to the end of their last span.
    Former(ConversationId, Span),
}

impl Reader {
    pub(crate) fn of(conversation: &ConversationId, standing: Result<Standing, Refused>) -> Result<Self, Refused> {
        match standing {
            Ok(standing) => Ok(Self::Member(standing)),
            Err(Refused::Ended(span)) => Ok(Self::Former(conversation.clone(), span)),
            Err(refused) => Err(refused),
        }
    }

    pub(crate) const fn conversation(&self) -> &ConversationId {
        match self {
            Self::Member(standing) => &standing.row.conversation,
            Self::Former(conversation, _) => conversation,
        }
    }

    pub(crate) const fn visible_from(&self) -> Seq {
        match self {
            Self::Member(standing) => standing.row.visible_from,
            Self::Former(_, span) => span.from,
        }
    }

    pub(crate) const fn ended(&self) -> Option<Position> {
        match self {
            Self::Member(_) => None,
            Self::Former(_, span) => Some(span.end),
        }
    }

    /// What was read, as far as it is for them; and whether that is all that is for them, where the bound did not end it.
    pub(crate) async fn may_see<P: Memberships + Clock>(
        &mut self,
        ports: &P,
        user: &UserId,
        run: Run,
        bound: ReadBound,
    ) -> Result<(Vec<Entry>, bool), Refused> {
        if let Self::Member(standing) = self {
            match standing.holds_behind(ports, user, run.last(), run.tells_up_to()).await {
                Ok(_) => {}
                // Of another span than the row's, what was read is not all for them.
                Err(Refused::Ended(span)) if span.from != standing.row.visible_from => return Err(changed_meanwhile()),
                Err(Refused::Ended(span)) => *self = Self::Former(standing.row.conversation.clone(), span),
                Err(refused) => return Err(refused),
            }
        }
        let Run::Whole(mut entries) = run else { return Err(Refused::PositionTooOld) };
        let mut is_all = !bound.is_reached_by(&entries);
        if let Some(end) = self.ended() {
            is_all |= entries.last().is_some_and(|last| last.position.seq >= end.seq);
            entries.retain(|entry| entry.position.seq <= end.seq);
        }
        Ok((entries, is_all))
    }

    /// An entry, as they are told it.
    pub(crate) fn is_told(&self, entry: &Entry) -> WireEntry {
        entry.told_to(self.visible_from(), self.ended().map(|end| end.seq))
    }
}

/// Still a member, so not `not_found`: the next request finds the row as it is now.
fn changed_meanwhile() -> Refused {
    Failure::unavailable("read the log", "the membership changed meanwhile").into()
}
