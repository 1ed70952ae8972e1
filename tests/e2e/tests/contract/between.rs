//! What others do between the two writes of one call, and what a second write finds that the first did not.

use axum::http::StatusCode;
use chatlane_aws::items::json::from_json;
use chatlane_aws::items::sessions;
use chatlane_chat::limit::Budget;
use chatlane_chat::ports::{
    Accounts as _, Advance, Advanced, Connection, Connections as _, Created, Creations as _, InboxRow, Inboxes as _, ReadCursor,
};
use chatlane_chat::testing::builders::{conversation, creation, device, position, session, start, user};
use chatlane_local::embedded::{Answer, At, Held, Hold, Matching, Recording, Service};
use chatlane_protocol::ConversationId;

use crate::embedded::Backend;

/// Catches so many updates.
fn hold_updates(backend: &Backend, count: usize) -> Hold {
    backend.endpoints.hold(Matching::service(Service::DynamoDb).operation("UpdateItem"), At::Request, count)
}

/// The second of the updates that the hold catches; the first was let go.
async fn second(hold: &mut Hold) -> Held {
    hold.caught().await.release();
    hold.caught().await
}

/// When the sessions item ends by itself (s), as the last write answered it; and how many updates there were.
fn end_of_item(recording: &Recording) -> (u64, usize) {
    let calls = recording.take();
    let end = calls.last().and_then(|call| sessions::ttl(&from_json(&call.answer["Attributes"])?)).expect("the write succeeded");
    (end, calls.len())
}

// holds: D2
#[tokio::test]
async fn a_hello_by_a_clock_that_is_behind_brings_the_end_of_the_sessions_item_no_nearer() {
    let backend = Backend::embedded().await;
    let (alice, one, other) = (user("alice"), session("a="), session("b="));
    let recording = backend.endpoints.record();
    backend.store.register(&alice, &one, start().plus_ms(3_600_000)).await.unwrap();
    let (end, _) = end_of_item(&recording);
    // Both are there, and neither is lost with the item before the other's two hours are over.
    assert_eq!(backend.store.register(&alice, &other, start()).await.unwrap().all.len(), 2);
    assert_eq!(end_of_item(&recording), (end, 2));
}

// holds: D2
#[tokio::test]
async fn a_hello_said_again_puts_the_end_of_the_item_off_also_where_it_keeps_a_refreshed_time() {
    let backend = Backend::embedded().await;
    let (alice, mine) = (user("alice"), session("a="));
    let recording = backend.endpoints.record();
    backend.store.register(&alice, &mine, start()).await.unwrap();
    let (end, _) = end_of_item(&recording);
    let later = Connection { expires: mine.expires.plus_ms(1), ..mine.clone() };
    backend.store.prolong(&alice, &mine.connection, later.expires).await.unwrap();
    recording.take();
    assert_eq!(backend.store.register(&alice, &mine, start().plus_ms(60_000)).await.unwrap().all, [later]);
    assert_eq!(end_of_item(&recording), (end + 60, 2));
}

/// Of who is online for years, and of who comes back after each pause that is longer than what counts.
#[tokio::test]
async fn what_counts_no_more_does_not_pile_up() {
    let backend = Backend::embedded().await;
    let (alice, mine) = (user("alice"), session("a="));
    let recording = backend.endpoints.record();
    let attributes = |update: &str| {
        let calls = recording.take();
        assert!(calls.iter().all(|call| call.status == 200), "{update}");
        let item = &calls[0].answer["Attributes"];
        (item.as_object().expect("an item").len(), calls.len())
    };
    let (mut most, mut requests) = (0, 0);
    for number in 0..100 {
        backend.store.register(&alice, &mine, start().plus_ms(number * 7_200_000)).await.unwrap();
        let (now, made) = attributes("register");
        (most, requests) = (most.max(now), requests + made);
    }
    // The key, the `ttl`, the connection, and ten minutes at most.
    assert_eq!((most, requests), (2 + 1 + 1 + 10, 100 + 11));
    let (mut most, mut requests) = (0, 0);
    for number in 0..10 {
        for window in 0..60 {
            let window = 1_000 + number * 1_000 + window;
            backend.store.charge(&alice, window, 1, window - Budget::WINDOWS, start()).await.unwrap();
            let (now, made) = attributes("charge");
            (most, requests) = (most.max(now), requests + made);
        }
    }
    assert!(most <= 2 + 1 + 101 + 60 && requests <= 600 + 6, "{most} attributes, {requests} requests");
}

/// The first write learns that its clock is behind; then comes a refresh of the same connection.
// holds: D2
#[tokio::test]
async fn a_refresh_between_two_writes_of_a_hello_is_kept() {
    let backend = Backend::embedded().await;
    let (alice, mine) = (user("alice"), session("a="));
    backend.store.register(&alice, &mine, start().plus_ms(3_600_000)).await.unwrap();
    let refreshed = Connection { expires: mine.expires.plus_ms(1), ..mine.clone() };
    let mut hold = hold_updates(&backend, 2);
    let refresh = async {
        let second = second(&mut hold).await;
        backend.store.prolong(&alice, &mine.connection, refreshed.expires).await.unwrap();
        second.release();
    };
    let (registered, ()) = tokio::join!(backend.store.register(&alice, &mine, start()), refresh);
    assert_eq!(registered.unwrap().all, std::slice::from_ref(&refreshed));
    assert_eq!(backend.store.session(&alice, &mine.connection).await.unwrap(), Some(refreshed));
}

#[tokio::test]
async fn a_hello_that_a_refresh_comes_before_every_time_is_unavailable() {
    let backend = Backend::embedded().await;
    let (alice, mine) = (user("alice"), session("a="));
    backend.store.register(&alice, &mine, start()).await.unwrap();
    let refreshes = async {
        let mut hold = hold_updates(&backend, 1);
        for ms in 1..=3 {
            let write = hold.caught().await;
            backend.store.prolong(&alice, &mine.connection, mine.expires.plus_ms(ms)).await.unwrap();
            // Set here, so that it catches the next write and not the refresh.
            hold = hold_updates(&backend, 1);
            write.release();
        }
    };
    let (registered, ()) = tokio::join!(backend.store.register(&alice, &mine, start()), refreshes);
    assert!(registered.unwrap_err().to_string().ends_with("others were writing it"));
}

/// A conversation of alice's, and her row of it, in which device 1 has entry 5.
async fn create(backend: &Backend) -> (ConversationId, InboxRow) {
    let (id, alice, bob) = (conversation("d-1"), user("alice"), user("bob"));
    assert_eq!(backend.store.create(&creation(&id, &alice, &bob)).await.unwrap(), Created::New);
    let delivered = Advance { delivered: Some(position(5)), ..Advance::default() };
    let advanced = backend.store.advance(&alice, &id, device(1), delivered).await.unwrap();
    (id, advanced.expect("she is a member").after)
}

/// The delivered cursor is there, the read cursor is not: the first write is refused and tells so, the second moves the one.
fn read() -> Advance {
    Advance {
        delivered: Some(position(5)),
        read: Some(ReadCursor { position: position(5), count: 4 }),
        dropped: vec![],
        shown: chatlane_chat::ports::Shown::Follows,
    }
}

// holds: C1
#[tokio::test]
async fn what_other_requests_move_between_the_two_writes_stays_and_is_in_the_row_that_is_answered() {
    let at = |number: u64| Advance { delivered: Some(position(number)), ..Advance::default() };
    let and_read = |number: u64| Advance { read: Some(ReadCursor { position: position(number), count: number - 1 }), ..at(number) };
    // The same device's cursor, moved further; another device's; both of this call's.
    for (number, further, is_mine) in [(1, at(7), true), (2, at(9), true), (2, and_read(8), false)] {
        let backend = Backend::embedded().await;
        let (alice, (id, _)) = (user("alice"), create(&backend).await);
        let mut hold = hold_updates(&backend, 2);
        let other = async {
            let second = second(&mut hold).await;
            let others = backend.store.advance(&alice, &id, device(number), further.clone()).await.unwrap().unwrap();
            second.release();
            others.after
        };
        let (advanced, others) = tokio::join!(backend.store.advance(&alice, &id, device(1), read()), other);
        let after = if is_mine { InboxRow { read: read().read.unwrap(), ..others.clone() } } else { others.clone() };
        let Advanced { before, after: told } = advanced.unwrap().unwrap();
        assert_eq!((&told, before == others), (&after, true), "{further:?}");
        assert_eq!(backend.store.inbox_rows(&alice, &[id]).await.unwrap(), [Ok(Some(after))]);
    }
}

/// First a device that was to be dropped has moved, then the user's mark: each refusal leaves less to do, and what is left is done.
// holds: C1
#[tokio::test]
async fn what_is_in_the_way_is_met_one_after_the_other() {
    let backend = Backend::embedded().await;
    let (alice, (id, _)) = (user("alice"), create(&backend).await);
    let at = |number: u64| Advance { delivered: Some(position(number)), ..Advance::default() };
    let read = |number: u64| ReadCursor { position: position(number), count: number - 1 };
    let mut hold = hold_updates(&backend, 1);
    let others = async {
        let first = hold.caught().await;
        backend.store.advance(&alice, &id, device(1), at(6)).await.unwrap().unwrap();
        hold = hold_updates(&backend, 1);
        first.release();
        let second = hold.caught().await;
        backend.store.advance(&alice, &id, device(1), Advance { read: Some(read(9)), ..Advance::default() }).await.unwrap().unwrap();
        second.release();
    };
    let to = Advance { read: Some(read(7)), dropped: vec![(device(1), position(5))], ..at(7) };
    let (advanced, ()) = tokio::join!(backend.store.advance(&alice, &id, device(2), to), others);
    let Advanced { before, after } = advanced.unwrap().unwrap();
    let delivered = |row: &InboxRow| [1, 2].map(|number| row.delivered.get(&device(number)).map(|at| at.seq.get()));
    assert_eq!((delivered(&before), delivered(&after)), ([Some(6), None], [Some(6), Some(7)]));
    assert_eq!((before.read, after.read), (read(9), read(9)));
    assert_eq!(backend.store.inbox_rows(&alice, &[id]).await.unwrap(), [Ok(Some(after))]);
}

// holds: C1
#[tokio::test]
async fn a_membership_that_ends_between_the_two_writes_is_none() {
    let backend = Backend::embedded().await;
    let (alice, (id, _)) = (user("alice"), create(&backend).await);
    let mut hold = hold_updates(&backend, 2);
    let ended = async {
        // As DynamoDB refuses where there is no row.
        second(&mut hold).await.answer(Answer::error(StatusCode::BAD_REQUEST, "ConditionalCheckFailedException", "by the test"));
    };
    let (advanced, ()) = tokio::join!(backend.store.advance(&alice, &id, device(1), read()), ended);
    assert_eq!(advanced.unwrap(), None);
}
