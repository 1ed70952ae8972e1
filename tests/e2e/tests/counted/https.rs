//! What a device asks without a socket: each route of the HTTP API, and the handshake that a ticket opens.

use chatlane_protocol::Position;
use chatlane_tests_e2e::pocketed::Pocketed;
use chatlane_tests_e2e::{Traffic, message};
use serde_json::{Value, json};

use crate::scene::{Pair, Scene};
use crate::table::Row;

impl Scene<'_> {
    /// A phone of one whose friend has written to them twice, and is there.
    pub async fn without_a_socket(&mut self) -> Vec<Row> {
        let number = self.pair().await;
        let phone = Pocketed::new(self.stack, &self.user("bobby", number));
        let Pair { conversation, tail, .. } = &self.pairs[number];
        let (before, named) = (position_before(*tail), json!([{ "conversation": conversation, "position": tail }]));
        let mut rows = vec![];
        for (scene, frame) in [
            ("HTTPS: hello, one conversation", json!({ "action": "hello", "v": 1 })),
            ("HTTPS: sync of 1 missing", json!({ "action": "sync", "conversations": [{ "conversation": conversation, "after": before }] })),
            ("HTTPS: history, 2 entries", json!({ "action": "history", "conversation": conversation })),
            ("HTTPS: probe over 1 entry", json!({ "action": "probe", "conversation": conversation, "anchor": before, "ids": ["x"] })),
            ("HTTPS: ack", json!({ "action": "ack", "positions": named })),
            ("HTTPS: read", json!({ "action": "read", "positions": named })),
            (
                "HTTPS: a quiet message",
                json!({ "action": "send", "conversation": conversation, "messages": [message("from my pocket", *tail)] }),
            ),
        ] {
            rows.push(self.over_https(scene, &phone, frame).await.0);
        }
        let (row, answer) = self.over_https("HTTPS: ticket", &phone, json!({ "action": "ticket" })).await;
        rows.push(row);
        let device = phone.connects_as(phone.id, &answer["ticket"]).await.expect("it opens a connection");
        rows.push(Row { scene: "handshake with a ticket", calls: self.calls().await, traffic: device.traffic() });
        self.others.push(device);
        rows
    }

    async fn over_https(&self, scene: &'static str, phone: &Pocketed<'_>, frame: Value) -> (Row, Value) {
        self.calls().await;
        let sent_bytes = frame.to_string().len() + r#","id":"1""#.len();
        let answer = phone.answered(frame).await;
        let traffic = Traffic { requests: 1, sent_bytes, answered_bytes: answer.to_string().len() };
        (Row { scene, calls: self.calls().await, traffic }, answer)
    }
}

const fn position_before(Position { epoch, seq }: Position) -> Position {
    Position::new(epoch, seq.minus(1))
}
