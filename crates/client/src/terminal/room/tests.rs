use chatlane_protocol::{Content, MessageResult, RequestId, Seq, UnixMillis};

use super::*;
use crate::connection::Closed;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn conversation() -> ConversationId {
    ConversationId::new("d1").unwrap()
}

fn message_id(text: &str) -> ClientMessageId {
    ClientMessageId::new(text).unwrap()
}

fn at(seq: u64) -> Position {
    Position::new(1, Seq::try_from(seq).unwrap())
}

fn entry(sender: &str, seq: u64, kind: EntryKind) -> Entry {
    let (sender, client_message_id) = (user(sender), message_id(&format!("{sender}-{seq}")));
    Entry { position: at(seq), sender, client_message_id, time_ms: UnixMillis::ZERO, count: seq, kind }
}

fn message(sender: &str, seq: u64) -> Entry {
    entry(sender, seq, EntryKind::Message { body: Body::text(format!("text {seq}")).unwrap() })
}

fn head(with: &str, seq: u64) -> ConversationHead {
    ConversationHead { conversation: conversation(), with: Some(user(with)), head: at(seq) }
}

/// alice, who has a conversation with bob that stands at `seq`, and talks in it.
fn talking(seq: u64) -> Room {
    let mut room = Room::new(user("alice"), 30_720);
    assert_eq!(room.stands(head("bob", seq)), format!("· bob: at #{seq}"));
    assert_eq!(room.turn_to(user("bob"), message_id("open")), ["· talking to bob"]);
    assert!(!room.is_busy());
    room
}

fn arrives(room: &mut Room, entries: Vec<Entry>) -> Vec<String> {
    room.entries(Entries { conversation: conversation(), entries }, Instant::now())
}

fn answer(outcomes: Vec<Outcome>) -> SendAnswer {
    let result = |outcome| MessageResult { client_message_id: message_id("m"), outcome };
    let results = outcomes.into_iter().map(result).collect();
    SendAnswer { id: RequestId::new("1").unwrap(), conversation: conversation(), results }
}

fn stored(seq: u64) -> Stored {
    Stored { position: at(seq), time_ms: UnixMillis::ZERO, count: seq }
}

fn sent(room: &mut Room, answer: SendAnswer) -> Reaction {
    room.sent(Ok(answer), Instant::now(), 0)
}

fn failed(room: &mut Room, failure: RequestError) -> Reaction {
    room.sent(Err(failure), Instant::now(), 0)
}

fn refused(code: ErrorCode) -> SendAnswer {
    answer(vec![Outcome::Refused(Refusal::new(code, ""))])
}

fn compose(room: &mut Room) -> NewMessage {
    room.compose("hi", message_id("m")).unwrap();
    room.sending().unwrap().message.clone()
}

#[test]
fn a_message_is_anchored_at_the_highest_position_that_was_known_when_it_was_typed() {
    let mut room = talking(2);
    assert!(arrives(&mut room, vec![message("bob", 5)]).is_empty());
    assert_eq!(compose(&mut room).anchor, at(5));
    assert_eq!(sent(&mut room, answer(vec![Outcome::Ok(stored(6))])).lines, ["  ✓ #6"]);
    assert_eq!(compose(&mut room).anchor, at(6));
}

#[test]
fn a_retry_is_the_same_message_whatever_was_learnt_meanwhile() {
    let mut room = talking(2);
    let first = compose(&mut room);
    let reaction = sent(&mut room, answer(vec![Outcome::Refused(Refusal::new(ErrorCode::RateLimited, "slowly").after_ms(70))]));
    assert_eq!(reaction.lines, ["  … trying again: slowly (rate_limited)"]);
    assert_eq!(reaction.again_after, Some(Duration::from_millis(70)));
    arrives(&mut room, vec![message("bob", 3)]);
    assert_eq!(room.sending().unwrap().message, first);
    let again = sent(&mut room, refused(ErrorCode::Busy));
    assert!(again.lines.is_empty() && again.again_after.is_some());
    assert_eq!(sent(&mut room, answer(vec![Outcome::Duplicate(stored(4))])).lines, ["  ✓ #4"]);
}

#[test]
fn a_line_that_cannot_succeed_says_so_and_makes_room_for_the_next() {
    let mut room = talking(2);
    compose(&mut room);
    assert_eq!(sent(&mut room, refused(ErrorCode::NotFound)), Reaction::say("  ✗ not sent: not_found".to_owned()));
    assert!(!room.is_busy());
    compose(&mut room);
    let line = "  ✗ not sent: #2 has its id and another text".to_owned();
    assert_eq!(sent(&mut room, answer(vec![Outcome::Conflict(stored(2))])), Reaction::say(line));
}

#[test]
fn after_an_unknown_outcome_no_refusal_says_that_it_was_not_sent() {
    let mut room = talking(2);
    compose(&mut room);
    let reaction = failed(&mut room, RequestError::Unknown("lost".to_owned()));
    assert_eq!(reaction.lines, ["  … trying again: the outcome is unknown: lost"]);
    let line = "  ? not confirmed: not_found; it may have been stored".to_owned();
    assert_eq!(sent(&mut room, refused(ErrorCode::NotFound)), Reaction::say(line));
}

#[test]
fn attempts_end_after_ten() {
    let mut room = talking(2);
    compose(&mut room);
    for _ in 1..retry::ATTEMPTS_MAX {
        assert!(sent(&mut room, refused(ErrorCode::Busy)).again_after.is_some());
    }
    assert_eq!(sent(&mut room, refused(ErrorCode::Busy)), Reaction::say("  ✗ not sent: busy".to_owned()));
}

#[test]
fn an_answer_that_does_not_fit_confirms_nothing() {
    for outcomes in [vec![], vec![Outcome::NotAttempted]] {
        let mut room = talking(2);
        compose(&mut room);
        let line = "  ? not confirmed: the answer does not fit the request; it may have been stored".to_owned();
        assert_eq!(sent(&mut room, answer(outcomes)), Reaction::say(line));
    }
}

#[test]
fn ones_own_entry_that_comes_before_its_acknowledgement_is_the_acknowledgement() {
    let mut room = talking(2);
    room.compose("hi", message_id("alice-3")).unwrap();
    assert_eq!(arrives(&mut room, vec![message("alice", 3), message("alice", 3), message("bob", 4)]), ["  ✓ #3", "bob: text 4  #4"]);
    assert_eq!(sent(&mut room, answer(vec![Outcome::Ok(stored(3))])), Reaction::default());

    room.compose("hi", message_id("alice-5")).unwrap();
    assert_eq!(arrives(&mut room, vec![message("alice", 5)]), ["  ✓ #5"]);
    assert_eq!(sent(&mut room, refused(ErrorCode::NotFound)), Reaction::default());
}

#[test]
fn ones_own_entry_from_another_device_is_shown() {
    assert_eq!(arrives(&mut talking(2), vec![message("alice", 3)]), ["alice: text 3  #3"]);
}

#[test]
fn an_acknowledgement_lets_out_what_waited_for_it() {
    let mut room = talking(2);
    compose(&mut room);
    assert!(arrives(&mut room, vec![message("bob", 4)]).is_empty());
    assert_eq!(sent(&mut room, answer(vec![Outcome::Ok(stored(3))])).lines, ["  ✓ #3", "bob: text 4  #4"]);
}

#[test]
fn a_stale_anchor_is_not_refreshed_but_the_next_message_has_a_newer_one() {
    let mut room = talking(2);
    compose(&mut room);
    let refusal = Refusal { tail: Some(at(900)), ..Refusal::new(ErrorCode::AnchorStale, "") };
    assert_eq!(sent(&mut room, answer(vec![Outcome::Refused(refusal)])).lines, ["  ✗ not sent: anchor_stale"]);
    assert_eq!(compose(&mut room).anchor, at(900));
}

#[test]
fn after_a_restore_the_next_message_is_anchored_at_what_both_have() {
    let mut room = talking(9);
    compose(&mut room);
    let refusal = Refusal { common: Some(at(4)), ..Refusal::new(ErrorCode::EpochChanged, "") };
    sent(&mut room, answer(vec![Outcome::Refused(refusal)]));
    assert_eq!(compose(&mut room).anchor, at(4));
}

#[test]
fn a_line_that_is_too_long_as_encoded_is_not_sent() {
    let mut room = talking(2);
    let line = room.compose(&"\u{1}".repeat(6_000), message_id("m")).unwrap_err();
    assert!(line.starts_with("  ✗ not sent: ") && line.ends_with(" bytes as encoded, 30720 are allowed"), "{line}");
    assert!(!room.is_busy());
}

#[test]
fn a_line_to_nobody_says_how_to_turn_to_somebody() {
    let mut room = Room::new(user("carol"), 30_720);
    assert_eq!(room.compose("hi", message_id("m")), Err("· nobody to talk to yet: /with NAME".to_owned()));
}

#[test]
fn the_first_who_writes_becomes_the_one_that_is_talked_to() {
    let mut room = Room::new(user("carol"), 30_720);
    let created = entry("bob", 1, EntryKind::Created { members: vec![user("bob"), user("carol")] });
    assert_eq!(arrives(&mut room, vec![created]), ["· bob opened the conversation  #1"]);
    assert!(room.compose("hi", message_id("m")).is_err());
    assert_eq!(arrives(&mut room, vec![message("bob", 2)]), ["bob: text 2  #2", "· talking to bob"]);
    assert_eq!(compose(&mut room).anchor, at(2));
}

#[test]
fn somebody_else_who_writes_does_not_take_the_place_of_the_one_that_is_talked_to() {
    let mut room = talking(2);
    let other = ConversationId::new("d2").unwrap();
    let lines = room.entries(Entries { conversation: other, entries: vec![message("dave", 1)] }, Instant::now());
    assert_eq!(lines, ["dave: text 1  #1"]);
    compose(&mut room);
    assert_eq!(room.sending().unwrap().conversation, conversation());
}

#[test]
fn turning_to_somebody_new_opens_a_conversation_and_retries_with_the_same_id() {
    let mut room = Room::new(user("alice"), 30_720);
    assert!(room.turn_to(user("bob"), message_id("open")).is_empty());
    let busy = Err(RequestError::Refused(Refusal::new(ErrorCode::Busy, "").after_ms(30)));
    assert_eq!(room.opened(busy, 0).again_after, Some(Duration::from_millis(30)));
    let opening = room.opening().unwrap();
    assert_eq!((&opening.with, &opening.id), (&user("bob"), &message_id("open")));
    let answer = OpenAnswer { id: RequestId::new("1").unwrap(), conversation: head("bob", 1) };
    assert_eq!(room.opened(Ok(answer), 0).lines, ["· talking to bob"]);
    assert_eq!(arrives(&mut room, vec![message("bob", 1)]), ["bob: text 1  #1"]);
    assert_eq!(compose(&mut room).anchor, at(1));
}

#[test]
fn a_refused_open_says_why() {
    let mut room = Room::new(user("alice"), 30_720);
    room.turn_to(user("alice"), message_id("open"));
    let refusal = Refusal::new(ErrorCode::BadRequest, "a direct conversation is with somebody else");
    let line = "· cannot talk to alice: a direct conversation is with somebody else (bad_request)".to_owned();
    assert_eq!(room.opened(Err(RequestError::Refused(refusal)), 0), Reaction::say(line));
    assert!(!room.is_busy());
}

#[test]
fn a_closed_connection_leaves_the_line_unconfirmed() {
    let closed = || RequestError::Closed(Closed { code: 1001, reason: String::new() });
    let mut room = talking(2);
    assert_eq!(room.unconfirmed(), None);
    compose(&mut room);
    assert_eq!(failed(&mut room, closed()), Reaction::default());
    assert_eq!(room.unconfirmed(), Some("  ? not confirmed: no answer came; it may have been stored".to_owned()));

    room.turn_to(user("carol"), message_id("open"));
    assert_eq!(room.opened(Err(closed()), 0), Reaction::default());
    assert_eq!(room.unconfirmed(), None);
}

#[test]
fn an_answer_to_nothing_says_nothing() {
    let mut room = talking(2);
    assert_eq!(sent(&mut room, answer(vec![])), Reaction::default());
    assert_eq!(room.opened(Err(RequestError::Unreadable), 0), Reaction::default());
}

#[test]
fn a_gap_that_stays_open_is_named_and_left_behind() {
    let mut room = talking(2);
    assert_eq!(room.gap_since(), None);
    assert!(arrives(&mut room, vec![message("bob", 4), message("bob", 5)]).is_empty());
    let since = room.gap_since().unwrap();
    let before = since.checked_sub(Duration::from_nanos(1)).unwrap();
    assert!(room.skip_gaps(before, Instant::now()).is_empty());
    let lines = room.skip_gaps(since, Instant::now());
    assert_eq!(lines, ["· #3 did not come; going on without", "bob: text 4  #4", "bob: text 5  #5"]);
    assert_eq!(room.gap_since(), None);
}

#[test]
fn a_conversation_without_a_name_is_shown_by_its_id() {
    let mut room = Room::new(user("alice"), 30_720);
    assert_eq!(room.stands(ConversationHead { with: None, ..head("bob", 7) }), "· d1: at #7");
}

#[test]
fn a_body_without_text_is_no_line() {
    let mut room = talking(2);
    let picture = EntryKind::Message { body: Body::new("image/png", Content::Data(vec![1, 2])).unwrap() };
    assert_eq!(arrives(&mut room, vec![entry("bob", 3, picture)]), ["bob: [image/png, 2 bytes]  #3"]);
}
