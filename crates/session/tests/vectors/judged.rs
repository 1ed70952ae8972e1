//! The judge (`vectors/judge.py`) finds nothing in the session and in a client that shares no code with it, and finds a client
//! that breaks a rule, and the rule.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Whether the vectors hold, and what the judge says.
fn judge(arguments: &[&str], client: &[&str]) -> (bool, String) {
    let output = Command::new("python3").arg(vectors().join("judge.py")).args(arguments).args(client).output().expect("python3 is there");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The example, which stands beside the folder of the tests.
fn session() -> String {
    let path = env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().join("examples/stdio");
    path.to_string_lossy().into_owned()
}

#[test]
fn the_session_plays_all_vectors_exactly_over_stdio() {
    let (holds, said) = judge(&["--profile", "exact"], &[&session()]);
    assert!(holds, "{said}");
}

#[test]
fn the_session_plays_all_vectors_freely_whatever_its_random_choices() {
    for seed in ["1", "2", "3"] {
        let (holds, said) = judge(&[], &[&session(), seed]);
        assert!(holds, "seed {seed}: {said}");
    }
}

#[test]
fn a_client_that_shares_no_code_with_the_session_plays_all_vectors() {
    let client = vectors().join("example_client.py");
    for seed in ["1", "2", "3", "4", "5"] {
        let (holds, said) = judge(&["--profile", "free"], &["python3", &client.to_string_lossy(), seed]);
        assert!(holds, "seed {seed}: {said}");
    }
}

/// What breaks the client (a text of it and what is put in its place), the vector that finds it, and the rule that it names.
const BREAKS: [(&str, &str, &str, &str); 40] = [
    (
        "message = {\"client_message_id\": row.name, \"anchor\": wire(row.anchor)",
        "message = {\"client_message_id\": row.name, \"anchor\": wire(one.known)",
        "lost-answer",
        "§6.1 retrying",
    ),
    ("if row.stored != row.version or (batch", "if (batch", "send", "§6.2 the row is durable"),
    (
        "if position[1] < next_seq:
            if position[0] > one.have[0] and one.have != ZERO and source != \"sync\":
                self.unsure(one)
        elif position[1] == next_seq and",
        "if position[1] <= next_seq and",
        "entry-old",
        "§7.1 seq ≤ that of `have`",
    ),
    ("(position[0] == one.have[0] or source == \"sync\" or one.have[1] == 0)", "True", "later-epoch", "of a higher epoch"),
    ("self.now + wait + random.randint(0, wait)", "self.now + random.randint(0, wait // 2)", "gap", "§7.1 seq higher"),
    ("self.not_before = self.now + (after if after <= HOUR_MS else 0)", "self.not_before = self.now", "shut-out", "§9 `rate_limited` f"),
    ("self.fail(row, {\"code\": \"conflict\", \"retryable\": False})", "self.settle(row, result)", "conflict", "§6.1 `conflict`"),
    ("self.write(lambda: self.entry_stored(one, entry))", "self.entry_stored(one, entry)", "entry-next", "§7.1 stored, then shown"),
    (
        "self.connect_at = self.not_before + random.randint(1, self.bound(self.failures))",
        "self.connect_at = self.not_before + 1",
        "back-off",
        "the pauses do not grow",
    ),
    ("* 2 ** min(failures, 16)", "* 2 ** min(failures, 0)", "back-off", "§8.3 reconnect with full jitter"),
    (
        "self.now + self.set[\"ping_wait_ms\" if action == \"ping\" else \"answer_wait_ms\"]",
        "self.now + 10 * self.set[\"ping_wait_ms\" if action == \"ping\" else \"answer_wait_ms\"]",
        "half-open",
        "§8.3 a dead connection",
    ),
    (
        "socket.heard + self.limits[\"ping_after_idle_ms\"]",
        "socket.heard + 10 * self.limits[\"ping_after_idle_ms\"]",
        "half-open",
        "§8.1 after `ping_after_idle_ms`",
    ),
    ("after = (error or {}).get(\"retry_after_ms\", 0)", "after = 0", "rate-limited", "§9 `rate_limited` m"),
    ("socket.live and self.now - socket.since >= STEADY_MS", "socket.live", "short-connections", "the pauses do not grow"),
    ("socket.live and self.now - socket.since >= STEADY_MS", "False", "short-connections", "§8.3 reconnect with full jitter"),
    ("if len(one.buffer) > self.set[\"ahead_entries_max\"]:", "if False:", "buffer-bound", "§7.1 seq higher"),
    ("(batch and size > self.limits[\"request_bytes_max\"])", "False", "send-bytes", "§3 `request_bytes_max`"),
    ("one.log != request.logs[one.name] or not self.storing", "not self.storing", "old-sync", "§9 `epoch_changed` m"),
    ("if request.log != request.about.log:", "if False:", "old-probe", "§6.2 the anchor moves to `reached`"),
    ("self.opens.setdefault(row[\"user\"], row[\"opening\"])", "pass", "held-restart", "§13.4 written before there is a conversation"),
    ("after if after <= HOUR_MS else 0", "after", "open-next-day", "§9 `rate_limited` f"),
    ("self.lost_hello = False\n            self.ping_wanted", "self.ping_wanted", "lost-hello", "§8.3 displaced by one's own `hello`"),
    ("or at <= one.member_at", "", "highest-position", "§5.3 the end: the highest position"),
    ("pos(page.get(\"ended\", ends[-1])), \"ended\" not in page)", "pos(ends[-1]), True)", "ended-already", "§7.2 `ok`: `ended`"),
    (
        "if self.conversation(name).is_group() and not self.conversation(name).ended:",
        "if False:",
        "missing-in-ping",
        "§8.1 a group that is missing",
    ),
    ("if one.ended or one.prefs_doubted:", "if one.prefs_doubted:", "removed", "§5.3 the end: nothing more is asked"),
    ("one.doubt = one.doubt or one.ended", "pass", "ended-restart", "§5.3 added again"),
    ("if row.state == \"waiting\":  # an attempt", "if False:  # an attempt", "ended-and-waiting", "§5.3 the end: what waits"),
    ("if stored and not self.flying(\"create\"", "if not self.flying(\"create\"", "create", "§5.2 `create`"),
    (
        "if row.kind != \"message\":\n                    break",
        "if row.kind != \"message\":\n                    continue",
        "changes-in-order",
        "§6.1 order",
    ),
    ("message.get(\"edited\", 0) < seq", "True", "fold-edit", "§7.1 `edit`"),
    ("message.get(\"reactions_to\", 0) < seq", "True", "fold-reaction", "§7.1 `reaction`"),
    ("by.pop(\"body\", None)", "pass", "fold-deletion", "§7.1 `deletion`"),
    ("(prefs[\"version\"] > one.prefs[\"version\"] or", "(True or", "prefs-changed", "§5.5 `prefs_changed`"),
    ("one.wish_stored == one.wished and", "", "prefs-offline", "§5.5 `prefs`"),
    ("and one.read_private == private", "", "private-read", "§7.4 `private`"),
    ("one.read_private = told.get(\"read_private\", False)", "pass", "private-elsewhere", "§7.4 `private`"),
    ("one.mentioned = max(one.mentioned, position[1])", "pass", "mentioned", "§4 `mentioned`"),
    ("one.others.pop(user, None)", "pass", "group-cursors", "§8.1 `cursors` of a group"),
    ("fold(entry, by, self.user)", "pass", "fold-history", "§7.1 `deletion`"),
];

#[test]
fn a_client_that_breaks_a_rule_is_found_with_the_rule() {
    let whole = fs::read_to_string(vectors().join("example_client.py")).unwrap();
    for (number, (text, instead, vector, rule)) in BREAKS.into_iter().enumerate() {
        assert_eq!(whole.matches(text).count(), 1, "`{text}` is not once in the client");
        let path = env::temp_dir().join(format!("chatlane-broken-client-{}-{number}.py", std::process::id()));
        fs::write(&path, whole.replace(text, instead)).unwrap();
        let (holds, said) = judge(&["--only", vector], &["python3", &path.to_string_lossy(), "1"]);
        fs::remove_file(&path).unwrap();
        assert!(!holds && said.starts_with(&format!("{vector}, step ")) && said.contains(rule), "{text}: {said}");
    }
}

#[test]
fn an_integer_may_be_written_with_a_point() {
    let whole = fs::read_to_string(vectors().join("example_client.py")).unwrap();
    let path = env::temp_dir().join(format!("chatlane-client-with-points-{}.py", std::process::id()));
    fs::write(&path, whole.replace("\"seq\": pair[1]}", "\"seq\": float(pair[1])}")).unwrap();
    let (holds, said) = judge(&["--only", "send"], &["python3", &path.to_string_lossy(), "1"]);
    fs::remove_file(&path).unwrap();
    assert!(holds, "{said}");
}

#[test]
fn a_client_that_ends_or_says_nothing_or_something_else_is_found() {
    let says = |answer: &str| format!("for line in open(0): print({answer:?}, flush=True)");
    let programs = [
        (String::new(), "the client answered no line"),
        ("import time; time.sleep(60)".to_owned(), "within 1.0 s"),
        (says("[]"), "the client answered no line"),
        (says(r#"{"outputs": [], "wake_at_ms": 0}"#), "its wait is over before now"),
        (says(r#"{"outputs": [{"type": "send"}], "wake_at_ms": null}"#), "an output is not as README.md has it: KeyError('frame')"),
    ];
    for (program, why) in programs {
        let (holds, said) = judge(&["--only", "send", "--patience", "1"], &["python3", "-c", &program]);
        assert!(!holds && said.contains(why), "{program}: {said}");
    }
}
