//! What may not appear in a source file. Comments and literals may say what they like: only code counts.

use std::collections::BTreeSet;
use std::path::Path;

use chatlane_tests_workspace::{code, has_words, read, rust_files, without_tests};

/// Time, entropy and threads are arguments in the pure crates; a handler that left work behind would resume it in a later invocation.
const UNPROMPTED: [&str; 9] =
    ["SystemTime::now", "Instant::now", "tokio::spawn", "task::spawn", "spawn_blocking", "thread::spawn", "rand::", "new_v4", "now_v7"];

/// The only files that may: (file, words, why).
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("functions/environment.rs", "SystemTime::now", "the clock that all functions are given is made once, at a process's start"),
    ("functions/environment.rs", "Instant::now", "the same, for how long something took"),
];

/// Test modules in files of their own have the name that their `#[cfg(test)] mod` gives them.
fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

fn production_code(path: &Path) -> String {
    without_tests(&code(&read(path)))
}

#[test]
fn the_pure_crates_and_the_handlers_take_time_and_randomness_as_arguments() {
    let mut used = BTreeSet::new();
    let files = ["crates/protocol/src", "crates/chat/src", "crates/session/src", "functions"].into_iter().flat_map(rust_files);
    for path in files.filter(|path| !is_test_file(path)) {
        let (code, name) = (production_code(&path), path.to_string_lossy());
        for words in UNPROMPTED.into_iter().filter(|words| has_words(&code, words)) {
            let exception = EXCEPTIONS.iter().position(|(file, excepted, _)| *file == name && *excepted == words);
            let Some(exception) = exception else { panic!("{name} has `{words}`") };
            used.insert(exception);
        }
    }
    assert_eq!(used.len(), EXCEPTIONS.len(), "an exception is no longer needed");
}

#[test]
fn no_service_of_aws_is_named_below_the_aws_crate() {
    for folder in ["crates/protocol/src", "crates/chat/src", "crates/session/src", "crates/client/src", "crates/terminal/src"] {
        for path in rust_files(folder) {
            let code = code(&read(&path)).to_lowercase();
            for name in ["aws_sdk", "dynamodb", "dynamo_db", "sqs", "apigateway", "lambda_"] {
                assert!(!code.contains(name), "{} has `{name}`", path.display());
            }
        }
    }
}

/// A file of production code tells one story; a longer one says why it is still one, in its module documentation.
const LINES_MAX: usize = 400;
const WHY: &str = "//! Longer than 400 lines because ";

#[test]
fn a_file_of_more_than_400_lines_says_why() {
    let files = ["crates", "functions"].into_iter().flat_map(rust_files);
    let production = files.filter(|path| !is_test_file(path) && !path.starts_with("crates/chat/src/testing"));
    let too_long = production.filter(|path| {
        let text = read(path);
        let says_why = text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.starts_with(WHY));
        text.lines().count() > LINES_MAX && !says_why
    });
    let too_long: Vec<_> = too_long.collect();
    assert!(too_long.is_empty(), "more than {LINES_MAX} lines and no line `{WHY}…`: {too_long:?}");
}

#[test]
fn no_test_is_ignored() {
    for path in ["crates", "functions", "tests"].into_iter().flat_map(rust_files) {
        let code = code(&read(&path));
        assert!(!code.contains("#[ignore"), "{}: remove the test or let it run", path.display());
    }
}

#[test]
fn nothing_is_left_to_be_written() {
    for path in ["crates", "functions", "tests"].into_iter().flat_map(rust_files) {
        let code = code(&read(&path));
        for macro_name in ["todo!", "unimplemented!", "dbg!"] {
            assert!(!has_words(&code, macro_name), "{} has `{macro_name}`", path.display());
        }
    }
}

#[test]
fn comments_and_literals_are_not_code() {
    let source = r##"
        a(); // sqs
        /* sqs /* nested sqs */ still sqs */ b();
        c("sqs \" sqs", r"sqs", r#"sqs " sqs"#, br"sqs", b"sqs", 'q', '\'', 'é', '"');
        d::<'static>("sqs"); let r#type = "sqs"; operator("sqs");
    "##;
    let code = code(source);
    assert!(!code.contains("sqs"), "{code}");
    for kept in ["a();", "b();", "c(", "d::<'static>(", "r#type =", "operator("] {
        assert!(code.contains(kept), "{kept}: {code}");
    }
    assert_eq!(code.lines().count(), source.lines().count());
}

#[test]
fn an_unfinished_comment_or_literal_ends_with_the_file() {
    for source in ["a /* sqs", "a \"sqs", "a r#\"sqs\"", "a // sqs", "a '\\"] {
        assert_eq!(code(source).trim_end(), "a");
    }
}

#[test]
fn test_modules_are_not_production_code() {
    let code = "fn a() { x() } #[cfg(test)] mod tests { fn b() { { y() } } } fn c() { z() } #[cfg(test)] mod more; fn d() {}";
    assert_eq!(without_tests(code), "fn a() { x() }  fn c() { z() }  fn d() {}");
    assert_eq!(without_tests("#[cfg(test)] mod unfinished {"), "");
}

#[test]
fn words_are_not_found_inside_longer_ones() {
    assert!(has_words("use rand::Rng;", "rand::"));
    assert!(!has_words("operand::Left", "rand::"));
    assert!(has_words("Uuid::new_v4()", "new_v4"));
    assert!(!has_words("Uuid::new_v4_from()", "new_v4"));
}
