//! What was checked, how often, and what was found.

use std::collections::BTreeMap;
use std::fmt;

/// A guarantee by its number in `docs/GUARANTEES.md`, and two that have none there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarantee {
    /// One log, the same for everybody.
    L1,
    /// One entry a message.
    L2,
    /// What is acknowledged is durable.
    L3,
    /// Every delivery is begun.
    L4,
    /// A device's messages keep their order.
    L5,
    /// Each entry is shown once, in order.
    D1,
    /// Who says hello misses nothing.
    D2,
    /// Cursors only move forward, over entries that exist.
    C1,
    /// Nobody writes or reads beyond their membership.
    M1,
    /// Bad input changes nothing, a stranger learns nothing.
    R1,
    /// Messages are counted exactly.
    Count,
    /// When faults stop, everything converges.
    Live,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Count => "count",
            Self::Live => "live",
            numbered => return write!(f, "{numbered:?}"),
        };
        f.write_str(name)
    }
}

macro_rules! checks {
    ($($name:ident: $guarantee:ident, $words:literal;)*) => {
        /// One kind of check. Each is counted for itself, so that one that had nothing to check is seen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $(#[doc = $words] $name,)*
        }

        impl Check {
            /// All of them, by guarantee.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The guarantee that it is about.
            pub const fn guarantee(self) -> Guarantee {
                match self { $(Self::$name => Guarantee::$guarantee),* }
            }

            /// What was counted.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words),* }
            }
        }
    };
}

checks! {
    Slots: L1, "slots of a log: 1 to n, one entry each, the first its creation";
    Epochs: L1, "entries whose epoch is at least that of the one before";
    Seen: L1, "entries that a device has: the stored ones";
    Sent: L1, "stored bodies: what their sender sent";
    LostAlike: L1, "entries that a restore took back: the same for everybody";
    Titles: L1, "titles and metadata in the tables: what their log has set";
    Amended: L1, "messages in the tables: what edits and deletions have made of them";
    Words: L1, "words of messages that were deleted: nowhere in the tables";
    HeadsExist: L1, "heads, in the tables and as told: entries";
    NoneTakenBack: L1, "entries that live devices have at quiescence: none that a restore took back";
    OneEntry: L2, "entries: the only one of their message";
    OneAnswer: L2, "answers with a position: that of the message's entry";
    Durable: L3, "acknowledgements: of entries that are stored";
    Begun: L4, "logs with entries that their senders were told of: the head has reached them at quiescence";
    Order: L5, "messages in the log, and what is done to them: behind what their device attempted before";
    Consecutive: D1, "entries shown: right behind the one before, once";
    Restarts: D1, "conversations over a restart: without a repeat or a loss";
    Skips: D1, "skips: forward";
    RollBacks: D1, "roll-backs: after a restore";
    Transcripts: D1, "transcripts at the end: consecutive, with all that was shown";
    Held: D2, "messages on live devices at quiescence: as edits, deletions and reactions have made them";
    Everything: D2, "conversations of live devices at quiescence: up to the head";
    CursorsExist: C1, "cursors, in the tables, told and taken: at entries";
    CursorsTold: C1, "cursors, in the tables and shown: as far as a device told, at most";
    CursorsKept: C1, "cursors that were taken: in the tables, or a higher one";
    ToldWhatIsThere: C1, "cursors told: at what the device (read: the user) was shown, at most";
    Forward: C1, "cursors of others as shown: not below what was shown before";
    Senders: M1, "entries: of members";
    Permitted: M1, "entries: permitted at the entry before";
    Facts: M1, "what entries tell of members and settings: what their log makes it";
    Readers: M1, "entries and heads that a device was shown: of its user's time as a member";
    Received: M1, "entries that came to a device: of its user's time as a member";
    ToldOf: M1, "entries about messages, as a device was told them: of its user's part of the log";
    Rows: M1, "members: with their two rows, as the log made them";
    Left: M1, "users who left: with their spans, and without rows";
    Forged: R1, "entries: sent by a device of their sender";
    BadInput: R1, "ids in bad requests: not in the log";
    Refused: R1, "messages of which every attempt was refused for good: not in the log";
    Typed: R1, "answers to bad requests: one, with a code of the closed list";
    Strangers: R1, "answers to strangers: the same as for what does not exist";
    StrangersRows: R1, "rows in the tables: of members and of devices in the history";
    StoredCounts: Count, "counts in the tables: messages up to there";
    ToldCounts: Count, "counts as told: messages up to there";
    Reactions: Count, "reactions in the tables: each user's once";
    Unread: Count, "unread at the end, on live devices: the count less the count that was read";
    Admitted: Count, "what entries leave of what their conversation admits: what was there, less what each takes";
    ReadAtJoining: Count, "members of groups: have read what was there when they joined";
    Settled: Live, "messages of connected devices at quiescence: acknowledged, met or given up";
    CaughtUp: Live, "connected devices at quiescence: nothing left to catch up with";
}

/// What a check leaves alone although it looks wrong or cannot be judged. Counted too: much of it, and the history proves little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Excuse {
    /// An answer names an entry that a restore has taken back.
    TakenBack,
    /// An entry is beyond the head, and its sender was not told of it.
    BeyondTheHead,
    /// A message may stand out of order: it was refused or given up, or taken back and repeated.
    OutOfOrder,
    /// A log has an entry of an unknown kind, so that its members are not known.
    MembersUnknown,
    /// Edits, deletions and reactions that a restore took back stay applied on devices.
    KeptOverARestore,
    /// An entry was told as hidden to somebody who was away, and who may see it by now.
    Hidden,
    /// A stranger's answer has nothing to be compared with, or says that the outcome is unknown.
    NotComparable,
}

impl Excuse {
    /// What was counted.
    pub const fn words(self) -> &'static str {
        match self {
            Self::TakenBack => "answers about entries that a restore took back",
            Self::BeyondTheHead => "entries beyond the head that their senders were not told of",
            Self::OutOfOrder => "messages in the log that may stand out of order",
            Self::MembersUnknown => "logs whose members are not known",
            Self::KeptOverARestore => "messages on devices with what a restore took back of edits, deletions and reactions",
            Self::Hidden => "messages that devices were told before their user was away",
            Self::NotComparable => "answers to strangers that could not be compared",
        }
    }
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// By which check.
    pub check: Check,
    /// In words.
    pub what: String,
    /// Lines of the history that it comes from, ascending.
    pub history: Vec<usize>,
    /// Lines of the dump that it comes from, ascending.
    pub dump: Vec<usize>,
}

impl Violation {
    /// The guarantee that is broken.
    pub const fn guarantee(&self) -> Guarantee {
        self.check.guarantee()
    }
}

/// The outcome of a judgement.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    counts: BTreeMap<Check, u64>,
    excused: BTreeMap<Excuse, u64>,
    violations: Vec<Violation>,
}

impl Verdict {
    /// What must not be, in the order of the guarantees.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// How much was checked, with what was found.
    pub fn checked(&self, check: Check) -> u64 {
        self.counts.get(&check).copied().unwrap_or_default()
    }

    /// How much was left alone, where there was any.
    pub const fn excused(&self) -> &BTreeMap<Excuse, u64> {
        &self.excused
    }

    /// The checks of which there was nothing to check.
    pub fn idle(&self) -> impl Iterator<Item = Check> {
        Check::ALL.iter().copied().filter(|check| self.checked(*check) == 0)
    }

    pub(crate) fn excuse(&mut self, excuse: Excuse, times: u64) {
        if times > 0 {
            *self.excused.entry(excuse).or_default() += times;
        }
    }

    /// Counts one check, and what it found where `holds` is false.
    pub(crate) fn check(&mut self, check: Check, holds: bool, lines: Lines, what: impl FnOnce() -> String) {
        *self.counts.entry(check).or_default() += 1;
        if !holds {
            let Lines { mut history, mut dump } = lines;
            for lines in [&mut history, &mut dump] {
                lines.sort_unstable();
                lines.dedup();
            }
            self.violations.push(Violation { check, what: what(), history, dump });
        }
    }

    pub(crate) fn sorted(mut self) -> Self {
        self.violations.sort_by(|one, other| (one.check, &one.history, &one.dump).cmp(&(other.check, &other.history, &other.dump)));
        self
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in Check::ALL {
            let found = self.violations.iter().filter(|violation| violation.check == *check).count();
            let remark = match (self.checked(*check), found) {
                (0, _) => "   (nothing to check)".to_owned(),
                (_, 0) => String::new(),
                (_, found) => format!("   VIOLATED {found} times"),
            };
            writeln!(f, "{:<5} {:>9}  {}{remark}", check.guarantee().to_string(), self.checked(*check), check.words())?;
        }
        for (excuse, times) in &self.excused {
            writeln!(f, "{:<5} {times:>9}  excused: {}", "-", excuse.words())?;
        }
        Ok(())
    }
}

/// The lines that a finding comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    history: Vec<usize>,
    dump: Vec<usize>,
}

impl Lines {
    /// Of the history.
    pub(crate) fn history(lines: impl IntoIterator<Item = usize>) -> Self {
        Self { history: lines.into_iter().collect(), dump: vec![] }
    }

    /// Of the dump.
    pub(crate) fn dump(lines: impl IntoIterator<Item = usize>) -> Self {
        Self { history: vec![], dump: lines.into_iter().collect() }
    }

    /// And these of the dump.
    pub(crate) fn and_dump(mut self, lines: impl IntoIterator<Item = usize>) -> Self {
        self.dump.extend(lines);
        self
    }

    /// And these of the history.
    pub(crate) fn and_history(mut self, lines: impl IntoIterator<Item = usize>) -> Self {
        self.history.extend(lines);
        self
    }
}
