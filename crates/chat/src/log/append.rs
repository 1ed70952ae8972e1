//! Anchored append: the one way in which an entry enters a log that exists.
//!
//! A draft carries an *anchor*, the highest position that its client knew when it made the draft: nothing up to there can hold it.
//! The writer sees every entry after the anchor, and claims the slot after the last one by a conditional put. Slots never change
//! hands, so an earlier success of the same message is always seen before a second could be written: no clock, no lock, no transaction.
//!
//! The steps, in this order: read the member's row, then the log from the anchor, then the row again where the log may be newer
//! ([`super::recheck`]); look for the sender's own entry; judge it at the tail and store it at tail + 1 ([`super::draft`]); if another was faster,
//! read again *from the tail* and look again. Models found that every other order fails (removal against send, stale rows, restores) or
//! tells strangers what exists (the log first). Work is bounded: one window of entries, six puts.

use chatlane_protocol::{ConversationId, Entry as WireEntry, Position, Seq, UserId};

use super::anchor::judge;
use super::draft::{Behind, Draft, Drafted, Tried};
use super::entry::Entry;
use crate::allowance::Allowance;
use crate::ports::{Clock, Member, Membership, Memberships, MessageLog, Put, ReadBound, Run, Span, last, read_run};
use crate::refusal::{Distance, Refused};
use crate::settings::{AnchorBound, Settings};

/// Puts of one message before `busy`: each lost one means that somebody else's entry got in.
pub const ATTEMPTS_MAX: usize = 6;

/// What became of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// Stored by this call.
    New(Entry),
    /// Stored by an earlier attempt (L2).
    Duplicate(Entry),
    /// The sender used the id for this entry, which says something else.
    Conflict(Entry),
    /// It would change nothing; nothing was stored.
    Unchanged,
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
    /// When the row was first asked for.
    asked_ms: u64,
    puts: usize,
}

impl<'a, P: MessageLog + Memberships + Clock> Appender<'a, P> {
    /// An appender that has read nothing yet.
    pub fn new(ports: &'a P, settings: &'a Settings, conversation: &'a ConversationId, sender: &'a UserId) -> Self {
        let (window, stored) = (Window(vec![]), vec![]);
        Self { ports, settings, conversation, sender, window, stored, member: None, asked_ms: 0, puts: 0 }
    }

    /// How often it has tried to put so far.
    pub const fn puts(&self) -> usize {
        self.puts
    }

    /// Appends the draft, or finds it. The module's text says how.
    pub async fn append<K: Drafted<P>>(&mut self, draft: &Draft<K>) -> Result<Appended, Refused> {
        let frame_bytes = WireEntry::live_frame_bytes_max(self.conversation, self.sender, &draft.client_message_id, draft.kind.to_wire());
        if frame_bytes > self.settings.limits.entry_bytes_max {
            return Err(Refused::TooLarge { frame_bytes });
        }
        self.look_from(draft.anchor).await?;
        if self.member.is_none() {
            // Removed meanwhile: who is no member any more still learns where an own entry is.
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
            let member = self.member.as_ref().ok_or(Refused::NotFound)?;
            let behind = Behind { settings: self.settings, tail, member, client_message_id: &draft.client_message_id };
            self.puts += 1;
            let occupant = match draft.kind.store(self.ports, behind).await? {
                Tried::Nothing => return Ok(Appended::Unchanged),
                Tried::Put(entry, Put::Stored) => {
                    self.stored.push(entry.position.seq);
                    self.window.0.push(entry.clone());
                    return Ok(Appended::New(entry));
                }
                Tried::Put(_, Put::Taken(occupant)) => Some(*occupant),
                Tried::Put(_, Put::Contended) => None,
                Tried::Taken(occupant) => Some(occupant),
            };
            match occupant {
                // L2: my own put, whose answer was lost and which the SDK sent again.
                Some(occupant) if occupant.is_from(self.sender, &draft.client_message_id) => self.window.0.push(occupant),
                occupant => self.catch_up(tail_position, occupant).await?,
            }
        }
        self.own(draft).ok_or(Refused::Busy)
    }

    /// Sees to it that the window reaches from the anchor inclusive to the tail, and that the sender's row holds at the tail (M1).
    async fn look_from(&mut self, anchor: Position) -> Result<(), Refused> {
        let from = anchor.seq.max(Seq::FIRST);
        match self.window.first() {
            None => self.look_first(from, anchor).await,
            Some(lowest) if lowest > from => self.look_lower(from, lowest, anchor).await,
            Some(_) => Ok(()),
        }
    }

    async fn look_first(&mut self, from: Seq, anchor: Position) -> Result<(), Refused> {
        self.asked_ms = self.ports.steady_ms();
        let row = match self.ports.member(self.conversation, self.sender).await? {
            None => match self.ports.memberships(self.conversation, std::slice::from_ref(self.sender)).await?.pop() {
                Some(Membership { member: Some(row), .. }) => Some(row),
                Some(Membership { spans, .. }) => return self.look_within(anchor, spans.last()).await,
                None => None,
            },
            row => row,
        };
        self.member = Some(row.ok_or(Refused::NotFound)?);
        let run = read_run(self.ports, self.conversation, from, self.window_behind(anchor)).await?;
        self.settle_member(run.last()).await?;
        match run {
            Run::Whole(entries) => self.window = Window(entries),
            Run::Broken(_) if self.member.is_some() => return Err(Refused::PositionTooOld),
            Run::Broken(_) => {}
        }
        Ok(())
    }

    /// Who is no member any more still learns where an own entry is that they wrote while they were one. R1: of who never was, nothing is read
    /// that depends on whether the conversation exists.
    async fn look_within(&mut self, anchor: Position, span: Option<&Span>) -> Result<(), Refused> {
        let from = anchor.seq.max(Seq::FIRST);
        let end = span.filter(|span| span.end.seq >= from).ok_or(Refused::NotFound)?.end;
        if let Run::Whole(mut entries) = read_run(self.ports, self.conversation, from, self.window_behind(anchor)).await? {
            entries.retain(|entry| entry.position.seq <= end.seq);
            self.window = Window(entries);
        }
        Ok(())
    }

    /// Reads the row again if it may not hold at `last`, the highest entry that was read (M1).
    async fn settle_member(&mut self, last: Option<&Entry>) -> Result<(), Refused> {
        let apart_ms = self.ports.steady_ms().saturating_sub(self.asked_ms);
        if self.member.as_ref().is_some_and(|row| self.settings.limits.recheck.is_due(row.version, last, apart_ms)) {
            self.member = self.ports.member_consistent(self.conversation, self.sender).await?;
        }
        Ok(())
    }

    /// Reads what lies between the anchor and the window, which stays: 25 anchors, each lower than the one before, are one window in all.
    async fn look_lower(&mut self, from: Seq, lowest: Seq, anchor: Position) -> Result<(), Refused> {
        let wanted = usize::try_from(lowest.get() - from.get()).unwrap_or(usize::MAX);
        let had = usize::from(anchor.seq > Seq::ZERO);
        let bound = self.window_behind(anchor);
        let bound = ReadBound { entries_max: bound.entries_max.min(wanted - had), ..bound };
        let Run::Whole(mut entries) = read_run(self.ports, self.conversation, from, bound).await? else {
            return Err(Refused::PositionTooOld);
        };
        if entries.len() == wanted {
            entries.append(&mut self.window.0);
        } else if !bound.is_reached_by(&entries) {
            return Err(Refused::PositionTooOld);
        } // else the anchor is stale: a part of the window is enough to see that
        self.window = Window(entries);
        Ok(())
    }

    /// The entries that an anchor may be behind, and one more by which more are noticed; the anchor's own comes with them.
    fn window_behind(&self, anchor: Position) -> ReadBound {
        let AnchorBound { entries_max, bytes_max } = self.settings.limits.anchor;
        ReadBound { bytes_max, ..ReadBound::entries(entries_max.saturating_add(1)) }.behind(anchor.seq > Seq::ZERO)
    }

    /// The anchor's entry exists, in its epoch, and is near enough.
    async fn check_anchor(&mut self, anchor: Position) -> Result<(), Refused> {
        if anchor.seq > Seq::ZERO {
            let occupant = self.window.at(anchor.seq).map(|entry| entry.position);
            judge(self.ports, self.settings.epoch, self.conversation, anchor, occupant, &Allowance::of(1)).await?;
        }
        let others = || self.window.after(anchor.seq).iter().filter(|entry| !self.stored.contains(&entry.position.seq));
        let bytes: usize = others().map(Entry::stored_bytes).sum();
        if others().count() > self.settings.limits.anchor.entries_max || bytes > self.settings.limits.anchor.bytes_max {
            return self.anchor_stale(others().count()).await;
        }
        Ok(())
    }

    /// So many entries, or too many bytes, are behind the anchor. The client goes on from the end of the log, which the window may not reach.
    async fn anchor_stale(&mut self, entries: usize) -> Result<(), Refused> {
        let last = last(self.ports, self.conversation).await?;
        self.settle_member(last.as_ref()).await?;
        if self.member.is_none() {
            return Err(Refused::NotFound);
        }
        let AnchorBound { entries_max, bytes_max } = self.settings.limits.anchor;
        let more_than = if entries > entries_max { Distance::Entries(entries_max) } else { Distance::Bytes(bytes_max) };
        Err(Refused::AnchorStale { tail: last.map_or(Position::ZERO, |last| last.position), more_than })
    }

    /// The sender's entry of this id, if the window holds it.
    fn own<K: Drafted<P>>(&self, draft: &Draft<K>) -> Option<Appended> {
        let entry = self.window.0.iter().find(|entry| entry.is_from(self.sender, &draft.client_message_id))?.clone();
        Some(if draft.kind.is_the_same_as(&entry.kind) { Appended::Duplicate(entry) } else { Appended::Conflict(entry) })
    }

    /// Reads again from the tail: never one slot after the other, which livelocks. `seen` is the occupant of tail + 1, if known.
    async fn catch_up(&mut self, tail: Position, seen: Option<Entry>) -> Result<(), Refused> {
        let bound = self.window_behind(tail);
        let Run::Whole(entries) = read_run(self.ports, self.conversation, tail.seq, bound).await? else {
            return Err(Refused::PositionTooOld);
        };
        match entries.first() {
            Some(first) if first.position == tail => {}
            Some(_) | None => return Err(Refused::PositionTooOld), // the log was cut under this writer
        }
        if bound.is_reached_by(&entries) {
            return self.anchor_stale(entries.len() - 1).await;
        }
        let changed = self.window.tail().map(|tail| tail.facts.membership_changed);
        self.window.0.extend(entries.into_iter().skip(1));
        if let Some(occupant) = seen
            && self.window.tail().is_some_and(|now| now.position.seq < occupant.position.seq)
        {
            self.window.0.push(occupant); // L1: never claim a slot below an entry that was seen
        }
        if self.window.tail().map(|tail| tail.facts.membership_changed) != changed {
            // A new entry touches somebody's rights: mine may be among them (an owner demotes me).
            self.member = self.ports.member_consistent(self.conversation, self.sender).await?;
        }
        Ok(())
    }
}

/// Consecutive entries of the log, up to the tail as it was read.
#[derive(Debug)]
struct Window(Vec<Entry>);

impl Window {
    fn tail(&self) -> Option<&Entry> {
        self.0.last()
    }

    fn first(&self) -> Option<Seq> {
        Some(self.0.first()?.position.seq)
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
