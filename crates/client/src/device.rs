//! A device that runs: a [`Session`] with its local store, its sockets and its clock, as one tokio task.
//!
//! The session decides, this module carries out: sockets are opened, written and closed, batches are committed, tokens fetched, and what
//! the session shows goes to the app. Nothing is decided here but three things: when a commit fails the device ends, so that nothing is
//! acknowledged that is not kept; a first token is fetched before the first socket; a token that cannot be had is asked for again. (And a
//! machine that has slept is noticed, see `sleep`.)
//!
//! Commits that wait for the disk together are made as one. Everything the app asks for returns at once and is done in this order.

use std::sync::Arc;
use std::time::SystemTime;

use chatlane_protocol::{Body, ClientMessageId, ConversationId, Entry, GroupSettings, Seq, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::store::{Store, StoreError};
use chatlane_session::{Act, BatchId, Draft, Input, Moment, Output, Session, Settings, Shown};

mod sleep;
mod sockets;
mod storage;
mod tokens;

use sleep::{LOOK_EVERY, SleepClock};
use sockets::{Event, Sockets};
use storage::Storage;
pub use tokens::{NoToken, Tokens};

/// Where a device connects to, and its patience.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// `wss://host/stage`, or `ws://` without TLS.
    pub url: String,
    /// Of the user and the device whose store it is.
    pub settings: Settings,
}

impl DeviceOptions {
    /// The store's user and device at `url`.
    pub fn new(url: impl Into<String>, store: &Store) -> Self {
        Self { url: url.into(), settings: Settings::new(store.user().clone(), store.device()) }
    }
}

/// The device has ended: its store failed, see [`Device::shutdown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device has ended")]
pub struct Ended;

/// A running device. Dropping it ends it at once: what was not committed was not shown either.
#[derive(Debug)]
pub struct Device {
    clock: Arc<SleepClock>,
    commands: mpsc::UnboundedSender<Command>,
    driver: JoinHandle<Result<Store, StoreError>>,
}

#[derive(Debug)]
enum Command {
    Do(Act),
    Entries { conversation: ConversationId, before: Option<Seq>, limit: usize, answer: oneshot::Sender<Vec<Entry>> },
    End,
}

impl Device {
    /// Goes on where `store` ends, and connects. The receiver gets what is to be shown, in order, and ends with the device; it is
    /// unbounded, an app that does not read it collects. Must be called within a tokio runtime.
    pub fn start(options: DeviceOptions, store: Store, tokens: impl Tokens) -> Result<(Self, mpsc::UnboundedReceiver<Shown>), StoreError> {
        let session = Session::new(options.settings.clone(), store.restore()?);
        let (commands, asked) = mpsc::unbounded_channel();
        let (shown, showing) = mpsc::unbounded_channel();
        let sockets = Sockets::new(options.url, options.settings.device, tokens);
        let clock = Arc::new(SleepClock::new(Instant::now(), SystemTime::now()));
        let driver = Driver { session, clock: Arc::clone(&clock), sockets, storage: Storage::new(store), shown };
        Ok((Self { clock, commands, driver: tokio::spawn(driver.run(asked)) }, showing))
    }

    /// Does what the user asks for. What comes of it is among what is shown.
    pub fn act(&self, act: Act) {
        // A device that has ended takes nothing more; who reads what it shows learns it there.
        let _ended = self.commands.send(Command::Do(act));
    }

    /// Writes something, a message or a change; [`Shown::Outgoing`] says when it is kept, and what becomes of it. Its name comes back.
    pub fn compose(&self, conversation: ConversationId, draft: impl Into<Draft>) -> ClientMessageId {
        let (client_message_id, draft) = (new_id(), draft.into());
        self.act(Act::Compose { conversation, client_message_id: client_message_id.clone(), draft });
        client_message_id
    }

    /// Makes a group; [`Shown::Created`] says when it is there. Its name comes back.
    pub fn create(&self, users: Vec<UserId>, settings: GroupSettings) -> ClientMessageId {
        let client_message_id = new_id();
        self.act(Act::Create { client_message_id: client_message_id.clone(), users, settings });
        client_message_id
    }

    /// Writes a message to somebody, whether or not there is a conversation with them: [`Shown::Held`] says that it is kept until there is
    /// one. Its name comes back.
    pub fn compose_to(&self, user: UserId, body: Body) -> ClientMessageId {
        let client_message_id = new_id();
        self.act(Act::ComposeTo { user, client_message_id: client_message_id.clone(), opening: new_id(), body });
        client_message_id
    }

    /// Finds or makes the conversation with `user`: [`Shown::Opened`], or [`Shown::Failed`].
    pub fn open_with(&self, user: UserId) {
        self.act(Act::OpenWith { user, client_message_id: new_id() });
    }

    /// The last `limit` entries below `before` (without: of all) that the store has, ascending.
    pub async fn entries(&self, conversation: ConversationId, before: Option<Seq>, limit: usize) -> Result<Vec<Entry>, Ended> {
        let (answer, entries) = oneshot::channel();
        self.commands.send(Command::Entries { conversation, before, limit, answer }).map_err(|_| Ended)?;
        entries.await.map_err(|_| Ended)
    }

    /// When a moment of [`Shown`] is. Later than a day counts as in a day: no number may overflow the clock.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.clock.instant(moment)
    }

    /// Ends the device: waits until everything asked for before is in the store, not for the network. The store comes back, or why it
    /// failed.
    pub async fn shutdown(self) -> Result<Store, StoreError> {
        // A device that has ended says why below.
        let _ended = self.commands.send(Command::End);
        self.driver.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }
}

/// The task of one device.
struct Driver<T> {
    session: Session,
    clock: Arc<SleepClock>,
    sockets: Sockets<T>,
    storage: Storage,
    shown: mpsc::UnboundedSender<Shown>,
}

/// What a driver waits for.
enum Happened {
    /// The app asks for something; `None`: the app is gone.
    Asked(Option<Command>),
    /// Of a socket or a token.
    Event(Event),
    /// These are in the store.
    Committed(Vec<BatchId>),
    /// It is [`Session::wake_at`], or time to look whether the machine has slept.
    TimePassed,
}

impl<T: Tokens> Driver<T> {
    async fn run(mut self, mut asked: mpsc::UnboundedReceiver<Command>) -> Result<Store, StoreError> {
        self.take(Input::Do(Act::ConnectNow));
        loop {
            let happened = self.next(&mut asked).await?;
            if self.clock.has_slept(Instant::now(), SystemTime::now()) {
                self.take(Input::Do(Act::Woke));
            }
            match happened {
                Happened::Asked(Some(Command::Do(act))) => self.take(Input::Do(act)),
                Happened::Event(Event::Input(input)) => self.take(input),
                Happened::Asked(Some(Command::Entries { conversation, before, limit, answer })) => {
                    self.storage.read(conversation, before, limit, answer);
                }
                Happened::Asked(Some(Command::End) | None) => return self.end().await,
                Happened::Event(Event::FirstToken(token)) => self.sockets.keep(token),
                Happened::Committed(batches) => self.committed(batches),
                Happened::TimePassed => self.take(Input::Tick),
            }
        }
    }

    /// The next thing that happens; an error if the store fails.
    async fn next(&mut self, asked: &mut mpsc::UnboundedReceiver<Command>) -> Result<Happened, StoreError> {
        let looks_at = Instant::now() + LOOK_EVERY;
        let wake_at = self.session.wake_at().map_or(looks_at, |moment| self.clock.instant(moment).min(looks_at));
        Ok(tokio::select! {
            command = asked.recv() => Happened::Asked(command),
            event = self.sockets.next() => Happened::Event(event),
            batches = self.storage.done(), if self.storage.is_busy() => Happened::Committed(batches?),
            () = sleep_until(wake_at) => Happened::TimePassed,
        })
    }

    /// What was asked for before goes into the store; what follows from it may be lost, as in a crash.
    async fn end(mut self) -> Result<Store, StoreError> {
        self.sockets.close_all();
        while self.storage.is_busy() {
            let committed = self.storage.done().await?;
            self.committed(committed);
        }
        Ok(self.storage.into_store())
    }

    fn committed(&mut self, batches: Vec<BatchId>) {
        for batch in batches {
            self.take(Input::Committed(batch));
        }
    }

    fn take(&mut self, input: Input) {
        let now = self.clock.moment(Instant::now());
        if let Input::NewToken(token) = &input {
            self.sockets.keep(token.clone());
        }
        for output in self.session.handle(now, random(), input) {
            match output {
                Output::Connect(socket) => self.sockets.connect(socket),
                Output::Send { socket, text } => self.sockets.send(socket, text.0),
                Output::Close(socket) => self.sockets.close(socket),
                Output::Commit { batch, changes } => self.storage.commit(batch, changes),
                Output::NeedToken(_) => self.sockets.renew_token(),
                // Nobody looks any more; the device goes on until it is dropped.
                Output::Show(shown) => drop(self.shown.send(shown)),
            }
        }
    }
}

/// A client message id. Ordered by time, as far as one device's clock is.
fn new_id() -> ClientMessageId {
    ClientMessageId::new(Uuid::now_v7().to_string()).expect("a UUID is a client message id")
}

/// 64 random bits: each bit of a version 4 UUID that is fixed falls on a random one.
fn random() -> u64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    high ^ low
}
