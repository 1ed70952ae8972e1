//! The gateway: sockets, frames to functions and back, posts. Frames have no order; a socket's end is known to either side at its own time.

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequestTypeRequest, ApiGatewayWebsocketProxyRequest};
use chatlane_chat::ports::{Failure, PostOutcome};
use chatlane_chat::testing::memory::{Memory, SetClock};
use chatlane_chat::testing::ready::block_on;
use chatlane_functions::handshake::{authorize, connect};
use chatlane_functions::websocket::Answered;
use chatlane_protocol::{Action, ConnectionId, DeviceId};
use chatlane_session::{Input, OpenFailure, SocketId, Text};
use serde_json::{Value, json};

use super::port::{Call, machine_clock};
use super::{Event, RAW, START_MS, World};
use crate::fault::Fault;
use crate::issuer;

/// The gateway ends a connection after two hours.
const LIFE_MS: u64 = 2 * 60 * 60 * 1000;

/// Who holds the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A session.
    Phone { phone: usize, life: u32, socket: SocketId },
    /// Nobody's session: frames by hand.
    Raw(usize),
    /// Another client that uses the id of a device.
    Double,
}

/// What a socket carries, from the device's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Opening,
    Open,
    /// Frames vanish in both directions, and nobody is told.
    HalfOpen,
    Ended,
}

/// One socket.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub(crate) owner: Owner,
    pub(crate) stage: Stage,
    /// Whether the gateway holds it open: since `$connect` has answered, until it knows of the end.
    pub(crate) held: bool,
    /// Until then, posts to it are throttled.
    throttled_until_ms: u64,
    /// A worker has a reason to remove its session: a post got no answer, or a false one. That it was throttled is none.
    pub(crate) to_blame: bool,
    connected_ms: u64,
    context: Value,
}

impl Socket {
    pub(crate) const fn new(owner: Owner) -> Self {
        let (held, to_blame, connected_ms, throttled_until_ms) = (false, false, 0, 0);
        Self { owner, stage: Stage::Opening, held, throttled_until_ms, to_blame, connected_ms, context: Value::Null }
    }
}

impl World {
    /// Authorizer and `$connect`, as the gateway runs them.
    pub(crate) fn handshake(&mut self, number: u64, device: DeviceId, token: &str) -> Result<(), OpenFailure> {
        let offered = format!("chatlane.v1, token.{token}");
        let event = json!({
            "type": "REQUEST",
            "methodArn": "arn:aws:execute-api:us-east-1:000000000000:api/live/$connect",
            "headers": {"Sec-WebSocket-Protocol": offered},
            "multiValueHeaders": {"Sec-WebSocket-Protocol": [offered]},
            "queryStringParameters": {"device": device},
            "multiValueQueryStringParameters": {"device": [device]},
            "stageVariables": {},
            "requestContext": {"connectionId": name(number), "routeKey": "$connect", "eventType": "CONNECT"},
        });
        let event: ApiGatewayCustomAuthorizerRequestTypeRequest = serde_json::from_value(event).expect("an authorizer's event");
        let off_ms = self.clock_off();
        // No device has a ticket here.
        let mut ports = Memory::new();
        ports.clock = SetClock::at(machine_clock(&self.clock, off_ms)());
        let verdict = block_on(authorize::handle(&ports, &issuer::keys(), &issuer::policy(), event));
        let verdict = serde_json::to_value(verdict.expect("the issuer's keys are there")).expect("an authorizer's verdict");
        if verdict["policyDocument"]["Statement"][0]["Effect"] != "Allow" {
            return Err(OpenFailure::Denied);
        }
        let now_ms = self.now_ms;
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.context = verdict["context"].clone();
            socket.connected_ms = now_ms;
        }
        let event = self.event(number, "CONNECT", "$connect", None);
        self.memory.clock.set(machine_clock(&self.clock, off_ms)());
        let answer = block_on(connect::handle(&self.memory, &self.limit, event)).expect("the gateway's event");
        let admitted = answer.status_code < 300;
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.held = admitted;
        }
        self.at(LIFE_MS, Event::LifeEnds { socket: number });
        if admitted { Ok(()) } else { Err(OpenFailure::Unreachable) }
    }

    /// Why a socket could not be opened, as far as its device is told.
    pub(crate) fn as_seen_by(&self, number: u64, failure: OpenFailure) -> OpenFailure {
        match self.sockets[&number].owner {
            Owner::Phone { phone, .. } if self.phones[phone].blind => OpenFailure::Unreachable,
            _ => failure,
        }
    }

    fn event(&mut self, number: u64, event_type: &str, route: &str, body: Option<&str>) -> ApiGatewayWebsocketProxyRequest {
        let request = self.number();
        let socket = &self.sockets[&number];
        let event = json!({
            "requestContext": {
                "requestId": format!("r{request}="),
                "routeKey": route,
                "eventType": event_type,
                "connectedAt": START_MS + socket.connected_ms,
                "requestTimeEpoch": START_MS + self.now_ms,
                "connectionId": name(number),
                "authorizer": socket.context,
            },
            "headers": {},
            "multiValueHeaders": {},
            "body": body,
            "isBase64Encoded": false,
        });
        serde_json::from_value(event).expect("a gateway's event")
    }

    pub(crate) fn opened(&mut self, number: u64, failure: Option<OpenFailure>) {
        let Some(socket) = self.sockets.get_mut(&number).filter(|socket| socket.stage == Stage::Opening) else { return };
        socket.stage = if failure.is_some() { Stage::Ended } else { Stage::Open };
        if let Owner::Phone { phone, life, socket } = socket.owner {
            let input = failure.map_or(Input::Opened(socket), |failure| Input::OpenFailed { socket, failure });
            if failure.is_none() {
                self.note(phone, json!({"what": "connect"}));
            }
            self.input_of_life(phone, life, input);
        }
    }

    /// A frame leaves a device.
    pub(crate) fn leaves(&mut self, number: u64, text: String) {
        if self.sockets.get(&number).is_none_or(|socket| socket.stage != Stage::Open) {
            return;
        }
        let may_suffer = self.may_suffer(number);
        let latency = self.network_ms();
        if may_suffer && self.faults.strike(Fault::RequestLost).is_some() {
            return;
        }
        if may_suffer && self.faults.strike(Fault::SocketCut).is_some() {
            self.at(latency, Event::ToGateway { socket: number, text });
            self.cut(number);
            return;
        }
        if may_suffer && let Some(mut dice) = self.faults.strike(Fault::HalfOpen) {
            if dice.one_in(2) {
                self.at(latency, Event::ToGateway { socket: number, text });
            }
            if let Some(socket) = self.sockets.get_mut(&number) {
                socket.stage = Stage::HalfOpen;
            }
            // Nothing comes from it any more: the gateway's idle time.
            self.at(600_000, Event::GatewayLearns { socket: number });
            return;
        }
        self.at(latency, Event::ToGateway { socket: number, text });
    }

    /// The network under a socket breaks. Both sides are told, each at its time.
    pub(crate) fn cut(&mut self, number: u64) {
        let (told_ms, learns_ms) = (self.dice.between(0, 2_000), self.dice.between(0, 20_000));
        if let Some(socket) = self.sockets.get_mut(&number).filter(|socket| socket.stage != Stage::Ended) {
            socket.stage = Stage::Ended;
            self.at(told_ms, Event::Closed { socket: number });
            self.at(learns_ms, Event::GatewayLearns { socket: number });
        }
    }

    /// The device has closed it, or is gone.
    pub(crate) fn let_go(&mut self, number: u64, learns_ms: u64) {
        if let Some(socket) = self.sockets.get_mut(&number).filter(|socket| socket.stage != Stage::Ended) {
            let told = socket.stage != Stage::HalfOpen;
            socket.stage = Stage::Ended;
            if told {
                self.at(learns_ms, Event::GatewayLearns { socket: number });
            }
        }
    }

    /// The gateway knows that a socket has ended.
    pub(crate) fn gateway_learns(&mut self, number: u64) {
        let Some(socket) = self.sockets.get_mut(&number).filter(|socket| socket.held) else { return };
        socket.held = false;
        self.log(format_args!("the gateway knows that c{number} has ended"));
        if self.faults.strike(Fault::DisconnectLost).is_some() {
            return;
        }
        let late_ms = self.faults.strike(Fault::DisconnectLate).map_or(0, |mut dice| dice.between(1_000, 900_000));
        let latency = self.network_ms();
        self.at(latency + late_ms, Event::Disconnect { socket: number });
    }

    pub(crate) fn disconnect(&mut self, number: u64) {
        let event = self.event(number, "DISCONNECT", "$disconnect", None);
        self.invoke_disconnect(number, event);
    }

    /// A frame arrives at the gateway.
    pub(crate) fn request(&mut self, number: u64, text: &str) {
        if !self.sockets.get(&number).is_some_and(|socket| socket.held) {
            return;
        }
        if self.faults.strike(Fault::GatewayThrottles).is_some() {
            self.gateway_fails(number, "Too Many Requests");
            return;
        }
        let action = serde_json::from_str::<Value>(text).ok().and_then(|request| Some(request.get("action")?.as_str()?.to_owned()));
        let route =
            action.filter(|action| Action::from_name(action).is_some_and(Action::is_by_socket)).unwrap_or_else(|| "$default".to_owned());
        let event = self.event(number, "MESSAGE", &route, Some(text));
        self.invoke_route(&route, number, event);
    }

    /// A route has answered.
    pub(crate) fn route_answered(&mut self, number: u64, answered: Answered) {
        match answered {
            Ok(answer) if answer.body.is_empty() => {}
            Ok(_) if self.may_suffer(number) && self.faults.strike(Fault::AnswerLost).is_some() => {}
            Ok(answer) => self.toward_device(number, answer.body),
            Err(foreign) => self.violated("handler", format!("a handler does not know the gateway's event: {foreign}")),
        }
    }

    /// The gateway's own frame.
    pub(crate) fn gateway_fails(&mut self, number: u64, message: &str) {
        let frame = json!({"message": message, "connectionId": name(number), "requestId": "r="});
        self.toward_device(number, frame.to_string());
    }

    fn toward_device(&mut self, number: u64, text: String) {
        let latency = self.network_ms();
        self.at(latency, Event::ToDevice { socket: number, text });
    }

    /// A frame arrives at the device.
    pub(crate) fn arrives(&mut self, number: u64, text: String) {
        let Some(socket) = self.sockets.get(&number).filter(|socket| socket.stage == Stage::Open) else { return };
        match socket.owner {
            Owner::Phone { phone, life, socket } => {
                if self.phones[phone].life == life && self.phones[phone].session.is_some() {
                    let text = if self.strict { without_heartbeat(text) } else { text };
                    let text = if self.small { self.cut_small(phone, text) } else { text };
                    self.note_arrival(phone, &text);
                    self.input(phone, Input::Received { socket, text: Text(text) });
                }
            }
            Owner::Raw(raw) => self.raw_answered(raw, &text),
            Owner::Double => {}
        }
    }

    pub(crate) fn closed(&mut self, number: u64) {
        if let Owner::Phone { phone, life, socket } = self.sockets[&number].owner {
            self.input_of_life(phone, life, Input::Closed { socket });
        }
    }

    /// `POST @connections`.
    pub(crate) fn post(&mut self, connection: &ConnectionId, frame: &str, never_throttled: bool) -> PostOutcome {
        let Some((number, socket)) = self.named(connection).filter(|(_, socket)| socket.held) else { return PostOutcome::Gone };
        if socket.stage == Stage::Open && self.faults.strike(Fault::FalseGone).is_some() {
            self.log(format_args!("{connection} is called gone"));
            self.is_to_blame(number);
            return PostOutcome::Gone;
        }
        if !never_throttled && self.is_throttled(number) {
            self.log(format_args!("{connection} is throttled"));
            return PostOutcome::Throttled(Failure::unavailable("post to a connection", "it is throttled"));
        }
        if self.may_suffer(number) && self.faults.strike(Fault::PushLost).is_some() {
            return PostOutcome::Posted;
        }
        if let Some(mut dice) = self.faults.strike(Fault::PushDoubled) {
            self.at(dice.between(1, 3_000), Event::ToDevice { socket: number, text: frame.to_owned() });
        }
        self.toward_device(number, frame.to_owned());
        PostOutcome::Posted
    }

    /// Whether a post to this socket is throttled now.
    fn is_throttled(&mut self, number: u64) -> bool {
        let now_ms = self.now_ms;
        let until_ms = self.sockets[&number].throttled_until_ms;
        if now_ms < until_ms || !self.may_suffer(number) {
            return now_ms < until_ms;
        }
        let Some(mut dice) = self.faults.strike(Fault::PostsThrottled) else { return false };
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.throttled_until_ms = now_ms + dice.between(1_000, 150_000);
        }
        true
    }

    /// A post whose answer was lost: it may be dead.
    pub(crate) fn blame(&mut self, call: &Call) {
        if call.method == "post"
            && let Some((number, _)) = call.argument::<ConnectionId>().and_then(|connection| self.named(connection))
        {
            self.is_to_blame(number);
        }
    }

    fn is_to_blame(&mut self, number: u64) {
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.to_blame = true;
        }
    }

    /// `DELETE @connections`: behind what was posted.
    pub(crate) fn hang_up(&mut self, connection: &ConnectionId) -> PostOutcome {
        let Some((number, _)) = self.named(connection).filter(|(_, socket)| socket.held) else { return PostOutcome::Gone };
        self.at(600, Event::LifeEnds { socket: number });
        PostOutcome::Posted
    }

    /// The gateway ends a socket.
    pub(crate) fn life_ends(&mut self, number: u64) {
        if self.sockets[&number].held {
            self.gateway_learns(number);
            let latency = self.network_ms();
            if let Some(socket) = self.sockets.get_mut(&number).filter(|socket| socket.stage == Stage::Open) {
                socket.stage = Stage::Ended;
                self.at(latency, Event::Closed { socket: number });
            }
        }
    }

    /// Whether what goes wrong on the way is taken into account at the other end.
    fn may_suffer(&self, number: u64) -> bool {
        match self.sockets[&number].owner {
            Owner::Phone { .. } => true,
            Owner::Raw(raw) => raw >= RAW.len(),
            Owner::Double => false,
        }
    }

    pub(crate) fn named(&self, connection: &ConnectionId) -> Option<(u64, Socket)> {
        let number: u64 = connection.as_str().strip_prefix('c')?.strip_suffix('=')?.parse().ok()?;
        Some((number, self.sockets.get(&number)?.clone()))
    }

    pub(crate) fn network_ms(&mut self) -> u64 {
        if self.dice.one_in(10) { self.dice.between(50, 500) } else { self.dice.between(2, 40) }
    }
}

fn name(number: u64) -> String {
    format!("c{number}=")
}

/// The answer to a `ping` that says that the connection lives, and nothing else.
fn without_heartbeat(text: String) -> String {
    if !text.starts_with(r#"{"type":"ping""#) {
        return text;
    }
    let Ok(Value::Object(mut frame)) = serde_json::from_str(&text) else { return text };
    frame.remove("conversations");
    frame.remove("resync");
    Value::Object(frame).to_string()
}
