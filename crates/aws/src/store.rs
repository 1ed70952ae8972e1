//! `DynamoDB`: the log, memberships, heads and sessions. Every read is strong; every write that does not create names its key in a
//! condition; nothing scans; every query pages.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{
    AttributeValue, Get, KeysAndAttributes, Put as TransactPut, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactGetItem,
    TransactWriteItem,
};
use chatlane_chat::entry::{Entry, Kind};
use chatlane_chat::ports::{
    Created, Creation, Heads, InboxRow, Member, Memberships, MessageLog, Put, ReadBound, Session, Sessions, Unavailable,
};
use chatlane_protocol::{ConnectionId, ConversationId, Position, Seq, UnixMillis, UserId};

use crate::failure::unavailable;
use crate::table::{self, Item, Tables, n, s};

/// `DynamoDB`, "Service, account, and table quotas": `BatchGetItem` takes 100 items.
const BATCH_KEYS_MAX: usize = 100;

/// Rounds of a batch read that answers only a part, and of a transactional read that meets a transaction.
const ROUNDS_MAX: u32 = 5;

/// Before a further round: 25 ms, doubled each time (`DynamoDB` asks for a back-off where it answers a part).
async fn pause(round: u32) {
    if round > 0 {
        tokio::time::sleep(Duration::from_millis(25 << (round - 1))).await;
    }
}

/// How long a sessions item outlives its last hello: the gateway ends every connection after 2 h.
const SESSIONS_LIFE_MS: u64 = (2 * 60 + 10) * 60 * 1000;

/// The store of one deployment.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    tables: Tables,
}

impl Store {
    /// On these tables.
    pub fn new(config: &aws_config::SdkConfig, tables: Tables) -> Self {
        Self { client: Client::new(config), tables }
    }

    async fn get(&self, table: &str, key: Item, attempted: &'static str) -> Result<Option<Item>, Unavailable> {
        let request = self.client.get_item().table_name(table).set_key(Some(key)).consistent_read(true);
        Ok(request.send().await.map_err(|error| unavailable(attempted, &error))?.item)
    }

    /// Items of these keys of one table, in no order.
    async fn get_many(&self, table: &str, keys: Vec<Item>, attempted: &'static str) -> Result<Vec<Item>, Unavailable> {
        let mut items = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(BATCH_KEYS_MAX) {
            let mut wanted = chunk.to_vec();
            for round in 0..ROUNDS_MAX {
                pause(round).await;
                let keys = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
                let keys = keys.map_err(|_| Unavailable::new(attempted, "the request could not be made"))?;
                let answer = self.client.batch_get_item().request_items(table, keys).send().await;
                let answer = answer.map_err(|error| unavailable(attempted, &error))?;
                items.extend(answer.responses.unwrap_or_default().remove(table).unwrap_or_default());
                let rest = answer.unprocessed_keys.unwrap_or_default().remove(table);
                wanted = rest.map(|keys| keys.keys).unwrap_or_default();
                if wanted.is_empty() {
                    break;
                }
            }
            if !wanted.is_empty() {
                return Err(Unavailable::new(attempted, "answered only a part"));
            }
        }
        Ok(items)
    }
}

impl MessageLog for Store {
    async fn read(&self, conversation: &ConversationId, from: Seq, bound: ReadBound) -> Result<Vec<Entry>, Unavailable> {
        let mut entries: Vec<Entry> = vec![];
        let (mut bytes, mut start) = (0, None);
        loop {
            let left = bound.entries_max - entries.len();
            let page = self
                .client
                .query()
                .table_name(&self.tables.log)
                .consistent_read(true)
                .key_condition_expression("c = :c AND s >= :s")
                .expression_attribute_values(":c", s(conversation.as_str()))
                .expression_attribute_values(":s", n(from))
                .limit(i32::try_from(left).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| unavailable("read the log", &error))?;
            for item in page.items() {
                let entry = table::read_entry(item)?;
                bytes += entry.stored_bytes();
                entries.push(entry);
                if bytes > bound.bytes_max || entries.len() >= bound.entries_max {
                    return Ok(entries);
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(entries);
            }
        }
    }

    async fn last(&self, conversation: &ConversationId) -> Result<Option<Entry>, Unavailable> {
        let page = self
            .client
            .query()
            .table_name(&self.tables.log)
            .consistent_read(true)
            .key_condition_expression("c = :c")
            .expression_attribute_values(":c", s(conversation.as_str()))
            .scan_index_forward(false)
            .limit(1)
            .send()
            .await
            .map_err(|error| unavailable("read the last entry", &error))?;
        page.items().first().map(table::read_entry).transpose()
    }

    async fn put(&self, entry: &Entry) -> Result<Put, Unavailable> {
        let put = self
            .client
            .put_item()
            .table_name(&self.tables.log)
            .set_item(Some(table::entry_item(entry)))
            .condition_expression("attribute_not_exists(c)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = put else { return Ok(Put::Stored) };
        let service = match &error {
            SdkError::ServiceError(service) => service.err(),
            _ => return Err(unavailable("put an entry", &error)),
        };
        if let PutItemError::ConditionalCheckFailedException(refused) = service {
            let occupant = refused.item().ok_or_else(|| Unavailable::new("put an entry", "refused without the occupant"))?;
            return Ok(Put::Taken(Box::new(table::read_entry(occupant)?)));
        }
        if service.code() == Some("TransactionConflictException") {
            return Ok(Put::Contended);
        }
        Err(unavailable("put an entry", &error))
    }

    async fn create(&self, creation: &Creation) -> Result<Created, Unavailable> {
        let entry = &creation.entry;
        let conversation = &entry.conversation;
        let mut puts = vec![
            (&self.tables.conversations, table::meta_item(entry), true),
            (&self.tables.log, table::entry_item(entry), true),
            (&self.tables.conversations, table::head_item(conversation, Position::ZERO), false),
        ];
        for member in &creation.members {
            let row = InboxRow { conversation: conversation.clone(), with: other_of_two(entry, &member.user) };
            puts.push((&self.tables.conversations, table::member_item(conversation, member), false));
            puts.push((&self.tables.inboxes, table::inbox_item(&member.user, &row, member.visible_from), false));
        }
        let mut request = self.client.transact_write_items();
        for (table, item, new) in puts {
            // L1: slot 1 is made by creation only, and once.
            let condition = new.then(|| "attribute_not_exists(c)".to_owned());
            let put = TransactPut::builder().table_name(table).set_item(Some(item)).set_condition_expression(condition).build();
            let put = put.map_err(|_| Unavailable::new("create a conversation", "the request could not be made"))?;
            request = request.transact_items(TransactWriteItem::builder().put(put).build());
        }
        let Err(error) = request.send().await else { return Ok(Created::New) };
        if let SdkError::ServiceError(service) = &error {
            match service.err() {
                TransactWriteItemsError::TransactionCanceledException(canceled) => {
                    let code = |code: &str| canceled.cancellation_reasons().iter().any(|reason| reason.code() == Some(code));
                    if code("ConditionalCheckFailed") {
                        return Ok(Created::Exists);
                    }
                    if code("TransactionConflict") {
                        return Ok(Created::Contended);
                    }
                }
                TransactWriteItemsError::TransactionInProgressException(_) => return Ok(Created::Contended),
                _ => {}
            }
        }
        Err(unavailable("create a conversation", &error))
    }
}

/// The other user of a direct conversation's entry 1.
fn other_of_two(entry: &Entry, user: &UserId) -> Option<UserId> {
    match &entry.kind {
        Kind::Created { members } => members.iter().find(|member| *member != user).cloned(),
        Kind::Message { .. } | Kind::Later => None,
    }
}

impl Memberships for Store {
    async fn member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        let item = self.get(&self.tables.conversations, table::member_key(conversation, user), "read a member").await?;
        item.as_ref().map(table::read_member).transpose()
    }

    async fn settled_member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Unavailable> {
        let attempted = "read a member in a transaction";
        let key = Some(table::member_key(conversation, user));
        let get = Get::builder().table_name(&self.tables.conversations).set_key(key).build();
        let get = get.map_err(|_| Unavailable::new(attempted, "the request could not be made"))?;
        for round in 0..ROUNDS_MAX {
            pause(round).await;
            let item = TransactGetItem::builder().get(get.clone()).build();
            let error = match self.client.transact_get_items().transact_items(item).send().await {
                Ok(answer) => {
                    let item = answer.responses.unwrap_or_default().into_iter().next().and_then(|response| response.item);
                    return item.filter(|item| !item.is_empty()).as_ref().map(table::read_member).transpose();
                }
                Err(error) => error,
            };
            let conflict = match &error {
                SdkError::ServiceError(service) => {
                    matches!(service.err(), TransactGetItemsError::TransactionCanceledException(canceled)
                        if canceled.cancellation_reasons().iter().any(|reason| reason.code() == Some("TransactionConflict")))
                }
                _ => false,
            };
            if !conflict {
                return Err(unavailable(attempted, &error));
            }
        }
        Err(Unavailable::new(attempted, "other transactions were in the way"))
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>, Unavailable> {
        let (mut members, mut start) = (vec![], None);
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.tables.conversations)
                .consistent_read(true)
                .key_condition_expression("c = :c AND begins_with(k, :k)")
                .expression_attribute_values(":c", s(conversation.as_str()))
                .expression_attribute_values(":k", s(table::MEMBER_PREFIX))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| unavailable("read the members", &error))?;
            for item in page.items() {
                members.push(table::read_member(item)?);
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        members.sort_by(|one, other| one.user.cmp(&other.user));
        Ok(members)
    }

    async fn inbox(&self, user: &UserId, after: Option<&ConversationId>, limit: usize) -> Result<Vec<InboxRow>, Unavailable> {
        let mut rows = vec![];
        let mut start = after.map(|after| HashMap::from([("u".to_owned(), s(table::user_key(user))), ("c".to_owned(), s(after.as_str()))]));
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.tables.inboxes)
                .consistent_read(true)
                .key_condition_expression("u = :u")
                .expression_attribute_values(":u", s(table::user_key(user)))
                .limit(i32::try_from(limit - rows.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| unavailable("read an inbox", &error))?;
            for item in page.items() {
                rows.push(table::read_inbox(item)?);
            }
            start = page.last_evaluated_key;
            if start.is_none() || rows.len() >= limit {
                return Ok(rows);
            }
        }
    }
}

impl Heads for Store {
    async fn raise_head(&self, conversation: &ConversationId, to: Position) -> Result<Position, Unavailable> {
        let update = self
            .client
            .update_item()
            .table_name(&self.tables.conversations)
            .set_key(Some(table::conversation_key(conversation, table::HEAD)))
            .update_expression("SET e = :e, s = :s")
            .condition_expression("attribute_exists(c) AND (e < :e OR (e = :e AND s < :s))")
            .expression_attribute_values(":e", n(to.epoch))
            .expression_attribute_values(":s", n(to.seq))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            // Sent again by the SDK after a lost answer it would meet its own head and answer that as the one before (L4).
            .config_override(aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled()))
            .send()
            .await;
        let before = match update {
            Ok(raised) => raised.attributes,
            Err(error) => match refused(&error) {
                Some(refused) => refused.item.clone(),
                None => return Err(unavailable("raise a head", &error)),
            },
        };
        let before = before.ok_or_else(|| Unavailable::new("raise a head", "there is no such conversation"))?;
        table::read_head(&before)
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Vec<Position>, Unavailable> {
        if let [conversation] = conversations {
            let key = table::conversation_key(conversation, table::HEAD);
            let item = self.get(&self.tables.conversations, key, "read a head").await?;
            return Ok(vec![item.as_ref().map(table::read_head).transpose()?.unwrap_or(Position::ZERO)]);
        }
        let keys = conversations.iter().map(|conversation| table::conversation_key(conversation, table::HEAD)).collect();
        let mut heads = HashMap::new();
        for item in self.get_many(&self.tables.conversations, keys, "read heads").await? {
            if let Some(AttributeValue::S(conversation)) = item.get("c") {
                heads.insert(conversation.clone(), table::read_head(&item)?);
            }
        }
        Ok(conversations.iter().map(|conversation| heads.get(conversation.as_str()).copied().unwrap_or(Position::ZERO)).collect())
    }
}

/// The refusal of a conditional update, if that is what the error is.
fn refused<R>(error: &SdkError<UpdateItemError, R>) -> Option<&ConditionalCheckFailedException> {
    match error {
        SdkError::ServiceError(service) => match service.err() {
            UpdateItemError::ConditionalCheckFailedException(refused) => Some(refused),
            _ => None,
        },
        _ => None,
    }
}

impl Sessions for Store {
    async fn register(&self, user: &UserId, session: &Session, now: UnixMillis) -> Result<Vec<Session>, Unavailable> {
        let expiry_s = now.plus_ms(SESSIONS_LIFE_MS).get() / 1000;
        let update = self
            .client
            .update_item()
            .table_name(&self.tables.users)
            .set_key(Some(table::sessions_key(user)))
            .expression_attribute_names("#c", table::connection_attribute(&session.connection))
            .expression_attribute_values(":c", table::session_value(session))
            .return_values(ReturnValue::AllNew);
        let first = update
            .clone()
            .update_expression("SET #c = :c, #t = :t")
            .condition_expression("attribute_not_exists(#t) OR #t <= :t")
            .expression_attribute_names("#t", "ttl")
            .expression_attribute_values(":t", n(expiry_s))
            .send()
            .await;
        let written = match first {
            // Another machine's clock is ahead: its expiry stays, it is never lowered.
            Err(error) if refused(&error).is_some() => update.update_expression("SET #c = :c").send().await,
            other => other,
        };
        let written = written.map_err(|error| unavailable("write a session", &error))?;
        table::read_sessions(&written.attributes.unwrap_or_default())
    }

    async fn remove(&self, user: &UserId, connections: &[ConnectionId]) -> Result<(), Unavailable> {
        if connections.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = (0..connections.len()).map(|index| format!("#c{index}")).collect();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.tables.users)
            .set_key(Some(table::sessions_key(user)))
            .update_expression(format!("REMOVE {}", names.join(", ")))
            .condition_expression("attribute_exists(u)");
        for (name, connection) in names.iter().zip(connections) {
            update = update.expression_attribute_names(name, table::connection_attribute(connection));
        }
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if refused(&error).is_some() => Ok(()), // no item, no session
            Err(error) => Err(unavailable("remove a session", &error)),
        }
    }

    async fn of_users(&self, users: &[UserId]) -> Result<Vec<(UserId, Session)>, Unavailable> {
        let by_key: HashMap<String, &UserId> = users.iter().map(|user| (table::user_key(user), user)).collect();
        let keys = by_key.values().map(|user| table::sessions_key(user)).collect();
        let mut sessions = vec![];
        for item in self.get_many(&self.tables.users, keys, "read sessions").await? {
            let Some(user) = item.get("u").and_then(|value| value.as_s().ok()).and_then(|key| by_key.get(key)) else { continue };
            sessions.extend(table::read_sessions(&item)?.into_iter().map(|session| ((*user).clone(), session)));
        }
        Ok(sessions)
    }
}
