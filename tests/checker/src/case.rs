//! Both inputs together, and what they say about a position, a message, a conversation.

use std::collections::HashMap;

use crate::dump::{Entry, Kind, Tables};
use crate::fold::Fold;
use crate::history::{Device, History, Line, Sight, Status, What};
use crate::standing::Standing;
use crate::words::{Message, Name, Names, Position};

/// What is to be judged.
#[derive(Debug)]
pub(crate) struct Case {
    pub names: Names,
    pub history: History,
    pub tables: Tables,
    /// Of the entries in the tables: the first one of each message.
    places: HashMap<Message, Position>,
    /// The answers that name a position, in their order.
    pub claims: Vec<Claim>,
    restores: Vec<Restore>,
    /// Who belongs to each conversation at its end, where the log says so.
    standings: HashMap<Name, Standing>,
    /// What was done to the messages of each conversation whose log has all its entries.
    folds: HashMap<Name, Fold>,
}

/// Some answer has said that a message is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub message: Message,
    pub position: Position,
    pub count: Option<u64>,
    pub time: Option<u64>,
    /// Whether it is an acknowledgement.
    pub acknowledged: bool,
    /// Whether it tells the sender that the message is stored, so that it is not sent again: acknowledged, or found.
    pub settles: bool,
    /// The index of its line.
    pub index: usize,
    pub line: usize,
}

#[derive(Debug)]
struct Restore {
    epoch: u64,
    tails: Option<HashMap<Name, u64>>,
}

/// What has become of the entry at a position that somebody has named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in the log.
    Stored,
    /// A restore has taken it back.
    TakenBack,
    /// It is not in the log, and should be.
    Missing,
}

impl Case {
    pub(crate) fn new(names: Names, history: History, tables: Tables) -> Self {
        let mut places = HashMap::new();
        for entry in tables.logs.values().flatten() {
            places.entry(entry.message).or_insert(entry.position);
        }
        let standings = tables.logs.iter().filter_map(|(conversation, log)| Some((*conversation, standing(log)?))).collect();
        let folds = tables.logs.iter().filter(|(_, log)| is_whole(log)).map(|(conversation, log)| (*conversation, Fold::of(log))).collect();
        let mut case = Self { names, history, tables, places, claims: vec![], restores: vec![], standings, folds };
        for (index, Line { number: line, what, .. }) in case.history.lines.iter().enumerate() {
            match what {
                What::Outcome(outcome) => {
                    let (position, acknowledged, settles) = match outcome.status {
                        Status::Acknowledged(position) => (position, true, true),
                        Status::Found(position) => (position, false, true),
                        Status::Conflict(position) => (position, false, false),
                        Status::Refused(_) | Status::NotAttempted | Status::Unchanged => continue,
                    };
                    let (message, count, time) = (outcome.message, outcome.count, outcome.time);
                    case.claims.push(Claim { message, position, count, time, acknowledged, settles, index, line: *line });
                }
                What::Restored { epoch, tails } => case.restores.push(Restore { epoch: *epoch, tails: tails.clone() }),
                _ => {}
            }
        }
        case
    }

    /// The lines of devices, with their index.
    pub(crate) fn of_devices(&self) -> impl Iterator<Item = (usize, &Line, Device)> {
        self.history.lines.iter().enumerate().filter_map(|(index, line)| Some((index, line, line.device?)))
    }

    /// The lines that tell of an entry, one by one: of `shown`, `older`, and the transcripts of `end`.
    pub(crate) fn sights(&self) -> impl Iterator<Item = (&Line, Device, &Sight)> {
        self.of_devices().flat_map(|(_, line, device)| {
            let (one, transcripts) = match &line.what {
                What::Shown(sight) | What::Older(sight) => (Some(sight), &[][..]),
                What::End { transcripts, .. } => (None, transcripts.as_slice()),
                _ => (None, &[][..]),
            };
            one.into_iter().chain(transcripts.iter().flat_map(|kept| &kept.entries)).map(move |sight| (line, device, sight))
        })
    }

    pub(crate) fn text(&self, name: Name) -> &str {
        self.names.text(name)
    }

    /// The entry in a slot.
    pub(crate) fn slot(&self, conversation: Name, seq: u64) -> Option<&Entry> {
        let log = self.tables.logs.get(&conversation)?;
        let at = log.partition_point(|entry| entry.position.seq < seq);
        log.get(at).filter(|entry| entry.position.seq == seq)
    }

    /// The entry at exactly this position.
    pub(crate) fn entry(&self, conversation: Name, position: Position) -> Option<&Entry> {
        self.slot(conversation, position.seq).filter(|entry| entry.position == position)
    }

    /// Where the entry of a message is.
    pub(crate) fn place(&self, message: &Message) -> Option<Position> {
        self.places.get(message).copied()
    }

    pub(crate) fn is_restored(&self) -> bool {
        !self.restores.is_empty()
    }

    /// Whether a position is of an epoch that a restore has ended.
    pub(crate) fn is_from_before(&self, position: Position) -> bool {
        self.restores.iter().any(|restore| restore.epoch > position.epoch)
    }

    /// A restore may have taken an entry back if it raised the epoch above the entry's, if the backup did not have the entry (as far as the
    /// history says what it had), and if the log goes on, from the entry's slot, in a later epoch, or not at all.
    pub(crate) fn fate(&self, conversation: Name, position: Position) -> Fate {
        let slot = self.slot(conversation, position.seq).map(|entry| entry.position.epoch);
        let tail = |restore: &Restore| restore.tails.as_ref().map(|tails| tails.get(&conversation).copied().unwrap_or_default());
        let lost = |restore: &Restore| restore.epoch > position.epoch && tail(restore).is_none_or(|tail| tail < position.seq);
        if slot == Some(position.epoch) {
            Fate::Stored
        } else if slot.is_none_or(|epoch| epoch > position.epoch) && self.restores.iter().any(lost) {
            Fate::TakenBack
        } else {
            Fate::Missing
        }
    }

    /// Who belongs to a conversation at the end of its log, and what holds there; if the log says so: it has all its entries, and none of a
    /// kind that this program does not know.
    pub(crate) fn standing(&self, conversation: Name) -> Option<&Standing> {
        self.standings.get(&conversation)
    }

    /// What was done to the messages of a conversation, if its log has all its entries.
    pub(crate) fn fold(&self, conversation: Name) -> Option<&Fold> {
        self.folds.get(&conversation)
    }

    /// Whether it is of two users, none of whom ever leaves.
    pub(crate) fn is_direct(&self, conversation: Name) -> bool {
        self.slot(conversation, 1).is_none_or(|first| matches!(first.kind, Kind::Created(_)))
    }

    /// Whether the log says that this user is a member in the end.
    pub(crate) fn is_member(&self, conversation: Name, user: Name) -> bool {
        self.standing(conversation).is_some_and(|standing| standing.members.contains_key(&user))
    }

    /// Whether the log says that this user is no member, and never was.
    pub(crate) fn is_stranger(&self, conversation: Name, user: Name) -> bool {
        self.standing(conversation).is_some_and(|standing| !standing.knows(user))
    }

    /// A position of a conversation, for people.
    pub(crate) fn at(&self, conversation: Name, position: Position) -> String {
        format!("{position} of {}", self.text(conversation))
    }

    /// A message, for people.
    pub(crate) fn message(&self, message: &Message) -> String {
        format!("`{}` of {} in {}", self.text(message.id), self.text(message.sender), self.text(message.conversation))
    }
}

fn is_whole(log: &[Entry]) -> bool {
    log.iter().map(|entry| entry.position.seq).eq(1..=log.len() as u64)
}

/// At the end of a log.
fn standing(log: &[Entry]) -> Option<Standing> {
    let mut standing = Standing::of_first(log.first().filter(|first| first.position.seq == 1)?)?;
    // Nothing that is missing in a direct conversation changes who belongs to it.
    let is_known = is_whole(log) || log.iter().skip(1).all(|entry| matches!(entry.kind, Kind::Message(_) | Kind::Created(_)));
    log.iter().skip(1).try_for_each(|entry| standing.follow(entry))?;
    is_known.then_some(standing)
}
