//! Phones: devices with the real client, each a process of its own (`src/bin/device.rs`) with its own store file, that can be killed at any
//! moment and goes on from its file when it is started again.
//!
//! What a phone tells is judged as it comes: entries are shown once each and without gaps, over all its lives (D1); what it has shown or
//! taken from its user is still there after it was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chatlane_client::Store;
use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Position, UserId};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{PATIENCE, patiently};

/// The environment variable that hands a phone its token.
pub const TOKEN_VARIABLE: &str = "CHATLANE_TOKEN";

/// What a phone's user does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Writes a message into a conversation that the phone knows.
    Write {
        /// Which.
        conversation: ConversationId,
        /// What it says; no other message of the run says the same.
        text: String,
    },
    /// Takes the phone out of the pocket: it connects at once, or finds out whether its connection is alive.
    Wake,
}

/// What a phone tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It was started. The first report of every life.
    Begun {
        /// What its store had in the outbox.
        outbox: Vec<Unsent>,
        /// How far its store had the conversations.
        has: Vec<Place>,
    },
    /// Its connection is in another state, in the client's words.
    Connection(String),
    /// A message is in its outbox, durably.
    Kept(Unsent),
    /// A message of its outbox is in the log.
    Stored {
        /// Which.
        client_message_id: ClientMessageId,
        /// Where.
        position: Position,
    },
    /// The next entry of a conversation.
    Entry {
        /// Which conversation.
        conversation: ConversationId,
        /// The entry.
        entry: Box<Entry>,
    },
    /// Its store has a conversation up to here.
    Has(Place),
    /// What must not happen in any scenario: a displacement, a refused message, a skip.
    Odd(String),
}

/// A message that is not known to be in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsent {
    /// Where it goes.
    pub conversation: ConversationId,
    /// Its name.
    pub client_message_id: ClientMessageId,
    /// What it says.
    pub text: String,
}

/// A place in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which.
    pub conversation: ConversationId,
    /// Where.
    pub position: Position,
}

/// What a phone has told, over all its lives.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Every message that was in its outbox.
    pub kept: BTreeMap<ClientMessageId, Unsent>,
    /// Where it was told that its messages are.
    pub stored: BTreeMap<ClientMessageId, Position>,
    /// Every entry that it has shown, in order.
    pub shown: BTreeMap<ConversationId, Vec<Entry>>,
    /// How far its store has the conversations.
    pub has: BTreeMap<ConversationId, Position>,
    /// How its connection stands, in the client's words.
    pub connection: String,
    /// What must not be: see [`Report::Odd`], and what broke D1.
    pub wrong: Vec<String>,
    waiting: BTreeSet<ClientMessageId>,
    /// How often it was started.
    pub lives: u64,
    /// What the next entry must follow.
    shown_to: BTreeMap<ConversationId, Position>,
}

impl Told {
    fn note(&mut self, report: Report) {
        match report {
            Report::Begun { outbox, has } => {
                self.lives += 1;
                self.waiting = outbox.iter().map(|unsent| unsent.client_message_id.clone()).collect();
                self.kept.extend(outbox.into_iter().map(|unsent| (unsent.client_message_id.clone(), unsent)));
                let has: BTreeMap<_, _> = has.into_iter().map(|place| (place.conversation, place.position)).collect();
                for (conversation, shown) in &self.shown_to {
                    if has.get(conversation) < Some(shown) {
                        self.wrong
                            .push(format!("{conversation}: {shown} was shown, and the store has {:?} after a kill", has.get(conversation)));
                    }
                }
                self.shown_to.clone_from(&has);
                self.has = has;
            }
            Report::Connection(state) => self.connection = state,
            Report::Kept(unsent) => {
                self.waiting.insert(unsent.client_message_id.clone());
                self.kept.insert(unsent.client_message_id.clone(), unsent);
            }
            Report::Stored { client_message_id, position } => {
                self.waiting.remove(&client_message_id);
                let before = self.stored.insert(client_message_id.clone(), position);
                if before.is_some_and(|before| before != position) {
                    self.wrong.push(format!("{client_message_id} was at {before:?} and is at {position}"));
                }
            }
            Report::Entry { conversation, entry } => {
                let before = self.shown_to.insert(conversation.clone(), entry.position).unwrap_or_default();
                if entry.position.seq != before.seq.next() {
                    self.wrong.push(format!("D1: {conversation}: {} is shown after {before}", entry.position));
                }
                self.shown.entry(conversation).or_default().push(*entry);
            }
            Report::Has(Place { conversation, position }) => drop(self.has.insert(conversation, position)),
            Report::Odd(what) => self.wrong.push(what),
        }
    }

    /// Messages that are in its outbox now.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waiting, has, connection, lives, .. } = self;
        write!(f, "{connection}, has {has:?}, in the outbox {waiting:?}, life {lives}")
    }
}

/// How phones are started: the program, and what is the same for every life of one.
#[derive(Clone, Debug)]
pub struct Model {
    /// The executable of `src/bin/device.rs`.
    pub program: PathBuf,
    /// Its user.
    pub user: String,
    /// A token of the user that outlives the scenario.
    pub token: String,
    /// Where its store is.
    pub store: PathBuf,
}

/// A device that is a process.
pub struct Phone {
    model: Model,
    life: tokio::sync::Mutex<Option<Life>>,
    told: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    told: Mutex<Told>,
    more: Notify,
}

struct Life {
    process: Child,
    orders: ChildStdin,
    reader: JoinHandle<()>,
}

impl Phone {
    /// Starts a phone that connects to `url`.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(model: Model, url: &str) -> Self {
        let phone = Self { model, life: tokio::sync::Mutex::default(), told: Arc::default() };
        *phone.life.lock().await = Some(phone.live(url));
        phone
    }

    /// Whose it is.
    pub fn user(&self) -> &str {
        &self.model.user
    }

    fn live(&self, url: &str) -> Life {
        let Model { program, user, token, store } = &self.model;
        let mut command = Command::new(program);
        command.arg(url).arg(store).arg(user).env(TOKEN_VARIABLE, token);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("a phone's program can be started");
        let orders = process.stdin.take().expect("standard input is a pipe");
        let reader = tokio::spawn(read(process.stdout.take().expect("standard output is a pipe"), Arc::clone(&self.told)));
        Life { process, orders, reader }
    }

    /// Kills the process as it stands (`SIGKILL`), starts it again with the same store, and waits until it has begun.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn kill_and_start(&self, url: &str) {
        let mut life = self.life.lock().await;
        end(life.take()).await;
        let lives = self.told().lives;
        *life = Some(self.live(url));
        self.until("a phone begins a new life", |told| (told.lives > lives).then_some(())).await;
    }

    /// Lets its user do something. A phone that was killed does nothing. Answers in which life that was.
    ///
    /// # Panics
    /// Never: an order is JSON.
    pub async fn order(&self, order: &Order) -> u64 {
        let mut life = self.life.lock().await;
        if let Some(life) = &mut *life {
            let text = serde_json::to_string(order).expect("an order is JSON") + "\n";
            // One that has ended by itself has said why; whoever waits for what was ordered learns it.
            let _ended = life.orders.write_all(text.as_bytes()).await;
        }
        self.told().lives
    }

    /// Writes a message, and waits until it is kept, or the phone was killed meanwhile: then it may be kept or not.
    pub async fn write(&self, conversation: &ConversationId, text: &str) {
        let life = self.order(&Order::Write { conversation: conversation.clone(), text: text.to_owned() }).await;
        let kept = |told: &Told| told.lives > life || told.kept.values().any(|unsent| unsent.text == text);
        self.until("a message is kept", |told| kept(told).then_some(())).await;
    }

    /// Ends the process in order, and opens its store.
    ///
    /// # Panics
    /// If it fails, or its store does.
    pub async fn shut_down(self) -> (Told, Store) {
        let Life { mut process, orders, reader } = self.life.lock().await.take().expect("a phone that was killed is started again first");
        drop(orders);
        let status = patiently("a phone ends", process.wait()).await.expect("a child can be waited for");
        assert!(status.success(), "{status}");
        reader.await.expect("the reader does not panic");
        let user = UserId::new(self.model.user.as_str()).expect("a user");
        let store = Store::open(Path::new(&self.model.store), &user).expect("its store can be opened");
        let told = self.told().clone();
        (told, store)
    }

    /// What it has told so far.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `find` finds something in what it has told.
    ///
    /// # Panics
    /// If it tells what must not be, or the patience is over.
    pub async fn until<T>(&self, what: &str, find: impl Fn(&Told) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let more = self.told.more.notified();
                let found = {
                    let told = self.told();
                    assert!(told.wrong.is_empty(), "{}: {:?}", self.user(), told.wrong);
                    find(&told)
                };
                if let Some(found) = found {
                    return found;
                }
                more.await;
            }
        };
        timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_elapsed| panic!("waited {PATIENCE:?} for: {what}; {} told: {}", self.user(), self.told()))
    }
}

/// Kills a process and reads what it has told before.
async fn end(life: Option<Life>) {
    if let Some(mut life) = life {
        life.process.kill().await.expect("a child can be killed");
        life.reader.await.expect("the reader does not panic");
    }
}

async fn read(output: ChildStdout, shared: Arc<Shared>) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    // A line without its end is one at which the process was killed.
    while output.read_line(&mut line).await.is_ok() && line.ends_with('\n') {
        let report = serde_json::from_str(&line).unwrap_or_else(|error| Report::Odd(format!("not a report, {error}: {line}")));
        shared.told.lock().unwrap_or_else(PoisonError::into_inner).note(report);
        shared.more.notify_waiters();
        line.clear();
    }
}
