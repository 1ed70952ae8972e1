//! The log's stream, which gathers what was stored for a minute and gives it to the sweeper: at least once, in halves where that fails. What
//! fails alone six times is told to an operator, who hands it in again in the end (infra/template.yaml: `SweepMapping`).

use std::mem;

use chatlane_aws::items::entry::key;
use chatlane_aws::items::json::to_json;
use chatlane_functions::workers::sweep::StreamEvent;
use chatlane_protocol::{ConversationId, Seq};
use serde_json::json;

use super::{Event, World};

/// From the first entry on.
const WINDOW_MS: u64 = 60_000;

/// Of what fails alone.
const RETRIES_MAX: u32 = 5;

/// What the stream tells of an entry.
pub(crate) type Slot = (ConversationId, Seq);

/// Some of what was stored, on its way to the sweeper.
#[derive(Clone, Debug)]
pub(crate) struct Swept {
    slots: Vec<Slot>,
    /// How often it has failed alone.
    retries: u32,
}

/// What is on no way yet.
#[derive(Debug, Default)]
pub(crate) struct LogStream {
    gathered: Vec<Slot>,
    given_up: Vec<Slot>,
}

impl World {
    /// An entry is in the log, and so in its stream.
    pub(crate) fn stream(&mut self, slot: Slot) {
        if self.stream.gathered.is_empty() {
            self.at(WINDOW_MS, Event::WindowEnds);
        }
        self.stream.gathered.push(slot);
    }

    pub(crate) fn window_ends(&mut self) {
        let slots = mem::take(&mut self.stream.gathered);
        self.sweep(Swept { slots, retries: 0 });
    }

    pub(crate) fn sweep(&mut self, swept: Swept) {
        let records: Vec<_> =
            swept.slots.iter().map(|(conversation, seq)| json!({"dynamodb": {"Keys": to_json(&key(conversation, *seq))}})).collect();
        let event: StreamEvent = serde_json::from_value(json!({"Records": records})).expect("an event of the stream");
        self.invoke_sweep(swept, event);
    }

    /// The sweeper has died over it, or has handed it back.
    pub(crate) fn not_swept(&mut self, Swept { mut slots, retries }: Swept) {
        let parts = if slots.len() > 1 {
            let second = slots.split_off(slots.len() / 2);
            vec![Swept { slots, retries }, Swept { slots: second, retries }]
        } else if retries == RETRIES_MAX {
            self.stream.given_up.append(&mut slots);
            vec![]
        } else {
            vec![Swept { slots, retries: retries + 1 }]
        };
        for swept in parts {
            let in_ms = self.dice.between(50, 1_000);
            self.at(in_ms, Event::Sweep { swept });
        }
    }

    /// An operator hands in again what was given up.
    pub(crate) fn hand_in(&mut self) {
        let slots = mem::take(&mut self.stream.given_up);
        if !slots.is_empty() {
            self.sweep(Swept { slots, retries: 0 });
        }
    }

    /// The restored tables have a stream of their own, in which there is nothing.
    pub(crate) fn stream_anew(&mut self) {
        self.stream = LogStream::default();
        self.events.retain(|_, event| !matches!(event, Event::WindowEnds | Event::Sweep { .. }));
    }
}
