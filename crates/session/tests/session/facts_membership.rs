//! Whether the user is a member of a group, and what becomes of one that has ended for them.

use chatlane_protocol::request::Sync;
use chatlane_protocol::{Entry, EntryKind, ErrorCode, Outcome, Position, Seq};
use chatlane_session::{Act, ConversationRow, Failure, OutgoingState, Shown};

use crate::phone::*;

fn in_group(seq: u64) -> Phone {
    Phone::live(&knows_group(seq), [])
}

/// alice, a member up to entry 2, was removed at 3.
fn out_of_group() -> Phone {
    let mut phone = in_group(2);
    phone.entries_come(vec![removed(3, "alice")]);
    phone
}

#[test]
fn who_is_removed_or_has_left_is_shown_that_and_keeps_the_entries() {
    let left = Entry { sender: user("alice"), ..entry_of(3, EntryKind::Left { successor: None }) };
    for last in [removed(3, "alice"), left] {
        let mut phone = in_group(2);
        phone.entries_come(vec![last]);
        let shown: Vec<_> = phone.shown.iter().filter(|shown| matches!(shown, Shown::Entry { .. } | Shown::Membership { .. })).collect();
        assert!(matches!(shown[..], [Shown::Entry { .. }, Shown::Membership { member: false, .. }]), "{shown:?}");
        assert!(phone.row().ended && phone.store.rows[&d1()].ended && phone.row().member_at == at(3));
        assert_eq!(phone.store.entries.len(), 3);
    }
    let mut phone = in_group(2);
    phone.entries_come(vec![removed(3, "carol"), Entry { sender: user("bob"), ..entry_of(4, EntryKind::Left { successor: None }) }]);
    assert!(!phone.row().ended && phone.memberships_shown().is_empty(), "that was somebody else");
}

#[test]
fn of_a_group_that_has_ended_nothing_is_asked_and_nothing_told() {
    let mut phone = in_group(2);
    phone.entries_come(vec![entry(1, 3), removed(4, "alice")]);
    phone.mark_read(at(4));
    phone.does(Act::Look { conversations: vec![d2()] });
    assert_eq!(phone.ping().open, [d2()]);
    phone.shown.clear();
    phone.does(Act::LoadHistory { conversation: d1(), before: Some(at(2).seq) });
    phone.does(Act::AskMembers { conversation: d1() });
    phone.does(Act::AskInfo { conversations: vec![d1()] });
    assert!(matches!(&phone.shown[0], Shown::Failed(Failure::History { .. })));
    assert!(phone.shown[1..].iter().all(|shown| matches!(shown, Shown::Failed(Failure::Group { .. }))) && phone.shown.len() == 3);
    phone.pass(5_000);
    assert!(phone.sent.is_empty() && phone.cursors.is_empty(), "{:?} {:?}", phone.sent, phone.cursors);
    phone.breaks();
    assert_eq!(phone.hello().known, [], "it would be gone again each time");
}

/// The entry that says so was lost, and nobody has written since.
#[test]
fn who_is_added_again_unseen_learns_it_by_ping_while_they_look() {
    let mut phone = in_group(2);
    phone.entries_come(vec![entry(1, 3), removed(4, "alice")]);
    phone.sent.clear();
    phone.does(Act::Look { conversations: vec![d1()] });
    let ping = phone.ping();
    assert_eq!(ping.open, [d1()]);
    // They are no member still: it is left out, and that is nothing new.
    phone.pong(&ping, false, vec![]);
    assert!(phone.sent.is_empty(), "{:?}", phone.sent);
    phone.does(Act::Look { conversations: vec![d1()] });
    let ping = phone.ping();
    phone.pong(&ping, false, vec![status(6, 4)]);
    assert_eq!(phone.sync().conversations.iter().map(|from| &from.conversation).collect::<Vec<_>>(), [&d1()]);
}

#[test]
fn what_was_asked_when_the_group_ended_is_answered_here() {
    let mut phone = in_group(2);
    phone.does(Act::AskMembers { conversation: d1() });
    phone.does(Act::LoadHistory { conversation: d1(), before: Some(at(2).seq) });
    phone.shown.clear();
    phone.entries_come(vec![removed(3, "alice")]);
    let failed = |shown: &&Shown| matches!(shown, Shown::Failed(_));
    assert_eq!(phone.shown.iter().filter(failed).count(), 2);
    phone.sent.clear();
    phone.reconnects([]);
    assert!(phone.sent.is_empty());
}

#[test]
fn what_waits_when_the_group_ends_is_looked_for_and_fails_if_it_is_not_there() {
    let mut phone = in_group(2);
    phone.compose("a");
    let _lost = phone.send();
    phone.compose("b");
    phone.entries_come(vec![removed(4, "alice")]);
    phone.closed(phone.socket());
    phone.pass(500);
    phone.opened();
    phone.welcome([]);
    let asked: Vec<_> = (0..2).map(|_| phone.next()).collect();
    let probe =
        asked.iter().find_map(|asked| if let chatlane_protocol::Request::Probe(probe) = asked { Some(probe.clone()) } else { None });
    let probe = probe.expect("a probe");
    assert_eq!((probe.anchor, probe.ids.len()), (at(2), 2));
    phone.outgoing_shown();
    phone.probed(&probe, &[("a", 3)], at(4), true);
    let shown = phone.outgoing_shown();
    assert_eq!(shown[0], ("a".to_owned(), OutgoingState::Stored(stored(3))));
    assert!(matches!(&shown[1..], [(id, OutgoingState::Failed(_))] if id == "b"), "{shown:?}");
}

#[test]
fn what_is_written_into_a_group_that_has_ended_is_kept_as_failed_and_never_sent() {
    let mut phone = out_of_group();
    phone.compose("m");
    assert_eq!(phone.failure_shown(), Some(ErrorCode::NotFound));
    assert!(phone.sent.is_empty() && phone.store.outbox.len() == 1);
    phone.does(Act::Discard { conversation: d1(), client_message_id: message_id("m") });
    assert!(phone.store.outbox.is_empty());
}

#[test]
fn that_a_group_is_gone_in_hello_is_only_a_reason_to_ask() {
    let mut phone = Phone::with(&knows_group(2));
    phone.connect_now();
    phone.opened();
    phone.welcome_without(vec![d1()]);
    let sync = phone.sync();
    assert!(!phone.row().ended);
    phone.page(&sync, vec![], true);
    assert!(!phone.row().ended && phone.sent.is_empty(), "still a member");
    phone.reconnects_without(vec![d1()]);
    let sync = phone.sync();
    phone.ends(&sync, vec![entry(1, 3), removed(4, "alice")], at(4));
    assert_eq!(phone.entries_shown(), [3, 4]);
    assert!(phone.row().ended && phone.row().member_at == at(4));
}

#[test]
fn a_group_that_ping_does_not_answer_is_asked_for() {
    let mut phone = in_group(2);
    let ping = phone.look();
    phone.pong(&ping, false, vec![status(2, 1)]);
    assert!(phone.sent.is_empty());
    let ping = phone.look();
    phone.pong(&ping, false, vec![]);
    assert!(!phone.row().ended);
    let sync = phone.sync();
    phone.ends(&sync, vec![removed(3, "alice")], at(3));
    assert!(phone.row().ended);
}

#[test]
fn that_something_of_a_group_is_not_found_is_a_reason_to_ask() {
    let mut phone = in_group(2);
    phone.does(Act::AskMembers { conversation: d1() });
    let id = phone.next().id().clone();
    phone.refuse(&id, refusal(ErrorCode::NotFound));
    let sync = phone.sync();
    phone.ends(&sync, vec![], at(2));
    assert!(phone.row().ended);

    let mut phone = in_group(2);
    let send = phone.attempt("m");
    phone.results(&send, [Outcome::Refused(refusal(ErrorCode::NotFound))]);
    let probe = phone.probe();
    phone.refuse(&probe.id, refusal(ErrorCode::NotFound));
    let sync = phone.sync();
    phone.refuse_page(&sync, refusal(ErrorCode::NotFound));
    assert!(!phone.row().ended && phone.sent.is_empty(), "not asked again and again");
}

/// As `shared/models/rejoin.py` has it: whatever comes last is not what counts.
#[test]
fn the_highest_position_that_says_anything_is_believed_in_whichever_order_it_is_said() {
    let said = |what: u64| match what {
        2 | 4 => removed(what, "alice"),
        _ => added(what, "alice"),
    };
    let orders = [[2, 3, 4], [2, 4, 3], [3, 2, 4], [3, 4, 2], [4, 2, 3], [4, 3, 2]];
    for order in orders {
        for last in 2..=4 {
            for statement_at in 0..=order.len() {
                let mut phone = in_group(1);
                for (index, what) in order.into_iter().filter(|what| *what <= last).enumerate() {
                    if index == statement_at {
                        an_old_page_comes(&mut phone);
                    }
                    phone.entries_come(vec![said(what)]);
                    phone.entries_come(vec![said(what)]);
                }
                assert_eq!(phone.row().ended, last != 3, "{order:?} up to {last}");
                assert_eq!(phone.row().member_at, at(last));
            }
        }
    }
}

/// A page of `sync` that was read when the log ended with the removal at 2.
fn an_old_page_comes(phone: &mut Phone) {
    phone.pass(1_000);
    while let Some((_, request)) = phone.sent.pop_front() {
        if let chatlane_protocol::Request::Sync(sync) = request {
            let after = sync.conversations[0].after;
            phone.ends(&sync, if after < at(2) { vec![removed(2, "alice")] } else { vec![] }, at(2));
        }
    }
}

fn page_of_a_member(phone: &mut Phone, sync: &Sync) {
    phone.skips(sync, 6, vec![added(7, "alice"), entry(1, 8)], true);
}

#[test]
fn who_is_added_again_goes_on_behind_what_is_skipped() {
    let mut phone = out_of_group();
    phone.shown.clear();
    phone.entries_come(vec![added(7, "alice")]);
    assert!(!phone.row().ended);
    assert_eq!(phone.memberships_shown(), [true]);
    phone.pass(1_000);
    let sync = phone.sync();
    assert_eq!(sync.conversations[0].after, at(3));
    page_of_a_member(&mut phone, &sync);
    assert_eq!((phone.row().from, phone.row().have, phone.entries_shown()), (at(6), at(8), vec![7, 8]));
    assert_eq!(phone.attempt("m").messages[0].anchor, at(8));
}

#[test]
fn a_row_of_hello_for_a_group_that_has_ended_is_a_reason_to_ask() {
    let store = out_of_group().store;
    let mut phone = Phone::live(&store, [group_row(at(3))]);
    let sync = phone.sync();
    assert!(phone.row().ended, "the row may be from before the end");
    phone.ends(&sync, vec![], at(3));
    assert!(phone.row().ended && phone.sent.is_empty());
    phone.reconnects([group_row(at(8))]);
    let sync = phone.sync();
    page_of_a_member(&mut phone, &sync);
    assert!(!phone.row().ended);
}

#[test]
fn an_end_that_a_restore_took_back_is_asked_for_anew() {
    let mut phone = Phone::live(&out_of_group().store, [group_row(at(3))]);
    let sync = phone.sync();
    phone.refuse_page(&sync, restored_to(at(2)));
    assert!(phone.row().ended && phone.row().member_at == Position::ZERO);
    phone.pass(1_000);
    let sync = phone.sync();
    phone.page(&sync, vec![], true);
    assert!(!phone.row().ended, "at its end the page says that the user is a member");
}

#[test]
fn an_entry_of_before_a_restore_ends_nothing() {
    let mut store = knows_group(2);
    store.rows.get_mut(&d1()).unwrap().have.epoch = 2;
    let mut phone = Phone::live(&store, []);
    phone.entries_come(vec![removed(9, "alice")]);
    assert!(!phone.row().ended);
}

#[test]
fn what_is_told_of_a_group_is_kept() {
    let mut phone = Phone::new();
    phone.go_live([group_row(at(2))]);
    let ConversationRow { role, group, told, .. } = phone.row();
    assert_eq!((*role, *group, *told), (group_row(at(2)).role, group_row(at(2)).group, true));
    assert_eq!(phone.store.rows[&d1()].group, group_row(at(2)).group);
    let sync = phone.sync();
    let role = entry_of(4, EntryKind::Role { user: user("alice"), role: chatlane_protocol::Role::Moderator });
    phone.page(&sync, vec![entry_of(1, group_created("Tea")), added(2, "dave"), added(3, "erin"), role], true);
    let ConversationRow { role, group, title, titled, .. } = phone.row();
    assert_eq!(*role, Some(chatlane_protocol::Role::Moderator));
    let group = group.unwrap();
    assert_eq!((group.members, group.membership_changed), (4, at(4).seq), "the row had told of the second entry");
    assert_eq!((title.as_ref().map(chatlane_protocol::Title::as_str), *titled), (Some("Tea"), Seq::FIRST));
}
