//! What is a request and what is not: `docs/PROTOCOL.md` §3 and §12.

use chatlane_protocol::frames::encode;
use chatlane_protocol::request::{BadRequest, Hello, Known, PositionIn, Positions, Probe, Sync, SyncFrom, exchange, parse, refuse};
use chatlane_protocol::{Action, ClientMessageId, ConversationId, ErrorCode, Position, Request, RequestId, Seq, limits};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The text of this request, with the id `7`.
fn request(action: &str, fields: Value) -> String {
    let mut request = json!({ "action": action, "id": "7" });
    let Value::Object(fields) = fields else { panic!("fields") };
    request.as_object_mut().unwrap().extend(fields);
    request.to_string()
}

/// The refusal of this text, which must be `bad_request` and have this id.
fn bad(text: &str, id: Option<&str>) -> String {
    let refused = Request::parse(text).expect_err(text);
    assert_eq!(refused.refusal.code, ErrorCode::BadRequest, "{text}");
    assert_eq!(refused.id.as_ref().map(RequestId::as_str), id, "{text}");
    refused.refusal.message
}

fn good(text: &str) -> Request {
    Request::parse(text).unwrap_or_else(|bad| panic!("{text}: {}", bad.refusal.message))
}

/// Conversation ids in ascending order.
fn conversations(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("d{index:03}")).collect()
}

/// A list for `sync.conversations`, `sync.ack` or `positions`.
fn list(field: &str, conversations: &[String]) -> Value {
    conversations.iter().map(|conversation| json!({ "conversation": conversation, field: { "epoch": 1, "seq": 2 } })).collect()
}

fn known(conversations: &[&str]) -> Value {
    conversations.iter().map(|conversation| json!([conversation, 1, 2, 1, 1])).collect()
}

// holds: R1
#[test]
fn a_refusal_never_repeats_what_the_client_sent() {
    let secrets = [
        request("hello", json!({ "v": "SECRET" })),
        request("hello", json!({ "v": 1, "known": ["SECRET"] })),
        request("open", json!({ "with": ["SECRET"], "client_message_id": "m" })),
        request("refresh", json!({ "token": ["SECRET"] })),
        request("refresh", json!({ "token": "SECRET".repeat(2_000) })),
        request("sync", json!({ "conversations": [{ "conversation": "SECRET#", "after": { "epoch": 1, "seq": 1 } }] })),
        request("probe", json!({ "conversation": "d1", "anchor": "SECRET", "ids": ["m"] })),
        request("create", json!({ "client_message_id": "m", "settings": { "title": "SECRET\n" } })),
        request("create", json!({ "client_message_id": "m", "settings": { "send": "SECRET" } })),
        request("create", json!({ "client_message_id": "m", "users": ["SECRET", "SECRET"] })),
    ];
    for text in secrets {
        assert!(!bad(&text, Some("7")).contains("SECRET"), "{text}");
    }
}

// holds: R1
#[test]
fn debug_output_never_holds_the_token() {
    let Request::Refresh(refresh) = good(&request("refresh", json!({ "token": "SECRET" }))) else { panic!("a refresh") };
    assert_eq!(refresh.token.as_str(), "SECRET");
    assert!(!format!("{refresh:?}").contains("SECRET"));
}

#[test]
fn a_token_has_1_byte_to_8_kb() {
    for length in [1, limits::TOKEN_BYTES_MAX] {
        good(&request("refresh", json!({ "token": "t".repeat(length) })));
    }
    for length in [0, limits::TOKEN_BYTES_MAX + 1] {
        let why = bad(&request("refresh", json!({ "token": "t".repeat(length) })), Some("7"));
        assert!(why.contains("a token must be 1 byte to 8 KB"), "{why}");
    }
}

#[test]
fn null_in_an_optional_field_counts_as_missing() {
    let rows = [
        ("hello", json!({ "v": 1 }), json!({ "after": null, "known": null, "known_to": null })),
        ("sync", json!({ "conversations": list("after", &conversations(1)) }), json!({ "ack": null })),
        ("history", json!({ "conversation": "d1" }), json!({ "before": null, "limit": null })),
        ("ping", json!({}), json!({ "open": null })),
        ("create", json!({ "client_message_id": "m" }), json!({ "users": null, "settings": null })),
        (
            "create",
            json!({ "client_message_id": "m", "settings": {} }),
            json!({ "settings": { "title": null, "locked": null, "send": null } }),
        ),
        ("members", json!({ "conversation": "d1" }), json!({ "after": null, "limit": null })),
    ];
    for (action, fields, nulls) in rows {
        let mut with_nulls = fields.clone();
        with_nulls.as_object_mut().unwrap().extend(nulls.as_object().unwrap().clone());
        assert_eq!(good(&request(action, with_nulls)), good(&request(action, fields)), "{action}");
    }
}

// holds: R1
#[test]
fn known_rows_are_ascending_and_lie_between_after_and_known_to() {
    let rows = [
        (true, json!({ "known": known(&[]) })),
        (true, json!({ "known": known(&["d1", "d2", "d3"]) })),
        (true, json!({ "after": "d0", "known": known(&["d1", "d2"]) })),
        (true, json!({ "after": "d0", "known": known(&["d1", "d2"]), "known_to": "d2" })),
        (true, json!({ "after": "d0", "known": known(&[]), "known_to": "d2" })),
        (false, json!({ "known": known(&["d2", "d1"]) })),
        (false, json!({ "known": known(&["d1", "d1"]) })),
        (false, json!({ "known": known(&["d1", "d3", "d2"]) })),
        (false, json!({ "after": "d1", "known": known(&["d1"]) })),
        (false, json!({ "after": "d2", "known": known(&["d1"]) })),
        (false, json!({ "known": known(&["d1", "d2"]), "known_to": "d1" })),
        (false, json!({ "after": "d1", "known_to": "d1" })),
        (false, json!({ "after": "d2", "known_to": "d1" })),
    ];
    for (is_good, mut fields) in rows {
        fields["v"] = json!(1);
        let text = request("hello", fields);
        assert_eq!(Request::parse(&text).is_ok(), is_good, "{text}");
    }
}

#[test]
fn a_thousand_conversations_fit_into_two_requests_as_known() {
    let rows: Vec<Known> = (0..1_000)
        .map(|index| Known {
            conversation: ConversationId::new(format!("d{index:027}")).unwrap(),
            have: Position::new(1, Seq::try_from(100_000).unwrap()),
            read: Position::new(1, Seq::try_from(100_000).unwrap()),
            prefs: 0,
        })
        .collect();
    assert!(encode(&rows).len() <= 2 * limits::KNOWN_BYTES_MAX, "{}", encode(&rows).len());
    let id = ConversationId::new("x".repeat(limits::CONVERSATION_ID_BYTES_MAX)).unwrap();
    let rest =
        Hello { id: RequestId::new("\"".repeat(64)).unwrap(), v: u32::MAX, after: Some(id.clone()), known: vec![], known_to: Some(id) };
    assert!(encode(&Request::Hello(rest)).len() + r#","known":"#.len() + limits::KNOWN_BYTES_MAX <= limits::WEBSOCKET_FRAME_BYTES_MAX);
}

/// More, fewer, and twice the same are in the corpus of `bad_input.rs`.
#[test]
fn lists_hold_as_many_as_their_limits_say() {
    const ALL: usize = limits::CONVERSATIONS_PER_REQUEST_MAX;
    let position = json!({ "epoch": 1, "seq": 2 });
    let sync = |count| json!({ "conversations": list("after", &conversations(count)) });
    let sync_ack = |count| json!({ "conversations": list("after", &conversations(1)), "ack": list("position", &conversations(count)) });
    let positions = |count| json!({ "positions": list("position", &conversations(count)) });
    let open = |count| json!({ "open": conversations(count) });
    let probe = |count| json!({ "conversation": "d1", "anchor": position, "ids": conversations(count) });
    let history = |limit: usize| json!({ "conversation": "d1", "limit": limit });
    let create = |count| json!({ "client_message_id": "m", "users": conversations(count) });
    let users = |count| json!({ "conversation": "d1", "client_message_id": "m", "anchor": position, "users": conversations(count) });
    let info = |count| json!({ "conversations": conversations(count) });
    for (action, both) in [
        ("sync", [sync(1), sync(ALL)]),
        ("sync", [sync_ack(0), sync_ack(ALL)]),
        ("ack", [positions(1), positions(ALL)]),
        ("read", [positions(1), positions(ALL)]),
        ("ping", [open(0), open(limits::OPEN_CONVERSATIONS_MAX)]),
        ("probe", [probe(1), probe(limits::PROBED_IDS_MAX)]),
        ("history", [history(1), history(limits::HISTORY_ENTRIES_MAX)]),
        ("create", [create(0), create(limits::USERS_PER_ENTRY_MAX - 1)]),
        ("add", [users(1), users(limits::USERS_PER_ENTRY_MAX)]),
        ("remove", [users(1), users(limits::REMOVED_PER_ENTRY_MAX)]),
        ("info", [info(1), info(limits::INFO_CONVERSATIONS_MAX)]),
        ("members", [history(1), history(limits::MEMBERS_PAGE_MAX)]),
    ] {
        for fields in both {
            good(&request(action, fields));
        }
    }
}

#[test]
fn a_request_is_what_its_action_says_whatever_else_it_holds() {
    let text = request("ping", json!({ "positions": [], "conversations": [[]], "messages": [[]], "token": 5, "anchor": [] }));
    assert!(matches!(good(&text), Request::Ping(_)));
}

#[test]
fn a_route_takes_its_own_action_and_no_other_whatever_its_fields_are() {
    let positions = request("ack", json!({ "positions": list("position", &conversations(1)) }));
    let Request::Ack(ack) = good(&positions) else { panic!("an ack") };
    assert_eq!(parse::<exchange::Ack>(&positions), Ok(ack));
    let unknown = |refused: BadRequest| (refused.refusal.code, refused.id) == (ErrorCode::UnknownAction, RequestId::new("7").ok());
    for text in [positions, request("ack", json!({ "positions": 5 })), request("dance", json!({}))] {
        assert!(parse::<exchange::Read>(&text).is_err_and(unknown), "{text}");
        assert!(unknown(refuse(&text)), "{text}");
    }
    for text in ["[]", r#"{"id":"7"}"#, r#"{"action":"ping","action":"ping","id":"7"}"#, r#"{"action":"dance"}"#] {
        assert_eq!(parse::<exchange::Ping>(text), Err(refuse(text)));
        assert_eq!(Request::parse(text), Err(refuse(text)));
        assert_eq!(refuse(text).refusal.code, ErrorCode::BadRequest, "{text}");
    }
}

#[test]
fn what_no_action_reads_must_be_json_all_the_same_and_may_be_repeated() {
    let with = |field: &str| format!(r#"{{"action":"ping","id":"7",{field}}}"#);
    let nested = |levels: usize| with(&format!(r#""x":{}{}"#, "[".repeat(levels), "]".repeat(levels)));
    good(&nested(126));
    good(&with(r#""x":1,"x":[{"\ud83d\ude00":-1.5e3}],"positions":5"#));
    let position = json!({ "conversation": "d1", "position": { "epoch": 1, "seq": 2 }, "body": [], "after": 5 });
    good(&request("ack", json!({ "positions": [position] })));
    for text in [nested(127), with(r#""x":"\ud800""#), with(r#""\udc00":1"#), with(r#""x":1e999"#)] {
        let said = bad(&text, Some("7"));
        assert!(said.starts_with("a value at line 1 column ") && said.contains("cannot be represented: a lone surrogate"), "{said}");
    }
    bad(&format!("{} 1", with(r#""x":1"#)), None);
}

#[test]
fn an_integer_is_the_same_however_it_is_written() {
    let probe = |seq: &str, epoch: &str| {
        let anchor = format!(r#"{{"epoch":{epoch},"seq":{seq}}}"#);
        format!(r#"{{"action":"probe","id":"7","conversation":"d1","anchor":{anchor},"ids":["m"]}}"#)
    };
    for (seq, epoch) in [("1", "2"), ("1.0", "2.0"), ("1e0", "2e0"), ("0.1e1", "20e-1"), ("1.000", "2E0")] {
        assert_eq!(good(&probe(seq, epoch)), good(&probe("1", "2")), "{seq}");
    }
    assert_eq!(good(&probe("9007199254740991.0", "4294967295e0")), good(&probe("9007199254740991", "4294967295")));
    assert_eq!(good(&probe("-0", "-0.0")), good(&probe("0", "0")));
    let hello = |numbers: &str| good(&format!(r#"{{"action":"hello","id":"7","v":1.0,"known":[["d1",{numbers}]]}}"#));
    assert_eq!(hello("1,2,3,4,5"), hello("1.0,2e0,30e-1,4.0,5e0,\"later\""));
    let history = |limit: &str| good(&format!(r#"{{"action":"history","id":"7","conversation":"d1","before":3.0,"limit":{limit}}}"#));
    assert_eq!(history("5"), history("5.0"));
    for seq in ["1.5", "-1", "-1.0", "9007199254740992", "9007199254740992.0", "1e16", "1e300", "18446744073709551616", "\"1\"", "null"] {
        bad(&probe(seq, "1"), Some("7"));
    }
    for epoch in ["0.5", "-1", "4294967296", "4294967296.0"] {
        bad(&probe("1", epoch), Some("7"));
    }
}

#[test]
fn a_bad_field_is_named_with_what_it_must_be() {
    let position = |epoch: Value, seq: Value| json!({ "epoch": epoch, "seq": seq });
    let sync = |after: Value| request("sync", json!({ "conversations": [{ "conversation": "d1", "after": after }] }));
    let seqs = "expected an integer from 0 to 9007199254740991";
    for (text, said) in [
        (sync(position(json!(1), json!(1_u64 << 53))), format!("`conversations[0].after.seq`: {seqs} at line 1 column ")),
        (sync(position(json!(1), json!(", expected x"))), format!("`conversations[0].after.seq`: {seqs} at line 1 column ")),
        (sync(position(json!(-1), json!(1))), "`conversations[0].after.epoch`: expected an integer from 0 to 4294967295".to_owned()),
        (sync(json!({ "epoch": 1 })), "`conversations[0].after`: missing field `seq`".to_owned()),
        (sync(json!([1, 1])), "`conversations[0].after`: an array stands where an object belongs".to_owned()),
        (request("hello", json!({ "v": "1" })), "`v`: expected an integer from 0 to 4294967295".to_owned()),
        (request("hello", json!({ "v": 1, "known": [["d1", 1, 2, 1]] })), "`known[0]`: a row has five or six values".to_owned()),
        (request("hello", json!({ "v": 1, "known": [["d1", 1, 2, 1, -1]] })), format!("`known[0][4]`: {seqs}")),
        (request("hello", json!({ "v": 1, "known": [7] })), "`known[0]`: expected a row of five or six values".to_owned()),
        (request("open", json!({ "with": "bob" })), "missing field `client_message_id`".to_owned()),
        (request("open", json!({ "with": "", "client_message_id": "m" })), "`with`: a user id must be".to_owned()),
        (request("ack", json!({ "positions": 7 })), "`positions`: expected a sequence".to_owned()),
    ] {
        let found = bad(&text, Some("7"));
        assert!(found.starts_with(&said), "{found}, not {said}");
    }
}

#[test]
fn an_action_is_found_by_its_name() {
    for &action in Action::ALL {
        assert_eq!(Action::from_name(action.name()), Some(action));
    }
    assert_eq!(Action::from_name("dance"), None);
    assert_eq!(Action::from_name("HELLO"), None);
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u32>(), 0..=limits::INTEGER_MAX).prop_map(|(epoch, seq)| Position::new(epoch, Seq::try_from(seq).unwrap()))
}

fn conversation() -> impl Strategy<Value = ConversationId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| ConversationId::new(text).unwrap())
}

fn positions() -> impl Strategy<Value = Vec<PositionIn>> {
    let rows = btree_map(conversation(), (position(), option::of(position())), 1..20);
    rows.prop_map(|rows| rows.into_iter().map(|(conversation, (position, read))| PositionIn { conversation, position, read }).collect())
}

proptest! {
    #[test]
    fn known_rows_survive_the_wire(rows in btree_map(conversation(), (position(), position()), 0..20)) {
        let known = rows.into_iter().map(|(conversation, (have, read))| Known { conversation, have, read, prefs: 0 }).collect();
        let hello = Request::Hello(Hello { id: RequestId::new("7").unwrap(), v: 1, after: None, known, known_to: None });
        prop_assert_eq!(Request::parse(&encode(&hello)), Ok(hello));
    }

    #[test]
    fn positions_survive_the_wire(positions in positions(), quiet: bool, after in positions(), id in "[^\\p{Cc}]{1,16}") {
        let id = RequestId::new(id).unwrap();
        let from = |PositionIn { conversation, position, .. }| SyncFrom { conversation, after: position };
        let requests = [
            Request::Ack(Positions { id: id.clone(), positions: positions.clone(), private: false, quiet }),
            Request::Read(Positions { id: id.clone(), positions: positions.clone(), private: false, quiet }),
            Request::Sync(Sync { id, conversations: after.into_iter().map(from).collect(), ack: positions }),
        ];
        for request in requests {
            prop_assert_eq!(Request::parse(&encode(&request)), Ok(request));
        }
    }

    #[test]
    fn a_probe_survives_the_wire(anchor in position(), ids in btree_set("[^\\p{Cc}]{1,16}", 1..=limits::PROBED_IDS_MAX)) {
        let ids = ids.into_iter().map(|text| ClientMessageId::new(text).unwrap()).collect();
        let conversation = ConversationId::new("d1").unwrap();
        let probe = Request::Probe(Probe { id: RequestId::new("7").unwrap(), conversation, anchor, ids });
        prop_assert_eq!(Request::parse(&encode(&probe)), Ok(probe));
    }

    // holds: R1
    #[test]
    fn no_text_makes_the_parser_panic(words in vec(any::<String>(), 0..4), cut in any::<prop::sample::Index>()) {
        let whole = request("sync", json!({ "conversations": list("after", &conversations(3)), "ack": words }));
        let cut = cut.index(whole.len() + 1);
        for text in words.iter().map(String::as_str).chain([String::from_utf8_lossy(&whole.as_bytes()[..cut]).as_ref()]) {
            let _ = Request::parse(text);
        }
    }
}

// holds: K1
#[test]
fn a_row_of_known_may_have_more_than_six_values() {
    let hello = |row: Value| good(&request("hello", json!({ "v": 1, "known": [row] })));
    assert_eq!(hello(json!(["d1", 1, 2, 1, 1, 7, { "of": [1.5, null] }])), hello(json!(["d1", 1, 2, 1, 1, 7])));
}
