//! One conversation of the model server: its log, its head, its members' cursors. The rules are those of DESIGN §3 and §4, with bounds so
//! small that a short script meets them.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_protocol::frames::{CursorOutcome, Found, Stored};
use chatlane_protocol::{
    ClientMessageId, ConversationId, DeviceId, Entry, EntryKind, ErrorCode, NewMessage, Outcome, Position, Refusal, Seq, UnixMillis, UserId,
};

/// One entry's live frame: small, so that a long message is `too_large`.
pub const ENTRY_BYTES_MAX: usize = 700;

/// Entries that an anchor may be behind: small, so that `anchor_stale` is an everyday thing.
pub const ANCHOR_ENTRIES_MAX: usize = 8;

/// Entries that one `probe` looks through.
pub const PROBE_ENTRIES_MAX: usize = 4;

/// A conversation of two.
#[derive(Clone, Debug)]
pub struct Lane {
    pub id: ConversationId,
    pub members: [UserId; 2],
    /// Entry n is at n − 1.
    pub entries: Vec<Entry>,
    /// The highest position whose delivery has begun.
    pub head: Position,
    cursors: BTreeMap<UserId, Cursors>,
}

/// How far one member is.
#[derive(Clone, Debug, Default)]
pub struct Cursors {
    pub read: Position,
    pub delivered: BTreeMap<DeviceId, Position>,
}

impl Cursors {
    pub fn furthest(&self) -> Position {
        self.delivered.values().copied().max().unwrap_or_default().max(self.read)
    }
}

/// What is between a message and the log, for the moment.
#[derive(Clone, Debug, Default)]
pub struct Strain {
    /// So many messages are refused with this.
    pub refusals: Option<(ErrorCode, u32)>,
}

impl Strain {
    fn take(&mut self) -> Option<Refusal> {
        let (code, left) = self.refusals.take()?;
        self.refusals = (left > 1).then_some((code, left - 1));
        let refusal = Refusal::new(code, "as the script wants it");
        Some(if code.retryable() { refusal.after_ms(200) } else { refusal })
    }
}

impl Lane {
    pub fn create(id: ConversationId, members: [UserId; 2], by: &UserId, name: ClientMessageId, epoch: u32, now: UnixMillis) -> Self {
        let created = Entry {
            position: Position::new(epoch, Seq::FIRST),
            sender: by.clone(),
            client_message_id: name,
            time_ms: now,
            count: 0,
            kind: EntryKind::Created { members: members.to_vec() },
        };
        Self { id, members, entries: vec![created], head: Position::ZERO, cursors: BTreeMap::new() }
    }

    pub fn at(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(usize::try_from(seq.get().checked_sub(1)?).ok()?)
    }

    pub fn has(&self, position: Position) -> bool {
        self.at(position.seq).is_some_and(|entry| entry.position == position)
    }

    pub fn tail(&self) -> Position {
        self.entries.last().map_or(Position::ZERO, |entry| entry.position)
    }

    pub fn count_at(&self, position: Position) -> u64 {
        self.at(position.seq).map_or(0, |entry| entry.count)
    }

    pub fn cursors(&self, user: &UserId) -> Cursors {
        self.cursors.get(user).cloned().unwrap_or_default()
    }

    pub fn other(&self, user: &UserId) -> &UserId {
        if self.members[0] == *user { &self.members[1] } else { &self.members[0] }
    }

    /// At most `max` entries after this seq, and whether that was all.
    pub fn after(&self, seq: Seq, max: usize) -> (&[Entry], bool) {
        let begin = usize::try_from(seq.get()).unwrap_or(usize::MAX).min(self.entries.len());
        let all = &self.entries[begin..];
        (&all[..all.len().min(max)], all.len() <= max)
    }

    /// Whether a position is one of this log's (`chat::anchor`).
    pub fn judge(&self, epoch: u32, named: Position) -> Result<(), Refusal> {
        match self.at(named.seq).map(|entry| entry.position) {
            Some(occupant) if occupant == named => Ok(()),
            Some(occupant) if occupant.epoch > named.epoch => Err(self.epoch_changed(named)),
            None if named.epoch < epoch => Err(self.epoch_changed(named)),
            Some(_) | None => Err(Refusal::new(ErrorCode::AnchorUnknown, "no such entry")),
        }
    }

    fn epoch_changed(&self, named: Position) -> Refusal {
        let common = self.entries.iter().map(|entry| entry.position).take_while(|position| position.epoch <= named.epoch).last();
        Refusal { common: Some(common.unwrap_or_default()), ..Refusal::new(ErrorCode::EpochChanged, "restored") }
    }

    /// Anchored append (DESIGN §3). There is no other protection against duplicates than the look from the anchor to the tail, as in the
    /// real server: a client that moves an anchor wrongly gets its duplicate. `written` are the seqs that this request has put before.
    pub fn append(
        &mut self,
        sender: &UserId,
        message: &NewMessage,
        epoch: u32,
        now: UnixMillis,
        written: &mut BTreeSet<Seq>,
        strain: &mut Strain,
    ) -> Outcome {
        let (id, anchor) = (&message.client_message_id, message.anchor);
        let refused = |code| Outcome::Refused(Refusal::new(code, "refused"));
        if Entry::live_frame_bytes_max(&self.id, sender, id, &message.body) > ENTRY_BYTES_MAX {
            return refused(ErrorCode::TooLarge);
        }
        if anchor.seq > Seq::ZERO
            && let Err(refusal) = self.judge(epoch, anchor)
        {
            return Outcome::Refused(refusal);
        }
        let (after, _) = self.after(anchor.seq, usize::MAX);
        if after.iter().filter(|entry| !written.contains(&entry.position.seq)).count() > ANCHOR_ENTRIES_MAX {
            return Outcome::Refused(Refusal { tail: Some(self.tail()), ..Refusal::new(ErrorCode::AnchorStale, "too far behind") });
        }
        if let Some(own) = after.iter().find(|entry| entry.sender == *sender && entry.client_message_id == *id) {
            let same = matches!(&own.kind, EntryKind::Message { body } if *body == message.body);
            return if same { Outcome::Duplicate(stored(own)) } else { Outcome::Conflict(stored(own)) };
        }
        if let Some(refusal) = strain.take() {
            return Outcome::Refused(refusal);
        }
        let tail = self.entries.last().map_or((Position::ZERO, 0), |entry| (entry.position, entry.count));
        let entry = Entry {
            position: Position::new(epoch.max(tail.0.epoch), tail.0.seq.next()),
            sender: sender.clone(),
            client_message_id: id.clone(),
            time_ms: now,
            count: tail.1 + 1,
            kind: EntryKind::Message { body: message.body.clone() },
        };
        written.insert(entry.position.seq);
        self.entries.push(entry.clone());
        Outcome::Ok(stored(&entry))
    }

    /// Looks through the entries after `anchor`.
    pub fn probe(&self, user: &UserId, anchor: Position, ids: &[ClientMessageId]) -> (Vec<Found>, Position, bool) {
        let (entries, done) = self.after(anchor.seq, PROBE_ENTRIES_MAX);
        let own = entries.iter().filter(|entry| entry.sender == *user && ids.contains(&entry.client_message_id));
        let found = own.map(|entry| Found { client_message_id: entry.client_message_id.clone(), stored: stored(entry) }).collect();
        (found, entries.last().map_or(anchor, |last| last.position), done)
    }

    /// Moves cursors (C1). Whether the other member sees a change.
    pub fn advance(&mut self, user: &UserId, device: DeviceId, epoch: u32, to: Position, read: bool) -> (CursorOutcome, bool) {
        if to.seq == Seq::ZERO {
            return (CursorOutcome::Refused(Refusal::new(ErrorCode::AnchorUnknown, "no such entry")), false);
        }
        if let Err(refusal) = self.judge(epoch, to) {
            return (CursorOutcome::Refused(refusal), false);
        }
        let cursors = self.cursors.entry(user.clone()).or_default();
        let before = (cursors.furthest(), cursors.read);
        let delivered = cursors.delivered.entry(device).or_default();
        *delivered = to.max(*delivered);
        if read {
            cursors.read = cursors.read.max(to);
        }
        (CursorOutcome::Ok, before != (cursors.furthest(), cursors.read))
    }

    /// As a backup from before the last `lost` entries would have it; without any entry it has no such conversation. How many were lost.
    pub fn restore(&mut self, lost: usize) -> usize {
        let before = self.entries.len();
        self.entries.truncate(before.saturating_sub(lost));
        let tail = self.tail();
        let back = |position: &mut Position| {
            if position.seq > tail.seq {
                *position = tail;
            }
        };
        back(&mut self.head);
        for cursors in self.cursors.values_mut() {
            back(&mut cursors.read);
            cursors.delivered.values_mut().for_each(back);
        }
        before - self.entries.len()
    }
}

fn stored(entry: &Entry) -> Stored {
    Stored { position: entry.position, time_ms: entry.time_ms, count: entry.count }
}
