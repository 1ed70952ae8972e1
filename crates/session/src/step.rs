//! One call of [`super::Session::handle`]: its time, its dice, what it has decided so far.

use std::collections::BTreeSet;
use std::sync::Arc;

use chatlane_protocol::{ClientMessageId, ConversationId, Position};

use super::{Change, Draw, Moment, Output, Settings, Shown};

/// Random numbers of one call, all from the one that the caller gave.
#[derive(Debug)]
pub(super) struct Dice {
    state: u64,
    pub(super) draws: Vec<Draw>,
}

impl Dice {
    pub(super) const fn new(random: u64) -> Self {
        Self { state: random, draws: vec![] }
    }

    /// `splitmix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `max`, both included.
    pub(super) fn up_to(&mut self, max: u64, purpose: &'static str) -> u64 {
        let modulus = max.saturating_add(1);
        let value = self.next() % modulus;
        self.draws.push(Draw { purpose, modulus, value });
        value
    }
}

/// What becomes true when a batch is committed.
#[expect(clippy::large_enum_variant, reason = "few wait at once")]
#[derive(Clone, Debug)]
pub(super) enum Then {
    /// The user may see this.
    Show(Shown),
    /// The store has the conversation's entries up to here; said of one generation of the conversation only.
    Has { conversation: ConversationId, generation: u64, position: Position },
    /// This version of an outbox row is durable.
    Written { conversation: ConversationId, order: u64 },
    /// A group that is to be made is durable.
    Kept(ClientMessageId),
}

/// Leaves out the entries beyond this position.
pub(super) fn unshow_beyond(then: &mut Vec<Then>, conversation: &ConversationId, position: Position) {
    then.retain(|then| match then {
        Then::Show(Shown::Entry { conversation: of, entry }) => of != conversation || entry.position.seq <= position.seq,
        Then::Show(_) | Then::Has { .. } | Then::Written { .. } | Then::Kept(_) => true,
    });
}

/// What one call has decided so far.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) now: Moment,
    pub(super) settings: Arc<Settings>,
    pub(super) dice: Dice,
    pub(super) outputs: Vec<Output>,
    pub(super) changes: Vec<Change>,
    pub(super) then: Vec<Then>,
    /// Conversations whose row is to be written and shown.
    pub(super) touched: BTreeSet<ConversationId>,
    pub(super) wake: Option<Moment>,
}

impl Step {
    pub(super) const fn new(now: Moment, random: u64, settings: Arc<Settings>) -> Self {
        let dice = Dice::new(random);
        Self { now, settings, dice, outputs: vec![], changes: vec![], then: vec![], touched: BTreeSet::new(), wake: None }
    }

    /// Whether it is time; if not, the session is woken then. So nothing can be waited for without a timer, and no timer is in the past.
    pub(super) fn reached(&mut self, at: Moment) -> bool {
        if at > self.now {
            self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        }
        at <= self.now
    }

    /// Shows this to the user at once: for what needs no store.
    pub(super) fn show(&mut self, shown: Shown) {
        self.outputs.push(Output::Show(shown));
    }

    /// Shows this to the user when this call's changes are committed.
    pub(super) fn show_committed(&mut self, shown: Shown) {
        self.then.push(Then::Show(shown));
    }

    /// The user will not be shown what this call has taken beyond this position: it is dropped again.
    pub(super) fn unshow_beyond(&mut self, conversation: &ConversationId, position: Position) {
        unshow_beyond(&mut self.then, conversation, position);
    }

    /// The row of this conversation is to be written and shown.
    pub(super) fn touch(&mut self, conversation: &ConversationId) {
        if !self.touched.contains(conversation) {
            self.touched.insert(conversation.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use chatlane_protocol::{DeviceId, UserId};

    use super::*;

    #[test]
    fn one_random_number_makes_many_and_always_the_same() {
        let roll = |seed| {
            let mut dice = Dice::new(seed);
            [dice.up_to(1_000_000, "a"), dice.up_to(1_000_000, "b"), dice.up_to(1_000_000, "c")]
        };
        assert_eq!(roll(7), roll(7));
        assert_ne!(roll(7), roll(8));
        assert_ne!(roll(7)[0], roll(7)[1]);
        assert_eq!(Dice::new(7).up_to(0, "a"), 0);
    }

    #[test]
    fn what_is_not_yet_due_sets_the_earliest_timer() {
        let device = DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001").unwrap();
        let settings = Settings::new(UserId::new("alice").unwrap(), device);
        let mut step = Step::new(Moment(10), 0, Arc::new(settings));
        assert!(step.reached(Moment(10)));
        assert_eq!(step.wake, None);
        assert!(!step.reached(Moment(30)));
        assert!(!step.reached(Moment(20)));
        assert!(!step.reached(Moment(40)));
        assert_eq!(step.wake, Some(Moment(20)));
    }
}
