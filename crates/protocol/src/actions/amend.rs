//! `edit`, `delete` and `react`: what changes a message that is in the log. They are answered as a change of a group is.

use serde::{Deserialize, Serialize};

use super::manage::change;
use crate::body::Body;
use crate::ids::{ClientMessageId, ConversationId, RequestId};
use crate::position::{Position, Seq};
use crate::reaction::{ReactionChange, ReactionKey};
use crate::reading::{Bounded, object};

change!(
    /// `edit`: an own message says something else.
    Edit {
        /// Which.
        target: Seq,
        /// What.
        #[serde(deserialize_with = "object")]
        body: Body,
    }
);

impl Bounded for Edit {}

change!(
    /// `delete`: a message is there no more, for anybody.
    Delete {
        /// Which.
        target: Seq,
    }
);

impl Bounded for Delete {}

change!(
    /// `react`: something comes beside a message, or goes.
    React {
        /// Which.
        target: Seq,
        /// What.
        key: ReactionKey,
        /// Whether it comes or goes.
        change: ReactionChange,
    }
);

impl Bounded for React {}
