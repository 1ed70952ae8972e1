//! A change of a group is one step: its entry and all its rows, or nothing.

use chatlane_protocol::{ConversationId, UserId};
use futures_util::future::join_all;

use super::creation::inbox;
use super::{ALL, Backend, create, fresh_conversation, fresh_user};
use crate::log::{ChangeEntry, Entry, Kind, Role};
use crate::ports::{Advance, Change, Created, Joining, Member, Membership, Put, ReadCursor, RowChange, Shown, Span};
use crate::testing::builders::{creation, description, device, entry, joining, member, position, seq};

/// Tries again while other transactions are in the way.
async fn change<B: Backend>(store: &B, change: &Change) -> Put {
    for _ in 0..100 {
        match store.change(change).await.unwrap() {
            Put::Contended => {}
            done => return done,
        }
    }
    panic!("contended a hundred times");
}

/// A conversation of two, and a third user. (Which changes a conversation takes is not the backend's to say.)
async fn scene<B: Backend>(store: &B) -> (ConversationId, [UserId; 3]) {
    let (conversation, users) = (fresh_conversation(), [fresh_user(), fresh_user(), fresh_user()]);
    assert_eq!(create(store, &creation(&conversation, &users[0], &users[1])).await, Created::New);
    (conversation, users)
}

/// Entry `number` of the first user, with these rows.
fn change_of(conversation: &ConversationId, sender: &UserId, number: u64, kind: ChangeEntry, rows: Vec<RowChange>) -> Change {
    let entry = Entry { sender: sender.clone(), kind: Kind::Change(kind), ..entry(conversation, number, "x") };
    Change { entry, rows, description: None }
}

/// The rows of somebody who joins by entry `number`, and has read up to it.
fn joins(conversation: &ConversationId, user: &UserId, number: u64) -> Joining {
    let member = Member { visible_from: seq(number), version: seq(number), ..member(user) };
    let mut joins = joining(conversation, None, &member);
    joins.row.read = ReadCursor { position: position(number), count: 7 };
    joins
}

fn join(conversation: &ConversationId, sender: &UserId, number: u64, joining: &Joining) -> Change {
    let added = ChangeEntry::Added(vec![joining.member.user.clone()]);
    change_of(conversation, sender, number, added, vec![RowChange::Join(joining.clone())])
}

fn leave(conversation: &ConversationId, sender: &UserId, number: u64, member: &Member, spans: &[Span]) -> Change {
    let rows = vec![RowChange::Leave { member: member.clone(), spans: spans.to_vec() }];
    change_of(conversation, sender, number, ChangeEntry::Removed(vec![member.user.clone()]), rows)
}

async fn membership<B: Backend>(store: &B, conversation: &ConversationId, user: &UserId) -> Membership {
    store.memberships(conversation, std::slice::from_ref(user)).await.unwrap().remove(0)
}

/// Joining makes both rows; leaving takes them away and leaves the spans; joining again leaves the spans where they are.
pub async fn a_member_comes_goes_and_comes_again<B: Backend>(store: &B) {
    let (conversation, [alice, bob, carol]) = scene(store).await;
    let first = joins(&conversation, &carol, 2);
    assert_eq!(change(store, &join(&conversation, &alice, 2, &first)).await, Put::Stored);
    assert_eq!(store.member(&conversation, &carol).await.unwrap().as_ref(), Some(&first.member));
    assert_eq!(inbox(store, &carol).await, [first.row]);
    assert_eq!(store.members(&conversation).await.unwrap().len(), 3);

    let spans = [Span { from: seq(2), end: position(3) }];
    let left = leave(&conversation, &alice, 3, &first.member, &spans);
    assert_eq!(change(store, &left).await, Put::Stored);
    assert_eq!(store.member(&conversation, &carol).await.unwrap(), None);
    assert_eq!(inbox(store, &carol).await, []);
    let gone = Membership { user: carol.clone(), member: None, spans: spans.to_vec() };
    assert_eq!(membership(store, &conversation, &carol).await, gone);
    assert_eq!(store.read(&conversation, seq(3), ALL).await.unwrap(), [left.entry]);

    let second = joins(&conversation, &carol, 4);
    assert_eq!(change(store, &join(&conversation, &alice, 4, &second)).await, Put::Stored);
    assert_eq!(membership(store, &conversation, &carol).await, Membership { member: Some(second.member.clone()), ..gone });
    let spans = [spans[0], Span { from: seq(4), end: position(5) }];
    assert_eq!(change(store, &leave(&conversation, &alice, 5, &second.member, &spans)).await, Put::Stored);
    assert_eq!(membership(store, &conversation, &carol).await.spans, spans);
    let others = store.memberships(&conversation, &[bob.clone(), alice.clone()]).await.unwrap();
    let as_member = |user: &UserId| Membership { user: user.clone(), member: Some(member(user)), spans: vec![] };
    assert_eq!(others, [as_member(&bob), as_member(&alice)]);
}

/// Role and version, in both rows; the cursors stay where they are.
pub async fn a_role_changes_in_both_rows_and_leaves_the_cursors<B: Backend>(store: &B) {
    let (conversation, [alice, bob, _]) = scene(store).await;
    let to = Advance {
        delivered: Some(position(1)),
        read: Some(ReadCursor { position: position(1), count: 0 }),
        dropped: vec![],
        shown: Shown::Follows,
    };
    let before = store.advance(&bob, &conversation, device(1), to).await.unwrap().unwrap().after;
    let promoted = Member { role: Role::Admin, version: seq(2), ..member(&bob) };
    let rows = vec![RowChange::Role { member: promoted.clone(), was: seq(1) }];
    let role = ChangeEntry::Role { user: bob.clone(), role: Role::Admin };
    let entry_2 = change_of(&conversation, &alice, 2, role, rows);
    assert_eq!(change(store, &entry_2).await, Put::Stored);
    assert_eq!(store.member(&conversation, &bob).await.unwrap(), Some(promoted.clone()));
    let mut after = before;
    (after.role, after.version) = (Role::Admin, seq(2));
    assert_eq!(inbox(store, &bob).await, [after]);
    assert_eq!(membership(store, &conversation, &bob).await.member, Some(promoted));
    assert_eq!(store.member(&conversation, &alice).await.unwrap(), Some(member(&alice)));
}

/// L1: the slot is the fence. The occupant is answered, and no row is touched.
// holds: L1, M1
pub async fn a_change_whose_slot_is_taken_changes_no_row<B: Backend>(store: &B) {
    let (conversation, [alice, _, carol]) = scene(store).await;
    let occupant = entry(&conversation, 2, "bob");
    assert_eq!(store.put(&occupant).await.unwrap(), Put::Stored);
    let mut joining = join(&conversation, &alice, 2, &joins(&conversation, &carol, 2));
    joining.description = Some(description("new", "new"));
    assert_eq!(change(store, &joining).await, Put::Taken(Box::new(occupant.clone())));
    assert_eq!(store.read(&conversation, seq(2), ALL).await.unwrap(), [occupant]);
    assert_eq!(membership(store, &conversation, &carol).await, Membership { user: carol.clone(), member: None, spans: vec![] });
    assert_eq!(inbox(store, &carol).await, []);
    assert_eq!(store.descriptions(std::slice::from_ref(&conversation)).await.unwrap(), [Some(description("", ""))]);
}

/// M1: nor is the entry stored where a row is another than it was judged by.
// holds: M1
pub async fn a_change_of_a_row_that_is_another_stores_nothing<B: Backend>(store: &B) {
    let (conversation, [alice, bob, carol]) = scene(store).await;
    let there_already = join(&conversation, &alice, 2, &joins(&conversation, &bob, 2));
    let older = Member { version: seq(9), ..member(&bob) };
    let not_there = Member { version: seq(1), ..member(&carol) };
    let role = |member: &Member, was| {
        let rows = vec![RowChange::Role { member: member.clone(), was: seq(was) }];
        change_of(&conversation, &alice, 2, ChangeEntry::Role { user: member.user.clone(), role: member.role }, rows)
    };
    let all = [
        there_already,
        leave(&conversation, &alice, 2, &older, &[]),
        leave(&conversation, &alice, 2, &not_there, &[]),
        role(&member(&bob), 9),
        role(&member(&carol), 1),
    ];
    for (number, change) in all.iter().enumerate() {
        assert_eq!(store.change(change).await.unwrap(), Put::Contended, "{number}");
    }
    assert_eq!(store.read(&conversation, seq(2), ALL).await.unwrap(), []);
    assert_eq!(store.members(&conversation).await.unwrap().len(), 2);
    assert_eq!(membership(store, &conversation, &bob).await, Membership { user: bob.clone(), member: Some(member(&bob)), spans: vec![] });
    assert_eq!((inbox(store, &bob).await.len(), inbox(store, &carol).await.len()), (1, 0));
}

/// Two changes and a message for one slot: one is stored, with its rows and no others.
// holds: L1, M1
pub async fn of_changes_and_messages_at_once_exactly_one_is_stored<B: Backend>(store: &B) {
    let (conversation, [alice, bob, carol]) = scene(store).await;
    let joining = join(&conversation, &alice, 2, &joins(&conversation, &carol, 2));
    let leaving = leave(&conversation, &alice, 2, &member(&bob), &[Span { from: seq(1), end: position(2) }]);
    let message = entry(&conversation, 2, "bob");
    let changes = join_all([&joining, &leaving].map(|one| change(store, one)));
    let putting = async {
        loop {
            match store.put(&message).await.unwrap() {
                Put::Contended => {}
                done => return done,
            }
        }
    };
    let (others, put) = futures_util::future::join(changes, putting).await;
    let stored = [&others[0], &others[1], &put].map(|one| *one == Put::Stored);
    assert_eq!(stored.iter().filter(|stored| **stored).count(), 1, "{others:?} {put:?}");
    let [added, removed, _] = stored;
    assert_eq!(store.member(&conversation, &carol).await.unwrap().is_some(), added);
    assert_eq!(store.member(&conversation, &bob).await.unwrap().is_none(), removed);
    assert_eq!((inbox(store, &carol).await.len() == 1, inbox(store, &bob).await.is_empty()), (added, removed));
    let winner = if added {
        joining.entry
    } else if removed {
        leaving.entry
    } else {
        message
    };
    assert_eq!(store.read(&conversation, seq(2), ALL).await.unwrap(), [winner]);
}

/// As many as one entry brings and takes; and the title.
pub async fn forty_join_and_twenty_leave_in_one_step<B: Backend>(store: &B) {
    let (conversation, [alice, ..]) = scene(store).await;
    let mut users: Vec<UserId> = (0..40).map(|_| fresh_user()).collect();
    users.sort();
    let joinings: Vec<Joining> = users.iter().map(|user| joins(&conversation, user, 2)).collect();
    let rows = joinings.iter().cloned().map(RowChange::Join).collect();
    let mut added = change_of(&conversation, &alice, 2, ChangeEntry::Added(users.clone()), rows);
    added.description = Some(description("a title", "\u{0}{}"));
    assert_eq!(change(store, &added).await, Put::Stored);
    assert_eq!(store.members(&conversation).await.unwrap().len(), 42);
    assert_eq!(store.descriptions(std::slice::from_ref(&conversation)).await.unwrap(), [added.description]);
    assert_eq!(store.read(&conversation, seq(2), ALL).await.unwrap(), [added.entry]);

    let spans = vec![Span { from: seq(2), end: position(3) }; 20];
    let leave = |joining: &Joining| RowChange::Leave { member: joining.member.clone(), spans: spans.clone() };
    let rows = joinings[..20].iter().map(leave).collect();
    let removed = change_of(&conversation, &alice, 3, ChangeEntry::Removed(users[..20].to_vec()), rows);
    assert_eq!(change(store, &removed).await, Put::Stored);
    assert_eq!(store.members(&conversation).await.unwrap().len(), 22);
    let all = store.memberships(&conversation, &users).await.unwrap();
    assert!(all[..20].iter().all(|one| one.member.is_none() && one.spans == spans), "{all:?}");
    assert!(all[20..].iter().all(|one| one.member.is_some() && one.spans.is_empty()), "{all:?}");
}

/// In their order, and nothing of what does not exist.
pub async fn descriptions_come_in_the_order_asked<B: Backend>(store: &B) {
    let [(one, _), (other, _)] = [scene(store).await, scene(store).await];
    let unknown = fresh_conversation();
    let empty = Some(description("", ""));
    assert_eq!(store.descriptions(&[other, unknown, one]).await.unwrap(), [empty.clone(), None, empty]);
}
