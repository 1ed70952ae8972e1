//! How far each user and each device is (C1): cursors in the inbox row.

use std::collections::HashMap;
use std::ops::ControlFlow;

use chatlane_chat::ports::{Advance, Advanced, Failure, InboxRow, Inboxes as InboxesPort};
use chatlane_protocol::{ConversationId, DeviceId, UserId};

use super::table::{each, refused};
use super::{Backend, Inboxes, Part};
use crate::failure::unavailable;
use crate::items::inbox::{self, Moves};

const ATTEMPTED: &str = "move cursors";

/// What an update met.
enum Met {
    /// It moved all that it names; the row as it was.
    Moved(InboxRow),
    /// At least one cursor has got as far already; the row as it is.
    Refused(InboxRow),
    /// There is no row.
    Nothing,
}

impl<L: Part, C: Part, U: Part, Q: Part, G: Part> Backend<L, C, Inboxes, U, Q, G> {
    async fn update_cursors(&self, user: &UserId, conversation: &ConversationId, moves: Moves) -> Result<Met, Failure> {
        let update = moves.update(self.inboxes.0.update_item(), user, conversation);
        match update.send().await {
            Ok(written) => Ok(Met::Moved(inbox::read(&written.attributes.unwrap_or_default())?)),
            Err(error) => match refused(&error) {
                Some(refused) => Ok(match &refused.item {
                    Some(row) => Met::Refused(inbox::read(row)?),
                    None => Met::Nothing,
                }),
                None => Err(unavailable(ATTEMPTED, &error)),
            },
        }
    }
}

impl<L: Part, C: Part, U: Part, Q: Part, G: Part> InboxesPort for Backend<L, C, Inboxes, U, Q, G> {
    async fn inbox(&self, user: &UserId, after: Option<ConversationId>, limit: usize) -> Result<Vec<InboxRow>, Failure> {
        let mut rows = vec![];
        let start = after.map(|after| inbox::key(user, &after));
        let query = inbox::query(self.inboxes.0.query(), user).set_exclusive_start_key(start);
        each(query, Some(limit), "read an inbox", |item| {
            rows.push(inbox::read(item)?);
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        Ok(rows)
    }

    async fn inbox_rows(&self, user: &UserId, conversations: &[ConversationId]) -> Result<Vec<Option<InboxRow>>, Failure> {
        let keys = conversations.iter().map(|conversation| inbox::key(user, conversation)).collect();
        let mut rows = HashMap::new();
        for item in self.inboxes.0.get_all(keys, "read inbox rows").await? {
            let row = inbox::read(&item)?;
            rows.insert(row.conversation.clone(), row);
        }
        Ok(conversations.iter().map(|conversation| rows.remove(conversation)).collect())
    }

    /// What is read was mostly acknowledged before, so `read` is tried alone, and the delivered position moves with a second write only
    /// where the row shows that it is lower. Where an answer is lost, the SDK's own second attempt meets what the first has written and
    /// answers that nothing moved: whoever posts receipts may miss a move, the row never does.
    async fn advance(
        &self,
        user: &UserId,
        conversation: &ConversationId,
        device: DeviceId,
        to: Advance,
    ) -> Result<Option<Advanced>, Failure> {
        let delivered = Moves { device, delivered: Some(to.delivered), read: None };
        let first = to.read.map_or(delivered, |read| Moves { device, delivered: None, read: Some(read) });
        let (before, after) = match self.update_cursors(user, conversation, first).await? {
            Met::Nothing => return Ok(None),
            Met::Refused(row) if first.above(&row).is_empty() => (row.clone(), row),
            Met::Refused(_) => return Err(Failure::unavailable(ATTEMPTED, "refused where nothing is in the way")),
            Met::Moved(before) => (before.clone(), first.applied_to(before)),
        };
        let rest = delivered.above(&after);
        if rest.is_empty() {
            return Ok(Some(Advanced { before, after }));
        }
        Ok(match self.update_cursors(user, conversation, rest).await? {
            Met::Nothing => None,
            // Somebody else has moved it as far meanwhile.
            Met::Refused(row) => Some(Advanced { before, after: row }),
            Met::Moved(row) => Some(Advanced { before, after: rest.applied_to(row) }),
        })
    }
}
