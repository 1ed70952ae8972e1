//! Anchored append: the one way in which an entry enters a log that exists.
//!
//! A draft carries an *anchor*, the highest position that its client knew when it made the draft: nothing up to there can hold it.
//! The writer sees every entry after the anchor, and claims the slot after the last one by a conditional put. Slots never change
//! hands, so an earlier success of the same message is always seen before a second could be written: no clock, no lock, no transaction.
//!
//! The steps, in this order: read the log from the anchor, then the member's row; look for the sender's own message; judge rights and
//! admission at the tail; put at tail + 1; if another was faster, read again *from the tail* and look again. Models found that every other
//! order fails (removal against send, stale rows, restores). Work is bounded: one window of entries, six puts.

use chatlane_protocol::{ClientMessageId, ConversationId, Position, Seq, UserId};

use super::admission::Admission;
use super::anchor::judge;
use super::entry::Entry;
use super::kinds::Kind;
use crate::ports::{Clock, Member, Memberships, MessageLog, Put, ReadBound, Run, last, read_run};
use crate::refusal::Refused;
use crate::settings::{AdmissionLimit, AnchorBound, Settings};

/// Puts of one message before `busy`: each lost one means that somebody else's entry got in.
pub const ATTEMPTS_MAX: usize = 6;

/// A row older than the tail's last membership change is read again if that change is this near: a single read sees a transaction item
/// by item, and no transaction is in the making for longer than 200 entries of one lane.
const MEMBERSHIP_RECENT: u64 = 200;

/// The anchor entry is read too, but lies outside the bound.
const ANCHOR_ENTRY_BYTES: usize = 64 * 1024;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// Stored by this call.
    New(Entry),
    /// Stored by an earlier attempt (L2).
    Duplicate(Entry),
    /// The sender used the id for this entry, whose body is another.
    Conflict(Entry),
}

/// An entry that somebody wants to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The sender's name for it (L2).
    pub client_message_id: ClientMessageId,
    /// The highest position that the client knew when it made the draft; the same for every retry.
    pub anchor: Position,
    /// What it is.
    pub kind: Kind,
}

/// Appends what one sender drafts for one conversation, for the length of one request. The drafts of a request share what was read.
#[derive(Debug)]
pub struct Appender<'a, P> {
    ports: &'a P,
    settings: &'a Settings,
    conversation: &'a ConversationId,
    sender: &'a UserId,
    window: Window,
    /// What this call put, which is no reason to call an anchor stale.
    stored: Vec<Seq>,
    member: Option<Member>,
    puts: usize,
}

impl<'a, P: MessageLog + Memberships + Clock> Appender<'a, P> {
    /// An appender that has read nothing yet.
    pub const fn new(ports: &'a P, settings: &'a Settings, conversation: &'a ConversationId, sender: &'a UserId) -> Self {
        Self { ports, settings, conversation, sender, window: Window(Vec::new()), stored: Vec::new(), member: None, puts: 0 }
    }

    /// How often it has tried to put so far.
    pub const fn puts(&self) -> usize {
        self.puts
    }

    /// Appends the draft, or finds it. The module's text says how.
    pub async fn append(&mut self, draft: &Draft) -> Result<Appended, Refused> {
        let frame_bytes = draft.kind.live_frame_bytes_max(self.conversation, self.sender, &draft.client_message_id);
        if frame_bytes > self.settings.limits.entry_bytes_max {
            return Err(Refused::TooLarge { frame_bytes });
        }
        self.look_from(draft.anchor).await?;
        if self.member.is_none() {
            // M1: a removed member still learns where an own entry is; everybody else learns nothing (R1).
            return self.own(draft).ok_or(Refused::NotFound);
        }
        self.check_anchor(draft.anchor).await?;

        for _ in 0..ATTEMPTS_MAX {
            if let Some(found) = self.own(draft) {
                return Ok(found);
            }
            let Some(tail) = self.window.tail() else {
                return Err(Refused::Busy); // the row of a conversation whose creation is half seen
            };
            let tail_position = tail.position;
            let entry = self.next_entry(tail, draft)?;
            self.puts += 1;
            match self.ports.put(&entry).await? {
                Put::Stored => {
                    self.stored.push(entry.position.seq);
                    self.window.0.push(entry.clone());
                    return Ok(Appended::New(entry));
                }
                // L2: my own put, whose answer was lost and which the SDK sent again.
                Put::Taken(occupant) if occupant.is_from(self.sender, &draft.client_message_id) => self.window.0.push(*occupant),
                Put::Taken(occupant) => self.catch_up(tail_position, Some(*occupant)).await?,
                Put::Contended => self.catch_up(tail_position, None).await?,
            }
        }
        self.own(draft).ok_or(Refused::Busy)
    }

    /// Reads the log from the anchor inclusive, unless the window holds it, then the sender's row. In this order: row first lets a
    /// removed member with a guessed anchor write after their own removal (M1).
    async fn look_from(&mut self, anchor: Position) -> Result<(), Refused> {
        let from = anchor.seq.max(Seq::FIRST);
        if !self.window.reaches_down_to(from) {
            let run = read_run(self.ports, self.conversation, from, window_bound(self.settings.limits.anchor)).await?;
            self.member = self.ports.member(self.conversation, self.sender).await?;
            let (entries, broken) = match run {
                Run::Whole(entries) => (entries, false),
                Run::Broken => (Vec::new(), true),
            };
            self.window = Window(entries);
            self.settle_member().await?;
            if broken && self.member.is_some() {
                return Err(Refused::PositionTooOld);
            }
        }
        Ok(())
    }

    /// Reads the row again, whole, where a single read may have seen a membership change half.
    async fn settle_member(&mut self) -> Result<(), Refused> {
        let half_seen = match (&self.member, self.window.tail()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(member), Some(tail)) => {
                let changed = tail.facts.membership_changed;
                member.version < changed && tail.position.seq.get() - changed.get() < MEMBERSHIP_RECENT
            }
        };
        if half_seen {
            self.member = self.ports.member_consistent(self.conversation, self.sender).await?;
        }
        Ok(())
    }

    /// The anchor's entry exists, in its epoch, and is near enough.
    async fn check_anchor(&self, anchor: Position) -> Result<(), Refused> {
        if anchor.seq > Seq::ZERO {
            let occupant = self.window.at(anchor.seq).map(|entry| entry.position);
            judge(self.ports, self.settings.epoch, self.conversation, anchor, occupant).await?;
        }
        let others = || self.window.after(anchor.seq).iter().filter(|entry| !self.stored.contains(&entry.position.seq));
        let bytes: usize = others().map(Entry::stored_bytes).sum();
        if others().count() > self.settings.limits.anchor.entries_max || bytes > self.settings.limits.anchor.bytes_max {
            return self.anchor_stale().await;
        }
        Ok(())
    }

    /// The client goes on from the end of the log, which the window may not reach.
    async fn anchor_stale(&self) -> Result<(), Refused> {
        let tail = last(self.ports, self.conversation).await?.map_or(Position::ZERO, |last| last.position);
        Err(Refused::AnchorStale { tail })
    }

    /// The sender's entry of this id, if the window holds it.
    fn own(&self, draft: &Draft) -> Option<Appended> {
        let entry = self.window.0.iter().find(|entry| entry.is_from(self.sender, &draft.client_message_id))?.clone();
        Some(if draft.kind.is_the_same_as(&entry.kind) { Appended::Duplicate(entry) } else { Appended::Conflict(entry) })
    }

    /// Judges the draft at the tail and makes the entry after it.
    fn next_entry(&self, tail: &Entry, draft: &Draft) -> Result<Entry, Refused> {
        let Some(member) = &self.member else { return Err(Refused::NotFound) };
        let policy = &tail.facts.policy;
        if !draft.kind.is_permitted(policy, member.role) {
            return Err(Refused::Forbidden);
        }
        let now = self.ports.now();
        let mut entry = Entry {
            conversation: self.conversation.clone(),
            position: Position::new(self.settings.epoch.max(tail.position.epoch), tail.position.seq.next()),
            sender: self.sender.clone(),
            client_message_id: draft.client_message_id.clone(),
            time: now,
            facts: draft.kind.facts_after(&tail.facts, tail.sender == *self.sender),
            kind: draft.kind.clone(),
        };
        if self.settings.limits.admission == AdmissionLimit::PerConversation && draft.kind.is_admitted_by_rate() {
            match tail.facts.bucket.admit(self.settings.keys.users.sender(self.sender), entry.stored_bytes(), now, policy.admitted_per_s) {
                Admission::Admitted(bucket) => entry.facts.bucket = bucket,
                Admission::Wait { retry_after_ms } => return Err(Refused::RateLimited { retry_after_ms }),
            }
        }
        Ok(entry)
    }

    /// Reads again from the tail: never one slot after the other, which livelocks. `seen` is the occupant of tail + 1, if known.
    async fn catch_up(&mut self, tail: Position, seen: Option<Entry>) -> Result<(), Refused> {
        let bound = self.settings.limits.anchor;
        let Run::Whole(entries) = read_run(self.ports, self.conversation, tail.seq, window_bound(bound)).await? else {
            return Err(Refused::PositionTooOld);
        };
        match entries.first() {
            Some(first) if first.position == tail => {}
            Some(_) | None => return Err(Refused::PositionTooOld), // the log was cut under this writer
        }
        if entries.len() > bound.entries_max.saturating_add(1) {
            return self.anchor_stale().await;
        }
        let changed = self.window.tail().map(|tail| tail.facts.membership_changed);
        self.window.0.extend(entries.into_iter().skip(1));
        if let Some(occupant) = seen
            && self.window.tail().is_some_and(|now| now.position.seq < occupant.position.seq)
        {
            self.window.0.push(occupant); // L1: never claim a slot below an entry that was seen
        }
        if self.window.tail().map(|tail| tail.facts.membership_changed) != changed {
            // A new entry touches somebody's rights: mine may be among them (two admins demote each other).
            self.member = self.ports.member(self.conversation, self.sender).await?;
            self.settle_member().await?;
        }
        Ok(())
    }
}

/// The entries that an anchor may be behind, the anchor's own, and one more by which more are noticed.
const fn window_bound(bound: AnchorBound) -> ReadBound {
    ReadBound { entries_max: bound.entries_max.saturating_add(2), bytes_max: bound.bytes_max.saturating_add(ANCHOR_ENTRY_BYTES) }
}

/// Consecutive entries of the log, up to the tail as it was read.
#[derive(Debug)]
struct Window(Vec<Entry>);

impl Window {
    fn tail(&self) -> Option<&Entry> {
        self.0.last()
    }

    fn reaches_down_to(&self, seq: Seq) -> bool {
        self.0.first().is_some_and(|first| first.position.seq <= seq)
    }

    fn at(&self, seq: Seq) -> Option<&Entry> {
        let first = self.0.first()?.position.seq;
        self.0.get(usize::try_from(seq.get().checked_sub(first.get())?).ok()?)
    }

    fn after(&self, seq: Seq) -> &[Entry] {
        let start = self.0.partition_point(|entry| entry.position.seq <= seq);
        &self.0[start..]
    }
}
