//! An input that is not what the README says is refused, with the line and the reason.

use chatlane_tests_checker::judge;

const QUIESCENT: &str = r#"{"what":"quiescent"}"#;

fn history(line: &str) -> String {
    let text = format!("{QUIESCENT}\n\n{line}\n{QUIESCENT}\n");
    judge(&text, "").expect_err(line).to_string()
}

fn dump(table: &str, item: &str) -> String {
    let text = format!("{{\"table\":\"{table}\",\"item\":{item}}}");
    judge("", &text).expect_err(item).to_string()
}

#[test]
fn a_line_of_the_history_that_is_malformed_is_named() {
    let of = |rest: &str| history(&format!(r#"{{"device":"a","user":"u",{rest}}}"#));
    assert!(history("{").starts_with("history line 3: not JSON: "));
    assert_eq!(history("[]"), "history line 3: not a JSON object");
    assert_eq!(history("{}"), "history line 3: `what` is missing");
    assert_eq!(history(r#"{"what":null}"#), "history line 3: `what` is missing");
    assert_eq!(history(r#"{"what":1}"#), "history line 3: `what` is not text");
    assert_eq!(history(r#"{"what":"live"}"#), "history line 3: `device` is missing");
    assert_eq!(history(r#"{"what":"live","device":"a"}"#), "history line 3: `user` is missing on the first line of this device");
    assert_eq!(of(r#""what":"livid""#), "history line 3: `what` is `livid`, which the README does not know");
    assert_eq!(of(r#""what":"opened","conversation":"d","head":[1,2]"#), "history line 3: `head` is not a position {\"epoch\", \"seq\"}");
    assert_eq!(
        of(r#""what":"opened","conversation":"d","head":{"epoch":1,"seq":-1}"#),
        of(r#""what":"opened","conversation":"d","head":{}"#)
    );
    assert_eq!(
        of(r#""what":"result","conversation":"d","id":"m","status":"fine""#),
        "history line 3: `status` is `fine`, which the README does not know"
    );
    assert_eq!(of(r#""what":"taken","cursor":"both""#), "history line 3: `cursor` is neither `delivered` nor `read`");
    assert_eq!(of(r#""what":"bad","ids":[1]"#), "history line 3: `ids` is not a list of texts");
    assert_eq!(of(r#""what":"attempt","conversation":"d","messages":[1]"#), "history line 3: `messages` is not a list of objects");
    let body = |body: &str| of(&format!(r#""what":"attempt","conversation":"d","messages":[{{"id":"m","body":{body}}}]"#));
    for bad in ["1", r#""text""#, r#""fnv1a64:12""#, r#""fnv1a64:000000000000000g""#, "{}", r#"{"content_type":"t"}"#, r#"{"text":"t"}"#] {
        assert!(body(bad).starts_with("history line 3: `body` is not a body"), "{bad}");
    }
    assert_eq!(history(r#"{"what":"restored","epoch":"2"}"#), "history line 3: `epoch` is not an integer");
    assert_eq!(history(r#"{"what":"restored","epoch":2,"tails":[]}"#), "history line 3: `tails` is not an object");
}

#[test]
fn a_device_that_changes_its_user_is_malformed() {
    let text = "{\"what\":\"live\",\"device\":\"a\",\"user\":\"u\"}\n{\"what\":\"live\",\"device\":\"a\",\"user\":\"v\"}";
    let malformed = judge(text, "").unwrap_err();
    assert_eq!(malformed.to_string(), "history line 2: `user` is not the one of this device's lines before");
}

#[test]
fn an_item_of_the_dump_that_is_malformed_is_named() {
    assert_eq!(judge("", "\n{\"item\":{}}").unwrap_err().to_string(), "dump line 2: `table` is missing");
    assert_eq!(judge("", "{\"table\":\"log\"}").unwrap_err().to_string(), "dump line 1: `item` is missing");
    assert_eq!(dump("logs", "{}"), "dump line 1: `table` is `logs`, which the README does not know");
    assert_eq!(dump("log", "{}"), "dump line 1: attribute `c` is missing");
    assert_eq!(dump("log", r#"{"c":"d"}"#), "dump line 1: attribute `c` is not {\"S\": text}");
    assert_eq!(dump("log", r#"{"c":{"S":"d"},"k":{"S":"c"},"m":{"S":"u"}}"#), "dump line 1: attribute `m` is not a list of texts");
    assert_eq!(dump("log", r#"{"c":{"S":"d"},"k":{"S":"m"},"ct":{"S":"t"}}"#), "dump line 1: attribute `d` is missing");
    assert_eq!(dump("log", r#"{"c":{"S":"d"},"k":{"S":"z"},"e":{"N":"1.5"}}"#), "dump line 1: attribute `e` is not an integer");
    for user in ["%", "%4", "%zz", "%ff"] {
        let row = format!(r#"{{"u":{{"S":"{user}"}},"c":{{"S":"d"}}}}"#);
        assert_eq!(dump("inboxes", &row), format!("dump line 1: `{user}` is not a user as keys have them"));
    }
    let cursor = r#"{"u":{"S":"u"},"c":{"S":"d"},"d:a":{"N":"999999999999999999999999999999999999999"}}"#;
    assert!(dump("inboxes", cursor).starts_with("dump line 1: attribute `d:a` is"), "{}", dump("inboxes", cursor));
    assert_eq!(dump("inboxes", r#"{"u":{"S":"u"},"c":{"S":"d"},"r":{"N":"1"}}"#), "dump line 1: attribute `rn` is missing");
    assert_eq!(dump("users", r#"{"u":{"S":"u"},"k":{"S":"sessions"},"c:x":{"S":"d"}}"#), "dump line 1: `M` is missing");
}
