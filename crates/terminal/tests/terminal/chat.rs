//! The terminal chat, typed and read by the test.

use std::io;

use chatlane_client::store::{Store, StoreError};
use chatlane_protocol::{Body, ClientMessageId, ConversationId, Entry, EntryKind, Position, Seq, UnixMillis};
use chatlane_session::{Change, ConversationRow};
use chatlane_terminal::{ChatError, chat};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};

use crate::server::{at, entry, head, message, reopened, row, soon, stored, tokens, welcome};
use crate::user::{Scene, User, created, options, user_id};

#[tokio::test]
async fn a_typed_line_is_sent_and_numbered() {
    let mut scene = Scene::alice_with_bob().await;
    scene.user.types("hello bob").await;
    let send = scene.peer.quietly("send").await;
    assert_eq!((&send["conversation"], &send["messages"][0]["anchor"]), (&json!("d1"), &at(1)));
    assert_eq!(send["messages"][0]["body"], json!({"content_type": "text/plain", "text": "hello bob"}));
    scene.peer.settle(&send, stored("ok", 2)).await;
    scene.user.sees("  ✓ #2").await;
    scene.user.types("/quit").await;
    scene.user.ends().await;
}

#[tokio::test]
async fn what_is_on_the_screen_is_read() {
    let mut scene = Scene::alice_with_bob().await;
    scene.peer.push_text("bob", 2, "two").await;
    scene.user.sees("bob: two  #2").await;
    while scene.peer.read_mark().await != at(2) {}
}

#[tokio::test]
async fn a_refusal_is_one_clear_line_when_it_is_certain() {
    let mut scene = Scene::alice_with_bob().await;
    scene.user.types("hi\u{1b}").await;
    let send = scene.peer.quietly("send").await;
    let refused = json!({"status": "refused", "code": "forbidden", "retryable": false, "message": "closed\u{7}"});
    scene.peer.settle(&send, refused).await;
    let probe = scene.peer.quietly("probe").await;
    scene.peer.answer(&probe, json!({"type": "probe", "conversation": "d1", "found": [], "reached": at(1), "done": true})).await;
    loop {
        let line = soon(scene.user.lines.recv()).await.unwrap();
        if line.contains('✗') {
            assert_eq!(line, r"  ✗ not sent: closed\u{7} (forbidden): hi\u{1b}");
            break;
        }
    }
    scene.user.types("/quit").await;
    soon(scene.user.chat).await.unwrap().unwrap();
    let store = reopened(&scene.folder.0, &user_id("alice")).await;
    assert_eq!(store.restore().unwrap().outbox, [], "shown, so given up");
}

#[tokio::test]
async fn received_text_cannot_command_the_terminal() {
    let mut scene = Scene::alice_with_bob().await;
    scene.peer.push_text("bob", 2, "\u{1b}[2Jgone\nmallory: hi").await;
    scene.user.sees(r"bob: \u{1b}[2Jgone\nmallory: hi  #2").await;
    let body = json!({"content_type": "image/png", "data": "AAAA"});
    scene.peer.push("bob", 3, json!({"kind": "message", "body": body})).await;
    scene.user.sees("bob: [image/png, 3 bytes]  #3").await;
}

#[tokio::test]
async fn an_entry_of_a_later_version_keeps_its_place() {
    let mut scene = Scene::alice_with_bob().await;
    scene.peer.push("bob", 2, json!({"kind": "poll", "question": "?"})).await;
    scene.peer.say(json!({"type": "weather"})).await;
    scene.peer.push_text("bob", 3, "x").await;
    scene.user.sees("· bob: something that this version cannot show  #2").await;
    scene.user.sees("bob: x  #3").await;
}

#[tokio::test]
async fn after_a_power_cut_everything_is_there_again_without_a_server() {
    let mut scene = Scene::alice_with_bob().await;
    scene.peer.push_text("bob", 2, "are you there?").await;
    scene.user.sees("bob: are you there?  #2").await;
    scene.user.types("yes").await;
    let send = scene.peer.quietly("send").await;
    scene.peer.settle(&send, stored("ok", 3)).await;
    scene.user.sees("  ✓ #3").await;
    scene.user.types("and now?").await;
    let lost = scene.peer.quietly("send").await;
    scene.user.sees("  ○ and now?").await;
    scene.user.dies().await;

    let store = reopened(&scene.folder.0, &user_id("alice")).await;
    let mut offline = User::sits_down("ws://127.0.0.1:9/dev", store, None);
    for line in [
        "· you are alice; /help lists what you can type",
        "· talking to bob",
        "· bob opened the conversation  #1",
        "bob: are you there?  #2",
        "alice: yes  #3 ✓",
        "  ○ and now?",
    ] {
        offline.sees(line).await;
    }
    offline.types("later").await;
    offline.sees("  ○ later").await;
    offline.types("/quit").await;
    offline.sees("· 2 messages wait on this device; they are sent the next time").await;
    offline.ends().await;

    // `again` meets the server: the message that was sent keeps its name, the younger one comes behind it.
    let Scene { server, folder, .. } = scene;
    let mut user = User::sits_down(&server.url, reopened(&folder.0, &user_id("alice")).await, None);
    let mut peer = server.accept().await;
    peer.greet("alice", &json!([])).await;
    let send = peer.quietly("send").await;
    assert_eq!(send["messages"][0], lost["messages"][0]);
    assert_eq!(send["messages"][1]["body"]["text"], "later");
    let settled = |index: usize, seq: u64| {
        let mut result = stored("ok", seq);
        result["client_message_id"] = send["messages"][index]["client_message_id"].clone();
        result
    };
    let answer = json!({"type": "send", "conversation": "d1", "results": [settled(0, 4), settled(1, 5)]});
    peer.answer(&send, answer).await;
    for line in ["  ○ later", "  ✓ #4 and now?", "  ✓ #5 later"] {
        while soon(user.lines.recv()).await.unwrap() != line {}
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_is_one_line_and_so_is_its_return() {
    let mut scene = Scene::alice_with_bob().await;
    scene.user.sees("· online").await;
    // Nobody answers: neither this socket nor the next.
    scene.peer.close(1001, "Going away").await;
    let mut waiting = vec![];
    loop {
        let line = soon(scene.user.lines.recv()).await.unwrap();
        if line.starts_with("· connecting") || line.starts_with("· offline, trying again in 1 s") {
            break;
        }
        waiting.push(line);
    }
    assert_eq!(waiting, [""; 0]);
    let mut peer = scene.server.accept().await;
    peer.greet("alice", &json!([row("bob", 2)])).await;
    let sync = peer.quietly("sync").await;
    peer.bring(&sync, vec![entry("bob", 2, message("while you were away"))]).await;
    scene.user.sees("bob: while you were away  #2").await;
    scene.user.sees("· back, 1 new").await;
}

#[tokio::test]
async fn somebody_who_cannot_be_talked_to_is_one_line_and_so_is_each_line_typed_to_them() {
    let mut scene = Scene::connected("alice", Some("nobody")).await;
    scene.peer.greet("alice", &json!([])).await;
    let open = scene.peer.quietly("open").await;
    scene.user.types("hello?").await;
    scene.user.types("/list").await;
    scene.user.sees("· no conversations yet: /with NAME").await;
    scene.peer.answer(&open, json!({"type": "error", "code": "bad_request", "retryable": false, "message": "no"})).await;
    scene.user.sees("· cannot talk to nobody: no (bad_request)").await;
    scene.user.sees("  ✗ not sent: no (bad_request): hello?").await;
    scene.user.types("anybody?").await;
    scene.user.sees("· nobody to talk to yet: /with NAME").await;
}

#[tokio::test]
async fn bob_talks_to_alice_by_default_and_a_peer_that_is_named_goes_before() {
    let mut scene = Scene::connected("bob", None).await;
    scene.peer.greet("bob", &json!([])).await;
    assert_eq!(scene.peer.quietly("open").await["with"], "alice");
    let mut scene = Scene::connected("alice", Some("carol")).await;
    scene.peer.greet("alice", &json!([])).await;
    assert_eq!(scene.peer.quietly("open").await["with"], "carol");
}

#[tokio::test]
async fn others_talk_to_whom_they_name_or_to_the_first_who_writes() {
    let mut scene = Scene::connected("carol", None).await;
    scene.peer.greet("carol", &json!([])).await;
    scene.user.types("anybody?").await;
    scene.user.sees("· nobody to talk to yet: /with NAME").await;
    scene.peer.push("dave", 1, json!({"kind": "created", "members": ["carol", "dave"]})).await;
    scene.peer.push_text("dave", 2, "me").await;
    scene.user.sees("· talking to dave").await;
    scene.user.sees("· dave opened the conversation  #1").await;
    scene.user.sees("dave: me  #2").await;
    scene.user.types("/with erin").await;
    assert_eq!(scene.peer.quietly("open").await["with"], "erin");
}

#[tokio::test]
async fn on_a_new_device_what_was_said_before_is_fetched_page_by_page() {
    let mut scene = Scene::connected("alice", None).await;
    scene.peer.greet("alice", &json!([row("bob", 60)])).await;
    let history = scene.peer.request_of(&["history", "open"]).await;
    let history = if history["action"] == "open" {
        let mut answer = head("bob", 60);
        answer["type"] = "open".into();
        scene.peer.answer(&history, answer).await;
        scene.peer.quietly("history").await
    } else {
        history
    };
    let page = |seqs: std::ops::RangeInclusive<u64>, done: bool| {
        let entries: Vec<Value> = seqs.map(|seq| entry("bob", seq, message(&format!("text {seq}")))).collect();
        json!({"type": "history", "conversation": "d1", "entries": entries, "done": done})
    };
    assert_eq!(history["before"], 61);
    scene.peer.answer(&history, page(59..=60, false)).await;
    while soon(scene.user.lines.recv()).await.unwrap() != "· earlier, #59 to #60:" {}
    for line in ["bob: text 59  #59", "bob: text 60  #60", "· further back: /history"] {
        scene.user.sees(line).await;
    }
    scene.user.types("/history").await;
    let history = scene.peer.quietly("history").await;
    assert_eq!(history["before"], 59);
    scene.peer.answer(&history, page(57..=58, true)).await;
    for line in ["· earlier, #57 to #58:", "bob: text 57  #57", "bob: text 58  #58", "· that is the beginning"] {
        scene.user.sees(line).await;
    }

    // The next time it comes from the device.
    scene.user.types("/quit").await;
    scene.user.ends().await;
    let store = reopened(&scene.folder.0, &user_id("alice")).await;
    let mut offline = User::sits_down("ws://127.0.0.1:9/dev", store, None);
    for line in ["· you are alice; /help lists what you can type", "· talking to bob", "· earlier: /history", "bob: text 57  #57"] {
        offline.sees(line).await;
    }
}

#[tokio::test]
async fn history_comes_from_the_device_first() {
    let mut scene = Scene::alice_with_bob().await;
    for seq in 2..=30 {
        scene.peer.push_text("bob", seq, &format!("text {seq}")).await;
        scene.user.sees(&format!("bob: text {seq}  #{seq}")).await;
    }
    scene.user.types("/quit").await;
    soon(&mut scene.user.chat).await.unwrap().unwrap();
    scene.again("alice").await;
    scene.user.sees("· talking to bob").await;
    scene.user.sees("· earlier: /history").await;
    for seq in 11..=30 {
        scene.user.sees(&format!("bob: text {seq}  #{seq}")).await;
    }
    scene.user.types("/history").await;
    scene.user.sees("· earlier, #1 to #10:").await;
    scene.user.sees("· bob opened the conversation  #1").await;
    for seq in 2..=10 {
        scene.user.sees(&format!("bob: text {seq}  #{seq}")).await;
    }
    scene.user.sees("· that is the beginning").await;
    scene.user.types("/history").await;
    scene.user.sees("· that is the beginning").await;
}

#[tokio::test]
async fn help_and_mistakes_are_answered_here() {
    let mut scene = Scene::alice_with_bob().await;
    scene.user.types("/help").await;
    scene.user.sees("· a line of text: send it to the one you are talking to · //: the same for a line that begins with /").await;
    for _ in 0..10 {
        assert!(soon(scene.user.lines.recv()).await.unwrap().starts_with("· "));
    }
    scene.user.types("").await;
    scene.user.types("/dance").await;
    scene.user.sees("· no such command; /help lists them").await;
    scene.user.keyboard.write_all(b"\xff\n").await.unwrap();
    scene.user.sees("· not sent: the line is not UTF-8").await;
}

#[tokio::test]
async fn the_end_of_the_input_waits_for_the_last_line_and_quit_does_not() {
    let mut scene = Scene::alice_with_bob().await;
    scene.user.keyboard.write_all(b"last words").await.unwrap();
    scene.user.keyboard.shutdown().await.unwrap();
    let send = scene.peer.quietly("send").await;
    scene.peer.settle(&send, stored("ok", 2)).await;
    scene.user.sees("  ✓ #2").await;
    soon(scene.user.chat).await.unwrap().unwrap();

    let mut scene = Scene::alice_with_bob().await;
    scene.user.keyboard.write_all(b"unheard\n/quit\n").await.unwrap();
    scene.user.sees("  ○ unheard").await;
    scene.user.sees("· 1 message waits on this device; it is sent the next time").await;
    scene.user.ends().await;
    assert_eq!(reopened(&scene.folder.0, &user_id("alice")).await.restore().unwrap().outbox.len(), 1);
}

#[tokio::test]
async fn what_is_typed_before_the_conversation_is_there_is_kept() {
    let mut scene = Scene::connected("alice", None).await;
    scene.user.keyboard.write_all(b"early\n").await.unwrap();
    scene.user.sees("  ○ early").await;
    scene.user.types("/quit").await;
    scene.user.sees("· 1 message waits on this device; it is sent the next time").await;
    scene.user.ends().await;
}

#[tokio::test]
async fn a_displaced_chat_says_so_and_comes_back_when_asked_to() {
    let mut scene = Scene::alice_with_bob().await;
    scene.user.sees("· online").await;
    scene.peer.say(json!({"type": "goaway", "reason": "displaced"})).await;
    scene.user.sees("· offline, another connection took this one's place; /connect takes it back").await;
    scene.user.types("/connect").await;
    let mut peer = scene.server.accept().await;
    peer.greet("alice", &json!([])).await;
    scene.user.sees("· back").await;
}

#[tokio::test]
async fn a_server_of_another_time_is_named() {
    let mut scene = Scene::connected("alice", None).await;
    let hello = scene.peer.request("hello").await;
    scene.peer.answer(&hello, json!({"type": "error", "code": "upgrade_required", "retryable": false})).await;
    scene.user.sees("· offline, the server does not speak this version; update this program").await;
}

#[tokio::test]
async fn limits_beyond_all_time_are_no_limits() {
    let mut scene = Scene::connected("alice", None).await;
    let hello = scene.peer.request("hello").await;
    let mut answer = welcome("alice", &json!([]));
    for limit in ["ping_after_idle_ms", "gap_wait_ms", "cursors_every_ms"] {
        answer["limits"][limit] = u64::MAX.into();
    }
    answer["reconnect_in_ms"] = u64::MAX.into();
    scene.peer.answer(&hello, answer).await;
    scene.opens("bob").await;
    scene.user.sees("· talking to bob").await;
    for (seq, kind) in [(2, message("two")), (1, created())] {
        scene.peer.push("bob", seq, kind).await;
    }
    scene.user.sees("· bob opened the conversation  #1").await;
    scene.user.sees("bob: two  #2").await;
}

#[tokio::test]
async fn a_store_that_fails_ends_the_chat_with_the_reason() {
    let scene = Scene::alice_with_bob().await;
    scene.user.dies().await;
    drop(reopened(&scene.folder.0, &user_id("alice")).await);
    let path = scene.folder.0.join("device.sqlite");
    let full = "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    rusqlite::Connection::open(&path).unwrap().execute_batch(full).unwrap();
    let mut user = User::sits_down(&scene.server.url, Store::open(&path, &user_id("alice")).unwrap(), None);
    user.types("hi").await;
    let ended = soon(user.chat).await.unwrap();
    assert!(matches!(ended, Err(ChatError::Store(StoreError::Sqlite(_)))), "{ended:?}");
}

#[tokio::test]
async fn a_terminal_that_is_gone_ends_the_chat() {
    let mut scene = Scene::alice_with_bob().await;
    drop(scene.user.lines);
    scene.peer.push_text("bob", 2, "x").await;
    assert!(matches!(soon(scene.user.chat).await.unwrap(), Err(ChatError::Output(_))));
}

#[tokio::test]
async fn two_slashes_send_a_line_that_begins_with_one() {
    let mut scene = Scene::alice_with_bob().await;
    scene.user.types("//help").await;
    let send = scene.peer.quietly("send").await;
    assert_eq!(send["messages"][0]["body"]["text"], "/help");
}

#[tokio::test]
async fn a_line_of_12_000_bytes_is_sent_whole_and_one_that_may_be_cut_off_is_not_sent() {
    let mut scene = Scene::alice_with_bob().await;
    let line = "ä".repeat(6_000);
    scene.user.types(&"x".repeat(20_000)).await; // where the input of these tests cuts off
    scene.user.sees("· not sent: this terminal cuts a line off at 20000 bytes").await;
    scene.user.types(&line).await;
    let send = scene.peer.quietly("send").await;
    assert_eq!(send["messages"][0]["body"]["text"], line);
}

#[tokio::test]
async fn the_next_start_talks_to_whom_one_talked_last() {
    let mut scene = Scene::connected("alice", None).await;
    scene.peer.greet("alice", &json!([])).await;
    let of_bob = scene.peer.quietly("open").await;
    assert_eq!(of_bob["with"], "bob");
    scene.user.types("/with carol").await;
    scene.opens("carol").await;
    scene.user.sees("· talking to carol").await;
    scene.user.types("/quit").await;
    soon(&mut scene.user.chat).await.unwrap().unwrap();
    scene.again("alice").await;
    scene.user.sees("· talking to carol").await;
}

#[tokio::test]
async fn what_the_user_wrote_on_another_device_is_not_unread_after_a_restart_either() {
    let mut store = Store::in_memory(&user_id("alice")).unwrap();
    let conversation = ConversationId::new("d1").unwrap();
    let position = |seq: u64| Position::new(1, Seq::try_from(seq).unwrap());
    let entries = (1..=30).map(|seq| Entry {
        position: position(seq),
        sender: user_id(if seq % 2 == 0 { "alice" } else { "bob" }),
        client_message_id: ClientMessageId::new(format!("m{seq}")).unwrap(),
        time_ms: UnixMillis::ZERO,
        count: seq,
        kind: EntryKind::Message(Body::text("hi").unwrap().into()),
        as_it_came: None,
    });
    let row = ConversationRow {
        with: Some(user_id("bob")),
        have: position(30),
        have_count: 30,
        head: position(30),
        head_count: 30,
        read: position(2),
        read_count: 2,
        ..ConversationRow::empty(conversation.clone())
    };
    store.apply(&[Change::Conversation(row), Change::Entries { conversation, entries: entries.collect() }]).unwrap();
    let mut offline = User::sits_down("ws://127.0.0.1:9/dev", store, Some("carol"));
    offline.sees("· you are alice; /help lists what you can type").await;
    offline.sees("· bob: 14 unread").await;
}

/// A keyboard that is pulled out.
struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Err(io::Error::other("pulled out")))
    }
}

#[tokio::test]
async fn an_input_that_cannot_be_read_ends_the_chat() {
    let store = Store::in_memory(&user_id("alice")).unwrap();
    let options = options("ws://127.0.0.1:9/dev", &store, None);
    let chatted = soon(chat(options, store, tokens(), BufReader::new(Broken), io::sink())).await;
    assert!(matches!(chatted, Err(ChatError::Input(_))), "{chatted:?}");
}

/// The next request of this action; a `ping` is answered with the group, so that nobody doubts it.
async fn of_the_group(scene: &mut Scene, action: &str) -> Value {
    loop {
        let request = scene.peer.request_of(&[action, "ping", "members", "ack", "read"]).await;
        match request["action"].as_str().unwrap() {
            found if found == action => return request,
            "ping" => {
                let status = json!({"conversation": "d1", "head": at(1), "count": 0, "read": at(1), "read_count": 0});
                scene.peer.answer(&request, json!({"type": "ping", "server_time_ms": 1, "conversations": [status]})).await;
            }
            "members" => {
                let members = json!([{"user": "alice", "role": "owner"}, {"user": "bob", "role": "member"}]);
                scene.peer.answer(&request, json!({"type": "members", "conversation": "d1", "members": members})).await;
            }
            cursors => scene.peer.answer(&request, json!({"type": cursors, "results": [{"conversation": "d1", "status": "ok"}]})).await,
        }
    }
}

async fn done(scene: &mut Scene, request: &Value, seq: u64, kind: Value) {
    let mut answer = stored("ok", seq);
    (answer["type"], answer["conversation"]) = (request["action"].clone(), "d1".into());
    scene.peer.answer(request, answer).await;
    let mut entry = entry("alice", seq, kind);
    entry["client_message_id"] = request["client_message_id"].clone();
    scene.peer.say(json!({"type": "entries", "conversation": "d1", "entries": [entry]})).await;
}

#[tokio::test]
async fn a_group_is_made_talked_in_changed_and_left() {
    let mut scene = Scene::connected("alice", Some("bob")).await;
    scene.peer.greet("alice", &json!([])).await;
    scene.user.types("/group Tea bob").await;
    let open = scene.peer.quietly("open").await;
    scene.peer.answer(&open, json!({"type": "error", "code": "forbidden", "retryable": false})).await;
    scene.user.sees("· cannot talk to bob: forbidden").await;
    let create = of_the_group(&mut scene, "create").await;
    assert_eq!((&create["users"], &create["settings"]), (&json!(["bob"]), &json!({"title": "Tea"})));
    let settings = json!({"title": "Tea", "send": "member"});
    done(&mut scene, &create, 1, json!({"kind": "group_created", "members": ["alice", "bob"], "settings": settings})).await;
    scene.user.sees("· talking to Tea").await;
    scene.user.sees("· alice created the group Tea  #1").await;

    scene.peer.say(json!({"type": "entries", "conversation": "d1", "entries": [entry("bob", 2, message("hi"))]})).await;
    scene.user.sees("bob: hi  #2").await;
    scene.user.types("/reply 2 hello @bob").await;
    let send = of_the_group(&mut scene, "send").await;
    assert_eq!((&send["messages"][0]["reply_to"], &send["messages"][0]["mentions"]), (&json!(2), &json!(["bob"])));
    scene.peer.settle(&send, stored("ok", 3)).await;
    scene.user.sees("  ✓ #3").await;

    for (seq, change, line) in [(4, "add", "· alice: 👍 to #2  #4"), (5, "remove", "· alice took 👍 from #2  #5")] {
        scene.user.types("/react 2 👍").await;
        let react = of_the_group(&mut scene, "react").await;
        assert_eq!((&react["target"], &react["key"], &react["change"]), (&json!(2), &json!("👍"), &json!(change)));
        done(&mut scene, &react, seq, json!({"kind": "reaction", "target": 2, "key": "👍", "change": change})).await;
        scene.user.sees(line).await;
    }
    scene.user.types("/edit 3 bye").await;
    let edit = of_the_group(&mut scene, "edit").await;
    let body = json!({"content_type": "text/plain", "text": "bye"});
    done(&mut scene, &edit, 6, json!({"kind": "edit", "target": 3, "body": body})).await;
    scene.user.sees("· alice edited #3: bye  #6").await;
    scene.user.types("/leave bob").await;
    let leave = of_the_group(&mut scene, "leave").await;
    assert_eq!(leave["successor"], "bob");
    done(&mut scene, &leave, 7, json!({"kind": "left", "successor": "bob"})).await;
    scene.user.sees("· alice left, bob is an owner now  #7").await;
    scene.user.sees("· you are no member any more, what is here stays: Tea").await;
    scene.user.types("anybody?").await;
    scene.user.sees("  ✗ not sent: you are no member any more (not_found): anybody?").await;

    scene.user.dies().await;
    let store = reopened(&scene.folder.0, &user_id("alice")).await;
    scene.user = User::sits_down(&scene.server.url, store, Some("Tea"));
    scene.user.sees("· you are alice; /help lists what you can type").await;
    scene.user.sees("· talking to Tea").await;
    scene.user.sees("· alice created the group Tea  #1").await;
    scene.user.sees("bob: hi  #2").await;
    scene.user.sees("alice ↳ #2: bye (edited)  #3 ✓").await;
    scene.user.sees("· alice left, bob is an owner now  #7").await;
}

#[tokio::test]
async fn what_the_user_prefers_is_kept_and_told_the_server() {
    let mut scene = Scene::alice_with_bob().await;
    scene.user.types("/mute 1").await;
    scene.user.sees("· this conversation is muted, but for what mentions you").await;
    let asked = scene.peer.quietly("prefs").await;
    assert_eq!((&asked["conversation"], &asked["prefs"]["mentions"]), (&json!("d1"), &json!(true)));
    let until = asked["prefs"]["muted_until_ms"].as_u64().unwrap();
    assert!(until > 1_700_000_000_000, "by the time of day");
    scene.peer.answer(&asked, json!({"type": "prefs", "conversation": "d1", "prefs": {"version": 1, "muted_until_ms": until}})).await;
    scene.user.types("/list").await;
    scene.user.sees("· bob: nothing new, muted (here)").await;
    scene.user.types("/quit").await;
    scene.user.ends().await;
}
