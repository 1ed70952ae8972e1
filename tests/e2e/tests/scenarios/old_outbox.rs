//! A phone that was away so long that what it wrote before is beyond the anchor's bound: it gets its message in, once. Whether the message
//! had been stored before, with its answer lost; and whether the phone catches up with all that it missed, or goes on at the head.

use std::time::Duration;

use chatlane_local::embedded::{At, Call, Matching, Service};
use chatlane_protocol::limits::{ANCHOR_ENTRIES_MAX, MESSAGES_PER_SEND_MAX};
use chatlane_protocol::{ConversationId, Position, Seq};
use chatlane_tests_e2e::line::Line;
use chatlane_tests_e2e::phone::{Model, Phone, Told};
use chatlane_tests_e2e::{Device, Running, message, patiently, start, stored_log};

/// What bob writes while alice is away.
const MISSED: usize = 300;

const TEXT: &str = "written in the tunnel";

/// What became of the message before the phone went dark.
#[derive(Clone, Copy)]
enum Before {
    NeverSent,
    StoredWithoutAnswer,
}

/// What the phone does when it is back.
#[derive(Clone, Copy)]
enum Back {
    CatchesUp,
    /// More is missed than it fetches.
    GoesOnAtTheHead,
}

// holds: L2
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_never_sent_gets_in_once_when_the_phone_has_caught_up() {
    let answers = scenario(Before::NeverSent, Back::CatchesUp).await;
    assert!(answers.stale > 0, "{answers:?}");
}

// holds: L2
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_never_sent_gets_in_once_when_the_phone_has_skipped_what_it_missed() {
    let answers = scenario(Before::NeverSent, Back::GoesOnAtTheHead).await;
    assert!(answers.stale > 0 && answers.probes > 0, "{answers:?}");
}

// holds: L2
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_stored_without_an_answer_is_found_when_the_phone_has_caught_up() {
    let _either_way = scenario(Before::StoredWithoutAnswer, Back::CatchesUp).await;
}

// holds: L2
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_stored_without_an_answer_is_found_when_the_phone_has_skipped_it() {
    let answers = scenario(Before::StoredWithoutAnswer, Back::GoesOnAtTheHead).await;
    assert!(answers.stale > 0 && answers.probes > 0, "{answers:?}");
}

async fn scenario(before: Before, back: Back) -> Answers {
    // Bob writes faster than a conversation admits.
    let stack = start(|settings| drop(settings.environment.insert("CHATLANE_ADMISSION".to_owned(), "off".to_owned()))).await;
    let bob = stack.device("bob").await;
    let opened = bob.open("alice").await.unwrap();
    let conversation = opened.conversation;
    let line = Line::to(stack.address(), 1).await;
    let url = line.url(&stack.url());
    let store = stack.data().with_extension("phone");
    let model = Model {
        program: env!("CARGO_BIN_EXE_device").into(),
        user: "alice".to_owned(),
        token: stack.token("alice", Duration::from_hours(1)),
        store: store.join("store"),
        catch_up_entries_max: match back {
            Back::CatchesUp => None,
            Back::GoesOnAtTheHead => Some(ANCHOR_ENTRIES_MAX as u64),
        },
    };
    let phone = Phone::start(model, &url).await;
    phone.until("the phone knows the conversation", |told| (told.has.get(&conversation) == Some(&opened.head)).then_some(())).await;

    write(before, &stack, &phone, &line, &conversation).await;
    let tail = talk(&bob, &conversation, opened.head, before).await;

    let calls = stack.record();
    line.come_up();
    phone.kill_and_start(&url).await;
    let up_to_date = |told: &Told| told.waiting() == 0 && told.has.get(&conversation) >= Some(&tail);
    phone.until("the message is in and the phone up to date", |told| up_to_date(told).then_some(())).await;

    let log = stored_log(&stack.store().await, &conversation).await;
    let (told, local) = phone.shut_down().await;
    assert!(told.wrong.is_empty(), "{:?}", told.wrong);
    let [id] = told.kept.keys().collect::<Vec<_>>()[..] else { panic!("one message was written: {:?}", told.kept) };
    let entries: Vec<_> = log.iter().filter(|entry| entry.client_message_id == *id).map(|entry| entry.position).collect();
    let expected = match before {
        Before::NeverSent => tail.seq.next(),
        Before::StoredWithoutAnswer => opened.head.seq.next(),
    };
    assert_eq!(entries.iter().map(|position| position.seq).collect::<Vec<_>>(), [expected], "it is in the log once");
    assert_eq!(told.stored[id], entries[0], "and its user is told where");
    assert!(local.restore().unwrap().outbox.is_empty());
    let transcript = local.entries(&conversation, None, usize::MAX).unwrap();
    let first = match back {
        Back::CatchesUp => Seq::FIRST,
        Back::GoesOnAtTheHead => told.skipped[0].position.seq.next(),
    };
    let rest = log.iter().filter(|entry| entry.position.seq >= first).map(chatlane_chat::Entry::to_wire);
    assert!(transcript.into_iter().eq(rest), "the phone has the log, from where it went on");
    std::fs::remove_dir_all(store).ok();
    Answers::among(&calls.take())
}

/// Alice writes, and her phone goes dark.
async fn write(before: Before, stack: &Running, phone: &Phone, line: &Line, conversation: &ConversationId) {
    match before {
        Before::NeverSent => {
            line.go_down();
            phone.write(conversation, TEXT).await;
            phone.kill().await;
        }
        Before::StoredWithoutAnswer => {
            let put = Matching::service(Service::DynamoDb).function("send").operation("PutItem");
            let mut trap = stack.endpoints().hold(put, At::Answer, usize::MAX);
            phone.write(conversation, TEXT).await;
            let held = patiently("the message is put", trap.caught()).await;
            line.go_down();
            phone.kill().await;
            assert!(stack.lambda().kill(&held.call.caller.0).await);
            held.lose();
        }
    }
}

/// Bob writes much. Answers the tail.
async fn talk(bob: &Device, conversation: &ConversationId, head: Position, before: Before) -> Position {
    let mut tail = head;
    if let Before::StoredWithoutAnswer = before {
        tail.seq = tail.seq.next();
    }
    for _ in 0..MISSED / MESSAGES_PER_SEND_MAX {
        let messages: Vec<_> = (0..MESSAGES_PER_SEND_MAX).map(|number| message(format!("{number}"), tail)).collect();
        let answer = bob.send(conversation, &messages).await.unwrap();
        let last = answer.results.into_iter().next_back().unwrap();
        let chatlane_protocol::Outcome::Ok(stored) = last.outcome else { panic!("bob alone writes: {last:?}") };
        tail = stored.position;
    }
    tail
}

/// What the phone was answered after it came back.
#[derive(Debug)]
struct Answers {
    stale: usize,
    probes: usize,
}

impl Answers {
    fn among(calls: &[Call]) -> Self {
        let answers = |function: &'static str| {
            calls
                .iter()
                .filter(move |call| call.service == Service::Runtime && call.operation == "Response" && call.caller.function() == function)
        };
        let stale = answers("send").filter(|call| call.request.to_string().contains("anchor_stale")).count();
        Self { stale, probes: answers("probe").count() }
    }
}
