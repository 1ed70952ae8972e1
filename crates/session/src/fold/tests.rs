use chatlane_protocol::{Body, ClientMessageId, Position, ReactionKey, UnixMillis};
use serde_json::{Value, json};

use super::*;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn entry(seq: u64, sender: &str, kind: EntryKind) -> Entry {
    Entry {
        position: Position::new(1, Seq::try_from(seq).unwrap()),
        sender: user(sender),
        client_message_id: ClientMessageId::new(format!("m{seq}")).unwrap(),
        time_ms: UnixMillis::ZERO,
        count: 1,
        kind,
        as_it_came: None,
    }
}

fn body(text: &str) -> Body {
    Body::text(text).unwrap()
}

fn second() -> Seq {
    Seq::try_from(2).unwrap()
}

fn message() -> Entry {
    entry(2, "bob", EntryKind::Message(body("one").into()))
}

fn edit(seq: u64, text: Option<&str>) -> Entry {
    entry(seq, "bob", EntryKind::Edit { target: second(), body: text.map(body) })
}

fn reaction(seq: u64, sender: &str, key: &str, change: ReactionChange) -> Entry {
    let reacting = Reacting { target: second(), key: ReactionKey::new(key).unwrap(), change };
    entry(seq, sender, EntryKind::Reaction(reacting))
}

/// What the message is after these, each in its turn, as alice reads it; as JSON without what never changes.
fn folded(mut target: Entry, about: &[Entry]) -> Value {
    for upto in 0..=about.len() {
        fold(Some(&mut target), &mut about[..upto].to_vec(), &user("alice"));
    }
    let mut once = serde_json::to_value(&target).unwrap();
    for name in ["position", "sender", "client_message_id", "time_ms", "count"] {
        once.as_object_mut().unwrap().remove(name);
    }
    once
}

#[test]
fn an_edit_replaces_the_body_if_the_message_does_not_tell_of_it_yet() {
    let text = |text: &str| json!({"content_type": "text/plain", "text": text});
    assert_eq!(
        folded(message(), &[edit(3, Some("two")), edit(5, Some("three"))]),
        json!({"kind": "message", "body": text("three"), "edited": 5})
    );
    let newer = Message { edited: Some(Seq::try_from(5).unwrap()), ..body("three").into() };
    let newer = entry(2, "bob", EntryKind::Message(newer));
    assert_eq!(folded(newer, &[edit(3, Some("two")), edit(5, Some("none"))])["body"], text("three"));
    assert_eq!(folded(message(), &[edit(3, None)]), json!({"kind": "message", "body": text("one")}), "deleted since");
}

#[test]
fn reactions_are_counted_once_above_what_the_message_tells() {
    use ReactionChange::{Add, Remove};
    let about =
        [reaction(3, "bob", "b", Add), reaction(4, "alice", "a", Add), reaction(5, "carol", "b", Add), reaction(6, "bob", "b", Remove)];
    let expected = json!([{"key": "a", "count": 1, "mine": true}, {"key": "b", "count": 1}]);
    assert_eq!((&folded(message(), &about)["reactions"], &folded(message(), &about)["reactions_to"]), (&expected, &json!(6)));
    let mut told = message();
    let counted = vec![ReactionCount { key: ReactionKey::new("b").unwrap(), count: 2, mine: None }];
    told.kind = EntryKind::Message(Message { reactions: counted, reactions_to: Some(Seq::try_from(5).unwrap()), ..body("one").into() });
    assert_eq!(folded(told, &about)["reactions"], json!([{"key": "b", "count": 1}]));
    let gone = [reaction(3, "alice", "a", Add), reaction(4, "alice", "a", Remove)];
    assert_eq!(folded(message(), &gone).get("reactions"), None);
}

#[test]
fn a_deletion_takes_the_words_of_the_message_and_of_its_edits_whichever_comes_first() {
    let deletion = entry(5, "carol", EntryKind::Deletion { target: second() });
    assert_eq!(folded(message(), &[edit(3, Some("two")), deletion.clone()]), json!({"kind": "deleted"}));
    let alice = user("alice");
    let mut about = [edit(3, Some("two")), deletion];
    fold(None, &mut about, &alice);
    assert_eq!(about[0].kind, edit(3, None).kind, "the message is not here");
    let mut about = [edit(3, Some("two"))];
    fold(Some(&mut entry(2, "bob", EntryKind::Deleted)), &mut about, &alice);
    assert_eq!(about[0].kind, edit(3, None).kind, "the deletion is not here");
}

#[test]
fn what_this_version_does_not_know_of_a_message_stays() {
    let came = json!({"position": {"epoch": 1, "seq": 2}, "sender": "bob", "client_message_id": "m2", "time_ms": 0, "count": 1,
        "kind": "message", "body": {"content_type": "text/plain", "text": "one"}, "later": [1]});
    let target: Entry = serde_json::from_value(came).unwrap();
    let reacted = folded(target.clone(), &[edit(3, Some("two")), reaction(4, "bob", "b", ReactionChange::Add)]);
    assert_eq!((&reacted["later"], &reacted["edited"], &reacted["body"]["text"]), (&json!([1]), &json!(3), &json!("two")));
    assert_eq!(reacted["reactions"], json!([{"key": "b", "count": 1}]));
    let deleted = folded(target, &[entry(5, "carol", EntryKind::Deletion { target: second() })]);
    assert_eq!(deleted, json!({"kind": "deleted"}));
}

#[test]
fn what_is_no_message_is_not_changed() {
    let hidden = entry(2, "bob", EntryKind::Hidden);
    assert_eq!(folded(hidden, &[edit(3, Some("two")), reaction(4, "bob", "b", ReactionChange::Add)]), json!({"kind": "hidden"}));
}
