//! What somebody wants to append: a message, or a change of a group. How it is judged at the tail, and how it gets into the slot behind it.

use chatlane_protocol::{ClientMessageId, EntryKind, Position, UnixMillis, UserId};
use futures_util::future::try_join;

use super::admission::Admission;
use super::change::{Planned, Seen};
use super::entry::Entry;
use super::facts::{Deed, Facts};
use super::kinds::{ChangeEntry, Kind, MessageEntry};
use crate::ports::{Change, Clock, Creations, Failure, Member, Membership, Memberships, MessageLog, Put, ReadBound};
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
}

impl<P: MessageLog + Clock> Drafted<P> for MessageEntry {
    fn to_wire(&self) -> EntryKind {
        Self::to_wire(self)
    }

    fn is_the_same_as(&self, stored: &Kind) -> bool {
        match stored {
            Kind::Message(stored) => self.hash.may_be_of_the_same_body_as(&stored.hash), // the stored body may have been edited since
            // What it was nobody here can tell; the sender has used the id once.
            Kind::Later(_) => true,
            _ => false,
        }
    }

    async fn store(&self, ports: &P, behind: Behind<'_>) -> Result<Tried, Refused> {
        let Behind { settings, tail, member, .. } = behind;
        let policy = &tail.facts.policy;
        if !policy.permits(member.role, Deed::Send) {
            return Err(Refused::Forbidden);
        }
        let now = ports.now();
        let facts = Self::facts_after(&tail.facts, tail.sender == member.user);
        let mut entry = behind.entry(Kind::Message(self.clone()), facts, now);
        if settings.limits.admission == AdmissionLimit::PerConversation {
            match tail.facts.bucket.admit(settings.keys.users.sender(&member.user), entry.stored_bytes(), now, policy.admitted_per_s) {
                Admission::Admitted(bucket) => entry.facts.bucket = bucket,
                Admission::Wait { retry_after_ms } => return Err(Refused::RateLimited { retry_after_ms }),
            }
        }
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
                let change = Change { entry: behind.entry(Kind::Change(kind), facts, ports.now()), rows, description };
                let put = ports.change(&change).await?;
                return Ok(Tried::Put(change.entry, put));
            }
            Ok(None) => Ok(Tried::Nothing),
            Err(refused) => Err(refused),
        };
        // The rows may be newer than the tail. Where something is written, its slot shows that they are not. Where nothing is, the log is
        // asked: else a change could be refused although every entry permits it, or an own one that has landed late be overlooked.
        let occupant = ports.read(conversation, behind.tail.position.seq.next(), ReadBound::ONE).await?.pop();
        occupant.map_or(nothing, |occupant| Ok(Tried::Taken(occupant)))
    }
}
