//! `DynamoDB`: the log, memberships, cursors, heads and sessions, a file for each port. Every read is strong; every write that does not create
//! names its key in a condition; nothing scans; every query pages. What a request says about an item is in [`crate::items`].

mod cursors;
mod heads;
mod log;
mod memberships;
mod sessions;
mod table;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;

use table::Table;

/// The names of the deployment's tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Entries.
    pub log: String,
    /// `meta`, `head` and members of each conversation.
    pub conversations: String,
    /// Conversations of each user.
    pub inboxes: String,
    /// Sessions of each user.
    pub users: String,
}

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
    log: Table,
    conversations: Table,
    inboxes: Table,
    users: Table,
}

impl Store {
    /// On these tables.
    pub fn new(config: &aws_config::SdkConfig, tables: Tables) -> Self {
        let client = Client::new(config);
        let table = |name| Table::new(client.clone(), name);
        Self {
            log: table(tables.log),
            conversations: table(tables.conversations),
            inboxes: table(tables.inboxes),
            users: table(tables.users),
            client,
        }
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
