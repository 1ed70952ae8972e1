//! Anchored append: the one way in which a message enters a log.
//!
//! A message carries an *anchor*, the highest position that its client knew when it made the message: nothing up to there can hold it.
//! The writer sees every entry after the anchor, and claims the slot after the last one by a conditional put. Slots never change
//! hands, so an earlier success of the same message is always seen before a second could be written: no clock, no lock, no transaction.
//!
//! The steps, in this order, close the holes that models found (removal against send, stale rows, restores): read the log from the
//! anchor, then the member's row; look for the sender's own message; judge rights and admission at the tail; put at tail + 1; if another
//! was faster, read again *from the tail* and look again. Work is bounded: one window of entries, six puts.

use chatlane_protocol::request::NewMessage;
use chatlane_protocol::{ConversationId, Entry as WireEntry, ErrorCode, Position, Refusal, Seq, UserId};

use crate::log::admission::{Admission, Bucket};
use crate::log::anchor::{BadPosition, judge};
use crate::log::entry::{BodyHash, Entry, Facts, Kind, sender_hash};
use crate::ports::{Clock, Member, Memberships, MessageLog, Put, ReadBound, Run, Unavailable};
use crate::settings::{AdmissionLimit, Settings};

/// Puts of one message before `busy`: each lost one means that somebody else's entry got in.
pub const ATTEMPTS_MAX: usize = 6;

/// When to come back after `busy`.
pub const BUSY_RETRY_AFTER_MS: u64 = 100;

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

/// Why a message was not stored by this call. Nothing was changed, but by an `Unavailable` put.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No such conversation, or not for this user.
    #[error("no such conversation")]
    NotFound,
    /// The policy at the tail.
    #[error("the conversation does not take messages from this member")]
    Forbidden,
    /// The live frame.
    #[error("the entry's live frame would have {frame_bytes} bytes")]
    TooLarge {
        /// As encoded.
        frame_bytes: usize,
    },
    /// No entry of this conversation.
    #[error("the anchor names no entry of this conversation")]
    AnchorUnknown,
    /// Too far behind.
    #[error("the anchor is too far behind the tail")]
    AnchorStale {
        /// Where the log ends.
        tail: Position,
    },
    /// The log has a gap after the anchor.
    #[error("entries after the anchor are gone")]
    AnchorTooOld,
    /// From before a restore.
    #[error("the log was restored since")]
    EpochChanged {
        /// The last position before the first entry of a later epoch.
        common: Position,
    },
    /// Admission.
    #[error("the conversation takes no more messages for the moment")]
    RateLimited {
        /// When there will be a token.
        retry_after_ms: u64,
    },
    /// Others were faster.
    #[error("others were faster {ATTEMPTS_MAX} times in a row")]
    Busy,
    /// The backend.
    #[error("the outcome is unknown; retry with the same client message id")]
    Unavailable(#[from] Unavailable),
}

impl From<BadPosition> for Refused {
    fn from(bad: BadPosition) -> Self {
        match bad {
            BadPosition::Unknown => Self::AnchorUnknown,
            BadPosition::TooOld => Self::AnchorTooOld,
            BadPosition::EpochChanged { common } => Self::EpochChanged { common },
            BadPosition::Unavailable(unavailable) => Self::Unavailable(unavailable),
        }
    }
}

impl Refused {
    /// The one place where refusals of a message become codes.
    pub fn to_wire(&self) -> Refusal {
        let refusal = |code| Refusal::new(code, self.to_string());
        match self {
            Self::NotFound => refusal(ErrorCode::NotFound),
            Self::Forbidden => refusal(ErrorCode::Forbidden),
            Self::TooLarge { .. } => refusal(ErrorCode::TooLarge),
            Self::AnchorUnknown => refusal(ErrorCode::AnchorUnknown),
            Self::AnchorStale { tail } => Refusal { tail: Some(*tail), ..refusal(ErrorCode::AnchorStale) },
            Self::AnchorTooOld => refusal(ErrorCode::AnchorTooOld),
            Self::EpochChanged { common } => Refusal { common: Some(*common), ..refusal(ErrorCode::EpochChanged) },
            Self::RateLimited { retry_after_ms } => refusal(ErrorCode::RateLimited).after_ms(*retry_after_ms),
            Self::Busy => refusal(ErrorCode::Busy).after_ms(BUSY_RETRY_AFTER_MS),
            Self::Unavailable(_) => refusal(ErrorCode::Unavailable).after_ms(BUSY_RETRY_AFTER_MS),
        }
    }
}

/// One sender's view of one lane, for the length of one request. Messages of a batch share what was read.
#[derive(Debug)]
pub struct Lane<'a, S, C> {
    store: &'a S,
    clock: &'a C,
    settings: &'a Settings,
    conversation: &'a ConversationId,
    sender: &'a UserId,
    window: Window,
    /// What this call put, which is no reason to call an anchor stale.
    stored: Vec<Seq>,
    member: Option<Member>,
}

impl<'a, S: MessageLog + Memberships, C: Clock> Lane<'a, S, C> {
    /// A view that has read nothing yet.
    pub const fn new(store: &'a S, clock: &'a C, settings: &'a Settings, conversation: &'a ConversationId, sender: &'a UserId) -> Self {
        Self { store, clock, settings, conversation, sender, window: Window(Vec::new()), stored: Vec::new(), member: None }
    }

    /// Appends the message, or finds it. The module's text says how.
    pub async fn append(&mut self, message: &NewMessage) -> Result<Appended, Refused> {
        let id = &message.client_message_id;
        let frame_bytes = WireEntry::live_frame_bytes_max(self.conversation, self.sender, id, &message.body);
        if frame_bytes > self.settings.entry_bytes_max {
            return Err(Refused::TooLarge { frame_bytes });
        }
        let hash = BodyHash::of(&message.body, &self.settings.dedupe_key);

        self.look_from(message.anchor).await?;
        if self.member.is_none() {
            // M1: a removed member still learns where an own entry is; everybody else learns nothing (R1).
            return match self.own(message, hash) {
                Some(found) => Ok(found),
                None => Err(Refused::NotFound),
            };
        }
        self.check_anchor(message.anchor).await?;

        for _ in 0..ATTEMPTS_MAX {
            if let Some(found) = self.own(message, hash) {
                return Ok(found);
            }
            let Some(tail) = self.window.tail() else {
                return Err(Refused::Busy); // the row of a conversation whose creation is half seen
            };
            let tail_position = tail.position;
            let entry = self.next_entry(tail, message, hash)?;
            match self.store.put(&entry).await? {
                Put::Stored => {
                    self.stored.push(entry.position.seq);
                    self.window.0.push(entry.clone());
                    return Ok(Appended::New(entry));
                }
                Put::Taken(occupant) => {
                    // L2: also my own put, when its answer was lost and the SDK sent it again.
                    let mine = occupant.is_from(self.sender, id);
                    if mine {
                        self.window.0.push(*occupant);
                    } else {
                        self.catch_up(tail_position, Some(*occupant)).await?;
                    }
                }
                Put::Contended => self.catch_up(tail_position, None).await?,
            }
        }
        match self.own(message, hash) {
            Some(found) => Ok(found),
            None => Err(Refused::Busy),
        }
    }

    /// Reads the log from the anchor inclusive, unless the window holds it, then the sender's row. In this order: row first lets a
    /// removed member with a guessed anchor write after their own removal (M1).
    async fn look_from(&mut self, anchor: Position) -> Result<(), Refused> {
        let from = anchor.seq.max(Seq::FIRST);
        if !self.window.reaches_down_to(from) {
            let bound = self.settings.anchor;
            let read = ReadBound {
                entries_max: bound.entries_max.saturating_add(2),
                bytes_max: bound.bytes_max.saturating_add(ANCHOR_ENTRY_BYTES),
            };
            let run = self.store.read_run(self.conversation, from, read).await?;
            self.member = self.store.member(self.conversation, self.sender).await?;
            let (entries, broken) = match run {
                Run::Whole(entries) => (entries, false),
                Run::Broken => (Vec::new(), true),
            };
            self.window = Window(entries);
            self.settle_member().await?;
            if broken && self.member.is_some() {
                return Err(Refused::AnchorTooOld);
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
            self.member = self.store.settled_member(self.conversation, self.sender).await?;
        }
        Ok(())
    }

    /// The anchor's entry exists, in its epoch, and is near enough.
    async fn check_anchor(&self, anchor: Position) -> Result<(), Refused> {
        if anchor.seq > Seq::ZERO {
            let occupant = self.window.at(anchor.seq).map(|entry| entry.position);
            judge(self.store, self.settings.epoch, self.conversation, anchor, occupant).await?;
        }
        let others = || self.window.after(anchor.seq).iter().filter(|entry| !self.stored.contains(&entry.position.seq));
        let bytes: usize = others().map(Entry::stored_bytes).sum();
        if others().count() > self.settings.anchor.entries_max || bytes > self.settings.anchor.bytes_max {
            return self.anchor_stale().await;
        }
        Ok(())
    }

    /// The client goes on from the end of the log, which the window may not reach.
    async fn anchor_stale(&self) -> Result<(), Refused> {
        let tail = self.store.last(self.conversation).await?.map_or(Position::ZERO, |last| last.position);
        Err(Refused::AnchorStale { tail })
    }

    /// The sender's entry of this id, if the window holds it.
    fn own(&self, message: &NewMessage, hash: BodyHash) -> Option<Appended> {
        let entry = self.window.0.iter().find(|entry| entry.is_from(self.sender, &message.client_message_id))?;
        Some(match &entry.kind {
            Kind::Message { hash: first, .. } if *first == hash => Appended::Duplicate(entry.clone()),
            Kind::Message { .. } | Kind::Created { .. } | Kind::Later => Appended::Conflict(entry.clone()),
        })
    }

    /// Judges the message at the tail and makes the entry after it.
    fn next_entry(&self, tail: &Entry, message: &NewMessage, hash: BodyHash) -> Result<Entry, Refused> {
        let Some(member) = &self.member else { return Err(Refused::NotFound) };
        let policy = tail.facts.policy;
        if !policy.permits_sending(member.role) {
            return Err(Refused::Forbidden);
        }
        let now = self.clock.now();
        let bucket = match self.settings.admission {
            AdmissionLimit::Off => tail.facts.bucket.clone(),
            AdmissionLimit::PerConversation => match tail.facts.bucket.admit(sender_hash(self.sender), now, policy.admitted_per_s) {
                Admission::Admitted(bucket) => bucket,
                Admission::Wait { retry_after_ms } => return Err(Refused::RateLimited { retry_after_ms }),
            },
        };
        Ok(Entry {
            conversation: self.conversation.clone(),
            position: Position::new(self.settings.epoch.max(tail.position.epoch), tail.position.seq.next()),
            sender: self.sender.clone(),
            client_message_id: message.client_message_id.clone(),
            time: now,
            kind: Kind::Message { body: message.body.clone(), hash },
            facts: tail.facts.after_message(bucket),
        })
    }

    /// Reads again from the tail: never one slot after the other, which livelocks. `seen` is the occupant of tail + 1, if known.
    async fn catch_up(&mut self, tail: Position, seen: Option<Entry>) -> Result<(), Refused> {
        let bound = self.settings.anchor;
        let read =
            ReadBound { entries_max: bound.entries_max.saturating_add(2), bytes_max: bound.bytes_max.saturating_add(ANCHOR_ENTRY_BYTES) };
        let Run::Whole(entries) = self.store.read_run(self.conversation, tail.seq, read).await? else {
            return Err(Refused::AnchorTooOld);
        };
        match entries.first() {
            Some(first) if first.position == tail => {}
            Some(_) | None => return Err(Refused::AnchorTooOld), // the log was cut under this writer
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
            self.member = self.store.member(self.conversation, self.sender).await?;
            self.settle_member().await?;
        }
        Ok(())
    }
}

impl Facts {
    /// After one more message.
    fn after_message(&self, bucket: Bucket) -> Self {
        Self { count: self.count + 1, bucket, ..self.clone() }
    }
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
