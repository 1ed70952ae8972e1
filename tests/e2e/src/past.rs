//! Histories that nobody sent: written straight to the tables, many at once, as the functions would have left them.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{SystemTime, UNIX_EPOCH};

use chatlane_aws::items::json::to_json;
use chatlane_aws::items::{Item, TABLES, entry, head, inbox, member, meta};
use chatlane_chat::deployment::Keys;
use chatlane_chat::log::admission::Bucket;
use chatlane_chat::log::hash::{BodyHash, BodyKey};
use chatlane_chat::log::kinds::direct_conversation;
use chatlane_chat::log::{Facts, MessageEntry, Policy};
use chatlane_chat::ports::{Creation, Deployments as _, Joining};
use chatlane_chat::testing::builders;
use chatlane_chat::{Entry, Kind};
use chatlane_protocol::{ConversationId, UnixMillis};
use serde_json::json;

use crate::Running;

/// `TransactWriteItems` takes 100 actions. A batch takes fewer, and the embedded database writes each of them to its disk alone.
const ITEMS_AT_ONCE_MAX: usize = 100;

/// This machine's time, as a writer puts it into an entry.
///
/// # Panics
/// If the clock is before 1970.
pub fn now() -> UnixMillis {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_millis();
    u64::try_from(since_1970).ok().and_then(|ms| UnixMillis::try_from(ms).ok()).expect("milliseconds fit")
}

/// Items to be written together.
pub struct Past {
    keys: Keys,
    items: Vec<(&'static str, Item)>,
}

impl Past {
    /// Nothing yet, of this stack, whose ids and hashes it has.
    ///
    /// # Panics
    /// If the stack's tables do not answer.
    pub async fn of(stack: &Running) -> Self {
        let deployment = stack.store().await.found(&builders::deployment()).await.expect("the deployment's item is answered");
        Self { keys: Keys::of(&deployment.secret), items: vec![] }
    }

    /// The direct conversation of two users with messages of the second, up to entry `last`, all delivered and none read.
    pub fn conversation(&mut self, one: &str, other: &str, last: u64) -> ConversationId {
        let users = [builders::user(one), builders::user(other)];
        let conversation = direct_conversation(&self.keys.pairs, &users[0], &users[1]);
        let Creation { entry, members, description, .. } = builders::creation(&conversation, &users[0], &users[1]);
        let entry = at(entry, now());
        self.items.push(("conversations", meta::item(&entry.conversation, entry.time, &description)));
        for Joining { member, row } in &members {
            self.items.push(("conversations", member::item(&conversation, member)));
            self.items.push(("inboxes", inbox::item(&member.user, row)));
        }
        self.entry(&entry);
        if last > 1 {
            self.messages(&conversation, other, 2..=last);
        } else {
            self.head(&entry);
        }
        conversation
    }

    /// Messages of `sender` in these slots, which must be the next ones, all delivered.
    ///
    /// # Panics
    /// If there is no slot.
    pub fn messages(&mut self, conversation: &ConversationId, sender: &str, slots: RangeInclusive<u64>) {
        let time = now();
        let key = self.keys.bodies.clone();
        let last = message(conversation, *slots.end(), sender, time, &key);
        for number in slots {
            self.entry(&message(conversation, number, sender, time, &key));
        }
        self.head(&last);
    }

    /// Messages of `sender` in these slots whose texts have so many bytes.
    ///
    /// # Panics
    /// If there is no slot.
    pub fn messages_of_bytes(&mut self, conversation: &ConversationId, sender: &str, slots: RangeInclusive<u64>, bytes: usize) {
        let time = now();
        let one = |number| at(builders::entry_of_bytes(conversation, number, sender, bytes), time);
        slots.clone().for_each(|number| self.entry(&one(number)));
        self.head(&one(*slots.end()));
    }

    fn entry(&mut self, entry: &Entry) {
        self.items.push(("log", entry::item(entry)));
    }

    /// Where delivery has begun: here, as if all of it had.
    fn head(&mut self, last: &Entry) {
        let head = last.head();
        self.items.push(("conversations", head::item(&last.conversation, head)));
    }

    /// Writes all of it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub async fn write(self, stack: &Running) {
        // A transaction takes no key twice: a head may be written again by later messages.
        let mut items = self.items.into_iter().peekable();
        while items.peek().is_some() {
            let (mut puts, mut keys) = (vec![], BTreeSet::new());
            while let Some((table, item)) = items.next_if(|item| keys.len() < ITEMS_AT_ONCE_MAX && keys.insert(key_of(item))) {
                puts.push(json!({ "Put": { "TableName": table, "Item": to_json(&item) } }));
            }
            stack.dynamodb("TransactWriteItems", &json!({ "TransactItems": puts })).await;
        }
    }
}

/// The table's key of an item.
fn key_of((table, item): &(&'static str, Item)) -> String {
    let form = TABLES.iter().find(|form| form.name == *table).expect("a table of ours");
    format!("{table} {:?}", [form.partition, form.sort].map(|name| item.get(name)))
}

/// Message `number`. All of them take the same bytes, in the table and on the wire, whatever their number: what is read and sent then
/// depends on how many they are and not on where they are. A quote takes one byte in the table and two on the wire, so one makes good
/// for each digit that the seq and the count have less than the longest.
fn message(conversation: &ConversationId, number: u64, sender: &str, time: UnixMillis, key: &BodyKey) -> Entry {
    const DIGITS_MAX: usize = 6;
    let entry = builders::entry(conversation, number, sender);
    let missing = |number: u64| DIGITS_MAX - number.to_string().len();
    let quotes = "\"".repeat(missing(number) + missing(entry.facts.count));
    let body = builders::text(&format!("{quotes:.<width$}{number:0DIGITS_MAX$}", width = 2 * DIGITS_MAX));
    let hash = BodyHash::of(&body, key);
    let client_message_id = builders::message_id(&format!("{sender}-{number:0DIGITS_MAX$}"));
    at(
        Entry {
            client_message_id,
            kind: Kind::Message(MessageEntry { body, hash, reply_to: None, mentions: vec![], edits: vec![], edits_bytes: 0 }),
            ..entry
        },
        time,
    )
}

/// Accepted at this time, with a full bucket: a message that is sent next is admitted. A sum of members has twenty digits, mostly.
fn at(entry: Entry, time: UnixMillis) -> Entry {
    let bucket = Bucket::full(Policy::DIRECT.admitted_per_s, time);
    let facts = Facts { bucket, members_sum: Some(u64::MAX), ..entry.facts };
    Entry { time, facts, ..entry }
}
