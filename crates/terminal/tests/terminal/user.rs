//! A user at a terminal chat, in front of a scripted server.

use std::io;

use chatlane_client::store::Store;
use chatlane_protocol::UserId;
use chatlane_terminal::{ChatError, ChatOptions, chat};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::server::{Folder, Peer, Server, head, impatient, reopened, soon, tokens};

/// A terminal's lower half: sends on each whole line.
struct Screen {
    lines: UnboundedSender<String>,
    rest: Vec<u8>,
}

impl io::Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8(line).map_err(io::Error::other)?;
            self.lines.send(line.trim_end_matches('\n').to_owned()).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// One user at a terminal.
pub struct User {
    pub keyboard: DuplexStream,
    pub lines: UnboundedReceiver<String>,
    pub chat: JoinHandle<Result<(), ChatError>>,
}

pub fn user_id(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub fn options(url: &str, store: &Store, peer: Option<&str>) -> ChatOptions {
    ChatOptions { device: impatient(url, store), peer: peer.map(user_id), cut_at: Some(20_000) }
}

impl User {
    pub fn sits_down(url: &str, store: Store, peer: Option<&str>) -> Self {
        let (keyboard, input) = tokio::io::duplex(64 * 1024);
        let (sender, lines) = unbounded_channel();
        let screen = Screen { lines: sender, rest: vec![] };
        let options = options(url, &store, peer);
        let chat = tokio::spawn(chat(options, store, tokens(), BufReader::new(input), screen));
        Self { keyboard, lines, chat }
    }

    pub async fn types(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Waits for this line, the next one. Whether a wait, a tick or the connection is shown at all depends on how long things take: these
    /// lines are passed over unless one of them is `line`. A line that was shown as waiting is shown with its words when it is stored.
    pub async fn sees(&mut self, line: &str) {
        loop {
            let next = soon(self.lines.recv()).await.unwrap_or_else(|| panic!("the chat ends before: {line}"));
            if next == line || line.starts_with("  ✓ ") && next.starts_with(&format!("{line} ")) {
                return;
            }
            let of_its_time =
                ["· connecting", "· online", "· back", "· offline", "  ✓✓", "  ○"].iter().any(|begin| next.starts_with(begin));
            assert!(of_its_time, "{next}\ninstead of\n{line}");
        }
    }

    /// The chat ends without another line.
    pub async fn ends(mut self) {
        assert_eq!(soon(self.lines.recv()).await, None);
        soon(self.chat).await.unwrap().unwrap();
    }

    /// A power cut: the next start finds what is in the store.
    pub async fn dies(self) {
        self.chat.abort();
        assert!(soon(self.chat).await.unwrap_err().is_cancelled());
    }
}

/// A server, a folder for the store, and whoever is connected.
pub struct Scene {
    pub server: Server,
    pub folder: Folder,
    pub peer: Peer,
    pub user: User,
}

impl Scene {
    /// Connected, nothing said.
    pub async fn connected(name: &str, peer: Option<&str>) -> Self {
        let server = Server::start().await;
        let folder = Folder::new();
        let store = Store::open(&folder.0.join("device.sqlite"), &user_id(name)).unwrap();
        let mut user = User::sits_down(&server.url, store, peer);
        user.sees(&format!("· you are {name}; /help lists what you can type")).await;
        let peer = server.accept().await;
        Self { server, folder, peer, user }
    }

    /// alice, talking to bob, with entry 1.
    pub async fn alice_with_bob() -> Self {
        let mut scene = Self::connected("alice", None).await;
        scene.peer.greet("alice", &json!([])).await;
        scene.opens("bob").await;
        scene.user.sees("· talking to bob").await;
        scene.peer.push("bob", 1, created()).await;
        scene.user.sees("· bob opened the conversation  #1").await;
        scene
    }

    /// The client opens `d1` with somebody.
    pub async fn opens(&mut self, with: &str) {
        let open = self.peer.quietly("open").await;
        assert_eq!(open["with"], with);
        let mut answer = head(with, 1);
        answer["type"] = "open".into();
        self.peer.answer(&open, answer).await;
    }

    /// Sits down again, after whatever has happened, and is not greeted yet.
    pub async fn again(&mut self, name: &str) {
        let store = reopened(&self.folder.0, &user_id(name)).await;
        self.user = User::sits_down(&self.server.url, store, None);
        self.user.sees(&format!("· you are {name}; /help lists what you can type")).await;
        self.peer = self.server.accept().await;
    }
}

pub fn created() -> Value {
    json!({"kind": "created", "members": ["alice", "bob"]})
}
