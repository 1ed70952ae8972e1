//! What every route of the WebSocket API shares: who calls, what they ask, how the answer goes back.

use aws_lambda_events::apigw::{ApiGatewayWebsocketProxyRequest, ApiGatewayWebsocketProxyRequestContext};
use aws_lambda_events::http::HeaderMap;
use chatlane_chat::limit::frame_units;
use chatlane_chat::log::draft::Drafted;
use chatlane_chat::ports::{
    Accounts, Clock, Connection, Connections, Deployments, FanOutQueue, Heads, Memberships, MessageLog, Meter, Outbound,
};
use chatlane_chat::requests::caller::{Caller, part, unexpired};
use chatlane_chat::requests::change::{self, Asked};
use chatlane_chat::settings::Deployed;
use chatlane_chat::{Done, Refused};
use chatlane_protocol::frames::{ChangeAnswer, ErrorFrame, encode};
use chatlane_protocol::request::{Action, Exchange, parse};
use chatlane_protocol::{ConnectionId, DeviceId, Refusal, RequestId, ServerFrame, UnixMillis, UserId};
use serde::Serialize;

use crate::limit::UserLimit;

/// What the gateway gives a route.
pub type Event = ApiGatewayWebsocketProxyRequest;

/// What a route gives the gateway.
pub type Answered = Result<ProxyAnswer, ForeignEvent>;

/// A proxy answer: the gateway passes `body` to the client, because every route has a route response; an empty one is no frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyAnswer {
    /// Below 300, or the gateway reports a failure.
    pub status_code: u16,
    /// One frame, or nothing.
    pub body: String,
}

impl ProxyAnswer {
    /// No frame: the gateway bills none.
    pub const NOTHING: Self = Self { status_code: 200, body: String::new() };

    /// Carries this frame.
    pub fn of(frame: &ServerFrame) -> Self {
        Self { status_code: 200, body: encode(frame) }
    }
}

/// The event does not come from a gateway with Chatlane's authorizer.
#[derive(Debug, thiserror::Error)]
#[error("the event lacks {0}, which the authorizer or the gateway gives")]
pub struct ForeignEvent(&'static str);

/// The gateway answers the client "Internal server error"; the log has this.
impl From<ForeignEvent> for lambda_runtime::Diagnostic {
    fn from(error: ForeignEvent) -> Self {
        Self { error_type: "ForeignEvent".to_owned(), error_message: error.to_string() }
    }
}

/// Who calls, on which connection of theirs: the authorizer's context, which API Gateway replays on every frame.
pub fn caller(context: &ApiGatewayWebsocketProxyRequestContext) -> Result<(UserId, Connection), ForeignEvent> {
    let field = |name: &'static str| {
        let value = context.authorizer.fields.get(name).and_then(serde_json::Value::as_str);
        value.ok_or(ForeignEvent(name))
    };
    let expires = field("expires")?.parse().ok().and_then(|ms: u64| UnixMillis::try_from(ms).ok());
    let connected_at = u64::try_from(context.connected_at).ok().and_then(|ms| UnixMillis::try_from(ms).ok());
    let user = UserId::new(field("user")?).map_err(|_| ForeignEvent("user"))?;
    let mine = Connection {
        device: DeviceId::new(field("device")?).map_err(|_| ForeignEvent("device"))?,
        connection: context.connection_id.clone().and_then(|id| ConnectionId::new(id).ok()).ok_or(ForeignEvent("connectionId"))?,
        connected_at: connected_at.ok_or(ForeignEvent("connectedAt"))?,
        expires: expires.ok_or(ForeignEvent("expires"))?,
    };
    Ok((user, mine))
}

/// A header of a handshake: all its values, joined by commas (RFC 9110 §5.3). The gateway's single-value map has only the last one.
pub fn header(all: &HeaderMap, single: &HeaderMap, name: &str) -> Option<String> {
    let values = if all.contains_key(name) { all } else { single };
    let values: Vec<&str> = values.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// What every route does: reads who asks what, and answers with what `serve` makes of it. A bad request, and one of a caller whose token
/// has expired, does not get there.
pub async fn answer<E: Exchange>(
    ports: &(impl Connections + Outbound + Clock + Accounts + Meter),
    limit: &UserLimit,
    event: &Event,
    serve: impl AsyncFnOnce(Caller, &E::Request) -> Result<Done<E::Answer>, Refused>,
) -> Answered {
    respond::<E, _>(ports, limit, event, async |user, mine, request| Ok(E::frame(serve(Caller::on(user, mine), request).await?.answer)))
        .await
}

/// [`answer`], for a route that is about the connection; it may answer with another frame than its own, or with none.
pub async fn respond<E: Exchange, F: Into<Option<ServerFrame>>>(
    ports: &(impl Connections + Outbound + Clock + Accounts + Meter),
    limit: &UserLimit,
    event: &Event,
    serve: impl AsyncFnOnce(&UserId, &Connection, &E::Request) -> Result<F, Refused>,
) -> Answered {
    let request = parse::<E>(body(event));
    let id = request.as_ref().map_or_else(|bad| bad.id.clone(), |request| Some(E::id(request).clone()));
    answer_unexpired(ports, limit, event, id, async |user, mine| match request {
        Err(bad) => Ok(Some(error(bad.id, bad.refusal))),
        Ok(request) => {
            let served = serve(user, &mine, &request).await.map(Into::into);
            served.inspect_err(|refused| refused.log(&format!("{} is not answered", E::ACTION.name())))
        }
    })
    .await
}

/// Answers a caller whose token has not expired, and charges them for what that cost; `id` is the request's, where it has a good one. Who has
/// spent too much is told so, instead of what they asked, and the connection is closed.
pub async fn answer_unexpired<F: Into<Option<ServerFrame>>>(
    ports: &(impl Connections + Outbound + Clock + Accounts + Meter),
    limit: &UserLimit,
    event: &Event,
    id: Option<RequestId>,
    serve: impl AsyncFnOnce(&UserId, Connection) -> Result<F, Refused>,
) -> Answered {
    let (user, mine) = caller(&event.request_context)?;
    let connection = mine.connection.clone();
    let served = async {
        if !limit.takes(ports, &user) {
            return Err(Refused::TooMuch { retry_after_ms: 1000 });
        }
        match unexpired(ports, &user, mine, id.as_ref()).await {
            Ok(None) => Ok(None), // posted, and closed
            Ok(Some(mine)) => serve(&user, mine).await.map(Into::into),
            Err(failure) => {
                failure.log("whether a refresh has prolonged the connection is unknown");
                Err(failure.into())
            }
        }
    };
    let (served, units) = ports.metered(Box::pin(served)).await; // it is moved often, and is large
    let units = frame_units(body(event).len()) + units;
    if let Some(retry_after_ms) = limit.charge(ports, &user, Some(&connection), units, event.request_context.request_id.as_deref()).await {
        part(ports, &connection, id.as_ref(), &Refused::TooMuch { retry_after_ms }).await;
        return Ok(ProxyAnswer::NOTHING);
    }
    Ok(served.unwrap_or_else(|refused| Some(error(id, refused.to_wire()))).map_or(ProxyAnswer::NOTHING, |frame| ProxyAnswer::of(&frame)))
}

/// Answers a request that appends an entry with what it changes.
pub async fn change<E, K, P>(ports: &P, deployed: &Deployed, limit: &UserLimit, event: &Event) -> Answered
where
    P: MessageLog + Memberships + Heads + Connections + FanOutQueue + Deployments + Outbound + Clock + Accounts + Meter,
    E: Exchange<Answer = ChangeAnswer>,
    K: Drafted<P>,
    for<'a> Asked<K>: From<&'a E::Request>,
{
    answer::<E>(ports, limit, event, async |caller, request| {
        let settings = deployed.settings(ports).await?;
        change::change(ports, &settings, &caller, &request.into()).await
    })
    .await
}

/// The action of the route by which the gateway invoked a function that has several.
pub fn action(event: &Event) -> Option<Action> {
    Action::from_name(event.request_context.route_key.as_deref()?)
}

/// A function was invoked by a route that is not one of its own.
pub const fn not_routed() -> Answered {
    Err(ForeignEvent("a route of this function"))
}

/// The text of the frame.
pub fn body(event: &Event) -> &str {
    event.body.as_deref().unwrap_or_default()
}

/// An error frame.
pub fn error(id: Option<RequestId>, refusal: Refusal) -> ServerFrame {
    ServerFrame::Error(ErrorFrame { id, refusal })
}
