//! What is allowed is not found, however odd.

use chatlane_tests_checker::{Check, Excuse, judge};
use serde_json::{Value, json};

use crate::story::{Story, answered, at, attempt, cursor, entry, item, of_d1, told};

fn excused(story: &Story, excuse: Excuse) -> u64 {
    story.judged().excused().get(&excuse).copied().unwrap_or_default()
}

fn nothing_is_found(story: &Story) {
    let verdict = story.judged();
    assert!(verdict.violations().is_empty(), "{:#?}", verdict.violations());
}

#[test]
fn the_good_stories_are_good_and_between_them_check_everything() {
    let stories = [Story::good(), Story::restored(), Story::group(), Story::amended()];
    stories.iter().for_each(nothing_is_found);
    let verdicts = stories.map(|story| story.judged());
    for check in Check::ALL {
        assert!(verdicts.iter().any(|verdict| verdict.checked(*check) > 0), "{check:?} has nothing to check");
    }
    let groups = [Check::Facts, Check::Received, Check::ToldOf, Check::Left];
    let idle = [Check::LostAlike, Check::Words, Check::RollBacks].into_iter().chain(groups).chain([Check::Reactions, Check::Admitted]);
    assert!(verdicts[0].idle().eq(idle), "{:?}", verdicts[0].idle().collect::<Vec<_>>());
}

#[test]
fn nothing_is_checked_where_there_is_nothing_and_that_is_visible() {
    let verdict = judge("", "").unwrap();
    assert_eq!(verdict.idle().count(), Check::ALL.len());
    assert_eq!(verdict.to_string().matches("(nothing to check)").count(), Check::ALL.len());
}

/// A put may have landed whose answer is lost, with its enqueue, and whose sender does not come back.
#[test]
fn an_entry_whose_sender_was_not_told_may_wait_behind_the_head() {
    let mut story = Story::good();
    story.before_quiescence(attempt("desk", "9", &["m9"]));
    story.before_quiescence(told("desk", "away", json!({})));
    story.dump.push(item(6, 1, "bob", "m9"));
    nothing_is_found(&story);
    assert_eq!(excused(&story, Excuse::BeyondTheHead), 1);
}

#[test]
fn an_outcome_that_is_not_known_may_be_either() {
    let mut story = Story::good();
    story.before_quiescence(attempt("desk", "9", &["m9"]));
    story.before_quiescence(of_d1("desk", "result", json!({"request": "9", "id": "m9", "status": "refused", "code": "unavailable"})));
    story.before_quiescence(told("desk", "away", json!({})));
    nothing_is_found(&story);
    story.dump.push(item(6, 1, "bob", "m9"));
    nothing_is_found(&story);
}

/// Refused for good, and an earlier attempt without an answer was stored: L5 and R1 have nothing to say.
#[test]
fn a_message_that_was_refused_may_be_in_the_log_by_an_attempt_without_an_answer() {
    let mut story = Story::good();
    let first = story.find("phone", "attempt", 1);
    story.history.insert(first, attempt("phone", "0", &["m5"]));
    story.dump.push(item(6, 1, "alice", "m5"));
    nothing_is_found(&story);
    assert_eq!(excused(&story, Excuse::OutOfOrder), 1);
}

#[test]
fn a_strangers_answer_that_cannot_be_compared_is_counted() {
    let mut story = Story::good();
    story.without("spy", "asked_as_stranger", 1);
    nothing_is_found(&story);
    assert_eq!(excused(&story, Excuse::NotComparable), 1);
    let mut story = Story::good();
    story.line("spy", "asked_as_stranger", 0)["answer"] = r#"{"type":"error","code":"unavailable"}"#.into();
    nothing_is_found(&story);
    assert_eq!(excused(&story, Excuse::NotComparable), 1);
}

#[test]
fn a_message_that_a_restore_took_back_may_be_repeated_behind_others() {
    let mut story = Story::restored();
    let restored = story.find("", "restored", 0);
    story.history.insert(restored, answered("desk", "7", "m5", &at(1, 4)));
    story.history.insert(restored, attempt("desk", "7", &["m5"]));
    story.before_quiescence(attempt("desk", "8", &["m6", "m5"]));
    story.before_quiescence(answered("desk", "8", "m6", &at(2, 4)));
    story.before_quiescence(answered("desk", "8", "m5", &at(2, 5)));
    for (seq, id) in [(4, "m6"), (5, "m5")] {
        story.dump.push(item(seq, 2, "bob", id));
        for device in ["phone", "desk"] {
            story.before_quiescence(of_d1(device, "shown", entry(seq, (2, "bob", id))));
        }
    }
    for device in ["phone", "desk"] {
        story.without(device, "end", 0);
    }
    story.set(("conversations", "k", "head"), "s", json!({"N": "5"}));
    story.set(("conversations", "k", "head"), "n", json!({"N": "4"}));
    nothing_is_found(&story);
    assert_eq!((excused(&story, Excuse::TakenBack), excused(&story, Excuse::OutOfOrder)), (2, 1));
    assert!(story.judged().to_string().ends_with("1  excused: messages in the log that may stand out of order\n"));
}

#[test]
fn without_the_backups_tails_a_restore_may_have_taken_back_any_end_of_the_log() {
    let mut story = Story::restored();
    story.line("", "restored", 0)["tails"] = Value::Null;
    nothing_is_found(&story);
}

#[test]
fn a_device_that_is_away_is_owed_nothing() {
    let mut story = Story::good();
    for nth in [4, 3] {
        story.without("desk", "shown", nth);
    }
    story.without("desk", "live", 2);
    story.without("desk", "end", 0);
    story.before_quiescence(told("desk", "away", json!({})));
    nothing_is_found(&story);
}

/// Killed between the commit and the line that tells of it.
#[test]
fn what_the_store_has_and_no_line_told_is_had_after_a_restart() {
    let mut story = Story::good();
    story.line("desk", "restart", 0)["has"][0]["position"] = at(1, 4);
    story.without("desk", "shown", 3);
    nothing_is_found(&story);
    // A skip that no line told.
    story.line("desk", "restart", 0)["has"][0]["from"] = at(1, 4);
    nothing_is_found(&story);
}

/// Killed when its store had another entry in place of one that a restore took back, before it told of either.
#[test]
fn what_a_restore_took_back_is_not_had_any_more_after_a_restart_in_a_later_epoch() {
    let mut story = Story::restored();
    story.without("desk", "rolled_back", 0);
    story.without("desk", "shown", 3);
    story.before_quiescence(told("desk", "restart", json!({"has": [{"conversation": "d1", "position": at(2, 3)}], "outbox": []})));
    for what in ["connect", "hello", "live"] {
        story.before_quiescence(told("desk", what, json!({})));
    }
    nothing_is_found(&story);
}

#[test]
fn a_restart_that_tells_nothing_goes_on_where_the_device_was() {
    let mut story = Story::good();
    let (restart, user) = (story.line("desk", "restart", 0), "bob");
    *restart = json!({"what": "restart", "device": "desk", "user": user});
    nothing_is_found(&story);
}

#[test]
fn a_receipt_may_be_repeated_and_cursors_may_move_back_over_a_restore() {
    let mut story = Story::good();
    let again = story.line("phone", "cursors", 1).clone();
    story.before_quiescence(again);
    nothing_is_found(&story);
    let first = story.line("phone", "cursors", 0).clone();
    story.before_quiescence(json!({"what": "restored", "epoch": 2}));
    story.before_quiescence(first);
    nothing_is_found(&story);
}

/// What others have read need not be written at once: a device that dies may show less after it.
#[test]
fn a_new_life_may_show_a_lower_cursor_of_others() {
    let mut story = Story::good();
    let first = story.line("phone", "cursors", 0).clone();
    for what in ["restart", "connect", "hello", "live"] {
        story.before_quiescence(told("phone", what, json!({})));
    }
    story.before_quiescence(first);
    nothing_is_found(&story);
}

/// The backup may hold an entry, and neither its head nor its cursors.
#[test]
fn a_backup_may_lack_the_head_and_the_cursors_of_what_it_holds() {
    let mut story = Story::good();
    story.before_quiescence(json!({"what": "restored", "epoch": 2, "tails": {"d1": 5}}));
    // The answer was on its way while the tables were restored.
    story.before_quiescence(of_d1("tablet", "taken", json!({"position": at(1, 5), "cursor": "delivered"})));
    story.set(("conversations", "k", "head"), "s", json!({"N": "4"}));
    story.set(("conversations", "k", "head"), "n", json!({"N": "3"}));
    story.set(("inboxes", "u", "alice"), "d:tablet", Value::Null);
    story.set(("inboxes", "u", "bob"), "d:desk", cursor(1, 2));
    nothing_is_found(&story);
}

#[test]
fn a_device_is_the_same_with_and_without_hyphens() {
    const DEVICE: &str = "3F0C2F64-2d0f-4a1c-9a47-0f8f2a4cf001";
    let (history, dump) = Story::good().texts();
    let history = history.replace("\"tablet\"", &format!("\"{DEVICE}\""));
    let dump = dump.replace("d:tablet", &format!("d:{}", DEVICE.replace('-', "").to_lowercase()));
    let dump = dump.replace("{\"S\":\"tablet\"}", &format!("{{\"S\":\"{}\"}}", DEVICE.to_lowercase()));
    assert!(judge(&history, &dump).unwrap().violations().is_empty());
}

#[test]
fn a_user_is_the_same_in_a_key_and_in_the_history() {
    let (history, dump) = Story::good().texts();
    let history = history.replace("\"alice\"", "\"auth0|a#b/ü\"");
    let key = "auth0%7Ca%23b%2F%C3%BC";
    let dump = dump.replace("member#alice", &format!("member#{key}")).replace("\"u\":{\"S\":\"alice\"}}", "\"u\":{\"S\":\"auth0|a#b/ü\"}}");
    let rows = |line: &str| line.contains("\"table\":\"inboxes\"") || line.contains("\"table\":\"users\"");
    let owner = |line: &str| {
        if rows(line) { line.replace("\"u\":{\"S\":\"alice\"}", &format!("\"u\":{{\"S\":\"{key}\"}}")) } else { line.to_owned() }
    };
    let dump: String = dump.lines().map(|line| owner(line).replace("\"alice\"", "\"auth0|a#b/ü\"") + "\n").collect();
    let verdict = judge(&history, &dump).unwrap();
    assert!(verdict.violations().is_empty(), "{:#?}", verdict.violations());
}

/// FNV-1a of `text/plain`, a line feed, `text`, a line feed, `m1`.
#[test]
fn a_body_may_be_told_by_its_hash() {
    let mut story = Story::good();
    story.line("phone", "shown", 1)["body"] = json!("fnv1a64:d31bcc38a7269c6e");
    nothing_is_found(&story);
}

#[test]
fn bytes_are_compared_as_base64() {
    let (history, dump) = Story::good().texts();
    let history = history.replace("\"text\":\"m1\"", "\"data\":\"AP8=\"");
    let dump = dump.replace("\"x\":{\"S\":\"m1\"}", "\"d\":{\"B\":\"AP8=\"}");
    assert!(judge(&history, &dump).unwrap().violations().is_empty());
    let dump = dump.replace("AP8=", "AP4=");
    assert!(!judge(&history, &dump).unwrap().violations().is_empty());
}

/// It may say who joins and who leaves: nobody is judged by the first entry alone.
#[test]
fn a_log_with_an_unknown_kind_is_not_judged_by_its_first_entry() {
    let mut story = Story::good();
    let mut unknown = item(6, 1, "alice", "g1");
    (unknown["item"]["k"], unknown["item"]["n"]) = (json!({"S": "member"}), json!({"N": "4"}));
    story.dump.push(unknown);
    let mut behind = item(7, 1, "carol", "x3");
    behind["item"]["n"] = json!({"N": "5"});
    story.dump.push(behind);
    story.before_quiescence(attempt("spy", "9", &["x3"]));
    story.before_quiescence(of_d1("spy", "given_up", json!({"id": "x3"})));
    let verdict = story.judged();
    assert!(verdict.violations().is_empty(), "{:#?}", verdict.violations());
    assert_eq!((verdict.checked(Check::Senders), verdict.checked(Check::Readers)), (0, 0));
    assert_eq!(excused(&story, Excuse::MembersUnknown), 1);
}

#[test]
fn a_hundred_thousand_lines_are_judged() {
    const MESSAGES: usize = 16_000;
    let mut story = Story { history: vec![], dump: vec![] };
    for device in ["phone", "tablet", "desk"] {
        story.history.extend(["connect", "hello", "live"].map(|what| told(device, what, json!({}))));
    }
    story.history.push(told("phone", "open", json!({"id": "o1"})));
    for seq in 1..=MESSAGES {
        let id = if seq == 1 { "o1".to_owned() } else { format!("m{seq}") };
        if seq > 1 {
            story.history.push(attempt("phone", &seq.to_string(), &[&id]));
            story.history.push(answered("phone", &seq.to_string(), &id, &at(1, seq as u64)));
        }
        for device in ["phone", "tablet", "desk"] {
            story.history.push(of_d1(device, "shown", entry(seq, (1, "alice", &id))));
        }
        story.history.push(of_d1("desk", "told_ack", json!({"position": at(1, seq as u64)})));
        story.dump.push(item(seq, 1, "alice", &id));
    }
    story.history.push(json!({"what": "quiescent"}));
    let head = json!({"c": {"S": "d1"}, "k": {"S": "head"}, "e": {"N": "1"}, "s": {"N": MESSAGES.to_string()}});
    story.dump.push(json!({"table": "conversations", "item": head}));
    for user in ["alice", "bob"] {
        story.dump.push(json!({"table": "conversations", "item": {"c": {"S": "d1"}, "k": {"S": format!("member#{user}")}}}));
        story.dump.push(json!({"table": "inboxes", "item": {"c": {"S": "d1"}, "u": {"S": user}, "d:desk": cursor(1, 7)}}));
    }
    let alices = story.dump.len() - 3;
    story.dump[alices]["item"]["d:desk"] = Value::Null;
    let (history, dump) = story.texts();
    assert!(history.lines().count() + dump.lines().count() > 100_000);
    let begun = std::time::Instant::now();
    let verdict = judge(&history, &dump).unwrap();
    println!("{} lines in {:?}", history.lines().count() + dump.lines().count(), begun.elapsed());
    assert!(verdict.violations().is_empty(), "{:#?}", &verdict.violations()[..1]);
}
