//! The rules about this workspace that no compiler checks, as tests: which package may use which (`tests/dependencies.rs`), what may not
//! appear in a source (`tests/sources.rs`, `tests/items.rs`), which modules may import each other (`tests/modules.rs`), what the house's
//! papers must say (`tests/house.rs`). `template.py` does the same for the template of the deployment.
//!
//! This library finds the files, tells code from prose and reads [`modules`]. It knows as much of Rust's grammar as that needs: comments,
//! literals, braces, `use`, paths.

use std::fs;
use std::path::{Path, PathBuf};

pub mod modules;

/// The folder of the workspace.
///
/// # Panics
/// If this package is not two folders below it.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).expect("tests/workspace lies in the workspace").to_path_buf()
}

/// The text of a file, named from the workspace's folder.
///
/// # Panics
/// If it cannot be read.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All `.rs` files in a folder and below it, named from the workspace's folder, sorted. Build output and hidden folders are left out.
///
/// # Panics
/// If the folder cannot be read.
pub fn rust_files(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let folder = folder.as_ref();
    let mut found = Vec::new();
    for (name, is_folder) in children(folder) {
        let path = folder.join(&name);
        if is_folder && name != "target" && !name.starts_with('.') {
            found.extend(rust_files(path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What a folder holds: names, and whether each is a folder. The folder is named from the workspace's folder, as [`read`] does.
///
/// # Panics
/// If the folder cannot be read.
pub fn children(folder: impl AsRef<Path>) -> Vec<(String, bool)> {
    let path = root().join(folder);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries
        .map(|entry| {
            let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (entry.file_name().to_string_lossy().into_owned(), entry.path().is_dir())
        })
        .collect()
}

/// The source with comments and the insides of literals blanked, lines kept: what is left are words that the compiler reads.
pub fn code(source: &str) -> String {
    blanked(source, |_| true)
}

/// The source with comments blanked, lines kept.
pub fn code_and_literals(source: &str) -> String {
    blanked(source, |skipped| skipped.starts_with("//") || skipped.starts_with("/*"))
}

/// The source without those of its comments and literals that are to be left out.
fn blanked(source: &str, left_out: impl Fn(&str) -> bool) -> String {
    let bytes = source.as_bytes();
    let mut kept = String::with_capacity(source.len());
    let mut at = 0;
    while let Some(next) = source[at..].chars().next() {
        let end = at + skipped(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        if end > at && !left_out(&source[at..end]) {
            kept.push_str(&source[at..end]);
            at = end;
        } else if end > at {
            kept.extend(source[at..end].chars().filter(|c| *c == '\n'));
            kept.push(' ');
            at = end;
        } else {
            kept.push(next);
            at += next.len_utf8();
        }
    }
    kept
}

/// How many bytes of a comment or literal begin here; 0 where code goes on.
fn skipped(rest: &[u8], before: Option<u8>) -> usize {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest, b'"'),
        [b'r', b'"' | b'#', ..] if !in_word || before == Some(b'b') => raw_string(rest),
        // A character, not a lifetime: `'a'`, `'\n'`, `'é'`.
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        [b'\'', first, ..] if *first != b'\'' => {
            let width = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xff => 4,
            };
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        _ => 0,
    }
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"…"`, `r#"…"#`; 0 for a raw identifier such as `r#type`.
fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    let open = 1 + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &rest[open + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    end.map_or(rest.len(), |end| open + 1 + end + close.len())
}

/// They nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// [`code`] without the items under `#[cfg(test)]`.
pub fn without_tests(code: &str) -> String {
    const TEST: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(TEST) {
        kept.push_str(&rest[..at]);
        rest = &rest[at + TEST.len()..];
        rest = &rest[item(rest)..];
    }
    kept + rest
}

/// The length of the item that begins here: to its `;` or its closing brace.
fn item(rest: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Whether the code has these words, not as a part of longer ones: `rand::` is in `use rand::Rng`, not in `operand::Left`.
pub fn has_words(code: &str, words: &str) -> bool {
    let in_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let open_ended = !in_word(words.chars().next_back());
    code.match_indices(words).any(|(at, _)| {
        let (before, after) = (code[..at].chars().next_back(), code[at + words.len()..].chars().next());
        !in_word(before) && (open_ended || !in_word(after))
    })
}
