//! What the sweeper costs, where it finds nothing and where it finds what a dead sender left.

use axum::http::StatusCode;
use chatlane_local::embedded::{Answer, At, Matching, Service};
use chatlane_protocol::{ConversationId, Seq};
use chatlane_tests_e2e::{message, patiently};

use crate::long_ago::LongAgo;
use crate::scene::{Pair, Scene};
use crate::table::Row;

impl Scene<'_> {
    pub async fn swept(&mut self, long_ago: &LongAgo) -> [Row; 3] {
        let number = self.pair().await;
        let Pair { alice, bob, conversation, tail } = &self.pairs[number];
        let slot = |seq: Seq| [(conversation.clone(), seq)];
        let (one, ()) = self.row("a minute of one conversation, swept", alice, self.stack.sweep(&slot(tail.seq))).await;
        let ten: Vec<(ConversationId, Seq)> = long_ago.tens.iter().map(|at| (at.conversation.clone(), at.position.seq)).collect();
        let (many, ()) = self.row("a minute of ten conversations, swept", alice, self.stack.sweep(&ten)).await;

        let enqueue = Matching::service(Service::Sqs).function("send").operation("SendMessage");
        let mut hold = self.stack.endpoints().hold(enqueue, At::Request, 1);
        let refused = async {
            patiently("the enqueue", hold.caught()).await.answer(Answer::error(StatusCode::BAD_REQUEST, "AccessDenied", "by the test"));
        };
        let left = [message("left", *tail)];
        let (sent, ()) = tokio::join!(alice.send(conversation, &left), refused);
        assert!(sent.is_err(), "acknowledged, although nobody is going to deliver it: {sent:?}");
        let next = slot(tail.seq.next());
        let (found, ()) = self.row("a message that nobody queued, swept and delivered", alice, self.stack.sweep(&next)).await;
        bob.entry(conversation, tail.seq.next().get()).await;
        [one, many, found]
    }
}
