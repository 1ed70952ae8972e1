//! `info` and `members`: what conversations are called and how they are set, and who belongs to one. For members only (M1): the caller's row
//! comes first (R1), and is judged again by the tail, which is read behind what is told.

use chatlane_protocol::frames::{ConversationInfo, GroupInfo, InfoAnswer, InfoOutcome, MemberInfo, MembersAnswer, encode};
use chatlane_protocol::request::{Info, Members};
use chatlane_protocol::{ConversationId, GroupSettings, Seq, limits};
use futures_util::future::join_all;

use super::caller::Caller;
use super::rows::{self, Standing};
use crate::allowance::Allowances;
use crate::done::Done;
use crate::page::Page;
use crate::ports::{Clock, Description, Failure, Inboxes, Memberships, MessageLog, last};
use crate::refusal::Refused;

/// What an answer has beside its parts: up to 262 bytes, with the longest ids.
const REST_OF_THE_ANSWER: usize = 288;

/// Answers one page of what the conversations are.
pub async fn info<P>(ports: &P, caller: &Caller, request: &Info) -> Result<Done<InfoAnswer>, Failure>
where
    P: MessageLog + Inboxes + Memberships + Clock,
{
    let standings = rows::read(ports, &caller.user, &request.conversations, &Allowances::new().settled).await?;
    let mut at_the_tail = join_all(standings.into_iter().map(|standing| at_the_tail(ports, caller, standing))).await;
    // Behind the tails: a title that is newer than the tail is set again by its entry, one that is older would stay.
    let found =
        at_the_tail.iter().zip(&request.conversations).filter(|(info, _)| info.is_ok()).map(|(_, conversation)| conversation.clone());
    let found: Vec<ConversationId> = found.collect();
    let descriptions = if found.is_empty() { vec![] } else { ports.descriptions(&found).await? };
    let described = at_the_tail.iter_mut().filter(|info| info.is_ok()).zip(descriptions).map(|(info, description)| async {
        let described = describe(ports, caller, info, description.unwrap_or_default()).await;
        described.unwrap_or_else(|refused| *info = Err(refused));
    });
    join_all(described).await;
    let mut page = Page::new(REST_OF_THE_ANSWER);
    let mut conversations = vec![];
    for (info, conversation) in at_the_tail.into_iter().zip(&request.conversations) {
        let outcome = match info {
            Ok((info, _)) => InfoOutcome::Ok(info),
            Err(refused) => {
                refused.log(&format!("nothing is told of conversation {conversation}"));
                InfoOutcome::Refused(refused.to_wire())
            }
        };
        let told = ConversationInfo { conversation: conversation.clone(), outcome };
        if !page.take(encode(&told).len() + 1) {
            break;
        }
        conversations.push(told);
    }
    Ok(Done::read(InfoAnswer { id: request.id.clone(), conversations }))
}

/// Adds title and metadata, if there are any: the row is judged once more behind them, for they may be newer than the tail.
async fn describe<P>(
    ports: &P,
    caller: &Caller,
    info: &mut Result<(GroupInfo, Standing), Refused>,
    Description { title, metadata }: Description,
) -> Result<(), Refused>
where
    P: MessageLog + Memberships + Clock,
{
    let Ok((info, standing)) = info else { return Ok(()) };
    if !title.as_str().is_empty() || !metadata.as_str().is_empty() {
        let tail = last(ports, &standing.row.conversation).await?;
        standing.holds_behind(ports, &caller.user, tail.as_ref(), Seq::ZERO).await?;
    }
    info.settings.title = Some(title).filter(|title| !title.as_str().is_empty());
    info.settings.metadata = Some(metadata).filter(|metadata| !metadata.as_str().is_empty());
    Ok(())
}

/// All but title and metadata, and the row by which it was told.
async fn at_the_tail<P>(ports: &P, caller: &Caller, standing: Result<Standing, Refused>) -> Result<(GroupInfo, Standing), Refused>
where
    P: MessageLog + Memberships + Clock,
{
    let standing = standing?;
    let tail = last(ports, &standing.row.conversation).await?;
    let again = standing.holds_behind(ports, &caller.user, tail.as_ref(), Seq::ZERO).await?;
    let role = again.map_or(standing.row.role, |member| member.role);
    let tail = tail.ok_or_else(|| Failure::unavailable("read the tail", "the creation is seen half"))?;
    let (at, facts) = (tail.position.seq, tail.facts);
    let info = GroupInfo {
        at,
        settings: GroupSettings { title: None, metadata: None, ..facts.policy.settings() },
        closed: facts.policy.closed,
        members: facts.members,
        role,
        membership_changed: facts.membership_changed,
        settings_changed: facts.settings_changed,
    };
    Ok((info, standing))
}

/// Answers one page of the members.
pub async fn members<P>(ports: &P, caller: &Caller, request: &Members) -> Result<Done<MembersAnswer>, Refused>
where
    P: MessageLog + Inboxes + Memberships + Clock,
{
    let conversation = &request.conversation;
    let standing = rows::read_one(ports, &caller.user, conversation).await?;
    // All of them: they are 200 at most, and one query.
    let all = ports.members(conversation).await?;
    standing.holds_behind(ports, &caller.user, last(ports, conversation).await?.as_ref(), Seq::ZERO).await?;
    let limit = request.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(limits::MEMBERS_PAGE_MAX);
    let mut page = Page::new(REST_OF_THE_ANSWER + limits::USER_ID_BYTES_MAX * 6);
    let mut answer = MembersAnswer { id: request.id.clone(), conversation: conversation.clone(), members: vec![], next: None };
    for member in all.into_iter().filter(|member| request.after.as_ref().is_none_or(|after| member.user > *after)) {
        let told = MemberInfo { user: member.user, role: member.role };
        if answer.members.len() == limit || !page.take(encode(&told).len() + 1) {
            answer.next = answer.members.last().map(|last| last.user.clone());
            break;
        }
        answer.members.push(told);
    }
    Ok(Done::read(answer))
}
