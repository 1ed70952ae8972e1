//! `@connections`: posting to live sockets, and closing them.

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_apigatewaymanagement::operation::delete_connection::DeleteConnectionError;
use aws_sdk_apigatewaymanagement::operation::post_to_connection::PostToConnectionError;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use chatlane_chat::ports::{Failure, Outbound, PostOutcome};
use chatlane_protocol::ConnectionId;

use crate::backend::{Backend, Clients, Part, Resource};
use crate::failure::unavailable;
use crate::meter;

/// The management endpoint of one stage. Always from the deployment's settings: behind a custom domain the event's domain is another.
#[derive(Clone, Debug)]
pub struct Gateway {
    client: Client,
}

impl Gateway {
    /// Opens the connection that the first post will use, by asking for a socket that does not exist. Whatever the answer, it is open.
    pub async fn open_connection(&self) -> Result<(), Failure> {
        let _answer = self.client.get_connection().connection_id("none").send().await;
        Ok(())
    }
}

/// What became of a request whose answer is an error; `gone`: the service says that there is no such connection.
fn failed<E: ProvideErrorMetadata>(attempted: &'static str, error: &SdkError<E>, gone: impl Fn(&E) -> bool) -> PostOutcome {
    if let SdkError::ServiceError(service) = error
        && gone(service.err())
    {
        return PostOutcome::Gone;
    }
    let (status, cause) = (error.raw_response().map(|response| response.status().as_u16()), unavailable(attempted, error));
    match status {
        // No rights, no such API, too large: no repetition and no other connection will fare better.
        Some(401 | 403 | 404 | 413) => PostOutcome::Refused(cause),
        Some(429) => PostOutcome::Throttled(cause),
        // 400 (an id that is none), 5xx, timeouts: it may or may not have arrived; receivers drop what they have.
        _ => PostOutcome::Unknown(cause),
    }
}

impl Part for Gateway {
    const RESOURCE: Option<Resource> = Some(Resource::Gateway);

    /// `endpoint` is `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    fn new(clients: &Clients<'_>, endpoint: &str) -> Self {
        let config = aws_sdk_apigatewaymanagement::config::Builder::from(clients.config).endpoint_url(endpoint);
        // A worker's time is for many posts, and a throttled one that is repeated at once makes it worse: chat repeats by tasks.
        Self { client: Client::from_conf(config.retry_config(RetryConfig::disabled()).build()) }
    }
}

impl<L: Part, C: Part, I: Part, U: Part, Q: Part> Outbound for Backend<L, C, I, U, Q, Gateway> {
    async fn post(&self, connection: &ConnectionId, frame: &str) -> PostOutcome {
        meter::add(meter::POST);
        let post = self.gateway.client.post_to_connection().connection_id(connection.as_str()).data(Blob::new(frame)).send().await;
        let Err(error) = post else { return PostOutcome::Posted };
        failed("post to a connection", &error, |error| matches!(error, PostToConnectionError::GoneException(_)))
    }

    async fn close(&self, connection: &ConnectionId) -> PostOutcome {
        meter::add(meter::POST);
        let close = self.gateway.client.delete_connection().connection_id(connection.as_str()).send().await;
        let Err(error) = close else { return PostOutcome::Posted };
        failed("close a connection", &error, |error| matches!(error, DeleteConnectionError::GoneException(_)))
    }
}
