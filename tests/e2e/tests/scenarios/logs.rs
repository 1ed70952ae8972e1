//! R1: no body and no token is in any log, whatever goes wrong.
//!
//! The functions are asked for all that they can log; their bootstrap keeps foreign crates at `WARN`, because below it the SDK and the
//! Lambda runtime log whole requests and events. In this process our crates log everything and others at `INFO`.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chatlane_local::embedded::{At, Hold, Matching, Service};
use chatlane_protocol::{Body, Content, DeviceId};
use chatlane_tests_e2e::{Device, Refusing, Running, message, patiently, start};
use serde_json::{Value, json};

const LEVELS: &str = "info,chatlane_protocol=trace,chatlane_chat=trace,chatlane_aws=trace,chatlane_functions=trace,chatlane_session=trace,chatlane_client=trace,chatlane_terminal=trace,chatlane_local=trace";

/// What bodies, and nothing else, hold.
const BODY: &str = "Zaubernuss";

/// What bad tokens, and nothing else, hold.
const TOKEN: &str = "Quittenbrot";

/// Every line of the children and of this process.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn add(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.add(String::from_utf8_lossy(text).into_owned());
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// holds: R1
#[tokio::test(flavor = "multi_thread")]
async fn no_body_and_no_token_is_logged_whatever_goes_wrong() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt().with_env_filter(LEVELS).with_ansi(false).with_writer(move || writer.clone()).init();
    let mut stack = start(|settings| {
        settings.environment.insert("AWS_LAMBDA_LOG_LEVEL".into(), "TRACE".into());
        settings.environment.insert("RUST_BACKTRACE".into(), "full".into());
    })
    .await;

    let mut tokens = bad_handshakes(&stack).await;
    let (alice, bob) = (stack.token("alice", Duration::from_hours(1)), stack.token("bob", Duration::from_hours(1)));
    everything_goes_wrong(&stack, &alice, &bob).await;
    stack.quiet().await;
    stack.stop().await;

    let lines = [lines.all(), stack.lines()].concat();
    // The log is not just empty: each of these failures is in it.
    for logged in [
        "the token's algorithm is not allowed",
        "a handshake was denied: neither a token nor a ticket was presented",
        "send is not answered: queue a task",
        ": put an entry",
        "is handed back to the queue",
    ] {
        assert!(lines.iter().any(|line| line.contains(logged)), "{logged} is in none of: {lines:#?}");
    }

    tokens.extend([alice, bob]);
    let mut never = vec![BODY.to_owned(), BODY.to_lowercase(), TOKEN.to_owned(), BASE64_STANDARD.encode(BODY)[..12].to_owned()];
    // Headers of tokens are the same for all; claims and signatures are what must not be known.
    never.extend(tokens.iter().flat_map(|token| token.split('.').skip(1).map(ToOwned::to_owned)));
    never.retain(|secret| !secret.is_empty());
    for line in &lines {
        let found = never.iter().find(|secret| line.contains(secret.as_str()));
        assert!(found.is_none(), "{found:?} is in: {line}");
    }
}

fn failing(hold: Hold) -> Refusing {
    Refusing::with(hold, StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")
}

/// The tokens that were refused.
async fn bad_handshakes(stack: &Running) -> Vec<String> {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let good = stack.token("alice", Duration::from_hours(1));
    let tokens = vec![
        stack.token("alice", Duration::ZERO).replace('.', ".A"),
        stack.issuer().sign(&json!({ "sub": "alice", "exp": 1, "more": TOKEN })),
        stack.issuer().sign(&json!({ "sub": TOKEN, "exp": TOKEN, "iss": TOKEN, "aud": TOKEN })),
        format!("{}.{}.{TOKEN}", part(json!({ "alg": "none" })), part(json!({ "sub": TOKEN }))),
        format!("{}.{}.{TOKEN}", part(json!({ "alg": "ES256", "kid": TOKEN })), part(json!({ "sub": TOKEN }))),
        format!("{TOKEN}.{TOKEN}.{TOKEN}"),
        TOKEN.repeat(900),
        format!("{good}{TOKEN}"),
    ];
    let id = DeviceId::from(uuid::Uuid::new_v4());
    for token in &tokens {
        assert!(Device::connect(&stack.url(), id, token).await.is_err());
    }
    let url = format!("{}?device={id}", stack.url());
    for (url, header) in [
        (url.clone(), format!("Basic {TOKEN}")),
        (url.clone(), TOKEN.to_owned()),
        (format!("{url}&token={TOKEN}"), format!("Bearer {TOKEN}")),
        (format!("{}?device={TOKEN}", stack.url()), format!("Bearer {good}")),
    ] {
        assert!(Device::connect_with(&url, id, &[("Authorization", &header)]).await.is_err());
    }
    assert!(Device::connect_with(&format!("{url}&token={TOKEN}"), id, &[]).await.is_err());
    tokens
}

/// Bodies on every way that a message can take.
async fn everything_goes_wrong(stack: &Running, alice: &str, bob: &str) {
    let connect = async |token| {
        let device = Device::connect(&stack.url(), DeviceId::from(uuid::Uuid::new_v4()), token).await.unwrap();
        device.hello().await.unwrap();
        device
    };
    let (alice, bob) = (connect(alice).await, connect(bob).await);
    let lane = alice.open("bob").await.unwrap();
    let (conversation, anchor) = (&lane.conversation, lane.head);
    let secret = || message(BODY, anchor);

    // Sent, sent again, sent with another body, as data.
    let mut sent = secret();
    for text in [BODY.to_owned(), BODY.to_owned(), BODY.to_lowercase()] {
        sent.body = Body::text(text).unwrap();
        alice.send(conversation, std::slice::from_ref(&sent)).await.unwrap();
    }
    let mut as_data = secret();
    as_data.body = Body::new(BODY, Content::Data(BODY.into())).unwrap();
    alice.send(conversation, &[as_data]).await.unwrap();
    bob.entry(conversation, 3).await;

    // Refused, by form and by rule.
    let good = json!({ "action": "send", "id": "1", "conversation": conversation, "messages": [secret()] }).to_string();
    for text in [
        good[..good.len() - 2].to_owned(),
        good.replace(r#""text":"#, &format!(r#""text":["{BODY}"],"text":"#)),
        good.replace(&format!(r#""{BODY}""#), &format!(r#"{{"{BODY}":1}}"#)),
        good.replace(r#""text/plain""#, &format!(r#""{BODY}\u0000""#)),
        good.replace(r#""id":"1""#, &format!(r#""id":"{BODY}\n""#)),
        good.replace("send", BODY),
        good.replace(BODY, &BODY.repeat(3070)),
        good.replace(r#""seq":1"#, r#""seq":99"#),
        good.replace(r#""seq":1"#, &format!(r#""seq":"{BODY}""#)),
        good.replace(conversation.as_str(), "nowhere"),
        json!({ "action": "open", "id": "1", "with": BODY.repeat(20), "client_message_id": "m" }).to_string(),
        BODY.to_owned(),
    ] {
        let answer = alice.next_after(text).await.expect("the socket is open").expect("it stays open");
        assert!(answer["type"] == "error" || answer["results"][0]["status"] == "refused", "{answer}");
    }

    // DynamoDB and SQS fail under a send.
    let dynamo = |operation: &str| Matching::service(Service::DynamoDb).function("send").operation(operation);
    for matching in [dynamo("PutItem"), dynamo("Query"), dynamo("GetItem"), Matching::service(Service::Sqs)] {
        let _refusing = failing(stack.endpoints().hold(matching, At::Request, 3));
        let again = json!({ "action": "send", "conversation": conversation, "messages": [secret()] });
        let answer = alice.request(again).await.expect("an answer");
        assert!(answer.to_string().contains("unavailable"), "{answer}");
    }

    // A function is killed with a body in its hands.
    let mut hold = stack.endpoints().hold(dynamo("PutItem"), At::Request, 1);
    let killed = [secret()];
    let (answer, ()) = tokio::join!(alice.send(conversation, &killed), async {
        let caught = patiently("a put", hold.caught()).await;
        stack.lambda().kill(&caught.call.caller.0).await;
    });
    assert!(answer.is_err(), "the gateway's own error");

    // A worker fails, and its posts are throttled.
    let worker = Matching::service(Service::DynamoDb).function("fan_out").operation("Query");
    let _failing = failing(stack.endpoints().hold(worker, At::Request, 6));
    let throttled = stack.endpoints().hold(Matching::service(Service::Connections), At::Request, 3);
    let _throttling = Refusing::with(throttled, StatusCode::TOO_MANY_REQUESTS, "LimitExceededException");
    let answer = alice.send(conversation, &[secret()]).await.unwrap();
    let answer = serde_json::to_value(&answer.results[0]).unwrap();
    bob.entry(conversation, answer["position"]["seq"].as_u64().expect("stored")).await;
    alice.close().await;
}
