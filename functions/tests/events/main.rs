//! The sample event beside each function (`functions/*/*/event.json`): it is what the handler's type reads, all of them tell of one user on
//! one connection, and each route is run on its own, on the memory backend.

mod limits;
mod sweeping;
mod tokens;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use chatlane_chat::ports::{Connection, Created, Creations as _, MessageLog as _, Put};
use chatlane_chat::requests::caller::Caller;
use chatlane_chat::settings::{Deployed, Limits};
use chatlane_chat::testing::builders::{SECRET, creation, entry, head, user};
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::workers::task::{Task, Undelivered};
use chatlane_functions::Function;
use chatlane_functions::handshake::{connect, disconnect};
use chatlane_functions::limit::UserLimit;
use chatlane_functions::routes::{ack, fallback, hello, history, open, ping, probe, read, refresh, send, sync};
use chatlane_functions::websocket::{ForeignEvent, ProxyAnswer, caller};
use chatlane_functions::workers::fan_out;
use chatlane_protocol::{Action, ConnectionId, ConversationId, DeviceId, Position, Request, Seq, ServerFrame, UnixMillis, UserId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use tokens::{inline, policy, signed_sample};

const CONNECTED_AT_MS: u64 = 1_795_000_000_000;

/// When the samples' token is over, leeway included: so long after the socket was accepted.
const TOKEN_MS: u64 = 3_660_000;

/// The routes that take a request of their own name: one for each action.
fn requests() -> impl Iterator<Item = Function> {
    Action::ALL.iter().map(|action| Function::from_handler(action.name()).expect("an action has a function of its name"))
}

fn time(ms: u64) -> UnixMillis {
    UnixMillis::try_from(ms).unwrap()
}

fn text(function: Function) -> String {
    let of_kind = |kind| std::fs::read_to_string(format!("{}/{kind}/{}/event.json", env!("CARGO_MANIFEST_DIR"), function.name())).ok();
    ["handshake", "routes", "workers"].into_iter().find_map(of_kind).expect("a function has a sample event")
}

fn sample<T: DeserializeOwned>(function: Function) -> T {
    serde_json::from_str(&text(function)).unwrap_or_else(|error| panic!("{}: {error}", function.name()))
}

fn socket_event(function: Function) -> ApiGatewayWebsocketProxyRequest {
    sample(function)
}

/// The event of `function` with another text from the client.
fn saying(function: Function, body: &str) -> ApiGatewayWebsocketProxyRequest {
    let mut event = socket_event(function);
    event.body = Some(body.to_owned());
    event
}

/// What the route of `function` answers so long after the socket was accepted.
fn try_serve(store: &Faulty, ms: u64, function: Function, event: ApiGatewayWebsocketProxyRequest) -> Result<ProxyAnswer, ForeignEvent> {
    try_serve_within(&UserLimit::new(None), store, ms, function, event)
}

/// The same under this limit.
fn try_serve_within(
    limit: &UserLimit,
    store: &Faulty,
    ms: u64,
    function: Function,
    event: ApiGatewayWebsocketProxyRequest,
) -> Result<ProxyAnswer, ForeignEvent> {
    store.memory.clock.set(time(CONNECTED_AT_MS + ms));
    let (deployed, inline) = (&Deployed::founding(Limits::DEFAULT, SECRET), &inline(signed_sample().0));
    block_on(async {
        match function {
            Function::Hello => hello::handle(store, deployed, limit, 0, event).await,
            Function::Open => open::handle(store, deployed, limit, event).await,
            Function::Send => send::handle(store, deployed, limit, event).await,
            Function::Sync => sync::handle(store, deployed, limit, event).await,
            Function::History => history::handle(store, limit, event).await,
            Function::Probe => probe::handle(store, deployed, limit, event).await,
            Function::Ack => ack::handle(store, deployed, limit, event).await,
            Function::Read => read::handle(store, deployed, limit, event).await,
            Function::Refresh => refresh::handle(store, inline, &policy(), limit, event).await,
            Function::Ping => ping::handle(store, limit, event).await,
            Function::Fallback => fallback::handle(store, limit, event).await,
            Function::Disconnect => disconnect::handle(store, event).await,
            Function::Authorize | Function::Connect | Function::FanOut | Function::Sweep => {
                panic!("{} is no route of requests", function.name())
            }
        }
    })
}

fn serve(store: &Faulty, ms: u64, function: Function, event: ApiGatewayWebsocketProxyRequest) -> Value {
    answered(&try_serve(store, ms, function, event).unwrap())
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
    let (store, id) = (Faulty::new(time(CONNECTED_AT_MS)), lane());
    assert!(matches!(block_on(store.memory.create(&creation(&id, &user("alice"), &user("bob")))), Ok(Created::New)));
    assert!(matches!(block_on(store.memory.put(&entry(&id, 2, "bob"))), Ok(Put::Stored)));
    store.memory.state().heads.insert(id, head(2));
    store
}

/// And alice has said hello, with a token that is over so long after the socket was accepted.
fn world_until(ms: u64) -> Faulty {
    let store = world();
    let Caller { device, connection, connected_at, .. } = alice();
    let session = Connection { connection, device, connected_at, expires: time(CONNECTED_AT_MS + ms) };
    store.memory.log_in(&user("alice"), session);
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
    for function in requests().chain([Function::Connect, Function::Disconnect, Function::Fallback]) {
        assert_eq!(caller(&socket_event(function).request_context).unwrap(), alice(), "{}", function.name());
    }
}

#[test]
fn each_route_gets_the_request_of_its_name() {
    for function in requests() {
        let event = socket_event(function);
        assert_eq!(event.request_context.route_key.as_deref(), Some(function.name()));
        let request = Request::parse(event.body.as_deref().unwrap()).unwrap();
        let said: Value = serde_json::to_value(request).unwrap();
        assert_eq!(said["action"], function.name());
    }
}

#[test]
fn a_task_points_at_what_the_sender_stored() {
    let event: SqsEvent = sample(Function::FanOut);
    let [message] = &event.records[..] else { panic!("one message") };
    let task: Task = serde_json::from_str(message.body.as_deref().unwrap()).unwrap();
    let two = Seq::FIRST.next();
    assert_eq!((task.first, task.last, task.own), (two, Position::new(1, two), vec![two]));
    assert_eq!((task.origin, task.undelivered), (Some(alice().connection), None));
    assert_eq!(message.attributes.get("ApproximateReceiveCount").map(String::as_str), Some("1"));
}

/// What is no task is no task the next time either: the queue counts, and at last keeps it. Those beside it are delivered.
#[test]
fn a_message_that_is_no_task_goes_back_to_the_queue_and_no_other() {
    let mut event: SqsEvent = sample(Function::FanOut);
    let mut poison = event.records[0].clone();
    (poison.message_id, poison.body) = (Some("poison".to_owned()), Some("{}".to_owned()));
    event.records.push(poison);
    let answer = block_on(fan_out::handle(&world(), &UserLimit::new(None), event, u64::MAX));
    let failed: Vec<&str> = answer.batch_item_failures.iter().map(|item| item.item_identifier.as_str()).collect();
    assert_eq!(failed, ["poison"]);
}

/// Bob's connection, and what it is posted when the sample's message comes with other attributes, where a later delivery has begun.
/// Alice's message is in the log behind it.
fn posted_to_bob(change: impl FnOnce(&mut SqsMessage)) -> usize {
    let store = world();
    let Caller { device, connected_at, expires, .. } = alice();
    let connection = ConnectionId::new("bobs").unwrap();
    store.memory.log_in(&user("bob"), Connection { connection, device, connected_at, expires });
    assert!(matches!(block_on(store.memory.put(&entry(&lane(), 3, "alice"))), Ok(Put::Stored)));
    store.memory.state().heads.insert(lane(), head(3));
    let mut event: SqsEvent = sample(Function::FanOut);
    change(&mut event.records[0]);
    let answer = block_on(fan_out::handle(&store, &UserLimit::new(None), event, u64::MAX));
    assert!(answer.batch_item_failures.is_empty());
    store.memory.state().posts.len()
}

/// L4: only who knows that a message comes for the first time may leave it to a later one. So a missing attribute posts more, never less.
// holds: L4
#[test]
fn a_message_that_does_not_say_how_often_or_when_it_was_sent_is_delivered() {
    assert_eq!(posted_to_bob(|_| {}), 0, "a first receive, behind a later delivery");
    let without = |attribute: &'static str| move |message: &mut SqsMessage| drop(message.attributes.remove(attribute));
    let with = |attribute: &'static str, value: &'static str| {
        move |message: &mut SqsMessage| drop(message.attributes.insert(attribute.to_owned(), value.to_owned()))
    };
    assert_eq!(posted_to_bob(with("ApproximateReceiveCount", "2")), 1);
    assert_eq!(posted_to_bob(without("ApproximateReceiveCount")), 1);
    assert_eq!(posted_to_bob(with("ApproximateReceiveCount", "once")), 1);
    assert_eq!(posted_to_bob(with("ApproximateReceiveCount", "4294967297")), 1);
    assert_eq!(posted_to_bob(without("SentTimestamp")), 1);
    assert_eq!(posted_to_bob(with("SentTimestamp", "18446744073709551615")), 1);
}

/// Without a name, an item of the answer fails the whole batch (Lambda guide, "Success and failure conditions"): all come again.
#[test]
fn a_message_without_an_id_that_fails_is_named_by_the_empty_one() {
    let mut event: SqsEvent = sample(Function::FanOut);
    (event.records[0].message_id, event.records[0].body) = (None, None);
    let answer = block_on(fan_out::handle(&world(), &UserLimit::new(None), event, u64::MAX));
    assert_eq!(answer.batch_item_failures.iter().map(|item| item.item_identifier.as_str()).collect::<Vec<_>>(), [""]);
}

/// Whatever Lambda says of the end, the first posts are made; none is begun within four seconds of it.
#[test]
fn posting_ends_before_the_function_does() {
    for (ends_ms, taken) in [(0, 32), (CONNECTED_AT_MS + 4_000, 32), (CONNECTED_AT_MS + 4_001, 40), (u64::MAX, 40)] {
        let store = world();
        let Caller { device, connected_at, expires, .. } = alice();
        for number in 0..40 {
            let connection = ConnectionId::new(format!("bobs-{number}")).unwrap();
            store.memory.log_in(&user("bob"), Connection { connection, device, connected_at, expires });
        }
        block_on(fan_out::handle(&store, &UserLimit::new(None), sample(Function::FanOut), ends_ms));
        let state = store.memory.state();
        let left: usize = state.queue.iter().filter_map(|(task, _)| task.undelivered.as_ref()).map(|rest| rest.targets.len()).sum();
        assert_eq!((state.posts.len(), left), (taken, 40 - taken), "{ends_ms}");
    }
}

// holds: R1
#[test]
fn connect_echoes_the_subprotocol_where_it_is_offered_and_never_the_token() {
    // The gateway's own map has the last of several headers only.
    let (both, alone) = (("chatlane.v1, token.abc", &["chatlane.v1, token.abc"][..]), ("token.abc", &["chatlane.v1", "token.abc"][..]));
    for (last, all) in [both, alone, ("", &[])] {
        let mut event = socket_event(Function::Connect);
        event.headers.remove("sec-websocket-protocol");
        event.multi_value_headers.remove("sec-websocket-protocol");
        for offer in all {
            event.headers.insert("sec-websocket-protocol", last.parse().unwrap());
            event.multi_value_headers.append("sec-websocket-protocol", offer.parse().unwrap());
        }
        let answer = block_on(connect::handle(&world(), &UserLimit::new(None), event)).unwrap();
        let answer = serde_json::to_value(answer).unwrap();
        let echoed = if all.is_empty() { json!({}) } else { json!({"Sec-WebSocket-Protocol": "chatlane.v1"}) };
        assert_eq!(answer, json!({"statusCode": 200, "headers": echoed}), "{all:?}");
    }
}

#[test]
fn every_route_answers_its_sample() {
    for function in requests() {
        let store = world_until(TOKEN_MS);
        let answer = serve(&store, 7, function, socket_event(function));
        let expected = if function == Function::Refresh { "error" } else { function.name() };
        assert_eq!((&answer["type"], &answer["id"]), (&json!(expected), &json!("1")), "{answer}");
        let says = match function {
            Function::Hello => {
                answer["conversations"][0]["last"]["client_message_id"] == "bob-2" && answer["expires_ms"] == CONNECTED_AT_MS + TOKEN_MS
            }
            Function::Open => answer["with"] == "bob" && answer["head"]["seq"] == 1,
            Function::Send => answer["results"][0]["status"] == "ok" && answer["results"][0]["position"]["seq"] == 3,
            Function::Sync => answer["pages"][0]["entries"][0]["position"]["seq"] == 2 && answer["done"] == true,
            Function::History => answer["entries"][1]["position"]["seq"] == 2 && answer["done"] == true,
            Function::Probe => answer["found"] == json!([]) && answer["reached"]["seq"] == 2 && answer["done"] == true,
            Function::Ack | Function::Read => answer["results"] == json!([{"conversation": lane(), "status": "ok"}]),
            Function::Refresh => answer["code"] == "token_refused", // nobody signed the sample's
            Function::Ping => answer == json!({"type": "ping", "id": "1", "server_time_ms": CONNECTED_AT_MS + 7}),
            _ => false,
        };
        assert!(says, "{answer}");
        assert!(!is_closed(&store) && posts(&store).is_empty());
    }
}

/// `ack` moves the device, `read` the user as well: two routes, one use case.
#[test]
fn the_cursor_that_moves_is_that_of_the_route() {
    for (function, read) in [(Function::Ack, Position::ZERO), (Function::Read, Position::new(1, Seq::FIRST.next()))] {
        let store = world();
        serve(&store, 0, function, socket_event(function));
        let row = store.memory.state().inboxes[&user("alice")][&lane()].clone();
        assert_eq!((row.delivered[&alice().device], row.read.position), (Position::new(1, Seq::FIRST.next()), read));
    }
}

#[test]
fn a_hello_behind_a_newer_connection_of_its_device_is_answered_by_goaway() {
    let store = world();
    let Caller { device, expires, .. } = alice();
    let connection = ConnectionId::new("newer").unwrap();
    store.memory.log_in(&user("alice"), Connection { connection, device, connected_at: time(CONNECTED_AT_MS + 1), expires });
    let answer = try_serve(&store, 2, Function::Hello, socket_event(Function::Hello)).unwrap();
    assert_eq!(answer.body, "");
    let told = std::mem::take(&mut store.memory.state().posts);
    assert_eq!(told, [(alice().connection, r#"{"type":"goaway","reason":"displaced"}"#.to_owned())]);
    assert!(store.memory.state().gone.contains(&alice().connection));
}

#[test]
fn a_request_that_is_refused_whole_is_an_error() {
    for (function, body, code) in [
        (Function::Hello, json!({"action": "hello", "id": "1", "v": 0}), "upgrade_required"),
        (Function::Open, json!({"action": "open", "id": "1", "with": "alice", "client_message_id": "m-1"}), "bad_request"),
        (Function::History, json!({"action": "history", "id": "1", "conversation": "dNobodys"}), "not_found"),
        (
            Function::Probe,
            json!({"action": "probe", "id": "1", "conversation": "dNobodys", "anchor": Position::ZERO, "ids": ["m-1"]}),
            "not_found",
        ),
    ] {
        let answer = serve(&world(), 0, function, saying(function, &body.to_string()));
        assert_eq!((&answer["type"], &answer["id"], &answer["code"]), (&json!("error"), &json!("1"), &json!(code)));
    }
}

#[test]
fn a_request_on_another_route_is_an_unknown_action() {
    for function in requests().chain([Function::Fallback]) {
        let another = if function == Function::Ping { Function::Hello } else { Function::Ping };
        let store = world();
        let answer = serve(&store, 0, function, saying(function, &socket_event(another).body.unwrap()));
        assert_eq!(
            (&answer["type"], &answer["code"], &answer["id"]),
            (&json!("error"), &json!("unknown_action"), &json!("1")),
            "{}",
            function.name()
        );
        assert_eq!(store.count("register") + store.count("session"), 0, "{}", function.name());
    }
}

// holds: R1
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
        (r#"{"action":"ping","id":"7","x":"\ud800"}"#, "bad_request", json!("7")),
        (deep.as_str(), "bad_request", json!("7")),
    ];
    let store = world();
    for (said, code, id) in cases {
        let answer = serve(&store, 0, Function::Fallback, saying(Function::Fallback, said));
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{said}");
        assert_eq!((&answer["retryable"], answer.get("id").unwrap_or(&Value::Null)), (&json!(false), &id), "{said}");
    }
    let mut nothing = socket_event(Function::Fallback);
    nothing.body = None;
    assert_eq!(serve(&store, 0, Function::Fallback, nothing)["code"], "bad_request");
}

/// A bad request too: nothing that such a connection says is worth an answer.
// holds: M1
#[test]
fn when_the_tokens_time_is_over_the_connection_is_told_and_closed_on_every_route() {
    let over = json!({
        "type": "error", "id": "1", "code": "token_expired", "retryable": false,
        "message": "the token has expired: connect again with a new one",
    });
    for function in requests().chain([Function::Fallback]) {
        let store = world_until(TOKEN_MS);
        let before = store.memory.state().clone();
        let answer = try_serve(&store, TOKEN_MS, function, socket_event(function)).unwrap();
        assert_eq!((answer.status_code, answer.body.as_str()), (200, ""), "{}", function.name());
        assert!(posts(&store) == [over.clone()] && is_closed(&store), "{}", function.name());
        let after = store.memory.state();
        assert!(before.log == after.log && before.sessions == after.sessions && before.queue == after.queue, "{}", function.name());
        drop(after);

        let store = world_until(TOKEN_MS);
        let bad = try_serve(&store, TOKEN_MS, function, saying(function, "{")).unwrap();
        assert_eq!((bad.body.as_str(), posts(&store)[0].get("id"), is_closed(&store)), ("", None, true), "{}", function.name());
    }
    assert_eq!(serve(&world_until(TOKEN_MS), TOKEN_MS - 1, Function::Ping, socket_event(Function::Ping))["type"], "ping");
}

#[test]
fn what_the_backend_does_not_answer_is_unavailable_with_the_requests_id() {
    for (function, method) in [
        (Function::Hello, "register"),
        (Function::Open, "read"),
        (Function::Send, "enqueue"),
        (Function::Sync, "inbox_rows"),
        (Function::History, "read_back"),
        (Function::Probe, "read"),
        (Function::Ack, "at"),
        (Function::Read, "at"),
        (Function::Ping, "session"),
    ] {
        let store = world_until(TOKEN_MS);
        store.on(method, Fault::RequestLost);
        is_unavailable(&serve(&store, 0, function, socket_event(function)));
    }
    // Without the deployment's item nothing is begun.
    let need_it = [Function::Hello, Function::Open, Function::Send, Function::Sync, Function::Probe, Function::Ack, Function::Read];
    for function in need_it {
        let store = world_until(TOKEN_MS);
        store.on("deployment", Fault::RequestLost);
        let before = format!("{:?}", store.memory.state());
        is_unavailable(&serve(&store, 0, function, socket_event(function)));
        assert_eq!(format!("{:?}", store.memory.state()), before, "{}", function.name());
    }
    // Whether a refresh has prolonged the connection: no reason to close it.
    for function in requests().chain([Function::Fallback]) {
        let store = world_until(2 * TOKEN_MS);
        store.on("session", Fault::RequestLost);
        is_unavailable(&serve(&store, TOKEN_MS, function, socket_event(function)));
        assert_eq!((posts(&store), is_closed(&store)), (vec![], false), "{}", function.name());
    }
}

fn is_unavailable(answer: &Value) {
    let told = (&answer["type"], &answer["id"], &answer["code"], &answer["retryable"]);
    assert_eq!(told, (&json!("error"), &json!("1"), &json!("unavailable"), &json!(true)));
    assert!(!answer.to_string().contains("call the backend"), "clients never see the backend's text: {answer}");
}

// holds: D2
#[test]
fn a_closed_connection_is_forgotten_and_no_other() {
    let store = world_until(TOKEN_MS);
    let other = Connection {
        connection: ConnectionId::new("other").unwrap(),
        ..store.memory.state().sessions[&user("alice")][&alice().connection].clone()
    };
    store.memory.log_in(&user("alice"), other.clone());
    store.on("remove", Fault::RequestLost);
    for left in [2, 1] {
        let answer = try_serve(&store, 0, Function::Disconnect, socket_event(Function::Disconnect)).unwrap();
        assert_eq!((answer.status_code, answer.body.as_str()), (200, ""));
        assert_eq!(store.memory.state().sessions[&user("alice")].len(), left);
    }
    assert!(store.memory.state().sessions[&user("alice")].contains_key(&other.connection));
}

#[test]
fn an_event_without_the_authorizers_context_is_foreign() {
    for function in requests().chain([Function::Fallback, Function::Disconnect]) {
        for field in ["user", "device", "expires"] {
            let mut event = socket_event(function);
            event.request_context.authorizer.fields.remove(field);
            let error = try_serve(&world(), 0, function, event).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
    let mut event = socket_event(Function::Connect);
    event.request_context.connection_id = None;
    let foreign = block_on(connect::handle(&world(), &UserLimit::new(None), event));
    assert!(foreign.unwrap_err().to_string().contains("connectionId"));
}
