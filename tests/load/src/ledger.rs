//! What became of each message: when it was due, acknowledged and delivered.

use std::collections::HashMap;
use std::ops::RangeBounds;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chatlane_protocol::ClientMessageId;
use chatlane_tests_support::sender::Tally;
use hdrhistogram::Histogram;
use tokio::sync::Notify;

/// The messages of one measurement.
#[derive(Debug, Default)]
pub struct Ledger {
    pages: Mutex<Pages>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pages {
    messages: HashMap<ClientMessageId, Message>,
    doubled: u64,
    tally: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    due: Instant,
    acknowledged: Option<Instant>,
    delivered: Option<Instant>,
}

/// Latencies from the time a message was due, in microseconds, and counts.
#[derive(Debug)]
pub struct Measured {
    /// To the acknowledgement at the sender.
    pub acknowledged: Histogram<u64>,
    /// To the arrival at the receiver.
    pub delivered: Histogram<u64>,
    /// Messages that were due.
    pub offered: u64,
    /// Arrivals of messages that had arrived.
    pub doubled: u64,
    /// What happened on the way.
    pub tally: Tally,
}

impl Ledger {
    /// A message comes due. Before it is sent.
    pub fn due(&self, id: ClientMessageId, due: Instant) {
        self.pages().messages.insert(id, Message { due, acknowledged: None, delivered: None });
    }

    /// Its sender knows that it is stored.
    pub fn acknowledged(&self, id: &ClientMessageId, at: Instant) {
        if let Some(message) = self.pages().messages.get_mut(id) {
            message.acknowledged.get_or_insert(at);
        }
        self.changed.notify_waiters();
    }

    /// Its receiver has it. Messages of others are passed over.
    pub fn delivered(&self, id: &ClientMessageId, at: Instant) {
        let mut pages = self.pages();
        let Some(message) = pages.messages.get_mut(id) else { return };
        if message.delivered.is_some() {
            pages.doubled += 1;
        } else {
            message.delivered = Some(at);
        }
        drop(pages);
        self.changed.notify_waiters();
    }

    /// What happened on a sender's way.
    pub fn add(&self, tally: &Tally) {
        self.pages().tally.add(tally);
    }

    /// Waits until every message that came due is acknowledged and delivered. Has no time limit of its own.
    pub async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            if self.open() == (0, 0) {
                return;
            }
            changed.await;
        }
    }

    /// How many messages are not acknowledged, and how many not delivered.
    pub fn open(&self) -> (usize, usize) {
        let pages = self.pages();
        let count = |open: fn(&Message) -> bool| pages.messages.values().filter(|message| open(message)).count();
        (count(|message| message.acknowledged.is_none()), count(|message| message.delivered.is_none()))
    }

    /// What was measured of the messages that were due in a span of time. Doubles and the tally are those of all messages so far.
    pub fn measured(&self, span: impl RangeBounds<Instant>) -> Measured {
        let pages = self.pages();
        let mut measured =
            Measured { acknowledged: histogram(), delivered: histogram(), offered: 0, doubled: pages.doubled, tally: pages.tally.clone() };
        for message in pages.messages.values().filter(|message| span.contains(&message.due)) {
            measured.offered += 1;
            let ends = [(&mut measured.acknowledged, message.acknowledged), (&mut measured.delivered, message.delivered)];
            for (histogram, end) in ends {
                if let Some(end) = end {
                    histogram.saturating_record(micros(end.saturating_duration_since(message.due)));
                }
            }
        }
        measured
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds up to an hour, exact to three digits. Longer ones are recorded as an hour.
///
/// # Panics
/// Never: the bounds are allowed.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are allowed")
}

/// For a [`histogram`].
pub fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ClientMessageId {
        ClientMessageId::new(text).unwrap()
    }

    #[test]
    fn a_latency_counts_from_the_due_time() {
        let (ledger, due) = (Ledger::default(), Instant::now());
        ledger.due(id("m"), due);
        ledger.acknowledged(&id("m"), due + Duration::from_millis(2));
        ledger.delivered(&id("m"), due + Duration::from_millis(3));
        let measured = ledger.measured(..);
        assert_eq!((measured.acknowledged.max() / 10, measured.delivered.max() / 10), (200, 300));
    }

    #[test]
    fn what_was_due_at_another_time_is_not_measured() {
        let (ledger, due) = (Ledger::default(), Instant::now());
        ledger.due(id("m"), due);
        ledger.due(id("n"), due + Duration::from_secs(1));
        ledger.due(id("o"), due + Duration::from_secs(2));
        assert_eq!(ledger.measured(due + Duration::from_secs(1)..due + Duration::from_secs(2)).offered, 1);
    }

    #[test]
    fn the_first_arrival_counts_and_others_are_doubles() {
        let (ledger, due) = (Ledger::default(), Instant::now());
        ledger.due(id("m"), due);
        ledger.delivered(&id("of somebody else"), due);
        for ms in [1, 5] {
            ledger.delivered(&id("m"), due + Duration::from_millis(ms));
        }
        let measured = ledger.measured(..);
        assert_eq!((measured.delivered.len(), measured.delivered.max() / 10, measured.doubled), (1, 100, 1));
    }

    #[tokio::test]
    async fn a_ledger_is_settled_when_everything_is_acknowledged_and_delivered() {
        let (ledger, due) = (Ledger::default(), Instant::now());
        ledger.due(id("m"), due);
        assert_eq!(ledger.open(), (1, 1));
        let settling = async {
            ledger.acknowledged(&id("m"), due);
            assert_eq!(ledger.open(), (0, 1));
            ledger.delivered(&id("m"), due);
        };
        tokio::join!(ledger.settled(), settling);
        assert_eq!(ledger.open(), (0, 0));
    }
}
