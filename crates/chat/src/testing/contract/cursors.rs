//! Inboxes: C1, they only move forward.

use chatlane_protocol::{ConversationId, DeviceId, Position, Prefs, PrefsChange, Seq, UnixMillis, UserId};
use futures_util::future::join_all;

use super::creation::{create, create_one};
use super::{Backend, fresh_conversation, fresh_user};
use crate::ports::{Advance, Advanced, Created, InboxRow, Member, ReadCursor, Shown};
use crate::testing::builders::{creation, device, joining, member, place, position, seq};

/// A new conversation of two new users, the first of whom sees nothing before entry 3; and the row of that one.
async fn create_row<B: Backend>(store: &B) -> (UserId, InboxRow) {
    let (conversation, alice, bob) = (fresh_conversation(), fresh_user(), fresh_user());
    let mut creation = creation(&conversation, &alice, &bob);
    let hers = Member { visible_from: seq(3), version: seq(2), ..member(&alice) };
    for one in creation.members.iter_mut().filter(|one| one.member.user == alice) {
        *one = joining(&conversation, Some(&bob), &hers);
    }
    assert_eq!(create(store, &creation).await, Created::New);
    (alice, InboxRow::new(conversation, Some(bob), &hers))
}

async fn row<B: Backend>(store: &B, user: &UserId, conversation: &ConversationId) -> Option<InboxRow> {
    store.inbox_rows(user, std::slice::from_ref(conversation)).await.unwrap().remove(0).unwrap()
}

fn read(position: Position, count: u64) -> ReadCursor {
    ReadCursor { position, count }
}

fn delivered_only(delivered: Position) -> Advance {
    Advance { delivered: Some(delivered), ..Advance::default() }
}

const fn to_both(delivered: Position, read: ReadCursor) -> Advance {
    Advance { delivered: Some(delivered), read: Some(read), dropped: vec![], shown: Shown::Follows }
}

/// This row with device 1 and the user at these places.
fn moved(row: &InboxRow, delivered: Position, read: ReadCursor) -> InboxRow {
    InboxRow { read, delivered: [(device(1), delivered)].into(), ..row.clone() }
}

/// Compared by epoch, then seq, as numbers. All else of the row stays, and the inbox shows the same row.
// holds: C1
pub async fn cursors_only_move_forward_and_answer_what_they_were<B: Backend>(store: &B) {
    let (alice, mut before) = create_row(store).await;
    let at = |epoch, number| Position::new(epoch, seq(number));
    for (to, count, after, after_count) in [
        (at(1, 5), 4, at(1, 5), 4),
        (at(1, 3), 2, at(1, 5), 4),
        (at(1, 5), 9, at(1, 5), 4),
        (at(1, 10), 9, at(1, 10), 9),
        (at(1, 9), 8, at(1, 10), 9),
        // After a restore the log is shorter and the epoch higher.
        (at(2, 4), 3, at(2, 4), 3),
        (at(1, 11), 10, at(2, 4), 3),
        (at(10, 1), 0, at(10, 1), 0),
        (at(9, 2), 1, at(10, 1), 0),
    ] {
        let advance = to_both(to, read(to, count));
        let advanced = store.advance(&alice, &before.conversation, device(1), advance).await.unwrap();
        let after = moved(&before, after, read(after, after_count));
        assert_eq!(advanced, Some(Advanced { before, after: after.clone() }), "to {to}");
        assert_eq!(row(store, &alice, &after.conversation).await.as_ref(), Some(&after), "to {to}");
        assert_eq!(store.inbox(&alice, None, 10).await.unwrap(), [place(after.clone())], "to {to}");
        before = after;
    }
}

/// What is refused to the one is not refused to the other.
// holds: C1
pub async fn each_cursor_moves_on_its_own<B: Backend>(store: &B) {
    let (alice, new) = create_row(store).await;
    let mut before = new.clone();
    for (delivered, read_to, after) in [
        (5, None, (5, None)),
        (3, None, (5, None)),
        (5, Some(4), (5, Some(4))),
        (4, Some(5), (5, Some(5))),
        (6, Some(2), (6, Some(5))),
        (6, Some(5), (6, Some(5))),
        (7, Some(7), (7, Some(7))),
        (8, None, (8, Some(7))),
    ] {
        let cursor = |number: Option<u64>| number.map(|number| read(position(number), number - 1));
        let to = Advance { delivered: Some(position(delivered)), read: cursor(read_to), dropped: vec![], shown: Shown::Follows };
        let after = moved(&new, position(after.0), cursor(after.1).unwrap_or(ReadCursor::NONE));
        let advanced = store.advance(&alice, &new.conversation, device(1), to.clone()).await.unwrap();
        assert_eq!(advanced, Some(Advanced { before, after: after.clone() }), "{to:?}");
        assert_eq!(row(store, &alice, &new.conversation).await.as_ref(), Some(&after), "{to:?}");
        before = after;
    }
}

/// A row does not grow for ever: what is named is dropped with the move, unless it has moved itself. Nothing is dropped without a move.
// holds: C1
pub async fn positions_of_other_devices_are_dropped_as_they_were_named<B: Backend>(store: &B) {
    let (alice, new) = create_row(store).await;
    let advance = async |number: u8, to: Advance| store.advance(&alice, &new.conversation, device(number), to).await.unwrap().unwrap();
    for number in 1..=4 {
        advance(number, delivered_only(position(number.into()))).await;
    }
    let dropping = |to: u64, dropped: &[(u8, u64)]| Advance {
        dropped: dropped.iter().map(|(number, at)| (device(*number), position(*at))).collect(),
        ..delivered_only(position(to))
    };
    let devices = |row: &InboxRow| row.delivered.values().map(|at| at.seq.get()).collect::<Vec<_>>();
    assert_eq!(devices(&advance(4, dropping(4, &[(1, 1)])).await.after), [1, 2, 3, 4], "nothing moves");
    let Advanced { before, after } = advance(5, dropping(5, &[(1, 1), (2, 2)])).await;
    assert_eq!((devices(&before), devices(&after)), (vec![1, 2, 3, 4], vec![3, 4, 5]));
    // Device 3 has moved since it was named.
    advance(3, delivered_only(position(9))).await;
    let after = advance(6, dropping(6, &[(3, 3)])).await.after;
    assert_eq!(devices(&after), [9, 4, 5, 6]);
    assert_eq!(row(store, &alice, &new.conversation).await, Some(after));
}

/// No position is rounded to another.
// holds: C1
pub async fn neighbours_among_the_highest_positions_are_told_apart<B: Backend>(store: &B) {
    let (alice, mut before) = create_row(store).await;
    let below = seq(Seq::MAX.get() - 1);
    let ascending =
        [(0, Seq::MAX), (1, Seq::FIRST), (u32::MAX - 1, Seq::MAX), (u32::MAX, Seq::FIRST), (u32::MAX, below), (u32::MAX, Seq::MAX)];
    for to in ascending.map(|(epoch, seq)| Position::new(epoch, seq)) {
        let after = moved(&before, to, read(to, u64::MAX));
        let advance = to_both(to, after.read);
        let advanced = store.advance(&alice, &before.conversation, device(1), advance).await.unwrap();
        assert_eq!(advanced, Some(Advanced { before, after: after.clone() }), "to {to}");
        before = after;
    }
    for (epoch, seq) in ascending {
        let to = Position::new(epoch, seq);
        let advance = to_both(to, read(to, 0));
        let advanced = store.advance(&alice, &before.conversation, device(1), advance).await.unwrap();
        assert_eq!(advanced, Some(Advanced { before: before.clone(), after: before.clone() }), "to {to}");
    }
}

/// Not of the user's other devices, not in other conversations, not of the other member.
// holds: C1
pub async fn a_device_moves_no_cursor_of_others<B: Backend>(store: &B) {
    let (alice, bob) = (fresh_user(), fresh_user());
    let conversations = [fresh_conversation(), fresh_conversation()];
    for conversation in &conversations {
        assert_eq!(create(store, &creation(conversation, &alice, &bob)).await, Created::New);
    }
    let devices: Vec<(DeviceId, Position)> = (1..=5).map(|n| (device(n), position(10 - u64::from(n)))).collect();
    for (device, to) in &devices {
        let advanced = store.advance(&alice, &conversations[0], *device, delivered_only(*to)).await.unwrap();
        assert_eq!(advanced.unwrap().after.delivered[device], *to);
    }
    let hers = InboxRow::new(conversations[0].clone(), Some(bob.clone()), &member(&alice));
    let hers = InboxRow { delivered: devices.into_iter().collect(), ..hers };
    assert_eq!(hers.delivered_furthest(), position(9));
    assert_eq!(row(store, &alice, &conversations[0]).await, Some(hers));
    for (user, conversation, with) in [(&alice, &conversations[1], &bob), (&bob, &conversations[0], &alice)] {
        let new = InboxRow::new(conversation.clone(), Some(with.clone()), &member(user));
        assert_eq!(row(store, user, conversation).await, Some(new));
    }
}

/// Whoever comes last; each is answered a row in which it has got its way.
// holds: C1
pub async fn cursors_moved_at_once_end_at_the_highest<B: Backend>(store: &B) {
    let (alice, new) = create_row(store).await;
    let all: Vec<Advance> = (1..=20).map(|n| to_both(position(n), read(position(21 - n), 20 - n))).collect();
    let answers = join_all(all.iter().map(|to| store.advance(&alice, &new.conversation, device(1), to.clone()))).await;
    for (to, answer) in all.iter().zip(answers) {
        let Advanced { before, after } = answer.unwrap().expect("there is a row");
        let read = to.read.expect("all of them name it");
        assert!(after.delivered.get(&device(1)) >= to.delivered.as_ref() && after.read.position >= read.position, "{to:?}: {after:?}");
        assert!(before.delivered.get(&device(1)) <= after.delivered.get(&device(1)), "{before:?}, {after:?}");
        assert!(before.read.position <= after.read.position, "{before:?}, {after:?}");
    }
    assert_eq!(row(store, &alice, &new.conversation).await, Some(moved(&new, position(20), read(position(20), 19))));
}

/// A late `ack` of a removed member, or of a stranger, must not put the conversation into an inbox.
// holds: C1
pub async fn a_cursor_of_no_member_is_not_moved_and_no_row_is_made<B: Backend>(store: &B) {
    let (known, unknown, stranger) = (create_one(store).await, fresh_conversation(), fresh_user());
    for conversation in [&known, &unknown] {
        for read in [None, Some(read(position(1), 0))] {
            let to = Advance { delivered: Some(position(1)), read, dropped: vec![], shown: Shown::Follows };
            assert_eq!(store.advance(&stranger, conversation, device(1), to).await.unwrap(), None);
        }
        assert_eq!(row(store, &stranger, conversation).await, None);
    }
    assert_eq!(store.inbox(&stranger, None, 10).await.unwrap(), []);
    assert_eq!(create(store, &creation(&unknown, &stranger, &fresh_user())).await, Created::New);
}

/// Not in the order of their keys; none for those where the user is no member; and nothing for nothing.
pub async fn more_than_a_hundred_rows_come_in_the_order_asked<B: Backend>(store: &B) {
    let (alice, bob) = (fresh_user(), fresh_user());
    let mut asked = vec![];
    for _ in 0..12 {
        let conversations: Vec<ConversationId> = (0..10).map(|_| fresh_conversation()).collect();
        let creations: Vec<_> = conversations.iter().map(|conversation| creation(conversation, &alice, &bob)).collect();
        let created = join_all(creations.iter().map(|creation| create(store, creation))).await;
        assert!(created.iter().all(|created| *created == Created::New));
        asked.extend(conversations);
        asked.push(create_one(store).await);
    }
    let mut expected = vec![];
    for (index, conversation) in asked.iter().enumerate() {
        let to = delivered_only(position(index as u64 + 1));
        let advanced = store.advance(&alice, conversation, device(1), to).await.unwrap();
        assert_eq!(advanced.is_some(), index % 11 != 10);
        expected.push(Ok(advanced.map(|advanced| advanced.after)));
    }
    assert_eq!(asked.len(), 132);
    assert_eq!(store.inbox_rows(&alice, &asked).await.unwrap(), expected);
    asked.reverse();
    expected.reverse();
    assert_eq!(store.inbox_rows(&alice, &asked).await.unwrap(), expected);
    assert_eq!(store.inbox_rows(&alice, &[]).await.unwrap(), []);
}

/// Each change sets what it names, and the version rises.
pub async fn preferences_are_set_field_by_field_and_make_no_row<B: Backend>(store: &B) {
    let (alice, new) = create_row(store).await;
    let lane = &new.conversation;
    let until = crate::testing::builders::start();
    let pinned = PrefsChange { pinned: Some(true), unread: Some(true), ..PrefsChange::default() };
    let muted = PrefsChange { muted_until_ms: Some(until), mentions: Some(true), archived: Some(true), ..PrefsChange::default() };
    let off = PrefsChange { muted_until_ms: Some(UnixMillis::ZERO), unread: Some(false), archived: Some(false), ..PrefsChange::default() };
    let first = Prefs { version: 1, pinned: true, unread: true, ..Prefs::default() };
    let second = Prefs { version: 2, muted_until_ms: Some(until), mentions: true, archived: true, ..first };
    let third = Prefs { version: 3, mentions: true, pinned: true, ..Prefs::default() };
    for (change, expected) in [(pinned, first), (muted, second), (off, third)] {
        assert_eq!(store.prefer(&alice, lane, change).await.unwrap(), Some(expected));
        assert_eq!(row(store, &alice, lane).await, Some(InboxRow { prefs: expected, ..new.clone() }));
    }
    let mallory = fresh_user();
    assert_eq!(store.prefer(&mallory, lane, pinned).await.unwrap(), None);
    assert_eq!(row(store, &mallory, lane).await, None);
}

/// Deliveries are repeated, and overtake each other.
pub async fn a_mention_is_noted_if_it_is_the_last_and_makes_no_row<B: Backend>(store: &B) {
    let (alice, new) = create_row(store).await;
    let lane = &new.conversation;
    for (at, noted) in [(5, 5), (5, 5), (4, 5), (10, 10)] {
        store.mention(&alice, lane, seq(at)).await.unwrap();
        assert_eq!(row(store, &alice, lane).await, Some(InboxRow { mentioned: Some(seq(noted)), ..new.clone() }));
    }
    let mallory = fresh_user();
    store.mention(&mallory, lane, seq(5)).await.unwrap();
    assert_eq!(row(store, &mallory, lane).await, None);
}

/// The first freezes it; from then on it moves by itself.
// holds: C1
pub async fn a_read_in_private_leaves_what_others_are_told<B: Backend>(store: &B) {
    let (alice, new) = create_row(store).await;
    let step = async |to: u64, shown: Shown| {
        let to = Advance { read: Some(read(position(to), to - 1)), shown, ..Advance::default() };
        let after = store.advance(&alice, &new.conversation, device(1), to).await.unwrap().unwrap().after;
        assert_eq!(row(store, &alice, &new.conversation).await, Some(after.clone()));
        (after.read.position.seq.get(), after.shown.map(|shown| shown.seq.get()))
    };
    assert_eq!(step(3, Shown::Follows).await, (3, None));
    assert_eq!(step(5, Shown::Stays(position(3))).await, (5, Some(3)));
    assert_eq!(step(7, Shown::Stays(position(5))).await, (7, Some(3)));
    assert_eq!(step(6, Shown::Stays(position(7))).await, (7, Some(3)));
    assert_eq!(step(4, Shown::To(position(4))).await, (7, Some(4)));
    assert_eq!(step(8, Shown::To(position(8))).await, (8, Some(8)));
    assert_eq!(step(8, Shown::To(position(8))).await, (8, Some(8)));
    // Where another device has read meanwhile, in the open or in private: what others were told last counts, not the row that was read.
    let (carol, new_to_carol) = create_row(store).await;
    let meanwhile = async |to: u64, shown: Shown| {
        let to = Advance { read: Some(read(position(to), to - 1)), shown, ..Advance::default() };
        let after = store.advance(&carol, &new_to_carol.conversation, device(1), to).await.unwrap().unwrap().after;
        assert_eq!(row(store, &carol, &new_to_carol.conversation).await, Some(after.clone()));
        (after.read.position.seq.get(), after.shown.map(|shown| shown.seq.get()))
    };
    assert_eq!(meanwhile(3, Shown::Follows).await, (3, None));
    assert_eq!(meanwhile(5, Shown::Stays(Position::ZERO)).await, (5, Some(3)));
    assert_eq!(meanwhile(4, Shown::Follows).await, (5, Some(4)));
    assert_eq!(meanwhile(8, Shown::Follows).await, (8, Some(8)));
    // Others read the rows of several, in the order asked.
    let [bob, mallory] = [new.with.clone().expect("a direct conversation"), fresh_user()];
    let rows = store.rows_of(&new.conversation, &[bob.clone(), mallory, alice.clone()]).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| row.told_to_others(alice.clone()).read)).collect();
    assert_eq!(told, [Some(Position::ZERO), None, Some(position(8))]);
    assert_eq!(store.rows_of(&fresh_conversation(), std::slice::from_ref(&bob)).await.unwrap(), [None]);
}
