//! Outputs of a session as JSON, for people who write a client in another language.

use chatlane_protocol::{Position, Prefs, Seq};
use chatlane_session::{
    Change, ConnectionState, ConversationRow, Draft, Draw, Failure, OutboxRow, OutboxState, OutgoingState, Output, Shown, TokenNeed,
};
use serde_json::{Value, json};

fn conversation(row: &ConversationRow) -> Value {
    let mut json = json!({
        "conversation": row.conversation, "with": row.with, "from": row.from, "have": row.have, "have_count": row.have_count,
        "head": row.head, "head_count": row.head_count, "acked": row.acked, "read": row.read, "read_count": row.read_count,
        "read_pending": row.read_pending, "others": row.others,
    });
    // With somebody it says nothing.
    if row.with.is_none() && row.told {
        json["told"] = json!(true);
    }
    let mut known = |name: &str, is_known: bool, value: Value| {
        if is_known {
            json[name] = value;
        }
    };
    known("read_private", row.read_private, json!(true));
    known("mentioned", row.mentioned != Seq::ZERO, json!(row.mentioned));
    known("prefs", row.prefs != Prefs::default(), json!(row.prefs));
    known("wished", !row.wished.is_empty(), json!(row.wished));
    known("amended", row.amended != Seq::ZERO, json!(row.amended));
    known("role", row.role.is_some(), json!(row.role));
    known("group", row.group.is_some(), json!(row.group));
    known("title", row.title.is_some(), json!(row.title));
    known("titled", row.titled != Seq::ZERO, json!(row.titled));
    known("member_at", row.member_at != Position::ZERO, json!(row.member_at));
    known("ended", row.ended, json!(true));
    json
}

/// The fields of what was written. A message is the usual; of a change `kind` says which.
fn draft(draft: &Draft) -> Value {
    let mut json = json!(draft);
    if matches!(draft, Draft::Message { .. }) {
        json.as_object_mut().expect("an object").remove("kind");
    }
    json
}

fn outbox(row: &OutboxRow) -> Value {
    let state = match &row.state {
        OutboxState::Waiting => json!({"is": "waiting"}),
        OutboxState::Refused(refusal) => json!({"is": "refused", "refusal": refusal}),
        OutboxState::Failed(refusal) => json!({"is": "failed", "refusal": refusal}),
    };
    let mut json = json!({
        "conversation": row.conversation, "order": row.order, "client_message_id": row.client_message_id, "anchor": row.anchor,
        "state": state,
    });
    let all = json.as_object_mut().expect("an object");
    all.extend(draft(&row.draft).as_object().cloned().unwrap_or_default());
    json
}

pub fn draw(draw: &Draw) -> Value {
    json!({"for": draw.purpose, "modulus": draw.modulus, "value": draw.value})
}

/// A text of the wire: JSON where it is JSON.
fn text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

pub fn output(output: &Output) -> Value {
    match output {
        Output::Connect(socket) => json!({"type": "connect", "socket": socket.0}),
        Output::Send { socket, text: frame } => json!({"type": "send", "socket": socket.0, "frame": text(&frame.0)}),
        Output::Close(socket) => json!({"type": "close", "socket": socket.0}),
        Output::Commit { batch, changes } => {
            json!({"type": "commit", "batch": batch.0, "changes": changes.iter().map(change).collect::<Vec<_>>()})
        }
        Output::NeedToken(why) => json!({"type": "need_token", "why": match why {
            TokenNeed::Ends => "ends",
            TokenNeed::Refused => "refused",
            TokenNeed::Suspect => "suspect",
        }}),
        Output::Show(what) => json!({"type": "show", "what": shown(what)}),
    }
}

fn change(change: &Change) -> Value {
    match change {
        Change::Conversation(row) => json!({"type": "conversation", "row": conversation(row)}),
        Change::Entries { conversation, entries } => json!({"type": "entries", "conversation": conversation, "entries": entries}),
        Change::DropBeyond { conversation, position } => {
            json!({"type": "drop_beyond", "conversation": conversation, "position": position})
        }
        Change::DropAll(conversation) => json!({"type": "drop_all", "conversation": conversation}),
        Change::Held(row) => json!({"type": "held", "row": {
            "user": row.user, "order": row.order, "client_message_id": row.client_message_id, "opening": row.opening, "body": row.body,
        }}),
        Change::HeldDone(id) => json!({"type": "held_done", "client_message_id": id}),
        Change::Group(group) => json!({"type": "group", "row": {
            "order": group.order, "client_message_id": group.client_message_id, "users": group.users, "settings": group.settings,
        }}),
        Change::GroupDone(id) => json!({"type": "group_done", "client_message_id": id}),
        Change::Outbox(row) => json!({"type": "outbox", "row": outbox(row)}),
        Change::OutboxDone { conversation, client_message_id } => {
            json!({"type": "outbox_done", "conversation": conversation, "client_message_id": client_message_id})
        }
    }
}

fn shown(shown: &Shown) -> Value {
    match shown {
        Shown::Connection(state) => json!({"type": "connection", "state": connection(*state)}),
        Shown::Entry { conversation, entry } => json!({"type": "entry", "conversation": conversation, "entry": entry}),
        Shown::History { conversation, entries, done } => {
            json!({"type": "history", "conversation": conversation, "entries": entries, "done": done})
        }
        Shown::RolledBack { conversation, position } => {
            json!({"type": "rolled_back", "conversation": conversation, "position": position})
        }
        Shown::Skipped { conversation, position } => json!({"type": "skipped", "conversation": conversation, "position": position}),
        Shown::Conversation { row, unread } => json!({"type": "conversation", "row": conversation(row), "unread": unread}),
        Shown::Outgoing { conversation, client_message_id, state } => {
            let state = match state {
                OutgoingState::Waiting => json!({"is": "waiting"}),
                OutgoingState::Stored(stored) => json!({"is": "stored", "stored": stored}),
                OutgoingState::Unchanged => json!({"is": "unchanged"}),
                OutgoingState::Failed(refusal) => json!({"is": "failed", "refusal": refusal}),
            };
            json!({"type": "outgoing", "conversation": conversation, "client_message_id": client_message_id, "state": state})
        }
        Shown::Cursors { conversation, cursors } => json!({"type": "cursors", "conversation": conversation, "cursors": cursors}),
        Shown::Opened { user, conversation } => json!({"type": "opened", "user": user, "conversation": conversation}),
        Shown::Held { user, client_message_id } => json!({"type": "held", "user": user, "client_message_id": client_message_id}),
        Shown::Membership { conversation, member } => json!({"type": "membership", "conversation": conversation, "member": member}),
        Shown::Created { client_message_id, conversation } => {
            json!({"type": "created", "client_message_id": client_message_id, "conversation": conversation})
        }
        Shown::Info { conversation, info } => json!({"type": "info", "conversation": conversation, "info": info}),
        Shown::Members { conversation, members } => json!({"type": "members", "conversation": conversation, "members": members}),
        Shown::Prefs { conversation, prefs } => json!({"type": "prefs", "conversation": conversation, "prefs": prefs}),
        Shown::Storing(works) => json!({"type": "storing", "works": works}),
        Shown::Failed(Failure::OtherUser(user)) => json!({"type": "failed_other_user", "user": user}),
        Shown::Failed(Failure::Open { user, refusal }) => json!({"type": "failed_open", "user": user, "refusal": refusal}),
        Shown::Failed(Failure::History { conversation, refusal }) => {
            json!({"type": "failed_history", "conversation": conversation, "refusal": refusal})
        }
        Shown::Failed(Failure::Group { conversation, refusal }) => {
            json!({"type": "failed_group", "conversation": conversation, "refusal": refusal})
        }
        Shown::Failed(Failure::Create { client_message_id, refusal }) => {
            json!({"type": "failed_create", "client_message_id": client_message_id, "refusal": refusal})
        }
        Shown::Failed(Failure::Prefs { conversation, refusal }) => {
            json!({"type": "failed_prefs", "conversation": conversation, "refusal": refusal})
        }
        Shown::Failed(Failure::NoConversation(conversation)) => json!({"type": "no_conversation", "conversation": conversation}),
    }
}

fn connection(state: ConnectionState) -> Value {
    match state {
        ConnectionState::Connecting => json!({"is": "connecting"}),
        ConnectionState::CatchingUp => json!({"is": "catching_up"}),
        ConnectionState::Live => json!({"is": "live"}),
        ConnectionState::Waiting { until } => json!({"is": "waiting", "until_ms": until.0}),
        ConnectionState::NoToken => json!({"is": "no_token"}),
        ConnectionState::Displaced => json!({"is": "displaced"}),
        ConnectionState::UpgradeRequired => json!({"is": "upgrade_required"}),
    }
}
