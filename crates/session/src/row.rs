//! What a device keeps: the rows of the local store.

use chatlane_protocol::frames::MemberCursors;
use chatlane_protocol::{
    Body, ClientMessageId, ConversationId, GroupMarks, GroupSettings, Position, Prefs, PrefsChange, Refusal, Role, Seq, Title, UserId,
};

use super::Draft;

/// One conversation on the device.
#[expect(clippy::struct_excessive_bools, reason = "each is one fact")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    /// Which.
    pub conversation: ConversationId,
    /// The other user of a direct conversation. Absent: there is none, or it is not known (`told`).
    pub with: Option<UserId>,
    /// Whether `with` is as the server has told it. Not yet, where only entries have come; not any more, where it has said `not_found`.
    pub told: bool,
    /// Entries after this one are on the device, up to `have`; [`Position::ZERO`]: from the first. Only its seq means anything.
    pub from: Position,
    /// The last entry of that run.
    pub have: Position,
    /// Countable messages up to `have`.
    pub have_count: u64,
    /// The highest position that the device knows to exist; at least `have`.
    pub head: Position,
    /// Countable messages up to `head`, as far as they are known.
    pub head_count: u64,
    /// How far the server knows that this device has entries.
    pub acked: Position,
    /// How far the user has read, on any device.
    pub read: Position,
    /// Countable messages up to `read`.
    pub read_count: u64,
    /// Whether `read` has yet to be sent to the server.
    pub read_pending: bool,
    /// Whether the user has read up to there in private: the server is not to tell the other members.
    pub read_private: bool,
    /// The last message of another member that mentions the user, as far as it is known; [`Seq::ZERO`]: none.
    pub mentioned: Seq,
    /// What the user prefers, as the server told it last; version 0: nothing was ever set.
    pub prefs: Prefs,
    /// What the user wishes to be otherwise, and the server has not confirmed.
    pub wished: PrefsChange,
    /// How far the other members are.
    pub others: Vec<MemberCursors>,
    /// The highest seq by which an entry of the run was changed, or changes another: a restore to before it may have taken that back.
    pub amended: Seq,
    /// The user's role in a group, as far as it is known.
    pub role: Option<Role>,
    /// What a group is: its members, its last changes, as far as they are known.
    pub group: Option<GroupMarks>,
    /// The name of a group (empty: it has none), as far as it is known.
    pub title: Option<Title>,
    /// The entry up to which the name is known to hold.
    pub titled: Seq,
    /// The highest position that says whether the user is a member; [`Position::ZERO`]: none has said it.
    pub member_at: Position,
    /// Whether it says that they are not: the conversation has ended for them there.
    pub ended: bool,
}

impl ConversationRow {
    /// A conversation of which the device has nothing.
    pub fn empty(conversation: ConversationId) -> Self {
        Self {
            conversation,
            with: None,
            told: false,
            from: Position::ZERO,
            have: Position::ZERO,
            have_count: 0,
            head: Position::ZERO,
            head_count: 0,
            acked: Position::ZERO,
            read: Position::ZERO,
            read_count: 0,
            read_pending: false,
            read_private: false,
            mentioned: Seq::ZERO,
            prefs: Prefs::default(),
            wished: PrefsChange::default(),
            others: vec![],
            amended: Seq::ZERO,
            role: None,
            group: None,
            title: None,
            titled: Seq::ZERO,
            member_at: Position::ZERO,
            ended: false,
        }
    }

    /// Whether no entry is on the device: nothing was fetched behind the place where the conversation goes on.
    pub fn is_empty(&self) -> bool {
        self.from.seq == self.have.seq // of `from` only the seq means anything
    }

    /// Messages that the user has not read, as far as the device knows.
    pub const fn unread(&self) -> u64 {
        self.head_count.saturating_sub(self.read_count)
    }

    /// Whether a message that the user has not read mentions them.
    pub fn is_mentioned(&self) -> bool {
        self.mentioned > self.read.seq
    }

    /// What the user prefers: what the server told, with what they have wished since.
    pub fn preferred(&self) -> Prefs {
        Prefs { version: self.prefs.version, ..self.prefs.with(&self.wished) }
    }

    /// The other members who have read up to here, as far as they let others know. Of a group with more than 20 members nobody is told.
    pub fn read_by(&self, position: Position) -> impl Iterator<Item = &UserId> {
        self.others.iter().filter(move |other| other.read >= position).map(|other| &other.user)
    }

    /// The other members of whom a device has the entries up to here.
    pub fn delivered_to(&self, position: Position) -> impl Iterator<Item = &UserId> {
        self.others.iter().filter(move |other| other.delivered >= position).map(|other| &other.user)
    }
}

/// One thing that the user wrote, a message or a change, and that is not known to be in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Where it goes.
    pub conversation: ConversationId,
    /// Orders the rows of the device; rises with each.
    pub order: u64,
    /// Its name, made once (L2).
    pub client_message_id: ClientMessageId,
    /// The highest position that the device knew when the message was made; moves only over entries that were looked through for it.
    pub anchor: Position,
    /// What it says.
    pub draft: Draft,
    /// Its state.
    pub state: OutboxState,
}

/// A message to somebody with whom the device knows no conversation: it is sent when there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// To whom.
    pub user: UserId,
    /// As that of [`OutboxRow`].
    pub order: u64,
    /// Its name, made once (L2).
    pub client_message_id: ClientMessageId,
    /// The name of the request that opens the conversation.
    pub opening: ClientMessageId,
    /// What it says.
    pub body: Body,
}

/// A group that the user makes. It has no conversation before the server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGroup {
    /// As that of [`OutboxRow`].
    pub order: u64,
    /// Its name, made once (L2): it names entry 1 and, with the user, the group.
    pub client_message_id: ClientMessageId,
    /// The members beside the user: at most 39, none twice.
    pub users: Vec<UserId>,
    /// Those that are to differ from a new group's.
    pub settings: GroupSettings,
}

/// The state of a row of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxState {
    /// To be sent, or sent with an unknown outcome.
    Waiting,
    /// Refused for good; an earlier attempt may be in the log, so it counts as failed when a sync or probe has passed.
    Refused(Refusal),
    /// Refused for good, and not in the log.
    Failed(Refusal),
}

/// What the local store held when the session began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// All conversations.
    pub conversations: Vec<ConversationRow>,
    /// All rows of the outbox, by `order`.
    pub outbox: Vec<OutboxRow>,
    /// Messages without a conversation, by `order`.
    pub held: Vec<HeldRow>,
    /// Groups that are not made yet, by `order`.
    pub groups: Vec<NewGroup>,
}
