//! What somebody wants to append: a message, a change of a group, or of a message. How it is judged at the tail, and how it gets into the slot behind it.

use chatlane_protocol::{ClientMessageId, Entry as WireEntry, EntryKind, Position, Seq, UnixMillis, UserId};
use futures_util::future::try_join;

use super::admission::{Admission, Bucket};
use super::amend::Sight;
use super::change::{Planned, Seen};
use super::entry::Entry;
use super::facts::{Deed, Facts};
use super::kinds::{AmendmentEntry, ChangeEntry, Kind, MessageEntry};
use super::reactions::Reacted;
use super::room::may_add;
use crate::ports::{
    Amendment, Amendments, Amends, Change, Clock, Creations, Failure, Member, Membership, Memberships, MessageLog, Put, ReadBound,
};
use crate::refusal::Refused;
use crate::settings::{AdmissionLimit, Settings};

/// An entry that somebody wants to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft<K> {
    /// The sender's name for it (L2).
    pub client_message_id: ClientMessageId,
    /// The highest position that the client knew when it made the draft; the same for every retry.
    pub anchor: Position,
    /// What it is.
    pub kind: K,
}

/// A kind of entry that is drafted: what it becomes at the tail, and how that gets into its slot.
pub trait Drafted<P>: Sync {
    /// As clients would see it.
    fn to_wire(&self) -> EntryKind;

    /// Whether an attempt to append this is the one that wrote `stored`, and not another entry under the same client message id.
    fn is_the_same_as(&self, stored: &Kind) -> bool;

    /// Judges it at the tail (M1), and tries once to store the entry behind it.
    fn store(&self, ports: &P, behind: Behind<'_>) -> impl Future<Output = Result<Tried, Refused>> + Send;
}

/// A way in: [`Bucket::admit`], [`Bucket::admit_beside`] or [`Bucket::admit_at_once`].
type Admit = fn(&Bucket, u32, usize, UnixMillis, u32) -> Admission;

/// A row of a member is of a few hundred bytes, and written for a kilobyte.
const ROW_BYTES: usize = 1024;

/// What became of one try to store an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Tried {
    /// The entry, and what became of its put.
    Put(Entry, Put),
    /// The place behind the tail holds this entry: what was read is not of one moment.
    Taken(Entry),
    /// There is nothing to store.
    Nothing,
}

/// Where a draft becomes an entry.
#[derive(Clone, Copy, Debug)]
pub struct Behind<'a> {
    /// What the deployment says.
    pub settings: &'a Settings,
    /// The last entry.
    pub tail: &'a Entry,
    /// Who drafts: their row, as the tail allows to believe it.
    pub member: &'a Member,
    /// The draft's name.
    pub client_message_id: &'a ClientMessageId,
}

impl Behind<'_> {
    /// The place of the entry.
    pub fn position(&self) -> Position {
        let tail = self.tail.position;
        Position::new(self.settings.epoch.max(tail.epoch), tail.seq.next())
    }

    /// The entry.
    pub fn entry(&self, kind: Kind, facts: Facts, now: UnixMillis) -> Entry {
        Entry {
            conversation: self.tail.conversation.clone(),
            position: self.position(),
            sender: self.member.user.clone(),
            client_message_id: self.client_message_id.clone(),
            time: now,
            kind,
            facts,
        }
    }

    /// The entry, with what it leaves in the bucket if so many bytes are written beside it.
    fn admitted(&self, mut entry: Entry, beside: usize, admit: Admit) -> Result<Entry, Refused> {
        let facts = &self.tail.facts;
        if self.settings.limits.admission == AdmissionLimit::PerConversation {
            let sender = self.settings.keys.users.sender(&self.member.user);
            match admit(&facts.bucket, sender, entry.stored_bytes() + beside, entry.time, facts.policy.admitted_per_s) {
                Admission::Admitted(bucket) => entry.facts.bucket = bucket,
                Admission::Wait { retry_after_ms } => return Err(Refused::RateLimited { retry_after_ms }),
            }
        }
        Ok(entry)
    }

    /// What was read behind the tail may be newer than the tail. Where something is written, its slot shows that it is not. Where nothing is,
    /// the log is asked: else a change could be refused although every entry permits it, or an own one that has landed late be overlooked.
    async fn unless_taken<P: MessageLog>(&self, ports: &P, nothing: Result<Tried, Refused>) -> Result<Tried, Refused> {
        let occupant = ports.read(&self.tail.conversation, self.tail.position.seq.next(), ReadBound::ONE).await?.pop();
        occupant.map_or(nothing, |occupant| Ok(Tried::Taken(occupant)))
    }

    /// The same, where all that was read behind the tail is the member's row: it says itself whether it is newer.
    async fn unless_newer<P: MessageLog>(&self, ports: &P, refused: Refused) -> Result<Tried, Refused> {
        if self.member.version > self.tail.position.seq { self.unless_taken(ports, Err(refused)).await } else { Err(refused) }
    }
}

impl<P: MessageLog + Clock> Drafted<P> for MessageEntry {
    fn to_wire(&self) -> EntryKind {
        Self::to_wire(self)
    }

    fn is_the_same_as(&self, stored: &Kind) -> bool {
        match stored {
            Kind::Message(stored) => self.may_have_become(stored),
            // What it was nobody here can tell; the sender has used the id once.
            Kind::Deleted | Kind::Later(_) => true,
            _ => false,
        }
    }

    async fn store(&self, ports: &P, behind: Behind<'_>) -> Result<Tried, Refused> {
        let Behind { tail, member, .. } = behind;
        if !tail.facts.policy.permits(member.role, Deed::Send) {
            return behind.unless_newer(ports, Refused::Forbidden).await;
        }
        if self.reply_to.is_some_and(|target| target < member.visible_from || target > tail.position.seq) {
            return behind.unless_newer(ports, Refused::NoMessage).await;
        }
        let facts = Self::facts_after(&tail.facts, tail.sender == member.user);
        let entry = behind.admitted(behind.entry(Kind::Message(self.clone()), facts, ports.now()), 0, Bucket::admit)?;
        let put = ports.put(&entry).await?;
        Ok(Tried::Put(entry, put))
    }
}

impl<P: MessageLog + Memberships + Creations + Clock> Drafted<P> for ChangeEntry {
    fn to_wire(&self) -> EntryKind {
        Self::to_wire(self)
    }

    fn is_the_same_as(&self, stored: &Kind) -> bool {
        match stored {
            Kind::Change(stored) => self.may_have_become(stored),
            Kind::Later(_) => true,
            _ => false,
        }
    }

    async fn store(&self, ports: &P, behind: Behind<'_>) -> Result<Tried, Refused> {
        let (conversation, sender) = (&behind.tail.conversation, &behind.member.user);
        let users: Vec<UserId> = self.users().iter().filter(|user| *user != sender).chain([sender]).cloned().collect();
        let description = async {
            let is_read = matches!(self, Self::Settings(settings) if settings.title.is_some() || settings.metadata.is_some());
            let found = if is_read { ports.descriptions(std::slice::from_ref(conversation)).await? } else { vec![] };
            Ok::<_, Failure>(found.into_iter().flatten().next().unwrap_or_default())
        };
        let (all, description) = try_join(ports.memberships(conversation, &users), description).await?;
        let named: Vec<Membership> = all.iter().filter(|one| self.users().contains(&one.user)).cloned().collect();
        let plan = |own: &Membership| {
            let seen = Seen {
                tail: behind.tail,
                // The first row may be older than the tail (an owner demotes an admin meanwhile).
                sender: own.member.as_ref()?,
                spans: &own.spans,
                named: &named,
                description: &description,
                key: &behind.settings.keys.users,
                position: behind.position(),
            };
            Some(seen.plan(self))
        };
        let nothing = match all.last().and_then(plan).unwrap_or(Err(Refused::NotFound)) {
            Ok(Some(Planned { kind, facts, rows, description })) => {
                let now = ports.now();
                let added = if let ChangeEntry::Added(users) = &kind { users.clone() } else { vec![] };
                let admit: Admit = if kind.only_takes() { Bucket::admit_at_once } else { Bucket::admit };
                let entry = behind.admitted(behind.entry(Kind::Change(kind), facts, now), rows.len() * ROW_BYTES, admit)?;
                let a_day_max = behind.settings.limits.added_a_day_max;
                let may = if added.is_empty() { Ok(()) } else { may_add(ports, sender, &added, now, a_day_max).await };
                if let Err(refused) = may {
                    return behind.unless_taken(ports, Err(refused)).await;
                }
                let change = Change { entry, rows, description };
                let put = ports.change(&change).await?;
                return Ok(Tried::Put(change.entry, put));
            }
            Ok(None) => Ok(Tried::Nothing),
            Err(refused) => Err(refused),
        };
        behind.unless_taken(ports, nothing).await
    }
}

impl<P: MessageLog + Amendments + Clock> Drafted<P> for AmendmentEntry {
    fn to_wire(&self) -> EntryKind {
        Self::to_wire(self)
    }

    fn is_the_same_as(&self, stored: &Kind) -> bool {
        match stored {
            Kind::Amendment(stored) => self.may_have_become(stored),
            Kind::Later(_) => true,
            _ => false,
        }
    }

    async fn store(&self, ports: &P, behind: Behind<'_>) -> Result<Tried, Refused> {
        let (conversation, target) = (&behind.tail.conversation, self.target());
        let sight = Sight { tail: behind.tail, member: behind.member, seq: behind.position().seq };
        if let Err(refused) = sight.may_be_seen(target) {
            return behind.unless_newer(ports, refused).await;
        }
        let reacted = match self {
            Self::Reaction(_) => ports.reacted(conversation, &behind.member.user, target).await?,
            Self::Edit { .. } | Self::Deletion { .. } => Reacted::default(),
        };
        let was = if reacted.all.is_none() { ports.entry_consistent(conversation, target).await? } else { None };
        let now = ports.now();
        let judged = match (self, was) {
            (Self::Reaction(reacting), was) => sight
                .react(reacting, &reacted, was.as_ref(), &behind.settings.keys.users)
                .map(|becomes| becomes.map(|(all, own)| (Amends::Reaction { target, was: reacted, all, own }, 0))),
            (_, None) => Err(Refused::NoMessage),
            (Self::Edit { body: None, .. }, _) => Ok(None), // nobody asks for that
            (Self::Edit { body: Some(body), .. }, Some(was)) => match sight.edit(&was, body, now) {
                Ok(Some(becomes)) => {
                    // As if it were sent so: what tells of the edit has its room beside it.
                    let sent = MessageEntry { edits: vec![], ..becomes.clone() }.to_wire();
                    let frame_bytes = WireEntry::live_frame_bytes_max(conversation, &was.sender, &was.client_message_id, sent);
                    let fits = frame_bytes <= behind.settings.limits.entry_bytes_max;
                    let bytes = was.stored_bytes();
                    if fits { Ok(Some((Amends::Edit { was, becomes }, bytes))) } else { Err(Refused::TooLarge { frame_bytes }) }
                }
                Ok(None) => Ok(None),
                Err(refused) => Err(refused),
            },
            (Self::Deletion { .. }, Some(was)) => match sight.delete(&was) {
                Ok(Some(edits)) => {
                    let edits = still_edits(ports, &was, edits).await?;
                    let bytes = edits.iter().chain([&was]).map(Entry::stored_bytes).sum();
                    Ok(Some((Amends::Deletion { edits: edits.iter().map(|edit| edit.position.seq).collect(), was }, bytes)))
                }
                Ok(None) => Ok(None),
                Err(refused) => Err(refused),
            },
        };
        match judged {
            Ok(Some((amends, beside))) => {
                let facts = behind.tail.facts.behind(behind.tail.sender == behind.member.user);
                let entry = behind.entry(Kind::Amendment(self.clone()), facts, now);
                let is_reaction = matches!(self, Self::Reaction(_));
                let entry = behind.admitted(entry, beside, if is_reaction { Bucket::admit_beside } else { Bucket::admit })?;
                let put = ports.amend(&Amendment { entry: entry.clone(), amends }).await?;
                Ok(Tried::Put(entry, put))
            }
            Ok(None) => behind.unless_taken(ports, Ok(Tried::Nothing)).await,
            Err(refused) => behind.unless_taken(ports, Err(refused)).await,
        }
    }
}

/// Those of these entries that may have edited the message. After a restore that has lost a part of a transaction, its place can hold something
/// else.
async fn still_edits<P: MessageLog>(ports: &P, message: &Entry, edits: Vec<Seq>) -> Result<Vec<Entry>, Failure> {
    let slots: Vec<_> = edits.into_iter().map(|seq| (message.conversation.clone(), seq)).collect();
    let found = if slots.is_empty() { vec![] } else { ports.at(&slots).await? };
    Ok(found.into_iter().flatten().filter(|entry| entry.kind.may_be_edit_of(message.position.seq)).collect())
}
