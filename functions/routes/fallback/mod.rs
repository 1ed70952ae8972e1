//! Route `$default`: whatever the gateway could not route, which is malformed or has an unknown action. Changes nothing.

use chatlane_aws::{Backend, Gateway, Users};
use chatlane_chat::ports::{Clock, Connections, Outbound};
use chatlane_protocol::request::refuse;
use lambda_runtime::{Error, service_fn};

use crate::environment::{Environment, PortsToBe};
use crate::start::RouteEvent;
use crate::websocket::{Answered, Event, answer_if_admitted, body, error};

/// The ports that it is given.
pub type Ports = Backend<(), (), (), Users, (), Gateway>;

/// What it is given.
pub fn asks(env: &mut Environment) -> PortsToBe<Ports> {
    env.ports()
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let ports = &env.give(asks)?.make().await;
    lambda_runtime::run(service_fn(|event: RouteEvent| handle(ports, event.payload))).await
}

/// Answers with the one typed error that fits.
pub async fn handle(ports: &(impl Connections + Outbound + Clock), event: Event) -> Answered {
    let bad = refuse(body(&event));
    answer_if_admitted(ports, &event, bad.id.clone(), async |_| Ok(error(bad.id, bad.refusal))).await
}
