//! What AWS may answer and embedded `DynamoDB` never does: throttles, conflicts, parts of a batch, lost answers.

use axum::http::{HeaderMap, StatusCode};
use chatlane_chat::ports::{Created, Heads as _, Memberships as _, MessageLog as _, Put, ReadBound, Sessions as _, Unavailable};
use chatlane_chat::testing::builders::{connection, conversation, creation, entry, member, position, session, start, user};
use chatlane_local::embedded::{Answer, At, Hold, Matching, Service};
use chatlane_protocol::{Position, Seq};
use serde_json::{Value, json};

use crate::embedded::Backend;

/// The SDK's own attempts at one request.
const ATTEMPTS: usize = 3;

const EVERYTHING: ReadBound = ReadBound { entries_max: usize::MAX, bytes_max: usize::MAX };

impl Backend {
    /// The next `count` requests of this operation get this answer and take no effect.
    fn answer(&self, operation: &str, count: usize, answer: Answer) -> Answering {
        let hold = self.endpoints.hold(Matching::service(Service::DynamoDb).operation(operation), At::Request, count);
        Answering(tokio::spawn(answer_all(hold, answer)))
    }

    /// All attempts at the next request of this operation are throttled.
    fn throttle(&self, operation: &str) -> Answering {
        self.answer(operation, ATTEMPTS, refusal("ProvisionedThroughputExceededException"))
    }
}

async fn answer_all(mut hold: Hold, answer: Answer) {
    loop {
        hold.caught().await.answer(answer.clone());
    }
}

/// Answers while it lives.
struct Answering(tokio::task::JoinHandle<()>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn refusal(code: &'static str) -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, code, "by the test")
}

/// A cancelled transaction, with the reasons of its items.
fn canceled(reasons: &[&str]) -> Answer {
    let reasons: Vec<Value> = reasons.iter().map(|code| json!({ "Code": code, "Message": "by the test" })).collect();
    let code = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    json_answer(StatusCode::BAD_REQUEST, &json!({ "__type": code, "Message": "cancelled", "CancellationReasons": reasons }))
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/x-amz-json-1.0".parse().expect("a header"));
    Answer { status, headers, body: body.to_string().into() }
}

fn throttled<T: std::fmt::Debug>(answer: Result<T, Unavailable>) {
    let unavailable = answer.unwrap_err();
    assert_eq!(unavailable.cause, "ProvisionedThroughputExceededException");
    // R1: neither whose it was nor what was in it.
    assert!(!unavailable.to_string().contains("alice"), "{unavailable}");
}

#[tokio::test]
async fn a_throttled_request_is_unavailable_whatever_it_is() {
    let backend = Backend::embedded().await;
    let (store, id, alice) = (&backend.store, conversation("d-1"), user("alice"));
    let ids = [conversation("d-1"), conversation("d-2")];

    let refusing = backend.throttle("Query");
    throttled(store.read(&id, Seq::FIRST, EVERYTHING).await);
    drop(refusing);
    let refusing = backend.throttle("Query");
    throttled(store.last(&id).await);
    drop(refusing);
    let refusing = backend.throttle("Query");
    throttled(store.members(&id).await);
    drop(refusing);
    let refusing = backend.throttle("Query");
    throttled(store.inbox(&alice, None, 10).await);
    drop(refusing);
    let refusing = backend.throttle("PutItem");
    throttled(store.put(&entry(&id, 1, "alice")).await);
    drop(refusing);
    let refusing = backend.throttle("TransactWriteItems");
    throttled(store.create(&creation(&id, &alice, &user("bob"))).await);
    drop(refusing);
    let refusing = backend.throttle("GetItem");
    throttled(store.member(&id, &alice).await);
    drop(refusing);
    let refusing = backend.throttle("GetItem");
    throttled(store.heads(&ids[..1]).await);
    drop(refusing);
    let refusing = backend.throttle("TransactGetItems");
    throttled(store.settled_member(&id, &alice).await);
    drop(refusing);
    let refusing = backend.throttle("BatchGetItem");
    throttled(store.heads(&ids).await);
    drop(refusing);
    let refusing = backend.throttle("BatchGetItem");
    throttled(store.of_users(std::slice::from_ref(&alice)).await);
    drop(refusing);
    let refusing = backend.throttle("UpdateItem");
    throttled(store.raise_head(&id, position(1)).await);
    drop(refusing);
    let refusing = backend.throttle("UpdateItem");
    throttled(store.register(&alice, &session("a="), start()).await);
    drop(refusing);
    let refusing = backend.throttle("UpdateItem");
    throttled(store.remove(&alice, &[connection("a=")]).await);
    drop(refusing);
}

#[tokio::test]
async fn two_throttles_are_outlasted() {
    let backend = Backend::embedded().await;
    let _refusing = backend.answer("PutItem", ATTEMPTS - 1, refusal("ThrottlingException"));
    assert_eq!(backend.store.put(&entry(&conversation("d-1"), 1, "alice")).await.unwrap(), Put::Stored);
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_meets_itself() {
    let backend = Backend::embedded().await;
    let mine = entry(&conversation("d-1"), 1, "alice");
    let mut hold = backend.endpoints.hold(Matching::service(Service::DynamoDb).operation("PutItem"), At::Answer, 1);
    let (answer, ()) = tokio::join!(backend.store.put(&mine), async { hold.caught().await.lose() });
    // The SDK's second attempt is refused by the first one's entry (PLATFORM §3, microburst); the core knows its own by sender and id.
    assert_eq!(answer.unwrap(), Put::Taken(Box::new(mine)));
}

#[tokio::test]
async fn a_request_whose_answers_are_all_lost_is_unavailable() {
    let backend = Backend::embedded().await;
    let mut hold = backend.endpoints.hold(Matching::service(Service::DynamoDb).operation("PutItem"), At::Answer, ATTEMPTS);
    let lose_all = async {
        for _ in 0..ATTEMPTS {
            hold.caught().await.lose();
        }
    };
    let mine = entry(&conversation("d-1"), 1, "alice");
    let (answer, ()) = tokio::join!(backend.store.put(&mine), lose_all);
    assert_eq!(answer.unwrap_err().cause, "no connection, or it was lost");
    assert_eq!(backend.store.last(&mine.conversation).await.unwrap(), Some(mine), "unavailable means unknown: it was stored");
}

#[tokio::test]
async fn a_request_without_an_answer_times_out() {
    let backend = Backend::embedded().await;
    let mut hold = backend.endpoints.hold(Matching::service(Service::DynamoDb).operation("GetItem"), At::Request, ATTEMPTS);
    let id = conversation("d-1");
    let unanswered = async {
        let mut caught = vec![];
        for _ in 0..ATTEMPTS {
            caught.push(hold.caught().await);
        }
        caught
    };
    let alice = user("alice");
    let (answer, _held) = tokio::join!(backend.store.member(&id, &alice), unanswered);
    assert_eq!(answer.unwrap_err().cause, "timed out");
}

#[tokio::test]
async fn a_put_that_meets_a_transaction_is_contended() {
    let backend = Backend::embedded().await;
    let _refusing = backend.answer("PutItem", 1, refusal("TransactionConflictException"));
    assert_eq!(backend.store.put(&entry(&conversation("d-1"), 1, "alice")).await.unwrap(), Put::Contended);
}

#[tokio::test]
async fn a_creation_that_meets_a_transaction_is_contended() {
    let backend = Backend::embedded().await;
    let creation = creation(&conversation("d-1"), &user("alice"), &user("bob"));
    for (answer, is) in [
        (canceled(&["None", "TransactionConflict", "None"]), Created::Contended),
        (canceled(&["ConditionalCheckFailed", "TransactionConflict"]), Created::Exists),
        (refusal("TransactionInProgressException"), Created::Contended),
    ] {
        let refusing = backend.answer("TransactWriteItems", ATTEMPTS, answer);
        assert_eq!(backend.store.create(&creation).await.unwrap(), is);
        drop(refusing);
    }
    let _refusing = backend.answer("TransactWriteItems", ATTEMPTS, canceled(&["None", "ThrottlingError"]));
    assert_eq!(backend.store.create(&creation).await.unwrap_err().cause, "TransactionCanceledException");
}

#[tokio::test]
async fn a_settled_row_waits_out_transactions_and_gives_up_in_the_end() {
    let backend = Backend::embedded().await;
    let (id, alice) = (conversation("d-1"), user("alice"));
    assert_eq!(backend.store.create(&creation(&id, &alice, &user("bob"))).await.unwrap(), Created::New);
    let refusing = backend.answer("TransactGetItems", 4, canceled(&["TransactionConflict"]));
    assert_eq!(backend.store.settled_member(&id, &alice).await.unwrap(), Some(member(&alice)));
    drop(refusing);
    let _refusing = backend.answer("TransactGetItems", usize::MAX, canceled(&["TransactionConflict"]));
    assert_eq!(backend.store.settled_member(&id, &alice).await.unwrap_err().cause, "other transactions were in the way");
}

#[tokio::test]
async fn what_a_batch_leaves_out_is_asked_again_and_not_for_ever() {
    let backend = Backend::embedded().await;
    let ids = [conversation("d-1"), conversation("d-2")];
    for id in &ids {
        assert_eq!(backend.store.create(&creation(id, &user("alice"), &user("bob"))).await.unwrap(), Created::New);
        assert_eq!(backend.store.raise_head(id, position(1)).await.unwrap(), Position::ZERO);
    }
    let keys: Vec<Value> = ids.iter().map(|id| json!({ "c": { "S": id.as_str() }, "k": { "S": "head" } })).collect();
    let found = json!({ "c": { "S": "d-1" }, "k": { "S": "head" }, "e": { "N": "1" }, "s": { "N": "1" } });
    let part = json_answer(
        StatusCode::OK,
        &json!({
            "Responses": { "conversations": [found] },
            "UnprocessedKeys": { "conversations": { "Keys": [keys[1]], "ConsistentRead": true } },
        }),
    );
    let recording = backend.endpoints.record();
    let answering = backend.answer("BatchGetItem", 1, part);
    assert_eq!(backend.store.heads(&ids).await.unwrap(), [position(1), position(1)]);
    let asked: Vec<Value> = recording.calls().iter().map(|call| call.request["RequestItems"]["conversations"]["Keys"].clone()).collect();
    assert_eq!(asked, [json!(keys), json!([keys[1]])]);
    drop(answering);

    let nothing = json_answer(
        StatusCode::OK,
        &json!({
            "Responses": {},
            "UnprocessedKeys": { "conversations": { "Keys": keys, "ConsistentRead": true } },
        }),
    );
    let _answering = backend.answer("BatchGetItem", usize::MAX, nothing);
    assert_eq!(backend.store.heads(&ids).await.unwrap_err().cause, "answered only a part");
}
