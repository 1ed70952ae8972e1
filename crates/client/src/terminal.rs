//! A line-based chat: every typed line is a message, every line of the output is an event.
//!
//! It shows what happens while it runs. What was said before, and what is lost on the way, it does not fetch; when the connection ends, it
//! ends.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use chatlane_protocol::frames::{ConversationHead, HelloAnswer, Limits, OpenAnswer, PingAnswer, SendAnswer};
use chatlane_protocol::{ClientMessageId, ConversationId, DeviceId, ServerFrame, UserId};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};
use tokio::time::{sleep, sleep_until};
use uuid::Uuid;

use crate::connection::{Connection, OpenError, RequestError};

mod command;
mod lane;
mod retry;
mod room;
mod text;

use command::Command;
use room::Room;

/// Who chats, from where, with whom.
#[derive(Clone)]
pub struct ChatOptions {
    /// `ws://host/stage`.
    pub url: String,
    /// A token of `user`.
    pub token: String,
    /// This installation. Two chats with the same device displace each other.
    pub device: DeviceId,
    /// Who chats.
    pub user: UserId,
    /// Whom to talk to. Without: alice and bob talk to each other, others to the first who writes to them.
    pub peer: Option<UserId>,
}

/// Why a chat could not begin, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// There is no connection.
    #[error("no chat without a connection")]
    Open(#[from] OpenError),
    /// The server did not say hello.
    #[error("no answer to hello: {}", text::failure(.0))]
    Hello(RequestError),
    /// The token is somebody else's.
    #[error("the token is not {asked}'s, it is {found}'s")]
    OtherUser {
        /// Of the options, escaped for a terminal.
        asked: String,
        /// Of the token, escaped for a terminal.
        found: String,
    },
    /// The input cannot be read.
    #[error("cannot read what is typed")]
    Input(#[source] std::io::Error),
    /// The output cannot be written.
    #[error("cannot write to the terminal")]
    Output(#[source] std::io::Error),
}

/// Chats until the input ends, `/quit`, or the connection ends; the latter is a line of the output and no error. A line that was typed
/// before the end is acknowledged, or its failure shown, before this returns.
pub async fn chat(options: ChatOptions, input: impl AsyncBufRead + Unpin, output: impl Write) -> Result<(), ChatError> {
    let connection = Connection::open(&options.url, options.device, &options.token).await?;
    let mut pushes = connection.pushes();
    let hello = greet(&connection).await.map_err(ChatError::Hello)?;
    if hello.user != options.user {
        let [asked, found] = [&options.user, &hello.user].map(|user| text::visible(user.as_str()));
        return Err(ChatError::OtherUser { asked, found });
    }

    let room = Room::new(hello.user, hello.limits.entry_bytes_max);
    let mut chat = Chat { connection: &connection, room, work: FuturesUnordered::new(), output, limits: hello.limits };
    chat.begin(&options.user, options.peer, hello.conversations)?;
    let mut typed = input.split(b'\n');
    let mut input_goes_on = true;
    while input_goes_on || chat.room.is_busy() {
        let gap_ends = chat.room.gap_since().map(|since| since + wait(chat.limits.gap_wait_ms));
        let ping_due = connection.quiet_since() + wait(chat.limits.ping_after_idle_ms);
        tokio::select! {
            frame = pushes.recv() => {
                let flow = match frame {
                    Some(frame) => chat.pushed(frame)?,
                    None => chat.farewell(&text::closed(&connection.closed().await))?,
                };
                if flow.is_break() { break }
            }
            Some(done) = chat.work.next(), if !chat.work.is_empty() => if chat.done(done)?.is_break() { break },
            line = typed.next_segment(), if input_goes_on && !chat.room.is_busy() => {
                match line.map_err(ChatError::Input)? {
                    Some(line) => input_goes_on = chat.typed(&line)?.is_continue(),
                    None => input_goes_on = false,
                }
            }
            () = sleep_until(gap_ends.unwrap_or(ping_due).into()), if gap_ends.is_some() => chat.go_on_behind_gaps()?,
            () = sleep_until(ping_due.into()), if chat.work.is_empty() => chat.ping(),
        }
    }
    connection.close().await;
    Ok(())
}

/// Says hello and gathers all pages.
async fn greet(connection: &Connection) -> Result<HelloAnswer, RequestError> {
    let mut all = hello_page(connection, None).await?;
    while let Some(after) = all.next.take() {
        let page = hello_page(connection, Some(after)).await?;
        all.conversations.extend(page.conversations);
        all.next = page.next;
    }
    Ok(all)
}

async fn hello_page(connection: &Connection, after: Option<ConversationId>) -> Result<HelloAnswer, RequestError> {
    let mut attempts = 0;
    loop {
        let failure = match connection.hello(after.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        attempts += 1;
        let Some(pause) = retry::pause(&failure, attempts, random()) else { return Err(failure) };
        sleep(pause).await;
    }
}

/// A chat that has begun.
struct Chat<'a, W> {
    connection: &'a Connection,
    room: Room,
    /// Requests without an answer yet: at most one `open` or `send`, or one `ping`.
    work: FuturesUnordered<BoxFuture<'a, Done>>,
    output: W,
    limits: Limits,
}

/// A request ended.
enum Done {
    Opened(Result<OpenAnswer, RequestError>),
    Sent(Result<SendAnswer, RequestError>),
    Pinged(Result<PingAnswer, RequestError>),
}

impl<W: Write> Chat<'_, W> {
    fn begin(&mut self, user: &UserId, peer: Option<UserId>, conversations: Vec<ConversationHead>) -> Result<(), ChatError> {
        let mut lines = vec![format!("· you are {}; /help lists what you can type", text::visible(user.as_str()))];
        lines.extend(conversations.into_iter().map(|conversation| self.room.stands(conversation)));
        self.show(lines)?;
        match peer.or_else(|| command::default_peer(user)) {
            Some(peer) => self.turn_to(peer),
            None => Ok(()),
        }
    }

    fn turn_to(&mut self, peer: UserId) -> Result<(), ChatError> {
        let lines = self.room.turn_to(peer, new_id());
        self.open_after(Duration::ZERO);
        self.show(lines)
    }

    /// Breaks when the chat is to end.
    fn typed(&mut self, line: &[u8]) -> Result<ControlFlow<()>, ChatError> {
        match command::read(line) {
            Command::Say(line) => match self.room.compose(&line, new_id()) {
                Ok(()) => self.send_after(Duration::ZERO),
                Err(line) => self.show([line])?,
            },
            Command::With(peer) => self.turn_to(peer)?,
            Command::Help => self.show(command::HELP.map(|line| format!("· {line}")))?,
            Command::Wrong(why) => self.show([format!("· {why}")])?,
            Command::Nothing => {}
            Command::Quit => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Breaks when the connection gets nothing any more.
    fn pushed(&mut self, frame: ServerFrame) -> Result<ControlFlow<()>, ChatError> {
        match frame {
            ServerFrame::Entries(entries) => {
                let lines = self.room.entries(entries, Instant::now());
                self.show(lines)?;
            }
            ServerFrame::Goaway(goaway) => {
                return self.farewell(text::goaway(goaway.reason));
            }
            ServerFrame::Error(error) => {
                let why = text::failure(&RequestError::Refused(error.refusal));
                self.show([format!("· the server refused something: {why}")])?;
            }
            // Answers are no pushes; what this version does not know, it passes over.
            ServerFrame::Hello(_) | ServerFrame::Open(_) | ServerFrame::Send(_) | ServerFrame::Ping(_) | ServerFrame::Unknown => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Breaks when the server does not answer.
    fn done(&mut self, done: Done) -> Result<ControlFlow<()>, ChatError> {
        match done {
            Done::Opened(answer) => {
                let reaction = self.room.opened(answer, random());
                self.show(reaction.lines)?;
                if let Some(pause) = reaction.again_after {
                    self.open_after(pause);
                }
            }
            Done::Sent(answer) => {
                let reaction = self.room.sent(answer, Instant::now(), random());
                self.show(reaction.lines)?;
                if let Some(pause) = reaction.again_after {
                    self.send_after(pause);
                }
            }
            // A closed connection says so itself.
            Done::Pinged(Ok(_) | Err(RequestError::Closed(_))) => {}
            Done::Pinged(Err(failure)) => {
                return self.farewell(&format!("the server does not answer a ping: {}", text::failure(&failure)));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn go_on_behind_gaps(&mut self) -> Result<(), ChatError> {
        let now = Instant::now();
        let lines = now.checked_sub(wait(self.limits.gap_wait_ms)).map(|since| self.room.skip_gaps(since, now));
        self.show(lines.unwrap_or_default())
    }

    fn open_after(&self, pause: Duration) {
        let Some(opening) = self.room.opening() else { return };
        let (connection, with, id) = (self.connection, opening.with.clone(), opening.id.clone());
        self.work.push(Box::pin(async move {
            sleep(pause).await;
            Done::Opened(connection.open_with(with, id).await)
        }));
    }

    fn send_after(&self, pause: Duration) {
        let Some(sending) = self.room.sending() else { return };
        let (connection, conversation, message) = (self.connection, sending.conversation.clone(), sending.message.clone());
        self.work.push(Box::pin(async move {
            sleep(pause).await;
            Done::Sent(connection.send(conversation, vec![message]).await)
        }));
    }

    fn ping(&self) {
        let connection = self.connection;
        self.work.push(Box::pin(async move { Done::Pinged(connection.ping().await) }));
    }

    /// The last words of a chat that does not end by itself. Breaks.
    fn farewell(&mut self, why: &str) -> Result<ControlFlow<()>, ChatError> {
        let unconfirmed = self.room.unconfirmed();
        self.show(unconfirmed.into_iter().chain([format!("· {why}")]))?;
        Ok(ControlFlow::Break(()))
    }

    fn show(&mut self, lines: impl IntoIterator<Item = String>) -> Result<(), ChatError> {
        for line in lines {
            writeln!(self.output, "{line}").map_err(ChatError::Output)?;
        }
        self.output.flush().map_err(ChatError::Output)
    }
}

/// A client message id. Ordered by time, as far as one device's clock is.
fn new_id() -> ClientMessageId {
    ClientMessageId::new(Uuid::now_v7().to_string()).expect("a UUID is a client message id")
}

/// A time that the server names, a day at most: no number of a server may overflow a clock. The gateway ends every connection sooner.
fn wait(ms: u64) -> Duration {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    Duration::from_millis(ms.min(DAY_MS))
}

fn random() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}
