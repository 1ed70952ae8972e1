//! A session with its store, its sockets and its clock.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatlane_client::device::{Device, Ended, NoToken, Tokens};
use chatlane_client::store::{Store, StoreError};
use chatlane_protocol::{Body, ConversationId, Position, Seq, Token, UserId};
use chatlane_session::{Act, ConnectionState, Moment, OutgoingState, Shown};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::server::{Folder, Peer, Server, TOKEN, at, entry, hasty_welcome, head, impatient, reopened, row, soon, stored, tokens, welcome};

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

fn d1() -> ConversationId {
    ConversationId::new("d1").unwrap()
}

fn body(text: &str) -> Body {
    Body::text(text).unwrap()
}

/// A running device and what it shows.
struct Phone {
    device: Device,
    shown: UnboundedReceiver<Shown>,
}

impl Phone {
    fn start(url: &str, store: Store, tokens: impl Tokens) -> Self {
        let options = impatient(url, &store);
        let (device, shown) = Device::start(options, store, tokens).unwrap();
        Self { device, shown }
    }

    /// The first thing shown that is looked for.
    async fn sees<T>(&mut self, mut looked_for: impl FnMut(Shown) -> Option<T>) -> T {
        loop {
            let shown = soon(self.shown.recv()).await.expect("the device goes on");
            if let Some(found) = looked_for(shown) {
                return found;
            }
        }
    }

    async fn sees_entry(&mut self, seq: u64) {
        let seen = self.sees(|shown| if let Shown::Entry { entry, .. } = shown { Some(entry.position.seq.get()) } else { None }).await;
        assert_eq!(seen, seq);
    }

    async fn sees_state(&mut self, state: ConnectionState) {
        self.sees(|shown| (shown == Shown::Connection(state)).then_some(())).await;
    }
}

/// A store in a file of `folder`, whose device has taken entry 1 of `d1`.
async fn has_one_entry(folder: &Path) -> Store {
    let server = Server::start().await;
    let store = Store::open(&folder.join("device.sqlite"), &alice()).unwrap();
    let mut phone = Phone::start(&server.url, store, tokens());
    let mut peer = server.accept().await;
    peer.greet("alice", &json!([row("bob", 1)])).await;
    let sync = peer.quietly("sync").await;
    peer.bring(&sync, vec![created()]).await;
    phone.sees_entry(1).await;
    soon(phone.device.shutdown()).await.unwrap()
}

fn created() -> Value {
    entry("bob", 1, json!({"kind": "created", "members": ["alice", "bob"]}))
}

fn seqs(store: &Store) -> Vec<u64> {
    store.entries(&d1(), None, 100).unwrap().iter().map(|entry| entry.position.seq.get()).collect()
}

#[tokio::test]
async fn a_message_is_in_the_store_before_it_is_sent() {
    let folder = Folder::new();
    let server = Server::start().await;
    let phone = Phone::start(&server.url, has_one_entry(&folder.0).await, tokens());
    let id = phone.device.compose(d1(), body("hi"));
    let mut peer = server.accept().await;
    peer.greet("alice", &json!([])).await;
    let send = peer.quietly("send").await;
    assert_eq!(send["messages"][0]["client_message_id"], json!(id));
    assert_eq!(send["messages"][0]["anchor"], at(1));

    // The battery is empty.
    drop(phone);
    let store = reopened(&folder.0, &alice()).await;
    let outbox = store.restore().unwrap().outbox;
    assert_eq!(outbox.iter().map(|row| &row.client_message_id).collect::<Vec<_>>(), [&id]);

    let mut phone = Phone::start(&server.url, store, tokens());
    let mut peer = server.accept().await;
    peer.greet("alice", &json!([])).await;
    let again = peer.quietly("send").await;
    assert_eq!(again["messages"], send["messages"], "the same id and anchor");
    peer.settle(&again, stored("duplicate", 2)).await;
    let state = phone.sees(|shown| if let Shown::Outgoing { state, .. } = shown { Some(state) } else { None }).await;
    assert!(matches!(state, OutgoingState::Stored(stored) if stored.position.seq.get() == 2), "{state:?}");
    phone.sees_entry(2).await;
    let store = soon(phone.device.shutdown()).await.unwrap();
    assert_eq!((store.restore().unwrap().outbox, seqs(&store)), (vec![], vec![1, 2]));
}

#[tokio::test]
async fn an_entry_is_in_the_store_before_it_is_acknowledged() {
    let folder = Folder::new();
    let server = Server::start().await;
    let phone = Phone::start(&server.url, has_one_entry(&folder.0).await, tokens());
    let mut peer = server.accept().await;
    peer.greet("alice", &json!([])).await;
    peer.push_text("bob", 2, "two").await;
    loop {
        let ack = peer.request("ack").await;
        if ack["positions"] == json!([{"conversation": "d1", "position": at(2)}]) {
            break;
        }
        let results = json!([{"conversation": "d1", "status": "ok"}]);
        peer.answer(&ack, json!({"type": "ack", "results": results})).await;
    }
    drop(phone);
    assert_eq!(seqs(&reopened(&folder.0, &alice()).await), [1, 2]);
}

#[tokio::test]
async fn a_store_that_fails_ends_the_device_before_anything_is_acknowledged_or_shown() {
    let folder = Folder::new();
    drop(has_one_entry(&folder.0).await);
    let path = folder.0.join("device.sqlite");
    let full = "CREATE TRIGGER full BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    rusqlite::Connection::open(&path).unwrap().execute_batch(full).unwrap();
    let server = Server::start().await;
    let mut phone = Phone::start(&server.url, Store::open(&path, &alice()).unwrap(), tokens());
    let mut peer = server.accept().await;
    peer.greet("alice", &json!([])).await;
    peer.push_text("bob", 2, "two").await;
    while let Some(request) = peer.text().await {
        assert!(!request.contains(r#""seq":2"#), "{request}");
    }
    while let Some(shown) = soon(phone.shown.recv()).await {
        assert!(!matches!(shown, Shown::Entry { .. }), "{shown:?}");
    }
    // It takes nothing any more, and says so where there is an answer.
    phone.device.compose(d1(), body("hi"));
    assert_eq!(phone.device.entries(d1(), None, 1).await, Err(Ended));
    let ended = soon(phone.device.shutdown()).await;
    assert!(matches!(ended, Err(StoreError::Sqlite(_))), "{ended:?}");
}

#[tokio::test]
async fn what_was_asked_for_before_the_end_is_kept_and_the_network_is_not_waited_for() {
    let folder = Folder::new();
    let store = has_one_entry(&folder.0).await;
    let nobody = "ws://127.0.0.1:9/dev";
    let mut phone = Phone::start(nobody, store, std::future::pending::<Result<Token, NoToken>>);
    let ids: Vec<_> = (0..100).map(|number| phone.device.compose(d1(), body(&format!("{number}")))).collect();
    let store = soon(phone.device.shutdown()).await.unwrap();
    let kept: Vec<_> = store.restore().unwrap().outbox.into_iter().map(|row| row.client_message_id).collect();
    assert_eq!(kept, ids);
    let mut waiting = vec![];
    while let Some(shown) = phone.shown.recv().await {
        if let Shown::Outgoing { client_message_id, state: OutgoingState::Waiting, .. } = shown {
            waiting.push(client_message_id);
        }
    }
    assert_eq!(waiting, ids);
}

#[tokio::test]
async fn a_dropped_device_hangs_up() {
    let server = Server::start().await;
    let phone = Phone::start(&server.url, Store::in_memory(&alice()).unwrap(), tokens());
    let mut peer = server.accept().await;
    peer.greet("alice", &json!([])).await;
    drop(phone);
    while peer.text().await.is_some() {}
}

#[tokio::test]
async fn a_device_comes_back_by_itself_and_says_what_it_has() {
    let folder = Folder::new();
    let server = Server::start().await;
    let mut phone = Phone::start(&server.url, has_one_entry(&folder.0).await, tokens());
    for _ in 0..2 {
        let mut peer = server.accept().await;
        let hello = peer.greet("alice", &json!([])).await;
        assert_eq!(hello["known"], json!([["d1", 1, 1, 0, 0]]));
        phone.sees_state(ConnectionState::Live).await;
        peer.close(1001, "Going away").await;
    }
}

#[tokio::test]
async fn a_socket_that_is_replaced_is_closed_politely() {
    let server = Server::start().await;
    let mut phone = Phone::start(&server.url, Store::in_memory(&alice()).unwrap(), tokens());
    let mut first = server.accept().await;
    let hello = first.request("hello").await;
    let mut answer = welcome("alice", &json!([]));
    answer["reconnect_in_ms"] = 1.into();
    first.answer(&hello, answer).await;
    let mut second = server.accept().await;
    second.greet("alice", &json!([])).await;
    assert_eq!(first.text().await, None, "said goodbye");
    phone.sees_state(ConnectionState::Live).await;
}

#[tokio::test]
async fn without_a_token_there_is_no_socket_and_it_is_asked_for_again() {
    let server = Server::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let source = move || {
        let nth = counted.fetch_add(1, Ordering::SeqCst);
        async move { if nth < 2 { Err("the login is out of reach".into()) } else { Ok(Token::new(TOKEN)?) } }
    };
    let _phone = Phone::start(&server.url, Store::in_memory(&alice()).unwrap(), source);
    let mut peer = server.accept().await;
    peer.greet("alice", &json!([])).await;
    // And once more where two sockets in a row could not be opened: it may be the token.
    assert!((3..=4).contains(&asked.load(Ordering::SeqCst)), "none too many");
}

/// A source with a new token each time: `t.1.x`, `t.2.x` …
fn counting() -> impl Tokens {
    let count = AtomicUsize::new(0);
    move || {
        let nth = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(Token::new(format!("t.{nth}.x"))?) }
    }
}

#[tokio::test]
async fn a_token_that_is_denied_is_replaced() {
    let server = Server::start().await;
    let phone = Phone::start(&server.url, Store::in_memory(&alice()).unwrap(), counting());
    server.answer_raw("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    let mut peer: Peer = server.accept().await;
    assert_eq!(peer.offered, "chatlane.v1, token.t.2.x");
    peer.greet("alice", &json!([])).await;
    drop(phone);
}

#[tokio::test]
async fn what_the_app_asks_for_is_asked_for_on_the_wire() {
    let folder = Folder::new();
    let server = Server::start().await;
    let mut phone = Phone::start(&server.url, has_one_entry(&folder.0).await, tokens());
    let mut peer = server.accept().await;
    let hello = peer.request("hello").await;
    peer.answer(&hello, hasty_welcome("alice", &json!([]))).await;
    phone.sees_state(ConnectionState::Live).await;

    phone.device.open_with(UserId::new("bob").unwrap());
    let opened = |shown| if let Shown::Opened { conversation, .. } = shown { Some(conversation) } else { None };
    assert_eq!(phone.sees(opened).await, d1(), "known: without a request");
    phone.device.open_with(UserId::new("carol").unwrap());
    let open = peer.quietly("open").await;
    let mut answer = head("carol", 1);
    (answer["type"], answer["conversation"]) = ("open".into(), "d2".into());
    peer.answer(&open, answer).await;
    assert_eq!(phone.sees(opened).await.as_str(), "d2");
    // Entry 1 of the new conversation is lost on the way.
    let sync = peer.quietly("sync").await;
    let page = json!({"conversation": "d2", "status": "ok", "entries": [], "done": true});
    peer.answer(&sync, json!({"type": "sync", "pages": [page], "done": true})).await;

    phone.device.act(Act::MarkRead { conversation: d1(), position: Position::new(1, Seq::FIRST), private: false });
    assert_eq!(peer.read_mark().await, at(1));
    phone.device.act(Act::Look { conversations: vec![d1()] });
    let ping = peer.request_of(&["ping"]).await;
    assert_eq!(ping["open"], json!(["d1"]));
    assert_eq!(phone.device.entries(d1(), None, 5).await.unwrap().len(), 1);
    phone.device.act(Act::LoadHistory { conversation: d1(), before: None });
    let nothing = |shown| if let Shown::History { entries, done, .. } = shown { Some((entries.len(), done)) } else { None };
    assert_eq!(phone.sees(nothing).await, (0, true), "the device has the first one");
}

#[tokio::test]
async fn no_moment_overflows_the_clock() {
    let phone = Phone::start("ws://127.0.0.1:9/dev", Store::in_memory(&alice()).unwrap(), tokens());
    let [early, late, never] = [0, 1_000, u64::MAX].map(|ms| phone.device.instant(Moment(ms)));
    assert_eq!((late - early).as_millis(), 1_000);
    assert!(never > late);
}
