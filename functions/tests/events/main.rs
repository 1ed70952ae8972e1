//! The sample event beside each function (`functions/*/*/event.json`): it is what the handler's type reads, all of them tell of one user on
//! one connection, and each route is run on its own, on the memory backend.

mod https;
mod limits;
mod sweeping;
mod tokens;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use chatlane_chat::log::{Entry, MessageEntry};
use chatlane_chat::ports::{Connection, Created, Creations as _, MessageLog as _, Put, ReadBound};
use chatlane_chat::settings::{Deployed, Limits};
use chatlane_chat::testing::builders::{SECRET, creation, entry, head, user};
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::memory::State;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::workers::task::{Task, Undelivered};
use chatlane_functions::Function;
use chatlane_functions::handshake::{connect, disconnect};
use chatlane_functions::limit::UserLimit;
use chatlane_functions::routes::{ack, fallback, hello, history, look, manage, open, ping, probe, read, refresh, send, sync};
use chatlane_functions::websocket::{ForeignEvent, ProxyAnswer, caller};
use chatlane_functions::workers::fan_out;
use chatlane_protocol::{Action, ConnectionId, ConversationId, DeviceId, Position, Request, Seq, ServerFrame, UnixMillis};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use tokens::{inline, policy, signed_sample};

const CONNECTED_AT_MS: u64 = 1_795_000_000_000;

/// When the samples' token is over, leeway included: so long after the socket was accepted.
const TOKEN_MS: u64 = 3_660_000;

fn by_socket() -> impl Iterator<Item = Action> {
    Action::ALL.iter().copied().filter(|action| action.is_by_socket())
}

/// What a client asks by each action of a socket: the function that answers it, and the event.
fn requests() -> impl Iterator<Item = (Function, ApiGatewayWebsocketProxyRequest)> {
    by_socket().map(|action| (Function::answering(action), asking(action)))
}

/// And what is no action.
fn requests_and_others() -> impl Iterator<Item = (Function, ApiGatewayWebsocketProxyRequest)> {
    requests().chain([(Function::Fallback, socket_event(Function::Fallback))])
}

/// The sample of the function that answers the action; on the action's own route, where the function has several.
fn asking(action: Action) -> ApiGatewayWebsocketProxyRequest {
    let sample = socket_event(Function::answering(action));
    if route(&sample) == action.name() {
        return sample;
    }
    let of_a_change = |said: Value| {
        let mut request = json!({ "conversation": group(), "client_message_id": "m-2", "anchor": { "epoch": 1, "seq": 1 } });
        request.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        request
    };
    let of_a_message = |said: Value| {
        let mut request = of_a_change(said);
        request["target"] = json!(2);
        request
    };
    let mut request = match action {
        Action::Create => json!({ "client_message_id": "m-2", "users": ["bob", "carol"] }),
        Action::Remove => of_a_change(json!({ "users": ["bob"] })),
        Action::Leave => of_a_change(json!({ "successor": "bob" })),
        Action::Role => of_a_change(json!({ "user": "bob", "role": "moderator" })),
        Action::Settings => of_a_change(json!({ "settings": { "title": "Friends of the tram" } })),
        Action::Close => of_a_change(json!({})),
        Action::Members => json!({ "conversation": group() }),
        Action::Prefs => json!({ "conversation": group(), "prefs": { "pinned": true } }),
        Action::Edit => of_a_message(json!({ "body": { "content_type": "text/plain", "text": "hello" } })),
        Action::Delete => of_a_message(json!({})),
        Action::React => of_a_message(json!({ "key": "👍", "change": "add" })),
        _ => panic!("{} is the sample of its function", action.name()),
    };
    request.as_object_mut().unwrap().extend([("action".to_owned(), json!(action.name())), ("id".to_owned(), json!("1"))]);
    on_route(with_body(sample, &request.to_string()), Some(action.name()))
}

fn route(event: &ApiGatewayWebsocketProxyRequest) -> &str {
    event.request_context.route_key.as_deref().unwrap()
}

fn on_route(mut event: ApiGatewayWebsocketProxyRequest, route: Option<&str>) -> ApiGatewayWebsocketProxyRequest {
    event.request_context.route_key = route.map(ToOwned::to_owned);
    event
}

fn time(ms: u64) -> UnixMillis {
    UnixMillis::try_from(ms).unwrap()
}

fn text(function: Function) -> String {
    let of_kind = |kind| std::fs::read_to_string(format!("{}/{kind}/{}/event.json", env!("CARGO_MANIFEST_DIR"), function.name())).ok();
    ["handshake", "routes", "workers", "."].into_iter().find_map(of_kind).expect("a function has a sample event")
}

fn sample<T: DeserializeOwned>(function: Function) -> T {
    serde_json::from_str(&text(function)).unwrap_or_else(|error| panic!("{}: {error}", function.name()))
}

fn socket_event(function: Function) -> ApiGatewayWebsocketProxyRequest {
    sample(function)
}

/// The event of `function` with another text from the client.
fn saying(function: Function, body: &str) -> ApiGatewayWebsocketProxyRequest {
    with_body(socket_event(function), body)
}

fn with_body(mut event: ApiGatewayWebsocketProxyRequest, body: &str) -> ApiGatewayWebsocketProxyRequest {
    event.body = Some(body.to_owned());
    event
}

fn deployed() -> Deployed {
    Deployed::founding(Limits::DEFAULT, SECRET)
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
    let (deployed, inline) = (&deployed(), &inline(signed_sample().0));
    block_on(async {
        match function {
            Function::Hello => hello::handle(store, deployed, limit, 0, event).await,
            Function::Open => open::handle(store, deployed, limit, event).await,
            Function::Manage => manage::handle(store, deployed, limit, event).await,
            Function::Look => look::handle(store, limit, event).await,
            Function::Send => send::handle(store, deployed, limit, event).await,
            Function::Sync => sync::handle(store, deployed, limit, event).await,
            Function::History => history::handle(store, deployed, limit, event).await,
            Function::Probe => probe::handle(store, deployed, limit, event).await,
            Function::Ack => ack::handle(store, deployed, limit, event).await,
            Function::Read => read::handle(store, deployed, limit, event).await,
            Function::Refresh => refresh::handle(store, inline, &policy(), limit, event).await,
            Function::Ping => ping::handle(store, limit, event).await,
            Function::Fallback => fallback::handle(store, limit, event).await,
            Function::Disconnect => disconnect::handle(store, event).await,
            Function::Authorize | Function::Connect | Function::Http | Function::FanOut | Function::Sweep => {
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

/// What the samples speak of: alice's conversation with bob, who has written entry 2; its delivery has begun; and her group with him. Alice
/// has no session.
fn world() -> Faulty {
    let (store, id) = (Faulty::new(time(CONNECTED_AT_MS)), lane());
    assert!(matches!(block_on(store.memory.create(&creation(&id, &user("alice"), &user("bob")))), Ok(Created::New)));
    assert!(matches!(block_on(store.memory.put(&entry(&id, 2, "bob"))), Ok(Put::Stored)));
    store.memory.state().heads.insert(id, head(2));
    let create = json!({ "action": "create", "id": "1", "client_message_id": "m-1", "users": ["bob"], "settings": { "title": "Tram" } });
    let event = on_route(saying(Function::Manage, &create.to_string()), Some("create"));
    let answer = serve(&store, 0, Function::Manage, event);
    assert_eq!((&answer["status"], &answer["conversation"]), (&json!("ok"), &json!(group())), "{answer}");
    let facts = MessageEntry::facts_after(&store.memory.entries(&group())[0].facts, true);
    assert!(matches!(block_on(store.memory.put(&Entry { facts, ..entry(&group(), 2, "alice") })), Ok(Put::Stored)));
    // Nobody has made a request of this world yet.
    let asked = Faulty::new(time(CONNECTED_AT_MS));
    *asked.memory.state() = State { queue: vec![], ..store.memory.state().clone() };
    asked
}

/// And alice has said hello, with a token that is over so long after the socket was accepted.
fn world_until(ms: u64) -> Faulty {
    let store = world();
    store.memory.log_in(&user("alice"), Connection { expires: time(CONNECTED_AT_MS + ms), ..alice() });
    store
}

fn lane() -> ConversationId {
    ConversationId::new("dQ2hhdGxhbmUtZXhhbXBsZS1pZCE").unwrap()
}

/// Of the group that alice has made as `m-1`.
fn group() -> ConversationId {
    ConversationId::new("g0sbdWMe-T_752cso1Ciuadh-QKU").unwrap()
}

/// Alice's connection.
fn alice() -> Connection {
    Connection {
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
    let handshakes = [Function::Connect, Function::Disconnect].map(|function| (function, socket_event(function)));
    for (_, event) in requests_and_others().chain(handshakes) {
        assert_eq!(caller(&event.request_context).unwrap(), (user("alice"), alice()), "{}", route(&event));
    }
}

#[test]
fn each_route_gets_the_request_of_its_name() {
    for (_, event) in requests() {
        let request = Request::parse(event.body.as_deref().unwrap()).unwrap();
        let said: Value = serde_json::to_value(request).unwrap();
        assert_eq!(said["action"], route(&event));
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
    let answer = block_on(fan_out::handle(&world(), &deployed(), &UserLimit::new(None), event, u64::MAX));
    let failed: Vec<&str> = answer.batch_item_failures.iter().map(|item| item.item_identifier.as_str()).collect();
    assert_eq!(failed, ["poison"]);
}

/// Bob's connection, and what it is posted when the sample's message comes with other attributes, where a later delivery has begun.
/// Alice's message is in the log behind it.
fn posted_to_bob(change: impl FnOnce(&mut SqsMessage)) -> usize {
    let store = world();
    store.memory.log_in(&user("bob"), Connection { connection: ConnectionId::new("bobs").unwrap(), ..alice() });
    assert!(matches!(block_on(store.memory.put(&entry(&lane(), 3, "alice"))), Ok(Put::Stored)));
    store.memory.state().heads.insert(lane(), head(3));
    let mut event: SqsEvent = sample(Function::FanOut);
    change(&mut event.records[0]);
    let answer = block_on(fan_out::handle(&store, &deployed(), &UserLimit::new(None), event, u64::MAX));
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
    let answer = block_on(fan_out::handle(&world(), &deployed(), &UserLimit::new(None), event, u64::MAX));
    assert_eq!(answer.batch_item_failures.iter().map(|item| item.item_identifier.as_str()).collect::<Vec<_>>(), [""]);
}

/// Whatever Lambda says of the end, the first posts are made; none is begun within four seconds of it.
#[test]
fn posting_ends_before_the_function_does() {
    for (ends_ms, taken) in [(0, 32), (CONNECTED_AT_MS + 4_000, 32), (CONNECTED_AT_MS + 4_001, 40), (u64::MAX, 40)] {
        let store = world();
        for number in 0..40 {
            let connection = ConnectionId::new(format!("bobs-{number}")).unwrap();
            store.memory.log_in(&user("bob"), Connection { connection, ..alice() });
        }
        block_on(fan_out::handle(&store, &deployed(), &UserLimit::new(None), sample(Function::FanOut), ends_ms));
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
    for action in by_socket() {
        let store = world_until(TOKEN_MS);
        let answer = serve(&store, 7, Function::answering(action), asking(action));
        let expected = if action == Action::Refresh { "error" } else { action.name() };
        assert_eq!((&answer["type"], &answer["id"]), (&json!(expected), &json!("1")), "{answer}");
        let says = match action {
            Action::Hello => {
                answer["conversations"][0]["last"]["client_message_id"] == "bob-2" && answer["expires_ms"] == CONNECTED_AT_MS + TOKEN_MS
            }
            Action::Open => answer["with"] == "bob" && answer["head"]["seq"] == 1,
            Action::Create | Action::Add | Action::Remove | Action::Leave | Action::Role | Action::Settings | Action::Close => {
                answer["status"] == "ok" && kind_at(&store, &answer) == kind_of(action)
            }
            Action::Info => {
                let told = &answer["conversations"][0];
                told["settings"]["title"] == "Tram" && told["members"] == 2 && told["role"] == "owner"
            }
            Action::Edit | Action::Delete | Action::React => answer["status"] == "ok" && kind_at(&store, &answer) == kind_of(action),
            Action::Prefs => answer["prefs"] == json!({"version": 1, "pinned": true}),
            Action::Members => answer["members"] == json!([{"user": "alice", "role": "owner"}, {"user": "bob", "role": "member"}]),
            Action::Send => answer["results"][0]["status"] == "ok" && answer["results"][0]["position"]["seq"] == 3,
            Action::Sync => answer["pages"][0]["entries"][0]["position"]["seq"] == 2 && answer["done"] == true,
            Action::History => answer["entries"][1]["position"]["seq"] == 2 && answer["done"] == true,
            Action::Probe => answer["found"] == json!([]) && answer["reached"]["seq"] == 2 && answer["done"] == true,
            Action::Ack | Action::Read => answer["results"] == json!([{"conversation": lane(), "status": "ok"}]),
            Action::Refresh => answer["code"] == "token_refused", // nobody signed the sample's
            Action::Ping => answer == json!({"type": "ping", "id": "1", "server_time_ms": CONNECTED_AT_MS + 7}),
            Action::Ticket => false, // of no socket
        };
        assert!(says, "{answer}");
        assert!(!is_closed(&store) && posts(&store).is_empty());
    }
}

/// The kind of the entry that this answer places.
fn kind_at(store: &Faulty, answer: &Value) -> Value {
    let conversation = ConversationId::new(answer["conversation"].as_str().unwrap()).unwrap();
    let seq = Seq::try_from(answer["position"]["seq"].as_u64().unwrap()).unwrap();
    let entries = block_on(store.memory.read(&conversation, seq, ReadBound::ONE)).unwrap();
    serde_json::to_value(entries[0].to_wire()).unwrap()["kind"].clone()
}

const fn kind_of(change: Action) -> &'static str {
    match change {
        Action::Create => "group_created",
        Action::Add => "added",
        Action::Remove => "removed",
        Action::Leave => "left",
        Action::Close => "closed",
        Action::Delete => "deletion",
        Action::React => "reaction",
        same => same.name(),
    }
}

/// A gateway that is not of the template.
#[test]
fn a_route_that_is_none_of_the_functions_own_is_foreign() {
    let of_others =
        |function| Action::ALL.iter().filter(move |action| Function::answering(**action) != function).map(|action| action.name());
    for function in [Function::Manage, Function::Look, Function::Send] {
        let own = Some(function.name()).filter(|name| Action::from_name(name).is_none());
        for route in of_others(function).chain(["dance", "$default"]).chain(own).map(Some).chain([None]) {
            let store = world_until(TOKEN_MS);
            let before = format!("{:?}", store.memory.state());
            let error = try_serve(&store, 0, function, on_route(socket_event(function), route)).unwrap_err();
            assert_eq!(error.to_string(), "the event lacks a route of this function, which the authorizer or the gateway gives");
            assert_eq!(format!("{:?}", store.memory.state()), before, "{route:?}");
        }
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
    let connection = ConnectionId::new("newer").unwrap();
    store.memory.log_in(&user("alice"), Connection { connection, connected_at: time(CONNECTED_AT_MS + 1), ..alice() });
    let answer = try_serve(&store, 2, Function::Hello, socket_event(Function::Hello)).unwrap();
    assert_eq!(answer.body, "");
    let told = std::mem::take(&mut store.memory.state().posts);
    assert_eq!(told, [(alice().connection, r#"{"type":"goaway","reason":"displaced"}"#.to_owned())]);
    assert!(store.memory.state().gone.contains(&alice().connection));
}

#[test]
fn a_request_that_is_refused_whole_is_an_error() {
    let change = |conversation: &str, more: Value| {
        let mut request = json!({"conversation": conversation, "client_message_id": "m-2", "anchor": Position::ZERO});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let group = group();
    let group = group.as_str();
    for (action, mut request, code) in [
        (Action::Hello, json!({"v": 0}), "upgrade_required"),
        (Action::Open, json!({"with": "alice", "client_message_id": "m-1"}), "bad_request"),
        (Action::History, json!({"conversation": "dNobodys"}), "not_found"),
        (Action::Probe, json!({"conversation": "dNobodys", "anchor": Position::ZERO, "ids": ["m-1"]}), "not_found"),
        (
            Action::Create,
            json!({"client_message_id": "m-1", "users": (0..39).map(|n| format!("{n}{}", "\u{1}".repeat(126))).collect::<Vec<_>>()}),
            "too_large",
        ),
        (Action::Add, change(lane().as_str(), json!({"users": ["carol"]})), "forbidden"),
        (Action::Remove, change(group, json!({"users": ["alice"]})), "forbidden"),
        (Action::Leave, change(group, json!({})), "last_owner"),
        (Action::Role, change(group, json!({"user": "carol", "role": "admin"})), "no_member"),
        (Action::Settings, change("gNobodys", json!({"settings": {"locked": true}})), "not_found"),
        (Action::Close, change(lane().as_str(), json!({})), "forbidden"),
        (Action::Edit, change(lane().as_str(), json!({"target": 2, "body": {"content_type": "text/plain", "text": "mine"}})), "forbidden"),
        (Action::Delete, change(lane().as_str(), json!({"target": 2})), "forbidden"),
        (Action::React, change(lane().as_str(), json!({"target": 1, "key": "+1", "change": "add"})), "no_message"),
        (Action::Info, json!({"conversations": []}), "bad_request"),
        (Action::Members, json!({"conversation": "gNobodys"}), "not_found"),
        (Action::Prefs, json!({"conversation": "gNobodys", "prefs": {"pinned": true}}), "not_found"),
    ] {
        request.as_object_mut().unwrap().extend([("action".to_owned(), json!(action.name())), ("id".to_owned(), json!("1"))]);
        let answer = serve(&world(), 0, Function::answering(action), with_body(asking(action), &request.to_string()));
        assert_eq!((&answer["type"], &answer["id"], &answer["code"]), (&json!("error"), &json!("1"), &json!(code)), "{request}");
    }
}

#[test]
fn a_request_on_another_route_is_an_unknown_action() {
    // Of the same function too.
    let bodies: Vec<String> = requests().map(|(_, event)| event.body.unwrap()).collect();
    for ((function, event), of_another) in requests_and_others().zip(bodies.iter().cycle().skip(1)) {
        let (store, event) = (world(), with_body(event, of_another));
        let before = format!("{:?}", store.memory.state());
        let answer = serve(&store, 0, function, event.clone());
        let told = (&answer["type"], &answer["code"], &answer["id"]);
        assert_eq!(told, (&json!("error"), &json!("unknown_action"), &json!("1")), "{}", route(&event));
        assert_eq!(store.count("register") + store.count("session"), 0, "{}", route(&event));
        assert_eq!(format!("{:?}", store.memory.state()), before, "{}", route(&event));
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
    for (function, event) in requests_and_others() {
        let store = world_until(TOKEN_MS);
        let before = store.memory.state().clone();
        let answer = try_serve(&store, TOKEN_MS, function, event.clone()).unwrap();
        assert_eq!((answer.status_code, answer.body.as_str()), (200, ""), "{}", route(&event));
        assert!(posts(&store) == [over.clone()] && is_closed(&store), "{}", route(&event));
        let after = store.memory.state();
        assert!(before.log == after.log && before.sessions == after.sessions && before.queue == after.queue, "{}", route(&event));
        drop(after);

        let store = world_until(TOKEN_MS);
        let bad = try_serve(&store, TOKEN_MS, function, with_body(event.clone(), "{")).unwrap();
        assert_eq!((bad.body.as_str(), posts(&store)[0].get("id"), is_closed(&store)), ("", None, true), "{}", route(&event));
    }
    assert_eq!(serve(&world_until(TOKEN_MS), TOKEN_MS - 1, Function::Ping, socket_event(Function::Ping))["type"], "ping");
}

#[test]
fn what_the_backend_does_not_answer_is_unavailable_with_the_requests_id() {
    let answered_by = |action: Action, method: &'static str| {
        let store = world_until(TOKEN_MS);
        store.on(method, Fault::RequestLost);
        let before = format!("{:?}", store.memory.state());
        is_unavailable(&serve(&store, 0, Function::answering(action), asking(action)));
        (before, format!("{:?}", store.memory.state()))
    };
    let changes = [Action::Add, Action::Remove, Action::Leave, Action::Role, Action::Settings, Action::Close];
    let amendments = [Action::Edit, Action::Delete, Action::React];
    for (action, method) in [
        (Action::Hello, "register"),
        (Action::Open, "read"),
        (Action::Create, "create"),
        (Action::Info, "descriptions"),
        (Action::Members, "members"),
        (Action::Prefs, "prefer"),
        (Action::Send, "enqueue"),
        (Action::Sync, "inbox_rows"),
        (Action::History, "read_back"),
        (Action::Probe, "read"),
        (Action::Ack, "at"),
        (Action::Read, "at"),
        (Action::Ping, "session"),
    ]
    .into_iter()
    .chain(changes.map(|action| (action, "change")))
    .chain(amendments.map(|action| (action, "amend")))
    {
        answered_by(action, method);
    }
    // Without the deployment's item nothing is begun.
    let need_it = [Action::Hello, Action::Open, Action::Create, Action::Send, Action::Sync, Action::History, Action::Probe];
    for action in need_it.into_iter().chain([Action::Ack, Action::Read]).chain(changes).chain(amendments) {
        let (before, after) = answered_by(action, "deployment");
        assert_eq!(before, after, "{}", action.name());
    }
    // Whether a refresh has prolonged the connection: no reason to close it.
    for (function, event) in requests_and_others() {
        let store = world_until(2 * TOKEN_MS);
        store.on("session", Fault::RequestLost);
        is_unavailable(&serve(&store, TOKEN_MS, function, event.clone()));
        assert_eq!((posts(&store), is_closed(&store)), (vec![], false), "{}", route(&event));
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
    for (function, asked) in requests_and_others().chain([(Function::Disconnect, socket_event(Function::Disconnect))]) {
        for field in ["user", "device", "expires"] {
            let mut event = asked.clone();
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
