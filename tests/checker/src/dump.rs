//! What is in the tables: the items of the dump, read. The attributes are those of the README.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::fields::{Fields, Malformed, objects};
use crate::policy::{Policy, Role, Settings};
use crate::words::{Body, Message, Name, Names, Position};

/// All tables.
#[derive(Debug, Default)]
pub struct Tables {
    /// The entries of each conversation, by seq; as many in one slot as the dump has.
    pub logs: BTreeMap<Name, Vec<Entry>>,
    /// The begun position of each conversation.
    pub heads: BTreeMap<Name, Head>,
    /// The members of each conversation: by (conversation, user).
    pub members: BTreeMap<(Name, Name), Row>,
    /// That each conversation exists, and what it is called.
    pub metas: BTreeMap<Name, Meta>,
    /// By (user, conversation).
    pub inboxes: BTreeMap<(Name, Name), Inbox>,
    /// When users were members who have left: by (conversation, user), with the line.
    pub left: BTreeMap<(Name, Name), (Vec<Span>, usize)>,
    /// Who once left which conversation: by (user, conversation), with the line.
    pub was: BTreeMap<(Name, Name), usize>,
    /// Users with sessions: the line, and the devices.
    pub sessions: BTreeMap<Name, (usize, Vec<Name>)>,
    /// What was put beside messages, counted: by (conversation, seq of the message).
    pub reactions: BTreeMap<(Name, u64), Counters>,
    /// What each user has put beside a message: by (conversation, seq of the message, user), with the line.
    pub reacted: BTreeMap<(Name, u64, Name), (BTreeSet<Name>, usize)>,
    /// Every text that stands anywhere in the tables, but for names, taken as a body of `text/plain`, with the first line that has it.
    pub texts: HashMap<Body, usize>,
}

/// What was put beside a message, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The seq of the last entry that is counted.
    pub to: u64,
    /// Nothing is put there any more.
    pub closed: bool,
    /// By reaction.
    pub counts: BTreeMap<Name, u64>,
    /// Where in the dump.
    pub line: usize,
}

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it says.
    pub body: Body,
    /// The seq of the entry that it answers.
    pub reply_to: Option<u64>,
    /// The seq of the edit by which it says this.
    pub edited: Option<u64>,
    /// The seqs of all its edits.
    pub edits: Vec<u64>,
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where.
    pub position: Position,
    /// Which message it is.
    pub message: Message,
    /// When it was accepted.
    pub time: u64,
    /// Messages up to it, as it says itself.
    pub count: u64,
    /// What it is.
    pub kind: Kind,
    /// What is left of what the conversation admits, if it says so.
    pub bucket: Option<Bucket>,
    /// What it says about members and settings, if it does.
    pub facts: Option<Facts>,
    /// Where in the dump.
    pub line: usize,
}

/// What is left of what a conversation admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Thousandths of a kilobyte.
    pub tokens: u64,
    /// By the clock of whoever left it so.
    pub time: u64,
    /// Kilobytes that come back in a second.
    pub rate: u64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The creation of a direct conversation, with the members.
    Created(Vec<Name>),
    /// A message.
    Message(Said),
    /// A message that was deleted.
    Deleted,
    /// The message in this slot says something else; without a body: it was deleted since.
    Edit(u64, Option<Body>),
    /// The message in this slot is deleted.
    Deletion(u64),
    /// Something is put beside the message in this slot (`true`), or taken away.
    Reaction(u64, Name, bool),
    /// The creation of a group, with the members.
    GroupCreated(Vec<Name>, Settings),
    /// These are members from here on.
    Added(Vec<Name>),
    /// These are members no more.
    Removed(Vec<Name>),
    /// The sender is a member no more; this user is an owner.
    Left(Option<Name>),
    /// This user has this role.
    Role(Name, Role),
    /// This is set.
    Settings(Settings),
    /// Behind it members only leave.
    Closed,
    /// Something that this program does not know.
    Other,
}

impl Kind {
    /// As clients are told it, if this program knows it.
    pub const fn word(&self) -> Option<&'static str> {
        Some(match self {
            Self::Created(_) => "created",
            Self::Message(_) => "message",
            Self::Deleted => "deleted",
            Self::Edit(..) => "edit",
            Self::Deletion(_) => "deletion",
            Self::Reaction(..) => "reaction",
            Self::GroupCreated(..) => "group_created",
            Self::Added(_) => "added",
            Self::Removed(_) => "removed",
            Self::Left(_) => "left",
            Self::Role(..) => "role",
            Self::Settings(_) => "settings",
            Self::Closed => "closed",
            Self::Other => return None,
        })
    }

    /// Whether it takes a right away from somebody; but for a successor's it gives none.
    pub fn only_takes(&self) -> bool {
        match self {
            Self::Removed(_) | Self::Left(_) | Self::Closed | Self::Role(_, Role::Member) => true,
            Self::Settings(settings) => *settings == Settings { locked: Some(true), ..Settings::default() },
            _ => false,
        }
    }

    /// The message that it is done to.
    pub const fn target(&self) -> Option<u64> {
        match self {
            Self::Edit(target, _) | Self::Deletion(target) | Self::Reaction(target, ..) => Some(*target),
            _ => None,
        }
    }

    /// In the words of the wire. `None`: there is something in them that this program does not know.
    fn of_words(kind: &str, words: &str, names: &mut Names) -> Option<Self> {
        let Value::Object(said) = serde_json::from_str::<Value>(words).ok()? else { return None };
        let fields = Fields(&said);
        if fields.text("kind").ok()? != kind {
            return None;
        }
        let mut users =
            |field: &str| -> Option<Vec<Name>> { Some(fields.texts(field).ok()?.into_iter().map(|user| names.name(user)).collect()) };
        let settings = || Settings::read(fields.object("settings").ok()?);
        let (read, fields_known) = match kind {
            "group_created" => (Self::GroupCreated(users("members")?, settings()?), 3),
            "added" => (Self::Added(users("users")?), 2),
            "removed" => (Self::Removed(users("users")?), 2),
            "left" => {
                let successor = fields.maybe_text("successor").ok()?.map(|user| names.name(user));
                (Self::Left(successor), 1 + usize::from(successor.is_some()))
            }
            "role" => (Self::Role(names.name(fields.text("user").ok()?), Role::of_word(fields.text("role").ok()?)?), 3),
            "settings" => (Self::Settings(settings()?), 2),
            "closed" => (Self::Closed, 1),
            "message" => {
                let (reply_to, edited) = (fields.maybe_number("reply_to").ok()?, fields.maybe_number("edited").ok()?);
                let mentions = fields.get("mentions").is_some();
                let more = usize::from(reply_to.is_some()) + usize::from(edited.is_some()) + usize::from(mentions);
                (Self::Message(Said { body: fields.body("body").ok()?, reply_to, edited, edits: vec![] }), 2 + more)
            }
            "deleted" => (Self::Deleted, 1),
            "edit" => {
                let body = fields.maybe_body("body").ok()?;
                (Self::Edit(fields.number("target").ok()?, body), 2 + usize::from(body.is_some()))
            }
            "deletion" => (Self::Deletion(fields.number("target").ok()?), 2),
            "reaction" => {
                let adds = match fields.text("change").ok()? {
                    "add" => true,
                    "remove" => false,
                    _ => return None,
                };
                (Self::Reaction(fields.number("target").ok()?, names.name(fields.text("key").ok()?), adds), 4)
            }
            _ => return None,
        };
        (fields.names().count() == fields_known).then_some(read)
    }
}

/// What an entry says about the log up to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How many members there are.
    pub members: u64,
    /// How many of them are owners.
    pub owners: u64,
    /// The seq of the last change of any member.
    pub changed: u64,
    /// The seq of the last change of settings; 0: none.
    pub settings: u64,
    /// The seq of the last removal; 0: none.
    pub removed: u64,
    /// The sum of the members' hashes.
    pub sum: Option<u64>,
    /// What holds, if this program knows all of it.
    pub policy: Option<Policy>,
    /// The messages of whoever opened a direct conversation, while the other has written nothing.
    pub unanswered: Option<u64>,
}

/// What a conversation is called; empty: nothing.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// Its title.
    pub title: String,
    /// What an app keeps with it.
    pub metadata: String,
    /// Where in the dump.
    pub line: usize,
}

/// What a row says of a member. `role`: `None` is one that this program does not know.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What they may do.
    pub role: Option<Role>,
    /// The seq of the first entry that they may see.
    pub from: u64,
    /// The seq of the entry that wrote the row.
    pub version: u64,
    /// Where in the dump.
    pub line: usize,
}

/// When somebody was a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The seq of the first entry that they could see.
    pub from: u64,
    /// The entry that removed them.
    pub end: Position,
}

/// A conversation's begun position.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Which.
    pub position: Position,
    /// Messages up to it.
    pub count: Option<u64>,
    /// Where in the dump.
    pub line: usize,
}

/// One conversation of one user.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// The membership.
    pub row: Row,
    /// How far the user has read, and the messages up to there.
    pub read: Option<(Position, u64)>,
    /// How far each device has the entries.
    pub delivered: Vec<(Name, Position)>,
}

/// Reads a dump.
pub fn parse(text: &str, names: &mut Names) -> Result<Tables, Malformed> {
    let mut tables = Tables::default();
    objects("dump", text, |line, fields| {
        let item = Item { fields: fields.object("item")?, line };
        // Names may be words, too.
        let others = item.fields.0.iter().filter(|(name, _)| !["c", "u", "i", "k"].contains(&name.as_str()));
        others.for_each(|(_, value)| texts(value, line, &mut tables.texts));
        match fields.text("table")? {
            "log" => tables.log(item, names),
            "conversations" => tables.conversation(item, names),
            "inboxes" => tables.inbox(item, names),
            "users" => tables.user(item, names),
            other => Err(format!("`table` is `{other}`, which the README does not know")),
        }
    })?;
    for entries in tables.logs.values_mut() {
        entries.sort_by_key(|entry| entry.position.seq);
    }
    Ok(tables)
}

/// What a cursor's number is multiplied from: epoch × 10¹⁶ + seq.
const EPOCH_WEIGHT: u128 = 10_u128.pow(16);

impl Tables {
    fn log(&mut self, item: Item<'_>, names: &mut Names) -> Result<(), String> {
        let conversation = names.name(item.text("c")?);
        let kind = match item.text("k")? {
            "c" => Kind::Created(item.texts("m")?.into_iter().map(|member| names.name(member)).collect()),
            "m" => {
                let (form, content) = match item.maybe("x", "S")? {
                    Some(text) => ("text", text),
                    None => ("data", item.value("d", "B")?),
                };
                Kind::Message(Said { body: Body::of(item.text("ct")?, form, content), reply_to: None, edited: None, edits: vec![] })
            }
            kind => match item.maybe("W", "S")?.and_then(|words| Kind::of_words(kind, words, names)).unwrap_or(Kind::Other) {
                Kind::Message(said) => Kind::Message(Said { edits: item.maybe_numbers("E")?, ..said }),
                other => other,
            },
        };
        let entry = Entry {
            position: item.position()?,
            message: Message { conversation, sender: names.name(item.text("u")?), id: names.name(item.text("i")?) },
            time: item.number("t")?,
            count: item.number("n")?,
            kind,
            bucket: item.bucket()?,
            facts: item.facts()?,
            line: item.line,
        };
        self.logs.entry(conversation).or_default().push(entry);
        Ok(())
    }

    fn conversation(&mut self, item: Item<'_>, names: &mut Names) -> Result<(), String> {
        let (conversation, line) = (names.name(item.text("c")?), item.line);
        match item.text("k")? {
            "meta" => {
                let text = |name| Ok::<_, String>(item.maybe(name, "S")?.unwrap_or_default().to_owned());
                self.metas.insert(conversation, Meta { title: text("ti")?, metadata: text("md")?, line });
            }
            "head" => {
                let count = item.maybe_number("n")?;
                self.heads.insert(conversation, Head { position: item.position()?, count, line });
            }
            key => {
                if let Some(user) = key.strip_prefix("member#") {
                    self.members.insert((conversation, names.name(&decoded(user)?)), item.row("r")?);
                } else if let Some(user) = key.strip_prefix("left#") {
                    self.left.insert((conversation, names.name(&decoded(user)?)), (item.spans()?, line));
                } else if key.starts_with("reactions#") {
                    self.reactions.insert((conversation, item.number("s")?), item.counters(names)?);
                } else if let Some((target, user)) = key.strip_prefix("reaction#").and_then(|key| key.split_once('#')) {
                    let target = target.parse().map_err(|_| format!("`{key}` names no seq"))?;
                    let own = item.texts("r")?.into_iter().map(|key| names.name(key)).collect();
                    self.reacted.insert((conversation, target, names.name(&decoded(user)?)), (own, line));
                }
            }
        }
        Ok(())
    }

    fn inbox(&mut self, item: Item<'_>, names: &mut Names) -> Result<(), String> {
        let key = (names.name(&decoded(item.text("u")?)?), names.name(item.text("c")?));
        let mut row = Inbox { row: item.row("o")?, read: None, delivered: vec![] };
        if item.maybe("r", "N")?.is_some() {
            row.read = Some((item.cursor("r")?, item.number("rn")?));
        }
        for name in item.fields.names() {
            if let Some(device) = name.strip_prefix("d:") {
                row.delivered.push((names.device(device), item.cursor(name)?));
            }
        }
        self.inboxes.insert(key, row);
        Ok(())
    }

    fn user(&mut self, item: Item<'_>, names: &mut Names) -> Result<(), String> {
        let user = names.name(&decoded(item.text("u")?)?);
        if let Some(conversation) = item.text("k")?.strip_prefix("was#") {
            self.was.insert((user, names.name(conversation)), item.line);
        } else if item.text("k")? == "sessions" {
            let mut devices = vec![];
            for name in item.fields.names().filter(|name| name.starts_with("c:")) {
                let connection = item.fields.object(name)?.object("M")?;
                devices.push(names.device(Item { fields: connection, line: item.line }.text("d")?));
            }
            self.sessions.insert(user, (item.line, devices));
        }
        Ok(())
    }
}

/// One item, in the JSON of `DynamoDB`: each attribute is an object whose one field is named after the type of its value.
#[derive(Clone, Copy)]
struct Item<'a> {
    fields: Fields<'a>,
    line: usize,
}

impl<'a> Item<'a> {
    fn maybe(self, name: &str, kind: &str) -> Result<Option<&'a str>, String> {
        let Some(attribute) = self.fields.get(name) else { return Ok(None) };
        let value = attribute.get(kind).and_then(Value::as_str);
        value.map(Some).ok_or_else(|| format!("attribute `{name}` is not {{\"{kind}\": text}}"))
    }

    fn value(self, name: &str, kind: &str) -> Result<&'a str, String> {
        self.maybe(name, kind)?.ok_or_else(|| format!("attribute `{name}` is missing"))
    }

    fn text(self, name: &str) -> Result<&'a str, String> {
        self.value(name, "S")
    }

    fn texts(self, name: &str) -> Result<Vec<&'a str>, String> {
        let list = self.fields.get(name).and_then(|list| list.get("L")).and_then(Value::as_array);
        let texts = list.and_then(|list| list.iter().map(|text| text.get("S").and_then(Value::as_str)).collect());
        texts.ok_or_else(|| format!("attribute `{name}` is not a list of texts"))
    }

    fn number<T: std::str::FromStr>(self, name: &str) -> Result<T, String> {
        self.value(name, "N")?.parse().map_err(|_| format!("attribute `{name}` is not an integer"))
    }

    fn maybe_number<T: std::str::FromStr>(self, name: &str) -> Result<Option<T>, String> {
        self.maybe(name, "N")?.map(|_| self.number(name)).transpose()
    }

    fn maybe_numbers(self, name: &str) -> Result<Vec<u64>, String> {
        let Some(list) = self.fields.get(name) else { return Ok(vec![]) };
        let list = list.get("L").and_then(Value::as_array);
        let numbers = list.and_then(|list| list.iter().map(|number| number.get("N")?.as_str()?.parse().ok()).collect());
        numbers.ok_or_else(|| format!("attribute `{name}` is not a list of numbers"))
    }

    fn bucket(self) -> Result<Option<Bucket>, String> {
        let policy = self.fields.maybe_object("p")?.map(|policy| policy.object("M")).transpose()?;
        let rate = policy.map(|fields| Item { fields, line: self.line }.maybe_number("r")).transpose()?.flatten();
        let (Some(tokens), Some(rate)) = (self.maybe_number("bk")?, rate) else { return Ok(None) };
        Ok(Some(Bucket { tokens, time: self.number("bt")?, rate }))
    }

    fn counters(self, names: &mut Names) -> Result<Counters, String> {
        let closed = self.fields.get("x").and_then(|closed| closed.get("BOOL")).and_then(Value::as_bool).unwrap_or_default();
        let mut counters = Counters { to: self.number("t")?, closed, counts: BTreeMap::new(), line: self.line };
        let all = self.fields.object("r")?.object("M")?;
        for key in all.names() {
            let count = Item { fields: all.object(key)?.object("M")?, line: self.line }.number("n")?;
            counters.counts.insert(names.name(key), count);
        }
        Ok(counters)
    }

    /// There if the last change of members is.
    fn facts(self) -> Result<Option<Facts>, String> {
        let Some(changed) = self.maybe_number("mc")? else { return Ok(None) };
        Ok(Some(Facts {
            members: self.number("nm")?,
            owners: self.number("no")?,
            changed,
            settings: self.maybe_number("sc")?.unwrap_or_default(),
            removed: self.number("rm")?,
            sum: self.maybe_number("ms")?,
            policy: self.fields.maybe_object("p")?.and_then(|policy| Policy::read(policy.object("M").ok()?)),
            unanswered: self.maybe_number("un")?,
        }))
    }

    /// A membership, with the role in this attribute. What is missing is as at the creation of a direct conversation.
    fn row(self, role: &str) -> Result<Row, String> {
        let role = self.maybe(role, "S")?.map_or(Some(Role::Member), Role::of_letter);
        let (from, version) = (self.maybe_number("f")?.unwrap_or(1), self.maybe_number("v")?.unwrap_or(1));
        Ok(Row { role, from, version, line: self.line })
    }

    fn spans(self) -> Result<Vec<Span>, String> {
        const NO_SPANS: &str = "attribute `sp` is no list of spans";
        let list = self.fields.get("sp").and_then(|list| list.get("L")).and_then(Value::as_array).ok_or(NO_SPANS)?;
        let span = |span: &'a Value| {
            let fields = span.get("M").and_then(Value::as_object).map(Fields).ok_or(NO_SPANS)?;
            let item = Item { fields, line: self.line };
            Ok(Span { from: item.number("f")?, end: item.cursor("e")? })
        };
        list.iter().map(span).collect()
    }

    fn position(self) -> Result<Position, String> {
        Ok(Position { epoch: self.number("e")?, seq: self.number("s")? })
    }

    fn cursor(self, name: &str) -> Result<Position, String> {
        let number: u128 = self.number(name)?;
        let part = |part: u128| u64::try_from(part).map_err(|_| format!("attribute `{name}` is no cursor"));
        Ok(Position { epoch: part(number / EPOCH_WEIGHT)?, seq: part(number % EPOCH_WEIGHT)? })
    }
}

/// Every text in a value, and in the objects that a text is the JSON of.
fn texts(value: &Value, line: usize, found: &mut HashMap<Body, usize>) {
    match value {
        Value::String(text) => {
            found.entry(Body::of("text/plain", "text", text)).or_insert(line);
            if text.starts_with('{')
                && let Ok(said) = serde_json::from_str(text)
            {
                texts(&said, line, found);
            }
        }
        Value::Array(all) => all.iter().for_each(|value| texts(value, line, found)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, line, found)),
        _ => {}
    }
}

/// A user in a key: what is not a letter, a digit or one of `-_.@` stands there as `%` and two hexadecimal digits a byte.
fn decoded(key: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = || u8::from_str_radix(std::str::from_utf8(behind.get(..2)?).ok()?, 16).ok();
        if *first == b'%' {
            bytes.push(escaped().ok_or_else(|| format!("`{key}` is not a user as keys have them"))?);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("`{key}` is not a user as keys have them"))
}
