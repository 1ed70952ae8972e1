//! How far each user and each device is (C1): cursors in the inbox row.

use std::collections::HashMap;

use chatlane_chat::ports::{Advance, Advanced, Failure, InboxPlace, InboxRow, Inboxes as InboxesPort};
use chatlane_protocol::{ConversationId, DeviceId, Prefs, PrefsChange, Seq, UserId};

use super::table::{each, refused};
use super::{Backend, Inboxes, Part};
use crate::failure::unavailable;
use crate::items::inbox;

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
    async fn update_cursors(&self, user: &UserId, conversation: &ConversationId, device: DeviceId, to: &Advance) -> Result<Met, Failure> {
        let update = inbox::update(self.inboxes.0.update_item(), user, conversation, device, to);
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
    async fn inbox(&self, user: &UserId, after: Option<ConversationId>, limit: usize) -> Result<Vec<InboxPlace>, Failure> {
        let mut rows = vec![];
        let start = after.map(|after| inbox::key(user, &after));
        let query = inbox::query(self.inboxes.0.query(), user).set_exclusive_start_key(start);
        each(query, Some(limit), "read an inbox", |item| {
            rows.push((inbox::conversation(item)?, inbox::read(item)));
            Ok(Some(limit - rows.len()))
        })
        .await?;
        Ok(rows)
    }

    async fn inbox_rows(&self, user: &UserId, conversations: &[ConversationId]) -> Result<Vec<Result<Option<InboxRow>, Failure>>, Failure> {
        let keys = conversations.iter().map(|conversation| inbox::key(user, conversation)).collect();
        let mut rows = HashMap::new();
        for item in self.inboxes.0.get_all(keys, "read inbox rows").await? {
            rows.insert(inbox::conversation(&item)?, inbox::read(&item));
        }
        Ok(conversations.iter().map(|conversation| rows.remove(conversation).transpose()).collect())
    }

    async fn rows_of(&self, conversation: &ConversationId, users: &[UserId]) -> Result<Vec<Option<InboxRow>>, Failure> {
        let keys = users.iter().map(|user| inbox::key(user, conversation)).collect();
        let mut rows = HashMap::new();
        for item in self.inboxes.0.get_all(keys, "read inbox rows of others").await? {
            rows.insert(inbox::user(&item)?, inbox::read(&item));
        }
        let readable = |row: Result<InboxRow, Failure>| row.inspect_err(|failure| failure.log("a row is left out")).ok();
        Ok(users.iter().map(|user| readable(rows.remove(user)?)).collect())
    }

    async fn prefer(&self, user: &UserId, conversation: &ConversationId, change: PrefsChange) -> Result<Option<Prefs>, Failure> {
        match inbox::prefer(self.inboxes.0.update_item(), user, conversation, &change).send().await {
            Ok(written) => Ok(Some(inbox::read(&written.attributes.unwrap_or_default())?.prefs)),
            Err(error) if refused(&error).is_some() => Ok(None),
            Err(error) => Err(unavailable("set preferences", &error)),
        }
    }

    async fn mention(&self, user: &UserId, conversation: &ConversationId, at: Seq) -> Result<(), Failure> {
        match inbox::mention(self.inboxes.0.update_item(), user, conversation, at).send().await {
            Ok(_) => Ok(()),
            Err(error) if refused(&error).is_some() => Ok(()), // a later entry does too, or they are no member any more
            Err(error) => Err(unavailable("note a mention", &error)),
        }
    }

    /// Both cursors in one update, under the condition that both are lower. Where it is refused, the row tells which of them still are: those
    /// move, and of what is to be dropped goes what is still as it was. Each further update has less to do, or the read cursor has moved
    /// meanwhile. Where an answer is lost, the SDK's own second attempt meets what the first has written and answers that nothing moved:
    /// whoever posts receipts may miss a move, the row never does.
    async fn advance(
        &self,
        user: &UserId,
        conversation: &ConversationId,
        device: DeviceId,
        mut to: Advance,
    ) -> Result<Option<Advanced>, Failure> {
        loop {
            let row = match self.update_cursors(user, conversation, device, &to).await? {
                Met::Nothing => return Ok(None),
                Met::Moved(before) => return Ok(Some(Advanced { after: inbox::applied(&to, device, before.clone()), before })),
                Met::Refused(row) => row,
            };
            let rest = inbox::above(to.clone(), device, &row);
            if rest == Advance::default() {
                return Ok(Some(Advanced { before: row.clone(), after: row }));
            }
            if rest == to {
                return Err(Failure::unavailable(ATTEMPTED, "refused where nothing is in the way"));
            }
            to = rest;
        }
    }
}
