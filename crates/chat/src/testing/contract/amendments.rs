//! What is done to a message is one step: its entry and what it changes, or nothing.

use std::collections::BTreeSet;

use chatlane_protocol::{ConversationId, Reacting, ReactionChange, ReactionKey, UserId};
use futures_util::future::join_all;

use super::{ALL, Backend, create, fresh_conversation, fresh_user};
use crate::log::reactions::{Reacted, Reactions};
use crate::log::{AmendmentEntry, Entry, Kind, MessageEntry};
use crate::ports::{Amendment, Amends, Created, Put};
use crate::testing::builders::{creation, entry, position, seq, text};

/// Tries again while other transactions are in the way.
async fn amend<B: Backend>(store: &B, amendment: &Amendment) -> Put {
    for _ in 0..100 {
        match store.amend(amendment).await.unwrap() {
            Put::Contended => {}
            done => return done,
        }
    }
    panic!("contended a hundred times");
}

/// A conversation of two in which the first has written entries 2 and 3.
async fn scene<B: Backend>(store: &B) -> (ConversationId, [UserId; 2]) {
    let (conversation, users) = (fresh_conversation(), [fresh_user(), fresh_user()]);
    assert_eq!(create(store, &creation(&conversation, &users[0], &users[1])).await, Created::New);
    for number in 2..=3 {
        let message = Entry { sender: users[0].clone(), ..entry(&conversation, number, "alice") };
        assert_eq!(store.put(&message).await.unwrap(), Put::Stored);
    }
    (conversation, users)
}

/// Entry `number` of this user.
fn of(conversation: &ConversationId, sender: &UserId, number: u64, kind: AmendmentEntry) -> Entry {
    Entry { sender: sender.clone(), kind: Kind::Amendment(kind), ..entry(conversation, number, "x") }
}

fn message(entry: &Entry) -> MessageEntry {
    let Kind::Message(message) = &entry.kind else { panic!("a message: {entry:?}") };
    message.clone()
}

/// Entry `number`, which makes `was` say this.
fn edit(was: &Entry, number: u64, says: &str) -> Amendment {
    let becomes = message(was).edited(text(says), seq(number));
    let kind = AmendmentEntry::Edit { target: was.position.seq, body: Some(text(says)) };
    Amendment { entry: of(&was.conversation, &was.sender, number, kind), amends: Amends::Edit { was: was.clone(), becomes } }
}

fn deletion(was: &Entry, number: u64) -> Amendment {
    let (target, edits) = (was.position.seq, message(was).edits);
    let entry = of(&was.conversation, &was.sender, number, AmendmentEntry::Deletion { target });
    Amendment { entry, amends: Amends::Deletion { was: was.clone(), edits } }
}

fn key(key: &str) -> ReactionKey {
    ReactionKey::new(key).unwrap()
}

/// Entry `number`, by which the user, whose hash this is, adds something beside entry 2.
fn reaction(conversation: &ConversationId, user: &UserId, hash: u64, number: u64, what: &str, was: &Reacted) -> Amendment {
    let reacting = Reacting { target: seq(2), key: key(what), change: ReactionChange::Add };
    let all = was.all.clone().unwrap_or_default().behind(&reacting, hash, seq(number));
    let own: BTreeSet<ReactionKey> = was.own.iter().cloned().chain([key(what)]).collect();
    let entry = of(conversation, user, number, AmendmentEntry::Reaction(reacting));
    Amendment { entry, amends: Amends::Reaction { target: seq(2), was: was.clone(), all, own } }
}

async fn target<B: Backend>(store: &B, conversation: &ConversationId) -> Entry {
    store.entry_consistent(conversation, seq(2)).await.unwrap().expect("there is entry 2")
}

/// Its body and its edits; place, sender, id, hash and facts stay.
pub async fn an_edit_changes_its_message_and_nothing_else<B: Backend>(store: &B) {
    let (conversation, _) = scene(store).await;
    let first = target(store, &conversation).await;
    let other = store.entry_consistent(&conversation, seq(3)).await.unwrap();
    let mut expected = first.clone();
    for (number, says) in [(4, "second"), (5, "\u{0}ü😀"), (6, "second")] {
        let edit = edit(&target(store, &conversation).await, number, says);
        assert_eq!(amend(store, &edit).await, Put::Stored);
        expected.kind = Kind::Message(message(&expected).edited(text(says), seq(number)));
        assert_eq!(target(store, &conversation).await, expected);
        assert_eq!(store.entry_consistent(&conversation, seq(number)).await.unwrap(), Some(edit.entry));
    }
    assert_eq!(message(&expected).edits, [4, 5, 6].map(seq));
    let all = store.read(&conversation, seq(2), ALL).await.unwrap();
    assert_eq!((all.len(), &all[0], Some(&all[1])), (5, &expected, other.as_ref()));
    assert_eq!(store.entry_consistent(&conversation, seq(7)).await.unwrap(), None);
}

/// Nothing that was ever said is left, and nobody reacts any more.
pub async fn a_deletion_takes_all_words_and_closes_the_reactions<B: Backend>(store: &B) {
    let (conversation, [alice, bob]) = scene(store).await;
    for (number, says) in [(4, "second"), (5, "third")] {
        assert_eq!(amend(store, &edit(&target(store, &conversation).await, number, says)).await, Put::Stored);
    }
    assert_eq!(amend(store, &reaction(&conversation, &bob, 1, 6, "+1", &Reacted::default())).await, Put::Stored);
    let was = target(store, &conversation).await;
    let deletion = deletion(&was, 7);
    assert_eq!(amend(store, &deletion).await, Put::Stored);
    let all = store.read(&conversation, seq(2), ALL).await.unwrap();
    assert_eq!(all[0], Entry { kind: Kind::Deleted, ..was.clone() });
    let without = |number| of(&conversation, &alice, number, AmendmentEntry::Edit { target: seq(2), body: None });
    assert_eq!(all[2..4], [without(4), without(5)]);
    assert_eq!(all[5], deletion.entry);
    let closed = Reactions { to: seq(7), closed: true, ..Reactions::default() };
    let reacted = store.reacted(&conversation, &alice, seq(2)).await.unwrap();
    assert_eq!(reacted.all, Some(closed));
    let late = reaction(&conversation, &alice, 2, 8, "+1", &reacted);
    assert_eq!([store.amend(&late).await.unwrap(), store.amend(&edit(&was, 8, "late")).await.unwrap()], [Put::Contended, Put::Contended]);
    assert_eq!(store.read(&conversation, seq(8), ALL).await.unwrap(), []);
}

/// All of them by one query of the messages, and each user's own.
pub async fn reactions_are_counted_and_known_by_whom<B: Backend>(store: &B) {
    let (conversation, [alice, bob]) = scene(store).await;
    assert_eq!(store.reacted(&conversation, &alice, seq(2)).await.unwrap(), Reacted::default());
    for (user, hash, number, what) in [(&alice, u64::MAX, 4, "+1"), (&bob, 7, 5, "👍"), (&bob, 7, 6, "+1")] {
        let was = store.reacted(&conversation, user, seq(2)).await.unwrap();
        assert_eq!(amend(store, &reaction(&conversation, user, hash, number, what, &was)).await, Put::Stored);
    }
    let of_alice = store.reacted(&conversation, &alice, seq(2)).await.unwrap();
    let all = of_alice.all.unwrap();
    let counts: Vec<(&str, u32, &[u64])> =
        all.counts.iter().map(|(key, reactors)| (key.as_str(), reactors.count, &reactors.users[..])).collect();
    assert_eq!((all.to, counts), (seq(6), vec![("+1", 2, &[u64::MAX, 7][..]), ("👍", 1, &[7])]));
    assert_eq!(of_alice.own, [key("+1")].into());
    assert_eq!(store.reacted(&conversation, &bob, seq(2)).await.unwrap().own, [key("+1"), key("👍")].into());
    for (first, last, found) in [(1, 9, true), (2, 2, true), (3, 9, false), (1, 1, false)] {
        let there = store.reactions(&conversation, seq(first), seq(last)).await.unwrap();
        assert_eq!(there, if found { vec![(seq(2), all.clone())] } else { vec![] });
    }
}

/// M1: what is changed is as it was judged by.
// holds: M1
pub async fn an_amendment_of_what_is_another_by_now_stores_nothing<B: Backend>(store: &B) {
    let (conversation, [alice, bob]) = scene(store).await;
    let first = target(store, &conversation).await;
    let none = Reacted::default();
    assert_eq!(amend(store, &edit(&first, 4, "second")).await, Put::Stored);
    assert_eq!(amend(store, &reaction(&conversation, &bob, 1, 5, "+1", &none)).await, Put::Stored);
    let before = (store.read(&conversation, seq(1), ALL).await.unwrap(), store.reacted(&conversation, &bob, seq(2)).await.unwrap());
    for stale in [edit(&first, 6, "third"), deletion(&first, 6), reaction(&conversation, &alice, 2, 6, "👍", &none)] {
        assert_eq!(store.amend(&stale).await.unwrap(), Put::Contended);
    }
    let after = (store.read(&conversation, seq(1), ALL).await.unwrap(), store.reacted(&conversation, &bob, seq(2)).await.unwrap());
    assert_eq!(after, before);
}

/// L1: the slot is the fence.
// holds: L1
pub async fn an_amendment_whose_slot_is_taken_changes_nothing<B: Backend>(store: &B) {
    let (conversation, [_, bob]) = scene(store).await;
    let (was, occupant) = (target(store, &conversation).await, entry(&conversation, 4, "bob"));
    assert_eq!(store.put(&occupant).await.unwrap(), Put::Stored);
    for late in [edit(&was, 4, "late"), deletion(&was, 4), reaction(&conversation, &bob, 1, 4, "+1", &Reacted::default())] {
        assert_eq!(amend(store, &late).await, Put::Taken(Box::new(occupant.clone())));
    }
    assert_eq!(target(store, &conversation).await, was);
    assert_eq!(store.reacted(&conversation, &bob, seq(2)).await.unwrap(), Reacted::default());
}

/// An edit, a deletion, a reaction and a message for one slot: one is stored, with what it changes and nothing else.
// holds: L1
pub async fn of_amendments_and_messages_at_once_exactly_one_is_stored<B: Backend>(store: &B) {
    let (conversation, [_, bob]) = scene(store).await;
    let was = target(store, &conversation).await;
    let all = [edit(&was, 4, "second"), deletion(&was, 4), reaction(&conversation, &bob, 1, 4, "+1", &Reacted::default())];
    let message = entry(&conversation, 4, "bob");
    let amending = join_all(all.iter().map(|one| amend(store, one)));
    let putting = async {
        loop {
            match store.put(&message).await.unwrap() {
                Put::Contended => {}
                done => return done,
            }
        }
    };
    let (amended, put) = futures_util::future::join(amending, putting).await;
    let stored: Vec<bool> = amended.iter().chain([&put]).map(|one| *one == Put::Stored).collect();
    assert_eq!(stored.iter().filter(|stored| **stored).count(), 1, "{amended:?} {put:?}");
    let now = target(store, &conversation).await;
    assert_eq!(matches!(&now.kind, Kind::Message(message) if message.edits == [seq(4)]), stored[0]);
    assert_eq!(now.kind == Kind::Deleted, stored[1]);
    let reacted = store.reacted(&conversation, &bob, seq(2)).await.unwrap();
    assert_eq!((reacted.all.is_some(), reacted.own.len()), (stored[1] || stored[2], usize::from(stored[2])));
    assert_eq!(store.entry_consistent(&conversation, seq(4)).await.unwrap().unwrap().position, position(4));
}
