//! What users do in a run: operations, each so long after the one before. A script with its seed and its faults is a whole run.

use std::collections::BTreeMap;

use chatlane_tests_support::Dice;
use chatlane_tests_support::dice::hash;
use serde::{Deserialize, Serialize};

use crate::fault::Plan;

/// A run, as it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "what a run is beside the others; each is a line of its file")]
pub struct Script {
    /// What it shows, in a line.
    pub story: String,
    /// Of latencies, and of what the faults do where they hit.
    pub seed: u64,
    /// Delivery is judged without the repairs: heartbeats tell nothing, and no fault may cost a push.
    pub strict: bool,
    /// The server's limits and pages are small.
    #[serde(default)]
    pub small: bool,
    /// In the end everybody goes away for a while, and what senders have left is for the sweeper to find.
    #[serde(default)]
    pub deserted: bool,
    /// Every user has three devices, and groups change all the time.
    #[serde(default)]
    pub crowd: bool,
    /// In this order.
    pub steps: Vec<Step>,
    /// What goes wrong.
    pub faults: Plan,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// So many milliseconds after the one before.
    pub after_ms: u64,
    /// What.
    #[serde(flatten)]
    pub operation: Operation,
}

/// What a user, a stranger or time does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "does", rename_all = "snake_case")]
pub enum Operation {
    /// Starts the app, or has it connect now.
    Connect {
        /// Whose.
        device: usize,
    },
    /// Wants to talk to another user.
    Open {
        /// On which device.
        device: usize,
        /// To whom, by number.
        with: usize,
    },
    /// Writes messages, one right behind the other.
    Compose {
        /// On which device.
        device: usize,
        /// In which of the conversations that the device knows.
        pick: usize,
        /// How many.
        messages: usize,
        /// How long the first is.
        bytes: usize,
    },
    /// Has read.
    MarkRead {
        /// On which device.
        device: usize,
        /// In which conversation.
        pick: usize,
        /// All but so many of the entries that were shown.
        back: usize,
        /// Whether the others are not to know.
        #[serde(default)]
        private: bool,
    },
    /// Prefers something else.
    Prefer {
        /// On which device.
        device: usize,
        /// About which conversation.
        pick: usize,
        /// What.
        form: usize,
    },
    /// Looks at some conversations.
    Look {
        /// On which device.
        device: usize,
        /// A bit each.
        picks: u8,
    },
    /// Scrolls up.
    History {
        /// On which device.
        device: usize,
        /// In which conversation.
        pick: usize,
    },
    /// Gives up what failed.
    Discard {
        /// On which device.
        device: usize,
    },
    /// The connection breaks, the app is killed, and is started so much later.
    GoAway {
        /// Which.
        device: usize,
        /// So many of the writes under way are in the store, unconfirmed.
        kept: usize,
        /// Milliseconds.
        ms: u64,
    },
    /// The app dies and is started at once.
    Restart {
        /// Which.
        device: usize,
        /// As in `GoAway`.
        kept: usize,
    },
    /// Time passes.
    Advance {
        /// Milliseconds.
        ms: u64,
    },
    /// Somebody asks about a conversation of others, and about one that does not exist.
    Stranger {
        /// Which request.
        action: usize,
        /// Which of the conversations that exist.
        pick: usize,
    },
    /// A member's device sends what breaks a rule of the protocol.
    Bad {
        /// Which rule.
        form: usize,
    },
    /// Another client says hello in the name of a device. Not in a strict run: its word of it may be lost like any push.
    Double {
        /// Of which.
        device: usize,
    },
    /// Somebody asks far more than anybody may.
    Flood,
    /// The tables are restored from a backup.
    Restore {
        /// So many milliseconds old.
        back_ms: u64,
    },
    /// Somebody makes a group, by hand.
    Create {
        /// Who, by number.
        by: usize,
        /// Of whom: a bit for each user.
        users: u8,
        /// Whether who joins sees all of it.
        all: bool,
    },
    /// Somebody changes a group, by hand.
    Change {
        /// Who: of the members by rank, the highest first, and behind them of those who are none.
        by: usize,
        /// Which of the groups.
        pick: usize,
        /// How.
        wish: Wish,
    },
    /// Somebody asks by hand for what there is in a group.
    Ask {
        /// Who, as in `Change`.
        by: usize,
        /// Which of the groups.
        pick: usize,
        /// By which request.
        action: usize,
    },
    /// Does something to a message, on a device that has it.
    Amend {
        /// On which device.
        device: usize,
        /// In which of the conversations that the device knows.
        pick: usize,
        /// To which message: so many before the last.
        back: usize,
        /// What.
        deed: Deed,
    },
    /// Somebody does something to a message of a group, by hand.
    AmendByHand {
        /// Who, as in `Change`.
        by: usize,
        /// Which of the groups.
        pick: usize,
        /// To which message: so many before the last.
        back: usize,
        /// What.
        deed: Deed,
    },
    /// A function of a later version adds a guest to a conversation, who asks for it.
    Invite {
        /// To which.
        pick: usize,
    },
}

/// How somebody changes a group. Users are numbers, or a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wants", rename_all = "snake_case")]
pub enum Wish {
    Add { users: u8 },
    Remove { users: u8 },
    Leave { successor: Option<usize> },
    Role { user: usize, role: usize },
    Set { form: usize },
    Close,
}

/// What somebody does to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "does_to_it", rename_all = "snake_case")]
pub enum Deed {
    /// Has it say something else, so often. `own`: the message is one of theirs, if there is one.
    Edit { times: usize, own: bool },
    /// Deletes it. `own`: as above.
    Delete { own: bool },
    /// Puts things beside it, from this one on so many, or takes them away.
    React { key: usize, keys: usize, adds: bool },
}

impl Operation {
    /// For the tally.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Open { .. } => "open",
            Self::Compose { .. } => "compose",
            Self::MarkRead { private: false, .. } => "mark read",
            Self::MarkRead { private: true, .. } => "mark read, in private",
            Self::Prefer { .. } => "prefer",
            Self::Look { .. } => "look",
            Self::History { .. } => "history",
            Self::Discard { .. } => "discard",
            Self::GoAway { .. } => "go away",
            Self::Restart { .. } => "restart",
            Self::Advance { .. } => "advance time",
            Self::Stranger { .. } => "stranger asks",
            Self::Bad { .. } => "bad request",
            Self::Double { .. } => "another client",
            Self::Flood => "flood",
            Self::Restore { .. } => "restore",
            Self::Create { .. } => "group: create",
            Self::Change { wish: Wish::Add { .. }, .. } => "group: add",
            Self::Change { wish: Wish::Remove { .. }, .. } => "group: remove",
            Self::Change { wish: Wish::Leave { .. }, .. } => "group: leave",
            Self::Change { wish: Wish::Role { .. }, .. } => "group: role",
            Self::Change { wish: Wish::Set { .. }, .. } => "group: settings",
            Self::Change { wish: Wish::Close, .. } => "group: close",
            Self::Ask { .. } => "group: ask",
            Self::Invite { .. } => "a later version writes",
            Self::Amend { deed: Deed::Edit { .. }, .. } => "message: edit",
            Self::Amend { deed: Deed::Delete { .. }, .. } => "message: delete",
            Self::Amend { deed: Deed::React { .. }, .. } => "message: react",
            Self::AmendByHand { deed: Deed::Edit { .. }, .. } => "message: edit, by hand",
            Self::AmendByHand { deed: Deed::Delete { .. }, .. } => "message: delete, by hand",
            Self::AmendByHand { deed: Deed::React { .. }, .. } => "message: react, by hand",
        }
    }
}

/// The users.
pub(crate) const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// The devices, by the number of their user: the first two have two.
const DEVICES: &[usize] = &[0, 0, 1, 1, 2, 3, 4];

/// As many for everybody.
const DEVICES_OF_A_CROWD: &[usize] = &[0, 0, 1, 1, 2, 3, 4, 0, 1, 2, 2, 3, 3, 4, 4];

/// The devices of a run, by the number of their user.
pub(crate) const fn devices(crowd: bool) -> &'static [usize] {
    if crowd { DEVICES_OF_A_CROWD } else { DEVICES }
}

/// A backup so old holds nothing.
const ALL_OF_A_RUN_MS: u64 = 1_000_000_000;

/// Operations of the last moment.
const RUSH: usize = 10;

impl Script {
    /// The run of a seed. Every second one is strict.
    pub fn of_seed(seed: u64, operations: usize, faults: Plan, crowd: bool) -> Self {
        let mut dice = Dice::new(hash(&[seed, 3]));
        let devices = devices(crowd).len();
        let step = |after_ms, operation| Step { after_ms, operation };
        let mut steps: Vec<Step> = (0..devices).map(|device| step(20, Operation::Connect { device })).collect();
        let opens = [(0, 1), (2, 2), (4, 0), (5, 1)];
        steps.extend(opens.map(|(device, with)| step(300, Operation::Open { device, with })));
        steps.extend((0..2).map(|by| step(300, Operation::Create { by, users: 0b1_1110 >> by, all: by == 0 })));
        while steps.len() + RUSH < operations {
            let after_ms = match dice.below(20) {
                0..12 => dice.between(0, 150),
                12..18 => dice.between(150, 2_500),
                _ => dice.between(2_500, 20_000),
            };
            let operation = operation(&mut dice, crowd);
            steps.push(step(after_ms, operation));
        }
        // Last, everybody writes or comes back at the same time. What a hello misses here no later message tells.
        for _ in 0..RUSH {
            let (device, pick) = (dice.below(devices), dice.below(8));
            let writes = Operation::Compose { device, pick, messages: 1, bytes: 10 };
            let operation = if dice.one_in(2) { writes } else { Operation::Restart { device, kept: dice.below(3) } };
            steps.push(step(dice.between(0, 50), operation));
        }
        // Some runs have more: what it hides from the checker it must not hide from all of them. A crowd hides nothing.
        let (strict, one_in) = (seed % 2 == 1, |kind, n| !crowd && hash(&[seed, kind]).is_multiple_of(n));
        let middle = steps.len().saturating_sub(RUSH + 30).max(1);
        let mut put = |at: usize, operation| {
            if let Some(step) = steps.get_mut(at) {
                step.operation = operation;
            }
        };
        for _ in 0..if one_in(4, 4) { dice.between(1, 2) } else { 0 } {
            let back_ms = if dice.one_in(8) { ALL_OF_A_RUN_MS } else { dice.between(500, 60_000) };
            put(20 + dice.below(middle), Operation::Restore { back_ms });
        }
        // Of a log with kinds that it does not know the checker judges less.
        for _ in 0..if one_in(8, 4) { 4 } else { 0 } {
            put(20 + dice.below(middle), Operation::Invite { pick: dice.below(8) });
        }
        for _ in 0..if one_in(9, 8) { 2 } else { 0 } {
            put(20 + dice.below(middle), Operation::Flood);
        }
        for _ in 0..if !strict && one_in(5, 3) { dice.between(1, 4) } else { 0 } {
            let (at, device) = (20 + dice.below(middle), dice.below(devices));
            put(at, Operation::Double { device });
            put(at + 1 + dice.below(4), Operation::Connect { device });
        }
        let (small, deserted) = (one_in(6, 4), one_in(7, 4));
        Self { story: format!("seed {seed}"), seed, strict, small, deserted, crowd, steps, faults }
    }
}

fn operation(dice: &mut Dice, crowd: bool) -> Operation {
    let device = dice.below(devices(crowd).len());
    let (pick, kept) = (dice.below(8), dice.below(3));
    match dice.below(if crowd { 200 } else { 150 }) {
        0..42 => {
            let messages = match dice.below(40) {
                0 => 30,
                1..9 => 2 + dice.below(5),
                _ => 1,
            };
            let bytes = match dice.below(60) {
                0 => 31_000, // more than an entry may have
                1..5 => 2_000 + dice.below(7_000),
                _ => 10 + dice.below(60),
            };
            Operation::Compose { device, pick, messages, bytes }
        }
        42..53 => Operation::MarkRead { device, pick, back: dice.below(4), private: dice.one_in(3) },
        53..56 => Operation::Prefer { device, pick, form: dice.below(6) },
        56..61 => Operation::Look { device, picks: u8::try_from(dice.below(16)).unwrap_or_default() },
        61..66 => Operation::History { device, pick },
        66..70 => Operation::Open { device, with: dice.below(USERS.len()) },
        70..75 => Operation::Connect { device },
        75..79 => Operation::GoAway { device, kept, ms: dice.between(500, 120_000) },
        79..84 => Operation::Restart { device, kept },
        84..89 => Operation::Advance { ms: if dice.one_in(40) { 7_800_000 } else { dice.between(5_000, 300_000) } },
        89..94 => Operation::Stranger { action: dice.below(6), pick },
        94..98 => Operation::Bad { form: dice.below(crate::bad::BAD.len()) },
        98..100 => Operation::Discard { device },
        100..105 => Operation::Ask { by: dice.below(USERS.len()), pick, action: dice.below(5) },
        105..123 => {
            let back = back(dice);
            Operation::Amend { device, pick, back, deed: deed(dice) }
        }
        123..132 => {
            let (by, back) = (dice.below(USERS.len()), back(dice));
            Operation::AmendByHand { by, pick, back, deed: deed(dice) }
        }
        _ => change(dice, pick),
    }
}

/// Mostly the same few, so that they race for them.
fn back(dice: &mut Dice) -> usize {
    if dice.one_in(5) { dice.below(20) } else { dice.below(3) }
}

fn deed(dice: &mut Dice) -> Deed {
    let own = !dice.one_in(5);
    match dice.below(20) {
        0..8 => Deed::Edit { times: if dice.one_in(40) { 22 } else { 1 }, own },
        8..11 => Deed::Delete { own },
        _ => Deed::React { key: dice.below(3), keys: if dice.one_in(40) { 22 } else { 1 }, adds: !dice.one_in(3) },
    }
}

/// Mostly by those who may.
fn change(dice: &mut Dice, pick: usize) -> Operation {
    let by = if dice.one_in(2) { 0 } else { dice.below(USERS.len()) };
    let user = dice.below(USERS.len());
    let users = u8::try_from(1 << user | if dice.one_in(3) { 1 << dice.below(USERS.len()) } else { 0 }).unwrap_or(1);
    let wish = match dice.below(40) {
        0..13 => Wish::Add { users },
        13..21 => Wish::Remove { users },
        21..25 => Wish::Leave { successor: dice.one_in(2).then_some(user) },
        25..31 => Wish::Role { user, role: dice.below(4) },
        31..38 => Wish::Set { form: dice.below(24) },
        38 => Wish::Close,
        _ => return Operation::Create { by: user, users: u8::try_from(dice.below(32)).unwrap_or_default(), all: dice.one_in(2) },
    };
    Operation::Change { by, pick, wish }
}

/// Operations by name: how many, and how many of them took effect.
pub type Performed = BTreeMap<&'static str, (u64, u64)>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    #[test]
    fn a_seed_means_the_same_script_for_ever() {
        let script = Script::of_seed(7, 200, Plan::Seeded, false);
        assert_eq!(script, Script::of_seed(7, 200, Plan::Seeded, false));
        assert_ne!(script.steps, Script::of_seed(8, 200, Plan::Seeded, false).steps);
        assert_eq!(script.steps.len(), 200);
    }

    #[test]
    fn a_script_is_read_as_it_was_written() {
        let faults = Plan::These([(Fault::Killed, 3), (Fault::QueueQuarter, 0)].into());
        for plan in [Plan::None, Plan::Seeded, faults] {
            let script = Script::of_seed(7, 200, plan, true);
            let text = serde_json::to_string(&script).expect("a script is JSON");
            assert_eq!(serde_json::from_str::<Script>(&text).expect("a script"), script);
        }
    }
}
