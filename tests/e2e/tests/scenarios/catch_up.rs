//! A device that was away: what it missed comes whole. What that costs is counted in `tests/e2e/tests/counted`.

use chatlane_protocol::request::{Known, SyncFrom};
use chatlane_protocol::{ConversationId, Entry, Position};
use chatlane_tests_e2e::past::Past;
use chatlane_tests_e2e::{start, wire_log};
use serde_json::json;

const CONVERSATIONS: u64 = 50;

/// Entries of each conversation beside the creation: 10,000 together.
const MISSED: u64 = 200;

// holds: D1
#[tokio::test(flavor = "multi_thread")]
async fn a_device_away_for_ten_thousand_entries_has_all_of_them_once_and_in_order() {
    let stack = start(|_| {}).await;
    let mut past = Past::default();
    let conversations: Vec<ConversationId> =
        (0..CONVERSATIONS).map(|number| past.conversation("away", &format!("friend-{number:02}"), 1 + MISSED)).collect();
    past.write(&stack).await;

    let device = stack.device("away").await;
    let pages = device.hello_knowing(&[]).await.unwrap();
    let rows = pages.into_iter().flat_map(|page| page.conversations);
    let from: Vec<SyncFrom> = rows.map(|row| SyncFrom { conversation: row.conversation.conversation, after: Position::ZERO }).collect();
    let fetched = device.catch_up(&from).await.unwrap();
    assert_eq!(fetched.values().map(Vec::len).sum::<usize>() as u64, CONVERSATIONS * (1 + MISSED));

    let store = stack.store().await;
    for conversation in &conversations {
        let stored: Vec<Entry> = wire_log(&store, conversation).await;
        assert_eq!(json!(fetched[conversation]).to_string(), json!(stored).to_string(), "{conversation}");
    }
    // All is acknowledged, and the next hello has nothing to say.
    let known = fetched.iter().map(|(conversation, entries)| Known {
        conversation: conversation.clone(),
        have: entries.last().expect("entries").position,
        read: Position::ZERO,
    });
    let pages = device.hello_knowing(&known.collect::<Vec<_>>()).await.unwrap();
    assert!(pages.iter().all(|page| page.conversations.is_empty()), "{pages:?}");
    let other = stack.device("friend-00").await;
    let ping = other.request(json!({ "action": "ping", "open": [conversations[0]] })).await.unwrap();
    assert_eq!(ping["conversations"][0]["cursors"][0]["delivered"], json!(fetched[&conversations[0]].last().unwrap().position), "{ping}");
}
