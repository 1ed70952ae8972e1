//! What more than one engine of the tests needs, once: chance ([`Dice`]), a device's store in memory ([`Disk`]), and the protocol spoken by
//! hand over a WebSocket. [`Socket`] reads what it is asked for and no more; [`Device`] reads all the time and says what PROTOCOL.md has a
//! device say; [`Sender`] repeats a message until it is in the log.
//!
//! None of it knows a server: what is spoken to is a URL. The devices share no code with `chatlane-client`; only [`Disk`] has its types.
//! Waiting is for a condition, with one generous limit ([`PATIENCE`]) that only a hang reaches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chatlane_protocol::request::NewMessage;
use chatlane_protocol::{Body, ClientMessageId, Content, Entry, EntryKind, Position};

pub mod device;
pub mod dice;
mod disk;
mod returning;
pub mod sender;
mod socket;

pub use device::{Device, DeviceError};
pub use dice::Dice;
pub use disk::Disk;
pub use sender::Sender;
pub use socket::{Closed, Socket, Upgraded};

/// How long anything may take before a test is given up as hung.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for a condition; only a hang reaches the limit.
///
/// # Panics
/// Then.
pub async fn patiently<T>(what: &str, condition: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, condition).await.unwrap_or_else(|_elapsed| panic!("waited {PATIENCE:?} for: {what}"))
}

/// The seed of this run: `CHATLANE_SEED`, else a new one. Prints it as `seed N`.
///
/// # Panics
/// If the variable is no number.
pub fn seed() -> u64 {
    let named = std::env::var("CHATLANE_SEED").ok();
    let seed = named.map_or_else(|| Dice::unpredictable().next(), |seed| seed.parse().expect("CHATLANE_SEED is a number"));
    println!("seed {seed}");
    seed
}

/// A new empty folder for temporary files, which goes with this.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// In the system's folder for temporary files.
    ///
    /// # Panics
    /// If it cannot be made.
    #[expect(clippy::new_without_default, reason = "a folder is made, not a value")]
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("chatlane-test-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Where it is, as an argument of a command.
    ///
    /// # Panics
    /// If the system's folder for temporary files has a name that is no text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("a name of ours")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok(); // one that cannot be deleted is only litter
    }
}

/// A new client message id.
///
/// # Panics
/// Never: a UUID is one.
pub fn new_id() -> ClientMessageId {
    ClientMessageId::new(uuid::Uuid::now_v7().to_string()).expect("a UUID is a client message id")
}

/// A text message with a new id.
///
/// # Panics
/// If the text is empty.
pub fn message(text: impl Into<String>, anchor: Position) -> NewMessage {
    NewMessage::new(new_id(), anchor, Body::text(text).expect("a test's text is not empty"))
}

/// What an entry says, if it is a message of text.
pub fn text(entry: &Entry) -> Option<&str> {
    match &entry.kind {
        EntryKind::Message(message) => match message.body.content() {
            Content::Text(text) => Some(text),
            Content::Data(_) => None,
        },
        _ => None,
    }
}
