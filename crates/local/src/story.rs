//! What `-v` prints: one line for every frame and every invocation, made from the calls that the embedded endpoints saw.
//!
//! An environment handles one event at a time, so the calls that a process makes between the ends of two invocations belong to the second.

use std::collections::{HashMap, HashSet};

use chatlane_aws::items::json::from_json;
use chatlane_aws::items::{entry, head, sessions, spent};
use chatlane_protocol::frames::{Outcome, SyncOutcome, encode};
use chatlane_protocol::{ErrorCode, Seq, ServerFrame, UserId};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::task::JoinHandle;

use crate::embedded::{Call, Service};
use crate::gateway::{FrameSource, GatewayEvent, What};
use crate::lambda::InvocationEnded;
use crate::stack::Stack;

/// How much is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    #[default]
    Nothing,
    /// Frames and invocations.
    Story,
    /// Every AWS call too.
    EveryCall,
}

/// Prints the story of a stack on standard output until the task is aborted.
pub fn print(stack: &Stack, detail: Detail) -> JoinHandle<()> {
    if detail == Detail::Nothing {
        return tokio::spawn(async {});
    }
    let mut calls = stack.endpoints().observe();
    let mut invocations = stack.lambda().observe();
    let mut frames = stack.gateway().observe();
    let mut printer = Printer { detail, ..Printer::default() };
    tokio::spawn(async move {
        loop {
            // In the order of causes: a call is there before its invocation's end, and that before the frame it answers.
            tokio::select! {
                biased;
                Some(call) = calls.recv() => printer.call(call),
                Some(ended) = invocations.recv() => printer.invocation(&ended),
                Some(event) = frames.recv() => printer.frame(&event),
                else => return,
            }
        }
    })
}

/// Puts frames that were posted behind the line of the invocation that posted them.
#[derive(Default)]
struct Printer {
    detail: Detail,
    /// The calls of each process since its last invocation ended.
    calls: HashMap<String, Vec<Call>>,
    /// The processes that have asked for an event.
    started: HashSet<String>,
    /// Connections with the lines of their posted frames, whose invocation has not ended.
    posts: Vec<(String, String)>,
    /// Connections whose posted frame has not come, although its invocation has ended.
    awaited: Vec<String>,
    /// The devices of the open connections.
    devices: HashMap<String, String>,
}

impl Printer {
    fn call(&mut self, call: Call) {
        if call.service == Service::Runtime {
            // What a process called before it first asks for an event belongs to its start, not to an invocation.
            if call.operation == "Next" && self.started.insert(call.caller.0.clone()) {
                self.calls.remove(&call.caller.0);
            }
            return;
        }
        if self.detail == Detail::EveryCall {
            println!("{}", call_line(&call));
        }
        self.calls.entry(call.caller.0.clone()).or_default().push(call);
    }

    fn invocation(&mut self, ended: &InvocationEnded) {
        let calls = self.calls.remove(&ended.caller).unwrap_or_default();
        println!("{}", invocation_line(ended, &calls));
        for connection in calls.iter().filter_map(posted_to) {
            match self.posts.iter().position(|(to, _)| to == connection) {
                Some(index) => println!("{}", self.posts.remove(index).1),
                None => self.awaited.push(connection.to_owned()),
            }
        }
    }

    fn frame(&mut self, event: &GatewayEvent) {
        let of = &event.connection;
        if let What::Opened { device: Some(device) } = &event.what {
            self.devices.insert(of.clone(), device.clone());
        }
        let line = format!("{} {}", time_of_day(), frame_line(event, self.devices.get(of).map_or("", String::as_str)));
        match event.what {
            What::FrameOut { source: FrameSource::Post, .. } => {
                let Some(index) = self.awaited.iter().position(|awaited| awaited == of) else {
                    self.posts.push((of.clone(), line));
                    return;
                };
                self.awaited.remove(index);
            }
            What::Closed { .. } => {
                self.posts.extract_if(.., |(to, _)| to == of).for_each(|(_, line)| println!("{line}"));
                self.awaited.retain(|awaited| awaited != of);
                self.devices.remove(of);
            }
            _ => {}
        }
        println!("{line}");
    }
}

/// As UTC, to the millisecond.
fn time_of_day() -> String {
    let (hour, minute, second, ms) = OffsetDateTime::now_utc().time().as_hms_milli();
    format!("{hour:02}:{minute:02}:{second:02}.{ms:03}")
}

/// The connection that took the call's frame.
fn posted_to(call: &Call) -> Option<&str> {
    let posted = call.operation == "PostToConnection" && call.status == 200;
    posted.then(|| call.request.get("ConnectionId").and_then(Value::as_str))?
}

fn call_line(call: &Call) -> String {
    let table = call.request.get("TableName").and_then(Value::as_str).unwrap_or_default();
    let units = match (call.write_units, call.read_units) {
        (0.0, 0.0) => String::new(),
        (writes, 0.0) => format!(", {writes} write units"),
        (_, reads) => format!(", {reads} read units"),
    };
    let took_ms = call.took.as_secs_f64() * 1000.0;
    format!("    {} {:?} {} {table} → {} in {took_ms:.1} ms{units}", call.caller, call.service, call.operation, call.status)
}

/// One line on one invocation: `λ send 3.1 ms: 2 reads, 1 put → #2, fan-out queued`.
pub fn invocation_line(ended: &InvocationEnded, calls: &[Call]) -> String {
    let took_ms = ended.took.as_secs_f64() * 1000.0;
    let cold = if ended.cold { " (cold start)" } else { "" };
    let did = match &ended.outcome {
        Ok(()) => what_was_done(calls),
        Err(error) => format!("failed: {error}"),
    };
    let separator = if did.is_empty() { "" } else { ": " };
    format!("  λ {} {took_ms:.1} ms{cold}{separator}{did}", ended.function)
}

/// What an invocation did, from the calls that it made.
fn what_was_done(calls: &[Call]) -> String {
    let (mut reads, mut members, mut sockets, mut posts, mut gone) = (0, None, None, 0, 0);
    let mut parts = vec![];
    for call in calls {
        let table = call.request.get("TableName").and_then(Value::as_str).unwrap_or_default();
        match (call.service, call.operation.as_str(), table) {
            (Service::DynamoDb, "Query", "conversations") => members = call.answer.get("Count").and_then(Value::as_u64),
            (Service::DynamoDb, "BatchGetItem", _) if batch(&call.answer, "users").is_some() => {
                sockets = batch(&call.answer, "users").map(|items| items.iter().map(connections).sum::<usize>());
            }
            (Service::DynamoDb, "GetItem" | "Query" | "BatchGetItem" | "TransactGetItems", _) => reads += 1,
            (Service::DynamoDb, "PutItem", _) => {
                let seq = or_unknown(from_json(&call.request["Item"]).and_then(|item| entry::seq(&item).ok()));
                parts.push(if call.status == 200 { format!("1 put → #{seq}") } else { format!("put at #{seq} refused") });
            }
            (Service::DynamoDb, "TransactWriteItems", _) => {
                parts.push(if call.status == 200 { "conversation created → #1".into() } else { "creation refused".into() });
            }
            (Service::DynamoDb, "UpdateItem", "conversations") => {
                let seq = or_unknown(head::raised_to(&call.request));
                parts.push(if call.status == 200 { format!("head → {seq}") } else { format!("head is at {seq} already") });
            }
            (Service::DynamoDb, "UpdateItem", "users") => {
                let does = if spent::charges(&call.request) { "user charged" } else { sessions::does(&call.request) };
                parts.push(if call.status == 200 { does.into() } else { format!("{does}: refused") });
            }
            (Service::Sqs, "SendMessage", _) => parts.push("fan-out queued".into()),
            (Service::Connections, "PostToConnection", _) => {
                if call.status == 410 {
                    gone += 1;
                } else {
                    posts += 1;
                }
            }
            _ => parts.push(call.operation.clone()),
        }
    }
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    if reads > 0 {
        parts.insert(0, plural(reads, "read"));
    }
    if let Some(members) = members {
        parts.push(plural(usize::try_from(members).unwrap_or(usize::MAX), "member"));
    }
    if let Some(sockets) = sockets {
        parts.push(plural(sockets, "socket"));
    }
    if posts > 0 || sockets.is_some() {
        parts.push(plural(posts, "post"));
    }
    if gone > 0 {
        parts.push(format!("{gone} gone"));
    }
    parts.join(", ")
}

fn or_unknown(seq: Option<Seq>) -> String {
    seq.map_or_else(|| "?".to_owned(), |seq| seq.to_string())
}

fn batch<'a>(answer: &'a Value, table: &str) -> Option<&'a Vec<Value>> {
    answer.get("Responses")?.get(table)?.as_array()
}

fn connections(item: &Value) -> usize {
    from_json(item).and_then(|item| sessions::read(&item).ok()).map_or(0, |sessions| sessions.len())
}

/// One line on one event of the gateway, with the beginning of the device's id. Says what kind of frame it is, never what is in it.
pub fn frame_line(event: &GatewayEvent, device: &str) -> String {
    let user = match device.get(..4) {
        Some(device) => format!("{} ({device}…)", shown(&event.user)),
        None => shown(&event.user),
    };
    match &event.what {
        What::Refused { status, why } => format!("a handshake is refused: {status}, {why}"),
        What::NotServed { why } => format!("{user} is not served: {why}"),
        What::Opened { device } => format!("{user} connected, device {}", device.as_deref().unwrap_or("unknown")),
        What::FrameIn { route, text } => format!("{user} → {} ({} bytes)", route.as_deref().unwrap_or("no route"), text.len()),
        What::FrameOut { text, source } => format!("{user} ← {}", describe(text, *source)),
        What::Closed { code, .. } => format!("{user} disconnected ({code})"),
    }
}

/// A user's name without what could steer a terminal.
fn shown(user: &str) -> String {
    UserId::new(user).map_or_else(|_| "nobody".to_owned(), |user| user.as_str().escape_debug().to_string())
}

/// The code as it is on the wire.
fn word(code: ErrorCode) -> String {
    encode(&code).trim_matches('"').to_owned()
}

fn describe(text: &str, source: FrameSource) -> String {
    let Ok(frame) = serde_json::from_str::<ServerFrame>(text) else { return "the gateway's own error".to_owned() };
    match frame {
        ServerFrame::Hello(answer) => format!("hello, {} conversations", answer.conversations.len()),
        ServerFrame::Open(answer) => format!("open, head #{}", answer.conversation.head.seq),
        ServerFrame::Sync(answer) => {
            let entries: usize = answer.pages.iter().map(|page| entries_of(&page.outcome)).sum();
            format!("sync, {entries} entries of {} conversations{}", answer.pages.len(), if answer.done { ", done" } else { "" })
        }
        ServerFrame::History(answer) => format!("history, {} entries", answer.entries.len()),
        ServerFrame::Probe(answer) => format!("probe, {} found up to #{}", answer.found.len(), answer.reached.seq),
        ServerFrame::Ack(answer) => format!("ack of {} conversations", answer.results.len()),
        ServerFrame::Read(answer) => format!("read of {} conversations", answer.results.len()),
        ServerFrame::Ping(answer) => if answer.resync { "pong, say hello again" } else { "pong" }.to_owned(),
        ServerFrame::Receipt(receipt) => {
            format!("receipt, delivered #{} read #{}", receipt.cursors.delivered.seq, receipt.cursors.read.seq)
        }
        ServerFrame::Error(error) => format!("error {}: {}", word(error.refusal.code), error.refusal.message),
        ServerFrame::Goaway(_) => "goaway".to_owned(),
        ServerFrame::Send(answer) => {
            let result = |outcome: &Outcome| match outcome {
                Outcome::Ok(stored) => format!("stored #{}", stored.position.seq),
                Outcome::Duplicate(stored) => format!("stored #{} before", stored.position.seq),
                Outcome::Conflict(stored) => format!("conflict with #{}", stored.position.seq),
                Outcome::Refused(refusal) => format!("refused {}", word(refusal.code)),
                Outcome::NotAttempted => "not attempted".to_owned(),
            };
            answer.results.iter().map(|each| result(&each.outcome)).collect::<Vec<_>>().join(", ")
        }
        ServerFrame::Entries(live) => {
            let seqs: Vec<String> = live.entries.iter().map(|entry| format!("#{}", entry.position.seq)).collect();
            format!("{} {}", if seqs.len() == 1 { "entry" } else { "entries" }, seqs.join(" "))
        }
        frame => frame.action().map_or_else(|| format!("a frame of another version, by {source:?}"), |action| action.name().to_owned()),
    }
}

const fn entries_of(outcome: &SyncOutcome) -> usize {
    match outcome {
        SyncOutcome::Ok(missed) => missed.entries.len(),
        SyncOutcome::Refused(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chatlane_aws::items::head::Head;
    use chatlane_aws::items::json::to_json;
    use chatlane_aws::items::sessions::Connection;
    use chatlane_protocol::{ConnectionId, ConversationId, DeviceId, Position, UnixMillis};
    use serde_json::json;

    use super::*;
    use crate::embedded::{Caller, Fate};
    use crate::lambda::InvokeError;

    fn call(service: Service, operation: &str, status: u16, request: Value, answer: Value) -> Call {
        Call {
            caller: Caller("send-1".to_owned()),
            service,
            operation: operation.to_owned(),
            request,
            fate: Fate::Answered,
            status,
            answer,
            write_units: 0.0,
            read_units: 0.5,
            took: Duration::from_micros(1500),
        }
    }

    fn ended(outcome: Result<(), InvokeError>) -> InvocationEnded {
        InvocationEnded {
            caller: "send-1".to_owned(),
            function: "send".to_owned(),
            took: Duration::from_micros(3100),
            cold: false,
            outcome,
        }
    }

    #[test]
    fn a_send_is_one_line() {
        let slot = entry::key(&ConversationId::new("d1").unwrap(), Seq::FIRST.next());
        let calls = [
            call(Service::DynamoDb, "Query", 200, json!({ "TableName": "log" }), Value::Null),
            call(Service::DynamoDb, "GetItem", 200, json!({ "TableName": "conversations" }), Value::Null),
            call(Service::DynamoDb, "PutItem", 200, json!({ "TableName": "log", "Item": to_json(&slot) }), Value::Null),
            call(Service::Sqs, "SendMessage", 200, json!({}), Value::Null),
        ];
        assert_eq!(invocation_line(&ended(Ok(())), &calls), "  λ send 3.1 ms: 2 reads, 1 put → #2, fan-out queued");
    }

    #[test]
    fn a_fan_out_is_one_line() {
        let head = head::raise_request(Head { position: Position::new(1, Seq::FIRST.next()), ..Head::default() });
        let sessions = ["1", "2"].map(|connection| Connection {
            connection: ConnectionId::new(connection).unwrap(),
            device: DeviceId::new("3f0c2f64-2d0f-4a1c-9a47-0f8f2a4cf001").unwrap(),
            connected_at: UnixMillis::ZERO,
            expires: UnixMillis::MAX,
        });
        let users = [("bob", &sessions[..]), ("alice", &[])]
            .map(|(user, sessions)| to_json(&sessions::item(&UserId::new(user).unwrap(), sessions, 0)));
        let users = json!({ "Responses": { "users": users } });
        let calls = [
            call(Service::DynamoDb, "UpdateItem", 200, head, Value::Null),
            call(Service::DynamoDb, "Query", 200, json!({ "TableName": "conversations" }), json!({ "Count": 2 })),
            call(Service::DynamoDb, "BatchGetItem", 200, json!({}), users),
            call(Service::Connections, "PostToConnection", 200, json!({}), Value::Null),
            call(Service::Connections, "PostToConnection", 410, json!({}), Value::Null),
        ];
        assert_eq!(what_was_done(&calls), "head → 2, 2 members, 2 sockets, 1 post, 1 gone");
    }

    #[test]
    fn a_failed_invocation_says_why() {
        let line = invocation_line(&ended(Err(InvokeError::Throttled { concurrency_max: 16 })), &[]);
        assert_eq!(line, "  λ send 3.1 ms: failed: all 16 environments of the function are busy");
    }

    #[test]
    fn a_frame_is_shown_by_its_kind_and_never_by_its_content() {
        let text = r#"{"type":"entries","conversation":"d1","entries":[{"position":{"epoch":1,"seq":7},"sender":"a","client_message_id":"m","time_ms":1,"count":1,"kind":"message","body":{"content_type":"text/plain","text":"SECRET"}}]}"#;
        let sent = |user: &str, text: &str, source| {
            let what = What::FrameOut { text: text.to_owned(), source };
            frame_line(&GatewayEvent { connection: "c".to_owned(), user: user.to_owned(), what }, "3f0c2f64-2d0f")
        };
        assert_eq!(sent("bob\u{1b}[2J", text, FrameSource::Post), "bob\\u{1b}[2J (3f0c…) ← entry #7");
        assert_eq!(sent("bob", r#"{"message":"Internal server error"}"#, FrameSource::Answer), "bob (3f0c…) ← the gateway's own error");
    }
}
