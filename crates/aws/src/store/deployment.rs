//! The item that all functions of a deployment share.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use chatlane_chat::deployment::Deployment;
use chatlane_chat::ports::{Deployments, Failure};

use super::{Backend, Conversations, Part};
use crate::failure::unavailable;
use crate::items::deployment;

impl<L: Part, I: Part, U: Part, Q: Part, G: Part> Deployments for Backend<L, Conversations, I, U, Q, G> {
    async fn deployment(&self) -> Result<Option<Deployment>, Failure> {
        let item = self.conversations.0.get(deployment::key(), "read the deployment's item").await?;
        item.as_ref().map(deployment::read).transpose()
    }

    async fn found(&self, first: &Deployment) -> Result<Deployment, Failure> {
        let attempted = "write the deployment's item";
        let Err(error) = deployment::found(self.conversations.0.put_item(), first).send().await else { return Ok(first.clone()) };
        if let SdkError::ServiceError(service) = &error
            && let PutItemError::ConditionalCheckFailedException(refused) = service.err()
        {
            // Also where the SDK has sent this very item twice.
            let stands = refused.item().ok_or_else(|| Failure::unavailable(attempted, "refused without the item that stands"))?;
            return deployment::read(stands);
        }
        Err(unavailable(attempted, &error))
    }
}
