//! `DynamoDB`: the log, memberships, cursors, heads and sessions, a file each. Every read is strong; every write that does not create
//! names its key in a condition; nothing scans; every query pages.

mod cursors;
mod heads;
mod log;
mod memberships;
mod sessions;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use chatlane_chat::ports::Unavailable;

use crate::failure::unavailable;
use crate::table::{Item, Tables};

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

    /// [`Store::get_many`]; by the plain request for one key, and without a request for none.
    async fn get_all(&self, table: &str, mut keys: Vec<Item>, attempted: &'static str) -> Result<Vec<Item>, Unavailable> {
        match (keys.pop(), keys.is_empty()) {
            (None, _) => Ok(vec![]),
            (Some(key), true) => Ok(self.get(table, key, attempted).await?.into_iter().collect()),
            (Some(key), false) => {
                keys.push(key);
                self.get_many(table, keys, attempted).await
            }
        }
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
