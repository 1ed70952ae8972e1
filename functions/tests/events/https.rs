//! What is asked without a socket: each action of the HTTP API, its refusals in HTTP, and tickets.

use std::io::Read as _;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chatlane_chat::limit::Budget;
use chatlane_chat::ports::Gate;
use chatlane_chat::testing::builders::user;
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::ready::block_on;
use chatlane_functions::Function;
use chatlane_functions::handshake::authorize;
use chatlane_functions::handshake::authorize::jwks::{KeyAges, KeyCache, KeySet, KeySource};
use chatlane_functions::http::{Answer, Server};
use chatlane_functions::limit::UserLimit;
use chatlane_protocol::{Action, ServerFrame};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::tokens::{Down, inline, policy, signed_sample, signed_with};
use super::{CONNECTED_AT_MS, TOKEN_MS, asking, deployed, lane, sample, serve, socket_event, time, with_body, world};

/// The sample with a good token, which is alice's; and the keys.
fn good() -> (KeySet, ApiGatewayV2httpRequest) {
    let (keys, token) = signed_sample();
    let mut event: ApiGatewayV2httpRequest = sample(Function::Http);
    event.headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    (keys, event)
}

/// The same of another request.
fn saying(request: &Value) -> (KeySet, ApiGatewayV2httpRequest) {
    let (keys, mut event) = good();
    event.path_parameters.insert("action".to_owned(), request["action"].as_str().unwrap().to_owned());
    event.body = Some(request.to_string());
    (keys, event)
}

fn ask_within(limit: &UserLimit, store: &Faulty, (keys, event): (KeySet, ApiGatewayV2httpRequest)) -> Answer {
    let (deployed, keys, policy) = (&deployed(), &inline(keys), &policy());
    block_on(Server { ports: store, deployed, keys, policy, limit }.answer([7; 32], event))
}

fn ask(store: &Faulty, asked: (KeySet, ApiGatewayV2httpRequest)) -> Answer {
    ask_within(&UserLimit::new(None), store, asked)
}

/// The frame; every one is of the protocol, and is kept by nobody.
fn frame(answer: &Answer) -> Value {
    assert_eq!((answer.headers["content-type"].as_str(), answer.headers["cache-control"].as_str()), ("application/json", "no-store"));
    let frame: ServerFrame = serde_json::from_str(&answer.body).unwrap();
    assert_ne!(frame, ServerFrame::Unknown, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// The status, the code and the id.
fn refused(answer: &Answer) -> (u16, String, Value) {
    let frame = frame(answer);
    assert_eq!(frame["type"], "error", "{frame}");
    (answer.status_code, frame["code"].as_str().unwrap().to_owned(), frame["id"].clone())
}

/// What is asked on a socket and over HTTPS alike.
const ON_BOTH: [Action; 7] = [Action::Hello, Action::Sync, Action::History, Action::Probe, Action::Send, Action::Ack, Action::Read];

#[test]
fn what_is_asked_over_https_is_answered_as_on_a_socket_and_makes_no_session() {
    for action in ON_BOTH {
        let event = asking(action);
        let request: Value = serde_json::from_str(event.body.as_deref().unwrap()).unwrap();
        let (on_socket, store) = (world(), world());
        let mut expected = serve(&on_socket, 0, Function::answering(action), event);
        if action == Action::Hello {
            expected["reconnect_in_ms"] = json!(6_300_000);
        }
        let answer = ask(&store, saying(&request));
        assert_eq!((answer.status_code, frame(&answer)), (200, expected), "{}", action.name());
        let (state, on_socket) = (store.memory.state(), on_socket.memory.state());
        assert!(state.sessions.get(&user("alice")).is_none_or(std::collections::BTreeMap::is_empty), "{}", action.name());
        assert_eq!((&state.log, &state.inboxes), (&on_socket.log, &on_socket.inboxes), "{}", action.name());
        // Nobody has had the message by a socket.
        assert!(state.queue.iter().all(|(task, _)| task.origin.is_none()) && state.queue.len() == on_socket.queue.len());
    }
}

// holds: L2
#[test]
fn a_message_that_is_sent_both_ways_is_one_entry() {
    let (store, event) = (world(), asking(Action::Send));
    let request: Value = serde_json::from_str(event.body.as_deref().unwrap()).unwrap();
    let first = serve(&store, 0, Function::Send, event.clone());
    let second = frame(&ask(&store, saying(&request)));
    let third = serve(&store, 0, Function::Send, with_body(event, &request.to_string()));
    let told = [first, second, third].map(|answer| answer["results"][0].clone());
    assert_eq!([0, 1, 2].map(|n| told[n]["status"].as_str().unwrap()), ["ok", "duplicate", "duplicate"]);
    assert_eq!(told[0]["position"], told[1]["position"]);
    assert_eq!(store.memory.state().log[&lane()].len(), 3);
}

#[test]
fn a_cursor_moves_quietly_and_a_sync_moves_it_too() {
    let store = world();
    let ack =
        json!({"action": "ack", "id": "1", "quiet": true, "positions": [{"conversation": lane(), "position": {"epoch": 1, "seq": 1}}]});
    let answer = ask(&store, saying(&ack));
    assert_eq!((answer.status_code, answer.body.as_str()), (200, ""));
    let position = json!({"epoch": 1, "seq": 2});
    let sync = json!({
        "action": "sync", "id": "1",
        "conversations": [{"conversation": lane(), "after": position}], "ack": [{"conversation": lane(), "position": position}],
    });
    assert_eq!(frame(&ask(&store, saying(&sync)))["acked"], true);
    assert_eq!(store.memory.state().inboxes[&user("alice")][&lane()].delivered_furthest().seq.get(), 2);
}

// holds: R1
#[test]
fn whoever_has_no_good_token_or_no_device_is_refused_and_nothing_is_asked_of_the_tables() {
    let (keys, event) = good();
    let without = |name: &str| {
        let mut event = event.clone();
        event.headers.remove(name);
        event
    };
    let with = |authorization: &str| {
        let mut event = event.clone();
        event.headers.insert("authorization", authorization.parse().unwrap());
        event
    };
    let of_device = |device: &str| {
        let mut event: Value = serde_json::to_value(&event).unwrap();
        event["queryStringParameters"] = json!({ "device": device });
        serde_json::from_value(event).unwrap()
    };
    let (_, of_another_key) = signed_sample();
    for event in [
        without("authorization"),
        with("Basic YTpi"),
        with("Bearer x"),
        with(&format!("Bearer {of_another_key}")),
        of_device("x"),
        of_device("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001,3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001"),
    ] {
        let store = world();
        let answer = ask(&store, (keys.clone(), event));
        assert_eq!(refused(&answer), (401, "token_refused".to_owned(), json!("1")));
        assert!(store.counts().is_empty());
    }
    let (keys, token) = signed_with(&json!({"device": "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf002"}));
    assert_eq!(refused(&ask(&world(), (keys, with(&format!("Bearer {token}"))))).0, 401);
}

#[tokio::test]
async fn where_the_issuers_keys_cannot_be_had_it_is_unavailable() {
    let (store, keys) = (world(), KeySource::Cached(KeyCache::new(Down, KeyAges::default())));
    let (deployed, policy, limit) = (&deployed(), &policy(), &UserLimit::new(None));
    let answer = Server { ports: &store, deployed, keys: &keys, policy, limit }.answer([7; 32], good().1).await;
    assert_eq!(refused(&answer), (503, "unavailable".to_owned(), json!("1")));
}

#[test]
fn bad_input_is_told_as_on_a_socket() {
    let known = |action: &str| json!({"action": action, "id": "1"});
    for (request, code) in [
        (known("dance"), "unknown_action"),
        (known("refresh"), "unknown_action"),
        (known("ping"), "unknown_action"),
        (known("sync"), "bad_request"),
        (json!({"action": "hello", "id": "1", "v": 0}), "upgrade_required"),
    ] {
        assert_eq!(refused(&ask(&world(), saying(&request))), (400, code.to_owned(), json!("1")), "{request}");
    }
    let with = |change: &dyn Fn(&mut ApiGatewayV2httpRequest)| {
        let (keys, mut event) = good();
        change(&mut event);
        refused(&ask(&world(), (keys, event)))
    };
    let bad = |id: Value| (400, "bad_request".to_owned(), id);
    assert_eq!(with(&|event| event.body = None), bad(json!(null)));
    assert_eq!(with(&|event| event.body = Some("{".to_owned())), bad(json!(null)));
    // A frame of another action than the path's.
    assert_eq!(with(&|event| drop(event.path_parameters.insert("action".to_owned(), "send".to_owned()))).1, "unknown_action");
    let encoded = |bytes: &[u8]| {
        let text = STANDARD.encode(bytes);
        with(&|event| (event.body, event.is_base64_encoded) = (Some(text.clone()), true))
    };
    assert_eq!(encoded(&[0xff]), bad(json!(null)));
    assert_eq!(encoded(&vec![b' '; 128 * 1024 + 1]), bad(json!(null)));
    assert_eq!(with(&|event| event.is_base64_encoded = true), bad(json!(null)));
    assert_eq!(with(&|event| event.body = Some(" ".repeat(200_000))), bad(json!(null)));
    let (keys, mut event) = good();
    (event.body, event.is_base64_encoded) = (Some(STANDARD.encode(event.body.unwrap())), true);
    assert_eq!(ask(&world(), (keys, event)).status_code, 200);
}

#[test]
fn a_refusal_is_a_status() {
    let send = |conversation: &str| {
        let message =
            json!({"client_message_id": "m", "anchor": {"epoch": 1, "seq": 1}, "body": {"content_type": "text/plain", "text": "x"}});
        json!({"action": "send", "id": "1", "conversation": conversation, "messages": [message]})
    };
    let answer = ask(&world(), saying(&send("dNobodys")));
    assert_eq!((answer.status_code, &frame(&answer)["results"][0]["code"]), (200, &json!("not_found")));
    let history = json!({"action": "history", "id": "1", "conversation": "dNobodys"});
    assert_eq!(refused(&ask(&world(), saying(&history))), (403, "not_found".to_owned(), json!("1")));
    let store = world();
    store.on("read_back", Fault::RequestLost);
    let answer = ask(&store, saying(&json!({"action": "history", "id": "1", "conversation": lane()})));
    assert_eq!((refused(&answer).0, answer.headers["retry-after"].as_str()), (503, "1"));
}

#[test]
fn who_is_shut_out_gets_429_and_every_request_is_charged() {
    let budget = Budget { charged_min: 1, ..Budget::DEFAULT };
    let spent = |store: &Faulty| store.memory.state().spent.get(&user("alice")).map_or(0, |spent| spent.values().sum::<u64>());
    let (store, limit) = (world(), UserLimit::new(Some(budget)));
    assert_eq!(ask_within(&limit, &store, good()).status_code, 200);
    assert!(spent(&store) > 10, "a request, an invocation, and what was read");
    let before = spent(&store);
    let until = time(CONNECTED_AT_MS + 90_000);
    store.memory.state().gates.insert(user("alice"), Gate { until, times: 1 });
    for asked in [1, 0] {
        let reads = store.count("recent_gate");
        let answer = ask_within(&limit, &store, good());
        assert_eq!((refused(&answer), answer.headers["retry-after"].as_str()), ((429, "rate_limited".to_owned(), json!("1")), "90"));
        assert_eq!(store.count("recent_gate") - reads, asked, "this process knows it then");
    }
    assert!(spent(&store) > before);
    // Whom this very request overdraws is told so.
    let (store, limit) = (world(), UserLimit::new(Some(Budget { units_per_s: 1, burst: 1, charged_min: 1 })));
    assert_eq!(refused(&ask_within(&limit, &store, good())).0, 429);
    // A gate that cannot be read is open.
    let store = world();
    store.on("recent_gate", Fault::RequestLost);
    assert_eq!(ask(&store, good()).status_code, 200);
    // One process takes so many in a second.
    let (store, limit) = (world(), UserLimit::new(Some(budget)));
    let taken = (0..60).filter(|_| ask_within(&limit, &store, good()).status_code == 200).count();
    assert_eq!(taken, 50);
}

#[test]
fn a_large_answer_is_compressed_where_the_client_reads_that() {
    let body = json!({"content_type": "text/plain", "text": "x".repeat(2000)});
    let message = json!({"client_message_id": "m", "anchor": {"epoch": 1, "seq": 1}, "body": body});
    let store = world();
    ask(&store, saying(&json!({"action": "send", "id": "1", "conversation": lane(), "messages": [message]})));
    let history = json!({"action": "history", "id": "1", "conversation": lane()});
    let zipped = ask(&store, saying(&history));
    assert_eq!((zipped.headers["content-encoding"].as_str(), zipped.is_base64_encoded), ("gzip", true));
    let mut text = String::new();
    GzDecoder::new(&STANDARD.decode(&zipped.body).unwrap()[..]).read_to_string(&mut text).unwrap();
    let (keys, mut event) = saying(&history);
    event.headers.insert("accept-encoding", "br, identity".parse().unwrap());
    let plain = ask(&store, (keys, event));
    assert_eq!((plain.headers.get("content-encoding"), &text), (None, &plain.body));
    assert!(!ask(&world(), good()).is_base64_encoded, "a small one is not");
}

#[test]
fn the_first_request_of_a_deployment_may_come_without_a_socket() {
    let store = Faulty::new(time(CONNECTED_AT_MS));
    let hello = frame(&ask(&store, saying(&json!({"action": "hello", "id": "1", "v": 1}))));
    assert_eq!((&hello["epoch"], &hello["conversations"]), (&json!(1), &json!([])));
    let store = Faulty::new(time(CONNECTED_AT_MS));
    store.on("deployment", Fault::RequestLost);
    assert_eq!(ask(&store, saying(&json!({"action": "hello", "id": "1", "v": 1}))).status_code, 503);
    issued(&store);
}

// --- tickets

/// What the authorizer says of a handshake with this ticket, by this device, so long after the samples' socket.
fn verdict(store: &Faulty, ms: u64, ticket: &str, device: u8) -> Result<Value, String> {
    let mut event: Value = sample(Function::Authorize);
    event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = json!([format!("chatlane.v1, ticket.{ticket}")]);
    let device = format!("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf0{device:02x}");
    event["multiValueQueryStringParameters"] = json!({ "device": [device] });
    store.memory.clock.set(time(CONNECTED_AT_MS + ms));
    let (keys, policy) = (inline(signed_sample().0), policy());
    let verdict = block_on(authorize::handle(store, &keys, &policy, serde_json::from_value(event).unwrap()));
    verdict.map(|verdict| serde_json::to_value(verdict).unwrap()).map_err(|error| error.to_string())
}

fn issued(store: &Faulty) -> String {
    let answer = frame(&ask(store, saying(&json!({"action": "ticket", "id": "1"}))));
    assert_eq!((&answer["type"], &answer["expires_ms"]), (&json!("ticket"), &json!(CONNECTED_AT_MS + 30_000)));
    answer["ticket"].as_str().unwrap().to_owned()
}

fn effect(verdict: &Value) -> &str {
    verdict["policyDocument"]["Statement"][0]["Effect"].as_str().unwrap()
}

// holds: R1
#[test]
fn a_ticket_opens_one_connection_as_the_token_does_for_which_it_was_issued() {
    let store = world();
    let ticket = issued(&store);
    let first = verdict(&store, 29_999, &ticket, 1).unwrap();
    assert_eq!(effect(&first), "Allow");
    let expected = json!({
        "user": "alice", "device": "3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001", "expires": (CONNECTED_AT_MS + TOKEN_MS).to_string(),
    });
    assert_eq!(first["context"], expected);
    let again = verdict(&store, 29_999, &ticket, 1).unwrap();
    let never = verdict(&store, 0, &"A".repeat(43), 1).unwrap();
    let odd = verdict(&store, 0, "", 1).unwrap();
    let store = world();
    let (late, ticket) = (verdict(&store, 30_000, &issued(&store), 1).unwrap(), issued(&world()));
    assert!([&again, &never, &odd, &late].into_iter().all(|denied| effect(denied) == "Deny" && *denied == again));
    assert!(!format!("{:?}", store.memory.state()).contains(&ticket), "the tables do not hold it");
}

#[test]
fn a_ticket_is_its_devices_and_another_one_does_not_use_it_up() {
    let store = world();
    let ticket = issued(&store);
    assert_eq!(effect(&verdict(&store, 1, &ticket, 2).unwrap()), "Deny");
    assert_eq!(effect(&verdict(&store, 1, &ticket, 1).unwrap()), "Allow");
}

#[test]
fn where_tickets_cannot_be_had_nobody_is_judged_and_none_is_issued() {
    let store = world();
    let ticket = issued(&store);
    store.on("redeem", Fault::RequestLost);
    let unjudged = verdict(&store, 1, &ticket, 1).unwrap_err();
    assert!(unjudged.starts_with("nobody can connect: the tickets cannot be had") && !unjudged.contains(&ticket), "{unjudged}");
    assert_eq!(effect(&verdict(&store, 1, &ticket, 1).unwrap()), "Allow");
    store.on("keep_ticket", Fault::RequestLost);
    assert_eq!(refused(&ask(&store, saying(&json!({"action": "ticket", "id": "1"})))).0, 503);
    // A socket asks for none.
    let asked = with_body(socket_event(Function::Fallback), &json!({"action": "ticket", "id": "1"}).to_string());
    assert_eq!(serve(&world(), 0, Function::Fallback, asked)["code"], "unknown_action");
}
