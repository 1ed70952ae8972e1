//! What one frame can make a deployment pay.

use chatlane_chat::limit::{DELIVERY_UNITS, FRAME_UNITS};
use chatlane_chat::testing::builders::{device as device_id, position};
use chatlane_protocol::limits::PENDING_CONNECTIONS_MAX;
use chatlane_protocol::request::PositionIn;
use chatlane_protocol::{ConversationId, DeviceId, EntryKind, Position};
use chatlane_tests_e2e::past::Past;
use chatlane_tests_e2e::{Device, Running, message, padded, wire_log};
use serde_json::{Value, json};

use crate::scene::Scene;
use crate::stranger::{group_that_removed, questions_about_a_group};
use crate::table::Row;

const INTRODUCTION: &str = "\
# What one frame can make a deployment pay

Counted by `tests/e2e/tests/counted` from the requests that reach the embedded endpoints; a difference in either direction fails.
`CHATLANE_UPDATE=1 cargo nextest run -p chatlane-tests-e2e --test counted` writes this file.

*Dollars* are those of a million such frames, by AWS's prices of us-east-1: a read unit $0.125, a write unit $0.625, a frame with its answer
$2.25 (two messages of the gateway and a Lambda invocation), a post $1, a task $1.72 (three requests of SQS and an invocation). An honest
message is the measure. *Before* is what the same frame cost while logs were read before rows, reads were bounded by entries, and positions
were not compared with their row. *Fat*: 62 entries of 28 KB. *Mixed*: entries of 300 bytes, of which the first eight are read, and then fat
ones: nobody can know before. *Removed*: who was a member of the group. What really moves cursors (`ack of 100`, `read of 100`) is work, not
abuse.

Sockets that do not read: ten messages to eight of them come to 112 posts and 23 tasks (before: 284 and 26), which is 3 × an honest message
for each: `sockets_that_do_not_read_multiply_neither_posts_nor_tasks` in `crates/chat/tests/chat/fan_out` counts them.

";

/// A row of the page: what it cost before, in units (read, write) and dollars, where it was measured.
struct Attack {
    row: Row,
    before: &'static str,
    /// How many times an honest message it may cost.
    at_most: f64,
}

/// Of a million such frames.
pub fn dollars(row: &Row) -> f64 {
    let whole = row.whole();
    #[expect(clippy::cast_precision_loss, reason = "some hundred")]
    let times = |operation: &str| whole.operations.get(operation).copied().unwrap_or_default() as f64;
    2.25 + 0.125 * whole.read_units + 0.625 * whole.write_units + times("PostToConnection") + 1.72 * times("SendMessage")
}

/// Conversations that are there before the first measurement.
struct Targets {
    /// Of `member` and another: 62 entries of 28 KB.
    fat: ConversationId,
    /// The same, behind eight short ones.
    mixed: ConversationId,
    /// Of `member` with a hundred others, two short entries each.
    hundred: Vec<ConversationId>,
    /// Of `member`, two short entries each; and as many with fat entries behind those, and with fat ones behind eight short ones.
    quiet: Vec<ConversationId>,
    fats: Vec<ConversationId>,
    mixeds: Vec<ConversationId>,
    /// Of `member`: 150 short entries, every fifth is the member's.
    chat: ConversationId,
}

const FAT_BYTES: usize = 27_800;

impl Targets {
    async fn of(stack: &Running) -> Self {
        let mut past = Past::of(stack).await;
        let fat = past.conversation("member", "fat", 2);
        past.messages_of_bytes(&fat, "fat", 3..=62, FAT_BYTES);
        let mixed = past.conversation("member", "mixed", 10);
        past.messages_of_bytes(&mixed, "mixed", 11..=70, FAT_BYTES);
        let quiet = (0..15).map(|number| past.conversation("member", &format!("quiet-{number:02}"), 2)).collect();
        let (mut fats, mut mixeds) = (vec![], vec![]);
        for number in 0..16 {
            let other = format!("fat-{number:02}");
            fats.push(past.conversation("member", &other, 2));
            past.messages_of_bytes(&fats[number], &other, 3..=12, FAT_BYTES);
            let other = format!("mixed-{number:02}");
            mixeds.push(past.conversation("member", &other, 3));
            past.messages_of_bytes(&mixeds[number], &other, 4..=40, FAT_BYTES);
        }
        let hundred = (0..100).map(|number| past.conversation("member", &format!("other-{number:02}"), 2)).collect();
        let chat = past.conversation("member", "chat", 1);
        for number in 0..30 {
            past.messages(&chat, "chat", number * 5 + 2..=number * 5 + 5);
            past.messages(&chat, "member", number * 5 + 6..=number * 5 + 6);
        }
        past.write(stack).await;
        Self { fat, mixed, hundred, quiet, fats, mixeds, chat }
    }
}

fn positions(conversations: &[ConversationId], at: Position) -> Value {
    json!(conversations.iter().map(|conversation| PositionIn::new(conversation.clone(), at)).collect::<Vec<_>>())
}

fn syncs(conversations: &[ConversationId], after: Position) -> Value {
    let from = |conversation: &ConversationId| json!({ "conversation": conversation, "after": after });
    json!({ "action": "sync", "conversations": conversations.iter().map(from).collect::<Vec<_>>() })
}

/// Asks, and takes down what that cost.
async fn attack(scene: &Scene<'_>, who: &Device, what: &'static str, before: &'static str, at_most: f64, frame: Value) -> Attack {
    let (row, answer) = scene.row(what, who, who.request(frame)).await;
    let answer = answer.expect("an answer").to_string();
    assert!(!answer.contains("conflict") && !answer.contains("bad_request"), "{what}: {answer}");
    Attack { row, before, at_most }
}

/// Everything that a stranger may ask of conversations, and a member.
async fn attacks(scene: &Scene<'_>, targets: &Targets) -> Vec<Attack> {
    let Targets { fat, mixed, hundred, quiet, fats, mixeds, chat } = targets;
    let (stranger, member) = (scene.stack.device("mallory").await, scene.stack.device("member").await);
    let probe = |of: &ConversationId, anchor| json!({ "action": "probe", "conversation": of, "anchor": anchor, "ids": ["x"] });
    let send = |of: &ConversationId, anchor| json!({ "action": "send", "conversation": of, "messages": [message("x", anchor)] });
    let history = |of: &ConversationId| json!({ "action": "history", "conversation": of });
    let ack = |action: &str, at| json!({ "action": action, "positions": positions(hundred, at) });
    let one = std::slice::from_ref;
    let (start, old) = (Position::ZERO, Position::new(0, position(2).seq));
    let asked = [
        (&stranger, "stranger: probe, fat", "416 / 0, $54", 4.0, probe(fat, start)),
        (&stranger, "stranger: history, fat", "174 / 0, $24", 4.0, history(fat)),
        (&stranger, "stranger: send, fat", "259 / 0, $35", 4.0, send(fat, start)),
        (&stranger, "stranger: sync of 100", "16,700 / 0, $2,090", 4.0, syncs(hundred, position(1))),
        (&stranger, "stranger: ack of 100", "200 / 0, $27", 4.0, ack("ack", position(2))),
        (&member, "ack of 100", "100 / 100, $78", f64::INFINITY, ack("ack", position(2))),
        (&member, "the same again", "100 / 100, $78", 4.0, ack("ack", position(2))),
        (&member, "read of 100", "201 / 200, $153", f64::INFINITY, ack("read", position(2))),
        (&member, "the same again", "100 / 100, $78", 4.0, ack("read", position(2))),
        (&member, "ack of 100, of before a restore", "", 6.0, ack("ack", old)),
        (&member, "sync of 100, up to date", "200 / 0, $28", 6.0, syncs(hundred, position(2))),
        (&member, "sync of 100, of before a restore", "", 6.0, syncs(hundred, old)),
        (&member, "sync of 15 up to date and 16 fat", "", 6.5, syncs(&[&quiet[..], fats].concat(), position(2))),
        (&member, "sync of 15 up to date and 16 mixed", "", 9.0, syncs(&[&quiet[..], mixeds].concat(), position(2))),
        (&member, "hello of 121 conversations", "", 6.5, json!({ "action": "hello", "v": 1 })),
        (&member, "ping with 20 open", "", 4.0, json!({ "action": "ping", "open": hundred[..20] })),
        (&member, "probe, fat", "416 / 0, $54", 4.0, probe(fat, start)),
        (&member, "history, fat", "174 / 0, $24", 4.0, history(fat)),
        (&member, "sync, fat", "161 / 0, $22", 4.0, syncs(one(fat), start)),
        (&member, "send from the start, fat", "264 / 0, $35", 4.0, send(fat, start)),
        (&member, "probe, mixed", "", 5.5, probe(mixed, start)),
        (&member, "sync, mixed", "", 4.0, syncs(one(mixed), start)),
        (&member, "send from the start, mixed", "", 5.5, send(mixed, start)),
    ];
    let mut attacks = vec![];
    for (who, what, before, at_most, frame) in asked {
        attacks.push(attack(scene, who, what, before, at_most, frame).await);
    }
    // Each of the member's messages again, from a lower anchor than the one before.
    let log = wire_log(&scene.stack.store().await, chat).await;
    let own = log.iter().rev().filter(|entry| entry.sender.as_str() == "member").take(25);
    let messages: Vec<Value> = own
        .map(|entry| {
            let EntryKind::Message(chatlane_protocol::Message { body, .. }) = &entry.kind else { panic!("a message: {entry:?}") };
            json!({ "client_message_id": entry.client_message_id, "anchor": position(entry.position.seq.get() - 1), "body": body })
        })
        .collect();
    let again = json!({ "action": "send", "conversation": chat, "messages": messages });
    attacks.push(attack(scene, &member, "25 duplicates, descending anchors", "645 / 0, $85", 4.0, again).await);
    attacks.push(one_device_more(scene, targets).await);
    let removed = scene.stack.device("removed").await;
    let (group, _owner) = group_that_removed(scene.stack, "removed").await;
    for (who, of, names) in [(&stranger, fat, STRANGER), (&removed, &group, REMOVED)] {
        for (what, (action, frame)) in names.into_iter().zip(questions_about_a_group(of, position(1))) {
            assert!(what.contains(action), "{what} is not {action}");
            attacks.push(attack(scene, who, what, "", 1.0, frame).await);
        }
    }
    let info = |of: &[ConversationId]| json!({ "action": "info", "conversations": of });
    for (who, what, at_most) in [(&stranger, "stranger: info of 20", 4.0), (&member, "info of 20", 4.0)] {
        attacks.push(attack(scene, who, what, "", at_most, info(&hundred[..20])).await);
    }
    attacks
}

const STRANGER: [&str; 12] = [
    "stranger: add, fat",
    "stranger: remove, fat",
    "stranger: leave, fat",
    "stranger: role, fat",
    "stranger: settings, fat",
    "stranger: close, fat",
    "stranger: edit, fat",
    "stranger: delete, fat",
    "stranger: react, fat",
    "stranger: prefs, fat",
    "stranger: info, fat",
    "stranger: members, fat",
];

const REMOVED: [&str; 12] = [
    "removed: add",
    "removed: remove",
    "removed: leave",
    "removed: role",
    "removed: settings",
    "removed: close",
    "removed: edit",
    "removed: delete",
    "removed: react",
    "removed: prefs",
    "removed: info",
    "removed: members",
];

/// However many there were before: a row keeps sixteen.
async fn one_device_more(scene: &Scene<'_>, Targets { chat, .. }: &Targets) -> Attack {
    let store = scene.stack.store().await;
    let member = chatlane_chat::testing::builders::user("member");
    for number in 1..=17 {
        use chatlane_chat::ports::{Advance, Inboxes as _};
        let rows = store.inbox_rows(&member, std::slice::from_ref(chat)).await.expect("a row");
        let id: DeviceId = device_id(number);
        let to = position(u64::from(number));
        let row = rows[0].as_ref().expect("a row that can be read").as_ref();
        let dropped = row.expect("a member").room_for(&member, id, to).expect("it is further than the others");
        let to = Advance { delivered: Some(to), read: None, dropped, shown: chatlane_chat::ports::Shown::Follows };
        store.advance(&member, chat, id, to).await.expect("it moves");
    }
    let device = scene.stack.device("member").await;
    let frame = json!({ "action": "ack", "positions": positions(std::slice::from_ref(chat), position(50)) });
    attack(scene, &device, "ack of one device more, after 1,001", "1 / 44, $30", 4.0, frame).await
}

const LIMIT: &str = "
## What the limit makes of it

Everything is charged to whoever asks, and deliveries to whoever wrote what is delivered, in *units* of $0.125 a million: a read unit 1, a
write unit 5, a post 8, a task 3, a frame with its answer or a handshake 18 and 8 for each 32 KB after the first, the delivery of a task 8.
Only the posts to another member's second, third and fourth connection nobody pays; those to further ones the member does. Accounts that work
together so cost up to four times what they are charged. A user who spends more than 120,000 units at once, or more than 400 a second for
long, is shut out for a minute, and each time for twice as long, up to an hour. So whatever the frame, one account costs at most $4.32 a day, and a burst each time that it is let in again:
$0.015. Beside that, who is shut out or has 32 silent connections costs by each handshake the invocations of the authorizer and of
`$connect`, as anybody with a token does, and once a minute for each process of `$connect` what the row of one too many says, or a refused
write. Who has no token costs the authorizer's invocation, and with a ticket that is none a refused write beside it; over HTTPS an invocation.
Minutes of open connections ($0.25 a million) are charged to nobody: a user has 16 connections and 32 silent ones.

";

/// What a row is charged, with the deliveries that it causes, whoever pays those.
fn units(row: &Row) -> f64 {
    let whole = row.whole();
    #[expect(clippy::cast_precision_loss, reason = "some hundred")]
    let times = |operation: &str| whole.operations.get(operation).copied().unwrap_or_default() as f64;
    #[expect(clippy::cast_precision_loss, reason = "two small constants")]
    let (frame, delivery) = (FRAME_UNITS as f64, DELIVERY_UNITS as f64);
    frame + whole.read_units + 5.0 * whole.write_units + 8.0 * times("PostToConnection") + (3.0 + delivery) * times("SendMessage")
}

/// Frames that the limit is for: cheap ones, and those that make others work.
async fn floods(scene: &Scene<'_>) -> Vec<Row> {
    let mallory = scene.stack.device("flooder").await;
    let mut rows = vec![];
    for (what, frame) in [
        ("ping", json!({ "action": "ping" })),
        ("malformed", json!({ "action": "send" })),
        ("hello", json!({ "action": "hello", "v": 1 })),
        ("open with a ghost", json!({ "action": "open", "with": "nobody at all", "client_message_id": "c" })),
    ] {
        rows.push(scene.row(what, &mallory, mallory.request(frame)).await.0);
    }
    let users = |from: usize| (from..from + 39).map(|number| format!("crowd-{number:03}")).collect::<Vec<_>>();
    let create = json!({ "action": "create", "client_message_id": "crowd", "users": users(0) });
    let (row, answer) = scene.row("create of a group of 40", &mallory, mallory.request(create)).await;
    rows.push(row);
    let group = answer.expect("an answer")["conversation"].clone();
    for (what, action, number, users) in [
        ("add of 39", "add", 1, users(39)),
        ("remove of 20", "remove", 2, users(0)[..20].to_vec()),
        ("remove of 20 who are gone", "remove", 3, users(0)[..20].to_vec()),
    ] {
        let change = json!({
            "action": action, "conversation": group, "client_message_id": format!("c-{number}"), "anchor": position(number), "users": users,
        });
        rows.push(scene.row(what, &mallory, mallory.request(change)).await.0);
    }
    rows.extend(edited_and_deleted(scene, &mallory).await);
    let mut silent = vec![];
    for _ in 0..PENDING_CONNECTIONS_MAX {
        silent.push(scene.stack.silent_device("knocker").await);
    }
    let (row, status) = scene.row("handshake too many", &mallory, scene.stack.refused("knocker")).await;
    assert_eq!(status, 429);
    rows.push(row);
    let mut listeners = vec![];
    for _ in 0..16 {
        listeners.push(scene.stack.device("listener").await);
    }
    let lane = mallory.open("listener").await.expect("open is answered").conversation;
    scene.stack.quiet().await;
    let messages = [message("x", position(1))];
    rows.push(scene.row("message to 16 connections", &mallory, mallory.send(&lane, &messages)).await.0);
    rows
}

/// One message that is edited as often as it can be, and deleted.
async fn edited_and_deleted(scene: &Scene<'_>, mallory: &Device) -> Vec<Row> {
    let lane = mallory.open("a reader").await.expect("open is answered").conversation;
    mallory.send(&lane, &[message("x".repeat(FAT_BYTES), position(1))]).await.expect("send is answered");
    let ask = |number: usize, action: &str, said: Value| {
        let mut asked = json!({
            "action": action, "conversation": lane, "client_message_id": format!("a-{number}"), "anchor": position(2), "target": 2,
        });
        asked.as_object_mut().expect("an object").extend(said.as_object().expect("fields").clone());
        asked
    };
    let mut rows = vec![];
    for (what, action, said) in [
        ("edit of 27 KB", "edit", json!({ "body": { "content_type": "text/plain", "text": "y".repeat(FAT_BYTES) } })),
        ("edit that says the same", "edit", json!({ "body": { "content_type": "text/plain", "text": "y".repeat(FAT_BYTES) } })),
        ("reaction", "react", json!({ "key": "+1", "change": "add" })),
        ("reaction that is there", "react", json!({ "key": "+1", "change": "add" })),
        ("deletion of a message of 27 KB with its edit", "delete", json!({})),
        ("deletion of what is deleted", "delete", json!({})),
    ] {
        let (row, answer) = scene.row(what, mallory, mallory.request(ask(rows.len(), action, said.clone()))).await;
        assert_ne!(answer.expect("an answer")["code"], "rate_limited");
        rows.push(row);
    }
    rows
}

/// The page, and what it must hold.
pub async fn page(stack: &Running, honest: &Row) -> String {
    let targets = Targets::of(stack).await;
    let mut scene = Scene::new(stack, 0);
    scene.warm().await;
    let honest = dollars(honest);
    let mut limited = vec![["", "units", "at once", "a second for long"].map(str::to_owned)];
    let mut limit = |row: &Row| {
        let units = units(row);
        let rate = format!("{:.1}", 400.0 / units);
        limited.push([row.scene.to_owned(), format!("{units:.0}"), format!("{:.0}", (120_000.0 / units).floor()), rate]);
    };
    let mut lines = vec![
        ["", "before: read / write units", "read", "write", "requests", "posts", "dollars a million", "of an honest message"]
            .map(str::to_owned),
    ];
    for Attack { row, before, at_most } in attacks(&scene, &targets).await {
        let whole = row.whole();
        let (dollars, posts) = (dollars(&row), whole.operations.get("PostToConnection").copied().unwrap_or_default());
        assert!(dollars <= at_most * honest, "{}: ${dollars:.2} a million, {honest:.2} an honest one", row.scene);
        lines.push([
            row.scene.to_owned(),
            before.to_owned(),
            whole.read_units.to_string(),
            whole.write_units.to_string(),
            whole.calls().to_string(),
            posts.to_string(),
            format!("{dollars:.2}"),
            format!("{:.1} ×", dollars / honest),
        ]);
        limit(&row);
    }
    for row in floods(&scene).await {
        limit(&row);
    }
    format!("{INTRODUCTION}An honest message: ${honest:.2}.\n\n{}{LIMIT}{}", padded(lines), padded(limited))
}
