//! Mutations of the append, each a wrapper around the ports of the real append or a rule of the workload: what the schedules must find.

use std::sync::Mutex;

use chatlane_protocol::request::SendMessages;
use chatlane_protocol::{ConversationId, Position, Seq, UnixMillis, UserId};

use super::Ports;
use super::frame::{Answer as Told, Request, Told as One, answer};
use crate::log::reactions::Reacted;
use crate::log::{ChangeEntry, Entry, Head, Kind};
use crate::ports::{
    Amendment, Amendments as _, Amends, Change, Clock, Creations as _, Failure, Joining, Member, Membership, Memberships as _,
    MessageLog as _, Put, ReadBound, RowChange, last,
};
use crate::refusal::Refused;
use crate::requests::caller::Caller;
use crate::settings::Settings;
use crate::testing::desk::lock;
use crate::testing::wrapper::{Answer, Call, Taking, Wrapper, same};

/// One way to break the append. The first seven are known to lose or double messages; the next two show that L3 and L4 are judged; three
/// let a removed member write, or tell a stranger what exists; the last seven are of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A client that retries takes the tail of the moment as anchor, without having looked through the entries up to it.
    NewerAnchorOnRetry,
    /// The server replaces the anchor by the tail.
    TailTakenAsAnchor,
    /// The server believes that an anchor beyond the tail exists.
    AnchorBeyondTailTrusted,
    /// Anchors are bare seqs: whatever entry has that seq now is taken for the one that the client knew.
    BareSeqAnchor,
    /// An entry that a read left out passes for one that was looked at.
    NonContiguousReadAccepted,
    /// A batch goes on after a message that failed.
    BatchGoesOn,
    /// The occupant of a slot is never taken for one's own.
    OwnPutNotRecognised,
    /// A put whose outcome is unknown counts as done.
    UnknownPutAcknowledged,
    /// A duplicate is acknowledged without looking whether its delivery has begun.
    DuplicateNotQueued,
    /// The row is not read again behind the log.
    RowNotReadAgain,
    /// It is, but only where a change of membership is recent: more entries may come between the two reads.
    RowReadAgainForRecentChangesOnly,
    /// The log is read before the row.
    LogBeforeRow,
    /// A change is judged by the row that was read before the log.
    JudgedByTheFirstRow,
    /// The row that was read first holds until its user is removed: a lower role is not noticed.
    RowAgainOnRemovalOnly,
    /// An entry that gives a role does not say that it changes the membership.
    RoleIsNoChangeOfMembership,
    /// The rows that a change names are read plainly, before the log, and written whatever they are by then.
    RowsReadBefore,
    /// The user's row is read again, but by one read, which may show a transaction half.
    RowAgainReadPlainly,
    /// The number of owners is not looked at.
    OwnersNotCounted,
    /// A message is read once in a request, and what is done to it is written whatever it is by then.
    MessageReadBefore,
    /// The same of the reactions to it.
    ReactionsReadBefore,
    /// As [`Self::NewerAnchorOnRetry`], but of changes only.
    NewerAnchorOnRetryOfAChange,
}

/// The answer to a frame with the mutation in it. `draw` is the writer's own chance.
pub(super) async fn answer_through(
    mutation: Mutation,
    ports: Ports,
    draw: u64,
    settings: &Settings,
    caller: &Caller,
    mut request: Request,
) -> Result<Told, Failure> {
    let conversation = match &request {
        Request::Messages(request) => request.conversation.clone(),
        Request::Change(asked) => asked.conversation.clone(),
        Request::Amendment(asked) => asked.conversation.clone(),
    };
    match mutation {
        Mutation::TailTakenAsAnchor => {
            if let Some(tail) = last(&ports, &conversation).await? {
                request.anchors().into_iter().for_each(|anchor| *anchor = tail.position);
            }
        }
        Mutation::BareSeqAnchor => {
            for anchor in request.anchors() {
                let found = ports.read(&conversation, anchor.seq, ReadBound::ONE).await?;
                anchor.epoch = found.first().map_or(settings.epoch, |entry| entry.position.epoch);
            }
        }
        _ => {}
    }
    let user = caller.user.clone();
    let mutated = Mutated { ports, mutation, draw, user, known: Mutex::new(Known::default()) };
    let Request::Messages(messages) = &request else { return answer(&mutated, settings, caller, &request).await };
    if mutation != Mutation::BatchGoesOn {
        return answer(&mutated, settings, caller, &request).await;
    }
    let mut results = Vec::new();
    for message in &messages.messages {
        let single = Request::Messages(SendMessages { messages: vec![message.clone()], ..messages.clone() });
        match answer(&mutated, settings, caller, &single).await {
            Ok(told) => results.extend(told),
            Err(failure) => results.push((message.client_message_id.clone(), One::Refused(Refused::Failed(failure).to_wire()))),
        }
    }
    Ok(results)
}

/// The ports with a mutation.
struct Mutated {
    ports: Ports,
    mutation: Mutation,
    draw: u64,
    user: UserId,
    known: Mutex<Known>,
}

/// What a writer with a mutation remembers.
#[derive(Default)]
struct Known {
    /// Slots whose occupants it does not take for its own.
    disowned: Vec<Seq>,
    /// Its user's row, as it was first read.
    row: Option<Member>,
    /// All rows at that time.
    rows: Vec<Member>,
    /// Its user's row, as a single read has shown it last.
    plain: Option<Member>,
    /// The message that it is about, as it was first read.
    message: Option<Entry>,
    /// The reactions to it, as they were first read.
    reacted: Option<Reacted>,
    /// What the last entry that it read says of the membership.
    membership_changed: Seq,
}

impl Mutated {
    /// The entry as this mutation shows it.
    fn shown(&self, mut entry: Entry) -> Entry {
        if self.mutation == Mutation::OwnersNotCounted {
            entry.facts.owners += 1;
        }
        let mut known = lock(&self.known);
        known.membership_changed = known.membership_changed.max(entry.facts.membership_changed);
        if known.disowned.contains(&entry.position.seq) { of_somebody_else(entry) } else { entry }
    }

    /// The entry as this mutation writes it.
    fn written(&self, mut entry: Entry) -> Entry {
        match (self.mutation, &entry.kind) {
            (Mutation::OwnersNotCounted, _) => entry.facts.owners -= 1,
            (Mutation::RoleIsNoChangeOfMembership, Kind::Change(ChangeEntry::Role { .. })) => {
                entry.facts.membership_changed = lock(&self.known).membership_changed;
            }
            _ => {}
        }
        entry
    }

    /// The user's row, read once more.
    fn row(&self, read: Option<Member>) -> Option<Member> {
        let known = lock(&self.known);
        match self.mutation {
            Mutation::JudgedByTheFirstRow => known.row.clone(),
            Mutation::RowAgainOnRemovalOnly if read.is_some() => known.row.clone(),
            Mutation::RowAgainReadPlainly => known.plain.clone(),
            _ => read,
        }
    }

    fn memberships(&self, mut all: Vec<Membership>) -> Vec<Membership> {
        for one in &mut all {
            if self.mutation == Mutation::RowsReadBefore && one.user != self.user {
                one.member = lock(&self.known).rows.iter().find(|row| row.user == one.user).cloned();
            }
            if one.user == self.user {
                one.member = self.row(one.member.take());
            }
        }
        all
    }

    /// Writes the rows whatever they are: as if no condition were on them.
    async fn change(&self, change: &Change) -> Result<Put, Failure> {
        let mut change = Change { entry: self.written(change.entry.clone()), ..change.clone() };
        if self.mutation == Mutation::RowsReadBefore {
            let now = self.ports.members(&change.entry.conversation).await?;
            let is = |user: &UserId| now.iter().find(|row| row.user == *user).cloned();
            change.rows = change
                .rows
                .into_iter()
                .filter_map(|row| match row {
                    RowChange::Join(Joining { member, row }) => Some(match is(&member.user) {
                        Some(now) => RowChange::Role { member, was: now.version },
                        None => RowChange::Join(Joining { member, row }),
                    }),
                    RowChange::Role { member, .. } => is(&member.user).map(|now| RowChange::Role { member, was: now.version }),
                    RowChange::Leave { member, spans } => is(&member.user).map(|member| RowChange::Leave { member, spans }),
                })
                .collect();
        }
        self.put(self.ports.change(&change).await)
    }

    async fn read(&self, call: Call<'_>, entries: Result<Vec<Entry>, Failure>) -> Result<Vec<Entry>, Failure> {
        let mut entries: Vec<Entry> = entries?.into_iter().map(|entry| self.shown(entry)).collect();
        match (self.mutation, call.argument::<ConversationId>(), call.argument::<Seq>()) {
            (Mutation::AnchorBeyondTailTrusted, Some(conversation), Some(from)) if entries.is_empty() => {
                let made_up = |last: Entry| Entry { position: Position::new(last.position.epoch, *from), ..last };
                entries.extend(last(&self.ports, conversation).await?.map(made_up));
            }
            (Mutation::NonContiguousReadAccepted, _, Some(_)) if entries.len() > 2 => {
                let between = entries.len() - 2;
                let left_out = 1 + usize::try_from(self.draw).unwrap_or(0) % between;
                entries[left_out] = of_somebody_else(entries[left_out].clone());
            }
            _ => {}
        }
        Ok(entries)
    }

    fn put(&self, put: Result<Put, Failure>) -> Result<Put, Failure> {
        match put {
            Err(_) if self.mutation == Mutation::UnknownPutAcknowledged => Ok(Put::Stored),
            Ok(Put::Taken(occupant)) => {
                if self.mutation == Mutation::OwnPutNotRecognised {
                    lock(&self.known).disowned.push(occupant.position.seq);
                }
                Ok(Put::Taken(Box::new(self.shown(*occupant))))
            }
            other => other,
        }
    }

    /// With a mutation the transaction does not look at what it changes.
    async fn amend(&self, mut amendment: Amendment) -> Result<Put, Failure> {
        let conversation = amendment.entry.conversation.clone();
        match &mut amendment.amends {
            Amends::Edit { was, .. } | Amends::Deletion { was, .. } if self.mutation == Mutation::MessageReadBefore => {
                let now = self.ports.entry_consistent(&conversation, was.position.seq).await?;
                *was = now.unwrap_or_else(|| was.clone());
            }
            Amends::Reaction { target, was, .. } if self.mutation == Mutation::ReactionsReadBefore => {
                *was = self.ports.reacted(&conversation, &self.user, *target).await?;
            }
            _ => {}
        }
        self.ports.amend(&amendment).await
    }

    fn heads(&self, heads: Result<Vec<Head>, Failure>) -> Result<Vec<Head>, Failure> {
        let dispatched = Head { position: Position::new(u32::MAX, Seq::MAX), ..Head::default() };
        if self.mutation == Mutation::DuplicateNotQueued { Ok(vec![dispatched; heads?.len()]) } else { heads }
    }
}

fn of_somebody_else(entry: Entry) -> Entry {
    Entry { sender: UserId::new("somebody else").expect("this is a user id"), ..entry }
}

impl Wrapper for Mutated {
    type Inner = Ports;

    fn now(&self) -> UnixMillis {
        Clock::now(&self.ports)
    }

    async fn call<T: Answer>(&self, call: Call<'_>, effect: impl for<'a> Fn(&'a Ports) -> Taking<'a, T> + Send + Sync + 'static) -> T {
        if let ("member", Mutation::LogBeforeRow, Some(conversation)) = (call.method, self.mutation, call.argument::<ConversationId>()) {
            let _too_early = self.ports.read(conversation, Seq::FIRST, ReadBound::ONE).await;
        }
        if let ("member", Mutation::RowsReadBefore, Some(conversation)) = (call.method, self.mutation, call.argument::<ConversationId>()) {
            let rows = self.ports.members(conversation).await.unwrap_or_default();
            lock(&self.known).rows = rows;
        }
        if let (Mutation::RowAgainReadPlainly, "member_consistent" | "memberships", Some(conversation)) =
            (self.mutation, call.method, call.argument::<ConversationId>())
        {
            let plain = self.ports.member(conversation, &self.user).await.unwrap_or_default();
            lock(&self.known).plain = plain;
        }
        match (call.method, call.argument::<Entry>(), call.argument::<Change>()) {
            ("put", Some(entry), _) => return same(self.put(self.ports.put(&self.written(entry.clone())).await)),
            ("change", _, Some(change)) => return same(self.change(change).await),
            _ => {}
        }
        if let ("amend", Some(amendment)) = (call.method, call.argument::<Amendment>()) {
            return same(self.amend(amendment.clone()).await);
        }
        let answer = effect(&self.ports).await;
        match call.method {
            "read" | "read_back" => same(self.read(call, same(answer)).await),
            "member" => {
                let row: Result<Option<Member>, Failure> = same(answer);
                lock(&self.known).row = row.as_ref().ok().cloned().flatten();
                same(row)
            }
            "member_consistent" => {
                let row: Result<Option<Member>, Failure> = same(answer);
                same(row.map(|row| self.row(row)))
            }
            "memberships" => {
                let all: Result<Vec<Membership>, Failure> = same(answer);
                same(all.map(|all| self.memberships(all)))
            }
            "entry_consistent" if self.mutation == Mutation::MessageReadBefore => {
                let entry: Result<Option<Entry>, Failure> = same(answer);
                same(entry.map(|entry| entry.map(|entry| lock(&self.known).message.get_or_insert(entry).clone())))
            }
            "reacted" if self.mutation == Mutation::ReactionsReadBefore => {
                let reacted: Result<Reacted, Failure> = same(answer);
                same(reacted.map(|reacted| lock(&self.known).reacted.get_or_insert(reacted).clone()))
            }
            "heads" => same(self.heads(same(answer))),
            _ => answer,
        }
    }
}
