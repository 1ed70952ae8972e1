//! Anchored append and the epoch: L1, L2, L3, and that everybody is answered.
//!
//! One conversation with entry 1. Each device makes one message and sends it until it is answered. What it knows when it makes it is any
//! position that there ever was, also one that a restore has cut: how it came to know is not asked. So devices are alike until then, and
//! are numbered in the order in which they make their messages.
//!
//! | | rule | in the code |
//! |---|---|---|
//! | 1 | the anchor is what the device knew when it made the message; a retry carries the same | `session/src/outbox.rs` |
//! | 2 | it moves only over entries that were looked through for the own message (by a sync) | `session/src/outbox.rs` |
//! | 3 | a request reads the log from the anchor on; the anchor's entry must exist, in its epoch | `chat/src/log/append.rs`, `anchor.rs` |
//! | 4 | the own message after the anchor → duplicate | `chat/src/log/append.rs` |
//! | 5 | else a put at tail + 1, if the slot is free; taken by the own → duplicate; by another → read again from the tail | `chat/src/log/append.rs` |
//! | 6 | then a task is queued, for a duplicate only if the head is below it; then the answer | `chat/src/requests/send.rs` |
//! | 7 | a position is (epoch, seq); a restore raises the epoch; an anchor of before it → `epoch_changed {common}` | `chat/src/log/anchor.rs` |
//! | 8 | then the device goes back to `common` with its anchor and keeps the message | `session/src/catching_up.rs` |
//! | 9 | a worker raises the head to its task's entry; heads and tasks are hints: an old one may come after a restore | `chat/src/workers/fan_out.rs` |
//!
//! Faults: a request, an answer or a process is lost at any step; a dead process's put lands at any later time or never (zombie); the SDK
//! sends a put again while the first is still on its way; a device sends again before it is answered (overlap). A restore cuts the log
//! behind any entry. Requests, answers and tasks that are on their way survive it; *processes do not*: the restored log is another table,
//! which the writers of before have not got. That this matters is shown by [`Hole::OldWritersReachTheRestoredLog`].
//!
//! Not modelled: members and rights (M1), bodies, trims and bounds of anchors, batches (L5), admission, reads that are not strong; the six
//! puts before `busy` (a request goes on until it has a slot); a sync is one step, and so are a refused put and the read after it: what
//! happens between the two only makes the next put be refused.

mod judge;
mod steps;

use stateright::{Model, Property};

use crate::Design;

/// Entry 1, three messages, and room for what must not be.
pub const SLOTS: usize = 6;

/// At most two restores.
const EPOCHS: usize = 3;

/// (epoch, seq): names one entry for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Of the deployment that wrote it, from 1.
    pub epoch: u8,
    /// From 1.
    pub seq: u8,
}

/// What stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The epoch it was written in.
    pub epoch: u8,
    /// Whose message; `None`: the creation.
    pub device: Option<u8>,
}

/// One device with its one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// The message's anchor; `None`: the message is not made.
    pub anchor: Option<Position>,
    /// Requests so far.
    pub tries: u8,
    /// How it ended.
    pub told: Option<Told>,
}

/// How a device knows where its message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// By the answer to a request: acknowledged.
    Answered(Position),
    /// By its own sync.
    Seen(Position),
}

impl Told {
    /// Where.
    pub const fn position(self) -> Position {
        match self {
            Self::Answered(position) | Self::Seen(position) => position,
        }
    }
}

/// One request of a device, from its sending to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// Whose.
    pub device: u8,
    /// How far it is.
    pub stage: Stage,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// No process has it yet.
    OnItsWay {
        /// It carries this.
        anchor: Position,
    },
    /// It has seen every entry below this slot.
    Claims {
        /// The slot.
        seq: u8,
        /// The epoch of the process.
        epoch: u8,
    },
    /// A put whose process is dead, or which the SDK has sent a second time.
    Zombie {
        /// The slot.
        seq: u8,
        /// The epoch of the process.
        epoch: u8,
    },
    /// It has stored the message.
    Stored(Position),
    /// It has found the message.
    Found(Position),
    /// The answer is on its way.
    Answers(Position),
    /// `epoch_changed` is on its way.
    EpochChanged {
        /// What the anchor's log and this one have in common.
        common: Position,
    },
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The log: slot 1 first.
    pub log: [Option<Entry>; SLOTS],
    /// The deployment's epoch.
    pub epoch: u8,
    /// A hint, raised by workers.
    pub head: Position,
    /// Tasks in the queue, sorted.
    pub tasks: Vec<Position>,
    /// In the order of their numbers.
    pub devices: Vec<Device>,
    /// Sorted.
    pub requests: Vec<Request>,
    /// How much may still go wrong.
    pub left: Left,
    /// Told by nobody, for the judge: who first stood at each position, by epoch and slot.
    pub named: [[Option<Entry>; SLOTS]; EPOCHS],
    /// For the judge: the last seq that each restore left.
    pub cuts: Vec<u8>,
}

/// How much may still go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    /// Requests, answers, processes lost; puts sent twice.
    pub faults: u8,
    /// Requests that are sent while an earlier one is not answered.
    pub overlaps: u8,
    /// Syncs of all devices together.
    pub syncs: u8,
    /// Restores.
    pub restores: u8,
}

/// What can be next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A device that knows the log up to this position makes its message and sends it.
    Compose(u8, Position),
    /// It sends the message again.
    Send(u8),
    /// It reads the log from its anchor on and looks for its message.
    Sync(u8),
    /// A process receives the request and reads the log.
    Read(Request),
    /// The put takes effect, if it can, and is answered.
    Put(Request),
    /// The SDK sends the put again; the first one is still on its way.
    PutTwice(Request),
    /// The put of a dead process takes effect, if it can.
    Land(Request),
    /// The task is queued.
    Enqueue(Request),
    /// The answer is received.
    Answer(Request),
    /// The request, its process or its answer is lost; with it a put, if it was at that.
    Lose(Request),
    /// The process dies; its put is on its way.
    DieInFlight(Request),
    /// A worker takes this task.
    Begin(Position),
    /// A restore; this seq and those below it stay.
    Restore(u8),
}

/// A rule turned round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// A retry takes the tail of the moment as anchor.
    AnchorRefreshedOnRetry,
    /// The sync moves the anchor and does not look for the message.
    SyncDoesNotLook,
    /// An anchor's entry is not looked for: its seq is taken for the log's end if nothing is there.
    AnchorNotChecked,
    /// The put takes a taken slot too.
    PutNotConditional,
    /// The occupant of a lost slot is not looked at: the own put that was sent twice is taken for another's.
    OwnPutNotRecognised,
    /// The slot is that after the head, not after the log's last entry.
    SeqFromHead,
    /// The message is looked for behind the head, not behind the anchor.
    LookFromHead,
    /// Client message ids are compared without their senders.
    SenderNotCompared,
    /// The answer goes out before the put.
    AckBeforePut,
    /// A duplicate is answered without a look at the head.
    DuplicateNotQueued,
    /// Anchors are compared by their seq only.
    EpochNotCompared,
    /// A restore does not raise the epoch.
    EpochNotRaised,
    /// `epoch_changed` leaves the anchor where it is.
    AnchorKeptAfterRestore,
    /// Processes of before a restore, and their puts on their way, write into the restored log.
    OldWritersReachTheRestoredLog,
}

impl Hole {
    /// All, each with what it breaks and the scene in which it does.
    pub const ALL: [(Self, &'static str, Scene); 14] = [
        (Self::AnchorRefreshedOnRetry, L2, RETRIES),
        (Self::SyncDoesNotLook, L2, RETRIES),
        (Self::AnchorNotChecked, L1, RESTORE),
        (Self::PutNotConditional, L1, RETRIES),
        (Self::OwnPutNotRecognised, L2, RETRIES),
        (Self::SeqFromHead, L1, QUEUED_RESTORE),
        (Self::LookFromHead, L2, QUEUED),
        (Self::SenderNotCompared, L3, RETRIES),
        (Self::AckBeforePut, L3, RETRIES),
        (Self::DuplicateNotQueued, L4, QUEUED),
        (Self::EpochNotCompared, L2, RESTORE),
        (Self::EpochNotRaised, L2, RESTORE),
        (Self::AnchorKeptAfterRestore, ANSWERED, RESTORE_ALONE),
        (Self::OldWritersReachTheRestoredLog, L2, RESTORE),
    ];
}

/// No gap, no slot used twice, (epoch, seq) names one entry for ever.
pub const L1: &str = "L1";
/// A message is in the log at most once.
pub const L2: &str = "L2";
/// What a device was told stands there, unless a restore cut it.
pub const L3: &str = "L3";
/// At rest, the delivery of whatever was acknowledged and is there has begun.
pub const L4: &str = "L4 of what is answered";
/// At rest, every device knows where its message is.
pub const ANSWERED: &str = "finally answered";

/// Who takes part and how much may go wrong.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// What it is called.
    pub name: &'static str,
    /// 2 or 3: two of alice, the third is bob's and uses the client message id that alice's first one uses.
    pub devices: u8,
    /// Whether there is a queue, and workers that raise the head; if not, the head stays at entry 1.
    pub queue: bool,
    /// How much may go wrong.
    pub left: Left,
}

const fn scene(name: &'static str, devices: u8, queue: bool, [faults, overlaps, syncs, restores]: [u8; 4]) -> Scene {
    Scene { name, devices, queue, left: Left { faults, overlaps, syncs, restores } }
}

/// Three senders; zombies and puts that are sent twice.
pub const RETRIES: Scene = scene("append: three senders", 3, false, [2, 1, 1, 0]);
/// Two senders, with more requests of a message at once.
pub const OVERLAPS: Scene = scene("append: requests that overlap", 2, false, [3, 3, 1, 0]);
/// With queue and head.
pub const QUEUED: Scene = scene("append: queue and head", 2, true, [2, 2, 1, 0]);
/// The log is cut and the epoch raised.
pub const RESTORE: Scene = scene("append: a restore", 2, false, [2, 1, 2, 1]);
/// With three senders.
pub const RESTORE_THREE: Scene = scene("append: a restore, three senders", 3, false, [1, 0, 1, 1]);
/// Twice.
pub const TWO_RESTORES: Scene = scene("append: two restores", 2, false, [1, 1, 1, 2]);
/// With queue and head.
pub const QUEUED_RESTORE: Scene = scene("append: queue, head and a restore", 2, true, [1, 1, 1, 1]);
/// With nothing else that goes wrong.
const RESTORE_ALONE: Scene = scene("append: a restore alone", 2, false, [0, 0, 0, 1]);

/// The append in a scene.
pub type Append = Design<Scene, Hole>;

impl Append {
    /// More requests than this no device needs: one that gets through, one for whatever went wrong, and for a restore two: it ends a
    /// process, and then the anchor of before it is refused.
    const fn tries_max(&self) -> u8 {
        let Left { faults, overlaps, restores, .. } = self.scene.left;
        1 + faults + overlaps + 2 * restores
    }
}

impl Model for Append {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let first = Position { epoch: 1, seq: 1 };
        let device = Device { anchor: None, tries: 0, told: None };
        let mut log = [None; SLOTS];
        log[0] = Some(Entry { epoch: 1, device: None });
        vec![State {
            log,
            epoch: 1,
            head: first,
            tasks: vec![],
            devices: vec![device; self.scene.devices.into()],
            requests: vec![],
            left: self.scene.left,
            named: [log, [None; SLOTS], [None; SLOTS]],
            cuts: vec![],
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.possible(state, steps);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        self.take(last, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = judge::properties(self.scene);
        properties.retain(|property| self.is_judged(property.name));
        properties
    }
}
