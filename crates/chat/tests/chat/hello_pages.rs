//! The pages of `hello`: a row of each conversation that stands otherwise than the device says, and the last entries of the most recent.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_chat::Done;
use chatlane_chat::log::{Entry, Head};
use chatlane_chat::ports::{Creations as _, MessageLog as _, ReadCursor};
use chatlane_chat::requests::hello::{Greeting, hello};
use chatlane_chat::testing::builders::{
    EPOCH, conversation, creation, entry, entry_of_bytes, head, message_kind, position, request_id, seq, session, settings, start, text,
    user,
};
use chatlane_chat::testing::faulty::Faulty;
use chatlane_chat::testing::ready::block_on;
use chatlane_protocol::frames::{ConversationRow, HelloAnswer, ServerFrame, encode};
use chatlane_protocol::request::{Hello, Known};
use chatlane_protocol::{ConversationId, Position, limits};
use proptest::collection::vec;
use proptest::prelude::*;

/// Alice's request, as it is parsed; of an answer that is a page.
fn ask(store: &Faulty, after: Option<&ConversationId>, known: Vec<Known>, known_to: Option<&ConversationId>) -> HelloAnswer {
    let request = Hello { id: request_id("r-1"), v: 1, after: after.cloned(), known, known_to: known_to.cloned() };
    let parsed = chatlane_protocol::Request::parse(&encode(&chatlane_protocol::Request::Hello(request.clone())));
    assert_eq!(parsed, Ok(chatlane_protocol::Request::Hello(request.clone())), "a request of the protocol");
    let greeting = block_on(hello(store, &settings(), 0, &user("alice"), &session("alice-1"), &request));
    let Ok(Done { answer: Greeting::Welcome(answer), .. }) = greeting else { panic!("not welcome: {greeting:?}") };
    let bytes = encode(&ServerFrame::Hello(answer.clone())).len();
    assert!(bytes <= limits::PAGE_BYTES_MAX || answer.conversations.len() == 1, "{bytes} bytes");
    assert!(answer.conversations.iter().all(|row| after.is_none_or(|after| row.conversation.conversation > *after)));
    *answer
}

/// A device that has this, and tells at most so many in a request: all pages.
fn walk(store: &Faulty, has: &BTreeMap<ConversationId, Known>, told_at_once: usize) -> Vec<HelloAnswer> {
    let (mut pages, mut after): (Vec<HelloAnswer>, Option<ConversationId>) = (vec![], None);
    loop {
        let left: Vec<&Known> = has.values().filter(|known| after.as_ref() < Some(&known.conversation)).collect();
        let known_to = left.get(told_at_once - 1).filter(|_| left.len() > told_at_once).map(|known| known.conversation.clone());
        let known = left.into_iter().take(told_at_once).cloned().collect();
        let answer = ask(store, after.as_ref(), known, known_to.as_ref());
        let next = answer.next.clone();
        pages.push(answer);
        assert!(next.is_none() || next > after, "the next page begins behind this one");
        match next {
            Some(next) => after = Some(next),
            None => return pages,
        }
    }
}

fn ids(pages: &[HelloAnswer]) -> Vec<ConversationId> {
    pages.iter().flat_map(|page| &page.conversations).map(|row| row.conversation.conversation.clone()).collect()
}

/// A conversation of alice, whose delivery has begun up to the head; its log has entry 1 only.
fn add(store: &Faulty, id: &ConversationId, with: &str, head: Head) {
    assert!(block_on(store.memory.create(&creation(id, &user("alice"), &user(with)))).is_ok());
    store.memory.state().heads.insert(id.clone(), head);
}

/// So many conversations, each with bob and two entries.
fn conversations(store: &Faulty, number: usize) -> Vec<ConversationId> {
    let ids: Vec<ConversationId> = (0..number).map(|n| conversation(&format!("d{n:027}"))).collect();
    for (n, id) in ids.iter().enumerate() {
        add(store, id, &format!("user-{n}"), head(2));
        assert!(block_on(store.memory.put(&entry(id, 2, "bob"))).is_ok());
    }
    ids
}

fn known(id: &ConversationId, have: Position, read: Position) -> Known {
    Known { conversation: id.clone(), have, read, prefs: 0 }
}

fn has(all: impl IntoIterator<Item = Known>) -> BTreeMap<ConversationId, Known> {
    all.into_iter().map(|known| (known.conversation.clone(), known)).collect()
}

const ALL: [&str; 5] = ["register", "inbox", "heads", "at", "read"];

// --- what is gone

fn gone(pages: &[HelloAnswer]) -> Vec<ConversationId> {
    pages.iter().flat_map(|page| &page.gone).cloned().collect()
}

/// Whether it is somebody else's or nobody's (R1): the inbox alone is read.
// holds: R1
#[test]
fn what_is_known_and_not_in_the_inbox_is_gone() {
    let store = Faulty::new(start());
    let all = conversations(&store, 3);
    let others = conversation("d1-of-others");
    assert!(block_on(store.memory.create(&creation(&others, &user("carol"), &user("dave")))).is_ok());
    let [first, last] = ["a", "e"].map(conversation);
    let knows = has([&first, &others, &last, &all[1]].map(|id| known(id, position(2), Position::ZERO)));
    let pages = walk(&store, &knows, usize::MAX);
    assert_eq!((gone(&pages), ids(&pages)), (vec![first, others, last], vec![all[0].clone(), all[2].clone()]));
    assert_eq!(ALL.map(|call| store.count(call)), [1, 1, 1, 1, 0]);
    // A device that knows nothing is told of nothing.
    assert_eq!(gone(&walk(&store, &has([]), usize::MAX)), []);
}

/// Full of rows, full of what is gone, and cut by `known_to`: each once, on the page in whose range it lies.
#[test]
fn what_is_gone_shares_the_page_with_the_rows() {
    let store = Faulty::new(start());
    let all = conversations(&store, 300);
    let lost: Vec<ConversationId> = (0..300).map(|n| conversation(&format!("d{n:027}{}", "x".repeat(36)))).collect();
    for told_at_once in [usize::MAX, 170] {
        let pages = walk(&store, &has(lost.iter().map(|id| known(id, position(2), Position::ZERO))), told_at_once);
        assert!(pages.len() > 2, "{} pages", pages.len());
        assert_eq!((gone(&pages), ids(&pages)), (lost.clone(), all.clone()));
        for page in &pages {
            let mut told = page.gone.iter().chain(page.conversations.iter().map(|row| &row.conversation.conversation));
            assert!(page.next.as_ref().is_none_or(|next| told.all(|id| id <= next)), "beyond the end of its page");
        }
    }
}

// --- pages

/// However little of it must be told.
#[test]
fn a_page_looks_at_five_hundred_conversations_at_most() {
    let store = Faulty::new(start());
    let all = conversations(&store, 620);
    let knows = has(all.iter().map(|id| known(id, position(2), Position::ZERO)));
    let first = ask(&store, None, knows.values().cloned().collect(), None);
    assert_eq!((first.conversations, first.next.as_ref()), (vec![], Some(&all[limits::HELLO_ROWS_MAX - 1])));
    assert_eq!(ALL.map(|call| store.count(call)), [1, 5, 5, 0, 0]);
    let pages = walk(&store, &knows, usize::MAX);
    assert_eq!((ids(&pages), pages.len()), (vec![], 2));
}

#[test]
fn a_thousand_conversations_of_which_three_changed_cost_their_rows_and_heads() {
    let store = Faulty::new(start());
    let all = conversations(&store, 1000);
    let knows = has(all.iter().map(|id| known(id, position(2), Position::ZERO)));
    let changed = [&all[3], &all[499], &all[998]];
    for id in changed {
        assert!(block_on(store.memory.put(&entry(id, 3, "bob"))).is_ok());
        store.memory.state().heads.insert(id.clone(), head(3));
    }
    // As many as fit `KNOWN_BYTES_MAX`.
    let told_at_once = limits::KNOWN_BYTES_MAX / (encode(&knows[&all[0]]).len() + 1);
    let pages = walk(&store, &knows, told_at_once);
    assert_eq!(ids(&pages), changed.map(Clone::clone));
    assert!(
        pages.iter().flat_map(|page| &page.conversations).all(|row| row.last.as_ref().is_some_and(|last| last.position == position(3)))
    );
    // 500, 500, and one look behind them.
    assert_eq!((pages.len(), ALL.map(|call| store.count(call))), (3, [1, 11, 10, 2, 0]));
    let bytes: usize = pages.into_iter().map(|page| encode(&ServerFrame::Hello(Box::new(page))).len()).sum();
    assert!(bytes < 4000, "{bytes} bytes");
}

#[test]
fn a_page_ends_where_the_device_has_not_told_yet_what_it_has() {
    let store = Faulty::new(start());
    let all = conversations(&store, 5);
    let unchanged = |n: usize| known(&all[n], position(2), Position::ZERO);
    let page = ask(&store, None, vec![unchanged(0), unchanged(2)], Some(&all[2]));
    assert_eq!((ids(std::slice::from_ref(&page)), page.next.as_ref()), (vec![all[1].clone()], Some(&all[2])));
    let page = ask(&store, Some(&all[2]), vec![unchanged(3)], None);
    assert_eq!((ids(std::slice::from_ref(&page)), page.next), (vec![all[4].clone()], None));
    // The end need not be a conversation of the user, nor have any behind it.
    let between = conversation(&format!("{}x", all[2]));
    assert_eq!(ask(&store, None, vec![], Some(&between)).next, Some(between));
    assert_eq!(ask(&store, None, vec![], Some(&all[4])).next, None);
    assert_eq!(ask(&store, None, vec![], Some(&conversation("z"))).next, None);
    assert_eq!(ids(&[ask(&store, None, vec![], Some(&conversation("a")))]), vec![]);
}

// --- what is known

#[test]
fn a_conversation_nobody_has_delivered_yet_is_told_until_it_is_known() {
    let store = Faulty::new(start());
    let id = conversation("d1");
    add(&store, &id, "bob", Head::default());
    let row = ask(&store, None, vec![], None).conversations.remove(0);
    assert_eq!((row.conversation.head, row.count, row.last), (Position::ZERO, 0, None));
    assert_eq!(ask(&store, None, vec![known(&id, Position::ZERO, Position::ZERO)], None).conversations, []);
}

// --- last entries

fn with_last(page: &HelloAnswer) -> Vec<ConversationId> {
    let rows = page.conversations.iter().filter(|row| row.last.is_some());
    rows.map(|row| row.conversation.conversation.clone()).collect()
}

#[test]
fn the_twenty_most_recent_rows_come_with_their_last_entry() {
    let store = Faulty::new(start());
    let all = conversations(&store, 40);
    // The even ones are the most recent, the last of them most of all.
    for (n, id) in all.iter().enumerate() {
        let time = start().plus_ms(n as u64 + if n % 2 == 0 { 1000 } else { 0 });
        store.memory.state().heads.insert(id.clone(), Head { time, ..head(2) });
    }
    let page = ask(&store, None, vec![], None);
    let even: Vec<ConversationId> = all.iter().step_by(2).cloned().collect();
    assert_eq!(with_last(&page), even);
    for row in page.conversations.iter().step_by(2) {
        let expected = entry(&row.conversation.conversation, 2, "bob").to_wire();
        assert_eq!(row.last, Some(expected));
    }
    // The last entries eight at a time: of large ones only a few fit.
    assert_eq!(ALL.map(|call| store.count(call)), [1, 1, 1, 3, 0]);
}

/// Those that are left out take no place among the twenty.
#[test]
fn the_most_recent_are_those_of_the_rows_that_are_told() {
    let store = Faulty::new(start());
    let all = conversations(&store, 30);
    let page = ask(&store, None, all[..10].iter().map(|id| known(id, position(2), Position::ZERO)).collect(), None);
    assert_eq!(with_last(&page), all[10..]);
}

#[test]
fn last_entries_come_as_far_as_the_page_has_room() {
    let store = Faulty::new(start());
    let all: Vec<ConversationId> = (0..5).map(|n| conversation(&format!("d{n}"))).collect();
    for (n, id) in all.iter().enumerate() {
        // The most recent first: 20 KB, 20 KB, 100 bytes …
        add(&store, id, &format!("user-{n}"), Head { time: start().plus_ms(9 - n as u64), ..head(2) });
        let bytes = if n < 2 { 20_000 } else { 100 };
        assert!(block_on(store.memory.put(&entry_of_bytes(id, 2, "bob", bytes))).is_ok());
    }
    let page = ask(&store, None, vec![], None);
    assert_eq!((page.conversations.len(), with_last(&page)), (5, vec![all[0].clone(), all[2].clone(), all[3].clone(), all[4].clone()]));
}

/// A control character is one byte in the log and six on the wire.
#[test]
fn last_entries_are_measured_as_they_are_encoded() {
    let store = Faulty::new(start());
    for id in conversations(&store, 20) {
        let last = Entry { kind: message_kind(text(&"\u{1}".repeat(900))), ..entry(&id, 3, "bob") };
        assert!(block_on(store.memory.put(&last)).is_ok());
        store.memory.state().heads.insert(id, head(3));
    }
    assert_eq!(with_last(&ask(&store, None, vec![], None)).len(), 4);
}

/// M1, and a head that stands where the log does not (any more).
#[test]
fn an_entry_that_is_not_the_users_or_not_at_the_head_does_not_come() {
    let store = Faulty::new(start());
    let all = conversations(&store, 4);
    store.memory.change_row(&user("alice"), &all[0], |row| row.visible_from = seq(3));
    store.memory.change_row(&user("alice"), &all[1], |row| row.visible_from = seq(2));
    store.memory.state().heads.insert(all[2].clone(), Head { position: Position::new(EPOCH + 1, seq(2)), ..head(2) });
    store.memory.state().heads.insert(all[3].clone(), head(9));
    let page = ask(&store, None, vec![], None);
    assert_eq!((page.conversations.len(), with_last(&page)), (4, vec![all[1].clone()]));
}

// holds: C1
#[test]
fn a_row_tells_what_is_unread() {
    let store = Faulty::new(start());
    let id = conversation("d1");
    add(&store, &id, "bob", head(9));
    store.memory.change_row(&user("alice"), &id, |row| row.read = ReadCursor { position: position(4), count: 3 });
    let ConversationRow { count, read, read_count, time_ms, .. } = ask(&store, None, vec![], None).conversations.remove(0);
    assert_eq!((count, read, read_count, time_ms), (8, position(4), 3, start()));
}

// --- any inbox

/// One conversation.
#[derive(Debug)]
struct Lane {
    /// Bytes of the other's name.
    name: usize,
    head: Position,
    read: Position,
    /// What the device says it has; it may have never heard of the conversation.
    has: Option<Has>,
}

#[derive(Clone, Debug)]
enum Has {
    /// As it stands.
    AsItIs,
    /// Head and read mark.
    Otherwise(Position, Position),
}

fn lane() -> impl Strategy<Value = Lane> {
    let any_position =
        || (0..=EPOCH, 0..6u64).prop_map(|(epoch, number)| if number == 0 { Position::ZERO } else { Position::new(epoch, seq(number)) });
    let name = prop_oneof![3 => 1..20usize, 1 => 80..120usize];
    let has = prop_oneof![Just(Has::AsItIs), (any_position(), any_position()).prop_map(|(have, read)| Has::Otherwise(have, read))];
    (name, any_position(), any_position(), proptest::option::weighted(0.7, has)).prop_map(|(name, head, read, has)| Lane {
        name,
        head,
        read,
        has,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However many the device has, tells at once, or has that are no more: each row that differs is told once, and no other.
    #[test]
    fn all_pages_together_tell_exactly_what_the_device_has_not(
        lanes in vec(lane(), 0..260),
        strangers in vec(0..260usize, 0..5),
        told_at_once in prop_oneof![1..20usize, 20..300usize],
    ) {
        let (store, mut knows, mut expected) = (Faulty::new(start()), BTreeMap::new(), BTreeSet::new());
        for (n, Lane { name, head: at, read, has }) in lanes.into_iter().enumerate() {
            let id = conversation(&format!("d{n:03}"));
            add(&store, &id, &format!("{n}{}", "\u{1}".repeat(name)), Head { position: at, ..head(1) });
            store.memory.change_row(&user("alice"), &id, |row| row.read = ReadCursor { position: read, count: 0 });
            let has = has.map(|has| match has {
                Has::AsItIs => known(&id, at, read),
                Has::Otherwise(have, read) => known(&id, have, read),
            });
            // The rule, said another way round: what must be told.
            let is_news = has.as_ref().is_none_or(|has| {
                let lacks = at > has.have;
                let may_have_been_cut = has.have > at && has.have.epoch != EPOCH;
                has.read != read || lacks || may_have_been_cut
            });
            if is_news {
                expected.insert(id.clone());
            }
            knows.extend(has.map(|has| (id, has)));
        }
        for n in strangers {
            let gone = conversation(&format!("d{n:03}-gone"));
            knows.insert(gone.clone(), known(&gone, position(1), position(1)));
        }
        let pages = walk(&store, &knows, told_at_once);
        let told = ids(&pages);
        prop_assert!(told.is_sorted_by(|one, next| one < next), "ascending, none twice");
        prop_assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), expected);
        prop_assert_eq!(store.count("register"), 1);
    }
}
