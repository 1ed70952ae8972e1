//! `sync`: whatever the sizes, a device that asks until it is told "done" has the whole log, once and in order; nobody gets what is not
//! theirs; and what is read depends on what is missing.

mod acks;
mod ended;
mod pages;
mod refused;

use std::collections::BTreeMap;

use chatlane_chat::Done;
use chatlane_chat::ports::{Creations as _, Failure};
use chatlane_chat::requests::sync::sync;
use chatlane_chat::testing::builders::{caller, conversation, creation, entry, position, request_id, user};
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_protocol::frames::{Missed, ServerFrame, SyncAnswer, SyncOutcome, SyncPage, encode};
use chatlane_protocol::request::{PositionIn, Sync, SyncFrom};
use chatlane_protocol::{ConversationId, Entry as WireEntry, Position, Refusal, limits};

fn from(conversation: &ConversationId, after: Position) -> SyncFrom {
    SyncFrom { conversation: conversation.clone(), after }
}

fn at(conversation: &ConversationId, number: u64) -> PositionIn {
    PositionIn::new(conversation.clone(), position(number))
}

fn ask_with_ack(stage: &Stage, who: &str, conversations: Vec<SyncFrom>, ack: Vec<PositionIn>) -> Result<SyncAnswer, Failure> {
    Ok(ask_and_tell(stage, who, conversations, ack)?.answer)
}

fn ask_and_tell(stage: &Stage, who: &str, conversations: Vec<SyncFrom>, ack: Vec<PositionIn>) -> Result<Done<SyncAnswer>, Failure> {
    let request = Sync { id: request_id("r-1"), conversations, ack };
    block_on(sync(&stage.ports, &stage.settings, &caller(who), &request))
}

/// One page for `who`. Every page fits a WebSocket frame, and the page size too, unless it is a single entry.
fn ask(stage: &Stage, who: &str, conversations: &[SyncFrom]) -> SyncAnswer {
    let answer = ask_with_ack(stage, who, conversations.to_vec(), vec![]).unwrap();
    let entries: usize = answer.pages.iter().map(|page| missed(page).map_or(0, |missed| missed.entries.len())).sum();
    let bytes = encode(&ServerFrame::Sync(answer.clone())).len();
    assert!(bytes <= if entries > 1 { limits::PAGE_BYTES_MAX } else { limits::WEBSOCKET_FRAME_BYTES_MAX }, "{bytes} bytes");
    assert!(
        answer.pages.iter().map(|page| &page.conversation).eq(conversations[..answer.pages.len()].iter().map(|from| &from.conversation))
    );
    answer
}

fn missed(page: &SyncPage) -> Option<&Missed> {
    match &page.outcome {
        SyncOutcome::Ok(missed) => Some(missed),
        SyncOutcome::Refused(_) => None,
    }
}

/// The one conversation's page, where that is all there is.
fn only(answer: &SyncAnswer) -> Missed {
    let [page] = &answer.pages[..] else { panic!("not one page: {answer:?}") };
    let missed = missed(page).unwrap_or_else(|| panic!("refused: {page:?}"));
    assert_eq!(answer.done, missed.done);
    missed.clone()
}

fn refusal(answer: &SyncAnswer) -> Refusal {
    match &answer.pages[..] {
        [SyncPage { outcome: SyncOutcome::Refused(refusal), .. }] => refusal.clone(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Asks as a device does until it is told "done": the entries of each conversation, and how many pages it took.
fn catch_up(stage: &Stage, who: &str, mut left: Vec<SyncFrom>) -> (BTreeMap<ConversationId, Vec<WireEntry>>, usize) {
    let (mut have, mut pages) = (BTreeMap::<ConversationId, Vec<WireEntry>>::new(), 0);
    loop {
        let answer = ask(stage, who, &left);
        pages += 1;
        let mut came = 0;
        for page in &answer.pages {
            let Some(missed) = missed(page) else {
                left.retain(|from| from.conversation != page.conversation);
                came += 1;
                continue;
            };
            let here = left.iter_mut().find(|from| from.conversation == page.conversation).expect("it was asked for");
            here.after = missed.skip.map_or(here.after, |skip| skip.to);
            for entry in &missed.entries {
                assert_eq!(entry.position.seq, here.after.seq.next(), "consecutive");
                here.after = entry.position;
                have.entry(page.conversation.clone()).or_default().push(entry.clone());
            }
            came += missed.entries.len() + usize::from(missed.done);
            if missed.done {
                left.retain(|from| from.conversation != page.conversation);
            }
        }
        assert!(came > 0, "a page without anything on it: {answer:?}");
        assert_eq!(answer.done, left.is_empty());
        if answer.done {
            return (have, pages);
        }
    }
}

/// One more conversation of alice, with entries up to `tail`.
fn add(stage: &Stage, name: &str, tail: u64) -> ConversationId {
    let id = conversation(name);
    assert!(block_on(stage.ports.memory.create(&creation(&id, &user("alice"), &user(&format!("with-{name}"))))).is_ok());
    (2..=tail).for_each(|number| stage.put(&entry(&id, number, "bob")));
    id
}
