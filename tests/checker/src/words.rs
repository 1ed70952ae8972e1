//! The words of both inputs: names, positions, bodies.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

/// A text that names something: a conversation, a user, a device, a message. Two are equal if and only if their texts are; they are
/// ordered as they were met first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(usize);

impl Name {
    /// The one that was met first.
    pub const FIRST: Self = Self(0);
}

/// All names that were met.
#[derive(Debug, Default)]
pub struct Names {
    known: HashMap<Rc<str>, Name>,
    texts: Vec<Rc<str>>,
}

impl Names {
    /// The name with this text.
    pub fn name(&mut self, text: &str) -> Name {
        if let Some(name) = self.known.get(text) {
            return *name;
        }
        let (name, text) = (Name(self.texts.len()), Rc::<str>::from(text));
        self.texts.push(Rc::clone(&text));
        self.known.insert(text, name);
        name
    }

    /// The name of a device: of a UUID with or without hyphens, in upper or lower case, always the same one.
    pub fn device(&mut self, text: &str) -> Name {
        let bare = text.replace('-', "").to_lowercase();
        let is_uuid = bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.name(if is_uuid { &bare } else { text })
    }

    /// The text of a name.
    pub fn text(&self, name: Name) -> &str {
        &self.texts[name.0]
    }
}

/// A place in a log; ordered by epoch, then seq.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Raised by every restore.
    pub epoch: u64,
    /// From 1; 0 stands for "before the first".
    pub seq: u64,
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Self = Self { epoch: 0, seq: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

/// What a message says, as far as it matters here: whether two say the same. FNV-1a, 64 bits, of the content type, a line feed, `text` or
/// `data`, a line feed, and the text or the base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Body(pub u64);

impl Body {
    /// Of a body's parts; `form` is `text` or `data`.
    pub fn of(content_type: &str, form: &str, content: &str) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let bytes = [content_type, "\n", form, "\n", content].into_iter().flat_map(str::bytes);
        Self(bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)))
    }
}

/// One message of one sender in one conversation (L2: at most one entry, for ever).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    /// Where.
    pub conversation: Name,
    /// Whose.
    pub sender: Name,
    /// The sender's name for it.
    pub id: Name,
}
