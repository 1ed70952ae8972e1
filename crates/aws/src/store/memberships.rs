//! Who belongs where.

use chatlane_chat::ports::{Description, Failure, Member, Membership, Memberships};
use chatlane_protocol::{ConversationId, UserId};

use super::table::each;
use super::{Backend, Conversations, Part};
use crate::items::{Item, left, member, meta};

impl<L: Part, I: Part, U: Part, Q: Part, G: Part> Memberships for Backend<L, Conversations, I, U, Q, G> {
    async fn member(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Failure> {
        let item = self.conversations.0.get(member::key(conversation, user), "read a member").await?;
        item.as_ref().map(member::read).transpose()
    }

    async fn member_consistent(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Member>, Failure> {
        let table = &self.conversations.0;
        let items = table.get_in_transaction(vec![member::key(conversation, user)], "read a member in a transaction").await?;
        items.into_iter().next().flatten().as_ref().map(member::read).transpose()
    }

    async fn memberships(&self, conversation: &ConversationId, users: &[UserId]) -> Result<Vec<Membership>, Failure> {
        let keys = users.iter().flat_map(|user| [member::key(conversation, user), left::key(conversation, user)]).collect();
        let items = self.conversations.0.get_in_transaction(keys, "read memberships in a transaction").await?;
        let of = |(user, items): (&UserId, &[Option<Item>])| {
            let [member, left] = items else {
                return Err(Failure::unavailable("read memberships in a transaction", "not all were answered"));
            };
            Ok(Membership {
                user: user.clone(),
                member: member.as_ref().map(member::read).transpose()?,
                spans: left.as_ref().map(left::read).transpose()?.unwrap_or_default(),
            })
        };
        users.iter().zip(items.chunks(2)).map(of).collect()
    }

    async fn descriptions(&self, conversations: &[ConversationId]) -> Result<Vec<Option<Description>>, Failure> {
        let keys = conversations.iter().map(meta::key).collect();
        let items = self.conversations.0.get_in_transaction(keys, "read what conversations are called").await?;
        items.iter().map(|item| item.as_ref().map(meta::read).transpose()).collect()
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>, Failure> {
        let mut members = vec![];
        let query = member::query(self.conversations.0.query(), conversation);
        each(query, None, "read the members", |item| {
            members.push(member::read(item)?);
            Ok(None)
        })
        .await?;
        members.sort_by(|one, other| one.user.cmp(&other.user));
        Ok(members)
    }
}
