//! The program itself.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use chatlane_tests_checker::{Guarantee, Violation, judge};

use crate::story::Story;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_checker")).args(arguments).output().expect("the program runs")
}

/// A folder of the test's own.
fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).expect("the folder is made");
    folder
}

fn judged(test: &str, story: &Story) -> (Option<i32>, String, String) {
    let folder = folder(test);
    let (history, dump) = story.texts();
    let paths = ["history.jsonl", "dump.jsonl"].map(|name| folder.join(name).to_str().expect("the path is text").to_owned());
    for (path, text) in paths.iter().zip([history, dump]) {
        fs::write(path, text).expect("the file is written");
    }
    let output = run(&[&paths[0], &paths[1]]);
    let said = |bytes| String::from_utf8(bytes).expect("the output is text");
    (output.status.code(), said(output.stdout), said(output.stderr))
}

#[test]
fn a_good_history_ends_with_0_and_every_count_is_printed() {
    let (code, out, err) = judged("good", &Story::good());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.contains("L5            4  messages in the log, and what is done to them: behind what their device attempted before\n"),
        "{out}"
    );
    assert!(out.contains("0  roll-backs: after a restore   (nothing to check)\n"), "{out}");
    assert!(out.ends_with("0 violations; 9 of 49 checks had nothing to check\n"), "{out}");
}

#[test]
fn a_bad_history_ends_with_1_and_the_lines_are_shown() {
    let mut story = Story::good();
    let index = story.find("phone", "shown", 2);
    let line = story.history[index + 1].clone();
    story.history.remove(index);
    let (code, out, err) = judged("bad", &story);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert!(out.contains("   VIOLATED 1 times"), "{out}");
    assert!(out.contains("\nD1: 1:4 of d1 was shown to a device that had 1:2: 1 entries are missing\n"), "{out}");
    let shown = story.find("phone", "shown", 2) + 1;
    let text: String = story.history[shown - 1].to_string().chars().take(240).collect();
    assert!(out.contains(&format!("    history line {shown}: {text}\n")), "{out} {line}");
}

#[test]
fn of_many_violations_fifty_are_shown_and_all_are_counted() {
    let mut story = Story::good();
    let again = story.line("phone", "shown", 0).clone();
    for _ in 0..60 {
        story.before_quiescence(again.clone());
    }
    let (code, out, _) = judged("many", &story);
    assert_eq!(code, Some(1));
    assert_eq!(out.matches("\nD1: ").count(), 50);
    assert!(out.contains("\n... and 10 more\n") && out.contains("\n60 violations; "), "{out}");
}

#[test]
fn what_cannot_be_judged_ends_with_2_and_one_line_that_says_why() {
    let mut story = Story::good();
    story.history[4] = serde_json::json!({"what": "livid", "device": "phone"});
    let (code, out, err) = judged("malformed", &story);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(err, "checker: history line 5: `what` is `livid`, which the README does not know\n");

    let output = run(&["/nowhere/history", "/nowhere/dump"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("checker: /nowhere/history: "));
    assert_eq!(run(&["one"]).status.code(), Some(2));
}

/// What shares code with the judged may share its faults.
#[test]
fn the_checker_depends_on_serde_json_and_nothing_else() {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("the manifest is there");
    let (_, dependencies) = manifest.split_once("dependencies]\n").expect("there are dependencies");
    assert_eq!(dependencies.trim(), "serde_json.workspace = true");
}

#[test]
fn the_example_of_the_readme_is_good_and_breaks_as_it_says() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the page is there");
    let block = |name: &str| {
        let (_, rest) = readme.split_once(&format!("```{name}\n")).expect("the example is there");
        rest.split_once("```").expect("the example ends").0.to_owned()
    };
    let (history, dump) = (block("history"), block("dump"));
    let broken = |history: &str, dump: &str| {
        let verdict = judge(history, dump).expect("the example is well formed");
        verdict.violations().iter().map(Violation::guarantee).collect::<Vec<_>>()
    };
    assert_eq!(broken(&history, &dump), []);
    let without = |text: &str, line: usize| {
        text.lines().enumerate().filter(|(index, _)| *index != line).map(|(_, line)| line.to_owned() + "\n").collect::<String>()
    };
    assert_eq!(broken(&without(&history, 4), &dump), []);
    assert_eq!(broken(&history, &without(&dump, 1)), [Guarantee::L1, Guarantee::L3]);
}
