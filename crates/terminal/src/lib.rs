//! A line-based chat on a [`Device`]: every typed line is a message, every line of the output is an event.
//!
//! What is typed is kept before it is shown to wait (`○`), and sent when the server is there: now or in a later run. What is printed is
//! never taken back; what becomes of a line is a new line.

use std::collections::VecDeque;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use chatlane_protocol::{ConversationId, EntryKind, GroupSettings, ReactionChange, ReactionKey, Seq, UnixMillis, UserId};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep_until;

use chatlane_client::device::{Device, DeviceOptions, Ended, Tokens};
use chatlane_client::store::{Store, StoreError};
use chatlane_session::{Act, ConnectionState, Draft, Shown};

mod command;
mod conversation_view;
mod editor;
mod last_peer;
mod room;
mod status;
mod text;

pub use editor::Editor;
use room::{Effect, PAGE, Room};
use status::Status;

/// How long the end of the input waits for the server's word on the last lines. `/quit` does not wait.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(10);

/// From where one chats, with whom.
#[derive(Clone, Debug)]
pub struct ChatOptions {
    /// Where to connect to, and the device's patience.
    pub device: DeviceOptions,
    /// Whom to talk to. Without: whom the last chat on this store talked to last; before there was one, alice and bob talk to each other,
    /// others to the first who writes to them.
    pub peer: Option<UserId>,
    /// A line of so many bytes may have been cut off by the input: it is refused.
    pub cut_at: Option<usize>,
}

/// Why a chat could not begin, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// Nothing can be kept any more.
    #[error("no chat without a local store")]
    Store(#[from] StoreError),
    /// The input cannot be read.
    #[error("cannot read what is typed")]
    Input(#[source] std::io::Error),
    /// The output cannot be written.
    #[error("cannot write to the terminal")]
    Output(#[source] std::io::Error),
}

/// Chats until `/quit` or the end of the input, over any number of connections. What was typed is in the store when this returns; at the
/// end of the input the server's word on the last lines is waited for, as long as there is a connection and 10 s at most.
///
/// The store is the user's and the device's; it is free again when this returns, whatever it returns.
pub async fn chat(
    options: ChatOptions,
    store: Store,
    tokens: impl Tokens,
    input: impl AsyncBufRead + Unpin,
    output: impl Write,
) -> Result<(), ChatError> {
    let mut room = room(&store)?;
    // Beside the store, not in it: it is nothing that the device has to keep.
    let last_peer = store.path().map(|path| path.with_extension("peer"));
    let (device, mut shown) = Device::start(options.device, store, tokens)?;
    let mut screen = Screen { output };
    let begun = room.begin(options.peer.or_else(|| last_peer::read(last_peer.as_deref()?)), Instant::now());

    let mut chat = Chat { device: &device, room: &mut room, screen: &mut screen, last_peer, cut_at: options.cut_at };
    let ended = match chat.carry_out(begun).await {
        Ok(ControlFlow::Continue(())) => chat.run(input, &mut shown).await,
        Ok(ControlFlow::Break(())) => Ok(()),
        Err(error) => Err(error),
    };
    // Also after an error: what was typed is kept, and the store is free again. That it fails is the reason when the device has ended.
    let stored = device.shutdown().await.map(drop);
    match ended {
        Ok(()) => stored?,
        Err(End::Device(Ended)) => return stored.map_err(ChatError::Store),
        Err(End::Chat(error)) => return Err(error),
    }
    while let Ok(last) = shown.try_recv() {
        for effect in room.shown(last, Instant::now()) {
            if let Effect::Say(line) = effect {
                screen.say(&line)?;
            }
        }
    }
    for line in room.farewell() {
        screen.say(&line)?;
    }
    Ok(())
}

/// What the store holds, as far as the chat begins with it.
fn room(store: &Store) -> Result<Room, StoreError> {
    let restored = store.restore()?;
    let unread: Vec<_> =
        restored.conversations.iter().filter(|row| row.unread() > 0).map(|row| (row.conversation.clone(), row.read)).collect();
    let mut room = Room::new(store.user().clone(), restored);
    room.time_is(time_of_day());
    for (conversation, read) in unread {
        let mut before = None;
        loop {
            let entries = store.entries(&conversation, before, PAGE)?;
            for entry in &entries {
                room.has(&conversation, entry);
            }
            before = entries.first().map(|first| first.position.seq);
            if before.is_none_or(|first| first <= read.seq) {
                break;
            }
        }
    }
    Ok(room)
}

/// By the clock of this machine.
fn time_of_day() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis::ZERO.plus_ms(since.as_millis().try_into().unwrap_or(u64::MAX))
}

/// Why the loop ends.
#[derive(Debug)]
enum End {
    /// The store has failed.
    Device(Ended),
    Chat(ChatError),
}

impl From<ChatError> for End {
    fn from(error: ChatError) -> Self {
        Self::Chat(error)
    }
}

impl From<Ended> for End {
    fn from(ended: Ended) -> Self {
        Self::Device(ended)
    }
}

/// What a chat waits for.
#[expect(clippy::large_enum_variant, reason = "there is one")]
enum Happened {
    /// The device shows something.
    Shown(Shown),
    /// A line, without its end; `None`: the input has ended.
    Typed(Option<Vec<u8>>),
    /// Something that was held back is to be said, or the end of the input was long enough ago.
    TimePassed,
}

struct Screen<W> {
    output: W,
}

impl<W: Write> Screen<W> {
    fn say(&mut self, line: &str) -> Result<(), ChatError> {
        writeln!(self.output, "{line}").and_then(|()| self.output.flush()).map_err(ChatError::Output)
    }
}

/// A chat that has begun.
struct Chat<'a, W> {
    device: &'a Device,
    room: &'a mut Room,
    screen: &'a mut Screen<W>,
    last_peer: Option<PathBuf>,
    cut_at: Option<usize>,
}

impl<W: Write> Chat<'_, W> {
    async fn run(&mut self, input: impl AsyncBufRead + Unpin, shown: &mut UnboundedReceiver<Shown>) -> Result<(), End> {
        let mut typed = input.split(b'\n');
        let mut end_of_input = None;
        loop {
            let now = Instant::now();
            if end_of_input.is_some_and(|deadline| !self.room.is_busy() || now >= deadline) {
                return Ok(());
            }
            let settle_at = self.room.settle_at();
            let wake_at = settle_at.into_iter().chain(end_of_input).min();
            let happened = tokio::select! {
                // What is shown goes before what is typed: the user answers what is on the screen.
                biased;
                event = shown.recv() => Happened::Shown(event.ok_or(Ended)?),
                line = typed.next_segment(), if end_of_input.is_none() => Happened::Typed(line.map_err(ChatError::Input)?),
                () = sleep_until(wake_at.unwrap_or(now).into()), if wake_at.is_some() => Happened::TimePassed,
            };
            let now = Instant::now();
            self.room.time_is(time_of_day());
            let effects = match happened {
                Happened::Shown(Shown::Connection(state)) => {
                    self.room.connection_changed(self.status(state), now);
                    vec![]
                }
                Happened::Shown(event) => self.room.shown(event, now),
                Happened::Typed(Some(line)) if self.cut_at.is_some_and(|bytes| line.len() >= bytes) => {
                    vec![Effect::Say(format!("· not sent: this terminal cuts a line off at {} bytes", line.len()))]
                }
                Happened::Typed(Some(line)) => self.room.typed(&line),
                Happened::Typed(None) => {
                    end_of_input = Some(now + LAST_WORDS_WAIT);
                    vec![]
                }
                Happened::TimePassed if settle_at.is_some_and(|at| at <= now) => self.room.settle(now),
                Happened::TimePassed => vec![],
            };
            if self.carry_out(effects).await?.is_break() {
                return Ok(());
            }
        }
    }

    /// Does these things; breaks when the user wants to go.
    async fn carry_out(&mut self, effects: Vec<Effect>) -> Result<ControlFlow<()>, End> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Say(line) => self.screen.say(&line)?,
                Effect::Turn { conversation, entries } => {
                    self.device.act(Act::Look { conversations: vec![conversation.clone()] });
                    let entries = self.device.entries(conversation.clone(), None, entries).await?;
                    prepend(&mut effects, self.room.turned(&conversation, entries));
                }
                Effect::Older { conversation, before } => {
                    let entries = self.device.entries(conversation.clone(), Some(before), PAGE).await?;
                    if entries.is_empty() {
                        self.device.act(Act::LoadHistory { conversation, before: Some(before) });
                    } else {
                        prepend(&mut effects, self.room.older(&conversation, entries, false));
                    }
                }
                Effect::Compose { conversation, draft, line } => self.compose(conversation, draft, line),
                Effect::React { conversation, target, key } => {
                    let draft = self.reaction(&conversation, target, key).await?;
                    let line = text::words(&draft);
                    self.compose(conversation, draft, line);
                }
                Effect::Create { users, title } => {
                    let settings = GroupSettings { title: Some(title.clone()), ..GroupSettings::default() };
                    let id = self.device.create(users, settings);
                    self.room.creating(id, title);
                }
                Effect::ComposeTo { user, body, line } => {
                    let id = self.device.compose_to(user.clone(), body);
                    self.room.held(user, id, line);
                }
                Effect::Do(act) => self.device.act(act),
                Effect::Open(user) => self.device.open_with(user),
                Effect::Remember(user) => {
                    if let Some(file) = &self.last_peer {
                        last_peer::write(file, &user);
                    }
                }
                Effect::Quit => return Ok(ControlFlow::Break(())),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn compose(&mut self, conversation: ConversationId, draft: Draft, line: String) {
        let change = !matches!(draft, Draft::Message { .. });
        let id = self.device.compose(conversation.clone(), draft);
        self.room.composed(conversation, id, line, change);
    }

    /// Takes the reaction away if the user has it there, as the store knows it.
    async fn reaction(&self, conversation: &ConversationId, target: Seq, key: ReactionKey) -> Result<Draft, Ended> {
        let stored = self.device.entries(conversation.clone(), Some(target.next()), 1).await?.pop();
        let mine = stored.is_some_and(|entry| match entry.kind {
            EntryKind::Message(message) if entry.position.seq == target => {
                message.reactions.iter().any(|one| one.key == key && one.mine == Some(true))
            }
            _ => false,
        });
        Ok(Draft::react(target, key, if mine { ReactionChange::Remove } else { ReactionChange::Add }))
    }

    fn status(&self, state: ConnectionState) -> Status {
        match state {
            ConnectionState::Connecting | ConnectionState::CatchingUp => Status::Connecting,
            ConnectionState::Live => Status::Online,
            ConnectionState::Waiting { until } => Status::Offline { until: self.device.instant(until).into_std() },
            ConnectionState::NoToken => Status::NoToken,
            ConnectionState::Displaced => Status::Displaced,
            ConnectionState::UpgradeRequired => Status::Outdated,
        }
    }
}

/// What follows from an effect comes before what was to be done after it.
fn prepend(effects: &mut VecDeque<Effect>, first: Vec<Effect>) {
    for effect in first.into_iter().rev() {
        effects.push_front(effect);
    }
}
