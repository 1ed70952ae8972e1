//! `prefs`: what the user prefers about one conversation.

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, RequestId};
use crate::prefs::{Prefs, PrefsChange};
use crate::reading::{Bounded, object};

/// `prefs`: sets some of them. Idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPrefs {
    /// Echoed.
    pub id: RequestId,
    /// Which.
    pub conversation: ConversationId,
    /// At least one.
    #[serde(deserialize_with = "object")]
    pub prefs: PrefsChange,
}

impl Bounded for SetPrefs {
    fn out_of_bounds(&self) -> Option<&'static str> {
        self.prefs.is_empty().then_some("`prefs` must set something")
    }
}

/// The answer to `prefs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefsAnswer {
    /// Of the request.
    pub id: RequestId,
    /// Of the request.
    pub conversation: ConversationId,
    /// All of them, as they are now.
    pub prefs: Prefs,
}
