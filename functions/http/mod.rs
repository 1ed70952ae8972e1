//! The HTTP API: what a device asks without a socket, and what its app's own backend asks. `POST /v1/{action}`; the body is the frame that a
//! socket would carry, and so is the answer. There is no handshake here: each request has its token, meets its user's gate, and is charged.

use std::collections::BTreeMap;
use std::io::Write as _;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chatlane_aws::{Backend, Conversations, Gateway, Inboxes, Log, Queue, Users};
use chatlane_chat::limit::HTTP_UNITS;
use chatlane_chat::ports::{
    Accounts, Amendments, Clock, Connections, Deployments, Failure, FanOutQueue, Heads, Inboxes as InboxesPort, Memberships, MessageLog,
    Meter, Outbound, Tickets,
};
use chatlane_chat::requests::caller::Caller;
use chatlane_chat::requests::cursors::{self, Cursor};
use chatlane_chat::requests::{hello, history, probe, send, sync, ticket};
use chatlane_chat::settings::Deployed;
use chatlane_chat::{Done, Refused};
use chatlane_protocol::frames::encode;
use chatlane_protocol::limits::WEBSOCKET_MESSAGE_BYTES_MAX;
use chatlane_protocol::request::{Action, Exchange, exchange, parse, refuse};
use chatlane_protocol::{ErrorCode, Refusal, RequestId, ServerFrame, UnixMillis};
use flate2::Compression;
use flate2::write::GzEncoder;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Serialize;

use crate::environment::{Environment, PortsToBe};
use crate::handshake::authorize::jwks::{FetchKeys, KeyAges, KeySource};
use crate::handshake::authorize::token::{self, TokenPolicy, bearer_token};
use crate::handshake::authorize::{Denied, grant, the_device};
use crate::limit::UserLimit;
use crate::start::open_connection;
use crate::websocket::{error, header};

/// The ports that it is given.
pub type Ports = Backend<Log, Conversations, Inboxes, Users, Queue, Gateway>;

/// What it is given.
pub fn asks(env: &mut Environment) -> (PortsToBe<Ports>, Deployed, (String, TokenPolicy), UserLimit) {
    (env.ports(), env.founding(), env.issuer(), env.limit())
}

/// Runs its loop.
pub async fn run(env: Environment) -> Result<(), Error> {
    let (ports, deployed, (source, policy), limit) = &env.give(asks)?;
    let (ports, keys) = (&ports.make().await, &KeySource::from_setting(source, KeyAges::default())?);
    tokio::join!(open_connection(deployed.settings(ports)), open_connection(ports.queue.open_connection()));
    let server = &Server { ports, deployed, keys, policy, limit };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<ApiGatewayV2httpRequest>| {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok::<_, Error>(server.answer(secret, event.payload).await)
    }))
    .await
}

/// What the gateway is answered (payload format 2.0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// 200, or what the refusal's code is in HTTP.
    pub status_code: u16,
    /// All that the client is told beside the body.
    pub headers: BTreeMap<&'static str, String>,
    /// One frame.
    pub body: String,
    /// Whether `body` is base64: of a frame that is compressed.
    pub is_base64_encoded: bool,
}

/// What each request is answered with.
#[derive(Debug)]
pub struct Server<'a, P, F> {
    /// The deployment.
    pub ports: &'a P,
    /// What is known of it.
    pub deployed: &'a Deployed,
    /// Where the issuer's keys come from.
    pub keys: &'a KeySource<F>,
    /// Which tokens are taken.
    pub policy: &'a TokenPolicy,
    /// What a user may spend.
    pub limit: &'a UserLimit,
}

/// Who asks what.
struct Asked<'a> {
    caller: Caller,
    /// When the time of their token is over.
    expires: UnixMillis,
    frame: &'a str,
    secret: [u8; 32],
}

impl<P, F> Server<'_, P, F>
where
    P: MessageLog
        + Memberships
        + InboxesPort
        + Amendments
        + Heads
        + Connections
        + FanOutQueue
        + Deployments
        + Outbound
        + Clock
        + Accounts
        + Tickets
        + Meter,
    F: FetchKeys,
{
    /// Answers one request. `secret`: random bytes, of which a ticket is made.
    pub async fn answer(&self, secret: [u8; 32], event: ApiGatewayV2httpRequest) -> Answer {
        let (frame, is_zipped) = match frame_of(&event) {
            Ok(frame) => (frame, takes_gzip(&event)),
            Err(refusal) => return answer(Some(&error(None, refusal)), false),
        };
        let id = refuse(&frame).id;
        let answered = match self.identify(&event).await {
            Err(refused) => Some(error(id, refused.to_wire())),
            Ok((caller, expires)) => {
                let action = event.path_parameters.get("action").and_then(|name| Action::from_name(name));
                self.charged(&event, id, action, Asked { caller, expires, frame: &frame, secret }).await
            }
        };
        answer(answered.as_ref(), is_zipped)
    }

    /// The user of the token and the device of the query.
    async fn identify(&self, event: &ApiGatewayV2httpRequest) -> Result<(Caller, UnixMillis), Refused> {
        let authorization = header(&event.headers, &event.headers, "authorization");
        let granted = async {
            let device = the_device(event.query_string_parameters.all("device").as_deref())?;
            let token = bearer_token(authorization.as_deref().ok_or(token::Refusal::Missing)?)?;
            let (user, expires) = grant(self.keys, self.policy, self.ports, token, device).await?;
            Ok((Caller { user, device, connection: None }, expires))
        };
        match granted.await {
            Ok(granted) => Ok(granted),
            Err(Denied::Keys(_)) => Err(Failure::unavailable("verify a token", "the issuer's keys cannot be had").into()),
            Err(denied) => {
                tracing::info!("a request was denied: {denied}");
                Err(Refused::TokenRefused)
            }
        }
    }

    /// Answers whoever is not shut out, and charges them for what that cost.
    async fn charged(
        &self,
        event: &ApiGatewayV2httpRequest,
        id: Option<RequestId>,
        action: Option<Action>,
        asked: Asked<'_>,
    ) -> Option<ServerFrame> {
        let Self { ports, limit, .. } = *self;
        let user = asked.caller.user.clone();
        let served = async {
            let now = ports.now();
            if !limit.takes(ports, &user) {
                return Err(Refused::TooMuch { retry_after_ms: 1000 });
            }
            if let Some(retry_after_ms) = limit.gates.shut_for_ms(&user, now) {
                return Err(Refused::TooMuch { retry_after_ms });
            }
            // Where it cannot be read the user is served, as in a handshake.
            let gate = ports.recent_gate(&user).await.inspect_err(|failure| failure.log("a gate is taken for open")).unwrap_or_default();
            if let Some(retry_after_ms) = gate.shut_for_ms(now) {
                limit.gates.found(&user, now, retry_after_ms);
                return Err(Refused::TooMuch { retry_after_ms });
            }
            self.serve(action, asked).await
        };
        let (served, units) = ports.metered(Box::pin(served)).await;
        let charged = limit.charge(ports, &user, None, HTTP_UNITS + units, event.request_context.request_id.as_deref()).await;
        match charged {
            Some(retry_after_ms) => Some(error(id, Refused::TooMuch { retry_after_ms }.to_wire())),
            None => served.unwrap_or_else(|refused| Some(error(id, refused.to_wire()))),
        }
    }

    async fn serve(&self, action: Option<Action>, asked: Asked<'_>) -> Result<Option<ServerFrame>, Refused> {
        let Self { ports, deployed, .. } = *self;
        let Asked { caller, expires, frame, secret } = asked;
        let caller = &caller;
        let settings = async || deployed.settings(ports).await;
        match action {
            Some(Action::Hello) => {
                one::<exchange::Hello>(frame, async |request| {
                    hello::without_a_session(ports, &settings().await?, caller, expires, request).await
                })
                .await
            }
            Some(Action::Sync) => {
                one::<exchange::Sync>(frame, async |request| Ok(sync::sync(ports, &settings().await?, caller, request).await?)).await
            }
            Some(Action::History) => {
                one::<exchange::History>(frame, async |request| {
                    history::history(ports, &settings().await?.keys.users, caller, request).await
                })
                .await
            }
            Some(Action::Probe) => {
                one::<exchange::Probe>(frame, async |request| probe::probe(ports, &settings().await?, caller, request).await).await
            }
            Some(Action::Send) => {
                one::<exchange::Send>(frame, async |request| Ok(send::send(ports, &settings().await?, caller, request).await?)).await
            }
            Some(Action::Ack) => {
                respond::<exchange::Ack>(frame, async |request| {
                    Ok(cursors::answer(ports, &settings().await?, caller, request, Cursor::Delivered).await?.answer)
                })
                .await
            }
            Some(Action::Read) => {
                respond::<exchange::Read>(frame, async |request| {
                    Ok(cursors::answer(ports, &settings().await?, caller, request, Cursor::Read).await?.answer)
                })
                .await
            }
            Some(Action::Ticket) => {
                one::<exchange::Ticket>(frame, async |request| ticket::ticket(ports, caller, expires, secret, request).await).await
            }
            _ => {
                let bad = refuse(frame);
                Ok(Some(error(bad.id, bad.refusal)))
            }
        }
    }
}

/// What `serve` makes of the request that the frame is.
async fn one<E: Exchange>(
    frame: &str,
    serve: impl AsyncFnOnce(&E::Request) -> Result<Done<E::Answer>, Refused>,
) -> Result<Option<ServerFrame>, Refused> {
    respond::<E>(frame, async |request| Ok(Some(serve(request).await?.answer))).await
}

/// The same, where there may be nothing to answer.
async fn respond<E: Exchange>(
    frame: &str,
    serve: impl AsyncFnOnce(&E::Request) -> Result<Option<E::Answer>, Refused>,
) -> Result<Option<ServerFrame>, Refused> {
    match parse::<E>(frame) {
        Err(bad) => Ok(Some(error(bad.id, bad.refusal))),
        Ok(request) => {
            let served = serve(&request).await;
            served.map(|answer| answer.map(E::frame)).inspect_err(|refused| refused.log(&format!("{} is not answered", E::ACTION.name())))
        }
    }
}

/// The text of the body. The gateway encodes one that it does not know to be text.
fn frame_of(event: &ApiGatewayV2httpRequest) -> Result<String, Refusal> {
    let bad = |message: &str| Refusal::new(ErrorCode::BadRequest, message);
    let body = event.body.as_deref().unwrap_or_default();
    if body.len() > WEBSOCKET_MESSAGE_BYTES_MAX * 4 / 3 + 4 {
        return Err(bad("the body is too large"));
    }
    let bytes = if event.is_base64_encoded { STANDARD.decode(body).map_err(|_| bad("the body cannot be read"))? } else { body.into() };
    match String::from_utf8(bytes) {
        Ok(frame) if frame.len() <= WEBSOCKET_MESSAGE_BYTES_MAX => Ok(frame),
        Ok(_) => Err(bad("the body is too large")),
        Err(_) => Err(bad("the body is not UTF-8")),
    }
}

/// Whether the client reads gzip. (A weight of 0, which refuses it, is taken for a weight.)
fn takes_gzip(event: &ApiGatewayV2httpRequest) -> bool {
    let accepted = header(&event.headers, &event.headers, "accept-encoding").unwrap_or_default();
    accepted.split(',').any(|coding| coding.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("gzip")))
}

/// What a refusal is in HTTP.
const fn status(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::TokenExpired | ErrorCode::TokenRefused => 401,
        ErrorCode::NotFound | ErrorCode::Forbidden => 403,
        ErrorCode::RateLimited => 429,
        ErrorCode::Busy | ErrorCode::Unavailable => 503,
        _ => 400,
    }
}

/// A body is compressed from this size on: a smaller one fits a packet as it is.
const ZIPPED_FROM_BYTES: usize = 1024;

fn answer(frame: Option<&ServerFrame>, takes_gzip: bool) -> Answer {
    let mut headers = BTreeMap::from([("content-type", "application/json".to_owned()), ("cache-control", "no-store".to_owned())]);
    let mut status_code = 200;
    if let Some(ServerFrame::Error(error)) = frame {
        status_code = status(error.refusal.code);
        headers.extend(error.refusal.retry_after_ms.map(|ms| ("retry-after", ms.div_ceil(1000).to_string())));
    }
    let body = frame.map(encode).unwrap_or_default();
    let zipped = if takes_gzip && body.len() >= ZIPPED_FROM_BYTES { gzip(&body) } else { None };
    match zipped {
        Some(zipped) => {
            headers.insert("content-encoding", "gzip".to_owned());
            Answer { status_code, headers, body: STANDARD.encode(zipped), is_base64_encoded: true }
        }
        None => Answer { status_code, headers, body, is_base64_encoded: false },
    }
}

fn gzip(text: &str) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}
