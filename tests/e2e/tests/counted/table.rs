//! The table: what the calls of each scene come to.

use std::collections::BTreeMap;

use chatlane_local::embedded::Call;
use chatlane_tests_e2e::{Traffic, padded};

const INTRODUCTION: &str = "\
# What everything costs

Counted by `tests/e2e/tests/counted` from the requests that reach the embedded endpoints; a difference in either direction fails.
`CHATLANE_UPDATE=1 cargo nextest run -p chatlane-tests-e2e --test counted` writes this file.

*Sent* and *answered* are the bytes of the client's request and of its answer. In the rows of messages, cursors and `ping` both users
have one connected device each and an earlier message in the conversation; with ten conversations the other users are not connected. Of a
group a fifth of the members is connected, but at least two; its messages are of whoever became a member last.
A write unit (WCU) is 1 KB written, a read unit (RCU) 4 KB read; every read is strong. A refused conditional write costs its units too.
*Request* is the function that answers the client, *fan-out* the queue's worker; a post by the former is a receipt. In the rows of the
sweeper *request* is the sweeper: it looks at each conversation in which something was stored within a minute. Not counted: the receives
and deletes by which the event source mapping empties the queue, the polling of the stream, the authorizer's request for the identity
provider's keys, and what a starting process reads to open its connections (one read and, for the queue or the gateway, one request that
changes nothing).

";

/// One line of the table.
pub struct Row {
    pub scene: &'static str,
    pub calls: Vec<Call>,
    pub traffic: Traffic,
}

/// What some calls come to.
#[derive(Debug, Default, PartialEq)]
pub struct Count {
    pub operations: BTreeMap<String, usize>,
    pub write_units: f64,
    pub read_units: f64,
}

impl Count {
    fn of<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Self {
        let mut count = Self::default();
        for call in calls {
            *count.operations.entry(call.operation.clone()).or_default() += 1;
            count.write_units += call.write_units;
            count.read_units += call.read_units;
        }
        count
    }

    pub fn calls(&self) -> usize {
        self.operations.values().sum()
    }

    /// `1 GetItem, 2 Query`, without the operation that has a column of its own; and the number in that column.
    fn apart(&self, own_column: &str) -> (String, usize) {
        let others = self.operations.iter().filter(|(operation, _)| *operation != own_column);
        let others: Vec<String> = others.map(|(operation, times)| format!("{times} {operation}")).collect();
        (others.join(", "), self.operations.get(own_column).copied().unwrap_or(0))
    }
}

impl Row {
    pub fn request(&self) -> Count {
        Count::of(self.calls.iter().filter(|call| call.caller.function() != "fan_out"))
    }

    fn fan_out(&self) -> Count {
        Count::of(self.calls.iter().filter(|call| call.caller.function() == "fan_out"))
    }

    pub fn whole(&self) -> Count {
        Count::of(&self.calls)
    }

    fn cells(&self) -> [String; 13] {
        let (request, fan_out, whole) = (self.request(), self.fan_out(), self.whole());
        let (request_calls, sends) = request.apart("SendMessage");
        let (fan_out_calls, posts) = fan_out.apart("PostToConnection");
        [
            self.scene.to_owned(),
            self.traffic.sent_bytes.to_string(),
            self.traffic.answered_bytes.to_string(),
            request_calls,
            request.write_units.to_string(),
            request.read_units.to_string(),
            sends.to_string(),
            fan_out_calls,
            fan_out.write_units.to_string(),
            fan_out.read_units.to_string(),
            posts.to_string(),
            whole.calls().to_string(),
            format!("{} / {}", whole.write_units, whole.read_units),
        ]
    }
}

/// The whole file.
pub fn table(rows: &[Row]) -> String {
    const HEADINGS: [&str; 13] = [
        "",
        "sent",
        "answered",
        "request",
        "WCU",
        "RCU",
        "SQS sends",
        "fan-out",
        "WCU",
        "RCU",
        "posts",
        "calls in all",
        "WCU / RCU in all",
    ];
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    INTRODUCTION.to_owned() + &padded(lines)
}
