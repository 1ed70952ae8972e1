//! What is in the tables: the items of the dump, read. The attributes are those of the README.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fields::{Fields, Malformed, objects};
use crate::words::{Body, Message, Name, Names, Position};

/// All tables.
#[derive(Debug, Default)]
pub struct Tables {
    /// The entries of each conversation, by seq; as many in one slot as the dump has.
    pub logs: BTreeMap<Name, Vec<Entry>>,
    /// The begun position of each conversation.
    pub heads: BTreeMap<Name, Head>,
    /// The members of each conversation, with the line.
    pub members: BTreeMap<(Name, Name), usize>,
    /// The settings of each conversation, with the line.
    pub metas: BTreeMap<Name, usize>,
    /// By (user, conversation).
    pub inboxes: BTreeMap<(Name, Name), Inbox>,
    /// Users with sessions: the line, and the devices.
    pub sessions: BTreeMap<Name, (usize, Vec<Name>)>,
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
    /// Where in the dump.
    pub line: usize,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The creation, with the members.
    Created(Vec<Name>),
    /// A message.
    Message(Body),
    /// Something that this program does not know.
    Other,
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
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    /// How far the user has read, and the messages up to there.
    pub read: Option<(Position, u64)>,
    /// How far each device has the entries.
    pub delivered: Vec<(Name, Position)>,
    /// Where in the dump.
    pub line: usize,
}

/// Reads a dump.
pub fn parse(text: &str, names: &mut Names) -> Result<Tables, Malformed> {
    let mut tables = Tables::default();
    objects("dump", text, |line, fields| {
        let item = Item { fields: fields.object("item")?, line };
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
                Kind::Message(Body::of(item.text("ct")?, form, content))
            }
            _ => Kind::Other,
        };
        let entry = Entry {
            position: item.position()?,
            message: Message { conversation, sender: names.name(item.text("u")?), id: names.name(item.text("i")?) },
            time: item.number("t")?,
            count: item.number("n")?,
            kind,
            line: item.line,
        };
        self.logs.entry(conversation).or_default().push(entry);
        Ok(())
    }

    fn conversation(&mut self, item: Item<'_>, names: &mut Names) -> Result<(), String> {
        let (conversation, line) = (names.name(item.text("c")?), item.line);
        match item.text("k")? {
            "meta" => {
                self.metas.insert(conversation, line);
            }
            "head" => {
                let count = item.maybe("n", "N")?.map(|_| item.number("n")).transpose()?;
                self.heads.insert(conversation, Head { position: item.position()?, count, line });
            }
            key => {
                if let Some(user) = key.strip_prefix("member#") {
                    self.members.insert((conversation, names.name(&decoded(user)?)), line);
                }
            }
        }
        Ok(())
    }

    fn inbox(&mut self, item: Item<'_>, names: &mut Names) -> Result<(), String> {
        let key = (names.name(&decoded(item.text("u")?)?), names.name(item.text("c")?));
        let mut row = Inbox { line: item.line, ..Inbox::default() };
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
        if item.text("k")? == "sessions" {
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

    fn position(self) -> Result<Position, String> {
        Ok(Position { epoch: self.number("e")?, seq: self.number("s")? })
    }

    fn cursor(self, name: &str) -> Result<Position, String> {
        let number: u128 = self.number(name)?;
        let part = |part: u128| u64::try_from(part).map_err(|_| format!("attribute `{name}` is no cursor"));
        Ok(Position { epoch: part(number / EPOCH_WEIGHT)?, seq: part(number % EPOCH_WEIGHT)? })
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
