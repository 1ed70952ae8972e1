//! One table: requests that name it and no attribute.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{Get, KeysAndAttributes, TransactGetItem};
use chatlane_chat::ports::Failure;

use crate::failure::unavailable;
use crate::items::{self, Item};

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

/// A table of the deployment.
#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    pub name: String,
}

impl Table {
    pub const fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// For requests that name several tables.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// A strong read of one item.
    pub fn get_item(&self) -> GetItemFluentBuilder {
        self.client.get_item().table_name(&self.name).consistent_read(true)
    }

    /// Removes these attributes of an item, if it is there.
    pub async fn forget(&self, key: Item, names: &[String], attempted: &'static str) -> Result<(), Failure> {
        match items::forget(self.update_item(), key, names).send().await {
            Ok(_) => Ok(()),
            Err(error) if refused(&error).is_some() => Ok(()),
            Err(error) => Err(unavailable(attempted, &error)),
        }
    }

    /// A strong query.
    pub fn query(&self) -> QueryFluentBuilder {
        self.client.query().table_name(&self.name).consistent_read(true)
    }

    pub fn put_item(&self) -> PutItemFluentBuilder {
        self.client.put_item().table_name(&self.name)
    }

    pub fn delete_item(&self) -> DeleteItemFluentBuilder {
        self.client.delete_item().table_name(&self.name)
    }

    pub fn update_item(&self) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.name)
    }

    /// The item of this key.
    pub async fn get(&self, key: Item, attempted: &'static str) -> Result<Option<Item>, Failure> {
        let request = self.get_item().set_key(Some(key));
        Ok(request.send().await.map_err(|error| unavailable(attempted, &error))?.item)
    }

    /// [`Table::get_many`]; by the plain request for one key, and without a request for none.
    pub async fn get_all(&self, mut keys: Vec<Item>, attempted: &'static str) -> Result<Vec<Item>, Failure> {
        match (keys.pop(), keys.is_empty()) {
            (None, _) => Ok(vec![]),
            (Some(key), true) => Ok(self.get(key, attempted).await?.into_iter().collect()),
            (Some(key), false) => {
                keys.push(key);
                self.get_many(keys, attempted).await
            }
        }
    }

    /// The items of these keys, at most 100, in their order: as they all stood at one moment, with no transaction seen half. Waits out
    /// transactions that are in the way.
    pub async fn get_in_transaction(&self, keys: Vec<Item>, attempted: &'static str) -> Result<Vec<Option<Item>>, Failure> {
        let get = |key| {
            let get = Get::builder().table_name(&self.name).set_key(Some(key)).build();
            let get = get.map_err(|_| Failure::unavailable(attempted, "the request could not be made"))?;
            Ok(TransactGetItem::builder().get(get).build())
        };
        let gets: Vec<TransactGetItem> = keys.into_iter().map(get).collect::<Result<_, Failure>>()?;
        for round in 0..ROUNDS_MAX {
            pause(round).await;
            let error = match self.client.transact_get_items().set_transact_items(Some(gets.clone())).send().await {
                Ok(answer) => {
                    let responses = answer.responses.unwrap_or_default().into_iter();
                    return Ok(responses.map(|response| response.item.filter(|item| !item.is_empty())).collect());
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
        Err(Failure::unavailable(attempted, "other transactions were in the way"))
    }

    /// Items of these keys, in no order.
    pub async fn get_many(&self, keys: Vec<Item>, attempted: &'static str) -> Result<Vec<Item>, Failure> {
        let mut items = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(BATCH_KEYS_MAX) {
            let mut wanted = chunk.to_vec();
            for round in 0..ROUNDS_MAX {
                pause(round).await;
                let keys = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
                let keys = keys.map_err(|_| Failure::unavailable(attempted, "the request could not be made"))?;
                let answer = self.client.batch_get_item().request_items(&self.name, keys).send().await;
                let answer = answer.map_err(|error| unavailable(attempted, &error))?;
                items.extend(answer.responses.unwrap_or_default().remove(&self.name).unwrap_or_default());
                let rest = answer.unprocessed_keys.unwrap_or_default().remove(&self.name);
                wanted = rest.map(|keys| keys.keys).unwrap_or_default();
                if wanted.is_empty() {
                    break;
                }
            }
            if !wanted.is_empty() {
                return Err(Failure::unavailable(attempted, "answered only a part"));
            }
        }
        Ok(items)
    }
}

/// Passes the items that a query finds to `take`, in its order, page by page. `wanted` is how many that wants of the first page, and `take`
/// answers how many it still wants; `None`: as many as there are.
pub async fn each(
    mut query: QueryFluentBuilder,
    mut wanted: Option<usize>,
    attempted: &'static str,
    mut take: impl FnMut(&Item) -> Result<Option<usize>, Failure>,
) -> Result<(), Failure> {
    loop {
        let limit = wanted.map(|wanted| i32::try_from(wanted).unwrap_or(i32::MAX));
        // On the heap: every future that reads through this would else be as large as the SDK's.
        let page = Box::pin(query.clone().set_limit(limit).send()).await.map_err(|error| unavailable(attempted, &error))?;
        for item in page.items() {
            wanted = take(item)?;
            if wanted == Some(0) {
                return Ok(());
            }
        }
        if page.last_evaluated_key.is_none() {
            return Ok(());
        }
        query = query.set_exclusive_start_key(page.last_evaluated_key);
    }
}

/// How many items a query finds, page by page.
pub async fn count(mut query: QueryFluentBuilder, attempted: &'static str) -> Result<usize, Failure> {
    let mut items = 0;
    loop {
        let page = Box::pin(query.clone().send()).await.map_err(|error| unavailable(attempted, &error))?;
        items += usize::try_from(page.count).unwrap_or_default();
        if page.last_evaluated_key.is_none() {
            return Ok(items);
        }
        query = query.set_exclusive_start_key(page.last_evaluated_key);
    }
}

/// The refusal of a conditional update, if that is what the error is.
pub fn refused<R>(error: &SdkError<UpdateItemError, R>) -> Option<&ConditionalCheckFailedException> {
    match error {
        SdkError::ServiceError(service) => match service.err() {
            UpdateItemError::ConditionalCheckFailedException(refused) => Some(refused),
            _ => None,
        },
        _ => None,
    }
}
