//! A user who asks too much is shut out, and nobody else is hurt.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chatlane_aws::items::spent;
use chatlane_chat::ports::{Accounts as _, Gate, InboxRow, Inboxes as _};
use chatlane_chat::testing::builders::{position, user};
use chatlane_client::device::{Device, DeviceOptions};
use chatlane_client::store::Store;
use chatlane_functions::environment::system_clock;
use chatlane_local::embedded::Call;
use chatlane_protocol::frames::Outcome;
use chatlane_protocol::limits::{CONNECTIONS_PER_USER_MAX, PENDING_CONNECTIONS_MAX};
use chatlane_protocol::{Body, ConversationId, Token};
use chatlane_tests_e2e::past::Past;
use chatlane_tests_e2e::{BUDGET, DeviceError, Running, message, patiently, program, start};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::process::Command;

/// Not on one that said hello, not on those that did not, and on none that opens all the while.
// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn who_is_kicked_is_answered_on_no_socket_and_no_handshake_is_admitted() {
    let stack = start(|_| {}).await;
    let (greeted, silent, other) = (stack.device("mallory").await, stack.silent_device("mallory").await, stack.device("alice").await);
    // One that was displaced is no socket beside those that count.
    let crowd = join_all((0..CONNECTIONS_PER_USER_MAX).map(|_| stack.device("mallory"))).await;
    patiently("the displaced socket is closed", greeted.closed()).await;
    let kick = async |seconds| {
        let mut command = Command::new(program());
        command.args(["ops", "kick", "mallory", "--for", seconds, "--data"]).arg(stack.data());
        let done = patiently("the command ends", command.output()).await.expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let mut opened = vec![];
    for _ in 0..3 {
        opened.push(stack.silent_device("mallory").await);
    }
    let mut kicking = pin!(kick("60"));
    let said = loop {
        tokio::select! {
            biased;
            said = &mut kicking => break said,
            knocked = stack.knock("mallory") => opened.extend(knocked),
        }
    };
    assert!(said.starts_with("mallory is shut out for 60 s;"), "{said}");
    for device in opened.iter().chain(&crowd).chain([&silent]) {
        patiently("the socket is closed", device.closed()).await;
    }
    assert_eq!(stack.refused("mallory").await, 429);
    assert_eq!(kick("0").await, "mallory may connect; 0 connections were closed\n");
    assert_eq!(other.request(json!({ "action": "ping" })).await.expect("others are served")["type"], "ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_creates_fifty_conversations_on_a_day() {
    let stack = start(|settings| drop(settings.environment.insert(BUDGET.to_owned(), "100000".to_owned()))).await;
    let alice = stack.device("alice").await;
    for number in 0..50 {
        alice.open(&format!("friend-{number}")).await.expect("open is answered");
    }
    let refused = alice.request(json!({ "action": "open", "with": "one-more", "client_message_id": "c" })).await.expect("an answer");
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("rate_limited")), "{refused}");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| (1..=86_400_000).contains(&ms)), "{refused}");
    alice.open("friend-7").await.expect("what is there is found");
}

/// Charged by the process, counted where the requests arrive: a message, and its delivery to two connections of a member, of which its sender pays the first.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_charged_is_what_arrives() {
    let stack = start(|settings| {
        settings.environment.insert(BUDGET.to_owned(), "100000".to_owned());
        settings.environment.insert("CHATLANE_CHARGED_MIN_UNITS".to_owned(), "1".to_owned());
        settings.visibility_timeout = Duration::from_mins(1);
    })
    .await;
    let alice = stack.device("alice").await;
    let bobs = [stack.device("bob").await, stack.device("bob").await];
    let lane = alice.open("bob").await.expect("open is answered").conversation;
    let store = stack.store().await;
    let account = async || {
        let (now, window) = (system_clock(), u64::from(u32::MAX));
        let windows = store.charge(&user("alice"), window, 0, 60, now).await.expect("the account is read");
        windows.into_values().sum::<u64>()
    };
    // The first of each starts processes, which open connections. Later calls are the work alone.
    for (number, seq) in [(0, 1), (1, 2)] {
        stack.quiet().await;
        let (recording, before) = (stack.record(), account().await);
        let sent = alice.send(&lane, &[message(format!("m{number}"), position(seq))]).await.expect("send is answered");
        assert!(matches!(sent.results[0].outcome, Outcome::Ok(_)));
        for bob in &bobs {
            bob.entry(&lane, seq + 1).await;
        }
        stack.quiet().await;
        // A worker charges behind its posts, and its message is removed behind that.
        let calls = recording.take();
        let (charges, work): (Vec<Call>, Vec<Call>) = calls
            .into_iter()
            .filter(|call| ["send", "fan_out"].contains(&call.caller.function()))
            .partition(|call| spent::charges(&call.request));
        assert_eq!(charges.len(), 2, "{number}");
        let units: f64 = work
            .iter()
            .map(|call| match call.operation.as_str() {
                "SendMessage" => 3.0,
                "PostToConnection" => 8.0,
                _ => call.read_units + 5.0 * call.write_units,
            })
            .sum();
        if number == 1 {
            #[expect(clippy::cast_precision_loss, reason = "some hundred")]
            let paid = (account().await - before) as f64;
            let nobody_pays = 8.0;
            assert!((paid - (18.0 + 8.0 + units - nobody_pays)).abs() < 0.5, "{paid} units are charged, and {units} have arrived");
        }
    }
}

/// One way to make a deployment work, as fast as this machine sends it, until its user is shut out.
async fn attack(stack: &Running, who: &str, connections: usize, frames: &[Value]) {
    loop {
        let mut open = vec![];
        for _ in 0..connections {
            match stack.knock(who).await {
                Ok(device) => open.push(device),
                Err(DeviceError::Handshake(429)) => return,
                Err(_) => {} // too many requests, for the moment
            }
        }
        for number in 0..500 {
            let frame = frames[number % frames.len()].to_string();
            let mut sent = false;
            for device in &open {
                sent |= device.send_text(frame.clone()).await.is_ok();
            }
            if !sent {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await; // between two frames
        }
    }
}

/// Handshakes without end, of which nothing is asked: those above the 32nd are refused, and cost next to nothing.
async fn knock_on_and_on(stack: &Running, who: &str, is_done: &AtomicBool) {
    let mut silent = vec![];
    let mut refused = 0;
    while !is_done.load(Ordering::Relaxed) || refused < 100 {
        match stack.knock(who).await {
            Ok(device) => silent.push(device),
            Err(DeviceError::Handshake(429)) => refused += 1,
            Err(_) => {} // too many requests, for the moment
        }
    }
    assert!(silent.len() <= PENDING_CONNECTIONS_MAX, "{} are admitted", silent.len());
}

/// A hundred messages, ten hellos and ten syncs, each until it is answered; never more than a process takes of a user in a second. What the most unlucky one was answered after `closed`.
async fn innocent(alice: &chatlane_tests_e2e::Device, lanes: &[ConversationId], closed: &AtomicBool) -> Vec<String> {
    let mut most = vec![];
    for number in 0..120 {
        let lane = &lanes[number % lanes.len()];
        let frame = match number {
            0..100 => json!({ "action": "send", "conversation": lane, "messages": [message(format!("m{number}"), position(1))] }),
            100..110 => json!({ "action": "hello", "v": 1 }),
            _ => json!({ "action": "sync", "conversations": [{ "conversation": lane, "after": position(1) }] }),
        };
        let mut refused = vec![];
        tokio::time::sleep(Duration::from_millis(21)).await; // 48 a second at most, however fast this machine is
        loop {
            let was_closed = closed.load(Ordering::Relaxed);
            let answer = match alice.request(frame.clone()).await {
                Ok(answer) if answer["type"] == frame["action"] && answer["results"][0]["status"] != "refused" => break,
                Ok(answer) => answer,
                Err(DeviceError::GatewayError(error)) => error,
                Err(other) => panic!("{frame}: {other}"),
            };
            assert!(
                answer["message"] == "Too Many Requests" || answer.to_string().contains(r#""retryable":true"#),
                "{frame} is answered {answer}"
            );
            refused.extend(was_closed.then(|| format!("{}: {answer}", frame["action"])));
            tokio::time::sleep(Duration::from_millis(60)).await; // as a client pauses
        }
        most = if refused.len() > most.len() { refused } else { most };
    }
    most
}

/// Beside each attack of the table, with as many processes of each function as a stack has.
// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn whoever_makes_a_stack_work_is_shut_out_and_an_innocent_user_is_served() {
    let stack = start(|settings| {
        settings.environment.insert(BUDGET.to_owned(), "400".to_owned());
        settings.environment.insert("CHATLANE_BUDGET_BURST_UNITS".to_owned(), "15000".to_owned());
    })
    .await;
    let foreign: Vec<Value> = (0..100).map(|number| json!({ "conversation": format!("d{number}"), "after": position(1) })).collect();
    let open = |number| json!({ "action": "open", "id": "f", "with": format!("ghost-{number}"), "client_message_id": "c" });
    let send = json!({ "action": "send", "id": "f", "conversation": "none", "messages": [message("m", position(1))] });
    let attacks = [
        ("syncs-in-flight", 1, vec![json!({ "action": "sync", "id": "f", "conversations": foreign })]),
        ("hellos", 4, vec![json!({ "action": "hello", "id": "f", "v": 1 })]),
        ("ghosts", 2, (0..100).map(open).collect()),
        ("silent-sockets", 20, vec![json!({ "action": "dance", "id": "f" }), send, json!({ "action": "send" })]),
        ("again-and-again", 8, vec![json!({ "action": "ping", "id": "f" })]),
    ];
    // Another alice each time: with so small a burst she would be shut out herself. And so many lanes that none of them limits her.
    let alice_beside = async |who| {
        let alice = stack.device(&format!("alice-{who}")).await;
        let mut lanes = vec![];
        for other in ["bob", "carol", "dave", "erin"] {
            lanes.push(alice.open(other).await.expect("open is answered").conversation);
        }
        (alice, lanes)
    };
    for (who, connections, frames) in attacks {
        let (alice, lanes) = alice_beside(who).await;
        let closed = AtomicBool::new(false);
        let attacking = async {
            attack(&stack, who, connections, &frames).await;
            closed.store(true, Ordering::Relaxed);
        };
        let both = async { tokio::join!(attacking, innocent(&alice, &lanes, &closed)) };
        let ((), most) = patiently("the attack is stopped, and alice is served", both).await;
        assert!(most.len() <= 1, "{who}: a frame of alice's was refused after the gate was shut: {most:?}");
        assert_eq!(stack.refused(who).await, 429);
    }
    let ((alice, lanes), done) = (alice_beside("handshakes").await, AtomicBool::new(false));
    let served = async {
        let most = innocent(&alice, &lanes, &AtomicBool::new(true)).await;
        done.store(true, Ordering::Relaxed);
        most
    };
    let both = async { tokio::join!(knock_on_and_on(&stack, "handshakes", &done), served) };
    let ((), most) = patiently("alice is served", both).await;
    assert!(most.len() <= 1, "handshakes: a frame of alice's was refused: {most:?}");
}

/// A login with 500 conversations and 10,000 missed entries, then five messages a second to somebody who listens: every unit is charged.
#[tokio::test(flavor = "multi_thread")]
async fn heavy_honest_use_never_meets_the_limit() {
    const CONVERSATIONS: u64 = 500;
    const MESSAGES: u64 = 50;
    let stack = start(|settings| {
        settings.environment.insert(BUDGET.to_owned(), "400".to_owned());
        settings.environment.insert("CHATLANE_CHARGED_MIN_UNITS".to_owned(), "1".to_owned());
    })
    .await;
    let mut past = Past::of(&stack).await;
    let all: Vec<ConversationId> =
        (0..CONVERSATIONS).map(|number| past.conversation("alice", &format!("friend-{number:03}"), 21)).collect();
    past.write(&stack).await;
    let backend = stack.store().await;
    let spent = async || {
        let windows = backend.charge(&user("alice"), u64::from(u32::MAX), 0, 60, system_clock()).await.expect("the account is read");
        windows.into_values().sum::<u64>()
    };

    let store = Store::in_memory(&user("alice")).expect("a store");
    let mut options = DeviceOptions::new(stack.url(), &store);
    options.settings.new_entries_max = u64::MAX; // a new device would begin at the ends
    let token = Token::new(stack.token("alice", Duration::from_hours(1))).expect("a token");
    let tokens = move || {
        let token = token.clone();
        async move { Ok(token) }
    };
    let (device, mut shown) = Device::start(options, store, tokens).expect("the device starts");
    let reader = tokio::spawn(async move { while shown.recv().await.is_some() {} });
    let caught_up = async {
        let is_told = |row: &InboxRow| row.delivered_furthest().seq.get() == 21;
        let told = async || backend.inbox(&user("alice"), None, all.len()).await.expect("the inbox is read");
        while !told().await.iter().all(|(_, row)| row.as_ref().is_ok_and(is_told)) {
            tokio::time::sleep(Duration::from_millis(200)).await; // between two looks
        }
    };
    patiently("alice has everything, and has said so", caught_up).await;
    let login = spent().await;

    let friend = stack.device("friend-000").await;
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    for number in 0..MESSAGES {
        pace.tick().await;
        device.compose(all[0].clone(), Body::text(format!("m{number}")).expect("not empty"));
    }
    friend.entry(&all[0], 21 + MESSAGES).await;
    stack.quiet().await;
    let a_second = (spent().await - login) * 5 / MESSAGES;
    println!("{login} units for the login, {a_second} a second for five messages");
    assert!(login < 120_000 / 4 && a_second < 400, "{login} and {a_second} units");
    assert_eq!(backend.gate(&user("alice")).await.expect("the gate is read"), Gate::default());
    device.shutdown().await.expect("the device ends");
    reader.await.expect("it reads to the end");
}
