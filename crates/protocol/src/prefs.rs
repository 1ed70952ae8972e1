//! What a user prefers about one conversation, on all of their devices.

use serde::{Deserialize, Serialize};

use crate::position::UnixMillis;

/// Preferences. What is not set is left out.
#[expect(clippy::struct_excessive_bools, reason = "each is one preference")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefs {
    /// Rises with every change; 0: nothing was ever set.
    #[serde(default)]
    pub version: u64,
    /// Until then nobody is to be disturbed by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until_ms: Option<UnixMillis>,
    /// Whether mentions of the user disturb them all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mentions: bool,
    /// Whether it stands above the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Whether it stands apart from the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
    /// Whether it is to look unread. The read mark stays where it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
}

/// What is to be set; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefsChange {
    /// 0: it is muted no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until_ms: Option<UnixMillis>,
    /// See [`Prefs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mentions: Option<bool>,
    /// See [`Prefs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// See [`Prefs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    /// See [`Prefs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<bool>,
}

impl PrefsChange {
    /// Whether nothing is to be set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Prefs {
    /// Behind this change.
    #[must_use]
    pub fn with(&self, change: &PrefsChange) -> Self {
        let muted = change.muted_until_ms.map_or(self.muted_until_ms, |until| Some(until).filter(|until| *until > UnixMillis::ZERO));
        let set = Self {
            version: self.version,
            muted_until_ms: muted,
            mentions: change.mentions.unwrap_or(self.mentions),
            pinned: change.pinned.unwrap_or(self.pinned),
            archived: change.archived.unwrap_or(self.archived),
            unread: change.unread.unwrap_or(self.unread),
        };
        if set == *self { set } else { Self { version: self.version + 1, ..set } }
    }
}
