//! `checker HISTORY DUMP`: prints what was checked and what was found. Exit code 0: nothing; 1: violations; 2: not judged, because a file
//! cannot be read or a line of it is not what the README says.

use std::process::ExitCode;

use chatlane_tests_checker::{Verdict, judge};

/// So many violations are shown; the table counts all.
const SHOWN_MAX: usize = 50;

/// So much of a line is shown.
const LINE_CHARS_MAX: usize = 240;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let judged = match arguments.as_slice() {
        [history, dump] => read(history).and_then(|history| Ok((history, read(dump)?))).and_then(|(history, dump)| {
            let verdict = judge(&history, &dump).map_err(|malformed| malformed.to_string())?;
            print(&verdict, &history, &dump);
            Ok(verdict.violations().is_empty())
        }),
        _ => Err("usage: checker HISTORY DUMP".to_owned()),
    };
    match judged {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("checker: {why}");
            ExitCode::from(2)
        }
    }
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn print(verdict: &Verdict, history: &str, dump: &str) {
    print!("{verdict}");
    let violations = verdict.violations();
    let (history, dump): (Vec<&str>, Vec<&str>) = (history.lines().collect(), dump.lines().collect());
    for violation in &violations[..violations.len().min(SHOWN_MAX)] {
        println!("\n{}: {}", violation.guarantee(), violation.what);
        for (input, lines, numbers) in [("history", &history, &violation.history), ("dump", &dump, &violation.dump)] {
            for number in numbers {
                println!("    {input} line {number}: {}", lines[number - 1].chars().take(LINE_CHARS_MAX).collect::<String>());
            }
        }
    }
    if violations.len() > SHOWN_MAX {
        println!("\n... and {} more", violations.len() - SHOWN_MAX);
    }
    println!(
        "\n{} violations; {} of {} checks had nothing to check",
        violations.len(),
        verdict.idle().count(),
        chatlane_tests_checker::Check::ALL.len()
    );
}
