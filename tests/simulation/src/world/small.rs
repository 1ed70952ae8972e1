//! A server with small limits and small pages, as any server may be: a short script meets them. What the use cases take from their settings
//! they do themselves; the rest is cut out of their answers on the way.

use chatlane_chat::settings::{AnchorBound, Limits};
use chatlane_protocol::frames::{HelloAnswer, HistoryAnswer, ProbeAnswer, SyncAnswer, SyncOutcome, encode};
use chatlane_protocol::{Request, ServerFrame};

use super::World;

/// Bytes of an entry, and of a request with messages.
const BYTES_MAX: usize = 700;

/// Messages of a request.
const MESSAGES_MAX: usize = 3;

/// Entries that an anchor may be behind.
const ANCHOR_ENTRIES_MAX: usize = 8;

/// Conversations of a page of `hello`, entries of one of `sync`, `history`, `probe`.
const HELLO_ROWS: usize = 1;
const SYNC_ENTRIES: usize = 3;
const HISTORY_ENTRIES: usize = 4;
const PROBE_ENTRIES: u64 = 4;

/// Makes the limits small.
pub(crate) const fn shrink(limits: &mut Limits) {
    limits.anchor = AnchorBound { entries_max: ANCHOR_ENTRIES_MAX, ..limits.anchor };
    limits.entry_bytes_max = BYTES_MAX;
}

impl World {
    /// An answer, as a small server gives it.
    pub(crate) fn cut_small(&self, phone: usize, text: String) -> String {
        let Ok(mut frame) = serde_json::from_str::<ServerFrame>(&text) else { return text };
        match &mut frame {
            ServerFrame::Hello(answer) => cut_hello(answer),
            ServerFrame::Sync(answer) => cut_sync(answer),
            ServerFrame::History(answer) => cut_history(answer),
            ServerFrame::Probe(answer) => self.cut_probe(phone, answer),
            _ => return text,
        }
        encode(&frame)
    }

    /// Ends the look earlier, at an entry that stands before `reached` still.
    fn cut_probe(&self, phone: usize, answer: &mut ProbeAnswer) {
        let Some((_, Request::Probe(asked))) = self.phones[phone].watch.asked.get(answer.id.as_str()) else { return };
        let state = self.memory.state();
        let at = |seq| state.log.get(&answer.conversation).and_then(|log| log.get(&seq)).map(|entry| entry.position);
        let end = (0..PROBE_ENTRIES).fold(asked.anchor.seq, |seq, _| seq.next());
        if let Some(cut) = at(end).filter(|cut| cut.seq < answer.reached.seq && at(answer.reached.seq) == Some(answer.reached)) {
            (answer.reached, answer.done) = (cut, false);
            answer.found.retain(|found| found.stored.position <= cut);
        }
    }
}

fn cut_hello(answer: &mut HelloAnswer) {
    answer.limits.request_bytes_max = BYTES_MAX;
    answer.limits.messages_per_send_max = MESSAGES_MAX;
    if answer.conversations.len() > HELLO_ROWS {
        answer.conversations.truncate(HELLO_ROWS);
        answer.next = answer.conversations.last().map(|row| row.conversation.conversation.clone());
    }
}

fn cut_sync(answer: &mut SyncAnswer) {
    let mut room = SYNC_ENTRIES;
    let mut whole = answer.done;
    answer.pages.retain_mut(|page| {
        let fits = room > 0;
        if let SyncOutcome::Ok(missed) = &mut page.outcome
            && fits
        {
            missed.done &= missed.entries.len() <= room;
            missed.entries.truncate(room);
            room -= missed.entries.len();
            whole &= missed.done;
        }
        whole &= fits;
        fits
    });
    answer.done = whole;
}

fn cut_history(answer: &mut HistoryAnswer) {
    let surplus = answer.entries.len().saturating_sub(HISTORY_ENTRIES);
    answer.entries.drain(..surplus);
    answer.done &= surplus == 0;
}
