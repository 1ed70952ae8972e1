//! What stands in a vector, as the session takes it: settings, rows of the store, inputs.

use chatlane_session::{
    Act, BatchId, ConversationRow, Draft, HeldRow, Input, NewGroup, OpenFailure, OutboxRow, OutboxState, Restored, Settings, SocketId, Text,
};
use serde_json::{Value, json};

/// A field of an object, as what the place wants.
macro_rules! field {
    ($json:expr, $name:literal) => {
        serde_json::from_value($json[$name].clone()).unwrap_or_else(|error| panic!("`{}` of {}: {error}", $name, $json))
    };
}

pub fn settings(json: &Value) -> Settings {
    Settings {
        user: field!(json, "user"),
        device: field!(json, "device"),
        answer_wait_ms: field!(json, "answer_wait_ms"),
        ping_wait_ms: field!(json, "ping_wait_ms"),
        cursors_wait_ms: field!(json, "cursors_wait_ms"),
        back_off_min_ms: field!(json, "back_off_min_ms"),
        back_off_max_ms: field!(json, "back_off_max_ms"),
        catch_up_entries_max: field!(json, "catch_up_entries_max"),
        new_entries_max: field!(json, "new_entries_max"),
        ahead_entries_max: field!(json, "ahead_entries_max"),
    }
}

pub fn restored(json: &Value) -> Restored {
    let rows = |name: &str| json[name].as_array().into_iter().flatten();
    Restored {
        conversations: rows("conversations").map(conversation).collect(),
        outbox: rows("outbox").map(outbox).collect(),
        held: rows("held").map(held).collect(),
        groups: rows("groups").map(group).collect(),
    }
}

fn group(json: &Value) -> NewGroup {
    NewGroup {
        order: field!(json, "order"),
        client_message_id: field!(json, "client_message_id"),
        users: field!(json, "users"),
        settings: field!(json, "settings"),
    }
}

/// What was written, of the fields of an input or of a row. A message has no `kind`.
fn draft(json: &Value, kind: &str) -> Draft {
    let mut fields = json.clone();
    fields["kind"] = json!(kind);
    serde_json::from_value(fields).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn held(json: &Value) -> HeldRow {
    HeldRow {
        user: field!(json, "user"),
        order: field!(json, "order"),
        client_message_id: field!(json, "client_message_id"),
        opening: field!(json, "opening"),
        body: field!(json, "body"),
    }
}

fn conversation(json: &Value) -> ConversationRow {
    ConversationRow {
        conversation: field!(json, "conversation"),
        with: field!(json, "with"),
        told: json["told"] == true || json["with"].is_string(),
        from: field!(json, "from"),
        have: field!(json, "have"),
        have_count: field!(json, "have_count"),
        head: field!(json, "head"),
        head_count: field!(json, "head_count"),
        acked: field!(json, "acked"),
        read: field!(json, "read"),
        read_count: field!(json, "read_count"),
        read_pending: field!(json, "read_pending"),
        read_private: json["read_private"] == true,
        mentioned: serde_json::from_value(json["mentioned"].clone()).unwrap_or_default(),
        prefs: serde_json::from_value(json["prefs"].clone()).unwrap_or_default(),
        wished: serde_json::from_value(json["wished"].clone()).unwrap_or_default(),
        others: field!(json, "others"),
        amended: serde_json::from_value(json["amended"].clone()).unwrap_or_default(),
        role: field!(json, "role"),
        group: field!(json, "group"),
        title: field!(json, "title"),
        titled: serde_json::from_value(json["titled"].clone()).unwrap_or_default(),
        member_at: serde_json::from_value(json["member_at"].clone()).unwrap_or_default(),
        ended: json["ended"] == true,
    }
}

/// No vector begins with a message that was refused.
fn outbox(json: &Value) -> OutboxRow {
    assert_eq!(json["state"]["is"], "waiting");
    OutboxRow {
        conversation: field!(json, "conversation"),
        order: field!(json, "order"),
        client_message_id: field!(json, "client_message_id"),
        anchor: field!(json, "anchor"),
        draft: draft(json, json["kind"].as_str().unwrap_or("message")),
        state: OutboxState::Waiting,
    }
}

pub fn input(json: &Value) -> Input {
    let socket = || SocketId(field!(json, "socket"));
    match json["type"].as_str().unwrap_or_default() {
        "connect_now" => Input::Do(Act::ConnectNow),
        "compose" => Input::Do(Act::Compose {
            conversation: field!(json, "conversation"),
            client_message_id: field!(json, "client_message_id"),
            draft: draft(json, "message"),
        }),
        kind @ ("edit" | "delete" | "react" | "add" | "remove" | "leave" | "role" | "settings" | "close") => Input::Do(Act::Compose {
            conversation: field!(json, "conversation"),
            client_message_id: field!(json, "client_message_id"),
            draft: draft(json, kind),
        }),
        "create" => Input::Do(Act::Create {
            client_message_id: field!(json, "client_message_id"),
            users: field!(json, "users"),
            settings: field!(json, "settings"),
        }),
        "ask_info" => Input::Do(Act::AskInfo { conversations: field!(json, "conversations") }),
        "ask_members" => Input::Do(Act::AskMembers { conversation: field!(json, "conversation") }),
        "compose_to" => Input::Do(Act::ComposeTo {
            user: field!(json, "user"),
            client_message_id: field!(json, "client_message_id"),
            opening: field!(json, "opening"),
            body: field!(json, "body"),
        }),
        "open_with" => Input::Do(Act::OpenWith { user: field!(json, "user"), client_message_id: field!(json, "client_message_id") }),
        "mark_read" => Input::Do(Act::MarkRead {
            conversation: field!(json, "conversation"),
            position: field!(json, "position"),
            private: json["private"] == true,
        }),
        "prefer" => Input::Do(Act::Prefer { conversation: field!(json, "conversation"), prefs: field!(json, "prefs") }),
        "look" => Input::Do(Act::Look { conversations: field!(json, "conversations") }),
        "load_history" => Input::Do(Act::LoadHistory { conversation: field!(json, "conversation"), before: field!(json, "before") }),
        "discard" => {
            Input::Do(Act::Discard { conversation: field!(json, "conversation"), client_message_id: field!(json, "client_message_id") })
        }
        "new_token" => Input::NewToken(field!(json, "token")),
        "not_stored" => Input::NotStored(BatchId(field!(json, "batch"))),
        "committed" => Input::Committed(BatchId(field!(json, "batch"))),
        "opened" => Input::Opened(socket()),
        "open_failed" => {
            let failure = if json["failure"] == "denied" { OpenFailure::Denied } else { OpenFailure::Unreachable };
            Input::OpenFailed { socket: socket(), failure }
        }
        "closed" => Input::Closed { socket: socket() },
        // A text that is not JSON is a string.
        "received" => {
            let frame = &json["frame"];
            Input::Received { socket: socket(), text: Text(frame.as_str().map_or_else(|| frame.to_string(), str::to_owned)) }
        }
        // The app reads the store: nothing happens to the session.
        "tick" | "kept" => Input::Tick,
        other => panic!("`{other}` is no input"),
    }
}
