//! What a device does that was away, as `docs/PROTOCOL.md` has it: `hello` with what it knows (§4), `sync` of what it misses, a page a
//! request, each acknowledged by the next (§7.2).

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, ensure};
use chatlane_protocol::frames::{CursorOutcome, HelloAnswer, SyncAnswer, SyncOutcome, SyncPage};
use chatlane_protocol::limits::{CONVERSATIONS_PER_REQUEST_MAX, KNOWN_BYTES_MAX};
use chatlane_protocol::request::{Known, PositionIn, SyncFrom};
use chatlane_protocol::{ConversationId, Entry, Position, ServerFrame};
use serde_json::json;

use crate::device::{Device, DeviceError};

impl Device {
    /// Says hello with what the device has, ascending by conversation, or asks for the page after `after`.
    ///
    /// # Errors
    /// As [`Device::request`], or the answer is no welcome.
    pub async fn hello_page(&self, after: Option<&ConversationId>, known: &[Known]) -> Result<HelloAnswer, DeviceError> {
        let behind = known.partition_point(|row| Some(&row.conversation) <= after);
        let mut room = KNOWN_BYTES_MAX - "[]".len();
        let fits = |row: &&Known| {
            let bytes = json!(row).to_string().len() + ",".len();
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        };
        let told: Vec<&Known> = known[behind..].iter().take_while(fits).collect();
        let mut request = json!({ "action": "hello", "v": 1, "known": told });
        if behind + told.len() < known.len() {
            request["known_to"] = json!(told.last().context("a row of `known` fits")?.conversation);
        }
        if let Some(after) = after {
            request["after"] = json!(after);
        }
        match self.granted_in_the_end(request).await? {
            ServerFrame::Hello(answer) => Ok(*answer),
            other => Err(anyhow!("not a welcome: {other:?}").into()),
        }
    }

    /// Says hello with what the device has, ascending by conversation: all pages of the answer.
    ///
    /// # Errors
    /// As [`Device::hello_page`].
    pub async fn hello_knowing(&self, known: &[Known]) -> Result<Vec<HelloAnswer>, DeviceError> {
        let mut pages = vec![self.hello_page(None, known).await?];
        while let Some(after) = pages.last().and_then(|page| page.next.clone()) {
            pages.push(self.hello_page(Some(&after), known).await?);
        }
        Ok(pages)
    }

    /// One page of what follows these positions.
    ///
    /// # Errors
    /// As [`Device::request`], or the answer is no page.
    pub async fn sync(&self, from: &[SyncFrom], ack: &[PositionIn]) -> Result<SyncAnswer, DeviceError> {
        match self.granted_in_the_end(json!({ "action": "sync", "conversations": from, "ack": ack })).await? {
            ServerFrame::Sync(answer) => Ok(answer),
            other => Err(anyhow!("not a page: {other:?}").into()),
        }
    }

    /// Fetches all that follows these positions, and acknowledges it: each page with the next request, the last one by `ack`.
    ///
    /// # Errors
    /// As [`Device::sync`], or a conversation is refused, or entries do not follow on what the device has.
    pub async fn catch_up(&self, from: &[SyncFrom]) -> Result<BTreeMap<ConversationId, Vec<Entry>>, DeviceError> {
        let mut left = from.to_vec();
        let mut fetched: BTreeMap<ConversationId, Vec<Entry>> = BTreeMap::new();
        let mut stored: Vec<PositionIn> = vec![];
        while !left.is_empty() {
            let asked = &left[..left.len().min(CONVERSATIONS_PER_REQUEST_MAX)];
            let answer = self.sync(asked, &std::mem::take(&mut stored)).await?;
            ensure_whole(&answer, asked)?;
            for page in answer.pages {
                let missed = match page.outcome {
                    SyncOutcome::Ok(missed) => missed,
                    SyncOutcome::Refused(refusal) => return Err(DeviceError::Refused(refusal)),
                };
                let from = left.iter_mut().find(|from| from.conversation == page.conversation).context("a page that was asked for")?;
                for entry in &missed.entries {
                    ensure_next(from.after, entry)?;
                    from.after = entry.position;
                }
                if let Some(last) = missed.entries.last() {
                    stored.push(PositionIn::new(page.conversation.clone(), last.position));
                }
                if missed.done {
                    left.retain(|from| from.conversation != page.conversation);
                }
                fetched.entry(page.conversation).or_default().extend(missed.entries);
            }
        }
        if !stored.is_empty() {
            self.acknowledge("ack", &stored).await?;
        }
        Ok(fetched)
    }

    /// `ack` or `read`: all of these positions, each of which must be taken.
    ///
    /// # Errors
    /// As [`Device::request`], or one of them is refused.
    pub async fn acknowledge(&self, action: &str, positions: &[PositionIn]) -> Result<(), DeviceError> {
        let answer = match self.granted(json!({ "action": action, "positions": positions })).await? {
            ServerFrame::Ack(answer) | ServerFrame::Read(answer) if answer.results.len() == positions.len() => answer,
            other => return Err(anyhow!("not a result for each: {other:?}").into()),
        };
        answer.results.into_iter().try_for_each(|result| match result.outcome {
            CursorOutcome::Ok => Ok(()),
            CursorOutcome::Refused(refusal) => Err(DeviceError::Refused(refusal)),
        })
    }
}

/// A page comes to the conversations in the order in which they were asked for, and says whether that was all.
fn ensure_whole(answer: &SyncAnswer, asked: &[SyncFrom]) -> anyhow::Result<()> {
    let in_order = answer.pages.iter().zip(asked).all(|(page, asked)| page.conversation == asked.conversation);
    ensure!(in_order && !answer.pages.is_empty(), "another order than asked for: {answer:?}");
    let ended = |page: &SyncPage| !matches!(&page.outcome, SyncOutcome::Ok(missed) if !missed.done);
    ensure!(answer.done == (answer.pages.len() == asked.len() && answer.pages.iter().all(ended)), "a wrong `done`: {answer:?}");
    Ok(())
}

fn ensure_next(after: Position, entry: &Entry) -> anyhow::Result<()> {
    ensure!(entry.position.seq == after.seq.next(), "{} does not follow on {after}", entry.position);
    Ok(())
}
