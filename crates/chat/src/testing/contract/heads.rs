//! Heads only rise.

use chatlane_protocol::{ConversationId, Position, Seq};
use futures_util::future::join_all;

use super::creation::{create, create_one};
use super::{Backend, fresh_conversation, fresh_user};
use crate::ports::Created;
use crate::testing::builders::{creation, position, seq};

async fn head<B: Backend>(store: &B, conversation: &ConversationId) -> Position {
    store.heads(std::slice::from_ref(conversation)).await.unwrap()[0]
}

/// Compared by epoch, then seq: after a restore the log is shorter and the epoch higher.
pub async fn a_head_only_rises_and_answers_what_it_was<B: Backend>(store: &B) {
    let conversation = create_one(store).await;
    let at = |epoch, number| Position::new(epoch, seq(number));
    let highest = Position::new(u32::MAX, Seq::MAX);
    for (to, before, after) in [
        (at(1, 5), Position::ZERO, at(1, 5)),
        (at(1, 3), at(1, 5), at(1, 5)),
        (at(1, 5), at(1, 5), at(1, 5)),
        (at(1, 10), at(1, 5), at(1, 10)),
        (at(1, 9), at(1, 10), at(1, 10)),
        (at(2, 4), at(1, 10), at(2, 4)),
        (at(1, 11), at(2, 4), at(2, 4)),
        (at(10, 1), at(2, 4), at(10, 1)),
        (at(9, 2), at(10, 1), at(10, 1)),
        (highest, at(10, 1), highest),
        (at(1, 1), highest, highest),
    ] {
        assert_eq!(store.raise_head(&conversation, to).await.unwrap(), before, "raised to {to}");
        assert_eq!(head(store, &conversation).await, after, "after {to}");
    }
}

/// Whoever comes last, and nobody is told a head that never was.
pub async fn heads_raised_at_once_end_at_the_highest<B: Backend>(store: &B) {
    let conversation = create_one(store).await;
    let answers = join_all((1..=20).rev().map(|n| store.raise_head(&conversation, position(n)))).await;
    for before in answers {
        let before = before.unwrap();
        assert!(before == Position::ZERO || (position(1)..=position(20)).contains(&before), "{before}");
    }
    assert_eq!(head(store, &conversation).await, position(20));
}

/// A task of a conversation that was never created must not make half of one.
pub async fn a_head_is_not_raised_where_there_is_no_conversation<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    assert!(store.raise_head(&conversation, position(3)).await.is_err());
    assert_eq!(head(store, &conversation).await, Position::ZERO);
    assert_eq!(create(store, &creation(&conversation, &fresh_user(), &fresh_user())).await, Created::New);
}

/// Not in the order of their keys; zero for those that do not exist; and nothing for nothing.
pub async fn more_than_a_hundred_heads_come_in_the_order_asked<B: Backend>(store: &B) {
    let mut asked = vec![];
    for _ in 0..12 {
        let created = join_all((0..10).map(|_| create_one(store))).await;
        asked.extend(created);
        asked.push(fresh_conversation());
    }
    let mut expected = vec![];
    for (index, conversation) in asked.iter().enumerate() {
        let to = position(index as u64 + 1);
        let exists = index % 11 != 10;
        if exists {
            assert_eq!(store.raise_head(conversation, to).await.unwrap(), Position::ZERO);
        }
        expected.push(if exists { to } else { Position::ZERO });
    }
    assert_eq!(asked.len(), 132);
    assert_eq!(store.heads(&asked).await.unwrap(), expected);
    asked.reverse();
    expected.reverse();
    assert_eq!(store.heads(&asked).await.unwrap(), expected);
    assert_eq!(store.heads(&[]).await.unwrap(), []);
}
