//! The sample event beside each function (`functions/*/event.json`): it is what the handler's type reads, all of them tell of one user on
//! one connection, and each route is run on its own, on the memory backend.

mod tokens;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use aws_lambda_events::sqs::SqsEvent;
use chatlane_chat::ports::{Created, MessageLog as _, Put, Session};
use chatlane_chat::requests::caller::Caller;
use chatlane_chat::testing::builders::{creation, entry, head, settings, user};
use chatlane_chat::testing::faulty::{Call, Fault, Faulty};
use chatlane_chat::testing::memory::SetClock;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::workers::task::Task;
use chatlane_functions::websocket::{ForeignEvent, ProxyAnswer, caller};
use chatlane_functions::{Role, ack, connect, disconnect, fallback, hello, history, open, ping, probe, read, refresh, send, sync};
use chatlane_protocol::{ConnectionId, ConversationId, DeviceId, Position, Request, Seq, ServerFrame, UnixMillis, UserId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use tokens::{inline, policy, signed_sample};

const CONNECTED_AT_MS: u64 = 1_795_000_000_000;

/// When the samples' token is over, leeway included: so long after the socket was accepted.
const TOKEN_MS: u64 = 3_660_000;

/// The routes that take a request of their own name.
const REQUESTS: [Role; 10] =
    [Role::Hello, Role::Open, Role::Send, Role::Sync, Role::History, Role::Probe, Role::Ack, Role::Read, Role::Refresh, Role::Ping];

/// A clock that shows so long after the socket was accepted.
fn after_ms(ms: u64) -> SetClock {
    SetClock::at(time(CONNECTED_AT_MS + ms))
}

fn time(ms: u64) -> UnixMillis {
    UnixMillis::try_from(ms).unwrap()
}

fn text(role: Role) -> &'static str {
    match role {
        Role::Authorize => include_str!("../../authorize/event.json"),
        Role::Connect => include_str!("../../connect/event.json"),
        Role::Disconnect => include_str!("../../disconnect/event.json"),
        Role::Hello => include_str!("../../hello/event.json"),
        Role::Open => include_str!("../../open/event.json"),
        Role::Send => include_str!("../../send/event.json"),
        Role::Sync => include_str!("../../sync/event.json"),
        Role::History => include_str!("../../history/event.json"),
        Role::Probe => include_str!("../../probe/event.json"),
        Role::Ack => include_str!("../../ack/event.json"),
        Role::Read => include_str!("../../read/event.json"),
        Role::Refresh => include_str!("../../refresh/event.json"),
        Role::Ping => include_str!("../../ping/event.json"),
        Role::Fallback => include_str!("../../fallback/event.json"),
        Role::FanOut => include_str!("../../fan_out/event.json"),
    }
}

fn sample<T: DeserializeOwned>(role: Role) -> T {
    serde_json::from_str(text(role)).unwrap_or_else(|error| panic!("{}: {error}", role.name()))
}

fn socket_event(role: Role) -> ApiGatewayWebsocketProxyRequest {
    sample(role)
}

/// The event of `role` with another text from the client.
fn saying(role: Role, body: &str) -> ApiGatewayWebsocketProxyRequest {
    let mut event = socket_event(role);
    event.body = Some(body.to_owned());
    event
}

/// What the route of `role` answers so long after the socket was accepted.
fn try_serve(store: &Faulty, ms: u64, role: Role, event: ApiGatewayWebsocketProxyRequest) -> Result<ProxyAnswer, ForeignEvent> {
    let (clock, settings, inline) = (&after_ms(ms), &settings(), &inline(signed_sample().0));
    block_on(async {
        match role {
            Role::Hello => hello::handle(store, store, clock, settings, 0, event).await,
            Role::Open => open::handle(store, store, store, clock, settings, event).await,
            Role::Send => send::handle(store, store, store, clock, settings, event).await,
            Role::Sync => sync::handle(store, store, store, clock, settings, event).await,
            Role::History => history::handle(store, store, clock, event).await,
            Role::Probe => probe::handle(store, store, store, clock, settings, event).await,
            Role::Ack => ack::handle(store, store, clock, settings, event).await,
            Role::Read => read::handle(store, store, clock, settings, event).await,
            Role::Refresh => refresh::handle(inline, &policy(), store, store, clock, event).await,
            Role::Ping => ping::handle(store, store, clock, event).await,
            Role::Fallback => fallback::handle(store, store, clock, event).await,
            Role::Disconnect => disconnect::handle(store, event).await,
            Role::Authorize | Role::Connect | Role::FanOut => panic!("{} is no route of requests", role.name()),
        }
    })
}

fn serve(store: &Faulty, ms: u64, role: Role, event: ApiGatewayWebsocketProxyRequest) -> Value {
    answered(&try_serve(store, ms, role, event).unwrap())
}

/// The frame of an answer; every one is of the protocol.
fn answered(answer: &ProxyAnswer) -> Value {
    assert_eq!(answer.status_code, 200);
    let frame: ServerFrame = serde_json::from_str(&answer.body).unwrap();
    assert_ne!(frame, ServerFrame::Unknown, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// What the samples speak of: alice's conversation with bob, who has written entry 2; its delivery has begun. Alice has no session.
fn world() -> Faulty {
    let (store, id) = (Faulty::new(), lane());
    assert!(matches!(block_on(store.memory.create(&creation(&id, &user("alice"), &user("bob")))), Ok(Created::New)));
    assert!(matches!(block_on(store.memory.put(&entry(&id, 2, "bob"))), Ok(Put::Stored)));
    store.memory.state().heads.insert(id, head(2));
    store
}

/// And alice has said hello, with a token that is over so long after the socket was accepted.
fn world_until(ms: u64) -> Faulty {
    let store = world();
    let Caller { device, connection, connected_at, .. } = alice();
    let session = Session { connection: connection.clone(), device, connected_at, expires: time(CONNECTED_AT_MS + ms) };
    store.memory.state().sessions.entry(user("alice")).or_default().insert(connection, session);
    store
}

fn lane() -> ConversationId {
    ConversationId::new("dQ2hhdGxhbmUtZXhhbXBsZS1pZCE").unwrap()
}

fn alice() -> Caller {
    Caller {
        user: UserId::new("alice").unwrap(),
        device: DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001").unwrap(),
        connection: ConnectionId::new("L0SM9cOFvHcCIhw=").unwrap(),
        connected_at: time(CONNECTED_AT_MS),
        expires: time(CONNECTED_AT_MS + TOKEN_MS),
    }
}

/// The frames that were posted, all of them to alice's connection.
fn posts(store: &Faulty) -> Vec<Value> {
    let posts = std::mem::take(&mut store.memory.state().posts);
    assert!(posts.iter().all(|(to, _)| *to == alice().connection));
    posts.iter().map(|(_, frame)| serde_json::from_str(frame).unwrap()).collect()
}

fn is_closed(store: &Faulty) -> bool {
    store.memory.state().gone.contains(&alice().connection)
}

#[test]
fn every_event_of_a_socket_names_its_caller() {
    for role in REQUESTS.into_iter().chain([Role::Connect, Role::Disconnect, Role::Fallback]) {
        assert_eq!(caller(&socket_event(role).request_context).unwrap(), alice(), "{}", role.name());
    }
}

#[test]
fn each_route_gets_the_request_of_its_name() {
    for role in REQUESTS {
        let event = socket_event(role);
        assert_eq!(event.request_context.route_key.as_deref(), Some(role.name()));
        let request = Request::parse(event.body.as_deref().unwrap()).unwrap();
        let said: Value = serde_json::to_value(request).unwrap();
        assert_eq!(said["action"], role.name());
    }
}

#[test]
fn a_task_points_at_what_the_sender_stored() {
    let event: SqsEvent = sample(Role::FanOut);
    let [message] = &event.records[..] else { panic!("one message") };
    let task: Task = serde_json::from_str(message.body.as_deref().unwrap()).unwrap();
    let two = Seq::FIRST.next();
    assert_eq!((task.first, task.last, task.own), (two, Position::new(1, two), vec![two]));
    assert_eq!((task.origin, task.remainder), (Some(alice().connection), None));
    assert_eq!(message.attributes.get("ApproximateReceiveCount").map(String::as_str), Some("1"));
}

#[test]
fn connect_echoes_the_subprotocol_and_never_the_token() {
    let answer = serde_json::to_value(connect::handle(&socket_event(Role::Connect)).unwrap()).unwrap();
    assert_eq!(answer, json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "chatlane.v1"}}));
}

#[test]
fn connect_echoes_the_subprotocol_from_any_of_several_headers() {
    let mut event = socket_event(Role::Connect);
    event.headers.insert("sec-websocket-protocol", "token.abc".parse().unwrap()); // the gateway's map has the last one only
    event.multi_value_headers.insert("sec-websocket-protocol", "chatlane.v1".parse().unwrap());
    event.multi_value_headers.append("sec-websocket-protocol", "token.abc".parse().unwrap());
    let answer = serde_json::to_value(connect::handle(&event).unwrap()).unwrap();
    assert_eq!(answer["headers"], json!({"Sec-WebSocket-Protocol": "chatlane.v1"}));
}

#[test]
fn connect_echoes_nothing_to_a_client_that_offers_nothing() {
    let mut event = socket_event(Role::Connect);
    event.headers.remove("sec-websocket-protocol");
    event.multi_value_headers.remove("sec-websocket-protocol");
    let answer = serde_json::to_value(connect::handle(&event).unwrap()).unwrap();
    assert_eq!(answer, json!({"statusCode": 200, "headers": {}}));
}

#[test]
fn every_route_answers_its_sample() {
    for role in REQUESTS {
        let store = world_until(TOKEN_MS);
        let answer = serve(&store, 7, role, socket_event(role));
        let expected = if role == Role::Refresh { "error" } else { role.name() };
        assert_eq!((&answer["type"], &answer["id"]), (&json!(expected), &json!("1")), "{answer}");
        let says = match role {
            Role::Hello => {
                answer["conversations"][0]["last"]["client_message_id"] == "bob-2" && answer["expires_ms"] == CONNECTED_AT_MS + TOKEN_MS
            }
            Role::Open => answer["with"] == "bob" && answer["head"]["seq"] == 1,
            Role::Send => answer["results"][0]["status"] == "ok" && answer["results"][0]["position"]["seq"] == 3,
            Role::Sync => answer["pages"][0]["entries"][0]["position"]["seq"] == 2 && answer["done"] == true,
            Role::History => answer["entries"][1]["position"]["seq"] == 2 && answer["done"] == true,
            Role::Probe => answer["found"] == json!([]) && answer["reached"]["seq"] == 2 && answer["done"] == true,
            Role::Ack | Role::Read => answer["results"] == json!([{"conversation": lane(), "status": "ok"}]),
            Role::Refresh => answer["code"] == "token_refused", // nobody signed the sample's
            Role::Ping => answer == json!({"type": "ping", "id": "1", "server_time_ms": CONNECTED_AT_MS + 7}),
            _ => false,
        };
        assert!(says, "{answer}");
        assert!(!is_closed(&store) && posts(&store).is_empty());
    }
}

/// `ack` moves the device, `read` the user as well: two routes, one use case.
#[test]
fn the_cursor_that_moves_is_that_of_the_route() {
    for (role, read) in [(Role::Ack, Position::ZERO), (Role::Read, Position::new(1, Seq::FIRST.next()))] {
        let store = world();
        serve(&store, 0, role, socket_event(role));
        let row = store.memory.state().inboxes[&user("alice")][&lane()].clone();
        assert_eq!((row.delivered[&alice().device], row.read.position), (Position::new(1, Seq::FIRST.next()), read));
    }
}

#[test]
fn a_ping_on_a_connection_that_is_not_known_says_so() {
    let answer = serve(&world(), 0, Role::Ping, socket_event(Role::Ping));
    assert_eq!(answer["resync"], true);
}

#[test]
fn a_hello_behind_a_newer_connection_of_its_device_is_answered_by_goaway() {
    let store = world();
    let Caller { device, expires, .. } = alice();
    let connection = ConnectionId::new("newer").unwrap();
    let newer = Session { connection: connection.clone(), device, connected_at: time(CONNECTED_AT_MS + 1), expires };
    store.memory.state().sessions.entry(user("alice")).or_default().insert(connection, newer);
    let answer = serve(&store, 2, Role::Hello, socket_event(Role::Hello));
    assert_eq!(answer, json!({"type": "goaway", "reason": "displaced"}));
}

#[test]
fn a_request_that_is_refused_whole_is_an_error() {
    for (role, body, code) in [
        (Role::Hello, json!({"action": "hello", "id": "1", "v": 0}), "upgrade_required"),
        (Role::Open, json!({"action": "open", "id": "1", "with": "alice", "client_message_id": "m-1"}), "bad_request"),
        (Role::History, json!({"action": "history", "id": "1", "conversation": "dNobodys"}), "not_found"),
        (
            Role::Probe,
            json!({"action": "probe", "id": "1", "conversation": "dNobodys", "anchor": Position::ZERO, "ids": ["m-1"]}),
            "not_found",
        ),
    ] {
        let answer = serve(&world(), 0, role, saying(role, &body.to_string()));
        assert_eq!((&answer["type"], &answer["id"], &answer["code"]), (&json!("error"), &json!("1"), &json!(code)));
    }
}

#[test]
fn a_request_on_another_route_is_an_unknown_action() {
    for role in REQUESTS.into_iter().chain([Role::Fallback]) {
        let another = if role == Role::Ping { Role::Hello } else { Role::Ping };
        let store = world();
        let answer = serve(&store, 0, role, saying(role, &socket_event(another).body.unwrap()));
        assert_eq!(
            (&answer["type"], &answer["code"], &answer["id"]),
            (&json!("error"), &json!("unknown_action"), &json!("1")),
            "{}",
            role.name()
        );
        assert_eq!(store.count(Call::Register) + store.count(Call::Session), 0, "{}", role.name());
    }
}

#[test]
fn what_no_route_takes_gets_one_typed_error() {
    let deep = format!(r#"{{"action":"ping","id":"7","x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let cases = [
        (r#"{"action":"dance","id":"7"}"#, "unknown_action", json!("7")),
        (r#"{"action":"$connect","id":"7"}"#, "unknown_action", json!("7")),
        (r#"{"id":"7"}"#, "bad_request", json!("7")),
        (r#"{"action":null,"id":"7"}"#, "bad_request", json!("7")),
        (r#"{"action":"dance"}"#, "bad_request", Value::Null),
        ("", "bad_request", Value::Null),
        ("hello", "bad_request", Value::Null),
        (r#"{"action":"ping","id":"7""#, "bad_request", Value::Null),
        ("{\"action\":\"ping\",\"id\":\"7\",\"x\":\"\u{0}\"}", "bad_request", Value::Null),
        (r#"{"action":"ping","id":"7","x":"\ud800"}"#, "bad_request", Value::Null),
        (deep.as_str(), "bad_request", Value::Null),
    ];
    let store = world();
    for (said, code, id) in cases {
        let answer = serve(&store, 0, Role::Fallback, saying(Role::Fallback, said));
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{said}");
        assert_eq!((&answer["retryable"], answer.get("id").unwrap_or(&Value::Null)), (&json!(false), &id), "{said}");
    }
    let mut nothing = socket_event(Role::Fallback);
    nothing.body = None;
    assert_eq!(serve(&store, 0, Role::Fallback, nothing)["code"], "bad_request");
}

/// A bad request too: nothing that such a connection says is worth an answer.
#[test]
fn when_the_tokens_time_is_over_the_connection_is_told_and_closed_on_every_route() {
    let over = json!({
        "type": "error", "id": "1", "code": "token_expired", "retryable": false,
        "message": "the token's time is over: connect again with a new one",
    });
    for role in REQUESTS.into_iter().chain([Role::Fallback]) {
        let store = world_until(TOKEN_MS);
        let before = store.memory.state().clone();
        let answer = try_serve(&store, TOKEN_MS, role, socket_event(role)).unwrap();
        assert_eq!((answer.status_code, answer.body.as_str()), (200, ""), "{}", role.name());
        assert!(posts(&store) == [over.clone()] && is_closed(&store), "{}", role.name());
        let after = store.memory.state();
        assert!(before.log == after.log && before.sessions == after.sessions && before.queue == after.queue, "{}", role.name());
        drop(after);

        let store = world_until(TOKEN_MS);
        let bad = try_serve(&store, TOKEN_MS, role, saying(role, "{")).unwrap();
        assert_eq!((bad.body.as_str(), posts(&store)[0].get("id"), is_closed(&store)), ("", None, true), "{}", role.name());
    }
    assert_eq!(serve(&world_until(TOKEN_MS), TOKEN_MS - 1, Role::Ping, socket_event(Role::Ping))["type"], "ping");
}

#[test]
fn a_refreshed_connection_is_served_until_its_new_time() {
    let store = world_until(2 * TOKEN_MS);
    for role in REQUESTS {
        let answer = serve(&store, TOKEN_MS, role, socket_event(role));
        assert_eq!(answer["id"], "1", "{}", role.name());
    }
    let hello = serve(&store, TOKEN_MS, Role::Hello, socket_event(Role::Hello));
    assert_eq!(hello["expires_ms"], CONNECTED_AT_MS + 2 * TOKEN_MS);
    assert_eq!((posts(&store), is_closed(&store)), (vec![], false));
}

#[test]
fn what_the_backend_does_not_answer_is_unavailable_with_the_requests_id() {
    for (role, call) in [
        (Role::Hello, Call::Register),
        (Role::Open, Call::Read),
        (Role::Send, Call::Enqueue),
        (Role::Sync, Call::InboxRows),
        (Role::History, Call::ReadBack),
        (Role::Probe, Call::Read),
        (Role::Ack, Call::At),
        (Role::Read, Call::At),
        (Role::Ping, Call::Session),
    ] {
        let store = world_until(TOKEN_MS);
        store.on(call, Fault::RequestLost);
        is_unavailable(&serve(&store, 0, role, socket_event(role)));
    }
    // Whether a refresh has prolonged the connection: no reason to close it.
    for role in REQUESTS.into_iter().chain([Role::Fallback]) {
        let store = world_until(2 * TOKEN_MS);
        store.on(Call::Session, Fault::RequestLost);
        is_unavailable(&serve(&store, TOKEN_MS, role, socket_event(role)));
        assert_eq!((posts(&store), is_closed(&store)), (vec![], false), "{}", role.name());
    }
}

fn is_unavailable(answer: &Value) {
    let told = (&answer["type"], &answer["id"], &answer["code"], &answer["retryable"]);
    assert_eq!(told, (&json!("error"), &json!("1"), &json!("unavailable"), &json!(true)));
    assert!(!answer.to_string().contains("fault of the test"), "clients never see the backend's text: {answer}");
}

#[test]
fn a_closed_connection_is_forgotten_and_no_other() {
    let store = world_until(TOKEN_MS);
    let other = Session {
        connection: ConnectionId::new("other").unwrap(),
        ..store.memory.state().sessions[&user("alice")][&alice().connection].clone()
    };
    store.memory.state().sessions.get_mut(&user("alice")).unwrap().insert(other.connection.clone(), other.clone());
    store.on(Call::Remove, Fault::RequestLost);
    for left in [2, 1] {
        let answer = try_serve(&store, 0, Role::Disconnect, socket_event(Role::Disconnect)).unwrap();
        assert_eq!((answer.status_code, answer.body.as_str()), (200, ""));
        assert_eq!(store.memory.state().sessions[&user("alice")].len(), left);
    }
    assert!(store.memory.state().sessions[&user("alice")].contains_key(&other.connection));
}

#[test]
fn an_event_without_the_authorizers_context_is_foreign() {
    for role in REQUESTS.into_iter().chain([Role::Fallback, Role::Disconnect]) {
        for field in ["user", "device", "expires"] {
            let mut event = socket_event(role);
            event.request_context.authorizer.fields.remove(field);
            let error = try_serve(&world(), 0, role, event).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
    let mut event = socket_event(Role::Connect);
    event.request_context.connection_id = None;
    assert!(connect::handle(&event).unwrap_err().to_string().contains("connectionId"));
}
