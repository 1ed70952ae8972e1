//! What clients saw and did: the lines of the history, read. Their meaning is in the README.

use std::collections::HashMap;

use crate::fields::{Fields, Malformed, objects};
use crate::words::{Body, Message, Name, Names, Position};

/// All lines, in order.
#[derive(Debug, Default)]
pub struct History {
    /// Each with the device that it is of.
    pub lines: Vec<Line>,
    /// Whose each device is.
    pub devices: HashMap<Name, Name>,
    /// The index of the last `quiescent` in `lines`.
    pub quiescent: Option<usize>,
}

/// One line.
#[derive(Debug)]
pub struct Line {
    /// Its number in the input, from 1.
    pub number: usize,
    /// Absent on an operator's line.
    pub device: Option<Device>,
    /// What it tells.
    pub what: What,
}

/// One installation of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Its id, as in the names of cursors.
    pub id: Name,
    /// Whose it is.
    pub user: Name,
}

/// An entry as a device has it.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Where.
    pub place: (Name, Position),
    /// Who wrote it.
    pub sender: Name,
    /// The sender's name for it.
    pub id: Name,
    /// `message`, `created` or another.
    pub kind: Option<Name>,
    /// When it was accepted.
    pub time: Option<u64>,
    /// Messages up to it.
    pub count: Option<u64>,
    /// What it says.
    pub body: Option<Body>,
    /// The message that it is done to.
    pub target: Option<u64>,
    /// The entry that it answers.
    pub reply_to: Option<u64>,
    /// The edit by which it says this.
    pub edited: Option<u64>,
    /// The last reaction that is counted there.
    pub reacted: Option<u64>,
    /// What stands beside it: each with its count, and whether it is the user's own, where that is known.
    pub reactions: Vec<(Name, u64, Option<bool>)>,
}

/// What an entry that came to a device tells of others.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Where.
    pub position: Position,
    /// What it was told as.
    pub kind: Name,
    /// The message that it is done to.
    pub target: Option<u64>,
    /// The entry that it answers.
    pub reply_to: Option<u64>,
    /// The edit by which it says what it says.
    pub edited: Option<u64>,
}

/// What somebody asked to be done to a message, or to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The kind of entry.
    pub kind: Name,
    /// Of an edit, a deletion, a reaction: the message.
    pub target: Option<u64>,
    /// Of an edit.
    pub body: Option<Body>,
}

/// What came back for one message.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of which message.
    pub message: Message,
    /// Of which request.
    pub request: Option<Name>,
    /// The answer.
    pub status: Status,
    /// Messages up to the entry.
    pub count: Option<u64>,
    /// When the entry was accepted.
    pub time: Option<u64>,
}

/// The answer for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Stored, by this request or an earlier one, at this position.
    Acknowledged(Position),
    /// Met by `probe` at this position.
    Found(Position),
    /// The id stands for another body, at this position.
    Conflict(Position),
    /// Not stored by this attempt, with this code.
    Refused(Name),
    /// One before it was not stored.
    NotAttempted,
    /// All was so already: this attempt stored nothing.
    Unchanged,
}

/// A stretch of a log that a device's store has: the entries in (`from`, `have`].
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Of which conversation.
    pub conversation: Name,
    /// Only its seq means anything.
    pub from: Position,
    /// The last one.
    pub have: Position,
    /// The entries, in a transcript.
    pub entries: Vec<Sight>,
    /// Messages that the person has not read, in a transcript.
    pub unread: Option<u64>,
}

/// Who is how far.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    /// Where.
    pub conversation: Name,
    /// The other user.
    pub of: Name,
    /// By the furthest device.
    pub delivered: Position,
    /// By the user.
    pub read: Position,
}

/// What a line tells.
#[derive(Debug)]
pub enum What {
    /// A socket is open.
    Connect,
    /// The first page of `hello` is answered.
    Hello,
    /// Everything that was missed has come.
    Live,
    /// There is no connection any more.
    Away,
    /// A new life begins, with this in the store and in the outbox.
    Restart { has: Option<Vec<Stretch>>, outbox: Option<Vec<Message>> },
    /// `open` or `create` left the device.
    Open { id: Name },
    /// A change of a group, or of a message, left the device.
    Change { request: Option<Name>, message: Message, asked: Asked },
    /// Entries came to the device, whatever it does with them; and what some of them tell of others.
    Received { conversation: Name, positions: Vec<Position>, told: Vec<Told> },
    /// `open` was answered.
    Opened { conversation: Name, head: Position },
    /// A message, or a change of this one, is in the outbox, durably.
    Composed(Message, Option<u64>),
    /// `send` left the device.
    Attempt { request: Option<Name>, messages: Vec<(Message, Body)> },
    /// An answer for one message.
    Outcome(Outcome),
    /// The next entry is committed and shown.
    Shown(Sight),
    /// An entry from before what is shown.
    Older(Sight),
    /// The conversation goes on behind this.
    Skipped { conversation: Name, to: Position },
    /// What is beyond this is not shown any more.
    RolledBack { conversation: Name, to: Position },
    /// The message is shown as failed.
    GivenUp(Message),
    /// The device told how far it has entries, or how far its person has read.
    Told { cursor: Cursor, conversation: Name, position: Position },
    /// The server has answered `ok` to that.
    Taken { cursor: Cursor, conversation: Name, position: Position },
    /// How far another member is shown to be.
    Cursors(Reached),
    /// Where a conversation stands, as the server told it.
    Status { conversation: Name, head: Position, count: Option<u64>, read: Option<Position>, read_count: Option<u64> },
    /// Something was asked about a conversation of others, or about none.
    Stranger { conversation: Name, action: Name, answer: String },
    /// A bad request was answered.
    Bad { ids: Vec<Name>, code: Option<Name>, answers: Option<u64> },
    /// The tables were restored from a backup.
    Restored { epoch: u64, tails: Option<HashMap<Name, u64>> },
    /// Faults have stopped, and what converges has converged.
    Quiescent,
    /// What the device has in the end.
    End { transcripts: Vec<Stretch>, outbox: Vec<Message> },
}

/// Which of the two cursors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cursor {
    /// Of a device.
    Delivered,
    /// Of a user, and of the device that told it.
    Read,
}

/// Reads a history.
pub fn parse(text: &str, names: &mut Names) -> Result<History, Malformed> {
    let mut history = History::default();
    objects("history", text, |number, fields| {
        let line = history.line(number, *fields, names)?;
        if matches!(line.what, What::Quiescent) {
            history.quiescent = Some(history.lines.len());
        }
        history.lines.push(line);
        Ok(())
    })?;
    Ok(history)
}

impl History {
    fn line(&mut self, number: usize, fields: Fields<'_>, names: &mut Names) -> Result<Line, String> {
        let kind = fields.text("what")?;
        let operators = match kind {
            "restored" => Some(What::Restored { epoch: fields.number("epoch")?, tails: tails(fields, names)? }),
            "quiescent" => Some(What::Quiescent),
            _ => None,
        };
        if let Some(what) = operators {
            return Ok(Line { number, device: None, what });
        }
        let device = self.device(fields, names)?;
        let what = Reading { fields, names, user: device.user }.what(kind)?;
        Ok(Line { number, device: Some(device), what })
    }

    fn device(&mut self, fields: Fields<'_>, names: &mut Names) -> Result<Device, String> {
        let id = names.device(fields.text("device")?);
        let user = fields.maybe_text("user")?.map(|user| names.name(user));
        match (self.devices.get(&id), user) {
            (Some(known), Some(user)) if *known != user => Err("`user` is not the one of this device's lines before".to_owned()),
            (Some(known), _) => Ok(Device { id, user: *known }),
            (None, Some(user)) => {
                self.devices.insert(id, user);
                Ok(Device { id, user })
            }
            (None, None) => Err("`user` is missing on the first line of this device".to_owned()),
        }
    }
}

fn tails(fields: Fields<'_>, names: &mut Names) -> Result<Option<HashMap<Name, u64>>, String> {
    let Some(tails) = fields.maybe_object("tails")? else { return Ok(None) };
    let tail = |(conversation, _): (&String, _)| Ok((names.name(conversation), tails.number(conversation)?));
    tails.0.iter().map(tail).collect::<Result<_, String>>().map(Some)
}

/// One line of a device.
struct Reading<'a> {
    fields: Fields<'a>,
    names: &'a mut Names,
    user: Name,
}

impl Reading<'_> {
    fn what(&mut self, kind: &str) -> Result<What, String> {
        let fields = self.fields;
        Ok(match kind {
            "connect" => What::Connect,
            "hello" => What::Hello,
            "live" => What::Live,
            "away" => What::Away,
            "restart" => {
                let has = fields.maybe_objects("has")?;
                let has = has.map(|has| has.into_iter().map(|row| self.stretch(row, "position")).collect()).transpose()?;
                let outbox = fields.maybe_objects("outbox")?.map(|rows| self.messages(&rows)).transpose()?;
                What::Restart { has, outbox }
            }
            "open" => What::Open { id: self.name("id")? },
            "opened" => What::Opened { conversation: self.name("conversation")?, head: fields.position("head")? },
            "change" => {
                let asked = Asked { kind: self.name("kind")?, target: fields.maybe_number("target")?, body: fields.maybe_body("body")? };
                What::Change { request: self.maybe_name("request")?, message: self.message(fields)?, asked }
            }
            "received" => {
                let told = fields.maybe_objects("told")?.unwrap_or_default();
                let told = told.into_iter().map(|told| self.told(told)).collect::<Result<_, _>>()?;
                What::Received { conversation: self.name("conversation")?, positions: fields.positions("positions")?, told }
            }
            "composed" => What::Composed(self.message(fields)?, fields.maybe_number("target")?),
            "attempt" => self.attempt()?,
            "result" => What::Outcome(self.outcome()?),
            "shown" => What::Shown(self.sight(None, fields)?),
            "older" => What::Older(self.sight(None, fields)?),
            "skipped" => What::Skipped { conversation: self.name("conversation")?, to: fields.position("to")? },
            "rolled_back" => What::RolledBack { conversation: self.name("conversation")?, to: fields.position("to")? },
            "given_up" => What::GivenUp(self.message(fields)?),
            "told_ack" | "told_read" => {
                let cursor = if kind == "told_ack" { Cursor::Delivered } else { Cursor::Read };
                What::Told { cursor, conversation: self.name("conversation")?, position: fields.position("position")? }
            }
            "taken" => {
                let cursor = match fields.text("cursor")? {
                    "delivered" => Cursor::Delivered,
                    "read" => Cursor::Read,
                    _ => return Err("`cursor` is neither `delivered` nor `read`".to_owned()),
                };
                What::Taken { cursor, conversation: self.name("conversation")?, position: fields.position("position")? }
            }
            "cursors" => What::Cursors(Reached {
                conversation: self.name("conversation")?,
                of: self.name("of")?,
                delivered: fields.position("delivered")?,
                read: fields.position("read")?,
            }),
            "status" => What::Status {
                conversation: self.name("conversation")?,
                head: fields.position("head")?,
                count: fields.maybe_number("count")?,
                read: fields.maybe_position("read")?,
                read_count: fields.maybe_number("read_count")?,
            },
            "asked_as_stranger" => self.stranger()?,
            "bad" => What::Bad {
                ids: fields.texts("ids")?.into_iter().map(|id| self.names.name(id)).collect(),
                code: self.maybe_name("code")?,
                answers: fields.maybe_number("answers")?,
            },
            "end" => {
                let transcripts = fields.objects("transcripts")?;
                let transcripts = transcripts.into_iter().map(|row| self.stretch(row, "have")).collect::<Result<_, _>>()?;
                What::End { transcripts, outbox: self.messages(&fields.objects("outbox")?)? }
            }
            other => return Err(format!("`what` is `{other}`, which the README does not know")),
        })
    }

    fn name(&mut self, field: &str) -> Result<Name, String> {
        Ok(self.names.name(self.fields.text(field)?))
    }

    fn maybe_name(&mut self, field: &str) -> Result<Option<Name>, String> {
        Ok(self.fields.maybe_text(field)?.map(|text| self.names.name(text)))
    }

    fn message(&mut self, fields: Fields<'_>) -> Result<Message, String> {
        let conversation = self.names.name(fields.text("conversation")?);
        Ok(Message { conversation, sender: self.user, id: self.names.name(fields.text("id")?) })
    }

    fn messages(&mut self, rows: &[Fields<'_>]) -> Result<Vec<Message>, String> {
        rows.iter().map(|row| self.message(*row)).collect()
    }

    fn attempt(&mut self) -> Result<What, String> {
        let (conversation, request) = (self.name("conversation")?, self.maybe_name("request")?);
        let mut messages = vec![];
        for message in self.fields.objects("messages")? {
            let id = self.names.name(message.text("id")?);
            messages.push((Message { conversation, sender: self.user, id }, message.body("body")?));
        }
        Ok(What::Attempt { request, messages })
    }

    fn outcome(&mut self) -> Result<Outcome, String> {
        let fields = self.fields;
        let status = match fields.text("status")? {
            "ok" | "duplicate" => Status::Acknowledged(fields.position("position")?),
            "found" => Status::Found(fields.position("position")?),
            "conflict" => Status::Conflict(fields.position("position")?),
            "refused" => Status::Refused(self.name("code")?),
            "not_attempted" => Status::NotAttempted,
            "unchanged" => Status::Unchanged,
            other => return Err(format!("`status` is `{other}`, which the README does not know")),
        };
        Ok(Outcome {
            message: self.message(fields)?,
            request: self.maybe_name("request")?,
            status,
            count: fields.maybe_number("count")?,
            time: fields.maybe_number("time_ms")?,
        })
    }

    fn sight(&mut self, conversation: Option<Name>, fields: Fields<'_>) -> Result<Sight, String> {
        let conversation = match conversation {
            Some(conversation) => conversation,
            None => self.names.name(fields.text("conversation")?),
        };
        Ok(Sight {
            place: (conversation, fields.position("position")?),
            sender: self.names.name(fields.text("sender")?),
            id: self.names.name(fields.text("id")?),
            kind: fields.maybe_text("kind")?.map(|kind| self.names.name(kind)),
            time: fields.maybe_number("time_ms")?,
            count: fields.maybe_number("count")?,
            body: fields.maybe_body("body")?,
            target: fields.maybe_number("target")?,
            reply_to: fields.maybe_number("reply_to")?,
            edited: fields.maybe_number("edited")?,
            reacted: fields.maybe_number("reactions_to")?,
            reactions: fields
                .maybe_objects("reactions")?
                .unwrap_or_default()
                .into_iter()
                .map(|one| self.reaction(one))
                .collect::<Result<_, _>>()?,
        })
    }

    fn reaction(&mut self, fields: Fields<'_>) -> Result<(Name, u64, Option<bool>), String> {
        let mine = fields.get("mine").map(|mine| mine.as_bool().ok_or("`mine` is neither true nor false")).transpose()?;
        Ok((self.names.name(fields.text("key")?), fields.number("count")?, mine))
    }

    fn told(&mut self, fields: Fields<'_>) -> Result<Told, String> {
        Ok(Told {
            position: fields.position("position")?,
            kind: self.names.name(fields.text("kind")?),
            target: fields.maybe_number("target")?,
            reply_to: fields.maybe_number("reply_to")?,
            edited: fields.maybe_number("edited")?,
        })
    }

    fn stretch(&mut self, row: Fields<'_>, have: &str) -> Result<Stretch, String> {
        let conversation = self.names.name(row.text("conversation")?);
        let entries = row.maybe_objects("entries")?.unwrap_or_default();
        Ok(Stretch {
            conversation,
            from: row.maybe_position("from")?.unwrap_or_default(),
            have: row.position(have)?,
            entries: entries.into_iter().map(|entry| self.sight(Some(conversation), entry)).collect::<Result<_, _>>()?,
            unread: row.maybe_number("unread")?,
        })
    }

    /// Of two such answers only what names the conversation and the request, and the time, may differ.
    fn stranger(&mut self) -> Result<What, String> {
        let conversation = self.fields.text("conversation")?;
        let mut answer = self.fields.text("answer")?.replace(conversation, "*");
        if let Some(request) = self.fields.maybe_text("request")? {
            answer = answer.replace(&format!("\"{request}\""), "\"*\"");
        }
        Ok(What::Stranger { conversation: self.names.name(conversation), action: self.name("action")?, answer: without_time(&answer) })
    }
}

fn without_time(answer: &str) -> String {
    const TIME: &str = "\"server_time_ms\":";
    let Some((before, after)) = answer.split_once(TIME) else { return answer.to_owned() };
    format!("{before}{TIME}{}", after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' '))
}
