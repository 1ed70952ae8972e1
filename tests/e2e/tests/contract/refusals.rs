//! What AWS may answer and embedded `DynamoDB` never does: throttles, conflicts, parts of a batch, lost answers.

use axum::http::{HeaderMap, StatusCode};
use chatlane_aws::items::json::to_json;
use chatlane_aws::items::{self, head, inbox};
use chatlane_chat::log::Head;
use chatlane_chat::ports::{
    Advance, Advanced, Connection, Connections as _, Created, Creations as _, Deployments as _, Failure, Heads as _, InboxRow,
    Inboxes as _, Memberships as _, MessageLog as _, Put, ReadBound, ReadCursor, last,
};
use chatlane_chat::testing::builders::{
    connection, conversation, creation, deployment, device, entry, member, position, session, start, user,
};
use chatlane_local::embedded::{Answer, At, Matching, Service};
use chatlane_protocol::{ConversationId, Position, Seq, UnixMillis};
use chatlane_tests_e2e::Refusing;
use serde_json::{Value, json};

use crate::embedded::Backend;

/// The SDK's own attempts at one request.
const ATTEMPTS: usize = 3;

const HEAD: Head = Head { position: Position::new(1, Seq::FIRST), count: 0, time: UnixMillis::ZERO, group: None };

const EVERYTHING: ReadBound = ReadBound::entries(usize::MAX);

/// Device 1 and the user at this entry.
fn to(number: u64) -> Advance {
    Advance {
        delivered: Some(position(number)),
        read: Some(ReadCursor { position: position(number), count: number }),
        dropped: vec![],
        shown: chatlane_chat::ports::Shown::Follows,
    }
}

impl Backend {
    /// A conversation of alice and bob; answers her new row of it.
    async fn create(&self, name: &str) -> InboxRow {
        let (id, bob) = (conversation(name), user("bob"));
        assert_eq!(self.store.create(&creation(&id, &user("alice"), &bob)).await.unwrap(), Created::New);
        InboxRow::new(id, Some(bob), &member(&user("alice")))
    }

    /// Moves alice's cursors.
    async fn advance(&self, conversation: &ConversationId, to: Advance) -> Result<Option<Advanced>, Failure> {
        self.store.advance(&user("alice"), conversation, device(1), to).await
    }

    /// The next `count` requests of this operation get this answer and take no effect.
    fn answer(&self, operation: &str, count: usize, answer: Answer) -> Refusing {
        Refusing::answering(self.endpoints.hold(Matching::service(Service::DynamoDb).operation(operation), At::Request, count), answer)
    }

    /// All attempts at the request of this call are throttled.
    fn throttled<T: std::fmt::Debug>(&self, operation: &str, call: impl Future<Output = Result<T, Failure>>) -> impl Future<Output = ()> {
        let refusing = self.answer(operation, ATTEMPTS, refusal("ProvisionedThroughputExceededException"));
        let call = Box::pin(call); // a large future
        async move {
            let unavailable = call.await.unwrap_err();
            drop(refusing);
            assert!(unavailable.to_string().ends_with("ProvisionedThroughputExceededException"));
            // R1: neither whose it was nor what was in it.
            assert!(!unavailable.to_string().contains("alice"), "{unavailable}");
        }
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

#[tokio::test]
async fn a_throttled_request_is_unavailable_whatever_it_is() {
    let backend = Backend::embedded().await;
    let (store, id, alice) = (&backend.store, conversation("d-1"), user("alice"));
    let ids = [conversation("d-1"), conversation("d-2")];
    let slots = ids.clone().map(|id| (id, Seq::FIRST));
    let connection = connection("a=");

    backend.throttled("Query", store.read(&id, Seq::FIRST, EVERYTHING)).await;
    backend.throttled("Query", store.read_back(&id, None, EVERYTHING)).await;
    backend.throttled("Query", store.members(&id)).await;
    backend.throttled("Query", store.inbox(&alice, None, 10)).await;
    backend.throttled("PutItem", store.put(&entry(&id, 1, "alice"))).await;
    backend.throttled("TransactWriteItems", store.create(&creation(&id, &alice, &user("bob")))).await;
    backend.throttled("GetItem", store.member(&id, &alice)).await;
    backend.throttled("GetItem", store.heads(&ids[..1])).await;
    backend.throttled("TransactGetItems", store.member_consistent(&id, &alice)).await;
    backend.throttled("BatchGetItem", store.heads(&ids)).await;
    backend.throttled("BatchGetItem", store.of_users(std::slice::from_ref(&alice))).await;
    backend.throttled("UpdateItem", store.raise_head(&id, HEAD)).await;
    backend.throttled("UpdateItem", store.register(&alice, &session("a="), start())).await;
    backend.throttled("UpdateItem", store.remove(&alice, std::slice::from_ref(&connection))).await;
    backend.throttled("UpdateItem", store.prolong(&alice, &connection, start())).await;
    backend.throttled("GetItem", store.session(&alice, &connection)).await;
    backend.throttled("UpdateItem", store.advance(&alice, &id, device(1), to(1))).await;
    for (count, operation) in [(1, "GetItem"), (2, "BatchGetItem")] {
        backend.throttled(operation, store.inbox_rows(&alice, &ids[..count])).await;
        backend.throttled(operation, store.at(&slots[..count])).await;
    }
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
    // The SDK's second attempt is refused by the first one's entry (seen with microburst); the core knows its own by sender and id.
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
    assert!(answer.unwrap_err().to_string().ends_with("no connection, or it was lost"));
    assert_eq!(last(&backend.store, &mine.conversation).await.unwrap(), Some(mine), "unavailable means unknown: it was stored");
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
    assert!(answer.unwrap_err().to_string().ends_with("timed out"));
}

#[tokio::test]
async fn a_founding_whose_answer_is_lost_meets_itself_and_one_that_is_not_answered_is_unavailable() {
    let backend = Backend::embedded().await;
    let (store, mine) = (&backend.store, deployment());
    backend.throttled("GetItem", store.deployment()).await;
    backend.throttled("PutItem", store.found(&mine)).await;
    {
        // DynamoDB answers the item where it is asked to.
        let _refusing = backend.answer("PutItem", 1, refusal("ConditionalCheckFailedException"));
        assert!(store.found(&mine).await.unwrap_err().to_string().ends_with("refused without the item that stands"));
    }
    let put = Matching::service(Service::DynamoDb).operation("PutItem");
    let mut hold = backend.endpoints.hold(put, At::Answer, 1);
    let (answer, ()) = tokio::join!(store.found(&mine), async { hold.caught().await.lose() });
    assert_eq!((answer.unwrap(), store.deployment().await.unwrap()), (mine.clone(), Some(mine)));
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
    assert!(backend.store.create(&creation).await.unwrap_err().to_string().ends_with("TransactionCanceledException"));
}

#[tokio::test]
async fn a_settled_row_waits_out_transactions_and_gives_up_in_the_end() {
    let backend = Backend::embedded().await;
    let (id, alice) = (conversation("d-1"), user("alice"));
    assert_eq!(backend.store.create(&creation(&id, &alice, &user("bob"))).await.unwrap(), Created::New);
    let refusing = backend.answer("TransactGetItems", 4, canceled(&["TransactionConflict"]));
    assert_eq!(backend.store.member_consistent(&id, &alice).await.unwrap(), Some(member(&alice)));
    drop(refusing);
    let _refusing = backend.answer("TransactGetItems", usize::MAX, canceled(&["TransactionConflict"]));
    assert!(backend.store.member_consistent(&id, &alice).await.unwrap_err().to_string().ends_with("other transactions were in the way"));
}

#[tokio::test]
async fn what_a_batch_leaves_out_is_asked_again_and_not_for_ever() {
    let backend = Backend::embedded().await;
    let ids = [conversation("d-1"), conversation("d-2")];
    for id in &ids {
        backend.create(id.as_str()).await;
        assert_eq!(backend.store.raise_head(id, HEAD).await.unwrap(), Position::ZERO);
    }
    let keys: Vec<Value> = ids.iter().map(|id| to_json(&head::key(id))).collect();
    let found = to_json(&head::item(&ids[0], HEAD));
    let part = json_answer(
        StatusCode::OK,
        &json!({
            "Responses": { "conversations": [found] },
            "UnprocessedKeys": { "conversations": { "Keys": [keys[1]], "ConsistentRead": true } },
        }),
    );
    let recording = backend.endpoints.record();
    let answering = backend.answer("BatchGetItem", 1, part);
    assert_eq!(backend.store.heads(&ids).await.unwrap(), [HEAD, HEAD]);
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
    assert!(backend.store.heads(&ids).await.unwrap_err().to_string().ends_with("answered only a part"));
}

#[tokio::test]
async fn entries_and_rows_that_a_batch_leaves_out_are_asked_again() {
    let backend = Backend::embedded().await;
    let rows = [backend.create("d-1").await, backend.create("d-2").await];
    let ids = rows.clone().map(|row| row.conversation);
    let slots = ids.clone().map(|id| (id, Seq::FIRST));
    let unprocessed = |table: &str, keys: [Value; 2]| {
        let rest = json!({ table: { "Keys": keys, "ConsistentRead": true } });
        json_answer(StatusCode::OK, &json!({ "Responses": { table: [] }, "UnprocessedKeys": rest }))
    };

    let keys = ids.clone().map(|id| to_json(&items::entry::key(&id, Seq::FIRST)));
    let answering = backend.answer("BatchGetItem", 1, unprocessed("log", keys));
    let entries = backend.store.at(&slots).await.unwrap();
    let expected = ids.clone().map(|id| Some(creation(&id, &user("alice"), &user("bob")).entry));
    assert_eq!(entries, expected);
    drop(answering);

    let keys = ids.clone().map(|id| to_json(&inbox::key(&user("alice"), &id)));
    let _answering = backend.answer("BatchGetItem", 1, unprocessed("inboxes", keys));
    assert_eq!(backend.store.inbox_rows(&user("alice"), &ids).await.unwrap(), rows.map(|row| Ok(Some(row))));
}

#[tokio::test]
async fn a_cursor_whose_answer_is_lost_has_moved_and_its_move_is_not_told() {
    let backend = Backend::embedded().await;
    let id = backend.create("d-1").await.conversation;
    let mut hold = backend.endpoints.hold(Matching::service(Service::DynamoDb).operation("UpdateItem"), At::Answer, 1);
    let (advanced, ()) = tokio::join!(backend.advance(&id, to(3)), async { hold.caught().await.lose() });
    // The SDK's second attempt meets what the first has written.
    let Advanced { before, after } = advanced.unwrap().unwrap();
    assert_eq!(before, after);
    assert_eq!((after.delivered[&device(1)], after.read), (position(3), ReadCursor { position: position(3), count: 3 }));
}

#[tokio::test]
async fn cursors_that_are_refused_for_no_reason_are_unavailable() {
    let backend = Backend::embedded().await;
    let id = backend.create("d-1").await.conversation;
    let row = to_json(&inbox::item(&user("alice"), &InboxRow::new(id.clone(), None, &member(&user("alice")))));
    let code = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    let refusal = json_answer(StatusCode::BAD_REQUEST, &json!({ "__type": code, "message": "refused", "Item": row }));
    let _refusing = backend.answer("UpdateItem", usize::MAX, refusal);
    assert!(backend.advance(&id, to(3)).await.unwrap_err().to_string().ends_with("refused where nothing is in the way"));
}

#[tokio::test]
async fn a_session_whose_prolonging_is_not_answered_is_prolonged() {
    let backend = Backend::embedded().await;
    let (alice, mine) = (user("alice"), session("a="));
    backend.store.register(&alice, &mine, start()).await.unwrap();
    let mut hold = backend.endpoints.hold(Matching::service(Service::DynamoDb).operation("UpdateItem"), At::Answer, 1);
    let later = mine.expires.plus_ms(1);
    let (prolonged, ()) = tokio::join!(backend.store.prolong(&alice, &mine.connection, later), async { hold.caught().await.lose() });
    assert_eq!(prolonged.unwrap(), Some(Connection { expires: later, ..mine }));
}
