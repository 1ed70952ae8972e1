//! Creation is one step, and what it makes is found from every side.

use chatlane_protocol::{ConversationId, Position, Seq, UnixMillis, UserId};
use futures_util::future::join_all;

use super::{ALL, Backend, fresh, fresh_conversation, fresh_user, head};
use crate::log::{CreatedEntry, Entry, Head, Kind, Role};
use crate::ports::{Created, Creation, InboxRow, Joining, Member, Put, ReadCursor};
use crate::testing::builders::{conversation as named, creation, description, joining, member, message_id, position, seq, start, user};

/// Creates; tries again while other transactions are in the way.
pub(super) async fn create<B: Backend>(store: &B, creation: &Creation) -> Created {
    for _ in 0..100 {
        match store.create(creation).await.unwrap() {
            Created::Contended => {}
            done => return done,
        }
    }
    panic!("contended a hundred times");
}

/// A new conversation of two new users.
pub(super) async fn create_one<B: Backend>(store: &B) -> ConversationId {
    let conversation = fresh_conversation();
    assert_eq!(create(store, &creation(&conversation, &fresh_user(), &fresh_user())).await, Created::New);
    conversation
}

/// The members' own rows.
fn rows(members: &[Joining]) -> Vec<Member> {
    members.iter().map(|joining| joining.member.clone()).collect()
}

pub(super) async fn inbox<B: Backend>(store: &B, user: &UserId) -> Vec<InboxRow> {
    store.inbox(user, None, 10).await.unwrap().into_iter().map(|(_, row)| row.unwrap()).collect()
}

/// Entry 1, the head at zero, the rows of the members with all their fields, the inboxes of both.
pub async fn a_creation_is_seen_in_all_its_parts<B: Backend>(store: &B) {
    let (conversation, alice, bob) = (fresh_conversation(), fresh_user(), fresh_user());
    let mut creation = creation(&conversation, &alice, &bob);
    let second = Member { role: Role::Owner, visible_from: seq(7), version: Seq::MAX, ..creation.members[1].member.clone() };
    creation.members[1] = joining(&conversation, Some(&creation.members[0].member.user), &second);
    creation.members[0].member.role = Role::Moderator;
    creation.members[0].row.role = Role::Moderator;
    creation.members[0].row.read = ReadCursor { position: position(1), count: 0 };
    creation.description = description("a title", "{}");
    assert_eq!(store.create(&creation).await.unwrap(), Created::New);

    assert_eq!(store.read(&conversation, Seq::FIRST, ALL).await.unwrap(), [creation.entry]);
    assert_eq!(store.heads(std::slice::from_ref(&conversation)).await.unwrap(), [Head::default()]);
    assert_eq!(store.descriptions(std::slice::from_ref(&conversation)).await.unwrap(), [Some(creation.description)]);
    assert_eq!(store.members(&conversation).await.unwrap(), rows(&creation.members));
    for Joining { member, row } in &creation.members {
        assert_eq!(store.member(&conversation, &member.user).await.unwrap().as_ref(), Some(member));
        assert_eq!(inbox(store, &member.user).await, std::slice::from_ref(row));
    }
}

/// L1: slot 1 is made once, by whatever came first.
pub async fn a_creation_does_not_take_the_slot_of_an_entry<B: Backend>(store: &B) {
    let (conversation, alice, bob) = (fresh_conversation(), fresh_user(), fresh_user());
    let first = creation(&conversation, &alice, &fresh_user()).entry;
    assert_eq!(store.put(&first).await.unwrap(), Put::Stored);
    assert_eq!(create(store, &creation(&conversation, &alice, &bob)).await, Created::Exists);
    assert_eq!(store.read(&conversation, Seq::FIRST, ALL).await.unwrap(), [first]);
    assert!(store.members(&conversation).await.unwrap().is_empty() && inbox(store, &bob).await.is_empty());
}

/// Not even where it would add something.
// holds: L1
pub async fn a_second_creation_changes_nothing<B: Backend>(store: &B) {
    let (conversation, alice, bob, carol) = (fresh_conversation(), fresh_user(), fresh_user(), fresh_user());
    let first = creation(&conversation, &alice, &bob);
    assert_eq!(store.create(&first).await.unwrap(), Created::New);
    assert_eq!(store.raise_head(&conversation, head(1)).await.unwrap(), Position::ZERO);

    let mut second = creation(&conversation, &alice, &carol);
    second.entry.client_message_id = message_id("another");
    assert_eq!(store.create(&second).await.unwrap(), Created::Exists);

    assert_eq!(store.read(&conversation, Seq::FIRST, ALL).await.unwrap(), [first.entry]);
    assert_eq!(store.members(&conversation).await.unwrap(), rows(&first.members));
    assert_eq!(store.heads(std::slice::from_ref(&conversation)).await.unwrap(), [head(1)]);
    assert_eq!(inbox(store, &alice).await, [InboxRow::new(conversation, Some(bob), &member(&alice))]);
    assert_eq!(inbox(store, &carol).await, []);
}

/// The others find what the winner made.
// holds: L1
pub async fn of_many_creations_at_once_exactly_one_is_new<B: Backend>(store: &B) {
    let (conversation, alice, bob) = (fresh_conversation(), fresh_user(), fresh_user());
    let creations: Vec<Creation> = (0..12)
        .map(|n| {
            let mut creation = creation(&conversation, &alice, &bob);
            creation.entry.client_message_id = message_id(&format!("create-{n}"));
            creation
        })
        .collect();
    let answers = join_all(creations.iter().map(|creation| create(store, creation))).await;
    let winners: Vec<&Entry> = creations.iter().zip(&answers).filter(|(_, c)| **c == Created::New).map(|(c, _)| &c.entry).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    assert_eq!(store.read(&conversation, Seq::FIRST, ALL).await.unwrap(), [winners[0].clone()]);
    assert_eq!(store.members(&conversation).await.unwrap(), rows(&creations[0].members));
}

/// Each user's and each day's apart; what is refused or there already does not count, and changes nothing.
pub async fn a_user_creates_so_many_conversations_on_a_day<B: Backend>(store: &B) {
    let (alice, bob) = (fresh_user(), fresh_user());
    let by_alice = |conversation: &ConversationId, on_day: u64| {
        let mut creation = Creation { a_day_max: 2, ..creation(conversation, &alice, &fresh_user()) };
        creation.entry.time = UnixMillis::ZERO.plus_ms((start().get() / 86_400_000 + on_day) * 86_400_000);
        creation
    };
    let first = fresh_conversation();
    assert_eq!(create(store, &by_alice(&first, 7)).await, Created::New);
    assert_eq!(create(store, &by_alice(&first, 7)).await, Created::Exists);
    assert_eq!(create(store, &by_alice(&fresh_conversation(), 7)).await, Created::New);
    let third = fresh_conversation();
    let mut at_the_end = by_alice(&third, 7);
    at_the_end.entry.time = at_the_end.entry.time.plus_ms(86_399_999);
    assert_eq!(create(store, &at_the_end).await, Created::TooMany);
    assert_eq!(create(store, &by_alice(&first, 7)).await, Created::Exists);
    assert!(store.read(&third, Seq::FIRST, ALL).await.unwrap().is_empty() && store.members(&third).await.unwrap().is_empty());
    let mut by_bob = at_the_end.clone();
    by_bob.entry.sender = bob;
    assert_eq!(create(store, &by_bob).await, Created::New);
    assert_eq!(create(store, &by_alice(&fresh_conversation(), 8)).await, Created::New);
}

/// Of one day, and of nobody else; what would be too many is not counted.
pub async fn a_user_adds_so_many_users_on_a_day<B: Backend>(store: &B) {
    let alice = fresh_user();
    let begins = UnixMillis::ZERO.plus_ms(start().get() / 86_400_000 * 86_400_000);
    let added = async |by: &UserId, ms: u64, users: u64| store.count_added(by, begins.plus_ms(ms), users, 40).await.unwrap();
    assert!(added(&alice, 0, 39).await);
    assert!(!added(&alice, 1, 2).await);
    assert!(added(&alice, 86_399_999, 1).await);
    assert!(!added(&alice, 86_399_999, 1).await);
    assert!(added(&fresh_user(), 0, 40).await && added(&alice, 86_400_000, 40).await);
}

/// Direct conversations are none.
pub async fn groups_of_a_user_are_counted<B: Backend>(store: &B) {
    let alice = fresh_user();
    for is_group in [true, true, false] {
        let mut creation = creation(&fresh_conversation(), &alice, &fresh_user());
        if is_group {
            creation.members.iter_mut().for_each(|joining| joining.row.with = None);
        }
        assert_eq!(create(store, &creation).await, Created::New);
    }
    assert_eq!((store.groups_of(&alice).await.unwrap(), store.groups_of(&fresh_user()).await.unwrap()), (2, 0));
}

/// Two ways to read, one row.
pub async fn a_settled_row_is_the_row_when_nothing_is_in_the_making<B: Backend>(store: &B) {
    let (conversation, alice, bob) = (fresh_conversation(), fresh_user(), fresh_user());
    assert_eq!(store.create(&creation(&conversation, &alice, &bob)).await.unwrap(), Created::New);
    for user in [alice, bob] {
        let row = store.member(&conversation, &user).await.unwrap();
        assert_eq!(row, Some(member(&user)));
        assert_eq!(store.member_consistent(&conversation, &user).await.unwrap(), row);
    }
}

/// R1 begins here: nothing is found, and nothing is an error.
pub async fn strangers_and_unknown_conversations_have_no_row<B: Backend>(store: &B) {
    let (known, unknown, stranger) = (create_one(store).await, fresh_conversation(), fresh_user());
    for conversation in [&known, &unknown] {
        assert_eq!(store.member(conversation, &stranger).await.unwrap(), None);
        assert_eq!(store.member_consistent(conversation, &stranger).await.unwrap(), None);
    }
    assert_eq!(store.members(&unknown).await.unwrap(), []);
    assert_eq!(inbox(store, &stranger).await, []);
}

/// The order of the ids themselves, not of how a backend writes them: `%` and `~` lie on other sides of letters than `ü` does.
pub async fn all_members_come_in_the_order_of_their_ids<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    let tails = ["", "#", "%", "+", "0", "9", "A", "Z", "_", "a", "z", "~", "\u{7f}", "ü", "€", "😀"];
    let base = fresh("u");
    let mut users: Vec<UserId> = tails.iter().map(|tail| user(&format!("{base}{tail}"))).collect();
    users.extend((0..24).map(|n| user(&format!("{base}{n}-{}", "x".repeat(90)))));
    let members: Vec<Joining> = users.iter().rev().map(|user| joining(&conversation, None, &member(user))).collect();
    let mut creation = creation(&conversation, &users[0], &users[1]);
    creation.entry.kind = Kind::Created(CreatedEntry { members: users.clone() });
    assert_eq!(store.create(&Creation { members, ..creation }).await.unwrap(), Created::New);

    users.sort();
    assert_eq!(store.members(&conversation).await.unwrap(), users.iter().map(member).collect::<Vec<_>>());
}

/// More than a hundred conversations; no page repeats or leaves out one.
pub async fn an_inbox_comes_in_pages_in_the_order_of_its_conversations<B: Backend>(store: &B) {
    let alice = fresh_user();
    let base = fresh("d");
    // Both cases, digits, `-` and `_`: the order is that of the bytes.
    let mut ids: Vec<ConversationId> = ["-", "_", "A", "a", "Z", "z"].map(|tail| named(&format!("{base}{tail}"))).into();
    ids.extend((0..114).map(|n| named(&format!("{base}{n}"))));
    let creations: Vec<Creation> = ids.iter().map(|id| creation(id, &alice, &fresh_user())).collect();
    for some in creations.chunks(20) {
        let created = join_all(some.iter().map(|creation| create(store, creation))).await;
        assert!(created.iter().all(|created| *created == Created::New));
    }
    ids.sort();

    let page = async |after: Option<&ConversationId>, limit| -> Vec<ConversationId> {
        store.inbox(&alice, after.cloned(), limit).await.unwrap().into_iter().map(|(conversation, _)| conversation).collect()
    };
    assert_eq!(page(None, 100).await, ids[..100]);
    assert_eq!(page(Some(&ids[99]), 100).await, ids[100..]);
    assert_eq!(page(None, 1000).await, ids);
    assert_eq!(page(None, 1).await, ids[..1]);
    assert_eq!(page(Some(&ids[0]), 50).await, ids[1..51]);
    assert_eq!(page(Some(&ids[119]), 50).await, []);
    let between = named(&format!("{}-", ids[49]));
    assert_eq!(page(Some(&between), 1).await, ids.iter().find(|id| **id > between).cloned().into_iter().collect::<Vec<_>>());
}
