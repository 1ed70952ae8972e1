//! How far each user and each device is (C1): attributes of the inbox row.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use chatlane_chat::ports::{Advance, Advanced, Cursors, InboxRow, ReadCursor, Unavailable};
use chatlane_protocol::{ConversationId, DeviceId, Position, UserId};

use super::{Store, refused};
use crate::failure::unavailable;
use crate::table::{self, n};

const ATTEMPTED: &str = "move cursors";

/// The cursor that one update is to move, under the condition that it is lower.
#[derive(Clone, Copy)]
struct Moves {
    device: DeviceId,
    delivered: Option<Position>,
    read: Option<ReadCursor>,
}

impl Moves {
    /// Without what the row has already. A device that never said anything is below every position.
    fn above(self, row: &InboxRow) -> Self {
        Self {
            delivered: self.delivered.filter(|to| row.delivered.get(&self.device).is_none_or(|has| has < to)),
            read: self.read.filter(|to| row.read.position < to.position),
            ..self
        }
    }

    const fn is_empty(self) -> bool {
        self.delivered.is_none() && self.read.is_none()
    }

    /// What they make of the row.
    fn applied_to(self, mut row: InboxRow) -> InboxRow {
        row.delivered.extend(self.delivered.map(|to| (self.device, to)));
        row.read = self.read.unwrap_or(row.read);
        row
    }
}

/// What an update met.
enum Met {
    /// It moved all that it names; the row as it was.
    Moved(InboxRow),
    /// At least one cursor has got as far already; the row as it is.
    Refused(InboxRow),
    /// There is no row.
    Nothing,
}

impl Store {
    async fn update_cursors(&self, user: &UserId, conversation: &ConversationId, moves: Moves) -> Result<Met, Unavailable> {
        let mut update = self.client.update_item().table_name(&self.tables.inboxes).set_key(Some(table::inbox_key(user, conversation)));
        let (mut sets, mut conditions) = (vec![], vec!["attribute_exists(u)"]);
        if let Some(to) = moves.delivered {
            sets.push("#d = :d");
            conditions.push("(attribute_not_exists(#d) OR #d < :d)");
            update = update
                .expression_attribute_names("#d", table::delivered_attribute(moves.device))
                .expression_attribute_values(":d", table::cursor(to));
        }
        if let Some(to) = moves.read {
            sets.push("r = :r, rn = :rn");
            conditions.push("(attribute_not_exists(r) OR r < :r)");
            update = update.expression_attribute_values(":r", table::cursor(to.position)).expression_attribute_values(":rn", n(to.count));
        }
        let update = update
            .update_expression(format!("SET {}", sets.join(", ")))
            .condition_expression(conditions.join(" AND "))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(written) => Ok(Met::Moved(table::read_inbox(&written.attributes.unwrap_or_default())?)),
            Err(error) => match refused(&error) {
                Some(refused) => Ok(match &refused.item {
                    Some(row) => Met::Refused(table::read_inbox(row)?),
                    None => Met::Nothing,
                }),
                None => Err(unavailable(ATTEMPTED, &error)),
            },
        }
    }
}

impl Cursors for Store {
    async fn inbox_rows(&self, user: &UserId, conversations: &[ConversationId]) -> Result<Vec<Option<InboxRow>>, Unavailable> {
        let keys = conversations.iter().map(|conversation| table::inbox_key(user, conversation)).collect();
        let mut rows = HashMap::new();
        for item in self.get_all(&self.tables.inboxes, keys, "read inbox rows").await? {
            let row = table::read_inbox(&item)?;
            rows.insert(row.conversation.clone(), row);
        }
        Ok(conversations.iter().map(|conversation| rows.remove(conversation)).collect())
    }

    /// What is read was mostly acknowledged before, so `read` is tried alone, and the delivered position moves with a second write only
    /// where the row shows that it is lower. Where an answer is lost, the SDK's own second attempt meets what the first has written and
    /// answers that nothing moved: whoever tells others of a move (a receipt) may miss one, never the row.
    async fn advance(
        &self,
        user: &UserId,
        conversation: &ConversationId,
        device: DeviceId,
        to: Advance,
    ) -> Result<Option<Advanced>, Unavailable> {
        let delivered = Moves { device, delivered: Some(to.delivered), read: None };
        let first = to.read.map_or(delivered, |read| Moves { device, delivered: None, read: Some(read) });
        let (before, after) = match self.update_cursors(user, conversation, first).await? {
            Met::Nothing => return Ok(None),
            Met::Refused(row) if first.above(&row).is_empty() => (row.clone(), row),
            Met::Refused(_) => return Err(Unavailable::new(ATTEMPTED, "refused where nothing is in the way")),
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
