//! `DynamoDB`: a file for each port. Every read is strong, but that of a recent gate; every write that does not create names its key in a condition; nothing scans;
//! every query pages. What a request says about an item is in [`crate::items`].

mod accounts;
mod amendments;
mod creation;
mod deployment;
mod heads;
mod inboxes;
mod log;
mod memberships;
mod sessions;
pub(crate) mod table;
mod tickets;
mod transaction;

use crate::backend::{Backend, Conversations, Inboxes, Log, Part, Users};
