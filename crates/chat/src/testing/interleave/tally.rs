//! What happened, in numbers: a schedule in which nothing goes wrong proves little.

use std::fmt;

use super::Scene;

macro_rules! counted {
    ($(#[$of:meta])* $Name:ident { $($(#[$what:meta])* $name:ident,)* }) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name {
            $($(#[$what])* $name,)*
        }

        impl $Name {
            /// All of them, in the order in which a [`Tally`] counts them.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];
        }
    };
}

counted! {
    /// What goes wrong. Each is drawn from the seed.
    Fault {
        /// A read or a put that never reached the backend; the writer is told "unavailable".
        RequestLost,
        /// A put or a change took effect; the writer is told "unavailable".
        PutAnswerLost,
        /// The writer is told "unavailable"; the put takes effect later.
        PutLate,
        /// A put took effect, its answer was lost and the SDK sends it again: the writer gets the second answer.
        PutResent,
        /// As before, and the first copy takes effect some time, before or after the second.
        PutResentWhileInFlight,
        /// A transaction had the slot in hand.
        PutContended,
        /// A task that never reached the queue.
        EnqueueLost,
        /// The queue took the task; the writer is told "unavailable".
        EnqueueAnswerLost,
        /// The writer is told "unavailable"; the queue takes the task later.
        EnqueueLate,
        /// The queue took the task twice.
        EnqueueResent,
        /// A writer died between two awaits, with nothing in flight.
        Killed,
        /// A writer died with a put or a task in flight, which takes effect later.
        KilledInFlight,
        /// A writer died before it heard of an effect.
        KilledBeforeAnswer,
        /// A worker died between raising the head and its posts; the queue hands the task out again.
        WorkerKilled,
        /// The queue handed a task out again that was done.
        TaskReceivedAgain,
        /// The client did not get the answer.
        AnswerToClientLost,
        /// The client lost patience and retried beside a running attempt.
        Impatience,
        /// Alice was removed.
        Removal,
        /// A transaction is seen half for a while.
        HalfSeen,
        /// The log was cut as a restore does, the epoch raised, requests on their way arrive afterwards.
        Restore,
    }
}

impl Fault {
    /// Whether it can hit in schedules of this scene.
    pub fn is_of(self, scene: Scene) -> bool {
        match self {
            Self::Removal | Self::Restore => scene == Scene::Direct,
            Self::HalfSeen => scene != Scene::Direct,
            _ => true,
        }
    }
}

impl Race {
    /// In which scene it is to be met.
    pub const fn scene(self) -> Scene {
        match self {
            Self::EditAgainstDeletion | Self::EditedTwice | Self::ReactedTwice | Self::ReactionAgainstDeletion => Scene::Message,
            _ => Scene::Group,
        }
    }
}

counted! {
    /// What users of a group meet in: an entry of another got in while an attempt ran.
    Race {
        /// An admin or owner acts on somebody who acts on them.
        EachOther,
        /// Of an admin or owner who changes something the role changes, or they are removed.
        RightsTaken,
        /// Two owners leave.
        OwnersLeave,
        /// The group is locked while a member sends.
        LockAgainstSend,
        /// Who sends with a guessed anchor is removed.
        RemovalAgainstGuess,
        /// Who sends is removed and added again.
        RemovedAndAddedAgainstSend,
        /// Two add the same user.
        AddedTwice,
        /// One gives a role to whom the other removes.
        RoleAgainstRemove,
        /// One edits what the other deletes.
        EditAgainstDeletion,
        /// Two devices of a user edit one message.
        EditedTwice,
        /// Two react to one message.
        ReactedTwice,
        /// One reacts to what the other deletes.
        ReactionAgainstDeletion,
    }
}

/// Counts of one schedule or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Schedules.
    pub schedules: u64,
    /// Messages and changes that clients made.
    pub made: u64,
    /// Entries behind those that a log began with.
    pub stored: u64,
    /// Results `ok`.
    pub ok: u64,
    /// Results `duplicate`.
    pub duplicates: u64,
    /// Results `refused`.
    pub refused: u64,
    /// Attempts of frames.
    pub attempts: u64,
    /// Attempts that were not the first of their frame.
    pub retried: u64,
    /// Reads, puts and enqueues that took effect.
    pub effects: u64,
    /// Puts and changes that found their slot taken.
    pub taken: u64,
    /// Answers `unchanged`.
    pub unchanged: u64,
    /// By kind, in the order of [`Fault::ALL`].
    pub faults: [u64; Fault::ALL.len()],
    /// By kind, in the order of [`Race::ALL`].
    pub races: [u64; Race::ALL.len()],
}

impl Tally {
    /// How often this hit.
    pub const fn of(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    pub(super) const fn hit(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    /// How often users met in this.
    pub const fn met_in(&self, race: Race) -> u64 {
        self.races[race as usize]
    }

    pub(super) const fn met(&mut self, race: Race) {
        self.races[race as usize] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.made += other.made;
        self.stored += other.stored;
        self.ok += other.ok;
        self.duplicates += other.duplicates;
        self.refused += other.refused;
        self.attempts += other.attempts;
        self.retried += other.retried;
        self.effects += other.effects;
        self.taken += other.taken;
        self.unchanged += other.unchanged;
        let all = self.faults.iter_mut().chain(&mut self.races).zip(other.faults.into_iter().chain(other.races));
        all.for_each(|(sum, more)| *sum += more);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} schedules: {} messages and changes made, {} stored; {} attempts, {} of them retries; {} effects, {} puts found their slot taken",
            self.schedules, self.made, self.stored, self.attempts, self.retried, self.effects, self.taken
        )?;
        let Self { ok, duplicates, unchanged, refused, .. } = self;
        write!(f, "results: {ok} ok, {duplicates} duplicate, {unchanged} unchanged, {refused} refused\nfaults:")?;
        Fault::ALL.iter().try_for_each(|fault| write!(f, " {fault:?} {}", self.of(*fault)))?;
        f.write_str("\nraces:")?;
        Race::ALL.iter().try_for_each(|race| write!(f, " {race:?} {}", self.met_in(*race)))
    }
}
