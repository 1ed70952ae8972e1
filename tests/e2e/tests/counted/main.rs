//! What everything costs: calls, capacity units, queue requests and bytes, counted where they reach the embedded endpoints.
//!
//! The table is `counted.md` beside `Cargo.toml`. More is a regression, and so is less until somebody has looked: `CHATLANE_UPDATE=1`
//! writes it anew. Not in it: what the event source mapping asks of the queue, which AWS does by itself (and bills), and what the
//! authorizer asks of the identity provider.

mod abuse;
mod groups;
mod https;
mod long_ago;
mod reading;
mod scene;
mod stranger;
mod sweeping;
mod table;
mod writing;

use std::collections::BTreeSet;
use std::time::Duration;

use chatlane_aws::items::sessions;
use chatlane_local::embedded::Call;
use chatlane_tests_e2e::{Running, assert_kept, padded, start};

use long_ago::LongAgo;
use scene::Scene;
use table::{Row, table};

/// A call that took longer may have run into the attempt timeout of its SDK client (`chatlane_aws::sdk_config`: 1 s) and been sent twice.
/// The machine stalled; what was counted says nothing.
const STALLED: Duration = Duration::from_millis(500);

/// Measurements before the machine is called unfit.
const ATTEMPTS_MAX: usize = 5;

/// Text of the longest message. Its entry is a little longer than 24 KB: 25 write units.
const LONG_TEXT_BYTES: usize = 24 * 1024;

async fn measure(stack: &Running, long_ago: &LongAgo, attempt: usize) -> Vec<Row> {
    let mut scene = Scene::new(stack, attempt);
    scene.warm().await;
    let short = |number: usize| format!("message number {number}");
    let mut rows = vec![
        scene.sent("a quiet message", &[short(0)]).await,
        scene.sent("a message of 24 KB", &["x".repeat(LONG_TEXT_BYTES)]).await,
        scene.sent("ten messages in one frame", &(0..10).map(short).collect::<Vec<_>>()).await,
        scene.duplicate().await,
        scene.lost_race().await,
    ];
    rows.extend(scene.opened().await);
    let [handshake, hello, _] = scene.arrival(0, "hello, no conversation", "the same again").await;
    let [_, of_three, knowing] = scene.arrival(3, "hello, three conversations", "hello, three conversations, all known").await;
    rows.extend([handshake, hello, of_three, knowing]);
    rows.extend(scene.thousand(long_ago).await);
    rows.extend(scene.synced(long_ago).await);
    rows.extend(scene.looked_up(long_ago).await);
    rows.extend(scene.cursors().await);
    rows.push(scene.both_cursors().await);
    rows.extend(scene.ten_acks(long_ago).await);
    rows.extend(scene.pings().await);
    rows.extend(scene.without_a_socket().await);
    rows.extend(scene.groups().await);
    rows.extend(scene.changes().await);
    rows.extend(scene.swept(long_ago).await);
    rows
}

const A_MILLION: &str = "
## What a million of them cost

In dollars, by AWS's prices of us-east-1 ([abuse.md](abuse.md) has them). A fifth of the members is connected, but at least two; the posts
are most of it. Nobody pays for members who are not connected but by the reading of their rows.

";

/// Of messages, edits and reactions, by the size of the group.
fn a_million(rows: &[Row]) -> String {
    let cost = |scene: String| {
        let row = rows.iter().find(|row| row.scene == scene).unwrap_or_else(|| panic!("no row is {scene}"));
        format!("{:.2}", abuse::dollars(row))
    };
    let mut lines = vec![["members", "messages", "edits of 1 KB", "reactions"].map(str::to_owned)];
    lines.extend([2, 10, 50, 200].map(|count| {
        [
            count.to_string(),
            cost(format!("a message in a group of {count}")),
            cost(format!("edit of 1 KB, group of {count}")),
            cost(format!("another reaction, group of {count}")),
        ]
    }));
    format!("{A_MILLION}{}", padded(lines))
}

fn stalled(rows: &[Row]) -> bool {
    rows.iter().flat_map(|row| &row.calls).any(|call| call.took >= STALLED)
}

/// `None`: not a read.
fn is_strong(call: &Call) -> Option<bool> {
    match call.operation.as_str() {
        "GetItem" | "Query" => Some(call.request["ConsistentRead"] == true),
        "BatchGetItem" => {
            let tables = call.request["RequestItems"].as_object().expect("a batch read names its tables");
            Some(tables.values().all(|table| table["ConsistentRead"] == true))
        }
        "Scan" | "BatchExecuteStatement" | "ExecuteStatement" => panic!("nothing scans: {call:?}"),
        _ => None,
    }
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_question_costs_the_same_whether_the_conversation_exists_or_not() {
    let stack = start(|settings| settings.visibility_timeout = Duration::from_mins(1)).await;
    let long_ago = LongAgo::of(&stack).await;
    stranger::pays_the_same(&stack, &long_ago).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_costs_what_the_table_says() {
    // The template's visibility timeout: a slow machine must not make the queue hand out a task twice.
    // What the conversation admits is a matter of time, and would be counted too.
    let stack = start(|settings| {
        settings.environment.insert("CHATLANE_ADMISSION".to_owned(), "off".to_owned());
        settings.visibility_timeout = Duration::from_mins(1);
    })
    .await;
    let long_ago = LongAgo::of(&stack).await;
    let mut rows = vec![];
    for attempt in 0..ATTEMPTS_MAX {
        rows = measure(&stack, &long_ago, attempt).await;
        if !stalled(&rows) {
            break;
        }
    }
    assert!(!stalled(&rows), "in each of {ATTEMPTS_MAX} measurements a call took longer than {STALLED:?}: nothing can be counted here");

    for row in &rows {
        let may_be_old = |call: &Call| is_strong(call) == Some(false) && !sessions::asks_for_a_recent_gate(&call.request);
        assert!(!row.calls.iter().any(may_be_old), "{}: every read is strong (D2, M1)", row.scene);
        let functions: BTreeSet<&str> =
            row.calls.iter().map(|call| call.caller.function()).filter(|name| !["authorize", "fan_out"].contains(name)).collect();
        assert!(functions.len() <= 1, "{}: one function answers a request, not {functions:?}", row.scene);
    }

    // A quiet send is 1 write unit, 2 strong reads, 1 task; the whole message, with its delivery, is 2 write units, 1 task, 9 calls.
    let quiet = &rows[0];
    let (request, whole) = (quiet.request(), quiet.whole());
    let reads = quiet.calls.iter().filter(|call| call.caller.function() == "send" && is_strong(call) == Some(true)).count();
    assert_eq!((request.write_units.to_string().as_str(), reads, request.operations["SendMessage"]), ("1", 2, 1), "the send path");
    assert_eq!((whole.write_units.to_string().as_str(), whole.operations["SendMessage"], whole.calls()), ("2", 1, 9), "the whole message");

    // However many the members are, nothing more is asked before the answer.
    for row in rows.iter().filter(|row| row.scene.starts_with("a message in a group of ")) {
        assert_eq!(row.request(), request, "{}", row.scene);
    }

    // What is delivered costs the sweeper one read unit a conversation and minute.
    let swept = |scene: &str| rows.iter().find(|row| row.scene == scene).expect("a row").whole();
    for (scene, units) in [("a minute of one conversation, swept", "1"), ("a minute of ten conversations, swept", "10")] {
        assert_eq!((swept(scene).read_units.to_string().as_str(), swept(scene).calls()), (units, 1), "{scene}");
    }

    // What a sync costs depends on what is missing, not on what came before.
    let [short, long] = ["10^2", "10^4"].map(|history| rows.iter().find(|row| row.scene.contains(history)).expect("a row").whole());
    assert_eq!(short.operations, long.operations);
    assert_eq!([short.read_units, short.write_units].map(f64::to_bits), [long.read_units, long.write_units].map(f64::to_bits));
    assert_kept("counted.md", &(table(&rows) + &a_million(&rows)));
    assert_kept("abuse.md", &abuse::page(&stack, &rows[0]).await);
}
