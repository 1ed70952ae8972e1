//! Heads only rise.

use chatlane_protocol::{ConversationId, GroupMarks, Position, Seq, UnixMillis, limits};
use futures_util::future::join_all;

use super::creation::{create, create_one};
use super::{Backend, fresh_conversation, fresh_user, head};
use crate::log::Head;
use crate::ports::Created;
use crate::testing::builders::{creation, position, seq, start};

async fn read<B: Backend>(store: &B, conversation: &ConversationId) -> Head {
    store.heads(std::slice::from_ref(conversation)).await.unwrap()[0]
}

fn marks(number: u64) -> GroupMarks {
    let members = u32::try_from(number).expect("a small number");
    GroupMarks { members, membership_changed: seq(number), settings_changed: seq(number - 1), large: number == 7 }
}

/// Compared by epoch, then seq: after a restore the log is shorter and the epoch higher. Count and time are those of the entry at the
/// head, whatever the lower ones say.
// holds: D2
pub async fn a_head_only_rises_and_answers_what_it_was<B: Backend>(store: &B) {
    let conversation = create_one(store).await;
    let at = |epoch, number| Head {
        position: Position::new(epoch, seq(number)),
        count: number - 1,
        time: start().plus_ms(u64::from(epoch) + 100 * number),
        group: (number > 4).then(|| marks(number)),
    };
    let same_with_others = Head { count: 77, time: UnixMillis::MAX, ..at(1, 5) };
    let highest =
        Head { position: Position::new(u32::MAX, Seq::MAX), count: limits::INTEGER_MAX, time: UnixMillis::MAX, group: Some(marks(7)) };
    let stays = |head| Head { group: Some(marks(10)), ..head };
    for (to, before, after) in [
        (at(1, 5), Head::default(), at(1, 5)),
        (at(1, 3), at(1, 5), at(1, 5)),
        (at(1, 5), at(1, 5), at(1, 5)),
        (same_with_others, at(1, 5), at(1, 5)),
        (at(1, 10), at(1, 5), at(1, 10)),
        (at(1, 9), at(1, 10), at(1, 10)),
        // What a group is was not told: it stays.
        (at(2, 4), at(1, 10), stays(at(2, 4))),
        (at(1, 11), at(2, 4), stays(at(2, 4))),
        (at(10, 1), at(2, 4), stays(at(10, 1))),
        (at(9, 2), at(10, 1), stays(at(10, 1))),
        (highest, at(10, 1), highest),
        (at(1, 1), highest, highest),
    ] {
        assert_eq!(store.raise_head(&conversation, to).await.unwrap(), before.position, "raised to {}", to.position);
        assert_eq!(read(store, &conversation).await, after, "after {}", to.position);
    }
}

/// Whoever comes last, and nobody is told a head that never was.
pub async fn heads_raised_at_once_end_at_the_highest<B: Backend>(store: &B) {
    let conversation = create_one(store).await;
    let answers = join_all((1..=20).rev().map(|n| store.raise_head(&conversation, head(n)))).await;
    for before in answers {
        let before = before.unwrap();
        assert!(before == Position::ZERO || (position(1)..=position(20)).contains(&before), "{before}");
    }
    assert_eq!(read(store, &conversation).await, head(20));
}

/// A task of a conversation that was never created must not make half of one.
pub async fn a_head_is_not_raised_where_there_is_no_conversation<B: Backend>(store: &B) {
    let conversation = fresh_conversation();
    assert!(store.raise_head(&conversation, head(3)).await.is_err());
    assert_eq!(read(store, &conversation).await, Head::default());
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
        let to = head(index as u64 + 1);
        let exists = index % 11 != 10;
        if exists {
            assert_eq!(store.raise_head(conversation, to).await.unwrap(), Position::ZERO);
        }
        expected.push(if exists { to } else { Head::default() });
    }
    assert_eq!(asked.len(), 132);
    assert_eq!(store.heads(&asked).await.unwrap(), expected);
    asked.reverse();
    expected.reverse();
    assert_eq!(store.heads(&asked).await.unwrap(), expected);
    assert_eq!(store.heads(&[]).await.unwrap(), []);
}
