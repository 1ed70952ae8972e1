//! A server that answers anything. Nothing comes of it that the phone does not forbid: what every fact asserts (see `phone`) is asserted
//! here after thousands of answers that make no sense, and the phone neither panics nor spins nor loses a message.

use std::ops::Range;

use chatlane_protocol::frames::{
    ChangeOutcome, ConversationStatus, CursorOutcome, GoawayReason, MemberCursors, Missed, RefreshAnswer, Skip, SyncAnswer, SyncOutcome,
    SyncPage,
};
use chatlane_protocol::request::Positions;
use chatlane_protocol::{
    Entry, EntryKind, ErrorCode, Message, Outcome, Prefs, PrefsChange, Reacting, ReactionChange, ReactionKey, Refusal, Request,
    ServerFrame, Token, UnixMillis,
};
use chatlane_session::{Act, Draft, Input, OpenFailure, OutboxState};
use proptest::prelude::*;

use crate::phone::*;

/// One thing that happens, in numbers that the test reads as it likes.
type Event = (u8, u64, u32, u64);

fn some_refusal(number: u64, epoch: u32) -> Refusal {
    const CODES: [ErrorCode; 11] = [
        ErrorCode::BadRequest,
        ErrorCode::Resync,
        ErrorCode::NotFound,
        ErrorCode::Forbidden,
        ErrorCode::AnchorUnknown,
        ErrorCode::AnchorStale,
        ErrorCode::AnchorTooOld,
        ErrorCode::EpochChanged,
        ErrorCode::RateLimited,
        ErrorCode::Unavailable,
        ErrorCode::Unknown,
    ];
    let tail = number.is_multiple_of(3).then_some(at_epoch(epoch, number));
    let common = (!number.is_multiple_of(4)).then_some(at_epoch(epoch, number % 12));
    Refusal { tail, common, ..refusal(CODES[usize::try_from(number % 11).unwrap()]) }
}

/// Bob's entries, some of which say what they like about others and about who is a member.
fn rude_entries(epoch: u32, seqs: Range<u64>, number: u64) -> Vec<Entry> {
    let target = at(number % 13).seq;
    let kind = |seq: u64| match (seq + number) % 9 {
        _ if seq == 1 => None,
        0 => Some(EntryKind::Removed { users: vec![user("alice")] }),
        1 => Some(EntryKind::Added { users: vec![user("alice")] }),
        2 => Some(EntryKind::Edit { target, body: Some(body("edited")) }),
        3 => Some(EntryKind::Deletion { target }),
        4 => {
            let change = if number.is_multiple_of(2) { ReactionChange::Add } else { ReactionChange::Remove };
            Some(EntryKind::Reaction(Reacting { target, key: ReactionKey::new("k").unwrap(), change }))
        }
        5 => Some(EntryKind::Message(Message { mentions: vec![user("alice")], ..body("hi").into() })),
        6 => Some(EntryKind::Left { successor: None }),
        _ => None,
    };
    seqs.map(|seq| kind(seq).map_or_else(|| entry(epoch, seq), |kind| Entry { kind, ..entry(epoch, seq) })).collect()
}

fn some_prefs(seq: u64, number: u64) -> Prefs {
    Prefs { version: number % 5, pinned: seq.is_multiple_of(2), unread: seq.is_multiple_of(3), ..Prefs::default() }
}

/// Answers the oldest request, somehow.
fn answer(phone: &mut Phone, (_, seq, epoch, number): Event) {
    let cursors = |told: Positions| if told.private { Request::Read(told) } else { Request::Ack(told) };
    let request = phone.cursors.pop_front().map(cursors).or_else(|| phone.sent.pop_front().map(|(_, request)| request));
    let Some(request) = request else { return };
    if number.is_multiple_of(3) {
        return phone.refuse(request.id(), some_refusal(seq, epoch));
    }
    let entries = rude_entries(epoch, seq..seq + number % 4, number);
    let done = number.is_multiple_of(2);
    let frame = match request {
        Request::Hello(hello) => {
            let told = if number.is_multiple_of(2) {
                group_row(at_epoch(epoch, seq))
            } else {
                row(at_epoch(epoch, seq), at_epoch(epoch, number % 9))
            };
            let mut answer = hello_answer(hello.id, vec![told], None);
            answer.gone.extend(number.is_multiple_of(7).then(d1));
            (answer.epoch, answer.conversations[0].last) = (epoch, entries.into_iter().next());
            answer.conversations[0].prefs = number.is_multiple_of(4).then(|| some_prefs(seq, number / 4));
            answer.conversations[0].mentioned = number.is_multiple_of(3).then(|| at(number % 12).seq);
            ServerFrame::Hello(Box::new(answer))
        }
        Request::Sync(sync) => {
            let skip = number.is_multiple_of(5).then_some(Skip { to: at_epoch(epoch, seq) });
            let outcome = if number.is_multiple_of(7) {
                SyncOutcome::Refused(some_refusal(seq, epoch))
            } else {
                let ended = number.is_multiple_of(11).then_some(at_epoch(epoch, number % 14));
                SyncOutcome::Ok(Missed { skip, entries, done, ended })
            };
            ServerFrame::Sync(SyncAnswer {
                id: sync.id,
                pages: vec![SyncPage { conversation: d1(), outcome }],
                done,
                acked: number.is_multiple_of(5),
            })
        }
        Request::Send(send) => {
            let outcomes = (0..send.messages.len() as u64).map(|index| match (number + index) % 5 {
                0 => Outcome::Refused(some_refusal(seq + index, epoch)),
                1 => Outcome::NotAttempted,
                2 => Outcome::Duplicate(stored_at(at_epoch(epoch, seq + index))),
                _ => Outcome::Ok(stored_at(at_epoch(epoch, seq + index))),
            });
            return phone.results(&send, outcomes);
        }
        Request::Probe(probe) => {
            return phone.probed(&probe, &[], at_epoch(epoch, seq), done);
        }
        Request::Ack(asked) | Request::Read(asked) => {
            let outcome = if done { CursorOutcome::Ok } else { CursorOutcome::Refused(some_refusal(seq, epoch)) };
            return phone.cursors_answered(&asked, [outcome]);
        }
        Request::History(history) => return phone.older(&history, entries, done),
        Request::Refresh(refresh) => {
            ServerFrame::Refresh(RefreshAnswer { id: refresh.id, expires_ms: UnixMillis::ZERO.plus_ms(number * 1_000) })
        }
        Request::Ping(ping) => {
            let cursors = |name: &&str| MemberCursors { user: user(name), delivered: at_epoch(epoch, seq), read: at(number % 9) };
            let told = &["alice", "bob", "carol"][..usize::try_from(number % 4).unwrap()];
            let cursors = told.iter().map(cursors).collect();
            let status = ConversationStatus { head: at_epoch(epoch, seq), cursors, ..status(seq, 1) };
            return phone.pong(&ping, number.is_multiple_of(5), if number.is_multiple_of(8) { vec![] } else { vec![status] });
        }
        other if change_of(&other).is_some() => {
            let outcome = match number % 4 {
                0 => ChangeOutcome::Unchanged,
                1 => ChangeOutcome::Conflict(stored_at(at_epoch(epoch, seq))),
                2 => ChangeOutcome::Duplicate(stored_at(at_epoch(epoch, seq))),
                _ => ChangeOutcome::Ok(stored_at(at_epoch(epoch, seq))),
            };
            return phone.changed(&other, outcome);
        }
        Request::Prefs(asked) => return phone.prefers(&asked, some_prefs(seq, number)),
        other => return phone.refuse(other.id(), some_refusal(seq, epoch)),
    };
    phone.receive(&frame);
}

fn happen(phone: &mut Phone, composed: &mut u32, event: Event) {
    let (what, seq, epoch, number) = event;
    let socket = phone.open_socket();
    match (what, socket) {
        (0..=8, Some(_)) => answer(phone, event),
        (9..=11, Some(_)) => {
            phone.entries_come(rude_entries(epoch, seq..seq + number % 3 + 1, number / 3));
        }
        (12, Some(_)) => phone.gateway_fails(),
        (13, Some(socket)) => phone.closed(socket),
        (14, Some(socket)) if number.is_multiple_of(9) => phone.goaway(socket, GoawayReason::Unknown, Some(number)),
        (14, _) => phone.slow_store = !phone.slow_store,
        (15..=16, _) => {
            *composed += 1;
            let target = at(seq).seq;
            match number % 4 {
                0 => phone.write(&format!("m{composed}"), Draft::Delete { target }),
                1 => phone.write(&format!("m{composed}"), Draft::Leave { successor: None }),
                _ => phone.compose(&format!("m{composed}")),
            }
        }
        (17, _) if number.is_multiple_of(2) => phone.mark_read_in_private(at_epoch(epoch, seq)),
        (17, _) => phone.mark_read(at_epoch(epoch, seq)),
        (18, _) => phone.does(Act::LoadHistory { conversation: d1(), before: number.is_multiple_of(2).then_some(at(seq).seq) }),
        (19, _) if number.is_multiple_of(3) => phone.does(Act::AskMembers { conversation: d1() }),
        (19, _) => phone.does(Act::Look { conversations: vec![d1()] }),
        (20, _) => phone.input(Input::NewToken(Token::new("t").unwrap())),
        (21, _) if number.is_multiple_of(8) => phone.restart(),
        (22, None) if number.is_multiple_of(3) && phone.is_opening() => phone.open_fails(OpenFailure::Unreachable),
        (23, Some(_)) if number.is_multiple_of(2) => phone.prefs_changed(some_prefs(seq, number / 2)),
        (23, _) => {
            let pinned = Some(number.is_multiple_of(3));
            phone.prefer(PrefsChange { pinned, unread: number.is_multiple_of(5).then_some(true), ..PrefsChange::default() });
        }
        _ => phone.pass(number * 10),
    }
    if phone.open_socket().is_none() {
        phone.sent.clear();
        phone.cursors.clear();
        phone.connect_now();
        if phone.is_opening() {
            phone.opened();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    // holds: D1
    #[test]
    fn whatever_a_rude_server_answers_the_phone_keeps_its_word(
        is_group: bool,
        events in proptest::collection::vec((0_u8..27, 1_u64..12, 1_u32..4, 0_u64..300), 1..150),
    ) {
        let mut phone = Phone::with(&if is_group { knows_group(3) } else { knows(3) });
        let mut composed = 0;
        for event in events {
            happen(&mut phone, &mut composed, event);
        }
        phone.settle_store();
        // Every message is waiting, refused, failed, or was said by the server to be stored.
        let kept = phone.store.outbox.len() + phone.stored.len() + usize::try_from(phone.unchanged).unwrap();
        prop_assert!(kept >= usize::try_from(phone.waiting_shown).unwrap(), "{kept} of {}", phone.waiting_shown);
        for row in phone.store.outbox.values() {
            prop_assert!(!matches!(&row.state, OutboxState::Failed(refusal) if refusal.retryable));
        }
    }
}
