//! Who may do what in a conversation, by the settings that its log has set: the permission table.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::fields::Fields;

/// What a member may do; a later one may all that an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads, and sends where the settings allow.
    Member,
    /// Removes members.
    Moderator,
    /// Manages.
    Admin,
    /// All of it.
    Owner,
}

impl Role {
    /// As entries say it.
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "member" => Some(Self::Member),
            "moderator" => Some(Self::Moderator),
            "admin" => Some(Self::Admin),
            "owner" => Some(Self::Owner),
            _ => None,
        }
    }

    /// As rows and policies say it.
    pub fn of_letter(letter: &str) -> Option<Self> {
        match letter {
            "m" => Some(Self::Member),
            "o" => Some(Self::Moderator),
            "a" => Some(Self::Admin),
            "w" => Some(Self::Owner),
            _ => None,
        }
    }
}

/// What somebody has set; where nothing is said, all stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Empty: none.
    pub title: Option<String>,
    /// Empty: none.
    pub metadata: Option<String>,
    /// The lowest role that sends.
    pub send: Option<Role>,
    /// The lowest role that adds.
    pub add: Option<Role>,
    /// The lowest role that manages.
    pub manage: Option<Role>,
    /// Whether all is left to admins and owners.
    pub locked: Option<bool>,
    /// Whether who joins sees all of the log.
    pub all: Option<bool>,
}

impl Settings {
    /// Of an entry's words. `None`: there is something in them that this program does not know.
    pub fn read(fields: Fields<'_>) -> Option<Self> {
        const KNOWN: [&str; 7] = ["title", "metadata", "send", "add", "manage", "locked", "history"];
        let known: BTreeSet<&str> = KNOWN.into();
        if fields.names().any(|name| !known.contains(name.as_str())) {
            return None;
        }
        let text = |name| fields.maybe_text(name).ok();
        let role = |name| text(name)?.map_or(Some(None), |word| Role::of_word(word).map(Some));
        let all = text("history")?.map_or(Some(None), |word| match word {
            "all" => Some(Some(true)),
            "joined" => Some(Some(false)),
            _ => None,
        });
        Some(Self {
            title: text("title")?.map(str::to_owned),
            metadata: text("metadata")?.map(str::to_owned),
            send: role("send")?,
            add: role("add")?,
            manage: role("manage")?,
            locked: fields.get("locked").map_or(Some(None), |locked| locked.as_bool().map(Some))?,
            all: all?,
        })
    }
}

/// What holds in a conversation. `add`, `manage`: `None` is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Nothing is appended any more.
    pub closed: bool,
    /// Only admins and owners do anything but leave.
    pub locked: bool,
    /// The lowest role that sends.
    pub send: Role,
    /// The lowest role that adds.
    pub add: Option<Role>,
    /// The lowest role that manages.
    pub manage: Option<Role>,
    /// Who joins sees all of the log.
    pub all: bool,
}

/// What a member does by an entry.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// Sends a message, or edits one.
    Send,
    /// Reacts to a message, or deletes an own one.
    React,
    /// Deletes somebody else's message.
    Moderate,
    /// Adds members.
    Add,
    /// Removes a member of this role.
    Remove(Role),
    /// Gives a member of the first role the second.
    Give(Role, Role),
    /// Sets something.
    Set,
    /// Closes it.
    Close,
    /// Leaves.
    Leave,
}

impl Policy {
    /// Of two users.
    pub const DIRECT: Self = Self { closed: false, locked: false, send: Role::Member, add: None, manage: None, all: false };

    /// Of a group, before anything is set.
    pub const GROUP: Self = Self { add: Some(Role::Admin), manage: Some(Role::Admin), ..Self::DIRECT };

    /// As an entry stores it. `None`: there is something in it that this program does not know.
    pub fn read(fields: Fields<'_>) -> Option<Self> {
        let role = |name: &str| fields.get(name).map_or(Some(None), |role| Role::of_letter(role.get("S")?.as_str()?).map(Some));
        let is_set = |name: &str| fields.get(name).and_then(|set| set.get("BOOL")).and_then(Value::as_bool).unwrap_or_default();
        Some(Self { closed: is_set("c"), locked: is_set("l"), send: role("s")??, add: role("a")?, manage: role("g")?, all: is_set("h") })
    }

    /// With these settings.
    pub fn set(&mut self, settings: &Settings) {
        self.send = settings.send.unwrap_or(self.send);
        self.add = settings.add.or(self.add);
        self.manage = settings.manage.or(self.manage);
        self.locked = settings.locked.unwrap_or(self.locked);
        self.all = settings.all.unwrap_or(self.all);
    }

    /// Whether a member of this role may do that.
    pub fn permits(self, role: Role, deed: Deed) -> bool {
        let reaches = |lowest: Option<Role>| lowest.is_some_and(|lowest| role >= lowest);
        let is_kept_back = !matches!(deed, Deed::Leave) && (self.closed || (self.locked && role < Role::Admin));
        !is_kept_back
            && match deed {
                Deed::Send => role >= self.send,
                Deed::React => true,
                Deed::Moderate => role >= Role::Moderator,
                Deed::Add => reaches(self.add),
                Deed::Remove(of) => role >= Role::Moderator && of < role,
                Deed::Give(from, to) => reaches(self.manage) && from < role && (to < role || role == Role::Owner && to == Role::Owner),
                Deed::Set => reaches(self.manage),
                Deed::Close => role == Role::Owner,
                Deed::Leave => self.manage.is_some(),
            }
    }
}
